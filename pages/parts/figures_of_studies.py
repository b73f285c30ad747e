"""The published systems and the studies as tables and charts."""

import itertools
import math
import re
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from explain.text_files import csv_file, csv_text
from pages.parts.charts import bars, rows_of
from pages.parts.predictions import corpus_title, title_of
from pages.parts.words import hint_of
from ser_core.intended_use import COLUMN, IN_A_CELL
from ser_core.numbers import signed, unsigned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def ten_systems() -> None:
    """Draw the table of published figures beside ours."""
    from ser_core.results import published

    st.subheader("Ten published systems")
    rows, told = "", set()
    for row in published().itertuples():
        paper = "" if row.number in told else f"<br><small>{escape(row.paper)}</small>"
        told.add(row.number)
        theirs = (
            f"{escape(_whole(row.published)) or 'not known to us'}<br><small>{escape(_whole(row.protocol))}</small>"
        )
        ours = (
            f"<strong>{unsigned(row.value, 3)}</strong> [{unsigned(row.low, 3)}, {unsigned(row.high, 3)}]"
            f"<br><small>constant {unsigned(row.baseline, 3)}, chance {unsigned(row.chance, 3)}; "
            f"{escape(row.split)}{_aim(row)}</small>"
            if math.isfinite(row.value)
            else "<span class=none>not measured yet</span>"
        )
        rows += (
            f'<tr><th scope="row">{row.number} {escape(row.system)}{paper}</th>'
            f'<td class="words wide">{escape(row.corpus)}, {escape(row.measure)}</td>'
            f'<td class="words wide">{theirs}</td>'
            f'<td class="words wide">{ours}</td><td class="words wide">{escape(row.differs)}</td>'
            f'<td class="words wide"><code>{escape(row.command)}</code></td></tr>'
        )
    names = ("System", "Corpus, measure", "Published", "Ours [95 %]", "What differs", "Repeat with")
    st.html(rows_of("The ten published systems beside ours", names, rows, names))
    st.caption(
        "System 3 explains answers instead of giving them: its study stands below the others. Corpora, encoders "
        "and splits differ from the papers' where 'what differs' says so, so that most rows cannot be set against each "
        "other."
    )


def _aim(row: "Any") -> str:
    """Return what we set out for, and by how much it was missed; "" where no figure was set."""
    if not math.isfinite(row.aim):
        return ""
    missed = row.aim - row.value
    outcome = f"missed by {unsigned(missed, 3)}" if missed > 0 else "reached"
    return f"<br>aim {unsigned(row.aim, 2)}, {outcome}"


def studies() -> None:
    """Draw one study: its question, its variants with intervals, and the data to take away."""
    from ser_core import noisestudy, session_study, speaker_adaptation_study
    from ser_core.results import read_summary
    from ser_core.studies import STUDIES

    found = read_summary()
    told = {name: (study.title, study.question) for name, study in STUDIES.items()}
    told[noisestudy.TABLE] = noisestudy.TITLE, noisestudy.QUESTION
    told |= speaker_adaptation_study.told() | session_study.told()
    shown = [name for name in told if name in set(found["table"])]
    st.subheader("Studies")
    if not shown:
        st.info("No study has been run yet; 'python -m ser_core study' runs one.")
        return
    name = st.selectbox("Study", shown, format_func=lambda each: told[each][0], key="study")
    st.markdown(told[name][1])
    rows = found[found["table"] == name]
    task, measure = _pick(rows)
    rows = rows[(rows["task"] == task) & (rows["measure"] == measure)]
    if rows["condition"].nunique() > 1:
        alt = f"{measure} of each variant in every condition with its 95 % interval; a condition at a time below"
        st.plotly_chart(by_condition(rows, measure), config=EXPORT, width="stretch", alt=alt)
        st.caption(
            f"How to read it: each line is one variant, its bars the 95 % intervals of {measure} over speakers; the "
            "louder the noise, the further right. The dashed line is a constant answer."
        )
        condition = st.selectbox("Condition", list(dict.fromkeys(rows["condition"])))
        rows = rows[rows["condition"] == condition]
    st.caption(hint_of(measure))
    alt = f"{measure} of each variant with its 95 % interval; the same figures in the table below"
    st.plotly_chart(intervals(rows, measure), config=EXPORT, width="stretch", alt=alt)
    st.caption(
        f"How to read it: each dot is {measure} of one variant over {int(rows['speakers'].max())} speakers; the bar is "
        "its 95 % interval over speakers; the dashed line is a constant answer. The change from the first variant has "
        "an interval of its own, which is narrower, since both answered for the same speakers."
    )
    st.html(_variants(rows, measure))
    st.caption(_how_measured(name, task))
    _when_sure(name, task)
    if name.startswith("lightweight-heads"):
        _costs()
    st.download_button(
        "Take these figures away (CSV)",
        csv_file(csv_text(found[found["table"] == name].assign(**{COLUMN: IN_A_CELL}))),
        f"serscope-{name}.csv",
        "text/csv",
    )


