"""Which parts of a recording a model's answer rests on, by Captum.

What is explained is always a calibrated logit of a named class, or the difference of two, never a probability: a
probability saturates, and its gradient with it. Of a model that answers with dimensions it is the value of one of them,
upwards or downwards. Relevance lands only on the axes that model and method truly have.

Everything runs on the real frames, in evaluation mode, with gradients for the input alone. Methods that work by hooks
get their own copy of the network, so nobody else's forward pass runs through them.
"""

import copy
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.audio import Recording
from ser_core.errors import ExplanationError
from ser_core.features import SAMPLE_RATE, mel_centres_hz
from ser_core.models import Prediction, SpeechModel

TOLERANCE = 0.05
FIRST_STEPS = 8
SMALLEST_DIFFERENCE = 0.1
SMALLEST_CHANGE = 0.02
DIRECTIONS = ("higher", "lower")
SHAPLEY_MAX_FEATURES = 512
GRADIENT_BATCH = 4
PART_POINTS = 4
OCCLUSION_COLUMNS = 10_000
LARGE_NETWORK = 2_000_000
SPECTRUM_BANDS = 40


@dataclass(frozen=True)
class Target:
    """The class that is explained, the difference of two classes' logits, or one direction of a dimension.

    direction is "higher" or "lower" where ``emotion`` is a dimension, and None where it is a class.
    """

    emotion: str
    against: str | None = None
    direction: str | None = None

    @property
    def name(self) -> str:
        """Words for a caption: "anger", "anger rather than happiness", or "lower valence"."""
        if self.direction is not None:
            return f"{self.direction} {self.emotion}"
        return self.emotion if self.against is None else f"{self.emotion} rather than {self.against}"


@dataclass(frozen=True, eq=False)
class Attribution:
    """Relevance for one named target.

    relevance has the shape (bands, columns) on ``axes`` "time_frequency", (columns,) on "time", (features,) on
    "features". Column k is centred at ``times_s[k]`` seconds of the recording, row b at ``bands_hz[b]`` Hz.
    completeness_error is |sum of relevance − (target at input − target at baseline)| / |that difference|; a difference
    below 0.1 (odds that change by a tenth; 0.02 of a dimension, a hundredth of its scale) leaves nothing to share out,
    so the error is then relative to that.
    steps counts the points on the path that were used in the end. settings holds every parameter in force, what is
    explained, ``duration_s`` of the clip and, where a baseline was used, the ``difference`` that is shared out.
    """

    model: str
    method: str
    target: Target
    axes: str
    relevance: np.ndarray
    times_s: np.ndarray | None = None
    bands_hz: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    signed: bool = True
    baseline: str | None = None
    completeness_error: float | None = None
    steps: int | None = None
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """An attribution method as it applies to one model.

    axes is "time_frequency", "time" or "features". path: whether it adds gradients along a path from the baseline and
    so has a completeness error that falls with more steps. signed: whether negative relevance speaks against the class.
    """

    name: str
    label: str
    hint: str
    axes: str
    path: bool = False
    signed: bool = True


_METHODS = {
    method.name: method
    for method in (
        Method(
            "integrated_gradients",
            "Integrated Gradients",
            "Shares the whole change of the logit from the baseline to the clip among its parts.",
            "time_frequency",
            path=True,
        ),
        Method(
            "gradient_shap",
            "GradientSHAP",
            "Integrated Gradients averaged over slightly noisy baselines.",
            "time_frequency",
            path=True,
        ),
        Method(
            "input_x_gradient",
            "Input × Gradient",
            "The slope at the clip times the distance from the baseline; quick, exact for linear models only.",
            "time_frequency",
        ),
        Method(
            "saliency",
            "Saliency",
            "Where a small change would move the logit most; says nothing about the direction.",
            "time_frequency",
            signed=False,
        ),
        Method(
            "deeplift",
            "DeepLIFT",
            "Compares every unit with its value at the baseline; refused where it does not add up to within 5 %.",
            "time_frequency",
        ),
        Method(
            "lrp",
            "LRP",
            "Hands the logit back layer by layer in proportion to what each unit contributed.",
            "time_frequency",
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How far the logit drops when a patch is replaced by the baseline.",
            "time_frequency",
        ),
        Method(
            "grad_cam",
            "Grad-CAM",
            "Which places of a convolution's output support the class; as coarse as that layer.",
            "time_frequency",
        ),
        Method(
            "feature_ablation",
            "Feature ablation",
            "How far the logit drops when one feature is set to its baseline.",
            "features",
        ),
        Method(
            "shapley_sampling",
            "Shapley value sampling",
            "A feature's mean effect over random orders of adding features to the baseline.",
            "features",
        ),
    )
}


