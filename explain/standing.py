"""Where an explanation stands on two axes: faithful to the model, and plausible to an expert."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explain.expert import SALIENT, Agreement
from explain.trust import QUICK, Trust
from explain.verdicts import HOLDS, UNDECIDED


@dataclass(frozen=True)
class Standing:
    """How faithful and how plausible an explanation is.

    beaten is the share of random places that taking the regions away, or leaving them alone, beats: of the two the
    worse. plausible is the share of the cues of the salient regions that move as experts expect, of those that could be
    judged. short says in words which tests of faithfulness do not hold; "" where all do.
    """

    beaten: float
    plausible: float
    short: str


def standing(found: Trust, agreements: Sequence[Agreement]) -> Standing | None:
    """Return where an explanation stands; None where a test of faithfulness or every expectation is undecided.

    Args:
        found: its tests.
        agreements: its cues beside the experts' expectations.
    """
    removals = [test for test in found.tests if test.name in ("deletion", "insertion") and math.isfinite(test.value)]
    judged = [
        row.status
        for row in agreements
        if row.emotion == found.target.emotion and row.scope == SALIENT and row.status in ("agrees", "disagrees")
    ]
    faithful = [test for test in found.tests if test.name in QUICK]
    if not removals or not judged or any(test.verdict == UNDECIDED for test in faithful):
        return None
    short = [f"{test.name}: {test.verdict}" for test in faithful if test.verdict != HOLDS]
    return Standing(
        beaten=min(float((test.null < test.value).mean()) for test in removals),
        plausible=judged.count("agrees") / len(judged),
        short=", ".join(short),
    )
