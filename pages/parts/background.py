"""Heavy work for one reader: it runs in a thread of ``ser_core.turns`` and its result stays in the session.

An explanation is work that the page waits for; a panel's work goes on beside the page; work of many minutes goes on
when the clip is changed. All readers' work takes turns in one queue, so that nobody's keeps the others waiting.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from functools import cache
from typing import Any

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.parts.faults import in_plain_words
from pages.parts.words import plain
from ser_core import turns
from ser_core.errors import SerscopeError
from ser_core.settings import settings
from ser_core.turns import StoppedError, Turns

KEPT = 24
EVERY_S = 1.0
AT_ONCE_S, LOOK_S, REDRAWN_S = 0.3, 0.1, 0.5

Job = turns.Job


def _here(session: str) -> bool:
    """Return whether a session's page is open; outside a server every one is."""
    return not session or not runtime.exists() or runtime.get_instance().is_active_session(session)


@cache
def queue() -> Turns:
    """Return the queue of all readers' work."""
    return Turns(settings().jobs or turns.SLOTS, here=_here)


def counts() -> tuple[int, int]:
    """Return how many jobs of all readers wait, and how many run."""
    return queue().counts()


def job(key: tuple) -> Job | None:
    """Return the session's job of that key, if it was started."""
    return _jobs().get(key)


def found(start: tuple) -> list[Any]:
    """Return what is known of the session's jobs whose keys begin so: their results, or what they told so far."""
    known = []
    for key, each in _jobs().items():
        if key[: len(start)] == start:
            known.append(each.known if each.result is None else each.result)
    return [each for each in known if each is not None]


def start(key: tuple, work: Callable[[Job], Any], *, long: bool = False, anew: bool = False) -> Job:
    """Start work unless the session has it already; ``work`` is given the job to tell how far it is.

    Work that is ``long`` comes after the rest, until it is done or ``stop`` is called. Work that is done ``anew`` takes
    the place of what the session has of it.

    Raises:
        BusyError: too much work waits already; what the session has of it stays.
    """
    return _start(key, work, turns.LONG if long else turns.PANEL, anew)


def wait_for(
    key: tuple, work: Callable[[Job], Any], *, then: str = "The view and its tables come", needed: bool = True
) -> Any:
    """Return the result of work that the page cannot go on without; draws how far it is, and a button that stops it.

    What is done at once is not drawn. The session waits for one such work of a kind at a time: other work whose key
    begins alike is stopped. When the reader does something else meanwhile, the work goes on, and the page that asks
    again waits for the same.

    Args:
        key: what the work is; begins with its kind.
        work: is given the job to tell how far it is.
        then: what comes when it is done.
        needed: whether the page ends where the reader has stopped the work; else None is returned there.

    Raises:
        BusyError: too much work waits already.
    """
    jobs = _jobs()
    for other in [other for other in jobs if other[0] == key[0] and other != key]:
        stop(other)
    if _stopped().get(key[0]) == key:
        return _offer_again("You have stopped this.", key, needed)
    _stopped().pop(key[0], None)
    area = st.empty()
    started = _start(key, work, turns.EXPLANATION)
    futures.wait([started.future], timeout=AT_ONCE_S)
    if not started.done:
        _draw_until_done(area, started, key, then)
    jobs.pop(key, None)
    if isinstance(started.future.exception(), StoppedError):
        return _offer_again("Stopped, because the page was away.", key, needed)
    return started.future.result()


def made_once(
    kept: dict,
    asked: Any,
    key: tuple,
    words: str,
    make: Callable[[Job], Any],
    *,
    then: str,
    needed: bool = True,
    most: int | None = None,
) -> Any:
    """Return ``kept[asked]``; where that is not there yet, wait for it, as ``wait_for`` does, and keep it.

    Takes the same place on the page whether it waits or not, so that what follows is not drawn anew.

    Args:
        kept: what the session holds of this kind.
        asked: what is asked for.
        key: see ``wait_for``.
        words: what is being done.
        make: is given the job, and returns the result.
        then: see ``wait_for``.
        needed: see ``wait_for``.
        most: how many of this kind are kept at most; the oldest make way.
    """

    def work(job: Job) -> Any:
        job.tell(0.0, words)
        return make(job)

    with st.empty():
        if asked not in kept:
            found = wait_for(key, work, then=then, needed=needed)
            if found is None:
                return None
            kept[asked] = found
            for oldest in list(kept)[: len(kept) - (most or len(kept))]:
                del kept[oldest]
    return kept[asked]


