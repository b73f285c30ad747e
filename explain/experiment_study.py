"""Which cue drives a model: the voice experiments over many clips.

Every clip is changed in one cue after another by the doses that the app offers (:mod:`explain.intervention`), and the
model is asked each time. What counts is in how many clips the answer turns into another, how far the probability of the
answer moves, and which emotions gain or lose at the lowest and at the highest dose. The resynthesis alone, at the dose
that changes nothing, is the chance level beside each.

``python -m explain experiment-study --corpus FOLDER`` runs it: one row per clip × model × cue in
``assets/results/experiments.parquet``, their :func:`summary` beside it as CSV. Parts of 20 clips are kept, so a stopped
run goes on. Rows of pitch, formants and tempo that were stored up to 22 November 2026 have doses lowered that would
pass full scale.
"""

import argparse
import functools
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from explain.intervention import EXPERIMENTS, answers, changed, possible_doses
from explain.study_clips import Clip, in_turn
from explain.study_parts import CHUNK, Part, add_run_options, over_clips, run, stored
from ser_core.audio import SAMPLE_RATE, Recording, from_samples, read
from ser_core.errors import command_line
from ser_core.files import write_table
from ser_core.numbers import rounded_percent, signed
from ser_core.parallel import chosen
from ser_core.settings import ASSETS

if TYPE_CHECKING:
    import pandas as pd

    from ser_core.models import SpeechModel

TABLE = ASSETS / "results" / "experiments.parquet"
CLIPS = 114
TURNED, MOVED = "answer turned", "answer moved"
BY_RESYNTHESIS = " by the resynthesis alone"
ENDS = ("lowest", "highest")


def clip_rows(clip: Clip, model: "SpeechModel", experiments: Sequence[str]) -> list[dict]:
    """Return one row per cue: what changing it does to the model's answer about a clip.

    Columns: clip, corpus, speaker, sex, emotion, predicted, model, experiment; turned (whether a dose changes the
    answer that the unchanged dose has) and turned_by_resynthesis (whether the unchanged dose has another answer than
    the untouched clip); moved and moved_by_resynthesis (largest change of the probability of the answer, 0 … 1);
    lowest_EMOTION and highest_EMOTION (change of an emotion's probability at that dose against the unchanged one).
    """
    recording = _heard(clip.file)
    before = model.predict(recording)
    rows = []
    for name in experiments:
        experiment, (doses, clips) = EXPERIMENTS[name], _changed(clip.file, name)
        found = answers(model, before, experiment, doses, clips, emotion=before.top)
        unchanged = found.probabilities[int(np.abs(doses - experiment.nothing).argmin())]
        ends = dict(zip(ENDS, (found.probabilities[0], found.probabilities[-1]), strict=True))
        rows.append(
            {
                "clip": Path(clip.file).stem,
                "corpus": clip.corpus,
                "speaker": clip.speaker,
                "sex": clip.sex,
                "emotion": clip.emotion,
                "predicted": before.top,
                "model": model.name,
                "experiment": name,
                "turned": bool((found.probabilities.argmax(1) != unchanged.argmax()).any()),
                "turned_by_resynthesis": model.emotions[int(unchanged.argmax())] != before.top,
                "moved": abs(found.effect),
                "moved_by_resynthesis": abs(found.control_effect),
            }
            | {
                f"{end}_{emotion}": float(shares[place] - unchanged[place])
                for end, shares in ends.items()
                for place, emotion in enumerate(model.emotions)
            }
        )
    return rows


@functools.lru_cache(maxsize=CHUNK)
def _heard(file: str) -> Recording:
    return read(file)


@functools.lru_cache(maxsize=CHUNK * len(EXPERIMENTS))
def _changed(file: str, name: str) -> tuple[np.ndarray, tuple[Recording, ...]]:
    """Return the doses of an experiment and the clip with each; made once for all models."""
    experiment, recording = EXPERIMENTS[name], _heard(file)
    doses = possible_doses(recording.samples, name, experiment.doses)
    made = changed(recording.samples, name, tuple(doses))
    return doses, tuple(from_samples(samples, SAMPLE_RATE, recording.name, max_seconds=math.inf) for samples in made)


