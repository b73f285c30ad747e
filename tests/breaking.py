"""Work that breaks or lasts, apart from the tests so that a worker loads nothing else."""

import ctypes
import itertools
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ser_core import long_audio


def ends(*_: object) -> None:
    os.abort()


def breaks(*_: object) -> None:
    ctypes.string_at(0)


def hangs(*_: object) -> None:
    time.sleep(60)


def floods(*_: object) -> int:
    return len([np.zeros(1 << 25) for _ in range(100)])


def breaks_in_the_middle(data: bytes, name: str, channel: int | None, from_s: int) -> Iterator[tuple[int, np.ndarray]]:
    yield from itertools.islice(long_audio._pieces(data, name, channel, from_s), 2)
    breaks()


def breaks_once(
    noted: Path, data: bytes, name: str, channel: int | None, from_s: int
) -> Iterator[tuple[int, np.ndarray]]:
    for number, piece in enumerate(long_audio._pieces(data, name, channel, from_s)):
        if number == 1 and not noted.exists():
            noted.touch()
            breaks()
        yield piece


def end_yourself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_to_be_killed_once(noted: Path) -> list[str]:
    """Note this process, and wait to be killed if it is the first that was asked."""
    with noted.open("a") as file:
        file.write(f"{os.getpid()}\n")
    lines = noted.read_text().split()
    if len(lines) == 1:
        time.sleep(30)
    return lines


def take_a_while(number: int) -> int:
    time.sleep(0.3)
    return number


def limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_CORE)[0], resource.getrlimit(resource.RLIMIT_DATA)[0]
