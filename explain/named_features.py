"""Whether an explanation over named features is true of the model: features are taken away, as regions are of a map.

A feature that is taken away has the value of the baseline (the training clips' mean). The *salient features* are those
that speak most for the target, at most ten; chance is as many features drawn at random, and unrelated explanations are
the same relevance dealt anew among the features.
"""

from collections.abc import Callable

import numpy as np

from explain.attribution import Attribution, method_label, methods_for
from explain.map_changes import likeness
from explain.removal import PERTURBATIONS, PLACEMENTS, Curve, foretelling, overlap, removal_tests
from explain.verdicts import Test, against, share_of, undecided
from ser_core.errors import ExplanationError
from ser_core.models import SpeechModel
from ser_core.numbers import rounded_percent

MOST = 10

Logits = Callable[[np.ndarray], np.ndarray]


def salient_features(relevance: np.ndarray, most: int = MOST) -> np.ndarray:
    """Return the places of the features that speak most for the target, the strongest first; none that speaks against.

    Args:
        relevance: (features,).
        most: how many at most.
    """
    order = np.argsort(-relevance, kind="stable")[:most]
    return order[relevance[order] > 0]


def feature_tests(
    logits: Logits,
    relevance: np.ndarray,
    random: np.random.Generator,
    *,
    draws: int = PLACEMENTS,
    with_curves: bool = True,
    unit: str = "logit",
    sign: float = 1.0,
) -> tuple[tuple[Test, ...], tuple[Curve, ...]]:
    """Return deletion and insertion of the salient features against as many drawn at random.

    Args:
        logits: of :func:`explain.attribution.feature_masking`.
        relevance: (features,).
        random: source of the draws.
        draws: random sets; 19 are the fewest with which a test can hold.
        with_curves: whether the way to the end is drawn, too.
        unit: of what ``logits`` gives.
        sign: as ``removal_tests`` takes it.
    """
    salient = salient_features(relevance)
    if not len(salient):
        words = "No feature speaks for it, so nothing could be taken away."
        return tuple(undecided(name, unit, words) for name in ("deletion", "insertion")), ()
    size, count = len(relevance), len(salient)
    drawn = np.stack([_growing(random.permutation(size)[:count], size) for _ in range(draws)])
    what = "the salient feature" if count == 1 else f"the {count} salient features"
    of = "as many drawn at random"
    return removal_tests(
        logits, _growing(salient, size), drawn, what, of, with_curves=with_curves, unit=unit, sign=sign
    )


def feature_infidelity(logits: Logits, relevance: np.ndarray, random: np.random.Generator, unit: str = "logit") -> Test:
    """Return how well the relevance foretells what removing random features does, against the same dealt anew."""
    size = len(relevance)
    taken = np.zeros((PERTURBATIONS, size))
    for row in taken:
        row[random.permutation(size)[: int(random.integers(max(1, size // 5), max(2, size // 2 + 1)))]] = 1.0
    removed = logits(np.ones((1, size)))[0] - logits(1.0 - taken)
    value = foretelling(removed, taken @ relevance)
    null = np.sort([foretelling(removed, taken @ random.permutation(relevance)) for _ in range(99)])
    words = (
        f"removing {len(taken)} random sets of features is foretold with a mean squared error of {value:.3g}, better "
        f"than by {share_of(null > value)} of {len(null)} ways to deal the same relevance anew."
    )
    return against("infidelity", value, f"squared {unit}", null, words, smaller_is_better=True)


def feature_agreement(
    model: SpeechModel,
    by_method: Callable[[str], Attribution],
    attribution: Attribution,
    random: np.random.Generator,
    most: int = 2,
) -> tuple[Test, ...]:
    """Return how many of the salient features other methods name, too, against random ones.

    The value is the overlap of the two sets, intersection over union. ``by_method`` gives another method's explanation
    of the same target.
    """
    ours = _set(attribution.relevance)
    found: list[Test] = []
    for method in methods_for(model):
        if len(found) == most or not ours.any():
            break
        if method.axes != "features" or method.name == attribution.method:
            continue
        try:
            other = by_method(method.name)
        except ExplanationError:
            continue
        test, theirs = f"agreement with {method_label(method.name)}", _set(other.relevance)
        if not theirs.any():
            found.append(undecided(test, "overlap", f"By {method_label(method.name)} no feature speaks for it."))
            continue
        value = overlap(ours, theirs)
        null = np.sort([overlap(ours, random.permutation(theirs)) for _ in range(99)])
        words = (
            f"the salient features by {method_label(method.name)} overlap these by {rounded_percent(value)}, more than "
            f"{share_of(null < value)} of as many drawn at random; the rank correlation of the two is "
            f"{likeness(attribution, other)}."
        )
        found.append(against(test, value, "overlap", null, words))
    return tuple(found)


def _growing(places: np.ndarray, features: int) -> np.ndarray:
    """Return masks (steps, features) of the first feature, the first two, and so on."""
    each = np.zeros((len(places), features), dtype=bool)
    each[np.arange(len(places)), places] = True
    return np.logical_or.accumulate(each, axis=0)


def _set(relevance: np.ndarray) -> np.ndarray:
    inside = np.zeros(len(relevance), dtype=bool)
    inside[salient_features(relevance)] = True
    return inside
