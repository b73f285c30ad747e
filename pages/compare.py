"""Explanations side by side: one clip through several models or methods, or two clips through one model."""

import streamlit as st

from pages.parts import choose, session

st.title("Compare")
st.caption(
    "One clip through several models or methods, or two clips through one model: the same speaker before and after, or "
    "two speakers."
)
session.keep_choices()
recording = session.clip()
# One empty element takes the place of all offers, as on the first page.
offers = st.empty()
if recording is None:
    with offers.container():
        choose.new_clip(choose.Taking(session.use, "Take this clip"))
    st.stop()
choose.current_clip(recording)

# After the clip, as they load the heavy libraries.
from pages.parts import comparison  # noqa: E402

kind = st.segmented_control(
    "What to compare", list(comparison.KINDS), default="models", required=True, format_func=comparison.KINDS.get
)
asked = comparison.ask(kind, recording)
if asked is not None:
    comparison.show(asked)
