"""Does a test share with its training what it should not: speaker, recording, sentence? ``python -m ser_core leaks``.

A split is a column of words per clip, such as "train" and "test"; what is in none is left out. Beside the two sides of
a split, the corpus itself can give emotions away: where a speaker or a sentence is heard in one emotion only, whoever
knows the voice or the words need not listen to how it is said. That is measured without any model, over speakers and
sentences with two clips or more: whoever is heard once has one emotion by arithmetic.
"""

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.audio import read
from ser_core.corpora import Confounding, Corpus, speaker_emotion_confounding
from ser_core.errors import CorpusError
from ser_core.numbers import rounded_percent
from ser_core.tasks import TASKS, with_folds

TRIPS = 0.5
"""A corpus is called confounded where speakers of one emotion, or the UAR of knowing the speaker, lie farther than this
on the way from what emotions dealt at random give to all."""

Tell = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Shared:
    """What two or more parts of a split have in common.

    Attributes:
        what: "speaker", "recording" or "sentence".
        values: those that are in more than one part, sorted; of a recording the name of one clip, of the test part if
            it is there.
        of: how many different ones there are.
        clips: (clips,) names of the clips of the test part that are concerned; none where only others are.
        known: share (0 … 1) of clips of which it is known.
    """

    what: str
    values: tuple[str, ...]
    of: int
    clips: tuple[str, ...]
    known: float

    @property
    def verdict(self) -> str:
        """One of "unknown", "fine", "leak", or "by design" for sentences, which the owners chose to share."""
        if not self.known:
            return "unknown"
        if not self.values:
            return "fine"
        return "by design" if self.what == "sentence" else "leak"

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if not self.known:
            return f"Nothing is known about the {self.what}s, so nothing can be said about them."
        part = "" if self.known == 1 else f" (known of {100 * self.known:.0f} % of the clips)"
        if not self.values:
            return f"No {self.what} is on both sides{part}."
        first = ", ".join(self.values[:3])
        return (
            f"{len(self.values)} of {self.of} {self.what}s are on both sides, {len(self.clips)} clips of the test part "
            f"are concerned{part}; such as {first}."
        )


@dataclass(frozen=True, eq=False)
class Leaks:
    """All that was found: what is shared between parts, and what speaker and sentence give away (None: unknown)."""

    shared: tuple[Shared, ...]
    by_speaker: Confounding | None
    by_sentence: Confounding | None

    @property
    def leaks(self) -> tuple[Shared, ...]:
        """What must not be shared and is: speakers and recordings."""
        return tuple(each for each in self.shared if each.what != "sentence" and each.values)

    @property
    def confounded(self) -> bool:
        """Whether the speakers alone give much of the emotions away."""
        return self.by_speaker is not None and trips(self.by_speaker)


def trips(found: Confounding) -> bool:
    """Return whether speakers (or sentences) give so much of the emotions away that figures must say so.

    That is more than half of the way from what emotions dealt to the clips at random give to all.
    """
    ways = (
        (found.one_emotion, found.dealt_one_emotion, found.speakers),
        (found.recall_from_speaker, found.dealt_recall, 1.0),
    )
    return any(value - dealt > TRIPS * (most - dealt) + 1e-9 for value, dealt, most in ways)


