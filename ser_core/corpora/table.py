"""The one table that every corpus becomes, and the checks that hold for all of them.

Columns, always there and in this order; unknown is missing (NaN), never guessed:

===========  ==========================================================================================
file         absolute path of the audio
corpus       short name, such as ``crema_d``
name         file name without its ending
speaker      ``corpus/id``, unique across corpora
speaker_id   the owners' own id
sex          "female" or "male"
age          years
race         as the owners write it
ethnicity    as the owners write it
language     ISO 639-1
emotion      a word of :data:`ser_core.corpora.vocabulary.EMOTIONS`
intensity    as portrayed, in words
transcript   what is said, where the corpus publishes it
text_id      clips with the same id say the same words
arousal      mean over raters, on the corpus's own scale (``Corpus.rating_range``)
valence      the same
dominance    the same
split        "train", "validation", "test" (or "test1" …) where the owners define one
===========  ==========================================================================================

After these come what one corpus has and others lack: ``vote_<emotion>`` (number of raters), ``share_<label>`` (a label
distribution), each rater's own figures, recognition rates.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.corpora.vocabulary import EMOTIONS, emotion_words
from ser_core.errors import CorpusError, short

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a", ".aac", ".webm"})

TEXT_COLUMNS = (
    *("file", "corpus", "name", "speaker", "speaker_id", "sex", "race", "ethnicity", "language", "emotion"),
    *("intensity", "transcript", "text_id", "split"),
)
COLUMNS = (
    *("file", "corpus", "name", "speaker", "speaker_id", "sex", "age", "race", "ethnicity", "language", "emotion"),
    *("intensity", "transcript", "text_id", "arousal", "valence", "dominance", "split"),
)
"""Columns that every corpus table has, in their order."""
UNKNOWN = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "unknown", "-", "?"})
"""What programs and people write where they do not know, in small letters; R's write.csv writes NA."""
PEOPLE = ("sex", "age", "race", "ethnicity", "language")
"""Those of which groups of speakers are made."""

OLDEST = 120
"""Years; what is beyond stands for an age that is not known, such as 999."""

_SEXES = {"f": "female", "female": "female", "w": "female", "woman": "female"}
_SEXES |= {"m": "male", "male": "male", "man": "male"}


@dataclass(frozen=True, eq=False)
class Corpus:
    """A corpus as one table.

    Attributes:
        name: short name, such as ``crema_d``.
        title: the owners' name for it.
        licence: as far as it could be found.
        language: ISO 639-1 codes, joined by commas.
        note: what a reader of any figure on this corpus has to know.
        table: one row a clip, see :mod:`ser_core.corpora.table`.
        dropped: (file name, reason) of every clip that was left out.
        rating_range: lowest and highest value of arousal, valence and dominance.
    """

    name: str
    title: str
    licence: str
    language: str
    note: str
    table: pd.DataFrame
    dropped: tuple[tuple[str, str], ...]
    rating_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Tree:
    """A corpus folder (or one CSV file) whose audio files are listed once, when first asked for."""

    folder: Path
    csv: Path | None = None

    @cached_property
    def audio(self) -> tuple[Path, ...]:
        """Every audio file below the folder, sorted; hidden files are left out."""
        return tuple(
            sorted(
                path
                for path in self.folder.rglob("*")
                if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
            )
        )

    def within(self, *subfolders: str) -> tuple[Path, ...]:
        """Return the audio below the first of these subfolders that exists, else all of it."""
        for subfolder in subfolders:
            if (self.folder / subfolder).is_dir():
                top = self.folder / subfolder
                return tuple(path for path in self.audio if path.is_relative_to(top))
        return self.audio

    def find(self, *names: str) -> Path | None:
        """Return the first of these files (paths relative to the folder) that exists."""
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    def need(self, *names: str) -> Path:
        """Return the first of these files that exists.

        Raises:
            CorpusError: none of them does.
        """
        path = self.find(*names)
        if path is None:
            raise CorpusError(f"{self.folder} lacks {' and '.join(names)}.")
        return path

    def mostly(self, pattern: re.Pattern[str]) -> bool:
        """Return whether more than half of the audio files' names match the pattern."""
        return bool(self.audio) and 2 * sum(bool(pattern.fullmatch(path.stem)) for path in self.audio) > len(self.audio)


