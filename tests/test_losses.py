"""Losses against formulas by hand, brute force, torch and audmetric."""

import math

import audmetric
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ser_core import losses


def soft_case(seed: int, clips: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(clips, classes, generator=generator, dtype=torch.float64)
    targets = torch.rand(clips, classes, generator=generator, dtype=torch.float64)
    return logits, targets / targets.sum(-1, keepdim=True)


def one_hot(classes: list[int], count: int) -> torch.Tensor:
    return torch.eye(count, dtype=torch.float64)[classes]


def test_kl_of_a_half_half_label_under_a_known_prediction():
    # ½ ln(½ / ¼) + ½ ln(½ / ¾)
    logits = torch.tensor([[1 / 4, 3 / 4]]).log()
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert float(losses.kl_divergence(logits, torch.tensor([[0.5, 0.5]]))) == pytest.approx(expected, abs=1e-6)


def test_kl_equals_cross_entropy_on_hard_labels_and_is_zero_at_the_target():
    logits, targets = soft_case(0)
    hard = [0, 1, 2, 3, 0, 1]
    expected = nn.functional.cross_entropy(logits, torch.tensor(hard))
    torch.testing.assert_close(losses.kl_divergence(logits, one_hot(hard, 4)), expected)
    assert float(losses.kl_divergence(targets.log(), targets)) == pytest.approx(0.0, abs=1e-12)


def test_focal_by_hand():
    # p = 0.8 on the true class: (1 − 0.8)² × −ln 0.8
    logits = torch.tensor([[0.8, 0.2]]).log()
    value = float(losses.focal(logits, torch.tensor([[1.0, 0.0]])))
    assert value == pytest.approx(0.04 * -math.log(0.8), abs=1e-6)


def test_focal_without_focus_is_cross_entropy_also_on_soft_labels():
    logits, targets = soft_case(1)
    torch.testing.assert_close(
        losses.focal(logits, targets, gamma=0.0), nn.functional.cross_entropy(logits, targets), rtol=1e-9, atol=0
    )


def test_center_by_hand_and_mixed_labels_are_pulled_to_both_centres():
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    centers = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    # ½ (1) and ½ (4), halved again by the mean
    assert float(losses.center(embeddings, torch.eye(2), centers)) == pytest.approx((0.5 + 2.0) / 2)
    # second clip ¼ first class: ½ (¼ × 9 + ¾ × 4)
    mixed = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    assert float(losses.center(embeddings, mixed, centers)) == pytest.approx((0.5 + 0.5 * (2.25 + 3.0)) / 2)


def brute_contrast(embeddings: np.ndarray, classes: list[int], temperature: float) -> float:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    values = []
    for i in range(len(unit)):
        mates = [p for p in range(len(unit)) if p != i and classes[p] == classes[i]]
        if not mates:
            continue
        below = sum(math.exp(unit[i] @ unit[a] / temperature) for a in range(len(unit)) if a != i)
        values.append(-sum(math.log(math.exp(unit[i] @ unit[p] / temperature) / below) for p in mates) / len(mates))
    return float(np.mean(values)) if values else 0.0


@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=2, max_size=9), st.sampled_from([0.07, 0.5]))
def test_supervised_contrast_equals_the_double_loop(seed, classes, temperature):
    embeddings = np.random.default_rng(seed).normal(size=(len(classes), 5))
    value = losses.supervised_contrastive(torch.from_numpy(embeddings), torch.tensor(classes), temperature)
    assert float(value) == pytest.approx(brute_contrast(embeddings, classes, temperature), abs=1e-9)


def test_supervised_contrast_has_finite_gradients_where_a_clip_is_alone():
    embeddings = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses.supervised_contrastive(embeddings, torch.tensor([0, 0, 1])).backward()
    assert embeddings.grad is not None and torch.isfinite(embeddings.grad).all() and embeddings.grad.abs().sum() > 0
    assert float(losses.supervised_contrastive(embeddings.detach(), torch.tensor([0, 1, 2]))) == 0.0


@given(st.integers(0, 1000))
def test_concordance_equals_audmetric(seed):
    generator = np.random.default_rng(seed)
    target = generator.normal(size=(20, 3))
    predicted = 0.6 * target + generator.normal(size=(20, 3)) + generator.normal(size=3)
    expected = [audmetric.concordance_cc(target[:, d], predicted[:, d]) for d in range(3)]
    value = losses.concordance(torch.from_numpy(predicted), torch.from_numpy(target))
    np.testing.assert_allclose(value.numpy(), expected, atol=1e-9)
    total = losses.concordance_loss(torch.from_numpy(predicted), torch.from_numpy(target))
    assert float(total) == pytest.approx(3 - sum(expected), abs=1e-9)


def test_concordance_by_hand_and_of_a_constant():
    # equal variances, perfectly correlated, shifted by 1: 2·(2/3) / (4/3 + 1) = 4/7
    target = torch.tensor([[1.0], [2.0], [3.0]])
    assert float(losses.concordance(target + 1, target)) == pytest.approx(4 / 7)
    flat = torch.full((3, 1), 2.0, requires_grad=True)
    losses.concordance_loss(flat, target).backward()
    assert float(losses.concordance(flat.detach(), target)) == 0.0
    assert float(losses.concordance(flat.detach(), flat.detach())) == 0.0
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


def test_generalised_cross_entropy_by_hand_and_at_its_two_ends():
    logits, targets = soft_case(2)
    known = float(losses.generalised_cross_entropy(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[1.0, 0.0]])))
    assert known == pytest.approx((1 - 0.5**0.7) / 0.7, abs=1e-6)
    torch.testing.assert_close(
        losses.generalised_cross_entropy(logits, targets, q=1e-6),
        nn.functional.cross_entropy(logits, targets),
        rtol=1e-4,
        atol=0,
    )
    shares = logits.softmax(-1)
    torch.testing.assert_close(
        losses.generalised_cross_entropy(logits, targets, q=1.0), (targets * (1 - shares)).sum(-1).mean()
    )


def test_generalised_cross_entropy_weighs_the_gradient_of_cross_entropy_by_p_to_the_q():
    logits = torch.tensor([[0.3, -1.2, 0.4]], dtype=torch.float64, requires_grad=True)
    hard = one_hot([1], 3)
    (ours,) = torch.autograd.grad(losses.generalised_cross_entropy(logits, hard), logits)
    (plain,) = torch.autograd.grad(nn.functional.cross_entropy(logits, hard), logits)
    torch.testing.assert_close(ours, plain * logits.softmax(-1)[0, 1].detach() ** 0.7)


def test_distribution_loss_by_hand():
    # prediction (½, ½), humans (1, 0): KL ln 2, cosine 1/√2
    value = losses.distribution(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert float(value) == pytest.approx(math.log(2) + 0.3 * (1 - 1 / math.sqrt(2)), abs=1e-6)
    logits, targets = soft_case(3)
    assert float(losses.distribution(targets.log(), targets)) == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(losses.distribution(logits, targets, 0.0), losses.kl_divergence(logits, targets))
