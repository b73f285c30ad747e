"""One temperature per model, fitted on validation speakers (Guo et al. 2017, "On calibration of modern networks")."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Return the temperature (0.05 … 20) that minimises the mean negative log-likelihood.

    Args:
        logits: (clips, classes) of clips that were not trained on.
        classes: (clips,) index of the true class.
    """

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(classes)), classes].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded").x))
