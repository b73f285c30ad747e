from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from ser_core import sentences
from ser_core.errors import SettingError, WeightsError
from ser_core.sentences import Affect, affect, sentence_embedding, sentence_encoder, token_states


@pytest.fixture(autouse=True)
def fresh_encoder() -> None:
    sentences._own_lexicon.cache_clear()


def test_sentences_that_mean_the_same_lie_close() -> None:
    food, meal, sky = (
        sentence_embedding(token_states(text))
        for text in ("A man is eating food.", "A man eats a meal.", "The sky is blue.")
    )
    assert np.linalg.norm(food) == pytest.approx(1, abs=1e-5)
    assert food @ meal > 0.8 > 0.3 > food @ sky


def test_the_states_are_those_of_the_published_model_read_by_transformers() -> None:
    folder = sentences._folder()
    reference = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    ids = sentence_encoder().tokens.encode("It's eleven o'clock.").ids
    assert ids[0] == 101 and ids[-1] == 102  # [CLS] and [SEP]
    with torch.inference_mode():
        theirs = reference(torch.tensor([ids])).last_hidden_state[0].numpy()
    assert np.allclose(token_states("It's eleven o'clock."), theirs, atol=1e-5)


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sentences.SHA256, "config.json", "0" * 64)
    with pytest.raises(WeightsError, match="not the published file"):
        sentences._folder()


def test_without_the_package_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "PACKAGE", "no_such_package")
    with pytest.raises(WeightsError, match="no-such-package is missing"):
        sentences._folder()


def test_a_local_folder_comes_before_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / sentences.NAME
    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=30522)
    BertModel(small, add_pooling_layer=False).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((sentences._folder() / "tokenizer.json").read_bytes())
    monkeypatch.setenv("SERSCOPE_WEIGHTS", str(tmp_path))
    sentence_encoder.cache_clear()
    try:
        assert token_states("hello there").shape == (4, 8)
    finally:
        sentence_encoder.cache_clear()


def test_valence_is_the_published_rating_over_four() -> None:
    assert affect("Happy,") == Affect(2.7 / 4)  # "happy	2.7" in VADER's list
    assert affect("sad.") == Affect(-2.1 / 4)
    assert affect("jacket") is None


def test_the_users_lexicon_comes_first_and_vader_fills_the_gaps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "norms.csv"
    path.write_text("Word,Valence,Arousal\njacket,0.1,-0.3\nhappy,0.9,\n")
    monkeypatch.setenv("SERSCOPE_LEXICON", str(path))
    assert affect("Jacket") == Affect(0.1, -0.3)
    assert affect("happy") == Affect(0.9)
    assert affect("sad") == Affect(-2.1 / 4)


@pytest.mark.parametrize("content", ["word\nhappy\n", "word,valence\nhappy,7.3\n", "word,valence\nhappy,high\n"])
def test_a_lexicon_of_another_form_or_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "norms.csv"
    path.write_text(content)
    monkeypatch.setenv("SERSCOPE_LEXICON", str(path))
    with pytest.raises(SettingError, match=r"columns word and valence"):
        affect("happy")
