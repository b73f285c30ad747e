"""Whether an explanation is true of the model: tests with a chance level, each with a plain verdict.

Faithfulness is tested by taking cells of the clip away, sanity by destroying the model, stability by changes that
nobody hears. Whether an expert finds the map plausible is another question and is not asked here.

Every verdict is decided by a null that is drawn for this clip, model and method, never by a number from elsewhere:

- *deletion*, *insertion*: the same boxes at random places (turned round the clip's speech in time, rolled in
  frequency). Holds: more effect than 95 % of them; weak: more than 80 %.
- *infidelity* (Yeh et al. 2019): how well the map foretells what removing random boxes does; the null is the same map
  turned in time.
- *randomised weights* (Adebayo et al. 2018): the map of the destroyed model must be as unlike the map as an unrelated
  one: its rank correlation lies below the 95th percentile of the map's with itself turned in time.
- *sensitivity* (Yeh et al. 2019): inaudible noise moves the map by less of its size than 95 % of unrelated maps differ.
- *stability*: after a shift of 5 ms and after re-encoding the map is more alike than 95 % of unrelated ones.
- *agreement*: another method's salient regions overlap these more than 95 % of the same shapes at random places.

Unrelated maps are the map itself turned in time by a tenth of the clip or more: they keep its frequencies and its
peakedness, so that a map which merely follows the spectrum of speech does not pass.
"""

import copy
import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata

from explain.attribution import Attribution, Masking, Target, attribute, masking, method_label, methods_for
from explain.regions import Region, salient_regions
from ser_core.audio import SAMPLE_RATE, Recording, from_samples
from ser_core.errors import ExplanationError
from ser_core.models import SpeechModel
from ser_core.speech import Segment, speech_mask

HOLDS, WEAK, FAILS, UNDECIDED = "holds", "weak", "fails", "cannot be decided"
STRICT, LENIENT = 0.05, 0.20
PLACEMENTS = 39
PERTURBATIONS = 40
NOISE_DB, NOISE_DRAWS, SHIFT_S = -60.0, 3, 0.005
FEWEST_TURNS = 10
QUICK = ("deletion", "insertion", "randomised weights")

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Test:
    """One test of an explanation.

    Attributes:
        name: such as "deletion".
        value: what was measured, in ``unit``.
        null: the same under chance, sorted (draws,).
        threshold: where the verdict "holds" begins, from the null.
        p: share of the null at least as good as the value, with the value counted in.
        verdict: "holds", "weak", "fails" or "cannot be decided".
        words: one sentence that says what was done and found.
    """

    __test__ = False

    name: str
    value: float
    unit: str
    null: np.ndarray
    threshold: float
    p: float
    verdict: str
    words: str


@dataclass(frozen=True, eq=False)
class Curve:
    """A logit as regions are taken away or put in, one after another: ``ours`` and the mean of random places."""

    name: str
    ours: tuple[float, ...]
    random: tuple[float, ...]
    random_low: tuple[float, ...]
    random_high: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Trust:
    """The tests of one explanation, its curves, and the verdict of all."""

    model: str
    method: str
    target: Target
    tests: tuple[Test, ...]
    curves: tuple[Curve, ...]

    @property
    def verdict(self) -> str:
        """Return the verdict of all tests together.

        "fails" where a test of faithfulness (deletion, insertion, randomised weights) fails, "weak" where such a test
        is weak or another test fails, else "holds".
        """
        return self._decision()[0]

    @property
    def sentence(self) -> str:
        """The verdict in words, with the test that decided it."""
        verdict, test = self._decision()
        if test is None:
            return "No test could be decided for this explanation." if verdict == UNDECIDED else "Every test holds."
        return f"This explanation {verdict if verdict != WEAK else 'is weak'}: {test.words}"

    def _decision(self) -> tuple[str, Test | None]:
        known = [test for test in self.tests if test.verdict != UNDECIDED]
        if not known:
            return UNDECIDED, None
        core = [test for test in known if test.name in QUICK]
        for test in core:
            if test.verdict == FAILS:
                return FAILS, test
        for test in [*[t for t in core if t.verdict == WEAK], *[t for t in known if t.verdict == FAILS]]:
            return WEAK, test
        return HOLDS, None


