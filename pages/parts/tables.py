"""The tables of cues: magnitudes, contrasts, and agreement with the experts, as HTML with readable notes."""

from html import escape

import streamlit as st

from explain.cues import ALL_REGIONS, CLIP, CUES, Contrast, CueSummary, CueValue
from explain.expert import Agreement, reference_words
from explain.explanation import Explanation
from explain.words import one_way
from pages.parts.words import AGREEMENT_MARKS, hint, number, p_value
from ser_core.numbers import percent

_TITLES = {cue.name: cue.title for cue in CUES}


def cue_title(cue: str) -> str:
    """Return a cue's name for readers."""
    return _TITLES.get(cue, cue.replace("_", " ").capitalize())


def show_magnitudes(shown: Explanation, selection: dict | None, own: CueSummary | None) -> None:
    """Draw how the voice is in each place."""
    st.header("What was measured")
    st.caption(
        "How to read: each figure is the voice itself in that place, cut from tracks of the whole clip; "
        "the small line says how many frames or periods it rests on."
    )
    picked = "own" if own else str(selection["rank"]) if selection and "rank" in selection else None
    st.html(f'<div class="ss">{magnitudes(shown.cues, picked, own)}</div>')


def show_contrasts(
    shown: Explanation, selection: dict | None, own: CueSummary | None, *, selectable: bool = True
) -> None:
    """Draw how one place differs from the rest of the speech; ``selectable``: whether a place can be chosen above."""
    st.header("Contrast: is the voice different there?")
    if own is None and not shown.regions:
        st.caption(
            "There is no region to set against the rest of the speech; drag over the view to choose a stretch or a box."
        )
        return
    scope = str(selection["rank"]) if selection and "rank" in selection else ALL_REGIONS
    place = own_place(own) if own else "all regions together" if scope == ALL_REGIONS else f"region {scope}"
    st.caption(
        f"How to read: {place} against the rest of the speech in this clip; the effect (Cliff's delta, −1 … 1) counts "
        "only where it leaves the range that the same shape gives elsewhere in the speech. p is corrected over all "
        "cues of the place, by the same shifts (step-down minP)."
        + ("" if selection or not selectable else " Select one region in the view above to see it alone.")
    )
    found = tuple(c for c in (own or shown.cues).contrasts if c.scope == ("1" if own else scope))
    st.html(f'<div class="ss">{contrasts(found, place)}</div>')


def own_place(own: CueSummary) -> str:
    """Return what a contrast of the reader's own part is about; a box counts by its seconds."""
    return "your stretch" if own.regions[0].low_hz is None else "the seconds of your box"


def show_agreement(shown: Explanation) -> None:
    """Draw how the voice compares with what experts expect of the predicted class and the runner-up."""
    st.header("Agreement: is it what experts expect?")
    st.caption(
        "How to read: each cue is placed among neutral speech of other speakers (salient regions among stretches "
        "of their own length), never among the rest of this clip, and set beside the direction that the literature "
        "gives for the emotion."
    )
    st.html(f'<div class="ss"><p class="paragraph">{escape(shown.paragraph)}</p></div>')
    emotions = list(dict.fromkeys(a.emotion for a in shown.agreements))
    if not emotions:
        return
    st.html(f'<div class="ss"><p>{escape(reference_words(shown.agreements, shown.tracks.settings.sex))}</p></div>')
    for emotion, tab in zip(emotions, st.tabs([_tab(shown, e) for e in emotions]), strict=True):
        rows = tuple(a for a in shown.agreements if a.emotion == emotion)
        tab.html(f'<div class="ss">{agreement(rows, emotion)}</div>')
    with st.expander("Sources and neutral references"):
        st.html(f'<div class="ss"><ul>{"".join(f"<li>{escape(t)}</li>" for t in sources(shown))}</ul></div>')


