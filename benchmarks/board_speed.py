"""Times what a reader of the dashboards waits for after a changed choice: ``python -m benchmarks.board_speed``.

Each page is run without a browser; own predictions are 100,000 made-up ones, of 100 speakers and of 1,000, all else is
stored. The first run is not counted, as it also imports and reads; each change is made once, so that nothing of it is
kept yet.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from streamlit.testing.v1 import AppTest

import explain.board_report  # noqa: F401  (a page of that name would be imported in its place)
from pages.parts.predictions import OWN, Chosen
from ser_core.settings import ROOT

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
PATIENCE_S = 300.0
PREDICTIONS, SPEAKERS = 100_000, (100, 1_000)


def predictions(speakers: int, clips: int, seed: int = 0) -> pd.DataFrame:
    """Return made-up predictions (speakers · clips rows) in the columns of ``ser_core.evaluation``.

    Args:
        speakers: number of them.
        clips: of each.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    who, truth = np.repeat(np.arange(speakers), clips), random.integers(0, len(EMOTIONS), speakers * clips)
    sureness = random.normal(0, 1, (len(who), len(EMOTIONS)))
    sureness[np.arange(len(who)), truth] += random.normal(1.5, 0.5, speakers)[who]
    chances = np.exp(sureness)
    chances /= chances.sum(axis=1, keepdims=True)
    facts = {
        "clip": [f"c{number:06d}" for number in range(len(who))],
        "corpus": "yours",
        "speaker": [f"s{number:04d}" for number in who],
        "emotion": np.array(EMOTIONS)[truth],
        "sex": np.array(["female", "male"])[who % 2],
        "age": 20.0 + who % 50,
        "race": None,
        "ethnicity": None,
        "language": "en",
        "model": "yours",
        "split": "own",
        "run": "1",
    }
    return pd.DataFrame(facts | {f"p_{name}": chances[:, place] for place, name in enumerate(EMOTIONS)})


def page(name: str, what: str = "first run", **state: object) -> AppTest:
    """Return a page with this state, run once."""
    opened = AppTest.from_file(ROOT / "pages" / f"{name}.py", default_timeout=PATIENCE_S)
    for key, value in state.items():
        opened.session_state[key] = value
    timed(f"{name}: {what}", opened, lambda: None)
    return opened


def timed(what: str, opened: AppTest, change: Callable[[], object]) -> None:
    """Make a change, run the page, print the seconds that it took by the clock, and of the processor."""
    change()
    begun, busy = time.perf_counter(), time.process_time()
    opened.run()
    took, busy = time.perf_counter() - begun, time.process_time() - busy
    fault = f", FAULT: {opened.exception[0].message}" if opened.exception else ""
    print(f"{what:<60}{took:6.2f} s, processor {busy:6.2f} s{fault}", flush=True)


def other(field: object) -> Callable[[], object]:
    """Return the change of a select box to another of its options."""
    return lambda: field.select_index((field.index + 1) % len(field.options))  # type: ignore[attr-defined]


def crosscorpus() -> None:
    """Time Cross-corpus: another system, normalising, other labels, the bundled models."""
    opened = page("crosscorpus")
    timed("crosscorpus: another system", opened, other(opened.selectbox(key="cross-system")))
    timed("crosscorpus: each speaker normalised", opened, lambda: opened.toggle(key="cross-normalised").set_value(True))
    merged = {"edited_rows": {0: {"counts as": "sadness"}}, "added_rows": [], "deleted_rows": []}
    timed("crosscorpus: other labels", opened, lambda: _state(opened, "mapping-trained", merged))
    opened = page("crosscorpus", **{"cross-what": "Bundled models"})
    timed("crosscorpus, bundled models: loss instead of UAR", opened, lambda: _state(opened, "cross-measure", "gap"))
    merged = {"edited_rows": {0: {"counts as": "disgust"}}, "added_rows": [], "deleted_rows": []}
    timed("crosscorpus, bundled models: other labels", opened, lambda: _state(opened, "mapping-models", merged))


def fairness() -> None:
    """Time Fairness over the reader's own predictions: other groups, reference, measures."""
    for count in SPEAKERS:
        name = f"fairness, {count:,} speakers"
        opened = page("fairness", f"{count:,} speakers, first run", **_own(count))
        timed(f"{name}: other groups", opened, other(opened.selectbox(key="fairness-attribute")))
        field = next(each for each in opened.selectbox if str(each.key).startswith("fairness-reference"))
        timed(f"{name}: another reference group", opened, other(field))
        picked = next(each for each in opened.multiselect if str(each.key).startswith("fairness-measures"))
        timed(f"{name}: one measure fewer", opened, lambda picked=picked: picked.set_value(picked.value[:-1]))


def speakers() -> None:
    """Time Speakers over the reader's own predictions: another measure, another speaker."""
    for count in SPEAKERS:
        name = f"speakers, {count:,} of them"
        opened = page("speakers", f"{count:,} of them, first run", **_own(count))
        for _ in range(2):
            field = next(each for each in opened.selectbox if str(each.key).startswith("speakers-measure"))
            timed(f"{name}: another measure than {field.value}", opened, other(field))
        timed(f"{name}: another speaker", opened, other(opened.selectbox(key="speakers-one")))


def others() -> None:
    """Time the pages of stored answers alone."""
    opened = page("robustness")
    timed("robustness: another measure", opened, lambda: _state(opened, "robustness-measure-True", "flips"))
    timed("robustness: a model fewer", opened, lambda: _fewer(opened, "robustness-models"))
    for name, model in (("mixed", "whisper-tiny-statistics"), ("dimensions", "emosphere-emotale")):
        page(name)
        page(name, "another model or speech", **{f"{name}-model": (model, "crema_d")})
    opened = page("efficiency")
    timed("efficiency: another corpus", opened, other(opened.selectbox(key="efficiency-corpus")))


def main(wanted: Sequence[str] = ()) -> None:
    """Print the seconds of every change, or of those of the pages that are named."""
    logging.disable(logging.ERROR)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores; load {load}")
    for part in (crosscorpus, fairness, speakers, others):
        if not wanted or part.__name__ in wanted:
            part()


def _own(count: int) -> dict[str, object]:
    rows = predictions(count, PREDICTIONS // count)
    return {"own predictions": Chosen("made up", rows, f"made up {count}"), "predictions-source": OWN}


def _state(opened: AppTest, key: str, value: object) -> None:
    opened.session_state[key] = value


def _fewer(opened: AppTest, start: str) -> None:
    field = next(each for each in opened.multiselect if str(each.key).startswith(start))
    field.set_value(field.value[:-1])


if __name__ == "__main__":
    main(sys.argv[1:])
