"""The clip, its salient parts alone and the clip without them, under one cursor, with the model's answer for each."""

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background
from pages.parts.switch_player import Take
from pages.parts.switch_player import show as show_takes
from ser_core.numbers import percent, signed

if TYPE_CHECKING:
    from explain.explanation import Explanation
    from explain.listen import Heard
    from ser_core.models import Prediction, SpeechModel


def show(shown: "Explanation", model: "SpeechModel", key: str) -> None:
    """Draw the two parts of an explained clip."""
    from explain.listen import heard

    st.header("Hear what the model heard")
    if not shown.regions:
        st.info("There is no salient region to hear; choose another method.")
        return
    st.caption(
        "The sound inside the salient regions alone, and the clip without it, both brought to the level of the clip, "
        "or as near as full scale lets them. If the regions carry the decision, the model should still answer the same "
        "to the first and not to the second."
    )
    asked = ("listen", key)
    if background.job(asked) is None and st.button("Cut the clip in two"):
        background.start(asked, lambda job: heard(model, shown.recording, shown.regions))
    started = background.job(asked)
    if started is not None:
        background.show(started, lambda parts: _takes(shown, *parts, key))


def _takes(shown: "Explanation", alone: "Heard", without: "Heard", key: str) -> None:
    takes = (
        Take(
            "The whole clip", f"The model answers {_answer(shown.prediction, shown.target.emotion)}.", shown.recording
        ),
        Take("Salient regions alone", answer(alone, shown.target.emotion), alone.recording),
        Take("Without them", answer(without, shown.target.emotion), without.recording),
    )
    show_takes(takes, key)


def answer(part: "Heard", emotion: str) -> str:
    """Return the model's answer to one part, with the gain that it was raised or, near full scale, lowered by."""
    gain_db = round(part.gain_db, 1)
    moved = f"{'Lowered' if gain_db < 0 else 'Raised'} by {abs(gain_db):.1f} dB"
    return f"The model answers {_answer(part.prediction, emotion)}. {moved}."


def _answer(said: "Prediction", emotion: str) -> str:
    if said.values is not None:
        return ", ".join(f"{name} {signed(said.value(name))}" for name in said.emotions)
    told = f"{said.top} {percent(said.probability(said.top))}"
    return told if said.top == emotion else f"{told}, {emotion} {percent(said.probability(emotion))}"
