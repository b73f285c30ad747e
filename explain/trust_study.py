"""Which method to offer first: the trust tests of :mod:`explain.trust` over many clips, for each model and method.

Every clip's answer is explained by every method, and each map (or relevance of named features) is put to the three
tests of faithfulness: deletion, insertion, randomised weights. The control is the map of the destroyed model, put to
the same deletion and insertion on the intact model: it sees the clip and knows nothing of what the model has learned,
so what it passes is no evidence about the model. Chance is drawn per clip, by 19 random places of the same shapes (or
sets of features) instead of the page's 39: "holds" has the same 5 % under chance, at a little less power. A map that
follows the spectrum of speech without knowing the model passes more often, which is what the control shows.

Parts are kept per model × method × 5 clips, so a stopped run goes on; :mod:`explain.trust_study_command` says which
are run and where their rows are stored.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from explain.method_choice import ALL, DESTROYED, OWN
from explain.study_clips import Clip
from ser_core.errors import SerscopeError
from ser_core.files import checksum, stored_table, write_table
from ser_core.parallel import HERE, Workers, as_done, check_present

if TYPE_CHECKING:
    import pandas as pd

    from explain.attribution import Attribution, Target
    from explain.verdicts import Test
    from ser_core.audio import Recording
    from ser_core.models import SpeechModel
    from ser_core.speech import Segment

Removals = Callable[["Attribution"], "tuple[Test, ...]"]

DRAWS = 19
CHUNK = 5
CONTROLS = 60


def clip_rows(
    clip: Clip,
    number: int,
    model: "SpeechModel",
    method: str,
    *,
    broken: "SpeechModel | None" = None,
    draws: int = DRAWS,
    controls: int = CONTROLS,
) -> list[dict]:
    """Return one row per map and test of one clip's explanation by one method.

    Columns: number (place in the order of :func:`explain.study_clips.in_turn`), clip, corpus, speaker, emotion,
    predicted, explained, model, method, map ("own" or "of the destroyed model"), test, value, unit, threshold, p,
    verdict, regions, draws, and seconds of one processor that the clip took by this method, without the control
    (NaN where an encoder that other models share had answered before).

    Args:
        clip: the clip.
        number: its place among the clips.
        model: the model.
        method: an attribution method that fits it.
        broken: the destroyed model, if it is at hand.
        draws: random places.
        controls: only clips before this place have the control.
    """
    from ser_core.shared_encoders import RememberingEncoder

    recording, speech = _heard(clip.file)
    started = time.process_time()
    constant, found = _explained(clip, number, model, method)
    removals = removals_of(model, recording, speech, found, draws)
    tests, other = faithfulness(model, recording, found, removals, broken)
    shared = any(isinstance(module, RememberingEncoder) for module in model.network.modules())
    seconds = float("nan") if shared else time.process_time() - started
    constant |= {"draws": draws, "seconds": seconds}
    rows = [constant | {"map": OWN, "regions": _salient(found)} | _row(test) for test in tests]
    if other is not None and number < controls:
        rows += [constant | {"map": DESTROYED, "regions": _salient(other)} | _row(test) for test in removals(other)]
    return rows


def further_rows(clip: Clip, number: int, model: "SpeechModel", method: str) -> list[dict]:
    """Return one row per test of :func:`explain.trust.further_tests` of one clip, with the columns of `clip_rows`.

    Its seconds are NaN: what a clip takes by one method is shared with the others that it is put to.
    """
    from explain.trust import further_tests

    recording, speech = _heard(clip.file)
    constant, found = _explained(clip, number, model, method)
    tests = further_tests(
        model, recording, found, speech, by_method=lambda other: _map(clip.file, model, found.target, other)
    )
    constant |= {"map": OWN, "regions": _salient(found), "seconds": float("nan")}
    return [constant | {"draws": len(test.null)} | _row(test) for test in tests]


def _explained(clip: Clip, number: int, model: "SpeechModel", method: str) -> "tuple[dict, Attribution]":
    """Return the columns that all rows of a clip share, and its explanation."""
    from explain.attribution import default_target

    recording, _ = _heard(clip.file)
    prediction = model.predict(recording)
    target = default_target(prediction)
    constant = {
        "number": number,
        "clip": Path(clip.file).stem,
        "corpus": clip.corpus,
        "speaker": clip.speaker,
        "emotion": clip.emotion,
        "predicted": prediction.top,
        "explained": target.name,
        "model": model.name,
        "method": method,
    }
    return constant, _map(clip.file, model, target, method)


@lru_cache(maxsize=16)
def _map(file: str, model: "SpeechModel", target: "Target", method: str) -> "Attribution":
    """Return a clip's explanation; kept, as tests of agreement ask for it again."""
    from explain.attribution import attribute

    recording, _ = _heard(file)
    return attribute(model, recording, target, method)


