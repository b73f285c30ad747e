"""When each word was said: by the recogniser's own attention, or as a TextGrid gives it.

A text is laid over a clip by the cross-attention of Whisper's decoder: those heads that follow the speech are averaged
into a score of each token at each 20 ms, and the best monotone path through it says when each token begins. The path
leaves no gaps, so a word is then trimmed to where the clip is loud, and what is cut off is a pause.

Sources: Radford et al. 2022 and the alignment heads published with each Whisper model; smoothing and standardisation
as in OpenAI's ``whisper/timing.py`` (MIT); the TextGrid text format, Praat manual (praat.org).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ser_core.audio import SAMPLE_RATE
from ser_core.encoders import frozen_encoder
from ser_core.errors import SettingError, short
from ser_core.features import LogMel
from ser_core.transcription import LONGEST_S, Recogniser, load_recogniser, prompt, transcribe

ALIGNMENT_HEADS = {
    "whisper-tiny.en": ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    "whisper-base": ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
}
"""Layer and head, as published with each model."""

STEP_S = 0.02
SMOOTHED_STEPS = 7
QUIET_DB = 30.0
SHORTEST_WORD_S = 0.04
FRAME_S = 0.01
WORD_TIERS = ("words", "word", "orthography", "transcript")


@dataclass(frozen=True)
class Word:
    """A word, from ``start_s`` to ``end_s`` in seconds; confidence is the decoder's mean probability of its tokens."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None


@dataclass(frozen=True)
class SpokenText:
    """What was said in a clip, word by word; ``origin`` says in words where text and times come from."""

    words: tuple[Word, ...]
    language: str
    origin: str

    @property
    def text(self) -> str:
        """The words as one line."""
        return " ".join(word.text for word in self.words)


def recognised(samples: np.ndarray, encoder: str = "whisper-tiny.en", *, language: str | None = None) -> SpokenText:
    """Return what the recogniser heard in a clip (samples,) at 16 kHz of any length, word by word.

    A clip of more than 28 s is cut at its quietest place between 20 and 28 s, as often as needed.

    Args:
        samples: mono.
        encoder: "whisper-tiny.en" (English only) or "whisper-base".
        language: spoken language as ISO 639-1; recognised if not given.
    """
    found: list[Word] = []
    for start_s, part in parts(samples):
        heard = transcribe(part, encoder, language=language)
        language = heard.language
        if heard.text:
            aligned = aligned_text(part, heard.text, encoder, language=language)
            found += [replace(w, start_s=w.start_s + start_s, end_s=w.end_s + start_s) for w in aligned.words]
    return SpokenText(tuple(found), language or "en", f"words and times recognised by {encoder}")


def aligned_text(
    samples: np.ndarray,
    text: str,
    encoder: str = "whisper-tiny.en",
    *,
    language: str | None = None,
    frames: Tensor | None = None,
    confident: bool = True,
) -> SpokenText:
    """Return a given text with the times at which the recogniser finds its words in a clip (samples,) of up to 28 s.

    Args:
        samples: mono at 16 kHz.
        text: what was said; words are what blanks separate.
        encoder: "whisper-tiny.en" or "whisper-base".
        language: of the text, as ISO 639-1; recognised if not given.
        frames: the encoder's last state (1, steps, hidden) of the clip, where it is at hand.
        confident: whether to say how sure the recogniser is of each word, which takes as long as the rest.

    Raises:
        SettingError: the clip is too long, or too short for so many words.
    """
    spoken = text.split()
    if len(samples) > LONGEST_S * SAMPLE_RATE:
        raise SettingError(
            f"A text can be laid over {LONGEST_S:.0f} s of speech at most; cut the clip, or give a TextGrid with words."
        )
    recogniser = load_recogniser(encoder)
    with torch.inference_mode():
        if frames is None:
            frames = frozen_encoder(encoder)(LogMel()(torch.from_numpy(np.array(samples, np.float32))[None]))[0][-1]
        start, language = prompt(recogniser, frames, encoder, language)
        pieces = [recogniser.tokens.encode(f" {word}", add_special_tokens=False).ids for word in spoken]
        tokens = [token for piece in pieces for token in piece]
        if len(tokens) + 1 > frames.shape[1]:
            raise SettingError(f"{len(spoken)} words cannot have been said in {len(samples) / SAMPLE_RATE:.1f} s.")
        scores, said = _follow(recogniser, frames, start, tokens, ALIGNMENT_HEADS[encoder])
        sure = _probabilities(recogniser, said, tokens) if confident else None
    begins = token_starts(scores) * STEP_S
    words, first = [], 0
    for word, piece in zip(spoken, pieces, strict=True):
        said_tokens = len(piece) - _silent_tail(recogniser, piece)
        confidence = float(sure[first : first + said_tokens].mean()) if sure is not None else None
        words.append(Word(word, float(begins[first]), float(begins[first + said_tokens]), confidence))
        first += len(piece)
    return SpokenText(trimmed(words, samples), language, f"your text, with times found by {encoder}")


