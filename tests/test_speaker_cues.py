from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_core import speaker_cues as room
from ser_core.functionals import feature_names


def made_up(values: dict[str, float], sexes: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two clips a speaker around the value that every cue of the speaker has."""
    rows, cues = [], []
    for (speaker, value), sex in zip(values.items(), sexes, strict=True):
        for shift in (-1.0, 1.0):
            clip = f"{speaker}{shift:+.0f}"
            rows.append({"clip": clip, "corpus": "toy", "speaker": speaker, "sex": {"f": "female", "m": "male"}[sex]})
            cues.append({"corpus": "toy", "clip": clip} | dict.fromkeys(room.CUES, value + shift))
    return pd.DataFrame(rows), pd.DataFrame(cues)


def test_a_voice_is_set_against_the_other_speakers_of_its_sex() -> None:
    rows, cues = made_up({"a": 1, "b": 2, "c": 3, "d": 4, "e": 100, "f": 200}, "ffffmm")
    found = room.against_others(rows, cues, "d")
    assert len(found) == len(room.CUES) and set(found["others"]) == {3}
    row = found.iloc[0]
    assert (row["value"], row["middle"], row["percentile"]) == (4, 2, 100)
    assert (row["low"], row["high"]) == pytest.approx(np.percentile([1, 2, 3], [10, 90]))
    assert room.against_others(rows, cues, "b").iloc[0]["percentile"] == pytest.approx(100 / 3)


def test_too_few_others_and_unmeasured_speakers_give_nothing() -> None:
    rows, cues = made_up({"a": 1, "b": 2, "e": 5}, "ffm")
    assert room.against_others(rows, cues, "e").empty
    assert room.against_others(rows, cues.head(0), "a").empty


def test_every_cue_is_one_of_opensmiles_and_a_corpus_is_measured(tmp_path: Path, monkeypatch) -> None:
    assert set(room.CUES) <= set(feature_names(room.SET))
    monkeypatch.setattr(room, "RESULTS", tmp_path)
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    assert room.read_table().empty
    corpus = tmp_path / "toy"
    corpus.mkdir()
    time = np.arange(16_000) / 16_000
    for speaker, pitch in (("low", 110.0), ("high", 220.0)):
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
        soundfile.write(corpus / f"{speaker}.wav", 0.1 * tone, 16_000)
    (corpus / "labels.csv").write_text("file,speaker,emotion\nlow.wav,low,anger\nhigh.wav,high,anger\n")
    room.write([corpus])
    pitch = room.read_table().set_index("clip")["F0semitoneFrom27.5Hz_sma3nz_amean"]
    assert pitch["high"] - pitch["low"] == pytest.approx(12, abs=0.3)  # an octave
