"""Tests of explanations, on networks whose evidence is known."""

import copy
import dataclasses
import itertools
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from explain import map_changes, removal
from explain.attribution import Attribution, Target, attribute, masking
from explain.map_changes import (
    CHANGES,
    NOISE_DRAWS,
    correlation,
    destroyed,
    randomised_weights,
    re_encoded,
    relative_change,
    shifted_by_5_ms,
    stability_tests,
    unrelated,
    with_noise,
)
from explain.named_features import salient_features
from explain.regions import Region, salient_regions
from explain.removal import infidelity, infidelity_test, mask_of, overlap, placements, region_tests
from explain.trust import QUICK, Trust, trust
from explain.verdicts import FAILS, HOLDS, UNDECIDED, WEAK, Test, against
from ser_core.audio import SAMPLE_RATE, Recording
from tests.planted import BandsModel, FunctionalsModel, burst_model, clip, recording

CLIPS = 100


@lru_cache
def clips() -> tuple[tuple[str, Recording, Attribution], ...]:
    rng = np.random.default_rng(77)
    made = []
    for number in range(CLIPS):
        kind = ("low", "high")[number % 2]
        sound = recording(clip(rng, kind)[0])
        made.append((kind, sound, attribute(burst_model(), sound, Target(kind), "integrated_gradients")))
    return tuple(made)


def test_deletion_of_planted_evidence_beats_random_places_in_95_of_100_clips() -> None:
    verdicts = []
    for kind, sound, found in clips():
        cells = masking(burst_model(), sound, Target(kind))
        tests, _ = region_tests(cells, salient_regions(found), (), np.random.default_rng(0))
        verdicts.append([test.verdict for test in tests])
    assert sum(deletion == HOLDS for deletion, _ in verdicts) >= 95
    assert sum(insertion == HOLDS for _, insertion in verdicts) >= 95


