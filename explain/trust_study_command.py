"""Command line: ``python -m explain trust-study --corpus FOLDER …``, over clips that the shipped models never heard.

What is run of :mod:`explain.trust_study`, in which order, and where it is stored: a stopped run goes on. Large networks
are occluded together, clip by clip, and so are Shapley values of their boxes: most stand on the same encoder, which
then answers once for all of them.
``--further`` asks for the other tests of :mod:`explain.trust` instead (infidelity, sensitivity, stability, agreement),
which take about eight maps a clip and method, all models of the same methods clip by clip; rows of the tests of
faithfulness stay. The rows, one a clip × model × method × map
× test, are stored in ``assets/results/trust.parquet``, and their summary beside it as CSV. Rows of large networks that
were stored up to 22 November 2026 have their masked clips answered in bfloat16 (the explained clip and its null alike).
Rows of infidelity that were stored up to 23 November let a map pass that foretells the opposite of what happens.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from explain.method_choice import TABLE, candidates, no_shares, read_summary
from explain.study_clips import in_turn
from explain.study_parts import add_run_options
from explain.trust_study import run, summary, take_over
from ser_core.errors import SettingError, command_line
from ser_core.files import write_table
from ser_core.parallel import chosen

if TYPE_CHECKING:
    import pandas as pd

    from ser_core.models import SpeechModel

SCREENED, FINAL = 100, 500
SMALL_NETWORK = 1_000_000
CHEAP = ("input_x_gradient", "saliency", "grad_cam", "deeplift", "lrp", "gradient_shap", "integrated_gradients")
"""Methods that need tens of passes at most, the quicker first; any other needs hundreds."""


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and store its rows; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain trust-study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of a lossless corpus")
    parser.add_argument("--model", nargs="+", help="models, the default first (default: all bundled)")
    parser.add_argument("--method", nargs="+", help="attribution methods (default: all)")
    parser.add_argument("--count", type=int, help=f"clips (default: {SCREENED}, {FINAL} where the default is decided)")
    parser.add_argument(
        "--further", action="store_true", help="infidelity, sensitivity, stability and agreement instead"
    )
    parser.add_argument("--add", action="store_true", help="do only what --out lacks, or has of other weights")
    add_run_options(parser, TABLE)
    options = parser.parse_args(arguments)
    table = _study(options)
    print(table.query("test == 'all'").to_string(index=False))
    print(f"written: {options.out}")
    return 0


def _study(options: argparse.Namespace) -> "pd.DataFrame":
    import pandas as pd

    from ser_core.registry import model_names
    from ser_core.tasks import CREMA_D

    clips = in_turn(options.corpus.absolute(), CREMA_D.emotions, max(FINAL, options.count or 0))
    if options.add and options.out.exists():
        take_over(options.out, clips, options.runs / "trust")
    parts: dict[tuple[str, str], pd.DataFrame] = {}
    started, unfinished = time.perf_counter(), False

    def over() -> bool:
        return options.minutes is not None and time.perf_counter() - started > 60 * options.minutes

    def shares() -> pd.DataFrame:
        return summary(pd.concat(parts.values(), ignore_index=True), replicates=2000) if parts else no_shares()

    plan = _plan(options.model or model_names(), (lambda: read_summary(options.out)) if options.further else shares)
    wanted = (each for each in plan if not options.method or each[1] in options.method)
    for names, methods, count in _together(wanted) if options.further else ((n, (m,), c) for n, m, c in wanted):
        if over():
            break
        rows = run(
            clips[: options.count or count],
            names,
            methods,
            options.runs / "trust",
            lambda words: print(words, flush=True),
            chosen(options),
            further=options.further,
            over=over,
        )
        if rows is None:
            unfinished = True
            print(
                f"stopped in {', '.join(methods)}: the clips done so far are kept in {options.runs / 'trust'}",
                flush=True,
            )
            break
        parts |= {(str(n), str(m)): part for (n, m), part in rows.groupby(["model", "method"], sort=False)}
        found = _stored(parts, options.out, options.further)
    if unfinished and not parts:
        raise SettingError(
            f"The time was over before the first method was done. The clips done so far are kept in "
            f"{options.runs / 'trust'}; the same command goes on from there."
        )
    if not parts:
        raise SettingError("Nothing was run: no method of these models fits --method, or --minutes is too short.")
    return found


def _stored(parts: "dict[tuple[str, str], pd.DataFrame]", out: Path, further: bool = False) -> "pd.DataFrame":
    """Write all rows so far, with those of an earlier run that these do not replace; returns their summary."""
    import pandas as pd

    from explain.trust import QUICK

    rows = pd.concat(parts.values(), ignore_index=True)
    if out.exists():
        earlier = pd.read_parquet(out)
        again = pd.MultiIndex.from_frame(earlier[["model", "method"]]).isin(list(parts))
        again &= earlier["test"].isin(QUICK).to_numpy() != further
        rows = pd.concat([earlier[~again], rows], ignore_index=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(rows, out)
    table = summary(rows)
    write_table(table.round(4), out.with_suffix(".csv"))
    return table


def _plan(models: Sequence[str], shares: Callable[[], "pd.DataFrame"]) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """Yield models, a method and a number of clips in the order of what is wanted first, then of cost.

    The first model's cheap methods are screened; those that may be its best are run in full; then come small networks,
    large ones, and last the methods of hundreds of passes on large ones, all of those models together.
    """
    from explain.attribution import methods_for
    from ser_core.registry import load_model

    later = []
    for name in models:
        model = load_model(name)
        size = _size(model)
        for method in (m.name for m in methods_for(model)):
            cheap = method in CHEAP
            place = CHEAP.index(method) if cheap else len(CHEAP)
            group = 0 if name == models[0] and cheap else 1 if size < SMALL_NETWORK else 2 if cheap else 3
            later.append((group, size if group else 0, models.index(name), place, name, method))
    later.sort()
    first = [item for item in later if item[0] == 0]
    for *_, name, method in first:
        yield (name,), method, SCREENED
    for method in candidates(shares(), models[0]):
        yield (models[0],), method, FINAL
    together: dict[str, list[str]] = {}
    for group, *_, name, method in later[len(first) :]:
        if group < 3:
            yield (name,), method, SCREENED
        else:
            together.setdefault(method, []).append(name)
    for method, names in together.items():
        yield tuple(names), method, SCREENED
    for method in candidates(shares(), models[0]):
        yield (models[0],), method, FINAL


def _together(
    plan: Iterator[tuple[tuple[str, ...], str, int]],
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], int]]:
    """Yield models of the same methods and count as one, so that they share what is asked of a clip and an encoder."""
    methods: dict[tuple[tuple[str, ...], int], tuple[str, ...]] = {}
    for names, method, count in plan:
        methods[names, count] = (*methods.get((names, count), ()), method)
    together: dict[tuple[frozenset[str], int], list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for (names, count), some in methods.items():
        together.setdefault((frozenset(some), count), []).append((names, some))
    for (_, count), parts in together.items():
        yield tuple(name for names, _ in parts for name in names), parts[0][1], count


def _size(model: "SpeechModel") -> int:
    return sum(parameter.numel() for parameter in model.network.parameters())


if __name__ == "__main__":
    sys.exit(main())
