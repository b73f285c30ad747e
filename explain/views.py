"""How Captum sees a clip: a point, its baseline, the way from there to the network, and the axes relevance lands on.

A model of waveforms is seen through a spectrum in front of it, and occlusion through gains that keep or replace cells.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.errors import ExplanationError
from ser_core.features import SAMPLE_RATE, mel_centres_hz
from ser_core.models import SpeechModel

SMALLEST_DIFFERENCE = 0.1
LARGE_NETWORK = 2_000_000
SPECTRUM_BANDS = 40


@dataclass(frozen=True, eq=False)
class View:
    """A clip as Captum sees it: a point, its baseline, the way to the network's inputs, and the axes it lands on."""

    point: Tensor
    baseline: Tensor
    baseline_name: str
    decode: Callable[[Tensor], Tensor]
    land: Callable[[Tensor], np.ndarray]
    times_s: np.ndarray | None = None
    bands_hz: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    first_s: float = 0.0


class Logit(nn.Module):
    """The explained logit (batch,) of points; counts the rows that went through it for the progress bar."""

    def __init__(
        self,
        network: nn.Module,
        decode: Callable[[Tensor], Tensor],
        index: int,
        against: int | None,
        progress: Callable[[float], None] | None,
        sign: float = 1.0,
        smallest: float = SMALLEST_DIFFERENCE,
    ) -> None:
        super().__init__()
        self.sign = sign
        self.smallest = smallest
        self.network = network
        self.decode = decode
        self.index = index
        self.against = against
        self.progress = progress
        self.plan(0.0, 1.0, 0)

    def plan(self, low: float, high: float, rows: int) -> None:
        """Say that the next ``rows`` rows take the progress from ``low`` to ``high``."""
        self.low, self.high, self.rows, self.done = low, high, rows, 0

    def pick(self, logits: Tensor) -> Tensor:
        """Return the target (batch,) of logits (batch, classes)."""
        chosen = self.sign * logits[:, self.index]
        return chosen if self.against is None else chosen - logits[:, self.against]

    def forward(self, points: Tensor) -> Tensor:
        """Return the target (batch,) of points."""
        if self.progress is not None and self.rows:
            self.done += len(points)
            self.progress(self.low + (self.high - self.low) * min(1.0, self.done / self.rows))
        return self.pick(self.network(self.decode(points)))


def view_of(model: SpeechModel, samples: Tensor) -> View:
    """Return the view of a clip (1, samples) for gradients: the network's inputs, or of a waveform its spectrum."""
    with torch.no_grad():
        inputs = model.inputs(samples)
        baseline = model.baseline(inputs)
    axes = model.axes
    if axes.kind == "functionals":
        return View(
            inputs,
            baseline,
            model.baseline_name,
            same,
            lambda relevance: relevance[0].double().numpy(),
            feature_names=axes.names,
        )
    first_s = model.first_column_s(samples)
    if axes.kind == "log_mel":
        return View(
            inputs,
            baseline,
            model.baseline_name,
            same,
            lambda relevance: relevance[0].double().numpy(),
            times_s=column_times(model, first_s, np.arange(inputs.shape[-1])),
            bands_hz=np.asarray(axes.bands_hz, dtype=float),
            first_s=first_s,
        )
    spectrum = Spectrum(inputs.shape[-1])
    spectrum.check(inputs)
    return View(
        spectrum.analyse(inputs),
        spectrum.analyse(baseline),
        model.baseline_name,
        spectrum.synthesise,
        lambda relevance: (spectrum.groups @ _complex_sum(relevance)[0]).double().numpy(),
        times_s=first_s + spectrum.frame_times_s,
        bands_hz=mel_centres_hz(SPECTRUM_BANDS),
        first_s=first_s,
    )


def same(points: Tensor) -> Tensor:
    """Return the points: they are the network's inputs."""
    return points


def _complex_sum(relevance: Tensor) -> Tensor:
    return relevance if relevance.ndim == 3 else relevance.sum(-1)


def column_times(model: SpeechModel, first_s: float, columns: np.ndarray) -> np.ndarray:
    """Return the centres in seconds of columns of a model's inputs, the first of which lies at ``first_s``."""
    step_s = 1 / SAMPLE_RATE if model.axes.step_s is None else model.axes.step_s
    return first_s + columns * step_s


