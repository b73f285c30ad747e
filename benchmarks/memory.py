"""What many sessions with long clips hold, and whether it is given back: ``python -m benchmarks.memory``.

Sessions of the real pages, all in this process, each take a clip of nearly the 30 s that Whisper reads at once and
explain it by three methods, one of which computes gradients along a path. Then all are closed. Prints the
memory of this process and its workers before, with every session, at most, and after; fails above the limit or where
it does not come back to what it was.
"""

import argparse
import ctypes
import gc
import logging
import os
import sys
import time
from collections.abc import Sequence

import numpy as np
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from benchmarks.load import memory_mb, watched
from explain.samples import samples
from ser_core import workers
from ser_core.audio import SAMPLE_RATE, from_samples, read
from ser_core.settings import ROOT

METHODS = ("integrated_gradients", "saliency", "input_x_gradient")
A_SESSION_MB, AT_WORK_MB, KEPT_MB = 60, 1500, 200
"""What a session may hold, what work under way may take, and what may stay when all sessions are closed."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=28.0)
    chosen = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # Streamlit warns of every view that no server asked for
    # AppTest takes a folder named pages for the old way of making menus, and would run a page without app.py.
    PagesManager.uses_pages_directory = False
    app_test.PagesManager = type("Navigated", (PagesManager,), {})
    process, begun = os.getpid(), time.monotonic()
    session(3.0, 0)
    base, seen = settled(process), watched(process)
    held = []
    for number in range(chosen.sessions):
        held.append(session(chosen.seconds, number))
        print(f"session {number + 1} of {chosen.sessions}: {memory_mb(process):.0f} MB", file=sys.stderr, flush=True)
    full = settled(process)
    del held
    after, most = settled(process), max(seen())
    limit = base + chosen.sessions * A_SESSION_MB + AT_WORK_MB
    print(
        f"{chosen.sessions} sessions with clips of {chosen.seconds:g} s: {base:.0f} MB before, {full:.0f} MB with "
        f"every session ({(full - base) / chosen.sessions:.0f} MB each), at most {most:.0f} MB of the {limit:.0f} MB "
        f"allowed, {after:.0f} MB when all are closed; {time.monotonic() - begun:.0f} s."
    )
    workers.shut_down()
    if most > limit or after > base + KEPT_MB:
        raise SystemExit(1)


def session(seconds: float, number: int) -> AppTest:
    """Return a session that has explained a clip of its own by every one of ``METHODS``."""
    app = AppTest.from_file(ROOT / "app.py", default_timeout=1800).run()
    sample = samples()[number % len(samples())]
    sound = np.resize(np.roll(read(sample.path).samples, 1000 * number), round(seconds * SAMPLE_RATE))
    app.session_state["clip"] = from_samples(sound, SAMPLE_RATE, f"{number}.wav")
    for method in METHODS:
        app.run()
        box = next(each for each in app.selectbox if each.label == "Method")
        app = box.select(method).run() if box.value != method else app
    assert not app.exception and not app.error, [each.value for each in app.error]
    return app


def settled(process: int) -> float:
    """Return the memory in MB when what nobody holds has been given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return memory_mb(process)


if __name__ == "__main__":
    main()
