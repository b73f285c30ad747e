"""A small pool of processes for Praat, which would otherwise hold Python's global lock and stop every page.

Loky (the executor inside joblib) starts a worker without importing the main program, so that it holds numpy and
Parselmouth only, and lets idle workers go.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as Late
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import ShutdownExecutorError

from ser_core.errors import ExplanationError

WORKERS = max(1, min(4, (os.cpu_count() or 2) // 2))
IDLE_S = 600
LIMIT_S = 300

_lock = threading.Lock()
_pool: ProcessPoolExecutor | None = None
_here = False


def in_worker(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return ``function(*args, **kwargs)`` as computed in a worker process; asks a second time if that dies.

    Raises:
        ExplanationError: the worker died twice, or took longer than five minutes.
    """
    if _here:
        return function(*args, **kwargs)
    pool = _running_pool()
    try:
        return _answer(pool, function, args, kwargs)
    except (BrokenProcessPool, ShutdownExecutorError):
        _forget(pool)
    # Once more and alone: what ends a worker must not take down a second time what others measure beside it.
    alone = _new_pool(1)
    try:
        return _answer(alone, function, args, kwargs)
    except BrokenProcessPool as fault:
        raise ExplanationError(
            "The measuring process ended twice before it answered; close other programs or use a shorter clip."
        ) from fault
    finally:
        alone.shutdown(wait=False, kill_workers=True)


def _answer(pool: ProcessPoolExecutor, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    try:
        return pool.submit(function, *args, **kwargs).result(timeout=LIMIT_S)
    except Late as fault:
        _forget(pool)
        raise ExplanationError(
            f"Measuring the cues took longer than {LIMIT_S} s and was stopped; use a shorter clip."
        ) from fault


def warm_up() -> None:
    """Start the workers ahead of the first clip."""
    in_worker(_import_praat)


def measure_here() -> None:
    """Let this process measure by itself from now on: it is a worker already, and no page waits for it."""
    global _here
    _here = True


def shut_down() -> None:
    """End the workers; the next call starts new ones."""
    with _lock:
        pool = _pool
    if pool is not None:
        _forget(pool)


def _import_praat() -> str:
    import parselmouth

    return str(parselmouth.PRAAT_VERSION)


def _running_pool() -> ProcessPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = _new_pool(WORKERS)
        return _pool


def _new_pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=workers, timeout=IDLE_S, env={"OMP_NUM_THREADS": "1"})


def _forget(pool: ProcessPoolExecutor) -> None:
    global _pool
    with _lock:
        if _pool is pool:
            _pool = None
    pool.shutdown(wait=False, kill_workers=True)
