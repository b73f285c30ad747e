"""Command line: ``python -m explain compare CLIP [OTHER CLIP] --models … --methods … [--json …] [--csv …]``.

One clip with several models, or one model and several methods, or two clips through one model. Exit codes: 0 done, 2 an
input or option is wrong (one sentence says what).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.errors import SettingError, command_line
from ser_core.files import check_outputs, write_bytes
from ser_core.numbers import rounded_percent, signed

if TYPE_CHECKING:
    from explain.comparison import Comparison


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Compare one clip through models or methods, or two clips through one model; returns the exit code."""
    from explain.comparison_files import to_csv, to_json
    from explain.text_files import csv_file

    options = _parser().parse_args(arguments)
    check_outputs((options.json, options.csv), options.clips)
    found = _compared(options)
    _print(found)
    if options.json is not None:
        write_bytes(options.json, to_json(found).encode())
        print(f"written: {options.json}")
    if options.csv is not None:
        write_bytes(options.csv, csv_file(to_csv(found)))
        print(f"written: {options.csv}")
    return 0


def _print(found: "Comparison") -> None:
    for title, side in zip(found.titles, found.sides, strict=True):
        p = side.prediction
        said = [
            signed(p.value(name)) if p.values is not None else rounded_percent(p.probability(name), 1)
            for name in p.order
        ]
        print(f"{title}: {', '.join(f'{name} {value}' for name, value in zip(p.order, said, strict=True))}")
    print("\n".join(found.sentences))


def _compared(options: argparse.Namespace) -> "Comparison":
    from explain.comparison import compare_clips, compare_methods, compare_models, known_target
    from explain.cues import CueSettings
    from ser_core.audio import read
    from ser_core.registry import load_model, model_names

    if options.speakers == "two" and len(options.clips) == 1:
        raise SettingError("--speakers two needs two clips; name the second speaker's as well.")
    if options.other_sex != "unknown" and options.speakers != "two":
        raise SettingError("--other-sex is that of the second of two speakers; add --speakers two.")
    clips = [read(path) for path in options.clips]
    tell = None if options.quiet else _tell
    settings = CueSettings(sex=options.sex)
    models = [load_model(name) for name in options.models or model_names()[:1]]
    if len(clips) > 2:
        raise SettingError(f"Two clips can be compared, and {len(clips)} were given; leave some out.")
    if len(clips) == 1 and len(models) == 1 and not options.methods:
        raise SettingError("Name what is compared: a second clip, several --models, or several --methods.")
    if len(clips) == 2:
        if len(models) > 1 or len(options.methods or ()) > 1:
            raise SettingError("Two clips are compared through one model by one method; name one of each.")
        method = options.methods[0] if options.methods else None
        same = options.speakers == "same"
        other = None if same else CueSettings(sex=options.other_sex)
        return compare_clips(
            clips[0],
            clips[1],
            models[0],
            same_speaker=same,
            method=method,
            emotion=options.target,
            settings=settings,
            second_settings=other,
            progress=tell,
        )
    if len(models) > 1:
        if len(options.methods or ()) > 1:
            raise SettingError("Several models are compared by one method; name one, or one model.")
        method = options.methods[0] if options.methods else None
        return compare_models(clips[0], models, method=method, emotion=options.target, settings=settings, progress=tell)
    target = known_target(models[0], clips[0], options.target) if options.target else None
    return compare_methods(clips[0], models[0], options.methods or (), target=target, settings=settings, progress=tell)


def _tell(share: float, words: str) -> None:
    print(f"{share:4.0%} {words}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m explain compare", description=main.__doc__)
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="one clip, or the clip before and the clip after")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="one for two clips or several methods")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="several for one clip and one model")
    parser.add_argument(
        "--target", metavar="EMOTION", help="or dimension explained on every side (default: the answer)"
    )
    parser.add_argument(
        "--speakers", choices=("same", "two"), default="same", help="who speaks in two clips (default: %(default)s)"
    )
    parser.add_argument("--sex", choices=("female", "male", "child", "unknown"), default="unknown")
    parser.add_argument(
        "--other-sex",
        choices=("female", "male", "child", "unknown"),
        default="unknown",
        help="of the second of two speakers",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything but the audio")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the cue tables")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
