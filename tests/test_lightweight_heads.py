from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from explain.attribution import Target, attribute
from ser_core.audio import from_samples
from ser_core.cards import write_card
from ser_core.encoders import frozen_encoder
from ser_core.errors import ModelError, WeightsError
from ser_core.models import Card
from ser_core.registry import load_model
from ser_core.systems import lightweight_heads
from ser_core.systems.lightweight_heads import HEADS, PLACES, LayerwisePooling, LightHead
from ser_core.systems.whisper_pooling import weighted_statistics
from ser_core.systems.whisper_statistics import fit_head, statistics
from ser_core.training import Recipe
from tests.test_encoders import kept

RECIPE = Recipe(epochs=8, batch=8, rate=3e-3, weight_decay=0.01, mixup=0.2)
WORDS = ("low", "high")


def frames(clips: int, steps: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(clips, steps, 3, 8, generator=torch.Generator().manual_seed(seed)) + 0.5


@limits(max_examples=25)
@given(steps=st.integers(2, 12), seed=st.integers(0, 100))
def test_weighted_statistics_are_those_of_numpy(steps: int, seed: int) -> None:
    parts = frames(1, steps, seed=seed)
    share = torch.rand(1, steps, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)
    means, deviations = weighted_statistics(parts, share)[0].reshape(2, 3, 8).numpy()
    for layer in range(3):
        for unit in range(8):
            track, weight = parts[0, :, layer, unit].numpy(), share[0, :, layer].numpy()
            mean = np.average(track, weights=weight)
            assert means[layer, unit] == pytest.approx(mean, abs=1e-5)
            deviation = np.sqrt(np.average((track - mean) ** 2, weights=weight) + 1e-6)
            assert deviations[layer, unit] == pytest.approx(deviation, abs=1e-4)


def test_attention_starts_as_plain_mean_and_deviation() -> None:
    clips = frames(2, 11)
    pooled = LayerwisePooling(3, 8)(clips, None)
    means, deviations = pooled.reshape(2, 2, 3, 8).unbind(1)
    plain = statistics(list(clips.unbind(2))).reshape(2, 3, 2, 8)
    assert torch.allclose(means, plain[:, :, 0], atol=1e-5)
    assert torch.allclose(deviations, plain[:, :, 1], atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_changes_nothing(kind: str) -> None:
    torch.manual_seed(0)
    head = LightHead(kind, "any", 3, 8, 2).eval()
    if head.attention is not None:
        torch.nn.init.normal_(head.attention.score[2].weight)
    clip = frames(1, 9)
    padded = torch.cat([clip, 99 * torch.ones(1, 4, 3, 8)], dim=1)
    real = torch.arange(13)[None] < 9
    assert torch.allclose(head.pool(padded, real), head.pool(clip), atol=1e-4)


def test_the_linear_head_sees_means_only_and_is_linear_in_them() -> None:
    torch.manual_seed(0)
    clip, other = frames(1, 10), frames(1, 10, seed=1)
    swing = torch.tensor([0.3, -0.3]).repeat(5)[None, :, None, None]
    linear, mlp = (LightHead(kind, "any", 3, 8, 2).eval() for kind in ("linear", "mlp"))
    answer = {head: lambda x, head=head: head.heads.classify(head.pool(x)) for head in (linear, mlp)}
    assert torch.allclose(answer[linear](clip + swing), answer[linear](clip), atol=1e-5)
    assert not torch.allclose(answer[mlp](clip + swing), answer[mlp](clip), atol=1e-3)
    between = (answer[linear](clip) + answer[linear](other)) / 2
    assert torch.allclose(answer[linear]((clip + other) / 2), between, atol=1e-5)
    assert not torch.allclose(answer[mlp]((clip + other) / 2), (answer[mlp](clip) + answer[mlp](other)) / 2, atol=1e-4)


def test_attention_learns_where_the_evidence_is() -> None:
    """One frame in 20, marked in one unit, says the class; all others are noise of the same size."""
    random = np.random.default_rng(0)
    classes = np.arange(200) % 2
    clips = random.normal(0, 1, (200, 20, 2, 8)).astype(np.float16)
    at = random.integers(0, 20, 200)
    clips[np.arange(200), at, :, 0] = 6
    clips[np.arange(200), at, :, 1] = np.where(classes, 2.5, -2.5)[:, None]
    torch.manual_seed(0)
    head = LightHead("attentive", "any", 2, 8, 2)
    features = lightweight_heads._PooledAtPlaces(head, list(clips[:100]), 0)
    head.heads.fit_scale(features.scale())
    recipe = Recipe(epochs=20, batch=20, rate=5e-3, weight_decay=0.0)
    fit_head(
        lightweight_heads._Separately(head),
        features,
        torch.eye(2)[classes[:100]],
        recipe,
        seed=0,
        loss=lightweight_heads._loss,
    )
    assert head.attention is not None
    unseen = torch.from_numpy(clips[100:]).float()
    share = head.attention.shares(unseen, None).mean(-1).detach().numpy()
    right = (head.eval().heads.classify(head.embed(unseen)).argmax(1).numpy() == classes[100:]).mean()
    moved = np.abs(share - 1 / 20)
    assert moved[np.arange(100), at[100:]].mean() > 2 * moved.mean()
    assert right > 0.9


def test_each_step_of_training_reads_every_stretch_of_a_clip_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = np.broadcast_to(np.arange(20 * PLACES, dtype=np.float16)[:, None, None], (20 * PLACES, 1, 1))
    seen: list[np.ndarray] = []
    head = LightHead("mlp", "any", 1, 1, 2)

    def noted(picked: torch.Tensor) -> torch.Tensor:
        seen.append(picked.numpy())
        return picked.mean(1)

    monkeypatch.setattr(head, "embed", noted)
    reader = lightweight_heads._PooledAtPlaces(head, [clip, clip[:5]], 0)
    reader[torch.tensor([0, 0])], reader[torch.tensor([1])]
    first, second = seen[0][:, :, 0, 0]
    assert (first // 20).tolist() == (second // 20).tolist() == list(range(PLACES))
    assert not np.array_equal(first, second)
    assert set(seen[1].ravel()) == set(range(5))


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ModelError, match="linear, mlp, attentive"):
        LightHead("capsule", "any", 1, 1, 2)


@pytest.fixture(params=["hubert", "ast"])
def encoder(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_encoders: Callable[[], None]) -> str:
    monkeypatch.setenv("SERSCOPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    kept(request.param, tmp_path / "weights")
    return request.param


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16_000)) / 16_000
    return (0.2 * np.sin(2 * np.pi * hertz * t + seed) + random.normal(0, 0.01, t.size)).astype(np.float32)


@pytest.mark.parametrize("head", HEADS)
def test_a_head_on_any_encoder_trains_saves_loads_answers_and_is_explained(
    head: str, encoder: str, tmp_path: Path
) -> None:
    network = frozen_encoder(encoder)
    clips = [tone(150 if i % 2 == 0 else 2500, 0.5 + 0.02 * (i % 4), i) for i in range(32)]
    values = [network.inputs(torch.from_numpy(clip)[None])[0].half().numpy() for clip in clips]
    targets = np.eye(2)[np.arange(32) % 2]
    trained = lightweight_heads.fit(
        values[:24], targets[:24], RECIPE, encoder, tmp_path, lambda model, epoch: {}, head=head
    )
    scores = lightweight_heads.logits(trained, values)
    assert (scores[24:].argmax(1) == targets[24:].argmax(1)).mean() >= 0.9

    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    lightweight_heads.save(trained, 2.0, folder)
    write_card(folder, Card("mine", "Mine", "lightweight_heads", "", WORDS, encoder, (), (), "", (), "", (), 0.0))
    model = load_model(folder)
    recording = from_samples(clips[25], 16_000, "tone")
    prediction = model.predict(recording)
    assert prediction.top == "high"
    spread = scores[25] - scores[25].mean()
    with torch.inference_mode():
        ours = model.logits(torch.from_numpy(clips[25])[None])[0].numpy()
    assert np.allclose(ours - ours.mean(), spread / 2, atol=0.1)  # temperature 2; the store was made in bfloat16

    assert model.axes.kind == ("log_mel" if encoder == "ast" else "waveform")
    method = "integrated_gradients" if encoder == "hubert" else "occlusion"
    found = attribute(model, recording, Target("high"), method)
    assert np.isfinite(found.relevance).all() and np.abs(found.relevance).max() > 0
    weights = model.pooling(model.inputs(torch.from_numpy(clips[25])[None]))
    assert (weights is None) == (head != "attentive")
    if weights is not None:
        assert weights.weights.sum() == pytest.approx(1, abs=1e-5)
        assert weights.times_s[0] >= 0 and weights.times_s[-1] <= recording.duration_s


def test_a_model_whose_encoder_is_absent_says_what_is_missing(
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_encoders: Callable[[], None]
) -> None:
    folder = tmp_path / "orphan"
    folder.mkdir()
    torch.manual_seed(0)
    shape = frozen_encoder(encoder)
    lightweight_heads.save(LightHead("mlp", encoder, shape.states, shape.hidden_size, 2), 1.0, folder)
    write_card(folder, Card("orphan", "", "lightweight_heads", "", WORDS, encoder, (), (), "", (), "", (), 0.0))
    assert load_model(folder).emotions == WORDS
    forget_encoders()
    monkeypatch.setenv("SERSCOPE_WEIGHTS", str(tmp_path / "elsewhere"))
    with pytest.raises(WeightsError, match=f"encoder '{encoder}' is not at hand.*SERSCOPE_WEIGHTS"):
        load_model(folder)
