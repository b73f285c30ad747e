"""MATER in the app: the model of one clip and its words, and what each level and word says."""

import copy
import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ser_core import sentences
from ser_core.audio import Recording
from ser_core.familiarity import Neighbourhood
from ser_core.models import Card, InputAxes, SpeechModel
from ser_core.systems.mater.ensemble import Mater
from ser_core.systems.mater.features import (
    MODALITIES,
    block_names,
    features,
    reads_english_only,
    recogniser_of,
    slices,
    word_terms,
)
from ser_core.word_measures import WordMeasures, measure_words
from ser_core.word_times import SpokenText, recognised


@dataclass(frozen=True)
class LevelEvidence:
    """What one level answers and how far it moves the explained logit; acoustic, text and constant add up to ``moves``.

    probabilities are the level's own, calibrated; weight is its share in the ensemble, 0 … 1.
    """

    level: str
    probabilities: tuple[float, ...]
    entropy_bits: float
    weight: float
    acoustic: float
    text: float
    constant: float

    @property
    def moves(self) -> float:
        """How far the level moves the explained logit."""
        return self.acoustic + self.text + self.constant


@dataclass(frozen=True)
class WordEvidence:
    """A word's measures and how far it moves the explained logit by its voice and by its meaning.

    The words' evidence adds up to that of the level "word"; all words alike bear the training mean that is taken off.
    """

    measures: WordMeasures
    acoustic: float
    text: float


@dataclass(frozen=True)
class Evidence:
    """What the levels and the words of a clip say for an emotion, against another or the mean of all.

    The levels' ``moves`` add up to the explained logit. ``text_left_out`` is True where the text is in a language that
    the text encoder does not read, or was not to count.
    """

    emotion: str
    against: str | None
    levels: tuple[LevelEvidence, ...]
    words: tuple[WordEvidence, ...]
    spoken: SpokenText
    text_left_out: bool


