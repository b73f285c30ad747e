"""A small residual network on the log-mel spectrogram, in the manner of the published cue study.

As in that study the audio is trimmed: the network is asked about the frames from the first to the last one that sounds.
So silence around a clip changes neither its answer nor, but for its place, its explanation, whatever the strides. The
network learns from whole clips, whose ends hold the room; a room sounds, too.

Every module has a rule in Captum's LRP and DeepLIFT: rectifiers are modules used once, sums are
``Addition_Module``, and batch normalisation is folded into the convolutions when the weights are saved.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from captum.attr._utils.custom_modules import Addition_Module
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ser_core.familiarity import load_neighbourhood
from ser_core.files import save_tensors
from ser_core.models import Card, LogMelModel
from ser_core.training import AfterEpoch, Clips, Recipe, train
from ser_core.training import prepare_log_mel as prepare

__all__ = ["embeddings", "fit", "load", "logits", "prepare", "save"]

WIDTHS = (24, 32, 64, 96)
STRIDES = (2, 2, 2, 1)
LEAD_FRAMES = 2
QUIET_FRAMES = 64
SOUNDING_RANGE = 1.5  # 60 dB on the scale of the log-mel spectrogram


def convolution(channels_in: int, channels: int, size: int, stride: int, *, normalise: bool) -> nn.Sequential:
    """Return a padded convolution, with batch normalisation while training."""
    inner = nn.Conv2d(channels_in, channels, size, stride, size // 2)
    return nn.Sequential(inner, nn.BatchNorm2d(channels)) if normalise else nn.Sequential(inner)


class Block(nn.Module):
    """Two 3 × 3 convolutions and a shortcut (He et al. 2016)."""

    conv1: nn.Sequential
    conv2: nn.Sequential

    def __init__(self, channels_in: int, channels: int, stride: int, *, normalise: bool) -> None:
        super().__init__()
        self.conv1 = convolution(channels_in, channels, 3, stride, normalise=normalise)
        self.relu1 = nn.ReLU()
        self.conv2 = convolution(channels, channels, 3, 1, normalise=normalise)
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride)
        self.add = Addition_Module()
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channels, bands / stride, columns / stride)."""
        inner = self.conv2(self.relu1(self.conv1(maps)))
        return self.relu2(self.add(inner, self.shortcut(maps)))


