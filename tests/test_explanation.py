"""One explanation: what is at hand is not computed again, and what Praat refuses comes out, though it works beside."""

import numpy as np
import pytest

from explain.attribution import Target
from explain.cues import CueSettings
from explain.explanation import explain
from explain.samples import samples
from ser_core.audio import read
from ser_core.errors import ExplanationError, SettingError
from ser_core.models import SpeechModel
from ser_core.registry import load_model
from tests.planted import burst_model, recording, shown


def test_an_answer_at_hand_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = shown()

    def refuse(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(SpeechModel, "predict", refuse)
    again = explain(before.recording, burst_model(), "input_x_gradient", answer=before.prediction)
    assert again.prediction is before.prediction and again.target == before.target
    np.testing.assert_array_equal(again.attribution.relevance, before.attribution.relevance)
    for name, track in before.tracks.tracks.items():
        np.testing.assert_array_equal(again.tracks.tracks[name], track)
    with pytest.raises(AssertionError, match="asked again"):
        explain(before.recording, burst_model(), "input_x_gradient")


def test_what_praat_cannot_measure_is_said() -> None:
    sound = shown().recording
    short = recording(sound.samples[:1600])
    with pytest.raises(ExplanationError, match="cues need at least"):
        explain(short, burst_model(), "input_x_gradient")
    with pytest.raises(SettingError, match="pitch floor"):
        explain(sound, burst_model(), "input_x_gradient", settings=CueSettings(pitch_floor_hz=5.0))


def test_another_class_that_is_explained_is_held_against_what_experts_expect_of_it() -> None:
    clip = read(next(sample for sample in samples() if sample.name == "like_anger").path)
    model = load_model("log-mel-resnet")
    told = model.predict(clip)
    third = told.order[-1]
    found = explain(clip, model, "saliency", Target(third))
    assert {row.emotion for row in found.agreements} == {told.top, told.runner_up, third}
