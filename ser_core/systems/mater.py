"""Three levels, each acoustic and textual, in an ensemble that listens to those that are sure (MATER).

- word: pitch, level, duration, pause and valence of every word (``word_measures``). The level's score is a sum over
  words, so what each word brings to it is exact and needs no attribution method.
- utterance: eGeMAPS functionals of the clip and the embedding of its sentence.
- embedding: mean and deviation over time of every layer of a speech encoder, and over tokens of a text encoder.

Each level is a multinomial logistic regression with its own temperature, found by cross-validation within the training
clips. The ensemble adds up the levels' log-probabilities, weighted by ``1 − entropy / log(classes)``: a level that
cannot tell has no say. English is read by MiniLM; text in other languages by the decoder of the multilingual
recogniser while it hears silence.

The paper's details are not public; how the levels are made and the form of the weights are inferred.
"""

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from ser_core import sentences
from ser_core.audio import Recording, read
from ser_core.batches import over_table, table_of
from ser_core.calibration import fit_temperature
from ser_core.encoders import frozen_encoder
from ser_core.errors import CorpusError, SettingError
from ser_core.familiarity import Neighbourhood, load_neighbourhood
from ser_core.frames import encoder_frames
from ser_core.functionals import feature_names, file_functionals, functionals
from ser_core.models import Card, InputAxes, SpeechModel
from ser_core.settings import settings
from ser_core.systems.whisper_statistics import statistics
from ser_core.training import AfterEpoch, Recipe, prepare_log_mel
from ser_core.weights import WHISPER, whisper_state
from ser_core.word_measures import SCALES, WordMeasures, measure_words, scaled
from ser_core.word_times import SpokenText, aligned_text, parts, recognised, text_states

LEVELS = ("word", "utterance", "embedding")
MODALITIES = ("acoustic", "text")
FUNCTIONALS = "eGeMAPSv02"
OWN_WORDS = " and its own transcript"
"""At the end of an encoder's name: the recogniser's transcript is used even where the corpus has one."""

STRENGTH = {"word": 0.3, "utterance": 0.1, "embedding": 0.001}
"""Inverse regularisation of each level's logistic regression (scikit-learn's C)."""

WEIGHTINGS = ("entropy", "equal")
FOLDS = 3
FARTHEST = 10.0
LEAST_WEIGHT = 1e-6

Block = tuple[str, str]
"""A level and a modality."""


# ---------------------------------------------------------------------------------------------- what the levels read


def word_terms(words: Sequence[WordMeasures]) -> tuple[np.ndarray, np.ndarray]:
    """Return what each word adds to the level's acoustic (words, n) and text (words, 3) features.

    Acoustic: means over words of every scaled measure, its square and its product with every other one, and the
    measures of the first and of the last word. Text: means of positive valence, of negative valence, and of whether
    the lexicon knows the word. The sum over words is the clip's feature vector.
    """
    values = np.array([scaled(word) for word in words]).reshape(len(words), len(SCALES))
    first, second = np.triu_indices(len(SCALES), 1)
    averaged = np.concatenate([values, values**2, values[:, first] * values[:, second]], axis=1) / max(1, len(words))
    place = np.arange(len(words))[:, None]
    ends = np.concatenate([values * (place == 0), values * (place == len(words) - 1)], axis=1)
    rated = np.array([[w.valence or 0.0, w.valence is not None] for w in words], dtype=float).reshape(len(words), 2)
    text = np.stack([np.maximum(rated[:, 0], 0), np.maximum(-rated[:, 0], 0), rated[:, 1]], axis=1)
    return np.concatenate([averaged, ends], axis=1), text / max(1, len(words))


@functools.lru_cache(maxsize=8)
def block_names(encoder: str) -> dict[Block, tuple[str, ...]]:
    """Return the names of the features of every level and modality, in the order of the network's input."""
    recogniser = _recogniser_of(encoder)
    spec = WHISPER[recogniser]
    measures = [scale.name for scale in SCALES.values()]
    pairs = [f"{measures[i]} × {measures[j]}" for i, j in zip(*np.triu_indices(len(measures), 1), strict=True)]
    names = [*measures, *[f"{name}, squared" for name in measures], *pairs]
    ends = [f"{which} word: {name}" for which in ("first", "last") for name in measures]
    hidden = sentences.HIDDEN if _english(encoder) else spec.hidden_size
    numbered = [f"{kind} {number}" for kind in ("mean", "deviation") for number in range(hidden)]
    layers = [
        f"speech layer {layer}, {kind} {number}"
        for layer in range(spec.layers + 1)
        for kind in ("mean", "deviation")
        for number in range(spec.hidden_size)
    ]
    return {
        ("word", "acoustic"): (*[f"words: {name}" for name in names], *ends),
        ("word", "text"): ("words: pleasant", "words: unpleasant", "words: in the lexicon"),
        ("utterance", "acoustic"): feature_names(FUNCTIONALS),
        ("utterance", "text"): tuple(f"sentence {number}" for number in range(hidden)),
        ("embedding", "acoustic"): tuple(layers),
        ("embedding", "text"): tuple(f"tokens, {name}" for name in numbered),
    }


