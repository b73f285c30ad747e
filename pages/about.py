"""What the numbers mean, where they come from, and what SERscope is not."""

import streamlit as st

from ser_core.intended_use import FORBIDDEN, STATEMENT
from ser_core.settings import ASSETS

st.title("About")
st.html(f'<div class="ss use" role="note"><p><strong>{STATEMENT}</strong> {FORBIDDEN}</p></div>')
st.markdown((ASSETS / "about.md").read_text(encoding="utf-8"))

import pandas as pd  # noqa: E402

from pages.parts.domain_panel import detection  # noqa: E402
from ser_core.domain import TABLE  # noqa: E402

st.header("When the clip is unlike the training")
st.caption(
    "How often the warnings come: on held-out clips of CREMA-D, where each is a false alarm, on other speech, and on "
    "held-out clips that were made worse. A measure warns outside the middle 99 % of the training clips; “unfamiliar” "
    "is farther out in the model’s embedding than 99 % of unseen clips. The language is recognised when asked for."
)
if TABLE.exists():
    st.html(detection(pd.read_csv(TABLE, keep_default_na=False)))
else:
    st.info("It has not been measured yet; 'python -m ser_core domain' does it.")
