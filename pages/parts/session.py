"""What one reader's session holds: the clip. Nothing here is shared or written to disk; the rest is in ``work``."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st
from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from pages.parts import background
from ser_core.settings import settings

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame
    from streamlit.runtime.state import SessionState
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from ser_core.audio import Recording
    from ser_core.speaker_adaptation import AdaptedModel

# What a reader gives to a session; the rest of it is made from this.
GIVEN = (
    "clip",
    "own_clips",
    "voice",
    "second",
    "long-sound",
    "batch-clips",
    "own predictions",
    "own conditions",
    "own noise",
    "own folders",
    "reopened",
    "report sections",
)


CHOICES = ("model", "batch-trust", "long-voices", "long-hear-first")
TARGETS = ("emotion-", "against-", "dimension-")


T = TypeVar("T")


def clip() -> "Recording | None":
    """Return the clip that the session works on."""
    return st.session_state.get("clip")


def use(
    recording: "Recording", origin: str, judged: "DataFrame | None" = None, others: "tuple[Path, ...]" = ()
) -> None:
    """Take a clip into the session.

    Args:
        recording: the clip.
        origin: where it comes from, in words.
        judged: the clip's row of a corpus table, with what listeners answered or raters rated.
        others: files with other clips of the same speaker, where the clip comes from a corpus.
    """
    forget()
    st.session_state["clip"], st.session_state["origin"] = recording, origin
    st.session_state["judged"], st.session_state["others"] = judged, others


def origin() -> str:
    """Return where the clip comes from, in words."""
    return st.session_state.get("origin", "")


def judged() -> "DataFrame | None":
    """Return the clip's row of a corpus table, if it comes from a corpus."""
    return st.session_state.get("judged")


def others() -> "tuple[Path, ...]":
    """Return the files with other clips of the clip's speaker, if it comes from a corpus."""
    return st.session_state.get("others", ())


def own_clips() -> "list[Recording]":
    """Return the other clips of the same person that the reader has given."""
    return st.session_state.get("own_clips", [])


def keep_own_clips(clips: "list[Recording]") -> None:
    """Take in other clips of the same person; those before are dropped."""
    st.session_state["own_clips"] = clips


def voice() -> "tuple[str, AdaptedModel | None]":
    """Return what was heard of the clip's voice in a long recording, in words, and the model that has heard it."""
    return st.session_state.get("voice", ("", None))


def keep_voice(of: str, heard: "AdaptedModel") -> None:
    """Keep the model that has heard the clip's voice in a long recording.

    Args:
        of: what it has heard, in words.
        heard: the model.
    """
    st.session_state["voice"] = of, heard


def keep_choices() -> None:
    """Bring back ``CHOICES``, methods and what is explained; Streamlit forgets them on a page without the box."""
    kept: dict[str, Any] = st.session_state.setdefault("choices", {})
    names = [k for k in st.session_state if k in CHOICES or str(k).startswith(("method-", *TARGETS))]
    kept |= {k: st.session_state[k] for k in names}
    for key, value in kept.items():
        st.session_state[key] = value


def forget() -> None:
    """Drop the clip and everything made from it; the inputs that hold its bytes are made anew."""
    background.stop_all()
    forget_parts()
    made = (
        "predictions",
        "explanations",
        "languages",
        "paths",
        "spoken",
        "adapted",
        "heard",
        "settings",
        "region_rule",
        "clicked",
    )
    for key in ("clip", "origin", "judged", "others", "own_clips", "voice", "second", "second-origin", *made):
        st.session_state.pop(key, None)
    # What is explained was chosen for this clip.
    for chosen in (st.session_state, st.session_state.get("choices", {})):
        for key in [key for key in chosen if str(key).startswith(TARGETS)]:
            del chosen[key]
    st.session_state["round"] = st.session_state.get("round", 0) + 1


def take(keep: Callable[[], T], *files: "UploadedFile") -> T:
    """Return what ``keep`` returns, which reads uploads and keeps what they hold; their bytes go, also where it fails.

    Streamlit itself would keep the bytes until the session ends. It all happens in a thread beside the page's own,
    which ends at its next use of the session when the reader does something else meanwhile: between the reading and the
    keeping the upload would be lost. Not for a callback, during which Streamlit locks the session.
    """
    context = get_script_run_ctx()
    with ThreadPoolExecutor(1, initializer=add_script_run_ctx, initargs=(None, context)) as beside:
        try:
            return beside.submit(keep).result()
        finally:
            uploads = _uploads()
            if context is not None and uploads is not None:
                for file in files:
                    uploads.remove_file(context.session_id, file.file_id)


def holds_data(state: "Mapping[Any, Any] | SessionState", session_id: str) -> bool:
    """Return whether a session holds a voice, or something made from one."""
    uploads = _uploads()
    return any(state[key] for key in GIVEN if key in state) or bool(
        uploads is not None and uploads.file_storage.get(session_id)
    )


def kept_until() -> str:
    """Return in words until when the session keeps what it was given."""
    return f"you forget it, {settings().idle_minutes:g} minutes go by without use, or a minute after you close the page"


def delete_all() -> None:
    """Delete everything that the session holds, and stop its work; the inputs that hold bytes are made anew."""
    taken = {key: st.session_state[key] for key in st.session_state if str(key).endswith("round")}
    for key in list(st.session_state.get("jobs", {})):
        background.stop(key)
    for key in list(st.session_state):
        del st.session_state[key]
    st.session_state.update({key: number + 1 for key, number in {"round": 0, **taken}.items()})
    forget_parts()
    context, uploads = get_script_run_ctx(), _uploads()
    if context is None or uploads is None:
        return
    uploads.remove_session_files(context.session_id)
    media = runtime.get_instance().media_file_mgr
    media.clear_session_refs(context.session_id)
    # A file for download goes at the second call only.
    media.remove_orphaned_files()
    media.remove_orphaned_files()


def forget_parts() -> None:
    """Drop the parts of the page that redraw alone: they hold what they draw, and a run that stops early keeps them."""
    context = get_script_run_ctx()
    if context is not None:
        context.fragment_storage.clear()


def _uploads() -> MemoryUploadedFileManager | None:
    context = get_script_run_ctx()
    held = context.uploaded_file_mgr if context else runtime.get_instance().uploaded_file_mgr
    return held if isinstance(held, MemoryUploadedFileManager) else None


def input_key(name: str) -> str:
    """Return a widget key that changes whenever a clip is taken or forgotten, so that Streamlit drops its bytes."""
    return f"{name}-{st.session_state.get('round', 0)}"
