"""How large a gap between two groups has to be before the numbers of speakers at hand would show it.

Two ways: :func:`power_of_gap` from the spread of the speakers at hand (Student's noncentral t with the spread of both
groups pooled, as the permutation test pools them; Cohen 1988, chapter 2), which the pages state beside a comparison;
and :func:`simulate`, which makes predictions up, sends them through the very rule of
:mod:`ser_core.group_differences`, and counts: ``python -m ser_core power``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from scipy import stats

from ser_core.files import write_table
from ser_core.group_differences import LEVEL, SPREADS, Evidence, Grouping, Measure, differences, measures_of
from ser_core.results import RESULTS

TABLE = "power.csv"
SIZES = ((5, 5), (9, 9), (45, 46), (61, 7))
WANTED = 0.8
DEALS = 10_000
"""As ``group_differences.differences`` makes them."""
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


@dataclass(frozen=True)
class Power:
    """What two groups of speakers can show.

    sizes: of the groups. deviation: of a measure between the speakers of one group. level: of p. of_ten_points: the
    chance that a true gap of 0.1 is found. smallest: the gap that is found in 80 of 100 repetitions; NaN where even the
    largest gap could not be, as so few speakers can be dealt in too few ways.
    """

    sizes: tuple[int, int]
    deviation: float
    level: float
    of_ten_points: float
    smallest: float


def power_of_gap(
    first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray, *, level: float = LEVEL
) -> Power:
    """Return what can be found between two groups, from one value a speaker such as the speaker's own UAR."""
    sizes = len(first), len(second)
    freedom = sum(sizes) - 2
    if min(sizes) < 2 or freedom < 1:
        return Power(sizes, float("nan"), level, 0.0, float("nan"))
    around = np.concatenate([np.asarray(values, dtype=float) - np.mean(values) for values in (first, second)])
    deviation = float(np.sqrt((around**2).sum() / freedom))
    if smallest_p(*sizes) > level:
        return Power(sizes, deviation, level, 0.0, float("nan"))
    error = deviation * float(np.sqrt(1 / sizes[0] + 1 / sizes[1]))
    if error == 0:
        return Power(sizes, deviation, level, 1.0, 0.0)

    def power(gap: float) -> float:
        limit = stats.t.ppf(1 - level / 2, freedom)
        return float(stats.nct.sf(limit, freedom, gap / error) + stats.nct.cdf(-limit, freedom, gap / error))

    low, high = 0.0, 1.0
    while power(high) < WANTED and high < 64:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle) < WANTED else (low, middle)
    return Power(sizes, deviation, level, power(0.1), high)


def powers(found: Evidence, measure: str, reference: str, tests: int) -> pd.DataFrame:
    """Return what could have been found between each group and the reference, by the spread of the speakers at hand.

    Args:
        found: what each speaker adds.
        measure: of ``group_differences.measures_of``.
        reference: the group that the others are set against.
        tests: comparisons that are corrected for; Holm's correction asks its first for the level over their number.

    Returns:
        group, speakers, reference_speakers, deviation (of the measure between the speakers of a group); detectable and
        power of a gap of 0.1 with this measure shown alone, and both as the first of all that is tested
        (``detectable_among``, ``power_among``); p_least, the smallest that so many speakers can give. Where speakers
        are in both groups (``shared`` of them) their own answers are exchanged, and none of this is worked out: NaN.
    """
    values = speaker_values(found, measures_of(found)[measure])
    base, rows = found.groups.index(reference), []
    for place, group in enumerate(found.groups):
        if place == base:
            continue
        alone = power_of_gap(values[base], values[place])
        among = power_of_gap(values[base], values[place], level=LEVEL / max(1, tests))
        shared = int(((found.clips[:, base] > 0) & (found.clips[:, place] > 0)).sum())
        told = {"deviation": alone.deviation, "detectable": alone.smallest, "power": alone.of_ten_points}
        told |= {"detectable_among": among.smallest, "power_among": among.of_ten_points}
        told |= {"p_least": smallest_p(*alone.sizes) if min(alone.sizes) else float("nan")}
        if shared:
            told = dict.fromkeys(told, float("nan"))
        sizes = {"speakers": alone.sizes[1], "reference_speakers": alone.sizes[0], "shared": shared}
        rows.append({"group": group} | sizes | told)
    return pd.DataFrame(rows)


