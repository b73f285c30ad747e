"""Whisper encoder, fine-tuned; a learned mix of its layers, attentive statistics pooling, one linear layer.

Layer mix: Peters et al. 2018 (ELMo), as used for speech by SUPERB (Yang et al. 2021). Pooling: Okabe, Koshinaka &
Shinoda 2018, "Attentive statistics pooling".
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_core.batches import over_clips
from ser_core.encoders import WhisperFrames
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.models import Card, LogMelModel, PoolingWeights
from ser_core.training import AfterEpoch, Clips, Recipe, train
from ser_core.training import prepare_log_mel as prepare

__all__ = ["embeddings", "fit", "load", "logits", "prepare", "save"]


CHANGE, STEP = " (change)", " (step)"


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
    """Weighted mean and standard deviation over time; each head attends for its own part of the hidden units."""

    def __init__(self, hidden: int, heads: int = 4) -> None:
        super().__init__()
        last = nn.Linear(128, heads)
        nn.init.zeros_(last.weight)  # attention starts uniform: plain mean and deviation
        nn.init.zeros_(last.bias)
        self.score = nn.Sequential(nn.Linear(hidden, 128), nn.Tanh(), last)
        self.heads = heads

    def weights(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return the share of attention (batch, steps, heads); it sums to 1 over the real steps."""
        scores = self.score(frames).float()
        if real is not None:
            scores = scores.masked_fill(~real[..., None], float("-inf"))
        return scores.softmax(dim=1)

    def forward(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return (batch, 2 × hidden) of frames (batch, steps, hidden)."""
        share = self.weights(frames, real)
        return weighted_statistics(frames.float().unflatten(-1, (self.heads, -1)), share)


def weighted_statistics(parts: Tensor, share: Tensor) -> Tensor:
    """Return weighted means, then deviations, over time (batch, 2 × parts × size).

    Args:
        parts: (batch, steps, parts, size).
        share: (batch, steps, parts), sums to 1 over the steps.
    """
    centre = parts[:, 0].detach()  # moments around a value nearby keep their digits
    moved = (parts - centre[:, None]).transpose(1, 2)
    weights = share.transpose(1, 2)[:, :, None]
    mean = (weights @ moved)[:, :, 0]
    variance = ((weights @ moved.square())[:, :, 0] - mean.square()).clamp(min=0)
    return torch.cat([(mean + centre).flatten(1), (variance + 1e-6).sqrt().flatten(1)], dim=-1)


class WhisperPooling(nn.Module):
    """Log-mel frames to emotion logits."""

    def __init__(self, encoder: str, classes: int, *, frozen_layers: int = 0, dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder = WhisperFrames(encoder)
        self.encoder_depth = self.encoder.states - 1
        self.mix = LayerMix(self.encoder.states)
        self.pooling = AttentivePooling(self.encoder.hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * self.encoder.hidden_size, classes)
        for name, parameter in self.named_parameters():
            depth = self.encoder_layer_of(name)
            if frozen_layers and depth is not None and depth <= frozen_layers:
                parameter.requires_grad_(False)

    def encoder_layer_of(self, name: str) -> int | None:
        """Return the depth of an encoder parameter (0 for the convolutions), None for the head's."""
        if not name.startswith("encoder."):
            return None
        parts = name.split(".")
        if "layers" in parts:
            return int(parts[parts.index("layers") + 1]) + 1
        return self.encoder_depth if "layer_norm" in parts else 0

    def embed(self, log_mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return the pooled statistics (batch, 2 × hidden)."""
        states, real = self.encoder(log_mel, frames)
        return self.pooling(self.mix(states), real)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        return self.classifier(self.dropout(embedding))

    def forward(self, log_mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes) of (batch, 80, frames)."""
        return self.classify(self.embed(log_mel, frames))


class WhisperPoolingModel(LogMelModel):
    """The trained network behind the interface of the app."""

    gradcam_layers = ("encoder.encoder.conv2",)
    network: WhisperPooling

    def pooling(self, inputs: Tensor) -> PoolingWeights:
        """Return the pooling attention (mean over heads) at every 20 ms step."""
        with torch.inference_mode():
            states, real = self.network.encoder(inputs)
            share = self.network.pooling.weights(self.network.mix(states), real)[0].mean(-1)
        times = np.arange(len(share)) * self.network.encoder.step_s
        return PoolingWeights(times, share.numpy(), "attention of the pooling, mean over its heads")


def fit(
    values: list[np.ndarray], targets: np.ndarray, recipe: Recipe, encoder: str, folder: Path, after_epoch: AfterEpoch
) -> WhisperPooling:
    """Return the network trained on log-mel clips and targets (clips, classes); resumes in ``folder``."""
    torch.manual_seed(recipe.seed)
    network = WhisperPooling(encoder, targets.shape[1], frozen_layers=recipe.frozen_layers)
    return train(network, Clips(values, targets), recipe, folder, after_epoch=after_epoch)


def logits(network: WhisperPooling, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return over_clips(network, values)


def embeddings(network: WhisperPooling, values: list[np.ndarray]) -> np.ndarray:
    """Return pooled embeddings (clips, features)."""
    return over_clips(network.embed, values)


def load(folder: Path, card: Card) -> WhisperPoolingModel:
    """Return the model of a folder; its card names the encoder.

    Raises:
        WeightsError: the published encoder is not at hand.
    """
    network = WhisperPooling(card.encoder, len(card.emotions))
    published, stored = network.state_dict(), load_file(folder / "weights.safetensors")
    state = {}
    for name, value in published.items():
        if name + CHANGE in stored:
            state[name] = value + stored[name + CHANGE] * stored[name + STEP]
        else:
            state[name] = value if "embed_positions" in name else stored[name].float()
    network.load_state_dict(state)
    return WhisperPoolingModel(card, network, load_neighbourhood(folder))


def save(network: WhisperPooling, temperature: float, folder: Path) -> None:
    """Write what was learned, with the calibration temperature folded into the classifier.

    Of the encoder's matrices only the change against the published ones is kept, in 8 bits a weight and one step size a
    row (as in Jacob et al. 2018, for weights); the rest is in half precision.
    """
    published = WhisperPooling(network.encoder.name, 1).state_dict()
    stored: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        if name.startswith("classifier."):
            stored[name] = (value / temperature).half()
        elif name.startswith("encoder.") and value.ndim > 1 and "embed_positions" not in name:
            change = value.cpu() - published[name]
            step = change.abs().flatten(1).amax(1).clamp(min=1e-12).reshape(-1, *[1] * (change.ndim - 1)) / 127
            stored[name + CHANGE], stored[name + STEP] = (change / step).round().to(torch.int8), step
        elif "embed_positions" not in name:
            stored[name] = value.half()
    save_tensors(stored, folder / "weights.safetensors")
