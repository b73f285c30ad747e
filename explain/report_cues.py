"""The acoustic part of a report: magnitudes, contrasts with the rest of the speech, and agreement with the experts."""

from collections import Counter
from typing import Any

from explain.cues import Contrast, CueValue
from explain.expert import Agreement, reference_words
from explain.explanation import Explanation
from explain.printing import (
    LONGEST_LABEL,
    Notes,
    cue_title,
    cut,
    number,
    p_value,
    percent,
    place_name,
    plain_name,
)
from explain.words import NO_EXPECTATION
from ser_core.numbers import unsigned

_PLACES_PER_TABLE = 5
_MARKS = {"agrees": "✓", "disagrees": "✗", "contested": "±", "no expectation": "–", "not measurable": "∅"}


def cues(e: Explanation) -> dict[str, Any]:
    """Return the table of magnitudes, a few places at a time, with its words and notes."""
    values = {(v.cue, v.scope): v for v in e.cues.values}
    cues = list(dict.fromkeys(cue for cue, _ in values))
    scopes = list(dict.fromkeys(scope for _, scope in values))
    units = {v.cue: v.unit for v in e.cues.values}
    notes = Notes()
    parts = []
    for first in range(0, len(scopes), _PLACES_PER_TABLE):
        shown = scopes[first : first + _PLACES_PER_TABLE]
        rows = [[cue_title(cue), units[cue], *(_magnitude(values.get((cue, s)), notes) for s in shown)] for cue in cues]
        parts.append({"head": ["cue", "unit", *map(place_name, shown)], "rows": rows})
    counted = sorted({v.counted for v in e.cues.values if v.counted})
    return {
        "cues": parts,
        "cue_words": "Measured once on the whole clip and cut by region. In round brackets: of how many items a value "
        f"is made ({', '.join(counted) or 'none'}, as fits the cue). In square brackets: notes below. "
        "“Not measurable” means too little to measure, never zero.",
        "cue_notes": notes.lines(),
    }


def _magnitude(value: CueValue | None, notes: Notes) -> str:
    if value is None:
        return "–"
    count = f" ({value.count})" if value.value is not None else ""
    return number(value.value) + count + notes.mark(value.note, value.reliability and f"Doubtful: {value.reliability}")


def contrasts(e: Explanation) -> dict[str, Any]:
    """Return the table of contrasts with its words and notes."""
    notes = Notes()
    rows = []
    for c in e.cues.contrasts:
        measured = c.difference is not None
        rows.append(
            [
                place_name(c.scope),
                cue_title(c.cue, short=True),
                number(c.inside) if measured else "–",
                number(c.outside) if measured else "–",
                number(c.difference, c.unit) if measured else "–",
                unsigned(c.effect),
                f"{unsigned(c.chance_low)} to {unsigned(c.chance_high)}" if c.chance_low is not None else "–",
                p_value(c.p_corrected),
                str(c.count),
                _reading(c) + notes.mark(c.note),
            ]
        )
    return {
        "contrast_head": [
            "region",
            "cue",
            "inside",
            "rest",
            "difference",
            "effect δ",
            "by chance",
            "p corrected",
            "count",
            "beyond chance",
        ],
        "contrasts": rows,
        "contrast_words": "What is special about the place, not which emotion it is. Effect: Cliff’s δ from −1 to 1; "
        "beside it the range of 95 % of effects when the regions are shifted over speech frames only. p is corrected "
        "over the cues of a region (step-down minP over the same shifts, Westfall & Young). Beyond chance: outside "
        "that range with corrected p below 0.05. A range has no δ; its p comes from how far the difference goes beyond "
        "0 and beyond that of the shifted regions, as any short stretch has a smaller range than a long one."
        + ("" if rows else " No contrast was measured."),
        "contrast_notes": notes.lines(),
    }


def _reading(c: Contrast) -> str:
    if c.difference is None:
        return "not measurable"
    if c.p_corrected is None:
        return "no chance level"
    return "yes" if c.beyond_chance else "no"


def expert(e: Explanation) -> dict[str, Any]:
    """Return one table of agreement for each compared emotion, with their words and notes."""
    parts = []
    for emotion in e.compared_emotions:
        of_emotion = [a for a in e.agreements if a.emotion == emotion]
        role = {e.prediction.top: "predicted", e.prediction.runner_up: "runner-up"}.get(emotion, "not predicted")
        counts = Counter(a.status for a in of_emotion)
        notes = Notes()
        parts.append(
            {
                "heading": f"{cut(emotion, LONGEST_LABEL)} ({role}, {percent(e.prediction.probability(emotion))})",
                "counts": ", ".join(f"{status}: {n}" for status, n in counts.most_common()),
                "rows": [_agreement(a, notes) for a in of_emotion],
                "notes": notes.lines(),
            }
        )
    return {
        "agreement_head": ["cue", "where", "value", "percentile", "observed", "expected", "verdict", "source (notes)"],
        "agreements": parts,
        "agreement_words": "Experts speak of a whole delivery against a neutral voice, so the cues are set beside "
        "neutral speech of a reference group, never beside the rest of the clip. No cue is needed or enough for an "
        "emotion; contested cues count neither way. "
        + (
            NO_EXPECTATION
            if e.prediction.values is not None
            else reference_words(e.agreements, e.tracks.settings.sex)
            if parts
            else "No cue was compared."
        ),
    }


def _agreement(a: Agreement, notes: Notes) -> list[str]:
    return [
        cue_title(a.cue, short=True),
        plain_name(a.scope),
        number(a.value, a.unit) if a.value is not None else "–",
        "–" if a.percentile is None else f"{a.percentile:.0f}",
        a.observed or "–",
        plain_name(a.expected or "–"),
        f"{_MARKS.get(a.status, '')} {a.status}".strip() + notes.mark(a.note),
        # Sources are long: in the notes they have the width of the page.
        notes.mark(
            a.source and f"Source: {a.source}.",
            a.evidence and f"The expectation is {a.evidence}.",
            a.conflict and f"Conflict: {a.conflict}",
            a.reference and f"Reference: {a.reference}{f', stretches of {a.stretches}' if a.stretches else ''}",
        ).strip()
        or "–",
    ]
