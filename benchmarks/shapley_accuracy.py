"""How near the Shapley values of boxes come: ``python -m benchmarks.shapley_accuracy --corpus FOLDER [--model …]``.

Of held-out clips of CREMA-D, two draws with the app's number of sets are compared with one another and with a reference
of so many more, beside Captum's KernelShap (least squares) over the same boxes with as many sets.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from captum.attr import KernelShap
from scipy.stats import spearmanr

from explain.attribution import Attribution, Masking, attribute, default_target, masking
from explain.study_clips import in_turn
from ser_core.audio import read
from ser_core.registry import load_model, model_names
from ser_core.tasks import CREMA_D

REFERENCE = 60
SEEDS = (0, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of CREMA-D")
    parser.add_argument("--model", nargs="+", default=[model_names()[0]], help="default: the first bundled")
    parser.add_argument("--count", type=int, default=10, help="clips; default 10")
    chosen = parser.parse_args(arguments)
    clips = in_turn(chosen.corpus, CREMA_D.emotions, chosen.count)
    print(
        "rank correlation of two draws, of a draw with the reference; root mean square error, as a share of the spread"
    )
    print("of the boxes' values; boxes within the 95 % that a map states (means over clips)")
    for name in chosen.model:
        model = load_model(name)
        ours, captums, within = [], [], []
        for number, clip in enumerate(clips):
            recording = read(clip.file)
            target = default_target(model.predict(recording))
            draws = [attribute(model, recording, target, "shapley_boxes", seed=seed) for seed in SEEDS]
            most = attribute(model, recording, target, "shapley_boxes", seed=len(SEEDS), sets_per_box=REFERENCE)
            every, values = by_box([*draws, most])
            ours.append(compared(values[:-1], values[-1]))
            within.append(
                np.mean(
                    [
                        np.abs(value - values[-1]) <= draw.settings["box_uncertainty"]
                        for value, draw in zip(values[:-1], draws, strict=True)
                    ]
                )
            )
            cells = masking(model, recording, target)
            plain = [least_squares(cells, every, draw.settings["sets"], seed) for seed, draw in enumerate(draws)]
            captums.append(compared(np.array(plain), values[-1]))
            print(f"{name}: {number + 1} of {len(clips)} clips", end="\r", flush=True)
        for label, found in (("Gaussian process", ours), ("Captum's KernelShap", captums)):
            between, near, error = np.mean(found, axis=0)
            print(f"{name:26} {label:20} {between:5.2f} {near:5.2f} {error:5.2f}", end="")
            print(f" {100 * np.mean(within):4.0f} %" if found is ours else "", flush=True)


def by_box(maps: Sequence[Attribution]) -> tuple[np.ndarray, np.ndarray]:
    """Return each cell's box (bands, columns) and the values (maps, boxes): cells of one box are alike in every map."""
    stacked = np.stack([each.relevance for each in maps], axis=-1)
    kinds, every, sizes = np.unique(stacked.reshape(-1, len(maps)), axis=0, return_inverse=True, return_counts=True)
    return every.reshape(stacked.shape[:2]), (kinds * sizes[:, None]).T


def least_squares(cells: Masking, every: np.ndarray, sets: int, seed: int) -> np.ndarray:
    """Return Captum's values (boxes,) from so many sets."""
    boxes = int(every.max()) + 1
    torch.manual_seed(seed)
    shap = KernelShap(lambda kept: torch.from_numpy(cells.logits(kept.numpy()[:, every])))
    found = shap.attribute(
        torch.ones(1, boxes), baselines=torch.zeros(1, boxes), n_samples=sets, perturbations_per_eval=16
    )
    return found[0].numpy()


def compared(draws: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Return how draws (2, boxes) rank alike, how they rank as the reference (boxes,), and how far they are off."""
    between = spearmanr(*draws).statistic
    near = np.mean([spearmanr(draw, reference).statistic for draw in draws])
    return between, near, float(np.sqrt(np.mean((draws - reference) ** 2)) / reference.std())


if __name__ == "__main__":
    main()
