"""EM2LDL: distributions over 32 labels of Plutchik's wheel, English, Mandarin and Cantonese mixed.

Owners' repository xingfengli/EM2LDL: ``labels_distributions_Info.csv`` and train, validation and test ids.
"""

import re
from pathlib import Path

import pandas as pd

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, number, read_table, with_note
from ser_core.corpora.vocabulary import MISSPELT
from ser_core.errors import CorpusError
from ser_core.splits import speakers_in_several_splits

_TABLE = "labels_distributions_Info.csv"
_FIRST, _LAST = "ecstacy", "optimism"
_LABELS = 32
_SPLITS = {"train": "train_ids.csv", "validation": "val_ids.csv", "test": "test_ids.csv"}
_COLUMNS = ["AudioID", _FIRST, _LAST, "speaker ID", "gender", "age", "ageClass", "lang"]
_PERSONALITY = {"i": "introvert", "e": "extravert"}
_YEARS = re.compile(r"(\d+)岁")
_ID = re.compile(r"(\d{4})(?:_.*)?")

_ABOUT = About(
    name="em2ldl",
    title="EM2LDL",
    licence="labels public; audio under a signed licence, no redistribution",
    language="zh",
    note=(
        "Every clip has a distribution over 32 labels (columns share_…, as the owners name and order them); emotion is "
        "the label with the largest share, missing where several tie. Speech switches between Mandarin, Cantonese and "
        "English; the owners' code is in code_switching."
    ),
)


def _distributions(table: pd.DataFrame) -> pd.DataFrame:
    labels = table.columns[table.columns.get_loc(_FIRST) : table.columns.get_loc(_LAST) + 1]  # type: ignore[operator]
    if len(labels) != _LABELS:
        raise CorpusError(f"{_TABLE} has {len(labels)} labels from {_FIRST} to {_LAST}; EM2LDL has {_LABELS}.")
    shares = table[labels].apply(pd.to_numeric, errors="coerce")
    wrong = ~((shares.sum(axis=1, skipna=False) - 1).abs() < 1e-3)
    if wrong.any():
        raise CorpusError(
            f"{_TABLE} has {int(wrong.sum())} rows whose shares do not add up to 1, the first being clip "
            f"{table.loc[wrong, 'AudioID'].iloc[0]}."
        )
    return shares.rename(columns=MISSPELT)


def _owners_splits(tree: Tree) -> dict[int, str]:
    found: dict[int, str] = {}
    for split, name in _SPLITS.items():
        path = tree.find(name)
        if path:
            found |= {int(clip): split for clip in read_table(path, ["audio_id"])["audio_id"]}
    return found


def _read(tree: Tree) -> Corpus:
    table = read_table(tree.need(_TABLE), _COLUMNS)
    shares = _distributions(table)
    splits = _owners_splits(tree)
    audio = {int(match.group(1)): path for path in tree.audio if (match := _ID.fullmatch(path.stem))}
    top = shares.idxmax(axis=1).where(shares.eq(shares.max(axis=1), axis=0).sum(axis=1) == 1, "")
    rows: list[dict[str, object]] = []
    for place, record in enumerate(table.to_dict("records")):
        clip = int(str(record["AudioID"]))
        years = _YEARS.fullmatch(str(record["age"]))
        rows.append(
            {
                "name": audio[clip].stem if clip in audio else f"{clip:04d}",
                "file": _audio(tree.folder, audio, clip),
                "speaker_id": record["speaker ID"],
                "sex": record["gender"],
                "age": number(years.group(1)) if years else None,
                "emotion": top.iloc[place],
                "split": splits.get(clip),
                "age_group": record["ageClass"] or None,
                "code_switching": record["lang"] or None,
                "personality": _PERSONALITY.get(str(record.get("mbtiSingle"))),
            }
        )
        rows[-1] |= {f"share_{label}": float(share) for label, share in shares.iloc[place].items()}
    corpus = finish(_ABOUT, rows)
    if not audio:
        corpus = with_note(corpus, "The folder holds labels only, no audio.")
    leaks = speakers_in_several_splits(corpus.table)
    if not leaks:
        return corpus
    told = (
        f"{speaker.removeprefix(f'{_ABOUT.name}/')} is in {', '.join(f'{split} ({n})' for split, n in where.items())}"
        for speaker, where in leaks.items()
    )
    return with_note(
        corpus, f"The owners' split is not speaker-independent; speakers in several parts (clips): {'; '.join(told)}."
    )


def _audio(folder: Path, audio: dict[int, Path], clip: int) -> Path | None:
    """Return a clip's file; a folder with some audio has to have all of it."""
    return audio.get(clip, folder / "audio" / f"{clip:04d}.wav") if audio else None


READER = Reader(
    name=_ABOUT.name,
    title=_ABOUT.title,
    layout=f"{_TABLE} with train_ids.csv, val_ids.csv and test_ids.csv",
    recognises=lambda tree: tree.find(_TABLE) is not None,
    read=_read,
)
