"""The salient regions of an attribution, on the clip's own clock."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """A salient box in seconds and Hz; ``share`` is its part of the clip's positive relevance (0 … 1).

    low_hz and high_hz are None where the attribution has no frequency axis. Regions are ranked from 1 by share.
    """

    rank: int
    start_s: float
    end_s: float
    low_hz: float | None
    high_hz: float | None
    share: float
