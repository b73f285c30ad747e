"""Every bundled model answers and is explained on an uploaded clip in the page itself, with nothing stood in for."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from explain.explanation import Explanation
from pages.parts import work
from ser_core.registry import cards
from ser_core.settings import ASSETS, ROOT

CARDS = {card.name: card for card in cards()}
CLIP = ASSETS / "samples" / "like_anger.flac"


def wav(path: Path) -> bytes:
    samples, rate = soundfile.read(path)
    held = io.BytesIO()
    soundfile.write(held, samples, rate, format="WAV")
    return held.getvalue()


@pytest.mark.parametrize("name", CARDS)
def test_an_uploaded_clip_is_answered_and_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # AppTest takes a folder named pages for the old way of making menus, and would run a page without app.py.
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", type("Navigated", (PagesManager,), {}))
    made: list[Explanation] = []
    explain = work.explain
    monkeypatch.setattr(work, "explain", lambda *given, **named: made.append(explain(*given, **named)) or made[-1])
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120)
    app.session_state["model"] = name
    app.run()
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("mine.wav", wav(CLIP)).run()
    assert not app.exception and not app.error
    (found,) = made
    assert found.card.name.split(" ")[0] == name  # MATER is called by the words as well
    assert found.attribution.target.emotion in CARDS[name].emotions
    assert np.isfinite(found.attribution.relevance).all() and np.abs(found.attribution.relevance).max() > 0
    assert found.cues
    words = " ".join(each.proto.body for each in app.get("html")) + " ".join(each.value for each in app.markdown)
    assert "mine" in words and found.attribution.target.name in words
    assert len(app.get("download_button")) >= 4  # report, cues, regions, everything
