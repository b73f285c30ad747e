"""The app behind the proxy of ``compose.yaml``: Caddy itself, with the configuration and the settings given there."""

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bad_inputs import voice, wav
from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, PATIENCE_MS, Watch, playwright, upload
from servers import started

from ser_core.settings import ROOT

CADDY = shutil.which("caddy") or ""
HOST = "ser.example.org"
pytestmark = [*IN_A_BROWSER, pytest.mark.skipif(not CADDY, reason="no Caddy on this machine")]


def filled(text: str) -> str:
    """Return a text of ``compose.yaml`` with its variables as Compose fills them."""
    return re.sub(r"\$\{SERSCOPE_HOST[^}]*\}", HOST, text)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """The address of the proxy, and that of the server behind it."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    given = {name: filled(value) for name, value in compose["services"]["app"]["environment"].items()}
    del given["SERSCOPE_ALLOWED"]  # needs the sign-in, which has tests of its own
    folder = tmp_path_factory.mktemp("proxy")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    with started(environment={**os.environ, **given}) as (inside, _):
        site = filled(compose["configs"]["caddy"]["content"])
        site = site.replace(HOST, f"{HOST}:{port}").replace("app:8501", inside.removeprefix("http://"))
        # A certificate of its own making, as nobody outside can vouch for this name.
        options = "{\nadmin off\nlocal_certs\nskip_install_trust\nauto_https disable_redirects\n}\n"
        (folder / "Caddyfile").write_text(options + site)
        command = [CADDY, "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]
        homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with (folder / "printed").open("w") as printed:
            proxy = subprocess.Popen(command, env={**os.environ, **homes}, stdout=printed, stderr=subprocess.STDOUT)
        try:
            _wait_for(port, proxy, folder / "printed")
            yield f"https://{HOST}:{port}", inside
        finally:
            proxy.terminate()
            proxy.wait(20)


def _wait_for(port: int, proxy: subprocess.Popen, printed: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert proxy.poll() is None, printed.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(printed.read_text())


@pytest.fixture(scope="module")
def context(address) -> "Iterator[playwright.BrowserContext]":
    """A browser for which the name of the proxy leads to this machine."""
    with playwright.sync_playwright() as driver:
        flags = [*FLAGS, f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
        running = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield running.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
        running.close()


def test_a_clip_goes_through_the_proxy_and_its_report_comes_back(address, context):
    page = context.new_page()
    watch = Watch(page, address[0])
    page.goto(address[0], timeout=PATIENCE_MS)
    page.get_by_role("heading", name="See why a model hears an emotion").wait_for(timeout=PATIENCE_MS)
    upload(page, ("voice.wav", wav(voice(1.5))))
    with page.expect_download(timeout=PATIENCE_MS) as waiting:
        page.get_by_role("button", name="Report (PDF)").click()
    assert Path(waiting.value.path()).read_bytes().startswith(b"%PDF-")
    assert watch.foreign == [] and watch.faults == []
    cookies = {cookie["name"]: cookie["secure"] for cookie in context.cookies()}
    assert cookies.get("_streamlit_xsrf") is True
    page.close()


def test_the_browser_keeps_to_tls_and_the_metrics_stay_inside(address, context):
    proxy, inside = address
    page = context.new_page()
    answer = page.goto(f"{proxy}/_stcore/health")
    assert answer.status == 200 and answer.headers["strict-transport-security"] == "max-age=31536000"
    assert f"wss://{proxy.removeprefix('https://')}" in answer.headers["content-security-policy"]
    asked = "async path => { const got = await fetch(location.origin + path); return [got.status, await got.text()]; }"
    told = [page.evaluate(asked, path) for path in ("/metrics", "/_stcore/metrics", "/metrics/", "//metrics")]
    assert [status for status, _ in told[:2]] == [404, 404]
    assert not any("serscope_" in text for _, text in told)
    with urllib.request.urlopen(f"{inside}/metrics", timeout=20) as answer:
        assert b"serscope_memory_bytes" in answer.read()
    page.close()
