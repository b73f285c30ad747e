import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ser_core.batches import collate, length_batches, over_clips
from ser_core.errors import ModelError
from ser_core.training import Clips, Recipe, train


class Mean(nn.Module):
    """Classifies by the mean level of two halves of the bands; small enough for exact comparisons."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, log_mel: Tensor, frames: Tensor | None = None) -> Tensor:
        return self.linear(log_mel.mean(-1))


def toy(count: int = 60) -> Clips:
    random = np.random.default_rng(0)
    classes = np.arange(count) % 2
    mels = [
        (random.normal(0, 0.1, (4, random.integers(20, 40))) + np.array([k, 1 - k, 0, 0])[:, None]).astype(np.float16)
        for k in classes
    ]
    return Clips(mels, np.eye(2)[classes])


RECIPE = Recipe(epochs=4, batch=8, rate=0.05, average=0.5)


@pytest.mark.parametrize("torn", [(), ("checkpoint",), ("checkpoint", "checkpoint-before")])
def test_a_run_stopped_after_an_epoch_ends_in_the_same_weights(torn: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(1)
    start = Mean().state_dict()

    def run(folder: Path, stop_after: int | None) -> nn.Module:
        network = Mean()
        network.load_state_dict(start)

        def maybe_stop(model: nn.Module, epoch: int) -> dict[str, float]:
            if stop_after is not None and epoch == stop_after:
                raise KeyboardInterrupt
            return {}

        return train(network, toy(), RECIPE, folder, after_epoch=maybe_stop)

    whole = run(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", 2)
    for name in torn:
        os.truncate(tmp_path / "stopped" / f"{name}.safetensors", 700)
    resumed = run(tmp_path / "stopped", None)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_learns_what_there_is_to_learn(tmp_path: Path) -> None:
    clips = toy()
    network = train(Mean(), clips, RECIPE, tmp_path)
    answers = over_clips(network, clips.log_mels).argmax(1)
    assert (answers == clips.targets.argmax(1)).mean() > 0.95


def test_a_checkpoint_of_another_recipe_is_not_mixed_in(tmp_path: Path) -> None:
    train(Mean(), toy(), dataclasses.replace(RECIPE, epochs=1), tmp_path)
    with pytest.raises(ModelError, match="another recipe"):
        train(Mean(), toy(), dataclasses.replace(RECIPE, epochs=2), tmp_path)


def test_every_clip_is_in_one_batch_and_batches_hold_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(100, 400, 333)
    batches = list(length_batches(lengths, 16, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(333))
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < np.ptp(lengths) / 2


def test_padding_is_the_clips_own_floor() -> None:
    quiet, loud = np.full((2, 10), -1.0, np.float16), np.full((2, 70), 0.5, np.float16)
    log_mel, frames = collate([quiet, loud])
    assert frames.tolist() == [10, 70]
    assert (log_mel[0] == -1).all() and (log_mel[1] == 0.5).all()