def _tab(shown: Explanation, emotion: str) -> str:
    roles = {shown.prediction.runner_up: "runner-up", shown.prediction.top: "answer"}
    role = roles.get(emotion, "explained")
    return f"{emotion} ({role}, {percent(shown.prediction.probability(emotion))})"


def magnitudes(summary: CueSummary, picked: str | None, own: CueSummary | None = None) -> str:
    """Return the table of magnitudes: a row a cue, a column a place.

    Args:
        summary: of the clip and its regions.
        picked: scope whose column is marked.
        own: of the reader's own stretch as its only region, if there is one.
    """
    cells = {(v.cue, v.scope): v for v in summary.values}
    scopes = [CLIP, *(str(r.rank) for r in summary.regions)]
    heads = {CLIP: "Whole clip"} | {
        str(r.rank): f"Region {r.rank}<br><small>{r.start_s:.2f}–{r.end_s:.2f} s</small>" for r in summary.regions
    }
    if own is not None:
        region = own.regions[0]
        cells |= {(v.cue, "own"): v for v in own.values if v.scope == "1"}
        word = "stretch" if region.low_hz is None else "box"
        heads["own"] = f"Your {word}<br><small>{region.start_s:.2f}–{region.end_s:.2f} s</small>"
        scopes.insert(1, "own")
    notes = _Notes()
    head = "".join(f'<th scope="col"{_mark(s, picked)}>{heads[s]}</th>' for s in scopes)
    body = "".join(
        f'<tr><th scope="row">{escape(cue_title(cue))}</th>'
        + "".join(f"<td{_mark(s, picked)}>{_value(cells.get((cue, s)), notes)}</td>" for s in scopes)
        + "</tr>"
        for cue in dict.fromkeys(v.cue for v in summary.values)
    )
    return _table("Cue magnitudes", f'<th scope="col">Cue</th>{head}', body) + notes.html()


def contrasts(found: tuple[Contrast, ...], place: str) -> str:
    """Return the table of contrasts of one region with the rest of the speech."""
    notes = _Notes()
    rows = "".join(_contrast(c, notes) for c in found)
    head = "".join(
        f'<th scope="col"{css}>{name}</th>'
        for name, css in (
            ("Cue", ""),
            ("Inside", ""),
            ("Rest of speech", ""),
            ("Difference", ""),
            ("Effect", ""),
            ("Chance range", ""),
            ("p, corrected", ""),
            ("Reading", ' class="words"'),
        )
    )
    return _table(f"Contrast of {place} with the rest of the speech", head, rows) + notes.html()


def agreement(rows: tuple[Agreement, ...], emotion: str) -> str:
    """Return the table of agreement for one emotion: a row a cue, the whole clip beside the salient regions.

    Cues without an expectation are folded away below it.
    """
    scopes = list(dict.fromkeys(row.scope for row in sorted(rows, key=lambda row: row.scope != CLIP)))
    found = {(row.cue, row.scope): row for row in rows}
    expected: list[tuple[str, list[Agreement | None]]] = []
    silent: list[tuple[str, list[Agreement | None]]] = []
    for cue in dict.fromkeys(row.cue for row in rows):
        places = [found.get((cue, scope)) for scope in scopes]
        (silent if all(r is None or r.status == "no expectation" for r in places) else expected).append((cue, places))
    names = (
        "Cue",
        "Experts expect",
        *("Whole clip" if scope == CLIP else scope.capitalize() for scope in scopes),
        "Source",
    )
    head = "".join(f'<th scope="col" class="words">{escape(name)}</th>' for name in names)
    html = _table(f"Agreement with the experts for {emotion}", head, "".join(_agreement(*row) for row in expected))
    if silent:
        rest = _table(f"Cues without an expectation for {emotion}", head, "".join(_agreement(*row) for row in silent))
        html += f"<details><summary>{len(silent)} cues without an expectation</summary>{rest}</details>"
    return html


