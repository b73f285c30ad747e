"""``python -m explain ratings [FOLDER] [--csv FILE]``: what came out of the rating study so far.

Exit codes: 0 done, 2 there is no such folder or a file cannot be written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ser_core.errors import SettingError, command_line
from ser_core.files import write_bytes


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the analysis of the stored ratings, and write them as CSV if asked to; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain ratings", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of the answers (default: the one in SERSCOPE_RATINGS)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="every answer, one a row")
    options = parser.parse_args(arguments)
    return _ratings(options)


def _ratings(options: argparse.Namespace) -> int:
    from explain.rating import CONDITIONS, MEASURES, by_condition, stored, summary, tests, to_csv
    from explain.text_files import csv_file
    from ser_core.settings import settings

    folder = options.folder or settings().ratings_dir
    if folder is None:
        raise SettingError("Name the folder of the answers, or let SERSCOPE_RATINGS name it.")
    if not folder.is_dir():
        raise SettingError(f"There is no folder {folder}; give the one that SERSCOPE_RATINGS named.")
    ratings = stored(folder)
    print(summary(ratings))
    if ratings:
        by = by_condition(ratings).replace({"measure": MEASURES, "condition": CONDITIONS})
        print(by.to_string(index=False, float_format="{:.2f}".format))
        paired = tests(ratings).replace({"measure": MEASURES, "less": CONDITIONS, "more": CONDITIONS})
        print("\nPaired by rater (Wilcoxon's signed-rank test, p corrected by Holm):")
        print(paired.to_string(index=False, float_format="{:.3f}".format))
    if options.csv is not None:
        write_bytes(options.csv, csv_file(to_csv(ratings)))
        print(f"written: {options.csv}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
