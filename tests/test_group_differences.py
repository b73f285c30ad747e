from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import precision_score, recall_score

from ser_core import group_differences as room
from ser_core import metrics, power
from ser_core.__main__ import main
from ser_core.errors import SettingError
from ser_core.evaluation import TABLES

CLASSES = ("anger", "fear", "neutral")


def made_up(counts: dict[str, int], *, clips: int = 30, seed: int = 0, worse: float = 0.0) -> pd.DataFrame:
    """Predictions of speakers in groups; those of the last group are right that much more seldom."""
    random, rows = np.random.default_rng(seed), []
    for group, speakers in counts.items():
        for number in range(speakers):
            skill = np.clip(random.normal(0.65, 0.08) - worse * (group == list(counts)[-1]), 0.05, 0.95)
            for place in range(clips):
                truth = place % 3
                answer = truth if random.random() < skill else int(random.integers(3))
                chances = random.dirichlet(np.where(np.arange(3) == answer, 8.0, 1.0))
                chances[answer] += 1
                row = dict(zip([f"p_{c}" for c in CLASSES], chances / chances.sum(), strict=True))
                name = f"{group}-{number:03d}"
                rows.append({"clip": f"{name}-{place}", "speaker": name, "sex": group, "emotion": CLASSES[truth]} | row)
    return pd.DataFrame(rows).sample(frac=1, random_state=seed, ignore_index=True)


def chances_of(rows: pd.DataFrame) -> np.ndarray:
    return rows[[f"p_{c}" for c in CLASSES]].to_numpy().max(axis=1)


def answers(rows: pd.DataFrame) -> np.ndarray:
    return np.array([CLASSES[i] for i in rows[[f"p_{c}" for c in CLASSES]].to_numpy().argmax(1)])


def test_point_values_of_every_group_are_fairlearns() -> None:
    rows = made_up({"a": 7, "b": 5, "c": 4}, worse=0.2)
    found = room.evidence(rows, "sex", rows["sex"])
    table = room.differences(found, "b", list(room.measures_of(found)), replicates=50).set_index(["measure", "group"])
    truth, said = rows["emotion"].to_numpy(), answers(rows)

    def frame(metric, t=truth, p=said) -> pd.Series:
        return MetricFrame(metrics=metric, y_true=t, y_pred=p, sensitive_features=rows["sex"]).by_group

    expected = {"UAR": frame(lambda t, p: recall_score(t, p, average="macro"))}
    for label in CLASSES:
        expected[f"precision of {label}"] = frame(precision_score, truth == label, said == label)
        for name, metric in (
            ("recall of", true_positive_rate),
            ("false alarms of", false_positive_rate),
            ("answered", selection_rate),
        ):
            expected[f"{name} {label}"] = frame(metric, truth == label, said == label)
    for measure, values in expected.items():
        for group in "abc":
            assert table.loc[(measure, group), "value"] == pytest.approx(values[group])
            apart = table.loc[(measure, group), "difference"]
            assert np.isnan(apart) if group == "b" else apart == pytest.approx(values[group] - values["b"])


def test_calibration_of_a_group_is_that_of_its_clips() -> None:
    rows = made_up({"a": 4, "b": 4})
    found = room.evidence(rows, "sex", rows["sex"])
    table = room.differences(found, "a", ["ECE"], replicates=50).set_index("group")
    for group in "ab":
        part = rows[rows["sex"] == group]
        chances = part[[f"p_{c}" for c in CLASSES]].to_numpy()
        theirs = metrics.calibration_error(
            part["emotion"].tolist(), chances, part["speaker"].tolist(), CLASSES, bins=15
        )
        assert table.loc[group, "value"] == pytest.approx(theirs.value)
    diagram = room.reliability(found)
    weighted = diagram["clips"] * (diagram["right"] - diagram["confidence"]).abs()
    assert weighted[diagram["group"] == "a"].sum() / (4 * 30) == pytest.approx(table.loc["a", "value"])
    most = diagram[diagram["clips"] >= 10]
    assert (most["low"] <= most["right"]).all() and (most["right"] <= most["high"]).all()
    for row in most.itertuples():
        inside = np.ceil(chances_of(rows) * room.BINS) == np.ceil(row.confidence * room.BINS)
        part = rows[inside & (rows["sex"] == row.group)]
        hits = (answers(part) == part["emotion"]).groupby(part["speaker"]).agg(["sum", "size"]).to_numpy()
        everyone = np.pad(hits, ((0, 8 - len(hits)), (0, 0)))  # speakers without a clip there are drawn, too
        sums = everyone[np.random.default_rng(1).integers(0, 8, (4000, 8))].sum(axis=1)
        theirs = np.nanpercentile(sums[:, 0] / np.where(sums[:, 1], sums[:, 1], np.nan), [2.5, 97.5])
        assert [row.low, row.high] == pytest.approx(theirs, abs=0.05)


