"""A reader's own data: the button that deletes them, and the clock that does where nobody comes back."""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit import runtime
from streamlit.runtime.app_session import AppSession, AppSessionState
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.parts import background, session
from ser_core.settings import ASSETS, settings

# Sessions that have not been used for too long; each deletes its own data in the run that is then asked for.
_unused: set[str] = set()
COLLECTED_EVERY_S = 20.0


def bar() -> None:
    """Draw the button that deletes the session's data where it holds any, and say when data have just been deleted."""
    context = get_script_run_ctx()
    if context is not None and context.session_id in _unused:
        _unused.discard(context.session_id)
        _delete_all()
        st.info(
            f"Nothing was done here for {settings().idle_minutes:g} minutes, so your clips and all that was made from "
            "them have been deleted from this server's memory."
        )
    elif st.session_state.pop("deleted", False):
        st.success("Your clips and all that was made from them have been deleted from this server's memory.")
    if context is not None and session.holds_data(st.session_state, context.session_id):
        st.html(ASSETS / "theme" / "own_data.css")
        st.button("Delete my data now", key="own-data", on_click=_delete, help=_HELP)


_HELP = (
    "Deletes from this server's memory everything that this session holds: uploads, recordings, results and what you "
    "have chosen. Files that you have downloaded stay with you."
)


def _delete() -> None:
    _delete_all()
    st.session_state["deleted"] = True


def _delete_all() -> None:
    session.delete_all()
    # Streamlit collects after this run: nothing of the session may be kept out of that.
    gc.unfreeze()


# ------------------------------------------------------------------------------------------------------------ the clock


async def watch(warm: Callable[[], bool]) -> None:
    """Delete the data of sessions that nobody uses, and free those whose page was closed; runs beside the server.

    Args:
        warm: whether the server has loaded its libraries; before, it is not held up by collecting.
    """
    limit_s = 60 * settings().idle_minutes
    seen: dict[str, tuple[Any, float]] = {}
    known: dict[str, AppSession] = {}
    ended: list[AppSession] = []
    owed, collected_s = True, 0.0
    while True:
        await asyncio.sleep(min(5.0, limit_s / 4))
        before, seen = seen, _ask_the_unused(seen, limit_s)
        owed = owed or any(name not in before or before[name][0] is not run for name, (run, _) in seen.items())
        held = _free_the_closed()
        gone = [own for name, own in known.items() if name not in held]
        ended = [own for own in (*ended, *gone) if not _emptied(own)]
        if gone or (owed and warm() and time.monotonic() - collected_s > COLLECTED_EVERY_S):
            # What is under way now may let go of something when it ends.
            owed = bool(ended) or not all(map(_rests, _connected())) or any(background.counts())
            collect()
            collected_s = time.monotonic()
        known = held


def collect() -> None:
    """Free what nobody holds, and keep the rest out of later collections until the next call.

    Streamlit collects after every run of a page. Over the half million objects of the loaded libraries that took 0.3 s,
    in which the whole server stood still: four fifths of a run that changes nothing. What a reader drops is freed by
    the clock's next call at the latest.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _ask_the_unused(seen: dict[str, tuple[Any, float]], limit_s: float) -> dict[str, tuple[Any, float]]:
    """Let connected sessions that have not been used delete their data; return each one's last use.

    Streamlit keeps what the browser sent with the last run, of a page or of a part of it, and replaces it with each.
    """
    now, after = time.monotonic(), {}
    for own in _connected():
        last, since = seen.get(own.id, (None, now))
        after[own.id] = (own._client_state, since if own._client_state is last else now)
        if now - after[own.id][1] > limit_s and _rests(own) and session.holds_data(own.session_state, own.id):
            _unused.add(own.id)
            own.request_rerun(None)
    return after


def _emptied(own: AppSession) -> bool:
    """End a session that nobody can come back to, and take away what it holds; return whether that is done.

    Streamlit leaves both to the collector, and its main loop goes on holding the last session until the next page.
    """
    own.shutdown()
    if own._scriptrunner is not None:
        return False
    own.session_state.clear()
    own._fragment_storage.clear()
    return True


def _free_the_closed() -> dict[str, AppSession]:
    """Free the sessions that are past their time, which Streamlit does when the next page is closed; return the rest.

    Returns those that are held, by id.
    """
    manager: Any = runtime.get_instance()
    sessions = manager._session_mgr
    sessions._session_storage._cache.expire()
    if all(map(_rests, _connected())):
        manager.media_file_mgr.remove_orphaned_files()
    return {each.session.id: each.session for each in sessions.list_sessions()}


def _connected() -> list[AppSession]:
    return [info.session for info in runtime.get_instance()._session_mgr.list_active_sessions()]


def _rests(own: AppSession) -> bool:
    return own._scriptrunner is None and own._state is AppSessionState.APP_NOT_RUNNING
