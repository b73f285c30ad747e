import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_core import registry
from ser_core.audio import from_samples
from ser_core.calibration import fit_temperature
from ser_core.cards import read_card, write_card
from ser_core.errors import ModelError, SerscopeError
from ser_core.familiarity import Neighbourhood, fit_neighbourhood
from ser_core.registry import load_model, model_names
from ser_core.settings import ASSETS

MEASURES = {
    "emotion": {"UAR", "WA", "macro-F1", "ECE"},
    "distribution": {"KL", "cosine", "Chebyshev", "Clark", "Canberra", "intersection"},
    "dimensions": {"CCC valence", "CCC arousal", "CCC dominance"},
}


@pytest.fixture(scope="module")
def recording():
    random = np.random.default_rng(0)
    t = np.arange(32_000) / 16_000
    return from_samples(0.2 * np.sin(2 * np.pi * 200 * t) + random.normal(0, 0.01, t.size), 16_000, "tone")


@pytest.mark.parametrize("name", model_names())
def test_every_bundled_model_answers_and_says_how_familiar_the_clip_is(name: str, recording) -> None:
    prediction = load_model(name).predict(recording)
    if prediction.values is None:
        assert prediction.probabilities.sum() == pytest.approx(1)
        assert 0 <= prediction.entropy_bits <= np.log2(len(prediction.emotions)) + 1e-9
    else:
        assert (np.abs(prediction.values) <= 1).all() and len(prediction.values) == len(prediction.emotions)
    corpus = load_model(name).card.corpora[0]
    assert prediction.familiarity is not None and corpus in prediction.familiarity.sentence


@pytest.mark.parametrize("name", model_names())
def test_every_figure_on_a_card_has_interval_baseline_split_and_command(name: str) -> None:
    card = load_model(name).card
    by = {figure.measure: figure for figure in card.figures}
    assert MEASURES[card.answer] <= by.keys()
    for figure in card.figures:
        assert figure.low <= figure.value <= figure.high or figure.measure == "ECE"
        assert figure.split and figure.command.startswith("python -m ser_core")
    if card.answer == "emotion":
        assert by["UAR"].baseline == pytest.approx(1 / len(card.emotions))


def test_a_copied_folder_becomes_a_model_without_any_edit(tmp_path: Path, monkeypatch, recording) -> None:
    shutil.copytree(ASSETS / "models" / "egemaps-logistic", tmp_path / "my-model")
    monkeypatch.setenv("SERSCOPE_MODELS", str(tmp_path))
    assert "my-model" in model_names()
    ours = load_model("egemaps-logistic").predict(recording).probabilities
    assert np.array_equal(load_model("my-model").predict(recording).probabilities, ours)


def test_a_half_written_folder_is_not_offered(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "half").mkdir()
    shutil.copy(ASSETS / "models" / "egemaps-logistic" / "card.json", tmp_path / "half")
    monkeypatch.setenv("SERSCOPE_MODELS", str(tmp_path))
    assert "half" not in model_names()


def test_an_unknown_name_lists_what_is_at_hand() -> None:
    with pytest.raises(ModelError, match="egemaps-logistic"):
        load_model("no-such-model")


def test_a_hub_name_is_refused_until_downloads_are_allowed(monkeypatch) -> None:
    monkeypatch.delenv("SERSCOPE_HUB", raising=False)
    with pytest.raises(ModelError, match="SERSCOPE_HUB=1"):
        load_model("someone/some-model")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"system": "os"}, "not here"),
        ({"system": "../evil"}, "not here"),
        ({"emotions": ["a", "b"]}, "do not fit"),
        ({"figures": [{"wrong": 1}]}, "malformed"),
    ],
)
def test_a_lying_card_gets_a_sentence(tmp_path: Path, change: dict, words: str) -> None:
    folder = tmp_path / "liar"
    shutil.copytree(ASSETS / "models" / "egemaps-logistic", folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(SerscopeError, match=words):
        registry.load_model(folder)


def test_a_card_survives_being_written_and_read(tmp_path: Path) -> None:
    card = read_card(ASSETS / "models" / "egemaps-logistic")
    write_card(tmp_path, card)
    again = read_card(tmp_path)
    assert again.emotions == card.emotions and len(again.figures) == len(card.figures)
    assert again.figures[0] == card.figures[0]


def test_temperature_undoes_a_known_scaling() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    classes = np.array([random.choice(4, p=row) for row in p])
    assert fit_temperature(3 * logits, classes) == pytest.approx(3, rel=0.1)


def test_a_far_embedding_is_called_unfamiliar_and_a_near_one_is_not() -> None:
    random = np.random.default_rng(0)
    classes = np.arange(600) % 3
    points = random.normal(0, 1, (600, 40)) + 3 * np.eye(3, 40)[classes]
    held_out = random.normal(0, 1, (300, 40)) + 3 * np.eye(3, 40)[np.arange(300) % 3]
    near = fit_neighbourhood(points, classes, held_out, components=20)
    assert near.familiarity(3 * np.eye(3, 40)[0], "X").percentile < 20
    assert near.familiarity(np.full(40, 9.0), "X").percentile == 100
    assert "than all unseen X clips" in near.familiarity(np.full(40, 9.0), "X").sentence


def test_a_clip_is_said_to_lie_further_than_all_only_where_none_lies_further() -> None:
    line = Neighbourhood(np.zeros(1), np.eye(1), np.zeros((1, 1)), np.arange(1000.0))
    nearly, beyond = (line.familiarity(np.array([at]), "X").sentence for at in (996.5, 1001.0))
    assert "further from the training data than over 99 % of unseen X clips" in nearly
    assert "further from the training data than all unseen X clips" in beyond
    nearest = line.familiarity(np.array([2.5]), "X").sentence
    assert "99 % of unseen X clips lie further" in nearest  # three of a thousand do not


def test_the_network_gives_the_same_answer_alone_and_in_a_batch() -> None:
    model = load_model(model_names()[0])
    samples = torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0)) * 0.05
    with torch.inference_mode():
        together = model.logits(samples)
        alone = torch.cat([model.logits(samples[:1]), model.logits(samples[1:])])
    assert torch.allclose(together, alone, atol=1e-3)


def test_a_model_that_does_not_say_what_it_learnt_from_is_likened_to_nothing(tmp_path: Path, recording) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(ASSETS / "models" / "egemaps-logistic", folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps(card | {"corpora": []}), encoding="utf-8")
    found, plain = (load_model(name).predict(recording) for name in (folder, "egemaps-logistic"))
    assert found.familiarity is None and plain.familiarity is not None
    assert np.array_equal(found.probabilities, plain.probabilities)


def test_a_model_that_was_replaced_is_loaded_anew_and_else_once(tmp_path: Path, monkeypatch, recording) -> None:
    monkeypatch.setenv("SERSCOPE_MODELS", str(tmp_path))
    for name in ("egemaps-logistic", "egemaps-mlp"):
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)
        shutil.copytree(ASSETS / "models" / name, tmp_path / "mine")
        model = load_model("mine")
        assert model.card.title == load_model(name).card.title and load_model("mine") is model
        assert sum(known.startswith(f"{tmp_path / 'mine'}\n") for known in registry._loaded) == 1
        assert np.array_equal(model.predict(recording).probabilities, load_model(name).predict(recording).probabilities)
