"""Agreement with experts: directions, contested rows, and what cannot be measured."""

import dataclasses

import numpy as np
import pytest

from explain.cues import CUES, CueSettings, CueSummary, CueValue, measure
from explain.expert import (
    EVIDENCE,
    NOT_MEASURED,
    OURS,
    SALIENT,
    STATUSES,
    agreements,
    expert_emotion,
    load_expectations,
    reference_words,
    shared_cues,
    tally,
)
from explain.magnitudes import magnitudes
from explain.reference import PERCENTS, STRETCHES_S, Reference, ReferenceRow, load_reference, stretch
from explain.regions import Region
from explain.samples import samples
from ser_core.audio import read
from ser_core.speech import Segment, speech_segments

# Neutral speech in which the value of a percentile is that percentile less 50.
NEUTRAL = Reference(
    {
        (scope, sex, c.name): ReferenceRow(scope, sex, c.name, c.unit, 99, 99, 9, tuple(q - 50.0 for q in PERCENTS))
        for scope in ("clip", *(stretch(low_s) for low_s, _ in STRETCHES_S))
        for sex in ("female", "male", "any")
        for c in CUES
    },
    (("Made corpus", "none", 99, 9),),
    "",
)


def summary_of(values, regions=()):
    """A summary whose clip (and regions) have these values; other cues are at the median of neutral speech."""
    scopes = ("clip", *(str(r.rank) for r in regions))
    lengths_s = {"clip": 3.0, **{str(r.rank): r.end_s - r.start_s for r in regions}}
    rows = tuple(
        CueValue(
            *(c.name, scope, values.get(c.name, 0.0), c.unit, 10 if scope != "2" else 30, c.counted),
            note="why not",
            span_s=lengths_s[scope],
        )
        for scope in scopes
        for c in CUES
    )
    return CueSummary(tuple(regions), rows, ())


def row_of(rows, cue, emotion="anger", scope="clip"):
    (found,) = [r for r in rows if (r.cue, r.emotion, r.scope) == (cue, emotion, scope)]
    return found


@pytest.mark.parametrize(
    ("emotion", "cue", "value", "status"),
    [
        ("anger", "f0_mean", 40, "agrees"),
        ("anger", "f0_mean", 0, "disagrees"),
        ("anger", "f0_mean", -40, "disagrees"),
        ("sadness", "f0_mean", -40, "agrees"),
        ("sadness", "speech_rate", -40, "agrees"),
        ("sadness", "pauses", 40, "agrees"),
        ("fear", "speech_rate", 40, "agrees"),
        ("fear", "f0_variability", 40, "contested"),
        ("fear", "f0_variability", -40, "contested"),
        ("fear", "hf_energy", 0, "contested"),
        ("happiness", "hf_energy", 0, "agrees"),
        ("happiness", "hf_energy", 40, "contested"),
        ("happiness", "hf_energy", -40, "disagrees"),
        ("anger", "jitter", 15, "agrees"),
        ("anger", "jitter", 5, "disagrees"),
        ("disgust", "f0_variability", 15, "agrees"),
        ("anger", "hnr", 40, "no expectation"),
        ("neutral", "f0_mean", 0, "no expectation"),
    ],
)
def test_a_cue_is_held_against_the_experts_direction(emotion, cue, value, status):
    row = row_of(
        agreements(summary_of({OURS.get(cue, cue): value}), [emotion], "female", reference=NEUTRAL), cue, emotion
    )
    assert row.status == status
    assert row.percentile == pytest.approx(value + 50)


def test_a_contour_rises_only_where_its_slope_is_above_zero():
    less_falling = dataclasses.replace(
        NEUTRAL,
        rows={
            **NEUTRAL.rows,
            ("clip", "male", "f0_slope"): dataclasses.replace(
                NEUTRAL.rows["clip", "male", "f0_slope"], quantiles=tuple(q - 120.0 for q in PERCENTS)
            ),
        },
    )
    rows = agreements(summary_of({"f0_slope": -25}), ["anger"], "male", reference=less_falling)
    row = row_of(rows, "f0_contour")
    assert (row.percentile, row.observed, row.status) == (pytest.approx(95), "level", "disagrees")
    rows = agreements(summary_of({"f0_slope": 40}), ["anger"], "male", reference=NEUTRAL)
    assert (row_of(rows, "f0_contour").observed, row_of(rows, "f0_contour").status) == ("rising", "agrees")


