"""How a study over many clips is done part by part, so that a stopped run goes on.

A part is twenty clips, a model and what is asked of it; its rows are kept as soon as it is done. Clips that cannot be
used are left out and said so, and none stops the rest.
"""

import argparse
import functools
import hashlib
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from explain.study_clips import Clip
from ser_core.errors import SerscopeError, SettingError
from ser_core.files import stored_table, write_table
from ser_core.parallel import HERE, Workers, add_options, as_done, check_present

if TYPE_CHECKING:
    import pandas as pd

    from ser_core.models import SpeechModel

CHUNK = 20


@dataclass(frozen=True)
class Part:
    """A part of the study that is done at once and kept: some clips, a model and its methods; names only, no audio.

    start is the place of the first clip in its corpus's order. folds holds ``<model>/fold-<k>/`` with the weights of
    the model that was trained without fold k; without it the shipped weights, those of fold 0, answer.
    """

    model: str
    methods: tuple[str, ...]
    clips: tuple[Clip, ...]
    start: int
    trusted: bool = False
    folds: Path | None = None

    @property
    def name(self) -> str:
        """The part's name, which is another one for other clips, methods or tests."""
        what = (self.methods, [Path(clip.file).name for clip in self.clips], self.trusted, self.folds is not None)
        key = hashlib.sha256(repr(what).encode()).hexdigest()[:10]
        return f"{self.model}-{self.clips[0].corpus}-{self.start:05d}-{key}"


def run(
    parts: Sequence[Part],
    rows_of: Callable[[Part], tuple[list[dict], list[str]]],
    runs: Path,
    tell: Callable[[str], None],
    minutes: float | None = None,
    by: Workers = HERE,
) -> "pd.DataFrame":
    """Return the rows of all parts in their order; those that were done before are read from ``runs``.

    Args:
        parts: of the study.
        rows_of: gives the rows of a part, and why clips are left out.
        runs: keeps every part as it is done.
        tell: is told how far the study is, and why a clip is left out.
        minutes: after so many no further part is begun, and what other workers have under way is given up.
        by: who does the parts; on a cluster every machine needs models, folds and clips under the same paths.

    Raises:
        SettingError: not one part was done.
    """
    import pandas as pd

    runs.mkdir(parents=True, exist_ok=True)
    stores = [runs / f"{part.name}.parquet" for part in parts]
    found = {place: rows for place, store in enumerate(stores) if (rows := stored_table(store)) is not None}
    missing = [place for place in range(len(parts)) if place not in found]
    started = time.monotonic()
    for turn, (rows, left_out) in as_done(rows_of, [parts[place] for place in missing], by):
        for words in left_out:
            tell(words)
        place = missing[turn]
        found[place] = pd.DataFrame(rows)
        write_table(found[place], stores[place])
        part = parts[place]
        tell(
            f"{len(found)} of {len(parts)} parts: {part.model}, {part.clips[0].corpus}, clips from {part.start + 1} on"
        )
        if minutes is not None and time.monotonic() - started > 60 * minutes and len(found) < len(parts):
            tell(f"Time is up: {len(found)} of {len(parts)} parts are done; the same command goes on from here.")
            break
    if not sum(map(len, found.values())):
        raise SettingError("Nothing was done; give other clips.")
    return pd.concat([found[place] for place in sorted(found) if len(found[place])], ignore_index=True)


def over_clips(part: Part, of_clip: "Callable[[Clip, SpeechModel], list[dict]]") -> tuple[list[dict], list[str]]:
    """Return the rows that ``of_clip`` gives for the clips of a part and its model, and why clips are left out.

    Raises:
        SettingError: a clip is not to be seen here, or there is no such model.
    """
    check_present(clip.file for clip in part.clips)
    rows: list[dict] = []
    left_out = []
    for clip in part.clips:
        try:
            rows += of_clip(clip, model_for(part.model, clip, part.folds))
        except SettingError:
            raise
        except SerscopeError as fault:
            left_out.append(f"{Path(clip.file).name} left out: {fault}")
    return rows, left_out


def model_for(name: str, clip: Clip, folds: Path | None) -> "SpeechModel":
    """Return the model that answers about a clip: the shipped one, or the one that was trained without its fold.

    Raises:
        ModelError: there is no such model.
        SettingError: the folds do not hold that model's weights, or are of another training than the shipped ones.
    """
    from ser_core.registry import load_model
    from ser_core.tasks import CREMA_D

    if folds is None or clip.corpus != CREMA_D.name:
        return load_model(name)
    return _of_fold(name, folds, clip.fold)


@functools.lru_cache(maxsize=32)
def _of_fold(name: str, folds: Path, fold: int) -> "SpeechModel":
    from ser_core.registry import load_model, model_folders

    shipped, file = load_model(name), "weights.safetensors"
    own = folds / name / f"fold-{fold}"
    if not (own / file).is_file():
        raise SettingError(f"{own} holds no weights; train {name} on every fold first, or leave out --folds.")
    if (folds / name / "fold-0" / file).read_bytes() != (model_folders()[name] / file).read_bytes():
        raise SettingError(f"{folds / name} is another training than that of the shipped {name}; choose its folder.")
    model: SpeechModel = importlib.import_module(f"ser_core.systems.{shipped.card.system}").load(own, shipped.card)
    model.network.eval().requires_grad_(False)
    return model


def stored(fresh: "pd.DataFrame", out: Path) -> "pd.DataFrame":
    """Write the rows, with those of an earlier run that these do not replace; returns all."""
    import pandas as pd

    out.parent.mkdir(parents=True, exist_ok=True)
    earlier = stored_table(out)
    if earlier is not None:
        keys = [key for key in ("model", "method", "experiment", "corpus") if key in fresh]
        again = earlier.set_index(keys).index.isin(fresh.set_index(keys).index)
        fresh = pd.concat([earlier[~again], fresh], ignore_index=True)
    write_table(fresh, out)
    return fresh


def add_run_options(parser: argparse.ArgumentParser, table: Path) -> None:
    """Give a study's command the options of every study that is done part by part; ``table`` is where its rows go."""
    parser.add_argument("--minutes", type=float, help="begin nothing new after so many minutes")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where parts are kept (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=table, help="table (default: %(default)s)")
    add_options(parser)
