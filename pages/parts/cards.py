"""Model cards as HTML."""

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ser_core.models import Card, Figure


def all_cards() -> "tuple[Card, ...]":
    """Return the cards of all models at hand."""
    from ser_core.registry import cards

    return cards()


def comparison(found: "tuple[Card, ...]") -> str:
    """Return one table of all models' first figures."""
    rows = "".join(
        f'<tr><th scope="row">{escape(c.title)}</th><td>{len(c.emotions)}</td><td>{c.size_mb:.1f} MB</td>'
        + "".join(f"<td>{_interval(f)}</td>" for f in c.figures[:1])
        + "".join(f"<td>{_share(f.baseline)}</td><td>{_share(f.chance)}</td>" for f in c.figures[:1])
        + "".join(f'<td class="words">{escape(f.measure)}, {escape(f.split)}</td>' for f in c.figures[:1])
        + "</tr>"
        for c in found
    )
    return (
        '<div class="ss"><div class="scroll" tabindex="0" role="region" aria-label="All models"><table>'
        "<caption>All models</caption><thead><tr>"
        '<th scope="col">Model</th><th scope="col">Classes</th><th scope="col">Size</th><th scope="col">Figure</th>'
        '<th scope="col">Majority</th><th scope="col">Chance</th><th scope="col" class="words">Measured as</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def card(shown: "Card") -> str:
    """Return one card in full."""
    facts = {
        "System": shown.system.replace("_", " "),
        "Encoder": shown.encoder,
        "Classes": ", ".join(shown.emotions),
        "Trained on": "; ".join(shown.corpora),
        "Split": shown.split,
        "Licences": "; ".join(shown.licences),
    }
    items = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    figures = "".join(
        f'<tr><th scope="row">{escape(f.measure)}</th><td>{_interval(f)}</td><td>{_share(f.baseline)}</td>'
        f'<td>{_share(f.chance)}</td><td class="words wide">{escape(f.split)}</td>'
        f'<td class="words"><small><code>{escape(f.command)}</code></small></td></tr>'
        for f in shown.figures
    )
    table = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Figures of {escape(shown.title)}"><table>'
        '<thead><tr><th scope="col">Measure</th><th scope="col">Value [95 %]</th><th scope="col">Majority</th>'
        '<th scope="col">Chance</th><th scope="col" class="words">On</th><th scope="col" class="words">Repeat with</th>'
        f"</tr></thead><tbody>{figures}</tbody></table></div>"
        if figures
        else "<p>No figures were measured for this model.</p>"
    )
    limits = "".join(f"<li>{escape(limit)}</li>" for limit in shown.limits)
    return (
        f'<div class="ss"><h3>{escape(shown.title)} <span class="tag">{shown.size_mb:.1f} MB</span></h3>'
        f'<p>{escape(shown.summary)}</p><dl class="facts wide">{items}</dl>{table}'
        f"<p style='margin-top:0.8rem'><strong>Meant for.</strong> {escape(shown.intended_use)}</p>"
        f"<p><strong>Limits.</strong></p><ul>{limits}</ul></div>"
    )


def _interval(figure: "Figure") -> str:
    return f"<strong>{_share(figure.value)}</strong> [{_share(figure.low)}, {_share(figure.high)}]"


def _share(value: float) -> str:
    """Return a share in per cent with one decimal."""
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f} %"
