"""Where somebody speaks: known places, none in noise, the same answer every time and from every thread."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ser_core.audio import SAMPLE_RATE, from_samples, read
from ser_core.settings import settings
from ser_core.speech import Segment, speech_mask, speech_segments
from tests.bad_inputs import voice

TIMES = np.arange(0, 10, 0.01)


@pytest.mark.parametrize("level", [1.0, 0.1])
def test_voice_between_pauses_is_found_in_its_place(level: float) -> None:
    segments = speech_segments(from_samples(level * voice(3.0), SAMPLE_RATE, "x"))
    assert segments[0].start_s == pytest.approx(0.4, abs=0.15)
    assert segments[-1].end_s == pytest.approx(2.6, abs=0.15)


def test_quietest_real_speech_is_found() -> None:
    # Its peak is at -47 dBFS.
    clips = [folder / "ravdess" / "audio" / "03-01-02-02-02-02-20.flac" for folder in settings().corpora_dirs]
    clips = [clip for clip in clips if clip.is_file()]
    if not clips:
        pytest.skip("RAVDESS is not here")
    segments = speech_segments(read(clips[0]))
    assert 1 < sum(segment.end_s - segment.start_s for segment in segments) < 3


def test_silence_in_front_shifts_the_segments_by_its_length() -> None:
    plain = speech_segments(from_samples(voice(3.0), SAMPLE_RATE, "x"))
    faint = 1e-4 * np.random.default_rng(0).standard_normal(16_384).astype(np.float32)
    later = speech_segments(from_samples(np.concatenate([faint, voice(3.0)]), SAMPLE_RATE, "x"))
    # The detector looks at 32 ms at a time, and 16,384 samples are 32 such steps.
    assert later[0].start_s - plain[0].start_s == pytest.approx(1.024, abs=0.04)
    assert later[-1].end_s - plain[-1].end_s == pytest.approx(1.024, abs=0.04)


def test_noise_holds_no_speech_and_that_is_no_error() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)
    assert speech_segments(from_samples(noise, SAMPLE_RATE, "x")) == ()


def test_segments_are_ordered_disjoint_and_inside_the_clip() -> None:
    clip = from_samples(np.concatenate([voice(), np.zeros(SAMPLE_RATE, np.float32), voice()]), SAMPLE_RATE, "x")
    segments = speech_segments(clip)
    edges = [edge for segment in segments for edge in (segment.start_s, segment.end_s)]
    assert len(segments) >= 2
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= clip.duration_s


def test_answer_depends_on_neither_earlier_clips_nor_other_threads() -> None:
    clips = [from_samples(voice(1.5 + 0.25 * index), SAMPLE_RATE, str(index)) for index in range(4)]
    alone = [speech_segments(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(speech_segments, clips * 3))
    assert together == alone * 3


def test_detector_needs_no_torchaudio_and_leaves_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    speech_segments(from_samples(voice(), SAMPLE_RATE, "x"))
    assert "torchaudio" not in sys.modules
    assert torch.get_num_threads() == threads


def test_mask_includes_starts_and_excludes_ends() -> None:
    segments = (Segment(0.1, 0.2), Segment(0.4, 0.5))
    times = np.array([0.0, 0.1, 0.15, 0.2, 0.4, 0.5])
    assert speech_mask(segments, times).tolist() == [False, True, True, False, True, False]


def test_mask_of_no_segments_is_false_everywhere_and_keeps_the_shape() -> None:
    mask = speech_mask((), np.zeros((3, 2)))
    assert mask.shape == (3, 2)
    assert mask.dtype == bool
    assert not mask.any()


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), max_size=5))
def test_mask_equals_asking_each_time_for_itself(parts: list[tuple[float, float]]) -> None:
    segments = tuple(Segment(start, start + length) for start, length in parts)
    expected = [any(part.start_s <= time < part.end_s for part in segments) for time in TIMES]
    assert speech_mask(segments, TIMES).tolist() == expected
