"""MicroFrontend features: the fixed-point filter bank of microcontrollers, the same code in training and on a device.

Window, FFT, mel filter bank, noise suppression, automatic gain control per band (PCAN) and a logarithm, all in
integers (TensorFlow Lite Micro's audio front end, Wang et al. 2017 for PCAN). The numbers are compiled into
``pymicro-features``; ``FRONTEND`` says them, so that a device can be set up alike. Nothing of it has a gradient.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FrontendConfig:
    """The numbers of the front end, as a device needs them.

    Attributes:
        package: whose compiled front end they are.
        sample_rate: in Hz, 16-bit mono.
        window_ms: length of a frame.
        step_ms: from frame to frame.
        bands: triangular filters, evenly spaced on the mel scale 1127 ln(1 + f / 700).
        low_hz: lower edge of the first filter.
        high_hz: upper edge of the last filter.
        smoothing_bits: fixed-point bits of the noise estimate.
        even_smoothing: share of each new frame in the noise estimate of even bands.
        odd_smoothing: the same of odd bands.
        min_signal_remaining: least share of a band's signal that noise suppression leaves.
        pcan_strength: exponent of the gain control.
        pcan_offset: added to the noise estimate in the gain control.
        pcan_gain_bits: fixed-point bits of the gain.
        log_scale_shift: the logarithm is multiplied by 2 to this power.
        scale: what the integers are multiplied by to give the features.
        reset: when the state (noise estimate) starts anew.
    """

    package: str = "pymicro-features 2.0.2"
    sample_rate: int = 16_000
    window_ms: int = 30
    step_ms: int = 10
    bands: int = 40
    low_hz: float = 125.0
    high_hz: float = 7500.0
    smoothing_bits: int = 10
    even_smoothing: float = 0.025
    odd_smoothing: float = 0.06
    min_signal_remaining: float = 0.05
    pcan_strength: float = 0.95
    pcan_offset: float = 80.0
    pcan_gain_bits: int = 21
    log_scale_shift: int = 6
    scale: float = 10 / 256
    reset: str = "at the start of every clip"

    @property
    def step_s(self) -> float:
        """Seconds from frame to frame."""
        return self.step_ms / 1000

    @property
    def first_s(self) -> float:
        """Centre of the first frame in seconds."""
        return self.window_ms / 2000

    @property
    def band_centres_hz(self) -> tuple[float, ...]:
        """Peaks of the filters in Hz."""
        low, high = (1127 * np.log1p(edge / 700) for edge in (self.low_hz, self.high_hz))
        mels = np.linspace(low, high, self.bands + 2)[1:-1]
        return tuple((700 * np.expm1(mels / 1127)).tolist())


FRONTEND = FrontendConfig()


def micro_features(samples: np.ndarray) -> np.ndarray:
    """Return the features (bands, frames) float32 of 16 kHz samples (samples,); silence is 0.

    Frame k is centred at ``FRONTEND.first_s + k × FRONTEND.step_s`` seconds; what is left behind the last whole frame
    is dropped, and less than one frame is filled up with silence.
    """
    from pymicro_features import MicroFrontend

    whole = np.zeros(max(len(samples), FRONTEND.window_ms * 16), np.int16)
    whole[: len(samples)] = np.clip(np.round(samples * 32768), -32768, 32767)
    frontend, step, rows = MicroFrontend(), FRONTEND.step_ms * 16, []
    for start in range(0, len(whole) - step + 1, step):
        values = frontend.process_samples(whole[start : start + step].tobytes()).features
        if values:
            rows.append(values)
    return np.array(rows, np.float32).T
