from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from ser_core import speakers as room
from ser_core.errors import SettingError
from ser_core.evaluation import TABLES, in_common, read_stored
from ser_core.results import kind_of

CLASSES = ("anger", "fear", "neutral")


def made_up(speakers: int = 6, clips: int = 30, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, speakers * clips)
    chances = random.dirichlet([1, 1, 1], speakers * clips) + 0.5 * np.eye(3)[truth]
    names = np.repeat([f"s{number}" for number in range(speakers)], clips)
    rows = pd.DataFrame({"clip": np.arange(len(names)).astype(str), "speaker": names})
    rows["emotion"] = np.array(CLASSES)[truth]
    rows[[f"p_{name}" for name in CLASSES]] = chances / chances.sum(axis=1, keepdims=True)
    return rows.sample(frac=1, random_state=seed)


def test_each_speakers_uar_and_recall_are_scikit_learns_lowest_first() -> None:
    rows = made_up()
    said = room.answers_of(rows)
    found = room.by_speaker(rows, "UAR")
    assert found["value"].is_monotonic_increasing and len(found) == 6
    one = room.by_speaker(rows, "recall of fear").set_index("speaker")
    for speaker, part in rows.groupby("speaker"):
        mine = recall_score(part["emotion"], said[part.index], average=None, labels=CLASSES)
        assert found.set_index("speaker").loc[speaker, "value"] == pytest.approx(mine.mean())
        assert one.loc[speaker, "value"] == pytest.approx(mine[1])
        assert one.loc[speaker, "clips"] == (part["emotion"] == "fear").sum()
        assert one.loc[speaker, "low"] <= mine[1] <= one.loc[speaker, "high"]


def test_intervals_are_jeffreys_and_keep_a_width_where_all_clips_are_right() -> None:
    rows = made_up(2, 12).assign(emotion="anger", p_anger=1.0, p_fear=0.0, p_neutral=0.0)
    row = room.by_speaker(rows, "recall of anger").iloc[0]
    assert row["high"] == 1 and row["low"] == pytest.approx(stats.beta.ppf(0.025, 12.5, 0.5))
    whole = room.by_speaker(rows, "UAR").iloc[0]
    assert (whole["low"], whole["high"]) == (pytest.approx(row["low"]), 1)


@pytest.mark.parametrize("table", sorted(TABLES.glob("*.parquet")), ids=lambda path: path.stem)
def test_no_speakers_own_figure_lies_outside_its_interval(table: Path) -> None:
    rows = in_common(read_stored(table))
    if kind_of(rows) != "dimensions":
        found = room.by_speaker(rows, "UAR")
        assert (found["low"] <= found["value"] + 1e-12).all() and (found["value"] <= found["high"] + 1e-12).all()
        assert found["high"][found["value"] == 1].eq(1).all()


def test_the_interval_of_uar_covers_a_speakers_true_value() -> None:
    random, hits = np.random.default_rng(0), 0
    for _ in range(100):
        truth = np.repeat(CLASSES, 14)
        right = random.random(42) < 0.7
        rows = pd.DataFrame({"speaker": "s", "emotion": truth})
        for place, name in enumerate(CLASSES):
            rows[f"p_{name}"] = np.where(right, truth == name, truth == CLASSES[place - 1]).astype(float)
        row = room.by_speaker(rows, "UAR").iloc[0]
        hits += row["low"] <= 0.7 <= row["high"]
    assert 88 <= hits <= 100  # 95 expected; fewer than 88 happens once in 400 times


def test_averages_and_ranking_are_those_counted_by_hand() -> None:
    rows = pd.DataFrame({"speaker": list("aaaabbbbcccc")})
    rows["emotion"] = ["anger", *["fear"] * 3, "anger", "anger", "fear", "fear", *["anger"] * 3, "fear"]
    said = ["anger", "anger", "fear", "fear", "anger", "anger", "fear", "fear", "anger", "anger", "anger", "anger"]
    rows["p_anger"] = [float(word == "anger") for word in said]
    rows["p_fear"] = 1 - rows["p_anger"]
    found = room.averages(rows, replicates=200).set_index("label")
    # True shares of anger .25, .5, .75; answered .5, .5, 1.
    assert found.loc["anger", "error"] == pytest.approx((0.25 + 0 + 0.25) / 3)
    assert found.loc["anger", "ranking"] == pytest.approx(stats.spearmanr([0.25, 0.5, 0.75], [0.5, 0.5, 1]).statistic)
    level = room.averages(rows.assign(emotion=["anger", "fear"] * 6), replicates=50).set_index("label")
    assert np.isnan(level.loc["anger", "ranking"])  # every speaker has as much of it: there is no order


def test_dimensions_have_errors_averages_and_ranks() -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"speaker": np.repeat(list("abcdefgh"), 20), "t_valence": random.uniform(-1, 1, 160)})
    level = dict(zip("abcdefgh", np.linspace(-0.4, 0.4, 8), strict=True))
    rows["t_valence"] = rows["t_valence"] / 2 + rows["speaker"].map(level)
    rows["d_valence"] = rows["t_valence"] + np.where(rows["speaker"] == "c", 0.5, 0.0) + random.normal(0, 0.1, 160)
    found = room.by_speaker(rows, "error of valence")
    assert found["speaker"].iloc[0] == "c" and found["value"].iloc[0] == pytest.approx(0.5, abs=0.1)
    part = rows[rows["speaker"] == "c"]
    theirs = stats.ttest_1samp(part["d_valence"] - part["t_valence"], 0).confidence_interval()
    assert found[["low", "high"]].iloc[0].tolist() == pytest.approx([theirs.low, theirs.high])
    ranked = room.averages(rows).iloc[0]
    assert ranked["label"] == "valence" and 0.5 < ranked["ranking"] < 1 and ranked["ranking_low"] < ranked["ranking"]
    assert ranked["error_low"] < ranked["error"] < ranked["error_high"]


def test_an_unknown_measure_is_told() -> None:
    with pytest.raises(SettingError, match="no beauty among UAR"):
        room.by_speaker(made_up(), "beauty")


def test_the_commonest_mistake_of_each_speaker_is_that_counted_by_hand() -> None:
    rows = pd.DataFrame(
        {
            "speaker": ["b"] * 5 + ["a"] * 2,
            "emotion": ["fear", "fear", "anger", "anger", "anger", "fear", "anger"],
            "p_anger": [0.9, 0.9, 0.1, 0.1, 0.9, 0.1, 0.9],
            "p_fear": [0.1, 0.1, 0.9, 0.9, 0.1, 0.9, 0.1],
        }
    )
    found = room.commonest_mistakes(rows)
    assert found.index.tolist() == ["b"]  # a makes none
    # Two of either: the first by name.
    assert found.loc["b"].to_dict() == {"mistake": "anger taken for fear", "times": 2, "wrong": 4}
    assert room.commonest_mistakes(rows.iloc[[4, 5]]).empty
