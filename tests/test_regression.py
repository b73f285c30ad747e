"""Logistic regression of scikit-learn as a linear layer: two classes, many, and one that was never seen."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from ser_core.regression import class_rows


@pytest.mark.parametrize("seen", [(0, 1), (1, 3), (0, 1, 2), (0, 2, 3)])
def test_the_softmax_over_the_rows_gives_its_probabilities(seen: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    truth = np.array(seen)[np.arange(60) % len(seen)]
    values = random.normal(size=(60, 5)) + truth[:, None] * random.normal(size=5)
    fitted = LogisticRegression().fit(values, truth)
    weight, bias = class_rows(fitted.coef_, fitted.intercept_, fitted.classes_, 4)
    assert weight.shape == (4, 5) and bias.shape == (4,)
    chances = softmax(values @ weight.T + bias, axis=1)
    np.testing.assert_allclose(chances[:, list(seen)], fitted.predict_proba(values), atol=1e-9)
    absent = [place for place in range(4) if place not in seen]
    assert chances[:, absent].max() < 1e-9
