"""What the salient regions hold, over a corpus: do their cues move as experts expect, more often than by chance?

For each clip the predicted class is explained, the cues in its salient regions are held against the experts'
expectation for that class (:mod:`explain.expert`), and so are the cues in the same regions shifted together round the
clip's speech: a salient region that holds no more of the expected voice than any other stretch of the same length has
found nothing of its own. Right and wrong answers are told apart.

``python -m explain study --corpus FOLDER … --model … --method …`` runs it (resumable) and stores one row per clip ×
method × cue in ``assets/results/salient-cues.parquet``, and their :func:`summary` beside it as CSV.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_core.errors import CorpusError, SerscopeError
from ser_core.settings import ASSETS

if TYPE_CHECKING:
    import pandas as pd

    from explain.cues import CueTracks
    from explain.regions import Region
    from ser_core.models import SpeechModel

TABLE = ASSETS / "results" / "salient-cues.parquet"
SHIFTS = 20
CHUNK = 20
DECIDED = ("agrees", "disagrees")


@dataclass(frozen=True)
class Clip:
    """One clip of the study; ``sex`` chooses the neutral reference and the range of the pitch tracker."""

    file: str
    corpus: str
    speaker: str
    sex: str
    emotion: str


def held_out(corpus_folder: Path, emotions: Sequence[str], count: int, seed: int = 0) -> list[Clip]:
    """Return :func:`in_turn` sorted by file."""
    return sorted(in_turn(corpus_folder, emotions, count, seed), key=lambda clip: clip.file)


def in_turn(corpus_folder: Path, emotions: Sequence[str], count: int, seed: int = 0) -> list[Clip]:
    """Return clips that the shipped CREMA-D models never heard, every speaker and emotion once before any twice.

    Of CREMA-D only the test speakers of fold 0 count; of any other corpus all speakers, and the emotions that the
    model knows. Fewer clips are the first of more.

    Raises:
        CorpusError: nothing of the folder can be used.
    """
    from ser_core.corpora import read_corpus
    from ser_core.tasks import CREMA_D, with_folds

    corpus = read_corpus(corpus_folder)
    table = corpus.table
    if corpus.name == CREMA_D.name:
        table = with_folds(CREMA_D, table).query("fold == 0")
    table = table[table["emotion"].isin(emotions) & table["sex"].isin(["female", "male"])]
    if table.empty:
        raise CorpusError(f"{corpus.title} holds no clip of a known sex with an emotion that the model knows.")
    table = table.sample(frac=1, random_state=seed)
    turn = table.groupby(["speaker", "emotion"]).cumcount()
    table = table.assign(turn=turn).sort_values("turn", kind="stable").head(count)
    return [Clip(str(r.file), corpus.name, str(r.speaker), str(r.sex), str(r.emotion)) for r in table.itertuples()]


def shifted(tracks: "CueTracks", regions: "Sequence[Region]", shift: int) -> "list[Region]":
    """Return the regions moved together by ``shift`` frames of speech, round the end to the start of the speech.

    A region keeps its length in frames of speech; one that passes the end of the speech comes back in two parts.
    """
    from dataclasses import replace

    spoken = np.flatnonzero(tracks.speech)
    times = tracks.times_s
    half = (times[1] - times[0]) / 2
    moved = []
    for region in regions:
        inside = np.flatnonzero((times[spoken] >= region.start_s) & (times[spoken] < region.end_s))
        if not len(inside):
            continue
        places = np.sort((inside + shift) % len(spoken))
        for part in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            start, end = times[spoken[part[0]]] - half, times[spoken[part[-1]]] + half
            moved.append(replace(region, start_s=max(0.0, float(start)), end_s=float(end)))
    return moved


def clip_rows(clip: Clip, model: "SpeechModel", methods: Sequence[str]) -> list[dict]:
    """Return one row per method and cue with an expectation for the predicted class; none where nothing was said.

    ``status`` is the agreement in the salient regions, ``chance`` the share of shifted regions that agree among those
    that agree or disagree (NaN where none of them does).
    """
    from explain.attribution import Target, attribute
    from explain.cues import CueSettings, CueSummary, measure
    from explain.expert import SALIENT, agreements
    from explain.magnitudes import magnitudes
    from explain.regions import coverage, salient_regions
    from ser_core.audio import read
    from ser_core.speech import speech_segments

    recording = read(clip.file)
    speech = speech_segments(recording)
    prediction = model.predict(recording)
    tracks = measure(recording, CueSettings(sex=clip.sex), speech)
    if tracks.speech.sum() < 2:
        return []

    def verdicts(regions: "Sequence[Region]") -> dict[str, str]:
        summary = CueSummary(tuple(regions), magnitudes(tracks, regions), ())
        found = agreements(summary, (prediction.top,), clip.sex)
        return {row.cue: row.status for row in found if row.scope == SALIENT and row.expected is not None}

    rows = []
    for method in methods:
        regions = salient_regions(attribute(model, recording, Target(prediction.top), method))
        if not regions:
            continue
        random = np.random.default_rng(list(Path(clip.file).stem.encode()))
        most = int(tracks.speech.sum())
        turns = random.choice(np.arange(1, most), min(SHIFTS, most - 1), replace=False)
        by_chance = [verdicts(shifted(tracks, regions, int(turn))) for turn in turns]
        for cue, status in verdicts(regions).items():
            decided = [found[cue] for found in by_chance if found.get(cue) in DECIDED]
            rows.append(
                {
                    "clip": Path(clip.file).stem,
                    "corpus": clip.corpus,
                    "speaker": clip.speaker,
                    "sex": clip.sex,
                    "emotion": clip.emotion,
                    "predicted": prediction.top,
                    "model": model.name,
                    "method": method,
                    "coverage": coverage(regions, recording.duration_s),
                    "cue": cue,
                    "status": status,
                    "chance": float(np.mean([d == "agrees" for d in decided])) if decided else float("nan"),
                }
            )
    return rows


def summary(rows: "pd.DataFrame", *, replicates: int = 10_000) -> "pd.DataFrame":
    """Return how often cues agree, against chance, by method, emotion and cue, for right and for wrong answers.

    Columns: model, method, corpus, predicted, cue, answer ("right" or "wrong"), clips, speakers, agrees (share among
    the clips whose cue agrees or disagrees), chance (the same of shifted regions, mean), excess (agrees − chance) with
    low and high, its 95 % interval over speakers. "all" stands for every cue or emotion taken together.
    """
    import pandas as pd

    from ser_core.metrics import speaker_bootstrap

    known = rows[rows["status"].isin(DECIDED) & rows["chance"].notna()]
    known = known.assign(
        hit=(known["status"] == "agrees").astype(float),
        answer=np.where(known["emotion"] == known["predicted"], "right", "wrong"),
    )
    every = pd.concat([known, known.assign(cue="all")])
    every = pd.concat([every, every.assign(predicted="all")])
    found = []
    keys = ["model", "method", "corpus", "predicted", "cue", "answer"]
    for key, part in every.groupby(keys, sort=True):
        sums = part.assign(excess=part["hit"] - part["chance"], one=1.0).groupby("speaker")[["excess", "one"]].sum()
        low, high = speaker_bootstrap(sums.to_numpy(), lambda s: s[..., 0] / s[..., 1], replicates=replicates)
        found.append(
            {
                **dict(zip(keys, key, strict=True)),
                "clips": part["clip"].nunique(),
                "speakers": part["speaker"].nunique(),
                "agrees": part["hit"].mean(),
                "chance": part["chance"].mean(),
                "excess": part["hit"].mean() - part["chance"].mean(),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(found)


def run(
    clips: Sequence[Clip], model: "SpeechModel", methods: Sequence[str], runs: Path, tell: Callable[[str], None]
) -> "pd.DataFrame":
    """Return the rows of all clips; parts that are done are read from ``runs``, so a stopped study goes on."""
    import pandas as pd

    runs.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(clips), CHUNK):
        store = runs / f"{model.name}-{'-'.join(methods)}-{clips[start].corpus}-{start:05d}-{CHUNK}.parquet"
        if not store.exists():
            rows: list[dict] = []
            for clip in clips[start : start + CHUNK]:
                try:
                    rows += clip_rows(clip, model, methods)
                except SerscopeError as fault:
                    tell(f"{Path(clip.file).name} left out: {fault}")
            partial = store.with_suffix(".partial")
            pd.DataFrame(rows).to_parquet(partial)
            partial.replace(store)
        parts.append(pd.read_parquet(store))
        tell(f"{model.name}, {clips[start].corpus}: {min(start + CHUNK, len(clips))} of {len(clips)} clips")
    return pd.concat(parts, ignore_index=True)


def read_summary(table: Path = TABLE) -> "pd.DataFrame":
    """Return the stored :func:`summary`; empty where the study has not been run."""
    import pandas as pd

    path = table.with_suffix(".csv")
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["model", "method", "corpus", "predicted"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and store its rows; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", nargs="+", type=Path, required=True, help="folders of lossless corpora")
    parser.add_argument("--model", nargs="+", help="models (default: the first bundled)")
    parser.add_argument("--method", nargs="+", help="attribution methods (default: the first that fits the model)")
    parser.add_argument("--count", type=int, default=500, help="clips of each corpus (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where parts are kept (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=TABLE, help="table (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        rows = _study(options)
    except SerscopeError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    table = summary(rows)
    table.round(4).to_csv(options.out.with_suffix(".csv"), index=False)
    print(table.query("cue == 'all' and predicted == 'all'").to_string(index=False))
    print(f"written: {options.out}")
    return 0


def _study(options: argparse.Namespace) -> "pd.DataFrame":
    import pandas as pd

    from explain.attribution import methods_for
    from ser_core.models import load_model, model_names

    parts = []
    for name in options.model or model_names()[:1]:
        model = load_model(name)
        methods = options.method or [methods_for(model)[0].name]
        for folder in options.corpus:
            clips = held_out(folder, model.emotions, options.count)
            parts.append(run(clips, model, methods, options.runs / "salient-cues", lambda w: print(w, flush=True)))
    fresh = pd.concat(parts, ignore_index=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.out.exists():
        stored = pd.read_parquet(options.out)
        keys = ["model", "method", "corpus"]
        again = stored.set_index(keys).index.isin(fresh.set_index(keys).index)
        fresh = pd.concat([stored[~again], fresh], ignore_index=True)
    partial = options.out.with_suffix(".partial")
    fresh.to_parquet(partial, index=False)
    partial.replace(options.out)
    return fresh


if __name__ == "__main__":
    sys.exit(main())
