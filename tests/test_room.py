"""However much readers upload, the server holds a bounded part of it, and says so in a sentence."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bad_inputs import voice, wav
from servers import serving

from benchmarks.uploads import opened, put
from explain.batch import given
from pages.parts import room
from pages.parts.predictions import Chosen
from ser_core.audio import decode
from ser_core.long_audio import long_sound
from tests.test_hostile_files import packed

MB = 1_000_000
LIMIT_MB, FILE_MB = 320, 50


def test_many_readers_at_once_cannot_make_the_server_hold_more_than_it_may(tmp_path):
    flags = ("--server.disconnectedSessionTTL", "1", "--logger.hideWelcomeMessage", "true")
    with serving(tmp_path, lambda _: flags, SERSCOPE_METRICS="1", SERSCOPE_UPLOADS_MB=str(LIMIT_MB)) as served:

        def metric(name: str) -> float:
            return float(re.search(rf"^serscope_{name} (\S+)$", served.get("/metrics")[2], re.MULTILINE)[1])

        file = bytes(FILE_MB * MB)
        with opened(served.url) as first:
            assert put(served.url, first, "one", file) == 204
            with ExitStack() as pages:
                readers = [pages.enter_context(opened(served.url)) for _ in range(7)]
                with ThreadPoolExecutor(len(readers)) as many:
                    said = list(many.map(lambda reader: put(served.url, reader, "one", file), readers))
                # Those without room are answered as well: their pages show a sentence.
                assert said == [204] * 7 and served.held()["uploads"] == 8
                held = metric("given_bytes")
                assert 2 * FILE_MB * MB <= held <= LIMIT_MB * MB == metric("given_bytes_limit")
                assert held % (FILE_MB * MB) == 0  # each is held whole or not at all
            # Pages that are closed make room, and what another reader holds stays.
            served.comes_to("uploads", 1)
            assert metric("given_bytes") == FILE_MB * MB
            with opened(served.url) as late:
                assert put(served.url, late, "two", file) == 204
                assert metric("given_bytes") == 2 * FILE_MB * MB


# --- one upload -------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(monkeypatch) -> dict[str, int]:
    found: dict[str, int] = {}
    monkeypatch.setattr(room, "_held", lambda: found)
    monkeypatch.setenv("SERSCOPE_UPLOADS_MB", "400")
    return found


def sent(reader: str, size: int, coming: int | None = None, stated: bool = True) -> tuple[str, int]:
    """Return what content type and how many bytes the server is given of an upload of that size."""
    seen: dict[str, bytes] = {}
    left = size if coming is None else coming

    async def receive():
        nonlocal left
        part, left = min(left, MB), left - min(left, MB)
        return {"type": "http.request", "body": bytes(part), "more_body": left > 0}

    async def app(scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        seen.update({**dict(scope["headers"]), b"body": body})

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    headers += [(b"content-length", str(size).encode())] if stated else [(b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "PUT", "path": f"/base{room.UPLOADS}{reader}/file", "headers": headers}
    asyncio.run(room.Room(app)(scope, receive, None))
    told = re.search(rb"Content-Type: (\S+)", seen[b"body"])
    if b"content-length" in seen:
        assert int(seen[b"content-length"]) == len(seen[b"body"])
    return (told[1].decode() if told else "", len(seen[b"body"]))


def test_an_upload_is_let_in_or_an_empty_file_says_what_is_full(held):
    assert sent("a", 100 * MB) == ("", 100 * MB)
    held["b"] = 201 * MB
    full, size = sent("a", 100 * MB)
    assert full == room.OF_ALL and size < 300
    held["b"] = 0
    held["a"] = 450 * MB
    assert sent("a", 51 * MB)[0] == room.OF_ONE
    # What states no length may be as large as any.
    held["a"], held["b"] = 0, 100 * MB
    assert sent("a", 0, coming=3 * MB, stated=False)[0] == room.OF_ALL
    held["b"] = 10 * MB
    assert sent("a", 0, coming=3 * MB, stated=False) == ("", 3 * MB)
    assert room._coming == {}


@pytest.mark.parametrize("kind", [room.OF_ALL, room.OF_ONE])
def test_what_had_no_room_is_refused_in_a_sentence_where_it_is_opened(kind):
    with pytest.raises(room.RoomError, match="was not taken; what you have here is kept"):
        room.content(SimpleNamespace(type=kind, getvalue=lambda: b""))
    assert room.content(SimpleNamespace(type="audio/wav", getvalue=lambda: b"x")) == b"x"


def test_what_a_session_keeps_is_counted_once_each():
    clip = decode(wav(voice(1.0)), "a.wav")
    sound = wav(voice(2.0))
    table = pd.DataFrame({"p_anger": np.zeros(1000)})
    zipped = packed({f"{number}.wav": sound for number in range(3)})
    assert room.size_of([clip]) in range(clip.samples.nbytes, clip.samples.nbytes + 200)
    assert room.size_of([clip, [clip]]) == room.size_of([clip])
    assert room.size_of([long_sound(sound, "b.wav")]) in range(len(sound), len(sound) + 200)
    assert room.size_of([Chosen("mine", table, "key")]) in range(8000, 8300)
    assert room.size_of([given([("c.zip", zipped)])]) in range(len(zipped), len(zipped) + 500)
    assert room.size_of([given([("d.wav", sound)])]) in range(len(sound), len(sound) + 200)
    assert room.size_of([None, 3, {"a": b"xy"}]) == 2
