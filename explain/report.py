"""The PDF report of one explanation, set by Typst and made in memory only.

It is tagged and claims both PDF/UA-1 (everyone can read it) and PDF/A-3a (it can be kept, and holds its figures as an
attached JSON file). PDF/A-4f would allow the attachment as well, but is PDF 2.0, which PDF/UA-1 does not allow.

The template is ``assets/report/report.typ``. All words and figures reach it as data (JSON and SVG in ``sys.inputs``),
never as markup, so nothing in a file name or a model card can run. A letter that none of the report's fonts has
appears as its code point, such as [U+65E5].
"""

import json
import math
from datetime import UTC, datetime
from functools import cache
from typing import Any

from explain import figures, report_opened
from explain.attribution import method_label
from explain.explanation import Explanation
from explain.export_json import to_json
from explain.opened import NOTHING, Opened
from explain.printing import LONGEST_LABEL, LONGEST_NAME, cut, number, percent, printable
from explain.report_cues import contrasts, cues, expert
from explain.report_method import method_and_settings, model_card
from ser_core.errors import ExplanationError
from ser_core.functional_names import in_words
from ser_core.intended_use import FORBIDDEN, STATEMENT, trained_on
from ser_core.numbers import signed
from ser_core.settings import ASSETS
from ser_core.sphere import POLES, octant_name

ATTACHMENT = "serscope.json"
"""Name of the JSON file inside the PDF, from which :mod:`explain.reopen` shows the figures again."""

_TEMPLATE = ASSETS / "report" / "report.typ"
_ANSWER_HEADS = {
    "emotion": ["class", "probability", "from 0 to 100 %", "role"],
    "distribution": ["emotion", "share of listeners", "from 0 to 100 %", "role"],
    "dimensions": ["dimension", "value", "from −1 to 1", "role"],
}


def pdf(
    explanation: Explanation, when: datetime | None = None, opened: Opened = NOTHING, *, voice: bool = True
) -> bytes:
    """Return the report as a tagged PDF that claims PDF/UA-1 and PDF/A-3a, with its figures attached as JSON.

    Args:
        explanation: what is reported.
        when: the date on the report, with a time zone; now by default.
        opened: what was opened beside it.
        voice: whether waveform and spectrogram are drawn, of which the words and the speaker can be had again.

    Raises:
        ExplanationError: Typst refused the document.
    """
    import typst

    when = (when or datetime.now(UTC).astimezone()).replace(microsecond=0)
    drawings = {"linked": figures.linked(explanation, voice=voice)}
    if explanation.attribution.axes == "features":
        drawings["features"] = figures.features(explanation)
    drawings |= report_opened.drawings(opened)
    data = printable(_contents(explanation, when, voice) | report_opened.contents(explanation, opened))
    try:
        return typst.compile(
            _TEMPLATE.read_bytes(),
            root=_TEMPLATE.parent,
            font_paths=_fonts(),
            format="pdf",
            pdf_standards=["a-3a", "ua-1"],
            sys_inputs={
                "data": json.dumps(data),
                "attachment": ATTACHMENT,
                "figures": to_json(explanation, opened=opened),
                **drawings,
            },
            timestamp=when,
        )
    except typst.TypstError as error:
        raise ExplanationError(
            f"The PDF report could not be set ({error}); export JSON or CSV instead, and report this as a fault."
        ) from error


@cache
def _fonts() -> Any:
    import typst

    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(figures.FONTS_DIR)])


def _contents(explanation: Explanation, when: datetime, voice: bool) -> dict[str, Any]:
    e = explanation
    name = cut(e.recording.name or "(no name)", LONGEST_NAME)
    short = cut(e.recording.name or "(no name)", LONGEST_LABEL)
    target = cut(e.target.name, 2 * LONGEST_LABEL)
    method = method_label(e.attribution.method)
    return {
        "title": f"SERscope report: {target}, {short}",
        "heading": f"What {'speaks' if e.attribution.signed else 'matters'} for {target} in this clip, to this model",
        "header_left": f"SERscope · {short}",
        "header_right": f"explained: {cut(target, LONGEST_LABEL)}",
        "footer": f"{STATEMENT} Audio SHA-256 {e.recording.sha256[:12]}…",
        "disclaimer": f"{STATEMENT} {FORBIDDEN}",
        "trained_on": f"{cut(e.card.title, LONGEST_NAME)}: {trained_on(e.card)}",
        "question": [
            [
                "dimension explained" if e.target.direction else "class explained",
                target
                + ("" if e.target.direction or e.target.emotion == e.prediction.top else " (not the predicted class)"),
            ],
            ["file", name],
            ["model", f"{cut(e.card.title, LONGEST_NAME)} ({cut(e.prediction.model, LONGEST_NAME)})"],
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
        "quality": _quality(e),
        "warnings": list(e.quality.warnings),
        "outside": [f"{each.sentence} {each.cost}".rstrip() for each in e.outside],
        **_where(e, method, voice),
        **cues(e),
        **contrasts(e),
        **expert(e),
        **method_and_settings(e, when),
        **model_card(e),
    }


def _answer(e: Explanation) -> list[list[str]]:
    p = e.prediction
    if p.values is not None:
        return [["place on the scales", octant_name(p.values)]]
    first, second = (f"{name}, {percent(p.probability(name))}" for name in (p.top, p.runner_up))
    most = number(math.log2(len(p.emotions)))
    if p.answer == "distribution":
        return [
            ["heard most often", first],
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
        remarks = ["explained"] if name == e.target.emotion else []
        remarks += [f"average training clip {signed(p.constant[place])}"] if p.constant else []
        rows.append(
            {
                "name": f"{name} ({poles})",
                "start": 0.5 + min(value, 0.0) / 2,
                "share": abs(value) / 2,
                "percent": signed(value),
                "explained": name == e.target.emotion,
                "remark": "; ".join(remarks),
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
                "name": cut(emotion, LONGEST_LABEL),
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
        ["speech, of the clip", percent(q.speech_share, 0)],
        ["voiced, of the speech", percent(q.voiced_share, 0)],
        ["SHA-256 of the audio", e.recording.sha256],
    ]


def _where(e: Explanation, method: str, voice: bool = True) -> dict[str, Any]:
    a = e.attribution
    axes = {
        "time_frequency": "seconds and hertz",
        "time": "seconds only; nothing is said about frequency",
        "features": "named features of the whole clip; nothing is said about time",
    }.get(a.axes, a.axes)
    sign = (
        f"Above zero, relevance speaks for {e.target.name}; below zero (hatched), against it. "
        if a.signed
        else "The method has no sign: relevance says that a place matters, not in which direction. "
    )
    on_map = "The map shows only what speaks for it. " if a.axes == "time_frequency" and a.signed else ""
    shown = (
        f"Relevance for {e.target.name} by {method}, on {axes}. {sign}{on_map}"
        "Numbered boxes and bands are the salient regions"
        if a.axes != "features"
        else "The clip; relevance over named features has no place in it"
    )
    drawn = [
        {
            "key": "linked",
            "alt": figures.describe(e, voice=voice),
            "caption": shown
            + (
                "; the black bar under the waveform marks speech. The spectrogram’s level is uncalibrated. Words and "
                "voice can be had again from this picture: keep the report as safe as the recording."
                if voice
                else ". Waveform and spectrogram are left out, as words and voice could be had again from them."
            )
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
                    f"{in_words((a.feature_names or ())[i])} {number(float(a.relevance[i]))}"
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
