"""The study of the trust tests over many clips: how often each model's explanations pass, by each method."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from explain.text_files import csv_file, csv_text
from pages.parts.charts import rows_of
from pages.parts.predictions import title_of
from ser_core.intended_use import COLUMN, IN_A_CELL
from ser_core.numbers import percent, unsigned

if TYPE_CHECKING:
    import pandas as pd

AGREEMENT = "agreement with "


def show() -> None:
    """Draw how often explanations pass the tests of trust: each model's best method, and one model's methods."""
    from explain.method_choice import OWN, read_summary
    from ser_core.registry import model_names

    st.subheader("Which explanations can be trusted")
    found = read_summary()
    if found.empty:
        st.info("The study has not been run yet; 'python -m explain trust-study' runs it.")
        return
    st.markdown(
        "Explanations of held-out clips were put to the tests of the page *Explain*: take the salient parts away, "
        "leave them alone, destroy the model. How many pass all three? The maps of destroyed models, whose weights "
        "were shuffled, say how many pass the first two without knowing anything."
    )
    st.html(of_models(found))
    st.caption(
        f"How to read it: up to {int(found['clips'].max())} clips of {int(found['speakers'].max())} speakers whom the "
        "models never heard; square brackets hold the 95 % interval over speakers. The method that passes most was "
        "chosen on these same clips, which flatters it a little. Where most maps do not pass, take a map as a hint "
        "and look at its own tests. 'python -m explain trust-study' repeats it."
    )
    tested = set(found["model"])
    names = [name for name in model_names() if name in tested]
    model = st.selectbox("Every method of one model", names, format_func=title_of, key="tested")
    rows = found[found["model"] == model]
    st.html(of_methods(rows))
    offered = _offered(model)
    missing = [label for name, label in offered if name not in set(rows["method"])]
    st.caption(
        "Share of the clips whose explanation passes; below it, in small figures, the same of the maps of the model "
        "with shuffled weights, which are put to deletion and insertion alone (in the first column both). Seconds are "
        "those of one processor for a clip, the tests included."
        + (f" Not tested yet: {', '.join(missing)}." if missing else "")
    )
    further = further_tests(rows[rows["map"] == OWN])
    done = set(rows.loc[rows["test"] == "infidelity", "method"])
    missing = [label for name, label in offered if name not in done]
    if further:
        st.html(further)
        st.caption(
            "Foretells removals (infidelity): the map says what random boxes do to the answer better than when it is "
            "turned in time. Noise (sensitivity), shift, re-encoding: changes that nobody hears leave the map alike. "
            "Agreement: other methods find the same parts. Weak, in small figures: better than 80 % "
            "of chance maps, but not than 95 %, which a map of few places in time cannot be. "
            "'python -m explain trust-study --further' repeats it."
            + (f" Not put to these tests yet: {', '.join(missing)}." if missing else "")
        )
    else:
        st.caption("The further tests (infidelity, sensitivity, stability, agreement) have not been run for it yet.")
    data = csv_file(csv_text(found.assign(**{COLUMN: IN_A_CELL})))
    st.download_button("Take this study away (CSV)", data, "serscope-trust.csv", "text/csv")


@st.cache_data(show_spinner="Looking up its methods")
def _offered(model: str) -> list[tuple[str, str]]:
    """Return name and label of every method that fits a model."""
    from explain.attribution import methods_for
    from ser_core.registry import load_model

    return [(method.name, method.label) for method in methods_for(load_model(model))]


def of_models(found: "pd.DataFrame") -> str:
    """Return a table of each model's best method, its share, and that of its destroyed copy."""
    from explain.attribution import method_label
    from explain.method_choice import DESTROYED, passing_all
    from explain.words import listed
    from ser_core.registry import model_names

    lines = ""
    for model in model_names():
        own = passing_all(found, model).sort_values("percent", ascending=False, kind="stable")
        cells = '<td class="words">not tested yet</td><td>–</td><td>–</td><td>–</td>'
        if len(own):
            best = own.iloc[0]
            alike = [method_label(name) for name in own.loc[own["percent"] == best["percent"], "method"]]
            broken = passing_all(found, model, DESTROYED).set_index("method")["holds"].get(best["method"], float("nan"))
            cells = (
                f'<td class="words">{escape(listed(alike))}</td><td>{_share(best)}</td>'
                f"<td>{percent(broken)}</td><td>{best['clips']}</td>"
            )
        lines += f'<tr><th scope="row">{escape(title_of(model))}</th>{cells}</tr>'
    names = ("Model", "Method that passes most", "Pass all three [95 %]", "Shuffled weights, first two", "Clips")
    return rows_of("Explanations that pass all three tests of faithfulness", names, lines, names[1:2])


