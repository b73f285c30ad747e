import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ser_core.bundled import PLANS
from ser_core.microfrontend import FRONTEND
from ser_core.models import Card
from ser_core.systems import edge_fusion
from ser_core.systems.edge_fusion import (
    HOP,
    KEYWORDS,
    WIDTH,
    WINDOW,
    AcousticTransformer,
    DSResNetSE,
    EdgeFusion,
    EdgeFusionModel,
    EncoderLayer,
    SqueezeExcitation,
    load_keywords,
)
from ser_core.training import Recipe

CARD = Card("edge", "Edge", "edge_fusion", "", ("a", "b", "c"), "MicroFrontend", (), (), "", (), "", (), 0.0)


def network(classes: int = 3, *, fused: bool = True, seed: int = 0) -> EdgeFusion:
    torch.manual_seed(seed)
    return EdgeFusion(classes, fused=fused).eval()


def clip(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).gamma(1, 5, (1, 40, frames)).astype(np.float32))


def test_the_acoustic_model_has_fewer_than_three_quarters_of_a_million_parameters() -> None:
    assert sum(parameter.numel() for parameter in AcousticTransformer().parameters()) <= 750_000


def test_the_keyword_network_has_the_published_widths_and_strides() -> None:
    keywords = DSResNetSE().eval()
    maps = keywords.stem(torch.zeros(1, 1, 30, 80))
    assert maps.shape == (1, 32, 15, 40)
    shapes = []
    for block in keywords.blocks:
        maps = block(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(64, 8, 20), (128, 4, 10), (192, 2, 5), (256, 1, 3)]
    sizes = [(layer.in_features, layer.out_features) for layer in keywords.project if isinstance(layer, nn.Linear)]
    assert sizes == [(256, 128), (128, 64)]


def test_a_layer_attends_as_torch_does() -> None:
    torch.manual_seed(0)
    layer = EncoderLayer().eval()
    reference = nn.TransformerEncoderLayer(
        WIDTH, edge_fusion.HEADS, 2 * WIDTH, batch_first=True, norm_first=True, activation="relu"
    ).eval()
    names = {
        "attention_norm": "norm1",
        "query_key_value": "self_attn.in_proj_",
        "mix": "self_attn.out_proj",
        "perceptron_norm": "norm2",
        "up": "linear1",
        "down": "linear2",
    }
    state = {}
    for ours, theirs in names.items():
        for part in ("weight", "bias"):
            name = f"{theirs}{part}" if theirs.endswith("_") else f"{theirs}.{part}"
            state[name] = layer.state_dict()[f"{ours}.{part}"]
    reference.load_state_dict(state)
    tokens = torch.randn(2, 40, WIDTH)
    with torch.inference_mode():
        assert torch.allclose(layer(tokens), reference(tokens), atol=1e-5)


def test_squeeze_and_excitation_weighs_channels_by_what_all_of_them_hold() -> None:
    gate = SqueezeExcitation(8)
    nn.init.ones_(gate.squeeze.weight)
    nn.init.zeros_(gate.squeeze.bias)
    nn.init.zeros_(gate.excite.bias)
    gate.excite.weight.data = torch.linspace(-1, 1, 8)[:, None, None, None]
    maps = torch.rand(1, 8, 3, 5)
    mean = maps.mean((0, 2, 3)).sum()
    assert torch.allclose(gate(maps), maps * torch.sigmoid(torch.linspace(-1, 1, 8) * mean)[None, :, None, None])


@pytest.mark.parametrize("fused", [True, False])
def test_what_stands_beside_a_clip_in_a_batch_does_not_matter(fused: bool) -> None:
    model, long, short = network(fused=fused), clip(500), clip(200, seed=1)
    both = torch.zeros(2, 40, 500)
    both[0], both[1, :, :200], both[1, :, 200:] = long[0], short[0], 7.0
    with torch.inference_mode():
        together = model(both, torch.tensor([500, 200]))
        assert torch.allclose(together, torch.cat([model(long), model(short)]), atol=1e-5)


def test_silence_behind_a_clip_is_what_the_rest_of_the_window_holds() -> None:
    model, short = network(), clip(150)
    with torch.inference_mode():
        assert torch.allclose(model(short), model(nn.functional.pad(short, (0, WINDOW - 150))), atol=1e-6)


@pytest.mark.parametrize("frames", [WINDOW, WINDOW + 1, WINDOW + HOP, WINDOW + HOP + 1, 700])
def test_a_long_clip_is_the_mean_over_its_windows(frames: int) -> None:
    model, long = network(), clip(frames)
    cuts, start = [], 0
    while True:
        cut = long[..., start : start + WINDOW]
        cuts.append(nn.functional.pad(cut, (0, WINDOW - cut.shape[-1])))
        if start + WINDOW >= frames:
            break
        start += HOP
    with torch.inference_mode():
        assert torch.allclose(model(long), torch.stack([model(cut) for cut in cuts]).mean(0), atol=1e-5)


