"""A session: each stretch is a clip like any other, voices can be corrected, and the course is what it says."""

import codecs
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import parselmouth
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from parselmouth.praat import call

from explain import long_recording_files as files
from explain.__main__ import main
from explain.cues import CUES, CueSettings, CueValue
from explain.explanation import explain
from explain.long_recording import (
    LongRecording,
    Stretch,
    analyse,
    course,
    exchanged,
    merged,
    reassigned,
    remeasured,
    renamed,
    stretches,
)
from explain.long_recording_baseline import FORMANTS, heard_first, hearing, otherwise, own_cues, own_z, standing_out
from pages.parts.voices_chart import figure
from ser_core.audio import SAMPLE_RATE
from ser_core.errors import AudioError, ExplanationError, ModelError, SettingError
from ser_core.long_audio import long_sound
from ser_core.models import Prediction
from ser_core.registry import load_model
from ser_core.speaker_adaptation import adapted
from tests.bad_inputs import flac, scramble, voice, wav
from tests.planted import burst_model

MODEL = "egemaps-logistic"
ADAPTABLE = "whisper-tiny-statistics"


def two_voices() -> np.ndarray:
    """A low and a high synthetic voice by turns, with pauses of 0.8 s."""
    low = voice(2.0)
    high = np.interp(np.arange(0, len(low), 1.6), np.arange(len(low)), low).astype(np.float32)
    rest = np.zeros(12_800, np.float32)
    parts = [rest]
    for _ in range(4):
        parts += [low, rest, high, rest]
    samples = np.concatenate(parts)
    return samples + 1e-4 * np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)


@pytest.fixture(scope="module")
def heard() -> tuple:
    sound = long_sound(wav(two_voices()), "session.wav")
    return sound, analyse(sound, burst_model())


def test_every_stretch_has_the_answer_and_the_cues_of_that_clip_explained_alone(heard) -> None:
    sound, found = heard
    assert len(found.stretches) >= 6
    for stretch in (found.stretches[0], found.stretches[-1]):
        assert stretch.around_s[0] > 0.1 and stretch.around_s[1] > 0.1
        clip = sound.stretch(*stretch.clip_s)
        alone = explain(clip, burst_model(), "input_x_gradient")
        assert np.array_equal(stretch.prediction.probabilities, alone.prediction.probabilities)
        mine = {v.cue: v.value for v in stretch.cues}
        assert mine == {v.cue: v.value for v in alone.cues.values if v.scope == "clip"}


def test_stretches_come_in_order_while_the_rest_is_still_unread(heard) -> None:
    sound, found = heard
    told: list[float] = []
    made = stretches(sound, burst_model(), progress=lambda share, words: told.append(share))
    first = next(made)
    assert first.start_s == found.stretches[0].start_s
    assert told and max(told) < 0.5
    made.close()
    numbers = [s.number for s in found.stretches]
    assert numbers == sorted(numbers) and all(
        a.end_s <= b.start_s + 1e-9 for a, b in zip(found.stretches, found.stretches[1:], strict=False)
    )


