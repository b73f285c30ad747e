"""How listeners split, on Plutchik's wheel."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from ser_core.models import Prediction
from ser_core.plutchik import MIXTURES, PETALS, place

EACH, ABOVE, BELOW, BETWEEN = 340, 80, 90, 90
"""Pixels for a wheel, above and below them all, and between two for the names of petals and the next title."""
RINGS = {-1: (0.0, 0.5, 360.0), 0: (0.5, 0.8, 40.0), 1: (1.3, 0.8, 40.0), 2: (2.1, 0.8, 40.0), 3: (2.1, 0.8, 5.0)}
"""Ring → radius inside, depth, and degrees wide."""


def show(prediction: Prediction, heard: np.ndarray | None) -> None:
    """Offer the wheel of a distribution whose labels all lie on it; nothing for any other."""
    if any(place(label) is None for label in prediction.emotions):
        return
    with st.expander("On Plutchik's wheel"):
        wheels = {"Expected by the model": prediction.probabilities}
        if heard is not None:
            wheels["Heard by this clip's listeners"] = heard
        elif prediction.constant:
            wheels["Average of all training clips"] = np.array(prediction.constant)
        st.caption(
            "Opposite emotions lie opposite each other; stronger ones inside, mixtures of neighbours between the "
            "petals, neutral in the middle. The darker, the larger the share of listeners; grey places are not among "
            "the labels."
        )
        st.plotly_chart(
            figure(prediction.emotions, wheels),
            theme="streamlit",
            config={"displaylogo": False},
            key="wheel",
            alt="Plutchik’s wheel, coloured by the share of listeners; the shares are in the table of the answer above",
        )


def figure(labels: Sequence[str], wheels: dict[str, np.ndarray]) -> go.Figure:
    """Return one wheel for each named distribution (labels,), on one scale of colour.

    They stand below each other, as their names would run into each other side by side on a narrow screen.

    Args:
        labels: words on the wheel.
        wheels: title → shares in the order of the labels.
    """
    tall = EACH * len(wheels)
    drawn = make_subplots(
        rows=len(wheels),
        cols=1,
        specs=[[{"type": "polar"}]] * len(wheels),
        subplot_titles=list(wheels),
        vertical_spacing=BETWEEN / tall,
    )
    most = max(float(shares.max()) for shares in wheels.values())
    every = [word for petal in PETALS for word in petal] + list(MIXTURES)
    known = {place(label) for label in labels}
    empty = [word for word in every if place(word) not in known]
    for row, shares in enumerate(wheels.values(), start=1):
        drawn.add_trace(_cells(empty, None, most), row=row, col=1)
        drawn.add_trace(
            _cells(labels, shares, most, scale_at=-48 / tall if row == len(wheels) else None), row=row, col=1
        )
    first = [petal[1] for petal in PETALS]
    drawn.update_polars(
        radialaxis={"visible": False, "range": [0, 2.95]},
        angularaxis={
            "tickvals": [45 * k for k in range(8)],
            "ticktext": first,
            "direction": "clockwise",
            "rotation": 90,
            "showgrid": False,
        },
        bgcolor="rgba(0, 0, 0, 0)",
    )
    drawn.update_annotations(yshift=22)  # clear of the topmost petal's name
    margin = {"l": 50, "r": 50, "t": ABOVE, "b": BELOW}
    drawn.update_layout(height=tall + ABOVE + BELOW, margin=margin, showlegend=False)
    return drawn


def _cells(labels: Sequence[str], shares: np.ndarray | None, most: float, scale_at: float | None = None) -> go.Barpolar:
    places = [found for found in map(place, labels) if found is not None]
    inside, depth, wide = (np.array([RINGS[found.ring][k] for found in places]) for k in range(3))
    look: dict[str, object] = {"color": "rgba(128, 140, 150, 0.12)"}
    if shares is not None:
        look = {
            "color": 100 * shares,
            # From nothing to a colour that stands out on both themes.
            "colorscale": [[0, "rgba(128, 140, 150, 0.12)"], [1, "rgba(14, 160, 172, 1)"]],
            "cmin": 0.0,
            "cmax": 100 * most,
            "showscale": scale_at is not None,
        }
        # Below, as a narrow screen has no room beside the wheel.
        bar = {"orientation": "h", "x": 0.5, "y": scale_at, "yanchor": "top", "len": 0.8, "thickness": 12}
        look["colorbar"] = bar | {"title": {"text": "share of answers", "side": "top"}, "ticksuffix": " %"}
    return go.Barpolar(
        theta=[found.angle for found in places],
        base=inside,
        r=depth,
        width=wide,
        marker=look | {"line": {"color": "rgba(128, 140, 150, 0.6)", "width": 1}},
        customdata=np.stack(
            [np.array(labels, dtype=object), np.zeros(len(places)) if shares is None else shares], axis=1
        ),
        hovertemplate="%{customdata[0]}<extra></extra>"
        if shares is None
        else "%{customdata[0]}: %{customdata[1]:.1%}<extra></extra>",
    )
