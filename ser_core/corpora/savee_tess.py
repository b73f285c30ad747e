"""SAVEE (four men, British English) and TESS (two women, Canadian English).

Haq and Jackson 2009, AVSP; Pichora-Fuller and Dupuis 2020, doi:10.5683/SP2/E8H2MF.
"""

import re
from pathlib import Path

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, named_rows

_SAVEE_EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
_SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")
_SAVEE_NESTED = re.compile(r"(a|d|f|h|n|sa|su)\d\d")
_SAVEE_FLAT = re.compile(rf"({'|'.join(_SAVEE_SPEAKERS)})_(a|d|f|h|n|sa|su)\d\d")
_SAVEE = About(
    name="savee",
    title="SAVEE",
    licence="free for research, on registration",
    language="en",
    note="Acted by four men; the label is the intended emotion. No women, so nothing can be said about sex.",
)


def _savee_name(path: Path) -> str | None:
    if _SAVEE_FLAT.fullmatch(path.stem):
        return path.stem
    if path.parent.name in _SAVEE_SPEAKERS and _SAVEE_NESTED.fullmatch(path.stem):
        return f"{path.parent.name}_{path.stem}"
    return None


def _read_savee(tree: Tree) -> Corpus:
    rows: list[dict[str, object]] = []
    dropped: list[tuple[str, str]] = []
    for path in tree.within("AudioData"):
        name = _savee_name(path)
        if name is None:
            dropped.append((path.name, "its name does not follow the corpus's pattern"))
            continue
        speaker, take = name.split("_")
        emotion = _SAVEE_EMOTIONS[take[:-2]]
        rows.append({"file": path, "name": name, "speaker_id": speaker, "sex": "male", "emotion": emotion})
    return finish(_SAVEE, rows, dropped=dropped)


def _is_savee(tree: Tree) -> bool:
    files = tree.within("AudioData")
    return bool(files) and 2 * sum(_savee_name(path) is not None for path in files) > len(files)


# The owners wrote OA for OAF in a few names.
_TESS_NAME = re.compile(r"(OAF?|YAF)_([A-Za-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.IGNORECASE)
_TESS_AGES = {"OAF": 64, "YAF": 26}
_TESS = About(
    name="tess",
    title="TESS",
    licence="CC BY-NC-ND 4.0",
    language="en",
    note=(
        "Acted by two women, one word in one carrier sentence; surprise is pleasant surprise. With two speakers no "
        "figure on it says how a model does on new voices."
    ),
)


def _tess_row(path: Path, match: re.Match[str]) -> dict[str, object]:
    speaker = "YAF" if match.group(1).upper() == "YAF" else "OAF"
    word = match.group(2).lower()
    return {
        "name": f"{speaker}_{word}_{match.group(3).lower()}",
        "speaker_id": speaker,
        "sex": "female",
        "age": _TESS_AGES[speaker],
        "emotion": match.group(3),
        "text_id": word,
        "transcript": f"Say the word {word}.",
    }


def _read_tess(tree: Tree) -> Corpus:
    rows, dropped = named_rows(tree.audio, _TESS_NAME, _tess_row)
    return finish(_TESS, rows, dropped=dropped)


READERS = (
    Reader(
        name=_SAVEE.name,
        title=_SAVEE.title,
        layout="audio in AudioData/DC/ named a01, or named DC_a01",
        recognises=_is_savee,
        read=_read_savee,
    ),
    Reader(
        name=_TESS.name,
        title=_TESS.title,
        layout="audio named OAF_back_angry",
        recognises=lambda tree: tree.mostly(_TESS_NAME),
        read=_read_tess,
    ),
)
