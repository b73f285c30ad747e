"""Shapley values of boxes of the spectrogram, against those that are known beforehand."""

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from explanations import example_explanation
from hypothesis import given, settings
from hypothesis import strategies as st
from test_attribution import EMOTIONS, Curved, LinearNet, inputs_of, weights_of
from torch import Tensor, nn

from explain import report_method
from explain.attribution import Target, attribute
from explain.shapley import sets_of_players, shapley_values
from pages.parts.answer import method_line
from tests.planted import PlantedModel, recording

LINEAR = PlantedModel(LinearNet(80 * 20), EMOTIONS)
NOISE = recording(0.1 * np.random.default_rng(5).standard_normal(3200))


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def by_definition(game, players):
    """Shapley values (players,) of a function from sets (sets, players) to answers (sets,)."""
    every = torch.tensor(list(itertools.product((0, 1), repeat=players)))
    of = dict(zip(map(tuple, every.tolist()), game(every).tolist(), strict=True))
    values = np.zeros(players)
    for player in range(players):
        for rest in every[every[:, player] == 0].tolist():
            size = sum(rest)
            weight = math.factorial(size) * math.factorial(players - 1 - size) / math.factorial(players)
            values[player] += weight * (of[(*rest[:player], 1, *rest[player + 1 :])] - of[tuple(rest)])
    return values


def game_of(seed, players=10):
    """What some join alone, two and three together, and a threshold over all, at random."""
    rng = np.random.default_rng(seed)
    alone = torch.from_numpy(rng.standard_normal(players))
    groups = [rng.choice(players, size, replace=False) for size in (2, 2, 3, 3)]
    worth = rng.standard_normal(len(groups))
    steep, middle = rng.uniform(0.2, 1), rng.uniform(2, players - 2)

    def game(kept):
        kept = kept.double()
        together = sum(w * kept[:, g].prod(1) for g, w in zip(groups, worth, strict=True))
        return kept @ alone + together + 2 * torch.tanh(steep * (kept.sum(1) - middle))

    return game


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 99))
def test_sets_are_distinct_begin_with_none_and_all_and_stand_beside_their_complements(players, half, seed):
    kept = sets_of_players(players, 2 * half, drawn(seed))
    assert len({tuple(row) for row in kept.tolist()}) == len(kept) == min(2**players, 2 * half + 2)
    assert {0, players} <= set(kept.sum(1).tolist())
    assert {tuple(row) for row in kept.tolist()} == {tuple(row) for row in (1 - kept).tolist()}
    if 2 * half < 2**players - 2:
        assert not kept[0].any() and kept[1].all()
        np.testing.assert_array_equal(kept[2::2], 1 - kept[3::2])
        assert (kept[2 : 2 * players + 2 : 2].sum(1) == 1).all()


@pytest.mark.parametrize("players", [1, 2, 3, 6])
def test_values_are_exact_where_all_sets_were_asked(players):
    game = game_of(players, 6) if players == 6 else lambda kept: kept.sum(1).double() ** 2 + kept[:, 0]
    kept = sets_of_players(players, 100, drawn(0))
    found = shapley_values(kept, game(kept))
    np.testing.assert_allclose(found.values, by_definition(game, players), atol=1e-3)
    assert found.scatter < 0.02


def test_nothing_is_shared_out_where_every_set_answers_alike():
    kept = sets_of_players(6, 20, drawn(0))
    found = shapley_values(kept, torch.full((len(kept),), 3.0))
    assert not found.values.any() and found.scatter == 0.0


def test_values_of_a_sum_are_its_terms():
    terms = torch.from_numpy(np.random.default_rng(1).standard_normal(40))
    kept = sets_of_players(40, 200, drawn(0))
    found = shapley_values(kept, kept.double() @ terms + 5)
    np.testing.assert_allclose(found.values, terms, atol=0.01)
    assert found.scatter < 0.02


def least_squares(kept, answers):
    """KernelSHAP's own estimate, from the same sets weighed by the Shapley kernel."""
    players = kept.shape[1]
    size = kept.sum(1).double()
    often = torch.tensor([math.comb(players, int(s)) for s in size]).double()
    asked = torch.tensor([float((size == s).sum()) for s in size])
    ends = (size == 0) | (size == players)
    weight = torch.where(ends, 1e6, (players - 1) / (often * size * (players - size)) * often / asked)
    rows = torch.cat([torch.ones(len(kept), 1), kept], dim=1).double()
    root = weight.sqrt()[:, None]
    return torch.linalg.lstsq(root * rows, root * answers[:, None]).solution[1:, 0].numpy()


