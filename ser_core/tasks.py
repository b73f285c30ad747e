"""What the systems are trained and tested on: a corpus, its classes, and committed speaker-disjoint folds."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from ser_core.errors import CorpusError, SettingError, short
from ser_core.settings import ASSETS
from ser_core.splits import speaker_folds, speaker_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ser_core.corpora import Corpus


SHARE = "share_"


@dataclass(frozen=True)
class Task:
    """A corpus with its classes and folds.

    name is that of the corpus's reader and of the committed table ``assets/folds/<name>.csv`` (clip, speaker, fold).
    balance: what is spread evenly over the folds, columns of the speaker table or "emotion", a speaker's commonest.
    shares: whether the classes are the labels of listeners' shares (columns ``share_…``) rather than of the clips.
    """

    name: str
    title: str
    emotions: tuple[str, ...]
    folds: int
    balance: tuple[str, ...] = ("sex",)
    shares: bool = False


CREMA_D = Task("crema_d", "CREMA-D", ("anger", "disgust", "fear", "happiness", "neutral", "sadness"), 5)

TASKS = {
    task.name: task
    for task in (
        CREMA_D,
        Task(
            "ravdess",
            "RAVDESS",
            ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
            6,
        ),
        Task("emodb", "EMO-DB", ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"), 5),
        Task("urdu", "URDU-Dataset", ("anger", "happiness", "neutral", "sadness"), 5, ("emotion",)),
        Task("emotale", "EmoTale", ("anger", "boredom", "happiness", "neutral", "sadness"), 5, ("sex",)),
    )
}


def task_of(corpus: "Corpus") -> Task:
    """Return the task of a corpus: the one with committed folds, or one made of its own emotions and speakers.

    Raises:
        CorpusError: fewer than two emotions or three speakers are known.
    """
    if corpus.name in TASKS:
        return TASKS[corpus.name]
    known = corpus.table.dropna(subset=["emotion", "speaker"])
    emotions, speakers = sorted(known["emotion"].unique()), known["speaker"].nunique()
    if len(emotions) < 2 or speakers < 3:
        raise CorpusError(
            f"{corpus.title} has {speakers} speakers and {len(emotions)} emotions that are known; training and testing "
            "on different speakers needs three and two."
        )
    return Task(corpus.name, corpus.title, tuple(emotions), min(5, speakers))


def check_folds(task: Task, folds: "Iterable[int]") -> None:
    """Raise SettingError where a fold is asked for that a task has not; its test part would be empty."""
    if strange := [str(fold) for fold in folds if not 0 <= fold < task.folds]:
        raise SettingError(
            f"{task.title} has the folds 0 to {task.folds - 1}, and no fold {', '.join(strange)}; choose one of these."
        )


def check_audio(table: pd.DataFrame, title: str) -> None:
    """Raise CorpusError where clips of a corpus table have no file."""
    silent = table[table["file"].isna()]
    if len(silent):
        raise CorpusError(
            f"{len(silent)} of {len(table)} clips of {title} have no audio, first {short(silent['name'].iloc[0])}; put "
            "the sound beside the labels, or take these rows out."
        )


def fold_table(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    """Return clip, speaker and fold of every clip of a corpus table, speakers dealt to folds; what gets committed."""
    clips = _clips(task, table)
    commonest = clips.groupby("speaker")["emotion"].agg(lambda emotions: next(iter(emotions.mode()), ""))
    speakers = speaker_table(clips).assign(emotion=commonest)
    fold_of = speaker_folds(speakers, task.folds, balance=task.balance)
    return pd.DataFrame(
        {"clip": clips["clip"], "speaker": clips["speaker_id"], "fold": clips["speaker"].map(fold_of)}
    ).sort_values("clip", ignore_index=True)


def with_folds(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    """Return a corpus table with ``clip`` and the committed ``fold`` of each clip, in the committed table's order.

    Of a corpus that has no task of its own here, the folds are dealt anew, always alike.

    Raises:
        CorpusError: there is no fold table for the task, or clips of it are missing in the corpus.
    """
    path = ASSETS / "folds" / f"{task.name}.csv"
    if "file" in table:
        check_audio(table, task.title)
    if task.name not in TASKS:
        known = table.dropna(subset=["speaker"])
        fold_of = fold_table(task, known).set_index("clip")["fold"]
        clips = _clips(task, known)
        return clips.assign(fold=clips["clip"].map(fold_of).astype(int)).sort_values("clip", ignore_index=True)
    if not path.exists():
        raise CorpusError(f"There is no fold table for {task.title}; write it with 'python -m ser_core folds'.")
    folds = pd.read_csv(path, dtype=str)
    clips = _clips(task, table).set_index("clip")
    absent = [clip for clip in folds["clip"] if clip not in clips.index]
    if absent:
        raise CorpusError(
            f"{len(absent)} clips of the {task.title} fold table are not in the corpus, first {absent[0]}."
        )
    joined = clips.loc[folds["clip"]].reset_index()
    return joined.assign(fold=folds["fold"].astype(int).to_numpy())


def _clips(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    if task.shares:
        known = table.dropna(subset=[f"{SHARE}{label}" for label in task.emotions])
    else:
        known = table[table["emotion"].isin(task.emotions)]
    return known.assign(clip=known["name"])


def of_shares(task: Task, corpus: "Corpus") -> Task:
    """Return a task whose classes are the labels that a corpus has listeners' shares of; as it is where it has none.

    Every clip with shares belongs to it, also one whose shares name no single emotion.
    """
    labels = tuple(str(name).removeprefix(SHARE) for name in corpus.table if str(name).startswith(SHARE))
    return replace(task, emotions=labels, shares=True) if labels and task.name not in TASKS else task
