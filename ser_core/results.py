"""Figures from stored predictions: one row a clip, in ``assets/results/<what>.<task>.parquet``.

Columns: clip, speaker, emotion, fold; for a study also variant and seed. By kind of answer:

- "emotion": probabilities ``p_<emotion>``;
- "distribution": predicted shares ``p_<emotion>`` and those of the listeners ``t_<emotion>``;
- "dimensions": predicted values ``d_<dimension>`` and rated ones ``t_<dimension>``, from −1 to 1.

Every figure has a 95 % interval over speakers; with several seeds the seeds' answers to a clip belong to its speaker.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_core import metrics
from ser_core.bundled import PLANS
from ser_core.cards import read_card, write_card
from ser_core.distributions import MEASURES, evaluate_distributions, mean_of
from ser_core.errors import CorpusError
from ser_core.files import write_table
from ser_core.metrics import Interval
from ser_core.models import Card, Figure
from ser_core.settings import ASSETS
from ser_core.tasks import TASKS

RESULTS = ASSETS / "results"
SUMMARY = "summary.csv"
STAGED = "noise-robustness"
"""The study whose variants are stages, each built on the one before."""
CHANGES: dict[str, metrics.Statistic] = {
    "UAR": metrics.uar,
    "WA": metrics.weighted_accuracy,
    "macro-F1": metrics.macro_f1,
}
"""Measures of a confusion matrix whose change between two tables has an interval."""


def kind_of(rows: pd.DataFrame) -> str:
    """Return the kind of answer that a table of predictions holds."""
    if any(str(column).startswith("d_") for column in rows):
        return "dimensions"
    return "distribution" if any(str(column).startswith("t_") for column in rows) else "emotion"


def labels_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of a table's outputs, in the order of its columns."""
    start = "d_" if kind_of(rows) == "dimensions" else "p_"
    return tuple(str(column)[2:] for column in rows if str(column).startswith(start))


def figures(rows: pd.DataFrame, answer: str, labels: Sequence[str], *, replicates: int = 10_000) -> dict[str, Interval]:
    """Return every figure of a table of predictions, the one to judge by first.

    Args:
        rows: see above.
        answer: kind of answer.
        labels: outputs in their order.
        replicates: of the bootstrap over speakers.
    """
    speakers = rows["speaker"].tolist()
    if answer == "dimensions":
        return {
            f"CCC {label}": metrics.concordance(
                rows[f"t_{label}"].to_numpy(), rows[f"d_{label}"].to_numpy(), speakers, replicates=replicates
            )
            for label in labels
        }
    given = rows[[f"p_{label}" for label in labels]].to_numpy(dtype=float)
    if answer == "distribution":
        wanted = rows[[f"t_{label}" for label in labels]].to_numpy(dtype=float)
        found: dict[str, Interval] = evaluate_distributions(wanted, given, speakers, replicates=replicates)
        return found
    truth = rows["emotion"].tolist()
    answers = [labels[i] for i in given.argmax(1)]
    measured = metrics.evaluate(truth, answers, speakers, labels, replicates=replicates)
    measured["ECE"] = metrics.calibration_error(truth, given, speakers, labels, replicates=replicates)
    return measured


def card_figures(
    rows: pd.DataFrame, answer: str, labels: Sequence[str], split: str, command: str
) -> tuple[Figure, ...]:
    """Return a card's figures from stored predictions."""
    return tuple(
        Figure(name, m.value, m.low, m.high, m.baseline, m.chance, split, command)
        for name, m in figures(rows, answer, labels).items()
    )


def refresh_cards() -> None:
    """Rebuild every bundled card: its words from its plan, its figures from its stored out-of-fold predictions."""
    for card in bundled_cards():
        stored = sorted(RESULTS.glob(f"{card.name}.*.parquet"))
        if stored and card.figures and card.name in PLANS:
            rows, command = pd.read_parquet(stored[0]), card.figures[0].command
            fresh = card_figures(rows, card.answer, card.emotions, card.split, command)
            folder = ASSETS / "models" / card.name
            plan = PLANS[card.name]
            extra = card.extra | {"place": plan.place}
            write_card(folder, Card(**(vars(card) | plan.words | {"figures": fresh, "extra": extra})))


def bundled_cards() -> tuple[Card, ...]:
    """Return the cards of the bundled models, by name."""
    return tuple(read_card(path.parent) for path in sorted((ASSETS / "models").glob("*/card.json")))


