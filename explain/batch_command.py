"""Command line: ``python -m explain batch FOLDER|ZIP|CSV --out TABLE.csv|TABLE.parquet …``, resumable.

Each row is appended to ``TABLE….rows.jsonl`` as soon as it is made, so that a stopped batch goes on where it was; the
table is written when all are there. A clip that failed, or whose file is another one by now, is explained again.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explain.batch import Clip, Row, clips_of, row, table
from ser_core.errors import SerscopeError, SettingError, command_line
from ser_core.files import append_line, check_outputs, write_bytes, write_table
from ser_core.numbers import counted, signed


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Explain many clips; returns 0 done (also where single clips failed), 2 an input or option is wrong."""
    options = _parser().parse_args(arguments)
    return _explain_all(options)


def _explain_all(options: argparse.Namespace) -> int:
    from explain.attribution import methods_for
    from explain.cues import CueSettings
    from explain.method_choice import best_first
    from explain.text_files import csv_file, csv_text
    from ser_core import workers
    from ser_core.registry import load_model, model_names

    if options.out.suffix.lower() not in (".csv", ".parquet"):
        raise SettingError(f"'{options.out.name}' ends in neither .csv nor .parquet; choose one of the two.")
    check_outputs([options.out], [options.source])
    clips = clips_of(options.source)
    model = load_model(options.model or model_names()[0])
    fitting = [m.name for m in methods_for(model)]
    method = options.method or best_first(model.name, methods_for(model))[0].name
    if method not in fitting:
        raise SettingError(f"'{method}' does not fit {model.name}; choose one of {', '.join(fitting)}.")
    settings = CueSettings(sex=options.sex)
    source = str(options.source.absolute())
    asked = {"source": source, "model": model.name, "method": method, "trust": options.trust, "sex": options.sex}
    store = options.out.with_name(f"{options.out.name}.rows.jsonl")
    done = _stored(store, asked)
    found: list[Row] = []
    try:
        for number, clip in enumerate(clips):
            made = done.get(clip.name)
            if made is None or not _is_of(made, clip):
                made = row(number, clip, model, method, settings, trust=options.trust)
                _append(store, asked, made)
            found.append(dataclasses.replace(made, number=number, extra=clip.extra))
            if not options.quiet:
                print(
                    f"{number + 1}/{len(clips)} {clip.name}: {made.error or made.answer or _values(made)}", flush=True
                )
    finally:
        workers.shut_down()
    if options.out.suffix.lower() == ".csv":
        write_bytes(options.out, csv_file(csv_text(table(found, model.card))))
    else:
        write_table(table(found, model.card), options.out)
    store.unlink(missing_ok=True)
    failed = sum(1 for r in found if r.error)
    left_out = f", {failed} of which could not be explained" if failed else ""
    print(f"written: {options.out} ({counted(len(found), 'clip')}{left_out})")
    return 0


def _values(made: Row) -> str:
    return ", ".join(f"{name} {signed(value)}" for name, value in made.outputs.items())


def _append(store: Path, asked: dict[str, str], made: Row) -> None:
    append_line(store, json.dumps({"asked": asked, "row": dataclasses.asdict(made)}))


def _stored(store: Path, asked: dict[str, str]) -> dict[str, Row]:
    """Return the rows made before by file; a last line cut off by a kill is left out.

    Raises:
        SettingError: they were made of other clips, or by another model, method or setting.
    """
    if not store.is_file():
        return {}
    found: dict[str, Row] = {}
    for line in store.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            before, made = entry["asked"], _row(entry["row"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if before != asked:
            raise SettingError(
                f"{store.name} was made of other clips or with other options; delete it, or choose another --out."
            )
        found[made.file] = made
    return found


def _is_of(made: Row, clip: Clip) -> bool:
    """Return whether a row explains the clip as it is now: its file may have been replaced since.

    Of a file that cannot be read any more the row is kept, as it cannot be made again.
    """
    try:
        return not made.error and clip.load().sha256 == made.sha256
    except SerscopeError:
        return True


def _row(fields: dict[str, Any]) -> Row:
    cues = tuple((str(name), float(effect), bool(beyond)) for name, effect, beyond in fields["top_cues"])
    plain = {k: math.nan if v is None else v for k, v in fields.items()}
    return Row(**(plain | {"top_cues": cues, "warnings": tuple(fields["warnings"])}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m explain batch", description="Explain many clips into one table.")
    parser.add_argument("source", type=Path, metavar="FOLDER|ZIP|CSV", help="the clips; a CSV needs a column 'file'")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the table, .csv or .parquet")
    parser.add_argument("--model", help="a bundled model, a model folder, or a hub name (default: the first bundled)")
    parser.add_argument("--method", help="attribution method (default: the one the app offers first)")
    parser.add_argument("--trust", choices=("", "quick", "full"), default="", help="test every explanation as well")
    parser.add_argument("--sex", choices=("female", "male", "child", "unknown"), default="unknown")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser
