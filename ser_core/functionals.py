"""openSMILE functionals of a whole clip: eGeMAPSv02 (88) and ComParE_2016 (6,373).

Source: Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set"; Schuller et al. 2016, "ComParE".
"""

import functools
from typing import Any

import numpy as np

from ser_core.audio import SAMPLE_RATE

FEATURE_SETS = ("eGeMAPSv02", "ComParE_2016")


def feature_names(feature_set: str) -> tuple[str, ...]:
    """Return the names of the functionals of a feature set."""
    return tuple(_extractor(feature_set).feature_names)


def functionals(samples: np.ndarray, feature_set: str) -> np.ndarray:
    """Return the functionals (features,) of (samples,) at 16 kHz; undefined ones (NaN) become 0, as openSMILE codes."""
    values = _extractor(feature_set).process_signal(samples, SAMPLE_RATE).to_numpy()[0]
    return np.nan_to_num(values.astype(np.float32))


@functools.cache
def _extractor(feature_set: str) -> Any:
    import opensmile

    return opensmile.Smile(getattr(opensmile.FeatureSet, feature_set), opensmile.FeatureLevel.Functionals)