def summary(rows: "pd.DataFrame", *, replicates: int = 10_000) -> "pd.DataFrame":
    """Return the means over clips with 95 % intervals over speakers, one figure a row.

    Columns: model, experiment, what, value, low, high, clips, speakers. what is "answer turned" (share of clips) or
    "answer moved" (probability), each also "… by the resynthesis alone", or "lowest: EMOTION" and "highest: EMOTION"
    (change of its probability at that dose).
    """
    import pandas as pd

    from ser_core.metrics import speaker_bootstrap

    names = {"turned": TURNED, "turned_by_resynthesis": TURNED + BY_RESYNTHESIS}
    names |= {"moved": MOVED, "moved_by_resynthesis": MOVED + BY_RESYNTHESIS}
    columns = [str(column) for column in rows.columns]
    names |= {name: name.replace("_", ": ", 1) for name in columns if name.startswith(tuple(f"{e}_" for e in ENDS))}
    found = []
    for (model, experiment), part in rows.groupby(["model", "experiment"], sort=False):
        for column, what in names.items():
            known = part[part[column].notna()]
            if known.empty:
                continue
            sums = known.assign(value=known[column].astype(float), one=1.0).groupby("speaker")[["value", "one"]].sum()
            low, high = speaker_bootstrap(sums.to_numpy(), lambda s: s[..., 0] / s[..., 1], replicates=replicates)
            found.append(
                {
                    "model": model,
                    "experiment": experiment,
                    "what": what,
                    "value": known[column].astype(float).mean(),
                    "low": low,
                    "high": high,
                    "clips": len(known),
                    "speakers": known["speaker"].nunique(),
                }
            )
    return pd.DataFrame(found)


def read_summary(table: Path = TABLE) -> "pd.DataFrame":
    """Return the stored :func:`summary`; empty where the study has not been run."""
    import pandas as pd

    path = table.with_suffix(".csv")
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["model", "experiment", "what", "value"])


def driving_sentence(model: str, found: "pd.DataFrame | None" = None) -> str:
    """Return which cues turn a model's answer most and least often, with figures; empty where that was not measured."""
    found = read_summary() if found is None else found
    of_model = found[found["model"] == model]
    turned = of_model[of_model["what"] == TURNED].sort_values("value", ascending=False, kind="stable")
    if turned.empty:
        return ""
    alone = of_model[of_model["what"] == TURNED + BY_RESYNTHESIS].set_index("experiment")["value"]

    def said(row: "pd.Series") -> str:
        experiment = EXPERIMENTS[row["experiment"]]
        share = f"{rounded_percent(row['value'])} [{rounded_percent(row['low'])}, {rounded_percent(row['high'])}]"
        resynthesis = rounded_percent(alone[row["experiment"]])
        return f"{experiment.title.lower()} ({share}, {span(row['experiment'])}; resynthesis alone {resynthesis})"

    first, *_, last = (row for _, row in turned.iterrows())
    second = turned.iloc[1] if len(turned) > 2 else None
    return (
        f"Over {int(first['clips'])} held-out clips, what turns this model’s answer most often is {said(first)}"
        + (f", then {said(second)}" if second is not None else "")
        + f"; least often {said(last)}."
    )


def span(experiment: str) -> str:
    """Return the doses that were tried, such as "−6 to +6 st" or "×0.70 to ×1.40"."""
    if experiment == "loudness":
        return f"{signed(min(EXPERIMENTS[experiment].doses), 0)} dB to full scale"
    known = EXPERIMENTS[experiment]
    low, high = min(known.doses), max(known.doses)
    if known.unit == "×":
        return f"×{low:.2f} to ×{high:.2f}"
    return f"{signed(low, 0)} to {signed(high, 0)} {known.unit}"


def _rows_of(part: Part) -> tuple[list[dict], list[str]]:
    return over_clips(part, lambda clip, model: clip_rows(clip, model, part.methods))


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and store its rows; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m explain experiment-study", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder of a lossless corpus")
    parser.add_argument("--model", nargs="+", help="models that answer with emotions (default: all that need no text)")
    parser.add_argument("--count", type=int, default=CLIPS, help="clips (default: %(default)s)")
    parser.add_argument("--experiment", nargs="+", choices=list(EXPERIMENTS), help="cues (default: all)")
    add_run_options(parser, TABLE)
    options = parser.parse_args(arguments)
    tell = functools.partial(print, flush=True)
    parts = sorted(_parts(options), key=lambda part: part.start)
    fresh = run(parts, _rows_of, options.runs / "experiments", tell, options.minutes, chosen(options))
    table = summary(stored(fresh, options.out))
    write_table(table.round(4), options.out.with_suffix(".csv"))
    print(table[table["what"] == TURNED].to_string(index=False))
    print(f"written: {options.out}")
    return 0


def _parts(options: argparse.Namespace) -> Iterator[Part]:
    from ser_core.registry import load_model, model_names
    from ser_core.robustness import SLOW

    for name in options.model or model_names():
        card = load_model(name).card
        if card.answer != "emotion" or (not options.model and card.system in SLOW):
            continue
        clips = in_turn(options.corpus.absolute(), card.emotions, options.count)
        for start in range(0, len(clips), CHUNK):
            yield Part(name, tuple(options.experiment or EXPERIMENTS), tuple(clips[start : start + CHUNK]), start)


if __name__ == "__main__":
    sys.exit(main())
