"""Model cards as HTML."""

import math
from html import escape
from typing import TYPE_CHECKING

from pages.parts.words import meanings, measure
from ser_core.numbers import rounded_percent, unsigned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ser_core.models import Card, Figure


def all_cards() -> "tuple[Card, ...]":
    """Return the cards of all models at hand."""
    from ser_core.registry import cards

    return cards()


def comparison(found: "tuple[Card, ...]") -> str:
    """Return one table of the first figure of every model."""
    unmeasured = '<td class="words none">not measured</td><td>–</td><td>–</td><td>–</td>'
    rows = "".join(
        f'<tr><th scope="row">{escape(c.title)}</th>'
        + (
            "".join(
                f'<td class="words">{measure(f.measure)}</td><td>{_interval(f)}</td>'
                f"<td>{_shown(f, f.baseline)}</td><td>{_shown(f, f.chance)}</td>"
                for f in c.figures[:1]
            )
            or unmeasured
        )
        + f"<td>{len(c.emotions)}</td><td>{size(c.size_mb)}</td></tr>"
        for c in found
    )
    head = "".join(
        f'<th scope="col"{" class=words" if name == "Measure" else ""}>{name}</th>'
        for name in ("Model", "Measure", "Value [95 %]", "Constant", "Chance", "Outputs", "Size")
    )
    told = meanings(f.measure for c in found for f in c.figures[:1])
    return f'<div class="ss">{table("All models", head, rows)}{told}</div>'


def heading(shown: "Card") -> str:
    """Return what a model is, in a line or two."""
    return (
        f'<div class="ss"><h3>{escape(shown.title)} <span class="tag">{size(shown.size_mb)}</span></h3>'
        f"<p>{escape(shown.summary)}</p></div>"
    )


def details(shown: "Card") -> str:
    """Return what else a card says: figures, where they come from, licences and limits."""
    facts = {
        "System": shown.system.replace("_", " "),
        "Encoder": shown.encoder,
        _OUTPUTS[shown.answer]: ", ".join(shown.emotions),
        "Trained on": "; ".join(shown.corpora),
    }
    items = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    rows = "".join(
        f'<tr><th scope="row">{measure(f.measure)}</th><td>{_interval(f)}</td><td>{_shown(f, f.baseline)}</td>'
        f"<td>{_shown(f, f.chance)}</td></tr>"
        for f in shown.figures
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Measure", "Value [95 %]", "Constant", "Chance"))
    figures = table(f"Figures of {shown.title}", head, rows) if rows else "<p>No figures were measured.</p>"
    words = {
        "Measured on": _lines(f.split for f in shown.figures) or escape(shown.split),
        "Repeat with": _lines((f.command for f in shown.figures), "code"),
        "When the sound comes later": _lines(drift(shown)),
        "Meant for": escape(shown.intended_use),
        "Licences": _lines(shown.licences),
        "Limits": _lines(shown.limits),
    }
    paragraphs = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in words.items() if v)
    return f'<div class="ss"><dl class="facts">{items}</dl>{figures}<dl class="words">{paragraphs}</dl></div>'


def drift(shown: "Card") -> tuple[str, ...]:
    """Return how far the model's explanations drift behind silence, a sentence for each method that was measured."""
    from explain.drift import read_table

    return tuple(row.sentence for row in read_table() if row.model == shown.name)


def size(megabytes: float) -> str:
    """Return the size of a model on disk in words."""
    return f"{megabytes:.1f} MB" if megabytes >= 1 else f"{1000 * megabytes:.0f} kB"


def _lines(texts: "Iterable[str]", tag: str = "span") -> str:
    """Return each text once, one a line."""
    return "<br>".join(f"<{tag}>{escape(text)}</{tag}>" for text in dict.fromkeys(texts) if text)


def table(caption: str, head: str, rows: str) -> str:
    """Return a table that scrolls sideways on its own, with its caption for screen readers."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


_OUTPUTS = {"emotion": "Classes", "distribution": "Listeners’ answers", "dimensions": "Dimensions"}
_NO_SHARES = ("CCC", "KL", "cosine", "Chebyshev", "Clark", "Canberra", "intersection", "spread")


def _interval(figure: "Figure") -> str:
    low, high = (_shown(figure, value) for value in (figure.low, figure.high))
    return f"<strong>{_shown(figure, figure.value)}</strong> [{low}, {high}]"


def _shown(figure: "Figure", value: float) -> str:
    """Return a share in per cent with one decimal, any other measure as it is; "–" where there is none."""
    if figure.measure.startswith(_NO_SHARES) or not math.isfinite(value):
        return unsigned(value, 3)
    return rounded_percent(value, 1)
