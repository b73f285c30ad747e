"""Multiblock partial least squares: several blocks of features, one joint latent space of maximal covariance.

Westerhuis, Kourti & MacGregor 1998, "Analysis of multiblock and hierarchical PCA and PLS models", with deflation by the
super scores: every block is divided by the root of its number of columns, the block weights are those of a PLS on all
blocks side by side, and a block's super weight is the length of its part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.errors import SettingError


@dataclass(frozen=True, eq=False)
class MultiblockPLS:
    """A fitted projection.

    Attributes:
        mean: (features,) of all blocks side by side.
        scale: (features,) what centred features are multiplied by: 1 / deviation / √(columns of the block).
        rotation: (features, components): scaled features times this are the super scores.
        block_weights: (features, components); within a block each column has length 1, or 0 where the block is empty.
        super_weights: (blocks, components); their squares sum to 1 over the blocks.
        loadings: (features, components) of the scaled features.
    """

    mean: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray
    block_weights: np.ndarray
    super_weights: np.ndarray
    loadings: np.ndarray

    def scores(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """Return the super scores (clips, components) of blocks (clips, columns) in the order of the fit."""
        scaled: np.ndarray = (np.concatenate(blocks, axis=1) - self.mean) * self.scale
        return scaled @ self.rotation


def fit_multiblock_pls(blocks: Sequence[np.ndarray], aims: np.ndarray, components: int) -> MultiblockPLS:
    """Return the projection of blocks whose super scores have, one after the other, maximal covariance with the aims.

    Each component's weights are the first left singular vector of blocksᵀ aims; the super score is then taken out of
    the blocks. Columns of blocks and aims are centred and given deviation 1; constant ones count nothing.

    Args:
        blocks: (clips, columns) each, of the same clips.
        aims: (clips, aims).
        components: of the latent space; at most the number of columns of all blocks.

    Raises:
        SettingError: the clips differ in number, or there are too few columns or clips for the components.
    """
    clips = {len(block) for block in blocks} | {len(aims)}
    features = sum(block.shape[1] for block in blocks)
    if len(clips) > 1:
        raise SettingError("Every block and the aims need one row for each of the same clips.")
    if not 1 <= components <= min(features, len(aims) - 1):
        raise SettingError(
            f"{components} components cannot be found in {features} columns of {len(aims)} clips; ask for fewer."
        )
    whole = np.concatenate(blocks, axis=1).astype(np.float64)
    owner = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
    mean = whole.mean(0)
    scale = _inverse(whole.std(0)) / np.sqrt(np.bincount(owner))[owner]
    left = (whole - mean) * scale
    wanted = (aims - aims.mean(0)) * _inverse(aims.std(0))
    cross = left.T @ wanted
    weights, loadings = np.zeros((2, features, components))
    for place in range(components):
        weight = np.linalg.eigh(cross @ cross.T)[1][:, -1]
        weight *= np.sign(weight[np.abs(weight).argmax()])
        score = left @ weight
        loading = left.T @ score / (score @ score)
        left -= np.outer(score, loading)
        cross -= np.outer(loading, score @ wanted)
        weights[:, place], loadings[:, place] = weight, loading
    lengths = np.sqrt(np.stack([np.square(weights[owner == b]).sum(0) for b in range(len(blocks))]))
    return MultiblockPLS(
        mean=mean,
        scale=scale,
        rotation=weights @ np.linalg.inv(loadings.T @ weights),
        block_weights=weights * _inverse(lengths)[owner],
        super_weights=lengths,
        loadings=loadings,
    )


def _inverse(values: np.ndarray) -> np.ndarray:
    return np.divide(1.0, values, out=np.zeros_like(values, dtype=np.float64), where=values > 1e-12)
