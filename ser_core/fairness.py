"""Whom does a model fail? Gaps between groups of speakers, with intervals and tests that know clips come from speakers.

Conventions: a speaker's answers are a confusion matrix (classes, classes), rows the truth; a group's matrix is the sum
over its speakers. Measures take (…, groups, classes, classes) and return (…). The gap of a rate is its largest value
over the groups minus its smallest, per emotion; over the emotions it is the root of the mean square. Such a gap is
never negative and never quite 0, so each stands beside ``chance``, its mean when groups are dealt to the speakers at
random, and p, how often such a deal gives a gap as large; the interval alone must not decide.

Speakers are drawn with replacement (one stage, 10,000 times): a replicate is a weighted sum of per-speaker tensors, so
nothing is recomputed from rows.

Sources: equal opportunity and equalised odds, Hardt, Price & Srebro 2016, arXiv:1610.02413; demographic parity and
"between groups" differences as in fairlearn; root mean square over emotions as in CO-VADA; Holm 1979, "A simple
sequentially rejective multiple test procedure"; p-values of permutations, Phipson & Smyth 2010.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core import metrics
from ser_core.bundled import PLANS
from ser_core.corpora import read_corpus
from ser_core.draws import draws, orders, p_of_deals, summed
from ser_core.errors import SettingError
from ser_core.files import write_table
from ser_core.metrics import Interval
from ser_core.results import CHANGES, RESULTS, figures, kind_of, labels_of, paired_change, read_study
from ser_core.splits import speaker_table

Measure = Callable[[np.ndarray], np.ndarray]
"""From (…, groups, classes, classes) confusion matrices to (…) values."""

FEWEST_SPEAKERS = 15
AGE_GROUPS = ((0.0, "under 30"), (30.0, "30 to 44"), (45.0, "45 and over"))
ATTRIBUTES = ("sex", "age group", "race", "ethnicity", "language")


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which speaker belongs to which group; ``member`` is boolean (groups, speakers), speakers in sorted order.

    A speaker whose group is not known belongs to none.
    """

    attribute: str
    names: tuple[str, ...]
    member: np.ndarray

    @property
    def speakers(self) -> tuple[int, ...]:
        """Number of speakers of each group."""
        return tuple(int(count) for count in self.member.sum(axis=1))

    @property
    def too_small(self) -> tuple[str, ...]:
        """Groups of fewer than 15 speakers: nothing should be concluded from them."""
        return tuple(name for name, count in zip(self.names, self.speakers, strict=True) if count < FEWEST_SPEAKERS)


@dataclass(frozen=True)
class Gap:
    """A gap, or its change, with its interval over speakers and the chance of so large a one where there is none.

    p is NaN where nearly all deals leave nothing to compare.
    """

    interval: Interval
    p: float


def age_group(age: float) -> str:
    """Return "under 30", "30 to 44" or "45 and over"; each holds 15 or more of CREMA-D's actors."""
    return next(name for start, name in reversed(AGE_GROUPS) if age >= start)


def grouping(attribute: str, group_of: Mapping[str, str | float | None], speakers: Sequence[str]) -> Grouping:
    """Return a grouping of speakers.

    Args:
        attribute: what the groups differ in.
        group_of: group of each speaker; one who is missing, or whose group is NaN or "Unknown", is in none.
        speakers: all speakers whose answers there are, in sorted order.

    Raises:
        SettingError: fewer than two groups are left.
    """
    given = [group_of.get(speaker) for speaker in speakers]
    labels = ["" if pd.isna(label) or str(label).lower() == "unknown" else str(label) for label in given]
    names = tuple(sorted(set(labels) - {""}))
    if len(names) < 2:
        raise SettingError(f"Gaps in {attribute} need two groups or more; here is {', '.join(names) or 'none'}.")
    return Grouping(attribute, names, np.array([[label == name for label in labels] for name in names]))


