"""Finds and loads models: a folder with a card, a ``transformers`` folder, or a hub name.

A card names its system; the module of that name in ``ser_core.systems`` loads the folder. Adding a folder adds a model.
"""

import importlib
import pkgutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

import ser_core.systems
from ser_core.cards import check_weights, read_card
from ser_core.errors import ModelError, SerscopeError, short
from ser_core.files import is_partial, state_of
from ser_core.models import Card, SpeechModel
from ser_core.settings import ASSETS, settings
from ser_core.speaker_adaptation import load_class_means

MOST_MODELS, MOST_MB = 16, 2000.0
"""So many models stay loaded, and so many megabytes of weights."""

_loaded: OrderedDict[str, SpeechModel] = OrderedDict()
_LOCK, _LOADING = threading.Lock(), threading.RLock()


def model_folders() -> dict[str, Path]:
    """Return the folder of every complete model at hand by its name; the user's come after the bundled ones."""
    folders: dict[str, Path] = {}
    for parent in (ASSETS / "models", *settings().model_dirs):
        for card in sorted(parent.glob("*/card.json")) + sorted(parent.glob("*/config.json")):
            if any(card.parent.glob("*.safetensors")) and not is_partial(card.parent):
                folders.setdefault(card.parent.name, card.parent)
    return folders


def model_names() -> tuple[str, ...]:
    """Return the names of every model at hand, in the order in which they should be offered."""
    folders = model_folders()
    return tuple(sorted(folders, key=lambda name: _place(folders[name])))


def cards() -> tuple[Card, ...]:
    """Return the cards of all models at hand that have a readable one."""
    folders = model_folders()
    found = (_card(folders[name]) for name in model_names())
    return tuple(card for card in found if card is not None)


def load_model(name: str | Path) -> SpeechModel:
    """Return a model by name, folder or (where allowed) hub name; each is loaded once and kept while it is in use.

    A folder whose files have changed, as after another training, is loaded anew.

    Raises:
        ModelError: there is no such model, or its folder cannot be used.
    """
    folder = model_folders().get(str(name)) or Path(name)
    try:
        there = folder.exists()
    except OSError as fault:  # such as a name that is longer than the file system takes
        raise ModelError(f"There is no model '{short(name)}' ({fault.strerror}).") from fault
    if (folder / "card.json").is_file():
        return _once(_as_it_is(folder), lambda: _load_folder(folder.resolve()))
    if (folder / "config.json").is_file():
        return _once(_as_it_is(folder), lambda: _load_transformers(str(folder.resolve())))
    if "/" in str(name) and not there and settings().hub_allowed:
        return _once(str(name), lambda: _load_transformers(str(name)))
    hint = " Downloads from the hub are off; set SERSCOPE_HUB=1 to allow them." if "/" in str(name) else ""
    raise ModelError(f"There is no model '{short(name)}'. At hand are: {', '.join(model_names()) or 'none'}.{hint}")


def drop_loaded() -> None:
    """Forget the loaded models; they are loaded anew when they are asked for."""
    with _LOCK:
        _loaded.clear()


def _once(key: str, load_it: Callable[[], SpeechModel]) -> SpeechModel:
    """Return the loaded model of that key, loading it unless it is there; the ones not asked for longest make room."""
    with _LOCK:
        if key in _loaded:
            _loaded.move_to_end(key)
            return _loaded[key]
    # One at a time, so that no model is loaded twice and models on one encoder share it.
    with _LOADING:
        with _LOCK:
            if key in _loaded:
                return _loaded[key]
        model = load_it()
        model.network.eval().requires_grad_(False)
        with _LOCK:
            for earlier in [known for known in _loaded if known.partition("\n")[0] == key.partition("\n")[0]]:
                del _loaded[earlier]
            _loaded[key] = model
            while len(_loaded) > 1 and (len(_loaded) > MOST_MODELS or sum(map(_megabytes, _loaded.values())) > MOST_MB):
                _loaded.popitem(last=False)
    return model


def _as_it_is(folder: Path) -> str:
    """Return what tells a model folder from what was in its place before: the states of its card and weights."""
    files = [*folder.glob("*.json"), *folder.glob("*.safetensors")]
    try:
        return "\n".join([str(folder.resolve()), *sorted(map(state_of, files))])
    except FileNotFoundError:  # replaced this moment
        return str(folder.resolve())


def _megabytes(model: SpeechModel) -> float:
    return sum(tensor.nbytes for tensor in model.network.state_dict().values()) / 2**20


def _load_folder(folder: Path) -> SpeechModel:
    card = read_card(folder)
    check_weights(folder)
    systems = {module.name for module in pkgutil.iter_modules(ser_core.systems.__path__)}
    if card.system not in systems:
        raise ModelError(
            f"Model {card.name} belongs to the system '{card.system}', which is not here. Systems at hand: "
            f"{', '.join(sorted(systems))}."
        )
    system = importlib.import_module(f"ser_core.systems.{card.system}")
    try:
        model: SpeechModel = system.load(folder, card)
        model.class_means = load_class_means(folder, len(card.emotions))
    except SerscopeError:
        raise
    # Foreign weights can fail in any way; all of them mean the same here.
    except Exception as fault:
        raise ModelError(
            f"Model {card.name} cannot be loaded: its weights do not fit its card ({_first_line(fault)})."
        ) from fault
    if not all(torch.isfinite(parameter).all() for parameter in model.network.parameters()):
        raise ModelError(
            f"Model {card.name} cannot be used: some of its weights are no numbers. Copy the folder again."
        )
    return model


def _load_transformers(name: str) -> SpeechModel:
    from ser_core.systems.transformers_folder import load_pretrained

    return load_pretrained(name)


def _card(folder: Path) -> Card | None:
    """Return a folder's card if it has one that can be read; why it cannot is said when the model is asked for."""
    try:
        return read_card(folder) if (folder / "card.json").exists() else None
    except ModelError:
        return None


def _place(folder: Path) -> tuple[int, str]:
    card = _card(folder)
    place = 99 if card is None else card.extra.get("place", 50)
    return (place if isinstance(place, int) else 50), folder.name


def _first_line(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0][:300]
