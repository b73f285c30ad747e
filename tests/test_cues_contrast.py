"""Contrast: effect sizes, their chance level by shifting, and the correction over cues."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explain.contrasts import arrangements, cliffs_delta, permutation_p, shifted_deltas, summarise
from explain.cues import ALL_REGIONS, CUES, CueSettings, CueTracks
from explain.regions import Region
from ser_core.audio import SAMPLE_RATE, from_samples
from ser_core.speech import Segment

numbers = st.lists(st.integers(-5, 5), min_size=1, max_size=20)


def smooth(rng, frames, width=9):
    """A random track that changes slowly, as cues do, without a seam between its end and its start."""
    noise = rng.standard_normal(frames)
    return np.real(np.fft.ifft(np.fft.fft(noise) * np.fft.fft(np.ones(width) / width, frames)))


def tracks_with(track, speech=None):
    """Tracks whose pitch (st) is the given one, every frame voiced; nothing else is measurable."""
    frames = len(track)
    times_s = np.arange(frames) * 0.01
    spoken = np.ones(frames, dtype=bool) if speech is None else speech
    edges = np.flatnonzero(np.diff(np.concatenate([[0], spoken.astype(int), [0]])))
    segments = tuple(Segment(a * 0.01, b * 0.01) for a, b in zip(edges[::2], edges[1::2], strict=True))
    names = {c.track for c in CUES if c.track}
    made = {name: np.full(frames, np.nan) for name in names} | {"f0_st": track, "f0_hz": 100 * 2 ** (track / 12)}
    limits = CueSettings("male", 75, 600, 5000)
    return CueTracks(times_s, made, np.ones(frames, dtype=bool), spoken, np.zeros(0), limits, "male", segments=segments)


def clip_of(frames):
    return from_samples(0.1 * np.random.default_rng(0).standard_normal(frames * 160), SAMPLE_RATE, "made.wav")


@given(numbers, numbers)
def test_cliffs_delta_is_the_share_of_greater_minus_smaller_pairs(inside, outside):
    pairs = [np.sign(a - b) for a in inside for b in outside]
    assert cliffs_delta(np.array(inside), np.array(outside)) == pytest.approx(np.mean(pairs))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_shifted_deltas_equal_cliffs_delta_of_the_shifted_frames(seed, count):
    rng = np.random.default_rng(seed)
    length = 60
    frames = np.sort(rng.choice(length, 40))
    values = rng.integers(0, 9, 40).astype(float)
    pieces = [(20 * k + 3, int(rng.integers(4, 9))) for k in range(count)]
    starts = arrangements(pieces, length, 25, seed)
    deltas, inside, outside = shifted_deltas(values, frames, pieces, starts, length)
    for row, delta, n_in, n_out in zip(starts, deltas, inside, outside, strict=True):
        chosen = np.zeros(length, dtype=bool)
        for start, (_, width) in zip(row, pieces, strict=True):
            chosen[(start + np.arange(width)) % length] = True
        mask = chosen[frames]
        assert (n_in, n_out) == (mask.sum(), (~mask).sum())
        if n_in and n_out:
            assert delta == pytest.approx(cliffs_delta(values[mask], values[~mask]))


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 12), min_size=2, max_size=5))
def test_rearranged_pieces_keep_their_length_and_never_overlap(seed, widths):
    pieces = [(13 * k, width) for k, width in enumerate(widths)]
    for row in arrangements(pieces, 65, 20, seed):
        covered = np.zeros(65, dtype=int)
        for start, width in zip(row, widths, strict=True):
            covered[(start + np.arange(width)) % 65] += 1
        assert covered.max() == 1
        assert covered.sum() == sum(widths)


def test_one_region_is_shifted_to_every_place_and_many_to_at_least_500():
    assert len(np.unique(arrangements([(10, 30)], 300, 1999))) == 300
    assert len(arrangements([(10, 30)], 12_000, 1999)) >= 500
    assert len(arrangements([(10, 30), (80, 20)], 300, 1999)) >= 500


def test_chance_level_is_calibrated_where_regions_mean_nothing():
    rng = np.random.default_rng(3)
    clip = clip_of(260)
    p_values = {"1": [], ALL_REGIONS: []}
    for _ in range(150):
        tracks = tracks_with(smooth(rng, 260))
        first, second = rng.choice([0.0, 0.6, 1.2, 1.8], 2, replace=False) + rng.uniform(0, 0.2, 2)
        regions = [Region(1, first, first + 0.3, None, None, 0.6), Region(2, second, second + 0.3, None, None, 0.4)]
        summary = summarise(tracks, clip, regions)
        for scope, found in p_values.items():
            found.append(summary.contrast("f0_mean", scope).p)
    for scope, found in p_values.items():
        flagged = np.mean(np.array(found) <= 0.05)
        # 150 draws at 5 %: three standard errors above is 10 %.
        assert flagged <= 0.10, scope
        assert 0.4 < np.mean(found) < 0.6, scope
        assert 0.35 < np.mean(np.array(found) <= 0.5) < 0.65, scope


def test_a_planted_difference_is_found_beyond_chance():
    rng = np.random.default_rng(4)
    track = smooth(rng, 400)
    track[100:140] += 4
    track[250:290] += 4
    regions = [Region(1, 1.0, 1.4, None, None, 0.5), Region(2, 2.5, 2.9, None, None, 0.5)]
    row = summarise(tracks_with(track), clip_of(400), regions).contrast("f0_mean")
    assert row.effect > 0.99
    assert row.effect > row.chance_high
    assert row.p_corrected < 0.05
    inside = np.isin(np.arange(400), [*range(100, 140), *range(250, 290)])
    assert row.difference == pytest.approx(track[inside].mean() - track[~inside].mean())


def test_regions_are_shifted_over_speech_only():
    rng = np.random.default_rng(5)
    speech = np.zeros(600, dtype=bool)
    speech[200:330] = True
    track = smooth(rng, 600)
    noisy = track.copy()
    noisy[~speech] += 50
    clip, region = clip_of(600), [Region(1, 2.4, 2.8, None, None, 1.0)]
    quiet = summarise(tracks_with(track, speech), clip, region).contrast("f0_mean", "1")
    loud = summarise(tracks_with(noisy, speech), clip, region).contrast("f0_mean", "1")
    assert quiet == loud
    assert quiet.p * 130 == pytest.approx(round(quiet.p * 130))


def test_a_region_without_speech_around_it_has_no_contrast():
    clip = clip_of(100)
    row = summarise(tracks_with(np.zeros(100)), clip, [Region(1, 0.0, 1.0, None, None, 1.0)]).contrast("f0_mean", "1")
    assert row.p is None
    assert row.effect is None
    assert "rest of the speech" in row.note


def test_the_widest_range_of_a_clip_is_found_although_short_stretches_have_small_ranges():
    rng = np.random.default_rng(1)
    times_s = np.arange(400) * 0.01
    melody = 3 * np.sin(np.pi * times_s / 2) + 0.6 * smooth(rng, 400)
    shake = np.where((times_s > 1.495) & (times_s < 1.895), np.sin(10 * np.pi * (times_s - 1.5)), 0.0)
    region = [Region(1, 1.5, 1.9, None, None, 1.0)]
    found = [
        summarise(tracks_with(melody + semitones * shake), clip_of(400), region).contrast("f0_variability", "1")
        for semitones in (0, 2, 4)
    ]
    # As usual for so short a stretch; wider than usual, yet narrower than the rest; wider than the rest as well.
    assert [row.beyond_chance for row in found] == [False, False, True]
    assert found[0].difference < found[1].difference < -1 and 1 < found[2].difference < 3
    assert found[2].p < 0.05


def test_ranges_are_calibrated_where_regions_mean_nothing():
    rng = np.random.default_rng(8)
    p_values = []
    for _ in range(150):
        start = rng.uniform(0, 2.0)
        row = summarise(tracks_with(smooth(rng, 260)), clip_of(260), [Region(1, start, start + 0.4, None, None, 1.0)])
        p_values.append(row.contrast("f0_variability", "1").p)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.10


def test_ranges_get_a_chance_level_but_no_cliffs_delta():
    rng = np.random.default_rng(6)
    track = 0.1 * smooth(rng, 400)
    track[100:150] *= 60
    row = summarise(tracks_with(track), clip_of(400), [Region(1, 1.0, 1.5, None, None, 1.0)]).contrast(
        "f0_variability", "1"
    )
    assert (row.effect, row.chance_low) == (None, None)
    assert row.difference > 0
    assert row.p < 0.15


def test_too_few_places_for_a_p_below_5_percent_are_said():
    rng = np.random.default_rng(7)
    region, clip, track = [Region(1, 0.0, 0.08, None, None, 1.0)], clip_of(40), smooth(rng, 40)
    enough, too_few = (
        summarise(tracks_with(track, np.arange(40) < frames), clip, region).contrast("f0_mean", "1")
        for frames in (21, 20)
    )
    assert (enough.note, enough.p is None) == ("", False)
    assert (too_few.p, too_few.p_corrected, too_few.chance_low) == (None, None, None)
    assert too_few.difference is not None
    assert too_few.note == "too little speech for a p below 0.05 (20 of at least 21 places have the cue)"


def test_step_down_correction_equals_a_hand_worked_example():
    sizes = np.array([[4.0, -4, 2, 2, 0], [3, 1, 1, 1, 2], [0, 1, -1, 1, 1]])
    # p in fifths 2 2 4 4 5 | 1 5 5 5 2 | 5 4 4 4 4, sizes over their root mean squares 1.41 1.41 .71 .71 0 |
    # 1.68 .56 .56 .56 1.12 | 0 1.12 1.12 1.12 1.12. The second cue's 1 is reached nowhere else. The first cue's 2 is
    # reached by itself at the first two places; the third cue's 5 by all.
    own, corrected = permutation_p(sizes)
    assert own == pytest.approx([0.4, 0.2, 1.0])
    assert corrected == pytest.approx([0.4, 0.2, 1.0])


def test_ties_count_against_the_finding():
    own, corrected = permutation_p(np.array([[1.0] * 30, [1.0] + [0.0] * 29]))
    assert list(own) == [1.0, pytest.approx(1 / 30)]
    assert list(corrected) == [1.0, pytest.approx(1 / 30)]


def test_a_cue_that_is_not_measurable_somewhere_is_ranked_among_its_own_places():
    sizes = np.full((2, 100), np.nan)
    sizes[0, :10] = np.arange(10, 0, -1)
    sizes[1, 50:] = 1.0
    own, corrected = permutation_p(sizes)
    assert own[0] == corrected[0] == pytest.approx(0.1)
    assert np.isnan(own[1])
    assert np.isnan(corrected[1])


def test_a_cue_that_is_missing_only_here_still_counts_as_a_rival_elsewhere():
    here = np.ones(40)
    here[0], here[39] = 1.2, np.nan
    elsewhere = np.zeros(40)
    elsewhere[0], elsewhere[1] = np.nan, 1.0
    assert permutation_p(here[None])[1][0] == pytest.approx(1 / 39)
    assert permutation_p(np.stack([here, elsewhere]))[1][0] == pytest.approx(2 / 40)


@given(
    st.lists(st.lists(st.integers(-9, 9), min_size=30, max_size=30), min_size=1, max_size=5),
    st.floats(0.01, 100),
)
def test_correction_never_lowers_a_p_and_ignores_order_sign_and_scale_of_cues(rows, factor):
    sizes = np.array(rows, dtype=float)
    own, corrected = permutation_p(sizes)
    assert (corrected >= own - 1e-12).all()
    assert (corrected <= np.minimum(1, len(sizes) * 1.0)).all()
    turned_own, turned = permutation_p(-factor * sizes[::-1])
    assert turned_own[::-1] == pytest.approx(own)
    assert turned[::-1] == pytest.approx(corrected)


def correlated_sizes(rng, cues=12, frames=220, width=25, effect=0.0):
    """Cliff's delta of related cues at every shift of one region; the last may be planted."""
    shared = smooth(rng, frames)
    here = int(rng.integers(frames))
    region = (here + np.arange(width)) % frames
    starts = arrangements([(here, width)], frames, 999)
    rows = []
    for k in range(cues):
        track = 0.7 * shared + 0.7 * smooth(rng, frames)
        track[region] += effect * track.std() * (k == cues - 1)
        there = np.flatnonzero(smooth(rng, frames, 31) > (-0.1 if k % 3 == 0 else -1.0))
        deltas, inside, outside = shifted_deltas(track[there], there, [(here, width)], starts, frames)
        rows.append(np.where((inside >= 5) & (outside >= 5), deltas, np.nan))
    return np.stack(rows)