def groupings(people: pd.DataFrame, speakers: Sequence[str]) -> tuple[Grouping, ...]:
    """Return the groupings that a corpus allows, by sex, age group, race, ethnicity and language.

    Where some groups of an attribute are too small and two or more are not, it comes a second time without them.

    Args:
        people: of ``splits.speaker_table``, indexed by speaker.
        speakers: those whose answers there are, in sorted order.
    """
    known = people.copy()
    known["age group"] = [None if pd.isna(age) else age_group(age) for age in people["age"]]
    found = []
    for attribute in ATTRIBUTES:
        column = {str(name): value for name, value in known[attribute].items()}
        try:
            whole = grouping(attribute, column, speakers)
        except SettingError:
            continue
        found.append(whole)
        large = [name not in whole.too_small for name in whole.names]
        if whole.too_small and sum(large) >= 2:
            names = tuple(name for name, keep in zip(whole.names, large, strict=True) if keep)
            found.append(Grouping(f"{attribute}, groups of {FEWEST_SPEAKERS} or more", names, whole.member[large]))
    return tuple(found)


def tpr_gaps(matrices: np.ndarray) -> np.ndarray:
    """Return per class (…, classes) how far the groups' recalls lie apart."""
    return _spread(metrics.recalls(matrices))


def fpr_gaps(matrices: np.ndarray) -> np.ndarray:
    """Return per class (…, classes) how far apart the groups' shares of other clips taken for it lie."""
    wrong = matrices.sum(axis=-2) - np.diagonal(matrices, axis1=-2, axis2=-1)
    others = matrices.sum(axis=(-2, -1))[..., None] - matrices.sum(axis=-1)
    return _spread(_share(wrong, others))


def dp_gaps(matrices: np.ndarray) -> np.ndarray:
    """Return per class (…, classes) how far apart lie the groups' shares of clips that are answered with it."""
    return _spread(_share(matrices.sum(axis=-2), matrices.sum(axis=(-2, -1))[..., None]))


def equalised_odds_gap(matrices: np.ndarray) -> np.ndarray:
    """Return the largest TPR or FPR gap (…) of any class; NaN where no class has one."""
    widest = np.fmax.reduce(np.concatenate([tpr_gaps(matrices), fpr_gaps(matrices)], axis=-1), axis=-1)
    return np.asarray(widest)


def macro_f1_gap(matrices: np.ndarray) -> np.ndarray:
    """Return how far apart (…) the groups' macro-F1 lie."""
    return _spread(metrics.macro_f1(matrices)[..., None])[..., 0]


def uar_gap(matrices: np.ndarray) -> np.ndarray:
    """Return how far apart (…) the groups' unweighted average recalls lie."""
    return _spread(metrics.uar(matrices)[..., None])[..., 0]


MEASURES: dict[str, Measure] = {
    "TPR gap": lambda matrices: _root_mean_square(tpr_gaps(matrices)),
    "DP gap": lambda matrices: _root_mean_square(dp_gaps(matrices)),
    "FPR gap": lambda matrices: _root_mean_square(fpr_gaps(matrices)),
    "equalised odds gap": equalised_odds_gap,
    "UAR gap": uar_gap,
    "macro-F1 gap": macro_f1_gap,
}
"""Gap measures by name; TPR, DP and FPR gaps are root mean squares over the emotions."""


def gaps(
    tensors: np.ndarray,
    groups: Grouping,
    measures: Mapping[str, Measure] | None = None,
    *,
    replicates: int = 10_000,
    seed: int = 0,
) -> dict[str, Gap]:
    """Return the gap of each measure between groups, beside what it is by chance.

    It has no interval: resampled speakers lie apart where the groups do not, so that percentiles of a largest less a
    smallest lie above the figure itself.

    Args:
        tensors: (speakers, classes, classes), as of ``metrics.speaker_confusions``.
        groups: of the same speakers.
        measures: by name; ``MEASURES`` if not given.
        replicates: deals for chance and p.
        seed: of the draws.
    """
    chosen = MEASURES if measures is None else measures
    placed = _placed(tensors, groups)
    known = groups.member.any(axis=0)
    deals = dealt(tensors[known], groups.member[:, known].argmax(axis=0), len(groups.names), replicates, seed)
    found = {}
    for name, measure in chosen.items():
        value, chance = float(measure(placed.sum(axis=0))), measure(deals)
        interval = Interval(value, float("nan"), float("nan"), baseline=0.0, chance=mean_of_known(chance))
        found[name] = Gap(interval, p_of_deals(chance, value))
    return found


