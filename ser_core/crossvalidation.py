"""Trains a model fold by fold, stores out-of-fold predictions, and writes the model folder with its card.

A system is a module in ``ser_core.systems`` with ``prepare``, ``fit``, ``logits``, ``embeddings``, ``save``, ``load``;
what it learns is the emotion as one-hot rows unless it offers ``targets(table, labels)``.
"""

import hashlib
import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from torch import nn

from ser_core import checkpoints, ranks
from ser_core.batches import computes_in_bfloat16
from ser_core.bundled import Plan
from ser_core.calibration import fit_temperature
from ser_core.cards import write_card
from ser_core.encoders import frozen_encoder
from ser_core.errors import CorpusError, ModelError
from ser_core.familiarity import fit_neighbourhood
from ser_core.files import checksum, state_of, stored_table, whole, whole_folder, write_table
from ser_core.models import Card, Figure, SpeechModel
from ser_core.results import card_figures, figures
from ser_core.settings import ASSETS, settings
from ser_core.speaker_adaptation import class_means, save_class_means
from ser_core.splits import validation_speakers
from ser_core.tasks import TASKS
from ser_core.weights import WHISPER, brought

VALIDATION_SPEAKERS = 8
FEWEST_CLIPS = 8
"""To learn from, and two for each label: fewer tell no scale of features, nor how unlike clips of one emotion are."""
SHIPPED = 0
"""The fold whose model is bundled."""


def system_of(plan: Plan) -> ModuleType:
    """Return the module that trains and answers for a plan."""
    return importlib.import_module(f"ser_core.systems.{plan.system}")


def prepared(plan: Plan, table: pd.DataFrame) -> list[np.ndarray]:
    """Return every clip's input to the system, extracted once and kept in the cache folder.

    Where a file, what was said in it or an encoder's weights have changed, all are extracted anew.

    Args:
        plan: the model.
        table: with ``file`` and, for systems that read it, ``transcript`` and ``language``.

    Raises:
        CorpusError: a file is not there.
        AudioError: a file cannot be read.
    """
    system, files = system_of(plan), table["file"].tolist()
    prepare = system.prepare  # systems that read clips alike share what was read
    said = _said(table) if hasattr(system, "READS_TRANSCRIPTS") else [()] * len(files)
    try:
        states = [state_of(file) for file in files]
    except OSError as fault:
        raise CorpusError(f"{fault.filename} is not there; complete the corpus or take this clip out.") from fault
    # The folder may be shared by machines, and what bfloat16 gives is not what single precision gives.
    precision = computes_in_bfloat16(ranks.device().type)
    made_of = [prepare.__module__, plan.encoder, _weights_of(plan), precision, states, said]
    if (own := settings().lexicon) is not None:
        made_of.append(state_of(own))
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    store = settings().cache_dir / "features" / f"{prepare.__module__.rpartition('.')[2]}-{key[:12]}.npz"
    if not store.exists():
        arrays = []
        for place, file in enumerate(files):
            arrays.append(prepare(file, plan.encoder, *said[place]))
            if place % 500 == 499:
                print(f"{place + 1} of {len(files)} clips prepared", flush=True)
        store.parent.mkdir(parents=True, exist_ok=True)
        widths = np.array([array.shape[-1] for array in arrays])
        with whole(store) as partial, partial.open("wb") as opened:
            np.savez(opened, values=np.concatenate(arrays, axis=-1), widths=widths)
    with np.load(store) as stored:
        return np.split(stored["values"], np.cumsum(stored["widths"])[:-1], axis=-1)


def _said(table: pd.DataFrame) -> list[tuple[str | None, ...]]:
    """Return the transcript and the language of each clip, None where the corpus does not know it."""
    known = table.reindex(columns=["transcript", "language"]).astype(object)
    return [tuple(row) for row in known.where(known.notna(), None).itertuples(index=False)]