def test_intervals_are_those_of_drawing_speakers_and_counting_again() -> None:
    rows = made_up({"a": 9, "b": 8}, worse=0.15)
    found = room.evidence(rows, "sex", rows["sex"])
    table = room.differences(found, "a", ["UAR"], ["TPR gap"], replicates=10_000).set_index(["measure", "group"])
    by_speaker = {
        name: (part["emotion"].to_numpy(), answers(part), part["sex"].iloc[0]) for name, part in rows.groupby("speaker")
    }
    random, drawn = np.random.default_rng(1), []
    for _ in range(2000):
        chosen = [by_speaker[name] for name in random.choice(found.speakers, len(found.speakers))]
        recalls = []
        for group in "ab":
            truth = np.concatenate([t for t, _, g in chosen if g == group])
            said = np.concatenate([p for _, p, g in chosen if g == group])
            recalls.append([np.mean(said[truth == label] == label) for label in CLASSES])
        one, other = np.array(recalls)
        drawn.append((one.mean(), other.mean(), other.mean() - one.mean()))
    ours = [table.loc[("UAR", "a")], table.loc[("UAR", "b")]]
    limits = [(row["low"], row["high"]) for row in ours]
    limits.append((ours[1]["difference_low"], ours[1]["difference_high"]))
    # Resampled gaps lie above the gap itself: it has no interval.
    assert table.loc[("TPR gap", "all"), ["low", "high", "difference_low"]].isna().all()
    for (low, high), values in zip(limits, np.array(drawn).T, strict=True):
        theirs = np.percentile(values, [2.5, 97.5])
        # The Monte-Carlo error of a percentile of 2,000 draws is about 4 % of the width.
        assert abs(low - theirs[0]) < 0.1 * np.ptp(theirs) and abs(high - theirs[1]) < 0.1 * np.ptp(theirs)


def test_p_is_that_of_dealing_the_groups_by_hand_and_holm_covers_all_that_is_shown() -> None:
    from itertools import combinations

    rows = made_up({"a": 4, "b": 4}, worse=0.2)
    found = room.evidence(rows, "sex", rows["sex"])
    table = room.differences(found, "a", ["UAR", "accuracy"], ["TPR gap"], replicates=20_000)
    whole = found.confusions.sum(axis=1)
    gaps = []
    for first in combinations(range(8), 4):
        side = np.isin(np.arange(8), first)
        gaps.append(abs(float(metrics.uar(whole[side].sum(0)) - metrics.uar(whole[~side].sum(0)))))
    uar = table[(table["measure"] == "UAR") & (table["group"] == "b")].iloc[0]
    exact = np.mean(np.array(gaps) >= abs(uar["difference"]) - 1e-12)
    assert uar["p"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)
    tested = table.dropna(subset="p")
    assert len(tested) == 3 and tested["p_holm"].min() == pytest.approx(min(1.0, 3 * tested["p"].min()))


def test_no_difference_is_no_finding_where_few_deals_have_a_value() -> None:
    rows = made_up({"few": 3, "many": 60}, clips=6)
    rows = rows[(rows["emotion"] != "fear") | rows["speaker"].str.endswith("-000")].reset_index(drop=True)
    fear = rows["emotion"] == "fear"
    rows.loc[fear, [f"p_{name}" for name in CLASSES]] = [0.1, 0.8, 0.1]
    found = room.evidence(rows, "sex", rows["sex"])
    table = room.differences(found, "many", ["recall of fear"], replicates=2000).set_index("group")
    assert table.loc["few", "difference"] == 0 and table.loc["few", "p"] == 1 and not table["finding"].any()


