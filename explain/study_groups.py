"""Explanation fairness: do explanations serve some groups of speakers worse than others, for the same emotion?

A model may answer for two groups equally well and still be explained to them unequally: its maps may be true of it for
one group only, or the cues in its salient regions may move as experts expect for one group only, since what experts
expect was found on other voices. Each map of the study (:mod:`explain.study`) adds to its speaker:

- *cues as expected*: of the cues in the salient regions that agree or disagree with the experts' expectation for the
  predicted emotion, the share that agree; *beyond chance*: that share minus the same of shifted regions, which takes
  away what a group's voice does everywhere in a clip;
- *… as expected*: the same of one cue;
- *maps that hold*: maps that pass deletion, insertion and randomised weights, and each of these tests;
- *salient part of the clip*: share of the clip's time that the salient regions take;
- *salience of …*: how a cue inside the salient regions stands out from the rest of the speech (Cliff's delta, −1 … 1).

"For the same emotion": a figure is worked out for each predicted emotion and then averaged over the emotions that every
group has, each counting the same, so that groups whose clips are answered differently can be compared. Intervals over
speakers and the rule for a finding are those of :mod:`ser_core.group_differences`: the permutation of speakers' groups,
with Holm's correction over all that is shown.

``python -m explain groups --model … --method … --corpus … --by sex`` prints the table.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from explain.study import DECIDED, TABLE
from ser_core.errors import SettingError, command_line

if TYPE_CHECKING:
    import pandas as pd

    from ser_core.group_differences import Evidence

EXPECTED, BEYOND, HOLD, PART = "cues as expected", "cues as expected, beyond chance", "maps that hold", "salient part"
TESTS = ("deletion", "insertion", "randomised weights")
SALIENCE = "salience of "
KEYS = ("model", "method", "corpus")
COMMAND = "python -m explain study --corpus FOLDER --folds FOLDER --trust"


def read_rows(table: Path = TABLE) -> "pd.DataFrame | None":
    """Return the stored rows of the study, one a clip × model × method × cue; None where it has not been run."""
    from ser_core.files import stored_table

    return stored_table(table)


def maps(rows: "pd.DataFrame", model: str, method: str, corpus: str) -> "pd.DataFrame":
    """Return the rows of one model's maps by one method, of one corpus.

    Raises:
        SettingError: there are none.
    """
    found = rows[(rows[list(KEYS)] == [model, method, corpus]).all(axis=1)].reset_index(drop=True)
    if found.empty:
        stored = "; ".join(" ".join(key) for key in rows[list(KEYS)].drop_duplicates().itertuples(index=False))
        raise SettingError(f"No maps of {model} by {method} on {corpus} are stored; there are: {stored}.")
    return found


def evidence(
    rows: "pd.DataFrame", attribute: str, group_of: "pd.Series", *, emotion: str | None = None, right: bool = False
) -> "Evidence":
    """Return what each speaker adds to each group.

    Args:
        rows: of :func:`maps`.
        attribute: what the groups differ in.
        group_of: group of each row; rows without one are left out.
        emotion: only maps for this predicted emotion; by default the mean over the emotions that every group has.
        right: only clips that were answered rightly.

    Raises:
        SettingError: fewer than two groups, or no emotion that all of them have.
    """
    import pandas as pd

    from ser_core.group_differences import Evidence, Measure

    keep = group_of.notna() & ((rows["emotion"] == rows["predicted"]) | (not right))
    keep &= True if emotion is None else rows["predicted"].eq(emotion)
    rows, given = rows[keep].reset_index(drop=True), group_of[keep].astype(str).reset_index(drop=True)
    which, groups = pd.factorize(given, sort=True)
    if len(groups) < 2:
        raise SettingError(f"Gaps in {attribute} need two groups or more; here is {', '.join(groups) or 'none'}.")
    held = pd.crosstab(given, rows["predicted"]).gt(0).all()
    shared = [name for name in held.index if held[name]]
    if not shared:
        raise SettingError("No emotion was predicted for clips of every group; choose other clips.")
    inside = rows["predicted"].isin(shared).to_numpy()
    rows, which = rows[inside].reset_index(drop=True), which[inside]
    who, speakers = pd.factorize(rows["speaker"], sort=True)
    what = pd.Index(shared).get_indexer(pd.Index(rows["predicted"]))
    shape = (len(speakers), len(groups), len(shared))
    place = np.ravel_multi_index((who, which, what), shape)

    def of(values: "pd.Series", counted: "pd.Series") -> np.ndarray:
        mask = counted.to_numpy(dtype=bool)
        sums = [
            np.bincount(place[mask], weights, minlength=int(np.prod(shape))).reshape(shape).astype(float)
            for weights in (None, values.to_numpy(dtype=float)[mask])
        ]
        return np.stack(sums, axis=-1)

    first = ~rows.duplicated("clip")
    decided = rows["status"].isin(DECIDED)
    agrees = rows["status"].eq("agrees")
    found = {
        EXPECTED: of(agrees, decided),
        BEYOND: of(agrees - rows["chance"], decided & rows["chance"].notna()),
    }
    if set(TESTS) <= set(rows):
        tested = first & rows[list(TESTS)].notna().all(axis=1)
        if tested.any():
            found[HOLD] = of((rows[list(TESTS)] == "holds").all(axis=1), tested)
            found |= {f"{test} holds": of(rows[test].eq("holds"), tested) for test in TESTS}
    found[PART] = of(rows["coverage"], first)
    for cue in dict.fromkeys(rows["cue"]):
        here = rows["cue"].eq(cue)
        if (here & decided).any():
            found[f"{_title(cue)} as expected"] = of(agrees, here & decided)
    for cue in dict.fromkeys(rows["cue"]):
        here = rows["cue"].eq(cue) & rows["effect"].notna()
        if here.any():
            found[f"{SALIENCE}{_title(cue)}"] = of(rows["effect"], here)
    clips = np.bincount(place[first], minlength=int(np.prod(shape))).reshape(shape).sum(axis=-1).astype(float)
    none = np.zeros((len(speakers), len(groups), 0, 0))
    further = tuple(Measure(name, tensors, over_emotions) for name, tensors in found.items())
    return Evidence(attribute, tuple(groups), tuple(speakers), clips, (), none, none, {}, further)


def over_emotions(sums: np.ndarray) -> np.ndarray:
    """Return the mean over the emotions of sum / count (…); sums is (…, emotions, 2), an emotion of no count is out."""
    count, total = sums[..., 0], sums[..., 1]
    known = count > 0
    each = np.divide(total, count, out=np.zeros_like(total), where=known)
    emotions = known.sum(axis=-1)
    return np.divide(each.sum(axis=-1), emotions, out=np.full(emotions.shape, np.nan), where=emotions > 0)


def usual(found: "Evidence") -> list[str]:
    """Return the measures to show first: few, so that each is tested with some power."""
    names = {measure.name for measure in found.further}
    return [name for name in (EXPECTED, BEYOND, HOLD, PART) if name in names]


def _title(cue: str) -> str:
    from explain.printing import cue_title

    return cue_title(cue, short=True)


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the measures of each group beside the reference; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain groups", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--by", default="sex", help="sex, 'age group', race, ethnicity or two at once (%(default)s)")
    for name in KEYS:
        parser.add_argument(f"--{name}", help=f"{name} (default: the first stored)")
    parser.add_argument("--emotion", help="only maps for this predicted emotion (default: mean over all)")
    parser.add_argument("--right", action="store_true", help="only clips that were answered rightly")
    parser.add_argument("--reference", help="group that the others are set against (default: the largest)")
    parser.add_argument("--measure", nargs="+", help="measures (default: the first four)")
    parser.add_argument("--table", type=Path, default=TABLE, help="rows of the study (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="write the table here")
    options = parser.parse_args(arguments)
    table = _asked(options)
    print(table.drop(columns=["chance"]).to_string(index=False, float_format="%.3f", na_rep="–"))
    if options.csv is not None:
        from explain.text_files import csv_file, csv_text
        from ser_core.files import write_bytes

        write_bytes(options.csv, csv_file(csv_text(table)))
    return 0


def _asked(options: argparse.Namespace) -> "pd.DataFrame":
    from ser_core.group_differences import attributes_of, differences

    rows = read_rows(options.table)
    if rows is None:
        raise SettingError(f"The study has not been run yet; '{COMMAND}' runs it.")
    first = rows.iloc[0]
    mine = maps(rows, *(getattr(options, name) or str(first[name]) for name in KEYS))
    groups = attributes_of(mine)
    if options.by not in groups:
        raise SettingError(
            f"These speakers cannot be grouped by {options.by}, only by {', '.join(groups) or 'nothing'}."
        )
    found = evidence(mine, options.by, groups[options.by], emotion=options.emotion, right=options.right)
    largest = found.groups[max(range(len(found.groups)), key=lambda place: found.sizes[place])]
    return differences(found, options.reference or largest, options.measure or usual(found))


if __name__ == "__main__":
    sys.exit(main())
