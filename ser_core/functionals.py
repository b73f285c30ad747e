"""openSMILE functionals of a whole clip: eGeMAPSv02 (88) and ComParE_2016 (6,373).

Source: Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set"; Schuller et al. 2016, "ComParE".
"""

import functools
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ser_core.audio import SAMPLE_RATE, read
from ser_core.errors import AudioError
from ser_core.files import state_of, whole
from ser_core.settings import settings

FEATURE_SETS = ("eGeMAPSv02", "ComParE_2016")


def feature_names(feature_set: str) -> tuple[str, ...]:
    """Return the names of the functionals of a feature set."""
    return tuple(_extractor(feature_set).feature_names)


def functionals(samples: np.ndarray, feature_set: str) -> np.ndarray:
    """Return the functionals (features,) of (samples,) at 16 kHz; undefined ones (NaN) become 0, as openSMILE codes."""
    values = _extractor(feature_set).process_signal(samples, SAMPLE_RATE).to_numpy()[0]
    return np.nan_to_num(values.astype(np.float32))


def file_functionals(file: str | Path, feature_set: str) -> np.ndarray:
    """Return the functionals (features,) of a corpus's audio file, measured once and kept in the cache folder.

    A file that was changed is measured anew. This is for long work over corpora, which goes on after a kill where it
    stopped; a clip that somebody uploads is never written anywhere.
    """
    store = _store(file, feature_set)
    if store.exists():
        return np.load(store)
    values = functionals(np.array(read(file).samples), feature_set)
    store.parent.mkdir(parents=True, exist_ok=True)
    with whole(store) as partial, partial.open("wb") as opened:
        np.save(opened, values)
    return values


def store_functionals(files: Sequence[str], feature_set: str) -> tuple[list[str], dict[str, str]]:
    """Store the functionals of audio files that are not stored yet.

    Returns:
        Where they are kept, and the files that cannot be read with the reason.
    """
    stored, left_out = [], {}
    for file in files:
        try:
            file_functionals(file, feature_set)
            stored.append(str(_store(file, feature_set)))
        except AudioError as fault:
            left_out[file] = str(fault)
    return stored, left_out


def clip_functionals(files: list[str], feature_set: str) -> np.ndarray:
    """Return the functionals (clips, features) of audio files in their order, each measured once."""
    rows = np.empty((len(files), len(feature_names(feature_set))), np.float32)
    for place, file in enumerate(files):
        rows[place] = file_functionals(file, feature_set)
        if place % 500 == 499:
            print(f"{feature_set}: {place + 1} of {len(files)} clips measured", flush=True)
    return rows


def _store(file: str | Path, feature_set: str) -> Path:
    words = f"{version('opensmile')} {state_of(file)}"
    name = f"{hashlib.sha256(words.encode()).hexdigest()[:24]}.npy"
    return settings().cache_dir / "functionals" / feature_set / name


@functools.cache
def _extractor(feature_set: str) -> Any:
    import opensmile

    return opensmile.Smile(getattr(opensmile.FeatureSet, feature_set), opensmile.FeatureLevel.Functionals)
