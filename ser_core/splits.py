"""Speaker-disjoint folds: no speaker is ever on two sides."""

import numpy as np
import pandas as pd


def speaker_folds(
    speakers: pd.DataFrame, folds: int, *, seed: int = 0, balance: tuple[str, ...] = ("sex",)
) -> pd.Series:
    """Deal speakers to folds, balanced over the given columns.

    Args:
        speakers: one row per speaker, indexed by speaker.
        folds: number of folds.
        seed: of the shuffle within each group.
        balance: columns whose groups are spread evenly.

    Returns:
        The fold (0 … folds − 1) of each speaker.
    """
    generator = np.random.default_rng(seed)
    dealt: list[str] = []
    for _, group in sorted(speakers.groupby(list(balance), dropna=False), key=lambda item: str(item[0])):
        dealt += generator.permutation(np.array(sorted(group.index), dtype=object)).tolist()
    return pd.Series({speaker: place % folds for place, speaker in enumerate(dealt)}, name="fold").sort_index()


def validation_speakers(fold_of: pd.Series, fold: int, count: int) -> list[str]:
    """Return ``count`` speakers of the fold after ``fold``, for calibration and stopping; never test speakers."""
    following = (fold + 1) % int(fold_of.max() + 1)
    candidates = fold_of.index[fold_of == following].tolist()
    return candidates[:: max(1, len(candidates) // count)][:count]


def speaker_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per speaker of a corpus table, indexed by speaker: sex, age, race, ethnicity, language, clips.

    Clips without a speaker are left out. What differs between a speaker's clips (such as the language of a bilingual)
    is missing.
    """
    known = table.dropna(subset=["speaker"]).groupby("speaker")
    columns = ["sex", "age", "race", "ethnicity", "language"]
    alike = known[columns].nunique(dropna=False) == 1
    return known[columns].first().where(alike).assign(clips=known.size())


def speakers_in_several_splits(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return speakers that stand in more than one of the owners' splits, each with its clips per split."""
    found: dict[str, dict[str, int]] = {}
    for speaker, split in table[["speaker", "split"]].dropna().itertuples(index=False):
        where = found.setdefault(speaker, {})
        where[split] = where.get(split, 0) + 1
    return {speaker: where for speaker, where in found.items() if len(where) > 1}
