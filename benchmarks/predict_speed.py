"""How long every model takes for one clip, samples to answer, and how large it is: ``assets/results/latency.csv``.

The clip lasts 3 s. ``wall`` is what a user waits on this machine as it is, ``cpu`` the thread's own time, which other
work on the machine hardly slows; the page shows the latter. int8 copies for a device run in ONNX Runtime on the same
thread. Models are asked in turns, so that a busy moment does not fall on one alone.

``--forms FOLDER`` stores nothing: it sets other forms of a network (bfloat16, int8 linear layers, ONNX Runtime,
compiled) beside the single precision that the app runs, in speed and in what they answer on clips of a corpus.
"""

import argparse
import copy
import datetime
import io
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.explain_speed import three_seconds
from explain.study_clips import in_turn
from ser_core.audio import Recording, read
from ser_core.registry import load_model, model_folders, model_names
from ser_core.results import RESULTS

TABLE = RESULTS / "latency.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", help="names of models; all at hand")
    parser.add_argument("--repeats", type=int, default=30, help="clips answered, of which the quantiles are stored")
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--forms", type=Path, metavar="FOLDER", help="CREMA-D: compare forms of the models' networks")
    parser.add_argument("--clips", type=int, default=200, help="of the corpus, for --forms")
    chosen = parser.parse_args(arguments)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    if chosen.forms:
        for name in chosen.models or ("whisper-tiny-statistics",):
            print(compared(name, chosen.forms, chosen.clips, chosen.repeats).to_string(index=False), flush=True)
        return
    found = measure(chosen.models or model_names(), chosen.repeats)
    torch.set_num_threads(before)
    found.round(3).to_csv(chosen.out, index=False)
    print(found.to_string(index=False))


def measure(models: Sequence[str], repeats: int) -> pd.DataFrame:
    """Return model, weights ("float" or "int8"), size_mb, wall and cpu quantiles in ms, repeats, clip_s, machine."""
    clip = three_seconds()
    asks: dict[tuple[str, str], Callable[[], object]] = {}
    sizes: dict[tuple[str, str], float] = {}
    for name in models:
        model = load_model(name)
        asks[name, "float"] = lambda model=model: model.predict(clip)
        sizes[name, "float"] = model.card.size_mb
        device = model_folders()[name] / "int8.onnx"
        if device.exists():
            asks[name, "int8"] = int8(name, device)
            sizes[name, "int8"] = device.stat().st_size / 1e6
    wall: dict[tuple[str, str], list[float]] = {key: [] for key in asks}
    cpu: dict[tuple[str, str], list[float]] = {key: [] for key in asks}
    for repeat in range(repeats + 2):  # the first two warm up
        for key, ask in asks.items():
            start = time.perf_counter(), time.thread_time()
            ask()
            if repeat > 1:
                wall[key].append(1000 * (time.perf_counter() - start[0]))
                cpu[key].append(1000 * (time.thread_time() - start[1]))
        print(f"round {repeat + 1} of {repeats + 2}", flush=True)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    where = f"{processor()}, {os.cpu_count()} cores, one thread used; load {load}; {datetime.date.today()}"
    return pd.DataFrame(
        {"model": name, "weights": weights, "size_mb": sizes[name, weights]}
        | {
            f"{what}_p{quantile}_ms": float(np.percentile(times[name, weights], quantile))
            for what, times in (("wall", wall), ("cpu", cpu))
            for quantile in (50, 95)
        }
        | {"repeats": repeats, "clip_s": clip.duration_s, "machine": where}
        for name, weights in asks
    )


def int8(name: str, device: Path) -> Callable[[], object]:
    """Return what answers the clip by the int8 copy of a model, features included."""
    import onnx

    from ser_core.edge_export import clip_logits, runner

    model, samples = load_model(name), torch.from_numpy(np.array(three_seconds().samples))[None]
    run = runner(onnx.load(device))
    return lambda: clip_logits(run, [model.inputs(samples)[0].numpy()])


@torch.inference_mode()
def compared(name: str, corpus: Path, clips: int, repeats: int) -> pd.DataFrame:
    """Return form, first_s and cpu_ms for a 3 s clip, accuracy, changed answers, largest and mean change of a share.

    first_s is what the first clip of this length takes by the clock, compilation included.

    The clips are those of test speakers, whom the shipped weights have not heard.
    """
    model = load_model(name)
    heard = in_turn(corpus, model.emotions, clips)
    wanted = np.array([model.emotions.index(clip.emotion) for clip in heard])

    def entered(recording: Recording) -> Tensor:
        return model.inputs(torch.from_numpy(np.array(recording.samples))[None])

    inputs, short = [entered(read(clip.file)) for clip in heard], entered(three_seconds())
    rows, plain = [], np.empty(0)
    for form, run in forms(model.network, short).items():
        begun = time.perf_counter()
        run(short)
        first_s = time.perf_counter() - begun
        shares = np.concatenate([torch.softmax(run(clip).float(), -1).numpy() for clip in inputs])
        plain = shares if not rows else plain
        times = []
        for _ in range(repeats):
            start = time.thread_time()
            run(short)
            times.append(1000 * (time.thread_time() - start))
        rows.append(
            {
                "model": name,
                "form": form,
                "first_s": first_s,
                "cpu_ms": float(np.median(times)),
                "accuracy": float((shares.argmax(1) == wanted).mean()),
                "changed": int((shares.argmax(1) != plain.argmax(1)).sum()),
                "clips": len(wanted),
                "largest": float(np.abs(shares - plain).max()),
                "mean": float(np.abs(shares - plain).mean()),
            }
        )
    return pd.DataFrame(rows)


def forms(network: nn.Module, example: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return ways to run a network, that of the app first; ``example`` is an input (1, …, time)."""

    def rounded(inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(inputs)

    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(network), {nn.Linear}, dtype=torch.qint8)
    return {
        "single precision": network,
        "bfloat16": rounded,
        "int8 linear layers": quantised,
        "ONNX Runtime": in_onnx(network, example),
        "compiled (torch.compile)": torch.compile(network, dynamic=True),
    }


def in_onnx(network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the network as ONNX Runtime runs it on one thread, in single precision, for any length."""
    import onnxruntime

    exported = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs two packages more
        torch.onnx.export(
            network,
            (example.clone(),),
            exported,
            input_names=["inputs"],
            output_names=["logits"],
            dynamic_axes={"inputs": {example.ndim - 1: "time"}},
            opset_version=17,
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(["logits"], {"inputs": inputs.numpy()})[0])


def processor() -> str:
    """Return the name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
