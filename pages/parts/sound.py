"""A player for sound that was made here."""

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from ser_core.audio import Recording


def player(recording: "Recording", words: str) -> None:
    """Draw the browser's own player with a name for screen readers; the sound stays in memory."""
    from explain.listen import wav

    st.caption(words)
    st.audio(wav(recording), format="audio/wav")
