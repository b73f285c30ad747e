"""Trains a bundled model fold by fold, stores out-of-fold predictions, and writes the model folder with its card.

A system is a module in ``ser_core.systems`` with ``prepare``, ``fit``, ``logits``, ``embeddings``, ``save``, ``load``.
"""

import dataclasses
import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from torch import nn

from ser_core import metrics
from ser_core.bundled import CREMA_D_LIMITS, Plan
from ser_core.calibration import fit_temperature
from ser_core.cards import read_card, write_card
from ser_core.errors import CorpusError, ModelError
from ser_core.familiarity import fit_neighbourhood
from ser_core.models import Card, Figure
from ser_core.settings import ASSETS, settings
from ser_core.splits import validation_speakers

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
FOLDS = 5


def with_folds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the CREMA-D table with the committed fold of each clip, in the order of the committed table.

    Raises:
        CorpusError: clips of the fold table are missing in the corpus.
    """
    folds = pd.read_csv(ASSETS / "folds" / "crema_d.csv", dtype=str)
    clips = table.assign(clip=[Path(file).stem for file in table["file"]]).set_index("clip")
    absent = [clip for clip in folds["clip"] if clip not in clips.index]
    if absent:
        raise CorpusError(f"{len(absent)} clips of the CREMA-D fold table are not in the corpus, first {absent[0]}.")
    joined = clips.loc[folds["clip"]].reset_index()
    return joined.assign(fold=folds["fold"].astype(int).to_numpy())


def prepared(plan: Plan, files: list[str]) -> list[np.ndarray]:
    """Return every clip's input to the system, extracted once and kept in the cache folder."""
    system = importlib.import_module(f"ser_core.systems.{plan.system}")
    key = hashlib.sha256(json.dumps([plan.system, plan.encoder, files]).encode()).hexdigest()
    store = settings().cache_dir / "features" / f"{plan.system}-{key[:12]}.npz"
    if not store.exists():
        arrays = []
        for place, file in enumerate(files):
            arrays.append(system.prepare(file, plan.encoder))
            if place % 500 == 499:
                print(f"{place + 1} of {len(files)} clips prepared", flush=True)
        store.parent.mkdir(parents=True, exist_ok=True)
        widths = np.array([array.shape[-1] for array in arrays])
        partial = store.with_suffix(".partial.npz")
        np.savez(partial, values=np.concatenate(arrays, axis=-1), widths=widths)
        partial.replace(store)
    with np.load(store) as stored:
        return np.split(stored["values"], np.cumsum(stored["widths"])[:-1], axis=-1)


def run_fold(plan: Plan, table: pd.DataFrame, fold: int, folder: Path) -> None:
    """Train without the fold's speakers; write its predictions, and the weights of the trained network.

    Args:
        plan: the model.
        table: of ``with_folds``.
        fold: the fold that is tested.
        folder: receives ``fold-<k>/``; a run that was stopped goes on from its last epoch.
    """
    system = importlib.import_module(f"ser_core.systems.{plan.system}")
    out = folder / f"fold-{fold}"
    out.mkdir(parents=True, exist_ok=True)
    if (out / "predictions.parquet").exists():
        return
    values = prepared(plan, table["file"].tolist())
    classes = table["emotion"].map({emotion: i for i, emotion in enumerate(EMOTIONS)}).to_numpy()
    held_back = set(validation_speakers(table.groupby("speaker")["fold"].first(), fold, 8))
    testing = (table["fold"] == fold).to_numpy()
    validating = table["speaker"].isin(held_back).to_numpy()
    training = ~testing & ~validating

    def pick(mask: np.ndarray) -> list[np.ndarray]:
        return [values[i] for i in np.flatnonzero(mask)]

    def after_epoch(network: nn.Module, epoch: int) -> dict[str, float]:
        return {"validation_uar": _uar(classes[validating], system.logits(network, pick(validating)))}

    targets = np.eye(len(EMOTIONS))[classes]
    network = system.fit(pick(training), targets[training], plan.recipe, plan.encoder, out, after_epoch)
    temperature = fit_temperature(system.logits(network, pick(validating)), classes[validating])
    rows = table.loc[testing, ["clip", "speaker", "emotion", "fold"]].reset_index(drop=True)
    probabilities = softmax(system.logits(network, pick(testing)) / temperature, axis=1)
    rows[[f"p_{emotion}" for emotion in EMOTIONS]] = probabilities
    system.save(network, temperature, out)
    train_embeddings = system.embeddings(network, pick(training))
    near = fit_neighbourhood(train_embeddings, classes[training], system.embeddings(network, pick(testing)))
    near.save(out)
    partial = out / "predictions.partial"
    rows.to_parquet(partial)
    partial.replace(out / "predictions.parquet")
    (out / "checkpoint.safetensors").unlink(missing_ok=True)
    print(f"{plan.name} fold {fold}: UAR {_uar(classes[testing], probabilities):.3f}", flush=True)


