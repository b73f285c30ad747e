"""Asks every model about every corpus and keeps the answers: ``python -m ser_core evaluate``.

One table for each model and corpus, ``assets/results/evaluation/<model>.<corpus>.parquet``, one row a clip:

=====================  ===============================================================================================
clip, corpus, speaker  as in the corpus table; the clip is the file's name without its ending
sex … language         sex, age (years), race, ethnicity, language; unknown is missing
emotion                the corpus's label
share_<emotion>        how listeners split, where the corpus has their votes
t_<dimension>          valence, arousal, dominance as rated, from −1 to 1, where the corpus has ratings
p_<emotion>            the model's probabilities (or shares of listeners) over all of its own emotions
d_<dimension>          values from −1 to 1 of a model that answers with dimensions
fold, split            "out of fold" (fold ≥ 0) or "other corpus" (fold −1)
model, run             name of the model, and a hash of its weights (or stored answers) and of the corpus's files;
                       after a hyphen one of what the corpus knows, where that was corrected since
=====================  ===============================================================================================

On a corpus that its weights have heard, a model is judged by its stored out-of-fold answers or not at all; the shipped
weights are asked about other corpora only. Answers are kept as given; :func:`in_common` restricts them to the emotions
that a corpus and a model share. Clips that cannot be read or answered are named in ``attrs["left_out"]`` of a table.
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.audio import read
from ser_core.cards import read_card, weight_files
from ser_core.corpora import Corpus, find_corpora, read_corpus
from ser_core.corpora.table import PEOPLE
from ser_core.corpora.vocabulary import output_words
from ser_core.distributions import shares_of
from ser_core.errors import CorpusError, SerscopeError, SettingError
from ser_core.files import checksum, stored_table, write_table
from ser_core.models import Card, SpeechModel
from ser_core.parallel import HERE, Workers, as_done, check_present
from ser_core.predictions import read_predictions
from ser_core.registry import load_model, model_folders, model_names
from ser_core.results import RESULTS
from ser_core.settings import settings
from ser_core.sphere import DIMENSIONS
from ser_core.tasks import TASKS

TABLES = RESULTS / "evaluation"
OUT_OF_FOLD, OTHER_CORPUS = "out of fold", "other corpus"
CHUNK = 200

Tell = Callable[[float, str], None]
"""Takes the share done (0 … 1) and what is being done."""


@dataclass(frozen=True)
class Stored:
    """One stored table: which model was asked about which corpus."""

    model: str
    corpus: str
    path: Path


def stored(folder: Path = TABLES) -> tuple[Stored, ...]:
    """Return the tables in a folder, by model and corpus."""
    found = []
    for path in sorted(folder.glob("*.*.parquet")):
        model, corpus = path.stem.rsplit(".", 1)
        found.append(Stored(model, corpus, path))
    return tuple(found)


def read_stored(path: Path) -> pd.DataFrame:
    """Return one stored table with its words as plain text."""
    rows = pd.read_parquet(path)
    words = rows.select_dtypes(include="category").columns
    return rows.astype(dict.fromkeys(words, "str"))


def read_answers(path: Path) -> pd.DataFrame:
    """Return a stored table, cut to shared emotions (:func:`in_common`), or somebody's own (:func:`own_answers`).

    Raises:
        SettingError: there is no such file.
        PredictionsError: it is not a usable table; the sentence says why and what to do.
        CorpusError: fewer than two emotions are shared.
    """
    if not path.is_file():
        raise SettingError(f"There is no file {path}; name a table that 'evaluate' has stored, or one of your own.")
    return in_common(read_stored(path)) if _is_stored(path) else own_answers(path.read_bytes(), path.name)


def own_answers(data: bytes, name: str) -> pd.DataFrame:
    """Return a reader's own table (:func:`ser_core.predictions.read_predictions`) with every answer as it was given.

    An answer that no clip is labelled with is simply wrong: such a model was never made to choose among the labels.

    Raises:
        PredictionsError: it is not a usable table; the sentence says why and what to do.
        CorpusError: the clips are labelled with fewer than two emotions.
    """
    rows = read_predictions(data, name)
    labels = sorted(rows["emotion"].dropna().unique())
    if len(labels) < 2 and any(str(column).startswith("p_") for column in rows):
        raise CorpusError(f"All clips are labelled {', '.join(labels)}; clips of two emotions or more are needed.")
    return rows


def _is_stored(path: Path) -> bool:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        return {"split", "model", "run", "clip", "corpus"} <= set(parquet.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return False


def in_common(rows: pd.DataFrame, called: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the clips whose emotion both corpus and model know, with probabilities over these emotions only.

    ``attrs["dropped"]`` names the answers that are gone, since no clip is labelled with them. Clips without a speaker
    are left out as by :func:`with_speakers`; other than that, answers without probabilities (valence, arousal,
    dominance) are returned as they are.

    Args:
        rows: of one model and corpus.
        called: emotion → what it counts as, for labels and outputs alike; one that is not named counts as itself, one
            that counts as "" is left out. Outputs that count as the same are added up.

    Raises:
        CorpusError: fewer than two emotions are shared.
    """
    rows = with_speakers(rows)
    outputs = [column for column in rows if str(column).startswith("p_")]
    if not outputs:
        return rows
    shared = shared_answers(rows, called)
    truth = np.array(shared.emotions, dtype=object)[shared.truth]
    kept = rows.loc[shared.kept].drop(columns=outputs).reset_index(drop=True)
    kept["emotion"] = truth
    kept[[f"p_{word}" for word in shared.emotions]] = shared.chances
    kept.attrs["dropped"] = list(shared.dropped)
    return kept


