"""IEMOCAP: ten actors in five sessions, improvised and scripted dialogues.

Busso et al. 2008, doi:10.1007/s10579-008-9076-6; the evaluation files are described in the release's Documentation.
"""

import re
from collections import Counter
from pathlib import Path

from ser_core.corpora.table import About, Corpus, Reader, Tree, finish
from ser_core.corpora.vocabulary import emotion_words
from ser_core.errors import CorpusError

_TURN = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(Ses\S+)\s+(\w+)\s+\[([^\]]+)\]")
# C-E lines are external evaluators; C-F and C-M lines are the actors' views of themselves.
_EVALUATOR = re.compile(r"C-E\d+:\s*([^()]*)")
_SAID = re.compile(r"(Ses\S+) \[[^\]]+\]:\s*(.+)")
_SPEAKER = re.compile(r"(Ses\d+)[FM]_.+_([FM])[^_]*")

_ABOUT = About(
    name="iemocap",
    title="IEMOCAP",
    licence="on request from the owners, for research",
    language="en",
    note=(
        "Acted dialogues; the label is what most external evaluators heard, missing where they did not agree. An "
        "evaluator may name several emotions: each counts as one vote. Ratings are on a scale from 1 to 5; "
        "what the owners put at 5.5 counts as 5."
    ),
    rating_range=(1.0, 5.0),
)


def _turns(path: Path) -> list[dict[str, object]]:
    turns: list[dict[str, object]] = []
    heard: list[Counter[str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        turn, evaluator = _TURN.match(line), _EVALUATOR.match(line)
        if turn:
            valence, arousal, dominance = (min(float(value), 5.0) for value in turn.group(3).split(","))
            turns.append(
                {
                    "name": turn.group(1),
                    "emotion": turn.group(2),
                    "valence": valence,
                    "arousal": arousal,
                    "dominance": dominance,
                }
            )
            heard.append(Counter())
        elif evaluator and turns:
            named = [part.strip() for part in evaluator.group(1).split(";") if part.strip()]
            heard[-1].update(word for word in emotion_words(named, _ABOUT.title) if word)
    return [
        {**turn, **{f"vote_{word}": count for word, count in votes.items()}}
        for turn, votes in zip(turns, heard, strict=True)
    ]


def _transcripts(session: Path) -> dict[str, str]:
    said: dict[str, str] = {}
    for path in sorted((session / "dialog" / "transcriptions").glob("[!.]*.txt")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = _SAID.match(line)
            if match:
                said[match.group(1)] = match.group(2).strip()
    return said


def _sessions(tree: Tree) -> list[Path]:
    return sorted(path for path in tree.folder.glob("Session*") if (path / "dialog" / "EmoEvaluation").is_dir())


def _read(tree: Tree) -> Corpus:
    rows: list[dict[str, object]] = []
    for session in _sessions(tree):
        said = _transcripts(session)
        audio = {path.stem: path for path in tree.audio if path.is_relative_to(session / "sentences")}
        for evaluation in sorted((session / "dialog" / "EmoEvaluation").glob("[!.]*.txt")):
            for turn in _turns(evaluation):
                name = str(turn["name"])
                speaker = _SPEAKER.fullmatch(name)
                if speaker is None:
                    raise CorpusError(f"{evaluation.name} holds a turn named {name}, from which no speaker follows.")
                expected = session / "sentences" / "wav" / evaluation.stem / f"{name}.wav"
                rows.append(
                    {
                        **turn,
                        "file": audio.get(name, expected),
                        "speaker_id": f"{speaker.group(1)}_{speaker.group(2)}",
                        "sex": speaker.group(2),
                        "transcript": said.get(name),
                        "scenario": evaluation.stem,
                    }
                )
    voted = sorted({key for row in rows for key in row if key.startswith("vote_")})
    return finish(_ABOUT, [{**dict.fromkeys(voted, 0), **row} for row in rows])


READER = Reader(
    name=_ABOUT.name,
    title=_ABOUT.title,
    layout="Session1/dialog/EmoEvaluation/*.txt with Session1/sentences/wav/",
    recognises=lambda tree: bool(_sessions(tree)),
    read=_read,
)
