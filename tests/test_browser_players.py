"""The linked view and the player of several takes by themselves, in a real browser without a server."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import IN_A_BROWSER, playwright
from explanations import example_explanation

from pages.parts import switch_player, viewer
from pages.parts.sound import files

pytestmark = IN_A_BROWSER

EXPLANATION = example_explanation()
MOUNTED = """async ({html, css, js, data}) => {
  const host = document.createElement("div");
  document.body.append(host);
  const root = host.attachShadow({mode: "open"});
  root.innerHTML = `<style>${css}</style>${html}`;
  const { default: draw } = await import(URL.createObjectURL(new Blob([js], {type: "text/javascript"})));
  const sent = [];
  const again = (more = {}) => draw(
    {data: {...data, ...more}, parentElement: root, setStateValue: (name, value) => sent.push(value)});
  (window.mounted ??= []).push({root, sent, again, away: again()});
}"""


@pytest.fixture
def page(browser) -> "Iterator[playwright.Page]":
    shown = browser.new_context(viewport={"width": 900, "height": 900}).new_page()
    yield shown
    shown.context.close()


def mount(page: "playwright.Page", component: dict[str, str], data: dict[str, Any]) -> None:
    page.evaluate(MOUNTED, component | {"data": data})
    page.wait_for_timeout(300)


def mount_viewer(page: "playwright.Page") -> None:
    given = {"id": "a", "clip": "c", "selection": None}
    mount(page, files("viewer", "viewer"), viewer.view_data(EXPLANATION) | given)


def mount_takes(page: "playwright.Page") -> None:
    take = switch_player.Take("The whole clip", "As it is.", EXPLANATION.recording)
    mount(page, files("switch_player", "player"), switch_player.data_of([take, take], "a"))


def sounding(page: "playwright.Page") -> list[bool]:
    """Return for each mounted player whether its button offers to pause."""
    return page.evaluate("mounted.map(({root}) => root.querySelector('.play').getAttribute('aria-label') === 'Pause')")


def test_a_redraw_that_was_overtaken_leaves_the_view_alive(page) -> None:
    mount_viewer(page)
    # Streamlit calls for the clean-up of a drawing that a later one has overtaken after that one has drawn.
    page.evaluate("() => { const stale = mounted[0].again(); mounted[0].away = mounted[0].again(); stale(); }")
    page.locator(".viewer .play").click()
    page.wait_for_timeout(500)
    assert float(page.locator(".viewer .clock").inner_text().split("/")[0]) > 0.1
    page.evaluate("() => mounted[0].away()")
    assert page.locator(".viewer audio").evaluate("audio => audio.paused")


def test_an_overtaken_redraw_leaves_the_takes_playing(page) -> None:
    mount_takes(page)
    page.locator(".switch .play").click()
    page.evaluate("() => { const stale = mounted[0].again(); mounted[0].away = mounted[0].again(); stale(); }")
    page.wait_for_timeout(600)
    assert float(page.locator(".switch .clock").inner_text().split("/")[0]) > 0.3


def test_what_begins_to_play_stops_what_played(page) -> None:
    mount_viewer(page)
    mount_takes(page)
    page.evaluate(
        """() => { const own = document.createElement("audio");
        own.src = mounted[0].root.querySelector("audio").src; document.body.append(own); }"""
    )
    page.locator(".viewer .play").click()
    page.wait_for_timeout(200)
    page.locator(".switch .play").click()
    page.wait_for_timeout(200)
    assert sounding(page) == [False, True]
    page.evaluate("document.querySelector('body > audio').play()")
    page.wait_for_timeout(200)
    assert sounding(page) == [False, False]
    page.locator(".viewer .play").click()
    page.wait_for_timeout(200)
    assert sounding(page) == [True, False]
    assert page.evaluate("document.querySelector('body > audio').paused")


def test_what_is_typed_for_a_stretch_stays_when_the_view_is_drawn_again(page) -> None:
    mount_viewer(page)
    start = page.locator(".stretch input[name=from]")
    start.fill("0.5")
    page.keyboard.press("Enter")
    assert page.evaluate("mounted[0].sent.at(-1).start_s") == 0.5
    start.fill("0.8")
    page.get_by_label("Formants").uncheck()
    page.evaluate("() => { mounted[0].away = mounted[0].again(); }")
    page.set_viewport_size({"width": 700, "height": 500})
    page.wait_for_timeout(200)
    assert start.input_value() == "0.8"


@pytest.mark.parametrize(
    ("key", "moved"),
    [("ArrowUp", 0.05), ("ArrowRight", 0.05), ("Shift+ArrowUp", 0.5), ("Alt+ArrowRight", 0), ("Control+ArrowRight", 0)],
)
def test_every_arrow_moves_and_the_browsers_own_keys_stay_its_own(page, key: str, moved: float) -> None:
    mount_viewer(page)
    page.locator(".viewer .figure").focus()
    page.keyboard.press(key)
    page.wait_for_timeout(100)
    assert page.locator(".viewer audio").evaluate("audio => audio.currentTime") == pytest.approx(moved, abs=0.005)


def test_a_stretch_ends_where_it_should_while_the_page_is_hidden(page) -> None:
    page.evaluate("() => { window.requestAnimationFrame = () => 0; }")  # as a browser does with a page behind others
    mount_viewer(page)
    page.evaluate(
        "() => { for (const [name, value] of [['from', 0.2], ['to', 0.6]]) "
        "mounted[0].root.querySelector(`.stretch input[name=${name}]`).value = value; }"
    )
    page.get_by_role("button", name="Hear and measure").click()
    page.wait_for_timeout(1800)
    audio = page.locator(".viewer audio")
    assert audio.evaluate("audio => audio.paused")
    assert audio.evaluate("audio => audio.currentTime") == pytest.approx(0.6, abs=0.005)


def test_a_position_is_not_told_to_a_screen_reader_over_the_voice_that_plays(page) -> None:
    mount_viewer(page)
    figure = page.locator(".viewer .figure")
    assert figure.get_attribute("aria-valuetext") == "0.00 seconds"
    page.locator(".viewer .play").click()
    page.wait_for_timeout(500)
    assert figure.get_attribute("aria-valuetext") == "0.00 seconds"
    page.locator(".viewer .play").click()
    page.wait_for_timeout(200)
    now = page.locator(".viewer audio").evaluate("audio => audio.currentTime")
    assert now > 0.2 and figure.get_attribute("aria-valuetext") == f"{now:.2f} seconds"


def test_two_fingers_zoom_and_choose_nothing(page) -> None:
    mount_viewer(page)
    figure = page.locator(".viewer .figure")
    assert "pinch-zoom" in figure.evaluate("figure => getComputedStyle(figure).touchAction")
    page.evaluate(
        """() => { const figure = mounted[0].root.querySelector(".figure");
        const box = figure.getBoundingClientRect();
        const send = (kind, id, x) => figure.dispatchEvent(new PointerEvent(kind, {pointerId: id, isPrimary: id === 1,
          pointerType: "touch", bubbles: true, clientX: box.left + x, clientY: box.top + 40}));
        figure.setPointerCapture = () => undefined;
        send("pointerdown", 1, 200); send("pointerdown", 2, 400);
        send("pointermove", 2, 600); send("pointerup", 2, 600); send("pointercancel", 1, 200); }"""
    )
    assert page.evaluate("mounted[0].sent") == []
    assert page.locator(".viewer .own").is_hidden()


def test_no_name_on_the_picture_hides_another(page) -> None:
    page.evaluate(
        """() => { window.written = []; const write = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
          written.push({text: String(text), x, y, width: this.measureText(text).width});
          return write.call(this, text, x, y); }; }"""
    )
    near = tuple(
        dataclasses.replace(EXPLANATION.regions[0], rank=rank, start_s=0.3 + rank / 100, end_s=0.5)
        for rank in (1, 2, 3, 4)
    )
    data = viewer.view_data(dataclasses.replace(EXPLANATION, regions=near))
    mount(page, files("viewer", "viewer"), data | {"id": "a", "clip": "c", "selection": None})
    page.evaluate("() => { written.length = 0; mounted[0].again({id: 'b'}); }")
    tags = [each for each in page.evaluate("written") if each["text"] in ("1", "2", "3", "4", "F1", "F2", "F3")]
    tags = [each for each in tags if each["x"] > 50]  # not the scale at the left
    assert {each["text"] for each in tags} >= {"1", "2", "3", "4", "F1", "F2"}
    for one, other in itertools.combinations(tags, 2):
        assert (
            abs(one["y"] - other["y"]) >= 16
            or one["x"] + one["width"] <= other["x"]
            or other["x"] + other["width"] <= one["x"]
        )


def test_a_region_has_the_same_ends_in_the_view_and_in_the_tables(page) -> None:
    ends = [(0.025, 0.375), (0.125, 0.625), (0.335, 0.345), (0.875, 1.125)]
    regions = tuple(
        dataclasses.replace(EXPLANATION.regions[0], rank=rank, start_s=start, end_s=end)
        for rank, (start, end) in enumerate(ends, start=1)
    )
    data = viewer.view_data(dataclasses.replace(EXPLANATION, regions=regions))
    mount(page, files("viewer", "viewer"), data | {"id": "a", "clip": "c", "selection": None})
    drawn = page.locator(".viewer .regions button").all_inner_texts()
    assert len(drawn) == len(ends)
    for words, (start, end) in zip(drawn, ends, strict=True):
        assert f"{start:.2f}–{end:.2f} s" in words
