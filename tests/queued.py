"""What a page puts into the queue of all readers' work."""

from collections.abc import Callable
from typing import Any

import pytest

from pages.parts import background
from ser_core.turns import Job


def kinds_queued(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the kind of each job is added that takes a turn from now on."""
    submit, kinds = background.queue().submit, []

    def note(work: Callable[[Job], Any], session: str, kind: int) -> Job:
        kinds.append(kind)
        return submit(work, session, kind)

    monkeypatch.setattr(background.queue(), "submit", note)
    return kinds
