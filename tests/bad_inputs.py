"""Inputs that must be refused with one clear sentence, and awkward ones that must be accepted with a warning.

Everything is made in code, from a synthetic voice. Shared by the tests of the library, the page and the command line.
"""

import functools
import gzip
import io
import math
import struct
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import av
import numpy as np
import soundfile as sf

RATE = 16_000


class BadInput(NamedTuple):
    """Bytes to refuse: `words` stand in the message."""

    name: str
    make: Callable[[], bytes]
    file_name: str
    words: str


class AwkwardInput(NamedTuple):
    """Bytes to accept: `words` stand in one of the warnings, or "" where no warning is due for it."""

    name: str
    make: Callable[[], bytes]
    file_name: str
    words: str


@functools.cache
def voice(seconds: float = 2.0, rate: int = RATE, pause_s: float = 0.4) -> np.ndarray:
    """Return a synthetic voice of peak 0.5, shape (samples,): four syllables a second between two pauses.

    A harmonic buzz through four moving formants, with a hiss between syllables and faint noise all along.
    """
    time = np.arange(round(seconds * rate)) / rate
    f0 = 125 * 2 ** (0.25 * np.sin(2 * np.pi * 0.6 * time + 0.5) + 0.06 * np.sin(2 * np.pi * 2.3 * time))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    vowel = np.sin(4 * np.pi * time)
    formants = (
        (500 + 220 * vowel, 70),
        (1500 + 600 * np.sin(4 * np.pi * time + 1), 100),
        (2500 + 150 * vowel, 150),
        (np.full_like(time, 3500), 220),
    )
    buzz = np.zeros_like(time)
    for harmonic in range(1, 60):
        frequency = harmonic * f0
        gain = np.ones_like(time)
        for middle, width in formants:
            gain *= middle**2 / np.hypot(middle**2 - frequency**2, width * frequency)
        buzz += gain * np.sin(harmonic * phase) / harmonic * (frequency < 0.48 * rate)
    hiss = np.diff(np.random.default_rng(1).standard_normal(len(time)), prepend=0)
    beat = np.pi * 4 * (time - pause_s)
    sound = buzz / np.abs(buzz).max() * (0.1 + 0.9 * np.sin(beat) ** 2) + 0.02 * hiss * np.clip(np.cos(beat), 0, 1) ** 8
    sound *= np.clip((time - pause_s) / 0.03, 0, 1) * np.clip((seconds - pause_s - time) / 0.05, 0, 1)
    faint = 1e-4 * np.random.default_rng(2).standard_normal(len(time))
    return (0.5 * sound / np.abs(sound).max() + faint).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    """Return samples of shape (samples,) or (samples, channels) as a file that libsndfile writes."""
    out = io.BytesIO()
    sf.write(out, samples, rate, format=container, subtype=subtype)
    return out.getvalue()


def flac(samples: np.ndarray, rate: int = RATE) -> bytes:
    return wav(samples, rate, container="FLAC")