def run_folder(plan: Plan, table: pd.DataFrame, folder: Path) -> Path:
    """Return the folder that keeps the folds of a plan: the one given, or one inside it.

    A reader's own corpus or encoder may change under its name: each state of it has a folder of its own, so that no
    finished fold of another one is taken for it.

    Args:
        plan: the model.
        table: of ``tasks.with_folds``.
        folder: of all runs of the plan.
    """
    states = [_weights_of(plan), "" if plan.task in TASKS else state_of_corpus(table)]
    return folder / "-".join(filter(None, states))


def state_of_corpus(table: pd.DataFrame) -> str:
    """Return what tells the clips, labels, folds and sound of ``tasks.with_folds`` from others of the same names.

    The sound is read for it, not the times of the files, in which the machines that train together may differ.
    """
    found = hashlib.sha256(table.drop(columns="file").to_csv(index=False).encode())
    for file in table["file"]:
        with Path(file).open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()[:12]


def run_fold(plan: Plan, table: pd.DataFrame, fold: int, folder: Path, *, ship: bool = True) -> pd.DataFrame:
    """Train without the fold's speakers; write its predictions, and what a model folder needs.

    Args:
        plan: the model.
        table: of ``tasks.with_folds``.
        fold: the fold that is tested.
        folder: receives ``fold-<k>/``; a run that was stopped goes on from its last epoch.
        ship: whether the weights are kept, and for ``SHIPPED`` what tells how familiar a clip is; a study needs the
            predictions only.

    Returns:
        The fold's predictions: clip, speaker, emotion, fold, and the columns that ``results`` names for the answer.
        Of the processes that ``torchrun`` starts only the first answers and writes; the others return no rows.

    Raises:
        CorpusError: too few clips, or fewer than two emotions, are left to learn from; or as of :func:`prepared`.
    """
    system = system_of(plan)
    out = folder / f"fold-{fold}"
    out.mkdir(parents=True, exist_ok=True)
    done = stored_table(out / "predictions.parquet")
    if done is not None:
        return done
    training, testing = fold_parts(table, fold)
    check_enough(
        table[training],
        len(plan.labels),
        f"Without the speakers of fold {fold} and those held back, {plan.its_task.title}",
        named=plan.answer == "emotion",
    )
    with ranks.first_then_others():
        values = prepared(plan, table)
    validating = ~training & ~testing
    targets = _targets(plan, table)

    def pick(mask: np.ndarray) -> list[np.ndarray]:
        return [values[i] for i in np.flatnonzero(mask)]

    def after_epoch(network: nn.Module, epoch: int) -> dict[str, float]:
        rows = _rows(plan, table[validating], targets[validating], system.logits(network, pick(validating)))
        return {f"validation_{name}": value for name, value in main_measure(plan, rows).items()}

    inputs, wanted = pick(training), targets[training]
    if plan.augmentation:
        more = _more_clips(plan, table, training)
        if len(more):  # of few clips none may be learnt with confidence
            inputs += prepared(plan, more)
            wanted = np.concatenate([wanted, _targets(plan, more)])
    network = system.fit(inputs, wanted, plan.recipe, plan.encoder, out, after_epoch, **plan.options)
    if ranks.rank() > 0:
        return table.iloc[:0]
    temperature = 1.0
    if plan.answer == "emotion":
        temperature = fit_temperature(system.logits(network, pick(validating)), targets[validating].argmax(1))
    rows = _rows(plan, table[testing], targets[testing], system.logits(network, pick(testing)) / temperature)
    if ship:
        system.save(network, temperature, out)
    if ship and fold == SHIPPED:
        seen = system.embeddings(network, pick(training))
        codes = pd.factorize(table.loc[training, "emotion"].fillna(""))[0]
        fit_neighbourhood(seen, codes, system.embeddings(network, pick(testing))).save(out)
        learnt = targets[training].argmax(1)
        # Without a clip of each class a small corpus gives a model that cannot be adapted.
        if hasattr(system, "SPEAKER_ADAPTATION") and len(set(learnt)) == len(plan.labels):
            save_class_means(class_means(seen, learnt, len(plan.labels)), out)
    write_table(rows, out / "predictions.parquet")
    checkpoints.drop(out)
    print(f"{plan.name} fold {fold}: {main_measure(plan, rows)}", flush=True)
    return rows


