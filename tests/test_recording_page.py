"""The pages of long recordings and of many clips, run without a browser."""

import time
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.parts import background
from ser_core.audio import SAMPLE_RATE
from ser_core.long_audio import long_sound
from ser_core.settings import ROOT
from ser_core.turns import BusyError, Job, StoppedError, Turns
from tests.bad_inputs import wav
from tests.planted import burst_model
from tests.test_long_recording import two_voices


def recording_page() -> None:
    import streamlit as st

    from pages.parts import long_recording
    from ser_core.long_audio import long_sound
    from tests.bad_inputs import wav
    from tests.planted import burst_model
    from tests.test_long_recording import two_voices

    if "given" not in st.session_state:
        st.session_state["given"] = True
        st.session_state["long-sound"] = long_sound(wav(two_voices()), "session.wav")
    sound = long_recording.sound()
    if sound is None:
        long_recording.new()
        st.stop()
    long_recording.current(sound)
    long_recording.show(sound, burst_model(), long_recording.voices_asked())


def batch_page() -> None:
    import streamlit as st

    from explain.batch import given
    from pages.parts import batch
    from tests.planted import burst_model
    from tests.test_batch import sound

    if "given" not in st.session_state:
        st.session_state["given"] = True
        files = [("a.wav", sound()), ("bad.wav", b"no sound"), ("b.wav", sound("high", 2))]
        st.session_state["batch-clips"] = given(files)
    taken = batch.clips()
    if taken is None:
        batch.new()
        st.stop()
    batch.current(taken)
    batch.show(taken, burst_model(), "input_x_gradient")


def batch_of_models_page() -> None:
    import streamlit as st

    from explain.batch import given
    from pages.parts import batch
    from ser_core.registry import load_model
    from tests.bad_inputs import voice, wav

    if "batch-clips" not in st.session_state:
        st.session_state["batch-clips"] = given([("bad.wav", b"no sound"), ("a.wav", wav(voice(1.5)))])
    name = st.selectbox("Model", ["emosphere-emotale", "egemaps-logistic"])
    batch.show(batch.clips() or [], load_model(name), "occlusion")


def settled(app: AppTest) -> AppTest:
    """Run until the background work is done, and once more."""
    for _ in range(900):
        if all(job.done for job in app.session_state["jobs"].values()):
            break
        time.sleep(0.1)
    app.run(timeout=120)
    app.run(timeout=120)
    assert not app.exception
    return app


def text(app: AppTest) -> str:
    return " ".join(each.proto.body for each in app.get("html")) + " ".join(c.value for c in app.caption)


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run(timeout=120)


def chosen(app: AppTest, label: str, option: str) -> AppTest:
    next(box for box in app.selectbox if box.label == label).select(option)
    return app


@pytest.fixture(scope="module")
def session() -> AppTest:
    return settled(AppTest.from_function(recording_page).run(timeout=120))


def test_a_session_shows_its_voices_stretches_and_files(session: AppTest) -> None:
    assert "Voice 1" in text(session) and "Voice 2" in text(session)
    assert "interval" in text(session)
    frame = session.dataframe[0].value
    assert len(frame) >= 6 and set(frame["voice"]) == {"Voice 1", "Voice 2"}
    assert session.subheader[-1].value == "Take it away"


