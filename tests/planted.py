"""Models whose evidence is known, for the tests of explanations."""

import hashlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from explain.explanation import Explanation, explain
from ser_core.audio import SAMPLE_RATE, Recording, Source
from ser_core.features import LogMel
from ser_core.models import Card, InputAxes, LogMelModel, SpeechModel

BURSTS_HZ = {"low": (500.0, 1000.0), "high": (2000.0, 3500.0)}
BURST_KINDS = ("low", "high", "absent")
BURST_S = 0.3
CLIP_S = 1.2


def card(name: str, emotions: tuple[str, ...]) -> Card:
    return Card(
        name=name,
        title=name,
        system="planted",
        summary="A model made in a test.",
        emotions=emotions,
        encoder="none",
        corpora=("synthetic",),
        licences=("none",),
        split="none",
        figures=(),
        intended_use="tests",
        limits=(),
        size_mb=0.0,
    )


def recording(samples: np.ndarray) -> Recording:
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    samples.flags.writeable = False
    return Recording(
        samples, "synthetic", hashlib.sha256(samples.tobytes()).hexdigest(), Source("wav", "pcm", 16000, 1)
    )


class PlantedModel(LogMelModel):
    """Any network on the log-mel spectrogram."""

    def __init__(
        self,
        network: nn.Module,
        emotions: tuple[str, ...],
        *,
        gradcam_layers: tuple[str, ...] = (),
        relevance_rules: bool = False,
        name: str = "planted",
    ) -> None:
        super().__init__(card(name, emotions), network.requires_grad_(False))
        self.gradcam_layers = gradcam_layers
        self.relevance_rules = relevance_rules


class WaveformModel(SpeechModel):
    """Any network on samples; the baseline is silence."""

    baseline_name = "silence"

    def __init__(
        self,
        network: nn.Module,
        emotions: tuple[str, ...],
        *,
        gradcam_layers: tuple[str, ...] = (),
        relevance_rules: bool = False,
    ) -> None:
        super().__init__()
        self.card = card("waveform", emotions)
        self.axes = InputAxes("waveform", step_s=1 / SAMPLE_RATE)
        self.network = network.eval().requires_grad_(False)
        self.gradcam_layers = gradcam_layers
        self.relevance_rules = relevance_rules

    def inputs(self, samples: Tensor) -> Tensor:
        return samples

    def baseline(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs)


