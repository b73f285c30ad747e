"""Jitter and shimmer: how neighbouring glottal periods differ, as Praat computes them over a time range.

They belong to stretches of periods, all of the one PointProcess of the clip, not to frames.
"""

from collections.abc import Sequence

import numpy as np

from explain.cues import CueTracks
from ser_core.errors import ExplanationError

LONGEST_PERIOD_FACTOR, AMPLITUDE_FACTOR = 1.3, 1.6


def jitter_local(tracks: CueTracks, stretches: Sequence[tuple[float, float]]) -> tuple[float, int]:
    """Return jitter (local) in percent over the given stretches of seconds, and the number of periods; NaN if none.

    As Praat's "Get jitter (local)" with shortest period 0.8/ceiling, longest 1.25/floor and factor 1.3: the mean
    absolute difference of neighbouring periods over the mean period. Over several stretches the sums are pooled.
    """
    shortest, longest = _period_limits(tracks)
    differences, periods = 0.0, []
    pairs = 0
    for pulses in _pulses_in(tracks, stretches):
        t = tracks.pulses_s[pulses]
        lengths = np.diff(t)
        first, second = lengths[:-1], lengths[1:]
        valid = _both_valid(first, second, shortest, longest)
        differences += float(np.abs(first - second)[valid].sum())
        pairs += int(valid.sum())
        periods.append(_periods(tracks.pulses_s, pulses, shortest, longest))
    good = np.concatenate(periods) if periods else np.zeros(0)
    if pairs == 0 or not len(good):
        return float("nan"), 0
    return 100 * differences / pairs / float(good.mean()), len(good)


def shimmer_local_db(tracks: CueTracks, stretches: Sequence[tuple[float, float]]) -> tuple[float, int]:
    """Return shimmer (local, dB) over the given stretches of seconds, and the number of periods; NaN if none.

    As Praat's "Get shimmer (local_dB)" with factor 1.6: the mean absolute level difference of neighbouring periods.
    """
    shortest, longest = _period_limits(tracks)
    differences: list[np.ndarray] = []
    periods = 0
    for pulses in _pulses_in(tracks, stretches):
        _, level_db, valid = _amplitude_pairs(tracks, pulses[1:-1], shortest, longest)
        differences.append(level_db[valid])
        periods += len(_periods(tracks.pulses_s, pulses, shortest, longest))
    good = np.concatenate(differences) if differences else np.zeros(0)
    return (float(good.mean()), periods) if len(good) else (float("nan"), 0)


def _period_limits(tracks: CueTracks) -> tuple[float, float]:
    floor_hz, ceiling_hz = tracks.settings.pitch_floor_hz, tracks.settings.pitch_ceiling_hz
    if floor_hz is None or ceiling_hz is None:
        raise ExplanationError("The cue tracks name no pitch floor and ceiling; measure the clip again.")
    return 0.8 / ceiling_hz, 1.25 / floor_hz


def _pulses_in(tracks: CueTracks, stretches: Sequence[tuple[float, float]]) -> list[np.ndarray]:
    found = [np.flatnonzero((tracks.pulses_s >= start_s) & (tracks.pulses_s <= end_s)) for start_s, end_s in stretches]
    return [pulses for pulses in found if len(pulses) >= 3]


def _both_valid(first: np.ndarray, second: np.ndarray, shortest: float, longest: float) -> np.ndarray:
    fits = (first >= shortest) & (first <= longest) & (second >= shortest) & (second <= longest)
    return fits & (np.maximum(first, second) <= LONGEST_PERIOD_FACTOR * np.minimum(first, second))


def _periods(pulses_s: np.ndarray, pulses: np.ndarray, shortest: float, longest: float) -> np.ndarray:
    """Return the lengths of the intervals between neighbouring pulses that Praat counts as periods of all pulses."""
    lengths = np.diff(pulses_s)
    mine = pulses[:-1]
    length = lengths[mine]
    before = np.where(mine > 0, lengths[np.maximum(mine - 1, 0)], np.nan)
    after = np.where(mine + 1 < len(lengths), lengths[np.minimum(mine + 1, len(lengths) - 1)], np.nan)
    unlike = [np.maximum(length / side, side / length) for side in (before, after)]
    # As in Praat, an interval is no period only where it has two neighbours and differs too much from both.
    fits = ~((unlike[0] > LONGEST_PERIOD_FACTOR) & (unlike[1] > LONGEST_PERIOD_FACTOR))
    return length[(length >= shortest) & (length <= longest) & fits]


def _amplitude_pairs(
    tracks: CueTracks, pulses: np.ndarray, shortest: float, longest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time of the later pulse, |level difference| in dB and whether it counts, for neighbours with amplitude."""
    pulses = pulses[np.isfinite(tracks.amplitudes[pulses])]
    t, amplitude = tracks.pulses_s[pulses], tracks.amplitudes[pulses]
    first, second = amplitude[:-1], amplitude[1:]
    length = np.diff(t)
    ratio = np.maximum(first, second) / np.maximum(np.minimum(first, second), 1e-300)
    valid = (length >= shortest) & (length <= longest) & (ratio <= AMPLITUDE_FACTOR)
    return t[1:], 20 * np.log10(ratio), valid


def perturbations(tracks: CueTracks, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times in seconds and sizes of the single differences: % of the local period (jitter) or dB (shimmer)."""
    shortest, longest = _period_limits(tracks)
    t = tracks.pulses_s
    if len(t) < 3:
        return np.zeros(0), np.zeros(0)
    if kind == "shimmer":
        times_s, level_db, valid = _amplitude_pairs(tracks, np.arange(len(t)), shortest, longest)
        return times_s[valid], level_db[valid]
    first, second = np.diff(t)[:-1], np.diff(t)[1:]
    valid = _both_valid(first, second, shortest, longest)
    return t[1:-1][valid], (200 * np.abs(first - second) / (first + second))[valid]
