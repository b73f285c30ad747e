"""Drift when silence is put in front: next to none without positions, seen where a model has them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from explain import drift as drift_module
from explain.attribution import Attribution, Target
from explain.drift import (
    Drift,
    clip_drift,
    counterpart,
    fold_clips,
    main,
    map_correlation,
    read_table,
    region_shifts,
    summarise,
    write_table,
)
from explain.regions import Region, iou
from explain.samples import samples
from ser_core.audio import read
from ser_core.errors import ExplanationError, SettingError
from ser_core.features import LogMel
from ser_core.registry import load_model
from tests.planted import PlantedModel, burst_model, clip, recording


class Gate(nn.Module):
    """Hears frames 40 to 69 (0.4–0.7 s) of whatever it is given, and nothing else: pure position."""

    def __init__(self) -> None:
        super().__init__()
        self.floor = float(LogMel()(torch.zeros(1, 16_000)).min())

    def forward(self, log_mel: Tensor) -> Tensor:
        level = (log_mel - self.floor)[:, :, 40:70].mean((1, 2))
        return torch.stack([level, -level], 1)


def bursts(count: int) -> list:
    rng = np.random.default_rng(7)
    return [recording(clip(rng, ("low", "high")[place % 2])[0]) for place in range(count)]


@pytest.fixture(scope="module")
def convolution() -> Drift:
    model = burst_model()
    return summarise("burst", "integrated_gradients", [clip_drift(model, c, "integrated_gradients") for c in bursts(8)])


@pytest.fixture(scope="module")
def gate() -> Drift:
    model = PlantedModel(Gate(), ("heard", "not"))
    return summarise("gate", "input_x_gradient", [clip_drift(model, c, "input_x_gradient") for c in bursts(8)])


def test_a_network_without_positions_does_not_drift(convolution):
    assert convolution.clips == 8
    assert convolution.region_shift_p90_s <= 0.01
    assert convolution.top_region_iou > 0.9 and convolution.top_stays > 0.8
    assert convolution.map_correlation > 0.95


def test_a_network_that_listens_at_one_place_drifts_by_all_of_the_silence(gate):
    # Its window stays at 0.4–0.7 s of the input, so moved back it lies 0.5 s earlier in the clip.
    assert gate.region_shift_s == pytest.approx(0.5, abs=0.1)
    assert gate.top_region_iou < 0.05
    assert gate.map_correlation < 0.1
    assert gate.probability_change > 0.01


@pytest.mark.parametrize("method", ["input_x_gradient", "deeplift", "lrp", "grad_cam"])
def test_the_bundled_cnn_explains_a_clip_alike_whatever_silence_is_in_front(method):
    model, spoken = load_model("log-mel-resnet"), read(samples()[0].path).samples
    room = 0.003 * np.random.default_rng(0).standard_normal(len(spoken)).astype(np.float32)
    for silence_s in (0.5, 0.37):
        found = clip_drift(model, recording(spoken + room), method, silence_s=silence_s)
        assert found.region_shifts_s and max(found.region_shifts_s) < 1e-6
        assert found.top_stays and found.top_region_iou > 0.999 and found.map_correlation > 0.999
        assert abs(found.probability_change) < 1e-4 and not found.answer_changed


def test_the_bundled_cnn_hears_a_room_but_no_silence_around_it():
    rng = np.random.default_rng(0)
    spoken = np.repeat(rng.standard_normal(40), 160).astype(np.float32)
    room = (0.01 * rng.standard_normal(4000)).astype(np.float32)
    model = load_model("log-mel-resnet")
    for around, frames in ((room, 90), (0.001 * room, 40), (0 * room, 40)):
        given = torch.from_numpy(np.concatenate([around, spoken, around]))[None]
        assert model.inputs(given).shape[-1] == pytest.approx(frames, abs=2)
        assert model.first_column_s(given) == pytest.approx(0.0 if frames == 90 else 0.25, abs=0.011)


def test_the_silence_may_be_of_any_length():
    model = PlantedModel(Gate(), ("heard", "not"))
    none = clip_drift(model, bursts(1)[0], "input_x_gradient", silence_s=0.0)
    assert none.region_shifts_s and max(none.region_shifts_s) < 1e-9
    assert none.top_region_iou == pytest.approx(1) and none.top_stays and none.map_correlation == pytest.approx(1)
    assert none.probability_change == 0 and not none.answer_changed


@given(shift_s=st.floats(-0.4, 0.4), start_s=st.floats(0.5, 2), length_s=st.floats(0.1, 1))
def test_one_region_moves_by_what_it_was_moved(shift_s, start_s, length_s):
    region = Region(1, start_s, start_s + length_s, None, None, 0.5)
    other = dataclasses.replace(region, start_s=start_s + shift_s, end_s=start_s + length_s + shift_s)
    assert region_shifts([region], [other]) == pytest.approx((abs(shift_s),))
    shared_s = max(0.0, length_s - abs(shift_s))
    assert iou(region, other) == pytest.approx(shared_s / (2 * length_s - shared_s))
    assert counterpart(region, [other]) is other


def test_a_region_is_compared_with_its_own_counterpart_whatever_the_ranks():
    early, late = Region(1, 0.2, 0.4, None, None, 0.5), Region(2, 1.0, 1.4, None, None, 0.3)
    swapped = (dataclasses.replace(late, rank=1, start_s=1.1, end_s=1.5), dataclasses.replace(early, rank=2))
    assert region_shifts([early, late], swapped) == pytest.approx((0.0, 0.1))
    assert [counterpart(region, swapped).rank for region in (early, late)] == [2, 1]


def test_where_nothing_overlaps_the_nearest_region_counts_and_without_regions_nothing_is_measured():
    region = Region(1, 0.0, 1.0, None, None, 0.5)
    near, far = (dataclasses.replace(region, start_s=at_s, end_s=at_s + 1) for at_s in (2.0, 3.0))
    assert counterpart(region, [far, near]) is near
    assert region_shifts([region], []) == () == region_shifts([], [region])
    assert counterpart(region, []) is None


def test_a_map_is_compared_with_the_same_sound_not_the_same_column():
    values = np.random.default_rng(0).standard_normal((5, 100))
    times_s = np.arange(100) / 100
    before = Attribution("m", "x", Target("a"), "time_frequency", values, times_s, np.arange(5.0))
    silent = np.concatenate([np.zeros((5, 50)), values], axis=1)
    after = dataclasses.replace(before, relevance=silent, times_s=np.arange(150) / 100)
    assert map_correlation(before, after, 0.5) == pytest.approx(1)
    assert abs(map_correlation(before, after, 0.0)) < 0.5
    assert math.isnan(map_correlation(dataclasses.replace(before, relevance=np.zeros((5, 100))), after, 0.5))


def test_features_have_no_place_to_drift_from():
    from tests.planted import FunctionalsModel

    model = FunctionalsModel(torch.eye(2), torch.zeros(2))
    with pytest.raises(ExplanationError, match="no time axis"):
        clip_drift(model, bursts(1)[0], "input_x_gradient")
    with pytest.raises(ExplanationError, match="at least one"):
        summarise("m", "x", [])


def test_the_table_keeps_other_models_and_replaces_its_own(tmp_path, convolution, gate):
    table = tmp_path / "drift.csv"
    write_table([convolution, gate], table)
    write_table([dataclasses.replace(gate, clips=99)], table)
    burst, gated = read_table(table)
    assert (burst.model, burst.clips, gated.model, gated.clips) == ("burst", 8, "gate", 99)
    assert gated.region_shift_s == pytest.approx(gate.region_shift_s, rel=1e-3)
    assert read_table(tmp_path / "none.csv") == ()


def test_the_command_measures_writes_and_refuses_in_one_sentence(tmp_path, monkeypatch, capsys):
    import ser_core.registry

    model = PlantedModel(Gate(), ("heard", "not"), name="gate")
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: model)
    sample = str(drift_module.ASSETS / "samples" / "neutral_man.flac")
    out = tmp_path / "drift.csv"
    wanted = ["--model", "gate", "--clips", sample, "--method", "input_x_gradient", "--out", str(out)]
    assert main(wanted) == 0
    (row,) = read_table(out)
    assert (row.model, row.method, row.clips, row.silence_s) == ("gate", "input_x_gradient", 1, 0.5)
    assert "Put 0.5 s of silence in front: over 1 clip," in capsys.readouterr().out
    assert main([*wanted[:3], str(tmp_path / "absent.wav"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_corpus_clips_come_from_the_fold_that_no_shipped_model_has_seen(corpora):
    import pandas as pd

    folds = pd.read_csv(drift_module.ASSETS / "folds" / "crema_d.csv").set_index("clip")["fold"]
    try:
        clips = fold_clips(corpora / "crema_d", 5)
    except SettingError:
        pytest.skip("the small corpus holds no clip of fold 0")
    assert 1 <= len(clips) <= 5 and {folds[path.stem] for path in clips} == {0}


def test_the_model_card_shows_the_drift_of_its_own_model_only(monkeypatch, gate):
    from pages.parts import cards
    from tests.planted import card

    monkeypatch.setattr(drift_module, "read_table", lambda: (gate,))
    assert "Put 0.5 s of silence in front" in cards.details(card("gate", ("heard", "not")))
    assert "silence in front" not in cards.details(card("another", ("heard", "not")))
