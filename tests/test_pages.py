"""The pages as a reader meets them, with the model and the measuring replaced by an example explanation."""

import dataclasses
import logging
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import streamlit as st
from bad_inputs import BAD_INPUTS, voice, wav
from explanations import HOSTILE_NAMES, example_explanation
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.testing.v1 import AppTest, app_test

import explain.attribution
import explain.samples
import ser_core.registry
from explain.attribution import Method
from explain.explanation import Explanation
from pages.parts import answer, cards, room, tables, viewer, work
from ser_core.errors import ExplanationError
from ser_core.settings import ROOT

EXAMPLE = example_explanation()
METHODS = {
    "integrated_gradients": Method("integrated_gradients", "Integrated Gradients", "Shares.", "time_frequency"),
    "occlusion": Method("occlusion", "Occlusion", "Drops.", "time"),
    "feature_ablation": Method("feature_ablation", "Feature ablation", "Drops.", "features"),
}


class Core:
    """Stands for everything behind the pages and counts what it was asked."""

    def __init__(self) -> None:
        self.explained: list[tuple] = []
        self.remeasured: list[tuple] = []
        self.fault: Exception | None = None

    def model(self) -> SimpleNamespace:
        return SimpleNamespace(
            name=EXAMPLE.card.name,
            card=EXAMPLE.card,
            emotions=EXAMPLE.card.emotions,
            axes=SimpleNamespace(kind="log_mel"),
            class_means=None,
            predict=lambda recording: EXAMPLE.prediction,
        )

    def explain(self, recording, model, method, target, settings, *, region_rule, progress, answer) -> Explanation:
        assert answer is EXAMPLE.prediction  # the page has it already
        self.explained.append((recording.sha256, method, target, region_rule))
        progress(0.5, "Attribution")
        if self.fault:
            raise self.fault
        made = example_explanation(axes=METHODS[method].axes, against=target.against)
        return dataclasses.replace(made, recording=recording)

    def remeasure(self, explanation, settings=None, regions=None) -> Explanation:
        self.remeasured.append((settings, regions))
        return explanation


@pytest.fixture
def core(monkeypatch, tmp_path) -> Iterator[Core]:
    core = Core()
    clip = tmp_path / "neutral.wav"
    soundfile.write(clip, voice(), 16_000)
    sample = SimpleNamespace(name="neutral", title="Synthetic voice: neutral", path=clip, note="As it is.", planted=())
    monkeypatch.setattr(explain.samples, "samples", lambda: (sample,))
    monkeypatch.setattr(ser_core.registry, "model_names", lambda: (EXAMPLE.card.name,))
    monkeypatch.setattr(ser_core.registry, "cards", lambda: (EXAMPLE.card,))
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: core.model())
    monkeypatch.setattr(explain.attribution, "methods_for", lambda model: tuple(METHODS.values()))
    monkeypatch.setattr(work, "explain", core.explain)
    monkeypatch.setattr(work, "remeasure", core.remeasure)
    monkeypatch.setattr(work, "summarise", lambda tracks, recording, regions, quality: EXAMPLE.cues)
    yield core
    st.cache_data.clear()  # the titles of these models


@pytest.fixture
def app(monkeypatch) -> AppTest:
    # AppTest takes a folder named pages for the old way of making menus, and would run a page without app.py.
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", type("Navigated", (PagesManager,), {}))
    return AppTest.from_file(ROOT / "app.py", default_timeout=30).run()


def with_sample(app: AppTest) -> AppTest:
    return app.button(key="sample-neutral").click().run()


def text_of(app: AppTest) -> str:
    parts = [e.value for kind in (app.markdown, app.caption, app.error, app.header, app.title) for e in kind]
    return "\n".join([*parts, *(e.proto.body for e in app.get("html"))])


def sentences(app: AppTest) -> list[str]:
    return [error.value.replace("\\", "") for error in app.error]


# ------------------------------------------------------------------------------------------------------------- the flow


