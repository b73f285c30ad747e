"""Frozen Whisper encoder, mean and standard deviation over time of every layer, a few small heads averaged.

The encoder stays as published, so only the heads are stored; the encoder comes from its package. Statistics pooling:
Snyder et al. 2017; layers together: as in SUPERB (Yang et al. 2021), but side by side instead of mixed. The heads are
trained with mixup (Zhang et al. 2018) on standardised statistics and differ by their seed.
"""

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_core import checkpoints, ranks
from ser_core.audio import read
from ser_core.batches import in_bfloat16, over_table, table_of
from ser_core.encoders import FrozenEncoderModel, encoder_mb, frozen_encoder, lent
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.models import Card
from ser_core.training import AfterEpoch, Recipe

__all__ = ["embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save"]

Loss = Callable[[Tensor, Tensor], Tensor]


class Features(Protocol):
    """Features of clips by index, such as a tensor (clips, features).

    Those that draw at random hold the generator as ``random``, so that a resumed run draws what an unbroken one would.
    """

    def __len__(self) -> int:
        """Number of clips."""

    def __getitem__(self, batch: Tensor, /) -> Tensor:
        """Return (batch, features) of the clips of these indices."""


SPEAKER_ADAPTATION = True
"""What the heads see can be counted from a speaker's own zero (``ser_core.speaker_adaptation``)."""
HEADS = 3
HIDDEN = 256


class Heads(nn.Module):
    """Statistics (batch, features) to logits: standardised, clipped at ±6, through the heads, averaged.

    With ``hidden`` = 0 there is one head, a single linear layer.
    """

    def __init__(self, features: int, classes: int, *, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(0.3),
                nn.Linear(features, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Dropout(0.5),
                nn.Linear(hidden, classes),
            )
            if hidden
            else nn.Sequential(nn.Dropout(0.3), nn.Linear(features, classes))
            for _ in range(HEADS if hidden else 1)
        )

    def fit_scale(self, statistics: Tensor) -> None:
        """Take the scale of z-scores from training speech (clips, features)."""
        self.mean.copy_(statistics.mean(0))
        self.deviation.copy_(statistics.std(0) + 1e-4)

    def cool(self, temperature: float) -> None:
        """Divide all logits by the temperature."""
        with torch.no_grad():
            for head in self.heads:
                for parameter in list(head.children())[-1].parameters():
                    parameter.div_(temperature)

    def embed(self, statistics: Tensor) -> Tensor:
        """Return z-scores of the training speech (batch, features)."""
        return ((statistics - self.mean) / self.deviation).clamp(-6.0, 6.0)

    def classify(self, scores: Tensor) -> Tensor:
        """Return logits (batch, classes) of z-scores."""
        return torch.stack([head(scores) for head in self.heads]).mean(0)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(statistics))


class StatisticsHead(Protocol):
    """What reads the statistics."""

    def embed(self, statistics: Tensor, /) -> Tensor:
        """Return what is classified (batch, …) of (batch, features)."""

    def classify(self, embedding: Tensor, /) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""


class WhisperStatistics(nn.Module):
    """Log-mel frames (batch, 80, frames) to logits."""

    def __init__(self, encoder: nn.Module, heads: StatisticsHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = heads

    def embed(self, log_mel: Tensor) -> Tensor:
        """Return what the head classifies (batch, features)."""
        return self.heads.embed(statistics(self.encoder(log_mel)[0]))

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        return self.heads.classify(embedding)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(log_mel))


def statistics(states: list[Tensor]) -> Tensor:
    """Return mean and standard deviation over time of every layer (batch, layers × 2 × hidden)."""
    pooled = []
    for state in states:
        mean = state.mean(1)
        pooled += [mean, ((state - mean[:, None]).square().mean(1) + 1e-6).sqrt()]
    return torch.cat(pooled, dim=-1)


def prepare(file: str, encoder: str) -> np.ndarray:
    """Return the statistics of an audio file as one column (features, 1)."""
    samples = torch.from_numpy(np.array(read(file).samples))
    device = ranks.device()
    with torch.inference_mode():
        inputs = frozen_encoder(encoder).inputs(samples[None])
        with lent(encoder) as frozen, in_bfloat16(device.type):  # the app itself runs in single precision
            states, _ = frozen(inputs.to(device))
        return statistics([state.float() for state in states])[0].cpu().numpy()[:, None]


def fit(
    values: list[np.ndarray], targets: np.ndarray, recipe: Recipe, encoder: str, folder: Path, after_epoch: AfterEpoch
) -> Heads:
    """Return heads trained on statistics and targets (clips, classes); resumes in ``folder``."""
    table = torch.from_numpy(table_of(values))
    torch.manual_seed(recipe.seed)
    heads = Heads(table.shape[1], targets.shape[1])
    heads.fit_scale(table)
    scores, wanted = heads.embed(table), torch.from_numpy(targets.astype(np.float32))
    for place, head in enumerate(heads.heads):
        fit_head(head, scores, wanted, recipe, seed=recipe.seed + place, folder=folder / f"head-{place}")
    return heads.eval()


