import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ser_core import functionals as room
from ser_core.audio import from_samples
from ser_core.errors import SettingError
from ser_core.functionals import clip_functionals, feature_names, file_functionals
from ser_core.registry import load_model
from ser_core.systems import functionals_classifier as system
from ser_core.training import Recipe

SET = "eGeMAPSv02"
RECIPE = Recipe(epochs=20, batch=16, rate=1e-2)


def clips(seed: int, count: int = 90, features: int = 88) -> tuple[list[np.ndarray], np.ndarray]:
    random = np.random.default_rng(seed)
    classes = np.arange(count) % 3
    table = 5 + np.random.default_rng(0).normal(size=(3, features))[classes] + random.normal(size=(count, features))
    table[:, 7] = 1.0  # a functional that never changes
    return [row[:, None].astype(np.float32) for row in table], np.eye(3)[classes].astype(np.float32)


def fitted(classifier: str, tmp_path) -> system.StandardisedClassifier:
    return system.fit(*clips(1), RECIPE, SET, tmp_path, None, classifier=classifier)


def test_logistic_regression_is_scikit_learns_on_standardised_functionals(tmp_path) -> None:
    values, targets = clips(1)
    table = np.concatenate(values, axis=1).T.astype(np.float64)
    strength = system.STRENGTH[SET] / len(table)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000))
    theirs.fit(table, targets.argmax(1))
    ours = system.logits(fitted("logistic", tmp_path), values)
    assert ours == pytest.approx(theirs.decision_function(table), abs=5e-3)


@pytest.mark.parametrize("classifier", system.CLASSIFIERS)
def test_both_classifiers_learn_and_what_is_saved_answers_alike(classifier: str, tmp_path) -> None:
    network = fitted(classifier, tmp_path)
    unseen, truth = clips(2)
    assert (system.logits(network, unseen).argmax(1) == truth.argmax(1)).mean() > 0.85
    system.save(network, 2.0, tmp_path)
    card = dataclasses.replace(load_model("egemaps-logistic").card, emotions=("a", "b", "c"))
    model = system.load(tmp_path, card)
    again = system.logits(model.network, unseen)
    assert again == pytest.approx(system.logits(network, unseen) / 2, abs=2e-2)


def test_every_class_counts_the_same_however_rare_it_is(tmp_path) -> None:
    values, targets = clips(1, count=300)
    keep = np.flatnonzero((targets.argmax(1) != 2) | (np.arange(300) < 30))
    network = system.fit([values[i] for i in keep], targets[keep], RECIPE, SET, tmp_path, None, classifier="mlp")
    unseen, truth = clips(2, count=300)
    recall = (system.logits(network, unseen).argmax(1) == 2)[truth.argmax(1) == 2].mean()
    assert recall > 0.7


def test_an_odd_value_is_clipped_at_ten_deviations(tmp_path) -> None:
    network = fitted("logistic", tmp_path)
    values = clips(2, count=3)[0]
    values[0][5] = 1e20
    assert np.isfinite(system.logits(network, values)).all()
    assert system.embeddings(network, values)[0, 5] == pytest.approx(10)


def test_an_unknown_classifier_is_named(tmp_path) -> None:
    with pytest.raises(SettingError, match="logistic, mlp"):
        fitted("forest", tmp_path)


def test_a_corpus_is_measured_once_and_again_only_when_a_file_changes(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    files = []
    for place in range(3):
        files.append(str(tmp_path / f"{place}.wav"))
        soundfile.write(files[-1], 0.1 * np.sin(np.arange(16_000) * 0.05 * (place + 1)), 16_000)
    first = clip_functionals(files, SET)
    assert first.shape == (3, len(feature_names(SET)))
    measured = []
    monkeypatch.setattr(room, "functionals", lambda samples, name: measured.append(len(samples)) or np.zeros(88))
    assert np.array_equal(clip_functionals(files, SET), first)
    assert not measured
    soundfile.write(files[1], 0.1 * np.sin(np.arange(20_000) * 0.2), 16_000)
    file_functionals(files[1], SET)
    assert measured == [20_000]


@pytest.mark.parametrize("name", ["egemaps-logistic", "egemaps-mlp", "compare-logistic", "compare-mlp"])
def test_bundled_models_name_their_functionals(name: str) -> None:
    from ser_core.registry import model_names

    if name not in model_names():
        pytest.skip("not bundled")
    model = load_model(name)
    tone = from_samples(0.1 * np.sin(np.arange(16_000) * 0.1), 16_000, "tone")
    inputs = model.inputs(torch.from_numpy(np.array(tone.samples))[None])
    assert inputs.shape == (1, len(model.axes.names))
    assert model.predict(tone).probabilities.sum() == pytest.approx(1)
