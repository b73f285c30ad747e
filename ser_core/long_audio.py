"""Recordings of up to an hour, decoded piece by piece so that memory does not grow with their length.

The compressed file stays as it is (in memory, or on the disk where it was found); 16 kHz mono samples pass through in
blocks. Channels become one as the first 30 s say (see ``ser_core.audio.channel_to_take``), the same all through. In a
server another process decodes, as in ``ser_core.audio``: it is sent the file once and asked for a piece at a time.
"""

import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_core import workers
from ser_core.audio import (
    MAX_BYTES,
    SAMPLE_RATE,
    Recording,
    channel_to_take,
    clean_name,
    decoder_limit_s,
    from_samples,
    in_a_sentence,
    mixed,
    resampled,
)
from ser_core.clipping import Clipping
from ser_core.containers import Bytes, open_stream
from ser_core.errors import AudioError

MAX_SECONDS = 3_900.0
_TRIAL_S = 30.0
_LEAD_S = 2
_PIECE_S = 5


@dataclass(frozen=True, eq=False)
class LongSound:
    """A file that can be decoded from its start, or in part.

    ``data`` is the whole file; ``stated_s`` is how long it says it is, None where it does not say; ``channel`` the
    channel that is taken, None for the mean of all.
    """

    data: Bytes
    name: str
    sha256: str
    stated_s: float | None
    channel: int | None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the whole recording as mono samples (samples,) at 16 kHz, block by block.

        Raises:
            AudioError: the file is damaged, cut off or too long; what came before it was yielded.
        """
        for _, block in self._blocks_from(0):
            yield block

    def stretch(self, start_s: float, end_s: float) -> Recording:
        """Return a part as a recording of its own, whose time 0 is ``start_s``; the same samples as in ``blocks``.

        Raises:
            AudioError: the part lies outside the recording, or is silent or too short.
        """
        start, end = (round(max(0.0, at_s) * SAMPLE_RATE) for at_s in (start_s, end_s))
        # Whole seconds, so that the resampler's phase is that of the whole recording.
        lead_s = max(0, start // SAMPLE_RATE - _LEAD_S)
        parts = []
        for first, block in self._blocks_from(lead_s):
            parts.append(block[max(0, start - first) : max(0, end - first)])
            if first + len(block) >= end:
                break
        samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        if len(samples) < end - start - 1:
            raise AudioError(f"'{self.name}' has no sound from {start_s:.2f} to {end_s:.2f} s; choose another part.")
        return from_samples(samples, SAMPLE_RATE, part_name(self.name, start_s, end_s))

    def _blocks_from(self, from_s: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each block with the place of its first sample at 16 kHz, from a second on where that can be entered."""
        if not workers.decodes_apart():
            yield from _blocks(self.data, self.name, self.channel, from_s)
            return
        limit_s, data = decoder_limit_s(len(self.data)), bytes(self.data)
        with in_a_sentence(self.name):
            yield from workers.DECODERS.pieces(limit_s, _pieces, data, self.name, self.channel, from_s)


def _blocks(data: Bytes, name: str, channel: int | None, from_s: int) -> Iterator[tuple[int, np.ndarray]]:
    stream = open_stream(data, name)
    if from_s:
        stream = open_stream(data, name, from_s * stream.sample_rate)
    at = stream.first // stream.sample_rate * SAMPLE_RATE
    for table in resampled(stream, name, MAX_SECONDS, Clipping(stream.channels, stream.lossy)):
        yield at, mixed(table, channel)
        at += len(table)


def _pieces(data: bytes, name: str, channel: int | None, from_s: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield some blocks at a time, joined; those before a fault come before it."""
    held: list[tuple[int, np.ndarray]] = []
    fault = None
    try:
        for block in _blocks(data, name, channel, from_s):
            held.append(block)
            if block[0] - held[0][0] >= _PIECE_S * SAMPLE_RATE:
                yield _joined(held)
                held = []
    except AudioError as told:
        fault = told
    if held:
        yield _joined(held)
    if fault is not None:
        raise fault


def _joined(blocks: list[tuple[int, np.ndarray]]) -> tuple[int, np.ndarray]:
    return blocks[0][0], np.concatenate([samples for _, samples in blocks])


def long_sound(data: Bytes, name: str) -> LongSound:
    """Return the bytes of an audio file as a recording of up to 65 minutes.

    Raises:
        AudioError: it is empty, no audio file, too large or too long.
    """
    name = clean_name(name)
    if not len(data):
        raise AudioError(f"'{name}' is empty (0 bytes); record it again or choose another file.")
    if len(data) > MAX_BYTES:
        raise AudioError(f"'{name}' is larger than {MAX_BYTES >> 20} MiB; export it as FLAC or MP3.")
    if workers.decodes_apart():
        with in_a_sentence(name):
            stated_s, channel = workers.DECODERS.ask(decoder_limit_s(len(data)), _tried, bytes(data), name)
    else:
        stated_s, channel = _tried(data, name)
    return LongSound(data, name, hashlib.sha256(data).hexdigest(), stated_s, channel)


def _tried(data: Bytes, name: str) -> tuple[float | None, int | None]:
    """Return how long a file says it is, and which channel its beginning stands for (see ``LongSound``)."""
    stream = open_stream(data, name)
    stated_s = None if stream.frames is None else stream.frames / stream.sample_rate
    trial: list[np.ndarray] = []
    for table in resampled(stream, name, MAX_SECONDS, Clipping(stream.channels, stream.lossy)):
        trial.append(table)
        if sum(map(len, trial)) >= _TRIAL_S * SAMPLE_RATE:
            break
    return stated_s, channel_to_take(np.concatenate(trial))


def open_long(path: str | Path) -> LongSound:
    """Return the recording in a file, which is read from the disk as it is needed.

    Raises:
        AudioError: the path is no readable file, or ``long_sound`` refuses it.
    """
    file = Path(path)
    name = clean_name(file.name)
    try:
        with file.open("rb") as opened:
            if not file.stat().st_size:
                return long_sound(b"", name)
            return long_sound(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ), name)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "its path is not valid"
        raise AudioError(f"'{name}' cannot be read ({reason}); check the path and the disk.") from None


def part_name(name: str, start_s: float, end_s: float) -> str:
    """Return what a part of a recording is called: its name and the part's minutes and seconds."""
    return f"{name} {clock(start_s)}–{clock(end_s)}"


def clock(at_s: float) -> str:
    """Return a time as minutes:seconds with tenths, as in 12:03.4."""
    tenths = round(at_s * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"