def with_speakers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the clips whose speaker is known, since speakers are what is resampled.

    ``attrs["without_speaker"]`` is the number of the others, where there are any.
    """
    if "speaker" not in rows or not (unknown := rows["speaker"].isna()).any():
        return rows
    found = rows[~unknown].reset_index(drop=True)
    found.attrs["without_speaker"] = int(unknown.sum())
    return found


@dataclass(frozen=True, eq=False)
class Shared:
    """What labels and answers have in common.

    Attributes:
        emotions: that both know, sorted.
        kept: (rows,) whether a row's label is one of these.
        truth: (kept rows,) the label's place among them.
        chances: (kept rows, emotions) probabilities over these alone, rows sum to 1.
        dropped: answers that no row is labelled with, sorted.
    """

    emotions: tuple[str, ...]
    kept: np.ndarray
    truth: np.ndarray
    chances: np.ndarray
    dropped: tuple[str, ...]


def shared_answers(rows: pd.DataFrame, called: Mapping[str, str] | None = None) -> Shared:
    """Return labels and probabilities over the emotions that both know; arguments and errors as :func:`in_common`."""
    names_ = {} if called is None else dict(called)
    places, words = pd.factorize(rows["emotion"])
    # The last stands for labels that are missing.
    labels = [names_.get(word, word) if isinstance(word, str) else "" for word in words] + [""]
    answers: dict[str, np.ndarray] = {}
    outputs = [str(column) for column in rows if str(column).startswith("p_")]
    for column, chances in zip(outputs, rows[outputs].to_numpy(dtype=float).T, strict=True):
        word = names_.get(column[2:], column[2:])
        answers[word] = answers.get(word, 0) + chances
    known = {labels[place] for place in np.unique(places)}
    shared = sorted(known & set(answers) - {""})
    if len(shared) < 2:
        raise CorpusError(
            f"The clips are labelled {', '.join(sorted(known - {''})) or 'with nothing'} and the model answers "
            f"with {', '.join(sorted(answers))}; fewer than two of these are the same."
        )
    place_of = {word: place for place, word in enumerate(shared)}
    truth = np.array([place_of.get(word, -1) for word in labels])[places]
    keep = truth >= 0
    given = np.stack([answers[word][keep] for word in shared], axis=1)
    whole = given.sum(axis=1, keepdims=True)
    given = np.divide(given, whole, out=np.full(given.shape, 1 / len(shared)), where=whole > 0)
    return Shared(tuple(shared), keep, truth[keep], given, tuple(sorted(set(answers) - {"", *shared})))


def has_heard(card: Card, corpus: Corpus) -> bool:
    """Return whether the card says that some part of the model learnt from the corpus."""
    called = {corpus.name.casefold(), corpus.title.casefold()}
    if corpus.name in TASKS:
        called.add(TASKS[corpus.name].title.casefold())
    trained = {name.casefold() for name in card.corpora}
    licences = [line.casefold() for line in card.licences if "training data" in line.casefold()]
    return bool(called & trained) or any(
        re.search(rf"training data {re.escape(name)}(?!\w)", line) for name in called for line in licences
    )


def corpora_at(folders: Sequence[Path] = ()) -> tuple[Corpus, ...]:
    """Return the corpora with audio in these folders (or CSV files), or in SERSCOPE_CORPORA if none is given.

    Raises:
        CorpusError: there is none, one cannot be read, or two have the same name.
    """
    chosen = list(folders) or list(find_corpora(settings().corpora_dirs).values())
    found = [corpus for corpus in map(read_corpus, chosen) if corpus.table["file"].notna().any()]
    if not found:
        raise CorpusError("There is no corpus with audio to evaluate on; name folders or set SERSCOPE_CORPORA.")
    called = [corpus.name for corpus in found]
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise CorpusError(f"Two folders hold a corpus called {', '.join(twice)}; give one of them.")
    return tuple(found)


_WITH_LOSS = (".aac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".webm")


def check_lossless(corpus: Corpus) -> None:
    """Raise CorpusError where a corpus is a copy that was compressed with loss: stored figures are of the originals."""
    lossy = next((name for name in corpus.table["file"].dropna() if str(name).lower().endswith(_WITH_LOSS)), None)
    if lossy is not None:
        raise CorpusError(
            f"{corpus.title} holds {Path(lossy).name}, which was compressed with loss, and the stored figures are of "
            "the original sound; name a folder of the originals with --corpora."
        )


def evaluate(
    models: Sequence[str | Path] = (),
    folders: Sequence[Path] = (),
    *,
    out: Path = TABLES,
    runs: Path = Path("runs"),
    by: Workers = HERE,
) -> list[Path]:
    """Ask models about corpora; write and return one table for each pair that can be judged.

    The answers of a table whose ``run`` is unchanged are kept, and labels and speakers that were corrected are written
    beside them; a table under way goes on from its last finished 200 clips.

    Args:
        models: names or folders; all at hand if none is given.
        folders: of corpora; those in SERSCOPE_CORPORA if none is given.
        out: receives the tables.
        runs: keeps what is finished of a table under way.
        by: who asks; on a cluster every machine needs the models and the corpora under the same paths.

    Raises:
        CorpusError: as ``corpora_at``; or a corpus was compressed with loss, and the app's own tables are written.
    """
    out.mkdir(parents=True, exist_ok=True)
    corpora = corpora_at(folders)
    if out.resolve() == TABLES.resolve():
        for corpus in corpora:
            check_lossless(corpus)
    written = []
    for asked in models or model_names():
        folder = model_folders().get(str(asked), Path(asked))
        card = read_card(folder) if (folder / "card.json").exists() else load_model(asked).card
        for corpus in corpora:
            path = out / f"{card.name.replace('/', '--')}.{corpus.name}.parquet"
            heard = has_heard(card, corpus)
            folds = RESULTS / f"{card.name}.{corpus.name}.parquet"
            if heard and not folds.exists():
                print(f"{card.name} × {corpus.name}: left out, its weights have heard {corpus.title}", flush=True)
                continue
            run = _run_of(folds if heard else folder, corpus)
            before = read_stored(path) if path.exists() and _stored_run(path) == run else None
            if not heard and not _answers_all(before, corpus.table):
                before = None
            if heard:
                rows = out_of_fold(pd.read_parquet(folds), corpus)
            elif before is not None:
                rows = _known_anew(before, corpus)
            else:
                kept = runs / "evaluation" / f"{card.name.replace('/', '--')}-{run}"
                asks = str(folder.absolute() if folder.is_dir() else asked)
                rows = _known_anew(_in_chunks(asks, corpus, kept, by), corpus)
            rows = rows.assign(model=card.name)
            if before is not None:
                if _as_csv(before.drop(columns="run")) == _as_csv(rows):
                    print(f"{card.name} × {corpus.name}: done before", flush=True)
                    written.append(path)
                    continue
                run += f"-{hashlib.sha256(_as_csv(rows)).hexdigest()[:6]}"
                print(f"{card.name} × {corpus.name}: labels or speakers have changed; the answers stay", flush=True)
            _write(rows.assign(run=run), path)
            lost = len(rows.attrs["left_out"])
            print(
                f"{card.name} × {corpus.name}: {len(rows)} clips" + (f", {lost} left out" if lost else ""), flush=True
            )
            written.append(path)
    return written


def out_of_fold(rows: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Return stored out-of-fold answers with what the corpus knows of each clip and speaker.

    Raises:
        CorpusError: some clips are not in the corpus.
    """
    known = _facts(corpus).set_index("clip")
    absent = [clip for clip in rows["clip"] if clip not in known.index]
    if absent:
        raise CorpusError(f"{corpus.title} lacks {len(absent)} clips of the stored answers, first {absent[0]}.")
    answers = rows[[column for column in rows if str(column).startswith(("p_", "d_"))]]
    facts = known.loc[rows["clip"]].reset_index()
    found = pd.concat([facts, answers.reset_index(drop=True)], axis=1)
    found = found.assign(emotion=rows["emotion"].to_numpy(), fold=rows["fold"].to_numpy(), split=OUT_OF_FOLD)
    found.attrs["left_out"] = []
    return found


