import numpy as np
import pandas as pd
import pytest

from ser_core import tasks
from ser_core.corpora import find_corpora, read_corpus
from ser_core.errors import CorpusError
from ser_core.settings import ASSETS, settings
from ser_core.splits import validation_speakers
from ser_core.tasks import TASKS, Task, fold_table, with_folds

AT_HAND = find_corpora(settings().corpora_dirs)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_no_speaker_of_a_committed_table_is_in_two_folds(task: Task) -> None:
    folds = pd.read_csv(ASSETS / "folds" / f"{task.name}.csv")
    assert (folds.groupby("speaker")["fold"].nunique() == 1).all()
    assert sorted(folds["fold"].unique()) == list(range(task.folds))
    assert folds["clip"].is_unique


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_validation_speakers_are_neither_tested_nor_trained_on(task: Task) -> None:
    fold_of = pd.read_csv(ASSETS / "folds" / f"{task.name}.csv").groupby("speaker")["fold"].first()
    for fold in range(task.folds):
        held_back = validation_speakers(fold_of, fold, 8)
        assert held_back and (fold_of[held_back] != fold).all()


@pytest.mark.parametrize("name", [name for name in TASKS if name in AT_HAND])
def test_the_committed_folds_cover_the_corpus_at_hand(name: str) -> None:
    task, table = TASKS[name], read_corpus(AT_HAND[name], name).table
    joined = with_folds(task, table)
    assert set(joined["emotion"]) == set(task.emotions)
    assert joined["clip"].tolist() == pd.read_csv(ASSETS / "folds" / f"{name}.csv")["clip"].tolist()


@pytest.mark.parametrize("name", [name for name in TASKS if name in AT_HAND and name != "crema_d"])
def test_dealing_again_gives_the_committed_folds(name: str) -> None:
    again = fold_table(TASKS[name], read_corpus(AT_HAND[name], name).table)
    committed = pd.read_csv(ASSETS / "folds" / f"{name}.csv", dtype=str)
    assert again.astype(str).to_numpy().tolist() == committed.to_numpy().tolist()


def toy_table() -> pd.DataFrame:
    speakers = np.repeat([f"toy/{i}" for i in range(6)], 2)
    return pd.DataFrame(
        {
            "name": [f"clip{i}" for i in range(12)],
            "speaker": speakers,
            "speaker_id": [s.removeprefix("toy/") for s in speakers],
            "emotion": ["anger", "joyless"] * 6,
            "sex": np.repeat(["female", "male"] * 3, 2),
            **dict.fromkeys(("age", "race", "ethnicity", "language"), "x"),
        }
    )


def test_clips_of_other_emotions_are_left_out_of_a_task() -> None:
    dealt = fold_table(Task("toy", "Toy", ("anger",), 3), toy_table())
    assert dealt["clip"].tolist() == sorted(f"clip{i}" for i in range(0, 12, 2))


def test_a_task_of_ours_without_its_committed_table_says_how_to_write_one(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tasks, "ASSETS", tmp_path)
    with pytest.raises(CorpusError, match="python -m ser_core folds"):
        with_folds(TASKS["emodb"], toy_table())
