"""Following a long recording: taking it, the stretches as they come, the voices, and one stretch at a time."""

import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from pages.parts import background, session
from pages.parts.cards import table
from pages.parts.words import number, percent, plain
from ser_core.errors import AudioError, SerscopeError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from explain.long_recording import LongRecording, Stretch
    from ser_core.long_audio import LongSound
    from ser_core.models import SpeechModel

MEGABYTES = 150
COUNTS: dict[str, int | None] = {"2": 2, "1": 1, "3": 3, "4": 4, "5": 5, "6": 6, "estimate": None}
FEWEST_DRAWN = 2


def sound() -> "LongSound | None":
    """Return the recording that this session follows."""
    return st.session_state.get("long-sound")


def new() -> None:
    """Offer to take a recording; ends the run when one is taken."""
    from ser_core.long_audio import long_sound

    file = st.file_uploader(
        "WAV, FLAC, MP3, OGG, Opus, M4A, AAC or WebM with speech",
        key=f"long-upload-{st.session_state.get('long-round', 0)}",
        max_upload_size=MEGABYTES,
    )
    st.caption(
        f"At most 65 minutes and {MEGABYTES} MB (an hour of MP3 is about 30 MB). It is worked on by this SERscope "
        "server alone, is kept in the memory of this session, and is dropped when you forget it or a minute after you "
        "close the page."
    )
    if file is None:
        return
    try:
        with st.spinner("Opening the recording"):
            st.session_state["long-sound"] = long_sound(file.getvalue(), file.name)
    finally:
        session.drop_upload(file)
    st.rerun()


def current(taken: "LongSound") -> None:
    """Show which recording is followed, and let the reader drop it."""
    from ser_core.long_audio import clock

    left, right = st.columns([4, 1], vertical_alignment="center")
    length = f" · {clock(taken.stated_s)[:-2]} min" if taken.stated_s else ""
    left.markdown(f"**{plain(taken.name)}**{length}")
    right.button("Forget this recording", on_click=forget, width="stretch")


def forget() -> None:
    """Drop the recording and all that was made of it."""
    for key in [key for key in st.session_state.get("jobs", {}) if key[:1] == ("long",)]:
        background.stop(key)
    taken = st.session_state.get("long-round", 0)
    for key in [key for key in st.session_state if str(key).startswith("long-")]:
        del st.session_state[key]
    st.session_state["long-round"] = taken + 1


def voices_asked() -> int | None:
    """Return how many people speak, None where that is to be estimated."""
    chosen = st.selectbox(
        "How many people speak?",
        list(COUNTS),
        key="long-voices",
        help="A clinical session has two voices. Where the number is estimated, check the voices by ear.",
    )
    return COUNTS[chosen]


def show(taken: "LongSound", model: "SpeechModel", count: int | None) -> None:
    """Follow the recording with a model, and draw what is known so far."""
    key = ("long", taken.sha256, model.name)
    for other in [k for k in st.session_state.get("jobs", {}) if k[:1] == ("long",) and k != key]:
        background.stop(other)
    started = background.job(key)
    if started is None and not st.session_state.get(f"long-stopped-{key}"):
        started = background.start(key, lambda job: _follow(taken, model, job), long=True)
    if started is None:
        st.info("The recording is not followed any more.")
        if st.button("Follow it again", type="primary"):
            st.session_state.pop(f"long-stopped-{key}")
            st.rerun()
        return
    background.follow(started, lambda: _watch(taken, model, count, key, started))


def _follow(taken: "LongSound", model: "SpeechModel", job: background.Job) -> "tuple[tuple[Stretch, ...], str]":
    """Return all stretches, and a sentence where the file broke off."""
    from explain.long_recording import stretches

    found: list[Stretch] = []
    try:
        for stretch in stretches(taken, model, progress=job.tell):
            found.append(stretch)
            job.learn(tuple(found))
    except AudioError as fault:
        if not found:
            raise
        return tuple(found), str(fault)
    return tuple(found), ""


