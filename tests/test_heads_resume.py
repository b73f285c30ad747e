"""A head that is stopped goes on from its last epoch and ends where it would have ended."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_core import checkpoints
from ser_core.bundled import PLANS
from ser_core.crossvalidation import system_of
from ser_core.encoders import frozen_encoder
from ser_core.errors import ModelError
from ser_core.systems import lightweight_heads, whisper_statistics
from ser_core.systems.whisper_statistics import Heads
from ser_core.training import Recipe

RECIPE = Recipe(epochs=5, batch=16, rate=1e-3, weight_decay=0.1, mixup=0.4)


def clips() -> tuple[list[np.ndarray], np.ndarray]:
    random = np.random.default_rng(0)
    classes = np.arange(90) % 3
    values = random.normal(size=(90, 3840)) + 0.5 * np.random.default_rng(1).normal(size=(3, 3840))[classes]
    return [row[:, None] for row in values.astype(np.float32)], np.eye(3, dtype=np.float32)[classes]


def fitted(folder: Path, recipe: Recipe = RECIPE) -> Heads:
    return whisper_statistics.fit(*clips(), recipe, "whisper-tiny.en", folder, None)


@pytest.mark.parametrize("last", [2, 5, 7])
def test_stopped_heads_end_as_if_they_had_not_been(last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(tmp_path / "whole")
    kept, real = [], checkpoints.keep

    def power_cut(*given: object) -> None:
        real(*given)  # type: ignore[arg-type]
        kept.append(given[2]["epoch"])  # type: ignore[index]
        if len(kept) == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "keep", power_cut)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "cut")
    again = fitted(tmp_path / "cut")
    assert len(kept) == 3 * RECIPE.epochs  # no epoch was done twice
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    checkpoints.drop(tmp_path / "cut")
    assert not list((tmp_path / "cut").iterdir())


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    fitted(tmp_path)
    with pytest.raises(ModelError, match="another recipe"):
        fitted(tmp_path, replace(RECIPE, rate=2e-3))


def test_an_attentive_head_resumes_with_the_draws_that_were_still_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, (_, targets) = np.random.default_rng(0), clips()
    frames = [random.normal(size=(random.integers(60, 120), 5, 16)).astype(np.float16) for _ in targets]
    monkeypatch.setattr(lightweight_heads, "encoder_frames", lambda values, encoder: values)

    def run(folder: Path) -> torch.nn.Module:
        return lightweight_heads.fit(frames, targets, RECIPE, "none", folder, None, head="attentive")

    whole = run(tmp_path / "whole")
    real = checkpoints.keep
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):

        def power_cut(*given: object) -> None:
            real(*given)  # type: ignore[arg-type]
            if given[2]["epoch"] == "2":  # type: ignore[index]
                raise KeyboardInterrupt

        patched.setattr(checkpoints, "keep", power_cut)
        run(tmp_path / "cut")
    again = run(tmp_path / "cut")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


@pytest.mark.parametrize("name", ["edrl-mea", "label-distribution"])
def test_others_on_statistics_resume_as_well(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, (values, targets) = PLANS[name], clips()
    frozen_encoder(plan.encoder)  # loading it draws numbers

    def run(folder: Path) -> torch.nn.Module:
        system = system_of(plan)
        return system.fit(values, targets, replace(RECIPE, epochs=3), plan.encoder, folder, None, **plan.options)

    whole = run(tmp_path / "whole")
    real = checkpoints.keep
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):

        def power_cut(*given: object) -> None:
            real(*given)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        patched.setattr(checkpoints, "keep", power_cut)
        run(tmp_path / "cut")
    again = run(tmp_path / "cut")
    for key, value in whole.state_dict().items():
        assert torch.allclose(value, again.state_dict()[key], atol=1e-6), key


def test_of_several_processes_only_the_first_writes_and_deletes_checkpoints(tmp_path: Path, monkeypatch) -> None:
    tensors = {"a": torch.arange(3)}
    checkpoints.keep(tmp_path, tensors, {"epoch": "1"})
    monkeypatch.setattr(checkpoints.ranks, "rank", lambda: 1)
    before = (tmp_path / checkpoints.LATEST).read_bytes()
    checkpoints.keep(tmp_path, {"a": torch.zeros(3)}, {"epoch": "2"})
    checkpoints.drop(tmp_path)
    assert (tmp_path / checkpoints.LATEST).read_bytes() == before and not (tmp_path / checkpoints.BEFORE).exists()
    (tmp_path / checkpoints.LATEST).write_bytes(b"torn")
    assert checkpoints.latest(tmp_path) is None and (tmp_path / checkpoints.LATEST).exists()