def parts(samples: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Return parts of up to 28 s, each with its start in seconds, cut where a tenth of a second is quietest."""
    found, first = [], 0
    while len(samples) - first > LONGEST_S * SAMPLE_RATE:
        size = SAMPLE_RATE // 10
        window = samples[first + 20 * SAMPLE_RATE : first + int(LONGEST_S) * SAMPLE_RATE]
        power = (window[: len(window) // size * size].reshape(-1, size).astype(float) ** 2).sum(1)
        cut = first + 20 * SAMPLE_RATE + int(power.argmin()) * size + size // 2
        found.append((first / SAMPLE_RATE, samples[first:cut]))
        first = cut
    return [*found, (first / SAMPLE_RATE, samples[first:])]


def token_starts(scores: np.ndarray) -> np.ndarray:
    """Return the step at which each token begins on the best monotone path, (tokens,).

    Args:
        scores: (steps, tokens): how well each token fits each step. Every token takes one step or more, in their order,
            from the first step to the last; the path of the largest sum is taken.
    """
    steps, tokens = scores.shape
    total = np.full((steps, tokens), -np.inf)
    total[0, 0] = scores[0, 0]
    moved = np.zeros((steps, tokens), dtype=bool)
    for step in range(1, steps):
        stay, move = total[step - 1], np.append(-np.inf, total[step - 1, :-1])
        moved[step] = move > stay
        total[step] = scores[step] + np.maximum(stay, move)
    starts = np.zeros(tokens, dtype=int)
    token = tokens - 1
    for step in range(steps - 1, 0, -1):
        if moved[step, token]:
            starts[token] = step
            token -= 1
    return starts


def trimmed(words: Sequence[Word], samples: np.ndarray) -> tuple[Word, ...]:
    """Return words whose edges lie where the clip is loud, measured every 10 ms.

    Loud is within 30 dB of the 95th percentile, and above the lowest third between the 5th percentile and that one.
    """
    size = int(FRAME_S * SAMPLE_RATE)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(float)
    level_db = 10 * np.log10((frames**2).mean(1) + 1e-12)
    floor_db, speech_db = np.percentile(level_db, [5, 95])
    loud = level_db > max(speech_db - QUIET_DB, floor_db + (speech_db - floor_db) / 3)
    out = []
    for word in words:
        first, last = round(word.start_s / FRAME_S), min(round(word.end_s / FRAME_S), len(loud))
        there = np.flatnonzero(loud[first:last])
        if len(there) * FRAME_S >= SHORTEST_WORD_S:
            start_s, end_s = (first + int(there[0])) * FRAME_S, (first + int(there[-1]) + 1) * FRAME_S
            word = replace(word, start_s=start_s, end_s=end_s)
        out.append(word)
    return tuple(out)


def text_grid_words(content: str, language: str = "en") -> SpokenText:
    """Return the words of a TextGrid in Praat's long or short text format; empty intervals are pauses.

    Taken is the interval tier named "words" (or "word", "orthography", "transcript"), or the only interval tier.

    Raises:
        SettingError: this is no such TextGrid, or it does not say which tier holds the words.
    """
    tiers = _tiers(content)
    named = [name for name in tiers if name.strip().lower() in WORD_TIERS]
    if not named and len(tiers) != 1:
        raise SettingError(
            "The TextGrid does not say which tier holds the words (it has "
            f"{', '.join(map(short, list(tiers)[:8])) or 'no interval tier'}); name that tier 'words'."
        )
    words = tiers[named[0] if named else next(iter(tiers))]
    return SpokenText(tuple(word for word in words if word.text), language, "your TextGrid")


def text_states(text: str, encoder: str, language: str) -> np.ndarray:
    """Return the decoder's states (layers + 1, tokens, hidden) over a text, as it hears nothing but silence.

    So the states hold the text alone: with the clip's audio in its ears the decoder would bring the voice in. A text
    without a token gives one state, that of its end.
    """
    recogniser = load_recogniser(encoder)
    with torch.inference_mode():
        silence = frozen_encoder(encoder)(LogMel()(torch.zeros(1, SAMPLE_RATE)))[0][-1]
        start, _ = prompt(recogniser, silence, encoder, language)
        tokens = recogniser.tokens.encode(f" {text.strip()}", add_special_tokens=False).ids
        tokens = (tokens or [recogniser.token("endoftext")])[: 440 - len(start)]
        states = recogniser.decoder(
            input_ids=torch.tensor([start + tokens]),
            encoder_hidden_states=silence,
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states
    return torch.stack([state[0, len(start) :] for state in states]).numpy()


def _follow(
    recogniser: Recogniser, heard: Tensor, start: list[int], tokens: list[int], heads: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, Tensor]:
    """Return the fit (steps, tokens + 1) of each token and the end to each step, and the states before the tokens."""
    out = recogniser.decoder(
        input_ids=torch.tensor([start + tokens]), encoder_hidden_states=heard, use_cache=False, output_attentions=True
    )
    attention = torch.stack([out.cross_attentions[layer][0, head] for layer, head in heads]).numpy()
    spread = attention.std(1, keepdims=True)
    attention = (attention - attention.mean(1, keepdims=True)) / np.maximum(spread, 1e-9)
    half = SMOOTHED_STEPS // 2
    padded = np.pad(attention, ((0, 0), (0, 0), (half, half)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED_STEPS, axis=-1)
    attention = np.median(windows, axis=-1).mean(0)
    return attention[len(start) - 1 :].T, out.last_hidden_state[0, len(start) - 1 : -1]


def _silent_tail(recogniser: Recogniser, piece: list[int]) -> int:
    """Return how many tokens at the end of a word are punctuation: the decoder puts the pause after the word there."""
    spoken = [any(character.isalnum() for character in recogniser.tokens.decode([token])) for token in piece]
    return next((place for place, heard in enumerate(reversed(spoken)) if heard), 0)


def _probabilities(recogniser: Recogniser, said: Tensor, tokens: list[int]) -> np.ndarray:
    """Return the probability (tokens,) that the decoder gave to each token."""
    vocabulary: Tensor = recogniser.decoder.embed_tokens.weight
    return (said @ vocabulary.T).softmax(-1)[torch.arange(len(tokens)), torch.tensor(tokens)].numpy()


def _tiers(content: str) -> dict[str, list[Word]]:
    """Return the intervals of each interval tier, read as Praat reads a text file: free-standing numbers and texts."""
    found = re.findall(r'"((?:[^"]|"")*)"|(?<![^\s])(<exists>|[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![^\s])', content)
    parts = iter([(text.replace('""', '"'), value) for text, value in found])

    def number() -> float:
        return float(next(parts)[1])

    def text() -> str:
        string, value = next(parts)
        if value:
            raise ValueError
        return string

    tiers: dict[str, list[Word]] = {}
    try:
        if (text(), text()) != ("ooTextFile", "TextGrid"):
            raise ValueError
        number(), number(), next(parts)
        for _ in range(int(number())):
            kind, name = text(), text()
            number(), number()
            size = int(number())
            if kind == "IntervalTier":
                edges = [(number(), number(), text().strip()) for _ in range(size)]
                tiers[name] = [Word(label, start_s, end_s) for start_s, end_s, label in edges]
            else:
                for _ in range(size):
                    number(), text()
    except (ValueError, OverflowError, StopIteration):
        raise SettingError(
            "This is not a TextGrid in text format; save it in Praat with 'Save as text file' and give that."
        ) from None
    return tiers
