"""How a report prints what it is given: text from outside, numbers, names of cues and places, notes and settings."""

import math
import re
import unicodedata
from functools import cache
from typing import Any

from explain import figures
from explain.cues import CUES
from explain.expert import OURS
from ser_core.numbers import percent as share_in_percent
from ser_core.numbers import unsigned

LONGEST_NAME = 200
LONGEST_LABEL = 60
_LONGEST_TEXT = 4000
_SMALLEST = 0.001
_TITLES = {c.name: c.title for c in CUES}
_UNITS = {"s": "s", "hz": "Hz", "db": "dB", "ms": "ms"}
_JOINERS = "\u200c\u200d"


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
    for letter in cut(" ".join(value.split()), _LONGEST_TEXT):
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
        text = unsigned(value, 0 if size >= 100 else 2 - math.floor(math.log10(size)))
    return f"{text} {unit}".strip()


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share 0 … 1 as a percentage, never a false 0 or 100; "not measurable" for None or NaN."""
    return "not measurable" if share is None or math.isnan(share) else share_in_percent(share, digits)


@cache
def _coverage() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    names = ("IBMPlexSans-Regular.ttf", "DejaVuSans.ttf")
    return frozenset().union(*(FT2Font(str(figures.FONTS_DIR / name)).get_charmap() for name in names))


def cut(text: str, longest: int) -> str:
    """Return text of at most ``longest`` letters; a longer one is cut and says how long it was."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} letters)"


def plain_name(name: str) -> str:
    """Return a name from code in words, such as "hop length" for "hop_length"."""
    words = name.replace("_", " ")
    return re.sub(r"\b(f[0-5]|hnr|cpps|lrp|hf)\b", lambda m: m[0].upper(), words)


def cue_title(cue: str, *, short: bool = False) -> str:
    """Return a cue's name for readers, ``short`` without what stands in brackets."""
    title = _TITLES.get(OURS.get(cue, cue)) or plain_name(cue)
    return title.split(" (")[0] if short else title


def place_name(scope: str) -> str:
    """Return where a cue was measured, in words."""
    return f"region {scope}" if scope.isdigit() else plain_name(scope)


class Notes:
    """Numbers each distinct note once, in the order in which they come up."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}

    def mark(self, *texts: str) -> str:
        """Return the numbers of these notes in square brackets, such as " [1,3]"; empty texts have none."""
        marks = sorted(self.items.setdefault(text, len(self.items) + 1) for text in texts if text)
        return f" [{','.join(map(str, marks))}]" if marks else ""

    def lines(self) -> list[str]:
        """Return every note behind its number."""
        return [f"[{k}] {text}" for text, k in self.items.items()]


def p_value(p: float | None) -> str:
    """Return a probability of chance with three decimals; a dash where there is none."""
    if p is None or math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def pairs(settings: dict[str, Any]) -> list[list[str]]:
    """Return settings as rows of name and value; a unit at the end of a name goes behind its value."""
    rows = []
    for name, value in settings.items():
        stem, _, unit = str(name).rpartition("_")
        known = _UNITS.get(unit) if stem and isinstance(value, int | float) else None
        shown = "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        rows.append([plain_name(stem), f"{shown} {known}"] if known else [plain_name(str(name)), shown])
    return rows or [["none", "the method has no further settings"]]
