"""Many tasks over files, in processes of this machine or on a Dask cluster, with the same numbers everywhere.

A task is a function of one small item that names files. It never carries samples: on a cluster a task that was passed
arrays is lost with its worker, while one that was passed names is done again by another (and so here). Every worker
does one task at a time on one thread: the cores are shared out by the number of workers alone.
"""

import argparse
import functools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import ProcessPoolExecutor

from ser_core import workers
from ser_core.errors import SettingError

Item = TypeVar("Item")

IDLE_S = 60
CONNECT_S = 20
MOST_DEATHS = 3
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Workers:
    """Who does the tasks: this process, more than one of this machine, or the Dask cluster at an address."""

    processes: int = 1
    cluster: str = ""


HERE = Workers()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a command the options ``--processes`` and ``--cluster``."""
    parser.add_argument("--processes", type=int, help="worker processes on this machine (default: one a core)")
    parser.add_argument(
        "--cluster",
        default="",
        metavar="ADDRESS",
        help="scheduler of a Dask cluster that does the work instead, such as tcp://10.0.0.1:8786",
    )


def chosen(options: argparse.Namespace) -> Workers:
    """Return what the options of ``add_options`` say.

    Raises:
        SettingError: fewer than one process.
    """
    if options.processes is not None and options.processes < 1:
        raise SettingError(f"--processes is {options.processes}; give 1 or more.")
    return Workers(options.processes or joblib.cpu_count(), options.cluster)


def each(function: Callable[[Item], Any], items: Sequence[Item], by: Workers | None = None) -> Iterator[Any]:
    """Yield ``function(item)`` of each item in their order; by default as many processes as cores do it.

    Raises:
        SettingError: see ``as_done``.
    """
    kept: dict[int, Any] = {}
    following = 0
    for place, answer in as_done(function, items, by or Workers(joblib.cpu_count())):
        kept[place] = answer
        while following in kept:
            yield kept.pop(following)
            following += 1


def as_done(function: Callable[[Item], Any], items: Sequence[Item], by: Workers = HERE) -> Iterator[tuple[int, Any]]:
    """Yield the place of each item and ``function(item)`` as they are done; a killed worker's tasks are done again.

    Raises:
        SettingError: no cluster answers or it has no workers, or one task after another ended its worker.
    """
    if by.cluster:
        yield from _on_cluster(function, items, by.cluster)
    elif min(by.processes, len(items)) < 2:
        yield from ((place, function(item)) for place, item in enumerate(items))
    else:
        yield from _in_processes(function, items, min(by.processes, len(items)))


def check_present(files: Iterable[str | Path]) -> None:
    """Check that this machine sees a task's files, before their absence is taken for a fault of the recordings.

    Raises:
        SettingError: one is not there.
    """
    for file in files:
        if not Path(file).exists():
            raise SettingError(
                f"{Path(file).name} is not to be seen on {socket.gethostname()}; "
                "every machine of a cluster needs the corpora under the same path."
            )


def _in_processes(function: Callable[[Item], Any], items: Sequence[Item], processes: int) -> Iterator[tuple[int, Any]]:
    left, deaths = set(range(len(items))), 0
    while left:
        before = len(left)
        pool = ProcessPoolExecutor(processes, timeout=IDLE_S, env=ONE_THREAD)
        try:
            asked = {pool.submit(_task, function, items[place]): place for place in sorted(left)}
            for future in as_completed(asked):
                if not isinstance(future.exception(), BrokenProcessPool):
                    left.remove(asked[future])
                    yield asked[future], future.result()
        except BrokenProcessPool:  # it broke while it was given its tasks
            pass
        finally:
            pool.shutdown(wait=False, kill_workers=True)
        deaths = deaths + 1 if len(left) == before else 0
        if deaths == MOST_DEATHS:
            raise SettingError(
                f"Worker processes ended {deaths} times in a row before they had done anything; "
                "take fewer of them (--processes), as each needs about 1 GB of memory."
            )


def _on_cluster(function: Callable[[Item], Any], items: Sequence[Item], address: str) -> Iterator[tuple[int, Any]]:
    try:
        from distributed import Client, KilledWorker
        from distributed import as_completed as as_gathered
    except ImportError as fault:
        raise SettingError(
            "--cluster needs the package dask[distributed]; install requirements.txt, or leave --cluster out."
        ) from fault
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as fault:
        raise SettingError(f"No Dask scheduler answers at {address}; check the address and that it runs.") from fault
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError as fault:
            raise SettingError(f"The Dask cluster at {address} has no workers; start some and try again.") from fault
        futures = client.map(functools.partial(_task, function), items, pure=False)
        asked = {future.key: place for place, future in enumerate(futures)}
        for future in as_gathered(futures, loop=client.loop):
            try:
                answer = future.result()
            except KilledWorker as fault:
                raise SettingError(
                    f"A task ended one worker of the cluster after another: {items[asked[future.key]]!r:.200}. "
                    "Give the workers more memory, or leave its files out."
                ) from fault
            yield asked[future.key], answer
            future.release()


def _task(function: Callable[[Item], Any], item: Item) -> Any:
    workers.measure_here()
    with _one_at_a_time:
        return function(item)
