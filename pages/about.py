"""What the numbers mean, where they come from, and what SERscope is not."""

import streamlit as st

from pages.parts import domain_panel
from ser_core.intended_use import FORBIDDEN, STATEMENT
from ser_core.settings import ASSETS

st.title("About")
st.html(f'<div class="ss use" role="note"><p><strong>{STATEMENT}</strong> {FORBIDDEN}</p></div>')
st.markdown((ASSETS / "about.md").read_text(encoding="utf-8"))

domain_panel.show_rates()
