"""Train on one corpus, test on another: functionals, two classifiers, with and without normalising each speaker.

Every pair of corpora is a cell over the emotions that all of them have. A corpus against itself is out of fold, its
speakers dealt to the committed folds; against another it is trained on whole. So the same speakers and clips of a test
corpus are answered by every training corpus, and the gap between them has an interval over these speakers.

Normalising gives each speaker's functionals mean 0 and deviation 1 over the speaker's own clips. It needs no labels,
but all clips of a test speaker at once (it is transductive), and where speakers were recorded in one emotion only, as
in the URDU dataset, it takes the emotion away with the speaker.

As the published Urdu study (system 6): four classes, UAR. There is one Urdu corpus here, so this is across languages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from ser_core import metrics
from ser_core.bundled import FUNCTIONALS_RECIPE
from ser_core.corpora import read_corpus, speaker_emotion_confounding
from ser_core.errors import CorpusError
from ser_core.evaluation import OUT_OF_FOLD, in_common
from ser_core.fairness import drawn, draws
from ser_core.files import stored_table, write_table
from ser_core.functionals import FEATURE_SETS, clip_functionals
from ser_core.metrics import Interval
from ser_core.results import RESULTS, labels_of, paired_change
from ser_core.systems import functionals_classifier as system
from ser_core.tasks import TASKS, with_folds

TABLE = "cross-corpus.parquet"
CELL = ["train", "test", "features", "classifier", "normalised"]


@dataclass(frozen=True, eq=False)
class Part:
    """One corpus: its task's name, clips with folds, and each clip's functionals (clips, features) by feature set."""

    name: str
    table: pd.DataFrame
    values: dict[str, np.ndarray]


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


def read_parts(folders: Sequence[Path], feature_sets: Sequence[str] = FEATURE_SETS) -> list[Part]:
    """Return the corpora in some folders with their functionals, cut to the emotions that all of them have.

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
        table = table[table["emotion"].isin(shared)].reset_index(drop=True)
        files = table["file"].tolist()
        parts.append(Part(corpus.name, table, {name: clip_functionals(files, name) for name in feature_sets}))
    return parts


def shared_emotions(names: Sequence[str]) -> tuple[str, ...]:
    """Return the emotions that all of these tasks have, in alphabetical order."""
    return tuple(sorted(set.intersection(*(set(TASKS[name].emotions) for name in names))))


def matrix(parts: Sequence[Part], runs: Path, *, seed: int = 0) -> pd.DataFrame:
    """Return one row per clip × training corpus × features × classifier × normalised; finished parts are not redone.

    Args:
        parts: of :func:`read_parts`.
        runs: folder that keeps what is finished, one file a training corpus and setting.
        seed: of the perceptron.

    Returns:
        train, test, features, classifier, normalised, clip, speaker, fold, emotion, p_<emotion>.
    """
    emotions = tuple(sorted(set.intersection(*(set(part.table["emotion"]) for part in parts))))
    runs.mkdir(parents=True, exist_ok=True)
    found = []
    for features, classifier, normalised in product(parts[0].values, system.CLASSIFIERS, (False, True)):
        for trained in parts:
            everyone = "+".join(sorted(part.name for part in parts))
            voices = "normalised" if normalised else "as-they-are"
            store = runs / f"{everyone}-{trained.name}-{features}-{classifier}-{voices}-{seed}.parquet"
            if stored_table(store) is None:
                rows = _row_of_cells(trained, parts, emotions, (features, classifier, normalised), seed)
                write_table(rows, store)
                print(f"trained on {trained.name}: {features}, {classifier}, speakers {voices}", flush=True)
            found.append(pd.read_parquet(store))
    return pd.concat(found, ignore_index=True)


