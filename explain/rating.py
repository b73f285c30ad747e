"""Is it more understandable? A study in which raters say what a model relied on, from more or less of an explanation.

Each rater sees every stimulus once, in random order, a third of them in each condition: the map alone, the map with the
cues, and both with the trust tests; which stimulus has which condition changes from rater to rater (a Latin square).
A rater is a random pseudonym. Answers go to one local file, a line of JSON each; no audio and no name are stored.

What a trained model relied on is not known, so answers about it are never called right or wrong: of them only sureness
and time count. Right and wrong exist for :mod:`explain.listeners`, which hear one property of the voice by
construction. A cue that was planted in a clip is no such truth, since a model need not listen to it.
"""

import csv
import io
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from explain.listeners import LISTENERS
from explain.text_files import cell
from ser_core.errors import SettingError, StorageError
from ser_core.files import append_line
from ser_core.intended_use import COLUMN, IN_A_CELL

if TYPE_CHECKING:
    import pandas as pd

CONDITIONS = {
    "map": "map alone",
    "map and cues": "map and cues",
    "map, cues and trust": "map, cues and trust tests",
}
ANSWERS = {
    "loudness": "how loud the voice is",
    "brightness": "how much high frequency it has (bright or shrill against dull)",
    "pitch": "how high its pitch is, or how it moves",
    "rhythm": "how fast it is, or its pauses",
    "quality": "how rough or breathy it is",
    "unknown": "I cannot tell",
}
FILE = "ratings.jsonl"
FEWEST = 6
"""Raters below whom no test is made: with five a signed-rank test cannot reach 0.05."""


@dataclass(frozen=True)
class Stimulus:
    """A clip as one model hears it; ``truth`` is what the model listens to, "" where that is not known.

    ``clip`` is a bundled sample's name or a corpus file; ``model`` a listener's or a model's name.
    """

    name: str
    clip: str
    model: str
    truth: str


@dataclass(frozen=True)
class Rating:
    """One answer. sureness is from 0 (guessed) to 100 (certain); seconds from seeing to answering."""

    rater: str
    trial: int
    stimulus: str
    model: str
    condition: str
    answer: str
    sureness: int
    seconds: float
    truth: str

    @property
    def right(self) -> bool | None:
        """Whether the answer is what the model listens to; None where that is not known."""
        return self.answer == self.truth if self.truth else None


def new_rater() -> str:
    """Return a random pseudonym of eight letters and digits."""
    return secrets.token_hex(4)


def stimuli(model: str, clips: Sequence[str]) -> tuple[Stimulus, ...]:
    """Return every listener and the model on three clips each, nine in all.

    Args:
        model: a trained model, about which nothing is known.
        clips: its clips; bundled samples for the listeners, which need no speech of people.
    """
    samples = ("like_anger", "like_sadness", "pitch_rise")
    known = [Stimulus(f"{name}: {clip}", clip, name, each.cue) for name, each in LISTENERS.items() for clip in samples]
    return (*known, *(Stimulus(f"{model}: {Path(clip).stem}", clip, model, "") for clip in clips[:3]))


def plan(rater: str, offered: Sequence[Stimulus]) -> tuple[tuple[Stimulus, str], ...]:
    """Return the stimuli in this rater's order, each with its condition.

    Among the stimuli of one model every condition comes equally often, and over raters every stimulus has every
    condition in every order, so that without an effect a rater's differences are as often above as below zero.
    """
    random = np.random.default_rng(list(rater.encode()))
    names = list(CONDITIONS)
    conditions = [names[int(i)] for i in random.permutation(len(names))]
    seen: dict[str, int] = {}
    given = []
    for each in offered:
        place = seen.get(each.model, 0)
        seen[each.model] = place + 1
        shift = list(dict.fromkeys(s.model for s in offered)).index(each.model)
        given.append((each, conditions[(place + shift) % len(conditions)]))
    return tuple(given[int(i)] for i in random.permutation(len(given)))


