"""Studies: the same folds run with several variants and seeds, so that a part's worth can be told from luck."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ser_core.bundled import PLANS, Plan
from ser_core.crossvalidation import run_fold
from ser_core.errors import CorpusError
from ser_core.settings import ASSETS
from ser_core.tasks import TASKS, with_folds


@dataclass(frozen=True)
class Study:
    """Variants of a system on the folds of one task.

    name: of the stored table. title and question: for the reader. variants: name → plan, the plain one first, against
    which the others are set. seeds: each replaces the seed of a plan's recipe.
    """

    name: str
    title: str
    question: str
    task: str
    variants: dict[str, Plan]
    seeds: tuple[int, ...] = (0, 1, 2)


def run_study(study: Study, corpus_table: pd.DataFrame, runs: Path, *, folds: list[int] | None = None) -> pd.DataFrame:
    """Run what is not done yet of every variant × seed × fold; return and store all predictions.

    Args:
        study: what to run.
        corpus_table: of the study's corpus.
        runs: folder for runs and checkpoints; finished folds are read from it.
        folds: only these.

    Returns:
        One row per clip × variant × seed: variant, seed, and the columns of ``crossvalidation.run_fold``; also written
        to ``assets/results/<study>.<task>.parquet``.
    """
    task = TASKS[study.task]
    table = with_folds(task, corpus_table)
    parts = []
    for seed in study.seeds:
        for variant, plan in study.variants.items():
            if plan.task != study.task:
                raise CorpusError(f"Variant {variant} of {study.name} is planned for another corpus, {plan.task}.")
            seeded = replace(plan, recipe=replace(plan.recipe, seed=seed))
            for fold in range(task.folds) if folds is None else folds:
                rows = run_fold(seeded, table, fold, runs / study.name / variant / f"seed-{seed}", ship=False)
                parts.append(rows.assign(variant=variant, seed=seed))
    found = pd.concat(parts, ignore_index=True)
    found.to_parquet(ASSETS / "results" / f"{study.name}.{task.name}.parquet", index=False)
    return found


def _with_and_without_regions(name: str, title: str, plan: Plan, seeds: tuple[int, ...]) -> Study:
    question = "Do the octants of the sphere, learned alongside at first, help the three dimensions?"
    plain = replace(plan, options=plan.options | {"regions": False})
    return Study(name, title, question, plan.task, {"dimensions only": plain, "with octants at first": plan}, seeds)


_LISTENERS = PLANS["label-distribution"]
_LINEAR = replace(_LISTENERS.recipe, epochs=12, batch=64, mixup=0.0)
_BEFORE, _AFTER = PLANS["whisper-tiny-statistics"], PLANS["co-vada-after"]


def _functionals(task: str) -> Study:
    plans = {
        "eGeMAPS, logistic regression": PLANS["egemaps-logistic"],
        "eGeMAPS, small network": PLANS["egemaps-mlp"],
        "ComParE, logistic regression": PLANS["compare-logistic"],
        "ComParE, small network": PLANS["compare-mlp"],
    }
    return Study(
        f"functionals-{task.replace('_', '-')}",
        f"Functionals and plain classifiers on {TASKS[task].title}",
        "Do 6,373 functionals say more than 88, and a small network more than logistic regression?",
        task,
        {variant: replace(plan, task=task) for variant, plan in plans.items()},
        seeds=(0,),
    )


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "label-distributions",
            "How listeners would split (EM2LDL)",
            "Does the published linear head do, is a hidden layer better, and do smoothed votes help?",
            "crema_d",
            {
                "linear head, last layer (published)": replace(_LISTENERS, recipe=_LINEAR, options={"pooling": "last"}),
                "linear head, all layers": replace(
                    _LISTENERS, recipe=replace(_LINEAR, rate=3e-4), options={"pooling": "means"}
                ),
                "hidden layer, all layers": _LISTENERS,
                "hidden layer, smoothed votes": replace(
                    _LISTENERS, recipe=replace(_LISTENERS.recipe, label_smoothing=0.1)
                ),
            },
        ),
        Study(
            "co-vada",
            "Fairness before and after voice augmentation (CO-VADA)",
            "Do easily learnt clips in other voices narrow the gaps between groups, and is it the voice or the weight?",
            "crema_d",
            {
                "before": _BEFORE,
                "easy clips twice": replace(_AFTER, augmentation="co_vada:copies"),
                "after, Praat": _AFTER,
                "after, WORLD": replace(_AFTER, augmentation="co_vada:world"),
            },
            seeds=(0,),
        ),
        _with_and_without_regions(
            "emosphere-regions",
            "Valence, arousal, dominance as rated (EmoSphere-SER)",
            PLANS["emosphere-emotale"],
            (0, 1, 2),
        ),
        _with_and_without_regions(
            "emosphere-regions-voted",
            "Valence, arousal, dominance derived from votes (EmoSphere-SER)",
            PLANS["emosphere"],
            (0,),
        ),
        Study(
            "edge-fusion",
            "Late fusion for a microcontroller",
            "Does a frozen keyword network add anything where every sentence is said in every emotion?",
            "crema_d",
            {
                "acoustic only": replace(PLANS["edge-fusion"], options={"fused": False}),
                "late fusion": PLANS["edge-fusion"],
            },
            seeds=(0,),
        ),
        *(_functionals(task) for task in TASKS),
    )
}
"""Every study that can be run, by name."""
