"""Turns at heavy work, with planted readers: who comes next, who waits, and what is dropped."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from ser_core.sphere import Path
from ser_core.turns import AWAY_S, EXPLANATION, HELD_S, LONG, PANEL, PATIENCE, BusyError, Job, StoppedError, Turns
from tests.queued import kinds_queued

SOON_S = 20


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What keeps the only slot taken until it is set."""
    opened = threading.Event()
    yield opened
    opened.set()


def blocked(turns: Turns, gate: threading.Event) -> Job:
    begun = threading.Event()

    def hold(job: Job) -> None:
        begun.set()
        gate.wait(SOON_S)

    job = turns.submit(hold, "holder", EXPLANATION)
    assert begun.wait(SOON_S)
    return job


def noted(log: list[str], name: str) -> Callable[[Job], str]:
    def work(job: Job) -> str:
        log.append(name)
        return name

    return work


def order(asked: list[tuple[str, int]], slots: int = 1) -> list[str]:
    """Return in which order jobs of these readers and kinds are done, all asked while the slot is taken."""
    turns, gate, log = Turns(slots), threading.Event(), []
    holding = [blocked(turns, gate) for _ in range(slots)]
    jobs = [turns.submit(noted(log, who), who, kind) for who, kind in asked]
    gate.set()
    for job in [*holding, *jobs]:
        job.future.result(SOON_S)
    return log


def test_readers_take_turns_however_much_one_of_them_asks_for() -> None:
    assert order([("a", PANEL)] * 4 + [("b", PANEL)] * 2 + [("c", PANEL)]) == ["a", "b", "c", "a", "b", "a", "a"]


@settings(max_examples=25)
@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=25))
def test_nobody_is_two_turns_ahead_of_another_who_waits(asked: list[str]) -> None:
    done = order([(who, EXPLANATION) for who in asked])
    assert sorted(done) == sorted(asked)
    for place in range(len(done)):
        for waiting in set(done[place:]):
            assert max(done[:place].count(who) for who in "abcde") <= done[:place].count(waiting) + 1


def test_explanations_come_before_panels_and_panels_before_long_work() -> None:
    assert order([("l", LONG), ("p", PANEL), ("e", EXPLANATION)]) == ["e", "p", "l"]


def test_work_that_was_passed_often_enough_has_a_turn_all_the_same() -> None:
    done = order([("p", PANEL), *[(f"e{number}", EXPLANATION) for number in range(2 * PATIENCE)]])
    assert done.index("p") == PATIENCE


def test_long_work_steps_aside_where_it_tells_how_far_it_is_and_goes_on_with_what_it_has(
    gate: threading.Event,
) -> None:
    turns, log, begun = Turns(1), [], threading.Event()

    def long(job: Job) -> str:
        kept = "what it has"
        begun.set()
        gate.wait(SOON_S)
        log.append("long")
        job.tell(0.5, "Half")
        log.append("long again")
        return kept

    slow = turns.submit(long, "a", LONG)
    begun.wait(SOON_S)
    quick = turns.submit(noted(log, "explanation"), "a", EXPLANATION)
    assert turns.before(quick) == 0 and slow.words == "Starting"
    gate.set()
    assert slow.future.result(SOON_S) == "what it has"
    assert log == ["long", "explanation", "long again"]


def test_work_let_in_on_a_busy_day_keeps_its_turn_for_a_while() -> None:
    now, turns, gate = [0.0], None, threading.Event()
    turns = Turns(1, clock=lambda: now[0])
    holding, log = blocked(turns, gate), []

    def panel(job: Job) -> None:
        for _ in range(3):
            log.append("panel")
            job.tell(0.5, "Some")
            now[0] += 0.6 * HELD_S

    jobs = [turns.submit(panel, "p", PANEL)]
    jobs += [turns.submit(noted(log, "e"), f"e{number}", EXPLANATION) for number in range(PATIENCE + 2)]
    gate.set()
    for job in [holding, *jobs]:
        job.future.result(SOON_S)
    assert log == ["e"] * PATIENCE + ["panel"] * 3 + ["e"] * 2


