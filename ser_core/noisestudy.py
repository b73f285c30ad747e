"""How much of a model's recall survives noise and other corpora that it never heard.

CREMA-D, out of fold: a model that was trained on clean speech answers for its test speakers' clips clean and with
noise. Noise is unseen: stationary noise and babble are made from neutral clips of other test speakers of the same fold,
real noise comes from a folder of recordings. The level is set over the stretches in which somebody speaks. A clip gets
the same noise at every level. Each noisy clip is encoded once; what was encoded is kept in the cache folder. All
that is kept is kept apart for other clips, other recordings of noise and, of fold 0, other corpora.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from ser_core.audio import read
from ser_core.augmentation import mix_at_snr
from ser_core.batches import in_bfloat16
from ser_core.bundled import PLANS, Plan
from ser_core.corpora import read_corpus
from ser_core.crossvalidation import fold_parts, prepared, run_fold
from ser_core.encoders import frozen_encoder
from ser_core.errors import CorpusError
from ser_core.features import LogMel
from ser_core.files import digest_of, stored_table, whole, write_table
from ser_core.noise import Source, babble, environment, noise_files, speech_shaped
from ser_core.numbers import signed
from ser_core.results import RESULTS, STAGED, by_variant
from ser_core.settings import settings
from ser_core.speech import speech_mask, speech_segments
from ser_core.systems import edrl_mea
from ser_core.systems.whisper_statistics import statistics
from ser_core.tasks import TASKS, with_folds

TABLE = STAGED
TITLE = "Unseen noise and other corpora, stage by stage (EDRL-MEA)"
QUESTION = (
    "On the same frozen encoder and the same clean training speech: what do an encoder for each emotion with a shared "
    "one (EDRL), and then multiblock alignment (EDRL-MEA), keep in noise and on corpora that were never heard? And "
    "what does the plain encoder keep when its classifier alone is held tighter?"
)
NOISES = ("stationary", "babble", "environment")
LEVELS_DB = (20, 15, 10, 5, 0)
CONDITIONS = tuple((noise, level) for noise in NOISES for level in LEVELS_DB)
STAGES = {
    "frozen encoder": ("plain", edrl_mea.STRENGTH),
    "EDRL": ("edrl", edrl_mea.STRENGTH),
    "EDRL-MEA": ("edrl-mea", edrl_mea.STRENGTH),
    "frozen encoder, classifier held tighter": ("plain", 1.0),
}
"""Variant → the last stage that is left, and how loosely its classifier is held: the plain one stands twice, as what
holds it tighter finds less at home and more away."""


def noisy_clips(table: pd.DataFrame, each: int = 1, *, seed: int = 0) -> pd.DataFrame:
    """Return the fixed test clips: of every speaker and emotion ``each`` clips, drawn with a fixed seed."""
    shuffled = table.sample(frac=1, random_state=seed)
    return shuffled.groupby(["speaker", "emotion"]).head(each).sort_index()


def mixtures(file: str, sources: dict[str, Source]) -> np.ndarray:
    """Return a clip with every noise at every level (conditions, samples), in the order of ``CONDITIONS``.

    Args:
        file: of the clip.
        sources: noise → source, for every one of ``NOISES``.
    """
    recording = read(file)
    samples = np.array(recording.samples)
    active = speech_mask(speech_segments(recording), np.arange(len(samples)) / recording.sample_rate)
    mixed = []
    for noise in NOISES:
        seed = int.from_bytes(hashlib.sha256(f"{noise} {Path(file).stem}".encode()).digest()[:8], "little")
        added = sources[noise](len(samples), np.random.default_rng(seed))
        heard = active if active.any() else None
        mixed += [mix_at_snr(samples, added, level, active=heard) for level in LEVELS_DB]
    return np.stack(mixed)


def encoded(table: pd.DataFrame, chosen: pd.DataFrame, noise_folder: Path, encoder: str) -> np.ndarray:
    """Return the encoder's statistics (clips, conditions, features) of the chosen clips with noise, in half precision.

    Args:
        table: of ``tasks.with_folds``; gives the other voices.
        chosen: the clips, rows of ``table``.
        noise_folder: real noise.
        encoder: name of the frozen encoder.
    """
    real = environment(noise_folder)
    store = settings().cache_dir / "noisy" / f"{encoder}-{digest_of([*noise_files(noise_folder), *table['file']])}"
    store.mkdir(parents=True, exist_ok=True)
    found: dict[str, np.ndarray] = {}
    for speaker, clips in chosen.groupby("speaker", sort=False):
        paths = {clip: store / f"{clip}.npy" for clip in clips["clip"]}
        if not all(path.exists() for path in paths.values()):
            fold = clips["fold"].iloc[0]
            near = table[(table["fold"] == fold) & (table["speaker"] != speaker) & (table["emotion"] == "neutral")]
            voices = [np.array(read(file).samples) for file in near.groupby("speaker").head(1)["file"]]
            sources = {"stationary": speech_shaped(voices), "babble": babble(voices), "environment": real}
            for clip, file in zip(clips["clip"], clips["file"], strict=True):
                if not paths[clip].exists():
                    statistics = _statistics(mixtures(file, sources), encoder).astype(np.float16)
                    with whole(paths[clip]) as partial, partial.open("wb") as opened:
                        np.save(opened, statistics)
            print(f"{speaker}: {len(clips)} clips × {len(CONDITIONS)} conditions encoded", flush=True)
        found |= {clip: np.load(path) for clip, path in paths.items()}
    return np.stack([found[clip] for clip in chosen["clip"]])


def run(corpus: Path, noise_folder: Path, others: Sequence[Path], runs: Path) -> str:
    """Train fold by fold, test every stage clean, with noise and on other corpora; store and return the figures.

    The stages that are left out are taken from the trained network, so all have the same encoders and training clips.

    Args:
        corpus: CREMA-D, lossless.
        noise_folder: real noise, such as ESC-10.
        others: folders of further corpora, answered by the network of fold 0, which is the one that ships.
        runs: folder that keeps what is finished, one file a fold; the training is that of ``train edrl-mea``.

    Returns:
        UAR by stage and condition as Markdown; the answers go to ``assets/results/noise-robustness.<corpus>.parquet``,
        one row a clip × condition × stage: variant, seed, noise, snr_db, clip, speaker, fold, emotion, p_<emotion>.
        Of CREMA-D, "clean, all clips" are all, and "clean" those that were also tested with noise.

    Raises:
        AudioError: there is no noise in the folder.
        CorpusError: a corpus cannot be read.
    """
    noises = noise_files(noise_folder)  # before hours of training
    plan = PLANS["edrl-mea"]
    task = TASKS[plan.task]
    table = with_folds(task, read_corpus(corpus, task.name).table)
    for fold in range(task.folds):
        run_fold(plan, table, fold, runs / plan.name)
    chosen = noisy_clips(table)
    noisy = encoded(table, chosen, noise_folder, plan.encoder)
    elsewhere = [_other(folder, plan) for folder in others]
    values = prepared(plan, table)
    targets = (table["emotion"].to_numpy()[:, None] == np.array(plan.labels)).astype(np.float32)
    heard = [*noises, *table["file"]]
    found = []
    for fold in range(task.folds):
        also = [file for rows, _ in elsewhere for file in rows["file"]] if fold == 0 else []
        store = runs / "noise" / digest_of([*heard, *also]) / f"fold-{fold}.parquet"
        if stored_table(store) is None:
            training, testing = fold_parts(table, fold)
            learnt = [values[i] for i in np.flatnonzero(training)]
            whole = edrl_mea.read_head(runs / plan.name / f"fold-{fold}", len(plan.labels))
            own = (chosen["fold"] == fold).to_numpy()
            parts = []
            for variant, (stage, strength) in STAGES.items():
                network = whole
                if stage != "edrl-mea":
                    network = edrl_mea.up_to(stage, whole, learnt, targets[training], strength)
                clean = _answers(network, table[testing], [values[i] for i in np.flatnonzero(testing)])
                answered = [clean.assign(noise="clean, all clips"), clean[clean["clip"].isin(chosen["clip"])]]
                for place, (noise, level) in enumerate(CONDITIONS):
                    columns = [row[:, None] for row in noisy[own, place]]
                    answered.append(_answers(network, chosen[own], columns, noise=noise, snr_db=float(level)))
                if fold == 0:
                    answered += [
                        _answers(network, rows, given, test=rows["corpus"].iloc[0]) for rows, given in elsewhere
                    ]
                parts.append(pd.concat(answered, ignore_index=True).assign(variant=variant, seed=plan.recipe.seed))
            store.parent.mkdir(parents=True, exist_ok=True)
            write_table(pd.concat(parts, ignore_index=True), store)
            print(f"noise and other corpora, fold {fold}", flush=True)
        found.append(pd.read_parquet(store))
    rows = pd.concat(found, ignore_index=True)
    told = []
    for name, part in rows.groupby("test", sort=False):
        answers = part.drop(columns="test").reset_index(drop=True)
        write_table(answers, RESULTS / f"{TABLE}.{name}.parquet")
        told.append(f"{TASKS[str(name)].title}\n\n{markdown(summary(answers))}\n")
    return "\n".join(told)


def summary(rows: pd.DataFrame, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return UAR of every stage in every condition, with its change from the plain encoder, over speakers.

    Args:
        rows: of one table of :func:`run`.
        replicates: of the bootstrap.

    Returns:
        The columns of ``results.by_variant``, and noise, snr_db.
    """
    found = []
    for _, part in rows.groupby(["noise", "snr_db"], sort=False, dropna=False):
        measured = by_variant(part, replicates=replicates)
        noise, level = part[["noise", "snr_db"]].iloc[0]
        found.append(measured[measured["measure"] == "UAR"].assign(noise=noise, snr_db=level))
    return pd.concat(found, ignore_index=True)