def test_the_work_ends_when_the_reader_stops_it(heard) -> None:
    class Enough(Exception):
        pass

    def stop(share: float, words: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        list(stretches(heard[0], burst_model(), progress=stop))


def test_what_came_before_a_damaged_end_is_kept() -> None:
    data = flac(np.tile(two_voices(), 2))
    broken = dataclasses.replace(long_sound(data, "a.flac"), data=scramble(data, 0.8))
    found: list[Stretch] = []
    with pytest.raises(AudioError, match="damaged"):
        for stretch in stretches(broken, burst_model()):
            found.append(stretch)
    assert len(found) >= 5


def test_a_recording_without_speech_has_no_stretch() -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(20 * SAMPLE_RATE).astype(np.float32)
    found = analyse(long_sound(wav(noise), "noise.wav"), burst_model())
    assert found.stretches == () and found.voices == ()
    assert files.table(found).empty and json.loads(files.to_json(found))["stretches"] == []
    back = pd.read_csv(io.StringIO(files.to_csv(found))), pd.read_parquet(io.BytesIO(files.to_parquet(found)))
    spoken = files.table(made_up([0.1]))
    for each in back:
        assert each.empty and [c for c in each if c not in burst_model().emotions] == [
            c for c in spoken if c not in ("a", "b")
        ]
    assert "about" in files.text_grid(found)


def test_cues_measured_again_are_those_of_the_clip_explained_with_these_settings(heard) -> None:
    sound, found = heard
    settings = CueSettings(formant_ceiling_hz=4200.0)
    again = exchanged(found, remeasured(sound, found.stretches[2:], settings))
    assert again.stretches[:2] == found.stretches[:2] and again.voice_of == found.voice_of
    clip = sound.stretch(*found.stretches[-1].clip_s)
    alone = explain(clip, burst_model(), "input_x_gradient", settings=settings)
    expected = {v.cue: v.value for v in alone.cues.values if v.scope == "clip"}
    assert {v.cue: v.value for v in again.stretches[-1].cues} == expected
    table = files.table(again)
    assert table["formant_ceiling_hz"].tolist()[2:] == [4200.0] * (len(found.stretches) - 2)
    assert table["cue_f2_mean"].iloc[-1] == expected["f2_mean"] != files.table(found)["cue_f2_mean"].iloc[-1]
    assert table["pitch_floor_hz"].iloc[-1] == alone.tracks.settings.pitch_floor_hz
    written = json.loads(files.to_json(again))["stretches"][-1]
    assert written["settings"] == dataclasses.asdict(alone.tracks.settings)
    # What was in force, asked for by hand, measures the same: a stretch is explained with what it was measured with.
    told = found.stretches[-1].settings
    assert remeasured(sound, found.stretches[-1:], told)[0].cues == found.stretches[-1].cues
    with pytest.raises(SettingError, match="formant ceiling"):
        remeasured(sound, found.stretches, CueSettings(formant_ceiling_hz=100.0))


# --- corrections ------------------------------------------------------------------------------------------------------


def made_up(
    values: list[float], lengths_s: list[float] | None = None, voices: list[int] | None = None
) -> LongRecording:
    """A session of stretches 5 s apart whose probability of "a" is given."""
    lengths = lengths_s or [2.0] * len(values)
    found = []
    for k, (value, length) in enumerate(zip(values, lengths, strict=True)):
        answer = Prediction("m", ("a", "b"), np.array([value, 1 - value]))
        cues = tuple(
            CueValue(c.name, "clip", float(value * (j + 1) + k % 3), c.unit, 9, c.counted) for j, c in enumerate(CUES)
        )
        found.append(Stretch(k, 5.0 * k, 5.0 * k + length, answer, cues, np.eye(1, 192)[0]))
    given = tuple(voices or [0] * len(values))
    return LongRecording("a.wav", "0" * 64, "m", ("a", "b"), 5.0 * len(values), True, tuple(found), given)


def test_voices_are_renamed_reassigned_and_merged_by_hand() -> None:
    found = made_up([0.1] * 6, voices=[0, 1, 0, 1, 2, 0])
    named = renamed(found, 0, "  the\n patient ")
    assert named.called(0) == "the patient" and named.called(1) == "Voice 2"
    moved = reassigned(named, 1, 0)
    assert moved.voice_of == (0, 0, 0, 1, 2, 0)
    assert reassigned(named, 1, 3).voice_of[1] == 3
    one = merged(named, 0, 2)
    assert one.voices == (1, 2) and one.called(2) == "Voice 3" and one.spoken_s(2) == pytest.approx(8)
    assert found.voice_of == (0, 1, 0, 1, 2, 0)


def test_the_name_of_a_voice_goes_with_its_last_stretch() -> None:
    found = renamed(made_up([0.1] * 3, voices=[0, 1, 0]), 1, "Ada")
    gone = reassigned(found, 1, 0)
    new = reassigned(gone, 2, 1)
    assert [new.called(v) for v in new.voice_of] == ["Voice 1", "Voice 1", "Voice 2"]
    assert renamed(found, 0, "Voice 1").called(0) == "Voice 1"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f: renamed(f, 7, "x"),
        lambda f: renamed(f, 0, "  "),
        lambda f: renamed(f, 0, "Voice 2"),
        lambda f: renamed(f, 0, " voice  3"),
        lambda f: reassigned(f, 99, 0),
        lambda f: reassigned(f, 0, 5),
        lambda f: merged(f, 0, 0),
        lambda f: merged(f, 0, 9),
    ],
)
def test_a_correction_that_cannot_be_made_says_why(wrong) -> None:
    with pytest.raises(ExplanationError):
        wrong(made_up([0.1, 0.2], voices=[0, 1]))


