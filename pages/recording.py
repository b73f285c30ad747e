"""A long recording: who speaks when, and what the model answers about each voice over time."""

import streamlit as st

from pages.parts import choose, domain_panel, long_recording, session

st.title("Long recording")
st.caption(
    "A session of up to 65 minutes: speech is found, voices are told apart, and the model is asked about every "
    "stretch of each voice. What comes out is what a model hears in a voice, not what a person felt."
)
session.keep_choices()
offer = st.empty()
sound = long_recording.sound()
if sound is None:
    with offer.container():
        long_recording.new()
    st.stop()
long_recording.current(sound)

left, right = st.columns([3, 2], gap="medium")
with left:
    model = choose.model()
with right:
    count = long_recording.voices_asked()
domain_panel.show_use(model.card)
long_recording.show(sound, model, count)