def store(rating: Rating, folder: Path) -> None:
    """Append one answer to the folder's file; a line is written whole or not at all.

    Raises:
        SettingError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        append_line(folder / FILE, json.dumps(asdict(rating), ensure_ascii=True))
    except (OSError, StorageError) as fault:
        raise SettingError(
            "The answer could not be stored; let SERSCOPE_RATINGS name a folder that can be written to, on a disk that "
            "is not full."
        ) from fault


def stored(folder: Path) -> tuple[Rating, ...]:
    """Return every answer in a folder; lines that are none, such as one cut off by a full disk, are left out."""
    path = folder / FILE
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            found.append(Rating(**{f.name: f.type(row[f.name]) for f in fields(Rating)}))  # type: ignore[operator]
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(found)


def to_csv(ratings: Sequence[Rating]) -> str:
    r"""Return the answers as CSV text, one a row, with ``right`` (empty where there is no known answer)."""
    out = io.StringIO()
    writer = csv.writer(out)
    names = [f.name for f in fields(Rating)]
    writer.writerow([*names, "right", COLUMN])
    for each in ratings:
        right = "" if each.right is None else "yes" if each.right else "no"
        writer.writerow([*(cell(getattr(each, name)) for name in names), right, IN_A_CELL])
    return out.getvalue()


# Analysis

MEASURES = {"right": "share of right answers", "sureness": "sureness, 0 to 100", "seconds": "seconds (median)"}


def by_condition(ratings: Sequence[Rating], *, replicates: int = 10_000) -> "pd.DataFrame":
    """Return each measure by condition; empty where nothing was rated.

    Columns: measure, condition, raters, answers, value with low and high, its 95 % interval when raters are drawn anew.
    The value is the mean of the raters' own values (share, mean, median), so that each rater counts alike.
    """
    import pandas as pd

    table = per_rater(ratings)
    rows = []
    for (measure, condition), part in table.groupby(["measure", "condition"], sort=False):
        values = part["value"].to_numpy()
        random = np.random.default_rng(0)
        drawn = values[random.integers(0, len(values), (replicates, len(values)))].mean(1)
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(values) > 1 else (float("nan"), float("nan"))
        rows.append((measure, condition, len(values), int(part["answers"].sum()), float(values.mean()), low, high))
    return pd.DataFrame(rows, columns=["measure", "condition", "raters", "answers", "value", "low", "high"])


def per_rater(ratings: Sequence[Rating]) -> "pd.DataFrame":
    """Return one row per rater, condition and measure: rater, condition, measure, value, answers."""
    import pandas as pd

    rows = []
    for rater in dict.fromkeys(each.rater for each in ratings):
        for condition in CONDITIONS:
            own = [each for each in ratings if (each.rater, each.condition) == (rater, condition)]
            known = [float(each.right) for each in own if each.right is not None]
            if known:
                rows.append((rater, condition, "right", float(np.mean(known)), len(known)))
            if own:
                rows.append((rater, condition, "sureness", float(np.mean([each.sureness for each in own])), len(own)))
                rows.append((rater, condition, "seconds", float(np.median([each.seconds for each in own])), len(own)))
    columns = ["rater", "condition", "measure", "value", "answers"]
    return pd.DataFrame(rows, columns=columns)


def tests(ratings: Sequence[Rating]) -> "pd.DataFrame":
    """Return Wilcoxon's signed-rank test of every two conditions, paired by rater.

    Columns: measure, less, more (the conditions), raters (who answered in both), difference (mean of more − less), p
    (two-sided, exact where it can be, NaN for fewer than six raters) and p_corrected over all tests (Holm 1979).
    """
    import pandas as pd
    from scipy.stats import wilcoxon

    from ser_core.fairness import holm

    table = per_rater(ratings)
    names = list(CONDITIONS)
    rows = []
    for measure in MEASURES:
        wide = table[table["measure"] == measure].pivot(index="rater", columns="condition", values="value")
        for less, more in ((names[0], names[1]), (names[1], names[2]), (names[0], names[2])):
            if less not in wide or more not in wide:
                continue
            moved = (wide[more] - wide[less]).dropna().to_numpy()
            p = float("nan")
            if len(moved) >= FEWEST:
                p = 1.0 if not moved.any() else float(wilcoxon(moved).pvalue)
            difference = float(np.mean(moved)) if len(moved) else float("nan")
            rows.append((measure, less, more, len(moved), difference, p))
    found = pd.DataFrame(rows, columns=["measure", "less", "more", "raters", "difference", "p"])
    tested = found["p"].notna()
    found["p_corrected"] = np.nan
    found.loc[tested, "p_corrected"] = holm(found.loc[tested, "p"].tolist())
    return found


def summary(ratings: Sequence[Rating]) -> str:
    """Return how much was rated, in words."""
    if not ratings:
        return "No ratings yet."
    raters = len({each.rater for each in ratings})
    known = sum(each.right is not None for each in ratings)
    people = "1 rater" if raters == 1 else f"{raters} raters"
    more = "" if raters >= FEWEST else f" A test needs at least {FEWEST} raters."
    return f"{len(ratings)} answers by {people}; {known} of them about models whose evidence is known.{more}"
