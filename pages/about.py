"""What the numbers mean, where they come from, and what SERscope is not."""

import streamlit as st

from ser_core.settings import ASSETS

st.title("About")
st.markdown((ASSETS / "about.md").read_text(encoding="utf-8"))
