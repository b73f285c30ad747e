"""Whether a cue has changed: known shifts, nothing changed, and the smallest detectable change by hand."""

from functools import lru_cache

import numpy as np
import pytest

from explain.change import HIGHER, LOWER, UNKNOWN, WITHIN, Change, _slightly_other, changes, repeated
from explain.cues import CueSettings, CueTracks, CueValue, measure
from explain.intervention import changed
from explain.magnitudes import magnitudes
from explain.samples import samples
from ser_core.audio import SAMPLE_RATE, Recording, from_samples, read
from ser_core.speech import speech_segments
from ser_core.workers import in_worker

MALE = CueSettings(sex="male")
REPEATS = 6


@lru_cache
def clip(name: str, dose: float) -> Recording:
    """The neutral man with one cue changed."""
    neutral = read(next(sample for sample in samples() if sample.name == "neutral_man").path)
    (made,) = in_worker(changed, neutral.samples[: 2 * SAMPLE_RATE], name, (dose,))
    return from_samples(made, SAMPLE_RATE, f"{name} {dose}.wav")


@lru_cache
def tracks(name: str, dose: float) -> CueTracks:
    return measure(clip(name, dose), MALE, speech_segments(clip(name, dose)))


@lru_cache
def again(name: str, dose: float) -> tuple[tuple[CueValue, ...], ...]:
    return repeated(clip(name, dose), tracks(name, dose), count=REPEATS)


def between(before: tuple[str, float], after: tuple[str, float]) -> dict[str, Change]:
    values = [magnitudes(tracks(*each)) for each in (before, after)]
    return {row.cue: row for row in changes(values[0], values[1], (again(*before), again(*after)))}


def test_the_same_clip_twice_has_changed_in_nothing():
    found = between(("pitch_level", 0.0), ("pitch_level", 0.0))
    assert {row.verdict for row in found.values()} == {WITHIN, UNKNOWN}
    assert {row.difference for row in found.values() if row.verdict == WITHIN} == {0.0}
    assert sum(row.verdict == WITHIN for row in found.values()) >= 15
    assert "uncalibrated" in found["intensity_mean"].note


def test_three_semitones_up_are_a_change_of_the_pitch_level_and_only_as_large():
    row = between(("pitch_level", 0.0), ("pitch_level", 3.0))["f0_mean"]
    assert row.verdict == HIGHER
    assert row.difference == pytest.approx(3.0, abs=0.3)
    assert row.smallest < 1.0
    assert between(("pitch_level", 3.0), ("pitch_level", 0.0))["f0_mean"].verdict == LOWER


def test_another_loudness_is_no_change_of_the_pitch():
    found = between(("pitch_level", 0.0), ("loudness", -12.0))
    assert found["f0_mean"].verdict == WITHIN
    assert found["f0_variability"].verdict == WITHIN
    assert found["spectral_slope"].verdict == WITHIN


def test_repeats_differ_a_little_and_are_the_same_again():
    values = [v.value for side in again("pitch_level", 0.0) for v in side if (v.cue, v.scope) == ("f0_mean", "clip")]
    assert len(values) == REPEATS and 0 < np.std(values) < 0.5
    once = repeated(clip("pitch_level", 0.0), tracks("pitch_level", 0.0), count=1)
    assert [v.value for v in once[0]] == [v.value for v in again("pitch_level", 0.0)[0]]


def value(cue: str, number: float | None, count: int = 50, counted: str = "voiced frames") -> CueValue:
    return CueValue(cue, "clip", number, "st", count, counted, note="" if number is not None else "why not")


def with_repeats(*numbers: float, cue: str = "f0_mean") -> list[list[CueValue]]:
    return [[value(cue, number)] for number in numbers]


def test_a_clip_that_is_just_long_enough_is_measured_again_too():
    whole = read(next(sample for sample in samples() if sample.name == "neutral_man").path)
    start = int(speech_segments(whole)[0].start_s * SAMPLE_RATE) + 4000
    short = from_samples(whole.samples[start : start + round(0.305 * SAMPLE_RATE)], SAMPLE_RATE, "short.wav")
    tracks = measure(short, CueSettings(sex="male"), speech_segments(short))
    assert len(repeated(short, tracks, count=4)) == 4


def test_repeats_of_a_recording_beyond_full_scale_are_not_clipped():
    voice = clip("pitch_level", 0.0)
    loud = from_samples(4 * voice.samples / np.abs(voice.samples).max(), SAMPLE_RATE, "loud.wav")
    assert np.abs(_slightly_other(loud, np.random.default_rng(0)).samples).max() > 3.9


def test_the_smallest_detectable_change_is_that_of_the_formula():
    # SDs 1 and 3 of the two clips: SEM = √((1 + 9) / 2) = √5; t of 10 degrees of freedom 2.228 · √2 · √5 = 7.046.
    spread = np.array([-1, -1, -1, 1, 1, 1]) / np.std([-1, -1, -1, 1, 1, 1], ddof=1)
    repeats = (with_repeats(*spread), with_repeats(*(3 * spread)))
    (row,) = changes([value("f0_mean", 10.0)], [value("f0_mean", 17.0)], repeats)
    assert row.error == pytest.approx(5**0.5)
    assert row.smallest == pytest.approx(7.046, abs=1e-3)
    assert row.verdict == WITHIN
    (row,) = changes([value("f0_mean", 10.0)], [value("f0_mean", 17.1)], repeats)
    assert row.verdict == HIGHER


def test_95_per_cent_of_the_differences_of_an_unchanged_voice_stay_within():
    random = np.random.default_rng(0)
    called = []
    for _ in range(1000):
        repeats = tuple(with_repeats(*random.normal(size=12)) for _ in range(2))
        before, after = ([value("f0_mean", number)] for number in random.normal(size=2))
        called.append(changes(before, after, repeats)[0].verdict != WITHIN)
    assert np.mean(called) == pytest.approx(0.05, abs=0.02)


def test_one_syllable_more_or_less_is_no_change_of_the_rate():
    repeats = (with_repeats(*[4.0] * 6, cue="speech_rate"), with_repeats(*[4.0] * 6, cue="speech_rate"))
    before = value("speech_rate", 4.0, 8, "syllable nuclei")
    assert changes([before], [value("speech_rate", 4.5, 9, "syllable nuclei")], repeats)[0].verdict == WITHIN
    assert changes([before], [value("speech_rate", 5.5, 11, "syllable nuclei")], repeats)[0].verdict == HIGHER


def test_what_cannot_be_measured_is_neither_changed_nor_unchanged():
    repeats = (with_repeats(*[1.0, 2.0] * 3), with_repeats(1.0, 2.0))
    assert "why not" in changes([value("f0_mean", None)], [value("f0_mean", 1.0)], repeats)[0].note
    (row,) = changes([value("f0_mean", 1.0)], [value("f0_mean", 9.0)], repeats)
    assert row.verdict == UNKNOWN and "too few repeated" in row.note
