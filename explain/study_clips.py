"""The clips of a study: speakers and emotions in turn, so that the first of them are a fair sample of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_core.errors import CorpusError


@dataclass(frozen=True)
class Clip:
    """One clip of the study; ``sex`` chooses the neutral reference and the range of the pitch tracker.

    age (years), race and ethnicity are as the corpus tells them, None where it does not; fold is the fold of CREMA-D's
    committed table in which the clip is tested, 0 of any other corpus, which no model was trained on.
    """

    file: str
    corpus: str
    speaker: str
    sex: str
    emotion: str
    age: float | None = None
    race: str | None = None
    ethnicity: str | None = None
    fold: int = 0


def in_turn(
    corpus_folder: Path, emotions: Sequence[str], count: int, seed: int = 0, *, every_fold: bool = False
) -> list[Clip]:
    """Return clips that the shipped CREMA-D models never heard, every speaker and emotion once before any twice.

    Of CREMA-D only the test speakers of fold 0 count, or those of every fold, for models that were trained without
    them; of any other corpus all speakers, and the emotions that the model knows. Fewer clips are the first of more.

    Raises:
        CorpusError: nothing of the folder can be used.
    """
    from ser_core.corpora import read_corpus
    from ser_core.tasks import CREMA_D, with_folds

    corpus = read_corpus(corpus_folder)
    table = corpus.table.assign(fold=0)
    if corpus.name == CREMA_D.name:
        table = with_folds(CREMA_D, corpus.table)
        table = table if every_fold else table.query("fold == 0")
    table = table[table["emotion"].isin(emotions) & table["sex"].isin(["female", "male"])]
    if table.empty:
        raise CorpusError(f"{corpus.title} holds no clip of a known sex with an emotion that the model knows.")
    table = table.sample(frac=1, random_state=seed)
    turn = table.groupby(["speaker", "emotion"]).cumcount()
    table = table.assign(turn=turn).sort_values("turn", kind="stable").head(count)
    facts = ["file", "speaker", "sex", "emotion", "age", "race", "ethnicity", "fold"]
    known: list[dict[Any, Any]] = table[facts].astype("object").where(table[facts].notna(), None).to_dict("records")
    return [Clip(corpus=corpus.name, **row | {"file": str(row["file"])}) for row in known]
