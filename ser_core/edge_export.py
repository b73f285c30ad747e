"""Takes a trained ``edge_fusion`` network to int8, says what it costs, and packs it for a device.

The network of one window becomes an ONNX graph, is quantised with ranges measured on training clips (static, int8
weights per channel, 8-bit activations; Jacob et al. 2018) and runs in ONNX Runtime's integer kernels. Memory and
operations are counted by walking the graph. Times are those of this machine's CPU, and named so.
"""

import io
import json
import platform
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from torch import Tensor, nn

from ser_core.bundled import PLANS, Plan
from ser_core.cards import read_card
from ser_core.corpora import read_corpus
from ser_core.crossvalidation import fold_parts, prepared
from ser_core.errors import ModelError
from ser_core.files import checksum, whole, write_bytes, write_table, write_text
from ser_core.microfrontend import FRONTEND, micro_features
from ser_core.numbers import signed
from ser_core.registry import model_folders
from ser_core.results import RESULTS, paired_change
from ser_core.systems.edge_fusion import HOP, WINDOW, EdgeFusion, load_network
from ser_core.tasks import TASKS, with_folds

INT8, NOTE = "int8.onnx", "edge.json"
MEMORY_LIMIT_BYTES = 1_800_000
"""Published figure of the late-fusion paper, 1.8 MB for weights and activations."""
QUANTISED = [
    *("Conv", "MatMul", "Gemm", "Add", "Mul", "Relu", "Sigmoid", "Softmax", "GlobalAveragePool", "Concat"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "Slice", "Gather"),
]
"""Layer normalisation stays in floating point between int8 tensors: no runtime has an int8 kernel of it."""
CALIBRATION_CLIPS = 256
TIMED_RUNS = 300

BOARD = "Coral Dev Board Micro (Cortex-M7 at 800 MHz, Edge TPU)"
BOARD_HZ = 800e6
MACS_PER_CYCLE = 24.7e6 / 2 / 99.1e-3 / 216e6
"""CMSIS-NN on a Cortex-M7 at 216 MHz: 24.7 million operations, two to a multiply-accumulate, in 99.1 ms (Lai et al.
2018, arXiv:1801.06601)."""
EDGE_TPU_MACS_PER_S = 2e12
"""The Edge TPU's peak, 4 × 10¹² operations a second (Coral data sheet), two to a multiply-accumulate."""

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Cost:
    """What one window costs; bytes and multiply-accumulates (macs).

    peak_activation_bytes: most bytes of tensors that are alive at once while the graph runs in its stored order, each
    from the node that makes it to the last that reads it, with the type it has at run time; no tensor shares memory.
    """

    macs: int
    weight_bytes: int
    peak_activation_bytes: int

    @property
    def bytes(self) -> int:
        """Weights and peak activations together."""
        return self.weight_bytes + self.peak_activation_bytes


class _Window(nn.Module):
    """Logits of one window, for the export."""

    def __init__(self, network: EdgeFusion) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor) -> Tensor:
        return self.network.classify(self.network.embed_window(window))


def run(name: str, corpus: Path | None, runs: Path, bundle_to: Path | None) -> str:
    """Quantise a bundled model if its corpus is given, write its zip if wished; return what was done, in words.

    Each finished fold's network is quantised on its training speakers and answers its test speakers as float and as
    int8: ``assets/results/<name>-int8.<task>.parquet``. What ships is fold 0's.

    Raises:
        ModelError: there is no such edge model, or no fold of it was trained in ``runs``.
    """
    folder = model_folders().get(name)
    if folder is None or read_card(folder).system != "edge_fusion":
        raise ModelError(f"There is no edge model '{name}'; train it with 'python -m ser_core train edge-fusion'.")
    done = []
    if corpus is not None:
        if name not in PLANS:
            raise ModelError(f"'{name}' is no bundled model; only bundled ones are quantised, so leave --corpus out.")
        done.append(_quantise_folds(PLANS[name], folder, corpus, runs / name))
    if bundle_to is not None:
        write_bytes(bundle_to, bundle(folder))
        done.append(f"written: {bundle_to}")
    if not done and not has_bundle(folder):
        raise ModelError(f"'{name}' has no int8 model; only the bundled edge model comes with one.")
    return "\n".join(done) or (folder / NOTE).read_text(encoding="utf-8")


