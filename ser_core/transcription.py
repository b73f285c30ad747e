"""What was said: Whisper's transcript of a short clip, greedy, from the same packaged weights as the encoders.

The encoder reads the clip filled up to ten seconds by silence, not to 30: three times faster. With the real frames
alone the decoder sees no end and repeats the sentence; where it still does, the clip is filled up further.
Source: Radford et al. 2022, "Robust speech recognition via large-scale weak supervision".
"""

import functools
import importlib.util
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ser_core.audio import SAMPLE_RATE
from ser_core.encoders import frozen_encoder
from ser_core.errors import SettingError, WeightsError
from ser_core.features import LogMel
from ser_core.settings import settings
from ser_core.weights import WHISPER, whisper_state

LONGEST_S = 28.0
SHORTEST_S, FULL_S = 10.0, 29.0
SILENCE_S = 1.0
MOST_TOKENS_A_SECOND = 12
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Transcript:
    """What was said, and in which language (ISO 639-1)."""

    text: str
    language: str


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A Whisper decoder with its tokens; ``suppressed`` never stand in a transcript, ``not_first`` not at its start."""

    decoder: Any
    tokens: Any
    suppressed: tuple[int, ...]
    not_first: tuple[int, ...]
    languages: tuple[int, ...]

    def token(self, word: str) -> int:
        """Return the place of a special token in the vocabulary."""
        place: int = self.tokens.token_to_id(f"<|{word}|>")
        return place


def transcribe(samples: np.ndarray, encoder: str = "whisper-tiny.en", *, language: str | None = None) -> Transcript:
    """Return the transcript of a clip (samples,) at 16 kHz, up to 28 s.

    Args:
        samples: mono.
        encoder: "whisper-tiny.en" (English only) or "whisper-base".
        language: spoken language as ISO 639-1; recognised if not given.

    Raises:
        SettingError: the clip is longer than 28 s.
        WeightsError: the weights or their vocabulary are not at hand.
    """
    if len(samples) > LONGEST_S * SAMPLE_RATE:
        raise SettingError(f"A transcript is made of {LONGEST_S:.0f} s at most; cut the clip at a pause.")
    recogniser = load_recogniser(encoder)
    with torch.inference_mode():
        most = int(MOST_TOKENS_A_SECOND * (1 + len(samples) / SAMPLE_RATE))
        for length_s in (SHORTEST_S, FULL_S):
            heard = hear(samples, encoder, shortest_s=length_s)
            start, spoken = prompt(recogniser, heard, encoder, language)
            found = _greedy(recogniser, heard, start, most)
            if len(found) < most:
                break
    return Transcript(recogniser.tokens.decode(found).strip(), spoken)


def hear(samples: np.ndarray, encoder: str, *, shortest_s: float = SHORTEST_S) -> Tensor:
    """Return what the decoder listens to (1, steps, hidden), a step each 20 ms, of a clip (samples,) at 16 kHz.

    The clip is followed by silence, up to ``shortest_s`` and for a second at least.
    """
    silence = max(int(SILENCE_S * SAMPLE_RATE), int(shortest_s * SAMPLE_RATE) - len(samples))
    padded = np.pad(samples.astype(np.float32), (0, silence))
    return frozen_encoder(encoder)(LogMel()(torch.from_numpy(padded)[None]))[0][-1]


def words(text: str) -> list[str]:
    """Return the words of a text for comparison: lower case, no apostrophes, numbers up to twelve spelt out."""
    found = re.findall(r"\w+", text.lower().replace("'", "").replace("’", ""))
    return [NUMBERS[int(word)] if word.isdigit() and int(word) < len(NUMBERS) else word for word in found]


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Return the smallest number of substituted, deleted and inserted words between two sequences (Levenshtein)."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, start=1):
        above, row[0] = row[0], i
        for j, got in enumerate(hypothesis, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (wanted != got))
    return row[-1]


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return all word errors over all words of the references; NaN without any."""
    pairs = [(words(one), words(other)) for one, other in zip(references, hypotheses, strict=True)]
    count = sum(len(reference) for reference, _ in pairs)
    return sum(word_errors(*pair) for pair in pairs) / count if count else float("nan")