def find_leaks(table: pd.DataFrame, split: Sequence[str | None], hashes: Sequence[str | None] | None = None) -> Leaks:
    """Return what the parts of a split share, and what speaker and sentence give away in the table as a whole.

    Args:
        table: of a corpus reader: name, speaker, emotion and text_id are looked at; unknown is missing.
        split: part of each clip; clips in none (missing) are left out of the comparison. Parts whose names begin with
            "test" or "eval", or all but those of "train" where there are none, are those whose clips are counted.
        hashes: of each clip's sound, as of :func:`audio_hashes`; recordings are not compared without.

    Raises:
        CorpusError: the split has fewer than two parts.
    """
    parts = pd.Series(list(split), index=table.index, dtype="object")
    names = sorted(parts.dropna().unique())
    if len(names) < 2:
        raise CorpusError("A split needs two parts or more, such as train and test; this one has fewer.")
    called = {name: str(name).casefold() for name in names}
    tested = [name for name in names if called[name].startswith(("test", "eval"))]
    tested = tested or [name for name in names if not called[name].startswith("train")]
    looked_at = {"speaker": table["speaker"], "sentence": table["text_id"]}
    if hashes is not None:
        looked_at["recording"] = pd.Series(list(hashes), index=table.index, dtype="object")
    shared = []
    for what in ("speaker", "recording", "sentence"):
        if what not in looked_at:
            continue
        inside = pd.DataFrame({"name": table["name"], "part": parts, "value": looked_at[what]}).dropna(subset=["part"])
        known = inside.dropna(subset=["value"])
        several = known.groupby("value")["part"].nunique()
        both = known[known["value"].isin(several.index[several > 1])]
        inside_test = both["part"].isin(tested)
        one_each = pd.concat([both[inside_test], both[~inside_test]]).drop_duplicates("value")
        values = tuple(sorted(map(str, one_each["name" if what == "recording" else "value"])))
        clips = tuple(both.loc[inside_test, "name"])
        shared.append(Shared(what, values, len(several), clips, len(known) / max(1, len(inside))))
    return Leaks(tuple(shared), confounding(table, "speaker"), confounding(table, "text_id"))


def audio_hashes(files: Sequence[str | None], tell: Tell | None = None) -> list[str | None]:
    """Return a hash of each file's sound as it is decoded, so that copies in another container are found, too.

    Args:
        files: paths; None where there is no audio.
        tell: is told how far the work is.
    """
    found: list[str | None] = []
    for place, file in enumerate(files):
        sound = None
        if isinstance(file, str | Path):
            sound = hashlib.sha256(np.round(read(file).samples * 32767).astype("<i2").tobytes()).hexdigest()[:16]
        found.append(sound)
        if tell is not None:
            tell((place + 1) / len(files), f"{place + 1} of {len(files)} recordings")
    return found


def fold_split(corpus: Corpus, fold: int = 0) -> pd.Series:
    """Return "test" for the clips of a committed fold, "train" for the other folds, missing for clips in none.

    Raises:
        CorpusError: there are no folds for this corpus.
    """
    if corpus.name not in TASKS:
        raise CorpusError(f"There are no folds for {corpus.title}; there are for {', '.join(TASKS)}.")
    folds = with_folds(TASKS[corpus.name], corpus.table).set_index("clip")["fold"]
    of_clip = corpus.table["name"].map(folds)
    return of_clip.map(lambda k: "test" if k == fold else "train", na_action="ignore")


def clip_split(table: pd.DataFrame, share: float = 0.2, *, seed: int = 0) -> pd.Series:
    """Return the split that dealing clips instead of speakers gives: the leak that many published figures have."""
    drawn = np.random.default_rng(seed).random(len(table))
    return pd.Series(np.where(drawn < share, "test", "train"), index=table.index)


