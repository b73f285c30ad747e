"""How a speaker's voice lies among the others of a corpus: a few of eGeMAPS' functionals, one row a clip.

``python -m ser_core cues`` writes ``assets/results/cues.parquet`` (corpus, clip, one column a cue), so that the pages
need no audio for it. A speaker is set against the others of the same sex, as pitch and formants follow the body.

Source: Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS)", doi:10.1109/TAFFC.2015.2457417.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.evaluation import corpora_at
from ser_core.files import write_table
from ser_core.functionals import clip_functionals, feature_names
from ser_core.results import RESULTS

TABLE = "cues.parquet"
SET = "eGeMAPSv02"
CUES = {
    "F0semitoneFrom27.5Hz_sma3nz_amean": ("Pitch, mean", "semitones above 27.5 Hz"),
    "F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2": ("Pitch range", "semitones, 20th to 80th percentile"),
    "loudness_sma3_amean": ("Loudness, mean", "sone"),
    "loudness_sma3_stddevNorm": ("Loudness, variation", "of the mean"),
    "HNRdBACF_sma3nz_amean": ("Harmonics to noise", "dB"),
    "jitterLocal_sma3nz_amean": ("Jitter", "of the period"),
    "shimmerLocaldB_sma3nz_amean": ("Shimmer", "dB"),
    "F1frequency_sma3nz_amean": ("First formant", "Hz"),
    "F2frequency_sma3nz_amean": ("Second formant", "Hz"),
    "alphaRatioV_sma3nz_amean": ("Alpha ratio of voiced speech", "dB"),
    "hammarbergIndexV_sma3nz_amean": ("Hammarberg index", "dB"),
    "loudnessPeaksPerSec": ("Loudness peaks", "a second"),
    "MeanVoicedSegmentLengthSec": ("Voiced stretches, mean length", "s"),
}
"""Functional → title and unit."""
FEWEST = 3
PITCH = "F0semitoneFrom27.5Hz_sma3nz_amean"
PITCH_BOUNDS_HZ = (145.0, 190.0)
PITCH_GROUPS = ("low (to 145 Hz)", "middle (145 to 190 Hz)", "high (over 190 Hz)")
"""Of a speaker's mean F0: below what most women's voices reach, above what most men's do, and between."""


def write(folders: Sequence[Path] = ()) -> pd.DataFrame:
    """Measure every clip of the corpora in these folders (or in SERSCOPE_CORPORA); store and return the table."""
    places = [feature_names(SET).index(name) for name in CUES]
    parts = []
    for corpus in corpora_at(folders):
        heard = corpus.table[corpus.table["file"].notna()]
        values = np.asarray(clip_functionals(heard["file"].tolist(), SET))[:, places]
        part = pd.DataFrame(values.astype(np.float32), columns=list(CUES))
        part.insert(0, "clip", heard["name"].tolist())
        part.insert(0, "corpus", corpus.name)
        parts.append(part)
        print(f"{corpus.name}: {len(part)} clips", flush=True)
    table = pd.concat(parts, ignore_index=True).astype({"corpus": "category"})
    write_table(table, RESULTS / TABLE)
    return table


def read_table() -> pd.DataFrame:
    """Return the stored cues; empty where none have been measured."""
    path = RESULTS / TABLE
    if not path.exists():
        return pd.DataFrame(columns=["corpus", "clip", *CUES])
    return pd.read_parquet(path).astype({"corpus": "str"})


def pitch_groups(rows: pd.DataFrame) -> pd.Series:
    """Return the pitch group of each row's speaker: their mean over all clips whose cues are stored; NaN without any.

    Args:
        rows: of ``ser_core.evaluation``: clip, corpus, speaker.
    """
    pitch = read_table()[["corpus", "clip", PITCH]]
    found = rows[["corpus", "clip"]].astype(str).merge(pitch, on=["corpus", "clip"], how="left")[PITCH].to_numpy()
    mean = pd.Series(found, index=rows.index).groupby(rows["speaker"]).transform("mean")
    hertz = 27.5 * 2 ** (mean / 12)
    return pd.cut(hertz, [0, *PITCH_BOUNDS_HZ, np.inf], labels=PITCH_GROUPS).astype("object")


def against_others(rows: pd.DataFrame, cues: pd.DataFrame, speaker: str) -> pd.DataFrame:
    """Return how a speaker's voice lies among the other speakers of the same corpus and sex.

    Args:
        rows: of ``ser_core.evaluation``: clip, corpus, speaker, sex.
        cues: of :func:`read_table`.
        speaker: whose voice.

    Returns:
        cue, unit, value (mean over the clips), low, middle, high (10th, 50th, 90th percentile of the other speakers'
        means), others (how many), percentile (share of the others below, in per cent); empty with fewer than three
        others, or where nothing was measured.
    """
    columns = ["cue", "unit", "value", "low", "middle", "high", "others", "percentile"]
    joined = rows[["clip", "corpus", "speaker", "sex"]].merge(cues, on=["corpus", "clip"], how="inner")
    own = joined[joined["speaker"] == speaker]
    if own.empty:
        return pd.DataFrame(columns=columns)
    alike = joined[joined["corpus"] == own["corpus"].iloc[0]]
    sex = own["sex"].iloc[0]
    alike = alike[alike["sex"] == sex] if isinstance(sex, str) else alike
    means = alike.groupby("speaker")[list(CUES)].mean()
    others = means.drop(index=speaker)
    if len(others) < FEWEST:
        return pd.DataFrame(columns=columns)
    found = []
    for name, (title, unit) in CUES.items():
        value, spread = float(means.loc[speaker, name]), others[name].to_numpy()
        low, middle, high = np.percentile(spread, [10, 50, 90])
        below = 100 * float((spread < value).mean())
        found.append((title, unit, value, low, middle, high, len(others), below))
    return pd.DataFrame(found, columns=columns)