def read_study(name: str) -> pd.DataFrame:
    """Return the stored predictions of a study or model, such as "mll.ravdess".

    Raises:
        CorpusError: there is no such table.
    """
    path = RESULTS / f"{name}.parquet"
    if not path.exists():
        at_hand = ", ".join(sorted(file.stem for file in RESULTS.glob("*.parquet")))
        raise CorpusError(f"There are no stored results '{name}'; at hand are {at_hand or 'none'}.")
    return pd.read_parquet(path)


def by_variant(rows: pd.DataFrame, *, replicates: int = 10_000, staged: bool = False) -> pd.DataFrame:
    """Return each variant's figures: variant, seeds, clips, speakers, measure, value, low, high, baseline, chance.

    Variants keep the order of the rows; their first is the plain one. ``change``, ``change_low`` and ``change_high``
    are the difference from it, with the interval of the difference over the speakers that both answered for. Where each
    variant adds to the one before it (``staged``), ``step``, ``step_low`` and ``step_high`` are the same from that one.
    """
    answer, labels = kind_of(rows), labels_of(rows)
    found = []
    parts = {str(name): part for name, part in rows.groupby("variant", sort=False)}
    names = list(parts)
    for place, (name, part) in enumerate(parts.items()):
        for measure, m in figures(part, answer, labels, replicates=replicates).items():
            change = step = Interval(float("nan"), float("nan"), float("nan"))
            if place and measure in changes_of(answer, labels):
                change = paired_change(parts[names[0]], part, measure, replicates=replicates)
                step = paired_change(parts[names[place - 1]], part, measure, replicates=replicates) if staged else step
            found.append(
                {
                    "variant": name,
                    "seeds": part["seed"].nunique(),
                    "clips": part["clip"].nunique(),
                    "speakers": part["speaker"].nunique(),
                    "measure": measure,
                    **{field: getattr(m, field) for field in ("value", "low", "high", "baseline", "chance")},
                    "change": change.value,
                    "change_low": change.low,
                    "change_high": change.high,
                    **({"step": step.value, "step_low": step.low, "step_high": step.high} if staged else {}),
                }
            )
    return pd.DataFrame(found)


def paired_change(
    before: pd.DataFrame, after: pd.DataFrame, measure: str = "UAR", *, replicates: int = 10_000, seed: int = 0
) -> Interval:
    """Return after − before of a measure of ``changes_of``, with its interval over the same resampled speakers.

    Args:
        before: predictions of one variant, any number of seeds.
        after: of the other, over the same speakers.
        measure: such as "UAR", "KL" or "CCC valence".
        replicates: of the bootstrap.
        seed: of its draws.

    Raises:
        CorpusError: the two tables are not of the same speakers.
    """
    statistic = changes_of(kind_of(before), labels_of(before))[measure]
    if set(before["speaker"]) != set(after["speaker"]):
        raise CorpusError("A change is measured on the same speakers; the two tables differ in theirs.")
    pair = [_tensors(rows, measure) for rows in (before, after)]
    tensors = np.stack(pair, axis=-1)  # the two variants last, so that both see the same draws of speakers

    def change(sums: np.ndarray) -> np.ndarray:
        return statistic(sums[..., 1]) - statistic(sums[..., 0])

    low, high = metrics.speaker_bootstrap(tensors, change, replicates=replicates, seed=seed)
    return Interval(float(change(tensors.sum(axis=0))), low, high, baseline=0.0, chance=0.0)


def changes_of(answer: str, labels: Sequence[str]) -> dict[str, metrics.Statistic]:
    """Return the measures of a kind of answer whose change has an interval, as functions of summed tensors."""
    if answer == "dimensions":
        return {f"CCC {label}": metrics.concordance_of for label in labels}
    if answer == "distribution":
        return dict.fromkeys(MEASURES, mean_of)
    return CHANGES


