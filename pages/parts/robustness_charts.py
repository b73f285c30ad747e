"""How answers hold when recordings get worse, as charts and tables."""

import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import clips_behind, session
from pages.parts.charts import COLOURS, GREY, SYMBOLS, Rows, ink, layout
from pages.parts.predictions import corpora_at_hand, corpus_title, row_of_clip, title_of
from ser_core.degradations import KINDS
from ser_core.numbers import signed, unsigned
from ser_core.sphere import DIMENSIONS

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MEASURES = {
    "uar": "UAR",
    "drop": "UAR lost or won",
    "flips": "Changed answers",
    "shift": "Shift of the answer",
}
HINTS = {
    "uar": "unweighted average recall: the mean over the emotions of the share found, in per cent",
    "drop": "UAR on the changed clips minus UAR on the same clips clean, in points; the interval is of the difference",
    "flips": "share of clips whose most probable emotion is another one than on the clean clip, in per cent",
    "shift": "how much probability moves from one emotion to another (total variation), in per cent; for a model of "
    "dimensions, how far a value moves, in hundredths of its scale from −1 to 1",
}
ACROSS = 2


def level_words(kind: str, level: float) -> str:
    """Return a level with its unit."""
    return f"{level:g} {KINDS[kind].unit}".replace("-", "−")


@st.cache_data(show_spinner="Reading the stored answers", max_entries=24)
def table_of(path: str, changed: float) -> "pd.DataFrame":
    """Return one model's stored answers; it holds public speech, so that sessions may share it."""
    import pandas as pd

    rows = pd.read_parquet(path)
    return rows.astype(dict.fromkeys(rows.select_dtypes("category").columns, "str"))


def answers(model: str, corpus: str) -> "pd.DataFrame":
    """Return one model's stored answers to every clip under every change."""
    from ser_core.robustness import TABLES

    path = TABLES / f"{model}.{corpus}.parquet"
    return table_of(str(path), path.stat().st_mtime)


def curves(rows: "pd.DataFrame", models: "list[str]", kinds: "list[str]", measure: str) -> "go.Figure":
    """Return a small chart for each kind of change, a line for each model.

    From clean on the left to severe, or with clean between both sides.
    """
    from plotly.subplots import make_subplots

    across = min(ACROSS, len(kinds))
    down = math.ceil(len(kinds) / across)
    titles = [f"{kind} ({KINDS[kind].unit})" for kind in kinds]
    figure = make_subplots(
        down,
        across,
        shared_yaxes=True,
        subplot_titles=titles,
        horizontal_spacing=0.04,
        vertical_spacing=0.6 / (down + 2),
    )
    for place, model in enumerate(models):
        own = rows[rows["model"] == model]
        colour = COLOURS[place % len(COLOURS)]
        for number, kind in enumerate(kinds):
            part = _in_order(own, kind, measure)
            if part.empty:
                continue
            ticks = ["clean" if row.kind == "clean" else f"{row.level:g}" for row in part.itertuples()]
            at = [step + 0.08 * (place - (len(models) - 1) / 2) for step in range(len(ticks))]
            figure.add_scatter(
                row=number // across + 1,
                col=number % across + 1,
                x=at,
                y=100 * part[measure],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": 100 * (part[f"{measure}_high"] - part[measure]).clip(lower=0),
                    "arrayminus": 100 * (part[measure] - part[f"{measure}_low"]).clip(lower=0),
                    "thickness": 1,
                    "width": 0,
                },
                mode="lines+markers",
                name=title_of(model),
                legendgroup=model,
                showlegend=number == 0,
                marker={"size": 8, "color": colour, "symbol": SYMBOLS[place % len(SYMBOLS)]},
                line={"color": colour, "width": 1.5},
                customdata=[
                    [model, row.kind, None if math.isnan(row.level) else row.level] for row in part.itertuples()
                ],
                text=[
                    f"{title_of(model)}<br>{'clean' if r.kind == 'clean' else level_words(r.kind, r.level)}: "
                    f"{shown(measure, getattr(r, measure))} [{shown(measure, getattr(r, measure + '_low'))}, "
                    f"{shown(measure, getattr(r, measure + '_high'))}]"
                    for r in part.itertuples()
                ],
                hovertemplate="%{text}<extra></extra>",
            )
            figure.update_xaxes(
                tickvals=list(range(len(ticks))),
                ticktext=[tick.replace("-", "−") for tick in ticks],
                showgrid=False,
                row=number // across + 1,
                col=number % across + 1,
            )
    if measure == "uar":
        for chance in dict.fromkeys((100 * rows["chance"]).dropna().round(1)):
            figure.add_hline(y=chance, line_dash="dash", line_width=1, line_color=GREY)
    elif measure == "drop":
        figure.add_hline(y=0, line_width=1, line_color=GREY)
    figure.update_yaxes(rangemode="tozero" if measure != "drop" else "normal")
    figure.update_annotations(font_size=13)
    height = 130 + 230 * down
    layout(figure, height)
    figure.update_layout(margin_t=86, legend_y=1 + 34 / (height - 130))  # above the titles of the small charts
    return figure


