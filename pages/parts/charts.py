"""A chart or table as every dashboard draws it: how to read it, what it says in words, and all of it to take away."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from explain.text_files import csv_file, csv_text
from pages.parts import boards
from pages.parts.cards import table
from pages.parts.words import meanings
from ser_core.intended_use import COLUMN, IN_A_CELL

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

COLOURS = ("#16929c", "#d55e00", "#56b4e9", "#cc79a7", "#e69f00", "#5b7fd1", "#7a8f3c", "#9a6324", "#6f5aa8")
"""Told apart by readers who are colour-blind, on a light and on a dark page."""
GREY = "#8a97a0"
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "hexagon", "pentagon")

CLICKED, MOST_CLICKED = "clicked", 30
"""Where the session holds what was clicked in its charts, and in how many of them at most."""


def config(name: str) -> dict[str, Any]:
    """Return Plotly's settings: its own camera gives a vector figure under this name."""
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "svg", "filename": f"serscope-{name}"},
    }


def chart(
    figure: "go.Figure",
    data: "pd.DataFrame",
    name: str,
    *,
    title: str,
    how: str,
    words: str,
    select: bool = True,
    state: str = "",
) -> list[Any]:
    """Draw a figure with all that belongs to it, and return what is behind the points that the reader clicked.

    Args:
        figure: points carry in ``customdata`` what is to be returned.
        data: what the figure shows, for the CSV.
        name: of files and widgets; one a page.
        title: what the figure shows, for those who cannot see it.
        how: how to read it, in a sentence.
        words: what it says, in a sentence or two.
        select: whether points can be clicked.
        state: whose figure this is; what was clicked is forgotten when it changes.
    """
    _headed(title)
    chosen: list[Any] = []
    alt = f"{title}; in words and as a CSV below"
    if select:
        event = st.plotly_chart(
            figure,
            key=f"{name}-{state}",
            on_select="rerun",
            selection_mode="points",
            config=config(name),
            width="stretch",
            alt=alt,
        )
        chosen = [point.get("customdata") for point in event["selection"]["points"] if point.get("customdata")]
        # A window that changes its size, as a phone's does when it scrolls, takes the selection away: it is kept here.
        kept: dict[str, list[Any]] = st.session_state.setdefault(CLICKED, {})
        before = kept.pop(f"{name}-{state}", [])
        if chosen := chosen or before:
            kept[f"{name}-{state}"] = chosen
        while len(kept) > MOST_CLICKED:
            del kept[next(iter(kept))]
    else:
        st.plotly_chart(figure, key=f"{name}-{state}", config=config(name), width="stretch", alt=alt)
    _told(figure, data, name, title, how, words, state)
    return chosen


@dataclass(frozen=True)
class Rows:
    """The body of a table.

    Attributes:
        names: of its columns, the first that of the rows' heads.
        html: its rows, escaped.
        words: the columns that hold text.
        measures: what is explained below it, for those who do not know them.
    """

    names: tuple[str, ...]
    html: str
    words: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()


def tabled(rows: Rows, data: "pd.DataFrame", name: str, *, title: str, how: str, words: str, state: str = "") -> None:
    """Draw a table of figures with all that belongs to it.

    Args:
        rows: what is drawn.
        data: the same as numbers, for the CSV and the report; limits of an interval stand as
            :func:`explain.board_report.section` says.
        name: of files and widgets; one a page.
        title: what the table shows.
        how: how to read it, in a sentence.
        words: what it says, in a sentence or two.
        state: what was chosen on the page.
    """
    _headed(title)
    st.html(rows_of(title, rows.names, rows.html, rows.words))
    if rows.measures:
        st.html(f'<div class="ss">{meanings(rows.measures)}</div>')
    _told(None, data, name, title, how, words, state)


def _headed(title: str) -> None:
    st.html(f'<div class="ss"><p class="title">{escape(title)}</p></div>')


def _told(
    figure: "go.Figure | None", data: "pd.DataFrame", name: str, title: str, how: str, words: str, state: str
) -> None:
    """Draw what stands below a chart or table: how to read it, what it says, its data, and the way into the report."""
    st.caption(f"How to read it: {how}")
    st.html(f'<div class="ss"><p class="alt"><strong>In words:</strong> {escape(words)}</p></div>')
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Data (CSV)",
            csv_file(csv_text(data.assign(**{COLUMN: IN_A_CELL}), 5)),
            f"serscope-{name}.csv",
            "text/csv",
            key=f"csv-{name}",
            on_click="ignore",
        )
        boards.offer(figure, data, name, title, how, words, state)
        if figure is not None:
            st.caption("The figure itself: the camera above its right corner saves it as SVG.", width="content")


def ink(depths: Iterable[float]) -> list[str]:
    """Return the colour of writing on fields of the house's scales, from 0 for their light end to 1 for a dark one.

    The darker or the lighter, whichever has the higher contrast: 3.9 at least.
    """
    return ["#ffffff" if depth > 0.79 else "#16222b" for depth in depths]


def layout(figure: "go.Figure", height: int, **more: Any) -> "go.Figure":
    """Return the figure with the house's margins and its legend above, in reading order."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 16, "t": 36, "b": 44},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        clickmode="event+select",
        dragmode=False,
        **more,
    )
    return figure


def bars(
    value: "pd.Series", low: "pd.Series", high: "pd.Series", scale: float = 100.0, thickness: float = 1.6
) -> dict[str, Any]:
    """Return Plotly's error bars from ``low`` to ``high`` about values, all times ``scale``."""
    return {
        "type": "data",
        "symmetric": False,
        "array": scale * (high - value).clip(lower=0),
        "arrayminus": scale * (value - low).clip(lower=0),
        "thickness": thickness,
        "width": 0,
    }


def rows_of(caption: str, names: Sequence[str], rows: str, words: Sequence[str] = ()) -> str:
    """Return a table in the app's look; columns named in ``words`` hold text."""
    head = "".join(f'<th scope="col"{" class=words" if name in words else ""}>{escape(name)}</th>' for name in names)
    return f'<div class="ss">{table(caption, head, rows)}</div>'
