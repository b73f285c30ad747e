"""Any ``transformers`` audio-classification model, from a local folder or the hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ser_core.audio import SAMPLE_RATE
from ser_core.cards import LONGEST_LABEL, MOST_EMOTIONS
from ser_core.encoders import filter_bank_axes
from ser_core.errors import ModelError, short
from ser_core.features import LogMel, at_floor, unit_variance
from ser_core.models import Card, InputAxes, LogMelModel, SpeechModel
from ser_core.weights import read_folder


class _Logits(nn.Module):
    """The classifier without its output container."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs).logits


class WaveformClassifier(SpeechModel):
    """A model that takes samples: wav2vec 2.0, HuBERT, DistilHuBERT, WavLM and their kin."""

    baseline_name = "digital silence"

    def __init__(self, card: Card, classifier: nn.Module, *, normalise: bool) -> None:
        super().__init__()
        self.card = card
        self.network = _Logits(classifier)
        self.axes = InputAxes("waveform", step_s=1 / SAMPLE_RATE)
        self.normalise = normalise

    def inputs(self, samples: Tensor) -> Tensor:
        """Return (batch, samples), brought to zero mean and unit variance where the model was trained so."""
        return unit_variance(samples) if self.normalise else samples

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return silence."""
        return torch.zeros_like(inputs)


class WhisperClassifier(LogMelModel):
    """``WhisperForAudioClassification``, which insists on 30 s: the clip is padded with silence, as it was trained."""

    _frames = 3000

    def __init__(self, card: Card, classifier: nn.Module, bands: int) -> None:
        super().__init__(card, nn.Sequential(_PadFrames(self._frames, _last_cell), _Logits(classifier)), bands=bands)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return (batch, bands, frames) of (batch, samples), with the level of silence in the last cell.

        Raises:
            ModelError: the clip is longer than 30 s.
        """
        if samples.shape[-1] > self._frames * LogMel.hop_samples:
            raise ModelError(f"{self.name} takes at most 30 s of audio; cut the clip or choose another model.")
        log_mel = super().inputs(samples)
        # Beyond the clip there is silence as Whisper's extractor scales it: eight decades below the loudest cell at
        # most. One cell holds it, of 10 ms that reach beyond the clip, so that no part that is taken away moves it.
        silence = (log_mel.amax(dim=(1, 2)) - 2.0).clamp(min=-1.5)
        marked = log_mel.clone()
        marked[:, -1, -1] = silence
        return marked


class FilterBankClassifier(SpeechModel):
    """A model over the filter bank of its own feature extractor: the Audio Spectrogram Transformer."""

    baseline_name = "lowest level of the clip's filter bank"

    def __init__(self, card: Card, classifier: nn.Module, extractor: Any) -> None:
        super().__init__()
        self.card = card
        # The extractor fills with 0 before it brings everything to its mean and deviation.
        fill = -extractor.mean / (2 * extractor.std) if extractor.do_normalize else 0.0
        pad = _PadFrames(extractor.max_length, lambda bank: bank.new_full((), fill))
        self.network = nn.Sequential(pad, _Swap(), _Logits(classifier))
        self.extractor = extractor
        self.axes = filter_bank_axes(extractor.num_mel_bins)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return (batch, bands, frames) of (batch, samples): the frames of the clip itself.

        Raises:
            ModelError: the clip is longer than the model takes.
        """
        longest_s = self.extractor.max_length * 0.01
        if samples.shape[-1] / SAMPLE_RATE > longest_s:
            raise ModelError(f"{self.name} takes at most {longest_s:.1f} s; cut the clip or choose another model.")
        rows = [row.detach().numpy() for row in samples]
        features = self.extractor(rows, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return features.transpose(1, 2)[..., : max(1, 1 + (samples.shape[-1] - 400) // 160)]

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return frames that all lie at the lowest level of the clip."""
        return at_floor(inputs)


class _Swap(nn.Module):
    def forward(self, bands_first: Tensor) -> Tensor:
        return bands_first.transpose(1, 2)


