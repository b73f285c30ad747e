"""Size on disk and latency on one thread of every encoder under every light head: ``assets/results/heads.csv``.

Wall time is what a user waits on this machine as it is; CPU time is the thread's own, which other work slows less.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.explain_speed import three_seconds
from benchmarks.predict_speed import processor
from ser_core.encoders import EncoderWithHead, frozen_encoder
from ser_core.files import write_table
from ser_core.results import RESULTS
from ser_core.systems import lightweight_heads
from ser_core.systems.lightweight_heads import HEADS, LightHead

CLASSES = 6
TABLE = RESULTS / "heads.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="*", default=["whisper-tiny.en", "whisper-base"])
    parser.add_argument("--repeats", type=int, default=50, help="clips answered, of which the quantiles are kept")
    chosen = parser.parse_args(arguments)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    samples = torch.from_numpy(np.array(three_seconds().samples))[None]
    on = {"machine": processor(), "load": round(os.getloadavg()[0], 1)}
    pairs = [(encoder, head) for encoder in chosen.encoders for head in HEADS]
    table = pd.DataFrame([row(encoder, head, samples, chosen.repeats) | on for encoder, head in pairs])
    torch.set_num_threads(before)
    write_table(table.round(2), TABLE)
    print(table.to_string(index=False))
    print(f"written: {TABLE}")


def row(encoder: str, head: str, samples: torch.Tensor, repeats: int) -> dict[str, str | float]:
    """Return size and times of samples to probabilities; the head's weights are random, which costs the same."""
    frozen = frozen_encoder(encoder)
    light = LightHead(head, encoder, frozen.states, frozen.hidden_size, CLASSES).eval()
    network = EncoderWithHead(frozen, light).eval()
    times: dict[str, list[float]] = {"wall": [], "cpu": []}
    with torch.inference_mode():
        for _ in range(3 + repeats):  # the first three warm up
            start = time.perf_counter(), time.thread_time()
            network(frozen.inputs(samples)).softmax(-1)
            times["wall"].append(time.perf_counter() - start[0])
            times["cpu"].append(time.thread_time() - start[1])
    size = lightweight_heads.encoder_mb(encoder) + stored_mb(light)
    return {"encoder": encoder, "head": head, "size_mb": size} | {
        f"{kind}_p{share}_ms": 1000 * float(np.percentile(taken[3:], share))
        for kind, taken in times.items()
        for share in (50, 95)
    }


def stored_mb(head: LightHead) -> float:
    """Return the size in MB of a head as a model folder keeps it."""
    with tempfile.TemporaryDirectory() as folder:
        lightweight_heads.save(head, 1.0, Path(folder))
        return (Path(folder) / "weights.safetensors").stat().st_size / 1e6


if __name__ == "__main__":
    main()
