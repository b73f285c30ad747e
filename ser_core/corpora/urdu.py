"""The three Urdu corpora: URDU-Dataset, SEMOUR and UrduSER.

Latif et al. 2018, arXiv:1812.10411; Zaheer et al. 2021, doi:10.1145/3411764.3445171; Akhtar et al. 2025,
doi:10.1016/j.dib.2025.111627.
"""

import re
from pathlib import Path

from ser_core.corpora.confounding import speaker_emotion_confounding
from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, named_rows, read_table, with_note

_URDU_EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
_URDU_NAME = re.compile(r"S([MF])(\d+)_F(\d+)_([AHNS])(\d+)")
_URDU = About(
    name="urdu",
    title="URDU-Dataset",
    licence="research purposes only",
    language="ur",
    note="Cut from television talk shows, not acted.",
)


def _urdu_row(path: Path, match: re.Match[str]) -> dict[str, object]:
    sex, speaker, _, emotion, _ = match.groups()
    return {"speaker_id": f"{sex}{speaker}", "sex": sex, "emotion": _URDU_EMOTIONS[emotion]}


def _read_urdu(tree: Tree) -> Corpus:
    rows, dropped = named_rows(tree.audio, _URDU_NAME, _urdu_row)
    corpus = finish(_URDU, rows, dropped=dropped)
    found = corpus.table["speaker_id"].nunique()
    return with_note(
        corpus,
        f"The owners speak of 38 speakers; the file names hold {found}.",
        speaker_emotion_confounding(corpus.table).sentence,
        "A high figure on it may be speaker identification.",
    )


_SEMOUR_ACTOR = re.compile(r"actor[ _-]?0*(\d+)", re.IGNORECASE)
_SEMOUR = About(
    name="semour",
    title="SEMOUR",
    licence="on request from the authors, for research",
    language="ur",
    note=(
        "Acted from a script; the label is the intended emotion. Actor and emotion come from the folder names; the "
        "release does not give the sex of each actor."
    ),
)


def _actor_and_emotion(folder: Path, path: Path) -> tuple[str, str] | None:
    parts = path.relative_to(folder).parts[:-1]
    if len(parts) < 2:
        return None
    actor = _SEMOUR_ACTOR.fullmatch(parts[-2])
    return (actor.group(1), parts[-1]) if actor else None


def _read_semour(tree: Tree) -> Corpus:
    rows: list[dict[str, object]] = []
    dropped: list[tuple[str, str]] = []
    for path in tree.audio:
        known = _actor_and_emotion(tree.folder, path)
        if known is None:
            dropped.append((path.name, "it does not lie in a folder Actor_N/emotion"))
            continue
        actor, emotion = known
        rows.append({"file": path, "name": f"{actor}_{emotion}_{path.stem}", "speaker_id": actor, "emotion": emotion})
    return finish(_SEMOUR, rows, dropped=dropped)


def _is_semour(tree: Tree) -> bool:
    hits = sum(_actor_and_emotion(tree.folder, path) is not None for path in tree.audio)
    return bool(tree.audio) and 2 * hits > len(tree.audio)


_URDUSER_EMOTIONS = {
    "1": "angry",
    "2": "fear",
    "3": "boredom",
    "4": "disgust",
    "5": "happy",
    "6": "neutral",
    "7": "sad",
}
_URDUSER_NAME = re.compile(r"(\d{1,2})_([01])_([1-7])_(\d+)")
_URDUSER_TABLE = "UrSEC_Description.csv"
_URDUSER_FILE, _URDUSER_TEXT = "فائل کا نام", "تشریح"
_URDUSER = About(
    name="urduser",
    title="UrduSER",
    licence="see the owners' page",
    language="ur",
    note="Acted: cut from television dramas and films; the label is the emotion of the scene.",
)


def _urduser_row(path: Path, match: re.Match[str]) -> dict[str, object]:
    actor, sex, emotion, _ = match.groups()
    return {
        "speaker_id": actor,
        "sex": "male" if sex == "0" else "female",
        "emotion": _URDUSER_EMOTIONS[emotion],
    }


def _read_urduser(tree: Tree) -> Corpus:
    rows, dropped = named_rows(tree.audio, _URDUSER_NAME, _urduser_row)
    path = tree.find(_URDUSER_TABLE)
    if path:
        columns = [_URDUSER_FILE, _URDUSER_TEXT]
        said = {
            Path(name.strip()).stem: text.strip() or None
            for name, text in read_table(path, columns)[columns].itertuples(index=False)
        }
        rows = [{**row, "transcript": said.get(Path(str(row["file"])).stem)} for row in rows]
    return finish(_URDUSER, rows, dropped=dropped)


READERS = (
    Reader(
        name=_URDU.name,
        title=_URDU.title,
        layout="audio named SM1_F10_A010 (in Angry/, Happy/, Neutral/, Sad/ or not)",
        recognises=lambda tree: tree.mostly(_URDU_NAME),
        read=_read_urdu,
    ),
    Reader(
        name=_SEMOUR.name,
        title=_SEMOUR.title,
        layout="audio in Actor_1/Anger/ and so on",
        recognises=_is_semour,
        read=_read_semour,
    ),
    Reader(
        name=_URDUSER.name,
        title=_URDUSER.title,
        layout="audio named 1_0_1_01, with UrSEC_Description.csv",
        recognises=lambda tree: tree.mostly(_URDUSER_NAME),
        read=_read_urduser,
    ),
)
