"""How well a model does, with intervals that know that clips come from speakers.

Conventions: ``truth`` and ``predicted`` are sequences of class names, one a clip; ``speakers`` names each clip's
speaker; a confusion matrix has shape (…, classes, classes), rows are the truth. Every measure of a confusion matrix
takes any number of leading axes, so ten thousand resampled matrices cost as little as one.

Speakers, not clips, are resampled: clips of one speaker are alike, and resampling clips makes intervals far too narrow.
A replicate is a weighted sum of per-speaker tensors, so nothing is recomputed from rows.

Sources: balanced accuracy (UAR) and macro-F1 as in scikit-learn; expected calibration error, Guo et al. 2017,
arXiv:1706.04599; concordance correlation, Lin 1989, doi:10.2307/2532051; bootstrap over clusters, Davison and Hinkley
1997, section 3.8; permutation p-values, Phipson and Smyth 2010, doi:10.2202/1544-6115.1585.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.draws import draws, summed
from ser_core.errors import SettingError

Statistic = Callable[[np.ndarray], np.ndarray]
"""From (…, classes, classes) confusion matrices to (…) values."""

_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval over speakers.

    baseline: of always answering the most frequent class. chance: expected when the same answers are dealt to the clips
    at random. Both are NaN where they have no meaning.
    """

    value: float
    low: float
    high: float
    baseline: float = float("nan")
    chance: float = float("nan")


