"""The attribution methods, each over a view of a clip: what Captum offers, and what it takes to trust the result."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from explain.shapley import sets_of_players, shapley_values
from explain.views import Cells, Logit, View, column_times, same
from ser_core.errors import ExplanationError
from ser_core.models import SpeechModel
from ser_core.numbers import rounded_percent

GRADIENT_BATCH, GRADIENT_S = 4, 40.0
PART_POINTS = 4
OCCLUSION_COLUMNS = 10_000
BOX_S, BOX_ROWS, MOST_BOX_COLUMNS = 0.3, 4, 15


@dataclass(frozen=True)
class Options:
    """The settings of ``attribute`` that a method may read."""

    seed: int
    tolerance: float
    max_steps: int
    noise: float
    window_bands: int | None
    max_windows: int | None
    permutations: int
    sets_per_box: int
    cells: Cells | None


@dataclass(frozen=True, eq=False)
class Task:
    """What a method is asked: the explained logit of a model, the clip as it is seen, and the settings."""

    model: SpeechModel
    logit: Logit
    view: View
    options: Options


@dataclass(frozen=True, eq=False)
class Found:
    """Relevance of a view's point; ``view`` replaces the view where relevance lands elsewhere."""

    relevance: Tensor
    completeness_error: float | None = None
    steps: int | None = None
    settings: dict = field(default_factory=dict)
    view: View | None = None


def _completeness(logit: Logit, view: View) -> tuple[float, Callable[[Tensor], float]]:
    """Return target(point) − target(baseline), and the function from relevance to its completeness error."""
    with torch.no_grad():
        difference = float((logit(view.point).double() - logit(view.baseline).double())[0])

    def error(relevance: Tensor) -> float:
        return abs(float(relevance.detach().double().sum()) - difference) / max(abs(difference), logit.smallest)

    return difference, error


def _at_once(view: View) -> int:
    """Return how many points of a path go through the network together; of long clips fewer, as memory is shared."""
    seconds = 0.0 if view.times_s is None else float(view.times_s[-1] - view.times_s[0])
    return max(1, min(GRADIENT_BATCH, int(GRADIENT_S / max(1.0, seconds))))


def _saliency(task: Task) -> Found:
    from captum.attr import Saliency

    slope = Saliency(task.logit).attribute(task.view.point.clone().requires_grad_())
    return Found(slope if slope.ndim < 4 else slope.square().sum(-1).sqrt())


def _input_x_gradient(task: Task) -> Found:
    from captum.attr import InputXGradient

    logit, view = task.logit, task.view
    # Seen from the baseline, the baseline is zero: Captum then multiplies by the distance from it.
    distance = (view.point - view.baseline).requires_grad_()
    return Found(InputXGradient(lambda moved: logit(view.baseline + moved)).attribute(distance))


def _integrated_gradients(task: Task) -> Found:
    from captum.attr import IntegratedGradients

    logit, view = task.logit, task.view

    def place(share: float) -> Tensor:
        return view.baseline + share * (view.point - view.baseline)

    def value(share: float) -> float:
        return float(logit(place(share)).double()[0])

    def gradients(start: float, end: float, points: int) -> Tensor:
        found = IntegratedGradients(logit).attribute(
            place(end).requires_grad_(),
            baselines=place(start),
            n_steps=points,
            method="gausslegendre",
            internal_batch_size=_at_once(view),
        )
        return found.detach()

    return _along_the_path(task, value, gradients)


