"""What hearing each voice first gains in a session: stretches get their true emotion, and answers are the app's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from explain.long_recording import analyse
from explain.long_recording_baseline import heard_first
from ser_core import session_study as study
from ser_core.audio import SAMPLE_RATE
from ser_core.diarisation import Turn
from ser_core.diarisation_study import MadeUp
from ser_core.errors import CorpusError, ModelError
from ser_core.long_audio import long_sound
from ser_core.speech import Segment
from tests.bad_inputs import voice, wav

MODEL = "whisper-tiny-statistics"


@pytest.fixture
def corpus(tmp_path: Path) -> pd.DataFrame:
    """Two synthetic speakers, a low and a high voice, with two clips each."""
    low = voice(2.0)
    high = np.interp(np.arange(0, len(low), 1.6), np.arange(len(low)), low).astype(np.float32)
    rest, rows = 1e-4 * np.random.default_rng(0).standard_normal(8000), []
    for speaker, spoken in (("a", low), ("b", high)):
        for emotion in ("anger", "neutral"):
            path = tmp_path / f"{speaker}_{emotion}.wav"
            soundfile.write(path, np.concatenate([rest, spoken, rest]), SAMPLE_RATE)
            rows.append({"file": path, "clip": path.stem, "speaker": speaker, "emotion": emotion, "fold": 0})
    return pd.DataFrame(rows)


def test_a_stretch_has_the_emotion_of_the_clip_that_makes_up_nine_tenths_of_its_speech() -> None:
    table = pd.DataFrame(
        {"file": [Path("a1"), Path("a2"), Path("b1")], "speaker": ["a", "a", "b"], "emotion": ["x", "y", "z"]}
    )
    turns = (Turn(0, 2, 0), Turn(2.2, 3.2, 0), Turn(4, 6, 1))
    session = MadeUp(np.zeros(1), turns, ("a1", "a2", "b1"))
    asked = [Segment(0.1, 1.9), Segment(0, 3.2), Segment(0, 2.3), Segment(2.9, 6), Segment(7, 8)]
    found = study.spoken_in(asked, session, table)
    assert found["speaker"].tolist() == ["a", "a", "a", "b", ""]
    # The third holds 0.1 s of another clip beside 2.0 s, the fourth 0.3 s beside 2.0 s.
    assert found["emotion"].tolist() == ["x", "", "x", "", ""]


def test_each_speaker_takes_part_in_one_session(corpus: pd.DataFrame) -> None:
    many = pd.concat([corpus.assign(speaker=corpus["speaker"] + str(k)) for k in range(3)], ignore_index=True)
    made = list(study.sessions(many, 4.0))
    assert len(made) == 3 and all({turn.voice for turn in session.turns} <= {0, 1} for session in made)
    assert all(len(session.files) == len(session.turns) for session in made)
    with pytest.raises(CorpusError, match="two speakers"):
        next(study.sessions(corpus[corpus["speaker"] == "a"], 4.0))


def test_the_study_answers_as_the_app_does(corpus: pd.DataFrame, tmp_path: Path, monkeypatch, capsys) -> None:
    found = type("Corpus", (), {"table": corpus, "name": "made_up", "title": "Made up"})
    monkeypatch.setattr(study, "read_corpus", lambda folder: found)
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setattr(study, "by_variant", lambda rows: pd.DataFrame({"measure": ["UAR"], "value": [0.0]}))
    study.run(tmp_path, [MODEL], 24.0)
    assert "session 1: " in capsys.readouterr().out
    rows = pd.read_parquet(tmp_path / f"session-adaptation-{MODEL}.made_up.parquet")
    assert list(dict.fromkeys(rows["variant"])) == [study.ALONE, study.CUT, study.FOUND, study.TRUE]
    assert rows.groupby("variant")["clip"].nunique().nunique() == 1 and set(rows["speaker"]) == {"a", "b"}

    (session,) = study.sessions(corpus, 24.0)
    model = study.load_model(MODEL)
    alone = analyse(long_sound(wav(session.samples, SAMPLE_RATE, "FLOAT"), "session.wav"), model)
    after = heard_first(alone, model)
    shares = [f"p_{label}" for label in model.emotions]
    for variant, app in ((study.ALONE, alone), (study.FOUND, after)):
        for _, row in rows[rows["variant"] == variant].iterrows():
            place = int(row["clip"].split("-")[1])
            assert row[shares].to_numpy(float) == pytest.approx(app.stretches[place].prediction.probabilities, abs=1e-4)
    cut = rows[rows["variant"] == study.CUT][shares].to_numpy()
    assert not np.allclose(cut, rows[rows["variant"] == study.ALONE][shares].to_numpy(), atol=1e-3)


def test_a_model_that_cannot_be_adapted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be adapted"):
        study.run(tmp_path, ["egemaps-logistic"])