def markdown(measured: pd.DataFrame) -> str:
    """Return a summary as one Markdown table: UAR [95 % interval over speakers], and the change from the plain one."""
    variants = list(dict.fromkeys(measured["variant"]))
    lines = ["| tested on | " + " | ".join(variants) + " |", "|---|" + "---|" * len(variants)]
    for _, part in measured.groupby(["noise", "snr_db"], sort=False, dropna=False):
        noise, level = part[["noise", "snr_db"]].iloc[0]
        by = part.set_index("variant")
        cells = []
        for variant in variants:
            row = by.loc[variant]
            change = f"; {signed(row.change, 3)} [{signed(row.change_low, 3)}, {signed(row.change_high, 3)}]"
            cells.append(f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" + ("" if np.isnan(row.change) else change))
        lines.append(f"| {noise}{'' if np.isnan(level) else f', {level:.0f} dB'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _statistics(mixed: np.ndarray, encoder: str) -> np.ndarray:
    """Return statistics (clips, features) of clips of one length (clips, samples)."""
    with torch.inference_mode():
        log_mel = LogMel()(torch.from_numpy(mixed))
        with in_bfloat16():
            states, _ = frozen_encoder(encoder)(log_mel)
        return statistics([state.float() for state in states]).numpy()


def _other(folder: Path, plan: Plan) -> tuple[pd.DataFrame, list[np.ndarray]]:
    corpus = read_corpus(folder)
    if corpus.name not in TASKS:
        raise CorpusError(f"There are no folds for {corpus.name}; there are for {', '.join(TASKS)}.")
    table = with_folds(TASKS[corpus.name], corpus.table)
    table = table[table["emotion"].isin(plan.labels)].reset_index(drop=True)
    return table, prepared(plan, table)


def _answers(
    network: edrl_mea.EdrlMea,
    rows: pd.DataFrame,
    values: list[np.ndarray],
    *,
    test: str = "crema_d",
    noise: str = "clean",
    snr_db: float = float("nan"),
) -> pd.DataFrame:
    answered = rows[["clip", "speaker", "fold", "emotion"]].reset_index(drop=True)
    labels = PLANS["edrl-mea"].labels
    given = softmax(edrl_mea.logits(network, values), axis=1)
    answered[[f"p_{label}" for label in labels]] = given.round(5).astype(np.float32)
    return answered.assign(test=test, noise=noise, snr_db=snr_db)