def gap_changes(
    before: np.ndarray,
    after: np.ndarray,
    groups: Grouping,
    measures: Mapping[str, Measure] | None = None,
    *,
    replicates: int = 10_000,
    seed: int = 0,
) -> dict[str, Gap]:
    """Return how each gap changes from one model to another over the same speakers: after − before.

    The interval draws a speaker's answers of both models together; p exchanges the two models' answers of each speaker
    at random.

    Args:
        before: (speakers, classes, classes) of the first model.
        after: of the second, the same speakers in the same order.
        groups: of these speakers.
        measures: by name; ``MEASURES`` if not given.
        replicates: resamples for the interval and exchanges for p.
        seed: of the draws.

    Raises:
        SettingError: the two are not of the same speakers and classes.
    """
    if before.shape != after.shape:
        raise SettingError(f"A change is measured on the same speakers; here are {len(before)} and {len(after)}.")
    chosen = MEASURES if measures is None else measures
    one, other = _placed(before, groups), _placed(after, groups)
    resampled = summed(draws(len(one), replicates, seed), np.stack([one, other], axis=1))
    swaps = np.random.default_rng([seed, 2]).integers(0, 2, (replicates, len(one)))
    moved = summed(swaps, other - one)
    first, second = one.sum(axis=0) + moved, other.sum(axis=0) - moved
    found = {}
    for name, measure in chosen.items():
        value = float(measure(other.sum(axis=0)) - measure(one.sum(axis=0)))
        low, high = _limits(measure(resampled[:, 1]) - measure(resampled[:, 0]))
        swapped = np.abs(measure(second) - measure(first))
        found[name] = Gap(Interval(value, low, high, baseline=0.0, chance=0.0), p_of_deals(swapped, abs(value)))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method, in the order given.

    NaN, which is no test, stays and does not count.
    """
    tests = int((~np.isnan(p_values)).sum())
    order = np.argsort(p_values, kind="stable")[:tests]
    corrected, running = np.full(len(p_values), np.nan), 0.0
    for place, which in enumerate(order):
        running = max(running, (tests - place) * float(p_values[which]))
        corrected[which] = min(1.0, running)
    return corrected.tolist()


def answers(rows: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the sorted speakers of stored predictions and their confusion matrices (speakers, classes, classes).

    Args:
        rows: predictions "emotion" as ``ser_core.results`` describes them.
    """
    labels = labels_of(rows)
    given = rows[[f"p_{label}" for label in labels]].to_numpy(dtype=float).argmax(axis=1)
    speakers = rows["speaker"].tolist()
    tensors = metrics.speaker_confusions(rows["emotion"].tolist(), [labels[i] for i in given], speakers, labels)
    return tuple(sorted(set(speakers))), tensors


def change_table(
    before: pd.DataFrame, after: pd.DataFrame, people: pd.DataFrame, *, replicates: int = 10_000
) -> pd.DataFrame:
    """Return every gap before and after, and its change, with intervals over the same speakers.

    Columns: attribute, groups, too_small, measure; before, before_low, before_high (of measures that are no gap),
    before_chance, before_p; the same for after; change, change_low, change_high, change_p, change_p_holm.

    Raises:
        SettingError: the two are not of the same speakers.
    """
    (speakers, first), (others, second) = answers(before), answers(after)
    if speakers != others:
        raise SettingError("A change is measured on the same speakers; the two tables differ in theirs.")
    found = []
    for groups in groupings(people, speakers):
        old, new = gaps(first, groups, replicates=replicates), gaps(second, groups, replicates=replicates)
        for name, gap in gap_changes(first, second, groups, replicates=replicates).items():
            row: dict[str, object] = _words(groups) | {"measure": name}
            for when, figure in (("before", old[name]), ("after", new[name]), ("change", gap)):
                interval = figure.interval
                row |= {when: interval.value, f"{when}_low": interval.low, f"{when}_high": interval.high}
                row |= {f"{when}_p": figure.p} | ({} if when == "change" else {f"{when}_chance": interval.chance})
            found.append(row)
    table = pd.DataFrame(found)
    return table.assign(change_p_holm=holm(table["change_p"].tolist())) if len(table) else table


