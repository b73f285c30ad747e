"""Answers that are no class: a distribution of listeners and values of dimensions, wherever an answer is shown."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pypdf
import pytest
import torch
from explanations import example_explanation
from torch import Tensor, nn

from explain import export, export_json, report, report_opened
from explain.attribution import Target, attribute, default_target, methods_for
from explain.explanation import Explanation
from explain.opened import Opened
from explain.paragraph import paragraph
from explain.trust import trust
from explain.words import NO_EXPECTATION, dimensions_in_words
from pages.parts import trust_panel
from pages.parts.answer import listeners, reading, scales
from ser_core.errors import ExplanationError, ModelError, SettingError
from ser_core.models import Prediction
from ser_core.plutchik import MIXTURES, PETALS, place
from ser_core.sphere import DIMENSIONS, path_over_time
from tests.planted import PlantedModel, recording

VALUES = Prediction("vad", DIMENSIONS, np.zeros(0), None, "dimensions", (-0.2, 0.0, 0.1), np.array([-0.61, 0.4, 0.02]))
SHARES = Prediction("ldl", ("anger", "neutral"), np.array([0.7, 0.3]), None, "distribution", (0.25, 0.75))


class Levels(nn.Module):
    """Mean level of the whole clip times a weight for each dimension; linear, so attributions are known."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.5, -0.2, 0.1]))

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel.mean(dim=(1, 2))[:, None] * self.weights


@pytest.fixture
def model() -> PlantedModel:
    planted = PlantedModel(Levels(), DIMENSIONS)
    planted.card = replace(planted.card, answer="dimensions")
    return planted


def with_answer(prediction: Prediction, target: Target) -> Explanation:
    shown = example_explanation()
    card = replace(shown.card, answer=prediction.answer, emotions=prediction.emotions)
    attribution = replace(shown.attribution, target=target)
    agreements = tuple(row for row in shown.agreements if row.emotion in prediction.emotions)
    shown = replace(shown, prediction=prediction, target=target, card=card, attribution=attribution)
    shown = replace(shown, agreements=agreements)
    return replace(shown, paragraph=paragraph(shown))


def test_dimensions_have_values_and_no_probability() -> None:
    assert (VALUES.top, VALUES.runner_up, VALUES.value("arousal")) == ("valence", "arousal", 0.4)
    assert np.isnan(VALUES.entropy_bits)
    with pytest.raises(ModelError, match="not with probabilities"):
        VALUES.probability("valence")
    with pytest.raises(ModelError, match="not with values"):
        SHARES.value("anger")


def test_a_network_of_dimensions_is_read_as_values_within_the_scale(model: PlantedModel) -> None:
    found = model.reading(np.array([1.7, -0.3, 0.0]))
    assert found.values is not None and found.values.tolist() == [1.0, -0.3, 0.0] and found.probabilities.size == 0


def test_what_is_explained_by_default_is_where_the_clearest_dimension_points() -> None:
    assert default_target(VALUES) == Target("valence", direction="lower")
    assert default_target(SHARES) == Target("anger")
    assert (default_target(VALUES).name, Target("arousal", direction="higher").name) == (
        "lower valence",
        "higher arousal",
    )


@pytest.mark.parametrize("method", ["integrated_gradients", "input_x_gradient", "occlusion"])
def test_down_is_the_mirror_of_up_and_both_are_the_weight(model: PlantedModel, method: str) -> None:
    clip = recording(0.1 * np.random.default_rng(0).standard_normal(3200))
    up, down = (attribute(model, clip, Target("arousal", direction=way), method) for way in ("higher", "lower"))
    np.testing.assert_allclose(up.relevance, -down.relevance, atol=1e-6)
    inputs = model.inputs(torch.from_numpy(np.array(clip.samples))[None])
    moved = (model.network(inputs) - model.network(model.baseline(inputs)))[0, 1].item()
    if method != "occlusion":
        assert up.relevance.sum() == pytest.approx(moved, rel=0.01)
    assert up.settings["explains"] == "value of a dimension, higher"
    assert all("logit" not in offered.hint for offered in methods_for(model))


def test_the_tests_of_a_dimension_speak_of_its_value(model: PlantedModel) -> None:
    clip = recording(np.random.default_rng(0).standard_normal(16000) * np.linspace(0.01, 0.1, 16000))
    found = trust(model, clip, attribute(model, clip, Target("arousal", direction="lower"), "input_x_gradient"))
    units = {test.name: test.unit for test in found.tests}
    assert (units["deletion"], units["insertion"], units["infidelity"]) == ("value", "value", "squared value")
    shown = report_opened.contents(with_answer(VALUES, found.target), Opened(found))
    said = json.dumps(shown["trust"]) + found.reading + found.sentence
    assert "logit" not in said and "the value goes from" in said
    assert trust_panel.curves(found.curves, found.of, found.target.unit).layout.yaxis.title.text == "value"