def of_methods(rows: "pd.DataFrame") -> str:
    """Return a table of one model's methods by the tests of faithfulness."""
    from explain.attribution import method_label
    from explain.method_choice import ALL, DESTROYED, OWN
    from explain.trust import QUICK

    by = rows.set_index(["method", "map", "test"])
    own = rows[(rows["map"] == OWN) & (rows["test"] == ALL)].sort_values("holds", ascending=False, kind="stable")
    lines = ""
    for each in own.itertuples():
        cells = ""
        for test in (ALL, *QUICK):
            broken = (each.method, DESTROYED, test)
            small = f"<br><small>{percent(by.loc[broken, 'holds'])}</small>" if broken in by.index else ""
            cells += f"<td>{_share(by.loc[each.method, OWN, test])}{small}</td>"
        cells += f"<td>{each.clips}</td><td>{unsigned(each.seconds, 1)}</td>"
        lines += f'<tr><th scope="row">{escape(method_label(each.method))}</th>{cells}</tr>'
    names = ("Method", "All three [95 %]", "Deletion", "Insertion", "Randomised weights", "Clips", "Seconds")
    return rows_of("Methods by the tests of faithfulness", names, lines)


def further_tests(own: "pd.DataFrame") -> str:
    """Return a table of one model's methods by the other tests; empty where none were run."""
    from explain.attribution import method_label
    from explain.method_choice import ALL
    from explain.trust import QUICK

    rest = own[~own["test"].isin((ALL, *QUICK))]
    titles = {
        "infidelity": "Foretells removals",
        "sensitivity": "Noise",
        "stability under a shift": "Shift of 5 ms",
        "stability under re-encoding": "Re-encoding",
    }
    lines = ""
    for method, part in rest.groupby("method", sort=False):
        by = part.set_index("test")
        cells = "".join(f"<td>{_outcome(by.loc[test]) if test in by.index else '–'}</td>" for test in titles)
        agreeing = [
            f"{escape(test.removeprefix(AGREEMENT))} {_outcome(by.loc[test])}"
            for test in by.index
            if test.startswith(AGREEMENT)
        ]
        cells += f'<td class="words">{"<br>".join(agreeing) or "–"}</td><td>{part["clips"].max()}</td>'
        lines += f'<tr><th scope="row">{escape(method_label(str(method)))}</th>{cells}</tr>'
    names = ("Method", *titles.values(), "Agreement", "Clips")
    caption = "Methods by the further tests: share that holds [95 %]"
    return rows_of(caption, names, lines, ("Agreement",)) if lines else ""


def _outcome(row: "pd.Series") -> str:
    """Return the share that holds and, below it, the shares of what is neither held nor failed."""
    words = {"weak": "weak", "undecided": "cannot be decided"}
    small = ", ".join(f"{words[kind]} {percent(row[kind])}" for kind in words if row[kind] > 0)
    return f"{_share(row)}<br><small>{small}</small>" if small else _share(row)


def _share(row: "pd.Series") -> str:
    return f"<strong>{percent(row['holds'])}</strong> [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
