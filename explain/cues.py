"""Acoustic cues by Praat and openSMILE, measured once on the whole clip and cut by region."""

from dataclasses import dataclass

import numpy as np

from explain.regions import Region


@dataclass(frozen=True)
class CueSettings:
    """What a phonetician may correct. None means: found from the clip.

    sex is "female", "male", "child" or "unknown"; it chooses the formant ceiling and the neutral reference.
    """

    sex: str = "unknown"
    pitch_floor_hz: float | None = None
    pitch_ceiling_hz: float | None = None
    formant_ceiling_hz: float | None = None
    octave_jump_cost: float = 0.35


@dataclass(frozen=True, eq=False)
class CueTracks:
    """Cue tracks of the whole clip every 10 ms, and the glottal periods.

    ``tracks`` maps a track's name (f0_hz, intensity_db, hnr_db, f1_hz, f1_bandwidth_hz, … alpha_ratio_db …) to an
    array (frames,), NaN where it is not defined. ``voiced`` is True where Praat's F0 > 0. ``pulses_s`` are the pulses
    of the one PointProcess. ``settings`` holds the values in force, never None.
    """

    times_s: np.ndarray
    tracks: dict[str, np.ndarray]
    voiced: np.ndarray
    speech: np.ndarray
    pulses_s: np.ndarray
    settings: CueSettings
    sex_guess: str


@dataclass(frozen=True)
class CueValue:
    """The magnitude of one cue in one place; value is None when it is not measurable, and ``note`` says why.

    scope is "clip" or the rank of a region. count says of what the value is made (``counted``: "voiced frames",
    "periods", "frames", "syllable nuclei"). reliability is "" or the reason to doubt the value.
    """

    cue: str
    scope: str
    value: float | None
    unit: str
    count: int
    counted: str
    note: str = ""
    reliability: str = ""


@dataclass(frozen=True)
class Contrast:
    """A cue inside a salient region against the rest of the speech of the same clip.

    effect is Cliff's delta (−1 … 1); chance_low/high is the 95 % range of the effect when the regions' shapes are
    shifted over speech frames only; p is that permutation p, p_corrected is Holm's over the cues of the region.
    """

    cue: str
    scope: str
    inside: float | None
    outside: float | None
    difference: float | None
    unit: str
    effect: float | None
    chance_low: float | None
    chance_high: float | None
    p: float | None
    p_corrected: float | None
    count: int
    note: str = ""


@dataclass(frozen=True)
class CueSummary:
    """All magnitudes and contrasts of one clip and its regions."""

    regions: tuple[Region, ...]
    values: tuple[CueValue, ...]
    contrasts: tuple[Contrast, ...]
