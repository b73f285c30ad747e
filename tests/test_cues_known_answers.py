"""Cues of sounds that were made so that the answer is known, and of Praat asked directly."""

import dataclasses
import re

import numpy as np
import parselmouth
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from parselmouth.praat import call

from explain.contrasts import summarise
from explain.cues import ALL_REGIONS, CUES, CueSettings, check, measure, spectral_tracks, tracks_from_panel
from explain.magnitudes import magnitudes
from explain.periods import jitter_local, shimmer_local_db
from explain.praat import at_times, praat_panel
from explain.regions import Region
from explain.samples import samples
from ser_core.audio import SAMPLE_RATE, from_samples, read
from ser_core.errors import ExplanationError, SettingError
from ser_core.quality import Quality, quality
from ser_core.speech import Segment, speech_segments

MALE = CueSettings(sex="male")
LAGS = range(-3, 4)


def pulse_train(periods_s, amplitudes=None, duration_s=2.0, start_s=0.2, decay=150):
    """A train of pulses through one resonance at 700 Hz: a crude vowel whose every period is known."""
    t = np.arange(int(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    out = np.zeros(len(t))
    times = start_s + np.concatenate([[0.0], np.cumsum(periods_s)])
    for k, at in enumerate(times):
        late = t - at
        gain = 1.0 if amplitudes is None else amplitudes[k % len(amplitudes)]
        out += gain * np.where(late >= 0, np.exp(-decay * np.maximum(late, 0)) * np.sin(2 * np.pi * 700 * late), 0.0)
    noise = 1e-5 * np.random.default_rng(0).standard_normal(len(t))
    return (0.4 * out / np.abs(out).max() + noise).astype(np.float32), times


def tracks_of(sound, settings=MALE, speech=None):
    """Tracks without a worker process."""
    recording = from_samples(sound, SAMPLE_RATE, "made.wav")
    panel = praat_panel(
        recording.samples,
        SAMPLE_RATE,
        sex=settings.sex,
        pitch_floor_hz=settings.pitch_floor_hz,
        pitch_ceiling_hz=settings.pitch_ceiling_hz,
        formant_ceiling_hz=settings.formant_ceiling_hz,
        octave_jump_cost=settings.octave_jump_cost,
    )
    spoken = (Segment(0.0, recording.duration_s),) if speech is None else speech
    return recording, tracks_from_panel(panel, recording, settings, spoken)


@pytest.fixture(scope="module")
def voice():
    """The neutral bundled clip: recording, tracks, and Praat's own objects made with the settings in force."""
    sample = next(s for s in samples() if s.name == "neutral_man")
    recording, tracks = tracks_of(read(sample.path).samples)
    sound = parselmouth.Sound(recording.samples - recording.samples.mean(dtype=float), SAMPLE_RATE)
    low, high = tracks.settings.pitch_floor_hz, tracks.settings.pitch_ceiling_hz
    pitch = sound.to_pitch_ac(time_step=0.01, pitch_floor=low, pitch_ceiling=high, octave_jump_cost=0.35)
    return recording, tracks, sound, pitch, low, high


@pytest.mark.parametrize("f0_hz", [90.0, 140.0, 210.0, 380.0])
def test_pitch_of_a_pulse_train_is_its_rate(f0_hz):
    sound, _ = pulse_train(np.full(int(1.6 * f0_hz), 1 / f0_hz))
    recording, tracks = tracks_of(sound)
    summary = summarise(tracks, recording, [])
    assert summary.value("f0_mean").value == pytest.approx(12 * np.log2(f0_hz / 100), abs=0.06)
    assert summary.value("f0_median").value == pytest.approx(f0_hz, rel=0.004)
    assert summary.value("f0_variability").value < 0.1


def test_a_glide_of_six_semitones_a_second_has_that_slope():
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 * 2 ** (6 * t / 12)) / SAMPLE_RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 12)) * 0.1
    recording, tracks = tracks_of(sound.astype(np.float32))
    summary = summarise(tracks, recording, [Region(1, 0.5, 1.0, None, None, 1.0)])
    assert summary.value("f0_slope").value == pytest.approx(6, abs=0.05)
    assert summary.value("f0_slope", "1").value == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("percent", [0.5, 1.5, 3.0])
def test_planted_jitter_is_measured(percent):
    periods = 0.008 * (1 + percent / 100 * np.random.default_rng(0).uniform(-1.5, 1.5, 190))
    planted = 100 * np.abs(np.diff(periods)).mean() / periods.mean()
    _, tracks = tracks_of(pulse_train(periods)[0])
    value, count = jitter_local(tracks, [(0.25, 1.65)])
    assert value == pytest.approx(planted, rel=0.15)
    assert count > 100


