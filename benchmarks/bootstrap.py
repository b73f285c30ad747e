"""Our bootstrap over speakers against brute force, fairlearn and ``confidence-intervals``, on the same answers.

``python -m benchmarks.bootstrap`` prints intervals of UAR and of its gap between two groups, the time of one replicate,
and how long the fairness page takes to answer a changed filter with 100,000 predictions.

Brute force draws speakers with replacement, gathers their clips and counts again: the same interval within Monte-Carlo
error. fairlearn draws clips, as if each came from another speaker. ``confidence-intervals`` draws speakers, and clips
within each: two sources of chance, hence wider.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import recall_score

from ser_core import draws, metrics
from ser_core.evaluation import TABLES, in_common, read_stored
from ser_core.group_differences import attributes_of, differences, evidence
from ser_core.settings import ROOT
from ser_core.speakers import answers_of, emotions_of

TABLE = "whisper-tiny-statistics.crema_d.parquet"
REPLICATES = 10_000
GROUPS = ("race", "age group")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brute", type=int, default=1000, help="replicates of the brute-force bootstrap")
    parser.add_argument("--fairlearn", type=int, default=50, help="replicates of fairlearn")
    parser.add_argument("--intervals", type=int, default=300, help="replicates of confidence-intervals")
    chosen = parser.parse_args(arguments)
    rows = in_common(read_stored(TABLES / TABLE))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{TABLE}: {len(rows)} clips of {rows['speaker'].nunique()} speakers; load {load}\n")
    print(f"{'':34} {'UAR [95 %]':>24} {'gap by sex [95 %]':>27} {'a replicate':>13} {'ours is':>12}")
    ours, alone, both = our_own(rows)
    print(line("ours, speakers, UAR alone", REPLICATES, (ours[0], None), alone, alone))
    print(line("ours, speakers, both", REPLICATES, ours, both, both))
    for name, count, run, like in (
        ("brute force, speakers", chosen.brute, brute_force, both),
        ("fairlearn, clips", chosen.fairlearn, fairlearns, both),
        ("confidence-intervals, both stages", chosen.intervals, confidence_intervals, alone),
    ):
        found, slow = run(rows, count)
        print(line(name, count, found, slow, like), flush=True)
        if run is brute_force:
            print(agreement(ours, found, count))
    print()
    print(page(rows))


Limits = tuple[float, float]
Both = tuple[Limits | None, Limits | None]


def our_own(rows: pd.DataFrame) -> tuple[Both, float, float]:
    """Return the intervals of UAR and of the gap, and seconds a replicate for UAR alone and for both together."""
    found = evidence(rows, "sex", rows["sex"])
    whole = found.confusions.sum(axis=1)
    steps, limits = [], []
    for _ in range(5):
        draws._kept_draws.cache_clear()  # the others draw each time as well
        start = time.perf_counter()
        uar = metrics.speaker_bootstrap(whole, metrics.uar, replicates=REPLICATES)
        middle = time.perf_counter()
        gap = metrics.speaker_bootstrap(found.confusions, uar_gap, replicates=REPLICATES)
        steps.append((middle - start, time.perf_counter() - start))
        limits = [uar, gap]
    alone, both = np.median(steps, axis=0) / REPLICATES
    return (limits[0], limits[1]), float(alone), float(both)


def uar_gap(sums: np.ndarray) -> np.ndarray:
    """Return UAR of the first group minus that of the second (…) of (…, groups, classes, classes)."""
    apart: np.ndarray = metrics.uar(sums[..., 0, :, :]) - metrics.uar(sums[..., 1, :, :])
    return apart


def brute_force(rows: pd.DataFrame, replicates: int) -> tuple[Both, float]:
    """Draw speakers, gather their clips, ask scikit-learn."""
    truth, said, sex = rows["emotion"].to_numpy(), answers_of(rows).to_numpy(), rows["sex"].to_numpy()
    clips = [np.flatnonzero(rows["speaker"] == name) for name in sorted(rows["speaker"].unique())]
    random, drawn, start = np.random.default_rng(0), [], time.perf_counter()
    for _ in range(replicates):
        chosen = np.concatenate([clips[place] for place in random.integers(0, len(clips), len(clips))])
        values = [recall_score(truth[chosen], said[chosen], average="macro")]
        for group in ("female", "male"):
            of_group = chosen[sex[chosen] == group]
            values.append(recall_score(truth[of_group], said[of_group], average="macro"))
        drawn.append((values[0], values[1] - values[2]))
    each = (time.perf_counter() - start) / replicates
    uar, gap = np.percentile(drawn, [2.5, 97.5], axis=0).T
    return (tuple(uar), tuple(gap)), each


def fairlearns(rows: pd.DataFrame, replicates: int) -> tuple[Both, float]:
    """Let fairlearn draw clips."""
    from fairlearn.metrics import MetricFrame

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = MetricFrame(
            metrics=lambda t, p: recall_score(t, p, average="macro"),
            y_true=rows["emotion"],
            y_pred=answers_of(rows),
            sensitive_features=rows["sex"],
            n_boot=replicates,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )
        low, high = frame.overall_ci
        gap = tuple(float(value) for value in frame.difference_ci())
    return ((float(low), float(high)), gap), (time.perf_counter() - start) / replicates


def confidence_intervals(rows: pd.DataFrame, replicates: int) -> tuple[Both, float]:
    """Let ``confidence-intervals`` draw speakers, and clips within each; it has no gap between groups."""
    from confidence_intervals import evaluate_with_conf_int

    classes = emotions_of(rows)
    said = np.array([classes.index(name) for name in answers_of(rows)])
    truth = np.array([classes.index(name) for name in rows["emotion"]])
    who = pd.factorize(rows["speaker"])[0]
    start = time.perf_counter()
    _, limits = evaluate_with_conf_int(said, uar_of, truth, who, num_bootstraps=replicates, alpha=5)
    return (tuple(limits), None), (time.perf_counter() - start) / replicates


def uar_of(truth: np.ndarray, said: np.ndarray) -> float:
    """Return scikit-learn's unweighted average recall."""
    return float(recall_score(truth, said, average="macro"))


