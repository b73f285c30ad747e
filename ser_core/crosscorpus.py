"""Train on one corpus, test on another: functionals and neural systems, with and without normalising each speaker.

Every pair of corpora is a cell over the emotions that all of them have. A corpus against itself is out of fold, its
speakers dealt to the committed folds; against another it is trained on whole. So the same speakers and clips of a test
corpus are answered by every training corpus, and the gap between them has an interval over these speakers.

A system is trained as its bundled model is, but for the temperature, which needs speakers held back and changes no
answer. Normalising gives each feature mean 0 and deviation 1 over a speaker's own clips, where a system reads a clip
as one row of them. It needs no labels, but all clips of a test speaker at once (it is transductive), and where speakers
were recorded in one emotion only, as in the URDU dataset, it takes the emotion away with the speaker.

As the published Urdu study (system 6): four classes, UAR. There is one Urdu corpus here, so this is across languages.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from torch import nn

from ser_core import metrics
from ser_core.bundled import PLANS, Plan
from ser_core.corpora import read_corpus
from ser_core.corpora.confounding import CONFOUNDED
from ser_core.crossvalidation import check_enough, prepared, state_of_corpus, system_of
from ser_core.draws import draws, summed
from ser_core.errors import CorpusError
from ser_core.evaluation import OUT_OF_FOLD, Shared, check_lossless, shared_answers, with_speakers
from ser_core.files import stored_table, write_table
from ser_core.leaks import confounding, trips
from ser_core.results import RESULTS, labels_of
from ser_core.tasks import TASKS, task_of, with_folds

TABLE = "cross-corpus.parquet"
CELL = ["train", "test", "system", "normalised"]
SYSTEMS = (
    "egemaps-logistic",
    "egemaps-mlp",
    "compare-logistic",
    "compare-mlp",
    "whisper-tiny-statistics",
    "whisper-base-statistics",
    "whisper-tiny-attentive",
    "mll-crema-d",
    "edrl-mea",
    "log-mel-resnet",
)
"""Bundled models that can be trained on any corpus with emotions: none needs votes, ratings, words or other corpora."""

ONE_ROW_A_CLIP = tuple(
    name for name in SYSTEMS if PLANS[name].system in ("functionals_classifier", "whisper_statistics", "edrl_mea")
)
"""Those that read a clip as one row of features, which can be normalised for each speaker."""

Read = Callable[[Plan, pd.DataFrame], list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Part:
    """One corpus: its task's name, and its clips with folds."""

    name: str
    table: pd.DataFrame


