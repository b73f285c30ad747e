"""One explanation: what is at hand is not computed again, and what Praat refuses comes out, though it works beside."""

import numpy as np
import pytest

from explain.cues import CueSettings
from explain.explanation import explain
from ser_core.errors import ExplanationError, SettingError
from ser_core.models import SpeechModel
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