def assemble(plan: Plan, folder: Path, command: str) -> Path:
    """Write the model folder (weights of fold 0) and the stored out-of-fold predictions; return the folder.

    Raises:
        ModelError: fold 0 has not been run.
    """
    done = sorted(folder.glob("fold-*/predictions.parquet"))
    if not (folder / "fold-0" / "predictions.parquet").exists():
        raise ModelError(f"{plan.name} has no finished fold 0 in {folder}; run '{command}' first.")
    rows = pd.concat([pd.read_parquet(path) for path in done], ignore_index=True)
    target = ASSETS / "models" / plan.name
    target.mkdir(parents=True, exist_ok=True)
    for file in ("weights.safetensors", "familiarity.safetensors"):
        (target / file).write_bytes((folder / "fold-0" / file).read_bytes())
    results = ASSETS / "results"
    results.mkdir(exist_ok=True)
    rows.to_parquet(results / f"{plan.name}.crema_d.parquet", index=False)
    split = (
        f"CREMA-D, out of fold over {len(done)} of {FOLDS} actor-disjoint folds ({rows.speaker.nunique()} actors, "
        f"{len(rows)} clips); the shipped weights are those of fold 0, whose {_actors(rows, 0)} test actors and 8 "
        "validation actors they never saw"
    )
    write_card(
        target,
        Card(
            name=plan.name,
            title=plan.title,
            system=plan.system,
            summary=plan.summary,
            emotions=EMOTIONS,
            encoder=plan.encoder,
            corpora=("CREMA-D",),
            licences=plan.licences,
            split=split,
            figures=figures(rows, split, command),
            intended_use="Research and teaching about how speech emotion models decide. Not a diagnosis.",
            limits=CREMA_D_LIMITS,
            size_mb=0.0,
            extra={"place": plan.place, "folds": len(done), "encoder_mb": _encoder_mb(plan)},
        ),
    )
    return target


def figures(rows: pd.DataFrame, split: str, command: str) -> tuple[Figure, ...]:
    """Return the card's figures from stored predictions (columns speaker, emotion, p_<emotion>)."""
    truth, speakers = rows["emotion"].tolist(), rows["speaker"].tolist()
    probabilities = rows[[f"p_{emotion}" for emotion in EMOTIONS]].to_numpy()
    answers = [EMOTIONS[i] for i in probabilities.argmax(1)]
    measured = metrics.evaluate(truth, answers, speakers, EMOTIONS)
    measured["ECE"] = metrics.calibration_error(truth, probabilities, speakers, EMOTIONS)
    return tuple(
        Figure(name, m.value, m.low, m.high, m.baseline, m.chance, split, command) for name, m in measured.items()
    )


def refresh_cards() -> None:
    """Rebuild the figures of every bundled card from its stored out-of-fold predictions."""
    for path in sorted((ASSETS / "results").glob("*.crema_d.parquet")):
        folder = ASSETS / "models" / path.name.removesuffix(".crema_d.parquet")
        card = read_card(folder)
        command = next(iter(card.figures)).command
        write_card(folder, dataclasses.replace(card, figures=figures(pd.read_parquet(path), card.split, command)))


def results_table() -> str:
    """Return the model table of the README as Markdown: value and 95 % interval by speaker."""
    lines = [
        "| model | folds done | UAR | accuracy | macro-F1 | ECE | majority baseline UAR / accuracy | size |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for folder in sorted((ASSETS / "models").iterdir()):
        card = read_card(folder)
        by = {figure.measure: figure for figure in card.figures}
        cells = [f"{by[m].value:.3f} [{by[m].low:.3f}, {by[m].high:.3f}]" for m in ("UAR", "WA", "macro-F1", "ECE")]
        base = f"{by['UAR'].baseline:.3f} / {by['WA'].baseline:.3f}"
        done = f"{card.extra['folds']} of {FOLDS}"
        lines.append(f"| {card.title} | {done} | {' | '.join(cells)} | {base} | {card.size_mb:.1f} MB |")
    return "\n".join(lines)


def _uar(classes: np.ndarray, scores: np.ndarray) -> float:
    answers = [EMOTIONS[i] for i in scores.argmax(1)]
    return float(metrics.uar(metrics.confusion([EMOTIONS[i] for i in classes], answers, EMOTIONS)))


def _encoder_mb(plan: Plan) -> float:
    """Return the size of an encoder that is not among the model's own weights, in MB."""
    outside = getattr(importlib.import_module(f"ser_core.systems.{plan.system}"), "encoder_mb", None)
    return float(outside(plan.encoder)) if outside else 0.0


def _actors(rows: pd.DataFrame, fold: int) -> int:
    return int(rows.loc[rows["fold"] == fold, "speaker"].nunique())