def methods_for(model: SpeechModel) -> tuple[Method, ...]:
    """Return the methods that are valid for a model, each with the axes it truly has there.

    DeepLIFT and LRP need a rule for every module, Grad-CAM a convolution that keeps time; one that sees no bands
    (a one-dimensional convolution) has a time axis only. A model on functionals has named features; only occlusion
    of the audio itself gives it a time axis. Saliency is not offered there, since features have different units.
    """
    kind = model.axes.kind
    if kind == "functionals":
        names = ["integrated_gradients", "input_x_gradient", "feature_ablation"]
        if len(model.axes.names or ()) <= SHAPLEY_MAX_FEATURES:
            names.append("shapley_sampling")
        if model.relevance_rules:
            names.append("deeplift")
        offered = [replace(_METHODS[name], axes="features") for name in names]
        hint = "How far the logit drops when a stretch of the audio is replaced by quiet noise."
        return _worded(model, *offered, replace(_METHODS["occlusion"], axes="time", hint=hint))
    names = ["integrated_gradients", "gradient_shap", "input_x_gradient", "saliency", "occlusion"]
    if model.relevance_rules:
        names.append("deeplift")
        if kind == "log_mel":
            names.append("lrp")
    offered = [_METHODS[name] for name in names]
    if model.gradcam_layers:
        layer = model.network.get_submodule(model.gradcam_layers[-1])
        flat = isinstance(layer, nn.Conv1d) or not any(isinstance(part, nn.Conv2d) for part in model.network.modules())
        axes = "time" if flat else "time_frequency"
        offered.append(replace(_METHODS["grad_cam"], axes=axes))
    return _worded(model, *offered)


def _worded(model: SpeechModel, *offered: Method) -> tuple[Method, ...]:
    if model.card.answer != "dimensions":
        return offered
    return tuple(replace(method, hint=method.hint.replace("logit", "value")) for method in offered)


def method_label(name: str) -> str:
    """Return a method's name for readers ("Integrated Gradients"); one that is not offered here with blanks for _."""
    return _METHODS[name].label if name in _METHODS else name.replace("_", " ")


def attribute(
    model: SpeechModel,
    recording: Recording,
    target: Target,
    method: str,
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_steps: int = 256,
    noise: float = 0.05,
    window_s: float | None = None,
    window_bands: int | None = None,
    max_windows: int | None = None,
    permutations: int = 25,
    progress: Callable[[float], None] | None = None,
) -> Attribution:
    """Return the relevance of a recording's parts for one target.

    Args:
        model: the model to explain.
        recording: the clip; relevance lands on its clock.
        target: the class, or the pair of classes, whose calibrated logit is explained.
        method: a name from ``methods_for(model)``.
        seed: of whatever is drawn (GradientSHAP, Shapley sampling, the noise that replaces audio).
        tolerance: completeness error at which path methods stop refining, and above which DeepLIFT fails.
        max_steps: most steps of a path; at it the result is returned with the error it has.
        noise: GradientSHAP's spread of baselines, as a share of the mean distance of the input from the baseline.
        window_s: length of an occluded patch in seconds; 0.1, or 0.3 for a model on functionals.
        window_bands: height of an occluded patch in bands; a tenth of them.
        max_windows: most patches of one occlusion; patches grow to keep it. 1,500, or 400 for a network of over two
            million parameters, or 60 for a model on functionals.
        permutations: orders of features in Shapley sampling.
        progress: called with the share done, 0 … 1.

    Raises:
        ExplanationError: the target or method is not one of the model's, the clip is too short, DeepLIFT does not
            add up, or the result is not finite.

    Sources: Simonyan et al. 2014 (Saliency), Shrikumar et al. 2017 (Input × Gradient, DeepLIFT), Sundararajan et al.
    2017 (Integrated Gradients), Lundberg & Lee 2017 (GradientSHAP), Bach et al. 2015 and Montavon et al. 2019 (LRP),
    Zeiler & Fergus 2014 (Occlusion), Selvaraju et al. 2017 (Grad-CAM), Castro et al. 2009 (Shapley sampling),
    Vielhaben et al. 2024 and Frommholz et al. 2023 (virtual inspection layers); Kokhlikyan et al. 2020 (Captum).
    """
    chosen = _chosen(model, method)
    index, against, sign = _indices(model, target)
    if recording.duration_s < 0.1:
        raise ExplanationError(
            f"The clip lasts {recording.duration_s * 1000:.0f} ms; choose one of at least 100 ms to explain it."
        )
    warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks", module="captum")
    settings = {
        "explains": _explained(target),
        "duration_s": recording.duration_s,
    }
    with torch.inference_mode(False), torch.enable_grad():
        samples = torch.from_numpy(np.array(recording.samples, dtype=np.float32))[None]
        cells = None
        if method == "occlusion":
            view, cells = _occlusion_view(model, samples, seed, window_s)
        else:
            view = _view(model, samples)
        network = model.network
        if method in ("deeplift", "lrp", "grad_cam"):
            network = _private_copy(model, own_weights=method == "lrp")
        options = _Options(seed, tolerance, max_steps, noise, window_bands, max_windows, permutations, cells)
        logit = _Logit(network, view.decode, index, against, progress, sign, _smallest(model))
        found = _COMPUTE[method](_Task(model, logit, view, options))
    view = found.view or view
    relevance = view.land(found.relevance.detach())
    if not np.isfinite(relevance).all():
        raise ExplanationError(
            f"{chosen.label} gave values that are not finite for this clip; choose another method or check the audio."
        )
    if progress is not None:
        progress(1.0)
    return Attribution(
        model=model.name,
        method=method,
        target=target,
        axes=chosen.axes,
        relevance=relevance,
        times_s=view.times_s,
        bands_hz=view.bands_hz,
        feature_names=view.feature_names,
        signed=chosen.signed,
        baseline=view.baseline_name if method not in ("saliency", "lrp", "grad_cam") else None,
        completeness_error=found.completeness_error,
        steps=found.steps,
        settings=settings | found.settings,
    )


