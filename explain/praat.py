"""Praat's measures of one clip by Parselmouth, as one pure function that a worker process can run.

Conventions: times in seconds from the first sample, frequencies in Hz, levels in dB. Every track lies on one grid,
``t = k × 0.01 s`` with k = 0, 1, …; NaN where Praat's value is not defined. Praat centres its own frames in the
clip, so they are read at the grid's times by linear interpolation, as Praat's "Get value at time" does. Parselmouth
holds Python's global lock while it works: pages go through :mod:`ser_core.workers`.

Sources: the Praat manual (Boersma & Weenink, praat.org); De Looze & Hirst 2008 (Speech Prosody) for pitch in two
passes; de Jong & Wempe 2009 (Behavior Research Methods 41, 385–390) for syllable nuclei; Hillenbrand et al. 1994 and
Maryn & Weenink 2015 (Journal of Voice 29, 35–43) for CPPS.
"""

from dataclasses import dataclass

import numpy as np
import parselmouth
from parselmouth.praat import call

STEP_S = 0.01
SHORTEST_S = 0.2
FIRST_PASS_HZ = (60.0, 700.0)
FLOOR_FACTOR, CEILING_FACTOR, EXPRESSIVE_CEILING_FACTOR = 0.75, 1.5, 2.5
CEILING_MARGIN, CEILING_SHARE = 0.95, 0.02
PITCH_WITHOUT_VOICE_HZ = (75.0, 600.0)
MALE_BELOW_HZ = 165.0
FORMANT_CEILING_HZ = {"male": 5000.0, "female": 5500.0, "child": 8000.0, "unknown": 5500.0}
HNR_UNDEFINED_DB = -200.0
HNR_FLOOR_HZ = 75.0
INTENSITY_OF_NOTHING_DB = -300.0
LONGEST_PERIOD_FACTOR, AMPLITUDE_FACTOR = 1.3, 1.6
CEPSTRAL_PITCH_HZ = (60.0, 330.0)
NUCLEUS_DIP_DB, NUCLEUS_BELOW_PEAK_DB = 2.0, 25.0


@dataclass(frozen=True, eq=False)
class PraatPanel:
    """Tracks (frames,) every 10 ms, NaN where undefined, and the glottal pulses (pulses,) of one PointProcess.

    ``amplitudes`` are the pulses' amplitudes as Praat's shimmer uses them (Hann-weighted RMS around the pulse), NaN
    where a pulse has no valid period on both sides. ``nuclei_s`` are the times of syllable nuclei.
    """

    times_s: np.ndarray
    tracks: dict[str, np.ndarray]
    voiced: np.ndarray
    pulses_s: np.ndarray
    amplitudes: np.ndarray
    nuclei_s: np.ndarray
    pitch_floor_hz: float
    pitch_ceiling_hz: float
    formant_ceiling_hz: float
    sex_guess: str


def praat_panel(
    samples: np.ndarray,
    sample_rate: int,
    *,
    sex: str = "unknown",
    pitch_floor_hz: float | None = None,
    pitch_ceiling_hz: float | None = None,
    formant_ceiling_hz: float | None = None,
    octave_jump_cost: float = 0.35,
) -> PraatPanel:
    """Return pitch, periods, HNR, formants, intensity, cepstral peaks and syllable nuclei of a clip.

    Args:
        samples: mono samples (n,), at least 0.2 s.
        sample_rate: samples per second.
        sex: "female", "male", "child" or "unknown"; chooses the formant ceiling (5500, 5000, 8000 Hz). Unknown is
            taken from the median F0 (below 165 Hz: male, else female), and said in ``sex_guess``.
        pitch_floor_hz: floor of the pitch search; None: 0.75 × the first quartile of a first pass at 60–700 Hz.
        pitch_ceiling_hz: its ceiling; None: 1.5 × the third quartile, or 2.5 × (De Looze & Hirst's factor for
            expressive speech) where more than 2 % of the voiced frames then touch that ceiling.
        formant_ceiling_hz: highest formant frequency; None: by sex.
        octave_jump_cost: Praat's octave-jump cost of the pitch path.
    """
    # Periods' amplitudes and formants would hold a constant offset, which a sound card adds and nobody hears.
    centred = np.asarray(samples, dtype=np.float64) - np.mean(samples, dtype=np.float64)
    sound = parselmouth.Sound(centred, sampling_frequency=float(sample_rate))
    times_s = np.arange(int(np.ceil(len(samples) / sample_rate / STEP_S - 1e-9))) * STEP_S
    floor_hz, ceiling_hz = _pitch_range(sound, octave_jump_cost, pitch_floor_hz, pitch_ceiling_hz)
    pitch = _pitch(sound, floor_hz, ceiling_hz, octave_jump_cost)
    raw_hz = pitch.selected_array["frequency"]
    f0_hz = at_times(times_s, pitch.xs(), np.where(raw_hz > 0, raw_hz, np.nan))
    voiced = np.isfinite(f0_hz)
    guess = _sex_by_pitch(f0_hz)
    if formant_ceiling_hz is None:
        formant_ceiling_hz = FORMANT_CEILING_HZ[guess if sex == "unknown" else sex]
    pulses_s, amplitudes = _pulses(sound, pitch, floor_hz, ceiling_hz)
    intensity_db = _intensity(sound, times_s, floor_hz)
    tracks = {
        "f0_hz": f0_hz,
        "intensity_db": intensity_db,
        "hnr_db": np.where(voiced, _harmonicity(sound, times_s), np.nan),
        "cpp_db": _cepstral_peaks(sound, times_s, voiced, f0_hz),
        **_formants(sound, times_s, voiced, min(formant_ceiling_hz, sample_rate / 2)),
    }
    return PraatPanel(
        times_s=times_s,
        tracks=tracks,
        voiced=voiced,
        pulses_s=pulses_s,
        amplitudes=amplitudes,
        nuclei_s=_nuclei(times_s, intensity_db, voiced),
        pitch_floor_hz=floor_hz,
        pitch_ceiling_hz=ceiling_hz,
        formant_ceiling_hz=formant_ceiling_hz,
        sex_guess=guess,
    )


