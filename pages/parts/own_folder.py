"""A corpus folder of the reader's own, by its path: only where the app runs on the reader's own machine.

A server that others can reach must never read a path that somebody types: it would tell what lies on its disk.
"""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from pages.parts import sign_in
from pages.parts.words import plain
from ser_core.errors import CorpusError, short

FOLDERS = "own folders"
HIGHEST = 3
"""Parts that a path has at least: a disk, or all homes on it, would be searched for minutes."""
REFUSED = (
    "A folder's path can be typed only where the app runs on your own machine and for you alone. Here, whoever runs "
    "the server can put the folder below one that SERSCOPE_CORPORA names; it then appears without a restart."
)


def refusal() -> str:
    """Return why this reader's paths are not read, in words; "" where they are.

    A server with a sign-in is not for one person alone.
    """
    return "" if sign_in.at_this_machine() and not sign_in.providers() else REFUSED


def folders() -> tuple[Path, ...]:
    """Return the folders that this reader has named, where they may be read."""
    named: tuple[Path, ...] = st.session_state.get(FOLDERS, ())
    return named if named and not refusal() else ()


def offer(known: Mapping[str, Path]) -> None:
    """Let the reader name a folder, and forget those that were named.

    Args:
        known: the corpora that are at hand already.
    """
    with st.expander("A corpus folder of your own"):
        if why := refusal():
            st.caption(why)
            return
        st.caption(
            "A folder laid out as its owners do, or with a table labels.csv (file, speaker, emotion; also sex, age, "
            "race, ethnicity, language) beside the sound files; or the folder above several such. It is read where it "
            "lies, nothing is copied."
        )
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        typed = left.text_input("Path of the folder", key="own-folder", placeholder="/home/you/speech")
        if right.button("Use it", width="stretch", disabled=not typed.strip()):
            try:
                _take(typed.strip(), known)
            except CorpusError as fault:
                st.error(plain(str(fault)))
            else:
                st.rerun()
        if named := folders():
            st.caption(f"Named so far: {plain(', '.join(map(str, named)))}.")
            st.button("Forget these folders", on_click=lambda: st.session_state.pop(FOLDERS, None))


def _take(typed: str, known: Mapping[str, Path]) -> None:
    """Take a folder into the session once all in it can be read.

    Raises:
        CorpusError: it cannot be, or a corpus of that name is at hand; the sentence says what to do.
    """
    from ser_core.corpora import find_corpora, read_corpus

    folder = Path.home() / typed[2:] if typed.startswith("~/") else Path(typed)
    if not folder.is_absolute():
        raise CorpusError(
            f"'{short(typed)}' is not a whole path; write it from the root of the disk, such as /home/you/speech."
        )
    if len(folder.resolve().parts) < HIGHEST or folder.resolve() == Path.home():
        raise CorpusError(
            f"{short(folder)} is too much to look through; name the folder of the corpus itself, or the one above."
        )
    try:
        found = find_corpora([folder]) or {"": folder}
        if twice := sorted(set(found) & set(known)):
            raise CorpusError(
                f"A corpus called {', '.join(map(short, twice))} is at hand already; rename your folder to use it, too."
            )
        for each in found.values():
            read_corpus(each)
    except OSError as fault:
        raise CorpusError(
            f"{short(folder)} cannot be read ({fault.strerror}); let this user read it, or copy it."
        ) from None
    st.session_state[FOLDERS] = (*st.session_state.get(FOLDERS, ()), folder)
