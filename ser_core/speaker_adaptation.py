"""A model's answer adapted to one speaker, by further clips of that speaker that nobody has labelled.

What a model takes for emotion is in part the voice itself. Here the zero of its embedding moves to where it lies for
this speaker: of each clip's embedding the class mean is taken away that the model's own answer calls for, and the mean
of what is left is the speaker's. It is the maximum-a-posteriori estimate of a bias (Gauvain & Lee 1994, IEEE Trans.
Speech Audio Process. 2, 291–298), with answers in place of labels as in iterative feature normalisation (Busso,
Metallinou & Narayanan 2011, ICASSP, 5692–5695). Because what stands for emotion is taken away first, clips that are all
in one mood do not make that mood the speaker's zero. What it gains is measured by ``ser_core speaker-adaptation``.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ser_core.audio import Recording
from ser_core.cards import CLASS_MEANS
from ser_core.errors import ModelError
from ser_core.files import whole
from ser_core.models import InputAxes, PoolingWeights, Prediction, SpeechModel

PRIOR_CLIPS = 4.0
"""So many clips of a speaker who lies at the zero of the training speech are counted along."""
_FIGURES_ALONE = (
    "The figures are those of the model for one clip alone; here it was adapted to the speaker by other clips."
)
PASSES = 2
"""So often the clips are answered: as any speaker's, then as this speaker's."""


def class_means(embeddings: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Return the mean (count, features) of the embeddings (clips, features) of each class (clips,).

    Raises:
        ModelError: a class has no clip.
    """
    missing = sorted(set(range(count)) - set(classes.tolist()))
    if missing:
        raise ModelError(f"Class {missing[0]} has no training clip, so no mean.")
    return np.stack([embeddings[classes == each].mean(0) for each in range(count)])


def save_class_means(means: np.ndarray, folder: Path) -> None:
    """Write class means (classes, features) into a model folder, in half precision."""
    with whole(folder / CLASS_MEANS) as partial:
        save_file({"means": np.ascontiguousarray(means, np.float16)}, partial)


def load_class_means(folder: Path, classes: int) -> np.ndarray | None:
    """Return the class means (classes, features) stored in a model folder, if there are any.

    Raises:
        ModelError: they are of other classes.
    """
    path = folder / CLASS_MEANS
    if not path.exists():
        return None
    means: np.ndarray = load_file(path)["means"].astype(np.float32)
    if len(means) != classes:
        raise ModelError(f"{path} has means of {len(means)} classes, the model {classes}. Copy the folder again.")
    return means


def zero_of(embeddings: Tensor, classify: Callable[[Tensor], Tensor], means: Tensor) -> Tensor:
    """Return how far (…, features) the speaker's zero lies from that of the training speech.

    Args:
        embeddings: (…, clips, features) of clips of one speaker.
        classify: logits (clips, classes) of embeddings (clips, features).
        means: (classes, features).
    """
    clips = embeddings.shape[-2]
    zero = torch.zeros_like(embeddings[..., 0, :])
    for _ in range(PASSES):
        moved = embeddings - zero.unsqueeze(-2)
        expected = classify(moved.flatten(0, -2)).softmax(-1).unflatten(0, moved.shape[:-1]) @ means
        zero = (embeddings - expected).sum(-2) / (clips + PRIOR_CLIPS)
    return zero


class AdaptedNetwork(nn.Module):
    """A network that is asked in two steps, with its embedding (batch, features) counted from a speaker's zero."""

    def __init__(self, network: nn.Module, zero: Tensor) -> None:
        super().__init__()
        self.network = network
        self.zero: Tensor
        self.register_buffer("zero", zero)

    def embed(self, inputs: Tensor) -> Tensor:
        """Return what is classified (batch, features)."""
        embedding: Tensor = self.network.embed(inputs)  # type: ignore[operator]
        return embedding - self.zero

    def classify(self, embedding: Tensor) -> Tensor:
        """Return logits (batch, classes) of what ``embed`` gives."""
        logits: Tensor = self.network.classify(embedding)  # type: ignore[operator]
        return logits

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.classify(self.embed(inputs))


