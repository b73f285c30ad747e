"""A real server, watched from inside and outside: what it answers, what it keeps, what it writes and whom it calls."""

import json
import os
import re
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

import pytest
from bad_inputs import voice, wav
from test_browser import CHROMIUM, PATIENCE_MS, Watch, browser, playwright, upload, visit  # noqa: F401

from app import PAGES
from ser_core.models import model_names
from ser_core.settings import ROOT

NAME = "Interview_with_Maria_Zwiebel.wav"


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
    """Run a watched server on a free port; ``flags`` is given its address."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("SERSCOPE_")} | {
        "PYTHONPATH": str(ROOT / "tests" / "watched"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WATCH_LOG": str(folder / "noted"),
        "TMPDIR": "/dev/shm" if Path("/dev/shm").is_dir() else str(folder),
        **{name: os.environ[name] for name in ("SERSCOPE_CACHE",) if name in os.environ},
        **environment,
    }
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), *flags(url)]
    with (folder / "printed").open("w") as printed:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=printed, stderr=subprocess.STDOUT)
    served = Served(url, process, folder)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert process.poll() is None, served.printed
            try:
                assert served.get("/_stcore/health")[0] == 200
                break
            except OSError:
                time.sleep(0.2)
        yield served
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    flags = ("--server.disconnectedSessionTTL", "1", "--logger.hideWelcomeMessage", "true")
    folder = tmp_path_factory.mktemp("served")
    with serving(
        folder, lambda _: flags, SERSCOPE_LOG="json", SERSCOPE_METRICS="1", SERSCOPE_IDLE_MINUTES="2"
    ) as running:
        yield running


def handshake(served: Served, **headers: str) -> int:
    """Return the status with which the server answers a WebSocket that a page wants to open."""
    sent = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Protocol": "streamlit",
    }
    host, port = served.url.removeprefix("http://").split(":")
    said = {"Host": f"{host}:{port}", **sent, **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in said.items()]
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall("\r\n".join(["GET /_stcore/stream HTTP/1.1", *lines, "", ""]).encode())
        return int(wire.recv(64).split()[1])


def test_a_setting_that_cannot_be_used_ends_the_start_with_a_sentence():
    env = {**os.environ, "SERSCOPE_IDLE_MINUTES": "-3", "SERSCOPE_CORPRA": "x"}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", "1"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 2 and "Traceback" not in said
    assert "SERSCOPE_CORPRA is no setting of SERscope; SERSCOPE_CORPORA is." in said
    assert "SERSCOPE_IDLE_MINUTES is '-3'; set it to a positive number" in said


def test_every_answer_has_the_headers_that_keep_a_page_to_its_own_host(served):
    for path in ("/", "/models", "/_stcore/health", "/ready", "/static/nothing.js", "/media/none.wav"):
        _, headers, _ = served.get(path)
        rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        own = served.url.removeprefix("http://")
        assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == rules["frame-ancestors"] == "'self'"
        assert rules["connect-src"] == f"'self' ws://{own} wss://{own} blob:"
        assert "unsafe" not in rules["script-src"] and rules["object-src"] == "'none'"
        assert not re.search(r"[ :]\*|https?:", headers["content-security-policy"])
        assert headers["x-frame-options"] == "SAMEORIGIN" and headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer" and "access-control-allow-origin" not in headers
        assert "strict-transport-security" not in headers
    assert served.get("/media/none.wav")[1]["cache-control"] == "no-store"
    assert "http" not in served.get("/", Host="x'; script-src *")[1]["content-security-policy"]


def test_behind_tls_the_browser_and_the_cookies_are_kept_to_it(served):
    _, headers, _ = served.get("/_stcore/health", X_Forwarded_Proto="https")
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["set-cookie"].startswith("_streamlit_xsrf=") and headers["set-cookie"].endswith("; Secure")


def test_uploads_need_the_token_and_sockets_need_the_own_origin_and_host(served):
    assert served.url.startswith("http://localhost:")
    put = urllib.request.Request(f"{served.url}/_stcore/upload_file/none/none", b"x", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(put, timeout=20)
    assert caught.value.code == 403
    assert handshake(served, Origin=served.url) == 101
    assert handshake(served, Origin="https://evil.example") == 403
    # A name that a foreign page has pointed at this machine (DNS rebinding).
    assert handshake(served, Origin="http://evil.example", Host="evil.example") == 403


def test_ready_and_metrics_tell_numbers_and_no_names(served):
    until = time.monotonic() + 90
    while served.get("/ready")[0] == 503 and time.monotonic() < until:
        time.sleep(0.3)
    assert served.get("/ready")[::2] == (200, "ready")
    status, _, text = served.get("/metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert status == 200 and float(values["serscope_memory_bytes"]) > 100e6
    assert {"serscope_sessions", "serscope_upload_bytes", "serscope_explanation_seconds_count"} <= set(values)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine; install it to drive the pages")
@pytest.mark.skipif(not model_names(), reason="no model in assets/models to explain")
def test_a_clip_is_explained_and_deleted_with_nothing_written_sent_or_told(served, browser):  # noqa: F811
    before = served.held()
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    watch = Watch(page, served.url)
    # A sub-page first: its address must not be asked for the server.
    page.goto(f"{served.url}/about")
    page.get_by_role("heading", name="About", exact=True).wait_for(timeout=PATIENCE_MS)
    for section, inside in PAGES.items():
        for name, title in inside if section else []:
            visit(page, section, title)
            page.wait_for_url(f"{served.url}/{name}")
            page.locator("h1").first.wait_for(timeout=PATIENCE_MS)
            page.locator('[data-test-script-state="notRunning"]').first.wait_for(timeout=PATIENCE_MS)

    page.get_by_role("link", name="Explain a clip").or_(page.get_by_role("button", name="Explain a clip")).first.click()
    upload(page, (NAME, wav(voice(1.5))))
    with page.expect_download(timeout=PATIENCE_MS):
        page.get_by_role("button", name="Report (PDF)").click()
    held = served.held()
    assert held["clips"] > before["clips"] and held["media"] > 0
    assert watch.foreign == [] and watch.faults == []

    page.get_by_role("button", name="Delete my data now").click()
    page.get_by_text(re.compile("have been deleted from this server.s memory")).wait_for(timeout=PATIENCE_MS)
    playwright.expect(page.get_by_role("button", name="Delete my data now")).to_have_count(0)
    for what in ("clips", "uploads", "media"):
        served.comes_to(what, before[what])

    page.close()
    served.comes_to("sessions", 0)
    assert "Zwiebel" not in served.printed and "127.0.0.1" not in served.printed
    assert all(json.loads(line)["message"] for line in served.printed.splitlines())
    assert served.noted("connect") == set()
    # Python tries the temporary folder once, with a name of eight letters.
    assert [path for path in served.noted("write") if not re.fullmatch(r".*/[a-z0-9_]{8}", path)] == []
