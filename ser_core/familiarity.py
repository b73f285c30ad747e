"""How far a clip lies from what a model was trained on.

Distance: the smallest Mahalanobis distance to a class mean under one shared covariance (Lee et al. 2018, "A simple
unified framework for detecting out-of-distribution samples"), in the leading principal components of the model's own
embedding. It is set against held-out clips of the training corpus, so it speaks of likeness, not of correctness.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ser_core.files import whole

FILE = "familiarity.safetensors"
UNUSUAL = 95.0
"""Percentile from which a clip is called unusual for a model."""


@dataclass(frozen=True)
class Familiarity:
    """How far a clip lies from what the model was trained on.

    percentile: share (0 … 100) of held-out clips of the training corpus that lie nearer than this one.
    """

    distance: float
    percentile: float
    sentence: str


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Whitening (features, components), class means (classes, components) and held-out distances, sorted."""

    centre: np.ndarray
    whitening: np.ndarray
    class_means: np.ndarray
    held_out: np.ndarray

    def distance(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the distance (clips,) of embeddings (clips, features) to the nearest class mean."""
        points = (embeddings - self.centre) @ self.whitening
        return np.sqrt(((points[:, None] - self.class_means[None]) ** 2).sum(-1)).min(1)

    def familiarity(self, embedding: np.ndarray, corpus: str) -> Familiarity:
        """Return the place of one embedding (features,) among the held-out clips, and a plain sentence."""
        distance = float(self.distance(embedding[None])[0])
        percentile = float(100 * np.searchsorted(self.held_out, distance) / len(self.held_out))
        return Familiarity(distance, percentile, _sentence(percentile, corpus))

    def save(self, folder: Path) -> None:
        """Write the arrays into a model folder as safetensors in single precision."""
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in vars(self).items()}
        with whole(folder / FILE) as partial:
            save_file(arrays, partial)


def load_neighbourhood(folder: Path) -> Neighbourhood | None:
    """Return the neighbourhood stored in a model folder, if there is one."""
    path = folder / FILE
    return Neighbourhood(**load_file(path)) if path.exists() else None


def fit_neighbourhood(
    embeddings: np.ndarray, classes: np.ndarray, held_out: np.ndarray, *, components: int = 32
) -> Neighbourhood:
    """Fit on training embeddings (clips, features) and rank the held-out ones.

    Args:
        embeddings: of training clips.
        classes: (clips,) class of each training clip.
        held_out: embeddings of clips by speakers not trained on.
        components: principal components kept; fewer where there are fewer clips or features.
    """
    from sklearn.decomposition import PCA  # only here, as to load it takes a second

    components = min(components, *embeddings.shape)
    centre = embeddings.mean(0)
    axes = PCA(components, svd_solver="randomized", random_state=0).fit(embeddings).components_.T
    points = (embeddings - centre) @ axes
    means = np.stack([points[classes == c].mean(0) for c in np.unique(classes)])
    residual = points - means[np.unique(classes, return_inverse=True)[1]]
    covariance = residual.T @ residual / len(points)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(np.maximum(values, 1e-6 * values.max()))
    unranked = Neighbourhood(centre, axes @ whiten, means @ whiten, np.zeros(1))
    return Neighbourhood(
        centre, unranked.whitening, unranked.class_means, np.sort(unranked.distance(held_out).astype(np.float32))
    )


def _sentence(percentile: float, corpus: str) -> str:
    if percentile >= 99:
        share = "all" if percentile >= 100 else "over 99 % of"
        return (
            f"This clip lies further from the training data than {share} unseen {corpus} clips: the model has not "
            "heard speech like this, so treat its answer with great caution."
        )
    if percentile >= UNUSUAL:
        return (
            f"This clip is unusual for the model: it lies further from the training data than {percentile:.0f} % of "
            f"unseen {corpus} clips."
        )
    return (
        f"This clip resembles what the model was trained on: {math.floor(100 - percentile)} % of unseen {corpus} clips "
        "lie further from the training data."
    )
