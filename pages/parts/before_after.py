"""Gaps between groups before and after voices were converted for the training (CO-VADA), and what conversion does."""

import re
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import clips_behind
from pages.parts.charts import COLOURS, Rows, chart, layout, tabled
from pages.parts.predictions import kept, title_of
from pages.parts.words import p_value, plain
from ser_core.numbers import signed, unsigned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def show() -> None:
    """Show the stored comparisons of gaps before and after a change of the training."""
    import pandas as pd

    from ser_core.results import RESULTS

    stored = sorted(RESULTS.glob("fairness-*.csv"))
    st.subheader("Before and after converted voices (CO-VADA)")
    if not stored:
        st.info("No comparison is stored yet; 'python -m ser_core fairness' writes one.")
        return
    path = stored[0]
    if len(stored) > 1:
        path = st.selectbox("Models", stored, format_func=lambda each: each.stem.removeprefix("fairness-"))
    table = kept(("changes", str(path), path.stat().st_mtime), lambda: pd.read_csv(path))
    st.markdown(
        "The same model, trained once as it is and once with its most easily learnt clips also in other voices. Gaps "
        "over all 91 actors of CREMA-D; the interval of the change draws the same speakers for both."
    )
    groups = list(dict.fromkeys(table["attribute"]))
    offered = [name for name in groups if name != "all speakers"]
    attribute = st.selectbox("Groups by", offered, key="before-after-attribute")
    part = table[table["attribute"] == attribute]
    st.caption(f"{plain(str(part['groups'].iloc[0]))}.")
    state = f"{path.stem.removeprefix('fairness-')}|{attribute}"
    overall = table[(table["attribute"] == "all speakers") & (table["measure"] == "UAR")].iloc[0]
    found = part[part["change_p_holm"] <= 0.05]
    rule = "by exchanging the two models' answers speaker by speaker, corrected by Holm's method over all groups"
    verdict = (
        f"No change of a gap is a finding {rule}."
        if found.empty
        else f"Findings {rule}: {', '.join(found['measure'])}."
    )
    words = (
        f"{verdict} UAR of all speakers: {_share(overall, 'before')} before, {_share(overall, 'after')} after, a "
        f"change of {_share(overall, 'change', True)} points."
    )
    points = chart(
        _changes_chart(part),
        table,
        "before-after",
        title=f"Gaps by {attribute}, before and after",
        how="each line is a gap over the groups; the open circle is the plain model, the full one the model that also "
        "learnt from converted voices. Left is fairer, but a gap is never quite 0: the table says how large it is by "
        "chance. Click a circle for the clips that the two models "
        "answer differently.",
        words=words,
        state=state,
    )
    if points:
        names = path.stem.removeprefix("fairness-"), str(points[0][0])
        rows = kept(("answered differently", *names), lambda: _answered_differently(*names))
        if rows is None:
            st.info("The answers of these two models are not stored.")
        else:
            clips_behind.show(rows, f"answered differently by the two models; answers here: {names[1]}", "change")
    lines = ""
    for row in part.itertuples():
        cells = "".join(
            f"<td>{100 * getattr(row, when):.1f}<br><small>by chance "
            f"{100 * getattr(row, when + '_chance'):.1f}</small></td>"
            for when in ("before", "after")
        )
        lines += (
            f'<tr><th scope="row">{escape(row.measure)}</th>{cells}<td><strong>{signed(100 * row.change, 1)}</strong> '
            f"[{signed(100 * row.change_low, 1)}, {signed(100 * row.change_high, 1)}]</td>"
            f"<td>{p_value(row.change_p_holm)}</td></tr>"
        )
    names = ("Gap, points", "Before", "After", "Change [95 %]", "p, corrected")
    tabled(
        Rows(names, lines),
        part.drop(columns=["groups", "too_small"]).dropna(axis=1, how="all"),
        "before-after-figures",
        title=f"Gaps by {attribute}, before and after, points",
        how="a gap is never below 0, so what it is when the groups are dealt to the speakers at random stands below "
        "it. The change is after minus before, its interval draws the same speakers for both; p is that of answers "
        "exchanged between the two models, corrected by Holm's method over all groups.",
        words=words,
        state=state,
    )
    _converted()


