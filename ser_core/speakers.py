"""How a model does speaker by speaker, and whether it gets a speaker's average right.

A speaker's own figure comes from that speaker's clips alone, so its interval is over clips: Jeffreys' interval for a
share (Brown, Cai & DasGupta 2001, "Interval estimation for a binomial proportion"), which keeps a width where a
speaker's clips are all right or all wrong; for UAR those of its emotions together (Zou & Donner 2008). Between speakers
nothing follows from these; that is what the intervals over speakers are for.

Averages and ranking ask what ``audEERING/ser-tests`` asks under "correctness speaker average" and "speaker ranking":
is the share of an emotion (or the mean of a dimension) among a speaker's clips as it should be, and do the speakers
come in the right order by it?
"""

import numpy as np
import pandas as pd
from scipy import stats

from ser_core import metrics
from ser_core.distributions import mean_over_speakers
from ser_core.errors import SettingError
from ser_core.results import kind_of, labels_of

LOW, HIGH = 0.025, 0.975
ALIKE = 0.02


def measures_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the measures that a speaker of these predictions can have."""
    if kind_of(rows) == "dimensions":
        return tuple(f"error of {name}" for name in labels_of(rows) if f"t_{name}" in rows)
    labelled = set(rows["emotion"])
    return ("UAR", "accuracy", *(f"recall of {name}" for name in emotions_of(rows) if name in labelled))


def emotions_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the emotions that a table has probabilities for, in the order of its columns."""
    return tuple(str(column)[2:] for column in rows if str(column).startswith("p_"))


def answers_of(rows: pd.DataFrame) -> pd.Series:
    """Return the most probable emotion of each clip."""
    names = np.array(emotions_of(rows))
    return pd.Series(names[rows[[f"p_{name}" for name in names]].to_numpy().argmax(axis=1)], rows.index)


