"""Every training that descends runs on another device than the processor, and ends with the same answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from ser_core import ranks
from ser_core.batches import computes_in_bfloat16
from ser_core.encoders import frozen_encoder, lent
from ser_core.frames import encoder_frames
from ser_core.systems import (
    edge_fusion,
    edrl_mea,
    emosphere,
    label_distribution,
    lightweight_heads,
    log_mel_resnet,
    mll,
    whisper_pooling,
    whisper_statistics,
)
from ser_core.training import Recipe
from tests import elsewhere

ENCODER = "whisper-tiny.en"
RECIPE = Recipe(epochs=2, batch=8, rate=1e-3, mixup=0.4)
CLIPS = 12
STATISTICS = 72


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both devices compute in single precision, also where the processor has instructions for bfloat16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    computes_in_bfloat16.cache_clear()
    yield
    computes_in_bfloat16.cache_clear()


@pytest.fixture(autouse=True)
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are read and converted before the cache is an empty folder."""
    frozen_encoder(ENCODER).key  # noqa: B018
    monkeypatch.setattr(mll, "COMPONENTS", 16)  # as many as few clips have
    monkeypatch.setattr(edge_fusion, "FUSION_RECIPE", RECIPE)
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))


@contextmanager
def on_another_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched, elsewhere.Elsewhere():
        patched.setattr(ranks, "device", lambda: elsewhere.DEVICE)
        yield


def targets(clips: int = CLIPS) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[np.arange(clips) % 3]


def statistics() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    values = random.normal(size=(STATISTICS, 3840)) + 0.5 * random.normal(size=(3, 3840))[np.arange(STATISTICS) % 3]
    return [row[:, None].astype(np.float32) for row in values]


def log_mels() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(0, 0.3, (80, 40 + 2 * i)).astype(np.float16) for i in range(CLIPS)]


def spectra() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.gamma(1, 5, (40, 60 + 4 * i)).astype(np.float32) for i in range(CLIPS)]


def waveforms() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(3000 * random.normal(size=(1, 6400 + 320 * i))).astype(np.int16) for i in range(CLIPS)]


def dimensions() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (CLIPS, 3))


CASES: dict[str, tuple[Any, Callable[[], list[np.ndarray]], Callable[[], np.ndarray], dict[str, Any]]] = {
    "statistics": (whisper_statistics, statistics, lambda: targets(STATISTICS), {}),
    "shares": (label_distribution, statistics, lambda: targets(STATISTICS), {"hidden": 16}),
    "aligned": (edrl_mea, statistics, lambda: targets(STATISTICS), {}),
    "linear": (lightweight_heads, log_mels, targets, {"head": "linear"}),
    "attentive": (lightweight_heads, log_mels, targets, {"head": "attentive"}),
    "multi-loss": (mll, waveforms, targets, {}),
    "cross-entropy": (mll, waveforms, targets, {"eam": False, "flam": False, "parts": ("kl",)}),
    "dimensions": (emosphere, log_mels, dimensions, {}),
    "pooling": (whisper_pooling, log_mels, targets, {}),
    "residual": (log_mel_resnet, log_mels, targets, {}),
    "late fusion": (edge_fusion, spectra, targets, {"fused": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_system_learns_on_another_device_what_it_learns_on_the_processor(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, values, wanted, options = CASES[case]

    def trained(name: str) -> nn.Module:
        for cache in (mll._COARSE, mll._REDUCED, mll._WEIGHTS, emosphere._COARSE):
            cache.clear()
        monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / name / "cache"))
        network: nn.Module = system.fit(values(), wanted(), RECIPE, ENCODER, tmp_path / name, None, **options)
        return network

    here = trained("here")
    with on_another_device(monkeypatch):
        there = trained("there")
    assert ranks.device_of(there) == torch.device("cpu")
    answers = system.logits(here, values())
    np.testing.assert_allclose(system.logits(there, values()), answers, atol=0.01 * answers.std())


def test_frames_and_statistics_are_computed_on_the_device_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    here = whisper_statistics.prepare(str(tmp_path / "clip.wav"), ENCODER)
    frames = [np.array(clip) for clip in encoder_frames(log_mels(), ENCODER)]
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "other"))
    with on_another_device(monkeypatch):
        with lent(ENCODER) as network:
            assert ranks.device_of(network) == elsewhere.DEVICE
        np.testing.assert_allclose(whisper_statistics.prepare(str(tmp_path / "clip.wav"), ENCODER), here, atol=1e-5)
        for one, other in zip(encoder_frames(log_mels(), ENCODER), frames, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-3)  # kept in half precision
    left = frozen_encoder(ENCODER)
    assert ranks.device_of(left) == torch.device("cpu")
    assert not any(parameter.requires_grad or parameter.is_inference() for parameter in left.parameters())


def test_what_is_left_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_another_device(monkeypatch):
        layer = nn.Linear(4, 2).to(ranks.device())
        with pytest.raises(RuntimeError, match="on the processor"):
            layer(torch.zeros(3, 4))
        assert layer(torch.zeros(3, 4).to(ranks.device())).device == elsewhere.DEVICE
