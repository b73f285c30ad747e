from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf

from ser_core.audio import from_samples
from ser_core.errors import ModelError
from ser_core.models import load_model
from ser_core.registry import load

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


def test_a_folder_with_pickled_weights_only_is_refused(tmp_path: Path) -> None:
    family, config = classifiers()["wav2vec2"]
    folder = tmp_path / "pickled"
    model = family(config)
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    extractor("wav2vec2").save_pretrained(folder)
    with pytest.raises(ModelError, match="safetensors"):
        load(folder)


def test_a_folder_that_asks_to_run_its_own_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "coded"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}}')
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError):
        load(folder)


def test_a_clip_that_is_too_long_for_the_model_gets_a_sentence(tmp_path: Path) -> None:
    family, config = classifiers()["ast"]
    folder = tmp_path / "short"
    family(config).save_pretrained(folder)
    extractor("ast").save_pretrained(folder)
    long = from_samples(np.random.default_rng(0).normal(0, 0.1, 16_000 * 4), 16_000, "long")
    with pytest.raises(ModelError, match=r"takes at most 2\.6 s"):
        load_model(folder).predict(long)
