"""A report opened again shows the figures that it stored, bit for bit, and makes them anew from the audio."""

import dataclasses
import io
import json
import math
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
import pypdf
import pytest
from explanations import HOSTILE_NAMES, example_explanation
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import example_opened

from explain import export_json, figures, report
from explain.cues import CueSettings
from explain.explanation import Explanation, explain, remeasure
from explain.intervention import dose_response
from explain.opened import NOTHING, Opened
from explain.regions import Region
from explain.reopen import Reopened, Unheard, attached, remake, reopen, restored, why_not_again
from explain.trust import trust
from ser_core.audio import Recording, read
from ser_core.errors import ExplanationError
from ser_core.settings import ASSETS
from tests.planted import burst_model, clip, recording

NOT_STORED = {"samples", "spectrogram_db", "clips", "recording"}


def bits(value: Any) -> Any:
    """Return a value so that equality means the same bits; all NaN are one, as JSON has but one."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, [bits(each) for each in value.ravel().tolist()]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float | np.generic):
        number = float(value)
        return "nan" if math.isnan(number) else struct.pack(">d", number)
    if dataclasses.is_dataclass(value):
        return [(f.name, bits(getattr(value, f.name))) for f in dataclasses.fields(value) if f.name not in NOT_STORED]
    if isinstance(value, dict):
        return [(str(key), bits(each)) for key, each in value.items()]
    return [bits(each) for each in value]


@cache
def shown() -> tuple[Recording, Explanation, Opened]:
    """A real explanation of a model with planted evidence, tested and experimented with."""
    sound = recording(clip(np.random.default_rng(3), "low")[0])
    found = explain(sound, burst_model(), "integrated_gradients")
    tested = trust(burst_model(), sound, found.attribution, found.speech, regions=found.regions, quick=True)
    change = dose_response(burst_model(), sound, "loudness", emotion=found.target.emotion)
    return sound, found, Opened(tested, (change,))


@cache
def stored() -> Reopened:
    _, found, opened = shown()
    return reopen(report.pdf(found, opened=opened))


def test_a_reopened_report_has_every_figure_bit_for_bit() -> None:
    _, found, opened = shown()
    assert bits(stored().explanation) == bits(found)
    assert bits(stored().opened) == bits(opened)


@pytest.mark.parametrize("axes", ["time_frequency", "time", "features"])
def test_reports_on_every_axis_and_from_plain_json_come_back(axes: str) -> None:
    found, opened = example_explanation(axes=axes, against="fear"), example_opened()
    again = reopen(export_json.to_json(found, opened=opened).encode())
    assert bits(again.explanation) == bits(found)
    assert bits(again.opened) == bits(opened)
    assert reopen(export_json.to_json(found).encode()).opened is NOTHING


def test_what_is_not_in_the_report_is_not_made_up() -> None:
    sound, found, _ = shown()
    heard = stored().explanation.recording
    assert isinstance(heard, Unheard) and len(heard.samples) == 0
    assert (heard.name, heard.sha256, heard.duration_s) == (sound.name, sound.sha256, sound.duration_s)
    drawn = figures.linked(stored().explanation)
    assert drawn.startswith("<?xml") and len(drawn) < len(figures.linked(found))
    assert "waveform" not in figures.describe(stored().explanation)


def test_with_the_audio_every_figure_is_made_anew_and_is_the_same() -> None:
    sound, found, _ = shown()
    told: list[float] = []
    made = remake(stored(), sound, burst_model(), progress=lambda share, words: told.append(share))
    assert made.same, [check.sentence for check in made.checks if check.different]
    parts = {"map", "cue tracks", "trust tests", "curves of removal", "experiment on loudness"}
    assert parts <= {check.part for check in made.checks}
    titles = [section.title.lower() for section in stored().opened.sections]
    assert list(made.left) == titles and all(title in made.sentence for title in titles)
    assert " figures are the stored ones, bit for bit." in made.sentence
    assert sum(check.figures for check in made.checks) > 1000
    assert np.array_equal(made.explanation.attribution.relevance, found.attribution.relevance)
    assert told == sorted(told) and told[-1] == 1


def test_regions_that_were_chosen_by_hand_are_kept_when_made_anew() -> None:
    sound, found, _ = shown()
    mine = remeasure(found, regions=(Region(1, 0.2, 0.6, None, None, 0.5),))
    made = remake(reopen(export_json.to_json(mine).encode()), sound, burst_model())
    assert made.same and made.explanation.region_rule == "yours"


def test_a_corrected_measurement_is_the_same_when_made_anew() -> None:
    sound = read(ASSETS / "samples" / "neutral_woman.flac")
    found, at_once = (
        explain(sound, burst_model(), "saliency", settings=settings)
        for settings in (CueSettings(), CueSettings(pitch_floor_hz=250.0))
    )
    mine = remeasure(found, CueSettings(pitch_floor_hz=250.0))
    assert mine.quality.voiced_share == at_once.quality.voiced_share < 0.8 * found.quality.voiced_share
    made = remake(reopen(export_json.to_json(mine).encode()), sound, burst_model())
    assert made.same, [check.sentence for check in made.checks if check.different]


def test_doses_of_a_report_that_nobody_could_have_asked_for_are_refused() -> None:
    sound, found, opened = shown()
    (made,) = opened.experiments
    forged = dataclasses.replace(made, doses=made.doses * 1e6)
    report_of = reopen(export_json.to_json(found, opened=Opened(experiments=(forged,))).encode())
    with pytest.raises(ExplanationError, match="can be changed by up to 25 doses"):
        remake(report_of, sound, burst_model())


def test_a_figure_that_was_changed_is_found_and_counted() -> None:
    sound, _, _ = shown()
    old = stored().explanation
    relevance = old.attribution.relevance.copy()
    relevance[3, 5] += 0.25
    tampered = dataclasses.replace(old, attribution=dataclasses.replace(old.attribution, relevance=relevance))
    made = remake(Reopened(tampered, NOTHING), sound, burst_model())
    (check,) = [check for check in made.checks if check.different]
    assert not made.same
    assert check.sentence == f"map: 1 of {check.figures} figures differ, by at most 0.25."


def test_another_recording_and_another_model_are_refused() -> None:
    other = recording(clip(np.random.default_rng(4), "high")[0])
    with pytest.raises(ExplanationError, match="another recording"):
        remake(stored(), other, burst_model())
    named = dataclasses.replace(
        stored().explanation, prediction=dataclasses.replace(stored().explanation.prediction, model="else")
    )
    with pytest.raises(ExplanationError, match="about the model else"):
        remake(Reopened(named, NOTHING), shown()[0], burst_model())


# Other files


def other_pdf(name: str | None, content: bytes = b"{}") -> bytes:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    if name is not None:
        writer.add_attachment(name, content)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an explanation"),
        (b"RIFF\xff\xff\xff", "not a report of SERscope"),
        (b"[1, 2]", "not an explanation"),
        (b"[" * 100_000, "not an explanation"),
        (b"%PDF-1.7\n" + bytes(200), "cannot be read"),
        (b"%PDF-1.7", "cannot be read"),
        (other_pdf(None), "holds no figures"),
        (other_pdf("other.json"), "holds no figures"),
        (other_pdf("serscope.json"), "not an explanation"),
        (other_pdf("serscope.json", b"\xff\xfe"), "not a report of SERscope"),
        (b'{"schema": "serscope explanation"}', "schema version None"),
        (b'{"schema": "serscope explanation", "schema_version": 99}', "schema version 99"),
        (b'{"schema": "serscope explanation", "schema_version": 1}', "damaged"),
        (b" " * 50_000_001, "more than 50 MB"),
    ],
    ids=lambda each: None,
)
def test_a_file_that_is_no_report_gets_one_clear_sentence(data: bytes, words: str) -> None:
    with pytest.raises(ExplanationError, match=words) as fault:
        reopen(data)
    assert "Traceback" not in str(fault.value) and len(str(fault.value)) < 250


def test_an_attachment_that_unpacks_to_far_more_than_it_holds_is_refused() -> None:
    bomb = other_pdf("serscope.json", b"0" * 100)
    packed = zlib.compress(b"0" * 300_000_000, 9)
    raw = bomb.replace(b"0" * 100, packed)
    assert len(raw) > len(packed)
    with pytest.raises(ExplanationError):
        reopen(raw)


@settings(max_examples=60)
@given(st.data())
def test_a_report_with_anything_changed_opens_or_says_so(data: st.DataObject) -> None:
    """Whatever stands in one place of the JSON, there is an explanation that can be drawn or one clear sentence."""
    parts = json.loads(_json())
    place = data.draw(st.sampled_from(list(parts)))
    inner = parts[place]
    strange = st.sampled_from([None, -1, 1e400, "x", [], {}, [[]], {"dtype": "object", "shape": [1], "values": [1]}])
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        inner[data.draw(st.sampled_from(list(inner)))] = data.draw(strange)
    else:
        parts[place] = data.draw(strange)
    try:
        again = reopen(json.dumps(parts).encode())
    except ExplanationError:
        return
    figures.linked(again.explanation)


@cache
def _json() -> str:
    return export_json.to_json(example_explanation(), opened=example_opened())


@pytest.mark.parametrize("hostile", HOSTILE_NAMES[:6])
def test_hostile_text_comes_back_as_it_was_and_the_report_can_be_set(hostile: str) -> None:
    found = example_explanation(hostile=hostile)
    again = reopen(report.pdf(found, opened=example_opened(hostile)))
    assert bits(again.explanation.paragraph) == bits(found.paragraph)
    assert again.opened.sections[0].title.startswith("Comparison of two models")


def test_the_attachment_is_the_export() -> None:
    _, found, opened = shown()
    assert attached(report.pdf(found, opened=opened)) == export_json.to_json(found, opened=opened)


def test_a_kind_that_no_report_stores_is_not_restored() -> None:
    with pytest.raises(TypeError):
        restored(io.BytesIO, {})


def test_why_the_figures_cannot_be_made_anew_is_said() -> None:
    assert why_not_again("whisper-tiny-statistics") == ""
    assert "had been given more than this clip" in why_not_again("whisper-tiny-statistics (1a2b3c4d)")
    assert why_not_again("elsewhere") == "The model elsewhere is not at hand, so nothing can be made anew."
