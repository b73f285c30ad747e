import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_core import weights
from ser_core.encoders import WhisperFrames
from ser_core.errors import WeightsError
from ser_core.systems.whisper_pooling import WhisperPooling, sinusoids


@pytest.fixture(scope="module")
def tiny() -> WhisperFrames:
    return WhisperFrames("whisper-tiny.en").eval()


def test_full_length_input_gives_the_states_of_the_published_encoder(tiny: WhisperFrames) -> None:
    config = WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, num_mel_bins=80
    )
    reference = WhisperEncoder(config).eval()
    reference.load_state_dict(tiny.encoder.state_dict())
    log_mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0)) * 0.3
    with torch.inference_mode():
        ours, _ = tiny(log_mel)
        theirs = reference(log_mel).last_hidden_state
    assert torch.allclose(ours[-1], theirs, atol=2e-4)


@pytest.mark.parametrize("frames", [200, 201])
def test_padding_does_not_change_a_clip(tiny: WhisperFrames, frames: int) -> None:
    log_mel = torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(1)) * 0.3
    padded = torch.cat([log_mel, log_mel.min() * torch.ones(1, 80, 120)], dim=-1)
    with torch.inference_mode():
        alone = tiny(log_mel)[0][-1]
        masked, real = tiny(padded, torch.tensor([frames]))
    assert real is not None and int(real.sum()) == alone.shape[1]
    assert torch.allclose(masked[-1][:, : alone.shape[1]], alone, atol=1e-3)


def test_the_position_table_is_the_published_sinusoid(tiny: WhisperFrames) -> None:
    assert torch.allclose(tiny.encoder.embed_positions.weight, sinusoids(1500, 384), atol=1e-3)


def test_a_file_that_is_not_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path))
    spec = weights.WHISPER["whisper-tiny.en"]
    monkeypatch.setitem(weights.WHISPER, spec.name, type(spec)(**{**vars(spec), "sha256": "0" * 64}))
    with pytest.raises(WeightsError, match="not the published file"):
        weights.whisper_state(spec.name)


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path))
    spec = weights.WHISPER["whisper-tiny.en"]
    absent = type(spec)(**{**vars(spec), "parts": (("no_such_package", "model.bin"),), "sha256": "1" * 64})
    monkeypatch.setitem(weights.WHISPER, spec.name, absent)
    with pytest.raises(WeightsError, match="no-such-package is missing"):
        weights.whisper_state(spec.name)


def test_pooling_weights_sum_to_one_over_real_steps_only() -> None:
    network = WhisperPooling("whisper-tiny.en", 6, pretrained=False).eval()
    states, real = network.encoder(torch.randn(2, 80, 100), torch.tensor([60, 100]))
    share = network.pooling.weights(network.mix(states), real).detach().numpy()
    assert np.allclose(share.sum(1), 1, atol=1e-5)
    assert share[0, 30:].max() == 0


def test_frozen_layers_get_no_gradient_and_the_others_do() -> None:
    network = WhisperPooling("whisper-tiny.en", 6, frozen_layers=2, pretrained=False)
    network(torch.randn(1, 80, 60)).sum().backward()
    for name, parameter in network.named_parameters():
        depth = network.encoder_layer_of(name)
        if "embed_positions" in name or (depth is not None and depth <= 2):
            assert parameter.grad is None, name
        elif "mix" not in name:
            assert parameter.grad is not None, name


def test_a_local_folder_in_the_published_layout_is_used_first(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    published = {f"model.{key}": value.contiguous() for key, value in weights.whisper_state("whisper-tiny.en").items()}
    published["model.encoder.conv1.bias"] = torch.full_like(published["model.encoder.conv1.bias"], 7.0)
    (tmp_path / "whisper-tiny.en").mkdir()
    save_file(published, tmp_path / "whisper-tiny.en" / "model.safetensors")
    monkeypatch.setenv("SERSCOPE_WEIGHTS", str(tmp_path))
    assert (WhisperFrames("whisper-tiny.en").encoder.conv1.bias == 7).all()