class _PadFrames(nn.Module):
    """Frames behind the clip up to the model's length, of the value that ``fill`` gives for (batch, bands, frames)."""

    def __init__(self, frames: int, fill: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.frames = frames
        self.fill = fill

    def forward(self, clip: Tensor) -> Tensor:
        batch, bands, frames = clip.shape
        return torch.cat([clip, self.fill(clip.detach()).expand(batch, bands, self.frames - frames)], dim=-1)


def _last_cell(log_mel: Tensor) -> Tensor:
    """The level of silence that ``WhisperClassifier.inputs`` has left in a spectrogram."""
    return log_mel[:, -1:, -1:]


def load_pretrained(name: str) -> SpeechModel:
    """Return the model of a local folder or, where allowed, of a hub name.

    Only safetensors are read and no code of the folder is run.

    Raises:
        ModelError: the folder or name holds no audio classifier that can be used.
    """
    from transformers import AutoModelForAudioClassification

    try:
        config, extractor, classifier = read_folder(name, AutoModelForAudioClassification)
    # A foreign folder can fail in any way; all of them mean the same here.
    except Exception as fault:
        reason = (str(fault).splitlines() or [type(fault).__name__])[0][:300]
        raise ModelError(
            f"'{Path(name).name}' is not an audio-classification model that can be loaded "
            f"({reason}). It needs config.json, preprocessor_config.json and model.safetensors."
        ) from fault
    if getattr(extractor, "sampling_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise ModelError(f"'{Path(name).name}' expects {extractor.sampling_rate} Hz; only 16 kHz models are supported.")
    # A hub model keeps its owner's name: others may have published one that is called the same.
    called = Path(name).name if Path(name).is_dir() else name
    _check_answers(called, config)
    card = _card(called, config, sum(parameter.numel() for parameter in classifier.parameters()))
    if config.model_type == "whisper":
        return WhisperClassifier(card, classifier, config.num_mel_bins)
    if config.model_type == "audio-spectrogram-transformer":
        return FilterBankClassifier(card, classifier, extractor)
    if extractor.model_input_names[0] != "input_values" or extractor.feature_size != 1:
        raise ModelError(
            f"'{Path(name).name}' is a {config.model_type} model, whose input is neither samples nor Whisper's log-mel "
            "and is not supported."
        )
    return WaveformClassifier(card, classifier, normalise=bool(extractor.do_normalize))


def _check_answers(name: str, config: Any) -> None:
    """Refuse a model whose answer is not one of several labels: a softmax over its outputs would mean nothing.

    Raises:
        ModelError: it predicts numbers or several labels at once, or its labels are too few, too many or alike.
    """
    kind = getattr(config, "problem_type", None)
    if kind not in (None, "single_label_classification"):
        raise ModelError(
            f"'{name}' is made for {short(kind).replace('_', ' ')}; only models that choose one of several labels "
            "(single label classification) are supported."
        )
    labels = _labels(config)
    told = all(1 <= len(label) <= LONGEST_LABEL and label.isprintable() for label in labels)
    if not told or not 2 <= len(labels) <= MOST_EMOTIONS or len(set(labels)) < len(labels):
        raise ModelError(
            f"'{name}' has the labels {', '.join(map(short, labels[:8]))}; 2 to {MOST_EMOTIONS} that differ, each a "
            f"word of at most {LONGEST_LABEL} letters, are needed."
        )


def _labels(config: Any) -> tuple[str, ...]:
    return tuple(str(label).lower() for _, label in sorted(config.id2label.items()))


def _card(name: str, config: Any, parameters: int) -> Card:
    return Card(
        name=name,
        title=name,
        system="transformers_folder",
        summary=f"A model you brought ({type(config).__name__.removesuffix('Config')}).",
        emotions=_labels(config),
        encoder=str(getattr(config, "model_type", "unknown")),
        corpora=(),
        licences=(),
        split="unknown",
        figures=(),
        intended_use="Unknown: the folder brings no SERscope card.",
        limits=("Nothing was measured here: how well this model does is not known to SERscope.",),
        size_mb=4 * parameters / 1e6,
    )
