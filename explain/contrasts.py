"""What is special about a place: the frames (or periods) of the salient regions against the rest of the same speech.

The effect is Cliff's delta (Cliff 1993, Psychological Bulletin 114, 494–509). Its chance level comes from the same
region shapes put elsewhere on the speech of the clip; all cues are put to the same places, so that the step-down minP
procedure (Westfall & Young 1993; Ge, Dudoit & Speed 2003, Test 12, 1–77) can correct p over the cues.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from explain.cues import CUES, STEP_S, Contrast, Cue, CueSummary, CueTracks
from explain.magnitudes import Place, magnitude, magnitudes, places_of, rest_of
from explain.periods import perturbations
from explain.regions import Region
from ser_core.audio import Recording
from ser_core.errors import ExplanationError
from ser_core.quality import Quality

ARRANGEMENTS, FEWEST_PLACES, ROWS_AT_ONCE = 999, 21, 250
SLOPE_HALF_WIDTH = 2


def summarise(
    tracks: CueTracks, recording: Recording, regions: Sequence[Region], quality: Quality | None = None
) -> CueSummary:
    """Return every cue in the clip, in each region and in all regions together, and the contrasts.

    Args:
        tracks: what :func:`measure` returned for the recording.
        recording: the clip.
        regions: salient regions; they may be empty.
        quality: quality of the recording, for the reliability marks on noise and telephone bandwidth.

    Raises:
        ExplanationError: a region lies outside the recording.
    """
    for region in regions:
        if not -STEP_S <= region.start_s < region.end_s <= recording.duration_s + STEP_S:
            raise ExplanationError(
                f"Region {region.rank} ({region.start_s:.2f}–{region.end_s:.2f} s) does not lie in the clip "
                f"of {recording.duration_s:.2f} s; give start and end in seconds."
            )
    contrasts = [row for place in places_of(tracks, regions) for row in _contrasts(tracks, place)]
    return CueSummary(tuple(regions), magnitudes(tracks, regions, quality), tuple(contrasts))


def effects(tracks: CueTracks, regions: Sequence[Region]) -> dict[str, float]:
    """Return Cliff's delta of each cue in all regions against the rest of the speech, without its chance level.

    NaN where the cue is not measurable in both; cues that are a spread have none.
    """
    timeline = np.flatnonzero(tracks.speech)
    pieces = _pieces(places_of(tracks, regions)[-1].frames[timeline]) if regions else []
    here = np.array([[start for start, _ in pieces]])
    cues = [c for c in CUES if c.contrasted and c.kind != "range"]
    return {c.name: float(_sizes(tracks, c, pieces, here)[0]) for c in cues}


def cliffs_delta(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return P(inside > outside) − P(inside < outside), −1 … 1; NaN where one is empty (Cliff 1993)."""
    if not len(inside) or not len(outside):
        return float("nan")
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left")
    above = len(ordered) - np.searchsorted(ordered, inside, side="right")
    return float((below - above).mean() / len(ordered))


