"""The page that opens a report again, and the files that hold what was opened."""

import io
import json
import time
from typing import Any

import numpy as np
import pytest
from explanations import example_explanation
from opened import example_opened
from streamlit.testing.v1 import AppTest

import ser_core.registry
from explain import export_json, report
from explain.explanation import explain
from explain.opened import Opened
from explain.trust import trust
from pages.parts import exports
from ser_core.audio import decode
from tests.bad_inputs import wav
from tests.planted import burst_model, clip


def page() -> None:
    import runpy

    from pages.parts.faults import in_plain_words
    from ser_core.settings import ROOT

    with in_plain_words():
        runpy.run_path(str(ROOT / "pages" / "reopen.py"))


def upload(app: AppTest, label: str, name: str, data: bytes) -> AppTest:
    next(each for each in app.file_uploader if label in each.label).upload(name, data)
    return app.run(timeout=120)


def said(app: AppTest) -> str:
    parts = [each.proto.body for each in app.get("html")]
    for kind in ("caption", "markdown", "header", "success", "warning", "error", "info"):
        parts += [each.value for each in getattr(app, kind)]
    return " ".join(parts)


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_function(page).run(timeout=120)


def test_a_report_shows_its_answer_its_cues_and_all_that_was_opened(app: AppTest) -> None:
    upload(app, "report", "report.pdf", report.pdf(example_explanation(), opened=example_opened()))
    assert not app.exception
    found = said(app)
    for part in (
        r"clip\_0042\.wav",
        example_explanation().paragraph[:60],
        "Can this explanation be trusted?",
        "What if the voice were different?",
        "turns anger into disgust",
        "Comparison of two models",
        "Both answer anger.",
        "is not at hand",
        "speech can be rebuilt",
    ):
        assert part in found, part
    # One experiment builds the clip anew, the other makes it louder.
    assert found.count("is the resynthesis itself") == 1
    # No sound is offered, as none is stored.
    assert not app.get("audio") and not app.select_slider
    app.button[0].click().run(timeout=120)
    assert [each.label for each in app.file_uploader] == ["A report of SERscope (PDF or JSON, up to 50 MB)"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("letter.pdf", b"%PDF-1.7\n%%EOF", "cannot be read"),
        ("other.json", b"{}", "not an explanation written by SERscope"),
    ],
)
def test_another_file_gets_one_clear_sentence(app: AppTest, name: str, data: bytes, words: str) -> None:
    upload(app, "report", name, data)
    assert not app.exception
    assert [words in each.value for each in app.error] == [True]
    assert app.file_uploader


def test_no_name_in_a_report_becomes_a_link_or_a_heading(app: AppTest) -> None:
    hostile = example_explanation(hostile="[press](http://evil.example) # ")
    upload(app, "report", "report.json", export_json.to_json(hostile).encode())
    assert not app.exception
    drawn = [each.value for kind in ("caption", "markdown", "header", "info") for each in getattr(app, kind)]
    assert any("evil" in text for text in drawn) and not any("](http" in text for text in drawn)


def test_with_the_audio_the_page_says_that_every_figure_is_the_same(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ser_core.registry, "model_names", lambda: ("burst",))
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: burst_model())
    data, other = (wav(clip(np.random.default_rng(seed), "low")[0]) for seed in (3, 4))
    sound = decode(data, "mine.wav")
    found = explain(sound, burst_model(), "integrated_gradients")
    tested = trust(burst_model(), sound, found.attribution, found.speech, regions=found.regions, quick=True)
    stored = export_json.to_json(found, opened=Opened(tested)).encode()
    upload(app, "report", "report.json", stored)
    upload(app, "speech", "other.wav", other)
    assert "another recording" in said(app)
    upload(app, "speech", "mine.wav", data)
    for _ in range(600):
        if all(job.done for job in app.session_state["jobs"].values()):
            break
        time.sleep(0.1)
    app.run(timeout=120)
    assert not app.exception
    assert "figures are the stored ones, bit for bit" in said(app)
    assert "trust tests" in said(app) and "all the same" in said(app)
    # With the report goes the voice: without a report the page offers no button that would delete it.
    next(each for each in app.button if each.label == "Close this report").click().run(timeout=120)
    assert not app.exception and not app.session_state["jobs"]


def files_page() -> None:
    import streamlit as st

    from pages.parts import exports
    from tests.test_reopen_page import given

    found, jobs = given()
    st.session_state["jobs"] = jobs
    exports.show(found)


def given() -> tuple[Any, dict]:
    from concurrent.futures import Future

    from pages.parts import background, work

    found, opened = example_explanation(), example_opened()
    key = work.map_identity(found)
    jobs = {}
    for name, result in (
        (("trust", key), opened.trust),
        (("experiment", key, "pitch_level", None, None), opened.experiments[0]),
        (("experiment", "another", "loudness", None, None), opened.experiments[1]),
    ):
        future: Future = Future()
        future.set_result(result)
        jobs[name] = background.Job(future=future)
    return found, jobs


def test_the_files_hold_what_was_opened_for_this_explanation_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppTest.from_function(files_page).run(timeout=120)
    assert not app.exception
    labels = [each.proto.label for each in app.get("download_button")]
    assert labels[-2:] == ["Trust tests (CSV)", "Voice experiments (CSV)"]
    assert "the trust tests and 1 voice experiment" in said(app)
    import streamlit as st

    found, jobs = given()
    monkeypatch.setattr(st, "session_state", {"jobs": jobs})
    opened = exports.gathered(found)
    assert opened.trust is not None and [each.experiment.name for each in opened.experiments] == ["pitch_level"]
    assert json.loads(export_json.to_json(found, opened=opened))["opened"]["trust"]["tests"][0]["name"] == "deletion"
    assert io.BytesIO(report.pdf(found, opened=opened)).read(5) == b"%PDF-"
