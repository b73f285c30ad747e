from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from safetensors.torch import save_file
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from explain.attribution import Target, attribute
from ser_core import weights
from ser_core.audio import from_samples
from ser_core.encoders import WhisperFrames, frozen_encoder
from ser_core.errors import ModelError, WeightsError
from ser_core.registry import load_model
from ser_core.systems.whisper_pooling import WhisperPooling
from tests.bad_inputs import voice


@pytest.fixture(scope="module")
def tiny() -> WhisperFrames:
    return WhisperFrames("whisper-tiny.en").eval()


def test_full_length_input_gives_the_states_of_the_published_encoder(tiny: WhisperFrames) -> None:
    config = WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, num_mel_bins=80, dropout=0.0
    )
    reference = WhisperEncoder(config).eval()
    reference.load_state_dict(tiny.encoder.state_dict())
    log_mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0)) * 0.3
    with torch.inference_mode():
        ours, _ = tiny(log_mel)
        theirs = reference(log_mel, output_hidden_states=True).hidden_states
    assert len(ours) == len(theirs) == 5
    for own, published in zip(ours, theirs, strict=True):
        assert torch.equal(own, published)


@pytest.mark.parametrize("frames", [200, 201])
def test_padding_does_not_change_a_clip(tiny: WhisperFrames, frames: int) -> None:
    log_mel = torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(1)) * 0.3
    padded = torch.cat([log_mel, log_mel.min() * torch.ones(1, 80, 120)], dim=-1)
    with torch.inference_mode():
        alone = tiny(log_mel)[0][-1]
        masked, real = tiny(padded, torch.tensor([frames]))
    assert real is not None and int(real.sum()) == alone.shape[1]
    assert torch.allclose(masked[-1][:, : alone.shape[1]], alone, atol=1e-3)


def test_what_is_longer_than_thirty_seconds_is_read_in_equal_parts(tiny: WhisperFrames) -> None:
    log_mel = torch.randn(1, 80, 6501, generator=torch.Generator().manual_seed(2)) * 0.3
    with torch.inference_mode():
        whole, real = tiny(log_mel)
        parts = [tiny(log_mel[..., start : start + 2168])[0] for start in (0, 2168, 4336)]
    assert real is None
    for state, *pieces in zip(whole, *parts, strict=True):
        assert state.shape[1] == 3251  # a step is two frames, the last one half
        assert torch.equal(state, torch.cat(pieces, dim=1))
    with pytest.raises(ModelError, match="at most 30 s"):
        tiny(log_mel, torch.tensor([6501]))


def test_a_clip_of_over_thirty_seconds_is_answered_and_explained() -> None:
    model = load_model("whisper-tiny-statistics")
    clip = from_samples(np.tile(voice(4.0), 9), 16_000, "long")
    assert clip.duration_s == pytest.approx(36.0)
    top = model.predict(clip).top
    found = attribute(model, clip, Target(top), "input_x_gradient")
    assert found.times_s is not None and found.times_s[-1] == pytest.approx(36.0, abs=0.05)
    assert all(np.abs(part).max() > 0 for part in np.split(found.relevance, 9, axis=1))


@pytest.mark.usefixtures("forget_encoders")
def test_an_encoder_first_loaded_in_inference_mode_lets_a_gradient_through() -> None:
    with torch.inference_mode():
        encoder = frozen_encoder("whisper-tiny.en")
    log_mel = torch.randn(1, 80, 50).requires_grad_()
    encoder(log_mel)[0][-1].sum().backward()
    assert log_mel.grad is not None and log_mel.grad.abs().max() > 0


def test_the_position_table_is_the_published_sinusoid(tiny: WhisperFrames) -> None:
    # Radford et al. 2022, after Vaswani et al. 2017.
    angle = torch.arange(1500)[:, None] * torch.exp(-np.log(10_000) / 191 * torch.arange(192))[None]
    table = torch.cat([angle.sin(), angle.cos()], dim=1)
    assert torch.allclose(tiny.encoder.embed_positions.weight, table, atol=1e-3)


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
    network = WhisperPooling("whisper-tiny.en", 6).eval()
    states, real = network.encoder(torch.randn(2, 80, 100), torch.tensor([60, 100]))
    share = network.pooling.weights(network.mix(states), real).detach().numpy()
    assert np.allclose(share.sum(1), 1, atol=1e-5)
    assert share[0, 30:].max() == 0


def test_frozen_layers_get_no_gradient_and_the_others_do() -> None:
    network = WhisperPooling("whisper-tiny.en", 6, frozen_layers=2)
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


SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
WAVES = SMALL | {
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 8),
    "conv_kernel": (10, 3, 3),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
FAMILIES = {
    "wav2vec2": (tf.Wav2Vec2Model, tf.Wav2Vec2Config(**WAVES)),
    "hubert": (tf.HubertModel, tf.HubertConfig(**WAVES)),
    "distilhubert": (tf.HubertModel, tf.HubertConfig(**(WAVES | {"num_hidden_layers": 2}))),
    "wavlm": (tf.WavLMModel, tf.WavLMConfig(**WAVES)),
    "ast": (tf.ASTModel, tf.ASTConfig(**SMALL, max_length=256)),
}


