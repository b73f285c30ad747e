"""How many samples of a sound are clipped."""

import numpy as np


class Clipping:
    """Counts, block by block, the samples in flat runs at a channel's own highest or lowest value.

    A run is three or more neighbours within 0.01 % of the extreme: a limiter at any level leaves them, speech hardly
    ever (a quiet, steady tone under 80 Hz may). Lossy codecs bend flat tops, so there every sample at or over full
    scale counts, too, and the share is too low.
    """

    def __init__(self, channels: int, lossy: bool) -> None:
        self._lossy = lossy
        self._extremes = np.zeros((2, channels), np.float32)
        self._flat = np.zeros((2, channels))
        self._over = np.zeros(channels)
        self._seen = 0

    def add(self, block: np.ndarray) -> None:
        """Count a block of shape (frames, channels)."""
        for side, values in enumerate((block, -block)):
            top = values.max(axis=0)
            higher = top > self._extremes[side] * 1.0001
            self._flat[side, higher] = 0
            self._extremes[side] = np.maximum(self._extremes[side], top)
            at = values >= np.maximum(self._extremes[side] * 0.9999, 1e-4)
            triple = at[:-2] & at[1:-1] & at[2:]
            flat = np.zeros_like(at)
            for shift in range(3):
                flat[shift : len(at) - 2 + shift] |= triple
            self._flat[side] += flat.sum(axis=0)
        self._over += (np.abs(block) >= 0.999).sum(axis=0)
        self._seen += len(block)

    @property
    def peaks(self) -> np.ndarray:
        """Largest absolute value of each channel, shape (channels,)."""
        return self._extremes.max(axis=0)

    @property
    def shares(self) -> np.ndarray:
        """Share of clipped samples of each channel, 0 … 1, shape (channels,)."""
        flat = self._flat.sum(axis=0)
        return (np.maximum(flat, self._over) if self._lossy else flat) / max(1, self._seen)
