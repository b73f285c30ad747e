"""A clip against the same person's other clips: Crawford & Howell's t by hand, false alarms, and too few clips."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from explanations import example_explanation
from scipy import stats
from test_expert import summary_of

from explain.baseline import FEWEST, MOST, OwnBaseline, against_clips, own_baseline
from explain.cues import CUES, CueSettings, CueSummary, CueValue, measure
from explain.export import cue_csv
from explain.export_json import from_json, to_json
from explain.intervention import changed
from explain.magnitudes import magnitudes
from explain.samples import samples
from ser_core.audio import from_samples, read
from ser_core.errors import ExplanationError
from ser_core.speech import speech_segments
from ser_core.workers import in_worker


def clips(cue: str, values) -> list[list[CueValue]]:
    unit = next(c.unit for c in CUES if c.name == cue)
    return [[CueValue(cue, "clip", value, unit, 100, "frames")] for value in values]


def row(values, here: float, cue: str = "f0_mean"):
    return next(r for r in against_clips(summary_of({cue: here}), clips(cue, values)) if r.cue == cue)


def test_z_and_p_are_those_of_the_published_formula():
    # By hand: mean 10, SD √2.5, n = 5; t = 5 / (√2.5 · √1.2) = 2.8868 with 4 degrees of freedom.
    found = row([8, 9, 10, 11, 12], 15.0)
    assert (found.mean, found.clips) == (10.0, 5)
    assert found.sd == pytest.approx(2.5**0.5)
    assert found.z == pytest.approx(5 / 2.5**0.5)
    assert found.p == pytest.approx(0.04470, abs=1e-4)
    assert found.unusual and not found.low <= 15.0 <= found.high
    # The prediction interval of one further observation.
    low, high = stats.t.interval(0.95, 4, 10.0, (2.5 * 1.2) ** 0.5)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_five_clips_do_not_raise_more_false_alarms_than_they_should():
    random = np.random.default_rng(0)
    false = np.mean([row(random.normal(size=FEWEST), random.normal()).unusual for _ in range(2000)])
    # A normal table would call 1 in 7 unusual.
    assert false == pytest.approx(0.05, abs=0.015)


def test_fewer_than_five_clips_say_nothing():
    found = row([8, 9, 10, 11], 30.0)
    assert found.z is None and not found.unusual and "too few clips (4 of at least 5)" in found.note
    assert "Too few clips: 4 other clips" in OwnBaseline((("a", "1"),) * 4, (found,)).sentence


def test_clips_in_which_a_cue_cannot_be_measured_do_not_count():
    found = row([8, None, 10, 11, 12], 10.0)
    assert found.clips == 4 and found.z is None


def test_a_cue_that_never_varies_has_no_z():
    assert "the same in every other clip" in row([3.0] * 6, 4.0).note


def test_the_sentence_names_what_is_unusual_and_what_chance_would_give():
    rows = against_clips(summary_of({"f0_mean": 15.0}), clips("f0_mean", [8, 9, 10, 11, 12]))
    said = OwnBaseline((("a", "1"),) * 5, rows).sentence
    assert "pitch level (z +3.2) lies outside" in said and "1 of 1 cues; by chance about 0" in said


def test_the_clip_itself_and_a_clip_given_twice_are_left_out_and_a_raised_voice_stands_out():
    base = read(next(sample for sample in samples() if sample.name == "neutral_man").path)
    speech = speech_segments(base)
    tracks = measure(base, CueSettings(sex="male"), speech)
    summary = CueSummary((), magnitudes(tracks), ())
    with pytest.raises(ExplanationError, match="no baseline"):
        own_baseline(summary, tracks, base.sha256, [base])
    many = [from_samples(base.samples * (0.5 + 0.01 * k), 16_000, f"{k}.wav") for k in range(MOST + 1)]
    with pytest.raises(ExplanationError, match="At most 20"):
        own_baseline(summary, tracks, base.sha256, many)

    made = in_worker(changed, base.samples, "pitch_level", (-1.0, -0.5, 0.0, 0.5, 1.0, 5.0))
    *others, raised = [from_samples(each, 16_000, "voice.wav") for each in made]
    tracks = measure(raised, CueSettings(sex="male"), speech)
    summary = CueSummary((), magnitudes(tracks), ())
    found = own_baseline(summary, tracks, raised.sha256, [*others, others[0], raised])
    assert len(found.clips) == 5
    pitch = next(cue for cue in found.cues if cue.cue == "f0_mean")
    assert pitch.unusual and pitch.z == pytest.approx(5 / np.std([-1, -0.5, 0, 0.5, 1], ddof=1), abs=0.8)
    assert pitch.value == next(v.value for v in magnitudes(tracks) if v.cue == "f0_mean")


def test_a_clip_with_much_less_speech_than_the_others_is_told_of():
    whole = read(next(sample for sample in samples() if sample.name == "neutral_man").path)
    spoken = speech_segments(whole)[0]
    short = from_samples(whole.samples[int(16_000 * spoken.start_s) :][:9_600], 16_000, "short.wav")

    def said(clip, others):
        tracks = measure(clip, CueSettings(sex="male"), speech_segments(clip))
        return own_baseline(CueSummary((), magnitudes(tracks), ()), tracks, clip.sha256, others).sentence

    louder = [from_samples(whole.samples * (0.9 + 0.01 * k), 16_000, f"{k}.wav") for k in range(5)]
    assert "s of speech" not in said(whole, louder)
    assert "here they lie outside more often than stated" in said(short, louder)


def test_the_others_are_measured_with_the_clips_octave_jump_cost_and_formant_ceiling(monkeypatch):
    base = read(next(sample for sample in samples() if sample.name == "neutral_man").path)
    tracks = measure(base, CueSettings(sex="male", octave_jump_cost=0.9), speech_segments(base))
    used: list[CueSettings] = []

    def spied(clip, settings, speech):
        used.append(settings)
        return tracks

    monkeypatch.setattr("explain.baseline.measure", spied)
    other = from_samples(base.samples * 0.5, 16_000, "other.wav")
    own_baseline(CueSummary((), magnitudes(tracks), ()), tracks, base.sha256, [other])
    assert [(each.octave_jump_cost, each.formant_ceiling_hz) for each in used] == [(0.9, 5000.0)]


def test_the_exports_hold_the_baseline_beside_the_clips_own_figures():
    rows = against_clips(summary_of({"f0_mean": 15.0}), clips("f0_mean", [8, 9, 10, 11, 12]))
    shown = dataclasses.replace(example_explanation(), own_baseline=OwnBaseline((("a", "1"),) * 5, rows))
    table = {(r["cue"], r["scope"]): r for r in csv.DictReader(io.StringIO(cue_csv(shown)))}
    assert float(table["f0_mean", "clip"]["own_z"]) == pytest.approx(5 / 2.5**0.5)
    assert table["f0_mean", "clip"]["own_clips"] == "5" and table["f0_mean", "1"]["own_z"] == ""
    assert "too few clips" in table["hnr", "clip"]["own_note"]
    assert "own_z" not in cue_csv(example_explanation())
    assert from_json(to_json(shown))["own_baseline"]["cues"][0]["mean"] == 10.0
