"""Who speaks when: known joins of real voices, error rates by hand and by pyannote.metrics, and the speaker network."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ser_core.audio import SAMPLE_RATE, read
from ser_core.corpora import find_corpora, read_corpus
from ser_core.diarisation import MOST_CLUSTERED, Turn, cuts, error_rate, voices
from ser_core.diarisation_study import equal_error_rate, held_out, made_up, turns_of
from ser_core.settings import settings
from ser_core.speech import speech_segments
from ser_core.voices import DIMENSIONS, SpeakerNetwork, embeddings, filter_bank


@pytest.fixture(scope="module")
def clips():
    """The held-out actors' clips of CREMA-D."""
    folder = find_corpora(settings().corpora_dirs).get("crema_d")
    if folder is None:
        pytest.skip("CREMA-D is not beside the checkout")
    return held_out("crema_d", read_corpus(folder).table)


def spoken(clips, speaker: str, number: int) -> np.ndarray:
    files = clips.loc[(clips["speaker"] == f"crema_d/{speaker}") & (clips["emotion"] == "neutral"), "file"]
    clip = read(sorted(files)[number])
    parts = speech_segments(clip)
    return clip.samples[int(parts[0].start_s * SAMPLE_RATE) : int(parts[-1].end_s * SAMPLE_RATE)]


# --- the error rate ---------------------------------------------------------------------------------------------------

TRUTH = (Turn(0, 10, 0), Turn(10, 20, 1))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (TRUTH, 0.0),
        ((Turn(0, 10, 5), Turn(10, 20, 3)), 0.0),
        ((Turn(0, 20, 0),), 0.5),
        ((), 1.0),
        ((Turn(0, 10, 0), Turn(10, 15, 1)), 0.25),
        ((Turn(0, 12, 0), Turn(12, 20, 1)), 0.1),
        ((Turn(0, 10, 0), Turn(10, 20, 1), Turn(20, 30, 1)), 0.5),
    ],
)
def test_the_error_rate_of_known_answers(found, expected) -> None:
    assert error_rate(TRUTH, found) == pytest.approx(expected)


def test_what_lies_within_the_collar_of_a_true_boundary_is_not_scored() -> None:
    late = (Turn(0, 10.2, 0), Turn(10.2, 20, 1))
    assert error_rate(TRUTH, late, 0.25) == 0
    assert error_rate(TRUTH, (Turn(0, 10.5, 0), Turn(10.5, 20, 1)), 0.25) == pytest.approx(0.25 / 19)


def turns(draw_voices: int):
    step = st.tuples(st.integers(0, 5), st.integers(1, 30), st.integers(0, draw_voices - 1))

    def place(steps: list[tuple[int, int, int]]) -> tuple[Turn, ...]:
        at, made = 0, []
        for gap, length, voice in steps:
            made.append(Turn((at + gap) / 10, (at + gap + length) / 10, voice))
            at += gap + length
        return tuple(made)

    return st.lists(step, min_size=1, max_size=8).map(place)


@given(turns(3), turns(4))
@hypothesis_settings(max_examples=40)
def test_the_error_rate_equals_that_of_pyannote_metrics(truth, found) -> None:
    core = pytest.importorskip("pyannote.core")
    metrics = pytest.importorskip("pyannote.metrics.diarization")

    def annotation(these):
        made = core.Annotation()
        for number, turn in enumerate(these):
            made[core.Segment(turn.start_s, turn.end_s), number] = turn.voice
        return made

    end_s = max(t.end_s for t in (*truth, *found))
    whole = core.Timeline([core.Segment(0, end_s)])
    theirs = metrics.DiarizationErrorRate()(annotation(truth), annotation(found), uem=whole)
    assert error_rate(truth, found) == pytest.approx(theirs, abs=1e-6)


def test_equal_error_rate_of_known_answers() -> None:
    apart = (
        np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
        / np.linalg.norm([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], axis=1)[:, None]
    )
    assert equal_error_rate(apart, np.array(["a", "a", "b", "b"])) == 0
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((200, 50))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    assert equal_error_rate(noise, rng.integers(0, 2, 200)) == pytest.approx(0.5, abs=0.03)


# --- grouping ---------------------------------------------------------------------------------------------------------


def around(centres: np.ndarray, labels: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    points = centres[labels] + spread * rng.standard_normal((len(labels), centres.shape[1]))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@given(st.integers(2, 4), st.integers(0, 1000))
@hypothesis_settings(max_examples=20)
def test_voices_that_lie_apart_are_told_apart_and_counted_and_numbered_as_first_heard(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(count), rng.integers(0, count, 40)])
    found = around(np.eye(DIMENSIONS)[:count], labels, 0.02, rng)
    lengths_s = rng.uniform(1, 5, len(labels))
    assert (voices(found, lengths_s, count) == labels).all()
    assert (voices(found, lengths_s, None) == labels).all()


