"""Times what a reader waits for in a real browser: first paint and explanation right after the start, and later."""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil

from ser_core.settings import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

SAMPLE = "Explain this clip"
LAST = "Whisper base takes the language for"  # what a page tells when nothing is left to be done
FLAGS = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
PATIENCE_MS = 120_000


def main(repeats: int = 5) -> None:
    """Print medians in seconds; says so and returns where there is no browser to time with."""
    chromium = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if chromium is None:
        print("first paint and rerun: not timed, there is no Chromium on this machine")
        return
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver, server() as (address, process, begun):
        started = time.perf_counter() - begun
        browser = driver.chromium.launch(executable_path=chromium, args=[*FLAGS, *sandbox])

        def visit() -> tuple["Page", float]:
            page = browser.new_context().new_page()
            begun = time.perf_counter()
            page.goto(address)
            page.get_by_role("button", name=SAMPLE).first.wait_for(timeout=PATIENCE_MS)
            return page, time.perf_counter() - begun

        def explained(page: "Page", which: int) -> float:
            begun = time.perf_counter()
            page.get_by_role("button", name=SAMPLE).nth(which).click()
            page.get_by_role("button", name="Report (PDF)").wait_for(timeout=PATIENCE_MS)
            return time.perf_counter() - begun

        def forgotten(page: "Page") -> float:
            begun = time.perf_counter()
            page.get_by_role("button", name="Forget this clip").click()
            page.get_by_role("button", name=SAMPLE).first.wait_for(timeout=PATIENCE_MS)
            return time.perf_counter() - begun

        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores; load {load}")
        print(f"server start to health answer {started:.2f} s")
        page, took = visit()  # at once, while the libraries and the first model are loaded beside
        print(f"first paint, first visit {took:.2f} s; {cpu_s(process):.2f} s of processor by the server so far")
        print(f"sample clicked to whole explanation, right after the start {explained(page, 0):.2f} s")
        print(f"the same since the server was started {time.perf_counter() - begun:.2f} s")
        begun = time.perf_counter()
        page.get_by_text(LAST).wait_for(timeout=PATIENCE_MS)
        print(f"until its language is told as well {time.perf_counter() - begun:.2f} s")
        print(f"rerun (forget the clip to landing) {forgotten(page):.2f} s")
        print(f"sample clicked to whole explanation, another one {explained(page, 1):.2f} s")
        page.get_by_text(LAST).wait_for(timeout=PATIENCE_MS)
        print(f"rerun {forgotten(page):.2f} s")
        print(f"first paint, later visits {statistics.median(visit()[1] for _ in range(repeats)):.2f} s")
        browser.close()


@contextlib.contextmanager
def server() -> Iterator[tuple[str, subprocess.Popen, float]]:
    """Run the app on a free port; yield its address when it answers, the process, and when it was started."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    begun = time.perf_counter()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begun < 60:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            time.sleep(0.05)
        yield f"http://localhost:{port}", process, begun
    finally:
        process.terminate()
        process.wait(20)


def cpu_s(process: subprocess.Popen) -> float:
    """Return the processor seconds that a process and those it started have used."""
    whole = psutil.Process(process.pid)
    return sum(sum(each.cpu_times()[:2]) for each in [whole, *whole.children(recursive=True)])


if __name__ == "__main__":
    main()
