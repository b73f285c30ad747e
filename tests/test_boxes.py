"""What lies in a box that the reader drew, against sums done cell by cell."""

import dataclasses
import itertools

import numpy as np
import pytest
from explanations import example_explanation
from hypothesis import given
from hypothesis import strategies as st

from explain.attribution import Attribution, Target
from explain.boxes import band_difference_db, box_sentence, own_region, share_within
from explain.regions import Region
from ser_core.errors import SettingError
from ser_core.speech import Segment

RELEVANCE = np.random.default_rng(0).standard_normal((8, 20))
MAP = Attribution(
    "m",
    "occlusion",
    Target("a"),
    "time_frequency",
    RELEVANCE,
    times_s=0.05 + 0.1 * np.arange(20),
    bands_hz=500.0 + 1000.0 * np.arange(8),
)


def box(start_s, end_s, low_hz=None, high_hz=None) -> Region:
    return Region(1, start_s, end_s, low_hz, high_hz, 0.0)


@given(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted),
    st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted),
)
def test_a_box_on_the_edges_of_cells_holds_the_sum_of_its_cells(columns, rows):
    positive = np.clip(RELEVANCE, 0, None)
    inside = positive[rows[0] : rows[1], columns[0] : columns[1]].sum() / positive.sum()
    drawn = box(columns[0] / 10, columns[1] / 10, 1000.0 * rows[0], 1000.0 * rows[1])
    assert share_within(MAP, drawn) == pytest.approx(inside, abs=1e-9)


def test_a_cell_that_is_cut_counts_by_its_part():
    one = dataclasses.replace(MAP, relevance=np.eye(8, 20))
    assert share_within(one, box(0.0, 0.025, 0.0, 500.0)) == pytest.approx(0.25 * 0.5 / 8)


def test_boxes_that_tile_the_clip_hold_all_of_the_evidence():
    edges_s, edges_hz = [0.0, 0.33, 1.01, 2.0], [0.0, 777.0, 3210.0, 8000.0]
    shares = [
        share_within(MAP, box(a, b, low, high))
        for a, b in itertools.pairwise(edges_s)
        for low, high in itertools.pairwise(edges_hz)
    ]
    assert sum(shares) == pytest.approx(1.0)


def test_without_a_frequency_axis_a_band_does_not_narrow_the_share():
    flat = dataclasses.replace(MAP, axes="time", relevance=RELEVANCE[0], bands_hz=None)
    assert share_within(flat, box(0.3, 0.9, 1000.0, 2000.0)) == share_within(flat, box(0.3, 0.9))


def test_features_and_empty_maps_have_no_share():
    assert np.isnan(share_within(example_explanation(axes="features").attribution, box(0.0, 1.0)))
    assert np.isnan(share_within(dataclasses.replace(MAP, relevance=-np.ones((8, 20))), box(0.0, 1.0)))


def test_a_band_that_is_louder_in_the_box_by_a_known_level_is_found():
    times, hz = np.arange(300) / 100, np.arange(257) * 31.25
    level = np.full((257, 300), -60.0)
    level[64:96, 100:150] += 12.5
    shown = dataclasses.replace(
        example_explanation(),
        spectrogram_db=level,
        spectrogram_times_s=times,
        spectrogram_hz=hz,
        speech=(Segment(0.2, 2.8),),
    )
    assert band_difference_db(shown, box(1.0, 1.5, 2000.0, 2968.75)) == pytest.approx(12.5)
    assert band_difference_db(shown, box(1.0, 1.5, 4000.0, 6000.0)) == pytest.approx(0.0)
    quarter = 10 * np.log10((32 * 10**1.25 + 225) / 257)
    assert band_difference_db(shown, box(1.0, 1.5)) == pytest.approx(quarter)
    assert band_difference_db(shown, box(0.0, 3.0, 2000.0, 3000.0)) is None


@pytest.mark.parametrize(
    "wrong", [(1.0, 1.0), (2.0, 1.0), (1.0, 2.0, 500.0), (1.0, 2.0, None, 500.0), (1.0, 2.0, 900.0, 300.0)]
)
def test_a_box_without_extent_or_with_half_a_band_is_refused(wrong):
    with pytest.raises(SettingError):
        own_region(example_explanation(), *wrong)


def test_the_sentence_says_share_level_and_that_the_cues_are_of_the_seconds():
    shown = example_explanation()
    drawn = own_region(shown, 1.0, 1.5, 1000.0, 3000.0)
    words = box_sentence(shown, drawn)
    assert words.startswith("Your box, 1.00 to 1.50 s, 1000 to 3000 Hz: ")
    assert f"{100 * drawn.share:.1f} % of the evidence for anger" in words
    assert f"{abs(band_difference_db(shown, drawn)):.1f} dB" in words
    assert "full band" in words and "measured over the box’s seconds" in words
    plain = box_sentence(shown, own_region(shown, 1.0, 1.5))
    assert plain.startswith("Your stretch, 1.00 to 1.50 s: ") and "full band" not in plain
    timed = example_explanation(axes="time")
    assert "no frequencies" in box_sentence(timed, own_region(timed, 1.0, 1.5, 1000.0, 3000.0))