def trust(
    model: SpeechModel,
    recording: Recording,
    attribution: Attribution,
    speech: Sequence[Segment] = (),
    *,
    regions: Sequence[Region] | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    known: Callable[[Trust], None] | None = None,
) -> Trust:
    """Return the tests of one explanation.

    Args:
        model: the explained model.
        recording: the explained clip.
        attribution: its explanation, with a time axis.
        speech: stretches of speech, round which boxes are turned; the whole clip where there are none.
        regions: its salient regions; found here where they are not given.
        quick: only deletion, insertion and randomised weights.
        seed: of every draw.
        progress: told the share done (0 … 1) and what is being done.
        known: given what is known so far, after each group of tests.

    Raises:
        ExplanationError: the attribution has no time axis.
    """
    if attribution.times_s is None:
        raise ExplanationError(
            "An explanation over named features has no regions to test; choose occlusion to get one over time."
        )
    tell = progress or (lambda share, words: None)
    regions = salient_regions(attribution) if regions is None else tuple(regions)
    random = np.random.default_rng(seed)
    tell(0.0, "Taking the salient regions away")
    cells = masking(model, recording, attribution.target, seed=seed)
    tests, curves = region_tests(cells, regions, speech, random)

    def so_far(share: float, words: str) -> Trust:
        found = Trust(model.name, attribution.method, attribution.target, tests, curves)
        if known is not None:
            known(found)
        tell(share, words)
        return found

    so_far(0.4 if quick else 0.15, "Destroying the model")
    turned = unrelated(attribution.relevance, random)
    tests += (randomised_weights(model, recording, attribution, turned, seed),)
    if not quick:
        so_far(0.3, "Asking whether the map foretells removals")
        tests += (infidelity_test(cells, attribution, random),)
        so_far(0.4, "Changing what nobody hears")
        tests += stability_tests(model, recording, attribution, turned, seed)
        so_far(0.75, "Asking other methods")
        tests += agreement_tests(model, recording, attribution, cells, regions, speech, random)
    return so_far(1.0, "Done")


# Taking cells away


def mask_of(cells: Masking, regions: Sequence[Region]) -> np.ndarray:
    """Return which cells, (bands, columns) or (columns,), have their centre in one of the regions."""
    inside = np.zeros((1 if cells.bands_hz is None else len(cells.bands_hz), len(cells.times_s)), dtype=bool)
    for region in regions:
        columns = (cells.times_s >= region.start_s) & (cells.times_s < region.end_s)
        rows = np.ones(len(inside), dtype=bool)
        if cells.bands_hz is not None and region.low_hz is not None and region.high_hz is not None:
            rows = (cells.bands_hz >= region.low_hz) & (cells.bands_hz < region.high_hz)
        inside |= rows[:, None] & columns
    return inside if cells.bands_hz is not None else inside[0]


