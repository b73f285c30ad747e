"""Servers of the app for tests: on a free port, until the test is over; watched or not."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ser_core.settings import ROOT


@contextmanager
def started(
    flags: Callable[[str], tuple[str, ...]] = lambda url: (),
    environment: dict[str, str] | None = None,
    printed: IO[str] | int = subprocess.DEVNULL,
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run a server on a free port until the block ends; yields its address and process once it answers.

    ``flags`` is given the address.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), *flags(url)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert process.poll() is None, "the server ended before it answered"
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url, process
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Served:
    """A running server with what it printed and what the watch in it noted."""

    url: str
    process: subprocess.Popen
    folder: Path

    @property
    def printed(self) -> str:
        return (self.folder / "printed").read_text()

    def noted(self, event: str) -> set[str]:
        lines = (self.folder / "noted").read_text().splitlines()
        noted = {line.partition(" ")[2] for line in lines if line.startswith(f"{event} ")}
        return {what for what in noted if not what.startswith(str(self.folder))}

    def held(self) -> dict[str, int]:
        """Ask the server what it still holds of its readers."""
        answer = self.folder / "noted.held"
        answer.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + 30
        while not answer.exists():
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)
        return json.loads(answer.read_text())

    def comes_to(self, what: str, wanted: int) -> None:
        """Wait until the server holds so much."""
        until = time.monotonic() + 45
        while (held := self.held())[what] != wanted:
            assert time.monotonic() < until, held
            time.sleep(0.3)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """Return status, headers and text of an answer."""
        asked = urllib.request.Request(self.url + path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode()
        except urllib.error.HTTPError as fault:
            return fault.code, {k.lower(): v for k, v in fault.headers.items()}, fault.read().decode()


@contextmanager
def serving(folder: Path, flags: Callable[[str], tuple[str, ...]], **environment: str) -> Iterator[Served]:
    """Run a watched server; ``flags`` is given its address."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SERSCOPE_")} | {
        "PYTHONPATH": str(ROOT / "tests" / "watched"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WATCH_LOG": str(folder / "noted"),
        "TMPDIR": "/dev/shm" if Path("/dev/shm").is_dir() else str(folder),
        **{name: os.environ[name] for name in ("SERSCOPE_CACHE",) if name in os.environ},
        **environment,
    }
    with (folder / "printed").open("w") as printed, started(flags, env, printed) as (url, process):
        yield Served(url, process, folder)
