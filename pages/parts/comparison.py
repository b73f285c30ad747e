"""Choosing what is compared, and drawing it: sentences, answers, maps on one time axis, cue tables."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, choose, domain_panel, session, strips
from pages.parts.cards import table
from pages.parts.exports import buttons
from pages.parts.tables import cue_title
from pages.parts.words import number, plain
from ser_core.numbers import percent

if TYPE_CHECKING:
    from explain.change import Change
    from explain.comparison import Comparison
    from explain.cues import CueValue
    from explain.explanation import Explanation
    from explain.relative_cues import RelativeCue
    from ser_core.audio import Recording

KINDS = {"models": "Models", "methods": "Methods", "clips": "Two clips"}
SAME, TWO = "the same person, before and after", "two people"
SEXES = ("unknown", "female", "male", "child")


@dataclass(frozen=True)
class Asked:
    """A comparison that can be started: what makes it this one, the work, and why it cannot be started yet."""

    key: tuple
    work: Callable[[background.Job], "Comparison"]
    missing: str = ""


def ask(kind: str, recording: "Recording") -> Asked | None:
    """Let the reader choose the sides; None while the second clip is missing."""
    return {"models": _ask_models, "methods": _ask_methods, "clips": _ask_clips}[kind](recording)


def _ask_models(recording: "Recording") -> Asked:
    from explain.comparison import FEWEST, MOST
    from ser_core.registry import model_names

    offered = model_names()
    titles = choose.titles()
    chosen = st.multiselect(
        f"Models ({FEWEST} to {MOST})",
        offered,
        default=offered[:FEWEST],
        max_selections=MOST,
        format_func=lambda name: titles.get(name, name),
        key="compared-models",
    )
    missing = "" if len(chosen) >= FEWEST else f"Choose at least {FEWEST} models."
    settings = choose.settings()
    choose.say_corrected(settings)

    def work(job: background.Job) -> "Comparison":
        from explain.comparison import compare_models
        from ser_core.registry import load_model

        job.tell(0.0, "Loading the models")
        return compare_models(recording, [load_model(name) for name in chosen], settings=settings, progress=job.tell)

    return Asked(("compare", "models", recording.sha256, settings, *chosen), work, missing)


def _ask_methods(recording: "Recording") -> Asked:
    from explain.attribution import methods_for
    from explain.comparison import FEWEST, MOST

    left, right = st.columns([2, 3], gap="medium")
    with left:
        model = choose.model()
    offered = {method.name: method.label for method in methods_for(model)}
    with right:
        chosen = st.multiselect(
            f"Methods ({FEWEST} to {MOST})",
            list(offered),
            default=list(offered)[:FEWEST],
            max_selections=MOST,
            format_func=offered.get,
            key=f"compared-methods-{model.name}",
        )
        st.caption("Methods that sample many variants of the clip, such as Shapley values and occlusion, take longest.")
    missing = "" if len(chosen) >= FEWEST else f"Choose at least {FEWEST} methods."
    settings = choose.settings()
    choose.say_corrected(settings)

    def work(job: background.Job) -> "Comparison":
        from explain.comparison import compare_methods

        return compare_methods(recording, model, chosen, settings=settings, progress=job.tell)

    return Asked(("compare", "methods", recording.sha256, model.name, settings, *chosen), work, missing)


def _ask_clips(recording: "Recording") -> Asked | None:
    from explain.cues import CueSettings

    left, right = st.columns([2, 3], gap="medium")
    with left:
        model = choose.model()
    with right:
        who = st.radio("Who speaks?", (SAME, TWO), horizontal=True, key="who-speaks")
        settings = choose.settings()
        second_settings = None
        if who == TWO:
            one, other = st.columns(2)
            first_sex = one.selectbox("First speaker", SEXES, SEXES.index(settings.sex))
            settings = dataclasses.replace(settings, sex=first_sex)
            second_settings = CueSettings(sex=other.selectbox("Second speaker", SEXES))
            st.caption("Chooses whose neutral speech each voice is held against; unknown: that of both sexes.")
    second = _second_clip()
    if second is None:
        return None
    # The sex of two speakers is asked for above.
    choose.say_corrected(settings if who == SAME else dataclasses.replace(settings, sex="unknown"))

    def work(job: background.Job) -> "Comparison":
        from explain.comparison import compare_clips

        return compare_clips(
            recording,
            second,
            model,
            same_speaker=who == SAME,
            settings=settings,
            second_settings=second_settings,
            progress=job.tell,
        )

    key = ("compare", "clips", recording.sha256, second.sha256, model.name, who, settings, second_settings)
    return Asked(key, work)


def _second_clip() -> "Recording | None":
    """Let the reader take a second clip as on the first page; kept in the session until it is dropped."""
    kept: Recording | None = st.session_state.get("second")
    if kept is None:
        st.subheader("The second clip")
        choose.new_clip(choose.Taking(_take_second, "Take this clip", "second-"))
        return None
    left, right = st.columns([4, 1], vertical_alignment="center")
    origin = plain(st.session_state["second-origin"])
    left.markdown(f"Second clip: **{plain(kept.name)}** · {kept.duration_s:.2f} s · {origin}")
    right.button("Take another", on_click=_drop_second, width="stretch")
    return kept


def _drop_second() -> None:
    """Drop the second clip, and the comparisons that hold it."""
    background.stop_kind("compare", "clips")
    session.forget_parts()
    for key in ("second", "second-origin"):
        st.session_state.pop(key, None)


def _take_second(recording: "Recording", origin: str, *_: object) -> None:
    st.session_state["second"], st.session_state["second-origin"] = recording, origin


def show(asked: Asked) -> None:
    """Offer to start the comparison; draw its progress and its outcome."""
    if asked.missing:
        st.info(asked.missing)
        return
    started = background.job(asked.key)
    if started is not None:
        background.show(started, draw)
    elif st.button("Compare", type="primary"):
        background.start(asked.key, asked.work)
        st.rerun()


def draw(found: "Comparison") -> None:
    """Draw everything that was found."""
    first, *others = found.sentences
    st.header("What was found")
    points = "".join(f"<li>{escape(sentence)}</li>" for sentence in others)
    st.html(
        f'<div class="ss"><div class="paragraph" role="status"><p><strong>{escape(first)}</strong></p>'
        f"<ul>{points}</ul></div></div>"
    )
    st.header("Answers side by side")
    st.html(f'<div class="ss">{answers(found)}</div>')
    domain_panel.show_use(*(side.card for side in found.sides))
    for title, side in zip(found.titles, found.sides, strict=True):
        if side.outside:
            st.html(domain_panel.warnings(side.outside, side.outside[0].corpus, title))
    st.header("Maps on one time axis")
    st.plotly_chart(
        strips.maps(found.sides, found.titles),
        config={"displayModeBar": False},
        width="stretch",
        alt=strips.maps_in_words(found.sides, found.titles),
    )
    st.caption(
        f"{strips.colours_in_words(found.sides, 'what is named above the map')}; outlined: salient regions. Each map "
        f"has a scale of its own, so colours tell where, not how much. {_made_by(found)}"
    )
    if found.pairs:
        st.html(f'<div class="ss">{pairs(found)}</div>')
        st.caption(
            "Limit by chance: what 95 % stay below when one map is turned in time, or the same regions are put "
            "elsewhere in the speech."
        )
    if found.kind in ("same speaker", "two speakers"):
        st.header("Contours around each clip’s own middle")
        st.plotly_chart(
            strips.contours(found.sides, found.titles),
            config={"displayModeBar": False},
            width="stretch",
            alt="Pitch and level of both clips around their own middle over time; their cues are in the table below",
        )
    st.header("Cues side by side")
    if found.kind == "same speaker":
        st.caption(
            "Each clip is measured again a dozen times under small changes that leave the voice as it is (pitch and "
            "formant limits, noise 50 dB below the peak, up to 20 ms cut off). A change is what exceeds 95 % of the "
            "differences between such repeats: 1.96 · √2 · the standard error of measurement, with Student’s t for "
            "1.96. Of 19 unchanged cues about one is called changed by chance."
        )
    cue_tables = {"same speaker": change_table, "two speakers": relative_table}
    if found.kind == "two speakers":
        st.caption(
            "Percentile: the place in neutral speech of those whom the head names; score: the same in standard "
            "deviations of a normal distribution."
        )
    st.html(f'<div class="ss">{cue_tables.get(found.kind, region_table)(found)}</div>')
    _downloads(found)


def _made_by(found: "Comparison") -> str:
    from explain.attribution import method_label

    names = list(dict.fromkeys(method_label(side.attribution.method) for side in found.sides))
    if len(names) == 1:
        return f"All are made by {names[0]}."
    return f"They are made by different methods ({', '.join(names)}), which alone makes maps differ."


def answers(found: "Comparison") -> str:
    """Return the table of answers: a row an emotion or dimension, a column a side; the strongest regions below."""
    from explain.attribution import method_label
    from explain.expert import shared_name

    shown: list[dict[str, str]] = []
    for side in found.sides:
        p = side.prediction
        figures = {e: percent(p.probability(e)) if p.values is None else number(p.value(e)) for e in p.order}
        shown.append(
            {
                shared_name(e, p.emotions): f"<strong>{escape(value)}</strong>"
                if e == p.top and p.values is None
                else escape(value)
                for e, value in figures.items()
            }
        )
    names = list(dict.fromkeys(name for column in shown for name in column))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{column.get(name, '–')}</td>" for column in shown)
        + "</tr>"
        for name in names
    )
    explained = "".join(
        f'<td class="words wide">{escape(side.target.name)}<br>'
        f"<small>{escape(strips.regions_in_words(side))}</small></td>"
        for side in found.sides
    )
    body += f'<tr><th scope="row">Explained, and its salient regions</th>{explained}</tr>'
    methods = "".join(f'<td class="words">{escape(method_label(s.attribution.method))}</td>' for s in found.sides)
    body += f'<tr><th scope="row">Map by</th>{methods}</tr>'
    return table("Answers side by side", _head(("", *found.titles)), body)


def pairs(found: "Comparison") -> str:
    """Return the table of pairs of maps."""
    rows = ""
    for pair in found.pairs:
        alike = {True: "alike beyond chance", False: "no more alike than chance", None: "cannot be compared"}
        rows += (
            f'<tr><th scope="row">{escape(found.titles[pair.one])} and {escape(found.titles[pair.other])}</th>'
            f"<td>{number(pair.correlation)}</td><td>{number(pair.correlation_chance)}</td>"
            f"<td>{_share(pair.overlap)}</td><td>{_share(pair.overlap_chance)}</td>"
            f'<td class="words">{alike[pair.alike]}</td></tr>'
        )
    names = ("Maps", "Rank correlation", "Limit by chance", "Shared salient seconds", "Limit by chance", "Reading")
    return table("How alike the maps are", _head(names, words=("Reading",)), rows)


def region_table(found: "Comparison") -> str:
    """Return the cues of the whole clip and of the salient regions of each side; the clip is the same for all."""
    from explain.cues import ALL_REGIONS, CLIP, CUES

    def cell(side: "Explanation", cue: str, scope: str) -> "CueValue | None":
        return next((v for v in side.cues.values if (v.cue, v.scope) == (cue, scope)), None)

    rows = "".join(
        f'<tr><th scope="row">{escape(cue_title(cue.name))}</th>{_value(cell(found.sides[0], cue.name, CLIP))}'
        + "".join(_value(cell(side, cue.name, ALL_REGIONS)) for side in found.sides)
        + "</tr>"
        for cue in CUES
        if any(cell(side, cue.name, CLIP) for side in found.sides)
    )
    heads = ("Cue", "Whole clip", *(f"Salient: {title}" for title in found.titles))
    return table("Cues of the salient regions side by side", _head(heads), rows)


def change_table(found: "Comparison") -> str:
    """Return one speaker's cues before and after, with the error of measuring each."""
    rows = "".join(_change(row) for row in found.changes)
    names = ("Cue", *found.titles, "Difference", "Error (SEM)", "Smallest detectable", "Reading")
    return table("Cues before and after", _head(names, words=("Reading",)), rows)


