"""What happens to a voice on its way to a model: noise, telephone, codec, clipping, room, filters, cuts.

Every change is a kind at a level; each kind says in which unit, and lists its levels. Changes take
and give (samples,) at 16 kHz, are never clipped by themselves, and depend on the clip's name and the kind only: the
same noise stands behind a clip at every level, and every clip is heard in the same rooms.

The questions are those of audEERING's ser-tests (Derington et al. 2023, "Testing speech emotion recognition machine
learning models").
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import soxr
from scipy.signal import butter, fftconvolve, sosfiltfilt

from ser_core.audio import SAMPLE_RATE
from ser_core.augmentation import mix_at_snr, power
from ser_core.errors import SettingError
from ser_core.noise import Source, white

LEVELS_DB = (20.0, 15.0, 10.0, 5.0, 0.0)
TELEPHONE_RATE = 8_000
TELEPHONE_BAND_HZ = (300.0, 3400.0)
EARLIEST_ECHO_S = 0.0025
LONGEST_DELAY_S = 0.15
"""Codecs put up to this much in front; it is taken away again."""


@dataclass(frozen=True)
class Kind:
    """A kind of change: its name, the group it is shown in, the unit and the levels.

    Levels go from mild to severe, or, where they lie on both sides of no change, from one end to the other.
    """

    name: str
    family: str
    unit: str
    levels: tuple[float, ...]
    what: str

    @property
    def two_sided(self) -> bool:
        """Whether its levels lie on both sides of no change."""
        return min(self.levels) < 0 < max(self.levels)

    @property
    def severest(self) -> float:
        """The level that is farthest from no change; of two as far the lower."""
        return max(self.levels, key=abs) if self.two_sided else self.levels[-1]


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "environment", "noise", "dB SNR", LEVELS_DB, "recordings of rain, dogs, clocks, engines … behind the voice"
        ),
        Kind("babble", "noise", "dB SNR", LEVELS_DB, "six other people who talk behind the voice"),
        Kind("speech-shaped", "noise", "dB SNR", LEVELS_DB, "steady noise with the average spectrum of speech"),
        Kind("white", "noise", "dB SNR", LEVELS_DB, "steady noise with the same power in every hertz"),
        Kind(
            "telephone",
            "transmission",
            "kbit/s",
            (128.0, 64.0, 12.2, 4.75),
            "300 to 3400 Hz at 8 kHz: as it is (128), G.711 µ-law (64), mobile AMR (12.2 and 4.75)",
        ),
        Kind("opus", "transmission", "kbit/s", (24.0, 12.0, 6.0), "the codec of internet calls and voice messages"),
        Kind("mp3", "transmission", "kbit/s", (64.0, 32.0, 16.0), "MP3 at 16 kHz"),
        Kind(
            "clipping",
            "recording",
            "% of samples",
            (1.0, 5.0, 10.0, 25.0),
            "the loudest samples are cut flat, as by a recording level that is too high",
        ),
        Kind(
            "reverberation",
            "recording",
            "s RT60",
            (0.3, 0.6, 1.0, 2.0),
            "made-up rooms: direct sound, then noise that decays by 60 dB in this time and holds as much energy",
        ),
        Kind(
            "spectral tilt",
            "recording",
            "dB/octave",
            (-6.0, -3.0, 3.0, 6.0),
            "duller (below 0) or sharper microphones; the loudness stays",
        ),
        Kind("gain", "recording", "dB", (-30.0, -20.0, -10.0, 10.0), "quieter or louder as a whole"),
        Kind("later", "small changes", "ms", (5.0, 10.0), "everything comes a little later, after silence"),
        Kind("faint noise", "small changes", "dB SNR", (60.0, 50.0, 40.0), "white noise that is hardly heard"),
        Kind(
            "trimmed start",
            "time",
            "ms of speech",
            (0.0, 100.0, 250.0, 500.0),
            "what comes before speech is cut off, and this much of the speech",
        ),
        Kind("repeated", "time", "times", (2.0, 3.0), "the same clip, several times over"),
    )
}


@dataclass(frozen=True, eq=False)
class Voice:
    """A clip to be changed: its name, samples (samples,), where speech is (samples,) bool, and what noise there is.

    ``noises`` holds a source for "environment", "babble" and "speech-shaped"; a kind without its source cannot be made.
    """

    name: str
    samples: np.ndarray
    active: np.ndarray
    noises: Mapping[str, Source]


def changed(voice: Voice, kind: str, level: float) -> np.ndarray:
    """Return the clip (samples,) after a change, in single precision; only cuts and repeats alter its length.

    Raises:
        SettingError: there is no such kind of change, or no noise for it.
    """
    if kind not in KINDS:
        raise SettingError(f"There is no change called '{kind}'; there are {', '.join(KINDS)}.")
    if KINDS[kind].family == "noise" or kind == "faint noise":
        source = {"white": white, "faint noise": white, **voice.noises}.get(kind)
        if source is None:
            raise SettingError(f"There is no noise for '{kind}'; give a folder of recordings of noise.")
        added = source(len(voice.samples), _generator(f"{kind} {voice.name}"))
        heard = voice.active if voice.active.any() else None
        return mix_at_snr(voice.samples, added, level, active=heard)
    return _CHANGES[kind](voice, level).astype(np.float32)


def telephone(samples: np.ndarray, kbits: float) -> np.ndarray:
    """Return speech after a telephone line: 300–3400 Hz, 8 kHz, and what the bit rate says is coded how.

    128 is 16-bit samples, 64 G.711 µ-law, what is below AMR narrow band (3GPP TS 26.071).
    """
    narrow = soxr.resample(samples, SAMPLE_RATE, TELEPHONE_RATE)
    band = butter(6, TELEPHONE_BAND_HZ, "bandpass", fs=TELEPHONE_RATE, output="sos")
    narrow = sosfiltfilt(band, narrow)
    if kbits < 128:
        narrow = coded(narrow, TELEPHONE_RATE, "pcm_mulaw" if kbits == 64 else "libopencore_amrnb", kbits)
    return _of_length(soxr.resample(narrow, TELEPHONE_RATE, SAMPLE_RATE), len(samples))


def coded(samples: np.ndarray, rate: int, codec: str, kbits: float) -> np.ndarray:
    """Return (samples,) after coding and decoding by FFmpeg, as long and at the same time as before; nothing is stored.

    Args:
        samples: full scale at ±1; what is louder is cut flat, as a codec does.
        rate: in Hz; one that the codec takes.
        codec: FFmpeg's name of an encoder.
        kbits: bit rate in kbit/s.
    """
    import av

    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", encoder.codec.audio_formats[0]
    encoder.time_base, encoder.bit_rate = Fraction(1, rate), round(1000 * kbits)
    encoder.open()
    step = encoder.frame_size or rate // 50
    filled = np.pad(samples, (0, -len(samples) % step + 2 * rate // 10))
    whole = np.clip(np.round(filled * 32767), -32768, 32767).astype(np.int16)
    fitting = av.AudioResampler(format=encoder.format, layout="mono", rate=rate)
    packets = []
    for start in range(0, len(whole) // step * step, step):
        frame = av.AudioFrame.from_ndarray(whole[None, start : start + step], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, encoder.time_base
        for part in fitting.resample(frame):
            packets += encoder.encode(part)
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create(_DECODERS.get(codec, codec), "r")
    decoder.sample_rate, decoder.layout = rate, "mono"
    decoder.extradata = encoder.extradata
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + list(decoder.decode(None))
    plain = av.AudioResampler(format="flt", layout="mono", rate=rate)
    pieces = [part.to_ndarray()[0] for frame in (*frames, None) for part in plain.resample(frame)]
    return _in_time(np.concatenate(pieces), samples, round(LONGEST_DELAY_S * rate))


_DECODERS = {"libmp3lame": "mp3"}


def room(samples: np.ndarray, rt60_s: float) -> np.ndarray:
    """Return speech in a made-up room, as long and as loud as before.

    Its impulse response is the direct sound and, from 2.5 ms on, white noise under an envelope that falls by 60 dB in
    ``rt60_s``; direct and reverberant sound hold the same energy (a source at the critical distance). The tail after
    the clip is cut off.
    """
    tail = np.arange(round(1.2 * rt60_s * SAMPLE_RATE)) / SAMPLE_RATE
    response = _generator(f"room {rt60_s}").normal(size=len(tail)) * 10 ** (-3 * tail / rt60_s)
    response[tail < EARLIEST_ECHO_S] = 0
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1
    return _as_loud(fftconvolve(samples, response)[: len(samples)], samples)


def tilted(samples: np.ndarray, db_per_octave: float) -> np.ndarray:
    """Return speech with its spectrum tilted about 1 kHz from 50 Hz up, as loud as before."""
    hz = np.maximum(np.fft.rfftfreq(2 * len(samples), 1 / SAMPLE_RATE), 50.0)
    gains = 10 ** (db_per_octave * np.log2(hz / 1000) / 20)
    return _as_loud(np.fft.irfft(gains * np.fft.rfft(samples, 2 * len(samples)))[: len(samples)], samples)


def clipped(samples: np.ndarray, percent: float) -> np.ndarray:
    """Return speech whose loudest samples, this share of all, are cut flat."""
    top = float(np.quantile(np.abs(samples), 1 - percent / 100))
    return np.clip(samples, -top, top)


def trimmed(voice: Voice, speech_ms: float) -> np.ndarray:
    """Return the clip from this far into its speech on; at least a third of a second stays."""
    begin = int(np.argmax(voice.active)) if voice.active.any() else 0
    start = begin + round(speech_ms / 1000 * SAMPLE_RATE)
    return voice.samples[max(0, min(start, len(voice.samples) - SAMPLE_RATE // 3)) :]


def _later(samples: np.ndarray, ms: float) -> np.ndarray:
    count = round(ms / 1000 * SAMPLE_RATE)
    return np.concatenate([np.zeros(count, samples.dtype), samples])[: len(samples)]


_CHANGES: dict[str, Callable[[Voice, float], np.ndarray]] = {
    "telephone": lambda voice, level: telephone(voice.samples, level),
    "opus": lambda voice, level: coded(voice.samples, SAMPLE_RATE, "libopus", level),
    "mp3": lambda voice, level: coded(voice.samples, SAMPLE_RATE, "libmp3lame", level),
    "clipping": lambda voice, level: clipped(voice.samples, level),
    "reverberation": lambda voice, level: room(voice.samples, level),
    "spectral tilt": lambda voice, level: tilted(voice.samples, level),
    "gain": lambda voice, level: voice.samples * 10 ** (level / 20),
    "later": lambda voice, level: _later(voice.samples, level),
    "trimmed start": trimmed,
    "repeated": lambda voice, level: np.tile(voice.samples, round(level)),
}


def _generator(words: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little"))


def _as_loud(changed_: np.ndarray, before: np.ndarray) -> np.ndarray:
    level = power(changed_)
    return changed_ * np.sqrt(power(before) / level) if level > 0 else changed_


def _in_time(late: np.ndarray, before: np.ndarray, longest: int) -> np.ndarray:
    """Return what a codec gave without its delay, as long as before."""
    similarity = fftconvolve(late, before[::-1])[len(before) - 1 : len(before) + longest]
    return _of_length(late[int(np.argmax(similarity)) :], len(before))


def _of_length(samples: np.ndarray, length: int) -> np.ndarray:
    return np.pad(samples, (0, max(0, length - len(samples))))[:length]
