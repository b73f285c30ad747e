"""The model's answer and the recording's quality, as HTML that a screen reader can read."""

import math
from html import escape

import streamlit as st

from explain.attribution import Attribution
from pages.parts.words import certainty, number, percent
from ser_core.audio import Quality
from ser_core.models import PoolingWeights, Prediction


def show_answer(prediction: Prediction, title: str) -> None:
    """Draw the probabilities beside what to make of them."""
    left, right = st.columns([3, 2], gap="medium")
    left.html(probabilities(prediction))
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
    parts = [f"{label} for the calibrated logit of {attribution.target.name}"]
    if attribution.baseline:
        parts.append(f"against a baseline of {attribution.baseline}")
    if attribution.completeness_error is not None:
        steps = f" with {attribution.steps} steps" if attribution.steps else ""
        parts.append(f"completeness error {100 * attribution.completeness_error:.1f} %{steps}")
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


def reading(prediction: Prediction, title: str) -> str:
    """Return the answer, its runner-up, its entropy and its familiarity in sentences."""
    top, second = prediction.top, prediction.runner_up
    most = math.log2(len(prediction.emotions))
    familiar = (
        prediction.familiarity.sentence
        if prediction.familiarity
        else ("How far this clip is from the training data is not known for this model.")
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
            f'<tr><th scope="row">{escape(names[k])}</th><td class="bar"><div class="track" aria-hidden="true">'
            f'<div class="fill {side}" style="left:{start:.1f}%;width:{width:.1f}%"></div><div class="zero"></div>'
            f"</div></td><td>{number(values[k])}</td></tr>"
        )
    caption = (
        f"The {len(rows)} features that speak most for (+, to the right) or against (−, to the left) "
        f"{escape(attribution.target.name)}, in units of the logit"
    )
    return (
        f'<div class="ss"><p class="soft" aria-hidden="true">{caption}.</p>'
        f'<table class="bars features"><caption>{caption}</caption><tbody>{"".join(rows)}</tbody></table></div>'
    )