def faithfulness(
    model: "SpeechModel",
    recording: "Recording",
    found: "Attribution",
    removals: "Removals",
    broken: "SpeechModel | None" = None,
) -> "tuple[tuple[Test, ...], Attribution | None]":
    """Return deletion, insertion and randomised weights of one map, and the map of the destroyed model.

    Args:
        model: the model.
        recording: the clip.
        found: the map.
        removals: of :func:`removals_of`.
        broken: the destroyed model, if it is at hand.
    """
    from explain.map_changes import destroyed_map, unlike, unrelated

    tests = removals(found)
    other = destroyed_map(model, recording, found, broken=broken)
    return (*tests, unlike(found, other, unrelated(found, np.random.default_rng(0)))), other


def removals_of(
    model: "SpeechModel",
    recording: "Recording",
    speech: "Sequence[Segment]",
    explained: "Attribution",
    draws: int = DRAWS,
) -> "Removals":
    """Return what puts a map of the clip, with the target and axes of ``explained``, to deletion and insertion."""
    from explain.attribution import feature_masking, masking
    from explain.named_features import feature_tests
    from explain.regions import salient_regions
    from explain.removal import region_tests

    if explained.axes == "features":
        logits = feature_masking(model, recording, explained.target)
        return lambda found: feature_tests(
            logits,
            found.relevance,
            np.random.default_rng(0),
            draws=draws,
            with_curves=False,
            unit=explained.target.unit,
        )[0]
    cells = masking(model, recording, explained.target)

    return lambda found: region_tests(
        cells, salient_regions(found), speech, np.random.default_rng(0), draws=draws, with_curves=False
    )[0]


def _salient(found: "Attribution") -> int:
    from explain.named_features import salient_features
    from explain.regions import salient_regions

    return len(salient_features(found.relevance) if found.axes == "features" else salient_regions(found))


def _row(test: "Test") -> dict:
    names = ("value", "unit", "threshold", "p", "verdict")
    return {"test": test.name} | {name: getattr(test, name) for name in names}


@lru_cache(maxsize=500)
def _heard(file: str) -> "tuple[Recording, tuple[Segment, ...]]":
    from ser_core.audio import read
    from ser_core.speech import speech_segments

    recording = read(file)
    return recording, tuple(speech_segments(recording))