def at_times(times_s: np.ndarray, frames_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a frame track's values at other times, as Praat's "Get value at time" with linear interpolation.

    Undefined (NaN) where the nearest frame is undefined or more than half a step away; equal to the nearest frame
    where only the farther of the two neighbours is undefined.
    """
    out = np.full(len(times_s), np.nan)
    if not len(frames_s):
        return out
    step = frames_s[1] - frames_s[0] if len(frames_s) > 1 else STEP_S
    place = (times_s - frames_s[0]) / step
    inside = (place >= -0.5) & (place <= len(frames_s) - 0.5)
    left = np.clip(np.floor(place), 0, len(frames_s) - 1).astype(int)
    right = np.minimum(left + 1, len(frames_s) - 1)
    phase = np.clip(place - left, 0, 1)
    near = np.where(phase < 0.5, left, right)
    far = np.where(phase < 0.5, right, left)
    weight = np.minimum(phase, 1 - phase)
    mixed = np.where(
        np.isfinite(values[far]) & (weight > 0), (1 - weight) * values[near] + weight * values[far], values[near]
    )
    out[inside] = mixed[inside]
    return out


def _pitch(sound: parselmouth.Sound, floor_hz: float, ceiling_hz: float, octave_jump_cost: float) -> parselmouth.Pitch:
    return sound.to_pitch_ac(
        time_step=STEP_S, pitch_floor=floor_hz, pitch_ceiling=ceiling_hz, octave_jump_cost=octave_jump_cost
    )


def _pitch_range(
    sound: parselmouth.Sound, octave_jump_cost: float, floor_hz: float | None, ceiling_hz: float | None
) -> tuple[float, float]:
    if floor_hz is not None and ceiling_hz is not None:
        return floor_hz, ceiling_hz
    first_hz = _voiced_hz(_pitch(sound, *FIRST_PASS_HZ, octave_jump_cost))
    low, high = PITCH_WITHOUT_VOICE_HZ
    if len(first_hz):
        q25, q75 = np.quantile(first_hz, (0.25, 0.75))
        low = FLOOR_FACTOR * float(q25) if floor_hz is None else floor_hz
        high = CEILING_FACTOR * float(q75)
        if ceiling_hz is None and touches_ceiling(_voiced_hz(_pitch(sound, low, high, octave_jump_cost)), high):
            high = min(EXPRESSIVE_CEILING_FACTOR * float(q75), FIRST_PASS_HZ[1])
    if floor_hz is not None:
        return floor_hz, max(high, 2 * floor_hz)
    if ceiling_hz is not None:
        return min(low, ceiling_hz / 2), ceiling_hz
    return low, high


def touches_ceiling(f0_hz: np.ndarray, ceiling_hz: float) -> bool:
    """Return whether more than 2 % of the voiced frames lie within 5 % of the pitch ceiling."""
    return bool(len(f0_hz)) and float(np.mean(f0_hz > CEILING_MARGIN * ceiling_hz)) > CEILING_SHARE


def _voiced_hz(pitch: parselmouth.Pitch) -> np.ndarray:
    frequencies = pitch.selected_array["frequency"]
    return frequencies[frequencies > 0]


def _sex_by_pitch(f0_hz: np.ndarray) -> str:
    voiced = f0_hz[np.isfinite(f0_hz)]
    if not len(voiced):
        return "unknown"
    return "male" if np.median(voiced) < MALE_BELOW_HZ else "female"


def _pulses(
    sound: parselmouth.Sound, pitch: parselmouth.Pitch, floor_hz: float, ceiling_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    process = call([sound, pitch], "To PointProcess (cc)")
    if call(process, "Get number of points") == 0:
        return np.zeros(0), np.zeros(0)
    pulses_s = call(process, "To Matrix").values[0]
    amplitudes = np.full(len(pulses_s), np.nan)
    if len(pulses_s) < 3:
        return pulses_s, amplitudes
    tier = call(
        [process, sound],
        "To AmplitudeTier (period)",
        0,
        0,
        0.8 / ceiling_hz,
        1.25 / floor_hz,
        LONGEST_PERIOD_FACTOR,
    )
    if call(tier, "Get number of points") > 0:
        points = call(call(tier, "Down to TableOfReal"), "To Matrix").values
        amplitudes[np.abs(pulses_s[:, None] - points[None, :, 0]).argmin(axis=0)] = points[:, 1]
    return pulses_s, amplitudes


def _intensity(sound: parselmouth.Sound, times_s: np.ndarray, floor_hz: float) -> np.ndarray:
    intensity = sound.to_intensity(minimum_pitch=floor_hz, time_step=STEP_S)
    level_db = intensity.values[0]
    return at_times(times_s, intensity.xs(), np.where(level_db > INTENSITY_OF_NOTHING_DB, level_db, np.nan))


def _harmonicity(sound: parselmouth.Sound, times_s: np.ndarray) -> np.ndarray:
    harmonicity = sound.to_harmonicity_cc(
        time_step=STEP_S, minimum_pitch=HNR_FLOOR_HZ, silence_threshold=0.1, periods_per_window=1.0
    )
    hnr_db = harmonicity.values[0]
    return at_times(times_s, harmonicity.xs(), np.where(hnr_db > HNR_UNDEFINED_DB, hnr_db, np.nan))


def _formants(
    sound: parselmouth.Sound, times_s: np.ndarray, voiced: np.ndarray, ceiling_hz: float
) -> dict[str, np.ndarray]:
    formant = sound.to_formant_burg(
        time_step=STEP_S,
        max_number_of_formants=5.0,
        maximum_formant=ceiling_hz,
        window_length=0.025,
        pre_emphasis_from=50.0,
    )
    tracks = {}
    for k in (1, 2, 3):
        for name, ask in (("hz", formant.get_value_at_time), ("bandwidth_hz", formant.get_bandwidth_at_time)):
            track = np.full(len(times_s), np.nan)
            track[voiced] = [ask(k, t) for t in times_s[voiced]]
            tracks[f"f{k}_{name}"] = track
    return tracks


def _cepstral_peaks(sound: parselmouth.Sound, times_s: np.ndarray, voiced: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
    """Peak prominence of the smoothed power cepstrum in voiced frames; its mean is CPPS over those frames."""
    track = np.full(len(times_s), np.nan)
    if not voiced.any():
        return track
    highest_hz = max(CEPSTRAL_PITCH_HZ[1], 1.1 * float(np.nanmax(f0_hz)))
    cepstrogram = call(sound, "To PowerCepstrogram", CEPSTRAL_PITCH_HZ[0], STEP_S, 5000.0, 50.0)
    smooth = call(cepstrogram, "Smooth", 0.02, 0.0005)
    first_s = call(smooth, "Get time from frame number", 1)
    frames = call(smooth, "Get number of frames")
    for k in np.flatnonzero(voiced):
        if not first_s - STEP_S / 2 <= times_s[k] <= first_s + (frames - 0.5) * STEP_S:
            continue
        cepstrum = call(smooth, "To PowerCepstrum (slice)", float(times_s[k]))
        track[k] = call(
            cepstrum,
            "Get peak prominence",
            CEPSTRAL_PITCH_HZ[0],
            highest_hz,
            "parabolic",
            0.001,
            0.05,
            "Straight",
            "Robust",
        )
    return track


def _nuclei(times_s: np.ndarray, intensity_db: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Times of intensity peaks in voiced frames that fall by 2 dB on both sides and lie in the loudest 25 dB."""
    if not voiced.any():
        return np.zeros(0)
    level = np.nan_to_num(intensity_db, nan=INTENSITY_OF_NOTHING_DB)
    threshold_db = np.nanquantile(intensity_db, 0.99) - NUCLEUS_BELOW_PEAK_DB
    nuclei: list[int] = []
    rising, peak, lowest_db = True, 0, level[0]
    for k, level_db in enumerate(level):
        if rising:
            if level_db > level[peak]:
                peak = k
            elif level[peak] - level_db >= NUCLEUS_DIP_DB:
                if level[peak] >= threshold_db and voiced[peak]:
                    nuclei.append(peak)
                rising, lowest_db = False, level_db
        else:
            lowest_db = min(lowest_db, level_db)
            if level_db - lowest_db >= NUCLEUS_DIP_DB:
                rising, peak = True, k
    return times_s[nuclei]