@pytest.mark.parametrize(
    "target", [Target("valence"), Target("valence", "arousal"), Target("valence", "arousal", "lower")]
)
def test_a_dimension_needs_a_direction_and_no_other_class(model: PlantedModel, target: Target) -> None:
    with pytest.raises(ExplanationError, match="higher or lower valence"):
        attribute(model, recording(np.zeros(3200)), target, "input_x_gradient")


def test_a_class_has_no_direction() -> None:
    planted = PlantedModel(Levels(), ("a", "b", "c"))
    with pytest.raises(ExplanationError, match="only dimensions have a direction"):
        attribute(planted, recording(np.zeros(3200)), Target("a", direction="higher"), "input_x_gradient")


def test_a_paragraph_says_listeners_would_split_or_where_the_voice_lies() -> None:
    words = with_answer(SHARES, Target("anger")).paragraph
    assert "70 % of listeners to hear anger (over all training clips 25 % did)" in words
    assert "not how sure the model is" in words and "by chance" not in words.split(".")[0]
    words = with_answer(VALUES, Target("valence", direction="lower")).paragraph
    assert dimensions_in_words(VALUES) in words and NO_EXPECTATION in words and "probability" not in words
    assert dimensions_in_words(VALUES) == (
        "valence −0.61 (unpleasant), arousal +0.40 (excited) and dominance +0.02 (in the middle), "
        "on scales from −1 to 1"
    )


def test_the_report_names_the_scale_and_the_constant() -> None:
    def text(shown: Explanation) -> str:
        pages = pypdf.PdfReader(io.BytesIO(report.pdf(shown))).pages
        return " ".join(" ".join(page.extract_text() for page in pages).split())

    values = text(with_answer(VALUES, Target("valence", direction="lower")))
    assert "from −1 to 1" in values and "−0.61" in values and "unpleasant to pleasant" in values
    assert "average training clip −0.20" in values and "lower valence" in values and "bits" not in values
    shares = text(with_answer(SHARES, Target("anger")))
    assert "share of listeners" in shares and "25.0 % over all training clips" in shares


def test_exports_hold_values_instead_of_probabilities() -> None:
    shown = with_answer(VALUES, Target("valence", direction="lower"))
    row = next(csv.DictReader(io.StringIO(export.cue_csv(shown))))
    assert float(row["predicted_valence"]) == -0.61 and "probability" not in row
    parts = json.loads(export_json.to_json(shown))
    assert parts["prediction"]["values"]["values"] == [-0.61, 0.4, 0.02]
    assert parts["prediction"]["entropy_bits"] is None and parts["target"]["direction"] == "lower"


def test_the_page_draws_listeners_with_their_average_and_their_own_answer() -> None:
    drawn = listeners(SHARES, np.array([0.5, 0.5]))
    assert drawn.count("How listeners would split") == 2 and "average" in drawn and "heard" in drawn
    assert drawn.count('class="mark usual"') == drawn.count('class="mark heard"') == 2
    assert "heard" not in listeners(SHARES).replace("to hear", "")
    assert "not how sure the model is" in reading(SHARES, "a model")


def test_the_page_draws_scales_with_plain_poles_and_names_the_octant() -> None:
    drawn = scales(VALUES)
    for word in ("unpleasant", "pleasant", "calm", "excited", "weak", "strong", "−0.61", "+0.40"):
        assert word in drawn
    said = reading(VALUES, "a model")
    assert "unpleasant and excited, otherwise in the middle" in said and "does not describe the person" in said


def test_a_path_hears_each_window_on_its_own(model: PlantedModel) -> None:
    rate = 16_000
    loud = np.random.default_rng(0).standard_normal(3 * rate) * np.repeat([0.01, 0.1, 0.3], rate)
    path = path_over_time(model, recording(loud), step_s=1.0)
    assert path.times_s.tolist() == [0.5, 1.5, 2.5]
    for k, point in enumerate(path.points):
        alone = model.predict(recording(loud[k * rate : (k + 1) * rate]))
        assert point == pytest.approx(alone.values, abs=1e-6)
    short = path_over_time(model, recording(loud[: rate // 2]))
    assert short.times_s.tolist() == [0.25] and len(short.points) == 1
    assert len(path_over_time(model, recording(np.tile(loud, 10)), most=20).times_s) == 20
    model.card = replace(model.card, answer="emotion")
    with pytest.raises(SettingError, match="needs a model that does"):
        path_over_time(model, recording(loud))


def test_plutchiks_wheel_has_32_places_and_opposites_lie_opposite() -> None:
    words = [word for petal in PETALS for word in petal] + list(MIXTURES)
    places = [place(word) for word in words]
    assert len(set(places)) == 32 and None not in places
    for one, other in (("joy", "sadness"), ("trust", "disgust"), ("fear", "anger"), ("surprise", "anticipation")):
        first, second = place(one), place(other)
        assert first is not None and second is not None and abs(first.angle - second.angle) == 180
    assert place("happiness") == place("joy") and place("neutral") is not None and place("frustration") is None
    love, joy, trust = place("love"), place("joy"), place("trust")
    assert love is not None and joy is not None and trust is not None
    assert love.angle == (joy.angle + trust.angle) / 2
