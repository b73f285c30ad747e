"""The dashboards' figures for print: Plotly's description of a figure drawn as SVG by matplotlib.

Plotly's own export needs a browser and about ten seconds a figure. Here only what the dashboards use is drawn: points,
lines and bars with intervals, heat maps, points in space, rings of a wheel, small charts side by side, lines and bands
across.
"""

import base64
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from explain.figures import GREY, INK, new_figure, svg_of, text_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, TALLEST_IN = 6.85, 8.2
_PIXELS_PER_INCH = 96
_LEFT_IN, _RIGHT_IN, _BELOW_IN, _ABOVE_IN, _LEGEND_ROW_IN = 1.0, 0.15, 0.55, 0.4, 0.17
_SYMBOLS = {
    "circle": "o",
    "diamond": "D",
    "square": "s",
    "triangle-up": "^",
    "cross": "P",
    "x": "X",
    "star": "*",
    "hexagon": "h",
    "pentagon": "p",
    "line-ns": "|",
}
_DASHES: dict[str, Any] = {"solid": "-", "dash": (0, (5, 3)), "dot": (0, (1, 2)), "dashdot": "-."}


def svg(figure: Mapping[str, Any]) -> str:
    """Return SVG of a figure.

    Args:
        figure: what Plotly's ``to_plotly_json`` gives: "data", a list of traces, and "layout".
    """
    figure = _decoded(figure)
    traces, layout = list(figure["data"]), dict(figure.get("layout", {}))
    named = [trace for trace in traces if trace.get("name") and trace.get("showlegend", True)]
    legend = layout.get("showlegend", len(named) > 1) and bool(named)
    per_row = 3 if max((len(_plain(trace["name"])) for trace in named), default=0) > 18 else 5
    below_in = _BELOW_IN + (_LEGEND_ROW_IN * math.ceil(len(named) / per_row) + 0.15 if legend else 0.0)
    height_in = min(TALLEST_IN, float(layout.get("height") or 420) / _PIXELS_PER_INCH + below_in - _BELOW_IN)
    drawn = new_figure(WIDTH_IN, height_in)
    names = sorted({_place(trace) for trace in traces} - {("", "")})
    texts = [word for x, y in names for word in _ticks(layout.get(y, {}), _axis_values(traces, y, "y"))]
    left_in = min(2.4, max(_LEFT_IN, 0.35 + 0.058 * max((len(word) for word in texts), default=0)))
    top = any(layout.get(x, {}).get("side") == "top" for x, _ in names)
    steep = any(layout.get(x, {}).get("tickangle") for x, _ in names)
    above_in = (1.7 if steep else 0.75) if top else _ABOVE_IN
    inner = (left_in, below_in, WIDTH_IN - left_in - _RIGHT_IN, height_in - below_in - above_in)

    def rectangle(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float, float]:
        return (
            (inner[0] + inner[2] * x[0]) / WIDTH_IN,
            (inner[1] + inner[3] * y[0]) / height_in,
            inner[2] * (x[1] - x[0]) / WIDTH_IN,
            inner[3] * (y[1] - y[0]) / height_in,
        )

    if any(trace["type"] == "scatter3d" for trace in traces):
        axes = drawn.add_axes(rectangle((0, 1), (0, 1)), projection="3d")
        _space(axes, traces, layout.get("scene", {}))
    for name in dict.fromkeys(trace.get("subplot", "polar") for trace in traces if trace["type"] == "barpolar"):
        about = layout.get(name, {})
        domain = about.get("domain", {})
        low, high = domain.get("y", (0, 1))
        room = (low, high - 0.05 * (high - low))  # for the word at the top, below a title
        axes = drawn.add_axes(rectangle(domain.get("x", (0, 1)), room), projection="polar")
        _rings(axes, [trace for trace in traces if trace.get("subplot", "polar") == name], about)
    for x, y in names:
        across, up = layout.get(x, {}), layout.get(y, {})
        if any(trace["type"] == "heatmap" and _place(trace) == (x, y) for trace in traces):
            across, up = across | {"showgrid": False}, up | {"showgrid": False}
        axes = drawn.add_axes(rectangle(across.get("domain", (0, 1)), up.get("domain", (0, 1))))
        here = [trace for trace in traces if _place(trace) == (x, y)]
        for trace in here:
            {"scatter": _scatter, "bar": _bars, "heatmap": _heat}[trace["type"]](axes, trace, traces)
        _across(axes, layout.get("shapes", ()), x, y)
        _notes(axes, layout.get("annotations", ()), y)
        _axis(axes, across, "x", _axis_values(traces, x, "x"))
        _axis(axes, up, "y", _axis_values(traces, y, "y"))
        axes.spines[["top", "right"]].set_visible(False)
    for note in layout.get("annotations", ()):
        if note.get("xref") == "paper" and note.get("yref") == "paper":
            left, bottom, *_ = rectangle((note["x"], note["x"]), (note["y"], note["y"]))
            bottom += float(note.get("yshift") or 0) / _PIXELS_PER_INCH / height_in
            drawn.text(left, bottom, _plain(note["text"]), ha="center", va="bottom", parse_math=False, **text_style(8))
    if legend:
        _legend(drawn, named, per_row)
    return svg_of(drawn)


