"""The dashboards in a real browser: from a point to its clips, to one clip's sound, to its explanation; and downloads.

Screenshots go to the folder named by SHOTS, or to pytest's own temporary folder.
"""

import csv
from pathlib import Path

import pytest
from test_browser import CHROMIUM, PATIENCE_MS, address, browser, overflow, playwright, shots, whole_page  # noqa: F401

from ser_core.settings import ROOT

SPEECH = ROOT.parent / "shared" / "corpora" / "crema_d"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine; install it to drive the pages"),
    pytest.mark.skipif(not SPEECH.is_dir(), reason="no CREMA-D beside the checkout whose clips could be heard"),
]

DASHBOARDS = {"fairness": "Whom does it fail?", "speakers": "Speaker by speaker"}


def opened(page: "playwright.Page", address: str, name: str) -> None:  # noqa: F811
    page.goto(f"{address}/{name}")
    page.get_by_role("heading", name=DASHBOARDS[name]).wait_for(timeout=PATIENCE_MS)
    page.locator(".js-plotly-plot .points path").first.wait_for(timeout=PATIENCE_MS)
    settled(page)


def settled(page: "playwright.Page") -> None:
    page.locator("[data-test-script-state=notRunning]").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(500)


def choose(page: "playwright.Page", label: str, option: str) -> None:
    page.get_by_test_id("stSelectbox").filter(has_text=label).first.locator("input").click()
    page.get_by_role("option", name=option, exact=True).click()
    page.wait_for_timeout(1000)
    settled(page)


def click_point(page: "playwright.Page", place: int) -> None:
    """Click a point of the first chart; Plotly takes clicks on a layer above its points."""
    point = page.locator(".js-plotly-plot").first.locator(".points path").nth(place)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def hear_the_first_clip(page: "playwright.Page") -> None:
    table = page.get_by_test_id("stDataFrame").last
    table.locator("canvas").first.wait_for(timeout=PATIENCE_MS)
    for _ in range(3):  # a page that still moves makes a click miss; a second click too soon would unselect the row
        table.scroll_into_view_if_needed()
        page.wait_for_timeout(1000)
        box = table.bounding_box()
        page.mouse.click(box["x"] + 20, box["y"] + 36 + 17)  # the box before the first row, drawn on a canvas
        for _ in range(20):
            page.wait_for_timeout(500)
            if page.locator("audio").count():
                settled(page)
                return
    page.locator("audio").first.wait_for(timeout=PATIENCE_MS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_from_a_point_to_its_clips_to_one_explanation(browser, address, shots, name) -> None:  # noqa: F811
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, name)
    if name == "fairness":
        click_point(page, 1)
        page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
        settled(page)
        assert page.get_by_text("female, recall of anger: ").count() == 1
        choose(page, "Groups by", "race")
        assert page.get_by_text("Clips behind the point").count() == 0  # the point is not on this chart
        choose(page, "Groups by", "sex")
        click_point(page, 1)
        page.get_by_text("Clips behind the point").wait_for(timeout=PATIENCE_MS)
        settled(page)
    else:
        before = page.get_by_role("heading", name="Speaker ").last.inner_text()
        click_point(page, 4)
        settled(page)
        assert page.get_by_role("heading", name="Speaker ").last.inner_text() != before
    hear_the_first_clip(page)
    whole_page(page, shots / f"{name}-clip.png")
    page.get_by_role("button", name="Explain this clip").click()
    page.locator(".viewer canvas").wait_for(timeout=PATIENCE_MS)
    assert "CREMA-D, labelled" in page.locator("[data-testid=stMain]").inner_text()
    page.close()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_figure_and_data_can_be_taken_away(browser, address, tmp_path: Path, name) -> None:  # noqa: F811
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened(page, address, name)
    with page.expect_download() as download:
        page.get_by_role("button", name="Data (CSV)").first.click()
    download.value.save_as(tmp_path / "data.csv")
    rows = list(csv.DictReader((tmp_path / "data.csv").open(encoding="utf-8")))
    assert len(rows) > 10 and {"value", "low", "high"} <= set(rows[0])
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download plot").first.click()
    download.value.save_as(tmp_path / "figure.svg")
    figure = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert figure.startswith("<svg") and "<script" not in figure
    page.close()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_narrow_dark_screen_shows_all_of_it(browser, address, shots, name) -> None:  # noqa: F811
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    opened(page, address, name)
    assert overflow(page) <= 0
    whole_page(page, shots / f"{name}-narrow-dark.png")
    page.close()
