"""RAVDESS, speech part: 24 actors, 8 emotions, 2 intensities, 2 sentences.

Livingstone and Russo 2018, doi:10.1371/journal.pone.0196391.
"""

import re
from pathlib import Path

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, named_rows

_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
_SENTENCES = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
_INTENSITY = {"01": "normal", "02": "strong"}
_NAME = re.compile(r"(\d\d)-(\d\d)-(0[1-8])-(0[12])-(0[12])-(\d\d)-(\d\d)")
_SPEECH = "01"

_ABOUT = About(
    name="ravdess",
    title="RAVDESS (speech)",
    licence="CC BY-NC-SA 4.0",
    language="en",
    note="Acted by professionals, two sentences only; the label is the intended emotion. Song is left out.",
    faulty={"03-01-03-01-02-02-07": "the same audio as 03-01-03-01-02-01-07"},
)


def _row(path: Path, match: re.Match[str]) -> dict[str, object]:
    _, channel, emotion, intensity, sentence, repetition, actor = match.groups()
    return {
        "channel": channel,
        "speaker_id": actor,
        "sex": "female" if int(actor) % 2 == 0 else "male",
        "emotion": _EMOTIONS[emotion],
        "intensity": _INTENSITY[intensity],
        "text_id": sentence,
        "transcript": _SENTENCES[sentence],
        "repetition": int(repetition),
    }


def _read(tree: Tree) -> Corpus:
    rows, dropped = named_rows(tree.audio, _NAME, _row)
    song = [(Path(str(row["file"])).name, "song, not speech") for row in rows if row["channel"] != _SPEECH]
    speech = [
        {key: value for key, value in row.items() if key != "channel"} for row in rows if row["channel"] == _SPEECH
    ]
    return finish(_ABOUT, speech, dropped=[*dropped, *song])


READER = Reader(
    name=_ABOUT.name,
    title=_ABOUT.title,
    layout="audio named 03-01-05-02-01-02-12 (in Actor_12 or not)",
    recognises=lambda tree: tree.mostly(_NAME),
    read=_read,
)
