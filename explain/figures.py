"""Vector figures of an explanation for print: SVG text, drawn with matplotlib without its global state.

Letters are drawn as outlines, so a figure needs no font where it is read. Everything that colour says is said by
lightness, line style or a number, too: the maps are perceptually uniform and keep their order in grey print.
"""

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from explain.attribution import relevance_on_grid
from explain.explanation import Explanation
from ser_core.functional_names import in_words
from ser_core.numbers import rounded_percent
from ser_core.settings import ASSETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT_FAMILIES = ("IBM Plex Sans", "DejaVu Sans")
FONTS_DIR = ASSETS / "fonts"

# Okabe and Ito's colours, told apart by people with any common colour vision.
BLUE, VERMILION, INK, GREY = "#0072B2", "#D55E00", "#1A1A1A", "#767676"
_FORMANT_MARKS = (("o", INK), ("s", BLUE), ("^", "#A0522D"), ("D", GREY), ("v", INK))
_RANGE_DB = 60.0
_MAX_COLUMNS = 1200


def linked(explanation: Explanation, *, cues: bool = True, voice: bool = True) -> str:
    """Return SVG of waveform, spectrogram, pooling weights, relevance, pitch and formants above one time axis.

    Without ``cues`` pitch and formants are left out, without ``voice`` waveform and spectrogram.

    The salient regions run through the panels as numbered bands, and are boxes where they have a frequency range.
    Waveform and spectrogram are there only if the voice is at hand (a report that is opened again does not hold it).
    The map of relevance is there only if the attribution has both axes, the curve of relevance only if it has time, the
    line of pooling weights only if the model has some.
    """
    attribution = explanation.attribution
    heard = voice and len(explanation.recording.samples) > 0
    rows: list[tuple[float, Any]] = [(1.0, _waveform), (2.6, _spectrogram)] if heard else []
    if explanation.pooling is not None:
        rows.append((0.6, _pooling_weights))
    if attribution.axes == "time_frequency":
        rows.append((2.2, _relevance_map))
    if attribution.axes in {"time_frequency", "time"}:
        rows.append((1.1, _relevance_curve))
    if cues:
        rows += [(1.4, _pitch), (1.9, _formants)]
    heights = [h for h, _ in rows]
    width_in, height_in = 6.85, sum(heights) * 0.8
    figure = new_figure(width_in, height_in)
    # Fixed margins, as a tight box has matplotlib lay everything out twice.
    figure.subplots_adjust(0.5 / width_in, 0.4 / height_in, 1 - 0.52 / width_in, 1 - 0.05 / height_in)
    grid = figure.add_gridspec(len(rows), 2, height_ratios=heights, width_ratios=(1, 0.016), hspace=0.12, wspace=0.025)
    shared = None
    for i, (_, draw) in enumerate(rows):
        axes = figure.add_subplot(grid[i, 0], sharex=shared)
        shared = shared or axes
        draw(axes, explanation, figure, grid[i, 1])
        _style(axes, last=i == len(rows) - 1)
        _regions(axes, explanation, boxes=draw in (_spectrogram, _relevance_map), numbers=i == 0)
    assert shared is not None
    shared.set_xlim(0, explanation.recording.duration_s)
    axes.set_xlabel("time in seconds", **text_style(8))
    figure.align_ylabels()
    return svg_of(figure)