def _when_sure(name: str, task: str) -> None:
    """Draw how often the surest and the least sure answers of a study are right, where that is stored."""
    import pandas as pd

    from ser_core.uncertainty import TABLE

    known = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame({"study": [], "task": []})
    known = known[(known["study"] == name) & (known["task"] == task)]
    if known.empty:
        return
    lines = ""
    for variant, part in known.groupby("variant", sort=False):
        cells = "".join(
            f"<td><strong>{100 * row.accuracy:.0f} %</strong> [{100 * row.low:.0f}, {100 * row.high:.0f}]</td>"
            for row in part.sort_values("part").itertuples()
        )
        lines += f'<tr><th scope="row">{escape(str(variant))}</th>{cells}</tr>'
    places = ("Surest quarter", "Second", "Third", "Least sure quarter")
    st.html(rows_of("Does it know when it does not know?", ("Right answers among the [95 %]", *places), lines))
    st.caption(
        "Clips in four equal parts by the entropy of the answer: a variant that knows when it does not know is right "
        "more often to the left. 'python -m ser_core results' repeats it."
    )


def _costs() -> None:
    """Draw what each encoder costs under each head, where that was measured."""
    import pandas as pd

    from ser_core.results import RESULTS

    path = RESULTS / "heads.csv"
    if not path.exists():
        return
    known = pd.read_csv(path)
    lines = "".join(
        f'<tr><th scope="row">{escape(row.encoder.removeprefix("whisper-"))}, {escape(row.head)}</th>'
        f"<td>{row.size_mb:.1f} MB</td><td>{row.cpu_p50_ms:.0f} / {row.cpu_p95_ms:.0f} ms</td>"
        f"<td>{row.wall_p50_ms:.0f} / {row.wall_p95_ms:.0f} ms</td></tr>"
        for row in known.itertuples()
    )
    names = ("Encoder, head", "Whole size", "Computing, median / 95th percentile", "Waiting, median / 95th percentile")
    st.html(rows_of("What they cost: a clip of 3 s on one thread", names, lines))
    st.caption(f"On {known['machine'].iloc[0]}. 'python -m benchmarks.heads_speed' repeats it.")


def _how_measured(name: str, task: str) -> str:
    """Return how a study's clips were parted, and the command that repeats it."""
    from ser_core import session_study
    from ser_core.noisestudy import TABLE
    from ser_core.studies import STUDIES
    from ser_core.tasks import TASKS

    if name == TABLE:
        parted = (
            f"Out of fold over {TASKS['crema_d'].folds} parts of the actors"
            if task == "crema_d"
            else "Answered by the network of fold 0, which never heard this corpus"
        )
        return f"{parted}. 'python -m ser_core noise --corpus CREMA-D --noise ESC-10 --other …' repeats it."
    again = f"--corpus {TASKS[task].title if task in TASKS else task}' repeats it."
    if name in session_study.told():
        return (
            "Made-up sessions of five minutes, in each of which two speakers take turns with their clips in all moods; "
            "none of them taught the model. A stretch counts where one clip has nine tenths of its speech. "
            f"'python -m ser_core session-adaptation {again}"
        )
    if name not in STUDIES:
        return (
            "Out of fold over parts of the speakers; the other clips are those of the same test speaker, drawn with a "
            "fixed seed, as many as there are. How strongly the zero moves was chosen on two of five folds of CREMA-D "
            f"with Whisper tiny.en. 'python -m ser_core speaker-adaptation {again}"
        )
    dealt = (
        "clips, so that speakers stand on both sides" if STUDIES[name].by_clip else "speakers, each on one side only"
    )
    command = f"python -m ser_core study {name} --corpus {TASKS[task].title}"
    return f"Out of fold; dealt to {TASKS[task].folds} folds were {dealt}. '{command}' repeats it."