class MaterModel(SpeechModel):
    """The ensemble behind the interface of the app; without words given it asks the recogniser for them."""

    network: Mater
    baseline_name = "mean of the training clips"
    reads = True

    def __init__(self, card: Card, network: Mater, neighbourhood: Neighbourhood | None = None) -> None:
        super().__init__()
        self.card = card
        self.network = network.eval()
        self.neighbourhood = neighbourhood
        self.spoken: SpokenText | None = None
        self.axes = InputAxes("functionals", names=tuple(n for b in block_names(card.encoder).values() for n in b))

    @property
    def recogniser(self) -> str:
        """The name of the recogniser that finds the times of words."""
        return recogniser_of(self.card.encoder)

    def with_words(self, spoken: SpokenText, *, reads: bool = True) -> "MaterModel":
        """Return this model for one clip whose words are known; its name says so, its network is the same.

        Args:
            spoken: the words.
            reads: whether the text counts; else it is set to the training mean, and the voice of the words remains.
        """
        bound = copy.copy(self)
        bound.reads = reads
        digest = hashlib.sha256(f"{spoken!r} {reads}".encode()).hexdigest()[:8]
        # Figures were measured with the text; without it they are another model's.
        plain = self.card.extra.get("measured_as", self.card.name)
        measured = {"measured_as": plain} if reads else {}
        name = f"{plain} ({digest})"
        bound.card = dataclasses.replace(self.card, name=name, extra=self.card.extra | measured)
        bound.spoken = spoken
        return bound

    def at_tempo(self, moved: Callable[[float], float]) -> "MaterModel":
        """Return this model with the words that it was given at their new times."""
        if self.spoken is None:
            return self
        words = (
            dataclasses.replace(word, start_s=moved(word.start_s), end_s=moved(word.end_s))
            for word in self.spoken.words
        )
        return self.with_words(dataclasses.replace(self.spoken, words=tuple(words)), reads=self.reads)

    def hears(self, samples: np.ndarray) -> SpokenText:
        """Return the words that the model works with for a clip (samples,)."""
        return self.spoken or recognised(samples, self.recogniser)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return the inputs (batch, features) of (batch, samples)."""
        return torch.from_numpy(np.stack([self._features(row) for row in samples.numpy()]))

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the training mean of every input."""
        return self.network.mean.expand_as(inputs)

    def evidence(self, recording: Recording, emotion: str, against: str | None = None) -> Evidence:
        """Return what levels and words say for an emotion of the model, against another or the mean of all."""
        samples = np.array(recording.samples)
        spoken = self.hears(samples)
        values = torch.from_numpy(self.with_words(spoken, reads=self.reads)._features(samples))[None]
        with torch.inference_mode():
            scores = self.network.embed(values)
            each, weights = self.network.shares(scores)
        names, places = list(self.network.levels), slices(self.card.encoder)
        words = measure_words(samples, spoken)
        levels, told = [], [np.zeros(len(words)), np.zeros(len(words))]
        for row, name in enumerate(names):
            scale = float(weights[0, row] / self.network.temperature)
            slope, constant = self._direction(name, emotion, against)
            moved = scale * slope * scores[0].double().numpy()
            acoustic, text = (float(moved[places[name, kind]].sum()) for kind in MODALITIES)
            p = each[0, row].exp().double().numpy()
            entropy = float(-(p * np.log2(np.maximum(p, 1e-12))).sum())
            levels.append(
                LevelEvidence(
                    name, tuple(p.tolist()), entropy, float(weights[0, row]), acoustic, text, scale * constant
                )
            )
            if name == "word" and words:
                told = [
                    self._by_word(terms, places[name, kind], scale * slope, values[0], scores[0])
                    for kind, terms in zip(MODALITIES, word_terms(words), strict=True)
                ]
                if self._leaves_out(spoken):
                    told[1] = np.zeros(len(words))
        shown = tuple(
            WordEvidence(word, float(a), float(t)) for word, a, t in zip(words, told[0], told[1], strict=True)
        )
        return Evidence(emotion, against, tuple(levels), shown, spoken, self._leaves_out(spoken))

    def _direction(self, level: str, emotion: str, against: str | None) -> tuple[np.ndarray, float]:
        """Return a level's slope (features,) and constant for the explained difference of log-probabilities."""
        layer = self.network.level(level)
        weight, bias = (p.detach().double().numpy() for p in (layer.linear.weight, layer.linear.bias))
        place = self.emotions.index(emotion)
        others = weight.mean(0), bias.mean()
        if against is not None:
            others = weight[self.emotions.index(against)], bias[self.emotions.index(against)]
        slope = np.zeros(len(self.network.mean))
        slope[layer.columns.numpy()] = weight[place] - others[0]
        return slope, float(bias[place] - others[1])

    def _by_word(
        self, terms: np.ndarray, place: slice, slope: np.ndarray, values: Tensor, scores: Tensor
    ) -> np.ndarray:
        """Return how far each word (words,) moves the logit; they add up to what the whole block moves it."""
        mean, deviation = (b[place].double().numpy() for b in (self.network.mean, self.network.deviation))
        raw = (values[place].double().numpy() - mean) / deviation
        # Where the clip's z-score was cut off, every word's part of it is cut by the same factor.
        kept = np.divide(scores[place].double().numpy(), raw, out=np.ones(len(raw)), where=np.abs(raw) > 1e-9)
        return ((terms - mean / len(terms)) / deviation * kept) @ slope[place]

    def _leaves_out(self, spoken: SpokenText) -> bool:
        """Return whether the text does not count."""
        return not self.reads or (reads_english_only(self.card.encoder) and spoken.language != sentences.LANGUAGE)

    def _features(self, samples: np.ndarray) -> np.ndarray:
        spoken = self.hears(samples)
        found = features(samples, spoken, self.card.encoder)
        places = slices(self.card.encoder)
        silent = [place for (level, kind), place in places.items() if not spoken.words and level == "word"]
        if self._leaves_out(spoken) or not spoken.words:
            silent += [place for (_, kind), place in places.items() if kind == "text"]
        for place in silent:  # what cannot be known must not speak: the training mean says nothing
            found[place] = self.network.mean[place].numpy()
        return found