def relative_table(found: "Comparison") -> str:
    """Return two speakers' cues in relative terms."""
    rows = "".join(_relative(row) for row in found.relative)
    whose = {"female": "women", "male": "men", "unknown": "adults of both sexes", "child": "children (no reference)"}
    among = [
        f"{title} among {whose[s.tracks.settings.sex]}" for title, s in zip(found.titles, found.sides, strict=True)
    ]
    names = ("Cue", *found.titles, *among, "Difference of scores")
    return table("Relative cues of two speakers", _head(names), rows)


def _change(row: "Change") -> str:
    name = f'<th scope="row">{escape(cue_title(row.cue))}</th>'
    figures = f"<td>{number(row.before, row.unit)}</td><td>{number(row.after, row.unit)}</td>"
    if row.difference is None or row.smallest is None:
        return f'<tr>{name}{figures}<td colspan="4" class="words none">not measurable: {escape(row.note)}</td></tr>'
    sign = "+" if row.difference > 0 else ""
    reading = escape(row.verdict) if row.verdict.startswith("within") else f"<strong>{escape(row.verdict)}</strong>"
    return (
        f"<tr>{name}{figures}<td>{sign}{number(row.difference, row.unit)}</td><td>{number(row.error)}</td>"
        f'<td>{number(row.smallest)}</td><td class="words">{reading}</td></tr>'
    )


