"""Reads a table of somebody's own predictions, and says in one sentence what is wrong with it.

A table is CSV (commas, semicolons or tabs, UTF-8) or Parquet with one row a clip:

==============================  ======================================================================================
file (or clip, path)            what was heard; each once
speaker                         who spoke, which must be known; intervals and tests are over speakers. The same name in
                                two corpora is two people, who are then called by corpus and name
emotion (or label)              the true emotion
p_<emotion>                     the model's probabilities, which sum to 1; a column for every emotion it can answer
share_<emotion>                 if known, the share of listeners who heard it; they sum to 1, or are 0 for a clip that
                                nobody judged
sex, age, race, ethnicity,      of the speaker, as far as known; groups are made from them. Empty or NA where unknown
language
corpus                          where the clip is from, if from several
==============================  ======================================================================================

Instead of probabilities, ``d_valence``, ``d_arousal``, ``d_dominance`` and the rated ``t_valence`` … (from −1 to 1).
For :func:`read_conditions` a column ``condition`` says how each clip was worsened ("clean" if it was not).
"""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ser_core import workers
from ser_core.corpora.table import OLDEST, PEOPLE, UNKNOWN, first_line, separator, surplus_row
from ser_core.corpora.vocabulary import EMOTIONS, output_words
from ser_core.errors import SerscopeError, short
from ser_core.numbers import counted
from ser_core.parquet import LIMIT_S, read_parquet
from ser_core.sphere import DIMENSIONS

OWN_MODEL = "your model"
OWN_TABLE = "your table"
CLEAN = "clean"
MOST_CONDITIONS = 100
MOST_SPEAKERS = 3_000
MOST_EMOTIONS = 40
MOST_CHARACTERS = 300
"""What resampling speakers over tables of emotions can hold in memory, and what a name can be."""
MOST_ROWS = 1_000_000
MOST_COLUMNS = 500
MOST_BYTES = 50_000_000
BROKE_DOWN = "Reading the table broke down or took too long; give a part of it, or save it again as CSV."
ALIASES = {
    **dict.fromkeys(("clip", "path", "filename", "file_name"), "file"),
    **dict.fromkeys(("speaker_id", "spk"), "speaker"),
    **dict.fromkeys(("label", "truth", "true", "emotion_label"), "emotion"),
    **dict.fromkeys(("gender",), "sex"),
}
SEXES = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}


class PredictionsError(SerscopeError):
    """A table of predictions cannot be used."""


def read_predictions(data: bytes, name: str) -> pd.DataFrame:
    """Return a user's table in the columns of a stored one (see :mod:`ser_core.evaluation`).

    Args:
        data: the file.
        name: its name; one that ends in .parquet is read as Parquet.

    Raises:
        PredictionsError: the table is not usable; the sentence says why and what to do.
    """
    return _apart(_predictions, data, name)


def _predictions(data: bytes, name: str) -> pd.DataFrame:
    return checked(_table(data, name))


def read_conditions(data: bytes, name: str) -> pd.DataFrame:
    """Return a user's table of the same clips under several conditions, with a column condition, "clean" first.

    Args:
        data: the file; as for :func:`read_predictions`, with a row for each clip and condition.
        name: its name.

    Raises:
        PredictionsError: the table is not usable; the sentence says why and what to do.
    """
    return _apart(_conditions, data, name)


def _apart(reads: Callable[[bytes, str], pd.DataFrame], data: bytes, name: str) -> pd.DataFrame:
    """Return what is read; by another process where this one serves, whose readers would wait for a table of 50 MB."""
    if not workers.decodes_apart():
        return reads(data, name)
    try:
        found: pd.DataFrame = workers.TABLES.ask(LIMIT_S, reads, data, name)
    except (workers.EndedError, workers.LateError, MemoryError):
        raise PredictionsError(BROKE_DOWN) from None
    return found