def to_onnx(network: EdgeFusion) -> Any:
    """Return the ONNX model of one window: "features" (1, 40, 320) float32 to "logits" (1, classes), folded."""
    import onnx

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs two packages more
        path = Path(folder) / "float.onnx"
        torch.onnx.export(
            _Window(network).eval(),
            (torch.zeros(1, FRONTEND.bands, WINDOW),),
            path,
            input_names=["features"],
            output_names=["logits"],
            opset_version=17,
            dynamo=False,
        )
        return as_run(onnx.load(path), "BASIC")


def quantise(model: Any, windows: np.ndarray) -> Any:
    """Return the int8 model, its ranges measured on windows (count, 40, 320) of training clips."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(windows)

        def get_next(self) -> dict[str, np.ndarray] | None:
            window = next(self.left, None)
            return None if window is None else {"features": window[None]}

    with tempfile.TemporaryDirectory() as folder:
        plain, path = Path(folder) / "float.onnx", Path(folder) / INT8
        onnx.save(onnx.shape_inference.infer_shapes(model), plain)
        quantize_static(
            plain,
            path,
            Reader(),
            op_types_to_quantize=QUANTISED,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,  # int8 moved by 128: what the integer kernels of desktop CPUs want
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)


def runner(model: Any) -> Runner:
    """Return a function from one window (1, 40, 320) to logits (1, classes), in ONNX Runtime on one CPU thread."""
    session = _session(model.SerializeToString())
    return lambda window: session.run(None, {"features": window})[0]


def clip_logits(run: Runner, values: Sequence[np.ndarray]) -> np.ndarray:
    """Return logits (clips, classes) of features (40, frames) each: the mean over a clip's windows."""
    return np.concatenate([np.mean([run(window[None]) for window in clip_windows(clip)], axis=0) for clip in values])


def clip_windows(features: np.ndarray) -> np.ndarray:
    """Return the windows (windows, 40, 320) of a clip's features (40, frames)."""
    return EdgeFusion.windows(torch.from_numpy(features)[None])[0][0].numpy()


def as_run(model: Any, level: str = "EXTENDED") -> Any:
    """Return the model that ONNX Runtime makes of a model before it runs it.

    Args:
        model: ONNX.
        level: "BASIC" folds constants, "EXTENDED" puts integer kernels in place of quantised nodes; the level above
            would lay tensors out for this very CPU.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.onnx"
        _session(model.SerializeToString(), f"ENABLE_{level}", path)
        return onnx.load(path)


def cost(model: Any) -> Cost:
    """Return what one window costs in an ONNX model, by walking the graph that ONNX Runtime makes of it."""
    import onnx

    graph_model = as_run(model)
    graph = graph_model.graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    window = np.zeros((1, FRONTEND.bands, WINDOW), np.float32)
    tensors = {"features": window} | _every_tensor(graph_model, window)
    macs = sum(_node_macs(node, tensors | weights) for node in graph.node)
    return Cost(macs, sum(array.nbytes for array in weights.values()), _peak(graph, tensors))


def board_estimate(macs: int) -> dict[str, Any]:
    """Return what the operations would take on the paper's board, with what is assumed; milliseconds."""
    return {
        "board": BOARD,
        "cortex_m7_ms": round(1e3 * macs / (MACS_PER_CYCLE * BOARD_HZ), 1),
        "edge_tpu_floor_ms": round(1e3 * macs / EDGE_TPU_MACS_PER_S, 3),
        "assumes": (
            f"An estimate from the operation count, not a measurement. Cortex-M7: {MACS_PER_CYCLE:.2f} multiply-"
            "accumulates a cycle, as CMSIS-NN reached on a small convolutional network at 216 MHz (Lai et al. 2018, "
            "arXiv:1801.06601), kept at 800 MHz with weights and activations in on-chip memory; depthwise "
            "convolutions, softmax and layer normalisation are slower than that. Edge TPU: a floor from its peak of "
            "4 TOPS; transfers, and layers it cannot run, come on top and are not estimated. MicroFrontend's own "
            "time is not in it."
        ),
    }


