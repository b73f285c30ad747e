"""The study of voice experiments over many clips: which cue drives which model, and towards which emotion."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from explain.text_files import csv_file, csv_text
from pages.parts.cards import table
from pages.parts.predictions import title_of
from ser_core.intended_use import COLUMN, IN_A_CELL
from ser_core.numbers import percent, signed, unsigned

if TYPE_CHECKING:
    import pandas as pd


def show() -> None:
    """Draw in how many clips each cue turns each model's answer, and where one model's answers go."""
    from explain.experiment_study import read_summary

    st.subheader("Which cue drives a model")
    found = read_summary()
    if found.empty:
        st.info("The study has not been run yet; 'python -m explain experiment-study' runs it.")
        return
    st.markdown(
        "One cue of each clip was changed by several doses, as in the voice experiments of the page *Explain*. In how "
        "many clips does some dose turn the answer into another? Small figures: how often building the clip anew "
        "without any change does so."
    )
    st.html(f'<div class="ss">{of_models(found)}</div>')
    st.caption(
        f"How to read it: over {int(found['clips'].max())} held-out clips of {int(found['speakers'].max())} speakers; "
        "square brackets hold the 95 % interval over speakers. A model that loudness turns decides by how near or how "
        "strongly amplified somebody was recorded. The doses are those of the page; larger ones would turn more."
    )
    names = list(dict.fromkeys(found["model"]))
    model = st.selectbox("Where the answers of one model go", names, format_func=title_of)
    st.html(f'<div class="ss">{of_emotions(found[found["model"] == model])}</div>')
    st.caption(
        "In points of probability against the clip built anew without a change, mean over clips with its 95 % interval "
        "over speakers; bold where that leaves out 0."
    )
    data = csv_file(csv_text(found.assign(**{COLUMN: IN_A_CELL})))
    st.download_button("Take this study away (CSV)", data, "serscope-experiments.csv", "text/csv")


def of_models(found: "pd.DataFrame") -> str:
    """Return a table of models by cues: the share of clips whose answer turns, with its interval."""
    from explain.experiment_study import BY_RESYNTHESIS, TURNED, span
    from explain.intervention import EXPERIMENTS

    by = found.set_index(["model", "experiment", "what"])
    cues = [name for name in EXPERIMENTS if name in set(found["experiment"])]
    lines = ""
    for model in dict.fromkeys(found["model"]):
        cells = ""
        for cue in cues:
            row, alone = by.loc[(model, cue, TURNED)], by.loc[(model, cue, TURNED + BY_RESYNTHESIS), "value"]
            low, high = (unsigned(100 * row[name], 0) for name in ("low", "high"))
            cells += (
                f"<td><strong>{percent(row['value'])}</strong> [{low}, {high}]<br><small>{percent(alone)}</small></td>"
            )
        lines += f'<tr><th scope="row">{escape(title_of(model))}</th>{cells}</tr>'
    head = '<th scope="col">Model</th>' + "".join(
        f'<th scope="col">{EXPERIMENTS[cue].title}<br><small>{span(cue)}</small></th>' for cue in cues
    )
    return table("Share of clips whose answer turns", head, lines)


def of_emotions(found: "pd.DataFrame") -> str:
    """Return a table for one model: how each emotion's probability changes at the ends of each cue, in points."""
    from explain.experiment_study import ENDS
    from explain.intervention import EXPERIMENTS, words_of

    by = found.set_index(["experiment", "what"])
    emotions = list(dict.fromkeys(what.partition(": ")[2] for what in found["what"] if ": " in what))
    lines = ""
    for cue in (name for name in EXPERIMENTS if name in set(found["experiment"])):
        doses = EXPERIMENTS[cue].doses
        for end, dose in zip(ENDS, (min(doses), max(doses)), strict=True):
            cells = ""
            for emotion in emotions:
                row = by.loc[(cue, f"{end}: {emotion}")] if (cue, f"{end}: {emotion}") in by.index else None
                cells += "<td>–</td>" if row is None else f"<td>{_points(row)}</td>"
            lines += f'<tr><th scope="row">{escape(words_of(EXPERIMENTS[cue], dose))}</th>{cells}</tr>'
    head = '<th scope="col">Change</th>' + "".join(f'<th scope="col">{escape(each)}</th>' for each in emotions)
    return table("Change of each probability in points, mean over clips [95 %]", head, lines)


def _points(row: "pd.Series") -> str:
    value, low, high = (signed(100 * row[name], 0) for name in ("value", "low", "high"))
    told = f"<strong>{value}</strong>" if row["low"] > 0 or row["high"] < 0 else value
    return f"{told} [{low}, {high}]"
