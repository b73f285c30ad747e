"""What it costs to decode files in other processes, as the server does: ``python -m benchmarks.decode_speed``.

Each file is decoded here and by a process of :data:`ser_core.workers.DECODERS`, to which its bytes are sent and whose
samples come back. Printed are medians in ms; the first file of each kind does not count.
"""

import argparse
import io
import statistics
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import soundfile

from explain.samples import samples
from ser_core import workers
from ser_core.audio import SAMPLE_RATE, decode, read

RATE = 48_000
FILES = (("WAV", 3.0), ("WAV", 60.0), ("WAV", 120.0), ("FLAC", 60.0), ("MP3", 60.0))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args(arguments)
    files = {f"{kind}, {seconds:g} s": file(kind, seconds) for kind, seconds in FILES}
    here = [median_ms(data, chosen.repeats) for data in files.values()]
    workers.decode_apart()
    apart = [median_ms(data, chosen.repeats) for data in files.values()]
    workers.shut_down()
    megabytes = [len(data) / 1e6 for data in files.values()]
    print(pd.DataFrame({"MB": megabytes, "here": here, "apart": apart}, index=list(files)).round(1).to_string())


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


if __name__ == "__main__":
    main()
