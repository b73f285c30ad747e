"""Trains the frozen keyword network of ``systems.edge_fusion`` on real spoken words, and says what it hears.

Words: spoken digits, one a file, and words cut from RAVDESS's two sentences where a recogniser finds them. Neither
holds a speaker of CREMA-D, so one network serves every fold. Held-out speakers judge it; a linear probe on CREMA-D
says whether its embedding knows which sentence was spoken there.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from torch import Tensor, nn

from ser_core.audio import SAMPLE_RATE, from_samples, read
from ser_core.batches import over_clips
from ser_core.errors import CorpusError
from ser_core.files import save_tensors, write_text
from ser_core.metrics import evaluate
from ser_core.microfrontend import FRONTEND, micro_features
from ser_core.speech import speech_segments
from ser_core.systems.edge_fusion import (
    KEYWORD_BANDS,
    KEYWORD_FEATURES,
    KEYWORD_FRAMES,
    KEYWORDS,
    DSResNetSE,
    EdgeFusion,
    load_keywords,
)
from ser_core.training import Clips, Recipe, train

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HELD_OUT = ("fsdd/theo", "fsdd/yweweler", "ravdess/21", "ravdess/22", "ravdess/23", "ravdess/24")
RAVDESS_SUBSET: dict[str, list[Any]] = {
    "intensity": ["normal"],
    "repetition": [1],
    "emotion": ["neutral", "happiness", "sadness", "anger"],
}
LONGEST_LEAD = 16
SHORTEST_WORD_S = 0.08
RECIPE = Recipe(epochs=12, batch=64, rate=3e-3, average=0.98, masked=0.5)


class KeywordClassifier(nn.Module):
    """The keyword network with the layer that names the word; only the network is kept."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.network = DSResNetSE()
        self.classifier = nn.Linear(KEYWORD_FEATURES, words)

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """Return logits (batch, words) of (batch, 40, frames), cut or filled with silence to 0.8 s."""
        real = torch.arange(features.shape[2], device=features.device) < frames[:, None]
        heard = (features * real[:, None])[:, :KEYWORD_BANDS, :KEYWORD_FRAMES]
        return self.classifier(self.network(nn.functional.pad(heard, (0, KEYWORD_FRAMES - heard.shape[2]))))


def run(digits: Path, ravdess: Path, crema_d: Path | None, runs: Path) -> dict[str, Any]:
    """Train the keyword network as it ships, and probe it on CREMA-D if that is given; return what is stored of it."""
    from ser_core.bundled import PLANS
    from ser_core.corpora import read_corpus
    from ser_core.crossvalidation import prepared
    from ser_core.tasks import CREMA_D, with_folds

    table = read_corpus(ravdess, "ravdess").table
    for column, kept in RAVDESS_SUBSET.items():
        table = table[table[column].isin(kept)]
    words = pd.concat([digit_words(digits), sentence_words(table)], ignore_index=True)
    note = train_keywords(words, KEYWORDS, runs / "keywords")
    if crema_d is not None:
        clips = with_folds(CREMA_D, read_corpus(crema_d, CREMA_D.name).table)
        values = prepared(PLANS["edge-fusion"], clips)
        note["crema_d"] = {f"{what} UAR": probe(values, clips, what) for what in ("text_id", "emotion")}
        _store(note, KEYWORDS)
    return note


def digit_words(folder: Path) -> pd.DataFrame:
    """Return file, word, speaker, start_s and end_s of the Free Spoken Digit Dataset's recordings (7_theo_31.flac).

    Raises:
        CorpusError: the folder holds none.
    """
    named = ((path, re.fullmatch(r"(\d)_([a-z]+)_\d+", path.stem)) for path in sorted(folder.rglob("*_*_*.*")))
    rows = [
        {"file": str(path), "word": DIGITS[int(match[1])], "speaker": f"fsdd/{match[2]}", "start_s": 0.0, "end_s": 1.0}
        for path, match in named
        if match
    ]
    if not rows:
        raise CorpusError(f"{folder} holds no spoken digits; their files are named like 7_theo_31.flac.")
    return pd.DataFrame(rows)


def sentence_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return file, word, speaker, start_s and end_s of the words of a corpus table's clips, whose sentence is known."""
    return pd.DataFrame([row for clip in table.itertuples() for row in _words(clip)])


