"""Settings from the environment, read in one place.

=====================  ==============================================  =========================
variable               meaning                                         default
=====================  ==============================================  =========================
SERSCOPE_CACHE         converted weights, features, fetched corpora    ~/.cache/serscope
SERSCOPE_CORPORA       folders of speech corpora, separated like PATH  ../shared/corpora if there
SERSCOPE_MODELS        further model folders, separated like PATH      none
SERSCOPE_WEIGHTS       folder of pretrained encoders by name           none
SERSCOPE_HUB           1 allows downloads from the hub                 0
SERSCOPE_MAX_SECONDS   longest clip that is explained, in seconds      120
SERSCOPE_LEXICON       CSV file of word, valence (−1 … 1) and more     VADER's words only
SERSCOPE_RATINGS       folder for the answers of the rating study      none: the study is off
=====================  ==============================================  =========================
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ser_core.errors import SettingError

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"


@dataclass(frozen=True)
class Settings:
    """Where things are and what is allowed; durations in seconds."""

    cache_dir: Path
    corpora_dirs: tuple[Path, ...]
    model_dirs: tuple[Path, ...]
    weights_dir: Path | None
    hub_allowed: bool
    max_seconds: float
    lexicon: Path | None = None
    ratings_dir: Path | None = None


def settings() -> Settings:
    """Return the settings of this process's environment.

    Raises:
        SettingError: SERSCOPE_MAX_SECONDS is not a positive number.
    """
    env = os.environ
    beside = ROOT.parent / "shared" / "corpora"
    corpora = _paths(env.get("SERSCOPE_CORPORA", "")) or ((beside,) if beside.is_dir() else ())
    raw = env.get("SERSCOPE_MAX_SECONDS", "120")
    try:
        max_seconds = float(raw)
    except ValueError:
        max_seconds = -1.0
    if not 0 < max_seconds < float("inf"):
        raise SettingError(f"SERSCOPE_MAX_SECONDS is '{raw}'; set it to a positive number of seconds, such as 120.")
    weights = env.get("SERSCOPE_WEIGHTS")
    return Settings(
        cache_dir=Path(env.get("SERSCOPE_CACHE", Path.home() / ".cache" / "serscope")),
        corpora_dirs=corpora,
        model_dirs=_paths(env.get("SERSCOPE_MODELS", "")),
        weights_dir=Path(weights) if weights else None,
        hub_allowed=env.get("SERSCOPE_HUB", "0") == "1",
        max_seconds=max_seconds,
        lexicon=Path(lexicon) if (lexicon := env.get("SERSCOPE_LEXICON")) else None,
        ratings_dir=Path(ratings) if (ratings := env.get("SERSCOPE_RATINGS")) else None,
    )


def _paths(value: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in value.split(os.pathsep) if part)
