"""Measures against scikit-learn, audmetric and a brute-force speaker bootstrap; intervals that know their speakers."""

import math
import time

import audmetric
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from ser_core import metrics
from ser_core.errors import SettingError

CLASSES = ("anger", "fear", "happiness", "neutral")


def _simulated(speakers=20, clips=30, seed=0, skill_spread=0.25):
    """Clips of speakers who are recognised unequally well; the true mean accuracy is 0.6."""
    rng = np.random.default_rng(seed)
    truth, predicted, who = [], [], []
    for speaker in range(speakers):
        skill = np.clip(rng.normal(0.6, skill_spread), 0, 1)
        for label in rng.choice(CLASSES, clips):
            truth.append(str(label))
            predicted.append(str(label) if rng.random() < skill else str(rng.choice(CLASSES)))
            who.append(f"s{speaker:02d}")
    return truth, predicted, who


clips = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES), st.sampled_from(["a", "b", "c", "d"])),
    min_size=1,
    max_size=60,
)


@given(clips)
def test_measures_equal_scikit_learn(rows):
    truth, predicted, _ = zip(*rows, strict=True)
    matrix = metrics.confusion(truth, predicted, CLASSES)
    present = sorted(set(truth))
    assert metrics.uar(matrix) == pytest.approx(recall_score(truth, predicted, labels=present, average="macro"))
    assert metrics.weighted_accuracy(matrix) == pytest.approx(np.mean(np.array(truth) == np.array(predicted)))
    union = sorted(set(truth) | set(predicted))
    expected = f1_score(truth, predicted, labels=union, average="macro", zero_division=0)
    assert metrics.macro_f1(matrix) == pytest.approx(expected)