class LogMelResNet(nn.Module):
    """Log-mel frames (batch, 80, frames) to logits; ``normalise`` is off in the saved network."""

    stem: nn.Sequential

    def __init__(self, classes: int, *, normalise: bool = True) -> None:
        super().__init__()
        self.stem = convolution(1, WIDTHS[0], 5, 2, normalise=normalise)
        self.stem_relu = nn.ReLU()
        pairs = list(zip((WIDTHS[0], *WIDTHS[:-1]), WIDTHS, strict=True))
        self.blocks = nn.Sequential(
            *(Block(a, b, STRIDES[place], normalise=normalise) for place, (a, b) in enumerate(pairs))
        )
        self.kept = nn.ReLU()  # changes nothing; names the clip's own maps for Grad-CAM
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(WIDTHS[-1], classes)

    def embed(self, log_mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return the pooled maps (batch, channels); padded columns are left out of the mean.

        Without ``frames`` a clip is followed by frames at its own floor, as it was in training.
        """
        columns = -(-log_mel.shape[-1] // 16)
        if frames is None:
            floor = log_mel.detach().amin((1, 2), keepdim=True)
            log_mel = torch.cat([log_mel, floor.expand(-1, log_mel.shape[1], QUIET_FRAMES)], -1)
        maps = self.blocks(self.stem_relu(self.stem(log_mel[:, None])))
        if frames is None:
            return self.pool(self.kept(maps[..., :columns])).flatten(1)
        real = torch.arange(maps.shape[-1], device=maps.device) < (-(-frames // 16))[:, None]
        return (maps.mean(2) * real[:, None]).sum(-1) / real.sum(-1, keepdim=True)

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        return self.classifier(self.dropout(embedding))

    def forward(self, log_mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(log_mel, frames))


def sounding(log_mel: Tensor) -> slice:
    """Return the frames of log-mel spectrograms (…, bands, frames) from the first to the last one that sounds.

    A frame sounds where a band of it comes within 60 dB of the loudest cell of its clip; a room is louder.
    """
    peaks = log_mel.amax(dim=-2)
    heard = (peaks >= peaks.amax(dim=-1, keepdim=True) - SOUNDING_RANGE).reshape(-1, peaks.shape[-1]).any(0)
    places = torch.nonzero(heard).flatten()
    return slice(int(places[0]), int(places[-1]) + 1)


class LogMelResNetModel(LogMelModel):
    """The trained network behind the interface of the app."""

    gradcam_layers = ("kept",)
    relevance_rules = True
    network: LogMelResNet

    def inputs(self, samples: Tensor) -> Tensor:
        """Return (batch, bands, frames) of (batch, samples), without the silence around the clip."""
        log_mel = self._after_silence(samples)
        return log_mel[..., sounding(log_mel)]

    def first_column_s(self, samples: Tensor) -> float:
        """Return the centre of the first frame that sounds, in seconds."""
        return (sounding(self._after_silence(samples)).start - LEAD_FRAMES) * self.log_mel.step_s

    def _after_silence(self, samples: Tensor) -> Tensor:
        # Whisper's spectrogram mirrors the start of a clip; here it starts from silence, with or without some in front.
        return self.log_mel(nn.functional.pad(samples, (LEAD_FRAMES * self.log_mel.hop_samples, 0)))


def fit(
    values: list[np.ndarray], targets: np.ndarray, recipe: Recipe, encoder: str, folder: Path, after_epoch: AfterEpoch
) -> LogMelResNet:
    """Return the network trained on log-mel clips and targets (clips, classes); resumes in ``folder``."""
    torch.manual_seed(recipe.seed)
    network = LogMelResNet(targets.shape[1])
    for parameter in network.parameters():
        if parameter.ndim == 4:  # twice as fast on a CPU
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return train(network, Clips(values, targets), recipe, folder, after_epoch=after_epoch)


def logits(network: LogMelResNet, values: list[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes)."""
    return _one_by_one(network, values)


def embeddings(network: LogMelResNet, values: list[np.ndarray]) -> np.ndarray:
    """Return pooled embeddings (clips, features)."""
    return _one_by_one(network.embed, values)


def load(folder: Path, card: Card) -> LogMelResNetModel:
    """Return the model of a folder."""
    network = LogMelResNet(len(card.emotions), normalise=False)
    network.load_state_dict({k: v.float() for k, v in load_file(folder / "weights.safetensors").items()})
    return LogMelResNetModel(card, network, load_neighbourhood(folder))


def save(network: LogMelResNet, temperature: float, folder: Path) -> None:
    """Write the weights with batch normalisation folded in and the temperature in the classifier."""
    folded = copy.deepcopy(network).eval()
    folded.stem = _folded(folded.stem)
    for block in cast(list[Block], list(folded.blocks)):
        block.conv1, block.conv2 = _folded(block.conv1), _folded(block.conv2)
    state = folded.state_dict()
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name] / temperature
    save_tensors({name: value.half() for name, value in state.items()}, folder / "weights.safetensors")


@torch.inference_mode()
def _one_by_one(ask: Callable[[Tensor], Tensor], values: list[np.ndarray]) -> np.ndarray:
    # The network sees how a clip ends, so each is asked as the app asks: trimmed and alone.
    clips = (torch.from_numpy(value).float() for value in values)
    return np.concatenate([ask(clip[None, :, sounding(clip)]).numpy() for clip in clips])


def _folded(pair: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(fuse_conv_bn_eval(cast(nn.Conv2d, pair[0]), cast(nn.BatchNorm2d, pair[1])))
