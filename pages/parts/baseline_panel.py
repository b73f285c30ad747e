"""The speaker's own baseline: other clips of the same person, and where this clip's cues lie among them."""

import dataclasses
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, room, session
from pages.parts.cards import table
from pages.parts.tables import cue_title
from pages.parts.words import number, p_value, plain
from ser_core.errors import SerscopeError
from ser_core.numbers import signed

if TYPE_CHECKING:
    from explain.baseline import OwnBaseline, OwnCue
    from explain.explanation import Explanation
    from ser_core.audio import Recording


def show(shown: "Explanation") -> "Explanation":
    """Draw the choice of the person's other clips, and the cues set against them when they have been measured.

    Returns:
        The explanation, with the baseline as soon as there is one.
    """
    from explain.baseline import FEWEST, MOST

    st.caption(
        "The neutral reference is other people's speech. With other clips of the same person, each cue of this clip is "
        f"set against the person's own usual: {FEWEST} to {MOST} clips, recorded alike, best in an everyday mood."
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
    count = f"{len(clips)} {'clip' if len(clips) == 1 else 'clips'} taken"
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.caption(f"{count}: {plain(', '.join(clip.name for clip in clips[:4]))}{' …' if len(clips) > 4 else ''}")
    right.button("Drop these clips", on_click=session.keep_own_clips, args=([],), width="stretch")
    asked = ("baseline", shown.recording.sha256, repr(shown.tracks.settings), tuple(c.sha256 for c in clips))
    started = background.start(asked, lambda job: _measured(shown, clips, job))
    background.show(started, lambda found: draw(found, shown))
    if started.result is None:
        return shown
    return dataclasses.replace(shown, own_baseline=started.result)


def _measured(shown: "Explanation", clips: "list[Recording]", job: background.Job) -> "OwnBaseline":
    from explain.baseline import own_baseline

    return own_baseline(shown.cues, shown.tracks, shown.recording.sha256, clips, job.tell)


def _upload(most: int) -> None:
    files = st.file_uploader(
        f"Up to {most} other clips of the same person",
        accept_multiple_files=True,
        key=session.input_key(f"own-{len(session.own_clips())}"),
    )
    if not files:
        return
    from ser_core.audio import decode

    read, faults = [], []
    with st.spinner("Reading the clips"):
        for file in files:
            try:
                read.append(decode(room.content(file), file.name))
            except SerscopeError as fault:
                faults.append(str(fault))
            finally:
                session.drop_upload(file)
    session.keep_own_clips([*session.own_clips(), *read])
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
