"""The server around the pages: headers, uploads that stay in memory, and a warm start."""

import base64
import hashlib
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.runtime.pages_manager import PagesManager


def _own_scripts() -> str:
    """Return the hashes of the scripts inside Streamlit's own page, as the policy wants them."""
    page = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    inside = re.findall(r"<script(?:\s[^>]*)?>(.+?)</script>", page, flags=re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside)
    return " ".join(f"'sha256-{digest}'" for digest in hashes)


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'self'; script-src 'self' blob: {_own_scripts()}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; font-src 'self' data:; connect-src 'self' ws: wss: blob:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SecurityHeaders:
    """Adds HEADERS to every response: a page can load nothing from, and send nothing to, another host."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def run_the_menu_from_the_first_visit_on() -> None:
    """Keep Streamlit from taking the folder ``pages`` for its older kind of menu, which would pass app.py by."""
    PagesManager.uses_pages_directory = False


def middleware() -> list[Middleware]:
    """Return what stands between the network and Streamlit."""
    return [Middleware(SecurityHeaders)]


def keep_uploads_in_memory(*, megabytes: int) -> None:
    """Let uploads up to that size stay in memory; Starlette would write those above 1 MB to the temporary folder."""
    MultiPartParser.spool_max_size = (megabytes + 1) * 2**20


@asynccontextmanager
async def warm_up(_app: st.App) -> AsyncIterator[None]:
    """Load the heavy libraries and the first model beside the server, which answers meanwhile; end the workers."""
    threading.Thread(target=_load_first_model, name="warm-up", daemon=True).start()
    try:
        yield
    finally:
        from ser_core import workers

        workers.shut_down()


def _load_first_model() -> None:
    from ser_core import workers
    from ser_core.errors import SerscopeError
    from ser_core.models import load_model, model_names

    try:
        for name in model_names()[:1]:
            load_model(name)
    except SerscopeError:
        # Whoever opens the model meets the same message on the page.
        pass
    workers.warm_up()
