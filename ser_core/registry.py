"""Finds and loads models: a folder with a card, a ``transformers`` folder, or a hub name.

A card names its system; the module of that name in ``ser_core.systems`` loads the folder. Adding a folder adds a model.
"""

import functools
import importlib
import pkgutil
from pathlib import Path

import ser_core.systems
from ser_core.cards import read_card
from ser_core.errors import ModelError
from ser_core.models import Card, SpeechModel
from ser_core.settings import ASSETS, settings


def model_folders() -> dict[str, Path]:
    """Return the folder of every complete model at hand by its name; the user's come after the bundled ones."""
    folders: dict[str, Path] = {}
    for parent in (ASSETS / "models", *settings().model_dirs):
        for card in sorted(parent.glob("*/card.json")) + sorted(parent.glob("*/config.json")):
            if any(card.parent.glob("*.safetensors")):
                folders.setdefault(card.parent.name, card.parent)
    return folders


def names() -> tuple[str, ...]:
    """Return the names of every model at hand, in the order in which they should be offered."""
    folders = model_folders()
    return tuple(sorted(folders, key=lambda name: _place(folders[name])))


def cards() -> tuple[Card, ...]:
    """Return the cards of all models at hand that have a readable one."""
    found = []
    for folder in (model_folders()[name] for name in names()):
        if (folder / "card.json").exists():
            found.append(read_card(folder))
    return tuple(found)


def load(name: str | Path) -> SpeechModel:
    """Return a model by name, folder or (where allowed) hub name; each is loaded once per process.

    Raises:
        ModelError: there is no such model, or its folder cannot be used.
    """
    folder = model_folders().get(str(name)) or Path(name)
    if (folder / "card.json").is_file():
        return _load_folder(folder.resolve())
    if (folder / "config.json").is_file():
        return _load_transformers(str(folder.resolve()))
    if "/" in str(name) and not folder.exists() and settings().hub_allowed:
        return _load_transformers(str(name))
    hint = " Downloads from the hub are off; set SERSCOPE_HUB=1 to allow them." if "/" in str(name) else ""
    raise ModelError(f"There is no model '{name}'. At hand are: {', '.join(names()) or 'none'}.{hint}")


@functools.lru_cache(maxsize=16)
def _load_folder(folder: Path) -> SpeechModel:
    card = read_card(folder)
    systems = {module.name for module in pkgutil.iter_modules(ser_core.systems.__path__)}
    if card.system not in systems:
        raise ModelError(
            f"Model {card.name} belongs to the system '{card.system}', which is not here. Systems at hand: "
            f"{', '.join(sorted(systems))}."
        )
    system = importlib.import_module(f"ser_core.systems.{card.system}")
    try:
        model: SpeechModel = system.load(folder, card)
    except (KeyError, ValueError, RuntimeError, OSError) as fault:
        raise ModelError(
            f"Model {card.name} cannot be loaded: its weights do not fit its card ({str(fault).splitlines()[0]})."
        ) from fault
    model.network.eval().requires_grad_(False)
    return model


@functools.lru_cache(maxsize=4)
def _load_transformers(name: str) -> SpeechModel:
    from ser_core.systems.transformers_folder import load_pretrained

    model = load_pretrained(name)
    model.network.eval().requires_grad_(False)
    return model


def _place(folder: Path) -> tuple[int, str]:
    if not (folder / "card.json").exists():
        return 99, folder.name
    place = read_card(folder).extra.get("place", 50)
    return (place if isinstance(place, int) else 50), folder.name