def _watch(taken: "LongSound", model: "SpeechModel", count: int | None, key: tuple, started: background.Job) -> None:
    from explain.long_recording import session as with_voices

    if not started.done:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.progress(min(1.0, started.share), f"{started.words} …")
        if right.button("Stop here", key="long-stop", help="Keeps what is there so far."):
            st.session_state[f"long-stopped-{key}"] = True
            started.stop.set()
        if started.known:
            asked = (*key, count, len(started.known))
            draw(
                _made(asked, lambda: with_voices(taken, model, started.known, count=count, complete=False)), taken, None
            )
        else:
            st.caption("The first stretches come in some seconds.")
        return
    if not started.drawn:
        started.drawn = True
        st.rerun()
    found, words = _outcome(started)
    if words:
        st.warning(f"{plain(words)} What came before is shown.")
    if not found:
        st.info("No speech was found in this recording.")
        return
    complete = not words and not started.stop.is_set()
    asked = (*key, count, len(found), complete)
    made = _made(asked, lambda: with_voices(taken, model, found, count=count, complete=complete))
    draw(made, taken, lambda corrected: _keep(asked, corrected))


def _made(asked: tuple, make: "Callable[[], LongRecording]") -> "LongRecording":
    """Return the session's recording for what is asked, made once."""
    kept = st.session_state.get("long-made")
    if kept is None or kept[0] != asked:
        kept = st.session_state["long-made"] = (asked, make())
    made: LongRecording = kept[1]
    return made


def _outcome(started: background.Job) -> "tuple[tuple[Stretch, ...], str]":
    assert started.future is not None
    fault = started.future.exception()
    if fault is None:
        done: tuple[tuple[Stretch, ...], str] = started.future.result()
        return done
    if isinstance(fault, SerscopeError):
        raise fault
    if started.stop.is_set():
        return started.known or (), "The recording was not followed to its end."
    raise fault


def _keep(asked: tuple, corrected: "LongRecording") -> None:
    st.session_state["long-made"] = (asked, corrected)
    st.rerun()


# --- drawing ---------------------------------------------------------------------------------------------------------

Keep = Callable[["LongRecording"], None]


def draw(found: "LongRecording", taken: "LongSound", keep: Keep | None) -> None:
    """Draw a session; ``keep`` takes a corrected one, None while it is still growing."""
    st.html(_voices(found))
    if len(found.stretches) < FEWEST_DRAWN:
        return
    left, right = st.columns([2, 3], gap="medium")
    names = {found.called(v): v for v in found.voices}
    with left:
        chosen = st.segmented_control("Voice", list(names), default=next(iter(names)), required=True, key="long-voice")
    voice = names.get(chosen, found.voices[0])
    with right:
        outputs = st.multiselect(
            "Over time",
            list(found.outputs),
            default=_prominent(found, voice),
            max_selections=3,
            key=f"long-outputs-{found.model}",
        )
    st.plotly_chart(_figure(found, voice, outputs), config={"displaylogo": False}, width="stretch", key="long-figure")
    st.caption(_reading(found, voice, outputs))
    st.subheader("Stretches")
    picked = _stretches(found)
    if picked is not None:
        _one(found, picked, taken, keep)
    elif keep is None:
        st.caption("Choose a row to hear and explain it. Voices can be corrected and files taken away at the end.")
    if keep is not None:
        _corrections(found, keep)
        _files(found)


def _voices(found: "LongRecording") -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(found.called(v))}</th><td>{len(found.of(v))}</td>'
        f"<td>{found.spoken_s(v) / 60:.1f} min</td>"
        f"<td>{percent(found.spoken_s(v) / max(1e-9, sum(s.length_s for s in found.stretches)))}</td>"
        f'<td class="words">{escape(_answers(found, v))}</td></tr>'
        for v in found.voices
    )
    heads = (
        ("Voice", ""),
        ("Stretches", ""),
        ("Speaks", ""),
        ("Of all speech", ""),
        ("Most frequent answers", "words"),
    )
    head = "".join(f'<th scope="col"{f" class={kind}" if kind else ""}>{name}</th>' for name, kind in heads)
    return f'<div class="ss">{table("Voices", head, rows)}</div>'