def swapped_labels(truth: Iterable[str], answers: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return pairs of emotions whose labels look swapped: each is mostly answered with the other.

    A pair counts where of the clips labelled with either more are answered with the other than with itself.
    """
    counts = pd.crosstab(pd.Series(list(truth)), pd.Series(list(answers)))
    names = sorted(set(counts.index) & set(counts.columns))
    found = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if counts.loc[one, other] > counts.loc[one, one] and counts.loc[other, one] > counts.loc[other, other]:
                found.append((one, other))
    return tuple(found)


def between(
    training: Corpus, test: Corpus, hashes: tuple[Sequence[str | None], Sequence[str | None]] | None = None
) -> Leaks:
    """Return what a corpus that is trained on and another that is tested on share; see :func:`find_leaks`.

    Sentences are compared by their words where both corpora tell them, whose own numbers would mean nothing to each
    other. Speakers have the names of their own corpus: one person under two names is found by the recordings alone.
    What speaker and sentence give away is a question to each corpus, and not answered here.

    Args:
        training: with the names that speakers and sentences have in it.
        test: the same.
        hashes: of the sound of the clips of both; recordings are not compared without.
    """
    table = pd.concat([training.table, test.table], ignore_index=True)
    if all(each.table["transcript"].notna().any() for each in (training, test)):
        table["text_id"] = table["transcript"].map(_words, na_action="ignore")
    parts = ["train"] * len(training.table) + ["test"] * len(test.table)
    found = find_leaks(table, parts, None if hashes is None else [*hashes[0], *hashes[1]])
    return replace(found, by_speaker=None, by_sentence=None)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def report_all(corpora: Sequence[Corpus], *, sound: bool = True) -> str:
    """Return in words what is found in each corpus, and what each shares with each other one."""
    heard: dict[str, list[str | None]] = {}
    for corpus in corpora if sound else ():
        heard[corpus.name] = audio_hashes(corpus.table["file"].where(corpus.table["file"].notna(), None).tolist())
    lines = [report(corpus, heard.get(corpus.name)) for corpus in corpora]
    for one, other in itertools.combinations(corpora, 2):
        found = between(one, other, (heard[one.name], heard[other.name]) if sound else None)
        told = " ".join(each.sentence for each in found.shared if each.what != "sentence")
        lines.append(f"{one.title} and {other.title}: {told}")
    return "\n".join(lines)


def report(corpus: Corpus, hashes: Sequence[str | None] | None = None) -> str:
    """Return in words what is found in a corpus: in the app's folds, the owners' split, and in the corpus itself."""
    splits = {}
    if corpus.name in TASKS:
        splits["fold 0 of the app"] = fold_split(corpus)
    if corpus.table["split"].nunique() > 1:
        splits["the owners' split"] = corpus.table["split"]
    lines = [corpus.title]
    found = None
    for title, split in splits.items():
        found = find_leaks(corpus.table, split.tolist(), hashes)
        lines += [f"  {title}: {each.sentence}" for each in found.shared]
    if found is None:
        found = find_leaks(corpus.table, clip_split(corpus.table).tolist(), None)
    for what, known in (("speaker", found.by_speaker), ("sentence", found.by_sentence)):
        if known is not None:
            verdict = "CONFOUNDED" if trips(known) else "not confounded"
            lines.append(f"  {what} and emotion: {verdict}. {confounding_words(known, what)}")
    return "\n".join(lines)


def confounding_words(found: Confounding, what: str = "speaker") -> str:
    """Return how far speakers, or sentences, give emotions away, in words."""
    return (
        f"{found.one_emotion} of {found.speakers} {what}s are heard in one emotion only; knowing the {what}, without "
        f"listening, gives a UAR of {rounded_percent(found.recall_from_speaker, 1)} (emotions dealt to the clips at "
        f"random give {rounded_percent(found.dealt_recall, 1)}, with {found.dealt_one_emotion:.1f} {what}s in one "
        f"emotion only){_taken_away(found)} ({what}s with one clip are not judged)."
    )


def _taken_away(found: Confounding) -> str:
    if math.isnan(found.explained):
        return ""
    return f"; it takes away {rounded_percent(max(0.0, found.explained))} of the uncertainty about the emotion"


def confounding(table: pd.DataFrame, column: str) -> Confounding | None:
    """Return how far a column, such as "speaker", gives the emotion away; None where no value of it has two clips."""
    named = pd.DataFrame({"speaker": table[column], "emotion": table["emotion"]}).dropna()
    several = named[named.duplicated("speaker", keep=False)]
    return speaker_emotion_confounding(several) if len(several) else None
