import io
import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ser_core import edge_export
from ser_core.cards import write_card
from ser_core.edge_export import (
    MEMORY_LIMIT_BYTES,
    as_run,
    board_estimate,
    clip_logits,
    cost,
    quantise,
    runner,
    to_onnx,
)
from ser_core.errors import ModelError
from ser_core.microfrontend import FRONTEND, micro_features
from ser_core.models import Card
from ser_core.results import labels_of
from ser_core.settings import ASSETS
from ser_core.systems import edge_fusion
from ser_core.systems.edge_fusion import HEADS, LAYERS, WIDTH, WINDOW, EdgeFusion

LABELS = ("anger", "neutral", "sadness")


@pytest.fixture(scope="module")
def network() -> EdgeFusion:
    torch.manual_seed(0)
    return EdgeFusion(len(LABELS), fused=True).eval()


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    times = np.arange(16_000 * 2) / 16_000
    sounds = [
        np.sin(2 * np.pi * random.uniform(100, 400) * times) * np.sin(random.uniform(3, 20) * times)
        + random.normal(0, 0.05, len(times))
        for _ in range(12)
    ]
    return [micro_features((0.3 * sound).astype(np.float32)) for sound in sounds]


@pytest.fixture(scope="module")
def plain(network: EdgeFusion) -> Any:
    return to_onnx(network)


@pytest.fixture(scope="module")
def small(plain: Any, clips: list[np.ndarray]) -> Any:
    return quantise(plain, edge_export.calibration_windows(clips[:8]))


def test_the_exported_network_answers_as_the_trained_one(
    network: EdgeFusion, plain: Any, clips: list[np.ndarray]
) -> None:
    long = [np.tile(clip, (1, 3))[:, :500] for clip in clips[:2]]
    answers = clip_logits(runner(plain), [*clips, *long])
    assert np.allclose(answers, edge_fusion_logits(network, [*clips, *long]), atol=1e-4)


