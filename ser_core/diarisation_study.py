"""How well voices are told apart: made-up sessions of actors' real speech, and pairs of clips.

``python -m ser_core.diarisation_study`` writes ``assets/voices/study.csv``. A session is a dialogue of clips of a
corpus: two actors (or three) take turns of one to four clips, 0 to 1 s apart, in all emotions of the corpus; its
reference is the speech that the voice activity detector finds in each clip alone. Actors are drawn anew for each
session; none of them taught the network. Thresholds were set on the CREMA-D actors with an even number; those with an
odd number and the other corpora are reported.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.audio import SAMPLE_RATE, read
from ser_core.corpora import find_corpora, read_corpus
from ser_core.diarisation import Turn, error_rate, split, voices
from ser_core.settings import ASSETS, settings
from ser_core.speech import speech_segments, utterances
from ser_core.voices import embeddings, learn

WRITTEN = ASSETS / "voices" / "study.csv"
GAP_S, CLIPS_A_TURN, LEARNT_S = (0.0, 1.0), (1, 4), 1.5


@dataclass(frozen=True, eq=False)
class MadeUp:
    """A made-up session: mono samples (samples,) at 16 kHz, and who truly speaks when."""

    samples: np.ndarray
    turns: tuple[Turn, ...]


def made_up(table: pd.DataFrame, rng: np.random.Generator, seconds: float, people: int = 2) -> MadeUp:
    """Return a dialogue of that many speakers of a corpus table, made of their clips."""
    speakers = rng.choice(sorted(table["speaker"].unique()), people, replace=False)
    files = {k: rng.permutation(table.loc[table["speaker"] == s, "file"]) for k, s in enumerate(speakers)}
    parts, turns, at, voice = [], [], 0, 0
    used = dict.fromkeys(files, 0)
    while at < seconds * SAMPLE_RATE:
        for _ in range(rng.integers(*CLIPS_A_TURN, endpoint=True)):
            clip = read(files[voice][used[voice] % len(files[voice])])
            used[voice] += 1
            start_s = at / SAMPLE_RATE
            turns += [Turn(start_s + s.start_s, start_s + s.end_s, voice) for s in speech_segments(clip)]
            gap = np.zeros(round(rng.uniform(*GAP_S) * SAMPLE_RATE), np.float32)
            parts += [clip.samples, gap]
            at += len(clip.samples) + len(gap)
        voice = int(rng.choice([k for k in files if k != voice]))
    # A room's faint noise, so that the gaps are no digital silence.
    samples = np.concatenate(parts) + 1e-4 * rng.standard_normal(at).astype(np.float32)
    return MadeUp(samples.astype(np.float32), tuple(turns))


def turns_of(samples: np.ndarray, count: int | None) -> tuple[list[Turn], int]:
    """Return who speaks when as it is found in samples (samples,), and how many voices there are."""
    blocks = (samples[i : i + SAMPLE_RATE] for i in range(0, len(samples), SAMPLE_RATE))
    pieces = [piece for segment, sound in utterances(blocks) for piece in split(segment, sound)]
    lengths_s = np.array([part.end_s - part.start_s for part, _ in pieces])
    labels = voices(embeddings([sound for _, sound in pieces]), lengths_s, count)
    turns = [Turn(part.start_s, part.end_s, int(k)) for (part, _), k in zip(pieces, labels, strict=True)]
    return turns, len(np.unique(labels))


def equal_error_rate(found: np.ndarray, speakers: np.ndarray) -> float:
    """Return where as many pairs of one speaker lie under a threshold of the cosine as pairs of two lie over it."""
    first, second = np.triu_indices(len(found), 1)
    scores, same = (found[first] * found[second]).sum(axis=1), speakers[first] == speakers[second]
    one, two = np.sort(scores[same]), np.sort(scores[~same])
    missed = np.searchsorted(one, scores) / len(one)
    taken = 1 - np.searchsorted(two, scores) / len(two)
    best = np.abs(missed - taken).argmin()
    return float((missed[best] + taken[best]) / 2)


def rows(name: str, table: pd.DataFrame, sessions: int, seconds: float, seed: int) -> Iterator[dict[str, object]]:
    """Yield one row of figures for each session of a corpus, and one for pairs of clips."""
    rng = np.random.default_rng(seed)
    for people in (2, 3):
        for number in range(sessions if people == 2 else sessions // 2):
            session = made_up(table, rng, seconds, people)
            given, _ = turns_of(session.samples, people)
            free, estimated = turns_of(session.samples, None)
            one = [Turn(t.start_s, t.end_s, 0) for t in given]
            yield {
                "corpus": name,
                "voices": people,
                "session": number,
                "minutes": round(len(session.samples) / SAMPLE_RATE / 60, 2),
                "der_voices_given": error_rate(session.turns, given),
                "der_voices_given_collar": error_rate(session.turns, given, 0.25),
                "der_voices_estimated": error_rate(session.turns, free),
                "voices_estimated": estimated,
                "der_one_voice": error_rate(session.turns, one),
            }
    chosen = table.iloc[rng.choice(len(table), min(300, len(table)), replace=False)]
    cut = [_middle(read(file).samples) for file in chosen["file"]]
    yield {
        "corpus": name,
        "pairs_of_clips": len(chosen) * (len(chosen) - 1) // 2,
        "equal_error_rate": equal_error_rate(embeddings(cut), chosen["speaker"].to_numpy()),
    }


def _middle(samples: np.ndarray) -> np.ndarray:
    length = int(1.5 * SAMPLE_RATE)
    start = max(0, (len(samples) - length) // 2)
    return samples[start : start + length]


def held_out(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are reported: for CREMA-D, on which the thresholds were set, the odd actors'."""
    return table[table["speaker"].str[-1:].isin(list("13579"))] if name == "crema_d" else table


def learn_within(table: pd.DataFrame, clips: int = 2000) -> None:
    """Learn how far emotions move a voice from clips of the actors that the study does not report."""
    chosen = table.iloc[np.random.default_rng(0).choice(len(table), min(clips, len(table)), replace=False)]
    cut, speakers = [], []
    for file, speaker in zip(chosen["file"], chosen["speaker"], strict=True):
        clip = read(file)
        for part in speech_segments(clip)[:1]:
            first, last = (round(at_s * SAMPLE_RATE) for at_s in (part.start_s, part.end_s))
            cut.append(clip.samples[first:last][: int(LEARNT_S * SAMPLE_RATE)])
            speakers.append(speaker)
    learn(cut, np.array(speakers))


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ser_core.diarisation_study", description=__doc__.split("\n")[0])
    parser.add_argument("--corpora", nargs="+", default=["crema_d", "ravdess", "emotale"])
    parser.add_argument("--sessions", type=int, default=6, help="sessions of two voices for each corpus")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--learn", action="store_true", help="learn the spread within speakers anew first")
    parser.add_argument("--out", type=Path, default=WRITTEN)
    options = parser.parse_args(arguments)
    folders = find_corpora(settings().corpora_dirs)
    if options.learn:
        table = read_corpus(folders["crema_d"]).table
        learn_within(table[~table.index.isin(held_out("crema_d", table).index)])
    found: list[dict[str, object]] = []
    for seed, name in enumerate(options.corpora):
        table = read_corpus(folders[name]).table
        for row in rows(name, held_out(name, table), options.sessions, options.seconds, seed):
            found.append(row)
            print(row, flush=True)
    columns = list(dict.fromkeys(key for row in found for key in row))
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