def _converted() -> None:
    """Show what was checked of the converted voices, for each way of converting."""
    import pandas as pd

    from ser_core.results import RESULTS

    path = RESULTS / "conversion.csv"
    if not path.exists():
        return
    table = pd.read_csv(path)
    with st.expander("What conversion does to a voice"):
        backends = list(dict.fromkeys(table["backend"]))
        cells = {(row.measure, row.backend): row for row in table.itertuples()}
        lines = ""
        for measure in dict.fromkeys(table["measure"]):
            shares = measure.startswith(("nearer", "word error", "accuracy"))
            scale, decimals = (100, 1) if shares else (1, 2)
            plus = measure.endswith("change")
            written = signed if plus else unsigned
            found = "".join(
                f"<td><strong>{written(scale * row.value, decimals)}</strong> [{written(scale * row.low, decimals)}, "
                f"{written(scale * row.high, decimals)}]</td>"
                for row in (cells[measure, backend] for backend in backends)
            )
            unit = (", points" if plus else ", %") if shares else ""
            lines += f'<tr><th scope="row">{escape(_named(measure))}{unit}</th>{found}</tr>'
        names = ("Measure [95 %]", *(name.capitalize() if name != "world" else "WORLD" for name in backends))
        tabled(
            Rows(names, lines),
            table,
            "conversion",
            title="Converted speech, checked",
            how=f"{int(table['clips'].iloc[0])} clips of {int(table['speakers'].iloc[0])} held-out actors, each in "
            "another actor's voice; intervals over speakers. Likeness is the cosine of speaker embeddings, the word "
            "error rate is Whisper's, accuracy that of models that were not trained on converted speech: what they "
            'lose, the conversion took away. A slope of 1 moves a cue as far as asked. What is "before" is the clip '
            "as it was.",
            words=_conversion_in_words(table),
        )


def _conversion_in_words(table: "pd.DataFrame") -> str:
    """Return how much of the speech lies nearer to the target voice, converted in each way and before."""
    near = table.set_index(["measure", "backend"]).loc["nearer to target than to source: after"]
    said = [
        f"{name} {100 * row.value:.0f} % [{100 * row.low:.0f}, {100 * row.high:.0f}]" for name, row in near.iterrows()
    ]
    before = table.loc[table["measure"] == "nearer to target than to source: before", "value"].iloc[0]
    way = ", by ".join(said)
    return f"Nearer to the target voice than to their own are {100 * before:.0f} % before, and converted by {way}."


def _named(measure: str) -> str:
    """Return a measure with the title of the model it speaks of."""
    return re.sub(r"(?<=^accuracy of )[\w-]+", lambda found: title_of(found[0]), measure)


def _answered_differently(models: str, when: str) -> "pd.DataFrame | None":
    """Return the clips that the model before and the one after answer differently, with the answers of one of them.

    None where the answers of one of the two are not stored.

    Args:
        models: both names, joined by "-": of the stored comparison's file.
        when: "before" or "after".
    """
    from ser_core import evaluation
    from ser_core.speakers import answers_of

    stored = {(each.model, each.corpus): each.path for each in evaluation.stored()}
    pairs = [
        (stored[one, corpus], stored[other, corpus])
        for one, corpus in stored
        for other, where in stored
        if corpus == where and f"{one}-{other}" == models
    ]
    if not pairs:
        return None
    one, other = (evaluation.read_stored(path).set_index("clip", drop=False) for path in pairs[0])
    other = other.loc[one.index]
    turned = (answers_of(one).to_numpy() != answers_of(other).to_numpy()).nonzero()[0]
    return (one if when == "before" else other).iloc[turned].reset_index(drop=True)


def _share(row: "pd.Series", name: str, plus: bool = False) -> str:
    figures = [100 * row[key] for key in (name, f"{name}_low", f"{name}_high")]
    value, low, high = (signed(each, 1) if plus else f"{each:.1f}" for each in figures)
    return f"{value} [{low}, {high}]"


def _changes_chart(part: "pd.DataFrame") -> "go.Figure":
    """Return each gap before and after."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for shift, when, symbol, colour in (
        (-0.14, "before", "circle-open", "#5b7fd1"),
        (0.14, "after", "circle", COLOURS[0]),
    ):
        figure.add_trace(
            go.Scatter(
                x=100 * part[when],
                y=[place + shift for place in range(len(part))],
                mode="markers",
                name=when,
                marker={"size": 10, "symbol": symbol, "color": colour},
                customdata=[[when]] * len(part),
                text=part["measure"],
                hovertemplate="%{text}: %{x:.1f} points<extra></extra>",
            )
        )
    figure.update_yaxes(
        tickvals=list(range(len(part))), ticktext=part["measure"], range=[len(part) - 0.5, -0.5], zeroline=False
    )
    figure.update_xaxes(title="points", rangemode="tozero")
    return layout(figure, 110 + 44 * len(part))
