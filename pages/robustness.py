"""Robustness: does the answer stay when only the recording gets worse?"""

import streamlit as st

from pages.parts.predictions import corpus_title, kept, title_of
from ser_core.fairness import FEWEST_SPEAKERS
from ser_core.robustness import SUMMARY, read_summary

st.title("Does the answer hold?")
st.caption(
    "The same clips, clean and with noise, over a telephone, in a room, cut, louder or quieter: what the models answer "
    "should depend on the voice alone. Intervals are over speakers, and every loss is measured on the same clips."
)
what = st.segmented_control(
    "Whose answers", ("Bundled models", "Your table"), default="Bundled models", required=True, key="robustness-what"
)
if what != "Bundled models":
    from pages.parts import own_robustness

    own_robustness.show()
    st.stop()
st.caption("All clips are of speakers whom the models never heard.")
if not SUMMARY.exists():
    st.info("The models have not been asked yet; 'python -m ser_core robustness' does it.")
    st.stop()

from pages.parts import hear_changes  # noqa: E402
from pages.parts import robustness_charts as parts  # noqa: E402
from pages.parts.charts import chart, tabled  # noqa: E402
from ser_core.degradations import KINDS  # noqa: E402

found = kept(("robustness", SUMMARY.stat().st_mtime), read_summary)
left, right = st.columns([1, 2])
corpora = list(dict.fromkeys(found["corpus"]))
corpora.sort(key=lambda name: -found[found["corpus"] == name]["model"].nunique())
corpus = left.selectbox("Speech of", corpora, format_func=corpus_title, key="robustness-corpus")
rows = found[found["corpus"] == corpus]
at_hand = list(dict.fromkeys(rows["model"]))
first = ("edrl-mea", "whisper-tiny-statistics", "log-mel-resnet", "egemaps-logistic")
models = right.multiselect(
    "Models",
    at_hand,
    default=[name for name in first if name in at_hand] or at_hand[:3],
    format_func=title_of,
    key=f"robustness-models-{corpus}",
)
kinds = st.multiselect(
    "Changes",
    list(KINDS),
    default=["environment", "babble", "telephone", "clipping", "reverberation", "trimmed start"],
    format_func=lambda name: f"{name} ({KINDS[name].family})",
    key="robustness-kinds",
)
answers = rows["uar"].notna().any()
measure = st.segmented_control(
    "Measure",
    [name for name in parts.MEASURES if answers or name == "shift"],
    default="uar" if answers else "shift",
    required=True,
    format_func=lambda name: parts.MEASURES[name],
    key=f"robustness-measure-{answers}",
)
st.caption(f"{parts.MEASURES[measure]}: {parts.HINTS[measure]}.")
if not models or not kinds:
    st.info("Choose a model and a change or more.")
    st.stop()
if "label-distribution" in models and measure in ("uar", "drop"):
    st.caption(
        f"{title_of('label-distribution')} was taught what listeners hear; its UAR here is against the acted emotion."
    )
rows = rows[rows["model"].isin(models)]
state = f"{corpus}|{measure}|{', '.join(models)}|{', '.join(kinds)}"
clips, speakers = int(rows["clips"].max()), int(rows["speakers"].max())
if speakers < FEWEST_SPEAKERS:
    st.warning(f"Only {speakers} speakers of {corpus_title(corpus)} were held out: too few to conclude from.")
points = chart(
    parts.curves(rows, models, kinds, measure),
    rows[rows["kind"].isin(["clean", *kinds])],
    "robustness",
    title=f"{parts.MEASURES[measure]} on {clips} clips of {speakers} speakers of {corpus_title(corpus)}",
    how="each small chart is one change, milder on the left, more severe on the right (spectral tilt and gain have "
    "clean in the middle, between duller or quieter and sharper or louder); a line that stays level means "
    "that the model does not mind. Bars are 95 % intervals over speakers; the dashed line is chance. Click a point for "
    "its clips.",
    words=parts.in_words(rows, models, kinds, measure),
    state=state,
)
with st.expander("What the changes are"):
    st.markdown("\n".join(f"- **{name}** ({KINDS[name].unit}): {KINDS[name].what}" for name in kinds))
if points:
    parts.behind(points[0], corpus, "curves")
severest = chart(
    parts.overview(rows, models, kinds, measure),
    rows[rows["kind"].isin(kinds)],
    "robustness-severest",
    title=f"{parts.MEASURES[measure]} at the severest level of each change",
    how="a row is a model, a column a change at its severest; the darker, the worse. Click a field for its clips.",
    words=parts.severest_in_words(rows, models, kinds, measure),
    state=state,
)
if severest:
    parts.behind(severest[0], corpus, "severest")
hear_changes.show()
st.subheader("In numbers")
one = st.selectbox("Model", models, format_func=title_of, key="robustness-one")
own = parts.of_model(rows, one, kinds)
tabled(
    parts.table(own),
    own,
    "robustness-figures",
    title=f"{title_of(one)} on {corpus_title(corpus)}: per cent and points, with 95 % intervals over speakers",
    how="each row is a change at one level; the first is the same clips clean. UAR stands beside that of a constant "
    "answer and chance; what is lost or changed is measured on the same clips, 0 being no effect.",
    words=parts.in_words(own, [one], kinds, measure),
    state=f"{corpus}|{title_of(one)}|{', '.join(kinds)}",
)
st.subheader("Sounds that never change")
st.caption(
    "Silence, a tone and steady noise with the spectrum of speech hold no emotion, and more of the same is no news: an "
    "answer that turns with the length alone (bold: another one than for 2 s) rests on the length."
)
steady = parts.steady(models, corpus)
tabled(
    parts.steady_table(steady),
    steady,
    "robustness-constant",
    title="Answers to sounds that never change, by how long they last",
    how="each row is a model and a sound, each column its length. Bold is another answer than for 2 s; one that does "
    "not mind the length has none.",
    words=parts.steady_in_words(steady),
    state=f"{corpus}|{', '.join(models)}",
)
