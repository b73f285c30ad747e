"""From bytes to a checked mono recording at 16 kHz.

Conventions: samples are float32 with full scale at ±1, times are seconds from the first sample, levels are dB
relative to full scale (dBFS). Containers are opened by :mod:`ser_core.containers`. Nothing is written to disk, and no
more is decoded than the longest clip allowed. In a server this is done by other processes (``ser_core.workers``), as
the decoders are native code: what ends, stops or floods one of them is told as a fault of the file.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from ser_core import workers
from ser_core.clipping import Clipping
from ser_core.containers import BLOCK, DamagedError, Stream, open_stream
from ser_core.errors import AudioError, short
from ser_core.settings import settings

SAMPLE_RATE = 16_000
MIN_SECONDS = 0.3
MIN_SOURCE_RATE = 4_000
MAX_SOURCE_RATE = 384_000
MAX_CHANNELS = 8
# Two minutes of more would take over five seconds to resample.
MAX_SAMPLES_PER_S = 8 * 96_000
MAX_BYTES = 1 << 30
# 16-bit audio steps at -90 dBFS: a peak under -80 dBFS spans at most three steps, too few to hold a voice.
SILENCE_DBFS = -80.0
# 20 dB over full scale happens only when integers were stored as floats.
MAX_PEAK = 10.0

DECODER_S = 5.0
DECODER_BYTES_PER_S = 10_000_000

_CUT_OFF_S = 0.1


@dataclass(frozen=True)
class Source:
    """What the file was before it was decoded.

    `peak_dbfs` and `clipped_share` (0 … 1) are those of its worst channel at its own sample rate, NaN if unknown;
    `downmix` says how several channels became one: "" (there was one), "mean" or "loudest channel".
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    lossy: bool = False
    downmix: str = ""
    peak_dbfs: float = math.nan
    clipped_share: float = math.nan


@dataclass(frozen=True, eq=False)
class Recording:
    """Mono float32 samples at 16 kHz, shape (samples,), read-only; time 0 is the first sample."""

    samples: np.ndarray
    name: str
    sha256: str
    source: Source

    @property
    def sample_rate(self) -> int:
        """Samples per second; the same for every recording."""
        return SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


