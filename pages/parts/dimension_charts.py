"""Valence, arousal and dominance of whole corpora: clouds in space, octants, concordance and bias."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.parts.charts import COLOURS, GREY, SYMBOLS, Rows, chart, layout
from pages.parts.predictions import row_of_clip
from pages.parts.sphere import framed, globe
from pages.parts.words import p_value
from ser_core.group_differences import LEVEL
from ser_core.numbers import percent, signed, unsigned
from ser_core.sphere import DIMENSIONS, POLES

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SHOWN = 1_500
SIGNS = ("circle", "diamond", "square", "cross", "circle-open", "diamond-open")
"""What Plotly can draw in space."""


def points_of(rows: "pd.DataFrame", start: str) -> np.ndarray:
    """Return rated ("t_") or predicted ("d_") points (clips, 3)."""
    return rows[[f"{start}{name}" for name in DIMENSIONS]].to_numpy(dtype=float)


def figures(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return for each dimension CCC, correlation, bias and the spread of answers against that of ratings.

    ``shifted`` is the p-value of the bias, corrected by Holm's rule over the three dimensions.
    """
    import pandas as pd

    from ser_core.distributions import mean_differs, mean_over_speakers
    from ser_core.fairness import holm
    from ser_core.metrics import concordance, correlation_of, speaker_bootstrap, speaker_moments

    speakers, found = rows["speaker"].tolist(), []
    for name in DIMENSIONS:
        rated, given = rows[f"t_{name}"].to_numpy(float), rows[f"d_{name}"].to_numpy(float)
        ccc = concordance(rated, given, speakers)
        bias = mean_over_speakers(given - rated, speakers)
        moments = speaker_moments(rated, given, speakers)
        low, high = speaker_bootstrap(moments, correlation_of)
        found.append(
            {"dimension": name, "ccc": ccc.value, "ccc_low": ccc.low, "ccc_high": ccc.high}
            | {"correlation": float(correlation_of(moments.sum(0)))}
            | {"correlation_low": low, "correlation_high": high}
            | {"bias": bias.value, "bias_low": bias.low, "bias_high": bias.high}
            | {"shifted": mean_differs(given - rated, speakers)}
            | {"spread_rated": rated.std(), "spread_given": given.std(), "clips": len(rows)}
        )
    figures_of = pd.DataFrame(found)
    return figures_of.assign(shifted=holm(figures_of["shifted"].tolist()))


def figures_table(found: "pd.DataFrame") -> Rows:
    """Return the figures of each dimension."""
    lines = ""
    for row in found.itertuples():
        low, high = POLES[str(row.dimension)]
        lines += (
            f'<tr><th scope="row">{row.dimension} <small>({low} to {high})</small></th>'
            f"<td><strong>{unsigned(row.ccc)}</strong> [{unsigned(row.ccc_low)}, {unsigned(row.ccc_high)}]</td>"
            f"<td>{unsigned(row.correlation)} [{unsigned(row.correlation_low)}, {unsigned(row.correlation_high)}]</td>"
            f"<td><strong>{signed(row.bias)}</strong> [{signed(row.bias_low)}, {signed(row.bias_high)}]</td>"
            f"<td>{p_value(row.shifted)}</td>"
            f"<td>{row.spread_given:.2f} / {row.spread_rated:.2f}</td></tr>"
        )
    names = ("Dimension", "CCC [95 %]", "Correlation [95 %]", "Bias [95 %]", "p of the bias", "Spread, model / raters")
    return Rows(names, lines, measures=("CCC", "correlation", "bias"))


def in_words(found: "pd.DataFrame") -> str:
    """Return which dimension is heard best and where the answers are shifted."""
    known = found.dropna(subset=["ccc"])
    if known.empty:
        names = " and ".join(found["dimension"])
        return f"How well {names} is heard cannot be told: answers and ratings are one and the same value throughout."
    best, worst = known.loc[known["ccc"].idxmax()], known.loc[known["ccc"].idxmin()]
    heard = (
        f"{best['dimension']} is heard best (CCC {unsigned(best['ccc'])}), "
        f"{worst['dimension']} worst ({unsigned(worst['ccc'])})"
    )
    if len(known) == 1:
        low, high = unsigned(best["ccc_low"]), unsigned(best["ccc_high"])
        heard = f"{best['dimension']}: CCC {unsigned(best['ccc'])} [{low}, {high}]"
    shifted = [f"{row.dimension} {signed(row.bias)}" for row in found.itertuples() if row.shifted <= LEVEL]
    return (
        f"{heard[0].upper()}{heard[1:]}; a constant has 0. Shifted on average beyond chance (signs of the speakers' "
        f"errors turned at random, Holm's rule over the dimensions): {', '.join(shifted) or 'none'}."
    )


def clouds(rows: "pd.DataFrame", start: str) -> "go.Figure":
    """Return every clip as a point in space, a colour and sign for each label, and each label's centre."""
    import plotly.graph_objects as go

    drawn = go.Figure(globe())
    shown = rows.sample(min(SHOWN, len(rows)), random_state=0)
    for place, (label, part) in enumerate(sorted(shown.groupby(shown["emotion"].fillna("no label")))):
        points = points_of(part, start)
        look = {"color": COLOURS[place % len(COLOURS)], "symbol": SIGNS[place % len(SIGNS)]}
        drawn.add_scatter3d(
            x=points[:, 0],
            y=points[:, 1],
            z=points[:, 2],
            mode="markers",
            marker=look | {"size": 3, "opacity": 0.45},
            name=escape(str(label)),
            legendgroup=str(label),
            text=[escape(str(clip)) for clip in part["clip"]],
            hovertemplate="%{text}<br>valence %{x:.2f}, arousal %{y:.2f}, dominance %{z:.2f}<extra></extra>",
        )
        centre = points_of(rows[rows["emotion"].fillna("no label") == label], start).mean(axis=0)
        drawn.add_scatter3d(
            x=centre[:1],
            y=centre[1:2],
            z=centre[2:],
            mode="markers",
            marker=look | {"size": 9, "line": {"width": 1, "color": "#ffffff"}},
            legendgroup=str(label),
            showlegend=False,
            name=f"centre of {escape(str(label))}",
            hovertemplate="%{x:.2f}, %{y:.2f}, %{z:.2f}<extra>centre of " + escape(str(label)) + "</extra>",
        )
    return framed(drawn).update_layout(legend={"itemsizing": "constant"})


