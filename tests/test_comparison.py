"""Explanations side by side: models and methods that are the same, that differ, and two speakers."""

import codecs
import csv
import dataclasses
import io
import json
import re
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from bad_inputs import voice
from explanations import example_explanation
from scipy.stats import norm, spearmanr

from explain.__main__ import main
from explain.attribution import Target, methods_for
from explain.change import WITHIN, Change
from explain.comparison import (
    Comparison,
    compare_clips,
    compare_methods,
    compare_models,
)
from explain.comparison_files import to_csv, to_json
from explain.comparison_words import (
    changes_in_words,
    maps_in_words,
    relative_in_words,
)
from explain.cues import CueSettings
from explain.explanation import Explanation
from explain.map_pairs import MapPair, map_pair
from explain.method_choice import best_first
from explain.reference import load_reference
from explain.relative_cues import RELATIVE, relative_cues, relative_level, relative_pitch
from explain.samples import samples
from pages.parts import comparison as page
from ser_core.audio import from_samples, read
from ser_core.errors import ExplanationError
from ser_core.registry import load_model
from tests.planted import PlantedModel, burst_model, clip, recording

METHOD = "input_x_gradient"


@lru_cache
def burst_clip():
    return recording(clip(np.random.default_rng(1), "low")[0])


def renamed(emotions: tuple[str, ...], name: str) -> PlantedModel:
    """The burst model with other names for its classes."""
    return PlantedModel(burst_model().network, emotions, name=name)


@lru_cache
def twins() -> Comparison:
    return compare_models(burst_clip(), [burst_model(), burst_model()], method=METHOD)


def test_two_identical_models_disagree_nowhere():
    found = twins()
    (pair,) = found.pairs
    assert pair.correlation == pytest.approx(1.0) and pair.overlap == 1.0 and pair.alike
    assert np.array_equal(found.sides[0].prediction.probabilities, found.sides[1].prediction.probabilities)
    assert found.sentences[0] == "Both models answer low."
    assert "alike beyond chance" in found.sentences[-1]
    assert not any("goes from" in sentence for sentence in found.sentences)
    assert found.titles == ("burst (1)", "burst (2)")


def test_models_that_answer_otherwise_are_named():
    # The same network under shifted names: "low" is "high" for the other.
    other = renamed(("high", "absent", "low"), "turned")
    found = compare_models(burst_clip(), [burst_model(), other], method=METHOD)
    assert found.sentences[0] == "No two models agree: burst answers low and turned answers high."
    three = compare_models(burst_clip(), [burst_model(), burst_model(), other], method=METHOD)
    assert three.sentences[0].startswith("2 of 3 models answer low (burst (1) and burst (2)); turned answers high")
    assert len(three.pairs) == 3
    # All three are asked about the answer that most of them give.
    assert {side.target.emotion for side in three.sides} == {"low"}


def test_names_of_the_same_emotion_count_as_one():
    other = renamed(("happy", "sad", "neutral"), "short")
    found = compare_models(burst_clip(), [renamed(("happiness", "sadness", "neutral"), "long"), other], method=METHOD)
    assert found.sentences[0] == "Both models answer happiness."
    assert [side.target.emotion for side in found.sides] == ["happiness", "happy"]


def test_two_classes_of_a_model_that_the_experts_call_alike_stay_two():
    calm, other = renamed(("calm", "neutral", "joy"), "calm"), renamed(("neutral", "anger", "joy"), "other")
    found = compare_models(burst_clip(), [calm, other], method=METHOD)
    assert found.sentences[0] == "No two models agree: calm answers calm and other answers neutral."
    assert [side.target.emotion for side in found.sides] == ["calm", "neutral"]
    assert any("different questions" in sentence for sentence in found.sentences)
    shown = page.answers(found)
    assert re.search(r'<th scope="row">calm</th><td><strong>[^<]+</strong></td><td>–</td>', shown)
    assert re.search(r'<th scope="row">neutral</th><td>[^<]+ %</td><td><strong>[^<]+</strong></td>', shown)


def test_a_model_that_does_not_know_the_emotion_explains_its_own_answer_and_that_is_said():
    found = compare_models(burst_clip(), [burst_model(), renamed(("a", "b", "c"), "letters")], method=METHOD)
    assert [side.target.emotion for side in found.sides] == ["low", "a"]
    assert any("different questions" in sentence for sentence in found.sentences)


def test_one_model_among_dimensions_answers_alone():
    found = compare_models(burst_clip(), [burst_model(), load_model("emosphere-emotale")], method=METHOD)
    assert found.sentences[0] == "burst answers low."
    assert "cannot be counted among classes" in found.sentences[1]