def slices(encoder: str) -> dict[Block, slice]:
    """Return where each level and modality lies in the network's input."""
    found, start = {}, 0
    for block, names in block_names(encoder).items():
        found[block] = slice(start, start + len(names))
        start += len(names)
    return found


def features(samples: np.ndarray, spoken: SpokenText, encoder: str) -> np.ndarray:
    """Return the network's input (features,) for a clip (samples,) at 16 kHz and what was said in it."""
    recogniser = _recogniser_of(encoder)
    network = frozen_encoder(recogniser)
    with torch.inference_mode():
        heard = [network(network.inputs(torch.from_numpy(np.array(part)[None])))[0] for _, part in parts(samples)]
        states = [torch.cat(layer, dim=1) for layer in zip(*heard, strict=True)]
    return _joined(samples, spoken, states, functionals(samples, FUNCTIONALS), encoder)


def _joined(
    samples: np.ndarray, spoken: SpokenText, states: list[Tensor], measured: np.ndarray, encoder: str
) -> np.ndarray:
    acoustic, text = word_terms(measure_words(samples, spoken))
    sentence, tokens = _text(spoken.text, encoder, spoken.language)
    return np.concatenate(
        [acoustic.sum(0), text.sum(0), measured, sentence, statistics(states)[0].numpy(), tokens]
    ).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _text(text: str, encoder: str, language: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the embedding of a text and the mean and deviation of its tokens' states."""
    if _english(encoder):
        states = sentences.token_states(text)
    else:
        states = text_states(text, _recogniser_of(encoder), language)[-1]
    return sentences.sentence_embedding(states), np.concatenate([states.mean(0), states.std(0)])


def prepare(file: str, encoder: str) -> np.ndarray:
    """Return the network's input for a corpus's audio file as one column (features, 1), kept in the cache folder.

    What was said is the corpus's transcript where it has one, else the recogniser's; times are the recogniser's.
    """
    store = _store(file, encoder)
    if store.exists():
        return np.load(store)[:, None]
    log_mel = prepare_log_mel(file)
    return _kept(file, encoder, encoder_frames([log_mel], _recogniser_of(encoder))[0])[:, None]


def prepare_all(files: Sequence[str], encoder: str, *, at_once: int = 500) -> None:
    """Prepare many files: the same as ``prepare`` for each, with the encoder's store looked up once in 500 clips."""
    missing = [file for file in files if not _store(file, encoder).exists()]
    for start in range(0, len(missing), at_once):
        some = missing[start : start + at_once]
        frames = encoder_frames([prepare_log_mel(file) for file in some], _recogniser_of(encoder))
        for file, states in zip(some, frames, strict=True):
            _kept(file, encoder, states)
        print(f"{start + len(some)} of {len(missing)} clips prepared", flush=True)


def _kept(file: str, encoder: str, frames: np.ndarray) -> np.ndarray:
    """Return and store the input for a file whose encoder's frames (steps, states, hidden) are at hand."""
    samples = np.array(read(file).samples)
    recogniser = _recogniser_of(encoder)
    states = [torch.from_numpy(np.asarray(frames[:, state], np.float32))[None] for state in range(frames.shape[1])]
    text, language = corpus_text(file)
    if text is None or encoder.endswith(OWN_WORDS):
        spoken = recognised(samples, recogniser, language=language)
    else:
        spoken = aligned_text(samples, text, recogniser, language=language, frames=states[-1], confident=False)
    values = _joined(samples, spoken, states, file_functionals(file, FUNCTIONALS), encoder)
    store = _store(file, encoder)
    store.parent.mkdir(parents=True, exist_ok=True)
    partial = store.with_suffix(".partial.npy")
    np.save(partial, values)
    partial.replace(store)
    return values


def corpus_text(file: str) -> tuple[str | None, str | None]:
    """Return the transcript of a corpus's file and its language (ISO 639-1), each None where the corpus has none."""
    for folder in list(Path(file).resolve().parents)[:3]:
        found = _corpus_texts(folder)
        if found:
            return found.get(str(Path(file).resolve()), (None, None))
    return None, None


@functools.lru_cache(maxsize=16)
def _corpus_texts(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    from ser_core.corpora import read_corpus

    try:
        table = read_corpus(folder).table
    except CorpusError:
        return {}
    known = table[["transcript", "language"]].astype(object).where(table[["transcript", "language"]].notna(), None)
    return dict(
        zip(
            (str(Path(file).resolve()) for file in table["file"]),
            known.itertuples(index=False, name=None),
            strict=True,
        )
    )


def _store(file: str, encoder: str) -> Path:
    path = Path(file).resolve()
    state = path.stat()
    words = f"{encoder} {path} {state.st_size} {state.st_mtime_ns} {sum(map(len, block_names(encoder).values()))}"
    return settings().cache_dir / "mater" / f"{hashlib.sha256(words.encode()).hexdigest()[:24]}.npy"


def _recogniser_of(encoder: str) -> str:
    return encoder.removesuffix(OWN_WORDS)


def _english(encoder: str) -> bool:
    return _recogniser_of(encoder).endswith(".en")


# ------------------------------------------------------------------------------------------------------- the network


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


# ------------------------------------------------------------------------------------------------------ the training


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
        weight, bias = _regression(scores[:, chosen], classes, level, recipe.seed)
        temperature = 1.0
        if len(levels) > 1:
            temperature = _level_temperature(scores[:, chosen], classes, level, recipe.seed)
        layer = network.level(level).linear
        layer.weight.data = torch.from_numpy((weight / temperature).astype(np.float32))
        layer.bias.data = torch.from_numpy((bias / temperature).astype(np.float32))
    return network.eval()


def _regression(scores: np.ndarray, classes: np.ndarray, level: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    found = LogisticRegression(
        C=STRENGTH[level], max_iter=300, tol=1e-3, class_weight="balanced", random_state=seed
    ).fit(scores, classes)
    return found.coef_, found.intercept_


def _level_temperature(scores: np.ndarray, classes: np.ndarray, level: str, seed: int) -> float:
    """Return the temperature that fits clips left out of the level's training."""
    left_out = np.zeros((len(classes), classes.max() + 1))
    for training, testing in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(scores, classes):
        weight, bias = _regression(scores[training], classes[training], level, seed)
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
    save_file(kept, folder / "weights.safetensors", metadata={"weighting": network.weighting})


def load(folder: Path, card: Card) -> "MaterModel":
    """Return the model of a folder; its card names the encoder."""
    from safetensors import safe_open

    with safe_open(folder / "weights.safetensors", "pt") as stored:
        weighting = stored.metadata()["weighting"]
    state = load_file(folder / "weights.safetensors")
    columns = {name.split(".")[1]: value.tolist() for name, value in state.items() if name.endswith(".columns")}
    levels = {level: columns[level] for level in LEVELS if level in columns}
    network = Mater(len(state["mean"]), len(card.emotions), levels, weighting)
    network.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in state.items()})
    return MaterModel(card, network, load_neighbourhood(folder))


def encoder_mb(encoder: str) -> float:
    """Return the size in MB of the recogniser (half precision, as packaged) and the sentence encoder."""
    recogniser = sum(value.numel() for value in whisper_state(_recogniser_of(encoder)).values())
    return 2 * recogniser / 1e6 + (sentences.encoder_mb() if _english(encoder) else 0.0)


# ------------------------------------------------------------------------------------------------------- in the app


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
        return _recogniser_of(self.card.encoder)

    def with_words(self, spoken: SpokenText, *, reads: bool = True) -> "MaterModel":
        """Return this model for one clip whose words are known; its name says so, its network is the same.

        Args:
            spoken: the words.
            reads: whether the text counts; else it is set to the training mean, and the voice of the words remains.
        """
        bound = copy.copy(self)
        bound.reads = reads
        digest = hashlib.sha256(f"{spoken!r} {reads}".encode()).hexdigest()[:8]
        bound.card = dataclasses.replace(self.card, name=f"{self.card.name} ({digest})")
        bound.spoken = spoken
        return bound

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
        return not self.reads or (_english(self.card.encoder) and spoken.language != sentences.LANGUAGE)

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
