"""What it costs to decode files in other processes, as the server does: ``python -m benchmarks.decode_speed``.

Each file is decoded here and by a process of :data:`ser_core.workers.DECODERS`, to which its bytes are sent and whose
samples come back. Printed are medians in ms; the first file of each kind does not count. Large tables of predictions
are read once each way, by :data:`ser_core.workers.TABLES`; "stops others" is the longest that another thread, which
asks every 5 ms, was kept from running meanwhile.
"""

import argparse
import io
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import soundfile

from benchmarks.board_speed import predictions
from explain.samples import samples
from ser_core import workers
from ser_core.audio import SAMPLE_RATE, decode, read
from ser_core.predictions import read_predictions

RATE = 48_000
FILES = (("WAV", 3.0), ("WAV", 60.0), ("WAV", 120.0), ("FLAC", 60.0), ("MP3", 60.0))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args(arguments)
    files = {f"{kind}, {seconds:g} s": file(kind, seconds) for kind, seconds in FILES}
    here = [median_ms(data, chosen.repeats) for data in files.values()]
    tables = {"CSV, 400,000 rows": table(400_000), "CSV, 10,000 rows": table(10_000)}
    read_here = [once(data) for data in tables.values()]
    workers.decode_apart()
    apart = [median_ms(data, chosen.repeats) for data in files.values()]
    once(tables["CSV, 10,000 rows"])  # the process starts
    read_apart = [once(data) for data in tables.values()]
    workers.shut_down()
    megabytes = [len(data) / 1e6 for data in files.values()]
    print(pd.DataFrame({"MB": megabytes, "here": here, "apart": apart}, index=list(files)).round(1).to_string())
    rows = [
        (len(data) / 1e6, *of_here, *of_apart)
        for data, of_here, of_apart in zip(tables.values(), read_here, read_apart, strict=True)
    ]
    names = ["MB", "here", "stops others", "apart", "stops others"]
    print(pd.DataFrame(rows, columns=names, index=list(tables)).round(0).to_string())


def file(kind: str, seconds: float) -> bytes:
    """Return a stereo file of 48 kHz with the speech of a bundled sample, over and over."""
    speech = np.repeat(read(samples()[0].path).samples, RATE // SAMPLE_RATE)
    out = io.BytesIO()
    soundfile.write(out, np.resize(speech, (round(seconds * RATE), 1)).repeat(2, axis=1), RATE, format=kind)
    return out.getvalue()


def median_ms(data: bytes, repeats: int) -> float:
    """Return the median time in ms to decode a file."""
    taken = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        decode(data, "clip", max_seconds=300)
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken[1:])


def table(rows: int) -> bytes:
    """Return made-up predictions of 1,000 speakers as CSV."""
    return predictions(1_000, rows // 1_000).to_csv(index=False, float_format="%.5f").encode()


def once(data: bytes) -> tuple[float, float]:
    """Return the time in ms to read a table, and the longest that another thread waited meanwhile."""
    with waits_of_others() as waits:
        begun = time.perf_counter()
        read_predictions(data, "table.csv")
        taken = time.perf_counter() - begun
    return 1000 * taken, 1000 * max(waits)


@contextmanager
def waits_of_others() -> Iterator[list[float]]:
    """Yield a list to which a thread adds how long it was away, in s, until the block ends."""
    waits: list[float] = [0.0]
    over = threading.Event()

    def ask() -> None:
        before = time.perf_counter()
        while not over.wait(0.005):
            now = time.perf_counter()
            waits.append(now - before)
            before = now

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