def _conditions(data: bytes, name: str) -> pd.DataFrame:
    table = _named(_table(data, name))
    if "condition" not in table:
        raise PredictionsError(
            f"The table lacks the column condition; it has {_some([str(column) for column in table])}. Say of each row "
            f'how the clip was worsened, "{CLEAN}" where it was not.'
        )
    given = _text(table["condition"])
    conditions = given.mask(given.str.lower() == CLEAN, CLEAN).to_numpy(dtype=object)
    if (blank := int((conditions == "").sum())) > 0:
        raise PredictionsError(f'{_rows(blank)} no condition; write "{CLEAN}" where a clip was not worsened.')
    names = list(dict.fromkeys([CLEAN, *conditions]))
    if CLEAN not in conditions or len(names) < 2:
        raise PredictionsError(
            f'The conditions are {_some(sorted(set(conditions)))}; "{CLEAN}" and one or more others are needed, since '
            "every loss is measured on the same clips."
        )
    if len(names) > MOST_CONDITIONS:
        raise PredictionsError(f"There are {len(names)} conditions, more than {MOST_CONDITIONS}; give a part of them.")
    if {"speaker", "corpus"} <= set(table):
        # Once for all conditions, as one of them may have the clips of one corpus only.
        people = _within_corpora(_text(table["speaker"]), _corpora(_text(table["corpus"])))
        table = table.assign(speaker=people.to_numpy())
    parts = []
    for condition in names:
        try:
            parts.append(checked(table[conditions == condition].reset_index(drop=True)).assign(condition=condition))
        except PredictionsError as fault:
            raise PredictionsError(f"Condition {_quoted(condition)}: {fault}") from fault
    facts = ["speaker", "emotion"]
    if any(str(column).startswith("p_") for column in parts[0]) and parts[0]["emotion"].nunique() < 2:
        raise PredictionsError(
            f'Every "{CLEAN}" clip is labelled {_quoted(parts[0]["emotion"].iloc[0])}: always answering so would make '
            "no error under any condition. Give clips of two emotions or more."
        )
    clean, known = pd.Index(parts[0]["clip"].astype(object)), parts[0][facts].fillna("").to_numpy()
    for part in parts[1:]:
        places = clean.get_indexer(part["clip"].astype(object))
        missing = part.loc[places < 0, "clip"]
        if len(missing):
            raise PredictionsError(
                f"{counted(len(missing), 'clip')} of condition {_quoted(part['condition'].iloc[0])} stand in no row "
                f'that is "{CLEAN}", first {_quoted(missing.iloc[0])}; add those rows.'
            )
        other = (part[facts].fillna("").to_numpy() != known[places]).any(axis=1)
        if other.any():
            raise PredictionsError(
                f"The clip {_quoted(part['clip'].iloc[int(np.argmax(other))])} has another speaker or emotion in "
                f'condition {_quoted(part["condition"].iloc[0])} than in "{CLEAN}"; give one name to one clip.'
            )
    return pd.concat(parts, ignore_index=True)