def logits(network: Heads, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return over_table(network, values)


def embeddings(network: Heads, values: list[np.ndarray]) -> np.ndarray:
    """Return standardised statistics (clips, features)."""
    return over_table(network.embed, values)


def save(network: Heads, temperature: float, folder: Path) -> None:
    """Write the heads in half precision with the calibration temperature folded into their last layers."""
    kept = copy.deepcopy(network)
    kept.cool(temperature)
    save_tensors(halved(kept), folder / "weights.safetensors")


def halved(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network with its weights in half precision and its scales (buffers) as they are."""
    scales = dict(network.named_buffers())
    return {
        name: (value if name in scales else value.half()).contiguous() for name, value in network.state_dict().items()
    }


def load(folder: Path, card: Card) -> FrozenEncoderModel:
    """Return the model of a folder; its card names the encoder."""
    encoder = frozen_encoder(card.encoder)
    heads = Heads(2 * encoder.states * encoder.hidden_size, len(card.emotions))
    heads.load_state_dict({k: v.float() for k, v in load_file(folder / "weights.safetensors").items()})
    return FrozenEncoderModel(card, WhisperStatistics(encoder, heads), load_neighbourhood(folder))


def fit_head(
    head: nn.Module,
    scores: Features,
    wanted: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    loss: Loss | None = None,
    folder: Path | None = None,
) -> None:
    """Train a head in place on features (clips, features) and targets (clips, classes) that may be soft.

    It trains on a GPU where there is one and is on the processor again in the end.

    Args:
        head: maps features to logits (clips, classes).
        scores: features, or what gives them for the clips of a batch where the head then is, with a gradient where
            they are learned too.
        wanted: targets.
        recipe: of the run; mixup and label smoothing included.
        seed: of batches and mixup.
        loss: of logits and targets; cross-entropy if none is given.
        folder: where the checkpoint of every epoch is kept; an existing one is resumed. Nothing is kept without it.

    Raises:
        ModelError: the folder holds a checkpoint of another recipe.
    """
    generator = torch.Generator().manual_seed(seed)
    random = np.random.default_rng(seed)
    device = ranks.device()
    head.to(device)
    scores, wanted = scores.to(device) if isinstance(scores, Tensor) else scores, wanted.to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, fused=True)
    steps = recipe.epochs * -(-len(scores) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    learning = _Learning(head, optimiser, generator, (random, *_drawing(scores)))
    begun = 0 if folder is None else learning.resume(folder, recipe)
    with warnings.catch_warnings():  # the optimiser has made these steps before
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for _ in range(begun * (steps // recipe.epochs)):
            schedule.step()
    head.train()
    for epoch in range(begun, recipe.epochs):
        torch.cuda.manual_seed(seed * 1000 + epoch)  # a GPU draws by itself; nothing happens without one
        for batch in torch.randperm(len(scores), generator=generator).split(recipe.batch):
            other = torch.randperm(len(batch), generator=generator)
            share = float(random.beta(recipe.mixup, recipe.mixup)) if recipe.mixup else 1.0
            picked, target = scores[batch], wanted[batch]
            mixed = share * picked + (1 - share) * picked[other]
            target = share * target + (1 - share) * target[other]
            target = (1 - recipe.label_smoothing) * target + recipe.label_smoothing / target.shape[1]
            optimiser.zero_grad()
            (loss or nn.functional.cross_entropy)(head(mixed), target).backward()
            optimiser.step()
            schedule.step()
        if folder is not None:
            learning.keep(folder, recipe, epoch + 1)
    head.cpu().eval()


def _drawing(scores: Features) -> tuple[np.random.Generator, ...]:
    generator = getattr(scores, "random", None)
    return (generator,) if isinstance(generator, np.random.Generator) else ()


@dataclass(frozen=True)
class _Learning:
    """What the training of a head changes: its weights, what the optimiser remembers, and where its draws are."""

    head: nn.Module
    optimiser: torch.optim.Optimizer
    batches: torch.Generator
    others: tuple[np.random.Generator, ...]

    def keep(self, folder: Path, recipe: Recipe, epoch: int) -> None:
        """Write the checkpoint of so many epochs."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= checkpoints.of_optimiser(self.optimiser)
        tensors |= {"draws": torch.get_rng_state(), "batches": self.batches.get_state()}
        note = {"epoch": str(epoch), "recipe": json.dumps(asdict(recipe))}
        checkpoints.keep(folder, tensors, note | {"others": json.dumps([o.bit_generator.state for o in self.others])})

    def resume(self, folder: Path, recipe: Recipe) -> int:
        """Take over a checkpoint where there is one; return the epochs that are done."""
        found = checkpoints.of_recipe(folder, json.dumps(asdict(recipe)))
        if found is None:
            return 0
        tensors, note = found
        self.head.load_state_dict({k.removeprefix("head."): v for k, v in tensors.items() if k.startswith("head.")})
        checkpoints.to_optimiser(self.optimiser, tensors)
        torch.set_rng_state(tensors["draws"])
        self.batches.set_state(tensors["batches"])
        for generator, state in zip(self.others, json.loads(note["others"]), strict=True):
            generator.bit_generator.state = state
        return int(note["epoch"])