# --- over time --------------------------------------------------------------------------------------------------------


def test_the_course_is_the_weighted_mean_with_students_interval() -> None:
    values, lengths = [0.1, 0.9, 0.4, 0.6, 0.2], [1.0, 2.0, 1.0, 3.0, 2.0]
    found = made_up(values, lengths)
    line = course(found, 0, "a", width_s=8.0, points=3)
    at = 1
    middles = np.array([5.0 * k + length / 2 for k, length in enumerate(lengths)])
    weights = np.array(lengths) * np.exp(-0.5 * ((line.times_s[at] - middles) / 8.0) ** 2)
    mean = np.average(values, weights=weights)
    effective = weights.sum() ** 2 / (weights**2).sum()
    variance = np.average((np.array(values) - mean) ** 2, weights=weights) * effective / (effective - 1)
    from scipy.stats import t

    reach = t.ppf(0.975, effective - 1) * np.sqrt(variance / effective)
    assert line.mean[at] == pytest.approx(mean)
    assert line.high[at] == pytest.approx(min(1, mean + reach))
    assert line.low[at] == pytest.approx(max(0, mean - reach))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.floats(2, 60))
@hypothesis_settings(max_examples=40)
def test_the_course_stays_within_what_was_answered_and_its_interval_holds_it(
    values: list[float], width_s: float
) -> None:
    line = course(made_up(values), 0, "a", width_s=width_s)
    known = np.isfinite(line.mean)
    assert np.array_equal(known, np.isfinite(line.low)) and np.array_equal(known, np.isfinite(line.high))
    assert (line.low[known] <= line.mean[known] + 1e-9).all() and (line.mean[known] <= line.high[known] + 1e-9).all()
    assert (line.mean[known] >= min(values) - 1e-9).all() and (line.mean[known] <= max(values) + 1e-9).all()


def test_nothing_is_drawn_far_from_the_voice() -> None:
    found = made_up([0.5] * 20, voices=[0] * 6 + [1] * 14)
    line = course(found, 0, "a", width_s=6.0)
    assert np.isfinite(line.mean[line.times_s < 25]).any()
    assert np.isnan(line.mean[line.times_s > 40]).all()


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        line = course(made_up(list(rng.uniform(0.2, 0.8, 40))), 0, "a", width_s=25.0, points=3)
        hits.append(line.low[1] <= 0.5 <= line.high[1])
    assert 0.89 <= np.mean(hits) <= 0.99


def test_no_band_is_drawn_where_there_is_no_line() -> None:
    found = made_up([0.5] * 60, voices=[0] * 8 + [1] * 44 + [0] * 8)
    line = course(found, 0, "a")
    unknown = line.times_s[np.isnan(line.mean)] / 60
    assert len(unknown)
    (band,) = (each for each in figure(found, 0, ["a"]).data if getattr(each, "fill", None) == "toself")
    gaps = [place for place, x in enumerate(band.x) if x is None]
    assert len(gaps) == 2
    for run in (band.x[: gaps[0]], band.x[gaps[0] + 1 : gaps[1]]):
        assert not ((unknown > min(run)) & (unknown < max(run))).any()


# --- a voice against itself -------------------------------------------------------------------------------------------


def test_z_scores_of_all_stretches_are_those_of_each_against_the_others() -> None:
    rng = np.random.default_rng(0)
    found = made_up(list(rng.uniform(0, 1, 16)), voices=[0, 1] * 8)
    scores = own_z(found)
    for number in range(16):
        rows = {row.cue: row.z for row in own_cues(found, number)}
        for place, c in enumerate(CUES):
            if c.name in ("intensity_mean", "f0_median"):
                assert np.isnan(scores[number, place])
            else:
                assert scores[number, place] == pytest.approx(rows[c.name], rel=1e-6)


