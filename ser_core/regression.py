"""What scikit-learn's classifiers learn, as the last linear layer of a network: one row of weights for each class."""

from collections.abc import Sequence

import numpy as np

ABSENT = -30.0
"""Bias of a class that no training clip had: the layer never answers it."""


def class_rows(
    weight: np.ndarray, bias: np.ndarray, seen: Sequence[int] | np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (classes, features) and biases (classes,) whose softmax gives scikit-learn's probabilities.

    Of two classes scikit-learn keeps the log-odds only; half of them go to either class. Classes that it never saw get
    no weight and the bias ``ABSENT``.

    Args:
        weight: (classes seen, features), or (1, features) for two of them, as ``coef_``.
        bias: as ``intercept_``.
        seen: numbers of the classes that were seen, in order, as ``classes_``.
        classes: how many there are.
    """
    if len(seen) == 2 and len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weights, biases = np.zeros((classes, weight.shape[1])), np.full(classes, ABSENT)
    weights[list(seen)], biases[list(seen)] = weight, bias
    return weights, biases
