"""One vocabulary of emotion words for every corpus, and what the corpora call them."""

from collections.abc import Iterable, Sequence

from ser_core.errors import CorpusError

_ALSO_CALLED = {
    "anger": ("angry", "ang", "ärger", "wut", "hot anger", "غصہ"),
    "boredom": ("bored", "boredum", "langeweile", "بوریت"),
    "calm": ("calmness",),
    "contempt": ("contemptuous",),
    "disgust": ("disgusted", "dis", "ekel", "ناگواری"),
    "excitement": ("excited", "exc"),
    "fear": ("fearful", "fea", "afraid", "anxiety", "angst", "خوف"),
    "frustration": ("frustrated", "fru"),
    "happiness": ("happy", "hap", "joy", "joyful", "freude", "خوشی"),
    "neutral": ("neutrality", "neutral state", "neu", "معمولی"),
    "other": ("oth",),
    "sadness": ("sad", "trauer", "افسردہ"),
    "surprise": ("surprised", "sur", "ps", "pleasant surprise", "pleasant surprised", "pleasant_surprise"),
}

# Plutchik's wheel as EM2LDL labels it; its joy, fear, surprise, sadness, disgust and anger are the words above.
_PLUTCHIK = (
    *("ecstasy", "serenity", "love", "admiration", "trust", "acceptance", "submission", "terror", "apprehension"),
    *("awe", "amazement", "distraction", "disapproval", "grief", "pensiveness", "remorse", "loathing", "rage"),
    *("annoyance", "aggressiveness", "vigilance", "anticipation", "interest", "optimism"),
)

EMOTIONS: tuple[str, ...] = (*_ALSO_CALLED, *_PLUTCHIK)
"""Every emotion word that a corpus table may hold."""

MISSPELT = {"ecstacy": "ecstasy", "aggresiveness": "aggressiveness"}
"""Owners' spellings of words that are on the wheel."""

_UNLABELLED = ("", "xxx", "x", "no agreement", "unknown", "nan", "none")

_WORD: dict[str, str | None] = {
    **{word: word for word in EMOTIONS},
    **{alias: word for word, aliases in _ALSO_CALLED.items() for alias in aliases},
    **MISSPELT,
    **dict.fromkeys(_UNLABELLED),
}


def emotion_words(labels: Iterable[object], corpus: str) -> list[str | None]:
    """Return each label in the common vocabulary; None where the owners agreed on no label.

    Raises:
        CorpusError: labels that the vocabulary does not know; all of them are named.
    """
    cleaned = [label if isinstance(label, str) else "" for label in labels]
    keys = [_key(label) for label in cleaned]
    strange = sorted({label for label, key in zip(cleaned, keys, strict=True) if key not in _WORD})
    if strange:
        raise CorpusError(
            f"{corpus} has labels that the vocabulary does not know: {', '.join(map(repr, strange))}. "
            f"Rename them to one of {', '.join(_ALSO_CALLED)}, or leave those rows out."
        )
    return [_WORD[key] for key in keys]


def output_words(labels: Sequence[str]) -> tuple[str, ...]:
    """Return a model's output names in the common vocabulary; those without a word, or sharing one, as given."""
    words = [_WORD.get(_key(label)) or label for label in labels]
    return tuple(word if words.count(word) == 1 else label for word, label in zip(words, labels, strict=True))


def _key(label: str) -> str:
    return " ".join(label.lower().replace("-", " ").split())
