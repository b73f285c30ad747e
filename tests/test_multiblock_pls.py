import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression

from ser_core.errors import SettingError
from ser_core.multiblock_pls import fit_multiblock_pls


def correlated(seed: int, clips: int = 60, columns: tuple[int, ...] = (5, 3), aims: int = 4):
    random = np.random.default_rng(seed)
    latent = random.normal(size=(clips, 3))
    blocks = [latent @ random.normal(size=(3, c)) + random.normal(size=(clips, c)) for c in columns]
    return blocks, latent @ random.normal(size=(3, aims)) + random.normal(size=(clips, aims))


def published_iteration(blocks: list[np.ndarray], aims: np.ndarray, components: int):
    """The two-level NIPALS of Westerhuis et al. 1998, table 2, block by block as printed."""
    blocks = [(b - b.mean(0)) / b.std(0) for b in blocks]
    aims = (aims - aims.mean(0)) / aims.std(0)
    scores, supers = [], []
    for _ in range(components):
        u = aims[:, 0]
        for _ in range(5000):
            w = [b.T @ u for b in blocks]
            w = [v / np.linalg.norm(v) for v in w]
            t = np.stack([b @ v / np.sqrt(b.shape[1]) for b, v in zip(blocks, w, strict=True)], axis=1)
            w_super = t.T @ u
            w_super /= np.linalg.norm(w_super)
            t_super = t @ w_super
            q = aims.T @ t_super / (t_super @ t_super)
            u = aims @ q / (q @ q)
        blocks = [b - np.outer(t_super, b.T @ t_super / (t_super @ t_super)) for b in blocks]
        scores.append(t_super)
        supers.append(w_super)
    return np.stack(scores, axis=1), np.stack(supers, axis=1)


def test_one_block_is_the_pls_of_scikit_learn() -> None:
    (block,), aims = correlated(0, columns=(6,))
    ours = fit_multiblock_pls([block], aims, 4)
    x = (block - block.mean(0)) / block.std(0)
    y = (aims - aims.mean(0)) / aims.std(0)
    theirs = PLSRegression(4, scale=False, tol=1e-14, max_iter=10_000).fit(x, y)
    # A single block is divided by the root of its columns; nothing else differs.
    assert np.abs(ours.scores([block])) * np.sqrt(6) == pytest.approx(np.abs(theirs.transform(x)), abs=1e-6)
    assert np.abs(ours.block_weights) == pytest.approx(np.abs(theirs.x_weights_), abs=1e-6)
    assert ours.super_weights == pytest.approx(1.0)


def test_several_blocks_are_the_published_two_level_iteration() -> None:
    blocks, aims = correlated(1, columns=(5, 2, 7))
    ours = fit_multiblock_pls(blocks, aims, 3)
    scores, supers = published_iteration(blocks, aims, 3)
    assert np.abs(ours.scores(blocks)) == pytest.approx(np.abs(scores), abs=1e-6)
    assert ours.super_weights == pytest.approx(np.abs(supers), abs=1e-6)


def test_no_other_direction_has_a_larger_covariance_with_the_aims() -> None:
    blocks, aims = correlated(2)
    ours = fit_multiblock_pls(blocks, aims, 1)
    scaled = (np.concatenate(blocks, axis=1) - ours.mean) * ours.scale
    y = (aims - aims.mean(0)) / aims.std(0)
    best = np.linalg.norm(ours.scores(blocks)[:, 0] @ y)
    random = np.random.default_rng(0).normal(size=(8, 20_000))
    others = np.linalg.norm((scaled @ (random / np.linalg.norm(random, axis=0))).T @ y, axis=1)
    assert others.max() <= best + 1e-9
    assert others.max() > 0.9 * best


def test_a_block_of_noise_gets_hardly_any_weight_and_a_block_that_is_the_aim_nearly_all() -> None:
    random = np.random.default_rng(3)
    aims = random.normal(size=(4000, 2))
    ours = fit_multiblock_pls([random.normal(size=(4000, 5)), aims], aims, 2)
    assert (ours.super_weights[0] < 0.05).all()
    assert (ours.super_weights[1] > 0.99).all()


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_super_scores_are_uncorrelated_and_weights_have_length_one(seed: int, components: int) -> None:
    blocks, aims = correlated(seed, clips=30, columns=(4, 3))
    ours = fit_multiblock_pls(blocks, aims, components)
    scores = ours.scores(blocks)
    products = scores.T @ scores
    assert products == pytest.approx(np.diag(np.diag(products)), abs=1e-8)
    assert np.square(ours.super_weights).sum(0) == pytest.approx(1.0)
    assert np.square(ours.block_weights[:4]).sum(0) == pytest.approx(1.0)


def test_a_constant_column_counts_nothing() -> None:
    blocks, aims = correlated(4)
    padded = [np.column_stack([blocks[0], np.full(60, 7.0)]), blocks[1]]
    assert fit_multiblock_pls(padded, aims, 2).rotation[5] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("components", "cut", "word"), [(9, 0, "fewer"), (0, 0, "fewer"), (2, 1, "same clips")])
def test_what_cannot_be_fitted_is_said_in_a_sentence(components: int, cut: int, word: str) -> None:
    blocks, aims = correlated(5)
    with pytest.raises(SettingError, match=word):
        fit_multiblock_pls(blocks, aims[cut:], components)
