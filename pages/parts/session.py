"""What one reader's session holds: the clip. Nothing here is shared or written to disk; the rest is in ``work``."""

from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from ser_core.audio import Recording


def clip() -> "Recording | None":
    """Return the clip that the session works on."""
    return st.session_state.get("clip")


def use(recording: "Recording", origin: str) -> None:
    """Take a clip into the session; ``origin`` says in words where it comes from."""
    forget()
    st.session_state["clip"], st.session_state["origin"] = recording, origin


def origin() -> str:
    """Return where the clip comes from, in words."""
    return st.session_state.get("origin", "")


def forget() -> None:
    """Drop the clip and everything made from it; the inputs that hold its bytes are made anew."""
    for key in ("clip", "origin", "predictions", "explanations", "settings", "region_rule"):
        st.session_state.pop(key, None)
    st.session_state["round"] = st.session_state.get("round", 0) + 1


def drop_upload(file: "UploadedFile") -> None:
    """Drop the bytes of an upload; Streamlit itself would keep them until the session ends."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


def input_key(name: str) -> str:
    """Return a widget key that changes whenever a clip is taken or forgotten, so that Streamlit drops its bytes."""
    return f"{name}-{st.session_state.get('round', 0)}"
