"""Training corpora against test corpora, and what a test shares with its training, as charts and tables."""

import math
import textwrap
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, clips_behind, own_folder
from pages.parts.charts import Rows, ink, layout, tabled
from pages.parts.predictions import NO_CORPUS, corpora_at_hand, corpus_in, corpus_title, title_of
from pages.parts.words import plain
from ser_core.numbers import signed, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    import plotly.graph_objects as go

    from ser_core.corpora import Corpus
    from ser_core.crosscorpus import Counts
    from ser_core.evaluation import Stored
    from ser_core.leaks import Leaks

LEAVE_OUT = "(left out)"
_VERDICTS = {word: f"<strong>{word}</strong>" for word in ("leak", "confounded")}
"""What is wrong, as it is written in a table."""


def points(value: float, sign: bool = False) -> str:
    """Return a share in per cent or a difference in points, with one decimal; ``sign`` also writes a plus."""
    return signed(100 * value, 1) if sign else unsigned(100 * value, 1)


def matrix(cells: "pd.DataFrame", down: str, title: "Callable[[str], str]", measure: str) -> "go.Figure":
    """Return a field for each training (row) and test (column), with its interval; clicked fields give both names.

    Args:
        cells: columns ``down`` and test, and uar or gap with low and high.
        down: column of the rows' names.
        title: of a row.
        measure: "uar" or "gap".
    """
    import plotly.graph_objects as go

    low, high = ("low", "high") if measure == "uar" else ("gap_low", "gap_high")
    cells = cells.dropna(subset=[measure])
    tests = sorted(cells["test"].unique(), key=corpus_title)
    size = 0.94
    colour = 100 * cells[measure]
    scale = (
        {"colorscale": [[0, "#f2f6f7"], [1, "#0b6b75"]], "cmin": 20, "cmax": 90}
        if measure == "uar"
        else {"colorscale": [[0, "#b3480a"], [0.5, "#f4f4f2"], [1, "#0b6b75"]], "cmin": -50, "cmax": 50}
    )
    learnt = "" if down == "model" else "trained on "
    depths = (colour - scale["cmin"]) / (scale["cmax"] - scale["cmin"]) if measure == "uar" else colour.abs() / 50
    figure = go.Figure(
        go.Bar(
            y=[_in_lines(title(name)) for name in cells[down]],
            base=[tests.index(name) - size / 2 for name in cells["test"]],
            x=[size] * len(cells),
            width=size,
            orientation="h",
            marker={
                "color": colour,
                **scale,
                "line": {"color": "#e69f00", "width": [2.5 if home else 0 for home in cells["home"]]},
            },
            text=[
                f"<b>{points(getattr(row, measure), measure == 'gap')}</b><br>"
                + _limits(getattr(row, low), getattr(row, high), measure == "gap")
                for row in cells.itertuples()
            ],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            insidetextfont={"color": ink(depths)},
            constraintext="none",
            customdata=[[getattr(row, down), row.test] for row in cells.itertuples()],
            hovertext=[
                f"{learnt}{title(getattr(row, down))}, tested on {corpus_title(row.test)}<br>UAR {points(row.uar)} "
                f"[{points(row.low)}, {points(row.high)}], chance {points(row.chance)}<br>"
                f"{row.clips} clips, {row.speakers} speakers" + (f"<br>{row.emotions}" if "emotions" in cells else "")
                for row in cells.itertuples()
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, title=None if down == "model" else "trained on")
    figure.update_xaxes(
        tickvals=list(range(len(tests))),
        ticktext=[corpus_title(name) for name in tests],
        side="top",
        title="tested on",
        showgrid=False,
        zeroline=False,
        range=[-0.5, len(tests) - 0.5],
    )
    layout(figure, 120 + 56 * cells[down].nunique(), barmode="overlay", showlegend=False)
    figure.update_layout(margin_t=70)
    return figure


def _in_lines(name: str) -> str:
    """Return a name in lines so short that the fields keep room on a narrow screen."""
    return "<br>".join(textwrap.wrap(name, 18, break_long_words=False, break_on_hyphens=False))


def _limits(low: float, high: float, apart: bool) -> str:
    """Return an interval in whole points, short enough for a narrow screen; "" where there is none."""
    if math.isnan(low):
        return ""
    return (" … " if apart else "–").join(unsigned(100 * limit, 0) for limit in (low, high))


def mapping(emotions: "Sequence[str]", key: str, usual: "dict[str, str] | None" = None) -> dict[str, str]:
    """Let the reader say which emotion counts as which, and return it: emotion → word, "" for one that is left out."""
    import pandas as pd

    known = [usual.get(word, word) if usual else word for word in emotions]
    table = pd.DataFrame({"label": emotions, "counts as": [word or LEAVE_OUT for word in known]})
    with st.expander("Which label counts as which"):
        st.caption(
            "Corpora do not mean the same by their labels. Change what one counts as, and everything here is worked "
            "out again: labels that count as the same are merged and their probabilities added."
        )
        edited = st.data_editor(
            table,
            hide_index=True,
            disabled=["label"],
            alt="Each label and what it counts as",
            key=f"mapping-{key}",
            column_config={
                "counts as": st.column_config.SelectboxColumn(options=[*emotions, LEAVE_OUT], required=True)
            },
        )
    return {
        label: "" if word == LEAVE_OUT else str(word)
        for label, word in zip(edited["label"], edited["counts as"], strict=True)
    }


def blanks(cells: "pd.DataFrame", tables: "Mapping[tuple[str, str], pd.DataFrame]") -> str:
    """Return which models have no field for which corpus; "" where all have one for each.

    Args:
        cells: fields that are drawn.
        tables: (model, corpus) → answers.
    """
    pairs = set(zip(cells["model"], cells["test"], strict=True)) if len(cells) else set()
    tests = sorted({corpus for _, corpus in tables}, key=corpus_title)
    told = []
    for model in sorted({model for model, _ in tables}, key=title_of):
        absent = [corpus_title(test) for test in tests if (model, test) not in pairs]
        if absent:
            told.append(f"{title_of(model)} on {', '.join(absent)}")
    return "; ".join(told)


def left_out_before_training(rows: "pd.DataFrame") -> str:
    """Return which labels of which corpus are not in a matrix, since not all of its corpora have them."""
    from ser_core.results import labels_of
    from ser_core.tasks import TASKS

    shared = set(labels_of(rows))
    told = [
        f"{corpus_title(name)} {', '.join(word for word in TASKS[name].emotions if word not in shared)}"
        for name in sorted(set(rows["train"]) & set(TASKS), key=corpus_title)
        if set(TASKS[name].emotions) - shared
    ]
    return (
        f"Trained and tested on the labels that all of these corpora have: {', '.join(sorted(shared))}. Clips of the "
        f"others were left out before training: {'; '.join(told)}. 'python -m ser_core cross-corpus --count-as' trains "
        "with labels brought together otherwise."
    )


def in_short(called: "Mapping[str, str]") -> str:
    """Return what each label counts as, in the order of the labels."""
    return ", ".join(each or "left out" for each in called.values())


def in_words(cells: "pd.DataFrame", down: str, title: "Callable[[str], str]") -> str:
    """Return the best and the worst field away from home, and the mean loss."""
    away = cells[~cells["home"]].dropna(subset=["uar"])
    if away.empty:
        return "Nothing has been tested away from home here."
    best, worst = away.loc[away["uar"].idxmax()], away.loc[away["uar"].idxmin()]
    told = [
        f"{title(row[down])} on {corpus_title(row['test'])} {points(row['uar'])} % [{points(row['low'])}, "
        f"{points(row['high'])}] (chance {points(row['chance'])} %)"
        for row in (best, worst)
    ]
    loss = away["gap"].dropna()
    lost = f" On average {points(-loss.mean())} points are lost against home." if len(loss) else ""
    return f"Away from home the best is {told[0]}, the worst {told[1]}.{lost}"


def confusion(rows: "pd.DataFrame", name: str, called: "Mapping[str, str]") -> None:
    """Draw which emotion is answered with which, in per cent of each label, and say which labels look swapped.

    Args:
        rows: of one field.
        name: whose answers they are, and about what.
        called: of ``mapping``.
    """
    import pandas as pd

    from ser_core.leaks import swapped_labels
    from ser_core.metrics import confusion as counted
    from ser_core.speakers import answers_of, emotions_of

    emotions, answers = emotions_of(rows), list(answers_of(rows))
    counts = counted(rows["emotion"].tolist(), answers, emotions)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    lines = ""
    for word, row, sums in zip(emotions, shares, counts.sum(axis=1), strict=True):
        cells = "".join(
            f'<td style="background:rgba(11,107,117,{share / 2:.2f})">{100 * share:.0f}</td>' for share in row
        )
        lines += f'<tr><th scope="row">{escape(word)} ({int(sums)})</th>{cells}</tr>'
    by_chance = counts.sum(axis=0) / max(counts.sum(), 1)
    cells = "".join(f"<td>{100 * share:.0f}</td>" for share in by_chance)
    lines += f'<tr class="few"><th scope="row">by chance</th>{cells}</tr>'
    told = [f"{word} {100 * row[place]:.0f} %" for place, (word, row) in enumerate(zip(emotions, shares, strict=True))]
    data = pd.DataFrame(counts.astype(int), columns=[f"answered {word}" for word in emotions])
    tabled(
        Rows(("", *emotions), lines),
        data.assign(label=emotions)[["label", *data]],
        "cross-confusion",
        title=f"{name}: per cent of each label (row) answered as",
        how="each row is a label with its number of clips, each column an answer; what is right lies on the diagonal. "
        "The last row is what every label has where the same answers are dealt to the clips at random.",
        words=f"Found of each label: {', '.join(told)}.",
        state=f"{name}|{in_short(called)}",
    )
    for one, other in swapped_labels(rows["emotion"].tolist(), answers):
        st.warning(
            f"{plain(one)} and {plain(other)} look swapped: each is answered with the other more often than with "
            "itself. Check the labels of one of the two corpora."
        )


def behind(rows: "pd.DataFrame", what: str, key: str, called: "Mapping[str, str]") -> None:
    """Draw the confusion of a field and list its clips."""
    confusion(rows, what, called)
    clips_behind.show(rows, what, key)


def leaks() -> None:
    """Let the reader look for leaks in a corpus that is at hand."""
    st.subheader("Leak detector")
    st.caption(
        "A test is only worth something where training and test share no speaker and no recording. And where a speaker "
        "is heard in one emotion only, a model that knows voices looks as if it knew emotions."
    )
    folders = corpora_at_hand()
    own_folder.offer(folders)
    if not folders:
        st.info(NO_CORPUS)
        return
    from ser_core import leaks as detector
    from ser_core.tasks import TASKS

    left, right = st.columns(2)
    name = left.selectbox("Corpus", list(folders), format_func=corpus_title, key="leaks-corpus")
    corpus = corpus_in(folders[name])
    splits = {"dealt clip by clip (bad practice)": detector.clip_split(corpus.table)}
    if corpus.table["split"].nunique() > 1:
        splits = {"the owners' own": corpus.table["split"]} | splits
    if corpus.name in TASKS:
        splits = {"this app's folds": detector.fold_split(corpus)} | splits
    chosen = right.selectbox("Split", list(splits), key=f"leaks-split-{name}")
    hashes = _hashes(corpus)
    found = detector.find_leaks(corpus.table, splits[chosen].tolist(), hashes)
    _found(found, "leaks", f"What is found in {corpus.title}, {chosen}", f"{corpus.title}|{chosen}")
    if found.confounded:
        st.warning(
            f"{plain(corpus.title)} trips the detector: its speakers are all but its emotions. Any high figure on it, "
            "here and in papers, may be speaker identification."
        )
    _concerned(found)


def leaks_between() -> None:
    """Let the reader look for what two corpora share, where two are at hand."""
    from ser_core.leaks import between

    folders = corpora_at_hand()
    if len(folders) < 2:
        return
    st.html('<div class="ss"><p class="title">Between two corpora</p></div>')
    left, right = st.columns(2)
    first = left.selectbox("Trained on", list(folders), format_func=corpus_title, key="leaks-train")
    others = [name for name in folders if name != first]
    second = right.selectbox("Tested on", others, format_func=corpus_title, key=f"leaks-test-{first}")
    pair = corpus_in(folders[first]), corpus_in(folders[second])
    hashes = _hashes(*pair)
    found = between(*pair, None if hashes is None else (hashes[: len(pair[0].table)], hashes[len(pair[0].table) :]))
    title = f"What {pair[0].title} and {pair[1].title} share"
    _found(found, "leaks-between", title, f"{pair[0].title}|{pair[1].title}|{'recordings, too' if hashes else ''}")
    _concerned(found)


def _concerned(found: "Leaks") -> None:
    """List the clips of the test part that a leak concerns."""
    for each in (leak for leak in found.leaks if leak.clips):
        with st.expander(f"Clips concerned: same {each.what}"):
            st.dataframe({"clip": list(each.clips)}, hide_index=True, height=220, alt="The clips that are meant")


def _found(found: "Leaks", name: str, title: str, state: str) -> None:
    """Draw what two parts share, and what speaker and sentence give away."""
    data = findings(found)
    lines = "".join(
        f'<tr><th scope="row">{escape(row.question)}</th>'
        f'<td class="words">{_VERDICTS.get(row.verdict, row.verdict)}</td>'
        f'<td class="words wide">{escape(row.found)}</td></tr>'
        for row in data.itertuples()
    )
    bad = [row.question for row in data.itertuples() if row.verdict in _VERDICTS]
    tabled(
        Rows(("Question", "Verdict", "Found"), lines, ("Verdict", "Found")),
        data,
        name,
        title=title,
        how="a leak is a speaker or a recording on both sides: a clean test has none. Speakers have their corpus's own "
        "names, so a person who speaks in two corpora is found by the recordings alone. Sentences are shared by design "
        "where a corpus has few. Confounded is what gives more than half of the way from chance to all away.",
        words=f"Wrong here: {'; '.join(bad)}." if bad else "Nothing is wrong here as far as is known.",
        state=state,
    )


def findings(found: "Leaks") -> "pd.DataFrame":
    """Return question, verdict and found (in words) of a search for leaks, a row a question."""
    import pandas as pd

    from ser_core.leaks import confounding_words, trips

    rows = [(f"same {each.what}", each.verdict, each.sentence) for each in found.shared]
    for what, known in (("speaker", found.by_speaker), ("sentence", found.by_sentence)):
        if known is not None:
            verdict = "confounded" if trips(known) else "fine"
            rows.append((f"{what} gives the emotion away", verdict, confounding_words(known, what)))
    return pd.DataFrame(rows, columns=["question", "verdict", "found"])


def _hashes(*corpora: "Corpus") -> "list[str | None] | None":
    """Return hashes of the recordings of these corpora once the reader has asked for them; offers to compute them."""
    from ser_core.leaks import audio_hashes

    files = [file if isinstance(file, str) else None for corpus in corpora for file in corpus.table["file"]]
    if silent := [corpus.title for corpus in corpora if not corpus.table["file"].notna().any()]:
        st.caption(f"The audio of {plain(' and '.join(silent))} is not here, so that recordings cannot be compared.")
        return None
    names = tuple(corpus.name for corpus in corpora)
    key = ("hashes", names, tuple(map(_state, files)))
    started = background.job(key)
    if started is None:
        if st.button("Compare the recordings, too", key=f"hash-{'-'.join(names)}"):
            background.start(key, lambda job: audio_hashes(files, job.tell))
            st.rerun()
        return None
    if not started.done:
        background.show(started)
        return None
    found: list[str | None] | None = background.result(started)
    return found


def _state(file: str | None) -> tuple[str, int, int] | None:
    """Return a file's path, size (bytes) and time of change (ns), which are others where its sound is; None without."""
    try:
        known = None if file is None else Path(file).stat()
    except OSError:  # taken away this moment
        return None
    return None if known is None else (str(file), known.st_size, known.st_mtime_ns)


@st.cache_resource(show_spinner="Reading the stored answers", max_entries=1)
def stored_matrix(path: str, changed: float) -> "pd.DataFrame":
    """Return the stored matrix, never to be changed; it holds public speech, so that sessions may share it."""
    import pandas as pd

    return pd.read_parquet(path)


@st.cache_resource(show_spinner="Counting the answers", max_entries=4)
def _counts(path: str, changed: float, called: tuple[tuple[str, str], ...]) -> "Counts":
    """Return what was answered in each cell of a stored matrix, read with these labels."""
    from ser_core.crosscorpus import counted

    return counted(stored_matrix(path, changed), dict(called))


@st.cache_data(show_spinner="Drawing speakers anew for the intervals", max_entries=64)
def trained_cells(path: str, changed: float, system: str, called: tuple[tuple[str, str], ...]) -> "pd.DataFrame":
    """Return the figures of every field of one system, speakers as they are and, where it can be, normalised."""
    from ser_core.crosscorpus import summary

    found = summary(_counts(path, changed, called).of(system), replicates=2_000)
    return found.assign(home=found["train"] == found["test"])


def cell(
    rows: "pd.DataFrame", train: str, test: str, system: str, normalised: bool, called: dict[str, str]
) -> "pd.DataFrame":
    """Return the answers of one field in the columns that lists of clips need."""
    from ser_core.evaluation import in_common

    one = rows[
        (rows["train"] == train)
        & (rows["test"] == test)
        & (rows["system"] == system)
        & (rows["normalised"] == normalised)
    ]
    words = dict.fromkeys(one.select_dtypes("category").columns, "str")
    return in_common(one.astype(words), called).assign(corpus=test, model=title_of(system))


def evaluated(tables: "Sequence[Stored]", *starts: str) -> "dict[tuple[str, str], pd.DataFrame]":
    """Return stored answers, (model, corpus) → rows; only tables that have a column with each of these beginnings.

    Clips without a speaker are left out; see ``without_speakers``.
    """
    from pyarrow.parquet import read_schema

    found = {}
    for table in tables:
        names = read_schema(table.path).names
        if all(any(name.startswith(start) for name in names) for start in starts):
            found[table.model, table.corpus] = stored_rows(str(table.path), table.path.stat().st_mtime)
    return {pair: rows for pair, rows in found.items() if len(rows)}


def without_speakers(tables: "Mapping[tuple[str, str], pd.DataFrame]") -> None:
    """Say how many clips of which corpus are left out of answers, since nobody knows who speaks."""
    of = {corpus: rows.attrs.get("without_speaker", 0) for (_, corpus), rows in tables.items()}
    if told := [f"{count} of {plain(corpus_title(corpus))}" for corpus, count in of.items() if count]:
        st.caption(f"Clips without a speaker are left out: {', '.join(told)}.")


@st.cache_data(show_spinner="Setting the systems side by side", max_entries=4)
def systems(path: str, changed: float, called: tuple[tuple[str, str], ...]) -> "pd.DataFrame":
    """Return every system at home and away over a stored matrix, read with these labels; of public speech."""
    from ser_core.crosscorpus import by_system

    return by_system(_counts(path, changed, called))


def side_by_side(found: "pd.DataFrame", system: str, normalised: bool) -> Rows:
    """Return all systems at home and away, the best away first and the one that is shown marked."""
    lines = ""
    for row in found.itertuples():
        name = escape(_system(row.system, row.normalised))
        marked = f"<strong>{name}</strong>" if (row.system, row.normalised) == (system, normalised) else name
        cells = "".join(
            f"<td><strong>{points(value, sign)}</strong> [{points(low, sign)}, {points(high, sign)}]</td>"
            for value, low, high, sign in (
                (row.away, row.away_low, row.away_high, False),
                (row.clear, row.clear_low, row.clear_high, False),
                (row.home, row.home_low, row.home_high, False),
                (row.loss, row.loss_low, row.loss_high, True),
            )
        )
        lines += f'<tr><th scope="row">{marked}</th>{cells}</tr>'
    return Rows(
        ("Trained system", "Away from home [95 %]", "The same without Urdu", "At home [95 %]", "Loss [95 %]"), lines
    )


def systems_in_words(found: "pd.DataFrame") -> str:
    """Return the best and the worst system away from home."""
    said = [
        f"{_system(row['system'], row['normalised'])} {points(row['away'])} % "
        f"[{points(row['away_low'])}, {points(row['away_high'])}]"
        for _, row in found.iloc[[0, -1]].iterrows()
    ]
    return f"Most is found away from home by {said[0]}, least by {said[1]}."


def _system(system: str, normalised: bool) -> str:
    return title_of(system) + (", each speaker normalised" if normalised else "")


def normalising(cells: "pd.DataFrame", name: str, called: "Mapping[str, str]") -> None:
    """Draw what normalising each speaker changes in every field; nothing where the system cannot be.

    Args:
        cells: of ``trained_cells``.
        name: of the system.
        called: of ``mapping``.
    """
    changed = cells[cells["normalised"]]
    if changed.empty:
        return
    tests = sorted(changed["test"].unique(), key=corpus_title)
    lines = ""
    for train in sorted(changed["train"].unique(), key=corpus_title):
        own = changed[changed["train"] == train].set_index("test")
        fields = "".join(
            f"<td><strong>{points(own.at[test, 'change'], True)}</strong> "
            f"[{points(own.at[test, 'change_low'], True)}, {points(own.at[test, 'change_high'], True)}]</td>"
            if test in own.index
            else "<td>–</td>"
            for test in tests
        )
        lines += f'<tr><th scope="row">{escape(corpus_title(train))}</th>{fields}</tr>'
    away = changed[~changed["home"]]
    better, worse = int((away["change_low"] > 0).sum()), int((away["change_high"] < 0).sum())
    tabled(
        Rows(("Trained on", *map(corpus_title, tests)), lines),
        changed[["train", "test", "clips", "speakers", "change", "change_low", "change_high", "chance"]],
        "normalising",
        title=f"{name}: what normalising each speaker changes, points of UAR",
        how="each row is what was trained on, each column what was tested on; a field is UAR with each speaker "
        "normalised minus UAR as they are, with its 95 % interval over the test speakers; 0 is no change.",
        words=f"Away from home, normalising changes UAR by {points(away['change'].mean(), True)} points on average; "
        f"its 95 % interval lies above 0 in {better} of {len(away)} fields and below in {worse}. That is no test: "
        "where nothing changes, an interval still lies above in one field of forty and below in one, more often with "
        "few speakers.",
        state=f"{name}|{in_short(called)}",
    )


def urdu_note() -> None:
    """Say what stands in the way of reading the Urdu column."""
    st.html(
        '<div class="ss"><p><strong>Read the Urdu column with care.</strong> In URDU-Dataset nearly every speaker is '
        "heard in one emotion only, so a high figure on it may be speaker identification, and normalising each speaker "
        "takes the emotion away with the voice. The leak detector below measures it. The published study has four "
        "classes and its corpora are Urdu; here only one is, so the matrix is across languages.</p></div>"
    )


@st.cache_resource(show_spinner="Reading the stored answers", max_entries=128)
def stored_rows(path: str, changed: float) -> "pd.DataFrame":
    """Return a stored table of answers, never to be changed; it holds public speech, so that sessions may share it.

    Clips without a speaker are left out.
    """
    from ser_core.evaluation import read_stored, with_speakers

    return with_speakers(read_stored(Path(path)))
