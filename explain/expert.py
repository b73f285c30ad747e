"""The cues of a clip beside what experts expect of an emotion.

The bundled table ``assets/expert_cues.csv`` holds one row an emotion and cue, with its sources (Juslin & Laukka 2003,
Scherer 2003, Murray & Arnott 1993, Banse & Scherer 1996). Its directions speak of whole deliveries against neutral
ones, so a magnitude is compared with the neutral reference of the speaker's sex (:mod:`explain.reference`), never with
the rest of the same clip. Level is left out, as recordings are uncalibrated.

A cue is called high in the upper fifth of neutral speech, low in the lower fifth, else usual; one neutral clip in five
is therefore "high" by chance alone. A direction is read so:

==============================  ===================================================================================
direction                       agrees where the value is
==============================  ===================================================================================
high, fast, many, rising        in the upper fifth of neutral speech
low, slow, falling              in the lower fifth
high_weak, slightly_wide        above the 60th percentile (the sources expect a small rise only)
medium                          usual; in the upper fifth it is contested, as sources of such rows differ (happiness:
                                medium or high), in the lower fifth it disagrees
medium-high                     usual or high
contested, or marked CONFLICT   never: the sources contradict each other, it counts neither way
==============================  ===================================================================================

Rising and falling also need a slope above and below zero. Everything else disagrees. A salient region is held against
stretches of neutral speech as long as the speech in it, several regions against stretches of their mean length. No cue
is necessary or sufficient: what counts is how many agree, and whether they agree with the other emotion as well.
"""

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explain.cues import CLIP, CUES, CueSummary
from explain.cues import cue as cue_named
from explain.reference import Reference, load_reference, stretch
from ser_core.errors import ExplanationError
from ser_core.settings import ASSETS

TABLE = ASSETS / "expert_cues.csv"
SALIENT = "salient regions"
STATUSES = ("agrees", "disagrees", "contested", "no expectation", "not measurable")
LOW_PERCENTILE, HIGH_PERCENTILE, SLIGHTLY_HIGH_PERCENTILE = 20.0, 80.0, 60.0

OURS = {
    "f0_mean": "f0_mean",
    "f0_variability": "f0_variability",
    "f0_contour": "f0_slope",
    "intensity_variability": "intensity_variability",
    "hf_energy": "hf_energy",
    "speech_rate": "speech_rate",
    "pauses": "pauses",
    "jitter": "jitter",
    "f1_mean": "f1_mean",
}
"""The experts' cue → ours."""

NOT_MEASURED = {
    "intensity_mean": "level is left out: the recording is uncalibrated",
    "voice_onset": "the onset of the voice is not measured here",
    "microstructure": "there is no agreed measure of microstructural regularity",
}
WITHOUT_ROW = tuple(c.name for c in CUES if c.name not in {*OURS.values(), *NOT_MEASURED, "f0_median"})
"""Our cues of which the table says nothing; the median F0 is the F0 level once more."""

SYNONYMS = {
    "angry": "anger",
    "fearful": "fear",
    "afraid": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "disgusted": "disgust",
    "bored": "boredom",
    "tender": "tenderness",
    "calm": "neutral",
}

EVIDENCE = {
    "found": "read in the source",
    "recall": "from memory of the literature, less certain",
    "found+recall": "read in part in the source, the rest from memory of the literature, less certain",
}
"""How a row of the table is known, in words."""

_UP, _DOWN = ("high", "fast", "many", "rising"), ("low", "slow", "falling")
_SLIGHTLY_UP = ("high_weak", "slightly_wide")
_WORDS = {"f0_contour": ("falling", "level", "rising")}


@dataclass(frozen=True)
class Agreement:
    """One cue against the experts' expectation for one emotion.

    status is "agrees", "disagrees", "contested", "no expectation" or "not measurable". percentile (0 … 100) is the
    place of the value in neutral speech of the reference group; observed is "low", "usual" or "high" ("falling",
    "level", "rising" for contours). scope is "clip" or "salient regions". note says why a cue is not measurable.
    evidence says in words how the expectation is known (one of ``EVIDENCE``), "" where there is none. stretches is the
    length of the neutral stretches that salient regions are held against, "" for a clip.
    """

    emotion: str
    cue: str
    scope: str
    value: float | None
    unit: str
    percentile: float | None
    observed: str | None
    expected: str | None
    status: str
    source: str
    conflict: str = ""
    reference: str = ""
    note: str = ""
    evidence: str = ""
    stretches: str = ""


@dataclass(frozen=True)
class Expectation:
    """One row of the experts' table; evidence says how the row is known, a key of ``EVIDENCE``."""

    emotion: str
    cue: str
    direction: str
    source: str
    evidence: str
    conflict: str

    @property
    def contested(self) -> bool:
        """Whether the sources contradict each other."""
        return self.direction == "contested" or self.conflict == "CONFLICT"


