"""The linked view of a clip: turns an explanation into what the browser draws, and mounts it."""

import base64
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
import streamlit as st

from explain.explanation import Explanation
from explain.listen import wav
from explain.regions import Region
from pages.parts.sound import files
from pages.parts.words import band
from ser_core.numbers import percent

MAX_HZ = 8000.0
ROWS = 128
COLUMNS = 1500
RANGE_DB = 65.0


def show(explanation: Explanation, identity: str) -> dict | None:
    """Draw the linked view and return what the reader selected, or None.

    A region is {"rank": …}; a stretch {"start_s": …, "end_s": …}; a box has "low_hz" and "high_hz" as well.

    Args:
        explanation: what is drawn.
        identity: changes with anything that is drawn; the selection lasts as long.
    """
    key = f"view-{identity}"
    selection = st.session_state.get(key, {}).get("selection")
    data = view_data(explanation) | {"id": identity, "clip": explanation.recording.sha256, "selection": selection}
    return _component()(key=key, data=data, on_selection_change=lambda: None).selection


def _component() -> Callable[..., Any]:
    """Return the registered component; registering it again in a later run replaces it by the same."""
    return st.components.v2.component("serscope_viewer", **files("viewer", "viewer"))


def view_data(explanation: Explanation) -> dict:
    """Return everything that the view draws, as JSON; grids are base64 of one byte a cell, row 0 the highest band."""
    recording, tracks = explanation.recording, explanation.tracks
    target = explanation.target.name
    word = "evidence" if explanation.attribution.signed else "relevance"
    return {
        "duration_s": recording.duration_s,
        "max_hz": MAX_HZ,
        "audio": _text(wav(recording)),
        "wave": _envelope(recording.samples),
        "speech": [[s.start_s, s.end_s] for s in explanation.speech],
        "spectrogram": _spectrogram(explanation),
        "map": _map(explanation),
        "pooling": _pooling(explanation),
        "pitch": _pitch(tracks.times_s, tracks.tracks.get("f0_hz")),
        "formants": _formants(tracks.times_s, tracks.tracks),
        "regions": [_region(r, target, word) for r in explanation.regions],
        "label": f"Position in {recording.name}; space plays, arrows move, escape clears the selection",
        "words": _words(explanation, target),
    }


def _words(explanation: Explanation, target: str) -> dict[str, str]:
    signed, axes = explanation.attribution.signed, explanation.attribution.axes
    place = "Spectrogram (kHz), coloured by" if axes == "time_frequency" else "Along time:"
    return {
        "map": f"{place} what speaks for {target}" if signed else f"{place} what matters for {target}",
        "for": f"speaks for {target}" if signed else f"matters for {target}",
        "against": "speaks against it",
        "pooling": f"The model's own weights: {explanation.pooling.what}" if explanation.pooling else "",
    }


def _region(region: Region, target: str, word: str) -> dict:
    where = band(region.low_hz, region.high_hz)
    return {
        "rank": region.rank,
        "start_s": region.start_s,
        "end_s": region.end_s,
        "low_hz": region.low_hz,
        "high_hz": region.high_hz,
        "band": where,
        "weight": f"{percent(region.share)} of the {word}",
        "label": (
            f"Hear region {region.rank}: {region.start_s:.2f} to {region.end_s:.2f} seconds"
            f"{', ' + where if where else ''}, {percent(region.share)} of the {word} for {target}"
        ),
    }


def _text(data: bytes | np.ndarray) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).decode()


def _envelope(samples: np.ndarray) -> str:
    """Return least and greatest sample of each column as int8 pairs, scaled to the clip's peak."""
    columns = min(COLUMNS, len(samples))
    edges = np.linspace(0, len(samples), columns, endpoint=False).astype(int)
    pairs = np.stack([np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)], axis=1)
    return _text(np.round(127 * pairs / max(float(np.abs(samples).max()), 1e-9)).astype(np.int8))


def _rows_hz() -> np.ndarray:
    """Return the centres of the drawn rows in Hz, highest first, at equal steps of log(1 + f / 700 Hz)."""
    top = np.log10(1 + MAX_HZ / 700)
    return 700 * (10 ** (top * (ROWS - 0.5 - np.arange(ROWS)) / ROWS) - 1)


def strongest(grid: np.ndarray, most: int = COLUMNS) -> np.ndarray:
    """Return a map with at most so many columns, each of which keeps its value farthest from 0."""
    high = _loudest(grid, most)
    low = -_loudest(-grid, most)
    return np.where(high > -low, high, low)


def _loudest(grid: np.ndarray, most: int = COLUMNS) -> np.ndarray:
    if grid.shape[1] <= most:
        return grid
    edges = np.linspace(0, grid.shape[1], most, endpoint=False).astype(int)
    return np.maximum.reduceat(grid, edges, axis=1)


