"""Comparing, contrasting and the speaker's own baseline on the pages, on a planted model."""

import dataclasses
import time
from collections.abc import Iterator

import numpy as np
import pytest
import streamlit as st
from bad_inputs import voice, wav
from streamlit.testing.v1 import AppTest
from test_comparison import man_and_woman, twins
from test_rivals import between

import ser_core.registry
from explain.baseline import OwnBaseline, against_clips
from explain.change import WITHIN, Change
from explain.comparison import Comparison
from explain.cues import CUES, CueSettings, CueValue
from explain.relative_cues import RelativeCue
from pages.parts import baseline_panel, comparison, rival_panel, strips
from ser_core.numbers import percent
from tests.explanations import HOSTILE_NAMES, example_explanation
from tests.planted import burst_model, shown
from tests.test_expert import summary_of


def rival_page() -> None:
    from pages.parts import rival_panel
    from tests.planted import burst_model, shown

    rival_panel.show(shown(), burst_model(), "key")


def baseline_page() -> None:
    import streamlit as st

    from pages.parts import baseline_panel
    from tests.planted import burst_model, shown

    st.session_state["with"] = baseline_panel.show(shown(), burst_model())


def adapted_page() -> None:
    import streamlit as st

    from explain.explanation import explain
    from explain.samples import samples
    from pages.parts import baseline_panel, session
    from ser_core.audio import read
    from ser_core.registry import load_model

    clip, *others = [read(sample.path) for sample in samples()[:4]]
    if "given" not in st.session_state:
        st.session_state["given"] = True
        session.keep_own_clips(others)
    model = baseline_panel.beside(clip, load_model("whisper-tiny-statistics"))
    kept = st.session_state.setdefault("explained", {})
    if model.name not in kept:
        kept[model.name] = explain(clip, model, "saliency")
    st.session_state["with"] = baseline_panel.show(kept[model.name], model)


def compare_page() -> None:
    from pages.parts import session
    from ser_core.settings import ROOT
    from tests.planted import shown

    if session.clip() is None:
        session.use(shown().recording, "made in a test")
    exec(compile((ROOT / "pages" / "compare.py").read_text(), "compare.py", "exec"), {})


@pytest.fixture
def two_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ser_core.registry, "model_names", lambda: ("one", "two"))
    monkeypatch.setattr(ser_core.registry, "cards", lambda: ())
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: burst_model())
    yield
    st.cache_data.clear()  # the titles of these models


def text(app: AppTest) -> str:
    return " ".join([*(e.proto.body for e in app.get("html")), *(c.value for c in app.caption)])


def settled(app: AppTest) -> AppTest:
    for _ in range(600):
        if all(job.done for job in app.session_state["jobs"].values()):
            break
        time.sleep(0.1)
    app.run(timeout=180)
    assert not app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    return app.run(timeout=180)


# -------------------------------------------------------------------------------------------------------------- rivals


def test_the_runner_up_is_offered_first_and_the_contrast_is_drawn():
    app = AppTest.from_function(rival_page).run(timeout=180)
    rival = shown().prediction.runner_up
    assert app.selectbox[0].value == rival
    assert app.header[0].value == f"Why low and not {rival}?"
    app = settled(press(app, f"Explain low rather than {rival}"))
    assert "say nothing of low or of" in text(app)
    assert app.get("plotly_chart")


def test_the_table_says_whom_each_cue_speaks_for_and_what_cannot_separate():
    html = rival_panel.rows(between("anger", "sadness", f0_mean=40.0, speech_rate=-40.0))
    assert "speaks for anger" in html and "speaks for sadness" in html
    assert "cannot separate them" in rival_panel.rows(between("anger", "joy"))


def test_a_contrast_that_the_page_explains_anyway_is_drawn_at_once(monkeypatch):
    drawn = []
    monkeypatch.setattr(rival_panel, "draw", drawn.append)
    monkeypatch.setattr(rival_panel.st, "header", drawn.append)
    found = between("anger", "joy")
    rival_panel.show(dataclasses.replace(example_explanation(against="happiness"), rivalry=found), burst_model(), "k")
    assert drawn == ["Why anger and not happiness?", found]


# ------------------------------------------------------------------------------------------------------------ baseline


def test_other_clips_are_measured_and_taken_into_the_explanation():
    app = AppTest.from_function(baseline_page).run(timeout=180)
    assert app.session_state["with"].own_baseline is None
    app.file_uploader[0].upload("0.wav", wav(voice(1.0))).upload("1.wav", wav(voice(1.1)))
    app.file_uploader[0].upload("bad.wav", b"no sound").run(timeout=180)
    assert "bad" in app.error[0].value
    app = settled(app)
    assert "Too few clips: 2 other clips of the same person" in text(app)
    assert app.session_state["with"].own_baseline.clips[0][0] == "0.wav"
    press(app, "Drop these clips")
    assert app.session_state["with"].own_baseline is None


