"""Pretrained speech encoders that return every layer's frames.

An encoder's name is one of the bundled Whispers, or a ``transformers`` encoder of waveforms (wav2vec 2.0, HuBERT,
DistilHuBERT, WavLM) or of filter banks (Audio Spectrogram Transformer): a folder in ``SERSCOPE_WEIGHTS`` of that name,
any other folder, or, where downloads are allowed, a hub name. Only safetensors are read and no code of a folder is run.

Whisper runs on the real frames only, with the first part of its position table, instead of on
30 s of padding: the same states up to the padding's influence, at a twentieth of the time.
"""

import contextlib
import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ser_core import ranks
from ser_core.audio import SAMPLE_RATE, read
from ser_core.batches import collate
from ser_core.errors import ModelError, WeightsError
from ser_core.familiarity import Neighbourhood
from ser_core.features import LogMel, at_floor, kaldi_centres_hz, mel_centres_hz, unit_variance
from ser_core.models import Card, InputAxes, SpeechModel
from ser_core.settings import settings
from ser_core.weights import WHISPER, read_folder, whisper_state
from ser_core.whisper_encoder import WhisperEncoder


class SpeechEncoder(nn.Module, ABC):
    """An encoder of speech, with the way from samples to its input.

    Attributes:
        hidden_size: numbers per frame and state.
        states: the input embedding and every layer's output.
        step_s: seconds from one frame to the next; the first is centred at ``first_s``.
        axes: what its input's axes are.
        baseline_name: what ``baseline`` holds, in words.
        batch: clips that may be padded to one length without changing one another.
        gradcam_layers: dotted names of convolutions over time and bands, if there are any.
    """

    hidden_size: int
    states: int
    step_s: float
    first_s: float = 0.0
    axes: InputAxes
    baseline_name: str
    batch: int = 1
    gradcam_layers: tuple[str, ...] = ()

    @abstractmethod
    def inputs(self, samples: Tensor) -> Tensor:
        """Return the encoder's input (batch, …, time) for (batch, samples) of 16 kHz audio of equal length."""

    @abstractmethod
    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the reference of the same shape as ``inputs`` that holds no evidence."""

    @abstractmethod
    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Return every state's frames and which of them are real.

        Args:
            inputs: of ``inputs`` or ``collate``.
            lengths: (batch,) real length of each padded input; None when none is padded.

        Returns:
            ``states`` tensors (batch, steps, hidden), and a boolean mask (batch, steps), or None.
        """

    def prepare(self, file: str) -> np.ndarray:
        """Return the encoder's input for an audio file in half precision, time last."""
        samples = torch.from_numpy(np.array(read(file).samples))
        with torch.inference_mode():
            return self.inputs(samples[None])[0].half().numpy()

    def collate(self, inputs: Sequence[np.ndarray]) -> tuple[Tensor, Tensor | None]:
        """Return inputs (batch, …, time) in single precision and their real lengths, if any is padded."""
        return torch.from_numpy(np.stack(inputs).astype(np.float32)), None

    def step_times(self, steps: int) -> np.ndarray:
        """Return the centres in seconds of so many frames, (steps,)."""
        return self.first_s + self.step_s * np.arange(steps)

    @functools.cached_property
    def key(self) -> str:
        """A name for these very weights: what was computed with others is not mistaken for theirs."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class WhisperFrames(SpeechEncoder):
    """A Whisper encoder over log-mel frames; what is longer than its 30 s is read in equal parts one after another."""

    step_s = 0.02
    baseline_name = "silence floor of the clip's log-mel spectrogram"
    batch = 16
    gradcam_layers = ("encoder.conv2",)

    def __init__(self, name: str) -> None:
        super().__init__()
        spec = WHISPER[name]
        # Weights that are about to be replaced are not drawn: that takes longer than to read the real ones.
        with torch.device("meta"):
            self.encoder = WhisperEncoder(spec.hidden_size, spec.layers, spec.heads)
        self.encoder.load_state_dict(whisper_state(name, "encoder"), assign=True)
        self.name = name
        self.hidden_size = spec.hidden_size
        self.states = spec.layers + 1
        self.log_mel = LogMel()
        self.axes = InputAxes("log_mel", step_s=LogMel.step_s, bands_hz=tuple(mel_centres_hz().tolist()))

    def inputs(self, samples: Tensor) -> Tensor:
        """Return the log-mel spectrogram (batch, 80, frames) of 10 ms frames."""
        return self.log_mel(samples)

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return frames that all lie at the lowest level of the clip."""
        return at_floor(inputs)

    def collate(self, inputs: Sequence[np.ndarray]) -> tuple[Tensor, Tensor | None]:
        """Return clips padded with their own floor, and their real frame counts."""
        return collate(list(inputs))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Return the input embedding and every layer's output of (batch, 80, frames), one step each 20 ms.

        Raises:
            ModelError: padded clips are longer than 30 s.
        """
        encoder, frames = self.encoder, inputs.shape[2]
        longest = 2 * encoder.embed_positions.num_embeddings
        if frames > longest:
            if lengths is not None:
                raise ModelError(f"Whisper learns from at most {longest / 100:.0f} s of a clip; cut the longer ones.")
            size = 2 * -(-frames // (2 * -(-frames // longest)))  # an even number, as a step is two frames
            parts = [self(part)[0] for part in inputs.split(size, dim=2)]
            return [torch.cat(states, dim=1) for states in zip(*parts, strict=True)], None
        if lengths is not None:
            inputs = inputs * _real(lengths, inputs.shape[2])[:, None]
        hidden = nn.functional.gelu(encoder.conv1(inputs))
        if lengths is not None:  # the convolutions of a padded clip must see what they see at the end of a lone one
            hidden = hidden * _real(lengths, inputs.shape[2])[:, None]
        hidden = nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        steps = hidden.shape[1]
        hidden = hidden + encoder.embed_positions.weight[:steps]
        real = None if lengths is None else _real((lengths + 1) // 2, steps)
        attention = None if real is None else real[:, None, None, :]
        states = [hidden]
        for layer in encoder.layers:
            hidden = layer(hidden, attention)
            states.append(hidden)
        states[-1] = encoder.layer_norm(hidden)
        return states, real


class WaveformFrames(SpeechEncoder):
    """wav2vec 2.0, HuBERT, DistilHuBERT, WavLM: convolutions over samples and a transformer.

    Clips are encoded one by one: some of these were trained without an attention mask, so padding would change them.
    """

    baseline_name = "digital silence"

    def __init__(self, encoder: nn.Module, config: Any, *, normalise: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.normalise = normalise
        self.hidden_size = config.hidden_size
        self.states = config.num_hidden_layers + 1
        self.step_s = float(np.prod(config.conv_stride)) / SAMPLE_RATE
        widths = zip(config.conv_kernel, np.cumprod((1, *config.conv_stride))[:-1], strict=True)
        self.field = 1 + int(sum((kernel - 1) * stride for kernel, stride in widths))
        self.first_s = self.field / 2 / SAMPLE_RATE
        self.axes = InputAxes("waveform", step_s=1 / SAMPLE_RATE)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return (batch, samples), brought to zero mean and unit variance where the encoder was trained so.

        Raises:
            ModelError: the clip is shorter than one frame.
        """
        if samples.shape[-1] < self.field:
            raise ModelError(f"This encoder needs at least {self.field / SAMPLE_RATE:.3f} s of audio.")
        return unit_variance(samples) if self.normalise else samples

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return silence."""
        return torch.zeros_like(inputs)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Return the states of (batch, samples)."""
        return list(self.encoder(inputs, output_hidden_states=True).hidden_states), None