def _gradient_shap(task: Task, draws: int = 8) -> Found:
    # Captum's GradientShap draws from the process-wide generators, so threads change each other's results; it cannot
    # limit its batch either. Here a clip has its own generator, and places on the path are Gauss–Legendre's instead of
    # random ones, which needs a tenth of the gradients for the same expectation.
    logit, view = task.logit, task.view
    generator = torch.Generator().manual_seed(task.options.seed)
    spread = task.options.noise * float((view.point - view.baseline).abs().mean())
    shape = (draws, *view.baseline.shape[1:])
    baselines = view.baseline + spread * torch.randn(shape, generator=generator)
    deck: list[int] = []

    def value(share: float) -> float:
        starts = baselines if share < 1 else baselines[:1]  # all paths end in the clip
        places = starts + share * (view.point - starts)
        return float(torch.cat([logit(rows) for rows in places.split(_at_once(view))]).double().mean())

    def gradients(start: float, end: float, points: int) -> Tensor:
        nodes, weights = (torch.from_numpy(each).float() for each in np.polynomial.legendre.leggauss(points))
        column = (-1, *[1] * (view.point.ndim - 1))
        shares = (start + (end - start) * (1 + nodes) / 2).reshape(column)
        weights = ((end - start) * weights / 2).reshape(column)
        if len(deck) < points:  # no draw comes again before all have come
            deck[:] = torch.randperm(draws, generator=generator).tolist()
        starts = baselines[[deck.pop() for _ in range(points)]]
        relevance = torch.zeros_like(view.point)
        for rows in torch.arange(points).split(_at_once(view)):
            distance = view.point - starts[rows]
            places = (starts[rows] + shares[rows] * distance).requires_grad_()
            slope = torch.autograd.grad(logit(places).sum(), places)[0]
            relevance += (weights[rows] * slope * distance).sum(0, keepdim=True)
        return relevance

    found = _along_the_path(task, value, gradients, rows=draws)
    return replace(
        found, settings={"seed": task.options.seed, "baseline_draws": draws, "noise": spread} | found.settings
    )


def _along_the_path(
    task: Task, value: Callable[[float], float], gradients: Callable[[float, float, int], Tensor], rows: int = 1
) -> Found:
    """Return the relevance of gradients from the baseline to the clip, refined until it adds up.

    What a part of the path should add up to is known, so only the parts that miss are cut finer, and no pass is made
    in vain.

    Args:
        task: its tolerance and most points are kept to.
        value: the target at a share of the way.
        gradients: relevance of the way from one share to another, by that many points.
        rows: of a value that go through the network.
    """
    logit, options = task.logit, task.options
    points = min(PART_POINTS, options.max_steps)

    def at(share: float) -> tuple[float, float]:
        with torch.no_grad():
            return share, value(share)

    def part(start: tuple[float, float], end: tuple[float, float]) -> _Part:
        relevance = gradients(start[0], end[0], points)
        return _Part(start, end, relevance, float(relevance.double().sum()) - (end[1] - start[1]))

    logit.plan(0.0, 0.5, 2 * points + 2 * rows + 1)
    start, end = at(0.0), at(1.0)
    difference = end[1] - start[1]
    scale = max(abs(difference), logit.smallest)
    parts = [part(start, end)] if options.max_steps < 2 * points else _halves(start, end, at, part)
    while not _adds_up(parts, scale, options.tolerance) and (len(parts) + 1) * points <= options.max_steps:
        logit.plan(logit.high, (1 + logit.high) / 2, 2 * points + rows)
        worst = max(parts, key=lambda p: abs(p.missed))
        parts.remove(worst)
        parts += _halves(worst.start, worst.end, at, part)
    settings = {
        "quadrature": f"Gauss–Legendre, {points} points on each part of the path; parts that miss most are halved",
        "parts": len(parts),
        "difference": difference,
        "tolerance": options.tolerance,
    }
    relevance = torch.stack([p.relevance for p in parts]).sum(0)
    return Found(relevance, abs(sum(p.missed for p in parts)) / scale, len(parts) * points, settings)


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
    at: Callable[[float], tuple[float, float]],
    part: Callable[[tuple[float, float], tuple[float, float]], _Part],
) -> list[_Part]:
    middle = at((start[0] + end[0]) / 2)
    return [part(start, middle), part(middle, end)]


