"""Dimensions: where corpora and models lie between pleasant and unpleasant, calm and excited, weak and strong."""

import streamlit as st

from pages.parts.predictions import OWN_TOO, corpus_title, kept, own_table, title_of
from ser_core import evaluation

st.title("Valence, arousal, dominance")
st.caption(
    "Instead of a word, three scales from −1 to 1: unpleasant to pleasant, calm to excited, weak to strong. Answers on "
    "the corpus that a model was trained on are out of fold; on others nobody has rated the clips, so they can only be "
    "looked at."
)

from pages.parts import clips_behind  # noqa: E402
from pages.parts import dimension_charts as parts  # noqa: E402
from pages.parts.charts import chart, tabled  # noqa: E402
from pages.parts.corpora_charts import evaluated, without_speakers  # noqa: E402
from pages.parts.words import drawn  # noqa: E402
from ser_core.sphere import DIMENSIONS, octant_table  # noqa: E402

columns = [f"d_{name}" for name in DIMENSIONS]
own = {pair: rows.fillna({"emotion": "all clips"}) for pair, rows in own_table(*columns).items()}
tables = evaluated(evaluation.stored(), *columns) | own
if not tables:
    st.info("No answers with dimensions are stored yet; 'python -m ser_core evaluate' writes them.")
    st.stop()
model, corpus = st.selectbox(
    "Model and speech",
    sorted(tables, key=lambda pair: (pair not in own, "t_valence" not in tables[pair], pair)),
    format_func=lambda pair: f"{title_of(pair[0])} on {corpus_title(pair[1])}",
    key="dimensions-model",
)
st.caption(OWN_TOO)
without_speakers({(model, corpus): tables[model, corpus]})
rows = tables[model, corpus]
rated = "t_valence" in rows and rows["t_valence"].notna().any()
if rated:
    rows = rows.dropna(subset=[f"t_{name}" for name in DIMENSIONS]).reset_index(drop=True)
    found = kept(("dimensions", model, corpus, rows["run"].iloc[0]), lambda: parts.figures(rows))
    tabled(
        parts.figures_table(found),
        found.rename(columns={"shifted": "p_bias"}),
        "dimension-figures",
        title=f"{title_of(model)} on {corpus_title(corpus)}: predicted against rated, from −1 to 1",
        how="a CCC of 1 is the raters' own value every time, a constant answer has 0, which is chance as well. The "
        "bias is predicted minus rated; its p is that of signs of the speakers' errors turned at random, by Holm's "
        "rule over the dimensions. The spread is the standard deviation over the clips; a "
        "model that spreads less than the raters is too careful. Intervals are "
        "over speakers.",
        words=parts.in_words(found),
        state=f"{model}|{corpus}",
    )
what = st.segmented_control(
    "Show",
    ("predicted", "rated") if rated else ("predicted",),
    default="predicted",
    required=True,
    key=f"dimensions-what-{rated}",
)
start = "t_" if what == "rated" else "d_"
chart(
    parts.clouds(rows, start),
    rows[["clip", "speaker", "emotion", *(f"{start}{name}" for name in DIMENSIONS)]],
    "vad-sphere",
    title=f"{corpus_title(corpus)} as {what}",
    how=f"each small point is a clip{drawn(len(rows), parts.SHOWN)}, each large one the centre of all clips of a "
    "label; colour and sign tell labels apart. Turn the sphere with the mouse or a finger. Answers that huddle in the "
    "middle say little. Choose a label below for its clips.",
    words=parts.centres_in_words(parts.centres(rows), what),
    select=False,
    state=f"{model}|{corpus}|{what}",
)
labels = ["", *sorted(rows["emotion"].dropna().unique())]
label = st.selectbox("Clips of a label", labels, format_func=lambda each: each or "none", key=f"dimensions-of-{corpus}")
if label:
    clips_behind.show(rows[rows["emotion"] == label].reset_index(drop=True), label, "sphere")
if rated:
    octants = octant_table(parts.points_of(rows, "t_"), parts.points_of(rows, "d_"))
    tabled(
        parts.octants_table(octants),
        octants,
        "octants",
        title=f"{title_of(model)} on {corpus_title(corpus)}: clips by octant",
        how="an octant is one of the eight corners that the three scales make, in brackets Mehrabian's name for it; a "
        "clip on a boundary counts in parts. By chance as many are found as are predicted.",
        words=parts.octants_in_words(octants),
        state=f"{model}|{corpus}",
    )
    name = st.segmented_control("Dimension", DIMENSIONS, default="valence", required=True, key="dimensions-name")
    points = chart(
        parts.scatter(rows, name),
        rows[["clip", "speaker", "emotion", f"t_{name}", f"d_{name}"]],
        "vad-scatter",
        title=f"{name.capitalize()}: predicted against rated",
        how=f"each point is a clip{drawn(len(rows), parts.SHOWN)}. On the dotted line the model answers as the raters; "
        "a flat cloud means that it hardly moves. Click a point for the clip and its path in time.",
        words=parts.in_words(found[found["dimension"] == name]),
        state=f"{model}|{corpus}|{name}",
    )
    if points:
        clip = str(points[0][0])
        clips_behind.show(rows[rows["clip"] == clip].reset_index(drop=True), clip, "dimensions")
        parts.path(corpus, clip, model)
