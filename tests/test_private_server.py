"""A real server, watched from inside and outside: what it answers, what it keeps, what it writes and whom it calls."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from bad_inputs import voice, wav
from browsing import PATIENCE_MS, Watch, needs_browser, playwright, settled, upload, visit
from servers import Served, serving

from app import PAGES
from ser_core.settings import ROOT

NAME = "Interview_with_Maria_Zwiebel.wav"


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


def test_no_run_waits_until_half_a_million_objects_of_libraries_are_collected(served):
    until = time.monotonic() + 90
    while served.held()["collected"] > 60_000:
        assert time.monotonic() < until
        time.sleep(0.3)


@pytest.mark.browser
@needs_browser
def test_a_clip_that_is_forgotten_is_freed_though_it_was_kept_out_of_collections(served, browser):
    before = served.held()["clips"]
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(served.url, timeout=PATIENCE_MS)
    upload(page, (NAME, wav(voice(1.5))))
    page.get_by_role("button", name="Report (PDF)").wait_for(timeout=PATIENCE_MS)
    settled(page)
    # To ask keeps what is there out of later collections, the clip among it.
    assert served.held()["clips"] > before
    page.get_by_role("button", name="Forget this clip").click()
    served.comes_to("clips", before)
    page.close()


@pytest.mark.browser
@needs_browser
def test_a_page_that_is_closed_takes_its_clips_along(served, browser):
    before = served.held()
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(served.url, timeout=PATIENCE_MS)
    file = wav(voice(3.0, 192_000), 192_000)
    assert len(file) > 1_000_000  # what Streamlit would else write to the disk
    upload(page, (NAME, file))
    settled(page)
    assert served.held()["clips"] > before["clips"]
    page.close()
    for what in ("sessions", "clips", "uploads", "media"):
        served.comes_to(what, before[what])


@pytest.mark.browser
@needs_browser
def test_a_clip_is_explained_and_deleted_with_nothing_written_sent_or_told(served, browser):
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
            settled(page)

    page.get_by_role("link", name="Explain a clip").or_(page.get_by_role("button", name="Explain a clip")).first.click()
    upload(page, (NAME, wav(voice(1.5))))
    with page.expect_download(timeout=PATIENCE_MS):
        page.get_by_role("button", name="Report (PDF)").click()
    # While the page is drawn anew, as when the language was told, its files are on their way.
    for _ in range(50):
        held = served.held()
        if held["media"]:
            break
        page.wait_for_timeout(200)
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
