"""Faults on a page: one sentence for the user, the rest in the server's log, and no voice data in either."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from pages.parts.words import plain
from ser_core.errors import SerscopeError

_LOG = logging.getLogger("serscope.pages")


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Show a fault inside the block as one sentence and end the page there; usable as a decorator as well."""
    try:
        yield
    except SerscopeError as fault:
        st.error(plain(str(fault)))
        st.stop()
    except Exception as fault:
        # The message may quote a file name or samples, so the log gets the type and the places only.
        places = "".join(traceback.format_tb(fault.__traceback__))
        _LOG.error("Unexpected %s\n%s", type(fault).__name__, places)
        st.error(
            "Something went wrong inside SERscope, and this view could not be made. "
            "Try another method or clip; the server's log says where it happened."
        )
        st.stop()
