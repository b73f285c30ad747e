"""Models as the app sees them: a card, an input with named axes, and logits."""

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.audio import Recording


@dataclass(frozen=True)
class Figure:
    """One measured figure with its 95 % interval, its baselines and how to repeat it."""

    measure: str
    value: float
    low: float
    high: float
    baseline: float
    chance: float
    split: str
    command: str


@dataclass(frozen=True)
class Card:
    """What a model is, what it was trained on, how well it does, and what it is not for."""

    name: str
    title: str
    system: str
    summary: str
    emotions: tuple[str, ...]
    encoder: str
    corpora: tuple[str, ...]
    licences: tuple[str, ...]
    split: str
    figures: tuple[Figure, ...]
    intended_use: str
    limits: tuple[str, ...]
    size_mb: float
    extra: dict = field(default_factory=dict)


@dataclass(frozen=True)
class InputAxes:
    """The axes a model's input truly has.

    kind: "log_mel" (inputs are (batch, bands, columns)), "waveform" ((batch, samples)) or
    "functionals" ((batch, features), named).
    Column k is centred at ``first_s + k × step_s`` seconds; ``bands_hz`` are the rows' centres in Hz.
    """

    kind: str
    step_s: float | None = None
    first_s: float = 0.0
    bands_hz: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Familiarity:
    """How far a clip lies from what the model was trained on.

    percentile: share (0 … 100) of held-out clips of the training corpus that lie nearer than this one.
    """

    distance: float
    percentile: float
    sentence: str


@dataclass(frozen=True, eq=False)
class Prediction:
    """Calibrated probabilities (classes,) over the model's emotions."""

    model: str
    emotions: tuple[str, ...]
    probabilities: np.ndarray
    familiarity: Familiarity | None = None

    @property
    def order(self) -> tuple[str, ...]:
        """Emotions from the most to the least probable."""
        return tuple(self.emotions[i] for i in np.argsort(-self.probabilities, kind="stable"))

    @property
    def top(self) -> str:
        """The most probable emotion."""
        return self.order[0]

    @property
    def runner_up(self) -> str:
        """The second most probable emotion."""
        return self.order[1]

    @property
    def entropy_bits(self) -> float:
        """Shannon entropy in bits; at most log2(classes)."""
        p = self.probabilities[self.probabilities > 0]
        return float(-(p * np.log2(p)).sum())

    def probability(self, emotion: str) -> float:
        """Return the probability of one emotion."""
        return float(self.probabilities[self.emotions.index(emotion)])


@dataclass(frozen=True, eq=False)
class PoolingWeights:
    """A model's own weights over time (steps,), summing to 1; step k is centred at times_s[k]."""

    times_s: np.ndarray
    weights: np.ndarray
    what: str


class SpeechModel(ABC):
    """A model that can be asked and explained.

    ``network`` maps ``inputs`` to calibrated logits (batch, classes). It is in evaluation mode and its parameters
    need no gradient. Forward hooks on a network that threads share give another user's data, so whoever uses hooks
    holds ``lock``.

    Attributes:
        gradcam_layers: dotted names of convolutions in ``network`` whose output keeps time (and bands); last is used.
        relevance_rules: whether every module of ``network`` has a rule in Captum's LRP and DeepLIFT.
    """

    card: Card
    axes: InputAxes
    network: nn.Module
    gradcam_layers: tuple[str, ...] = ()
    relevance_rules: bool = False

    def __init__(self) -> None:
        self.lock = threading.RLock()

    @property
    def name(self) -> str:
        """The folder or hub name."""
        return self.card.name

    @property
    def emotions(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.card.emotions

    @abstractmethod
    def inputs(self, samples: Tensor) -> Tensor:
        """Return the network's inputs for (batch, samples) of 16 kHz audio of equal length."""

    @abstractmethod
    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the reference of the same shape as ``inputs`` that holds no evidence."""

    baseline_name: str = "silence floor"

    def pooling(self, inputs: Tensor) -> PoolingWeights | None:
        """Return the model's own weights over time for one clip, if it has any."""
        return None

    def familiarity(self, recording: Recording) -> Familiarity | None:
        """Return how far the clip is from the training data, if the model folder holds a reference."""
        return None

    def logits(self, samples: Tensor) -> Tensor:
        """Return logits (batch, classes) of (batch, samples)."""
        return self.network(self.inputs(samples))

    def predict(self, recording: Recording) -> Prediction:
        """Return calibrated probabilities for one recording."""
        with torch.inference_mode():
            logits = self.logits(torch.from_numpy(np.array(recording.samples))[None])[0]
        return Prediction(
            self.name, self.emotions, logits.double().softmax(0).numpy(), familiarity=self.familiarity(recording)
        )


def model_names() -> tuple[str, ...]:
    """Return the names of every model folder at hand."""
    from ser_core.registry import names

    return names()


def load_model(name: str | Path) -> SpeechModel:
    """Return the model of that name, folder or hub name."""
    from ser_core.registry import load

    return load(name)
