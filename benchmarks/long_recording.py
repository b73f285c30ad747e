"""Half an hour of speech through the long-recording path: first stretch, whole time, and memory on the way.

``python -m benchmarks.long_recording [--minutes 30]``. The recording is made of the bundled samples, as FLAC on the
disk, and is read from there; memory is that of this process without what only mirrors the file.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

from explain.long_recording import session, stretches
from explain.samples import samples
from ser_core import workers
from ser_core.audio import SAMPLE_RATE, read
from ser_core.long_audio import open_long
from ser_core.registry import load_model, model_names


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--model", default=model_names()[0])
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.flac"
        _write(path, chosen.minutes)
        model = load_model(chosen.model)
        workers.warm_up()
        started = time.perf_counter()
        print(f"{'minute':>8} {'after s':>8} {'stretches':>10} {'memory MB':>10}")
        found, next_minute = [], 0.0
        for stretch in stretches(open_long(path), model):
            found.append(stretch)
            if stretch.end_s >= 60 * next_minute:
                spent = time.perf_counter() - started
                print(f"{stretch.end_s / 60:8.1f} {spent:8.1f} {len(found):10} {_memory_mb():10.0f}", flush=True)
                next_minute += max(1.0, chosen.minutes / 15)
        known = session(open_long(path), model, found)
        spent = time.perf_counter() - started
        print(f"{len(found)} stretches, {len(known.voices)} voices, {spent:.0f} s, {_memory_mb():.0f} MB at the end")
    workers.shut_down()


def _write(path: Path, minutes: float) -> None:
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    turn = np.concatenate([part for sample in samples() for part in (read(sample.path).samples, pause)])
    with sf.SoundFile(path, "w", SAMPLE_RATE, 1, format="FLAC", subtype="PCM_16") as file:
        left = round(minutes * 60 * SAMPLE_RATE)
        while left > 0:
            file.write(turn[:left])
            left -= len(turn)


def _memory_mb() -> float:
    """Return this process's own memory (anonymous pages) in MB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1024


if __name__ == "__main__":
    main()
