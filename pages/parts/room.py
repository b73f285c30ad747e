"""Room for what readers give: a bound on one reader's and on all readers' uploads, and on what sessions keep of them.

An upload is looked at before it is read. Where there is no room for it, its bytes are let go as they come, and an empty
file takes its place that says so by its type; the page that opens it shows one sentence. Nothing else changes.
"""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config, runtime

from pages.parts import session
from ser_core.errors import SerscopeError
from ser_core.settings import settings

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

UPLOADS = "/_stcore/upload_file/"
ONE_READER_MB = 500
MB = 1_000_000
OF_ALL, OF_ONE = (f"application/x-serscope-no-room-{whose}" for whose in ("all", "one"))
_REFUSED = {
    OF_ALL: "The server holds as much of its readers' files as it may just now, so this file was not taken; what you "
    "have here is kept. Try again in some minutes, or give a smaller file.",
    OF_ONE: f"At most {ONE_READER_MB} MB are kept for one reader, and with this file it would be more, so it was not "
    "taken; what you have here is kept. Forget a recording, some clips or a table first.",
}
WHILE_IT_COMES = 2
"""An upload is held twice while it comes: as the parts that have come, and as the whole that is made of them."""

ALONE = threading.Lock()
"""Held while a table or a report is read, which takes many times its size: by one reader at a time."""

# Bytes that are coming, by request; asked and changed in the server's one loop.
_coming: dict[object, tuple[str, int]] = {}


class RoomError(SerscopeError):
    """There is no room for an upload."""


def content(file: "UploadedFile") -> bytes:
    """Return the bytes of an upload.

    Raises:
        RoomError: there was no room for it when it came.
    """
    if file.type in _REFUSED:
        raise RoomError(_REFUSED[file.type])
    return file.getvalue()


def used() -> int:
    """Return how many bytes of all readers are coming, are held as uploads, and are kept in sessions."""
    return _used(_held())


def _used(held: Mapping[str, int]) -> int:
    return WHILE_IT_COMES * sum(size for _, size in _coming.values()) + sum(held.values())


class Room:
    """Lets an upload in where there is room for it, and an empty file in its place where there is none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        size = _size_of_upload(scope)
        if size is None:
            await self.app(scope, receive, send)
            return
        reader = scope["path"].rpartition(UPLOADS)[2].partition("/")[0]
        if full := _full(reader, size):
            await _let_go(receive, size)
            scope, receive = _in_its_place(scope, full)
            size = 0
        request = object()
        _coming[request] = reader, size
        try:
            await self.app(scope, receive, send)
        finally:
            del _coming[request]


def _size_of_upload(scope: Scope) -> int | None:
    """Return the bytes that a request may bring; None where it brings none, or more than Streamlit takes anyway."""
    if scope["type"] != "http" or scope["method"] != "PUT" or UPLOADS not in scope["path"]:
        return None
    most = config.get_option("server.maxUploadSize") * 2**20
    stated = Headers(scope=scope).get("content-length", "")
    size = int(stated) if stated.isascii() and stated.isdecimal() else most
    return size if size <= most else None


def _full(reader: str, size: int) -> str:
    """Return what is full for so many bytes more of a reader: OF_ONE, OF_ALL, or "" where there is room."""
    held = _held()
    of_one = held.get(reader, 0) + sum(coming for whose, coming in _coming.values() if whose == reader)
    if of_one + size > ONE_READER_MB * MB:
        return OF_ONE
    return OF_ALL if _used(held) + WHILE_IT_COMES * size > settings().uploads_mb * MB else ""


async def _let_go(receive: Receive, size: int) -> None:
    """Read a body to its end and keep nothing: a browser takes an answer that comes before for a broken connection."""
    while size > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        size -= len(message["body"])


def _in_its_place(scope: Scope, full: str) -> tuple[Scope, Receive]:
    """Return the request with an empty file of a type that says what is full."""
    lines = ("--none", 'Content-Disposition: form-data; name="file"; filename="none"', f"Content-Type: {full}")
    body = "\r\n".join([*lines, "", "", "--none--", ""]).encode()
    replaced = {
        b"content-type": b"multipart/form-data; boundary=none",
        b"content-length": str(len(body)).encode(),
    }
    headers = [pair for pair in scope["headers"] if pair[0] not in (*replaced, b"transfer-encoding")]
    ended = False

    async def receive() -> Message:
        nonlocal ended
        given, ended = b"" if ended else body, True
        return {"type": "http.request", "body": given, "more_body": False}

    return {**scope, "headers": [*headers, *replaced.items()]}, receive


def _held() -> dict[str, int]:
    """Return the bytes that are held for each session: its uploads, and what it keeps of those before."""
    running: Any = runtime.get_instance()
    stored = running.uploaded_file_mgr.file_storage
    held = {name: sum(len(file.data) for file in list(files.values())) for name, files in list(stored.items())}
    for each in running._session_mgr.list_sessions():
        kept = size_of(_given(each.session.session_state))
        held[each.session.id] = held.get(each.session.id, 0) + kept
    return held


def _given(state: Any) -> Iterator[Any]:
    """Yield what a session keeps of what it was given; its own thread may forget any of it meanwhile."""
    for key in session.GIVEN:
        with contextlib.suppress(KeyError):
            yield state[key]


def size_of(values: Iterable[Any]) -> int:
    """Return how many bytes of arrays, tables, texts and files are in values, each counted once.

    What another thread changes meanwhile is looked at as it is: lists and mappings are copied first.
    """
    import pandas as pd

    seen: set[int] = set()

    def size(value: Any) -> int:
        if id(value) in seen:
            return 0
        seen.add(id(value))
        if isinstance(value, bytes | str):
            return len(value)
        if isinstance(value, np.ndarray):
            return int(value.nbytes)
        if isinstance(value, pd.DataFrame):
            return int(value.memory_usage().sum())
        if isinstance(value, functools.partial):
            return size(value.args)
        if isinstance(value, Mapping):
            return sum(map(size, list(value.values())))
        if isinstance(value, list | tuple):
            return sum(map(size, list(value)))
        if dataclasses.is_dataclass(value):
            return sum(size(getattr(value, field.name)) for field in dataclasses.fields(value))
        return 0

    return size(tuple(values))
