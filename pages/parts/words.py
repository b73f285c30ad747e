"""Figures and names as the pages write them, escaped for HTML."""

import math
from collections.abc import Iterable
from html import escape

from ser_core.numbers import unsigned

AGREEMENT_MARKS = {
    "agrees": "✓",
    "disagrees": "✗",
    "contested": "~",
    "no expectation": "–",
    "not measurable": "·",
}

LANGUAGES = {"da": "Danish", "de": "German", "en": "English", "ur": "Urdu"}
MEASURES = {
    "UAR": "unweighted average recall: the mean over the emotions of the share found",
    "WA": "accuracy: the share of clips answered rightly",
    "macro-F1": "mean over the emotions of F1, which falls with misses and with false alarms",
    "recall": "share of the clips of an emotion that are found (true positive rate)",
    "ECE": "expected calibration error: how far the stated probability lies from the share that is right",
    "KL gained": "how much lower the KL is than that of the constant answer; above 0 is better than a constant",
    "cosine gained": "how much higher the cosine is than that of the constant answer; above 0 is better than that",
    "spread of": "how far the distributions of different clips lie from their mean; 0 would be a constant",
    "KL": "Kullback–Leibler divergence from the listeners' shares; lower is better",
    "cosine": "cosine of the angle to the listeners' shares; higher is better",
    "Chebyshev": "the largest difference between two shares; lower is better",
    "Clark": "root of the summed squares of the shares' relative differences; lower is better",
    "Canberra": "sum of the shares' relative differences; lower is better",
    "intersection": "how much of the two distributions overlaps; 1 is best",
    "mean CCC": "mean over valence, arousal and dominance of the concordance with the raters' values; 1 is best",
    "CCC": "concordance correlation with the raters' values; 1 is best",
    "correlation": "Pearson's correlation with the raters' values, which a shift or a spread leaves alone; 1 is best",
    "false alarms": "share of the other clips that are taken for the emotion (false positive rate)",
    "answered": "share of all clips that are answered with the emotion; equal shares are demographic parity",
    "accuracy": "share of the clips answered rightly",
    "bias": "mean of predicted minus rated",
    "TPR gap": "how far the groups' recalls lie apart; root mean square over the emotions",
    "FPR gap": "how far the groups' false alarms lie apart; root mean square over the emotions",
    "DP gap": "how far the groups' shares of answers lie apart; root mean square over the emotions",
    "equalised odds gap": "the largest of all gaps in recall or false alarms",
    "cues as expected, beyond chance": "share of cues as expected, minus the same of regions shifted along the speech",
    "cues as expected": "share of the cues in salient regions that move as experts expect, of those that can tell",
    "maps that hold": "share of maps that pass deletion, insertion and randomised weights",
    "salient part": "share of the clip’s time that the salient regions take",
    "salience of": "Cliff’s delta of the cue inside the salient regions against the rest of the speech, −1 to 1",
}
"""What measures are, by how their names begin; the first that fits."""


def drawn(clips: int, most: int) -> str:
    """Return what to add where a chart draws no more than ``most`` clips as points; nothing where it draws all."""
    return f" ({most:,} of the {clips:,}, picked at random, are drawn)" if clips > most else ""


def hint_of(measure: str) -> str:
    """Return what a measure is, in words; nothing where that is not known."""
    return next((words for start, words in MEASURES.items() if measure.startswith(start)), "")


def measure(name: str) -> str:
    """Return a measure's name as HTML, with what it is on hover where that is known."""
    hint = hint_of(name)
    return f'<abbr title="{escape(hint)}">{escape(name)}</abbr>' if hint else escape(name)


def meanings(names: Iterable[str]) -> str:
    """Return what measures are as HTML that opens by a click or touch, each once; "" where nothing is known."""
    told: dict[str, str] = {}
    for name in names:
        start = next((start for start in MEASURES if name.startswith(start)), None)
        if start is not None:
            told[start] = MEASURES[start]
    rows = "".join(f"<dt>{escape(start)}</dt><dd>{escape(hint)}</dd>" for start, hint in told.items())
    summary = "<summary>What the measures mean</summary>"
    return f'<details>{summary}<dl class="words">{rows}</dl></details>' if rows else ""


def language(code: str) -> str:
    """Return the English name of a corpus's language (ISO 639-1), or its code."""
    return LANGUAGES.get(code, code)


def number(value: float | None, unit: str = "") -> str:
    """Return a value with three significant figures and its unit; "–" where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    decimals = 0 if value == 0 else max(0, min(3, 2 - math.floor(math.log10(abs(value)))))
    return f"{unsigned(value, decimals, thousands=True)} {unit}".rstrip()


def band(low_hz: float | None, high_hz: float | None) -> str:
    """Return a frequency band in words, or "" where there is none."""
    if low_hz is None or high_hz is None:
        return ""
    if high_hz < 1000:
        return f"{low_hz:.0f}–{high_hz:.0f} Hz"
    return f"{low_hz / 1000:.1f}–{high_hz / 1000:.1f} kHz"


def certainty(entropy_bits: float, classes: int) -> str:
    """Return how spread the probabilities are, in words; from the share of the largest possible entropy."""
    share = entropy_bits / math.log2(classes) if classes > 1 else 0.0
    if share < 0.25:
        return "the model commits itself to one class"
    if share < 0.6:
        return "the model leans to one class and keeps others open"
    if share < 0.85:
        return "the model is undecided between several classes"
    return "the model can hardly tell the classes apart"


def agreement_of_listeners(entropy_bits: float, labels: int) -> str:
    """Return how far listeners would agree, in words; from the share of the largest possible entropy."""
    share = entropy_bits / math.log2(labels) if labels > 1 else 0.0
    if share < 0.25:
        return "nearly all would hear the same"
    if share < 0.6:
        return "most would hear the same"
    if share < 0.85:
        return "they would be of several opinions"
    return "they would hardly agree at all"


def p_value(p: float | None) -> str:
    """Return a p value as papers write it."""
    if p is None or not math.isfinite(p):
        return "–"
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def plain(text: str) -> str:
    """Return text from outside for Markdown, with its signs made harmless."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-.!|~$<>:^&" else c for c in text)


def hint(text: str, shown: str) -> str:
    """Return HTML that shows one text and explains it on hover; both are escaped."""
    return f'<abbr title="{escape(text)}">{escape(shown)}</abbr>' if text else escape(shown)
