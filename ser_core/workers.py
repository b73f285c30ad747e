"""Processes for native code: Praat, which would hold Python's global lock and stop every page, and what reads files.

Loky (the executor inside joblib) starts a process without importing the main program, so that it holds numpy and what
it was asked for only, and lets idle ones go. Each process does one thing at a time: one that dies, hangs or asks for
too much memory takes nobody else's work with it. Nothing goes through the disk: what they are given and what they
answer passes through pipes, and none of them leaves a core dump.
"""

import contextlib
import itertools
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ser_core.errors import ExplanationError

IDLE_S = 600
START_S = 60
LIMIT_S = 300
MOST = max(1, min(4, (os.cpu_count() or 2) // 2))
DECODER_BYTES = 1_500_000_000

# Arrow's own allocator reserves more memory than it uses.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}

_here = False
_apart = False
_one_of_them = False


class EndedError(Exception):
    """A process ended before it answered."""


class LateError(Exception):
    """A process took longer than it may, and was ended."""


# ------------------------------------------------------------------------------------------------------------ processes


class _Process:
    """One process that waits for work; ``sound`` is whether it can be given more."""

    def __init__(self, memory_bytes: int) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        # loky replaces a process that has grown, and does the job again; a reader of sentences can do nothing about it.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        self._pool = ProcessPoolExecutor(
            1, timeout=IDLE_S, env=_ENVIRONMENT, initializer=_begin_as_one, initargs=(memory_bytes,)
        )
        self.sound = True

    def ask(self, limit_s: float, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from concurrent.futures.process import BrokenProcessPool

        from joblib.externals.loky.process_executor import ShutdownExecutorError

        self.sound = False
        try:
            asked = self._pool.submit(function, *args, **kwargs)
            fault = asked.exception(limit_s)
        except TimeoutError:
            raise LateError from None
        except (BrokenProcessPool, ShutdownExecutorError):
            raise EndedError from None
        if isinstance(fault, BrokenProcessPool | ShutdownExecutorError):
            raise EndedError from None
        self.sound = True
        return asked.result()

    def end(self) -> None:
        self.sound = False
        self._pool.shutdown(wait=False, kill_workers=True)


def bound(memory_bytes: int = 0) -> None:
    """Hold this process to so much memory of its own (0: any) and let it leave no core dump."""
    with contextlib.suppress(ImportError):
        import resource

        # At 1 Linux gives nothing to a collector of dumps either, which it does at 0.
        wanted = {resource.RLIMIT_CORE: 1} | ({resource.RLIMIT_DATA: memory_bytes} if memory_bytes else {})
        for kind, most in wanted.items():
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


def _begin_as_one(memory_bytes: int) -> None:
    """Be one of these processes, which does what it would ask of others by itself."""
    global _one_of_them
    _one_of_them = True
    bound(memory_bytes)


class Workers:
    """Processes of one kind, started when they are needed and kept for the next work."""

    def __init__(self, most: int = MOST, *, memory_bytes: int = 0) -> None:
        """Make a room for processes without starting any.

        Args:
            most: how many ``ask`` at once, and how many are kept.
            memory_bytes: what each may take; 0 for any amount.
        """
        self._most, self._memory_bytes = most, memory_bytes
        self._places = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._all: set[_Process] = set()
        self._idle: list[_Process] = []

    def ask(self, limit_s: float, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return ``function(*args, **kwargs)`` as computed in a process; asks another one if that dies.

        Raises:
            EndedError: both died.
            LateError: it took longer than ``limit_s``, not counted the time until a process was free.
            MemoryError: it asked for more memory than it may have.
        """
        if _one_of_them:
            return function(*args, **kwargs)
        with self._places:
            with contextlib.suppress(EndedError), self._one() as process:
                return process.ask(limit_s, function, *args, **kwargs)
            # Once more: the system may have ended the first one, for want of memory.
            with self._one() as process:
                return process.ask(limit_s, function, *args, **kwargs)

    def pieces(self, limit_s: float, function: Callable[..., Iterator[Any]], *args: Any) -> Iterator[Any]:
        """Yield what the generator ``function(*args)`` yields, made in one process as it is asked for.

        Where that dies, another one begins anew and passes over what was yielded already.

        Raises:
            EndedError: both died.
            LateError: a piece took longer than ``limit_s``.
            MemoryError: it asked for more memory than it may have.
        """
        given = 0
        with contextlib.suppress(EndedError):
            for piece in self._pieces(limit_s, function, args):
                given += 1
                yield piece
            return
        yield from itertools.islice(self._pieces(limit_s, function, args), given, None)

    def _pieces(self, limit_s: float, function: Callable[..., Iterator[Any]], args: tuple) -> Iterator[Any]:
        with self._one() as process:
            process.ask(limit_s, _begin, function, args)
            try:
                while found := process.ask(limit_s, _next):
                    yield found[0]
            finally:
                if process.sound:
                    process.ask(limit_s, _drop)

    def warm_up(self, function: Callable[[], Any]) -> None:
        """Start the processes ahead of the first work, and let each call a function that imports what it needs."""
        with ExitStack() as held:
            for _ in range(self._most):
                held.enter_context(self._one()).ask(START_S, function)

    def shut_down(self) -> None:
        """End the processes; the next call starts new ones."""
        with self._lock:
            ended, self._all, self._idle = self._all, set(), []
        for process in ended:
            process.end()

    @contextmanager
    def _one(self) -> Iterator[_Process]:
        process = self._taken()
        try:
            yield process
        finally:
            with self._lock:
                keep = process.sound and process in self._all and len(self._idle) < self._most
                if keep:
                    self._idle.append(process)
                else:
                    self._all.discard(process)
            if not keep:
                process.end()

    def _taken(self) -> _Process:
        """Return a process that has just answered, so that its time counts from when it is up."""
        while True:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            process = idle or _Process(self._memory_bytes)
            with self._lock:
                self._all.add(process)
            try:
                process.ask(START_S, os.getpid)
            except (EndedError, LateError):
                with self._lock:
                    self._all.discard(process)
                process.end()
                if idle is None:
                    raise
            else:
                return process


_held: Iterator[Any] | None = None


def _begin(function: Callable[..., Iterator[Any]], args: tuple) -> None:
    global _held
    _held = function(*args)


def _next() -> list[Any]:
    """Return the next piece in a list, an empty one after the last."""
    if _held is None:
        raise EndedError
    return list(itertools.islice(_held, 1))


def _drop() -> None:
    global _held
    _held = None


# ---------------------------------------------------------------------------------------------------------- their kinds

PRAAT = Workers()
DECODERS = Workers(memory_bytes=DECODER_BYTES)
"""Read what a user gives: libsndfile, FFmpeg, Arrow."""
TABLES = Workers(1, memory_bytes=DECODER_BYTES)
"""Reads the tables that a user gives, one at a time, so that no clip waits for a decoder that reads a table."""


def in_worker(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return ``function(*args, **kwargs)`` as computed in one of Praat's processes; see ``Workers.ask``.

    Raises:
        ExplanationError: the process died twice, or took longer than five minutes.
    """
    if _here:
        return function(*args, **kwargs)
    try:
        return PRAAT.ask(LIMIT_S, function, *args, **kwargs)
    except EndedError:
        raise ExplanationError(
            "The measuring process ended twice before it answered; close other programs or use a shorter clip."
        ) from None
    except LateError:
        raise ExplanationError(
            f"Measuring the cues took longer than {LIMIT_S} s and was stopped; use a shorter clip."
        ) from None


def measure_here() -> None:
    """Let this process measure by itself from now on: it is a worker already, and no page waits for it."""
    global _here
    _here = True


def decode_apart() -> None:
    """Let this process have audio decoded by others from now on: it is a server, and must outlive its decoders."""
    global _apart
    _apart = True


def decodes_apart() -> bool:
    """Return whether audio is decoded by other processes."""
    return _apart


def warm_up() -> None:
    """Start the processes ahead of the first clip."""
    PRAAT.warm_up(_import_praat)
    if _apart:
        DECODERS.warm_up(_import_decoders)


def shut_down() -> None:
    """End all processes; the next call starts new ones."""
    PRAAT.shut_down()
    DECODERS.shut_down()
    TABLES.shut_down()


def _import_praat() -> str:
    import parselmouth

    return str(parselmouth.PRAAT_VERSION)


def _import_decoders() -> None:
    import av  # noqa: F401

    import ser_core.long_audio  # noqa: F401
