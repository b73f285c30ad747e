"""Spectral features in torch, so that a gradient can reach the waveform."""

import numpy as np
import torch
from torch import Tensor, nn
from transformers.audio_utils import hertz_to_mel, mel_filter_bank, mel_to_hertz

SAMPLE_RATE = 16_000


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram without its padding to 30 s.

    Equals ``WhisperFeatureExtractor`` on the frames that hold signal (25 ms Hann window, 10 ms hop,
    mel bands on Slaney's scale, log10, clipped 80 dB below the clip's maximum, shifted and scaled).
    Source: Radford et al. 2022, section 2.2, and the ``transformers`` implementation.
    """

    window_samples = 400
    hop_samples = 160
    step_s = hop_samples / SAMPLE_RATE

    def __init__(self, bands: int = 80) -> None:
        super().__init__()
        filters = mel_filter_bank(201, bands, 0.0, 8000.0, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
        self.filters: Tensor
        self.window: Tensor
        self.register_buffer("filters", torch.from_numpy(np.asarray(filters, np.float32)), persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_samples), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Return (batch, bands, frames) of (batch, samples); frame k is centred at k × 10 ms."""
        half = self.window_samples // 2
        padded = nn.functional.pad(samples[:, None], (half, 0), mode="reflect")[:, 0]
        padded = nn.functional.pad(padded, (0, half))
        spectrum = torch.stft(
            padded,
            self.window_samples,
            self.hop_samples,
            window=self.window,
            center=False,
            return_complex=True,
        )[..., :-1]
        power = spectrum.real**2 + spectrum.imag**2
        level = torch.clamp(self.filters.T @ power, min=1e-10).log10()
        floor = level.amax(dim=(1, 2), keepdim=True) - 8.0
        return (torch.maximum(level, floor) + 4.0) / 4.0


def mel_centres_hz(bands: int = 80) -> np.ndarray:
    """Return the centre frequencies in Hz of ``LogMel``'s bands, shape (bands,)."""
    return _centres_hz(0.0, bands, "slaney")


def kaldi_centres_hz(bands: int) -> np.ndarray:
    """Return the centre frequencies in Hz of Kaldi's filter bank from 20 Hz up, shape (bands,)."""
    return _centres_hz(20.0, bands, "kaldi")


def at_floor(bands: Tensor) -> Tensor:
    """Return a spectrogram of the shape (batch, bands, frames) that lies at each clip's lowest level everywhere."""
    return bands.amin(dim=(1, 2), keepdim=True).expand_as(bands)


def unit_variance(samples: Tensor) -> Tensor:
    """Return samples (batch, samples) of zero mean and unit variance, as wav2vec 2.0's feature extractor does."""
    deviation = (samples.var(-1, keepdim=True, unbiased=False) + 1e-7).sqrt()
    return (samples - samples.mean(-1, keepdim=True)) / deviation


def _centres_hz(lowest_hz: float, bands: int, scale: str) -> np.ndarray:
    edges = np.linspace(hertz_to_mel(lowest_hz, scale), hertz_to_mel(8000.0, scale), bands + 2)
    return np.asarray(mel_to_hertz(edges, scale))[1:-1]
