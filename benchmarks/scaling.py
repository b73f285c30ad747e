"""How much more two workers do than one, and what a million clips cost: ``python -m benchmarks.scaling --corpus …``.

Every kind of long work is done on the same clips by one and by two workers, from an empty cache, and its results are
compared bit for bit. A worker's first task, which loads libraries and weights, does not count. ``clips/s`` is the sum
of the workers' own rates by the clock; ``core ms a clip`` is processor time, which other work on the machine hardly
changes, and from which the core-hours of a million clips follow.
"""

import argparse
import contextlib
import datetime
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.predict_speed import processor
from explain import study, trust_study
from explain.study_clips import in_turn
from explain.study_parts import Part
from ser_core import evaluation, extraction, workers
from ser_core.corpora import read_corpus
from ser_core.files import write_text
from ser_core.parallel import ONE_THREAD, Workers, as_done
from ser_core.registry import load_model
from ser_core.settings import ROOT

DOC = ROOT / "docs" / "scaling.md"
START, END = "<!-- measured -->\n", "<!-- /measured -->"
CLOCKED = ("seconds",)  # columns that hold times


@dataclass(frozen=True)
class Work:
    """One kind of work: its tasks, how many clips each holds, and the command that does it."""

    title: str
    function: Callable[[Any], Any]
    tasks: Sequence[Any]
    clips: int
    command: str


@dataclass(frozen=True)
class Timed:
    """What one task gave, and who did it when: monotonic seconds, and processor seconds."""

    result: Any
    process: int
    end_s: float
    took_s: float
    cpu_s: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of CREMA-D or RAVDESS")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers to compare")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of clips")
    parser.add_argument("--dask", action="store_true", help="workers of a local Dask cluster instead of processes")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOC.relative_to(ROOT)}")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # what this process does itself is set against workers of one thread
    workers.measure_here()
    rows = []
    for work in kinds(chosen.corpus, chosen.scale):
        first = None
        for count in chosen.workers:
            with tempfile.TemporaryDirectory() as cache, crew(count, cache, dask=chosen.dask) as by:
                timed = [
                    answer for _, answer in sorted(as_done(functools.partial(clocked, work.function), work.tasks, by))
                ]
            kept = [comparable(each.result) for each in timed]
            if first is not None and kept != first:
                raise SystemExit(f"{work.title}: {count} workers gave other results than {chosen.workers[0]}")
            first = kept
            rows.append(row(work, count, timed))
            print(rows[-1], flush=True)
    table = as_markdown(pd.DataFrame(rows))
    print(table)
    if chosen.write:
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        where = f"{processor()}, {os.cpu_count()} cores, load {load}, {datetime.date.today()}."
        before, _, rest = DOC.read_text(encoding="utf-8").partition(START)
        write_text(DOC, f"{before}{START}{table}\n\nMeasured on {where}\n{END}{rest.partition(END)[2]}")


def kinds(corpus: Path, scale: float) -> Iterator[Work]:
    """Yield the kinds of long work with tasks of a few clips each."""
    table = read_corpus(corpus).table.dropna(subset="file").sample(frac=1, random_state=0)
    files = [str(Path(file).absolute()) for file in table["file"]]

    def chunks(each: int, tasks: int) -> list[tuple[str, ...]]:
        return [tuple(files[each * i : each * (i + 1)]) for i in range(max(6, round(scale * tasks)))]

    for name in ("eGeMAPSv02", "ComParE_2016"):
        tasks: list[Any] = [(name, some) for some in chunks(5, 16)]
        command = f"python -m ser_core features --sets {name} --corpora FOLDER"
        yield Work(f"functionals, {name}", extracted, tasks, 5, command)
    for name in ("whisper-tiny.en", "whisper-base"):
        tasks = [(name, some) for some in chunks(16, 12)]
        command = f"python -m ser_core features --encoders {name} --corpora FOLDER"
        yield Work(f"encoder states, {name}", extracted, tasks, 16, command)
    for name in ("whisper-tiny-statistics", "egemaps-logistic", "log-mel-resnet"):
        tasks = [(name, [(file, file) for file in some]) for some in chunks(10, 16)]
        command = f"python -m ser_core evaluate --models {name} --corpora FOLDER"
        yield Work(f"evaluation, {name}", evaluation._answers_of, tasks, 10, command)
    name = "whisper-tiny-statistics"
    clips = in_turn(corpus.absolute(), load_model(name).emotions, 4 * max(6, round(scale * 16)))
    parts: list[Any] = [Part(name, ("input_x_gradient",), (clip,), i) for i, clip in enumerate(clips[::4])]
    command = f"python -m explain study --model {name} --method input_x_gradient --corpus FOLDER"
    yield Work("explanation study, Input × Gradient", study._rows_of, parts, 1, command)
    parts = [replace(part, methods=("integrated_gradients",)) for part in parts]
    command = command.replace("input_x_gradient", "integrated_gradients")
    yield Work("explanation study, Integrated Gradients", study._rows_of, parts, 1, command)
    tasks = [
        (trust_study.CONTROLS, [clip], (name,), "input_x_gradient", False) for clip in clips[:: 4 if scale < 1 else 8]
    ]
    command = f"python -m explain trust-study --model {name} --method input_x_gradient --corpus FOLDER"
    yield Work("trust study, Input × Gradient", trust_study._part, tasks, 1, command)