@pytest.mark.parametrize(("given", "words"), [({"emotion": "lwo"}, "knows 'lwo'"), ({"method": "magic"}, "by 'magic'")])
def test_what_no_model_knows_is_refused_and_never_replaced(given, words):
    with pytest.raises(ExplanationError, match=words):
        compare_models(burst_clip(), [burst_model()] * 2, **{"method": METHOD, **given})


def test_two_maps_that_alone_can_be_compared_are_named():
    sides = [example_explanation(), example_explanation(axes="features"), example_explanation(axes="time")]
    places = [(0, 1), (0, 2), (1, 2)]
    said = maps_in_words("ABC", sides, [map_pair(sides, *each) for each in places])
    assert said[-1].startswith("The maps of A and C are alike beyond chance")
    assert said[-1].endswith("No other two maps can be compared.")
    four = [*sides, example_explanation()]
    places = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    said = maps_in_words("ABCD", four, [map_pair(four, *each) for each in places])
    assert said[0] == "3 of 6 pairs of maps cannot be compared."
    assert said[1] == "3 of 3 pairs of maps are alike beyond chance."


def test_the_pair_that_is_alike_beyond_chance_is_the_most_alike_whatever_the_others_correlate():
    one = MapPair(0, 1, 0.26, 0.38, None, None, False)
    other = MapPair(0, 2, 0.20, 0.10, None, None, False)
    third = MapPair(1, 2, 0.10, 0.30, None, None, False)
    said = maps_in_words("ABC", [example_explanation()] * 3, [one, other, third])
    assert said[0].startswith("1 of 3 pairs")
    assert said[1].startswith("Most alike: A and C; rank correlation +0.20")
    assert said[2].startswith("Least alike: B and C")


def test_the_voice_is_measured_once():
    first, second = twins().sides
    assert first.tracks is second.tracks and first.speech is second.speech


def test_the_maps_of_methods_are_compared_by_the_rank_correlation_on_one_grid():
    found = compare_methods(burst_clip(), burst_model(), ["input_x_gradient", "integrated_gradients"])
    (pair,) = found.pairs
    # Both maps of this model have 10 ms columns; the comparison takes every other one of them in 40 of 80 bands.
    whole = spearmanr(*(side.attribution.relevance.ravel() for side in found.sides)).statistic
    assert pair.bands and pair.correlation == pytest.approx(whole, abs=0.15)
    assert found.titles == ("Input × Gradient", "Integrated Gradients")


def with_map(shown: Explanation, relevance: np.ndarray) -> Explanation:
    return dataclasses.replace(shown, attribution=dataclasses.replace(shown.attribution, relevance=relevance))


def test_maps_that_share_nothing_are_not_called_alike():
    shown, random = example_explanation(region_count=1), np.random.default_rng(0)
    shape = shown.attribution.relevance.shape
    noise = [with_map(shown, random.standard_normal(shape)) for _ in range(20)]
    alike = [map_pair([a, b], 0, 1).alike for a, b in zip(noise[::2], noise[1::2], strict=True)]
    assert sum(alike) <= 2
    assert map_pair([shown, shown], 0, 1).alike


def test_a_map_turned_in_time_is_told_from_the_map():
    shown = example_explanation()
    turned = with_map(shown, np.roll(shown.attribution.relevance, 40, axis=1))
    pair = map_pair([shown, turned], 0, 1)
    assert not pair.alike and pair.correlation < 0.3


def test_maps_with_and_without_frequencies_are_compared_over_time():
    bands, flat = example_explanation(), example_explanation(axes="time")
    pair = map_pair([bands, flat], 0, 1)
    assert not pair.bands and pair.alike and pair.overlap == 1.0


def test_without_a_time_axis_nothing_is_said_of_the_maps():
    pair = map_pair([example_explanation(), example_explanation(axes="features")], 0, 1)
    assert pair.alike is None and pair.overlap is None


@pytest.mark.parametrize("count", [1, 7])
def test_two_to_six_models_are_compared(count):
    with pytest.raises(ExplanationError, match=f"2 to 6 models can be compared, and {count} were given"):
        compare_models(burst_clip(), [burst_model()] * count)


# ----------------------------------------------------------------------------------------------------------- two clips


@lru_cache
def man_and_woman() -> Comparison:
    man, woman = (read(next(s for s in samples() if s.name == name).path) for name in ("neutral_man", "neutral_woman"))
    sexes = [CueSettings(sex=sex) for sex in ("male", "female")]
    return compare_clips(
        *(man, woman, burst_model()),
        same_speaker=False,
        method=METHOD,
        settings=sexes[0],
        second_settings=sexes[1],
    )


