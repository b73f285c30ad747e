"""Which parts of a recording a model's answer rests on, by Captum."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Target:
    """The class that is explained, or the difference of two classes' logits."""

    emotion: str
    against: str | None = None

    @property
    def name(self) -> str:
        """Words for a caption: "anger", or "anger rather than happiness"."""
        return self.emotion if self.against is None else f"{self.emotion} rather than {self.against}"


@dataclass(frozen=True, eq=False)
class Attribution:
    """Relevance for one named target.

    relevance has the shape (bands, columns) on ``axes`` "time_frequency", (columns,) on "time", (features,) on
    "features". Column k is centred at ``times_s[k]`` seconds of the recording, row b at ``bands_hz[b]`` Hz.
    completeness_error is |sum of relevance − (target at input − target at baseline)| / |that difference|.
    """

    model: str
    method: str
    target: Target
    axes: str
    relevance: np.ndarray
    times_s: np.ndarray | None = None
    bands_hz: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    signed: bool = True
    baseline: str | None = None
    completeness_error: float | None = None
    steps: int | None = None
    settings: dict = field(default_factory=dict)