def test_level_is_left_out_and_says_why():
    row = row_of(agreements(summary_of({"intensity_mean": 40}), ["anger"], "male", reference=NEUTRAL), "intensity_mean")
    assert (row.status, row.value) == ("not measurable", None)
    assert "uncalibrated" in row.note


def test_what_was_not_measured_says_why():
    row = row_of(agreements(summary_of({"jitter": None}), ["anger"], "male", reference=NEUTRAL), "jitter")
    assert (row.status, row.note, row.percentile) == ("not measurable", "why not", None)


def test_there_is_no_reference_for_children():
    row = row_of(agreements(summary_of({}), ["anger"], "child", reference=NEUTRAL), "f0_mean")
    assert row.status == "not measurable"
    assert "children" in row.note


def of_one_length(scope: str) -> Reference:
    """A reference that lies 60 lower for stretches of one length than for others."""
    low = {
        key: dataclasses.replace(row, quantiles=tuple(q - 60.0 for q in row.quantiles))
        for key, row in NEUTRAL.rows.items()
        if key[0] == scope
    }
    return dataclasses.replace(NEUTRAL, rows={**NEUTRAL.rows, **low})


@pytest.mark.parametrize(
    ("length_s", "stretches"),
    [(0.03, "0.05 to 0.1 s"), (0.1, "0.1 to 0.2 s"), (0.45, "0.3 to 0.6 s"), (5.0, "1.2 to 2.4 s")],
)
def test_a_region_is_held_against_stretches_of_its_own_length(length_s, stretches):
    summary = summary_of({"f0_variability": 0}, [Region(1, 0.0, length_s, None, None, 1.0)])
    for reference, percentile in ((NEUTRAL, 50), (of_one_length(stretches), 99)):
        rows = agreements(summary, ["anger"], "male", reference=reference)
        region, clip = (row_of(rows, "f0_variability", scope=scope) for scope in (SALIENT, "clip"))
        assert (region.percentile, region.stretches) == (pytest.approx(percentile), stretches)
        assert (clip.percentile, clip.stretches) == (pytest.approx(50), "")


def test_several_regions_are_held_against_stretches_of_their_mean_length():
    # The second counts three times as much: 0.25 × 0.1 s + 0.75 × 0.5 s.
    regions = [Region(1, 0.0, 0.1, None, None, 0.5), Region(2, 0.5, 1.0, None, None, 0.5)]
    rows = agreements(summary_of({}, regions), ["anger"], "male", reference=of_one_length("0.3 to 0.6 s"))
    assert row_of(rows, "f0_mean", scope=SALIENT).percentile == pytest.approx(99)
    assert row_of(rows, "f0_mean", scope=SALIENT).stretches == "0.3 to 0.6 s"


def test_silence_in_a_region_does_not_make_its_speech_longer():
    base = read(next(sample for sample in samples() if sample.name == "neutral_man").path)
    tracks = measure(base, CueSettings(sex="male"), [Segment(0.8, 1.4)])
    found = []
    for start_s in (0.4, 0.8):
        region = Region(1, start_s, 1.2, None, None, 1.0)
        rows = agreements(CueSummary((region,), magnitudes(tracks, [region]), ()), ["anger"], "male")
        found.append(row_of(rows, "f0_variability", scope=SALIENT))
    assert found[0].stretches == found[1].stretches == "0.3 to 0.6 s"
    assert found[0].percentile == found[1].percentile is not None


def test_the_rate_of_several_regions_is_their_nuclei_over_their_seconds():
    regions = [Region(1, 0.0, 1.2, None, None, 0.5), Region(2, 2.0, 3.2, None, None, 0.5)]
    nuclei = {"1": 3, "2": 9}
    summary = summary_of({}, regions)
    values = tuple(
        dataclasses.replace(v, value=nuclei[v.scope] / 1.2, count=nuclei[v.scope])
        if v.cue == "speech_rate" and v.scope in nuclei
        else v
        for v in summary.values
    )
    rows = agreements(dataclasses.replace(summary, values=values), ["anger"], "male", reference=NEUTRAL)
    assert row_of(rows, "speech_rate", scope=SALIENT).value == pytest.approx(12 / 2.4)


