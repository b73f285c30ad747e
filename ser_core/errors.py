"""The errors that SERscope raises on purpose: each message says what is wrong and what to do."""

import errno
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

MOST_QUOTED = 60

_Given = ParamSpec("_Given")


def short(text: object) -> str:
    """Return what a user wrote or named, fit to be quoted in a sentence: a line of ``MOST_QUOTED`` characters at most.

    The middle of a longer text gives way to "…", so that the name of a file keeps its ending.
    """
    words = str(text)
    if len(words) > MOST_QUOTED:
        words = f"{words[: MOST_QUOTED - 16]}…{words[-15:]}"
    # The joiners of Urdu and Persian names are no signs that are seen, but belong to them.
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in words)


class SerscopeError(Exception):
    """Base of every error whose message is meant for the user."""


class AudioError(SerscopeError):
    """A recording that cannot be read or used."""


class CorpusError(SerscopeError):
    """A corpus folder or table that does not hold what its layout promises."""


class WeightsError(SerscopeError):
    """Pretrained weights that are absent, incomplete or not the pinned ones."""


class ModelError(SerscopeError):
    """A model folder that cannot be loaded, or a model that cannot do what was asked."""


class ExplanationError(SerscopeError):
    """An explanation that is not defined for this model, target or clip."""


class SettingError(SerscopeError):
    """A setting or option outside what it may be."""


class StorageError(SerscopeError):
    """A file that cannot be written."""


def command_line(main: Callable[_Given, int]) -> Callable[_Given, int]:
    """Return a command's main function that says in one sentence what is wrong with an input, and then returns 2."""

    @functools.wraps(main)
    def said(*args: _Given.args, **kwargs: _Given.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except SerscopeError as fault:
            print(f"error: {fault}", file=sys.stderr)
        except OSError as fault:
            if fault.errno != errno.ENAMETOOLONG:
                raise
            print(f"error: '{short(fault.filename)}' is longer than a name can be here.", file=sys.stderr)
        return 2

    return said