def edge_fusion_logits(network: EdgeFusion, values: list[np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate([network(torch.from_numpy(value)[None]).numpy() for value in values])


def test_int8_stays_near_float_on_clips_that_it_was_not_calibrated_on(
    plain: Any, small: Any, clips: list[np.ndarray]
) -> None:
    exact, rounded = (clip_logits(runner(model), clips[8:]) for model in (plain, small))
    assert np.abs(exact - rounded).max() < 0.1 * (exact.max() - exact.min())


def test_all_that_multiplies_runs_in_integer_kernels(small: Any) -> None:
    run = {node.op_type for node in as_run(small).graph.node}
    assert {"QLinearConv", "QGemm", "QLinearMatMul"} <= run
    assert not {"Conv", "Gemm", "MatMul", "FusedConv", "FusedMatMul"} & run


def test_weights_and_peak_activations_fit_the_published_memory(small: Any) -> None:
    assert cost(small).bytes <= MEMORY_LIMIT_BYTES


def test_the_shipped_copy_keeps_both_promises() -> None:
    told = json.loads((ASSETS / "models" / "edge-fusion" / "edge.json").read_text())
    shipped = onnx.load(ASSETS / "models" / "edge-fusion" / "int8.onnx")
    assert cost(shipped).bytes == told["cost"]["int8"]["bytes"] <= MEMORY_LIMIT_BYTES
    rows = pd.read_parquet(ASSETS / "results" / "edge-fusion-int8.crema_d.parquet")
    labels = labels_of(rows)
    right = rows[[f"p_{label}" for label in labels]].to_numpy().argmax(1) == rows["emotion"].map(labels.index)
    accuracy = right.groupby(rows["variant"]).mean()
    assert len(accuracy) == 2 and accuracy.max() - accuracy.min() <= 0.015


def test_cost_of_a_graph_that_can_be_counted_by_hand() -> None:
    weight = np.ones((WINDOW, 8), np.float32)
    nodes = [
        helper.make_node("MatMul", ["features", "weight"], ["product"]),
        helper.make_node("Softmax", ["product"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, (1, 40, WINDOW))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 40, 8))],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    found = cost(model)
    assert found.macs == 40 * 8 * WINDOW
    assert found.weight_bytes == WINDOW * 8 * 4
    assert found.peak_activation_bytes == (40 * WINDOW + 40 * 8) * 4


def test_operations_are_those_of_the_layers_counted_in_torch(network: EdgeFusion, plain: Any, small: Any) -> None:
    counted = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            counted += output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    with torch.inference_mode():
        network(torch.zeros(1, 40, WINDOW))
    for hook in hooks:
        hook.remove()
    tokens = WINDOW // edge_fusion.TOKEN
    attention = LAYERS * 2 * HEADS * tokens * tokens * (WIDTH // HEADS)
    pooling = tokens * WIDTH
    assert cost(plain).macs == cost(small).macs == counted + attention + pooling


def test_the_boards_estimate_gives_back_the_measurement_that_it_rests_on() -> None:
    published_ms, published_hz = 99.1, 216e6
    macs = 24_700_000 // 2
    assert board_estimate(macs)["cortex_m7_ms"] == pytest.approx(published_ms * published_hz / 800e6, abs=0.05)
    assert board_estimate(2_000_000_000)["edge_tpu_floor_ms"] == pytest.approx(1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, network: EdgeFusion, clips: list[np.ndarray]) -> Path:
    made = tmp_path_factory.mktemp("models") / "edge"
    made.mkdir()
    edge_fusion.save(network, 1.0, made)
    write_card(made, Card("edge", "Edge", "edge_fusion", "", LABELS, "", (), ("ODbL",), "", (), "", ("Mind.",), 0.0))
    edge_export.export(made, clips, repeats=3)
    return made


def test_a_bundle_holds_what_a_device_needs(folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(edge_export.bundle(folder))) as packed:
        names = set(packed.namelist())
        held = {name: packed.read(name) for name in names}
    assert names == {"int8.onnx", "features.json", "labels.json", "edge.json", "check.npz", "README.md"}
    assert json.loads(held["labels.json"]) == list(LABELS)
    assert asdict(FRONTEND).items() <= json.loads(held["features.json"]).items()
    onnx.checker.check_model(onnx.load_from_string(held["int8.onnx"]))
    with np.load(io.BytesIO(held["check.npz"])) as check:
        features = micro_features(check["samples"] / 32768)
        assert np.array_equal(check["features"][0, :, : features.shape[1]], features)
        answer = runner(onnx.load_from_string(held["int8.onnx"]))(check["features"])
        assert np.allclose(answer, check["logits"], atol=1e-3)
    readme = held["README.md"].decode()
    assert "CPU emulation" in readme
    assert "not a measurement" in readme
    assert "ODbL" in readme
    assert "Mind." in readme


def test_an_int8_model_of_other_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "edge"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(1)
    edge_fusion.save(EdgeFusion(len(LABELS), fused=True), 1.0, other)
    with pytest.raises(ModelError, match="other weights"):
        edge_export.bundle(other)
    (other / "int8.onnx").unlink()
    with pytest.raises(ModelError, match="no int8 model"):
        edge_export.bundle(other)


def test_a_model_that_is_no_edge_model_has_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no edge model"):
        edge_export.run("log-mel-resnet", None, tmp_path, tmp_path / "bundle.zip")


def test_a_readers_own_edge_model_has_no_int8_model(tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(ASSETS / "models" / "edge-fusion", tmp_path / "models" / "my-edge")
    (tmp_path / "models" / "my-edge" / "int8.onnx").unlink()
    monkeypatch.setenv("SERSCOPE_MODELS", str(tmp_path / "models"))
    with pytest.raises(ModelError, match="'my-edge' has no int8 model"):
        edge_export.run("my-edge", None, tmp_path, None)
    with pytest.raises(ModelError, match="'my-edge' is no bundled model"):
        edge_export.run("my-edge", tmp_path, tmp_path, None)


def test_times_are_taken_of_both_in_turns(plain: Any, small: Any) -> None:
    turns: list[str] = []
    runs = {name: lambda window, name=name: turns.append(name) or window for name in ("float", "int8")}
    found = edge_export.latency(runs, np.zeros((1, 40, WINDOW), np.float32), repeats=10)
    assert turns[::2] == ["float"] * 30
    assert turns[1::2] == ["int8"] * 30
    assert all(0 <= times["p50_ms"] <= times["p95_ms"] for times in found.values())
