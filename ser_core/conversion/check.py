"""Is converted speech what was asked for? Measured on clips of actors that the bundled models never heard.

For each clip and backend: pitch and formants by Praat on the converted signal itself, likeness to the target by a
speaker encoder that has no part in the conversion, words by Whisper, and the acted emotion by bundled models whose test
actors these are. Every figure is a mean over clips with an interval over the source speakers.

Formants are measured twice, as Praat's trackers follow their ceiling: each sound with the ceiling that Praat's manual
advises for its voice, by which the voices were measured, and both with one ceiling, which understates what moved.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import parselmouth

from ser_core import metrics
from ser_core.audio import SAMPLE_RATE, from_samples, read
from ser_core.conversion import BACKENDS, convert
from ser_core.conversion.voice import PITCH_HZ, Voice, ceiling_hz, change, formants, pitch
from ser_core.files import write_table, write_text
from ser_core.parallel import each
from ser_core.results import RESULTS

JUDGES = ("log-mel-resnet", "egemaps-logistic")
RECOGNISER = "whisper-tiny.en"
CEILING_HZ = 5500.0
CENTRE_CLIPS = 4
ORIGINAL = "original"
MOVED = (
    ("F0 in semitones", "f0_asked_semitones", "f0_got_semitones"),
    ("formants in percent, ceiling by voice", "formants_asked_percent", "formants_got_percent"),
    ("formants in percent, ceiling 5500 Hz", "formants_asked_percent", "formants_got_fixed_percent"),
)


@dataclass(frozen=True)
class Trial:
    """One clip to be converted; ``source_files`` and ``target_files`` are what the two speakers are known by."""

    clip: str
    file: str
    emotion: str
    words: str
    source: Voice
    target: Voice
    source_files: tuple[str, ...]
    target_files: tuple[str, ...]
    store: str


def trials(
    table: pd.DataFrame, voices: dict[str, Voice], runs: Path, *, clips: int = 240, seed: int = 0
) -> list[Trial]:
    """Return clips drawn from the actors of fold 0, each with another actor of any fold as target.

    Args:
        table: of ``tasks.with_folds``.
        voices: of every speaker.
        runs: receives one file a clip, so that a check that was stopped goes on.
        clips: how many.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    drawn = table[table["fold"] == 0].sample(clips, random_state=seed).sort_values("clip")
    files = {str(name): own["file"].tolist() for name, own in table.groupby("speaker")}
    found = []
    names = drawn[["clip", "file", "emotion", "transcript", "speaker"]].astype(str)
    for clip, file, emotion, said, speaker in names.itertuples(index=False, name=None):
        target = str(random.choice([name for name in sorted(voices) if name != speaker]))
        homes = {name: _some([other for other in files[name] if other != file]) for name in (speaker, target)}
        found.append(
            Trial(
                clip=clip,
                file=file,
                emotion=emotion,
                words=said,
                source=voices[speaker],
                target=voices[target],
                source_files=homes[speaker],
                target_files=homes[target],
                store=str(runs / "conversion" / f"{clip}.json"),
            )
        )
    return found


def check(chosen: Sequence[Trial]) -> pd.DataFrame:
    """Return one row per clip × version (original and each backend); trials that are stored are not run again."""
    missing = [trial for trial in chosen if not Path(trial.store).exists()]
    for place, _ in enumerate(each(_store, missing), start=1):
        if place % 20 == 0 or place == len(missing):
            print(f"{place} of {len(missing)} clips checked", flush=True)
    rows = [row for trial in chosen for row in json.loads(Path(trial.store).read_text())]
    return pd.DataFrame(rows)


