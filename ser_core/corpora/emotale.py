"""EmoTale: 18 speakers, Danish and English, 5 emotions, arousal, valence and dominance by three raters.

Authors' repository snehadas/EmoTale: ``wav/``, ``annotations.csv``, ``speaker_info.csv``.
"""

import re
from collections import Counter
from pathlib import Path
from statistics import fmean

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, named_rows, number, read_table, with_note

_EMOTIONS = {"A": "anger", "H": "happiness", "S": "sadness", "B": "boredom", "N": "neutral"}
_LANGUAGES = {"DK": "da", "EN": "en"}
_DIMENSIONS = {"A": "arousal", "V": "valence", "D": "dominance"}
_RATERS = ("a1", "a2", "a3")
_NAME = re.compile(r"(DK|EN)_(\d{3})_([AHSBN])_(\d+)")

_ABOUT = About(
    name="emotale",
    title="EmoTale",
    licence="no licence stated; the authors ask to be cited",
    language="da,en",
    note=(
        "Acted; the label is the intended emotion. Arousal, valence and dominance are means of three raters on a "
        "scale from 1 to 5, and the raters' own categories are the votes."
    ),
    rating_range=(1.0, 5.0),
)


def _row(path: Path, match: re.Match[str]) -> dict[str, object]:
    language, speaker, emotion, sentence = match.groups()
    return {
        "speaker_id": speaker,
        "language": _LANGUAGES[language],
        "emotion": _EMOTIONS[emotion],
        "text_id": f"{language}_{sentence}",
    }


def _ratings(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None:
        return {}
    cells = [f"{rater}_{key}" for rater in _RATERS for key in (*_DIMENSIONS, "cat")]
    found: dict[str, dict[str, object]] = {}
    for record in read_table(path, ["file", *cells]).to_dict("records"):
        row: dict[str, object] = {}
        for letter, dimension in _DIMENSIONS.items():
            given = [number(record[f"{rater}_{letter}"]) for rater in _RATERS]
            known = [value for value in given if value is not None]
            row[dimension] = fmean(known) if known else None
            row |= {f"{dimension}_{place}": value for place, value in enumerate(given, start=1)}
        heard = Counter(str(record[f"{rater}_cat"]) for rater in _RATERS)
        row |= {f"vote_{word}": heard[letter] for letter, word in _EMOTIONS.items()}
        found[Path(str(record["file"])).stem] = row
    return found


def _speakers(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None:
        return {}
    columns = ["speaker", "gender", "age"]
    return {
        speaker: {"sex": sex, "age": number(age)}
        for speaker, sex, age in read_table(path, columns)[columns].itertuples(index=False)
    }


def _read(tree: Tree) -> Corpus:
    rows, dropped = named_rows(tree.within("wav", "audio"), _NAME, _row)
    ratings = _ratings(tree.find("annotations.csv"))
    speakers = _speakers(tree.find("speaker_info.csv"))
    full = [
        {**row, **speakers.get(str(row["speaker_id"]), {}), **ratings.get(Path(str(row["file"])).stem, {})}
        for row in rows
    ]
    corpus = finish(_ABOUT, full, dropped=dropped)
    return corpus if ratings else with_note(corpus, "annotations.csv is not in the folder, so there are no ratings.")


READER = Reader(
    name=_ABOUT.name,
    title=_ABOUT.title,
    layout="audio named DK_001_A_1 or EN_001_A_1, with annotations.csv and speaker_info.csv",
    recognises=lambda tree: tree.mostly(_NAME),
    read=_read,
)