@pytest.mark.parametrize("level_db", [0.3, 0.8, 1.5])
def test_planted_shimmer_is_measured(level_db):
    levels_db = level_db * np.random.default_rng(0).uniform(-1.5, 1.5, 200)
    planted = np.abs(np.diff(levels_db)).mean()
    # Each pulse dies out before the next, else its neighbour's tail would add to its amplitude.
    sound, _ = pulse_train(np.full(190, 0.008), 10 ** (levels_db / 20), decay=800)
    _, tracks = tracks_of(sound)
    value, count = shimmer_local_db(tracks, [(0.25, 1.65)])
    assert value == pytest.approx(planted, rel=0.25)
    assert count > 100


def test_pitch_equals_praat_asked_directly(voice):
    _, tracks, _, pitch, _, _ = voice
    direct = np.array([pitch.get_value_at_time(t) for t in tracks.times_s])
    ours = tracks.tracks["f0_hz"]
    both = np.isfinite(direct) & np.isfinite(ours)
    np.testing.assert_allclose(ours[both], direct[both], rtol=1e-10)
    # Where the grid falls midway between two frames, rounding decides whether an edge of voicing is in.
    assert (np.isfinite(direct) != np.isfinite(ours)).sum() <= 2


def test_formants_hnr_and_intensity_equal_praat_asked_directly(voice):
    _, tracks, sound, _, low, _ = voice
    formant = sound.to_formant_burg(0.01, 5.0, 5000.0, 0.025, 50.0)
    intensity = sound.to_intensity(low, 0.01)
    harmonicity = sound.to_harmonicity_cc(0.01, 75.0, 0.1, 1.0)
    for k in np.flatnonzero(tracks.voiced)[::7]:
        t = tracks.times_s[k]
        for number in (1, 2, 3):
            assert tracks.tracks[f"f{number}_hz"][k] == pytest.approx(formant.get_value_at_time(number, t))
            assert tracks.tracks[f"f{number}_bandwidth_hz"][k] == pytest.approx(
                formant.get_bandwidth_at_time(number, t)
            )
        assert tracks.tracks["intensity_db"][k] == pytest.approx(
            intensity.get_value(t, parselmouth.ValueInterpolation.LINEAR)
        )
        direct = harmonicity.get_value(t, parselmouth.ValueInterpolation.LINEAR)
        if np.isfinite(tracks.tracks["hnr_db"][k]) and direct > -20:
            assert tracks.tracks["hnr_db"][k] == pytest.approx(direct)


@pytest.mark.parametrize("stretch", [(0.0, 3.0), (0.4, 0.9), (1.0, 1.5), (0.7, 2.2)])
def test_jitter_and_shimmer_equal_praat_over_any_stretch(voice, stretch):
    _, tracks, sound, pitch, low, high = voice
    process = call([sound, pitch], "To PointProcess (cc)")
    periods = (*stretch, 0.8 / high, 1.25 / low, 1.3)
    jitter = 100 * call(process, "Get jitter (local)", *periods)
    shimmer = call([sound, process], "Get shimmer (local_dB)", *periods, 1.6)
    assert jitter_local(tracks, [stretch])[0] == pytest.approx(jitter, rel=1e-9)
    assert shimmer_local_db(tracks, [stretch])[0] == pytest.approx(shimmer, rel=1e-9)


@given(st.lists(st.floats(0.005, 0.013), min_size=3, max_size=12))
@example([0.005, 0.008, 0.008, 0.008])  # the first differs too much from its only neighbour
def test_jitter_of_any_pulses_equals_praats(voice, lengths):
    _, tracks, _, _, low, high = voice
    pulses_s = 0.1 + np.cumsum([0.0, *lengths])
    process = call("Create empty PointProcess", "pulses", 0.0, 1.0)
    for time_s in pulses_s:
        call(process, "Add point", time_s)
    jitter = 100 * call(process, "Get jitter (local)", 0.0, 1.0, 0.8 / high, 1.25 / low, 1.3)
    ours, _ = jitter_local(dataclasses.replace(tracks, pulses_s=pulses_s), [(0.0, 1.0)])
    assert ours == pytest.approx(jitter, rel=1e-6, nan_ok=True)


