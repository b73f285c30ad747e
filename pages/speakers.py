"""Per speaker: whom does a model serve worst, and what goes wrong there?"""

import streamlit as st

from pages.parts import predictions

st.title("Speaker by speaker")
st.caption(
    "Behind an average stand people. Here they are in order, the one served worst first; a click shows how the model "
    "errs on that speaker, how the voice lies among the others, and the clips themselves."
)
chosen = predictions.choose()
if chosen is None:
    st.stop()

from pages.parts import speaker_charts as parts  # noqa: E402
from pages.parts.charts import chart, tabled  # noqa: E402
from ser_core import speakers  # noqa: E402

measures = speakers.measures_of(chosen.rows)
if not measures:
    st.info("These clips have no ratings to set the model's values against; choose other speech.")
    st.stop()
measure = st.selectbox("Measure", measures, key=f"speakers-measure-{'-'.join(measures)}")
found = predictions.kept(("speakers", chosen.key, measure), lambda: speakers.by_speaker(chosen.rows, measure))
people = predictions.kept(("people", chosen.key), lambda: parts.people_of(chosen.rows))
overall = predictions.kept(("overall", chosen.key, measure), lambda: speakers.overall(chosen.rows, measure))
picked = chart(
    parts.caterpillar(found, people, measure, overall),
    found,
    "caterpillar",
    title=f"{chosen.title}: {measure} of every speaker",
    how="each dot is a speaker, the bar a 95 % interval over that speaker's own clips; the dashed line is all speakers "
    "together, the band its interval over speakers; the dotted line is chance, the same answers dealt to the clips at "
    "random. Some speakers are first by luck alone: look at the bars. Click a "
    "dot for the speaker.",
    words=parts.in_words(found, people, measure, overall),
    state=f"{chosen.key}|{measure}",
)
st.subheader("Served worst")
worst = parts.worst(found, people, chosen.rows)
tabled(
    parts.worst_table(worst, measure),
    worst,
    "speakers-worst",
    title=f"{chosen.title}: speakers who are served worst, by {measure}",
    how="each row is a speaker with a 95 % interval over the own clips, and the mistake that is made most often. Of "
    "many speakers some come last by luck alone: look at the interval.",
    words=parts.worst_in_words(worst, measure, overall),
    state=f"{chosen.key}|{measure}",
)
parts.averages(chosen)
names = found["speaker"].tolist()
clicked = str(picked[0]) if picked and str(picked[0]) in names else None
if clicked and st.session_state.get("speakers-clicked") != clicked:
    st.session_state["speakers-clicked"] = st.session_state["speakers-one"] = clicked
if st.session_state.get("speakers-one") not in names:
    st.session_state.pop("speakers-one", None)
speaker = st.selectbox("Look at one speaker", names, format_func=people["name"].get, key="speakers-one")
parts.one(chosen, speaker, people)
