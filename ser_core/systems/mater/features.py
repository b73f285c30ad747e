"""What the levels of MATER read: words, functionals, sentences and the states of encoders."""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ser_core import sentences
from ser_core.audio import read
from ser_core.encoders import frozen_encoder
from ser_core.files import state_of, whole
from ser_core.frames import encoder_frames
from ser_core.functionals import feature_names, file_functionals, functionals
from ser_core.settings import settings
from ser_core.systems.whisper_statistics import statistics
from ser_core.training import prepare_log_mel
from ser_core.weights import WHISPER, whisper_state
from ser_core.word_measures import SCALES, WordMeasures, measure_words, scaled
from ser_core.word_times import SpokenText, aligned_text, parts, recognised, text_states

LEVELS = ("word", "utterance", "embedding")
MODALITIES = ("acoustic", "text")
FUNCTIONALS = "eGeMAPSv02"
OWN_WORDS = " and its own transcript"
"""At the end of an encoder's name: the recogniser's transcript is used even where the corpus has one."""
READS_TRANSCRIPTS = True
"""``prepare`` takes what a corpus says was said, and in which language."""
Block = tuple[str, str]
"""A level and a modality."""
Said = tuple[str | None, str | None]


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
    recogniser = recogniser_of(encoder)
    spec = WHISPER[recogniser]
    measures = [scale.name for scale in SCALES.values()]
    pairs = [f"{measures[i]} × {measures[j]}" for i, j in zip(*np.triu_indices(len(measures), 1), strict=True)]
    names = [*measures, *[f"{name}, squared" for name in measures], *pairs]
    ends = [f"{which} word: {name}" for which in ("first", "last") for name in measures]
    hidden = sentences.HIDDEN if reads_english_only(encoder) else spec.hidden_size
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
    recogniser = recogniser_of(encoder)
    network = frozen_encoder(recogniser)
    with torch.inference_mode():
        heard = [network(network.inputs(torch.from_numpy(np.array(part)[None])))[0] for _, part in parts(samples)]
        states = [torch.cat(layer, dim=1) for layer in zip(*heard, strict=True)]
    return _joined(samples, spoken, states, functionals(samples, FUNCTIONALS), encoder)


def _joined(
    samples: np.ndarray, spoken: SpokenText, states: list[Tensor], measured: np.ndarray, encoder: str
) -> np.ndarray:
    acoustic, text = word_terms(measure_words(samples, spoken))
    sentence, tokens = _text(spoken, encoder)
    return np.concatenate(
        [acoustic.sum(0), text.sum(0), measured, sentence, statistics(states)[0].numpy(), tokens]
    ).astype(np.float32)


# Kept as long as what was said is: nobody's words outlast their session.
_TEXTS: WeakKeyDictionary[SpokenText, dict[str, tuple[np.ndarray, np.ndarray]]] = WeakKeyDictionary()


def _text(spoken: SpokenText, encoder: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the embedding of what was said and the mean and deviation of its tokens' states."""
    kept = _TEXTS.setdefault(spoken, {})
    if encoder not in kept:
        if reads_english_only(encoder):
            states = sentences.token_states(spoken.text)
        else:
            states = text_states(spoken.text, recogniser_of(encoder), spoken.language)[-1]
        kept[encoder] = sentences.sentence_embedding(states), np.concatenate([states.mean(0), states.std(0)])
    return kept[encoder]


def prepare(file: str, encoder: str, text: str | None = None, language: str | None = None) -> np.ndarray:
    """Return the network's input for a corpus's audio file as one column (features, 1), kept in the cache folder.

    Args:
        file: the clip.
        encoder: the recogniser's name, with ``OWN_WORDS`` where the corpus's words are not to be used.
        text: what was said by the corpus; None: what the recogniser hears. Times are the recogniser's.
        language: of the clip (ISO 639-1); None: what the recogniser takes it for.
    """
    said = (text, language)
    store = _store(file, encoder, said)
    if store.exists():
        return np.load(store)[:, None]
    log_mel = prepare_log_mel(file)
    return _kept(store, file, encoder, said, encoder_frames([log_mel], recogniser_of(encoder))[0])[:, None]


def _kept(store: Path, file: str, encoder: str, said: Said, frames: np.ndarray) -> np.ndarray:
    """Return and store the input for a file whose encoder's frames (steps, states, hidden) are at hand."""
    samples = np.array(read(file).samples)
    recogniser = recogniser_of(encoder)
    states = [torch.from_numpy(np.asarray(frames[:, state], np.float32))[None] for state in range(frames.shape[1])]
    text, language = said
    if text is None or encoder.endswith(OWN_WORDS):
        spoken = recognised(samples, recogniser, language=language)
    else:
        spoken = aligned_text(samples, text, recogniser, language=language, frames=states[-1], confident=False)
    values = _joined(samples, spoken, states, file_functionals(file, FUNCTIONALS), encoder)
    store.parent.mkdir(parents=True, exist_ok=True)
    with whole(store) as partial, partial.open("wb") as opened:
        np.save(opened, values)
    return values


def _store(file: str, encoder: str, said: Said) -> Path:
    own, width = settings().lexicon, sum(map(len, block_names(encoder).values()))
    words = json.dumps([encoder, state_of(file), said, state_of(own) if own else "", width])
    return settings().cache_dir / "mater" / f"{hashlib.sha256(words.encode()).hexdigest()[:24]}.npy"


def recogniser_of(encoder: str) -> str:
    """Return the recogniser of an encoder's name."""
    return encoder.removesuffix(OWN_WORDS)


def reads_english_only(encoder: str) -> bool:
    """Return whether the text encoder that goes with an encoder knows English alone."""
    return recogniser_of(encoder).endswith(".en")


def encoder_mb(encoder: str) -> float:
    """Return the size in MB of the recogniser (half precision, as packaged) and the sentence encoder."""
    recogniser = sum(value.numel() for value in whisper_state(recogniser_of(encoder)).values())
    return 2 * recogniser / 1e6 + (sentences.encoder_mb() if reads_english_only(encoder) else 0.0)
