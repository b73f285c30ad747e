"""One paragraph in plain words, made from an explanation's figures only."""

from typing import TYPE_CHECKING

from explain.cues import cue
from explain.expert import Agreement

if TYPE_CHECKING:
    from explain.explanation import Explanation

_CLEAR = 0.05


def paragraph(explanation: "Explanation") -> str:
    """Return what was answered, where its evidence lies, what is special there, and what experts would expect."""
    return " ".join(part for part in (_answer(explanation), _place(explanation), _contrast(explanation)) if part) + (
        " " + _experts(explanation)
    )


def _answer(explanation: "Explanation") -> str:
    p, chance = explanation.prediction, _share(1 / len(explanation.prediction.emotions))
    return (
        f"{explanation.card.title} answers {p.top} with a probability of {_share(p.probability(p.top))}; the runner-up "
        f"is {p.runner_up} with {_share(p.probability(p.runner_up))} ({chance} by chance)."
    )


def _place(explanation: "Explanation") -> str:
    regions, target = explanation.regions, explanation.target.name
    if explanation.attribution.axes == "features":
        names = explanation.attribution.feature_names or ()
        ranked = sorted(zip(explanation.attribution.relevance, names, strict=True), reverse=True)[:3]
        listed = ", ".join(name for value, name in ranked if value > 0)
        return f"What speaks most for {target} are {listed}; this model has no time axis." if listed else ""
    if not regions:
        return f"No part of the clip stands out as evidence for {target}."
    if explanation.region_rule == "yours":
        return f"The region is the one you drew ({_span(regions[0].start_s, regions[0].end_s)})."
    first = regions[0]
    where = _span(first.start_s, first.end_s)
    if first.low_hz is not None and first.high_hz is not None:
        where += f", {first.low_hz:.0f} to {first.high_hz:.0f} Hz"
    return (
        f"What speaks for {target} lies mostly in {len(regions)} salient region{'s' if len(regions) > 1 else ''} with "
        f"{_share(sum(region.share for region in regions))} of the positive relevance; the strongest is {where}."
    )


def _contrast(explanation: "Explanation") -> str:
    pooled = [c for c in explanation.cues.contrasts if c.scope == "all regions"]
    if not pooled:
        return ""
    clear = [c for c in pooled if c.p_corrected is not None and c.p_corrected < _CLEAR and c.difference is not None]
    if not clear:
        return "No cue differs there from the rest of the speech by more than chance."
    clear.sort(key=lambda c: -abs(c.effect or 0.0))
    said = []
    for row in clear[:3]:
        way = "higher" if (row.difference or 0) > 0 else "lower"
        said.append(f"{_name(row.cue)} is {way} by {abs(row.difference or 0):.3g} {row.unit}")
    return f"There, against the rest of the speech and beyond chance, {_listed(said)}."


def _experts(explanation: "Explanation") -> str:
    p = explanation.prediction
    rows = [row for row in explanation.agreements if row.scope == "clip"]
    counts = []
    for emotion in (p.top, p.runner_up):
        own = [row for row in rows if row.emotion == emotion]
        agree, against = _count(own, "agrees"), _count(own, "disagrees")
        if agree + against == 0:
            counts.append(f"no measurable cue of the whole clip can be held against an expectation for {emotion}")
        else:
            counts.append(f"{agree} of {agree + against} measurable cues move as experts expect of {emotion}")
    contested = [row for row in rows if row.emotion == p.top and row.status == "contested"]
    end = f" ({len(contested)} more contested among experts)" if contested else ""
    return (
        f"Set against neutral speech, {counts[0]}{end}, and {counts[1]}. This describes how the model decided, not "
        "what the speaker felt."
    )


def _count(rows: list[Agreement], status: str) -> int:
    return sum(row.status == status for row in rows)


def _name(name: str) -> str:
    title = cue(name).title.split(" (")[0]
    return title if title.isupper() or title[1:2].isdigit() else title[0].lower() + title[1:]


def _share(value: float) -> str:
    if 0 < value < 0.01:
        return "under 1 %"
    if 0.99 < value < 1:
        return "over 99 %"
    return f"{100 * value:.0f} %"


def _span(start_s: float, end_s: float) -> str:
    return f"{start_s:.2f} to {end_s:.2f} s"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