def test_the_answer_beside_the_persons_clips_stands_by_the_one_alone_and_can_be_explained():
    app = settled(AppTest.from_function(adapted_page).run(timeout=180))
    told = text(app)
    assert "Having heard 3 other clips of this person, the model" in told
    assert "The explanation is of the answer to the clip alone." in told
    # What it gains is read from the stored figures.
    assert "speakers of CREMA-D who are new to the model: UAR 0.7" in told
    alone, beside = app.session_state["with"].prediction, app.session_state["with"].own_baseline.answer
    for emotion in alone.emotions:
        assert f'<th scope="row">{emotion}</th><td>{percent(alone.probability(emotion))}</td>' in told
    app.toggle[0].set_value(True).run(timeout=180)
    app = settled(settled(app))
    adapted = app.session_state["with"]
    assert adapted.card.title.endswith("adapted to 4 clips of this speaker")
    assert adapted.prediction.probabilities == pytest.approx(beside.probabilities, abs=1e-6)
    assert np.abs(adapted.attribution.relevance).max() > 0 and adapted.own_baseline.answer is None
    press(app, "Drop these clips")
    assert not app.toggle and "adapted" not in app.session_state["with"].card.title


def test_what_is_unusual_for_the_person_is_said_beside_its_place_among_others():
    cues = [[CueValue("f0_mean", "clip", v, "st", 9, "frames")] for v in (8.0, 9.0, 10.0, 11.0, 12.0)]
    found = OwnBaseline((("a", "1"),) * 5, against_clips(summary_of({"f0_mean": 20.0}), cues))
    html = baseline_panel.rows(found, example_explanation())
    assert "higher than usual" in html and "percentile 91" in html
    assert "too few clips (0 of at least 5)" in html


# ------------------------------------------------------------------------------------------------------------- compare


def test_two_models_are_compared_and_taken_away(two_models):
    app = AppTest.from_function(compare_page).run(timeout=180)
    app = settled(press(app, "Compare"))
    assert [h.value for h in app.header][:3] == ["What was found", "Answers side by side", "Maps on one time axis"]
    assert "Both models answer low." in text(app) and "alike beyond chance" in text(app)
    assert len(app.get("download_button")) == 2


@pytest.mark.parametrize("kind", ["models", "clips"])
def test_a_voice_is_measured_as_it_was_corrected_on_explain(two_models, kind):
    app = AppTest.from_function(compare_page).run(timeout=180)
    app.session_state["settings"] = CueSettings("female", pitch_floor_hz=90.0)
    app.segmented_control[0].set_value(kind).run(timeout=180)
    if kind == "clips":
        press(app, "Take this clip")
    assert "as you corrected it on Explain: speaker female; pitch floor 90 Hz." in text(app)
    app = settled(press(app, "Compare"))
    found = next(job.result for key, job in app.session_state["jobs"].items() if key[:2] == ("compare", kind))
    assert [each.tracks.settings.pitch_floor_hz for each in found.sides] == [90.0, 90.0]
    assert {each.tracks.settings.sex for each in found.sides} == {"female"}


def test_one_model_alone_cannot_be_compared(two_models):
    app = AppTest.from_function(compare_page).run(timeout=180)
    app.multiselect[0].set_value(["one"]).run(timeout=180)
    assert "at least 2 models" in app.info[0].value
    assert not [button for button in app.button if button.label == "Compare"]


def test_two_clips_wait_for_the_second(two_models):
    app = AppTest.from_function(compare_page).run(timeout=180)
    app.segmented_control[0].set_value("clips").run(timeout=180)
    assert not app.exception
    assert not [button for button in app.button if button.label == "Compare"]
    press(app, "Take this clip")
    assert [button for button in app.button if button.label == "Compare"]
    assert "synthetic voice" in " ".join(each.value for each in app.markdown)
    second = app.session_state["second"].sha256
    app = settled(press(app, "Compare"))
    assert any(second in key for key in app.session_state["jobs"])
    press(app, "Take another")
    assert not [button for button in app.button if button.label == "Compare"]
    assert "second" not in app.session_state and not any(second in key for key in app.session_state["jobs"])


def test_the_second_clip_may_come_from_a_corpus_and_the_first_stays(two_models, corpora, monkeypatch):
    monkeypatch.setenv("SERSCOPE_CORPORA", str(corpora))
    app = AppTest.from_function(compare_page).run(timeout=180)
    first = app.session_state["clip"]
    app.segmented_control[0].set_value("clips").run(timeout=180)
    app.segmented_control(key="second-source").set_value("Corpus").run(timeout=180)
    press(app, "Take this clip")
    assert not app.exception
    assert app.session_state["clip"] is first and app.session_state["second"].sha256 != first.sha256
    assert "labelled" in " ".join(each.value for each in app.markdown)
    assert [button for button in app.button if button.label == "Compare"]


