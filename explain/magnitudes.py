"""How large each cue is in a place: the whole clip, a salient region, all regions together, or the rest of the speech.

A place is cut from the tracks of the whole clip, which are measured once (:mod:`explain.cues`).
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from explain.cues import ALL_REGIONS, CLIP, CUES, Cue, CueTracks, CueValue
from explain.periods import jitter_local, shimmer_local_db
from explain.regions import Region
from ser_core.numbers import percent
from ser_core.quality import Quality

HIGH_F0_HZ, LOW_SNR_DB, LOW_HNR_DB, SHORT_CPPS_FRAMES, LOW_F0_SHARE = 300.0, 20.0, 7.0, 20, 0.1
LEAST_RATE_S = 1.0


@dataclass(frozen=True, eq=False)
class Place:
    """Frames (frames,) of speech, the stretches in seconds they come from, and the time from end to end."""

    scope: str
    frames: np.ndarray
    stretches: tuple[tuple[float, float], ...]
    span_s: float


def _clip(tracks: CueTracks) -> Place:
    parts = tuple((s.start_s, s.end_s) for s in tracks.segments)
    span_s = parts[-1][1] - parts[0][0] if parts else 0.0
    return Place(CLIP, tracks.speech, parts, span_s)


def _place(tracks: CueTracks, scope: str, regions: Sequence[Region]) -> Place:
    boxes = _union((r.start_s, r.end_s) for r in regions)
    parts = _cut([(s.start_s, s.end_s) for s in tracks.segments], boxes)
    inside = np.zeros(len(tracks.times_s), dtype=bool)
    for start_s, end_s in boxes:
        inside |= (tracks.times_s >= start_s - 1e-9) & (tracks.times_s < end_s - 1e-9)
    return Place(scope, inside & tracks.speech, parts, sum(end_s - start_s for start_s, end_s in parts))


def rest_of(tracks: CueTracks, place: Place) -> Place:
    """Return the speech of the clip outside a place."""
    speech = [(s.start_s, s.end_s) for s in tracks.segments]
    edges = [0.0, *(t for part in place.stretches for t in part), float("inf")]
    gaps = list(zip(edges[::2], edges[1::2], strict=True))
    parts = _cut(speech, gaps)
    return Place("rest", tracks.speech & ~place.frames, parts, sum(end_s - start_s for start_s, end_s in parts))


def _union(parts: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start_s, end_s in sorted(parts):
        if merged and start_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end_s, merged[-1][1]))
        else:
            merged.append((start_s, end_s))
    return merged


def _cut(these: Sequence[tuple[float, float]], those: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (max(a, c), min(b, d)) for a, b in sorted(these) for c, d in sorted(those) if min(b, d) - max(a, c) > 1e-9
    )


def magnitudes(
    tracks: CueTracks, regions: Sequence[Region] = (), quality: Quality | None = None
) -> tuple[CueValue, ...]:
    """Return every cue in the clip, in each region and in all regions together."""
    return tuple(
        _value(tracks, what, place, quality) for place in (_clip(tracks), *places_of(tracks, regions)) for what in CUES
    )


def places_of(tracks: CueTracks, regions: Sequence[Region]) -> list[Place]:
    """Return the place of each region, and of all together as the last; none without regions."""
    places = [_place(tracks, str(r.rank), [r]) for r in regions]
    return [*places, _place(tracks, ALL_REGIONS, regions)] if regions else []


def _value(tracks: CueTracks, what: Cue, place: Place, quality: Quality | None) -> CueValue:
    value, count, note = magnitude(tracks, what, place)
    return CueValue(
        cue=what.name,
        scope=place.scope,
        value=value,
        unit=what.unit,
        count=count,
        counted=what.counted,
        note=note,
        reliability="" if value is None else _doubt(tracks, what, place, count, quality),
        span_s=place.span_s,
    )


def magnitude(tracks: CueTracks, what: Cue, place: Place) -> tuple[float | None, int, str]:
    """Return the value or None, of how many frames, periods … it is made, and why it is not measurable."""
    if not place.frames.any():
        return None, 0, "no speech here" if place.scope != CLIP else "no speech found in the clip"
    if what.kind == "pauses":
        return _pauses(place)
    if what.name == "intensity_mean" and place.scope == CLIP:
        return None, 0, "the recording is uncalibrated: its level says nothing about the voice"
    if what.kind == "rate":
        return _rate(tracks, what, place)
    if what.kind in ("jitter", "shimmer"):
        ask = jitter_local if what.kind == "jitter" else shimmer_local_db
        value, count = ask(tracks, place.stretches)
        if count < what.fewest or not np.isfinite(value):
            return None, count, f"too few periods ({count} of at least {what.fewest})"
        return value, count, ""
    there = place.frames & np.isfinite(tracks.tracks[what.track])
    count = int(there.sum())
    if count < what.fewest:
        return None, count, f"too few {what.counted} ({count} of at least {what.fewest})"
    if what.kind == "slope":
        return _common_slope(tracks, there, place), count, ""
    return _STATISTICS[what.kind](tracks.tracks[what.track][there]), count, ""


def _range(values: np.ndarray) -> float:
    low, high = np.quantile(values, (0.1, 0.9))
    return float(high - low)


_STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda values: float(values.mean()),
    "median": lambda values: float(np.median(values)),
    "range": _range,
}


def _common_slope(tracks: CueTracks, there: np.ndarray, place: Place) -> float:
    """One regression slope in st/s; regions and remaining stretches have an intercept each, the clip has one line."""
    parts = ((-np.inf, np.inf),) if place.scope == CLIP else place.stretches
    above = below = 0.0
    for start_s, end_s in parts:
        chosen = there & (tracks.times_s >= start_s - 1e-9) & (tracks.times_s < end_s + 1e-9)
        if chosen.sum() < 2:
            continue
        t, pitch = tracks.times_s[chosen], tracks.tracks["f0_st"][chosen]
        above += float(((t - t.mean()) * (pitch - pitch.mean())).sum())
        below += float(((t - t.mean()) ** 2).sum())
    return above / below


def _rate(tracks: CueTracks, what: Cue, place: Place) -> tuple[float | None, int, str]:
    inside = [sum(start_s <= t < end_s for start_s, end_s in place.stretches) for t in tracks.nuclei_s]
    count = int(sum(inside))
    if place.span_s < LEAST_RATE_S:
        return None, count, f"too short for a rate ({place.span_s:.2f} s of at least {LEAST_RATE_S:g} s)"
    if count < what.fewest:
        return None, count, f"too few syllable nuclei ({count} of at least {what.fewest})"
    return count / place.span_s, count, ""


def _pauses(place: Place) -> tuple[float | None, int, str]:
    if place.scope != CLIP:
        return None, 0, "pauses are counted over the whole clip"
    if place.span_s < LEAST_RATE_S:
        return None, 0, f"too short for pauses ({place.span_s:.2f} s of at least {LEAST_RATE_S:g} s)"
    gaps_s = [after[0] - before[1] for before, after in itertools.pairwise(place.stretches)]
    return 100 * sum(gaps_s) / place.span_s, len(gaps_s), ""


def _doubt(tracks: CueTracks, what: Cue, place: Place, count: int, quality: Quality | None) -> str:
    """The reasons to doubt a value, joined by semicolons."""
    from explain.praat import CEPSTRAL_PITCH_HZ, HNR_FLOOR_HZ, touches_ceiling

    doubts = []
    f0_hz = tracks.tracks["f0_hz"][place.frames & tracks.voiced]
    if what.name.startswith("f0"):
        ceiling_hz = tracks.settings.pitch_ceiling_hz or np.inf
        if touches_ceiling(f0_hz, ceiling_hz):
            doubts.append(f"F0 touches the pitch ceiling of {ceiling_hz:.0f} Hz: try a higher one")
    if what.name in ("f1_mean", "f1_bandwidth") and len(f0_hz):
        f1_hz = tracks.tracks["f1_hz"][place.frames & tracks.voiced]
        middle_hz = float(np.median(f0_hz))
        if middle_hz > HIGH_F0_HZ:
            doubts.append(f"F0 is high ({middle_hz:.0f} Hz): harmonics too sparse for F1")
        elif np.nanmedian(f1_hz) < 2 * middle_hz:
            doubts.append("F1 lies below the second harmonic: it may follow F0")
    searched_hz = {"hnr": HNR_FLOOR_HZ, "cpps": CEPSTRAL_PITCH_HZ[0]}.get(what.name, 0.0)
    if len(f0_hz) and (below := float(np.mean(f0_hz < searched_hz))) > LOW_F0_SHARE:
        doubts.append(f"{percent(below)} of F0 lies below {searched_hz:.0f} Hz, the lowest it is measured at: too low")
    if what.kind in ("jitter", "shimmer"):
        sought = place.frames & (tracks.tracks["f0_hz"] >= HNR_FLOOR_HZ)
        hnr_db = tracks.tracks["hnr_db"][sought]
        hnr_db = hnr_db[np.isfinite(hnr_db)]
        if quality is not None and quality.snr_db < LOW_SNR_DB:
            doubts.append(f"noisy recording (SNR {quality.snr_db:.0f} dB): {what.name} comes out too high")
        elif len(hnr_db) and hnr_db.mean() < LOW_HNR_DB:
            doubts.append(f"HNR is low ({hnr_db.mean():.1f} dB): periods are found less surely")
    if what.name == "cpps" and count < SHORT_CPPS_FRAMES:
        doubts.append(f"short stretch ({count} frames): CPPS scatters")
    if quality is not None and quality.narrowband and what.name in _NEEDS_BANDWIDTH:
        doubts.append("narrow bandwidth, as on a telephone")
    return "; ".join(doubts)


_NEEDS_BANDWIDTH = (
    *("hf_energy", "hnr", "cpps"),
    *(f"f{k}_{what}" for k in (1, 2, 3) for what in ("mean", "bandwidth")),
)
