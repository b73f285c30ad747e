"""Cross-corpus, robustness, mixed emotions, dimensions, efficiency in a browser: from a mark to an explanation."""

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
    take_figure_and_data_away,
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


@pytest.mark.parametrize(("name", "title", "column"), BOARDS)
def test_from_a_mark_to_its_clips_to_one_explanation(browser, address, name, title, column) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, name, title)
    assert column in take_figure_and_data_away(page)[0]
    click_a_mark(page)
    page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
    at_rest(page)
    table = page.get_by_text("Clips behind the point")
    table.scroll_into_view_if_needed()
    hear_the_first_clip(page)
    page.get_by_role("button", name="Explain this clip").click()
    page.locator(".viewer canvas").wait_for(timeout=PATIENCE_MS)
    assert ", labelled " in page.locator("[data-testid=stMain]").inner_text()
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