def test_about_says_what_the_code_does():
    from explain.attribution import _METHODS
    from explain.magnitudes import HIGH_F0_HZ

    about = " ".join((ROOT / "assets" / "about.md").read_text(encoding="utf-8").split())
    assert f"above about {HIGH_F0_HZ:.0f} Hz for F1" in about
    assert all(method.label in about for method in _METHODS.values())
    # The page has the language told by itself (tests/test_domain.py), and one bundled model is not of English alone.
    assert "when you ask for it" not in about
    other = [card.name for card in ser_core.registry.cards() if "Trained on acted English" not in " ".join(card.limits)]
    assert other == ["emosphere-emotale"] and "Danish and English" in about


@pytest.mark.parametrize(
    "page", ["pages/explain.py", "pages/compare.py", "pages/models.py", "pages/results.py", "pages/about.py"]
)
def test_every_page_opens_without_a_fault(core, app, page):
    app.switch_page(page).run()
    assert not app.exception and not app.error
    assert len(text_of(app)) > 300


def test_the_first_view_says_what_it_is_for_and_has_a_sample_one_click_away(core, app):
    assert "which moments and frequencies" in text_of(app)
    assert "Synthetic voice" in text_of(app)
    with_sample(app)
    assert not app.exception and not app.error
    assert core.explained