def _relative(row: "RelativeCue") -> str:
    from explain.relative_cues import RELATIVE

    nothing = f'<td class="none">{"not measurable" if row.cue in RELATIVE else "not compared"}</td>'
    values = "".join(nothing if value is None else f"<td>{number(value, row.unit)}</td>" for value in row.values)
    places = "".join(
        "<td>–</td>"
        if place is None or score is None
        else f"<td>percentile {place:.0f}<br><small>score {number(round(score, 2))}</small></td>"
        for place, score in zip(row.percentiles, row.scores, strict=True)
    )
    gap = "–" if row.difference is None else number(round(row.difference, 2))
    return f'<tr><th scope="row">{escape(cue_title(row.cue))}</th>{values}{places}<td>{gap}</td></tr>'


def _value(value: "CueValue | None") -> str:
    if value is None or value.value is None:
        return '<td class="none">–</td>'
    return f"<td>{number(value.value, value.unit)}<br><small>{value.count} {escape(value.counted)}</small></td>"


def _head(names: Sequence[str], words: Sequence[str] = ()) -> str:
    return "".join(
        f'<th scope="col"{" class=words" if name in words else ""}>{escape(name)}</th>' if name else "<td></td>"
        for name in names
    )


def _share(share: float | None) -> str:
    return "–" if share is None else percent(share)


def _downloads(found: "Comparison") -> None:
    from explain.comparison_files import to_csv, to_json
    from explain.text_files import csv_file

    stem = re.sub(r"[^\w-]+", "_", f"compare_{found.titles[0]}_{found.titles[1]}")[:60].strip("_")
    files = [
        ("Cue tables (CSV)", lambda: csv_file(to_csv(found)), "csv", "text/csv"),
        ("Everything (JSON)", lambda: to_json(found).encode(), "json", "application/json"),
    ]
    buttons(stem, files)
