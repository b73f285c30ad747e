"""Whether a map stays where nothing changed and goes where the model does: maps are compared with maps.

The map of a destroyed model must be unlike this one (Adebayo et al. 2018); the map after a change that nobody hears,
and the salient regions of another method, must be like it. Chance is the map itself turned in time.
"""

import copy
import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy.stats import rankdata

from explain.attribution import Attribution, Masking, attribute, method_label, methods_for, relevance_on_grid
from explain.regions import Region, salient_regions
from explain.removal import FEWEST_TURNS, mask_of, overlap, placements, spoken_in, turns
from explain.verdicts import FAILS, HOLDS, STRICT, WEAK, Test, against, share_of, undecided
from ser_core.audio import MAX_PEAK, SAMPLE_RATE, Recording, from_samples
from ser_core.errors import ExplanationError
from ser_core.models import SpeechModel
from ser_core.numbers import rounded_percent, signed
from ser_core.speech import Segment

NOISE_DB, NOISE_DRAWS, SHIFT_S = -60.0, 3, 0.005


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps of the same shape; 0 where one of them is constant."""
    first, second = (rankdata(values, axis=None) for values in (one, other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def unrelated(
    attribution: Attribution, random: np.random.Generator, count: int = 99, other: Attribution | None = None
) -> np.ndarray:
    """Return the sorted rank correlations of a map with unrelated ones: itself turned in time by a tenth or more.

    The relevance of named features is dealt anew among them instead. Where an ``other`` map of the same cells is given,
    that one is turned or dealt anew.
    """
    relevance, theirs = attribution.relevance, (other or attribution).relevance
    if attribution.axes == "features":
        return np.sort([correlation(relevance, random.permutation(theirs)) for _ in range(99)])
    by = turns(relevance.shape[-1])
    if len(by) > count:
        by = np.sort(random.choice(by, count, replace=False))
    ours, turned = _centred_ranks(relevance), _centred_ranks(theirs)
    if not ours.any() or not turned.any():
        return np.zeros(len(by))
    # All turns at once (Wiener and Khinchin); a turn changes no rank.
    spectrum = np.fft.rfft(ours, axis=-1) * np.fft.rfft(turned, axis=-1).conj()
    together = np.fft.irfft(spectrum, n=ours.shape[-1], axis=-1).sum(0)
    return np.sort(together[by] / np.sqrt((ours**2).sum() * (turned**2).sum()))


def _centred_ranks(relevance: np.ndarray) -> np.ndarray:
    ranks = rankdata(relevance, axis=None).reshape(relevance.shape)
    return np.atleast_2d(ranks - ranks.mean())


def likeness(attribution: Attribution, other: Attribution) -> str:
    """Return the rank correlation of two explanations over the same cells, beside what unrelated ones reach."""
    alike = signed(correlation(attribution.relevance, other.relevance))
    null = unrelated(attribution, np.random.default_rng(0), other=other)
    return f"{alike} (unrelated ones reach {signed(float(np.quantile(null, 1 - STRICT)))})" if len(null) else alike


def _unrelated_maps(attribution: Attribution, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield a map turned in time by a tenth of the clip or more, or the relevance of features dealt anew."""
    relevance = attribution.relevance
    if attribution.axes == "features":
        yield from (random.permutation(relevance) for _ in range(99))
    else:
        yield from (np.roll(relevance, turn, axis=-1) for turn in turns(relevance.shape[-1]))