def test_measures_equal_audmetric():
    truth, predicted, _ = _simulated()
    matrix = metrics.confusion(truth, predicted, CLASSES)
    assert metrics.uar(matrix) == pytest.approx(audmetric.unweighted_average_recall(truth, predicted))
    assert metrics.weighted_accuracy(matrix) == pytest.approx(audmetric.accuracy(truth, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(audmetric.unweighted_average_fscore(truth, predicted))
    assert matrix.tolist() == audmetric.confusion_matrix(truth, predicted, labels=list(CLASSES))


@given(clips, st.permutations(CLASSES))
def test_uar_does_not_depend_on_the_order_or_names_of_classes(rows, shuffled):
    truth, predicted, _ = zip(*rows, strict=True)
    renamed = dict(zip(CLASSES, shuffled, strict=True))
    first = metrics.uar(metrics.confusion(truth, predicted, CLASSES))
    assert metrics.uar(metrics.confusion(truth, predicted, shuffled)) == pytest.approx(float(first))
    other = metrics.confusion([renamed[t] for t in truth], [renamed[p] for p in predicted], CLASSES)
    assert metrics.uar(other) == pytest.approx(float(first))


@given(clips)
def test_speakers_confusions_add_up_to_the_whole(rows):
    truth, predicted, who = zip(*rows, strict=True)
    parts = metrics.speaker_confusions(truth, predicted, who, CLASSES)
    assert len(parts) == len(set(who))
    assert (parts.sum(axis=0) == metrics.confusion(truth, predicted, CLASSES)).all()


def test_class_without_clips_is_left_out_of_uar_and_has_no_recall():
    found = metrics.evaluate(["anger", "fear"], ["anger", "anger"], ["a", "b"], CLASSES, replicates=50)
    assert found["UAR"].value == 0.5
    assert {"recall of anger", "recall of fear"} == {name for name in found if name.startswith("recall")}


def test_baseline_is_the_most_frequent_class_and_chance_the_dealt_answers():
    truth = ["anger"] * 6 + ["fear"] * 2 + ["neutral"] * 2
    predicted = ["anger"] * 5 + ["fear"] * 3 + ["neutral"] * 2
    found = metrics.evaluate(truth, predicted, list("aabbccddee"), CLASSES, replicates=50)
    assert found["UAR"].baseline == pytest.approx(1 / 3) and found["UAR"].chance == pytest.approx(1 / 3)
    assert found["WA"].baseline == pytest.approx(0.6)
    assert found["WA"].chance == pytest.approx(0.6 * 0.5 + 0.2 * 0.3 + 0.2 * 0.2)
    assert found["recall of fear"].baseline == 0 and found["recall of fear"].chance == pytest.approx(0.3)


def test_chance_is_the_mean_over_shuffled_answers():
    truth, predicted, _ = _simulated(seed=3)
    rng = np.random.default_rng(0)
    whole = metrics.confusion(truth, predicted, CLASSES)
    shuffled = [metrics.confusion(truth, rng.permutation(predicted).tolist(), CLASSES) for _ in range(400)]
    for measure in (metrics.uar, metrics.weighted_accuracy, metrics.macro_f1):
        mean = np.mean([measure(matrix) for matrix in shuffled])
        assert measure(metrics.chance_level(whole)) == pytest.approx(mean, abs=0.004)


def test_interval_equals_brute_force_speaker_bootstrap():
    truth, predicted, who = _simulated()
    truth_array, predicted_array, who_array = map(np.array, (truth, predicted, who))
    of_speaker = [np.flatnonzero(who_array == speaker) for speaker in np.unique(who_array)]
    rng = np.random.default_rng(1)
    brute = []
    for _ in range(1500):
        drawn = np.concatenate([of_speaker[k] for k in rng.integers(len(of_speaker), size=len(of_speaker))])
        brute.append(balanced_accuracy_score(truth_array[drawn], predicted_array[drawn]))
    found = metrics.evaluate(truth, predicted, who, CLASSES)["UAR"]
    # The Monte-Carlo error of a 2.5 % point from 1,500 draws is about 2.7 standard errors / √1500.
    tolerance = 3 * 2.7 * np.std(brute) / math.sqrt(1500)
    assert found.low == pytest.approx(np.percentile(brute, 2.5), abs=tolerance)
    assert found.high == pytest.approx(np.percentile(brute, 97.5), abs=tolerance)


def test_every_speaker_is_drawn_equally_often():
    # The mean over replicates of the sum of one-hot tensors is how often each speaker is drawn: once.
    speakers = 8
    drawn = []
    for place in range(speakers):
        alone = np.zeros((speakers, 1))
        alone[place] = 1

        def keep(sums):
            drawn.append(sums[:, 0])
            return sums[:, 0]

        metrics.speaker_bootstrap(alone, keep, replicates=20_000)
    assert np.mean(drawn, axis=1) == pytest.approx(np.ones(speakers), abs=0.04)
    assert (np.sum(drawn, axis=0) == speakers).all()


def test_resampling_clips_instead_of_speakers_would_be_much_too_narrow():
    truth, predicted, who = _simulated()
    by_speaker = metrics.evaluate(truth, predicted, who, CLASSES)["UAR"]
    by_clip = metrics.evaluate(truth, predicted, [f"clip{k}" for k in range(len(truth))], CLASSES)["UAR"]
    assert by_clip.value == by_speaker.value
    assert by_speaker.high - by_speaker.low > 1.5 * (by_clip.high - by_clip.low)


def test_ninety_five_percent_intervals_cover_the_truth_nearly_that_often():
    # 40 speakers, accuracy over an endless population = E[skill] + (1 − E[skill]) / 4.
    rng = np.random.default_rng(5)
    population = np.clip(rng.normal(0.6, 0.25, 1_000_000), 0, 1).mean()
    expected = population + (1 - population) / 4
    hits = 0
    for seed in range(100):
        truth, predicted, who = _simulated(speakers=40, clips=15, seed=seed + 100)
        found = metrics.evaluate(truth, predicted, who, CLASSES, replicates=500)["WA"]
        hits += found.low <= expected <= found.high
    assert 86 <= hits <= 99


@given(st.integers(0, 10_000), st.integers(8, 20))
@settings(max_examples=25)
def test_interval_contains_the_value(seed, speakers):
    truth, predicted, who = _simulated(speakers=speakers, clips=12, seed=seed)
    for name, found in metrics.evaluate(truth, predicted, who, CLASSES, replicates=400).items():
        assert found.low - 1e-12 <= found.value <= found.high + 1e-12, name
        assert 0 <= found.low <= found.high <= 1


def test_same_seed_same_interval_other_seed_another():
    rows = _simulated()
    first = metrics.evaluate(*rows, CLASSES, replicates=500, seed=1)
    assert first == metrics.evaluate(*rows, CLASSES, replicates=500, seed=1)
    assert first["UAR"] != metrics.evaluate(*rows, CLASSES, replicates=500, seed=2)["UAR"]


def test_perfect_answers_have_no_spread():
    truth, _, who = _simulated()
    found = metrics.evaluate(truth, truth, who, CLASSES)["UAR"]
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_one_speaker_gives_a_value_but_no_interval():
    found = metrics.evaluate(["anger", "fear"], ["anger", "anger"], ["a", "a"], CLASSES)["UAR"]
    assert found.value == 0.5 and math.isnan(found.low) and math.isnan(found.high)


def test_ten_thousand_replicates_take_well_under_a_second():
    tensors = metrics.speaker_confusions(*_simulated(speakers=24, clips=50), CLASSES)
    began = time.perf_counter()
    metrics.speaker_bootstrap(tensors, metrics.uar, replicates=10_000)
    assert time.perf_counter() - began < 1


def test_calibration_error_by_hand():
    # Bin (0.6, 0.7]: confidence 0.7 twice, one right → |0.5 − 0.7|; bin (0.9, 1]: confidence 1 once, right → 0.
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3], [0.0, 1.0]])
    found = metrics.calibration_error(["a", "b", "b"], probabilities, ["x", "y", "z"], ("a", "b"), bins=10)
    assert found.value == pytest.approx((2 * 0.2 + 0) / 3)


