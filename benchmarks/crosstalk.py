"""Whether readers disturb one another: explanations of many sessions at once against those of one alone.

``python -m benchmarks.crosstalk [--explanations 1000] [--sessions 8] [--minutes 60] [--seconds 1.0]``

Every model and method at hand explains every clip alone first. Then as many sessions as asked for explain the same at
once, all in one process, each its own clip; what is quick comes more often than what is slow. Everything in an
explanation but its computing time must be equal bit for bit.
"""

import argparse
import dataclasses
import hashlib
import os
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from explain.attribution import methods_for
from explain.explanation import explain
from explain.samples import samples
from ser_core import workers
from ser_core.audio import SAMPLE_RATE, Recording, from_samples, read
from ser_core.errors import ExplanationError
from ser_core.models import SpeechModel
from ser_core.registry import load_model, model_names
from ser_core.turns import Turns

Asked = tuple[SpeechModel, str, Recording]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--explanations", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=60.0, help="most minutes in all")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a clip")
    parser.add_argument("--models", nargs="*", help="names of models; all at hand")
    chosen = parser.parse_args(arguments)
    begun = time.monotonic()
    kinds = [(m, method.name) for m in map(load_model, chosen.models or model_names()) for method in methods_for(m)]
    sounds = clips(chosen.seconds)
    alone, took = {}, {}
    for model, method in kinds:
        for clip in sounds:
            started = time.monotonic()
            alone[model.name, method, clip.sha256] = outcome(model, method, clip)
            took[model.name, method] = time.monotonic() - started
        if time.monotonic() - begun > 30 * chosen.minutes:
            break
    kinds = [kind for kind in kinds if (kind[0].name, kind[1]) in took]
    asked = plan(kinds, sounds, took, chosen.explanations)

    turns = Turns(chosen.sessions, most_waiting=len(asked))
    halfway = time.monotonic()

    def work(model: SpeechModel, method: str, clip: Recording) -> str | None:
        late = time.monotonic() - begun > 60 * chosen.minutes
        return None if late else outcome(model, method, clip)

    jobs = [
        turns.submit(lambda job, each=each: work(*each), f"session {number % chosen.sessions}")
        for number, each in enumerate(asked)
    ]
    found = [(each, job.future.result()) for each, job in zip(asked, jobs, strict=True)]
    done = [(each, digest) for each, digest in found if digest is not None]
    other = [(m.name, method) for (m, method, clip), digest in done if digest != alone[m.name, method, clip.sha256]]
    pairs = {(model.name, method) for (model, method, _), _ in done}
    print(
        f"{len(done)} explanations by {chosen.sessions} sessions at once: {len(pairs)} pairs of "
        f"{len({model for model, _ in pairs})} models and {len({method for _, method in pairs})} methods, "
        f"{len(sounds)} clips of {chosen.seconds:g} s, torch on {torch.get_num_threads()} of {os.cpu_count()} cores. "
        f"{len(other)} differ from the same alone. Alone {halfway - begun:.0f} s, at once "
        f"{time.monotonic() - halfway:.0f} s."
    )
    for model_name, method in sorted(set(other)):
        print(f"differs: {model_name}, {method}, {other.count((model_name, method))} times")
    workers.shut_down()
    if other or len(done) < chosen.explanations:
        raise SystemExit(1)


def clips(seconds: float, most: int = 4) -> list[Recording]:
    """Return the first seconds of some bundled samples, from where speech begins."""
    found = []
    for sample in samples()[:most]:
        whole = np.array(read(sample.path).samples)
        start = max(0, int(np.argmax(np.abs(whole) > 0.1 * np.abs(whole).max())) - SAMPLE_RATE // 20)
        found.append(from_samples(whole[start : start + round(seconds * SAMPLE_RATE)], SAMPLE_RATE, sample.name))
    return found


def plan(
    kinds: Sequence[tuple[SpeechModel, str]],
    sounds: Sequence[Recording],
    took: dict[tuple[str, str], float],
    count: int,
) -> list[Asked]:
    """Return what is asked for, in random order: everything once, then the quick ones as often as they are quick."""
    draw = random.Random(0)
    asked = [(*kind, draw.choice(sounds)) for kind in kinds]
    weights = [1 / took[model.name, method] for model, method in kinds]
    asked += [(*kind, draw.choice(sounds)) for kind in draw.choices(kinds, weights, k=max(0, count - len(asked)))]
    draw.shuffle(asked)
    return asked


def outcome(model: SpeechModel, method: str, clip: Recording) -> str:
    """Return a digest of a whole explanation, or of the sentence that says why there is none."""
    try:
        return digest(explain(clip, model, method))
    except ExplanationError as fault:
        return str(fault)


def digest(found: Any) -> str:
    """Return a digest of everything that an explanation holds, but for how long it took."""
    hashed = hashlib.sha256()
    for part in _parts(found):
        hashed.update(part)
    return hashed.hexdigest()


def _parts(found: Any) -> list[bytes]:
    if isinstance(found, np.ndarray):
        return [repr((found.dtype.str, found.shape)).encode(), np.ascontiguousarray(found).tobytes()]
    if dataclasses.is_dataclass(found):
        names = [field.name for field in dataclasses.fields(found) if field.name != "seconds"]
        return [part for name in names for part in (name.encode(), *_parts(getattr(found, name)))]
    if isinstance(found, dict):
        return [part for name, value in found.items() for part in (repr(name).encode(), *_parts(value))]
    if isinstance(found, (tuple, list)):
        return [repr(len(found)).encode(), *(part for value in found for part in _parts(value))]
    return [repr(found).encode()]


if __name__ == "__main__":
    main()
