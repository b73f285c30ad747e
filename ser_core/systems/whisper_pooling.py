"""Whisper encoder, learned layer mix, attentive statistics pooling, one linear layer.

Layer mix: Peters et al. 2018 (ELMo), as used for speech by SUPERB (Yang et al. 2021).
Pooling: Okabe, Koshinaka & Shinoda 2018, "Attentive statistics pooling", with several heads.
"""

import torch
from torch import Tensor, nn

from ser_core.encoders import WhisperFrames
from ser_core.features import LogMel


class LayerMix(nn.Module):
    """A softmax-weighted mean of layer-normalised encoder states."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(states))

    def forward(self, states: list[Tensor]) -> Tensor:
        """Return (batch, steps, hidden) from ``states`` tensors of that shape."""
        share = self.weights.softmax(0)
        mixed = torch.zeros_like(states[0])
        for weight, state in zip(share, states, strict=True):
            mixed = mixed + weight * nn.functional.layer_norm(state, state.shape[-1:])
        return mixed


class AttentivePooling(nn.Module):
    """Weighted mean and standard deviation over time; each head weighs its own slice of the channels."""

    def __init__(self, hidden: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Sequential(nn.Linear(hidden, 128), nn.Tanh(), nn.Linear(128, heads))

    def weights(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return the share of attention (batch, steps, heads); it sums to 1 over the real steps."""
        scores = self.score(frames).float()
        if real is not None:
            scores = scores.masked_fill(~real[..., None], float("-inf"))
        return scores.softmax(dim=1)

    def forward(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return (batch, 2 × hidden) of (batch, steps, hidden)."""
        share = self.weights(frames, real).repeat_interleave(frames.shape[-1] // self.heads, dim=-1)
        wide = frames.float()
        mean = (share * wide).sum(1)
        variance = (share * (wide - mean[:, None]) ** 2).sum(1)
        return torch.cat([mean, (variance + 1e-6).sqrt()], dim=-1)


class WhisperPooling(nn.Module):
    """Log-mel frames to emotion logits."""

    def __init__(self, encoder: str, classes: int, *, pretrained: bool = True, dropout: float = 0.2) -> None:
        super().__init__()
        self.log_mel = LogMel()
        self.encoder = WhisperFrames(encoder, pretrained=pretrained)
        self.encoder_depth = self.encoder.states - 1
        self.mix = LayerMix(self.encoder.states)
        self.pooling = AttentivePooling(self.encoder.hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * self.encoder.hidden_size, classes)
        # The position table is a fixed sinusoid; the last norm and Whisper's other weights are tuned.
        self.encoder.encoder.embed_positions.weight.requires_grad_(False)

    def encoder_layer_of(self, name: str) -> int | None:
        """Return the depth of an encoder parameter (0 for the convolutions), None for the head's."""
        if not name.startswith("encoder."):
            return None
        parts = name.split(".")
        if "layers" in parts:
            return int(parts[parts.index("layers") + 1]) + 1
        return self.encoder_depth if "layer_norm" in parts else 0

    def steps(self, log_mel: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return mixed encoder states (batch, steps, hidden) and the mask of real steps."""
        states, real = self.encoder(log_mel, frames)
        return self.mix(states), real

    def forward(self, log_mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes) of (batch, 80, frames)."""
        mixed, real = self.steps(log_mel, frames)
        return self.classifier(self.dropout(self.pooling(mixed, real)))
