"""The PDF report of one explanation, set by Typst: tagged, PDF/UA-1, made in memory only.

The template is ``assets/report/report.typ``. All words and figures reach it as data (JSON and SVG in ``sys.inputs``),
never as markup, so nothing in a file name or a model card can run. A letter that none of the report's fonts has
appears as its code point, such as [U+65E5].
"""

import dataclasses
import json
import math
import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from typing import Any

from explain import figures
from explain.attribution import method_label
from explain.cues import CUES, CueValue
from explain.expert import OURS, Agreement, reference_words
from explain.explanation import Explanation
from explain.export import compared_emotions
from explain.words import NO_EXPECTATION, signed
from ser_core.errors import ExplanationError
from ser_core.settings import ASSETS
from ser_core.sphere import POLES, octant_name

DISCLAIMER = "This is a research tool, not a diagnosis and not a medical device."

_TEMPLATE = ASSETS / "report" / "report.typ"
_PLACES_PER_TABLE = 5
_LONGEST_NAME = 200
_LONGEST_LABEL = 60
_LONGEST_TEXT = 4000
_REGION_RULES = {
    "connected": "connected parts above a threshold, ranked by their share",
    "windows": "the published way: the top five windows of 150 ms",
    "yours": "chosen by hand",
}
_SMALLEST = 0.001
_ANSWER_HEADS = {
    "emotion": ["class", "probability", "from 0 to 100 %", "role"],
    "distribution": ["emotion", "share of listeners", "from 0 to 100 %", "role"],
    "dimensions": ["dimension", "value", "from −1 to 1", "role"],
}
_TITLES = {c.name: c.title for c in CUES}
_UNITS = {"s": "s", "hz": "Hz", "db": "dB", "ms": "ms"}
_JOINERS = "\u200c\u200d"
_MARKS = {"agrees": "✓", "disagrees": "✗", "contested": "±", "no expectation": "–", "not measurable": "∅"}


def pdf(explanation: Explanation, when: datetime | None = None) -> bytes:
    """Return the report as a tagged PDF that claims PDF/UA-1.

    Args:
        explanation: what is reported.
        when: the date on the report, with a time zone; now by default.

    Raises:
        ExplanationError: Typst refused the document.
    """
    import typst

    when = (when or datetime.now(UTC).astimezone()).replace(microsecond=0)
    drawings = {"linked": figures.linked(explanation)}
    if explanation.attribution.axes == "features":
        drawings["features"] = figures.features(explanation)
    data = printable(_contents(explanation, when))
    try:
        return typst.compile(
            _TEMPLATE.read_bytes(),
            root=_TEMPLATE.parent,
            font_paths=_fonts(),
            format="pdf",
            pdf_standards=["ua-1"],
            sys_inputs={"data": json.dumps(data), **drawings},
            timestamp=when,
        )
    except typst.TypstError as error:
        raise ExplanationError(
            f"The PDF report could not be set ({error}); export JSON or CSV instead, and report this as a fault."
        ) from error