def test_no_absolute_figure_is_compared_between_two_speakers_and_the_reason_is_given():
    found = man_and_woman()
    assert found.kind == "two speakers" and not found.changes and not found.pairs
    rows = {row.cue: row for row in found.relative}
    for name, row in rows.items():
        assert (row.values == (None, None)) == (name not in RELATIVE)
    assert "f1_mean" in rows and "f0_median" not in rows
    assert any("larynx" in sentence for sentence in found.sentences)
    said = " ".join(found.sentences[:-1]).replace("500–1500 Hz", "")
    assert " Hz" not in said and " dB" not in said


def test_each_speaker_is_placed_in_neutral_speech_of_the_own_sex():
    man, woman = man_and_woman().sides
    row = next(row for row in relative_cues(man, woman) if row.cue == "f0_mean")
    for place, (side, sex) in enumerate(((man, "male"), (woman, "female"))):
        assert side.tracks.settings.sex == sex
        value = side.cues.value("f0_mean").value
        assert row.percentiles[place] == load_reference().row("f0_mean", sex).percentile(value)
        assert row.scores[place] == pytest.approx(norm.ppf(row.percentiles[place] / 100))
    # The woman's pitch is far higher, but not among women.
    assert woman.cues.value("f0_mean").value - man.cues.value("f0_mean").value > 6
    assert abs(row.difference) < 2


def test_a_speaker_whose_sex_is_not_set_is_placed_among_both_and_told_so():
    found = man_and_woman()
    unset = [
        replace(s, tracks=replace(s.tracks, settings=replace(s.tracks.settings, sex="unknown"))) for s in found.sides
    ]
    row = next(row for row in relative_cues(*unset) if row.cue == "f0_mean")
    any_sex = load_reference().row("f0_mean", "unknown")
    assert row.percentiles == tuple(any_sex.percentile(s.cues.value("f0_mean").value) for s in unset)
    (first, second) = relative_in_words(("a", "b"), [row], ("male", "unknown"))
    assert "own sex" not in first and second.startswith("The sex of the speaker of b is not set")
    assert relative_in_words(("a", "b"), [row], ("male", "female")) == [
        first.replace("neutral speech", "neutral speech of each speaker’s own sex")
    ]


def test_both_clips_are_asked_about_the_same_dimension():
    model, paths = load_model("emosphere-emotale"), {sample.name: sample.path for sample in samples()}
    loud, dull = (read(paths[name]) for name in ("like_anger", "like_sadness"))
    # Alone, the clearest dimension of the second clip is another.
    assert [model.predict(each).top for each in (loud, dull)] == ["arousal", "valence"]
    for emotion, explained in ((None, "higher arousal"), ("dominance", "higher dominance")):
        found = compare_clips(loud, dull, model, same_speaker=False, method=METHOD, emotion=emotion)
        assert [side.target.name for side in found.sides] == [explained] * 2


@pytest.mark.parametrize(
    ("given", "words"), [({"emotion": "angr"}, "does not know 'angr'"), ({"method": "magic"}, "'magic' does not fit")]
)
def test_a_class_or_method_that_the_model_has_not_is_refused_for_two_clips(given, words):
    with pytest.raises(ExplanationError, match=words):
        compare_clips(burst_clip(), burst_clip(), burst_model(), same_speaker=False, **given)


def test_two_clips_are_explained_by_the_method_that_explain_offers_first(monkeypatch):
    model = burst_model()
    monkeypatch.setattr("explain.method_choice.default_method", lambda name, usual: METHOD)
    first = best_first(model.name, methods_for(model))[0].name
    found = compare_clips(burst_clip(), burst_clip(), model, same_speaker=False)
    assert [side.attribution.method for side in found.sides] == [first, first] == [METHOD, METHOD]