def test_cpps_of_a_voiced_sound_equals_praats():
    sound, _ = pulse_train(np.full(250, 0.008), duration_s=2.0, start_s=0.0)
    recording, tracks = tracks_of(sound)
    cepstrogram = call(
        parselmouth.Sound(sound - sound.mean(dtype=float), SAMPLE_RATE), "To PowerCepstrogram", 60, 0.01, 5000, 50
    )
    line = ("parabolic", 0.001, 0.05, "Straight", "Robust")
    direct = call(cepstrogram, "Get CPPS", False, 0.02, 0.0005, 60, 330, 0.05, *line)
    assert summarise(tracks, recording, []).value("cpps").value == pytest.approx(direct, abs=1e-6)


def test_a_planted_rise_is_found_within_0_3_semitone():
    sample = next(s for s in samples() if s.name == "pitch_rise")
    (planted,) = sample.planted
    recording = read(sample.path)
    tracks = measure(recording, CueSettings(sex=sample.sex), speech_segments(recording))
    summary = summarise(tracks, recording, [Region(1, planted.start_s, planted.end_s, None, None, 1.0)])
    contrast = summary.contrast("f0_mean", "1")
    assert (planted.start_s, planted.end_s) == (1.0, 1.5)
    assert contrast.difference == pytest.approx(planted.amount, abs=0.3)
    assert contrast.effect > 0.95
    assert contrast.p < 0.05


def test_unvoiced_frames_never_enter_pitch_hnr_or_formants():
    buzz, _ = pulse_train(np.full(60, 0.008), duration_s=1.0, start_s=0.3)
    hiss = 0.003 * np.random.default_rng(1).standard_normal(SAMPLE_RATE)
    recording, tracks = tracks_of(np.concatenate([buzz, hiss]).astype(np.float32))
    _, voiced_only = tracks_of(buzz)
    assert not tracks.voiced[tracks.times_s > 1.05].any()
    for name in ("f0_hz", "f0_st", "hnr_db", "cpp_db", "f1_hz", "f2_bandwidth_hz", "f3_hz", "alpha_ratio_db"):
        assert np.isnan(tracks.tracks[name][~tracks.voiced]).all(), name
    summary = summarise(tracks, recording, [])
    assert summary.value("f0_median").value == pytest.approx(125, rel=0.004)
    assert summary.value("f0_mean").value == pytest.approx(np.mean(tracks.tracks["f0_st"][tracks.voiced]))
    assert summary.value("f0_mean").count == tracks.voiced.sum()
    for track, name in (("f0_st", "f0_mean"), ("hnr_db", "hnr"), ("f1_hz", "f1_mean")):
        alone = np.nanmean(voiced_only.tracks[track])
        assert summary.value(name).value == pytest.approx(alone, rel=0.1), name


def test_hiss_does_not_change_jitter_and_shimmer_of_the_voice():
    buzz, _ = pulse_train(np.tile([0.00808, 0.00792], 30), duration_s=1.0, start_s=0.3)
    hiss = 0.05 * np.random.default_rng(1).standard_normal(SAMPLE_RATE)
    fixed = CueSettings(sex="male", pitch_floor_hz=75, pitch_ceiling_hz=300)
    alone = tracks_of(buzz, fixed)[1]
    both = tracks_of(np.concatenate([buzz, hiss]).astype(np.float32), fixed)[1]
    assert jitter_local(both, [(0.3, 0.8)])[0] == pytest.approx(jitter_local(alone, [(0.3, 0.8)])[0], rel=0.05)
    assert shimmer_local_db(both, [(0.3, 0.8)])[0] == pytest.approx(shimmer_local_db(alone, [(0.3, 0.8)])[0], rel=0.1)
    voiced_s = both.times_s[both.voiced]
    assert all(np.abs(voiced_s - t).min() < 0.03 for t in both.pulses_s)


