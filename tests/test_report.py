"""The PDF report says what the explanation says, can be read by everyone, and takes any text from outside."""

import io
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pypdf
import pytest
from explanations import EMOTIONS, HOSTILE_NAMES, example_explanation
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import example_opened
from reports import WHEN, elements_of, joined, report_of, text_of

from explain import export, figures, printing, report, report_cues, report_method, report_opened
from explain.attribution import Target
from explain.opened import Opened
from explain.paragraph import paragraph
from explain.reopen import attached
from pages.parts import tables
from ser_core.models import Prediction

# What it says


def test_page_one_names_the_class_all_probabilities_and_the_limits_of_use():
    reader = pypdf.PdfReader(io.BytesIO(report_of()))
    first = " ".join(reader.pages[0].extract_text().split())
    explanation = example_explanation()
    assert "class explained anger" in first
    for emotion in EMOTIONS:
        assert f"{emotion} {printing.percent(explanation.prediction.probability(emotion))}" in first
    assert "runner-up disgust" in first
    assert f"{printing.number(explanation.prediction.entropy_bits)} bits" in first
    assert explanation.prediction.familiarity.sentence in first
    assert explanation.paragraph in first
    assert "≥ the upper fifth" in first
    assert "not a diagnosis" in first
    assert "0.02 % of the samples are clipped" in first
    assert explanation.recording.sha256 in first


def test_shares_name_their_whole_and_a_dimension_is_called_no_class():
    shown = example_explanation()
    shown = replace(shown, quality=replace(shown.quality, speech_share=0.7, voiced_share=0.62))
    rows = dict(report._quality(shown))
    assert (rows["speech, of the clip"], rows["voiced, of the speech"]) == ("70 %", "62 %")
    lower = Target("valence", direction="lower")
    shown = replace(shown, target=lower, attribution=replace(shown.attribution, target=lower))
    caption = report._where(shown, "Integrated Gradients")["figures"][0]["caption"]
    assert "speaks for lower valence" in caption and "class" not in caption
    assert "class" not in export.about(shown)[4]


@pytest.mark.parametrize(
    ("difference", "direction", "words"),
    [
        (-0.5, None, "2.0 % of the difference that was to be explained"),
        (0.05, None, "2.0 % of 0.1, as the difference that was to be explained is smaller"),
        (0.05, "lower", "2.0 % of the difference that was to be explained"),
        (0.01, "lower", "2.0 % of 0.02, as the difference that was to be explained is smaller"),
    ],
)
def test_the_completeness_error_names_what_it_is_a_share_of(difference, direction, words):
    made = example_explanation().attribution
    settings_ = made.settings | {"difference": difference}
    made = replace(made, target=Target("anger", None, direction), settings=settings_, completeness_error=0.02)
    rows = dict(report_method.method_and_settings(replace(example_explanation(), attribution=made), WHEN)["method"])
    assert rows["completeness error"] == words


def test_a_report_without_the_voice_has_neither_waveform_nor_spectrogram_and_the_same_figures():
    made = [report.pdf(example_explanation(), WHEN, voice=voice) for voice in (True, False)]
    whole, without = (
        " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(each)).pages) for each in made
    )
    assert "keep the report as safe as the recording" in " ".join(whole.split())
    assert "Waveform and spectrogram are left out" in " ".join(without.split())
    pictures = [sum(len(page.images) for page in pypdf.PdfReader(io.BytesIO(each)).pages) for each in made]
    assert pictures[1] < pictures[0]
    assert attached(made[0]) == attached(made[1])


def test_method_parameters_versions_and_card_are_in_the_report():
    text, explanation = text_of(report_of()), example_explanation()
    assert "Integrated Gradients" in text
    assert "steps 16" in text
    assert "completeness error 3.1 %" in text
    assert "baseline silence floor" in text
    assert "internal batch size 2" in text
    assert "pitch floor 120 Hz" in text
    assert "formant ceiling 5500 Hz" in text
    for name, version in explanation.versions.items():
        assert f"{name} {version}" in text
    figure = explanation.card.figures[0]
    assert f"{figure.measure} {figure.value:.3f} {figure.low:.3f} to {figure.high:.3f} {figure.baseline:.3f}" in text
    assert "CREMA-D (intended emotion, 91 actors)" in text
    assert "ODbL 1.0" in text
    assert "Twelve fixed sentences." in text
    assert "2026-03-04 15:16:17+00:00" in text


