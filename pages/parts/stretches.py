"""The stretches of a long recording: their table, one of them opened, and voices corrected by hand."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.parts import background, session
from pages.parts.cards import table
from pages.parts.choose import setting_input
from pages.parts.words import number, plain
from ser_core.errors import SerscopeError
from ser_core.numbers import signed, unsigned
from ser_core.turns import BusyError

if TYPE_CHECKING:
    import pandas as pd

    from explain.long_recording import LongRecording, Stretch
    from ser_core.audio import Recording
    from ser_core.long_audio import LongSound
    from ser_core.models import SpeechModel

    Keep = Callable[[LongRecording], None]


def choose(found: "LongRecording") -> int | None:
    """Draw the table of stretches and return the number of the one that the reader chose."""
    from explain.words import cue_name

    rows = _rows(found, lambda name: cue_name(name))
    event = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="long-table",
        placeholder="–",
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
                help="cues that 95 % of the voice's other stretches of like length would not reach, with z; about one "
                "in twenty is chance",
                width="large",
            ),
        },
    )
    chosen = event["selection"]["rows"]
    return int(chosen[0]) if chosen and chosen[0] < len(found.stretches) else None


def _rows(found: "LongRecording", cue_name: Callable[[str], str]) -> "pd.DataFrame":
    import pandas as pd

    from explain.long_recording_baseline import standing_out
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
        row["unusual for this voice"] = ", ".join(f"{cue_name(name)} {signed(z, 1)}" for name, z in unusual)
        rows.append(row)
    return pd.DataFrame(rows)


def one(
    found: "LongRecording",
    picked: int,
    taken: "LongSound",
    model: "SpeechModel",
    give: "Callable[[int], None] | None",
) -> None:
    """Draw one stretch: its sound, its cues against the voice itself, and what can be done with it.

    Args:
        found: the session.
        picked: the number of the stretch.
        taken: the sound.
        model: the one that was asked.
        give: gives the stretch to another voice; None while the session is still growing.
    """
    from explain.cues import CueSettings
    from explain.long_recording_baseline import hearing, own_cues
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
    heard = hearing(found, voice, model) if found.adapted else None
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    with left, st.spinner("Reading the stretch"):
        clip = _clip(taken, stretch)
        player(clip, f"{clip.duration_s:.1f} s")
    with right:
        if st.button("Explain this stretch", type="primary", width="stretch"):
            session.use(clip, f"minute {clock(stretch.start_s)} of {taken.name}, {found.called(voice)}")
            st.session_state["settings"] = stretch.settings or CueSettings()
            if heard is not None:
                session.keep_voice(f"all stretches of {found.called(voice)}", heard)
            st.switch_page("pages/explain.py")
        if give is not None:
            others = {found.called(v): v for v in found.voices if v != voice}
            others[f"a new voice ({max(found.voices) + 2})"] = max(found.voices) + 1
            given = st.selectbox("This is in truth", ["", *others], format_func=lambda n: n or found.called(voice))
            if given:
                give(others[given])
    st.html(_own(own_cues(found, picked), found.called(voice)))
    # While a voice still gets stretches, each would be heard anew, and explained anew.
    if give is not None:
        _salient(clip, stretch, heard or model, model.name)


def _clip(taken: "LongSound", stretch: "Stretch") -> "Recording":
    """Return a stretch's clip; the last one is kept, since some files are decoded from their start to reach it."""
    asked = taken.sha256, stretch.clip_s
    kept = st.session_state.get("long-clip")
    if kept is None or kept[0] != asked:
        kept = st.session_state["long-clip"] = (asked, taken.stretch(*stretch.clip_s))
    clip: Recording = kept[1]
    return clip


