"""How long the trust tests of a 3 s clip take: ``python -m benchmarks.trust_speed [--model …]``.

The quick verdict (deletion, insertion, randomised weights) is aimed at 10 s on two cores; the full panel comes after.
"""

import argparse
import os
import time
from collections.abc import Sequence

from benchmarks.explain_speed import three_seconds
from explain.attribution import attribute, default_target, methods_for
from explain.regions import salient_regions
from explain.trust import trust
from ser_core.registry import load_model, model_names
from ser_core.speech import speech_segments

AIM_S = 10.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=[model_names()[0]], help="default: the first bundled")
    parser.add_argument("--method", nargs="+", help="default: all but occlusion")
    chosen = parser.parse_args(arguments)
    clip = three_seconds()
    print(f"{len(os.sched_getaffinity(0))} cores, load before {os.getloadavg()[0]:.1f}; seconds by the clock")
    print(f"{'model':26} {'method':22} {'quick':>7} {'full':>7}")
    for name in chosen.model:
        model = load_model(name)
        target = default_target(model.predict(clip))
        for method in methods_for(model):
            if method.name not in (chosen.method or [method.name]) or (
                not chosen.method and method.name == "occlusion"
            ):
                continue
            found = attribute(model, clip, target, method.name)
            times = []
            for quick in (True, False):
                begun = time.perf_counter()
                trust(model, clip, found, speech_segments(clip), regions=salient_regions(found), quick=quick)
                times.append(time.perf_counter() - begun)
            print(f"{name:26} {method.name:22} {times[0]:7.1f} {times[1]:7.1f}", flush=True)
            assert times[0] <= AIM_S, f"the quick verdict of {name} by {method.name} took {times[0]:.1f} s"


if __name__ == "__main__":
    main()