def summary(rows: pd.DataFrame, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return UAR of every cell with its interval over test speakers, and what it loses against training at home.

    Args:
        rows: of :func:`matrix`.
        replicates: of the bootstrap over speakers.

    Returns:
        One row a cell: train, test, features, classifier, normalised, clips, speakers, uar, low, high, baseline,
        chance; gap, gap_low, gap_high (this cell − the test corpus trained on itself, same features, classifier and
        normalising; 0 on the diagonal); change, change_low, change_high (normalised − not, on the normalised rows).
    """
    labels = labels_of(rows)
    cells = {tuple(key): part for key, part in rows.groupby(CELL, sort=False, observed=True)}
    out = []
    for (train, test, features, classifier, normalised), part in cells.items():
        answers = [labels[i] for i in part[[f"p_{label}" for label in labels]].to_numpy().argmax(1)]
        truth, speakers = part["emotion"].tolist(), part["speaker"].tolist()
        uar = metrics.evaluate(truth, answers, speakers, labels, replicates=replicates)["UAR"]
        gap, change = Interval(0.0, 0.0, 0.0), Interval(float("nan"), float("nan"), float("nan"))
        if train != test:
            gap = paired_change(cells[test, test, features, classifier, normalised], part, replicates=replicates)
        if normalised:
            change = paired_change(cells[train, test, features, classifier, False], part, replicates=replicates)
        out.append(
            dict(zip(CELL, (train, test, features, classifier, normalised), strict=True))
            | {"clips": len(part), "speakers": part["speaker"].nunique()}
            | {"uar": uar.value, "low": uar.low, "high": uar.high, "baseline": uar.baseline, "chance": uar.chance}
            | {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high}
            | {"change": change.value, "change_low": change.low, "change_high": change.high}
        )
    return pd.DataFrame(out)


def markdown(cells: pd.DataFrame, confounded: Sequence[str] = ()) -> str:
    """Return one train × test table of UAR [95 % interval over test speakers] per setting as Markdown.

    Args:
        cells: of :func:`summary`.
        confounded: sentences about corpora whose speakers give the emotion away; they stand above the tables.
    """
    lines = [*confounded, ""] if confounded else []
    for (features, classifier, normalised), part in cells.groupby(["features", "classifier", "normalised"], sort=False):
        tests = list(dict.fromkeys(part["test"]))
        speakers = "each speaker normalised (without labels)" if normalised else "speakers as they are"
        lines += [f"{features}, {classifier}, {speakers}; rows: trained on, columns: tested on; UAR", ""]
        lines += ["| | " + " | ".join(tests) + " |", "|---|" + "---|" * len(tests)]
        by = part.set_index(["train", "test"])
        for train in dict.fromkeys(part["train"]):
            shown = [by.loc[(train, test)] for test in tests]
            lines.append(f"| {train} | " + " | ".join(f"{c.uar:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in shown) + " |")
        lines.append("")
    return "\n".join(lines)


def run(folders: Sequence[Path], runs: Path) -> str:
    """Fill the whole matrix, store it as ``assets/results/cross-corpus.parquet``, and return it as Markdown."""
    parts = read_parts(folders)
    rows = matrix(parts, runs / "cross-corpus")
    write_table(stored(rows), RESULTS / TABLE, compression="zstd")
    confounded = []
    for part in parts:
        found = speaker_emotion_confounding(part.table)
        if found.one_emotion > found.speakers / 2:
            confounded.append(f"{part.name}: {found.sentence} A high figure on it may be speaker identification.")
    return markdown(summary(rows), confounded)


def stored(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as they are kept in the repository: words as categories, probabilities in half the digits."""
    words = rows.select_dtypes(include=["object", "string"]).columns
    chances = [column for column in rows if str(column).startswith("p_")]
    return rows.astype(dict.fromkeys(words, "category") | dict.fromkeys(chances, np.float32)).round(
        dict.fromkeys(chances, 4)
    )


def _row_of_cells(
    trained: Part, parts: Sequence[Part], emotions: tuple[str, ...], setting: tuple[str, str, bool], seed: int
) -> pd.DataFrame:
    features, classifier, normalised = setting
    values = {part.name: _columns(part, features, normalised) for part in parts}
    targets = (trained.table["emotion"].to_numpy()[:, None] == np.array(emotions)).astype(np.float32)
    folds = trained.table["fold"].to_numpy()
    recipe = replace(FUNCTIONALS_RECIPE, seed=seed)

    def fitted(chosen: np.ndarray) -> system.StandardisedClassifier:
        learnt = [values[trained.name][i] for i in np.flatnonzero(chosen)]
        return system.fit(learnt, targets[chosen], recipe, features, Path(), None, classifier=classifier)

    def answers(network: system.StandardisedClassifier, part: Part, chosen: np.ndarray) -> pd.DataFrame:
        rows = part.table.loc[chosen, ["clip", "speaker", "fold", "emotion"]].reset_index(drop=True)
        asked = [values[part.name][i] for i in np.flatnonzero(chosen)]
        rows[[f"p_{emotion}" for emotion in emotions]] = softmax(system.logits(network, asked), axis=1)
        return rows

    cells = {trained.name: pd.concat([answers(fitted(folds != k), trained, folds == k) for k in np.unique(folds)])}
    whole = fitted(np.full(len(folds), True))
    for part in parts:
        if part.name != trained.name:
            cells[part.name] = answers(whole, part, np.full(len(part.table), True))
    parted = [rows.assign(test=name) for name, rows in cells.items()]
    found = pd.concat(parted, ignore_index=True).assign(
        train=trained.name, features=features, classifier=classifier, normalised=normalised
    )
    return found[[*CELL, *[column for column in found if column not in CELL]]]


def _columns(part: Part, features: str, normalised: bool) -> list[np.ndarray]:
    values = part.values[features]
    if normalised:
        values = normalised_by_speaker(values, part.table["speaker"].tolist())
    return [row[:, None] for row in values]


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
