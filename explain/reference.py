"""Neutral speech of open corpora, by speaker sex, as what a cue's magnitude is compared with.

The experts' directions are about whole deliveries against neutral ones. The bundled table holds percentiles of each
cue over neutral clips of adult speakers, and the same over random stretches of their speech of several lengths, so that
a salient region is compared with stretches of its own length: little time leaves little room for a range, and a mean
over few frames scatters more. At most ten clips a speaker, lossless files only.

Build it again with::

    python -m explain.reference --corpora CREMA-D-FOLDER RAVDESS-FOLDER … --out assets/reference

and see how often each cue moves as experts expect with ``--directions CORPUS-FOLDER``.
"""

import argparse
import csv
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from explain.cues import CLIP, CUES, CueSettings, CueTracks, CueValue, tracks_from_panel
from explain.magnitudes import magnitudes
from explain.regions import Region
from ser_core.errors import CorpusError, command_line
from ser_core.files import whole, write_text
from ser_core.settings import ASSETS

FOLDER = ASSETS / "reference"
PERCENTS = (1, *range(5, 100, 5), 99)
STRETCHES_S = ((0.05, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.6), (0.6, 1.2), (1.2, 2.4))
"""Lengths of stretches in seconds, from … to; a shorter or longer region is compared with the nearest."""
SEXES = ("female", "male", "any")
CLIPS_PER_SPEAKER, ADULT = 10, 18
WINDOWS = 4
FEWEST_VALUES = 50
LOSSY = ("opus", "vorbis", "mp3", "aac", "mpeg")


@dataclass(frozen=True)
class ReferenceRow:
    """Percentiles of one cue in neutral speech.

    scope is "clip" or the length of the stretches ("0.1 to 0.2 s"); sex "female", "male" or "any" (both, where the
    sex is not known). ``quantiles`` are the values at ``PERCENTS``, in ``unit``; values, clips and speakers are counts.
    """

    scope: str
    sex: str
    cue: str
    unit: str
    values: int
    clips: int
    speakers: int
    quantiles: tuple[float, ...]

    def percentile(self, value: float) -> float:
        """Return the place of a value in neutral speech, 1 … 99, by linear interpolation; the middle of ties."""
        same = [q for q, quantile in zip(PERCENTS, self.quantiles, strict=True) if quantile == value]
        if same:
            return (same[0] + same[-1]) / 2
        return float(np.interp(value, self.quantiles, PERCENTS))


@dataclass(frozen=True)
class Reference:
    """The bundled neutral reference; ``corpora`` are (title, licence, clips, speakers)."""

    rows: dict[tuple[str, str, str], ReferenceRow]
    corpora: tuple[tuple[str, str, int, int], ...]
    command: str

    def row(self, cue: str, sex: str, length_s: float | None = None) -> ReferenceRow | None:
        """Return the percentiles of a cue, or None where there is no reference (children, cues without one).

        Args:
            cue: its name.
            sex: "female", "male", "unknown" or "child".
            length_s: of the stretches of speech; None for whole clips.
        """
        scope = CLIP if length_s is None else stretch(length_s)
        return self.rows.get((scope, "any" if sex == "unknown" else sex, cue))

    def describe(self, sex: str) -> str:
        """Return one line that says whose neutral speech this is."""
        row = self.row("f0_mean", sex)
        if row is None:
            return "no neutral reference"
        who = {"female": "women", "male": "men", "any": "adults of both sexes"}[row.sex]
        titles = ", ".join(title for title, *_ in self.corpora)
        return f"neutral speech of {row.speakers} {who} ({row.clips} clips; {titles})"


def stretch(length_s: float) -> str:
    """Return the lengths of neutral stretches that one of this length is compared with, such as "0.1 to 0.2 s"."""
    return next((_span(*span) for span in STRETCHES_S if length_s < span[1] - 1e-9), _span(*STRETCHES_S[-1]))


def _span(low_s: float, high_s: float) -> str:
    return f"{low_s:g} to {high_s:g} s"


