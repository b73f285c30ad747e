"""Which parts of a recording a model's answer rests on, by Captum.

What is explained is always a calibrated logit of a named class, or the difference of two, never a probability: a
probability saturates, and its gradient with it. Of a model that answers with dimensions it is the value of one of them,
upwards or downwards. Relevance lands only on the axes that model and method truly have.

Everything runs on the real frames, in evaluation mode, with gradients for the input alone. Methods that work by hooks
get their own copy of the network, so nobody else's forward pass runs through them.
"""

import copy
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from explain.methods import COMPUTE, OCCLUSION_COLUMNS, Options, Task
from explain.views import SMALLEST_DIFFERENCE, Logit, nearest, occlusion_view, view_of
from ser_core.audio import Recording
from ser_core.errors import ExplanationError
from ser_core.models import Prediction, SpeechModel

TOLERANCE = 0.05
SMALLEST_CHANGE = 0.02
DIRECTIONS = ("higher", "lower")
SHAPLEY_MAX_FEATURES = 512


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

    @property
    def unit(self) -> str:
        """What is explained: the "logit" of a class, or the "value" of a dimension."""
        return "logit" if self.direction is None else "value"

    @property
    def sign(self) -> float:
        """-1 for the lower direction of a dimension, where what is explained is its value turned round; 1 elsewhere."""
        return -1.0 if self.direction == "lower" else 1.0


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
            "shapley_boxes",
            "Shapley values of boxes",
            "What a box of some 0.3 s (in clips over 4.5 s a fifteenth of the clip) and a quarter of the bands adds to "
            "the logit, on average over what else is left of the clip. As coarse as the boxes; estimated from 200 to "
            "300 variants of the clip, and the line above the map says how closely.",
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
    names = ["integrated_gradients", "gradient_shap", "input_x_gradient", "saliency", "shapley_boxes", "occlusion"]
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


def box_uncertainty(attribution: Attribution) -> str:
    """Return how closely the values of boxes are known, for readers; "" for methods without boxes."""
    settings = attribution.settings
    if not {"box_uncertainty", "largest_box"} <= settings.keys():
        return ""
    return f"± {settings['box_uncertainty']:.2f} (95 %), where the largest is {settings['largest_box']:.2f}"


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
    sets_per_box: int = 5,
    progress: Callable[[float], None] | None = None,
) -> Attribution:
    """Return the relevance of a recording's parts for one target.

    Args:
        model: the model to explain.
        recording: the clip; relevance lands on its clock.
        target: the class, or the pair of classes, whose calibrated logit is explained.
        method: a name from ``methods_for(model)``.
        seed: of whatever is drawn (GradientSHAP, Shapley values, the noise that replaces audio).
        tolerance: completeness error at which path methods stop refining, and above which DeepLIFT fails.
        max_steps: most steps of a path; at it the result is returned with the error it has.
        noise: GradientSHAP's spread of baselines, as a share of the mean distance of the input from the baseline.
        window_s: length of an occluded patch in seconds; 0.1, or 0.3 for a model on functionals.
        window_bands: height of an occluded patch in bands; a tenth of them.
        max_windows: most patches of one occlusion; patches grow to keep it. 1,500, or 400 for a network of over two
            million parameters, or 60 for a model on functionals.
        permutations: orders of features in Shapley sampling.
        sets_per_box: sets of boxes that Shapley values of boxes are estimated from, for each box.
        progress: called with the share done, 0 … 1.

    Raises:
        ExplanationError: the target or method is not one of the model's, the clip is too short, DeepLIFT does not
            add up, or the result is not finite.

    Sources: Simonyan et al. 2014 (Saliency), Shrikumar et al. 2017 (Input × Gradient, DeepLIFT), Sundararajan et al.
    2017 (Integrated Gradients), Lundberg & Lee 2017 (GradientSHAP, Shapley values of boxes; how they are estimated:
    ``explain.shapley``), Bach et al. 2015 and Montavon et al. 2019 (LRP),
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
        if method in ("shapley_boxes", "occlusion"):
            view, cells = occlusion_view(model, samples, seed, window_s)
        else:
            view = view_of(model, samples)
        network = model.network
        if method in ("deeplift", "lrp", "grad_cam"):
            network = _private_copy(model, own_weights=method == "lrp")
        options = Options(
            seed, tolerance, max_steps, noise, window_bands, max_windows, permutations, sets_per_box, cells
        )
        logit = Logit(network, view.decode, index, against, progress, sign, _smallest(model))
        found = COMPUTE[method](Task(model, logit, view, options))
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
    model on functionals, whose audio is replaced by quiet noise). unit and sign are the target's.
    """

    times_s: np.ndarray
    bands_hz: np.ndarray | None
    baseline_name: str
    logits: Callable[[np.ndarray], np.ndarray]
    unit: str
    sign: float = 1.0


