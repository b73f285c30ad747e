"""Deletion, insertion and infidelity where places are few, effects go the other way, or maps are turned round."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explain.attribution import Attribution, Masking, Target, attribute, masking
from explain.map_changes import re_encoded, with_noise
from explain.regions import Region
from explain.removal import foretelling, infidelity, infidelity_test, placements, region_tests, turns
from explain.standing import standing
from explain.trust import QUICK, trust
from explain.verdicts import FAILS, HOLDS, UNDECIDED
from ser_core.audio import SAMPLE_RATE, from_samples
from ser_core.speech import Segment
from ser_core.sphere import DIMENSIONS
from tests.planted import FunctionalsModel, PlantedModel, burst_model, clip, recording

LEVELS = FunctionalsModel(torch.tensor([[0.1, 0.0], [0.0, 1.0]]), torch.zeros(2))


def cells_of(logits, columns: int, sign: float = 1.0) -> Masking:
    """Cells of 0.1 s without bands."""
    return Masking((np.arange(columns) + 0.5) / 10, None, "silence", logits, "logit", sign)


def test_places_over_time_are_distinct_and_leave_out_their_own() -> None:
    masks = np.zeros((1, 12), dtype=bool)
    masks[0, 3] = True
    drawn = placements(masks, np.ones(12, dtype=bool), 39, np.random.default_rng(0))
    assert sorted(np.flatnonzero(row[0]).item() for row in drawn) == [n for n in range(12) if n != 3]


@pytest.mark.parametrize("columns", [4, 8, 12, 30])
def test_a_region_at_any_place_holds_no_more_often_than_chance(columns: int) -> None:
    rng, held = np.random.default_rng(columns), 0
    for _ in range(400):
        weights = rng.standard_normal(columns)
        cells = cells_of(lambda kept, w=weights: kept @ w, columns)
        at = int(rng.integers(columns)) / 10
        tests, _ = region_tests(cells, [Region(1, at, at + 0.1, None, None, 1.0)], (), rng, with_curves=False)
        held += tests[0].verdict == HOLDS
    assert held <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5


def test_too_few_places_are_not_decided() -> None:
    cells = cells_of(lambda kept: kept.sum(-1), 4)
    tests, _ = region_tests(cells, [Region(1, 0.0, 0.1, None, None, 1.0)], (), np.random.default_rng(0))
    assert {test.verdict for test in tests} == {UNDECIDED} and "have only 3 other places" in tests[0].words


def test_regions_where_nobody_speaks_are_called_that() -> None:
    cells = cells_of(lambda kept: kept.sum(-1), 20)
    silent = [Region(1, 1.5, 1.8, None, None, 1.0)]
    tests, _ = region_tests(cells, silent, [Segment(0.0, 1.0)], np.random.default_rng(0))
    assert {test.verdict for test in tests} == {UNDECIDED} and "lie where nobody speaks" in tests[0].words


def test_shapes_of_a_model_on_functionals_have_more_places_than_patches() -> None:
    sound = recording(clip(np.random.default_rng(1), "low")[0])
    found = attribute(LEVELS, sound, Target("a"), "occlusion")
    cells = masking(LEVELS, sound, Target("a"))
    assert len(cells.times_s) == 5 * len(found.times_s)
    edges = np.arange(len(found.times_s) + 1) * sound.duration_s / len(found.times_s)
    for start, end in itertools.pairwise(edges):
        inside = (cells.times_s >= start) & (cells.times_s < end)
        assert inside.sum() == 5


def test_a_change_that_goes_the_other_way_is_told_as_that() -> None:
    weights = np.array([-1.0, *[-2.0] * 29])
    cells = cells_of(lambda kept: kept @ weights, 30)
    (deletion, insertion), _ = region_tests(cells, [Region(1, 0.0, 0.1, None, None, 1.0)], (), np.random.default_rng(0))
    assert deletion.words.startswith("taking the salient region away raises the logit by 1.00")
    assert insertion.words == (
        "the salient region alone lowers the logit by 1.00, where all of the same shapes at random places do worse."
    )


class Valence(nn.Module):
    """The clip's mean level, turned round, is its valence."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return -0.1 * log_mel.mean(dim=(1, 2))[:, None] * torch.tensor([1.0, 0.0, 0.0])


