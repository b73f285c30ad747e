import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import transformers

import ser_core.evaluation as room
from ser_core.audio import read
from ser_core.cards import read_card
from ser_core.corpora import read_corpus
from ser_core.errors import CorpusError
from ser_core.registry import load_model
from ser_core.results import RESULTS
from ser_core.settings import ASSETS, ROOT

EMOTIONS = ("Angry", "joy", "neutral")


def tiny_corpus(folder: Path, speakers: int = 3, clips: int = 4) -> Path:
    """A corpus nobody has seen: noise in a folder with a CSV table, one of its files broken."""
    folder.mkdir()
    random, rows = np.random.default_rng(0), []
    for speaker in range(speakers):
        for place in range(clips):
            name = f"s{speaker}-{place}.wav"
            soundfile.write(folder / name, random.normal(0, 0.1, 8_000), 16_000)
            sex = "f" if speaker % 2 else "m"
            rows.append({"file": name, "speaker": f"s{speaker}", "emotion": EMOTIONS[place % 3], "gender": sex})
    (folder / "s0-0.wav").write_bytes(b"no sound")
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def tiny_model(folder: Path) -> Path:
    """A model nobody has seen: a transformers folder with random weights, whose words are not the corpus's."""
    torch.manual_seed(0)
    labels = {0: "angry", 1: "happy", 2: "neutral", 3: "sad"}
    config = transformers.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, classifier_proj_size=16,
        conv_dim=(16, 16), conv_stride=(10, 16), conv_kernel=(10, 16), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, id2label=labels, label2id={name: k for k, name in labels.items()},
    )  # fmt: skip
    transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.fixture
def unseen(tmp_path: Path) -> tuple[Path, Path]:
    return tiny_model(tmp_path / "brand-new"), tiny_corpus(tmp_path / "My Corpus")


def test_a_model_and_a_corpus_that_nobody_has_seen_run_through(unseen, tmp_path: Path, capsys) -> None:
    model, corpus = unseen
    (path,) = room.evaluate([model], [corpus], out=tmp_path / "out", runs=tmp_path / "runs")
    assert path.name == "brand-new.my_corpus.parquet"
    rows = room.read_stored(path)
    assert len(rows) == 11 and [clip for clip, _ in rows.attrs["left_out"]] == ["s0-0"]
    assert set(rows["sex"]) == {"male", "female"} and set(rows["split"]) == {"other corpus"}
    assert set(rows["emotion"]) == {"anger", "happiness", "neutral"}
    shared = room.in_common(rows)
    assert [c for c in shared if c.startswith("p_")] == ["p_anger", "p_happiness", "p_neutral"]
    chances = shared[[c for c in shared if c.startswith("p_")]].to_numpy()
    assert chances.sum(axis=1) == pytest.approx(1)
    own = load_model(model).predict(read(corpus / "s1-2.wav")).probabilities
    assert rows.set_index("clip").loc["s1-2", [c for c in rows if c.startswith("p_")]].to_numpy(float) == pytest.approx(
        own, abs=1e-6
    )
    room.evaluate([model], [corpus], out=tmp_path / "out", runs=tmp_path / "runs")
    assert "done before" in capsys.readouterr().out


def test_the_apps_own_tables_are_never_of_speech_that_was_compressed_with_loss(unseen, tmp_path, monkeypatch) -> None:
    model, corpus = unseen
    table = pd.read_csv(corpus / "labels.csv")
    (corpus / "s1-1.wav").rename(corpus / "s1-1.opus")
    table["file"] = table["file"].replace("s1-1.wav", "s1-1.opus")
    table.to_csv(corpus / "labels.csv", index=False)
    monkeypatch.setattr(room, "TABLES", tmp_path / "own")
    with pytest.raises(CorpusError, match=r"s1-1\.opus, which was compressed with loss.*of the originals"):
        room.evaluate([model], [corpus], out=tmp_path / "own", runs=tmp_path / "runs")
    assert not list((tmp_path / "own").iterdir())
    assert room.evaluate([model], [corpus], out=tmp_path / "elsewhere", runs=tmp_path / "runs")


