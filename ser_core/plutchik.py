"""Plutchik's wheel: eight emotions in three degrees, and the eight mixtures of neighbours.

Source: Plutchik 1980, "A general psychoevolutionary theory of emotion"; the 32 labels of EM2LDL are these.
"""

from dataclasses import dataclass

PETALS = (
    ("ecstasy", "joy", "serenity"),
    ("admiration", "trust", "acceptance"),
    ("terror", "fear", "apprehension"),
    ("amazement", "surprise", "distraction"),
    ("grief", "sadness", "pensiveness"),
    ("loathing", "disgust", "boredom"),
    ("rage", "anger", "annoyance"),
    ("vigilance", "anticipation", "interest"),
)
"""Petals clockwise from joy, each from the strongest (inside) to the mildest (outside)."""

MIXTURES = ("love", "submission", "awe", "disapproval", "remorse", "contempt", "aggressiveness", "optimism")
"""What lies between each petal and the next."""

_ALSO = {"happiness": "joy", "ecstacy": "ecstasy", "aggresiveness": "aggressiveness"}


@dataclass(frozen=True)
class Place:
    """A place on the wheel: centre angle in degrees clockwise from joy, and ring 0 (inside) to 3 (between petals).

    Neutral lies in the middle and has ring −1.
    """

    angle: float
    ring: int


def place(label: str) -> Place | None:
    """Return where an emotion word lies; None for a word that is not on the wheel."""
    word = _ALSO.get(label, label)
    if word == "neutral":
        return Place(0.0, -1)
    if word in MIXTURES:
        return Place(45.0 * MIXTURES.index(word) + 22.5, 3)
    for petal, words in enumerate(PETALS):
        if word in words:
            return Place(45.0 * petal, words.index(word))
    return None
