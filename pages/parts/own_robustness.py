"""Robustness of the reader's own table: the same clips under conditions of their own."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, clips_behind
from pages.parts.charts import COLOURS, GREY, Rows, bars, chart, layout, tabled
from pages.parts.predictions import Chosen, taken
from pages.parts.robustness_charts import HINTS, MEASURES, shown
from ser_core.predictions import CLEAN

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

OWN = "own conditions"
EXAMPLE = """file,condition,speaker,emotion,p_anger,p_happiness,p_neutral
a01.wav,clean,ann,anger,0.81,0.12,0.07
a02.wav,clean,ann,neutral,0.10,0.15,0.75
b01.wav,clean,bob,anger,0.44,0.31,0.25
b02.wav,clean,bob,happiness,0.20,0.62,0.18
a01.wav,traffic 10 dB,ann,anger,0.61,0.22,0.17
a02.wav,traffic 10 dB,ann,neutral,0.10,0.55,0.35
b01.wav,traffic 10 dB,bob,anger,0.34,0.31,0.35
b02.wav,traffic 10 dB,bob,happiness,0.30,0.52,0.18
"""


def show() -> None:
    """Take the reader's table and draw what each condition costs."""
    from ser_core.robustness import of_conditions

    own = _own()
    if own is None:
        return
    found = background.made_once(
        st.session_state.setdefault("dashboards", {}),
        ("own robustness", own.key),
        ("own robustness", own.key),
        "Drawing speakers anew for the intervals",
        lambda job: of_conditions(own.rows),
        then="The figures come",
        needed=False,
    )
    if found is None:
        return
    answers = "uar" in found
    measure = st.segmented_control(
        "Measure",
        [name for name in MEASURES if answers or name == "shift"],
        default="uar" if answers else "shift",
        required=True,
        format_func=lambda name: MEASURES[name],
        key=f"own-robustness-measure-{answers}",
    )
    st.caption(f"{MEASURES[measure]}: {HINTS[measure]}.")
    points = chart(
        conditions(found, measure),
        found,
        "own-robustness",
        title=f"{own.title}: {MEASURES[measure]} by condition",
        how="each dot is one condition, the bar its 95 % interval over speakers"
        + ("; the thin line across is its chance" if measure == "uar" else "")
        + ". A condition may hold a part of the clips: the loss, not UAR, is measured on the same ones. Click a dot "
        "for its clips.",
        words=in_words(found, measure),
        state=f"{own.key}|{measure}",
    )
    tabled(
        table(found),
        found,
        "own-robustness-figures",
        title=f"{own.title}: per cent and points, with 95 % intervals over speakers",
        how="each row is a condition. UAR stands beside that of a constant answer and chance; what is lost or changed "
        "is measured on the clips that are there clean as well, 0 being no effect.",
        words=in_words(found, measure),
        state=f"{own.key}|{measure}",
    )
    if points:
        part = own.rows[own.rows["condition"] == points[0][0]].reset_index(drop=True)
        clips_behind.show(part, f"{own.title}, {points[0][0]}", f"own-{points[0][0]}")


def _own() -> Chosen | None:
    from ser_core.predictions import read_conditions

    st.caption(
        "One row for each clip and condition: file, condition (clean, and whatever you did to the clips), speaker, "
        "emotion, and the probabilities p_anger, p_happiness and so on; or d_valence and t_valence … instead. CSV or "
        "Parquet. The table stays in the memory of this session and is dropped with it."
    )
    own = taken(OWN, read_conditions, EXAMPLE)
    if own is not None:
        clean = own.rows[own.rows["condition"] == CLEAN]
        names = own.rows["condition"].nunique() - 1
        st.caption(
            f"{len(clean)} clips of {clean['speaker'].nunique()} speakers, clean and under {names} other "
            f"condition{'s' if names > 1 else ''}."
        )
    return own


def conditions(found: "pd.DataFrame", measure: str) -> "go.Figure":
    """Return a dot with its interval for every condition, in the table's order."""
    import plotly.graph_objects as go

    rows = found if measure == "uar" else found[found["condition"] != CLEAN]
    figure = go.Figure(
        go.Scatter(
            x=100 * rows[measure],
            y=[escape(name) for name in rows["condition"]],
            error_x=bars(rows[measure], rows[f"{measure}_low"], rows[f"{measure}_high"]),
            mode="markers",
            marker={"size": 11, "color": COLOURS[0]},
            customdata=[[name] for name in rows["condition"]],
            hovertemplate="%{y}: %{x:.1f}<extra></extra>",
        )
    )
    if measure == "uar":
        # A condition may hold clips of other emotions, and so have another chance.
        figure.add_scatter(
            x=100 * rows["chance"],
            y=[escape(name) for name in rows["condition"]],
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 24, "color": GREY, "line_width": 1.5},
            hovertemplate="chance %{x:.1f}<extra></extra>",
        )
    if measure == "drop":
        figure.add_vline(x=0.0, line_width=1, line_color=GREY)
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="points" if measure == "drop" else "per cent")
    return layout(figure, 130 + 36 * len(rows), showlegend=False)


def in_words(found: "pd.DataFrame", measure: str) -> str:
    """Return which condition costs most and which least, with its interval; of UAR, where it is lowest and highest.

    Conditions may hold other clips, so that a lower UAR alone does not say that a condition costs more.
    """
    ends = ("lowest under", "highest under") if measure == "uar" else ("affected most by", "least by")
    rows = found[found["condition"] != CLEAN].sort_values(measure, ascending=measure in ("uar", "drop"))
    said = [
        f"{word} {row['condition']}: {shown(measure, row[measure])} [{shown(measure, row[f'{measure}_low'])}, "
        f"{shown(measure, row[f'{measure}_high'])}]"
        for word, row in ((ends[0], rows.iloc[0]), (ends[1], rows.iloc[-1]))[: len(rows)]
    ]
    clean = found[found["condition"] == CLEAN].iloc[0]
    before = f" Clean: {shown(measure, clean[measure])}." if measure == "uar" else ""
    return f"{MEASURES[measure]}, {', '.join(said)}.{before}"


def table(found: "pd.DataFrame") -> Rows:
    """Return every figure of every condition."""
    measures = [name for name in MEASURES if name in found]
    lines = ""
    for _, row in found.iterrows():
        cells = ""
        for measure in measures:
            value, low, high = (shown(measure, row[name]) for name in (measure, f"{measure}_low", f"{measure}_high"))
            told = row["condition"] != CLEAN or measure == "uar"
            cells += f"<td><strong>{value}</strong> [{low}, {high}]</td>" if told else "<td>–</td>"
        if measures != ["shift"]:
            cells += f"<td>{shown('uar', row['baseline'])}</td><td>{shown('uar', row['chance'])}</td>"
        lines += f'<tr><th scope="row">{escape(str(row["condition"]))}</th>{cells}<td>{row["clips"]}</td></tr>'
    beside = ("Constant answer", "Chance") if measures != ["shift"] else ()
    names = ("Condition", *(MEASURES[measure] for measure in measures), *beside, "Clips")
    return Rows(names, lines)