def test_the_first_view_needs_none_of_the_heavy_libraries():
    """What the first view imports before a clip is chosen, in a fresh interpreter."""
    code = (
        "import sys, pages.parts.choose, pages.parts.session, pages.parts.faults, explain.samples, ser_core.audio;"
        "print([name for name in ('torch', 'transformers', 'captum', 'parselmouth', 'librosa') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_explained_clip_shows_answer_why_cues_contrast_agreement_and_exports(core, app):
    with_sample(app)
    assert [h.value for h in app.header] == [
        "What the model answers",
        "Why anger",
        "What was measured",
        "Contrast: is the voice different there?",
        "Agreement: is it what experts expect?",
        f"Why anger and not {EXAMPLE.prediction.runner_up}?",
        "Can this explanation be trusted?",
        "What if the voice were different?",
        "Hear what the model heard",
        "Take it away",
    ]
    shown = text_of(app)
    for words in (
        *EXAMPLE.card.emotions,
        "Entropy",
        "disagrees",
        "contested",
        "not measurable",
        EXAMPLE.paragraph[:40],
    ):
        assert words in shown
    assert len(app.get("download_button")) == 5


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_drawn_on_the_axes_that_it_has(core, app, method):
    with_sample(app)
    app.selectbox(key=f"method-{EXAMPLE.card.name}").select(method).run()
    assert not app.exception and not app.error
    assert core.explained[-1][1] == method
    if method == "feature_ablation":
        assert "features that speak most" in text_of(app) and "no time axis" in text_of(app)


def test_another_class_and_a_contrast_of_two_classes_can_be_explained(core, app):
    with_sample(app)
    app.selectbox[2].select("fear").run()
    app.selectbox[3].select("sadness").run()
    target = core.explained[-1][2]
    assert (target.emotion, target.against) == ("fear", "sadness")


def test_a_view_that_was_made_before_is_not_computed_again(core, app):
    with_sample(app)
    app.selectbox(key=f"method-{EXAMPLE.card.name}").select("occlusion").run()
    app.selectbox(key=f"method-{EXAMPLE.card.name}").select("integrated_gradients").run()
    assert len(core.explained) == 2


def test_new_measuring_settings_leave_model_and_map_alone(core, app):
    with_sample(app)
    app.number_input[0].set_value(120.0)
    next(b for b in app.button if b.label == "Measure again").click().run()
    assert len(core.explained) == 1
    assert [settings.pitch_floor_hz for settings, _ in core.remeasured] == [120.0]


def test_settings_that_contradict_each_other_are_refused_beside_the_form(core, app):
    with_sample(app)
    app.number_input[0].set_value(200.0)
    app.number_input[1].set_value(210.0)
    next(b for b in app.button if b.label == "Measure again").click().run()
    assert "1.5 times the floor" in sentences(app)[0]
    assert not core.remeasured and len(app.get("download_button")) == 5


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_bad_upload_gets_its_own_sentence(core, app, bad):
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload(bad.file_name, bad.make()).run()
    assert not app.exception
    assert len(app.error) == 1 and bad.words in sentences(app)[0]
    assert not core.explained


def test_a_good_upload_is_explained_and_its_bytes_leave_the_uploader(core, app):
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("mine.wav", wav(voice())).run()
    assert core.explained and "mine" in text_of(app)
    assert not [box for box in app.file_uploader if box.key.startswith("upload")]


@pytest.fixture
def interrupts(monkeypatch):
    """What lets the reader do something while the next upload is read, which ends the run at its next use of it."""
    from streamlit.proto.WidgetStates_pb2 import WidgetStates
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

    from ser_core import audio

    decode, waiting = audio.decode, []

    def decoded(*given, **settings):
        if waiting:
            waiting.pop()
            context = get_script_run_ctx()
            inputs = WidgetStates(widgets=context.session_state.get_widget_states())
            context.script_requests.request_rerun(
                RerunData(widget_states=inputs, page_script_hash=context.page_script_hash)
            )
        return decode(*given, **settings)

    monkeypatch.setattr(audio, "decode", decoded)
    return waiting


def test_a_clip_is_not_lost_by_what_the_reader_does_while_it_is_read(core, app, interrupts):
    app.segmented_control(key="source").set_value("Upload").run()
    interrupts.append("a click")
    app.file_uploader[0].upload("mine.wav", wav(voice())).run()
    assert not interrupts and core.explained and "mine" in text_of(app)


def test_other_clips_are_not_lost_by_what_the_reader_does_while_they_are_read(core, app, interrupts):
    with_sample(app)
    interrupts.append("a click")
    uploader = next(each for each in app.file_uploader if "other clips of the same person" in each.label)
    uploader.upload("one.wav", wav(voice())).run()
    assert not interrupts and [clip.name for clip in app.session_state["own_clips"]] == ["one.wav"]


@pytest.mark.parametrize("full", [room.OF_ALL, room.OF_ONE])
def test_an_upload_for_which_there_was_no_room_is_one_sentence_and_the_next_one_is_taken(core, app, full):
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("mine.wav", b"", full).run()
    assert not app.exception and not core.explained
    assert len(app.error) == 1 and "was not taken; what you have here is kept" in sentences(app)[0]
    app.file_uploader[0].upload("mine.wav", wav(voice())).run()
    assert core.explained


def test_a_foreseen_fault_is_one_sentence(core, app):
    core.fault = ExplanationError("DeepLIFT does not add up for this clip; choose another method.")
    with_sample(app)
    assert not app.exception
    assert sentences(app) == ["DeepLIFT does not add up for this clip; choose another method."]


def test_an_unforeseen_fault_is_plain_on_the_page_and_quotes_nothing_in_the_log(core, app, caplog):
    core.fault = ValueError("voice of patient_42.wav: [0.1 0.2]")
    with caplog.at_level(logging.ERROR, logger="serscope.pages"):
        with_sample(app)
    assert not app.exception
    assert len(app.error) == 1 and "Something went wrong" in app.error[0].value
    assert "ValueError" in caplog.text and "work.py" in caplog.text
    assert "patient_42" not in caplog.text and "patient_42" not in text_of(app)


def test_a_file_name_cannot_format_the_page(core, app):
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("![x](a)<b>.wav", b"").run()
    assert "![x](" not in app.error[0].value and "\\!\\[x\\]\\(" in app.error[0].value


# -------------------------------------------------------------------------------------------------------------- privacy


def test_forgetting_a_clip_leaves_nothing_of_it_in_the_session(core, app):
    with_sample(app)
    next(b for b in app.button if b.label == "Forget this clip").click().run()
    kept = {key: app.session_state[key] for key in app.session_state}
    assert not any("clip" in key or "explanations" in key or "predictions" in key for key in kept)
    assert "which moments and frequencies" in text_of(app)


@pytest.mark.parametrize("data", [wav(voice()), b"not audio"], ids=["good", "bad"])
def test_the_bytes_of_an_upload_are_dropped_as_soon_as_they_are_read(core, app, monkeypatch, data):
    held, seen = set(), []
    add, remove = MemoryUploadedFileManager.add_file, MemoryUploadedFileManager.remove_file

    def watched_add(self, session_id, file):
        seen.append(file.file_id)
        held.add(file.file_id)
        add(self, session_id, file)

    def watched_remove(self, session_id, file_id):
        held.discard(file_id)
        remove(self, session_id, file_id)

    monkeypatch.setattr(MemoryUploadedFileManager, "add_file", watched_add)
    monkeypatch.setattr(MemoryUploadedFileManager, "remove_file", watched_remove)
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("mine.wav", data).run()
    assert seen and not held


def test_two_readers_do_not_see_each_others_clip(core, app):
    with_sample(app)
    other = AppTest.from_file(ROOT / "app.py", default_timeout=30).run()
    assert not other.header and "which moments and frequencies" in text_of(other)


def test_an_upload_of_several_megabytes_stays_in_memory(monkeypatch):
    import asyncio

    from starlette.formparsers import MultiPartParser
    from starlette.requests import Request

    from pages.parts.server import keep_uploads_in_memory

    monkeypatch.setattr(MultiPartParser, "spool_max_size", MultiPartParser.spool_max_size)
    body = (
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.wav"\r\n\r\n' + bytes(5 * 2**20) + b"\r\n--b--"
    )
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}

    async def on_disk() -> bool:
        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        return (await Request(scope, receive).form())["f"].file._rolled

    assert asyncio.run(on_disk())
    keep_uploads_in_memory(megabytes=50)
    assert not asyncio.run(on_disk())


