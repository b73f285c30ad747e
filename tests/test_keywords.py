from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ser_core.errors import CorpusError
from ser_core.keywords import (
    LONGEST_LEAD,
    KeywordClassifier,
    digit_words,
    sentence_words,
    train_keywords,
    word_features,
)
from ser_core.microfrontend import micro_features
from ser_core.systems.edge_fusion import load_keywords


def test_digits_are_told_from_file_names_and_speakers_kept_apart(tmp_path: Path) -> None:
    for name in ("7_theo_31.flac", "0_jackson_2.wav", "notes_of_theo.txt", "x_y_z.wav"):
        (tmp_path / name).touch()
    words = digit_words(tmp_path)
    assert words[["word", "speaker"]].to_numpy().tolist() == [["zero", "fsdd/jackson"], ["seven", "fsdd/theo"]]


def test_a_folder_without_digits_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no spoken digits"):
        digit_words(tmp_path)


def test_a_word_is_cut_from_what_the_front_end_heard_of_the_whole_clip(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", sound, 16_000)
    words = pd.DataFrame([{"file": str(tmp_path / "clip.wav"), "start_s": 0.515, "end_s": 0.815}])
    cut = word_features(words)[0]
    lead = cut.shape[1] - 30
    assert 0 <= lead <= LONGEST_LEAD
    assert not cut[:, :lead].any()
    stored, _ = soundfile.read(tmp_path / "clip.wav", dtype="float32")
    assert np.array_equal(cut[:, lead:], micro_features(stored)[:, 50:80])


def test_what_is_padded_to_a_word_is_not_heard() -> None:
    torch.manual_seed(0)
    network = KeywordClassifier(3).eval()
    word = torch.rand(1, 40, 50) * 10
    padded = torch.cat([word, torch.full((1, 40, 14), 5.0)], dim=2)
    with torch.inference_mode():
        alone = network(word, torch.tensor([50]))
        assert torch.allclose(network(padded, torch.tensor([50])), alone, atol=1e-6)


def test_the_network_learns_words_of_speakers_that_it_has_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ser_core.keywords.HELD_OUT", ("fsdd/theo",))
    random = np.random.default_rng(0)
    times = np.arange(4_000) / 8_000
    for digit, hz in ((1, 300), (2, 900)):
        for speaker in ("jackson", "nicolas", "theo"):
            for take in range(24 if speaker != "theo" else 4):
                sound = 0.2 * np.sin(2 * np.pi * hz * random.uniform(0.9, 1.1) * times)
                soundfile.write(tmp_path / f"{digit}_{speaker}_{take}.wav", sound, 8_000)
    note = train_keywords(digit_words(tmp_path), tmp_path / "kept", tmp_path / "runs")
    assert note["held_out_words"] == 8
    assert note["training_speakers"] == 2
    assert note["figures"]["UAR"]["value"] == 1.0
    assert note["figures"]["UAR"]["chance"] == 0.5
    heard = torch.rand(2, 30, 80)
    with torch.inference_mode():
        assert load_keywords(tmp_path / "kept")(heard).shape == (2, 64)


def test_words_of_a_known_sentence_are_found_in_their_order(corpora: Path) -> None:
    from ser_core.corpora import read_corpus
    from ser_core.errors import WeightsError

    table = read_corpus(corpora / "ravdess", "ravdess").table
    try:
        words = sentence_words(table[table["name"] == "03-01-01-01-01-01-01"])
    except WeightsError:
        pytest.skip("no Whisper weights")
    assert words["word"].tolist() == ["kids", "are", "talking", "by", "the", "door"]
    assert (words["start_s"].to_numpy()[1:] >= words["end_s"].to_numpy()[:-1] - 1e-9).all()
    assert 0.5 < words["start_s"].iloc[0] < words["end_s"].iloc[-1] < 3.0
