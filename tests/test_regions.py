"""Regions and their overlap, on maps made by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explain.attribution import Attribution, Target
from explain.regions import Region, coverage, iou, salient_regions, windowed_regions
from ser_core.features import mel_centres_hz
from ser_core.speech import Segment

COLUMNS = 200


def a_map(*patches, bands=True, columns=COLUMNS, duration_s=None, noise=0.0):
    """Relevance 0 with patches (first_band, last_band, first_column, last_column, value)."""
    relevance = noise * np.random.default_rng(0).standard_normal((80, columns))
    for low, high, start, end, value in patches:
        relevance[low:high, start:end] = value
    return Attribution(
        "m",
        "saliency",
        Target("a"),
        "time_frequency" if bands else "time",
        relevance if bands else relevance.sum(0),
        times_s=np.arange(columns) * 0.01,
        bands_hz=mel_centres_hz() if bands else None,
        settings={} if duration_s is None else {"duration_s": duration_s},
    )


def test_an_even_patch_is_its_own_region():
    (region,) = salient_regions(a_map((20, 40, 50, 80, 1.0)))
    assert region.rank == 1
    assert region.start_s == pytest.approx(0.495) and region.end_s == pytest.approx(0.795)
    hz = mel_centres_hz()
    assert hz[19] < region.low_hz < hz[20] and hz[39] < region.high_hz < hz[40]
    assert 0.95 < region.share <= 1.0


def test_relevance_against_the_class_is_no_region():
    assert salient_regions(a_map((20, 40, 50, 80, -1.0))) == ()
    (region,) = salient_regions(a_map((20, 40, 50, 80, 1.0), (50, 70, 50, 80, -5.0)))
    assert region.high_hz < mel_centres_hz()[41]


def test_a_map_of_zeros_has_no_region():
    assert salient_regions(a_map()) == ()
    assert windowed_regions(a_map(), speech=()) == ()


def test_regions_are_ranked_by_share_and_shares_stay_within_one():
    regions = salient_regions(a_map((10, 20, 20, 40, 1.0), (30, 50, 100, 140, 1.0), (60, 70, 160, 175, 1.2)))
    assert [region.rank for region in regions] == [1, 2, 3]
    shares = [region.share for region in regions]
    assert shares == sorted(shares, reverse=True)
    assert 0.9 < sum(shares) <= 1.0
    assert regions[0].start_s == pytest.approx(1.0, abs=0.0101)


def test_at_most_five_regions_are_returned():
    patches = [(30, 50, 30 * number, 30 * number + 12, 1.0) for number in range(6)]
    assert len(salient_regions(a_map(*patches))) == 5
    assert len(salient_regions(a_map(*patches), max_regions=2)) == 2


def test_regions_shorter_than_the_minimum_are_left_out():
    short_and_long = a_map((10, 30, 20, 28, 1.0), (40, 60, 100, 130, 1.0))
    assert [round(region.start_s, 1) for region in salient_regions(short_and_long)] == [1.0, 0.2]
    assert [round(region.start_s, 1) for region in salient_regions(short_and_long, min_duration_s=0.2)] == [1.0]
    assert salient_regions(short_and_long, min_duration_s=0.5) == ()


def test_a_map_of_many_peaks_gives_several_regions():
    # One cell-wide spike five times as high must not hide three ordinary patches.
    patches = [(20, 35, start, start + 15, 1.0) for start in (20, 70, 120)]
    found = salient_regions(a_map(*patches, (60, 64, 160, 165, 3.0), noise=0.05))
    assert sum(region.start_s < 1.5 for region in found) == 3


def test_silence_around_a_map_leaves_its_regions_alone():
    rng = np.random.default_rng(1)
    relevance = np.clip(rng.standard_normal((80, 120)), 0, None) ** 3
    made = a_map(columns=120)
    padded = a_map(columns=220)
    here = Attribution("m", "x", Target("a"), "time_frequency", relevance, made.times_s, made.bands_hz)
    silence = np.concatenate([np.zeros((80, 50)), relevance, np.zeros((80, 50))], axis=1)
    there = Attribution("m", "x", Target("a"), "time_frequency", silence, padded.times_s, padded.bands_hz)
    one, other = salient_regions(here), salient_regions(there)
    assert len(one) > 1
    for first, second in zip(one[:2], other[:2], strict=True):
        assert second.start_s - max(first.start_s, 0) == pytest.approx(0.5, abs=0.0101)
        assert second.share == pytest.approx(first.share, abs=0.01)


@pytest.mark.parametrize(("gap_columns", "count"), [(1, 1), (2, 1), (8, 2), (12, 2)])
def test_regions_are_joined_over_a_short_gap_only(gap_columns, count):
    found = salient_regions(a_map((20, 40, 50, 80, 1.0), (20, 40, 80 + gap_columns, 110 + gap_columns, 1.0)))
    assert len(found) == count
    assert min(region.start_s for region in found) == pytest.approx(0.495)


def test_gaps_below_30_ms_are_closed_and_30_ms_are_not():
    from explain.regions import _joined

    times = np.arange(60) * 0.01
    for gap, closed in ((1, True), (2, True), (3, False), (5, False)):
        row = np.zeros((1, 60), bool)
        row[0, 0:20] = row[0, 20 + gap : 40] = True
        joined = _joined(row, times)
        assert joined[0, 20 : 20 + gap].all() == closed
        assert (joined[0, :20] == row[0, :20]).all() and not joined[0, 40:].any()


def test_a_time_axis_gives_regions_without_bands():
    (region,) = salient_regions(a_map((0, 80, 50, 80, 1.0), bands=False))
    assert region.low_hz is None and region.high_hz is None
    assert region.start_s == pytest.approx(0.495)


def test_features_have_no_regions():
    features = Attribution("m", "x", Target("a"), "features", np.ones(3), feature_names=("a", "b", "c"))
    assert salient_regions(features) == ()
    assert windowed_regions(features, speech=()) == ()


def test_regions_stay_within_the_clip():
    (region,) = salient_regions(a_map((0, 80, 0, COLUMNS, 1.0), duration_s=1.992))
    assert region.start_s == 0.0 and region.end_s == 1.992 and region.low_hz >= 0


@given(shift=st.integers(0, 100), start=st.integers(10, 60), length=st.integers(8, 30))
def test_shifting_a_map_shifts_its_regions(shift, start, length):
    (here,) = salient_regions(a_map((20, 40, start, start + length, 1.0)))
    (there,) = salient_regions(a_map((20, 40, start + shift, start + shift + length, 1.0)))
    assert there.start_s - here.start_s == pytest.approx(shift * 0.01)
    assert there.end_s - here.end_s == pytest.approx(shift * 0.01)


@given(st.floats(0.001, 1000))
def test_the_scale_of_relevance_does_not_matter(scale):
    one = salient_regions(a_map((20, 40, 50, 80, 1.0), (50, 60, 100, 120, 0.8)))
    other = salient_regions(a_map((20, 40, 50, 80, scale), (50, 60, 100, 120, 0.8 * scale)))
    assert [(r.start_s, r.end_s, r.low_hz) for r in one] == [(r.start_s, r.end_s, r.low_hz) for r in other]


# The published windowing


def test_published_windows_do_not_overlap_and_lie_in_speech():
    speech = (Segment(0.2, 0.9), Segment(1.1, 1.8))
    found = windowed_regions(a_map(noise=1.0), speech=speech)
    assert len(found) == 5
    for region in found:
        assert region.end_s - region.start_s == pytest.approx(0.15)
        assert region.start_s >= 0.2 - 1e-9 and region.end_s <= 1.8 + 1e-9
        assert (region.start_s - 0.2) / 0.15 == pytest.approx(round((region.start_s - 0.2) / 0.15), abs=1e-6)
        assert region.low_hz is None
    ordered = sorted(found, key=lambda region: region.start_s)
    assert all(one.end_s <= two.start_s + 1e-9 for one, two in itertools.pairwise(ordered))


def test_published_windows_count_only_what_is_above_the_mean():
    # A flat floor of 0.1 everywhere is below the map's mean, so that only the patch counts.
    relevance = np.full((80, COLUMNS), 0.1)
    relevance[10:20, 60:75] = 5.0
    flat = a_map()
    made = Attribution("m", "x", Target("a"), "time_frequency", relevance, flat.times_s, flat.bands_hz)
    found = windowed_regions(made, speech=(Segment(0.0, 2.0),))
    assert [round(region.start_s, 2) for region in found] == [0.6]
    assert found[0].share == pytest.approx(750 / relevance.sum())


# Overlap

boxes = st.builds(
    lambda start, length, low, height: Region(1, start, start + length, low, low + height, 0.5),
    st.floats(0, 5),
    st.floats(0.01, 5),
    st.floats(0, 4000),
    st.floats(10, 4000),
)


@given(boxes, boxes)
def test_iou_is_symmetric_between_0_and_1_and_1_with_itself(one, other):
    assert 0 <= iou(one, other) <= 1 + 1e-9
    assert iou(one, other) == pytest.approx(iou(other, one), abs=1e-9)
    assert iou(one, one) == pytest.approx(1)


def test_iou_has_the_known_value_in_seconds_and_mel():
    one, other = Region(1, 0.0, 1.0, 0.0, 700.0, 0.5), Region(1, 0.5, 1.5, 0.0, 700.0, 0.5)
    assert iou(one, other) == pytest.approx(1 / 3)
    # 0, 700 and 2,100 Hz lie equally far apart in mel: log10 of 1, 2 and 4.
    assert iou(one, Region(1, 0.0, 1.0, 0.0, 2100.0, 0.5)) == pytest.approx(0.5)


def test_iou_compares_time_only_where_a_frequency_axis_is_missing():
    assert iou(Region(1, 0.0, 1.0, None, None, 0.5), Region(1, 0.0, 0.5, 100.0, 200.0, 0.5)) == pytest.approx(0.5)


def test_coverage_counts_overlapping_regions_once():
    regions = (Region(1, 0.0, 1.0, None, None, 0.5), Region(2, 0.5, 1.5, None, None, 0.3), Region(3, 3, 4, 0, 9, 0.1))
    assert coverage(regions, 5.0) == pytest.approx(0.5)
    assert coverage((), 5.0) == 0.0
