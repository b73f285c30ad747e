"""How far the speaker gives the emotion away, on tables whose answer is known."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_core.corpora import speaker_emotion_confounding
from ser_core.errors import CorpusError


def _table(pairs):
    return pd.DataFrame(pairs, columns=["speaker", "emotion"])


def test_one_emotion_a_speaker_is_wholly_confounded():
    found = speaker_emotion_confounding(_table([("a", "anger"), ("a", "anger"), ("b", "fear"), ("c", "fear")]))
    assert (found.speakers, found.one_emotion) == (3, 3)
    assert found.explained == pytest.approx(1) and found.recall_from_speaker == 1 and found.chance == 0.5


def test_balanced_speakers_say_nothing_about_the_emotion():
    found = speaker_emotion_confounding(_table([(s, e) for s in "abc" for e in ("anger", "fear")]))
    assert found.one_emotion == 0
    assert found.explained == pytest.approx(0) and found.recall_from_speaker == found.chance == 0.5


def test_known_answer_by_hand():
    # a: 3 anger, 1 fear; b: 4 fear. H(E) = H(3/8), within = ½·H(1/4).
    found = speaker_emotion_confounding(_table([("a", "anger")] * 3 + [("a", "fear")] + [("b", "fear")] * 4))

    def entropy(p):
        return -(p * math.log2(p) + (1 - p) * math.log2(1 - p))

    assert found.explained == pytest.approx(1 - 0.5 * entropy(1 / 4) / entropy(3 / 8))
    assert found.recall_from_speaker == pytest.approx((1 + 4 / 5) / 2)
    assert found.sentence.startswith("1 of 2 speakers has more than one emotion")


def test_clips_without_speaker_or_emotion_do_not_count():
    found = speaker_emotion_confounding(_table([("a", "anger"), (None, "fear"), ("b", None), ("a", "fear")]))
    assert found.speakers == 1 and found.one_emotion == 0


def test_nothing_known_is_refused():
    with pytest.raises(CorpusError, match="No clip has both"):
        speaker_emotion_confounding(_table([(None, "fear")]))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["anger", "fear", "calm"])), min_size=1))
def test_shares_lie_between_nothing_and_everything(pairs):
    found = speaker_emotion_confounding(_table(pairs))
    assert 0 <= found.one_emotion <= found.speakers
    assert math.isnan(found.explained) or -1e-9 <= found.explained <= 1 + 1e-9
    assert found.chance - 1e-9 <= found.recall_from_speaker <= 1
