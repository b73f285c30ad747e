"""Where in a recording somebody speaks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A stretch of speech in seconds from the recording's first sample."""

    start_s: float
    end_s: float
