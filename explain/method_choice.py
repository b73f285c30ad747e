"""Which attribution method a model's explanations are offered by first: the one whose maps passed most tests of trust.

The shares are those of :mod:`explain.trust_study`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.settings import ASSETS

if TYPE_CHECKING:
    import pandas as pd

    from explain.attribution import Method

TABLE = ASSETS / "results" / "trust.parquet"
OWN, DESTROYED = "own", "of the destroyed model"
MOST = 0.5
FEWEST = 60
"""Clips of which fewer say too little of a method for it to be chosen, or to be set against others."""
AS_MANY = 0.9
"""This share of the clips of the most tested method is as many; a clip may be left out here and there."""
ALL = "all"


def candidates(shares: "pd.DataFrame", model: str) -> tuple[str, ...]:
    """Return the methods whose share of clips that pass every test may still be a model's largest, best first.

    The upper end of their interval reaches the best method's lower end.
    """
    ranked = passing_all(shares, model).sort_values("percent", ascending=False, kind="stable")
    return tuple(ranked.loc[ranked["high"] >= ranked["low"].iloc[0], "method"]) if len(ranked) else ()


def read_summary(table: Path = TABLE) -> "pd.DataFrame":
    """Return the stored :func:`explain.trust_study.summary`; empty where the study has not been run."""
    import pandas as pd

    path = table.with_suffix(".csv")
    return pd.read_csv(path) if path.exists() else no_shares()


def no_shares() -> "pd.DataFrame":
    """Return the stored summary of a study that has not been run."""
    import pandas as pd

    return pd.DataFrame(columns=["model", "method", "map", "test", "clips", "holds", "low", "high"])


def default_method(model: str, usual: str, shares: "pd.DataFrame | None" = None) -> str | None:
    """Return the method whose maps passed every test in most clips for a model; the ``usual`` one where it is a tie.

    A method that was put to clearly fewer clips than others is chosen only where its interval lies above their shares.
    None where it or the ``usual`` first method was not measured: then there is nothing to set it against.
    """
    measured = passing_all(read_summary() if shares is None else shares, model).set_index("method")
    if usual not in measured.index:
        return None
    often = measured["clips"] >= AS_MANY * measured["clips"].max()
    found = measured.loc[often | (measured["low"] > measured.loc[often, "holds"].max()), "percent"]
    return usual if found.get(usual) == found.max() else str(found.idxmax())


def best_first(model: str, methods: "Sequence[Method]") -> "tuple[Method, ...]":
    """Return a model's methods with the one first whose maps passed every test in most clips, else as they are."""
    first = default_method(model, methods[0].name)
    return tuple(sorted(methods, key=lambda method: method.name != first))


def default_sentence(model: str, usual: str, shares: "pd.DataFrame | None" = None) -> str:
    """Return why that method is offered first, with its figures; empty where that was not measured."""
    from explain.attribution import method_label
    from explain.words import in_percent

    shares = read_summary() if shares is None else shares
    first = default_method(model, usual, shares)
    if first is None:
        return ""
    of_model = passing_all(shares, model)
    best = of_model[of_model["method"] == first].iloc[0]
    others = of_model[of_model["method"] != first].sort_values("percent", ascending=False)
    unsure, others = others[others["percent"] > best["percent"]], others[others["percent"] <= best["percent"]]
    destroyed = passing_all(shares, model, DESTROYED)
    chance = destroyed.loc[destroyed["method"] == first, "holds"]
    said = (
        f"Offered first: {method_label(first)}, whose maps passed all three tests of faithfulness in "
        f"{in_percent(best['holds'])} [{in_percent(best['low'])}, {in_percent(best['high'])}] of "
        f"{best['clips']} held-out clips"
        + (
            f" (of maps of the same network with shuffled weights, {in_percent(chance.iloc[0])} passed the two that "
            f"apply to them, deletion and insertion)"
            if len(chance)
            else ""
        )
    )
    if not len(of_model[of_model["method"] != first]):
        return f"{said}; no other method was tested for this model."
    if len(others):
        second = others.iloc[0]
        more = "more than" if best["percent"] > second["percent"] else "as many as"
        said += (
            f", {more} the next of {len(of_model)} methods tested, {method_label(second['method'])} "
            f"({in_percent(second['holds'])} of {second['clips']})"
        )
    if len(unsure):
        row = unsure.iloc[0]
        said += (
            f". {method_label(row['method'])} passed in {in_percent(row['holds'])} "
            f"[{in_percent(row['low'])}, {in_percent(row['high'])}] of {row['clips']}, too few to tell"
        )
    hint = " Most maps do not pass: take one as a hint, and look at its own tests." if best["holds"] < MOST else ""
    return f"{said}.{hint}"


def passing_all(shares: "pd.DataFrame", model: str, of: str = OWN) -> "pd.DataFrame":
    """Return the rows of a model's methods that say how many maps pass every test of faithfulness that they are put to.

    Those of the destroyed model are put to deletion and insertion alone, as their weights are shuffled already. Of its
    own maps, methods that were put to fewer than ``FEWEST`` clips are left out. ``percent``, which ranks them, is the
    share in whole percents, as it is printed: a clip more of 500 puts no method before another.
    """
    found = shares[(shares["model"] == model) & (shares["map"] == of) & (shares["test"] == ALL)]
    found = found.assign(percent=(100 * found["holds"].astype(float)).round())
    return found if of == DESTROYED else found[found["clips"] >= FEWEST]