def overall_changes(before: pd.DataFrame, after: pd.DataFrame, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return UAR, WA and macro-F1 of all speakers before and after, and their change; columns as ``change_table``."""
    labels, found = labels_of(before), []
    old, new = (figures(rows, "emotion", labels, replicates=replicates) for rows in (before, after))
    for name in CHANGES:
        change = paired_change(before, after, name, replicates=replicates)
        row: dict[str, object] = {"attribute": "all speakers", "groups": "", "too_small": "", "measure": name}
        for when, interval in (("before", old[name]), ("after", new[name]), ("change", change)):
            row |= {when: interval.value, f"{when}_low": interval.low, f"{when}_high": interval.high}
            row |= {} if when == "change" else {f"{when}_chance": interval.chance}
        found.append(row)
    return pd.DataFrame(found)


def compare(before: str, after: str, corpus: Path, *, replicates: int = 10_000) -> pd.DataFrame:
    """Compare two bundled models over the speakers of their task; write and return the table.

    Args:
        before: name of a model whose out-of-fold predictions are stored.
        after: of another one of the same task.
        corpus: folder of the corpus, which knows sex, age, race and ethnicity.
        replicates: of bootstrap and permutations.

    Returns:
        The rows of ``overall_changes`` and ``change_table``, also in ``assets/results/fairness-<before>-<after>.csv``.

    Raises:
        SettingError: there is no bundled model ``after``, or a model answers with dimensions.
        CorpusError: a model has no stored predictions of the task, or the corpus cannot be read.
    """
    if after not in PLANS:
        raise SettingError(f"There is no bundled model {after}; there are {', '.join(PLANS)}.")
    task = PLANS[after].task
    rows = [read_study(f"{name}.{task}") for name in (before, after)]
    for name, each in zip((before, after), rows, strict=True):
        if kind_of(each) == "dimensions":
            raise SettingError(f"{name} answers with {', '.join(labels_of(each))}; choose models that name emotions.")
    people = speaker_table(read_corpus(corpus, task).table)
    changes = change_table(rows[0], rows[1], people, replicates=replicates)
    table = pd.concat([overall_changes(rows[0], rows[1], replicates=replicates), changes], ignore_index=True)
    write_table(table, RESULTS / f"fairness-{before}-{after}.csv", float_format="%.4f")
    return table


def _words(groups: Grouping) -> dict[str, object]:
    counted = zip(groups.names, groups.speakers, strict=True)
    return {
        "attribute": groups.attribute,
        "groups": ", ".join(f"{name} ({count})" for name, count in counted),
        "too_small": ", ".join(groups.too_small),
    }


def _placed(tensors: np.ndarray, groups: Grouping) -> np.ndarray:
    """Return (speakers, groups, classes, classes): a speaker's answers at the place of the own group, 0 elsewhere."""
    return groups.member.T[:, :, None, None] * tensors[:, None].astype(float)


def dealt(tensors: np.ndarray, group_of: np.ndarray, groups: int, replicates: int, seed: int) -> np.ndarray:
    """Return (replicates, groups, classes, classes) when the groups are dealt to the speakers at random."""
    deals = group_of.astype(np.min_scalar_type(groups))[orders(len(group_of), replicates, [seed, 1])[0]]
    return np.stack([summed(deals == group, tensors) for group in range(groups)], axis=1)


def _spread(values: np.ndarray) -> np.ndarray:
    """Return largest − smallest over the groups of (…, groups, classes), those without a value left out.

    NaN where fewer than two have one: a single group is not as good as another.
    """
    unknown = np.isnan(values)
    widest = np.where(unknown, -np.inf, values).max(axis=-2) - np.where(unknown, np.inf, values).min(axis=-2)
    return np.where((~unknown).sum(axis=-2) > 1, widest, np.nan)


def _root_mean_square(values: np.ndarray) -> np.ndarray:
    """Return the root mean square (…) over the classes that have a value."""
    known = ~np.isnan(values)
    return np.sqrt(_share((np.where(known, values, 0.0) ** 2).sum(axis=-1), known.sum(axis=-1)))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole; NaN where there is nothing."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def mean_of_known(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _limits(values: np.ndarray) -> tuple[float, float]:
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
