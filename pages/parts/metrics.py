"""What the server counts of itself for Prometheus: numbers only, no names, no addresses, nothing of a voice."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from streamlit import runtime

from pages.parts import background, room
from ser_core.errors import SerscopeError
from ser_core.settings import settings
from ser_core.turns import StoppedError

REGISTRY = CollectorRegistry()
EXPLANATIONS = Counter(
    "serscope_explanations", "Explanations asked for, by how they ended.", ["end"], registry=REGISTRY
)
SECONDS = Histogram(
    "serscope_explanation_seconds",
    "How long an explanation took that was made.",
    buckets=(0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300),
    registry=REGISTRY,
)


@contextmanager
def explanation() -> Iterator[None]:
    """Count the explanation that is made inside the block, by how it ends, and how long it takes when it is made."""
    begun = time.monotonic()
    end = "failed"
    try:
        yield
        end = "made"
        SECONDS.observe(time.monotonic() - begun)
    except SerscopeError:
        end = "refused"
        raise
    except StoppedError:
        end = "stopped"
        raise
    finally:
        EXPLANATIONS.labels(end).inc()


def show(name: str, meaning: str, value: Callable[[], float]) -> None:
    """Show ``serscope_<name>`` among the metrics; ``value`` is asked each time they are read."""
    Gauge(f"serscope_{name}", meaning, registry=REGISTRY).set_function(value)


def page() -> bytes:
    """Return all metrics in Prometheus's text format."""
    return generate_latest(REGISTRY)


def _sessions() -> int:
    return len(runtime.get_instance()._session_mgr.list_active_sessions()) if runtime.exists() else 0


def _uploads() -> int:
    held = getattr(runtime.get_instance().uploaded_file_mgr, "file_storage", {}) if runtime.exists() else {}
    return sum(len(file.data) for files in list(held.values()) for file in list(files.values()))


def _given() -> int:
    return room.used() if runtime.exists() else 0


def _memory() -> int:
    """Return the resident memory of this process and of its workers, in bytes."""
    import psutil

    held = 0
    for process in (own := psutil.Process(), *own.children(recursive=True)):
        try:
            held += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held


def _workers() -> int:
    import psutil

    return len(psutil.Process().children(recursive=True))


show("sessions", "Browser windows that are connected.", _sessions)
show("jobs_waiting", "Pieces of heavy work that wait for their turn.", lambda: background.counts()[0])
show("jobs_running", "Pieces of heavy work that run.", lambda: background.counts()[1])
show("upload_bytes", "Bytes of uploads that are held in memory.", _uploads)
show("given_bytes", "Bytes of uploads that come, are held, or are kept in sessions.", _given)
show("given_bytes_limit", "How many of these the server holds at most.", lambda: room.MB * settings().uploads_mb)
show("memory_bytes", "Resident memory of the server and its worker processes.", _memory)
show("worker_processes", "Processes that the server has started.", _workers)
show("cpus", "Processor cores that the server may use.", lambda: float(len(os.sched_getaffinity(0))))
