"""What it gains to adapt a model to a speaker by further clips: ``ser_core speaker-adaptation``.

Out of fold on the speakers of a corpus: each clip is answered alone, and with clips of the same speaker that nobody has
labelled, drawn with a fixed seed. They are drawn from all that the speaker said ("any mood"), from the neutral ones
only, or unevenly: emotions count by a draw from a Dirichlet distribution with all parameters 0.3, so that one or two
moods prevail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from ser_core.bundled import PLANS, Plan, on_corpus
from ser_core.corpora import read_corpus
from ser_core.crossvalidation import fold_parts, model_of_fold, prepared, run_fold, run_folder, system_of
from ser_core.errors import SettingError
from ser_core.files import stored_table, write_table
from ser_core.results import RESULTS, by_variant
from ser_core.speaker_adaptation import class_means, zero_of
from ser_core.systems.whisper_statistics import StatisticsHead
from ser_core.tasks import with_folds

MODELS = ("whisper-tiny-statistics", "whisper-base-statistics")
MOODS = ("any", "neutral", "uneven")
UNEVEN = 0.3
AT_ONCE = 64


@dataclass(frozen=True)
class Given:
    """What a model is given beside the clip: ``clips`` of the same speaker, in a mood of ``MOODS``."""

    clips: int
    mood: str

    @property
    def words(self) -> str:
        """Its name in tables."""
        moods = {"any": "in any mood", "neutral": "all neutral", "uneven": "mostly in one or two moods"}
        return f"with {self.clips} more {'clip' if self.clips == 1 else 'clips'}, {moods[self.mood]}"


ALONE = "one clip alone"
CONDITIONS = (
    *(Given(clips, "any") for clips in (1, 5, 10, 20, 40)),
    *(Given(clips, "uneven") for clips in (5, 10, 20)),
    *(Given(clips, "neutral") for clips in (5, 10)),
)


def table_name(model: str) -> str:
    """Return the name of a model's stored table, without its task."""
    return f"speaker-adaptation-{model}"


def told() -> dict[str, tuple[str, str]]:
    """Return title and question of every model's study, by the name of its table."""
    question = (
        "How much more is right when the model has heard other clips of the same person, whose emotion nobody has told "
        "it? And is anything lost where these are all in one mood?"
    )
    return {table_name(name): (f"Adapted to the speaker: {PLANS[name].title}", question) for name in MODELS}


def run(corpus: Path, runs: Path, models: Sequence[str] = ()) -> str:
    """Train what is not trained yet, answer with every condition, store the answers; return UAR and accuracy as text.

    Args:
        corpus: with known speakers; of another one than the models' own, they are trained on it as ``train`` would.
        runs: folder that keeps what is finished; the training is that of ``train MODEL``.
        models: names of plans whose system can be adapted; those of ``MODELS`` if none is given.

    Raises:
        SettingError: a model cannot be adapted.
    """
    wanted = [PLANS.get(name) for name in models or MODELS]
    for name, known in zip(models or MODELS, wanted, strict=True):
        if known is None or not hasattr(system_of(known), "SPEAKER_ADAPTATION"):
            raise SettingError(f"'{name}' cannot be adapted to a speaker; choose from {', '.join(MODELS)}.")
    heard, lines = read_corpus(corpus), []
    for own in filter(None, wanted):
        plan = own if heard.name == own.task else on_corpus(own, heard)
        task = plan.its_task
        table = with_folds(task, heard.table)
        kept = run_folder(plan, table, Path(plan.name))
        trained, answered = runs / kept, runs / "speaker-adaptation" / kept
        parts = []
        for fold in range(task.folds):
            run_fold(plan, table, fold, trained)
            store = answered / f"fold-{fold}.parquet"
            rows = stored_table(store)
            if rows is None:
                rows = _of_fold(plan, table, fold, trained)
                store.parent.mkdir(parents=True, exist_ok=True)
                write_table(rows, store)
                print(f"{plan.name} fold {fold}: answered in {1 + len(CONDITIONS)} ways", flush=True)
            parts.append(rows)
        found = pd.concat(parts, ignore_index=True)
        names = [ALONE, *(each.words for each in CONDITIONS if _is_usual(table, each))]
        found = found[found["variant"].isin(names)]
        order = pd.Categorical(found["variant"], names)
        found = found.iloc[np.argsort(order.codes, kind="stable")].reset_index(drop=True)
        write_table(found, RESULTS / f"{table_name(own.name)}.{task.name}.parquet")
        figures = by_variant(found).query("measure in ('UAR', 'WA')")
        lines += [f"\n{plan.title}\n", figures.round(4).to_string(index=False)]
    return "\n".join(lines)


