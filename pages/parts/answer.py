"""The model's answer and the recording's quality, as HTML that a screen reader can read."""

import math
from html import escape

import numpy as np
import streamlit as st

from explain.attribution import Attribution, box_uncertainty
from pages.parts.words import agreement_of_listeners, certainty, number
from ser_core.functional_names import in_words
from ser_core.models import PoolingWeights, Prediction
from ser_core.numbers import percent, signed
from ser_core.quality import Quality
from ser_core.sphere import POLES, octant_name


def show_answer(prediction: Prediction, title: str, heard: np.ndarray | None = None) -> None:
    """Draw the answer beside what to make of it.

    Args:
        prediction: of any kind.
        title: the model's.
        heard: what listeners answered (shares) or raters rated (values) for this clip, where it is known.
    """
    left, right = st.columns([3, 2], gap="medium")
    kinds = {"distribution": listeners, "dimensions": scales}
    draw = kinds.get(prediction.answer)
    left.html(draw(prediction, heard) if draw else probabilities(prediction))
    right.html(reading(prediction, title))


def show_quality(measured: Quality) -> None:
    """Draw what the recording is like and what to mind."""
    st.subheader("The recording")
    st.html(quality(measured))


def show_features(attribution: Attribution) -> None:
    """Draw the named features that speak most for and against the target."""
    st.html(features(attribution))


def method_line(attribution: Attribution, label: str) -> str:
    """Return how the attribution was made, in a sentence, with the error that it admits."""
    name = attribution.target.name
    what = f"{name}, on a scale from −1 to 1" if attribution.target.direction else f"the calibrated logit of {name}"
    parts = [f"{label} for {what}"]
    if attribution.baseline:
        parts.append(f"against a baseline of {attribution.baseline}")
    if attribution.completeness_error is not None:
        steps = f" with {attribution.steps} steps" if attribution.steps else ""
        parts.append(f"completeness error {100 * attribution.completeness_error:.1f} %{steps}")
    if known := box_uncertainty(attribution):
        parts.append(f"the value of a box known to {known}")
    return f"{', '.join(parts)}."


def pooling_line(pooling: PoolingWeights) -> str:
    """Return what the line under the spectrogram is, and what it is not."""
    high_s = float(pooling.times_s[pooling.weights.argmax()])
    return (
        f"The line under the spectrogram: {pooling.what}; highest at {high_s:.2f} s. It says where the model looks "
        "when it sums up the clip, not what speaks for the class."
    )


def probabilities(prediction: Prediction) -> str:
    """Return a table of all classes with bars, the most probable first."""
    rows = []
    for place, emotion in enumerate(prediction.order):
        share = prediction.probability(emotion)
        rows.append(
            f'<tr class="{"top" if place == 0 else ""}"><th scope="row">{escape(emotion)}</th>'
            f'<td class="bar"><div class="track" aria-hidden="true"><div class="fill" style="width:{100 * share:.1f}%">'
            f"</div></div></td><td>{percent(share)}</td></tr>"
        )
    return (
        '<div class="ss"><table class="bars"><caption>Probability of each class</caption>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def listeners(prediction: Prediction, heard: np.ndarray | None = None) -> str:
    """Return a table of how listeners would split, beside the average of all listeners and this clip's own."""
    usual = dict(zip(prediction.emotions, prediction.constant, strict=False))
    own = {} if heard is None else dict(zip(prediction.emotions, heard.tolist(), strict=True))
    rows = []
    for place, emotion in enumerate(prediction.order):
        share = prediction.probability(emotion)
        marks = "".join(
            f'<div class="mark {kind}" style="left:{100 * known[emotion]:.1f}%"></div>'
            for kind, known in (("usual", usual), ("heard", own))
            if emotion in known
        )
        cells = "".join(f"<td>{percent(known[emotion])}</td>" for known in (usual, own) if emotion in known)
        rows.append(
            f'<tr class="{"top" if place == 0 else ""}"><th scope="row">{escape(emotion)}</th>'
            f'<td class="bar"><div class="track" aria-hidden="true"><div class="fill" style="width:{100 * share:.1f}%">'
            f"</div>{marks}</div></td><td>{percent(share)}</td>{cells}</tr>"
        )
    names = ["", "", "expected", *(["average"] if usual else []), *(["heard"] if own else [])]
    head = "".join(f'<th scope="col">{name}</th>' if name else "<td></td>" for name in names)
    return (
        '<div class="ss"><p class="title" aria-hidden="true">How listeners would split</p>'
        '<table class="bars split"><caption>How listeners would split</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="soft">{_legend(bool(usual), bool(own))}</p></div>'
    )


def _legend(usual: bool, heard: bool) -> str:
    parts = ["Bar: the share of listeners whom the model expects to hear the emotion."]
    if usual:
        parts.append("Thin line, “average”: what always answering the average of all training clips would give.")
    if heard:
        parts.append("Dot, “heard”: how the listeners of this very clip answered.")
    return " ".join(parts)


def scales(prediction: Prediction, heard: np.ndarray | None = None) -> str:
    """Return a table of labelled scales from −1 to 1, beside the average training clip and this clip's own ratings."""
    rows = []
    for place, name in enumerate(prediction.emotions):
        value = prediction.value(name)
        low, high = POLES.get(name, ("low", "high"))
        start, width = 50 + 50 * min(value, 0.0), 50 * abs(value)
        known = [("usual", prediction.constant[place])] if prediction.constant else []
        known += [("heard", float(heard[place]))] if heard is not None else []
        marks = "".join(f'<div class="mark {kind}" style="left:{50 + 50 * at:.1f}%"></div>' for kind, at in known)
        cells = "".join(f"<td>{signed(at)}</td>" for _, at in known)
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th><td class="bar"><div class="track" aria-hidden="true">'
            f'<div class="fill value" style="left:{start:.1f}%;width:{width:.1f}%"></div><div class="zero"></div>'
            f'{marks}</div><div class="poles"><span>{escape(low)}</span><span>{escape(high)}</span></div></td>'
            f"<td><strong>{signed(value)}</strong></td>{cells}</tr>"
        )
    names = ["", "", "answer", *(["average"] if prediction.constant else []), *(["rated"] if heard is not None else [])]
    head = "".join(f'<th scope="col">{name}</th>' if name else "<td></td>" for name in names)
    told = "Bar: the model's value, from −1 (left) to 1 (right)."
    told += " Thin line, “average”: the average training clip." if prediction.constant else ""
    told += " Dot, “rated”: what the corpus gives for this very clip." if heard is not None else ""
    return (
        '<div class="ss"><p class="title" aria-hidden="true">Where the voice lies on three scales</p>'
        '<table class="bars split"><caption>Where the voice lies on three scales</caption>'
        f'<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table><p class="soft">{told}</p></div>'
    )


