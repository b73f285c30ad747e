"""What is read, what is refused and in which words, and that time stays where it was."""

import hashlib
import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ser_core.audio import (
    MAX_CHANNELS,
    MAX_SOURCE_RATE,
    MIN_SOURCE_RATE,
    SAMPLE_RATE,
    Recording,
    clean_name,
    decode,
    from_samples,
    read,
)
from ser_core.errors import AudioError
from ser_core.long_audio import long_sound
from ser_core.quality import quality
from ser_core.speech import speech_segments
from tests.bad_inputs import (
    AWKWARD_INPUTS,
    BAD_INPUTS,
    AwkwardInput,
    BadInput,
    cut,
    ffmpeg,
    flac,
    scramble,
    voice,
    wav,
    with_rate,
)


def clicks(rate: int, times_s: tuple[float, ...] = (0.5, 1.5), seconds: float = 2.0) -> np.ndarray:
    """Return a faint noise with narrow pulses centred on known times."""
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.001 * np.random.default_rng(5).standard_normal(len(time))
    for at_s in times_s:
        samples += 0.7 * np.exp(-(((time - at_s) / 0.0004) ** 2))
    return samples.astype(np.float32)


def click_times(recording: Recording) -> tuple[float, float]:
    level = np.abs(recording.samples)
    return int(np.argmax(level[:SAMPLE_RATE])) / SAMPLE_RATE, 1 + int(np.argmax(level[SAMPLE_RATE:])) / SAMPLE_RATE


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_refused_with_its_own_sentence(bad: BadInput) -> None:
    with pytest.raises(AudioError) as caught:
        decode(bad.make(), bad.file_name, max_seconds=120)
    message = str(caught.value)
    assert bad.words in message
    assert message.startswith("'")
    assert message.endswith(".")
    assert ";" in message or ", so " in message or ", and " in message, "says what is wrong but not what to do"
    assert all(character.isprintable() for character in message)
    assert len(message) < 300


def test_there_are_at_least_25_bad_inputs_with_names_of_their_own() -> None:
    assert len({bad.name for bad in BAD_INPUTS}) == len(BAD_INPUTS) >= 25
    assert len({awkward.name for awkward in AWKWARD_INPUTS}) == len(AWKWARD_INPUTS) >= 8


@pytest.mark.parametrize("awkward", AWKWARD_INPUTS, ids=lambda awkward: awkward.name)
def test_awkward_input_is_accepted_with_its_warning(awkward: AwkwardInput) -> None:
    recording = decode(awkward.make(), awkward.file_name)
    warnings = quality(recording, speech_segments(recording)).warnings
    if awkward.words:
        assert any(awkward.words in warning for warning in warnings), warnings
    else:
        assert warnings == ()
    assert all(warning.endswith(".") and warning[0].isupper() for warning in warnings)
    assert recording.name.isprintable()
    assert "/" not in recording.name


@given(st.binary(max_size=600))
@hypothesis_settings(max_examples=150)
@example(b"\xff\xfb\x90\x64" + bytes(200))
@example(b"\xff\xf1\x50\x80" + bytes(200))
@example(b"OggS" + bytes(20))
@example(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f")
def test_random_bytes_never_raise_anything_but_audio_error(data: bytes) -> None:
    with pytest.raises(AudioError):
        decode(data, "x.wav")


STARTS = {
    "wav": wav(voice(1.0)),
    "flac": flac(voice(1.0)),
    "ogg": wav(voice(1.0), subtype="VORBIS", container="OGG"),
    "mp3": wav(voice(1.0), subtype="MPEG_LAYER_III", container="MP3"),
    "m4a": ffmpeg(voice(1.0), SAMPLE_RATE, "ipod", "aac"),
    "webm": ffmpeg(voice(1.0, 48_000), 48_000, "webm", "libopus"),
    "aac": ffmpeg(voice(1.0), SAMPLE_RATE, "adts", "aac"),
    "aiff": wav(voice(1.0), container="AIFF"),
    "avi": b"RIFF\x00\x10\x00\x00AVI LIST",
    "wma": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
    "amr": b"#!AMR\n",
    "caf": b"caff\x00\x01\x00\x00desc",
    "au": wav(voice(1.0), container="AU"),
    "sphere": wav(voice(1.0), container="NIST"),
}


@pytest.mark.parametrize("start", STARTS)
@given(data=st.data())
@hypothesis_settings(max_examples=12)
def test_damage_anywhere_gives_a_recording_or_an_audio_error(start: str, data: st.DataObject) -> None:
    whole = STARTS[start]
    kept = whole[: data.draw(st.integers(1, len(whole)))]
    at = data.draw(st.integers(0, len(kept)))
    spoiled = kept[:at] + data.draw(st.binary(max_size=60)) + kept[at:]
    try:
        recording = decode(spoiled, "x")
    except AudioError:
        return
    assert np.isfinite(recording.samples).all()
    assert 0.25 < recording.duration_s <= 120


@pytest.mark.parametrize(("container", "subtype", "step"), [("WAV", "PCM_16", 2**-15), ("FLAC", "PCM_24", 2**-23)])
@given(seed=st.integers(0, 10_000), count=st.integers(5_000, 30_000))
@hypothesis_settings(max_examples=15)
def test_lossless_round_trip_stays_within_quantisation(
    container: str, subtype: str, step: float, seed: int, count: int
) -> None:
    samples = np.random.default_rng(seed).uniform(-0.99, 0.99, count).astype(np.float32)
    recording = decode(wav(samples, subtype=subtype, container=container), "x")
    assert recording.samples.shape == samples.shape
    assert np.abs(recording.samples - samples).max() <= step


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 384_000])
def test_resampling_keeps_clicks_within_a_millisecond_and_the_length(rate: int) -> None:
    recording = decode(wav(clicks(rate), rate), "x")
    assert click_times(recording) == pytest.approx((0.5, 1.5), abs=0.001)
    assert abs(len(recording.samples) - 2 * SAMPLE_RATE) <= 1


