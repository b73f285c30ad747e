"""What one test of an explanation found: its value, what chance gives, and the verdict between the two."""

from dataclasses import dataclass

import numpy as np

from ser_core.numbers import rounded_percent, unsigned

HOLDS, WEAK, FAILS, UNDECIDED = "holds", "weak", "fails", "cannot be decided"
STRICT, LENIENT = 0.05, 0.20


@dataclass(frozen=True, eq=False)
class Test:
    """One test of an explanation.

    Attributes:
        name: such as "deletion".
        value: what was measured, in ``unit``.
        null: the same under chance, sorted (draws,).
        threshold: beyond it the verdict is "holds"; a value of the null.
        p: share of the null at least as good as the value, with the value counted in; NaN where the test asks whether
            the value is no better than chance.
        verdict: "holds", "weak", "fails" or "cannot be decided".
        words: one sentence that says what was done and found.
        below: whether values below the threshold hold, not those above.
    """

    __test__ = False

    name: str
    value: float
    unit: str
    null: np.ndarray
    threshold: float
    p: float
    verdict: str
    words: str
    below: bool = False

    @property
    def limit(self) -> str:
        """On which side of which value the test holds, such as "> 0.15"."""
        return f"{'<' if self.below else '>'} {unsigned(self.threshold)}" if np.isfinite(self.threshold) else "–"


def share_of(null: np.ndarray) -> str:
    """Return how many of a null's draws are beaten (a boolean each), in words before "of"."""
    return "all" if null.all() else "none" if not null.any() else rounded_percent(float(null.mean()))


def against(
    name: str, value: float, unit: str, null: np.ndarray, words: str, *, smaller_is_better: bool = False
) -> Test:
    """Return the test of a value against its null (draws,): it holds at p ≤ 0.05, weakly at p ≤ 0.20.

    p counts the value itself among the draws; the threshold is the draw that has to be passed for p ≤ 0.05.
    """
    if not len(null) or not np.isfinite([value, *null]).all():
        return undecided(name, unit, "There is no number to set against chance here.")
    sign = -1.0 if smaller_is_better else 1.0
    p = float((1 + (sign * null >= sign * value).sum()) / (1 + len(null)))
    verdict = HOLDS if p <= STRICT else WEAK if p <= LENIENT else FAILS
    allowed = int(STRICT * (1 + len(null)) + 1e-9) - 1  # draws that may be as good
    best_first = np.sort(sign * null)[::-1]
    threshold = sign * float(best_first[allowed]) if allowed >= 0 else sign * np.inf
    return Test(name, value, unit, null, threshold, p, verdict, words, smaller_is_better)


def undecided(name: str, unit: str, words: str) -> Test:
    """Return a test that could not be made; ``words`` say why."""
    nan = float("nan")
    return Test(name, nan, unit, np.zeros(0), nan, nan, UNDECIDED, words)
