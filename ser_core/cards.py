"""Model cards on disk: ``card.json`` beside ``weights.safetensors``."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from ser_core.errors import ModelError
from ser_core.files import write_text
from ser_core.models import Card, Figure

ANSWERS = ("emotion", "distribution", "dimensions")


def read_card(folder: Path) -> Card:
    """Return the card of a model folder; its size is that of the whole model, an encoder kept elsewhere included.

    Raises:
        ModelError: there is no card, or it lacks a field.
    """
    path = folder / "card.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder.name} is not a model folder: it has no card.json.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as fault:
        raise ModelError(f"The card of model {folder.name} cannot be read ({fault}); mend card.json.") from None
    if not isinstance(raw, dict):
        raise ModelError(f"The card of model {folder.name} must be a JSON object.")
    required = {field.name for field in dataclasses.fields(Card)} - {"extra", "answer"}
    missing = sorted(required - raw.keys() - {"name", "size_mb"})
    if missing:
        raise ModelError(f"The card of model {folder.name} lacks {', '.join(missing)}; add it to card.json.")
    try:
        figures = tuple(_figure(figure) for figure in raw["figures"])
        tuples: dict[str, Any] = {key: tuple(raw[key]) for key in ("emotions", "corpora", "licences", "limits")}
    except (TypeError, AttributeError) as fault:
        raise ModelError(f"The card of model {folder.name} is malformed ({fault}); mend card.json.") from None
    extra = raw.get("extra", {})
    size_mb = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6 + extra.get("encoder_mb", 0.0)
    kept = {key: raw[key] for key in required - {"name", "figures", "size_mb"} - tuples.keys()}
    answer = raw.get("answer", "emotion")
    if answer not in ANSWERS:
        raise ModelError(
            f"The card of model {folder.name} has the answer '{answer}'; it is one of {', '.join(ANSWERS)}."
        )
    return Card(name=folder.name, figures=figures, size_mb=size_mb, extra=extra, answer=answer, **tuples, **kept)


def write_card(folder: Path, card: Card) -> None:
    """Write a card; name and size are those of the folder, so they are left out."""
    fields = dataclasses.asdict(card)
    del fields["name"], fields["size_mb"]
    fields["figures"] = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in figure.items()}
        for figure in fields["figures"]
    ]
    write_text(folder / "card.json", json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def _figure(raw: dict[str, Any]) -> Figure:
    values: dict[str, Any] = {key: math.nan if value is None else value for key, value in raw.items()}
    return Figure(**values)
