"""EM2LDL's tables: splits that leak nobody, and the constant that the published models hardly beat."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.corpora import Corpus, read_corpus
from ser_core.errors import CorpusError
from ser_core.mixed_emotions import GROUPS, PUBLISHED, constant_figures, leak_free_splits, splits_path, write_study


@cache
def _table(speakers: int = 60) -> pd.DataFrame:
    """Clips of made-up speakers with two labels; the first speaker has a fifth of all clips."""
    generator = np.random.default_rng(0)
    rows = []
    for speaker in range(speakers):
        alike = {
            "speaker": f"em2ldl/s{speaker}",
            "speaker_id": f"s{speaker}",
            "sex": ("female", "male")[speaker % 2],
            "age_group": ("Youth", "Non-Youth")[speaker % 3 == 0],
            "personality": (None, "introvert", "extravert")[speaker % 3],
        }
        for clip in range(60 if speaker == 0 else 4):
            share = generator.random()
            rows.append(
                alike
                | {"name": f"{speaker}-{clip}", "split": ("train", "test")[clip % 2], "code_switching": "ce"}
                | {"share_joy": share, "share_anger": 1 - share}
            )
    absent = dict.fromkeys(("age", "race", "ethnicity", "language"))
    return pd.DataFrame(rows).assign(**absent)


def test_no_speaker_is_in_two_parts_of_a_split() -> None:
    splits = leak_free_splits(_table())
    for split in ("speakers", *GROUPS):
        parts = splits.dropna(subset=[split]).groupby("speaker")[split].nunique()
        assert (parts == 1).all() and set(splits[split].dropna()) == {"train", "validation", "test"}


def test_a_group_that_is_tested_was_never_heard_and_unknown_speakers_are_left_out() -> None:
    table = _table()
    splits = leak_free_splits(table)
    for split, (column, tested) in GROUPS.items():
        group = table[column].to_numpy()
        assert set(group[splits[split] == "test"]) == {tested}
        assert tested not in set(group[splits[split].isin(["train", "validation"])])
    assert splits["personality"].isna().to_numpy()[table["personality"].isna().to_numpy()].all()


def test_a_voice_with_a_fifth_of_the_clips_is_never_tested() -> None:
    splits = leak_free_splits(_table())
    assert set(splits.loc[splits["speaker"] == "s0", "speakers"]) == {"train"}


def test_the_constant_is_the_mean_of_its_own_training_part() -> None:
    table = _table()
    splits = leak_free_splits(table)
    found = constant_figures(table, splits, replicates=50)
    part = splits["speakers"]
    mean = table.loc[part == "train", "share_joy"].mean()
    by_hand = [max(abs(share - mean), abs(1 - share - (1 - mean))) for share in table.loc[part == "test", "share_joy"]]
    row = found.query("split == 'speakers' and view == 'all' and answer == 'training mean' and measure == 'Chebyshev'")
    assert row["value"].item() == pytest.approx(np.mean(by_hand))
    assert row["low"].item() < row["value"].item() < row["high"].item()
    assert row["clips"].item() == (part == "test").sum()


def test_another_corpus_is_refused() -> None:
    other = Corpus("emodb", "EMO-DB", "", "de", "", _table(), ())
    with pytest.raises(CorpusError, match="This is EMO-DB"):
        write_study(other)


def test_the_published_figures_are_those_of_a_constant_and_the_committed_splits_are_rebuilt(corpora: Path) -> None:
    table = read_corpus(corpora / "em2ldl").table
    splits = leak_free_splits(table)
    committed = pd.read_csv(splits_path(), dtype=str)
    assert committed.fillna("").equals(splits.astype(object).fillna("").astype(str))
    found = constant_figures(table, splits, replicates=20)
    whole = found[(found["view"] == "all") & found["split"].str.startswith("owners")].set_index(["answer", "measure"])
    assert whole.loc[("training mean", "KL"), "value"] == pytest.approx(0.8477, abs=5e-5)
    assert whole.loc[("training mean", "cosine"), "value"] == pytest.approx(0.7947, abs=5e-5)
    for measure, value in PUBLISHED.items():
        near = whole.loc[("training mean", measure), "value"]
        assert near == pytest.approx(value, rel=0.01)
