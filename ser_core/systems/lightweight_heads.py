"""A frozen speech encoder under a light head: linear, MLP, or attentive pooling.

The published comparison put these heads on DistilHuBERT and PaSST. Here the encoder stays as published, every head sees
all of its layers side by side, and all heads are trained for as long, on the same clips:

- linear: the mean over time of every layer, one linear layer;
- mlp: mean and standard deviation over time of every layer, three perceptrons with one hidden layer, averaged;
- attentive: as mlp, but mean and deviation are weighted by an attention over time that each layer has for itself and
  that a learned mix of all layers decides.

Layer mix: Peters et al. 2018 (ELMo), Yang et al. 2021 (SUPERB). Attentive statistics pooling: Okabe, Koshinaka &
Shinoda 2018. Mixup: Zhang et al. 2018.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_core.batches import in_bfloat16, over_frames
from ser_core.encoders import EncoderWithHead, FrozenEncoderModel, Head, encoder_mb, frozen_encoder, prepare
from ser_core.errors import ModelError
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.frames import encoder_frames
from ser_core.models import Card, PoolingWeights
from ser_core.ranks import device_of
from ser_core.systems.whisper_pooling import AttentivePooling, LayerMix, weighted_statistics
from ser_core.systems.whisper_statistics import Features, Heads, fit_head, halved
from ser_core.training import AfterEpoch, Recipe

__all__ = ["embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save"]

HEADS = ("linear", "mlp", "attentive")
PLACES = 40
"""Frames at which a clip is read in each step of training: one at random of two in each of so many equal stretches."""


class LayerwisePooling(AttentivePooling):
    """Weighted mean and deviation over time of every layer's frames, each layer by an attention of its own."""

    def __init__(self, states: int, hidden: int) -> None:
        super().__init__(hidden, heads=states)
        self.mix = LayerMix(states)

    def shares(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return each layer's attention (batch, steps, states) over frames (batch, steps, states, hidden)."""
        return self.weights(self.mix(list(frames.unbind(2))), real)

    def forward(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return (batch, 2 × states × hidden) of frames (batch, steps, states, hidden)."""
        return weighted_statistics(frames, self.shares(frames, real))


class LightHead(Head):
    """Frames of an encoder (batch, steps, states, hidden) to logits (batch, classes).

    kind is one of ``HEADS``, encoder the name of the encoder whose frames it was trained on.
    """

    def __init__(self, kind: str, encoder: str, states: int, hidden: int, classes: int) -> None:
        super().__init__()
        if kind not in HEADS:
            raise ModelError(f"There is no head '{kind}'; choose one of {', '.join(HEADS)}.")
        self.kind, self.encoder = kind, encoder
        self.attention = LayerwisePooling(states, hidden) if kind == "attentive" else None
        features = states * hidden
        self.heads = Heads(features, classes, hidden=0) if kind == "linear" else Heads(2 * features, classes)

    def frames(self, states: Sequence[Tensor], step_s: float) -> Tensor:
        """Return an encoder's frames (batch, steps, states, hidden)."""
        return torch.stack(list(states), dim=2)

    def pool(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the pooled frames (batch, features)."""
        if self.attention is not None:
            return self.attention(frames, real)
        even = torch.ones(frames.shape[:2], device=frames.device) if real is None else real.float()
        even = (even / even.sum(1, keepdim=True))[..., None].expand(frames.shape[:3])
        pooled = weighted_statistics(frames, even)
        return pooled[:, : pooled.shape[1] // 2] if self.kind == "linear" else pooled

    def embed(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """Return z-scores of the pooled frames (batch, features)."""
        return self.heads.embed(self.pool(frames, real))

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        return self.heads.classify(embedding)


class EncoderWithHeadModel(FrozenEncoderModel):
    """The trained network behind the interface of the app."""

    network: EncoderWithHead[LightHead]

    def pooling(self, inputs: Tensor) -> PoolingWeights | None:
        """Return the pooling attention (mean over layers) at every step of the encoder; None for the other heads."""
        attention = self.network.head.attention
        if attention is None:
            return None
        with torch.inference_mode():
            share = attention.shares(self.network.frames(inputs), None)[0].mean(-1)
        times = self.network.encoder.step_times(len(share))
        return PoolingWeights(times, share.numpy(), "attention of the pooling, mean over the encoder's layers")


class _PooledAtPlaces:
    """Pooled frames of training clips, read anew at ``PLACES`` of each, with a gradient to the attention."""

    def __init__(self, head: LightHead, frames: Sequence[np.ndarray], seed: int) -> None:
        self.head, self.random = head, np.random.default_rng(seed)
        middles = (np.arange(2 * PLACES) + 0.5) / (2 * PLACES)
        self.kept = np.stack(
            [clip[(middles * len(clip)).astype(int)] for clip in frames]
        )  # read once, from then in RAM

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, batch: Tensor, /) -> Tensor:
        side = self.random.integers(0, 2, (len(batch), PLACES))
        picked = self.kept[batch.numpy()[:, None], 2 * np.arange(PLACES) + side]
        return self.head.embed(torch.from_numpy(picked).to(device_of(self.head)).float())

    def scale(self) -> Tensor:
        """Return the pooled frames of every fourth clip (clips, features)."""
        return torch.from_numpy(over_frames(self.head.pool, list(self.kept[::4]), batch=32))


class _Separately(nn.Module):
    """A head in training: pooled z-scores to the logits of each perceptron (perceptrons, batch, classes)."""

    def __init__(self, head: LightHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, scores: Tensor) -> Tensor:
        with in_bfloat16(scores.device.type):
            return torch.stack([perceptron(scores) for perceptron in self.head.heads.heads]).float()


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch,
    *,
    head: str = "attentive",
) -> LightHead:
    """Return a head trained on the encoder's frames of its inputs; resumes in ``folder``.

    Args:
        values: of ``prepare``.
        targets: (clips, classes), may be soft.
        recipe: of the run.
        encoder: its name; its frames are computed once and kept.
        folder: keeps the checkpoint of every epoch.
        after_epoch: not needed.
        head: one of ``HEADS``.
    """
    frames = encoder_frames(values, encoder)
    torch.manual_seed(recipe.seed)
    states, hidden = frames[0].shape[1:]
    network = LightHead(head, encoder, states, hidden, targets.shape[1])
    features: Features
    if network.attention is None:
        pooled = torch.from_numpy(over_frames(network.pool, frames, batch=32))
        network.heads.fit_scale(pooled)
        features = network.heads.embed(pooled)
    else:  # the scale of plain means and deviations, with which the attention starts
        features = _PooledAtPlaces(network, frames, recipe.seed)
        network.heads.fit_scale(features.scale())
    wanted = torch.from_numpy(targets.astype(np.float32))
    fit_head(_Separately(network), features, wanted, recipe, seed=recipe.seed, loss=_loss, folder=folder / "head")
    return network.eval()


def logits(network: LightHead, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    with torch.inference_mode():
        return network.heads.classify(torch.from_numpy(embeddings(network, values))).numpy()


def embeddings(network: LightHead, values: list[np.ndarray]) -> np.ndarray:
    """Return z-scores of the pooled frames (clips, features)."""
    return over_frames(network.embed, encoder_frames(values, network.encoder), batch=32)


def save(network: LightHead, temperature: float, folder: Path) -> None:
    """Write the head in half precision with the calibration temperature folded into its last layers."""
    kept = copy.deepcopy(network)
    kept.heads.cool(temperature)
    save_tensors(halved(kept), folder / "weights.safetensors", note={"head": network.kind})


def load(folder: Path, card: Card) -> EncoderWithHeadModel:
    """Return the model of a folder; its card names the encoder.

    Raises:
        WeightsError: the encoder is not at hand.
    """
    file = folder / "weights.safetensors"
    with safe_open(file, "pt") as stored:
        kind = (stored.metadata() or {}).get("head", "")
    encoder = frozen_encoder(card.encoder)
    head = LightHead(kind, card.encoder, encoder.states, encoder.hidden_size, len(card.emotions))
    head.load_state_dict({name: value.float() for name, value in load_file(file).items()})
    return EncoderWithHeadModel(card, EncoderWithHead(encoder, head), load_neighbourhood(folder))


def _loss(separate: Tensor, target: Tensor) -> Tensor:
    return torch.stack([nn.functional.cross_entropy(logits, target) for logits in separate]).sum()