def _answers(found: "LongRecording", voice: int) -> str:
    asked = [s.prediction for s in found.of(voice) if s.prediction is not None]
    if not asked:
        return "–"
    if asked[0].values is not None:
        means = {name: float(np.mean([p.value(name) for p in asked])) for name in asked[0].emotions}
        return ", ".join(f"{name} {mean:+.2f}".replace("-", "−") for name, mean in means.items())
    tops = [p.top for p in asked]
    ranked = sorted(set(tops), key=lambda name: -tops.count(name))[:3]
    return ", ".join(f"{name} {percent(tops.count(name) / len(tops))}" for name in ranked)


def _prominent(found: "LongRecording", voice: int) -> list[str]:
    """Return the two outputs that say most about a voice: all dimensions, or the likeliest emotions but neutral."""
    from explain.long_recording import value_of

    if any(s.prediction is not None and s.prediction.values is not None for s in found.stretches):
        return list(found.outputs)[:3]
    mine = found.of(voice)
    means = {name: float(np.nanmean([value_of(s, name) for s in mine] or [0.0])) for name in found.outputs}
    ranked = sorted((name for name in means if name != "neutral"), key=lambda name: -means[name])
    return ranked[:2]


def _figure(found: "LongRecording", voice: int, outputs: list[str]) -> "go.Figure":
    """Return who speaks when, and the outputs over time for one voice with their intervals."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from explain.long_recording import course, value_of
    from pages.parts.charts import COLOURS, GREY

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.16 + 0.05 * len(found.voices), 0.7], vertical_spacing=0.06
    )
    for v in found.voices:
        mine = found.of(v)
        figure.add_trace(
            go.Bar(
                base=[s.start_s / 60 for s in mine],
                x=[s.length_s / 60 for s in mine],
                y=[found.called(v)] * len(mine),
                orientation="h",
                width=0.7,
                marker={"color": COLOURS[0] if v == voice else GREY, "line": {"width": 0}},
                hovertext=[_hover(s) for s in mine],
                hoverinfo="text",
                showlegend=False,
            ),
            row=1,
            col=1,
        )
    for place, output in enumerate(outputs):
        line = course(found, voice, output)
        colour, minutes = COLOURS[place + 1], line.times_s / 60
        known = np.isfinite(line.mean)
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([minutes[known], minutes[known][::-1]]),
                y=np.concatenate([line.high[known], line.low[known][::-1]]),
                fill="toself",
                fillcolor=colour,
                opacity=0.18,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=2,
            col=1,
        )
        figure.add_trace(
            go.Scatter(
                x=minutes,
                y=line.mean,
                name=output,
                mode="lines",
                line={"color": colour, "width": 3, "dash": ("solid", "dash", "dot")[place]},
            ),
            row=2,
            col=1,
        )
        mine = found.of(voice)
        figure.add_trace(
            go.Scatter(
                x=[s.middle_s / 60 for s in mine],
                y=[value_of(s, output) for s in mine],
                mode="markers",
                marker={"color": colour, "size": 6, "opacity": 0.55},
                hovertext=[_hover(s) for s in mine],
                hoverinfo="text",
                showlegend=False,
            ),
            row=2,
            col=1,
        )
    dimensional = any(s.prediction is not None and s.prediction.values is not None for s in found.stretches)
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    figure.update_yaxes(
        title="value" if dimensional else "probability", range=[-1.02, 1.02] if dimensional else [0, 1.02], row=2, col=1
    )
    figure.update_xaxes(title="minutes", row=2, col=1)
    figure.update_xaxes(range=[0, max(found.heard_s / 60, 0.05)])
    figure.update_layout(
        height=340 + 34 * len(found.voices),
        margin={"l": 10, "r": 10, "t": 50, "b": 40},
        legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 1, "xanchor": "right"},
        barmode="overlay",
    )
    return figure


def _hover(stretch: "Stretch") -> str:
    from ser_core.long_audio import clock

    asked = stretch.prediction
    if asked is None:
        said = escape(stretch.note)
    elif asked.values is not None:
        said = ", ".join(f"{escape(name)} {asked.value(name):+.2f}" for name in asked.emotions)
    else:
        said = f"{escape(asked.top)} {percent(asked.probability(asked.top))}"
    return f"{stretch.number + 1}: {clock(stretch.start_s)}–{clock(stretch.end_s)}<br>{said}"


def _reading(found: "LongRecording", voice: int, outputs: list[str]) -> str:
    from explain.long_recording import course

    if not outputs:
        return "Choose what is drawn over time."
    line = course(found, voice, outputs[0])
    known = np.isfinite(line.mean)
    words = ""
    if known.any():
        top = int(np.nanargmax(line.mean))
        words = (
            f" {outputs[0]} of {found.called(voice)} is highest around minute {line.times_s[top] / 60:.1f} "
            f"({line.mean[top]:.2f}, interval {line.low[top]:.2f} to {line.high[top]:.2f})."
        )
    return plain(
        f"Each dot is one stretch of {found.called(voice)}. The line is their local mean (weighted by length and by a "
        f"Gaussian of {line.width_s:.0f} s), the band its 95 % interval: of the mean, not of single stretches. No line "
        f"where fewer than three stretches lie near.{words}"
    )


def _stretches(found: "LongRecording") -> int | None:
    """Draw the table of stretches and return the number of the one that the reader chose."""
    from explain.words import cue_name

    rows = _rows(found, lambda name: cue_name(name))
    event = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="long-table",
        height=min(420, 38 + 35 * len(rows)),
        alt="Stretches of speech in time order with voice, answer and unusual cues; choose a row to open it",
        column_config={
            "from": st.column_config.TextColumn("from", help="minutes:seconds", width="small"),
            "s": st.column_config.NumberColumn("s", help="length in seconds", format="%.1f", width="small"),
            "p": st.column_config.ProgressColumn(
                "p", help="probability of the answer in %", min_value=0, max_value=100, format="%.0f %%"
            ),
            "answer": st.column_config.TextColumn(width=100),
            "entropy": st.column_config.NumberColumn(
                "entropy", help="how spread the probabilities are, in bits: 0 is one class only", format="%.2f"
            ),
            "unusual for this voice": st.column_config.TextColumn(
                help="cues that 95 % of the voice's other stretches would not reach, with z; about one in twenty is "
                "chance",
                width="large",
            ),
        },
    )
    chosen = event["selection"]["rows"]
    return int(chosen[0]) if chosen and chosen[0] < len(found.stretches) else None


def _rows(found: "LongRecording", cue_name: Callable[[str], str]) -> "pd.DataFrame":
    import pandas as pd

    from explain.long_recording import standing_out
    from ser_core.long_audio import clock

    rows: list[dict[str, Any]] = []
    for stretch, voice, unusual in zip(found.stretches, found.voice_of, standing_out(found), strict=True):
        asked = stretch.prediction
        dimensions = asked is not None and asked.values is not None
        row: dict[str, Any] = {
            "no.": stretch.number + 1,
            "from": clock(stretch.start_s),
            "s": stretch.length_s,
            "voice": found.called(voice),
        }
        if dimensions:
            assert asked is not None
            row |= {name: round(asked.value(name), 2) for name in asked.emotions}
        else:
            row |= {
                "answer": stretch.note if asked is None else asked.top,
                "p": None if asked is None else 100 * asked.probability(asked.top),
                "entropy": None if asked is None else asked.entropy_bits,
            }
        row["unusual for this voice"] = ", ".join(f"{cue_name(name)} {z:+.1f}" for name, z in unusual)
        rows.append(row)
    return pd.DataFrame(rows)


def _one(found: "LongRecording", picked: int, taken: "LongSound", keep: Keep | None) -> None:
    """Draw one stretch: its sound, its cues against the voice itself, and what can be done with it."""
    from explain.long_recording import own_cues, reassigned
    from pages.parts.sound import player
    from ser_core.long_audio import clock

    stretch, voice = found.stretches[picked], found.voice_of[picked]
    st.html(
        f'<div class="ss"><p class="title">Stretch {picked + 1}: {clock(stretch.start_s)}–{clock(stretch.end_s)}, '
        f"{escape(found.called(voice))}</p></div>"
    )
    if stretch.prediction is None:
        st.caption(plain(stretch.note))
        return
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    with left, st.spinner("Reading the stretch"):
        clip = taken.stretch(stretch.start_s, stretch.end_s)
        player(clip, f"{stretch.length_s:.1f} s")
    with right:
        if st.button("Explain this stretch", type="primary", width="stretch"):
            session.use(clip, f"minute {clock(stretch.start_s)} of {taken.name}, {found.called(voice)}")
            st.switch_page("pages/explain.py")
        if keep is not None:
            others = {found.called(v): v for v in found.voices if v != voice}
            others[f"a new voice ({max(found.voices) + 2})"] = max(found.voices) + 1
            given = st.selectbox("This is in truth", ["", *others], format_func=lambda n: n or found.called(voice))
            if given:
                keep(reassigned(found, picked, others[given]))
    st.html(_own(own_cues(found, picked), found.called(voice)))


def _own(rows: tuple, voice: str) -> str:
    from pages.parts.tables import cue_title

    if not rows:
        return ""
    body = "".join(
        f'<tr{" class=picked" if row.unusual else ""}><th scope="row">{escape(cue_title(row.cue))}</th>'
        f"<td>{number(row.value, row.unit)}</td><td>{number(row.mean, row.unit)}</td><td>{number(row.sd)}</td>"
        f"<td>{number(row.z)}</td><td class=words><small>{escape(row.note)}</small></td></tr>"
        for row in rows
    )
    names = ("Cue", "Here", f"Other stretches of {voice}", "SD", "z", "")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return (
        f'<div class="ss">{table("Cues of this stretch against the same voice", head, body)}'
        '<p class="soft"><small>Marked: outside what 95 % of this voice’s other stretches would keep '
        "(Crawford &amp; Howell’s t); about one cue in twenty is so by chance.</small></p></div>"
    )


def _corrections(found: "LongRecording", keep: Keep) -> None:
    from explain.long_recording import merged, renamed

    with st.expander("Correct the voices"):
        st.caption("A single stretch is given to another voice where it is opened above.")
        names = {found.called(v): v for v in found.voices}
        with st.form("long-rename", border=False):
            left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
            which = left.selectbox("Rename", list(names))
            called = middle.text_input("to", placeholder="such as patient", max_chars=40)
            if right.form_submit_button("Rename", width="stretch") and called:
                _try(lambda: keep(renamed(found, names[which], called)))
        if len(names) > 1:
            with st.form("long-merge", border=False):
                left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
                one = left.selectbox("Merge", list(names))
                other = middle.selectbox("into", list(names), index=1)
                if right.form_submit_button("Merge", width="stretch"):
                    _try(lambda: keep(merged(found, names[one], names[other])))


def _try(correct: Callable[[], None]) -> None:
    try:
        correct()
    except SerscopeError as fault:
        st.error(plain(str(fault)))


def _files(found: "LongRecording") -> None:
    from explain import long_recording_files as files

    st.subheader("Take it away")
    stem = re.sub(r"[^\w-]+", "_", found.name.rsplit(".", 1)[0])[:40].strip("_") or "recording"
    offered = (
        ("Stretches (CSV)", lambda: files.to_csv(found).encode("utf-8-sig"), "csv", "text/csv"),
        ("Stretches (Parquet)", lambda: files.to_parquet(found), "parquet", "application/octet-stream"),
        ("Praat (TextGrid)", lambda: files.text_grid(found).encode(), "TextGrid", "text/plain"),
        ("Everything (JSON)", lambda: files.to_json(found).encode(), "json", "application/json"),
    )
    for (label, data, ending, mime), column in zip(offered, st.columns(len(offered)), strict=True):
        column.download_button(
            label,
            data,
            file_name=f"{stem}.{ending}",
            mime=mime,
            on_click="ignore",
            width="stretch",
            key=f"long-export-{ending}",
        )
    st.caption("No file holds sound or what tells the voices apart.")