@dataclass(frozen=True)
class Reader:
    """One layout: how to know it and how to read it.

    layout says in a phrase what ``recognises`` looks for. A fallback reader is asked only when no other knows the
    folder.
    """

    name: str
    title: str
    layout: str
    recognises: Callable[[Tree], bool]
    read: Callable[[Tree], Corpus]
    fallback: bool = False


@dataclass(frozen=True)
class About:
    """What a reader knows of its corpus before it has seen a file."""

    name: str
    title: str
    licence: str
    language: str
    note: str
    faulty: Mapping[str, str] = field(default_factory=dict)
    rating_range: tuple[float, float] | None = None


def finish(about: About, rows: Iterable[Mapping[str, object]], *, dropped: Iterable[tuple[str, str]] = ()) -> Corpus:
    """Return the corpus of these rows: vocabulary applied, faulty files dropped, every check made.

    Args:
        about: the corpus; ``about.faulty`` maps file names without ending to why they are dropped.
        rows: at least ``file`` (a path, or None where only labels are published), ``speaker_id``, ``emotion`` (the
            owners' word) and, where there is no file, ``name``; any other column of the table.
        dropped: (file name, reason) of what the reader has left out already.

    Raises:
        CorpusError: no clips, duplicate clips, files that are listed but absent, ages that nobody has, or labels out of
            the vocabulary.
    """
    kept: list[dict[str, object]] = []
    faulty: list[tuple[str, str]] = []
    for row in rows:
        name = str(row.get("name") or Path(str(row["file"])).stem)
        if name in about.faulty:
            faulty.append((name, about.faulty[name]))
        else:
            kept.append({**row, "name": name})
    if not kept:
        raise CorpusError(f"The folder of {about.title} holds no clips that can be used.")
    _no_duplicates(about, kept)
    _no_absent_files(about, kept)
    _no_impossible_ages(about, kept)
    words = emotion_words([row.get("emotion") for row in kept], about.title)
    for row, word in zip(kept, words, strict=True):
        speaker = row.get("speaker_id")
        row["emotion"] = word
        row["file"] = str(Path(str(row["file"])).absolute()) if row.get("file") else None
        row["corpus"] = about.name
        row["speaker"] = None if speaker is None else f"{about.name}/{speaker}"
        row["sex"] = _SEXES.get(str(row.get("sex")).strip().lower())
        row.setdefault("language", about.language)
    table = pd.DataFrame(kept)
    votes = [f"vote_{word}" for word in EMOTIONS if f"vote_{word}" in table]
    others = [column for column in table if column not in COLUMNS and column not in votes]
    table = table.reindex(columns=[*COLUMNS, *votes, *others])
    text = dict.fromkeys(TEXT_COLUMNS, "str")
    numbers = dict.fromkeys(("age", "arousal", "valence", "dominance", *votes), "float64")
    table = table.astype({**text, **numbers})
    table = table.sort_values(["file", "name"], kind="stable", ignore_index=True)
    return Corpus(
        name=about.name,
        title=about.title,
        licence=about.licence,
        language=about.language,
        note=about.note,
        table=table,
        dropped=(*dropped, *sorted(faulty)),
        rating_range=about.rating_range,
    )


def with_note(corpus: Corpus, *sentences: str) -> Corpus:
    """Return the corpus with sentences added to its note."""
    return replace(corpus, note=" ".join([corpus.note, *sentences]).strip())