@dataclass(frozen=True)
class Tally:
    """How many cues agree, disagree … for one emotion in one scope; cues by name."""

    emotion: str
    scope: str
    agrees: tuple[str, ...]
    disagrees: tuple[str, ...]
    contested: tuple[str, ...]
    no_expectation: tuple[str, ...]
    not_measurable: tuple[str, ...]


@functools.cache
def load_expectations(path: Path = TABLE) -> tuple[Expectation, ...]:
    """Return the experts' table.

    Raises:
        ExplanationError: a direction, a cue or the evidence is not one of those read here.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = tuple(
            Expectation(
                line["emotion"],
                line["cue"],
                line["direction"],
                line["source"],
                line["evidence"],
                line["conflict"] or "",
            )
            for line in csv.DictReader(file)
        )
    known = {*_UP, *_DOWN, *_SLIGHTLY_UP, "medium", "medium-high", "regular", "irregular", "contested"}
    for row in rows:
        if row.direction not in known or row.cue not in {*OURS, *NOT_MEASURED} or row.evidence not in EVIDENCE:
            raise ExplanationError(
                f"{path.name} says '{row.direction}' ('{row.evidence}') for {row.cue} of {row.emotion}; "
                "correct that line."
            )
    return rows


def expert_emotion(emotion: str) -> str:
    """Return an emotion's name in the experts' table ("happy" → "happiness"); others stay as they are."""
    name = emotion.strip().lower()
    return SYNONYMS.get(name, name)


def shared_names(emotions: Sequence[str]) -> dict[str, str]:
    """Return a model's classes by the names under which they stand beside those of other models.

    That is the name in the experts' table; where two classes of the model share it ("calm", "neutral"), both keep
    their own.
    """
    names = [expert_emotion(each) for each in emotions]
    return {name if names.count(name) == 1 else own: own for name, own in zip(names, emotions, strict=True)}


def shared_name(emotion: str, emotions: Sequence[str]) -> str:
    """Return the one of :func:`shared_names` that is the class ``emotion`` of a model."""
    return next(name for name, own in shared_names(emotions).items() if own == emotion)


def agreements(
    summary: CueSummary,
    emotions: Sequence[str],
    sex: str,
    *,
    reference: Reference | None = None,
    expectations: Sequence[Expectation] | None = None,
) -> tuple[Agreement, ...]:
    """Return each cue of the salient regions and of the clip beside the experts' expectation for each emotion.

    Args:
        summary: magnitudes of the clip.
        emotions: usually the predicted class and the runner-up, in the model's own words.
        sex: "female", "male", "unknown" (both sexes' reference) or "child" (there is no reference: not measurable).
        reference: neutral reference; the bundled one by default.
        expectations: experts' table; the bundled one by default.
    """
    reference = load_reference() if reference is None else reference
    table = load_expectations() if expectations is None else expectations
    scopes = (SALIENT, CLIP) if summary.regions else (CLIP,)
    rows = []
    for emotion in emotions:
        expected = {row.cue: row for row in table if row.emotion == expert_emotion(emotion)}
        for scope in scopes:
            for cue in (*OURS, *NOT_MEASURED, *WITHOUT_ROW):
                if cue in expected or cue not in NOT_MEASURED:
                    rows.append(_agreement(summary, emotion, cue, scope, expected.get(cue), reference, sex))
    return tuple(rows)


def _agreement(
    summary: CueSummary,
    emotion: str,
    cue: str,
    scope: str,
    row: Expectation | None,
    reference: Reference,
    sex: str,
) -> Agreement:
    ours = OURS.get(cue, cue)
    value, unit, note, length_s = _observed(summary, cue, scope)
    neutral = reference.row(ours, sex, length_s)
    stretches = "" if length_s is None else stretch(length_s)
    if value is not None and neutral is None:
        note = "there is no neutral reference for children" if sex == "child" else "no neutral reference of this cue"
        note += f" in stretches of {stretches}" * bool(stretches and reference.row(ours, sex))
    percentile = neutral.percentile(value) if neutral is not None and value is not None else None
    place = None if value is None or percentile is None else _outer_fifth(cue, value, percentile)
    return Agreement(
        emotion=emotion,
        cue=cue,
        scope=scope,
        value=value,
        unit=unit,
        percentile=percentile,
        observed=None if place is None else _WORDS.get(cue, ("low", "usual", "high"))[place + 1],
        expected=None if row is None else row.direction,
        status=_status(row, value, percentile, place),
        source="" if row is None else row.source,
        conflict="" if row is None else row.conflict,
        reference="" if neutral is None else reference.describe(sex),
        note=note,
        evidence="" if row is None else EVIDENCE[row.evidence],
        stretches=stretches,
    )


def reference_words(rows: Sequence[Agreement], sex: str) -> str:
    """Return whose neutral speech the cues were held against, and what to do where the speaker's sex is not set.

    Args:
        rows: the agreements of a clip.
        sex: the sex that the settings gave; "unknown" where they gave none.
    """
    if sex == "child":
        return "There is no neutral reference for children, so no cue can be held against an expectation."
    whose = "; ".join(dict.fromkeys(row.reference for row in rows if row.reference))
    words = [f"Reference: {whose}."] if whose else []
    if any(row.scope == SALIENT and row.value is not None for row in rows):
        words.append(
            "Of several salient regions the value here is the mean over them, since each is held against stretches of "
            "its own length; among the magnitudes they are pooled, so that the two can differ."
        )
    if sex == "unknown":
        words.append(
            "The speaker’s sex is not set, so both sexes’ neutral speech is used, in which pitch and formants of women "
            "easily count as high and those of men as low; set the speaker (on the page under “Correct the "
            "measurement”, on the command line with --sex)."
        )
    return " ".join(words)


def _observed(summary: CueSummary, cue: str, scope: str) -> tuple[float | None, str, str, float | None]:
    """Value, unit, why there is none, and the length in seconds of what it was measured in, None for the clip.

    Over salient regions value and length are the means of the regions, weighted by their counts; of a rate, which is a
    count itself, by their lengths. A region's length is that of its speech, as neutral stretches hold nothing else.
    """
    if cue in NOT_MEASURED:
        return None, "", NOT_MEASURED[cue], None
    ours = OURS.get(cue, cue)
    if scope == CLIP:
        row = summary.value(ours, CLIP)
        return row.value, row.unit, row.note, None
    rows = [v for v in summary.values if v.cue == ours and v.scope.isdigit()]
    good = [v for v in rows if v.value is not None]
    if not good:
        return None, rows[0].unit, rows[0].note, None
    weights = [v.span_s if cue_named(ours).kind == "rate" else v.count for v in good]
    value, length_s = np.average([(v.value, v.span_s) for v in good], axis=0, weights=weights)
    return float(value), rows[0].unit, "", float(length_s)


def _outer_fifth(cue: str, value: float, percentile: float) -> int:
    """−1 in the lower fifth, 1 in the upper, else 0; a contour must also truly fall or rise."""
    contour = cue == "f0_contour"
    if percentile < LOW_PERCENTILE and not (contour and value >= 0):
        return -1
    return int(percentile > HIGH_PERCENTILE and not (contour and value <= 0))


def _status(row: Expectation | None, value: float | None, percentile: float | None, place: int | None) -> str:
    if value is None:
        return "not measurable"
    if row is None:
        return "no expectation"
    if percentile is None or place is None:
        return "not measurable"
    if row.contested:
        return "contested"
    if row.direction == "medium":
        return {-1: "disagrees", 0: "agrees", 1: "contested"}[place]
    fits = {
        **dict.fromkeys(_UP, place > 0),
        **dict.fromkeys(_DOWN, place < 0),
        **dict.fromkeys(_SLIGHTLY_UP, percentile > SLIGHTLY_HIGH_PERCENTILE),
        "medium-high": place >= 0,
    }
    return "agrees" if fits[row.direction] else "disagrees"


def expected_percentile(direction: str) -> float:
    """Return the end of neutral speech (0, 50 or 100) to which a direction points."""
    return {**dict.fromkeys(_UP, 100.0), **dict.fromkeys(_SLIGHTLY_UP, 100.0), **dict.fromkeys(_DOWN, 0.0)}.get(
        direction, 50.0
    )


def agreeing_percentiles(direction: str) -> tuple[float, float] | None:
    """Return between which percentiles of neutral speech a value agrees with a direction; None where it has no place.

    Contours must also truly fall or rise; "contested", "regular" and "irregular" have no place among percentiles.
    """
    return {
        **dict.fromkeys(_UP, (HIGH_PERCENTILE, 100.0)),
        **dict.fromkeys(_SLIGHTLY_UP, (SLIGHTLY_HIGH_PERCENTILE, 100.0)),
        **dict.fromkeys(_DOWN, (0.0, LOW_PERCENTILE)),
        "medium": (LOW_PERCENTILE, HIGH_PERCENTILE),
        "medium-high": (LOW_PERCENTILE, 100.0),
    }.get(direction)


def tally(rows: Sequence[Agreement]) -> tuple[Tally, ...]:
    """Return the cues by status, for each emotion and scope in the order in which they come."""
    keys = list(dict.fromkeys((row.emotion, row.scope) for row in rows))
    return tuple(
        Tally(
            emotion,
            scope,
            *(
                tuple(r.cue for r in rows if (r.emotion, r.scope, r.status) == (emotion, scope, status))
                for status in STATUSES
            ),
        )
        for emotion, scope in keys
    )


def shared_cues(rows: Sequence[Agreement], emotion: str, other: str, scope: str) -> tuple[str, ...]:
    """Return the cues that agree with both emotions, which therefore do not speak for one against the other."""
    fits = [{r.cue for r in rows if (r.emotion, r.scope, r.status) == (e, scope, "agrees")} for e in (emotion, other)]
    return tuple(c for c in dict.fromkeys((*OURS, *(q.name for q in CUES))) if c in fits[0] & fits[1])