def test_half_a_second_of_silence_in_front_shifts_every_cue_by_half_a_second(voice):
    recording, tracks, *_ = voice
    silence = np.zeros(SAMPLE_RATE // 2, dtype=np.float32)
    speech = (Segment(0.5, 0.5 + recording.duration_s),)
    _, later = tracks_of(np.concatenate([silence, recording.samples]), speech=speech)
    for name, track in tracks.tracks.items():
        shifted = later.tracks[name][50 : 50 + len(track)]
        both = np.isfinite(track) & np.isfinite(shifted)
        assert both.sum() > 0.9 * np.isfinite(track).sum(), name
        frames = np.flatnonzero(both)[3:-3]
        errors = {lag: np.nanmedian(np.abs(later.tracks[name][frames + 50 + lag] - track[frames])) for lag in LAGS}
        assert min(errors, key=lambda lag, of=errors: of[lag]) in (-1, 0, 1), (name, errors)
    near = [np.abs(later.pulses_s - (t + 0.5)).min() for t in tracks.pulses_s]
    assert np.quantile(near, 0.95) < 0.01
    assert np.abs(later.nuclei_s[:, None] - tracks.nuclei_s[None] - 0.5).min(axis=0).max() <= 0.011


def test_a_whispered_clip_is_not_measurable_and_says_why():
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(2 * SAMPLE_RATE))
    frequency = np.fft.rfftfreq(2 * SAMPLE_RATE, 1 / SAMPLE_RATE)
    whisper = 0.05 * np.fft.irfft(spectrum / (1 + ((frequency - 1500) / 600) ** 2))
    recording, tracks = tracks_of(whisper.astype(np.float32), CueSettings(pitch_floor_hz=75, pitch_ceiling_hz=300))
    assert not tracks.voiced.any()
    summary = summarise(tracks, recording, [Region(1, 0.5, 0.9, None, None, 1.0)])
    for name in ("f0_mean", "f0_slope", "jitter", "shimmer", "hnr", "f1_mean", "cpps", "hf_energy"):
        row = summary.value(name, "1")
        assert row.value is None
        assert "too few" in row.note
    assert summary.value("intensity_mean", "1").value is not None


def test_a_clip_without_speech_is_not_measurable():
    recording, tracks = tracks_of(
        0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE), CueSettings(), speech=()
    )
    summary = summarise(tracks, recording, [Region(1, 0.2, 0.5, None, None, 1.0)])
    assert all(row.value is None and row.note for row in summary.values)
    assert all(row.p is None and row.note for row in summary.contrasts)


def test_too_few_periods_are_not_measurable_never_zero(voice):
    recording, tracks, *_ = voice
    start_s = float(tracks.times_s[np.flatnonzero(tracks.voiced)[20]])
    summary = summarise(tracks, recording, [Region(1, start_s, start_s + 0.04, None, None, 1.0)])
    for name in ("jitter", "shimmer", "f0_variability", "speech_rate"):
        row = summary.value(name, "1")
        assert row.value is None
        assert row.note.startswith("too ")


def test_sentinels_of_praat_never_become_values():
    frames_s = np.arange(5) * 0.01
    values = np.array([10.0, np.nan, 12.0, 14.0, np.nan])
    asked = at_times(np.array([-0.01, 0.0, 0.004, 0.006, 0.016, 0.025, 0.034, 0.04, 0.05]), frames_s, values)
    np.testing.assert_allclose(asked, [np.nan, 10, 10, np.nan, 12, 13, 14, np.nan, np.nan])
    silence_then_buzz = np.concatenate([np.zeros(8000), pulse_train(np.full(60, 0.008), duration_s=1.0)[0]])
    _, tracks = tracks_of(silence_then_buzz.astype(np.float32))
    for name, track in tracks.tracks.items():
        assert not np.any(track < -150), name


def test_marks_say_where_a_cue_is_known_to_fail():
    sound, _ = pulse_train(np.full(600, 1 / 400))
    recording, tracks = tracks_of(sound, CueSettings(sex="female"))
    poor = Quality(2.0, -3.0, 0.0, 8.0, 3400.0, True, 1.0, 0.9, ())
    marks = {v.cue: v.reliability for v in summarise(tracks, recording, [], poor).values}
    assert "harmonics too sparse" in marks["f1_mean"]
    assert "SNR 8 dB" in marks["jitter"]
    assert "telephone" in marks["hf_energy"]
    assert marks["f0_mean"] == ""


def test_sex_is_guessed_from_pitch_only_where_it_is_not_given():
    for f0_hz, guess, ceiling_hz in ((110, "male", 5000), (220, "female", 5500)):
        sound, _ = pulse_train(np.full(int(1.6 * f0_hz), 1 / f0_hz))
        _, tracks = tracks_of(sound, CueSettings())
        assert (tracks.sex_guess, tracks.sex, tracks.settings.formant_ceiling_hz) == (guess, guess, ceiling_hz)
    _, tracks = tracks_of(sound, CueSettings(sex="child"))
    assert (tracks.sex, tracks.settings.formant_ceiling_hz) == ("child", 8000)