def _table(data: bytes, name: str) -> pd.DataFrame:
    if not data:
        raise PredictionsError("The file is empty; export the table again.")
    if len(data) > MOST_BYTES:
        raise PredictionsError(
            f"The file has {len(data) / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}; "
            "save it as Parquet, or leave out columns that are not needed."
        )
    is_parquet = name.lower().endswith((".parquet", ".pq")) or data[:4] == b"PAR1"
    return _parquet(data) if is_parquet else _csv(data)


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of predictions in the columns of a stored one.

    Raises:
        PredictionsError: the table is not usable; the sentence says why and what to do.
    """
    if not len(table):
        raise PredictionsError("The table has a header but no rows; one row a clip is needed.")
    if len(table) > MOST_ROWS:
        raise PredictionsError(f"The table has {len(table):,} rows, more than {MOST_ROWS:,}; give a part of it.")
    table = _named(table)
    kind, columns = _outputs(table)
    needed = ("file", "speaker", "emotion") if kind == "p" else ("file", "speaker")
    absent = [column for column in needed if column not in table]
    if absent:
        raise PredictionsError(
            f"The table lacks the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}; "
            f"it has {_some([str(column) for column in table])}."
        )
    text = {column: _text(table[column]) for column in needed}
    # Clips of unknown speakers are not those of one person called NA.
    text["speaker"] = text["speaker"].mask(_is_unknown(text["speaker"]), "")
    for column in needed:
        blank = int((text[column] == "").sum())
        if blank:
            raise PredictionsError(f"{_rows(blank)} no {column}; fill it in or leave such rows out.")
    twice = text["file"][text["file"].duplicated()]
    if len(twice):
        raise PredictionsError(
            f"{twice.nunique()} files stand in the table more than once, first {_quoted(twice.iloc[0])}; "
            "give one model's answers, one row a file"
            + (" (the page Robustness takes several conditions)." if "condition" in table else ".")
        )
    corpora = _corpora(_text(table["corpus"])) if "corpus" in table else pd.Series(OWN_TABLE, text["file"].index)
    text["speaker"] = _within_corpora(text["speaker"], corpora)
    if text["speaker"].nunique() < 2:
        raise PredictionsError(
            f"All rows are of one speaker, {_quoted(text['speaker'].iloc[0])}; with a single speaker nothing can be "
            "said about others, so two or more are needed."
        )
    if text["speaker"].nunique() > MOST_SPEAKERS:
        raise PredictionsError(
            f"The table has {text['speaker'].nunique():,} speakers, more than {MOST_SPEAKERS:,}; give a part of them."
        )
    values = _numbers(table, columns)
    rows = pd.DataFrame({"clip": text["file"], "speaker": text["speaker"]})
    rows.insert(1, "corpus", corpora)
    rows = rows.assign(**_people(table, text["speaker"]))
    if kind == "p":
        words = output_words([column[2:] for column in columns])
        rows["emotion"] = _truth(text["emotion"], columns, words)
        _probabilities(values, text["file"])
        rows[[f"p_{word}" for word in words]] = values
        shares = [str(column) for column in table if str(column).startswith("share_")]
        if shares:
            _check_apart([column[6:] for column in shares], "shares")
            rows[[f"share_{word}" for word in output_words([column[6:] for column in shares])]] = _shares(
                _numbers(table, shares), text["file"]
            )
    else:
        rows["emotion"] = _text(table["emotion"]).replace("", None) if "emotion" in table else None
        rated = _numbers(table, [f"t_{column[2:]}" for column in columns])
        if np.abs(values).max() > 1 or np.abs(rated).max() > 1:
            raise PredictionsError("Valence, arousal and dominance must lie from −1 to 1; rescale predicted and rated.")
        rows[[f"d_{column[2:]}" for column in columns]] = values
        rows[[f"t_{column[2:]}" for column in columns]] = rated
    return rows.assign(fold=-1, split="as given", model=OWN_MODEL, run="")


def _parquet(data: bytes) -> pd.DataFrame:
    try:
        return read_parquet(data, MOST_ROWS, MOST_COLUMNS)
    except ValueError as fault:
        raise PredictionsError(str(fault)) from fault


def _csv(data: bytes) -> pd.DataFrame:
    try:
        words = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise PredictionsError(
            f"The file is not UTF-8 text (byte {fault.start + 1} of {len(data)}); save the table as CSV in UTF-8."
        ) from fault
    first, sign = first_line(words), separator(words)
    if "\0" in words or not first.count(sign):
        raise PredictionsError("The file is not a table; columns separated by commas under a header line are needed.")
    if first.count(sign) >= MOST_COLUMNS:
        raise PredictionsError(f"The table has {first.count(sign) + 1} columns; at most {MOST_COLUMNS} can be read.")
    named = [column.strip().lower() for column in first.replace('"', "").split(sign)]
    twice = sorted({column for column in named if column and named.count(column) > 1})
    if twice:
        raise PredictionsError(f"The header names {_some(twice)} twice; keep one column of each name.")
    try:
        if surplus := surplus_row(words, sign):
            raise PredictionsError(surplus)
        return pd.read_csv(io.StringIO(words), sep=sign, dtype=str, keep_default_na=False, index_col=False)
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as fault:
        raise PredictionsError(
            "The rows cannot be told apart, as where a quotation mark is not closed; export the table again."
        ) from fault


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with known names for its columns; a name that is spelt out wins over an alias."""
    given = [str(column).strip() for column in table]
    lower = [name if name.lower().startswith("p_") else name.lower() for name in given]
    lower = [f"{name[:2].lower()}{name[2:]}" if name[1:2] == "_" else name for name in lower]
    names = [ALIASES.get(name, name) if ALIASES.get(name) not in lower else name for name in lower]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PredictionsError(f"Several columns mean {_some(twice)}; keep one of each.")
    return table.set_axis(names, axis=1)


