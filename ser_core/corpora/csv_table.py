"""Any corpus described by a CSV file with the columns file, speaker and emotion."""

import os
import re
from pathlib import Path

from ser_core.corpora.table import UNKNOWN, About, Corpus, Reader, Tree, finish, header_of, number, read_table
from ser_core.corpora.vocabulary import EMOTIONS
from ser_core.errors import CorpusError, short

_NEEDED = ("file", "speaker", "emotion")
_NAMES = ("labels.csv", "metadata.csv")
_ALIASES = {
    "path": "file",
    "filename": "file",
    "speaker_id": "speaker",
    "gender": "sex",
    "text": "transcript",
    "label": "emotion",
    "emotion_label": "emotion",
    "transcription": "transcript",
}
_TEXTS = ("sex", "race", "ethnicity", "language", "intensity", "split")
_WORDS = ("transcript", "text_id")
_NUMBERS = ("age", "arousal", "valence", "dominance", *(f"vote_{word}" for word in EMOTIONS))


def _table_of(tree: Tree) -> Path | None:
    if tree.csv:
        return tree.csv
    tables = sorted(tree.folder.glob("*.csv"))
    return tree.find(*_NAMES) or (tables[0] if len(tables) == 1 else None)


def _canonical(column: str) -> str:
    name = column.strip().lower()
    return _ALIASES.get(name, name)


def _recognises(tree: Tree) -> bool:
    path = _table_of(tree)
    if path is None:
        return False
    try:
        header = header_of(path)
    except CorpusError:  # a table of one of these names is meant for this: reading says what is wrong with it
        return tree.csv is not None or path.name in _NAMES
    return tree.csv is not None or len({_canonical(column) for column in header} & set(_NEEDED)) > 1


def _read(tree: Tree) -> Corpus:
    path = _table_of(tree)
    if path is None:
        raise CorpusError(f"{tree.folder} has no labels.csv, no metadata.csv and no other single CSV file.")
    table = read_table(path, [])
    canonical = [_canonical(column) for column in table.columns]
    # The file's own spelling wins over an alias of the same column.
    exact = {column.strip().lower() for column in table.columns}
    keep = [
        place
        for place, column in enumerate(table.columns)
        if canonical[place] == column.strip().lower() or canonical[place] not in exact
    ]
    table = table.iloc[:, keep].set_axis([canonical[place] for place in keep], axis=1)
    names = list(table.columns)
    if twice := sorted({name for name in (*_NEEDED, *_TEXTS, *_WORDS, *_NUMBERS) if names.count(name) > 1}):
        raise CorpusError(f"{short(path.name)} has several columns that mean {', '.join(twice)}; keep one of each.")
    absent = [column for column in _NEEDED if column not in table]
    if absent:
        raise CorpusError(
            f"{short(path.name)} lacks the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}; a corpus table "
            f"needs file, speaker and emotion, and this one has {', '.join(map(short, table.columns[:20]))}."
        )
    blank = int((table["file"].str.strip() == "").sum())
    if blank:
        raise CorpusError(
            f"{short(path.name)} has {blank} row{'s' if blank > 1 else ''} without a file; "
            "fill it in or leave such rows out."
        )
    rows: list[dict[str, object]] = []
    for record in table.to_dict("records"):
        rows.append(
            {
                "file": path.parent / str(record["file"]),
                "name": _name(path.parent, str(record["file"])),
                "speaker_id": _known(record["speaker"]),
                "emotion": _known(record["emotion"]),
                **{column: _known(record.get(column, "")) for column in _TEXTS},
                **{column: str(record.get(column, "")).strip() or None for column in _WORDS},
                **{column: number(record[column]) for column in _NUMBERS if column in record},
            }
        )
    languages = sorted({str(row["language"]) for row in rows if row["language"]})
    folder = path.parent.resolve().name
    about = About(
        name=re.sub(r"\W+", "_", folder.lower()).strip("_") or "table",
        title=folder,
        licence="not stated in the table",
        language=",".join(languages),
        note=f"Read from {path.name} as it stands.",
    )
    return finish(about, rows)


def _name(folder: Path, file: str) -> str:
    """Return the one name of a file, however its path is written: from the folder on, without its ending."""
    name = os.path.relpath(folder / file, folder)
    return name.removesuffix(Path(name).suffix)


def _known(cell: object) -> str | None:
    """Return what a cell says, None where it says that it is not known."""
    text = str(cell).strip()
    return None if text.lower() in UNKNOWN else text


READER = Reader(
    name="csv",
    title="CSV table",
    layout="labels.csv, metadata.csv or a single CSV file with the columns file, speaker and emotion",
    recognises=_recognises,
    read=_read,
    fallback=True,
)