def read(path: str | Path, *, max_seconds: float | None = None) -> Recording:
    """Return the recording in a file; see `decode`.

    Raises:
        AudioError: the path is no readable file, or its content is refused by `decode`.
    """
    file = Path(path)
    name = clean_name(file.name)
    try:
        if file.is_dir():
            raise AudioError(f"'{name}' is a folder; give the path of one audio file.")
        if not file.exists():
            raise AudioError(f"'{name}' does not exist; check the path and its spelling.")
        if not file.is_file():
            raise AudioError(f"'{name}' is not a regular file; give the path of an audio file.")
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise AudioError(_too_big(name, size))
        data = file.read_bytes()
    except PermissionError:
        raise AudioError(f"'{name}' may not be read by this user; change its permissions or copy it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its path is not valid"
        raise AudioError(f"'{name}' cannot be read ({reason}); check the path and the disk.") from None
    return decode(data, file.name, max_seconds=max_seconds)


def decode(data: bytes, name: str, *, max_seconds: float | None = None) -> Recording:
    """Return the recording held by the bytes of an audio file.

    Channels are averaged; where the mean would cancel (less than a tenth of the power that uncorrelated channels leave;
    for two equal channels a correlation below -0.9), the loudest channel is taken. Resampling is soxr's VHQ; time 0
    stays time 0, and an encoder's delay is cut off where the file states it (all formats but raw AAC streams do).

    A file that holds less than its header promises is refused; streams that promise nothing (raw AAC, MP3 without a
    Xing header, WebM straight from a browser) may lack damaged frames unnoticed.

    Args:
        data: the whole file.
        name: for messages only; reduced to its base name, control characters removed.
        max_seconds: the longest clip allowed; by default that of the settings.

    Raises:
        AudioError: with a sentence that says what is wrong and what to do.
    """
    name = clean_name(name)
    data = bytes(data)
    if not data:
        raise AudioError(f"'{name}' is empty (0 bytes); record it again or choose another file.")
    if len(data) > MAX_BYTES:
        raise AudioError(_too_big(name, len(data)))
    limit_s = settings().max_seconds if max_seconds is None else max_seconds
    if not workers.decodes_apart():
        return _decoded(data, name, limit_s)
    with in_a_sentence(name):
        found: Recording = workers.DECODERS.ask(decoder_limit_s(len(data)), _decoded, data, name, limit_s)
    found.samples.flags.writeable = False
    return found


def _decoded(data: bytes, name: str, limit_s: float) -> Recording:
    return _recording(open_stream(data, name), name, hashlib.sha256(data).hexdigest(), limit_s)


def decoder_limit_s(size: int) -> float:
    """Return how long another process may take to receive so many bytes and decode what was asked of them."""
    return DECODER_S + size / DECODER_BYTES_PER_S


@contextmanager
def in_a_sentence(name: str) -> Iterator[None]:
    """Say of a file what befell the process that decoded it.

    Raises:
        AudioError: that died, was ended as it took too long, or asked for too much memory.
    """
    what = ""
    try:
        yield
    except workers.EndedError:
        what = "the decoder broke down on it"
    except workers.LateError:
        what = "the decoder came to no end with it and was stopped"
    except MemoryError:
        what = f"the decoder asked for more than {workers.DECODER_BYTES / 1e9:.1f} GB of memory for it"
    if what:
        raise AudioError(f"'{name}' could not be read: {what}; convert it to WAV and try again.")


def from_samples(samples: np.ndarray, sample_rate: int, name: str, *, max_seconds: float | None = None) -> Recording:
    """Return a recording made of samples in memory, checked and resampled like a file.

    Args:
        samples: shape (samples,) or (samples, channels); floats with full scale at ±1, or integers, whose full scale
            is that of their type. The hash is that of their float32 values in C order.
        sample_rate: in Hz.
        name: see `decode`.
        max_seconds: see `decode`.

    Raises:
        AudioError: as `decode` does.
    """
    name = clean_name(name)
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise AudioError(
            f"'{name}' has samples of shape {array.shape} and type {array.dtype}; "
            "give real numbers of shape (samples,) or (samples, channels)."
        )
    if array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        middle = (info.max + 1) / 2 if array.dtype.kind == "u" else 0.0
        array = (array.astype(np.float64) - middle) / (info.max + 1 - middle)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    table = array[:, None] if array.ndim == 1 else array
    if not table.size:
        raise AudioError(f"'{name}' is empty (0 samples); record it again or choose another file.")
    blocks = (table[start : start + BLOCK] for start in range(0, len(table), BLOCK))
    stream = Stream("memory", "float32", False, sample_rate, table.shape[1], len(table), blocks)
    limit_s = settings().max_seconds if max_seconds is None else max_seconds
    return _recording(stream, name, hashlib.sha256(array.tobytes()).hexdigest(), limit_s)


def clean_name(name: str) -> str:
    """Return a file name fit for display and sentences: base name only, no control or direction characters, ``short``.

    It is not escaped for HTML or Markdown; whoever puts it on a page does that.
    """
    base = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    # U+200C/D (joiners) stay: Urdu and Persian names need them.
    kept = "".join(c for c in base if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") and c not in _DIRECTION)
    kept = short(kept.strip()).strip()
    return kept if kept.strip(".") else "recording"


_DIRECTION = {chr(code) for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def _recording(stream: Stream, name: str, sha256: str, limit_s: float) -> Recording:
    clipping = Clipping(stream.channels, stream.lossy)
    table = np.concatenate(list(resampled(stream, name, limit_s, clipping)))
    channel = channel_to_take(table)
    mono = mixed(table, channel)
    middle = float(mono.mean())
    level = level_db(float(np.abs(mono - middle).max()))
    if level < SILENCE_DBFS and level_db(abs(middle)) > SILENCE_DBFS:
        raise AudioError(
            f"'{name}' holds only a constant offset and no sound; check the microphone and its cable, and record again."
        )
    if level < SILENCE_DBFS:
        raise AudioError(
            f"'{name}' is silent (its peak stays under {SILENCE_DBFS:.0f} dB of full scale); "
            "check that the right microphone was on, and record again."
        )
    mono.flags.writeable = False
    source = Source(
        container=stream.container,
        codec=stream.codec,
        sample_rate=stream.sample_rate,
        channels=stream.channels,
        lossy=stream.lossy,
        downmix="" if stream.channels == 1 else "mean" if channel is None else "loudest channel",
        peak_dbfs=level_db(float(clipping.peaks.max())),
        clipped_share=float(clipping.shares.max()),
    )
    return Recording(mono, name, sha256, source)


def resampled(stream: Stream, name: str, limit_s: float, clipping: Clipping) -> Iterator[np.ndarray]:
    """Yield the samples of a stream at 16 kHz, shape (samples, channels), block by block, and check them on the way.

    Args:
        stream: an opened file.
        name: for messages.
        limit_s: the longest recording allowed.
        clipping: told every block as it was in the file.

    Raises:
        AudioError: a rate, a number of channels, a length or a value that is not taken, damage, or a cut-off end.
    """
    rate, channels = stream.sample_rate, stream.channels
    if not MIN_SOURCE_RATE <= rate <= MAX_SOURCE_RATE:
        raise AudioError(
            f"'{name}' claims a sample rate of {rate:,} Hz; speech needs {MIN_SOURCE_RATE:,} to "
            f"{MAX_SOURCE_RATE:,} Hz, so export it again, best at 16,000 Hz or more."
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"'{name}' has {channels:,} channels and at most {MAX_CHANNELS} are read; "
            "export the speaker's channel alone."
        )
    if rate * channels > MAX_SAMPLES_PER_S:
        raise AudioError(
            f"'{name}' has {channels} channels at {rate:,} Hz, far more than speech needs; export one channel "
            "alone, best at 16,000 to 48,000 Hz."
        )
    if stream.frames is not None and stream.frames > limit_s * rate:
        raise AudioError(_too_long(name, f"is {_span(stream.frames / rate)} long and", limit_s))
    resampler = None
    if rate != SAMPLE_RATE:
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, channels, dtype="float32", quality="VHQ")
    done = stream.first
    try:
        for block in stream.blocks:
            if stream.container == "MP4" and stream.frames is not None:
                # The last AAC frame is padded; the file states the length without that padding.
                block = block[: max(0, stream.frames - done)]
            if not len(block):
                continue
            finite = np.isfinite(block)
            if not finite.all():
                at_s = (done + int(np.argmin(finite.all(axis=1)))) / rate
                raise AudioError(
                    f"'{name}' holds values that are no numbers (NaN or infinite, first at {at_s:.2f} s); "
                    "export it again as 16-bit WAV."
                )
            done += len(block)
            if done > limit_s * rate:
                raise AudioError(_too_long(name, "is too long:", limit_s))
            clipping.add(block)
            yield resampler.resample_chunk(block) if resampler else block
    except DamagedError:
        where = f"after {done / rate:.1f} s" if done else "from the start"
        raise AudioError(f"'{name}' is damaged {where}; copy or export it again.") from None
    if stream.frames is not None and stream.frames - done > _CUT_OFF_S * rate:
        raise AudioError(
            f"'{name}' is cut off or damaged: {_span(stream.frames / rate)} are promised and {_span(done / rate)} "
            "can be decoded; copy or export it again."
        )
    if done < MIN_SECONDS * rate:
        raise AudioError(
            f"'{name}' is too short ({done / rate:.2f} s); choose at least {MIN_SECONDS} s, better one whole utterance."
        )
    if resampler:
        yield resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    if clipping.peaks.max() > MAX_PEAK:
        raise AudioError(
            f"'{name}' holds values up to {clipping.peaks.max():,.0f} where full scale is 1; "
            "export it again as 16-bit WAV."
        )


def _too_big(name: str, size: int) -> str:
    return (
        f"'{name}' is {size / 2**20:.0f} MiB large and the limit is {MAX_BYTES >> 20} MiB; cut out the part you need."
    )


def _too_long(name: str, what: str, limit_s: float) -> str:
    # Other limits are not moved by the setting.
    or_else = ", or set SERSCOPE_MAX_SECONDS higher" if limit_s == settings().max_seconds else ""
    return f"'{name}' {what} the limit is {_span(limit_s)}; cut out the part to explain{or_else}."


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def channel_to_take(table: np.ndarray) -> int | None:
    """Return the channel of (samples, channels) that stands for all, None where their mean does."""
    channels = table.shape[1]
    if channels == 1:
        return 0
    powers = np.mean(np.square(table, dtype=np.float64), axis=0)
    mean = table.mean(axis=1)
    cancels = np.mean(np.square(mean, dtype=np.float64)) < 0.1 * powers.sum() / channels**2
    return int(np.argmax(powers)) if cancels else None


def mixed(table: np.ndarray, channel: int | None) -> np.ndarray:
    """Return one channel (samples,) of (samples, channels): that of ``channel_to_take``, or the mean."""
    one: np.ndarray = table.mean(axis=1) if channel is None else np.array(table[:, channel])
    return one


def level_db(amplitude: float) -> float:
    """Return an amplitude (full scale 1) in dB of full scale; minus infinity for nothing."""
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