def with_values(cue: str, values: list[float]) -> LongRecording:
    """A session of one voice whose values of one cue are given."""
    found = made_up([0.1] * len(values))
    told = [
        dataclasses.replace(
            each, cues=tuple(dataclasses.replace(v, value=value) if v.cue == cue else v for v in each.cues)
        )
        for each, value in zip(found.stretches, values, strict=True)
    ]
    return exchanged(found, told)


@pytest.mark.parametrize(("others", "spread"), [(0.0, 0.0), (0.3, 0.0), (123.4, 0.0), (0.0, 1e-5), (123.4, 1e-5)])
@pytest.mark.parametrize("outlier", [0.217, 7.7, 1234.5])
def test_one_stretch_far_from_others_that_are_alike_has_the_z_score_of_itself_against_them(
    others: float, spread: float, outlier: float
) -> None:
    place = [c.name for c in CUES].index("pauses")
    found = with_values("pauses", [others + spread * (k % 3) for k in range(40)] + [outlier])
    (row,) = (row for row in own_cues(found, 40) if row.cue == "pauses")
    z = own_z(found)[40, place]
    if spread:
        assert row.z is not None and z == pytest.approx(row.z, rel=1e-6)
    else:
        assert row.note == "the same in every other clip" and np.isnan(z)
        assert not any(name == "pauses" for name, _ in standing_out(found)[40])


def test_what_stands_out_is_what_is_unusual_against_the_others() -> None:
    values = [0.2, 0.21, 0.19, 0.2, 0.22, 0.18, 0.2, 0.21, 0.9]
    found = made_up(values)
    told = standing_out(found)
    unusual = {row.cue for row in own_cues(found, 8) if row.unusual}
    assert told[8] and {name for name, _ in told[8]} <= unusual
    assert len(told[8]) <= 3


def test_few_stretches_are_no_baseline() -> None:
    assert np.isnan(own_z(made_up([0.1, 0.5, 0.9]))).all()


def test_a_model_that_hears_each_voice_first_answers_as_if_given_its_stretches_as_clips() -> None:
    sound, model = long_sound(wav(two_voices()), "session.wav"), load_model(ADAPTABLE)
    alone = analyse(sound, model)
    found = heard_first(alone, model)
    assert found.adapted and not alone.adapted and len(found.voices) == 2
    for each in found.voices:
        clips = [sound.stretch(*stretch.clip_s) for stretch in found.of(each)]
        expected = adapted(model, clips)
        assert hearing(alone, each, model).card.title == expected.card.title
        for clip, before, after in zip(clips, alone.of(each), found.of(each), strict=True):
            assert after.prediction.probabilities == pytest.approx(expected.predict(clip).probabilities, abs=1e-5)
            assert after.prediction.familiarity == expected.predict(clip).familiarity
            assert not np.allclose(after.prediction.probabilities, before.prediction.probabilities, atol=1e-4)
            assert after.cues is before.cues and before.prediction.familiarity is not None
    # Answers that are asked for twice are the same, and a voice corrected by hand is heard anew.
    again = heard_first(found, model)
    assert [s.prediction.probabilities.tolist() for s in again.stretches] == [
        s.prediction.probabilities.tolist() for s in found.stretches
    ]
    one = heard_first(merged(found, 0, 1), model)
    assert not np.allclose(one.stretches[0].prediction.probabilities, found.stretches[0].prediction.probabilities)
    assert set(files.table(found)["adapted"]) == {True} and set(files.table(alone)["adapted"]) == {False}
    assert json.loads(files.to_json(found))["adapted"] is True and '"seen"' not in files.to_json(found)


def test_only_stretches_that_were_asked_about_count_among_those_answered_otherwise() -> None:
    alone = made_up([0.9, 0.8, 0.7, 0.2])
    heard = made_up([0.9, 0.1, 0.7, 0.2])
    silent = [dataclasses.replace(alone.stretches[3], prediction=None, note="shorter than 0.3 s")]
    assert otherwise(exchanged(alone, silent), exchanged(heard, silent)) == (1, 3)


