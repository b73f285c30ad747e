"""openSMILE functionals, standardised, and multinomial logistic regression or a multilayer perceptron.

As in the Urdu cross-corpus study: eGeMAPS (88) or ComParE (6,373) functionals of the whole clip and a plain classifier.
scikit-learn fits both classifiers; what it found is stored as safetensors.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor, nn

from ser_core.batches import over_table, table_of
from ser_core.errors import SettingError
from ser_core.familiarity import Neighbourhood, load_neighbourhood
from ser_core.files import save_tensors
from ser_core.functionals import feature_names, file_functionals, functionals
from ser_core.models import Card, InputAxes, SpeechModel
from ser_core.regression import class_rows
from ser_core.training import AfterEpoch, Recipe

CLASSIFIERS = ("logistic", "mlp")
STRENGTH = {"eGeMAPSv02": 100.0, "ComParE_2016": 1.0}
"""Inverse regularisation of the logistic regression over all clips: scikit-learn's C times the number of clips."""

HIDDEN = 64
PENALTY = 1.0
"""Weight decay of the perceptron (scikit-learn's alpha)."""


class StandardisedClassifier(nn.Module):
    """Functionals (batch, features) to logits; z-scores are clipped at ±10 so that one odd value cannot decide."""

    def __init__(self, features: int, classes: int, hidden: int | None = None) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(features))
        self.deviation = nn.Parameter(torch.ones(features))
        self.classifier: nn.Module = (
            nn.Linear(features, classes)
            if hidden is None
            else nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        )

    def embed(self, values: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, features)."""
        return ((values - self.mean) / self.deviation).clamp(-10, 10)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of z-scores."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def forward(self, values: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(values))


class FunctionalsModel(SpeechModel):
    """The trained network behind the interface of the app."""

    network: StandardisedClassifier
    baseline_name = "mean of the training clips"

    def __init__(self, card: Card, network: StandardisedClassifier, neighbourhood: Neighbourhood | None = None) -> None:
        super().__init__()
        self.card = card
        self.network = network.eval()
        self.axes = InputAxes("functionals", names=feature_names(card.encoder))
        self.neighbourhood = neighbourhood

    def inputs(self, samples: Tensor) -> Tensor:
        """Return the functionals (batch, features) of (batch, samples)."""
        return torch.from_numpy(np.stack([functionals(row, self.card.encoder) for row in samples.numpy()]))

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the training mean of every functional."""
        return self.network.mean.expand_as(inputs)


def prepare(file: str, encoder: str) -> np.ndarray:
    """Return the functionals of a corpus's audio file as one column (features, 1)."""
    return file_functionals(file, encoder)[:, None]


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch | None,
    *,
    classifier: str = "logistic",
) -> StandardisedClassifier:
    """Return the network fitted on functionals and targets (clips, classes); a minute at most, so nothing is resumed.

    Args:
        values: (features, 1) of each clip.
        targets: the class of each clip, one-hot; every class counts the same, however many clips it has.
        recipe: its seed and, for the perceptron, epochs, batch and rate.
        encoder: the feature set.
        folder: not used.
        after_epoch: not used.
        classifier: one of ``CLASSIFIERS``.

    Raises:
        SettingError: there is no such classifier.
    """
    if classifier not in CLASSIFIERS:
        raise SettingError(f"There is no classifier '{classifier}'; it is one of {', '.join(CLASSIFIERS)}.")
    table, classes = table_of(values), targets.argmax(1)
    deviation = table.std(0, dtype=np.float64)
    network = StandardisedClassifier(table.shape[1], targets.shape[1], HIDDEN if classifier == "mlp" else None)
    network.mean.data = torch.from_numpy(table.mean(0, dtype=np.float64).astype(np.float32))
    network.deviation.data = torch.from_numpy(np.where(deviation > 0, deviation, 1.0).astype(np.float32))
    scores = embeddings(network, values)
    layers = [layer for layer in network.classifier.modules() if isinstance(layer, nn.Linear)]
    if classifier == "logistic":
        regression = LogisticRegression(
            C=STRENGTH[encoder] / len(scores), max_iter=2000, class_weight="balanced", random_state=recipe.seed
        ).fit(scores, classes)
        found, seen = [(regression.coef_, regression.intercept_)], regression.classes_
    else:
        perceptron = MLPClassifier(
            (HIDDEN,),
            alpha=PENALTY,
            batch_size=min(recipe.batch, len(scores)),
            learning_rate_init=recipe.rate,
            max_iter=recipe.epochs,
            n_iter_no_change=recipe.epochs,
            random_state=recipe.seed,
        )
        with warnings.catch_warnings():  # the number of epochs is meant
            warnings.simplefilter("ignore", ConvergenceWarning)
            perceptron.fit(scores, classes, sample_weight=compute_sample_weight("balanced", classes))
        found = [(weight.T, bias) for weight, bias in zip(perceptron.coefs_, perceptron.intercepts_, strict=True)]
        seen = perceptron.classes_
    found[-1] = class_rows(*found[-1], seen, targets.shape[1])
    for layer, (weight, bias) in zip(layers, found, strict=True):
        layer.weight.data = torch.from_numpy(weight.astype(np.float32))
        layer.bias.data = torch.from_numpy(bias.astype(np.float32))
    return network.eval()


def logits(network: StandardisedClassifier, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return over_table(network, values)


def embeddings(network: StandardisedClassifier, values: list[np.ndarray]) -> np.ndarray:
    """Return z-scores of the training speech (clips, features)."""
    return over_table(network.embed, values)


def load(folder: Path, card: Card) -> FunctionalsModel:
    """Return the model of a folder; its card's encoder names the feature set."""
    state = {name: value.float() for name, value in load_file(folder / "weights.safetensors").items()}
    hidden = len(state["classifier.0.weight"]) if "classifier.0.weight" in state else None
    network = StandardisedClassifier(len(feature_names(card.encoder)), len(card.emotions), hidden)
    network.load_state_dict(state)
    return FunctionalsModel(card, network, load_neighbourhood(folder))


def save(network: StandardisedClassifier, temperature: float, folder: Path) -> None:
    """Write the weights with the calibration temperature folded into the last layer; a hidden layer as halves."""
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    last = "classifier.2" if "classifier.2.weight" in state else "classifier"
    for name in (f"{last}.weight", f"{last}.bias"):
        state[name] = state[name] / temperature
    if "classifier.0.weight" in state:
        state["classifier.0.weight"] = state["classifier.0.weight"].half()
    save_tensors(state, folder / "weights.safetensors")
