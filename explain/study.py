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
import hashlib
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_core.errors import CorpusError, SerscopeError, SettingError
from ser_core.files import stored_table, write_table
from ser_core.parallel import HERE, Workers, add_options, as_done, check_present, chosen
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
CHUNK = 20
DECIDED = ("agrees", "disagrees")
NO_REGION = "no salient region"
STORED_WITH = (
    "The stored rows hold regions of any length against neutral stretches of 0.3 to 0.6 s; the pages now hold each "
    "region against stretches of its own length. Those of the log-mel ResNet’s Grad-CAM are of maps that lay off "
    "their place, most at the end of a clip, which is mended."
)


@dataclass(frozen=True)
class Clip:
    """One clip of the study; ``sex`` chooses the neutral reference and the range of the pitch tracker.

    age (years), race and ethnicity are as the corpus tells them, None where it does not; fold is the fold of CREMA-D's
    committed table in which the clip is tested, 0 of any other corpus, which no model was trained on.
    """

    file: str
    corpus: str
    speaker: str
    sex: str
    emotion: str
    age: float | None = None
    race: str | None = None
    ethnicity: str | None = None
    fold: int = 0


@dataclass(frozen=True)
class Part:
    """A part of the study that is done at once and kept: some clips, a model and its methods; names only, no audio.

    start is the place of the first clip in its corpus's order. folds holds ``<model>/fold-<k>/`` with the weights of
    the model that was trained without fold k; without it the shipped weights, those of fold 0, answer.
    """

    model: str
    methods: tuple[str, ...]
    clips: tuple[Clip, ...]
    start: int
    trusted: bool = False
    folds: Path | None = None

    @property
    def name(self) -> str:
        """The part's name, which is another one for other clips, methods or tests."""
        what = (self.methods, [Path(clip.file).name for clip in self.clips], self.trusted, self.folds is not None)
        key = hashlib.sha256(repr(what).encode()).hexdigest()[:10]
        return f"{self.model}-{self.clips[0].corpus}-{self.start:05d}-{key}"


def in_turn(
    corpus_folder: Path, emotions: Sequence[str], count: int, seed: int = 0, *, every_fold: bool = False
) -> list[Clip]:
    """Return clips that the shipped CREMA-D models never heard, every speaker and emotion once before any twice.

    Of CREMA-D only the test speakers of fold 0 count, or those of every fold, for models that were trained without
    them; of any other corpus all speakers, and the emotions that the model knows. Fewer clips are the first of more.

    Raises:
        CorpusError: nothing of the folder can be used.
    """
    from ser_core.corpora import read_corpus
    from ser_core.tasks import CREMA_D, with_folds

    corpus = read_corpus(corpus_folder)
    table = corpus.table.assign(fold=0)
    if corpus.name == CREMA_D.name:
        table = with_folds(CREMA_D, corpus.table)
        table = table if every_fold else table.query("fold == 0")
    table = table[table["emotion"].isin(emotions) & table["sex"].isin(["female", "male"])]
    if table.empty:
        raise CorpusError(f"{corpus.title} holds no clip of a known sex with an emotion that the model knows.")
    table = table.sample(frac=1, random_state=seed)
    turn = table.groupby(["speaker", "emotion"]).cumcount()
    table = table.assign(turn=turn).sort_values("turn", kind="stable").head(count)
    facts = ["file", "speaker", "sex", "emotion", "age", "race", "ethnicity", "fold"]
    known: list[dict[Any, Any]] = table[facts].astype("object").where(table[facts].notna(), None).to_dict("records")
    return [Clip(corpus=corpus.name, **row | {"file": str(row["file"])}) for row in known]


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


def model_for(name: str, clip: Clip, folds: Path | None) -> "SpeechModel":
    """Return the model that answers about a clip: the shipped one, or the one that was trained without its fold.

    Raises:
        ModelError: there is no such model.
        SettingError: the folds do not hold that model's weights, or are of another training than the shipped ones.
    """
    from ser_core.models import load_model
    from ser_core.tasks import CREMA_D

    if folds is None or clip.corpus != CREMA_D.name:
        return load_model(name)
    return _of_fold(name, folds, clip.fold)