def _deeplift(task: Task) -> Found:
    from captum.attr import DeepLift

    logit, view, tolerance = task.logit, task.view, task.options.tolerance
    difference, error = _completeness(logit, view)
    relevance = DeepLift(logit).attribute(view.point.clone().requires_grad_(), baselines=view.baseline)
    if error(relevance) > tolerance:
        raise ExplanationError(
            f"DeepLIFT does not add up for this clip: its completeness error is {rounded_percent(error(relevance))}, "
            f"more than {rounded_percent(tolerance)}; use Integrated Gradients instead."
        )
    return Found(relevance, error(relevance), None, {"difference": difference, "tolerance": tolerance})


def _lrp(task: Task, gamma: float = 0.25) -> Found:
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
    return Found(relevance, settings={"rules": rules})


def _grad_cam(task: Task) -> Found:
    from captum.attr import LayerGradCam

    model, logit, view = task.model, task.logit, task.view
    name = model.gradcam_layers[-1]
    layer = logit.network.get_submodule(name)
    with torch.no_grad():
        inputs = view.decode(view.point)
    on_inputs = Logit(logit.network, same, logit.index, logit.against, None, logit.sign)
    relevance = LayerGradCam(on_inputs, layer).attribute(inputs.clone().requires_grad_())
    columns, rows = layer_places(logit.network, name, inputs)
    times_s = column_times(model, view.first_s, columns)
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
    return Found(relevance, settings=settings, view=placed)


