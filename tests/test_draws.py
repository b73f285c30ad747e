"""What is kept of random draws is what a fresh generator gives."""

import numpy as np
import pytest

from ser_core import draws as room
from ser_core.errors import SettingError


@pytest.mark.parametrize("most", [room.MOST_KEPT, 0], ids=["kept", "made anew"])
@pytest.mark.parametrize("speakers", [5, 300])
def test_draws_are_those_of_a_fresh_generator(speakers: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_KEPT", most)
    expected = np.random.default_rng([3, 1]).multinomial(speakers, np.full(speakers, 1 / speakers), size=40)
    for _ in range(2):
        found = room.draws(speakers, 40, [3, 1])
        assert (found == expected).all()
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 0


@pytest.mark.parametrize("most", [room.MOST_KEPT, 0], ids=["kept", "made anew"])
@pytest.mark.parametrize(
    "values", [np.arange(7) > 3, np.random.default_rng(0).integers(0, 4, 300)], ids=["two", "four"]
)
def test_orders_deal_as_permuting_rows_does_and_go_on_from_there(
    values: np.ndarray, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_KEPT", most)
    fresh = np.random.default_rng([0, 1, 2])
    expected = fresh.permuted(np.tile(values, (30, 1)), axis=1)
    after = fresh.integers(0, 1000, 20)
    for _ in range(2):
        order, random = room.orders(len(values), 30, [0, 1, 2])
        assert (values[order] == expected).all()
        assert (random.integers(0, 1000, 20) == after).all()
        with pytest.raises(ValueError, match="read-only"):
            order[0] = 0


def test_nothing_large_is_kept_and_what_is_kept_is_small() -> None:
    room._kept_draws.cache_clear()
    room.draws(room.MOST_KEPT // 10 + 1, 10, 0)
    assert room._kept_draws.cache_info().currsize == 0
    room.draws(200, 50, 0)
    assert room._kept_draws(200, 50, 0).nbytes == 200 * 50
    assert room._kept_orders(300, 20, 0)[0].nbytes == 2 * 300 * 20


def test_no_replicates_are_told() -> None:
    with pytest.raises(SettingError, match="0 replicates give no interval"):
        room.draws(5, 0, 0)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).integers(-50, 50, (300, 2, 3)),
        np.random.default_rng(1).normal(size=(300, 2, 3)),
        np.full((300, 1), 4_000_001.0),
        np.zeros((300, 0)),
    ],
    ids=["counts", "no counts", "counts beyond single precision", "nothing"],
)
def test_sums_are_those_of_double_precision(values: np.ndarray) -> None:
    drawn = room.draws(300, 40, 0)
    found = room.summed(drawn, values)
    assert found.dtype == float and found.shape == (40, *values.shape[1:])
    exact = np.array([sum(int(n) * each for n, each in zip(row, values, strict=True)) for row in drawn], dtype=float)
    np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-9)
    if (values == np.rint(values)).all():
        assert (found == exact).all()
    for weights in (drawn > 1, drawn.astype(float)):
        expected = np.tensordot(weights.astype(float), values.astype(float), 1)
        np.testing.assert_allclose(room.summed(weights, values), expected, rtol=1e-12, atol=1e-9)


def test_counts_are_added_in_single_precision_only_while_it_is_exact() -> None:
    drawn = room.draws(300, 40, 0)
    assert room._is_exact_in_single(drawn, np.full((300, 1), 100))
    assert not room._is_exact_in_single(drawn, np.full((300, 1), 100.5))
    assert not room._is_exact_in_single(drawn, np.full((300, 1), 1 << 20))
    assert not room._is_exact_in_single(drawn * 1.0, np.full((300, 1), 100))


def test_deals_without_a_value_are_not_counted_and_too_few_give_no_p() -> None:
    deals = np.array([0.3, 0.1, np.nan, np.nan])
    assert room.p_of_deals(deals, 0.2) == 2 / 3 and room.p_of_deals(deals, 0.0) == 1
    assert room.p_of_deals(deals[:2], 0.2) == 2 / 3
    rare = np.full(100, np.nan)
    rare[:5] = 0.0
    assert room.p_of_deals(rare, 0.1) == 1 / 6 and np.isnan(room.p_of_deals(rare[1:], 0.1))
    assert np.isnan(room.p_of_deals(deals[2:], 0.1)) and np.isnan(room.p_of_deals(deals, np.nan))