def by_speaker(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return each speaker's figure, the lowest first; for an error the largest first.

    Args:
        rows: predictions of one model, one row a clip.
        measure: of :func:`measures_of`.

    Returns:
        speaker, clips (that count for the measure), value, low, high: a 95 % interval over the own clips. Speakers
        without such clips are left out. The error of a dimension is the mean of predicted − rated, with Student's t.

    Raises:
        SettingError: there is no such measure here.
    """
    if measure not in measures_of(rows):
        raise SettingError(f"There is no {measure} among {', '.join(measures_of(rows))}.")
    if measure.startswith("error of "):
        found = _errors(rows, measure.removeprefix("error of "))
        return found.sort_values("value", key=lambda v: -v.abs(), kind="stable", ignore_index=True)
    classes = emotions_of(rows)
    speakers = rows["speaker"].astype("str").tolist()
    tensors = metrics.speaker_confusions(rows["emotion"].tolist(), answers_of(rows).tolist(), speakers, classes)
    clips, right = tensors.sum(axis=2), np.diagonal(tensors, axis1=1, axis2=2)
    if measure == "accuracy":
        clips, right = clips.sum(axis=1, keepdims=True), right.sum(axis=1, keepdims=True)
    elif measure != "UAR":
        place = [classes.index(measure.removeprefix("recall of "))]
        clips, right = clips[:, place], right[:, place]
    known = clips > 0
    each = np.where(known, right / np.maximum(clips, 1), np.nan)
    low, high = (stats.beta.ppf(q, right + 0.5, clips - right + 0.5) for q in (LOW, HIGH))
    # Nothing lies below none right, nor above all right.
    low, high = np.where(right == 0, 0.0, low), np.where(right == clips, 1.0, high)
    value = metrics.uar(tensors) if measure == "UAR" else each[:, 0]
    # Of a mean of independent recalls the limits lie as far away as their squares add up (Zou & Donner 2008,
    # Statistics in Medicine 27, 1693-1702); of a single one these are its own.
    count = np.maximum(known.sum(axis=1), 1)
    low = value - np.sqrt(np.nansum(np.square(each - low), axis=1, where=known)) / count
    high = value + np.sqrt(np.nansum(np.square(high - each), axis=1, where=known)) / count
    found = pd.DataFrame(
        {"speaker": sorted(set(speakers)), "clips": clips.sum(axis=1), "value": value, "low": low, "high": high}
    )
    return found[found["clips"] > 0].sort_values("value", kind="stable", ignore_index=True)


def overall(rows: pd.DataFrame, measure: str, *, replicates: int = 10_000) -> dict[str, float]:
    """Return a measure over all speakers together: value, low and high (the interval over speakers), and chance.

    Chance is that of the same answers dealt to the clips at random; NaN for an error.
    """
    speakers = rows["speaker"].astype("str").tolist()
    if measure.startswith("error of "):
        name = measure.removeprefix("error of ")
        off = (rows[f"d_{name}"] - rows[f"t_{name}"]).dropna()
        found = mean_over_speakers(off.to_numpy(), rows.loc[off.index, "speaker"].tolist(), replicates=replicates)
    else:
        named = {"accuracy": "WA"}.get(measure, measure)
        classes = emotions_of(rows)
        said = answers_of(rows).tolist()
        found = metrics.evaluate(rows["emotion"].tolist(), said, speakers, classes, replicates=replicates)[named]
    return {"value": found.value, "low": found.low, "high": found.high, "chance": found.chance}


def commonest_mistakes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each speaker is mistaken for most often.

    Args:
        rows: predictions of one model with emotions, one row a clip.

    Returns:
        Indexed by speaker, those with a mistake: mistake ("anger taken for fear", the first by name where several are
        as common), times, wrong (clips that are answered wrongly).
    """
    said = answers_of(rows)
    mistaken = said != rows["emotion"]
    wrong = rows[mistaken]
    told = wrong["emotion"] + " taken for " + said[mistaken]
    counts = told.groupby([wrong["speaker"], told]).size().rename_axis(["speaker", "mistake"]).rename("times")
    first = counts.reset_index().sort_values(["times", "mistake"], ascending=[False, True]).drop_duplicates("speaker")
    return first.set_index("speaker").assign(wrong=wrong.groupby("speaker").size())


def averages(rows: pd.DataFrame, *, replicates: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return how well the speakers' averages and their order are met, with intervals over speakers.

    Args:
        rows: predictions of one model, one row a clip.
        replicates: draws of speakers with replacement.
        seed: of the draws.

    Returns:
        label, speakers, error, error_low, error_high (mean over speakers of |predicted − true| share of the emotion, or
        mean of the dimension), ranking, ranking_low, ranking_high (Spearman's ρ between the speakers' predicted and
        true values; NaN where eight of ten speakers' true values lie within 0.02, so that there is no order to meet).
    """
    table = speaker_values(rows)
    random, found = np.random.default_rng(seed), []
    for label, part in table.groupby("label", sort=False):
        given, true = part["predicted"].to_numpy(), part["true"].to_numpy()
        drawn = random.integers(0, len(part), (replicates, len(part)))
        off = np.abs(given - true)
        row: dict[str, object] = {"label": label, "speakers": len(part), "error": float(off.mean())}
        row |= _limits("error", off[drawn].mean(axis=1), len(part))
        ordered = np.ptp(np.percentile(true, [10, 90])) > ALIKE
        row["ranking"] = float(_spearman(given[None], true[None])[0]) if ordered else float("nan")
        row |= _limits("ranking", _spearman(given[drawn], true[drawn]) if ordered else np.array([np.nan]), len(part))
        found.append(row)
    return pd.DataFrame(found)


def speaker_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Return label, speaker, predicted and true: shares of an emotion, or means of a dimension, over own clips."""
    parts = []
    if kind_of(rows) == "dimensions":
        for name in (name for name in labels_of(rows) if f"t_{name}" in rows):
            rated = rows.dropna(subset=[f"t_{name}"]).groupby("speaker")
            pair = pd.DataFrame({"predicted": rated[f"d_{name}"].mean(), "true": rated[f"t_{name}"].mean()})
            parts.append(pair.reset_index().assign(label=name))
        return pd.concat(parts, ignore_index=True)
    said = answers_of(rows)
    for name in emotions_of(rows):
        shares = pd.DataFrame({"speaker": rows["speaker"], "predicted": said == name, "true": rows["emotion"] == name})
        parts.append(shares.groupby("speaker").mean().reset_index().assign(label=name))
    return pd.concat(parts, ignore_index=True)


def _errors(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    off = (rows[f"d_{name}"] - rows[f"t_{name}"]).dropna()
    of_speaker = off.groupby(rows.loc[off.index, "speaker"])
    found = pd.DataFrame({"clips": of_speaker.size(), "value": of_speaker.mean()})
    wide = stats.t.ppf(HIGH, found["clips"] - 1) * of_speaker.std() / np.sqrt(found["clips"])
    return found.assign(low=found["value"] - wide, high=found["value"] + wide).reset_index()


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the rank correlation of each row of two tables (rows, values)."""
    one, other = stats.rankdata(first, axis=1), stats.rankdata(second, axis=1)
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.divide((one * other).sum(axis=1), spread, out=np.full(len(one), np.nan), where=spread > 0)


def _limits(name: str, values: np.ndarray, speakers: int) -> dict[str, float]:
    if speakers < 2 or np.isnan(values).all():
        return {f"{name}_low": float("nan"), f"{name}_high": float("nan")}
    low, high = np.nanpercentile(values, [100 * LOW, 100 * HIGH])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}
