"""Cross-corpus: what is left when a model hears speech of another corpus, and what a test may leak."""

import streamlit as st

from pages.parts.predictions import OWN_TOO, corpus_title, kept, own_table, title_of

st.title("Away from home")
st.caption(
    "A model that is right on the corpus it was trained on may have learnt that corpus: its microphone, its sentences, "
    "its actors. Here each is tested on speech that it never heard, beside its own speaker-disjoint test."
)
from pages.parts import corpora_charts as parts  # noqa: E402
from pages.parts.charts import chart, tabled  # noqa: E402
from ser_core import crosscorpus, evaluation  # noqa: E402
from ser_core.errors import SerscopeError  # noqa: E402
from ser_core.results import RESULTS, labels_of  # noqa: E402

MODELS, TRAINED = "Bundled models", "Each corpus against each, by system"
what = st.segmented_control("What was trained", (TRAINED, MODELS), default=TRAINED, required=True, key="cross-what")
measure = st.segmented_control(
    "Show",
    ("uar", "gap"),
    default="uar",
    required=True,
    format_func=lambda name: {"uar": "UAR", "gap": "Loss against home"}[name],
    key="cross-measure",
    help="UAR: mean over the emotions of the share found. Loss: UAR away from home minus UAR of the test corpus "
    "trained on itself, or of the model at home, over the same emotions.",
)

how = (
    ("a row is what was trained on" if what == TRAINED else "a row is a model")
    + ", a column what was tested on; large the value, below it its 95 % interval over the test speakers. Framed is "
    + ("the corpus itself" if what == TRAINED else "the corpus that the model was trained on")
    + ", its speakers never in both training and test. Click a field for its confusion and clips."
)
if what == TRAINED:
    path = RESULTS / crosscorpus.TABLE
    if not path.exists():
        st.info("The corpora have not been set against each other yet; 'python -m ser_core cross-corpus' does it.")
        st.stop()
    source = str(path), path.stat().st_mtime
    rows = parts.stored_matrix(*source)
    left, right = st.columns(2, vertical_alignment="bottom")
    system = left.selectbox(
        "System",
        list(rows["system"].unique()),
        format_func=title_of,
        key="cross-system",
        help="Each is trained anew on every corpus as its bundled model was. Not here: systems that need what other "
        "corpora lack (votes, ratings, converted voices, words) or whose parts have heard a test corpus.",
    )
    can = bool(rows.loc[rows["system"] == system, "normalised"].any())
    normalised = can and right.toggle(
        "Normalise each speaker",
        key="cross-normalised",
        help="Every feature gets mean 0 and deviation 1 over the speaker's own clips, without labels. It needs all "
        "clips of a test speaker at once, and takes the emotion away where a speaker has only one.",
    )
    if not can:
        right.caption("This system reads frames, not one row of features a clip, so speakers are as they are.")
    st.caption(parts.left_out_before_training(rows))
    called = parts.mapping(labels_of(rows), "trained")
    try:
        cells = parts.trained_cells(*source, system, tuple(called.items()))
        together = parts.systems(*source, tuple(called.items()))
    except SerscopeError as fault:
        st.error(str(fault))
        st.stop()
    shown = cells[cells["normalised"] == normalised]
    down, title = "train", corpus_title
    name = f"{title_of(system)}, {'each speaker normalised' if normalised else 'speakers as they are'}"
else:
    tables = parts.evaluated(evaluation.stored(), "p_") | own_table("p_")
    st.caption(OWN_TOO)
    if not tables:
        st.info("No answers are stored yet; 'python -m ser_core evaluate' writes them.")
        st.stop()
    emotions = sorted({word for rows in tables.values() for word in [*labels_of(rows), *rows["emotion"].dropna()]})
    called = parts.mapping(emotions, "models", {"calm": "neutral", "boredom": "", "surprise": ""})
    key = tuple(sorted((*pair, rows["run"].iloc[0]) for pair, rows in tables.items()))
    shown = kept(("models", key, tuple(called.items())), lambda: crosscorpus.of_models(tables, called))
    down, title = "model", title_of
    name = "Bundled models"
    st.caption(
        "Each field is over the emotions that model and corpus share, so chance differs between columns; point at a "
        "field to see which they are. Labels are the acted ones, also for the model that was taught listeners' votes."
    )
    if blank := parts.blanks(shown, tables):
        st.caption(
            f"Blank, since the model's training has heard speech of that corpus or the two share fewer than two "
            f"emotions: {blank}."
        )
    parts.without_speakers(tables)
    away = shown.loc[~shown["home"], "test"].nunique() if len(shown) else 0
    if not away:
        st.info(
            "So far every stored answer is from the corpus that the model was trained on; 'python -m ser_core "
            "evaluate' asks the models about the others."
        )

if shown.empty or (measure == "gap" and shown["gap"].dropna().empty):
    st.info("There is nothing to show with these choices: fewer than two emotions are shared, or nothing is away.")
else:
    points = chart(
        parts.matrix(shown, down, title, measure),
        shown,
        "cross-corpus",
        title=f"{name}: {'UAR' if measure == 'uar' else 'loss against home'}, per cent",
        how=how,
        words=parts.in_words(shown, down, title),
        state=f"{name}|{measure}|{parts.in_short(called)}",
    )
    if what == TRAINED:
        parts.normalising(cells, title_of(system), called)
    else:  # a field of a table that the reader has since replaced may still be clicked
        points = [point for point in points if tuple(point) in tables]
    if points:
        trained, test = points[0]
        told = f"{title(trained)} → {corpus_title(test)}"
        if what == TRAINED:
            chosen = parts.cell(rows, trained, test, system, normalised, called)
            told = f"{name}: {told}"
        else:
            chosen = evaluation.in_common(tables[trained, test], called)
        parts.behind(chosen, told, f"cross-{trained}-{test}", called)
if what == TRAINED:
    st.subheader("All systems")
    together = together.sort_values("away", ascending=False, ignore_index=True)
    tabled(
        parts.side_by_side(together, system, normalised),
        together,
        "systems",
        title="Mean UAR of each system over all fields away from home and at home, per cent",
        how="means over all fields away from home, and over the same test corpora trained on themselves. The speakers "
        "of a test corpus are drawn alike for all, so the loss has the interval of a difference over the same "
        f"speakers. Chance is {100 * together['chance'].iloc[0]:.1f} %. Bold is the system that is shown above.",
        words=parts.systems_in_words(together),
        state=parts.in_short(called),
    )
parts.urdu_note()
parts.leaks()
parts.leaks_between()
