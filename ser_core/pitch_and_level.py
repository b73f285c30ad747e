"""Pitch and level of a clip by Praat, in a module that loads nothing else, as worker processes import it."""

import numpy as np

from ser_core.audio import SAMPLE_RATE

PITCH_HZ = (60.0, 600.0)
STEP_S = 0.01
INTENSITY_FLOOR_HZ = 100.0


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