def test_the_phoneticians_settings_are_used_and_kept():
    sound, _ = pulse_train(np.full(240, 1 / 150))
    settings = CueSettings("female", 80, 140, 5200, 0.5)
    _, tracks = tracks_of(sound, settings)
    assert tracks.settings == settings
    assert np.nanmax(tracks.tracks["f0_hz"], initial=0) < 150


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (CueSettings(sex="robot"), "Speaker sex"),
        (CueSettings(pitch_floor_hz=5), "pitch floor"),
        (CueSettings(pitch_ceiling_hz=float("nan")), "pitch ceiling"),
        (CueSettings(formant_ceiling_hz=20000), "formant ceiling"),
        (CueSettings(octave_jump_cost=-1), "octave-jump"),
        (CueSettings(pitch_floor_hz=200, pitch_ceiling_hz=210), "at least 1.5 times"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(settings, words):
    with pytest.raises(SettingError, match=words):
        check(settings)


def test_a_region_outside_the_clip_is_refused(voice):
    recording, tracks, *_ = voice
    with pytest.raises(ExplanationError, match="does not lie in the clip"):
        summarise(tracks, recording, [Region(1, 2500, 2600, None, None, 1.0)])


def test_the_spectral_slope_is_praats_of_the_long_term_spectrum():
    noise = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)
    hz = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE)
    fall = 10 ** (-20 * np.clip(hz - 500, 0, 1000) / 1000 / 20)
    falling = from_samples(0.05 * np.fft.irfft(np.fft.rfft(noise) * fall), SAMPLE_RATE, "noise.wav")
    slopes = spectral_tracks(falling, 200)["slope_500_1500_db_per_khz"][5:-5]
    spectrum = call(parselmouth.Sound(falling.samples.astype(float), SAMPLE_RATE), "To Ltas", 50)
    said = call(spectrum, "Report spectral trend", 500, 1500, "Linear", "Least squares")
    praat = 1000 * float(re.search(r"Slope: (\S+) dB/Hz", said)[1])
    assert praat == pytest.approx(-20, abs=0.2) and slopes.mean() == pytest.approx(praat, abs=0.2)


def test_another_gain_moves_no_cue_but_the_level():
    voice = read(next(sample for sample in samples() if sample.name == "neutral_woman").path)
    speech = speech_segments(voice)
    usual, *others = (
        {v.cue: v.value for v in magnitudes(measure(clip, CueSettings(sex="female"), speech))}
        for clip in (
            from_samples((gain * voice.samples + offset).astype(np.float32), SAMPLE_RATE, "voice.wav")
            # Beyond full scale, in the last bits, and with a sound card's constant offset.
            for gain, offset in ((1, 0), (0.25, 0), (9 / np.abs(voice.samples).max(), 0), (0.002, 0), (1, 0.1))
        )
    )
    for other in others:
        known = [name for name in usual if usual[name] is not None]
        moved = {name for name in known if other[name] != pytest.approx(usual[name], rel=0.02)}
        assert moved == set() and other["spectral_slope"] == pytest.approx(usual["spectral_slope"], abs=1e-3)


def test_a_voice_below_the_lowest_pitch_of_hnr_is_marked_and_does_not_discredit_its_jitter():
    (low, _), (usual, _) = (pulse_train(np.full(int(1.6 * f0_hz), 1 / f0_hz)) for f0_hz in (66.0, 120.0))
    marks = {}
    for name, sound in (("low", low), ("usual", usual)):
        recording, tracks = tracks_of(sound)
        marks[name] = {v.cue: v.reliability for v in summarise(tracks, recording, []).values}
    assert "F0 lies below 75 Hz" in marks["low"]["hnr"] and marks["low"]["cpps"] == ""
    assert "HNR" not in marks["low"]["jitter"] and marks["usual"]["hnr"] == ""


def test_formants_of_narrow_sound_are_all_marked(voice):
    recording, tracks, *_ = voice
    found = dataclasses.replace(quality(recording, speech_segments(recording)), narrowband=True)
    marks = {v.cue: v.reliability for v in magnitudes(tracks, quality=found)}
    assert all("telephone" in marks[f"f{k}_{what}"] for k in (1, 2, 3) for what in ("mean", "bandwidth"))
    assert "telephone" not in marks["spectral_slope"]


def test_every_cue_is_reported_for_the_clip_each_region_and_all_together(voice):
    recording, tracks, *_ = voice
    regions = [Region(1, 0.5, 0.9, 100, 900, 0.6), Region(2, 0.8, 1.2, None, None, 0.4)]
    summary = summarise(tracks, recording, regions)
    assert {(v.cue, v.scope) for v in summary.values} == {
        (c.name, s) for c in CUES for s in ("clip", "1", "2", ALL_REGIONS)
    }
    both = summary.value("f0_mean", ALL_REGIONS).count
    assert both < sum(summary.value("f0_mean", s).count for s in "12")