def test_a_cue_without_neutral_stretches_of_that_length_is_told_so():
    without = {key: row for key, row in NEUTRAL.rows.items() if key != ("0.05 to 0.1 s", "male", "f0_mean")}
    summary = summary_of({"f0_mean": 40}, [Region(1, 0.0, 0.06, None, None, 1.0)])
    row = row_of(
        agreements(summary, ["anger"], "male", reference=dataclasses.replace(NEUTRAL, rows=without)),
        "f0_mean",
        scope=SALIENT,
    )
    assert (row.status, row.value) == ("not measurable", 40)
    assert row.note == "no neutral reference of this cue in stretches of 0.05 to 0.1 s"


@pytest.mark.parametrize("cue", ["intensity_variability", "f0_variability"])
def test_a_neutral_range_is_usual_among_stretches_of_its_length_and_not_among_longer_ones(cue):
    base = read(next(sample for sample in samples() if sample.name == "neutral_man").path)
    tracks = measure(base, CueSettings(sex="male"), speech_segments(base))
    values = {}
    for length_s in (0.15, 0.45, 0.9):
        starts = [t for t in tracks.times_s[::10] if t + length_s < base.duration_s]
        regions = [Region(k, t, t + length_s, None, None, 0.0) for k, t in enumerate(starts, 1)]
        found = [v.value for v in magnitudes(tracks, regions) if v.cue == cue and v.scope.isdigit()]
        values[length_s] = np.median([value for value in found if value is not None])
        assert 20 < load_reference().row(cue, "male", length_s).percentile(values[length_s]) < 80
    of_long = load_reference().row(cue, "male", 0.9)
    assert of_long.percentile(values[0.15]) < 20


def test_salient_regions_are_weighted_by_what_they_are_made_of():
    regions = [Region(1, 0.0, 0.3, None, None, 0.5), Region(2, 0.5, 1.0, None, None, 0.5)]
    summary = summary_of({}, regions)
    values = tuple(
        dataclasses.replace(v, value=40.0 if v.scope == "2" else 0.0) if v.cue == "f0_mean" else v
        for v in summary.values
    )
    rows = agreements(dataclasses.replace(summary, values=values), ["anger"], "male", reference=NEUTRAL)
    assert row_of(rows, "f0_mean", scope=SALIENT).value == pytest.approx(30)
    assert row_of(rows, "f0_mean", scope=SALIENT).status == "disagrees"


def test_every_row_of_the_table_is_answered_with_its_source():
    table = load_expectations()
    emotions = sorted({row.emotion for row in table})
    rows = agreements(summary_of({}), emotions, "unknown", reference=NEUTRAL)
    assert {r.status for r in rows} <= set(STATUSES)
    for row in table:
        found = row_of(rows, row.cue, row.emotion)
        assert (found.source, found.evidence) == (row.source, EVIDENCE[row.evidence])
        assert found.conflict == row.conflict
        if row.contested and row.cue not in NOT_MEASURED:
            assert found.status == "contested"


def test_cues_that_fit_both_emotions_are_named():
    high = dict.fromkeys(("f0_mean", "f0_variability", "hf_energy", "speech_rate", "f1_mean", "f0_slope"), 40.0)
    rows = agreements(summary_of(high), ["anger", "joy"], "female", reference=NEUTRAL)
    shared = shared_cues(rows, "anger", "joy", "clip")
    assert sorted(shared) == ["f0_contour", "f0_mean", "f0_variability", "f1_mean", "speech_rate"]
    anger, joy = tally(rows)
    assert (anger.emotion, joy.emotion) == ("anger", "joy")
    assert set(anger.agrees) == {*shared, "hf_energy"}
    assert joy.contested == ("hf_energy",)


def test_an_unknown_sex_is_said_with_the_reference_and_what_to_do():
    unknown, woman = (
        reference_words(agreements(summary_of({}), ["anger"], sex, reference=NEUTRAL), sex)
        for sex in ("unknown", "female")
    )
    assert "neutral speech of 9 adults of both sexes (99 clips; Made corpus)" in unknown
    assert "set the speaker" in unknown
    assert woman == "Reference: neutral speech of 9 women (99 clips; Made corpus)."
    assert "children" in reference_words((), "child")


def test_models_words_for_emotions_are_understood():
    assert [expert_emotion(e) for e in ("Angry", "joy", "sad", "fearful", "surprise")] == [
        "anger",
        "happiness",
        "sadness",
        "fear",
        "surprise",
    ]