def holm(p_values):
    """The rule that knows nothing of how cues move together."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * p_values[order])
    return np.minimum(1, steps)[np.argsort(order)]


def test_one_false_finding_among_all_cues_is_as_rare_as_promised():
    rng = np.random.default_rng(8)
    least = np.array([np.nanmin(permutation_p(correlated_sizes(rng))[1]) for _ in range(400)])
    # 400 draws: three standard errors above 5 % are 8.3 %, above 20 % are 26 %.
    assert (least <= 0.05).mean() <= 0.083
    assert (least <= 0.20).mean() <= 0.26
    # Nor is it idle: the least p falls below 20 % in about as many clips.
    assert (least <= 0.20).mean() >= 0.12


def test_a_planted_cue_is_found_more_often_than_by_holm():
    rng = np.random.default_rng(9)
    stepped = by_holm = 0
    for _ in range(100):
        own, corrected = permutation_p(correlated_sizes(rng, effect=3.0))
        stepped += corrected[-1] < 0.05
        by_holm += holm(own[np.isfinite(own)])[-1] < 0.05
    assert stepped >= 80
    assert by_holm < stepped


def test_seventeen_cues_and_a_second_and_a_half_of_speech_can_reach_5_percent_where_holm_cannot():
    rng = np.random.default_rng(10)
    sizes = [correlated_sizes(rng, cues=17, frames=150, width=12, effect=5.0) for _ in range(20)]
    assert 17 / 150 > 0.05
    assert sum(permutation_p(s)[1][-1] < 0.05 for s in sizes) >= 14