def named_rows(
    files: Iterable[Path], pattern: re.Pattern[str], row_of: Callable[[Path, re.Match[str]], dict[str, object]]
) -> tuple[list[dict[str, object]], list[tuple[str, str]]]:
    """Return a row for each file whose name matches, and (name, reason) for each that does not."""
    rows: list[dict[str, object]] = []
    dropped: list[tuple[str, str]] = []
    for path in files:
        match = pattern.fullmatch(path.stem)
        if match:
            rows.append({"file": path, **row_of(path, match)})
        else:
            dropped.append((path.name, "its name does not follow the corpus's pattern"))
    return rows, dropped


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Return a CSV file (commas, semicolons or tabs) with every cell as text and missing cells as empty text.

    Raises:
        CorpusError: the file cannot be read as CSV; it lacks one of the columns, or has it twice (any, where none is
            asked for); or a row has more cells than the header.
    """
    asked, header = list(columns), header_of(path)
    # Without these a row that ends in a separator moves all cells one column on.
    own_cells: dict[str, Any] = {"index_col": False, "usecols": range(len(header))}
    try:
        words = path.read_text(encoding="utf-8-sig")
        sign = separator(words)
        if surplus := surplus_row(words, sign):
            raise CorpusError(f"{short(path.name)} cannot be read: {surplus}")
        table = pd.read_csv(io.StringIO(words), sep=sign, dtype=str, keep_default_na=False, **own_cells)
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CorpusError(_unreadable(path)) from error
    absent = [column for column in asked if column not in table]
    if absent:
        raise CorpusError(
            f"{short(path.name)} lacks the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}; "
            f"it has {', '.join(map(short, table.columns[:20]))}."
        )
    if twice := sorted({name for name in asked or header if name and header.count(name) > 1}):
        raise CorpusError(f"{short(path.name)} has several columns {', '.join(map(short, twice))}; keep one of each.")
    return table


def header_of(path: Path) -> list[str]:
    """Return the names of a CSV file's columns.

    Raises:
        CorpusError: the file cannot be read as CSV, or is empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            first = next((line for line in opened if line.strip()), "")
            opened.seek(0)
            return next(row for row in csv.reader(opened, delimiter=separator(first)) if row)
    except (csv.Error, UnicodeDecodeError, StopIteration) as error:
        raise CorpusError(_unreadable(path)) from error


def _unreadable(path: Path) -> str:
    return f"{short(path.name)} cannot be read as a CSV table in UTF-8; export it again."


def separator(words: str) -> str:
    """Return what separates the cells of a CSV table: a comma, semicolon or tab, as its first line tells."""
    return max(",;\t", key=first_line(words).count)


def first_line(words: str) -> str:
    """Return the first line of a text that is not empty; a line may end as on any system, old Macs included."""
    return re.split(r"[\r\n]", words.lstrip("\r\n"), maxsplit=1)[0]


def surplus_row(words: str, sign: str) -> str:
    """Return what is wrong with a row of a CSV table that has more cells than the header, "" where none has.

    pandas would drop such cells, or take the first column for an index, without a word.

    Raises:
        csv.Error: the rows cannot be told apart.
    """
    rows = (row for row in csv.reader(io.StringIO(words, newline=None), delimiter=sign) if row)
    width = len(next(rows, []))
    for place, row in enumerate(rows, start=1):
        if any(cell.strip() for cell in row[width:]):
            return (
                f"Row {place} has {len(row)} cells, more than the header's {width} names; put quotation marks around "
                "a cell that holds the separator, or take out what is too much."
            )
    return ""


def number(text: object) -> float | None:
    """Return the number that a cell holds, or None where it holds none."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _no_duplicates(about: About, rows: list[dict[str, object]]) -> None:
    seen: dict[str, object] = {}
    for row in rows:
        key = str(row["name"])
        if key in seen:
            raise CorpusError(
                f"{about.title} holds {short(key)} more than once ({short(seen[key])} and {short(row.get('file'))}); "
                "point to the folder of one copy, or remove the other."
            )
        seen[key] = row.get("file")


def _no_absent_files(about: About, rows: list[dict[str, object]]) -> None:
    absent = [row["file"] for row in rows if row.get("file") and not Path(str(row["file"])).is_file()]
    if absent:
        raise CorpusError(
            f"{about.title} lists {len(absent)} of {len(rows)} files that are not there, the first being "
            f"{short(absent[0])}; complete the folder or take these rows out of the table."
        )


def _no_impossible_ages(about: About, rows: list[dict[str, object]]) -> None:
    for row in rows:
        age = row.get("age")
        if isinstance(age, int | float) and not 0 <= age <= OLDEST and age == age:
            raise CorpusError(
                f"{about.title} holds the age {age:g} (of {short(row['name'])}), which is no number of years from 0 to "
                f"{OLDEST}; leave it empty where it is not known."
            )