@functools.lru_cache(maxsize=32)
def _of_fold(name: str, folds: Path, fold: int) -> "SpeechModel":
    from ser_core.models import load_model
    from ser_core.registry import model_folders

    shipped, file = load_model(name), "weights.safetensors"
    own = folds / name / f"fold-{fold}"
    if not (own / file).is_file():
        raise SettingError(f"{own} holds no weights; train {name} on every fold first, or leave out --folds.")
    if (folds / name / "fold-0" / file).read_bytes() != (model_folders()[name] / file).read_bytes():
        raise SettingError(f"{folds / name} is another training than that of the shipped {name}; choose its folder.")
    model: SpeechModel = importlib.import_module(f"ser_core.systems.{shipped.card.system}").load(own, shipped.card)
    model.network.eval().requires_grad_(False)
    return model


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
    parts: Sequence[Part],
    runs: Path,
    tell: Callable[[str], None],
    minutes: float | None = None,
    by: Workers = HERE,
    rows_of: Callable[[Part], tuple[list[dict], list[str]]] | None = None,
) -> "pd.DataFrame":
    """Return the rows of all parts in their order; those that were done before are read from ``runs``.

    Args:
        parts: of the study.
        runs: keeps every part as it is done.
        tell: is told how far the study is, and why a clip is left out.
        minutes: after so many no further part is begun, and what other workers have under way is given up.
        by: who does the parts; on a cluster every machine needs models, folds and clips under the same paths.
        rows_of: gives the rows of a part, and why clips are left out; those of this study by default.

    Raises:
        SettingError: not one part was done.
    """
    import pandas as pd

    runs.mkdir(parents=True, exist_ok=True)
    stores = [runs / f"{part.name}.parquet" for part in parts]
    found = {place: rows for place, store in enumerate(stores) if (rows := stored_table(store)) is not None}
    missing = [place for place in range(len(parts)) if place not in found]
    started = time.monotonic()
    for turn, (rows, left_out) in as_done(rows_of or _rows_of, [parts[place] for place in missing], by):
        for words in left_out:
            tell(words)
        place = missing[turn]
        found[place] = pd.DataFrame(rows)
        write_table(found[place], stores[place])
        part = parts[place]
        tell(
            f"{len(found)} of {len(parts)} parts: {part.model}, {part.clips[0].corpus}, clips from {part.start + 1} on"
        )
        if minutes is not None and time.monotonic() - started > 60 * minutes and len(found) < len(parts):
            tell(f"Time is up: {len(found)} of {len(parts)} parts are done; the same command goes on from here.")
            break
    if not sum(map(len, found.values())):
        raise SettingError("Nothing was done; give other clips.")
    return pd.concat([found[place] for place in sorted(found) if len(found[place])], ignore_index=True)


def _rows_of(part: Part) -> tuple[list[dict], list[str]]:
    """Return the rows of a part, and why clips are left out."""
    return over_clips(part, lambda clip, model: clip_rows(clip, model, part.methods, trusted=part.trusted))


def over_clips(part: Part, of_clip: "Callable[[Clip, SpeechModel], list[dict]]") -> tuple[list[dict], list[str]]:
    """Return the rows that ``of_clip`` gives for the clips of a part and its model, and why clips are left out.

    Raises:
        SettingError: a clip is not to be seen here, or there is no such model.
    """
    check_present(clip.file for clip in part.clips)
    rows: list[dict] = []
    left_out = []
    for clip in part.clips:
        try:
            rows += of_clip(clip, model_for(part.model, clip, part.folds))
        except SettingError:
            raise
        except SerscopeError as fault:
            left_out.append(f"{Path(clip.file).name} left out: {fault}")
    return rows, left_out


def read_summary(table: Path = TABLE) -> "pd.DataFrame":
    """Return the stored :func:`summary`; empty where the study has not been run."""
    import pandas as pd

    path = table.with_suffix(".csv")
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["model", "method", "corpus", "predicted"])


def add_run_options(parser: argparse.ArgumentParser, table: Path) -> None:
    """Give a study's command the options of every study that is done part by part; ``table`` is where its rows go."""
    parser.add_argument("--minutes", type=float, help="begin nothing new after so many minutes")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where parts are kept (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=table, help="table (default: %(default)s)")
    add_options(parser)


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
    try:
        fresh = run(_parts(options), options.runs / "salient-cues", tell, options.minutes, chosen(options))
        rows = stored(fresh, options.out)
        table = summary(rows)
        write_table(table.round(4), options.out.with_suffix(".csv"))
    except SerscopeError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    print(table.query("cue == 'all' and predicted == 'all'").to_string(index=False))
    print(f"written: {options.out}")
    return 0


def _parts(options: argparse.Namespace) -> list[Part]:
    """Return the parts in turn over models and corpora, so that a stopped run is as far with each."""
    from explain.attribution import methods_for
    from ser_core.models import load_model, model_names

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


def stored(fresh: "pd.DataFrame", out: Path) -> "pd.DataFrame":
    """Write the rows, with those of an earlier run that these do not replace; returns all."""
    import pandas as pd

    out.parent.mkdir(parents=True, exist_ok=True)
    earlier = stored_table(out)
    if earlier is not None:
        keys = [key for key in ("model", "method", "experiment", "corpus") if key in fresh]
        again = earlier.set_index(keys).index.isin(fresh.set_index(keys).index)
        fresh = pd.concat([earlier[~again], fresh], ignore_index=True)
    write_table(fresh, out)
    return fresh


if __name__ == "__main__":
    sys.exit(main())
