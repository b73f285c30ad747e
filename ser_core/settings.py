"""Settings from the environment, read in one place: ``VARIABLES`` is the table of them all."""

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_core.errors import SettingError

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
PREFIX = "SERSCOPE_"
MOST_JOBS = 64
LEAST_UPLOADS_MB = 320
"""The largest file that the pages take, held twice while it comes."""


@dataclass(frozen=True)
class Variable:
    """One environment variable: what it means, what holds without it, and what is wrong with a value ("" if nothing).

    A variable that is set to nothing counts as not set.
    """

    name: str
    meaning: str
    default: str
    fault: Callable[[str], str]


@dataclass(frozen=True)
class Settings:
    """Where things are and what is allowed; durations in seconds unless the name says minutes."""

    cache_dir: Path
    corpora_dirs: tuple[Path, ...]
    model_dirs: tuple[Path, ...]
    weights_dir: Path | None
    hub_allowed: bool
    max_seconds: float
    lexicon: Path | None = None
    ratings_dir: Path | None = None
    idle_minutes: float = 30.0
    allowed: tuple[str, ...] = ()
    study_owners: tuple[str, ...] = ()
    log_format: str = "text"
    metrics: bool = False
    jobs: int | None = None
    uploads_mb: int = 2000


def settings() -> Settings:
    """Return the settings of this process's environment.

    Raises:
        SettingError: a number is not one, or out of its range.
    """
    env = os.environ
    beside = ROOT.parent / "shared" / "corpora"
    corpora = _paths(env.get("SERSCOPE_CORPORA", "")) or ((beside,) if beside.is_dir() else ())
    return Settings(
        cache_dir=_path("SERSCOPE_CACHE") or Path.home() / ".cache" / "serscope",
        corpora_dirs=corpora,
        model_dirs=_paths(env.get("SERSCOPE_MODELS", "")),
        weights_dir=_path("SERSCOPE_WEIGHTS"),
        hub_allowed=env.get("SERSCOPE_HUB") == "1",
        max_seconds=float(_checked("SERSCOPE_MAX_SECONDS", _no_duration) or 120),
        lexicon=_path("SERSCOPE_LEXICON"),
        ratings_dir=_path("SERSCOPE_RATINGS"),
        idle_minutes=float(_checked("SERSCOPE_IDLE_MINUTES", _no_duration) or 30),
        allowed=_names(env.get("SERSCOPE_ALLOWED", "")),
        study_owners=_names(env.get("SERSCOPE_STUDY_OWNERS", "")),
        log_format=env.get("SERSCOPE_LOG") or "text",
        metrics=env.get("SERSCOPE_METRICS") == "1",
        uploads_mb=int(_checked("SERSCOPE_UPLOADS_MB", _no_size) or 2000),
        jobs=int(_checked("SERSCOPE_JOBS", _no_count) or 0) or None,
    )


def check(environment: Mapping[str, str]) -> None:
    """Look at every variable that begins with SERSCOPE_, as the server does before it starts.

    Raises:
        SettingError: one line for each that is unknown or whose value cannot be used.
    """
    known = {variable.name: variable for variable in VARIABLES}
    faults = []
    for name, value in sorted(environment.items()):
        if name in known and value:
            fault = known[name].fault(value)
            faults += [f"{name} is '{value}'; {fault}"] if fault else []
        elif name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            faults.append(f"{name} is no setting of SERscope{f'; {close[0]} is' if close else ''}.")
    if faults:
        raise SettingError("\n".join(faults))


def _path(name: str) -> Path | None:
    return Path(value) if (value := os.environ.get(name)) else None


def _paths(value: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in value.split(os.pathsep) if part)


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in value.split(",") if part.strip())


def _checked(name: str, faults: Callable[[str], str]) -> str:
    value = os.environ.get(name, "")
    if value and (fault := faults(value)):
        raise SettingError(f"{name} is '{value}'; {fault}")
    return value


# ------------------------------------------------------------------------------------------- what is wrong with a value


def _no_duration(value: str) -> str:
    try:
        good = 0 < float(value) < float("inf")
    except ValueError:
        good = False
    return "" if good else "set it to a positive number, such as 120."