class PatchFrames(SpeechEncoder):
    """The Audio Spectrogram Transformer; a frame is the mean over frequency of the patches at one time.

    Its input has one length: what the clip lacks is filled as the encoder's own feature extractor fills it, and the
    frames of the filling are cut off again.
    """

    baseline_name = "lowest level of the clip's filter bank"

    def __init__(self, encoder: nn.Module, config: Any, extractor: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.extractor = extractor
        self.hidden_size = config.hidden_size
        self.states = config.num_hidden_layers + 1
        self.longest, self.patch, self.stride = config.max_length, config.patch_size, config.time_stride
        self.rows = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        self.step_s = 0.01 * self.stride
        self.first_s = 0.01 * self.patch / 2
        self.floor = -extractor.mean / (2 * extractor.std) if extractor.do_normalize else 0.0
        self.axes = filter_bank_axes(config.num_mel_bins)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return the filter bank (batch, bands, frames) of the clip itself.

        Raises:
            ModelError: the clip is longer than the encoder takes.
        """
        frames = 1 + (samples.shape[-1] - 400) // 160
        if frames > self.longest:
            raise ModelError(f"This encoder takes at most {0.01 * self.longest:.1f} s; cut the clip.")
        rows = [row.detach().numpy() for row in samples]
        bank = self.extractor(rows, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return bank.transpose(1, 2)[..., : max(frames, 1)]

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return frames that all lie at the lowest level of the clip."""
        return at_floor(inputs)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Return the states of (batch, bands, frames), one step each ``step_s``."""
        frames = inputs.shape[-1]
        filled = nn.functional.pad(inputs, (0, self.longest - frames), value=self.floor)
        steps = max(1, (frames - self.patch) // self.stride + 1)
        states = []
        for state in self.encoder(filled.transpose(1, 2), output_hidden_states=True).hidden_states:
            patches = state[:, 2:]  # a class and a distillation token come first
            states.append(patches.unflatten(1, (self.rows, -1)).mean(1)[:, :steps])
        return states, None


def filter_bank_axes(bands: int) -> InputAxes:
    """Return the axes of Kaldi's filter bank: 25 ms frames every 10 ms, from the first sample on."""
    return InputAxes("log_mel", step_s=0.01, first_s=0.0125, bands_hz=tuple(kaldi_centres_hz(bands).tolist()))


class Head(nn.Module, ABC):
    """What is trained on frames of an encoder that stays as published, and says how it reads the encoder's states."""

    @abstractmethod
    def frames(self, states: Sequence[Tensor], step_s: float) -> Tensor:
        """Return the frames (batch, steps, …) that ``embed`` takes, of states (batch, steps, hidden) each."""

    @abstractmethod
    def embed(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """Return one vector a clip (batch, width); ``real`` (batch, steps) marks the frames that are no padding."""

    @abstractmethod
    def classify(self, embedding: Tensor) -> Tensor:
        """Return the answer (batch, outputs) of what ``embed`` gives."""

    def forward(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the answer (batch, outputs) to frames."""
        return self.classify(self.embed(frames, real))


_Head = TypeVar("_Head", bound=Head)


class EncoderWithHead(nn.Module, Generic[_Head]):
    """The encoder's input of a clip to the head's answer."""

    def __init__(self, encoder: SpeechEncoder, head: _Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def frames(self, inputs: Tensor) -> Tensor:
        """Return the frames (batch, steps, …) that the head reads."""
        return self.head.frames(self.encoder(inputs)[0], self.encoder.step_s)

    def embed(self, inputs: Tensor) -> Tensor:
        """Return one vector a clip (batch, width)."""
        return self.head.embed(self.frames(inputs))

    def classify(self, embedding: Tensor) -> Tensor:
        """Return the answer (batch, outputs) of what ``embed`` gives."""
        return self.head.classify(embedding)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answer (batch, outputs)."""
        return self.classify(self.embed(inputs))


class FrozenEncoderModel(SpeechModel):
    """A trained head on an encoder that stays as published; its network has the encoder as ``encoder``."""

    def __init__(self, card: Card, network: nn.Module, neighbourhood: Neighbourhood | None = None) -> None:
        super().__init__()
        self.card, self.network, self.neighbourhood = card, network.eval(), neighbourhood
        self.encoder = cast(SpeechEncoder, network.encoder)
        self.axes, self.baseline_name = self.encoder.axes, self.encoder.baseline_name
        self.gradcam_layers = tuple(f"encoder.{layer}" for layer in self.encoder.gradcam_layers)

    def inputs(self, samples: Tensor) -> Tensor:
        """Return the encoder's input for (batch, samples)."""
        return self.encoder.inputs(samples)

    def baseline(self, inputs: Tensor) -> Tensor:
        """Return the encoder's reference of the same shape as ``inputs``."""
        return self.encoder.baseline(inputs)


def coarse(states: Sequence[Tensor], group: int) -> Tensor:
    """Return the states side by side, each frame brought to mean 0 and variance 1, averaged over ``group`` steps.

    Args:
        states: (batch, steps, hidden) each.
        group: steps that become one.

    Returns:
        (batch, steps / group, states × hidden); the last frame may be of fewer steps.
    """
    scaled = torch.cat([nn.functional.layer_norm(state.float(), state.shape[-1:]) for state in states], -1)
    return nn.functional.avg_pool1d(scaled.transpose(1, 2), group, ceil_mode=True).transpose(1, 2)


@functools.lru_cache(maxsize=4)
def frozen_encoder(name: str) -> SpeechEncoder:
    """Return a pretrained encoder in evaluation mode whose weights need no gradient; loaded once per process.

    Raises:
        WeightsError: it is not at hand, in a sentence that says what is missing and where to put it.
    """
    # Whoever asks first may be in inference mode; weights that are made there let no gradient through for anybody.
    with torch.inference_mode(mode=False):
        encoder = WhisperFrames(name) if name in WHISPER else _from_folder(name)
    return encoder.eval().requires_grad_(False)


@contextlib.contextmanager
def lent(name: str) -> Iterator[SpeechEncoder]:
    """Lend a frozen encoder to a run: it stands where the run trains, and afterwards on the processor again."""
    encoder = frozen_encoder(name)
    try:
        yield _moved(encoder, ranks.device())
    finally:
        _moved(encoder, torch.device("cpu"))


def prepare(file: str, encoder: str) -> np.ndarray:
    """Return an encoder's input for an audio file, time last."""
    return frozen_encoder(encoder).prepare(file)


def encoder_mb(name: str) -> float:
    """Return the size of a published encoder in MB: Whisper as packaged in half precision, others in single."""
    bytes_each = 2 if name in WHISPER else 4
    return bytes_each * sum(parameter.numel() for parameter in frozen_encoder(name).parameters()) / 1e6


def _moved(encoder: SpeechEncoder, device: torch.device) -> SpeechEncoder:
    # Weights that move in inference mode let no gradient through for anybody.
    with torch.inference_mode(mode=False):
        return encoder.to(device)


def _from_folder(name: str) -> SpeechEncoder:
    from transformers import AutoModel

    kept_in = settings().weights_dir
    kept = kept_in / Path(name).name if kept_in else None
    source = next((str(folder) for folder in (kept, Path(name)) if folder and folder.is_dir()), name)
    try:
        config, extractor, network = read_folder(source, AutoModel)
    # A foreign folder can fail in any way; all of them mean the same here.
    except Exception as fault:
        if isinstance(fault, ValueError):
            raise WeightsError(f"The encoder '{name}' cannot be used: {str(fault).splitlines()[0]}.") from fault
        raise WeightsError(
            f"The encoder '{name}' is not at hand. Put its folder (config.json, preprocessor_config.json, "
            f"model.safetensors) into the folder that SERSCOPE_WEIGHTS names, as {Path(name).name}/, or set "
            "SERSCOPE_HUB=1 to allow its download."
        ) from fault
    if extractor.sampling_rate != SAMPLE_RATE:
        raise WeightsError(f"The encoder '{name}' expects {extractor.sampling_rate} Hz; only 16 kHz is supported.")
    if config.model_type == "audio-spectrogram-transformer":
        return PatchFrames(network, config, extractor)
    if not hasattr(config, "conv_stride") or extractor.feature_size != 1:
        raise WeightsError(
            f"'{name}' is a {config.model_type} model; encoders can be Whisper, wav2vec 2.0, HuBERT, DistilHuBERT, "
            "WavLM and the Audio Spectrogram Transformer."
        )
    return WaveformFrames(network, config, normalise=bool(extractor.do_normalize))


def _real(counts: Tensor, length: int) -> Tensor:
    """Return a mask (batch, length) that is True on the first ``counts`` places."""
    return torch.arange(length, device=counts.device) < counts[:, None]
