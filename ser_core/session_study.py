"""What it gains in a long recording to hear each voice first: ``ser_core session-adaptation``.

Two actors of a corpus, whom the bundled models never heard, take turns in a made-up session, in all moods
(:mod:`ser_core.diarisation_study`). Its stretches are found and its voices told apart as in the app. Each stretch is
answered alone, without the sound that the app leaves around its speech, after all stretches of the voice that it was
given to, and after all of the one who truly speaks. A stretch counts where nine tenths of its speech are one clip's,
whose emotion is then the right answer. That 0.4 s are left around speech was chosen on five of the sessions of CREMA-D.
Voices are told apart by thresholds that were set on the actors of CREMA-D with an even number, of whom some speak here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ser_core.audio import MIN_SECONDS, SAMPLE_RATE, from_samples
from ser_core.bundled import PLANS
from ser_core.corpora import read_corpus
from ser_core.diarisation import split, voices
from ser_core.diarisation_study import MadeUp, made_up
from ser_core.errors import CorpusError, ModelError
from ser_core.files import write_table
from ser_core.models import Prediction, SpeechModel
from ser_core.registry import load_model
from ser_core.results import RESULTS, by_variant
from ser_core.speaker_adaptation import adaptable, adapted_by
from ser_core.speech import Segment, Utterance, utterances
from ser_core.tasks import CREMA_D, check_audio, with_folds
from ser_core.voices import embeddings

MODELS = ("whisper-tiny-statistics", "whisper-base-statistics")
ALONE, CUT, FOUND, TRUE = (
    "each stretch alone",
    "without the sound around its speech",
    "after all stretches of its voice, as told apart",
    "after all stretches of its voice, as it truly is",
)
SECONDS = 300.0
MOSTLY = 0.9


def table_name(model: str) -> str:
    """Return the name of a model's stored table, without its corpus."""
    return f"session-adaptation-{model}"


def told() -> dict[str, tuple[str, str]]:
    """Return title and question of every model's study, by the name of its table."""
    question = (
        "How much more is right in a session of two voices when the model has heard all stretches of a voice, whose "
        "emotions nobody has told it? And how much of that is lost because voices are told apart by machine?"
    )
    return {
        table_name(name): (f"Each voice of a session heard first: {PLANS[name].title}", question) for name in MODELS
    }


