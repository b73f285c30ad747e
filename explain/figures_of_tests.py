"""Vector figures of what was opened beside the explanation: removal curves and the answer against the dose."""

from typing import TYPE_CHECKING

from explain.figures import BLUE, GREY, INK, VERMILION, new_figure, svg_of, text_style
from explain.intervention import DoseResponse
from explain.removal import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))


def removals(curves: tuple[Curve, ...], of: str, unit: str = "logit") -> str:
    """Return SVG of the explained ``unit`` as the salient regions or features (``of``) go or come, against chance."""
    figure = new_figure(6.85, 2.3)
    places = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, curve, colour in zip(places, curves, (VERMILION, BLUE), strict=False):
        steps = range(len(curve.ours))
        axes.fill_between(steps, curve.random_low, curve.random_high, color=GREY, alpha=0.3, linewidth=0)
        axes.plot(
            steps,
            curve.random,
            color=GREY,
            linestyle=":",
            linewidth=1.2,
            label=f"random {'places' if of == 'regions' else of}",
        )
        axes.plot(steps, curve.ours, color=colour, linewidth=1.8, marker="o", markersize=3, label=f"salient {of}")
        axes.set_xticks(list(steps))
        what = f"{of} taken away" if curve.name == "deletion" else f"{of} put in"
        axes.set_xlabel(what, **text_style(8))
        axes.set_title(curve.name, loc="left", **text_style(8))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7, width=0.5, length=2.5, labelfontfamily=text_style(7)["fontfamily"])
        axes.legend(frameon=False, prop={"family": text_style(7)["fontfamily"], "size": 7})
    places[0].set_ylabel(unit, **text_style(8))
    return svg_of(figure, bbox_inches="tight", pad_inches=0.02)


def doses(found: DoseResponse) -> str:
    """Return SVG of every class's probability against the dose, with the untouched clip and the point of decision."""
    figure = new_figure(6.85, 2.5)
    axes = figure.add_subplot()
    ends = []
    for place, emotion in enumerate(found.emotions):
        main = emotion == found.emotion
        curve = found.probabilities[:, place]
        axes.plot(
            found.doses,
            curve,
            color=BLUE if main else INK,
            linewidth=2.0 if main else 0.8,
            linestyle="-" if main else _LINES[place % len(_LINES)],
            marker="o" if main else None,
            markersize=3,
        )
        ends.append((float(curve[-1]), emotion, main))
    _names(axes, sorted(ends), float(max(found.doses)))
    original = float(found.original[found.emotions.index(found.emotion)])
    axes.axhline(original, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    if (turn := found.turning_point) is not None:
        axes.axvline(turn[0], color=VERMILION, linewidth=1.0, linestyle=":")
        axes.annotate(f"becomes {turn[1]}", (turn[0], 1.01), ha="center", **text_style(7), color=VERMILION)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"{found.experiment.title}, {found.experiment.unit}", **text_style(8))
    axes.set_ylabel("probability", **text_style(8))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7, width=0.5, length=2.5, labelfontfamily=text_style(7)["fontfamily"])
    return svg_of(figure, bbox_inches="tight", pad_inches=0.02)


def _names(axes: "Axes", ends: list[tuple[float, str, bool]], last: float) -> None:
    """Write each class's name at the end of its curve, moved up where two would overlap."""
    height = -1.0
    for value, emotion, main in ends:
        height = max(value, height + 0.075)
        axes.annotate(
            emotion,
            (last, height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            fontweight="bold" if main else "normal",
            parse_math=False,
            **text_style(7),
            color=BLUE if main else INK,
        )
