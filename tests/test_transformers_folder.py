import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

from explain.attribution import Target, attribute
from ser_core import weights
from ser_core.audio import from_samples
from ser_core.encoders import frozen_encoder
from ser_core.errors import ModelError, WeightsError
from ser_core.registry import load_model

LABELS = {0: "Angry", 1: "Happy", 2: "Neutral"}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "id2label": LABELS,
    "label2id": {name: i for i, name in LABELS.items()},
}
CONVOLUTIONS = {"conv_dim": (16, 16), "conv_stride": (10, 16), "conv_kernel": (10, 16), "num_conv_pos_embeddings": 8}
CONVOLUTIONS |= {"num_conv_pos_embedding_groups": 2, "classifier_proj_size": 16}


def classifiers() -> dict:
    whisper = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
    whisper |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "id2label": LABELS}
    return {
        "wav2vec2": (tf.Wav2Vec2ForSequenceClassification, tf.Wav2Vec2Config(**SMALL, **CONVOLUTIONS)),
        "hubert": (tf.HubertForSequenceClassification, tf.HubertConfig(**SMALL, **CONVOLUTIONS)),
        "wavlm": (tf.WavLMForSequenceClassification, tf.WavLMConfig(**SMALL, **CONVOLUTIONS)),
        "whisper": (tf.WhisperForAudioClassification, tf.WhisperConfig(**whisper)),
        "ast": (tf.ASTForAudioClassification, tf.ASTConfig(**SMALL, max_length=256)),
    }


def extractor(kind: str):
    if kind == "whisper":
        return tf.WhisperFeatureExtractor()
    if kind == "ast":
        return tf.ASTFeatureExtractor(max_length=256)
    return tf.Wav2Vec2FeatureExtractor(do_normalize=True)


