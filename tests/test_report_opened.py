"""The report holds what was opened beside the explanation."""

import io
from dataclasses import replace

import numpy as np
import pypdf
import pytest
from explanations import HOSTILE_NAMES, example_explanation
from opened import example_experiment, example_opened
from reports import WHEN, elements_of, joined, report_of, text_of

from explain import report, report_opened
from explain.comparison import Comparison
from explain.map_pairs import MapPair
from explain.opened import Opened
from explain.opened_sections import comparison_section


def test_what_was_opened_is_summed_up_first_and_told_before_the_methods():
    opened = example_opened()
    data = report.pdf(example_explanation(), WHEN, opened)
    text = text_of(data)
    first = " ".join(pypdf.PdfReader(io.BytesIO(data)).pages[0].extract_text().split())
    for said in (
        "This explanation fails: the 3 salient regions alone",
        "turns anger into disgust",
        "Both answer anger.",
    ):
        assert said in first
    order = [
        "Summary for the clinician",
        "What the model answered",
        "Can the explanation be trusted?",
        "What if the voice were",
    ]
    order += ["Comparison of two models", "Method and settings", "Model card"]
    places = [text.rindex(head) for head in order]
    assert places == sorted(places)
    assert "deletion ✓ holds 2.00 logit > 0.95 0.025" in text
    assert "randomised weights – cannot be decided not measurable" in text
    # no measured value at the lowest dose
    assert "Pitch level −6.0 st not measurable" in text.replace("-6.0", "−6.0")
    assert "Answers model answer ResNet anger 62 %" in text


def test_figures_of_what_was_opened_have_words_in_their_place():
    elements = elements_of(report.pdf(example_explanation(), WHEN, example_opened()))
    words = " ".join(str(each["/Alt"]) for each in elements if "/Alt" in each)
    assert "deletion: the logit goes from 1.00 to −1.00 with the salient regions and to 0.700" in words
    assert "Probability of anger against pitch level: Pitch level −6.0 st 75.0 %" in words


@pytest.mark.parametrize(("name", "told"), [("pitch_level", True), ("loudness", False)])
def test_only_what_is_built_anew_is_said_to_leave_a_mark(name, told):
    found = Opened(experiments=(example_experiment(name),))
    (drawn,) = report_opened.contents(example_explanation(), found)["experiments"][0]["figures"]
    assert ("is the resynthesis itself" in drawn["caption"]) == told


def test_a_comparison_and_the_persons_own_clips_tell_no_false_0_or_100():
    shown = example_explanation()
    sure = replace(shown.prediction, probabilities=np.array([0.996, 0.004, 0, 0, 0, 0]))
    side = replace(shown, prediction=sure)
    pair = MapPair(0, 1, 0.5, 0.2, 0.997, None, bands=True)
    answers, alike = comparison_section(Comparison("methods", ("a", "b"), (side, side), (pair,))).tables
    assert answers.rows[0][-1] == "anger over 99 %, disgust under 1 %"
    assert alike.rows[0][3:] == ("over 99 %", "not measurable")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_text_in_what_was_opened_is_printed_and_never_run(name):
    text = joined(report.pdf(example_explanation(), WHEN, example_opened(name)))
    assert "root:x:0" not in text and "Comparisonoftwomodels" in text


def test_a_report_without_tests_says_so():
    assert "was not tested for this report" in text_of(report_of())
