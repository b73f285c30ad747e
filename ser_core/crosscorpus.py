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
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from torch import nn

from ser_core import metrics
from ser_core.bundled import PLANS, Plan
from ser_core.corpora import read_corpus, speaker_emotion_confounding
from ser_core.corpora.confounding import CONFOUNDED
from ser_core.crossvalidation import prepared, system_of
from ser_core.errors import CorpusError
from ser_core.evaluation import OUT_OF_FOLD, in_common
from ser_core.fairness import drawn, draws
from ser_core.files import stored_table, write_table
from ser_core.metrics import Interval
from ser_core.results import RESULTS, labels_of, paired_change
from ser_core.tasks import TASKS, with_folds

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

Read = Callable[[Plan, list[str]], list[np.ndarray]]


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


def read_parts(folders: Sequence[Path]) -> list[Part]:
    """Return the corpora in some folders, cut to the emotions that all of them have.

    Raises:
        CorpusError: fewer than two corpora, one without folds, one given twice, or fewer than two emotions in common.
    """
    corpora = [read_corpus(folder) for folder in folders]
    names = [corpus.name for corpus in corpora]
    strange = [name for name in names if name not in TASKS]
    if strange:
        raise CorpusError(f"There are no folds for {', '.join(strange)}; there are for {', '.join(TASKS)}.")
    if len(names) < 2 or len(set(names)) < len(names):
        raise CorpusError("Give two or more different corpora; training on one is tested on the others.")
    shared = shared_emotions(names)
    if len(shared) < 2:
        raise CorpusError(f"{', '.join(names)} have fewer than two emotions in common.")
    parts = []
    for corpus in corpora:
        table = with_folds(TASKS[corpus.name], corpus.table)
        parts.append(Part(corpus.name, table[table["emotion"].isin(shared)].reset_index(drop=True)))
    return parts


def shared_emotions(names: Sequence[str]) -> tuple[str, ...]:
    """Return the emotions that all of these tasks have, in alphabetical order."""
    return tuple(sorted(set.intersection(*(set(TASKS[name].emotions) for name in names))))


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


