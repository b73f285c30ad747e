"""Acoustic cues by Praat and openSMILE, measured once on the whole clip: their names, tracks and values.

Conventions: every track lies on the grid ``t = k × 0.01 s`` from the first sample, NaN where it is not defined. Pitch,
HNR, formants, CPPS and the spectral cues are taken in voiced frames (Praat's F0 > 0) of speech, never masked by their
own value; level in all frames of speech. Tracks are cut by place in :mod:`explain.magnitudes`, and places are set
against each other in :mod:`explain.contrasts`.

Not-measured sentinels: Praat's HNR of −200 dB, its intensity of −300 dB and its F0 of 0 Hz become NaN in
:mod:`explain.praat`. Of openSMILE only spectral descriptors are used, so that its zeros for unvoiced F0, jitter and
shimmer and its −200 dB for formant amplitudes never come in.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from explain.regions import Region
from ser_core.audio import Recording
from ser_core.errors import ExplanationError, SettingError
from ser_core.speech import Segment, speech_mask

if TYPE_CHECKING:
    from explain.praat import PraatPanel

SEXES = ("female", "male", "child", "unknown")
LIMITS = {
    "pitch_floor_hz": ("pitch floor", 40.0, 600.0, " Hz"),
    "pitch_ceiling_hz": ("pitch ceiling", 80.0, 2000.0, " Hz"),
    "formant_ceiling_hz": ("formant ceiling", 3000.0, 8000.0, " Hz"),
    "octave_jump_cost": ("octave-jump cost", 0.0, 10.0, ""),
}
"""What each number of :class:`CueSettings` is called, the least and the most that it may be, and its unit."""
STEP_S = 0.01
CLEAR = 0.05
"""A corrected p below it counts."""
CLIP, ALL_REGIONS = "clip", "all regions"


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
    span_s are the seconds of speech in the place; of the clip those from the first speech to the last.
    """

    cue: str
    scope: str
    value: float | None
    unit: str
    count: int
    counted: str
    note: str = ""
    reliability: str = ""
    span_s: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """A cue inside a salient region against the rest of the speech of the same clip.

    effect is Cliff's delta (−1 … 1); chance_low/high is the 95 % range of the effect when the regions' shapes are
    shifted over speech frames only; p is that permutation p, p_corrected is corrected over the cues of the same scope
    by :func:`permutation_p`. For the range cues (f0_variability, intensity_variability) effect and chance are None, as
    a spread has no Cliff's delta; their p comes from how far the shifted difference goes beyond 0 and beyond the usual
    one. scope is "all regions" or the rank of a region.
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

    @property
    def beyond_chance(self) -> bool:
        """Whether the cue differs there: the corrected p is below .05, and an effect lies outside its chance range."""
        within = (
            self.effect is not None
            and self.chance_low is not None
            and self.chance_high is not None
            and self.chance_low <= self.effect <= self.chance_high
        )
        return not within and self.p_corrected is not None and self.p_corrected < CLEAR


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


def cue(name: str) -> Cue:
    """Return the cue of that name; KeyError where there is none."""
    return {c.name: c for c in CUES}[name]


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
    return tracks_from_panel(measured_by_praat(recording, settings), recording, settings, speech)


def measured_by_praat(recording: Recording, settings: CueSettings) -> "PraatPanel":
    """Return what Praat measures of a clip, from a worker process; raises as :func:`measure` does."""
    from explain.praat import SHORTEST_S, praat_panel
    from ser_core.workers import in_worker

    check(settings)
    if recording.duration_s < SHORTEST_S:
        raise ExplanationError(
            f"The clip lasts {recording.duration_s:.2f} s; cues need at least {SHORTEST_S} s. Use a longer clip."
        )
    panel: PraatPanel = in_worker(
        praat_panel,
        recording.samples,
        recording.sample_rate,
        sex=settings.sex,
        pitch_floor_hz=settings.pitch_floor_hz,
        pitch_ceiling_hz=settings.pitch_ceiling_hz,
        formant_ceiling_hz=settings.formant_ceiling_hz,
        octave_jump_cost=settings.octave_jump_cost,
    )
    return panel


def tracks_from_panel(
    panel: "PraatPanel", recording: Recording, settings: CueSettings, speech: Sequence[Segment]
) -> CueTracks:
    """Return the tracks of a clip that Praat has measured."""
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
    for name, (what, low, high, unit) in LIMITS.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise SettingError(f"The {what} is {value:g}{unit}; it must lie between {low:g} and {high:g}{unit}.")
    floor_hz, ceiling_hz = settings.pitch_floor_hz, settings.pitch_ceiling_hz
    if floor_hz is not None and ceiling_hz is not None and ceiling_hz < 1.5 * floor_hz:
        raise SettingError(
            f"The pitch ceiling ({ceiling_hz:g} Hz) must be at least 1.5 times the floor ({floor_hz:g} Hz)."
        )


def semitones(f0_hz: np.ndarray) -> np.ndarray:
    """Return F0 in semitones from 100 Hz; NaN stays NaN."""
    return 12 * np.log2(f0_hz / 100)


def spectral_tracks(recording: Recording, frames: int) -> dict[str, np.ndarray]:
    """Return openSMILE's alpha ratio (dB) and the spectral slope 500–1500 Hz (dB/kHz) on the 10 ms grid, (frames,).

    openSMILE's frame k of 20 ms starts at k × 10 ms, so that its centre is grid point k + 1; the 3-point smoothing is
    centred. The alpha ratio is 1–5 kHz over 50–1000 Hz: more high-frequency energy is a higher value (Eyben et al.
    2016, IEEE Transactions on Affective Computing 7, 190–202).
    """
    lld = _smile().process_signal(_levelled(recording.samples), recording.sample_rate)
    ratio = np.full(frames, np.nan)
    values = lld["alphaRatio_sma3"].to_numpy(dtype=float)[: frames - 1]
    ratio[1 : 1 + len(values)] = values
    return {"alpha_ratio_db": ratio, "slope_500_1500_db_per_khz": _slope_500_1500(recording, frames)}


def _levelled(samples: np.ndarray) -> np.ndarray:
    """Return the samples without a constant offset, at half of full scale: openSMILE reckons in steps of 16 bits."""
    centred = samples - samples.mean(dtype=np.float64)
    return (0.5 * centred / max(float(np.abs(centred).max()), 1e-9)).astype(np.float32)


def _slope_500_1500(recording: Recording, frames: int) -> np.ndarray:
    """Return the linear regression of the logarithmic power spectrum on frequency (dB/kHz) on the 10 ms grid.

    As eGeMAPS defines it (Eyben et al. 2016), in Hamming windows of 20 ms, means of three frames. openSMILE 2.6.0's own
    is not used: it is the steeper the louder the same sound is.
    """
    rate, half = recording.sample_rate, recording.sample_rate // 100
    padded = np.pad(recording.samples - recording.samples.mean(dtype=np.float64), (half, 2 * half))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)[::half]
    hz = np.fft.rfftfreq(2 * half, 1 / rate)
    band = (hz >= 500) & (hz <= 1500)
    khz = hz[band] / 1000 - hz[band].mean() / 1000
    spectrum = np.abs(np.fft.rfft(windows * np.hamming(2 * half))[:, band]) ** 2
    slopes = 10 * np.log10(np.maximum(spectrum, np.finfo(float).tiny)) @ khz / (khz @ khz)
    out = np.full(frames, np.nan)
    smoothed = np.convolve(np.pad(slopes, 1, mode="edge"), np.full(3, 1 / 3), "valid")[:frames]
    out[: len(smoothed)] = smoothed
    return out


@functools.cache
def _smile() -> Any:
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)
