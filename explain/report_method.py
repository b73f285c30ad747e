"""The end of a report: the method with every setting in force, the software, and the model's card."""

import dataclasses
import math
from datetime import datetime
from typing import Any

from explain.attribution import SMALLEST_CHANGE, Attribution, box_uncertainty, method_label
from explain.explanation import Explanation
from explain.printing import Notes, number, pairs, percent, plain_name
from explain.views import SMALLEST_DIFFERENCE

_REGION_RULES = {
    "connected": "connected parts above a threshold, ranked by their share",
    "windows": "the published way: the top five windows of 150 ms",
    "yours": "chosen by hand",
}


def method_and_settings(e: Explanation, when: datetime) -> dict[str, Any]:
    """Return the rows of method, settings and software."""
    a = e.attribution
    return {
        "method": [
            ["model", a.model],
            ["attribution method", method_label(a.method)],
            ["dimension explained" if a.target.direction else "class explained", a.target.name],
            ["axes", plain_name(a.axes)],
            ["sign", "signed" if a.signed else "unsigned"],
            ["salient regions", _REGION_RULES.get(e.region_rule, e.region_rule)],
            ["baseline", a.baseline or "none"],
            ["steps", "none" if a.steps is None else str(a.steps)],
            ["completeness error", _completeness(a)],
            *([["value of a box known to", known]] if (known := box_uncertainty(a)) else []),
            ["model’s own weights", e.pooling.what if e.pooling else "none"],
            ["computing time", ", ".join(f"{plain_name(k)} {v:.2f} s" for k, v in e.seconds.items()) or "not measured"],
            ["audio SHA-256", e.recording.sha256],
            ["report made", when.isoformat(" ", "seconds")],
        ],
        "attribution_settings": pairs(a.settings),
        "cue_settings": [
            *pairs(dataclasses.asdict(e.tracks.settings)),
            ["sex guessed from the clip", e.tracks.sex_guess or "none"],
            ["sex in force", e.tracks.sex],
        ],
        "versions": pairs(e.versions),
    }


def _completeness(a: Attribution) -> str:
    if a.completeness_error is None:
        return "not defined for this method"
    least = SMALLEST_DIFFERENCE if a.target.direction is None else SMALLEST_CHANGE
    whole = "the difference that was to be explained"
    if abs(a.settings.get("difference", least)) < least:
        whole = f"{least:g}, as {whole} is smaller"
    return f"{percent(a.completeness_error)} of {whole}"


def model_card(e: Explanation) -> dict[str, Any]:
    """Return the rows of the card, its table of figures with notes, and its limits."""
    c, notes = e.card, Notes()
    return {
        "card": [
            ["name", f"{c.title} ({c.name})"],
            ["what it is", c.summary],
            ["system", c.system],
            ["encoder", c.encoder],
            ["dimensions" if c.answer == "dimensions" else "classes", ", ".join(c.emotions)],
            ["training corpora", "; ".join(c.corpora) or "not stated"],
            ["licences", "; ".join(c.licences) or "not stated"],
            ["split", c.split or "not stated"],
            ["intended use", c.intended_use or "not stated"],
            ["whole size on disk", number(c.size_mb, "MB")],
        ],
        "card_figure_head": [
            *("measure", "value", "95 % interval"),
            *("majority baseline" if c.answer == "emotion" else "constant baseline", "chance", "measured on"),
        ],
        "card_figures": [
            [
                f.measure,
                f"{f.value:.3f}",
                f"{f.low:.3f} to {f.high:.3f}",
                *("–" if math.isnan(value) else f"{value:.3f}" for value in (f.baseline, f.chance)),
                notes.mark(f"Measured on: {f.split}.", f"Repeat with: {f.command}").strip(),
            ]
            for f in c.figures
        ],
        "card_notes": notes.lines(),
        "limits": list(c.limits) or ["The card states none."],
    }
