"""How far a model's explanation drifts when the same sound comes later.

A model with a position table (Whisper, wav2vec 2.0) does not hear a clip the same at another place in its input. Half
a second of digital silence is put in front, the clip is explained again for the same class, and the new map and
regions are moved back by that half second: what differs then is drift. A network without positions has next to none.

``python -m explain.drift --corpus CREMA-D`` measures every neural model at hand and writes the table that the model
cards show.
"""

import argparse
import csv
import dataclasses
import functools
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_core.errors import ExplanationError, SettingError, command_line
from ser_core.files import whole
from ser_core.settings import ASSETS

if TYPE_CHECKING:
    from explain.attribution import Attribution
    from explain.regions import Region
    from ser_core.audio import Recording
    from ser_core.models import SpeechModel

SILENCE_S = 0.5
TABLE = ASSETS / "results" / "drift.csv"
METHOD = "integrated_gradients"


@dataclass(frozen=True)
class ClipDrift:
    """The drift of one clip, everything moved back by the silence.

    region_shifts_s: for each region of the clip, how far (≥ 0) the middle of its counterpart lies from its own in
        seconds; the counterpart is the region that overlaps it most, else the nearest.
    top_region_iou: overlap (0 … 1) of the clip's strongest region with its counterpart; NaN where there are no regions.
    top_stays: whether that counterpart is the strongest region, too; of two that are about as strong, either may be.
    map_correlation: Spearman's rank correlation of the two maps over the clip's own cells. Strided convolutions leave a
        comb in a map that moves with the silence modulo the stride, so it is below 1 for a network without positions
        where the silence is no multiple of its stride.
    probability_change: of the class that was predicted without the silence; with minus without.
    answer_changed: whether another class is predicted with the silence.
    """

    region_shifts_s: tuple[float, ...]
    top_region_iou: float
    top_stays: bool
    map_correlation: float
    probability_change: float
    answer_changed: bool


@dataclass(frozen=True)
class Drift:
    """The drift of a model over clips: medians, and the shares of top regions that stayed and answers that changed.

    region_shift_s and region_shift_p90_s are the median and the 90th percentile over all regions of all clips,
    probability_change the median of its size.
    """

    model: str
    method: str
    silence_s: float
    clips: int
    region_shift_s: float
    region_shift_p90_s: float
    top_region_iou: float
    top_stays: float
    map_correlation: float
    probability_change: float
    answers_changed: float

    @property
    def sentence(self) -> str:
        """What a model card says of it."""
        clips = f"{self.clips} clip{'' if self.clips == 1 else 's'}"
        return (
            f"Put {self.silence_s:g} s of silence in front: over {clips}, by {self.method.replace('_', ' ')}, regions "
            f"move by {1000 * self.region_shift_s:.0f} ms (median; 90 % of them by less than "
            f"{1000 * self.region_shift_p90_s:.0f} ms), the strongest region is found again with an overlap of "
            f"{100 * self.top_region_iou:.0f} % (median) and stays the strongest in {100 * self.top_stays:.0f} % of "
            f"the clips, the maps' rank correlation is {self.map_correlation:.2f}, the "
            f"probability of the answer changes by {100 * self.probability_change:.1f} points (median), and "
            f"{100 * self.answers_changed:.0f} % of the answers change."
        )


def clip_drift(model: "SpeechModel", recording: "Recording", method: str, *, silence_s: float = SILENCE_S) -> ClipDrift:
    """Return the drift of one clip for the class that is predicted without the silence.

    Raises:
        ExplanationError: the method does not fit the model, or gives it no time axis.
    """
    from explain.attribution import Target, attribute
    from explain.regions import iou, salient_regions
    from ser_core.audio import SAMPLE_RATE, from_samples

    lead = np.zeros(round(silence_s * SAMPLE_RATE), dtype=np.float32)
    later = from_samples(np.concatenate([lead, recording.samples]), SAMPLE_RATE, recording.name)
    answer, later_answer = model.predict(recording), model.predict(later)
    target = Target(answer.top)
    before, after = attribute(model, recording, target, method), attribute(model, later, target, method)
    if before.times_s is None or after.times_s is None:
        raise ExplanationError(f"{method} has no time axis on {model.name}, so there is nothing that could drift.")
    regions = salient_regions(before)
    moved = tuple(
        dataclasses.replace(region, start_s=region.start_s - silence_s, end_s=region.end_s - silence_s)
        for region in salient_regions(after)
    )
    top = counterpart(regions[0], moved) if regions else None
    return ClipDrift(
        region_shifts_s=region_shifts(regions, moved),
        top_region_iou=iou(regions[0], top) if top else 0.0 if regions else float("nan"),
        top_stays=top is not None and top.rank == 1,
        map_correlation=map_correlation(before, after, silence_s),
        probability_change=later_answer.probability(answer.top) - answer.probability(answer.top),
        answer_changed=later_answer.top != answer.top,
    )


def counterpart(region: "Region", moved: "Sequence[Region]") -> "Region | None":
    """Return the moved region that overlaps a region most, else the nearest in time; None where there are none."""
    from explain.regions import iou

    return max(moved, key=lambda other: (iou(region, other), -_distance_s(region, other)), default=None)


def region_shifts(regions: "Sequence[Region]", moved: "Sequence[Region]") -> tuple[float, ...]:
    """Return for each region the distance in s between its middle and that of its counterpart among the moved ones.

    Empty where there are none on one side.
    """
    found = [(region, counterpart(region, moved)) for region in regions]
    return tuple(_distance_s(region, other) for region, other in found if other is not None)