def test_values_are_nearer_than_least_squares_of_the_same_sets_and_as_near_as_they_say():
    errors, linear, within = [], [], []
    for seed in range(40):
        game = game_of(seed)
        known = by_definition(game, 10)
        kept = sets_of_players(10, 50, drawn(seed))
        found = shapley_values(kept, game(kept))
        errors.append(np.square(found.values.numpy() - known).mean())
        linear.append(np.square(least_squares(kept, game(kept)) - known).mean())
        within.append(np.abs(found.values.numpy() - known) <= 1.96 * found.scatter)
        assert float(found.values.sum()) == pytest.approx(known.sum(), abs=1e-3)
    assert np.mean(errors) < 0.5 * np.mean(linear)
    assert 0.9 <= np.mean(within) <= 0.995


def boxes_of(cells, columns):
    """Sums of (80, columns) over four heights and so many equal stretches of time."""
    return cells.reshape(4, 20, columns, -1).sum((1, 3))


def test_of_a_linear_model_a_box_has_the_sum_of_weights_times_input():
    point, baseline = inputs_of(LINEAR, NOISE)
    known = boxes_of(weights_of(LINEAR, "b") * (point - baseline), 2)
    found = attribute(LINEAR, NOISE, Target("b"), "shapley_boxes")
    np.testing.assert_allclose(boxes_of(found.relevance, 2), known, atol=0.01 * np.abs(known).max())
    assert len(np.unique(found.relevance)) == found.settings["boxes"] == 8
    assert found.settings["box_s"] == pytest.approx(0.1)
    assert found.settings["largest_box"] == pytest.approx(np.abs(known).max(), rel=0.01)
    assert found.completeness_error < 1e-3


class Jointly(nn.Module):
    """High where low and high bands sound together, and where the clip begins: no sum of boxes."""

    def forward(self, log_mel: Tensor) -> Tensor:
        low, high = (part.mean(dim=(1, 2)) for part in log_mel.split(40, dim=1))
        value = torch.relu(low + 1) * torch.relu(high + 1) + torch.tanh(3 * log_mel[..., :10].mean(dim=(1, 2)))
        return torch.stack([value, -value, 0 * value], dim=1)


def test_of_a_model_that_hears_boxes_together_they_come_near_those_of_all_sets():
    model = PlantedModel(Jointly(), EMOTIONS)
    point, baseline = (torch.from_numpy(each).float() for each in inputs_of(model, NOISE))

    def game(kept):
        cells = kept.reshape(-1, 4, 2).repeat_interleave(20, 1).repeat_interleave(10, 2)
        with torch.no_grad():
            return model.network(baseline + cells * (point - baseline))[:, 0].double()

    known = by_definition(game, 8)

    def missed(sets_per_box):
        found = attribute(model, NOISE, Target("a"), "shapley_boxes", sets_per_box=sets_per_box)
        assert found.relevance.sum() == pytest.approx(known.sum(), rel=1e-3)
        return np.abs(boxes_of(found.relevance, 2).ravel() - known).max() / np.abs(known).max()

    assert missed(5) < 0.1
    assert missed(40) < 1e-3


def test_a_box_that_holds_nothing_gets_nothing_and_is_not_asked_about():
    samples = 0.1 * np.random.default_rng(5).standard_normal(16_000)
    samples[8000:] = 0.0
    found = attribute(PlantedModel(Jointly(), EMOTIONS), recording(samples), Target("a"), "shapley_boxes")
    silent = found.times_s >= 2 / 3
    assert (found.relevance[:, silent] == 0).all() and (found.relevance[:, ~silent] != 0).all()
    assert found.settings["boxes"] == 8 and found.settings["sets"] == 42
    assert found.completeness_error < 1e-3


def test_sets_are_drawn_apart_from_all_else_and_the_same_again():
    def relevance(seed, elsewhere):
        torch.manual_seed(elsewhere)
        return attribute(LINEAR, NOISE, Target("b"), "shapley_boxes", seed=seed).relevance

    first, again, other = relevance(0, 1), relevance(0, 2), relevance(1, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_long_clip_has_wider_boxes_and_no_more_of_them():
    samples = 0.1 * np.random.default_rng(5).standard_normal(16_000 * 12)
    found = attribute(PlantedModel(Curved(), EMOTIONS), recording(samples), Target("a"), "shapley_boxes")
    assert found.settings["boxes"] == 60 and found.settings["box_s"] == pytest.approx(0.8)
    assert found.settings["sets"] == 302


def test_how_closely_boxes_are_known_is_said_for_methods_that_have_them():
    def rows(more):
        made = example_explanation().attribution
        made = replace(made, settings=made.settings | more)
        shown = replace(example_explanation(), attribution=made)
        return dict(
            report_method.method_and_settings(shown, datetime(2026, 11, 23, tzinfo=UTC))["method"]
        ), method_line(made, "Some method")

    report_rows, line = rows({})
    assert "value of a box known to" not in report_rows and "box" not in line
    report_rows, line = rows({"box_uncertainty": 0.123, "largest_box": 0.91})
    assert report_rows["value of a box known to"] == "± 0.12 (95 %), where the largest is 0.91"
    assert line.endswith("the value of a box known to ± 0.12 (95 %), where the largest is 0.91.")
