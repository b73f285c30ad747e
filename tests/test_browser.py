"""The app in a real browser, as a reader uses it: upload, listen, select, take the report away.

Screenshots go to the folder named by SHOTS, or to pytest's own temporary folder.
"""

import io
import re
from pathlib import Path

import pytest
from bad_inputs import voice, wav
from browsing import CREMA_D, IN_A_BROWSER, PATIENCE_MS, Watch, clock, overflow, playwright, upload, visit, whole_page

pytestmark = IN_A_BROWSER


@pytest.fixture
def clip() -> tuple[str, bytes]:
    """A real clip where there is one beside the checkout, a synthetic voice elsewhere."""
    real = sorted(CREMA_D.rglob("*_ANG_*.*"))
    return (real[0].name, real[0].read_bytes()) if real else ("voice.wav", wav(voice(3.0)))


def test_a_clip_is_uploaded_explained_played_selected_and_taken_away(browser, address, clip, shots):
    page = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light").new_page()
    watch = Watch(page, address)
    response = page.goto(address)
    assert "default-src 'self'" in response.headers["content-security-policy"]
    page.get_by_role("button", name="Explain this clip").first.wait_for(timeout=PATIENCE_MS)
    page.screenshot(path=shots / "landing-light-1280.png")

    upload(page, clip)
    page.get_by_role("combobox").nth(1).click()
    page.get_by_role("option", name="Occlusion").click()
    # The view of the method before makes way for the bar at once, so no click on it can be lost.
    page.get_by_text(re.compile("come when this is done")).wait_for(timeout=PATIENCE_MS)
    playwright.expect(page.locator(".viewer")).to_have_count(0)
    page.get_by_text(re.compile("^Occlusion for ")).wait_for(timeout=PATIENCE_MS)
    page.locator(".viewer .regions button").first.wait_for(timeout=PATIENCE_MS)
    playwright.expect(page.locator(".viewer")).to_have_count(1, timeout=PATIENCE_MS)
    page.locator('[data-test-script-state="notRunning"]').wait_for(timeout=PATIENCE_MS)
    heading = page.get_by_role("heading", name=re.compile("^Why [^?]+$")).inner_text()
    emotion = heading.removeprefix("Why ")

    before = clock(page)
    page.get_by_role("button", name="Play the clip").click()
    page.wait_for_timeout(700)
    assert clock(page) > before + 0.2
    moved = page.locator(".viewer .cursor").evaluate("e => new DOMMatrix(getComputedStyle(e).transform).m41")
    # A click on Pause could come after the end of a short clip where the machine is busy.
    page.locator(".viewer audio").evaluate("audio => audio.pause()")

    region = page.locator(".viewer .regions button").first
    start, end = map(float, re.search(r"([\d.]+)–([\d.]+) s", region.inner_text()).groups())
    region.click()
    page.locator("th.picked").filter(has_text="Region 1").wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(int(1000 * (end - start)) + 500)
    assert clock(page) == pytest.approx(end, abs=0.02)
    assert region.get_attribute("aria-pressed") == "true"
    now = page.locator(".viewer .cursor").evaluate("e => new DOMMatrix(getComputedStyle(e).transform).m41")
    assert moved != now
    whole_page(page, shots / "explained-light-1280.png")

    page.locator(".viewer .figure").scroll_into_view_if_needed()
    canvas = page.locator(".viewer canvas").bounding_box()
    page.mouse.move(canvas["x"] + 300, canvas["y"] + canvas["height"] - 200)
    page.mouse.down()
    page.mouse.move(canvas["x"] + 500, canvas["y"] + canvas["height"] - 100, steps=5)
    page.mouse.up()
    page.locator("th.picked").filter(has_text="Your box").wait_for(timeout=PATIENCE_MS)
    low, high = (float(page.locator(f".stretch input[name={name}]").input_value()) for name in ("low", "high"))
    assert 0 < low < high < 8000
    said = page.get_by_text(re.compile("^Your box, ")).inner_text()
    assert f"{low:.0f} to {high:.0f} Hz" in said and "% of the evidence" in said
    # The same by keyboard: four fields.
    for name, value in (("from", "0.5"), ("to", "1"), ("low", "1000"), ("high", "3000")):
        page.locator(f".stretch input[name={name}]").fill(value)
    page.keyboard.press("Enter")
    page.get_by_text("Your box, 0.50 to 1.00 s, 1000 to 3000 Hz").wait_for(timeout=PATIENCE_MS)
    page.locator(".viewer").screenshot(path=shots / "box-light-1280.png")

    with page.expect_download(timeout=PATIENCE_MS) as caught:
        page.get_by_role("button", name="Report (PDF)").click()
    pypdf = pytest.importorskip("pypdf")
    pages = pypdf.PdfReader(io.BytesIO(Path(caught.value.path()).read_bytes())).pages
    text = " ".join(part.extract_text() for part in pages)
    for words in (emotion, "Pitch level", "Jitter", "Harmonics-to-noise"):
        assert words in text

    for title in ("Models", "About"):
        visit(page, title, title)
        page.get_by_role("heading", name=title, exact=True).wait_for(timeout=PATIENCE_MS)
        whole_page(page, shots / f"{title.lower()}-light-1280.png")
    assert watch.foreign == []
    assert watch.faults == []


