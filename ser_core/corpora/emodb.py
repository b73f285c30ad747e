"""EMO-DB, the Berlin database: 10 actors, 10 sentences, 7 emotions.

Burkhardt et al. 2005, doi:10.21437/Interspeech.2005-446.
"""

import re
from pathlib import Path

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, named_rows, number, read_table

_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
_SPEAKERS = {
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z])")

_ABOUT = About(
    name="emodb",
    title="EMO-DB",
    licence="CC0 1.0",
    language="de",
    note="Acted; only clips that listeners recognised well were published, so it flatters any recogniser.",
)


def _row(path: Path, match: re.Match[str]) -> dict[str, object]:
    speaker, sentence, emotion, _ = match.groups()
    sex, age = _SPEAKERS.get(speaker, (None, None))
    return {
        "speaker_id": speaker,
        "sex": sex,
        "age": age,
        "emotion": _EMOTIONS[emotion],
        "text_id": sentence,
        "transcript": _SENTENCES.get(sentence),
    }


def _listeners(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None:
        return {}
    columns = ["file", "recognised_pct", "natural_pct"]
    return {
        name: {"recognised_percent": number(recognised), "natural_percent": number(natural)}
        for name, recognised, natural in read_table(path, columns)[columns].itertuples(index=False)
    }


def _read(tree: Tree) -> Corpus:
    rows, dropped = named_rows(tree.within("wav", "audio"), _NAME, _row)
    scores = _listeners(tree.find("listener_scores.csv"))
    return finish(_ABOUT, [{**row, **scores.get(Path(str(row["file"])).stem, {})} for row in rows], dropped=dropped)


READER = Reader(
    name=_ABOUT.name,
    title=_ABOUT.title,
    layout="audio named 03a01Fa (in wav/ or not)",
    recognises=lambda tree: tree.mostly(_NAME),
    read=_read,
)
