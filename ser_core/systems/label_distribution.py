"""EM2LDL: how listeners would split over the emotions, by a frozen encoder, the mean over time and a linear layer.

The published model (EM2LDL, owners' code in xingfengli/EM2LDL): encoder → mean over time → linear → log-softmax, with
the loss KL + 0.3 × (1 − cosine). What it learns are the listeners' own answers, not the emotion that was acted.
Here the encoder is a Whisper that stays as published; the means of all its layers stand side by side, since the last
one alone knows less (``pooling="last"`` is the published form). With ``hidden`` units a second layer comes between.
"""

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_core.batches import over_table, table_of
from ser_core.distributions import shares_of
from ser_core.encoders import FrozenEncoderModel, encoder_mb, frozen_encoder
from ser_core.errors import CorpusError
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.losses import distribution
from ser_core.models import Card
from ser_core.systems.whisper_statistics import (
    WhisperStatistics,
    fit_head,
    prepare,
)
from ser_core.training import AfterEpoch, Recipe

__all__ = ["embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save", "targets"]

POOLINGS = ("last", "means", "statistics")


class Shares(nn.Module):
    """Statistics of an encoder (batch, features) to logits of the listeners' shares (batch, labels).

    chosen: which statistics are looked at. constant: the mean of the training targets.
    """

    def __init__(self, chosen: Tensor, labels: int, hidden: int) -> None:
        super().__init__()
        self.chosen: Tensor
        self.mean: Tensor
        self.deviation: Tensor
        self.constant: Tensor
        self.register_buffer("chosen", chosen)
        self.register_buffer("mean", torch.zeros(len(chosen)))
        self.register_buffer("deviation", torch.ones(len(chosen)))
        self.register_buffer("constant", torch.zeros(labels))
        if hidden:
            self.head = nn.Sequential(
                nn.Dropout(0.3),
                nn.Linear(len(chosen), hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Dropout(0.5),
                nn.Linear(hidden, labels),
            )
        else:
            self.head = nn.Sequential(nn.Linear(len(chosen), labels))

    def embed(self, statistics: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, chosen)."""
        return ((statistics[:, self.chosen] - self.mean) / self.deviation).clamp(-6.0, 6.0)

    def classify(self, scores: Tensor) -> Tensor:
        """Return logits (batch, labels) of z-scores."""
        logits: Tensor = self.head(scores)
        return logits

    def forward(self, statistics: Tensor) -> Tensor:
        """Return logits (batch, labels)."""
        return self.classify(self.embed(statistics))


def targets(table: pd.DataFrame, labels: tuple[str, ...]) -> np.ndarray:
    """Return the share of listeners (clips, labels) who chose each label, or the corpus's own shares.

    Raises:
        CorpusError: the table has neither votes nor shares for every label.
    """
    for kind in ("vote", "share"):
        columns = [f"{kind}_{label}" for label in labels]
        if set(columns) <= set(table):
            return shares_of(table[columns].to_numpy())
    raise CorpusError(
        f"The corpus has no listeners' answers for {', '.join(labels)}; a label distribution needs votes or shares."
    )


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch,
    *,
    pooling: str = "means",
    hidden: int = 0,
    cosine_weight: float = 0.3,
) -> Shares:
    """Return the head trained on statistics and the listeners' shares; resumes in ``folder``.

    Args:
        values: of ``prepare``.
        targets: (clips, labels).
        recipe: of the run; its label smoothing moves that part of every clip's votes to all labels alike.
        encoder: its name.
        folder: of the run; keeps the checkpoint of every epoch.
        after_epoch: not used.
        pooling: "last" (mean of the last layer, as published), "means" of all layers, or "statistics" (means and
            deviations of all layers).
        hidden: units of a layer in between; 0 for the published linear head.
        cosine_weight: of the cosine term in the loss.
    """
    table = torch.from_numpy(table_of(values))
    chosen = _chosen(pooling, table.shape[1], frozen_encoder(encoder).hidden_size)
    torch.manual_seed(recipe.seed)
    network = Shares(chosen, targets.shape[1], hidden)
    network.mean.copy_(table[:, chosen].mean(0))
    network.deviation.copy_(table[:, chosen].std(0) + 1e-4)
    wanted = torch.from_numpy(targets.astype(np.float32))
    network.constant.copy_(wanted.mean(0))
    last = cast(nn.Linear, network.head[-1])
    nn.init.zeros_(last.weight)  # the head starts as the constant and learns where to leave it
    with torch.no_grad():
        last.bias.copy_(network.constant.clamp(min=1e-4).log())

    def loss(found: Tensor, shares: Tensor) -> Tensor:
        return distribution(found, shares, cosine_weight)

    fit_head(network.head, network.embed(table), wanted, recipe, seed=recipe.seed, loss=loss, folder=folder / "head")
    return network.eval()


def logits(network: Shares, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, labels)."""
    return over_table(network, values)


def embeddings(network: Shares, values: list[np.ndarray]) -> np.ndarray:
    """Return standardised statistics (clips, features)."""
    return over_table(network.embed, values)


def save(network: Shares, temperature: float, folder: Path) -> None:
    """Write the head in half precision; a distribution is learned as such and has no temperature."""
    state = network.state_dict()
    half = {name: (value.half() if name.startswith("head.") else value).contiguous() for name, value in state.items()}
    save_tensors(half, folder / "weights.safetensors")


def load(folder: Path, card: Card) -> FrozenEncoderModel:
    """Return the model of a folder; its card names the encoder."""
    state = load_file(folder / "weights.safetensors")
    hidden = state["head.1.weight"].shape[0] if "head.1.weight" in state else 0
    head = Shares(state["chosen"], len(card.emotions), hidden)
    head.load_state_dict({name: value if name == "chosen" else value.float() for name, value in state.items()})
    model = FrozenEncoderModel(card, WhisperStatistics(frozen_encoder(card.encoder), head), load_neighbourhood(folder))
    model.constant = tuple(head.constant.tolist())
    return model


def _chosen(pooling: str, features: int, hidden_size: int) -> Tensor:
    # Statistics come layer by layer, each layer's means before its deviations.
    place = torch.arange(features)
    if pooling == "last":
        return place[-2 * hidden_size : -hidden_size]
    if pooling == "means":
        return place[(place // hidden_size) % 2 == 0]
    if pooling == "statistics":
        return place
    raise ValueError(f"pooling is {pooling}, not one of {', '.join(POOLINGS)}")