def test_the_tests_of_a_lower_dimension_speak_of_the_value_itself() -> None:
    model = PlantedModel(Valence(), DIMENSIONS)
    model.card = dataclasses.replace(model.card, answer="dimensions")
    sound = recording(clip(np.random.default_rng(1), "low")[0])
    target = Target(DIMENSIONS[0], direction="lower")
    value = float(model.predict(sound).value(target.emotion))
    found = trust(model, sound, attribute(model, sound, target, "input_x_gradient"), quick=True)
    deletion = found.curves[0]
    assert deletion.ours[0] == pytest.approx(value, abs=1e-4)
    assert deletion.ours[-1] > deletion.ours[0]
    assert "raise" in found.tests[0].words and found.tests[0].value > 0


def test_a_map_turned_round_foretells_nothing() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(40)
    cells = cells_of(lambda kept: kept @ weights, 40)
    right = Attribution("m", "occlusion", Target("a"), "time", weights, times_s=cells.times_s)
    wrong = dataclasses.replace(right, relevance=-weights)
    assert infidelity_test(cells, right, np.random.default_rng(1)).verdict == HOLDS
    test = infidelity_test(cells, wrong, np.random.default_rng(1))
    assert test.verdict == FAILS and test.value > 0.1


def test_the_null_of_infidelity_is_every_turn_of_the_map() -> None:
    sound = recording(clip(np.random.default_rng(1), "low")[0])
    found = attribute(burst_model(), sound, Target("low"), "input_x_gradient")
    cells = masking(burst_model(), sound, Target("low"))
    test = infidelity_test(cells, found, np.random.default_rng(2))

    from explain import removal

    boxes = removal._random_boxes(found.relevance.shape, np.random.default_rng(2))
    removed = cells.logits(np.ones((1, *found.relevance.shape)))[0] - cells.logits(1.0 - boxes)
    by_hand = sorted(
        foretelling(removed, (boxes * np.roll(found.relevance, turn, axis=-1)).sum((1, 2)))
        for turn in turns(found.relevance.shape[-1])
    )
    np.testing.assert_allclose(test.null, by_hand, rtol=1e-6)
    assert test.value == pytest.approx(infidelity(removed, (boxes * found.relevance).sum((1, 2))))


def test_what_nobody_hears_stays_inaudible_over_full_scale() -> None:
    samples = 3 * np.sin(2 * np.pi * 200 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    loud = from_samples(samples.astype(np.float32), SAMPLE_RATE, "loud.wav")
    off = with_noise(loud).samples - loud.samples
    assert 20 * np.log10(np.sqrt(np.mean(off**2)) / 3) == pytest.approx(-60, abs=0.5)
    assert np.abs(re_encoded(loud).samples).max() == pytest.approx(3, rel=0.05)


def test_a_map_whose_tests_cannot_be_decided_stands_in_no_corner() -> None:
    from explanations import example_explanation
    from opened import example_opened

    shown, found = example_explanation(), example_opened().trust
    rows = tuple(dataclasses.replace(row, emotion=found.target.emotion) for row in shown.agreements)
    held = dataclasses.replace(
        found, tests=tuple(dataclasses.replace(t, verdict=HOLDS) if t.name in QUICK else t for t in found.tests)
    )
    assert standing(held, rows) is not None
    first = next(t for t in found.tests if t.name in QUICK)
    open_ = tuple(dataclasses.replace(t, verdict=UNDECIDED) if t is first else t for t in held.tests)
    assert (
        standing(dataclasses.replace(held, tests=(dataclasses.replace(first, verdict=UNDECIDED), *open_)), rows) is None
    )