def summary(rows: pd.DataFrame, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return UAR of every cell with its interval over test speakers, and what it loses against training at home.

    Args:
        rows: of :func:`matrix`.
        replicates: of the bootstrap over speakers.

    Returns:
        One row a cell: train, test, system, normalised, clips, speakers, uar, low, high, baseline, chance; gap,
        gap_low, gap_high (this cell − the test corpus trained on itself, same system and normalising; 0 on the
        diagonal); change, change_low, change_high (normalised − not, on the normalised rows).
    """
    labels = labels_of(rows)
    cells = {tuple(key): part for key, part in rows.groupby(CELL, sort=False, observed=True)}
    out = []
    for (train, test, system, normalised), part in cells.items():
        answers = [labels[i] for i in part[[f"p_{label}" for label in labels]].to_numpy().argmax(1)]
        truth, speakers = part["emotion"].tolist(), part["speaker"].tolist()
        uar = metrics.evaluate(truth, answers, speakers, labels, replicates=replicates)["UAR"]
        gap, change = Interval(0.0, 0.0, 0.0), Interval(float("nan"), float("nan"), float("nan"))
        if train != test:
            gap = paired_change(cells[test, test, system, normalised], part, replicates=replicates)
        if normalised:
            change = paired_change(cells[train, test, system, False], part, replicates=replicates)
        out.append(
            dict(zip(CELL, (train, test, system, normalised), strict=True))
            | {"clips": len(part), "speakers": part["speaker"].nunique()}
            | {"uar": uar.value, "low": uar.low, "high": uar.high, "baseline": uar.baseline, "chance": uar.chance}
            | {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high}
            | {"change": change.value, "change_low": change.low, "change_high": change.high}
        )
    return pd.DataFrame(out)


def by_system(rows: pd.DataFrame, *, replicates: int = 2_000) -> pd.DataFrame:
    """Return what each system finds at home and away, as means over the cells, with intervals over test speakers.

    The speakers of a test corpus are drawn alike for every training corpus, so the loss has the narrower interval of
    a difference over the same speakers.

    Args:
        rows: of :func:`matrix`.
        replicates: of the bootstrap.

    Returns:
        One row a system and normalising: system, normalised, cells (away); home, away, loss (away − home, each
        test corpus against itself) and clear (away, without ``CONFOUNDED`` corpora; NaN where nothing is left), each
        with ``_low`` and ``_high``; chance.
    """
    labels, out = labels_of(rows), []
    for (system, normalised), part in rows.groupby(["system", "normalised"], sort=False, observed=True):
        values, replicas = {}, {}
        for (train, test), cell in part.groupby(["train", "test"], sort=True, observed=True):
            tensors = _matrices(cell.sort_values("speaker", kind="stable"), labels)
            values[train, test] = metrics.uar(tensors.sum(0))
            replicas[train, test] = metrics.uar(drawn(tensors, draws(len(tensors), replicates, _seed(str(test)))))
        away = [pair for pair in values if pair[0] != pair[1]]
        home = [(test, test) for _, test in away]  # as often as the corpus is tested on from elsewhere
        measured: dict[str, tuple[Any, Any]] = {}
        clear = [pair for pair in away if not CONFOUNDED & set(pair)]
        for name, found in (("home", home), ("away", away), ("clear", clear)):
            measured[name] = (
                np.mean([values[pair] for pair in found]) if found else np.nan,
                np.nanmean([replicas[pair] for pair in found], axis=0) if found else np.full(replicates, np.nan),
            )
        measured["loss"] = tuple(a - h for a, h in zip(measured["away"], measured["home"], strict=True))
        row = {"system": system, "normalised": normalised, "cells": len(away)}
        for name, (value, replica) in measured.items():
            low, high = np.nanpercentile(replica, [2.5, 97.5]) if np.isfinite(value) else (np.nan, np.nan)
            row |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
        out.append(row | {"chance": 1 / len(labels)})
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


def run(folders: Sequence[Path], runs: Path, systems: Sequence[str] = SYSTEMS) -> str:
    """Fill the matrix of these systems, store it as ``assets/results/cross-corpus.parquet``, return it as Markdown.

    Rows that are stored of other systems over the same corpora stay.

    Raises:
        CorpusError: as of :func:`read_parts`, or a system cannot be trained on any corpus.
    """
    strange = [name for name in systems if name not in SYSTEMS]
    if strange:
        raise CorpusError(f"{', '.join(strange)} cannot be trained on any corpus; choose among {', '.join(SYSTEMS)}.")
    parts = read_parts(folders)
    rows = with_others(matrix(parts, runs / "cross-corpus", systems), stored_table(RESULTS / TABLE))
    write_table(stored(rows), RESULTS / TABLE, compression="zstd")
    confounded = []
    for part in parts:
        found = speaker_emotion_confounding(part.table)
        if found.one_emotion > found.speakers / 2:
            confounded.append(f"{part.name}: {found.sentence} A high figure on it may be speaker identification.")
    return markdown(summary(rows), confounded)


def with_others(rows: pd.DataFrame, earlier: pd.DataFrame | None) -> pd.DataFrame:
    """Return the rows of a matrix with those of other systems from an earlier one over the same corpora."""
    if earlier is None or set(earlier["train"].astype(str)) != set(rows["train"]) or "system" not in earlier:
        return rows
    words = dict.fromkeys(rows.select_dtypes(include=["object", "string"]).columns, "str")
    others = earlier.astype(words)
    return pd.concat([others[~others["system"].isin(set(rows["system"]))], rows], ignore_index=True)


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
    values = read(plan, part.table["file"].tolist())
    if not normalised:
        return values
    table = normalised_by_speaker(np.concatenate(values, axis=1).T, part.table["speaker"].tolist())
    return [row[:, None] for row in table]


def mapped(rows: pd.DataFrame, called: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of a matrix with labels and answers read under other names, cell by cell.

    Args:
        rows: of :func:`matrix`.
        called: as of :func:`evaluation.in_common`: emotions that count as the same are merged, "" leaves one out.

    Raises:
        CorpusError: fewer than two emotions are left in a cell.
    """
    same = all(called.get(label, label) == label for label in labels_of(rows))
    return rows if same else in_common(rows, called)


def of_models(
    tables: Mapping[tuple[str, str], pd.DataFrame], called: Mapping[str, str], replicates: int = 2_000
) -> pd.DataFrame:
    """Return UAR of each model on each corpus over the emotions that both know, and what it loses against home.

    Args:
        tables: (model, corpus) → rows of :mod:`ser_core.evaluation`; those of dimensions are passed over.
        called: which emotion counts as which, as of :func:`evaluation.in_common`.
        replicates: of the bootstrap over speakers.

    Returns:
        model, test, home (whether these are the out-of-fold answers at home), emotions (in words), clips, speakers,
        uar, low, high, chance; gap, gap_low, gap_high: against the same emotions at home. The two are of
        different speakers, so their intervals are drawn apart; NaN at home and where there is no home.
    """
    found = []
    at_home = {model: rows for (model, _), rows in tables.items() if (rows["split"] == OUT_OF_FOLD).all()}
    for (model, corpus), rows in tables.items():
        if not labels_of(rows) or any(str(column).startswith("d_") for column in rows):
            continue
        try:
            shared = in_common(rows, called)
        except CorpusError:
            continue
        labels = labels_of(shared)
        matrices = _matrices(shared, labels)
        uar = metrics.uar(matrices.sum(0))
        low, high = metrics.speaker_bootstrap(matrices, metrics.uar, replicates=replicates)
        home = (rows["split"] == OUT_OF_FOLD).all()
        gap = Interval(float("nan"), float("nan"), float("nan"))
        if not home and model in at_home:
            there = in_common(at_home[model], called)
            there = in_common(there, {word: word if word in labels else "" for word in labels_of(there)})
            if labels_of(there) == labels:
                gap = _gap_apart(_matrices(there, labels), matrices, replicates)
        found.append(
            {"model": model, "test": corpus, "home": bool(home), "emotions": ", ".join(labels)}
            | {"clips": len(shared), "speakers": len(matrices)}
            | {"uar": float(uar), "low": low, "high": high, "chance": 1 / len(labels)}
            | {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high}
        )
    return pd.DataFrame(found)


def _matrices(rows: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return each speaker's confusion matrix (speakers, classes, classes)."""
    answers = [labels[i] for i in rows[[f"p_{label}" for label in labels]].to_numpy().argmax(1)]
    return metrics.speaker_confusions(rows["emotion"].tolist(), answers, rows["speaker"].tolist(), labels)


def _gap_apart(home: np.ndarray, away: np.ndarray, replicates: int) -> Interval:
    """Return UAR away − UAR at home, speakers of each drawn on their own."""
    there, here = (
        metrics.uar(drawn(tensors, draws(len(tensors), replicates, seed))) for seed, tensors in enumerate((away, home))
    )
    low, high = np.nanpercentile(there - here, [2.5, 97.5])
    value = float(metrics.uar(away.sum(0)) - metrics.uar(home.sum(0)))
    return Interval(value, float(low), float(high), baseline=0.0, chance=0.0)