def normalised_by_speaker(values: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
    """Return values (clips, features) with mean 0 and deviation 1 over each speaker's clips; constants become 0."""
    out = np.empty_like(values)
    names = np.asarray(speakers)
    for speaker in dict.fromkeys(speakers):
        own = values[names == speaker].astype(np.float64)
        deviation = own.std(0)
        spread = np.where(deviation > 1e-6 * np.abs(own).max(0), deviation, np.inf)
        out[names == speaker] = (own - own.mean(0)) / spread
    return out


def read_parts(folders: Sequence[Path], called: Mapping[str, str] | None = None) -> list[Part]:
    """Return the corpora in some folders, cut to the emotions that all of them have.

    Args:
        folders: any corpora that can be read; those without committed folds are dealt to folds, always alike.
        called: emotion → what it counts as before the cut; one that is not named counts as itself, one that counts as
            "" is left out.

    Raises:
        CorpusError: fewer than two corpora, one with too few speakers, clips or emotions, one given twice, or fewer
            than two emotions in common.
    """
    corpora = [read_corpus(folder) for folder in folders]
    names = [corpus.name for corpus in corpora]
    if len(names) < 2 or len(set(names)) < len(names):
        raise CorpusError("Give two or more different corpora; training on one is tested on the others.")
    tables = {corpus.name: with_folds(task_of(corpus), corpus.table) for corpus in corpora}
    if called:
        tables = {name: table.assign(emotion=table["emotion"].replace(called)) for name, table in tables.items()}
    shared = set.intersection(*(set(table["emotion"]) for table in tables.values())) - {""}
    if len(shared) < 2:
        raise CorpusError(
            f"{', '.join(names)} have fewer than two emotions in common; say with --count-as what is meant alike."
        )
    parts = [Part(name, table[table["emotion"].isin(shared)].reset_index(drop=True)) for name, table in tables.items()]
    for part in parts:
        for fold, tested in part.table.groupby("fold"):
            learnt = part.table.drop(tested.index)
            check_enough(learnt, len(shared), f"Without the speakers of fold {fold}, {part.name}")
    return parts


def matrix(
    parts: Sequence[Part], runs: Path, systems: Sequence[str] = SYSTEMS, *, seed: int = 0, read: Read = prepared
) -> pd.DataFrame:
    """Return one row per clip × training corpus × system × normalised; finished parts are not redone.

    Args:
        parts: of :func:`read_parts`.
        runs: folder that keeps what is finished, one file a training corpus and setting.
        systems: names of ``SYSTEMS``.
        seed: of every training.
        read: gives what a system reads of each clip.

    Returns:
        train, test, system, normalised, clip, speaker, fold, emotion, p_<emotion>.
    """
    emotions = tuple(sorted(set.intersection(*(set(part.table["emotion"]) for part in parts))))
    runs.mkdir(parents=True, exist_ok=True)
    found = []
    everyone = "+".join(sorted(part.name for part in parts))
    for name in systems:
        plan = replace(PLANS[name], recipe=replace(PLANS[name].recipe, seed=seed))
        for normalised in (False, True) if name in ONE_ROW_A_CLIP else (False,):
            voices = "normalised" if normalised else "as-they-are"
            values: dict[str, list[np.ndarray]] = {}
            for trained in parts:
                store = runs / f"{everyone}-{trained.name}-{name}-{voices}-{seed}.parquet"
                if stored_table(store) is None:
                    values = values or {part.name: _read(plan, part, normalised, read) for part in parts}
                    training = store.with_suffix("")
                    rows = _row_of_cells(plan, trained, parts, values, emotions, training)
                    rows.insert(0, "normalised", normalised)
                    write_table(rows[[*CELL, *[str(column) for column in rows if column not in CELL]]], store)
                    shutil.rmtree(training, ignore_errors=True)
                    print(f"trained on {trained.name}: {plan.title}, speakers {voices}", flush=True)
                found.append(pd.read_parquet(store))
    return pd.concat(found, ignore_index=True)


Cell = tuple[str, str, str, bool]
"""Train, test, system, normalised."""


@dataclass(frozen=True, eq=False)
class Counted:
    """The answers of one cell: speakers, sorted, and their confusion matrices (speakers, classes, classes)."""

    speakers: tuple[str, ...]
    tensors: np.ndarray


@dataclass(frozen=True, eq=False)
class Counts:
    """All that the figures of a matrix follow from: its emotions, and what was answered in each cell."""

    labels: tuple[str, ...]
    cells: dict[Cell, Counted]

    def of(self, system: str) -> "Counts":
        """Return the cells of one system."""
        return Counts(self.labels, {key: cell for key, cell in self.cells.items() if key[2] == system})


def counted(rows: pd.DataFrame, called: Mapping[str, str] | None = None) -> Counts:
    """Return the confusion matrices of every cell, by one count over all rows.

    Args:
        rows: of :func:`matrix`.
        called: as of :func:`evaluation.in_common`: emotions that count as the same are merged, "" leaves one out.

    Raises:
        CorpusError: fewer than two emotions are left.
    """
    shared = shared_answers(rows, called)
    by_cell = rows.groupby(CELL, sort=False, observed=True)
    cell = by_cell.ngroup().to_numpy()[shared.kept]
    keys = [(str(train), str(test), str(system), bool(voices)) for train, test, system, voices in _first(by_cell)]
    who, names = pd.factorize(rows["speaker"])
    in_order = np.argsort(np.asarray(names, dtype=str))
    size, speakers = len(shared.emotions), np.asarray(names, dtype=str)[in_order]
    who = np.argsort(in_order)[who][shared.kept]
    place = ((cell * len(speakers) + who) * size + shared.truth) * size + shared.chances.argmax(axis=1)
    shape = (len(keys), len(speakers), size, size)
    tensors = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
    found = {}
    for key, each in zip(keys, tensors, strict=True):
        there = each.any(axis=(1, 2))
        if there.any():
            found[key] = Counted(tuple(speakers[there].tolist()), each[there])
    return Counts(shared.emotions, found)


def _first(by_cell: Any) -> list[tuple[Any, ...]]:
    """Return the keys of groups in the order of their numbers."""
    return list(by_cell.head(1)[CELL].itertuples(index=False, name=None))


def summary(counts: Counts, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return UAR of every cell with its interval over test speakers, and what it loses against training at home.

    Args:
        counts: of :func:`counted`.
        replicates: of the bootstrap over speakers.

    Returns:
        One row a cell: train, test, system, normalised, clips, speakers, uar, low, high, baseline, chance; gap,
        gap_low, gap_high (this cell − the test corpus trained on itself, same system and normalising; 0 on the
        diagonal); change, change_low, change_high (normalised − not, on the normalised rows).

    Raises:
        CorpusError: two cells that are set against each other are not of the same speakers.
    """
    values = {key: float(metrics.uar(cell.tensors.sum(axis=0))) for key, cell in counts.cells.items()}
    replicas = _replicas(counts, replicates, lambda test: 0)

    def apart(key: Cell, other: Cell) -> tuple[float, float, float]:
        if counts.cells[key].speakers != counts.cells[other].speakers:
            raise CorpusError("A change is measured on the same speakers; two cells differ in theirs.")
        return (values[key] - values[other], *_limits(replicas[key] - replicas[other]))

    out = []
    for key, cell in counts.cells.items():
        train, test, system, normalised = key
        whole = cell.tensors.sum(axis=0)
        low, high = _limits(replicas[key])
        gap = apart(key, (test, test, system, normalised)) if train != test else (0.0, 0.0, 0.0)
        change = apart(key, (train, test, system, False)) if normalised else (np.nan,) * 3
        out.append(
            dict(zip(CELL, key, strict=True))
            | {"clips": int(whole.sum()), "speakers": len(cell.speakers)}
            | {"uar": values[key], "low": low, "high": high}
            | {"baseline": float(metrics.uar(metrics.constant_baseline(whole)))}
            | {"chance": float(metrics.uar(metrics.chance_level(whole)))}
            | dict(zip(("gap", "gap_low", "gap_high"), gap, strict=True))
            | dict(zip(("change", "change_low", "change_high"), change, strict=True))
        )
    return pd.DataFrame(out)


def _replicas(counts: Counts, replicates: int, seed_of: Callable[[str], int]) -> dict[Cell, np.ndarray]:
    """Return UAR (replicates,) of every cell over resampled speakers; those of a test corpus are drawn once for all."""
    alike: dict[tuple[str, tuple[str, ...]], list[Cell]] = {}
    for key, cell in counts.cells.items():
        alike.setdefault((key[1], cell.speakers), []).append(key)
    found: dict[Cell, np.ndarray] = {}
    for (test, speakers), keys in alike.items():
        weights = draws(len(speakers), replicates, seed_of(test))
        values = metrics.uar(summed(weights, np.stack([counts.cells[key].tensors for key in keys], axis=1)))
        # No spread follows from a single speaker.
        found |= zip(keys, values.T if len(speakers) > 1 else np.full_like(values.T, np.nan), strict=True)
    return found


def _limits(replica: np.ndarray) -> tuple[float, float]:
    if np.isnan(replica).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(replica, [2.5, 97.5])
    return float(low), float(high)


def by_system(counts: Counts, *, replicates: int = 2_000) -> pd.DataFrame:
    """Return what each system finds at home and away, as means over the cells, with intervals over test speakers.

    The speakers of a test corpus are drawn alike for every training corpus, so the loss has the narrower interval of
    a difference over the same speakers.

    Args:
        counts: of :func:`counted`.
        replicates: of the bootstrap.

    Returns:
        One row a system and normalising: system, normalised, cells (away); home, away, loss (away − home, each
        test corpus against itself) and clear (away, without ``CONFOUNDED`` corpora; NaN where nothing is left), each
        with ``_low`` and ``_high``; chance.
    """
    replicas, out = _replicas(counts, replicates, _seed), []
    values = {key: float(metrics.uar(cell.tensors.sum(axis=0))) for key, cell in counts.cells.items()}
    for system, normalised in dict.fromkeys(key[2:] for key in values):
        away = sorted(key for key in values if key[2:] == (system, normalised) and key[0] != key[1])
        home = [(test, test, system, normalised) for _, test, _, _ in away]  # as often as tested on from elsewhere
        measured: dict[str, tuple[Any, Any]] = {}
        clear = [key for key in away if not CONFOUNDED & set(key[:2])]
        for name, found in (("home", home), ("away", away), ("clear", clear)):
            measured[name] = (
                np.mean([values[key] for key in found]) if found else np.nan,
                np.nanmean([replicas[key] for key in found], axis=0) if found else np.full(replicates, np.nan),
            )
        measured["loss"] = tuple(a - h for a, h in zip(measured["away"], measured["home"], strict=True))
        row = {"system": system, "normalised": normalised, "cells": len(away)}
        for name, (value, replica) in measured.items():
            low, high = _limits(replica) if np.isfinite(value) else (np.nan, np.nan)
            row |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
        out.append(row | {"chance": 1 / len(counts.labels)})
    return pd.DataFrame(out)


def _seed(name: str) -> int:
    return int.from_bytes(name.encode()[:4], "big")


def markdown(cells: pd.DataFrame, confounded: Sequence[str] = ()) -> str:
    """Return one train × test table of UAR [95 % interval over test speakers] per setting as Markdown.

    Args:
        cells: of :func:`summary`.
        confounded: sentences about corpora whose speakers give the emotion away; they stand above the tables.
    """
    lines = [*confounded, ""] if confounded else []
    for (system, normalised), part in cells.groupby(["system", "normalised"], sort=False):
        tests = list(dict.fromkeys(part["test"]))
        speakers = "each speaker normalised (without labels)" if normalised else "speakers as they are"
        lines += [f"{PLANS[str(system)].title}, {speakers}; rows: trained on, columns: tested on; UAR", ""]
        lines += ["| | " + " | ".join(tests) + " |", "|---|" + "---|" * len(tests)]
        by = part.set_index(["train", "test"])
        for train in dict.fromkeys(part["train"]):
            shown = [by.loc[(train, test)] for test in tests]
            lines.append(f"| {train} | " + " | ".join(f"{c.uar:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in shown) + " |")
        lines.append("")
    return "\n".join(lines)


def run(
    folders: Sequence[Path],
    runs: Path,
    systems: Sequence[str] = SYSTEMS,
    *,
    called: Mapping[str, str] | None = None,
    out: Path = RESULTS / TABLE,
) -> str:
    """Fill the matrix of these systems, store it, return it as Markdown.

    Rows that are stored of other systems over the same clips and labels stay; it is said where others make way.

    Args:
        folders: of the corpora.
        runs: keeps what is finished.
        systems: of ``SYSTEMS``.
        called: of :func:`read_parts`.
        out: the table; the app's own holds the corpora that have committed folds, under their own labels.

    Raises:
        CorpusError: as of :func:`read_parts`; a system cannot be trained on any corpus; or the app's own table is to be
            written with other corpora or labels, or with a corpus that is compressed with loss.
    """
    strange = [name for name in systems if name not in SYSTEMS]
    if strange:
        raise CorpusError(f"{', '.join(strange)} cannot be trained on any corpus; choose among {', '.join(SYSTEMS)}.")
    parts = read_parts(folders, called)
    if out.resolve() == (RESULTS / TABLE).resolve():
        if called or any(part.name not in TASKS for part in parts):
            raise CorpusError("The app's own table is of its own corpora and labels; name another file with --out.")
        for folder in folders:
            check_lossless(read_corpus(folder))
    kept = runs / "cross-corpus"
    if called or any(part.name not in TASKS for part in parts):
        kept /= "-".join(state_of_corpus(part.table) for part in parts)
    answered, earlier = matrix(parts, kept, systems), stored_table(out)
    rows = with_others(answered, earlier)
    if earlier is not None and rows is answered:
        print(f"{out} was of other clips, labels or corpora; its figures make way for the new ones.", flush=True)
    write_table(stored(rows), out)
    confounded = []
    for part in parts:
        found = confounding(part.table, "speaker")
        if found is not None and trips(found):
            confounded.append(f"{part.name}: {found.sentence} A high figure on it may be speaker identification.")
    return markdown(summary(counted(rows)), confounded)


def with_others(rows: pd.DataFrame, earlier: pd.DataFrame | None) -> pd.DataFrame:
    """Return the rows of a matrix with those of other systems from an earlier one over the same clips and labels."""
    if earlier is None or not _is_alike(rows, earlier):
        return rows
    words = dict.fromkeys(rows.select_dtypes(include=["object", "string"]).columns, "str")
    others = earlier.astype(words)
    return pd.concat([others[~others["system"].isin(set(rows["system"]))], rows], ignore_index=True)


def _is_alike(rows: pd.DataFrame, earlier: pd.DataFrame) -> bool:
    """Return whether two matrices are of the same corpora, emotions, clips, labels and folds."""
    if set(rows) != set(earlier) or set(labels_of(rows)) != set(labels_of(earlier)):
        return False
    if set(earlier["train"].astype(str)) != set(rows["train"].astype(str)):
        return False
    clips, known = (
        each[["test", "clip", "speaker", "emotion", "fold"]].drop_duplicates().astype(str) for each in (rows, earlier)
    )
    return set(clips.itertuples(index=False, name=None)) == set(known.itertuples(index=False, name=None))


def stored(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as they are kept in the repository: words as categories, probabilities in half the digits."""
    words = rows.select_dtypes(include=["object", "string"]).columns
    chances = [column for column in rows if str(column).startswith("p_")]
    return rows.astype(dict.fromkeys(words, "category") | dict.fromkeys(chances, np.float32)).round(
        dict.fromkeys(chances, 4)
    )


def _row_of_cells(
    plan: Plan,
    trained: Part,
    parts: Sequence[Part],
    values: Mapping[str, list[np.ndarray]],
    emotions: tuple[str, ...],
    folder: Path,
) -> pd.DataFrame:
    system = system_of(plan)
    targets = (trained.table["emotion"].to_numpy()[:, None] == np.array(emotions)).astype(np.float32)
    folds = trained.table["fold"].to_numpy()

    def fitted(chosen: np.ndarray, name: str) -> nn.Module:
        learnt = [values[trained.name][i] for i in np.flatnonzero(chosen)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        network: nn.Module = system.fit(
            learnt, targets[chosen], plan.recipe, plan.encoder, folder / name, None, **plan.options
        )
        return network

    def answers(network: nn.Module, part: Part, chosen: np.ndarray) -> pd.DataFrame:
        rows = part.table.loc[chosen, ["clip", "speaker", "fold", "emotion"]].reset_index(drop=True)
        asked = [values[part.name][i] for i in np.flatnonzero(chosen)]
        rows[[f"p_{emotion}" for emotion in emotions]] = softmax(system.logits(network, asked), axis=1)
        return rows

    at_home = [answers(fitted(folds != k, f"fold-{k}"), trained, folds == k) for k in np.unique(folds)]
    cells = {trained.name: pd.concat(at_home)}
    whole = fitted(np.full(len(folds), True), "whole")
    for part in parts:
        if part.name != trained.name:
            cells[part.name] = answers(whole, part, np.full(len(part.table), True))
    parted = [rows.assign(test=name) for name, rows in cells.items()]
    return pd.concat(parted, ignore_index=True).assign(train=trained.name, system=plan.name)


def _read(plan: Plan, part: Part, normalised: bool, read: Read) -> list[np.ndarray]:
    values = read(plan, part.table)
    if not normalised:
        return values
    table = normalised_by_speaker(np.concatenate(values, axis=1).T, part.table["speaker"].tolist())
    return [row[:, None] for row in table]


def of_models(
    tables: Mapping[tuple[str, str], pd.DataFrame], called: Mapping[str, str], replicates: int = 2_000
) -> pd.DataFrame:
    """Return UAR of each model on each corpus over the emotions that both know, and what it loses against home.

    Args:
        tables: (model, corpus) → rows of :mod:`ser_core.evaluation`; those of dimensions are passed over, and clips
            without a speaker.
        called: which emotion counts as which, as of :func:`evaluation.in_common`.
        replicates: of the bootstrap over speakers.

    Returns:
        model, test, home (whether these are the out-of-fold answers at home), emotions (in words), clips, speakers,
        uar, low, high, chance; gap, gap_low, gap_high: against the same emotions at home. The two are of
        different speakers, so their intervals are drawn apart; NaN at home and where there is no home.
    """
    found = []
    tables = {pair: with_speakers(rows) for pair, rows in tables.items()}
    at_home = {model: rows for (model, _), rows in tables.items() if (rows["split"] == OUT_OF_FOLD).all()}

    @cache
    def home_over(model: str, labels: tuple[str, ...]) -> tuple[float, np.ndarray] | None:
        """Return UAR at home over these emotions and its replicas; None where they are not the same at home."""
        rows = at_home[model]
        words = {*labels_of(rows), *rows["emotion"].dropna().unique()}
        named = {word: called.get(word, word) for word in words}
        try:
            shared = shared_answers(rows, {word: each if each in labels else "" for word, each in named.items()})
        except CorpusError:
            return None
        if shared.emotions != labels:
            return None
        tensors = _by_speaker(rows, shared)
        return float(metrics.uar(tensors.sum(0))), metrics.uar(summed(draws(len(tensors), replicates, 1), tensors))

    for (model, corpus), rows in tables.items():
        if not labels_of(rows) or any(str(column).startswith("d_") for column in rows):
            continue
        try:
            shared = shared_answers(rows, called)
        except CorpusError:
            continue
        tensors = _by_speaker(rows, shared)
        uar = float(metrics.uar(tensors.sum(0)))
        replica = metrics.uar(summed(draws(len(tensors), replicates, 0), tensors))
        low, high = _limits(replica) if len(tensors) > 1 else (np.nan, np.nan)
        home = bool((rows["split"] == OUT_OF_FOLD).all())
        gap = (np.nan,) * 3
        if not home and model in at_home and (there := home_over(model, shared.emotions)) is not None:
            gap = (uar - there[0], *_limits(replica - there[1]))
        found.append(
            {"model": model, "test": corpus, "home": home, "emotions": ", ".join(shared.emotions)}
            | {"clips": len(shared.truth), "speakers": len(tensors)}
            | {"uar": uar, "low": low, "high": high, "chance": 1 / len(shared.emotions)}
            | dict(zip(("gap", "gap_low", "gap_high"), gap, strict=True))
        )
    return pd.DataFrame(found)


def _by_speaker(rows: pd.DataFrame, shared: Shared) -> np.ndarray:
    """Return each speaker's confusion matrix (speakers, classes, classes) of the rows that are kept."""
    who, names = pd.factorize(rows["speaker"].to_numpy()[shared.kept])
    size = len(shared.emotions)
    place = (who * size + shared.truth) * size + shared.chances.argmax(axis=1)
    tensors = np.bincount(place, minlength=len(names) * size**2).reshape(len(names), size, size)
    return tensors[np.argsort(np.asarray(names, dtype=str))]