def test_a_table_is_made_anew_when_the_corpus_or_the_weights_change(unseen, tmp_path: Path) -> None:
    model, corpus = unseen
    places = {"out": tmp_path / "out", "runs": tmp_path / "runs"}
    (path,) = room.evaluate([model], [corpus], **places)
    first = path.read_bytes()
    soundfile.write(corpus / "s0-0.wav", np.random.default_rng(5).normal(0, 0.1, 9_000), 16_000)
    room.evaluate([model], [corpus], **places)
    assert len(room.read_stored(path)) == 12 and path.read_bytes() != first
    # Sound of the same length, and corrected names of the answers.
    second = room.read_stored(path)
    soundfile.write(corpus / "s0-0.wav", 0.3 * np.sin(np.arange(9_000) / 7), 16_000)
    room.evaluate([model], [corpus], **places)
    third = room.read_stored(path)
    changed = (second["p_anger"] != third["p_anger"]).to_numpy()
    assert second["clip"][changed].tolist() == ["s0-0"]
    config = json.loads((model / "config.json").read_text())
    config["id2label"] |= {"0": "neutral", "2": "angry"}
    (model / "config.json").write_text(json.dumps(config))
    room.evaluate([model], [corpus], **places)
    assert room.read_stored(path)["p_neutral"].to_numpy() == pytest.approx(third["p_anger"].to_numpy())


def test_corrected_labels_come_into_a_table_without_asking_again(unseen, tmp_path: Path, monkeypatch, capsys) -> None:
    model, corpus = unseen
    places = {"out": tmp_path / "out", "runs": tmp_path / "runs"}
    (path,) = room.evaluate([model], [corpus], **places)
    first = room.read_stored(path)
    table = pd.read_csv(corpus / "labels.csv")
    table["emotion"] = table["emotion"].replace("joy", "neutral")
    table["speaker"] = table["speaker"].replace("s2", "s9")
    table.to_csv(corpus / "labels.csv", index=False)
    monkeypatch.setattr(room, "_in_chunks", lambda *_: pytest.fail("was asked before"))
    room.evaluate([model], [corpus], **places)
    second = room.read_stored(path)
    assert "labels or speakers have changed" in capsys.readouterr().out
    assert set(second["emotion"]) == {"anger", "neutral"} and {"my_corpus/s9"} == set(second["speaker"].iloc[-4:])
    answers = [column for column in first if column.startswith("p_")]
    pd.testing.assert_frame_equal(first[["clip", *answers]], second[["clip", *answers]])
    assert second.attrs == first.attrs and second["run"].iloc[0] != first["run"].iloc[0]
    written = path.stat().st_mtime_ns
    room.evaluate([model], [corpus], **places)
    assert "done before" in capsys.readouterr().out and path.stat().st_mtime_ns == written


def test_clips_that_were_moved_to_another_folder_are_asked_again_and_not_lost(unseen, tmp_path: Path) -> None:
    model, corpus = unseen
    places = {"out": tmp_path / "out", "runs": tmp_path / "runs"}
    (path,) = room.evaluate([model], [corpus], **places)
    first = room.read_stored(path)
    (corpus / "moved").mkdir()
    for file in corpus.glob("*.wav"):
        file.rename(corpus / "moved" / file.name)
    table = pd.read_csv(corpus / "labels.csv")
    table.assign(file="moved/" + table["file"]).to_csv(corpus / "labels.csv", index=False)
    room.evaluate([model], [corpus], **places)
    second = room.read_stored(path)
    assert second["clip"].tolist() == [f"moved/{clip}" for clip in first["clip"]]
    assert [clip for clip, _ in second.attrs["left_out"]] == ["moved/s0-0"]
    answers = [column for column in first if column.startswith("p_")]
    pd.testing.assert_frame_equal(first[answers], second[answers])


def test_a_killed_command_goes_on_where_it_stopped_and_gives_the_same_table(tmp_path: Path) -> None:
    model, corpus = tiny_model(tmp_path / "brand-new"), tiny_corpus(tmp_path / "many", 6, 50)
    (whole,) = room.evaluate([model], [corpus], out=tmp_path / "whole", runs=tmp_path / "other")
    command = [sys.executable, "-m", "ser_core", "evaluate", "--models", str(model), "--corpora", str(corpus)]
    command += ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chunks, waited = tmp_path / "runs" / "evaluation", time.monotonic()
    while not list(chunks.rglob("*.parquet")) and time.monotonic() - waited < 60:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    kept = {path: path.stat().st_mtime_ns for path in chunks.rglob("*.parquet")}
    assert kept and not (tmp_path / "out" / whole.name).exists()
    (resumed,) = room.evaluate([model], [corpus], out=tmp_path / "out", runs=tmp_path / "runs")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # what was finished was not done again
    pd.testing.assert_frame_equal(room.read_stored(resumed), room.read_stored(whole))


