"""The salient parts alone and the clip without them, side by side, with the model's answer for each."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background
from pages.parts.sound import player

if TYPE_CHECKING:
    from explain.explanation import Explanation
    from explain.listen import Heard
    from ser_core.models import SpeechModel


def show(shown: "Explanation", model: "SpeechModel", key: str) -> None:
    """Draw the two parts of an explained clip."""
    from explain.listen import heard

    st.header("Hear what the model heard")
    if not shown.regions:
        st.info("There is no salient region to hear; choose another method or draw a box on the spectrogram.")
        return
    st.caption(
        "The sound inside the salient regions alone, and the clip without it, both brought to the level of the clip. "
        "If the regions carry the decision, the model should still answer the same to the first and not to the second."
    )
    asked = ("listen", key)
    if background.job(asked) is None and st.button("Cut the clip in two"):
        background.start(asked, lambda job: heard(model, shown.recording, shown.regions))
    started = background.job(asked)
    if started is not None:
        st.fragment(run_every=None if started.done else background.EVERY_S)(_watch)(shown, started)


def _watch(shown: "Explanation", started: background.Job) -> None:
    found = background.result(started)
    if found is None:
        return
    for side, what, part in zip(
        st.columns(2, gap="medium"), ("Salient regions alone", "Without them"), found, strict=True
    ):
        with side:
            st.subheader(what)
            player(part.recording, what)
            st.html(f'<div class="ss"><p>{answer(part, shown.target.emotion)}</p></div>')


def answer(part: "Heard", emotion: str) -> str:
    """Return the model's answer to one part, with the gain that it was raised by."""
    said = part.prediction
    followed = f", {escape(emotion)} {said.probability(emotion):.0%}" if said.answer == "emotion" else ""
    top = f"{escape(said.top)} {said.probability(said.top):.0%}" if said.answer != "dimensions" else escape(said.top)
    return f"The model answers <strong>{top}</strong>{followed}. Raised by {part.gain_db:+.1f} dB."
