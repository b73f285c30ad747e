"""Models that stand on one encoder, put to the same inputs one after another: the encoder answers once.

Most bundled models are small heads on the same frozen Whisper. They hear the same clips in a study, and the windows of
their occlusions are the same, so what was encoded for one serves all. Nothing changes in what they answer.
"""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ser_core.encoders import SpeechEncoder
from ser_core.models import SpeechModel

MOST_BYTES = 3 << 29
"""Kept of one encoder: 1.5 GB, the 400 windows of an occlusion of five seconds by Whisper base."""


class RememberingEncoder(nn.Module):
    """An encoder that gives again what it gave for the same input; where gradients are needed it works as ever."""

    def __init__(self, encoder: SpeechEncoder, most_bytes: int) -> None:
        super().__init__()
        self.wrapped, self.most_bytes, self.bytes = encoder, most_bytes, 0
        self.given: OrderedDict[bytes, list[Tensor]] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        """Return what the encoder itself has (step_s, hidden_size, …)."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("wrapped"), name)

    def __deepcopy__(self, memo: dict[int, Any]) -> "RememberingEncoder":
        """Return a copy that remembers nothing yet: what was given may be gigabytes."""
        return RememberingEncoder(copy.deepcopy(self.wrapped, memo), self.most_bytes)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Return every state's frames, as the encoder does."""
        if torch.is_grad_enabled() or lengths is not None:
            return self.wrapped(inputs, lengths)
        shape = repr(tuple(inputs.shape)).encode()
        key = hashlib.sha256(shape + inputs.detach().contiguous().numpy().tobytes()).digest()
        if key in self.given:
            self.given.move_to_end(key)
            return list(self.given[key]), None
        states, real = self.wrapped(inputs)
        self.given[key] = list(states)
        self.bytes += _bytes(states)
        while self.bytes > self.most_bytes and len(self.given) > 1:
            self.bytes -= _bytes(self.given.popitem(last=False)[1])
        return states, real


def on_shared_encoders(models: Sequence[SpeechModel], most_bytes: int = MOST_BYTES) -> list[SpeechModel]:
    """Return models that stand on an encoder as copies in which encoders of the same weights are one that remembers.

    Args:
        models: some; those without an encoder are given back as they are.
        most_bytes: what an encoder keeps; with 0 it is its last answer.
    """
    shared: list[RememberingEncoder] = []
    return [_on(model, shared, most_bytes) for model in models]


def _on(model: SpeechModel, shared: list[RememberingEncoder], most_bytes: int) -> SpeechModel:
    if not any(isinstance(module, SpeechEncoder) for module in model.network.modules()):
        return model
    twin = copy.copy(model)
    twin.network = copy.deepcopy(model.network)
    places = [
        (parent, name)
        for parent in twin.network.modules()
        for name, child in parent.named_children()
        if isinstance(child, SpeechEncoder)
    ]
    for parent, name in places:
        encoder = cast(SpeechEncoder, getattr(parent, name))
        same = next((each for each in shared if _alike(each.wrapped, encoder)), None)
        if same is None:
            shared.append(same := RememberingEncoder(encoder, most_bytes))
        setattr(parent, name, same)
    return twin


def _alike(one: SpeechEncoder, other: SpeechEncoder) -> bool:
    if type(one) is not type(other):
        return False
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _bytes(states: Sequence[Tensor]) -> int:
    return sum(state.numel() * state.element_size() for state in states)
