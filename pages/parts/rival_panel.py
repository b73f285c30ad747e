"""Why one emotion and not another: the contrastive map, and the cues that separate the two by the experts' tables."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, strips
from pages.parts.cards import table
from pages.parts.tables import cue_title
from pages.parts.words import hint, number, plain

if TYPE_CHECKING:
    from explain.explanation import Explanation
    from explain.rivals import RivalCue, Rivalry
    from ser_core.models import SpeechModel

CLASSES = {"for": "agrees", "against": "disagrees", "contested": "contested"}


def show(shown: "Explanation", model: "SpeechModel", key: str) -> None:
    """Draw the rivalry of the explained emotion and another; nothing for a model of dimensions."""
    if shown.prediction.values is not None:
        return
    emotion = shown.target.emotion
    if shown.target.against is not None:
        st.header(f"Why {plain(emotion)} and not {plain(shown.target.against)}?")
        if shown.rivalry is not None:
            draw(shown.rivalry)
        return
    place = st.container()
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    others = [each for each in shown.prediction.order if each != emotion]
    rival = left.selectbox("Rather than", others, key=f"rival-{key}", help="The runner-up stands first.")
    place.header(f"Why {plain(emotion)} and not {plain(rival)}?")
    place.caption(
        f"What speaks for {plain(emotion)} may speak for {plain(rival)} as well. Here the difference of the two is "
        "explained, and each cue is held against what experts expect of both."
    )
    asked = ("rival", key, rival)

    def work(job: background.Job) -> "Explanation":
        from explain.attribution import Target
        from explain.explanation import explain

        rule = "connected" if shown.region_rule == "yours" else shown.region_rule
        return explain(
            shown.recording,
            model,
            shown.attribution.method,
            Target(emotion, rival),
            region_rule=rule,
            progress=job.tell,
            like=shown,
        )

    if background.job(asked) is None and right.button(f"Explain {emotion} rather than {rival}"):
        background.start(asked, work)
    started = background.job(asked)
    if started is not None:
        background.show(started, lambda found: _contrast(shown, found))


def _contrast(shown: "Explanation", found: "Explanation") -> None:
    if found.rivalry is None:
        return
    st.html(f'<div class="ss"><p class="paragraph" role="status">{escape(found.rivalry.sentence)}</p></div>')
    if found.attribution.times_s is not None:
        st.plotly_chart(
            strips.maps((shown, found), ("Alone", "Contrast")),
            config={"displayModeBar": False},
            width="stretch",
            alt=strips.maps_in_words((shown, found), ("Alone", "Contrast")),
        )
        st.caption(
            strips.colours_in_words((shown, found), found.target.emotion)
            + (f", in the lower map for {found.target.against}" if found.attribution.signed else "")
            + f"; outlined: salient regions. Contrast: {strips.regions_in_words(found)}."
        )
    st.html(f'<div class="ss">{rows(found.rivalry)}</div>')


def draw(found: "Rivalry") -> None:
    """Draw what separates the two in a sentence and as a table."""
    st.html(f'<div class="ss"><p class="paragraph" role="status">{escape(found.sentence)}</p>{rows(found)}</div>')


def rows(found: "Rivalry") -> str:
    """Return the table of cues: what experts expect of each emotion, and whom the cue speaks for here."""
    if not found.rows:
        return ""
    scopes = list(dict.fromkeys(row.scope for row in found.rows))
    by = {(row.cue, row.scope): row for row in found.rows}
    cues = sorted(dict.fromkeys(row.cue for row in found.rows), key=lambda cue: not by[cue, scopes[0]].separates)
    names = ("Cue", *(_PLACES[s] for s in scopes), f"Expected of {found.emotion}", f"Expected of {found.against}")
    head = "".join(f'<th scope="col" class="words">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(cue_title(cue))}</th>'
        + "".join(f'<td class="words wide">{_reading(by[cue, scope], found)}</td>' for scope in scopes)
        + _expected(by[cue, scopes[0]])
        + "</tr>"
        for cue in cues
    )
    return table(f"Cues that separate {found.emotion} from {found.against}", head, body)


_PLACES = {"salient regions": "Salient regions", "clip": "Whole clip"}


def _expected(row: "RivalCue") -> str:
    return "".join(
        f'<td class="words">{hint(source, side.replace("_weak", " (weak)").replace("_", " ")) if side else "–"}</td>'
        for side, source in zip((row.expected, row.expected_against), row.sources, strict=True)
    )


def _reading(row: "RivalCue", found: "Rivalry") -> str:
    words = {
        "for": f"speaks for {found.emotion}",
        "against": f"speaks for {found.against}",
        "same expectation": "cannot separate them",
        "one expectation": "expected of one only",
        "not measurable": "not measurable" if row.value is None else "cannot be judged",
    }.get(row.reading, row.reading)
    verdict = f'<span class="verdict {CLASSES.get(row.reading, "none")}">{escape(words)}</span>'
    if row.value is None:
        return f"{verdict}<br><small>{escape(row.note)}</small>" if row.note else verdict
    place = "" if row.percentile is None else f" · percentile {row.percentile:.0f}"
    why = f"<br><small>{escape(row.note)}</small>" if row.note and row.reading == "not measurable" else ""
    return f"{verdict}<br><small>{number(row.value, row.unit)}{place}</small>{why}"
