"""MSP-IMPROV and MSP-Podcast.

Busso et al. 2017, doi:10.1109/TAFFC.2016.2515617; Lotfian and Busso 2019, doi:10.1109/TAFFC.2017.2736999.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, number, read_table, with_note
from ser_core.corpora.vocabulary import emotion_words

_LETTERS = {
    "A": "angry",
    "S": "sad",
    "H": "happy",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
    "X": "no agreement",
}

_IMPROV_CLIP = re.compile(
    r"(?:UTD|MSP)-IMPROV-(\S+)\.(?:avi|wav); *([A-Z]); *A:([\d.]+|NaN) *; *V:([\d.]+|NaN) *; *D:([\d.]+|NaN) *;.*"
)
_IMPROV_RATER = re.compile(r"([^;]+); *(Sad|Angry|Happy|Neutral|Other) *;.*")
_IMPROV_NAME = re.compile(r"S(\d\d)([AHNS])-([FM])(\d\d)-([A-Z])-.+")
_IMPROV_STYLES = {"P": "natural", "R": "target read", "S": "target improvised", "T": "other improvised"}
_IMPROV_TABLES = ("Evaluation.txt", "Evalution.txt")
_IMPROV = About(
    name="msp_improv",
    title="MSP-IMPROV",
    licence="on request from the owners, for research",
    language="en",
    note=(
        "Acted and improvised dialogues of twelve actors; the label is what most raters heard, missing where they did "
        "not agree. A rater's repeated answer to one clip counts once. Ratings are on a scale from 1 to 5."
    ),
    rating_range=(1.0, 5.0),
)


def _read_improv(tree: Tree) -> Corpus:
    table = tree.need(*_IMPROV_TABLES)
    audio = {path.stem: path for path in tree.audio}
    rows: list[dict[str, object]] = []
    raters: dict[str, dict[str, str]] = defaultdict(dict)
    name = ""
    for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
        clip, rater = _IMPROV_CLIP.match(line), _IMPROV_RATER.match(line)
        if clip:
            short, letter, arousal, valence, dominance = clip.groups()
            name = f"MSP-IMPROV-{short}"
            parts = _IMPROV_NAME.fullmatch(short)
            row: dict[str, object] = {
                "name": name,
                "file": audio.get(name, tree.folder / f"{name}.wav"),
                "emotion": _LETTERS.get(letter, letter),
                "arousal": number(arousal),
                "valence": number(valence),
                "dominance": number(dominance),
            }
            if parts:
                sentence, intended, sex, session, style = parts.groups()
                row |= {
                    "speaker_id": f"{sex}{session}",
                    "sex": sex,
                    "sentence": sentence,
                    "intended": emotion_words([_LETTERS[intended]], _IMPROV.title)[0],
                    "style": _IMPROV_STYLES.get(style),
                }
            rows.append(row)
        elif rater and name:
            raters[name][rater.group(1).strip()] = rater.group(2)
    heard = {
        clip: Counter(f"vote_{word}" for word in emotion_words(given.values(), _IMPROV.title))
        for clip, given in raters.items()
    }
    voted = sorted({key for votes in heard.values() for key in votes})
    full = [{**row, **{key: heard.get(str(row["name"]), Counter())[key] for key in voted}} for row in rows]
    return finish(_IMPROV, full)


_PODCAST_TABLES = ("Labels/labels_consensus.csv", "labels_consensus.csv", "Labels/labels_concensus.csv")
_PODCAST_DETAILS = ("Labels/labels_detailed.csv", "labels_detailed.csv")
_PODCAST_COLUMNS = ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"]
_PODCAST_SPLITS = {"development": "validation"}
_PODCAST = About(
    name="msp_podcast",
    title="MSP-Podcast",
    licence="on request from the owners, for research",
    language="en",
    note=(
        "Cut from podcasts, not acted; the label is what most raters heard, missing where they did not agree. Clips of "
        "unknown speakers have no speaker and cannot enter a speaker-independent split. Ratings are on a scale from "
        "1 to 7."
    ),
    rating_range=(1.0, 7.0),
)


def _podcast_votes(path: Path | None) -> dict[str, Counter[str]]:
    if path is None:
        return {}
    table = read_table(path, ["FileName", "EmoClass_Major"])
    # Raters may write their own word after "Other".
    primary = table["EmoClass_Major"].where(~table["EmoClass_Major"].str.lower().str.startswith("other"), "other")
    words = emotion_words(primary, _PODCAST.title)
    heard: dict[str, Counter[str]] = defaultdict(Counter)
    for name, word in zip(table["FileName"], words, strict=True):
        if word:
            heard[name][f"vote_{word}"] += 1
    return heard


def _read_podcast(tree: Tree) -> Corpus:
    consensus = tree.need(*_PODCAST_TABLES)
    audio = {path.name: path for path in tree.audio}
    heard = _podcast_votes(tree.find(*_PODCAST_DETAILS))
    voted = sorted({key for votes in heard.values() for key in votes})
    rows: list[dict[str, object]] = []
    for record in read_table(consensus, _PODCAST_COLUMNS).to_dict("records"):
        name = str(record["FileName"])
        split = str(record["Split_Set"]).strip().lower()
        speaker = str(record["SpkrID"]).strip()
        transcript = tree.folder / "Transcripts" / f"{Path(name).stem}.txt"
        rows.append(
            {
                "file": audio.get(name, tree.folder / "Audios" / name),
                "speaker_id": None if speaker.lower() in ("", "unknown") else speaker,
                "sex": record["Gender"],
                "emotion": _LETTERS.get(str(record["EmoClass"]), record["EmoClass"]),
                "arousal": number(record["EmoAct"]),
                "valence": number(record["EmoVal"]),
                "dominance": number(record["EmoDom"]),
                "split": _PODCAST_SPLITS.get(split, split) or None,
                "transcript": transcript.read_text(encoding="utf-8").strip() if transcript.is_file() else None,
                **{key: heard[name][key] if name in heard else None for key in voted},
            }
        )
    corpus = finish(_PODCAST, rows)
    return corpus if heard else with_note(corpus, "labels_detailed.csv is not in the folder, so there are no votes.")


READERS = (
    Reader(
        name=_IMPROV.name,
        title=_IMPROV.title,
        layout="Evaluation.txt (or Evalution.txt) beside session1/",
        recognises=lambda tree: tree.find(*_IMPROV_TABLES) is not None,
        read=_read_improv,
    ),
    Reader(
        name=_PODCAST.name,
        title=_PODCAST.title,
        layout="Labels/labels_consensus.csv with Audios/",
        recognises=lambda tree: tree.find(*_PODCAST_TABLES) is not None,
        read=_read_podcast,
    ),
)
