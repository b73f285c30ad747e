"""How often a clip from outside a model's training is told, and one from inside told wrongly: ``ser_core domain``.

First the ranges: clips of the speakers that the shipped weights learnt from (neither the test speakers of fold 0 nor
the validation speakers), equally many of each speaker, drawn with a fixed seed; their percentiles go to
``assets/reference/domain.json``. Then, for the models of CREMA-D, held-out clips of CREMA-D (false alarms), clips of
other corpora, and held-out clips that were made worse; ``assets/results/domain.csv`` has one row a group and warning:

group, model ("" for the warnings that are the same for all models of the corpus), warning (a measure, "language",
"familiarity", or "any"), clips, speakers, share of clips that are warned of, its 95 % interval over speakers.

"any" without a model is any measure; with one, any measure or a familiarity of 99 or more; the language, which is
recognised only when asked for, is never part of it. The distances behind a familiarity are ranked among the test
speakers' clips, so that its false alarms are those on the validation speakers.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_core.audio import SAMPLE_RATE, Recording, from_samples, read
from ser_core.corpora import read_corpus
from ser_core.crossvalidation import VALIDATION_SPEAKERS
from ser_core.degradations import changed
from ser_core.distributions import mean_over_speakers
from ser_core.domain import (
    LANGUAGE,
    MEASURES,
    REFERENCE,
    TABLE,
    TAIL,
    language_outside,
    measured,
    outside,
    references,
)
from ser_core.errors import CorpusError
from ser_core.files import digest_of, write_table, write_text
from ser_core.models import SpeechModel
from ser_core.noise import environment, noise_files
from ser_core.registry import cards, load_model
from ser_core.robustness import run_of, voice_of
from ser_core.shared_encoders import on_shared_encoders
from ser_core.speech import speech_segments
from ser_core.splits import validation_speakers
from ser_core.tasks import TASKS, with_folds
from ser_core.transcription import spoken_languages

HOME = "crema_d"
PERCENTS = (0, 0.1, TAIL, 1, 2.5, 5, 25, 50, 75, 95, 97.5, 99, 100 - TAIL, 99.9, 100)
UNFAMILIAR = 99.0
EACH_CLIPS = 19
CHILD_FROM_YEARS = 14.0
CHANGES = (
    *(("environment", level) for level in (20.0, 10.0, 0.0)),
    ("white", 10.0),
    ("telephone", 64.0),
    ("telephone", 4.75),
    ("reverberation", 0.6),
    ("clipping", 10.0),
    ("gain", -20.0),
    ("gain", 10.0),
    ("trimmed start", 250.0),
    ("repeated", 2.0),
    ("repeated", 3.0),
)
CUT_S = 0.6
CHILD_FORMANTS, CHILD_PITCH = 1.25, 1.5
"""A man's or woman's voice is made child-like by Praat with formants and pitch multiplied by these."""

Maker = Callable[[str], Recording]
Group = tuple[str, pd.DataFrame, Maker]


def run(
    folders: Sequence[Path],
    noise_folder: Path,
    runs: Path,
    models: Sequence[str] = (),
    clips: int = EACH_CLIPS,
    reference_clips: int = 1500,
) -> pd.DataFrame:
    """Write the ranges and the table, and return the table.

    What is finished is kept, a file a clip, apart for other models or noise.

    Args:
        folders: of corpora, CREMA-D (lossless) among them; those that models were trained on give ranges, the others
            are clips from outside.
        noise_folder: real noise, such as ESC-10.
        runs: keeps what is finished, a file a clip.
        models: of CREMA-D, by name; all that know their training clips if none is given.
        clips: of each group, about.
        reference_clips: of each corpus for the ranges, about.

    Raises:
        CorpusError: CREMA-D is not among the corpora.
        AudioError: there is no noise in the folder.
    """
    noise_files(noise_folder)  # before anything is measured or written
    corpora = {corpus.name: corpus for corpus in map(read_corpus, folders)}
    if HOME not in corpora:
        raise CorpusError("CREMA-D is not among the corpora; give its folder too.")
    store = runs / "domain"
    tables = {name: with_folds(TASKS[name], corpus.table) for name, corpus in corpora.items() if name in TASKS}
    trained_on = {title for card in cards() for title in card.corpora[:1]}
    ranges = []
    for name, table in tables.items():
        if TASKS[name].title in trained_on:
            learnt = _even(table[~_held_out(table) & (table["fold"] != 0)], reference_clips)
            rows = pd.DataFrame(
                _kept(store / "reference" / name, learnt, lambda file: {"values": _measures(read(file))})
            )
            values = pd.DataFrame(list(rows["values"]))
            ranges.append(_reference(TASKS[name].title, table[table["fold"] != 0], learnt, values))
    about = {
        "command": "python -m ser_core domain",
        "what": f"percentiles of the clips that models learnt from; a warning is told beyond {TAIL} and {100 - TAIL}",
        "corpora": ranges,
    }
    write_text(REFERENCE, json.dumps(about, indent=1) + "\n")
    references.cache_clear()

    asked = [
        load_model(card.name)
        for card in cards()
        if card.corpora[:1] == (TASKS[HOME].title,) and (card.name in models if models else card.system != "mater")
    ]
    asked = on_shared_encoders([model for model in asked if model.neighbourhood is not None], most_bytes=0)
    answered = store / _state_of(noise_folder, asked)
    found = []
    for group, chosen, make in _groups(tables, noise_folder, clips):

        def facts(file: str, group: str = group, make: Maker = make) -> dict[str, Any]:
            recording = make(file)
            told = {model.name: model.predict(recording).familiarity for model in asked}
            return {
                "values": _measures(recording),
                "familiarity": {name: None if each is None else each.percentile for name, each in told.items()},
                "languages": dict(list(spoken_languages(recording.samples).items())[:8])
                if make is read or group.startswith("child-like")
                else None,
            }

        found += [{"group": group, **row} for row in _kept(answered / _slug(group), chosen, facts)]
        print(group, len(chosen), flush=True)
    rows = summary(found, [model.card for model in asked])
    write_table(rows.round(4), TABLE)
    return rows


def summary(found: Sequence[dict[str, Any]], models: Sequence[Any]) -> pd.DataFrame:
    """Return the share of clips that are warned of, by group, model and warning; see the module.

    Args:
        found: a dict a clip: group, speaker, values, familiarity (by model, in per cent), languages or None.
        models: cards of models of one corpus.
    """
    rows = []
    for group in dict.fromkeys(each["group"] for each in found):
        clips = [each for each in found if each["group"] == group]
        speakers = [each["speaker"] for each in clips]
        values = [{k: math.nan if v is None else v for k, v in each["values"].items()} for each in clips]
        told = [{warning.measure for warning in outside(models[0], each)} for each in values]
        flags: dict[tuple[str, str], list[bool]] = {("", name): [name in each for each in told] for name in MEASURES}
        flags["", "any"] = [bool(each) for each in told]
        if clips[0]["languages"] is not None:
            flags["", LANGUAGE] = [bool(language_outside(models[0], each["languages"])) for each in clips]
        for card in models:
            far = [(each["familiarity"].get(card.name) or 0.0) >= UNFAMILIAR for each in clips]
            flags[card.name, "familiarity"] = far
            flags[card.name, "any"] = [bool(one) or other for one, other in zip(told, far, strict=True)]
        for (model, warning), flagged in flags.items():
            share = mean_over_speakers(np.array(flagged, float), speakers)
            rows.append(
                {
                    "group": group,
                    "model": model,
                    "warning": warning,
                    "clips": len(clips),
                    "speakers": len(set(speakers)),
                    "share": share.value,
                    "low": share.low,
                    "high": share.high,
                }
            )
    return pd.DataFrame(rows)


def _held_out(table: pd.DataFrame) -> pd.Series:
    """Return which clips are by the validation speakers of fold 0."""
    return table["speaker"].isin(validation_speakers(table.groupby("speaker")["fold"].first(), 0, VALIDATION_SPEAKERS))


def _groups(tables: dict[str, pd.DataFrame], noise_folder: Path, clips: int) -> Iterator[Group]:
    """Yield name, clips and how to make each, of every group that is tested."""
    home = tables[HOME]
    test, validation = home[home["fold"] == 0], home[_held_out(home)]
    yield "held out, test speakers", _even(test, 6 * clips), read
    yield "held out, validation speakers", _even(validation, 6 * clips), read
    for name, table in tables.items():
        if name == HOME:
            continue
        title = TASKS[name].title
        if name == "emotale":
            child = table["age"] < CHILD_FROM_YEARS
            yield f"{title}, children aged 9 to 12", _even(table[child], clips), read
            table = table[~child]
        for language, part in table.groupby("language"):
            yield f"{title} ({language})", _even(part, clips), read
    worse = _even(test, clips)
    noises = {"environment": environment(noise_folder)}

    def change(kind: str, level: float) -> Maker:
        return lambda file: _made(changed(voice_of(file, noises), kind, level), file)

    for kind, level in CHANGES:
        yield f"{kind} {level:g}", worse, change(kind, level)
    yield f"first {CUT_S:g} s of speech", worse, _beginning
    yield "child-like, made by Praat", worse, _child_like


def _beginning(file: str) -> Recording:
    voice = voice_of(file)
    start = int(np.argmax(voice.active))
    return _made(voice.samples[start : start + round(CUT_S * SAMPLE_RATE)], file)


def _child_like(file: str) -> Recording:
    """Return a voice with shorter resonances and a higher pitch, by Praat's "Change gender"; not a child's voice."""
    import parselmouth
    from parselmouth.praat import call

    sound = parselmouth.Sound(np.array(read(file).samples, np.float64), sampling_frequency=float(SAMPLE_RATE))
    pitch = call(sound, "To Pitch", 0.0, 75.0, 600.0)
    median = call(pitch, "Get quantile", 0.0, 0.0, 0.5, "Hertz")
    wanted = 0.0 if math.isnan(median) else CHILD_PITCH * median
    made = call(sound, "Change gender", 75.0, 600.0, CHILD_FORMANTS, wanted, 1.0, 1.0)
    return _made(made.values[0].astype(np.float32), file)


def _made(samples: np.ndarray, file: str) -> Recording:
    return from_samples(np.clip(samples, -1.0, 1.0), SAMPLE_RATE, Path(file).name)


def _measures(recording: Recording) -> dict[str, float | None]:
    """Return the measures with None for NaN, as JSON has none."""
    found = measured(recording, speech_segments(recording))
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def _even(table: pd.DataFrame, clips: int) -> pd.DataFrame:
    """Return about so many clips, equally many of each speaker, drawn with a fixed seed."""
    each = max(1, round(clips / table["speaker"].nunique()))
    return table.sample(frac=1, random_state=0).groupby("speaker").head(each).sort_index()


def _state_of(noise_folder: Path, models: Sequence[SpeechModel]) -> str:
    """Return what tells answers of these models to clips in this noise from those of others."""
    told = [digest_of(noise_files(noise_folder)), *(f"{model.name} {run_of(model)}" for model in models)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _kept(store: Path, chosen: pd.DataFrame, work: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the work on every clip with its speaker; what lies in the folder is not done again."""
    store.mkdir(parents=True, exist_ok=True)
    found = []
    for row in chosen.itertuples():
        path = store / f"{row.clip}.json"
        if not path.exists():
            write_text(path, json.dumps(work(str(row.file))))
        found.append({"speaker": row.speaker, **json.loads(path.read_text(encoding="utf-8"))})
    return found


def _slug(group: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in group).strip("-")


def _reference(title: str, table: pd.DataFrame, chosen: pd.DataFrame, values: pd.DataFrame) -> dict[str, Any]:
    """Return what a corpus's training clips are like, as it goes to the file."""
    ages = table["age"].dropna()
    return {
        "corpus": title,
        "clips": len(chosen),
        "speakers": int(chosen["speaker"].nunique()),
        "languages": sorted(set(",".join(table["language"].astype(str).unique()).split(","))),
        "ages": [float(ages.min()), float(ages.max())] if len(ages) else None,
        "percentiles": {
            name: {
                f"{percent:g}": round(float(np.percentile(known, percent)), 4)
                for percent in PERCENTS
                if len(known := values[name].dropna().astype(float))
            }
            for name in MEASURES
        },
    }
