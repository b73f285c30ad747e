"""Recordings of up to an hour, decoded piece by piece so that memory does not grow with their length.

The compressed file stays as it is (in memory, or on the disk where it was found); 16 kHz mono samples pass through in
blocks. Channels become one as the first 30 s say (see ``ser_core.audio.channel_to_take``), the same all through.
"""

import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_core.audio import (
    MAX_BYTES,
    SAMPLE_RATE,
    Recording,
    channel_to_take,
    clean_name,
    from_samples,
    mixed,
    resampled,
)
from ser_core.clipping import Clipping
from ser_core.containers import Bytes, open_stream
from ser_core.errors import AudioError

MAX_SECONDS = 3_900.0
_TRIAL_S = 30.0
_LEAD_S = 2


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
        stream = open_stream(self.data, self.name)
        if from_s:
            stream = open_stream(self.data, self.name, from_s * stream.sample_rate)
        at = stream.first // stream.sample_rate * SAMPLE_RATE
        for table in resampled(stream, self.name, MAX_SECONDS, Clipping(stream.channels, stream.lossy)):
            yield at, mixed(table, self.channel)
            at += len(table)


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
    stream = open_stream(data, name)
    stated_s = None if stream.frames is None else stream.frames / stream.sample_rate
    tables = resampled(stream, name, MAX_SECONDS, Clipping(stream.channels, stream.lossy))
    trial: list[np.ndarray] = []
    for table in tables:
        trial.append(table)
        if sum(map(len, trial)) >= _TRIAL_S * SAMPLE_RATE:
            break
    return LongSound(data, name, hashlib.sha256(data).hexdigest(), stated_s, channel_to_take(np.concatenate(trial)))


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