def features(explanation: Explanation, count: int = 20) -> str:
    """Return SVG of the ``count`` features with the largest relevance, by size and sign.

    Args:
        explanation: one whose attribution has the axes "features".
        count: how many bars at most.
    """
    attribution = explanation.attribution
    order = np.argsort(-np.abs(attribution.relevance), kind="stable")[:count]
    values = np.asarray(attribution.relevance, dtype=float)[order]
    names = [in_words((attribution.feature_names or ())[i]) for i in order]
    figure = new_figure(6.85, 0.6 + 0.2 * len(order))
    axes = figure.add_subplot()
    axes.barh(
        np.arange(len(order)),
        values,
        height=0.72,
        color=[BLUE if v > 0 else "white" for v in values],
        edgecolor=INK,
        linewidth=0.5,
        hatch=["" if v > 0 else "//////" for v in values],
    )
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_yticks(np.arange(len(order)), names, parse_math=False, **text_style(7))
    axes.set_xlabel(
        "relevance (filled: speaks for what is explained; hatched: against)" if attribution.signed else "relevance",
        **text_style(8),
    )
    axes.tick_params(labelsize=7, width=0.5, length=2.5, labelfontfamily=list(FONT_FAMILIES))
    axes.spines[["top", "right", "left"]].set_visible(False)
    return svg_of(figure, bbox_inches="tight", pad_inches=0.02)


def describe(explanation: Explanation, *, cues: bool = True, voice: bool = True) -> str:
    """Return the words for people who cannot see the linked figure, drawn with or without ``cues`` and ``voice``."""
    recording, attribution = explanation.recording, explanation.attribution
    f0 = explanation.tracks.tracks.get("f0_hz", np.zeros(0))
    voiced = f0[np.isfinite(f0)]
    panels = ["waveform", "spectrogram"] if voice and len(recording.samples) else []
    if explanation.pooling is not None:
        panels += [f"line of the model’s own weights ({explanation.pooling.what})"]
    if attribution.axes == "time_frequency":
        panels += ["map of relevance over seconds and hertz"]
    if attribution.axes in {"time_frequency", "time"}:
        panels += ["curve of relevance over time"]
    if cues:
        panels += ["pitch", "formants"]
    words = f"{len(panels)} panels above one time axis from 0 to {recording.duration_s:.2f} s: {', '.join(panels)}. "
    if cues:
        words += (
            f"Pitch lies between {voiced.min():.0f} and {voiced.max():.0f} Hz in {len(voiced)} voiced frames. "
            if len(voiced)
            else "No voiced frame. "
        )
    if not explanation.regions:
        return words + "No salient region on the time axis."
    for r in explanation.regions:
        band = "" if r.low_hz is None or r.high_hz is None else f", {r.low_hz:.0f} to {r.high_hz:.0f} Hz"
        share = rounded_percent(r.share)
        words += f"Salient region {r.rank}: {r.start_s:.2f} to {r.end_s:.2f} s{band}, {share} of positive relevance. "
    return words.strip()


