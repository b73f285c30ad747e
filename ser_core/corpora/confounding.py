"""How far the speaker gives the emotion away."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_core.errors import CorpusError
from ser_core.numbers import rounded_percent

CONFOUNDED = frozenset({"urdu"})
"""Corpora whose speakers give the emotion away, as :func:`speaker_emotion_confounding` measures."""
DEALS = 200


@dataclass(frozen=True)
class Confounding:
    """How far a corpus's speakers and emotions go together.

    Attributes:
        speakers: number of speakers.
        one_emotion: number of them that are heard in one emotion only.
        explained: share (0 … 1) of the uncertainty about the emotion that knowing the speaker removes (Theil's U);
            it leans upwards when speakers have few clips.
        recall_from_speaker: UAR of always answering a speaker's most frequent emotion, without listening.
        chance: UAR of always answering one emotion.
        dealt_one_emotion: what ``one_emotion`` is on average where emotions are dealt to the clips at random.
        dealt_recall: the same of ``recall_from_speaker``; it lies above ``chance``, as speakers have few clips.
    """

    speakers: int
    one_emotion: int
    explained: float
    recall_from_speaker: float
    chance: float
    dealt_one_emotion: float
    dealt_recall: float

    @property
    def sentence(self) -> str:
        """The finding in words."""
        several = self.speakers - self.one_emotion
        return (
            f"{several} of {self.speakers} speakers {'has' if several == 1 else 'have'} more than one emotion; "
            f"knowing who speaks, without listening, gives a UAR of {rounded_percent(self.recall_from_speaker, 1)} "
            f"(one constant answer: {rounded_percent(self.chance, 1)})."
        )


def speaker_emotion_confounding(table: pd.DataFrame) -> Confounding:
    """Return how far the speaker gives the emotion away in a corpus table; clips without either are left out.

    Theil's uncertainty coefficient is described by Theil 1970, doi:10.1086/224909.

    Raises:
        CorpusError: no clip has both a speaker and an emotion.
    """
    known = table.dropna(subset=["speaker", "emotion"])
    if known.empty:
        raise CorpusError(
            "No clip has both a speaker and an emotion, so nothing can be said about how they go together."
        )
    speakers, emotions = (pd.factorize(known[column])[0] for column in ("speaker", "emotion"))
    counts = _counts(speakers, emotions)
    random = np.random.default_rng(0)
    dealt = [_counts(speakers, random.permutation(emotions)) for _ in range(DEALS)]
    classes = counts.sum(axis=0)
    whole = _entropy(classes)
    within = sum(row.sum() / counts.sum() * _entropy(row) for row in counts)
    return Confounding(
        speakers=len(counts),
        one_emotion=_of_one_emotion(counts),
        explained=float(1 - within / whole) if whole > 0 else float("nan"),
        recall_from_speaker=_recall(counts),
        chance=1 / len(classes),
        dealt_one_emotion=float(np.mean([_of_one_emotion(each) for each in dealt])),
        dealt_recall=float(np.mean([_recall(each) for each in dealt])),
    )


def _counts(speakers: np.ndarray, emotions: np.ndarray) -> np.ndarray:
    """Return clips (speakers, emotions) of both codes (clips,)."""
    shape = (speakers.max() + 1, emotions.max() + 1)
    return np.bincount(speakers * shape[1] + emotions, minlength=shape[0] * shape[1]).reshape(shape).astype(float)


def _of_one_emotion(counts: np.ndarray) -> int:
    return int(((counts > 0).sum(axis=1) == 1).sum())


def _recall(counts: np.ndarray) -> float:
    """Return the UAR of always answering a speaker's most frequent emotion."""
    right = np.bincount(counts.argmax(axis=1), weights=counts.max(axis=1), minlength=counts.shape[1])
    return float((right / counts.sum(axis=0)).mean())


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