def reading(prediction: Prediction, title: str) -> str:
    """Return the answer, what it means, and how familiar the clip is, in sentences."""
    familiar = (
        prediction.familiarity.sentence
        if prediction.familiarity
        else ("How far this clip is from the training data is not known for this model.")
    )
    if prediction.answer == "dimensions":
        place = octant_name(prediction.values) if prediction.values is not None else ""
        return (
            f'<div class="ss"><p>{escape(title)}: <strong>{escape(place)}</strong>.</p><p>The octant’s name is one '
            "corner of the three scales (Mehrabian 1996); it does not describe the person. The values have no "
            f"probability, and experts’ expectations by emotion do not apply.</p><p>{escape(familiar)}</p></div>"
        )
    top, second = prediction.top, prediction.runner_up
    most = math.log2(len(prediction.emotions))
    if prediction.answer == "distribution":
        return (
            f'<div class="ss"><p>{escape(title)}: {percent(prediction.probability(top))} of listeners would hear '
            f"<strong>{escape(top)}</strong>, {percent(prediction.probability(second))} {escape(second)}.</p>"
            "<p>This is how listeners would differ, not how sure the model is: a clip that people hear in different "
            f"ways has several bars. Entropy {prediction.entropy_bits:.2f} of at most {most:.2f} bits: "
            f"{agreement_of_listeners(prediction.entropy_bits, len(prediction.emotions))}.</p>"
            f"<p>{escape(familiar)}</p></div>"
        )
    return (
        f'<div class="ss"><p>{escape(title)} answers <strong>{escape(top)}</strong> '
        f"({percent(prediction.probability(top))}), before {escape(second)} "
        f"({percent(prediction.probability(second))}).</p>"
        f"<p>Entropy {prediction.entropy_bits:.2f} of at most {most:.2f} bits: "
        f"{certainty(prediction.entropy_bits, len(prediction.emotions))}.</p><p>{escape(familiar)}</p></div>"
    )


def quality(measured: Quality) -> str:
    """Return the recording's quality and what to mind."""
    facts = {
        "Signal to noise": number(measured.snr_db, "dB"),
        "Peak": number(measured.peak_dbfs, "dBFS"),
        "Bandwidth": f"{number(measured.bandwidth_hz, 'Hz')}{' (telephone)' if measured.narrowband else ''}",
        "Clipped": percent(measured.clipped_share),
        "Speech": percent(measured.speech_share),
        "Voiced speech": percent(measured.voiced_share),
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    notes = "".join(f'<p class="note">{escape(warning)}</p>' for warning in measured.warnings)
    return f'<div class="ss"><dl class="facts" aria-label="Quality of the recording">{items}</dl>{notes}</div>'


def features(attribution: Attribution, most: int = 15) -> str:
    """Return a table of the features that speak most for or against the target, with bars from a zero line."""
    names, values = attribution.feature_names or (), [float(v) for v in attribution.relevance]
    order = sorted(range(len(values)), key=lambda k: -abs(values[k]))[:most]
    largest = max((abs(values[k]) for k in order), default=0.0) or 1.0
    rows = []
    for k in order:
        width = 50 * abs(values[k]) / largest
        side, start = ("for", 50.0) if values[k] >= 0 else ("against", 50 - width)
        rows.append(
            f'<tr><th scope="row">{_named(names[k])}</th><td class="bar"><div class="track" aria-hidden="true">'
            f'<div class="fill {side}" style="left:{start:.1f}%;width:{width:.1f}%"></div><div class="zero"></div>'
            f"</div></td><td>{number(values[k])}</td></tr>"
        )
    caption = (
        f"The {len(rows)} features that speak most for (+, to the right) or against (−, to the left) "
        f"{escape(attribution.target.name)}, in units of the {'value' if attribution.target.direction else 'logit'}"
    )
    return (
        f'<div class="ss"><p class="soft" aria-hidden="true">{caption}.</p>'
        f'<table class="bars features"><caption>{caption}</caption><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _named(feature: str) -> str:
    """Return a feature's name in words, openSMILE's own beside it."""
    words = in_words(feature)
    return escape(words) + (f"<br><small>{escape(feature)}</small>" if words != feature else "")