def _salient(clip: "Recording", stretch: "Stretch", asked: "SpeechModel", model: str) -> None:
    """Tell how the salient regions of a stretch differ from the rest of its speech, once that has been worked out.

    Args:
        clip: the stretch.
        stretch: its cues' settings.
        asked: the model, adapted to the voice or not.
        model: its own name, under which its best method is known.
    """

    def work(job: background.Job) -> str:
        from explain.attribution import method_label, methods_for
        from explain.batch import cues_in_words, row_of
        from explain.explanation import explain
        from explain.method_choice import best_first

        method = best_first(model, methods_for(asked))[0].name
        made = explain(clip, asked, method, None, stretch.settings, progress=job.tell)
        told = cues_in_words(row_of(0, clip.name, made)) if made.regions else ""
        if not told:
            return f"By {method_label(method)} no salient region of this stretch has cues that can be told."
        return (
            f"In its salient regions for {made.target.name}, by {method_label(method)}: {told}, against the rest of "
            "its speech (* beyond chance)."
        )

    try:
        started = background.start(("long-salient", clip.sha256, asked.name, stretch.settings), work)
    except BusyError as fault:
        st.caption(plain(str(fault)))
        return
    background.show(started, lambda said: st.html(f'<div class="ss"><p>{escape(said)}</p></div>'))


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
    names = ("Cue", "Here", f"Stretches of {voice} of like length", "SD", "z", "")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return (
        f'<div class="ss">{table("Cues of this stretch against the same voice", head, body)}'
        '<p class="soft"><small>Marked: outside what 95 % of this voice’s other stretches of like length (2/3 to 1.5 '
        "times) would keep (Crawford &amp; Howell’s t); about one cue in twenty is so by chance.</small></p></div>"
    )


def corrections(found: "LongRecording", keep: "Keep") -> None:
    """Let the reader rename and merge voices."""
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


def measurement(found: "LongRecording", taken: "LongSound", keep: "Keep") -> None:
    """Let the reader correct how a voice is measured; its cues are measured again, and nothing else."""
    from explain.cues import CueSettings, check
    from explain.long_recording import exchanged, remeasured

    key = ("long-cues", taken.sha256, found.model)
    started = background.job(key)
    with st.expander("Correct the measurement", expanded=started is not None):
        if started is not None:

            def take(measured: "tuple[Stretch, ...]") -> None:
                background.stop(key)
                keep(exchanged(found, measured))

            background.show(started, take)
            return
        st.caption(
            "Only the cues are measured again; voices and the model’s answers stay as they are. Pitch and formants can "
            f"be compared where they were looked for in one range. {_in_force(found)}"
        )
        voices = {"all voices": found.voices} if len(found.voices) > 1 else {}
        voices |= {found.called(v): (v,) for v in found.voices}
        with st.form("long-measurement", border=False):
            first, second, third, fourth = st.columns(4)
            which = first.selectbox("Of", list(voices))
            floor_hz, top_hz, ceiling_hz = (
                setting_input(column, name, f"long-{name}", "each stretch")
                for column, name in (
                    (second, "pitch_floor_hz"),
                    (third, "pitch_ceiling_hz"),
                    (fourth, "formant_ceiling_hz"),
                )
            )
            pressed = st.form_submit_button("Measure again")
        if pressed:
            settings = CueSettings("unknown", floor_hz, top_hz, ceiling_hz)

            def measure_again() -> None:
                check(settings)
                wanted = [s for s, v in zip(found.stretches, found.voice_of, strict=True) if v in voices[which]]
                background.start(key, lambda job: remeasured(taken, wanted, settings, job.tell), long=True)
                st.rerun()

            _try(measure_again)


def _in_force(found: "LongRecording") -> str:
    """Return in which ranges the pitch and the formants of each voice were looked for."""
    said = []
    for voice in found.voices:
        used = [s.settings for s in found.of(voice) if s.settings is not None]
        if used:
            floor, top, ceiling = (
                _range([getattr(each, name) for each in used])
                for name in ("pitch_floor_hz", "pitch_ceiling_hz", "formant_ceiling_hz")
            )
            said.append(f"{plain(found.called(voice))}: pitch floor {floor}, ceiling {top}, formants up to {ceiling}.")
    return " ".join(said)


def _range(values: list[float]) -> str:
    least, most = (unsigned(value, 0, thousands=True) for value in (min(values), max(values)))
    return f"{least} Hz" if least == most else f"{least}–{most} Hz"


def _try(correct: Callable[[], None]) -> None:
    try:
        correct()
    except SerscopeError as fault:
        st.error(plain(str(fault)))
