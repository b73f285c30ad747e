"""Where in a recording somebody speaks.

Voice activity comes from Silero VAD (Silero Team, https://github.com/snakers4/silero-vad, MIT), whose weights are part
of its package; nothing is fetched.
"""

from __future__ import annotations

import functools
import itertools
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_core.errors import AudioError

if TYPE_CHECKING:
    from ser_core.audio import Recording


@dataclass(frozen=True)
class Segment:
    """A stretch of speech in seconds from the recording's first sample."""

    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Utterance:
    """A stretch of speech of a long sound, with some of the sound around it.

    samples (samples,) at 16 kHz begin ``before`` samples before the speech and end ``after`` samples after it.
    """

    speech: Segment
    samples: np.ndarray
    before: int = 0
    after: int = 0

    @property
    def spoken(self) -> np.ndarray:
        """The samples of the speech alone (samples,)."""
        return self.samples[self.before : len(self.samples) - self.after]


FIRST_WINDOW_S, WINDOW_S, SURE_S = 8.0, 30.0, 1.0
PAUSE_S, LONGEST_S, AROUND_S = 0.3, 12.0, 0.4
LEAD_S, SHORTEST_S = 2.0, 0.25

_LOCK = threading.Lock()


def speech_segments(recording: Recording) -> tuple[Segment, ...]:
    """Return the stretches of speech in time order, without overlap; empty where nobody speaks.

    Silero VAD's own defaults: probability over 0.5, speech of 250 ms at least, pauses of 100 ms at least, 30 ms of
    margin. It looks at 32 ms at a time.
    """
    rate = recording.sample_rate
    return tuple(Segment(start / rate, end / rate) for start, end in _find(recording.samples))


def utterances(blocks: Iterable[np.ndarray]) -> Iterator[Utterance]:
    """Yield the utterances of a long sound in time order, as soon as each is known.

    An utterance is a stretch of speech without a pause of 0.3 s, at most 12 s long (cut at its longest inner pause).
    With it come up to 0.4 s of the sound on either side, but no more than half of the pause there: models were taught
    on clips that begin and end in a room, and one that is cut at the first sound is answered worse
    (:mod:`ser_core.session_study`). The sound is looked at in windows of 30 s, the first of 8 s, that begin 2 s before
    the end of the last utterance, as the detector misses what begins with a window, and memory does not grow.

    Args:
        blocks: mono samples (samples,) at 16 kHz, one after the other.

    Raises:
        AudioError: the blocks did; what came before was yielded.
    """
    from ser_core.audio import SAMPLE_RATE

    held = np.zeros(0, np.float32)
    held_at, fresh_at, window_s, ended_at = 0, 0, FIRST_WINDOW_S, None
    most = round(AROUND_S * SAMPLE_RATE)
    broken: list[AudioError] = []
    for block in _with_end(blocks, broken):
        if block is not None:
            held = np.concatenate([held, block])
            if len(held) < window_s * SAMPLE_RATE:
                continue
        window_s = WINDOW_S
        found = _find(held, min_silence_duration_ms=1000 * PAUSE_S, max_speech_duration_s=LONGEST_S)
        # What was told of before is heard again for the detector's sake only.
        fresh = fresh_at - held_at
        found = [(max(start, fresh), end) for start, end in found if end - fresh >= SHORTEST_S * SAMPLE_RATE]
        # What touches the end of the window may go on in the next; a pause up to it is long enough for all that is
        # taken of the sound after an utterance.
        sure = len(held) if block is None else len(held) - int(SURE_S * SAMPLE_RATE)
        done = max(fresh, sure - int(SURE_S * SAMPLE_RATE))
        for (start, end), following in itertools.zip_longest(found, found[1:]):
            if end > sure:
                done = max(fresh, (ended_at or 0) - held_at, start - int(SURE_S * SAMPLE_RATE))
                break
            before = min(most, start if ended_at is None else min(start, (held_at + start - ended_at) // 2))
            after = min(most, len(held) - end if following is None else (following[0] - end) // 2)
            done, ended_at = max(done, end), held_at + end
            yield Utterance(
                Segment((held_at + start) / SAMPLE_RATE, (held_at + end) / SAMPLE_RATE),
                held[start - before : end + after].copy(),
                before,
                after,
            )
        fresh_at = held_at + done
        kept = max(0, done - int(LEAD_S * SAMPLE_RATE))
        held, held_at = held[kept:], held_at + kept
    if broken:
        raise broken[0]


def _with_end(blocks: Iterable[np.ndarray], broken: list[AudioError]) -> Iterator[np.ndarray | None]:
    """Yield the blocks, then None; a fault that ends them is kept, so that what came before it is used."""
    try:
        yield from blocks
    except AudioError as fault:
        broken.append(fault)
    yield None


def speech_mask(segments: Sequence[Segment], times_s: np.ndarray) -> np.ndarray:
    """Return for each time in seconds whether it lies in speech (start included, end excluded); same shape, bool."""
    times = np.asarray(times_s, dtype=float)
    mask = np.zeros(times.shape, dtype=bool)
    for segment in segments:
        mask |= (times >= segment.start_s) & (times < segment.end_s)
    return mask


def _find(samples: np.ndarray, **settings: float) -> list[tuple[int, int]]:
    """Return the first and last sample of each stretch of speech in samples (samples,) at 16 kHz."""
    import torch

    # The model keeps a state from chunk to chunk: one caller at a time, and its function resets the state first.
    with _LOCK:
        find, model = _vad()
        found = find(torch.from_numpy(np.array(samples)), model, sampling_rate=16_000, **settings)
    return [(part["start"], part["end"]) for part in found]


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