def _decoded(part: Any) -> Any:
    """Return a description with the arrays that Plotly has packed as base64 of their bytes."""
    if isinstance(part, Mapping):
        if "bdata" in part:
            values = np.frombuffer(base64.b64decode(part["bdata"]), dtype=part["dtype"])
            return values.reshape([int(size) for size in str(part["shape"]).split(",")] if "shape" in part else -1)
        return {name: _decoded(each) for name, each in part.items()}
    return [_decoded(each) for each in part] if isinstance(part, list | tuple) else part


def _place(trace: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of a trace's axes in the layout; empty in space."""
    if trace["type"] in ("scatter3d", "barpolar"):
        return "", ""
    x, y = (trace.get(f"{axis}axis") or axis for axis in "xy")
    return f"xaxis{x[1:]}", f"yaxis{y[1:]}"


def _axis_values(traces: Sequence[Mapping[str, Any]], axis: str, which: str) -> list[str]:
    """Return the words along an axis of categories in the order in which they come; none for numbers."""
    words: list[str] = []
    for trace in traces:
        if axis in _place(trace):
            values = trace.get(which)
            words += [] if values is None else [str(value) for value in values if isinstance(value, str)]
    return list(dict.fromkeys(words))


def _numbers(values: Any, words: Sequence[str]) -> np.ndarray:
    """Return values as numbers, words as their place along the axis."""
    return np.array([words.index(v) if isinstance(v, str) else math.nan if v is None else float(v) for v in values])


def _both(trace: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    x, y = _place(trace)
    return _numbers(trace["x"], _axis_values(traces, x, "x")), _numbers(trace["y"], _axis_values(traces, y, "y"))


def _scatter(axes: "Axes", trace: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> None:
    x, y = _both(trace, traces)
    mode, line, marker = trace.get("mode", "lines"), trace.get("line", {}), trace.get("marker", {})
    for axis in "xy":
        if "array" in (bars := trace.get(f"error_{axis}") or {}):
            upper = np.asarray(bars["array"], dtype=float)
            lower = np.asarray(bars.get("arrayminus", upper), dtype=float)
            spread = {f"{axis}err": np.nan_to_num(np.stack([lower, upper]))}
            axes.errorbar(x, y, fmt="none", ecolor=_colour(marker.get("color")), elinewidth=1.1, zorder=2, **spread)
    if "lines" in mode:
        axes.plot(
            x,
            y,
            color=_colour(line.get("color")),
            linewidth=0.8 * float(line.get("width") or 2),
            linestyle=_DASHES.get(line.get("dash", "solid"), "-"),
            drawstyle="steps-post" if line.get("shape") == "hv" else "default",
            zorder=2,
        )
    if "markers" in mode and marker.get("opacity") != 0:
        size, colour = np.asarray(marker.get("size", 6), dtype=float), _colour(marker.get("color", line.get("color")))
        # A stroke has no inside, and stands across the frame at its ends.
        stroke, hollow = _symbol(marker) == "|", _hollow(marker)
        look = {"facecolors": "none" if hollow else colour, "edgecolors": colour if hollow else "none"}
        axes.scatter(
            x,
            y,
            s=(0.62 * size) ** 2,
            marker=_symbol(marker),
            **({"color": colour} if stroke else look),
            clip_on=not stroke,
            linewidths=1.1,
            alpha=marker.get("opacity", trace.get("opacity")),
            zorder=3,
        )
    if "text" in mode:
        colours = trace.get("textfont", {}).get("color")
        for place, word in enumerate(trace["text"]):
            colour = colours[place] if isinstance(colours, list | tuple | np.ndarray) else INK
            style = text_style(7) | {"color": _colour(colour)}
            axes.text(x[place], y[place], _plain(word), ha="center", va="center", parse_math=False, **style)


def _bars(axes: "Axes", trace: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> None:
    """Draw fields: horizontal bars that start at ``base``, coloured by a number, with a text inside."""
    from matplotlib.patches import Rectangle

    _, y = _both(trace, traces)
    marker, height = trace.get("marker", {}), float(np.max(trace.get("width") or 0.8))
    lengths, starts = np.asarray(trace["x"], dtype=float), np.asarray(trace.get("base", 0.0), dtype=float)
    starts = np.broadcast_to(starts, lengths.shape)
    edge = marker.get("line", {})
    widths = np.broadcast_to(np.asarray(edge.get("width", 0.0), dtype=float), lengths.shape)
    for place, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        colour = _scaled(marker, place)
        where = (start, y[place] - height / 2)
        line = {"edgecolor": _colour(edge.get("color")), "linewidth": widths[place]} if widths[place] else {}
        axes.add_patch(Rectangle(where, length, height, facecolor=colour, **line))
        inks = trace.get("insidetextfont", {}).get("color")
        style = text_style(6.5) | {"color": _colour(inks[place]) if inks else INK}
        word = _plain(trace["text"][place]) if trace.get("text") is not None else ""
        axes.text(start + length / 2, y[place], word, ha="center", va="center", parse_math=False, **style)
    axes.set_xlim(float(starts.min()) - 0.05, float((starts + lengths).max()) + 0.05)
    axes.set_ylim(float(y.min()) - 0.55, float(y.max()) + 0.55)


def _heat(axes: "Axes", trace: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> None:
    values = np.asarray(trace["z"], dtype=float)
    axes.imshow(
        values, cmap=_map(trace.get("colorscale")), vmin=trace.get("zmin"), vmax=trace.get("zmax"), aspect="auto"
    )


def _space(axes: Any, traces: Sequence[Mapping[str, Any]], scene: Mapping[str, Any]) -> None:
    """Draw lines, points and words in space; the frame of a cube is left out."""
    for trace in traces:
        x, y, z = (np.asarray(trace[axis], dtype=float) for axis in "xyz")
        line, marker = trace.get("line", {}), trace.get("marker", {})
        if "lines" in trace["mode"]:
            colour = GREY if line.get("colorscale") is not None else _colour(line.get("color"))
            axes.plot(x, y, z, color=colour, linewidth=0.25 * float(line.get("width") or 2), alpha=trace.get("opacity"))
        if "markers" in trace["mode"]:
            size = (0.9 * float(marker.get("size") or 6)) ** 2
            scaled = marker.get("colorscale") is not None
            colour = [_scaled(marker, k) for k in range(len(x))] if scaled else _colour(marker.get("color"))
            look = {"facecolors": "none", "edgecolors": colour} if _hollow(marker) else {"color": colour}
            look |= {"marker": _symbol(marker), "alpha": marker.get("opacity"), "linewidths": 1.1 * _hollow(marker)}
            axes.scatter(x, y, z, s=size, depthshade=False, **look)
        if "text" in trace["mode"]:
            for place, word in enumerate(trace["text"]):
                style = {"ha": "center", "va": "center", "parse_math": False, **text_style(7)}
                axes.text(x[place], y[place], z[place], _plain(word), **style)
    for axis in "xyz":
        getattr(axes, f"set_{axis}lim")(scene[f"{axis}axis"]["range"])
    axes.set_axis_off()
    axes.view_init(elev=22, azim=-48)
    axes.set_box_aspect((1, 1, 1), zoom=1.2)


def _rings(axes: Any, traces: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """Draw cells of rings, at degrees clockwise from above where the layout says so, with the outer words."""
    angular, radial = about.get("angularaxis", {}), about.get("radialaxis", {})
    axes.set_theta_offset(math.radians(angular.get("rotation", 0)))
    axes.set_theta_direction(-1 if angular.get("direction") == "clockwise" else 1)
    for trace in traces:
        marker, edge = trace.get("marker", {}), trace.get("marker", {}).get("line", {})
        theta, width = (np.radians(np.asarray(trace[name], dtype=float)) for name in ("theta", "width"))
        colours = [_scaled(marker, k) for k in range(len(theta))] if len(theta) else []
        inside = np.asarray(trace["base"], dtype=float)
        axes.bar(
            theta,
            np.asarray(trace["r"], dtype=float),
            width,
            bottom=inside,
            color=colours,
            edgecolor=_colour(edge.get("color")),
            linewidth=0.5,
        )
    axes.set_ylim(*radial.get("range", (0, None)))
    axes.set_yticks([])
    axes.set_xticks(np.radians(angular.get("tickvals", [])), labels=angular.get("ticktext", []), **text_style(7))
    axes.grid(visible=False)
    axes.spines["polar"].set_visible(False)


def _across(axes: "Axes", shapes: Sequence[Mapping[str, Any]], x: str, y: str) -> None:
    """Draw lines and bands that run through a whole chart."""
    axis_x, axis_y = x.replace("axis", ""), y.replace("axis", "")
    for shape in shapes:
        along_x, along_y = str(shape.get("xref", "x")), str(shape.get("yref", "y"))
        line = shape.get("line", {})
        look = {"color": _colour(line.get("color")), "linestyle": _DASHES.get(line.get("dash", "solid"), "-")}
        if along_x == f"{axis_x} domain" and along_y == axis_y:
            if shape["type"] == "rect":
                axes.axhspan(shape["y0"], shape["y1"], color=_colour(shape.get("fillcolor")), linewidth=0, zorder=0)
            else:
                axes.axhline(shape["y0"], linewidth=0.8, zorder=1, **look)
        elif along_y == f"{axis_y} domain" and along_x == axis_x and shape["type"] == "line":
            axes.axvline(shape["x0"], linewidth=0.8, zorder=1, **look)


def _notes(axes: "Axes", notes: Sequence[Mapping[str, Any]], y: str) -> None:
    """Write what stands at a height of the chart, from its left edge on."""
    for note in notes:
        if note.get("xref") == "paper" and note.get("yref", "y") == y.replace("axis", ""):
            where = (note["x"], note["y"])
            look = {"ha": note.get("xanchor", "center"), "va": "center", "parse_math": False, **text_style(7.5)}
            axes.text(*where, _plain(note["text"]), transform=axes.get_yaxis_transform(), **look)


def _axis(axes: "Axes", about: Mapping[str, Any], which: Literal["x", "y"], words: Sequence[str]) -> None:
    if about.get("type") == "log":
        getattr(axes, f"set_{which}scale")("log")
        getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{value:g}")
    values = about.get("tickvals")
    if values is None and words:
        values = range(len(words))
    if values is not None:
        labels = _ticks(about, words) or [f"{value:g}" for value in values]
        if which == "x" and not about.get("tickangle"):
            labels = [_wrapped(label, axes.get_position().width * WIDTH_IN / max(1, len(labels))) for label in labels]
        getattr(axes, f"set_{which}ticks")(list(values), labels=labels, parse_math=False)
    elif about.get("tickformat") == ".0%":
        getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    if about.get("showticklabels") is False:
        getattr(axes, f"set_{which}ticks")([])
    limits = about.get("range")
    if limits is not None:
        getattr(axes, f"set_{which}lim")(*(10.0 ** np.asarray(limits) if about.get("type") == "log" else limits))
    elif about.get("rangemode") == "tozero":
        low, high = getattr(axes, f"get_{which}lim")()
        getattr(axes, f"set_{which}lim")(min(0.0, low), high)
    if about.get("autorange") == "reversed":
        low, high = sorted(getattr(axes, f"get_{which}lim")())
        getattr(axes, f"set_{which}lim")(high, low)
    if about.get("side") == "top":
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
    if about.get("visible") is False:
        getattr(axes, f"{which}axis").set_visible(False)
    if about.get("tickangle"):
        axes.tick_params(axis=which, labelrotation=-float(about["tickangle"]))
    getattr(axes, f"set_{which}label")(_title(about), parse_math=False, **text_style(8))
    axes.tick_params(axis=which, labelsize=7, width=0.5, length=2.5, labelfontfamily=text_style(7)["fontfamily"])
    if about.get("showgrid") is not False:
        getattr(axes, f"{which}axis").grid(visible=True, color="#dddddd", linewidth=0.4, zorder=0)
        axes.set_axisbelow(True)


def _legend(drawn: Any, named: Sequence[Mapping[str, Any]], per_row: int) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for trace in named:
        line, marker, mode = trace.get("line", {}), trace.get("marker", {}), trace.get("mode", "markers")
        colour = _colour(marker.get("color", line.get("color")) if "markers" in mode else line.get("color"))
        colour = GREY if isinstance(colour, list) else colour  # each point has its own
        hollow = str(marker.get("symbol", "")).endswith("-open")
        handles.append(
            Line2D(
                [],
                [],
                color=colour,
                linestyle=_DASHES.get(line.get("dash", "solid"), "-") if "lines" in mode else "none",
                marker=_symbol(marker) if "markers" in mode else None,
                markerfacecolor="none" if hollow else colour,
                markersize=5,
                linewidth=1.2,
                label=_plain(trace["name"]),
            )
        )
    style = {"family": text_style(7)["fontfamily"], "size": 7}
    drawn.legend(handles=handles, loc="lower center", ncol=per_row, frameon=False, prop=style, borderaxespad=0.2)


def _ticks(about: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    texts = about.get("ticktext")
    return [_plain(word) for word in (words if texts is None else texts)]


def _wrapped(label: str, width_in: float) -> str:
    """Return a label in lines that fit between two marks."""
    return textwrap.fill(label, max(6, int(width_in / 0.055)), break_long_words=False)


def _title(about: Mapping[str, Any]) -> str:
    title = about.get("title") or ""
    return _plain(title.get("text") or "" if isinstance(title, Mapping) else title)


def _symbol(marker: Mapping[str, Any]) -> str:
    return _SYMBOLS.get(str(marker.get("symbol") or "circle").removesuffix("-open"), "o")


def _hollow(marker: Mapping[str, Any]) -> bool:
    """Return whether a sign is drawn by its outline."""
    return str(marker.get("symbol", "")).endswith("-open")


def _plain(text: Any) -> str:
    """Return a label without Plotly's mark-up."""
    from html import unescape

    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br\s*/?>", "\n", str(text))))


def _colour(value: Any) -> Any:
    """Return a colour as matplotlib takes it; grey where there is none, a list for a list."""
    if value is None or isinstance(value, int | float):
        return GREY
    if isinstance(value, list | tuple | np.ndarray):
        return [_colour(each) for each in value]
    if found := re.fullmatch(r"rgba?\(([^)]*)\)", str(value).strip()):
        parts = [float(part) for part in found[1].split(",")]
        return tuple([part / 255 for part in parts[:3]] + parts[3:])
    return str(value)


def _map(scale: Any) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    stops = scale or ((0, "#f2f6f7"), (1, "#0b6b75"))
    return LinearSegmentedColormap.from_list("scale", [(float(place), _colour(colour)) for place, colour in stops])


def _scaled(marker: Mapping[str, Any], place: int) -> Any:
    """Return the colour of one bar as red, green, blue, opacity."""
    from matplotlib.colors import to_rgba

    colours = marker.get("color")
    if marker.get("colorscale") is None:
        return to_rgba(_colour(colours[place] if isinstance(colours, list | tuple | np.ndarray) else colours))
    values = np.asarray(colours, dtype=float)
    low = marker.get("cmin", np.nanmin(values))
    high = marker.get("cmax") or max(np.nanmax(values), low + 1e-9)
    return _map(marker["colorscale"])(np.clip((values[place] - low) / (high - low), 0, 1))
