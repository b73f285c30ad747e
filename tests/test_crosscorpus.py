from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import recall_score

from ser_core import crosscorpus, metrics
from ser_core.__main__ import main
from ser_core.bundled import PLANS
from ser_core.crosscorpus import (
    SYSTEMS,
    Part,
    by_system,
    counted,
    markdown,
    matrix,
    normalised_by_speaker,
    read_parts,
    summary,
)
from ser_core.crossvalidation import system_of
from ser_core.errors import CorpusError
from ser_core.evaluation import in_common
from ser_core.results import labels_of, paired_change

EMOTIONS = ("anger", "happiness", "neutral")
PLAIN = ("egemaps-logistic", "egemaps-mlp")
WIDTH = {"functionals_classifier": 88, "whisper_statistics": 2 * 5 * 384, "edrl_mea": 2 * 5 * 384}


def part(name: str, seed: int, *, speakers: int = 6, clips: int = 12, shift: float = 0.0) -> Part:
    count = speakers * clips
    table = pd.DataFrame(
        {
            "clip": [f"{name}-{i}" for i in range(count)],
            "file": [f"{seed} {shift} {speakers} {i // clips} {i % 3} {i}" for i in range(count)],
            "speaker": [f"{name}/{i // clips}" for i in range(count)],
            "fold": np.arange(count) // clips % 3,
            "emotion": [EMOTIONS[i % 3] for i in range(count)],
        }
    )
    return Part(name, table)


def read(plan, table):
    """Features in which the voice is louder than the emotion, which lies at the same places in every corpus."""
    width = WIDTH[plan.system]
    evidence = np.random.default_rng(0).normal(size=(3, width))
    found = []
    for file in table["file"]:
        seed, shift, _, speaker, emotion, place = (float(word) for word in file.split())
        voice = 3 * np.random.default_rng([int(seed), int(speaker)]).normal(size=width)
        own = 0.5 * np.random.default_rng([int(seed), 7, int(place)]).normal(size=width)
        found.append((shift + voice + evidence[int(emotion)] + own).astype(np.float32)[:, None])
    return found


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    parts = [part("one", 1), part("two", 2, shift=5.0)]
    return matrix(parts, tmp_path_factory.mktemp("runs"), PLAIN, read=read)


def test_every_cell_answers_each_clip_of_its_test_corpus_once(rows) -> None:
    assert labels_of(rows) == EMOTIONS
    for _, cell in rows.groupby(crosscorpus.CELL):
        assert len(cell) == 72
        assert cell["clip"].is_unique
        assert set(cell["clip"].str.partition("-")[0]) == {cell["test"].iloc[0]}
    assert rows.groupby(crosscorpus.CELL).ngroups == 2 * 2 * 2 * 2
    assert set(rows["system"]) == set(PLAIN)


def test_a_corpus_against_itself_is_out_of_fold(monkeypatch, tmp_path) -> None:
    learnt = []
    system = system_of(PLANS["egemaps-logistic"])
    real = system.fit

    def watched(values, *given, **named):
        learnt.append({round(float(value[0, 0]), 4) for value in values})
        return real(values, *given, **named)

    monkeypatch.setattr(system, "fit", watched)
    one = part("one", 1)
    matrix([one, part("two", 2)], tmp_path, ["egemaps-logistic"], read=read)
    assert len(learnt) == 2 * 2 * 4  # as they are and normalised; each corpus: three folds, and the whole
    first = np.array([value[0, 0] for value in read(PLANS["egemaps-logistic"], one.table)]).round(4)
    for fold, seen in enumerate(learnt[:3]):
        tested = {float(v) for v in first[(one.table["fold"] == fold).to_numpy()]}
        assert len(tested & seen) <= 1  # two clips may agree in four digits of one functional
    assert len(learnt[3]) >= 70


def test_uar_is_scikit_learns_and_the_gap_is_the_cell_minus_training_at_home(rows) -> None:
    cells = summary(counted(rows), replicates=200).set_index(crosscorpus.CELL)
    cell = rows.set_index(crosscorpus.CELL).sort_index().loc[("one", "two", "egemaps-logistic", False)]
    answers = np.array(EMOTIONS)[cell[[f"p_{e}" for e in EMOTIONS]].to_numpy().argmax(1)]
    away = cells.loc[("one", "two", "egemaps-logistic", False)]
    home = cells.loc[("two", "two", "egemaps-logistic", False)]
    assert away["uar"] == pytest.approx(recall_score(cell["emotion"], answers, average="macro"))
    assert away["gap"] == pytest.approx(away["uar"] - home["uar"])
    assert away["gap_low"] <= away["gap"] <= away["gap_high"]
    assert home["gap"] == 0
    assert away["baseline"] == pytest.approx(1 / 3)


