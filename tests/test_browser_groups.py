"""The dashboards in a real browser: from a point to its clips, to one clip's sound, to its explanation; and downloads.

Screenshots go to the folder named by SHOTS, or to pytest's own temporary folder.
"""

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
    whole_page,
)

pytestmark = BEFORE_A_BOARD

DASHBOARDS = {"fairness": "Whom does it fail?", "speakers": "Speaker by speaker"}


@pytest.mark.parametrize(("name", "title"), DASHBOARDS.items())
def test_from_a_point_to_its_clips_to_one_explanation(browser, address, shots, name, title) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, name, title)
    rows = take_figure_and_data_away(page)
    assert len(rows) > 10 and {"value", "low", "high"} <= set(rows[0])
    if name == "fairness":
        click_a_mark(page, 1)
        page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
        at_rest(page)
        playwright.expect(page.get_by_text("female, recall of anger: ")).to_have_count(1)
        choose(page, "Groups by", "race", "groups by race")
        of_a_point = page.get_by_text("Clips behind the point")
        playwright.expect(of_a_point).to_have_count(0, timeout=PATIENCE_MS)  # the point is not on this chart
        choose(page, "Groups by", "sex", "groups by sex")
        click_a_mark(page, 1)
        page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
        at_rest(page)
    else:
        heading = page.get_by_role("heading", name="Speaker ").last
        before = heading.inner_text()
        click_a_mark(page, 4)
        playwright.expect(heading).not_to_have_text(before, timeout=PATIENCE_MS)
        at_rest(page)
    hear_the_first_clip(page)
    whole_page(page, shots / f"{name}-clip.png")
    page.get_by_role("button", name="Explain this clip").click()
    page.locator(".viewer canvas").wait_for(timeout=PATIENCE_MS)
    assert "CREMA-D, labelled" in page.locator("[data-testid=stMain]").inner_text()
    page.close()


def test_explanations_by_group_lead_to_their_clips_too(browser, address, shots) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, "fairness", "Whom does it fail?")
    page.get_by_role("radio", name="Explanations by group").click()
    page.get_by_text("still be explained to them unequally").wait_for(timeout=PATIENCE_MS)
    page.locator(".js-plotly-plot .points path").first.wait_for(timeout=PATIENCE_MS)
    at_rest(page)
    assert {"group", "value", "low", "high"} <= set(take_figure_and_data_away(page)[0])
    click_a_mark(page, 1)
    page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
    at_rest(page)
    hear_the_first_clip(page)
    whole_page(page, shots / "explanations-by-group-clip.png")
    page.get_by_role("button", name="Explain this clip").click()
    page.locator(".viewer canvas").wait_for(timeout=PATIENCE_MS)
    page.close()
