"""EmoSphere-SER: valence, arousal and dominance, with the region of their sphere learned alongside at first.

The published system (Cho et al. 2025, "EmoSphere-SER"): a WavLM-Large encoder; style pooling (Min et al. 2021,
"Meta-StyleSpeech": two linear layers with Mish, two gated convolutions over time, self-attention with two heads, the
mean over real frames); a head for the three dimensions and one for the eight octants. The loss is Σ (1 − CCC) plus w
times a class-weighted cross-entropy of the octant, where w falls from 1 to 0; then the octant's head is dropped.

What differs here. The encoder is frozen and any of ``encoders``; all its states stand side by side, averaged over
80 ms. A rating on a boundary (EmoTale's scale has its middle on one) belongs in equal parts to the octants that touch
it (``sphere.octant_shares``). w falls in a straight line over the first half of the epochs.

Targets. Where a corpus has ratings of the three dimensions, they are brought from its scale to −1 … 1. Where it has
only listeners' votes for emotion words (CREMA-D), the target is "vote-derived VAD": the mean of the words' coordinates
in ``PAD`` under the votes. That says where the chosen words lie, not what anybody rated.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_core import ranks
from ser_core.batches import collate_frames, in_bfloat16, over_frames
from ser_core.distributions import shares_of
from ser_core.encoders import EncoderWithHead, FrozenEncoderModel, Head, coarse, encoder_mb, frozen_encoder, prepare
from ser_core.errors import CorpusError
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.frames import encoder_frames
from ser_core.losses import concordance_loss
from ser_core.models import Card
from ser_core.sphere import DIMENSIONS, octant_shares, on_unit_scale
from ser_core.training import AfterEpoch, Recipe, descend

__all__ = ["embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save", "targets"]

PAD = {
    "anger": (-0.51, 0.59, 0.25),
    "disgust": (-0.60, 0.35, 0.11),
    "fear": (-0.64, 0.60, -0.43),
    "happiness": (0.81, 0.51, 0.46),
    "sadness": (-0.63, -0.27, -0.33),
    "boredom": (-0.65, -0.62, -0.33),
    "surprise": (0.40, 0.67, -0.13),
    "neutral": (0.0, 0.0, 0.0),
}
"""Emotion word → pleasure, arousal, dominance: Russell & Mehrabian 1977, "Evidence for a three-factor theory of
emotions", Journal of Research in Personality 11, doi:10.1016/0092-6566(77)90037-X, mean ratings of angry, disgusted,
fearful, happy, sad, bored and surprised. Neutral is not among their terms: it is set to the middle of the scales."""

RATING_RANGES = {"emotale": (1.0, 5.0), "msp_improv": (1.0, 5.0), "msp_podcast": (1.0, 7.0), "iemocap": (1.0, 5.0)}
"""Corpus → its scale of ratings, as its reader states it."""

FRAME_S = 0.08
WIDTH = 64
KERNEL = 5
RAREST = 10.0

_COARSE: dict[tuple[str, bytes], np.ndarray] = {}


class GatedConvolution(nn.Module):
    """A convolution over time whose one half gates the other, with a residual."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, 2 * width, KERNEL, padding=KERNEL // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, real: Tensor | None) -> Tensor:
        """Return frames (batch, steps, width) of frames of that shape; padding counts as silence."""
        kept = frames if real is None else frames * real[..., None]
        gated = nn.functional.glu(self.convolution(kept.transpose(1, 2)), dim=1).transpose(1, 2)
        return frames + self.dropout(gated)


