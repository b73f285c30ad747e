"""Cross-corpus, robustness, mixed emotions, dimensions, efficiency in a browser: from a mark to an explanation."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
from browsing import (
    BEFORE_A_BOARD,
    PATIENCE_MS,
    at_rest,
    choose,
    click_a_mark,
    hear_the_first_clip,
    opened,
    playwright,
)

from pages.parts.mixed_charts import heard_rows, shared_labels
from ser_core.evaluation import TABLES
from ser_core.robustness import SUMMARY

pytestmark = BEFORE_A_BOARD

MEASURED = pytest.mark.skipif(not SUMMARY.exists(), reason="the study of robustness is not stored")
BOARDS = [
    pytest.param("crosscorpus", "Away from home", "uar", id="crosscorpus"),
    pytest.param("robustness", "Does the answer hold?", "uar", id="robustness", marks=MEASURED),
    pytest.param("mixed", "Mixed emotions", "constant", id="mixed"),
    pytest.param("dimensions", "Valence, arousal, dominance", "clips", id="dimensions"),
    pytest.param("efficiency", "What does it cost?", "value", id="efficiency"),
]


def take_the_figure_away(page: "playwright.Page") -> None:
    chart = page.locator(".js-plotly-plot:has(.points)").first
    # A tall chart's buttons lie at its top, which must not be under the menu.
    chart.evaluate("chart => chart.scrollIntoView({block: 'start'})")
    page.locator("[data-testid=stMain]").evaluate("main => main.scrollBy(0, -120)")
    page.wait_for_timeout(500)
    chart.hover(position={"x": 150, "y": 60})
    with page.expect_download() as download:
        chart.get_by_role("button", name="Download plot").click(force=True)
    figure = Path(download.value.path()).read_text(encoding="utf-8")
    assert figure.startswith("<svg") and "<script" not in figure


@pytest.mark.parametrize(("name", "title", "column"), BOARDS)
def test_from_a_mark_to_its_clips_to_one_explanation(browser, address, name, title, column) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, name, title)
    take_the_figure_away(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Data (CSV)").first.click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))
    assert rows and column in rows[0]
    click_a_mark(page)
    page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
    at_rest(page)
    table = page.get_by_text("Clips behind the point")
    table.scroll_into_view_if_needed()
    hear_the_first_clip(page)
    page.get_by_role("button", name="Explain this clip").click()
    # That the explanation comes is tested from the boards of groups.
    page.get_by_text(re.compile(", labelled ")).first.wait_for(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Forget this clip").wait_for(timeout=PATIENCE_MS)
    page.close()


@MEASURED
def test_both_charts_of_robustness_lead_to_clips(browser, address) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, "robustness", "Does the answer hold?")
    for chart in (0, 1):
        click_a_mark(page, chart=chart)
        playwright.expect(page.get_by_text("Clips behind the point")).to_have_count(chart + 1, timeout=PATIENCE_MS)
        at_rest(page)
    page.close()


def test_mixed_emotions_of_speech_with_other_labels_lead_to_clips(browser, address) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, "mixed", "Mixed emotions")
    answers = pd.read_parquet(TABLES / "label-distribution.emotale.parquet")
    judged = heard_rows(answers, shared_labels(answers))
    of_emotale = f"against listeners' shares, {len(judged)} clips"
    choose(page, "Model and speech", "Label distribution (listeners’ votes) on EmoTale", of_emotale)
    click_a_mark(page)
    page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
    page.close()