def _check_apart(labels: Sequence[str], what: str) -> None:
    folded = [output_words([label])[0].casefold() for label in labels]
    if same := sorted({word for word in folded if folded.count(word) > 1}):
        raise PredictionsError(f"Several columns of {what} mean {_some(same)}; add them up.")


def _outputs(table: pd.DataFrame) -> tuple[str, list[str]]:
    """Return the kind of answer, "p" or "d", and its columns."""
    chances = [str(column) for column in table if str(column).startswith("p_") and str(column)[2:]]
    if chances:
        if len(chances) > MOST_EMOTIONS:
            raise PredictionsError(
                f"There are {len(chances)} columns of probabilities, more than {MOST_EMOTIONS}; give fewer emotions."
            )
        if len(chances) < 2:
            raise PredictionsError(f"There is one column of probabilities, {_some(chances)}; two or more are needed.")
        _check_apart([column[2:] for column in chances], "probabilities")
        return "p", chances
    values = [f"d_{name}" for name in DIMENSIONS if f"d_{name}" in table]
    if values:
        absent = [f"t_{column[2:]}" for column in values if f"t_{column[2:]}" not in table]
        if absent:
            raise PredictionsError(f"The rated values {', '.join(absent)} are missing beside the predicted ones.")
        return "d", values
    raise PredictionsError(
        "There are no columns of probabilities; name them p_anger, p_happiness and so on, one for every emotion that "
        "the model can answer."
    )


def _truth(given: pd.Series, columns: Sequence[str], words: Sequence[str]) -> pd.Series:
    """Return the true label of each row in the words of the outputs."""
    called = {column[2:].casefold(): word for column, word in zip(columns, words, strict=True)}
    called |= {word.casefold(): word for word in words}
    labels = {label: called.get(label.casefold()) or output_words([label])[0] for label in given.unique()}
    strange = {label: word for label, word in labels.items() if word not in words}
    unknown = sorted(label for label, word in strange.items() if word not in EMOTIONS)
    if unknown:
        raise PredictionsError(
            f"The emotion {_some(unknown, _quoted)} is not known, and no column of probabilities has "
            "its name; rename it or leave such rows out."
        )
    if strange:
        raise PredictionsError(
            f"The model has no column of probabilities for {_some(sorted(strange.values()))}, which some clips are "
            "labelled with; add it, or leave such rows out."
        )
    return given.map(labels)


