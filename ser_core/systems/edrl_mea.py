"""EDRL-MEA: emotion-disentangled encoders, aligned with the speech input by multiblock PLS, learned on clean speech.

Tiwari, Chakraborty & Kopparapu 2025, "Emotion-Disentangled Embedding Alignment for Noise-Robust and Cross-Corpus Speech
Emotion Recognition" (arXiv 2510.09072). Only its abstract was at hand, so the forms marked "inferred" are ours.

1. EDRL: one intra encoder a class learns to tell its class from all others (what is peculiar to it); one inter encoder
   sees all classes, tells them apart and rebuilds the input (what they share) [losses and sizes inferred].
2. MEA: the encoders' outputs are the blocks of a multiblock PLS whose aims are the input features themselves; the
   super scores are the aligned embedding, a joint latent space of maximal covariance with the input.
3. A linear classifier on that embedding is fitted on clean speech only. No noise, no augmentation, no other corpus.

The input features are the statistics of a frozen Whisper encoder. The stages can be left out to see what they are
worth: "plain" classifies the statistics themselves, "edrl" the encoders' outputs side by side.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from ser_core.batches import over_table, table_of
from ser_core.encoders import FrozenEncoderModel, encoder_mb, frozen_encoder
from ser_core.errors import CorpusError, SettingError
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.models import Card
from ser_core.multiblock_pls import fit_multiblock_pls
from ser_core.regression import class_rows
from ser_core.systems.whisper_statistics import WhisperStatistics, fit_head, prepare
from ser_core.training import AfterEpoch, Recipe

__all__ = ["embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save"]

STAGES = ("plain", "edrl", "edrl-mea")
INTRA, INTER = 32, 64
REBUILDING = 0.5
"""Weight of the squared error of rebuilding z-scores [inferred]."""

COMPONENTS = 64
STRENGTH = 30.0
"""Inverse regularisation of the classifier at every stage: C of scikit-learn times the number of clips."""


class Disentangled(nn.Module):
    """Z-scores (batch, features) to one block a class (batch, INTRA) and the shared block (batch, INTER)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.intra = nn.ModuleList(_encoder(features, INTRA) for _ in range(classes))
        self.inter = _encoder(features, INTER)

    def forward(self, scores: Tensor) -> list[Tensor]:
        """Return the blocks, the shared one last."""
        return [encoder(scores) for encoder in (*self.intra, self.inter)]


class Learner(nn.Module):
    """The encoders with what they are trained by: a yes or no for each class, all classes, and the input again."""

    def __init__(self, encoders: Disentangled, features: int, classes: int) -> None:
        super().__init__()
        self.encoders = encoders
        self.own = nn.ModuleList(nn.Linear(INTRA, 1) for _ in range(classes))
        self.all = nn.Linear(INTER, classes)
        self.rebuild = nn.Linear(INTER, features)

    def forward(self, scores: Tensor) -> Tensor:
        """Return (batch, 2 × classes + 1): own logits, logits of all classes, mean squared error of rebuilding."""
        *intra, inter = self.encoders(scores)
        own = [score(block) for score, block in zip(self.own, intra, strict=True)]
        error = (self.rebuild(inter) - scores).square().mean(1, keepdim=True)
        return torch.cat([*own, self.all(inter), error], dim=1)


def disentangling(found: Tensor, targets: Tensor) -> Tensor:
    """Return EDRL's loss of what ``Learner`` gives, for targets (batch, classes) that may be soft [inferred].

    The intra encoders' binary cross-entropy (mean over classes), the inter encoder's cross-entropy over all classes,
    and its error of rebuilding the input.
    """
    classes = targets.shape[1]
    own, every, error = found.split([classes, classes, 1], dim=1)
    binary = nn.functional.binary_cross_entropy_with_logits(own, targets)
    return binary + nn.functional.cross_entropy(every, targets) + REBUILDING * error.mean()


