"""Shapley values of many players from few sets of them: which sets to ask about, and how to read the answers."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

INTERACTIONS, SHARES = (0.05, 0.1, 0.2, 0.4), (0.01, 0.1, 0.3, 0.6, 0.9)
TRACE, CONSTANT = 1e-4, 10.0


@dataclass(frozen=True, eq=False)
class ShapleyValues:
    """What each player adds, on average over all orders in which they join.

    values (players,) add up to the answer of all less that of none. scatter is the standard deviation that the sets
    which were not asked about leave in a value, the root of its mean square over players.
    """

    values: Tensor
    scatter: float


def sets_of_players(players: int, most: int, generator: torch.Generator) -> Tensor:
    """Return sets (sets, players) of 0 and 1 to ask about: none, all, and at most so many (an even number) others.

    Every player alone comes first, then sets of a size drawn evenly from 2 to half of the players, no set twice; each
    is followed by its complement. The lonely and the lacked pin down what Shapley values weigh most, and complements
    cancel interactions of two (Covert & Lee 2021, "Improving KernelSHAP"). Where all sets are no more than that, they
    are what is asked.
    """
    if 2**players - 2 <= most:
        return torch.tensor(list(itertools.product((0, 1), repeat=players)))
    order = torch.randperm(players, generator=generator).tolist()
    asked = dict.fromkeys(frozenset([player]) for player in order)
    while len(asked) < most // 2:
        size = int(torch.randint(2, players // 2 + 1, (1,), generator=generator))
        drawn = frozenset(torch.randperm(players, generator=generator)[:size].tolist())
        if frozenset(range(players)) - drawn not in asked:  # the other half of a pair of halves
            asked[drawn] = None
    kept = torch.zeros(most // 2, players, dtype=torch.long)
    for row, members in zip(kept, asked, strict=False):
        row[list(members)] = 1
    ends = torch.tensor([[0], [1]]).expand(2, players)
    return torch.cat([ends, torch.stack([kept, 1 - kept], dim=1).flatten(0, 1)])


def shapley_values(kept: Tensor, answers: Tensor) -> ShapleyValues:
    """Return the Shapley values of players from the answers to some sets of them.

    The answers of all other sets are filled in by a Gaussian process whose kernel is a sum over players (what each
    adds by itself) and a product over them (how they work together), as likely as possible given what was answered;
    the Shapley values of such a process are known in closed form. KernelSHAP fits a sum only, so all that players do
    together is noise to it.

    Args:
        kept: (sets, players) of 0 and 1, none and all among them (``sets_of_players``).
        answers: (sets,) of those sets.

    Source: Chau et al. 2023, "Explaining the Uncertain: Stochastic Shapley Values for Gaussian Process Models";
    Mohammadi et al. 2025, "Exact Shapley Attributions in Quadratic-time for FANOVA Gaussian Processes".
    """
    side, answers = 2.0 * kept.double() - 1, answers.double()
    sets, players = side.shape
    centred = answers - answers.mean()
    if not centred.any():
        return ShapleyValues(torch.zeros(players, dtype=torch.double), 0.0)
    agree = side @ side.T
    # None and all are met all but exactly, so that the values add up; elsewhere a trace of noise keeps the fit stable.
    ends = kept.sum(1).remainder(players) == 0
    apart = CONSTANT + torch.diag(torch.where(ends, TRACE / 1000, TRACE).double())
    fits = []
    for interaction, share in itertools.product(INTERACTIONS, SHARES):
        together = ((1 - interaction) / (1 + interaction)) ** ((players - agree) / 2)
        root = torch.linalg.cholesky((1 - share) * agree / players + share * together + apart)
        white = torch.linalg.solve_triangular(root, centred[:, None], upper=False)
        variance = float(white.square().mean())
        likely = -float(root.diagonal().log().sum()) - sets / 2 * math.log(variance)
        fits.append((likely, interaction, share, root, white, variance))
    _, interaction, share, root, white, variance = max(fits, key=lambda fit: fit[0])
    # What a player adds to a product, over all orders: an integral over the share of the others that have joined.
    places, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss((players + 1) // 2))
    joined = torch.arange(players)[:, None]
    with_others = (
        ((1 + interaction * places) / (1 + interaction)) ** joined
        * ((1 - interaction * places) / (1 + interaction)) ** (players - 1 - joined)
    ) @ weights
    strength = interaction / (1 + interaction)
    others = kept.sum(1, keepdim=True) - kept
    of_set = (1 - share) * 2 * side / players + share * strength * side * with_others[others]
    before = (1 - share) * 4 / players + share * strength * float(
        weights @ ((1 + interaction * places[:, None] * places) / (1 + interaction)) ** (players - 1) @ weights
    )
    seen = torch.linalg.solve_triangular(root, of_set, upper=False)
    left = variance * (before - seen.square().sum(0).mean())
    return ShapleyValues((white.T @ seen)[0], math.sqrt(max(0.0, float(left))))
