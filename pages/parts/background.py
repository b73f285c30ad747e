"""Work that the reader does not wait for: it runs in a thread and tells how far it is; its result stays in the session.

One thread does all sessions' background work in the order in which it was asked for, so that the views that readers
wait for keep the other cores. Work of many minutes has a thread of its own, so that no short work waits for it, and
goes on when the clip is changed.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.parts.faults import in_plain_words
from ser_core.errors import SerscopeError

KEPT = 12
EVERY_S = 1.0
AWAY_S = 90.0

_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="background")
_long_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long-background")


@dataclass
class Job:
    """Work under way: the share done (0 … 1), what is being done, what is known so far, and the future result."""

    share: float = 0.0
    words: str = "Waiting for its turn"
    known: Any = None
    future: Future | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    drawn: bool = False
    long: bool = False
    session: str = ""
    away_since: float | None = None

    def tell(self, share: float, words: str) -> None:
        """Take in how far the work is; ends it where nobody wants it any more."""
        if self.stop.is_set() or self._left_alone():
            raise _StoppedError
        self.share, self.words = share, words

    def learn(self, known: Any) -> None:
        """Take in what is known so far."""
        self.known = known

    def _left_alone(self) -> bool:
        """Whether the page that asked has been closed for longer than a session is kept."""
        if not self.long or not runtime.exists() or runtime.get_instance().is_active_session(self.session):
            self.away_since = None
            return False
        self.away_since = self.away_since or time.monotonic()
        return time.monotonic() - self.away_since > AWAY_S

    @property
    def done(self) -> bool:
        """Whether there is a result or a fault."""
        return self.future is not None and self.future.done()


class _StoppedError(Exception):
    """The reader has stopped the work."""


def job(key: tuple) -> Job | None:
    """Return the session's job of that key, if it was started."""
    return _jobs().get(key)


def found(start: tuple) -> list[Any]:
    """Return what is known of the session's jobs whose keys begin so: their results, or what they told so far."""
    known = []
    for key, each in _jobs().items():
        if key[: len(start)] == start:
            done = each.done and each.future is not None and each.future.exception() is None
            known.append(each.future.result() if done and each.future is not None else each.known)
    return [each for each in known if each is not None]


def start(key: tuple, work: Callable[[Job], Any], *, long: bool = False) -> Job:
    """Start work unless the session has it already; ``work`` is given the job to tell how far it is.

    Work that is ``long`` runs beside the rest, until it is done or ``stop`` is called.
    """
    jobs = _jobs()
    if key not in jobs:
        context = get_script_run_ctx()
        started = Job(long=long, session=context.session_id if context else "")
        started.future = (_long_pool if long else _pool).submit(work, started)
        jobs[key] = started
        short = [name for name, each in jobs.items() if not each.long]
        for name in short[: max(0, len(short) - KEPT)]:
            jobs.pop(name).stop.set()
    return jobs[key]


def result(started: Job) -> Any:
    """Return the result when there is one; draws the progress, or the fault in plain words, and returns None else.

    For the body of a fragment that runs every so often; when the work is done the page is drawn once more without it.
    """
    if not started.done:
        show_progress(started)
        return None
    assert started.future is not None
    if not started.drawn:
        started.drawn = True
        st.rerun()
    fault = started.future.exception()
    if isinstance(fault, SerscopeError):
        st.error(str(fault))
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


def stop_all() -> None:
    """Stop the session's work and forget its results, but for what is long."""
    for key in [key for key, each in _jobs().items() if not each.long]:
        stop(key)


def show_progress(started: Job) -> None:
    """Draw a bar with what is being done, and a button that stops it."""
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(min(1.0, max(0.0, started.share)), f"{started.words} …")
    if right.button("Stop", key=f"stop-{id(started)}"):
        started.stop.set()
        jobs = _jobs()
        for key in [key for key, each in jobs.items() if each is started]:
            del jobs[key]
        st.rerun(scope="fragment")


def _jobs() -> dict[tuple, Job]:
    return st.session_state.setdefault("jobs", {})
