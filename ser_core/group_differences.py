"""Each group of speakers against a reference group, by every measure, and the one rule by which a gap is a finding.

A speaker adds a tensor to the own group: a confusion matrix, calibration bins, or sums of errors of valence, arousal
and dominance. Intervals draw speakers with replacement (one stage: a speaker comes with all clips), 10,000 times, by
multinomial weights over these tensors: one matrix product. A speaker who is in several groups, such as a bilingual in
both languages, is drawn with all of them.

The rule: a gap is a finding where the permutation test of the speakers' groups gives p ≤ 0.05 after Holm's correction
over everything that is shown. The intervals alone must not decide: with few speakers they leave out 0 too often. A
speaker who is in both groups keeps the clips and exchanges the two groups' labels instead.

Sources: as in :mod:`ser_core.fairness`; reliability diagrams and ECE, Guo et al. 2017, arXiv:1706.04599.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_core import metrics
from ser_core.draws import draws, orders, p_of_deals, summed
from ser_core.errors import SettingError, short
from ser_core.fairness import ATTRIBUTES, FEWEST_SPEAKERS, MEASURES, age_group, dealt, holm, mean_of_known
from ser_core.results import kind_of, labels_of
from ser_core.speaker_cues import pitch_groups

LEVEL = 0.05
BINS = 15
MOST_GROUPS = 30
MOST_CELLS = 4_000
"""Groups × emotions², each of which is a number in every one of 10,000 replicates: what memory holds."""
SPREADS = ("TPR gap", "FPR gap", "DP gap", "equalised odds gap")
"""Gaps over all groups at once, of ``fairness.MEASURES``."""
NO_GROUPS = (
    "All that is known of these speakers is the same for all of them, so there are no groups to compare. Add columns "
    "sex, age, race, ethnicity or language to your table, or choose other speech."
)
NO_MEASURES = "These clips have no ratings to set the model's values against; choose other speech."


@dataclass(frozen=True, eq=False)
class Evidence:
    """What each speaker adds to each group.

    Attributes:
        attribute: what the groups differ in.
        groups: names, sorted.
        speakers: those who are in a group, sorted.
        clips: (speakers, groups) numbers of clips.
        classes: emotions, or none for dimensions.
        confusions: (speakers, groups, classes, classes), rows the truth; empty for dimensions.
        calibration: (speakers, groups, bins, 3): clips, right answers and confidences in bins of confidence.
        errors: dimension → (speakers, groups, 2): rated clips and sum of predicted − rated.
        further: measures of something else than answers, of tensors (speakers, groups, …).
    """

    attribute: str
    groups: tuple[str, ...]
    speakers: tuple[str, ...]
    clips: np.ndarray
    classes: tuple[str, ...]
    confusions: np.ndarray
    calibration: np.ndarray
    errors: dict[str, np.ndarray]
    further: "tuple[Measure, ...]" = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of speakers of each group."""
        return tuple(int(count) for count in (self.clips > 0).sum(axis=0))

    @property
    def largest(self) -> str:
        """The group with most speakers, which the others are set against unless somebody says otherwise."""
        return self.groups[max(range(len(self.groups)), key=lambda place: self.sizes[place])]

    def too_small(self, group: str) -> str:
        """Return why nothing should be concluded from a group; empty where it is large enough."""
        size = self.sizes[self.groups.index(group)]
        return "" if size >= FEWEST_SPEAKERS else f"{size} speakers, fewer than {FEWEST_SPEAKERS}"


@dataclass(frozen=True)
class Measure:
    """A figure of a group: its name, which tensors it comes from, and how."""

    name: str
    tensors: np.ndarray
    statistic: metrics.Statistic