def of_table(compared: Sequence[Grouping], tested: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`powers` of every grouping and measure, after ``by`` and ``measure``.

    Not of the calibration error (ECE), which says nothing of one speaker.

    Args:
        compared: of ``group_differences.groupings``.
        tested: of ``group_differences.of_table``, for how many comparisons are corrected for.
    """
    tables = []
    for found, reference, shown in compared:
        tests = int(tested.loc[tested["by"] == found.attribute, "p"].notna().sum())
        for measure in (each for each in shown if each != "ECE"):
            table = powers(found, measure, reference, tests)
            table.insert(0, "measure", measure)
            table.insert(0, "by", found.attribute)
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def smallest_p(first: int, second: int) -> float:
    """Return the smallest two-sided p that ``DEALS`` deals of two groups of these sizes can give."""
    ways = comb(first + second, first)
    return max((2 if first == second else 1) / ways, 1 / (DEALS + 1))


def made_up(
    sizes: tuple[int, int],
    gap: float,
    random: np.random.Generator,
    *,
    skill: float = 0.65,
    deviation: float = 0.08,
    clips: int = 13,
) -> Evidence:
    """Return made-up answers of two groups of speakers about six emotions, of CREMA-D's size: 13 clips of each.

    A speaker's recall of each emotion is drawn around ``skill`` with a deviation of ``deviation`` that all emotions of
    the speaker share, and another as large for each emotion; in the second group it is ``gap`` lower. Misses fall on
    the other emotions alike.
    """
    count, classes = sum(sizes), len(CLASSES)
    second = np.arange(count) >= sizes[0]
    recall = skill + random.normal(0, deviation, (count, 1)) + random.normal(0, deviation, (count, classes))
    recall = np.clip(recall - gap * second[:, None], 0.02, 0.98)
    chances = np.where(np.eye(classes, dtype=bool), recall[..., None], ((1 - recall) / (classes - 1))[..., None])
    answers = random.multinomial(clips, chances).astype(float)
    placed = np.zeros((count, 2, classes, classes))
    placed[np.arange(count), second.astype(int)] = answers
    names = tuple(f"{number:03d}" for number in range(count))
    none = np.zeros((count, 2, 0, 3))
    return Evidence("group", ("one", "other"), names, placed.sum(axis=(2, 3)), CLASSES, placed, none, {})


def simulate(
    sizes: Sequence[tuple[int, int]] = SIZES,
    gaps: Sequence[float] = (0.0, 0.1),
    *,
    runs: int = 1000,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how often made-up predictions are flagged, by sizes of the groups and true gap.

    Args:
        sizes: numbers of speakers of the two groups.
        gaps: true gaps in recall.
        runs: made-up corpora a row.
        replicates: deals of the groups in each.
        seed: of everything.

    Returns:
        first, second, gap, runs; for each of "any" (one or more findings among UAR, the recalls and the gap measures,
        which is all that is shown), "uar" (UAR is a finding among them) and "alone" (UAR with nothing else shown): its
        share of the runs, and <name>_low and <name>_high, Wilson's 95 % interval; deviation (of the speakers' own UAR);
        and what ``power_of_gap`` expects of "alone".
    """
    shown = ("UAR", *(f"recall of {name}" for name in CLASSES))
    rows = []
    for first, second in sizes:
        for gap in gaps:
            random = np.random.default_rng([seed, first, second, round(1000 * gap)])
            hits: dict[str, int] = {"any": 0, "uar": 0, "alone": 0}
            expected, spread = [], []
            for run in range(runs):
                found = made_up((first, second), gap, random)
                table = differences(found, "one", shown, SPREADS, replicates=replicates, intervals=False, seed=run)
                uar = table[(table["measure"] == "UAR") & (table["group"] == "other")].iloc[0]
                hits["any"] += bool(table["finding"].any())
                hits["uar"] += bool(uar["finding"])
                hits["alone"] += bool(uar["p"] <= LEVEL)
                own = speaker_values(found, measures_of(found)["UAR"])
                stated = power_of_gap(own[0], own[1])
                expected.append(stated.of_ten_points)
                spread.append(stated.deviation)
            row = {"first": first, "second": second, "gap": gap, "runs": runs}
            for name, count in hits.items():
                interval = stats.binomtest(count, runs).proportion_ci(method="wilson")
                row |= {name: count / runs, f"{name}_low": interval.low, f"{name}_high": interval.high}
            row |= {"deviation": float(np.mean(spread))}
            rows.append(row | {"expected": float(np.mean(expected)) if gap == 0.1 else float("nan")})
    return pd.DataFrame(rows)


def speaker_values(found: Evidence, measure: Measure) -> tuple[np.ndarray, ...]:
    """Return a measure of each group's speakers alone, one array a group; speakers without a value are left out."""
    values = [measure.statistic(measure.tensors[found.clips[:, k] > 0, k]) for k in range(len(found.groups))]
    return tuple(each[np.isfinite(each)] for each in values)


def write(runs: int = 1000) -> pd.DataFrame:
    """Simulate, store the table in ``assets/results/power.csv``, and return it."""
    table = simulate(runs=runs)
    write_table(table, RESULTS / TABLE, float_format="%.4f")
    return table


def read_table() -> pd.DataFrame:
    """Return the stored simulation; empty where none has been run."""
    path = RESULTS / TABLE
    return pd.read_csv(path) if path.exists() else pd.DataFrame()