def test_weights_are_never_asked_about_speakers_they_were_trained_on(corpora: Path, tmp_path: Path, capsys) -> None:
    asked = {
        name: [room.has_heard(read_card(ASSETS / "models" / name), read_corpus(corpora / corpus)) for corpus in CORPORA]
        for name in ("whisper-tiny-statistics", "mll-ravdess", "edge-fusion", "emosphere-emotale")
    }
    assert asked == {  # crema_d, ravdess, emodb, emotale
        "whisper-tiny-statistics": [True, False, False, False],
        "mll-ravdess": [True, True, False, False],  # its head starts from the one trained on CREMA-D
        "edge-fusion": [True, True, False, False],  # its keyword network learnt from RAVDESS
        "emosphere-emotale": [False, False, False, True],
    }
    (path,) = room.evaluate(["mll-ravdess"], [corpora / "ravdess", corpora / "crema_d"], out=tmp_path, runs=tmp_path)
    assert "mll-ravdess × crema_d: left out" in capsys.readouterr().out
    rows = room.read_stored(path)
    theirs = pd.read_parquet(RESULTS / "mll-ravdess.ravdess.parquet")
    assert set(rows["split"]) == {"out of fold"} and rows["clip"].tolist() == theirs["clip"].tolist()
    chances = [c for c in theirs if c.startswith("p_")]
    assert (rows[chances].to_numpy() == theirs[chances].to_numpy()).all()
    assert rows["sex"].notna().all() and rows.groupby("sex")["speaker"].nunique().to_dict() == {
        "female": 12,
        "male": 12,
    }


CORPORA = ("crema_d", "ravdess", "emodb", "emotale")


def test_listeners_shares_and_ratings_come_along(corpora: Path) -> None:
    facts = room._facts(read_corpus(corpora / "emotale"))
    shares = facts[[c for c in facts if c.startswith("share_")]]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1) and set(facts["language"]) == {"da", "en"}
    theirs = pd.read_parquet(RESULTS / "emosphere-emotale.emotale.parquet").set_index("clip")
    rated = facts.set_index("clip").loc[theirs.index, ["t_valence", "t_arousal", "t_dominance"]]
    assert rated.to_numpy() == pytest.approx(theirs[list(rated)].to_numpy(), abs=1e-6)


def test_probabilities_in_common_are_restricted_renamed_and_renormalised() -> None:
    rows = pd.DataFrame(
        {
            "clip": list("abcd"),
            "emotion": ["anger", "calm", "neutral", "boredom"],
            "p_anger": [0.6, 0.1, 0.0, 0.5],
            "p_neutral": [0.2, 0.5, 0.0, 0.2],
            "p_sadness": [0.2, 0.4, 1.0, 0.3],
        }
    )
    as_it_is = room.in_common(rows)
    assert as_it_is["clip"].tolist() == ["a", "c"] and "p_sadness" not in as_it_is
    assert as_it_is[["p_anger", "p_neutral"]].to_numpy().tolist() == [[0.6 / 0.8, 0.2 / 0.8], [0.5, 0.5]]
    merged = room.in_common(rows, {"calm": "neutral", "boredom": ""})
    assert merged["clip"].tolist() == ["a", "b", "c"] and merged["emotion"].tolist() == ["anger", "neutral", "neutral"]
    together = room.in_common(rows, {"sadness": "neutral"})
    assert together.loc[0, "p_neutral"] == pytest.approx(0.4)
    with pytest.raises(CorpusError, match="fewer than two of these are the same"):
        room.in_common(rows, {"anger": ""})


def test_two_corpora_of_one_name_and_none_at_all_are_told(tmp_path: Path, monkeypatch) -> None:
    first = tiny_corpus(tmp_path / "one")
    with pytest.raises(CorpusError, match="called one"):
        room.corpora_at([first, first])
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path / "nothing"))
    with pytest.raises(CorpusError, match="no corpus with audio"):
        room.corpora_at()
