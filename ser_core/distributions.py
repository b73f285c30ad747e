"""How near a predicted distribution of listeners' answers lies to the real one.

A distribution is a row (labels,) of shares that sum to 1; it says how listeners would split, not how sure anybody is.
Six measures, as usual in label distribution learning (Geng 2016, "Label distribution learning", table 2): Chebyshev,
Clark, Canberra and Kullback–Leibler distance (in nats; lower is better), cosine and intersection (higher is better).

A model that always answers the mean of all listeners does well by every one of them, since most clips are heard much
alike; so that constant stands beside every figure as its baseline, the uniform distribution as its chance level, and
the spread of the predictions says whether a model does anything else.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from ser_core.errors import SettingError
from ser_core.metrics import Interval, speaker_bootstrap, speaker_sums

SMALLEST = 1e-12


def chebyshev(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the largest difference of a share (clips,)."""
    return np.abs(wanted - given).max(axis=-1)


def clark(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return √Σ (d − p)² / (d + p)² (clips,); a label that both leave out adds nothing."""
    return np.sqrt((_relative(wanted, given) ** 2).sum(axis=-1))


def canberra(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return Σ |d − p| / (d + p) (clips,); a label that both leave out adds nothing."""
    return np.abs(_relative(wanted, given)).sum(axis=-1)


def kullback_leibler(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return Σ d log(d / p) in nats (clips,); a predicted share counts as at least 1e-12."""
    return np.where(wanted > 0, wanted * np.log(np.maximum(wanted, SMALLEST) / np.maximum(given, SMALLEST)), 0).sum(-1)


def cosine(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between both (clips,)."""
    return (wanted * given).sum(-1) / (np.linalg.norm(wanted, axis=-1) * np.linalg.norm(given, axis=-1))


def intersection(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the share (clips,) that both have in common, Σ min(d, p)."""
    return np.minimum(wanted, given).sum(axis=-1)


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "KL": kullback_leibler,
    "cosine": cosine,
    "Chebyshev": chebyshev,
    "Clark": clark,
    "Canberra": canberra,
    "intersection": intersection,
}
"""Measures of (clips, labels) wanted and given shares, one value a clip; the ones to judge by first."""

HIGHER_IS_BETTER = frozenset({"cosine", "intersection"})

JUDGED = ("KL", "cosine")
"""Measures on which a model has to beat the constant."""


def evaluate_distributions(
    wanted: np.ndarray,
    given: np.ndarray,
    speakers: Sequence[str],
    *,
    constant: np.ndarray | None = None,
    replicates: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return each measure's mean over clips with its interval over speakers, what it gains, and how much it varies.

    Args:
        wanted: (clips, labels), the listeners' shares.
        given: (clips, labels), the predicted shares.
        speakers: speaker of each clip; they are what is resampled.
        constant: (labels,) or (clips, labels), what a model without ears answers; by default the mean of ``wanted``,
            whose KL no other constant beats.
        replicates: how often speakers are drawn with replacement.
        seed: of the draws.

    Returns:
        Measure → Interval whose baseline is the constant's figure and whose chance is that of the uniform
        distribution; "<measure> gained on the constant", above 0 where the model is better; "spread of predictions"
        and "spread of listeners" as of :func:`spread`, 0 for a constant.

    Raises:
        SettingError: shapes differ, nothing was given, or rows are not distributions.
    """
    wanted, given = _checked(wanted, given, speakers)
    still = np.broadcast_to(wanted.mean(axis=0) if constant is None else constant, wanted.shape)
    uniform = np.full(wanted.shape, 1 / wanted.shape[1])

    def interval(values: np.ndarray, baseline: float = 0.0, chance: float = float("nan")) -> Interval:
        return mean_over_speakers(values, speakers, baseline=baseline, chance=chance, replicates=replicates, seed=seed)

    found = {
        name: interval(measure(wanted, given), measure(wanted, still).mean(), measure(wanted, uniform).mean())
        for name, measure in MEASURES.items()
    }
    for name in JUDGED:
        gain = MEASURES[name](wanted, given) - MEASURES[name](wanted, still)
        found[f"{name} gained on the constant"] = interval(gain if name in HIGHER_IS_BETTER else -gain)
    found["spread of predictions"] = interval(distance_from_mean(given))
    found["spread of listeners"] = interval(distance_from_mean(wanted))
    return found


def distance_from_mean(shares: np.ndarray) -> np.ndarray:
    """Return the share (clips,) of each distribution that lies elsewhere than in the mean of all (total variation).

    Its mean is the spread of the distributions: 0 where every clip has the same, below 1 in any case.
    """
    return 0.5 * np.abs(shares - shares.mean(axis=0)).sum(axis=-1)


def mean_over_speakers(
    values: np.ndarray,
    speakers: Sequence[str],
    *,
    baseline: float = float("nan"),
    chance: float = float("nan"),
    replicates: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean of one value a clip (clips,) with its interval over speakers."""
    sums = speaker_sums(np.stack([np.ones(len(values)), values], axis=1), speakers)
    low, high = speaker_bootstrap(sums, mean_of, replicates=replicates, seed=seed)
    return Interval(float(np.mean(values)), low, high, baseline=float(baseline), chance=float(chance))


def mean_differs(values: np.ndarray, speakers: Sequence[str], *, seed: int = 0) -> float:
    """Return how often the mean of one value a clip (clips,) would lie so far from 0 by chance, both sides.

    By chance each speaker's values are as likely turned round; all ways of turning are tried where they are fewer than
    10,000, else as many at random (SciPy's ``permutation_test``). One speaker alone says nothing: p is 1.
    """
    sums = speaker_sums(values[:, None], speakers)[:, 0]
    if len(sums) < 2:
        return 1.0
    found = permutation_test(
        (sums,), np.mean, permutation_type="samples", n_resamples=9_999, rng=np.random.default_rng(seed)
    )
    return float(found.pvalue)


def mean_of(sums: np.ndarray) -> np.ndarray:
    """Return the mean (…) of counts and sums (…, 2)."""
    means: np.ndarray = sums[..., 1] / sums[..., 0]
    return means


def mixtures(heard: np.ndarray, expected: np.ndarray, labels: Sequence[str], *, share: float = 0.25) -> pd.DataFrame:
    """Return how often two emotions share a clip, and whether a model expects it, the commonest pair first.

    Args:
        heard: (clips, labels) listeners' shares.
        expected: (clips, labels) a model's.
        labels: their names.
        share: of both emotions, for a clip to count as their mixture.

    Returns:
        one, other; clips (numbers where listeners heard both); expected (share of these where the model expects both,
        NaN where there are none); elsewhere (the same share of all other clips: the model's false alarms).
    """
    heard_by, expected_of = heard >= share, expected >= share
    rows = []
    for one, other in itertools.combinations(range(len(labels)), 2):
        mixed, known = (each[:, one] & each[:, other] for each in (heard_by, expected_of))
        found: dict[str, object] = {"one": labels[one], "other": labels[other], "clips": int(mixed.sum())}
        for name, inside in (("expected", mixed), ("elsewhere", ~mixed)):
            found[name] = float(known[inside].mean()) if inside.any() else float("nan")
        rows.append(found)
    return pd.DataFrame(rows).sort_values("clips", ascending=False, kind="stable", ignore_index=True)


def shares_of(counts: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    """Return shares (clips, labels) of counted votes.

    Args:
        counts: (clips, labels) numbers of listeners.
        smoothing: listeners added to every label, so that a label that nobody chose keeps a share.

    Raises:
        SettingError: a clip without any listener.
    """
    votes = np.asarray(counts, dtype=float) + smoothing
    if votes.size == 0 or not (votes.sum(axis=1) > 0).all():
        raise SettingError("Some clips have no listener's answer; leave them out.")
    return votes / votes.sum(axis=1, keepdims=True)


def _relative(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    both = wanted + given
    return np.divide(wanted - given, both, out=np.zeros_like(both, dtype=float), where=both > 0)


def _checked(wanted: np.ndarray, given: np.ndarray, speakers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    wanted, given = np.asarray(wanted, dtype=float), np.asarray(given, dtype=float)
    if wanted.ndim != 2 or wanted.shape != given.shape or len(wanted) != len(speakers) or not wanted.size:
        raise SettingError(
            f"Distributions of one shape and a speaker for each are needed; here are {wanted.shape} wanted, "
            f"{given.shape} given and {len(speakers)} speakers."
        )
    for rows in (wanted, given):
        if rows.min() < 0 or not np.allclose(rows.sum(axis=1), 1, atol=1e-3):
            raise SettingError(
                "Shares must not be negative and must sum to 1 in each row (were these votes or logits?)."
            )
    return wanted, given
