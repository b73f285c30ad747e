"""Efficiency: what accuracy costs in size and time."""

from html import escape

import pandas as pd
import streamlit as st

from pages.parts import clips_behind
from pages.parts import efficiency_charts as parts
from pages.parts.charts import chart, tabled
from pages.parts.predictions import corpus_title, kept, title_of
from pages.parts.words import hint_of, plain

st.title("What does it cost?")
st.caption(
    "A model that is a little better may be a hundred times larger. Figures are those of the model cards, on speakers "
    "that were never heard; sizes include the encoder that a model needs."
)
found = parts.costs()
measure = st.segmented_control(
    "Measure",
    parts.MEASURES,
    default="UAR",
    required=True,
    key="efficiency-measure",
    help="UAR is of one emotion a clip. KL and cosine set the probabilities against how listeners split, so that the "
    "model that was taught their shares stands beside the others. Mean CCC is of valence, arousal and dominance.",
)
st.caption(f"{measure}: {hint_of(measure)}.")
measured = parts.by_measure(found, measure)
if measured.empty:
    st.info("No stored answers can be measured so; 'python -m ser_core evaluate' writes them.")
    st.stop()
corpora = list(measured["corpus"].value_counts().index)
left, right = st.columns(2)
corpus = left.selectbox("Tested on", corpora, format_func=corpus_title, key="efficiency-corpus")
timed = found["cpu_p50_ms"].notna().any()
cost = right.segmented_control(
    "Cost",
    list(parts.AXES) if timed else ["size_mb"],
    default="cpu_p50_ms" if timed else "size_mb",
    required=True,
    format_func=lambda name: {"cpu_p50_ms": "time", "size_mb": "size"}[name],
    key=f"efficiency-cost-{timed}",
)
if not timed:
    st.info("Times have not been measured yet; 'python -m benchmarks.predict_speed' does it.")
rows = measured[measured["corpus"] == corpus]
own, stated = st.session_state.get("own predictions"), ""
figure = None if own is None else kept(("own figure", own.key, measure), lambda: parts.figure_of(own.rows, measure))
if figure is not None:
    left, right = st.columns(2)
    mb = left.number_input("Size of your model, MB", 0.001, 1e6, None, key="efficiency-own-mb")
    ms = right.number_input("Its time for a clip of 3 s, ms", 0.001, 1e6, None, key="efficiency-own-ms")
    st.caption(
        f"Your table {plain(own.title)} is drawn beside them once its costs are stated; time one thread, as was done "
        f"here. It can be compared by {measure} only if your clips are those of {corpus_title(corpus)}."
    )
    if mb or ms:
        mine = parts.of_own(own, figure, measure, corpus, mb, ms)
        rows, stated = pd.concat([rows, mine], ignore_index=True), f"{own.title}, {mb} MB, {ms} ms"
else:
    st.caption(
        f"A table of your own (page Fairness, Your table) can be drawn beside them by {measure} if it has "
        f"{parts.NEEDED[measure]}."
    )
points = chart(
    parts.scatter(rows, cost, measure),
    rows,
    "efficiency",
    title=f"{measure} on {corpus_title(corpus)} against {'time' if cost.endswith('ms') else 'size'}",
    how=f"further left is cheaper (each step is ten times), {'lower' if measure in parts.LOWER else 'higher'} is "
    "better; bars are 95 % intervals over speakers; the dashed line is a constant answer. Models on the dotted line "
    "have no rival that is both cheaper and better. Open signs are copies with weights of 8 bits (int8). Click a sign "
    "for the model's clips.",
    words=parts.in_words(rows, cost, measure),
    state=f"{measure}|{corpus}|{cost}|{stated}",
)
machines = found["machine"].dropna().unique()
if len(machines):
    st.caption(
        f"Measured on: {escape('; '.join(map(str, machines)))}. Computing is the median of the thread's own time for a "
        "clip of 3 s, with its 95th percentile; waiting is the median of what passes on the clock meanwhile."
    )
others = sorted(found.loc[found["measure"] != "UAR", "title"].unique())
if others and measure == "UAR":
    st.caption(
        "Without a UAR, as they answer with shares or with scales, and so under another measure and in the table: "
        f"{plain(', '.join(others))}."
    )
if points:
    model, weights = points[0]
    stored = own.rows if weights == parts.OWN else parts.answers(model, weights, corpus)
    if stored is None:
        st.info("This model's answers are not stored.")
    else:
        copy = f", {weights}" if weights != "float" else ""
        clips_behind.show(stored, f"{title_of(model)}{copy}", f"efficiency-{model}-{weights}")
smaller = parts.int8_words(found)
if smaller:
    st.html(f'<div class="ss"><p><strong>Weights of 8 bits (int8) instead of 32.</strong> {escape(smaller)}.</p></div>')
tabled(
    parts.table(found),
    found,
    "costs",
    title="All models: what they find and what they cost",
    how="each row is a model, or its copy with weights of 8 bits. The constant gives every clip the same "
    "answer: the commonest emotion, the listeners' mean shares, or the raters' mean values. Times are of one thread "
    "for a clip of 3 s; sizes include the encoder.",
    words=parts.costs_in_words(found),
)