def test_the_configuration_sends_nothing_out_and_shows_no_tracebacks():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["address"] == config["browser"]["serverAddress"] == "localhost"


# ----------------------------------------------------------------------------------------------------------- what shows


def grid(part: dict) -> np.ndarray:
    import base64

    kind = np.int8 if "signed" in part else np.uint8
    return np.frombuffer(base64.b64decode(part["data"]), kind).reshape(part["rows"], part["columns"])


def test_a_tone_is_drawn_on_the_row_of_its_frequency():
    times, hz = np.arange(50) * 0.01, np.linspace(0, 8000, 257)
    levels = np.full((257, 50), -80.0)
    levels[np.abs(hz - 2000).argmin()] = 0.0
    tone = dataclasses.replace(EXAMPLE, spectrogram_db=levels, spectrogram_times_s=times, spectrogram_hz=hz)
    drawn = grid(viewer.view_data(tone)["spectrogram"])
    row_hz = 700 * (10 ** (np.log10(1 + 8000 / 700) * (viewer.ROWS - 0.5 - drawn[:, 0].argmax()) / viewer.ROWS) - 1)
    assert row_hz == pytest.approx(2000, rel=0.03)


def test_the_map_is_empty_outside_the_bands_that_the_model_sees():
    bands = np.linspace(300, 3400, 30)
    full = dataclasses.replace(
        EXAMPLE.attribution, relevance=np.ones((30, 10)), bands_hz=bands, times_s=np.arange(10) / 10
    )
    drawn = grid(viewer.view_data(dataclasses.replace(EXAMPLE, attribution=full))["map"])
    assert (drawn[0] == 0).all() and (drawn[-1] == 0).all()
    assert (drawn[np.abs(viewer._rows_hz() - 1500).argmin()] == 127).all()


def test_an_attribution_over_time_is_not_smeared_over_frequency():
    shown = viewer.view_data(example_explanation(axes="time"))["map"]
    assert shown["axes"] == "time" and shown["rows"] == 1