def salient_cues() -> None:
    """Draw system 3's study: how often the cues in salient regions move as experts expect, against chance."""
    from explain.attribution import method_label
    from explain.study import STORED_WITH, read_summary

    st.subheader("What the salient regions hold (system 3)")
    found = read_summary()
    if found.empty:
        st.info("The study has not been run yet; 'python -m explain study' runs it.")
        return
    st.markdown(
        "Of the cues that experts expect to move with the predicted emotion: how often do they, inside the salient "
        "regions? The same regions, shifted along the speech of the clip, say how often that happens anyway. An excess "
        "near zero means: the regions are no more typical of the emotion than the rest of the clip."
    )
    runs = found[["model", "method", "corpus"]].drop_duplicates()
    names = [f"{title_of(r.model)}, {method_label(r.method)}, {corpus_title(r.corpus)}" for r in runs.itertuples()]
    left, right = st.columns(2)
    run = runs.iloc[names.index(left.selectbox("Model, method, corpus", names))]
    rows = found[(found[["model", "method", "corpus"]] == run).all(axis=1)]
    emotions = ["all", *sorted(set(rows["predicted"]) - {"all"})]
    emotion = right.selectbox("Predicted emotion", emotions, format_func=lambda e: "all emotions" if e == "all" else e)
    rows = rows[rows["predicted"] == emotion]
    lines = "".join(
        f'<tr><th scope="row">{escape(cue_title(row.cue))}</th><td class="words">{row.answer}</td>'
        f"<td>{100 * row.agrees:.0f} %</td><td>{100 * row.chance:.0f} %</td>"
        f"<td><strong>{signed(100 * row.excess, 1)}</strong> "
        f"[{signed(100 * row.low, 1)}, {signed(100 * row.high, 1)}]</td>"
        f"<td>{row.clips}</td><td>{row.speakers}</td></tr>"
        for row in rows.itertuples()
    )
    columns = ("Cue", "Answer", "As expected", "By chance", "Excess, points [95 %]", "Clips", "Speakers")
    st.html(rows_of("Cues in salient regions", columns, lines, ("Answer",)))
    st.caption(
        "How to read it: right and wrong are the model's answers, of speakers whom it never heard; square brackets "
        "hold the 95 % interval over speakers. They are not corrected for the number of rows: one row in twenty leaves "
        f"out 0 by luck alone. {STORED_WITH} 'python -m explain study' repeats it."
    )
    data = csv_file(csv_text(found.assign(**{COLUMN: IN_A_CELL})))
    st.download_button("Take this study away (CSV)", data, "serscope-salient-cues.csv", "text/csv")


def cue_title(name: str) -> str:
    """Return the experts' cue in words."""
    from explain.cues import cue
    from explain.expert import OURS

    return "All cues" if name == "all" else cue(OURS.get(name, name)).title if name in OURS else name.replace("_", " ")


EXPORT = {"toImageButtonOptions": {"format": "svg", "filename": "serscope"}, "displaylogo": False}
"""Plotly's own download button gives a vector figure."""


