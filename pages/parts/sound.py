"""A player for sound that was made here."""

import io
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from ser_core.audio import Recording


def player(recording: "Recording", words: str) -> None:
    """Draw the browser's own player with a name for screen readers; the sound stays in memory."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, recording.samples, recording.sample_rate, format="WAV", subtype="PCM_16")
    st.caption(words)
    st.audio(buffer.getvalue(), format="audio/wav")
