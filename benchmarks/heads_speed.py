"""Size on disk and latency on one thread of every encoder under every light head."""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.explain_speed import three_seconds
from ser_core.encoders import frozen_encoder
from ser_core.systems import lightweight_heads
from ser_core.systems.lightweight_heads import HEADS, EncoderWithHead, LightHead

CLASSES = 6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="*", default=["whisper-tiny.en", "whisper-base"])
    parser.add_argument("--repeats", type=int, default=50, help="clips answered, of which the quantiles are printed")
    chosen = parser.parse_args(arguments)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    samples = torch.from_numpy(np.array(three_seconds().samples))[None]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"samples of a 3.0 s clip to probabilities, one thread of {os.cpu_count()} cores; load {load}")
    print("wall: what a user waits on this machine as it is; CPU: the thread's own time, which other work slows less\n")
    print(f"{'encoder':18} {'head':10} {'size':>9} {'wall p50':>9} {'wall p95':>9} {'CPU p50':>9} {'CPU p95':>9}")
    for encoder in chosen.encoders:
        for head in HEADS:
            print(row(encoder, head, samples, chosen.repeats), flush=True)
    torch.set_num_threads(before)


def row(encoder: str, head: str, samples: torch.Tensor, repeats: int) -> str:
    """Return one line of the table; the head's weights are random, which costs the same."""
    frozen = frozen_encoder(encoder)
    light = LightHead(head, encoder, frozen.states, frozen.hidden_size, CLASSES).eval()
    network = EncoderWithHead(frozen, light).eval()
    wall, cpu = [], []
    with torch.inference_mode():
        for _ in range(3 + repeats):  # the first three warm up
            start = time.perf_counter(), time.thread_time()
            network(frozen.inputs(samples)).softmax(-1)
            wall.append(time.perf_counter() - start[0])
            cpu.append(time.thread_time() - start[1])
    quantiles = [1000 * float(np.quantile(times[3:], q)) for times in (wall, cpu) for q in (0.5, 0.95)]
    size = lightweight_heads.encoder_mb(encoder) + stored_mb(light)
    return f"{encoder:18} {head:10} {size:6.1f} MB " + " ".join(f"{value:6.1f} ms" for value in quantiles)


def stored_mb(head: LightHead) -> float:
    """Return the size in MB of a head as a model folder keeps it."""
    with tempfile.TemporaryDirectory() as folder:
        lightweight_heads.save(head, 1.0, Path(folder))
        return (Path(folder) / "weights.safetensors").stat().st_size / 1e6


if __name__ == "__main__":
    main()
