import dataclasses
from pathlib import Path

import numpy as np
import parselmouth
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from ser_core import conversion
from ser_core.conversion.check import ORIGINAL, summary
from ser_core.conversion.voice import Voice, band_centres_hz, change, voice_of
from ser_core.errors import AudioError, SettingError
from ser_core.parallel import each

RATE = 16_000
FORMANTS_HZ = (550.0, 1600.0, 2600.0, 3600.0)
FIFTH_HZ = 4500.0  # Praat is asked for five


def vowel(f0_hz: float, *, scale: float = 1.0, seconds: float = 1.2, vibrato: float = 0.08) -> np.ndarray:
    """A pulse train with a known contour through four known resonances."""
    times = np.arange(int(seconds * RATE)) / RATE
    contour = f0_hz * (1 + vibrato * np.sin(2 * np.pi * 2.5 * times))
    phase = np.cumsum(contour) / RATE
    source = np.diff(np.floor(phase), prepend=0.0) + 0.002 * np.random.default_rng(0).normal(size=len(times))
    for hz in (*FORMANTS_HZ, FIFTH_HZ):
        radius = np.exp(-np.pi * 80 / RATE)
        source = lfilter([1.0], [1, -2 * radius * np.cos(2 * np.pi * hz * scale / RATE), radius**2], source)
    return (0.3 * source / np.abs(source).max()).astype(np.float32)


def f0_of(samples: np.ndarray) -> np.ndarray:
    track = parselmouth.Sound(samples.astype(float), float(RATE)).to_pitch_ac(pitch_floor=60, pitch_ceiling=600)
    return np.interp(np.arange(0.1, 1.1, 0.01), track.xs(), track.selected_array["frequency"])


def plain(name: str, f0_hz: float, scale: float = 1.0) -> Voice:
    return Voice(name, f0_hz, 4.0, tuple(hz * scale for hz in FORMANTS_HZ), (0.0,) * 24)


def test_a_voice_is_measured_as_it_was_made() -> None:
    voice = voice_of("someone", [vowel(180), vowel(190), vowel(200)])
    assert voice.f0_hz == pytest.approx(190, rel=0.03)
    assert np.allclose(voice.formants_hz[1:], FORMANTS_HZ[1:], rtol=0.04)
    assert voice.formants_hz[0] == pytest.approx(FORMANTS_HZ[0], rel=0.15)  # drawn to a harmonic
    assert np.mean(voice.balance_db) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("backend", conversion.BACKENDS)
@pytest.mark.parametrize(("to_hz", "scale"), [(200.0, 1.15), (110.0, 0.88)])
def test_pitch_and_formants_move_as_asked_and_timing_and_level_stay(backend: str, to_hz: float, scale: float) -> None:
    samples = vowel(150)
    source, target = plain("a", 150.0), plain("b", to_hz, scale)
    converted = conversion.convert(samples, source, target, backend)
    assert converted.shape == samples.shape and converted.dtype == np.float32
    assert np.sqrt(np.mean(converted**2)) == pytest.approx(np.sqrt(np.mean(samples**2)), rel=1e-3)
    # The whole contour in semitones is carried over, so every moment keeps its place in the speaker's range.
    assert np.allclose(f0_of(converted), to_hz / 150 * f0_of(samples), rtol=0.02)
    made = voice_of("made", [converted])
    assert np.allclose(made.formants_hz[1:], np.multiply(FORMANTS_HZ, scale)[1:], rtol=0.06)


@pytest.mark.parametrize("backend", conversion.BACKENDS)
def test_a_wider_range_widens_the_contour_in_semitones(backend: str) -> None:
    samples = vowel(150)
    wide = dataclasses.replace(plain("b", 150.0), spread_semitones=4.0 * 1.3)
    contour = 12 * np.log2(f0_of(conversion.convert(samples, plain("a", 150.0), wide, backend)) / 150)
    assert np.std(contour) == pytest.approx(1.3 * np.std(12 * np.log2(f0_of(samples) / 150)), rel=0.05)


@pytest.mark.parametrize("backend", conversion.BACKENDS)
def test_a_voice_turned_into_itself_sounds_the_same(backend: str) -> None:
    samples = vowel(150)
    again = conversion.convert(samples, plain("a", 150.0), plain("a", 150.0), backend)
    assert np.allclose(f0_of(again), f0_of(samples), rtol=0.01)
    first, second = (np.log10(np.abs(np.fft.rfft(part)[:6000]).reshape(60, 100).mean(1)) for part in (samples, again))
    assert np.corrcoef(first, second)[0, 1] > 0.97


@pytest.mark.parametrize("backend", conversion.BACKENDS)
def test_a_conversion_gives_the_same_samples_again(backend: str) -> None:
    breath = 0.05 * np.random.default_rng(0).normal(size=RATE)
    samples = np.concatenate([vowel(150), breath.astype(np.float32)])
    first, again = (conversion.convert(samples, plain("a", 150.0), plain("b", 200.0, 1.1), backend) for _ in range(2))
    assert (first == again).all()