@pytest.mark.parametrize(("worse", "expected"), [(0.45, True), (0.0, False)])
def test_speakers_of_one_group_are_dealt_where_others_are_in_several(worse: float, expected: bool) -> None:
    rows = made_up({"a": 20, "c": 20, "b": 20}, worse=worse)
    # Three speakers of each group are also heard in another one, as who speaks two languages: nobody in all three.
    both = rows["speaker"].str.endswith(("-000", "-001", "-002")) & (rows.index % 2 == 0)
    groups = rows["sex"].where(~both, rows["sex"].map({"a": "c", "c": "a", "b": "a"}))
    found = room.evidence(rows, "language", groups)
    assert not (found.clips > 0).all(axis=1).any() and ((found.clips > 0).sum(axis=1) == 2).sum() == 9
    table = room.differences(found, "a", ["UAR"], room.SPREADS, replicates=2000).set_index(["measure", "group"])
    assert bool(table.loc[("UAR", "b"), "finding"]) is expected and not table.loc[("UAR", "c"), "finding"]
    gap = table.loc[("TPR gap", "all")]
    assert bool(gap["p"] < 0.01 and gap["chance"] < 0.6 * gap["value"]) is expected
    # Whoever is dealt, all clips stay: the two sides together are what they were.
    sides = room._permuted([found.confusions], found, (0, 1), 50, [0])[id(found.confusions)]
    np.testing.assert_allclose(sum(sides), np.broadcast_to(found.confusions[:, :2].sum(axis=(0, 1)), sides[0].shape))
    dealt = room._dealt_groups(found, 50, 0)
    np.testing.assert_allclose(dealt.sum(axis=1), np.broadcast_to(found.confusions.sum(axis=(0, 1)), dealt[:, 0].shape))


def test_a_planted_gap_is_a_finding_and_is_none_where_there_is_none() -> None:
    for worse, expected in ((0.3, True), (0.0, False)):
        rows = made_up({"a": 15, "b": 15}, worse=worse)
        found = room.evidence(rows, "sex", rows["sex"])
        table = room.differences(found, "a", ["UAR", "accuracy"], room.SPREADS, replicates=2000)
        assert bool(table.loc[table["measure"] == "UAR", "finding"].any()) is expected


def bilingual(apart: float, seed: int) -> pd.DataFrame:
    """Ten speakers, each in two languages; the second is understood less well by as much as is said."""
    rows = [made_up({"da": 10}, clips=24, seed=seed).assign(language="da")]
    rows.append(made_up({"da": 10}, clips=24, seed=seed, worse=apart).assign(language="en"))
    return pd.concat(rows, ignore_index=True)


def test_the_languages_of_bilinguals_are_exchanged_within_each_speaker() -> None:
    rows = bilingual(0.2, 3)
    found = room.evidence(rows, "language", rows["language"])
    assert found.sizes == (10, 10) and len(found.speakers) == 10
    table = room.differences(found, "da", ["UAR"], room.SPREADS, replicates=4000).set_index(["measure", "group"])
    assert table.loc[("UAR", "en"), "finding"] and table.loc[("TPR gap", "all"), "p"] < 0.05
    # Between groups of other speakers the same answers would not do: the speakers differ more than the languages.
    one, other = power.speaker_values(found, room.measures_of(found)["UAR"])
    paired = stats.permutation_test((one, other), lambda a, b: np.mean(a - b), permutation_type="samples")
    assert table.loc[("UAR", "en"), "p"] == pytest.approx(paired.pvalue, abs=0.01)
    alarms = 0
    for seed in range(100):
        level = bilingual(0.0, seed).sample(frac=1, random_state=seed)
        language = pd.Series(np.random.default_rng(seed).permutation(level["language"].to_numpy()), level.index)
        drawn = room.evidence(level, "language", language)
        alarms += room.differences(drawn, "da", ["UAR"], replicates=200, intervals=False)["p"].min() <= 0.05
    assert alarms <= 13  # 5 expected; 14 or more happens once in 2,000 times