def test_a_formant_ceiling_measures_only_the_cues_of_its_voice_again(session: AppTest) -> None:
    before = session.session_state["long-made"][1]
    chosen(session, "Of", "Voice 2")
    given = {each.label: each for each in session.number_input}
    given["Formant ceiling (Hz)"].set_value(4000.0)
    press(session, "Measure again")
    settled(session)
    after = session.session_state["long-made"][1]
    assert {s.settings.formant_ceiling_hz for s in after.of(1)} == {4000.0}
    assert {s.settings.formant_ceiling_hz for s in before.of(1)} != {4000.0}
    assert "formants up to 4 000 Hz." in text(session).replace("\u202f", " ").replace("\\", "")
    for old, new in zip(before.stretches, after.stretches, strict=True):
        assert new.prediction is old.prediction and new.embedding is old.embedding
        assert (new is old) == (old not in before.of(1))
        moved = {a.cue for a, b in zip(old.cues, new.cues, strict=True) if a != b}
        assert all(cue.startswith(("f1", "f2", "f3")) for cue in moved) and (moved or new is old)
    # Still so when the voices are told apart anew.
    chosen(session, "How many people speak?", "1").run(timeout=120)
    settled(session)
    assert [s.settings for s in session.session_state["long-made"][1].stretches] == [
        s.settings for s in after.stretches
    ]
    chosen(session, "How many people speak?", "2").run(timeout=120)
    settled(session)


def test_an_opened_stretch_tells_what_stands_out_in_its_salient_regions() -> None:
    def page() -> None:
        from explain.long_recording import Stretch
        from explain.samples import samples
        from pages.parts import background, stretches
        from ser_core.audio import read
        from ser_core.registry import load_model

        clip, model = read(samples()[0].path), load_model("log-mel-resnet")
        stretches._salient(clip, Stretch(0, 0.0, clip.duration_s, None, (), None), model, model.name)
        background.job(("long-salient", clip.sha256, "log-mel-resnet", None)).future.result(timeout=60)

    shown = AppTest.from_function(page, default_timeout=90).run()
    assert not shown.exception, shown.exception
    shown.run()
    told = " ".join(each.proto.body for each in shown.get("html"))
    assert "In its salient regions for " in told and " against the rest of its speech" in told
    assert "higher" in told or "lower" in told


def test_salient_regions_are_told_anew_for_cues_that_were_measured_again() -> None:
    def page() -> None:
        import streamlit as st

        from explain.cues import CueSettings
        from explain.long_recording import Stretch
        from pages.parts import background, stretches
        from ser_core.audio import from_samples
        from tests.bad_inputs import voice
        from tests.planted import burst_model

        clip, model = from_samples(voice(2.0), 16_000, "a"), burst_model()
        settings = CueSettings(formant_ceiling_hz=st.session_state["ceiling_hz"])
        stretches._salient(clip, Stretch(0, 0.0, 2.0, None, (), None, settings=settings), model, model.name)
        for job in background._jobs().values():
            job.future.result(60)

    app = AppTest.from_function(page, default_timeout=90)
    for number, ceiling_hz in enumerate((5500.0, 4000.0), start=1):
        app.session_state["ceiling_hz"] = ceiling_hz
        assert not app.run().exception and len(app.session_state["jobs"]) == number


def opened_page() -> None:
    """A session whose third stretch is open; it still grows where the test says so."""
    import streamlit as st

    from explain.long_recording import analyse
    from pages.parts import stretches
    from ser_core.long_audio import LongSound, long_sound
    from tests.bad_inputs import wav
    from tests.planted import burst_model
    from tests.test_long_recording import two_voices

    decoded, _ = st.session_state.setdefault("decoded", []), st.session_state.setdefault("jobs", {})
    model = burst_model()
    if "found" not in st.session_state:
        sound = long_sound(wav(two_voices()), "session.wav")
        st.session_state["found"] = sound, analyse(sound, model)
    sound, found = st.session_state["found"]
    plain = LongSound.stretch
    LongSound.stretch = lambda self, *part_s: decoded.append(part_s) or plain(self, *part_s)
    try:
        stretches.one(found, 2, sound, model, None if st.session_state["growing"] else lambda voice: None)
    finally:
        LongSound.stretch = plain


def test_an_open_stretch_is_explained_once_all_of_its_voice_is_known_and_is_decoded_once() -> None:
    app = AppTest.from_function(opened_page, default_timeout=90)
    for growing, kinds in ((True, set()), (True, set()), (False, {"long-salient"}), (False, {"long-salient"})):
        app.session_state["growing"] = growing
        app.run()
        assert not app.exception and len(app.session_state["decoded"]) == 1
        assert {key[0] for key in app.session_state["jobs"]} == kinds
    settled(app)