def ask(model: SpeechModel, corpus: Corpus, tell: Tell | None = None) -> pd.DataFrame:
    """Return the answers of a model to a corpus's clips, one row each; clips that fail are in ``attrs["left_out"]``.

    Args:
        model: its shipped weights are asked, so the corpus must be one that they have not heard.
        corpus: with audio.
        tell: is told how far the work is.
    """
    return _with_facts(corpus, *_answers(model, _clips(corpus), tell))


def _clips(corpus: Corpus) -> list[tuple[str, str]]:
    """Return the name and the file of every clip with audio."""
    table = corpus.table[corpus.table["file"].notna()]
    return [(str(name), str(Path(file).absolute())) for name, file in zip(table["name"], table["file"], strict=True)]


def _answers(
    model: SpeechModel, clips: Sequence[tuple[str, str]], tell: Tell | None = None
) -> tuple[pd.DataFrame, list[list[str]]]:
    """Return one row of answers a clip, and the clips that cannot be answered with the reason."""
    answers, left_out = [], []
    kind = "d" if model.card.answer == "dimensions" else "p"
    labels = [f"{kind}_{word}" for word in output_words(model.emotions)]
    for place, (clip, file) in enumerate(clips):
        try:
            given = model.predict(read(file))
        except SerscopeError as fault:
            left_out.append([clip, str(fault)])
            continue
        finally:
            if tell is not None:
                tell((place + 1) / len(clips), f"{place + 1} of {len(clips)} clips")
        values = given.probabilities if given.values is None else given.values
        answers.append({"clip": clip, **dict(zip(labels, np.asarray(values, dtype=np.float32), strict=True))})
    return pd.DataFrame(answers, columns=["clip", *labels]), left_out