def _no_count(value: str) -> str:
    good = value.isascii() and value.isdecimal() and len(value) < 5 and 1 <= int(value) <= MOST_JOBS
    return "" if good else f"set it to a whole number from 1 to {MOST_JOBS}."


def _no_size(value: str) -> str:
    good = value.isascii() and value.isdecimal() and int(value[:9]) >= LEAST_UPLOADS_MB and len(value) < 10
    return "" if good else f"set it to a whole number of megabytes from {LEAST_UPLOADS_MB}."


def _no_choice(*choices: str) -> Callable[[str], str]:
    return lambda value: "" if value in choices else f"set it to {' or '.join(choices)}."


def _no_folder(value: str) -> str:
    return "" if Path(value).is_dir() else "there is no such folder."


def _no_folders(value: str) -> str:
    absent = [str(path) for path in _paths(value) if not path.is_dir()]
    return f"there is no folder {', '.join(absent)}." if absent else ""


def _no_place(value: str) -> str:
    """Say what keeps a folder, which may not be there yet, from being written to."""
    there = next(path for path in (Path(value).absolute(), *Path(value).absolute().parents) if path.exists())
    return "" if there.is_dir() and os.access(there, os.W_OK) else f"nothing can be written in {there}."


def _no_table(value: str) -> str:
    return "" if Path(value).is_file() and os.access(value, os.R_OK) else "there is no such file that can be read."


def _no_people(value: str) -> str:
    bad = [name for name in _names(value) if name != "*" and (" " in name or name.count("@") != 1 or name[-1] == "@")]
    return f"write {bad[0]} as name@domain or @domain, or * for everyone." if bad else ""


def _no_known_people(value: str) -> str:
    return "name people or domains, as * would be everyone." if "*" in _names(value) else _no_people(value)


VARIABLES = (
    Variable("SERSCOPE_CACHE", "converted weights, features, fetched corpora", "~/.cache/serscope", _no_place),
    Variable(
        "SERSCOPE_CORPORA", "folders of speech corpora, separated like PATH", "../shared/corpora if there", _no_folders
    ),
    Variable("SERSCOPE_MODELS", "further model folders, separated like PATH", "none", _no_folders),
    Variable("SERSCOPE_WEIGHTS", "folder of pretrained encoders by name", "none", _no_folder),
    Variable("SERSCOPE_HUB", "1 allows downloads from the hub", "0", _no_choice("0", "1")),
    Variable("SERSCOPE_MAX_SECONDS", "longest clip that is explained, in seconds", "120", _no_duration),
    Variable("SERSCOPE_LEXICON", "CSV file of word, valence (−1 … 1) and more", "VADER's words only", _no_table),
    Variable("SERSCOPE_RATINGS", "folder for the answers of the rating study", "none: the study is off", _no_place),
    Variable(
        "SERSCOPE_IDLE_MINUTES", "minutes without use after which a reader's data are dropped", "30", _no_duration
    ),
    Variable(
        "SERSCOPE_ALLOWED",
        "who may use the app after signing in: name@domain or @domain, separated by commas, or * for everyone",
        "none: needed where sign-in is set up",
        _no_people,
    ),
    Variable(
        "SERSCOPE_STUDY_OWNERS",
        "who may see and take away all answers of the rating study after signing in: name@domain or @domain, separated "
        "by commas",
        "nobody where sign-in is set up",
        _no_known_people,
    ),
    Variable("SERSCOPE_LOG", "how the server writes its log: text or json", "text", _no_choice("text", "json")),
    Variable(
        "SERSCOPE_JOBS",
        "explanations and other heavy jobs that run at once, each on its share of the cores",
        "half the cores, at most 4, each on all",
        _no_count,
    ),
    Variable(
        "SERSCOPE_UPLOADS_MB",
        "megabytes of uploads of all readers together that are held at most, with what is kept of them",
        "2000",
        _no_size,
    ),
    Variable("SERSCOPE_METRICS", "1 answers /metrics for Prometheus", "0", _no_choice("0", "1")),
)
