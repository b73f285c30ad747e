import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_core.audio import read
from ser_core.errors import SettingError
from ser_core.transcription import transcribe, word_error_rate, word_errors, words


def test_word_errors_are_the_fewest_edits() -> None:
    assert word_errors(["the", "cat", "sat"], ["the", "cat", "sat"]) == 0
    assert word_errors(["the", "cat", "sat"], ["cat", "sat", "down"]) == 2
    assert word_errors(["a", "b", "c", "d"], ["a", "x", "c"]) == 2
    assert word_errors([], ["a", "b"]) == 2
    assert word_error_rate(["It's eleven o'clock.", "Yes"], ["its 11 oclock", "no"]) == pytest.approx(1 / 4)
    assert words("Don’t forget, a JACKET!") == ["dont", "forget", "a", "jacket"]


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_word_errors_are_a_distance(one: list[str], other: list[str]) -> None:
    count = word_errors(one, other)
    assert count == word_errors(other, one)
    assert abs(len(one) - len(other)) <= count <= max(len(one), len(other))
    assert (count == 0) == (one == other)


def test_real_sentences_are_understood(corpora) -> None:  # type: ignore[no-untyped-def]
    from ser_core.corpora import read_corpus

    table = read_corpus(corpora / "crema_d").table
    neutral = table[(table["emotion"] == "neutral") & (table["text_id"] == "TSI")].iloc[:4]
    heard = [transcribe(np.array(read(file).samples)) for file in neutral["file"]]
    assert {transcript.language for transcript in heard} == {"en"}
    assert word_error_rate(neutral["transcript"].tolist(), [transcript.text for transcript in heard]) <= 0.25


def test_a_long_recording_is_refused() -> None:
    with pytest.raises(SettingError, match="28 s"):
        transcribe(np.zeros(29 * 16_000, np.float32))