def _with_facts(corpus: Corpus, answers: pd.DataFrame, left_out: list[list[str]]) -> pd.DataFrame:
    rows = _facts(corpus).merge(answers, on="clip", how="inner", validate="1:1").assign(fold=-1, split=OTHER_CORPUS)
    rows.attrs["left_out"] = left_out
    return rows


def _answers_all(rows: pd.DataFrame | None, table: pd.DataFrame) -> bool:
    """Return whether a stored table has an answer, or why there is none, for every clip with audio of a corpus table.

    It has not where the clips have been given other names, as of another folder: a hash of the files does not tell.
    """
    if rows is None:
        return False
    told = {*rows["clip"], *(clip for clip, _ in rows.attrs["left_out"])}
    return told.issuperset(table.loc[table["file"].notna(), "name"])


def _known_anew(rows: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Return the answers of rows with what the corpus knows now of each clip."""
    answers = rows[["clip", *(column for column in rows if str(column).startswith(("p_", "d_")))]]
    return _with_facts(corpus, answers, rows.attrs["left_out"])


def _answers_of(task: tuple[str, Sequence[tuple[str, str]]]) -> tuple[pd.DataFrame, list[list[str]]]:
    asked, clips = task
    check_present(file for _, file in clips)
    return _answers(load_model(asked), clips)


def _in_chunks(asked: str, corpus: Corpus, folder: Path, by: Workers) -> pd.DataFrame:
    """Return ``ask`` as done by workers, kept in the folder chunk by chunk until the whole is written."""
    folder.mkdir(parents=True, exist_ok=True)
    table = corpus.table[corpus.table["file"].notna()]
    chunks = {
        folder / f"{corpus.name}-{first:06d}.parquet": replace(corpus, table=table.iloc[first : first + CHUNK])
        for first in range(0, len(table), CHUNK)
    }
    missing = [path for path, some in chunks.items() if not _answers_all(stored_table(path), some.table)]
    done, before, started = 0, len(table) - sum(len(chunks[path].table) for path in missing), time.monotonic()
    for place, given in as_done(_answers_of, [(asked, _clips(chunks[path])) for path in missing], by):
        some = chunks[missing[place]]
        _write(_with_facts(some, *given), missing[place])
        done += len(some.table)
        each = (time.monotonic() - started) / done
        left = (len(table) - before - done) * each / 60
        said = f"{before + done} of {len(table)} clips, {each:.2f} s each, {left:.0f} min to go"
        print(f"{Path(asked).name} × {corpus.name}: {said}", flush=True)
    parts = [read_stored(path) for path in chunks]
    left_out = [each for part in parts for each in part.attrs["left_out"]]
    for part in parts:
        part.attrs = {}
    rows = pd.concat(parts, ignore_index=True)
    rows.attrs["left_out"] = left_out
    return rows


def _facts(corpus: Corpus) -> pd.DataFrame:
    """Return what a corpus knows of each clip in the columns of a stored table."""
    table = corpus.table
    facts = table[["name", "corpus", "speaker", *PEOPLE, "emotion"]].rename(columns={"name": "clip"})
    votes = [column for column in table if str(column).startswith("vote_")]
    given = {str(column): table[column] for column in table if str(column).startswith("share_")}
    if votes and not given:
        counts = table[votes].fillna(0).to_numpy(dtype=float)
        shares = np.full(counts.shape, np.nan)
        voted = counts.sum(axis=1) > 0
        if voted.any():
            shares[voted] = shares_of(counts[voted])
        given = {f"share_{str(vote)[5:]}": pd.Series(shares[:, k], table.index) for k, vote in enumerate(votes)}
    if corpus.rating_range is not None:
        low, high = corpus.rating_range
        given |= {f"t_{name}": 2 * (table[name] - low) / (high - low) - 1 for name in DIMENSIONS}
    return pd.concat([facts, pd.DataFrame(given, index=table.index, dtype=np.float32)], axis=1)


def _run_of(answers: Path, corpus: Corpus) -> str:
    """Return a hash of what the answers follow from: weights or stored answers, and the corpus's files.

    A corpus's labels are not among it: where these are corrected, nothing has to be asked again. The sound of published
    corpora is known by names and sizes, that of others is read.
    """
    found = hashlib.sha256()
    for path in weight_files(answers) if answers.is_dir() else [answers]:
        found.update(path.read_bytes() if path.is_file() else str(path).encode())
    for file in corpus.table["file"].dropna():
        found.update(f"{Path(file).name} {Path(file).stat().st_size}\n".encode())
        if corpus.name not in TASKS:
            found.update(checksum(Path(file)).encode())
    return found.hexdigest()[:12]


def _stored_run(path: Path) -> str:
    """Return what ``_run_of`` was when the answers of a table were given; "" where they are of several runs."""
    runs = pd.read_parquet(path, columns=["run"])["run"].unique()
    return str(runs[0]).partition("-")[0] if len(runs) == 1 else ""


def _as_csv(rows: pd.DataFrame) -> bytes:
    """Return a table as it reads once it is stored, so that two can be compared."""
    return _small(rows).to_csv(index=False).encode()


def _write(rows: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, its numbers and words in few bytes."""
    write_table(_small(rows), path)


def _small(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table with words as categories and numbers in single precision."""
    words = [column for column in rows if not pd.api.types.is_numeric_dtype(rows[column]) and column != "clip"]
    shares = rows.select_dtypes(include="float64").columns
    small = rows.astype(dict.fromkeys(words, "category") | dict.fromkeys(shares, np.float32) | {"fold": np.int8})
    small.attrs = rows.attrs
    return small