class Spectrum:
    """A short-time Fourier transform and its exact inverse: a virtual layer in front of a waveform model.

    The network is unchanged, but a gradient now lands on frames and bins, and the sum of input × gradient over them
    is the one over samples, since both transforms are linear and one undoes the other.
    """

    window_samples = 400
    hop_samples = 160

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.padded = -(-samples // self.hop_samples) * self.hop_samples
        self.window = torch.hann_window(self.window_samples)
        self.frame_times_s = np.arange(self.padded // self.hop_samples + 1) * self.hop_samples / SAMPLE_RATE
        self.groups = _mel_groups(self.window_samples // 2 + 1)

    def analyse(self, waveform: Tensor) -> Tensor:
        """Return (batch, bins, frames, 2), real and imaginary, of (batch, samples)."""
        padded = nn.functional.pad(waveform, (0, self.padded - self.samples))
        spectrum = torch.stft(
            padded,
            self.window_samples,
            self.hop_samples,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        return torch.view_as_real(spectrum)

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """Return (batch, samples) of (batch, bins, frames, 2)."""
        waveform = torch.istft(
            torch.view_as_complex(spectrum.contiguous()),
            self.window_samples,
            self.hop_samples,
            window=self.window,
            length=self.padded,
        )
        return waveform[:, : self.samples]

    def check(self, waveform: Tensor) -> None:
        """Raise where the inverse does not give the waveform back to 1e-5 of its peak."""
        error = (self.synthesise(self.analyse(waveform)) - waveform).abs().max()
        if error > 1e-5 * max(1.0, float(waveform.abs().max())):
            raise ExplanationError(
                f"The spectrum of this clip does not give its samples back (error {float(error):.1e}), so relevance "
                "cannot be placed on it; choose another model."
            )


def _mel_groups(bins: int) -> Tensor:
    # Every bin belongs to the one mel band whose centre is nearest, so that sums over bands keep completeness.
    hz = np.linspace(0.0, SAMPLE_RATE / 2, bins)
    row, _ = nearest(mel_centres_hz(SPECTRUM_BANDS), hz)
    groups = torch.zeros(SPECTRUM_BANDS, bins)
    groups[torch.from_numpy(row), torch.arange(bins)] = 1.0
    return groups


@dataclass(frozen=True)
class Cells:
    """Cells of an occlusion: seconds a column, the asked length of a patch and patches at most."""

    step_s: float
    window_s: float
    max_windows: int
    settings: dict = field(default_factory=dict)


def occlusion_view(
    model: SpeechModel, samples: Tensor, seed: int, window_s: float | None, parts: int = 1
) -> tuple[View, Cells]:
    """Return the view of a clip (1, samples) whose cells can be replaced, and how long an occluded patch is to be.

    ``parts`` are the cells that half a patch is cut into where only time can be masked (a model on functionals).
    """
    if model.axes.kind == "functionals":
        return _time_gain_view(model, samples, seed, window_s or 0.3, parts)
    view = view_of(model, samples)
    large = sum(parameter.numel() for parameter in model.network.parameters()) > LARGE_NETWORK
    most = 400 if large else 1500
    if model.axes.kind == "log_mel":
        step_s = 1 / SAMPLE_RATE if model.axes.step_s is None else model.axes.step_s
        return view, Cells(step_s, window_s or 0.1, most)
    groups = _mel_groups(view.point.shape[1]).T

    def decode(gains: Tensor) -> Tensor:
        return view.decode(view.baseline + (groups @ gains)[..., None] * (view.point - view.baseline))

    ones = torch.ones(1, SPECTRUM_BANDS, view.point.shape[2])
    masked = replace(
        view,
        point=ones,
        baseline=torch.zeros_like(ones),
        decode=decode,
        land=lambda relevance: relevance[0].double().numpy(),
    )
    return masked, Cells(Spectrum.hop_samples / SAMPLE_RATE, window_s or 0.1, most)


def _time_gain_view(model: SpeechModel, samples: Tensor, seed: int, window_s: float, parts: int) -> tuple[View, Cells]:
    """Columns of half a window, or parts of it, each kept (1) or replaced by quiet noise (0) with ramps of 10 ms."""
    length = samples.shape[-1]
    seconds = length / SAMPLE_RATE
    window_s = max(window_s, 2 * seconds / (max_columns := 60))
    columns = parts * max(2, min(max_columns, math.ceil(2 * seconds / window_s)))
    edges = np.linspace(0, length, columns + 1)
    level = _quiet_level(samples[0].numpy())
    noise = torch.randn(length, generator=torch.Generator().manual_seed(seed)) * level
    owner = torch.from_numpy(np.clip(np.searchsorted(edges, np.arange(length), side="right") - 1, 0, columns - 1))
    ramp = torch.hann_window(161, periodic=False)
    ramp = (ramp / ramp.sum())[None, None]

    def decode(gains: Tensor) -> Tensor:
        gate = nn.functional.pad(gains[:, owner][:, None], (80, 80), mode="replicate")
        gate = nn.functional.conv1d(gate, ramp)[:, 0]
        with torch.no_grad():
            return model.inputs(gate * samples + (1 - gate) * noise)

    ones = torch.ones(1, columns)
    step_s = seconds / columns
    view = View(
        ones,
        torch.zeros_like(ones),
        "quiet noise in place of the audio",
        decode,
        lambda relevance: relevance[0].double().numpy(),
        times_s=(np.arange(columns) + 0.5) * step_s,
    )
    settings = {"seed": seed, "noise_dbfs": round(20 * math.log10(level), 1)}
    return view, Cells(step_s, 2 * parts * step_s, max_columns, settings)


def _quiet_level(samples: np.ndarray) -> float:
    """Return the RMS of the quietest twentieth of 25 ms frames, but at least −80 dB full scale."""
    frame = min(400, len(samples))
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    return max(1e-4, float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), 0.05)))


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Return the (cells + 1,) edges half-way between the centres of cells; the outer ones mirror their neighbours."""
    if len(centres) == 1:
        return np.array([centres[0], centres[0]])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def nearest(centres: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell (places,) nearest to each wanted place, and whether the place lies within the cells."""
    edges = cell_edges(centres)
    place = np.searchsorted(edges, wanted, side="right") - 1
    return np.clip(place, 0, len(centres) - 1), (place >= 0) & (place < len(centres))
