import io
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from pypdf import PdfReader
from streamlit.testing.v1 import AppTest

from explain import board_figures
from explain.board_report import MOST_ROWS, Section, pdf, section
from pages.parts import boards, charts, sphere, wheel
from ser_core.errors import ExplanationError
from ser_core.settings import ROOT


def made(figure: go.Figure, data: pd.DataFrame, **settings: str) -> Section:
    return section(
        "Board", "A title", "how.", "what it says.", figure.to_plotly_json(), data, settings, "chance is 1/6.", "cmd"
    )


def dots() -> tuple[go.Figure, pd.DataFrame]:
    data = pd.DataFrame(
        {
            "model": "m",
            "group": ["a", "b"],
            "value": [0.61, 0.5],
            "low": [0.55, 0.4],
            "high": [0.7, 0.62],
            "p": [float("nan"), 0.04],
            "p_holm": [float("nan"), 0.08],
            "finding": [False, False],
        }
    )
    figure = go.Figure(
        go.Scatter(
            x=data["value"],
            y=data["group"],
            error_x=charts.bars(data["value"], data["low"], data["high"]),
            mode="markers",
            name="dots & <b>bars</b>",
        )
    )
    return figure, data


def test_a_value_and_its_interval_share_a_column_and_what_never_changes_is_a_setting() -> None:
    figure, data = dots()
    found = made(figure, data, filter="all")
    assert found.head == ("group", "value [95 %]", "p", "p holm")
    assert found.rows[0] == ("a", "0.610 [0.550, 0.700]", "–", "–")
    assert found.rows[1][2:] == ("0.0400", "0.0800")
    assert found.settings == (("filter", "all"), ("model", "m"), ("finding", "no"))
    assert found.left_out == ""


def test_small_shares_are_not_called_below_a_limit_and_a_click_is_not_asked_of_paper() -> None:
    figure, _ = dots()
    data = pd.DataFrame({"change": [0.0004, -0.02], "change_low": [-0.005, -1.0], "change_high": [0.006, 12.25]})
    found = section("b", "t", "dots are x. Click a dot for its clips.", "w", figure.to_plotly_json(), data, {}, "", "")
    assert [row[0] for row in found.rows] == ["0.000 [−0.005, 0.006]", "−0.020 [−1, 12.2]"]
    assert found.how == "dots are x."


def test_a_long_table_says_how_much_of_it_is_left_out() -> None:
    figure, _ = dots()
    found = made(figure, pd.DataFrame({f"c{i}": range(100) for i in range(12)}))
    assert len(found.rows) == MOST_ROWS
    assert "the first 40 of 100 rows" in found.left_out
    assert "not c9, c10, c11" in found.left_out


def test_the_report_is_tagged_and_holds_what_belongs_to_a_chart() -> None:
    figure, data = dots()
    reader = PdfReader(io.BytesIO(pdf([made(figure, data, filter="all"), made(figure, data)])))
    text = " ".join(page.extract_text() for page in reader.pages)
    for words in ("Board: A title", "How to read it: how.", "what it says.", "chance is 1/6.", "cmd", "0.610"):
        assert words in text
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert "2 sections" in reader.metadata["/Title"]
    assert "not a diagnosis" in text


def test_an_empty_report_is_refused_in_words() -> None:
    with pytest.raises(ExplanationError, match="add a chart or table"):
        pdf([])


def drawn(figure: go.Figure, monkeypatch: pytest.MonkeyPatch) -> tuple[list, str]:
    """Return matplotlib's axes and the SVG of a figure."""
    kept = []
    whole = board_figures.svg_of
    monkeypatch.setattr(board_figures, "svg_of", lambda each: kept.append(each) or whole(each))
    return kept, board_figures.svg(json.loads(figure.to_json()))


