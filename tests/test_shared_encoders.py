"""Models on one encoder: it answers once, and every answer and map is the one that the model gives alone."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explain.attribution import attribute, default_target
from explain.map_changes import destroyed
from ser_core.encoders import SpeechEncoder, frozen_encoder
from ser_core.registry import load_model
from ser_core.shared_encoders import RememberingEncoder, on_shared_encoders
from tests.planted import burst_model, recording

NAMES = ("whisper-tiny-statistics", "mll-crema-d")


class Counting(SpeechEncoder):
    """Two states of made-up frames, and how often it was asked."""

    hidden_size, states, step_s, baseline_name = 3, 2, 0.01, "zero"

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.asked = nn.Linear(3, 3), 0

    def inputs(self, samples: Tensor) -> Tensor:
        return samples

    def baseline(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        self.asked += 1
        return [inputs, self.layer(inputs)], None


def test_the_same_input_is_encoded_once_and_the_oldest_is_forgotten() -> None:
    encoder = Counting()
    shared = RememberingEncoder(encoder, most_bytes=2 * 5 * 3 * 4 * 2)  # two inputs of five frames
    clips = [torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    with torch.no_grad():
        for clip in (clips[0], clips[1], clips[0].clone()):
            assert torch.equal(shared(clip)[0][1], encoder.layer(clip))
        assert encoder.asked == 2
        shared(clips[2])  # clips[1] was used longest ago
        shared(clips[0])
        assert encoder.asked == 3
        shared(clips[1])
        assert encoder.asked == 4
        assert torch.equal(
            shared(clips[0].reshape(5, 1, 3))[0][0], clips[0].reshape(5, 1, 3)
        )  # same bytes, other shape
    assert shared.step_s == 0.01 and shared.hidden_size == 3


def test_a_copy_answers_alike_and_remembers_nothing() -> None:
    shared = RememberingEncoder(Counting(), most_bytes=1 << 20)
    clip = torch.ones(1, 5, 3)
    with torch.no_grad():
        given = shared(clip)[0]
        again = copy.deepcopy(shared)
        assert not again.given and again.bytes == 0 and again.wrapped is not shared.wrapped
        assert torch.equal(again(clip)[0][1], given[1])
    assert len(shared.given) == 1


def test_one_that_may_keep_nothing_knows_its_last_answer() -> None:
    encoder = Counting()
    shared = RememberingEncoder(encoder, most_bytes=0)
    one, other = torch.ones(1, 5, 3), torch.zeros(1, 5, 3)
    with torch.no_grad():
        given = [shared(clip)[0][0] for clip in (one, one.clone(), other, one)]
    assert encoder.asked == 3
    assert all(torch.equal(frames, clip) for frames, clip in zip(given, (one, one, other, one), strict=True))


def test_a_model_without_an_encoder_is_left_as_it_is() -> None:
    model = burst_model()
    assert on_shared_encoders([model]) == [model]


def test_gradients_go_through_an_encoder_that_remembers() -> None:
    shared = RememberingEncoder(Counting(), 0)
    clip = torch.randn(1, 5, 3)
    with torch.no_grad():
        shared(clip)
    clip.requires_grad_()
    shared(clip)[0][1].sum().backward()
    assert clip.grad is not None and clip.grad.abs().sum() > 0


def test_models_on_one_encoder_answer_and_explain_as_they_do_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    time = np.arange(8000) / 16000
    heard = recording((0.2 * np.sin(2 * np.pi * 220 * time) * (time > 0.2)).astype(np.float32))
    alone = [load_model(name) for name in NAMES]
    alone += [destroyed(model) for model in alone]
    shared = on_shared_encoders(alone)
    encoders = [model.network.encoder for model in shared]
    assert encoders[0] is encoders[1] and encoders[2] is encoders[3] and encoders[0] is not encoders[2]
    assert alone[0].network.encoder is frozen_encoder("whisper-tiny.en")  # theirs is as it was
    asked: list[SpeechEncoder] = []
    passed = type(encoders[0].wrapped).forward
    monkeypatch.setattr(
        type(encoders[0].wrapped), "forward", lambda self, *given: (asked.append(self), passed(self, *given))[1]
    )
    for one, other in zip(alone, shared, strict=True):
        target = default_target(one.predict(heard))
        expected = attribute(one, heard, target, "occlusion", max_windows=40)
        before = len(asked)
        found = attribute(other, heard, target, "occlusion", max_windows=40)
        assert np.array_equal(found.relevance, expected.relevance)
        assert (len(asked) == before) == (other in (shared[1], shared[3]))  # the second one encodes nothing


def test_a_destroyed_encoder_is_not_taken_for_the_intact_one() -> None:
    model = load_model(NAMES[0])
    intact, broken = on_shared_encoders([model, destroyed(model)])
    clip = torch.randn(1, 80, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.allclose(intact.network(clip), broken.network(clip))
        assert torch.equal(intact.network(clip), model.network(clip))
