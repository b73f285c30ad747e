"""The results page on a summary made here."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import explain.study
import ser_core.results
import ser_core.studies
from explain import method_choice
from pages.parts import tested_methods
from ser_core import uncertainty
from ser_core.bundled import Plan
from ser_core.settings import ROOT
from ser_core.studies import Study

PLAN = Plan("p", "P", "s", "e", "", 0, ())
TOY = Study("toy", "Toy study", "Does more help?", "crema_d", {"plain": PLAN, "<b>more</b>": PLAN})


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "table": "toy",
            "task": "crema_d",
            "answer": "emotion",
            "condition": "",
            "variant": ["plain", "<b>more</b>"] * 2,
            "seeds": 3,
            "clips": 60,
            "speakers": 6,
            "measure": ["UAR", "UAR", "WA", "WA"],
            "value": [0.5, 0.6, 0.51, 0.61],
            "low": 0.4,
            "high": 0.7,
            "baseline": 0.167,
            "chance": 0.17,
            "change": [np.nan, 0.1, np.nan, 0.1],
            "change_low": [np.nan, 0.05, np.nan, 0.05],
            "change_high": [np.nan, 0.15, np.nan, 0.15],
        }
    )
    rows.to_csv(tmp_path / "summary.csv", index=False)
    monkeypatch.setattr(ser_core.results, "RESULTS", tmp_path)
    monkeypatch.setattr(ser_core.studies, "STUDIES", {"toy": TOY})
    return rows


def page() -> AppTest:
    shown = AppTest.from_file(str(ROOT / "pages" / "results.py"), default_timeout=60).run()
    assert not shown.exception
    return shown


def text(shown: AppTest) -> str:
    return " ".join(
        str(getattr(each, "value", "")) for each in [*shown.markdown, *shown.caption, *shown.info]
    ) + " ".join(each.proto.body for each in shown.get("html"))


@pytest.mark.usefixtures("summary")
def test_a_study_shows_value_interval_baseline_and_change() -> None:
    found = text(page())
    assert "Does more help?" in found
    for part in ("0.600</strong> [0.400, 0.700]", "+0.100 [+0.050, +0.150]", "0.167", "0.170"):
        assert part in found


@pytest.mark.usefixtures("summary")
def test_another_measure_is_drawn_when_it_is_chosen() -> None:
    shown = page()
    measure = next(box for box in shown.selectbox if box.label == "Measure")
    shown = measure.select("WA").run()
    assert not shown.exception
    assert "0.610</strong>" in text(shown)


@pytest.mark.usefixtures("summary")
def test_a_name_cannot_bring_markup_into_the_page() -> None:
    assert "<b>more</b>" not in text(page())


def test_the_study_of_salient_cues_says_excess_over_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"model": "m", "method": "occlusion", "corpus": "toy", "cue": "f0_mean", "clips": 9, "speakers": 4}
    measured = {"agrees": 0.62, "chance": 0.41, "excess": 0.21, "low": 0.1, "high": 0.3}
    rows = [{**keys, **measured, "predicted": emotion, "answer": "right"} for emotion in ("all", "anger")]
    monkeypatch.setattr(explain.study, "read_summary", lambda: pd.DataFrame(rows))
    shown = page()
    assert any("one row in twenty leaves out 0 by luck" in each.value for each in shown.caption)
    found = text(shown)
    for part in ("62 %", "41 %", "+21.0</strong> [+10.0, +30.0]"):
        assert part in found


def test_an_aim_that_was_missed_says_by_how_much() -> None:
    rows = ser_core.results.published()
    aimed = rows[rows["aim"].notna() & rows["value"].notna()]
    assert len(aimed) >= 4
    found = text(page())
    for row in aimed.itertuples():
        said = f"aim {row.aim:.2f}, " + ("reached" if row.value >= row.aim else f"missed by {row.aim - row.value:.3f}")
        assert said in found


def test_the_sure_answers_of_the_levels_are_set_against_the_unsure_ones() -> None:
    shown = page()
    shown = shown.selectbox(key="study").set_value("mater-levels").run()
    assert not shown.exception
    stored = pd.read_csv(uncertainty.TABLE)
    row = stored[(stored["study"] == "mater-levels") & (stored["part"] == 4)].iloc[0]
    found = text(shown)
    assert f"{100 * row['accuracy']:.0f} %</strong> [{100 * row['low']:.0f}, {100 * row['high']:.0f}]" in found
    assert "python -m ser_core study mater-levels --corpus CREMA-D" in " ".join(each.value for each in shown.caption)


def test_every_published_system_has_its_row_and_unmeasured_ones_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ser_core.results, "RESULTS", tmp_path)
    found = text(page())
    for row in ser_core.results.published().itertuples():
        assert row.system in found.replace("&amp;", "&")
    assert "not measured yet" in found
    assert "No study has been run yet" in found


def test_the_lightweight_heads_stand_beside_what_they_cost() -> None:
    shown = page()
    shown = shown.selectbox(key="study").set_value("lightweight-heads").run()
    assert not shown.exception
    costs = pd.read_csv(ROOT / "assets" / "results" / "heads.csv")
    assert len(costs) == 6 and (costs["cpu_p50_ms"] <= costs["cpu_p95_ms"]).all()
    found = text(shown)
    for row in costs.itertuples():
        assert f"{row.size_mb:.1f} MB</td><td>{row.cpu_p50_ms:.0f} / {row.cpu_p95_ms:.0f} ms" in found


def test_the_study_of_trust_shows_every_test_beside_the_destroyed_model_and_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def row(method: str, of: str, test: str, holds: float) -> dict:
        keys = {"model": "log-mel-resnet", "method": method, "map": of, "test": test, "clips": 80, "speakers": 9}
        rest = {"weak": 0.04, "undecided": 0.0 if holds > 0.5 else 0.02}
        return keys | {"holds": holds, "low": holds - 0.1, "high": holds + 0.1, "seconds": 1.25} | rest

    core = ("deletion", "insertion", "randomised weights", method_choice.ALL)
    rows = [
        row("occlusion", method_choice.OWN, test, share) for test, share in zip(core, (0.8, 0.7, 0.9, 0.6), strict=True)
    ]
    rows += [row("saliency", method_choice.OWN, test, 0.3) for test in core]
    rows += [row("occlusion", method_choice.DESTROYED, test, 0.2) for test in (*core[:2], method_choice.ALL)]
    monkeypatch.setattr(method_choice, "read_summary", lambda: pd.DataFrame(rows))
    shown = page()
    found = text(shown)
    best = found[found.index("Explanations that pass all three") :]
    assert (
        'Log-mel ResNet</th><td class="words">Occlusion</td><td><strong>60 %</strong> [50, 70]</td><td>20 %</td>'
        in best
    )
    assert 'Whisper tiny.en, frozen</th><td class="words">not tested yet' in best
    methods = found[found.index("Methods by the tests of faithfulness") :]
    assert methods.index("Occlusion") < methods.index("Saliency")  # the one that passes most comes first
    assert "<strong>80 %</strong> [70, 90]<br><small>20 %</small>" in methods
    assert "<strong>90 %</strong> [80, 100]</td><td>80</td><td>1.2</td>" in methods
    said = " ".join(each.value for each in shown.caption)
    assert "Not tested yet: Integrated Gradients, " in said and "further tests" in said
    assert "chosen on these same clips" in said

    names = ("infidelity", "sensitivity", "agreement with Saliency")
    rows += [
        row("occlusion", method_choice.OWN, test, share) for test, share in zip(names, (0.55, 0.95, 0.35), strict=True)
    ]
    shown = page()
    found = text(shown)
    said = " ".join(each.value for each in shown.caption)
    assert "Not put to these tests yet: " in said and "Saliency" in said.split("Not put to these tests yet: ")[1]
    further = found[found.index("Methods by the further tests") :]
    assert "<td><strong>55 %</strong> [45, 65]<br><small>weak 4 %</small></td><td><strong>95 %</strong>" in further
    agreeing = "Saliency <strong>35 %</strong> [25, 45]<br><small>weak 4 %, cannot be decided 2 %</small>"
    assert agreeing in further and "Saliency</th>" not in further.split("</table>")[0]


def test_methods_that_pass_as_often_stand_in_one_list() -> None:
    keys = {"model": "log-mel-resnet", "map": method_choice.OWN, "test": method_choice.ALL, "clips": 80}
    shares = [
        keys | {"method": name, "holds": 0.6, "low": 0.5, "high": 0.7} for name in ("saliency", "lrp", "occlusion")
    ]
    assert ">Saliency, LRP and Occlusion<" in tested_methods.of_models(pd.DataFrame(shares))
