"""Speakers one by one: who is served worst, how the model errs on one of them, and that speaker's voice and clips."""

import math
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import clips_behind
from pages.parts.charts import COLOURS, GREY, Rows, bars, chart, ink, layout, tabled
from pages.parts.predictions import Chosen, kept
from pages.parts.words import language, number, plain
from ser_core.numbers import percent, signed

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

WORST = 8
SEXES = {"female": COLOURS[0], "male": COLOURS[1]}


def people_of(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return what is known of each speaker, indexed by speaker, and the name without that of the corpus."""
    from ser_core.splits import speaker_table

    people = speaker_table(rows)
    corpus = rows.groupby("speaker")["corpus"].first()
    alone = rows["corpus"].nunique() == 1
    return people.assign(name=[who.removeprefix(f"{corpus[who]}/") if alone else who for who in people.index])


def about(person: "pd.Series") -> str:
    """Return what is known of a speaker in words."""
    known = [name for name in ("sex", "race", "ethnicity", "language") if isinstance(person[name], str)]
    words = [language(person[name]) if name == "language" else str(person[name]) for name in known]
    if person["age"] == person["age"]:
        words.insert(1, f"{person['age']:.0f} years")
    return ", ".join(words)


def caterpillar(found: "pd.DataFrame", people: "pd.DataFrame", measure: str, overall: dict[str, float]) -> "go.Figure":
    """Return the speakers in order, each with the interval over the own clips, all speakers together, and chance."""
    import plotly.graph_objects as go

    share = not measure.startswith("error")
    scale = 100 if share else 1
    figure = go.Figure()
    if overall["low"] == overall["low"]:
        low, high = scale * overall["low"], scale * overall["high"]
        figure.add_hrect(y0=low, y1=high, fillcolor="rgba(128, 140, 150, 0.18)", line_width=0)
    figure.add_hline(y=scale * overall["value"], line_dash="dash", line_color=GREY)
    if overall["chance"] == overall["chance"]:
        figure.add_hline(y=scale * overall["chance"], line_dash="dot", line_color=GREY)
    sexes = people["sex"].reindex(found["speaker"]).fillna("sex not known").to_numpy()
    for sex in sorted(set(sexes)):
        part = found[sexes == sex]
        told = [
            f"{escape(people.loc[row.speaker, 'name'])} ({escape(about(people.loc[row.speaker]))})<br>"
            f"{scale * row.value:.3g} {_limits(scale * row.low, scale * row.high)}, {row.clips} clips"
            for row in part.itertuples()
        ]
        figure.add_trace(
            go.Scatter(
                x=part.index + 1,
                y=scale * part["value"],
                error_y=bars(part["value"], part["low"], part["high"], scale, 1.2),
                mode="markers",
                name=escape(sex),
                marker={"size": 8, "color": SEXES.get(sex, GREY), "symbol": "diamond" if sex == "male" else "circle"},
                customdata=part["speaker"],
                text=told,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.update_xaxes(title="speakers, the one served worst first", showgrid=False, zeroline=False)
    figure.update_yaxes(title=f"{measure}, per cent" if share else f"{measure}, predicted − rated")
    return layout(figure, 430)


def in_words(found: "pd.DataFrame", people: "pd.DataFrame", measure: str, overall: dict[str, float]) -> str:
    """Return the ends of the order in words."""
    share = not measure.startswith("error")

    def said(value: float) -> str:
        return f"{100 * value:.0f} %" if share else signed(value, 2)

    def end(row: "pd.Series") -> str:
        person = people.loc[row["speaker"]]
        return f"{said(row['value'])} ({person['name']}, {about(person) or 'unknown'})"

    below = int((found["high"] < overall["value"]).sum())
    return (
        f"{len(found)} speakers; {measure} from {end(found.iloc[0])} to {end(found.iloc[-1])}; all together "
        f"{said(overall['value'])}"
        + (
            f", by chance {said(overall['chance'])}. The whole interval of {below} speakers lies below what all have "
            "together; some do so by luck alone, more where they have few clips, and there is no further test."
            if share
            else "."
        )
    )


def _limits(low: float, high: float) -> str:
    return "(no interval follows from so little)" if math.isnan(low) else f"[{low:.3g}, {high:.3g}]"


def worst(found: "pd.DataFrame", people: "pd.DataFrame", rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the speakers who are served worst: speaker, who (in words), clips, value, low, high, mistake."""
    from ser_core.speakers import commonest_mistakes, emotions_of

    first = found.head(WORST)
    facts = first.assign(
        speaker=people["name"].reindex(first["speaker"]).to_numpy(),
        who=[about(people.loc[speaker]) for speaker in first["speaker"]],
    )[["speaker", "who", "clips", "value", "low", "high"]]
    if not emotions_of(rows):
        return facts
    wrong = commonest_mistakes(rows[rows["speaker"].isin(first["speaker"])]).reindex(first["speaker"])
    told = [
        f"{row.mistake} ({row.times:.0f} of {row.wrong:.0f})" if isinstance(row.mistake, str) else ""
        for row in wrong.itertuples()
    ]
    return facts.assign(mistake=told)


def worst_table(data: "pd.DataFrame", measure: str) -> Rows:
    """Return the speakers who are served worst."""
    share = not measure.startswith("error")
    lines = ""
    for row in data.to_dict("records"):
        figures = [f"{100 * row[name]:.0f} %" if share else signed(row[name], 2) for name in ("value", "low", "high")]
        lines += (
            f'<tr><th scope="row">{escape(str(row["speaker"]))}</th><td class="words wide">{escape(row["who"])}</td>'
            f"<td>{row['clips']}</td><td><strong>{figures[0]}</strong> [{figures[1]}, {figures[2]}]</td>"
            f'<td class="words wide">{escape(row.get("mistake", ""))}</td></tr>'
        )
    names = ("Speaker", "Who", "Clips", f"{measure} [95 %]", "Commonest mistake")
    return Rows(names, lines, ("Who", "Commonest mistake"), (measure,))


def worst_in_words(data: "pd.DataFrame", measure: str, overall: dict[str, float]) -> str:
    """Return the speaker who is served worst, beside all speakers together."""
    share, first = not measure.startswith("error"), data.iloc[0]
    value, all_of_them = (
        f"{100 * each:.0f} %" if share else signed(each, 2) for each in (first["value"], overall["value"])
    )
    return f"{first['speaker']} is served worst: {measure} {value}, where all speakers together have {all_of_them}."


def one(chosen: Chosen, speaker: str, people: "pd.DataFrame") -> None:
    """Draw one speaker: confusion, voice, clips."""
    from ser_core.speakers import answers_of, emotions_of

    rows = chosen.rows[chosen.rows["speaker"] == speaker]
    name = str(people.loc[speaker, "name"])
    st.subheader(f"Speaker {plain(name)}")
    st.caption(f"{plain(about(people.loc[speaker])) or 'Nothing else is known'}; {len(rows)} clips.")
    picked = rows
    what = f"Speaker {name}"
    if emotions_of(rows):
        cells = chart(
            confusion(rows),
            rows[["clip", "emotion"]].assign(answer=answers_of(rows)),
            "speaker-confusion",
            title="What was said, and what the model answered",
            how="each row is a true emotion, each column an answer; the number is how many clips. Click a cell for its "
            "clips.",
            words=_confusion_words(rows),
            state=f"{chosen.key}|{speaker}",
        )
        if cells:
            truth, answer = cells[0][0], cells[0][1]
            picked = rows[(rows["emotion"] == truth) & (answers_of(rows) == answer)]
            what += f", {truth} answered as {answer}"
    voice(chosen, speaker, name)
    clips_behind.show(picked, what, "speaker")


def confusion(rows: "pd.DataFrame") -> "go.Figure":
    """Return the confusions of some clips as a heat map, rows the truth."""
    import plotly.graph_objects as go

    from ser_core.metrics import confusion as counted
    from ser_core.speakers import answers_of, emotions_of

    names = emotions_of(rows)
    counts = counted(rows["emotion"].tolist(), answers_of(rows).tolist(), names)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    shown = [escape(name) for name in names]
    figure = go.Figure(
        go.Heatmap(
            z=100 * shares,
            x=shown,
            y=shown,
            zmin=0,
            zmax=100,
            colorscale=[[0, "#eef4f5"], [1, "#0b6b75"]],
            showscale=False,
            hoverinfo="skip",
        )
    )
    cells = [(truth, answer) for truth in range(len(names)) for answer in range(len(names)) if counts[truth, answer]]
    figure.add_trace(
        go.Scatter(
            x=[shown[answer] for _, answer in cells],
            y=[shown[truth] for truth, _ in cells],
            mode="markers+text",
            marker={"size": 34, "opacity": 0, "color": GREY},
            text=[str(counts[cell]) for cell in cells],
            textfont={"color": ink(shares[cell] for cell in cells), "size": 14},
            customdata=[[names[truth], names[answer]] for truth, answer in cells],
            hovertext=[f"{shown[truth]} answered as {shown[answer]}" for truth, answer in cells],
            hovertemplate="%{hovertext}: %{text} clips<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", title="true")
    figure.update_xaxes(title="answered", side="bottom")
    return layout(figure, 130 + 42 * len(names), showlegend=False)


def _confusion_words(rows: "pd.DataFrame") -> str:
    from ser_core.speakers import answers_of

    said = answers_of(rows)
    right = int((said == rows["emotion"]).sum())
    wrong = (rows["emotion"] + " taken for " + said)[said != rows["emotion"]].value_counts().head(3)
    listed = ", ".join(f"{name} ({count})" for name, count in wrong.items())
    return f"{right} of {len(rows)} clips are answered rightly." + (f" Commonest mistakes: {listed}." if listed else "")


def voice(chosen: Chosen, speaker: str, name: str) -> None:
    """Draw the table of a speaker's cues beside the other speakers of the corpus."""
    from ser_core import speaker_cues

    found = kept(
        ("voice", chosen.key, speaker),
        lambda: speaker_cues.against_others(chosen.rows, speaker_cues.read_table(), speaker),
    )
    if found.empty:
        st.caption("This speaker's voice has not been measured against others; 'python -m ser_core cues' does so.")
        return
    data = found.rename(columns={"low": "others_10th", "middle": "others_median", "high": "others_90th"})
    lines, apart = "", []
    for row in found.itertuples():
        place = (
            "lower than nearly all" if row.percentile < 10 else "higher than nearly all" if row.percentile > 90 else ""
        )
        apart += [f"{row.cue} {place}"] if place else []
        lines += (
            f'<tr><th scope="row">{escape(row.cue)}<br><small>{escape(row.unit)}</small></th>'
            f"<td><strong>{number(row.value)}</strong></td><td>{number(row.middle)}</td>"
            f"<td>{number(row.low)} … {number(row.high)}</td><td>{row.percentile:.0f}</td>"
            f'<td class="words">{place}</td></tr>'
        )
    others = int(found["others"].iloc[0])
    outside = 2 * math.ceil(0.1 * others) / (others + 1)
    names = ("Cue", "This speaker", "Middle of the others", "8 of 10 others", "Percentile", "")
    with st.expander("The voice, beside the other speakers"):
        tabled(
            Rows(names, lines, words=("",)),
            data,
            "speaker-voice",
            title=f"Voice of speaker {name}, beside the others",
            how=f"means over the speaker's clips, beside those of {others} other speakers of the "
            "same corpus and sex, over all emotions (eGeMAPS, openSMILE). The percentile says how many of 100 others "
            "lie below; by chance, with so few others, a speaker lies outside the middle eight of ten in "
            f"{percent(outside)} of cues. An unusual voice "
            "is one possible reason why a model fails a speaker, not proof of it.",
            words=f"Outside the middle eight of ten: {'; '.join(apart) or 'no cue'} (of {len(found)}).",
            state=f"{chosen.key}|{speaker}",
        )


def averages(chosen: Chosen) -> None:
    """Draw whether speakers' averages and their order are met."""
    from ser_core.speakers import averages as worked_out

    st.subheader("Are a speaker's average and rank right?")
    found = kept(("averages", chosen.key), lambda: worked_out(chosen.rows))
    dimensions = chosen.dimensions
    lines = ""
    for row in found.itertuples():
        values = [v if dimensions else 100 * v for v in (row.error, row.error_low, row.error_high)]
        style = ".2f" if dimensions else ".1f"
        rank = '<span class="none">speakers hardly differ</span>'
        if row.ranking == row.ranking:
            rank = f"<strong>{signed(row.ranking, 2)}</strong> "
            rank += f"[{signed(row.ranking_low, 2)}, {signed(row.ranking_high, 2)}]"
        lines += (
            f'<tr><th scope="row">{escape(row.label)}</th><td>{row.speakers}</td>'
            f"<td><strong>{values[0]:{style}}</strong> "
            f"[{values[1]:{style}}, {values[2]:{style}}]</td><td>{rank}</td></tr>"
        )
    unit = "" if dimensions else ", points"
    names = ("Label", "Speakers", f"Average is off by{unit} [95 %]", "Order of speakers, ρ [95 %]")
    what = "mean of the dimension" if dimensions else "share of clips with the emotion"
    most = found.loc[found["error"].idxmax()]
    off = signed(most["error"]) if dimensions else f"{100 * most['error']:.1f} points"
    tabled(
        Rows(names, lines),
        found,
        "speaker-averages",
        title=f"{chosen.title}: averages and ranking of speakers",
        how=f"for each speaker the {what} as answered is set beside the true one; the average is off by the mean "
        "difference without its sign, and ρ (Spearman) says whether speakers come in the right order, 1 for perfectly, "
        "0 for by chance. Actors who all play every emotion equally often have no order to meet. Intervals are over "
        "speakers.",
        words=f"The averages are furthest off for {most['label']}: by {off} for the mean speaker.",
        state=chosen.key,
    )