def destroyed(model: SpeechModel, seed: int = 0) -> SpeechModel:
    """Return a copy of a model in whose network every tensor's entries are dealt at random among themselves.

    Weights keep their distribution and layers their scale, so the network still answers; it has learned nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    broken = copy.copy(model)
    broken.network = copy.deepcopy(model.network)
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
    return unlike(attribution, destroyed_map(model, recording, attribution, seed), turned)


def destroyed_map(
    model: SpeechModel,
    recording: Recording,
    attribution: Attribution,
    seed: int = 0,
    broken: SpeechModel | None = None,
) -> Attribution | None:
    """Return the same explanation of the destroyed model; None where the method cannot explain it.

    Args:
        model: the explained model.
        recording: the explained clip.
        attribution: the explanation.
        seed: of the destruction, and of the method.
        broken: the destroyed model, if it is at hand.
    """
    try:
        # What a destroyed model decides on is of no interest, so its paths need no refinement.
        broken = broken or destroyed(model, seed)
        return attribute(broken, recording, attribution.target, attribution.method, seed=seed, max_steps=8)
    except ExplanationError:
        return None


def unlike(attribution: Attribution, other: Attribution | None, turned: np.ndarray) -> Test:
    """Return the test of randomised weights, given the map of the destroyed model."""
    name, unit = "randomised weights", "rank correlation"
    if len(turned) < FEWEST_TURNS:
        return undecided(name, unit, "The clip is too short to turn its map in time.")
    if other is None:
        return undecided(name, unit, "The destroyed model cannot be explained by this method.")
    value = correlation(attribution.relevance, other.relevance)
    words = (
        f"the map of the same network with shuffled weights has a rank correlation of {signed(value)} with this map; "
        f"unrelated maps reach {signed(float(np.quantile(turned, 1 - STRICT)))}."
    )
    threshold = float(np.quantile(turned, 1 - STRICT))
    if value < -abs(threshold):
        words = f"{words[:-1]}; it is rather the reverse of this one, so part of its shape comes from the clip alone."
    verdict = HOLDS if value <= threshold else WEAK if value <= float(turned.max()) else FAILS
    return Test(name, value, unit, turned, threshold, float("nan"), verdict, words, below=True)


def stability_tests(
    model: SpeechModel, recording: Recording, attribution: Attribution, turned: np.ndarray, seed: int = 0
) -> tuple[Test, ...]:
    """Return how far the map moves under inaudible noise, and how alike it is after a shift and re-encoding."""
    names = ("sensitivity", *CHANGES)
    if len(turned) < FEWEST_TURNS:
        return tuple(undecided(name, "", "The clip is too short to turn its map in time.") for name in names)
    relevance = attribution.relevance

    def again(changed: Recording) -> np.ndarray:
        found = attribute(model, changed, attribution.target, attribution.method, seed=seed)
        if found.relevance.shape == relevance.shape:
            return found.relevance
        # A model that leaves out the silence around a clip hears faint noise there, and has more columns.
        assert attribution.times_s is not None
        return np.nan_to_num(relevance_on_grid(found, attribution.times_s, attribution.bands_hz))

    value = max(relative_change(relevance, again(with_noise(recording, seed + draw))) for draw in range(NOISE_DRAWS))
    random = np.random.default_rng(seed)
    null = np.sort([relative_change(relevance, other) for other in _unrelated_maps(attribution, random)])
    words = (
        f"noise 60 dB below the clip's peak moves the map by at most {value:.2f} of its size in {NOISE_DRAWS} draws, "
        f"less than {share_of(null > value)} of the unrelated maps differ."
    )
    found = [against("sensitivity", value, "share of the map's size", null, words, smaller_is_better=True)]
    for name, (change, what) in CHANGES.items():
        value = correlation(relevance, again(change(recording)))
        words = (
            f"after {what} the map has a rank correlation of {signed(value)} with this one, more than "
            f"{share_of(turned < value)} of the unrelated maps."
        )
        found.append(against(name, value, "rank correlation", turned, words))
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
    # Vorbis ends at full scale; a recording of floats may go beyond.
    scale = max(1.0, float(np.abs(recording.samples).max()))
    soundfile.write(buffer, recording.samples / scale, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    length = len(recording.samples)
    return _changed(recording, scale * np.pad(decoded, (0, max(0, length - len(decoded))))[:length])


def _changed(recording: Recording, samples: np.ndarray) -> Recording:
    return from_samples(np.clip(samples, -MAX_PEAK, MAX_PEAK).astype(np.float32), SAMPLE_RATE, recording.name)


CHANGES: dict[str, tuple[Callable[[Recording], Recording], str]] = {
    "stability under a shift": (shifted_by_5_ms, "a shift of 5 ms"),
    "stability under re-encoding": (re_encoded, "writing and reading the clip as Ogg Vorbis"),
}
"""What nobody hears: how it is done, and its name in words."""


OTHER_METHODS = ("input_x_gradient", "gradient_shap", "deeplift", "lrp", "occlusion", "integrated_gradients")
"""Methods that share the logit out among the cells, as the explanations offered here do; the quicker first."""


def agreement_tests(
    model: SpeechModel,
    by_method: Callable[[str], Attribution],
    attribution: Attribution,
    cells: Masking,
    regions: Sequence[Region],
    speech: Sequence[Segment],
    random: np.random.Generator,
    most: int = 2,
) -> tuple[Test, ...]:
    """Return how much of the salient regions other methods find, too, against their regions at random places.

    The value is the overlap of the two sets of salient cells, intersection over union.

    Args:
        model: the explained model.
        by_method: gives another method's explanation of the same target.
        attribution: the explanation.
        cells: takes cells of the clip away.
        regions: the explanation's salient regions.
        speech: stretches of speech, round which regions are turned.
        random: source of the random places.
        most: how many methods are asked at most.
    """
    axes = {method.name: method.axes for method in methods_for(model)}
    others = [name for name in OTHER_METHODS if axes.get(name) == attribution.axes and name != attribution.method]
    found: list[Test] = []
    for name in others:
        if len(found) == most or not regions:
            break
        try:
            other = by_method(name)
        except ExplanationError:
            continue
        test, theirs = f"agreement with {method_label(name)}", salient_regions(other)
        if not theirs:
            found.append(undecided(test, "overlap", f"{method_label(name)} finds no salient region."))
            continue
        ours, mask = mask_of(cells, regions), mask_of(cells, theirs)
        value = overlap(ours, mask)
        null = np.sort(
            [overlap(ours, draw[0]) for draw in placements(mask[None], spoken_in(cells, speech), 99, random)]
        )
        words = (
            f"the salient regions of {method_label(name)} overlap these by {rounded_percent(value)}, more than "
            f"{share_of(null < value)} of the same shapes at random places"
        )
        if other.relevance.shape == attribution.relevance.shape:
            words += f"; the rank correlation of the two maps is {likeness(attribution, other)}"
        found.append(against(test, value, "overlap", null, f"{words}."))
    if not found and regions:
        words = "No other method gives a map over the same axes for this model."
        return (undecided("agreement with other methods", "overlap", words),)
    return tuple(found)
