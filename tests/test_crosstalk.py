"""Readers who explain at once get what each gets alone, bit for bit; a thousand times in ``benchmarks.crosstalk``."""

import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explain.attribution
from benchmarks.crosstalk import clips, digest
from explain.attribution import Target, attribute, methods_for
from ser_core import registry
from ser_core.audio import Recording
from ser_core.models import SpeechModel
from ser_core.registry import load_model, model_names
from ser_core.speech import speech_segments
from tests.planted import PlantedModel, recording

SESSIONS = 8
MODELS = ("whisper-tiny-statistics", "whisper-tiny-attentive", "egemaps-logistic", "log-mel-resnet")
METHODS = ("grad_cam", "saliency", "lrp", "deeplift", "feature_ablation", "shapley_boxes")


@pytest.mark.skipif(not set(MODELS) <= set(model_names()), reason="the bundled models are not at hand")
def test_sessions_at_once_get_what_each_gets_alone() -> None:
    models = [load_model(name) for name in MODELS]
    assert models[0].network.encoder is models[1].network.encoder, "two models must share an encoder here"
    kinds = [(m, method.name) for m in models for method in methods_for(m) if method.name in METHODS]
    asked = [(model, method, clip) for clip in clips(0.5, most=2) for model, method in kinds]
    alone = [everything(*each) for each in asked]

    def session(number: int) -> list[str]:
        start.wait(60)
        # Every session begins elsewhere, so that different models and methods meet.
        order = np.roll(np.arange(len(asked)), 3 * number)[: len(asked) // 3]
        return [f"{place}" for place in order if everything(*asked[place]) != alone[place]]

    start = threading.Barrier(SESSIONS)
    with ThreadPoolExecutor(SESSIONS) as pool:
        assert [name for names in pool.map(session, range(SESSIONS)) for name in names] == []


def everything(model: SpeechModel, method: str, clip: Recording) -> str:
    prediction = model.predict(clip)
    return digest((prediction, attribute(model, clip, Target(prediction.top), method), speech_segments(clip)))


class Meet(nn.Module):
    """Two threads' forward passes wait for each other here; copies of a network still meet."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None

    def __deepcopy__(self, memo: dict) -> "Meet":
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        if self.barrier is not None:
            self.barrier.wait(20)
        return inputs


class MeetingNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.conv, self.after = Meet(), nn.Conv2d(1, 3, 3, padding=1), Meet()
        self.linear = nn.Linear(3, 2)

    def forward(self, log_mel: Tensor) -> Tensor:
        hidden = self.after(self.conv(self.before(log_mel[:, None]))).relu()
        return self.linear(hidden.square().mean((2, 3)))


def at_once(model: PlantedModel, sounds: list[Recording]) -> list[np.ndarray | Exception]:
    """Return the Grad-CAM maps of two clips made in step, or what went wrong."""

    def one(clip: Recording) -> np.ndarray | Exception:
        try:
            return attribute(model, clip, Target("a"), "grad_cam").relevance
        except Exception as fault:
            for meeting in (model.network.before, model.network.after):
                meeting.barrier.abort()
            return fault

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, sounds))


@pytest.mark.parametrize("own_copy", [True, False])
def test_hooks_on_a_copy_of_ones_own_see_no_one_elses_clip(own_copy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = MeetingNet()
    model = PlantedModel(network, ("a", "b"), gradcam_layers=("conv",))
    random = np.random.default_rng(0)
    sounds = [recording(0.1 * random.standard_normal(4800)) for _ in range(2)]
    alone = [attribute(model, clip, Target("a"), "grad_cam").relevance for clip in sounds]
    if not own_copy:  # what the copy is there for: on the shared network the test must fail
        monkeypatch.setattr(explain.attribution, "_private_copy", lambda model, own_weights: model.network)
    network.before.barrier, network.after.barrier = threading.Barrier(2), threading.Barrier(2)
    together = at_once(model, sounds)
    equal = [
        isinstance(one, np.ndarray) and np.array_equal(one, other) for one, other in zip(together, alone, strict=True)
    ]
    assert all(equal) == own_copy


def planted_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: str) -> list[str]:
    """Let folders of these names be models that take a while to load; return the list of what was loaded."""
    loaded: list[str] = []

    def load(folder: Path) -> PlantedModel:
        loaded.append(folder.name)
        time.sleep(0.05)
        return PlantedModel(nn.Linear(1, 2), ("a", "b"), name=folder.name)

    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").touch()
    monkeypatch.setattr(registry, "_load_folder", load)
    monkeypatch.setattr(registry, "_loaded", OrderedDict())
    return loaded


def test_a_model_that_all_sessions_open_at_once_is_loaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded = planted_load(monkeypatch, tmp_path, "x")
    with ThreadPoolExecutor(SESSIONS) as pool:
        models = set(pool.map(registry.load_model, [tmp_path / "x"] * SESSIONS))
    assert loaded == ["x"] and len(models) == 1


@pytest.mark.parametrize(("most", "mb"), [(2, 2000.0), (16, 2 * 16 / 2**20)])
def test_the_model_not_asked_for_longest_makes_room(
    most: int, mb: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded = planted_load(monkeypatch, tmp_path, "xyz")
    monkeypatch.setattr(registry, "MOST_MODELS", most)
    monkeypatch.setattr(registry, "MOST_MB", mb)
    for name in "xyxzxy":
        registry.load_model(tmp_path / name)
    assert loaded == ["x", "y", "z", "y"]
