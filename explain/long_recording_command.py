"""Command line: ``python -m explain recording FILE …``, a session's stretches as they are found, then its voices."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.errors import AudioError, command_line
from ser_core.files import check_outputs, write_bytes
from ser_core.numbers import counted, rounded_percent

if TYPE_CHECKING:
    from explain.long_recording import Stretch


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Follow a session and return the exit code: 0 done, 2 an input or option is wrong."""
    options = _parser().parse_args(arguments)
    return _follow(options)


def _follow(options: argparse.Namespace) -> int:
    from explain import long_recording_files as files
    from explain.cues import CueSettings, check
    from explain.long_recording import Stretch, renamed, session, stretches, voice_name
    from explain.long_recording_baseline import heard_first, otherwise
    from explain.text_files import csv_file
    from ser_core import workers
    from ser_core.long_audio import clock, open_long
    from ser_core.registry import load_model, model_names
    from ser_core.speaker_adaptation import adaptable

    paths = (options.csv, options.parquet, options.json, options.textgrid)
    check_outputs(paths, [options.file])
    names: list[str] = []
    for voice, name in enumerate(options.names):
        names.append(voice_name(name, voice, names))
    sound = open_long(options.file)
    model = load_model(options.model or model_names()[0])
    settings = CueSettings(options.sex, options.pitch_floor, options.pitch_ceiling, options.formant_ceiling)
    check(settings)
    hears = adaptable(model) and not options.alone
    found: list[Stretch] = []
    cut_short = ""
    try:
        for stretch in stretches(sound, model, settings):
            found.append(stretch)
            if not options.quiet:
                answer = stretch.note if stretch.prediction is None else _answer(stretch)
                alone = "" if stretch.prediction is None or not hears else ", before its voice is heard"
                print(f"{clock(stretch.start_s)}–{clock(stretch.end_s)} {answer}{alone}", flush=True)
    except AudioError as fault:
        if not found:
            raise
        cut_short = str(fault)
    finally:
        workers.shut_down()
    known = session(sound, model, found, count=options.voices, complete=not cut_short)
    for voice, name in zip(known.voices, names, strict=False):
        known = renamed(known, voice, name)
    if not found:
        print("No speech was found.")
    unused = names[len(known.voices) :]
    if unused:
        print(f"Fewer voices were found than were named; not used: {', '.join(unused)}.")
    if hears:
        before, known = known, heard_first(known, model)
        moved, asked = otherwise(before, known)
        if asked:
            print(_otherwise(moved, asked, any(paths)))
    for stretch, voice in () if options.quiet else zip(known.stretches, known.voice_of, strict=True):
        answer = stretch.note if stretch.prediction is None else _answer(stretch)
        print(f"{clock(stretch.start_s)}–{clock(stretch.end_s)} {known.called(voice)}: {answer}")
    for voice in known.voices:
        print(f"{known.called(voice)}: {counted(len(known.of(voice)), 'stretch', 'es')}, {known.spoken_s(voice):.0f} s")
    writers = (
        (options.csv, lambda: csv_file(files.to_csv(known))),
        (options.parquet, lambda: files.to_parquet(known)),
        (options.json, lambda: files.to_json(known).encode()),
        (options.textgrid, lambda: files.text_grid(known).encode()),
    )
    for path, content in writers:
        if path is not None:
            write_bytes(path, content())
            print(f"written: {path}")
    if cut_short:
        print(f"error: {cut_short} What came before is kept.", file=sys.stderr)
        return 2
    return 0


def _otherwise(moved: int, asked: int, written: bool) -> str:
    """Say how many stretches are answered otherwise once the model has heard each voice."""
    said = f"Having heard all stretches of each voice, the model answers {moved} of {asked} otherwise than alone"
    return f"{said}; the files hold those answers." if written else f"{said}."


def _answer(stretch: "Stretch") -> str:
    from explain.words import dimensions_in_words

    asked = stretch.prediction
    assert asked is not None
    if asked.values is not None:
        return dimensions_in_words(asked)
    return f"{asked.top} ({rounded_percent(asked.probability(asked.top), 1)})"


def _count(text: str) -> int | None:
    """Return how many voices are asked for, None where that is to be estimated."""
    if text == "estimate":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of voices; give 1 or more, or 'estimate'")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m explain recording", description="Follow each voice of a session of up to 65 minutes."
    )
    parser.add_argument("file", metavar="FILE", help="WAV, FLAC, MP3, OGG, M4A/AAC or WebM")
    parser.add_argument("--model", help="a bundled model, a model folder, or a hub name (default: the first bundled)")
    parser.add_argument(
        "--voices",
        type=_count,
        default=2,
        metavar="N",
        help="how many people speak, or 'estimate' (default: 2, as in a clinical session)",
    )
    parser.add_argument("--names", nargs="*", default=[], help="names of the voices in the order they are first heard")
    parser.add_argument("--sex", choices=("female", "male", "child", "unknown"), default="unknown")
    for name in ("pitch-floor", "pitch-ceiling", "formant-ceiling"):
        parser.add_argument(f"--{name}", type=float, metavar="HZ", help="for all voices (default: by each stretch)")
    parser.add_argument(
        "--alone",
        action="store_true",
        help="answer each stretch by itself; by default a model that can be adapted hears each voice first",
    )
    parser.add_argument("--quiet", action="store_true", help="no stretches while they are made")
    for name, what in (
        ("csv", "one row a stretch"),
        ("parquet", "the same as Parquet"),
        ("json", "everything but the sound and the voice prints"),
        ("textgrid", "a tier for each voice, for Praat"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {what}")
    return parser