@functools.cache
def load_reference(folder: Path = FOLDER) -> Reference:
    """Return the neutral reference in a folder (``neutral.csv`` and ``sources.json``)."""
    rows = {}
    with (folder / "neutral.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            counts = (int(line["values"]), int(line["clips"]), int(line["speakers"]))
            quantiles = tuple(float(line[f"p{q}"]) for q in PERCENTS)
            row = ReferenceRow(line["scope"], line["sex"], line["cue"], line["unit"], *counts, quantiles)
            rows[row.scope, row.sex, row.cue] = row
    sources = json.loads((folder / "sources.json").read_text(encoding="utf-8"))
    corpora = tuple((c["title"], c["licence"], c["clips"], c["speakers"]) for c in sources["corpora"])
    return Reference(rows, corpora, sources["command"])


# --- building --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Clip:
    """One clip to be measured; values are filled by :func:`_measure`."""

    file: str
    corpus: str
    speaker: str
    sex: str
    emotion: str
    values: tuple[CueValue, ...] = ()


def measured(clip: _Clip, windows: int = WINDOWS) -> _Clip:
    """Return the clip with its cues, over the whole clip and over random stretches of each length of its speech."""
    from explain.praat import SHORTEST_S, praat_panel
    from ser_core.audio import read
    from ser_core.speech import speech_segments

    recording = read(clip.file)
    if any(word in recording.source.codec.lower() for word in LOSSY):
        raise CorpusError(
            f"{Path(clip.file).name} is {recording.source.codec}: a lossy codec marks every cue; "
            "give the folder with the lossless files."
        )
    speech = speech_segments(recording)
    if not speech or recording.duration_s < SHORTEST_S:
        return clip
    settings = CueSettings(sex=clip.sex)
    panel = praat_panel(recording.samples, recording.sample_rate, sex=clip.sex)
    tracks = tracks_from_panel(panel, recording, settings, speech)
    return replace(clip, values=magnitudes(tracks, _windows(tracks, clip.file, windows)))


def _windows(tracks: CueTracks, name: str, count: int) -> list[Region]:
    """Return stretches of speech, ``count`` of each length, ranked by length; none where no speech is that long."""
    rng = np.random.default_rng(list(Path(name).name.encode()))
    places = []
    for rank in range(count * len(STRETCHES_S)):
        width_s = rng.uniform(*STRETCHES_S[rank // count])
        room = [s for s in tracks.segments if s.end_s - s.start_s > width_s]
        if room:
            segment = room[rng.integers(len(room))]
            start_s = rng.uniform(segment.start_s, segment.end_s - width_s)
            places.append(Region(rank + 1, start_s, start_s + width_s, None, None, 0.0))
    return places


def neutral_clips(folders: Sequence[Path], seed: int = 0) -> tuple[list[_Clip], list[dict]]:
    """Return at most ten neutral clips of each adult speaker of known sex, and what corpora they come from."""
    from ser_core.corpora import read_corpus

    clips, sources = [], []
    for folder in folders:
        corpus = read_corpus(folder)
        table = corpus.table
        table = table[(table["emotion"] == "neutral") & table["sex"].isin(["female", "male"])]
        table = table[table["age"].isna() | (table["age"] >= ADULT)]
        table = table.sample(frac=1, random_state=seed).groupby("speaker").head(CLIPS_PER_SPEAKER)
        table = table.sort_values("file")
        if table.empty:
            raise CorpusError(f"{corpus.title} holds no neutral clips of adults whose sex is known; leave it out.")
        clips += [
            _Clip(str(r.file), corpus.name, str(r.speaker), str(r.sex), str(r.emotion)) for r in table.itertuples()
        ]
        sources.append(
            {
                "name": corpus.name,
                "title": corpus.title,
                "licence": corpus.licence,
                "clips": len(table),
                "speakers": int(table["speaker"].nunique()),
            }
        )
    return clips, sources


def rows_of(clips: Sequence[_Clip]) -> list[ReferenceRow]:
    """Return the percentiles over measured clips, by scope, sex and cue, where there are 50 values at least."""
    rows = []
    ranks = {CLIP: {CLIP}}
    for place, span in enumerate(STRETCHES_S):
        ranks[_span(*span)] = {str(place * WINDOWS + k) for k in range(1, WINDOWS + 1)}
    for scope, measured_as in ranks.items():
        for sex in SEXES:
            chosen = [c for c in clips if sex in ("any", c.sex)]
            for cue in CUES:
                found = [
                    (v.value, c)
                    for c in chosen
                    for v in c.values
                    if v.cue == cue.name and v.value is not None and v.scope in measured_as
                ]
                if len(found) < FEWEST_VALUES:
                    continue
                quantiles = np.percentile([value for value, _ in found], PERCENTS)
                counts = (len(found), len({c.file for _, c in found}), len({c.speaker for _, c in found}))
                rows.append(ReferenceRow(scope, sex, cue.name, cue.unit, *counts, tuple(float(q) for q in quantiles)))
    return rows


def write(rows: Sequence[ReferenceRow], sources: Sequence[dict], folder: Path, command: str) -> None:
    """Write ``neutral.csv`` and ``sources.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "neutral.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["scope", "sex", "cue", "unit", "values", "clips", "speakers", *(f"p{q}" for q in PERCENTS)])
        for r in rows:
            out.writerow(
                [r.scope, r.sex, r.cue, r.unit, r.values, r.clips, r.speakers, *(f"{q:.5g}" for q in r.quantiles)]
            )
    text = json.dumps({"command": command, "corpora": list(sources)}, indent=2, ensure_ascii=False)
    write_text(folder / "sources.json", text + "\n")


def directions(folder: Path, speakers: int, per_emotion: int, jobs: int, seed: int = 0) -> list[dict]:
    """Return how each cue of emotional clips lies against the same speaker's neutral clips.

    One dictionary for each emotion and cue: clips, and the shares (%) above the median of the speaker's own neutral
    clips and in the upper and lower fifth of the bundled reference of the speaker's sex.
    """
    from ser_core.corpora import read_corpus

    table = read_corpus(folder).table
    table = table[table["sex"].isin(["female", "male"])]
    chosen = np.random.default_rng(seed).permutation(sorted(table["speaker"].unique()))[:speakers]
    table = table[table["speaker"].isin(list(chosen))].sample(frac=1, random_state=seed)
    table = table.groupby(["speaker", "emotion"]).head(per_emotion)
    clips = _all_measured(
        [_Clip(str(r.file), "", str(r.speaker), str(r.sex), str(r.emotion)) for r in table.itertuples()], jobs, 0
    )
    reference = load_reference()
    values = {(c.file, v.cue): v.value for c in clips for v in c.values if v.value is not None and v.scope == CLIP}
    rows = []
    for emotion in sorted({c.emotion for c in clips}):
        for cue in CUES:
            above, percentiles = [], []
            for clip in (c for c in clips if c.emotion == emotion):
                value = values.get((clip.file, cue.name))
                own = [
                    values[c.file, cue.name]
                    for c in clips
                    if c.speaker == clip.speaker and c.emotion == "neutral" and (c.file, cue.name) in values
                ]
                row = reference.row(cue.name, clip.sex)
                if value is None or not own or row is None:
                    continue
                above.append(value > float(np.median(own)))
                percentiles.append(row.percentile(value))
            if above:
                rows.append(
                    {
                        "emotion": emotion,
                        "cue": cue.name,
                        "clips": len(above),
                        "above_own_neutral_percent": round(100 * float(np.mean(above)), 1),
                        "upper_fifth_percent": round(100 * float(np.mean(np.array(percentiles) > 80)), 1),
                        "lower_fifth_percent": round(100 * float(np.mean(np.array(percentiles) < 20)), 1),
                        "median_percentile": round(float(np.median(percentiles)), 1),
                    }
                )
    return rows


def _all_measured(clips: Sequence[_Clip], jobs: int, windows: int = WINDOWS) -> list[_Clip]:
    from joblib import Parallel, delayed

    results = Parallel(n_jobs=jobs, return_as="generator")(delayed(measured)(clip, windows) for clip in clips)
    done = []
    for clip in results:
        done.append(clip)
        if len(done) % 50 == 0 or len(done) == len(clips):
            print(f"\r{len(done)} of {len(clips)} clips", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return done


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Build the reference, or print how cues move by emotion; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain.reference", description=main.__doc__)
    parser.add_argument("--corpora", nargs="+", type=Path, metavar="FOLDER", help="corpora with neutral speech")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the reference (default: %(default)s)")
    parser.add_argument("--directions", type=Path, metavar="FOLDER", help="a corpus to check the directions on")
    parser.add_argument("--speakers", type=int, default=24, help="its speakers to sample (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=2, help="clips a speaker and emotion (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.corpora:
        clips, sources = neutral_clips(chosen.corpora)
        names = " ".join(source["name"] for source in sources)
        rows = rows_of(_all_measured(clips, chosen.jobs))
        write(rows, sources, chosen.out, f"python -m explain.reference --corpora {names} --out assets/reference")
    if chosen.directions:
        table = directions(chosen.directions, chosen.speakers, chosen.clips, chosen.jobs)
        out = csv.DictWriter(sys.stdout, list(table[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(table)
    if not (chosen.corpora or chosen.directions):
        parser.error("give --corpora or --directions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
