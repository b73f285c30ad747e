"""What a reader may have opened, made up for tests of reports and exports."""

import numpy as np
from explanations import EMOTIONS

from explain.attribution import Target
from explain.intervention import EXPERIMENTS, DoseResponse
from explain.opened import Opened, Section, Table
from explain.removal import Curve
from explain.trust import Trust
from explain.verdicts import against, undecided


def example_trust() -> Trust:
    """Return a verdict of four tests, one of them undecided."""
    null = np.linspace(-1, 1, 39)
    tests = (
        against("deletion", 2.0, "logit", null, "taking the 3 salient regions away lowers the logit by +2.00."),
        against("insertion", 0.1, "logit", null, "the 3 salient regions alone raise the logit by +0.10."),
        against("infidelity", 0.3, "squared logit", null + 1, "removing 40 boxes is foretold.", smaller_is_better=True),
        undecided("randomised weights", "rank correlation", "The clip is too short to turn its map in time."),
    )
    curves = (
        Curve("deletion", (1.0, 0.2, -1.0), (1.0, 0.8, 0.7), (1.0, 0.5, 0.4), (1.0, 1.1, 1.2)),
        Curve("insertion", (-2.0, -1.9, -1.9), (-2.0, -1.95, -1.8), (-2.0, -2.2, -2.0), (-2.0, -1.7, -1.6)),
    )
    return Trust("planted", "integrated_gradients", Target("anger"), tests, curves)


def example_experiment(name: str = "pitch_level", start_s: float | None = 0.5) -> DoseResponse:
    """Return an experiment whose answer turns from anger into disgust just above the unchanged dose."""
    kind = EXPERIMENTS[name]
    doses = np.array(kind.doses, dtype=float)
    first = np.linspace(0.75, 0.1, len(doses))
    rest = np.full((len(doses), len(EMOTIONS) - 2), 0.05)
    probabilities = np.column_stack([first, 1 - first - rest.sum(1), rest])
    measured = doses + 0.013
    measured[0] = np.nan
    return DoseResponse(
        kind,
        start_s,
        None if start_s is None else 0.9,
        "anger",
        EMOTIONS,
        doses,
        probabilities,
        probabilities[3] + 0.01,
        measured,
        (),
    )


def example_opened(outside: str = "") -> Opened:
    """Return all parts, with ``outside`` put wherever text may come from a user."""
    table = Table(
        ("model", "answer"), ((f"{outside}ResNet", "anger 62 %"), ("Whisper", "fear 40 %")), f"Answers{outside}"
    )
    section = Section(f"Comparison of two models{outside}", (f"Both answer anger.{outside}", "Maps differ."), (table,))
    return Opened(example_trust(), (example_experiment(), example_experiment("loudness", None)), (section,))
