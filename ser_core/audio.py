"""From bytes to a checked mono recording at 16 kHz."""

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Source:
    """What the file was before it was decoded."""

    container: str
    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True, eq=False)
class Recording:
    """Mono float32 samples at 16 kHz, shape (samples,), read-only; time 0 is the first sample."""

    samples: np.ndarray
    name: str
    sha256: str
    source: Source

    @property
    def sample_rate(self) -> int:
        """Samples per second; the same for every recording."""
        return SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Quality:
    """How good a recording is; NaN where it cannot be said. Levels in dB, bandwidth in Hz, shares 0 … 1."""

    duration_s: float
    peak_dbfs: float
    clipped_share: float
    snr_db: float
    bandwidth_hz: float
    narrowband: bool
    speech_share: float
    voiced_share: float
    warnings: tuple[str, ...]
