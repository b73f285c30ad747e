"""The changes of the Robustness page to hear: the reader's clip or a sample, under each change at each level."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.parts import background, robustness_charts, room, session
from pages.parts.words import plain
from ser_core.degradations import KINDS, Voice, changed
from ser_core.errors import SerscopeError

if TYPE_CHECKING:
    from ser_core.audio import Recording
    from ser_core.noise import Source

ACROSS, KEPT = 3, 6
TALKERS = 6


def show() -> None:
    """Draw the choice of clip and change, and a player for the clean clip and for each level."""
    from explain.samples import samples
    from ser_core.audio import SAMPLE_RATE, read

    st.subheader("Hear the changes")
    own, offered = session.clip(), {sample.title: sample for sample in samples()}
    mine = [f"Your clip: {own.name}"] if own is not None else []
    left, right = st.columns(2)
    title = left.selectbox("Clip", [*mine, *offered], key="hear-clip")
    kind = right.selectbox(
        "Change",
        list(KINDS),
        index=list(KINDS).index("telephone"),
        format_func=lambda name: f"{name} ({KINDS[name].family})",
        key="hear-change",
    )
    try:
        clip = own if own is not None and title in mine else read(offered[title].path)
    except SerscopeError as fault:
        st.error(plain(str(fault)))
        return
    noise = _noise() if kind == "environment" else None
    if kind == "environment" and noise is None:
        st.caption(
            "The recordings of the stored study (ESC-10: rain, dogs, clocks, engines …) are not kept with the app. "
            "Give a recording of noise of your own to hear it behind the clip; it stays in this session’s memory."
        )
        return
    of_samples = f" {_VOICES}" if kind in ("babble", "speech-shaped") else ""
    st.caption(plain(f"{KINDS[kind].what[:1].upper()}{KINDS[kind].what[1:]}.{of_samples}"))
    asked, held = (clip.sha256, kind, noise.sha256 if noise else ""), st.session_state.setdefault("heard", {})
    try:
        made = background.made_once(
            held,
            asked,
            ("hear-changes", *asked),
            "Changing the clip",
            lambda _job: _changed(clip, kind, noise),
            then="The players come",
            needed=False,
            most=KEPT,
        )
    except SerscopeError as fault:
        st.error(plain(str(fault)))
        return
    if made is None:
        return
    for row in range(0, len(made), ACROSS):
        for (words, heard), column in zip(made[row : row + ACROSS], st.columns(ACROSS), strict=False):
            column.caption(plain(words))
            column.audio(heard, sample_rate=SAMPLE_RATE)


_VOICES = "Here the voices are the app’s own synthetic samples; those of the stored study are of the tested corpus."


def _noise() -> "Recording | None":
    """Return the noise that the reader gave."""
    from ser_core.audio import decode
    from ser_core.corpora.table import AUDIO_SUFFIXES

    kinds = sorted(suffix.removeprefix(".") for suffix in AUDIO_SUFFIXES)
    number = st.session_state.get("noise round", 0)
    file = st.file_uploader("A recording of noise", type=kinds, key=f"hear-noise-{number}", max_upload_size=20)
    if file is not None:
        try:
            session.take(lambda: _keep(decode(room.content(file), file.name), number), file)
        except SerscopeError as fault:
            st.error(plain(str(fault)))
    found: Recording | None = st.session_state.get("own noise")
    return found


def _keep(noise: "Recording", number: int) -> None:
    st.session_state["own noise"], st.session_state["noise round"] = noise, number + 1


def _changed(clip: "Recording", kind: str, noise: "Recording | None") -> list[tuple[str, np.ndarray]]:
    """Return the clip as it is and at each level of a change, with words for each."""
    from explain.samples import samples
    from ser_core.audio import SAMPLE_RATE, read
    from ser_core.noise import babble, recorded, speech_shaped
    from ser_core.speech import speech_mask, speech_segments

    noises: dict[str, Source] = {}
    if kind in ("babble", "speech-shaped"):
        voices = [read(sample.path) for sample in samples()]
        others = [np.array(voice.samples) for voice in voices if voice.sha256 != clip.sha256]
        noises = {"babble": babble(others, talkers=TALKERS), "speech-shaped": speech_shaped(others)}
    if noise is not None:
        noises["environment"] = recorded(noise.samples)
    heard = np.array(clip.samples)
    active = speech_mask(speech_segments(clip), np.arange(len(heard)) / SAMPLE_RATE)
    voice = Voice(clip.name, heard, active, noises)
    levels = [(robustness_charts.level_words(kind, level), changed(voice, kind, level)) for level in KINDS[kind].levels]
    return [("as it is", heard), *levels]