def line(name: str, replicates: int, found: Both, each: float, ours: float) -> str:
    """Return one row of the table."""
    uar, gap = (f"[{limits[0]:.4f}, {limits[1]:.4f}]" if limits else "–" for limits in found)
    width = f"{found[0][1] - found[0][0]:.4f} wide" if found[0] else ""
    faster = f"{each / ours:,.0f} × faster" if each > ours else ""
    return f"{f'{name}, {replicates:,}':34} {uar:>18} {width} {gap:>20} {1e6 * each:10,.1f} µs {faster:>16}"


def errors_apart(ours: Both, theirs: Both, replicates: int) -> list[float]:
    """Return how far each limit lies from ours, in Monte-Carlo errors of percentiles over so many replicates."""
    found = []
    for mine, other in zip(ours, theirs, strict=True):
        assert mine and other
        # The standard error of a normal sample's 2.5 % point is 2.67 deviations over √n; 3.92 deviations are the width.
        error = 2.67 * (other[1] - other[0]) / 3.92 / np.sqrt(replicates)
        found += [abs(mine[side] - other[side]) / error for side in (0, 1)]
    return found


def agreement(ours: Both, theirs: Both, replicates: int) -> str:
    """Return how far the limits lie apart, in Monte-Carlo errors of the brute-force percentiles."""
    said = ", ".join(f"{value:.1f}" for value in errors_apart(ours, theirs, replicates))
    return f"{'':34} limits differ from ours by {said} Monte-Carlo errors"


def page(rows: pd.DataFrame) -> str:
    """Return how long the fairness page takes to answer a changed filter with 100,000 predictions."""
    from streamlit.testing.v1 import AppTest

    from pages.parts.predictions import OWN, Chosen

    many = pd.concat([rows] * (100_000 // len(rows) + 1), ignore_index=True).iloc[:100_000]
    start = time.perf_counter()
    attributes = attributes_of(many)
    found = evidence(many, "age group", attributes["age group"])
    differences(found, found.groups[0], ["UAR", *(f"recall of {name}" for name in found.classes)], ["TPR gap"])
    alone = time.perf_counter() - start
    app = AppTest.from_file(str(ROOT / "pages" / "fairness.py"), default_timeout=120)
    app.session_state["predictions-source"] = OWN
    app.session_state["own predictions"] = Chosen("benchmark", many, "benchmark")
    app.run()
    times = [timed(lambda group=group: app.selectbox(key="fairness-attribute").select(group).run()) for group in GROUPS]
    assert not app.exception
    return (
        f"100,000 predictions: all figures of one choice from scratch {alone:.2f} s; the fairness page redrawn after "
        f"another group was chosen {times[0]:.2f} s, again with the next {times[1]:.2f} s"
    )


def timed(step: Callable[[], object]) -> float:
    """Return the seconds of a step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
