"""Times what a reader waits for in a real browser: first paint, a sample's explanation, a rerun."""

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

from ser_core.settings import ROOT

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
    with server() as (address, started), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=[*FLAGS, *sandbox])

        def landing() -> float:
            page = browser.new_context().new_page()
            begun = time.perf_counter()
            page.goto(address)
            page.get_by_role("button", name="Explain this clip").first.wait_for(timeout=PATIENCE_MS)
            took = time.perf_counter() - begun
            page.context.close()
            return took

        print(f"server start to health answer {started:.2f} s")
        print(f"first paint, first visit {landing():.2f} s")
        print(f"first paint, later visits {statistics.median(landing() for _ in range(repeats)):.2f} s")
        page = browser.new_context().new_page()
        page.goto(address)
        for visit in ("first", "second"):
            button = page.get_by_role("button", name="Explain this clip").nth(0 if visit == "first" else 1)
            button.wait_for(timeout=PATIENCE_MS)
            begun = time.perf_counter()
            button.click()
            page.get_by_role("button", name="Report (PDF)").wait_for(timeout=PATIENCE_MS)
            print(f"sample clicked to whole explanation, {visit} {time.perf_counter() - begun:.2f} s")
            if visit == "first":
                page.get_by_role("button", name="Forget this clip").click()
        begun = time.perf_counter()
        page.get_by_role("button", name="Forget this clip").click()
        page.get_by_role("button", name="Explain this clip").first.wait_for(timeout=PATIENCE_MS)
        print(f"rerun (forget the clip to landing) {time.perf_counter() - begun:.2f} s")
        browser.close()


@contextlib.contextmanager
def server() -> Iterator[tuple[str, float]]:
    """Run the app on a free port; yield its address and the seconds until it answered."""
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
        yield f"http://localhost:{port}", time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