def latency(runs: dict[str, Runner], window: np.ndarray, *, repeats: int = TIMED_RUNS) -> dict[str, dict[str, float]]:
    """Return p50 and p95 in milliseconds of each runner on one window (1, 40, 320), taken in turns in the same run.

    It is the thread's own time, so that other work on the machine does not count.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 20):
        for name, run in runs.items():
            started = time.thread_time()
            run(window)
            if repeat >= 20:
                taken[name].append(1e3 * (time.thread_time() - started))
    return {
        name: {"p50_ms": round(float(np.median(t)), 3), "p95_ms": round(float(np.quantile(t, 0.95)), 3)}
        for name, t in taken.items()
    }


def calibration_windows(values: Sequence[np.ndarray], *, seed: int = 0) -> np.ndarray:
    """Return the first window of up to 256 of the clips, drawn at random."""
    drawn = np.random.default_rng(seed).permutation(len(values))[:CALIBRATION_CLIPS]
    return np.stack([clip_windows(values[i])[0] for i in drawn])


def compare(
    network: EdgeFusion, training: Sequence[np.ndarray], testing: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the logits of test clips by "float" and by "int8", whose ranges come from the training clips."""
    plain = to_onnx(network)
    small = quantise(plain, calibration_windows(training))
    return {name: clip_logits(runner(model), testing) for name, model in (("float", plain), ("int8", small))}


def probability_rows(table: pd.DataFrame, logits: dict[str, np.ndarray], labels: Sequence[str]) -> pd.DataFrame:
    """Return a study's rows (``ser_core.results``) of each variant's logits (clips, classes) for a table's clips."""
    parts = []
    for variant, values in logits.items():
        rows = table[["clip", "speaker", "emotion", "fold"]].reset_index(drop=True)
        rows[[f"p_{label}" for label in labels]] = softmax(values, axis=1)
        parts.append(rows.assign(variant=variant, seed=0))
    return pd.concat(parts, ignore_index=True)


def export(folder: Path, training: Sequence[np.ndarray], *, repeats: int = TIMED_RUNS) -> dict[str, Any]:
    """Write ``int8.onnx`` and ``edge.json`` (cost, latency, board estimate) into a model folder; return the latter.

    Args:
        folder: with card and weights.
        training: features (40, frames) of clips that the model was trained on, for the ranges.
        repeats: how often each is timed.
    """
    import onnx

    plain = to_onnx(load_network(folder, len(read_card(folder).emotions)))
    small = quantise(plain, calibration_windows(training))
    costs = {"float": cost(plain), "int8": cost(small)}
    runs = {"float": runner(plain), "int8": runner(small)}
    note = {
        "weights_sha256": checksum(folder / "weights.safetensors"),
        "cost": {name: asdict(found) | {"bytes": found.bytes} for name, found in costs.items()},
        "memory_limit_bytes": MEMORY_LIMIT_BYTES,
        "latency": latency(runs, clip_windows(training[0])[:1], repeats=repeats),
        "latency_is": f"CPU emulation: one thread of {_cpu()}, one window of {WINDOW * FRONTEND.step_s:.1f} s, "
        "float and int8 in turns in the same run, the thread's own time. It is not the board's time.",
        "estimate": board_estimate(costs["int8"].macs),
    }
    with whole(folder / INT8) as partial:
        onnx.save(small, partial)
    write_text(folder / NOTE, json.dumps(note, indent=2, ensure_ascii=False) + "\n")
    return note


