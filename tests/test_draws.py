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
        assert found.dtype == float and (found == expected).all()
        found[:] = -1  # what is handed out can be changed without harm


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
