"""Whisper models asked together: frozen encoders of two sizes under heads of different kinds.

They err on different clips, so that their mean errs less (Hansen & Salamon 1990, "Neural network ensembles"). It is the
mean of their log-probabilities, the logarithmic opinion pool (Heskes 1998), in which all count alike: nothing is
learned here but one temperature. All of them read the same log-mel frames, so one map explains them as one network.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from ser_core.batches import over_equal
from ser_core.bundled import PLANS
from ser_core.cards import read_card
from ser_core.errors import ModelError
from ser_core.familiarity import load_neighbourhood
from ser_core.files import checksum, save_tensors
from ser_core.models import Card, LogMelModel
from ser_core.registry import load_model, model_folders
from ser_core.training import AfterEpoch, Recipe
from ser_core.training import prepare_log_mel as prepare

__all__ = ["embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save"]

MEMBERS = ("whisper-base-statistics", "whisper-tiny-attentive")
"""Models that are bundled on their own, too; trained on the same folds, so that none has heard a fold's speakers."""


class Member(Protocol):
    """A network that can be asked in two steps."""

    def embed(self, log_mel: Tensor, /) -> Tensor:
        """Return what is classified (batch, features)."""

    def classify(self, embedding: Tensor, /) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""


class Together(nn.Module):
    """Log-mel frames (batch, 80, frames) to the mean of the members' log-probabilities.

    sums holds the checksum of each member's weights, in the order of ``MEMBERS``.
    """

    def __init__(self, members: Sequence[nn.Module], sums: Sequence[str], temperature: float = 1.0) -> None:
        super().__init__()
        self.members, self.sums = nn.ModuleList(members), tuple(sums)
        self.temperature: Tensor
        self.register_buffer("temperature", torch.tensor(temperature))
        with torch.inference_mode():
            self.widths = [member.embed(torch.zeros(1, 80, 16)).shape[1] for member in self._asked()]

    def embed(self, log_mel: Tensor) -> Tensor:
        """Return the members' embeddings side by side (batch, features)."""
        return torch.cat([member.embed(log_mel) for member in self._asked()], dim=1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        parts = embedding.split(self.widths, dim=1)
        said = [member.classify(part).log_softmax(1) for member, part in zip(self._asked(), parts, strict=True)]
        return torch.stack(said).mean(0) / self.temperature

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(log_mel))

    def _asked(self) -> list[Member]:
        return cast(list[Member], list(self.members))


def fit(
    values: list[np.ndarray], targets: np.ndarray, recipe: Recipe, encoder: str, folder: Path, after_epoch: AfterEpoch
) -> Together:
    """Return the members of the same fold, which lie in the run folders beside this model's; nothing is trained.

    Raises:
        ModelError: a member's fold has not been run.
    """
    from ser_core.crossvalidation import model_of_fold

    folders = [folder.parents[1] / name / folder.name for name in MEMBERS]
    members = [model_of_fold(PLANS[name], each).network for name, each in zip(MEMBERS, folders, strict=True)]
    return Together(members, [checksum(each / "weights.safetensors") for each in folders]).eval()


def logits(network: Together, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return over_equal(network, values)


def embeddings(network: Together, values: list[np.ndarray]) -> np.ndarray:
    """Return the members' embeddings side by side (clips, features)."""
    return over_equal(network.embed, values)


def encoder_mb(encoder: str) -> float:
    """Return the size of the members with their encoders, in MB."""
    folders = model_folders()
    return sum(read_card(folders[name]).size_mb for name in MEMBERS)


def save(network: Together, temperature: float, folder: Path) -> None:
    """Write the temperature, and which weights of the members it is for."""
    note = {"members": json.dumps(dict(zip(MEMBERS, network.sums, strict=True)))}
    save_tensors({"temperature": torch.tensor(temperature)}, folder / "weights.safetensors", note)


def load(folder: Path, card: Card) -> LogMelModel:
    """Return the model of a folder; its members are the models of those names at hand.

    Raises:
        ModelError: a member is not at hand, or it is not the one that the figures were measured with.
    """
    with safe_open(folder / "weights.safetensors", "pt") as stored:
        wanted = json.loads((stored.metadata() or {})["members"])
        temperature = float(stored.get_tensor("temperature"))
    folders, members = model_folders(), []
    for name, known in wanted.items():
        members.append(load_model(name).network)
        if checksum(folders[name] / "weights.safetensors") != known:
            raise ModelError(
                f"Model {card.name} asks {name} too, but was measured with other weights of it; put back the folder "
                f"{name} that came with it."
            )
    return LogMelModel(card, Together(members, list(wanted.values()), temperature), load_neighbourhood(folder))
