"""Loaded by Python in the server of test_private_server.py and in its workers: notes what leaves the process.

Each line of the file named by WATCH_LOG is a place that was connected or sent to, a name that was looked up, or a file
that Python opened for writing. On SIGUSR1 the process writes what it still holds of its readers' voices to WATCH_LOG
with .held appended.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

_LOG = os.environ.get("WATCH_LOG", "")
_OWN = ("", "localhost", "127.0.0.1", "::1", "0.0.0.0")


def _note(event: str, said: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and said[0].family != socket.AF_UNIX:
        line = f"connect {said[1]}"
    elif event == "socket.getaddrinfo" and said[0] not in (None, *_OWN, *map(str.encode, _OWN)):
        line = f"connect {said[0]}"
    elif event == "open" and isinstance(said[0], str | bytes) and said[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        line = f"write {os.fsdecode(said[0])}"
    else:
        return
    os.write(_OUT, f"{line}\n".encode())


def _tell(*_: object) -> None:
    import gc

    from streamlit import runtime

    running = runtime.get_instance()
    collected, frozen = len(gc.get_objects()), gc.get_freeze_count()
    gc.unfreeze()  # what is frozen would not be seen
    kinds = [type(each).__name__ for each in gc.get_objects()]
    if frozen:
        gc.freeze()  # to free it is the server's own task
    held = {
        "collected": collected,
        "clips": kinds.count("Recording") + kinds.count("Explanation"),
        "sessions": len(running._session_mgr.list_sessions()),
        "uploads": sum(map(len, running.uploaded_file_mgr.file_storage.values())),
        "media": len(running.media_file_mgr._storage._files_by_id),
    }
    made = Path(f"{_LOG}.new")
    made.write_text(json.dumps(held))
    made.replace(f"{_LOG}.held")


if _LOG:
    _OUT = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(_note)
    signal.signal(signal.SIGUSR1, _tell)
