"""One paragraph in plain words, made from an explanation's figures only."""

from typing import TYPE_CHECKING

from explain.cues import ALL_REGIONS, CLIP
from explain.expert import OURS, Agreement, Tally, expected_percentile, shared_cues, tally
from explain.words import NO_EXPECTATION, cue_name, dimensions_in_words, in_percent, listed, one_way
from ser_core.functional_names import in_words

if TYPE_CHECKING:
    from explain.explanation import Explanation

_MOST = 3


def paragraph(explanation: "Explanation") -> str:
    """Return at most six sentences: answer, place, contrast, what experts expect of each emotion, and what it is not.

    Contrast (against the rest of the clip) and agreement (against neutral speech of others) are never mixed in one
    sentence. Every figure stands in the explanation.
    """
    parts = (
        _answer(explanation),
        _place(explanation),
        _contrast(explanation),
        *_experts(explanation),
        "This describes how the model decided, not what the speaker felt.",
    )
    return " ".join(part for part in parts if part)


def _answer(explanation: "Explanation") -> str:
    p, chance = explanation.prediction, in_percent(1 / len(explanation.prediction.emotions))
    if p.answer == "dimensions":
        return f"{explanation.card.title} places this clip at {dimensions_in_words(p)}."
    if p.answer == "distribution":
        known = dict(zip(p.emotions, p.constant, strict=False))
        usual = f" (over all training clips {in_percent(known[p.top])} did)" if p.top in known else ""
        return (
            f"{explanation.card.title}: the model expects {in_percent(p.probability(p.top))} of listeners to hear "
            f"{p.top}{usual} and {in_percent(p.probability(p.runner_up))} to hear {p.runner_up}; that is how listeners "
            "would split, not how sure the model is."
        )
    return (
        f"{explanation.card.title} answers {p.top} with a probability of {in_percent(p.probability(p.top))}; the "
        f"runner-up is {p.runner_up} with {in_percent(p.probability(p.runner_up))} ({chance} by chance)."
    )


def _place(explanation: "Explanation") -> str:
    regions, target = explanation.regions, explanation.target.name
    speaks = "speaks" if explanation.attribution.signed else "matters"
    if explanation.region_rule == "yours" and regions:
        spans = listed([_span(region.start_s, region.end_s) for region in regions[:_MOST]])
        more = f" and {len(regions) - _MOST} more" if len(regions) > _MOST else ""
        return f"The place was chosen by hand ({spans}{more}); it is not what the model points to."
    if explanation.attribution.axes == "features":
        names = explanation.attribution.feature_names or ()
        ranked = sorted(zip(explanation.attribution.relevance, names, strict=True), reverse=True)[:_MOST]
        best = [in_words(name) for value, name in ranked if value > 0]
        verb = "is" if len(best) == 1 else "are"
        return (
            f"What {speaks} most for {target} {verb} {listed(best)}; this method says nothing about time."
            if best
            else f"No feature {speaks} for {target}."
        )
    if not regions:
        return f"No part of the clip stands out as evidence for {target}."
    first = regions[0]
    where = _span(first.start_s, first.end_s)
    if first.low_hz is not None and first.high_hz is not None:
        where += f", {first.low_hz:.0f} to {first.high_hz:.0f} Hz"
    many = f"{len(regions)} salient regions" if len(regions) > 1 else "one salient region"
    share = in_percent(sum(region.share for region in regions))
    strongest = f"; the strongest is {where}" if len(regions) > 1 else f" ({where})"
    return f"Of the relevance that {speaks} for {target}, {share} lies in {many}{strongest}."


