"""Following a long recording: taking it, the stretches as they come, the voices, and one stretch at a time."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.parts import background, domain_panel, room, session, stretches, voices_chart
from pages.parts.cards import table
from pages.parts.exports import buttons, stem_of
from pages.parts.words import plain
from ser_core.errors import AudioError, SerscopeError
from ser_core.numbers import percent, signed, unsigned

if TYPE_CHECKING:
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
        f"server alone, and stays in the memory of this session until {session.kept_until()}."
    )
    if file is None:
        return

    def keep() -> None:
        st.session_state["long-sound"] = long_sound(room.content(file), file.name)

    with st.spinner("Opening the recording"):
        session.take(keep, file)
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
    for key in [key for key in st.session_state.get("jobs", {}) if str(key[0]).startswith("long")]:
        background.stop(key)
    session.forget_parts()
    taken = st.session_state.get("long-round", 0)
    for kept in (st.session_state, st.session_state.get("choices", {})):
        for key in [key for key in kept if str(key).startswith("long-")]:
            del kept[key]
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
        _offer_again(key)
        return
    background.follow(started, lambda: _watch(taken, model, count, key, started))


def _offer_again(key: tuple) -> None:
    if st.button("Follow it again", type="primary", help="From its start; voices are told apart anew."):
        background.stop(key)
        st.session_state.pop(f"long-stopped-{key}", None)
        st.rerun()


def _follow(taken: "LongSound", model: "SpeechModel", job: background.Job) -> "tuple[tuple[Stretch, ...], str]":
    """Return all stretches, and a sentence where the file broke off."""
    from explain import long_recording

    found: list[Stretch] = []
    try:
        for stretch in long_recording.stretches(taken, model, progress=job.tell):
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
        if right.button("Stop here", key="long-stop", help="Keeps what is there so far.", width="stretch"):
            st.session_state[f"long-stopped-{key}"] = True
            started.stop.set()
        if started.known:
            asked = (*key, count, len(started.known))
            made = _made(asked, lambda: with_voices(taken, model, started.known, count=count, complete=False))
            draw(made, taken, model, None)
        else:
            st.caption("The first stretches come in some seconds.")
        return
    if not started.drawn:
        started.drawn = True
        st.rerun()
    found, words = _outcome(started)
    complete = not words
    if not complete:
        st.warning(f"{plain(words)} What came before is shown." if found else plain(words))
        if started.stop.is_set():
            _offer_again(key)
    if not found:
        if complete:
            st.info("No speech was found in this recording.")
        return
    asked = (*key, count, len(found), complete)
    again = st.session_state.get(f"long-cues-{key}", {})
    made = _made(
        asked,
        lambda: with_voices(
            taken, model, [again.get(each.number, each) for each in found], count=count, complete=complete
        ),
    )
    draw(made, taken, model, lambda corrected: _keep(key, asked, corrected))


def _made(asked: tuple, make: "Callable[[], LongRecording]") -> "LongRecording":
    """Return the session's recording for what is asked, made once."""
    kept = st.session_state.get("long-made")
    if kept is None or kept[0] != asked:
        kept = st.session_state["long-made"] = (asked, make())
    made: LongRecording = kept[1]
    return made


def _outcome(started: background.Job) -> "tuple[tuple[Stretch, ...], str]":
    fault = started.future.exception()
    if fault is None:
        done: tuple[tuple[Stretch, ...], str] = started.future.result()
        return done
    if isinstance(fault, SerscopeError):
        raise fault
    if started.stop.is_set():
        return started.known or (), "The recording was not followed to its end."
    raise fault


def _keep(key: tuple, asked: tuple, corrected: "LongRecording") -> None:
    st.session_state["long-made"] = (asked, corrected)
    # Cues that were measured again stay when the voices are told apart anew.
    st.session_state[f"long-cues-{key}"] = {stretch.number: stretch for stretch in corrected.stretches}
    st.rerun()


