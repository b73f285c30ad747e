"""Does a model know when it does not know? Accuracy among its surest and its least sure answers.

Clips are dealt into equal parts by the entropy of the model's probabilities. ``python -m ser_core results`` stores the
table of the studies of ``STORED``, one row a variant and part.
"""

import numpy as np
import pandas as pd

from ser_core.files import write_table
from ser_core.metrics import speaker_bootstrap
from ser_core.results import RESULTS, labels_of

TABLE = RESULTS / "uncertainty.csv"
STORED = ("mater-levels.crema_d", "mater-levels-urdu.urdu")
"""Studies, with their corpora, whose answers are weighed by how sure they are."""


def accuracy_by_entropy(rows: pd.DataFrame, *, parts: int = 4, replicates: int = 10_000) -> pd.DataFrame:
    """Return accuracy in parts of equal size, from the surest answers to the least sure.

    Args:
        rows: predictions "emotion" of one variant, as ``results`` describes them.
        parts: how many.
        replicates: of the bootstrap over speakers.

    Returns:
        part (1 is the surest), clips, entropy_bits (highest of the part), accuracy, low, high (95 %, over speakers).
    """
    labels = labels_of(rows)
    p = rows[[f"p_{label}" for label in labels]].to_numpy(dtype=float)
    bits = -(p * np.log2(np.maximum(p, 1e-12))).sum(1)
    correct = np.array(labels)[p.argmax(1)] == rows["emotion"].to_numpy()
    part = np.empty(len(rows), dtype=int)
    part[np.argsort(bits, kind="stable")] = np.arange(len(rows)) * parts // len(rows)
    _, who = np.unique(rows["speaker"].to_numpy(dtype=str), return_inverse=True)
    counts = np.zeros((who.max() + 1, parts, 2))
    np.add.at(counts, (who, part), np.stack([correct, np.ones(len(rows))], axis=1))
    found = []
    for number in range(parts):
        inside = counts[:, number]
        low, high = speaker_bootstrap(inside, _share, replicates=replicates)
        found.append(
            {
                "part": number + 1,
                "clips": int(inside[:, 1].sum()),
                "entropy_bits": float(bits[part == number].max()),
                "accuracy": float(_share(inside.sum(0))),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(found)


def _share(sums: np.ndarray) -> np.ndarray:
    """Return right answers over all, NaN where a draw of speakers holds no clip of the part."""
    right, total = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    return np.divide(right, total, out=np.full(np.shape(total), np.nan), where=total > 0)


def write() -> None:
    """Store the table of every study of ``STORED`` that has been run: study, task, variant, and the parts' columns."""
    found = []
    for stored in STORED:
        path = RESULTS / f"{stored}.parquet"
        if path.exists():
            study, task = stored.rsplit(".", 1)
            for variant, rows in pd.read_parquet(path).groupby("variant", sort=False):
                found.append(accuracy_by_entropy(rows).assign(study=study, task=task, variant=variant))
    if found:
        write_table(pd.concat(found, ignore_index=True).round(4), TABLE)
