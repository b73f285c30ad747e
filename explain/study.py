"""What the salient regions hold, over a corpus: do their cues move as experts expect, more often than by chance?

For each clip the predicted class is explained, the cues in its salient regions are held against the experts'
expectation for that class (:mod:`explain.expert`), and so are the cues in the same regions shifted together round the
clip's speech: a salient region that holds no more of the expected voice than any other stretch of the same length has
found nothing of its own. Right and wrong answers are told apart.

``python -m explain study --corpus FOLDER … --model … --method …`` runs it and stores one row per clip × method × cue
in ``assets/results/salient-cues.parquet``, and their :func:`summary` beside it as CSV. Parts of 20 clips are kept, so a
stopped run goes on, and every part holds speakers and emotions in turn, so that a part of the study is a fair sample
of it. ``--folds`` asks about all CREMA-D actors the model that was trained without each; ``--trust`` puts each map to
the three tests of faithfulness as well. Stored rows are of before 23 November 2026: regions of any length, and the same
shifted, were then held against neutral stretches of 0.3 to 0.6 s instead of those of their own length; and a first or
last interval of a clip was no period of jitter where it differed from its only neighbour, which Praat counts.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from explain.study_clips import Clip, in_turn
from explain.study_parts import CHUNK, Part, add_run_options, over_clips, run, stored
from ser_core.errors import SettingError, command_line
from ser_core.files import write_table
from ser_core.parallel import chosen
from ser_core.settings import ASSETS

if TYPE_CHECKING:
    import pandas as pd

    from explain.cues import CueTracks
    from explain.regions import Region
    from ser_core.audio import Recording
    from ser_core.models import SpeechModel
    from ser_core.speech import Segment

TABLE = ASSETS / "results" / "salient-cues.parquet"
SHIFTS = 20
DECIDED = ("agrees", "disagrees")
NO_REGION = "no salient region"
STORED_WITH = (
    "The stored rows hold regions of any length against neutral stretches of 0.3 to 0.6 s; the pages now hold each "
    "region against stretches of its own length. Those of the log-mel ResNet’s Grad-CAM are of maps that lay off "
    "their place, most at the end of a clip, which is mended."
)


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


def clip_rows(clip: Clip, model: "SpeechModel", methods: Sequence[str], *, trusted: bool = False) -> list[dict]:
    """Return one row per method and cue that experts speak of; none where nothing was said.

    Columns: clip, file, the clip's facts (corpus, speaker, sex, age, race, ethnicity, emotion, fold), predicted, model,
    method; regions (their number), coverage (share of the clip's time that they take), share (of the map's relevance
    for the class that they hold); cue (the experts'), status (its agreement in the salient regions, or "no salient
    region"), percentile (0 … 100, of the cue there in neutral speech), effect (Cliff's delta of the cue inside the
    regions against the rest of the speech), chance (share of shifted regions that agree among those that agree or
    disagree); NaN where there is none. With ``trusted`` also deletion, insertion, randomised weights (verdicts).
    """
    from explain.attribution import Target, attribute
    from explain.contrasts import effects
    from explain.cues import CueSummary
    from explain.expert import OURS, SALIENT, Agreement, agreements
    from explain.magnitudes import magnitudes
    from explain.regions import coverage, salient_regions
    from explain.trust_study import Removals, faithfulness, removals_of

    recording, speech, tracks = _heard(clip.file, clip.sex)
    prediction = model.predict(recording)
    if tracks.speech.sum() < 2:
        return []

    def by_cue(regions: "Sequence[Region]") -> dict[str, Agreement]:
        summary = CueSummary(tuple(regions), magnitudes(tracks, regions), ())
        found = agreements(summary, (prediction.top,), clip.sex)
        return {row.cue: row for row in found if row.scope == SALIENT}

    rows = []
    target = Target(prediction.top)
    removals: Removals | None = None
    for method in methods:
        found = attribute(model, recording, target, method)
        regions = salient_regions(found)
        random = np.random.default_rng(list(Path(clip.file).stem.encode()))
        most = int(tracks.speech.sum())
        turns = random.choice(np.arange(1, most), min(SHIFTS, most - 1), replace=False).tolist()
        by_chance = [by_cue(shifted(tracks, regions, turn)) for turn in turns if regions]
        here, effect = by_cue(regions), effects(tracks, regions)
        of_map = {
            "clip": Path(clip.file).stem,
            "file": Path(clip.file).name,
            "corpus": clip.corpus,
            "speaker": clip.speaker,
            "sex": clip.sex,
            "age": clip.age,
            "race": clip.race,
            "ethnicity": clip.ethnicity,
            "emotion": clip.emotion,
            "fold": clip.fold,
            "predicted": prediction.top,
            "model": model.name,
            "method": method,
            "regions": len(regions),
            "coverage": coverage(regions, recording.duration_s),
            "share": sum(region.share for region in regions),
        }
        if trusted:
            removals = removals or removals_of(model, recording, speech, found)
            tests, _ = faithfulness(model, recording, found, removals)
            of_map |= {test.name: test.verdict for test in tests}
        for cue, ours in OURS.items():
            decided = [each[cue].status for each in by_chance if cue in each and each[cue].status in DECIDED]
            row = here.get(cue)
            rows.append(
                of_map
                | {
                    "cue": cue,
                    "status": NO_REGION if row is None else row.status,
                    "percentile": None if row is None else row.percentile,
                    "effect": effect.get(ours, float("nan")),
                    "chance": float(np.mean([status == "agrees" for status in decided])) if decided else float("nan"),
                }
            )
    return rows


@functools.lru_cache(maxsize=CHUNK)
def _heard(file: str, sex: str) -> "tuple[Recording, tuple[Segment, ...], CueTracks]":
    from explain.cues import CueSettings, measure
    from ser_core.audio import read
    from ser_core.speech import speech_segments

    recording = read(file)
    speech = tuple(speech_segments(recording))
    return recording, speech, measure(recording, CueSettings(sex=sex), speech)


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


def _rows_of(part: Part) -> tuple[list[dict], list[str]]:
    """Return the rows of a part, and why clips are left out."""
    return over_clips(part, lambda clip, model: clip_rows(clip, model, part.methods, trusted=part.trusted))


def read_summary(table: Path = TABLE) -> "pd.DataFrame":
    """Return the stored :func:`summary`; empty where the study has not been run."""
    import pandas as pd

    path = table.with_suffix(".csv")
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["model", "method", "corpus", "predicted"])


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and store its rows; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", nargs="+", type=Path, required=True, help="folders of lossless corpora")
    parser.add_argument("--model", nargs="+", help="models (default: the first bundled)")
    parser.add_argument("--method", nargs="+", help="attribution methods; those that fit a model (default: its first)")
    parser.add_argument("--count", type=int, default=500, help="clips of each corpus (default: %(default)s)")
    parser.add_argument("--folds", type=Path, help="folder of trained folds: all CREMA-D actors, each out of fold")
    parser.add_argument("--trust", action="store_true", help="put every map to the tests of faithfulness as well")
    add_run_options(parser, TABLE)
    options = parser.parse_args(arguments)
    tell = functools.partial(print, flush=True)
    fresh = run(_parts(options), _rows_of, options.runs / "salient-cues", tell, options.minutes, chosen(options))
    rows = stored(fresh, options.out)
    table = summary(rows)
    write_table(table.round(4), options.out.with_suffix(".csv"))
    print(table.query("cue == 'all' and predicted == 'all'").to_string(index=False))
    print(f"written: {options.out}")
    return 0


def _parts(options: argparse.Namespace) -> list[Part]:
    """Return the parts in turn over models and corpora, so that a stopped run is as far with each."""
    from explain.attribution import methods_for
    from ser_core.registry import load_model, model_names

    folds = options.folds and options.folds.absolute()
    parts = []
    for name in options.model or model_names()[:1]:
        model = load_model(name)
        fitting = [method.name for method in methods_for(model) if method.axes != "features"]
        methods = tuple(method for method in fitting if method in (options.method or fitting[:1]))
        if not methods:
            raise SettingError(f"None of these methods gives {name} a map over time; it has {', '.join(fitting)}.")
        for folder in options.corpus:
            clips = in_turn(folder.absolute(), model.emotions, options.count, every_fold=options.folds is not None)
            for start in range(0, len(clips), CHUNK):
                some = tuple(clips[start : start + CHUNK])
                parts.append(Part(name, methods, some, start, options.trust, folds))
    return sorted(parts, key=lambda part: part.start)


if __name__ == "__main__":
    sys.exit(main())
