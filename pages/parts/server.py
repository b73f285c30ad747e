"""The server around the pages: checks at the start, headers, uploads that stay in memory, health, and a warm start."""

import asyncio
import base64
import gc
import hashlib
import importlib
import logging
import os
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config, net_util
from streamlit.runtime.pages_manager import PagesManager
from streamlit.url_util import make_url_path

from pages.parts import log, own_data, room, sign_in
from ser_core import workers
from ser_core.errors import SerscopeError, SettingError
from ser_core.settings import check, settings

_LOG = logging.getLogger("serscope.server")
_warm = threading.Event()
FOR_EXPLANATIONS = ("pandas", "explain.explanation", "captum.attr", "opensmile", "scipy.stats")
"""What the first explanation loads after its model, in the order in which it does."""

# ----------------------------------------------------------------------------------------------------- before the start


def check_settings() -> None:
    """Set up the log and look at all settings; ends the process with one line for each that cannot be used."""
    log.set_up("text")
    try:
        check(os.environ)
        log.set_up(settings().log_format)
        sign_in.check()
    except SettingError as fault:
        for line in str(fault).splitlines():
            _LOG.critical(line)
        raise SystemExit(2) from None


def share_the_cores() -> None:
    """Have torch's threads sleep while they wait, so that others can work; before it is loaded.

    Where it is set how many jobs run at once, each gets its share of the cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if jobs := settings().jobs:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // jobs)))


def run_the_menu_from_the_first_visit_on() -> None:
    """Keep Streamlit from taking the folder ``pages`` for its older kind of menu, which would pass app.py by."""
    PagesManager.uses_pages_directory = False


def keep_uploads_in_memory(*, megabytes: int) -> None:
    """Let uploads up to that size stay in memory; Starlette would write those above 1 MB to the temporary folder."""
    MultiPartParser.spool_max_size = (megabytes + 1) * 2**20
    folder = Path(tempfile.gettempdir())
    if not in_memory(folder):
        _LOG.warning(
            "The temporary folder %s is on a disk. Uploads stay in memory all the same; to be safe against other "
            "libraries as well, start with TMPDIR naming a folder in memory, such as /dev/shm.",
            folder,
        )


def in_memory(folder: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Return whether a folder is on a file system in memory, as far as the system tells."""
    if not mounts.is_file():
        return False
    kinds = {Path(parts[1]): parts[2] for line in mounts.read_text().splitlines() if len(parts := line.split()) > 2}
    place = folder.resolve()
    return next((kinds[path] for path in (place, *place.parents) if path in kinds), "") in ("tmpfs", "ramfs")


def ask_nobody_for_the_own_address() -> None:
    """Keep Streamlit from asking a host on the internet for this machine's address when a foreign page knocks."""
    net_util.get_external_ip = net_util.get_internal_ip = lambda: None


# -------------------------------------------------------------------------------------------------------------- headers


def _page() -> str:
    """Return Streamlit's page with a title, and told where its server is.

    Without that it asks at the address of each sub-page first, which is answered by 404 twice.
    """
    text = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    where = "<script>window.__streamlit = {BACKEND_BASE_URL: new URL('./', location).href}</script>"
    return text.replace("<title>Streamlit</title>", "<title>SERscope</title>").replace("<head>", f"<head>{where}", 1)


_PAGE = _page()


def _own_scripts() -> str:
    """Return the hashes of the scripts inside the page, as the policy wants them."""
    inside = re.findall(r"<script(?:\s[^>]*)?>(.+?)</script>", _PAGE, flags=re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside)
    return " ".join(f"'sha256-{digest}'" for digest in hashes)


# Some browsers do not count a WebSocket to the own host as 'self'; OWN stands for it.
_POLICY = (
    f"default-src 'self'; script-src 'self' blob: {_own_scripts()}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self' data:; connect-src 'self'OWN blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[\da-fA-F:]+\](:\d+)?", re.ASCII)


class SecurityHeaders:
    """Adds HEADERS and the policy to every response: a page loads nothing from, and sends nothing to, another host.

    What comes from a voice is kept by no cache. Behind TLS, cookies and the browser stay with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        host = asked.get("host", "")
        own = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
        secure = "https" in (scope["scheme"], asked.get("x-forwarded-proto"))
        private = any(part in scope["path"] for part in sign_in.OF_VOICES)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**HEADERS, "Content-Security-Policy": _POLICY.replace("OWN", own)})
                if private:
                    headers["Cache-Control"] = "no-store"
                if secure:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                    message["headers"] = [_kept_to_tls(*pair) for pair in message["headers"]]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _kept_to_tls(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    open_cookie = name.lower() == b"set-cookie" and b"; secure" not in value.lower()
    return name, value + b"; Secure" if open_cookie else value


def middleware() -> list[Middleware]:
    """Return what stands between the network and Streamlit."""
    return [Middleware(SecurityHeaders), Middleware(sign_in.Door), Middleware(room.Room)]


# --------------------------------------------------------------------------------------------------------------- routes


def routes(pages: Iterable[str]) -> list[Route]:
    """Return the server's own answers: the pages by name, whether the first model is loaded, and the metrics."""
    base = config.get_option("server.baseUrlPath")
    asked = [(_shell, name) for name in ("", *pages)] + [(_ready, "ready"), (_metrics, "metrics")]
    return [Route(make_url_path(base, name), answer) for answer, name in asked]


def _shell(_request: Request) -> Response:
    return HTMLResponse(_PAGE, headers={"Cache-Control": "no-cache"})


def _ready(_request: Request) -> Response:
    if _warm.is_set():
        return PlainTextResponse("ready")
    return PlainTextResponse("loading the first model", 503, headers={"Retry-After": "5"})


def _metrics(_request: Request) -> Response:
    if not settings().metrics:
        return PlainTextResponse("Set SERSCOPE_METRICS=1 to see the metrics here.", 404)
    from pages.parts import metrics

    return PlainTextResponse(metrics.page(), headers={"Cache-Control": "no-store"})


# -------------------------------------------------------------------------------------------------------- while it runs


@asynccontextmanager
async def beside(_app: st.App) -> AsyncIterator[None]:
    """Beside the server: load the heavy libraries and the first model, drop what is not used; end the workers."""
    workers.bound()
    workers.decode_apart()
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
    watching = asyncio.create_task(own_data.watch(_warm.is_set), name="own data")
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        workers.shut_down()


def _warm_up() -> None:
    # Libraries make many objects and drop few: collecting while they load only takes time.
    gc.disable()
    try:
        _load_first_model()
    finally:
        gc.enable()
    _warm.set()


def _load_first_model() -> None:
    # In processes of their own, so they start while the libraries are loaded here.
    starting = threading.Thread(target=_start_workers, name="warm-up of workers", daemon=True)
    starting.start()
    from ser_core.registry import load_model, model_names

    try:
        for name in model_names()[:1]:
            load_model(name)
        for library in FOR_EXPLANATIONS:
            importlib.import_module(library)
    except SerscopeError as fault:
        # Whoever opens the model meets the same message on the page.
        _LOG.warning("The warm-up ended early: %s", fault)
    starting.join()


def _start_workers() -> None:
    try:
        workers.warm_up()
    except SerscopeError as fault:
        _LOG.warning("The processes beside the server did not start: %s", fault)
