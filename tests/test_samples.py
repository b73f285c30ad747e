"""The bundled clips hold what their table says was planted."""

import dataclasses

import numpy as np
import pytest

from explain.contrasts import summarise
from explain.cues import CueSettings, tracks_from_panel
from explain.praat import praat_panel
from explain.regions import Region
from explain.samples import BEFORE, DELIVERIES, DURATION_S, LEAD_S, NEUTRAL, samples, shape
from ser_core.audio import SAMPLE_RATE, read
from ser_core.speech import speech_segments


def summary_of(recording, sex, planted=()):
    panel = praat_panel(recording.samples, SAMPLE_RATE, sex=sex)
    speech = speech_segments(recording)
    tracks = tracks_from_panel(panel, recording, CueSettings(sex=sex), speech)
    regions = [Region(1, p.start_s, p.end_s, None, None, 1.0) for p in planted]
    return summarise(tracks, recording, regions)


@pytest.fixture(scope="module")
def measured():
    return {s.name: summary_of(read(s.path), s.sex) for s in samples()}


def test_every_clip_says_that_its_voice_is_synthetic():
    assert len(samples()) >= 6
    for sample in samples():
        assert sample.title.startswith("Synthetic voice")
        recording = read(sample.path)
        assert recording.duration_s == pytest.approx(DURATION_S)
        assert (recording.source.sample_rate, recording.source.channels) == (SAMPLE_RATE, 1)


TOLERANCE = {"f0_mean": 0.7, "f0_variability": 0.2, "hf_energy": 1.0, "speech_rate": 0.2, "f1_mean": 0.05}


@pytest.mark.parametrize(
    ("sample", "planted"),
    [(s, p) for s in samples() for p in s.planted if p.against == NEUTRAL],
    ids=lambda value: getattr(value, "name", getattr(value, "cue", "")),
)
def test_what_was_planted_against_the_neutral_delivery_is_measured(sample, planted, measured):
    neutral = measured["neutral_woman" if sample.sex == "female" else "neutral_man"].value(planted.cue).value
    value = measured[sample.name].value(planted.cue).value
    found = value / neutral if planted.unit == "times" else value - neutral
    assert found == pytest.approx(planted.amount, abs=TOLERANCE[planted.cue])


def test_the_rough_stretch_has_the_planted_jitter_and_the_neutral_clip_has_not():
    sample, neutral = (next(s for s in samples() if s.name == name) for name in ("rough_stretch", "neutral_man"))
    (planted,) = sample.planted
    rough, plain = (summary_of(read(s.path), "male", [planted]).value("jitter", "1").value for s in (sample, neutral))
    assert rough == pytest.approx(planted.amount, rel=0.2)
    assert plain < planted.amount / 3


def test_the_louder_stretch_is_louder_by_what_was_planted():
    sample = next(s for s in samples() if s.name == "like_anger")
    (planted,) = [p for p in sample.planted if p.against == BEFORE]
    delivery = next(d for d in DELIVERIES if d.name == sample.name)
    neutral = read(next(s for s in samples() if s.name == "neutral_man").path).samples.astype(float)
    spoken = neutral[int(LEAD_S * SAMPLE_RATE) : -int(LEAD_S * SAMPLE_RATE)]
    with_it, without = (shape(spoken, d) for d in (delivery, dataclasses.replace(delivery, louder=None)))

    def level_db(sound, start_s, end_s):
        return 10 * np.log10(np.mean(sound[int(start_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)] ** 2))

    gains = [
        level_db(with_it, *part) - level_db(without, *part)
        for part in ((planted.start_s + 0.02, planted.end_s - 0.02), (0.4, 1.0))
    ]
    assert gains[0] - gains[1] == pytest.approx(planted.amount, abs=0.5)


def test_the_rise_stands_out_in_its_own_clip():
    sample = next(s for s in samples() if s.name == "pitch_rise")
    contrast = summary_of(read(sample.path), sample.sex, sample.planted).contrast("f0_mean", "1")
    assert contrast.difference == pytest.approx(sample.planted[0].amount, abs=0.3)