def prompt(recogniser: Recogniser, heard: Tensor, encoder: str, language: str | None) -> tuple[list[int], str]:
    """Return the tokens before the first word's, and the language, found by the decoder where none is given."""
    start, silent = recogniser.token("startoftranscript"), recogniser.token("notimestamps")
    if encoder.endswith(".en"):
        return [start, silent], "en"
    if language is None:
        language = next(iter(_languages(recogniser, heard)))
    return [start, recogniser.token(language), recogniser.token("transcribe"), silent], language


def spoken_languages(samples: np.ndarray, encoder: str = "whisper-base") -> dict[str, float]:
    """Return the languages (ISO 639-1) that the first 28 s of a clip may be in, with probabilities, likeliest first.

    Only one step of the decoder is needed, so the clip is filled up to three seconds, not to ten.

    Raises:
        WeightsError: the weights or their vocabulary are not at hand.
    """
    with torch.inference_mode():
        heard = hear(samples[: int(LONGEST_S * SAMPLE_RATE)], encoder, shortest_s=3.0)
        return _languages(load_recogniser(encoder), heard)


def _languages(recogniser: Recogniser, heard: Tensor) -> dict[str, float]:
    scores, _ = _scores(recogniser, heard, [recogniser.token("startoftranscript")])
    shares = torch.softmax(scores[list(recogniser.languages)].double(), 0)
    ranked = shares.argsort(descending=True, stable=True).tolist()
    return {recogniser.tokens.id_to_token(recogniser.languages[i]).strip("<|>"): float(shares[i]) for i in ranked}


def _scores(recogniser: Recogniser, heard: Tensor, tokens: list[int], past: Any = None) -> tuple[Tensor, Any]:
    """Return the scores (vocabulary,) of the token after these, and what the decoder keeps of the past."""
    states = recogniser.decoder(
        input_ids=torch.tensor([tokens]), encoder_hidden_states=heard, past_key_values=past, use_cache=True
    )
    return recogniser.decoder.embed_tokens.weight @ states.last_hidden_state[0, -1], states.past_key_values


def _greedy(recogniser: Recogniser, heard: Tensor, start: list[int], most: int) -> list[int]:
    end = recogniser.token("endoftext")
    found: list[int] = []
    past = None
    while len(found) < most:
        scores, past = _scores(recogniser, heard, found[-1:] or start, past)
        scores[list(recogniser.suppressed)] = float("-inf")
        scores[end + 1 :] = float("-inf")
        if not found:
            scores[list(recogniser.not_first)] = float("-inf")
        best = int(scores.argmax())
        if best == end:
            break
        found.append(best)
    return found


@functools.lru_cache(maxsize=2)
def load_recogniser(encoder: str) -> Recogniser:
    """Return a Whisper decoder; loaded once per process.

    Raises:
        WeightsError: the weights or their vocabulary are not at hand.
    """
    from tokenizers import Tokenizer
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperDecoder

    spec = WHISPER[encoder]
    folder = _vocabulary_folder(encoder)
    tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = WhisperConfig(
        vocab_size=spec.vocabulary,
        d_model=spec.hidden_size,
        decoder_layers=spec.layers,
        decoder_attention_heads=spec.heads,
        decoder_ffn_dim=4 * spec.hidden_size,
        dropout=0.0,
    )
    config._attn_implementation = "eager"  # the fused kernels keep no attention, from which words get their times
    with torch.device("meta"):
        decoder = WhisperDecoder(config)
    decoder.load_state_dict(whisper_state(encoder, "decoder"), assign=True)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Recogniser(
        decoder=decoder.eval().requires_grad_(False),
        tokens=tokens,
        suppressed=tuple(raw.get("suppress_ids", raw.get("suppress_tokens", ()))),
        not_first=tuple(raw.get("suppress_ids_begin", raw.get("begin_suppress_tokens", ()))),
        languages=tuple(place for name, place in tokens.get_vocab().items() if re.fullmatch(r"<\|[a-z]{2,3}\|>", name)),
    )


def _vocabulary_folder(encoder: str) -> Path:
    """Return the folder that holds the vocabulary: a local one, else that of the installed package."""
    local = settings().weights_dir
    if local is not None and (local / encoder / "tokenizer.json").is_file():
        return local / encoder
    package, relative = WHISPER[encoder].parts[0]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise WeightsError(
            f"The vocabulary of {encoder} is not at hand. Run 'make setup', or put tokenizer.json and config.json of "
            f"{WHISPER[encoder].hub_name} into {encoder}/ in the folder that SERSCOPE_WEIGHTS names."
        )
    return (Path(found.origin).parent / relative).parent