@pytest.fixture
def recording():
    samples = np.random.default_rng(0).normal(0, 0.1, 24_000)
    return from_samples(samples, 16_000, "noise")


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm", "whisper", "ast"])
def test_a_local_folder_answers_as_transformers_itself_does(kind: str, tmp_path: Path, recording) -> None:
    torch.manual_seed(0)
    family, config = classifiers()[kind]
    reference = family(config).eval()
    folder = tmp_path / f"my-{kind}"
    reference.save_pretrained(folder)
    extractor(kind).save_pretrained(folder)

    prediction = load_model(folder).predict(recording)

    features = extractor(kind)(recording.samples, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = reference(**features).logits[0].softmax(0).numpy()
    assert prediction.emotions == ("angry", "happy", "neutral")
    assert np.allclose(prediction.probabilities, expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["whisper", "ast"])
@pytest.mark.parametrize("level", [1e-4, 0.1])
def test_what_a_clip_lacks_is_filled_as_transformers_itself_does(kind: str, level: float, tmp_path: Path) -> None:
    family, config = classifiers()[kind]
    model = load_model(saved(tmp_path / kind, family(config), kind))
    samples = np.random.default_rng(0).normal(0, level, 24_000).astype(np.float32)
    inputs = model.inputs(torch.from_numpy(samples)[None])
    features = extractor(kind)(samples, sampling_rate=16_000, return_tensors="pt")
    expected = features["input_features"] if kind == "whisper" else features["input_values"].transpose(1, 2)
    end = inputs.shape[-1]
    found = model.network[0](inputs)
    # Windows that begin in the clip and end behind it are not frames of the clip.
    apart = (found[..., :end] - expected[..., :end]).abs() > 1e-3
    apart[..., -1, -1] = False  # Whisper's level of silence is kept there
    assert not apart.any()
    assert torch.allclose(found[..., end + 2 :], expected[..., end + 2 :], atol=1e-3)
    # What is explained is the clip alone.
    last_s = model.axes.first_s + (inputs.shape[-1] - 1) * model.axes.step_s
    assert 1.4 < last_s < 1.5


@pytest.mark.parametrize("kind", ["whisper", "ast"])
def test_what_lies_beyond_a_clip_stays_when_its_loudest_part_is_taken_away(kind: str, tmp_path: Path) -> None:
    family, config = classifiers()[kind]
    torch.manual_seed(0)
    network = family(config)
    with torch.no_grad():
        for weights in network.parameters():
            weights.normal_(0, 0.06)
    model = load_model(saved(tmp_path / kind, network, kind))
    samples = np.random.default_rng(0).normal(0, 0.1, 24_000) * np.linspace(0.05, 1, 24_000)
    clip = from_samples(samples, 16_000, "noise")
    inputs = model.inputs(torch.from_numpy(clip.samples.copy())[None])
    quiet = torch.where(inputs > inputs.quantile(0.9), model.baseline(inputs), inputs)
    beyond = [model.network[0](each)[..., inputs.shape[-1] :] for each in (inputs, quiet, model.baseline(inputs))]
    assert torch.equal(beyond[0], beyond[1]) and torch.equal(beyond[0], beyond[2])
    # So what the parts are worth adds up to what the clip is worth.
    found = attribute(model, clip, Target(model.predict(clip).top), "integrated_gradients")
    assert found.completeness_error < 0.05


def saved(folder: Path, network, kind: str = "wav2vec2") -> Path:
    network.save_pretrained(folder)
    extractor(kind).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper", "ast"])
def test_an_encoder_without_a_classifier_is_refused_as_its_answers_would_be_drawn_at_random(
    kind: str, tmp_path: Path
) -> None:
    family, config = classifiers()[kind]
    network = family(config)
    bare = saved(tmp_path / "bare", network, kind)
    state = {name: value for name, value in load_file(bare / "model.safetensors").items() if "classifier" not in name}
    save_file(state, bare / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack .*classifier.*at random"):
        load_model(bare)


def test_weights_that_lack_only_what_training_needs_are_taken(tmp_path: Path, recording) -> None:
    family, config = classifiers()["wav2vec2"]
    folder = saved(tmp_path / "published", family(config))
    state = {k: v for k, v in load_file(folder / "model.safetensors").items() if "masked_spec_embed" not in k}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_model(folder).predict(recording).probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"problem_type": "regression"}, "made for regression"),
        ({"problem_type": "multi_label_classification"}, "made for multi label classification"),
        ({"id2label": {0: "arousal"}}, "has the labels arousal; 2 to 100"),
        ({"id2label": {0: "Angry", 1: "angry", 2: "Sad"}}, "has the labels angry, angry, sad"),
        ({"id2label": {0: "Angry", 1: "", 2: "Sad"}}, "has the labels angry, , sad; .*each a word of at most 100"),
    ],
)
def test_a_model_that_does_not_choose_one_of_several_labels_is_refused(change, said, tmp_path: Path) -> None:
    family, _ = classifiers()["wav2vec2"]
    settings = {name: value for name, value in SMALL.items() if "label" not in name} | CONVOLUTIONS
    network = family(tf.Wav2Vec2Config(**settings | {"id2label": LABELS} | change))
    with pytest.raises(ModelError, match=said):
        load_model(saved(tmp_path / "mine", network))


def test_a_folder_with_pickled_weights_only_is_refused(tmp_path: Path) -> None:
    family, config = classifiers()["wav2vec2"]
    folder = tmp_path / "pickled"
    model = family(config)
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    extractor("wav2vec2").save_pretrained(folder)
    with pytest.raises(ModelError, match="safetensors"):
        load_model(folder)


