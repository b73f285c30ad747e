"""Praat runs in worker processes: light, equal to the direct call, and replaced when they die."""

import dataclasses
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from explain.cues import CueSettings, measure
from explain.praat import praat_panel
from explain.samples import samples
from ser_core.audio import SAMPLE_RATE, from_samples, read
from ser_core.errors import ExplanationError
from ser_core.pitch_and_level import pitch_and_level
from ser_core.workers import in_worker, shut_down, warm_up
from tests.breaking import end_yourself, take_a_while, wait_to_be_killed_once


@pytest.fixture(scope="module", autouse=True)
def workers_end_with_the_tests():
    yield
    shut_down()


def test_a_worker_imports_neither_torch_nor_streamlit():
    shut_down()  # other tests send functions of their own, whose modules then stay in the worker
    warm_up()
    in_worker(praat_panel, read(samples()[0].path).samples, SAMPLE_RATE)
    in_worker(pitch_and_level, read(samples()[0].path).samples)
    # A function made here goes over by value, so that the worker does not import this test.
    loaded = in_worker(lambda: list(__import__("sys").modules))
    assert "parselmouth" in loaded
    assert not {"torch", "streamlit", "transformers", "opensmile", "pytest"} & set(loaded)


def test_a_worker_answers_as_the_function_itself():
    recording = read(samples()[0].path)
    here = praat_panel(recording.samples, SAMPLE_RATE)
    there = in_worker(praat_panel, recording.samples, SAMPLE_RATE)
    np.testing.assert_array_equal(here.pulses_s, there.pulses_s)
    for name, track in here.tracks.items():
        np.testing.assert_array_equal(track, there.tracks[name])


def test_a_clip_that_ends_its_worker_twice_takes_nobody_elses_work_with_it():
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(in_worker, take_a_while, 7)
        bad = pool.submit(in_worker, end_yourself)
        assert good.result(60) == 7
        with pytest.raises(ExplanationError, match="ended twice"):
            bad.result(60)


def test_a_worker_that_is_killed_at_work_is_replaced_and_its_work_done_by_another(tmp_path):
    noted = tmp_path / "processes"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(in_worker, wait_to_be_killed_once, noted)
        while not (noted.exists() and noted.read_text().endswith("\n")):
            time.sleep(0.02)
        os.kill(int(noted.read_text()), signal.SIGKILL)
        killed, other = asked.result(60)
    assert killed != other


def test_another_thread_runs_on_while_praat_measures():
    recording = read(samples()[0].path)
    long = from_samples(np.tile(recording.samples, 5), SAMPLE_RATE, "long.wav")
    in_worker(praat_panel, recording.samples, SAMPLE_RATE)
    gaps, done = [], threading.Event()

    def tick():
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = threading.Thread(target=tick)
    ticking.start()
    began = time.perf_counter()
    in_worker(praat_panel, long.samples, SAMPLE_RATE)
    took = time.perf_counter() - began
    done.set()
    ticking.join()
    # Called directly, Praat would hold the lock for nearly the whole time in a few calls.
    assert np.median(gaps) < 0.05
    assert sum(gap for gap in gaps if gap > 0.2) < 0.5 * took


def test_a_function_that_raises_leaves_its_process_alone():
    process = in_worker(os.getpid)
    with pytest.raises(TypeError):
        in_worker(praat_panel)
    assert in_worker(os.getpid) == process


def test_a_clip_too_short_to_measure_is_refused_in_a_sentence():
    short = dataclasses.replace(read(samples()[0].path), samples=np.full(1800, 0.1, dtype=np.float32))
    with pytest.raises(ExplanationError, match="cues need at least"):
        measure(short, CueSettings(), [])
