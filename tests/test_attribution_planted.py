"""Planted evidence: a network that decides on a burst is explained by that burst."""

from functools import lru_cache

import numpy as np
import pytest

from explain.attribution import Target, attribute
from explain.regions import Region, iou, salient_regions
from tests.planted import BURST_S, BURSTS_HZ, CLIP_S, burst_model, clip, recording, timed_burst_model

FOUND = 95
CLIPS = 100


@lru_cache
def clips():
    rng = np.random.default_rng(2024)  # not a seed on which the region rule or the network's training was chosen
    made = []
    for number in range(CLIPS):
        kind = ("low", "high")[number % 2]
        samples, start_s = clip(rng, kind)
        made.append((kind, recording(samples), Region(0, start_s, start_s + BURST_S, *BURSTS_HZ[kind], 1.0)))
    return tuple(made)


def found_in(method, model):
    hits = 0
    for kind, sound, planted in clips():
        regions = salient_regions(attribute(model, sound, Target(kind), method))
        hits += bool(regions) and iou(regions[0], planted) >= 0.5
    return hits


@pytest.mark.parametrize("model", [burst_model, timed_burst_model])
def test_the_planted_networks_decide_on_the_burst(model):
    assert all(model().predict(sound).top == kind for kind, sound, _ in clips())


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "gradient_shap", "input_x_gradient", "saliency", "deeplift", "lrp", "occlusion"]
)
def test_the_top_region_is_the_burst(method):
    assert found_in(method, burst_model()) >= FOUND


def test_the_top_region_of_shapley_values_holds_the_burst_as_its_boxes_are_larger():
    hits = 0
    for kind, sound, planted in clips():
        regions = salient_regions(attribute(burst_model(), sound, Target(kind), "shapley_boxes"))
        middle_s, middle_hz = (planted.start_s + planted.end_s) / 2, (planted.low_hz + planted.high_hz) / 2
        first = regions[0]
        hits += first.start_s <= middle_s <= first.end_s and first.low_hz <= middle_hz <= first.high_hz
    assert hits >= FOUND


def test_grad_cam_finds_the_burst_in_time_where_the_layer_has_time_alone():
    assert found_in("grad_cam", timed_burst_model()) >= FOUND


def test_grad_cam_is_blind_where_the_head_reads_each_band_by_itself(record_property):
    hits = found_in("grad_cam", burst_model())
    record_property("bursts_found_by_grad_cam", hits)
    assert hits < FOUND


def test_a_box_over_the_whole_clip_fails_the_same_test():
    whole = Region(1, 0.0, CLIP_S, 0.0, 8000.0, 1.0)
    all_bands = [Region(1, planted.start_s, planted.end_s, 0.0, 8000.0, 1.0) for _, _, planted in clips()]
    all_times = [Region(1, 0.0, CLIP_S, planted.low_hz, planted.high_hz, 1.0) for _, _, planted in clips()]
    for boxes in ([whole] * CLIPS, all_bands, all_times):
        assert not any(iou(box, planted) >= 0.5 for box, (_, _, planted) in zip(boxes, clips(), strict=True))


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "occlusion"])
def test_silence_in_front_shifts_the_regions_by_its_length(method):
    for kind, sound, _ in clips()[:8]:
        later = recording(np.concatenate([np.zeros(8000, np.float32), sound.samples]))
        here = salient_regions(attribute(burst_model(), sound, Target(kind), method))[0]
        there = salient_regions(attribute(burst_model(), later, Target(kind), method))[0]
        assert there.start_s - here.start_s == pytest.approx(0.5, abs=0.0101)
        assert there.end_s - here.end_s == pytest.approx(0.5, abs=0.0101)
        assert (there.low_hz, there.high_hz) == pytest.approx((here.low_hz, here.high_hz), rel=0.05)
