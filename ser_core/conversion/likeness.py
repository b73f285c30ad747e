"""How alike two voices are: cosine of speaker embeddings by a published encoder that has no part in the conversion.

GE2E encoder of the package ``resemblyzer`` 0.1.4 (Apache-2.0; Wan et al. 2018, "Generalized end-to-end loss for speaker
verification"). Only its weights are used: the package comes with compiled dependencies that are not needed here, so it
is installed without them (``pip install --no-deps resemblyzer==0.1.4``). The file is checked against its SHA-256 and
read as tensors only. This serves the check of converted speech, never the app.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.audio import SAMPLE_RATE, from_samples
from ser_core.errors import WeightsError
from ser_core.speech import speech_segments

SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
BANDS, WINDOW, HOP = 40, 400, 160
FRAMES, HOP_FRAMES = 160, 77
LEVEL_DBFS = -30.0


class SpeakerEncoder(nn.Module):
    """Mel frames (batch, 160, 40) to unit embeddings (batch, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        """Return the last layer's last state through a rectified linear layer, scaled to unit length."""
        _, (hidden, _) = self.lstm(mels)
        return nn.functional.normalize(self.linear(hidden[-1]).relu(), dim=-1)


def embedding(samples: np.ndarray) -> np.ndarray:
    """Return the unit embedding (256,) of a clip (samples,) at 16 kHz: the mean over windows of 1.6 s of its speech."""
    found = speech_segments(from_samples(samples, SAMPLE_RATE, "clip"))
    parts = [samples[int(part.start_s * SAMPLE_RATE) : int(part.end_s * SAMPLE_RATE)] for part in found]
    speech = np.concatenate(parts) if parts else samples
    level = 20 * np.log10(np.sqrt(np.mean(np.square(speech, dtype=np.float64))) + 1e-12)
    louder = speech * 10 ** (max(0.0, LEVEL_DBFS - level) / 20)
    mels = _mels(louder.astype(np.float32))
    starts = range(0, max(1, len(mels) - FRAMES + 1 + HOP_FRAMES // 2), HOP_FRAMES)
    filled = np.pad(mels, ((0, max(0, starts[-1] + FRAMES - len(mels))), (0, 0)))
    with torch.inference_mode():
        windows = torch.from_numpy(np.stack([filled[start : start + FRAMES] for start in starts]))
        mean = _encoder()(windows).mean(0)
        unit: np.ndarray = nn.functional.normalize(mean, dim=0).numpy()
    return unit


def _mels(samples: np.ndarray) -> np.ndarray:
    """Return mel power frames (frames, 40), 25 ms every 10 ms; not logarithmic, as the encoder was trained."""
    power = torch.stft(
        torch.from_numpy(samples),
        WINDOW,
        HOP,
        window=torch.hann_window(WINDOW),
        pad_mode="constant",
        return_complex=True,
    )
    frames: np.ndarray = _filters() @ (power.abs() ** 2).numpy()
    return frames.T.astype(np.float32)


@functools.cache
def _filters() -> np.ndarray:
    from librosa.filters import mel

    filters: np.ndarray = mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=BANDS)
    return filters


@functools.cache
def _encoder() -> SpeakerEncoder:
    found = importlib.util.find_spec("resemblyzer")
    if found is None or found.origin is None:
        raise WeightsError(
            "The speaker encoder is not installed; run 'pip install --no-deps resemblyzer==0.1.4' and try again."
        )
    path = Path(found.origin).parent / "pretrained.pt"
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise WeightsError(
            "The installed speaker encoder is not the published file (its SHA-256 differs); reinstall it."
        )
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    encoder = SpeakerEncoder()
    encoder.load_state_dict({name: value for name, value in state.items() if not name.startswith("similarity")})
    return encoder.eval()