def centres(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return each label's mean point as rated and as predicted, where known."""
    starts = {"rated": "t_", "predicted": "d_"}
    columns = {
        f"{what} {name}": f"{start}{name}"
        for what, start in starts.items()
        for name in DIMENSIONS
        if f"{start}{name}" in rows
    }
    found = rows.groupby("emotion")[list(columns.values())].mean().set_axis(list(columns), axis=1)
    return found.assign(clips=rows.groupby("emotion").size()).reset_index()


def centres_in_words(found: "pd.DataFrame", what: str) -> str:
    """Return where each label lies, in words."""
    from ser_core.sphere import octant_name

    said = [
        f"{row['emotion']}: {octant_name(np.array([row[f'{what} {name}'] for name in DIMENSIONS]))}"
        for _, row in found.iterrows()
    ]
    return "; ".join(said) + "."


def scatter(rows: "pd.DataFrame", name: str) -> "go.Figure":
    """Return one dimension as rated (across) and as predicted (upwards), a point a clip."""
    import plotly.graph_objects as go

    figure = go.Figure()
    shown = rows.sample(min(SHOWN, len(rows)), random_state=0)
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, len(shown))
    shown = shown.assign(_x=shown[f"t_{name}"] + jitter)
    for place, (label, part) in enumerate(sorted(shown.groupby(shown["emotion"].fillna("no label")))):
        figure.add_scatter(
            x=part["_x"],
            y=part[f"d_{name}"],
            mode="markers",
            marker={"size": 7, "opacity": 0.6, "color": COLOURS[place % len(COLOURS)], "symbol": SYMBOLS[place % 9]},
            name=escape(str(label)),
            customdata=[[str(clip)] for clip in part["clip"]],
            text=[
                f"{escape(str(clip))}<br>rated {signed(rated)}, predicted {signed(given)}"
                for clip, rated, given in zip(part["clip"], part[f"t_{name}"], part[f"d_{name}"], strict=True)
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.add_scatter(
        x=(-1, 1), y=(-1, 1), mode="lines", line={"dash": "dot", "color": GREY}, name="as rated", hoverinfo="skip"
    )
    low, high = POLES[name]
    figure.update_xaxes(title=f"{name} as rated ({low} to {high})", range=[-1.05, 1.05])
    figure.update_yaxes(title=f"{name} as predicted", range=[-1.05, 1.05])
    return layout(figure, 460)


def octants_table(found: "pd.DataFrame") -> Rows:
    """Return how many clips lie in each octant as rated and as predicted, and how many of the rated ones are found."""
    lines = "".join(
        f'<tr><th scope="row">{row.place} <small>(“{row.octant}”)</small></th><td>{percent(row.rated)}</td>'
        f"<td>{percent(row.predicted)}</td><td>{percent(row.found)}</td></tr>"
        for row in found.itertuples()
    )
    return Rows(("Octant", "Rated", "Predicted", "Of those rated so, found"), lines)


def octants_in_words(found: "pd.DataFrame") -> str:
    """Return the octant that most ratings lie in, and how many of these are found."""
    most = found.loc[found["rated"].idxmax()]
    how_many, than = ("Most", "") if most["rated"] > 0.5 else ("More", " than anything else")
    return (
        f"{how_many} ratings are {most['place']} ({percent(most['rated'])}){than}; the model finds "
        f"{percent(most['found'])} of them, and answers so in {percent(most['predicted'])} of all "
        "clips, which is what chance would find."
    )


def path(corpus: str, clip: str, model: str) -> None:
    """Draw how a clip moves in time, where its audio is at hand."""
    row = row_of_clip(corpus, clip)
    if row is None:
        return
    import pandas as pd

    from pages.parts.sphere import figure, table
    from ser_core.audio import read
    from ser_core.registry import load_model
    from ser_core.sphere import octant_name, path_over_time

    loaded, recording = load_model(model), read(Path(row["file"].iloc[0]))
    with st.spinner("Following the clip in time"):
        moved = path_over_time(loaded, recording)
        whole = loaded.predict(recording).values
    assert whole is not None
    first, last = (octant_name(moved.points[place]) for place in (0, -1))
    chart(
        figure(moved, whole, np.array(loaded.constant)),
        pd.DataFrame(moved.points, columns=list(DIMENSIONS)).assign(time_s=moved.times_s),
        "vad-path",
        title=f"The path of {clip} in time",
        how="windows of 1 s, each heard on its own, from dark (start) to light (end); the large point is the answer "
        "for the whole clip. These are the shipped weights, which may have learnt from this clip; the answers above "
        "are out of fold.",
        words=f"It starts at {first}, ends at {last}, and is {octant_name(whole)} as a whole.",
        select=False,
        state=f"{model}|{corpus}|{clip}",
    )
    with st.expander("The path as a table"):
        st.html(f'<div class="ss">{table(moved)}</div>')