def masking(model: SpeechModel, recording: Recording, target: Target, *, seed: int = 0) -> Masking:
    """Return the clip's cells as they can be kept or replaced by the baseline, whatever the model's input is.

    ``logits`` takes what is kept, (masks, bands, columns) or (masks, columns) from 0 (baseline) to 1 (as it is), and
    returns the target's calibrated logit for each (masks,).

    Raises:
        ExplanationError: the target is not one of the model's.
    """
    index, against, sign = _indices(model, target)
    samples = torch.from_numpy(np.array(recording.samples, dtype=np.float32))[None]
    # Where only time can be masked, the patches' own places are about ten, too few to draw chance from.
    view, _ = occlusion_view(model, samples, seed, None, parts=5)
    assert view.times_s is not None
    logit = Logit(model.network, view.decode, index, against, None, sign)

    def logits(kept: np.ndarray) -> np.ndarray:
        masks = torch.from_numpy(np.asarray(kept, dtype=np.float32))
        batch = max(1, min(16, OCCLUSION_COLUMNS // view.point.shape[-1]))
        with torch.inference_mode():
            found = [logit(view.baseline + rows * (view.point - view.baseline)) for rows in masks.split(batch)]
        return torch.cat(found).double().numpy()

    return Masking(view.times_s, view.bands_hz, view.baseline_name, logits, target.unit, target.sign)


def feature_masking(model: SpeechModel, recording: Recording, target: Target) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the target's calibrated logit for sets of named features that are kept.

    It takes (masks, features) from 0 (the baseline's value) to 1 (as it is) and returns (masks,).

    Raises:
        ExplanationError: the target is not one of the model's.
    """
    index, against, sign = _indices(model, target)
    samples = torch.from_numpy(np.array(recording.samples, dtype=np.float32))[None]
    view = view_of(model, samples)
    logit = Logit(model.network, view.decode, index, against, None, sign)

    def logits(kept: np.ndarray) -> np.ndarray:
        masks = torch.from_numpy(np.asarray(kept, dtype=np.float32))
        with torch.inference_mode():
            return logit(view.baseline + masks * (view.point - view.baseline)).double().numpy()

    return logits


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
    column, inside = nearest(attribution.times_s, np.asarray(times_s))
    if attribution.bands_hz is None:
        return np.where(inside, attribution.relevance[column], np.nan)
    if hz is None:
        raise ExplanationError("This attribution has a frequency axis; give the rows' frequencies in Hz as well.")
    row, within = nearest(attribution.bands_hz, np.asarray(hz))
    return np.where(within[:, None] & inside, attribution.relevance[np.ix_(row, column)], np.nan)


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
        return f"{target.unit} of a dimension, {target.direction}"
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
    tensors = itertools.chain(model.network.parameters(), model.network.buffers())
    shared = {} if own_weights else {id(tensor): tensor for tensor in tensors}
    return copy.deepcopy(model.network, shared)