def drawn(rows: pd.DataFrame, given: Given, *, seed: int = 0) -> list[np.ndarray]:
    """Return for every clip of a table the places (in it) of further clips of its speaker, and its own place last.

    Args:
        rows: columns clip, speaker and emotion.
        given: how many, and in which mood; fewer where the speaker has no more.
        seed: of the draws.
    """
    random = np.random.default_rng([seed, given.clips, MOODS.index(given.mood)])
    speakers, emotions = rows["speaker"].to_numpy(), rows["emotion"].to_numpy()
    places = {speaker: np.flatnonzero(speakers == speaker) for speaker in dict.fromkeys(speakers)}
    found = []
    for place, speaker in enumerate(speakers):
        others = places[speaker][places[speaker] != place]
        if given.mood == "neutral":
            others = others[emotions[others] == "neutral"]
        weights = np.ones(len(others))
        if given.mood == "uneven":
            kinds = sorted(set(emotions))
            prevalence = dict(zip(kinds, random.dirichlet(np.full(len(kinds), UNEVEN)) + 1e-9, strict=True))
            weights = np.array([prevalence[emotion] for emotion in emotions[others]])
        count = min(given.clips, len(others))
        picked = random.choice(others, count, replace=False, p=weights / weights.sum()) if count else others[:0]
        found.append(np.append(picked, place))
    return found


def _is_usual(table: pd.DataFrame, given: Given) -> bool:
    """Return whether most speakers of a corpus have so many further clips."""
    return float(np.median([len(places) - 1 for places in drawn(table, given)])) >= given.clips


def _of_fold(plan: Plan, table: pd.DataFrame, fold: int, folder: Path) -> pd.DataFrame:
    """Return the answers of a trained fold for its test speakers, a row a clip × condition."""
    training, testing = fold_parts(table, fold)
    values = prepared(plan, table)
    system = system_of(plan)
    heads = cast(StatisticsHead, model_of_fold(plan, folder / f"fold-{fold}").network.heads)
    classes = table["emotion"].map(plan.labels.index).to_numpy()
    with torch.inference_mode():
        learnt = system.embeddings(heads, [values[i] for i in np.flatnonzero(training)])
        means = class_means(learnt, classes[training], len(plan.labels)).astype(np.float32)
        del learnt
        tested = torch.from_numpy(system.embeddings(heads, [values[i] for i in np.flatnonzero(testing)]))
        rows = table.loc[testing, ["clip", "speaker", "emotion", "fold"]].reset_index(drop=True)
        parts = [_rows(rows, ALONE, heads.classify(tested), plan)]
        for given in CONDITIONS:
            places = drawn(rows, given)
            moved = torch.empty_like(tested)
            for alike in _of_one_length(places):
                for batch in np.array_split(alike, -(-len(alike) // AT_ONCE)):
                    heard = tested[torch.from_numpy(np.stack([places[i] for i in batch]))]
                    moved[batch] = tested[batch] - zero_of(heard, heads.classify, torch.from_numpy(means))
            parts.append(_rows(rows, given.words, heads.classify(moved), plan))
    return pd.concat(parts, ignore_index=True)


def _of_one_length(places: list[np.ndarray]) -> list[np.ndarray]:
    lengths = np.array([len(each) for each in places])
    return [np.flatnonzero(lengths == length) for length in np.unique(lengths)]


def _rows(rows: pd.DataFrame, variant: str, logits: torch.Tensor, plan: Plan) -> pd.DataFrame:
    shares = softmax(logits.double().numpy(), axis=1).astype(np.float32)
    answered = pd.DataFrame(shares, columns=[f"p_{label}" for label in plan.labels])
    return pd.concat([rows.assign(variant=variant, seed=plan.recipe.seed), answered], axis=1)