def test_resampling_in_blocks_equals_resampling_at_once() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 100_003).astype(np.float32)
    once = soxr.resample(samples, 44_100, SAMPLE_RATE, quality="VHQ")
    assert np.allclose(from_samples(samples, 44_100, "x").samples, once, atol=1e-6)


FORMATS = {
    "FLAC": lambda: flac(clicks(44_100), 44_100),
    "MP3": lambda: wav(clicks(44_100), 44_100, "MPEG_LAYER_III", "MP3"),
    "MP3 by LAME": lambda: ffmpeg(clicks(44_100), 44_100, "mp3", "libmp3lame"),
    "OGG Vorbis": lambda: wav(clicks(44_100), 44_100, "VORBIS", "OGG"),
    "OGG Opus": lambda: ffmpeg(clicks(48_000), 48_000, "ogg", "libopus"),
    "M4A": lambda: ffmpeg(clicks(44_100), 44_100, "ipod", "aac"),
    "3GP": lambda: ffmpeg(clicks(44_100), 44_100, "3gp", "aac"),
    "WebM": lambda: ffmpeg(clicks(48_000), 48_000, "webm", "libopus"),
    "WebM from a browser": lambda: ffmpeg(clicks(48_000), 48_000, "webm", "libopus", live=True),
    "WMA": lambda: ffmpeg(clicks(44_100), 44_100, "asf", "pcm_s16le"),
    "AVI": lambda: ffmpeg(clicks(44_100), 44_100, "avi", "pcm_s16le"),
    "AIFF": lambda: wav(clicks(44_100), 44_100, container="AIFF"),
    "AU": lambda: wav(clicks(44_100), 44_100, container="AU"),
    "CAF": lambda: wav(clicks(44_100), 44_100, container="CAF"),
    "NIST SPHERE": lambda: wav(clicks(16_000), 16_000, container="NIST"),
    "WAV with ADPCM": lambda: ffmpeg(clicks(44_100), 44_100, "wav", "adpcm_ms"),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_keeps_duration_and_clicks(form: str) -> None:
    recording = decode(FORMATS[form](), "no ending")
    assert click_times(recording) == pytest.approx((0.5, 1.5), abs=0.001)
    assert recording.duration_s == pytest.approx(2.0, abs=0.05)


def test_m4a_padding_of_the_last_frame_is_cut_off() -> None:
    recording = decode(FORMATS["M4A"](), "x")
    assert recording.duration_s == pytest.approx(2.0, abs=0.001)


def test_raw_aac_is_late_by_its_unstated_delay_as_the_warning_says() -> None:
    recording = decode(ffmpeg(clicks(44_100), 44_100, "adts", "aac"), "x")
    late_s = click_times(recording)[0] - 0.5
    assert 0.001 < late_s < 0.05


def test_recording_is_mono_float32_read_only_with_the_hash_of_the_file() -> None:
    data = wav(np.stack([voice(), voice()], axis=1), 16_000)
    recording = decode(data, "clip.wav")
    assert recording.samples.dtype == np.float32
    assert recording.samples.ndim == 1
    assert recording.sha256 == hashlib.sha256(data).hexdigest()
    assert (recording.source.container, recording.source.sample_rate, recording.source.channels) == ("WAV", 16_000, 2)
    with pytest.raises(ValueError, match="read-only"):
        recording.samples[0] = 1


def test_channels_are_averaged() -> None:
    left, right = voice(), np.roll(voice(), 3000)
    recording = decode(wav(np.stack([left, right], axis=1), subtype="FLOAT"), "x")
    assert recording.source.downmix == "mean"
    assert np.allclose(recording.samples, (left + right) / 2, atol=1e-6)


def test_eight_channels_of_compressed_sound_are_all_there_is_to_read() -> None:
    # PyAV reads past the eighth plane of such a frame, which ended the process.
    heard = decode(ffmpeg(voice(), SAMPLE_RATE, "adts", "aac", layout="7.1"), "eight.aac")
    alone = decode(ffmpeg(voice(), SAMPLE_RATE, "adts", "aac"), "one.aac")
    assert (heard.source.channels, alone.source.channels) == (8, 1)
    assert np.corrcoef(heard.samples, alone.samples)[0, 1] > 0.95


def test_cancelling_channels_leave_the_loudest_one() -> None:
    table = np.stack([0.7 * voice(), -0.75 * voice()], axis=1)
    recording = decode(wav(table, subtype="FLOAT"), "x")
    assert recording.source.downmix == "loudest channel"
    assert np.allclose(recording.samples, table[:, 1], atol=1e-6)


def test_one_live_channel_of_eight_is_no_cancellation() -> None:
    table = np.zeros((2 * SAMPLE_RATE, 8), np.float32)
    table[:, 3] = voice()
    recording = decode(wav(table, subtype="FLOAT"), "x")
    assert recording.source.downmix == "mean"
    assert np.allclose(recording.samples, voice() / 8, atol=1e-6)


@pytest.mark.parametrize("rate", [MIN_SOURCE_RATE - 1, MAX_SOURCE_RATE + 1])
def test_sample_rates_just_outside_are_refused(rate: int) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        decode(with_rate(wav(voice()), rate), "x")


def test_channel_limit_is_the_last_number_accepted() -> None:
    assert from_samples(np.tile(voice()[:, None], MAX_CHANNELS), SAMPLE_RATE, "x").source.channels == MAX_CHANNELS
    with pytest.raises(AudioError, match="channels"):
        from_samples(np.tile(voice()[:, None], MAX_CHANNELS + 1), SAMPLE_RATE, "x")


def test_length_limit_is_that_of_the_settings_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    data = wav(voice())
    monkeypatch.setenv("SERSCOPE_MAX_SECONDS", "1.5")
    with pytest.raises(AudioError, match=r"is 2\.0 s long and the limit is 1\.5 s"):
        decode(data, "x")
    assert decode(data, "x", max_seconds=2).duration_s == 2


def test_bomb_is_refused_without_decoding_it() -> None:
    data = flac(np.zeros(40 * 60 * SAMPLE_RATE, np.int16))
    assert len(data) < 1_000_000
    tracemalloc.start()
    with pytest.raises(AudioError, match="40 min"):
        decode(data, "bomb.flac")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("level_dbfs", [-75, -81])
def test_silence_is_told_from_quiet_speech_at_80_db_below_full_scale(level_dbfs: float) -> None:
    samples = voice() / np.abs(voice()).max() * 10 ** (level_dbfs / 20)
    if level_dbfs > -80:
        assert from_samples(samples, SAMPLE_RATE, "x").source.peak_dbfs == pytest.approx(level_dbfs, abs=0.1)
    else:
        with pytest.raises(AudioError, match="silent"):
            from_samples(samples, SAMPLE_RATE, "x")


def test_quiet_real_speech_passes(ravdess: Path) -> None:
    # Its quietest clip: rms -63 dBFS.
    assert read(ravdess / "03-01-02-02-02-02-20.flac").source.peak_dbfs < -45


@pytest.fixture
def ravdess() -> Path:
    from ser_core.settings import settings

    for folder in settings().corpora_dirs:
        if (folder / "ravdess" / "audio").is_dir():
            return folder / "ravdess" / "audio"
    pytest.skip("RAVDESS is not here")


def test_from_samples_equals_decoding_a_float_file() -> None:
    fast = np.stack([voice(rate=44_100), np.roll(voice(rate=44_100), 900)], axis=1)
    file = decode(wav(fast, 44_100, "FLOAT"), "x")
    memory = from_samples(fast, 44_100, "x")
    assert np.array_equal(file.samples, memory.samples)
    assert memory.source.container == "memory"


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8"])
def test_integer_samples_are_scaled_by_their_type(kind: str) -> None:
    info = np.iinfo(kind)
    half = (int(info.max) + 1) / 2 if info.min == 0 else 0
    scaled = np.round(voice() * (int(info.max) - half) + half).astype(kind)
    recording = from_samples(scaled, SAMPLE_RATE, "x")
    assert np.abs(recording.samples - voice()).max() < (0.02 if kind == "uint8" else 1e-4)


@pytest.mark.parametrize("samples", [np.zeros((2, 2, 2)), np.zeros(16_000, complex), np.array(["a"])])
def test_arrays_that_are_no_samples_are_refused(samples: np.ndarray) -> None:
    with pytest.raises(AudioError, match="give real numbers of shape"):
        from_samples(samples, SAMPLE_RATE, "x")


def test_no_samples_are_refused() -> None:
    with pytest.raises(AudioError, match="0 samples"):
        from_samples(np.zeros(0), SAMPLE_RATE, "x")


def test_path_faults_each_have_their_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AudioError, match=r"is a folder; give"):
        read(tmp_path)
    with pytest.raises(AudioError, match=r"'none\.wav' does not exist; check"):
        read(tmp_path / "none.wav")
    with pytest.raises(AudioError, match=r"cannot be read \(File name too long\)"):
        read(tmp_path / ("a" * 5000))
    with pytest.raises(AudioError, match=r"does not exist|cannot be read"):
        read("nul\0byte.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match=r"not a regular file"):
        read(tmp_path / "pipe.wav")
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(AudioError, match=r"is 2048 MiB large and the limit is 1024 MiB"):
        read(huge)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    locked = tmp_path / "locked.wav"
    locked.write_bytes(wav(voice()))
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AudioError, match=r"may not be read by this user; change"):
        read(locked)