def heard_first_page() -> None:
    import streamlit as st

    from explain.long_recording_baseline import hearing
    from pages.parts import baseline_panel, long_recording
    from pages.parts import session as reader
    from ser_core.long_audio import long_sound
    from ser_core.registry import load_model
    from tests.bad_inputs import wav
    from tests.test_long_recording import two_voices

    model = load_model("whisper-tiny-statistics")
    if "long-sound" not in st.session_state:
        st.session_state["long-sound"] = long_sound(wav(two_voices()), "session.wav")
    sound = long_recording.sound()
    if st.session_state.get("opened") is None:
        long_recording.show(sound, model, 2)
        if "long-heard" in st.session_state and st.button("Open the third"):
            found = st.session_state["long-heard"][1]
            stretch = found.stretches[2]
            clip = sound.stretch(*stretch.clip_s)
            reader.use(clip, "opened")
            reader.keep_voice("all stretches of the patient", hearing(found, found.voice_of[2], model))
            st.session_state["opened"] = found, clip
            st.rerun()
    else:
        found, clip = st.session_state["opened"]
        asked = baseline_panel.beside(clip, model)
        st.session_state["answers"] = asked.predict(clip), found.stretches[2].prediction


def test_a_session_is_answered_after_each_voice_was_heard() -> None:
    app = settled(AppTest.from_function(heard_first_page, default_timeout=120).run())
    app.toggle[0].set_value(False).run(timeout=120)
    alone = app.dataframe[0].value
    app.toggle[0].set_value(True).run(timeout=120)
    assert "otherwise than alone" in text(app)
    assert "In made-up sessions of 18 actors of CREMA-D who are new to the model it brought UAR " in text(app)
    made, found = app.session_state["long-heard"]
    assert f" of {len(found.stretches)} otherwise than alone" in text(app) and "so far" not in text(app)
    assert found.adapted and app.session_state["long-made"][1] is made and not made.adapted
    heard = app.dataframe[0].value
    assert heard["p"].tolist() != alone["p"].tolist()
    shown = [100 * s.prediction.probability(s.prediction.top) for s in found.stretches]
    assert heard["p"].tolist() == pytest.approx(shown)
    # A voice that is corrected is heard anew, and what is kept are the answers to each stretch alone.
    app.text_input[0].input("patient")
    press(app, "Rename")
    assert "patient" in text(app) and not app.session_state["long-made"][1].adapted
    assert app.session_state["long-heard"][1].called(0) == "patient"
    # Opened, the stretch is explained as the session answered it.
    press(app, "Open the third")
    settled(app)
    settled(app)
    assert app.toggle[0].label == "Hear this voice first (all stretches of the patient)" and app.toggle[0].value
    explained, answered = app.session_state["answers"]
    assert explained.probabilities == pytest.approx(answered.probabilities, abs=1e-5)
    app.toggle[0].set_value(False).run(timeout=120)
    assert not np.allclose(app.session_state["answers"][0].probabilities, answered.probabilities, atol=1e-4)


def test_a_recording_stopped_before_its_first_stretch_is_followed_again_and_not_called_silent() -> None:
    job, sound = Job(), long_sound(wav(two_voices()), "session.wav")
    job.stop.set()
    job.future.set_exception(StoppedError())
    key = ("long", sound.sha256, burst_model().name)
    app = AppTest.from_function(recording_page, default_timeout=120)
    given = {"given": True, "long-sound": sound, "jobs": {key: job}, f"long-stopped-{key}": True}
    for name, value in given.items():
        app.session_state[name] = value
    app.run().run()
    assert [said.value for said in app.warning] == [r"The recording was not followed to its end\."]
    assert not app.info and not app.dataframe
    settled(press(app, "Follow it again"))
    assert len(app.dataframe[0].value) == 8 and not app.warning