def draw(
    made: "LongRecording", taken: "LongSound", model: "SpeechModel", keep: "Callable[[LongRecording], None] | None"
) -> None:
    """Draw a session; ``keep`` takes a corrected one, None while it is still growing."""
    from explain.long_recording import reassigned

    found = _answered(made, model)
    st.html(_voices(found) + domain_panel.of_stretches(found.stretches))
    if len(found.stretches) < (FEWEST_DRAWN if keep is None else 1):
        return
    left, right = st.columns([2, 3], gap="medium")
    with left:
        chosen = st.segmented_control(
            "Voice", found.voices, format_func=found.called, default=found.voices[0], required=True, key="long-voice"
        )
    voice = chosen if chosen in found.voices else found.voices[0]
    with right:
        outputs = st.multiselect(
            "Over time",
            list(found.outputs),
            default=voices_chart.prominent(found, voice),
            max_selections=3,
            # What stands out is looked up once for a key: again for another voice, and when all stretches are there.
            key=f"long-outputs-{found.model}-{voice}-{keep is None}",
        )
    st.plotly_chart(
        voices_chart.figure(found, voice, outputs),
        config={"displaylogo": False},
        width="stretch",
        key="long-figure",
        alt=f"Who speaks when, and the answers about {found.called(voice)} over time; in words and as a table below",
    )
    st.caption(voices_chart.reading(found, voice, outputs))
    st.subheader("Stretches")
    picked = stretches.choose(found)
    if picked is not None:
        give = None if keep is None else lambda to: keep(reassigned(made, picked, to))
        stretches.one(found, picked, taken, model, give)
    elif keep is None:
        st.caption("Choose a row to hear and explain it. Voices can be corrected and files taken away at the end.")
    if keep is not None:
        stretches.corrections(made, keep)
        stretches.measurement(made, taken, keep)
        _files(found)


def _answered(made: "LongRecording", model: "SpeechModel") -> "LongRecording":
    """Return the session as it was answered, or, if the reader wants it, after the model has heard each voice."""
    from explain.long_recording_baseline import heard_first, otherwise
    from ser_core.speaker_adaptation import adaptable

    st.session_state.setdefault("long-hear-first", True)
    if not adaptable(model) or not st.toggle("Hear each voice first", key="long-hear-first", help=_HEAR_HELP):
        return made
    kept = st.session_state.get("long-heard")
    if kept is None or kept[0] is not made:
        kept = st.session_state["long-heard"] = (made, heard_first(made, model))
    found: LongRecording = kept[1]
    moved, asked = otherwise(made, found)
    if asked:
        so_far = "" if made.complete else " so far"
        st.caption(
            f"The model has heard all stretches of each voice{so_far}, and answers {moved} of {asked} otherwise than "
            f"alone. It helps only where the voices are told apart rightly. {_gain(model.name)}"
        )
    return found


def _gain(model: str) -> str:
    """Return what hearing each voice first gained in made-up sessions, where that was measured."""
    from ser_core.results import read_summary
    from ser_core.session_study import ALONE, FOUND, table_name
    from ser_core.tasks import CREMA_D

    found = read_summary()
    rows = found[(found["table"] == table_name(model)) & (found["task"] == CREMA_D.name) & (found["measure"] == "UAR")]
    known = {row.variant: row for row in rows.itertuples()}
    if not {ALONE, FOUND} <= set(known):
        return "What that gains in a session has not been measured for this model."
    alone, heard = known[ALONE], known[FOUND]
    return (
        f"In made-up sessions of {alone.speakers} actors of {CREMA_D.title} who are new to the model it brought UAR "
        f"{unsigned(heard.value, 3)} instead of {unsigned(alone.value, 3)} ({signed(heard.change, 3)} "
        f"[{signed(heard.change_low, 3)}, {signed(heard.change_high, 3)}]); {unsigned(alone.chance, 3)} is chance. "
        "Real sessions were not measured."
    )


_HEAR_HELP = (
    "The model counts from the zero of each voice, found in all its stretches, instead of from that of the voices it "
    "was trained on. Nobody needs to say which emotion is in them."
)


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
        ("Most frequent answers, or mean", "words"),
    )
    head = "".join(f'<th scope="col"{f" class={kind}" if kind else ""}>{name}</th>' for name, kind in heads)
    return f'<div class="ss">{table("Voices", head, rows)}</div>'


def _answers(found: "LongRecording", voice: int) -> str:
    asked = [s.prediction for s in found.of(voice) if s.prediction is not None]
    if not asked:
        return "–"
    if asked[0].values is not None:
        means = {name: float(np.mean([p.value(name) for p in asked])) for name in asked[0].emotions}
        return ", ".join(f"{name} {signed(mean)}" for name, mean in means.items())
    tops = [p.top for p in asked]
    ranked = sorted(set(tops), key=lambda name: -tops.count(name))[:3]
    return ", ".join(f"{name} {percent(tops.count(name) / len(tops))}" for name in ranked)


def _files(found: "LongRecording") -> None:
    from explain import long_recording_files as files
    from explain.text_files import csv_file

    st.subheader("Take it away")
    buttons(
        stem_of(found.name),
        [
            ("Stretches (CSV)", lambda: csv_file(files.to_csv(found)), "csv", "text/csv"),
            ("Stretches (Parquet)", lambda: files.to_parquet(found), "parquet", "application/octet-stream"),
            ("Praat (TextGrid)", lambda: files.text_grid(found).encode(), "TextGrid", "text/plain"),
            ("Everything (JSON)", lambda: files.to_json(found).encode(), "json", "application/json"),
        ],
    )
    st.caption("No file holds sound or what tells the voices apart.")