def test_every_cue_stands_with_value_count_and_reason():
    text = text_of(report_of())
    for cue in (
        "Pitch level",
        "Jitter",
        "Shimmer",
        "Harmonics-to-noise",
        "Cepstral peak",
        "F1 bandwidth",
        "Speech rate",
    ):
        assert cue in text
    assert "Pitch level (semitones from 100 Hz) st 14.2 (182) 15.2 (22)" in text
    assert "Harmonics-to-noise ratio dB 17.9 (182)" in text
    assert "Jitter (local) % 1.27 (182) not measurable [1] not measurable [1]" in text
    assert "[1] too few periods (4 of at least 10)" in text
    assert "Doubtful: F0 above 250 Hz" in text


def test_contrast_beyond_chance_needs_effect_and_corrected_p():
    explanation = example_explanation(region_count=1)
    first = explanation.cues.contrasts[0]
    assert first.effect is not None
    spread = replace(first, effect=None, chance_low=None, chance_high=None)
    cases = (replace(first, effect=0.3), replace(first, p_corrected=0.06), first, spread)
    cues = replace(explanation.cues, contrasts=cases)
    shown = replace(explanation, cues=cues)
    rows = report_cues.contrasts(shown)["contrasts"]
    assert [row[-1] for row in rows] == ["no", "no", "yes", "yes"]
    # The page and the paragraph say the same as the report.
    on_page = [tables._contrast(each, tables._Notes()) for each in cases]
    assert ["higher here" in row for row in on_page] == [False, False, True, True]
    for case, clear in zip(cases, (False, False, True, True), strict=True):
        pooled = replace(case, scope="all regions")
        said = paragraph(replace(explanation, cues=replace(cues, contrasts=(pooled,))))
        assert ("beyond chance, pitch level is higher" in said) is clear


def test_a_cue_whose_mean_and_values_point_apart_differs_in_no_one_direction():
    explanation = example_explanation(region_count=1)
    apart = replace(explanation.cues.contrasts[0], difference=-1.17, effect=0.667, p_corrected=0.036)
    row = tables._contrast(apart, tables._Notes())
    assert "differs here" in row and "higher" not in row and "lower" not in row
    pooled = replace(explanation.cues, contrasts=(replace(apart, scope="all regions"),))
    said = paragraph(replace(explanation, cues=pooled))
    assert "pitch level differs beyond chance" in said and "No cue differs" not in said


def test_agreement_is_shown_for_predicted_and_runner_up_with_its_source():
    text = text_of(report_of())
    assert "anger (predicted, 67.1 %)" in text
    assert "disgust (runner-up, 22.1 %)" in text
    assert "agrees: 4, disagrees: 2, contested: 2, no expectation: 2, not measurable: 2" in text
    assert "rising rising ✓ agrees [1,2]" in text
    assert "± contested [1,2,3]" in text
    assert "∅ not measurable [4] [1,2]" in text
    assert "[1] Source: Juslin&Laukka2003 T7/T11; Scherer2003 T2." in text
    assert "[3] Conflict: J&L T11: little; T7: high; Scherer2003: up" in text
    assert "[2] Reference: neutral speech, CREMA-D, female" in text


def test_an_unknown_sex_and_how_an_expectation_is_known_are_said():
    explanation = example_explanation()
    settings = replace(explanation.tracks.settings, sex="unknown")
    told = replace(
        explanation,
        tracks=replace(explanation.tracks, settings=settings),
        agreements=tuple(replace(a, evidence="read in the source") for a in explanation.agreements),
    )
    assert "sex is not set" not in report_cues.expert(explanation)["agreement_words"]
    words = report_cues.expert(told)
    assert "Reference: neutral speech, CREMA-D, female, 43 speakers" in words["agreement_words"]
    assert "set the speaker" in words["agreement_words"]
    notes = words["agreements"][0]["notes"]
    assert any(note.endswith("] The expectation is read in the source.") for note in notes)


def test_a_contrast_without_a_chance_level_is_not_called_within_chance():
    explanation = example_explanation()
    untested = replace(explanation.cues.contrasts[0], effect=None, chance_low=None, chance_high=None, p_corrected=None)
    shown = replace(explanation, cues=replace(explanation.cues, contrasts=(untested,)))
    assert report_cues.contrasts(shown)["contrasts"][0][-1].startswith("no chance level")
    assert "no chance level" in tables._contrast(untested, tables._Notes())