class FunctionalsModel(SpeechModel):
    """A linear model on two functionals: the mean level in dB and the share of zero crossings."""

    baseline_name = "training mean"

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.card = card("functionals", ("a", "b"))
        self.axes = InputAxes("functionals", names=("level_db", "crossings"))
        linear = nn.Linear(2, 2)
        linear.weight.data, linear.bias.data = weights, bias
        self.network = linear.eval().requires_grad_(False)
        self.relevance_rules = True

    def inputs(self, samples: Tensor) -> Tensor:
        frames = samples[:, : samples.shape[1] // 400 * 400].reshape(len(samples), -1, 400)
        level = 10 * (frames.square().mean(-1) + 1e-8).log10().mean(-1)
        crossings = (samples[:, 1:].sign() != samples[:, :-1].sign()).float().mean(-1)
        return torch.stack([level, crossings], dim=1)

    def baseline(self, inputs: Tensor) -> Tensor:
        return torch.tensor([[-60.0, 0.5]]).expand_as(inputs).clone()


class BandsModel(SpeechModel):
    """A linear model on eighty named features, the mean level of each mel band; three bands speak for class a."""

    baseline_name = "training mean"
    HEARD = (10, 30, 50)

    def __init__(self) -> None:
        super().__init__()
        self.card = card("bands", ("a", "b"))
        self.axes = InputAxes("functionals", names=tuple(f"band_{k}" for k in range(80)))
        linear = nn.Linear(80, 2)
        linear.weight.data.zero_()
        linear.weight.data[0, list(self.HEARD)] = torch.tensor([3.0, 2.0, 1.0])
        linear.bias.data = torch.tensor([20.0, 0.0])
        self.network = linear.eval().requires_grad_(False)
        self.relevance_rules = True

    def inputs(self, samples: Tensor) -> Tensor:
        return LogMel()(samples).mean(-1)

    def baseline(self, inputs: Tensor) -> Tensor:
        return torch.full_like(inputs, -2.0)


class BurstNet(nn.Module):
    """Two convolutions over bands and time, mean over time, linear: shift-invariant in time, not in frequency."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, stride=(2, 2), padding=2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 16, 3, stride=(2, 1), padding=1)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d((20, 1))
        self.linear = nn.Linear(16 * 20, classes)

    def forward(self, log_mel: Tensor) -> Tensor:
        hidden = self.relu1(self.conv1(log_mel[:, None]))
        hidden = self.relu2(self.conv2(hidden))
        return self.linear(self.pool(hidden).flatten(1))


def bed(rng: np.random.Generator, seconds: float = CLIP_S) -> np.ndarray:
    """A speech-like bed: noise with a falling spectrum, its level moving at syllable rate.

    Level (−60 … −38 dB) and tilt vary so much from clip to clip that a band's mean level does not give a burst away.
    """
    count = round(seconds * SAMPLE_RATE)
    hz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count)) / np.sqrt(1 + (hz / rng.uniform(200, 2000)) ** 2)
    noise = np.fft.irfft(spectrum, count)
    times = np.arange(count) / SAMPLE_RATE
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 5) * times + rng.uniform(0, 2 * np.pi))
    return noise / noise.std() * syllables * 10 ** (rng.uniform(-60, -38) / 20)


def burst(rng: np.random.Generator, kind: str, seconds: float = BURST_S) -> np.ndarray:
    """A noise burst in one band with 5 ms ramps."""
    count = round(seconds * SAMPLE_RATE)
    low, high = BURSTS_HZ[kind]
    hz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count)) * ((hz >= low) & (hz < high))
    noise = np.fft.irfft(spectrum, count)
    ramp = np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / 80)
    return noise / noise.std() * ramp * 10 ** (rng.uniform(-24, -20) / 20)


def clip(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, float]:
    """A bed with a burst of that kind ("absent": none) at a random time; returns samples and the burst's start in s."""
    samples = bed(rng)
    start = int(rng.integers(round(0.1 * SAMPLE_RATE), round((CLIP_S - BURST_S - 0.1) * SAMPLE_RATE)))
    if kind != "absent":
        sound = burst(rng, kind)
        samples[start : start + len(sound)] += sound
    return samples.astype(np.float32), start / SAMPLE_RATE


class TimeNet(nn.Module):
    """Two convolutions over time with the bands as channels, mean over time, linear: its last layer has no bands."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(80, 32, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv1d(32, 16, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.linear = nn.Linear(16, classes)

    def forward(self, log_mel: Tensor) -> Tensor:
        hidden = self.relu1(self.conv1(log_mel))
        return self.linear(self.relu2(self.conv2(hidden)).mean(-1))


@lru_cache
def burst_model() -> PlantedModel:
    """A small CNN trained in seconds to tell a low burst, a high burst and none apart.

    Trained long enough on enough beds that its gradient, too, is large at bursts only.
    """
    network = _trained_on_bursts(BurstNet, clips=1024, epochs=20, rate=1.5e-2)
    return PlantedModel(network, BURST_KINDS, gradcam_layers=("conv2",), relevance_rules=True, name="burst")


@lru_cache
def timed_burst_model() -> PlantedModel:
    """The same task for a network whose last convolution has time alone, as a transformer's layers have."""
    network = _trained_on_bursts(TimeNet, clips=384, epochs=16, rate=5e-3)
    return PlantedModel(network, BURST_KINDS, gradcam_layers=("conv2",), name="burst in time")


def _trained_on_bursts(kind: type[nn.Module], *, clips: int, epochs: int, rate: float) -> nn.Module:
    rng = np.random.default_rng(1)
    log_mel = LogMel()
    labels = torch.from_numpy(rng.integers(0, 3, clips))
    sounds = torch.from_numpy(np.stack([clip(rng, BURST_KINDS[label])[0] for label in labels]))
    with torch.no_grad():
        inputs = torch.cat([log_mel(part) for part in sounds.split(64)])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = kind(3)
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
        for _ in range(epochs):
            for rows in torch.randperm(len(labels)).split(32):
                loss = nn.functional.cross_entropy(network(inputs[rows]), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return network


def untrained_whisper(encoder: str = "whisper-tiny.en") -> SpeechModel:
    """The pretrained encoder under a random head: as slow or fast as the trained model."""
    from ser_core.systems.whisper_pooling import WhisperPooling, WhisperPoolingModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = WhisperPooling(encoder, 6)
    emotions = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    return WhisperPoolingModel(card(f"{encoder} (random head)", emotions), network.requires_grad_(False))


@lru_cache
def shown() -> Explanation:
    """Return an explanation that the pages' tests draw."""
    return explain(recording(clip(np.random.default_rng(1), "low")[0]), burst_model(), "input_x_gradient")