def _tensors(rows: pd.DataFrame, measure: str) -> np.ndarray:
    """Return what each speaker adds to a measure of ``changes_of``, (speakers, …)."""
    speakers = rows["speaker"].tolist()
    if kind_of(rows) == "dimensions":
        label = measure.removeprefix("CCC ")
        return metrics.speaker_moments(rows[f"t_{label}"].to_numpy(), rows[f"d_{label}"].to_numpy(), speakers)
    labels = labels_of(rows)
    given = rows[[f"p_{label}" for label in labels]].to_numpy()
    if kind_of(rows) == "distribution":
        values = MEASURES[measure](rows[[f"t_{label}" for label in labels]].to_numpy(), given)
        return metrics.speaker_sums(np.stack([np.ones(len(values)), values], axis=1), speakers)
    answers = [labels[i] for i in given.argmax(1)]
    return metrics.speaker_confusions(rows["emotion"].tolist(), answers, speakers, labels)


def summary() -> pd.DataFrame:
    """Return every figure of every stored table of predictions, as ``by_variant``, with table, task, answer, condition.

    A model's own table has one variant, "model", and one seed. Conditions are ``noise`` and ``snr_db`` in words,
    such as "babble, 10 dB"; empty where a table has none.
    """
    parts = []
    for path in sorted(RESULTS.glob("*.*.parquet")):
        rows = pd.read_parquet(path)
        rows = rows if "variant" in rows else rows.assign(variant="model", seed=0)
        table, task = path.stem.rsplit(".", 1)
        for condition, part in rows.groupby(_condition(rows), sort=False):
            measured = by_variant(part, staged=table == STAGED)
            parts.append(measured.assign(table=table, task=task, answer=kind_of(rows), condition=condition))
    found = pd.concat(parts, ignore_index=True)
    first = ["table", "task", "answer", "condition"]
    return found[[*first, *[column for column in found if column not in first]]]


def _condition(rows: pd.DataFrame) -> pd.Series:
    words = pd.Series("", index=rows.index)
    if "noise" in rows:
        words = rows["noise"].astype(str)
    if "snr_db" in rows:
        level = rows["snr_db"].map(lambda db: f", {db:g} dB" if np.isfinite(db) else "")
        words = words + level
    return words


def write_summary() -> None:
    """Store ``summary`` beside the predictions, so that a page need not resample anything."""
    write_table(summary().round(5), RESULTS / SUMMARY)


def read_summary() -> pd.DataFrame:
    """Return the stored summary; empty where none has been written."""
    path = RESULTS / SUMMARY
    if not path.exists():
        return pd.DataFrame(columns=["table", "task", "condition", "variant", "measure"])
    return pd.read_csv(path, dtype={"condition": "str"}).fillna({"condition": ""})


def published() -> pd.DataFrame:
    """Return the ten papers' figures beside ours, one row a figure.

    Columns: number, system, paper, corpus, measure, published, protocol (theirs), table, task, variant and our_measure
    (where ours is stored), differs, command, aim (NaN where none was set), split (ours); value, low, high, baseline and
    chance are ours, NaN where not measured.
    """
    theirs = pd.read_csv(ASSETS / "published.csv", dtype={"number": int}, keep_default_na=False)
    theirs["aim"] = pd.to_numeric(theirs["aim"])
    by_speaker = theirs["task"].map({name: f"{task.folds} folds by speaker" for name, task in TASKS.items()})
    theirs["split"] = theirs["split"].where(theirs["split"] != "", by_speaker)
    ours = read_summary().query("condition in ('', 'clean')").rename(columns={"measure": "our_measure"})
    columns = ["value", "low", "high", "baseline", "chance"]
    keys = ["table", "task", "variant", "our_measure"]
    return theirs.merge(ours.reindex(columns=[*keys, *columns]), on=keys, how="left")


def models_markdown() -> str:
    """Return the table of bundled emotion models as Markdown: value and 95 % interval by speaker."""
    lines = [
        "| model | corpus, folds done | UAR | accuracy | macro-F1 | ECE | majority baseline UAR / accuracy | size |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for card in sorted(bundled_cards(), key=lambda c: (c.corpora[0], c.extra.get("place", 50))):
        if card.answer != "emotion":
            continue
        by = {figure.measure: figure for figure in card.figures}
        cells = [f"{by[m].value:.3f} [{by[m].low:.3f}, {by[m].high:.3f}]" for m in ("UAR", "WA", "macro-F1", "ECE")]
        base = f"{by['UAR'].baseline:.3f} / {by['WA'].baseline:.3f}"
        done = f"{card.corpora[0]}, {card.extra['folds']}"
        lines.append(f"| {card.title} | {done} | {' | '.join(cells)} | {base} | {card.size_mb:.1f} MB |")
    return "\n".join(lines)
