"""Figures and numbers of the report."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from explanations import example_explanation

from explain import figures, printing

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0.0 %"),
        (0.0003, "< 0.1 %"),
        (0.0007, "0.1 %"),
        (0.9993, "99.9 %"),
        (0.9997, "> 99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_a_share_is_never_a_false_0_or_100(share, words):
    assert printing.percent(share) == words


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (None, "Hz", "not measurable"),
        (float("nan"), "", "not measurable"),
        (0.0, "dB", "0 dB"),
        (-12.34, "dB", "−12.3 dB"),
        (1449.4, "Hz", "1449 Hz"),
        (99.96, "", "100.0"),
        (0.0423, "", "0.0423"),
        (0.00001, "", "below 0.001"),
        (-0.00001, "dB", "above −0.001 dB"),
    ],
)
def test_numbers_have_three_digits_and_a_true_minus(value, unit, words):
    assert printing.number(value, unit) == words


@pytest.mark.parametrize(
    ("options", "images"), [({}, 2), ({"axes": "time"}, 1), ({"axes": "features"}, 1), ({"duration_s": 20.0}, 2)]
)
def test_the_map_is_drawn_only_where_both_axes_exist(options, images):
    svg = ElementTree.fromstring(figures.linked(example_explanation(**options)))
    pictures = [i for i in svg.iter(f"{SVG}image") if float(i.get("width")) > 100]
    assert len(pictures) == images


def test_figures_use_vectors_for_lines_and_need_no_font():
    svg = ElementTree.fromstring(figures.linked(example_explanation()))
    assert not list(svg.iter(f"{SVG}text"))
    assert len(list(svg.iter(f"{SVG}path"))) > 50


def test_drawing_leaves_matplotlibs_global_state_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.linked(example_explanation())
    figures.features(example_explanation(axes="features"))
    assert dict(matplotlib.rcParams) == before


def test_a_silent_clip_and_a_map_of_zeros_can_be_drawn():
    explanation = example_explanation(speechless=True, region_count=0)
    silent = replace(explanation.recording, samples=np.zeros(48_000, dtype=np.float32))
    flat = replace(explanation.attribution, relevance=np.zeros_like(explanation.attribution.relevance))
    level = np.full_like(explanation.spectrogram_db, -80.0)
    drawn = figures.linked(replace(explanation, recording=silent, attribution=flat, spectrogram_db=level))
    assert "nan" not in drawn.lower().split("base64")[0]
