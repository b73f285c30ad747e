"""The states of a frozen encoder, computed once per clip and read from disk afterwards.

A store is a folder of shards in the cache folder: ``<shard>.npy`` holds the frames of some clips one after the other,
(steps, states, hidden) in half precision and memory-mapped, so that several gigabytes cost no memory of their own;
``<shard>.csv`` says which clip lies where. A clip is known by the SHA-256 of its input, so every system, fold, study
and corpus shares one store, and a run that is stopped goes on with the clips that are missing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from ser_core import ranks
from ser_core.batches import computes_in_bfloat16, in_bfloat16, length_batches
from ser_core.encoders import frozen_encoder, lent, prepare
from ser_core.errors import AudioError
from ser_core.files import whole, write_text
from ser_core.settings import settings

SHARD_CLIPS = 500


def encoder_frames(inputs: Sequence[np.ndarray], encoder: str) -> list[np.memmap]:
    """Return every clip's frames (steps, states, hidden), float16 and memory-mapped, in the order of the clips.

    States are the encoder's input embedding and every layer's output, as in ``encoders``.

    Args:
        inputs: what the encoder takes for each clip, of its ``prepare``: (80, frames) of log-mel for Whisper,
            (samples,) for encoders of waveforms.
        encoder: its name.
    """
    folder = _folder(encoder)
    keys = [_key(array) for array in inputs]
    found = _stored(folder)
    missing = list({key: place for place, key in enumerate(keys) if key not in found}.values())
    for start in range(0, len(missing), SHARD_CLIPS):
        places = missing[start : start + SHARD_CLIPS]
        _write(folder, [keys[i] for i in places], _encoded([inputs[i] for i in places], encoder))
        if len(missing) > SHARD_CLIPS:
            print(f"{encoder}: {start + len(places)} of {len(missing)} clips encoded", flush=True)
    if missing:
        found = _stored(folder)
    return [found[key] for key in keys]


def store_frames(files: Sequence[str], encoder: str) -> tuple[list[str], dict[str, str]]:
    """Store the frames of audio files that are not stored yet.

    Args:
        files: of one shard, ``SHARD_CLIPS`` at most.
        encoder: its name.

    Returns:
        The shards that hold them, and the files that cannot be read with the reason.
    """
    inputs, left_out = [], {}
    for file in files:
        try:
            inputs.append(prepare(file, encoder))
        except AudioError as fault:
            left_out[file] = str(fault)
    return sorted({str(clip.filename) for clip in encoder_frames(inputs, encoder)}), left_out


@torch.inference_mode()
def _encoded(inputs: Sequence[np.ndarray], encoder: str) -> list[np.ndarray]:
    out: dict[int, np.ndarray] = {}
    device = ranks.device()
    with lent(encoder) as network, in_bfloat16(device.type):  # the app itself runs in single precision
        for places in length_batches(np.array([array.shape[-1] for array in inputs]), network.batch, None):
            padded, counts = network.collate([inputs[i] for i in places])
            states, real = network(padded.to(device), None if counts is None else counts.to(device))
            frames = torch.stack([state.float() for state in states], dim=2).half().cpu().numpy()
            steps = [frames.shape[1]] * len(places) if real is None else real.sum(1).cpu().tolist()
            for row, place in enumerate(places.tolist()):
                out[place] = frames[row, : steps[row]]
    return [out[i] for i in range(len(inputs))]


def _write(folder: Path, keys: Sequence[str], frames: Sequence[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
    ends = np.cumsum([len(clip) for clip in frames])
    with whole(folder / f"{name}.npy") as partial, partial.open("wb") as file:
        np.save(file, np.concatenate(frames))
    # Last, so that a shard with an index is whole.
    write_text(folder / f"{name}.csv", "".join(f"{key},{end}\n" for key, end in zip(keys, ends, strict=True)))


def _stored(folder: Path) -> dict[str, np.memmap]:
    return {key: clip for index in sorted(folder.glob("*.csv")) for key, clip in _shard(index)}


def _shard(index: Path) -> Iterator[tuple[str, np.memmap]]:
    frames: np.memmap = np.load(index.with_suffix(".npy"), mmap_mode="r")
    start = 0
    for line in index.read_text().splitlines():
        key, end = line.split(",")
        yield key, cast(np.memmap, frames[start : int(end)])
        start = int(end)


def _folder(encoder: str) -> Path:
    # Folders may be shared by machines, and states of bfloat16 are not those of single precision.
    precision = "" if computes_in_bfloat16(ranks.device().type) else "-single"
    return settings().cache_dir / "frames" / f"{frozen_encoder(encoder).key}{precision}"


def _key(array: np.ndarray) -> str:
    whole = np.ascontiguousarray(array)
    return hashlib.sha256(f"{whole.shape}{whole.dtype}".encode() + whole.tobytes()).hexdigest()[:24]