class StylePooling(nn.Module):
    """Frames (batch, steps, features) to one vector a clip (batch, width)."""

    def __init__(self, features: int, width: int = WIDTH, dropout: float = 0.2) -> None:
        super().__init__()
        self.spectral = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(features, width), nn.Mish(), nn.Dropout(dropout)),
            *(nn.Linear(width, width), nn.Mish(), nn.Dropout(dropout)),
        )
        self.temporal = nn.ModuleList(GatedConvolution(width, dropout) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, 2, dropout=dropout, batch_first=True)
        self.out = nn.Linear(width, width)

    def forward(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """Return (batch, width); ``real`` (batch, steps) marks the frames that are no padding."""
        hidden = self.spectral(frames)
        for convolution in self.temporal:
            hidden = convolution(hidden, real)
        padded = None if real is None else ~real
        attended, _ = self.attention(hidden, hidden, hidden, key_padding_mask=padded, need_weights=False)
        hidden = self.out(hidden + attended).float()
        if real is None:
            return hidden.mean(1)
        kept = real[..., None].float()
        return (hidden * kept).sum(1) / kept.sum(1)


class SphereHead(Head):
    """Coarse frames of an encoder to valence, arousal and dominance, and while it learns also to the octant."""

    def __init__(self, encoder: str, features: int, *, regions: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.style = StylePooling(features)
        self.vad = nn.Sequential(nn.Dropout(0.2), nn.Linear(WIDTH, WIDTH), nn.Mish(), nn.Linear(WIDTH, len(DIMENSIONS)))
        self.regions = nn.Linear(WIDTH, 8) if regions else None
        self.constant: Tensor
        self.register_buffer("constant", torch.zeros(len(DIMENSIONS)))

    def frames(self, states: Sequence[Tensor], step_s: float) -> Tensor:
        """Return coarse frames (batch, steps, features) of an encoder's states."""
        return coarse(states, group_of(step_s))

    def embed(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """Return one vector a clip (batch, width)."""
        style: Tensor = self.style(frames, real)
        return style

    def classify(self, embedding: Tensor) -> Tensor:
        """Return values (batch, 3) of what ``embed`` gives."""
        values: Tensor = self.vad(embedding)
        return values


class EmosphereModel(FrozenEncoderModel):
    """The trained network behind the interface of the app."""

    network: EncoderWithHead[SphereHead]

    def __init__(self, card: Card, network: EncoderWithHead[SphereHead], folder: Path) -> None:
        super().__init__(card, network, load_neighbourhood(folder))
        self.constant = tuple(network.head.constant.tolist())


def targets(table: pd.DataFrame, labels: tuple[str, ...]) -> np.ndarray:
    """Return valence, arousal and dominance (clips, 3) from −1 to 1: ratings, else derived from votes.

    Raises:
        CorpusError: the corpus has neither, or some clips lack them.
    """
    corpus = str(table["corpus"].iloc[0])
    rated = table[list(labels)]
    if rated.notna().all(axis=None) and corpus in RATING_RANGES:
        return on_unit_scale(rated.to_numpy(), RATING_RANGES[corpus])
    words = [name.removeprefix("vote_") for name in map(str, table) if name.startswith("vote_")]
    if not words or not set(words) <= set(PAD) or rated.notna().any(axis=None):
        raise CorpusError(
            f"{corpus} has no ratings of {', '.join(labels)} for every clip on a known scale, and no votes for emotion "
            "words whose coordinates are known."
        )
    shares = shares_of(table[[f"vote_{word}" for word in words]].to_numpy())
    order = [DIMENSIONS.index(label) for label in labels]
    return shares @ np.array([PAD[word] for word in words])[:, order]


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch,
    *,
    regions: bool = True,
) -> SphereHead:
    """Return the head trained on clips and their values (clips, 3), on a GPU where there is one; resumes in ``folder``.

    Args:
        values: of ``prepare``.
        targets: valence, arousal, dominance from −1 to 1.
        recipe: epochs, batch, peak rate, weight decay, moving average and seed; the rate falls to 0 along a cosine.
        encoder: its name.
        folder: of the run.
        after_epoch: not used: nothing is chosen on validation speakers.
        regions: whether the octants are learned alongside at first.
    """
    frames = coarse_frames(values, encoder)
    torch.manual_seed(recipe.seed)
    head = SphereHead(encoder, frames[0].shape[1], regions=regions)
    wanted = torch.from_numpy(targets.astype(np.float32))
    head.constant.copy_(wanted.mean(0))
    octants = torch.from_numpy(octant_shares(targets).astype(np.float32))
    weights = octant_weights(octants)
    device = ranks.device()
    head.to(device)
    wanted, octants, weights = wanted.to(device), octants.to(device), weights.to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    lengths = np.array([len(clip) for clip in frames])
    per_epoch = -(-len(frames) // recipe.batch)

    def set_rates(step: int) -> None:
        progress = step / (recipe.epochs * per_epoch)
        optimiser.param_groups[0]["lr"] = recipe.rate * 0.5 * (1 + np.cos(np.pi * progress))

    def loss_of(batch: np.ndarray, step: int, generator: np.random.Generator) -> Tensor:
        share = region_weight(step // per_epoch, recipe.epochs) if regions else 0.0
        padded, real = collate_frames([frames[i] for i in batch])
        with in_bfloat16(device.type):
            embedding = head.embed(padded.to(device), real.to(device))
        rows = torch.from_numpy(batch)
        loss = concordance_loss(head.classify(embedding), wanted[rows])
        if share and head.regions is not None:
            loss = loss + share * region_loss(head.regions(embedding), octants[rows], weights)
        return loss

    averaged = descend(head, optimiser, lengths, recipe, folder, loss_of=loss_of, set_rates=set_rates)
    averaged.regions = None
    return averaged.cpu()


def region_weight(epoch: int, epochs: int) -> float:
    """Return the octants' weight: 1 in the first epoch, in a straight line to 0 at half of the epochs."""
    return max(0.0, 1 - epoch / max(1, epochs // 2))


def octant_weights(octants: Tensor) -> Tensor:
    """Return a weight (8,) for each octant, inverse to its share (clips, 8) of the clips, at most ``RAREST``."""
    counts = octants.sum(0)
    return (len(octants) / (8 * counts.clamp(min=1e-6))).clamp(max=RAREST)


def region_loss(logits: Tensor, octants: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted cross-entropy of octant logits (clips, 8) to shares (clips, 8), a weighted mean."""
    weighed = octants * weights
    return -(weighed * logits.log_softmax(-1)).sum() / weighed.sum()


def group_of(step_s: float) -> int:
    """Return how many steps of an encoder make a coarse frame of 80 ms."""
    return max(1, round(FRAME_S / step_s))


def coarse_frames(values: Sequence[np.ndarray], encoder: str) -> list[np.ndarray]:
    """Return what the head reads of each clip, (steps, features) in half precision; kept for the next fold."""
    keys = [(encoder, hashlib.sha256(clip.tobytes()).digest()) for clip in values]
    missing = [i for i, key in enumerate(keys) if key not in _COARSE]
    group = group_of(frozen_encoder(encoder).step_s)
    for i, frames in zip(
        missing, encoder_frames([values[i] for i in missing], encoder) if missing else [], strict=True
    ):
        states = torch.from_numpy(np.array(frames)).unbind(1)
        with torch.inference_mode():
            _COARSE[keys[i]] = coarse([state[None] for state in states], group)[0].half().numpy()
    return [_COARSE[key] for key in keys]


def logits(network: SphereHead, values: list[np.ndarray]) -> np.ndarray:
    """Return values (clips, 3)."""
    with torch.inference_mode():
        return network.classify(torch.from_numpy(embeddings(network, values))).numpy()


def embeddings(network: SphereHead, values: list[np.ndarray]) -> np.ndarray:
    """Return one vector a clip (clips, width)."""
    return over_frames(network.embed, coarse_frames(values, network.encoder))


def save(network: SphereHead, temperature: float, folder: Path) -> None:
    """Write the head in half precision; values have no temperature."""
    save_tensors({k: v.half() for k, v in network.state_dict().items()}, folder / "weights.safetensors")


def load(folder: Path, card: Card) -> EmosphereModel:
    """Return the model of a folder; its card names the encoder."""
    encoder = frozen_encoder(card.encoder)
    head = SphereHead(card.encoder, encoder.states * encoder.hidden_size, regions=False)
    head.load_state_dict({name: value.float() for name, value in load_file(folder / "weights.safetensors").items()})
    return EmosphereModel(card, EncoderWithHead(encoder, head), folder)
