"""What an answer may be used for, in one place: the words on every page and in every file that holds an answer."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ser_core.models import Card

STATEMENT = "This is a research tool, not a diagnosis and not a medical device."
FORBIDDEN = "It must not be used to diagnose, to triage, to hire or to judge a person."
COLUMN, IN_A_CELL = "intended_use", "research tool, not a diagnosis and not a medical device"
"""A column of every table that is taken away, as a comment line would break most readers of CSV."""


def trained_on(card: "Card") -> str:
    """Return in a sentence or two what a model was trained on, by its card."""
    said = next((limit for limit in card.limits if limit.startswith("Trained on")), "")
    if said:
        return said
    corpora = "; ".join(card.corpora)
    return f"Trained on {corpora}." if corpora else "What it was trained on is not stated: treat its answers with care."


def in_a_cell(model: "Card | str") -> str:
    """Return for a cell of a table what an answer is not, and what the model was trained on.

    Args:
        model: its card, or its name; of a model that is not at hand only the first is said.
    """
    if isinstance(model, str):
        from ser_core.registry import cards

        known = next((card for card in cards() if card.name == model), None)
        return IN_A_CELL if known is None else in_a_cell(known)
    return f"{IN_A_CELL}; {model.title}: {trained_on(model)}"


def intended_use(*cards: "Card") -> str:
    """Return what models' answers may be used for, and what they rest on; those trained alike are named together."""
    titles: dict[str, dict[str, None]] = {}
    for card in cards:
        titles.setdefault(trained_on(card), {})[card.title] = None
    return " ".join([STATEMENT, FORBIDDEN, *(f"{'; '.join(named)}: {said}" for said, named in titles.items())])
