"""Long recordings are decoded in pieces: the same samples as at once, from any container, in bounded memory."""

import itertools
import tracemalloc

import numpy as np
import pytest

from ser_core import speech
from ser_core.audio import MAX_CHANNELS, SAMPLE_RATE, decode, read
from ser_core.diarisation import split
from ser_core.errors import AudioError
from ser_core.long_audio import MAX_SECONDS, clock, long_sound, open_long, part_name
from ser_core.speech import AROUND_S, LONGEST_S, Segment, Utterance, speech_segments, utterances
from tests.bad_inputs import ffmpeg, flac, voice, wav


def whole(sound) -> np.ndarray:
    return np.concatenate(list(sound.blocks()))


def coded(ending: str, rate: int) -> bytes:
    """Six seconds of voice in that container."""
    samples = voice(6.0, rate)
    if ending in ("wav", "flac", "ogg", "mp3"):
        subtype = {"ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}.get(ending, "PCM_16")
        return wav(samples, rate, subtype, ending.upper())
    return ffmpeg(samples, rate, *{"m4a": ("mp4", "aac"), "webm": ("webm", "libopus")}[ending])


@pytest.mark.parametrize(
    ("ending", "rate"),
    [
        ("wav", 16_000),
        ("wav", 44_100),
        ("flac", 48_000),
        ("mp3", 44_100),
        ("ogg", 44_100),
        ("m4a", 44_100),
        ("webm", 48_000),
    ],
)
def test_pieces_are_the_samples_that_decoding_at_once_gives(ending: str, rate: int) -> None:
    data = coded(ending, rate)
    sound = long_sound(data, f"a.{ending}")
    expected = decode(data, f"a.{ending}").samples
    assert np.array_equal(whole(sound), expected)
    part = sound.stretch(3.25, 5.0).samples
    assert len(part) == 28_000
    assert np.abs(part - expected[52_000:80_000]).max() < 1e-5


def test_a_part_of_adaptively_coded_sound_is_decoded_from_the_start() -> None:
    sound = long_sound(wav(voice(6.0), subtype="G721_32"), "a.wav")
    assert np.array_equal(sound.stretch(3.25, 5.0).samples, whole(sound)[52_000:80_000])


def test_channels_become_one_the_same_way_all_through() -> None:
    left = voice(4.0)
    table = np.stack([left, -left], axis=1)
    sound = long_sound(wav(table), "opposed.wav")
    assert sound.channel is not None
    assert np.abs(whole(sound)).max() > 0.05


def test_a_file_on_the_disk_is_the_same_as_its_bytes(tmp_path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(voice(3.0)))
    sound = open_long(path)
    assert np.array_equal(whole(sound), read(path).samples)
    assert sound.sha256 == read(path).sha256
    assert sound.stated_s == pytest.approx(3.0)


def test_memory_does_not_grow_with_length() -> None:
    second = voice(1.0)
    files = {minutes: flac(np.tile(second, 60 * minutes)) for minutes in (1, 8)}
    peaks = {}
    for minutes, data in files.items():
        tracemalloc.start()
        for _ in long_sound(data, "a.flac").blocks():
            pass
        peaks[minutes] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[8] < 1.2 * peaks[1]


@pytest.mark.parametrize(
    ("data", "part"),
    [(b"", "is empty"), (b"hello " * 100, "a text file"), (wav(voice(2.0))[:20_000], "is cut off")],
)
def test_what_cannot_be_followed_is_refused_in_a_sentence(data: bytes, part: str) -> None:
    with pytest.raises(AudioError, match=part):
        long_sound(data, "a.wav")


def test_too_many_channels_and_too_long_a_file_are_refused(tmp_path) -> None:
    many = wav(np.zeros((20_000, MAX_CHANNELS + 1), np.float32))
    with pytest.raises(AudioError, match="channels"):
        long_sound(many, "a.wav")
    long = flac(np.zeros(int((MAX_SECONDS + 60) * 4_000), np.int16), 4_000)
    with pytest.raises(AudioError, match=r"66 min long and the limit is 65 min; cut out the part to explain\.$"):
        long_sound(long, "a.flac")


def test_a_missing_file_and_a_part_outside_are_refused(tmp_path) -> None:
    with pytest.raises(AudioError, match="cannot be read"):
        open_long(tmp_path / "none.wav")
    sound = long_sound(wav(voice(3.0)), "a.wav")
    with pytest.raises(AudioError, match=r"no sound from 5\.00 to 6\.00 s"):
        sound.stretch(5.0, 6.0)


def test_a_part_is_called_by_its_minutes() -> None:
    assert clock(3723.44) == "62:03.4"
    assert clock(59.97) == "1:00.0"
    assert part_name("a.mp3", 5, 65.25) == "a.mp3 0:05.0–1:05.2"


# --- utterances -------------------------------------------------------------------------------------------------------


def blocks(samples: np.ndarray, size: int = 4096):
    return (samples[i : i + size] for i in range(0, len(samples), size))


def spoken(times: int) -> np.ndarray:
    """A voice of 2 s that comes again and again after 0.8 s."""
    return np.concatenate([np.zeros(8000, np.float32), *[voice(2.0), np.zeros(12_800, np.float32)] * times])


def test_utterances_are_found_where_they_lie_across_windows_with_their_own_samples() -> None:
    samples = spoken(30)
    found = list(utterances(blocks(samples)))
    whole_file = speech_segments_of(samples)
    assert len(found) >= 25
    for each in found:
        first, last = (round(at_s * SAMPLE_RATE) for at_s in (each.speech.start_s, each.speech.end_s))
        assert np.array_equal(each.spoken, samples[first:last])
        assert np.array_equal(each.samples, samples[first - each.before : last + each.after])
    in_pieces = sum(each.speech.end_s - each.speech.start_s for each in found)
    at_once = sum(s.end_s - s.start_s for s in whole_file)
    assert in_pieces == pytest.approx(at_once, rel=0.05)
    assert all(a.speech.end_s <= b.speech.start_s for a, b in itertools.pairwise(found))


def test_an_utterance_comes_with_the_sound_around_it_up_to_half_the_pause() -> None:
    most = round(AROUND_S * SAMPLE_RATE)
    samples = np.concatenate([spoken(12), *[voice(2.0), np.zeros(2000, np.float32)] * 8, voice(2.0)])
    found = list(utterances(blocks(samples)))
    ends = [0.0, *(each.speech.end_s for each in found)]
    for number, each in enumerate(found):
        pause = round((each.speech.start_s - ends[number]) * SAMPLE_RATE)
        assert each.before == min(most, pause if number == 0 else pause // 2)
        if number:
            assert abs(found[number - 1].after - each.before) <= 1  # half of the same pause, or the most
    assert found[-1].after == min(most, len(samples) - round(found[-1].speech.end_s * SAMPLE_RATE))
    assert {each.before for each in found} > {most}


def test_pieces_of_an_utterance_share_its_sound_without_a_gap_or_an_overlap(monkeypatch) -> None:
    from ser_core import diarisation

    monkeypatch.setattr(diarisation, "cuts", lambda spoken: [1.0, 2.5])
    whole = Utterance(Segment(10.0, 14.0), np.arange(5 * SAMPLE_RATE), SAMPLE_RATE // 4, 3 * SAMPLE_RATE // 4)
    pieces = split(whole)
    assert [(each.speech.start_s, each.speech.end_s) for each in pieces] == [(10.0, 11.0), (11.0, 12.5), (12.5, 14.0)]
    assert np.array_equal(np.concatenate([each.samples for each in pieces]), whole.samples)
    assert np.array_equal(np.concatenate([each.spoken for each in pieces]), whole.spoken)
    assert [(each.before, each.after) for each in pieces] == [(whole.before, 0), (0, 0), (0, whole.after)]


def speech_segments_of(samples: np.ndarray) -> tuple[Segment, ...]:
    from ser_core.audio import from_samples

    return speech_segments(from_samples(samples, SAMPLE_RATE, "whole"))


def test_the_first_utterance_comes_before_the_rest_is_read() -> None:
    samples = spoken(30)
    read_so_far = 0

    def counted():
        nonlocal read_so_far
        for block in blocks(samples):
            read_so_far += len(block)
            yield block

    next(utterances(counted()))
    assert read_so_far <= 9 * SAMPLE_RATE


def test_speech_without_a_pause_is_cut_into_clips_of_bounded_length() -> None:
    found = list(utterances(blocks(voice(50.0))))
    assert found
    assert max(each.speech.end_s - each.speech.start_s for each in found) <= LONGEST_S + 0.2


def test_silence_holds_no_utterance() -> None:
    assert list(utterances(blocks(np.zeros(60 * SAMPLE_RATE, np.float32)))) == []


def test_a_detector_that_misses_what_begins_with_its_window_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, starts = 16_000, np.arange(1.0, 100.0, 1.05)
    sound = np.zeros(101 * rate, np.float32)
    for start in starts:
        sound[int(start * rate) : int((start + 0.7) * rate)] = 0.1

    def detector(samples: np.ndarray, **settings: float) -> list[tuple[int, int]]:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], samples != 0, [0]])))
        return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if a >= rate // 2]

    monkeypatch.setattr(speech, "_find", detector)
    found = list(speech.utterances(sound[at : at + 8192] for at in range(0, len(sound), 8192)))
    np.testing.assert_allclose([each.speech.start_s for each in found], starts, atol=1e-3)
    assert all(each.speech.end_s - each.speech.start_s == pytest.approx(0.7, abs=1e-3) for each in found)
