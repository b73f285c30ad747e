"""Late fusion for a microcontroller: a small acoustic transformer and a frozen keyword network, both on MicroFrontend.

A window of 3.2 s goes two ways. The acoustic transformer (0.18 M parameters) reads all of its bands: two strided
convolutions to one token every 80 ms, two encoder layers (Vaswani et al. 2017, normalised first), attentive pooling.
The keyword network, a depthwise-separable residual network with squeeze and excitation (Howard et al. 2017, Hu et al.
2018), was trained on spoken words (``ser_core.keywords``) and is frozen; it reads four stretches of 0.8 s below 4 kHz.
Their embeddings meet in one hidden layer. The transformer is trained first and alone; then only the fusion is.
Behind a clip there is silence, which the front end gives as 0, and a longer clip is a mean over overlapping windows:
that is what a device with a buffer of 3.2 s computes.
"""

import hashlib
import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_core import checkpoints
from ser_core.audio import read
from ser_core.batches import over_clips
from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.microfrontend import FRONTEND, micro_features
from ser_core.models import Card, InputAxes, PoolingWeights, SpeechModel
from ser_core.settings import ASSETS, settings
from ser_core.training import AfterEpoch, Clips, Recipe, train

WINDOW = 320
HOP = 160
TOKEN = 8
WIDTH = 96
LAYERS = 2
HEADS = 4

KEYWORD_BANDS = 30
"""The lowest bands, up to 3.9 kHz: the spoken digits were recorded at 8 kHz and hold nothing above."""
KEYWORD_FRAMES = 80
KEYWORD_WIDTHS = (32, 64, 128, 192, 256)
KEYWORD_FEATURES = 64
KEYWORDS = ASSETS / "keywords"

FUSION_RECIPE = Recipe(epochs=3, batch=32, rate=2e-3, average=0.98)


def convolution(channels_in: int, channels: int, size: int, stride: int, groups: int = 1) -> nn.Sequential:
    """Return a padded convolution with batch normalisation, which the export folds into it."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(channels)
    )


def separable(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    """Return a depthwise 3 × 3 and a pointwise convolution (Howard et al. 2017)."""
    return nn.Sequential(
        *convolution(channels_in, channels_in, 3, stride, channels_in),
        nn.ReLU(),
        *convolution(channels_in, channels, 1, 1),
    )


class EncoderLayer(nn.Module):
    """Self-attention and a perceptron, each normalised first and added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.perceptron_norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        batch, steps, _ = tokens.shape
        parts = self.query_key_value(self.attention_norm(tokens))
        query, key, value = parts.view(batch, steps, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(query @ key.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5, dim=-1)
        heard = (weights @ value).transpose(1, 2).reshape(batch, steps, WIDTH)
        tokens = tokens + self.dropout(self.mix(heard))
        return tokens + self.dropout(self.down(torch.relu(self.up(self.perceptron_norm(tokens)))))


class AcousticTransformer(nn.Module):
    """MicroFrontend windows (batch, 40, 320) to an embedding (batch, 96) and the weights over its 40 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(1, 32, 5, 4), nn.ReLU(), *separable(32, 64, 2), nn.ReLU())
        self.project = nn.Linear(64 * FRONTEND.bands // TOKEN, WIDTH)
        self.place = nn.Conv1d(WIDTH, WIDTH, 7, padding=3, groups=WIDTH)
        self.layers = nn.ModuleList(EncoderLayer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.attend = nn.Linear(WIDTH, 1)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (batch, width) and weights over time (batch, tokens) that sum to 1."""
        maps = self.stem(window[:, None])
        tokens = self.project(maps.permute(0, 3, 1, 2).flatten(2))
        # Order comes from a convolution over tokens (Chu et al. 2021), so that it does not matter where speech starts.
        tokens = tokens + self.place(tokens.transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        weights = torch.softmax(self.attend(tokens), dim=1)
        return (weights.transpose(1, 2) @ tokens)[:, 0], weights[..., 0]


class SqueezeExcitation(nn.Module):
    """Each channel weighed by a gate that sees the mean of all channels (Hu et al. 2018), squeezed to an eighth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 8, 1)
        self.excite = nn.Conv2d(channels // 8, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        mean = nn.functional.adaptive_avg_pool2d(maps, 1)
        return maps * torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))


class ResidualBlock(nn.Module):
    """A depthwise-separable convolution of stride 2 with squeeze and excitation, and a shortcut."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.separable = separable(channels_in, channels, 2)
        self.gate = SqueezeExcitation(channels)
        self.shortcut = convolution(channels_in, channels, 1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channels, bands / 2, columns / 2)."""
        return torch.relu(self.gate(self.separable(maps)) + self.shortcut(maps))


class DSResNetSE(nn.Module):
    """MicroFrontend stretches (batch, 30, 80) of a word to its embedding (batch, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(1, KEYWORD_WIDTHS[0], 3, 2), nn.ReLU())
        pairs = itertools.pairwise(KEYWORD_WIDTHS)
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in pairs))
        self.project = nn.Sequential(nn.Linear(KEYWORD_WIDTHS[-1], 128), nn.ReLU(), nn.Linear(128, KEYWORD_FEATURES))

    def forward(self, stretch: Tensor) -> Tensor:
        """Return embeddings (batch, 64)."""
        return self.project(self.blocks(self.stem(stretch[:, None])).mean((2, 3)))


