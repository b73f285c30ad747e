"""EmoSphere-SER: style pooling, the weight of the octants, targets, and a run that goes on after a kill."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ser_core import training
from ser_core.batches import collate_frames
from ser_core.encoders import coarse
from ser_core.errors import CorpusError
from ser_core.models import Card
from ser_core.sphere import DIMENSIONS, octant_shares
from ser_core.systems import emosphere as system
from ser_core.training import Recipe
from tests.planted import recording

FEATURES = 12
Made = tuple[list[np.ndarray], np.ndarray]
RECIPE = Recipe(epochs=6, batch=16, rate=3e-3, weight_decay=0.0, average=0.9)


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Frames (steps, features) whose mean level of three features is the target; no encoder is asked."""
    generator = np.random.default_rng(0)
    wanted = generator.uniform(-1, 1, (128, 3))
    values = []
    for row in wanted:
        frames = generator.normal(0, 0.3, (int(generator.integers(5, 20)), FEATURES))
        frames[:, :3] += row
        values.append(frames.astype(np.float16))
    monkeypatch.setattr(system, "coarse_frames", lambda values, encoder: list(values))
    return values, wanted


def run(values: list[np.ndarray], wanted: np.ndarray, folder: Path, **options: bool) -> system.SphereHead:
    return system.fit(values, wanted, RECIPE, "none", folder, lambda network, epoch: {}, **options)


def ccc(x: np.ndarray, y: np.ndarray) -> float:
    return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


@pytest.mark.parametrize("regions", [True, False])
def test_it_learns_three_dimensions_and_drops_the_octants(clips: Made, tmp_path: Path, regions: bool) -> None:
    values, wanted = clips
    head = run(values, wanted, tmp_path, regions=regions)
    given = system.logits(head, values)
    assert min(ccc(wanted[:, k], given[:, k]) for k in range(3)) > 0.7
    assert head.regions is None and not any(name.startswith("regions") for name in head.state_dict())
    assert head.constant.numpy() == pytest.approx(wanted.mean(0), abs=1e-6)


def test_a_run_killed_in_an_epoch_ends_in_the_same_weights(
    clips: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, wanted = clips
    whole = run(values, wanted, tmp_path / "whole")
    kept = training._checkpoint
    calls = []

    def killed(*arguments: Any) -> None:
        kept(*arguments)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        run(values, wanted, tmp_path / "stopped")
    monkeypatch.setattr(training, "_checkpoint", kept)
    resumed = run(values, wanted, tmp_path / "stopped")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_padding_changes_no_clip(clips: Made) -> None:
    values, _ = clips
    torch.manual_seed(0)
    pooling = system.StylePooling(FEATURES).eval()
    with torch.inference_mode():
        together = pooling(*collate_frames(values[:6]))
        alone = torch.cat([pooling(torch.from_numpy(clip[None]).float()) for clip in values[:6]])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_octants_weigh_1_at_first_and_nothing_from_half_of_the_epochs_on() -> None:
    assert [system.region_weight(epoch, 8) for epoch in range(8)] == [1.0, 0.75, 0.5, 0.25, 0, 0, 0, 0]


def test_on_hard_octants_the_loss_is_pytorchs_weighted_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, octants = torch.randn(20, 8, generator=generator), torch.randint(0, 8, (20,), generator=generator)
    weights = torch.rand(8, generator=generator) + 0.1
    hard = nn.functional.one_hot(octants, 8).float()
    expected = nn.functional.cross_entropy(logits, octants, weight=weights)
    assert system.region_loss(logits, hard, weights).item() == pytest.approx(expected.item(), abs=1e-5)


def test_rare_octants_weigh_more_up_to_a_limit() -> None:
    octants = torch.zeros(80, 8)
    octants[:60, 0], octants[60:79, 1], octants[79, 2] = 1, 1, 1
    found = system.octant_weights(octants)
    assert found[:3].tolist() == pytest.approx([80 / 480, 80 / 152, 10.0])
    assert found[3:].tolist() == [system.RAREST] * 5


def test_ratings_are_brought_to_the_unit_scale_and_votes_to_the_words_coordinates() -> None:
    rated = pd.DataFrame({"corpus": ["emotale"], "valence": [1.0], "arousal": [3.0], "dominance": [4.0]})
    assert system.targets(rated, DIMENSIONS).tolist() == [[-1.0, 0.0, 0.5]]
    absent: dict[str, list[float]] = {name: [np.nan] for name in DIMENSIONS}
    voted = pd.DataFrame({"corpus": ["crema_d"], **absent, "vote_anger": [3.0], "vote_neutral": [1.0]})
    assert system.targets(voted, DIMENSIONS)[0] == pytest.approx([-0.51 * 0.75, 0.59 * 0.75, 0.25 * 0.75])
    with pytest.raises(CorpusError, match="no ratings"):
        system.targets(pd.DataFrame({"corpus": ["emodb"], **absent}), DIMENSIONS)


def test_coordinates_of_words_lie_where_emotales_raters_put_the_emotions(corpora: Path) -> None:
    from ser_core.corpora import read_corpus

    corpus = read_corpus(corpora / "emotale")
    assert corpus.rating_range == system.RATING_RANGES["emotale"]
    rated = system.targets(corpus.table, DIMENSIONS)
    words = sorted(set(corpus.table["emotion"]))
    means = np.array([rated[(corpus.table["emotion"] == word).to_numpy()].mean(0) for word in words])
    published = np.array([system.PAD[word] for word in words])
    for dimension in range(3):
        assert np.corrcoef(means[:, dimension], published[:, dimension])[0, 1] > 0.8
    shares = octant_shares(rated)
    assert ((shares > 0).sum(1) > 1).mean() == pytest.approx(0.1275, abs=1e-4)  # clips on a boundary


def test_a_stored_model_answers_in_the_three_dimensions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = system.frozen_encoder("whisper-tiny.en")
    head = system.SphereHead("whisper-tiny.en", encoder.states * encoder.hidden_size, regions=False)
    head.constant.copy_(torch.tensor([-0.2, 0.1, 0.0]))
    system.save(head.eval(), 1.0, tmp_path)
    fields: Any = ("x", "x", "emosphere", "", DIMENSIONS, "whisper-tiny.en", ("made up",), (), "", (), "", (), 0.0)
    model = system.load(tmp_path, Card(*fields, answer="dimensions"))
    clip = recording(0.1 * np.random.default_rng(1).standard_normal(24_000))
    found = model.predict(clip)
    assert found.values is not None and found.values.shape == (3,) and np.abs(found.values).max() <= 1
    assert found.constant == pytest.approx((-0.2, 0.1, 0.0), abs=1e-3)
    mel = encoder.inputs(torch.from_numpy(np.array(clip.samples))[None])
    with torch.inference_mode():
        frames = coarse(encoder(mel)[0], system.group_of(encoder.step_s))
        assert head(frames)[0].numpy() == pytest.approx(found.values, abs=0.01)
    assert frames.shape[1] == -(-75 // 4)  # 1.5 s in frames of 20 ms, four to a coarse one
