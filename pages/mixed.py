"""Mixed emotions: where do listeners disagree, and does a model know it?"""

import streamlit as st

from pages.parts.predictions import OWN_TOO, corpus_title, kept, own_table, title_of
from ser_core import evaluation

st.title("Mixed emotions")
st.caption(
    "People who hear the same clip often hear different emotions, and often more than one. A label hides that. Here "
    "what listeners answered stands beside what models expect, clip by clip, about speakers that they never heard."
)

from pages.parts import clips_behind  # noqa: E402
from pages.parts import mixed_charts as parts  # noqa: E402
from pages.parts.charts import chart, tabled  # noqa: E402
from pages.parts.corpora_charts import evaluated, without_speakers  # noqa: E402
from pages.parts.words import drawn  # noqa: E402
from ser_core.distributions import mixtures  # noqa: E402
from ser_core.predictions import OWN_MODEL  # noqa: E402

given = evaluated(evaluation.stored(), "p_", "share_") | own_table("p_", "share_")
tables = {pair: rows for pair, rows in given.items() if parts.judged_by_several(rows)}
if not tables:
    st.info("No stored answers are of clips that several listeners judged; 'python -m ser_core evaluate' writes them.")
    parts.wheel()
    st.stop()
pairs = sorted(tables, key=lambda pair: (pair[0] != OWN_MODEL, pair[0] != "label-distribution", pair))
model, corpus = st.selectbox(
    "Model and speech",
    pairs,
    format_func=lambda pair: f"{title_of(pair[0])} on {corpus_title(pair[1])}",
    key="mixed-model",
    help="The label-distribution model was taught how listeners split. The others were taught the acted label; their "
    "probabilities say how sure they are, which is not the same.",
)
st.caption(OWN_TOO)
without_speakers({(model, corpus): tables[model, corpus]})
labels = parts.shared_labels(tables[model, corpus])
key = (model, corpus, tables[model, corpus]["run"].iloc[0])
rows = kept(("mixed", *key), lambda: parts.heard_rows(tables[model, corpus], labels))
found = kept(("mixed figures", *key), lambda: parts.figures(rows, labels))
compared = parts.compared(found)
tabled(
    parts.figures_table(compared),
    compared,
    "mixed-figures",
    title=f"{title_of(model)}: predicted against listeners' shares, {len(rows)} clips",
    how="each row is a way to measure how far the predicted shares lie from the listeners'. The constant always "
    "answers the mean of all listeners, the uniform answer gives every emotion the same share. Gained is what the "
    "model is better than the constant; intervals are over speakers.",
    words=parts.figures_in_words(found),
    state=f"{model}|{corpus}",
)
binned = kept(("mixed bins", *key), lambda: parts.agreement(rows, labels))
heard, _ = parts.both(rows, labels)
points = chart(
    parts.agreement_chart(binned, heard.mean(0)),
    binned,
    "mixed-shares",
    title=f"{title_of(model)}: expected against heard shares, {len(rows)} clips",
    how="clips are grouped by the share of listeners who heard the emotion (across); upwards is what the model expects "
    "on average, with its 95 % interval over speakers. On the dotted diagonal it would be right on average; the dashed "
    "line is the constant. Click a point for its clips.",
    words=parts.agreement_in_words(binned),
    state=f"{model}|{corpus}",
)
if points:
    label, number = points[0]
    inside = parts.in_bin(rows, labels, label, int(number))
    clips_behind.show(inside, f"{label}, as often heard as at this point", f"mixed-{label}-{number}")
mixed = mixtures(*parts.both(rows, labels), labels).head(parts.MIXTURES)
tabled(
    parts.mixtures_table(mixed),
    mixed,
    "mixtures",
    title=f"{title_of(model)}: which two emotions are heard in one clip",
    how="a mixture is a clip in which a quarter of the listeners or more heard the one and a quarter or more the "
    "other. A model that knows mixtures expects them there more often than elsewhere; elsewhere is its chance level.",
    words=parts.mixtures_in_words(mixed),
    state=f"{model}|{corpus}",
)
correlation = kept(("mixed entropy", *key), lambda: parts.ambiguity(rows))
points = chart(
    parts.ambiguity_map(rows, len(labels)),
    rows[["clip", "speaker", "emotion", "heard_bits", "expected_bits"]],
    "ambiguity",
    title="Where do raters disagree, and does the model know it?",
    how=f"a dot is a clip{drawn(len(rows), parts.SHOWN)}: to the right listeners disagree, upwards the model is "
    "undecided (entropy in bits; 0 is no doubt). A model that knows rises from left to right; the thick line is its "
    "mean. Click a dot for the clip.",
    words=parts.ambiguity_in_words(rows, correlation),
    state=f"{model}|{corpus}",
)
if points:
    clips_behind.show(rows[rows["clip"] == points[0][0]].reset_index(drop=True), str(points[0][0]), "ambiguity")
parts.wheel()
