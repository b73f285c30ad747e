import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy

from ser_core.uncertainty import accuracy_by_entropy


def table(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    p = np.stack([confidence, 1 - confidence], axis=1)
    truth = np.where(right, "anger", "fear")
    speakers = np.array([f"s{k % 7}" for k in range(len(confidence))])
    return pd.DataFrame({"speaker": speakers, "emotion": truth, "p_anger": p[:, 0], "p_fear": p[:, 1]})


def test_parts_are_equal_and_in_the_order_of_entropy() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1.0, 400)
    right = generator.random(400) < confidence
    found = accuracy_by_entropy(table(confidence, right), replicates=300)
    assert found["clips"].tolist() == [100] * 4
    surest = np.argsort(-confidence)[:100]
    assert found.loc[0, "accuracy"] == pytest.approx(right[surest].mean())
    assert found.loc[0, "entropy_bits"] == pytest.approx(max(entropy([c, 1 - c], base=2) for c in confidence[surest]))
    assert (found["low"] <= found["accuracy"]).all() and (found["accuracy"] <= found["high"]).all()


def test_a_model_that_knows_what_it_knows_is_right_more_often_where_it_is_sure() -> None:
    confidence = np.repeat([0.95, 0.55], 200)
    right = np.tile([True, True, True, True, False], 40).tolist() + [True, False] * 100
    found = accuracy_by_entropy(table(confidence, np.array(right)), parts=2, replicates=300)
    assert found["accuracy"].tolist() == [pytest.approx(0.8), pytest.approx(0.5)]
