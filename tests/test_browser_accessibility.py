"""Every page in a real browser before axe-core, and the whole main path by the keyboard alone.

axe-core comes with the package axe-playwright-python. Its findings count from "serious" on, on a wide light page and on
a narrow dark one. What is Streamlit's own and cannot be reached from an app is named in ``NOT_OURS`` with the reason.
"""

import os
from importlib.resources import files
from pathlib import Path

import pytest
from browsing import IN_A_BROWSER, PATIENCE_MS, at_rest, clock, overflow, playwright, settled, visit, whole_page

from app import PAGES

axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")

pytestmark = IN_A_BROWSER

INSIDE = [(section, name, title) for section, held in PAGES.items() for name, title in held]
SCREENS = (("wide-light", 1280, 900, "light"), ("narrow-dark", 390, 844, "dark"))
# Rule of axe → the element of Streamlit's within which it cannot be mended from an app, and why.
NOT_OURS = {
    "list": ('[data-testid="stSidebarNavItems"]', "the narrow menu puts section headings straight into its list"),
    "listitem": ('[data-testid="stSidebarNavItems"]', "and its items into plain elements below them"),
}
FOUND = """async notOurs => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter(each => ['serious', 'critical'].includes(each.impact))
  .flatMap(each => each.nodes.filter(node => {
    const place = notOurs[each.id] && document.querySelector(node.target[0]);
    return !(place && place.closest(notOurs[each.id]));
  }).map(node => `${each.id} (${each.impact}) ${node.target}: ${node.html.slice(0, 200)} ${node.failureSummary}`))"""


def findings(page: "playwright.Page") -> list[str]:
    """Return axe's serious and critical findings but those that are not ours, each with where it is."""
    if not page.evaluate("'axe' in window"):
        # Not a script element, which the app's Content-Security-Policy would refuse.
        page.evaluate((files(axe) / "axe.min.js").read_text(encoding="utf-8") + "\n;undefined")
    found: list[str] = page.evaluate(FOUND, {rule: place for rule, (place, _) in NOT_OURS.items()})
    return found


def told_on_both_screens(page: "playwright.Page", name: str, folder: Path) -> list[str]:
    told = []
    for screen, width, height, theme in SCREENS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        if os.environ.get("SHOTS"):
            whole_page(page, folder / f"page-{name}-{screen}.png")
        told += [f"{name}, {screen}: {finding}" for finding in findings(page)]
        if (wider := overflow(page)) > 0:
            told.append(f"{name}, {screen}: {wider} pixels wider than the screen")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})
    return told


def test_no_page_has_a_serious_finding(browser, address, shots):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(address)
    heading, told = page.get_by_role("heading", level=1).first, []
    heading.wait_for(timeout=PATIENCE_MS)
    for section, name, title in INSIDE:
        if section:
            before = heading.inner_text()
            visit(page, section, title)
            page.wait_for_url(f"{address}/{name}")
            playwright.expect(heading).not_to_have_text(before, timeout=PATIENCE_MS)
        settled(page)
        if page.locator(".js-plotly-plot").count():  # a board is looked at with its charts drawn
            page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=PATIENCE_MS)
            at_rest(page)
        told += told_on_both_screens(page, name, shots)
    assert not told, "\n".join(told)


def tab_to(page: "playwright.Page", wanted: "playwright.Locator", most: int = 120) -> None:
    """Press Tab until the element has the focus; that it can be reached so is what is tested."""
    for _ in range(most):
        if wanted.evaluate("(e, at = document.activeElement) => e === at || e.getRootNode().activeElement === e"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} cannot be reached by Tab")


def test_from_a_sample_to_the_report_by_keyboard_alone_without_a_finding(browser, address, shots):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    sample = page.get_by_role("button", name="Explain this clip").first
    sample.wait_for()
    settled(page)
    tab_to(page, sample)
    page.keyboard.press("Enter")
    page.locator(".viewer canvas").wait_for()
    report = page.get_by_role("button", name="Report (PDF)")
    report.wait_for()
    settled(page)

    play = page.get_by_role("button", name="Play the clip")
    tab_to(page, play)
    before = clock(page)
    page.keyboard.press("Enter")
    page.wait_for_timeout(600)
    assert clock(page) > before
    page.locator(".viewer audio").evaluate("audio => audio.pause()")
    region = page.locator(".viewer .regions button").first
    tab_to(page, region)
    page.keyboard.press("Enter")
    page.locator("th.picked").filter(has_text="Region 1").wait_for()
    settled(page)
    assert page.get_by_text("not a medical device").count() >= 1
    told = told_on_both_screens(page, "explained", shots)
    assert not told, "\n".join(told)

    settled(page)
    tab_to(page, report)
    with page.expect_download() as caught:
        page.keyboard.press("Enter")
    assert Path(caught.value.path()).read_bytes().startswith(b"%PDF")
