"""EM2LDL's head: what it looks at, what it learns, and that a stored model answers as the trained one did."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from ser_core.encoders import frozen_encoder
from ser_core.errors import CorpusError
from ser_core.models import Card
from ser_core.systems import label_distribution as system
from ser_core.systems.whisper_statistics import statistics
from ser_core.training import Recipe
from tests.planted import recording

ENCODER = "whisper-tiny.en"
LABELS = ("anger", "neutral", "sadness")
RECIPE = Recipe(epochs=12, batch=16, rate=3e-3, weight_decay=0.0, label_smoothing=0.0)


def made_up(clips: int = 96) -> tuple[list[np.ndarray], np.ndarray]:
    """Statistics of noise whose first mean says how the listeners split."""
    generator = np.random.default_rng(0)
    encoder = frozen_encoder(ENCODER)
    values = generator.normal(0, 1, (clips, 2 * encoder.states * encoder.hidden_size)).astype(np.float32)
    wanted = softmax(np.stack([2 * values[:, 0], np.zeros(clips), -2 * values[:, 0]], axis=1), axis=1)
    values[:, :384] = values[:, :1] + 0.1 * values[:, :384]
    return [row[:, None] for row in values], wanted


def fitted(folder: Path, recipe: Recipe = RECIPE, **options: Any) -> tuple[system.Shares, list[np.ndarray], np.ndarray]:
    values, wanted = made_up()
    network = system.fit(values, wanted, recipe, ENCODER, folder, lambda network, epoch: {}, **options)
    return network, values, wanted


def test_poolings_pick_the_means_of_all_layers_or_of_the_last() -> None:
    encoder = frozen_encoder(ENCODER)
    constant = [torch.full((1, 7, encoder.hidden_size), float(layer)) for layer in range(encoder.states)]
    columns = statistics(constant)
    assert columns[0, system._chosen("last", columns.shape[1], encoder.hidden_size)].unique().tolist() == [4.0]
    means = columns[0, system._chosen("means", columns.shape[1], encoder.hidden_size)]
    assert means.reshape(encoder.states, -1)[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(system._chosen("statistics", columns.shape[1], encoder.hidden_size)) == columns.shape[1]


@pytest.mark.parametrize("hidden", [0, 16])
def test_it_learns_how_listeners_split(tmp_path: Path, hidden: int) -> None:
    network, values, wanted = fitted(tmp_path, hidden=hidden)
    given = softmax(system.logits(network, values), axis=1)
    constant = np.mean([entropy(row, wanted.mean(0)) for row in wanted])
    assert np.mean([entropy(d, p) for d, p in zip(wanted, given, strict=True)]) < 0.5 * constant
    assert network.constant.numpy() == pytest.approx(wanted.mean(0), abs=1e-6)


def test_an_untrained_head_answers_the_constant(tmp_path: Path) -> None:
    network, values, wanted = fitted(tmp_path, Recipe(epochs=1, rate=1e-9, label_smoothing=0.0))
    assert softmax(system.logits(network, values), axis=1) == pytest.approx(np.tile(wanted.mean(0), (96, 1)), abs=1e-5)


def test_the_same_seed_gives_the_same_head(tmp_path: Path) -> None:
    first, second = (fitted(tmp_path, hidden=8)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_stored_model_answers_as_the_trained_one(tmp_path: Path, hidden: int) -> None:
    network, values, wanted = fitted(tmp_path, hidden=hidden)
    system.save(network, 1.0, tmp_path)
    fields: Any = ("x", "x", "label_distribution", "", LABELS, ENCODER, ("made up",), (), "", (), "", (), 0.0)
    card = Card(*fields, answer="distribution")
    model = system.load(tmp_path, card)
    assert model.constant == pytest.approx(tuple(wanted.mean(0)), abs=1e-6)
    with torch.inference_mode():
        heads = model.network.heads
        kept = heads.classify(heads.embed(torch.from_numpy(np.concatenate(values, axis=1).T)))
    assert kept.numpy() == pytest.approx(system.logits(network, values), abs=0.05)
    found = model.predict(recording(0.1 * np.random.default_rng(1).standard_normal(16_000)))
    assert (found.answer, found.values, found.constant) == ("distribution", None, model.constant)
    assert found.probabilities.sum() == pytest.approx(1)


def test_targets_are_the_shares_of_votes_or_the_corpus_s_own() -> None:
    votes = pd.DataFrame({"vote_anger": [3.0], "vote_neutral": [1.0], "vote_sadness": [0.0]})
    assert system.targets(votes, LABELS).tolist() == [[0.75, 0.25, 0.0]]
    shares = pd.DataFrame({"share_anger": [0.2], "share_neutral": [0.5], "share_sadness": [0.3]})
    assert system.targets(shares, LABELS)[0] == pytest.approx([0.2, 0.5, 0.3])
    with pytest.raises(CorpusError, match="needs votes or shares"):
        system.targets(pd.DataFrame({"emotion": ["anger"]}), LABELS)
