"""Open corpora, downloaded through ``audb`` when the user asks for one and at no other time.

``python -m ser_core.corpora.open_corpora emodb`` downloads EMO-DB. A downloaded corpus lies in the cache folder, stays
there for the next time, and is read as the audformat database that it is.
"""

import argparse
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_core.corpora import Corpus, read_corpus
from ser_core.errors import CorpusError, command_line
from ser_core.settings import settings

LAYOUT = "audformat"
PUBLIC = ("audb-public", "s3.dualstack.eu-north-1.amazonaws.com", "s3")
"""Name, host and kind of audEERING's public repository (https://audeering.github.io/audb)."""

REMOTE, PORT, REACH_S = ("s3", "minio"), 443, 5.0
AT_ONCE = 5
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class OpenCorpus:
    """A corpus that anybody may download; ``name`` and ``version`` are those of audb, the size is that of its audio."""

    name: str
    title: str
    licence: str
    version: str
    size_mb: float


# 1487.1 s of 16-bit samples at 16 kHz: https://audeering.github.io/datasets/datasets/emodb.html.
OPEN_CORPORA = {corpus.name: corpus for corpus in (OpenCorpus("emodb", "EMO-DB", "CC0 1.0", "1.4.1", 47.6),)}
"""Every corpus that is offered, by name."""


def corpus_folder(name: str, cache_dir: Path) -> Path:
    """Return where a downloaded corpus lies, whether it has been downloaded or not."""
    return cache_dir / "corpora" / f"{name}-{OPEN_CORPORA[name].version}"


def downloaded(cache_dir: Path) -> dict[str, Path]:
    """Return the folders of the open corpora that have been downloaded, by name."""
    folders = {name: corpus_folder(name, cache_dir) for name in OPEN_CORPORA}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def fetch_open_corpus(name: str, *, cache_dir: Path, repositories: Sequence[Any] | None = None) -> Corpus:
    """Return an open corpus; it is downloaded first where that has not been done.

    The download appears under its name only when it is whole, so that one that was cut off is never read.

    Args:
        name: one of :data:`OPEN_CORPORA`.
        cache_dir: the corpus is kept below it, in ``corpora``.
        repositories: ``audb.Repository`` objects to look in; audEERING's public one where none are given. The user's
            own audb configuration has no say.

    Raises:
        CorpusError: there is no such open corpus, the server cannot be reached, or the download failed.
    """
    if name not in OPEN_CORPORA:
        raise CorpusError(
            f"'{name}' is not an open corpus that can be downloaded; it is one of {', '.join(OPEN_CORPORA)}."
        )
    folder = corpus_folder(name, cache_dir)
    with _ONE_AT_A_TIME:
        if not folder.is_dir():
            _download(OPEN_CORPORA[name], folder, repositories)
    return read_corpus(folder, LAYOUT)


def _download(corpus: OpenCorpus, folder: Path, repositories: Sequence[Any] | None) -> None:
    import audb

    sources = [audb.Repository(*PUBLIC)] if repositories is None else list(repositories)
    _reach(corpus, sources)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as partial, _looking_in(sources):
            whole = Path(partial) / folder.name
            audb.load_to(
                str(whole),
                corpus.name,
                version=corpus.version,
                pickle_tables=False,
                cache_root=str(Path(partial) / "audb"),
                num_workers=AT_ONCE,
                verbose=False,
            )
            # A table that was pickled would run code when it is read; nothing that is offered here needs one.
            for pickled in whole.rglob("*.pkl"):
                pickled.unlink()
            whole.rename(folder)
    except Exception as fault:
        # audb lets errors of its back ends, of zip files and of the file system through.
        reason = (str(fault).splitlines() or [type(fault).__name__])[0].rstrip(".")
        raise CorpusError(
            f"{corpus.title} could not be downloaded ({reason}); check the connection and the space on the disk, and "
            "ask again."
        ) from fault


def _reach(corpus: OpenCorpus, repositories: Sequence[Any]) -> None:
    """Raise where a server does not answer: audb itself takes 20 s and more to find out, and does not say so."""
    for repository in repositories:
        if repository.backend in REMOTE:
            try:
                socket.create_connection((repository.host, PORT), timeout=REACH_S).close()
            except OSError as fault:
                raise CorpusError(
                    f"{corpus.title} could not be downloaded: the server {repository.host} cannot be reached from "
                    "here; go online and ask again, or name a folder with the corpus in SERSCOPE_CORPORA."
                ) from fault


@contextmanager
def _looking_in(repositories: Sequence[Any]) -> Iterator[None]:
    """Let audb look in these repositories only; it takes them from its configuration and not as an argument."""
    import audb

    before = audb.config.REPOSITORIES
    audb.config.REPOSITORIES = list(repositories)
    try:
        yield
    finally:
        audb.config.REPOSITORIES = before


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Download an open corpus and say where it lies; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ser_core.corpora.open_corpora", description=main.__doc__)
    parser.add_argument("name", choices=list(OPEN_CORPORA))
    name = parser.parse_args(arguments).name
    corpus = fetch_open_corpus(name, cache_dir=settings().cache_dir)
    print(f"{OPEN_CORPORA[name].title}: {len(corpus.table)} clips in {corpus_folder(name, settings().cache_dir)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