@pytest.mark.parametrize("backend", conversion.BACKENDS)
def test_breath_and_silence_survive(backend: str) -> None:
    breath = (0.05 * np.random.default_rng(0).normal(size=RATE)).astype(np.float32)
    for samples in (breath, np.zeros(RATE, np.float32)):
        converted = conversion.convert(samples, plain("a", 150.0), plain("b", 210.0, 1.1), backend)
        assert converted.shape == samples.shape and np.isfinite(converted).all()


def test_the_balance_of_the_target_is_taken_over() -> None:
    tilt = np.linspace(4, -4, 24)
    bright = dataclasses.replace(plain("b", 150.0), balance_db=tuple(-tilt))
    wanted = change(dataclasses.replace(plain("a", 150.0), balance_db=tuple(tilt)), bright)
    noise = np.random.default_rng(0).normal(size=8 * RATE) * 0.05
    power = [np.abs(np.fft.rfft(part)) ** 2 for part in (noise, conversion._balanced(noise, wanted))]
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    for centre, gain in list(zip(band_centres_hz(), wanted.gains_db, strict=True))[4:22]:
        near = np.abs(hz - centre) < 60
        assert 10 * np.log10(power[1][near].mean() / power[0][near].mean()) == pytest.approx(gain, abs=1.0)


@settings(max_examples=50)
@given(st.floats(80, 350), st.floats(80, 350), st.floats(0.6, 1.7), st.floats(0.1, 20), st.floats(0.1, 20))
def test_a_change_stays_within_natural_bounds(
    from_hz: float, to_hz: float, scale: float, own: float, other: float
) -> None:
    source = dataclasses.replace(plain("a", from_hz), spread_semitones=own)
    target = dataclasses.replace(plain("b", to_hz, scale), spread_semitones=other)
    wanted = change(source, target)
    assert 0.75 <= wanted.scale <= 1.35 and 0.75 <= wanted.range_factor <= 1.33
    assert wanted.f0(np.array([from_hz, 0.0])) == pytest.approx([to_hz, 0.0])
    if 0.76 < scale < 1.34:
        assert wanted.scale == pytest.approx(scale)


def test_many_small_tasks_keep_their_order_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(range(-20, 20))
    assert list(each(abs, items)) == [abs(item) for item in items]
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert list(each(abs, items)) == [abs(item) for item in items]
    assert list(each(abs, [])) == []


def test_converted_files_are_made_once(tmp_path: Path) -> None:
    sf.write(tmp_path / "clip.wav", vowel(150), RATE)
    job = conversion.Job(
        str(tmp_path / "clip.wav"), plain("a", 150.0), plain("b", 200.0), "praat", str(tmp_path / "out" / "clip.flac")
    )
    conversion.convert_files([job])
    made = Path(job.out).stat().st_mtime_ns
    conversion.convert_files([job])
    assert Path(job.out).stat().st_mtime_ns == made
    samples, rate = sf.read(job.out)
    assert rate == RATE and len(samples) == len(vowel(150))


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(SettingError, match="praat, world"):
        conversion.convert(vowel(150), plain("a", 150.0), plain("b", 200.0), "magic")
    with pytest.raises(AudioError, match="too little"):
        voice_of("nobody", [np.zeros(RATE, np.float32)])


def test_the_summary_counts_clips_and_weighs_words() -> None:
    import pandas as pd

    rows = []
    for place in range(6):
        for version, moved, like, errors in ((ORIGINAL, 0.0, 0.5, 0), ("praat", 2.0, 0.7, 1), ("world", 1.0, 0.6, 2)):
            asked = float(place)
            rows.append(
                {
                    "clip": str(place),
                    "speaker": f"s{place % 3}",
                    "version": version,
                    "emotion": "anger",
                    "f0_asked_semitones": asked,
                    "f0_got_semitones": moved * asked,
                    "formants_asked_percent": asked,
                    "formants_got_percent": moved * asked + 3,
                    "formants_got_fixed_percent": moved * asked,
                    "like_source": 0.55,
                    "like_target": like,
                    "words": 4,
                    "word_errors": errors,
                    "log-mel-resnet": "anger" if version == ORIGINAL or place < 3 else "fear",
                    "egemaps-logistic": "fear",
                }
            )
    found = summary(pd.DataFrame(rows), replicates=100).set_index(["backend", "measure"])["value"]
    assert found["praat", "F0 in semitones, moved by asked (slope)"] == pytest.approx(2)
    assert found["praat", "formants in percent, ceiling by voice, moved by asked (slope)"] == pytest.approx(2)
    assert found["world", "formants in percent, ceiling by voice, off what was asked"] == pytest.approx(3)
    assert found["world", "word error rate: change"] == pytest.approx(0.5)
    assert found["praat", "nearer to target than to source: before"] == 0
    assert found["praat", "nearer to target than to source: after"] == 1
    assert found["praat", "accuracy of log-mel-resnet: change"] == pytest.approx(-0.5)
