"""Is it more understandable? Raters say what a model relied on; their answers stay on this server."""

import streamlit as st

from pages.parts import rating_study

st.title("Is it more understandable?")
rating_study.show()
