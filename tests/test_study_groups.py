import codecs
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from explain import study, study_groups
from ser_core.errors import SettingError
from ser_core.group_differences import Evidence, differences, measures_of
from ser_core.settings import ROOT

CUES = ("f0_mean", "hf_energy")


def rows(
    agreeing: dict[str, float], *, anger: dict[str, float] | None = None, clips: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Maps of 20 speakers a group: share of cues that agree, and share of clips that are taken for anger."""
    random = np.random.default_rng(seed)
    found = []
    for group, share in agreeing.items():
        for speaker in range(20):
            for clip in range(clips):
                angry = random.random() < (anger or {}).get(group, 0.5)
                emotion = "anger" if angry else "sadness"
                of_map = {
                    "clip": f"{group}{speaker}-{clip}",
                    "corpus": "crema_d",
                    "speaker": f"{group}{speaker}",
                    "sex": group,
                    "age": np.nan,
                    "emotion": emotion if random.random() < 0.7 else "fear",
                    "predicted": emotion,
                    "model": "log-mel-resnet",
                    "method": "deeplift",
                    "coverage": 0.1 + 0.2 * random.random(),
                    **{test: "holds" if random.random() < 0.8 else "fails" for test in study_groups.TESTS},
                }
                for cue in CUES:
                    # Anger agrees more often than sadness, in every group alike.
                    hit = random.random() < share + (0.15 if angry else -0.15)
                    status = "agrees" if hit else "disagrees"
                    effect = random.normal(0.2, 0.1)
                    found.append(of_map | {"cue": cue, "status": status, "effect": effect, "chance": 0.4})
    return pd.DataFrame(found)


def found_in(table: pd.DataFrame, **options: object) -> Evidence:
    return study_groups.evidence(table, "sex", table["sex"], **options)  # type: ignore[arg-type]


def by_hand(table: pd.DataFrame, group: str) -> float:
    """Mean over the emotions of the share of decided cues that agree, in plain loops."""
    shares = []
    for emotion in ("anger", "sadness"):
        part = table[(table["sex"] == group) & (table["predicted"] == emotion)]
        shares.append(sum(part["status"] == "agrees") / sum(part["status"].isin(["agrees", "disagrees"])))
    return sum(shares) / 2


def test_figures_are_the_mean_over_the_emotions_of_shares_by_hand() -> None:
    table = rows({"female": 0.6, "male": 0.4})
    table.loc[::7, "status"] = "contested"
    got = differences(found_in(table), "male", [study_groups.EXPECTED, study_groups.BEYOND, study_groups.PART])
    value = got.set_index(["measure", "group"])["value"]
    for group in ("female", "male"):
        assert value[study_groups.EXPECTED, group] == pytest.approx(by_hand(table, group))
        assert value[study_groups.BEYOND, group] == pytest.approx(by_hand(table, group) - 0.4)
    once = table[~table.duplicated("clip")]
    by_emotion = once[once["sex"] == "male"].groupby("predicted")["coverage"].mean()
    assert value[study_groups.PART, "male"] == pytest.approx(by_emotion.mean())


def test_groups_that_are_answered_differently_but_explained_alike_have_no_gap() -> None:
    table = rows({"female": 0.5, "male": 0.5}, anger={"female": 0.9, "male": 0.2}, clips=40)
    plain = table["status"].eq("agrees").groupby(table["sex"]).mean()
    assert plain["female"] - plain["male"] > 0.15  # what a comparison across emotions would call a gap
    got = differences(found_in(table), "male", [study_groups.EXPECTED], replicates=2000)
    gap = got[got["group"] == "female"].iloc[0]
    assert abs(gap["difference"]) < 0.05
    assert not gap["finding"]


def test_a_planted_gap_is_a_finding_and_the_others_stay_none() -> None:
    found = found_in(rows({"female": 0.65, "male": 0.35}))
    got = differences(found, "male", study_groups.usual(found), replicates=4000)
    assert set(got.loc[got["finding"], "measure"]) == {study_groups.EXPECTED, study_groups.BEYOND}
    assert (got.loc[got["finding"], "difference_low"] > 0).all()


def test_one_emotion_and_right_answers_alone_can_be_asked_for() -> None:
    table = rows({"female": 0.5, "male": 0.5})
    part = table[(table["predicted"] == "anger") & (table["emotion"] == "anger")]
    found = found_in(table, emotion="anger", right=True)
    measure = measures_of(found)[study_groups.EXPECTED]
    share = measure.statistic(measure.tensors.sum(axis=0))[found.groups.index("male")]
    assert share == pytest.approx(part.loc[part["sex"] == "male", "status"].eq("agrees").mean())
    assert found.clips.sum() == part["clip"].nunique()


def test_groups_without_a_common_emotion_are_refused() -> None:
    table = rows({"female": 0.5, "male": 0.5}, anger={"female": 1.0, "male": 0.0})
    with pytest.raises(SettingError, match="every group"):
        found_in(table)


def test_the_command_prints_what_the_page_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows({"female": 0.6, "male": 0.4}).to_parquet(tmp_path / "t.parquet")
    asked = ["--table", str(tmp_path / "t.parquet"), "--by", "sex", "--csv"]
    assert study_groups.main([*asked, str(tmp_path / "g.csv")]) == 0
    assert "maps that hold" in capsys.readouterr().out
    assert (tmp_path / "g.csv").read_bytes().startswith(codecs.BOM_UTF8)
    assert study_groups.main([*asked, str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "maps that hold" in said.out and "cannot be written" in said.err
    assert study_groups.main(["--table", str(tmp_path / "none.parquet")]) == 2
    assert "python -m explain study" in capsys.readouterr().err


@pytest.mark.parametrize("stored", [False, True])
def test_the_page_shows_the_groups_or_says_how_to_make_the_table(
    stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TABLE", tmp_path / "t.parquet")
    if stored:
        rows({"female": 0.65, "male": 0.35}).to_parquet(tmp_path / "t.parquet")
    page = AppTest.from_file(ROOT / "pages" / "fairness.py", default_timeout=60)
    page.session_state["fairness-what"] = "Explanations by group"
    page.run()
    assert not page.exception
    if stored:
        said = " ".join(each.body for each in page.get("html"))
        assert "2 gaps are findings" in said
        assert "Log-mel ResNet, DeepLIFT, CREMA-D" in said
    else:
        assert "python -m explain study" in page.info[0].value