def test_on_a_dark_phone_keys_and_a_dragged_stretch_work_and_nothing_is_wider_than_the_screen(
    browser, address, clip, shots
):
    page = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark").new_page()
    watch = Watch(page, address)
    page.goto(address)
    page.get_by_role("button", name="Explain this clip").first.wait_for(timeout=PATIENCE_MS)
    page.screenshot(path=shots / "landing-dark-390.png")
    assert overflow(page) <= 0
    upload(page, clip)
    assert overflow(page) <= 0

    figure = page.locator(".viewer .figure")
    figure.focus()
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert clock(page) == pytest.approx(0.2, abs=0.01)
    page.keyboard.press(" ")
    page.wait_for_timeout(500)
    page.keyboard.press(" ")
    assert clock(page) > 0.3

    box = figure.bounding_box()
    page.mouse.move(box["x"] + 120, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 45, steps=5)
    page.mouse.up()
    page.locator("th.picked").filter(has_text="Your stretch").wait_for(timeout=PATIENCE_MS)
    start, end = (float(page.locator(f".stretch input[name={name}]").input_value()) for name in ("from", "to"))
    assert end > start
    whole_page(page, shots / "explained-dark-390.png")
    assert watch.foreign == []
    assert watch.faults == []


def test_the_model_hears_the_persons_other_clips_first_and_the_panel_stays_open(browser, address, shots):
    page = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark").new_page()
    watch = Watch(page, address)
    page.goto(address)
    page.get_by_role("button", name="Explain this clip").first.wait_for(timeout=PATIENCE_MS)
    upload(page, ("voice.wav", wav(voice(2.0))))
    others = [
        {"name": f"{seconds}.wav", "mimeType": "audio/wav", "buffer": wav(voice(seconds))} for seconds in (1.5, 1.8)
    ]
    page.get_by_text("Set against the same person’s other clips").click()
    panel = page.get_by_test_id("stExpander").filter(has_text="Set against the same person’s other clips")
    panel.locator("input[type=file]").set_input_files(others)
    # Visible, as what stands above the panel does not close it.
    page.get_by_text("Having heard 2 other clips of this person").wait_for(timeout=PATIENCE_MS)
    page.get_by_text("Hear this voice first (2 other clips of the person)").click()
    page.get_by_text(re.compile("adapted to 3 clips of this speaker answers")).first.wait_for(timeout=PATIENCE_MS)
    page.locator(".viewer canvas").wait_for(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Report (PDF)").wait_for(timeout=PATIENCE_MS)
    assert overflow(page) <= 0
    whole_page(page, shots / "heard-first-dark-390.png")
    assert watch.foreign == []
    assert watch.faults == []