def examine(trial: Trial) -> list[dict[str, str | float | None]]:
    """Return the figures of a clip as it is and converted by each backend."""
    from ser_core.conversion.likeness import embedding
    from ser_core.registry import load_model
    from ser_core.transcription import transcribe, word_errors, words

    samples = np.array(read(trial.file).samples)
    wanted = change(trial.source, trial.target)
    sound = _sound(samples)
    times_s, f0_hz = pitch(sound, *PITCH_HZ)
    ceilings_hz = [ceiling_hz(voice.f0_hz) for voice in (trial.source, trial.target)]
    homes = {
        name: np.mean([_embedded(file) for file in files], axis=0)
        for name, files in (("source", trial.source_files), ("target", trial.target_files))
    }
    versions = {ORIGINAL: samples}
    versions |= {backend: convert(samples, trial.source, trial.target, backend) for backend in BACKENDS}
    said = words(trial.words)
    rows: list[dict[str, str | float | None]] = []
    for version, heard in versions.items():
        spoken = _sound(heard)
        new_s, new_hz = pitch(spoken, *PITCH_HZ)
        both = (f0_hz > 0) & (np.interp(times_s, new_s, new_hz > 0) > 0.99)
        got_hz = np.interp(times_s, new_s, new_hz)
        by_voice = ceilings_hz if version != ORIGINAL else [ceilings_hz[0]] * 2
        asked_hz = f0_hz if version == ORIGINAL else wanted.f0(f0_hz)
        here = embedding(heard)
        rows.append(
            {
                "clip": trial.clip,
                "speaker": trial.source.speaker,
                "target": trial.target.speaker,
                "version": version,
                "emotion": trial.emotion,
                "f0_asked_semitones": _semitones(asked_hz[both] / f0_hz[both]),
                "f0_got_semitones": _semitones(got_hz[both] / f0_hz[both]),
                "formants_asked_percent": 0.0 if version == ORIGINAL else 100 * (wanted.scale - 1),
                "formants_got_percent": _moved_percent(sound, spoken, times_s[both], by_voice),
                "formants_got_fixed_percent": _moved_percent(sound, spoken, times_s[both], [CEILING_HZ] * 2),
                **{f"like_{name}": float(here @ home / np.linalg.norm(home)) for name, home in homes.items()},
                "words": len(said),
                "word_errors": word_errors(said, words(transcribe(heard, RECOGNISER).text)),
                **{judge: load_model(judge).predict(from_samples(heard, SAMPLE_RATE, "")).top for judge in JUDGES},
            }
        )
    return rows