def _shares(values: np.ndarray, files: pd.Series) -> np.ndarray:
    """Return the listeners' shares of every clip."""
    sums = values.sum(axis=1)
    wrong = (values.min(axis=1) < 0) | ~(np.isclose(sums, 1, atol=1e-2) | (sums == 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PredictionsError(
            f"The listeners' shares of {_quoted(files.iloc[row])} are "
            f"{_some([f'{value:g}' for value in values[row]])}; none may be negative, and they must sum to 1 (or all "
            "be 0 where nobody judged the clip)."
        )
    return values


def _probabilities(values: np.ndarray, files: pd.Series) -> None:
    if values.min() < 0:
        row = int(np.argmax(values.min(axis=1) < 0))
        raise PredictionsError(
            f"Some probabilities are negative, first of {_quoted(files.iloc[row])}: are these logits? Turn them into "
            "probabilities (softmax)."
        )
    sums = values.sum(axis=1)
    if np.allclose(sums, 100, atol=1):
        raise PredictionsError("The probabilities sum to 100: they are in per cent; divide them by 100.")
    wrong = ~np.isclose(sums, 1, atol=1e-2)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PredictionsError(
            f"The probabilities do not sum to 1 in {counted(int(wrong.sum()), 'row')}, first {sums[row]:.3g} for "
            f"{_quoted(files.iloc[row])}; give a probability for every emotion the model can answer."
        )
    values /= sums[:, None]


def _numbers(table: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return columns as finite numbers (rows, columns)."""
    found = np.empty((len(table), len(columns)))
    for place, column in enumerate(columns):
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        if not np.isfinite(numbers).all():
            row = int(np.argmin(np.isfinite(numbers)))
            cell = str(table[column].iloc[row]).strip()
            if cell.lower() in ("", "nan", "none", "<na>"):  # as what is missing is written out
                raise PredictionsError(f"Column {short(column)} is empty in row {row + 1}; fill it in or leave it out.")
            what = "is infinite" if np.isinf(numbers[row]) else "is no number"
            raise PredictionsError(
                f"Column {short(column)} holds {_quoted(cell)}, which {what}, in row {row + 1}; correct it or "
                "leave it out."
            )
        found[:, place] = numbers
    return found


def _people(table: pd.DataFrame, speakers: pd.Series) -> dict[str, Any]:
    """Return what is known of the speakers; one speaker, one sex, race and ethnicity."""
    found: dict[str, Any] = {}
    for column in PEOPLE:
        if column not in table:
            found[column] = np.nan if column == "age" else None
            continue
        given = _text(table[column])
        if column == "age":
            told = ~_is_unknown(given)
            years = pd.to_numeric(given.where(told, np.nan), errors="coerce")
            wrong = (years.isna() & told) | (years < 0) | (years > OLDEST)
            if wrong.any():
                raise PredictionsError(
                    f"The age {_quoted(given[wrong].iloc[0])} is no number of years from 0 to {OLDEST}; leave it empty "
                    "if unknown."
                )
            found[column] = years
            continue
        if column == "sex":
            given = given.str.lower().map(lambda word: SEXES.get(word, word))
        given = given.mask(_is_unknown(given))
        if column != "language":
            several = given.groupby(speakers).nunique()
            if (several > 1).any():
                raise PredictionsError(
                    f"Speaker {_quoted(several.idxmax())} has more than one {column}; give each speaker one."
                )
        found[column] = given
    return found


def _corpora(given: pd.Series) -> pd.Series:
    """Return the corpus of each clip; "unknown", which is in no group, where others have one."""
    blank = _is_unknown(given)
    return given.mask(blank, OWN_TABLE if blank.all() else "unknown")


def _within_corpora(speakers: pd.Series, corpora: pd.Series) -> pd.Series:
    """Return who spoke each clip: "corpus/name" where more than one corpus has a speaker of that name."""
    known = corpora != "unknown"
    found_in = corpora[known].groupby(speakers[known]).nunique()
    several = speakers.isin(found_in.index[found_in > 1]) & ~_is_unknown(speakers)
    if (unclear := several & ~known).any():
        raise PredictionsError(
            f"Speaker {_quoted(speakers[unclear].iloc[0])} stands in more than one corpus, and in rows without one; "
            "say of each row where it is from, so that it is clear who is the same person."
        )
    return speakers.mask(several, corpora + "/" + speakers)


def _is_unknown(given: pd.Series) -> pd.Series:
    return given.str.lower().isin(UNKNOWN)


def _text(column: pd.Series) -> pd.Series:
    found = column.astype("str").str.strip().where(column.notna(), "").reset_index(drop=True)
    longest = int(found.str.len().max()) if len(found) else 0
    if longest > MOST_CHARACTERS:
        raise PredictionsError(
            f"A cell of column {short(column.name)} has {longest:,} characters, more than {MOST_CHARACTERS}; "
            "shorten it."
        )
    return found


def _quoted(text: object) -> str:
    return f"'{short(text)}'"


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count:,} rows have"


def _some(names: Sequence[str], write: Callable[[object], str] = short) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(map(write, names[:8])) + more