def test_only_what_can_be_adapted_hears_a_voice_first(heard) -> None:
    _, found = heard
    assert all(stretch.seen is None for stretch in found.stretches)
    assert hearing(found, 0, burst_model()) is None
    seen = dataclasses.replace(found.stretches[0], seen=np.zeros(3, np.float32))
    with pytest.raises(ModelError, match="cannot be adapted"):
        heard_first(exchanged(found, [seen]), burst_model())


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_hold_the_figures_and_neither_sound_nor_voice_prints(heard) -> None:
    _, found = heard
    named = renamed(found, found.voices[0], "=cmd()")
    back = pd.read_csv(io.StringIO(files.to_csv(named)))
    assert len(back) == len(found.stretches)
    first = found.stretches[0]
    assert back.loc[0, "start_s"] == first.start_s
    assert back.loc[0, "low"] == first.prediction.probability("low")
    assert back.loc[0, "voice"] == "'=cmd()"
    parquet = pd.read_parquet(io.BytesIO(files.to_parquet(named)))
    assert parquet["voice"].iloc[0] == "=cmd()" and np.array_equal(parquet["end_s"], back["end_s"])
    whole = json.loads(files.to_json(named))
    assert whole["stretches"][0]["answer"]["probabilities"]["values"] == first.prediction.probabilities.tolist()
    assert "embedding" not in files.to_json(named)
    assert whole["voices"][0]["name"] == "=cmd()"


def test_the_text_grid_opens_in_praat_with_a_tier_for_each_voice(heard, tmp_path: Path) -> None:
    _, found = heard
    found = renamed(found, found.voices[0], 'Anna "A" Zwiebel')
    path = tmp_path / "a.TextGrid"
    path.write_text(files.text_grid(found), encoding="utf-8")
    grid = parselmouth.read(str(path))
    assert call(grid, "Get number of tiers") == len(found.voices) + 1
    for tier, v in enumerate(found.voices, start=1):
        assert call(grid, "Get tier name", tier) == found.called(v)
        labels = [
            call(grid, "Get label of interval", tier, k + 1)
            for k in range(int(call(grid, "Get number of intervals", tier)))
        ]
        assert sum(bool(label) for label in labels) == len(found.of(v))


def test_the_command_follows_a_session_and_writes_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(two_voices()[: 8 * SAMPLE_RATE]))
    out = {kind: tmp_path / f"o.{kind}" for kind in ("csv", "parquet", "json", "textgrid")}
    options = [part for kind, file in out.items() for part in (f"--{kind}", str(file))]
    assert main(["recording", str(path), "--model", MODEL, "--voices", "1", "--names", "Ada", *options]) == 0
    said = capsys.readouterr().out
    assert "Ada: " in said and "0:0" in said
    assert all(file.stat().st_size > 50 for file in out.values())
    assert set(pd.read_csv(out["csv"])["voice"]) == {"Ada"}
    assert out["csv"].read_bytes().startswith(codecs.BOM_UTF8)


def test_the_command_lets_the_model_hear_each_voice_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "a.wav", tmp_path / "o.csv"
    path.write_bytes(wav(two_voices()[: 8 * SAMPLE_RATE]))
    said = "Having heard all stretches of each voice, the model answers "
    assert main(["recording", str(path), "--model", ADAPTABLE, "--csv", str(out)]) == 0
    told = capsys.readouterr().out
    # The answers at the end are those of the files, voice by voice.
    table, last = pd.read_csv(out), told.partition(said)[2].splitlines()
    for line, answer, whose in zip(last[1 : 1 + len(table)], table["answer"], table["voice"], strict=True):
        assert f" {whose}: {answer} (" in line
    assert ", before its voice is heard" in told.partition(said)[0]
    assert said in told and "than alone; the files hold those answers.\n" in told and pd.read_csv(out)["adapted"].all()
    assert main(["recording", str(path), "--model", ADAPTABLE, "--quiet"]) == 0
    assert "otherwise than alone.\n" in capsys.readouterr().out
    path.write_bytes(wav(0.01 * np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE)))
    assert main(["recording", str(path), "--model", ADAPTABLE, "--csv", str(out)]) == 0
    assert capsys.readouterr().out == f"No speech was found.\nwritten: {out}\n" and pd.read_csv(out).empty
    path.write_bytes(wav(two_voices()[: 8 * SAMPLE_RATE]))
    assert main(["recording", str(path), "--model", ADAPTABLE, "--alone", "--csv", str(out)]) == 0
    assert said not in capsys.readouterr().out and not pd.read_csv(out)["adapted"].any()