def test_a_contrastive_target_is_named_in_full():
    text = text_of(report_of(against="fear"))
    assert "What speaks for anger rather than fear in this clip" in text
    assert "set against" in text


def test_a_target_that_was_not_predicted_is_called_so():
    explanation = example_explanation()
    target = replace(explanation.target, emotion="fear")
    assert "fear (not the predicted class)" in text_of(report.pdf(replace(explanation, target=target), WHEN))


def test_without_a_training_reference_the_distance_is_not_guessed():
    assert "not known: the model comes without a reference" in text_of(report_of(familiarity=False))


def test_a_model_of_dimensions_is_told_in_dimensions():
    shown = example_explanation()
    scales = Prediction(
        "example",
        ("valence", "arousal", "dominance"),
        np.zeros(0),
        answer="dimensions",
        constant=(-0.2, 0.0, 0.1),
        values=np.array([-0.3, 0.5, 0.1]),
    )
    target = Target("arousal", direction="higher")
    told = replace(shown, prediction=scales, target=target, attribution=replace(shown.attribution, target=target))
    text = text_of(report.pdf(replace(told, agreements=()), WHEN))
    assert "−0.30 average training clip −0.20" in text and "+0.50 explained; average training clip 0.00" in text
    assert "relevance speaks for higher arousal; below zero (hatched), against it" in text
    assert "for the class" not in text


def test_the_largest_share_of_listeners_is_not_called_most_of_them():
    shown = example_explanation()
    shares = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    split = replace(shown.prediction, answer="distribution", probabilities=shares)
    text = text_of(report.pdf(replace(shown, prediction=split), WHEN))
    assert "heard most often anger, 40.0 %" in text and "most listeners" not in text


def test_a_map_over_time_claims_nothing_about_frequency():
    text = text_of(report_of(axes="time"))
    assert "seconds only; nothing is said about frequency" in text
    assert "The map shows" not in text
    assert "1 1.00 s 1.22 s all 34.0 %" in text


def test_relevance_over_features_claims_nothing_about_time():
    text = text_of(report_of(axes="features"))
    assert "nothing is said about time" in text
    assert "There is no salient region: this attribution has no time axis." in text
    assert "Numbered boxes" not in text and "The clip; relevance over named features has no place in it" in text
    tested = replace(example_opened().trust, of="features")
    (drawn,) = report_opened.contents(example_explanation(axes="features"), Opened(tested))["trust"][0]["figures"]
    assert "with the salient features and to 0.700 with as many features drawn at random" in drawn["alt"]


def test_a_clip_without_speech_gets_a_report_without_invented_figures():
    text = text_of(report_of(speechless=True, region_count=0))
    assert "signal-to-noise ratio not measurable" in text
    assert "No contrast was measured." in text


# Who can read it


def test_the_pdf_claims_ua_1_and_is_tagged_with_language_and_title():
    root = pypdf.PdfReader(io.BytesIO(report_of())).trailer["/Root"]
    xmp = root["/Metadata"].get_data().decode()
    assert "<pdfuaid:part>1</pdfuaid:part>" in xmp
    assert '<rdf:li xml:lang="x-default">SERscope report: anger, clip_0042.wav</rdf:li>' in xmp
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en-GB"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]


def test_the_pdf_claims_a_3a_as_well_and_names_its_attachment_as_data():
    reader = pypdf.PdfReader(io.BytesIO(report_of()))
    root = reader.trailer["/Root"]
    xmp = root["/Metadata"].get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in xmp and "<pdfaid:conformance>A</pdfaid:conformance>" in xmp
    (attached,) = root["/AF"]
    file = attached.get_object()
    assert (file["/F"], file["/AFRelationship"]) == ("serscope.json", "/Data")
    assert file["/EF"]["/F"].get_object()["/Subtype"] == "/application/json"
    assert json.loads(reader.attachments["serscope.json"][0])["recording"]["sha256"]


def test_each_figure_has_words_in_its_place_and_tables_have_heads():
    elements = elements_of(report_of(axes="features"))
    figures_ = [e for e in elements if e["/S"] == "/Figure"]
    words = [str(e.get("/Alt", "")) for e in figures_]
    assert any(w.startswith("4 panels above one time axis from 0 to 3.00 s") for w in words)
    assert any(w.startswith("Bars of the features") for w in words)
    assert all(words)
    kinds = [e["/S"] for e in elements]
    assert kinds.count("/H1") == 1
    assert kinds.count("/Table") >= 4
    assert kinds.count("/TH") >= 20


