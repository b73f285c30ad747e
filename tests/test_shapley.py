"""KernelSHAP over boxes of the spectrogram, against Shapley values that are known beforehand."""

import itertools
import math

import numpy as np
import pytest
import torch
from test_attribution import EMOTIONS, Curved, LinearNet, inputs_of, weights_of
from torch import Tensor, nn

from explain.attribution import Target, attribute
from tests.planted import PlantedModel, recording

LINEAR = PlantedModel(LinearNet(80 * 20), EMOTIONS)
NOISE = recording(0.1 * np.random.default_rng(5).standard_normal(3200))


def boxes_of(cells, columns):
    """Sums of (80, columns) over four heights and so many equal stretches of time."""
    return cells.reshape(4, 20, columns, -1).sum((1, 3))


def test_kernel_shap_of_a_linear_model_adds_up_its_weights_times_its_input_box_by_box():
    point, baseline = inputs_of(LINEAR, NOISE)
    known = boxes_of(weights_of(LINEAR, "b") * (point - baseline), 2)
    found = attribute(LINEAR, NOISE, Target("b"), "kernel_shap")
    np.testing.assert_allclose(boxes_of(found.relevance, 2), known, atol=2e-4)
    assert len(np.unique(found.relevance)) == found.settings["boxes"] == 8
    assert found.settings["box_s"] == pytest.approx(0.1)
    assert found.completeness_error < 1e-3


class Jointly(nn.Module):
    """High where low and high bands sound together, and where the clip begins: no sum of boxes."""

    def forward(self, log_mel: Tensor) -> Tensor:
        low, high = (part.mean(dim=(1, 2)) for part in log_mel.split(40, dim=1))
        value = torch.relu(low + 1) * torch.relu(high + 1) + torch.tanh(3 * log_mel[..., :10].mean(dim=(1, 2)))
        return torch.stack([value, -value, 0 * value], dim=1)


def test_kernel_shap_comes_near_the_shapley_values_of_all_sets_of_boxes():
    model = PlantedModel(Jointly(), EMOTIONS)
    point, baseline = inputs_of(model, NOISE)
    kept = np.array(list(itertools.product((0, 1), repeat=8)))
    cells = kept.reshape(-1, 4, 2).repeat(20, axis=1).repeat(10, axis=2)
    with torch.no_grad():
        values = model.network(torch.from_numpy(baseline + cells * (point - baseline)).float())[:, 0].double().numpy()
    of = dict(zip(map(tuple, kept), values, strict=True))
    known = np.zeros(8)
    for box in range(8):
        for rest in kept[kept[:, box] == 0]:
            weight = math.factorial(rest.sum()) * math.factorial(7 - rest.sum()) / math.factorial(8)
            known[box] += weight * (of[(*rest[:box], 1, *rest[box + 1 :])] - of[tuple(rest)])

    def missed(sets_per_box):
        found = attribute(model, NOISE, Target("a"), "kernel_shap", sets_per_box=sets_per_box)
        assert found.relevance.sum() == pytest.approx(values[-1] - values[0], rel=1e-3)
        return np.abs(boxes_of(found.relevance, 2).ravel() - known).max() / np.abs(known).max()

    assert missed(5) < 0.1
    assert missed(500) < 0.01


def test_kernel_shap_gives_nothing_to_a_box_that_holds_nothing_and_does_not_ask_about_it():
    samples = 0.1 * np.random.default_rng(5).standard_normal(16_000)
    samples[8000:] = 0.0
    found = attribute(PlantedModel(Jointly(), EMOTIONS), recording(samples), Target("a"), "kernel_shap")
    silent = found.times_s >= 2 / 3
    assert (found.relevance[:, silent] == 0).all() and (found.relevance[:, ~silent] != 0).all()
    assert found.settings["boxes"] == 8 and found.settings["sets"] == 40
    assert found.completeness_error < 1e-3


def test_kernel_shap_draws_for_itself_and_the_same_again():
    def drawn(seed, elsewhere):
        torch.manual_seed(elsewhere)
        return attribute(LINEAR, NOISE, Target("b"), "kernel_shap", seed=seed).relevance

    first, again, other = drawn(0, 1), drawn(0, 2), drawn(1, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_kernel_shap_has_wider_boxes_in_a_long_clip_and_no_more_of_them():
    samples = 0.1 * np.random.default_rng(5).standard_normal(16_000 * 12)
    found = attribute(PlantedModel(Curved(), EMOTIONS), recording(samples), Target("a"), "kernel_shap")
    assert found.settings["boxes"] == 60 and found.settings["box_s"] == pytest.approx(0.8)
    assert found.settings["sets"] == 300