def placements(masks: np.ndarray, spoken: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return masks (count, regions, …) of the same shapes at random places.

    All regions of a draw are turned together by a random number of columns of speech and, where there are bands,
    rolled by a random number of bands, so that their shapes, gaps and sizes stay; what lies outside speech stays
    outside.

    Args:
        masks: (regions, bands, columns) or (regions, columns).
        spoken: (columns,) where there is speech.
        count: draws.
        random: source of the draws.
    """
    places = np.flatnonzero(spoken)
    drawn = np.repeat(masks[None], count, axis=0)
    for row in drawn:
        turn = int(random.integers(1, max(2, len(places))))
        row[..., places] = np.roll(row[..., places], turn, axis=-1)
        if masks.ndim == 3:
            row[...] = np.roll(row, int(random.integers(masks.shape[1])), axis=1)
    return drawn


def region_tests(
    cells: Masking, regions: Sequence[Region], speech: Sequence[Segment], random: np.random.Generator
) -> tuple[tuple[Test, ...], tuple[Curve, ...]]:
    """Return deletion and insertion of the salient regions against the same shapes at random places."""
    if not regions:
        words = "There is no salient region, so nothing could be taken away."
        return tuple(_undecided(name, "logit", words) for name in ("deletion", "insertion")), ()
    each = np.stack([mask_of(cells, [region]) for region in regions])
    spoken = spoken_in(cells, speech)
    steps = np.logical_or.accumulate(each, axis=0)
    drawn = np.logical_or.accumulate(placements(each, spoken, PLACEMENTS, random), axis=1)
    blank = np.zeros((1, *steps.shape[1:]))
    whole, nothing = (float(cells.logits(mask)[0]) for mask in (1 - blank, blank))
    deleted, inserted = cells.logits(~steps), cells.logits(steps)
    curves, tests = [], []
    for name, ours, start, of in (
        ("deletion", deleted, whole, lambda masks: ~masks),
        ("insertion", inserted, nothing, lambda masks: masks),
    ):
        # All draws give the end of the curve, on which the test decides; a few give its way there.
        ends = cells.logits(of(drawn[:, -1]))
        some = np.stack([cells.logits(of(draw)) for draw in drawn[:5]])
        sign = 1.0 if name == "deletion" else -1.0
        effect, null = sign * (start - ours[-1]), np.sort(sign * (start - ends))
        words = _region_words(name, effect, null, len(regions))
        tests.append(_against(name, effect, "logit", null, words))
        curves.append(
            Curve(
                name,
                (start, *ours),
                (start, *some.mean(0)),
                (start, *some.min(0)),
                (start, *some.max(0)),
            )
        )
    return tuple(tests), tuple(curves)


def _region_words(name: str, effect: float, null: np.ndarray, count: int) -> str:
    regions = "the salient region" if count == 1 else f"the {count} salient regions"
    beaten = float((null < effect).mean())
    did = f"taking {regions} away lowers" if name == "deletion" else f"{regions} alone raise"
    did = did.replace("region alone raise", "region alone raises")
    return f"{did} the logit by {effect:+.2f}, more than {beaten:.0%} of the same shapes at random places."


def infidelity(removed: np.ndarray, foretold: np.ndarray) -> float:
    """Return the infidelity of Yeh et al. 2019, with the scale of the map set to its best (Captum's ``normalize``).

    Args:
        removed: change of the logit by each perturbation, f(x) − f(x without), (perturbations,).
        foretold: what the map says of each, the sum of its relevance over what was removed, (perturbations,).
    """
    scale = float((removed * foretold).sum() / (foretold**2).sum()) if (foretold**2).sum() > 0 else 1.0
    return float(((scale * foretold - removed) ** 2).mean())


def infidelity_test(cells: Masking, attribution: Attribution, random: np.random.Generator) -> Test:
    """Return how well the map foretells what removing random boxes does, against the map turned in time."""
    unit = "squared logit"
    relevance = _on_cells(attribution, cells)
    boxes = _random_boxes(relevance.shape, random)
    whole = cells.logits(np.ones((1, *relevance.shape)))[0]
    removed = whole - cells.logits(1.0 - boxes)
    axes = tuple(range(1, boxes.ndim))

    def of(values: np.ndarray) -> float:
        return infidelity(removed, (boxes * values).sum(axis=axes))

    value = of(relevance)
    turns = _turns(relevance.shape[-1])
    if len(turns) < FEWEST_TURNS:
        return _undecided("infidelity", unit, "The clip is too short to turn its map in time.")
    null = np.sort([of(np.roll(relevance, turn, axis=-1)) for turn in turns])
    beaten = float((null > value).mean())
    words = (
        f"removing {len(boxes)} random boxes is foretold with a mean squared error of {value:.3g}, better than "
        f"{beaten:.0%} of the same map turned in time."
    )
    return _against("infidelity", value, unit, null, words, smaller_is_better=True)


def _random_boxes(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Return boxes (perturbations, …) of a fifth to half of each axis at random places, 1 inside."""
    boxes = np.zeros((PERTURBATIONS, *shape))
    for box in boxes:
        where = []
        for size in shape:
            width = int(random.integers(max(1, size // 5), max(2, size // 2 + 1)))
            start = int(random.integers(0, size - width + 1))
            where.append(slice(start, start + width))
        box[tuple(where)] = 1.0
    return boxes


def _on_cells(attribution: Attribution, cells: Masking) -> np.ndarray:
    """Return the relevance on the masking's grid; each of its cells takes an equal part of the map's cell it lies in.

    Sums stay what they are wherever the grids are the same, or the masking's is the finer one.
    """
    from explain.attribution import relevance_on_grid

    times = attribution.times_s
    assert times is not None
    if attribution.bands_hz is None or cells.bands_hz is None:
        line = np.atleast_2d(attribution.relevance).sum(0) if attribution.bands_hz is not None else None
        flat = attribution if line is None else _over_time(attribution, line)
        found = np.nan_to_num(relevance_on_grid(flat, cells.times_s))
        return found if cells.bands_hz is None else np.repeat(found[None] / len(cells.bands_hz), len(cells.bands_hz), 0)
    return np.nan_to_num(relevance_on_grid(attribution, cells.times_s, cells.bands_hz))


def _over_time(attribution: Attribution, relevance: np.ndarray) -> Attribution:
    from dataclasses import replace

    return replace(attribution, relevance=relevance, bands_hz=None, axes="time")


# Maps against maps


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps of the same shape; 0 where one of them is constant."""
    first, second = (rankdata(values, axis=None) for values in (one, other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def unrelated(relevance: np.ndarray, random: np.random.Generator, count: int = 99) -> np.ndarray:
    """Return the sorted rank correlations of a map with itself turned in time by a tenth of the clip or more."""
    turns = _turns(relevance.shape[-1])
    if len(turns) > count:
        turns = np.sort(random.choice(turns, count, replace=False))
    ranks = rankdata(relevance, axis=None).reshape(relevance.shape)
    return np.sort([correlation(ranks, np.roll(ranks, turn, axis=-1)) for turn in turns])


def _turns(columns: int) -> np.ndarray:
    least = max(1, columns // 10)
    return np.arange(least, columns - least + 1)


def destroyed(model: SpeechModel, seed: int = 0) -> SpeechModel:
    """Return a copy of a model in whose network every tensor's entries are dealt at random among themselves.

    Weights keep their distribution and layers their scale, so the network still answers; it has learned nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    broken = copy.copy(model)
    with model.lock:
        broken.network = copy.deepcopy(model.network)
    broken.lock = threading.RLock()
    with torch.no_grad():
        for tensor in broken.network.parameters():
            flat = tensor.detach().reshape(-1)
            tensor.copy_(flat[torch.randperm(flat.numel(), generator=generator)].reshape(tensor.shape))
    return broken


def randomised_weights(
    model: SpeechModel, recording: Recording, attribution: Attribution, turned: np.ndarray, seed: int = 0
) -> Test:
    """Return whether the map of the destroyed model is as unlike the map as an unrelated one.

    Args:
        model: the explained model.
        recording: the explained clip.
        attribution: the explanation.
        turned: of :func:`unrelated`.
        seed: of the destruction.
    """
    name, unit = "randomised weights", "rank correlation"
    if len(turned) < FEWEST_TURNS:
        return _undecided(name, unit, "The clip is too short to turn its map in time.")
    try:
        # What a destroyed model decides on is of no interest, so its paths need no refinement.
        other = attribute(
            destroyed(model, seed), recording, attribution.target, attribution.method, seed=seed, max_steps=8
        )
    except ExplanationError:
        return _undecided(name, unit, "The destroyed model cannot be explained by this method.")
    value = correlation(attribution.relevance, other.relevance)
    words = (
        f"the map of the same network with shuffled weights has a rank correlation of {value:+.2f} with this map; "
        f"unrelated maps reach {np.quantile(turned, 1 - STRICT):+.2f}."
    )
    threshold = float(np.quantile(turned, 1 - STRICT))
    p = float((1 + (turned >= value).sum()) / (1 + len(turned)))
    verdict = HOLDS if value <= threshold else WEAK if value <= float(turned.max()) else FAILS
    return Test(name, value, unit, turned, threshold, p, verdict, words)


def stability_tests(
    model: SpeechModel, recording: Recording, attribution: Attribution, turned: np.ndarray, seed: int = 0
) -> tuple[Test, ...]:
    """Return how far the map moves under inaudible noise, and how alike it is after a shift and re-encoding."""
    names = ("sensitivity", *CHANGES)
    if len(turned) < FEWEST_TURNS:
        return tuple(_undecided(name, "", "The clip is too short to turn its map in time.") for name in names)
    relevance = attribution.relevance

    def again(changed: Recording) -> np.ndarray:
        return attribute(model, changed, attribution.target, attribution.method, seed=seed).relevance

    value = max(relative_change(relevance, again(with_noise(recording, seed + draw))) for draw in range(NOISE_DRAWS))
    null = np.sort([relative_change(relevance, np.roll(relevance, t, axis=-1)) for t in _turns(relevance.shape[-1])])
    words = (
        f"noise 60 dB below the clip's peak moves the map by at most {value:.2f} of its size in {NOISE_DRAWS} draws, "
        f"less than {float((null > value).mean()):.0%} of unrelated maps differ."
    )
    found = [_against("sensitivity", value, "share of the map's size", null, words, smaller_is_better=True)]
    for name, (change, what) in CHANGES.items():
        value = correlation(relevance, again(change(recording)))
        words = (
            f"after {what} the map has a rank correlation of {value:+.2f} with this one, more than "
            f"{float((turned < value).mean()):.0%} of unrelated maps."
        )
        found.append(_against(name, value, "rank correlation", turned, words))
    return tuple(found)


def relative_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return ‖after − before‖ / ‖before‖, Captum's ``sensitivity_max`` of one perturbation."""
    size = float(np.linalg.norm(before))
    return float(np.linalg.norm(after - before)) / size if size > 0 else float("nan")


def with_noise(recording: Recording, seed: int = 0) -> Recording:
    """Return the clip with white noise 60 dB below its peak."""
    level = float(np.abs(recording.samples).max()) * 10 ** (NOISE_DB / 20)
    noise = np.random.default_rng(seed).standard_normal(len(recording.samples))
    return _changed(recording, recording.samples + level * noise)


def shifted_by_5_ms(recording: Recording) -> Recording:
    """Return the clip 5 ms later: its last 5 ms are lost, and its first sample is held before it begins."""
    late = round(SHIFT_S * SAMPLE_RATE)
    held = np.full(late, recording.samples[0])
    return _changed(recording, np.concatenate([held, recording.samples[:-late]]))


def re_encoded(recording: Recording) -> Recording:
    """Return the clip after a round through Ogg Vorbis, in memory."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, recording.samples, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    length = len(recording.samples)
    return _changed(recording, np.pad(decoded, (0, max(0, length - len(decoded))))[:length])


def _changed(recording: Recording, samples: np.ndarray) -> Recording:
    return from_samples(np.clip(samples, -1.0, 1.0).astype(np.float32), SAMPLE_RATE, recording.name)


CHANGES: dict[str, tuple[Callable[[Recording], Recording], str]] = {
    "stability under a shift": (shifted_by_5_ms, "a shift of 5 ms"),
    "stability under re-encoding": (re_encoded, "writing and reading the clip as Ogg Vorbis"),
}
"""What nobody hears: how it is done, and its name in words."""


OTHER_METHODS = ("input_x_gradient", "gradient_shap", "deeplift", "lrp", "occlusion", "integrated_gradients")
"""Methods that share the logit out among the cells, as the explanations offered here do; the quicker first."""


def agreement_tests(
    model: SpeechModel,
    recording: Recording,
    attribution: Attribution,
    cells: Masking,
    regions: Sequence[Region],
    speech: Sequence[Segment],
    random: np.random.Generator,
    most: int = 2,
) -> tuple[Test, ...]:
    """Return how much of the salient regions other methods find, too, against their regions at random places.

    The value is the overlap of the two sets of salient cells, intersection over union.
    """
    axes = {method.name: method.axes for method in methods_for(model)}
    others = [name for name in OTHER_METHODS if axes.get(name) == attribution.axes and name != attribution.method]
    found: list[Test] = []
    for name in others:
        if len(found) == most or not regions:
            break
        try:
            other = attribute(model, recording, attribution.target, name)
        except ExplanationError:
            continue
        test, theirs = f"agreement with {method_label(name)}", salient_regions(other)
        if not theirs:
            found.append(_undecided(test, "overlap", f"{method_label(name)} finds no salient region."))
            continue
        ours, mask = mask_of(cells, regions), mask_of(cells, theirs)
        value = overlap(ours, mask)
        null = np.sort(
            [overlap(ours, draw[0]) for draw in placements(mask[None], spoken_in(cells, speech), 99, random)]
        )
        words = (
            f"the salient regions of {method_label(name)} overlap these by {value:.0%}, more than "
            f"{float((null < value).mean()):.0%} of the same shapes at random places"
        )
        if other.relevance.shape == attribution.relevance.shape:
            words += (
                f"; the rank correlation of the two maps is {correlation(attribution.relevance, other.relevance):+.2f}"
            )
        found.append(_against(test, value, "overlap", null, f"{words}."))
    return tuple(found)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return intersection over union (0 … 1) of two sets of cells."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def spoken_in(cells: Masking, speech: Sequence[Segment]) -> np.ndarray:
    """Return which columns lie in speech; all of them where no speech was found."""
    found = speech_mask(speech, cells.times_s)
    return found if found.any() else np.ones(len(cells.times_s), dtype=bool)


# Verdicts


def _against(
    name: str, value: float, unit: str, null: np.ndarray, words: str, *, smaller_is_better: bool = False
) -> Test:
    sign = -1.0 if smaller_is_better else 1.0
    p = float((1 + (sign * null >= sign * value).sum()) / (1 + len(null)))
    verdict = HOLDS if p <= STRICT else WEAK if p <= LENIENT else FAILS
    threshold = float(np.quantile(null, STRICT if smaller_is_better else 1 - STRICT))
    return Test(name, value, unit, null, threshold, p, verdict, words)


def _undecided(name: str, unit: str, words: str) -> Test:
    nan = float("nan")
    return Test(name, nan, unit, np.zeros(0), nan, nan, UNDECIDED, words)
