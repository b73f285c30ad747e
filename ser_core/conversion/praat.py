"""Voice conversion by Praat: the sampling rate shifts all resonances, PSOLA sets timing back and pitch anew.

Source: Moulines & Charpentier 1990, "Pitch-synchronous waveform processing techniques"; the Praat manual, "Sound:
Change gender", whose steps these are, here with pitch scaled in semitones around the speaker's median instead of in Hz
around the clip's. A longer vocal tract leaves nothing above 8 kHz × scale.
"""

import numpy as np
import parselmouth
from parselmouth.praat import call, run

from ser_core.audio import SAMPLE_RATE
from ser_core.conversion.voice import Change

STEP_S = 0.01
SEED = 1


def apply(samples: np.ndarray, wanted: Change) -> np.ndarray:
    """Return (samples,) at 16 kHz with new pitch and formants."""
    run(f"random_initializeWithSeedUnsafelyButPredictably ({SEED})")  # PSOLA places the pieces of breath at random
    sound = parselmouth.Sound(samples, sampling_frequency=SAMPLE_RATE * wanted.scale)
    low_hz, high_hz = wanted.pitch_range_hz
    manipulation = call(sound, "To Manipulation", STEP_S, low_hz * wanted.scale, high_hz * wanted.scale)
    tier = call(manipulation, "Extract pitch tier")
    raised = wanted.source_f0_hz * wanted.scale
    call(tier, "Formula", f"{wanted.target_f0_hz} * (self / {raised}) ^ {wanted.range_factor}")
    call([manipulation, tier], "Replace pitch tier")
    duration = call("Create DurationTier", "back", sound.xmin, sound.xmax)
    call(duration, "Add point", 0.0, wanted.scale)
    call([manipulation, duration], "Replace duration tier")
    spoken = call(manipulation, "Get resynthesis (overlap-add)")
    converted: np.ndarray = spoken.resample(SAMPLE_RATE).values[0]
    return converted