def test_points_bars_and_axes_come_out_where_plotly_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = go.Figure(
        go.Scatter(
            x=np.array([1.0, 10.0, 100.0]),
            y=[3.0, 4.0, 5.0],
            error_y={"array": [1.0, 1.0, 1.0], "arrayminus": [0.5, 0.5, 0.5]},
            mode="markers",
            marker={"size": [4, 9, 9], "color": "#d55e00", "symbol": "diamond-open"},
            name="one",
        )
    )
    figure.add_hline(y=3.5)
    figure.update_xaxes(type="log", range=[-1, 3], title="cost <b>in s</b>")
    figure.update_yaxes(range=[6, 0], tickvals=[1, 2], ticktext=["<i>low</i>", "high"])
    kept, svg = drawn(figure, monkeypatch)
    axes = kept[0].axes[0]
    assert svg.startswith("<?xml")
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == pytest.approx((0.1, 1000.0))
    assert axes.get_ylim() == (6, 0)
    assert axes.get_xlabel() == "cost in s"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["low", "high"]
    assert np.allclose(axes.collections[-1].get_offsets(), [[1, 3], [10, 4], [100, 5]])
    low, high = axes.collections[0].get_segments()[1][:, 1]
    assert (low, high) == (3.5, 5.0)
    assert any(np.allclose(line.get_ydata(), 3.5) for line in axes.lines)


def test_fields_keep_their_places_and_darkness(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = {"y": ["a", "a", "b"], "base": [-0.5, 0.5, -0.5], "x": [0.9, 0.9, 0.9], "width": 0.9, "orientation": "h"}
    marker = {"color": [0.0, 50.0, 100.0], "colorscale": [[0, "#ffffff"], [1, "#000000"]], "cmin": 0, "cmax": 100}
    kept, _ = drawn(go.Figure(go.Bar(**bars, marker=marker, text=["1<br>2", "3", "4"])), monkeypatch)
    patches = kept[0].axes[0].patches
    assert [(p.get_x(), p.get_y()) for p in patches] == [(-0.5, -0.45), (0.5, -0.45), (-0.5, 0.55)]
    assert [round(p.get_facecolor()[0], 1) for p in patches] == [1.0, 0.5, 0.0]
    assert [text.get_text() for text in kept[0].axes[0].texts] == ["1\n2", "3", "4"]


def test_a_wheel_and_a_path_in_space_come_out_as_they_are_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = {"one": np.array([0.75, 0.25]), "two": np.array([0.0, 1.0])}
    kept, svg = drawn(wheel.figure(("joy", "sadness"), wheels), monkeypatch)
    first, second = kept[0].axes
    assert first.name == second.name == "polar" and first.get_position().y0 > second.get_position().y1
    joy, sadness = first.patches[-2:]
    assert joy.get_x() + joy.get_width() / 2 == pytest.approx(0.0)  # above, and its opposite below
    assert sadness.get_x() + sadness.get_width() / 2 == pytest.approx(np.pi)
    assert sum(joy.get_facecolor()[:3]) < sum(sadness.get_facecolor()[:3])  # the darker, the more
    assert [text.get_text() for text in kept[0].texts] == ["one", "two"]
    moved = sphere.Path(np.array([0.5, 1.0, 1.5]), np.array([[0, 0, 0], [0.1, 0.2, 0.3], [0.2, 0.4, 0.6]]))
    kept, svg = drawn(sphere.figure(moved, np.array([0.1, 0.2, 0.3]), np.array([])), monkeypatch)
    assert svg.startswith("<?xml")
    poles = {text.get_text(): text.get_position_3d() for text in kept[0].axes[0].texts}
    assert set(poles) == {"unpleasant", "pleasant", "calm", "excited", "weak", "strong"}
    assert poles["pleasant"][0] > 1 and poles["calm"][1] < -1 and poles["strong"][2] > 1
    along = next(each for each in kept[0].axes[0].collections if len(each.get_facecolor()) == 3)
    assert len({tuple(colour) for colour in along.get_facecolor()}) == 3  # dark at the start, light at the end


def test_every_chart_of_a_dashboard_comes_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.pdf"
    assert boards.main(["--pdf", str(file), "--boards", "efficiency", "dimensions"]) == 0
    text = " ".join(page.extract_text() for page in PdfReader(file).pages)
    assert "Efficiency: UAR on CREMA-D against time" in text
    assert "Dimensions:" in text
    assert boards.main(["--pdf", str(file), "--boards", "efficiency", "--set", "efficiency-corpus=nowhere"]) == 2


def test_every_chart_on_the_pages_belongs_to_a_dashboard_of_the_report() -> None:
    listed = {name for board in boards.BOARDS.values() for name in board.charts}
    used = set()
    for file in [*ROOT.glob("pages/*.py"), *ROOT.glob("pages/parts/*.py")]:
        for call in re.findall(r"(?<![\w.])chart\(\n(.*?)title=", file.read_text(), re.DOTALL):
            used |= set(re.findall(r'\n\s+"([\w-]+)",\n', call))
    assert used == listed


@pytest.mark.parametrize("board", boards.BOARDS)
def test_every_table_of_figures_on_a_dashboard_can_be_taken_into_the_report(board: str) -> None:
    page = "fairness" if board == "explanations" else board
    drawn = AppTest.from_file(ROOT / "pages" / f"{page}.py", default_timeout=120)
    drawn.session_state[boards.EVERY] = True
    if board == "explanations":
        drawn.session_state["fairness-what"] = "Explanations by group"
    drawn.run()
    held = {each.title for each in drawn.session_state[boards.HELD].values() if not each.svg}
    shown = [each.proto.body for each in drawn.get("html") if "<table" in each.proto.body]
    captions = {unescape(re.search("<caption>(.*?)</caption>", body)[1]) for body in shown}
    assert captions and captions == held


def test_only_the_shared_way_draws_tables_of_figures_on_dashboards() -> None:
    listed = {name for board in boards.BOARDS.values() for name in board.tables}
    named = set()
    for file in [*ROOT.glob("pages/*.py"), *ROOT.glob("pages/parts/*.py")]:
        code = file.read_text()
        named |= {name for name in listed if f'"{name}"' in code and file.name != "boards.py"}
        if re.search(r"from pages\.parts\.charts import .*\b(chart|tabled)\b", code):
            assert not re.search(r"\brows_of\b|from pages\.parts\.cards import table", code), file
    assert named == listed


def test_a_section_without_a_figure_is_printed() -> None:
    _, data = dots()
    wide = pd.DataFrame({f"c{k}": [1, 2] for k in range(11)} | {"p": [0.0001, 0.2], "p_holm": [0.0004, 0.4]})
    wide = wide.assign(chance=[0.1, 0.2], too_small=["", "few"], finding=[True, False])
    printed = section("Board", "Findings", "how.", "w", None, wide, {}, "chance is 1/6.", "cmd")
    assert printed.head[-2:] == ("p holm", "finding") and len(printed.head) == 9
    assert printed.rows[0][-2:] == ("below 0.001", "yes") and "c10" in printed.left_out
    found = section("Board", "Only figures", "how.", "what it says.", None, data, {}, "chance is 1/6.", "cmd")
    assert found.svg == "" and len(found.rows) == 2
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf([found]))).pages)
    for words in ("Board: Only figures", "How to read it: how.", "chance is 1/6.", "0.610 [0.550, 0.700]"):
        assert words in text