def printable(value: Any) -> Any:
    """Return text, or lists and dicts of text, with every letter that the report cannot print as its code point.

    Control and direction characters count as such letters, so a file name cannot hide what it is. White space becomes
    one blank. Text over 4,000 letters is cut and says so. Numbers pass unchanged.
    """
    if isinstance(value, dict):
        return {k: printable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [printable(v) for v in value]
    if not isinstance(value, str):
        return value
    out: list[str] = []
    codes: list[str] = []
    for letter in _cut(" ".join(value.split()), _LONGEST_TEXT):
        hidden = unicodedata.category(letter)[0] == "C" and letter not in _JOINERS
        if hidden or ord(letter) not in _coverage():
            codes.append(f"{ord(letter):04X}")
            continue
        if codes:
            out.append(f"[U+{' '.join(codes)}]")
            codes = []
        out.append(letter)
    if codes:
        out.append(f"[U+{' '.join(codes)}]")
    return "".join(out)


def number(value: float | None, unit: str = "") -> str:
    """Return a figure with three significant digits, a true minus sign and its unit; "not measurable" for None."""
    if value is None or math.isnan(value):
        return "not measurable"
    size = abs(value)
    if size == 0:
        text = "0"
    elif size < _SMALLEST:
        text = f"below {_SMALLEST}" if value > 0 else f"above −{_SMALLEST}"
    else:
        text = f"{value:.{0 if size >= 100 else 2 - math.floor(math.log10(size))}f}".replace("-", "−")
    return f"{text} {unit}".strip()


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share 0 … 1 as a percentage; "not measurable" for None or NaN."""
    return "not measurable" if share is None or math.isnan(share) else f"{share:.{digits}%}".replace("%", " %")


@cache
def _fonts() -> Any:
    import typst

    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(figures.FONTS_DIR)])


@cache
def _coverage() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    names = ("IBMPlexSans-Regular.ttf", "DejaVuSans.ttf")
    return frozenset().union(*(FT2Font(str(figures.FONTS_DIR / name)).get_charmap() for name in names))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} letters)"


def _contents(explanation: Explanation, when: datetime) -> dict[str, Any]:
    e = explanation
    name = _cut(e.recording.name or "(no name)", _LONGEST_NAME)
    short = _cut(e.recording.name or "(no name)", _LONGEST_LABEL)
    target = _cut(e.target.name, 2 * _LONGEST_LABEL)
    method = method_label(e.attribution.method)
    return {
        "title": f"SERscope report: {target}, {short}",
        "heading": f"What speaks for {target} in this clip, to this model",
        "header_left": f"SERscope · {short}",
        "header_right": f"explained: {_cut(target, _LONGEST_LABEL)}",
        "footer": f"{DISCLAIMER} Audio SHA-256 {e.recording.sha256[:12]}…",
        "disclaimer": DISCLAIMER,
        "question": [
            [
                "dimension explained" if e.target.direction else "class explained",
                target
                + ("" if e.target.direction or e.target.emotion == e.prediction.top else " (not the predicted class)"),
            ],
            ["file", name],
            ["model", f"{_cut(e.card.title, _LONGEST_NAME)} ({_cut(e.prediction.model, _LONGEST_NAME)})"],
            ["method", method],
            ["date of the report", when.isoformat(" ", "minutes")],
        ],
        "answer_head": _ANSWER_HEADS[e.prediction.answer],
        "classes": _dimensions(e) if e.prediction.values is not None else _classes(e),
        "answer": [
            *_answer(e),
            [
                "distance from training",
                e.prediction.familiarity.sentence
                if e.prediction.familiarity
                else "not known: the model comes without a reference of its training data",
            ],
        ],
        "paragraph": e.paragraph,
        "quality": _quality(e),
        "warnings": list(e.quality.warnings),
        **_where(e, method),
        **_cues(e),
        **_contrasts(e),
        **_expert(e),
        **_method(e, when),
        **_card(e),
    }


def _words(name: str) -> str:
    words = name.replace("_", " ")
    return re.sub(r"\b(f[0-5]|hnr|cpps|lrp|hf)\b", lambda m: m[0].upper(), words)


def _answer(e: Explanation) -> list[list[str]]:
    p = e.prediction
    if p.values is not None:
        return [["place on the scales", octant_name(p.values)]]
    first, second = (f"{name}, {percent(p.probability(name))}" for name in (p.top, p.runner_up))
    most = number(math.log2(len(p.emotions)))
    if p.answer == "distribution":
        return [
            ["most listeners would hear", first],
            ["next", second],
            [
                "entropy",
                f"{number(p.entropy_bits)} bits; 0 if all listeners heard the same, {most} if they split evenly",
            ],
        ]
    return [
        ["most probable", first],
        ["runner-up", second],
        ["entropy", f"{number(p.entropy_bits)} bits; 0 would be certain, {most} a guess among all classes"],
    ]


def _dimensions(e: Explanation) -> list[dict[str, Any]]:
    p, rows = e.prediction, []
    for place, name in enumerate(p.emotions):
        value = p.value(name)
        poles = " to ".join(POLES.get(name, ("low", "high")))
        usual = f"; average training clip {signed(p.constant[place])}" if p.constant else ""
        rows.append(
            {
                "name": f"{name} ({poles})",
                "start": 0.5 + min(value, 0.0) / 2,
                "share": abs(value) / 2,
                "percent": signed(value),
                "explained": name == e.target.emotion,
                "remark": ("explained" if name == e.target.emotion else "") + usual,
            }
        )
    return rows


def _classes(e: Explanation) -> list[dict[str, Any]]:
    usual = dict(zip(e.prediction.emotions, e.prediction.constant, strict=False))
    rows = []
    for i, emotion in enumerate(e.prediction.order):
        remarks = ["explained"] if emotion == e.target.emotion else []
        remarks += ["set against"] if emotion == e.target.against else []
        remarks += ["runner-up"] if i == 1 else []
        remarks += [f"{percent(usual[emotion])} over all training clips"] if emotion in usual else []
        share = e.prediction.probability(emotion)
        rows.append(
            {
                "name": _cut(emotion, _LONGEST_LABEL),
                "start": 0.0,
                "share": min(max(share, 0.0), 1.0),
                "percent": percent(share),
                "explained": emotion == e.target.emotion,
                "remark": ", ".join(remarks),
            }
        )
    return rows


def _quality(e: Explanation) -> list[list[str]]:
    q, source = e.quality, e.recording.source
    narrow = "; narrow, as over a telephone" if q.narrowband else ""
    return [
        [
            "file format",
            f"{source.container}, {source.codec}, {source.sample_rate} Hz, channels: {source.channels}; "
            f"analysed as one channel at {e.recording.sample_rate} Hz",
        ],
        ["duration", f"{q.duration_s:.2f} s"],
        ["peak", number(q.peak_dbfs, "dBFS")],
        ["clipped samples", percent(q.clipped_share, 2)],
        ["signal-to-noise ratio", number(q.snr_db, "dB (estimated)") if math.isfinite(q.snr_db) else number(None)],
        ["bandwidth", number(q.bandwidth_hz, "Hz") + narrow],
        ["speech, voiced", f"{percent(q.speech_share, 0)} of the clip, {percent(q.voiced_share, 0)}"],
        ["SHA-256 of the audio", e.recording.sha256],
    ]


def _where(e: Explanation, method: str) -> dict[str, Any]:
    a = e.attribution
    axes = {
        "time_frequency": "seconds and hertz",
        "time": "seconds only; nothing is said about frequency",
        "features": "named features of the whole clip; nothing is said about time",
    }.get(a.axes, a.axes)
    sign = (
        "Above zero, relevance speaks for the class; below zero (hatched), against it. "
        if a.signed
        else "The method has no sign: relevance says that a place matters, not in which direction. "
    )
    on_map = "The map shows relevance for the class only. " if a.axes == "time_frequency" and a.signed else ""
    drawn = [
        {
            "key": "linked",
            "alt": figures.describe(e),
            "caption": f"Relevance for {e.target.name} by {method}, on {axes}. "
            + (sign + on_map if a.axes != "features" else "")
            + "Numbered boxes and bands are the salient regions; the black bar under the waveform marks speech. "
            "The spectrogram’s level is uncalibrated."
            + (f" The line under it: the model’s own weights, {e.pooling.what}." if e.pooling else ""),
        }
    ]
    if a.axes == "features":
        drawn.insert(
            0,
            {
                "key": "features",
                "alt": f"Bars of the features with the largest relevance for {e.target.name}, in order: "
                + ", ".join(
                    f"{(a.feature_names or ())[i]} {number(float(a.relevance[i]))}"
                    for i in sorted(range(len(a.relevance)), key=lambda i: -abs(a.relevance[i]))[:20]
                ),
                "caption": f"The features with the largest relevance for {e.target.name} by {method}, on {axes}.",
            },
        )
    return {
        "figures": drawn,
        "region_head": ["region", "from", "to", "band", "share of positive relevance"],
        "regions": [
            [
                str(r.rank),
                f"{r.start_s:.2f} s",
                f"{r.end_s:.2f} s",
                "all" if r.low_hz is None or r.high_hz is None else f"{r.low_hz:.0f} to {r.high_hz:.0f} Hz",
                percent(r.share),
            ]
            for r in e.regions
        ],
        "no_regions": "There is no salient region: "
        + (
            "this attribution has no time axis."
            if a.axes == "features"
            else "no part of the clip stands out by this method."
        ),
    }


def _title(cue: str, *, short: bool = False) -> str:
    title = _TITLES.get(OURS.get(cue, cue)) or _words(cue)
    return title.split(" (")[0] if short else title


def _scope(scope: str) -> str:
    return f"region {scope}" if scope.isdigit() else _words(scope)


class _Notes:
    """Numbers each distinct note once, in the order in which they come up."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}

    def mark(self, *texts: str) -> str:
        marks = sorted(self.items.setdefault(text, len(self.items) + 1) for text in texts if text)
        return f" [{','.join(map(str, marks))}]" if marks else ""

    def lines(self) -> list[str]:
        return [f"[{k}] {text}" for text, k in self.items.items()]


def _cues(e: Explanation) -> dict[str, Any]:
    values = {(v.cue, v.scope): v for v in e.cues.values}
    cues = list(dict.fromkeys(cue for cue, _ in values))
    scopes = list(dict.fromkeys(scope for _, scope in values))
    units = {v.cue: v.unit for v in e.cues.values}
    notes = _Notes()
    parts = []
    for first in range(0, len(scopes), _PLACES_PER_TABLE):
        shown = scopes[first : first + _PLACES_PER_TABLE]
        rows = [[_title(cue), units[cue], *(_magnitude(values.get((cue, s)), notes) for s in shown)] for cue in cues]
        parts.append({"head": ["cue", "unit", *map(_scope, shown)], "rows": rows})
    counted = sorted({v.counted for v in e.cues.values if v.counted})
    return {
        "cues": parts,
        "cue_words": "Measured once on the whole clip and cut by region. In round brackets: of how many items a value "
        f"is made ({', '.join(counted) or 'none'}, as fits the cue). In square brackets: notes below. "
        "“Not measurable” means too little to measure, never zero.",
        "cue_notes": notes.lines(),
    }


def _magnitude(value: CueValue | None, notes: _Notes) -> str:
    if value is None:
        return "–"
    count = f" ({value.count})" if value.value is not None else ""
    return number(value.value) + count + notes.mark(value.note, value.reliability and f"Doubtful: {value.reliability}")


def _contrasts(e: Explanation) -> dict[str, Any]:
    notes = _Notes()
    rows = []
    for c in e.cues.contrasts:
        measured = c.difference is not None
        outside = (
            c.effect is None
            or c.chance_low is None
            or c.chance_high is None
            or not c.chance_low <= c.effect <= c.chance_high
        )
        beyond = outside and c.p_corrected is not None and c.p_corrected < 0.05
        rows.append(
            [
                _scope(c.scope),
                _title(c.cue, short=True),
                number(c.inside) if measured else "–",
                number(c.outside) if measured else "–",
                number(c.difference, c.unit) if measured else "–",
                _two(c.effect),
                f"{_two(c.chance_low)} to {_two(c.chance_high)}" if c.chance_low is not None else "–",
                _probability(c.p_corrected),
                str(c.count),
                (("yes" if beyond else "no") if measured else "not measurable") + notes.mark(c.note),
            ]
        )
    return {
        "contrast_head": [
            "region",
            "cue",
            "inside",
            "rest",
            "difference",
            "effect δ",
            "by chance",
            "p corrected",
            "count",
            "beyond chance",
        ],
        "contrasts": rows,
        "contrast_words": "What is special about the place, not which emotion it is. Effect: Cliff’s δ from −1 to 1; "
        "beside it the range of 95 % of effects when the regions are shifted over speech frames only. p is corrected "
        "over the cues of a region (step-down minP over the same shifts, Westfall & Young). Beyond chance: outside "
        "that range with corrected p below 0.05. A range has no δ; its p comes from the shifted differences."
        + ("" if rows else " No contrast was measured."),
        "contrast_notes": notes.lines(),
    }


def _two(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.2f}".replace("-", "−")


def _probability(p: float | None) -> str:
    if p is None or math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _expert(e: Explanation) -> dict[str, Any]:
    parts = []
    for emotion in compared_emotions(e):
        of_emotion = [a for a in e.agreements if a.emotion == emotion]
        role = {e.prediction.top: "predicted", e.prediction.runner_up: "runner-up"}.get(emotion, "not predicted")
        counts = Counter(a.status for a in of_emotion)
        notes = _Notes()
        parts.append(
            {
                "heading": f"{_cut(emotion, _LONGEST_LABEL)} ({role}, {percent(e.prediction.probability(emotion))})",
                "counts": ", ".join(f"{status}: {n}" for status, n in counts.most_common()),
                "rows": [_agreement(a, notes) for a in of_emotion],
                "notes": notes.lines(),
            }
        )
    return {
        "agreement_head": ["cue", "where", "value", "percentile", "observed", "expected", "verdict", "source (notes)"],
        "agreements": parts,
        "agreement_words": "Experts speak of a whole delivery against a neutral voice, so the cues are set beside "
        "neutral speech of a reference group, never beside the rest of the clip. No cue is needed or enough for an "
        "emotion; contested cues count neither way. "
        + (
            NO_EXPECTATION
            if e.prediction.values is not None
            else reference_words(e.agreements, e.tracks.settings.sex)
            if parts
            else "No cue was compared."
        ),
    }


def _agreement(a: Agreement, notes: _Notes) -> list[str]:
    return [
        _title(a.cue, short=True),
        _words(a.scope),
        number(a.value, a.unit) if a.value is not None else "–",
        "–" if a.percentile is None else f"{a.percentile:.0f}",
        a.observed or "–",
        _words(a.expected or "–"),
        f"{_MARKS.get(a.status, '')} {a.status}".strip() + notes.mark(a.note),
        # Sources are long: in the notes they have the width of the page.
        notes.mark(
            a.source and f"Source: {a.source}.",
            a.evidence and f"The expectation is {a.evidence}.",
            a.conflict and f"Conflict: {a.conflict}",
            a.reference and f"Reference: {a.reference}",
        ).strip()
        or "–",
    ]


def _pairs(settings: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, value in settings.items():
        stem, _, unit = str(name).rpartition("_")
        known = _UNITS.get(unit) if stem and isinstance(value, int | float) else None
        shown = "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        rows.append([_words(stem), f"{shown} {known}"] if known else [_words(str(name)), shown])
    return rows or [["none", "the method has no further settings"]]


def _method(e: Explanation, when: datetime) -> dict[str, Any]:
    a = e.attribution
    completeness = (
        "not defined for this method"
        if a.completeness_error is None
        else f"{percent(a.completeness_error)} of the difference that was to be explained"
    )
    return {
        "method": [
            ["model", a.model],
            ["attribution method", method_label(a.method)],
            ["dimension explained" if a.target.direction else "class explained", a.target.name],
            ["axes", _words(a.axes)],
            ["sign", "signed" if a.signed else "unsigned"],
            ["salient regions", _REGION_RULES.get(e.region_rule, e.region_rule)],
            ["baseline", a.baseline or "none"],
            ["steps", "none" if a.steps is None else str(a.steps)],
            ["completeness error", completeness],
            ["model’s own weights", e.pooling.what if e.pooling else "none"],
            ["computing time", ", ".join(f"{_words(k)} {v:.2f} s" for k, v in e.seconds.items()) or "not measured"],
            ["audio SHA-256", e.recording.sha256],
            ["report made", when.isoformat(" ", "seconds")],
        ],
        "attribution_settings": _pairs(a.settings),
        "cue_settings": [
            *_pairs(dataclasses.asdict(e.tracks.settings)),
            ["sex guessed from the clip", e.tracks.sex_guess or "none"],
            ["sex in force", e.tracks.sex],
        ],
        "versions": _pairs(e.versions),
    }


def _card(e: Explanation) -> dict[str, Any]:
    c, notes = e.card, _Notes()
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
