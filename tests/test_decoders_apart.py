"""In a server others decode: the same samples, and what ends, stops or floods a decoder costs the reader a sentence."""

import asyncio
import functools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st

from pages.parts import server
from ser_core import audio, long_audio, predictions, workers
from ser_core.audio import decode
from ser_core.errors import AudioError
from ser_core.long_audio import LongSound, long_sound
from ser_core.predictions import PredictionsError, read_predictions
from tests import breaking
from tests.bad_inputs import ffmpeg, flac, voice, wav

GOOD = wav(voice(2.0))


@pytest.fixture(autouse=True)
def as_in_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_apart", True)


@pytest.fixture(scope="module", autouse=True)
def workers_end_with_the_tests() -> Iterator[None]:
    yield
    workers.shut_down()


def here(monkeypatch: pytest.MonkeyPatch, decode_it: Callable[[], audio.Recording]) -> audio.Recording:
    with monkeypatch.context() as patched:
        patched.setattr(workers, "_apart", False)
        return decode_it()


def decoder() -> int:
    """Return the number of the process that decodes next."""
    return workers.DECODERS.ask(5, os.getpid)


# --- the same samples -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "m4a"])
def test_others_decode_the_same_samples_bit_for_bit(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = voice(2.0, 44_100)
    data = {
        "wav": lambda: wav(np.stack([sound, 0.5 * sound], axis=1), 44_100),
        "flac": lambda: flac(sound, 44_100),
        "mp3": lambda: wav(sound, 44_100, "MPEG_LAYER_III", "MP3"),
        "m4a": lambda: ffmpeg(sound, 44_100, "mp4", "aac"),
    }[ending]()
    expected = here(monkeypatch, lambda: decode(data, "a"))
    found = decode(data, "a")
    assert found.samples.tobytes() == expected.samples.tobytes() and not found.samples.flags.writeable
    assert (found.name, found.sha256, found.source) == (expected.name, expected.sha256, expected.source)


def test_others_read_a_long_recording_and_its_parts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = flac(voice(17.0, 8_000), 8_000)
    expected = here(monkeypatch, lambda: decode(data, "a"))
    sound = long_sound(data, "a.flac")
    assert sound.stated_s == pytest.approx(17) and sound.channel == 0
    assert np.concatenate(list(sound.blocks())).tobytes() == expected.samples.tobytes()
    part = here(monkeypatch, lambda: sound.stretch(3.0, 5.0))
    process = decoder()
    assert sound.stretch(3.0, 5.0).samples.tobytes() == part.samples.tobytes()
    assert decoder() == process  # a part that was read before the end leaves the process free


def test_what_comes_before_the_damage_of_a_long_recording_is_read() -> None:
    data = bytearray(flac(voice(17.0)))
    data[len(data) * 4 // 5 :] = bytes(len(data) - len(data) * 4 // 5)
    sound, read = LongSound(bytes(data), "a.flac", "", 17.0, 0), 0
    with pytest.raises(AudioError, match=r"'a\.flac' is damaged after 1"):
        for block in sound.blocks():
            read += len(block)
    assert 10 < read / audio.SAMPLE_RATE < 17


def test_a_refusal_is_the_same_sentence_and_leaves_the_process_alone() -> None:
    process = decoder()
    with pytest.raises(AudioError, match=r"'a.wav' is cut off: about .* copy or export it again\."):
        decode(GOOD[:20_000], "a.wav")
    assert decoder() == process


# --- decoders that break ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (breaking.ends, "the decoder broke down on it"),
        (breaking.breaks, "the decoder broke down on it"),
        (breaking.hangs, "the decoder came to no end with it and was stopped"),
        (breaking.floods, "the decoder asked for more than 1.5 GB of memory for it"),
    ],
)
def test_a_decoder_that_breaks_costs_one_reader_a_sentence(
    broken: Callable, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "DECODER_S", 2.0)
    with monkeypatch.context() as patched, pytest.raises(AudioError) as told:
        patched.setattr(audio, "_decoded", broken)
        decode(GOOD, "/home/maria/a.mp3")
    assert str(told.value) == f"'a.mp3' could not be read: {words}; convert it to WAV and try again."
    assert decode(GOOD, "b.wav").duration_s == 2


