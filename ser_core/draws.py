"""Which speakers are drawn, or dealt to groups, in each replicate, and what they then add up to.

The same for every table of as many speakers, and for a thousand of them slower to make than all that is worked out from
it: so they are kept. What is kept are random numbers from a seed, never anything of a table.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ser_core.errors import SettingError

MOST_KEPT = 10_000_000
"""Entries of what is kept; what is larger is made anew, so that a table of very many speakers fills no memory."""

LEAST_KNOWN = 0.05
"""Share of the deals in which a measure must have a value, or their rest is too few to tell a p from."""

Seed = int | Sequence[int]


def draws(speakers: int, replicates: int, seed: Seed) -> np.ndarray:
    """Return how often each speaker is drawn with replacement, (replicates, speakers); each row sums to ``speakers``.

    Whole numbers in few bytes, not to be changed; :func:`summed` weighs with them.

    Raises:
        SettingError: no replicates are asked for.
    """
    if replicates < 1:
        raise SettingError(f"{replicates} replicates give no interval; 10000 is usual.")
    make = _kept_draws if speakers * replicates <= MOST_KEPT else _kept_draws.__wrapped__
    return make(speakers, replicates, _hashable(seed))


def summed(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums (replicates, …) of what speakers add (speakers, …), each weighted (replicates, speakers).

    Counts are added in single precision, which takes half the time and is exact while no sum passes 2 ** 24.
    """
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    kind = np.float32 if _is_exact_in_single(weights, flat) else np.float64
    sums: np.ndarray = (weights.astype(kind) @ flat.astype(kind)).astype(float)
    return sums.reshape(len(weights), *values.shape[1:])


def _is_exact_in_single(weights: np.ndarray, flat: np.ndarray) -> bool:
    if weights.dtype.kind not in "bui" or not flat.size or not weights.size:
        return False
    largest = np.abs(flat).sum(axis=0, dtype=float).max() * int(np.abs(weights).max())
    return bool(largest < 1 << 24 and (flat == np.rint(flat)).all())


def orders(count: int, replicates: int, seed: Seed) -> tuple[np.ndarray, np.random.Generator]:
    """Return the places 0 … count − 1 in random order (replicates, count), and the generator as it stands after them.

    ``values[orders(len(values), …)[0]]`` is what ``Generator.permuted`` makes of rows of these values.
    """
    make = _kept_orders if count * replicates <= MOST_KEPT else _kept_orders.__wrapped__
    found, state = make(count, replicates, _hashable(seed))
    random = np.random.default_rng()
    random.bit_generator.state = state
    return found, random


def p_of_deals(deals: np.ndarray, value: float) -> float:
    """Return the p of a value among those (replicates,) of random deals: how often one is as large.

    Deals in which the measure has no value, as where a group gets no speaker with an emotion, say nothing and are not
    counted; NaN where fewer than ``LEAST_KNOWN`` of them have one, or ``value`` is none.
    """
    known = deals[~np.isnan(deals)]
    if np.isnan(value) or not len(known) or len(known) < LEAST_KNOWN * len(deals):
        return float("nan")
    return (1 + int((known >= value - 1e-12).sum())) / (1 + len(known))


def _hashable(seed: Seed) -> Seed:
    return seed if isinstance(seed, int) else tuple(seed)


@lru_cache(maxsize=8)
def _kept_draws(speakers: int, replicates: int, seed: Seed) -> np.ndarray:
    chances = np.full(speakers, 1 / speakers)
    drawn = np.random.default_rng(seed).multinomial(speakers, chances, size=replicates)
    return _small(drawn, int(drawn.max()))


@lru_cache(maxsize=8)
def _kept_orders(count: int, replicates: int, seed: Seed) -> tuple[np.ndarray, Any]:
    random = np.random.default_rng(seed)
    places = np.arange(count, dtype=np.min_scalar_type(max(0, count - 1)))
    return _small(random.permuted(np.tile(places, (replicates, 1)), axis=1), count), random.bit_generator.state


def _small(values: np.ndarray, most: int) -> np.ndarray:
    """Return whole numbers up to ``most`` in as few bytes as hold them, never to be changed."""
    found = values.astype(np.min_scalar_type(most))
    found.flags.writeable = False
    return found
