"""Exports say the same as the explanation, open in the programs they are for, and cannot run anything there."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from explanations import EMOTIONS, HOSTILE_NAMES, SPEECH, example_explanation
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import example_opened

from explain import export, export_json
from explain.expert import Agreement
from explain.opened import experiments_csv, trust_csv
from explain.regions import Region
from ser_core.errors import ExplanationError

parselmouth = pytest.importorskip("parselmouth")

SMALL = example_explanation(region_count=1)
NAMES = st.text(st.characters(), max_size=40)


def _rows(explanation):
    return list(csv.DictReader(io.StringIO(export.cue_csv(explanation), newline="")))


def _praat(text, tmp_path):
    path = tmp_path / "object.txt"
    path.write_text(text, encoding="utf-8")
    return parselmouth.read(str(path))


def _ask(thing, *question):
    return parselmouth.praat.call(thing, *question)


# CSV


def test_csv_has_one_row_for_each_cue_and_scope():
    explanation = example_explanation()
    keys = [(row["cue"], row["scope"]) for row in _rows(explanation)]
    assert len(keys) == len(set(keys))
    expected = {(v.cue, v.scope) for v in explanation.cues.values}
    assert {("f0_slope", "all regions"), ("f0_slope", "clip")} <= expected
    assert set(keys) == expected


def test_every_figure_in_the_csv_reads_back_to_the_same_float():
    explanation = example_explanation()
    rows = {(row["cue"], row["scope"]): row for row in _rows(explanation)}
    for value in explanation.cues.values:
        row = rows[value.cue, value.scope]
        assert (float(row["value"]) if row["value"] else None) == value.value
        assert (row["unit"], int(row["count"]), row["counted"]) == (value.unit, value.count, value.counted)
    for contrast in explanation.cues.contrasts:
        row = rows[contrast.cue, contrast.scope]
        for name in ("inside", "outside", "difference", "effect", "chance_low", "chance_high", "p", "p_corrected"):
            cell = row[f"contrast_{name}"]
            assert (float(cell) if cell else None) == getattr(contrast, name)
    for agreement in explanation.agreements:
        i = 1 + EMOTIONS.index(agreement.emotion)
        place = {"salient regions": "all regions"}.get(agreement.scope, agreement.scope)
        row = rows[{"f0_contour": "f0_slope"}.get(agreement.cue, agreement.cue), place]
        assert row[f"emotion_{i}"] == agreement.emotion
        assert row[f"emotion_{i}_cue"] == agreement.cue
        assert row[f"emotion_{i}_status"] == agreement.status
        assert row[f"emotion_{i}_expected"] == (agreement.expected or "")


def test_not_measurable_is_an_empty_cell_with_its_reason_and_never_zero():
    row = next(r for r in _rows(example_explanation()) if r["cue"] == "jitter" and r["scope"] == "1")
    assert row["value"] == ""
    assert "too few periods" in row["note"]


def test_settings_and_hash_stand_in_every_csv_row():
    explanation = example_explanation()
    for row in _rows(explanation):
        assert row["setting_pitch_floor_hz"] == "120.0"
        assert row["setting_sex"] == "female"
        assert row["region_rule"] == "connected"
        assert row["sex_in_force"] == "female"
        assert row["sha256"] == explanation.recording.sha256


def test_region_bounds_stand_beside_the_cues_of_the_region():
    explanation = example_explanation()
    row = next(r for r in _rows(explanation) if r["scope"] == "2")
    region = explanation.regions[1]
    assert [float(row[k]) for k in ("start_s", "end_s", "low_hz", "high_hz", "share")] == [
        region.start_s,
        region.end_s,
        region.low_hz,
        region.high_hz,
        region.share,
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start):
    row = _rows(example_explanation(hostile=f"{start}HYPERLINK(1)"))[0]
    assert row["file"].startswith("'" + start)
    assert row["model"].startswith("'" + start)


def test_negative_numbers_get_no_apostrophe():
    table = pd.read_csv(io.StringIO(export.cue_csv(example_explanation())))
    assert (table.loc[table["cue"] == "hf_energy", "value"].dropna() < 0).all()


@settings(max_examples=50)
@given(name=NAMES)
def test_any_file_name_gives_a_csv_of_the_same_shape(name):
    text = export.cue_csv(replace(SMALL, recording=replace(SMALL.recording, name=name)))
    text.encode("utf-8")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 1 + len(_rows(SMALL))


def test_predicted_class_comes_first_and_other_compared_classes_follow():
    explanation = example_explanation()
    other = Agreement("fear", "f0_mean", "clip", 14.2, "st", 91.0, "high", "high", "agrees", "source")
    explanation = replace(explanation, agreements=(other, *explanation.agreements[::-1]))
    assert explanation.compared_emotions == ("anger", "disgust", "fear")
    assert _rows(explanation)[0]["emotion_3"] == "fear"


def test_csv_without_any_cue_is_a_heading_only():
    explanation = example_explanation()
    empty = replace(explanation, cues=replace(explanation.cues, values=(), contrasts=()), agreements=())
    assert _rows(empty) == []


# Praat


def test_text_grid_opens_in_praat_with_regions_speech_and_pulses(tmp_path):
    explanation = example_explanation()
    grid = _praat(export.text_grid(explanation), tmp_path)
    assert _ask(grid, "Get end time") == explanation.recording.duration_s
    names = [_ask(grid, "Get tier name", i) for i in range(1, 1 + int(_ask(grid, "Get number of tiers")))]
    assert names == ["salient regions", "speech", "pulses", "about"]
    for region in explanation.regions:
        i = int(_ask(grid, "Get interval at time", 1, (region.start_s + region.end_s) / 2))
        assert _ask(grid, "Get start time of interval", 1, i) == region.start_s
        assert _ask(grid, "Get end time of interval", 1, i) == region.end_s
        label = _ask(grid, "Get label of interval", 1, i)
        assert label.startswith(f"{region.rank}: anger, {100 * region.share:.1f} %")
    for segment in SPEECH:
        i = int(_ask(grid, "Get interval at time", 2, (segment.start_s + segment.end_s) / 2))
        assert _ask(grid, "Get start time of interval", 2, i) == segment.start_s
    pulses = [_ask(grid, "Get time of point", 3, i + 1) for i in range(int(_ask(grid, "Get number of points", 3)))]
    assert pulses == explanation.tracks.pulses_s.tolist()
    about = _ask(grid, "Get label of interval", 4, 1)
    assert explanation.recording.sha256 in about
    assert "pitch_floor_hz 120.0" in about


def test_regions_that_overlap_in_time_go_to_further_tiers_and_none_is_lost(tmp_path):
    explanation = example_explanation(region_count=9)
    grid = _praat(export.text_grid(explanation), tmp_path)
    labels = []
    for tier in range(1, 1 + int(_ask(grid, "Get number of tiers"))):
        if _ask(grid, "Get tier name", tier).startswith("salient regions"):
            count = int(_ask(grid, "Get number of intervals", tier))
            labels += [_ask(grid, "Get label of interval", tier, i + 1) for i in range(count)]
    assert sorted(int(label.split(":")[0]) for label in labels if label) == list(range(1, 10))


def test_a_region_over_the_edge_of_the_clip_ends_with_it(tmp_path):
    explanation = replace(
        example_explanation(), regions=(Region(1, -0.01, 0.2, None, None, 0.4), Region(2, 2.9, 3.2, None, None, 0.2))
    )
    grid = _praat(export.text_grid(explanation), tmp_path)
    assert _ask(grid, "Get number of intervals", 1) == 3
    assert _ask(grid, "Get start time of interval", 1, 3) == 2.9


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_breaks_a_praat_file(name, tmp_path):
    explanation = example_explanation(hostile=name, emotions=(f'{name} "!', "calm"))
    grid = _praat(export.text_grid(explanation), tmp_path)
    assert _ask(grid, "Get number of tiers") == 4
    assert _ask(grid, "Get number of intervals", 4) == 1
    assert _ask(_praat(export.pitch_tier(explanation), tmp_path), "Get number of points") > 100


@pytest.mark.parametrize(("write", "track"), [(export.pitch_tier, "f0_hz"), (export.intensity_tier, "intensity_db")])
def test_tiers_hold_every_measured_frame_and_no_other(write, track, tmp_path):
    explanation = example_explanation()
    tier = _praat(write(explanation), tmp_path)
    values = explanation.tracks.tracks[track]
    measured = np.flatnonzero(np.isfinite(values))
    assert _ask(tier, "Get number of points") == len(measured)
    for point in (0, len(measured) // 2, len(measured) - 1):
        assert _ask(tier, "Get time from index", point + 1) == explanation.tracks.times_s[measured[point]]
        assert _ask(tier, "Get value at index", point + 1) == values[measured[point]]


def test_formant_grid_gives_frequency_and_bandwidth_of_the_measured_frames(tmp_path):
    explanation = example_explanation()
    tracks = explanation.tracks
    formant = _ask(_praat(export.formant_grid(explanation), tmp_path), "To Formant", 0.01, 0.1)
    frame = int(_ask(formant, "Get frame number from time", 0.7))
    time_s = _ask(formant, "Get time from frame number", frame)
    for k in (1, 2, 3):
        for question, track in (("Get value at time", f"f{k}_hz"), ("Get bandwidth at time", f"f{k}_bandwidth_hz")):
            expected = np.interp(time_s, tracks.times_s[tracks.voiced], tracks.tracks[track][tracks.voiced])
            assert _ask(formant, question, k, time_s, "hertz", "linear") == pytest.approx(expected, rel=1e-9)


def test_a_clip_without_voice_still_gives_files_that_open(tmp_path):
    explanation = example_explanation(speechless=True, region_count=0)
    assert _ask(_praat(export.pitch_tier(explanation), tmp_path), "Get number of points") == 0
    assert _ask(_praat(export.text_grid(explanation), tmp_path), "Get number of points", 3) == 0
    assert _praat(export.formant_grid(explanation), tmp_path).class_name == "FormantGrid"


# JSON


@pytest.mark.parametrize("axes", ["time_frequency", "time", "features"])
def test_figures_in_the_json_read_back_bit_for_bit(axes):
    explanation = example_explanation(axes=axes)
    back = export_json.from_json(export_json.to_json(explanation))
    relevance = back["attribution"]["relevance"]
    assert relevance.dtype == explanation.attribution.relevance.dtype
    assert relevance.tobytes() == explanation.attribution.relevance.tobytes()
    for name, track in explanation.tracks.tracks.items():
        np.testing.assert_array_equal(back["tracks"]["tracks"][name], track)
    np.testing.assert_array_equal(back["tracks"]["voiced"], explanation.tracks.voiced)
    np.testing.assert_array_equal(back["prediction"]["probabilities"], explanation.prediction.probabilities)
    assert [v["value"] for v in back["cues"]["values"]] == [v.value for v in explanation.cues.values]
    assert back["prediction"]["entropy_bits"] == explanation.prediction.entropy_bits


def test_json_names_schema_settings_hash_and_what_is_left_out():
    explanation = example_explanation(against="fear")
    parts = json.loads(export_json.to_json(explanation))
    assert (parts["schema"], parts["schema_version"]) == ("serscope explanation", 1)
    assert parts["tracks"]["settings"]["pitch_floor_hz"] == 120.0
    assert parts["recording"]["sha256"] == explanation.recording.sha256
    assert parts["target"] == {"emotion": "anger", "against": "fear", "direction": None}
    assert parts["left_out"] == ["recording.samples", "spectrogram_db"]
    assert parts["versions"] == explanation.versions


def test_json_holds_neither_the_voice_nor_what_it_could_be_rebuilt_from():
    explanation = example_explanation()
    parts = json.loads(export_json.to_json(explanation))
    assert "samples" not in parts["recording"]
    assert "spectrogram_db" not in parts
    asked = export_json.from_json(export_json.to_json(explanation, spectrogram=True))
    np.testing.assert_array_equal(asked["spectrogram_db"], explanation.spectrogram_db)


def test_nan_becomes_null_and_infinity_survives():
    explanation = example_explanation(speechless=True)
    level = explanation.spectrogram_db.copy()
    level[0, :3] = [-np.inf, np.inf, np.nan]
    text = export_json.to_json(replace(explanation, spectrogram_db=level), spectrogram=True)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["quality"]["snr_db"] is None
    np.testing.assert_array_equal(export_json.from_json(text)["spectrogram_db"], level)


@settings(max_examples=50)
@given(name=NAMES)
def test_any_name_gives_json_that_utf8_can_hold(name):
    text = export_json.to_json(replace(SMALL, recording=replace(SMALL.recording, name=name)))
    back = json.loads(text.encode("utf-8"))["recording"]["name"]
    assert back == name or any("\ud800" <= c <= "\udfff" for c in name)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "nonsense", '{"schema": "other"}'])
def test_a_foreign_json_file_is_refused_with_a_sentence(text):
    with pytest.raises(ExplanationError, match="not an explanation written by SERscope"):
        export_json.from_json(text)


def test_a_newer_schema_is_refused_by_number():
    with pytest.raises(ExplanationError, match="schema version 99"):
        export_json.from_json('{"schema": "serscope explanation", "schema_version": 99}')


# All of it


def test_bundle_holds_each_file_once_with_the_same_content():
    explanation = example_explanation(hostile="../../etc/")
    with zipfile.ZipFile(io.BytesIO(export.bundle(explanation))) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "cues.csv",
            "explanation.json",
            "formants.FormantGrid",
            "intensity.IntensityTier",
            "pitch.PitchTier",
            "regions.TextGrid",
            "report.pdf",
        ]
        assert archive.read("report.pdf").startswith(b"%PDF-")
        assert archive.read("cues.csv").decode("utf-8-sig") == export.cue_csv(explanation)
        assert archive.read("explanation.json").decode() == export_json.to_json(explanation)


def test_trust_tests_and_experiments_become_tables_that_read_back():
    opened = example_opened()
    tests = pd.read_csv(io.StringIO(trust_csv(opened.trust, example_explanation().card)))
    assert tests["verdict"].tolist() == ["holds", "fails", "weak", "cannot be decided"]
    assert tests["value"].tolist()[:3] == [test.value for test in opened.trust.tests[:3]]
    assert tests["value"].isna().tolist() == [False, False, False, True]
    assert set(tests["verdict_of_all"]) == {"fails"}
    doses = pd.read_csv(io.StringIO(experiments_csv(opened.experiments, example_explanation().card)))
    assert len(doses) == 14 and doses["experiment"].unique().tolist() == ["pitch_level", "loudness"]
    first = opened.experiments[0]
    assert doses["p_anger"].tolist()[:7] == first.followed.tolist()
    assert doses["measured"].isna().tolist() == [True] + [False] * 6 + [True] + [False] * 6
    assert doses.query("control == 'yes'")["asked"].tolist() == [0, 0]
    assert doses["start_s"].tolist()[:7] == [0.5] * 7 and doses["start_s"].isna().sum() == 7


def test_the_archive_holds_what_was_opened_and_nothing_else():
    def names(**options):
        return zipfile.ZipFile(io.BytesIO(export.bundle(example_explanation(), **options))).namelist()

    assert set(names(opened=example_opened())) - set(names()) == {"trust.csv", "experiments.csv"}
    plain = json.loads(export_json.to_json(example_explanation(), opened=example_opened()))["opened"]
    assert [each["experiment"]["name"] for each in plain["experiments"]] == ["pitch_level", "loudness"]
    assert all("clips" not in each for each in plain["experiments"])
    assert "opened" not in json.loads(export_json.to_json(example_explanation()))
