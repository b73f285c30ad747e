"""The panels under an explanation, on a planted model: started by the reader, run in the background."""

import dataclasses
import time

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import explain.intervention
from explain.expert import Agreement
from explain.intervention import EXPERIMENTS, DoseResponse
from explain.listen import Heard
from explain.removal import Curve
from explain.standing import standing
from explain.trust import Trust
from explain.verdicts import Test
from pages.parts import background, experiment_panel, listen_panel, trust_panel, work
from pages.parts.switch_player import Take
from pages.parts.words import plain
from ser_core.errors import ExplanationError
from tests.planted import clip, recording, shown


def trust_page() -> None:
    from pages.parts import trust_panel
    from tests.planted import burst_model, shown

    trust_panel.show(shown(), burst_model(), "key")


def experiment_page() -> None:
    from pages.parts import experiment_panel
    from tests.planted import burst_model, shown

    experiment_panel.show(shown(), burst_model(), "key")


def listen_page() -> None:
    from pages.parts import listen_panel
    from tests.planted import burst_model, shown

    listen_panel.show(shown(), burst_model(), "key")


def text(app: AppTest) -> str:
    return " ".join(each.proto.body for each in app.get("html")) + " ".join(c.value for c in app.caption)


def after(app: AppTest, label: str) -> AppTest:
    """Press a button and wait until the background work is done."""
    next(button for button in app.button if button.label == label).click()
    app.run(timeout=180)
    for _ in range(600):
        if all(job.done for job in app.session_state["jobs"].values()):
            break
        time.sleep(0.1)
    app.run(timeout=180)
    assert not app.exception
    return app


def test_nothing_is_tested_before_the_reader_asks() -> None:
    app = AppTest.from_function(trust_page).run(timeout=180)
    assert not app.exception
    assert [button.label for button in app.button] == ["Test this explanation"]
    assert "jobs" not in app.session_state or not app.session_state["jobs"]


def test_the_trust_panel_gives_a_verdict_and_every_test() -> None:
    found = text(after(AppTest.from_function(trust_page).run(timeout=180), "Test this explanation"))
    for part in ("deletion", "insertion", "randomised weights", "infidelity", "sensitivity", "Every test holds"):
        assert part in found


def test_an_experiment_says_what_the_change_did_and_can_be_heard() -> None:
    app = AppTest.from_function(experiment_page).run(timeout=180)
    app.selectbox[0].select("loudness").run(timeout=180)
    app = after(app, "Run")
    assert "oudness" in text(app)
    assert "Loudness +6.0 dB" in text(app)
    assert app.select_slider[0].options[0] == "Loudness −18.0 dB"


def test_an_experiment_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ExplanationError("The clip has hardly any voice; try loudness.")

    monkeypatch.setattr(explain.intervention, "dose_response", refuse)
    app = after(AppTest.from_function(experiment_page).run(timeout=180), "Run")
    assert "hardly any voice" in app.error[0].value


def test_the_clip_and_its_parts_are_heard_under_one_cursor_with_the_models_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    takes: list[Take] = []
    monkeypatch.setattr(listen_panel, "show_takes", lambda found, identity: takes.extend(found))
    after(AppTest.from_function(listen_page).run(timeout=180), "Cut the clip in two")
    assert [take.label for take in takes[:3]] == ["The whole clip", "Salient regions alone", "Without them"]
    assert all(take.words.startswith("The model answers ") for take in takes)
    assert len({len(take.recording.samples) for take in takes}) == 1
    assert "Raised by" not in takes[0].words and "Raised by" in takes[1].words


@pytest.mark.parametrize(
    ("gain_db", "words"), [(3.21, "Raised by 3.2 dB."), (-0.18, "Lowered by 0.2 dB."), (-0.01, "Raised by 0.0 dB.")]
)
def test_a_part_that_full_scale_holds_down_is_not_called_raised(gain_db: float, words: str) -> None:
    found = shown()
    assert listen_panel.answer(Heard(found.recording, found.prediction, gain_db), found.target.emotion).endswith(words)


def test_the_switch_player_hands_over_every_take() -> None:
    def page() -> None:
        from pages.parts.switch_player import Take, show
        from tests.planted import shown

        show([Take("One", "words", shown().recording), Take("Two", "words", shown().recording)], "key")

    app = AppTest.from_function(page).run(timeout=60)
    assert not app.exception


def trust_with(null: list[float], value: float) -> Trust:
    test = Test("deletion", value, "logit", np.array(null), 0.0, 0.0, "holds", "It did.")
    return Trust("m", "ig", shown().target, (test,), (Curve("deletion", (1, 0), (1, 1), (1, 1), (1, 1)),))


def agreement(status: str) -> Agreement:
    return Agreement(
        shown().target.emotion, "f0_mean", "salient regions", 1.0, "st", 50, "high", "high", status, "source"
    )


