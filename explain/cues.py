"""Acoustic cues by Praat and openSMILE, measured once on the whole clip and cut by region.

Conventions: every track lies on the grid ``t = k × 0.01 s`` from the first sample, NaN where it is not defined. Pitch,
HNR, formants, CPPS and the spectral cues are taken in voiced frames (Praat's F0 > 0) of speech, never masked by their
own value; level in all frames of speech. Jitter and shimmer belong to stretches of periods: they are computed from
the one PointProcess of the clip as Praat computes them over a time range.

Not-measured sentinels: Praat's HNR of −200 dB, its intensity of −300 dB and its F0 of 0 Hz become NaN in
:mod:`explain.praat`. Of openSMILE only spectral descriptors are used, so that its zeros for unvoiced F0, jitter and
shimmer and its −200 dB for formant amplitudes never come in.

*Contrast* asks what is special about a place: the frames (or periods) of the salient regions against the rest of the
speech in the same clip, as Cliff's delta (Cliff 1993, Psychological Bulletin 114, 494–509). Its chance level comes
from the same region shapes put elsewhere on the speech of the clip; all cues are put to the same places, so that the
step-down minP procedure (Westfall & Young 1993; Ge, Dudoit & Speed 2003, Test 12, 1–77) can correct p over the cues.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from explain.regions import Region
from ser_core.audio import Recording
from ser_core.errors import ExplanationError, SettingError
from ser_core.quality import Quality
from ser_core.speech import Segment, speech_mask

SEXES = ("female", "male", "child", "unknown")
STEP_S = 0.01
CLIP, ALL_REGIONS = "clip", "all regions"
LONGEST_PERIOD_FACTOR, AMPLITUDE_FACTOR = 1.3, 1.6
ARRANGEMENTS, FEWEST_PLACES, ROWS_AT_ONCE = 999, 21, 250
HIGH_F0_HZ, LOW_SNR_DB, LOW_HNR_DB, SHORT_CPPS_FRAMES = 300.0, 20.0, 7.0, 20
SLOPE_HALF_WIDTH = 2


@dataclass(frozen=True)
class CueSettings:
    """What a phonetician may correct. None means: found from the clip.

    sex is "female", "male", "child" or "unknown"; it chooses the formant ceiling and the neutral reference.
    """

    sex: str = "unknown"
    pitch_floor_hz: float | None = None
    pitch_ceiling_hz: float | None = None
    formant_ceiling_hz: float | None = None
    octave_jump_cost: float = 0.35


@dataclass(frozen=True, eq=False)
class CueTracks:
    """Cue tracks of the whole clip every 10 ms, and the glottal periods.

    ``tracks`` maps a track's name (f0_hz, intensity_db, hnr_db, f1_hz, f1_bandwidth_hz, … alpha_ratio_db …) to an
    array (frames,), NaN where it is not defined. ``voiced`` is True where Praat's F0 > 0. ``pulses_s`` are the pulses
    of the one PointProcess. ``settings`` holds the values in force, never None.

    ``sex_guess`` is what the median F0 suggests ("female", "male" or, without voice, "unknown"); it counts only where
    the settings say "unknown". ``amplitudes`` (pulses,) are the pulses' amplitudes for shimmer, NaN where undefined;
    ``nuclei_s`` the syllable nuclei; ``segments`` the stretches of speech.
    """

    times_s: np.ndarray
    tracks: dict[str, np.ndarray]
    voiced: np.ndarray
    speech: np.ndarray
    pulses_s: np.ndarray
    settings: CueSettings
    sex_guess: str
    amplitudes: np.ndarray = field(default_factory=lambda: np.zeros(0))
    nuclei_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    segments: tuple[Segment, ...] = ()

    @property
    def sex(self) -> str:
        """The sex that the user gave, else the guess."""
        return self.sex_guess if self.settings.sex == "unknown" else self.settings.sex


@dataclass(frozen=True)
class CueValue:
    """The magnitude of one cue in one place; value is None when it is not measurable, and ``note`` says why.

    scope is "clip", "all regions" or the rank of a region. count says of what the value is made (``counted``: "voiced
    frames", "periods", "frames", "syllable nuclei", "pauses"). reliability is "" or the reason to doubt the value.
    """

    cue: str
    scope: str
    value: float | None
    unit: str
    count: int
    counted: str
    note: str = ""
    reliability: str = ""


@dataclass(frozen=True)
class Contrast:
    """A cue inside a salient region against the rest of the speech of the same clip.

    effect is Cliff's delta (−1 … 1); chance_low/high is the 95 % range of the effect when the regions' shapes are
    shifted over speech frames only; p is that permutation p, p_corrected is corrected over the cues of the same scope
    by :func:`permutation_p`. For the range cues (f0_variability, intensity_variability) effect and chance are None, as
    a spread has no Cliff's delta; their p comes from shifting the difference. scope is "all regions" or the rank of a
    region.
    """

    cue: str
    scope: str
    inside: float | None
    outside: float | None
    difference: float | None
    unit: str
    effect: float | None
    chance_low: float | None
    chance_high: float | None
    p: float | None
    p_corrected: float | None
    count: int
    note: str = ""


@dataclass(frozen=True)
class CueSummary:
    """All magnitudes and contrasts of one clip and its regions."""

    regions: tuple[Region, ...]
    values: tuple[CueValue, ...]
    contrasts: tuple[Contrast, ...]

    def value(self, cue: str, scope: str = CLIP) -> CueValue:
        """Return one magnitude; KeyError where there is none."""
        for row in self.values:
            if row.cue == cue and row.scope == scope:
                return row
        raise KeyError((cue, scope))

    def contrast(self, cue: str, scope: str = ALL_REGIONS) -> Contrast:
        """Return one contrast; KeyError where there is none."""
        for row in self.contrasts:
            if row.cue == cue and row.scope == scope:
                return row
        raise KeyError((cue, scope))


@dataclass(frozen=True)
class Cue:
    """How a cue is named and made.

    kind: "mean" or "median" of a track, "range" (10th to 90th percentile), "slope" (st/s), "jitter", "shimmer", "rate"
    or "pauses". fewest is the least count (of ``counted``) that is measured. contrasted: whether a contrast is drawn.
    """

    name: str
    title: str
    unit: str
    kind: str
    track: str = ""
    counted: str = "voiced frames"
    fewest: int = 5
    contrasted: bool = True


CUES = (
    Cue("f0_mean", "Pitch level (semitones from 100 Hz)", "st", "mean", "f0_st"),
    Cue("f0_median", "Pitch level (median)", "Hz", "median", "f0_hz", contrasted=False),
    Cue("f0_variability", "Pitch range (10th to 90th percentile)", "st", "range", "f0_st", fewest=10),
    Cue("f0_slope", "Pitch slope", "st/s", "slope", "f0_st", fewest=10),
    Cue("intensity_mean", "Energy (from the clip's speech median)", "dB", "mean", "level_db", "frames"),
    Cue("intensity_variability", "Energy range (10th to 90th percentile)", "dB", "range", "voiced_level_db", fewest=10),
    Cue("spectral_slope", "Spectral slope 500–1500 Hz", "dB/kHz", "mean", "slope_500_1500_db_per_khz"),
    Cue("hf_energy", "High-frequency energy (1–5 kHz over 50–1000 Hz)", "dB", "mean", "alpha_ratio_db"),
    Cue("jitter", "Jitter (local)", "%", "jitter", counted="periods", fewest=10),
    Cue("shimmer", "Shimmer (local)", "dB", "shimmer", counted="periods", fewest=10),
    Cue("hnr", "Harmonics-to-noise ratio", "dB", "mean", "hnr_db"),
    Cue("cpps", "Cepstral peak prominence, smoothed", "dB", "mean", "cpp_db"),
    Cue("f1_mean", "F1", "Hz", "mean", "f1_hz"),
    Cue("f1_bandwidth", "F1 bandwidth (median)", "Hz", "median", "f1_bandwidth_hz"),
    Cue("f2_mean", "F2", "Hz", "mean", "f2_hz"),
    Cue("f2_bandwidth", "F2 bandwidth (median)", "Hz", "median", "f2_bandwidth_hz"),
    Cue("f3_mean", "F3", "Hz", "mean", "f3_hz"),
    Cue("f3_bandwidth", "F3 bandwidth (median)", "Hz", "median", "f3_bandwidth_hz"),
    Cue("speech_rate", "Speech rate", "nuclei/s", "rate", counted="syllable nuclei", fewest=3, contrasted=False),
    Cue("pauses", "Pauses", "% of time", "pauses", counted="pauses", fewest=0, contrasted=False),
)
LEAST_RATE_S = 1.0


def cue(name: str) -> Cue:
    """Return the cue of that name; KeyError where there is none."""
    return {c.name: c for c in CUES}[name]


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(recording: Recording, settings: CueSettings, speech: Sequence[Segment]) -> CueTracks:
    """Return all cue tracks of a clip: Praat's from a worker process, openSMILE's from this one.

    Args:
        recording: the clip, at least 0.2 s.
        settings: the phonetician's corrections.
        speech: stretches of speech.

    Raises:
        SettingError: a setting outside what it may be.
        ExplanationError: the clip is too short, or the worker failed.
    """
    from explain.praat import SHORTEST_S, praat_panel
    from explain.workers import in_worker

    check(settings)
    if recording.duration_s < SHORTEST_S:
        raise ExplanationError(
            f"The clip lasts {recording.duration_s:.2f} s; cues need at least {SHORTEST_S} s. Use a longer clip."
        )
    panel = in_worker(
        praat_panel,
        recording.samples,
        recording.sample_rate,
        sex=settings.sex,
        pitch_floor_hz=settings.pitch_floor_hz,
        pitch_ceiling_hz=settings.pitch_ceiling_hz,
        formant_ceiling_hz=settings.formant_ceiling_hz,
        octave_jump_cost=settings.octave_jump_cost,
    )
    return tracks_from_panel(panel, recording, settings, speech)


def tracks_from_panel(panel: Any, recording: Recording, settings: CueSettings, speech: Sequence[Segment]) -> CueTracks:
    """Return the tracks of a clip whose :class:`explain.praat.PraatPanel` is at hand."""
    spoken = speech_mask(speech, panel.times_s)
    level_db = panel.tracks["intensity_db"]
    in_speech = level_db[spoken & np.isfinite(level_db)]
    tracks = {
        **panel.tracks,
        "f0_st": semitones(panel.tracks["f0_hz"]),
        "level_db": level_db - (np.median(in_speech) if len(in_speech) else np.nan),
        "voiced_level_db": np.where(panel.voiced, level_db, np.nan),
        **{
            name: np.where(panel.voiced, track, np.nan)
            for name, track in spectral_tracks(recording, len(panel.times_s)).items()
        },
    }
    return CueTracks(
        times_s=panel.times_s,
        tracks=tracks,
        voiced=panel.voiced,
        speech=spoken,
        pulses_s=panel.pulses_s,
        settings=replace(
            settings,
            pitch_floor_hz=panel.pitch_floor_hz,
            pitch_ceiling_hz=panel.pitch_ceiling_hz,
            formant_ceiling_hz=panel.formant_ceiling_hz,
        ),
        sex_guess=panel.sex_guess,
        amplitudes=panel.amplitudes,
        nuclei_s=panel.nuclei_s,
        segments=tuple(speech),
    )


def check(settings: CueSettings) -> None:
    """Raise SettingError where a setting is outside what Praat can use."""
    if settings.sex not in SEXES:
        raise SettingError(f"Speaker sex is '{settings.sex}'; choose one of {', '.join(SEXES)}.")
    limits = (
        ("pitch floor", settings.pitch_floor_hz, 40, 500, " Hz"),
        ("pitch ceiling", settings.pitch_ceiling_hz, 80, 2000, " Hz"),
        ("formant ceiling", settings.formant_ceiling_hz, 3000, 8000, " Hz"),
        ("octave-jump cost", settings.octave_jump_cost, 0, 10, ""),
    )
    for what, value, low, high, unit in limits:
        if value is not None and not low <= value <= high:
            raise SettingError(f"The {what} is {value:g}{unit}; it must lie between {low} and {high}{unit}.")
    floor_hz, ceiling_hz = settings.pitch_floor_hz, settings.pitch_ceiling_hz
    if floor_hz is not None and ceiling_hz is not None and ceiling_hz < 1.5 * floor_hz:
        raise SettingError(
            f"The pitch ceiling ({ceiling_hz:g} Hz) must be at least 1.5 times the floor ({floor_hz:g} Hz)."
        )


def semitones(f0_hz: np.ndarray) -> np.ndarray:
    """Return F0 in semitones from 100 Hz; NaN stays NaN."""
    return 12 * np.log2(f0_hz / 100)


def spectral_tracks(recording: Recording, frames: int) -> dict[str, np.ndarray]:
    """Return openSMILE's alpha ratio (dB) and spectral slope 500–1500 Hz (dB/kHz) on the 10 ms grid, (frames,).

    openSMILE's frame k of 20 ms starts at k × 10 ms, so that its centre is grid point k + 1; the 3-point smoothing is
    centred. The alpha ratio is 1–5 kHz over 50–1000 Hz: more high-frequency energy is a higher value (Eyben et al.
    2016, IEEE Transactions on Affective Computing 7, 190–202).
    """
    lld = _smile().process_signal(recording.samples, recording.sample_rate)
    names = {"alpha_ratio_db": ("alphaRatio_sma3", 1.0), "slope_500_1500_db_per_khz": ("slope500-1500_sma3", 1000.0)}
    out = {}
    for name, (column, scale) in names.items():
        track = np.full(frames, np.nan)
        values = lld[column].to_numpy(dtype=float)[: frames - 1]
        track[1 : 1 + len(values)] = values * scale
        out[name] = track
    return out


@functools.cache
def _smile() -> Any:
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)


# --- places ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Place:
    """Frames (frames,) of speech, the stretches in seconds they come from, and the time from end to end."""

    scope: str
    frames: np.ndarray
    stretches: tuple[tuple[float, float], ...]
    span_s: float


def _clip(tracks: CueTracks) -> _Place:
    parts = tuple((s.start_s, s.end_s) for s in tracks.segments)
    span_s = parts[-1][1] - parts[0][0] if parts else 0.0
    return _Place(CLIP, tracks.speech, parts, span_s)


def _place(tracks: CueTracks, scope: str, regions: Sequence[Region]) -> _Place:
    boxes = _union((r.start_s, r.end_s) for r in regions)
    parts = _cut([(s.start_s, s.end_s) for s in tracks.segments], boxes)
    inside = np.zeros(len(tracks.times_s), dtype=bool)
    for start_s, end_s in boxes:
        inside |= (tracks.times_s >= start_s - 1e-9) & (tracks.times_s < end_s - 1e-9)
    return _Place(scope, inside & tracks.speech, parts, sum(end_s - start_s for start_s, end_s in parts))


def _rest(tracks: CueTracks, place: _Place) -> _Place:
    speech = [(s.start_s, s.end_s) for s in tracks.segments]
    edges = [0.0, *(t for part in place.stretches for t in part), float("inf")]
    gaps = list(zip(edges[::2], edges[1::2], strict=True))
    parts = _cut(speech, gaps)
    return _Place("rest", tracks.speech & ~place.frames, parts, sum(end_s - start_s for start_s, end_s in parts))


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


# --- periods ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Perturbation:
    """Local jitter (%) or shimmer (dB) over some stretches, and of how many periods it is made."""

    value: float
    periods: int


def jitter_local(tracks: CueTracks, stretches: Sequence[tuple[float, float]]) -> tuple[float, int]:
    """Return jitter (local) in percent over the given stretches of seconds, and the number of periods; NaN if none.

    As Praat's "Get jitter (local)" with shortest period 0.8/ceiling, longest 1.25/floor and factor 1.3: the mean
    absolute difference of neighbouring periods over the mean period. Over several stretches the sums are pooled.
    """
    shortest, longest = _period_limits(tracks)
    differences, periods = 0.0, []
    pairs = 0
    for pulses in _pulses_in(tracks, stretches):
        t = tracks.pulses_s[pulses]
        lengths = np.diff(t)
        first, second = lengths[:-1], lengths[1:]
        valid = _both_valid(first, second, shortest, longest)
        differences += float(np.abs(first - second)[valid].sum())
        pairs += int(valid.sum())
        periods.append(_periods(tracks.pulses_s, pulses, shortest, longest))
    good = np.concatenate(periods) if periods else np.zeros(0)
    if pairs == 0 or not len(good):
        return float("nan"), 0
    return 100 * differences / pairs / float(good.mean()), len(good)


def shimmer_local_db(tracks: CueTracks, stretches: Sequence[tuple[float, float]]) -> tuple[float, int]:
    """Return shimmer (local, dB) over the given stretches of seconds, and the number of periods; NaN if none.

    As Praat's "Get shimmer (local_dB)" with factor 1.6: the mean absolute level difference of neighbouring periods.
    """
    shortest, longest = _period_limits(tracks)
    differences: list[np.ndarray] = []
    periods = 0
    for pulses in _pulses_in(tracks, stretches):
        _, level_db, valid = _amplitude_pairs(tracks, pulses[1:-1], shortest, longest)
        differences.append(level_db[valid])
        periods += len(_periods(tracks.pulses_s, pulses, shortest, longest))
    good = np.concatenate(differences) if differences else np.zeros(0)
    return (float(good.mean()), periods) if len(good) else (float("nan"), 0)


def _period_limits(tracks: CueTracks) -> tuple[float, float]:
    floor_hz, ceiling_hz = tracks.settings.pitch_floor_hz, tracks.settings.pitch_ceiling_hz
    if floor_hz is None or ceiling_hz is None:
        raise ExplanationError("The cue tracks name no pitch floor and ceiling; measure the clip again.")
    return 0.8 / ceiling_hz, 1.25 / floor_hz


def _pulses_in(tracks: CueTracks, stretches: Sequence[tuple[float, float]]) -> list[np.ndarray]:
    found = [np.flatnonzero((tracks.pulses_s >= start_s) & (tracks.pulses_s <= end_s)) for start_s, end_s in stretches]
    return [pulses for pulses in found if len(pulses) >= 3]


def _both_valid(first: np.ndarray, second: np.ndarray, shortest: float, longest: float) -> np.ndarray:
    fits = (first >= shortest) & (first <= longest) & (second >= shortest) & (second <= longest)
    return fits & (np.maximum(first, second) <= LONGEST_PERIOD_FACTOR * np.minimum(first, second))


def _periods(pulses_s: np.ndarray, pulses: np.ndarray, shortest: float, longest: float) -> np.ndarray:
    """Lengths of the intervals between neighbouring pulses that Praat counts as periods of the whole process."""
    lengths = np.diff(pulses_s)
    mine = pulses[:-1]
    length = lengths[mine]
    before = np.where(mine > 0, lengths[np.maximum(mine - 1, 0)], np.nan)
    after = np.where(mine + 1 < len(lengths), lengths[np.minimum(mine + 1, len(lengths) - 1)], np.nan)
    unlike = [np.maximum(length / side, side / length) for side in (before, after)]
    # An interval is no period only where it differs too much from every neighbour that there is.
    nearest = np.fmin(*unlike)
    fits = ~(nearest > LONGEST_PERIOD_FACTOR)
    return length[(length >= shortest) & (length <= longest) & fits]


def _amplitude_pairs(
    tracks: CueTracks, pulses: np.ndarray, shortest: float, longest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time of the later pulse, |level difference| in dB and whether it counts, for neighbours with amplitude."""
    pulses = pulses[np.isfinite(tracks.amplitudes[pulses])]
    t, amplitude = tracks.pulses_s[pulses], tracks.amplitudes[pulses]
    first, second = amplitude[:-1], amplitude[1:]
    length = np.diff(t)
    ratio = np.maximum(first, second) / np.maximum(np.minimum(first, second), 1e-300)
    valid = (length >= shortest) & (length <= longest) & (ratio <= AMPLITUDE_FACTOR)
    return t[1:], 20 * np.log10(ratio), valid


def _perturbations(tracks: CueTracks, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and sizes of the single differences: % of the local period (jitter) or dB (shimmer)."""
    shortest, longest = _period_limits(tracks)
    t = tracks.pulses_s
    if len(t) < 3:
        return np.zeros(0), np.zeros(0)
    if kind == "shimmer":
        times_s, level_db, valid = _amplitude_pairs(tracks, np.arange(len(t)), shortest, longest)
        return times_s[valid], level_db[valid]
    first, second = np.diff(t)[:-1], np.diff(t)[1:]
    valid = _both_valid(first, second, shortest, longest)
    return t[1:-1][valid], (200 * np.abs(first - second) / (first + second))[valid]


# --- magnitudes ------------------------------------------------------------------------------------------------------


def summarise(
    tracks: CueTracks, recording: Recording, regions: Sequence[Region], quality: Quality | None = None
) -> CueSummary:
    """Return every cue in the clip, in each region and in all regions together, and the contrasts.

    Args:
        tracks: what :func:`measure` returned for the recording.
        recording: the clip.
        regions: salient regions; they may be empty.
        quality: quality of the recording, for the reliability marks on noise and telephone bandwidth.

    Raises:
        ExplanationError: a region lies outside the recording.
    """
    for region in regions:
        if not -STEP_S <= region.start_s < region.end_s <= recording.duration_s + STEP_S:
            raise ExplanationError(
                f"Region {region.rank} ({region.start_s:.2f}–{region.end_s:.2f} s) does not lie in the clip "
                f"of {recording.duration_s:.2f} s; give start and end in seconds."
            )
    contrasts = [row for place in _places(tracks, regions) for row in _contrasts(tracks, place)]
    return CueSummary(tuple(regions), magnitudes(tracks, regions, quality), tuple(contrasts))


def magnitudes(
    tracks: CueTracks, regions: Sequence[Region] = (), quality: Quality | None = None
) -> tuple[CueValue, ...]:
    """Return every cue in the clip, in each region and in all regions together."""
    return tuple(
        _value(tracks, what, place, quality) for place in (_clip(tracks), *_places(tracks, regions)) for what in CUES
    )


def _places(tracks: CueTracks, regions: Sequence[Region]) -> list[_Place]:
    places = [_place(tracks, str(r.rank), [r]) for r in regions]
    return [*places, _place(tracks, ALL_REGIONS, regions)] if regions else []


def _value(tracks: CueTracks, what: Cue, place: _Place, quality: Quality | None) -> CueValue:
    value, count, note = _magnitude(tracks, what, place)
    return CueValue(
        cue=what.name,
        scope=place.scope,
        value=value,
        unit=what.unit,
        count=count,
        counted=what.counted,
        note=note,
        reliability="" if value is None else _doubt(tracks, what, place, count, quality),
    )


def _magnitude(tracks: CueTracks, what: Cue, place: _Place) -> tuple[float | None, int, str]:
    """The value or None, of how many frames, periods … it is made, and why it is not measurable."""
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


def _common_slope(tracks: CueTracks, there: np.ndarray, place: _Place) -> float:
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


def _rate(tracks: CueTracks, what: Cue, place: _Place) -> tuple[float | None, int, str]:
    inside = [sum(start_s <= t < end_s for start_s, end_s in place.stretches) for t in tracks.nuclei_s]
    count = int(sum(inside))
    if place.span_s < LEAST_RATE_S:
        return None, count, f"too short for a rate ({place.span_s:.2f} s of at least {LEAST_RATE_S:g} s)"
    if count < what.fewest:
        return None, count, f"too few syllable nuclei ({count} of at least {what.fewest})"
    return count / place.span_s, count, ""


def _pauses(place: _Place) -> tuple[float | None, int, str]:
    if place.scope != CLIP:
        return None, 0, "pauses are counted over the whole clip"
    if place.span_s < LEAST_RATE_S:
        return None, 0, f"too short for pauses ({place.span_s:.2f} s of at least {LEAST_RATE_S:g} s)"
    gaps_s = [after[0] - before[1] for before, after in itertools.pairwise(place.stretches)]
    return 100 * sum(gaps_s) / place.span_s, len(gaps_s), ""


def _doubt(tracks: CueTracks, what: Cue, place: _Place, count: int, quality: Quality | None) -> str:
    """The reasons to doubt a value, joined by semicolons."""
    from explain.praat import touches_ceiling

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
    if what.kind in ("jitter", "shimmer"):
        hnr_db = tracks.tracks["hnr_db"][place.frames]
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


_NEEDS_BANDWIDTH = ("hf_energy", "f1_mean", "f1_bandwidth", "f3_mean", "f3_bandwidth", "hnr", "cpps")


# --- contrasts -------------------------------------------------------------------------------------------------------


def cliffs_delta(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return P(inside > outside) − P(inside < outside), −1 … 1; NaN where one is empty (Cliff 1993)."""
    if not len(inside) or not len(outside):
        return float("nan")
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left")
    above = len(ordered) - np.searchsorted(ordered, inside, side="right")
    return float((below - above).mean() / len(ordered))


def permutation_p(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each cue's two-sided permutation p (cues,) and the same corrected over all cues (cues,).

    p is the share of placements whose size is at least the observed one. The correction is the step-down minP
    procedure of Westfall & Young (1993; Ge, Dudoit & Speed 2003): every placement gets such a p for every cue, and an
    observed p is held against the least p of the cues not yet passed, placement by placement. The chance of one false
    finding or more among all cues is then at most p_corrected, and cues that move together cost less than by Holm's
    rule. Where p is equal, the larger size (over its root mean square) is the rarer one; else as many places as there
    are cues would share the least p. What is equal then too counts against the finding.

    A cue that is not measurable in a placement cannot be the rarest there; its p is taken among its own placements
    only, and p_corrected is never below it. One that is not measurable where it was observed gets NaN, yet stays among
    those that may be the rarest elsewhere, as a placement must not choose its own rivals.

    Args:
        sizes: signed size of each cue in each placement, (cues, placements), the observed one first; NaN where the
            cue is not measurable.
    """
    from scipy.stats import rankdata

    measurable = np.isfinite(sizes)
    size = np.where(measurable, np.abs(sizes), 0.0)
    places = np.maximum(measurable.sum(axis=1, keepdims=True), 1)
    scale = np.sqrt((size**2).sum(axis=1, keepdims=True) / places)
    # Rounded so that sizes that are equal but for the last bits are ties.
    size = np.where(measurable, np.round(size / np.where(scale > 0, scale, 1.0), 9), -1.0)
    p = np.where(measurable, rankdata(-size, method="max", axis=1) / places, 2.0)
    own = np.where(measurable[:, 0], p[:, 0], np.nan)
    _, ranks = np.unique(np.stack([-p.ravel(), size.ravel()]), axis=1, return_inverse=True)
    rarity = ranks.reshape(sizes.shape)
    order = np.argsort(-rarity[:, 0], kind="stable")
    rarest = np.maximum.accumulate(rarity[order[::-1]], axis=0)[::-1]
    stepped = np.empty(len(sizes))
    stepped[order] = np.maximum.accumulate((rarest >= rarity[order, :1]).mean(axis=1))
    return own, np.maximum(stepped, own)


def shifted_deltas(
    values: np.ndarray, frames: np.ndarray, pieces: Sequence[tuple[int, int]], starts: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Cliff's delta for every arrangement of the pieces on a circular timeline, with the counts in and out.

    Args:
        values: one value for each frame (or period) that has one, (values,).
        frames: its frame on the timeline, 0 … length − 1, (values,).
        pieces: start and length in frames of each piece of the regions.
        starts: start of each piece in each arrangement, (arrangements, pieces).
        length: frames of the timeline.
    """
    from scipy.stats import rankdata

    ranks = np.bincount(frames, rankdata(values), minlength=length)
    counts = np.bincount(frames, minlength=length).astype(float)
    rank_sum, inside = np.zeros(len(starts)), np.zeros(len(starts))
    for k, (_, width) in enumerate(pieces):
        for sums, per_frame in ((rank_sum, ranks), (inside, counts)):
            around = np.concatenate([[0.0], np.cumsum(np.concatenate([per_frame, per_frame]))])
            sums += around[starts[:, k] + width] - around[starts[:, k]]
    outside = len(values) - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        deltas = 2 * (rank_sum - inside * (inside + 1) / 2) / (inside * outside) - 1
    return deltas, inside, outside


def arrangements(pieces: Sequence[tuple[int, int]], length: int, most: int, seed: int = 0) -> np.ndarray:
    """Return starts (arrangements, pieces) of the pieces on a circular timeline; the first row is where they are.

    One piece: every shift. Several: random order, random gaps and a random turn, so that pieces never overlap.
    """
    here = np.array([[start for start, _ in pieces]])
    widths = np.array([width for _, width in pieces])
    if len(pieces) == 1:
        shifts = np.arange(1, length)
        if len(shifts) > most:
            shifts = np.unique(np.linspace(1, length - 1, most).astype(int))
        return np.concatenate([here, (here[0] + shifts[:, None]) % length])
    rng = np.random.default_rng(seed)
    rows, count = np.arange(most)[:, None], len(pieces)
    order = np.argsort(rng.random((most, count)), axis=1)
    cuts = np.sort(rng.integers(0, length - widths.sum() + 1, (most, count - 1)), axis=1)
    gaps_before = np.concatenate([np.zeros((most, 1), dtype=int), cuts], axis=1)
    ordered = widths[order]
    begin = gaps_before + np.cumsum(ordered, axis=1) - ordered + rng.integers(0, length, (most, 1))
    starts = np.empty((most, count), dtype=int)
    starts[rows, order] = begin % length
    return np.concatenate([here, starts])


def _contrasts(tracks: CueTracks, place: _Place) -> list[Contrast]:
    rest = _rest(tracks, place)
    timeline = np.flatnonzero(tracks.speech)
    pieces = _pieces(place.frames[timeline])
    starts = arrangements(pieces, len(timeline), ARRANGEMENTS) if pieces else np.zeros((1, 0), dtype=int)
    cues = [c for c in CUES if c.contrasted]
    rows = [_difference(tracks, c, place, rest) for c in cues]
    sizes = np.stack([_sizes(tracks, c, pieces, starts) for c in cues])
    # Praat's own count in the regions decides whether a cue is measured there, as periods at an edge may count twice.
    sizes[[row.difference is None for row in rows], 0] = np.nan
    places = np.isfinite(sizes).sum(axis=1)
    notes = [
        "too few values here to find a chance level"
        if count >= FEWEST_PLACES
        else f"too little speech for a p below 0.05 ({count} of at least {FEWEST_PLACES} places have the cue)"
        for count in places
    ]
    sizes[places < FEWEST_PLACES] = np.nan
    return [
        row if row.difference is None else _against_chance(row, c, size, float(p), float(corrected), note)
        for row, c, size, p, corrected, note in zip(rows, cues, sizes, *permutation_p(sizes), notes, strict=True)
    ]


def _pieces(inside: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _difference(tracks: CueTracks, what: Cue, place: _Place, rest: _Place) -> Contrast:
    inside, count, note = _magnitude(tracks, what, place)
    outside, _, rest_note = _magnitude(tracks, what, rest)
    row = Contrast(what.name, place.scope, inside, outside, None, what.unit, None, None, None, None, None, count)
    if inside is None or outside is None:
        return replace(row, note=note or f"rest of the speech: {rest_note}")
    return replace(row, difference=inside - outside)


def _sizes(tracks: CueTracks, what: Cue, pieces: list[tuple[int, int]], starts: np.ndarray) -> np.ndarray:
    """Cliff's delta (of range cues the difference) in every placement, (placements,); NaN with too few values."""
    values, frames = _single_values(tracks, what)
    length = int(tracks.speech.sum())
    if not pieces or not len(values):
        return np.full(len(starts), np.nan)
    if what.kind == "range":
        return _shifted_ranges(values, frames, pieces, starts, length, what.fewest)
    deltas, inside, outside = shifted_deltas(values, frames, pieces, starts, length)
    return np.where((inside >= what.fewest) & (outside >= what.fewest), deltas, np.nan)


def _against_chance(row: Contrast, what: Cue, sizes: np.ndarray, p: float, corrected: float, note: str) -> Contrast:
    if not np.isfinite(sizes[0]):
        return replace(row, note=note)
    row = replace(row, p=p, p_corrected=corrected)
    if what.kind == "range":
        return row
    low, high = np.nanquantile(sizes, (0.025, 0.975))
    return replace(row, effect=float(sizes[0]), chance_low=float(low), chance_high=float(high))


def _single_values(tracks: CueTracks, what: Cue) -> tuple[np.ndarray, np.ndarray]:
    """The single values of a cue in speech and their frames on the timeline of speech frames."""
    place = np.cumsum(tracks.speech) - 1
    if what.kind in ("jitter", "shimmer"):
        times_s, values = _perturbations(tracks, what.kind)
        frames = np.clip((times_s / STEP_S + 1e-9).astype(int), 0, len(tracks.speech) - 1)
        spoken = tracks.speech[frames]
        return values[spoken], place[frames[spoken]]
    track = _local_slopes(tracks) if what.kind == "slope" else tracks.tracks[what.track]
    there = tracks.speech & np.isfinite(track)
    return track[there], place[there]


def _local_slopes(tracks: CueTracks) -> np.ndarray:
    """Regression slope of F0 in st/s over the five frames around each frame; NaN unless all five are voiced speech."""
    steps = np.arange(-SLOPE_HALF_WIDTH, SLOPE_HALF_WIDTH + 1)
    weights = steps / (steps**2).sum() / STEP_S
    pitch = np.where(tracks.speech, tracks.tracks["f0_st"], np.nan)
    slopes = np.full(len(pitch), np.nan)
    if len(pitch) >= len(weights):
        slopes[SLOPE_HALF_WIDTH:-SLOPE_HALF_WIDTH] = np.correlate(pitch, weights, mode="valid")
    return slopes


def _shifted_ranges(
    values: np.ndarray, frames: np.ndarray, pieces: list[tuple[int, int]], starts: np.ndarray, length: int, fewest: int
) -> np.ndarray:
    """Range inside − range outside for every arrangement, by nearest rank; NaN where one has too few values."""
    order = np.argsort(values, kind="stable")
    ordered, where = values[order], frames[order]
    found = []
    for first in range(0, len(starts), ROWS_AT_ONCE):
        some = starts[first : first + ROWS_AT_ONCE]
        inside = np.zeros((len(some), len(values)), dtype=bool)
        for k, (_, width) in enumerate(pieces):
            inside |= (where[None, :] - some[:, k, None]) % length < width
        found.append(_row_ranges(ordered, inside, fewest) - _row_ranges(ordered, ~inside, fewest))
    return np.concatenate(found)


def _row_ranges(ordered: np.ndarray, chosen: np.ndarray, fewest: int) -> np.ndarray:
    running = np.cumsum(chosen, axis=1, dtype=np.int32)
    count = running[:, -1]
    ends = [ordered[(running >= np.maximum(1, np.ceil(q * count))[:, None]).argmax(axis=1)] for q in (0.1, 0.9)]
    return np.where(count >= fewest, ends[1] - ends[0], np.nan)