@dataclass(frozen=True, eq=False)
class Masking:
    """A clip whose cells can be taken away: the grid they lie on, and the explained logit of what is left.

    times_s (columns,) and bands_hz (bands,) are the cells' centres; bands_hz is None where only time can be masked (a
    model on functionals, whose audio is replaced by quiet noise).
    """

    times_s: np.ndarray
    bands_hz: np.ndarray | None
    baseline_name: str
    logits: Callable[[np.ndarray], np.ndarray]


def masking(model: SpeechModel, recording: Recording, target: Target, *, seed: int = 0) -> Masking:
    """Return the clip's cells as they can be kept or replaced by the baseline, whatever the model's input is.

    ``logits`` takes what is kept, (masks, bands, columns) or (masks, columns) from 0 (baseline) to 1 (as it is), and
    returns the target's calibrated logit for each (masks,).

    Raises:
        ExplanationError: the target is not one of the model's.
    """
    index, against, sign = _indices(model, target)
    samples = torch.from_numpy(np.array(recording.samples, dtype=np.float32))[None]
    view, _ = _occlusion_view(model, samples, seed, None)
    assert view.times_s is not None
    logit = _Logit(model.network, view.decode, index, against, None, sign)

    def logits(kept: np.ndarray) -> np.ndarray:
        masks = torch.from_numpy(np.asarray(kept, dtype=np.float32))
        batch = max(1, min(16, OCCLUSION_COLUMNS // view.point.shape[-1]))
        with torch.inference_mode():
            found = [logit(view.baseline + rows * (view.point - view.baseline)) for rows in masks.split(batch)]
        return torch.cat(found).double().numpy()

    return Masking(view.times_s, view.bands_hz, view.baseline_name, logits)


def relevance_on_grid(attribution: Attribution, times_s: np.ndarray, hz: np.ndarray | None = None) -> np.ndarray:
    """Return relevance at other places for drawing: the value of the nearest cell, NaN outside the map.

    Args:
        attribution: one with a time axis.
        times_s: (columns,) seconds.
        hz: (rows,) Hz; needed where the attribution has a frequency axis.

    Returns:
        (rows, columns) on "time_frequency", (columns,) on "time".

    Raises:
        ExplanationError: the attribution has no time axis, or ``hz`` is missing.
    """
    if attribution.times_s is None:
        raise ExplanationError("This attribution is over features and has no time axis; draw it as bars.")
    column, inside = _nearest(attribution.times_s, np.asarray(times_s))
    if attribution.bands_hz is None:
        return np.where(inside, attribution.relevance[column], np.nan)
    if hz is None:
        raise ExplanationError("This attribution has a frequency axis; give the rows' frequencies in Hz as well.")
    row, within = _nearest(attribution.bands_hz, np.asarray(hz))
    return np.where(within[:, None] & inside, attribution.relevance[np.ix_(row, column)], np.nan)


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Return the (cells + 1,) edges half-way between the centres of cells; the outer ones mirror their neighbours."""
    if len(centres) == 1:
        return np.array([centres[0], centres[0]])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _nearest(centres: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = cell_edges(centres)
    place = np.searchsorted(edges, wanted, side="right") - 1
    return np.clip(place, 0, len(centres) - 1), (place >= 0) & (place < len(centres))


# What Captum is asked


@dataclass(frozen=True, eq=False)
class _View:
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


class _Logit(nn.Module):
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
        if self.progress is not None and self.rows:
            self.done += len(points)
            self.progress(self.low + (self.high - self.low) * min(1.0, self.done / self.rows))
        return self.pick(self.network(self.decode(points)))


@dataclass(frozen=True)
class _Cells:
    """Cells of an occlusion: seconds a column, the asked length of a patch and patches at most."""

    step_s: float
    window_s: float
    max_windows: int
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class _Options:
    """The settings of ``attribute`` that a method may read."""

    seed: int
    tolerance: float
    max_steps: int
    noise: float
    window_bands: int | None
    max_windows: int | None
    permutations: int
    cells: _Cells | None


@dataclass(frozen=True, eq=False)
class _Task:
    model: SpeechModel
    logit: _Logit
    view: _View
    options: _Options


@dataclass(frozen=True, eq=False)
class _Found:
    """Relevance of a view's point; ``view`` replaces the view where relevance lands elsewhere."""

    relevance: Tensor
    completeness_error: float | None = None
    steps: int | None = None
    settings: dict = field(default_factory=dict)
    view: _View | None = None


def _chosen(model: SpeechModel, method: str) -> Method:
    offered = {item.name: item for item in methods_for(model)}
    if method not in offered:
        raise ExplanationError(
            f"The method '{method}' is not valid for the model '{model.name}'; choose one of {', '.join(offered)}."
        )
    return offered[method]


def default_target(prediction: Prediction) -> Target:
    """Return what is explained unless asked otherwise: the answer, or the clearest dimension where it points."""
    if prediction.values is None:
        return Target(prediction.top)
    return Target(prediction.top, direction=DIRECTIONS[int(prediction.value(prediction.top) < 0)])


def _explained(target: Target) -> str:
    if target.direction is not None:
        return f"value of a dimension, {target.direction}"
    return "calibrated logit" if target.against is None else "difference of two calibrated logits"


def _smallest(model: SpeechModel) -> float:
    return SMALLEST_CHANGE if model.card.answer == "dimensions" else SMALLEST_DIFFERENCE


def _indices(model: SpeechModel, target: Target) -> tuple[int, int | None, float]:
    for emotion in (target.emotion, target.against):
        if emotion is not None and emotion not in model.emotions:
            raise ExplanationError(
                f"The model '{model.name}' does not know '{emotion}'; choose one of {', '.join(model.emotions)}."
            )
    if target.emotion == target.against:
        raise ExplanationError(f"The target sets '{target.emotion}' against itself; choose two different emotions.")
    if model.card.answer == "dimensions":
        if target.direction not in DIRECTIONS or target.against is not None:
            raise ExplanationError(
                f"The model '{model.name}' answers with dimensions: say whether higher or lower {target.emotion} is to "
                "be explained; there is no other class to set it against."
            )
        return model.emotions.index(target.emotion), None, -1.0 if target.direction == "lower" else 1.0
    if target.direction is not None:
        raise ExplanationError(f"'{target.emotion}' is a class of '{model.name}'; only dimensions have a direction.")
    against = None if target.against is None else model.emotions.index(target.against)
    return model.emotions.index(target.emotion), against, 1.0


def _private_copy(model: SpeechModel, *, own_weights: bool) -> nn.Module:
    # Hooks on a shared network would run in other threads' forward passes too, so they go on a copy; the tensors stay
    # shared unless the method writes to them.
    with model.lock:
        tensors = itertools.chain(model.network.parameters(), model.network.buffers())
        shared = {} if own_weights else {id(tensor): tensor for tensor in tensors}
        return copy.deepcopy(model.network, shared)


def _view(model: SpeechModel, samples: Tensor) -> _View:
    with torch.no_grad():
        inputs = model.inputs(samples)
        baseline = model.baseline(inputs)
    axes = model.axes
    if axes.kind == "functionals":
        return _View(
            inputs,
            baseline,
            model.baseline_name,
            _same,
            lambda relevance: relevance[0].double().numpy(),
            feature_names=axes.names,
        )
    first_s = model.first_column_s(samples)
    if axes.kind == "log_mel":
        return _View(
            inputs,
            baseline,
            model.baseline_name,
            _same,
            lambda relevance: relevance[0].double().numpy(),
            times_s=_column_times(model, first_s, np.arange(inputs.shape[-1])),
            bands_hz=np.asarray(axes.bands_hz, dtype=float),
            first_s=first_s,
        )
    spectrum = _Spectrum(inputs.shape[-1])
    spectrum.check(inputs)
    return _View(
        spectrum.analyse(inputs),
        spectrum.analyse(baseline),
        model.baseline_name,
        spectrum.synthesise,
        lambda relevance: (spectrum.groups @ _complex_sum(relevance)[0]).double().numpy(),
        times_s=first_s + spectrum.frame_times_s,
        bands_hz=mel_centres_hz(SPECTRUM_BANDS),
        first_s=first_s,
    )


def _same(points: Tensor) -> Tensor:
    return points


def _complex_sum(relevance: Tensor) -> Tensor:
    return relevance if relevance.ndim == 3 else relevance.sum(-1)


def _column_times(model: SpeechModel, first_s: float, columns: np.ndarray) -> np.ndarray:
    step_s = 1 / SAMPLE_RATE if model.axes.step_s is None else model.axes.step_s
    return first_s + columns * step_s


class _Spectrum:
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
    row, _ = _nearest(mel_centres_hz(SPECTRUM_BANDS), hz)
    groups = torch.zeros(SPECTRUM_BANDS, bins)
    groups[torch.from_numpy(row), torch.arange(bins)] = 1.0
    return groups


# The methods


def _completeness(
    logit: _Logit, view: _View, baselines: Tensor | None = None
) -> tuple[float, Callable[[Tensor], float]]:
    """Return target(point) − mean target(baselines), and the function from relevance to its completeness error."""
    with torch.no_grad():
        reference = logit(view.baseline if baselines is None else baselines).double().mean()
        difference = float(logit(view.point).double()[0] - reference)

    def error(relevance: Tensor) -> float:
        return abs(float(relevance.detach().double().sum()) - difference) / max(abs(difference), logit.smallest)

    return difference, error


def _saliency(task: _Task) -> _Found:
    from captum.attr import Saliency

    slope = Saliency(task.logit).attribute(task.view.point.clone().requires_grad_())
    return _Found(slope if slope.ndim < 4 else slope.square().sum(-1).sqrt())


def _input_x_gradient(task: _Task) -> _Found:
    from captum.attr import InputXGradient

    logit, view = task.logit, task.view
    # Seen from the baseline, the baseline is zero: Captum then multiplies by the distance from it.
    distance = (view.point - view.baseline).requires_grad_()
    return _Found(InputXGradient(lambda moved: logit(view.baseline + moved)).attribute(distance))


def _integrated_gradients(task: _Task) -> _Found:
    from captum.attr import IntegratedGradients

    logit, view, options = task.logit, task.view, task.options
    points = min(PART_POINTS, options.max_steps)

    def place(share: float) -> Tensor:
        return view.baseline + share * (view.point - view.baseline)

    def value(share: float) -> tuple[float, float]:
        with torch.no_grad():
            return share, float(logit(place(share)).double()[0])

    def part(start: tuple[float, float], end: tuple[float, float]) -> _Part:
        relevance = IntegratedGradients(logit).attribute(
            place(end[0]).requires_grad_(),
            baselines=place(start[0]),
            n_steps=points,
            method="gausslegendre",
            internal_batch_size=GRADIENT_BATCH,
        )
        missed = float(relevance.detach().double().sum()) - (end[1] - start[1])
        return _Part(start, end, relevance.detach(), missed)

    logit.plan(0.0, 0.5, 2 * points + 3)
    start, end = value(0.0), value(1.0)
    difference = end[1] - start[1]
    scale = max(abs(difference), logit.smallest)
    parts = [part(start, end)] if options.max_steps < 2 * points else _halves(start, end, value, part)
    # What a part should add up to is known, so only the parts that miss are cut finer, and no pass is made in vain.
    while not _adds_up(parts, scale, options.tolerance) and (len(parts) + 1) * points <= options.max_steps:
        logit.plan(logit.high, (1 + logit.high) / 2, 2 * points + 1)
        worst = max(parts, key=lambda p: abs(p.missed))
        parts.remove(worst)
        parts += _halves(worst.start, worst.end, value, part)
    relevance = torch.stack([p.relevance for p in parts]).sum(0)
    settings = {
        "quadrature": f"Gauss–Legendre, {points} points on each part of the path; parts that miss most are halved",
        "parts": len(parts),
        "difference": difference,
        "tolerance": options.tolerance,
    }
    return _Found(relevance, abs(sum(p.missed for p in parts)) / scale, len(parts) * points, settings)


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of the path between two (share of the way, target there): what it adds, and by how much it misses."""

    start: tuple[float, float]
    end: tuple[float, float]
    relevance: Tensor
    missed: float


def _adds_up(parts: list[_Part], scale: float, tolerance: float) -> bool:
    """Return whether the parts add up together, and each well enough that this is no accident.

    The errors of the parts, whatever their sign, are set against all that the target moves along the path.
    """
    together = abs(sum(p.missed for p in parts))
    moved = max(scale, sum(abs(p.end[1] - p.start[1]) for p in parts))
    return together <= tolerance * scale and sum(abs(p.missed) for p in parts) <= tolerance * moved


def _halves(
    start: tuple[float, float],
    end: tuple[float, float],
    value: Callable[[float], tuple[float, float]],
    part: Callable[[tuple[float, float], tuple[float, float]], _Part],
) -> list[_Part]:
    middle = value((start[0] + end[0]) / 2)
    return [part(start, middle), part(middle, end)]


def _rounds(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield (0, first), (1, 2 × first), … up to last, and at least once."""
    steps, done = min(first, last), 0
    yield done, steps
    while steps * 2 <= last:
        steps, done = steps * 2, done + 1
        yield done, steps


def _gradient_shap(task: _Task, draws: int = 8) -> _Found:
    # Captum's GradientShap draws from the process-wide generators, so threads change each other's results; it cannot
    # limit its batch either. Here a clip has its own generator, and places on the path are Gauss–Legendre's instead of
    # random ones, which needs a tenth of the gradients for the same expectation.
    logit, view, tolerance = task.logit, task.view, task.options.tolerance
    generator = torch.Generator().manual_seed(task.options.seed)
    spread = task.options.noise * float((view.point - view.baseline).abs().mean())
    shape = (draws, *view.baseline.shape[1:])
    baselines = view.baseline + spread * torch.randn(shape, generator=generator)
    difference, error = _completeness(logit, view, baselines)
    for done, steps in _rounds(FIRST_STEPS, task.options.max_steps):
        logit.plan(1 - 0.5**done, 1 - 0.5 ** (done + 1), steps)
        places, weights = np.polynomial.legendre.leggauss(steps)
        order = torch.randperm(steps, generator=generator) % draws
        relevance = torch.zeros_like(view.point)
        for rows in torch.arange(steps).split(GRADIENT_BATCH):
            column = (-1, *[1] * (view.point.ndim - 1))
            place = torch.from_numpy((1 + places[rows]) / 2).float().reshape(column)
            weight = torch.from_numpy(weights[rows] / 2).float().reshape(column)
            distance = view.point - baselines[order[rows]]
            points = (baselines[order[rows]] + place * distance).requires_grad_()
            slope = torch.autograd.grad(logit(points).sum(), points)[0]
            relevance += (weight * slope * distance).sum(0, keepdim=True)
        if error(relevance) <= tolerance:
            break
    settings = {
        "seed": task.options.seed,
        "baseline_draws": draws,
        "quadrature": "Gauss–Legendre",
        "noise": spread,
        "difference": difference,
        "tolerance": tolerance,
    }
    return _Found(relevance, error(relevance), steps, settings)


def _deeplift(task: _Task) -> _Found:
    from captum.attr import DeepLift

    logit, view, tolerance = task.logit, task.view, task.options.tolerance
    difference, error = _completeness(logit, view)
    relevance = DeepLift(logit).attribute(view.point.clone().requires_grad_(), baselines=view.baseline)
    if error(relevance) > tolerance:
        raise ExplanationError(
            f"DeepLIFT does not add up for this clip: its completeness error is {error(relevance):.0%}, more than "
            f"{tolerance:.0%}; use Integrated Gradients instead."
        )
    return _Found(relevance, error(relevance), None, {"difference": difference, "tolerance": tolerance})


def _lrp(task: _Task, gamma: float = 0.25) -> _Found:
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule

    logit, view = task.logit, task.view
    convolutions = [module for module in logit.network.modules() if isinstance(module, nn.Conv2d)]
    relevance = torch.zeros_like(view.point)
    # Relevance is linear in what is handed back, so a pair of classes is one pass each.
    for index, sign in ((logit.index, logit.sign), (logit.against, -1.0)):
        if index is not None:
            for number, module in enumerate(convolutions):
                module.rule = GammaRule(gamma) if number else EpsilonRule()
            point = view.point.clone().requires_grad_()
            relevance += sign * LRP(logit.network).attribute(point, target=index)
    rules = f"ε on the first convolution and on linear layers, γ = {gamma} on the other convolutions"
    return _Found(relevance, settings={"rules": rules})


def _grad_cam(task: _Task) -> _Found:
    from captum.attr import LayerGradCam

    model, logit, view = task.model, task.logit, task.view
    name = model.gradcam_layers[-1]
    layer = logit.network.get_submodule(name)
    with torch.no_grad():
        inputs = view.decode(view.point)
    on_inputs = _Logit(logit.network, _same, logit.index, logit.against, None, logit.sign)
    relevance = LayerGradCam(on_inputs, layer).attribute(inputs.clone().requires_grad_())
    columns, rows = _layer_places(logit.network, layer, inputs)
    times_s = _column_times(model, view.first_s, columns)
    settings = {"layer": name, "cells_s": float(np.diff(times_s[:2])[0]) if len(times_s) > 1 else None}
    bands_hz = None
    if rows is not None and model.axes.bands_hz is not None:
        bands_hz = np.interp(rows, np.arange(len(model.axes.bands_hz)), model.axes.bands_hz)
    shape = relevance.shape[2:] if rows is not None else relevance.shape[-1:]
    placed = replace(
        view,
        land=lambda cells: cells.reshape(shape).double().numpy(),
        times_s=times_s,
        bands_hz=bands_hz,
    )
    return _Found(relevance, settings=settings, view=placed)


def _layer_places(network: nn.Module, layer: nn.Module, inputs: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Return where the cells of a layer's output sit: indices of input columns and, of a 2-d layer, of input rows.

    Padding and stride shift the cells, so the centre of what a cell sees is measured: the centroid of the gradient of
    a few cells, at a noise input so that no unit is silent.
    """
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
    probe = (inputs.mean() + inputs.std() * noise).requires_grad_()
    network(probe)
    handle.remove()
    output = seen[0]
    columns = _axis_places(output, probe, -1)
    return columns, _axis_places(output, probe, -2) if output.ndim == 4 else None


def _axis_places(output: Tensor, probe: Tensor, axis: int) -> np.ndarray:
    cells, size = output.shape[axis], probe.shape[axis]
    stride = max(1, round(size / cells))
    others = [dim for dim in range(probe.ndim) if dim != probe.ndim + axis]
    offsets = []
    for cell in sorted({cells // 4, cells // 2, (3 * cells) // 4}):
        slope = torch.autograd.grad(output.select(axis, cell).square().sum(), probe, retain_graph=True)[0]
        weight = slope.abs().sum(others).double()
        if weight.sum() > 0:
            offsets.append(float((weight * torch.arange(size)).sum() / weight.sum()) - cell * stride)
    offset = round(2 * float(np.median(offsets))) / 2 if offsets else (stride - 1) / 2
    return np.arange(cells) * stride + offset


def _feature_ablation(task: _Task) -> _Found:
    from captum.attr import FeatureAblation

    logit, view = task.logit, task.view
    logit.plan(0.0, 1.0, view.point.shape[-1])
    with torch.no_grad():
        return _Found(FeatureAblation(logit).attribute(view.point, baselines=view.baseline, perturbations_per_eval=64))


def _shapley_sampling(task: _Task) -> _Found:
    from captum.attr import ShapleyValueSampling

    logit, view = task.logit, task.view
    permutations, seed = task.options.permutations, task.options.seed
    difference, error = _completeness(logit, view)
    generator = torch.Generator().manual_seed(seed)

    def orders(features: int, count: int) -> Iterator[list[int]]:
        for _ in range(count):
            yield torch.randperm(features, generator=generator).tolist()

    sampling = ShapleyValueSampling(logit)
    # Captum's own orders come from the process-wide generator.
    sampling.permutation_generator = orders
    logit.plan(0.0, 1.0, permutations * view.point.shape[-1])
    with torch.no_grad():
        relevance = sampling.attribute(
            view.point, baselines=view.baseline, n_samples=permutations, perturbations_per_eval=64
        )
    settings = {"seed": seed, "permutations": permutations, "difference": difference}
    return _Found(relevance, error(relevance), None, settings)


# Occlusion


def _occlusion_view(model: SpeechModel, samples: Tensor, seed: int, window_s: float | None) -> tuple[_View, _Cells]:
    if model.axes.kind == "functionals":
        return _time_gain_view(model, samples, seed, window_s or 0.3)
    view = _view(model, samples)
    large = sum(parameter.numel() for parameter in model.network.parameters()) > LARGE_NETWORK
    most = 400 if large else 1500
    if model.axes.kind == "log_mel":
        step_s = 1 / SAMPLE_RATE if model.axes.step_s is None else model.axes.step_s
        return view, _Cells(step_s, window_s or 0.1, most)
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
    return masked, _Cells(_Spectrum.hop_samples / SAMPLE_RATE, window_s or 0.1, most)


def _time_gain_view(model: SpeechModel, samples: Tensor, seed: int, window_s: float) -> tuple[_View, _Cells]:
    """Columns of half a window, each kept (1) or replaced by quiet noise (0) with ramps of 10 ms."""
    length = samples.shape[-1]
    seconds = length / SAMPLE_RATE
    window_s = max(window_s, 2 * seconds / (max_columns := 60))
    columns = max(2, min(max_columns, math.ceil(2 * seconds / window_s)))
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
    view = _View(
        ones,
        torch.zeros_like(ones),
        "quiet noise in place of the audio",
        decode,
        lambda relevance: relevance[0].double().numpy(),
        times_s=(np.arange(columns) + 0.5) * step_s,
    )
    settings = {"seed": seed, "noise_dbfs": round(20 * math.log10(level), 1)}
    return view, _Cells(step_s, 2 * step_s, max_columns, settings)


def _quiet_level(samples: np.ndarray) -> float:
    """Return the RMS of the quietest twentieth of 25 ms frames, but at least −80 dB full scale."""
    frame = min(400, len(samples))
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    return max(1e-4, float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), 0.05)))


def _occlusion(task: _Task) -> _Found:
    from captum.attr import Occlusion

    logit, view, cells = task.logit, task.view, task.options.cells
    assert cells is not None
    rows = view.point.shape[1] if view.point.ndim == 3 else 1
    columns = view.point.shape[-1]
    high = min(rows, task.options.window_bands or max(1, round(rows / 10)))
    wide = min(columns, max(1, round(cells.window_s / cells.step_s)))
    most = task.options.max_windows or cells.max_windows
    while (count := _count(rows, high) * _count(columns, wide)) > most:
        high, wide = min(rows, math.ceil(high * 1.25)), min(columns, math.ceil(wide * 1.25))
    size: tuple[int, ...] = (high, wide)
    stride: tuple[int, ...] = (max(1, high // 2), max(1, wide // 2))
    if view.point.ndim == 2:
        size, stride = size[1:], stride[1:]
    logit.plan(0.0, 1.0, count)
    with torch.no_grad():
        relevance = Occlusion(logit).attribute(
            view.point,
            sliding_window_shapes=size,
            strides=stride,
            baselines=view.baseline,
            perturbations_per_eval=1 if view.point.ndim == 2 else max(1, min(64, OCCLUSION_COLUMNS // columns)),
        )
    settings = cells.settings | {"window_s": wide * cells.step_s, "windows": count, "stride": "half a window"}
    if view.point.ndim == 3:
        settings["window_bands"] = high
    return _Found(relevance, settings=settings)


def _count(size: int, window: int) -> int:
    return math.ceil((size - window) / max(1, window // 2)) + 1


_COMPUTE: dict[str, Callable[[_Task], _Found]] = {
    "saliency": _saliency,
    "input_x_gradient": _input_x_gradient,
    "integrated_gradients": _integrated_gradients,
    "gradient_shap": _gradient_shap,
    "deeplift": _deeplift,
    "lrp": _lrp,
    "occlusion": _occlusion,
    "grad_cam": _grad_cam,
    "feature_ablation": _feature_ablation,
    "shapley_sampling": _shapley_sampling,
}