def test_the_command_refuses_what_cannot_be_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"not sound")
    assert main(["recording", str(path), "--model", MODEL]) == 2
    assert capsys.readouterr().err.startswith("error: 'a.wav' is ")
    assert main(["recording", str(path), "--csv", str(tmp_path / "none" / "x.csv")]) == 2


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_the_command_refuses_a_number_of_voices_that_cannot_be(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as told:
        main(["recording", "a.wav", "--voices", count])
    assert told.value.code == 2
    assert f"'{count}' is no number of voices; give 1 or more, or 'estimate'" in capsys.readouterr().err


@pytest.mark.parametrize("names", [["Ada", " Ada"], ["Ada", ""], ["Voice 2"]])
def test_the_command_refuses_names_before_it_listens(
    names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(two_voices()[: 8 * SAMPLE_RATE]))
    assert main(["recording", str(path), "--model", MODEL, "--names", *names]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ")


def test_the_command_says_which_names_no_voice_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(two_voices()[: 8 * SAMPLE_RATE]))
    options = ["--model", MODEL, "--voices", "1", "--quiet", "--names", "Ada", "Ben", "Cy"]
    assert main(["recording", str(path), *options]) == 0
    assert "Fewer voices were found than were named; not used: Ben, Cy.\nAda: " in capsys.readouterr().out


def test_two_voices_are_told_apart_by_default(heard) -> None:
    _, found = heard
    assert len(found.turns) == 8
    for number, turn in enumerate(found.turns):
        # Low for 2 s, high for 1.25 s, 0.8 s before each.
        start_s = 0.8 + 4.85 * (number // 2) + 2.8 * (number % 2)
        assert turn.voice == number % 2
        assert start_s <= turn.start_s < turn.end_s <= start_s + (2.0, 1.25)[number % 2]


def of_lengths(lengths_s: list[float]) -> LongRecording:
    """A session of one voice whose stretches have these lengths."""
    found = made_up(list(np.random.default_rng(0).uniform(0.1, 0.3, len(lengths_s))))
    told = [
        dataclasses.replace(each, end_s=each.start_s + length)
        for each, length in zip(found.stretches, lengths_s, strict=True)
    ]
    return exchanged(found, told)


def test_a_stretch_is_set_against_stretches_of_like_length() -> None:
    found = of_lengths([0.6] * 8 + [3.0] * 6)
    place = [c.name for c in CUES].index("pauses")
    values = np.array([{v.cue: v.value for v in s.cues}["pauses"] for s in found.stretches])
    scores = own_z(found)[:, place]
    for mine in (slice(0, 8), slice(8, 14)):
        part = values[mine]
        for number, value in enumerate(part):
            others = np.delete(part, number)
            assert scores[mine][number] == pytest.approx((value - others.mean()) / others.std(ddof=1))
    assert np.isnan(own_z(of_lengths([0.6] * 8 + [3.0]))[8]).all()


def test_formants_are_set_against_those_of_the_same_ceiling() -> None:
    found = of_lengths([1.0] * 12)
    told = [
        dataclasses.replace(each, settings=CueSettings(formant_ceiling_hz=5000.0 if number < 6 else 5500.0))
        for number, each in enumerate(found.stretches)
    ]
    mixed, alone = own_z(exchanged(found, told)), own_z(exchanged(of_lengths([1.0] * 6), told[:6]))
    formants = [c.name in FORMANTS for c in CUES]
    np.testing.assert_allclose(mixed[:6][:, formants], alone[:, formants])
    rows = {row.cue: row.z for row in own_cues(exchanged(found, told), 0)}
    for name, z in zip([c.name for c in CUES], mixed[0], strict=True):
        if np.isfinite(z):
            assert rows[name] == pytest.approx(z)