def summary(rows: pd.DataFrame, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return backend, measure, value, low, high, clips, speakers; intervals are over the source speakers."""
    before = rows[rows["version"] == ORIGINAL].set_index("clip")
    speakers = before["speaker"].tolist()
    found = []
    for backend in BACKENDS:
        after = rows[rows["version"] == backend].set_index("clip").loc[before.index]
        measured = {
            f"{what}: {when}": _interval(_ratio, [part, count], speakers, replicates)
            for what, (one, other, count) in _paired(before, after).items()
            for when, part in (("before", one), ("after", other), ("change", other - one))
        }
        for what, wanted, measured_as in MOVED:
            asked, got = after[wanted], after[measured_as]
            columns: list[pd.Series | np.ndarray] = [np.ones(len(asked)), asked, got, asked * asked, asked * got]
            measured[f"{what}, moved by asked (slope)"] = _interval(_slope, columns, speakers, replicates)
            off: list[pd.Series | np.ndarray] = [(got - asked).abs(), np.ones(len(asked))]
            measured[f"{what}, off what was asked"] = _interval(_ratio, off, speakers, replicates)
        for name, (value, low, high) in measured.items():
            figures = {"backend": backend, "measure": name, "value": value, "low": low, "high": high}
            found.append(figures | {"clips": len(after), "speakers": len(set(speakers))})
    return pd.DataFrame(found)


def _paired(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, tuple[pd.Series, pd.Series, pd.Series]]:
    """Return what is compared: sums before and after, and what they are divided by."""
    one = pd.Series(1.0, index=before.index)
    found = {
        "likeness to target (cosine)": (before["like_target"], after["like_target"], one),
        "likeness to source (cosine)": (before["like_source"], after["like_source"], one),
        "nearer to target than to source": (
            (before["like_target"] > before["like_source"]).astype(float),
            (after["like_target"] > after["like_source"]).astype(float),
            one,
        ),
        "word error rate": (before["word_errors"], after["word_errors"], before["words"]),
    }
    for judge in JUDGES:
        right = [(part[judge] == part["emotion"]).astype(float) for part in (before, after)]
        found[f"accuracy of {judge}"] = (right[0], right[1], one)
    return found


def _interval(
    statistic: metrics.Statistic, columns: Sequence[pd.Series | np.ndarray], speakers: list[str], replicates: int
) -> tuple[float, float, float]:
    """Return value, low and high of a statistic of the sums of columns over clips; clips without a value left out."""
    values = np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)
    known = np.isfinite(values).all(axis=1)
    _, which = np.unique(np.asarray(speakers)[known], return_inverse=True)
    tensors = np.zeros((which.max() + 1, values.shape[1]))
    np.add.at(tensors, which, values[known])
    low, high = metrics.speaker_bootstrap(tensors, statistic, replicates=replicates)
    return float(statistic(tensors.sum(axis=0))), low, high


def _some(files: list[str]) -> tuple[str, ...]:
    return tuple(files[:: max(1, len(files) // CENTRE_CLIPS)][:CENTRE_CLIPS])


def _ratio(sums: np.ndarray) -> np.ndarray:
    """Return the ratio (…) of (…, 2) sums."""
    ratio: np.ndarray = sums[..., 0] / sums[..., 1]
    return ratio


def _slope(sums: np.ndarray) -> np.ndarray:
    """Return the least-squares slope (…) of y on x from (…, 5) sums of 1, x, y, x² and x·y."""
    count, x, y, xx, xy = np.moveaxis(sums, -1, 0)
    slope: np.ndarray = (count * xy - x * y) / (count * xx - x * x)
    return slope


@functools.lru_cache(maxsize=1000)
def _embedded(file: str) -> np.ndarray:
    from ser_core.conversion.likeness import embedding

    return embedding(np.array(read(file).samples))


def _sound(samples: np.ndarray) -> parselmouth.Sound:
    return parselmouth.Sound(samples.astype(np.float64), sampling_frequency=float(SAMPLE_RATE))


def _moved_percent(
    before: parselmouth.Sound, after: parselmouth.Sound, times_s: np.ndarray, ceilings_hz: Sequence[float]
) -> float | None:
    """Return the median shift of F2 to F4 at times in seconds, each sound with its ceiling; None without any."""
    one, other = (
        formants(sound, times_s, ceiling) for sound, ceiling in zip((before, after), ceilings_hz, strict=True)
    )
    ratios = other[1:] / one[1:]
    known = ratios[np.isfinite(ratios)]
    return float(100 * (np.median(known) - 1)) if len(known) else None


def _semitones(ratios: np.ndarray) -> float | None:
    """Return the median of frequency ratios (frames,) in semitones; None without any."""
    return float(12 * np.median(np.log2(ratios))) if len(ratios) else None


def _store(trial: Trial) -> None:
    store = Path(trial.store)
    store.parent.mkdir(parents=True, exist_ok=True)
    write_text(store, json.dumps(examine(trial)))


def run(corpus: Path, runs: Path, clips: int) -> pd.DataFrame:
    """Check the conversion on CREMA-D and write ``assets/results/conversion.csv``; return the summary."""
    from ser_core.corpora import read_corpus
    from ser_core.systems.co_vada import measured_voices
    from ser_core.tasks import CREMA_D, with_folds

    table = with_folds(CREMA_D, read_corpus(corpus, CREMA_D.name).table)
    found = summary(check(trials(table, measured_voices(table), runs, clips=clips)))
    write_table(found, RESULTS / "conversion.csv", float_format="%.4f")
    return found