def test_words_for_the_figure_name_every_region():
    words = figures.describe(example_explanation(region_count=9))
    assert words.startswith("7 panels")
    for rank in range(1, 10):
        assert f"Salient region {rank}:" in words


def test_pages_are_numbered_and_a_long_table_repeats_its_head():
    reader = pypdf.PdfReader(io.BytesIO(report_of(region_count=9)))
    pages = [" ".join(page.extract_text().split()) for page in reader.pages]
    for number, page in enumerate(pages, start=1):
        assert f"page {number} of {len(pages)}" in page
        assert "clip_0042.wav" in page
    with_rows = [page for page in pages if "−0.41 to 0.38" in page]
    assert len(with_rows) >= 2
    assert all("region cue inside rest difference" in page for page in with_rows)


def test_all_fonts_are_embedded():
    reader = pypdf.PdfReader(io.BytesIO(report_of()))
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            inner = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
            assert "/FontFile2" in inner or "/FontFile3" in inner


# What it takes from outside


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_text_is_printed_and_never_run(name):
    emotions = (f"{name}A", f"{name}B", "calm")
    text = joined(report.pdf(example_explanation(hostile=name, emotions=emotions, region_count=1), WHEN))
    assert "root:x:0" not in text
    printed = printing.printable(name + "clip_0042.wav")
    letters = [c for c in printed if c.isascii() and not c.isspace()]
    assert "clip_0042.wav" in text or len(name) > 200
    assert all(c in text for c in letters)


def test_typst_markup_in_a_name_comes_out_letter_by_letter():
    assert '#read("/etc/passwd")$x$*bold*_it_`raw`<label>@ref' in joined(report_of(hostile=HOSTILE_NAMES[0]))


def test_letters_the_fonts_have_survive():
    text = text_of(report_of(hostile="Müller ≥ 0.5 − ½ µ ş ę Ж λ "))
    assert "Müller ≥ 0.5 − ½ µ ş ę Ж λ clip_0042.wav" in text


def test_a_letter_without_glyph_is_shown_as_its_code_point():
    assert printing.printable("日本語.wav") == "[U+65E5 672C 8A9E].wav"
    assert "[U+65E5672C8A9E]" in joined(report_of(hostile="日本語"))


def test_letters_that_hide_are_shown_as_code_points():
    assert printing.printable("invoice\u202egpj.exe\x00") == "invoice[U+202E]gpj.exe[U+0000]"
    assert printing.printable("\udcff") == "[U+DCFF]"


def test_urdu_names_keep_their_letters_and_joiners():
    assert printing.printable("اردو\u200cآواز") == "اردو\u200cآواز"


def test_white_space_becomes_one_blank_and_endless_text_says_how_long_it_was():
    assert printing.printable("a\n\t b") == "a b"
    cut = printing.printable("x" * 10_000)
    assert len(cut) < 4100
    assert cut.endswith("… (10000 letters)")


@settings(max_examples=40)
@given(text=st.text(st.characters(), max_size=200))
def test_every_text_can_be_set(text):
    import typst

    source = (
        b'#set document(title: "t")\n#set text(lang: "en", font: ("IBM Plex Sans", "DejaVu Sans"))\n= H\n#sys.inputs.s'
    )
    done = typst.compile(
        source,
        font_paths=report._fonts(),
        pdf_standards=["ua-1"],
        sys_inputs={"s": printing.printable(text)},
        format="pdf",
    )
    assert done.startswith(b"%PDF-")


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    import builtins
    from pathlib import Path

    written = []
    real = builtins.open

    def watched(file, mode="r", *args, **kwargs):
        if set(mode) & set("wax+"):
            written.append(file)
        return real(file, mode, *args, **kwargs)

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: written.append(self))
    report.pdf(example_explanation(), WHEN)
    assert written == []
    assert not list(tmp_path.iterdir())


def test_same_explanation_and_date_give_the_same_pdf():
    assert report.pdf(example_explanation(), WHEN) == report_of()


def test_the_date_given_is_the_date_of_the_document():
    when = datetime(2024, 2, 29, 1, 2, 3, 456, tzinfo=timezone(timedelta(hours=5)))
    data = report.pdf(example_explanation(), when)
    assert "2024-02-29 01:02+05:00" in text_of(data)
    assert pypdf.PdfReader(io.BytesIO(data)).metadata.creation_date == when.replace(microsecond=0)
