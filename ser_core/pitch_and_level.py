"""Pitch, level and vocal tract of a clip by Praat, in a module that worker processes import: it loads nothing else."""

import numpy as np

from ser_core.audio import SAMPLE_RATE

PITCH_HZ = (60.0, 600.0)
STEP_S = 0.01
INTENSITY_FLOOR_HZ = 100.0
FORMANT_CEILING_HZ = 5500.0
SOUND_CM_S = 35_000.0


def pitch_and_level(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return F0 in Hz (0 where unvoiced) and level in dB, (frames,) centred at k × 10 ms, of 16 kHz samples."""
    import parselmouth

    sound = parselmouth.Sound(samples.astype(np.float64), sampling_frequency=float(SAMPLE_RATE))
    times_s = np.arange(max(1, int(len(samples) / SAMPLE_RATE / STEP_S))) * STEP_S
    pitch = sound.to_pitch_ac(time_step=STEP_S, pitch_floor=PITCH_HZ[0], pitch_ceiling=PITCH_HZ[1])
    intensity = sound.to_intensity(minimum_pitch=INTENSITY_FLOOR_HZ, time_step=STEP_S)
    near = np.clip(np.round((times_s - pitch.x1) / STEP_S).astype(int), 0, pitch.n_frames - 1)
    level_db = np.interp(times_s, intensity.xs(), np.maximum(intensity.values[0], 0.0))
    return pitch.selected_array["frequency"][near], level_db


def pitch_and_tract(samples: np.ndarray) -> tuple[float, float]:
    """Return the median F0 in Hz and the apparent length of the vocal tract in cm of 16 kHz samples; NaN if unvoiced.

    The length is that of the uniform tube whose first four resonances fit the formants best, on average
    (Lammert & Narayanan 2015, "On short-time estimation of vocal tract length from formant frequencies"). Every voice
    is measured with one ceiling (5500 Hz), so that lengths can be compared; they are not anatomical lengths.
    """
    import parselmouth

    sound = parselmouth.Sound(samples.astype(np.float64), sampling_frequency=float(SAMPLE_RATE))
    pitch = sound.to_pitch_ac(time_step=STEP_S, pitch_floor=PITCH_HZ[0], pitch_ceiling=PITCH_HZ[1])
    f0_hz, times_s = pitch.selected_array["frequency"], pitch.xs()
    if not (f0_hz > 0).any():
        return float("nan"), float("nan")
    formants = sound.to_formant_burg(STEP_S, 5.0, FORMANT_CEILING_HZ)
    spacing = np.array(
        [[formants.get_value_at_time(k, float(at)) / (k - 0.5) for k in (1, 2, 3, 4)] for at in times_s[f0_hz > 0]]
    ).mean(1)
    whole = spacing[np.isfinite(spacing)]
    tract_cm = SOUND_CM_S / (2 * float(np.median(whole))) if len(whole) else float("nan")
    return float(np.median(f0_hz[f0_hz > 0])), tract_cm
