"""Tasks for workers, apart from the tests so that a worker loads nothing else."""

import hashlib
import os
import signal
from pathlib import Path


def digest(file: str, *, killed_at: str = "", marker: str = "") -> tuple[str, int]:
    """Return what a file holds and who read it; the first worker to reach one of them is killed as by the system."""
    if Path(file).name == killed_at and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest(), os.getpid()


def end(_file: str) -> None:
    """Kill the worker."""
    os.kill(os.getpid(), signal.SIGKILL)
