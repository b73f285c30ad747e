"""Does the answer stay when only the recording gets worse? ``python -m ser_core robustness``.

Every model is asked about the same clips, clean and after every change of ``degradations.KINDS``: clips of the test
speakers of fold 0, whom the shipped weights have never heard, equally many of each speaker and emotion. One table for
each model and corpus, ``assets/results/robustness/<model>.<corpus>.parquet``, one row a clip and change: clip, corpus,
speaker, emotion, kind, level, p_<emotion> or d_<dimension>, changed (the first answer is another than on the clean
clip), model, run (a hash of weights and changes).

Speech that never changes has rows of its own (kind "constant", no speaker): silence, a tone, and steady noise with the
spectrum of speech, each lasting 1 … 8 s. A model that has only its length to go by should not change its mind.

:func:`summary` puts the figures into ``assets/results/robustness.csv``: UAR and what it loses against the same clips
clean, the share of answers that change, and how far the probabilities move, each with an interval over speakers.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_core import metrics
from ser_core.audio import SAMPLE_RATE, read
from ser_core.cards import weight_files
from ser_core.corpora import read_corpus
from ser_core.degradations import KINDS, Voice, changed
from ser_core.distributions import mean_over_speakers
from ser_core.errors import CorpusError
from ser_core.evaluation import check_lossless
from ser_core.files import digest_of, write_table
from ser_core.metrics import Interval
from ser_core.models import SpeechModel
from ser_core.noise import Source, babble, environment, noise_files, speech_shaped
from ser_core.noisestudy import noisy_clips
from ser_core.predictions import CLEAN
from ser_core.registry import cards, load_model, model_folders
from ser_core.results import RESULTS, labels_of, paired_change
from ser_core.shared_encoders import on_shared_encoders
from ser_core.speech import speech_mask, speech_segments
from ser_core.tasks import TASKS, with_folds

TABLES = RESULTS / "robustness"
SUMMARY = RESULTS / "robustness.csv"
CONSTANT = "constant"
LENGTHS_S = (1.0, 2.0, 4.0, 8.0)
REFERENCE_S = 2.0
"""The length of a sound that never changes which the answers to its other lengths are set against."""
STEADY = ("silence", "tone of 200 Hz", "spectrum of speech")
SLOW = frozenset({"mater"})
"""Systems that transcribe every clip; they are asked only when they are named."""


def run(
    folders: Sequence[Path], noise_folder: Path, runs: Path, models: Sequence[str] = (), clips: int = 114
) -> pd.DataFrame:
    """Ask the models, write their tables and the summary, and return the summary.

    What is finished is kept clip by clip, so that a run that was stopped goes on, apart for other noise or other clips.
    Models on one frozen encoder hear a clip once.

    Args:
        folders: of corpora; each model is asked about the one that it was trained on.
        noise_folder: real noise, such as ESC-10.
        runs: keeps what is finished.
        models: names; all bundled ones but those that transcribe if none is given.
        clips: of each corpus, about; every speaker and emotion gets equally many, at least one.

    Raises:
        CorpusError: there are no folds for a corpus, it was compressed with loss, or none of the models was trained on
            it.
    """
    TABLES.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        corpus = read_corpus(folder)
        if corpus.name not in TASKS:
            raise CorpusError(f"There are no folds for {corpus.title}; there are for {', '.join(TASKS)}.")
        check_lossless(corpus)
        task = TASKS[corpus.name]
        asked = [
            load_model(card.name)
            for card in cards()
            if card.corpora[:1] == (task.title,) and (card.name in models if models else card.system not in SLOW)
        ]
        if not asked:
            raise CorpusError(f"None of the models asked for was trained on {task.title}.")
        table = with_folds(task, corpus.table)
        testing = table[table["fold"] == 0]
        each = max(1, round(clips / testing.groupby(["speaker", "emotion"]).ngroups))
        chosen = noisy_clips(testing, each)
        kept = runs / "robustness" / f"{corpus.name}-{digest_of([*noise_files(noise_folder), *testing['file']])}"
        ask_all(asked, testing, chosen, environment(noise_folder), kept)
        for model in asked:
            store = kept / f"{model.name}-{run_of(model)}"
            parts = [store / f"{clip}.parquet" for clip in (*chosen["clip"], CONSTANT)]
            rows = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
            _write(rows.assign(model=model.name, run=run_of(model)), TABLES / f"{model.name}.{corpus.name}.parquet")
    found = summary()
    write_table(found.round(5), SUMMARY)
    return found


def ask_all(
    models: Sequence[SpeechModel], table: pd.DataFrame, chosen: pd.DataFrame, real: Source, store: Path
) -> None:
    """Write the answers to every chosen clip under every change into ``<store>/<model>-<run>/<clip>.parquet``.

    Args:
        models: to be asked.
        table: of ``tasks.with_folds``, the test speakers; gives the other voices for babble.
        chosen: the clips, rows of ``table``.
        real: noise of the surroundings.
        store: receives one file a clip; files that are there are kept.
    """
    stores = {model.name: store / f"{model.name}-{run_of(model)}" for model in models}
    for each in stores.values():
        each.mkdir(parents=True, exist_ok=True)
    models = on_shared_encoders(models, most_bytes=0)  # all hear a clip before the next one comes
    _ask_steady([model for model in models if not (stores[model.name] / f"{CONSTANT}.parquet").exists()], stores)
    for speaker, clips in chosen.groupby("speaker", sort=False):
        quiet = table[(table["speaker"] != speaker) & (table["emotion"] == "neutral")].groupby("speaker").head(2)
        voices = [np.array(read(file).samples) for file in quiet["file"]]
        noises = {"environment": real, "speech-shaped": speech_shaped(voices)}
        if len(voices) >= 6:
            noises["babble"] = babble(voices)
        for row in clips.itertuples():
            part = f"{row.clip}.parquet"
            missing = [model for model in models if not (stores[model.name] / part).exists()]
            if not missing:
                continue
            voice = voice_of(str(row.file), noises)
            named = [(k, level) for k in KINDS if k not in {"babble"} - set(noises) for level in KINDS[k].levels]
            sounds = [voice.samples, *(changed(voice, kind, level) for kind, level in named)]
            facts = {name: str(getattr(row, name)) for name in ("clip", "corpus", "speaker", "emotion")}
            answers = _answers(missing, sounds, [(CLEAN, float("nan")), *named])
            for model in missing:
                rows = answers[model.name].assign(**facts)
                _write(_with_clean(rows, rows["kind"] == CLEAN), stores[model.name] / part)
        print(f"{speaker}: {len(clips)} clips × {1 + sum(len(kind.levels) for kind in KINDS.values())}", flush=True)


def voice_of(file: str | Path, noises: dict[str, Source] | None = None) -> Voice:
    """Return a clip to be changed."""
    recording = read(file)
    samples = np.array(recording.samples)
    active = speech_mask(speech_segments(recording), np.arange(len(samples)) / SAMPLE_RATE)
    return Voice(Path(file).stem, samples, active, noises or {})


def steady(what: str, seconds: float) -> np.ndarray:
    """Return a sound (samples,) of ``STEADY`` that never changes.

    Silence is a least bit of noise, since digital zeros occur in no recording. The spectrum of speech is that of a
    voice: equal up to 500 Hz, then falling by 9 dB an octave (long-term average, Byrne et al. 1994).
    """
    count = round(seconds * SAMPLE_RATE)
    generator = np.random.default_rng(0)
    if what == "silence":
        return (1e-5 * generator.normal(size=count)).astype(np.float32)
    if what == "tone of 200 Hz":
        return (0.1 * np.sin(2 * np.pi * 200 * np.arange(count) / SAMPLE_RATE)).astype(np.float32)
    hz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    gains = np.minimum(1.0, (np.maximum(hz, 1) / 500) ** -1.5) * (hz >= 80)
    noise = np.fft.irfft(gains * np.fft.rfft(generator.normal(size=count)), count)
    return (0.05 * noise / noise.std()).astype(np.float32)


def run_of(model: SpeechModel) -> str:
    """Return a hash of what the answers follow from: the model's weights and the changes."""
    asked = [(kind.name, kind.levels) for kind in KINDS.values()]
    found = hashlib.sha256(repr((asked, LENGTHS_S, STEADY)).encode())
    for path in weight_files(model_folders()[model.name]):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def summary(folder: Path = TABLES, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return the figures of every table in a folder, one row a model, corpus, kind and level.

    Returns:
        model, corpus, kind, level, clips, speakers; uar, low, high (models that answer with an emotion), drop,
        drop_low, drop_high (its change from the same clips clean); flips, flips_low, flips_high (share of clips whose
        first answer is another than clean; not for dimensions), shift, shift_low, shift_high (mean total variation
        distance from the clean probabilities, or mean distance of a dimension's value). Constant sounds have no rows.
    """
    found = []
    for path in sorted(folder.glob("*.*.parquet")):
        rows = pd.read_parquet(path)
        model, corpus = path.stem.rsplit(".", 1)
        rows = rows[rows["kind"] != CONSTANT].astype({"kind": "str", "speaker": "str", "emotion": "str", "clip": "str"})
        clean = rows[rows["kind"] == CLEAN].set_index("clip")
        for (kind, level), part in rows.groupby(["kind", "level"], sort=False, dropna=False):
            figures = _figures(part.reset_index(drop=True), clean.loc[part["clip"]].reset_index(), replicates)
            found.append({"model": model, "corpus": corpus, "kind": kind, "level": level, **figures})
    return pd.DataFrame(found)


def of_conditions(rows: pd.DataFrame, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return the figures of somebody's own table, one row a condition, with the columns of :func:`summary`.

    Args:
        rows: of :func:`ser_core.predictions.read_conditions`.
        replicates: of the bootstrap over speakers.
    """
    clean = rows[rows["condition"] == CLEAN].set_index("clip")
    found = []
    for condition, part in rows.groupby("condition", sort=False):
        same = clean.loc[part["clip"]].reset_index()
        figures = _figures(turned(part.reset_index(drop=True), same), same, replicates)
        found.append({"model": part["model"].iloc[0], "condition": condition, **figures})
    return pd.DataFrame(found)


def turned(rows: pd.DataFrame, clean: pd.DataFrame) -> pd.DataFrame:
    """Return rows with ``changed``: whether the first answer is another than in the same row of ``clean``.

    Of dimensions: whether any value has another sign.
    """
    columns = [str(column) for column in rows if str(column).startswith(("p_", "d_"))]
    given, usual = rows[columns].to_numpy(), clean[columns].to_numpy()
    if columns[0].startswith("d_"):
        return rows.assign(changed=(np.sign(given) != np.sign(usual)).any(axis=1))
    return rows.assign(changed=given.argmax(axis=1) != usual.argmax(axis=1))


def read_summary() -> pd.DataFrame:
    """Return the stored summary; empty where none has been written."""
    return pd.read_csv(SUMMARY) if SUMMARY.exists() else pd.DataFrame(columns=["model", "corpus", "kind", "level"])


def moved(rows: pd.DataFrame, clean: pd.DataFrame) -> np.ndarray:
    """Return how far each answer (clips,) lies from the clean one: total variation, or mean distance of values."""
    columns = [str(column) for column in rows if str(column).startswith(("p_", "d_"))]
    apart = np.abs(rows[columns].to_numpy(dtype=float) - clean[columns].to_numpy(dtype=float))
    whole: np.ndarray = apart.mean(axis=1) if columns[0].startswith("d_") else apart.sum(axis=1) / 2
    return whole


def _figures(rows: pd.DataFrame, clean: pd.DataFrame, replicates: int) -> dict[str, float]:
    speakers = rows["speaker"].tolist()
    found: dict[str, float] = {"clips": len(rows), "speakers": len(set(speakers))}
    if not any(str(column).startswith("d_") for column in rows):
        labels = labels_of(rows)
        answers = [labels[i] for i in rows[[f"p_{label}" for label in labels]].to_numpy().argmax(1)]
        uar = metrics.evaluate(rows["emotion"].tolist(), answers, speakers, labels, replicates=replicates)["UAR"]
        drop = paired_change(clean, rows, replicates=replicates)
        flips = mean_over_speakers(rows["changed"].to_numpy(dtype=float), speakers, replicates=replicates)
        found |= _named("uar", uar) | _named("drop", drop) | _named("flips", flips)
        found |= {"baseline": uar.baseline, "chance": uar.chance}
    return found | _named("shift", mean_over_speakers(moved(rows, clean), speakers, replicates=replicates))


def _named(name: str, value: Interval) -> dict[str, float]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _ask_steady(models: Sequence[SpeechModel], stores: dict[str, Path]) -> None:
    """Write the answers to sounds that never change; ``changed`` compares each with the same sound of 2 s."""
    if not models:
        return
    named = [(CONSTANT, seconds) for _ in STEADY for seconds in LENGTHS_S]
    answers = _answers(models, [steady(what, seconds) for what in STEADY for seconds in LENGTHS_S], named)
    for model in models:
        rows = answers[model.name].assign(corpus="", speaker="", emotion="")
        rows.insert(0, "clip", np.repeat(STEADY, len(LENGTHS_S)))
        parts = [_with_clean(part, part["level"] == REFERENCE_S) for _, part in rows.groupby("clip", sort=False)]
        _write(pd.concat(parts), stores[model.name] / f"{CONSTANT}.parquet")


@torch.inference_mode()
def _answers(
    models: Sequence[SpeechModel], sounds: Sequence[np.ndarray], named: Sequence[tuple[str, float]]
) -> dict[str, pd.DataFrame]:
    """Return each model's answers to each sound as the app gives them: one by one, kind, level, p_… or d_…."""
    rows: dict[str, list[np.ndarray]] = {model.name: [] for model in models}
    for sound in sounds:
        samples, measured = torch.from_numpy(sound)[None], {}
        for model in models:
            heard = model.card.encoder if model.axes.kind == "functionals" else model.name
            if heard not in measured:
                measured[heard] = model.inputs(samples)
            read_as = model.reading(model.network(measured[heard])[0].double().numpy())
            rows[model.name].append(read_as.probabilities if read_as.values is None else read_as.values)
    found = {}
    for model in models:
        start = "d_" if model.card.answer == "dimensions" else "p_"
        table = pd.DataFrame(np.stack(rows[model.name]).astype(np.float32), columns=[start + e for e in model.emotions])
        table.insert(0, "kind", [kind for kind, _ in named])
        table.insert(1, "level", np.array([level for _, level in named], np.float32))
        found[model.name] = table
    return found


def _with_clean(rows: pd.DataFrame, clean: pd.Series) -> pd.DataFrame:
    """Return rows of one clip with ``changed``, set against the one row that is marked."""
    return turned(rows, rows[clean].iloc[[0] * len(rows)])


def _write(rows: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, in small types."""
    shares = [column for column in rows if str(column).startswith(("p_", "d_"))]
    words = [column for column in ("clip", "corpus", "speaker", "emotion", "kind", "model", "run") if column in rows]
    small = rows.astype(dict.fromkeys(words, "category") | dict.fromkeys(shares, np.float32)).round(
        dict.fromkeys(shares, 3)
    )
    write_table(small, path)
