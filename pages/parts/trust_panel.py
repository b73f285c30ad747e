"""Whether the explanation can be trusted: verdicts of its tests, its curves, and where it stands on two axes."""

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background
from pages.parts.cards import table
from pages.parts.charts import COLOURS, GREY
from ser_core.numbers import percent, unsigned

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from explain.expert import Agreement
    from explain.explanation import Explanation
    from explain.removal import Curve
    from explain.trust import Trust
    from explain.verdicts import Test
    from ser_core.models import SpeechModel

MARKS = {"holds": "✓", "weak": "~", "fails": "✗", "cannot be decided": "–"}
CLASSES = {"holds": "agrees", "weak": "contested", "fails": "disagrees", "cannot be decided": "none"}
ON_BOTH_THEMES = "#6f7d87"
SHORT_OF_FAITHFUL = 0.94
CORNERS = (
    (
        "plausible, not faithful",
        "It looks right, and its tests do not show that the model relied on it: the most misleading kind.",
    ),
    ("faithful and plausible", "The model relied on it, and experts expect it."),
    ("neither", "Nothing can be learned from this map."),
    ("faithful, not plausible", "The model relied on something that experts do not name: a shortcut, or news."),
)


def show(shown: "Explanation", model: "SpeechModel", key: str) -> None:
    """Draw the panel of one explanation; the tests are started by the reader and run in the background."""
    st.header("Can this explanation be trusted?")
    of = "features" if shown.attribution.axes == "features" else "regions"
    st.caption(
        f"An explanation is a claim about the model. These tests take the salient {of} away, destroy the model, change "
        "what nobody hears, and compare each outcome with what chance gives for this very clip."
    )
    asked = ("trust", key)

    def work(job: background.Job) -> "Trust":
        from explain.trust import trust

        return trust(
            model,
            shown.recording,
            shown.attribution,
            shown.speech,
            regions=shown.regions,
            progress=job.tell,
            known=job.learn,
        )

    if background.job(asked) is None and st.button("Test this explanation", type="primary"):
        background.start(asked, work)
    started = background.job(asked)
    if started is None:
        return

    def tests_so_far() -> None:
        found = background.result(started) or started.known
        if found is not None:
            draw(shown, found)

    background.follow(started, tests_so_far)


def draw(shown: "Explanation", found: "Trust") -> None:
    """Draw the verdict, every test, the curves and the two axes."""
    st.html(
        f'<div class="ss"><p class="paragraph" role="status"><span class="verdict {CLASSES[found.verdict]}">'
        f"<i>{MARKS[found.verdict]}</i>{escape(found.verdict)}</span> {escape(found.sentence)}</p>"
        f"{tests(found.tests)}</div>"
    )
    left, right = st.columns(2, gap="medium")
    with left:
        if found.curves:
            st.plotly_chart(
                curves(found.curves, found.of, found.target.unit),
                config={"displaylogo": False},
                width="stretch",
                alt=in_words(found.curves, found.of, found.target.unit),
            )
            st.caption(found.reading)
    right.html(axes(found, shown.agreements))


def tests(found: "tuple[Test, ...]") -> str:
    """Return the table of tests."""
    rows = "".join(
        f'<tr class="above"><th scope="row">{escape(test.name)}</th>'
        f'<td class="words"><span class="verdict {CLASSES[test.verdict]}"><i>{MARKS[test.verdict]}</i>{test.verdict}'
        f"</span></td><td>{unsigned(test.value)}</td><td>{escape(test.limit)}</td>"
        f'</tr><tr><td class="words under" colspan="4">{escape(test.words)}</td></tr>'
        for test in found
    )
    names = ("Test", "Verdict", "Value", "Holds where")
    head = "".join(f'<th scope="col"{" class=words" if name == "Verdict" else ""}>{name}</th>' for name in names)
    return table("Tests of the explanation", head, rows)


