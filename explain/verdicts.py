"""What one test of an explanation found: its value, what chance gives, and the verdict between the two."""

from dataclasses import dataclass

import numpy as np

HOLDS, WEAK, FAILS, UNDECIDED = "holds", "weak", "fails", "cannot be decided"
STRICT, LENIENT = 0.05, 0.20


@dataclass(frozen=True, eq=False)
class Test:
    """One test of an explanation.

    Attributes:
        name: such as "deletion".
        value: what was measured, in ``unit``.
        null: the same under chance, sorted (draws,).
        threshold: where the verdict "holds" begins, from the null.
        p: share of the null at least as good as the value, with the value counted in.
        verdict: "holds", "weak", "fails" or "cannot be decided".
        words: one sentence that says what was done and found.
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


def against(
    name: str, value: float, unit: str, null: np.ndarray, words: str, *, smaller_is_better: bool = False
) -> Test:
    """Return the test of a value against its null (draws,); it holds where it beats 95 % of them, weakly at 80 %."""
    sign = -1.0 if smaller_is_better else 1.0
    p = float((1 + (sign * null >= sign * value).sum()) / (1 + len(null)))
    verdict = HOLDS if p <= STRICT else WEAK if p <= LENIENT else FAILS
    threshold = float(np.quantile(null, STRICT if smaller_is_better else 1 - STRICT))
    return Test(name, value, unit, null, threshold, p, verdict, words)


def undecided(name: str, unit: str, words: str) -> Test:
    """Return a test that could not be made; ``words`` say why."""
    nan = float("nan")
    return Test(name, nan, unit, np.zeros(0), nan, nan, UNDECIDED, words)