def test_reading_a_path_equals_decoding_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(voice()))
    recording = read(path)
    assert recording.name == "clip.wav"
    assert np.array_equal(recording.samples, decode(path.read_bytes(), "clip.wav").samples)


def test_decoding_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for start in ("wav", "mp3", "m4a", "webm"):
        decode(STARTS[start], "clip")
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=300))
def test_clean_names_are_short_printable_base_names(name: str) -> None:
    cleaned = clean_name(name)
    assert cleaned
    assert len(cleaned) <= 60
    assert not set(cleaned) & set("/\\\n\r\t\0\u202e")
    assert clean_name(cleaned) == cleaned


def test_clean_name_keeps_urdu_and_its_joiners() -> None:
    assert clean_name("/a/خوش\u200cحال.wav") == "خوش\u200cحال.wav"


def test_truncated_and_scratched_files_are_not_silently_shortened() -> None:
    for data in (STARTS["flac"], STARTS["ogg"], STARTS["mp3"], STARTS["webm"], STARTS["wav"]):
        with pytest.raises(AudioError):
            decode(cut(data, 0.6), "x")
    with pytest.raises(AudioError, match="damaged"):
        decode(scramble(STARTS["flac"]), "x")


@pytest.mark.parametrize("riff_size", [0, 36])
def test_a_recording_that_was_stopped_before_its_length_was_written_is_read_whole(riff_size: int) -> None:
    whole = wav(voice(2.0))
    stopped = whole[:4] + riff_size.to_bytes(4, "little") + whole[8:40] + bytes(4) + whole[44:]
    assert np.array_equal(decode(stopped, "stopped.wav").samples, decode(whole, "whole.wav").samples)
    part = long_sound(stopped, "stopped.wav").stretch(0.5, 1.5)
    assert np.array_equal(part.samples, decode(whole, "whole.wav").samples[8_000:24_000])


def test_what_is_told_about_a_recording_without_sound_is_not_taken_for_sound() -> None:
    notes = b"LIST" + (60_000).to_bytes(4, "little") + bytes(60_000)
    empty = wav(voice(2.0))[:40] + bytes(4) + notes
    with pytest.raises(AudioError, match=r"too short \(0\.00 s\)"):
        decode(empty[:4] + (len(empty) - 8).to_bytes(4, "little") + empty[8:], "empty.wav")


def test_libsndfile_agrees_on_what_a_plain_file_holds() -> None:
    data = wav(voice())
    expected, _ = sf.read(io.BytesIO(data), dtype="float32")
    assert np.array_equal(decode(data, "x").samples, expected)
