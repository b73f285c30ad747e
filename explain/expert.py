"""The cues of a clip beside what experts expect of an emotion."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """One cue against the experts' expectation for one emotion.

    status is "agrees", "disagrees", "contested", "no expectation" or "not measurable". percentile (0 … 100) is the
    place of the value in neutral speech of the reference group; observed is "low", "usual" or "high" ("falling",
    "level", "rising" for contours). scope is "clip" or "salient regions".
    """

    emotion: str
    cue: str
    scope: str
    value: float | None
    unit: str
    percentile: float | None
    observed: str | None
    expected: str | None
    status: str
    source: str
    conflict: str = ""
    reference: str = ""
