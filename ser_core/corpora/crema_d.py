"""CREMA-D: 91 actors, 12 sentences, 6 intended emotions, and what raters heard.

Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244; tables as described in the README of CheyneyComputerScience/CREMA-D.
"""

import re
from pathlib import Path

import pandas as pd

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish, named_rows, number, read_table, with_note
from ser_core.numbers import rounded_percent

SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_INTENSITY = {"LO": "low", "MD": "medium", "HI": "high"}
_VOTES = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(XX?|LO|MD|HI)")
# One audio file of the release lacks a letter that all the tables have.
_AS_IN_TABLES = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}
_VOICE_ONLY = "1"

_TWO_LABELS = "the same audio is published under two emotions"
_ABOUT = About(
    name="crema_d",
    title="CREMA-D",
    licence="ODbL 1.0 (database), DbCL 1.0 (contents)",
    language="en",
    note=(
        "Acted. The label is the emotion that the actor intended, not the one that listeners heard: the votes of the "
        "voice-only raters stand beside it."
    ),
    faulty={
        "1076_MTI_SAD_XX": "digital silence",
        **dict.fromkeys(
            (
                *("1006_TIE_HAP_XX", "1006_TIE_NEU_XX", "1013_WSI_SAD_XX", "1013_WSI_DIS_XX"),
                *("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
            ),
            _TWO_LABELS,
        ),
    },
)


def _row(path: Path, match: re.Match[str]) -> dict[str, object]:
    actor, sentence, emotion, intensity = match.groups()
    return {
        "name": _AS_IN_TABLES.get(path.stem, path.stem),
        "speaker_id": actor,
        "emotion": emotion,
        "intensity": _INTENSITY.get(intensity),
        "text_id": sentence,
        "transcript": SENTENCES.get(sentence),
    }


def _demographics(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None:
        return {}
    table = read_table(path, ["ActorID", "Age", "Sex", "Race", "Ethnicity"])
    return {
        actor: {"age": number(age), "sex": sex, "race": race or None, "ethnicity": ethnicity or None}
        for actor, age, sex, race, ethnicity in table[["ActorID", "Age", "Sex", "Race", "Ethnicity"]].itertuples(
            index=False
        )
    }


def _voice_votes(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None:
        return {}
    table = read_table(path, ["fileName", *_VOTES])
    voice = table[table.iloc[:, 0].str.startswith(_VOICE_ONLY)]
    return {
        name: {f"vote_{_VOTES[letter]}": number(count) for letter, count in zip(_VOTES, counts, strict=True)}
        for name, *counts in voice[["fileName", *_VOTES]].itertuples(index=False)
    }


def _read(tree: Tree) -> Corpus:
    rows, dropped = named_rows(tree.within("AudioWAV", "audio", "AudioMP3"), _NAME, _row)
    actors = _demographics(tree.find("VideoDemographics.csv", "../VideoDemographics.csv"))
    votes = _voice_votes(
        tree.find("processedResults/tabulatedVotes.csv", "tabulatedVotes.csv", "../processedResults/tabulatedVotes.csv")
    )
    full = [{**row, **actors.get(str(row["speaker_id"]), {}), **votes.get(str(row["name"]), {})} for row in rows]
    corpus = finish(_ABOUT, full, dropped=dropped)
    if not votes:
        return with_note(corpus, "tabulatedVotes.csv is not in the folder, so there are no votes.")
    heard = corpus.table[[f"vote_{word}" for word in _VOTES.values()]]
    rated = heard.notna().all(axis=1)
    heard = heard[rated].rename(columns=lambda column: column.removeprefix("vote_"))
    first = heard.eq(heard.max(axis=1), axis=0)
    intended = corpus.table.loc[rated, "emotion"]
    among_first = pd.Series([first.at[clip, emotion] for clip, emotion in intended.items()], index=intended.index)
    alone = among_first & (first.sum(axis=1) == 1)
    return with_note(
        corpus,
        f"The intended emotion is the raters' most frequent answer on {rounded_percent(alone.mean(), 1)} of clips and "
        f"shares the first place with another on a further {rounded_percent((among_first & ~alone).mean(), 1)}.",
    )


READER = Reader(
    name=_ABOUT.name,
    title=_ABOUT.title,
    layout="audio named 1001_DFA_ANG_XX, with VideoDemographics.csv and tabulatedVotes.csv",
    recognises=lambda tree: tree.mostly(_NAME),
    read=_read,
)