def test_boxes_beside_the_evidence_do_not_hold() -> None:
    """A map turned by half the clip points beside the burst, and must not pass for an explanation."""
    passed = 0
    for kind, sound, found in clips()[:40]:
        beside = dataclasses.replace(found, relevance=np.roll(found.relevance, found.relevance.shape[1] // 2, axis=1))
        cells = masking(burst_model(), sound, Target(kind))
        tests, _ = region_tests(cells, salient_regions(beside), (), np.random.default_rng(0))
        passed += tests[0].verdict == HOLDS
    assert passed <= 4


def test_a_destroyed_model_is_caught_in_every_clip() -> None:
    for number, (_, sound, found) in enumerate(clips()):
        turned = unrelated(found, np.random.default_rng(0))
        test = randomised_weights(burst_model(), sound, found, turned, seed=number)
        assert test.verdict == HOLDS, test.words


def test_a_map_that_does_not_depend_on_the_weights_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    _, sound, found = clips()[0]
    monkeypatch.setattr(map_changes, "attribute", lambda *a, **k: found)
    turned = unrelated(found, np.random.default_rng(0))
    assert randomised_weights(burst_model(), sound, found, turned).verdict == FAILS


def test_a_destroyed_models_reversed_map_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    _, sound, found = clips()[0]
    reverse = dataclasses.replace(found, relevance=-found.relevance)
    turned = unrelated(found, np.random.default_rng(0))
    monkeypatch.setattr(map_changes, "attribute", lambda *a, **k: reverse)
    test = randomised_weights(burst_model(), sound, found, turned)
    assert test.verdict == HOLDS and "rather the reverse of this one" in test.words


def test_the_model_itself_is_left_whole_when_its_copy_is_destroyed() -> None:
    before = {name: value.clone() for name, value in burst_model().network.state_dict().items()}
    broken = destroyed(burst_model(), seed=1)
    assert all(torch.equal(before[name], value) for name, value in burst_model().network.state_dict().items())
    for name, value in broken.network.named_parameters():
        assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)
    changed = [not torch.equal(before[name], value) for name, value in broken.network.named_parameters()]
    assert any(changed)


def test_infidelity_is_captums(monkeypatch: pytest.MonkeyPatch) -> None:
    captum = pytest.importorskip("captum.metrics")
    kind, sound, found = clips()[1]
    model = burst_model()
    cells = masking(model, sound, Target(kind))
    boxes = removal._random_boxes(found.relevance.shape, np.random.default_rng(4))
    monkeypatch.setattr(removal, "_random_boxes", lambda shape, random: boxes)
    ours = infidelity_test(cells, found, np.random.default_rng(4)).value
    inputs = model.inputs(torch.from_numpy(sound.samples.copy())[None])
    baseline = model.baseline(inputs)
    queue = list(boxes)

    @captum.infidelity_perturb_func_decorator(True)
    def without(x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        part = torch.from_numpy(np.stack([queue.pop(0) for _ in range(len(x))])).float()
        return x - part * (x - b)

    theirs = captum.infidelity(
        lambda x: model.network(x)[:, model.emotions.index(kind)],
        without,
        inputs,
        torch.from_numpy(found.relevance)[None],
        baselines=baseline,
        n_perturb_samples=len(boxes),
        max_examples_per_batch=1,
        normalize=True,
    )
    assert ours == pytest.approx(float(theirs), rel=1e-4, abs=1e-4)


def test_the_relative_change_is_captums_sensitivity() -> None:
    captum = pytest.importorskip("captum.metrics")
    before, after = np.random.default_rng(0).normal(size=(2, 5, 7))
    maps = iter([before, after])
    theirs = captum.sensitivity_max(
        lambda x: (torch.from_numpy(next(maps))[None],),
        (torch.zeros(1, 5, 7, dtype=torch.float64),),
        perturb_func=lambda x, radius: x,
        n_perturb_samples=1,
    )
    assert relative_change(before, after) == pytest.approx(float(theirs), abs=1e-4)


def test_the_panels_sensitivity_is_captums_over_the_same_noisy_clips() -> None:
    captum = pytest.importorskip("captum.metrics")
    kind, sound, found = clips()[2]
    model = burst_model()
    ours = stability_tests(model, sound, found, unrelated(found, np.random.default_rng(0)))[0]
    noisy = itertools.cycle([with_noise(sound, draw).samples for draw in range(NOISE_DRAWS)])

    def explained(samples: torch.Tensor | tuple[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        maps = []
        for row in (samples[0] if isinstance(samples, tuple) else samples).numpy():
            again = dataclasses.replace(sound, samples=row.astype(np.float32))
            maps.append(attribute(model, again, Target(kind), "integrated_gradients").relevance)
        return (torch.from_numpy(np.stack(maps)),)

    def changed(given: torch.Tensor, radius: float) -> torch.Tensor:
        return torch.from_numpy(np.stack([next(noisy) for _ in range(len(given))])).double()

    samples = torch.from_numpy(sound.samples.copy())[None].double()
    theirs = captum.sensitivity_max(explained, samples, perturb_func=changed, n_perturb_samples=NOISE_DRAWS)
    assert ours.name == "sensitivity" and ours.value == pytest.approx(float(theirs), rel=1e-4, abs=1e-4)


def test_sensitivity_and_rank_correlation_are_quantus() -> None:
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    before, after = np.random.default_rng(1).normal(size=(2, 6, 8))
    assert correlation(before, after) == pytest.approx(
        quantus.similarity_func.correlation_spearman(before.ravel(), after.ravel()), abs=1e-9
    )
    measure = quantus.MaxSensitivity(
        nr_samples=1,
        abs=False,
        normalise=False,
        perturb_func=lambda arr, **_: arr + 1e-3,
        disable_warnings=True,
        return_nan_when_prediction_changes=False,
    )
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).eval()
    found = measure(
        model=network,
        x_batch=np.zeros((1, 1, 6, 8), np.float32),
        y_batch=np.array([0]),
        a_batch=before[None, None].astype(np.float32),
        explain_func=lambda **_: after[None, None].astype(np.float32),
    )
    assert relative_change(before, after) == pytest.approx(float(found[0]), abs=1e-4)


def test_infidelity_of_a_map_that_foretells_every_removal_is_zero() -> None:
    removed = np.array([1.0, -2.0, 0.5])
    assert infidelity(removed, removed / 3) == pytest.approx(0)
    assert infidelity(removed, np.zeros(3)) == pytest.approx((removed**2).mean())


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_rank_correlation_is_scipys(seed: int) -> None:
    one, other = np.random.default_rng(seed).integers(0, 5, (2, 3, 9)).astype(float)
    if np.ptp(one) and np.ptp(other):
        assert correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)
    else:
        assert correlation(one, other) == 0


@pytest.mark.parametrize("shape", [(6, 41), (33,)])
def test_unrelated_maps_are_the_map_turned_by_a_tenth_or_more(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(2).integers(0, 9, shape).astype(float)
    least = shape[-1] // 10
    by_hand = [
        spearmanr(values.ravel(), np.roll(values, turn, axis=-1).ravel()).statistic
        for turn in range(least, shape[-1] - least + 1)
    ]
    found = dataclasses.replace(clips()[0][2], relevance=values)
    assert unrelated(found, np.random.default_rng(0)) == pytest.approx(sorted(by_hand))


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_random_places_keep_the_shapes_and_stay_off_the_silence(seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = random.random((2, 6, 30)) < 0.2
    spoken = random.random(30) < 0.7
    for draw in placements(masks, spoken, 5, random):
        assert draw.shape == masks.shape
        assert (draw.sum((1, 2)) == masks.sum((1, 2))).all()
        silent = draw[:, :, ~spoken]
        assert (silent.sum((1, 2)) == masks[:, :, ~spoken].sum((1, 2))).all()


def test_a_region_masks_the_cells_whose_centres_lie_in_it() -> None:
    cells = masking(burst_model(), clips()[0][1], Target("low"))
    assert cells.bands_hz is not None
    inside = mask_of(cells, [Region(1, 0.2, 0.3, 500.0, 1000.0, 1.0)])
    rows, columns = np.nonzero(inside)
    assert cells.times_s[columns].min() >= 0.2 and cells.times_s[columns].max() < 0.3
    assert cells.bands_hz[rows].min() >= 500 and cells.bands_hz[rows].max() < 1000
    assert mask_of(cells, [Region(1, 0.2, 0.3, None, None, 1.0)]).any(axis=1).all()


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(np.array([True, True, False]), np.array([False, True, True])) == pytest.approx(1 / 3)
    assert overlap(np.zeros(3, bool), np.zeros(3, bool)) == 0


def test_the_changes_that_nobody_hears_are_as_small_as_they_say() -> None:
    sound = clips()[0][1]
    peak = np.abs(sound.samples).max()
    noise = with_noise(sound).samples - sound.samples
    assert 20 * np.log10(noise.std() / peak) == pytest.approx(-60, abs=0.5)
    assert np.allclose(shifted_by_5_ms(sound).samples[80:], sound.samples[:-80])
    coded = re_encoded(sound).samples
    assert len(coded) == len(sound.samples)
    assert np.corrcoef(coded, sound.samples)[0, 1] > 0.9


def test_a_model_that_leaves_out_silence_is_tested_on_the_columns_of_the_clip_as_it_is() -> None:
    """Noise that nobody hears makes the silence around a clip part of what such a model sees."""
    kind, sound, _ = clips()[0]
    model = copy.copy(burst_model())
    whole = type(model).inputs
    model.inputs = lambda samples: whole(model, samples)[..., 20 if bool((samples == 0).any()) else 0 :]  # type: ignore[method-assign]
    model.first_column_s = lambda samples: 0.2 if bool((samples == 0).any()) else 0.0  # type: ignore[method-assign]
    samples = sound.samples.copy()
    samples[: SAMPLE_RATE // 5] = 0
    silent = dataclasses.replace(sound, samples=samples)
    found = attribute(model, silent, Target(kind), "input_x_gradient")
    turned = unrelated(found, np.random.default_rng(0))
    assert found.times_s is not None and found.times_s[0] == pytest.approx(0.2)
    for test in stability_tests(model, silent, found, turned):
        assert np.isfinite(test.value)
    assert stability_tests(model, silent, found, turned)[0].verdict == HOLDS


def test_the_whole_panel_of_planted_evidence_holds_and_says_so() -> None:
    _, sound, found = clips()[0]
    told: list[float] = []
    whole = trust(burst_model(), sound, found, progress=lambda share, words: told.append(share))
    assert whole.verdict == HOLDS, whole.sentence
    assert whole.sentence == "Every test holds."
    assert {"deletion", "insertion", "randomised weights", "infidelity", "sensitivity"} <= {t.name for t in whole.tests}
    assert told == sorted(told) and told[-1] == 1
    for test in whole.tests:
        assert len(test.null) and np.isfinite([test.value, test.threshold]).all()
        passes = test.value < test.threshold if test.below else test.value > test.threshold
        assert passes and test.limit.startswith("<" if test.below else ">")
    for curve in whole.curves:
        assert len(curve.ours) == len(curve.random) == len(salient_regions(found)) + 1


def test_the_quick_panel_has_only_the_three_tests_of_faithfulness() -> None:
    _, sound, found = clips()[0]
    assert [t.name for t in trust(burst_model(), sound, found, quick=True).tests] == list(QUICK)


def test_a_map_without_regions_cannot_be_decided_and_says_why() -> None:
    _, sound, found = clips()[0]
    flat = dataclasses.replace(found, relevance=-np.ones_like(found.relevance))
    tests = trust(burst_model(), sound, flat, quick=True).tests
    assert [t.verdict for t in tests[:2]] == [UNDECIDED, UNDECIDED]
    assert "no salient region" in tests[0].words


def test_features_that_a_linear_model_reads_hold_in_every_test() -> None:
    model, sound = BandsModel(), clips()[0][1]
    found = attribute(model, sound, Target("a"), "integrated_gradients")
    assert salient_features(found.relevance).tolist() == sorted(BandsModel.HEARD, key=lambda k: -found.relevance[k])
    whole = trust(model, sound, found)
    assert whole.sentence == "Every test holds." and whole.of == "features"
    names = {"deletion", "insertion", "infidelity", "randomised weights", "sensitivity", *CHANGES}
    assert names <= {test.name for test in whole.tests}
    assert any(test.name.startswith("agreement with") for test in whole.tests)
    by = {test.name: test for test in whole.tests}
    # What a linear model loses with its features is what they were said to bring; so is what random sets lose.
    assert by["deletion"].value == pytest.approx(found.relevance.sum(), rel=1e-5)
    assert by["infidelity"].value == pytest.approx(0, abs=1e-8)
    for curve in whole.curves:
        assert len(curve.ours) == len(curve.random) == 1 + len(BandsModel.HEARD)
    assert whole.curves[0].ours[1] == pytest.approx(whole.curves[0].ours[0] - found.relevance.max(), rel=1e-5)
    assert "as many features drawn at random" in whole.reading


def test_features_that_the_model_does_not_read_fail() -> None:
    model, sound = BandsModel(), clips()[0][1]
    found = attribute(model, sound, Target("a"), "input_x_gradient")
    elsewhere = dataclasses.replace(found, relevance=np.roll(found.relevance, 5))
    by = {test.name: test for test in trust(model, sound, elsewhere).tests}
    assert {by[name].verdict for name in ("deletion", "insertion", "infidelity")} == {FAILS}
    assert all(by[name].verdict == FAILS for name in by if name.startswith("agreement"))
    silent = dataclasses.replace(found, relevance=-np.ones(80))
    tests = trust(model, sound, silent, quick=True).tests
    assert [test.verdict for test in tests[:2]] == [UNDECIDED, UNDECIDED]
    assert "No feature speaks for it" in tests[0].words


def test_relevance_dealt_anew_is_unrelated() -> None:
    found = attribute(BandsModel(), clips()[0][1], Target("a"), "input_x_gradient")
    chance = unrelated(dataclasses.replace(found, relevance=np.arange(80.0)), np.random.default_rng(0))
    assert len(chance) == 99 and abs(chance.mean()) < 4 / (79 * 99) ** 0.5  # Spearman's spread is 1 / √(n − 1)
    assert chance.std() == pytest.approx(79**-0.5, rel=0.3)


def test_occlusion_of_a_model_on_functionals_is_tested_over_time() -> None:
    model = FunctionalsModel(torch.tensor([[0.1, 0.0], [0.0, 1.0]]), torch.zeros(2))
    sound = clips()[0][1]
    found = attribute(model, sound, Target("a"), "occlusion")
    assert {t.name for t in trust(model, sound, found, quick=True).tests} == set(QUICK)


def verdict_of(**verdicts: str) -> Trust:
    tests = tuple(Test(n.replace("_", " "), 0, "", np.zeros(1), 0, 0, v, f"{n} did.") for n, v in verdicts.items())
    return Trust("m", "ig", Target("a"), tests, ())


def test_the_sentence_names_the_test_that_decided() -> None:
    assert verdict_of(deletion=HOLDS, agreement=HOLDS).verdict == HOLDS
    failed = verdict_of(deletion=FAILS, infidelity=HOLDS)
    assert failed.verdict == FAILS and "deletion did." in failed.sentence
    weak = verdict_of(deletion=HOLDS, infidelity=FAILS)
    assert weak.verdict == WEAK and "infidelity did." in weak.sentence
    assert verdict_of(deletion=UNDECIDED).verdict == UNDECIDED


def test_the_sentence_says_what_is_weak_undecided_or_still_to_come() -> None:
    weak = verdict_of(deletion=HOLDS, sensitivity=WEAK, agreement=UNDECIDED)
    assert weak.verdict == HOLDS
    assert weak.sentence == "Every test of faithfulness holds; weak: sensitivity; cannot be decided: agreement."
    # Nothing could be taken away: that the weights matter does not make the map a true one.
    none = verdict_of(deletion=UNDECIDED, insertion=UNDECIDED, randomised_weights=HOLDS)
    assert none.verdict == UNDECIDED and none.sentence.startswith("Whether this explanation holds cannot be decided: ")
    early = dataclasses.replace(verdict_of(deletion=HOLDS, insertion=HOLDS), complete=False)
    assert early.sentence == "After 2 tests, with more to come: Every test holds."
    known: list[Trust] = []
    _, sound, found = clips()[0]
    whole = trust(burst_model(), sound, found, quick=True, known=known.append)
    assert [each.complete for each in known] == [False, True] and whole.complete


@pytest.mark.parametrize("smaller", [False, True])
def test_the_limit_is_the_draw_that_has_to_be_passed(smaller: bool) -> None:
    for draws in (19, 39, 99):
        null = np.arange(draws, dtype=float)
        limit = against("t", 0.0, "", null, "", smaller_is_better=smaller).threshold
        step = -0.5 if smaller else 0.5
        assert against("t", limit + step, "", null, "", smaller_is_better=smaller).verdict == HOLDS
        assert against("t", limit, "", null, "", smaller_is_better=smaller).verdict == WEAK
    assert against("t", 99.0, "", np.arange(10.0), "").limit == "–"  # so few draws can never hold
    for value, null in ((np.nan, np.arange(19.0)), (1.0, np.full(19, np.nan)), (1.0, np.zeros(0))):
        assert against("t", value, "", null, "").verdict == UNDECIDED


def test_regions_that_fill_all_speech_have_no_other_places() -> None:
    model = FunctionalsModel(torch.tensor([[0.1, 0.0], [0.0, 1.0]]), torch.zeros(2))
    sound = clips()[0][1]
    cells = masking(model, sound, Target("a"))
    everything = [Region(1, -1.0, 9.0, None, None, 1.0)]
    tests, _ = region_tests(cells, everything, (), np.random.default_rng(0))
    assert {test.verdict for test in tests} == {UNDECIDED} and "fill all speech" in tests[0].words