def sources(explanation: Explanation) -> list[str]:
    """Return each source and neutral reference of the agreement once, in order."""
    return list(dict.fromkeys(text for a in explanation.agreements for text in (_cited(a), a.reference) if text))


def _cited(row: Agreement) -> str:
    return f"{row.source} ({row.evidence})" if row.source and row.evidence else row.source


class _Notes:
    """Numbers the remarks of a table, so that they can be read without hovering."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        number_ = self.texts.index(text) + 1
        return f' <abbr title="{escape(text)}"><sup>{number_}</sup></abbr>'

    def html(self) -> str:
        if not self.texts:
            return ""
        return f'<ol class="notes">{"".join(f"<li>{escape(t)}</li>" for t in self.texts)}</ol>'


def _mark(scope: str, picked: str | None) -> str:
    return ' class="picked"' if scope == picked else ""


def _table(caption: str, head: str, body: str) -> str:
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _value(value: CueValue | None, notes: _Notes) -> str:
    if value is None:
        return '<span class="none">–</span>'
    if value.value is None:
        return f'<span class="none">not measurable</span>{notes.mark(value.note) if value.note else ""}'
    doubts = "".join(notes.mark(text) for text in (value.reliability, value.note) if text)
    return f"{number(value.value, value.unit)}{doubts}<br><small>{value.count} {escape(value.counted)}</small>"


def _contrast(c: Contrast, notes: _Notes) -> str:
    name = f'<th scope="row">{escape(cue_title(c.cue))}</th>'
    if c.difference is None:
        reason = notes.mark(c.note) if c.note else ""
        return f'<tr>{name}<td colspan="7" class="words none">not measurable{reason}</td></tr>'
    chance = "–" if c.chance_low is None else f"{number(c.chance_low)} … {number(c.chance_high)}"
    reading = "no chance level" if c.p_corrected is None else "within chance"
    if c.beyond_chance:
        reading = f"<strong>{('higher' if c.difference > 0 else 'lower') if one_way(c) else 'differs'} here</strong>"
    remark = notes.mark(c.note) if c.note else ""
    sign = "+" if c.difference > 0 else ""
    return (
        f"<tr>{name}<td>{number(c.inside, c.unit)}</td><td>{number(c.outside, c.unit)}</td>"
        f"<td>{sign}{number(c.difference, c.unit)}</td><td>{number(c.effect)}</td><td>{chance}</td>"
        f'<td>{p_value(c.p_corrected)}</td><td class="words">{reading}'
        f"{remark}</td></tr>"
    )


def _agreement(cue: str, places: list[Agreement | None]) -> str:
    row = next(place for place in places if place is not None)
    expected = escape((row.expected or "–").replace("_weak", " (weak)").replace("_", " "))
    if row.conflict:
        expected += f"<br><small>{escape(row.conflict)}</small>"
    return (
        f'<tr><th scope="row">{escape(cue_title(cue))}</th><td class="words wide">{expected}</td>'
        + "".join(f'<td class="words">{_verdict(place)}</td>' for place in places)
        + f'<td class="words"><small>{hint(_cited(row), _short(row.source))}</small></td></tr>'
    )


def _verdict(row: Agreement | None) -> str:
    if row is None:
        return "–"
    kind, mark = row.status.replace(" ", "-"), AGREEMENT_MARKS.get(row.status, "")
    verdict = f'<span class="verdict {kind}"><i aria-hidden="true">{mark}</i> {escape(row.status)}</span>'
    if row.value is None:
        return verdict
    against = f"{row.reference}, stretches of {row.stretches}" if row.stretches else row.reference
    place = hint(against, row.observed) if row.observed else ""
    if row.observed and row.percentile is not None:
        place += f", percentile {row.percentile:.0f}"
    return f"{verdict}<br><small>{number(row.value, row.unit)}{' · ' if place else ''}{place}</small>"


def _short(source: str) -> str:
    return source if len(source) <= 28 else f"{source[:27]}…"