def layer_places(network: nn.Module, name: str, inputs: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Return where the cells of a layer's output sit: indices of input columns and, of a 2-d layer, of input rows.

    Padding and stride shift the cells, so what a cell sees is asked of a copy whose kernels weigh all their places
    alike: its gradient is a bell about the cell's centre, whatever was learned.

    Args:
        network: whose layer it is.
        name: the layer's.
        inputs: (1, …, rows, columns) that the network takes.
    """
    generator = torch.Generator().manual_seed(0)
    even = copy.deepcopy(network).requires_grad_(False)
    with torch.no_grad():
        for module in even.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                channels = 0.5 + torch.rand(module.weight.shape[:2], generator=generator)
                module.weight.copy_(channels.reshape(*channels.shape, *[1] * (module.weight.ndim - 2)))
                module.weight.div_(module.weight[0].numel())
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_parameters()
    seen: list[Tensor] = []
    even.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    probe = (1 + 0.01 * torch.rand(inputs.shape, generator=generator)).requires_grad_()
    even(probe)
    output = seen[0]
    return _axis_places(output, probe, -1), _axis_places(output, probe, -2) if output.ndim == 4 else None


def _axis_places(output: Tensor, probe: Tensor, axis: int) -> np.ndarray:
    """Return the centres of all cells: those of the cells that see no edge, and the line through them."""
    cells, size = output.shape[axis], probe.shape[axis]
    others = [dim for dim in range(probe.ndim) if dim != probe.ndim + axis]
    centres, widths, looked = [], [], np.unique(np.linspace(0, cells - 1, 12).astype(int))
    for cell in looked.tolist():
        slope = torch.autograd.grad(output.select(axis, cell).sum(), probe, retain_graph=True)[0]
        weight = slope.abs().sum(others).double().numpy()
        high = np.flatnonzero(weight >= 0.5 * weight.max())
        centres.append(float(np.average(high, weights=weight[high])))
        widths.append(int(high[-1] - high[0]))
    # At an edge part of the bell is lost, and with it mostly part of its width.
    whole = np.array(widths) == max(widths)
    if whole.sum() < 2 or max(widths) == size - 1:
        return (np.arange(cells) + 0.5) * size / cells - 0.5
    place, centre = looked[whole], np.array(centres)[whole]
    stride = round(2 * float(np.median(np.diff(centre) / np.diff(place)))) / 2
    first = round(2 * float(np.median(centre - stride * place))) / 2
    return np.arange(cells) * stride + first


def _feature_ablation(task: Task) -> Found:
    from captum.attr import FeatureAblation

    logit, view = task.logit, task.view
    logit.plan(0.0, 1.0, view.point.shape[-1])
    with torch.no_grad():
        return Found(FeatureAblation(logit).attribute(view.point, baselines=view.baseline, perturbations_per_eval=64))


def _shapley_sampling(task: Task) -> Found:
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
    return Found(relevance, error(relevance), None, settings)


def _shapley_boxes(task: Task) -> Found:
    logit, view, cells, seed = task.logit, task.view, task.options.cells, task.options.seed
    assert cells is not None
    difference, error = _completeness(logit, view)
    every = _boxes(view.point, cells.step_s)
    distance = torch.bincount(every.flatten(), weights=(view.point - view.baseline)[0].abs().flatten())
    holds = distance > 0 if distance.any() else distance == 0
    # A box that holds nothing to take away adds nothing, whoever plays with it, so it need not be asked about.
    boxes = (holds.cumsum(0) - 1).clamp(min=0)[every]
    sizes = torch.bincount(boxes[holds[every]])
    most = 2 * math.ceil(task.options.sets_per_box * len(sizes) / 2)
    kept = sets_of_players(len(sizes), most, torch.Generator().manual_seed(seed))
    logit.plan(0.0, 1.0, len(kept))
    with torch.no_grad():
        answers = torch.cat(
            [
                logit(torch.where(some[:, boxes].bool(), view.point, view.baseline))
                for some in kept.split(_masked_at_once(view))
            ]
        )
    found = shapley_values(kept, answers)
    # Spread evenly over a box, so that the map adds up.
    relevance = torch.where(holds[every], (found.values / sizes)[boxes], 0.0)[None]
    settings = {
        "seed": seed,
        "boxes": len(sizes),
        "box_s": view.point.shape[-1] * cells.step_s / (int(every[0].max()) + 1),
        "sets": len(kept),
        "box_uncertainty": 1.96 * found.scatter,
        "largest_box": float(found.values.abs().max()),
        "difference": difference,
    }
    return Found(relevance, error(relevance), None, settings)


def _boxes(point: Tensor, step_s: float) -> Tensor:
    """Return the number of the box (rows, columns), from 0, that each cell of a point (1, rows, columns) lies in."""
    _, rows, columns = point.shape
    across = min(columns, max(2, min(MOST_BOX_COLUMNS, round(columns * step_s / BOX_S))))
    high = min(rows, BOX_ROWS)
    return (torch.arange(rows) * high // rows)[:, None] * across + torch.arange(columns) * across // columns


def _masked_at_once(view: View) -> int:
    """Return how many masked copies of a clip go through the network together."""
    return 1 if view.point.ndim == 2 else max(1, min(16, OCCLUSION_COLUMNS // view.point.shape[-1]))


def _occlusion(task: Task) -> Found:
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
            perturbations_per_eval=_masked_at_once(view),
        )
    settings = cells.settings | {"window_s": wide * cells.step_s, "windows": count, "stride": "half a window"}
    if view.point.ndim == 3:
        settings["window_bands"] = high
    return Found(relevance, settings=settings)


def _count(size: int, window: int) -> int:
    return math.ceil((size - window) / max(1, window // 2)) + 1


COMPUTE: dict[str, Callable[[Task], Found]] = {
    "saliency": _saliency,
    "input_x_gradient": _input_x_gradient,
    "integrated_gradients": _integrated_gradients,
    "gradient_shap": _gradient_shap,
    "deeplift": _deeplift,
    "lrp": _lrp,
    "shapley_boxes": _shapley_boxes,
    "occlusion": _occlusion,
    "grad_cam": _grad_cam,
    "feature_ablation": _feature_ablation,
    "shapley_sampling": _shapley_sampling,
}
