"""Groups of speakers as charts and tables: what is measured, what is a finding, what could have been found."""

import math
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import clips_behind
from pages.parts.charts import COLOURS, GREY, SYMBOLS, Rows, bars, chart, layout, tabled
from pages.parts.predictions import Chosen, kept
from pages.parts.words import measure as with_hint
from pages.parts.words import p_value, plain
from ser_core.numbers import percent, signed, unsigned

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import plotly.graph_objects as go

    from ser_core.group_differences import Evidence

NO_POINTS = ("bias", "salience of")
"""Measures that are no shares start with these words."""


def shown(measure: str, value: float, plus: bool = False) -> str:
    """Return a value in the unit of its measure: shares in per cent, biases as they are."""
    value, decimals = (value, 2) if measure.startswith(NO_POINTS) else (100 * value, 1)
    return signed(value, decimals) if plus else unsigned(value, decimals)


# --- the groups


def headline(table: "pd.DataFrame", reference: str) -> str:
    """Return what is a finding, in words; and that nothing is, where nothing is."""
    tested = int(table["p"].notna().sum())
    findings = table[table["finding"]]
    rule = f"by the permutation test over speakers, corrected for the {tested} comparisons shown"
    if not tested:
        return "Nothing can be tested here: no two groups have enough speakers."
    if findings.empty:
        unseen = "That is not proof of fairness: a gap may be there that so few speakers cannot show."
        return f"No gap is a finding {rule}. {unseen}"
    said = []
    for row in findings.itertuples():
        low, high = (shown(row.measure, v, True) for v in (row.difference_low, row.difference_high))
        unit = "" if row.measure.startswith(NO_POINTS) else " points"
        if row.group == "all":
            said.append(f"{row.measure} {shown(row.measure, row.value)}{unit} (p {p_value(row.p_holm)})")
        else:
            said.append(
                f"{row.measure} of {row.group} against {reference} {shown(row.measure, row.difference, True)}{unit} "
                f"[{low}, {high}] (p {p_value(row.p_holm)})"
            )
    count = "One gap is a finding" if len(said) == 1 else f"{len(said)} gaps are findings"
    more = f"; and {len(said) - 4} more" if len(said) > 4 else ""
    return f"{count} {rule}: {'; '.join(said[:4])}{more}."


def verdict(table: "pd.DataFrame", found: "Evidence", reference: str) -> None:
    """Say what is a finding, and of which groups nothing is to be concluded."""
    st.html(f'<div class="ss"><p class="paragraph" role="status">{escape(headline(table, reference))}</p></div>')
    few = [f"{group} ({found.too_small(group)})" for group in found.groups if found.too_small(group)]
    if few:
        st.caption(
            f"Drawn in grey, and not to be concluded from: {plain('; '.join(few))}. Intervals over so few speakers "
            "come out too narrow."
        )


