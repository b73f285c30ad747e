"""What a model costs and what it gives, as charts and tables."""

import math
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts.cards import size
from pages.parts.charts import COLOURS, GREY, SYMBOLS, Rows, layout
from pages.parts.predictions import corpus_title
from pages.parts.words import measure as with_hint
from ser_core.numbers import signed, unsigned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from pages.parts.predictions import Chosen
    from ser_core.metrics import Interval

MEASURES = ("UAR", "KL", "cosine", "mean CCC")
LOWER = frozenset({"KL"})
"""Measures of which less is better."""
NEEDED = {
    "UAR": "probabilities",
    **dict.fromkeys(("KL", "cosine"), "probabilities and listeners' shares (share_anger …)"),
    "mean CCC": "valence, arousal and dominance, predicted (d_valence …) and rated (t_valence …)",
}
"""What a table must have for each."""
OWN = "your own"
CHANGE = ("change", "change_low", "change_high")
TIMES = ("cpu_p50_ms", "cpu_p95_ms", "wall_p50_ms", "machine")
AXIS = {"UAR": "UAR, per cent", "KL": "KL, nats, lower is better"}
UNITS = {"cpu_p50_ms": "ms", "size_mb": "MB"}
AXES = {"cpu_p50_ms": "time for a clip of 3 s (ms, one thread)", "size_mb": "size with its encoder (MB)"}


def costs() -> "pd.DataFrame":
    """Return one row a model and kind of weights: title, corpus, measure, value, low, high, baseline, size, times.

    An int8 copy has the figures of its own stored answers, and their change from the same network's in float. Times are
    missing where the benchmark has not been run.
    """
    import pandas as pd

    from ser_core.registry import cards, model_folders
    from ser_core.results import RESULTS, read_summary
    from ser_core.tasks import TASKS

    path = RESULTS / "latency.csv"
    times = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["model", "weights", "size_mb"])
    times = times.drop(columns="size_mb")
    summary = read_summary()
    corpora = {task.title: name for name, task in TASKS.items()}
    rows = []
    for card in cards():
        if not card.figures or not card.corpora:
            continue
        first = card.figures[0]
        facts = {"model": card.name, "title": card.title, "corpus": corpora.get(card.corpora[0], card.corpora[0])}
        figure = {"value": first.value, "low": first.low, "high": first.high, "baseline": first.baseline}
        rows.append(facts | {"weights": "float", "measure": first.measure, **figure, "size_mb": card.size_mb})
        int8 = summary[
            (summary["table"] == f"{card.name}-int8")
            & (summary["variant"] == "int8")
            & (summary["measure"] == first.measure)
        ]
        for row in int8.to_dict("records"):
            device = model_folders()[card.name] / "int8.onnx"
            mb = device.stat().st_size / 1e6 if device.exists() else math.nan
            named = {"title": f"{card.title}, int8", "weights": "int8", "measure": first.measure, "size_mb": mb}
            rows.append(facts | named | {name: row[name] for name in (*figure, *CHANGE)})
    found = pd.DataFrame(rows).merge(times, on=["model", "weights"], how="left")
    return found.reindex(columns=[*found.columns, *(name for name in (*TIMES, *CHANGE) if name not in found)])


def by_measure(found: "pd.DataFrame", measure: str) -> "pd.DataFrame":
    """Return the models of :func:`costs` with another measure, from their stored answers about unheard speakers.

    Args:
        found: of :func:`costs`.
        measure: of ``MEASURES``. KL and cosine are set against listeners' shares, mean CCC against raters' values; both
            are of the networks in float only.

    Returns:
        The columns of ``found``; empty where no stored answers can be measured so. The baseline is a constant answer.
    """
    import pandas as pd

    from pages.parts.corpora_charts import evaluated
    from ser_core import evaluation

    if measure == "UAR":
        return found[found["measure"] == "UAR"]
    wanted = ("d_", "t_") if measure == "mean CCC" else ("p_", "share_")
    rows = []
    for (model, corpus), answered in evaluated(evaluation.stored(), *wanted).items():
        known = found[(found["model"] == model) & (found["weights"] == "float")]
        if len(known) and (answered["split"] == evaluation.OUT_OF_FOLD).all():
            figure = _kept_figure(model, corpus, str(answered["run"].iloc[0]), measure, answered)
            if figure is not None:
                facts = known.iloc[0].drop(list(CHANGE)).to_dict() | {"corpus": corpus, "measure": measure}
                rows.append(facts | {name: getattr(figure, name) for name in ("value", "low", "high", "baseline")})
    return pd.DataFrame(rows, columns=found.columns)


@st.cache_data(show_spinner="Measuring the stored answers", max_entries=128)
def _kept_figure(model: str, corpus: str, run: str, measure: str, _rows: "pd.DataFrame") -> "Interval | None":
    return figure_of(_rows, measure)


