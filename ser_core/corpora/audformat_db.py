"""Any audformat database (https://audeering.github.io/audformat), as audb publishes and caches them."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, number
from ser_core.errors import CorpusError

_SPLITS = {"dev": "validation", "development": "validation"}
_DIMENSIONS = ("arousal", "valence", "dominance")


def _columns(database: Any, name: str) -> list[tuple[Any, Any]]:
    """Return every (table, column) that is called ``name`` or follows the scheme of that name."""
    return [
        (table, column)
        for table in database.tables.values()
        for column_id, column in table.columns.items()
        if name in (column_id, column.scheme_id)
    ]


def _by_file(database: Any, name: str) -> tuple[pd.Series, dict[object, str]]:
    """Return the values of a column by file, first come first kept, and the split of each file that has one."""
    values: dict[object, object] = {}
    splits: dict[object, str] = {}
    for table, column in _columns(database, name):
        given = column.get().dropna()
        if isinstance(given.index, pd.MultiIndex):
            given = _whole_files(database, given)
        for file, value in given.items():
            values.setdefault(file, value)
        if table.split_id is not None:
            kind = str(database.splits[table.split_id].type)
            splits |= dict.fromkeys(given.index, _SPLITS.get(kind, kind))
    return pd.Series(values, dtype=object), splits


def _whole_files(database: Any, given: pd.Series) -> pd.Series:
    starts, ends = given.index.get_level_values("start"), given.index.get_level_values("end")
    if not ((starts == pd.Timedelta(0)) & ends.isna()).all():
        raise CorpusError(
            f"The audformat database {database.name} labels segments inside longer files; cut the audio into one file "
            "a segment first."
        )
    return given.droplevel(["start", "end"])


def _speakers(database: Any) -> dict[object, dict[str, object]]:
    """Return what the speaker scheme says of each speaker."""
    scheme_ids = [column.scheme_id for _, column in _columns(database, "speaker") if column.scheme_id]
    labels = database.schemes[scheme_ids[0]].labels if scheme_ids else None
    if isinstance(labels, str):
        return database.misc_tables[labels].get().to_dict("index")
    return {key: value for key, value in labels.items() if isinstance(value, dict)} if isinstance(labels, dict) else {}


def _language(code: object) -> str | None:
    from iso639 import Lang  # type: ignore[import-not-found, unused-ignore]
    from iso639.exceptions import InvalidLanguageValue  # type: ignore[import-not-found, unused-ignore]

    try:
        return Lang(str(code)).pt1 or None
    except InvalidLanguageValue:
        return None


def _spoken(database: Any) -> dict[object, object]:
    """Return the words behind each code of the transcription scheme, where it has codes."""
    scheme_ids = [column.scheme_id for _, column in _columns(database, "transcription") if column.scheme_id]
    labels = database.schemes[scheme_ids[0]].labels if scheme_ids else None
    return labels if isinstance(labels, dict) else {}


def _refuse_code(folder: Path) -> None:
    """Refuse what would run code when audformat opens it: pickled tables, and YAML that names Python objects."""
    pickled = sorted(path.name for path in folder.glob("*.pkl"))
    if pickled:
        raise CorpusError(
            f"The audformat database in {folder} holds pickled tables ({', '.join(pickled)}), which could run code "
            "when opened; delete them if a CSV or Parquet file of the same name lies beside them."
        )
    try:
        yaml.safe_load((folder / "db.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as fault:
        reason = str(fault).splitlines()[0]
        raise CorpusError(f"The header db.yaml in {folder} is not plain YAML ({reason}); write it anew.") from fault


def _read(tree: Tree) -> Corpus:
    import audformat

    _refuse_code(tree.folder)
    try:
        database = audformat.Database.load(str(tree.folder))
    except Exception as error:
        # audformat lets errors of yaml, pyarrow and the file system through.
        raise CorpusError(f"The audformat database in {tree.folder} cannot be loaded ({error}).") from error
    emotions, splits = _by_file(database, "emotion")
    if emotions.empty:
        known = sorted({column for table in database.tables.values() for column in table.columns})
        raise CorpusError(
            f"The audformat database {database.name} has no column or scheme named emotion; it has "
            f"{', '.join(known) or 'no columns'}."
        )
    given = {name: _by_file(database, name)[0] for name in ("speaker", "transcription", *_DIMENSIONS)}
    people, said = _speakers(database), _spoken(database)
    languages = [code for code in map(_language, database.languages) if code]
    rows: list[dict[str, object]] = []
    for file, emotion in emotions.items():
        speaker = given["speaker"].get(file)
        person = people.get(speaker, {})
        text = given["transcription"].get(file)
        rows.append(
            {
                "file": tree.folder / str(file),
                "name": str(Path(str(file)).with_suffix("")),
                "speaker_id": None if speaker is None else str(speaker),
                "sex": person.get("sex", person.get("gender")),
                "age": number(person.get("age")),
                "language": _language(person["language"]) if "language" in person else _only(languages),
                "emotion": emotion,
                "transcript": said.get(text, text),
                "text_id": None if text is None else str(text),
                "split": splits.get(file),
                **{name: given[name].get(file) for name in _DIMENSIONS},
            }
        )
    about = About(
        name=re.sub(r"\W+", "_", database.name.lower()),
        title=database.name,
        licence=str(database.license or "not stated in the database"),
        language=",".join(languages),
        note=" ".join(str(database.description or "").split()),
        rating_range=_rating_range(database),
    )
    return finish(about, rows)


def _only(languages: list[str]) -> str | None:
    return languages[0] if len(languages) == 1 else None


def _rating_range(database: Any) -> tuple[float, float] | None:
    ids = [column.scheme_id for name in _DIMENSIONS for _, column in _columns(database, name) if column.scheme_id]
    limits = [(database.schemes[key].minimum, database.schemes[key].maximum) for key in ids]
    known = [(float(low), float(high)) for low, high in limits if low is not None and high is not None]
    return known[0] if known and len(set(known)) == 1 else None


READER = Reader(
    name="audformat",
    title="audformat database",
    layout="db.yaml of an audformat or audb database",
    recognises=lambda tree: tree.find("db.yaml") is not None,
    read=_read,
)
