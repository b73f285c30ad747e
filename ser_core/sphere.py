"""Valence, arousal and dominance as points of a sphere: coordinates, octants, and words for both.

A point is a row (3,) of valence, arousal and dominance, each from −1 to 1. Spherical coordinates and octants are
those of EmoSphere (Cho et al. 2024, "EmoSphere-TTS"; 2025, "EmoSphere-SER"): the radius says how far from neutral, the
two angles say in which direction. The octants' names are Mehrabian's (1996, "Pleasure-arousal-dominance: a general
framework for describing and measuring individual differences in temperament"); they name corners of the scale, not
persons.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ser_core.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd

    from ser_core.audio import Recording
    from ser_core.models import SpeechModel

DIMENSIONS = ("valence", "arousal", "dominance")

POLES = {
    "valence": ("unpleasant", "pleasant"),
    "arousal": ("calm", "excited"),
    "dominance": ("weak", "strong"),
}
"""Dimension → plain words for −1 and 1."""

OCTANTS = ("bored", "disdainful", "anxious", "hostile", "docile", "relaxed", "dependent", "exuberant")
"""Mehrabian's names in the order of :func:`octant_index`: dominance is the lowest bit, then arousal, then valence."""

NEAR_ZERO = 0.05
"""A value nearer to 0 than this (a fortieth of the scale) is called neither pole in words."""


@dataclass(frozen=True, eq=False)
class Spherical:
    """Spherical coordinates, (clips,) each: radius 0 … √3, polar angle 0 … π from full dominance, azimuth −π … π.

    The azimuth is that of (valence, arousal): 0 is pleasant, π/2 excited. Angles of the middle point are 0.
    """

    radius: np.ndarray
    polar: np.ndarray
    azimuth: np.ndarray


def to_spherical(points: np.ndarray) -> Spherical:
    """Return r = √(V² + A² + D²), θ = arccos(D / r) and φ = atan2(A, V) of points (clips, 3)."""
    valence, arousal, dominance = np.moveaxis(np.asarray(points, dtype=float), -1, 0)
    radius = np.sqrt(valence**2 + arousal**2 + dominance**2)
    # atan2 gives the same angle as arccos(D / r) and keeps its digits near the poles; it is 0 at the centre.
    return Spherical(radius, np.arctan2(np.hypot(valence, arousal), dominance), np.arctan2(arousal, valence))


@dataclass(frozen=True, eq=False)
class Path:
    """A clip's way over time: points (windows, 3) of windows centred at times_s (windows,)."""

    times_s: np.ndarray
    points: np.ndarray


def path_over_time(
    model: "SpeechModel", recording: "Recording", *, window_s: float = 1.0, step_s: float = 0.25, most: int = 60
) -> Path:
    """Return what a model of dimensions answers for windows that slide over a clip; the whole clip if it is shorter.

    Each window is heard on its own, so a value knows nothing of the rest of the clip.

    Args:
        model: one that answers with dimensions.
        recording: the clip.
        window_s: length of a window in seconds.
        step_s: from one window to the next; longer where there would be more than ``most`` windows.
        most: windows at most.

    Raises:
        SettingError: the model answers with something else.
    """
    import torch

    if model.card.answer != "dimensions":
        raise SettingError(f"{model.name} does not answer with dimensions; a path needs a model that does.")
    samples, rate = np.array(recording.samples, np.float32), recording.sample_rate
    window = min(len(samples), round(window_s * rate))
    room = len(samples) - window
    count = min(most, 1 + round(room / (step_s * rate)))
    starts = np.linspace(0, room, count).round().astype(int)
    points = []
    with torch.inference_mode():
        for batch in np.array_split(starts, -(-count // 16)):
            clips = torch.from_numpy(np.stack([samples[start : start + window] for start in batch]))
            points += [model.reading(row).values for row in model.logits(clips).double().numpy()]
    return Path((starts + window / 2) / rate, np.stack([point for point in points if point is not None]))


def octant_shares(points: np.ndarray) -> np.ndarray:
    """Return how far each point belongs to each octant (clips, 8); rows sum to 1.

    A point inside an octant belongs to it alone. One on a boundary belongs in equal parts to all octants that touch it:
    two on a plane, four on an axis, eight in the middle.
    """
    signs = np.sign(np.asarray(points, dtype=float))
    high = (signs + 1) / 2  # 0, ½ on the boundary, 1
    corners = (np.arange(8)[:, None] >> np.array([2, 1, 0])) & 1
    return np.where(corners, high[:, None], 1 - high[:, None]).prod(axis=-1)


def octant_table(rated: np.ndarray, given: np.ndarray) -> "pd.DataFrame":
    """Return how many clips lie in each octant as rated and as predicted, and how many of the rated ones are found.

    Args:
        rated: (clips, 3) ratings.
        given: (clips, 3) a model's values.

    Returns:
        octant (Mehrabian's name), place (its poles in words), rated and predicted (shares of the clips; one on a
        boundary counts in parts), found (share of those rated so that are predicted so, NaN where there are none). By
        chance ``found`` is ``predicted``.
    """
    import pandas as pd

    true, said = octant_shares(rated), octant_shares(given)
    inside = true.sum(axis=0)
    found = np.divide((true * said).sum(axis=0), inside, out=np.full(8, np.nan), where=inside > 0)
    places = [
        ", ".join(POLES[name][(octant >> shift) & 1] for name, shift in zip(DIMENSIONS, (2, 1, 0), strict=True))
        for octant in range(8)
    ]
    shares = {"rated": true.mean(axis=0), "predicted": said.mean(axis=0), "found": found}
    return pd.DataFrame({"octant": OCTANTS, "place": places} | shares)


def octant_index(points: np.ndarray) -> np.ndarray:
    """Return the octant (clips,) of each point, 0 … 7; for a name only, a 0 counts as positive."""
    return ((np.asarray(points) >= 0) * np.array([4, 2, 1])).sum(axis=-1)


def octant_name(point: np.ndarray) -> str:
    """Return the place of one point in words, such as "unpleasant, excited and strong (the “hostile” octant)".

    What lies nearer to 0 than ``NEAR_ZERO`` is left out, and then no octant is named.
    """
    words = [
        POLES[name][int(value > 0)] for name, value in zip(DIMENSIONS, point, strict=True) if abs(value) >= NEAR_ZERO
    ]
    if not words:
        return "in the middle of all three scales"
    said = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    if len(words) < len(DIMENSIONS):
        return f"{said}, otherwise in the middle"
    return f"{said} (the “{OCTANTS[int(octant_index(np.asarray(point)[None])[0])]}” octant)"


def on_unit_scale(ratings: np.ndarray, rating_range: tuple[float, float]) -> np.ndarray:
    """Return ratings on a corpus's own scale as values from −1 to 1.

    Raises:
        SettingError: a rating outside the range.
    """
    low, high = rating_range
    values = 2 * (np.asarray(ratings, dtype=float) - low) / (high - low) - 1
    if np.nanmax(np.abs(values), initial=0.0) > 1 + 1e-9:
        raise SettingError(f"Some ratings lie outside {low:g} … {high:g}; check the scale of the corpus.")
    return values
