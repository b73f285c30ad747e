"""The largest file from every reader at once: ``python -m benchmarks.uploads [--sessions 30]``.

Starts a server of its own and lets each reader upload the largest file that the pages take, all at the same time.
Prints how many had room, and the memory of the server before and at most; fails where an upload is not answered, where
more is held than the server may hold, or where memory grows by more than that and ``SPARE_MB``.
"""

import argparse
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from benchmarks.app_speed import server
from benchmarks.load import memory_mb, watched
from ser_core.settings import ROOT, settings

SPARE_MB = 500
PATIENCE_S = 600


@contextmanager
def opened(address: str) -> Iterator[str]:
    """Open a page, and yield its session's number until the page is closed."""
    stream = address.replace("http", "ws") + "/_stcore/stream"
    # Most of what the page is sent is never read here: it waits in a queue without end, so that pings are answered.
    options = {"max_size": None, "max_queue": None, "ping_interval": None}
    with connect(stream, origin=address, subprotocols=["streamlit"], **options) as socket:
        message = BackMsg()
        message.rerun_script.query_string = ""
        socket.send(message.SerializeToString())
        while True:
            got = ForwardMsg.FromString(socket.recv(timeout=PATIENCE_S))
            if got.WhichOneof("type") == "new_session":
                break
        yield got.new_session.initialize.session_id


def put(address: str, session: str, name: str, data: bytes) -> int:
    """Upload a file as a browser does, and return the status."""
    with urllib.request.urlopen(f"{address}/_stcore/health", timeout=PATIENCE_S) as answer:
        cookie = answer.headers["set-cookie"].partition(";")[0]
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    asked = urllib.request.Request(
        f"{address}/_stcore/upload_file/{session}/{name}", head + data + b"\r\n--x--\r\n", method="PUT"
    )
    asked.add_header("Content-Type", "multipart/form-data; boundary=x")
    asked.add_header("Cookie", cookie)
    asked.add_header("X-Xsrftoken", cookie.partition("=")[2])
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as fault:
        return fault.code


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=30)
    chosen = parser.parse_args(arguments)
    largest = int(re.search(r"maxUploadSize = (\d+)", (ROOT / ".streamlit" / "config.toml").read_text())[1])
    data = bytes(largest * 2**20 - 1000)
    os.environ["SERSCOPE_METRICS"] = "1"
    with server() as (address, process, _), ExitStack() as pages:
        readers = [pages.enter_context(opened(address)) for _ in range(chosen.sessions)]
        while _answer(f"{address}/ready") is None:
            time.sleep(0.5)
        before, seen, begun = memory_mb(process.pid), watched(process.pid, 0.2), time.monotonic()
        with ThreadPoolExecutor(chosen.sessions) as many:
            said = list(many.map(lambda reader: put(address, reader, "one", data), readers))
        took, most = time.monotonic() - begun, max(seen())
        metrics = _answer(f"{address}/metrics") or ""
        held = float(re.search(r"^serscope_given_bytes (\S+)$", metrics, re.MULTILINE)[1]) / 1e6
    limit = settings().uploads_mb
    print(
        f"{chosen.sessions} readers with {len(data) / 1e6:.0f} MB each at once: {said.count(204)} answered in "
        f"{took:.0f} s, {held / (len(data) / 1e6):.0f} had room, {held:.0f} MB held of {limit} at most; memory "
        f"{before:.0f} MB before, {most:.0f} MB at most"
    )
    if said.count(204) < len(said) or held > limit or most > before + limit * 1e6 / 2**20 + SPARE_MB:
        raise SystemExit(1)


def _answer(address: str) -> str | None:
    """Return what an address answers, None for a fault."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError:
        return None


if __name__ == "__main__":
    main()