def check_enough(learnt: pd.DataFrame, labels: int, what: str, *, named: bool = True) -> None:
    """Check that clips can be learnt from.

    Args:
        learnt: of ``tasks.with_folds``, those to train on.
        labels: how many a model of them has.
        what: the corpus, and who of it is left out; the sentence begins with it.
        named: whether their emotions are what is learnt.

    Raises:
        CorpusError: they are too few, or of one emotion.
    """
    fewest = max(FEWEST_CLIPS, 2 * labels)
    if len(learnt) < fewest:
        raise CorpusError(
            f"{what} has {len(learnt)} clips to learn from, and {fewest} or more are needed; add clips or speakers."
        )
    if named and learnt["emotion"].nunique() < 2:
        raise CorpusError(
            f"{what} has clips of {learnt['emotion'].iloc[0]} only, and nothing can be told apart; more speakers of "
            "each emotion are needed."
        )


def fold_parts(table: pd.DataFrame, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which clips (clips,) of ``tasks.with_folds`` a fold trains on and is tested on; the others validate."""
    held_back = validation_speakers(table.groupby("speaker")["fold"].first(), fold, VALIDATION_SPEAKERS)
    testing = (table["fold"] == fold).to_numpy()
    return ~testing & ~table["speaker"].isin(held_back).to_numpy(), testing


def main_measure(plan: Plan, rows: pd.DataFrame) -> dict[str, float]:
    """Return the point value of the measure by which a plan's kind of answer is judged first."""
    found = figures(rows, plan.answer, plan.labels, replicates=1)
    name = next(iter(found))
    return {name: round(found[name].value, 4)}


def with_stored_folds(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return predictions and, after them, those that are stored of folds that these lack.

    A stored table of other columns, or whose speakers were dealt to other folds, is of something else: none is kept.

    Args:
        rows: of :func:`run_fold`.
        path: of the stored table; it need not be there.
    """
    stored = stored_table(path)
    if stored is None or list(stored) != list(rows):
        return rows
    others = stored[~stored["fold"].isin(rows["fold"].unique())]
    return rows if others["clip"].isin(rows["clip"]).any() else pd.concat([rows, others], ignore_index=True)


def _as_now(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of the folds whose clips, speakers and labels are those of ``tasks.with_folds`` now."""
    facts = ["clip", "speaker", "emotion", "fold"]
    known = set(table[facts].itertuples(index=False, name=None))
    here = np.array([row in known for row in rows[facts].itertuples(index=False, name=None)])
    return rows[~rows["fold"].isin(rows.loc[~here, "fold"])].reset_index(drop=True)


def assemble(plan: Plan, table: pd.DataFrame, folder: Path, command: str) -> Path:
    """Write the model folder (weights of fold ``SHIPPED``) and the stored out-of-fold predictions; return the folder.

    Folds that are stored and have not been run again stay, in the table and on the card, where they are of the clips
    and labels that the corpus has now.

    Args:
        plan: the model.
        table: of ``tasks.with_folds``.
        folder: of :func:`run_folder`.
        command: that trains it, for the card.

    Raises:
        ModelError: that fold has not been run.
    """
    task = plan.its_task
    done = sorted(folder.glob("fold-*/predictions.parquet"))
    if not (folder / f"fold-{SHIPPED}" / "predictions.parquet").exists():
        raise ModelError(f"{plan.name} has no finished fold {SHIPPED} in {folder}; run '{command}' first.")
    rows = pd.concat([pd.read_parquet(path) for path in done], ignore_index=True)
    target, results = ASSETS / "models" / plan.name, ASSETS / "results"
    for parent in (target.parent, results):
        parent.mkdir(parents=True, exist_ok=True)
    path = results / f"{plan.name}.{task.name}.parquet"
    rows = _as_now(with_stored_folds(rows, path), table).sort_values("fold", kind="stable", ignore_index=True)
    write_table(rows, path)
    folds = int(rows["fold"].nunique())
    actors = int(rows.loc[rows["fold"] == SHIPPED, "speaker"].nunique())
    split = (
        f"{task.title}, out of fold over {folds} of {task.folds} speaker-disjoint folds "
        f"({rows.speaker.nunique()} speakers, {len(rows)} clips); the shipped weights are those of fold {SHIPPED}, "
        f"whose {actors} test speakers and its validation speakers they never saw"
    )
    extra = {"place": plan.place, "folds": folds, "encoder_mb": _encoder_mb(plan)} | plan.extra
    card = _card(plan, split, card_figures(rows, plan.answer, plan.labels, split, command), extra)
    with whole_folder(target) as partial:
        if target.exists():
            shutil.copytree(target, partial, dirs_exist_ok=True)
        for file in (folder / f"fold-{SHIPPED}").glob("*.safetensors"):
            shutil.copyfile(file, partial / file.name)
        write_card(partial, card)
    return target


def model_of_fold(plan: Plan, folder: Path) -> SpeechModel:
    """Return the model that a finished fold in ``folder`` holds, with a card that has no figures.

    Raises:
        ModelError: the fold has not been run.
    """
    if not (folder / "predictions.parquet").exists():
        raise ModelError(
            f"{plan.name} has no finished {folder.name} in {folder.parent}; run 'python -m ser_core train {plan.name}' "
            "first."
        )
    model: SpeechModel = system_of(plan).load(folder, _card(plan, extra=plan.extra))
    return model


def _card(plan: Plan, split: str = "", figures: tuple[Figure, ...] = (), extra: dict[str, Any] | None = None) -> Card:
    return Card(
        name=plan.name,
        system=plan.system,
        emotions=plan.labels,
        encoder=plan.encoder,
        split=split,
        figures=figures,
        size_mb=0.0,
        answer=plan.answer,
        extra=extra or {},
        **plan.words,
    )


def _more_clips(plan: Plan, table: pd.DataFrame, training: np.ndarray) -> pd.DataFrame:
    """Return the clips that the plan's augmentation makes of the training clips, rows like those of the table."""
    module, _, option = plan.augmentation.partition(":")
    more: pd.DataFrame = importlib.import_module(f"ser_core.systems.{module}").more(table, training, option)
    return more


def _targets(plan: Plan, table: pd.DataFrame) -> np.ndarray:
    """Return what is learned, (clips, labels)."""
    own = getattr(system_of(plan), "targets", None)
    if own is not None:
        wanted: np.ndarray = own(table, plan.labels)
        return wanted
    return (table["emotion"].to_numpy()[:, None] == np.array(plan.labels)).astype(np.float32)


def _rows(plan: Plan, table: pd.DataFrame, targets: np.ndarray, logits: np.ndarray) -> pd.DataFrame:
    rows = table[["clip", "speaker", "emotion", "fold"]].reset_index(drop=True)
    if plan.answer == "dimensions":
        rows[[f"d_{label}" for label in plan.labels]] = logits
    else:
        rows[[f"p_{label}" for label in plan.labels]] = softmax(logits, axis=1)
    if plan.answer != "emotion":
        rows[[f"t_{label}" for label in plan.labels]] = targets
    return rows


def _weights_of(plan: Plan) -> str:
    """Return what tells the weights of an encoder that somebody brings from others of its name; "" for all others."""
    file = brought(plan.encoder) if plan.encoder in WHISPER else None
    if (plan.encoder in WHISPER and file is None) or not hasattr(system_of(plan), "encoder_mb"):
        return ""
    return checksum(file)[:12] if file else frozen_encoder(plan.encoder).key


def _encoder_mb(plan: Plan) -> float:
    """Return the size of an encoder that is not among the model's own weights, in MB."""
    outside = getattr(system_of(plan), "encoder_mb", None)
    return float(outside(plan.encoder)) if outside else 0.0
