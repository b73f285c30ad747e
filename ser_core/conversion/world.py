"""Voice conversion by the WORLD vocoder: new F0, stretched envelope and aperiodicity, new synthesis.

Source: Morise, Yokomori & Ozawa 2016, "WORLD: a vocoder-based high-quality speech synthesis system": envelope by
CheapTrick, aperiodicity by D4C. F0 is Praat's, refined by StoneMask: WORLD's own DIO finds hardly any in shouted clips.
"""

import numpy as np
import parselmouth
import pyworld

from ser_core.audio import SAMPLE_RATE
from ser_core.conversion.voice import Change, pitch

STEP_S = 0.005


def apply(samples: np.ndarray, wanted: Change) -> np.ndarray:
    """Return (samples,) at 16 kHz with new pitch and formants."""
    found_s, found_hz = pitch(parselmouth.Sound(samples, float(SAMPLE_RATE)), *wanted.pitch_range_hz)
    times_s = np.arange(int(len(samples) / SAMPLE_RATE / STEP_S) + 1) * STEP_S
    nearest = np.abs(found_s[:, None] - times_s).argmin(axis=0)
    f0_hz = pyworld.stonemask(samples, found_hz[nearest], times_s, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(samples, f0_hz, times_s, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(samples, f0_hz, times_s, SAMPLE_RATE)
    converted: np.ndarray = pyworld.synthesize(
        wanted.f0(f0_hz),
        np.exp(_stretched(np.log(envelope), wanted.scale)),
        _stretched(aperiodicity, wanted.scale),
        SAMPLE_RATE,
    )
    return converted


def _stretched(spectra: np.ndarray, scale: float) -> np.ndarray:
    """Return (frames, bins) whose value at a frequency is the old one at frequency / scale; the last bin goes on."""
    bins = spectra.shape[1]
    at = np.minimum(np.arange(bins) / scale, bins - 1)
    left = np.floor(at).astype(int)
    right = np.minimum(left + 1, bins - 1)
    part = at - left
    return np.ascontiguousarray(spectra[:, left] * (1 - part) + spectra[:, right] * part)