def confusion(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the counts (classes, classes) of each true class (row) answered as each class (column)."""
    return speaker_confusions(truth, predicted, [""] * len(truth), classes)[0]


def speaker_confusions(
    truth: Sequence[str], predicted: Sequence[str], speakers: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """Return one confusion matrix per speaker (speakers, classes, classes), speakers in sorted order.

    Raises:
        SettingError: lengths differ, nothing was given, a speaker is missing, or a label is not among ``classes``.
    """
    clips = _same_length(truth=truth, predicted=predicted, speakers=speakers)
    place = _places(classes)
    strange = sorted({str(label) for label in (*truth, *predicted) if label not in place})
    if strange:
        raise SettingError(
            f"Labels outside the classes: {', '.join(strange)}; give every label in 'classes' or leave such clips out."
        )
    _, which = _speaker_places(speakers)
    counts = np.zeros((which.max() + 1, len(place), len(place)), dtype=np.int64)
    rows = np.fromiter((place[label] for label in truth), dtype=np.intp, count=clips)
    columns = np.fromiter((place[label] for label in predicted), dtype=np.intp, count=clips)
    np.add.at(counts, (which, rows, columns), 1)
    return counts


def recalls(matrix: np.ndarray) -> np.ndarray:
    """Return the recall (…, classes) of each class; NaN for a class without clips."""
    return _ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1))


def uar(matrix: np.ndarray) -> np.ndarray:
    """Return the unweighted average recall (…) over the classes that have clips."""
    return _mean_of_known(recalls(matrix))


def weighted_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Return the share (…) of clips answered correctly."""
    return _ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Return the mean F1 (…) over the classes that occur in the truth or in the answers."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return _mean_of_known(_ratio(2 * hits, matrix.sum(axis=-1) + matrix.sum(axis=-2)))


def constant_baseline(matrix: np.ndarray) -> np.ndarray:
    """Return the confusion matrix (classes, classes) of always answering the most frequent true class."""
    constant = np.zeros_like(matrix)
    constant[:, int(matrix.sum(axis=1).argmax())] = matrix.sum(axis=1)
    return constant


def chance_level(matrix: np.ndarray) -> np.ndarray:
    """Return the expected confusion matrix when the same answers are dealt to the clips at random.

    UAR, accuracy, recalls and macro-F1 of it are their exact expectations, as rows and columns keep their sums.
    """
    return np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / matrix.sum()


def speaker_bootstrap(
    tensors: np.ndarray, statistic: Statistic, *, replicates: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic when speakers are drawn with replacement.

    Args:
        tensors: (speakers, …): what each speaker adds to a sum from which the statistic follows.
        statistic: from (replicates, …) sums to (replicates,) values.
        replicates: how often speakers are drawn.
        seed: of the draws.

    Returns:
        low, high; NaN for fewer than two speakers, from whom no spread follows.
    """
    if len(tensors) < 2:
        return float("nan"), float("nan")
    return _limits(statistic(summed(draws(len(tensors), replicates, seed), tensors)))


def evaluate(
    truth: Sequence[str],
    predicted: Sequence[str],
    speakers: Sequence[str],
    classes: Sequence[str],
    *,
    replicates: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return UAR, WA, macro-F1 and the recall of each class, each with interval, baseline and chance.

    Args:
        truth: true class of each clip.
        predicted: the model's answer for each clip.
        speakers: speaker of each clip; they are what is resampled.
        classes: all class names; those without clips are left out of the averages, and have no recall.
        replicates: how often speakers are drawn with replacement.
        seed: of the draws.

    Returns:
        "UAR", "WA", "macro-F1" and "recall of <class>" → Interval.

    Raises:
        SettingError: lengths differ, nothing was given, a speaker is missing, or a label is not among ``classes``.
    """
    tensors = speaker_confusions(truth, predicted, speakers, classes)
    whole = tensors.sum(axis=0)
    measures: dict[str, Statistic] = {"UAR": uar, "WA": weighted_accuracy, "macro-F1": macro_f1}
    measures |= {f"recall of {name}": _recall_of(place) for place, name in enumerate(classes) if whole[place].sum() > 0}
    constant, dealt = constant_baseline(whole), chance_level(whole)
    sums = summed(draws(len(tensors), replicates, seed), tensors) if len(tensors) > 1 else None
    found: dict[str, Interval] = {}
    for name, measure in measures.items():
        low, high = (float("nan"), float("nan")) if sums is None else _limits(measure(sums))
        found[name] = Interval(
            float(measure(whole)), low, high, baseline=float(measure(constant)), chance=float(measure(dealt))
        )
    return found


def calibration_error(
    truth: Sequence[str],
    probabilities: np.ndarray,
    speakers: Sequence[str],
    classes: Sequence[str],
    *,
    bins: int = 15,
    replicates: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the expected calibration error of the top answer, with its interval over speakers.

    The confidence of the most probable class falls into ``bins`` bins of equal width over (0, 1], closed on the right;
    the error is the mean over clips of |accuracy − confidence| of their bin. Small samples bias it upwards.

    Args:
        truth: true class of each clip.
        probabilities: (clips, classes), rows sum to 1.
        speakers: speaker of each clip.
        classes: class names in the order of the columns.
        bins: number of bins.
        replicates: how often speakers are drawn with replacement.
        seed: of the draws.

    Raises:
        SettingError: shapes differ, a label is not among ``classes``, or rows are not probabilities.
    """
    clips = _same_length(truth=truth, probabilities=probabilities, speakers=speakers)
    given = np.asarray(probabilities, dtype=float)
    if given.shape != (clips, len(classes)):
        raise SettingError(f"Probabilities have shape {given.shape}; ({clips}, {len(classes)}) is needed.")
    if not np.allclose(given.sum(axis=1), 1, atol=1e-4) or given.min() < 0:
        raise SettingError("Probabilities must not be negative and must sum to 1 in each row (were these logits?).")
    place = _places(classes)
    strange = sorted({str(label) for label in truth if label not in place})
    if strange:
        raise SettingError(f"Labels outside the classes: {', '.join(strange)}.")
    _, which = _speaker_places(speakers)
    confidence = given.max(axis=1)
    correct = given.argmax(axis=1) == np.array([place[label] for label in truth])
    slot = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    tensors = np.zeros((which.max() + 1, bins, 2))
    np.add.at(tensors, (which, slot), np.stack([np.ones(clips), correct - confidence], axis=1))
    value = float(_calibration_error(tensors.sum(axis=0)))
    low, high = speaker_bootstrap(tensors, _calibration_error, replicates=replicates, seed=seed)
    return Interval(value, low, high)


def concordance(
    truth: Sequence[float] | np.ndarray,
    predicted: Sequence[float] | np.ndarray,
    speakers: Sequence[str],
    *,
    replicates: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the concordance correlation coefficient with its interval over speakers.

    The baseline, always answering the mean, has a coefficient of 0, and so has chance. Variances divide by n.

    Raises:
        SettingError: lengths differ, fewer than two clips, or values that are not finite.
    """
    clips = _same_length(truth=truth, predicted=predicted, speakers=speakers)
    x, y = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    if clips < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SettingError("Concordance needs two or more clips and finite values; leave unrated clips out.")
    # Sums of squares keep their digits only around the mean.
    centre = x.mean()
    x, y = x - centre, y - centre
    tensors = speaker_moments(x, y, speakers)
    low, high = speaker_bootstrap(tensors, concordance_of, replicates=replicates, seed=seed)
    return Interval(float(concordance_of(tensors.sum(axis=0))), low, high, baseline=0.0, chance=0.0)


def mean_concordance(
    truth: np.ndarray, predicted: np.ndarray, speakers: Sequence[str], *, replicates: int = 10_000, seed: int = 0
) -> Interval:
    """Return the mean concordance correlation of several values a clip, with its interval over speakers.

    The same speakers are drawn for all of them. A constant has 0, and so has chance.

    Args:
        truth: (clips, values) as rated.
        predicted: (clips, values) as answered.
        speakers: speaker of each clip.
        replicates: how often speakers are drawn with replacement.
        seed: of the draws.

    Raises:
        SettingError: shapes differ, fewer than two clips, or values that are not finite.
    """
    _same_length(truth=truth, predicted=predicted, speakers=speakers)
    x, y = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    if x.shape != y.shape or len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SettingError("Concordance needs two or more clips and finite values; leave unrated clips out.")
    centre = x.mean(axis=0)
    tensors = np.stack(
        [speaker_moments(one, other, speakers) for one, other in zip((x - centre).T, (y - centre).T, strict=True)],
        axis=1,
    )

    def mean(sums: np.ndarray) -> np.ndarray:
        found: np.ndarray = concordance_of(sums).mean(axis=-1)
        return found

    low, high = speaker_bootstrap(tensors, mean, replicates=replicates, seed=seed)
    return Interval(float(mean(tensors.sum(axis=0))), low, high, baseline=0.0, chance=0.0)


def _recall_of(place: int) -> Statistic:
    return lambda matrix: recalls(matrix)[..., place]


def _calibration_error(sums: np.ndarray) -> np.ndarray:
    return _ratio(np.abs(sums[..., 1]).sum(axis=-1), sums[..., 0].sum(axis=-1))


def speaker_sums(values: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
    """Return the sums (speakers, columns) of values (clips, columns) over each speaker's clips, speakers sorted."""
    _, which = _speaker_places(speakers)
    sums = np.zeros((which.max() + 1, values.shape[1]))
    np.add.at(sums, which, values)
    return sums


def speaker_moments(truth: np.ndarray, predicted: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
    """Return each speaker's count, sums, sums of squares and of products (speakers, 6) of two values a clip."""
    x, y = truth, predicted
    return speaker_sums(np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1), speakers)


def concordance_of(sums: np.ndarray) -> np.ndarray:
    """Return the concordance correlation (…) of summed moments (…, 6)."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    mean_x, mean_y = x / count, y / count
    spread = xx / count - mean_x**2 + yy / count - mean_y**2 + (mean_x - mean_y) ** 2
    return _ratio(2 * (xy / count - mean_x * mean_y), spread)


def correlation_of(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation (…) of summed moments (…, 6); NaN where one of the two values never changes."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (xx / count - (x / count) ** 2) * (yy / count - (y / count) ** 2)
    return _ratio(xy / count - x * y / count**2, np.sqrt(spread.clip(min=0)))


def _limits(values: np.ndarray) -> tuple[float, float]:
    tail = 50 * (1 - _LEVEL)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _places(classes: Sequence[str]) -> dict[str, int]:
    if not len(classes) or len(set(classes)) < len(classes):
        raise SettingError("Classes must be given, each once.")
    return {name: place for place, name in enumerate(classes)}


def _speaker_places(speakers: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return the sorted speakers and each clip's place among them."""
    if any(not isinstance(speaker, str) for speaker in speakers):
        raise SettingError("Some clips have no speaker; leave them out, since speakers are what is resampled.")
    names, which = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    return names.tolist(), which


def _same_length(**given: Sequence | np.ndarray) -> int:
    lengths = {name: len(values) for name, values in given.items()}
    if len(set(lengths.values())) > 1:
        raise SettingError(
            "One value a clip is needed; here are "
            + ", ".join(f"{size} {name}" for name, size in lengths.items())
            + "."
        )
    size = next(iter(lengths.values()))
    if size == 0:
        raise SettingError("There are no clips to evaluate.")
    return size
