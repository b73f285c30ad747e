"""Models as the app sees them: a card, an input with named axes, and logits."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.audio import Recording
from ser_core.errors import ModelError
from ser_core.familiarity import Familiarity, Neighbourhood
from ser_core.features import LogMel, at_floor, mel_centres_hz


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
    """What a model is, what it was trained on, how well it does, and what it is not for.

    ``emotions`` names the outputs in their order. ``answer`` says what they mean: "emotion" (one class, probabilities),
    "distribution" (how listeners would split) or "dimensions" (valence, arousal, dominance from −1 to 1).
    "measured_as" in ``extra`` names the model whose stored figures are this one's under another name.
    """

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
    answer: str = "emotion"


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


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's answer for one clip, of a kind that ``answer`` names as on the card.

    probabilities (outputs,) are calibrated for "emotion" and shares of listeners for a "distribution"; they are empty
    for "dimensions", whose ``values`` (outputs,) lie in −1 … 1. constant is the model's (``SpeechModel.constant``).
    """

    model: str
    emotions: tuple[str, ...]
    probabilities: np.ndarray
    familiarity: Familiarity | None = None
    answer: str = "emotion"
    constant: tuple[float, ...] = ()
    values: np.ndarray | None = None

    @property
    def order(self) -> tuple[str, ...]:
        """Emotions from the most to the least probable; dimensions from the farthest to the nearest to 0."""
        ranked = self.probabilities if self.values is None else np.abs(self.values)
        return tuple(self.emotions[i] for i in np.argsort(-ranked, kind="stable"))

    @property
    def top(self) -> str:
        """The first of ``order``."""
        return self.order[0]

    @property
    def runner_up(self) -> str:
        """The second of ``order``."""
        return self.order[1]

    @property
    def entropy_bits(self) -> float:
        """Shannon entropy in bits; at most log2(classes); NaN for dimensions."""
        if self.values is not None:
            return float("nan")
        p = self.probabilities[self.probabilities > 0]
        return float(-(p * np.log2(p)).sum())

    def probability(self, emotion: str) -> float:
        """Return the probability of one emotion, or the share of listeners who would choose it.

        Raises:
            ModelError: the model answers with dimensions, which have no probability.
        """
        if self.values is not None:
            raise ModelError(f"{self.model} answers with values of {', '.join(self.emotions)}, not with probabilities.")
        return float(self.probabilities[self.emotions.index(emotion)])

    def value(self, dimension: str) -> float:
        """Return the value (−1 … 1) of one dimension.

        Raises:
            ModelError: the model does not answer with dimensions.
        """
        if self.values is None:
            raise ModelError(f"{self.model} answers with probabilities, not with values of dimensions.")
        return float(self.values[self.emotions.index(dimension)])


@dataclass(frozen=True, eq=False)
class PoolingWeights:
    """A model's own weights over time (steps,), summing to 1; step k is centred at times_s[k]."""

    times_s: np.ndarray
    weights: np.ndarray
    what: str


