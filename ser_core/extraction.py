"""Extracts features of whole corpora ahead of training: ``python -m ser_core features``.

Functionals and encoder states go to the cache folder, where training, cross-corpus tests and studies find them. A task
is some files, so the work can be dealt to processes or to a cluster, whose machines must share the cache folder.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from ser_core.errors import SettingError
from ser_core.frames import SHARD_CLIPS, store_frames
from ser_core.functionals import FEATURE_SETS, store_functionals
from ser_core.parallel import HERE, Workers, as_done, check_present

FUNCTIONALS_CLIPS = 50

Task = tuple[str, tuple[str, ...]]
"""A feature set or an encoder, and the files."""


def extract(
    files: Sequence[str],
    feature_sets: Sequence[str],
    encoders: Sequence[str],
    tell: Callable[[str], None],
    by: Workers = HERE,
) -> list[str]:
    """Extract what is not in the cache folder yet; return the files that cannot be read, with the reason.

    An encoder's clips are batched as they come, so files in the same order give the same bits, whoever extracts them.

    Args:
        files: of audio.
        feature_sets: of openSMILE, names in ``functionals.FEATURE_SETS``.
        encoders: names of frozen encoders.
        tell: is told how far the work is.
        by: who does the work.

    Raises:
        SettingError: there is no such feature set, or workers keep what they extract where this machine cannot see it.
    """
    unknown = sorted(set(feature_sets) - set(FEATURE_SETS))
    if unknown:
        raise SettingError(f"There is no feature set '{unknown[0]}'; there are {', '.join(FEATURE_SETS)}.")
    tasks: list[Task] = [
        (name, tuple(files[start : start + size]))
        for names, size in ((feature_sets, FUNCTIONALS_CLIPS), (encoders, SHARD_CLIPS))
        for name in names
        for start in range(0, len(files), size)
    ]
    left_out: dict[str, str] = {}
    done = 0
    for place, (stored, bad) in as_done(_extracted, tasks, by):
        if not all(Path(path).exists() for path in stored):
            raise SettingError(
                "The workers keep what they extract where this machine cannot see it; "
                "set SERSCOPE_CACHE on every machine to one folder that they share."
            )
        name, some = tasks[place]
        left_out |= bad
        done += len(some)
        tell(f"{name}: {len(some) - len(bad)} clips; {done} of {len(files) * (len(feature_sets) + len(encoders))} done")
    return [f"{Path(file).name}: {reason}" for file, reason in sorted(left_out.items())]


def _extracted(task: Task) -> tuple[list[str], dict[str, str]]:
    """Return where the features of some files are kept, and the files that cannot be read with the reason."""
    name, files = task
    check_present(files)
    store = store_functionals if name in FEATURE_SETS else store_frames
    return store(files, name)
