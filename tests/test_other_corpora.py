"""Any system is trained on any corpus that can be read, by the same command, also on licensed layouts made up here."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from bad_inputs import voice

from ser_core import bundled, cards, crossvalidation, registry, studies
from ser_core.__main__ import main
from ser_core.audio import SAMPLE_RATE, read
from ser_core.corpora import read_corpus
from ser_core.errors import SettingError
from ser_core.systems import co_vada, log_mel_resnet
from ser_core.tasks import task_of, with_folds

CODES = {"ang": "anger", "neu": "neutral", "sad": "sadness"}


@pytest.fixture
def iemocap(tmp_path: Path) -> Path:
    """Three sessions of two speakers, each with two turns of three emotions: anger is loud, sadness quiet."""
    folder = tmp_path / "IEMOCAP"
    sound, random = voice(1.2), np.random.default_rng(0)
    for session in (1, 2, 3):
        name, lines = f"Ses0{session}F_impro01", ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        turns = [(sex, place, code) for sex in "FM" for place, code in enumerate([*CODES, *CODES])]
        for start, (sex, place, code) in enumerate(turns):
            turn = f"{name}_{sex}{place:03d}"
            lines += [f"[{start}.0000 - {start + 1}.0000]\t{turn}\t{code}\t[2.5000, 2.5000, 2.5000]", ""]
            file = folder / f"Session{session}" / "sentences" / "wav" / name / f"{turn}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            level = {"ang": 1.6, "neu": 0.4, "sad": 0.1}[code] * random.uniform(0.8, 1.2)
            soundfile.write(file, level * sound, SAMPLE_RATE)
        told = folder / f"Session{session}" / "dialog" / "EmoEvaluation" / f"{name}.txt"
        told.parent.mkdir(parents=True)
        told.write_text("\n".join(lines))
    return folder


def test_a_system_is_trained_on_a_licensed_layout_and_its_model_answers(iemocap, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(crossvalidation, "ASSETS", tmp_path / "assets")
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    command = ["train", "egemaps-logistic", "--corpus", str(iemocap), "--runs", str(tmp_path / "runs")]
    assert main(command) == 0
    folder = tmp_path / "assets" / "models" / "egemaps-logistic-iemocap"
    card = cards.read_card(folder)
    assert card.corpora == ("IEMOCAP",) and card.emotions == tuple(CODES.values())
    assert "5 of 5 speaker-disjoint folds (6 speakers, 36 clips)" in card.split
    assert "python -m ser_core train egemaps-logistic --corpus IEMOCAP" in card.figures[0].command
    assert any(line.startswith("Training data IEMOCAP: ") for line in card.licences)
    assert not any("CREMA-D" in line for line in (*card.licences, *card.limits, *card.corpora))
    table = tmp_path / "assets" / "results" / "egemaps-logistic-iemocap.iemocap.parquet"
    rows = pd.read_parquet(table)
    for fold, part in rows.groupby("fold"):
        assert not set(part["speaker"]) & set(rows.loc[rows["fold"] != fold, "speaker"])
    loud = sorted(iemocap.rglob("*_F000.wav"))[0]
    assert registry.load_model(folder).predict(read(loud)).top == "anger"
    assert main(command) == 0  # what is done is not done again, and the model is written once more
    elsewhere = [*command[:-1], str(tmp_path / "other runs"), "--fold", "0"]
    assert main(elsewhere) == 0  # the folds that were not run stay, in the table and on the card
    assert pd.read_parquet(table).groupby("fold").size().to_dict() == rows.groupby("fold").size().to_dict()
    assert "5 of 5 speaker-disjoint folds (6 speakers, 36 clips)" in cards.read_card(folder).split
    capsys.readouterr()
    assert main([*elsewhere[:-1], "5"]) == 2 and not (tmp_path / "other runs" / folder.name / "fold-5").exists()
    assert "IEMOCAP has the folds 0 to 4, and no fold 5" in capsys.readouterr().err


def test_a_corpus_whose_labels_or_sound_changed_is_learnt_anew(iemocap, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(crossvalidation, "ASSETS", tmp_path / "assets")
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    command = ["train", "log-mel-resnet", "--corpus", str(iemocap), "--runs", str(tmp_path / "runs"), "--fold", "0"]
    monkeypatch.setattr(log_mel_resnet, "train", lambda network, *given, **more: network.eval())
    asked, fit = [], log_mel_resnet.fit
    heard = lambda values, targets, *rest: asked.append((values, targets)) or fit(values, targets, *rest)  # noqa: E731
    monkeypatch.setattr(log_mel_resnet, "fit", heard)
    table = tmp_path / "assets" / "results" / "log-mel-resnet-iemocap.iemocap.parquet"

    def rows() -> pd.DataFrame:
        assert main(command) == 0
        return pd.read_parquet(table).set_index("clip")

    first = rows()
    assert len(asked) == 1 and rows().equals(first) and len(asked) == 1  # what is done is not done again
    assert main([*command[:-1], "1"]) == 0 and set(rows()["fold"]) == {0, 1}

    clip = first.index[first["emotion"] == "anger"][0]
    for told in iemocap.rglob("EmoEvaluation/*.txt"):
        told.write_text(told.read_text().replace(f"{clip}\tang\t", f"{clip}\tneu\t"))
    labelled = rows()
    assert len(asked) == 3 and labelled.loc[clip, "emotion"] == "neutral"

    file = next(iemocap.rglob(f"{first.index[1]}.wav"))
    soundfile.write(file, np.random.default_rng(1).normal(0, 0.1, 2 * SAMPLE_RATE), SAMPLE_RATE)
    sounding = rows()
    assert len(asked) == 4 and not np.allclose(
        sounding.loc[first.index[1], ["p_anger", "p_neutral"]].tolist(),
        labelled.loc[first.index[1], ["p_anger", "p_neutral"]].tolist(),
    )


def test_folds_of_other_labels_are_not_put_beside_those_of_a_corpus_as_it_is_now() -> None:
    table = pd.DataFrame({"clip": list("abcd"), "speaker": list("wxyz"), "emotion": ["fear"] * 4, "fold": [0, 0, 1, 2]})
    stored = table.assign(p_fear=1.0)
    assert crossvalidation._as_now(stored, table)["clip"].tolist() == list("abcd")
    stored.loc[1, "emotion"] = "anger"
    assert crossvalidation._as_now(stored, table)["clip"].tolist() == ["c", "d"]


def test_folds_of_a_corpus_without_a_table_are_always_the_same(iemocap) -> None:
    corpus = read_corpus(iemocap)
    task = task_of(corpus)
    one, two = with_folds(task, corpus.table), with_folds(task, corpus.table.sample(frac=1, random_state=1))
    assert one["fold"].tolist() == two["fold"].tolist() and one["clip"].tolist() == two["clip"].tolist()
    assert (one.groupby("speaker")["fold"].nunique() == 1).all()


def test_another_encoder_is_another_model() -> None:
    plan = bundled.with_encoder(bundled.PLANS["whisper-tiny-statistics"], "whisper-base")
    assert (plan.name, plan.encoder) == ("whisper-tiny-statistics-whisper-base", "whisper-base")
    assert plan.licences[0] == "Encoder whisper-base: see its own" and "on whisper-base" in plan.title
    assert (
        bundled.with_encoder(bundled.PLANS["edrl-mea"], "/weights/WavLM Large").name == "edrl-mea-weights-wavlm-large"
    )
    assert "start" not in bundled.with_encoder(bundled.PLANS["mll-ravdess"], "whisper-base").options


@pytest.mark.parametrize("name", ["egemaps-logistic", "log-mel-resnet", "edge-fusion", "whisper-together"])
def test_a_system_without_such_an_encoder_says_so(name: str) -> None:
    with pytest.raises(SettingError, match="leave out --encoder"):
        bundled.with_encoder(bundled.PLANS[name], "whisper-base")


@pytest.mark.parametrize(
    ("name", "why"), [("whisper-tiny-attentive", ""), ("whisper-base-tuned", "fine-tunes"), ("mater", "recogniser")]
)
def test_an_encoder_that_a_system_cannot_use_is_refused(name: str, why: str) -> None:
    plan = bundled.PLANS[name]
    assert bundled.with_encoder(plan, "whisper-base").encoder == "whisper-base"
    if why:
        with pytest.raises(SettingError, match=f"{why}.*choose whisper-tiny.en or whisper-base as --encoder"):
            bundled.with_encoder(plan, "/weights/distilhubert")
    else:
        assert bundled.with_encoder(plan, "/weights/distilhubert").encoder == "/weights/distilhubert"


def test_a_study_on_given_weights_has_every_head_and_a_name_of_its_own() -> None:
    study = studies.on_encoder(studies.STUDIES["lightweight-heads"], "/weights/DistilHuBERT")
    assert study.name == "lightweight-heads-weights-distilhubert" and study.name not in studies.STUDIES
    assert list(study.variants) == ["DistilHuBERT, linear", "DistilHuBERT, mlp", "DistilHuBERT, attentive"]
    assert {plan.encoder for plan in study.variants.values()} == {"/weights/DistilHuBERT"}
    assert [plan.options["head"] for plan in study.variants.values()] == ["linear", "mlp", "attentive"]
    with pytest.raises(SettingError, match="no encoder that could be another one"):
        studies.on_encoder(studies.STUDIES["edge-late-fusion"], "whisper-base")


def test_parts_that_belong_to_a_corpus_are_not_taken_to_another(iemocap, corpora) -> None:
    with pytest.raises(SettingError, match="made for CREMA-D; choose its folder"):
        bundled.on_corpus(bundled.PLANS["whisper-together"], read_corpus(iemocap))
    with pytest.raises(SettingError, match="heard RAVDESS's speakers; choose another corpus"):
        bundled.on_corpus(bundled.PLANS["edge-fusion"], read_corpus(corpora / "ravdess"))


def test_any_system_learns_from_converted_voices(iemocap, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(crossvalidation, "ASSETS", tmp_path / "assets")
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.setattr(co_vada, "CONFIDENT", 0.2)
    monkeypatch.setattr(co_vada, "bias_guiding", lambda probabilities, classes: np.arange(len(classes)) % 2 == 0)
    command = ["train", "egemaps-logistic", "--corpus", str(iemocap), "--runs", str(tmp_path / "runs")]
    assert main([*command, "--converted-voices", "praat", "--fold", "0"]) == 0
    card = cards.read_card(tmp_path / "assets" / "models" / "egemaps-logistic-iemocap-co-vada-praat")
    assert "converted voices (praat)" in card.title and "--converted-voices praat" in card.figures[0].command
    made = list((tmp_path / "cache" / "converted" / "praat").rglob("*.flac"))
    assert len(made) > 5 and all(read(file).duration_s > 0.5 for file in made)
    with pytest.raises(SettingError, match="leave out --converted-voices"):
        bundled.with_converted_voices(bundled.PLANS["co-vada-after"], "praat")


def mine(folder: Path, told: dict[str, list[str]]) -> None:
    """Write a corpus with clips of these emotions by each speaker."""
    lines = ["file,speaker,emotion"]
    for speaker, emotions in told.items():
        for place, emotion in enumerate(emotions):
            soundfile.write(folder / f"{speaker}{place}.wav", voice(1.2), SAMPLE_RATE)
            lines.append(f"{speaker}{place}.wav,{speaker},{emotion}")
    (folder / "labels.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("model", ["whisper-tiny-attentive", "egemaps-logistic", "emosphere-emotale"])
def test_a_fold_that_leaves_hardly_a_clip_to_learn_from_is_refused_in_a_sentence(
    model: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    mine(tmp_path, {speaker: ["anger", "sadness"] for speaker in "abc"})
    assert main(["train", model, "--corpus", str(tmp_path), "--runs", str(tmp_path / "runs")]) == 2
    assert "has 2 clips to learn from, and 8 or more are needed" in capsys.readouterr().err


def test_another_state_of_an_own_corpus_or_encoder_has_other_folds(iemocap, tmp_path, monkeypatch) -> None:
    plan = bundled.on_corpus(bundled.PLANS["egemaps-logistic"], read_corpus(iemocap))
    table = with_folds(plan.its_task, read_corpus(iemocap).table)
    first = crossvalidation.run_folder(plan, table, tmp_path)
    assert first.parent == tmp_path and crossvalidation.run_folder(plan, table, tmp_path) == first
    samples, _ = soundfile.read(table["file"][0])
    soundfile.write(table["file"][0], samples / 2, SAMPLE_RATE)  # as many bytes as before
    assert crossvalidation.run_folder(plan, table, tmp_path) != first
    known = bundled.PLANS["whisper-tiny-attentive"]
    assert crossvalidation.run_folder(known, table, tmp_path) == tmp_path
    # Weights in place of the packaged ones.
    monkeypatch.setenv("SERSCOPE_WEIGHTS", str(tmp_path / "weights"))
    weights = tmp_path / "weights" / known.encoder / "model.safetensors"
    weights.parent.mkdir(parents=True)
    folders = set()
    for content in (b"these", b"those"):
        weights.write_bytes(content)
        folders.add(crossvalidation.run_folder(known, table, tmp_path))
    assert len(folders) == 2 and tmp_path not in folders
    found = set()
    for key in ("one", "two"):
        monkeypatch.setattr(crossvalidation, "frozen_encoder", lambda name, key=key: SimpleNamespace(key=key))
        found.add(crossvalidation.run_folder(bundled.with_encoder(known, "mine/encoder"), table, tmp_path))
    assert found == {tmp_path / "one", tmp_path / "two"}


def test_a_fold_that_leaves_one_emotion_to_learn_from_is_refused_in_a_sentence(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    mine(folder, {"a": ["anger"] * 8, "b": ["sadness"] * 8, "c": ["sadness"] * 8})
    assert main(["train", "egemaps-logistic", "--corpus", str(folder), "--runs", str(tmp_path / "runs")]) == 2
    assert "mine has clips of sadness only, and nothing can be told apart" in capsys.readouterr().err


def test_too_few_speakers_are_refused_in_a_sentence(tmp_path, capsys) -> None:
    lines = ["file,speaker,emotion", "a.wav,ann,anger", "b.wav,ann,joy"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", voice(1.0), SAMPLE_RATE)
    assert main(["train", "egemaps-logistic", "--corpus", str(tmp_path)]) == 2
    assert "needs three and two" in capsys.readouterr().err


@pytest.fixture
def em2ldl(tmp_path: Path) -> Path:
    """EM2LDL's table with drawn shares of 12 speakers, without audio; every fourth clip has two first labels."""
    folder, random = tmp_path / "EM2LDL", np.random.default_rng(0)
    folder.mkdir()
    labels = [
        *("ecstacy", "joy", "serenity", "love", "admiration", "trust", "acceptance", "submission", "terror", "fear"),
        *("apprehension", "awe", "amazement", "surprise", "distraction", "disapproval", "grief", "sadness"),
        *("pensiveness", "remorse", "loathing", "disgust", "boredom", "contempt", "rage", "anger", "annoyance"),
        *("aggresiveness", "vigilance", "anticipation", "interest", "optimism"),
    ]
    shares = random.dirichlet(np.full(32, 0.2), 192)
    shares[::4] = 0.5 * np.eye(32)[0] + 0.5 * np.eye(32)[1]
    table = pd.DataFrame(shares, columns=labels)
    speakers = [f"speaker{k // 16}" for k in range(192)]
    facts = {"speaker ID": speakers, "gender": "male", "age": "22岁", "ageClass": "Youth", "lang": "ce"}
    table.insert(0, "AudioID", range(1, 193))
    table.assign(**facts).to_csv(folder / "labels_distributions_Info.csv", index=False)
    return folder