def test_what_comes_from_elsewhere_has_its_own_command_and_baseline() -> None:
    for board in boards.BOARDS.values():
        assert set(board.apart) <= set(board.tables)

    def script() -> None:
        import pandas as pd
        import streamlit as st

        from pages.parts import boards
        from pages.parts.charts import Rows, tabled

        st.session_state[boards.EVERY] = True
        rows = Rows(("Question", "Found"), '<tr><th scope="row">a</th><td>1</td></tr>')
        tabled(rows, pd.DataFrame({"a": [1, 2]}), "leaks", title="T & U", how="so.", words="it is.", state="one|two")

    drawn = AppTest.from_function(script).run()
    (held,) = drawn.session_state[boards.HELD].values()
    assert held.command == "python -m ser_core leaks"
    assert held.settings == (("choices on the page", "one · two"),)
    assert any("T &amp; U" in each.proto.body for each in drawn.get("html"))


def test_a_chart_is_added_once_taken_away_and_forgotten() -> None:
    page = AppTest.from_file(ROOT / "pages" / "efficiency.py", default_timeout=60).run()
    add = next(each for each in page.button if each.label == "Add to the report")
    page = add.click().run()
    assert next(each for each in page.button if each.key == add.key).disabled
    (held,) = page.session_state[boards.HELD].values()
    assert held.board == "Efficiency"
    assert held.command.startswith("python -m ser_core results")


def test_clips_are_left_to_the_csv() -> None:
    figure, _ = dots()
    found = made(figure, pd.DataFrame({"clip": ["a", "b"], "bits": [1.0, 2.0]}))
    assert found.rows == ()
    assert found.left_out == "The 2 clips behind the figure are in the page’s CSV."
    assert pdf([found]).startswith(b"%PDF")
