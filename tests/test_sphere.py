"""Valence, arousal and dominance as a sphere: angles by hand, octants against brute force, ties as defined."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ser_core.errors import SettingError
from ser_core.sphere import (
    OCTANTS,
    octant_index,
    octant_name,
    octant_shares,
    octant_table,
    on_unit_scale,
    to_spherical,
)

points = hnp.arrays(np.float64, (5, 3), elements=st.floats(-1, 1, allow_subnormal=False))


def test_spherical_coordinates_by_hand() -> None:
    found = to_spherical(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [1.0, 1.0, -1.0], [0, 0, 0]]))
    assert found.radius == pytest.approx([1, 1, 0.5, np.sqrt(3), 0])
    assert found.polar == pytest.approx([0, np.pi / 2, np.pi / 2, np.arccos(-1 / np.sqrt(3)), 0])
    assert found.azimuth == pytest.approx([0, 0, np.pi / 2, np.pi / 4, 0])


@given(points)
def test_coordinates_lead_back_to_the_point(given_: np.ndarray) -> None:
    found = to_spherical(given_)
    flat = found.radius * np.sin(found.polar)
    back = (flat * np.cos(found.azimuth), flat * np.sin(found.azimuth), found.radius * np.cos(found.polar))
    assert np.stack(back, axis=-1) == pytest.approx(given_, abs=1e-9)


@given(hnp.arrays(np.float64, (5, 3), elements=st.sampled_from([-1.0, -0.3, 0.0, 0.4, 1.0])))
def test_a_point_belongs_in_equal_parts_to_the_octants_that_touch_it(given_: np.ndarray) -> None:
    for point, shares in zip(given_, octant_shares(given_), strict=True):
        touching = {
            octant_index(np.array([corner]))[0]
            for corner in itertools.product((-1, 1), repeat=3)
            if all(value * sign >= 0 for value, sign in zip(point, corner, strict=True))
        }
        assert {int(i) for i in np.flatnonzero(shares)} == touching
        assert shares[sorted(touching)] == pytest.approx(1 / len(touching))


@pytest.mark.parametrize(
    ("signs", "name"),
    [
        ((1, 1, 1), "exuberant"),
        ((-1, -1, -1), "bored"),
        ((1, 1, -1), "dependent"),
        ((-1, -1, 1), "disdainful"),
        ((1, -1, 1), "relaxed"),
        ((-1, 1, -1), "anxious"),
        ((1, -1, -1), "docile"),
        ((-1, 1, 1), "hostile"),
    ],
)
def test_octants_have_mehrabians_names(signs: tuple[int, int, int], name: str) -> None:
    assert OCTANTS[octant_index(np.array([signs]))[0]] == name


def test_a_place_is_named_in_plain_words_and_only_as_far_as_it_is_clear() -> None:
    assert octant_name(np.array([-0.6, 0.5, 0.3])) == "unpleasant, excited and strong (the “hostile” octant)"
    assert octant_name(np.array([-0.6, 0.01, 0.3])) == "unpleasant and strong, otherwise in the middle"
    assert octant_name(np.array([0.0, 0.2, 0.04])) == "excited, otherwise in the middle"
    assert octant_name(np.zeros(3)) == "in the middle of all three scales"


def test_ratings_go_from_their_own_scale_to_minus_one_and_one() -> None:
    assert on_unit_scale(np.array([1.0, 3.0, 4.5, 5.0]), (1.0, 5.0)).tolist() == [-1.0, 0.0, 0.75, 1.0]
    with pytest.raises(SettingError, match="outside 1 … 5"):
        on_unit_scale(np.array([0.5]), (1.0, 5.0))


def test_the_table_of_octants_counts_clips_and_what_is_found_of_them() -> None:
    rated = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [0.0, 0.5, 0.5]])
    given_ = np.array([[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
    found = octant_table(rated, given_).set_index("place")
    here, there = found.loc["pleasant, excited, strong"], found.loc["unpleasant, excited, strong"]
    assert here["octant"] == "exuberant"
    assert (here["rated"], there["rated"]) == (2.5 / 4, 1.5 / 4)  # the clip on the boundary counts in halves
    assert (here["predicted"], there["predicted"]) == (0.5, 0.5)
    assert here["found"] == pytest.approx(1.5 / 2.5) and there["found"] == pytest.approx(1 / 1.5)
    assert found["found"].isna().sum() == 6
    assert found["rated"].sum() == found["predicted"].sum() == 1