def test_what_is_drawn_over_time_is_what_stands_out_for_the_voice_in_all_its_stretches() -> None:
    def page() -> None:
        from types import SimpleNamespace

        import streamlit as st

        from pages.parts import long_recording
        from tests.planted import burst_model
        from tests.test_long_recording import made_up

        few, many = made_up([0.1, 0.2]), made_up([0.1, 0.2, 0.9, 0.9, 0.9, 0.1], voices=[0, 0, 0, 0, 0, 1])
        found, keep = (few, None) if st.session_state["growing"] else (many, lambda corrected: None)
        long_recording.draw(found, SimpleNamespace(sha256="0" * 64), burst_model(), keep)

    app = AppTest.from_function(page, default_timeout=60)
    for growing, expected in ((True, ["b", "a"]), (False, ["a", "b"])):
        app.session_state["growing"] = growing
        app.run()
        assert not app.exception and app.multiselect[0].value == expected
    assert app.segmented_control[0].set_value(1).run().multiselect[0].value == ["b", "a"]


def test_stretches_that_were_not_asked_about_are_not_among_those_heard_and_more_may_come() -> None:
    def page() -> None:
        import dataclasses

        import streamlit as st

        from explain.long_recording import exchanged
        from pages.parts import long_recording
        from ser_core.registry import load_model
        from tests.test_long_recording import made_up

        model = load_model("whisper-tiny-statistics")
        found = made_up([0.1, 0.2, 0.3])
        short = dataclasses.replace(found.stretches[2], prediction=None, note="shorter than 0.3 s")
        found = dataclasses.replace(exchanged(found, [short]), complete=st.session_state["complete"])
        st.session_state["long-heard"] = found, found
        long_recording._answered(found, model)

    app = AppTest.from_function(page, default_timeout=60)
    for complete, words in ((False, "each voice so far, and answers 0 of 2"), (True, "each voice, and answers 0 of 2")):
        app.session_state["complete"] = complete
        assert not app.run().exception and words in text(app)


def test_a_voice_is_renamed_and_two_are_merged(session: AppTest) -> None:
    session.segmented_control[0].set_value(1).run(timeout=120)
    chosen(session, "Rename", "Voice 2")
    session.text_input[0].input("therapist")
    press(session, "Rename")
    # The voice that is looked at stays, though it is called otherwise.
    assert session.segmented_control[0].value == 1 and "stretch of therapist" in text(session)
    chosen(session, "Rename", "Voice 1")
    session.text_input[0].input("patient")
    press(session, "Rename")
    assert "patient" in text(session)
    which = {box.label: box for box in session.selectbox}
    which["Merge"].select(which["Merge"].options[1])
    which["into"].select(which["into"].options[0])
    press(session, "Merge")
    assert set(session.dataframe[0].value["voice"]) == {"patient"}


def test_to_forget_a_recording_drops_its_sound_its_work_and_its_results(session: AppTest) -> None:
    press(session, "Forget this recording")
    assert "long-sound" not in session.session_state and "long-made" not in session.session_state
    assert "patient" not in str(session.session_state)
    assert not [key for key in session.session_state["jobs"] if key[:1] == ("long",)]
    assert "At most 65 minutes" in text(session)


@pytest.mark.parametrize("part", ["long_recording", "batch"])
def test_what_is_forgotten_is_held_by_no_part_of_the_page(part: str) -> None:
    def page(part: str) -> None:
        import gc
        import importlib
        import weakref

        import numpy as np
        import streamlit as st

        from pages.parts import background
        from ser_core.audio import SAMPLE_RATE, from_samples

        def followed(kind: str) -> weakref.ref:
            clip = from_samples(np.sin(np.arange(SAMPLE_RATE)), SAMPLE_RATE, "a")
            started = background.start((kind, 1), lambda job: clip.name, long=True)
            background.follow(started, lambda: st.caption(clip.name))
            started.future.result(30)
            return weakref.ref(clip)

        held = followed("long" if part == "long_recording" else part)
        importlib.import_module(f"pages.parts.{part}").forget()
        gc.collect()
        st.session_state["freed"] = held() is None

    app = AppTest.from_function(page, args=(part,)).run(timeout=60)
    assert not app.exception and app.session_state["freed"]