def kept(kind: str, parent: Path, *, normalise: bool = True) -> tf.PreTrainedModel:
    """Write a small random encoder of a class into ``parent/kind`` and return it."""
    torch.manual_seed(0)
    family, config = FAMILIES[kind]
    network = family(config).eval()
    network.save_pretrained(parent / kind)
    extractor = tf.ASTFeatureExtractor(max_length=256) if kind == "ast" else tf.Wav2Vec2FeatureExtractor()
    if kind != "ast":
        extractor.do_normalize = normalise
    extractor.save_pretrained(parent / kind)
    return network


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_encoders: Callable[[], None]) -> Path:
    monkeypatch.setenv("SERSCOPE_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind != "ast"])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_folder_of_a_waveform_encoder_gives_the_states_of_its_class(
    kind: str, normalise: bool, folders: Path
) -> None:
    reference = kept(kind, folders, normalise=normalise)
    samples = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.02
    encoder = frozen_encoder(kind)
    expected = samples
    if normalise:
        scaled = tf.Wav2Vec2FeatureExtractor(do_normalize=True)(samples[0].numpy(), sampling_rate=16_000)
        expected = torch.from_numpy(scaled["input_values"][0])[None]
    with torch.inference_mode():
        states, real = encoder(encoder.inputs(samples))
        last = reference(expected).last_hidden_state
    assert real is None and len(states) == encoder.states == reference.config.num_hidden_layers + 1
    assert torch.allclose(states[-1], last, atol=1e-4)
    assert {state.shape for state in states} == {last.shape}


def test_frames_of_a_waveform_encoder_are_centred_where_its_convolutions_look(folders: Path) -> None:
    """An impulse moves only the frames whose field of view holds it; they lie around it in time."""
    kept("wav2vec2", folders, normalise=False)
    encoder = frozen_encoder("wav2vec2")
    impulse = torch.zeros(1, 16_000)
    impulse[0, 8_000] = 1.0
    with torch.inference_mode():
        maps = [encoder.encoder.feature_extractor.conv_layers[0].conv(x[:, None]) for x in (impulse, 0 * impulse)]
        for layer in encoder.encoder.feature_extractor.conv_layers[1:]:
            maps = [layer.conv(x) for x in maps]
    moved = (maps[0] - maps[1]).abs().sum(1)[0] > 0
    times = encoder.step_times(len(moved))[moved.numpy()]
    assert len(times) > 0 and np.abs(times - 0.5).max() <= encoder.field / 2 / 16_000 + encoder.step_s / 2
    assert np.mean(times) == pytest.approx(0.5, abs=encoder.step_s)


def test_patches_of_a_spectrogram_transformer_become_frames_of_the_clip_itself(folders: Path) -> None:
    reference = kept("ast", folders)
    samples = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    encoder = frozen_encoder("ast")
    whole = tf.ASTFeatureExtractor(max_length=256)(samples[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        states, _ = encoder(encoder.inputs(samples))
        grid = reference(**whole, output_hidden_states=True).hidden_states[-1][0, 2:].reshape(12, 25, 32)
    assert states[-1].shape == (1, 9, 32)  # 98 frames of 10 ms hold nine patches of 160 ms, one each 100 ms
    assert torch.allclose(states[-1][0], grid[:, :9].mean(0), atol=1e-4)
    assert encoder.step_times(2).tolist() == pytest.approx([0.08, 0.18])


@pytest.mark.parametrize("kind", ["hubert", "ast"])
def test_a_gradient_reaches_the_input_of_a_frozen_encoder(kind: str, folders: Path) -> None:
    kept(kind, folders)
    encoder = frozen_encoder(kind)
    inputs = encoder.inputs(torch.randn(1, 12_000) * 0.1).requires_grad_()
    encoder(inputs)[0][-1].square().sum().backward()
    assert inputs.grad is not None and float(inputs.grad.abs().sum()) > 0
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_an_absent_encoder_is_named_with_what_to_do(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERSCOPE_HUB", raising=False)
    with pytest.raises(WeightsError, match=r"'ntu-spml/distilhubert' is not at hand.*as distilhubert/.*SERSCOPE_HUB=1"):
        frozen_encoder("ntu-spml/distilhubert")


def test_an_encoder_of_another_kind_or_rate_is_refused(folders: Path) -> None:
    tf.WhisperModel(
        tf.WhisperConfig(
            d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2
        )
    ).save_pretrained(folders / "other")
    tf.WhisperFeatureExtractor().save_pretrained(folders / "other")
    with pytest.raises(WeightsError, match="whisper model"):
        frozen_encoder("other")
    kept("hubert", folders)
    tf.Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(folders / "hubert")
    with pytest.raises(WeightsError, match="8000 Hz"):
        frozen_encoder("hubert")


def test_pickled_weights_are_not_read(folders: Path) -> None:
    network = kept("hubert", folders)
    (folders / "hubert" / "model.safetensors").unlink()
    torch.save(network.state_dict(), folders / "hubert" / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        frozen_encoder("hubert")


def test_clips_that_do_not_fit_the_encoder_get_a_sentence(folders: Path) -> None:
    kept("ast", folders), kept("hubert", folders)
    with pytest.raises(ModelError, match=r"at most 2\.6 s"):
        frozen_encoder("ast").inputs(torch.zeros(1, 64_000))
    with pytest.raises(ModelError, match="at least"):
        frozen_encoder("hubert").inputs(torch.zeros(1, 50))
