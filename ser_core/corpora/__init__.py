"""Speech corpora: from each owner's own layout to one table."""

from collections.abc import Iterable
from pathlib import Path

from ser_core.corpora import (
    audformat_db,
    crema_d,
    csv_table,
    em2ldl,
    emodb,
    emotale,
    iemocap,
    msp,
    ravdess,
    savee_tess,
    urdu,
)
from ser_core.corpora.confounding import Confounding, speaker_emotion_confounding
from ser_core.corpora.table import COLUMNS, Corpus, Reader, Tree
from ser_core.corpora.vocabulary import EMOTIONS
from ser_core.errors import CorpusError

__all__ = [
    "COLUMNS",
    "EMOTIONS",
    "READERS",
    "Confounding",
    "Corpus",
    "find_corpora",
    "read_corpus",
    "speaker_emotion_confounding",
]

READERS: tuple[Reader, ...] = (
    *(crema_d.READER, ravdess.READER, emodb.READER, emotale.READER, *urdu.READERS, *savee_tess.READERS),
    *(iemocap.READER, *msp.READERS, em2ldl.READER, audformat_db.READER, csv_table.READER),
)
"""Every layout that can be read; a new one is added here."""


def read_corpus(folder: str | Path, corpus: str | None = None) -> Corpus:
    """Return the corpus in a folder, whose layout is found from what lies in it.

    Args:
        folder: the corpus's folder, or a CSV file.
        corpus: name of the layout (a name of :data:`READERS`), where it is known.

    Raises:
        CorpusError: the folder is absent, its layout is not known or not the one asked for, or what it holds is
            incomplete; the sentence says what.
    """
    tree = _tree(Path(folder))
    if corpus is None:
        return _layout(tree).read(tree)
    known = {reader.name: reader for reader in READERS}
    if corpus not in known:
        raise CorpusError(f"'{corpus}' is not a corpus that can be read; it is one of {', '.join(known)}.")
    reader = known[corpus]
    if not reader.recognises(tree):
        raise CorpusError(f"{folder} is not laid out as {reader.title}: there should be {reader.layout}.")
    return reader.read(tree)


def find_corpora(folders: Iterable[str | Path]) -> dict[str, Path]:
    """Return the corpora in these folders, and one level below, as name → folder.

    The name is the layout's, or the folder's own for a database or a table; of two folders with one name the first
    counts. A folder that is a corpus itself counts as one, not as a folder of its parts (such as one for each actor).
    Folders that are absent or of no known layout are passed over. Nothing is read yet.
    """
    found: dict[str, Path] = {}
    for top in map(Path, folders):
        if not top.is_dir():
            continue
        below = sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))
        inside = [(path, matches[0]) for path in below if len(matches := _matches(Tree(path))) == 1]
        for path, reader in _itself(top, inside) or inside:
            found.setdefault(path.resolve().name if reader in _GENERAL else reader.name, path)
    return found


_GENERAL = (audformat_db.READER, csv_table.READER)


def _itself(top: Path, inside: list[tuple[Path, Reader]]) -> list[tuple[Path, Reader]]:
    """Return a folder with its layout if it is a corpus rather than a folder of those inside it, else nothing."""
    layouts = {reader for _, reader in inside}
    if len(layouts) > 1 or layouts & set(_GENERAL):
        return []
    tree = Tree(top)
    matches = _matches(tree)
    if len(matches) != 1 or not layouts <= set(matches):
        return []
    names = [path.stem for path in tree.audio]
    has_tables = any(top.glob("*.csv")) and not any(any(part.glob("*.csv")) for part, _ in inside)
    has_sound = any(path.parent == top for path in tree.audio)
    has_parts = len(inside) > 1 and len(set(names)) == len(names)  # copies have the same names
    is_split = bool(tree.audio) and not any(path.is_relative_to(part) for part, _ in inside for path in tree.audio)
    itself = not inside or has_tables or has_sound or has_parts or is_split  # sound in one folder, tables in another
    return [(top, matches[0])] if itself else []


def _tree(path: Path) -> Tree:
    if path.is_file() and path.suffix.lower() == ".csv":
        return Tree(path.parent, csv=path)
    if not path.is_dir():
        raise CorpusError(f"There is no folder {path}; give the folder of a corpus, or a CSV file.")
    return Tree(path)


def _matches(tree: Tree) -> list[Reader]:
    if tree.csv:
        return [csv_table.READER]
    special = [reader for reader in READERS if not reader.fallback and reader.recognises(tree)]
    return special or [reader for reader in READERS if reader.fallback and reader.recognises(tree)]


def _layout(tree: Tree) -> Reader:
    matches = _matches(tree)
    if len(matches) > 1:
        raise CorpusError(
            f"{tree.folder} looks like {' and like '.join(reader.title for reader in matches)}; say which by its name "
            f"({', '.join(reader.name for reader in matches)})."
        )
    if not matches:
        raise CorpusError(
            f"The layout of {tree.folder} is not known. Looked for: "
            f"{'; '.join(f'{reader.title} ({reader.layout})' for reader in READERS)}."
        )
    return matches[0]
