"""EM2LDL's published labels without its audio: what a constant scores, and splits that leak no speaker.

EM2LDL (owners' repository xingfengli/EM2LDL) publishes for each of 3,998 clips how 20 listeners split over 32 labels.
Its audio needs a signed licence, so nothing is trained here; but its tables already say how far a model has to come.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.corpora import Corpus
from ser_core.distributions import evaluate_distributions
from ser_core.errors import CorpusError
from ser_core.files import write_table
from ser_core.settings import ASSETS
from ser_core.splits import speaker_folds, speaker_table

PUBLISHED = {
    "Chebyshev": 0.1565,
    "Clark": 4.978,
    "Canberra": 26.44,
    "KL": 0.8462,
    "cosine": 0.7955,
    "intersection": 0.5306,
}
"""The best published model, HuBERT-large-EN, on the owners' test part."""

GROUPS = {"gender": ("sex", "male"), "age": ("age_group", "Non-Youth"), "personality": ("personality", "introvert")}
"""Split by a group of speakers → its column, and the group that is tested and never heard in training."""

VIEWS = {
    "code-switching pair": "code_switching",
    "gender": "sex",
    "age": "age_group",
    "personality": "personality",
}

PAIRS = {"ce": "Cantonese–English", "me": "Mandarin–English", "mc": "Mandarin–Cantonese"}

_PARTS = 10
_LARGE = 0.05


def leak_free_splits(table: pd.DataFrame) -> pd.DataFrame:
    """Return clip, speaker, and the part ("train", "validation", "test" or missing) of each clip in four splits.

    No speaker is in two parts of a split. "speakers" deals them to seven, one and two tenths, balanced over gender and
    age group, but a speaker of more than a twentieth of all clips always trains, so that no test rests on one voice.
    "gender", "age" and "personality" test on a group that training has never heard; a tenth of the speakers of the
    other group validates. Speakers whose group is not known, or differs between clips, are left out there.

    Args:
        table: of the corpus reader.
    """
    speakers = speaker_table(table)
    known = table.dropna(subset=["speaker"]).groupby("speaker")
    for column in ("age_group", "personality"):
        speakers[column] = known[column].first().where(known[column].nunique(dropna=False) == 1)
    fold = speaker_folds(speakers, _PARTS, balance=("sex", "age_group"))
    part = fold.map(lambda k: "test" if k < 2 else "validation" if k == 2 else "train")
    part[speakers["clips"] > _LARGE * speakers["clips"].sum()] = "train"
    parts = {"speakers": part}
    for split, (column, tested) in GROUPS.items():
        group = speakers[column]
        held_out = pd.Series(np.where(fold == 2, "validation", "train"), index=fold.index)
        parts[split] = held_out.where(group != tested, "test").where(group.notna())
    return pd.DataFrame(
        {
            "clip": table["name"],
            "speaker": table["speaker_id"],
            **{split: table["speaker"].map(part) for split, part in parts.items()},
        }
    )


def constant_figures(table: pd.DataFrame, splits: pd.DataFrame, *, replicates: int = 10_000) -> pd.DataFrame:
    """Return what the training mean scores on each split's test part, whole and by group, as one tidy table.

    Args:
        table: of the corpus reader; its column ``split`` is the owners'.
        splits: of :func:`leak_free_splits`.
        replicates: of the bootstrap over speakers.

    Returns:
        split, view, group, clips, speakers, answer ("training mean", "uniform" or "published model"), measure, value,
        low, high. The interval of a group with one speaker is missing, and so is that of a published figure.
    """
    shares = table.filter(like="share_").to_numpy()
    rows: list[dict[str, object]] = []
    owners = {"owners' (leaks a speaker)": table["split"]}
    for split, part in (owners | {name: splits[name] for name in ("speakers", *GROUPS)}).items():
        constant = shares[(part == "train").to_numpy()].mean(axis=0)
        testing = (part == "test").to_numpy()
        cells = [("all", "all", testing)]
        if split in ("speakers", *owners):
            cells += [
                (view, str(group), testing & (table[column] == group).to_numpy())
                for view, column in VIEWS.items()
                for group in sorted(table[column].dropna().unique())
            ]
        for view, group, chosen in cells:
            rows += _cell(table, shares, constant, chosen, {"split": split, "view": view, "group": group}, replicates)
    first = {key: rows[0][key] for key in ("split", "view", "group", "clips", "speakers")}
    rows += [first | {"answer": "published model", "measure": name, "value": v} for name, v in PUBLISHED.items()]
    return pd.DataFrame(rows)


def write_study(corpus: Corpus) -> pd.DataFrame:
    """Write ``assets/folds/em2ldl_splits.csv`` and ``assets/results/em2ldl.csv``; return the figures.

    Raises:
        CorpusError: the corpus is another one.
    """
    if corpus.name != "em2ldl":
        raise CorpusError(f"This is {corpus.title}; give the folder of EM2LDL's tables.")
    splits = leak_free_splits(corpus.table)
    write_table(splits, splits_path())
    found = constant_figures(corpus.table, splits)
    write_table(found, ASSETS / "results" / "em2ldl.csv", float_format="%.6g")
    return found


def splits_path() -> Path:
    """Return where the committed splits lie."""
    return ASSETS / "folds" / "em2ldl_splits.csv"


def _cell(
    table: pd.DataFrame,
    shares: np.ndarray,
    constant: np.ndarray,
    chosen: np.ndarray,
    named: dict[str, str],
    replicates: int,
) -> list[dict[str, object]]:
    if not chosen.any():
        return []
    speakers = table.loc[chosen, "speaker"].tolist()
    counts = {"clips": int(chosen.sum()), "speakers": len(set(speakers))}
    answers = {"training mean": constant / constant.sum(), "uniform": np.full(len(constant), 1 / len(constant))}
    rows: list[dict[str, object]] = []
    for answer, row in answers.items():
        given = np.tile(row, (len(speakers), 1))
        found = evaluate_distributions(shares[chosen], given, speakers, replicates=replicates)
        rows += [
            {**named, **counts, "answer": answer, "measure": name}
            | {"value": found[name].value, "low": found[name].low, "high": found[name].high}
            for name in PUBLISHED
        ]
    return rows
