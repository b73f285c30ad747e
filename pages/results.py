"""Results: the ten published systems beside ours, and the studies behind them."""

import streamlit as st

from pages.parts import driving_cues, tested_methods
from pages.parts import figures_of_studies as parts

st.title("Results")
st.caption(
    "Every figure here comes from predictions stored with the app, on speakers that the model never heard except where "
    "a study says otherwise; the command that repeats it stands beside it. Square brackets hold the 95 % interval over "
    "speakers: draw other speakers, and the figure would mostly fall in there."
)
parts.ten_systems()
parts.studies()
parts.salient_cues()
tested_methods.show()
driving_cues.show()