def curves(found: "tuple[Curve, ...]", of: str, unit: str = "logit") -> "go.Figure":
    """Return the logit or value against the number of regions or features (``of``) taken away or put in."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for curve, colour in zip(found, (COLOURS[1], COLOURS[0]), strict=False):
        steps = list(range(len(curve.ours)))
        figure.add_trace(
            go.Scatter(
                x=[*steps, *reversed(steps)],
                y=[*curve.random_high, *reversed(curve.random_low)],
                fill="toself",
                mode="none",
                fillcolor="rgba(128,144,154,0.25)",
                showlegend=False,
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(x=steps, y=curve.random, line={"color": GREY, "dash": "dot"}, name=f"{curve.name}, random")
        )
        figure.add_trace(go.Scatter(x=steps, y=curve.ours, line={"color": colour, "width": 3}, name=curve.name))
    figure.update_xaxes(title=of, dtick=1)
    figure.update_yaxes(title=unit)
    figure.update_layout(
        height=340,
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        legend={"orientation": "h", "y": 1.03, "yanchor": "bottom"},
        dragmode=False,
    )
    return figure


def in_words(found: "tuple[Curve, ...]", of: str, unit: str = "logit") -> str:
    """Return where each curve begins and ends, beside chance, for those who do not see it."""
    said = [
        f"{curve.name}: from {unsigned(curve.ours[0])} to {unsigned(curve.ours[-1])} over {len(curve.ours) - 1} "
        f"{of}, at random to {unsigned(curve.random[-1])}"
        for curve in found
    ]
    return f"The {unit} as {of} are taken away or put in. {'; '.join(said)}."


def axes(found: "Trust", agreements: "tuple[Agreement, ...]") -> str:
    """Return the two-axis chart: faithful to the model (across), plausible to an expert (up)."""
    if found.of != "regions":
        return (
            '<div class="ss"><p class="soft">Whether this is plausible, too, cannot be set beside it: experts speak of '
            "cues in time, and an explanation over named features has no regions to measure them in.</p></div>"
        )
    from explain.standing import standing

    place = standing(found, agreements)
    if place is None:
        return (
            '<div class="ss"><p class="soft">Faithful and plausible cannot be set against each other here: a test of '
            "faithfulness or every expectation could not be decided.</p></div>"
        )
    up = place.plausible
    across = min(place.beaten, SHORT_OF_FAITHFUL) if place.short else place.beaten
    corner = CORNERS[(0 if up >= 0.5 else 2) + (1 if across >= 0.95 else 0)]
    corners = "".join(
        f"<li><strong>{escape(name.capitalize())}{' (here)' if name == corner[0] else ''}.</strong> {escape(told)}</li>"
        for name, told in CORNERS
    )
    # The line between "holds" and not lies at 95 % of random places, drawn in the middle.
    x = 20 + 260 * (0.5 * across / 0.95 if across < 0.95 else 0.5 + 0.5 * (across - 0.95) / 0.05)
    y = 20 + 180 * (1 - up)
    told = f"; not every test of faithfulness holds ({place.short})" if place.short else ""
    words = (
        f"Faithful: taking the regions away or leaving them alone beats {percent(place.beaten)} of random "
        f"places{told}. Plausible: {percent(up)} of the cues of the salient regions that could be judged move as "
        f"experts expect of {found.target.emotion}."
    )
    labels = "".join(
        f'<text x="{85 + 130 * (number % 2)}" y="{14 if number < 2 else 218}" text-anchor="middle" '
        f'font-size="10" font-family="sans-serif" fill="{ON_BOTH_THEMES}">{escape(name)}</text>'
        for number, (name, _) in enumerate(CORNERS)
    )
    # As an image, since Streamlit takes drawings out of HTML; one grey can be read on both themes.
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 228">'
        f'<rect x="20" y="20" width="260" height="180" fill="none" stroke="{ON_BOTH_THEMES}"/>'
        f'<path d="M150 20V200M20 110H280" stroke="{ON_BOTH_THEMES}" opacity="0.6"/>'
        f'{labels}<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="#0b6b75" stroke="white" stroke-width="1.5"/></svg>'
    )
    return (
        '<div class="ss"><p class="title" aria-hidden="true">Faithful and plausible are two things</p>'
        f'<img alt="{escape(words)}" style="width:100%;max-width:26rem" '
        f'src="data:image/svg+xml;base64,{b64encode(drawing.encode()).decode()}">'
        f'<p>{escape(words)}</p><ul class="soft">{corners}</ul></div>'
    )