def attributes_of(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return every way to group the clips of a table, and each clip's group; NaN where it is not known.

    Sex, age group, race, ethnicity, language, pitch (of the speaker, where the clips' cues are stored) and corpus where
    they differ; and two of them at once where two or more such groups have enough speakers. What makes more groups than
    memory holds is not among them; :func:`left_out` tells it.
    """
    most = _most_groups(rows)
    single = {name: groups for name, groups in _single(rows).items() if groups.nunique() <= most}
    both = {}
    for place, first in enumerate(single):
        for second in list(single)[place + 1 :]:
            one, other = single[first], single[second]
            together = (one.astype(str) + ", " + other.astype(str)).where(one.notna() & other.notna())
            sizes = rows["speaker"].groupby(together).nunique()
            if (sizes >= FEWEST_SPEAKERS).sum() > 1 and len(sizes) <= most:
                both[f"{first} and {second}"] = together
    return single | both


def left_out(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return a sentence for each way to group the clips that makes too many groups to be compared."""
    most = _most_groups(rows)
    return tuple(
        f"The speakers are not grouped by {name}: {count:,} groups, and at most {most} can be compared at "
        "once; join groups in your table."
        for name, groups in _single(rows).items()
        if (count := groups.nunique()) > most
    )


def _most_groups(rows: pd.DataFrame) -> int:
    emotions = sum(str(column).startswith("p_") for column in rows)
    return min(MOST_GROUPS, max(2, MOST_CELLS // max(1, emotions) ** 2))


def _single(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each clip's group by every one thing in which the clips differ; NaN where it is not known."""
    known = {name: rows[name] for name in ("sex", "race", "ethnicity", "language", "corpus") if name in rows}
    if "age" in rows:
        ages = pd.to_numeric(rows["age"])
        group_of = {age: age_group(float(age)) for age in ages.dropna().unique()}
        known["age group"] = ages.map(group_of)
    if {"corpus", "clip"} <= set(rows):
        known["pitch"] = pitch_groups(rows)
    single = {}
    for name in (*ATTRIBUTES, "pitch", "corpus"):
        if name in known:
            groups = known[name].astype("object").where(known[name].notna())
            groups = groups.where(groups.astype(str).str.lower() != "unknown")
            if groups.nunique() > 1:
                single[name] = groups
    return single


def evidence(rows: pd.DataFrame, attribute: str, group_of: pd.Series) -> Evidence:
    """Return what each speaker adds to each group.

    Args:
        rows: predictions of one model, one row a clip: speaker; emotion and p_<emotion>, or t_ and d_<dimension>.
        attribute: what the groups differ in.
        group_of: group of each row; rows without one are left out.

    Raises:
        SettingError: fewer than two groups, or clips without a speaker.
    """
    known = group_of.notna().to_numpy()
    rows, given = rows.loc[known], group_of[known]
    if rows["speaker"].isna().any():
        raise SettingError("Some clips have no speaker; leave them out, since speakers are what is resampled.")
    which, groups = pd.factorize(given.astype(str), sort=True)
    who, speakers = pd.factorize(rows["speaker"], sort=True)
    if len(groups) < 2:
        raise SettingError(f"Gaps in {attribute} need two groups or more; here is {', '.join(groups) or 'none'}.")
    shape = (len(speakers), len(groups))
    cell = who * shape[1] + which
    clips = _counted(cell, shape)
    if kind_of(rows) == "dimensions":
        errors = {}
        for name in labels_of(rows):
            if f"t_{name}" in rows:
                rated = rows[f"t_{name}"].notna().to_numpy()
                off = (rows[f"d_{name}"] - rows[f"t_{name}"]).to_numpy(dtype=float)
                parts = [_counted(cell[rated], shape), _counted(cell[rated], shape, off[rated])]
                errors[name] = np.stack(parts, axis=-1)
        none = np.zeros((*shape, 0, 0))
        return Evidence(attribute, tuple(groups), tuple(speakers), clips, (), none, none, errors)
    classes = tuple(str(column)[2:] for column in rows if str(column).startswith("p_"))
    chances = rows[[f"p_{name}" for name in classes]].to_numpy(dtype=float)
    truth = pd.Index(classes).get_indexer(pd.Index(rows["emotion"]))
    if (truth < 0).any():
        strange = sorted(set(rows["emotion"].astype(str)) - set(classes))
        raise SettingError(f"Labels that the model cannot answer with: {', '.join(strange)}; leave such clips out.")
    size = len(classes)
    answer, confidence = chances.argmax(axis=1), chances.max(axis=1)
    confusions = _counted((cell * size + truth) * size + answer, (*shape, size, size))
    place = cell * BINS + np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    right = (answer == truth).astype(float)
    bins = [_counted(place, (*shape, BINS), weights) for weights in (None, right, confidence)]
    return Evidence(attribute, tuple(groups), tuple(speakers), clips, classes, confusions, np.stack(bins, axis=-1), {})


def measures_of(found: Evidence) -> dict[str, Measure]:
    """Return every measure of a group by name, the ones to judge by first."""
    offered = []
    if found.classes:
        labelled = found.confusions.sum(axis=(0, 1, 3)) > 0
        offered.append(Measure("UAR", found.confusions, metrics.uar))
        for place, name in enumerate(found.classes):
            if labelled[place]:
                offered.append(Measure(f"recall of {name}", found.confusions, _recall_of(place)))
        offered.append(Measure("ECE", found.calibration, calibration_error))
        for place, name in enumerate(found.classes):
            offered.append(Measure(f"precision of {name}", found.confusions, _precision_of(place)))
        for place, name in enumerate(found.classes):
            offered.append(Measure(f"false alarms of {name}", found.confusions, _false_alarms_of(place)))
        for place, name in enumerate(found.classes):
            offered.append(Measure(f"answered {name}", found.confusions, _answered_of(place)))
        offered.append(Measure("accuracy", found.confusions, metrics.weighted_accuracy))
        offered.append(Measure("macro-F1", found.confusions, metrics.macro_f1))
    for name, tensors in found.errors.items():
        offered.append(Measure(f"bias of {name}", tensors, _mean_error))
    offered += found.further
    return {measure.name: measure for measure in offered}


def usual_measures(found: Evidence) -> list[str]:
    """Return the measures to begin with: UAR and each recall, or each bias. All that are chosen are tested together."""
    return [name for name in measures_of(found) if name == "UAR" or name.startswith(("recall of", "bias of"))]


def calibration_error(bins: np.ndarray) -> np.ndarray:
    """Return the expected calibration error (…) of bins (…, bins, 3)."""
    return _ratio(np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1), bins[..., 0].sum(axis=-1))


def reliability(found: Evidence, *, replicates: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Return group, confidence, right (share) and clips of each bin of confidence that holds clips.

    low and high are the 95 % interval of ``right`` over speakers; NaN where the group has one speaker.
    """
    sums = found.calibration.sum(axis=0)
    resampled = summed(draws(len(found.speakers), replicates, seed), found.calibration)
    rows = []
    for place, group in enumerate(found.groups):
        for number, (count, right, confidence) in enumerate(sums[place]):
            if count:
                inside = resampled[:, place, number]
                shares = None if found.sizes[place] < 2 else _ratio(inside[:, 1], inside[:, 0])
                low, high = _limits(shares)
                rows.append(
                    {"group": group, "confidence": confidence / count, "right": right / count, "low": low}
                    | {"high": high, "clips": int(count)}
                )
    return pd.DataFrame(rows, columns=["group", "confidence", "right", "low", "high", "clips"])


def calibrations(found: Evidence, *, replicates: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Return group, value, low and high: each group's expected calibration error, with its interval over speakers.

    low and high are NaN where the group has one speaker.
    """
    values = calibration_error(found.calibration.sum(axis=0))
    resampled = calibration_error(summed(draws(len(found.speakers), replicates, seed), found.calibration))
    limits = [_limits(None if size < 2 else resampled[:, place]) for place, size in enumerate(found.sizes)]
    low, high = zip(*limits, strict=True)
    return pd.DataFrame({"group": found.groups, "value": values, "low": low, "high": high})


def differences(
    found: Evidence,
    reference: str,
    chosen: Sequence[str],
    spreads: Sequence[str] = (),
    *,
    replicates: int = 10_000,
    intervals: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Return every chosen measure in every group, its difference from the reference group, and what is a finding.

    Args:
        found: of :func:`evidence`.
        reference: group that the others are set against.
        chosen: names of :func:`measures_of`.
        spreads: names of ``fairness.MEASURES``, gaps over all groups at once.
        replicates: draws of speakers, and deals of groups.
        intervals: whether intervals are wanted; without them only p is worked out.
        seed: of draws and deals.

    Returns:
        measure, group, speakers, clips, value, low, high, difference, difference_low, difference_high, chance, p,
        p_holm, finding, too_small. The reference has no difference and no p, and there is no p where nearly all deals
        leave a group without a value (:func:`ser_core.draws.p_of_deals`). A spread has the group "all" and, as its
        difference, the gap itself; it is never below 0, so ``chance`` is its mean when the groups are dealt to the
        speakers at random, and p says how often they then lie as far apart.

    Raises:
        SettingError: the reference is not among the groups, or a measure is not offered.
    """
    offered = measures_of(found)
    strange = [name for name in chosen if name not in offered] + [name for name in spreads if name not in MEASURES]
    if reference not in found.groups or strange:
        raise SettingError(f"There is no {', '.join(strange) or reference} among what can be shown here.")
    weights = draws(len(found.speakers), replicates, seed) if intervals else None
    base, rows = found.groups.index(reference), []
    wanted = [offered[name] for name in chosen]
    tensors = {id(m.tensors): m.tensors for m in wanted}
    sums = {key: summed(weights, each) for key, each in tensors.items()} if weights is not None else {}
    permuted = {
        place: _permuted([m.tensors for m in wanted], found, (place, base), replicates, [seed, 1, place])
        for place in range(len(found.groups))
        if place != base and min(found.sizes[place], found.sizes[base]) > 0
    }
    for measure in wanted:
        values = measure.statistic(measure.tensors.sum(axis=0))
        resampled = measure.statistic(sums[id(measure.tensors)]) if intervals else None
        for place, group in enumerate(found.groups):
            row: dict[str, object] = {"measure": measure.name, "group": group, "speakers": found.sizes[place]}
            row |= {"clips": int(found.clips[:, place].sum()), "value": float(values[place])}
            alone = found.sizes[place] < 2
            row["low"], row["high"] = _limits(None if resampled is None or alone else resampled[:, place])
            apart = float(values[place] - values[base]) if place != base else float("nan")
            alone = alone or found.sizes[base] < 2
            row["difference"] = apart
            row["difference_low"], row["difference_high"] = _limits(
                None if resampled is None or alone or place == base else resampled[:, place] - resampled[:, base]
            )
            row["chance"] = row["p"] = float("nan")
            if place in permuted and np.isfinite(apart):
                first, second = (measure.statistic(side) for side in permuted[place][id(measure.tensors)])
                row["p"] = p_of_deals(np.abs(first - second), abs(apart))
            rows.append(row | {"too_small": found.too_small(group)})
    rows += _spreads(found, spreads, replicates, seed)
    table = pd.DataFrame(rows)
    tested = table["p"].notna()
    table["p_holm"] = np.nan
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].tolist())
    return table.assign(finding=table["p_holm"] <= LEVEL)


Grouping = tuple[Evidence, str, list[str]]
"""What is compared by one way to group speakers: what they add, the reference group, the measures."""


def groupings(
    rows: pd.DataFrame, by: Sequence[str] = (), reference: str = "", measures: Sequence[str] = ()
) -> list[Grouping]:
    """Return what is compared by each way to group the speakers of a table.

    Args:
        rows: predictions of one model, as for :func:`evidence`.
        by: of :func:`attributes_of`; all of them if none is named.
        reference: group that the others are set against; the one with most speakers if none is named, and by what has
            no such group.
        measures: of :func:`measures_of`; the usual ones if none is named.

    Raises:
        SettingError: there is nothing to group by, or not what was asked for.
    """
    offered = attributes_of(rows)
    if strange := [name for name in by if name not in offered]:
        can = ", ".join(offered) or "nothing"
        said = f"These speakers cannot be grouped by {', '.join(strange)}; they can by {can}."
        raise SettingError(" ".join([said, *left_out(rows)]))
    if not offered:
        raise SettingError(" ".join(left_out(rows)) or NO_GROUPS)
    compared: list[Grouping] = []
    for name in by or offered:
        found = evidence(rows, name, offered[name])
        if shown := list(measures) or usual_measures(found):
            compared.append((found, reference if reference in found.groups else found.largest, shown))
    if not compared:
        raise SettingError(NO_MEASURES)
    if reference and all(reference not in found.groups for found, _, _ in compared):
        groups = [group for found, _, _ in compared for group in found.groups]
        raise SettingError(f"There is no {short(reference)} among the groups: {', '.join(map(short, groups[:20]))}.")
    return compared


def of_table(compared: Sequence[Grouping], *, replicates: int = 10_000) -> pd.DataFrame:
    """Return the measures of every group of speakers, each way to group them tested by itself.

    Args:
        compared: of :func:`groupings`.
        replicates: of bootstrap and permutations.

    Returns:
        The columns of :func:`differences` after ``by`` and ``reference``.

    Raises:
        SettingError: a group or a measure is not there.
    """
    tables = [
        differences(found, reference, shown, SPREADS if found.classes else (), replicates=replicates).assign(
            by=found.attribute, reference=reference
        )
        for found, reference, shown in compared
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[["by", "reference", *table.columns.drop(["by", "reference"])]]


def _spreads(found: Evidence, spreads: Sequence[str], replicates: int, seed: int) -> list[dict[str, object]]:
    """Return a row for each gap over all groups; without an interval, as ``fairness.gaps``."""
    if not spreads:
        return []
    matrices = _dealt_groups(found, replicates, seed)
    rows: list[dict[str, object]] = []
    for name in spreads:
        value = float(MEASURES[name](found.confusions.sum(axis=0)))
        row: dict[str, object] = {"measure": name, "group": "all", "speakers": len(found.speakers)}
        row |= {"clips": int(found.clips.sum()), "value": value, "low": np.nan, "high": np.nan}
        row |= {"difference": value, "difference_low": np.nan, "difference_high": np.nan}
        small = [group for group in found.groups if found.too_small(group)]
        reason = f"{', '.join(small)}: fewer than {FEWEST_SPEAKERS} speakers" if small else ""
        by_chance = MEASURES[name](matrices)
        row |= {"p": p_of_deals(by_chance, value), "chance": mean_of_known(by_chance), "too_small": reason}
        rows.append(row)
    return rows


def _dealt_groups(found: Evidence, replicates: int, seed: int) -> np.ndarray:
    """Return (replicates, groups, classes, classes) when no group differs from another."""
    member = found.clips > 0
    alone = member.sum(axis=1) == 1
    # Speakers of one group are dealt among them; whoever is in several (two languages) has these exchanged.
    whole = found.confusions[alone].sum(axis=1)
    sums = dealt(whole, member[alone].argmax(axis=1), len(found.groups), replicates, seed)
    random = np.random.default_rng([seed, 1])
    for pattern in np.unique(member[~alone], axis=0):
        those, places = (member == pattern).all(axis=1), np.flatnonzero(pattern)
        order = random.random((replicates, int(those.sum()), len(places))).argsort(axis=-1)
        for number, place in enumerate(places):
            for other, source in enumerate(places):
                sums[:, place] += summed(order[..., number] == other, found.confusions[those, source])
    return sums


def _permuted(
    tensors: Sequence[np.ndarray], found: Evidence, pair: tuple[int, int], replicates: int, seed: list[int]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return each tensor's sums of two groups (replicates, …) when the groups do not differ, by the tensor's id."""
    first, second = pair
    member = found.clips > 0
    both = member[:, first] & member[:, second]
    either = member[:, first] | member[:, second]
    alone = either & ~both
    # Speakers of one group are dealt between the two; whoever is in both has them exchanged, or not.
    order, random = orders(int(alone.sum()), replicates, seed)
    in_first = member[alone, first][order]
    swapped = random.integers(0, 2, (replicates, int(both.sum())))
    sides = {}
    for each in {id(tensor): tensor for tensor in tensors}.values():
        one, other = (each[:, place] for place in pair)
        whole = one + other
        left = summed(in_first, whole[alone]) + one[both].sum(axis=0) + summed(swapped, (other - one)[both])
        sides[id(each)] = (left, whole.sum(axis=0) - left)
    return sides


def _counted(place: np.ndarray, shape: tuple[int, ...], weights: np.ndarray | None = None) -> np.ndarray:
    counts: np.ndarray = np.bincount(place, weights, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    return counts


def _recall_of(place: int) -> metrics.Statistic:
    return lambda matrix: _ratio(matrix[..., place, place], matrix[..., place, :].sum(axis=-1))


def _precision_of(place: int) -> metrics.Statistic:
    return lambda matrix: _ratio(matrix[..., place, place], matrix[..., place].sum(axis=-1))


def _false_alarms_of(place: int) -> metrics.Statistic:
    def share(matrix: np.ndarray) -> np.ndarray:
        wrong = matrix[..., place].sum(axis=-1) - matrix[..., place, place]
        return _ratio(wrong, matrix.sum(axis=(-2, -1)) - matrix[..., place, :].sum(axis=-1))

    return share


def _answered_of(place: int) -> metrics.Statistic:
    return lambda matrix: _ratio(matrix[..., place].sum(axis=-1), matrix.sum(axis=(-2, -1)))


def _mean_error(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 1], sums[..., 0])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _limits(values: np.ndarray | None) -> tuple[float, float]:
    if values is None or np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
