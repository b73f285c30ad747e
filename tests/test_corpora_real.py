"""The real corpora, where they are at hand: counts and traps as their README states them."""

import pytest

from ser_core.corpora import find_corpora, read_corpus, speaker_emotion_confounding
from ser_core.settings import settings
from ser_core.splits import speakers_in_several_splits

FOUND = find_corpora(settings().corpora_dirs)


def _corpus(name):
    if name not in FOUND:
        pytest.skip(f"{name} is not at hand")
    return read_corpus(FOUND[name])


@pytest.mark.parametrize(
    ("name", "published", "dropped", "speakers", "emotions"),
    [
        ("crema_d", 7442, 7, 91, 6),
        ("ravdess", 1440, 1, 24, 8),
        ("emodb", 535, 0, 10, 7),
        ("emotale", 800, 0, 18, 5),
        ("urdu", 400, 0, 29, 4),
    ],
)
def test_counts_equal_the_readme_less_the_faulty_clips(name, published, dropped, speakers, emotions):
    corpus = _corpus(name)
    assert len(corpus.dropped) == dropped
    assert len(corpus.table) == published - dropped
    assert corpus.table["speaker"].nunique() == speakers
    assert corpus.table["emotion"].nunique() == emotions
    assert corpus.table[["file", "speaker", "emotion", "sex", "language"]].notna().all(axis=None)


def test_crema_d_votes_and_actors():
    table = _corpus("crema_d").table
    votes = table.filter(like="vote_")
    assert votes.shape[1] == 6 and votes.notna().all(axis=None)
    assert votes.sum(axis=1).between(4, 12).all() and votes.sum(axis=1).mean() == pytest.approx(9.2, abs=0.05)
    speakers = table.drop_duplicates("speaker")
    assert speakers["sex"].value_counts().to_dict() == {"male": 48, "female": 43}
    assert (speakers["age"].min(), speakers["age"].max()) == (20, 74)
    assert table["text_id"].nunique() == table["transcript"].nunique() == 12


def test_every_known_pair_of_identical_audio_is_gone():
    for name in ("crema_d", "ravdess"):
        corpus = _corpus(name)
        assert not {clip for clip, _ in corpus.dropped} & set(corpus.table["name"])
    assert {clip for clip, _ in _corpus("crema_d").dropped} == {
        *("1076_MTI_SAD_XX", "1006_TIE_HAP_XX", "1006_TIE_NEU_XX", "1013_WSI_SAD_XX", "1013_WSI_DIS_XX"),
        *("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
    }


def test_urdu_is_confounded_and_crema_d_is_not():
    urdu = speaker_emotion_confounding(_corpus("urdu").table)
    assert urdu.speakers - urdu.one_emotion == 3
    assert urdu.recall_from_speaker > 0.9
    crema_d = speaker_emotion_confounding(_corpus("crema_d").table)
    assert crema_d.one_emotion == 0 and crema_d.recall_from_speaker < 0.17
    assert "3 of 29 speakers have more than one emotion" in _corpus("urdu").note


def test_emotale_ratings_are_complete_and_on_their_scale():
    corpus = _corpus("emotale")
    ratings = corpus.table[["arousal", "valence", "dominance"]]
    assert ratings.notna().all(axis=None) and ratings.ge(1).all(axis=None) and ratings.le(5).all(axis=None)
    assert (corpus.table.filter(like="vote_").sum(axis=1) == 3).all()


def test_emodb_carries_listener_recognition():
    assert _corpus("emodb").table["recognised_percent"].notna().all()


def test_em2ldl_has_32_labels_and_one_speaker_in_all_three_splits():
    corpus = _corpus("em2ldl")
    assert len(corpus.table) == 3998 and corpus.table["speaker"].nunique() == 231
    shares = corpus.table.filter(like="share_")
    assert shares.shape[1] == 32 and shares.sum(axis=1).sub(1).abs().max() < 1e-6
    assert corpus.table["split"].value_counts().to_dict() == {"train": 2775, "test": 894, "validation": 329}
    assert speakers_in_several_splits(corpus.table) == {
        "em2ldl/speaker12": {"train": 26, "validation": 329, "test": 509}
    }
