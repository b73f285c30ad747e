"""Cross-corpus: what is left when a model hears speech of another corpus, and what a test may leak."""

import streamlit as st

from pages.parts.predictions import corpus_title, kept, title_of

st.title("Away from home")
st.caption(
    "A model that is right on the corpus it was trained on may have learnt that corpus: its microphone, its sentences, "
    "its actors. Here each is tested on speech that it never heard, beside its own speaker-disjoint test."
)
from pages.parts import corpora_charts as parts  # noqa: E402
from pages.parts.charts import chart  # noqa: E402
from ser_core import crosscorpus, evaluation  # noqa: E402
from ser_core.errors import SerscopeError  # noqa: E402
from ser_core.results import RESULTS, labels_of  # noqa: E402

MODELS, FUNCTIONALS = "Bundled models", "Functionals, every corpus against every corpus"
what = st.segmented_control(
    "What was trained", (FUNCTIONALS, MODELS), default=FUNCTIONALS, required=True, key="cross-what"
)
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
    ("a row is what was trained on" if what == FUNCTIONALS else "a row is a model")
    + ", a column what was tested on; large the value, below it its 95 % interval over the test speakers. Framed is "
    + ("the corpus itself" if what == FUNCTIONALS else "the corpus that the model was trained on")
    + ", its speakers never in both training and test. Click a field for its confusion and clips."
)
if what == FUNCTIONALS:
    path = RESULTS / crosscorpus.TABLE
    if not path.exists():
        st.info("The corpora have not been set against each other yet; 'python -m ser_core cross-corpus' does it.")
        st.stop()
    rows = parts.stored_matrix(str(path), path.stat().st_mtime)
    left, middle, right = st.columns(3)
    sets = list(dict.fromkeys(rows["features"]))
    features = left.selectbox("Features", sets, key="cross-features")
    classifier = middle.selectbox(
        "Classifier",
        list(dict.fromkeys(rows["classifier"])),
        format_func=lambda name: {"logistic": "logistic regression", "mlp": "small network"}.get(name, name),
        key="cross-classifier",
    )
    normalised = right.toggle(
        "Normalise each speaker",
        key="cross-normalised",
        help="Every functional gets mean 0 and deviation 1 over the speaker's own clips, without labels. It needs all "
        "clips of a test speaker at once, and takes the emotion away where a speaker has only one.",
    )
    called = parts.mapping(labels_of(rows), "functionals")
    try:
        cells = kept(
            ("cross", path.stat().st_mtime, features, classifier, tuple(called.items())),
            lambda: parts.functional_cells(rows, features, classifier, called),
        )
    except SerscopeError as fault:
        st.error(str(fault))
        st.stop()
    shown = cells[cells["normalised"] == normalised]
    down, title = "train", corpus_title
    name = f"{features}, {classifier}, {'each speaker normalised' if normalised else 'speakers as they are'}"
else:
    tables = parts.evaluated(evaluation.stored(), "p_")
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
        state=f"{name}|{measure}|{', '.join(each or 'left out' for each in called.values())}",
    )
    if what == FUNCTIONALS:
        st.html(parts.normalising(cells, normalised))
    if points:
        trained, test = points[0]
        told = f"{title(trained)} → {corpus_title(test)}"
        if what == FUNCTIONALS:
            chosen = parts.cell(rows, trained, test, features, classifier, normalised, called)
        else:
            chosen = evaluation.in_common(tables[trained, test], called)
        parts.behind(chosen, told, f"cross-{trained}-{test}")
parts.urdu_note()
parts.leaks()