def test_the_weights_over_time_sum_to_one_within_the_clip() -> None:
    model = EdgeFusionModel(CARD, network(), Path("nowhere"))
    for frames in (90, 320, 555):
        with torch.inference_mode():
            pooled = model.pooling(clip(frames))
        assert pooled.weights.sum() == pytest.approx(1)
        assert len(pooled.times_s) == len(pooled.weights) == -(-frames // 8)
        assert 0 < pooled.times_s[0] < pooled.times_s[-1] < frames * 0.01 + 0.08


def test_a_token_hears_the_frames_around_its_time() -> None:
    model = EdgeFusionModel(CARD, network(), Path("nowhere"))
    heard = clip(320).requires_grad_()
    model.network.acoustic.stem(heard[:, None])[0, :, :, 10].sum().backward()
    frames = heard.grad.abs().sum((0, 1)).numpy()
    with torch.inference_mode():
        time_s = model.pooling(clip(320)).times_s[10]
    middle = float((frames * np.arange(320)).sum() / frames.sum())
    assert FRONTEND.first_s + middle * FRONTEND.step_s == pytest.approx(time_s, abs=FRONTEND.step_s / 2)


def test_a_saved_network_answers_alike_with_the_temperature_in_it(tmp_path: Path) -> None:
    model, heard = network(), clip(300)
    edge_fusion.save(model, 2.0, tmp_path)
    with torch.inference_mode():
        assert torch.allclose(edge_fusion.load_network(tmp_path, 3)(heard), model(heard) / 2, atol=5e-3)


def test_fusion_leaves_the_transformer_and_the_keyword_network_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    values = [random.gamma(1, 3 + 4 * (k % 2), (40, random.integers(60, 130))).astype(np.float32) for k in range(24)]
    targets = np.eye(2)[np.arange(24) % 2]
    recipe = Recipe(epochs=12, batch=8, rate=3e-3, average=0.5, masked=0.0, stretched=0.0)
    monkeypatch.setattr(edge_fusion, "FUSION_RECIPE", Recipe(epochs=10, batch=8, rate=5e-3, average=0.5, masked=0.0))
    seen: list[int] = []

    def fit(folder: str, *, fused: bool) -> EdgeFusion:
        return edge_fusion.fit(
            values, targets, recipe, "", tmp_path / folder, lambda network, epoch: seen.append(epoch) or {}, fused=fused
        )

    alone = fit("alone", fused=False)
    epochs = len(seen)
    fused = fit("fused", fused=True)
    assert len(seen) - epochs == edge_fusion.FUSION_RECIPE.epochs
    for name, value in alone.acoustic.state_dict().items():
        assert torch.equal(value, fused.acoustic.state_dict()[name])
    assert fused.keywords is not None
    for name, value in load_keywords().state_dict().items():
        assert torch.equal(value, fused.keywords.state_dict()[name])
    accuracy = (edge_fusion.logits(fused, values).argmax(1) == targets.argmax(1)).mean()
    assert accuracy >= 0.8
    assert edge_fusion.embeddings(fused, values).shape == (24, WIDTH)


def test_the_model_is_explained_on_the_front_ends_frames() -> None:
    from explain.attribution import Target, attribute, methods_for
    from ser_core.audio import from_samples

    model = EdgeFusionModel(CARD, network(), Path("nowhere"))
    model.network.requires_grad_(False)
    times = np.arange(16_000) / 16_000
    recording = from_samples(
        (0.3 * np.sin(2 * np.pi * 200 * times) * np.sin(9 * times)).astype(np.float32), 16_000, "a"
    )
    found = attribute(model, recording, Target("a"), "input_x_gradient")
    assert found.relevance.shape == (40, 98)
    assert found.times_s[0] == pytest.approx(0.015)
    assert "grad_cam" not in {method.name for method in methods_for(model)}


def test_the_frozen_keyword_network_is_the_one_that_the_note_tells_of() -> None:
    note = json.loads((KEYWORDS / "keywords.json").read_text())
    assert note["figures"]["UAR"]["value"] > note["figures"]["UAR"]["chance"]
    assert len(note["words"]) == len(set(note["words"]))
    model = Path(KEYWORDS).parent / "models" / "edge-fusion" / "weights.safetensors"
    if PLANS["edge-fusion"].options["fused"] and model.exists():
        shipped = load_file(model)
        for name, value in load_file(KEYWORDS / "weights.safetensors").items():
            assert torch.equal(value, shipped[f"keywords.{name}"])
