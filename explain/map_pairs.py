"""How alike two maps of one clip are, against chance.

Maps are compared on one grid of 20 ms, over the seconds of speech, and over mel bands as well where both maps have
frequencies. Two maps are *alike* where their rank correlation lies above the 95th percentile of what it is with one of
them turned in time, and their salient regions *overlap* where they share more of their seconds than 95 % of the same
shapes at random places in the speech.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explain.attribution import Attribution, relevance_on_grid
from explain.explanation import Explanation
from explain.map_changes import correlation
from explain.removal import FEWEST_TURNS, overlap, placements, turns
from ser_core.features import mel_centres_hz
from ser_core.speech import speech_mask

GRID_S, GRID_BANDS = 0.02, 40
DRAWS, STRICT = 99, 0.95


@dataclass(frozen=True)
class MapPair:
    """How alike two maps of one clip are; ``one`` and ``other`` are places among the comparison's sides.

    correlation is Spearman's, correlation_chance the 95th percentile with one map turned in time; overlap is the
    intersection over the union of the salient regions' seconds, overlap_chance the 95th percentile at random places.
    None where a map has no time axis, no region, or the clip is too short to turn it.
    """

    one: int
    other: int
    correlation: float | None
    correlation_chance: float | None
    overlap: float | None
    overlap_chance: float | None
    bands: bool

    @property
    def alike(self) -> bool | None:
        """Whether the maps are alike beyond chance; None where that cannot be said."""
        if self.correlation is None or self.correlation_chance is None:
            return None
        return self.correlation > self.correlation_chance


def map_pair(sides: Sequence[Explanation], one: int, other: int, seed: int = 0) -> MapPair:
    """Return how alike the maps of two explanations of one clip are.

    Args:
        sides: the explanations.
        one: place of the first.
        other: place of the second.
        seed: of the random places.
    """
    first, second = sides[one], sides[other]
    maps = [first.attribution, second.attribution]
    if any(each.times_s is None for each in maps):
        return MapPair(one, other, None, None, None, None, False)
    times_s, bands_hz = _grid(maps, first.recording.duration_s)
    spoken = speech_mask(first.speech, times_s)
    if not spoken.any():
        spoken = np.ones(len(times_s), dtype=bool)
    a, b = (_on_grid(each, times_s[spoken], bands_hz) for each in maps)
    by = turns(a.shape[-1])
    value = chance = None
    if len(by) >= FEWEST_TURNS:
        value = correlation(a, b)
        some = by if len(by) <= DRAWS else by[np.linspace(0, len(by) - 1, DRAWS).astype(int)]
        chance = float(np.quantile([correlation(a, np.roll(b, turn, axis=-1)) for turn in some], STRICT))
    shared = shared_chance = None
    if first.regions and second.regions:
        ours, theirs = (_seconds(side, times_s) for side in (first, second))
        drawn = placements(theirs[None], spoken, DRAWS, np.random.default_rng(seed))
        shared = overlap(ours, theirs)
        shared_chance = float(np.quantile([overlap(ours, draw[0]) for draw in drawn], STRICT))
    return MapPair(one, other, value, chance, shared, shared_chance, bands_hz is not None)


def _grid(maps: Sequence[Attribution], duration_s: float) -> tuple[np.ndarray, np.ndarray | None]:
    """The common grid: every 20 ms that both maps know, and the mel bands within both, or None where one has none."""
    times = [each.times_s for each in maps if each.times_s is not None]
    start, end = max(each[0] for each in times), min(each[-1] for each in times)
    times_s = np.arange(GRID_S / 2, duration_s, GRID_S)
    times_s = times_s[(times_s >= start) & (times_s <= end)]
    bands = [each.bands_hz for each in maps if each.bands_hz is not None]
    if len(bands) < len(maps):
        return times_s, None
    low, high = max(each[0] for each in bands), min(each[-1] for each in bands)
    bands_hz = mel_centres_hz(GRID_BANDS)
    return times_s, bands_hz[(bands_hz >= low) & (bands_hz <= high)]


def _on_grid(attribution: Attribution, times_s: np.ndarray, bands_hz: np.ndarray | None) -> np.ndarray:
    if attribution.bands_hz is not None and bands_hz is None:
        over_time = attribution.relevance.sum(axis=0)
        attribution = dataclasses.replace(attribution, relevance=over_time, bands_hz=None, axes="time")
    return np.nan_to_num(relevance_on_grid(attribution, times_s, bands_hz))


def _seconds(side: Explanation, times_s: np.ndarray) -> np.ndarray:
    inside = np.zeros(len(times_s), dtype=bool)
    for region in side.regions:
        inside |= (times_s >= region.start_s) & (times_s < region.end_s)
    return inside
