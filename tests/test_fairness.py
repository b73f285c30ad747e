import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from ser_core import fairness, metrics
from ser_core.__main__ import main
from ser_core.errors import SettingError
from ser_core.splits import speaker_table

CLASSES = ("anger", "fear", "neutral")


def made_up(
    counts: dict[str, int], *, clips: int = 30, seed: int = 0, worse: dict[str, float] | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Predictions of speakers in groups; those of a group in ``worse`` are right that much more seldom."""
    random = np.random.default_rng(seed)
    rows, group_of = [], {}
    for group, speakers in counts.items():
        for number in range(speakers):
            name = f"{group}-{number:03d}"
            group_of[name] = group
            skill = np.clip(random.normal(0.65, 0.08) - (worse or {}).get(group, 0.0), 0.05, 0.95)
            for place in range(clips):
                truth = CLASSES[place % 3]
                right = random.random() < skill
                answer = truth if right else CLASSES[random.integers(3)]
                shares = {f"p_{label}": 0.8 if label == answer else 0.1 for label in CLASSES}
                rows.append({"clip": f"{name}-{place}", "speaker": name, "emotion": truth, "fold": 0, **shares})
    return pd.DataFrame(rows).sample(frac=1, random_state=seed), group_of


def as_answers(rows: pd.DataFrame) -> np.ndarray:
    return np.array([CLASSES[i] for i in rows[[f"p_{c}" for c in CLASSES]].to_numpy().argmax(1)])


def test_point_values_are_fairlearns() -> None:
    rows, group_of = made_up({"a": 9, "b": 6, "c": 4}, worse={"c": 0.2})
    speakers, tensors = fairness.answers(rows)
    groups = fairness.grouping("group", group_of, speakers)
    matrices = np.stack([tensors[member].sum(0) for member in groups.member])
    truth, given_ = rows["emotion"].to_numpy(), as_answers(rows)
    of_clip = rows["speaker"].map(group_of)
    for place, label in enumerate(CLASSES):
        frame = MetricFrame(
            metrics={"tpr": true_positive_rate, "fpr": false_positive_rate, "dp": selection_rate},
            y_true=truth == label,
            y_pred=given_ == label,
            sensitive_features=of_clip,
        )
        apart = frame.difference(method="between_groups")
        assert fairness.tpr_gaps(matrices)[place] == pytest.approx(apart["tpr"])
        assert fairness.fpr_gaps(matrices)[place] == pytest.approx(apart["fpr"])
        assert fairness.dp_gaps(matrices)[place] == pytest.approx(apart["dp"])
    frame = MetricFrame(
        metrics={
            "uar": lambda t, p: recall_score(t, p, average="macro"),
            "f1": lambda t, p: f1_score(t, p, average="macro"),
        },
        y_true=truth,
        y_pred=given_,
        sensitive_features=of_clip,
    )
    apart = frame.difference(method="between_groups")
    assert fairness.uar_gap(matrices) == pytest.approx(apart["uar"])
    assert fairness.macro_f1_gap(matrices) == pytest.approx(apart["f1"])


def test_the_gap_over_emotions_is_the_root_of_the_mean_square() -> None:
    first = np.array([[8, 2, 0], [0, 5, 5], [0, 0, 10]])
    second = np.array([[5, 5, 0], [0, 9, 1], [0, 0, 10]])
    both = np.stack([first, second])
    assert fairness.MEASURES["TPR gap"](both) == pytest.approx(np.sqrt((0.3**2 + 0.4**2 + 0) / 3))
    # Answers: first 8, 7, 15 of 30; second 5, 14, 11 of 30.
    assert fairness.MEASURES["DP gap"](both) == pytest.approx(np.sqrt((3**2 + 7**2 + 4**2) / 3) / 30)


def test_the_interval_of_a_change_draws_both_models_of_a_speaker_together() -> None:
    before, group_of = made_up({"a": 10, "b": 8}, worse={"b": 0.15})
    after, _ = made_up({"a": 10, "b": 8}, worse={"b": 0.15}, seed=3)
    speakers, one = fairness.answers(before)
    _, other = fairness.answers(after)
    groups = fairness.grouping("group", group_of, speakers)
    ours = fairness.gap_changes(one, other, groups, replicates=4000)["UAR gap"].interval
    random = np.random.default_rng(2)
    drawn = []
    for _ in range(4000):
        places = random.integers(0, len(speakers), len(speakers))
        values = [
            metrics.uar(part[[p for p in places if groups.member[g, p]]].sum(0))
            for part in (one, other)
            for g in (0, 1)
        ]
        drawn.append(abs(values[2] - values[3]) - abs(values[0] - values[1]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert abs(ours.low - low) < 0.06 * (high - low) and abs(ours.high - high) < 0.06 * (high - low)
    assert fairness.gap_changes(one, one, groups, replicates=200)["UAR gap"].interval == metrics.Interval(0, 0, 0, 0, 0)


def test_p_is_small_for_a_planted_gap_and_level_without_one() -> None:
    rows, group_of = made_up({"a": 20, "b": 20}, worse={"b": 0.25})
    speakers, tensors = fairness.answers(rows)
    planted = fairness.gaps(tensors, fairness.grouping("g", group_of, speakers), replicates=2000)["TPR gap"]
    assert planted.p < 0.005 and planted.interval.value > 2 * planted.interval.chance
    alarms = 0
    for seed in range(200):
        rows, group_of = made_up({"a": 9, "b": 9}, clips=12, seed=seed)
        speakers, tensors = fairness.answers(rows)
        measure = {"TPR gap": fairness.MEASURES["TPR gap"]}
        alarms += (
            fairness.gaps(tensors, fairness.grouping("g", group_of, speakers), measure, replicates=200)["TPR gap"].p
            <= 0.05
        )
    assert alarms <= 20  # 10 expected; 20 or more happens once in 700 runs


def test_p_of_a_change_finds_a_gap_that_was_closed() -> None:
    before, group_of = made_up({"a": 20, "b": 20}, worse={"b": 0.3})
    after, _ = made_up({"a": 20, "b": 20}, seed=1)
    speakers, one = fairness.answers(before)
    _, other = fairness.answers(after)
    change = fairness.gap_changes(one, other, fairness.grouping("g", group_of, speakers), replicates=2000)["UAR gap"]
    assert change.p < 0.01 and change.interval.high < 0


def test_small_groups_are_named_and_unknown_ones_left_out() -> None:
    _, group_of = made_up({"Asian": 7, "Black": 16, "White": 20, "odd": 1}, clips=6)
    people = pd.DataFrame({"race": group_of}).replace({"race": {"odd": "Unknown"}})
    people = people.assign(sex="female", age=[29, 30] * (len(people) // 2), ethnicity=None, language="en")
    found = {g.attribute: g for g in fairness.groupings(people, sorted(people.index))}
    assert list(found) == ["age group", "race", "race, groups of 15 or more"]
    assert found["race"].names == ("Asian", "Black", "White") and found["race"].speakers == (7, 16, 20)
    assert found["race"].too_small == ("Asian",)
    assert found["race, groups of 15 or more"].names == ("Black", "White")


def test_before_and_after_must_be_of_the_same_speakers() -> None:
    before, _ = made_up({"a": 3, "b": 3})
    after, _ = made_up({"a": 3, "b": 4})
    with pytest.raises(SettingError, match="same speakers"):
        fairness.change_table(before, after, pd.DataFrame())
    with pytest.raises(SettingError, match="two groups"):
        fairness.grouping("sex", {"x": "f", "y": "f"}, ["x", "y"])


def test_holm_corrects_step_by_step() -> None:
    assert fairness.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert fairness.holm([0.6, 0.9]) == [1.0, 1.0]
    assert fairness.holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


def test_deals_that_leave_one_group_without_an_emotion_are_not_counted_as_without_a_gap() -> None:
    tensors = np.tile(np.diag([4, 0, 4]), (20, 1, 1))
    tensors[0, 1, 1] = tensors[-1, 1, 1] = 2  # one speaker of each group has the second emotion, always recognised
    speakers = [f"s{place:02d}" for place in range(20)]
    groups = fairness.grouping("g", {who: "few" if who < "s03" else "many" for who in speakers}, speakers)
    measures = {"gap": lambda matrices: fairness.tpr_gaps(matrices)[..., 1]}
    found = fairness.gaps(tensors, groups, measures, replicates=2000)["gap"]
    assert found.interval.value == 0 and found.p == 1
    half = tensors.copy()
    half[0, 1] = [1, 1, 0]
    found = fairness.gaps(half, groups, measures, replicates=2000)["gap"]
    assert found.interval.value == 0.5 and found.p == 1  # as in every deal that sets the two apart
    # The two models' answers of either speaker may be exchanged, and all exchanges leave a gap of a half or none.
    change = fairness.gap_changes(tensors, half, groups, measures, replicates=2000)["gap"]
    assert change.interval.value == 0.5 and change.p == 1
    alone = tensors.copy()
    alone[-1, 1, 1] = 0
    assert np.isnan(fairness.gaps(alone, groups, measures, replicates=200)["gap"].p)


@given(st.integers(2, 4), st.integers(0, 10_000))
def test_gaps_lie_between_nothing_and_one_and_know_no_order_of_groups(groups: int, seed: int) -> None:
    matrices = np.random.default_rng(seed).integers(0, 9, (groups, 4, 4))
    for name, measure in fairness.MEASURES.items():
        value = measure(matrices)
        assert np.isnan(value) or -1e-12 <= value <= 1 + 1e-12, name
        assert measure(matrices[::-1]) == pytest.approx(value, nan_ok=True)
        assert measure(np.stack([matrices[0]] * groups)) == pytest.approx(0, nan_ok=True)


def test_ten_thousand_draws_of_a_corpus_take_seconds_not_minutes() -> None:
    rows, group_of = made_up({"a": 46, "b": 45}, clips=12)
    speakers, tensors = fairness.answers(rows)
    started = time.perf_counter()
    fairness.gaps(tensors, fairness.grouping("g", group_of, speakers), replicates=10_000)
    assert time.perf_counter() - started < 10


def test_real_actors_fall_into_the_groups_of_their_table(corpora) -> None:  # type: ignore[no-untyped-def]
    from ser_core.corpora import read_corpus

    people = speaker_table(read_corpus(corpora / "crema_d").table)
    found = {g.attribute: g for g in fairness.groupings(people, sorted(people.index))}
    assert found["sex"].speakers == (43, 48) and not found["sex"].too_small
    assert sum(found["age group"].speakers) == 91 and not found["age group"].too_small
    assert dict(zip(found["race"].names, found["race"].speakers, strict=True)) == {
        "African American": 22,
        "Asian": 7,
        "Caucasian": 61,
    }
    assert found["ethnicity"].too_small == ("Hispanic",)


def test_a_model_that_does_not_exist_is_told_in_a_sentence(tmp_path, capsys) -> None:
    assert main(["fairness", "mll-crema-d", "other", "--corpus", str(tmp_path)]) == 2
    assert "There is no bundled model other; there are " in capsys.readouterr().err
    assert main(["fairness", "other", "mll-crema-d", "--corpus", str(tmp_path)]) == 2
    assert "There are no stored results 'other.crema_d'" in capsys.readouterr().err


def test_models_that_name_no_emotion_are_not_compared_so() -> None:
    with pytest.raises(SettingError, match="emosphere-emotale answers with valence, arousal, dominance"):
        fairness.compare("emosphere-emotale", "emosphere-emotale", Path("nowhere"))