def span(times_s: np.ndarray) -> dict[str, float]:
    """Return from when to when a map with columns at these times reaches, half a step beyond both, in seconds."""
    step = float(times_s[1] - times_s[0]) if len(times_s) > 1 else 0.01
    return {"start_s": float(times_s[0]) - step / 2, "end_s": float(times_s[-1]) + step / 2}


def _grid(values: np.ndarray, times_s: np.ndarray) -> dict:
    return {"rows": values.shape[0], "columns": values.shape[1], "data": _text(values), **span(times_s)}


def _spectrogram(explanation: Explanation) -> dict:
    levels, hz = _loudest(explanation.spectrogram_db), explanation.spectrogram_hz
    at = np.interp(_rows_hz(), hz, np.arange(len(hz)))
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(hz) - 1)
    rows = levels[low] + (levels[high] - levels[low]) * (at - low)[:, None]
    shade = np.clip((rows - rows.max()) / RANGE_DB + 1, 0, 1)
    return _grid(np.round(255 * shade).astype(np.uint8), explanation.spectrogram_times_s)


def _map(explanation: Explanation) -> dict | None:
    attribution = explanation.attribution
    if attribution.axes == "features" or attribution.times_s is None:
        return None
    relevance = np.atleast_2d(np.nan_to_num(np.asarray(attribution.relevance, dtype=float)))
    if attribution.axes == "time_frequency" and attribution.bands_hz is not None:
        relevance = _on_rows(relevance, np.asarray(attribution.bands_hz))
    relevance = strongest(relevance)
    scaled = relevance / max(float(np.percentile(np.abs(relevance), 99.7)), 1e-12)
    grid = _grid(np.round(127 * np.clip(scaled, -1, 1)).astype(np.int8), attribution.times_s)
    return grid | {"axes": attribution.axes, "signed": attribution.signed}


def _on_rows(relevance: np.ndarray, bands_hz: np.ndarray) -> np.ndarray:
    """Return the map on the drawn rows by nearest band; rows outside the model's bands hold nothing."""
    place, rows = np.log10(1 + bands_hz / 700), np.log10(1 + _rows_hz() / 700)
    nearest = np.abs(rows[:, None] - place[None, :]).argmin(axis=1)
    half = np.diff(place).mean() / 2 if len(place) > 1 else np.inf
    known = (rows >= place.min() - half) & (rows <= place.max() + half)
    return relevance[nearest] * known[:, None]


def _pooling(explanation: Explanation) -> dict | None:
    pooling = explanation.pooling
    if pooling is None or len(pooling.weights) == 0:
        return None
    weights = _loudest(np.asarray(pooling.weights, dtype=float)[None])
    return _grid(np.round(255 * weights / max(float(weights.max()), 1e-12)).astype(np.uint8), pooling.times_s)


def _track(values: np.ndarray | None) -> list[float | None]:
    return [] if values is None else [round(float(v), 1) if np.isfinite(v) else None for v in values]


def _timing(times_s: np.ndarray) -> dict[str, float]:
    return {
        "first_s": float(times_s[0]) if len(times_s) else 0.0,
        "step_s": float(times_s[1] - times_s[0]) if len(times_s) > 1 else 0.01,
    }


def _pitch(times_s: np.ndarray, f0: np.ndarray | None) -> dict:
    pitch = {"values": _track(f0), **_timing(times_s)}
    if f0 is None or not np.isfinite(f0).any():
        return pitch | {"low_hz": None, "high_hz": None, "ticks_hz": []}
    low, high = float(np.nanmin(f0)) / 1.12, float(np.nanmax(f0)) * 1.12
    ticks = [hz for hz in (50, 75, 100, 150, 200, 300, 400, 600, 800) if low <= hz <= high]
    return pitch | {"low_hz": low, "high_hz": high, "ticks_hz": ticks}


def _formants(times_s: np.ndarray, tracks: dict[str, np.ndarray]) -> dict:
    every = max(1, len(times_s) // COLUMNS)
    values = [_track(tracks[name][::every]) for name in ("f1_hz", "f2_hz", "f3_hz") if name in tracks]
    return {"values": values, **_timing(times_s[::every])}


def still(explanation: "Explanation", *, cues: bool = True) -> str:
    """Return the linked view as a picture that scrolls sideways on a narrow screen, with what it shows in words."""
    from explain import figures

    drawn = base64.b64encode(figures.linked(explanation, cues=cues).encode()).decode()
    words = escape(figures.describe(explanation, cues=cues), quote=True)
    return (
        '<div class="ss"><div class="scroll" tabindex="0" role="region" aria-label="Waveform, spectrogram and map">'
        f'<img alt="{words}" src="data:image/svg+xml;base64,{drawn}"></div></div>'
    )
