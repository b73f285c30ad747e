"""Checkpoints of a training run: the last two, each with a checksum, so that a torn one costs an epoch and no more."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ser_core import ranks
from ser_core.errors import ModelError
from ser_core.files import save_tensors

LATEST, BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
_SUM = "sha256"


def keep(folder: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str]) -> None:
    """Write a checkpoint; the one that was the latest stays beside it. Of several processes the first writes.

    Raises:
        StorageError: the disk is full or refuses; the one that was the latest is still there.
    """
    if ranks.rank() > 0:
        return
    kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    if (folder / LATEST).exists():
        (folder / LATEST).replace(folder / BEFORE)
    save_tensors(kept, folder / LATEST, {**note, _SUM: _checksum(kept, note)})


def latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Return the tensors and the note of the last checkpoint that is whole; None where there is none.

    One that is damaged is deleted, with a line that says so.
    """
    for path in (folder / LATEST, folder / BEFORE):
        if not path.exists():
            continue
        found = _read(path)
        if found is not None:
            return found
        if ranks.rank() > 0:  # the first process may be about to replace it
            continue
        path.unlink()
        print(f"{path} was damaged and is deleted; the run goes on from what was stored before it.", flush=True)
    return None


def of_recipe(folder: Path, recipe: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Return :func:`latest`, whose note holds the recipe of the run in JSON.

    Raises:
        ModelError: the checkpoint is of another recipe.
    """
    found = latest(folder)
    if found is not None and found[1].get("recipe") != recipe:
        raise ModelError(
            f"{folder} holds a checkpoint of another recipe. Train into another folder, or delete this one."
        )
    return found


def drop(folder: Path) -> None:
    """Delete the checkpoints of a run that is finished, those of its parts as well; the first process does."""
    if ranks.rank() > 0:
        return
    for path in [path for name in (LATEST, BEFORE) for path in folder.rglob(name)]:
        path.unlink()
        if path.parent != folder and not any(path.parent.iterdir()):
            path.parent.rmdir()


def of_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser remembers, by names that begin with "optimiser."."""
    return {
        f"optimiser.{index}.{name}": value
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def to_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser back what :func:`of_optimiser` returned."""
    layout = optimiser.state_dict()
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".")
            layout["state"].setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(layout)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    try:
        with safe_open(path, "pt") as stored:
            note = dict(stored.metadata() or {})
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError):
        return None
    return (tensors, note) if note.pop(_SUM, None) == _checksum(tensors, note) else None


def _checksum(tensors: Mapping[str, Tensor], note: Mapping[str, str]) -> str:
    named = {name: text for name, text in sorted(note.items()) if name != _SUM}
    found = hashlib.sha256(json.dumps(named).encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
