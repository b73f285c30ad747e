"""Why one emotion and not another: which cues tell the two apart, by the experts' tables and in this clip.

A cue can tell two emotions apart only where the experts' table gives them directions that no value can meet both:
"high" against "low", say, or "high" (the upper fifth of neutral speech) against "medium" (between the outer fifths).
"High" for both, as the pitch of anger and of joy, separates nothing, however high the pitch is. Directions are stated
against neutral speech, so that for neutral itself every cue is expected between the outer fifths.

======================  ==============================================================================================
reading of a cue        what it means
======================  ==============================================================================================
for, against            the table separates the two, and the value agrees with one and disagrees with the other
fits neither            the table separates the two, and the value disagrees with both
contested               the sources contradict each other about one of the two
same expectation        both directions can be met by one value, so the cue cannot separate them
one expectation         the table speaks of one of the two only
not measurable          there is no value or no neutral reference for it here
======================  ==============================================================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass

from explain.attribution import Target
from explain.cues import CLIP, CueSummary
from explain.expert import (
    NOT_MEASURED,
    OURS,
    SALIENT,
    Agreement,
    Expectation,
    agreeing_percentiles,
    agreements,
    expert_emotion,
    load_expectations,
)
from explain.reference import Reference
from explain.words import cue_name, listed
from ser_core.errors import ExplanationError
from ser_core.models import Prediction

FOR, AGAINST, NEITHER = "for", "against", "fits neither"
CONTESTED, SAME, ONE, UNKNOWN = "contested", "same expectation", "one expectation", "not measurable"
NEUTRAL, AS_NEUTRAL = "neutral", "as in neutral speech"
_BY_DEFINITION = "by definition: directions are stated against neutral speech"


@dataclass(frozen=True)
class RivalCue:
    """One cue held against what experts expect of two emotions.

    expected and expected_against are the directions of the two ("" where the table has none); reading is one of the
    module's table. value is in ``unit``, percentile (0 … 100) its place in neutral speech, observed the same in words.
    scope is "salient regions" or "clip"; sources says where each direction comes from.
    """

    cue: str
    scope: str
    expected: str
    expected_against: str
    separates: bool
    value: float | None
    unit: str
    percentile: float | None
    observed: str | None
    reading: str
    sources: tuple[str, str]
    note: str = ""


@dataclass(frozen=True)
class Rivalry:
    """Why an emotion rather than another, cue by cue; ``rows`` hold each cue in the salient regions and in the clip."""

    emotion: str
    against: str
    rows: tuple[RivalCue, ...]

    @property
    def scope(self) -> str:
        """The place that the sentence is about: the salient regions, or the clip where there are none."""
        return SALIENT if any(row.scope == SALIENT for row in self.rows) else CLIP

    def cues(self, reading: str) -> tuple[str, ...]:
        """Return the cues with that reading in ``scope``."""
        return tuple(row.cue for row in self.rows if row.scope == self.scope and row.reading == reading)

    @property
    def sentence(self) -> str:
        """What separates the two here, and where the experts' tables do not separate them either."""
        one, other = self.emotion, self.against
        if not self.rows:
            return f"The experts’ tables say nothing of {one} or of {other}, so no cue can be held against the two."
        where = "In the salient regions" if self.scope == SALIENT else "Over the whole clip"
        said = []
        for reading, speaks in ((FOR, one), (AGAINST, other)):
            found = self.cues(reading)
            if found:
                verb = "speaks" if len(found) == 1 else "speak"
                rival = other if reading == FOR else one
                said.append(f"{_names(found)} {verb} for {speaks} against {rival}")
        words = f"{where}, by the experts’ tables, {', and '.join(said)}." if said else self._nothing(where)
        same = self.cues(SAME)
        if same:
            words += (
                f" In {_names(same)} one value can be what experts expect of both, so that the tables do not separate "
                f"{one} from {other} there either."
            )
        unmeasured = tuple(
            row.cue for row in self.rows if row.scope == self.scope and row.separates and row.cue in NOT_MEASURED
        )
        if unmeasured:
            words += f" {_names(unmeasured).capitalize()} would separate them and cannot be measured here."
        return words

    def _nothing(self, where: str) -> str:
        one, other = self.emotion, self.against
        rows = [row for row in self.rows if row.scope == self.scope and row.separates and row.cue not in NOT_MEASURED]
        if not rows:
            return (
                f"The experts’ tables do not separate {one} from {other} in anything that is measured here: what the "
                "model used to tell them apart is not a cue that experts name."
            )
        why = {
            NEITHER: "fits neither of the two",
            CONTESTED: "is contested among the sources",
            UNKNOWN: "cannot be judged here",
        }
        told = listed([f"{cue_name(OURS.get(row.cue, row.cue))} {why[row.reading]}" for row in rows])
        return (
            f"{where}, no cue speaks for {one} against {other} or the reverse: of what the experts’ tables separate "
            f"them by, {told}."
        )