def test_one_odd_stretch_is_no_voice() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 20 + [2])
    found = around(np.eye(DIMENSIONS)[:3], labels, 0.03, rng)
    given = voices(found, np.where(labels == 2, 1.2, 3.0), 2)
    assert (given[:-1] == labels[:-1]).all()


@pytest.mark.parametrize(("shares", "count"), [((0.57, 0.40, 0.03), 3), ((0.5, 0.5), 4)])
def test_more_voices_asked_for_than_there_are_leave_the_large_ones_apart(shares, count: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(len(shares), 300, p=shares)
    found = around(np.eye(DIMENSIONS)[: len(shares)], labels, 0.05, rng)
    given = voices(found, np.full(len(labels), 2.0), count)
    first, second = given[labels == 0], given[labels == 1]
    assert len(set(first)) == len(set(second)) == 1 and first[0] != second[0]


def test_few_and_many_stretches() -> None:
    assert len(voices(np.zeros((0, DIMENSIONS)), np.zeros(0), 2)) == 0
    assert voices(np.eye(DIMENSIONS)[:1], np.array([2.0]), 2).tolist() == [0]
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(MOST_CLUSTERED + 50) % 2)
    found = around(np.eye(DIMENSIONS)[:2], labels, 0.02, rng)
    given = voices(found, np.full(len(labels), 2.0), 2)
    assert (given == (labels != labels[0])).all()


# --- real voices ------------------------------------------------------------------------------------------------------


def test_filter_bank_of_a_known_tone_has_its_peak_where_kaldis_mel_scale_puts_it() -> None:
    times = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    sounds = torch.cat(
        [torch.sin(2 * torch.pi * 1000 * times[:8000]), 0.001 * torch.sin(2 * torch.pi * 50 * times[8000:])]
    )
    energies = filter_bank(sounds[None])[0]
    rise = energies[:, :40].mean(1) - energies[:, 60:].mean(1)
    edges = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700), 82)
    expected = np.abs(edges[1:-1] - 1127 * np.log1p(1000 / 700)).argmin()
    assert abs(int(energies[:, 20].argmax()) - expected) <= 1
    assert rise[expected] > 5


def test_the_network_has_the_published_size() -> None:
    # 7.18 million in the paper, whose embeddings have 512 numbers instead of 192.
    count = sum(p.numel() for p in SpeakerNetwork().parameters())
    assert count + (512 - DIMENSIONS) * 1024 == pytest.approx(7.18e6, rel=0.002)


def test_an_embedding_is_of_unit_length_whatever_the_level_and_the_same_alone_or_in_company(clips) -> None:
    one, other = spoken(clips, "1001", 0), spoken(clips, "1009", 0)
    alone, louder = embeddings([one])[0], embeddings([4 * one])[0]
    assert np.linalg.norm(alone) == pytest.approx(1, abs=1e-5)
    assert alone @ louder == pytest.approx(1, abs=1e-3)
    assert np.allclose(embeddings([other, one, one[:3000]])[1], alone, atol=1e-4)


def test_two_voices_that_alternate_at_known_times_are_found_within_a_quarter_second(clips) -> None:
    rng = np.random.default_rng(1)
    parts, edges, at = [], [], 0.0
    for number in range(8):
        speech = spoken(clips, ("1001", "1009")[number % 2], number // 2)
        edges.append((at, at + len(speech) / SAMPLE_RATE))
        gap = np.zeros(int(0.6 * SAMPLE_RATE), np.float32)
        parts += [speech, gap]
        at += (len(speech) + len(gap)) / SAMPLE_RATE
    samples = np.concatenate(parts)
    samples = (samples + 1e-4 * rng.standard_normal(len(samples))).astype(np.float32)
    (found,) = turns_of(samples, 2)
    for number, (start_s, end_s) in enumerate(edges):
        mine = [t for t in found if t.start_s < end_s and t.end_s > start_s]
        assert {t.voice for t in mine} == {number % 2}
        assert mine[0].start_s == pytest.approx(start_s, abs=0.25)
        assert mine[-1].end_s == pytest.approx(end_s, abs=0.25)


def test_a_handover_without_a_pause_is_found_within_a_quarter_second(clips) -> None:
    first, second = (np.concatenate([spoken(clips, who, n) for n in (0, 1)]) for who in ("1001", "1009"))
    found = cuts(np.concatenate([first, second]))
    assert min(abs(at - len(first) / SAMPLE_RATE) for at in found) <= 0.25


def test_made_up_sessions_are_told_apart_far_better_than_by_one_voice(clips) -> None:
    ours, one = [], []
    for seed in (1, 2):
        session = made_up(clips, np.random.default_rng(seed), 60)
        for found, errors in zip(turns_of(session.samples, 2, 1), (ours, one), strict=True):
            errors.append(error_rate(session.turns, found))
    assert np.mean(ours) < 0.5 * np.mean(one)
