"""Noise and energy-adaptive mixup: level and soft label measured back from the mix."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_core import augmentation
from ser_core.errors import AudioError


def sound(seed: int, samples: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


def db(ratio: float) -> float:
    return 10 * math.log10(ratio)


@given(st.floats(-20, 30), st.integers(0, 100), st.integers(500, 3000))
def test_noise_lands_at_the_asked_ratio(snr_db, seed, noise_samples):
    speech, noise = sound(seed, 1600), sound(seed + 1, noise_samples, 0.01)
    added = augmentation.mix_at_snr(speech, noise, snr_db).astype(np.float64) - speech
    assert db(np.mean(speech**2.0) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.02)


def test_the_level_of_speech_can_be_measured_where_someone_speaks():
    # half of the clip is silent, so its mean power is half, 3.01 dB below that of the speech
    speech = np.concatenate([np.zeros(800), sound(0, 800)])
    noise = sound(1, 1600)
    over_all = augmentation.mix_at_snr(speech, noise, 10.0) - speech
    over_speech = augmentation.mix_at_snr(speech, noise, 10.0, active=speech != 0) - speech
    assert db(np.mean(over_speech**2) / np.mean(over_all**2)) == pytest.approx(db(2), abs=0.01)


@pytest.mark.parametrize("noise", [np.zeros(100), np.zeros(0)])
def test_silent_noise_has_no_level(noise):
    with pytest.raises(AudioError, match="not silent"):
        augmentation.mix_at_snr(sound(0, 100), noise, 0.0)


def test_mixup_of_tones_by_hand():
    # P = 0.5² / 2, at 0 dB the excerpt is as strong, so a quarter of the clip covered gives a label of 1/8
    clip = 0.5 * np.sin(2 * np.pi * 100 * np.arange(16_000) / 16_000)
    excerpt = 0.1 * np.sin(2 * np.pi * 300 * np.arange(4_000) / 16_000)
    mixed = augmentation.add_excerpt(clip, excerpt, 8_000, 0.0)
    assert mixed.weight == pytest.approx(1 / 8)
    added = mixed.samples - clip
    np.testing.assert_allclose(added[8_000:12_000], 5 * excerpt, atol=1e-6)  # the scale is √(0.125 / 0.005) = 5
    assert np.abs(np.delete(added, np.s_[8_000:12_000])).max() < 1e-7


def test_the_power_that_counts_is_that_at_the_place():
    # quiet first half, loud second half: the excerpt is fitted to the half that it covers
    clip = np.concatenate([sound(0, 8000, 0.01), sound(1, 8000, 0.1)])
    excerpt = sound(2, 4000)
    for start, level in ((2000, 0.01), (10_000, 0.1)):
        mixed = augmentation.add_excerpt(clip, excerpt, start, 5.0)
        added = (mixed.samples - clip)[start : start + 4000]
        assert db(level**2 / np.mean(added**2)) == pytest.approx(5.0, abs=0.3)
        assert mixed.weight == pytest.approx(0.25 / (1 + 10**0.5))


@given(st.integers(0, 500), st.integers(200, 4000), st.integers(50, 4000))
def test_snr_and_weight_measured_back_from_any_random_mix(seed, length, other_length):
    clip, other = sound(seed, length), sound(seed + 1, other_length, 0.03)
    mixed = augmentation.energy_adaptive_mixup(clip, other, np.random.default_rng(seed))
    added = mixed.samples.astype(np.float64) - clip
    covered = np.flatnonzero(np.abs(added) > 1e-9)
    span = slice(covered[0], covered[-1] + 1)
    share = (span.stop - span.start) / length
    assert len(mixed.samples) == length and share <= 0.5
    own, theirs = np.mean(clip[span].astype(np.float64) ** 2), np.mean(added[span] ** 2)
    assert -5.01 <= db(own / theirs) <= 10.01
    assert mixed.weight == pytest.approx(share * theirs / (own + theirs), rel=0.02, abs=0.002)


def test_lengths_places_and_ratios_are_drawn_over_their_whole_range():
    clip, other = sound(0, 2000), sound(1, 3000)
    generator = np.random.default_rng(0)
    shares, ratios, starts = [], [], []
    for _ in range(400):
        added = augmentation.energy_adaptive_mixup(clip, other, generator).samples.astype(np.float64) - clip
        covered = np.flatnonzero(np.abs(added) > 1e-9)
        place = slice(covered[0], covered[-1] + 1)
        shares.append((place.stop - place.start) / 2000)
        starts.append(place.start / (2000 - (place.stop - place.start)))
        if shares[-1] > 0.1:
            ratios.append(db(np.mean(clip[place].astype(np.float64) ** 2) / np.mean(added[place] ** 2)))
    for drawn, low, high in ((shares, 0, 0.5), (ratios, -5, 10), (starts, 0, 1)):
        at = np.quantile(drawn, [0.0, 0.25, 0.5, 0.75, 1.0])
        np.testing.assert_allclose(at, np.linspace(low, high, 5), atol=0.08 * (high - low))


def test_a_silent_partner_changes_nothing():
    clip = sound(0, 1000)
    mixed = augmentation.energy_adaptive_mixup(clip, np.zeros(1000, np.float32), np.random.default_rng(0))
    assert mixed.weight == 0.0
    np.testing.assert_array_equal(mixed.samples, clip)


def test_a_silent_place_takes_no_label():
    clip = np.concatenate([np.zeros(500, np.float32), sound(0, 500)])
    mixed = augmentation.add_excerpt(clip, sound(1, 200), 100, 0.0)
    assert mixed.weight == 0.0
    np.testing.assert_array_equal(mixed.samples, clip)


def test_an_excerpt_must_fit():
    with pytest.raises(AudioError, match="reaches out"):
        augmentation.add_excerpt(sound(0, 100), sound(1, 60), 50, 0.0)
