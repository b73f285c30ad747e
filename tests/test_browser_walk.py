"""One walk through the app in a real browser: explain, trust, experiment, listen, contrast, compare, report.

Screenshots go to the folder named by SHOTS, or to pytest's own temporary folder.
"""

import io
import re
from pathlib import Path

import pytest
from bad_inputs import voice, wav
from browsing import IN_A_BROWSER, PATIENCE_MS, Watch, overflow, playwright, settled, upload, visit, whole_page

pytestmark = IN_A_BROWSER


def pressed(page: "playwright.Page", name: str | re.Pattern) -> None:
    """Press a button of that name once the page is at rest, so that no click is lost in a redraw."""
    settled(page)
    page.get_by_role("button", name=name, exact=isinstance(name, str)).click(timeout=PATIENCE_MS)


def choose(page: "playwright.Page", box: str, option: str) -> None:
    """Choose from a list; again where the page was just redrawn, which closes an open list."""
    for _ in range(6):
        settled(page)
        page.get_by_role("combobox", name=re.compile(box)).click()
        try:
            page.get_by_role("option", name=option).click(timeout=4000)
        except playwright.TimeoutError:
            continue
        return
    raise AssertionError(f"{option} could not be chosen")


def test_a_reader_explains_tests_experiments_listens_compares_and_takes_the_report_away(
    browser,
    address,
    shots,
):
    page = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light").new_page()
    page.set_default_timeout(PATIENCE_MS)
    watch = Watch(page, address)
    page.goto(address)
    page.get_by_role("button", name="Explain this clip").first.wait_for()
    settled(page)
    upload(page, ("<img src=x onerror=window.pressed=1><b>[voice](x).wav", wav(voice(1.5))))
    page.get_by_text("<img src=x onerror=window.pressed=1><b>[voice](x).wav").first.wait_for()
    assert page.evaluate("window.pressed") is None
    playwright.expect(page.get_by_role("button", name="Explain this clip")).to_have_count(0)

    # A small network, whose tests take seconds.
    choose(page, "Model", "Log-mel ResNet")
    page.get_by_text(re.compile("Log-mel ResNet answers")).first.wait_for()
    page.get_by_role("button", name="Report (PDF)").wait_for()
    pressed(page, "Test this explanation")
    page.locator("th").filter(has_text="deletion").wait_for()
    page.locator("th").filter(has_text="stability under re-encoding").wait_for()
    # The page is drawn once more when the last test is done, which would close an open list.
    page.get_by_role("button", name="Stop").wait_for(state="hidden")
    settled(page)
    verdict = page.locator("p.paragraph .verdict").first.inner_text()
    assert re.search("holds|weak|fails", verdict)

    choose(page, "Change", "Loudness")
    pressed(page, "Run")
    page.get_by_text("Hear a dose").wait_for()
    page.get_by_role("button", name="Stop").wait_for(state="hidden")
    playwright.expect(page.locator("th").filter(has_text="Loudness +6.0 dB")).to_have_count(1)

    pressed(page, "Cut the clip in two")
    takes = page.locator(".switch .takes button")
    takes.nth(2).wait_for()
    assert ["The model answers" in words for words in takes.all_inner_texts()] == [True] * 3
    page.locator(".switch .seek").fill("0.7")
    takes.nth(1).click()
    playwright.expect(takes.nth(1)).to_have_attribute("aria-checked", "true")
    # The cursor stays where it was when another take is chosen.
    assert page.locator(".switch .clock").inner_text().startswith("0.70")
    page.locator(".switch .play").click()
    page.wait_for_timeout(400)
    assert float(page.locator(".switch .clock").inner_text().split("/")[0]) > 0.75
    page.locator(".switch .play").click()

    pressed(page, re.compile("^Explain .* rather than "))
    page.get_by_text(re.compile("^Orange speaks for ")).wait_for()
    playwright.expect(page.get_by_role("heading", name=re.compile(r"^Why .* and not .*\?$"))).to_have_count(1)
    settled(page)
    whole_page(page, shots / "walk-explain-light-1280.png")

    visit(page, "More speech", "Compare")
    page.get_by_text("What to compare").wait_for()
    page.get_by_role("radio", name="Methods").click()
    page.get_by_text(re.compile("^Methods that sample")).wait_for()
    pressed(page, "Compare")
    page.get_by_role("heading", name="Cues side by side").wait_for()
    settled(page)
    said = page.get_by_text(re.compile("Their maps are (alike beyond|no more alike than) chance"))
    playwright.expect(said).to_have_count(1)
    whole_page(page, shots / "walk-compare-light-1280.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    assert overflow(page) <= 0
    page.set_viewport_size({"width": 1280, "height": 900})

    page.get_by_role("link", name="Explain a clip").click()
    # The model that was chosen before is still chosen, and what was opened is still there.
    page.get_by_text(re.compile("^The report holds .*voice experiment")).wait_for()
    settled(page)
    with page.expect_download() as caught:
        page.get_by_role("button", name="Report (PDF)").click()
    pypdf = pytest.importorskip("pypdf")
    pages = pypdf.PdfReader(io.BytesIO(Path(caught.value.path()).read_bytes())).pages
    text = " ".join(part.extract_text() for part in pages)
    for words in ("Loudness", "deletion", "and not"):
        assert words.lower() in text.lower()
    assert watch.foreign == []
    assert watch.faults == []
