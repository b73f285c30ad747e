"""Many clips: one row a clip with its answer, cues and verdicts, and any of them a click away from its explanation."""

import streamlit as st

from pages.parts import batch, choose, domain_panel, session

st.title("Many clips")
st.caption(
    "Each clip is explained as if it were alone; one row holds its answer, the cues of its salient regions and, if you "
    "like, whether the explanation passes the trust tests. A clip that cannot be read says why and stops nothing."
)
session.keep_choices()
offer = st.empty()
clips = batch.clips()
if clips is None:
    with offer.container():
        batch.new()
    st.stop()
batch.current(clips)

left, right = st.columns(2, gap="medium")
with left:
    model = choose.model()
with right:
    method = choose.method(model)
domain_panel.show_use(model.card)
batch.show(clips, model, method.name)
