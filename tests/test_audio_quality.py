"""Known answers for level, clipping, noise, bandwidth and the warnings drawn from them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ser_core.audio import SAMPLE_RATE, Recording, Source, decode, from_samples
from ser_core.quality import bandwidth_hz, quality, snr_db
from ser_core.settings import settings
from ser_core.speech import Segment, speech_mask, speech_segments
from tests.bad_inputs import ffmpeg, voice, wav

SPOKEN = (Segment(0.4, 1.6),)


def white(level: float, count: int, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def noisy_voice(snr: float, seed: int = 0) -> np.ndarray:
    """Return the voice with white noise, at a ratio over its spoken part."""
    clean = voice(3.0)
    power = np.mean(clean[int(0.4 * SAMPLE_RATE) : int(2.6 * SAMPLE_RATE)] ** 2)
    return clean + white(math.sqrt(power / 10 ** (snr / 10)), len(clean), seed)


def band_limited(samples: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[(frequencies < low_hz) | (frequencies > high_hz)] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


@pytest.mark.parametrize("snr", [40, 30, 20, 10, 5, 0])
@pytest.mark.parametrize("seed", [0, 1])
def test_snr_of_known_segments_is_right_within_one_db(snr: int, seed: int) -> None:
    assert snr_db(noisy_voice(snr, seed), (Segment(0.4, 2.6),)) == pytest.approx(snr, abs=1)


def test_snr_on_real_speech_is_within_what_the_docstring_says() -> None:
    folder = next(
        (f / "ravdess" / "audio" for f in settings().corpora_dirs if (f / "ravdess" / "audio").is_dir()), None
    )
    if folder is None:
        pytest.skip("RAVDESS is not here")
    from ser_core.audio import read

    errors = []
    for path in sorted(folder.glob("*.flac"))[::120]:
        clean = read(path)
        spoken = speech_mask(speech_segments(clean), np.arange(len(clean.samples)) / SAMPLE_RATE)
        power = float(np.mean(clean.samples[spoken] ** 2))
        for snr in (20, 10, 0):
            loud = clean.samples + white(math.sqrt(power / 10 ** (snr / 10)), len(clean.samples))
            noisy = from_samples(loud / np.abs(loud).max(), SAMPLE_RATE, "x")
            speech = speech_segments(noisy)
            if speech:
                errors.append(snr_db(noisy.samples, speech) - snr)
    assert len(errors) > 24
    assert np.quantile(np.abs(errors), 0.9) < 1.1
    assert np.max(np.abs(errors)) < 2.7


def test_snr_does_not_care_for_level_or_offset() -> None:
    samples = noisy_voice(20)
    expected = snr_db(samples, (Segment(0.4, 2.6),))
    assert snr_db(0.1 * samples + 0.2, (Segment(0.4, 2.6),)) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("samples", "speech"),
    [(voice(), ()), (voice(), (Segment(0.0, 1.99),)), (white(0.1, 32_000), (Segment(0.5, 1.0), Segment(1.2, 1.21)))],
    ids=["nobody speaks", "no pause", "speech under the noise"],
)
def test_snr_is_nan_where_it_cannot_be_said(samples: np.ndarray, speech: tuple[Segment, ...]) -> None:
    value = snr_db(samples, speech)
    assert math.isnan(value) or value < -10


def test_digital_silence_in_the_pauses_gives_a_large_but_finite_ratio() -> None:
    samples = np.where(speech_mask(SPOKEN, np.arange(32_000) / SAMPLE_RATE), voice(), 0).astype(np.float32)
    assert 60 < snr_db(samples, SPOKEN) < 110


@pytest.mark.parametrize("edge_hz", [3400, 5000, 6500])
def test_bandwidth_finds_the_edge_of_a_filter_within_350_hz(edge_hz: int) -> None:
    samples = band_limited(white(0.1, 48_000), 100, edge_hz)
    assert bandwidth_hz(samples, ()) == pytest.approx(edge_hz, abs=350)


def test_bandwidth_of_white_noise_is_half_the_rate_of_the_source() -> None:
    assert bandwidth_hz(white(0.1, 48_000), ()) == 8000
    assert bandwidth_hz(white(0.1, 48_000), (), source_rate=11_025) == 5512.5


def test_telephone_speech_is_narrowband_and_the_same_voice_in_full_is_not() -> None:
    wide = from_samples(voice(), SAMPLE_RATE, "x")
    narrow = from_samples(band_limited(voice(), 300, 3400), SAMPLE_RATE, "x")
    assert not quality(wide, SPOKEN).narrowband
    assert quality(narrow, SPOKEN).narrowband
    assert quality(decode(wav(voice(rate=8000), 8000), "x"), SPOKEN).narrowband


def test_real_speech_is_wide_and_turns_narrow_behind_a_telephone() -> None:
    from ser_core.audio import read

    paths = [
        path
        for corpus in ("emodb", "ravdess", "emotale")
        for folder in settings().corpora_dirs
        for path in sorted((folder / corpus / "audio").glob("*.flac"))[::150]
    ]
    if not paths:
        pytest.skip("no corpora here")
    for path in paths:
        clean = read(path)
        speech = speech_segments(clean)
        phone = from_samples(band_limited(clean.samples, 300, 3400), SAMPLE_RATE, "x")
        assert not quality(clean, speech).narrowband, path.name
        assert quality(phone, speech).narrowband, path.name


@pytest.mark.parametrize("ceiling", [0.1, 0.5, 1.0])
def test_clipping_is_found_at_any_level_and_its_share_is_that_of_the_flat_samples(ceiling: float) -> None:
    loud = (voice() * 8 * ceiling).clip(-ceiling, ceiling)
    expected = float(np.mean(np.abs(loud) >= ceiling))
    found = decode(wav(loud), "x").source.clipped_share
    assert expected > 0.01
    assert 0.8 * expected < found <= expected


@pytest.mark.parametrize("rate", [16_000, 44_100, 96_000])
def test_clipping_survives_resampling_because_it_is_measured_before(rate: int) -> None:
    loud = (voice(rate=rate) * 8).clip(-1, 1)
    share = decode(wav(loud, rate), "x").source.clipped_share
    assert share == pytest.approx(float(np.mean(np.abs(loud) >= 1)), rel=0.2)


def test_clipping_on_one_side_or_in_one_channel_counts() -> None:
    one_side = (voice() * 8).clip(-5, 1) / 5
    assert from_samples(one_side, SAMPLE_RATE, "x").source.clipped_share > 0.005
    one_channel = np.stack([voice(), (voice() * 8).clip(-1, 1)], axis=1)
    assert from_samples(one_channel, SAMPLE_RATE, "x").source.clipped_share > 0.01


def test_clipping_is_found_in_an_mp3() -> None:
    loud = (voice(rate=44_100) * 8).clip(-1, 1)
    recording = decode(ffmpeg(loud, 44_100, "mp3", "libmp3lame"), "x")
    whole = decode(ffmpeg(voice(rate=44_100), 44_100, "mp3", "libmp3lame"), "x")
    assert recording.source.lossy
    assert recording.source.clipped_share > 0.001
    assert whole.source.clipped_share == 0


@given(frequency=st.floats(80, 3000), amplitude=st.floats(0.1, 0.999), seed=st.integers(0, 100))
@hypothesis_settings(max_examples=30)
def test_whole_sounds_are_never_called_clipped(frequency: float, amplitude: float, seed: int) -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = amplitude * np.sin(2 * np.pi * frequency * time) * (0.9 + 0.1 * np.sin(2 * np.pi * 3 * time))
    assert decode(wav(tone), "x").source.clipped_share < 0.001
    assert decode(wav(np.clip(white(0.1, 16_000, seed), -0.99, 0.99)), "x").source.clipped_share == 0


def test_peak_is_that_of_the_source() -> None:
    assert quality(decode(wav(0.5 / np.abs(voice()).max() * voice()), "x"), SPOKEN).peak_dbfs == pytest.approx(
        -6.02, abs=0.01
    )


def test_peak_is_measured_where_the_source_does_not_say_and_clipping_is_nan() -> None:
    bare = Recording(voice(), "x", "", Source("", "", SAMPLE_RATE, 1))
    measured = quality(bare, SPOKEN)
    assert measured.peak_dbfs == pytest.approx(20 * math.log10(float(np.abs(voice()).max())))
    assert math.isnan(measured.clipped_share)


def test_shares_are_of_the_whole_clip() -> None:
    measured = quality(from_samples(voice(), SAMPLE_RATE, "x"), (Segment(0.4, 0.9), Segment(1.0, 1.5)), 0.4)
    assert measured.duration_s == 2
    assert measured.speech_share == pytest.approx(0.5)
    assert measured.voiced_share == 0.4
    assert math.isnan(quality(from_samples(voice(), SAMPLE_RATE, "x"), SPOKEN).voiced_share)


def test_good_recording_has_no_warnings() -> None:
    assert quality(from_samples(voice(), SAMPLE_RATE, "x"), SPOKEN).warnings == ()


@pytest.mark.parametrize(
    ("speech", "words"),
    [((), "No speech was found"), ((Segment(0.5, 0.8),), "little speech (0.3 s, 15 % of the recording)")],
)
def test_missing_speech_is_said(speech: tuple[Segment, ...], words: str) -> None:
    warnings = quality(from_samples(voice(), SAMPLE_RATE, "x"), speech).warnings
    assert any(words in warning for warning in warnings)