def test_calibration_bins_are_closed_on_the_right():
    # Two bins: 0.5 falls into (0, 0.5], 0.9 into (0.5, 1]; in one bin the two errors would cancel to 0.2.
    found = metrics.calibration_error(["a", "b"], np.array([[0.5, 0.5], [0.9, 0.1]]), ["x", "y"], ("a", "b"), bins=2)
    assert found.value == pytest.approx((0.5 + 0.9) / 2)


def test_calibration_error_of_a_calibrated_model_is_small_and_of_a_boaster_large():
    rng = np.random.default_rng(0)
    right = rng.uniform(0.5, 1, 20_000)
    truth = np.where(rng.random(20_000) < right, "a", "b").tolist()
    who = [f"s{k % 40}" for k in range(20_000)]
    honest = metrics.calibration_error(truth, np.stack([right, 1 - right], axis=1), who, ("a", "b"), replicates=500)
    sure = np.full(20_000, 0.99)
    boast = metrics.calibration_error(truth, np.stack([sure, 1 - sure], axis=1), who, ("a", "b"), replicates=500)
    assert honest.value < 0.02
    assert boast.value == pytest.approx(0.99 - 0.75, abs=0.01) and boast.low > 0.2


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=3, max_size=40))
def test_concordance_equals_audmetric(pairs):
    truth, predicted = map(np.array, zip(*pairs, strict=True))
    assume(truth.std() > 1e-3 and predicted.std() > 1e-3)
    who = ["a" if place % 2 else "b" for place in range(len(truth))]
    found = metrics.concordance(truth, predicted, who, replicates=20)
    assert found.value == pytest.approx(audmetric.concordance_cc(truth, predicted), abs=1e-9)


def test_concordance_keeps_its_digits_far_from_zero_and_brackets_its_value():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    predicted = 0.8 * truth + rng.normal(scale=0.3, size=400)
    who = [f"s{place % 20}" for place in range(400)]
    near, far = (metrics.concordance(truth + shift, predicted + shift, who) for shift in (0, 1e6))
    assert far.value == pytest.approx(near.value, abs=1e-7)
    assert near.low < near.value < near.high < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": ["anger"]}, "2 truth, 1 predicted"),
        ({"predicted": ["anger", "joy"]}, "outside the classes: joy"),
        ({"speakers": ["a", None]}, "no speaker"),
        ({"truth": [], "predicted": [], "speakers": []}, "no clips"),
        ({"classes": ["anger", "anger"]}, "each once"),
        ({"replicates": 0}, "0 replicates"),
    ],
)
def test_senseless_input_is_refused_in_a_sentence(change, message):
    given = {"truth": ["anger", "fear"], "predicted": ["anger", "fear"], "speakers": ["a", "b"], "classes": CLASSES}
    with pytest.raises(SettingError, match=message):
        metrics.evaluate(**given | change)


def test_logits_are_not_taken_for_probabilities():
    with pytest.raises(SettingError, match="were these logits"):
        metrics.calibration_error(["a"], np.array([[2.0, -1.0]]), ["x"], ("a", "b"))
    with pytest.raises(SettingError, match="shape"):
        metrics.calibration_error(["a"], np.array([[0.5, 0.25, 0.25]]), ["x"], ("a", "b"))
    with pytest.raises(SettingError, match="finite"):
        metrics.concordance([1.0, float("nan")], [1.0, 2.0], ["a", "b"])


def test_the_mean_concordance_is_that_of_the_values_and_of_brute_force_over_speakers():
    rng = np.random.default_rng(0)
    truth = rng.normal(0.2, 1, (240, 3))
    given = truth * [1.0, 0.5, 0.1] + rng.normal(0, 0.5, truth.shape)
    who = [f"s{place // 12:02d}" for place in range(240)]
    found = metrics.mean_concordance(truth, given, who, replicates=4000)
    each = [metrics.concordance(truth[:, k], given[:, k], who, replicates=10).value for k in range(3)]
    assert found.value == pytest.approx(np.mean(each)) and (found.baseline, found.chance) == (0, 0)
    brute = []
    for _ in range(400):
        rows = np.concatenate([np.arange(12 * s, 12 * s + 12) for s in rng.integers(0, 20, 20)])
        drawn = [metrics.concordance(truth[rows, k], given[rows, k], ["a"] * len(rows)).value for k in range(3)]
        brute.append(np.mean(drawn))
    tolerance = 3.5 * 2.7 * np.std(brute) / math.sqrt(400)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(brute, [2.5, 97.5])), abs=tolerance)
    with pytest.raises(SettingError, match="leave unrated clips out"):
        metrics.mean_concordance(np.full((3, 2), np.nan), np.zeros((3, 2)), ["a"] * 3)
