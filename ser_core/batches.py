"""Clips of unequal length in batches: of similar length, padded, and back in their order."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ser_core.ranks import device_of


def length_batches(lengths: np.ndarray, size: int, generator: np.random.Generator | None) -> Iterator[np.ndarray]:
    """Yield index batches of clips of similar length; shuffled if a generator is given."""
    jitter = generator.uniform(0.85, 1.15, len(lengths)) if generator is not None else 1.0
    order = np.argsort(lengths * jitter, kind="stable")
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if generator is not None:
        generator.shuffle(batches)
    yield from batches


def collate(log_mels: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad clips with their own floor; return (batch, bands, frames) float32 and the real frame counts."""
    frames = torch.tensor([mel.shape[1] for mel in log_mels])
    longest = -(-int(frames.max()) // 64) * 64  # few distinct shapes: kernels are compiled once per shape
    out = torch.empty(len(log_mels), log_mels[0].shape[0], longest)
    for row, mel in enumerate(log_mels):
        clip = torch.from_numpy(mel.astype(np.float32))
        out[row, :, : mel.shape[1]] = clip
        out[row, :, mel.shape[1] :] = clip.min()
    return out, frames


def collate_frames(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return clips (batch, steps, …) padded with zeros, float32, and which steps are real (batch, steps)."""
    lengths = np.array([len(clip) for clip in clips])
    padded = np.zeros((len(clips), -(-int(lengths.max()) // 8) * 8, *clips[0].shape[1:]), clips[0].dtype)
    for row, clip in enumerate(clips):
        padded[row, : len(clip)] = clip
    return torch.from_numpy(padded).float(), torch.from_numpy(np.arange(padded.shape[1]) < lengths[:, None])


@torch.inference_mode()
def over_clips(
    network: Callable[[Tensor, Tensor], Tensor], log_mels: list[np.ndarray], *, batch: int = 32
) -> np.ndarray:
    """Return what a network gives for each clip (clips, …), in the order of the clips.

    Args:
        network: maps padded clips (batch, bands, frames) and frame counts to (batch, …), in evaluation mode.
        log_mels: (bands, frames) each.
        batch: clips at once.
    """
    device = device_of(network)
    rows: dict[int, np.ndarray] = {}
    lengths = np.array([mel.shape[1] for mel in log_mels])
    for indices in length_batches(lengths, batch, None):
        log_mel, frames = collate([log_mels[i] for i in indices])
        with in_bfloat16(device.type):
            values = network(log_mel.to(device), frames.to(device)).float().cpu().numpy()
        rows.update(zip(indices.tolist(), values, strict=True))
    return np.stack([rows[i] for i in range(len(log_mels))])


@torch.inference_mode()
def over_equal(network: Callable[[Tensor], Tensor], log_mels: list[np.ndarray], *, batch: int = 32) -> np.ndarray:
    """Return what a network that takes no padding gives for each clip (clips, …): clips of one length at once."""
    device = device_of(network)
    rows: dict[int, np.ndarray] = {}
    lengths = np.array([mel.shape[1] for mel in log_mels])
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        for start in range(0, len(places), batch):
            indices = places[start : start + batch]
            equal = torch.from_numpy(np.stack([log_mels[i] for i in indices])).float()
            with in_bfloat16(device.type):
                values = network(equal.to(device)).float().cpu().numpy()
            rows.update(zip(indices.tolist(), values, strict=True))
    return np.stack([rows[i] for i in range(len(log_mels))])


@torch.inference_mode()
def over_frames(
    network: Callable[[Tensor, Tensor], Tensor], frames: Sequence[np.ndarray], *, batch: int = 64
) -> np.ndarray:
    """Return what a network gives for each clip's frames (clips, …), in the order of the clips.

    Args:
        network: maps padded frames (batch, steps, …) and which of them are real to (batch, …), in evaluation mode.
        frames: (steps, …) each.
        batch: clips at once.
    """
    rows: dict[int, np.ndarray] = {}
    for indices in length_batches(np.array([len(clip) for clip in frames]), batch, None):
        values = network(*collate_frames([frames[i] for i in indices])).numpy()
        rows.update(zip(indices.tolist(), values, strict=True))
    return np.stack([rows[i] for i in range(len(frames))])


def in_bfloat16(device: str = "cpu") -> contextlib.AbstractContextManager[object]:
    """Return a context in which networks compute in bfloat16, if the device has instructions for it.

    With them it is several times faster than single precision; without them several times slower, and nothing changes.
    """
    return torch.autocast(device, torch.bfloat16) if computes_in_bfloat16(device) else contextlib.nullcontext()


@functools.cache
def computes_in_bfloat16(device: str = "cpu") -> bool:
    """Return whether the device has instructions for bfloat16."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities() if device == "cpu" else {}
    return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16"))


def table_of(columns: list[np.ndarray]) -> np.ndarray:
    """Return one column of features (features, 1) a clip as a table (clips, features) in single precision."""
    return np.concatenate(columns, axis=1).T.astype(np.float32)


@torch.inference_mode()
def over_table(network: Callable[[Tensor], Tensor], columns: list[np.ndarray]) -> np.ndarray:
    """Return what a network gives for each clip's features (features, 1), as (clips, …)."""
    return network(torch.from_numpy(table_of(columns))).numpy()