def test_small_groups_say_why_and_unknown_speakers_are_left_out() -> None:
    rows = made_up({"a": 16, "b": 3, "unknown": 4}, clips=6)
    groups = room.attributes_of(rows)
    assert list(groups) == ["sex"] and groups["sex"].nunique() == 2
    found = room.evidence(rows, "sex", groups["sex"])
    assert found.too_small("a") == "" and found.too_small("b") == "3 speakers, fewer than 15"
    alone = room.evidence(rows, "sex", rows["sex"].where((rows["sex"] == "a") | (rows["speaker"] == "b-000")))
    table = room.differences(alone, "a", ["UAR"], replicates=100).set_index("group")
    assert np.isnan(table.loc["b", "low"]) and np.isnan(table.loc["b", "difference_low"])


def test_two_attributes_at_once_are_offered_where_enough_speakers_share_both() -> None:
    rows = made_up({"female": 32, "male": 32}, clips=3)
    number = rows["speaker"].str[-3:].astype(int)
    crossed = room.attributes_of(rows.assign(language=np.where(number % 2, "da", "en")))
    assert list(crossed) == ["sex", "language", "sex and language"]
    assert set(crossed["sex and language"]) == {"female, da", "female, en", "male, da", "male, en"}
    assert list(room.attributes_of(rows.assign(language=np.where(number < 2, "da", "en")))) == [
        "sex",
        "language",
        "sex and language",
    ]
    assert list(room.attributes_of(made_up({"f": 9, "m": 9}, clips=3).assign(race="x"))) == ["sex"]


def test_a_grouping_of_more_groups_than_memory_holds_is_left_out_and_told() -> None:
    rows = made_up({"female": 32, "male": 32}, clips=3)
    each = rows.assign(ethnicity=rows["speaker"])
    assert list(room.attributes_of(each)) == ["sex"] and room.left_out(rows) == ()
    (told,) = room.left_out(each)
    assert "not grouped by ethnicity: 64 groups, and at most 30" in told
    with pytest.raises(SettingError, match="not grouped by sex: 64 groups"):
        room.groupings(rows.assign(sex=rows["speaker"]))
    with pytest.raises(SettingError, match=r"cannot be grouped by ethnicity; they can by sex\. .* 64 groups"):
        room.groupings(each, by=["ethnicity"])
    number = rows["speaker"].str[-3:].astype(int)
    many = rows.assign(language=(number % 5).astype(str), **{f"p_{place}": 0.0 for place in range(37)})
    assert list(room.attributes_of(many)) == ["sex"] and "5 groups, and at most 2 " in room.left_out(many)[0]


def test_bias_of_dimensions_is_the_mean_error_of_a_group() -> None:
    random = np.random.default_rng(0)
    names = np.repeat([f"s{number:02d}" for number in range(20)], 10)
    rows = pd.DataFrame({"speaker": names, "t_valence": random.uniform(-1, 1, 200)})
    rows["sex"] = np.where(rows["speaker"] < "s10", "female", "male")
    rows["d_valence"] = rows["t_valence"] + np.where(rows["sex"] == "male", 0.3, 0.0) + random.normal(0, 0.1, 200)
    rows.loc[:4, "t_valence"] = np.nan  # unrated clips do not count
    found = room.evidence(rows, "sex", rows["sex"])
    table = room.differences(found, "female", ["bias of valence"], replicates=2000).set_index("group")
    for group, part in rows.groupby("sex"):
        assert table.loc[group, "value"] == pytest.approx((part["d_valence"] - part["t_valence"]).mean())
    assert table.loc["male", "finding"] and 0.2 < table.loc["male", "difference_low"] < 0.3


def test_a_wrong_reference_measure_or_grouping_is_told() -> None:
    rows = made_up({"a": 3, "b": 3}, clips=3)
    found = room.evidence(rows, "sex", rows["sex"])
    for reference, chosen, gaps in (("x", ["UAR"], []), ("a", ["fun"], []), ("a", ["UAR"], ["fun"])):
        with pytest.raises(SettingError, match="There is no"):
            room.differences(found, reference, chosen, gaps)
    with pytest.raises(SettingError, match="two groups"):
        room.evidence(rows, "sex", pd.Series("a", rows.index))
    with pytest.raises(SettingError, match="cannot answer"):
        room.evidence(rows.assign(emotion="joy"), "sex", rows["sex"])


