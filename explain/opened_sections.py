"""Comparisons, rival emotions and a person's own baseline as further parts of a report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from explain.baseline import ALONE_IS_EXPLAINED, OwnBaseline, answer_sentence
from explain.comparison import Comparison
from explain.cues import CLIP, CueSettings
from explain.opened import Section, Table
from explain.printing import LONGEST_NAME, cue_title, cut, number, p_value, percent, place_name
from explain.rivals import UNKNOWN, Rivalry
from explain.words import dimensions_in_words, in_percent
from ser_core.models import Prediction
from ser_core.numbers import signed

if TYPE_CHECKING:
    from ser_core.systems.mater.evidence import Evidence


def comparison_section(found: Comparison) -> Section:
    """Return what a comparison found: its sentences, the answers, how alike the maps are, and the cues side by side."""
    sides = list(zip(found.titles, found.sides, strict=True))
    answers = Table(
        ("side", "clip", "model", "explained", "answer"),
        tuple(
            (title, side.recording.name, side.card.title, side.target.name, _answer(side.prediction))
            for title, side in sides
        ),
        "Answers",
    )
    tables = [answers]
    rows: tuple[tuple[str, ...], ...]
    if found.pairs:
        rows = tuple(
            (
                f"{found.titles[pair.one]} and {found.titles[pair.other]}",
                number(pair.correlation),
                number(pair.correlation_chance),
                _share(pair.overlap),
                _share(pair.overlap_chance),
            )
            for pair in found.pairs
        )
        names = ("maps of", "rank correlation", "limit by chance", "overlap of regions", "limit by chance")
        tables.append(Table(names, rows, "How alike the maps are"))
    if found.changes:
        rows = tuple(
            (
                cue_title(row.cue, short=True),
                number(row.difference, row.unit),
                number(row.smallest, row.unit),
                row.verdict,
            )
            for row in found.changes
        )
        tables.append(Table(("cue", "difference", "smallest that counts", "verdict"), rows, "Change of the cues"))
    elif found.relative:
        rows = tuple(
            (cue_title(row.cue, short=True), *(number(place) for place in row.percentiles), number(row.difference))
            for row in found.relative
        )
        head = ("cue", *(f"percentile, {title}" for title in found.titles), "difference in standard deviations")
        tables.append(Table(head, rows, "Cues in neutral speech"))
    measured = tuple(dict.fromkeys(_measured_with(side.tracks.settings) for side in found.sides))
    return Section("Comparison", (*found.sentences, *measured), tuple(tables))


def _measured_with(settings: CueSettings) -> str:
    return (
        f"Measured with pitch {settings.pitch_floor_hz:.0f} to {settings.pitch_ceiling_hz:.0f} Hz, formants up "
        f"to {settings.formant_ceiling_hz:.0f} Hz, octave-jump cost {settings.octave_jump_cost:g}, "
        f"speaker: {settings.sex}."
    )


def rivalry_section(found: Rivalry) -> Section:
    """Return which cues separate the explained emotion from the other."""
    rows = tuple(
        (
            cue_title(row.cue, short=True),
            place_name(row.scope),
            number(row.value, row.unit),
            row.expected.replace("_", " ") or "–",
            row.expected_against.replace("_", " ") or "–",
            f"{row.reading}: {row.note}"
            if row.reading == UNKNOWN and row.value is not None and row.note
            else row.reading,
        )
        for row in found.rows
    )
    head = ("cue", "where", "value", f"expected of {found.emotion}", f"expected of {found.against}", "reading")
    return Section(f"Why {found.emotion} and not {found.against}", (found.sentence,), (Table(head, rows),))


def baseline_section(found: OwnBaseline, alone: Prediction) -> Section:
    """Return the cues of the clip against the same person's other clips, and the answer beside them and alone."""
    rows = tuple(
        (
            cue_title(row.cue, short=True),
            number(row.value, row.unit),
            number(row.mean, row.unit),
            number(row.sd, row.unit),
            number(row.z),
            p_value(row.p),
            str(row.clips),
        )
        for row in found.cues
    )
    head = ("cue", place_name(CLIP), "own mean", "own spread", "z", "p", "clips")
    sentences, tables = [found.sentence], [Table(head, rows)]
    if found.answer is not None:
        sentences.append(f"{answer_sentence(len(found.clips), found.answer, alone)} {ALONE_IS_EXPLAINED}")
        answers = tuple(
            (name, in_percent(alone.probability(name)), in_percent(found.answer.probability(name)))
            for name in found.answer.order
        )
        tables.append(Table(("emotion", "the clip alone", "having heard the others"), answers))
    return Section("Against the same person’s other clips", tuple(sentences), tuple(tables))


def spoken_section(found: "Evidence", target: str, emotions: Sequence[str]) -> Section:
    """Return the words that a model worked with, whether their text counted, and what each word and level says.

    Args:
        found: of a model that reads words.
        target: what is explained, in words.
        emotions: the model's classes.
    """
    text = f"“{cut(found.spoken.text, LONGEST_NAME)}”" if found.words else "no words"
    counted = "its text was left out" if found.text_left_out else "its text counted"
    levels = tuple(
        (
            level.level,
            f"{emotions[(best := int(np.argmax(level.probabilities)))]} {in_percent(level.probabilities[best])}",
            number(level.entropy_bits, "bits"),
            in_percent(level.weight),
            *(signed(value) for value in (level.acoustic, level.text, level.constant, level.moves)),
        )
        for level in found.levels
    )
    tables = [Table(_LEVEL_HEAD, levels, f"How far each level moves the logit of {target}")]
    if found.words:
        words = tuple(
            (
                word.measures.word.text,
                f"{word.measures.word.start_s:.2f} to {word.measures.word.end_s:.2f} s",
                signed(word.acoustic),
                signed(word.text),
                number(word.measures.pitch_hz, "Hz"),
                f"{signed(word.measures.level_against_clip)} dB",
                f"{word.measures.pause_s:.2f} s",
                signed(word.measures.valence) if word.measures.valence is not None else "–",
            )
            for word in found.words
        )
        tables.insert(0, Table(_WORD_HEAD, words, f"How far each word moves the logit of {target}"))
    return Section(
        "Words and levels",
        (
            f"The model worked with {text}; {counted}.",
            f"{found.spoken.origin[:1].upper()}{found.spoken.origin[1:]}; language: {found.spoken.language}.",
        ),
        tuple(tables),
    )


_WORD_HEAD = ("word", "when", "voice moves", "text moves", "pitch", "level against the clip", "pause before", "valence")
_LEVEL_HEAD = ("level", "answers", "entropy", "weight", "voice moves", "text moves", "constant", "together")


def _answer(prediction: Prediction) -> str:
    if prediction.values is not None:
        return dimensions_in_words(prediction)
    shares: Sequence[str] = [f"{name} {in_percent(prediction.probability(name))}" for name in prediction.order[:2]]
    return ", ".join(shares)


def _share(share: float | None) -> str:
    return percent(share) if share is None else in_percent(share)
