"""Valence, arousal and dominance in space: where a clip lies, and how it moves over time."""

from html import escape

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.parts import background
from ser_core.audio import Recording
from ser_core.models import Prediction, SpeechModel
from ser_core.numbers import signed
from ser_core.sphere import DIMENSIONS, POLES, Path, octant_name, path_over_time

HEIGHT = 520


def show(recording: Recording, model: SpeechModel, prediction: Prediction, heard: np.ndarray | None) -> None:
    """Draw the sphere of a model that answers with valence, arousal and dominance; nothing for any other."""
    if prediction.values is None or prediction.emotions != DIMENSIONS:
        return
    st.subheader("Where the voice moves")
    asked = (recording.sha256, model.name)
    path = background.made_once(
        st.session_state.setdefault("paths", {}),
        asked,
        ("path", *asked),
        "Following the clip over time",
        lambda job: path_over_time(model, recording),
        then="The sphere comes",
        needed=False,
    )
    if path is None:
        return
    st.caption(
        "Windows of 1 s, each heard on its own: the line runs from the start of the clip (dark) to its end (light); "
        "the large point is the answer for the whole clip. Valence runs from unpleasant to pleasant, arousal from calm "
        "to excited, dominance from weak to strong. The sphere has a radius of 1; turn it with the mouse or a finger."
    )
    st.plotly_chart(
        figure(path, prediction.values, np.array(prediction.constant), heard),
        theme="streamlit",
        config={"displaylogo": False},
        key=f"sphere-{model.name}",
        alt="The clip’s path through a sphere of valence, arousal and dominance; the same as a table below",
    )
    with st.expander("The path as a table"):
        st.html(f'<div class="ss">{table(path)}</div>')


def figure(path: Path, whole: np.ndarray, usual: np.ndarray, heard: np.ndarray | None = None) -> go.Figure:
    """Return the sphere with a clip's path.

    Args:
        path: over time; a single window is not drawn.
        whole: (3,) answer for the whole clip.
        usual: (3,) average training clip; empty if it is not known.
        heard: (3,) ratings of the clip, if there are any.
    """
    drawn = go.Figure(globe())
    if len(path.times_s) > 1:
        drawn.add_trace(
            _points(
                path.points,
                "over time",
                mode="lines+markers",
                line={"color": path.times_s, "colorscale": "Viridis", "width": 6},
                marker={"color": path.times_s, "colorscale": "Viridis", "size": 4},
                text=[f"{time:.2f} s" for time in path.times_s],
                showlegend=False,
            )
        )
        # A line of many colours has a black entry in the legend, which is not seen on dark: one of its middle instead.
        middle = {"size": 6, "color": "#21918c"}
        drawn.add_trace(_points(np.full((1, 3), np.nan), "over time", mode="markers", marker=middle))
    single = [("whole clip", whole, {"size": 9, "color": "#0b8a94"})]
    if usual.size:
        single.append(("average training clip", usual, {"size": 6, "color": "#8a97a0"}))
    if heard is not None:
        single.append(("rated", heard, {"size": 8, "color": "#d9480f", "symbol": "diamond"}))
    for name, point, marker in single:
        drawn.add_trace(_points(point[None], name, mode="markers", marker=marker))
    return framed(drawn)


def framed(drawn: go.Figure) -> go.Figure:
    """Return a figure in the space of valence, arousal and dominance, whose axes end in their poles as words."""
    # Words beside the edges of a cube overlap in its corners and are cut off on a phone.
    scene = {axis: {"range": [-1.3, 1.3], "visible": False} for axis in ("xaxis", "yaxis", "zaxis")}
    drawn.update_layout(
        height=HEIGHT,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"orientation": "h", "y": 0},
        scene=scene | {"aspectmode": "cube", "camera": {"eye": {"x": 1.15, "y": -1.3, "z": 0.65}}},
    )
    return drawn


def table(path: Path) -> str:
    """Return the path as a table: a row a window."""
    rows = "".join(
        f'<tr><th scope="row">{time:.2f} s</th>'
        + "".join(f"<td>{signed(float(value))}</td>" for value in point)
        + f'<td class="words">{escape(octant_name(point))}</td></tr>'
        for time, point in zip(path.times_s, path.points, strict=True)
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Centre", *DIMENSIONS))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="The path over time"><table>'
        f'<caption>The path over time</caption><thead><tr>{head}<th scope="col" class="words">Place</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _points(points: np.ndarray, name: str, **how: object) -> go.Scatter3d:
    hover = "%{text}<br>" if "text" in how else ""
    hover += "<br>".join(f"{d} %{{{axis}:.2f}}" for d, axis in zip(DIMENSIONS, "xyz", strict=True))
    return go.Scatter3d(
        x=points[:, 0], y=points[:, 1], z=points[:, 2], name=name, hovertemplate=f"{hover}<extra>{name}</extra>", **how
    )


def globe() -> list[go.Scatter3d]:
    """Return circles of latitude and longitude of the unit sphere, and the three axes with their poles."""
    turn = np.linspace(0, 2 * np.pi, 49)
    circles = [
        np.stack([np.cos(h) * np.cos(turn), np.cos(h) * np.sin(turn), np.full(turn.shape, np.sin(h))])
        for h in np.radians((-60, -30, 0, 30, 60))
    ]
    circles += [
        np.stack([np.cos(a) * np.cos(turn), np.sin(a) * np.cos(turn), np.sin(turn)])
        for a in np.radians(range(0, 180, 45))
    ]
    axes = [np.outer(axis, (-1.0, 1.0)) for axis in np.eye(3)]
    drawn = [_line(circle, 2, 0.4) for circle in circles] + [_line(axis, 4, 0.8) for axis in axes]
    x, y, z = 1.16 * np.concatenate(axes, axis=1)
    words = [word for name in DIMENSIONS for word in POLES[name]]
    return [
        *drawn,
        go.Scatter3d(
            x=x, y=y, z=z, mode="text", text=words, textposition="middle center", hoverinfo="skip", showlegend=False
        ),
    ]


def _line(points: np.ndarray, width: int, opacity: float) -> go.Scatter3d:
    x, y, z = points
    look = {"mode": "lines", "line": {"color": "#7d8a93", "width": width}, "opacity": opacity}
    return go.Scatter3d(x=x, y=y, z=z, **look, hoverinfo="skip", showlegend=False)
