"""openSMILE functionals, standardised, and multinomial logistic regression."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from ser_core.audio import read
from ser_core.familiarity import Neighbourhood, load_neighbourhood
from ser_core.functionals import feature_names, functionals
from ser_core.models import Card, InputAxes, SpeechModel
from ser_core.training import AfterEpoch, Recipe

STRENGTH = 0.02  # inverse regularisation (scikit-learn's C)


class StandardisedLinear(nn.Module):
    """Functionals (batch, features) to logits; z-scores are clipped at ±10 so that one odd value cannot decide."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(features))
        self.deviation = nn.Parameter(torch.ones(features))
        self.classifier = nn.Linear(features, classes)

    def embed(self, values: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, features)."""
        return ((values - self.mean) / self.deviation).clamp(-10, 10)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of z-scores."""
        return self.classifier(embedding)

    def forward(self, values: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(values))


class FunctionalsModel(SpeechModel):
    """The trained network behind the interface of the app."""

    network: StandardisedLinear
    baseline_name = "mean of the training clips"

    def __init__(self, card: Card, network: StandardisedLinear, neighbourhood: Neighbourhood | None = None) -> None:
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
    """Return the functionals of an audio file as one column (features, 1)."""
    return functionals(np.array(read(file).samples), encoder)[:, None]


def fit(
    values: list[np.ndarray], targets: np.ndarray, recipe: Recipe, encoder: str, folder: Path, after_epoch: AfterEpoch
) -> StandardisedLinear:
    """Return the network fitted on functionals and targets (clips, classes); seconds, so nothing is resumed."""
    table = _table(values)
    deviation = table.std(0)
    network = StandardisedLinear(table.shape[1], targets.shape[1])
    network.mean.data = torch.from_numpy(table.mean(0))
    network.deviation.data = torch.from_numpy(np.where(deviation > 0, deviation, 1.0).astype(np.float32))
    regression = LogisticRegression(C=STRENGTH, max_iter=2000, class_weight="balanced", random_state=recipe.seed)
    regression.fit(embeddings(network, values), targets.argmax(1))
    network.classifier.weight.data = torch.from_numpy(regression.coef_.astype(np.float32))
    network.classifier.bias.data = torch.from_numpy(regression.intercept_.astype(np.float32))
    return network.eval()


def logits(network: StandardisedLinear, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    with torch.inference_mode():
        return network(torch.from_numpy(_table(values))).numpy()


def embeddings(network: StandardisedLinear, values: list[np.ndarray]) -> np.ndarray:
    """Return z-scores of the training speech (clips, features)."""
    with torch.inference_mode():
        return network.embed(torch.from_numpy(_table(values))).numpy()


def load(folder: Path, card: Card) -> FunctionalsModel:
    """Return the model of a folder; its card's encoder names the feature set."""
    network = StandardisedLinear(len(feature_names(card.encoder)), len(card.emotions))
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    return FunctionalsModel(card, network, load_neighbourhood(folder))


def save(network: StandardisedLinear, temperature: float, folder: Path) -> None:
    """Write the weights with the calibration temperature folded into the classifier."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name] / temperature
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "weights.safetensors")


def _table(values: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(values, axis=1).T.astype(np.float32)
