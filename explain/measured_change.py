"""How far a cue of a clip has truly been changed: the changed clip is measured against the original.

Runs in a worker process, since Parselmouth holds Python's global lock.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ser_core.audio import SAMPLE_RATE

if TYPE_CHECKING:
    import parselmouth

PITCH_HZ = (60.0, 600.0)


def measure_changes(
    name: str, original: np.ndarray, clips: Sequence[np.ndarray], start_s: float | None, end_s: float | None
) -> list[float]:
    """Return the change that each clip truly has against the original, in the experiment's ``measured`` unit.

    Pitch and formants are Praat's over the voiced frames (formants: the median ratio of F1 to F3, frame by frame),
    tempo is the ratio of durations, loudness that of levels, tilt the slope of the change of the mean spectrum over
    octaves from 250 Hz to 4 kHz; NaN where there is too little voice.
    """
    measure = _MEASURES[name]
    if name == "tempo":
        return [measure(original, clip, start_s, end_s) for clip in clips]
    part = functools.partial(stretch, start_s=start_s, end_s=end_s)
    return [measure(part(original), part(clip), None, None) for clip in clips]


def stretch(samples: np.ndarray, start_s: float | None, end_s: float | None) -> np.ndarray:
    """Return the samples at 16 kHz from start to end in seconds; all of them where either is None."""
    if start_s is None or end_s is None:
        return samples
    return samples[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]


def semitones(samples: np.ndarray) -> np.ndarray:
    """Return Praat's pitch of the voiced frames in semitones over 1 Hz (frames,); none for less than 0.1 s."""
    from ser_core.conversion.voice import pitch

    if len(samples) < 0.1 * SAMPLE_RATE:
        return np.zeros(0)
    _, f0_hz = pitch(sound_of(samples), *PITCH_HZ)
    return 12 * np.log2(f0_hz[f0_hz > 0])


def _measured_level(before: np.ndarray, after: np.ndarray, *_: float | None) -> float:
    one, two = semitones(before), semitones(after)
    return float(np.median(two) - np.median(one)) if min(len(one), len(two)) >= 5 else float("nan")


def _measured_range(before: np.ndarray, after: np.ndarray, *_: float | None) -> float:
    one, two = semitones(before), semitones(after)
    if min(len(one), len(two)) < 10:
        return float("nan")
    spread = [float(np.subtract(*np.percentile(values, [90, 10]))) for values in (one, two)]
    return spread[1] / spread[0] if spread[0] > 0.1 else float("nan")


def _measured_tempo(before: np.ndarray, after: np.ndarray, start_s: float | None, end_s: float | None) -> float:
    longer = (len(after) - len(before)) / SAMPLE_RATE
    span = len(before) / SAMPLE_RATE if start_s is None or end_s is None else end_s - start_s
    return span / max(span + longer, 1e-6)


def _measured_loudness(before: np.ndarray, after: np.ndarray, *_: float | None) -> float:
    one, two = (float(np.mean(np.square(values, dtype=float))) for values in (before, after))
    return 10 * float(np.log10(two / one)) if min(one, two) > 0 else float("nan")


def _measured_formants(before: np.ndarray, after: np.ndarray, *_: float | None) -> float:
    """Median over frames that are voiced in both, and over F1 to F3, of the ratio of the formants."""
    from ser_core.conversion.voice import ceiling_hz, formants, pitch

    if min(len(before), len(after)) < 0.1 * SAMPLE_RATE:
        return float("nan")
    tracks = [pitch(sound_of(values), *PITCH_HZ) for values in (before, after)]
    both = min(len(f0_hz) for _, f0_hz in tracks)
    voiced = (tracks[0][1][:both] > 0) & (tracks[1][1][:both] > 0)
    if voiced.sum() < 5:
        return float("nan")
    times_s = tracks[0][0][:both][voiced]
    ceiling = ceiling_hz(float(np.median(tracks[0][1][:both][voiced])))
    one, two = (formants(sound_of(values), times_s, ceiling)[:3] for values in (before, after))
    return float(np.exp(np.nanmedian(np.log(two / one))))


def _measured_tilt(before: np.ndarray, after: np.ndarray, *_: float | None) -> float:
    hz = np.fft.rfftfreq(512, 1 / SAMPLE_RATE)
    inside = (hz >= 250) & (hz <= 4000)
    levels = []
    for values in (before, after):
        if len(values) < 512:
            return float("nan")
        frames = np.lib.stride_tricks.sliding_window_view(values, 512)[::256] * np.hanning(512)
        levels.append(10 * np.log10(np.mean(np.abs(np.fft.rfft(frames)) ** 2, axis=0)[inside] + 1e-20))
    return float(np.polyfit(np.log2(hz[inside]), levels[1] - levels[0], 1)[0])


_MEASURES: dict[str, Callable[[np.ndarray, np.ndarray, float | None, float | None], float]] = {
    "pitch_level": _measured_level,
    "pitch_range": _measured_range,
    "tempo": _measured_tempo,
    "loudness": _measured_loudness,
    "formant_scale": _measured_formants,
    "spectral_tilt": _measured_tilt,
}


def sound_of(samples: np.ndarray) -> "parselmouth.Sound":
    """Return samples at 16 kHz as Praat's sound."""
    import parselmouth

    return parselmouth.Sound(samples.astype(np.float64), sampling_frequency=float(SAMPLE_RATE))