def _waveform(axes: "Axes", explanation: Explanation, figure: "Figure", side: Any) -> None:
    samples = explanation.recording.samples
    per = max(1, -(-len(samples) // _MAX_COLUMNS))
    columns = samples[: len(samples) // per * per].reshape(-1, per)
    times = (np.arange(len(columns)) + 0.5) * per / explanation.recording.sample_rate
    axes.fill_between(times, columns.min(1), columns.max(1), color=GREY, linewidth=0.3, edgecolor=GREY)
    for segment in explanation.speech:
        axes.plot(
            [segment.start_s, segment.end_s],
            [-0.04, -0.04],
            transform=axes.get_xaxis_transform(),
            color=INK,
            linewidth=1.6,
            solid_capstyle="butt",
            clip_on=False,
        )
    limit = max(float(np.abs(samples).max(initial=0)) * 1.05, 1e-3)
    axes.set_ylim(-limit, limit)
    axes.set_yticks([])
    axes.set_ylabel("wave", **text_style(8))


def _spectrogram(axes: "Axes", explanation: Explanation, figure: "Figure", side: Any) -> None:
    times, hz, level = explanation.spectrogram_times_s, explanation.spectrogram_hz, explanation.spectrogram_db
    if len(times) > _MAX_COLUMNS:
        per = -(-len(times) // _MAX_COLUMNS)
        kept = len(times) // per * per
        level = level[:, :kept].reshape(len(hz), -1, per).max(2)
        times = times[:kept].reshape(-1, per).mean(1)
    top = float(level.max(initial=-200.0))
    image = axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        cmap="gray_r",
        vmin=top - _RANGE_DB,
        vmax=top,
        extent=_extent(times, hz),
        interpolation="none",
    )
    axes.set_ylim(0, float(hz[-1]))
    _kilohertz(axes)
    _colour_bar(figure, image, side, "dB")


def _relevance_map(axes: "Axes", explanation: Explanation, figure: "Figure", side: Any) -> None:
    end_s, top_hz = explanation.recording.duration_s, float(explanation.spectrogram_hz[-1])
    # The grid is as fine as the map and then pooled, so a long clip loses no peak.
    per = -(-explanation.attribution.relevance.shape[1] // _MAX_COLUMNS)
    columns = -(-explanation.attribution.relevance.shape[1] // per)
    times = (np.arange(columns * per) + 0.5) * end_s / (columns * per)
    hz = (np.arange(256) + 0.5) * top_hz / 256
    positive = np.maximum(relevance_on_grid(explanation.attribution, times, hz), 0)
    rows = positive.reshape(len(hz), columns, per).max(2)
    high = float(np.nanmax(rows, initial=0)) or 1.0
    image = axes.imshow(
        rows / high,
        origin="lower",
        aspect="auto",
        cmap="magma_r",
        vmin=0,
        vmax=1,
        extent=(0, end_s, 0, top_hz),
        interpolation="none",
    )
    axes.set_ylim(0, top_hz)
    _kilohertz(axes)
    _colour_bar(figure, image, side, "relevance")


def _pooling_weights(axes: "Axes", explanation: Explanation, figure: "Figure", side: Any) -> None:
    pooling = explanation.pooling
    assert pooling is not None
    axes.plot(pooling.times_s, pooling.weights, color=INK, linewidth=0.7)
    axes.set_ylim(0, float(pooling.weights.max(initial=0)) * 1.1 or 1.0)
    axes.set_yticks([])
    axes.set_ylabel("pooling", **text_style(8))


def _relevance_curve(axes: "Axes", explanation: Explanation, figure: "Figure", side: Any) -> None:
    attribution = explanation.attribution
    assert attribution.times_s is not None
    curve = np.asarray(attribution.relevance, dtype=float)
    if curve.ndim == 2:
        curve = curve.sum(0)
    curve = curve / (np.abs(curve).max(initial=0) or 1.0)
    axes.fill_between(attribution.times_s, np.maximum(curve, 0), color=BLUE, linewidth=0)
    axes.fill_between(
        attribution.times_s, np.minimum(curve, 0), facecolor="white", edgecolor=GREY, hatch="//////", linewidth=0.4
    )
    axes.axhline(0, color=INK, linewidth=0.5)
    axes.set_ylim(min(-0.15, float(curve.min(initial=0)) * 1.1), 1.1)
    axes.set_yticks([0])
    axes.set_ylabel("for (+)" if attribution.signed else "relevance", **text_style(8))


def _pitch(axes: "Axes", explanation: Explanation, figure: "Figure", side: Any) -> None:
    tracks = explanation.tracks
    f0 = tracks.tracks.get("f0_hz", np.full(len(tracks.times_s), np.nan))
    axes.plot(tracks.times_s, f0, color=BLUE, linewidth=1.4)
    if np.isfinite(f0).any():
        low, high = float(np.nanmin(f0)), float(np.nanmax(f0))
        axes.set_ylim(low - 0.15 * (high - low) - 5, high + 0.15 * (high - low) + 5)
    else:
        axes.set_ylim(tracks.settings.pitch_floor_hz or 60, tracks.settings.pitch_ceiling_hz or 700)
        _nothing(axes, "no voiced frame")
    axes.set_ylabel("F0 in Hz", **text_style(8))


def _formants(axes: "Axes", explanation: Explanation, figure: "Figure", side: Any) -> None:
    tracks = explanation.tracks
    top = 1000.0
    for k, (mark, colour) in enumerate(_FORMANT_MARKS, start=1):
        track = tracks.tracks.get(f"f{k}_hz")
        if track is None or not np.isfinite(track).any():
            continue
        axes.plot(tracks.times_s, track, mark, color=colour, markersize=1.5, markeredgewidth=0)
        last = np.flatnonzero(np.isfinite(track))[-1]
        axes.annotate(
            f"F{k}",
            (1.006, float(np.nanmedian(track[max(0, last - 20) : last + 1]))),
            xycoords=("axes fraction", "data"),
            va="center",
            annotation_clip=False,
            **text_style(7),
            color=colour,
        )
        top = max(top, float(np.nanmax(track)) * 1.08)
    if top == 1000.0:
        _nothing(axes, "no formant measured")
    axes.set_ylim(0, top)
    _kilohertz(axes)


def _nothing(axes: "Axes", words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=GREY, **text_style(8))


def _regions(axes: "Axes", explanation: Explanation, *, boxes: bool, numbers: bool) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.2, foreground="white")]
    for r in explanation.regions:
        if not boxes or r.low_hz is None or r.high_hz is None:
            axes.axvspan(r.start_s, r.end_s, facecolor=VERMILION, alpha=0.13, linewidth=0)
            for x in (r.start_s, r.end_s):
                axes.axvline(x, color=VERMILION, linewidth=0.6, linestyle=(0, (3, 2)))
        else:
            axes.add_patch(
                Rectangle(
                    (r.start_s, r.low_hz),
                    r.end_s - r.start_s,
                    r.high_hz - r.low_hz,
                    fill=False,
                    edgecolor=VERMILION,
                    linewidth=1.3,
                    path_effects=halo,
                )
            )
        if numbers or boxes:
            y, where = (
                (1.0, axes.get_xaxis_transform()) if r.high_hz is None or not boxes else (r.high_hz, axes.transData)
            )
            axes.annotate(
                str(r.rank),
                (r.start_s, y),
                xycoords=where,
                xytext=(2, -2) if where != axes.transData else (0, 1.5),
                textcoords="offset points",
                va="top" if where != axes.transData else "bottom",
                path_effects=halo,
                color=INK,
                fontweight="bold",
                **text_style(8),
            )


def _style(axes: "Axes", *, last: bool) -> None:
    axes.tick_params(labelsize=7, width=0.5, length=2.5, labelbottom=last, labelfontfamily=list(FONT_FAMILIES))
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)


def _kilohertz(axes: "Axes") -> None:
    axes.yaxis.set_major_formatter(lambda hz, _: f"{hz / 1000:g}")
    axes.set_ylabel("kHz", **text_style(8))


def _colour_bar(figure: "Figure", image: Any, side: Any, label: str) -> None:
    axes = figure.add_subplot(side)
    bar = figure.colorbar(image, cax=axes)
    bar.outline.set_linewidth(0.5)
    bar.set_label(label, **text_style(7))
    axes.tick_params(labelsize=6, width=0.5, length=2, labelfontfamily=list(FONT_FAMILIES))


def _extent(times: np.ndarray, hz: np.ndarray) -> tuple[float, float, float, float]:
    half_s = (times[-1] - times[0]) / max(len(times) - 1, 1) / 2
    half_hz = (hz[-1] - hz[0]) / max(len(hz) - 1, 1) / 2
    return float(times[0] - half_s), float(times[-1] + half_s), float(hz[0] - half_hz), float(hz[-1] + half_hz)


def text_style(size: float) -> dict[str, Any]:
    """Return the options of text in a figure, ``size`` in points."""
    return {"fontfamily": list(FONT_FAMILIES), "fontsize": size}


@cache
def _register_fonts() -> None:
    from matplotlib.font_manager import fontManager

    for path in sorted(FONTS_DIR.glob("*.ttf")):
        fontManager.addfont(path)


def new_figure(width_in: float, height_in: float) -> "Figure":
    """Return an empty figure of that size in inches, with the report's fonts at hand."""
    from matplotlib.figure import Figure

    _register_fonts()
    return Figure(figsize=(width_in, height_in))


def svg_of(figure: "Figure", **options: Any) -> str:
    """Return a figure as SVG text."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, **options)
    return out.getvalue()
