"""What a voice is here: pitch, resonances and spectral balance of a speaker, measured by Praat over several clips.

Conventions: frequencies in Hz, levels in dB, intervals of pitch in semitones. Medians over all voiced frames of all
clips, so that one clip's emotion or one octave error hardly counts. Parselmouth holds Python's global lock: measure
many voices in worker processes (:func:`ser_core.parallel.each`).

Sources: the Praat manual (Boersma & Weenink, praat.org) for pitch by autocorrelation and formants by Burg's method;
Fant 1960, "Acoustic theory of speech production", for one scale of all formants as the length of the vocal tract.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import parselmouth
from parselmouth.praat import call

from ser_core.audio import SAMPLE_RATE, read
from ser_core.errors import AudioError
from ser_core.features import mel_centres_hz

STEP_S = 0.01
PITCH_HZ = (60.0, 600.0)
CEILINGS_HZ = ((150.0, 5000.0), (230.0, 5500.0))
FORMANTS = 4
BANDS = 24
SCALES = (0.75, 1.35)
RANGE_FACTORS = (0.75, 1.33)
LARGEST_GAIN_DB = 9.0

_WINDOW = 512


@dataclass(frozen=True)
class Voice:
    """A speaker's voice.

    f0_hz: median F0. spread_semitones: interquartile range of F0. formants_hz: medians of F1 … F4 with Praat's usual
    ceiling for so deep a voice (:func:`ceiling_hz`). balance_db: level of 24 mel-spaced bands of speech, their mean 0.
    """

    speaker: str
    f0_hz: float
    spread_semitones: float
    formants_hz: tuple[float, ...]
    balance_db: tuple[float, ...]


@dataclass(frozen=True)
class Change:
    """How one voice becomes another.

    scale: of every formant; above 1 is a shorter vocal tract. F0 becomes
    ``target_f0_hz × (F0 / source_f0_hz) ^ range_factor``: where the speaker stands within the own range, which carries
    the emotion, is kept. gains_db: at ``band_centres_hz()``, after the scale, for the spectral balance.
    """

    source_f0_hz: float
    target_f0_hz: float
    range_factor: float
    scale: float
    gains_db: tuple[float, ...]

    def f0(self, f0_hz: np.ndarray) -> np.ndarray:
        """Return the new F0 (…) in Hz of an F0; 0 where it is 0 (unvoiced)."""
        voiced = f0_hz > 0
        ratio = np.where(voiced, f0_hz / self.source_f0_hz, 1.0)
        return np.where(voiced, self.target_f0_hz * ratio**self.range_factor, 0.0)

    @property
    def pitch_range_hz(self) -> tuple[float, float]:
        """Floor and ceiling of the search for the source's F0, around the speaker's own median."""
        return max(PITCH_HZ[0], 0.5 * self.source_f0_hz), min(PITCH_HZ[1], 3.0 * self.source_f0_hz)


def measure(speaker: str, files: Sequence[str]) -> Voice:
    """Return the voice of a speaker over audio files.

    Raises:
        AudioError: none of them holds enough voice.
    """
    return voice_of(speaker, [np.array(read(file).samples) for file in files])


def voice_of(speaker: str, clips: Sequence[np.ndarray]) -> Voice:
    """Return the voice of a speaker over clips (samples,) at 16 kHz.

    Raises:
        AudioError: none of them holds enough voice.
    """
    sounds = [_sound(samples) for samples in clips]
    pitches = [pitch(sound, *PITCH_HZ) for sound in sounds]
    f0_hz = np.concatenate([track for _, track in pitches])
    f0_hz = f0_hz[f0_hz > 0]
    if len(f0_hz) < 20:
        raise AudioError(
            f"The clips of {speaker} hold less than 0.2 s of voice, too little to know it; give more speech."
        )
    ceiling = ceiling_hz(float(np.median(f0_hz)))
    voiced = [times_s[track > 0] for times_s, track in pitches]
    formants_hz = np.concatenate([formants(*pair, ceiling) for pair in zip(sounds, voiced, strict=True)], axis=1)
    spectra = [_spectrum(samples) for samples in clips]
    low, high = np.percentile(f0_hz, [25, 75])
    level_db = 10 * np.log10(np.mean(spectra, axis=0) + 1e-12)
    return Voice(
        speaker=speaker,
        f0_hz=float(np.median(f0_hz)),
        spread_semitones=float(12 * np.log2(high / low)),
        formants_hz=tuple(np.nanmedian(formants_hz, axis=1).tolist()),
        balance_db=tuple((level_db - level_db.mean()).tolist()),
    )


def change(source: Voice, target: Voice) -> Change:
    """Return how the source's voice becomes the target's; scale, range and gains stay within what sounds natural."""
    scale = float(np.exp(np.mean(np.log(np.divide(target.formants_hz, source.formants_hz)))))
    scale = float(np.clip(scale, *SCALES))
    spread = target.spread_semitones / max(source.spread_semitones, 0.5)
    centres = band_centres_hz()
    shifted = np.interp(centres / scale, centres, source.balance_db)
    gains = np.asarray(target.balance_db) - shifted
    gains = np.clip(gains - gains.mean(), -LARGEST_GAIN_DB, LARGEST_GAIN_DB)
    return Change(
        source_f0_hz=source.f0_hz,
        target_f0_hz=target.f0_hz,
        range_factor=float(np.clip(spread, *RANGE_FACTORS)),
        scale=scale,
        gains_db=tuple(gains.tolist()),
    )


def band_centres_hz() -> np.ndarray:
    """Return the centres (24,) in Hz of the bands of the spectral balance."""
    return mel_centres_hz(BANDS)


def ceiling_hz(f0_hz: float) -> float:
    """Return Praat's ceiling of five formants by median F0: 5000 Hz for deep voices, 5500 Hz for high ones."""
    (low, first), (high, last) = CEILINGS_HZ
    return float(np.interp(np.log(f0_hz), np.log([low, high]), [first, last]))