class AdaptedModel(SpeechModel):
    """A model as it hears one speaker; in all but its network and name it is the model that was adapted."""

    def __init__(self, plain: SpeechModel, zero: Tensor, clips: Sequence[str]) -> None:
        super().__init__()
        self.plain = plain
        digest = hashlib.sha256("\n".join(sorted(clips)).encode()).hexdigest()[:8]
        self.card = replace(
            plain.card,
            name=f"{plain.card.name} ({digest})",
            title=f"{plain.card.title}, adapted to {len(clips)} clips of this speaker",
            limits=(*plain.card.limits, _FIGURES_ALONE),
        )
        self.network: AdaptedNetwork = AdaptedNetwork(plain.network, zero).eval().requires_grad_(False)
        self.axes: InputAxes = plain.axes
        self.gradcam_layers = tuple(f"network.{layer}" for layer in plain.gradcam_layers)
        self.baseline_name = plain.baseline_name
        self.neighbourhood = plain.neighbourhood

    def inputs(self, samples: Tensor) -> Tensor:
        """Return the plain model's inputs for (batch, samples)."""
        return self.plain.inputs(samples)

    def first_column_s(self, samples: Tensor) -> float:
        """Return where the first column of a clip's inputs is centred, in seconds."""
        return self.plain.first_column_s(samples)

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the plain model's reference of the same shape as ``inputs``."""
        return self.plain.baseline(inputs)

    def pooling(self, inputs: Tensor) -> PoolingWeights | None:
        """Return the plain model's own weights over time for one clip, if it has any."""
        return self.plain.pooling(inputs)

    def of_embeddings(self, embeddings: Tensor) -> list[Prediction]:
        """Return the answers for clips of which the plain model's embeddings (clips, features) are known."""
        with torch.inference_mode():
            moved = embeddings - self.network.zero
            logits = self.network.classify(moved)
            return [self._told(*each) for each in zip(logits.split(1), moved.split(1), strict=True)]


def adaptable(model: SpeechModel) -> bool:
    """Return whether a model can be adapted: its folder holds the class means of its training speech."""
    return model.class_means is not None


def adapted(
    model: SpeechModel, clips: Sequence[Recording], progress: Callable[[float, str], None] | None = None
) -> AdaptedModel:
    """Return the model as it hears the speaker of the clips; the clip to be answered should be among them.

    Args:
        model: one of which ``adaptable`` holds.
        clips: of one speaker, recorded alike; one that comes twice counts once.
        progress: told the share done (0 … 1) and what is being done.

    Raises:
        ModelError: the model cannot be adapted, or there is no clip.
    """
    _means(model)
    clips = list({clip.sha256: clip for clip in clips}.values())
    found = []
    for place, clip in enumerate(clips):
        if progress is not None:
            progress(place / len(clips), f"Hearing clip {place + 1} of {len(clips)}")
        _, embedding = model.heard(clip)
        if embedding is None:
            raise ModelError(f"{model.card.title} has no embedding that could be adapted to a speaker.")
        found.append(embedding)
    return adapted_by(model, found, [clip.sha256 for clip in clips])


def _means(model: SpeechModel) -> Tensor:
    if model.class_means is None:
        raise ModelError(f"{model.card.title} cannot be adapted to a speaker; choose a model with a frozen Whisper.")
    return torch.from_numpy(model.class_means)


def adapted_by(model: SpeechModel, embeddings: Sequence[Tensor], clips: Sequence[str]) -> AdaptedModel:
    """Return the model as it hears the speaker of clips that it has heard before.

    Args:
        model: one of which ``adaptable`` holds.
        embeddings: what its classifier saw of each clip (features,).
        clips: a name for each, from which the adapted model's is made.

    Raises:
        ModelError: the model cannot be adapted, or there is no clip.
    """
    means = _means(model)
    if not embeddings:
        raise ModelError("Give clips of the speaker; without any there is nothing to adapt to.")
    classify: Callable[[Tensor], Tensor] = model.network.classify  # type: ignore[assignment]
    with torch.inference_mode():
        zero = zero_of(torch.stack(list(embeddings)), classify, means)
    # Made in inference mode, it would let no gradient through.
    return AdaptedModel(model, torch.from_numpy(zero.numpy().copy()), clips)