def test_an_attribution_over_features_has_no_map():
    assert viewer.view_data(example_explanation(axes="features"))["map"] is None


def test_a_long_clip_keeps_its_strongest_evidence_when_columns_are_joined():
    relevance = np.zeros((40, 12_000))
    relevance[20, 7_777] = 1.0
    long = dataclasses.replace(EXAMPLE.attribution, relevance=relevance, times_s=np.arange(12_000) / 100)
    shown = viewer.view_data(dataclasses.replace(EXAMPLE, attribution=long))["map"]
    assert shown["columns"] == viewer.COLUMNS
    assert shown["columns"] * 0.08 == pytest.approx(shown["end_s"] - shown["start_s"])


def test_a_long_clip_keeps_its_loudest_sound_when_columns_are_joined():
    levels = np.full((257, 12_000), -90.0)
    levels[:, 7_777] = -10.0
    long = dataclasses.replace(EXAMPLE, spectrogram_db=levels, spectrogram_times_s=np.arange(12_000) / 100)
    assert grid(viewer.view_data(long)["spectrogram"]).max(0).argmax() == 7_777 * viewer.COLUMNS // 12_000


@pytest.mark.parametrize(("signed", "word"), [(True, "evidence"), (False, "relevance")])
def test_a_map_without_a_sign_is_not_called_evidence(signed, word):
    shown = dataclasses.replace(EXAMPLE, attribution=dataclasses.replace(EXAMPLE.attribution, signed=signed))
    assert f"of the {word}" in viewer.view_data(shown)["regions"][0]["weight"]


@pytest.mark.parametrize("hostile", HOSTILE_NAMES)
def test_text_from_outside_never_becomes_markup(hostile):
    shown = example_explanation(hostile=hostile)
    html = "".join(
        (
            answer.quality(shown.quality),
            answer.reading(shown.prediction, shown.card.title),
            tables.magnitudes(shown.cues, None),
            tables.contrasts(shown.cues.contrasts, "region 1"),
            tables.agreement(shown.agreements, "anger"),
            cards.heading(shown.card),
            cards.details(shown.card),
        )
    )
    assert not re.search(r"<script|<b>|<label>|on\w+=", html)


def test_agreement_is_told_in_words_and_not_by_colour_alone():
    html = tables.agreement(EXAMPLE.agreements, "anger")
    for status, mark in (("agrees", "✓"), ("disagrees", "✗"), ("contested", "~"), ("not measurable", "·")):
        assert re.search(rf"{mark}</i> {status}", html)


def test_what_could_not_be_measured_says_why_without_hovering():
    html = tables.magnitudes(EXAMPLE.cues, None)
    assert "<li>too few periods (4 of at least 10)</li>" in html
    assert "<li>F0 above 250 Hz: F1 is drawn to the nearest harmonic</li>" in html


def test_sources_say_in_words_how_they_are_known():
    rows = tuple(dataclasses.replace(a, evidence="read in the source") for a in EXAMPLE.agreements)
    known = dataclasses.replace(EXAMPLE, agreements=rows)
    assert "Juslin&Laukka2003 T7/T11; Scherer2003 T2 (read in the source)" in tables.sources(known)
    assert "(read in the source)" in tables.agreement(known.agreements, "anger")


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in bytes_of(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def bytes_of(colour: str) -> list[float]:
    return [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(theme):
    colours = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"][theme]
    css = (ROOT / "assets" / "theme" / "app.css").read_text()
    place = ("light", "dark").index(theme)
    texts = [colours["textColor"], colours["linkColor"]]
    named = dict(re.findall(r"(--soft|\.agrees|\.disagrees|\.contested)\W.*?light-dark\((#\w{6}, #\w{6})\)", css))
    assert len(named) == 4
    texts += [pair.split(", ")[place] for pair in named.values()]
    for text in texts:
        for ground in (colours["backgroundColor"], colours["secondaryBackgroundColor"]):
            assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast("#ffffff", colours["primaryColor"]) >= 4.0
