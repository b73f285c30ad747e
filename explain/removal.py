"""Whether a map is true of the model: cells of the clip are taken away, and the model is asked about what is left.

*Deletion* and *insertion* compare the salient regions with the same shapes at random places, *infidelity* (Yeh et al.
2019) what the map foretells about the removal of random boxes with what happens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explain.attribution import Attribution, Masking, relevance_on_grid
from explain.regions import Region
from explain.verdicts import Test, against, share_of, undecided
from ser_core.numbers import unsigned
from ser_core.speech import Segment, speech_mask

PLACEMENTS = 39
PERTURBATIONS = 40
FEWEST_TURNS = 10
FEWEST_PLACES = 4  # of fewer, the best is no better than one in four


@dataclass(frozen=True, eq=False)
class Curve:
    """A logit as regions are taken away or put in, one after another: ``ours`` and the mean of random places."""

    name: str
    ours: tuple[float, ...]
    random: tuple[float, ...]
    random_low: tuple[float, ...]
    random_high: tuple[float, ...]


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
        count: draws; fewer are returned where there are no more places and no bands, since a place that came twice
            would count as two.
        random: source of the draws.
    """
    places = np.flatnonzero(spoken)
    by = random.permutation(np.arange(1, len(places)))[:count] if masks.ndim == 2 else None
    drawn = np.repeat(masks[None], count if by is None else len(by), axis=0)
    for number, row in enumerate(drawn):
        turn = int(random.integers(1, max(2, len(places))) if by is None else by[number])
        row[..., places] = np.roll(row[..., places], turn, axis=-1)
        if masks.ndim == 3:
            row[...] = np.roll(row, int(random.integers(masks.shape[1])), axis=1)
    return drawn


def region_tests(
    cells: Masking,
    regions: Sequence[Region],
    speech: Sequence[Segment],
    random: np.random.Generator,
    *,
    draws: int = PLACEMENTS,
    with_curves: bool = True,
) -> tuple[tuple[Test, ...], tuple[Curve, ...]]:
    """Return deletion and insertion of the salient regions against the same shapes at random places.

    Args:
        cells: the clip, whose cells can be taken away.
        regions: the salient regions.
        speech: stretches of speech, round which the shapes are turned.
        random: source of the draws.
        draws: random places; 19 are the fewest with which a test can hold.
        with_curves: whether the way to the end is drawn, too; the verdict does not need it.
    """
    if not regions:
        words = "There is no salient region, so nothing could be taken away."
        return tuple(undecided(name, cells.unit, words) for name in ("deletion", "insertion")), ()
    each = np.stack([mask_of(cells, [region]) for region in regions])
    steps = np.logical_or.accumulate(each, axis=0)
    drawn = np.logical_or.accumulate(placements(each, spoken_in(cells, speech), draws, random), axis=1)
    words = ""
    if (drawn[:, -1] == steps[-1]).all():
        words = "The salient regions fill all speech there is, so there is no other place for their shapes."
        if not (steps[-1] & spoken_in(cells, speech)).any():
            words = "The salient regions lie where nobody speaks, so their shapes have no other place in the speech."
    elif len(drawn) < FEWEST_PLACES:
        words = f"The speech is too short: the shapes of the salient regions have only {len(drawn)} other places in it."
    if words:
        return tuple(undecided(name, cells.unit, words) for name in ("deletion", "insertion")), ()
    what = "the salient region" if len(regions) == 1 else f"the {len(regions)} salient regions"
    of = "the same shapes at random places"
    return removal_tests(
        cells.logits, steps, drawn, what, of, with_curves=with_curves, unit=cells.unit, sign=cells.sign
    )


def removal_tests(
    logits: Callable[[np.ndarray], np.ndarray],
    steps: np.ndarray,
    drawn: np.ndarray,
    what: str,
    of: str,
    *,
    with_curves: bool = True,
    unit: str = "logit",
    sign: float = 1.0,
) -> tuple[tuple[Test, ...], tuple[Curve, ...]]:
    """Return deletion and insertion of something that grows step by step, against the same of random draws.

    Args:
        logits: of masks (…, of what is kept).
        steps: (steps, …) what is taken away or put in after each step.
        drawn: (draws, steps, …) the same at random.
        what: is taken away, in words.
        of: what the draws are, in words.
        with_curves: whether the way to the end is drawn, too; the verdict does not need it.
        unit: of what ``logits`` gives, a "logit" or a "value".
        sign: -1 where ``logits`` gives that value turned round, as for "lower valence"; curves and words are of the
            value itself.
    """
    blank = np.zeros((1, *steps.shape[1:]))
    whole, nothing = (float(logits(mask)[0]) for mask in (1 - blank, blank))
    count = len(steps)
    steps = steps if with_curves else steps[-1:]
    deleted, inserted = logits(~steps), logits(steps)
    curves, tests = [], []
    for name, ours, start, kept in (
        ("deletion", deleted, whole, lambda masks: ~masks),
        ("insertion", inserted, nothing, lambda masks: masks),
    ):
        # All draws give the end of the curve, on which the test decides; a few give its way there.
        ends = logits(kept(drawn[:, -1]))
        way = 1.0 if name == "deletion" else -1.0
        effect, null = way * (start - ours[-1]), np.sort(way * (start - ends))
        verb = "raise" if sign * (ours[-1] - start) > 0 else "lower"
        did = f"taking {what} away {verb}s" if name == "deletion" else f"{what} alone {verb}{'s' * (count == 1)}"
        beaten = share_of(null < effect)
        # A change that goes the other way can still be better than what most places do.
        than = f", more than {beaten} of {of}" if effect > 0 else f", where {beaten} of {of} do worse"
        tests.append(against(name, effect, unit, null, f"{did} the {unit} by {unsigned(abs(effect))}{than}."))
        if not with_curves:
            continue
        some = np.stack([logits(kept(draw)) for draw in drawn[:5]])
        start, ours, some = sign * start, sign * ours, sign * some
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


