"""The speaker's own baseline: other clips of the same person, and where this clip's cues lie among them."""

import dataclasses
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from explain.baseline import ALONE_IS_EXPLAINED, answer_sentence
from explain.words import listed
from pages.parts import background, room, session, work
from pages.parts.cards import table
from pages.parts.tables import cue_title
from pages.parts.words import number, p_value, plain
from ser_core.errors import SerscopeError
from ser_core.numbers import counted, percent, signed, unsigned
from ser_core.speaker_adaptation import adaptable, adapted

if TYPE_CHECKING:
    from explain.baseline import OwnBaseline, OwnCue
    from explain.explanation import Explanation
    from ser_core.audio import Recording
    from ser_core.models import Card, Prediction, SpeechModel


def beside(recording: "Recording", model: "SpeechModel") -> "SpeechModel":
    """Return the model, adapted to the person by what else was heard of them if the reader wants it.

    Takes one place on the page whether there is anything to choose or not, as an opened panel below would else close.
    """
    with st.container():
        return _beside(recording, model)


def _beside(recording: "Recording", model: "SpeechModel") -> "SpeechModel":
    of, voice = session.voice()
    if voice is not None and voice.plain.name == model.name:
        wanted = st.toggle(f"{HEAR_FIRST} ({plain(of)})", True, key=session.input_key("voice"), help=_HEAR_HELP)
        return voice if wanted else model
    clips = session.own_clips()
    if not clips or not adaptable(model):
        return model
    count = f"{counted(len(clips), 'other clip')}"
    if not st.toggle(f"{HEAR_FIRST} ({count} of the person)", key=session.input_key("beside"), help=_HEAR_HELP):
        return model
    asked = _asked(recording, model, clips)
    found: SpeechModel = background.made_once(
        _kept(),
        asked,
        asked,
        "Hearing the other clips",
        lambda job: adapted(model, [recording, *clips], job.tell),
        then="The answer comes",
    )
    return found


def _asked(recording: "Recording", model: "SpeechModel", clips: "list[Recording]") -> tuple:
    """Return the key of a model that has heard these clips; the panel and the page wait for the same work."""
    return "adapted", model.name, recording.sha256, tuple(clip.sha256 for clip in clips)


def _kept() -> "dict[tuple, SpeechModel]":
    """Return the session's adapted models."""
    return st.session_state.setdefault("adapted", {})


HEAR_FIRST = "Hear this voice first"
_HEAR_HELP = (
    "The model counts from the zero of this person's voice, found in their other clips, instead of from that of the "
    "voices it was trained on. Nobody needs to say which emotion is in them. Answer, explanation and tests are then "
    "those of the adapted model."
)


def show(shown: "Explanation", model: "SpeechModel") -> "Explanation":
    """Draw the choice of the person's other clips, and the cues set against them when they have been measured.

    Returns:
        The explanation, with the baseline as soon as there is one.
    """
    from explain.baseline import FEWEST, MOST

    st.caption(
        "The neutral reference is other people's speech. With other clips of the same person, each cue of this clip is "
        f"set against the person's own usual: {FEWEST} to {MOST} clips, recorded alike, best in an everyday mood."
        + (" The model is asked once more, too, when it has heard this voice." if adaptable(model) else "")
    )
    offered = session.others()
    if offered and st.button(f"Take {len(offered)} other clips of this speaker from the corpus"):
        from ser_core.audio import read

        with st.spinner("Reading the clips"):
            session.keep_own_clips([read(path) for path in offered])
    _upload(MOST)
    clips = session.own_clips()
    if not clips:
        return shown
    count = f"{counted(len(clips), 'clip')} taken"
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.caption(f"{count}: {plain(', '.join(clip.name for clip in clips[:4]))}{' …' if len(clips) > 4 else ''}")
    right.button("Drop these clips", on_click=session.keep_own_clips, args=([],), width="stretch")
    asked = ("baseline", shown.recording.sha256, repr(shown.tracks.settings), tuple(c.sha256 for c in clips))
    started = background.start(asked, lambda job: _measured(shown, clips, job))
    background.show(started, lambda found: draw(found, shown))
    answer = _answer_beside(shown, model, clips)
    if started.result is None:
        return shown
    return dataclasses.replace(shown, own_baseline=dataclasses.replace(started.result, answer=answer))


def _measured(shown: "Explanation", clips: "list[Recording]", job: background.Job) -> "OwnBaseline":
    from explain.baseline import own_baseline

    return own_baseline(shown.cues, shown.tracks, shown.recording.sha256, clips, job.tell)


def _answer_beside(shown: "Explanation", model: "SpeechModel", clips: "list[Recording]") -> "Prediction | None":
    """Draw what the model answers when it has heard the clips, and return it as soon as it is there."""
    if not adaptable(model):
        return None
    asked = _asked(shown.recording, model, clips)
    if asked not in _kept():
        started = background.start(asked, lambda job: adapted(model, [shown.recording, *clips], job.tell))
        background.show(started)
        if started.result is None:
            return None
        _kept()[asked] = started.result
    found = work.prediction(shown.recording, _kept()[asked])
    others = len({clip.sha256 for clip in clips} - {shown.recording.sha256})
    st.html(
        f'<div class="ss"><p class="paragraph">{escape(answer_sentence(others, found, shown.prediction))}</p>'
        f"{answers(found, shown.prediction)}</div>"
    )
    st.caption(
        f"{ALONE_IS_EXPLAINED} ‘{HEAR_FIRST}’, below the model’s name, explains the other one. {_gain(shown.card)}"
    )
    return found


