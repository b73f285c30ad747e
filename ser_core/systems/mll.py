"""MLL: multi-loss learning with energy-adaptive mixup (EAM) and frame-level attention (FLAM).

The published system: a WavLM-Large encoder; speech of two clips mixed on the waveform with a soft label
(``augmentation.energy_adaptive_mixup``); self-attention with 16 heads over frames and its residual, context
broadcasting, a learned vector whose softmax over frames weighs them; and four losses, each brought to a comparable
range: KL to the soft label, focal, centre (64 numbers a clip) and supervised contrast.

What differs here. The encoder is frozen and can be any of ``encoders``; all its states stand side by side, averaged
over 160 ms and reduced to the 512 leading principal components of the training clips' frames. The focus γ = 2, the
temperature τ = 0.07, the weight in the label and the context broadcasting are inferred from common practice.

Computing. A frozen encoder sees a waveform once, so mixes cannot be drawn anew for every batch. Each training clip has
a pool of about two mixes with partners among the training clips only, and a batch takes the clip as it is or one of
its mixes with even odds. Partner, excerpt, place and SNR follow from the content of the two clips, so what is encoded
for one fold serves every other fold, seed and variant in which neither clip is held out. Excerpts and places are drawn
where someone speaks: silence has no emotion, so the covered share is that of the speech.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_core import losses, ranks
from ser_core.audio import read
from ser_core.augmentation import energy_adaptive_mixup
from ser_core.batches import collate_frames, in_bfloat16, over_frames
from ser_core.encoders import EncoderWithHead, FrozenEncoderModel, Head, coarse, encoder_mb, frozen_encoder
from ser_core.errors import ModelError
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.frames import encoder_frames
from ser_core.models import Card, PoolingWeights
from ser_core.settings import ASSETS
from ser_core.training import AfterEpoch, Recipe, descend

__all__ = ["embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save"]

MIXES = 2
FRAME_S = 0.16
COMPONENTS = 512
WIDTH = 128
VIEW = 64
CENTER_RATE = 5e-3
DECAY = 7 / 8
LOSSES = ("kl", "focal", "center", "contrast")
CHUNK = 500
FILE = "weights.safetensors"
OF_CLASSES = ("classifier.", "centers")
PRINCIPAL_FRAMES = 6000

_COARSE: dict[tuple[str, int], np.ndarray] = {}
_REDUCED: dict[tuple[int, int], np.ndarray] = {}
_WEIGHTS: dict[int, float] = {}


class FrameAttention(nn.Module):
    """FLAM: self-attention over frames and its residual, context broadcasting, one weight a frame."""

    def __init__(self, width: int, heads: int = 16) -> None:
        super().__init__()
        self.heads = heads
        self.asked = nn.Linear(width, 3 * width)
        self.told = nn.Linear(width, width)
        self.projection = nn.Linear(width, 1, bias=False)

    def attended(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return what the heads gather (batch, steps, width); written out, as torch's own is slow for small heads."""
        queries, keys, values = self.asked(frames).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None], float("-inf"))
        return self.told((scores.softmax(-1) @ values).transpose(1, 2).flatten(2))

    def context(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return frames (batch, steps, width) that know of the others, each averaged with the clip's mean frame."""
        aware = frames + self.attended(frames, real)
        return (aware + mean_frame(aware, real)[:, None]) / 2

    def weights(self, context: Tensor, real: Tensor | None) -> Tensor:
        """Return each frame's weight (batch, steps); they sum to 1 over the real frames."""
        scores = self.projection(context)[..., 0].float()
        if real is not None:
            scores = scores.masked_fill(~real, float("-inf"))
        return scores.softmax(-1)

    def forward(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return the weighted sum (batch, width) of frames (batch, steps, width)."""
        context = self.context(frames, real)
        return (self.weights(context, real)[..., None] * context.float()).sum(1)


class MultiLossHead(Head):
    """Frames of an encoder, reduced to their principal components, to logits and the views that the losses look at."""

    centre: Tensor
    axes: Tensor

    def __init__(self, encoder: str, features: int, classes: int, *, flam: bool = True, dropout: float = 0.3) -> None:
        super().__init__()
        self.encoder = encoder
        kept = min(COMPONENTS, features)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("axes", torch.zeros(features, kept))
        self.mix = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(kept, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Dropout(dropout)
        )
        self.flam = FrameAttention(WIDTH) if flam else None
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(WIDTH, classes)
        self.center_view = nn.Linear(WIDTH, VIEW)
        self.contrast_view = nn.Linear(WIDTH, VIEW)
        self.centers = nn.Parameter(torch.zeros(classes, VIEW))

    def reduce(self, frames: Tensor) -> Tensor:
        """Return the principal components (…, components), of unit variance, of coarse frames (…, features)."""
        return ((frames - self.centre) @ self.axes).clamp(-8.0, 8.0)

    def frames(self, states: Sequence[Tensor], step_s: float) -> Tensor:
        """Return reduced frames (batch, steps, components) of an encoder's states."""
        return self.reduce(coarse(states, _group(step_s)))

    def embed(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """Return one vector a clip (batch, width) of reduced frames (batch, steps, components)."""
        mixed = self.mix(frames)
        return mean_frame(mixed, real).float() if self.flam is None else self.flam(mixed, real)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        logits: Tensor = self.classifier(self.dropout(embedding))
        return logits


def mean_frame(frames: Tensor, real: Tensor | None) -> Tensor:
    """Return the mean (batch, width) over the real ones of (batch, steps, width)."""
    if real is None:
        return frames.mean(1)
    kept = real[..., None].to(frames.dtype)
    return (frames * kept).sum(1) / kept.sum(1)


def multi_loss(head: MultiLossHead, embedding: Tensor, targets: Tensor, parts: Sequence[str]) -> Tensor:
    """Return the sum of the named losses, each divided by its value where nothing is known yet.

    That is log(classes) for KL, with (1 − 1/classes)² for focal, half the number of features for the centre loss of
    features of unit variance, and log(batch − 1) for the contrast.

    Args:
        head: whose classifier, views and centres are asked.
        embedding: (batch, width) of its ``embed``.
        targets: (batch, classes) shares; the contrast takes a mixed clip for the class with the largest share.
        parts: of ``LOSSES``.
    """
    clips, classes = targets.shape
    logits = head.classify(embedding)
    total = logits.new_zeros(())
    if "kl" in parts:
        total = total + losses.kl_divergence(logits, targets) / np.log(classes)
    if "focal" in parts:
        total = total + losses.focal(logits, targets) / ((1 - 1 / classes) ** 2 * np.log(classes))
    if "center" in parts:
        view = nn.functional.layer_norm(head.center_view(embedding), (VIEW,))
        total = total + losses.center(view, targets, head.centers) / (VIEW / 2)
    if "contrast" in parts and clips > 2:
        view = head.contrast_view(embedding)
        total = total + losses.supervised_contrastive(view, targets.argmax(-1)) / np.log(clips - 1)
    return total


class MllModel(FrozenEncoderModel):
    """The trained network behind the interface of the app."""

    network: EncoderWithHead[MultiLossHead]

    def pooling(self, inputs: Tensor) -> PoolingWeights | None:
        """Return FLAM's weight of every frame of one clip."""
        head = self.network.head
        if head.flam is None:
            return None
        with torch.inference_mode():
            context = head.flam.context(head.mix(self.network.frames(inputs)), None)
            weights = head.flam.weights(context, None)[0].double().numpy()
        group = _group(self.network.encoder.step_s)
        centres = self.network.encoder.step_times(group * len(weights)).reshape(-1, group).mean(1)
        return PoolingWeights(centres, weights, "FLAM's weight of each frame")


def prepare(file: str, encoder: str) -> np.ndarray:
    """Return a clip's samples (1, samples) as 16-bit PCM; mixing needs the waveform."""
    samples = read(file).samples
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)[None]


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch,
    *,
    eam: bool = True,
    flam: bool = True,
    parts: Sequence[str] = LOSSES,
    start: str = "",
) -> MultiLossHead:
    """Return the head trained on clips and targets (clips, classes), on a GPU where there is one; a run resumes.

    Args:
        values: of ``prepare``.
        targets: one-hot rows.
        recipe: epochs, batch, rate, weight decay, moving average and seed; the rate falls to 7/8 after each epoch.
        encoder: its name.
        folder: of the run.
        after_epoch: not used: nothing is chosen on validation speakers but the temperature.
        eam: whether a clip may be replaced by a mix.
        flam: whether frames are weighed by attention, or all alike.
        parts: of the loss.
        start: name of a bundled model of this system on the same encoder, trained on other speakers; the head starts
            from its weights, but for what belongs to its classes.

    Raises:
        ModelError: that model is not there, or its weights do not fit.
    """
    network = frozen_encoder(encoder)
    torch.manual_seed(recipe.seed)
    head = MultiLossHead(encoder, network.states * network.hidden_size, targets.shape[1], flam=flam)
    if start:
        _start_from(head, start)
    else:
        head.centre, head.axes = principal_axes(values, encoder)
    own = reduced_frames(head, values)
    pool = mixes(head, values) if eam else []
    device = ranks.device()
    head.to(device)
    groups: list[dict[str, Any]] = [
        {"params": [value for name, value in head.named_parameters() if name != "centers"]},
        {"params": [head.centers], "lr": CENTER_RATE, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate, weight_decay=recipe.weight_decay)
    wanted = targets.astype(np.float32)
    lengths = np.array([len(clip) for clip in own])
    per_epoch = -(-len(own) // recipe.batch)

    def set_rates(step: int) -> None:
        for group, peak in zip(optimiser.param_groups, (recipe.rate, CENTER_RATE), strict=True):
            group["lr"] = peak * DECAY ** (step // per_epoch)

    def loss_of(batch: np.ndarray, step: int, generator: np.random.Generator) -> Tensor:
        frames, rows = [], []
        for clip in batch:
            if eam and pool[clip] and generator.random() < 0.5:
                mix = pool[clip][generator.integers(len(pool[clip]))]
                frames.append(mix.frames)
                rows.append((1 - mix.weight) * wanted[clip] + mix.weight * wanted[mix.partner])
            else:
                frames.append(own[clip])
                rows.append(wanted[clip])
        padded, real = collate_frames(frames)
        with in_bfloat16(device.type):
            embedding = head.embed(padded.to(device), real.to(device))
        return multi_loss(head, embedding.float(), torch.from_numpy(np.stack(rows)).to(device), parts)

    return descend(head, optimiser, lengths, recipe, folder, loss_of=loss_of, set_rates=set_rates).cpu()


def logits(network: MultiLossHead, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return network.classify(torch.from_numpy(embeddings(network, values))).detach().numpy()


def embeddings(network: MultiLossHead, values: list[np.ndarray]) -> np.ndarray:
    """Return one vector a clip (clips, width)."""
    return over_frames(network.embed, reduced_frames(network, values))


def save(network: MultiLossHead, temperature: float, folder: Path) -> None:
    """Write the head in half precision with the calibration temperature folded into the classifier."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] /= temperature
    save_tensors({name: value.half() for name, value in state.items()}, folder / FILE)


def load(folder: Path, card: Card) -> MllModel:
    """Return the model of a folder; its card names the encoder."""
    encoder = frozen_encoder(card.encoder)
    state = {name: value.float() for name, value in load_file(folder / FILE).items()}
    flam = any(name.startswith("flam.") for name in state)
    head = MultiLossHead(card.encoder, encoder.states * encoder.hidden_size, len(card.emotions), flam=flam)
    head.load_state_dict(state)
    return MllModel(card, EncoderWithHead(encoder, head), load_neighbourhood(folder))


@dataclass(frozen=True, eq=False)
class Mix:
    """Reduced frames of a clip with an excerpt of a partner, and the partner's share of the label."""

    frames: np.ndarray
    partner: int
    weight: float


def mixes(head: MultiLossHead, values: Sequence[np.ndarray]) -> list[list[Mix]]:
    """Return the mixes of each clip (1, samples), with partners among these clips."""
    codes = [_code(clip) for clip in values]
    asked = [(clip, partner) for clip in range(len(values)) for partner in partners(codes, clip)]
    pairs = [_code(f"{codes[clip]} {codes[partner]}") for clip, partner in asked]

    def waveform(place: int) -> np.ndarray:
        clip, partner = asked[place]
        samples, _WEIGHTS[pairs[place]] = mixed(values[clip][0], values[partner][0], pairs[place])
        return samples

    pool: list[list[Mix]] = [[] for _ in values]
    for (clip, partner), pair, frames in zip(asked, pairs, _reduced(head, pairs, waveform), strict=True):
        pool[clip].append(Mix(frames, partner, _WEIGHTS[pair]))
    return pool


def partners(codes: Sequence[int], clip: int) -> list[int]:
    """Return the places of the clips that are mixed into one clip, about ``MIXES`` of them.

    Whether two clips are mixed is a lot that follows from their content, so a pair that is drawn in one training set
    is drawn in any other of that size that holds both.
    """
    lots = np.array(codes, np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(codes[clip])
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the mixing steps of SplitMix64
        lots = (lots ^ (lots >> np.uint64(shift))) * np.uint64(factor)
    drawn = lots.astype(np.float64) < 2.0**64 * MIXES / len(codes)
    return [place for place in np.flatnonzero(drawn).tolist() if codes[place] != codes[clip]]


def mixed(clip: np.ndarray, partner: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Return the clip with an excerpt of the partner in its speech, float32 (samples,), and the partner's weight."""
    samples = clip.astype(np.float32) / 32768
    place = spoken(samples)
    mix = energy_adaptive_mixup(
        samples[place], (partner.astype(np.float32) / 32768)[spoken(partner)], np.random.default_rng(seed)
    )
    samples[place] = mix.samples
    return samples, mix.weight


def spoken(samples: np.ndarray) -> slice:
    """Return the span from the first to the last 25 ms that are at most 40 dB fainter than the loudest."""
    frames = np.resize(samples.astype(np.float64), (max(1, len(samples) // 400), 400))
    level = np.square(frames).mean(1)
    loud = np.flatnonzero(level >= 1e-4 * level.max())
    return slice(int(loud[0]) * 400, (int(loud[-1]) + 1) * 400)


def reduced_frames(head: MultiLossHead, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what the head reads of each clip (1, samples): (steps, components) in half precision."""
    return _reduced(head, [_code(clip) for clip in values], lambda place: _samples(values[place]))


@functools.lru_cache(maxsize=8)
def _axes(encoder: str, codes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    clips = [_COARSE[encoder, code] for code in codes]
    every = -(-sum(len(clip) for clip in clips) // PRINCIPAL_FRAMES)
    frames = torch.from_numpy(np.concatenate(clips)[::every]).float()
    centre = frames.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, spread, axes = torch.pca_lowrank(frames - centre, min(COMPONENTS, *frames.shape), center=False)
    deviation = spread / len(frames) ** 0.5
    found = torch.where(deviation > 1e-3 * deviation[0], axes / deviation, torch.zeros_like(axes))
    # Few frames have fewer axes than a head takes: what they do not span says nothing.
    return centre, nn.functional.pad(found, (0, min(COMPONENTS, frames.shape[1]) - found.shape[1]))


def principal_axes(values: Sequence[np.ndarray], encoder: str) -> tuple[Tensor, Tensor]:
    """Return the mean coarse frame (features,) of some clips and axes (features, components) to unit variance."""
    codes = [_code(clip) for clip in values]
    _coarse_frames(encoder, codes, lambda place: _samples(values[place]))
    return _axes(encoder, tuple(codes))


def _reduced(head: MultiLossHead, codes: Sequence[int], waveform: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    key = _code(head.axes.numpy())
    todo = [place for place, code in enumerate(codes) if (key, code) not in _REDUCED]
    found = _coarse_frames(head.encoder, [codes[place] for place in todo], lambda place: waveform(todo[place]))
    for place, clip in zip(todo, found, strict=True):
        with torch.inference_mode():
            _REDUCED[key, codes[place]] = head.reduce(torch.from_numpy(clip).float()).half().numpy()
    return [_REDUCED[key, code] for code in codes]


def _coarse_frames(encoder: str, codes: Sequence[int], waveform: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    network = frozen_encoder(encoder)
    absent = [place for place, code in enumerate(codes) if (encoder, code) not in _COARSE]
    for start in range(0, len(absent), CHUNK):
        places = absent[start : start + CHUNK]
        with torch.inference_mode():
            inputs = [network.inputs(torch.from_numpy(waveform(i))[None])[0].half().numpy() for i in places]
            for place, frames in zip(places, encoder_frames(inputs, encoder), strict=True):
                states = [torch.from_numpy(np.array(frames[:, state]))[None] for state in range(frames.shape[1])]
                _COARSE[encoder, codes[place]] = coarse(states, _group(network.step_s))[0].half().numpy()
    return [_COARSE[encoder, code] for code in codes]


def _start_from(head: MultiLossHead, name: str) -> None:
    path = ASSETS / "models" / name / FILE
    if not path.exists():
        raise ModelError(f"Training starts from {name}, which is not there yet; train {name} first.")
    state = {key: value.float() for key, value in load_file(path).items()}
    kept = {key: value for key, value in state.items() if not key.startswith(OF_CLASSES)}
    absent = {key for key in head.state_dict() if not key.startswith(OF_CLASSES)} ^ kept.keys()
    if absent or any(head.state_dict()[key].shape != value.shape for key, value in kept.items()):
        raise ModelError(f"Training cannot start from {name}: its head or its encoder is not the one that is trained.")
    head.load_state_dict(kept, strict=False)


def _samples(pcm: np.ndarray) -> np.ndarray:
    return pcm[0].astype(np.float32) / 32768


def _group(step_s: float) -> int:
    return max(1, round(FRAME_S / step_s))


def _code(content: np.ndarray | str) -> int:
    raw = content.encode() if isinstance(content, str) else np.ascontiguousarray(content).tobytes()
    return int.from_bytes(hashlib.sha256(raw).digest()[:8], "big")
