"""Distances of label distributions: by hand, against SciPy, and what has to hold for any two distributions."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import distance
from scipy.stats import entropy

from ser_core.corpora import read_corpus
from ser_core.distributions import (
    MEASURES,
    distance_from_mean,
    evaluate_distributions,
    mean_differs,
    mean_over_speakers,
    mixtures,
    shares_of,
)
from ser_core.errors import SettingError

votes = hnp.arrays(np.int64, (6, 4), elements=st.integers(0, 12)).filter(lambda v: (v.sum(axis=1) > 0).all())


def test_six_measures_by_hand() -> None:
    wanted, given_ = np.array([[0.5, 0.5, 0.0]]), np.array([[0.25, 0.5, 0.25]])
    found = {name: measure(wanted, given_)[0] for name, measure in MEASURES.items()}
    assert found == pytest.approx(
        {
            "KL": 0.5 * np.log(2),
            "cosine": 0.375 / np.sqrt(0.5 * 0.375),
            "Chebyshev": 0.25,
            "Clark": np.sqrt((0.25 / 0.75) ** 2 + 1),
            "Canberra": 0.25 / 0.75 + 1,
            "intersection": 0.75,
        }
    )


@given(votes, votes)
def test_measures_equal_scipys(first: np.ndarray, second: np.ndarray) -> None:
    wanted, given_ = shares_of(first), shares_of(second, smoothing=0.5)
    for row, (d, p) in enumerate(zip(wanted, given_, strict=True)):
        assert MEASURES["KL"](wanted, given_)[row] == pytest.approx(entropy(d, p), abs=1e-12)
        assert MEASURES["cosine"](wanted, given_)[row] == pytest.approx(1 - distance.cosine(d, p))
        assert MEASURES["Chebyshev"](wanted, given_)[row] == pytest.approx(distance.chebyshev(d, p))
        assert MEASURES["Canberra"](wanted, given_)[row] == pytest.approx(distance.canberra(d, p))
        assert MEASURES["intersection"](wanted, given_)[row] == pytest.approx(1 - distance.cityblock(d, p) / 2)


@given(votes)
def test_a_distribution_is_nearest_to_itself(counts: np.ndarray) -> None:
    shares = shares_of(counts)
    for name, measure in MEASURES.items():
        best = 1.0 if name in ("cosine", "intersection") else 0.0
        assert measure(shares, shares) == pytest.approx(best, abs=1e-9)


@given(votes, votes)
def test_no_constant_has_a_lower_mean_divergence_than_the_mean(first: np.ndarray, second: np.ndarray) -> None:
    wanted, other = shares_of(first), shares_of(second, smoothing=0.1)[0]
    mean = wanted.mean(axis=0)
    kl = MEASURES["KL"]
    assert kl(wanted, np.tile(mean, (6, 1))).mean() <= kl(wanted, np.tile(other, (6, 1))).mean() + 1e-9


def test_figures_hold_the_constant_the_uniform_and_the_gain_beside_the_model() -> None:
    generator = np.random.default_rng(0)
    wanted = generator.dirichlet(np.ones(6), 400)
    speakers = [f"s{i % 20}" for i in range(400)]
    constant = wanted.mean(axis=0)
    half_way = 0.5 * wanted + 0.5 * constant
    found = evaluate_distributions(wanted, half_way, speakers, replicates=500)
    tiled = np.tile(constant, (400, 1))
    assert found["KL"].baseline == pytest.approx(np.mean([entropy(d, constant) for d in wanted]))
    assert found["KL"].chance == pytest.approx(np.mean([entropy(d, np.full(6, 1 / 6)) for d in wanted]))
    assert found["KL gained on the constant"].value == pytest.approx(found["KL"].baseline - found["KL"].value)
    assert found["cosine gained on the constant"].low > 0
    assert found["spread of predictions"].value == pytest.approx(found["spread of listeners"].value / 2)
    still = evaluate_distributions(wanted, tiled, speakers, replicates=500)
    gain = still["KL gained on the constant"]
    assert (gain.value, gain.low, gain.high) == pytest.approx((0, 0, 0))
    assert still["spread of predictions"].value == pytest.approx(0)


def test_the_interval_of_a_mean_is_that_of_resampled_speakers() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.integers(5, 40, 12)
    speakers = np.repeat([f"s{i}" for i in range(12)], sizes)
    values = generator.normal(np.repeat(generator.normal(0, 1, 12), sizes), 0.3)
    found = mean_over_speakers(values, speakers.tolist(), replicates=4000)
    names = np.unique(speakers)
    drawn = []
    for _ in range(4000):
        picked = generator.choice(names, len(names))
        drawn.append(np.concatenate([values[speakers == name] for name in picked]).mean())
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.06)


@settings(max_examples=30)
@given(votes)
def test_the_spread_lies_between_that_of_a_constant_and_one(counts: np.ndarray) -> None:
    far = distance_from_mean(shares_of(counts))
    assert (far >= 0).all() and (far < 1).all()


def test_smoothing_adds_listeners_to_every_label() -> None:
    assert shares_of(np.array([[3, 1, 0]]), smoothing=1.0).tolist() == [[4 / 7, 2 / 7, 1 / 7]]


def test_votes_of_nobody_and_rows_that_are_no_distributions_are_refused() -> None:
    with pytest.raises(SettingError, match="no listener"):
        shares_of(np.array([[0, 0], [1, 2]]))
    with pytest.raises(SettingError, match="sum to 1"):
        evaluate_distributions(np.array([[2.0, 7.0]]), np.array([[0.5, 0.5]]), ["a"])
    with pytest.raises(SettingError, match="one shape"):
        evaluate_distributions(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0, 0.0]]), ["a"])


def test_a_constant_scores_what_the_published_models_of_em2ldl_score(corpora: Path) -> None:
    table = read_corpus(corpora / "em2ldl").table
    shares = table.filter(like="share_").to_numpy()
    test = (table["split"] == "test").to_numpy()
    constant = shares[(table["split"] == "train").to_numpy()].mean(axis=0)
    speakers = table["speaker"][test].tolist()
    given_ = np.tile(constant / constant.sum(), (test.sum(), 1))
    found = evaluate_distributions(shares[test], given_, speakers, replicates=10)
    assert found["KL"].value == pytest.approx(0.8477, abs=5e-5)
    assert found["cosine"].value == pytest.approx(0.7947, abs=5e-5)


def test_a_mean_differs_from_nothing_in_as_few_draws_as_chance_allows() -> None:
    random = np.random.default_rng(0)
    speakers = [f"s{k % 8}" for k in range(40)]
    found = [mean_differs(random.normal(size=40), speakers) for _ in range(300)]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
    assert mean_differs(0.5 + random.normal(size=40) / 10, speakers) == pytest.approx(2 / 2**8)
    assert mean_differs(np.ones(5), ["alone"] * 5) == 1.0


def test_mixtures_are_counted_where_both_are_heard_by_a_quarter() -> None:
    heard = np.array([[0.5, 0.5, 0.0], [0.75, 0.25, 0.0], [0.0, 0.3, 0.7], [0.8, 0.2, 0.0]])
    expected = np.array([[0.5, 0.4, 0.1], [1.0, 0.0, 0.0], [0.3, 0.3, 0.4], [0.6, 0.4, 0.0]])
    found = mixtures(heard, expected, ["a", "b", "c"]).set_index(["one", "other"])
    assert found.index.tolist() == [("a", "b"), ("b", "c"), ("a", "c")]  # the commonest first
    assert found["clips"].tolist() == [2, 1, 0]
    assert found.loc[("a", "b"), ["expected", "elsewhere"]].tolist() == [0.5, 1.0]
    assert found.loc[("b", "c"), ["expected", "elsewhere"]].tolist() == [1.0, 0.0]
    assert np.isnan(found.loc[("a", "c"), "expected"]) and found.loc[("a", "c"), "elsewhere"] == 0.25