def test_the_reader_is_told_how_many_come_before(gate: threading.Event) -> None:
    turns = Turns(1)
    blocked(turns, gate)
    jobs = [turns.submit(noted([], who), who, EXPLANATION) for who in "abc"]
    panel = turns.submit(noted([], "d"), "d", PANEL)
    assert [turns.before(job) for job in [*jobs, panel]] == [1, 2, 3, 4]
    assert jobs[1].words == "Waiting for a turn: 2 before you"
    jobs[0].stop.set()
    assert turns.before(jobs[1]) == 1
    with pytest.raises(StoppedError):
        jobs[0].future.result(SOON_S)


def test_a_full_queue_says_so_and_takes_work_again_later(gate: threading.Event) -> None:
    turns = Turns(1, most_waiting=2)
    blocked(turns, gate)
    kept = [turns.submit(noted([], who), who) for who in "ab"]
    with pytest.raises(BusyError, match="2 pieces of work wait already"):
        turns.submit(noted([], "c"), "c")
    kept[0].stop.set()
    assert turns.submit(noted([], "c"), "c").future is not None


def test_work_of_a_closed_page_is_passed_over_and_then_dropped(gate: threading.Event) -> None:
    now, away, log = [0.0], {"gone"}, []
    turns = Turns(1, here=lambda who: who not in away, clock=lambda: now[0])
    holding = blocked(turns, gate)
    gone, here = (turns.submit(noted(log, who), who) for who in ("gone", "here"))
    gate.set()
    assert here.future.result(SOON_S) == "here" and holding.future.result(SOON_S) is None and not gone.done
    now[0] = AWAY_S / 2
    away.clear()
    turns.before(gone)
    assert gone.future.result(SOON_S) == "gone"
    away.add("gone")
    late = turns.submit(noted(log, "late"), "gone")
    assert turns.before(late) == 0
    now[0] += AWAY_S + 1
    assert turns.before(late) is None
    with pytest.raises(StoppedError):
        late.future.result(SOON_S)
    assert log == ["here", "gone"]


def test_running_work_of_a_closed_page_ends_at_its_next_step() -> None:
    now, away, turns = [0.0], set(), None
    turns = Turns(1, here=lambda who: who not in away, clock=lambda: now[0])

    def work(job: Job) -> None:
        job.tell(0.1, "Begun")
        away.add("a")
        for _ in range(3):
            now[0] += AWAY_S
            job.tell(0.2, "Still there")

    with pytest.raises(StoppedError):
        turns.submit(work, "a", LONG).future.result(SOON_S)
    assert turns.submit(noted([], "b"), "b").future.result(SOON_S) == "b"


def test_a_fault_reaches_the_one_who_asked_and_frees_the_slot() -> None:
    turns = Turns(1)

    def fail(job: Job) -> None:
        raise KeyError("x")

    job = turns.submit(fail, "a")
    with pytest.raises(KeyError):
        job.future.result(SOON_S)
    assert job.work is None and turns.submit(noted([], "b"), "b").future.result(SOON_S) == "b"


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_runs_at_once_than_there_are_slots_and_nothing_is_lost(slots: int) -> None:
    turns, lock, now, most = Turns(slots, most_waiting=1000), threading.Lock(), [0], [0]

    def work(number: int) -> Callable[[Job], int]:
        def count(by: int) -> None:
            with lock:
                now[0] += by
                most[0] = max(most[0], now[0])

        def run(job: Job) -> int:
            for step in range(4):
                count(1)
                time.sleep(0.0005)
                count(-1)
                job.tell(step / 4, "Counting")
            return number

        return run

    jobs = [turns.submit(work(n), f"reader {n % 7}", n % 3) for n in range(90)]
    assert [job.future.result(SOON_S) for job in jobs] == list(range(90))
    assert most[0] == slots