def test_one_bad_clip_has_its_own_row_among_many() -> None:
    app = AppTest.from_function(batch_page).run(timeout=120)
    assert not app.session_state["jobs"]
    app = settled(press(app, "Explain 3 clips"))
    frame = app.dataframe[0].value
    assert list(frame["clip"]) == ["a.wav", "bad.wav", "b.wav"]
    assert "not an audio file" in frame.loc[1, "salient cues"] and frame.loc[0, "answer"]
    assert "2 explained" in text(app) and "1 could not be read" in text(app)
    app.text_input[-1].input("bad").run(timeout=120)
    assert list(app.dataframe[0].value["clip"]) == ["bad.wav"]
    press(app, "Forget these clips")
    assert "batch-clips" not in app.session_state


def test_a_stopped_batch_keeps_its_rows_and_goes_on_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    import explain.batch

    real, calls, stopped = explain.batch.row, [], []

    def held(number, clip, *args, progress, **how):
        calls.append(clip.name)
        while clip.name == "b.wav" and not stopped:
            progress(0.5, "held")
            time.sleep(0.02)
        return real(number, clip, *args, progress=progress, **how)

    monkeypatch.setattr(explain.batch, "row", held)
    app = press(AppTest.from_function(batch_page).run(timeout=120), "Explain 3 clips")
    while len(calls) < 3:
        time.sleep(0.02)
    app = press(app.run(timeout=120), "Stop here")
    stopped.append(settled(app).warning[0].value)
    assert stopped == ["Stopped after 2 of 3 clips."]
    assert list(app.dataframe[0].value["clip"]) == ["a.wav", "bad.wav"]
    with monkeypatch.context() as busy:
        busy.setattr(Turns, "submit", Mock(side_effect=BusyError("Too much waits.")))
        assert press(app, "Go on, 1 clip left").exception
    app = app.run(timeout=120)
    assert list(app.dataframe[0].value["clip"]) == ["a.wav", "bad.wav"]
    app = settled(press(app, "Go on, 1 clip left"))
    assert list(app.dataframe[0].value["clip"]) == ["a.wav", "bad.wav", "b.wav"] and not app.warning
    assert calls == ["a.wav", "bad.wav", "b.wav", "b.wav"]
    assert not [button for button in app.button if button.label.startswith(("Go on", "Explain "))]


def test_each_models_rows_stay_and_dimensions_have_no_columns_of_classes() -> None:
    app = AppTest.from_function(batch_of_models_page).run(timeout=120)
    app = settled(press(app, "Explain 2 clips"))
    frame = app.dataframe[0].value
    assert list(frame["clip"]) == ["bad.wav", "a.wav"] and frame["valence"].isna().tolist() == [True, False]
    assert not {"answer", "p", "entropy"} & set(frame)
    app = settled(press(chosen(app, "Model", "egemaps-logistic").run(timeout=120), "Explain 2 clips"))
    assert app.dataframe[0].value["answer"].tolist()[0] == "" and app.dataframe[0].value["answer"].tolist()[1]
    app = chosen(app, "Model", "emosphere-emotale").run(timeout=120)
    assert app.dataframe[0].value.equals(frame)


def test_the_model_that_was_chosen_is_still_chosen_among_many_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    from explain.batch import given
    from tests.test_batch import sound

    app = AppTest.from_file(ROOT / "app.py", default_timeout=120).run()
    app.session_state["batch-clips"] = given([("a.wav", sound())])
    app.switch_page("pages/batch.py").run()
    app.selectbox(key="model").select("egemaps-logistic").run()
    app.selectbox(key="batch-trust").select("quick").run()
    app.switch_page("pages/explain.py").run()
    app.switch_page("pages/batch.py").run()
    assert not app.exception
    assert (app.selectbox(key="model").value, app.selectbox(key="batch-trust").value) == ("egemaps-logistic", "quick")