def _contrast(explanation: "Explanation") -> str:
    pooled = [c for c in explanation.cues.contrasts if c.scope == ALL_REGIONS]
    if not pooled or not explanation.speech:
        return ""
    tested = [c for c in pooled if c.p_corrected is not None and c.difference is not None]
    if not tested:
        return "There is too little speech to tell whether the voice is different there."
    # Not of the strongest region alone, which was named last.
    where = "in it" if len(explanation.regions) == 1 else "in these regions together"
    first = f"{where[0].upper()}{where[1:]}"
    beyond = [c for c in tested if c.beyond_chance]
    if not beyond:
        return f"No cue differs {where} from the rest of the speech by more than chance."
    clear = [c for c in beyond if one_way(c)]
    if not clear:
        names = [cue_name(c.cue) for c in beyond[:_MOST]]
        verb = "differs" if len(names) == 1 else "differ"
        return f"{first}, {listed(names)} {verb} beyond chance from the rest of the speech, but not in one direction."
    clear.sort(key=lambda c: -abs(c.effect or 0.0))
    said = []
    for row in clear[:_MOST]:
        way = "higher" if (row.difference or 0) > 0 else "lower"
        said.append(f"{cue_name(row.cue)} is {way} by {abs(row.difference or 0):.3g} {row.unit}")
    return f"{first}, against the rest of the speech in the clip and beyond chance, {listed(said)}."


def _experts(explanation: "Explanation") -> tuple[str, ...]:
    """One sentence on the predicted class, one on the runner-up and what they share."""
    if explanation.prediction.values is not None:
        return (NO_EXPECTATION,)
    if not explanation.speech:
        return ("No speech was found, so the voice cannot be held against neutral speech.",)
    top, other = explanation.prediction.top, explanation.prediction.runner_up
    rows = {(row.emotion, row.cue): row for row in explanation.agreements if row.scope == CLIP}
    counts = {t.emotion: t for t in tally([*rows.values()])}
    said = [_fit(counts[e]) if e in counts else "" for e in (top, other)]
    if not any(said):
        return (f"Experts’ expectations cannot be held against this clip, neither for {top} nor for {other}.",)
    nothing = "nothing measured can be held against an expectation"
    return (
        f"Set against neutral speech of others, for {top} {said[0] or nothing}{_told(rows, counts.get(top))}.",
        f"For {other}, {said[1] or nothing}{_shared(list(rows.values()), top, other) if all(said) else ''}.",
    )


def _fit(count: Tally) -> str:
    tested = len(count.agrees) + len(count.disagrees)
    contested = f" ({len(count.contested)} more contested among experts)" if count.contested else ""
    if not tested:
        return ""
    return f"{len(count.agrees)} of {tested} cues of the clip move as experts expect{contested}"


def _told(rows: dict[tuple[str, str], Agreement], count: Tally | None) -> str:
    """The most telling cues: the agreeing ones farthest from the middle, the others farthest from what is expected."""
    if count is None or not _fit(count):
        return ""
    found = [[rows[count.emotion, cue] for cue in cues] for cues in (count.agrees, count.disagrees)]
    found[0].sort(key=lambda row: -abs((row.percentile or 0.0) - 50))
    found[1].sort(key=lambda row: -abs((row.percentile or 0.0) - expected_percentile(row.expected or "")))
    words = [listed([_placed(row) for row in part[:_MOST]]) for part in found if part]
    if all(found):
        return f": most clearly {words[0]}, while {words[1]} {'does' if len(found[1]) == 1 else 'do'} not"
    return f": most clearly {words[0]}" if found[0] else f": least {words[0]}" if found[1] else ""


def _placed(row: Agreement) -> str:
    return f"{cue_name(OURS.get(row.cue, row.cue))} (percentile {row.percentile:.0f})"


def _shared(rows: list[Agreement], top: str, other: str) -> str:
    both = shared_cues(rows, top, other, CLIP)
    if not both:
        return ""
    own, others = (
        {row.cue for row in rows if row.emotion == emotion and row.status == "agrees"} for emotion in (top, other)
    )
    if own == others:
        return f"; the same cues fit both, so these cues do not separate {top} from {other}"
    names = listed([cue_name(OURS.get(cue, cue)) for cue in both])
    fit, do = ("fits", "does") if len(both) == 1 else ("fit", "do")
    return f"; {names} {fit} both and {do} not separate {top} from {other}"


def _span(start_s: float, end_s: float) -> str:
    return f"{start_s:.2f} to {end_s:.2f} s"
