"""A model's own pooling weights, from a small network with attention to the page, the report and the files."""

import dataclasses
import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import pypdf
import pytest
import torch
from bad_inputs import voice
from explanations import example_explanation
from torch import Tensor, nn

from explain import figures, report
from explain.explanation import Explanation, explain
from explain.export_json import from_json, to_json
from pages.parts import answer, viewer
from ser_core.audio import from_samples
from ser_core.models import LogMelModel, PoolingWeights
from ser_core.systems.whisper_pooling import AttentivePooling
from tests.planted import card

WHAT = "attention of the pooling, mean over its heads"
LOUD_S = (0.9, 1.4)


class Attentive(nn.Module):
    """Frames of 10 ms, the bundled attentive pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = AttentivePooling(80, heads=1)
        self.classifier = nn.Linear(160, 2)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.classifier(self.pool(log_mel.transpose(1, 2), None))


class AttentiveModel(LogMelModel):
    def pooling(self, inputs: Tensor) -> PoolingWeights:
        with torch.inference_mode():
            weights = self.network.pool.weights(inputs.transpose(1, 2), None)[0].mean(-1).numpy()
        return PoolingWeights(np.arange(len(weights)) * self.axes.step_s, weights, WHAT)


@pytest.fixture(scope="module")
def shown() -> Explanation:
    """An explanation by a network whose attention is made to follow the level of a frame."""
    samples = 0.01 * voice(2.0)
    start, end = (round(16_000 * s) for s in LOUD_S)
    samples[start:end] *= 50
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Attentive()
    first, _, last = network.pool.score
    with torch.no_grad():
        first.weight.fill_(1 / 80)
        last.weight.fill_(8 / 128)
    model = AttentiveModel(card("attentive", ("anger", "neutral")), network.requires_grad_(False))
    return explain(from_samples(samples.astype(np.float32), 16_000, "clip.wav"), model, "input_x_gradient")


def test_the_weights_are_highest_where_the_network_attends(shown):
    assert shown.pooling.weights.sum() == pytest.approx(1.0, abs=1e-4)
    assert LOUD_S[0] <= shown.pooling.times_s[shown.pooling.weights.argmax()] <= LOUD_S[1]


def test_the_page_draws_them_on_the_clock_of_the_spectrogram(shown):
    data = viewer.view_data(shown)
    line, spectrogram = data["pooling"], data["spectrogram"]
    assert line["start_s"] == pytest.approx(-0.005) and line["end_s"] == pytest.approx(1.995)
    assert line["start_s"] == pytest.approx(spectrogram["start_s"], abs=0.01)
    assert line["end_s"] == pytest.approx(spectrogram["end_s"], abs=0.02)
    assert WHAT in data["words"]["pooling"]
    high_s = float(shown.pooling.times_s[shown.pooling.weights.argmax()])
    words = answer.pooling_line(shown.pooling)
    assert WHAT in words and f"{high_s:.2f} s" in words and "not what speaks for the class" in words


def test_the_report_draws_them_on_the_shared_time_axis_and_names_them(shown):
    without = dataclasses.replace(shown, pooling=None)
    assert _panels(shown) == _panels(without) + 1
    assert figures.describe(shown).startswith("7 panels") and WHAT in figures.describe(shown)
    assert figures.describe(without).startswith("6 panels") and WHAT not in figures.describe(without)
    words = [
        " ".join(p.extract_text() for p in pypdf.PdfReader(io.BytesIO(report.pdf(e))).pages) for e in (shown, without)
    ]
    named = [re.sub(r"\s+", " ", text).count(WHAT) for text in words]
    assert named == [2, 0]


def test_the_weights_leave_as_json_bit_for_bit(shown):
    assert json.loads(to_json(shown))["pooling"]["what"] == WHAT
    read = from_json(to_json(shown))["pooling"]
    np.testing.assert_array_equal(read["weights"], shown.pooling.weights)
    np.testing.assert_array_equal(read["times_s"], shown.pooling.times_s)


def test_a_model_without_weights_of_its_own_gets_no_line():
    assert viewer.view_data(example_explanation(axes="features"))["pooling"] is None


def _panels(explanation: Explanation) -> int:
    groups = ElementTree.fromstring(figures.linked(explanation)).iter("{http://www.w3.org/2000/svg}g")
    # The colour bars are axes, too; they stay the same in number.
    return sum(bool(re.fullmatch(r"axes_\d+", group.get("id", ""))) for group in groups)