def _upload(most: int) -> None:
    files = st.file_uploader(
        f"Up to {most} other clips of the same person",
        accept_multiple_files=True,
        key=session.input_key(f"own-{len(session.own_clips())}"),
    )
    if not files:
        return
    from ser_core.audio import decode

    def keep() -> list[str]:
        read, faults = [], []
        for file in files:
            try:
                read.append(decode(room.content(file), file.name))
            except SerscopeError as fault:
                faults.append(str(fault))
        session.keep_own_clips([*session.own_clips(), *read])
        return faults

    with st.spinner("Reading the clips"):
        faults = session.take(keep, *files)
    for fault in faults:
        st.error(plain(fault))
    if not faults:
        st.rerun()


def draw(found: "OwnBaseline", shown: "Explanation") -> None:
    """Draw the cues against the person's own clips, beside their place in neutral speech of others."""
    st.html(
        f'<div class="ss"><p class="paragraph" role="status">{escape(found.sentence)}</p>{rows(found, shown)}'
        '<p class="soft">z: distance from the person’s mean in standard deviations. Usual: the range that 95 % of '
        "further clips of the person would keep, by Crawford &amp; Howell’s t for few clips.</p></div>"
    )


def answers(beside: "Prediction", alone: "Prediction") -> str:
    """Return the table of the answer beside the person's other clips, and to the clip alone."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{percent(alone.probability(name))}</td>'
        f"<td><strong>{percent(beside.probability(name))}</strong></td></tr>"
        for name in beside.order
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Emotion", "Alone", "With the others"))
    return table("The model’s answer when it has heard this voice", head, lines)


def _gain(card: "Card") -> str:
    """Return what it gained on speakers of its own corpus whom the model never heard, where that was measured."""
    from ser_core.results import read_summary
    from ser_core.speaker_adaptation_study import ALONE, Given, table_name
    from ser_core.tasks import TASKS

    found = read_summary()
    home = next((task.name for task in TASKS.values() if card.corpora[:1] == (task.title,)), "")
    of_model = (found["table"] == table_name(card.name)) & (found["task"] == home)
    known = {row.variant: row for row in found[of_model & (found["measure"] == "UAR")].itertuples()}
    told = [given.words for given in (Given(5, "any"), Given(20, "any"), Given(10, "neutral"))]
    if not {ALONE, *told} <= set(known):
        return "What that gains has not been measured for this model."
    alone = known[ALONE]
    gained = [
        f"{unsigned(row.value, 3)} {row.variant} ({signed(row.change, 3)} "
        f"[{signed(row.change_low, 3)}, {signed(row.change_high, 3)}])"
        for row in (known[words] for words in told)
    ]
    return (
        f"What that gains, over {alone.speakers} speakers of {TASKS[alone.task].title} who are new to the model: UAR "
        f"{unsigned(alone.value, 3)} for {ALONE}, {listed(gained)}; {unsigned(alone.chance, 3)} is chance. All their "
        "clips were recorded alike; for others it is not known. Results has the same for other corpora."
    )


def rows(found: "OwnBaseline", shown: "Explanation") -> str:
    """Return the table of cues against the person's own clips."""
    percentiles = {a.cue: a.percentile for a in shown.agreements if a.scope == "clip"}
    names = ("Cue", "This clip", "Own mean ± SD", "Clips", "z", "Usual", "p", "Among others", "Reading")
    head = "".join(f'<th scope="col"{" class=words" if name == "Reading" else ""}>{name}</th>' for name in names)
    return table(
        "This clip against the same person's other clips",
        head,
        "".join(_row(row, percentiles.get(_EXPERTS.get(row.cue, row.cue))) for row in found.cues),
    )


_EXPERTS = {"f0_slope": "f0_contour"}


def _row(row: "OwnCue", percentile: float | None) -> str:
    name = f'<th scope="row">{escape(cue_title(row.cue))}</th><td>{number(row.value, row.unit)}</td>'
    among = "–" if percentile is None else f"percentile {percentile:.0f}"
    if row.z is None or row.mean is None:
        return f'<tr>{name}<td>–</td><td>{row.clips}</td><td colspan="3" class="words none">{escape(row.note)}</td>' + (
            f'<td>{among}</td><td class="words">–</td></tr>'
        )
    way = "higher than usual" if row.z > 0 else "lower than usual"
    reading = f"<strong>{way}</strong>" if row.unusual else "as usual"
    return (
        f"<tr>{name}<td>{number(row.mean)} ± {number(row.sd)}</td><td>{row.clips}</td>"
        f"<td>{signed(row.z)}</td><td>{number(row.low)} … {number(row.high)}</td><td>{p_value(row.p)}</td>"
        f'<td>{among}</td><td class="words">{reading}</td></tr>'
    )