def overview(rows: "pd.DataFrame", models: "list[str]", kinds: "list[str]", measure: str) -> "go.Figure":
    """Return a matrix of models and kinds of change at their severest, darker where more is lost."""
    import plotly.graph_objects as go

    worst = rows[
        [row.kind in KINDS and round(row.level, 3) == round(KINDS[row.kind].severest, 3) for row in rows.itertuples()]
    ]
    worst = worst[worst["kind"].isin(kinds)].dropna(subset=[measure])
    size, few = 0.94, len(kinds) <= 8
    lost = 100 * worst[measure] * (-1 if measure == "drop" else 1)
    most = max(1.0, lost.max()) if len(lost) else 1.0
    depths = (lost / most).clip(0, 1) if measure != "uar" else 1 - lost / most
    figure = go.Figure(
        go.Bar(
            # A model's name stands above its fields, not beside them, which leaves a narrow screen no room for fields.
            y=[models.index(row.model) + 0.2 for row in worst.itertuples()],
            base=[kinds.index(row.kind) - size / 2 for row in worst.itertuples()],
            x=[size] * len(worst),
            orientation="h",
            width=0.56,
            marker={
                "color": lost,
                "colorscale": [[0, "#eef4f5"], [1, "#0b6b75"]]
                if measure != "uar"
                else [[0, "#0b6b75"], [1, "#eef4f5"]],
                "cmin": 0,
                "cmax": most,
            },
            text=[shown(measure, value) if few else shown(measure, value, 0) for value in worst[measure]],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            insidetextfont={"color": ink(depths)},
            constraintext="none",
            customdata=[[row.model, row.kind, row.level] for row in worst.itertuples()],
            hovertext=[
                f"{title_of(row.model)}<br>{row.kind}, {level_words(row.kind, row.level)}: "
                f"{shown(measure, getattr(row, measure))}"
                for row in worst.itertuples()
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    for place, model in enumerate(models):
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=place - 0.28, text=escape(title_of(model)), showarrow=False
        )
    figure.update_yaxes(range=[len(models) - 0.45, -0.55], visible=False)
    figure.update_xaxes(
        tickvals=list(range(len(kinds))),
        ticktext=[f"{kind}, {level_words(kind, KINDS[kind].severest)}" for kind in kinds],
        range=[-0.5, len(kinds) - 0.5],
        side="top",
        tickangle=-90,
        tickfont={"size": 12},
        showgrid=False,
        zeroline=False,
        automargin=True,
    )
    layout(figure, 220 + 56 * len(models), barmode="overlay", showlegend=False)
    figure.update_layout(margin={"l": 4, "r": 4, "t": 190, "b": 10})
    return figure


def shown(measure: str, value: float, decimals: int = 1) -> str:
    """Return a share in per cent, or a change in points."""
    return (signed if measure == "drop" else unsigned)(100 * value, decimals)


def in_words(rows: "pd.DataFrame", models: "list[str]", kinds: "list[str]", measure: str) -> str:
    """Return for each model what hurts it most and least."""
    said = []
    for model in models:
        part = rows[(rows["model"] == model) & rows["kind"].isin(kinds)].dropna(subset=[measure])
        if part.empty:
            said.append(f"{title_of(model)} has no {MEASURES[measure]}, since it does not answer with one emotion")
            continue
        up = measure in ("flips", "shift")
        ordered = part.sort_values(measure, ascending=not up)
        first, last = ordered.iloc[0], ordered.iloc[-1]
        said.append(
            f"{title_of(model)}: worst {first['kind']} at {level_words(first['kind'], first['level'])} "
            f"({shown(measure, first[measure])}), least {last['kind']} at "
            f"{level_words(last['kind'], last['level'])} ({shown(measure, last[measure])})"
        )
    return f"{MEASURES[measure]}. {'; '.join(said)}."


def severest_in_words(rows: "pd.DataFrame", models: "list[str]", kinds: "list[str]", measure: str) -> str:
    """Return for each kind of change at its severest which model minds it least and which most; of UAR, which has more.

    A model may have the highest UAR under a change that cost it most, so that UAR alone says nothing of the effect.
    """
    said = []
    for kind in kinds:
        level = KINDS[kind].severest
        part = rows[(rows["kind"] == kind) & (rows["level"].round(3) == round(level, 3)) & rows["model"].isin(models)]
        part = part.dropna(subset=[measure]).sort_values(measure, ascending=measure in ("flips", "shift"))
        if len(part):
            ends = [
                f"{title_of(row['model'])} ({shown(measure, row[measure])})" for _, row in part.iloc[[0, -1]].iterrows()
            ]
            said.append(f"{kind}, {level_words(kind, level)}: {' … '.join(dict.fromkeys(ends))}")
    order = "From the highest to the lowest UAR" if measure == "uar" else "From the least to the most affected"
    return f"{order}: {'; '.join(said)}."


def of_model(rows: "pd.DataFrame", model: str, kinds: "list[str]") -> "pd.DataFrame":
    """Return one model's figures for these changes and clean."""
    return rows[(rows["model"] == model) & rows["kind"].isin(["clean", *kinds])]


def table(own: "pd.DataFrame") -> Rows:
    """Return one model's figures for every kind and level."""
    lines = ""
    for row in own.itertuples():
        what = "clean" if row.kind == "clean" else f"{row.kind}, {level_words(row.kind, row.level)}"
        cells = ""
        for measure in MEASURES:
            if row.kind == "clean" and measure != "uar":
                cells += "<td>–</td>"
                continue
            value, low, high = (shown(measure, getattr(row, name)) for name in _columns(measure))
            cells += "<td>–</td>" if value == "–" else f"<td><strong>{value}</strong> [{low}, {high}]</td>"
        beside = f"<td>{shown('uar', row.baseline)}</td><td>{shown('uar', row.chance)}</td>"
        lines += f'<tr><th scope="row">{escape(what)}</th>{cells}{beside}</tr>'
    return Rows(("", *MEASURES.values(), "UAR of a constant answer", "Chance"), lines, measures=("UAR",))


def steady(models: "list[str]", corpus: str) -> "pd.DataFrame":
    """Return what models answer to sounds that never change: a row a model, sound and length.

    model (its title), sound, length_s, answer and its probability (of models of emotions), changed (another answer than
    for 2 s), and all probabilities or values by their name.
    """
    import pandas as pd

    from ser_core.robustness import CONSTANT
    from ser_core.speakers import answers_of, emotions_of

    found = []
    for model in models:
        rows = answers(model, corpus)
        rows = rows[rows["kind"] == CONSTANT]
        facts = {"model": title_of(model), "sound": rows["clip"], "length_s": rows["level"]}
        if emotions := emotions_of(rows):
            best = rows[[f"p_{name}" for name in emotions]].max(axis=1)
            facts |= {"answer": answers_of(rows), "probability": best}
        facts |= {"changed": rows["changed"]}
        given = {name[2:]: rows[name] for name in map(str, rows) if name.startswith(("p_", "d_"))}
        found.append(pd.DataFrame(facts | given))
    return pd.concat(found, ignore_index=True)


def steady_table(data: "pd.DataFrame") -> Rows:
    """Return the answers to sounds that never change, a row a model and sound, a column a length."""
    lines = ""
    for (model, sound), part in data.groupby(["model", "sound"], sort=False):
        cells = "".join(f"<td>{_answer(row)}</td>" for _, row in part.sort_values("length_s").iterrows())
        lines += f'<tr><th scope="row">{escape(str(model))}, {escape(str(sound))}</th>{cells}</tr>'
    return Rows(("", *(f"{seconds:g} s" for seconds in sorted(data["length_s"].unique()))), lines)


def steady_in_words(data: "pd.DataFrame") -> str:
    """Return how often each model's answer turns with the length of a sound that never changes."""
    from ser_core.robustness import REFERENCE_S

    said = []
    for model, part in data.groupby("model", sort=False):
        if "answer" not in part or part["answer"].isna().all():
            said.append(f"{model} answers with values, not with one emotion")
            continue
        others = part[part["length_s"] != REFERENCE_S]
        said.append(
            f"{model}: {int(others['changed'].sum())} of {len(others)} answers are another than for {REFERENCE_S:g} s"
        )
    return f"{'; '.join(said)}."


def behind(point: "list", corpus: str, key: str) -> None:
    """List the clips behind a point and let the reader hear and explain one as it is and after the change.

    Args:
        point: model, change and its level.
        corpus: whose clips.
        key: of the chart that the point is of.
    """
    model, kind, level = point
    rows = answers(model, corpus)
    part = rows[rows["kind"] == kind]
    if level is not None:
        import numpy as np

        part = part[np.isclose(part["level"], float(level))]
    part = part.reset_index(drop=True)
    what = "clean" if kind == "clean" else f"{kind}, {level_words(kind, float(level))}"
    clips_behind.show(part, f"{title_of(model)}, {what}", f"{key}-{model}-{kind}-{level}")
    if kind != "clean":
        _after_the_change(part, model, corpus, kind, float(level), key)


def _after_the_change(part: "pd.DataFrame", model: str, corpus: str, kind: str, level: float, key: str) -> None:
    """Offer one of the clips as the model heard it."""
    if corpus not in corpora_at_hand():
        return
    if kind in ("environment", "babble", "speech-shaped"):
        st.caption("The noise itself is not kept with the app, so these clips can be heard clean only.")
        return
    turned = part.loc[part["changed"], "clip"].tolist()
    clip = st.selectbox(
        "Hear a clip after the change",
        [*turned, *(each for each in part["clip"] if each not in turned)],
        format_func=lambda name: f"{name} (its answer changed)" if name in turned else name,
        key=f"changed-{key}-{model}-{kind}-{level}",
    )
    row = row_of_clip(corpus, clip)
    if row is None:
        return
    from ser_core.audio import SAMPLE_RATE, from_samples
    from ser_core.degradations import changed
    from ser_core.robustness import voice_of

    file = Path(row["file"].iloc[0])
    what = f"{kind}, {level_words(kind, level)}"
    samples = changed(voice_of(file), kind, level)
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.audio(samples, sample_rate=SAMPLE_RATE)
    if right.button("Explain it so changed", key=f"explain-changed-{key}-{model}-{kind}-{level}", width="stretch"):
        from ser_core.registry import model_names

        if model in model_names():
            st.session_state["model"] = model
        recording = from_samples(samples, SAMPLE_RATE, f"{file.stem}, {what}")
        session.use(recording, f"{corpus_title(corpus)}, labelled {row['emotion'].iloc[0]}, {what}")
        st.switch_page("pages/explain.py")


def _in_order(own: "pd.DataFrame", kind: str, measure: str) -> "pd.DataFrame":
    """Return a model's rows of one kind as the kind's levels; clean, where the measure is known there, at its place."""
    import pandas as pd

    part = own[own["kind"] == kind].dropna(subset=[measure])
    order = {round(level, 3): place for place, level in enumerate(KINDS[kind].levels)}
    part = part.assign(_place=[order[round(level, 3)] for level in part["level"]]).sort_values("_place")
    clean = own[own["kind"] == "clean"].dropna(subset=[measure])
    if measure != "uar" or part.empty:
        return part
    before = (part["level"] < 0) & KINDS[kind].two_sided
    return pd.concat([part[before], clean, part[~before]])


def _columns(measure: str) -> tuple[str, str, str]:
    return measure, f"{measure}_low", f"{measure}_high"


def _answer(row: "pd.Series") -> str:
    if not isinstance(row.get("answer"), str):
        return ", ".join(f"{name} {signed(row[name])}" for name in DIMENSIONS if name in row)
    said = f"{escape(row['answer'])} {100 * row['probability']:.0f} %"
    return f"<strong>{said}</strong>" if row["changed"] else said