def rival_target(prediction: Prediction, emotion: str | None = None, against: str | None = None) -> Target:
    """Return the contrastive target: an emotion rather than another.

    Args:
        prediction: the model's answer.
        emotion: the emotion explained; the answer by default.
        against: its rival; by default the most probable other emotion.

    Raises:
        ExplanationError: the model answers with dimensions, or an emotion is set against itself.
    """
    if prediction.values is not None:
        raise ExplanationError(f"{prediction.model} answers with dimensions, which have no rivals; name a direction.")
    emotion = emotion or prediction.top
    against = against or next(each for each in prediction.order if each != emotion)
    if emotion == against:
        raise ExplanationError(f"'{emotion}' cannot be explained rather than itself; name another emotion.")
    return Target(emotion, against)


def rivalry(
    summary: CueSummary,
    emotion: str,
    against: str,
    sex: str,
    *,
    reference: Reference | None = None,
    expectations: Sequence[Expectation] | None = None,
) -> Rivalry:
    """Return which cues speak for one emotion and which for the other, in the salient regions and in the clip.

    Args:
        summary: magnitudes of the clip; its regions should be those of a contrastive map.
        emotion: the emotion explained, in the model's own words.
        against: its rival.
        sex: whose neutral speech the cues are held against, as in :func:`explain.expert.agreements`.
        reference: neutral reference; the bundled one by default.
        expectations: experts' table; the bundled one by default.
    """
    table = load_expectations() if expectations is None else expectations
    known = [_expected(table, each) for each in (emotion, against)]
    found = agreements(summary, (emotion, against), sex, reference=reference, expectations=table)
    rows = {(row.emotion, row.cue, row.scope): row for row in found}
    scopes = dict.fromkeys(row.scope for row in found)
    return Rivalry(
        emotion,
        against,
        tuple(
            _row(cue, scope, [side.get(cue) for side in known], [rows.get((e, cue, scope)) for e in (emotion, against)])
            for scope in scopes
            for cue in (*OURS, *NOT_MEASURED)
            if any(cue in side for side in known)
        ),
    )


def _expected(table: Sequence[Expectation], emotion: str) -> dict[str, Expectation]:
    name = expert_emotion(emotion)
    if name == NEUTRAL:
        return {cue: Expectation(emotion, cue, AS_NEUTRAL, _BY_DEFINITION, "found", "") for cue in OURS}
    return {row.cue: row for row in table if row.emotion == name}


def _row(cue: str, scope: str, sides: list[Expectation | None], judged: list[Agreement | None]) -> RivalCue:
    row = next(each for each in judged if each is not None)
    apart = all(sides) and _apart(*[side.direction for side in sides if side is not None])
    return RivalCue(
        cue=cue,
        scope=scope,
        expected=sides[0].direction if sides[0] else "",
        expected_against=sides[1].direction if sides[1] else "",
        separates=apart and not any(side.contested for side in sides if side),
        value=row.value,
        unit=row.unit,
        percentile=row.percentile,
        observed=row.observed,
        reading=_reading(sides, apart, [_status(*pair) for pair in zip(sides, judged, strict=True)], row),
        sources=(sides[0].source if sides[0] else "", sides[1].source if sides[1] else ""),
        note=row.note,
    )


def _apart(one: str, other: str) -> bool:
    """Whether no value can meet both directions."""
    if "contested" in (one, other):
        return False
    places = [agreeing_percentiles("medium" if each == AS_NEUTRAL else each) for each in (one, other)]
    if None in places:
        return one != other
    (low, high), (other_low, other_high) = [place for place in places if place is not None]
    return high <= other_low or other_high <= low


def _status(side: Expectation | None, judged: Agreement | None) -> str:
    if side is None or judged is None:
        return "no expectation"
    if side.direction != AS_NEUTRAL:
        return judged.status
    if judged.observed is None:
        return "not measurable"
    return "agrees" if judged.observed in ("usual", "level") else "disagrees"


def _reading(sides: list[Expectation | None], apart: bool, statuses: list[str], row: Agreement) -> str:
    if None in sides:
        return ONE
    if any(side is not None and side.contested for side in sides):
        return CONTESTED
    if not apart:
        return SAME
    if row.percentile is None or "not measurable" in statuses:
        return UNKNOWN
    if "contested" in statuses:
        return CONTESTED
    return {("agrees", "disagrees"): FOR, ("disagrees", "agrees"): AGAINST}.get((statuses[0], statuses[1]), NEITHER)


def _names(cues: Sequence[str]) -> str:
    return listed([cue_name(OURS.get(cue, cue)) for cue in cues])