def test_voices_that_were_corrected_stay_so_when_the_reader_comes_back() -> None:
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120).run()
    app.session_state["long-sound"] = long_sound(wav(two_voices()[: 8 * SAMPLE_RATE]), "a.wav")
    app.switch_page("pages/recording.py").run()
    app.selectbox(key="model").select("egemaps-logistic").run()
    app.selectbox(key="long-voices").select("1").run()
    app = settled(app)
    app.text_input[0].input("Ada")
    press(app, "Rename")
    assert '<th scope="row">Ada</th>' in text(app)
    app.switch_page("pages/about.py").run()
    app.switch_page("pages/recording.py").run()
    assert not app.exception and '<th scope="row">Ada</th>' in text(app)
    assert (app.selectbox(key="model").value, app.selectbox(key="long-voices").value) == ("egemaps-logistic", "1")
    press(app, "Forget this recording")
    # How many people speak is asked of every recording anew.
    app.session_state["long-sound"] = long_sound(wav(two_voices()[: 8 * SAMPLE_RATE]), "a.wav")
    assert app.run().selectbox(key="long-voices").value == "2"


def test_a_filter_never_opens_another_clip_than_the_chosen_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit keeps the number of the chosen row for as long as the table has the same key."""
    drawn, chosen = st.dataframe, {}

    def table(data, *, key: str, **how):
        drawn(data, key=key, **how)
        return {"selection": {"rows": chosen.setdefault(key, [] if chosen else [0])}}

    monkeypatch.setattr(st, "dataframe", table)
    app = settled(press(AppTest.from_function(batch_page).run(timeout=120), "Explain 3 clips"))
    assert '<p class="title">a.wav</p>' in text(app)
    app.text_input[-1].input("bad").run(timeout=120)
    assert list(app.dataframe[0].value["clip"]) == ["bad.wav"] and '<p class="title">' not in text(app)
    app.text_input[-1].input("").run(timeout=120)
    assert '<p class="title">a.wav</p>' in text(app)


def test_the_list_behind_a_point_opens_no_other_clip_when_its_rows_change(monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.parts import clips_behind

    keys = []
    monkeypatch.setattr(st, "dataframe", lambda *_, key, **__: keys.append(key) or {"selection": {"rows": []}})
    facts = {"corpus": "toy", "speaker": "toy/1", "emotion": "anger", "model": "m", "p_anger": 0.4, "p_fear": 0.6}
    one = pd.DataFrame([{"clip": name, **facts} for name in ("a", "b")])
    for rows in (one, one.assign(clip=["c", "d"]), one):
        clips_behind.show(rows, "all", "group")
    assert keys[0] == keys[2] != keys[1]


def test_long_work_goes_on_while_short_work_is_dropped() -> None:
    def page() -> None:
        import threading

        import streamlit as st

        from pages.parts import background

        if "go" not in st.session_state:
            st.session_state["go"] = threading.Event()
            go = st.session_state["go"]
            background.start(("long", 1), lambda job: go.wait(30), long=True)
            for number in range(background.KEPT + 3):
                background.start(("short", number), lambda job: None)
        if st.button("Take another clip"):
            background.stop_all()

    app = AppTest.from_function(page).run(timeout=60)
    assert ("long", 1) in app.session_state["jobs"]
    assert len(app.session_state["jobs"]) == background.KEPT + 1
    press(app, "Take another clip")
    assert list(app.session_state["jobs"]) == [("long", 1)]
    assert not app.session_state["jobs"][("long", 1)].stop.is_set()
    app.session_state["go"].set()
    assert app.session_state["jobs"][("long", 1)].future.result(30)