def ffmpeg(
    samples: np.ndarray, rate: int, container: str, codec: str, live: bool = False, layout: str = "mono"
) -> bytes:
    """Return samples as a file that FFmpeg writes: ("ipod", "aac"), ("webm", "libopus"), ("adts", "aac") …

    Every channel of the layout holds the same.
    """
    out = io.BytesIO()
    with av.open(out, "w", format=container, options={"live": "1"} if live else {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        packed = np.repeat(samples.astype(np.float32), stream.layout.nb_channels)[None]
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        for part in av.AudioResampler(format=stream.format.name, layout=layout, rate=rate).resample(frame):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return out.getvalue()


def film_without_sound() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode(None))
    return out.getvalue()


def cut(data: bytes, share: float) -> bytes:
    return data[: round(share * len(data))]


def scramble(data: bytes, at: float = 0.5, count: int = 400) -> bytes:
    start = round(at * len(data))
    return data[:start] + np.random.default_rng(3).bytes(count) + data[start + count :]


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("clip.wav", wav(voice()))
    return out.getvalue()


def unstated_length(data: bytes) -> bytes:
    """Return a FLAC file whose header says "unknown" for the number of samples (36 bits from bit 108 of STREAMINFO)."""
    return data[:21] + bytes([data[21] & 0xF0, 0, 0, 0, 0]) + data[26:]


def with_rate(data: bytes, rate: int) -> bytes:
    """Return a PCM WAV file whose header claims another sample rate."""
    return data[:24] + struct.pack("<I", rate) + data[28:]


def noise(level: float, seconds: float = 2.0) -> np.ndarray:
    return (level * np.random.default_rng(4).standard_normal(round(seconds * RATE))).astype(np.float32)


def spoiled(value: float) -> bytes:
    samples = voice().copy()
    samples[RATE] = value
    return wav(samples, subtype="FLOAT")


def opposite(samples: np.ndarray) -> np.ndarray:
    return np.stack([samples, -0.8 * samples], axis=1)


def telephone() -> bytes:
    spectrum = np.fft.rfft(voice())
    frequencies = np.fft.rfftfreq(len(voice()), 1 / RATE)
    spectrum[(frequencies < 300) | (frequencies > 3400)] = 0
    return wav(np.fft.irfft(spectrum).astype(np.float32))


def placeholder_length(data: bytes) -> bytes:
    """Return a WAV file with the sizes that a recorder writes before it knows them."""
    at = data.index(b"data") + 4
    return data[:4] + b"\xff" * 4 + data[8:at] + b"\xff" * 4 + data[at + 4 :]


BAD_INPUTS: tuple[BadInput, ...] = (
    BadInput("empty file", lambda: b"", "empty.wav", "is empty (0 bytes)"),
    BadInput("text", lambda: b"Dear colleague, please find attached.\n" * 30, "letter.wav", "is a text file"),
    BadInput("text in UTF-16", lambda: ("Guten Tag, anbei. " * 30).encode("utf-16"), "brief.wav", "is a text file"),
    BadInput("web page", lambda: b"<!doctype html><title>404</title>" * 9, "clip.mp3", "is a text file"),
    BadInput("playlist", lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "list.m4a", "is a text file"),
    BadInput("concat script", lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n", "all.mp3", "is a text file"),
    BadInput("image", lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), "photo.wav", "is an image (PNG)"),
    BadInput("photograph", lambda: b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(200), "photo.mp3", "is an image (JPEG)"),
    BadInput("PDF", lambda: b"%PDF-1.7\n" + bytes(200), "report.wav", "is a PDF document"),
    BadInput("ZIP archive", archive, "clips.wav", "is a ZIP archive"),
    BadInput("gzip archive", lambda: gzip.compress(wav(voice())), "clip.flac", "is a gzip archive"),
    BadInput("MIDI", lambda: b"MThd\x00\x00\x00\x06" + bytes(50), "song.mp3", "is a MIDI file"),
    BadInput("zeros", lambda: bytes(5000), "download.wav", "begins with zeros only"),
    BadInput("random bytes", lambda: np.random.default_rng(7).bytes(5000), "x.wav", "not an audio file"),
    BadInput("WAV header cut off", lambda: wav(voice())[:30], "head.wav", "is cut off"),
    BadInput("WAV header damaged", lambda: scramble(wav(voice()), 0.0002, 20), "head.wav", "header is damaged"),
    BadInput("FLAC header alone", lambda: flac(voice())[:30], "head.flac", "header is damaged"),
    BadInput("WAV cut in half", lambda: cut(wav(voice()), 0.5), "half.wav", "about 50 % of this WAV file is missing"),
    BadInput("FLAC cut in half", lambda: cut(flac(voice()), 0.5), "half.flac", "is damaged after"),
    BadInput("FLAC payload damaged", lambda: scramble(flac(voice())), "scratched.flac", "is damaged"),
    BadInput(
        "OGG cut off", lambda: cut(wav(voice(), subtype="VORBIS", container="OGG"), 0.7), "half.ogg", "is cut off"
    ),
    BadInput(
        "OGG after OGG", lambda: 2 * wav(voice(), subtype="VORBIS", container="OGG"), "two.ogg", "several recordings"
    ),
    BadInput("FLAC after FLAC", lambda: 2 * flac(voice()), "two.flac", "several recordings"),
    BadInput("MP3 after MP3", lambda: 2 * _mp3(), "two.mp3", "several recordings"),
    BadInput(
        "MP3 after MP3 without a tag",
        lambda: 2 * wav(voice(), subtype="MPEG_LAYER_III", container="MP3"),
        "two.mp3",
        "several recordings",
    ),
    BadInput("MP3 cut in half", lambda: cut(_mp3(), 0.5), "half.mp3", "is cut off or damaged"),
    BadInput("M4A cut in half", lambda: cut(_m4a(), 0.5), "half.m4a", "header is damaged, cut off"),
    BadInput("M4A payload damaged", lambda: scramble(_m4a()), "scratched.m4a", "is damaged after"),
    BadInput("WebM cut in half", lambda: cut(_webm(), 0.5), "half.webm", "is cut off or damaged"),
    BadInput("raw AAC of noise", lambda: b"\xff\xf1\x60\x40\x10\x00" + bytes(900), "x.aac", "header is damaged"),
    BadInput("film without sound", film_without_sound, "film.mp4", "picture but no sound"),
    BadInput("too long", lambda: flac(np.tile(voice(), 300)), "session.flac", "the limit is 120.0 s"),
    BadInput("decoding bomb", lambda: flac(np.zeros(40 * 60 * RATE)), "bomb.flac", "is 40 min long"),
    BadInput(
        "decoding bomb of unstated length",
        lambda: unstated_length(flac(np.zeros(10 * 60 * RATE))),
        "bomb.flac",
        "is too long: the limit is 120.0 s",
    ),
    BadInput(
        "too long WebM",
        lambda: _webm(np.tile(voice(rate=48_000), 61), live=True),
        "long.webm",
        "is too long: the limit is 120.0 s",
    ),
    BadInput("no samples", lambda: wav(np.zeros(0)), "none.wav", "is too short (0.00 s)"),
    BadInput("too short", lambda: wav(voice()[RATE : RATE + 3200]), "ah.wav", "is too short (0.20 s)"),
    BadInput("digital silence", lambda: wav(np.zeros(2 * RATE)), "mute.wav", "is silent"),
    BadInput("last bit only", lambda: wav(noise(1e-5)), "mute.wav", "is silent"),
    BadInput("constant offset", lambda: wav(np.full(2 * RATE, 0.3)), "cable.wav", "only a constant offset"),
    BadInput("NaN", lambda: spoiled(math.nan), "nan.wav", "NaN or infinite, first at 1.00 s"),
    BadInput("infinity", lambda: spoiled(math.inf), "inf.wav", "NaN or infinite, first at 1.00 s"),
    BadInput("integers stored as floats", lambda: wav(voice() * 32768, subtype="FLOAT"), "int.wav", "full scale is 1"),
    BadInput("1 Hz", lambda: with_rate(wav(voice()), 1), "slow.wav", "claims a sample rate of 1 Hz"),
    BadInput("1 MHz", lambda: with_rate(wav(voice()), 1_000_000), "fast.wav", "claims a sample rate of 1,000,000 Hz"),
    BadInput("9 channels", lambda: wav(np.tile(voice()[:, None], 9)), "array.wav", "has 9 channels"),
    BadInput("1,024 channels", lambda: wav(np.full((5000, 1024), 0.1)), "array.wav", "has 1,024 channels"),
    BadInput("path as name", lambda: b"", "../../etc/passwd", "'passwd' is empty"),
    BadInput("Windows path as name", lambda: b"", "C:\\clips\\a.wav", "'a.wav' is empty"),
    BadInput("script as name", lambda: b"", "<script>alert(1)<", "'<script>alert(1)<' is empty"),
    BadInput("very long name", lambda: b"", "a" * 5000 + ".wav", "…aaaaaaaaaaa.wav' is empty"),
    BadInput("line break in name", lambda: b"", "clip\n\x1b[31m\u202eone.wav", "'clip[31mone.wav' is empty"),
    BadInput("no name", lambda: b"", "\x00/..", "'recording' is empty"),
)

AWKWARD_INPUTS: tuple[AwkwardInput, ...] = (
    AwkwardInput("8 kHz", lambda: wav(voice(rate=8000), 8000), "old.wav", "as telephone speech does"),
    AwkwardInput("telephone band at 16 kHz", telephone, "call.wav", "as telephone speech does"),
    AwkwardInput("11.025 kHz", lambda: wav(voice(rate=11_025), 11_025), "old.wav", "nothing over 5,512 Hz"),
    AwkwardInput("6 channels", lambda: wav(np.tile(voice()[:, None], 6)), "surround.wav", "6 channels were averaged"),
    AwkwardInput("clipped", lambda: wav((voice() * 6).clip(-1, 1)), "loud.wav", "is clipped"),
    AwkwardInput("clipped, then turned down", lambda: wav(voice().clip(-0.1, 0.1)), "soft.wav", "is clipped"),
    AwkwardInput("quiet", lambda: wav(voice() * 0.016), "far.wav", "is very quiet"),
    AwkwardInput("noise without speech", lambda: wav(noise(0.1)), "fan.wav", "No speech was found"),
    AwkwardInput("noisy", lambda: wav(voice() + noise(0.1)), "street.wav", "background noise is strong"),
    AwkwardInput("opposite channels", lambda: wav(opposite(voice())), "stereo.wav", "cancel each other out"),
    AwkwardInput("short", lambda: wav(voice(seconds=0.9, pause_s=0.1)), "word.wav", "is very short"),
    AwkwardInput("MP3", lambda: _mp3(), "clip.mp3", "compressed with loss"),
    AwkwardInput("MP3 with a tag at its end", lambda: _mp3() + b"TAG" + bytes(125), "clip.mp3", "compressed with loss"),
    AwkwardInput("raw AAC", lambda: ffmpeg(voice(), RATE, "adts", "aac"), "clip.aac", "may be late"),
    AwkwardInput("M4A", lambda: _m4a(), "clip.m4a", "compressed with loss (aac)"),
    AwkwardInput("WebM from a browser", lambda: _webm(live=True), "blob", "compressed with loss (opus)"),
    AwkwardInput("24 bits", lambda: wav(voice(), subtype="PCM_24"), "fine.wav", ""),
    AwkwardInput("float", lambda: wav(voice(), subtype="FLOAT"), "fine.wav", ""),
    AwkwardInput("wrong ending", lambda: flac(voice()), "clip.mp3", ""),
    AwkwardInput("sizes left open by a recorder", lambda: placeholder_length(wav(voice())), "clip.wav", ""),
    AwkwardInput("hostile name", lambda: wav(voice()), "../<img src=x onerror=alert(1)>\n.wav", ""),
)


def _mp3() -> bytes:
    return wav(voice(), subtype="MPEG_LAYER_III", container="MP3")


def _m4a() -> bytes:
    return ffmpeg(voice(), RATE, "ipod", "aac")


def _webm(samples: np.ndarray | None = None, live: bool = False) -> bytes:
    return ffmpeg(voice(rate=48_000) if samples is None else samples, 48_000, "webm", "libopus", live)
