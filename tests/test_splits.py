"""No speaker is ever on two sides."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from ser_core.splits import speaker_folds, speaker_table, speakers_in_several_splits, validation_speakers

people = st.dictionaries(
    st.text("abcdefgh0123456789", min_size=1, max_size=6), st.sampled_from(["female", "male", None]), min_size=2
)
folds = st.integers(2, 6)


def _speakers(sexes):
    return pd.DataFrame({"sex": pd.Series(sexes, dtype="str")})


@given(people, folds, st.integers(0, 100))
def test_every_speaker_is_in_exactly_one_fold(sexes, count, seed):
    dealt = speaker_folds(_speakers(sexes), count, seed=seed)
    assert sorted(dealt.index) == sorted(sexes)
    assert dealt.index.is_unique
    assert set(dealt) <= set(range(count))


@given(people, folds)
def test_folds_differ_by_one_speaker_at_most(sexes, count):
    sizes = speaker_folds(_speakers(sexes), count).value_counts().reindex(range(count), fill_value=0)
    assert sizes.max() - sizes.min() <= 1


@given(people, folds)
def test_each_sex_is_spread_evenly(sexes, count):
    dealt = speaker_folds(_speakers(sexes), count)
    for sex in ("female", "male"):
        own = [speaker for speaker, value in sexes.items() if value == sex]
        sizes = dealt[own].value_counts().reindex(range(count), fill_value=0)
        assert sizes.max() - sizes.min() <= 1


@given(people, folds)
def test_folds_do_not_depend_on_the_order_of_speakers(sexes, count):
    table = _speakers(sexes)
    assert speaker_folds(table, count).equals(speaker_folds(table.iloc[::-1], count))


def test_another_seed_deals_otherwise():
    table = _speakers({f"s{place:02d}": "female" for place in range(30)})
    assert not speaker_folds(table, 5, seed=0).equals(speaker_folds(table, 5, seed=1))


@given(people, folds, st.integers(1, 5))
def test_validation_speakers_are_never_test_speakers(sexes, count, wanted):
    dealt = speaker_folds(_speakers(sexes), count)
    for fold in range(int(dealt.max()) + 1):
        chosen = validation_speakers(dealt, fold, wanted)
        assert len(chosen) <= wanted and len(set(chosen)) == len(chosen)
        assert not set(chosen) & set(dealt.index[dealt == fold])


def test_speaker_table_has_one_row_a_speaker_and_no_guess_where_clips_differ():
    clips = pd.DataFrame(
        {
            "speaker": ["a", "a", "b", None],
            "sex": ["female", "female", None, "male"],
            "age": [30.0, 30.0, 41.0, 5.0],
            "race": None,
            "ethnicity": None,
            "language": ["da", "en", "en", "en"],
        }
    )
    table = speaker_table(clips)
    assert table.index.tolist() == ["a", "b"]
    assert table["clips"].tolist() == [2, 1] and table["age"].tolist() == [30, 41]
    assert table["sex"].isna().tolist() == [False, True]
    assert table["language"].isna().tolist() == [True, False]


def test_speaker_in_several_splits_is_named_with_its_clips():
    clips = pd.DataFrame(
        {
            "speaker": ["a", "a", "a", "b", "b", None, None, "c"],
            "split": ["train", "test", "train", "train", "train", "train", "test", None],
        }
    )
    assert speakers_in_several_splits(clips) == {"a": {"train": 2, "test": 1}}


@given(people, folds)
def test_folds_as_splits_share_no_speaker(sexes, count):
    dealt = speaker_folds(_speakers(sexes), count)
    clips = pd.DataFrame([(speaker, f"fold{fold}") for speaker, fold in dealt.items() for _ in range(2)])
    assert speakers_in_several_splits(clips.set_axis(["speaker", "split"], axis=1)) == {}