class Hub:
    """What the hub would say and give, from a folder; notes the files that are downloaded."""

    def __init__(self, folder: Path, stated: dict[str, int | None] | None = None) -> None:
        self.folder, self.into, self.downloaded = folder, folder.parent / "downloaded", []
        self.sizes = {file.name: file.stat().st_size for file in folder.iterdir()} | (stated or {})

    def model_info(self, name: str, *, files_metadata: bool) -> SimpleNamespace:
        assert files_metadata
        files = [SimpleNamespace(rfilename=file, size=size) for file, size in self.sizes.items()]
        return SimpleNamespace(sha="0123abcd", siblings=files)

    def snapshot_download(self, repo_id: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert revision == "0123abcd"
        self.into.mkdir(exist_ok=True)
        for name in allow_patterns:
            shutil.copy(self.folder / name, self.into)
            self.downloaded.append(name)
        return str(self.into)


@pytest.fixture
def published(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SERSCOPE_HUB", "1")
    family, config = classifiers()["wav2vec2"]
    folder = tmp_path / "published"
    family(config).save_pretrained(folder)
    extractor("wav2vec2").save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    return folder


def test_a_hub_model_answers_and_only_what_it_needs_is_downloaded(published: Path, monkeypatch, recording) -> None:
    hub = Hub(published)
    monkeypatch.setattr(weights, "_hub", lambda: hub)
    model = load_model("somebody/speech-emotion")
    found = model.predict(recording)
    assert model.name == found.model == "somebody/speech-emotion" != load_model("else/speech-emotion").name
    assert load_model(published).name == "published"
    assert np.allclose(found.probabilities, load_model(published).predict(recording).probabilities)
    assert set(hub.downloaded) == {"config.json", "preprocessor_config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("stated", "words", "downloaded"),
    [
        ({"model.safetensors": 9_100_000_000}, r"its weights have 9\.1 GB, and at most 4 are taken", False),
        ({"model.safetensors": None}, r"does not say how large model\.safetensors is", False),
        ({"config.json": 3_000_000}, r"config\.json has over 2 MB", False),
        ({"model.safetensors": 1000}, "parameters, and the weights have 1,000 bytes", True),
    ],
)
def test_a_hub_model_that_is_too_large_is_refused_before_its_weights_are_downloaded(
    published: Path, monkeypatch, stated: dict, words: str, downloaded: bool
) -> None:
    hub = Hub(published, stated)
    monkeypatch.setattr(weights, "_hub", lambda: hub)
    with pytest.raises(ModelError, match=words):
        load_model("somebody/too-large")
    assert "model.safetensors" not in hub.downloaded and bool(hub.downloaded) == downloaded
    with pytest.raises(WeightsError, match=f"'somebody/too-large' cannot be used: .*{words}"):
        frozen_encoder("somebody/too-large")


def test_enormous_settings_of_a_hub_model_are_refused_before_a_network_is_built(published: Path, monkeypatch) -> None:
    config = json.loads((published / "config.json").read_text())
    (published / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 100_000}))
    hub = Hub(published)
    monkeypatch.setattr(weights, "_hub", lambda: hub)
    with pytest.raises(ModelError, match="no model of speech has over 1,000"):
        load_model("somebody/deep")
    assert "model.safetensors" not in hub.downloaded


def test_a_hub_model_without_safetensors_is_refused(published: Path, monkeypatch) -> None:
    (published / "model.safetensors").unlink()
    monkeypatch.setattr(weights, "_hub", lambda: Hub(published))
    with pytest.raises(ModelError, match=r"the hub has no model\.safetensors of it"):
        load_model("somebody/pickled")


def test_without_a_connection_what_was_downloaded_before_will_do(published: Path, monkeypatch, recording) -> None:
    class Offline:
        def model_info(self, name: str, *, files_metadata: bool) -> None:
            raise ConnectionError("no network")

        def snapshot_download(self, name: str, *, local_files_only: bool) -> str:
            if name != "somebody/kept":
                raise FileNotFoundError("never downloaded")
            return str(published)

    monkeypatch.setattr(weights, "_hub", Offline)
    assert load_model("somebody/kept").predict(recording).emotions == ("angry", "happy", "neutral")
    with pytest.raises(ModelError, match="no network"):
        load_model("somebody/else")


def test_a_folder_that_asks_to_run_its_own_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "coded"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}}')
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError):
        load_model(folder)


def test_a_clip_that_is_too_long_for_the_model_gets_a_sentence(tmp_path: Path) -> None:
    family, config = classifiers()["ast"]
    folder = tmp_path / "short"
    family(config).save_pretrained(folder)
    extractor("ast").save_pretrained(folder)
    long = from_samples(np.random.default_rng(0).normal(0, 0.1, 16_000 * 4), 16_000, "long")
    with pytest.raises(ModelError, match=r"takes at most 2\.6 s"):
        load_model(folder).predict(long)
