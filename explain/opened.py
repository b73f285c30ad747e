"""What the reader opened beside the explanation: trust tests, voice experiments, and further parts such as comparisons.

All of it goes into the report, the JSON and the archive; a part that was not opened is left out.
"""

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explain.intervention import DoseResponse, words_of
from explain.text_files import cell
from explain.trust import Trust
from ser_core.intended_use import COLUMN, in_a_cell

if TYPE_CHECKING:
    from ser_core.models import Card


@dataclass(frozen=True)
class Table:
    """A table of a further part: its head and rows, all as they are printed."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A further part of the report: a heading, what was found in sentences, and tables."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, eq=False)
class Opened:
    """What was opened; ``trust`` holds what is known so far, ``sections`` are printed in their order."""

    trust: Trust | None = None
    experiments: tuple[DoseResponse, ...] = ()
    sections: tuple[Section, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether nothing was opened."""
        return self.trust is None and not self.experiments and not self.sections


NOTHING = Opened()


def trust_csv(trust: Trust, card: "Card") -> str:
    r"""Return the trust tests as CSV text, one row a test, lines ending in ``\r\n``."""
    names = ("test", "value", "unit", "threshold", "p", "verdict", "words")
    rows = [
        [cell(getattr(test, "name" if name == "test" else name)) for name in names] + [cell(trust.verdict)]
        for test in trust.tests
    ]
    return _written([*names, "verdict_of_all"], rows, card)


def experiments_csv(experiments: tuple[DoseResponse, ...], card: "Card") -> str:
    r"""Return the voice experiments as CSV text, one row a dose, lines ending in ``\r\n``.

    ``asked`` is the dose in ``unit``, ``measured`` what came out in ``measured_unit``; each class has its probability.
    """
    head = ["experiment", "start_s", "end_s", "asked", "unit", "measured", "measured_unit", "control", "words"]
    emotions = list(dict.fromkeys(emotion for each in experiments for emotion in each.emotions))
    rows = []
    for each in experiments:
        kind = each.experiment
        for dose, measured, shares in zip(each.doses, each.measured, each.probabilities, strict=True):
            given = dict(zip(each.emotions, shares, strict=True))
            row = [kind.name, each.start_s, each.end_s, float(dose), kind.unit, float(measured), kind.measured]
            row += ["yes" if dose == kind.nothing else "no", words_of(kind, float(dose))]
            rows.append([cell(value) for value in [*row, *(given.get(emotion) for emotion in emotions)]])
    return _written([*head, *(f"p_{emotion}" for emotion in emotions)], rows, card)


def _written(head: list[str], rows: list[list[str]], card: "Card") -> str:
    out, use = io.StringIO(), cell(in_a_cell(card))
    writer = csv.writer(out)
    writer.writerow([*head, COLUMN])
    writer.writerows([*row, use] for row in rows)
    return out.getvalue()