def figure_of(rows: "pd.DataFrame", measure: str) -> "Interval | None":
    """Return a measure of answers; None where they lack what is ``NEEDED``, or listeners were of one mind."""
    from pages.parts import mixed_charts
    from pages.parts.dimension_charts import points_of
    from ser_core import metrics
    from ser_core.distributions import evaluate_distributions
    from ser_core.speakers import answers_of, emotions_of
    from ser_core.sphere import DIMENSIONS

    if measure == "mean CCC":
        needed = [f"{kind}_{name}" for kind in "dt" for name in DIMENSIONS]
        rated = rows.dropna(subset=needed) if set(needed) <= set(rows) else rows[:0]
        if len(rated) < 2:
            return None
        return metrics.mean_concordance(points_of(rated, "t_"), points_of(rated, "d_"), rated["speaker"].tolist())
    emotions = emotions_of(rows)
    if not emotions:
        return None
    if measure == "UAR":
        truth, answered, speakers = (each.tolist() for each in (rows["emotion"], answers_of(rows), rows["speaker"]))
        return metrics.evaluate(truth, answered, speakers, emotions)["UAR"]
    if not any(str(name).startswith("share_") for name in rows) or not mixed_charts.judged_by_several(rows):
        return None
    labels = mixed_charts.shared_labels(rows)
    heard = mixed_charts.heard_rows(rows, labels)
    return evaluate_distributions(*mixed_charts.both(heard, labels), heard["speaker"].tolist())[measure]


def of_own(
    chosen: "Chosen", figure: "Interval", measure: str, corpus: str, size_mb: float | None, ms: float | None
) -> "pd.DataFrame":
    """Return the row of a reader's own table: its figure, and the costs that the reader states.

    Args:
        chosen: the table.
        figure: of :func:`figure_of`.
        measure: that it is of.
        corpus: that it is drawn with.
        size_mb: of the model.
        ms: for a clip of 3 s.
    """
    import pandas as pd

    model = str(chosen.rows["model"].iloc[0])
    facts = {"model": model, "title": f"{chosen.title} (yours)", "corpus": corpus, "weights": OWN, "measure": measure}
    found = {name: getattr(figure, name) for name in ("value", "low", "high", "baseline")}
    return pd.DataFrame([facts | found | {"size_mb": size_mb or math.nan, "cpu_p50_ms": ms or math.nan}])


def answers(model: str, weights: str, corpus: str) -> "pd.DataFrame | None":
    """Return the stored answers of a model, or of its copy in int8, to a corpus; None where there are none."""
    import pandas as pd

    from ser_core import evaluation

    if weights == "int8":
        path = evaluation.RESULTS / f"{model}-int8.{corpus}.parquet"
        if not path.exists():
            return None
        rows = pd.read_parquet(path)
        return rows[rows["variant"] == "int8"].assign(corpus=corpus, model=model).reset_index(drop=True)
    stored = next((each for each in evaluation.stored() if (each.model, each.corpus) == (model, corpus)), None)
    return None if stored is None else evaluation.read_stored(stored.path)


def front(rows: "pd.DataFrame", cost: str, measure: str = "UAR") -> "pd.DataFrame":
    """Return the models that no other beats at lower or equal cost, cheapest first."""
    known = rows.dropna(subset=[cost])
    ordered = known.assign(_good=(-1 if measure in LOWER else 1) * known["value"])
    ordered = ordered.sort_values([cost, "_good"], ascending=[True, False])
    best = ordered["_good"] > ordered["_good"].cummax().shift(fill_value=-math.inf)
    return ordered[best].drop(columns="_good")


def written(measure: str, value: float) -> str:
    """Return a figure in the unit of its measure: UAR in per cent, all others as they are."""
    return f"{100 * value:.1f} %" if measure == "UAR" else unsigned(value, 3)


