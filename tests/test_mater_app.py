"""The shipped MATER on an unheard clip, from words to an explained answer."""

import numpy as np
import pytest

from explain.attribution import Target, attribute, methods_for
from ser_core.audio import read
from ser_core.registry import load_model, model_folders
from ser_core.settings import ASSETS
from ser_core.systems.mater.evidence import MaterModel


@pytest.mark.skipif("mater" not in model_folders(), reason="the model is not bundled here")
def test_the_bundled_model_answers_and_is_explained_on_a_sample() -> None:
    model = load_model("mater")
    assert isinstance(model, MaterModel)
    clip = read(ASSETS / "samples" / "neutral_woman.flac")
    bound = model.with_words(model.hears(clip.samples))
    prediction = bound.predict(clip)
    assert prediction.probabilities.sum() == pytest.approx(1)
    assert {method.name for method in methods_for(bound)} >= {"integrated_gradients", "occlusion"}
    found = attribute(bound, clip, Target(prediction.top), "integrated_gradients")
    assert found.completeness_error is not None and found.completeness_error < 0.05
    assert found.feature_names is not None and len(found.feature_names) == len(found.relevance)
    logit = float(np.log(prediction.probabilities[prediction.emotions.index(prediction.top)]))
    logit -= float(np.log(prediction.probabilities).mean())
    evidence = bound.evidence(clip, prediction.top)
    assert sum(level.moves for level in evidence.levels) == pytest.approx(logit, abs=1e-3)
