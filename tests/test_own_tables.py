"""A reader's own table on the dashboards: its conditions on Robustness, its model on Efficiency."""

import time

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import efficiency_charts, own_robustness
from pages.parts.predictions import Chosen
from ser_core.predictions import read_predictions
from ser_core.settings import ROOT

OWN_TABLE = """file,speaker,emotion,p_anger,p_neutral
a1,ann,anger,0.8,0.2
a2,ann,neutral,0.1,0.9
b1,bob,anger,0.3,0.7
b2,bob,neutral,0.2,0.8
"""


def test_ones_own_conditions_are_drawn_and_forgotten() -> None:
    app = AppTest.from_file(str(ROOT / "pages" / "robustness.py"), default_timeout=120).run()
    assert not app.exception
    app.segmented_control(key="robustness-what").set_value("Your table").run()
    bad = own_robustness.EXAMPLE.replace("clean", "quiet")
    app.file_uploader[0].set_value(("mine.csv", bad.encode(), "text/csv")).run()
    assert '"clean" and one or more others' in app.error[0].value
    app.file_uploader[0].set_value(("mine.csv", own_robustness.EXAMPLE.encode(), "text/csv")).run()
    assert not app.exception and not app.error
    assert any("4 clips of 2 speakers, clean and under 1 other condition" in each.value for each in app.caption)
    for _ in range(100):
        if "lowest under" in " ".join(html.proto.body for html in app.get("html")):
            break
        time.sleep(0.1)
        app.run()
    drawn_tables = " ".join(html.proto.body for html in app.get("html"))
    assert "UAR, lowest under traffic 10 dB" in drawn_tables and "affected" not in drawn_tables
    # Two of four answers became others, so that of three emotions a half, none and all are found.
    for figure in ("<strong>100.0</strong>", "<strong>50.0</strong>", "<strong>−50.0</strong>"):
        assert figure in drawn_tables
    for measure in ("drop", "flips", "shift"):
        app.segmented_control(key="own-robustness-measure-True").set_value(measure).run()
        assert not app.exception
        assert "affected most by traffic 10 dB" in " ".join(html.proto.body for html in app.get("html"))
    next(button for button in app.button if button.label == "Forget this table").click().run()
    assert not app.get("html")


def test_ones_own_model_stands_beside_the_bundled_ones_once_its_costs_are_stated() -> None:
    rows = read_predictions(OWN_TABLE.encode(), "mine.csv")
    app = AppTest.from_file(str(ROOT / "pages" / "efficiency.py"), default_timeout=120)
    app.session_state["own predictions"] = Chosen("<b>mine</b>.csv", rows, "k")
    app.run()
    assert not app.exception and "(yours)" not in " ".join(html.proto.body for html in app.get("html"))
    app.number_input(key="efficiency-own-ms").set_value(0.01).run()
    assert not app.exception
    said = " ".join(html.proto.body for html in app.get("html"))
    # The cheapest of all is the first of those that no cheaper one beats: three of four right, one emotion by half.
    assert "no cheaper model is better than: &lt;b&gt;mine&lt;/b&gt;.csv (yours) (75.0 % at 0.01 ms)" in said
    own = app.session_state["own predictions"]
    figure = efficiency_charts.figure_of(own.rows, "UAR")
    (row,) = efficiency_charts.of_own(own, figure, "UAR", "crema_d", None, 0.01).to_dict("records")
    assert row["value"] == 0.75 and row["low"] <= 0.75 <= row["high"] and np.isnan(row["size_mb"])
    app.segmented_control(key="efficiency-measure").set_value("KL").run()
    assert not app.exception and not app.number_input
    assert any("by KL if it has probabilities and listeners' shares" in each.value for each in app.caption)


OWN_SHARES = """file,speaker,emotion,p_anger,p_fear,p_neutral,share_anger,share_fear,share_neutral
1,a,anger,0.5,0.25,0.25,0.5,0.25,0.25
2,a,fear,0.2,0.6,0.2,0.2,0.6,0.2
3,b,anger,0.7,0.2,0.1,0.7,0.2,0.1
4,b,neutral,0.1,0.1,0.8,0.1,0.1,0.8
"""
OWN_VALUES = """file,speaker,d_valence,d_arousal,d_dominance,t_valence,t_arousal,t_dominance
1,a,0.1,0.2,0.3,0.1,0.2,0.3
2,a,-0.5,0.5,0.1,-0.5,0.5,0.1
3,b,0.9,-0.2,0.0,0.9,-0.2,0.0
"""


@pytest.mark.parametrize(
    ("table", "measure", "value"), [(OWN_SHARES, "KL", 0), (OWN_SHARES, "cosine", 1), (OWN_VALUES, "mean CCC", 1)]
)
def test_ones_own_model_can_be_measured_as_those_without_a_uar(table: str, measure: str, value: float) -> None:
    app = AppTest.from_file(str(ROOT / "pages" / "efficiency.py"), default_timeout=120)
    app.session_state["own predictions"] = Chosen("mine", read_predictions(table.encode(), "mine.csv"), "k")
    app.session_state["efficiency-measure"] = measure
    app.run()
    app.number_input(key="efficiency-own-mb").set_value(0.001).run()
    assert not app.exception
    said = " ".join(html.proto.body for html in app.get("html")) + " ".join(each.value for each in app.caption)
    figure = efficiency_charts.figure_of(app.session_state["own predictions"].rows, measure)
    assert figure.value == pytest.approx(value, abs=1e-9) and f"compared by {measure} only if" in said
    app.segmented_control(key="efficiency-cost-True").set_value("size_mb").run()
    assert "mine (yours)" in " ".join(html.proto.body for html in app.get("html"))