def test_a_change_is_told_with_its_error_and_within_error_is_no_change():
    rows = (
        Change("f0_mean", "st", 1.0, 4.0, 3.0, 0.1, 0.3, "higher"),
        Change("hnr", "dB", 1.0, 1.1, 0.1, 0.2, 0.6, WITHIN),
        Change("jitter", "%", None, 1.1, None, None, None, "not measurable", "too few periods"),
    )
    side = example_explanation()
    html = comparison.change_table(Comparison("same speaker", ("a", "b"), (side, side), changes=rows))
    assert "<strong>higher</strong>" in html and "+3.00 st" in html and "within measurement error" in html
    assert "not measurable: too few periods" in html


def test_absolute_cues_of_two_speakers_are_not_set_beside_each_other():
    html = comparison.relative_table(man_and_woman())
    absolute = sum(row.values == (None, None) for row in man_and_woman().relative)
    assert html.count("not compared") == 2 * absolute and absolute >= 10
    assert not any(f"{cue.title}</th><td>" in html for cue in CUES if cue.unit == "Hz")


def test_two_speakers_are_told_among_whom_they_are_placed_and_what_could_not_be_measured():
    rows = (
        RelativeCue("f0_slope", "st/s", (None, 1.0), (None, 60.0), (None, 0.25)),
        RelativeCue("f1_mean", "Hz", (None, None), (50.0, None), (0.0, None)),
    )
    side = example_explanation()
    unvoiced = dataclasses.replace(side.tracks, sex_guess="unknown", settings=CueSettings())
    child = dataclasses.replace(side.tracks, settings=CueSettings(sex="child"))
    sides = tuple(dataclasses.replace(side, tracks=tracks) for tracks in (unvoiced, child))
    html = comparison.relative_table(Comparison("two speakers", ("a", "b"), sides, relative=rows))
    assert "a among adults of both sexes" in html and "b among children (no reference)" in html
    assert html.count("not measurable") == 1 and html.count("not compared") == 2


def test_maps_share_one_time_axis_and_are_told_in_words():
    figure = strips.maps(twins().sides, twins().titles)
    assert len(figure.data) == 2 and figure.layout.xaxis.matches == "x2"
    assert "what speaks for low" in figure.layout.annotations[0].text
    peak = np.zeros((4, 1600))
    peak[2, 777] = 1.0
    found = example_explanation().attribution
    long = dataclasses.replace(found, relevance=peak, times_s=np.arange(1600) / 100, bands_hz=np.arange(1, 5) * 500.0)
    drawn = strips.maps((dataclasses.replace(example_explanation(), attribution=long),), ("a",)).data[0]
    assert drawn.z[2].max() == drawn.z.max() > 0 and drawn.x[drawn.z[2].argmax()] == pytest.approx(7.77, abs=0.03)
    one = example_explanation()
    without = dataclasses.replace(one, attribution=dataclasses.replace(one.attribution, signed=False))
    both = "Orange speaks for joy, blue against it"
    assert strips.colours_in_words((one, one), "joy") == both
    assert strips.colours_in_words((one, without), "joy").startswith(f"{both}, or only marks")
    assert strips.colours_in_words((without,), "joy") == "Orange marks what matters for joy, in neither direction"
    assert strips.regions_in_words(example_explanation()).startswith("1.00–1.22 s, 2.0–3.4 kHz (34 %)")
    assert strips.regions_in_words(example_explanation(region_count=0)) == "no salient region"


@pytest.mark.parametrize("axes", ["time", "features"])
def test_maps_without_frequencies_or_without_time_are_drawn_as_what_they_are(axes):
    figure = strips.maps((example_explanation(), example_explanation(axes=axes)), ("a", "b"))
    assert len(figure.data) == (2 if axes == "time" else 1)


@pytest.mark.parametrize("hostile", HOSTILE_NAMES)
def test_names_from_outside_never_become_markup(hostile):
    side = example_explanation(hostile=hostile)
    found = Comparison("models", (f"{hostile}a", f"{hostile}b"), (side, side), pairs=twins().pairs)
    html = comparison.answers(found) + comparison.pairs(found) + comparison.region_table(found)
    assert "<script" not in html and "<b>" not in html and "<label>" not in html


def test_a_sample_is_taken_for_a_comparison() -> None:
    def nothing_yet() -> None:
        from ser_core.settings import ROOT

        exec(compile((ROOT / "pages" / "compare.py").read_text(), "compare.py", "exec"), {})

    labels = {button.label for button in AppTest.from_function(nothing_yet, default_timeout=60).run().button}
    assert "Take this clip" in labels and "Explain this clip" not in labels
