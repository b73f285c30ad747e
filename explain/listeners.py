"""Listeners whose evidence is known: models built by hand that hear one property of the voice and nothing else.

They are no recognisers of emotion. What a trained model relies on can only be measured; of these it is known, so a
reader's answer to "what did the model rely on?" can be right or wrong.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ser_core.features import mel_centres_hz
from ser_core.models import Card, LogMelModel

SIGNAL, NONE = "signal", "no signal"
BANDS, BRIGHT_FROM_HZ = 80, 1000.0


@dataclass(frozen=True)
class Listener:
    """A listener: its name, the cue that it hears, what that is in words, and a usual value of it."""

    name: str
    cue: str
    words: str
    usual: float


LISTENERS = {
    each.name: each
    for each in (
        Listener("loudness-listener", "loudness", "the mean level of the clip, all frequencies alike", -0.4),
        Listener("brightness-listener", "brightness", "the level above 1 kHz less the level below", -0.2),
    )
}


class _Sum(nn.Module):
    """The weighted mean of a log-mel spectrogram (batch, bands, frames), against its usual value."""

    weights: Tensor

    def __init__(self, weights: Tensor, usual: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.usual = usual

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits (batch, 2)."""
        heard = 10 * ((self.weights[:, None] * log_mel).sum(1).mean(-1) - self.usual)
        return torch.stack([heard, torch.zeros_like(heard)], 1)


def listener(name: str) -> LogMelModel:
    """Return a listener of ``LISTENERS`` as a model with the classes "signal" and "no signal"."""
    made = LISTENERS[name]
    high = torch.from_numpy(mel_centres_hz(BANDS) >= BRIGHT_FROM_HZ).float()
    bright = high / high.sum() - (1 - high) / (1 - high).sum()
    weights = torch.full((BANDS,), 1 / BANDS) if made.cue == "loudness" else bright
    card = Card(
        name=made.name,
        title="A model",
        system="listener",
        summary=f"Hears {made.words}, and nothing else.",
        emotions=(SIGNAL, NONE),
        encoder="none",
        corpora=(),
        licences=(),
        split="none: made by hand",
        figures=(),
        intended_use="studies of explanations with a known answer",
        limits=("It recognises no emotion.",),
        size_mb=0.0,
    )
    return LogMelModel(card, _Sum(weights, made.usual))
