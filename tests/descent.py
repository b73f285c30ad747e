"""A small descent for torchrun: ``-m tests.descent FOLDER`` trains there and writes the weights beside its curve.

``-m tests.descent FOLDER STEP`` is killed, as by ``kill -9``, in the middle of that step.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ser_core import ranks
from ser_core.training import Recipe, descend

CLIPS, BATCH, EPOCHS = 41, 8, 3  # the last batch holds one clip, which leaves the second process without any


def run(folder: Path, killed_in: int = -1) -> np.ndarray:
    """Train a small network on made-up features and return its averaged weights as one vector."""
    random = np.random.default_rng(0)
    features = torch.from_numpy(random.normal(size=(CLIPS, 6)).astype(np.float32))
    wanted = torch.from_numpy(random.integers(0, 3, CLIPS))
    torch.manual_seed(ranks.rank())  # every process would begin elsewhere
    network = nn.ModuleDict(
        {"used": nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)), "idle": nn.Linear(2, 2)}
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.05, weight_decay=0.1)

    def loss_of(batch: np.ndarray, step: int, generator: np.random.Generator) -> Tensor:
        if step == killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.functional.cross_entropy(network["used"](features[batch]), wanted[batch])

    recipe = Recipe(epochs=EPOCHS, batch=BATCH, average=0.5)
    lengths = random.integers(10, 90, CLIPS)
    averaged = descend(network, optimiser, lengths, recipe, folder, loss_of=loss_of, set_rates=lambda step: None)
    return np.concatenate([value.detach().numpy().ravel() for value in averaged.parameters()])


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ranks.joined():
        end = run(Path(sys.argv[1]), *map(int, sys.argv[2:]))
        np.save(Path(sys.argv[1]) / f"end-{ranks.rank()}-of-{ranks.count()}.npy", end)
    # Threads that outlive the meeting abort the exit now and then.
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    assert not any("gloo" in name for name in threads), threads
