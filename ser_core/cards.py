"""Model cards on disk: ``card.json`` beside ``weights.safetensors``."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from ser_core.errors import ModelError, short
from ser_core.files import checksum, write_text
from ser_core.models import Card, Figure
from ser_core.settings import ASSETS
from ser_core.sphere import DIMENSIONS

ANSWERS = ("emotion", "distribution", "dimensions")
MOST_BYTES, MOST_EMOTIONS, LONGEST_LABEL = 1_000_000, 100, 100

CLASS_MEANS = "class_means.safetensors"
"""What a model is adapted to a speaker with."""


def read_card(folder: Path) -> Card:
    """Return the card of a model folder; its size is that of the whole model, an encoder kept elsewhere included.

    Raises:
        ModelError: there is no card, or it lacks a field.
    """
    raw = _raw(folder)
    required = {field.name for field in dataclasses.fields(Card)} - {"extra", "answer"}
    missing = sorted(required - raw.keys() - {"name", "size_mb"})
    if missing:
        raise ModelError(f"The card of model {folder.name} lacks {', '.join(missing)}; add it to card.json.")
    lists = ("emotions", "corpora", "licences", "limits")
    plain = sorted(required - {"name", "figures", "size_mb"} - set(lists))
    extra, answer = raw.get("extra", {}), raw.get("answer", "emotion")
    fits = {
        **{key: isinstance(raw[key], str) for key in plain},
        **{key: isinstance(raw[key], list) and all(isinstance(each, str) for each in raw[key]) for key in lists},
        "encoder": isinstance(raw["encoder"], str) and ".." not in raw["encoder"],
        "figures": isinstance(raw["figures"], list) and all(map(_is_figure, raw["figures"])),
        "extra": isinstance(extra, dict)
        and isinstance(extra.get("encoder_mb", 0.0), int | float)
        and isinstance(extra.get("measured_as", ""), str),
    }
    wrong = sorted(key for key, right in fits.items() if not right)
    if wrong:
        raise ModelError(
            f"The card of model {folder.name} is malformed ({', '.join(wrong)} of another kind than in the cards that "
            "come with SERscope); mend card.json."
        )
    emotions = raw["emotions"]
    if not 2 <= len(emotions) <= MOST_EMOTIONS or len(set(emotions)) < len(emotions):
        raise ModelError(
            f"The card of model {folder.name} must name 2 to {MOST_EMOTIONS} outputs in 'emotions', each once; mend "
            "card.json."
        )
    if not all(1 <= len(emotion) <= LONGEST_LABEL and emotion.isprintable() for emotion in emotions):
        raise ModelError(
            f"The card of model {folder.name} names an output that is empty, not printable or longer than "
            f"{LONGEST_LABEL} letters; mend card.json."
        )
    size_mb = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6 + extra.get("encoder_mb", 0.0)
    figures = tuple(_figure(figure) for figure in raw["figures"])
    tuples: dict[str, Any] = {key: tuple(raw[key]) for key in lists}
    kept = {key: raw[key] for key in plain}
    if answer not in ANSWERS:
        raise ModelError(
            f"The card of model {folder.name} has the answer '{short(answer)}'; it is one of {', '.join(ANSWERS)}."
        )
    if answer == "dimensions" and tuple(emotions) != DIMENSIONS:
        raise ModelError(
            f"The card of model {folder.name} answers with dimensions, but its outputs are {', '.join(emotions)}; they "
            f"must be {', '.join(DIMENSIONS)}."
        )
    return Card(name=folder.name, figures=figures, size_mb=size_mb, extra=extra, answer=answer, **tuples, **kept)


def write_card(folder: Path, card: Card) -> None:
    """Write a card with the checksums of the weights beside it; name and size are those of the folder, so left out."""
    fields = dataclasses.asdict(card)
    del fields["name"], fields["size_mb"]
    fields["figures"] = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in figure.items()}
        for figure in fields["figures"]
    ]
    fields["sha256"] = {path.name: checksum(path) for path in sorted(folder.glob("*.safetensors"))}
    write_text(folder / "card.json", json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that its answer to one clip follows from: all weights but the class means.

    Of a model that is not bundled what names and scales its answers is among them, as a reader may correct it.
    """
    weights = [path for path in folder.glob("*.safetensors") if path.name != CLASS_MEANS]
    if folder.resolve().parent != (ASSETS / "models").resolve():
        weights += [folder / name for name in ("card.json", "config.json", "preprocessor_config.json")]
    return sorted(path for path in weights if path.is_file())


def check_weights(folder: Path) -> None:
    """Hold the weights of a folder against the checksums on its card; a card without any is taken as it is.

    Raises:
        ModelError: a file is missing or another one.
    """
    sums = _raw(folder).get("sha256", {})
    if not isinstance(sums, dict):
        raise ModelError(f"The card of model {folder.name} is malformed (sha256); mend card.json.")
    for name, wanted in sums.items():
        path = folder / Path(name).name
        if not path.is_file() or checksum(path) != wanted:
            raise ModelError(
                f"Model {folder.name} is not whole: {path.name} is missing or not the file that its card was written "
                "for. Copy the folder again, or train the model again."
            )


def _raw(folder: Path) -> dict[str, Any]:
    path = folder / "card.json"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(
                f"The card of model {folder.name} has over {MOST_BYTES // 1000} kB; no card needs as much."
            )
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder.name} is not a model folder: it has no card.json.") from None
    except (ValueError, RecursionError, OSError) as fault:
        raise ModelError(f"The card of model {folder.name} cannot be read ({fault}); mend card.json.") from None
    if not isinstance(raw, dict):
        raise ModelError(f"The card of model {folder.name} must be a JSON object.")
    return raw


def _is_figure(raw: Any) -> bool:
    texts = ("measure", "split", "command")
    numbers = ("value", "low", "high", "baseline", "chance")
    return (
        isinstance(raw, dict)
        and raw.keys() == {*texts, *numbers}
        and all(isinstance(raw[key], str) for key in texts)
        and all(raw[key] is None or isinstance(raw[key], int | float) for key in numbers)
    )


def _figure(raw: dict[str, Any]) -> Figure:
    values: dict[str, Any] = {key: math.nan if value is None else value for key, value in raw.items()}
    return Figure(**values)