def run(
    clips: Sequence[Clip],
    asked: Sequence[str],
    methods: Sequence[str],
    runs: Path,
    tell: Callable[[str], None],
    by: Workers = HERE,
    *,
    further: bool = False,
    over: Callable[[], bool] = lambda: False,
) -> "pd.DataFrame | None":
    """Return the rows of all clips; parts that are done are read from ``runs``, so a stopped study goes on.

    Parts that were measured with other weights are measured anew. None where the time was over before all was done.

    Args:
        clips: to explain.
        asked: names or folders of models that take each clip in turn, so that they share what an encoder gave.
        methods: of attribution, which take each clip in turn, too.
        runs: keeps the parts.
        tell: is told how far the study is, and why a clip is left out.
        by: who does the work; on a cluster every machine needs model and clips under the same paths.
        further: :func:`further_rows` instead of :func:`clip_rows`.
        over: is asked after each part whether to stop.
    """
    import pandas as pd

    chunks = [(start, clips[start : start + CHUNK]) for start in range(0, len(clips), CHUNK)]
    stores = {
        (name, method): [_store(runs, name, method, further, *chunk) for chunk in chunks]
        for name in asked
        for method in methods
    }
    tasks: list[_Task] = []
    for place, (start, chunk) in enumerate(chunks):
        if missing := tuple(one for one in stores if not _holds(stored_table(stores[one][place]), one[0], tell)):
            tasks.append((start, chunk, missing, further))
    done = len(clips) - sum(len(task[1]) for task in tasks)
    weights = {name: weights_of(name) for name in asked}
    for number, (rows, left_out) in as_done(_part, tasks, by):
        start, chunk, missing, *_ = tasks[number]
        for words in left_out:
            tell(words)
        for one in missing:
            _write(pd.DataFrame(rows[one]).assign(weights=weights[one[0]]), stores[one][start // CHUNK])
        done += len(chunk)
        names, kinds = (", ".join(dict.fromkeys(part)) for part in zip(*missing, strict=True))
        tell(f"{names}, {kinds}{' (further)' if further else ''}: {done} of {len(clips)} clips")
        if done < len(clips) and over():
            return None
    return pd.concat([pd.read_parquet(store) for one in stores.values() for store in one], ignore_index=True)


@lru_cache(maxsize=64)
def weights_of(name: str) -> str:
    """Return twelve digits of the SHA-256 over the weights of a model's folder; "" for one that has no folder."""
    from ser_core.cards import weight_files
    from ser_core.registry import model_folders

    folder = model_folders().get(name) or Path(name)
    sums = [checksum(path) for path in weight_files(folder)]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:12] if sums else ""


def _holds(rows: "pd.DataFrame | None", name: str, tell: Callable[[str], None]) -> bool:
    """Return whether rows are there and of the model's weights; rows stored before these were noted are taken as such.

    ``tell`` is told where they are of other weights, or where that is not known.
    """
    if rows is None:
        return False
    found = set(rows["weights"].dropna()) - {""} if "weights" in rows else set()
    if found <= {weights_of(name)}:
        if not found and weights_of(name):
            tell(f"{Path(name).name}: rows from before weights were noted are taken as of the weights at hand.")
        return True
    tell(f"{Path(name).name}: rows measured with other weights than those at hand are measured anew.")
    return False


def take_over(table: Path, clips: Sequence[Clip], runs: Path, tell: Callable[[str], None] = print) -> None:
    """Write the parts whose clips a stored table holds, so that a study goes on where its parts are lost.

    Rows that were measured with other weights than those at hand are left out, and ``tell`` is told.
    """
    import pandas as pd

    from explain.trust import QUICK

    told: set[str] = set()

    def tell_once(words: str) -> None:
        if words not in told:
            told.add(words)
            tell(words)

    rows = pd.read_parquet(table)
    rows["further"] = ~rows["test"].isin(QUICK)
    rows["start"] = rows["number"] // CHUNK * CHUNK
    for key, part in rows.groupby(["model", "method", "further", "start"]):
        name, method, further, start = cast(tuple[str, str, bool, int], key)
        if not _holds(part, name, tell_once):
            continue
        chunk = clips[start : start + CHUNK]
        store = _store(runs, name, method, further, start, chunk)
        if {Path(clip.file).stem for clip in chunk} == set(part["clip"]) and stored_table(store) is None:
            _write(part.drop(columns=["further", "start"]), store)


def _store(runs: Path, name: str, method: str, further: bool, start: int, chunk: Sequence[Clip]) -> Path:
    kind = f"{method}-further" if further else method
    return runs / f"{Path(name).name}-{kind}-{chunk[0].corpus}-{start:04d}-{len(chunk)}.parquet"


_Task = tuple[int, Sequence[Clip], tuple[tuple[str, str], ...], bool]
"""The place of the first clip, the clips, each model with a method, and whether further tests are asked for."""


def _part(task: _Task) -> tuple[dict[tuple[str, str], list[dict]], list[str]]:
    """Return the rows of some clips by model and method, and why others are left out."""
    start, clips, asked, further = task
    check_present(clip.file for clip in clips)
    models = _models(tuple(dict.fromkeys(name for name, _ in asked)), further)
    rows: dict[tuple[str, str], list[dict]] = {one: [] for one in asked}
    left_out = []
    for number, clip in enumerate(clips, start):
        for name, method in asked:
            model, broken = models[name]
            try:
                rows[name, method] += (
                    further_rows(clip, number, model, method)
                    if further
                    else clip_rows(clip, number, model, method, broken=broken)
                )
            except SerscopeError as fault:
                left_out.append(f"{Path(clip.file).name} left out for {name}: {fault}")
    return rows, left_out


@lru_cache(maxsize=1)
def _models(asked: tuple[str, ...], further: bool) -> "dict[str, tuple[SpeechModel, SpeechModel | None]]":
    """Return each model and its destroyed copy (None for the further tests, which destroy nothing).

    Several models share what their encoders gave, and so do the methods of the further tests.
    """
    from explain.map_changes import destroyed
    from ser_core.registry import load_model
    from ser_core.shared_encoders import on_shared_encoders

    models = [load_model(name) for name in asked]
    if further:
        return {name: (model, None) for name, model in zip(asked, on_shared_encoders(models), strict=True)}
    models += [destroyed(model) for model in models]
    if len(asked) > 1:
        models = on_shared_encoders(models)
    return dict(zip(asked, zip(models[: len(asked)], models[len(asked) :], strict=True), strict=True))


def _write(rows: "pd.DataFrame", store: Path) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    write_table(rows, store)


def summary(rows: "pd.DataFrame", *, replicates: int = 10_000) -> "pd.DataFrame":
    """Return the share of clips whose map passes each test, and all three, by model, method and map.

    Columns: model, method, map, test ("all": each test of faithfulness holds), clips, speakers, holds with low and
    high, its 95 % interval over speakers, weak, fails and undecided (shares of the clips; what cannot be decided has
    not passed), and seconds (of one processor, median of a clip).
    """
    import pandas as pd

    from explain.trust import QUICK
    from explain.verdicts import FAILS, HOLDS, UNDECIDED, WEAK
    from ser_core.metrics import speaker_bootstrap

    order = {UNDECIDED: 0, FAILS: 1, WEAK: 2, HOLDS: 3}
    keys = ["model", "method", "map"]
    per_clip = rows.assign(rank=rows["verdict"].map(order)).reset_index(drop=True)
    # A clip passes all tests as well as it passes the worst of them.
    faithful = per_clip[per_clip["test"].isin(QUICK)]
    worst = faithful.loc[faithful.groupby([*keys, "corpus", "clip"])["rank"].idxmin()].assign(test=ALL)
    found = []
    for key, part in pd.concat([per_clip, worst]).groupby([*keys, "test"], sort=False):
        sums = part.assign(hit=part["verdict"] == HOLDS, one=1.0).groupby("speaker")[["hit", "one"]].sum()
        low, high = speaker_bootstrap(
            sums.to_numpy(dtype=float), lambda s: s[..., 0] / s[..., 1], replicates=replicates
        )
        shares = part["verdict"].value_counts(normalize=True)
        found.append(
            {
                **dict(zip([*keys, "test"], key, strict=True)),
                "clips": len(part),
                "speakers": part["speaker"].nunique(),
                "holds": shares.get(HOLDS, 0.0),
                "low": low,
                "high": high,
                "weak": shares.get(WEAK, 0.0),
                "fails": shares.get(FAILS, 0.0),
                "undecided": shares.get(UNDECIDED, 0.0),
                "seconds": part["seconds"].median(),
            }
        )
    return pd.DataFrame(found)