class EdrlMea(nn.Module):
    """Statistics (batch, features) to logits."""

    def __init__(self, features: int, classes: int, stage: str) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        blocks = classes * INTRA + INTER
        self.encoders = None if stage == "plain" else Disentangled(features, classes)
        self.alignment = nn.Linear(blocks, COMPONENTS) if stage == "edrl-mea" else None
        width = {"plain": features, "edrl": blocks, "edrl-mea": COMPONENTS}[stage]
        self.classifier = nn.Linear(width, classes)

    def standardise(self, values: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, features), clipped at ±6."""
        return ((values - self.mean) / self.deviation).clamp(-6.0, 6.0)

    def embed(self, values: Tensor) -> Tensor:
        """Return the embedding (batch, components) that is classified."""
        scores = self.standardise(values)
        if self.encoders is None:
            return scores
        blocks = torch.cat(self.encoders(scores), dim=1)
        return blocks if self.alignment is None else self.alignment(blocks)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def forward(self, values: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(values))


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch | None,
) -> EdrlMea:
    """Return the network fitted on statistics and targets (clips, classes); resumes in ``folder``.

    Args:
        values: of ``prepare``.
        targets: (clips, classes).
        recipe: of the encoders' training.
        encoder: its name; not used, as the statistics are given.
        folder: of the run; keeps the checkpoint of every epoch.
        after_epoch: not used.

    Raises:
        CorpusError: there are too few clips to align the encoders.
    """
    if len(values) <= COMPONENTS:
        raise CorpusError(
            f"EDRL-MEA aligns its encoders along {COMPONENTS} directions, for which it needs more than {COMPONENTS} "
            f"clips to learn from; here are {len(values)}. Choose a larger corpus, or another system."
        )
    table = torch.from_numpy(table_of(values))
    features, classes = table.shape[1], targets.shape[1]
    torch.manual_seed(recipe.seed)
    network = EdrlMea(features, classes, "edrl-mea")
    network.mean.copy_(table.mean(0))
    network.deviation.copy_(table.std(0) + 1e-4)
    scores = network.standardise(table)
    assert network.encoders is not None and network.alignment is not None
    learner = Learner(network.encoders, features, classes)
    wanted = torch.from_numpy(targets.astype(np.float32))
    fit_head(learner, scores, wanted, recipe, seed=recipe.seed, loss=disentangling, folder=folder / "encoders")
    _align(network.encoders, network.alignment, scores)
    return _classifying(network, table, targets, STRENGTH)


def up_to(
    stage: str, network: EdrlMea, values: list[np.ndarray], targets: np.ndarray, strength: float = STRENGTH
) -> EdrlMea:
    """Return what is left of a fitted network when later stages are left out, its classifier fitted anew.

    Args:
        stage: one of ``STAGES``.
        network: of ``fit``; its scale and, from "edrl" on, its encoders are taken over.
        values: of ``prepare``, of the clips that ``network`` was fitted on.
        targets: (clips, classes).
        strength: of the classifier, as ``STRENGTH``.

    Raises:
        SettingError: there is no such stage.
    """
    if stage not in STAGES:
        raise SettingError(f"There is no stage '{stage}'; it is one of {', '.join(STAGES)}.")
    table = torch.from_numpy(table_of(values))
    part = EdrlMea(table.shape[1], targets.shape[1], stage)
    kept = {name: value for name, value in network.state_dict().items() if not name.startswith("classifier.")}
    part.load_state_dict({name: value for name, value in kept.items() if name in part.state_dict()}, strict=False)
    return _classifying(part, table, targets, strength)


def logits(network: EdrlMea, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return over_table(network, values)


def embeddings(network: EdrlMea, values: list[np.ndarray]) -> np.ndarray:
    """Return the embedding that is classified (clips, components)."""
    return over_table(network.embed, values)


def save(network: EdrlMea, temperature: float, folder: Path) -> None:
    """Write the encoders in half precision, with the calibration temperature folded into the classifier."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] /= temperature
    half = {
        name: (value.half() if name.startswith("encoders.") else value).contiguous() for name, value in state.items()
    }
    save_tensors(half, folder / "weights.safetensors")


def read_head(folder: Path, classes: int) -> EdrlMea:
    """Return the network over statistics that ``save`` wrote."""
    state = {name: value.float() for name, value in load_file(folder / "weights.safetensors").items()}
    head = EdrlMea(len(state["mean"]), classes, "edrl-mea")
    head.load_state_dict(state)
    return head.eval().requires_grad_(False)


def load(folder: Path, card: Card) -> FrozenEncoderModel:
    """Return the model of a folder; its card names the encoder."""
    head = read_head(folder, len(card.emotions))
    network = WhisperStatistics(frozen_encoder(card.encoder), head)
    return FrozenEncoderModel(card, network, load_neighbourhood(folder))


def _encoder(features: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.3), nn.Linear(features, width), nn.LayerNorm(width), nn.GELU())


def _align(encoders: Disentangled, alignment: nn.Linear, scores: Tensor) -> None:
    with torch.no_grad():
        blocks = [block.numpy() for block in encoders.eval()(scores)]
        found = fit_multiblock_pls(blocks, scores.numpy(), COMPONENTS)
        deviation = found.scores(blocks).std(0)
        weight = (found.scale[:, None] * found.rotation / deviation).T
        alignment.weight.copy_(torch.from_numpy(weight))
        alignment.bias.copy_(torch.from_numpy(-weight @ found.mean))


def _classifying(network: EdrlMea, table: Tensor, targets: np.ndarray, strength: float) -> EdrlMea:
    network.eval().requires_grad_(False)
    embedding = network.embed(table).numpy()
    regression = LogisticRegression(C=strength / len(embedding), max_iter=1000, class_weight="balanced")
    regression.fit(embedding, targets.argmax(1))
    weight, bias = class_rows(regression.coef_, regression.intercept_, regression.classes_, targets.shape[1])
    network.classifier.weight.copy_(torch.from_numpy(weight))
    network.classifier.bias.copy_(torch.from_numpy(bias))
    return network