class EdgeFusion(nn.Module):
    """MicroFrontend features (batch, 40, frames) to logits, with or without the keyword network."""

    def __init__(self, classes: int, *, fused: bool) -> None:
        super().__init__()
        self.acoustic = AcousticTransformer()
        self.keywords = DSResNetSE() if fused else None
        self.fusion = nn.Linear(WIDTH + 2 * KEYWORD_FEATURES, WIDTH) if fused else None
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(WIDTH, classes)

    def train(self, mode: bool = True) -> "EdgeFusion":
        """Set the mode of what is trained; frozen parts stay as they are."""
        super().train(mode)
        for part in (self.acoustic, self.keywords):
            if part is not None and not next(part.parameters()).requires_grad:
                part.eval()
        return self

    def embed_window(self, window: Tensor) -> Tensor:
        """Return what the classifier sees of windows (batch, 40, 320), shape (batch, 96)."""
        heard, _ = self.acoustic(window)
        if self.keywords is None or self.fusion is None:
            return heard
        return torch.relu(self.fusion(torch.cat([heard, self.words(self.keywords, window)], dim=-1)))

    def embed(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return the mean (batch, 96) of the embeddings of a clip's windows."""
        windows, share = self.windows(features, frames)
        seen = self.embed_window(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        return (seen * share[..., None]).sum(1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        return self.classifier(self.dropout(embedding))

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(features, frames))

    @staticmethod
    def words(keywords: DSResNetSE, window: Tensor) -> Tensor:
        """Return mean and maximum (batch, 128) of the word embeddings of a window's four stretches."""
        stretches = window[:, :KEYWORD_BANDS].unflatten(2, (-1, KEYWORD_FRAMES)).transpose(1, 2)
        found = keywords(stretches.flatten(0, 1)).unflatten(0, stretches.shape[:2])
        return torch.cat([found.mean(1), found.amax(1)], dim=-1)

    @staticmethod
    def windows(features: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return a clip's windows (batch, windows, 40, 320), silent behind its end, and their shares (batch, windows).

        Windows start every 160 frames as long as they hold a frame that the one before does not.
        """
        batch, _, longest = features.shape
        if frames is None:
            frames = torch.full((batch,), longest, device=features.device)
        features = features * (torch.arange(longest, device=features.device) < frames[:, None])[:, None]
        count = 1 + max(0, -(-(longest - WINDOW) // HOP))
        filled = nn.functional.pad(features, (0, WINDOW + (count - 1) * HOP - longest))
        starts = torch.arange(count, device=features.device) * HOP
        heard = (frames[:, None] > starts + WINDOW - HOP) | (starts == 0)
        return filled.unfold(2, WINDOW, HOP).transpose(1, 2), heard / heard.sum(1, keepdim=True)


class EdgeFusionModel(SpeechModel):
    """The trained network behind the interface of the app; explained on the front end's frames, not on the waveform."""

    baseline_name = "silence (MicroFrontend gives 0)"
    network: EdgeFusion

    def __init__(self, card: Card, network: EdgeFusion, folder: Path) -> None:
        super().__init__()
        self.card = card
        self.network = network.eval()
        self.neighbourhood = load_neighbourhood(folder)
        self.axes = InputAxes("log_mel", FRONTEND.step_s, FRONTEND.first_s, FRONTEND.band_centres_hz)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return MicroFrontend features (batch, 40, frames) of (batch, samples); without a gradient."""
        return torch.from_numpy(np.stack([micro_features(clip) for clip in samples.detach().cpu().numpy()]))

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return silence."""
        return torch.zeros_like(inputs)

    def pooling(self, inputs: Tensor) -> PoolingWeights:
        """Return the transformer's weights over the tokens of one clip, averaged where windows overlap."""
        windows, _ = self.network.windows(inputs)
        _, weights = self.network.acoustic(windows[0])
        # The padded strided convolutions centre token k on frame k · TOKEN.
        times = FRONTEND.first_s + np.arange(-(-inputs.shape[-1] // TOKEN)) * TOKEN * FRONTEND.step_s
        total, count = (np.zeros((len(windows[0]) - 1) * HOP // TOKEN + WINDOW // TOKEN) for _ in range(2))
        for place, window in enumerate(weights.double().numpy()):
            there = slice(place * HOP // TOKEN, place * HOP // TOKEN + len(window))
            total[there] += window
            count[there] += 1
        shares = (total / count)[: len(times)]
        return PoolingWeights(times, shares / shares.sum(), "The acoustic transformer's weights over tokens of 80 ms")


def load_keywords(folder: Path = KEYWORDS) -> DSResNetSE:
    """Return the trained keyword network, in evaluation mode."""
    network = DSResNetSE()
    counters = {name: value for name, value in network.state_dict().items() if not value.is_floating_point()}
    state = {name: value.float() for name, value in load_file(folder / "weights.safetensors").items()}
    network.load_state_dict(counters | state)
    return network.eval()


def prepare(file: str, encoder: str) -> np.ndarray:
    """Return a clip's MicroFrontend features (40, frames)."""
    return micro_features(read(file).samples)


def fit(
    values: list[np.ndarray],
    targets: np.ndarray,
    recipe: Recipe,
    encoder: str,
    folder: Path,
    after_epoch: AfterEpoch,
    *,
    fused: bool,
) -> EdgeFusion:
    """Return the network trained on features and targets (clips, classes); resumes in ``folder``.

    The transformer of the same clips and recipe is trained once and kept in the cache folder, so that with and without
    keywords it is one and the same.
    """
    clips, classes = Clips(values, targets), targets.shape[1]
    alone = EdgeFusion(classes, fused=False)
    store = settings().cache_dir / "edge_fusion" / f"{_content(clips, recipe)}.safetensors"
    if store.exists():
        alone.load_state_dict(load_file(store))
    else:
        torch.manual_seed(recipe.seed)
        alone = train(EdgeFusion(classes, fused=False), clips, recipe, folder / "acoustic", after_epoch=after_epoch)
        store.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(alone.state_dict(), store)
        checkpoints.drop(folder / "acoustic")
    if not fused:
        return alone.eval()
    torch.manual_seed(recipe.seed)
    network = EdgeFusion(classes, fused=True)
    network.acoustic.load_state_dict(alone.acoustic.state_dict())
    network.keywords = load_keywords()
    for part in (network.acoustic, network.keywords):
        part.requires_grad_(False)
    return train(network, clips, replace(FUSION_RECIPE, seed=recipe.seed), folder, after_epoch=after_epoch)


def logits(network: EdgeFusion, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return over_clips(network, values)


def embeddings(network: EdgeFusion, values: list[np.ndarray]) -> np.ndarray:
    """Return what the classifier sees (clips, features)."""
    return over_clips(network.embed, values)


def save(network: EdgeFusion, temperature: float, folder: Path) -> None:
    """Write the weights in half precision with the temperature in the classifier."""
    state = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name] / temperature
    save_tensors({name: value.half() for name, value in state.items()}, folder / "weights.safetensors")


def load(folder: Path, card: Card) -> EdgeFusionModel:
    """Return the model of a folder."""
    return EdgeFusionModel(card, load_network(folder, len(card.emotions)), folder)


def load_network(folder: Path, classes: int) -> EdgeFusion:
    """Return the network of a folder's ``weights.safetensors``, in evaluation mode."""
    state = {name: value.float() for name, value in load_file(folder / "weights.safetensors").items()}
    network = EdgeFusion(classes, fused="fusion.weight" in state)
    kept = {name: value for name, value in network.state_dict().items() if not value.is_floating_point()}
    network.load_state_dict(kept | state)
    return network.eval()


def _content(clips: Clips, recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps(asdict(recipe)).encode() + clips.targets.tobytes())
    for clip in clips.log_mels:
        digest.update(clip.tobytes())
    return digest.hexdigest()[:16]
