"""A player for sound that was made here."""

from typing import TYPE_CHECKING

import streamlit as st

from ser_core.settings import ASSETS

if TYPE_CHECKING:
    from ser_core.audio import Recording


def player(recording: "Recording", words: str) -> None:
    """Draw the browser's own player with a name for screen readers; the sound stays in memory."""
    from explain.listen import wav

    st.caption(words)
    st.audio(wav(recording), format="audio/wav")


def files(folder: str, stem: str) -> dict[str, str]:
    """Return html, css and js of a player of ours; what makes it play alone on the page is part of its script."""
    found = {kind: (ASSETS / folder / f"{stem}.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}
    return found | {"js": (ASSETS / "one_sound.js").read_text(encoding="utf-8") + found["js"]}