@pytest.mark.parametrize(
    ("beaten", "agrees", "corner"),
    [
        (1.0, 4, "Faithful and plausible"),
        (1.0, 0, "Faithful, not plausible"),
        (0.5, 4, "Plausible, not faithful"),
        (0.5, 0, "Neither"),
    ],
)
def test_the_two_axes_name_the_corner(beaten: float, agrees: int, corner: str) -> None:
    null = list(np.linspace(0, 1, 100))
    found = trust_with(null, 2.0 if beaten == 1.0 else 0.5)
    rows = tuple(agreement("agrees" if number < agrees else "disagrees") for number in range(4))
    drawn = trust_panel.axes(found, rows)
    assert corner in drawn
    # Streamlit takes <svg> out of HTML; as an image it stays.
    assert "<svg" not in drawn and 'src="data:image/svg+xml;base64,' in drawn and 'alt="Faithful: ' in drawn


def test_the_axes_say_what_was_measured_where_another_test_of_faithfulness_fails() -> None:
    null = np.linspace(0, 1, 40)
    verdicts = {"deletion": "holds", "insertion": "holds", "randomised weights": "fails"}
    tests = tuple(Test(name, 2.0, "logit", null, 0.95, 0.02, verdict, name) for name, verdict in verdicts.items())
    found = dataclasses.replace(trust_with(list(null), 2.0), tests=tests)
    drawn = trust_panel.axes(found, (agreement("agrees"),))
    assert "beats 100 % of random places; not every test of faithfulness holds (randomised weights: fails)" in drawn
    assert "plausible, not faithful (here)" in drawn.replace("Plausible", "plausible")


def test_without_a_judged_cue_there_is_no_place_on_the_axes() -> None:
    assert standing(trust_with([0.0], 1.0), (agreement("contested"),)) is None


def test_names_bring_no_markup_into_the_panels() -> None:
    test = Test("<b>x</b>", 0, "", np.zeros(1), 0, 0, "holds", "<script>alert(1)</script>")
    assert "<script>" not in trust_panel.tests((test,)) and "<b>" not in trust_panel.tests((test,))


def test_the_curve_marks_where_the_answer_turns() -> None:
    sound = recording(clip(np.random.default_rng(0), "low")[0])
    doses = np.array([-2.0, 0.0, 2.0])
    found = DoseResponse(
        EXPERIMENTS["pitch_level"],
        None,
        None,
        "a",
        ("a", "b"),
        doses,
        np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]),
        np.array([0.8, 0.2]),
        doses,
        (sound,) * 3,
    )
    figure = experiment_panel.curve(found)
    assert any("becomes b" in str(note.text) for note in figure.layout.annotations)
    assert [trace.name for trace in figure.data] == ["a", "b"]


def test_work_that_nobody_wants_any_more_ends_at_its_next_step() -> None:
    job = background.Job()
    job.tell(0.5, "Half")
    job.stop.set()
    with pytest.raises(background.StoppedError):
        job.tell(0.6, "More")
    assert job.share == 0.5


def test_many_experiments_push_out_the_oldest_of_them_and_never_the_trust_tests() -> None:
    def page() -> None:
        import streamlit as st

        from pages.parts import background

        def once(*key: object) -> None:
            started = background.start(key, lambda job: "done")
            while not started.done:
                pass

        once("trust", "map")
        for place in range(background.KEPT + 1):
            once("experiment", "map", place)
        st.write(len(background.found(("trust", "map"))), len(background.found(("experiment", "map"))))
        st.write(background.let_go(("experiment", "map")), background.let_go(("experiment", "another")))
        once("experiment", "map", 0)
        st.write(background.let_go(("experiment", "map")), background.job(("experiment", "map", 0)) is not None)
        background.stop_all()
        st.write(background.let_go(("experiment", "map")))

    app = AppTest.from_function(page).run(timeout=30)
    assert not app.exception
    kept = background.KEPT - 1  # and the trust tests
    # Two were let go; the first is made again, for which the third makes way.
    assert [line.value.replace("`", "") for line in app.markdown] == [f"1 {kept}", "2 0", "2 True", "0"]


def test_to_measure_the_voice_otherwise_leaves_what_was_tested_of_the_map() -> None:
    first = shown()
    settings = dataclasses.replace(first.tracks.settings, octave_jump_cost=0.7)
    again = dataclasses.replace(first, tracks=dataclasses.replace(first.tracks, settings=settings))
    assert work.map_identity(again) == work.map_identity(first)
    assert work.identity(again) != work.identity(first)
    assert work.map_identity(dataclasses.replace(first, regions=())) != work.map_identity(first)


def test_a_fault_of_the_work_is_told_in_its_own_sentence() -> None:
    def page() -> None:
        import streamlit as st

        from pages.parts import background
        from ser_core.errors import ExplanationError

        def work(job: background.Job) -> None:
            raise ExplanationError("The clip is too short; use a longer one.")

        started = background.start(("k",), work)
        while not started.done:
            pass
        st.fragment(background.result)(started)

    app = AppTest.from_function(page).run(timeout=30)
    app.run()
    assert [error.value for error in app.error] == [plain("The clip is too short; use a longer one.")]
    assert issubclass(ExplanationError, Exception)
