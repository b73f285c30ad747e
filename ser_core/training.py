"""One training loop for every neural system: seeded, checkpointed each epoch, resumable after a kill."""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ser_core import checkpoints, ranks
from ser_core.audio import read
from ser_core.batches import collate, in_bfloat16, length_batches
from ser_core.features import LogMel
from ser_core.files import append_line

Network = TypeVar("Network", bound=nn.Module)
AfterEpoch = Callable[[nn.Module, int], dict[str, float]]
LossOf = Callable[[np.ndarray, int, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training run.

    ``rate`` is the peak learning rate of the head, ``encoder_rate`` that of the topmost encoder layer;
    each layer below learns ``layer_decay`` times slower. ``average`` is the decay per step of the moving
    average of the weights, which is what the run returns. ``frozen_layers`` encoder layers from below stay as they
    came; ``stretched`` is the share of clips whose tempo and vocal tract are changed, ``masked`` that of
    batches with masked bands and stretches.
    """

    epochs: int = 6
    batch: int = 16
    rate: float = 1e-3
    encoder_rate: float = 1e-4
    layer_decay: float = 0.8
    weight_decay: float = 0.01
    warmup: float = 0.1
    average: float = 0.995
    label_smoothing: float = 0.1
    mixup: float = 0.0
    frozen_layers: int = 0
    stretched: float = 0.5
    masked: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Clips:
    """Log-mel clips of a corpus: one (bands, frames) float16 array each, and targets (clips, classes)."""

    log_mels: list[np.ndarray]
    targets: np.ndarray


def spec_augment(log_mel: Tensor, frames: Tensor, generator: np.random.Generator) -> Tensor:
    """Mask two bands and two stretches of up to 15 % of each clip (Park et al. 2019)."""
    out = log_mel.clone()
    for row, length in enumerate(frames.tolist()):
        floor = out[row].min()
        for _ in range(2):
            width = int(generator.integers(0, int(0.15 * out.shape[1]) + 1))
            low = int(generator.integers(0, out.shape[1] - width + 1))
            out[row, low : low + width] = floor
            span = int(generator.integers(0, max(1, int(0.15 * length)) + 1))
            start = int(generator.integers(0, max(1, length - span + 1)))
            out[row, :, start : start + span] = floor
    return out


def stretch(mel: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Resample a clip's frames by up to ±12 % (tempo) and move its bands by up to one and a half (vocal tract)."""
    bands, frames = mel.shape
    rate = generator.uniform(0.88, 1.12)
    shift = generator.uniform(-1.5, 1.5)
    at = np.clip(np.arange(int(frames / rate)) * rate, 0, frames - 1)
    left = at.astype(int)
    right = np.minimum(left + 1, frames - 1)
    part = (at - left).astype(np.float32)
    out = mel[:, left] * (1 - part) + mel[:, right] * part
    rows = np.clip(np.arange(bands) + shift, 0, bands - 1)
    low = rows.astype(int)
    high = np.minimum(low + 1, bands - 1)
    share = (rows - low).astype(np.float32)[:, None]
    return out[low] * (1 - share) + out[high] * share


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """Group parameters by learning rate: the head, then each encoder layer from the top down."""
    layers = getattr(model, "encoder_layer_of", lambda name: None)
    depth = getattr(model, "encoder_depth", 0)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = layers(name)
        rate = recipe.rate if layer is None else recipe.encoder_rate * recipe.layer_decay ** (depth - layer)
        groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def descend(
    model: Network,
    optimiser: torch.optim.Optimizer,
    lengths: np.ndarray,
    recipe: Recipe,
    folder: Path,
    *,
    loss_of: LossOf,
    set_rates: Callable[[int], None],
    after_epoch: AfterEpoch | None = None,
) -> Network:
    """Train and return the model whose weights are the moving average over the steps.

    Under ``torchrun`` each process learns from its share of every batch (see ``ranks``) and the first one writes; the
    folder must be one that all of them see.

    Args:
        model: in place; its buffers are taken over as they are.
        optimiser: of its parameters.
        lengths: (clips,) by which clips of similar length come into one batch.
        recipe: epochs, batch, average and seed.
        folder: where the checkpoint of every epoch is kept; an existing one is resumed.
        loss_of: maps the clips of a batch, the step and the epoch's generator to the loss.
        set_rates: sets the optimiser's learning rates for a step, 0 … epochs × steps − 1.
        after_epoch: measures the averaged model; its figures go to ``folder/progress.jsonl``.

    Raises:
        ModelError: the folder holds a checkpoint of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranks.begin_alike(model)
    averaged = copy.deepcopy(model)
    steps_per_epoch = -(-len(lengths) // recipe.batch)
    first_epoch = _resume(folder, recipe, model, averaged, optimiser)
    step = first_epoch * steps_per_epoch
    for epoch in range(first_epoch, recipe.epochs):
        generator = np.random.default_rng((recipe.seed, epoch))
        batches = list(length_batches(lengths, recipe.batch, generator))
        torch.manual_seed(recipe.seed * 1000 + epoch)
        if ranks.rank() > 0:  # the same batches, but other draws than those of the first process
            generator = np.random.default_rng((recipe.seed, epoch, ranks.rank()))
            torch.manual_seed(int(generator.integers(2**31)))
        model.train()
        started, running = time.monotonic(), 0.0
        for batch in batches:
            set_rates(step)
            optimiser.zero_grad()
            own, mean = ranks.share(batch), 0.0
            if len(own):
                loss = loss_of(own, step, generator) * (len(own) / len(batch))
                loss.backward()
                mean = loss.item()
            running += ranks.add_up(model, mean)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step += 1
            with torch.no_grad():
                decay = min(recipe.average, step / (step + 10))
                for slow, fast in zip(averaged.parameters(), model.parameters(), strict=True):
                    if fast.requires_grad:
                        slow.lerp_(fast, 1 - decay)
                for kept, latest in zip(averaged.buffers(), model.buffers(), strict=True):
                    kept.copy_(latest)
        if ranks.rank() > 0:
            continue
        figures = {"epoch": epoch + 1, "loss": running / steps_per_epoch, "seconds": time.monotonic() - started}
        if after_epoch is not None:
            figures |= after_epoch(averaged.eval(), epoch)
        _checkpoint(folder, recipe, model, averaged, optimiser, epoch + 1)
        append_line(folder / "progress.jsonl", json.dumps(figures))
        print(folder.name, json.dumps({key: round(value, 4) for key, value in figures.items()}), flush=True)
    return averaged.eval()


def train(
    model: Network,
    clips: Clips,
    recipe: Recipe,
    folder: Path,
    *,
    after_epoch: AfterEpoch | None = None,
) -> Network:
    """Train a network on log-mel clips, on a GPU where there is one, and return it on the processor; see ``descend``.

    Args:
        model: maps (batch, bands, frames), frame counts to logits (batch, classes); whoever makes it draws its first
            weights under the recipe's seed.
        clips: training clips; targets may be soft.
        recipe: the run's numbers.
        folder: where the checkpoint is kept; an existing one is resumed.
        after_epoch: measures the averaged model; its figures go to ``folder/progress.jsonl``.

    Raises:
        ModelError: the folder holds a checkpoint of another recipe.
    """
    device = ranks.device()
    model.to(device)
    optimiser = torch.optim.AdamW(parameter_groups(model, recipe), weight_decay=recipe.weight_decay)
    peaks = [group["lr"] for group in optimiser.param_groups]
    total = recipe.epochs * -(-len(clips.log_mels) // recipe.batch)
    lengths = np.array([mel.shape[1] for mel in clips.log_mels])
    targets = torch.from_numpy(clips.targets.astype(np.float32))

    def set_rates(step: int) -> None:
        scale = _schedule(step / total, recipe.warmup)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * scale

    def loss_of(batch: np.ndarray, step: int, generator: np.random.Generator) -> Tensor:
        log_mel, frames = collate([_perturbed(clips.log_mels[i], recipe, generator) for i in batch])
        if generator.random() < recipe.masked:
            log_mel = spec_augment(log_mel, frames, generator)
        target = targets[torch.from_numpy(batch)]
        if recipe.mixup:
            share = float(generator.beta(recipe.mixup, recipe.mixup))
            other = torch.from_numpy(generator.permutation(len(batch)))
            log_mel = share * log_mel + (1 - share) * log_mel[other]
            frames = torch.maximum(frames, frames[other])
            target = share * target + (1 - share) * target[other]
        with in_bfloat16(device.type):
            logits = model(log_mel.to(device), frames.to(device))
        return nn.functional.cross_entropy(logits.float(), target.to(device), label_smoothing=recipe.label_smoothing)

    averaged = descend(
        model, optimiser, lengths, recipe, folder, loss_of=loss_of, set_rates=set_rates, after_epoch=after_epoch
    )
    return averaged.cpu()


def prepare_log_mel(file: str, encoder: str = "") -> np.ndarray:
    """Return the log-mel spectrogram (80, frames) of an audio file in half precision; every encoder hears the same."""
    samples = torch.from_numpy(np.array(read(file).samples))
    with torch.inference_mode():
        return LogMel()(samples[None])[0].half().numpy()


def _perturbed(mel: np.ndarray, recipe: Recipe, generator: np.random.Generator) -> np.ndarray:
    return stretch(mel, generator) if generator.random() < recipe.stretched else mel


def _schedule(progress: float, warmup: float) -> float:
    """Linear warm-up, then cosine to zero."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + float(np.cos(np.pi * (progress - warmup) / (1 - warmup))))


def _checkpoint(
    folder: Path, recipe: Recipe, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer, epoch: int
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"averaged.{name}": value for name, value in averaged.state_dict().items()}
    tensors |= checkpoints.of_optimiser(optimiser)
    checkpoints.keep(folder, tensors, {"epoch": str(epoch), "recipe": json.dumps(asdict(recipe))})


def _resume(
    folder: Path, recipe: Recipe, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer
) -> int:
    stored = checkpoints.of_recipe(folder, json.dumps(asdict(recipe)))
    if stored is None:
        return 0
    tensors, note = stored
    for prefix, module in (("model.", model), ("averaged.", averaged)):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    checkpoints.to_optimiser(optimiser, tensors)
    return int(note["epoch"])