def extracted(task: extraction.Task) -> dict[str, bytes]:
    """Return the files that a task of ``extraction`` leaves in the cache, by their names."""
    stored, _ = extraction._extracted(task)
    return {Path(path).name: Path(path).read_bytes() for path in stored}


def clocked(function: Callable[[Any], Any], task: Any) -> Timed:
    """Do a task and note who did it and how long it took."""
    began, cpu = time.monotonic(), time.process_time()
    result = function(task)
    end = time.monotonic()
    return Timed(result, os.getpid(), end, end - began, time.process_time() - cpu)


@contextlib.contextmanager
def crew(count: int, cache: str, *, dask: bool) -> Iterator[Workers]:
    """Yield so many workers beside this process, which keep what they extract in the folder ``cache``."""
    before = os.environ.get("SERSCOPE_CACHE")
    os.environ["SERSCOPE_CACHE"] = cache
    try:
        if not dask:
            yield Workers(processes=count)
            return
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, env=ONE_THREAD
        ) as local:
            yield Workers(cluster=local.scheduler_address)
    finally:
        if before is None:
            del os.environ["SERSCOPE_CACHE"]
        else:
            os.environ["SERSCOPE_CACHE"] = before


def comparable(result: Any) -> Any:
    """Return a task's result in a form that equals another only where every bit does; times are left out."""
    if isinstance(result, pd.DataFrame):
        return result.to_csv(index=False, float_format="%.9g")
    if isinstance(result, tuple | list):
        return [comparable(part) for part in result]
    if isinstance(result, dict):
        return {key: comparable(value) for key, value in result.items() if key not in CLOCKED}
    return repr(result) if isinstance(result, float | np.floating) else result


def row(work: Work, count: int, timed: Sequence[Timed]) -> dict[str, Any]:
    """Return one line of the table; each worker's first task is left out."""
    rate, cpu, clips = 0.0, 0.0, 0
    for process in {each.process for each in timed}:
        own = sorted((each for each in timed if each.process == process), key=lambda each: each.end_s)
        later = own[1:]
        if later:
            rate += work.clips * len(later) / (later[-1].end_s - own[0].end_s)
            cpu += sum(each.cpu_s for each in later)
            clips += work.clips * len(later)
    return {"work": work.title, "workers": count, "clips": clips, "rate": rate, "cpu_ms": 1000 * cpu / clips} | {
        "command": work.command
    }


def as_markdown(rows: pd.DataFrame) -> str:
    """Return the table: one line a kind of work, the rates of every number of workers side by side."""
    counts = sorted(rows["workers"].unique())
    head = ["work", *(f"clips/s, {count} worker{'s' if count > 1 else ''}" for count in counts)]
    head += ["times as fast", "core ms a clip", "core-hours for 1 million clips", "command"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for title, part in rows.groupby("work", sort=False):
        rates = part.set_index("workers")["rate"]
        cpu = float(np.average(part["cpu_ms"], weights=part["clips"]))
        cells = [
            str(title),
            *(f"{rates[count]:.2f}" for count in counts),
            f"{rates[counts[-1]] / rates[counts[0]]:.2f}",
        ]
        cells += [f"{cpu:.0f}", f"{1e6 * cpu / 1000 / 3600:,.1f}", f"`{part['command'].iloc[0]}`"]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    main()
