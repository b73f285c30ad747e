"""Open a report: the figures that it stores, and the same figures made anew from its audio."""

import streamlit as st

from pages.parts import reopened

st.title("Open a report")
report = reopened.current()
if report is None:
    st.caption(
        "A report that SERscope made (PDF or JSON) holds all its figures. They are shown here as they were stored, and "
        "made anew where you give the audio as well. The report’s data do not hold the voice, but words and voice can "
        "be had again from a spectrogram that is drawn in it."
    )
    reopened.ask()
    st.stop()
reopened.show(report)
