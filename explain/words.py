"""Names and figures as they stand inside a sentence."""

from collections.abc import Sequence

from explain.cues import CUES, Contrast, cue
from ser_core.models import Prediction
from ser_core.numbers import percent, signed
from ser_core.sphere import NEAR_ZERO, POLES

_MEASURED = frozenset(c.name for c in CUES)

NO_EXPECTATION = (
    "Experts’ expectations are stated by emotion, so none applies to valence, arousal or dominance; the cues can be "
    "read, but not held against an expectation."
)


def dimensions_in_words(prediction: Prediction) -> str:
    """Return every value with its pole, such as "valence −0.43 (unpleasant), …, on scales from −1 to 1"."""
    said = []
    for name in prediction.emotions:
        value = prediction.value(name)
        pole = POLES[name][int(value > 0)] if name in POLES and abs(value) >= NEAR_ZERO else "in the middle"
        said.append(f"{name} {signed(value)} ({pole})")
    return f"{listed(said)}, on scales from −1 to 1"


def one_way(row: Contrast) -> bool:
    """Return whether means and single values differ in the same direction; else no one word says which."""
    return row.effect is None or row.effect * (row.difference or 0.0) > 0


def cue_name(name: str) -> str:
    """Return a cue's name inside a sentence: "pitch level", "F1", and for one not measured here "voice onset"."""
    title = cue(name).title.split(" (")[0] if name in _MEASURED else name.replace("_", " ")
    return title if title.isupper() or title[1:2].isdigit() else title[0].lower() + title[1:]


def in_percent(value: float) -> str:
    """Return a share (0 … 1) in per cent for a sentence; never a false 0 or 100."""
    return percent(value).replace("<", "under").replace(">", "over")


def listed(parts: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
