"""Charts on one time axis: the maps of several explanations below each other, and the contours of two clips."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from pages.parts.viewer import span, strongest
from pages.parts.words import band
from ser_core.numbers import percent

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from explain.explanation import Explanation

FOR, AGAINST = "#d9741f", "#2f77cf"
SCALE = [[0.0, AGAINST], [0.5, "rgba(128,144,154,0)"], [1.0, FOR]]
COLUMNS = 400
STRIP_PX, TITLE_PX = 186, 50
TICKS_HZ = (250, 500, 1000, 2000, 4000)
COLOURS = ("#0b8a96", "#d9741f")


def maps(sides: "Sequence[Explanation]", titles: Sequence[str]) -> "go.Figure":
    """Return the maps below each other on one time axis, their salient regions outlined.

    A map without frequencies is drawn as a band along time; one without time leaves its place empty.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    height = STRIP_PX * len(sides)
    figure = make_subplots(rows=len(sides), cols=1, shared_xaxes=True, vertical_spacing=TITLE_PX / height)
    for row, (side, title) in enumerate(zip(sides, titles, strict=True), start=1):
        found = side.attribution
        axis = "" if row == 1 else str(row)
        words = f"{'what speaks for' if found.signed else 'what matters for'} {side.target.name}"
        below = words if found.times_s is not None else "named features, which have no time axis"
        # On two lines, as a phone has no room for both on one.
        figure.add_annotation(
            text=f"{escape(title)}:<br>{escape(below)}",
            align="left",
            xref="paper",
            yref=f"y{axis} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
        )
        if found.times_s is None:
            figure.update_yaxes(visible=False, row=row, col=1)
            continue
        relevance = strongest(np.atleast_2d(np.nan_to_num(found.relevance)), COLUMNS)
        ends, columns = span(found.times_s), relevance.shape[1]
        step_s = (ends["end_s"] - ends["start_s"]) / columns
        places = np.arange(len(relevance)) if found.bands_hz is None else np.log10(1 + found.bands_hz / 700)
        largest = float(np.percentile(np.abs(relevance), 99.7)) or 1.0
        figure.add_trace(
            go.Heatmap(
                x=ends["start_s"] + (np.arange(columns) + 0.5) * step_s,
                y=places,
                z=relevance / largest,
                zmin=-1,
                zmax=1,
                colorscale=SCALE,
                showscale=False,
                hoverinfo="skip",
            ),
            row=row,
            col=1,
        )
        low, high = (-0.5, 0.5) if found.bands_hz is None else (float(places[0]), float(places[-1]))
        for region in side.regions:
            edges = (low, high)
            if found.bands_hz is not None and region.low_hz is not None and region.high_hz is not None:
                edges = (float(np.log10(1 + region.low_hz / 700)), float(np.log10(1 + region.high_hz / 700)))
            figure.add_shape(
                type="rect",
                x0=region.start_s,
                x1=region.end_s,
                y0=max(low, edges[0]),
                y1=min(high, edges[1]),
                line={"color": "rgba(128,144,154,1)", "width": 1.5},
                row=row,
                col=1,
            )
        if found.bands_hz is None:
            figure.update_yaxes(visible=False, row=row, col=1)
        else:
            ticks = [hz for hz in TICKS_HZ if low <= np.log10(1 + hz / 700) <= high]
            figure.update_yaxes(
                tickvals=[float(np.log10(1 + hz / 700)) for hz in ticks],
                ticktext=[f"{hz / 1000:g}" for hz in ticks],
                title="kHz",
                showgrid=False,
                row=row,
                col=1,
            )
    longest = max(side.recording.duration_s for side in sides)
    figure.update_xaxes(range=[0, longest], showgrid=False, zeroline=False)
    figure.update_xaxes(title="seconds", row=len(sides), col=1)
    figure.update_layout(
        height=96 + height, margin={"l": 10, "r": 10, "t": 46, "b": 40}, showlegend=False, dragmode=False
    )
    return figure


def regions_in_words(side: "Explanation") -> str:
    """Return the salient regions of a map in one line, for those who do not see it."""
    if not side.regions:
        return "no salient region"
    told = []
    for region in side.regions[:3]:
        where = band(region.low_hz, region.high_hz)
        told.append(
            f"{region.start_s:.2f}–{region.end_s:.2f} s{f', {where}' if where else ''} ({percent(region.share)})"
        )
    more = len(side.regions) - len(told)
    return "; ".join(told) + (f"; {more} more" if more else "")


def maps_in_words(sides: "Sequence[Explanation]", titles: Sequence[str]) -> str:
    """Return the salient regions of each map, for those who do not see the maps."""
    said = (f"{title}: {regions_in_words(side)}" for title, side in zip(titles, sides, strict=True))
    return f"Maps on one time axis. Salient regions: {'. '.join(said)}."


def colours_in_words(sides: "Sequence[Explanation]", what: str) -> str:
    """Return what the colours of the maps mean; methods without a sign have one colour, which speaks for nothing.

    Args:
        sides: the explanations.
        what: orange speaks for, in words.
    """
    signs = {side.attribution.signed for side in sides if side.attribution.times_s is not None}
    if signs == {False}:
        return f"Orange marks what matters for {what}, in neither direction"
    only = ", or only marks what matters where the method has no sign" if False in signs else ""
    return f"Orange speaks for {what}, blue against it{only}"


def contours(sides: "Sequence[Explanation]", titles: Sequence[str]) -> "go.Figure":
    """Return pitch around each clip's own median and level around its own mean, on one time axis."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from explain.relative_cues import relative_level, relative_pitch

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for side, title, colour, dash in zip(sides, titles, COLOURS, ("solid", "dot"), strict=True):
        for row, values in enumerate((relative_pitch(side.tracks), relative_level(side.tracks)), start=1):
            figure.add_trace(
                go.Scatter(
                    x=side.tracks.times_s,
                    y=values,
                    name=escape(title),
                    legendgroup=title,
                    showlegend=row == 1,
                    line={"color": colour, "width": 2, "dash": dash},
                    hoverinfo="skip",
                ),
                row=row,
                col=1,
            )
    figure.update_yaxes(title="pitch, st", row=1, col=1)
    figure.update_yaxes(title="level, dB", row=2, col=1)
    figure.update_xaxes(title="seconds", row=2, col=1)
    figure.update_layout(
        height=360, margin={"l": 10, "r": 10, "t": 10, "b": 40}, legend={"orientation": "h", "y": 1.12}, dragmode=False
    )
    return figure
