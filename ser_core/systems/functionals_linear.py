"""openSMILE functionals, standardised, and multinomial logistic regression."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from ser_core.familiarity import Neighbourhood, load_neighbourhood
from ser_core.functionals import feature_names, functionals
from ser_core.models import Card, InputAxes, SpeechModel


class StandardisedLinear(nn.Module):
    """Functionals (batch, features) to logits; z-scores are clipped at ±10 so that one odd value cannot decide."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(features))
        self.deviation = nn.Parameter(torch.ones(features))
        self.classifier = nn.Linear(features, classes)

    def standardise(self, values: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, features)."""
        return ((values - self.mean) / self.deviation).clamp(-10, 10)

    def forward(self, values: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classifier(self.standardise(values))


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

    def embed(self, inputs: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, features)."""
        return self.network.standardise(inputs)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return the functionals (batch, features) of (batch, samples)."""
        return torch.from_numpy(np.stack([functionals(row, self.card.encoder) for row in samples.numpy()]))

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the training mean of every functional."""
        return self.network.mean.expand_as(inputs)


def fit(values: np.ndarray, classes: np.ndarray, *, strength: float = 0.02, seed: int = 0) -> StandardisedLinear:
    """Return the network fitted on functionals (clips, features) and class indices (clips,).

    Args:
        values: functionals of the training clips.
        classes: class of each clip.
        strength: inverse regularisation of the logistic regression (scikit-learn's C).
        seed: of the solver.
    """
    network = StandardisedLinear(values.shape[1], int(classes.max()) + 1)
    deviation = values.std(0)
    network.mean.data = torch.from_numpy(values.mean(0).astype(np.float32))
    network.deviation.data = torch.from_numpy(np.where(deviation > 0, deviation, 1.0).astype(np.float32))
    with torch.inference_mode():
        scores = network.standardise(torch.from_numpy(values.astype(np.float32))).numpy()
    regression = LogisticRegression(C=strength, max_iter=2000, class_weight="balanced", random_state=seed)
    regression.fit(scores, classes)
    network.classifier.weight.data = torch.from_numpy(regression.coef_.astype(np.float32))
    network.classifier.bias.data = torch.from_numpy(regression.intercept_.astype(np.float32))
    return network.eval()


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
    save_file(state, folder / "weights.safetensors")
