"""Losses of the systems, each with its source.

Targets are rows of class shares (clips, classes) that sum to 1, so a hard label is a one-hot row and a soft label of
mixed speech is treated alike. Every loss is a mean over clips unless it says otherwise.
"""

import torch
from torch import Tensor, nn


def kl_divergence(logits: Tensor, targets: Tensor) -> Tensor:
    """Return KL(target ‖ prediction) in nats; on one-hot targets it equals cross-entropy.

    Args:
        logits: (clips, classes).
        targets: (clips, classes) shares.
    """
    return nn.functional.kl_div(logits.log_softmax(-1), targets, reduction="batchmean")


def focal(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Return −Σ t (1 − p)^γ log p: what the model is already sure of counts less.

    Source: Lin et al. 2017, "Focal loss for dense object detection"; with soft targets, the mean over classes by share.
    """
    log_shares = logits.log_softmax(-1)
    return -(targets * (1 - log_shares.exp()) ** gamma * log_shares).sum(-1).mean()


def center(embeddings: Tensor, targets: Tensor, centers: Tensor) -> Tensor:
    """Return ½ Σ t ‖x − c‖², the pull of every clip to the centre of its class.

    Args:
        embeddings: (clips, features).
        targets: (clips, classes) shares.
        centers: (classes, features), learned along.

    Source: Wen et al. 2016, "A discriminative feature learning approach for deep face recognition".
    """
    distances = (embeddings[:, None] - centers[None]).square().sum(-1)
    return 0.5 * (targets * distances).sum(-1).mean()


def supervised_contrastive(embeddings: Tensor, classes: Tensor, temperature: float = 0.07) -> Tensor:
    """Return the contrast of clips of one class against all others in the batch; the mean over clips that have a mate.

    Args:
        embeddings: (clips, features), scaled to unit length here.
        classes: (clips,) index of each clip's class.
        temperature: τ of the cosine similarities.

    Source: Khosla et al. 2020, "Supervised contrastive learning", equation 2 (the sum outside the logarithm).
    A batch without two clips of a class gives 0.
    """
    unit = nn.functional.normalize(embeddings, dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(itself, float("-inf"))
    log_shares = similarity.log_softmax(-1).masked_fill(itself, 0.0)
    mates = (classes[:, None] == classes[None]) & ~itself
    counts = mates.sum(-1)
    per_clip = -(log_shares * mates).sum(-1) / counts.clamp(min=1)
    return per_clip.sum() / (counts > 0).sum().clamp(min=1)


def concordance(predicted: Tensor, target: Tensor) -> Tensor:
    """Return Lin's concordance correlation (dimensions,) over the clips of a batch.

    Args:
        predicted: (clips, dimensions).
        target: (clips, dimensions).

    Source: Lin 1989, "A concordance correlation coefficient to evaluate reproducibility"; variances with 1 / clips.
    A dimension in which both are constant and equal has no concordance; it gives 0.
    """
    deviation, wanted = predicted - predicted.mean(0), target - target.mean(0)
    covariance = (deviation * wanted).mean(0)
    spread = deviation.square().mean(0) + wanted.square().mean(0) + (predicted.mean(0) - target.mean(0)).square()
    return 2 * covariance / spread.clamp(min=1e-8)


def concordance_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return Σ (1 − CCC) over the dimensions of (clips, dimensions)."""
    return (1 - concordance(predicted, target)).sum()


def generalised_cross_entropy(logits: Tensor, targets: Tensor, q: float = 0.7) -> Tensor:
    """Return Σ t (1 − p^q) / q: near cross-entropy for small q, near the mean absolute error for q = 1.

    Source: Zhang & Sabuncu 2018, "Generalized cross entropy loss for training deep neural networks with noisy labels".
    Its gradient is that of cross-entropy times p^q, so clips that are learnt easily drive it.

    Args:
        logits: (clips, classes).
        targets: (clips, classes) shares.
        q: 0 < q ≤ 1.
    """
    return (targets * (1 - (q * logits.log_softmax(-1)).exp()) / q).sum(-1).mean()


def distribution(logits: Tensor, targets: Tensor, cosine_weight: float = 0.3) -> Tensor:
    """Return KL(target ‖ prediction) + weight × (1 − cosine), the loss of EM2LDL for label distributions.

    Args:
        logits: (clips, classes).
        targets: (clips, classes) shares.
        cosine_weight: weight of the cosine term.
    """
    likeness = nn.functional.cosine_similarity(logits.softmax(-1), targets, dim=-1)
    return kl_divergence(logits, targets) + cosine_weight * (1 - likeness).mean()