def test_contours_lie_around_the_speakers_own_middle():
    tracks = man_and_woman().sides[0].tracks
    assert np.nanmedian(relative_pitch(tracks)) == pytest.approx(0, abs=1e-9)
    assert np.nanmean(relative_level(tracks)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(relative_level(tracks)[~tracks.speech]).all()


def test_the_same_clip_before_and_after_has_changed_in_nothing(monkeypatch):
    import explain.comparison

    few = explain.comparison.repeated
    monkeypatch.setattr(explain.comparison, "repeated", lambda *args, **more: few(*args, count=6, **more))
    sound = from_samples(voice(1.5), 16_000, "voice.wav")
    told = []
    found = compare_clips(
        sound, sound, burst_model(), same_speaker=True, method=METHOD, progress=lambda s, w: told.append(s)
    )
    assert found.kind == "same speaker" and {row.verdict for row in found.changes} <= {WITHIN, "not measurable"}
    assert any("No cue of" in sentence and "has changed" in sentence for sentence in found.sentences)
    assert told == sorted(told) and told[-1] == pytest.approx(1.0)
    # Formants are found below the same ceiling, or they could not be compared.
    assert len({side.tracks.settings.formant_ceiling_hz for side in found.sides}) == 1


def test_changes_are_told_largest_first_with_what_could_be_detected():
    rows = [
        Change("f0_mean", "st", 1.0, 4.0, 3.0, 0.1, 0.3, "higher"),
        Change("hf_energy", "dB", 1.0, 0.0, -1.0, 0.2, 0.6, "lower"),
        Change("hnr", "dB", 1.0, 1.1, 0.1, 0.2, 0.6, WITHIN),
    ]
    said = changes_in_words(rows)[0]
    assert said == (
        "2 of 3 cues have changed by more than the error of measuring them: pitch level +3 st (smallest detectable "
        "0.3 st) and high-frequency energy −1 dB (smallest detectable 0.6 dB)."
    )


# --------------------------------------------------------------------------------------------------------------- files


def test_json_holds_every_side_without_the_voice_and_the_pairs():
    read_back = json.loads(to_json(twins()))
    assert read_back["schema"] == "serscope comparison" and len(read_back["sides"]) == 2
    assert read_back["pairs"][0]["overlap"] == 1.0
    assert "samples" not in read_back["sides"][0]["recording"]


def test_csv_has_a_row_for_each_side_cue_and_scope():
    found = twins()
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert len(rows) == sum(len(side.cues.values) for side in found.sides) + _without_value(found)
    assert {row["side"] for row in rows} == {"1", "2"}
    placed = [row for row in csv.DictReader(io.StringIO(to_csv(man_and_woman()))) if row["neutral_percentile"]]
    assert len(placed) == sum(p is not None for row in man_and_woman().relative for p in row.percentiles)


def _without_value(found: Comparison) -> int:
    """Rows of experts' cues that have no magnitude here."""
    return sum(
        len({(a.cue, a.scope) for a in side.agreements if a.cue in ("intensity_mean", "voice_onset", "microstructure")})
        for side in found.sides
    )


def test_the_command_compares_and_writes(tmp_path, capsys):
    clip_of = str(next(sample for sample in samples() if sample.name == "neutral_man").path)
    files = [str(tmp_path / "a.json"), str(tmp_path / "a.csv")]
    options = ["--models", "egemaps-logistic", "egemaps-mlp", "--json", files[0], "--csv", files[1], "--quiet"]
    assert main(["compare", clip_of, *options]) == 0
    assert "models answer" in capsys.readouterr().out
    assert all((tmp_path / name).stat().st_size > 100 for name in ("a.json", "a.csv"))
    assert (tmp_path / "a.csv").read_bytes().startswith(codecs.BOM_UTF8)


def test_what_was_found_is_told_where_its_file_cannot_be_written(tmp_path, capsys):
    clip_of = str(next(sample for sample in samples() if sample.name == "neutral_man").path)
    asked = ["compare", clip_of, "--models", "egemaps-logistic", "egemaps-mlp", "--quiet"]
    assert main([*asked, "--json", "/proc/no-such-file.json"]) == 2
    said = capsys.readouterr()
    assert "models answer" in said.out and "cannot be written" in said.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Name what is compared"),
        (["--speakers", "two"], "needs two clips"),
        (["OTHER", "--other-sex", "male"], "add --speakers two"),
        (["OTHER", "OTHER"], "Two clips can be compared, and 3"),
        (["OTHER", "--models", "egemaps-logistic", "egemaps-mlp"], "through one model by one method"),
        (["--models", "egemaps-logistic", "nothing-like-this"], "There is no model"),
        (["--models", "egemaps-logistic", "egemaps-mlp", "--methods", "occlusion", "saliency"], "by one method"),
        (["--methods", "occlusion", "saliency", "--target", "angr"], "does not know 'angr'"),
        (["--methods", "occlusion", "saliency", "--csv", "/no/such/folder/a.csv"], "make it first"),
    ],
)
def test_a_wrong_option_gets_a_sentence(options, words, capsys):
    clip_of = str(samples()[0].path)
    chosen = [clip_of, *(clip_of if option == "OTHER" else option for option in options)]
    assert main(["compare", *chosen, "--quiet"]) == 2
    assert words in capsys.readouterr().err


def test_a_target_by_hand_is_explained_by_every_method():
    found = compare_methods(
        burst_clip(), burst_model(), ["input_x_gradient", "saliency"], target=Target("high", "absent")
    )
    assert {side.target.name for side in found.sides} == {"high rather than absent"}