def _distance_s(region: "Region", other: "Region") -> float:
    return abs(region.start_s + region.end_s - other.start_s - other.end_s) / 2


def map_correlation(before: "Attribution", after: "Attribution", silence_s: float) -> float:
    """Return Spearman's rank correlation of the maps over the cells of ``before``.

    ``after`` is read ``silence_s`` seconds later, between columns by linear interpolation. NaN for a constant map.
    """
    from scipy.stats import spearmanr

    assert before.times_s is not None and after.times_s is not None
    first, second = np.atleast_2d(before.relevance), np.atleast_2d(after.relevance)
    same_place = np.stack([np.interp(before.times_s + silence_s, after.times_s, row) for row in second])
    if np.ptp(first) == 0 or np.ptp(same_place) == 0:
        return float("nan")
    return float(spearmanr(first.ravel(), same_place.ravel()).statistic)


def summarise(model: str, method: str, measured: Sequence[ClipDrift], *, silence_s: float = SILENCE_S) -> Drift:
    """Return the drift of a model from that of its clips; a figure that no clip has is NaN.

    Raises:
        ExplanationError: there are no clips.
    """
    if not measured:
        raise ExplanationError("Drift is measured over clips; give at least one.")
    shifts = [shift for clip in measured for shift in clip.region_shifts_s]
    return Drift(
        model=model,
        method=method,
        silence_s=silence_s,
        clips=len(measured),
        region_shift_s=_median(shifts),
        region_shift_p90_s=float(np.percentile(shifts, 90)) if shifts else float("nan"),
        top_region_iou=_median(clip.top_region_iou for clip in measured),
        top_stays=sum(clip.top_stays for clip in measured) / len(measured),
        map_correlation=_median(clip.map_correlation for clip in measured),
        probability_change=_median(abs(clip.probability_change) for clip in measured),
        answers_changed=sum(clip.answer_changed for clip in measured) / len(measured),
    )


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if value == value]
    return statistics.median(known) if known else float("nan")


# --- the table -------------------------------------------------------------------------------------------------------


@functools.cache
def read_table(path: Path = TABLE) -> tuple[Drift, ...]:
    """Return the rows of a drift table; none where there is no table."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Drift(
                model=row["model"],
                method=row["method"],
                clips=int(row["clips"]),
                **{name: float(row[name]) for name in _NUMBERS},
            )
            for row in csv.DictReader(file)
        )


_COLUMNS = tuple(field.name for field in dataclasses.fields(Drift))
_NUMBERS = tuple(name for name in _COLUMNS if name not in ("model", "method", "clips"))


def write_table(rows: Iterable[Drift], path: Path = TABLE) -> None:
    """Write rows into a drift table; rows of other models and methods that are there stay."""
    read_table.cache_clear()
    kept = {(row.model, row.method): row for row in (*read_table(path), *rows)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        out.writeheader()
        for key in sorted(kept):
            row = dataclasses.asdict(kept[key])
            out.writerow({name: f"{value:.4g}" if name in _NUMBERS else value for name, value in row.items()})
    read_table.cache_clear()


def fold_clips(corpus: Path, count: int) -> list[Path]:
    """Return files of CREMA-D's test fold 0, which the shipped weights never saw, spread evenly over its table.

    Raises:
        CorpusError: the folder is not CREMA-D.
        SettingError: it holds no clip of that fold.
    """
    from ser_core.corpora import read_corpus

    table = read_corpus(corpus, "crema_d").table
    files = dict(zip(table["name"], table["file"], strict=True))
    with (ASSETS / "folds" / "crema_d.csv").open(encoding="utf-8", newline="") as folds:
        clips = [row["clip"] for row in csv.DictReader(folds) if row["fold"] == "0" and row["clip"] in files]
    if not clips:
        raise SettingError(f"{corpus} holds no clip of test fold 0; give the folder of the whole CREMA-D.")
    return [Path(files[clips[place]]) for place in np.unique(np.linspace(0, len(clips) - 1, count).astype(int))]


# --- the command -----------------------------------------------------------------------------------------------------


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure drift and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain.drift", description="How far explanations drift in time.")
    parser.add_argument("--model", nargs="*", help="names or folders of models (default: every neural model at hand)")
    parser.add_argument("--clips", nargs="*", type=Path, help="recordings (default: the bundled samples)")
    parser.add_argument("--corpus", type=Path, help="folder of CREMA-D: adds clips of test fold 0")
    parser.add_argument("--count", type=int, default=24, help="how many of them (default: %(default)s)")
    parser.add_argument("--method", default=METHOD, help="attribution method (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=TABLE, help="table (default: %(default)s)")
    options = parser.parse_args(arguments)
    rows = _measure(options)
    write_table(rows, options.out)
    print(f"written: {options.out}")
    return 0


def _measure(options: argparse.Namespace) -> list[Drift]:
    from explain.samples import samples
    from ser_core.audio import read
    from ser_core.registry import load_model, model_names

    files = options.clips if options.clips is not None else [sample.path for sample in samples()]
    if options.corpus is not None:
        files = [*files, *fold_clips(options.corpus, options.count)]
    recordings = [read(file) for file in files]
    models = [load_model(name) for name in options.model or model_names()]
    rows = []
    for model in models:
        if options.model or model.axes.kind != "functionals":
            measured = []
            for recording in recordings:
                measured.append(clip_drift(model, recording, options.method))
                print(f"{model.name}: {len(measured)} of {len(recordings)} clips", file=sys.stderr, flush=True)
            rows.append(summarise(model.name, options.method, measured))
            print(f"{model.card.title}: {rows[-1].sentence}", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
