import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score

from ser_core import crosscorpus
from ser_core.crosscorpus import Part, markdown, matrix, normalised_by_speaker, read_parts, shared_emotions, summary
from ser_core.errors import CorpusError
from ser_core.results import labels_of

EMOTIONS = ("anger", "happiness", "neutral")


def part(name: str, seed: int, *, speakers: int = 6, clips: int = 12, shift: float = 0.0) -> Part:
    random = np.random.default_rng(seed)
    count = speakers * clips
    emotion = np.arange(count) % 3
    speaker = np.arange(count) // clips
    voice = 3 * random.normal(size=(speakers, 88))
    evidence = np.random.default_rng(0).normal(size=(3, 88))
    values = shift + voice[speaker] + evidence[emotion] + 0.5 * random.normal(size=(count, 88))
    table = pd.DataFrame(
        {
            "clip": [f"{name}-{i}" for i in range(count)],
            "speaker": [f"{name}/{s}" for s in speaker],
            "fold": speaker % 3,
            "emotion": [EMOTIONS[e] for e in emotion],
        }
    )
    return Part(name, table, {"eGeMAPSv02": values.astype(np.float32)})


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    parts = [part("one", 1), part("two", 2, shift=5.0)]
    return matrix(parts, tmp_path_factory.mktemp("runs"))


def test_every_cell_answers_each_clip_of_its_test_corpus_once(rows) -> None:
    assert labels_of(rows) == EMOTIONS
    for _, cell in rows.groupby(crosscorpus.CELL):
        assert len(cell) == 72
        assert cell["clip"].is_unique
        assert set(cell["clip"].str.partition("-")[0]) == {cell["test"].iloc[0]}
    assert rows.groupby(crosscorpus.CELL).ngroups == 2 * 2 * 2 * 2


def test_a_corpus_against_itself_is_out_of_fold(monkeypatch, tmp_path) -> None:
    learnt = []
    real = crosscorpus.system.fit

    def watched(values, *given, **named):
        learnt.append({round(float(value[0, 0]), 4) for value in values})
        return real(values, *given, **named)

    monkeypatch.setattr(crosscorpus.system, "fit", watched)
    one, two = part("one", 1), part("two", 2)
    crosscorpus._row_of_cells(one, [one, two], EMOTIONS, ("eGeMAPSv02", "logistic", False), 0)
    assert len(learnt) == 4  # three folds, and the whole for the other corpus
    first = one.values["eGeMAPSv02"][:, 0].round(4)
    for fold, seen in enumerate(learnt[:3]):
        tested = {float(v) for v in first[(one.table["fold"] == fold).to_numpy()]}
        assert len(tested & seen) <= 1  # two clips may agree in four digits of one functional
    assert len(learnt[3]) >= 70


def test_uar_is_scikit_learns_and_the_gap_is_the_cell_minus_training_at_home(rows) -> None:
    cells = summary(rows, replicates=200).set_index(crosscorpus.CELL)
    cell = rows.set_index(crosscorpus.CELL).sort_index().loc[("one", "two", "eGeMAPSv02", "logistic", False)]
    answers = np.array(EMOTIONS)[cell[[f"p_{e}" for e in EMOTIONS]].to_numpy().argmax(1)]
    away = cells.loc[("one", "two", "eGeMAPSv02", "logistic", False)]
    home = cells.loc[("two", "two", "eGeMAPSv02", "logistic", False)]
    assert away["uar"] == pytest.approx(recall_score(cell["emotion"], answers, average="macro"))
    assert away["gap"] == pytest.approx(away["uar"] - home["uar"])
    assert away["gap_low"] <= away["gap"] <= away["gap_high"]
    assert home["gap"] == 0
    assert away["baseline"] == pytest.approx(1 / 3)


def test_normalising_speakers_takes_voices_and_corpora_away(rows) -> None:
    cells = summary(rows[rows["classifier"] == "logistic"], replicates=50)
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
    first = matrix(parts, tmp_path)
    monkeypatch.setattr(crosscorpus.system, "fit", None)
    pd.testing.assert_frame_equal(matrix(parts, tmp_path), first)


def test_the_table_names_what_was_normalised_and_warns_of_confounded_corpora(rows) -> None:
    text = markdown(summary(rows, replicates=20), ["two: 1 of 6 speakers has more than one emotion."])
    assert text.startswith("two: 1 of 6")
    assert "each speaker normalised (without labels)" in text
    assert text.count("\n| one |") == 4


def test_five_corpora_share_four_emotions() -> None:
    shared = shared_emotions(["crema_d", "ravdess", "emodb", "emotale", "urdu"])
    assert shared == ("anger", "happiness", "neutral", "sadness")


def test_one_corpus_alone_is_refused(corpora) -> None:
    with pytest.raises(CorpusError, match="two or more"):
        read_parts([corpora / "urdu"])