def groups_chart(table: "pd.DataFrame", found: "Evidence", reference: str) -> "go.Figure":
    """Return one row of dots with intervals for each measure, a colour for each group."""
    import plotly.graph_objects as go

    measures = list(dict.fromkeys(table["measure"]))
    biases = all(measure.startswith(NO_POINTS) for measure in measures)
    scale = 1 if biases else 100
    figure, step = go.Figure(), 0.8 / len(found.groups)
    for place, group in enumerate(found.groups):
        part = table[table["group"] == group]
        small = found.too_small(group)
        colour = GREY if small else COLOURS[place % len(COLOURS)]
        rows = [measures.index(measure) + step * (place - (len(found.groups) - 1) / 2) for measure in part["measure"]]
        told = [
            f"{row.measure}, {escape(group)} ({row.speakers} speakers)<br>{shown(row.measure, row.value)} "
            f"[{shown(row.measure, row.low)}, {shown(row.measure, row.high)}]" + (f"<br>{small}" if small else "")
            for row in part.itertuples()
        ]
        figure.add_trace(
            go.Scatter(
                x=scale * part["value"],
                y=rows,
                error_x=bars(part["value"], part["low"], part["high"], scale),
                mode="markers",
                name=_legend(group, found, reference),
                marker={
                    "size": 10,
                    "color": colour,
                    "symbol": SYMBOLS[place % len(SYMBOLS)] + ("-open" if small else ""),
                    "line": {"width": 1.5, "color": colour} if small else {"width": 0},
                },
                customdata=[[measure, group] for measure in part["measure"]],
                text=told,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.update_yaxes(
        tickvals=list(range(len(measures))),
        ticktext=measures,
        range=[len(measures) - 0.45, -0.55],
        showgrid=False,
        zeroline=False,
    )
    for line in range(1, len(measures)):
        figure.add_hline(y=line - 0.5, line_width=1, line_color="rgba(128, 140, 150, 0.25)")
    unit = (
        "Cliff’s delta, salient regions against the rest" if measures[0].startswith("salience") else "predicted − rated"
    )
    figure.update_xaxes(title=unit if biases else "per cent", zeroline=biases)
    return layout(figure, 130 + len(measures) * (20 + 15 * len(found.groups)))


def _legend(group: str, found: "Evidence", reference: str) -> str:
    size = found.sizes[found.groups.index(group)]
    few, base = ", few" if found.too_small(group) else "", ", reference" if group == reference else ""
    return f"{escape(group)} ({size}{few}{base})"


def values_in_words(table: "pd.DataFrame") -> str:
    """Return the first measure of every group, and which groups are lowest and highest in the others."""
    first = table["measure"].iloc[0]
    unit = "" if first.startswith(NO_POINTS) else " %"
    said = [
        f"{row.group} {shown(first, row.value)}{unit} [{shown(first, row.low)}, {shown(first, row.high)}]"
        for row in table[table["measure"] == first].itertuples()
    ]
    words = f"{first[0].upper()}{first[1:]}: {'; '.join(said)}."
    for measure, part in table[table["measure"] != first].dropna(subset="value").groupby("measure", sort=False):
        low, high = part.loc[part["value"].idxmin()], part.loc[part["value"].idxmax()]
        unit = "" if str(measure).startswith(NO_POINTS) else " %"
        words += (
            f" {str(measure).capitalize()}: from {shown(str(measure), low['value'])}{unit} ({low['group']}) to "
            f"{shown(str(measure), high['value'])}{unit} ({high['group']})."
        )
    return words


def differences_table(table: "pd.DataFrame", reference: str) -> Rows:
    """Return every figure of every group beside the reference; rows of small groups say so in grey."""
    lines, groups = "", table.groupby("measure")["group"].size()
    for row, first in zip(table.itertuples(), ~table["measure"].duplicated(), strict=True):
        spread = row.group == "all"
        apart, p = "–", "–"
        if math.isfinite(row.p):
            figures = (row.difference, row.difference_low, row.difference_high)
            apart, low, high = (shown(row.measure, value, not spread) for value in figures)
            apart += f"<br><small>by chance {shown(row.measure, row.chance)}</small>" if spread else f" [{low}, {high}]"
            p = p_value(row.p_holm)
        verdict = "reference" if row.group == reference else "–" if p == "–" else "no finding"
        verdict = "<strong>finding</strong>" if row.finding else verdict
        if row.too_small:
            verdict += f"<br><small>{escape(row.too_small)}</small>"
        value = (
            ""
            if spread
            else (
                f"<strong>{shown(row.measure, row.value)}</strong> "
                f"[{shown(row.measure, row.low)}, {shown(row.measure, row.high)}]"
            )
        )
        css = ' class="few"' if row.too_small else ""
        lines += (
            f"<tr{css}>{_head(row.measure, groups[row.measure]) if first else ''}"
            f'<td class="words">{"all groups" if spread else escape(row.group)}</td><td>{row.speakers}</td>'
            f"<td>{row.clips}</td><td>{value}</td><td>{apart}</td><td>{p}</td>"
            f'<td class="words wide">{verdict}</td></tr>'
        )
    names = (
        "Measure",
        "Group",
        "Speakers",
        "Clips",
        "Value, % [95 %]",
        "Difference, points [95 %]",
        "p, corrected",
        "Verdict",
    )
    if all(measure.startswith(NO_POINTS) for measure in table["measure"]):
        names = tuple(name.replace(", %", "").replace(", points", "") for name in names)
    return Rows(names, lines, ("Group", "Verdict"), tuple(dict.fromkeys(table["measure"])))


def against(table: "pd.DataFrame", reference: str, name: str, title: str, state: str) -> None:
    """Draw every figure of every group beside the reference.

    Args:
        table: of ``group_differences.differences``.
        reference: the group that the others are set against.
        name: of the table in the report.
        title: what is compared.
        state: what was chosen on the page.
    """
    tabled(
        differences_table(table, reference),
        table,
        name,
        title=f"{title}, against {reference}",
        how="each row is a group; intervals draw the speakers anew. The difference is the group minus the reference. "
        "Only the permutation test of the speakers' groups, corrected by Holm's method over all that is shown, makes a "
        "finding; an interval of a difference that leaves out 0 does not. A dash stands where nothing can be tested, "
        "as where so few speakers have an emotion that nearly every deal leaves a group without it. A gap over all "
        "groups is never below 0, so what it is by chance stands below it.",
        words=headline(table, reference),
        state=state,
    )


def _head(measure: str, rows: int) -> str:
    return f'<th scope="rowgroup" rowspan="{rows}">{with_hint(measure)}</th>'


def behind(chosen: Chosen, group_of: "pd.Series", point: "Sequence[str]") -> None:
    """List the clips behind a dot of the chart: those of the group, and of the measure's emotion."""
    from ser_core.speakers import answers_of

    measure, group = point[0], point[1]
    rows = chosen.rows[(group_of.astype("object") == group).to_numpy()]
    what = f"{group}, {measure}"
    if measure.startswith("recall of "):
        rows = rows[rows["emotion"] == measure.removeprefix("recall of ")]
    elif measure.startswith("false alarms of "):
        emotion = measure.removeprefix("false alarms of ")
        rows = rows[(answers_of(rows) == emotion) & (rows["emotion"] != emotion)]
    elif measure.startswith(("answered ", "precision of ")):
        emotion = measure.removeprefix("answered ").removeprefix("precision of ")
        rows = rows[answers_of(rows) == emotion]
    clips_behind.show(rows, what, "group")


# --- what could have been found


def power(found: "Evidence", shown: "Sequence[str]", reference: str, tests: int, name: str, state: str) -> None:
    """State how large a gap these groups would show, alone and among all that is tested.

    Args:
        found: what each speaker adds.
        shown: measures on the page, the first offered first; a calibration error of one speaker says nothing.
        reference: the group that the others are set against.
        tests: comparisons that are corrected for.
        name: of the table in the report.
        state: what was chosen on the page.
    """
    from ser_core.power import powers

    offered = [each for each in shown if each != "ECE"]
    if not offered:
        return
    st.subheader("What could have been found")
    measure = st.selectbox("Of", offered, key=f"power-of-{found.attribute}-{len(found.further)}") or offered[0]
    data = powers(found, measure, reference, tests)
    share = not measure.startswith(NO_POINTS)
    ten, lines, said = "10 points" if share else "0.1", "", []
    for row in data.itertuples():
        sizes = f"{row.speakers} v {row.reference_speakers}"
        figures = [
            _gap(row.deviation, share),
            _gap(row.detectable, share),
            percent(row.power),
            _gap(row.detectable_among, share),
            percent(row.power_among),
            p_value(row.p_least),
        ]
        cells = "".join(f"<td>{'–' if row.shared else figure}</td>" for figure in figures)
        css = " class=few" if found.too_small(row.group) else ""
        lines += f'<tr{css}><th scope="row">{escape(row.group)}</th><td>{sizes}</td>{cells}</tr>'
        told = f"not worked out, as {row.shared} are in both groups" if row.shared else percent(row.power_among)
        said.append(f"{row.group} ({sizes} speakers): {told}")
    names = (
        "Group",
        "Speakers",
        "SD of speakers",
        "Detectable, alone",
        "Power, alone",
        f"Detectable, of {tests}",
        f"Power, of {tests}",
        "Least p",
    )
    tabled(
        Rows(names, lines),
        data,
        name,
        title=f"What could have been found in {measure}, against {reference}",
        how=f"the SD is that of the speakers' own {measure} within a group. Detectable is a gap that 8 of 10 "
        f"repetitions would find; power is how many of 100 would find a gap of {ten}. Both stand twice: with this "
        f"measure shown alone, and as the first of the {tests} comparisons that Holm's correction looks at. The "
        f"least p is the smallest that so many speakers can give. Worked out from Student's t{_too_hopeful()}. Showing "
        "fewer measures at once asks less of each.",
        words="With these numbers of speakers, and speakers that differ among themselves as much as these do, a true "
        f"gap in {measure} of {ten} between a group and {reference} would be found this often among the {tests} "
        f"comparisons shown: {'; '.join(said)}.",
        state=f"{state}|{measure}",
    )


def _too_hopeful() -> str:
    """Return by how much the power that is worked out is more than the simulation found, with few speakers."""
    from ser_core.power import read_table

    table = read_table()
    told = [
        f"{percent(row.expected)} where {percent(row.alone)} of made-up gaps were found with {row.first} against "
        f"{row.second} speakers"
        for row in table.itertuples()
        if row.gap > 0 and row.expected > row.alone_high
    ]
    return f", which hopes for too much of few speakers: {', '.join(told)}" if told else ""


def simulated() -> None:
    """Show how the rule fares on made-up predictions with and without a gap."""
    from ser_core.power import read_table

    table = read_table()
    with st.expander("Does the rule keep its word? Made-up predictions with and without a gap"):
        if table.empty:
            st.info("The simulation has not been run yet; 'python -m ser_core power' runs it.")
            return
        lines = ""
        for row in table.itertuples():
            cells = "".join(
                f"<td><strong>{100 * getattr(row, name):.1f} %</strong> "
                f"[{100 * getattr(row, f'{name}_low'):.1f}, {100 * getattr(row, f'{name}_high'):.1f}]</td>"
                for name in ("alone", "uar", "any")
            )
            gap = "none" if row.gap == 0 else f"{100 * row.gap:.0f} points"
            lines += f'<tr><th scope="row">{row.first} v {row.second}</th><td class="words">{gap}</td>{cells}</tr>'
        names = ("Speakers", "True gap", "UAR flagged, shown alone", "UAR flagged among all", "Anything flagged at all")
        runs = int(table["runs"].min())
        none = table[table["gap"] == 0]
        tabled(
            Rows(names, lines, ("True gap",)),
            table.rename(columns={"first": "speakers", "second": "speakers_of_the_other"}),
            "power-simulated",
            title="How often made-up predictions are flagged",
            how=f"{runs} made-up corpora a row, 13 clips of each of six emotions a speaker; shown are UAR, six recalls "
            "and four gaps, with Wilson's 95 % intervals. Without a gap, at most 5 % may be flagged.",
            words=f"Without a true gap anything at all is flagged in {100 * none['any'].min():.1f} to "
            f"{100 * none['any'].max():.1f} % of the made-up corpora.",
        )


def _gap(value: float, share: bool) -> str:
    if not math.isfinite(value) or value >= (1 if share else 2):
        return "none"
    return f"{100 * value:.1f} points" if share else unsigned(value)


# --- calibration


def calibration(found: "Evidence", chosen: Chosen, group_of: "pd.Series", ece: "pd.DataFrame") -> None:
    """Draw the reliability diagram of every group, and its calibration error with intervals."""
    import plotly.graph_objects as go

    from ser_core.group_differences import BINS, reliability

    st.subheader("Does the stated probability hold in every group?")
    diagram = kept(("reliability", chosen.key, found.attribute), lambda: reliability(found))
    figure = go.Figure(
        go.Scatter(
            x=[0, 100],
            y=[0, 100],
            mode="lines",
            line={"dash": "dash", "color": GREY},
            name="as stated",
            hoverinfo="skip",
        )
    )
    for place, group in enumerate(found.groups):
        part = diagram[(diagram["group"] == group) & (diagram["clips"] >= 5)]
        small = bool(found.too_small(group))
        colour = GREY if small else COLOURS[place % len(COLOURS)]
        figure.add_trace(
            go.Scatter(
                x=100 * part["confidence"],
                y=100 * part["right"],
                error_y=bars(part["right"], part["low"], part["high"]),
                mode="lines+markers",
                name=f"{escape(group)} ({found.sizes[place]})",
                line={"color": colour, "width": 1.5},
                marker={
                    "symbol": SYMBOLS[place % len(SYMBOLS)],
                    "size": 5 + 9 * (part["clips"] / part["clips"].max()) ** 0.5,
                },
                customdata=[[group, float(v)] for v in part["confidence"]],
                text=[
                    f"{escape(group)}: stated {100 * r.confidence:.0f} %, right {100 * r.right:.0f} % "
                    f"[{unsigned(100 * r.low, 0)}, {unsigned(100 * r.high, 0)}], {r.clips} clips"
                    for r in part.itertuples()
                ],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.update_xaxes(title="stated probability of the answer, per cent", range=[0, 101])
    figure.update_yaxes(title="answers that are right, per cent", range=[0, 101])
    said = "; ".join(
        f"{row.group} {100 * row.value:.1f} % [{unsigned(100 * row.low, 1)}, {unsigned(100 * row.high, 1)}]"
        for row in ece.itertuples()
    )
    points = chart(
        layout(figure, 420),
        diagram,
        "reliability",
        title="Reliability: stated probability against the share that is right",
        how="on the dashed line, answers given with 70 % are right 7 times in 10; below it the model is too sure, "
        "above it not sure enough. Larger dots hold more clips; bars are 95 % intervals over speakers; bins with "
        "fewer than five clips are left out.",
        words=f"Expected calibration error: {said}. It is the larger the fewer the clips, so the test deals the groups "
        "in their own sizes; choose ECE above to have it tested.",
        state=f"{chosen.key}|{found.attribute}",
    )
    if points:
        group, confidence = points[0][0], float(points[0][1])
        rows = chosen.rows[(group_of.astype("object") == group).to_numpy()]
        stated = rows[[c for c in rows if str(c).startswith("p_")]].to_numpy().max(axis=1)
        low = math.ceil(confidence * BINS - 1e-9) - 1
        inside = (stated > low / BINS) & (stated <= (low + 1) / BINS)
        clips_behind.show(
            rows[inside], f"{group}, stated {100 * low / BINS:.0f} to {100 * (low + 1) / BINS:.0f} %", "bin"
        )