class SpeechModel(ABC):
    """A model that can be asked and explained.

    ``network`` maps ``inputs`` to calibrated logits (batch, classes), or to values (batch, dimensions). It is in
    evaluation mode, its parameters need no gradient, and to ask it changes nothing in it, so that threads share it and
    need not wait for one another. Forward hooks on a network that threads share give another user's data, and relevance
    rules write into it: whoever needs either works on a copy of the network.

    Attributes:
        gradcam_layers: dotted names of convolutions in ``network`` whose output keeps time (and bands); last is used.
        relevance_rules: whether every module of ``network`` has a rule in Captum's LRP and DeepLIFT.
        baseline_name: what ``baseline`` holds, in words.
        neighbourhood: where the training data lie, if the model folder says.
        constant: mean of the training targets (outputs,): the best answer without listening. Empty for classes.
        class_means: mean of the training speech in what the classifier sees (outputs, features), if the folder has it.
    """

    card: Card
    axes: InputAxes
    network: nn.Module
    gradcam_layers: tuple[str, ...] = ()
    relevance_rules: bool = False
    baseline_name: str = "silence floor"
    neighbourhood: Neighbourhood | None = None
    constant: tuple[float, ...] = ()
    class_means: np.ndarray | None = None

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

    def at_tempo(self, moved: Callable[[float], float]) -> "SpeechModel":
        """Return the model for the clip at another tempo; ``moved`` maps seconds of what it knows of the clip."""
        return self

    def first_column_s(self, samples: Tensor) -> float:
        """Return where the first column of a clip's inputs is centred, in seconds; a model that trims moves it."""
        return self.axes.first_s

    @abstractmethod
    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the reference of the same shape as ``inputs`` that holds no evidence."""

    def answer(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits (batch, classes), and what the classifier sees where the network has ``embed``."""
        embed, classify = (getattr(self.network, name, None) for name in ("embed", "classify"))
        if embed is None or classify is None:
            return self.network(inputs), None
        embedding = embed(inputs)
        return classify(embedding), embedding

    def pooling(self, inputs: Tensor) -> PoolingWeights | None:
        """Return the model's own weights over time for one clip, if it has any."""
        return None

    def logits(self, samples: Tensor) -> Tensor:
        """Return logits (batch, classes) of (batch, samples)."""
        return self.network(self.inputs(samples))

    def predict(self, recording: Recording) -> Prediction:
        """Return the answer for one recording, and how familiar it is."""
        return self.heard(recording)[0]

    def heard(self, recording: Recording) -> tuple[Prediction, Tensor | None]:
        """Return the answer for one recording, and what the classifier saw (features,) where ``answer`` tells it."""
        with torch.inference_mode():
            logits, embedding = self.answer(self.inputs(torch.from_numpy(np.array(recording.samples))[None]))
        return self._told(logits, embedding), None if embedding is None else embedding[0]

    def _told(self, logits: Tensor, embedding: Tensor | None) -> Prediction:
        """Return the answer, and how familiar it is, of one clip's logits (1, classes) and embedding (1, features)."""
        familiarity = None
        if self.neighbourhood is not None and embedding is not None and self.card.corpora:
            familiarity = self.neighbourhood.familiarity(embedding[0].double().numpy(), self.card.corpora[0])
        return self.reading(logits[0].double().numpy(), familiarity)

    def reading(self, outputs: np.ndarray, familiarity: Familiarity | None = None) -> Prediction:
        """Return the answer that the network's outputs (outputs,) for a clip mean.

        Raises:
            ModelError: they are not as many as the card names.
        """
        kind = self.card.answer
        if len(outputs) != len(self.emotions):
            raise ModelError(
                f"Model {self.name} gives {len(outputs)} outputs, but its card names {len(self.emotions)} "
                f"({', '.join(self.emotions)}); mend card.json."
            )
        if kind == "dimensions":
            values = np.clip(outputs, -1.0, 1.0)
            return Prediction(self.name, self.emotions, np.zeros(0), familiarity, kind, self.constant, values)
        shares = np.exp(outputs - outputs.max())
        return Prediction(self.name, self.emotions, shares / shares.sum(), familiarity, kind, self.constant)


class LogMelModel(SpeechModel):
    """A model whose input is Whisper's log-mel spectrogram of the clip, without padding."""

    baseline_name = "silence floor of the clip's log-mel spectrogram"

    def __init__(
        self, card: Card, network: nn.Module, neighbourhood: Neighbourhood | None = None, *, bands: int = 80
    ) -> None:
        super().__init__()
        self.card = card
        self.network = network.eval()
        self.neighbourhood = neighbourhood
        self.log_mel = LogMel(bands)
        self.axes = InputAxes("log_mel", step_s=LogMel.step_s, bands_hz=tuple(mel_centres_hz(bands).tolist()))

    def inputs(self, samples: Tensor) -> Tensor:
        """Return (batch, bands, frames) of (batch, samples)."""
        return self.log_mel(samples)

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return frames that all lie at the lowest level of the clip."""
        return at_floor(inputs)