def test_counting_all_cells_at_once_gives_the_figures_of_each_cell_from_its_rows(rows) -> None:
    for called in ({}, {"calm": "neutral"}, {EMOTIONS[0]: ""}, {EMOTIONS[0]: EMOTIONS[1]}):
        named = in_common(rows, called)
        labels = labels_of(named)
        cells = dict(list(named.groupby(crosscorpus.CELL, sort=False)))
        # As they are stored, with words as categories, in another order.
        found = summary(counted(crosscorpus.stored(rows).sample(frac=1, random_state=0), called), replicates=300)
        assert {tuple(key) for key in found[crosscorpus.CELL].itertuples(index=False)} == set(cells)
        for row in found.to_dict("records"):
            key = train, test, system, normalised = tuple(row[name] for name in crosscorpus.CELL)
            cell = cells[key]
            answers = [labels[i] for i in cell[[f"p_{label}" for label in labels]].to_numpy().argmax(1)]
            uar = metrics.evaluate(cell["emotion"].tolist(), answers, cell["speaker"].tolist(), labels, replicates=300)[
                "UAR"
            ]
            assert (row["uar"], row["low"], row["high"]) == pytest.approx((uar.value, uar.low, uar.high), abs=1e-12)
            assert (row["baseline"], row["chance"]) == pytest.approx((uar.baseline, uar.chance), abs=1e-12)
            assert (row["clips"], row["speakers"]) == (len(cell), cell["speaker"].nunique())
            if train != test:
                gap = paired_change(cells[test, test, system, normalised], cell, replicates=300)
                told = (row["gap"], row["gap_low"], row["gap_high"])
                assert told == pytest.approx((gap.value, gap.low, gap.high), abs=1e-12)
            if normalised:
                change = paired_change(cells[train, test, system, False], cell, replicates=300)
                told = (row["change"], row["change_low"], row["change_high"])
                assert told == pytest.approx((change.value, change.low, change.high), abs=1e-12)


def test_cells_of_other_speakers_are_not_set_against_each_other(rows) -> None:
    first = rows["speaker"].iloc[0]
    there = (rows["train"] != rows["test"]) & (rows["speaker"] == first)
    with pytest.raises(CorpusError, match="same speakers"):
        summary(counted(rows[~there]), replicates=10)


def test_normalising_speakers_takes_voices_and_corpora_away(rows) -> None:
    cells = summary(counted(rows[rows["system"] == "egemaps-logistic"]), replicates=50)
    by = cells.groupby("normalised")["uar"].mean()
    assert by[True] > 0.95  # the planted emotions are what is left
    assert by[True] - by[False] > 0.1
    changes = cells[cells["normalised"]]
    assert (changes["change"] - (changes["uar"] - cells[~cells["normalised"]]["uar"].to_numpy())).abs().max() < 1e-9


def test_normalised_speakers_have_mean_zero_and_deviation_one_and_constants_vanish() -> None:
    values = np.random.default_rng(0).normal(3, 2, (20, 4)).astype(np.float32)
    values[:, 2] = 7.0
    speakers = ["a"] * 8 + ["b"] * 12
    out = normalised_by_speaker(values, speakers)
    for chosen in (slice(0, 8), slice(8, 20)):
        assert out[chosen].mean(0) == pytest.approx(0, abs=1e-5)
        assert out[chosen].std(0) == pytest.approx([1, 1, 0, 1], abs=1e-4)


def test_what_is_finished_is_not_trained_again(monkeypatch, tmp_path) -> None:
    parts = [part("one", 1, speakers=3), part("two", 2, speakers=3)]
    first = matrix(parts, tmp_path, PLAIN, read=read)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # what training left is gone
    monkeypatch.setattr(system_of(PLANS[PLAIN[0]]), "fit", None)
    pd.testing.assert_frame_equal(matrix(parts, tmp_path, PLAIN, read=read), first)