def waiting_page() -> None:
    import streamlit

    from pages.parts import background

    made = streamlit.session_state.setdefault("made", [])

    def work(job: background.Job) -> str:
        job.tell(0.5, "Half")
        made.append("once")
        return "the explanation"

    streamlit.write(background.wait_for(("explanation", "clip"), work), f"made {len(made)} times")


def test_a_page_waits_for_its_explanation_and_keeps_no_job() -> None:
    app = AppTest.from_function(waiting_page).run(timeout=SOON_S)
    assert not app.exception and not app.session_state["jobs"] and not app.button
    assert app.markdown[0].value == "the explanation made 1 times"


def test_what_the_reader_stopped_begins_again_only_when_asked() -> None:
    app = AppTest.from_function(waiting_page)
    app.session_state["stopped"] = {"explanation": ("explanation", "clip")}
    app.run(timeout=SOON_S)
    assert not app.markdown and app.session_state["made"] == [] and "stopped" in app.info[0].value
    app.button[0].click().run(timeout=SOON_S)
    assert app.markdown[0].value == "the explanation made 1 times" and not app.button


def test_a_page_drawn_anew_waits_for_the_same_work_and_drops_what_was_asked_before() -> None:
    app, under_way, before = AppTest.from_function(waiting_page), Job(), Job()
    app.session_state["jobs"] = {("explanation", "clip"): under_way, ("explanation", "other"): before}
    threading.Timer(0.3, lambda: under_way.future.set_result("taken over")).start()
    app.run(timeout=SOON_S)
    assert app.markdown[0].value == "taken over made 0 times"
    assert before.stop.is_set() and not under_way.stop.is_set()


def page_of_two_waits() -> None:
    import time

    import streamlit

    from pages.parts import background

    def work(job: background.Job) -> str:
        job.tell(0.0, "Waiting")
        time.sleep(2 * background.AT_ONCE_S)
        return "done"

    streamlit.write("path", background.wait_for(("path", "clip"), work, needed=False) or "left out")
    streamlit.write("explanation", background.wait_for(("explanation", "clip"), work))


def test_a_page_waits_for_one_thing_after_another_and_goes_on_without_what_it_does_not_need() -> None:
    app = AppTest.from_function(page_of_two_waits).run(timeout=SOON_S)
    assert not app.exception and [each.value for each in app.markdown] == ["path done", "explanation done"]
    app.session_state["stopped"] = {"path": ("path", "clip")}
    app.run(timeout=SOON_S)
    assert [each.value for each in app.markdown] == ["path left out", "explanation done"]
    assert "stopped" in app.info[0].value
    app.button[0].click().run(timeout=SOON_S)
    assert app.markdown[0].value == "path done" and not app.button


def page_of_a_sphere() -> None:
    from types import SimpleNamespace

    import numpy as np

    from pages.parts import sphere
    from ser_core.audio import SAMPLE_RATE, from_samples

    clip = from_samples(np.sin(np.arange(SAMPLE_RATE)), SAMPLE_RATE, "a.wav")
    prediction = SimpleNamespace(values=np.zeros(3), emotions=sphere.DIMENSIONS, constant=(0.0, 0.0, 0.0))
    sphere.show(clip, SimpleNamespace(name="m"), prediction, None)  # type: ignore[arg-type]


def test_the_way_through_the_sphere_takes_a_turn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path(np.array([0.5, 1.0]), np.zeros((2, 3)))
    monkeypatch.setattr("pages.parts.sphere.path_over_time", lambda model, clip: made)
    queued = kinds_queued(monkeypatch)
    app = AppTest.from_function(page_of_a_sphere).run(timeout=SOON_S)
    app.run(timeout=SOON_S)
    assert not app.exception and len(app.get("plotly_chart")) == 1 and queued == [EXPLANATION]
