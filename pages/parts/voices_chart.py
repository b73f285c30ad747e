"""The chart of a long recording: who speaks when, and one voice's outputs over time with their intervals."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from pages.parts.charts import COLOURS, GREY
from pages.parts.words import plain
from ser_core.numbers import percent, signed, unsigned

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from explain.long_recording import LongRecording, Stretch


def prominent(found: "LongRecording", voice: int) -> list[str]:
    """Return the two outputs that say most about a voice: all dimensions, or the likeliest emotions but neutral."""
    from explain.long_recording import value_of

    if any(s.prediction is not None and s.prediction.values is not None for s in found.stretches):
        return list(found.outputs)[:3]
    mine = found.of(voice)
    means = {name: float(np.nanmean([value_of(s, name) for s in mine] or [0.0])) for name in found.outputs}
    ranked = sorted((name for name in means if name != "neutral"), key=lambda name: -means[name])
    return ranked[:2]


def figure(found: "LongRecording", voice: int, outputs: list[str]) -> "go.Figure":
    """Return who speaks when, and the outputs over time for one voice with their intervals."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from explain.long_recording import course, value_of

    drawn = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.16 + 0.05 * len(found.voices), 0.7], vertical_spacing=0.06
    )
    for v in found.voices:
        mine = found.of(v)
        drawn.add_trace(
            go.Bar(
                base=[s.start_s / 60 for s in mine],
                x=[s.length_s / 60 for s in mine],
                y=[escape(found.called(v))] * len(mine),
                orientation="h",
                width=0.7,
                marker={"color": COLOURS[0] if v == voice else GREY, "line": {"width": 0}},
                hovertext=[_hover(s) for s in mine],
                hoverinfo="text",
                showlegend=False,
            ),
            row=1,
            col=1,
        )
    for place, output in enumerate(outputs):
        line = course(found, voice, output)
        colour, minutes = COLOURS[place + 1], line.times_s / 60
        # A band for each run of times at which there is an estimate; None between them ends a polygon.
        known = np.flatnonzero(np.isfinite(line.mean))
        runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
        drawn.add_trace(
            go.Scatter(
                x=[x for run in runs for x in (*minutes[run], *minutes[run][::-1], None)],
                y=[y for run in runs for y in (*line.high[run], *line.low[run][::-1], None)],
                fill="toself",
                fillcolor=colour,
                opacity=0.18,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=2,
            col=1,
        )
        drawn.add_trace(
            go.Scatter(
                x=minutes,
                y=line.mean,
                name=output,
                mode="lines",
                line={"color": colour, "width": 3, "dash": ("solid", "dash", "dot")[place]},
            ),
            row=2,
            col=1,
        )
        mine = found.of(voice)
        drawn.add_trace(
            go.Scatter(
                x=[s.middle_s / 60 for s in mine],
                y=[value_of(s, output) for s in mine],
                mode="markers",
                marker={"color": colour, "size": 6, "opacity": 0.55},
                hovertext=[_hover(s) for s in mine],
                hoverinfo="text",
                showlegend=False,
            ),
            row=2,
            col=1,
        )
    dimensional = any(s.prediction is not None and s.prediction.values is not None for s in found.stretches)
    drawn.update_yaxes(autorange="reversed", row=1, col=1)
    drawn.update_yaxes(
        title="value" if dimensional else "probability", range=[-1.02, 1.02] if dimensional else [0, 1.02], row=2, col=1
    )
    drawn.update_xaxes(title="minutes", row=2, col=1)
    drawn.update_xaxes(range=[0, max(found.heard_s / 60, 0.05)])
    drawn.update_layout(
        height=340 + 34 * len(found.voices),
        margin={"l": 10, "r": 10, "t": 50, "b": 40},
        legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0, "xanchor": "left"},
        barmode="overlay",
    )
    return drawn


def _hover(stretch: "Stretch") -> str:
    from ser_core.long_audio import clock

    asked = stretch.prediction
    if asked is None:
        said = escape(stretch.note)
    elif asked.values is not None:
        said = ", ".join(f"{escape(name)} {signed(asked.value(name))}" for name in asked.emotions)
    else:
        said = f"{escape(asked.top)} {percent(asked.probability(asked.top))}"
    return f"{stretch.number + 1}: {clock(stretch.start_s)}–{clock(stretch.end_s)}<br>{said}"


def reading(found: "LongRecording", voice: int, outputs: list[str]) -> str:
    """Return how to read the chart, and where its first output is highest."""
    from explain.long_recording import course

    if not outputs:
        return "Choose what is drawn over time."
    line = course(found, voice, outputs[0])
    known = np.isfinite(line.mean)
    words = ""
    if known.any():
        top = int(np.nanargmax(line.mean))
        first = outputs[0][:1].upper() + outputs[0][1:]
        words = (
            f" {first} of {found.called(voice)} is highest around minute {line.times_s[top] / 60:.1f} "
            f"({unsigned(line.mean[top])}, interval {unsigned(line.low[top])} to {unsigned(line.high[top])})."
        )
    return plain(
        f"Each dot is one stretch of {found.called(voice)}. The line is their local mean (weighted by length and by a "
        f"Gaussian of {line.width_s:.0f} s), the band its 95 % interval: of the mean, not of single stretches. No line "
        f"where fewer than three stretches lie near.{words}"
    )
