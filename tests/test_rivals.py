"""Why one emotion and not another: every reading of a cue, and what the experts' tables do not separate."""

import dataclasses

import numpy as np
import pytest
from test_expert import NEUTRAL, summary_of

from explain.attribution import Target
from explain.expert import SALIENT
from explain.opened_sections import rivalry_section
from explain.regions import Region
from explain.rivals import AS_NEUTRAL, Rivalry, rival_target, rivalry
from pages.parts import rival_panel
from ser_core.errors import ExplanationError
from ser_core.models import Prediction

REGION = (Region(1, 0.5, 1.0, None, None, 0.5),)
# In the made reference 40 lies in the upper fifth of neutral speech, −40 in the lower, 0 in the middle.
HIGH, USUAL, LOW = 40.0, 0.0, -40.0


def between(emotion: str, against: str, **values: float) -> Rivalry:
    return rivalry(summary_of(values, REGION), emotion, against, "female", reference=NEUTRAL)


def reading(found: Rivalry, cue: str, scope: str = SALIENT) -> str:
    return next(row.reading for row in found.rows if (row.cue, row.scope) == (cue, scope))


@pytest.mark.parametrize(
    ("value", "expected"), [(HIGH, "for"), (USUAL, "fits neither"), (LOW, "against")], ids=("high", "usual", "low")
)
def test_a_cue_speaks_for_the_emotion_whose_direction_it_has(value, expected):
    # Pitch level: high for anger, low for sadness.
    found = between("anger", "sadness", f0_mean=value)
    assert reading(found, "f0_mean") == reading(found, "f0_mean", "clip") == expected
    turned = {"for": "against", "against": "for"}.get(expected, expected)
    assert reading(between("sadness", "anger", f0_mean=value), "f0_mean") == turned


def test_a_high_pitch_does_not_separate_anger_from_joy_since_experts_expect_it_of_both():
    found = between("anger", "joy", f0_mean=HIGH, f0_variability=HIGH)
    assert reading(found, "f0_mean") == reading(found, "f0_variability") == "same expectation"
    assert "do not separate anger from joy there either" in found.sentence
    assert "pitch level" in found.sentence and "pitch level speaks" not in found.sentence


def test_high_frequency_energy_is_what_the_tables_separate_anger_and_joy_by():
    # High for anger; medium for joy, in the upper fifth contested.
    assert reading(between("anger", "joy", hf_energy=USUAL), "hf_energy") == "against"
    assert reading(between("anger", "joy", hf_energy=HIGH), "hf_energy") == "contested"
    assert "high-frequency energy speaks for joy against anger" in between("anger", "joy", hf_energy=USUAL).sentence


def test_contradicting_sources_count_neither_way():
    assert reading(between("fear", "sadness", f0_variability=LOW), "f0_variability") == "contested"


def test_a_cue_that_the_table_names_for_one_alone_separates_nothing():
    assert reading(between("anger", "joy", jitter=HIGH), "jitter") == "one expectation"


def test_neutral_is_expected_where_neutral_speech_is():
    found = between("sadness", "neutral", f0_mean=USUAL, speech_rate=LOW)
    assert reading(found, "f0_mean") == "against" and reading(found, "speech_rate") == "for"
    assert next(row for row in found.rows if row.cue == "f0_mean").expected_against == AS_NEUTRAL
    assert "by definition" in next(row for row in found.rows if row.cue == "f0_mean").sources[1]


def test_a_childs_voice_has_no_neutral_reference_and_so_no_reading():
    found = rivalry(summary_of({"f0_mean": HIGH}, REGION), "anger", "sadness", "child", reference=NEUTRAL)
    assert {row.reading for row in found.rows if row.separates} == {"not measurable"}
    assert "no cue speaks for anger against sadness" in found.sentence


def test_a_cue_without_neutral_stretches_of_the_regions_length_speaks_for_neither():
    short = (Region(1, 0.5, 0.55, None, None, 0.5),)
    rows = {key: row for key, row in NEUTRAL.rows.items() if key[::2] != ("0.05 to 0.1 s", "f0_variability")}
    reference = dataclasses.replace(NEUTRAL, rows=rows)
    for regions, expected in ((REGION, "for"), (short, "not measurable")):
        found = rivalry(summary_of({"f0_variability": LOW}, regions), "sadness", "anger", "female", reference=reference)
        assert reading(found, "f0_variability") == expected
        assert reading(found, "f0_variability", "clip") == "for"
    why = "no neutral reference of this cue in stretches of 0.05 to 0.1 s"
    assert next(row for row in found.rows if row.cue == "f0_variability").note == why
    assert "pitch range speaks" not in found.sentence and why in rival_panel.rows(found)
    assert any(row[-1] == f"not measurable: {why}" for row in rivalry_section(found).tables[0].rows)


def test_emotions_without_a_row_are_told_so():
    found = between("surprise", "contempt")
    assert found.rows == () and "say nothing of surprise or of contempt" in found.sentence
    assert "do not separate anger from surprise in anything" in between("anger", "surprise").sentence


def test_without_regions_the_whole_clip_decides():
    found = rivalry(summary_of({"f0_mean": HIGH}), "anger", "sadness", "female", reference=NEUTRAL)
    assert found.scope == "clip" and found.sentence.startswith("Over the whole clip")


def test_what_would_separate_and_is_not_measured_is_named():
    # Anger's microstructure is irregular, joy's regular.
    assert "Microstructure would separate them and cannot be measured" in between("anger", "joy").sentence


def prediction(**shares: float) -> Prediction:
    return Prediction("m", tuple(shares), np.array(list(shares.values())))


def test_the_default_rival_is_the_runner_up():
    answer = prediction(anger=0.2, joy=0.5, fear=0.3)
    assert rival_target(answer) == Target("joy", "fear")
    assert rival_target(answer, "fear") == Target("fear", "joy")
    assert rival_target(answer, None, "anger") == Target("joy", "anger")


def test_dimensions_have_no_rivals_and_nothing_is_its_own_rival():
    with pytest.raises(ExplanationError, match="itself"):
        rival_target(prediction(anger=0.6, joy=0.4), "joy", "joy")
    scales = Prediction("m", ("valence", "arousal"), np.zeros(0), answer="dimensions", values=np.array([0.1, 0.2]))
    with pytest.raises(ExplanationError, match="dimensions"):
        rival_target(scales)
