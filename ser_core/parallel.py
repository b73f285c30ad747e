"""Many small tasks in worker processes: as many as there are cores, or on a cluster by ``joblib.parallel_config``."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import joblib

Item = TypeVar("Item")


def each(function: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[Any]:
    """Yield ``function(item)`` of each item in their order, computed in worker processes.

    Pass file names rather than arrays: such tasks survive the loss of a worker on a cluster.
    """
    workers = min(joblib.cpu_count(), len(items))
    if workers < 2:
        yield from map(function, items)
        return
    yield from joblib.Parallel(n_jobs=workers, return_as="generator")(joblib.delayed(function)(item) for item in items)
