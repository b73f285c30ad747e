"""Cues of two speakers in relative terms only: a larger larynx is no emotion.

Beside each other are set the cues that have no absolute level (ranges, slopes, rate, pauses), and the place of every
cue in neutral speech of the speaker's own sex (of both where it is not set), as a percentile and as a normal score.
"""

from dataclasses import dataclass

import numpy as np

from explain.cues import CLIP, CUES, CueTracks
from explain.explanation import Explanation
from explain.reference import load_reference

RELATIVE = ("f0_variability", "f0_slope", "intensity_variability", "speech_rate", "pauses")
"""Cues that have no absolute level: two speakers' own figures may be set beside each other."""


@dataclass(frozen=True)
class RelativeCue:
    """One cue of two speakers, in relative terms only.

    values are given, in ``unit``, only for cues that have no absolute level; percentiles (0 … 100) and scores (standard
    deviations of a normal distribution) are the places in neutral speech of each speaker's own sex,
    where that is set, else of both.
    """

    cue: str
    unit: str
    values: tuple[float | None, float | None]
    percentiles: tuple[float | None, float | None]
    scores: tuple[float | None, float | None]

    @property
    def difference(self) -> float | None:
        """The second speaker's score less the first's."""
        first, second = self.scores
        return None if first is None or second is None else second - first


def relative_cues(one: Explanation, two: Explanation) -> tuple[RelativeCue, ...]:
    """Return the cues of two speakers in relative terms only."""
    from scipy.stats import norm

    reference = load_reference()
    rows = []
    for cue in CUES:
        if cue.name == "f0_median":
            # The pitch level once more.
            continue
        values, places = [], []
        for side in (one, two):
            value = next((v.value for v in side.cues.values if (v.cue, v.scope) == (cue.name, CLIP)), None)
            neutral = reference.row(cue.name, side.tracks.settings.sex)
            values.append(value if cue.name in RELATIVE else None)
            places.append(neutral.percentile(value) if neutral is not None and value is not None else None)
        if any(each is not None for each in (*values, *places)):
            scores = [None if place is None else float(norm.ppf(place / 100)) for place in places]
            rows.append(
                RelativeCue(cue.name, cue.unit, (values[0], values[1]), (places[0], places[1]), (scores[0], scores[1]))
            )
    return tuple(rows)


def relative_pitch(tracks: CueTracks) -> np.ndarray:
    """Return the pitch contour in semitones around the clip's own median, (frames,), NaN where there is no voice."""
    return _around_median(tracks.tracks["f0_st"])


def relative_level(tracks: CueTracks) -> np.ndarray:
    """Return the level in dB around the clip's own mean level of speech, (frames,), NaN outside speech."""
    level_db = np.where(tracks.speech, tracks.tracks["intensity_db"], np.nan)
    return level_db - np.nanmean(level_db) if np.isfinite(level_db).any() else level_db


def _around_median(values: np.ndarray) -> np.ndarray:
    return values - np.nanmedian(values) if np.isfinite(values).any() else values