def test_the_table_names_what_was_normalised_and_warns_of_confounded_corpora(rows) -> None:
    text = markdown(summary(counted(rows), replicates=20), ["two: 1 of 6 speakers has more than one emotion."])
    assert "eGeMAPS, small network, speakers as they are" in text
    assert text.startswith("two: 1 of 6")
    assert "each speaker normalised (without labels)" in text
    assert text.count("\n| one |") == 4


def test_systems_side_by_side_are_means_of_their_cells(rows) -> None:
    cells = summary(counted(rows), replicates=50)
    found = by_system(counted(rows), replicates=500).set_index(["system", "normalised"])
    for key, part_ in cells.groupby(["system", "normalised"]):
        row, home = found.loc[key], part_["train"] == part_["test"]
        assert row["away"] == pytest.approx(part_.loc[~home, "uar"].mean())
        assert row["home"] == pytest.approx(part_.loc[home, "uar"].mean())
        assert row["loss"] == pytest.approx(row["away"] - row["home"])
        for name in ("home", "away", "loss"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert found["cells"].tolist() == [2] * 4 and found["chance"].tolist() == [1 / 3] * 4
    assert found["clear"].equals(found["away"].rename("clear"))  # none of these corpora is confounded
    named = rows.replace({"train": {"one": "urdu"}, "test": {"one": "urdu"}})
    assert "urdu" in set(named["test"]) and by_system(counted(named), replicates=20)["clear"].isna().all()


@pytest.mark.parametrize("name", ["whisper-tiny-statistics", "edrl-mea"])
def test_neural_systems_are_trained_on_every_corpus_as_well(name: str, tmp_path, monkeypatch) -> None:
    short = {name: replace(PLANS[name], recipe=replace(PLANS[name].recipe, epochs=3, batch=16))}
    monkeypatch.setattr(crosscorpus, "PLANS", short)
    parts = [part("one", 1, clips=18), part("two", 2, clips=18)]
    found = summary(counted(matrix(parts, tmp_path, [name], read=read)), replicates=20)
    assert len(found) == 8 and found["clips"].tolist() == [108] * 8
    assert found.loc[found["normalised"], "uar"].min() > 0.9  # the planted emotions, once the voices are gone


def test_rows_of_other_systems_stay_and_those_of_other_corpora_go(rows) -> None:
    first, second = (rows[rows["system"] == name].reset_index(drop=True) for name in PLAIN)
    kept = crosscorpus.with_others(second, crosscorpus.stored(first))
    assert sorted(kept["system"].unique()) == sorted(PLAIN) and len(kept) == len(rows)
    again = crosscorpus.with_others(first, crosscorpus.stored(rows))
    assert len(again) == len(rows) and again.duplicated([*crosscorpus.CELL, "clip"]).sum() == 0
    elsewhere = crosscorpus.stored(first.assign(train="three"))
    assert crosscorpus.with_others(second, elsewhere) is second and crosscorpus.with_others(second, None) is second
    for other in (
        second.assign(p_calm=0.0),
        second.drop(columns="p_neutral"),
        second.replace({"emotion": {EMOTIONS[0]: EMOTIONS[1]}}),
        second.assign(fold=(second["fold"] + 1) % 3),
        second[second["clip"] != second["clip"].iloc[0]],
    ):
        assert crosscorpus.with_others(other, crosscorpus.stored(first)) is other


def test_only_systems_that_any_corpus_can_train_are_taken(tmp_path) -> None:
    assert all(PLANS[name].answer == "emotion" and not PLANS[name].augmentation for name in SYSTEMS)
    with pytest.raises(CorpusError, match="emosphere cannot be trained on any corpus; choose among egemaps-logistic"):
        crosscorpus.run([], tmp_path, ["emosphere"])


@pytest.fixture
def own(tmp_path: Path) -> list[Path]:
    """Two corpora that nobody knows, with a label that the one calls otherwise than the other."""
    folders = [tmp_path / "ward", tmp_path / "clinic"]
    for seed, (folder, still) in enumerate(zip(folders, ("calm", "neutral"), strict=True)):
        folder.mkdir()
        random = np.random.default_rng(seed)
        rows = []
        for speaker in range(3):
            for place, emotion in enumerate(["anger", still, "boredom" if seed else "anger"] * 2):
                file = f"{speaker}-{place}.wav"
                level = 0.3 if emotion == "anger" else 0.02
                soundfile.write(folder / file, level * random.normal(size=8000), 16_000)
                rows.append({"file": file, "speaker": f"s{speaker}", "emotion": emotion})
        pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folders


def test_corpora_without_folds_are_dealt_and_labels_count_as_asked(own, tmp_path) -> None:
    with pytest.raises(CorpusError, match="ward, clinic have fewer than two emotions in common; say with --count-as"):
        read_parts(own)
    ward, clinic = read_parts(own, {"calm": "neutral"})
    assert (ward.name, clinic.name) == ("ward", "clinic")
    assert set(ward.table["emotion"]) == set(clinic.table["emotion"]) == {"anger", "neutral"}
    assert len(ward.table) == 18 and len(clinic.table) == 12  # boredom is not in both
    assert (clinic.table.groupby("speaker")["fold"].nunique() == 1).all() and clinic.table["fold"].nunique() == 3
    merged = read_parts(own, {"calm": "neutral", "boredom": "neutral"})[1]
    assert merged.table["emotion"].value_counts().to_dict() == {"neutral": 12, "anger": 6}


def test_a_corpus_whose_folds_leave_one_emotion_or_hardly_a_clip_is_refused_before_the_training(own) -> None:
    labels = pd.read_csv(own[1] / "labels.csv").replace("boredom", "neutral")
    alone = labels["speaker"].map({"s0": "anger"}).fillna("neutral")  # who speaks gives the emotion away
    labels.assign(emotion=alone).to_csv(own[1] / "labels.csv", index=False)
    with pytest.raises(CorpusError, match=r"Without the speakers of fold \d, clinic has clips of neutral only"):
        read_parts(own, {"calm": "neutral"})
    labels.groupby(["speaker", "emotion"]).head(1).to_csv(own[1] / "labels.csv", index=False)
    with pytest.raises(CorpusError, match="clinic has 4 clips to learn from, and 8 or more are needed"):
        read_parts(own, {"calm": "neutral"})


def test_a_matrix_of_own_corpora_is_written_where_asked_and_never_over_the_apps(
    own, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CorpusError, match="its own corpora and labels; name another file with --out"):
        crosscorpus.run(own, tmp_path, PLAIN, called={"calm": "neutral"})
    table = tmp_path / "matrix.parquet"
    command = ["cross-corpus", "--corpora", *map(str, own), "--systems", PLAIN[0], "--runs", str(tmp_path / "runs")]
    assert main([*command, "--count-as", "calm=neutral", "--out", str(table)]) == 0
    found = summary(counted(pd.read_parquet(table)), replicates=100).set_index(crosscorpus.CELL)["uar"]
    assert found[("ward", "clinic", PLAIN[0], False)] == 1  # anger is louder in both
    labels = pd.read_csv(own[1] / "labels.csv")
    other = {"anger": "neutral", "neutral": "anger"}
    labels.assign(emotion=labels["emotion"].replace(other)).to_csv(own[1] / "labels.csv", index=False)
    assert main([*command, "--count-as", "calm=neutral", "--out", str(table)]) == 0  # what changed is done anew
    turned = summary(counted(pd.read_parquet(table)), replicates=100).set_index(crosscorpus.CELL)["uar"]
    assert turned[("ward", "clinic", PLAIN[0], False)] < 0.5
    relabelled = labels.assign(emotion=labels["emotion"].replace({"neutral": "calm", "boredom": "neutral"}))
    relabelled.to_csv(own[1] / "labels.csv", index=False)
    capsys.readouterr()
    assert main([*command[:-4], "--systems", PLAIN[1], *command[-2:], "--out", str(table)]) == 0
    assert "its figures make way" in capsys.readouterr().out
    assert set(pd.read_parquet(table)["system"]) == {PLAIN[1]}  # the other one's answers are of other labels
    relabelled.assign(emotion=labels["emotion"]).to_csv(own[1] / "labels.csv", index=False)
    assert main([*command, "--count-as", "calm=neutral", "--out", str(table)]) == 0
    for file in own[1].glob("*.wav"):
        samples, rate = soundfile.read(file)
        soundfile.write(file, samples / 2, rate)
    capsys.readouterr()
    assert main([*command, "--count-as", "calm=neutral", "--out", str(table)]) == 0
    assert "trained on ward" in capsys.readouterr().out  # the labels are the same, the sound is not
    with pytest.raises(SystemExit):
        main([*command, "--count-as", "calm"])


def test_one_corpus_alone_is_refused(corpora) -> None:
    with pytest.raises(CorpusError, match="two or more"):
        read_parts([corpora / "urdu"])
