"""What lies outside a model's training clips is told, with what was measured and what the training clips have."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soxr
from bad_inputs import voice
from explanations import example_explanation
from streamlit.testing.v1 import AppTest

from ser_core import domain, domain_study, transcription
from ser_core.audio import SAMPLE_RATE, Recording, from_samples, read
from ser_core.domain import LANGUAGE, MEASURES, flat_percent, language_outside, measured, outside, reference, repetition
from ser_core.domain_study import summary
from ser_core.intended_use import FORBIDDEN, STATEMENT, intended_use, trained_on
from ser_core.models import Card
from ser_core.registry import cards
from ser_core.settings import ASSETS
from ser_core.speech import Segment, speech_segments


def card(**fields: object) -> Card:
    known = {
        "name": "planted",
        "title": "Planted",
        "system": "s",
        "summary": "",
        "emotions": ("anger", "neutral"),
        "encoder": "",
        "corpora": ("CREMA-D",),
        "licences": (),
        "split": "",
        "figures": (),
        "intended_use": "",
        "limits": (),
        "size_mb": 0.0,
    }
    return Card(**(known | fields))


def usual(corpus: str = "CREMA-D") -> dict[str, float]:
    """The median training clip."""
    return {name: known[50.0] for name, known in domain.references()[corpus].percentiles.items()}


def clip(samples: np.ndarray) -> tuple[Recording, tuple[Segment, ...]]:
    made = from_samples(samples, SAMPLE_RATE, "made")
    return made, (Segment(0.0, made.duration_s),)


def test_the_usual_clip_lies_inside_and_limits_are_the_stored_percentiles():
    assert outside(card(), usual()) == ()
    known = reference(card())
    assert known is not None and known.clips >= 1000 and known.languages == ("en",)
    for name, measure in MEASURES.items():
        low, high = known.limits(name)
        assert low == (known.percentiles[name][0.5] - measure.slack if measure.low else -math.inf)
        assert high == (known.percentiles[name][99.5] + measure.slack if measure.high else math.inf)


@pytest.mark.parametrize("name", MEASURES)
def test_a_value_beyond_a_limit_is_told_with_what_was_measured_and_what_is_usual(name):
    known = reference(card())
    for side, limit in zip(("low", "high"), known.limits(name), strict=True):
        if math.isinf(limit):
            continue
        value = limit - 1 if side == "low" else limit + 1
        (told,) = outside(card(), usual() | {name: value})
        assert (told.measure, told.value, told.unit, told.corpus) == (name, value, MEASURES[name].unit, "CREMA-D")
        assert told.sentence.startswith(getattr(MEASURES[name], side))
        assert "CREMA-D" in told.sentence and "-" not in told.sentence.replace("CREMA-D", "")
    assert outside(card(), usual() | {name: math.nan}) == ()


def test_nothing_is_said_where_the_training_clips_are_not_known():
    far = usual() | {"level_dbfs": -90.0}
    for unknown in (card(corpora=()), card(corpora=("somebody's own",))):
        assert reference(unknown) is None
        assert outside(unknown, far) == language_outside(unknown, {"de": 1.0}) == ()


def test_every_bundled_model_has_its_training_clips_described():
    assert [each.name for each in cards() if reference(each) is None] == []


def test_a_model_is_told_what_such_clips_cost_it_where_that_was_tested():
    quiet = usual() | {"level_dbfs": -60.0}
    (told,) = outside(card(name="whisper-tiny-statistics"), quiet)
    found = pd.read_csv(ASSETS / "results" / "robustness.csv")
    row = found[(found.model == "whisper-tiny-statistics") & (found.kind == "gain") & (found.level == -20)].iloc[0]
    assert f"{-100 * row['drop']:.0f} points of UAR" in told.cost
    assert outside(card(), quiet)[0].cost == ""


def test_another_language_is_told_and_an_uncertain_one_is_not():
    (told,) = language_outside(card(), {"ur": 0.7, "hi": 0.2, "en": 0.1})
    assert told.measure == LANGUAGE and "Urdu (70 %" in told.sentence and "English" in told.sentence
    (shared,) = language_outside(card(), {"en": 0.45, "de": 0.3, "nl": 0.25})
    assert "another one: German (30 %" in shared.sentence
    assert language_outside(card(), {"en": 0.6, "de": 0.4}) == ()
    # Danish and English together are what EmoTale's model learnt from.
    assert language_outside(card(corpora=("EmoTale",)), {"en": 0.4, "da": 0.3, "de": 0.3}) == ()


def test_the_language_is_listened_for_only_where_somebody_speaks_and_the_training_is_known(monkeypatch):
    asked = []
    monkeypatch.setattr(transcription, "spoken_languages", lambda samples: asked.append(len(samples)) or {"de": 1.0})
    recording, speech = clip(voice(2.0))
    assert domain.language_warning(card(), recording, ()) == ()
    assert domain.language_warning(card(corpora=("Nobody's",)), recording, speech) == ()
    assert asked == []
    (told,) = domain.language_warning(card(), recording, (Segment(0.1, 1.9),))
    assert told.measure == LANGUAGE and asked == [len(recording.samples)]


def test_german_is_told_to_a_model_of_english(corpora):
    files = sorted(file for file in (corpora / "emodb" / "audio").rglob("*") if file.is_file())
    for file in files[:: len(files) // 3][:3]:
        recording = read(file)
        (told,) = domain.language_warning(card(), recording, speech_segments(recording))
        assert "German" in told.sentence


def words_of(app: AppTest) -> str:
    return " ".join(each.proto.body for each in app.get("html"))


def test_the_page_tells_the_language_by_itself_once_and_keeps_it_with_the_clip(monkeypatch):
    asked = []
    monkeypatch.setattr(transcription, "spoken_languages", lambda samples: asked.append(1) or {"ur": 0.9, "en": 0.1})

    def page() -> None:
        import dataclasses

        import streamlit as st
        from explanations import example_explanation

        from pages.parts import background, domain_panel, session

        found = example_explanation()
        found = dataclasses.replace(found, card=dataclasses.replace(found.card, corpora=("CREMA-D",)), outside=())
        if st.button("forget"):
            session.forget()
            st.write(f"kept: {'languages' in st.session_state}")
        else:
            shown, tell_language = domain_panel.show(found)
            assert background.job(("language", found.recording.sha256)) is None or shown.outside
            tell_language()
            job = background.job(("language", found.recording.sha256))
            if job is not None:
                job.future.result(timeout=60)
            st.write(f"told: {[each.measure for each in shown.outside]}")

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception, app.exception
    assert "is telling the language" in words_of(app)
    app.run()
    words = words_of(app)
    assert "The language is probably another one: Urdu (90 %" in words
    assert "takes the language for: Urdu 90 %, English 10 %" in words
    assert "told: ['language']" in [each.value for each in app.markdown]
    app.run()
    assert asked == [1]
    app.button[0].click().run()
    assert "kept: False" in [each.value for each in app.markdown]


def test_the_same_sound_again_is_found_and_other_sounds_are_not():
    # Noise is never the same twice.
    once = (0.05 * np.random.default_rng(0).normal(size=2 * SAMPLE_RATE)).astype(np.float32)
    assert repetition(once) < 0.4
    assert repetition(np.tile(once, 2)) > 0.95
    assert repetition(np.tile(once, 3)) > 0.95
    assert math.isnan(repetition(once[: SAMPLE_RATE // 2]))


def test_measures_have_known_answers_on_a_made_voice():
    samples = voice(2.0)
    values = measured(*clip(samples))
    quiet = measured(*clip(samples / 10))
    assert values["duration_s"] == pytest.approx(2.0, abs=0.01)
    assert quiet["level_dbfs"] == pytest.approx(values["level_dbfs"] - 20, abs=0.1)
    power = 10 * math.log10(float(np.mean(np.square(samples, dtype=np.float64))))
    assert values["level_dbfs"] == pytest.approx(power, abs=0.1)
    for name in ("pitch_hz", "tract_cm", "repetition"):
        assert quiet[name] == pytest.approx(values[name], rel=0.02, nan_ok=True)


def test_a_voice_played_faster_is_that_of_somebody_smaller_by_that_factor():
    spoken = read(ASSETS / "samples" / "neutral_man.flac")
    usual_size = measured(spoken, speech_segments(spoken))
    faster = soxr.resample(spoken.samples, SAMPLE_RATE, SAMPLE_RATE / 1.2)
    small = measured(*clip(faster))
    assert small["pitch_hz"] == pytest.approx(1.2 * usual_size["pitch_hz"], rel=0.03)
    assert small["tract_cm"] == pytest.approx(usual_size["tract_cm"] / 1.2, rel=0.06)


def test_clipped_sound_has_many_samples_near_its_peak():
    noise = np.random.default_rng(0).normal(size=SAMPLE_RATE)
    assert flat_percent(noise) < 0.1
    # Of a normal distribution 10 % lie beyond 1.645 standard deviations, and 11.8 % beyond 95 % of that.
    assert flat_percent(np.clip(noise, -1.645, 1.645)) == pytest.approx(11.8, abs=0.7)


def test_a_clip_cut_in_the_middle_of_sound_is_loud_at_its_end():
    samples = voice(2.0)
    faded = samples.copy()
    faded[:1600] *= 0.001
    faded[-1600:] *= 0.001
    assert measured(*clip(faded))["edge_db"] < -40
    assert measured(*clip(samples[:SAMPLE_RATE]))["edge_db"] > measured(*clip(faded))["edge_db"] + 30


def test_the_study_counts_the_share_of_warned_clips():
    models = [card(name="near"), card(name="far")]
    clips = [
        {
            "group": "made",
            "speaker": f"s{k % 4}",
            "values": usual() | {"level_dbfs": -90.0 if k < 2 else usual()["level_dbfs"], "snr_db": None},
            "familiarity": {"near": 50.0, "far": 99.5},
            "languages": {"de": 1.0},
        }
        for k in range(8)
    ]
    found = summary(clips, models).set_index(["model", "warning"])["share"]
    assert found["", "level_dbfs"] == found["", "any"] == found["near", "any"] == 0.25
    assert found["", "pitch_hz"] == found["near", "familiarity"] == 0.0
    assert found["far", "familiarity"] == found["far", "any"] == found["", LANGUAGE] == 1.0


@pytest.mark.skipif(not domain.TABLE.exists(), reason="the study of warnings is not stored")
def test_the_stored_table_states_false_alarms_and_detections_of_the_stored_ranges():
    found = pd.read_csv(domain.TABLE, keep_default_na=False)
    assert {"held out, test speakers", "held out, validation speakers"} <= set(found["group"])
    assert ((found["low"] <= found["share"]) & (found["share"] <= found["high"])).all()
    alarms = found[(found["group"] == "held out, test speakers") & (found["warning"].isin(MEASURES))]
    assert (alarms["share"] < 0.05).all()


def test_a_clip_that_is_unlike_the_training_is_not_called_like_it_in_one_breath():
    from pages.parts import domain_panel

    said = domain_panel.warnings((), "CREMA-D")
    assert ">Length, level" in said and "not found" not in said
    without = domain_panel.warnings((), "CREMA-D", spoken=False)
    assert ">Length, bandwidth, ends, peaks and repeats lie within" in without and "No speech was found" in without
    assert ">What makes it unlike them was not found: length, level" in domain_panel.warnings(
        (), "CREMA-D", unusual=True
    )


def test_the_intended_use_says_what_it_is_not_and_what_the_model_learnt_from():
    for each in cards():
        words = intended_use(each)
        assert STATEMENT in words and FORBIDDEN in words and each.title in words
        assert trained_on(each).startswith("Trained on")
    assert trained_on(replace(cards()[0], limits=(), corpora=())).startswith("What it was trained on is not stated")


def test_models_that_were_trained_alike_are_named_together_and_what_none_is_for_is_said_once():
    one = cards()[0]
    same, other = replace(one, title="Twin"), replace(one, title="Other", limits=("Trained on birds.",))
    words = intended_use(one, same, other, one)
    assert words.count(STATEMENT) == words.count(FORBIDDEN) == words.count(trained_on(one)) == 1
    assert f"{one.title}; Twin: {trained_on(one)}" in words and words.endswith("Other: Trained on birds.")


def test_warnings_and_use_go_into_every_file_of_an_explanation():
    from explain.export import cue_csv, text_grid
    from explain.export_json import to_json
    from explain.reopen import reopen
    from ser_core.intended_use import COLUMN, IN_A_CELL

    (told,) = outside(card(), usual() | {"level_dbfs": -90.0})
    made = replace(example_explanation(), outside=(told,))
    raw = json.loads(to_json(made))
    assert raw[COLUMN].startswith(STATEMENT) and raw["outside"][0]["sentence"] == told.sentence
    assert reopen(to_json(made).encode()).explanation.outside == (told,)
    head, first, *_ = cue_csv(made).splitlines()
    assert COLUMN in head and IN_A_CELL in first and "level_dbfs" in first and trained_on(made.card) in first
    assert IN_A_CELL in text_grid(made) and "is quiet" in text_grid(made)


def test_every_table_that_is_taken_away_says_what_the_model_was_trained_on():
    from opened import example_opened
    from test_long_recording import made_up

    from explain import long_recording_files
    from explain.batch import Row, table
    from explain.opened import experiments_csv, trust_csv
    from ser_core.intended_use import IN_A_CELL, in_a_cell

    model, shown = cards()[0], example_explanation()
    said = f"{IN_A_CELL}; {model.title}: {trained_on(model)}"
    assert in_a_cell(model) == in_a_cell(model.name) == said and in_a_cell("nobody's") == IN_A_CELL
    session = replace(made_up([0.1] * 6), model=model.name)
    opened = example_opened()
    for file in (
        table([Row(0, "a.wav", answer="anger")], model.name).to_csv(),
        long_recording_files.to_csv(session),
        long_recording_files.to_json(session),
        long_recording_files.text_grid(session),
    ):
        assert said in file
    for file in (trust_csv(opened.trust, shown.card), experiments_csv(opened.experiments, shown.card)):
        assert in_a_cell(shown.card) in file


def test_what_other_models_answered_or_other_noise_gave_is_not_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(domain_study, "run_of", lambda model: "same weights")
    models = [SimpleNamespace(name=name) for name in ("one", "two")]
    (tmp_path / "street.wav").write_bytes(b"1")
    first = domain_study._state_of(tmp_path, models[:1])
    assert domain_study._state_of(tmp_path, models[:1]) == first != domain_study._state_of(tmp_path, models)
    (tmp_path / "cafe.wav").write_bytes(b"1")
    assert domain_study._state_of(tmp_path, models[:1]) != first


def test_a_sound_without_speech_has_no_voice_to_be_high_or_small() -> None:
    crackle = np.random.default_rng(0).normal(0, 0.02, 32_000).astype(np.float32)
    crackle += 0.2 * np.sin(2 * np.pi * 500 * np.arange(32_000) / 16_000).astype(np.float32)
    found = measured(from_samples(crackle, 16_000, "fire.wav"), ())
    assert all(math.isnan(found[name]) for name in ("pitch_hz", "tract_cm", "level_dbfs"))
    assert math.isfinite(found["bandwidth_hz"])
