from pathlib import Path

import numpy as np
import parselmouth
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ser_core.audio import SAMPLE_RATE, read
from ser_core.errors import SettingError
from ser_core.word_times import (
    Word,
    aligned_text,
    parts,
    recognised,
    text_grid_words,
    text_states,
    token_starts,
    trimmed,
)


def brute_force(scores: np.ndarray) -> float:
    """The largest sum over all monotone paths, by trying every one."""
    steps, tokens = scores.shape

    def best(step: int, token: int) -> float:
        if step == steps:
            return 0.0 if token == tokens - 1 else -np.inf
        after = [best(step + 1, token), best(step + 1, token + 1) if token + 1 < tokens else -np.inf]
        if step + 1 == steps:
            return scores[step, token] if token == tokens - 1 else -np.inf
        return scores[step, token] + max(after)

    return best(0, 0)


@settings(max_examples=40)
@given(st.integers(1, 4).flatmap(lambda t: arrays(float, (t + 4, t), elements=st.floats(-3, 3))))
def test_the_path_is_the_best_of_all_monotone_ones(scores: np.ndarray) -> None:
    starts = token_starts(scores)
    assert starts[0] == 0 and (np.diff(starts) >= 1).all()
    owner = np.searchsorted(starts, np.arange(len(scores)), side="right") - 1
    assert scores[np.arange(len(scores)), owner].sum() == pytest.approx(brute_force(scores))


def test_a_word_is_trimmed_to_where_the_clip_is_loud() -> None:
    samples = np.random.default_rng(0).normal(0, 1e-4, SAMPLE_RATE)
    samples[4000:8000] += 0.3 * np.sin(2 * np.pi * 200 * np.arange(4000) / SAMPLE_RATE)
    (word,) = trimmed([Word("there", 0.0, 1.0)], samples)
    assert (word.start_s, word.end_s) == (pytest.approx(0.25, abs=0.011), pytest.approx(0.5, abs=0.011))


def test_a_long_clip_is_cut_where_it_is_quietest_and_nothing_is_lost() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 65 * SAMPLE_RATE).astype(np.float32)
    samples[int(23.0 * SAMPLE_RATE) : int(23.1 * SAMPLE_RATE)] = 0
    pieces = parts(samples)
    assert pieces[1][0] == pytest.approx(23.05)
    assert all(len(part) <= 28 * SAMPLE_RATE for _, part in pieces)
    assert np.array_equal(np.concatenate([part for _, part in pieces]), samples)


@pytest.fixture(scope="module")
def two_sentences() -> tuple[np.ndarray, float]:
    """Two clips of CREMA-D with 0.6 s of silence between them, and where the second begins."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "corpora" / "crema_d" / "audio"
    clips = [folder / f"{name}.opus" for name in ("1004_TAI_NEU_XX", "1003_MTI_FEA_XX")]
    if not all(clip.exists() for clip in clips):
        pytest.skip("no corpora beside the checkout")
    first, second = (np.array(read(clip).samples) for clip in clips)
    gap = np.zeros(int(0.6 * SAMPLE_RATE), np.float32)
    return np.concatenate([first, gap, second]), (len(first) + len(gap)) / SAMPLE_RATE


def test_words_of_two_joined_clips_lie_on_their_own_side_of_the_join(two_sentences: tuple[np.ndarray, float]) -> None:
    samples, join_s = two_sentences
    spoken = aligned_text(samples, "The airplane is almost full. Maybe tomorrow it will be cold.")
    assert [w.text for w in spoken.words][5] == "Maybe"
    assert spoken.words[4].end_s <= join_s - 0.6 + 0.05
    assert spoken.words[5].start_s >= join_s - 0.05
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in zip(spoken.words, spoken.words[1:], strict=False))
    assert all(0 < (w.confidence or 0) <= 1 for w in spoken.words)


def test_the_recogniser_finds_the_same_words_and_times(two_sentences: tuple[np.ndarray, float]) -> None:
    samples, join_s = two_sentences
    spoken = recognised(samples)
    assert [w.text.strip(".,").lower() for w in spoken.words][:3] == ["the", "airplane", "is"]
    later = [w for w in spoken.words if w.text.lower().startswith("maybe")]
    assert len(later) == 1 and join_s - 0.05 <= later[0].start_s < join_s + 1.5


def test_a_wrong_text_is_less_sure_than_the_right_one(two_sentences: tuple[np.ndarray, float]) -> None:
    samples, _ = two_sentences
    right = aligned_text(samples, "The airplane is almost full. Maybe tomorrow it will be cold.")
    wrong = aligned_text(samples, "Green elephants dislike marmalade. Nobody ever bought seven purple trams.")
    assert np.mean([w.confidence for w in right.words]) > 2 * np.mean([w.confidence for w in wrong.words])


def test_states_over_a_text_do_not_depend_on_anything_but_the_text() -> None:
    first, again = text_states("मैं घर", "whisper-base", "hi"), text_states("मैं घर", "whisper-base", "hi")
    assert first.shape[0] == 7 and first.shape[2] == 512
    assert np.array_equal(first, again)
    assert not np.allclose(first[-1].mean(0), text_states("نہیں", "whisper-base", "ur")[-1].mean(0), atol=0.1)


def test_too_many_words_for_the_clip_are_refused_in_words() -> None:
    with pytest.raises(SettingError, match="60 words cannot have been said"):
        aligned_text(np.zeros(SAMPLE_RATE // 2, np.float32), "word " * 60)


@pytest.mark.parametrize("short", [False, True])
def test_a_text_grid_saved_by_praat_is_read_in_both_formats(tmp_path: Path, short: bool) -> None:
    grid = parselmouth.TextGrid(0.0, 2.0, ["phones", "words"], ["phones"])
    call = parselmouth.praat.call
    call(grid, "Insert boundary", 2, 0.5)
    call(grid, "Insert boundary", 2, 0.9)
    call(grid, "Set interval text", 2, 2, 'say "so" 3')
    call(grid, "Insert point", 1, 0.7, "x")
    path = tmp_path / "words.TextGrid"
    call(grid, "Save as short text file" if short else "Save as text file", str(path))
    spoken = text_grid_words(path.read_text())
    assert spoken.words == (Word('say "so" 3', 0.5, 0.9),)


def test_a_text_grid_without_a_words_tier_names_its_tiers() -> None:
    grid = '"ooTextFile" "TextGrid" 0 1 <exists> 2 "IntervalTier" "a" 0 1 1 0 1 "x" "IntervalTier" "b" 0 1 1 0 1 "y"'
    with pytest.raises(SettingError, match="a, b"):
        text_grid_words(grid)
    with pytest.raises(SettingError, match="Save as text file"):
        text_grid_words("hello")