def sessions(table: pd.DataFrame, seconds: float = SECONDS, seed: int = 0) -> Iterator[MadeUp]:
    """Yield sessions of two speakers of a corpus table, each speaker in one of them.

    Raises:
        CorpusError: there are fewer than two speakers.
    """
    random = np.random.default_rng(seed)
    speakers = random.permutation(sorted(table["speaker"].unique()))
    if len(speakers) < 2:
        raise CorpusError("A session needs two speakers; this corpus has fewer who can be used.")
    for pair in speakers[: len(speakers) // 2 * 2].reshape(-1, 2):
        yield made_up(table[table["speaker"].isin(pair)], random, seconds)


def run(corpus: Path, models: Sequence[str] = (), seconds: float = SECONDS) -> str:
    """Answer the stretches of made-up sessions in four ways, store the answers; return UAR and accuracy as text.

    Args:
        corpus: of CREMA-D the actors count whom the bundled models never heard, of any other corpus all.
        models: names of models that can be adapted; ``MODELS`` if none is given.
        seconds: length of a session.

    Raises:
        ModelError: a model cannot be adapted.
        CorpusError: the corpus has too few speakers.
    """
    asked = [load_model(name) for name in models or MODELS]
    for model in asked:
        if not adaptable(model):
            raise ModelError(f"{model.card.title} cannot be adapted to a speaker; choose from {', '.join(MODELS)}.")
    heard = read_corpus(corpus)
    check_audio(heard.table, heard.title)
    table = heard.table
    if heard.name == CREMA_D.name:
        table = with_folds(CREMA_D, table).query("fold == 0")
    table = table[table["emotion"].isin(set.intersection(*(set(model.emotions) for model in asked)))]
    parts: dict[str, list[pd.DataFrame]] = {model.name: [] for model in asked}
    for number, session in enumerate(sessions(table, seconds)):
        pieces, given = told_apart(session.samples)
        truth = spoken_in([piece.speech for piece in pieces], session, table)
        for model in asked:
            parts[model.name].append(_rows(model, pieces, given, truth, number))
        print(f"session {number + 1}: {len(pieces)} stretches", flush=True)
    lines = []
    for model in asked:
        rows = pd.concat(parts[model.name], ignore_index=True)
        rows = rows.iloc[np.argsort(pd.Categorical(rows["variant"], [ALONE, CUT, FOUND, TRUE]).codes, kind="stable")]
        write_table(rows.reset_index(drop=True), RESULTS / f"{table_name(model.name)}.{heard.name}.parquet")
        figures = by_variant(rows).query("measure in ('UAR', 'WA')")
        lines += [f"\n{model.card.title}\n", figures.round(4).to_string(index=False)]
    return "\n".join(lines)


def told_apart(samples: np.ndarray) -> tuple[list[Utterance], np.ndarray]:
    """Return the stretches of a session of two voices (samples,), and the voice of each (stretches,).

    They are those of :mod:`explain.long_recording`.
    """
    blocks = (samples[i : i + SAMPLE_RATE] for i in range(0, len(samples), SAMPLE_RATE))
    pieces = [piece for whole in utterances(blocks) for piece in split(whole)]
    lengths_s = np.array([piece.speech.end_s - piece.speech.start_s for piece in pieces])
    return pieces, voices(embeddings([piece.spoken for piece in pieces]), lengths_s, 2)


def spoken_in(stretches: Sequence[Segment], session: MadeUp, table: pd.DataFrame) -> pd.DataFrame:
    """Return who speaks most of each stretch (stretches,) and the emotion, "" where no clip has nine tenths of it.

    Args:
        stretches: parts of the session.
        session: who speaks when, and from which clip.
        table: the corpus, with columns file, speaker and emotion.
    """
    by_file = table.set_index(table["file"].astype(str))[["speaker", "emotion"]]
    rows = []
    for stretch in stretches:
        seconds: dict[str, float] = {}
        for turn, file in zip(session.turns, session.files, strict=True):
            common_s = min(turn.end_s, stretch.end_s) - max(turn.start_s, stretch.start_s)
            if common_s > 0:
                seconds[file] = seconds.get(file, 0.0) + common_s
        by_speaker = pd.Series(seconds, dtype=float).groupby(by_file["speaker"]).sum()
        most = max(seconds, key=lambda file: seconds[file], default="")
        one = bool(most) and seconds[most] >= MOSTLY * by_speaker.sum()
        rows.append(
            {
                "speaker": by_speaker.idxmax() if len(by_speaker) else "",
                "emotion": by_file.loc[most, "emotion"] if one else "",
            }
        )
    return pd.DataFrame(rows)


def _rows(
    model: SpeechModel, pieces: Sequence[Utterance], given: np.ndarray, truth: pd.DataFrame, session: int
) -> pd.DataFrame:
    """Return the answers to the stretches of one session, a row a stretch whose emotion is known × variant."""
    alone: dict[int, Prediction] = {}
    cut: dict[int, Prediction] = {}
    seen: dict[int, Tensor] = {}
    for place, piece in enumerate(pieces):
        if len(piece.spoken) >= MIN_SECONDS * SAMPLE_RATE:
            alone[place], embedding = model.heard(from_samples(piece.samples, SAMPLE_RATE, f"{session}-{place}"))
            cut[place] = model.predict(from_samples(piece.spoken, SAMPLE_RATE, f"{session}-{place}"))
            assert embedding is not None
            seen[place] = embedding
    counted = [place for place in alone if truth["emotion"][place]]
    answers = {
        ALONE: alone,
        CUT: cut,
        FOUND: _after(model, seen, given),
        TRUE: _after(model, seen, truth["speaker"].to_numpy()),
    }
    parts = []
    for variant, found in answers.items():
        rows = truth.loc[counted].assign(
            clip=[f"{session}-{place}" for place in counted], fold=0, variant=variant, seed=0
        )
        for k, label in enumerate(model.emotions):
            rows[f"p_{label}"] = np.array([found[place].probabilities[k] for place in counted], np.float32)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def _after(model: SpeechModel, seen: dict[int, Tensor], voice: np.ndarray) -> dict[int, Prediction]:
    """Return the answer to each stretch by the model that has heard all stretches of its voice."""
    answered: dict[int, Prediction] = {}
    for each in dict.fromkeys(voice[place] for place in seen):
        mine = [place for place in seen if voice[place] == each]
        heard = [seen[place] for place in mine]
        asked = adapted_by(model, heard, [str(place) for place in mine])
        answered |= dict(zip(mine, asked.of_embeddings(torch.stack(heard)), strict=True))
    return answered