def scatter(rows: "pd.DataFrame", cost: str, measure: str) -> "go.Figure":
    """Return what models cost (across, logarithmic) against their figure, with the line of those worth their cost."""
    import plotly.graph_objects as go

    known = rows.dropna(subset=[cost]).sort_values("value", ascending=measure in LOWER)
    best = front(known, cost, measure)
    scale = 100 if measure == "UAR" else 1
    unit = UNITS[cost]
    figure = go.Figure(
        go.Scatter(
            x=best[cost],
            y=scale * best["value"],
            mode="lines",
            line={"color": GREY, "dash": "dot", "shape": "hv"},
            name="no cheaper one is better",
            hoverinfo="skip",
        )
    )
    for place, row in enumerate(known.itertuples()):
        figure.add_scatter(
            x=[getattr(row, cost)],
            y=[scale * row.value],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [scale * (row.high - row.value)],
                "arrayminus": [scale * (row.value - row.low)],
                "thickness": 1.4,
                "width": 0,
            },
            mode="markers",
            name=escape(row.title),
            marker={
                "size": 12,
                "color": COLOURS[place % len(COLOURS)],
                "symbol": SYMBOLS[place // len(COLOURS) * 4 % len(SYMBOLS)]
                + ("-open" if row.weights == "int8" else ""),
                "line": {"width": 2, "color": COLOURS[place % len(COLOURS)]},
            },
            customdata=[[row.model, row.weights]],
            text=[
                f"{escape(row.title)}<br>{measure} {written(measure, row.value)} "
                f"[{written(measure, row.low)}, {written(measure, row.high)}]"
            ],
            hovertemplate=f"%{{text}}<br>%{{x:.3g}} {unit}<extra></extra>",
        )
    figure.update_xaxes(type="log", title=AXES[cost], dtick=1)
    for baseline in sorted(set((scale * known["baseline"]).round(3))):
        figure.add_hline(y=baseline, line_dash="dash", line_width=1, line_color=GREY)
    figure.update_yaxes(title=AXIS.get(measure, f"{measure}, higher is better"))
    layout(figure, 680)
    figure.update_layout(legend={"y": -0.14, "yanchor": "top"})  # as many lines as a narrow screen needs
    return figure


def in_words(rows: "pd.DataFrame", cost: str, measure: str = "UAR") -> str:
    """Return which models are worth their cost, and the constant answer, in words."""
    best = front(rows, cost, measure)
    said = [
        f"{row.title} ({written(measure, row.value)} at {getattr(row, cost):.3g} {UNITS[cost]})"
        for row in best.itertuples()
    ]
    constant = " and ".join(dict.fromkeys(written(measure, value) for value in rows["baseline"]))
    if not said:
        return "No costs are known."
    return f"By value alone, no cheaper model is better than: {'; '.join(said)}. A constant answer has {constant}."


def costs_in_words(rows: "pd.DataFrame") -> str:
    """Return the smallest and the largest model, and the quickest and the slowest where times are known."""
    said = []
    for column, unit, most, least in (
        ("size_mb", "MB", "largest", "smallest"),
        (TIMES[0], "ms", "slowest", "quickest"),
    ):
        known = rows.dropna(subset=[column])
        if len(known):
            low, high = known.loc[known[column].idxmin()], known.loc[known[column].idxmax()]
            said.append(
                f"{least} is {low['title']} ({low[column]:.3g} {unit}), "
                f"{most} {high['title']} ({high[column]:.3g} {unit})"
            )
    return f"Of {rows['model'].nunique()} models, {'; '.join(said)}."


def table(rows: "pd.DataFrame") -> Rows:
    """Return every model with its figure, size and times."""
    lines = ""
    for row in rows.itertuples():
        value, low, high, base = (written(row.measure, v) for v in (row.value, row.low, row.high, row.baseline))
        known = not math.isnan(row.cpu_p50_ms)
        times = f"<td>{row.cpu_p50_ms:.1f}</td><td>{row.cpu_p95_ms:.1f}</td><td>{row.wall_p50_ms:.1f}</td>"
        lines += (
            f'<tr><th scope="row">{escape(row.title)}</th><td class="words">{escape(corpus_title(row.corpus))}</td>'
            f'<td class="words">{with_hint(row.measure)}</td><td><strong>{value}</strong> [{low}, {high}]</td>'
            f"<td>{base}</td><td>{size(row.size_mb) if row.size_mb == row.size_mb else '–'}</td>"
            + (times if known else "<td>–</td>" * 3)
            + "</tr>"
        )
    names = (
        "Model",
        "Corpus",
        "Measure",
        "Value [95 %]",
        "Constant",
        "Size",
        "Computing, ms",
        "95th percentile",
        "Waiting, ms",
    )
    return Rows(names, lines, ("Corpus", "Measure"), tuple(dict.fromkeys(rows["measure"])))


def int8_words(rows: "pd.DataFrame") -> str:
    """Return what the int8 copies cost in accuracy and save, in words; "" where there is none."""
    said = []
    for _, part in rows.groupby("model"):
        by = part.set_index("weights")
        if {"float", "int8"} <= set(by.index):
            whole, small = by.loc["float"], by.loc["int8"]
            saved = f"; {size(whole['size_mb'])} → {size(small['size_mb'])}" if small["size_mb"] > 0 else ""
            faster = ""
            if small["cpu_p50_ms"] > 0:
                faster = f", {whole['cpu_p50_ms']:.1f} → {small['cpu_p50_ms']:.1f} ms"
            change, low, high = (signed(100 * small[name], 2) for name in CHANGE)
            said.append(
                f"{whole['title']}: {whole['measure']} {100 * small['value']:.1f} %, {change} points [{low}, {high}] "
                f"from the same network in float{saved}{faster}"
            )
    return "; ".join(said)