def _draw_until_done(area: Any, started: Job, key: tuple, then: str) -> None:
    with area.container():
        left, right = st.columns([5, 1], vertical_alignment="center")
        bar = left.empty()
        right.button("Stop", on_click=_halt, args=(key,), key=f"stop-waiting-{key[0]}", width="stretch")
    drawn, drawn_at = None, 0.0
    while not started.done:
        now = started.share, started.words
        # Drawing is also where Streamlit takes up what the reader has done meanwhile.
        if now != drawn or time.monotonic() - drawn_at > REDRAWN_S:
            bar.progress(min(1.0, max(0.0, now[0])), f"{plain(now[1])}. {then} when this is done.")
            drawn, drawn_at = now, time.monotonic()
        futures.wait([started.future], timeout=LOOK_S)
    area.empty()


def _stopped() -> dict[str, tuple]:
    """Return the keys of the work that the reader has stopped, by kind."""
    return st.session_state.setdefault("stopped", {})


def _halt(key: tuple) -> None:
    stop(key)
    _stopped()[key[0]] = key


def _go_on(kind: str) -> None:
    _stopped().pop(kind, None)


def _offer_again(words: str, key: tuple, needed: bool) -> None:
    """Draw a button that takes up the work that was stopped; ends the page if that is needed."""
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.info(words)
    right.button("Go on", on_click=_go_on, args=key[:1], key=f"go-on-{key[0]}", type="primary", width="stretch")
    if needed:
        st.stop()


def _start(key: tuple, work: Callable[[Job], Any], kind: int, anew: bool = False) -> Job:
    jobs = _jobs()
    if anew or key not in jobs:
        context = get_script_run_ctx()
        jobs[key] = queue().submit(work, context.session_id if context else "", kind)
        if len([each for each in jobs.values() if not each.long]) > KEPT:
            _let_one_go()
    return jobs[key]


def _let_one_go() -> None:
    """Forget the oldest piece of work of the kind of which there is most, so that a single one of its kind stays."""
    short = [key for key, each in _jobs().items() if not each.long]
    (kind, _), *_ = Counter(key[0] for key in short).most_common(1)
    oldest = next(key for key in short if key[0] == kind)
    if _jobs()[oldest].result is not None:
        _let_go().append(oldest)
    stop(oldest)


def _let_go() -> list[tuple]:
    return st.session_state.setdefault("let-go", [])


def let_go(start: tuple) -> int:
    """Return how many results of keys that begin so were forgotten because there were too many, and not made again."""
    return len({key for key in _let_go() if key[: len(start)] == start and key not in _jobs()})


def result(started: Job) -> Any:
    """Return the result when there is one; draws the progress, or the fault in plain words, and returns None else.

    For the body of a fragment that runs every so often; when the work is done the page is drawn once more without it.
    """
    if not started.done:
        show_progress(started)
        return None
    if not started.drawn:
        started.drawn = True
        st.rerun()
    fault = started.future.exception()
    if isinstance(fault, StoppedError):
        _forget(started)
        st.info("Stopped, because the page was away. It can be started again.")
        return None
    if isinstance(fault, SerscopeError):
        st.error(plain(str(fault)))
        return None
    if fault is not None:
        raise fault
    return started.future.result()


def follow(started: Job, body: Callable[[], None]) -> None:
    """Draw ``body`` every second until the work is done, apart from the rest of the page; faults in plain words."""
    st.fragment(run_every=None if started.done else EVERY_S)(in_plain_words()(body))()


def show(started: Job, draw: Callable[[Any], None] | None = None) -> None:
    """Draw how far the work is, and when it is done its result by ``draw``, apart from the rest of the page."""

    def body() -> None:
        found = result(started)
        if found is not None and draw is not None:
            draw(found)

    follow(started, body)


def stop(key: tuple) -> None:
    """Stop one piece of the session's work and forget its result."""
    if key in _jobs():
        _jobs().pop(key).stop.set()


def stop_kind(*begins: object) -> None:
    """Stop the session's work whose keys begin so, and forget its results."""
    for key in [key for key in _jobs() if key[: len(begins)] == begins]:
        stop(key)


def stop_all() -> None:
    """Stop the session's work and forget its results, but for what is long."""
    st.session_state.pop("stopped", None)
    st.session_state.pop("let-go", None)
    for key in [key for key, each in _jobs().items() if not each.long]:
        stop(key)


def show_progress(started: Job) -> None:
    """Draw a bar with what is being done, and a button that stops it."""
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(min(1.0, max(0.0, started.share)), f"{plain(started.words)} …")
    if right.button("Stop", key=f"stop-{id(started)}"):
        _forget(started)
        st.rerun(scope="fragment")


def _forget(started: Job) -> None:
    for key in [key for key, each in _jobs().items() if each is started]:
        stop(key)


def _jobs() -> dict[tuple, Job]:
    return st.session_state.setdefault("jobs", {})
