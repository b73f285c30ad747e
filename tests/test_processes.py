"""Training in two processes under torchrun against one: the same loss curve and the same weights."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_core import ranks
from ser_core.settings import ROOT
from tests import descent


def test_two_processes_follow_the_loss_curve_of_one(tmp_path: Path) -> None:
    one = tmp_path / "one"
    torch.manual_seed(0)
    alone = descent.run(one)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = tmp_path / "two"
    done = subprocess.run(
        [*command, "-m", "tests.descent", str(two)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    curves = [
        [json.loads(line)["loss"] for line in (folder / "progress.jsonl").read_text().splitlines()]
        for folder in (one, two)
    ]
    assert len(curves[1]) == descent.EPOCHS  # the first process alone writes
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert curves[0][-1] < curves[0][0] - 0.01
    for rank in (0, 1):  # every process ends with the same weights
        assert np.load(two / f"end-{rank}-of-2.npy") == pytest.approx(alone, abs=1e-5)


def test_each_process_has_a_gpu_of_its_own_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks.device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert ranks.device() == torch.device("cuda", 3)
    network = torch.nn.Linear(2, 2, device="meta")
    assert ranks.device_of(network) == ranks.device_of(network.forward) == torch.device("meta")
    assert ranks.device_of(torch.nn.GELU()) == ranks.device_of(lambda x: x) == torch.device("cpu")