def permutation_p(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each cue's two-sided permutation p (cues,) and the same corrected over all cues (cues,).

    p is the share of placements whose size is at least the observed one. The correction is the step-down minP
    procedure of Westfall & Young (1993; Ge, Dudoit & Speed 2003): every placement gets such a p for every cue, and an
    observed p is held against the least p of the cues not yet passed, placement by placement. The chance of one false
    finding or more among all cues is then at most p_corrected, and cues that move together cost less than by Holm's
    rule. Where p is equal, the larger size (over its root mean square) is the rarer one; else as many places as there
    are cues would share the least p. What is equal then too counts against the finding.

    A cue that is not measurable in a placement cannot be the rarest there; its p is taken among its own placements
    only, and p_corrected is never below it. One that is not measurable where it was observed gets NaN, yet stays among
    those that may be the rarest elsewhere, as a placement must not choose its own rivals.

    Args:
        sizes: signed size of each cue in each placement, (cues, placements), the observed one first; NaN where the
            cue is not measurable.
    """
    from scipy.stats import rankdata

    measurable = np.isfinite(sizes)
    size = np.where(measurable, np.abs(sizes), 0.0)
    places = np.maximum(measurable.sum(axis=1, keepdims=True), 1)
    scale = np.sqrt((size**2).sum(axis=1, keepdims=True) / places)
    # Rounded so that sizes that are equal but for the last bits are ties.
    size = np.where(measurable, np.round(size / np.where(scale > 0, scale, 1.0), 9), -1.0)
    p = np.where(measurable, rankdata(-size, method="max", axis=1) / places, 2.0)
    own = np.where(measurable[:, 0], p[:, 0], np.nan)
    _, ranks = np.unique(np.stack([-p.ravel(), size.ravel()]), axis=1, return_inverse=True)
    rarity = ranks.reshape(sizes.shape)
    order = np.argsort(-rarity[:, 0], kind="stable")
    rarest = np.maximum.accumulate(rarity[order[::-1]], axis=0)[::-1]
    stepped = np.empty(len(sizes))
    stepped[order] = np.maximum.accumulate((rarest >= rarity[order, :1]).mean(axis=1))
    return own, np.maximum(stepped, own)


def beyond_usual(differences: np.ndarray) -> np.ndarray:
    """Return how far each difference of ranges goes beyond 0 and beyond the usual one, both in its own direction.

    A short piece has a smaller range than the rest of the clip wherever it lies, so its size alone would make only
    narrow ranges rare, and never the widest one. What lies between 0 and the usual difference counts as 0: there the
    place is wider than others of its shape and narrower than the rest, and no one word is true of it.

    Args:
        differences: range inside less range outside in each placement, (placements,); NaN where it is not measurable.
    """
    known = differences[np.isfinite(differences)]
    if not len(known):
        return differences
    beyond = differences - np.median(known)
    both = np.sign(differences) * np.minimum(np.abs(differences), np.abs(beyond))
    return np.where(np.isnan(differences) | (differences * beyond > 0), both, 0.0)


def shifted_deltas(
    values: np.ndarray, frames: np.ndarray, pieces: Sequence[tuple[int, int]], starts: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Cliff's delta for every arrangement of the pieces on a circular timeline, with the counts in and out.

    Args:
        values: one value for each frame (or period) that has one, (values,).
        frames: its frame on the timeline, 0 … length − 1, (values,).
        pieces: start and length in frames of each piece of the regions.
        starts: start of each piece in each arrangement, (arrangements, pieces).
        length: frames of the timeline.
    """
    from scipy.stats import rankdata

    ranks = np.bincount(frames, rankdata(values), minlength=length)
    counts = np.bincount(frames, minlength=length).astype(float)
    rank_sum, inside = np.zeros(len(starts)), np.zeros(len(starts))
    for k, (_, width) in enumerate(pieces):
        for sums, per_frame in ((rank_sum, ranks), (inside, counts)):
            around = np.concatenate([[0.0], np.cumsum(np.concatenate([per_frame, per_frame]))])
            sums += around[starts[:, k] + width] - around[starts[:, k]]
    outside = len(values) - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        deltas = 2 * (rank_sum - inside * (inside + 1) / 2) / (inside * outside) - 1
    return deltas, inside, outside


def arrangements(pieces: Sequence[tuple[int, int]], length: int, most: int, seed: int = 0) -> np.ndarray:
    """Return starts (arrangements, pieces) of the pieces on a circular timeline; the first row is where they are.

    One piece: every shift. Several: random order, random gaps and a random turn, so that pieces never overlap.
    """
    here = np.array([[start for start, _ in pieces]])
    widths = np.array([width for _, width in pieces])
    if len(pieces) == 1:
        shifts = np.arange(1, length)
        if len(shifts) > most:
            shifts = np.unique(np.linspace(1, length - 1, most).astype(int))
        return np.concatenate([here, (here[0] + shifts[:, None]) % length])
    rng = np.random.default_rng(seed)
    rows, count = np.arange(most)[:, None], len(pieces)
    order = np.argsort(rng.random((most, count)), axis=1)
    cuts = np.sort(rng.integers(0, length - widths.sum() + 1, (most, count - 1)), axis=1)
    gaps_before = np.concatenate([np.zeros((most, 1), dtype=int), cuts], axis=1)
    ordered = widths[order]
    begin = gaps_before + np.cumsum(ordered, axis=1) - ordered + rng.integers(0, length, (most, 1))
    starts = np.empty((most, count), dtype=int)
    starts[rows, order] = begin % length
    return np.concatenate([here, starts])


def _contrasts(tracks: CueTracks, place: Place) -> list[Contrast]:
    rest = rest_of(tracks, place)
    timeline = np.flatnonzero(tracks.speech)
    pieces = _pieces(place.frames[timeline])
    starts = arrangements(pieces, len(timeline), ARRANGEMENTS) if pieces else np.zeros((1, 0), dtype=int)
    cues = [c for c in CUES if c.contrasted]
    rows = [_difference(tracks, c, place, rest) for c in cues]
    sizes = np.stack([_sizes(tracks, c, pieces, starts) for c in cues])
    # Praat's own count in the regions decides whether a cue is measured there, as periods at an edge may count twice.
    sizes[[row.difference is None for row in rows], 0] = np.nan
    places = np.isfinite(sizes).sum(axis=1)
    notes = [
        "too few values here to find a chance level"
        if count >= FEWEST_PLACES
        else f"too little speech for a p below 0.05 ({count} of at least {FEWEST_PLACES} places have the cue)"
        for count in places
    ]
    sizes[places < FEWEST_PLACES] = np.nan
    return [
        row if row.difference is None else _against_chance(row, c, size, float(p), float(corrected), note)
        for row, c, size, p, corrected, note in zip(rows, cues, sizes, *permutation_p(sizes), notes, strict=True)
    ]


def _pieces(inside: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _difference(tracks: CueTracks, what: Cue, place: Place, rest: Place) -> Contrast:
    inside, count, note = magnitude(tracks, what, place)
    outside, _, rest_note = magnitude(tracks, what, rest)
    row = Contrast(what.name, place.scope, inside, outside, None, what.unit, None, None, None, None, None, count)
    if inside is None or outside is None:
        return replace(row, note=note or f"rest of the speech: {rest_note}")
    return replace(row, difference=inside - outside)


def _sizes(tracks: CueTracks, what: Cue, pieces: list[tuple[int, int]], starts: np.ndarray) -> np.ndarray:
    """Cliff's delta (of ranges :func:`beyond_usual`) in every placement, (placements,); NaN with too few values."""
    values, frames = _single_values(tracks, what)
    length = int(tracks.speech.sum())
    if not pieces or not len(values):
        return np.full(len(starts), np.nan)
    if what.kind == "range":
        return beyond_usual(_shifted_ranges(values, frames, pieces, starts, length, what.fewest))
    deltas, inside, outside = shifted_deltas(values, frames, pieces, starts, length)
    return np.where((inside >= what.fewest) & (outside >= what.fewest), deltas, np.nan)


def _against_chance(row: Contrast, what: Cue, sizes: np.ndarray, p: float, corrected: float, note: str) -> Contrast:
    if not np.isfinite(sizes[0]):
        return replace(row, note=note)
    row = replace(row, p=p, p_corrected=corrected)
    if what.kind == "range":
        return row
    low, high = np.nanquantile(sizes, (0.025, 0.975))
    return replace(row, effect=float(sizes[0]), chance_low=float(low), chance_high=float(high))


def _single_values(tracks: CueTracks, what: Cue) -> tuple[np.ndarray, np.ndarray]:
    """The single values of a cue in speech and their frames on the timeline of speech frames."""
    place = np.cumsum(tracks.speech) - 1
    if what.kind in ("jitter", "shimmer"):
        times_s, values = perturbations(tracks, what.kind)
        frames = np.clip((times_s / STEP_S + 1e-9).astype(int), 0, len(tracks.speech) - 1)
        spoken = tracks.speech[frames]
        return values[spoken], place[frames[spoken]]
    track = _local_slopes(tracks) if what.kind == "slope" else tracks.tracks[what.track]
    there = tracks.speech & np.isfinite(track)
    return track[there], place[there]


def _local_slopes(tracks: CueTracks) -> np.ndarray:
    """Regression slope of F0 in st/s over the five frames around each frame; NaN unless all five are voiced speech."""
    steps = np.arange(-SLOPE_HALF_WIDTH, SLOPE_HALF_WIDTH + 1)
    weights = steps / (steps**2).sum() / STEP_S
    pitch = np.where(tracks.speech, tracks.tracks["f0_st"], np.nan)
    slopes = np.full(len(pitch), np.nan)
    if len(pitch) >= len(weights):
        slopes[SLOPE_HALF_WIDTH:-SLOPE_HALF_WIDTH] = np.correlate(pitch, weights, mode="valid")
    return slopes


def _shifted_ranges(
    values: np.ndarray, frames: np.ndarray, pieces: list[tuple[int, int]], starts: np.ndarray, length: int, fewest: int
) -> np.ndarray:
    """Range inside − range outside for every arrangement, by nearest rank; NaN where one has too few values."""
    order = np.argsort(values, kind="stable")
    ordered, where = values[order], frames[order]
    found = []
    for first in range(0, len(starts), ROWS_AT_ONCE):
        some = starts[first : first + ROWS_AT_ONCE]
        inside = np.zeros((len(some), len(values)), dtype=bool)
        for k, (_, width) in enumerate(pieces):
            inside |= (where[None, :] - some[:, k, None]) % length < width
        found.append(_row_ranges(ordered, inside, fewest) - _row_ranges(ordered, ~inside, fewest))
    return np.concatenate(found)


def _row_ranges(ordered: np.ndarray, chosen: np.ndarray, fewest: int) -> np.ndarray:
    running = np.cumsum(chosen, axis=1, dtype=np.int32)
    count = running[:, -1]
    ends = [ordered[(running >= np.maximum(1, np.ceil(q * count))[:, None]).argmax(axis=1)] for q in (0.1, 0.9)]
    return np.where(count >= fewest, ends[1] - ends[0], np.nan)