@given(st.integers(2, 4), st.integers(0, 1000))
def test_what_is_counted_does_not_hang_on_the_order_of_rows(groups: int, seed: int) -> None:
    rows = made_up(dict.fromkeys("abcd"[:groups], 2), clips=4, seed=seed)
    one = room.evidence(rows, "sex", rows["sex"])
    mixed = rows.sample(frac=1, random_state=seed)
    other = room.evidence(mixed, "sex", mixed["sex"])
    assert (one.confusions == other.confusions).all() and one.confusions.sum() == len(rows)
    assert one.calibration == pytest.approx(other.calibration)


def test_a_reference_counts_in_the_groupings_that_have_it_and_the_largest_group_in_the_others() -> None:
    rows = made_up({"female": 6, "male": 5})
    rows["language"] = np.where(rows["speaker"].str.endswith(("0", "1")), "da", "en")
    named = {found.attribute: reference for found, reference, _ in room.groupings(rows, reference="male")}
    assert named["sex"] == "male" and named["language"] == "en"
    with pytest.raises(SettingError, match=r"There is no child among the groups: .*female, male"):
        room.groupings(rows, reference="child")


def test_every_way_to_group_a_table_is_tested_by_itself_by_command_too(tmp_path: Path, capsys) -> None:
    rows = made_up({"female": 16, "male": 15}, worse=0.4).assign(language="en", file=lambda t: t["clip"])
    rows["age"] = 20 + rows["speaker"].str[-3:].astype(int) % 2 * 20
    whole = room.of_table(room.groupings(rows), replicates=200)
    assert list(whole["by"].unique()) == ["sex", "age group"]
    part = whole[whole["by"] == "sex"].reset_index(drop=True)
    assert set(part["reference"]) == {"female"}
    found = room.evidence(rows, "sex", rows["sex"])
    alone = room.differences(found, "female", room.usual_measures(found), room.SPREADS, replicates=200)
    pd.testing.assert_frame_equal(part.drop(columns=["by", "reference"]), alone)

    table, out = tmp_path / "own.csv", tmp_path / "groups.parquet"
    rows.drop(columns="clip").to_csv(table, index=False)
    assert main(["groups", str(table), "--by", "sex", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "a constant answer has UAR 0.333" in said and set(pd.read_parquet(out)["by"]) == {"sex"}
    gap = pd.read_parquet(out).query("measure == 'UAR' and group == 'male'").iloc[0]
    assert gap["finding"] and gap["difference"] == pytest.approx(part.iloc[1]["difference"])
    asked = ["--by", "sex", "--reference", "male", "--measure", "ECE", "accuracy", "--power", "--out", str(out)]
    assert main(["groups", str(table), *asked]) == 0
    other = pd.read_parquet(out)
    assert set(other["reference"]) == {"male"} and set(other["measure"]) == {"ECE", "accuracy", *room.SPREADS}
    said = capsys.readouterr().out.partition("What could have been found")[2]
    (line,) = [line for line in said.splitlines() if "accuracy" in line]
    expected = power.powers(found, "accuracy", "male", tests=6).iloc[0]
    assert str(round(expected["power"], 3)) in line and str(round(expected["power_among"], 3)) in line
    for wrong, why in (
        (["--out", "groups.csv"], "does not end in .parquet"),
        (["--by", "hair"], "cannot be grouped by hair; they can by sex, age group"),
        (["--by", "language"], "cannot be grouped by language"),
        (["--measure", "beauty"], "There is no beauty among"),
        (["--by", "sex", "--reference", "other"], "There is no other among"),
    ):
        assert main(["groups", str(table), *wrong]) == 2 and why in capsys.readouterr().err
    assert main(["groups", str(tmp_path / "none.csv")]) == 2 and "There is no file" in capsys.readouterr().err
    table.write_text("nothing")
    assert main(["groups", str(table)]) == 2 and "not a table" in capsys.readouterr().err


def test_answers_outside_the_labels_are_wrong_in_an_own_table_and_told_in_a_stored_one(tmp_path: Path, capsys) -> None:
    rows = made_up({"female": 16, "male": 15}).assign(language="en", file=lambda t: t["clip"])
    rows = rows[rows["emotion"] != "neutral"].reset_index(drop=True)
    table, out = tmp_path / "own.csv", tmp_path / "groups.parquet"
    rows.drop(columns="clip").to_csv(table, index=False)
    asked = ["--by", "sex", "--measure", "UAR", "--out", str(out)]
    assert main(["groups", str(table), *asked]) == 0
    said = capsys.readouterr().out
    assert "Of 2 emotions a constant answer has UAR 0.500, and at most as much has chance" in said
    assert "dropped" not in said
    female = rows[rows["sex"] == "female"]
    right = female["emotion"] == answers(female)
    found = pd.read_parquet(out).query("measure == 'UAR' and group == 'female'").iloc[0]
    assert found["value"] == pytest.approx(right.groupby(female["emotion"]).mean().mean())
    stored = tmp_path / "m.toy.parquet"
    rows.assign(corpus="toy", split="other corpus", fold=-1, model="m", run="r").to_parquet(stored)
    assert main(["groups", str(stored), *asked]) == 0
    said = capsys.readouterr().out
    assert "No clip is labelled neutral: these answers are dropped" in said and "without a speaker" not in said
    nameless = pd.read_parquet(stored)
    nameless.loc[:2, "speaker"] = None
    nameless.to_parquet(stored)
    assert main(["groups", str(stored), *asked]) == 0
    assert "3 clips without a speaker are left out." in capsys.readouterr().out
    rows[rows["emotion"] == "fear"].drop(columns="clip").to_csv(table, index=False)
    assert main(["groups", str(table), "--by", "sex"]) == 2
    assert "All clips are labelled fear; clips of two emotions or more" in capsys.readouterr().err


@pytest.mark.skipif(not (TABLES / "emosphere-emotale.emotale.parquet").exists(), reason="no stored answers")
def test_a_stored_table_of_values_is_taken_by_command(capsys) -> None:
    assert main(["groups", str(TABLES / "emosphere-emotale.emotale.parquet"), "--by", "sex"]) == 0
    said = capsys.readouterr().out
    assert "bias of arousal" in said and "UAR" not in said


# --- how much can be found


def test_gaps_are_flagged_seldom_where_there_are_none_and_found_where_there_are() -> None:
    found = power.simulate([(5, 5), (61, 7)], runs=60, replicates=300)
    none = found[found["gap"] == 0]
    # 3 of 60 are expected of "alone" and no more than that of "any"; more than 9 happen once in 800 times.
    assert (none["alone"] * 60 <= 9).all() and (none["any"] * 60 <= 9).all()
    planted = found[found["gap"] == 0.1].set_index("first")
    assert planted.loc[61, "alone"] > 0.4 > planted.loc[5, "any"]


def test_the_stored_simulation_holds_what_the_rule_promises() -> None:
    found = power.read_table()
    assert set(zip(found["first"], found["second"], strict=True)) == set(power.SIZES) and (found["runs"] >= 1000).all()
    none = found[found["gap"] == 0]
    assert (none["any_low"] <= 0.05).all() and (none["alone_low"] <= 0.05).all()
    assert (found.loc[found["gap"] == 0.1, "any"] > none["any"].to_numpy()).all()


@pytest.mark.parametrize(("sizes", "level"), [((9, 9), 0.05), ((61, 7), 0.05), ((20, 20), 0.01)])
def test_the_stated_power_is_that_of_the_t_test_it_stands_for(sizes: tuple[int, int], level: float) -> None:
    one, other = (stats.norm.ppf((np.arange(size) + 0.5) / size) for size in sizes)
    stated = power.power_of_gap(0.1 * one, 0.1 * other, level=level)
    random = np.random.default_rng(0)
    first = random.normal(0, stated.deviation, (4000, sizes[0]))
    second = random.normal(0.1, stated.deviation, (4000, sizes[1]))
    found = (stats.ttest_ind(first, second, axis=1).pvalue <= level).mean()
    assert stated.of_ten_points == pytest.approx(found, abs=0.03)
    there = random.normal(stated.smallest, stated.deviation, (4000, sizes[1]))
    assert (stats.ttest_ind(first, there, axis=1).pvalue <= level).mean() == pytest.approx(0.8, abs=0.03)


def test_so_few_speakers_that_no_deal_is_rare_enough_have_no_power() -> None:
    assert power.smallest_p(3, 3) == pytest.approx(2 / 20) and power.smallest_p(2, 5) == pytest.approx(1 / 21)
    stated = power.power_of_gap([0.1, 0.2, 0.3], [0.8, 0.9, 1.0])
    assert stated.of_ten_points == 0 and np.isnan(stated.smallest)
    assert power.power_of_gap([0.5, 0.5], [0.5] * 90).smallest == 0


def test_a_speakers_bias_and_recall_are_what_power_is_worked_out_from() -> None:
    rows = pd.DataFrame({"speaker": ["a", "a", "b", "c"], "t_valence": [0.0, 0.2, 0.0, np.nan]})
    rows = rows.assign(d_valence=[0.1, 0.5, -0.4, 0.9])
    found = room.evidence(rows, "sex", pd.Series(["f", "f", "m", "m"]))
    women, men = power.speaker_values(found, room.measures_of(found)["bias of valence"])
    assert women == pytest.approx([0.2]) and men == pytest.approx([-0.4])  # nobody rated c
    named = pd.DataFrame({"speaker": ["a", "a", "b"], "emotion": ["joy", "joy", "fear"]})
    named = named.assign(p_fear=[0.9, 0.1, 0.8], p_joy=[0.1, 0.9, 0.2])
    found = room.evidence(named, "sex", pd.Series(["f", "f", "m"]))
    assert [each.tolist() for each in power.speaker_values(found, room.measures_of(found)["recall of joy"])] == [
        [0.5],
        [],
    ]


def test_the_table_of_powers_asks_more_of_one_comparison_among_many() -> None:
    rows = made_up({"a": 6, "b": 8, "c": 3})
    found = room.evidence(rows, "sex", rows["sex"])
    table = power.powers(found, "UAR", "b", 10).set_index("group")
    assert table.index.tolist() == ["a", "c"]
    values = power.speaker_values(found, room.measures_of(found)["UAR"])
    alone, among = (power.power_of_gap(values[1], values[0], level=level) for level in (0.05, 0.005))
    row = table.loc["a"]
    assert (row["speakers"], row["reference_speakers"]) == (6, 8)
    assert (row["power"], row["detectable"], row["deviation"]) == (alone.of_ten_points, alone.smallest, alone.deviation)
    assert (row["power_among"], row["detectable_among"]) == (among.of_ten_points, among.smallest)
    assert row["power_among"] < row["power"] and row["p_least"] == 1 / 3003


def test_what_cannot_be_tested_is_not_corrected_for() -> None:
    rows = made_up({"a": 8, "b": 8, "c": 8})
    rows = rows[(rows["sex"] != "c") | (rows["emotion"] != "neutral")].reset_index(drop=True)
    measure = "recall of neutral"
    compared = room.groupings(rows, ["sex"], measures=[measure])
    tested = room.of_table(compared, replicates=200)
    possible = int(tested["p"].notna().sum())
    assert possible == 1 + len(room.SPREADS)  # c has no neutral clip to be recalled
    ((found, reference, _),) = compared
    table = power.of_table(compared, tested).set_index("group")
    expected = power.powers(found, measure, reference, possible).set_index("group")
    assert table.loc["b", "power_among"] == expected.loc["b", "power_among"]
    assert table.loc["b", "power_among"] > power.powers(found, measure, reference, possible + 1)["power_among"].iloc[0]


def test_no_power_is_stated_where_speakers_are_in_both_groups_or_no_deal_is_rare_enough() -> None:
    rows = made_up({"a": 8, "b": 8})
    rows["language"] = np.where(rows.index % 2, "x", "y")
    found = room.evidence(rows, "language", rows["language"])
    (row,) = power.powers(found, "UAR", "x", 10).to_dict("records")
    assert row["shared"] == 16 and np.isnan([row["power"], row["detectable"], row["p_least"]]).all()
    # Of 10,000 deals none is rarer than one in 10,001, however many speakers there are.
    assert power.smallest_p(60, 60) == 1 / 10_001
    many = power.power_of_gap(np.linspace(0, 0.1, 60), np.linspace(0.5, 0.6, 60), level=0.05 / 600)
    assert many.of_ten_points == 0 and np.isnan(many.smallest)


def test_calibration_errors_are_those_of_the_comparison_of_groups() -> None:
    rows = made_up({"a": 6, "b": 8, "c": 1})
    found = room.evidence(rows, "sex", rows["sex"])
    expected = room.differences(found, "a", ["ECE"], replicates=500)[["group", "value", "low", "high"]]
    pd.testing.assert_frame_equal(room.calibrations(found, replicates=500), expected)
