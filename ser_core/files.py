"""Writes files whole or not at all, so that a kill, a full disk or a power cut damages nothing that was there before.

A file is written beside its place under another name, forced to the disk, and then takes the place in one step
(rename(2) is atomic; the folder is forced to the disk as well, or a power cut may undo the rename: fsync(2)). What a
kill leaves behind ends in ``.partial``, is read by nothing, and is cleared by the next write of the same file.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from ser_core.errors import SettingError, StorageError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

PARTIAL = ".partial"
_FORGOTTEN_S = 24 * 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends without a fault, what was written there becomes ``path``.

    A path that is no regular file, such as /dev/stdout, is given as it is. A link's target is replaced, not the link.

    Raises:
        StorageError: the disk is full or refuses; ``path`` is as it was before.
    """
    with _in_words(path):
        if path.exists() and not path.is_file():
            yield path
            return
        target = path.resolve()
        partial = _beside(target)
        try:
            yield partial
            _to_disk(partial)
            partial.replace(target)
            _to_disk(target.parent)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends without a fault, it takes the place of ``path``.

    Raises:
        StorageError: the disk is full or refuses; ``path`` is as it was before.
    """
    with _in_words(path):
        target = path.resolve()
        partial, old = _beside(target), _beside(target)
        try:
            partial.mkdir()
            yield partial
            for inside in sorted(partial.rglob("*"), reverse=True):
                _to_disk(inside)
            _to_disk(partial)
            if not (target.exists() and _swapped(partial, target)):
                if target.exists():
                    target.rename(old)
                partial.rename(target)
            _to_disk(target.parent)
        finally:
            with contextlib.suppress(OSError):
                if old.exists() and not target.exists():
                    old.rename(target)
            for left in (partial, old):
                shutil.rmtree(left, ignore_errors=True)


def _swapped(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; return False where the system cannot (renameat2(2) is Linux's)."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2 is not None and renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def check_outputs(paths: Iterable[Path | None], inputs: Iterable[Path | str] = ()) -> None:
    """Look at where files are written after long work, which would else be lost; None is passed over.

    Args:
        paths: of the files that will be written.
        inputs: files that are read, and that none of them may replace.

    Raises:
        SettingError: a folder is not there, a path is a folder or is named twice, or an input would be overwritten.
    """
    read = {Path(path).resolve() for path in inputs}
    named: set[Path] = set()
    for path in paths:
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise SettingError(f"The folder of {path} does not exist; make it first.")
        if path.is_dir():
            raise SettingError(f"{path} is a folder; name a file in it.")
        if path.resolve() in read:
            raise SettingError(f"{path} is what is read, and would be overwritten; choose another name.")
        if path.resolve() in named:
            raise SettingError(f"{path} is named twice; give each output a name of its own.")
        named.add(path.resolve())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: as ``whole``.
    """
    with whole(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write text in UTF-8, line ends as they are, whole or not at all.

    Raises:
        StorageError: as ``whole``.
    """
    write_bytes(path, content.encode())


def save_tensors(tensors: "Mapping[str, Tensor]", path: Path, note: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, each made contiguous, whole or not at all.

    Raises:
        StorageError: as ``whole``.
    """
    from safetensors.torch import save_file

    kept = {name: value.contiguous() for name, value in tensors.items()}
    with whole(path) as partial:
        save_file(kept, partial, metadata=dict(note) if note else None)


def write_table(table: "pd.DataFrame", path: Path, **options: Any) -> None:
    """Write a table without its index as Parquet with checksums, or as CSV where the name ends so.

    Args:
        table: what is written.
        path: where to; Parquet unless it ends in .csv.
        options: of ``to_parquet`` or ``to_csv``.

    Raises:
        StorageError: as ``whole``.
    """
    with whole(path) as partial:
        if path.suffix.lower() == ".csv":
            table.to_csv(partial, index=False, **options)
        else:
            apart = _mostly_different(table)
            how: dict[str, Any] = {"compression": "zstd", "compression_level": 9, "write_page_checksum": True}
            how |= {"use_byte_stream_split": apart, "use_dictionary": [name for name in table if name not in apart]}
            table.to_parquet(partial, index=False, **how | options)


def _mostly_different(table: "pd.DataFrame") -> list[str]:
    """Return the columns of fractions that hardly come twice: a dictionary of them would be larger than they are."""
    fractions = [str(name) for name in table if table[name].dtype.kind == "f"]
    return [name for name in fractions if table[name].nunique() > len(table) / 2]


def digest_of(files: Iterable[str | Path]) -> str:
    """Return what tells these files from others in the same place: a hash of folders, names and sizes."""
    found = hashlib.sha256()
    for file in map(Path, files):
        found.update(f"{file.parent.name}/{file.name} {file.stat().st_size}\n".encode())
    return found.hexdigest()[:12]


def state_of(file: str | Path) -> str:
    """Return what tells a file from what was at its place before: its path, size in bytes and time of change (ns).

    Raises:
        FileNotFoundError: it is not there.
    """
    path = Path(file).resolve()
    state = path.stat()
    return f"{path} {state.st_size} {state.st_mtime_ns}"


def stored_table(path: Path) -> "pd.DataFrame | None":
    """Return a table of ``write_table`` from a Parquet file; None where it is not there or damaged.

    A damaged one is deleted, with a line that says so, so that whoever resumes makes it again.
    """
    import pandas as pd
    from pyarrow import ArrowException  # type: ignore[import-untyped]

    if not path.exists():
        return None
    try:
        return pd.read_parquet(path, page_checksum_verification=True)
    except (ArrowException, OSError, ValueError):
        path.unlink()
        print(f"{path} was damaged and is deleted; it is made again.", flush=True)
        return None


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, whole and on the disk, or leave the file as it was.

    The line is one write in append mode, so that two processes do not mix theirs; a line cut off by a kill before is
    ended first and does not take this one with it.

    Raises:
        StorageError: the disk is full or refuses.
    """
    with _in_words(path):
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            content = ("\n" if torn else "").encode() + line.encode() + b"\n"
            if os.write(handle, content) != len(content):
                os.ftruncate(handle, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        finally:
            os.close(handle)


def is_partial(path: Path) -> bool:
    """Return whether a file or folder is one that was never finished."""
    return path.name.endswith(PARTIAL)


def _beside(target: Path) -> Path:
    """Return a free name beside the target, and clear what kills left there more than a day ago."""
    for left in target.parent.glob(f".{_literal(target.name)}.*{PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _FORGOTTEN_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL}")


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # only there can a folder be opened
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as fault:
        number = getattr(fault, "errno", None)
        # NumPy and safetensors tell a full disk in words of their own.
        if number in _FULL or "os error 28" in str(fault) or "requested and" in str(fault):
            raise StorageError(
                f"'{path}' could not be written: the disk is full. Make room and do the same again; what was stored "
                "before is unharmed."
            ) from fault
        reason = getattr(fault, "strerror", None) or str(fault).splitlines()[0]
        raise StorageError(
            f"'{path}' cannot be written ({reason}); choose another place, or mend that. What was stored before is "
            "unharmed."
        ) from fault


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
