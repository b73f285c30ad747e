"""A report opened again: asked for, shown as it was stored, and made anew from its audio."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, choose, room, session
from pages.parts.cards import table
from pages.parts.words import plain
from ser_core.errors import SerscopeError

if TYPE_CHECKING:
    from explain.opened import Section
    from explain.reopen import Remade, Reopened
    from ser_core.audio import Recording

KEY, REMAKE = "reopened", "remake"


def current() -> "Reopened | None":
    """Return the report that the session has open."""
    return st.session_state.get(KEY)


def ask() -> None:
    """Take a report; ends the run when there is one."""
    from explain.reopen import MAX_BYTES, reopen

    file = st.file_uploader(
        f"A report of SERscope (PDF or JSON, up to {MAX_BYTES // 10**6} MB)",
        type=["pdf", "json"],
        key=session.input_key("report"),
        max_upload_size=MAX_BYTES // 10**6,
    )
    if file is None:
        return

    def keep() -> None:
        with room.ALONE:
            st.session_state[KEY] = reopen(room.content(file))

    try:
        with st.spinner("Reading the report"):
            session.take(keep, file)
    except SerscopeError as fault:
        st.error(plain(str(fault)))
        return
    st.rerun()


def _close() -> None:
    """Drop the report, and the voice from which it was made anew."""
    background.stop_kind(REMAKE)
    session.forget_parts()
    st.session_state.pop(KEY, None)


def show(report: "Reopened") -> None:
    """Draw the stored report, and the way to make it anew."""
    from explain.attribution import method_label
    from pages.parts import answer, domain_panel, experiment_panel, tables, trust_panel

    e = report.explanation
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.markdown(
        f"**{plain(e.recording.name)}** · {e.recording.duration_s:.2f} s · SHA-256 {e.recording.sha256[:12]}…"
    )
    right.button("Close this report", on_click=_close, width="stretch")
    _again(report)
    st.header("What the model answered")
    answer.show_answer(e.prediction, e.card.title)
    domain_panel.show_use(e.card)
    if e.outside:
        st.html(domain_panel.warnings(e.outside, e.outside[0].corpus))
    st.header(f"Why {plain(e.target.name)}")
    st.caption(answer.method_line(e.attribution, method_label(e.attribution.method)))
    _figure(report)
    if e.attribution.axes == "features":
        answer.show_features(e.attribution)
    tables.show_magnitudes(e, None, None)
    tables.show_contrasts(e, None, None, selectable=False)
    tables.show_agreement(e)
    answer.show_quality(e.quality)
    if report.opened.trust is not None:
        st.header("Can this explanation be trusted?")
        trust_panel.draw(e, report.opened.trust)
    if report.opened.experiments:
        st.header("What if the voice were different?")
        for number, each in enumerate(report.opened.experiments):
            with st.container(key=f"experiment-{number}"):
                experiment_panel.draw(each)
    for section in report.opened.sections:
        _section(section)
    with st.expander("Software that made the report"):
        rows = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td class="words">{escape(version)}</td></tr>'
            for name, version in e.versions.items()
        )
        st.html(f'<div class="ss">{table("Versions", "", rows)}</div>')


def _figure(report: "Reopened") -> None:
    from pages.parts import viewer

    st.html(viewer.still(report.explanation))
    st.caption("Drawn from the stored figures; waveform and spectrogram are not stored, as speech can be rebuilt.")


def _section(section: "Section") -> None:
    st.header(plain(section.title))
    for sentence in section.sentences:
        st.html(f'<div class="ss"><p>{escape(sentence)}</p></div>')
    for each in section.tables:
        head = "".join(f'<th scope="col" class="words">{escape(name)}</th>' for name in each.head)
        rows = "".join(
            "<tr>"
            + "".join(
                f'<th scope="row">{escape(one)}</th>' if place == 0 else f'<td class="words">{escape(one)}</td>'
                for place, one in enumerate(row)
            )
            + "</tr>"
            for row in each.rows
        )
        st.html(f'<div class="ss">{table(each.title or section.title, head, rows)}</div>')


# Made anew


def _again(report: "Reopened") -> None:
    """Offer to make the figures anew, and show how they compare."""
    from explain.reopen import why_not_again
    from ser_core.audio import decode

    e = report.explanation
    asked = (REMAKE, e.recording.sha256, id(report))
    started = background.job(asked)
    if started is not None:
        background.show(started, _compared)
        return
    if missing := why_not_again(e.prediction.model):
        st.info(plain(missing))
        return
    with st.expander("Make the figures anew from the audio"):
        file = st.file_uploader(choose.FORMATS, key=session.input_key("report-audio"))
    if file is None:
        return

    def begun() -> bool:
        recording = decode(room.content(file), file.name)
        same = recording.sha256 == e.recording.sha256
        if same:
            background.start(asked, lambda job: _remade(report, recording, job))
        return same

    with st.spinner("Reading the clip"):
        same = session.take(begun, file)
    if same:
        st.rerun()
    st.error(
        "This is another recording than the one the report was made from (its SHA-256 differs); choose the same file, "
        "unchanged."
    )


def _remade(report: "Reopened", recording: "Recording", job: background.Job) -> "Remade":
    from explain.reopen import remake
    from ser_core.registry import load_model

    job.tell(0.0, "Loading the model")
    return remake(report, recording, load_model(report.explanation.prediction.model), progress=job.tell)


def _compared(made: "Remade") -> None:
    if made.same:
        st.success(plain(made.sentence))
    else:
        st.warning(plain(f"{made.sentence} The stored figures are shown below."))
    with st.expander("Every part"):
        for check in made.checks:
            st.markdown(f"- {plain(check.sentence)}")
