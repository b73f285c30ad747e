import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from pymicro_features import MicroFrontend

from ser_core.audio import read
from ser_core.microfrontend import FRONTEND, micro_features


def tone(hz: float, seconds: float = 0.5) -> np.ndarray:
    times = np.arange(int(16_000 * seconds)) / 16_000
    return (0.3 * np.sin(2 * np.pi * hz * times) * (times > 0.2)).astype(np.float32)


@pytest.mark.parametrize("band", [8, 12, 20, 30, 38])
def test_a_band_answers_most_to_its_own_centre(band: int) -> None:
    centres = FRONTEND.band_centres_hz
    answers = [micro_features(tone(centres[place]))[band].sum() for place in (band - 1, band, band + 1)]
    assert answers[1] == max(answers)


@settings(max_examples=25)
@given(st.integers(1_000, 14_000))
def test_a_click_sounds_in_those_frames_whose_window_holds_it(place: int) -> None:
    samples = np.zeros(16_000, np.float32)
    samples[place] = 0.9
    loud = np.flatnonzero(micro_features(samples).max(0) > 0)
    centres = FRONTEND.first_s + loud * FRONTEND.step_s
    assert len(loud)
    assert np.all(np.abs(centres - place / 16_000) <= FRONTEND.window_ms / 2000)


@settings(max_examples=25)
@given(st.integers(1, 40_000))
def test_there_is_a_frame_for_every_whole_window(samples: int) -> None:
    bands, frames = micro_features(np.zeros(samples, np.float32)).shape
    assert bands == FRONTEND.bands == len(FRONTEND.band_centres_hz)
    assert frames == max(1, (samples - 480) // 160 + 1)


def test_silence_is_nought_and_no_clip_remembers_another() -> None:
    assert not micro_features(np.zeros(16_000, np.float32)).any()
    first = micro_features(tone(500))
    micro_features(np.random.default_rng(0).normal(0, 0.3, 16_000).astype(np.float32))
    assert np.array_equal(micro_features(tone(500)), first)


def test_training_reads_from_a_file_what_a_device_hears(tmp_path: Path) -> None:
    samples = (np.random.default_rng(0).normal(0, 3000, 16_000)).astype(np.int16)
    soundfile.write(tmp_path / "clip.flac", samples, 16_000)
    device = MicroFrontend()
    chunks = [samples[start : start + 160].tobytes() for start in range(0, len(samples), 160)]
    heard = [row for row in (device.process_samples(chunk).features for chunk in chunks) if row]
    assert np.array_equal(micro_features(read(tmp_path / "clip.flac").samples).T, np.array(heard, np.float32))


def test_features_are_the_integers_of_the_front_end_times_their_scale() -> None:
    counts = micro_features(tone(700)) / FRONTEND.scale
    assert np.array_equal(counts, np.round(counts))


def test_the_numbers_can_be_handed_to_a_device() -> None:
    assert json.loads(json.dumps(asdict(FRONTEND)))["step_ms"] == 10
