"""Any corpus described by a CSV file with the columns file, speaker and emotion."""

import re
from pathlib import Path

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, number, read_table
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
_TEXTS = ("sex", "race", "ethnicity", "language", "intensity", "transcript", "text_id", "split")
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
        header = read_table(path, [], nrows=0)
    except CorpusError:
        return tree.csv is not None
    return tree.csv is not None or len({_canonical(str(column)) for column in header} & set(_NEEDED)) > 1


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
    if twice := sorted({name for name in (*_NEEDED, *_TEXTS, *_NUMBERS) if names.count(name) > 1}):
        raise CorpusError(f"{short(path.name)} has several columns that mean {', '.join(twice)}; keep one of each.")
    absent = [column for column in _NEEDED if column not in table]
    if absent:
        raise CorpusError(
            f"{short(path.name)} lacks the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}; a corpus table "
            f"needs file, speaker and emotion, and this one has {', '.join(map(short, table.columns[:20]))}."
        )
    blank = int((table["file"].str.strip() == "").sum())
    if blank:
        raise CorpusError(f"{short(path.name)} has {blank} rows without a file; fill them in or take them out.")
    rows: list[dict[str, object]] = []
    for record in table.to_dict("records"):
        rows.append(
            {
                "file": path.parent / str(record["file"]),
                "name": str(Path(str(record["file"])).with_suffix("")),
                "speaker_id": str(record["speaker"]).strip() or None,
                "emotion": record["emotion"],
                **{column: str(record.get(column, "")).strip() or None for column in _TEXTS},
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


READER = Reader(
    name="csv",
    title="CSV table",
    layout="labels.csv, metadata.csv or a single CSV file with the columns file, speaker and emotion",
    recognises=_recognises,
    read=_read,
    fallback=True,
)
