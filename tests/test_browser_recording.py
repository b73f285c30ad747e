"""A recording of half an hour in a real browser: the first stretches within seconds, one opened, the rest stopped."""

import io
import re
import time
from pathlib import Path

import numpy as np
import soundfile as sf
from bad_inputs import voice
from browsing import CREMA_D, IN_A_BROWSER, PATIENCE_MS, Watch, overflow, playwright, visit, whole_page

pytestmark = IN_A_BROWSER
MINUTES = 30


def half_an_hour() -> bytes:
    """Two voices by turns: real ones where they are beside the checkout, synthetic ones elsewhere."""
    real = sorted(CREMA_D.rglob("100[19]_*_NEU_*.*"))
    if real:
        from ser_core.audio import read

        parts = [read(path).samples for pair in zip(real[:6], real[-6:], strict=True) for path in pair]
    else:
        parts = [voice(3.0), voice(2.0)]
    gap = np.zeros(8000, np.float32)
    turn = np.concatenate([piece for part in parts for piece in (part, gap)])
    samples = np.resize(turn, MINUTES * 60 * 16_000)
    out = io.BytesIO()
    sf.write(out, samples, 16_000, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def to_recordings(page: "playwright.Page") -> None:
    """Choose the page in the menu."""
    visit(page, "More speech", "Long recording")


def test_half_an_hour_shows_its_first_stretches_at_once_and_opens_one(browser, address, shots: Path, tmp_path) -> None:
    file = tmp_path / "session.flac"  # a buffer would take a quarter of a minute to reach the browser
    file.write_bytes(half_an_hour())
    page = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light").new_page()
    watch = Watch(page, address)
    page.goto(address)
    # The first model is loaded when the first page stands.
    page.get_by_role("button", name="Explain this clip").first.wait_for(timeout=PATIENCE_MS)
    to_recordings(page)
    page.get_by_text(re.compile("At most 65 minutes")).wait_for(timeout=PATIENCE_MS)
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text(re.compile("^session")).wait_for(timeout=PATIENCE_MS)
    taken = time.monotonic()
    page.get_by_role("rowheader", name="Voice 1").wait_for(timeout=PATIENCE_MS)
    waited = time.monotonic() - taken
    print(f"first stretch {waited:.1f} s after the recording was taken")
    assert waited < 20  # aimed at 3 s on idle cores; here others work as well
    page.locator(".js-plotly-plot").first.wait_for(timeout=PATIENCE_MS)
    page.screenshot(path=shots / "recording-light-1280.png")

    page.get_by_role("button", name="Stop here").click()
    page.get_by_role("heading", name="Take it away").wait_for(timeout=PATIENCE_MS)
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    page.mouse.click(box["x"] + 15, box["y"] + 38 + 17)
    page.get_by_role("button", name="Explain this stretch").wait_for(timeout=PATIENCE_MS)
    whole_page(page, shots / "recording-opened-light-1280.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    assert overflow(page) <= 0
    whole_page(page, shots / "recording-opened-light-390.png")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_text(re.compile("otherwise than alone")).wait_for(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Explain this stretch").click()
    page.get_by_text(re.compile("minute 0:0")).wait_for(timeout=PATIENCE_MS)
    page.get_by_text(re.compile("adapted to \\d+ clips of this speaker answers")).first.wait_for(timeout=PATIENCE_MS)
    to_recordings(page)
    page.get_by_role("button", name="Forget this recording").click()
    page.get_by_text(re.compile("At most 65 minutes")).wait_for(timeout=PATIENCE_MS)
    playwright.expect(page.get_by_test_id("stDataFrame")).to_have_count(0, timeout=PATIENCE_MS)
    assert watch.foreign == []
    assert watch.faults == []