def intervals(rows: "pd.DataFrame", measure: str) -> "go.Figure":
    """Return dots with intervals, one a variant, and the constant baseline."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Scatter(
            x=rows["value"],
            y=rows["variant"],
            error_x=bars(rows["value"], rows["low"], rows["high"], scale=1),
            mode="markers",
            marker={"size": 10, "color": "#2a8f97"},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    baseline = rows["baseline"].mean()
    if math.isfinite(baseline):
        figure.add_vline(
            x=baseline,
            line_dash="dash",
            line_color="#8a97a0",
            annotation_text="constant answer",
            annotation_position="top right",
            annotation_yshift=14,
        )
    figure.update_yaxes(autorange="reversed", title=None)
    figure.update_xaxes(title=measure)
    figure.update_layout(height=110 + 34 * len(rows), margin={"l": 10, "r": 20, "t": 30, "b": 40}, showlegend=False)
    return figure


def by_condition(rows: "pd.DataFrame", measure: str) -> "go.Figure":
    """Return a line for each variant over all conditions, those of one noise side by side."""
    import plotly.graph_objects as go

    figure = go.Figure()
    styles = zip(("#2a8f97", "#e08214", "#8a63a8", "#5b6b75"), ("circle", "square", "diamond", "cross"), strict=True)
    for (colour, symbol), (variant, part) in zip(itertools.cycle(styles), rows.groupby("variant", sort=False)):
        noises = [condition.rpartition(", ")[0] or condition for condition in part["condition"]]
        for noise in dict.fromkeys(noises):
            own = part[[each == noise for each in noises]]
            levels = [
                condition.removeprefix(noise).removeprefix(", ") or "same clips" for condition in own["condition"]
            ]
            figure.add_scatter(
                x=[[noise] * len(own), levels],
                y=own["value"],
                error_y=bars(own["value"], own["low"], own["high"], scale=1, thickness=1),
                mode="lines+markers",
                name=escape(variant),
                legendgroup=variant,
                showlegend=noise == noises[0],
                line_color=colour,
                marker={"symbol": symbol, "size": 7},
                hovertemplate=f"{escape(variant)}, %{{x}}: %{{y:.3f}}<extra></extra>",
            )
    baseline = rows["baseline"].mean()
    if math.isfinite(baseline):
        figure.add_hline(y=baseline, line_dash="dash", line_color="#8a97a0")
    figure.update_yaxes(title=measure)
    figure.update_layout(
        height=380,
        margin={"l": 10, "r": 10, "t": 30, "b": 40},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    return figure


def _pick(rows: "pd.DataFrame") -> tuple[str, str]:
    from ser_core.tasks import TASKS

    left, right = st.columns(2)
    tasks = list(dict.fromkeys(rows["task"]))
    task = left.selectbox("Corpus", tasks, format_func=lambda each: TASKS[each].title if each in TASKS else each)
    measures = list(dict.fromkeys(rows.loc[rows["task"] == task, "measure"]))
    return task, right.selectbox("Measure", measures)


def _variants(rows: "pd.DataFrame", measure: str) -> str:
    lines = ""
    staged = "step" in rows and rows["step"].notna().any()
    for row in rows.itertuples():
        value, low, high = (unsigned(each, 3) for each in (row.value, row.low, row.high))
        change, least, most = (signed(each, 3) for each in (row.change, row.change_low, row.change_high))
        steps = ""
        if staged:
            step, below, above = (signed(each, 3) for each in (row.step, row.step_low, row.step_high))
            steps = f"<td>{f'{step} [{below}, {above}]' if math.isfinite(row.step) else step}</td>"
        lines += (
            f'<tr><th scope="row">{escape(row.variant)}</th><td><strong>{value}</strong> [{low}, {high}]</td>'
            f"<td>{f'{change} [{least}, {most}]' if math.isfinite(row.change) else change}</td>{steps}"
            f"<td>{unsigned(row.baseline, 3)}</td><td>{unsigned(row.chance, 3)}</td><td>{row.seeds}</td>"
            f"<td>{row.clips}</td></tr>"
        )
    steps = ("Change from the one before",) if staged else ()
    names = ("Variant", f"{measure} [95 %]", "Change from the first", *steps, "Constant", "Chance", "Seeds", "Clips")
    return rows_of(f"{measure} of every variant", names, lines)


def _whole(text: str) -> str:
    """Return text with a 0 before figures that a paper starts with the point."""
    return re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)
