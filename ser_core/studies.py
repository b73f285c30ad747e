"""Studies: the same folds run with several variants and seeds, so that a part's worth can be told from luck."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_core.bundled import PLANS, Plan, slug_of, with_encoder
from ser_core.crossvalidation import run_fold, run_folder, with_stored_folds
from ser_core.errors import CorpusError
from ser_core.files import write_table
from ser_core.settings import ASSETS
from ser_core.tasks import TASKS, check_folds, with_folds


@dataclass(frozen=True)
class Study:
    """Variants of a system on the folds of one task.

    name: of the stored table. title and question: for the reader. variants: name → plan, the plain one first, against
    which the others are set. seeds: each replaces the seed of a plan's recipe. by_clip: clips instead of
    speakers are dealt to the folds, so speakers stand on both sides; only to show how much that flatters.
    """

    name: str
    title: str
    question: str
    task: str
    variants: dict[str, Plan]
    seeds: tuple[int, ...] = (0, 1, 2)
    by_clip: bool = False


def run_study(study: Study, corpus_table: pd.DataFrame, runs: Path, *, folds: list[int] | None = None) -> pd.DataFrame:
    """Run what is not done yet of every variant × seed × fold; return and store all predictions.

    Args:
        study: what to run.
        corpus_table: of the study's corpus.
        runs: folder for runs and checkpoints; finished folds are read from it.
        folds: only these; what is stored of the others stays.

    Returns:
        One row per clip × variant × seed: variant, seed, and the columns of ``crossvalidation.run_fold``; also written
        to ``assets/results/<study>.<task>.parquet``.

    Raises:
        SettingError: there is no such fold.
    """
    task = TASKS[study.task]
    check_folds(task, folds or ())
    table = with_folds(task, corpus_table)
    if study.by_clip:
        table = table.assign(fold=np.random.default_rng(0).permutation(len(table)) % task.folds)
    parts = []
    for seed in study.seeds:
        for variant, plan in study.variants.items():
            if plan.task != study.task:
                raise CorpusError(f"Variant {variant} of {study.name} is planned for another corpus, {plan.task}.")
            seeded = replace(plan, recipe=replace(plan.recipe, seed=seed))
            kept = run_folder(seeded, table, runs / study.name / variant / f"seed-{seed}")
            for fold in range(task.folds) if folds is None else folds:
                rows = run_fold(seeded, table, fold, kept, ship=False)
                parts.append(rows.assign(variant=variant, seed=seed))
    path = ASSETS / "results" / f"{study.name}.{task.name}.parquet"
    found = with_stored_folds(pd.concat(parts, ignore_index=True), path)
    found = found[found["variant"].isin(study.variants) & found["seed"].isin(study.seeds)].reset_index(drop=True)
    write_table(found, path)
    return found


def on_encoder(study: Study, encoder: str) -> Study:
    """Return a study on another encoder, under a name of its own: the variants of its first encoder, on this one.

    Raises:
        SettingError: a variant cannot be on that encoder.
    """
    first, label = next(iter(study.variants.values())).encoder, Path(encoder).name
    moved = {
        variant.replace(first.removeprefix("whisper-"), label): with_encoder(plan, encoder)
        for variant, plan in study.variants.items()
        if plan.encoder == first
    }
    return replace(study, name=f"{study.name}-{slug_of(encoder)}", title=f"{study.title}, on {label}", variants=moved)


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
    confounded = " Nearly all speakers there are heard in one emotion: a high figure may be speaker identification."
    return Study(
        f"functionals-{task.replace('_', '-')}",
        f"Functionals and plain classifiers on {TASKS[task].title}",
        "Do 6,373 functionals say more than 88, and a small network more than logistic regression?"
        + (confounded if task == "urdu" else ""),
        task,
        {variant: replace(plan, task=task) for variant, plan in plans.items()},
        seeds=(0,),
    )


def _mater(name: str, task: str, encoder: str, where: str) -> Study:
    plan = replace(PLANS["mater"], task=task, encoder=encoder)
    variants: dict[str, dict[str, Any]] = {
        "ensemble, weights from entropy": {},
        "ensemble, equal weights": {"weighting": "equal"},
        "ensemble, acoustic only": {"modalities": ("acoustic",)},
    }
    for level in ("word", "utterance", "embedding"):
        variants[f"{level} level"] = {"levels": (level,)}
        for kind in ("acoustic", "text"):
            variants[f"{level} level, {kind}"] = {"levels": (level,), "modalities": (kind,)}
    return Study(
        name,
        f"Word, utterance and embedding levels on {TASKS[task].title} (MATER)",
        f"Does an ensemble beat its levels, and does text add anything {where}?",
        task,
        {variant: replace(plan, options=options) for variant, options in variants.items()},
        seeds=(0,),
    )


def _light(encoder: str, head: str) -> Plan:
    return replace(PLANS["whisper-tiny-attentive"], encoder=encoder, options={"head": head})


_MLL = PLANS["mll-ravdess"]


def _mll_with(*parts: str, eam: bool = False, flam: bool = False, task: str = "ravdess") -> Plan:
    return replace(_MLL, task=task, options={"eam": eam, "flam": flam, "parts": ("kl", *parts)})


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
            "Is a model as good, and are the gaps between groups narrower, with easily learnt clips in other voices?",
            "crema_d",
            {"before": _BEFORE, "after": _AFTER},
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
            "edge-late-fusion",
            "Late fusion for a microcontroller",
            "Does a frozen keyword network add anything where every sentence is said in every emotion?",
            "crema_d",
            {
                "acoustic only": replace(PLANS["edge-fusion"], options={"fused": False}),
                "late fusion": PLANS["edge-fusion"],
            },
            seeds=(0,),
        ),
        Study(
            "lightweight-heads",
            "Lightweight transformers under light heads",
            "Does a head that is more than linear, or that attends over time, help a frozen encoder?",
            "crema_d",
            {
                f"{encoder.removeprefix('whisper-')}, {head}": _light(encoder, head)
                for encoder in ("whisper-tiny.en", "whisper-base")
                for head in ("linear", "mlp", "attentive")
            },
            seeds=(0,),
        ),
        Study(
            "lightweight-heads-by-clip",
            "The same where clips, not speakers, are dealt to the folds",
            "How much does it flatter to test on speakers who were trained on, as the published comparison does?",
            "crema_d",
            {
                f"tiny.en, {head}; speakers on both sides": _light("whisper-tiny.en", head)
                for head in ("linear", "mlp", "attentive")
            },
            seeds=(0,),
            by_clip=True,
        ),
        _mater("mater-levels", "crema_d", "whisper-tiny.en", "where every sentence is said in every emotion"),
        _mater(
            "mater-levels-urdu", "urdu", "whisper-base", "in spontaneous Urdu, where the speaker gives the emotion away"
        ),
        Study(
            "mll",
            "Multi-loss learning, part by part (MLL)",
            "What do mixed speech, attention over frames and each further loss bring over cross-entropy, one at a time "
            "and together? With hard labels KL is cross-entropy; with mixed speech it is the KL to the soft label.",
            "ravdess",
            {
                "cross-entropy, mean of frames": _mll_with(),
                "+ mixed speech (EAM)": _mll_with(eam=True),
                "+ frame attention (FLAM)": _mll_with(flam=True),
                "+ focal loss": _mll_with("focal"),
                "+ centre loss": _mll_with("center"),
                "+ supervised contrast": _mll_with("contrast"),
                "all of them (MLL)": _mll_with("focal", "center", "contrast", eam=True, flam=True),
                "MLL, started from CREMA-D": _MLL,
            },
        ),
        Study(
            "mll-encoders",
            "Other encoders and heads on RAVDESS (MLL)",
            "Does a larger frozen encoder, or another head, come nearer to 0.85 than multi-loss learning on Whisper "
            "tiny.en does?",
            "ravdess",
            {
                f"{encoder.removeprefix('whisper-')}, {head}": replace(plan, task="ravdess", encoder=encoder)
                for head, plan in (
                    ("MLL", _mll_with("focal", "center", "contrast", eam=True, flam=True)),
                    ("means and deviations", PLANS["whisper-tiny-statistics"]),
                    ("attentive head", PLANS["whisper-tiny-attentive"]),
                )
                for encoder in ("whisper-tiny.en", "whisper-base")
            },
        ),
        Study(
            "mll-crema",
            "Multi-loss learning on CREMA-D, without mixed speech (MLL)",
            "Do attention over frames and four losses beat cross-entropy on 91 actors? Mixing the speech of all their "
            "clips is left out for its cost.",
            "crema_d",
            {
                "cross-entropy, mean of frames": replace(
                    PLANS["mll-crema-d"], options={"eam": False, "flam": False, "parts": ("kl",)}
                ),
                "attention and all losses": PLANS["mll-crema-d"],
            },
            seeds=(0,),
        ),
        Study(
            "mll-emodb",
            "Multi-loss learning on EMO-DB (MLL)",
            "Does multi-loss learning beat cross-entropy on ten German actors, too?",
            "emodb",
            {
                "cross-entropy, mean of frames": _mll_with(task="emodb"),
                "all of them (MLL)": _mll_with("focal", "center", "contrast", eam=True, flam=True, task="emodb"),
            },
        ),
        *(_functionals(task) for task in TASKS),
    )
}
"""Every study that can be run, by name."""
