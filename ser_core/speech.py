"""Where in a recording somebody speaks.

Voice activity comes from Silero VAD (Silero Team, https://github.com/snakers4/silero-vad, MIT), whose weights are part
of its package; nothing is fetched.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ser_core.audio import Recording


@dataclass(frozen=True)
class Segment:
    """A stretch of speech in seconds from the recording's first sample."""

    start_s: float
    end_s: float


_LOCK = threading.Lock()


def speech_segments(recording: Recording) -> tuple[Segment, ...]:
    """Return the stretches of speech in time order, without overlap; empty where nobody speaks.

    Silero VAD's own defaults: probability over 0.5, speech of 250 ms at least, pauses of 100 ms at least, 30 ms of
    margin. It looks at 32 ms at a time.
    """
    import torch

    samples = torch.from_numpy(np.array(recording.samples))
    # The model keeps a state from chunk to chunk: one caller at a time, and its function resets the state first.
    with _LOCK:
        find, model = _vad()
        found = find(samples, model, sampling_rate=recording.sample_rate)
    return tuple(Segment(part["start"] / recording.sample_rate, part["end"] / recording.sample_rate) for part in found)


def speech_mask(segments: Sequence[Segment], times_s: np.ndarray) -> np.ndarray:
    """Return for each time in seconds whether it lies in speech (start included, end excluded); same shape, bool."""
    times = np.asarray(times_s, dtype=float)
    mask = np.zeros(times.shape, dtype=bool)
    for segment in segments:
        mask |= (times >= segment.start_s) & (times < segment.end_s)
    return mask


@functools.cache
def _vad() -> tuple[Any, Any]:
    import torch

    # Importing the package sets the whole process to one thread.
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import silero_vad

        torch.set_num_threads(threads)
        model = silero_vad.load_silero_vad()
    return silero_vad.get_speech_timestamps, model