def infidelity(removed: np.ndarray, foretold: np.ndarray) -> float:
    """Return the infidelity of Yeh et al. 2019, with the scale of the map set to its best (Captum's ``normalize``).

    Args:
        removed: change of the logit by each perturbation, f(x) − f(x without), (perturbations,).
        foretold: what the map says of each, the sum of its relevance over what was removed, (perturbations,).
    """
    scale = float((removed * foretold).sum() / (foretold**2).sum()) if (foretold**2).sum() > 0 else 1.0
    return float(((scale * foretold - removed) ** 2).mean())


def foretelling(removed: np.ndarray, foretold: np.ndarray) -> float:
    """Return the infidelity of a map, that of an empty one where it foretells the opposite of what happens.

    The best scale of such a map is negative, which would call it as good as the map turned round.
    """
    return infidelity(removed, foretold if float((removed * foretold).sum()) > 0 else np.zeros_like(foretold))


def _turned_sums(boxes: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Return the sum of relevance inside each box for every turn of the map in time, (boxes, columns)."""
    columns = relevance.shape[-1]
    line = np.conj(np.fft.rfft(np.atleast_2d(relevance)))
    return np.stack([np.fft.irfft((np.fft.rfft(np.atleast_2d(box)) * line).sum(0), columns) for box in boxes])


def infidelity_test(cells: Masking, attribution: Attribution, random: np.random.Generator) -> Test:
    """Return how well the map foretells what removing random boxes does, against the map turned in time."""
    unit = f"squared {cells.unit}"
    relevance = _on_cells(attribution, cells)
    boxes = _random_boxes(relevance.shape, random)
    whole = cells.logits(np.ones((1, *relevance.shape)))[0]
    removed = whole - cells.logits(1.0 - boxes)
    by = turns(relevance.shape[-1])
    if len(by) < FEWEST_TURNS:
        return undecided("infidelity", unit, "The clip is too short to turn its map in time.")
    foretold = _turned_sums(boxes, relevance)
    value = foretelling(removed, foretold[:, 0])
    null = np.sort([foretelling(removed, foretold[:, turn]) for turn in by])
    words = (
        f"removing {len(boxes)} random boxes is foretold with a mean squared error of {value:.3g}, better than by "
        f"{share_of(null > value)} of the turns of the same map in time."
    )
    return against("infidelity", value, unit, null, words, smaller_is_better=True)


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
    """Return the relevance on the masking's grid; each of its cells takes the value of the map's cell it lies in.

    Where the masking's grid is finer, sums are larger by a factor, which :func:`infidelity` takes out again.
    """
    times = attribution.times_s
    assert times is not None
    if attribution.bands_hz is None or cells.bands_hz is None:
        line = np.atleast_2d(attribution.relevance).sum(0) if attribution.bands_hz is not None else None
        flat = attribution if line is None else _over_time(attribution, line)
        found = np.nan_to_num(relevance_on_grid(flat, cells.times_s))
        return found if cells.bands_hz is None else np.repeat(found[None] / len(cells.bands_hz), len(cells.bands_hz), 0)
    return np.nan_to_num(relevance_on_grid(attribution, cells.times_s, cells.bands_hz))


def _over_time(attribution: Attribution, relevance: np.ndarray) -> Attribution:
    return replace(attribution, relevance=relevance, bands_hz=None, axes="time")


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return intersection over union (0 … 1) of two sets of cells."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def spoken_in(cells: Masking, speech: Sequence[Segment]) -> np.ndarray:
    """Return which columns lie in speech; all of them where no speech was found."""
    found = speech_mask(speech, cells.times_s)
    return found if found.any() else np.ones(len(cells.times_s), dtype=bool)


def turns(columns: int) -> np.ndarray:
    """Return the turns in time, in columns, that make a map unrelated: a tenth of the clip or more."""
    least = max(1, columns // 10)
    return np.arange(least, columns - least + 1)
