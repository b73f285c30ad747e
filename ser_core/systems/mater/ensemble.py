"""The network of MATER, a logistic regression a level in an ensemble, and its training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from ser_core.batches import over_table, table_of
from ser_core.calibration import fit_temperature
from ser_core.errors import CorpusError, SettingError
from ser_core.files import save_tensors
from ser_core.regression import class_rows
from ser_core.systems.mater.features import LEVELS, MODALITIES, slices
from ser_core.training import AfterEpoch, Recipe

STRENGTH = {"word": 0.3, "utterance": 0.1, "embedding": 0.001}
"""Inverse regularisation of each level's logistic regression (scikit-learn's C)."""
WEIGHTINGS = ("entropy", "equal")
FOLDS = 3
FARTHEST = 10.0
LEAST_WEIGHT = 1e-6


class Level(nn.Module):
    """A logistic regression on some of the standardised inputs; ``columns`` says on which."""

    def __init__(self, columns: Sequence[int], classes: int) -> None:
        super().__init__()
        self.columns: Tensor
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int32))
        self.linear = nn.Linear(len(columns), classes)

    def forward(self, scores: Tensor) -> Tensor:
        """Return calibrated log-probabilities (batch, classes) of z-scores (batch, inputs)."""
        return self.linear(scores[:, self.columns.long()]).log_softmax(-1)


class Mater(nn.Module):
    """Inputs (batch, features) to logits (batch, classes) whose mean over the classes is 0."""

    def __init__(
        self, features: int, classes: int, levels: Mapping[str, Sequence[int]], weighting: str = "entropy"
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.temperature: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("temperature", torch.ones(()))
        self.levels = nn.ModuleDict({name: Level(columns, classes) for name, columns in levels.items()})
        self.weighting = weighting

    def level(self, name: str) -> Level:
        """Return a level by its name."""
        return cast(Level, self.levels[name])

    def embed(self, values: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, features), within ±10."""
        return ((values - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST)

    def shares(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels' log-probabilities (batch, levels, classes) and their weights (batch, levels)."""
        each = torch.stack([level(scores) for level in self.levels.values()], dim=1)
        if self.weighting == "equal":
            return each, torch.full(each.shape[:2], 1 / each.shape[1])
        return each, entropy_weights(each)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of z-scores."""
        each, weights = self.shares(embedding)
        pooled = (weights[..., None] * each).sum(1) / self.temperature
        return pooled - pooled.mean(-1, keepdim=True)

    def forward(self, values: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(values))


def entropy_weights(log_probabilities: Tensor) -> Tensor:
    """Return weights (…, levels) that sum to 1: each level's ``1 − entropy / log(classes)``, shared out.

    Args:
        log_probabilities: (…, levels, classes).
    """
    entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
    certainty = (1 - entropy / np.log(log_probabilities.shape[-1])).clamp_min(LEAST_WEIGHT)
    return certainty / certainty.sum(-1, keepdim=True)


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch,
    *,
    levels: tuple[str, ...] = LEVELS,
    modalities: tuple[str, ...] = MODALITIES,
    weighting: str = "entropy",
) -> Mater:
    """Return the ensemble fitted on inputs and targets (clips, classes); minutes at most, so nothing is resumed.

    Args:
        values: (features, 1) of each clip.
        targets: the class of each clip, one-hot; every class counts the same, however many clips it has.
        recipe: its seed.
        encoder: says what the inputs are.
        folder: not used.
        after_epoch: not used.
        levels: some of ``LEVELS``.
        modalities: some of ``MODALITIES``; the others are left out of every level.
        weighting: one of ``WEIGHTINGS``.

    Raises:
        SettingError: a level, modality or weighting is unknown.
    """
    for given, known in ((levels, LEVELS), (modalities, MODALITIES), ((weighting,), WEIGHTINGS)):
        if not given or set(given) - set(known):
            raise SettingError(f"MATER knows {', '.join(known)}; it was given {', '.join(given) or 'nothing'}.")
    places = slices(encoder)
    columns = {
        level: [i for kind in modalities for i in range(places[level, kind].start, places[level, kind].stop)]
        for level in levels
    }
    table, classes = table_of(values), targets.argmax(1)
    network = Mater(table.shape[1], targets.shape[1], columns, weighting)
    deviation = table.std(0, dtype=np.float64)
    network.mean.copy_(torch.from_numpy(table.mean(0, dtype=np.float64)))
    network.deviation.copy_(torch.from_numpy(np.where(deviation > 1e-6, deviation, 1.0)))
    with torch.inference_mode():
        scores = network.embed(torch.from_numpy(table)).numpy()
    for level, chosen in columns.items():
        weight, bias = _regression(scores[:, chosen], classes, targets.shape[1], level, recipe.seed)
        temperature = 1.0
        if len(levels) > 1:
            temperature = _level_temperature(scores[:, chosen], classes, targets.shape[1], level, recipe.seed)
        layer = network.level(level).linear
        layer.weight.data = torch.from_numpy((weight / temperature).astype(np.float32))
        layer.bias.data = torch.from_numpy((bias / temperature).astype(np.float32))
    return network.eval()


def _regression(
    scores: np.ndarray, classes: np.ndarray, count: int, level: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    found = LogisticRegression(
        C=STRENGTH[level], max_iter=300, tol=1e-3, class_weight="balanced", random_state=seed
    ).fit(scores, classes)
    return class_rows(found.coef_, found.intercept_, found.classes_, count)


def _level_temperature(scores: np.ndarray, classes: np.ndarray, count: int, level: str, seed: int) -> float:
    """Return the temperature that fits clips left out of the level's training."""
    folds = min(FOLDS, int(np.bincount(classes).max()))
    if folds < 2:
        raise CorpusError("MATER sets clips aside to weigh its levels; it needs two clips of some emotion at least.")
    left_out = np.zeros((len(classes), count))
    for training, testing in StratifiedKFold(folds, shuffle=True, random_state=seed).split(scores, classes):
        weight, bias = _regression(scores[training], classes[training], count, level, seed)
        left_out[testing] = scores[testing] @ weight.T + bias
    return fit_temperature(left_out, classes)


def logits(network: Mater, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return over_table(network, values)


def embeddings(network: Mater, values: list[np.ndarray]) -> np.ndarray:
    """Return z-scores of the training speech (clips, features)."""
    return over_table(network.embed, values)


def save(network: Mater, temperature: float, folder: Path) -> None:
    """Write the levels in half precision; means and deviations, whose ranges differ widely, in single precision."""
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    state["temperature"] = state["temperature"] * temperature
    kept = {name: (value.half() if ".linear." in name else value).contiguous() for name, value in state.items()}
    save_tensors(kept, folder / "weights.safetensors", note={"weighting": network.weighting})
