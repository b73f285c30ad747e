"""How well voices are told apart: made-up sessions of actors' real speech, and pairs of clips.

``python -m ser_core.diarisation_study`` writes ``assets/voices/study.csv`` and goes on where it was stopped. A session
is a dialogue of clips of a corpus: two actors (or three) take turns of one to four clips, 0 to 1 s apart, in all
emotions of the corpus; its reference is the speech that the voice activity detector finds in each clip alone. Actors
are drawn anew for each session; none of them taught the network. Thresholds were set on the CREMA-D actors with an even
number; those with an odd number and the other corpora are reported.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.audio import SAMPLE_RATE, read
from ser_core.corpora import find_corpora, read_corpus
from ser_core.diarisation import Turn, error_rate, split, voices
from ser_core.files import write_table
from ser_core.settings import ASSETS, settings
from ser_core.speech import speech_segments, utterances
from ser_core.voices import embeddings, learn

WRITTEN = ASSETS / "voices" / "study.csv"
GAP_S, CLIPS_A_TURN, LEARNT_S = (0.0, 1.0), (1, 4), 1.5


@dataclass(frozen=True, eq=False)
class MadeUp:
    """A made-up session: mono samples (samples,) at 16 kHz, who truly speaks when, and the file of each turn."""

    samples: np.ndarray
    turns: tuple[Turn, ...]
    files: tuple[str, ...]


def made_up(table: pd.DataFrame, rng: np.random.Generator, seconds: float, people: int = 2) -> MadeUp:
    """Return a dialogue of that many speakers of a corpus table, made of their clips."""
    speakers = rng.choice(sorted(table["speaker"].unique()), people, replace=False)
    files = {k: rng.permutation(table.loc[table["speaker"] == s, "file"]) for k, s in enumerate(speakers)}
    parts, turns, taken, at, voice = [], [], [], 0, 0
    used = dict.fromkeys(files, 0)
    while at < seconds * SAMPLE_RATE:
        for _ in range(rng.integers(*CLIPS_A_TURN, endpoint=True)):
            file = files[voice][used[voice] % len(files[voice])]
            clip = read(file)
            used[voice] += 1
            start_s = at / SAMPLE_RATE
            spoken = [Turn(start_s + s.start_s, start_s + s.end_s, voice) for s in speech_segments(clip)]
            turns += spoken
            taken += [str(file)] * len(spoken)
            gap = np.zeros(round(rng.uniform(*GAP_S) * SAMPLE_RATE), np.float32)
            parts += [clip.samples, gap]
            at += len(clip.samples) + len(gap)
        voice = int(rng.choice([k for k in files if k != voice]))
    # A room's faint noise, so that the gaps are no digital silence.
    samples = np.concatenate(parts) + 1e-4 * rng.standard_normal(at).astype(np.float32)
    return MadeUp(samples.astype(np.float32), tuple(turns), tuple(taken))


def turns_of(samples: np.ndarray, *counts: int | None) -> list[list[Turn]]:
    """Return who speaks when as it is found in samples (samples,), once for each number of voices (None: estimated)."""
    blocks = (samples[i : i + SAMPLE_RATE] for i in range(0, len(samples), SAMPLE_RATE))
    pieces = [piece for whole in utterances(blocks) for piece in split(whole)]
    lengths_s = np.array([piece.speech.end_s - piece.speech.start_s for piece in pieces])
    found = embeddings([piece.spoken for piece in pieces])
    return [
        [
            Turn(piece.speech.start_s, piece.speech.end_s, int(k))
            for piece, k in zip(pieces, voices(found, lengths_s, count), strict=True)
        ]
        for count in counts
    ]


def equal_error_rate(found: np.ndarray, speakers: np.ndarray) -> float:
    """Return where as many pairs of one speaker lie under a threshold of the cosine as pairs of two lie over it."""
    first, second = np.triu_indices(len(found), 1)
    scores, same = (found[first] * found[second]).sum(axis=1), speakers[first] == speakers[second]
    one, two = np.sort(scores[same]), np.sort(scores[~same])
    missed = np.searchsorted(one, scores) / len(one)
    taken = 1 - np.searchsorted(two, scores) / len(two)
    best = np.abs(missed - taken).argmin()
    return float((missed[best] + taken[best]) / 2)


def session_row(name: str, table: pd.DataFrame, people: int, number: int, seconds: float) -> dict[str, object]:
    """Return the figures of one made-up session of a corpus."""
    session = made_up(table, np.random.default_rng([people, number]), seconds, people)
    given, free, one = turns_of(session.samples, people, None, 1)
    return {
        "corpus": name,
        "voices": people,
        "session": number,
        "minutes": round(len(session.samples) / SAMPLE_RATE / 60, 2),
        "der_voices_given": error_rate(session.turns, given),
        "der_voices_given_collar": error_rate(session.turns, given, 0.25),
        "der_voices_estimated": error_rate(session.turns, free),
        "voices_estimated": len({turn.voice for turn in free}),
        "der_one_voice": error_rate(session.turns, one),
        "der_one_voice_collar": error_rate(session.turns, one, 0.25),
    }


def pairs_row(name: str, table: pd.DataFrame, clips: int = 300) -> dict[str, object]:
    """Return the equal error rate over all pairs of some clips of a corpus, 1.5 s of each."""
    chosen = table.iloc[np.random.default_rng(0).choice(len(table), min(clips, len(table)), replace=False)]
    cut = [_middle(read(file).samples) for file in chosen["file"]]
    return {
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
    parser.add_argument("--sessions", type=int, default=4, help="sessions of two voices for each corpus")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--learn", action="store_true", help="learn the spread within speakers anew first")
    parser.add_argument("--out", type=Path, default=WRITTEN)
    options = parser.parse_args(arguments)
    folders = find_corpora(settings().corpora_dirs)
    if options.learn:
        table = read_corpus(folders["crema_d"]).table
        learn_within(table[~table.index.isin(held_out("crema_d", table).index)])
    done: list[dict] = (
        pd.read_csv(options.out).to_dict("records") if options.out.is_file() and not options.learn else []
    )
    for name in options.corpora:
        table = held_out(name, read_corpus(folders[name]).table)
        tasks = [
            (people, n) for people in (2, 3) for n in range(options.sessions if people == 2 else options.sessions // 2)
        ]
        for people, number in tasks:
            # The row of a corpus's pairs is of no session.
            known = {(row["corpus"], row.get("voices"), row.get("session")) for row in done}
            if (name, people, number) not in known:
                done.append(session_row(name, table, people, number, options.seconds))
                _write(done, options.out)
        if not any(row["corpus"] == name and row.get("pairs_of_clips", 0) > 0 for row in done):
            done.append(pairs_row(name, table))
            _write(done, options.out)
    print(summary(pd.DataFrame(done)).to_string())
    return 0


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean figures of each corpus and number of voices."""
    sessions = table[table["session"].notna()]
    means = (
        sessions.groupby(["corpus", "voices"])
        .mean(numeric_only=True)
        .drop(columns=["session", "pairs_of_clips", "equal_error_rate"])
    )
    rates = table.groupby("corpus")["equal_error_rate"].first()
    return means.join(rates, on="corpus").round(3)


def _write(rows: list[dict], path: Path) -> None:
    whole = pd.DataFrame(rows).sort_values(["corpus", "voices", "session"], na_position="last")
    write_table(whole, path, float_format="%.4f")


if __name__ == "__main__":
    sys.exit(main())