def word_features(words: pd.DataFrame, *, seed: int = 0) -> list[np.ndarray]:
    """Return features (40, frames) of each word, behind up to 0.16 s of silence.

    The front end hears the whole clip before a word is cut, as it does on a device.
    """
    generator = np.random.default_rng(seed)
    heard: dict[str, np.ndarray] = {}
    out = []
    for row in words.to_dict("records"):
        file = str(row["file"])
        if file not in heard:
            heard = {file: micro_features(_samples(file))}
        first, last = (round((row[edge] - FRONTEND.first_s) / FRONTEND.step_s) for edge in ("start_s", "end_s"))
        cut = heard[file][:, max(0, first) : max(0, first) + max(8, min(last - first, KEYWORD_FRAMES))]
        out.append(np.pad(cut, ((0, 0), (int(generator.integers(0, LONGEST_LEAD + 1)), 0))))
    return out


def train_keywords(words: pd.DataFrame, folder: Path, runs: Path) -> dict[str, Any]:
    """Train on the speakers who are not held out; write weights and ``keywords.json`` to ``folder``; return the latter.

    Args:
        words: of ``digit_words`` and ``sentence_words``.
        folder: where the network is kept.
        runs: where the checkpoint is kept; a stopped run goes on.
    """
    names = sorted(set(words["word"]))
    values = word_features(words)
    targets = (words["word"].to_numpy()[:, None] == np.array(names)).astype(np.float32)
    held_out = words["speaker"].isin(HELD_OUT).to_numpy()
    training, testing = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    torch.manual_seed(RECIPE.seed)
    trained = train(
        KeywordClassifier(len(names)), Clips([values[i] for i in training], targets[training]), RECIPE, runs
    )
    answers = [names[i] for i in over_clips(trained, [values[i] for i in testing]).argmax(1)]
    tested = words.iloc[testing]
    measured = evaluate(tested["word"].tolist(), answers, tested["speaker"].tolist(), names)
    note = {
        "words": names,
        "training_words": len(training),
        "training_speakers": int(words["speaker"].iloc[training].nunique()),
        "held_out_speakers": list(HELD_OUT),
        "held_out_words": len(testing),
        "figures": {
            name: {
                field: round(float(getattr(m, field)), 4) for field in ("value", "low", "high", "baseline", "chance")
            }
            for name, m in measured.items()
        },
        "command": "python -m ser_core keywords --digits FOLDER --ravdess FOLDER --corpus FOLDER",
    }
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in trained.network.state_dict().items() if value.is_floating_point()}
    save_tensors({name: value.half() for name, value in kept.items()}, folder / "weights.safetensors")
    _store(note, folder)
    return note


def probe(values: list[np.ndarray], table: pd.DataFrame, what: str) -> dict[str, float]:
    """Return how well a linear classifier on the frozen word embeddings tells a column of a corpus, by fold.

    Args:
        values: MicroFrontend features (40, frames) of each clip.
        table: with ``fold``, ``speaker`` and the column, such as "text_id" or "emotion".
        what: the column.

    Returns:
        UAR with its 95 % interval over speakers, and chance.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = load_keywords()

    def heard(features: Tensor, frames: Tensor) -> Tensor:
        windows, _ = EdgeFusion.windows(features, frames)
        return EdgeFusion.words(network, windows[:, 0])

    seen, wanted = over_clips(heard, values), table[what].to_numpy()
    answers = np.empty(len(wanted), dtype=object)
    for fold in sorted(table["fold"].unique()):
        testing = (table["fold"] == fold).to_numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, C=0.1))
        answers[testing] = model.fit(seen[~testing], wanted[~testing]).predict(seen[testing])
    uar = evaluate(wanted.tolist(), answers.tolist(), table["speaker"].tolist(), sorted(set(wanted)))["UAR"]
    return {field: round(float(getattr(uar, field)), 4) for field in ("value", "low", "high", "chance")}


def _store(note: dict[str, Any], folder: Path) -> None:
    write_text(folder / "keywords.json", json.dumps(note, indent=2) + "\n")


def _samples(file: str) -> np.ndarray:
    """Return a file's samples at 16 kHz, silence behind: a word alone may be shorter than what ``read`` takes."""
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return from_samples(np.pad(samples.mean(1), (0, rate // 2)), rate, Path(file).name).samples


def _words(clip: Any) -> Iterator[dict[str, Any]]:
    from ser_core.word_times import aligned_text

    recording = read(clip.file)
    spoken = speech_segments(recording)
    # Behind the last word the aligner would stretch the text into the silence.
    end = round((spoken[-1].end_s + 0.1) * SAMPLE_RATE) if spoken else None
    for word in aligned_text(recording.samples[:end], clip.transcript, language="en").words:
        if word.end_s - word.start_s >= SHORTEST_WORD_S:
            text = re.sub(r"[^a-z']", "", word.text.lower())
            edges = {"start_s": word.start_s, "end_s": word.end_s}
            yield {"file": clip.file, "word": text, "speaker": clip.speaker} | edges