def test_a_decoder_that_breaks_takes_nobody_elses_clip_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    two = workers.Workers(2)
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(two.ask, 30, time.sleep, 1.5)
        with pytest.raises(workers.EndedError):
            two.ask(30, breaking.ends)
        assert not good.done() and good.result(30) is None
    two.shut_down()


def test_a_long_recording_keeps_what_was_read_before_its_decoder_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = long_sound(flac(voice(17.0)), "a.flac")
    monkeypatch.setattr(long_audio, "_pieces", breaking.breaks_in_the_middle)
    read = 0
    with pytest.raises(AudioError, match="could not be read: the decoder broke down on it"):
        for block in sound.blocks():
            read += len(block)
    assert 10 <= read / audio.SAMPLE_RATE < 17
    assert decode(GOOD, "b.wav").duration_s == 2


def test_a_long_recording_goes_on_in_another_process_where_the_first_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = long_sound(flac(voice(17.0)), "a.flac")
    whole = np.concatenate(list(sound.blocks()))
    monkeypatch.setattr(long_audio, "_pieces", functools.partial(breaking.breaks_once, tmp_path / "broken"))
    np.testing.assert_array_equal(np.concatenate(list(sound.blocks())), whole)
    assert (tmp_path / "broken").exists()


def test_a_decoder_that_was_ended_while_it_waited_is_replaced_unnoticed() -> None:
    os.kill(decoder(), 9)
    assert len(list(long_sound(GOOD, "b.wav").blocks())) == 1


def test_a_decoder_may_take_so_much_memory_and_leaves_no_core_dump() -> None:
    core, memory = workers.DECODERS.ask(5, breaking.limits)
    assert core in (0, 1) and memory == workers.DECODER_BYTES


# --- tables -----------------------------------------------------------------------------------------------------------

ROWS = pd.DataFrame(
    {"file": ["a", "b", "c"], "speaker": ["x", "y", "y"], "emotion": ["anger", "fear", "fear"]}
    | {"p_anger": [0.75, 0.5, 0.25], "p_fear": [0.25, 0.5, 0.75], "age": [30.0, None, None]}
)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_is_read_the_same_by_a_process_that_decodes_no_clips(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ROWS.to_csv(index=False).encode() if ending == "csv" else ROWS.to_parquet()
    with monkeypatch.context() as patched:
        patched.setattr(workers, "_apart", False)
        expected = read_predictions(data, f"a.{ending}")
    decoders = {decoder()}
    pd.testing.assert_frame_equal(read_predictions(data, f"a.{ending}"), expected)
    assert decoder() in decoders and workers.TABLES.ask(5, os.getpid) not in {*decoders, os.getpid()}
    with pytest.raises(PredictionsError, match="All rows are of one speaker, 'x'"):
        read_predictions(ROWS.assign(speaker="x").to_csv(index=False).encode(), "a.csv")


@pytest.mark.parametrize("broken", [breaking.ends, breaking.floods])
def test_a_table_that_ends_or_floods_its_reader_costs_a_sentence(
    broken: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_predictions", broken)
    with pytest.raises(PredictionsError, match="give a part of it"):
        read_predictions(b"x", "a.csv")
    monkeypatch.undo()
    monkeypatch.setattr(workers, "_apart", True)
    assert len(read_predictions(ROWS.to_csv(index=False).encode(), "a.csv")) == 3


def test_the_server_has_others_decode_from_its_start_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_apart", False)
    monkeypatch.setattr(server, "_warm_up", lambda: None)

    async def serve() -> bool:
        async with server.beside(st.App("app.py")):
            return workers.decodes_apart()

    assert asyncio.run(serve())
