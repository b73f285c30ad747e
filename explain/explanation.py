"""One explanation of one clip, and the words made from its figures."""

from dataclasses import dataclass

import numpy as np

from explain.attribution import Attribution, Target
from explain.cues import CueSummary, CueTracks
from explain.expert import Agreement
from explain.regions import Region
from ser_core.audio import Quality, Recording
from ser_core.models import Card, PoolingWeights, Prediction
from ser_core.speech import Segment


@dataclass(frozen=True, eq=False)
class Explanation:
    """Everything the page shows and the exports hold; ``seconds`` is the computing time of each step."""

    recording: Recording
    quality: Quality
    speech: tuple[Segment, ...]
    card: Card
    prediction: Prediction
    target: Target
    attribution: Attribution
    pooling: PoolingWeights | None
    regions: tuple[Region, ...]
    tracks: CueTracks
    cues: CueSummary
    agreements: tuple[Agreement, ...]
    paragraph: str
    spectrogram_db: np.ndarray
    spectrogram_times_s: np.ndarray
    spectrogram_hz: np.ndarray
    versions: dict[str, str]
    seconds: dict[str, float]