def test_a_distribution_is_learnt_of_every_clip_and_label_that_listeners_gave(em2ldl, tmp_path, monkeypatch) -> None:
    (em2ldl / "audio").mkdir()
    random = np.random.default_rng(0)
    for clip in range(1, 193):
        soundfile.write(em2ldl / "audio" / f"{clip:04d}.wav", random.normal(0, 0.1, 4800), SAMPLE_RATE)
    monkeypatch.setattr(crossvalidation, "ASSETS", tmp_path / "assets")
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    command = ["train", "label-distribution", "--corpus", str(em2ldl), "--runs", str(tmp_path / "runs")]
    assert main(command) == 0
    card = cards.read_card(tmp_path / "assets" / "models" / "label-distribution-em2ldl")
    assert card.emotions[:3] == ("ecstasy", "joy", "serenity") and len(card.emotions) == 32
    rows = pd.read_parquet(tmp_path / "assets" / "results" / "label-distribution-em2ldl.em2ldl.parquet")
    assert len(rows) == 192 and rows["emotion"].isna().sum() == 48
    both = rows.loc[rows["emotion"].isna(), ["t_ecstasy", "t_joy"]].to_numpy()
    assert both == pytest.approx(0.5, abs=1e-4)


def test_a_corpus_without_its_sound_is_refused_in_a_sentence(em2ldl, tmp_path, capsys) -> None:
    for command in ("train label-distribution", "train egemaps-logistic", "speaker-adaptation", "session-adaptation"):
        assert main([*command.split(), "--corpus", str(em2ldl)]) == 2
        assert "192 of 192 clips of EM2LDL have no audio, first 0001" in capsys.readouterr().err
