"""A player with several takes of one clip under one cursor."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts.sound import files

if TYPE_CHECKING:
    from ser_core.audio import Recording


@dataclass(frozen=True, eq=False)
class Take:
    """One way to hear a clip; ``words`` say what to know about it."""

    label: str
    words: str
    recording: "Recording"


def show(takes: Sequence[Take], identity: str) -> None:
    """Draw the player; the takes must be of one length.

    Args:
        takes: what can be heard; the first is chosen at the start.
        identity: changes with anything that is heard.
    """
    mounted = st.components.v2.component("serscope_switch_player", **files("switch_player", "player"))
    mounted(key=f"takes-{identity}", data=data_of(takes, identity))


def data_of(takes: Sequence[Take], identity: str) -> dict:
    """Return what the player needs, as JSON; the sounds are base64 of WAV files."""
    from explain.listen import wav

    return {
        "id": identity,
        "duration_s": takes[0].recording.duration_s,
        "takes": [
            {"label": t.label, "words": t.words, "audio": base64.b64encode(wav(t.recording)).decode()} for t in takes
        ],
    }
