"""What every test of the pages in a real browser shares: the marks, what watches a page, and the usual steps.

The server, the browser and the folder for screenshots are fixtures of ``conftest.py``.
"""

import csv
import os
import shutil
from pathlib import Path

import pytest

from ser_core.registry import model_names
from ser_core.settings import ROOT

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
FLAGS += ["--autoplay-policy=no-user-gesture-required", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
PATIENCE_MS = 120_000

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and model_names()), reason="no Chromium on this machine, or no model in assets/models to explain"
)
IN_A_BROWSER = [pytest.mark.browser, needs_browser]
CREMA_D = ROOT.parent / "shared" / "corpora" / "crema_d"
BEFORE_A_BOARD = [
    *IN_A_BROWSER,
    pytest.mark.skipif(not CREMA_D.is_dir(), reason="no CREMA-D beside the checkout whose clips could be heard"),
]


class Watch:
    """Notes what a page asks of other hosts and what goes wrong in it."""

    def __init__(self, page: "playwright.Page", address: str) -> None:
        self.foreign: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda r: self._request(r.url, address))
        page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.faults.append(str(e)))

    def _request(self, url: str, address: str) -> None:
        if not url.startswith((f"{address}/", address.replace("http", "ws"), "data:", "blob:")):
            self.foreign.append(url)


def settled(page: "playwright.Page") -> None:
    """Wait until no script of the page runs, so that no click is lost in a redraw."""
    page.locator('[data-test-script-state="notRunning"]').first.wait_for(timeout=PATIENCE_MS)


def visit(page: "playwright.Page", section: str, title: str) -> None:
    """Open a page by the menu of a wide window; the session goes along."""
    page.get_by_role("button", name=section, exact=True).click()
    page.get_by_role("menuitem", name=title, exact=True).click()


def whole_page(page: "playwright.Page", path: Path) -> None:
    """Save the page as tall as it is; Streamlit scrolls an inner part, which a full-page screenshot would cut."""
    size = page.viewport_size
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(tall + 10, 9000)})
    page.wait_for_timeout(600)
    page.screenshot(path=path)
    page.set_viewport_size(size)


def clock(page: "playwright.Page") -> float:
    return float(page.locator(".viewer .clock").inner_text().split("/")[0])


def upload(page: "playwright.Page", clip: tuple[str, bytes]) -> None:
    name, data = clip
    page.get_by_role("radio", name="Upload").click()
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "audio/wav", "buffer": data})
    page.locator(".viewer canvas").wait_for(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Report (PDF)").wait_for(timeout=PATIENCE_MS)


def overflow(page: "playwright.Page") -> float:
    """Return by how many pixels the page is wider than the screen."""
    return page.evaluate(
        "(() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth; })()"
    )


# --- the boards: charts of stored answers, and the clips behind them


def opened(page: "playwright.Page", address: str, name: str, title: str) -> None:
    """Open a board and wait until its first chart stands."""
    page.goto(f"{address}/{name}")
    page.get_by_role("heading", name=title).wait_for(timeout=PATIENCE_MS)
    page.get_by_text("How to read it").first.wait_for(timeout=PATIENCE_MS)
    page.locator(".js-plotly-plot .points path").first.wait_for(timeout=PATIENCE_MS)
    at_rest(page)


def at_rest(page: "playwright.Page") -> None:
    """Wait until no script runs and what it drew has come to its place."""
    settled(page)
    page.wait_for_timeout(500)


def click_a_mark(page: "playwright.Page", place: int = 3, chart: int = 0) -> None:
    """Click a field or point of one of the charts that have any; Plotly takes clicks on a layer above them."""
    marks = page.locator(".js-plotly-plot:has(.points path)").nth(chart).locator(".points path")
    mark = marks.nth(min(place, marks.count() - 1))
    mark.evaluate("mark => mark.scrollIntoView({block: 'center'})")  # not under the menu
    box = mark.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(500)  # Plotly takes a click on what the mouse was over before
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def choose(page: "playwright.Page", label: str, option: str, shows: str) -> None:
    """Choose from a list and wait for the words that the page shows then; how long a busy server takes is not known."""
    page.get_by_test_id("stSelectbox").filter(has_text=label).first.locator("input").click()
    page.get_by_role("option", name=option, exact=True).click()
    page.get_by_text(shows).first.wait_for(timeout=PATIENCE_MS)
    at_rest(page)


def take_figure_and_data_away(page: "playwright.Page") -> list[dict[str, str]]:
    """Download the first chart as SVG and its data as CSV, and return the data's rows."""
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
    with page.expect_download() as download:
        page.get_by_role("button", name="Data (CSV)").first.click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()))
    assert rows
    return rows


def hear_the_first_clip(page: "playwright.Page") -> None:
    """Choose the first row of the last table, until its clip can be heard."""
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
                at_rest(page)
                return
    page.locator("audio").first.wait_for(timeout=PATIENCE_MS)