def pitch(sound: parselmouth.Sound, floor_hz: float, ceiling_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times in seconds and F0 in Hz (frames,) every 10 ms; 0 where unvoiced."""
    track = sound.to_pitch_ac(time_step=STEP_S, pitch_floor=floor_hz, pitch_ceiling=ceiling_hz)
    return track.xs(), track.selected_array["frequency"]


def formants(sound: parselmouth.Sound, times_s: np.ndarray, ceiling_hz: float) -> np.ndarray:
    """Return F1 … F4 (4, times) in Hz at times in seconds, five formants being sought; one not found is NaN."""
    tracks = call(sound, "To Formant (burg)", STEP_S, 5, ceiling_hz, 0.025, 50.0)
    found = [[tracks.get_value_at_time(number, time) for time in times_s] for number in range(1, FORMANTS + 1)]
    return np.array(found).reshape(FORMANTS, len(times_s))


def _sound(samples: np.ndarray) -> parselmouth.Sound:
    return parselmouth.Sound(samples.astype(np.float64), sampling_frequency=float(SAMPLE_RATE))


def _spectrum(samples: np.ndarray) -> np.ndarray:
    """Return the mean power (24,) around each band's centre over frames within 35 dB of the loudest."""
    padded = np.pad(samples.astype(np.float64), (0, max(0, _WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[:: _WINDOW // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW))) ** 2
    total = power.sum(axis=1)
    speech = power[total >= total.max() * 10**-3.5].mean(axis=0)
    speech /= speech.sum() + 1e-12
    hz = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    edges = np.concatenate([[0.0], np.sqrt(band_centres_hz()[:-1] * band_centres_hz()[1:]), [SAMPLE_RATE / 2]])
    places = np.clip(np.searchsorted(edges, hz, side="right") - 1, 0, BANDS - 1)
    return np.bincount(places, speech, BANDS) / np.maximum(np.bincount(places, minlength=BANDS), 1)