def has_bundle(folder: Path) -> bool:
    """Return whether a model folder holds an int8 model."""
    return (folder / INT8).is_file() and (folder / NOTE).is_file()


def summary(folder: Path) -> str:
    """Return what the int8 model of a folder costs, in words."""
    return _costs(json.loads((folder / NOTE).read_text(encoding="utf-8")))


def bundle(folder: Path) -> bytes:
    """Return a zip for a device: int8 model, front end's numbers, labels, a test vector and README.

    Raises:
        ModelError: the folder has no int8 model, or one of other weights.
    """
    if not has_bundle(folder):
        raise ModelError(f"{folder.name} has no int8 model; make it with 'python -m ser_core edge-export'.")
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    if note["weights_sha256"] != checksum(folder / "weights.safetensors"):
        raise ModelError(
            f"The int8 model of {folder.name} is of other weights; make it anew with 'python -m ser_core edge-export'."
        )
    card = read_card(folder)
    model = (folder / INT8).read_bytes()
    features = asdict(FRONTEND) | {"input": [1, FRONTEND.bands, WINDOW], "window_frames": WINDOW, "hop_frames": HOP}
    files = {
        INT8: model,
        "features.json": json.dumps(features, indent=2).encode(),
        "labels.json": json.dumps(list(card.emotions)).encode(),
        NOTE: json.dumps(note, indent=2, ensure_ascii=False).encode(),
        "check.npz": _check(model),
        "README.md": _readme(card.title, card.licences, card.limits, note).encode(),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def _quantise_folds(plan: Plan, folder: Path, corpus: Path, runs: Path) -> str:
    task = TASKS[plan.task]
    table = with_folds(task, read_corpus(corpus, task.name).table)
    values = prepared(plan, table)
    folds = [fold for fold in range(task.folds) if (runs / f"fold-{fold}" / "weights.safetensors").is_file()]
    if not folds:
        raise ModelError(f"No fold of {plan.name} was trained in {runs}; name the folder that 'train' was given.")
    parts = []
    for fold in folds:
        training, testing = fold_parts(table, fold)
        heard = [values[i] for i in np.flatnonzero(training)]
        if fold == 0:
            note = export(folder, heard)
        network = load_network(runs / f"fold-{fold}", len(plan.labels))
        logits = compare(network, heard, [values[i] for i in np.flatnonzero(testing)])
        parts.append(probability_rows(table[testing], logits, plan.labels))
    rows = pd.concat(parts, ignore_index=True)
    write_table(rows, RESULTS / f"{plan.name}-int8.{task.name}.parquet")
    by = {name: rows[rows["variant"] == name] for name in ("float", "int8")}
    changes = {measure: paired_change(by["float"], by["int8"], measure) for measure in ("UAR", "WA", "macro-F1")}
    said = ", ".join(
        f"{name} {signed(100 * c.value)} points [{signed(100 * c.low)}, {signed(100 * c.high)}]"
        for name, c in changes.items()
    )
    return f"int8 against float over {len(folds)} folds: {said}\n{json.dumps(note, indent=2, ensure_ascii=False)}"


def _session(model: bytes, level: str = "ENABLE_ALL", kept: Path | None = None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Without VNNI, x86 adds up products of 8 bits in 16, which overflow; a microcontroller adds them up in 32.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    if kept is not None:
        options.optimized_model_filepath = str(kept)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _every_tensor(model: Any, window: np.ndarray) -> dict[str, np.ndarray]:
    """Return every tensor that a run makes, by name: their shapes and types are those of the run."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = _session(shown.SerializeToString(), "DISABLE_ALL")
    return dict(zip(names, session.run(names, {"features": window}), strict=True))


def _node_macs(node: Any, tensors: dict[str, np.ndarray]) -> int:
    """Return the multiply-accumulates of a node: outputs times what is summed for each."""
    kind = node.op_type
    if "Conv" in kind:
        weight = tensors[node.input[3 if kind == "QLinearConv" else 1]]
        return tensors[node.output[0]].size * weight[0].size
    if "Gemm" in kind or "MatMul" in kind:
        return tensors[node.output[0]].size * _summed(node, tensors)
    return 0


def _summed(node: Any, tensors: dict[str, np.ndarray]) -> int:
    left = tensors[node.input[0]]
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return int(left.shape[-2 if turned else -1])


def _peak(graph: Any, tensors: dict[str, np.ndarray]) -> int:
    last: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        last.update(dict.fromkeys((name for name in node.input if name in tensors), place))
    last.update(dict.fromkeys((output.name for output in graph.output), len(graph.node)))
    alive, peak = {"features"}, 0
    for place, node in enumerate(graph.node):
        alive |= {name for name in node.output if name}
        peak = max(peak, sum(tensors[name].nbytes for name in alive))
        alive = {name for name in alive if last.get(name, -1) > place}
    return peak


def _check(model: bytes) -> bytes:
    """Return a made-up sound, its features and its logits: what a port to a device must give again."""
    times = np.arange(int(WINDOW * FRONTEND.step_s * FRONTEND.sample_rate)) / FRONTEND.sample_rate
    sound = 0.3 * np.sin(2 * np.pi * (180 + 40 * np.sin(2 * np.pi * 3 * times)) * times) * np.clip(times, 0, 1)
    samples = np.round(sound * 32768).astype(np.int16)
    window = clip_windows(micro_features(samples / 32768))[:1]
    logits = _session(model).run(None, {"features": window})[0]
    packed = io.BytesIO()
    np.savez_compressed(packed, samples=samples, features=window, logits=logits)
    return packed.getvalue()


def _readme(title: str, licences: Sequence[str], limits: Sequence[str], note: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"# {title}, int8",
            "",
            "- `int8.onnx`: one window to logits. Input `features`, float32 (1, 40, 320); output `logits`, in the "
            "order of `labels.json`; softmax gives calibrated probabilities.",
            "- `features.json`: MicroFrontend's numbers (TensorFlow Lite Micro's audio front end). Multiply its "
            "integers by `scale`; start its state anew for every clip; frames run along the last axis.",
            f"- A clip starts its window; behind its end is silence, 0. A longer clip is cut into windows every {HOP} "
            "frames, and their logits are averaged.",
            "- `check.npz`: 16-bit samples of a made-up sound, its features and logits; a port must give them again.",
            "- `edge.json`: what follows, as data.",
            "",
            _costs(note),
            "",
            "## Licences and limits",
            "",
            *(f"- {line}" for line in (*licences, *limits)),
            "",
        ]
    )


def _costs(note: dict[str, Any]) -> str:
    small, timed, estimate = note["cost"]["int8"], note["latency"], note["estimate"]
    return (
        f"int8: weights {small['weight_bytes'] / 1e6:.2f} MB and peak activations "
        f"{small['peak_activation_bytes'] / 1e6:.2f} MB, together {small['bytes'] / 1e6:.2f} of "
        f"{note['memory_limit_bytes'] / 1e6:.1f} MB; {small['macs'] / 1e6:.1f} million multiply-accumulates a window. "
        f"{note['latency_is']} int8: median {timed['int8']['p50_ms']:.2f} ms, 95th percentile "
        f"{timed['int8']['p95_ms']:.2f} ms; float: {timed['float']['p50_ms']:.2f} and "
        f"{timed['float']['p95_ms']:.2f} ms. {estimate['board']}: about "
        f"{estimate['cortex_m7_ms']:.0f} ms on the Cortex-M7, at least "
        f"{estimate['edge_tpu_floor_ms']:.2f} ms on the Edge TPU. {estimate['assumes']}"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
