"""``python -m explain reopen REPORT [--audio CLIP]``: a report's stored figures, held against those made anew.

Exit codes: 0 done (and every figure is the same), 1 some figure differs, 2 an input is wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ser_core.errors import ExplanationError, command_line


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a report stores, and how it compares with the figures made anew; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain reopen", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("report", type=Path, metavar="REPORT", help="PDF or JSON that SERscope made")
    parser.add_argument("--audio", type=Path, metavar="CLIP", help="make the figures anew from this file")
    options = parser.parse_args(arguments)
    return _reopen(options)


def _reopen(options: argparse.Namespace) -> int:
    from explain.attribution import method_label
    from explain.reopen import remake, reopen, why_not_again
    from ser_core.audio import read
    from ser_core.registry import load_model

    try:
        data = options.report.read_bytes()
    except OSError as fault:
        raise ExplanationError(f"{options.report} cannot be read ({fault.strerror}); choose another file.") from fault
    stored = reopen(data)
    e = stored.explanation
    print(f"{e.recording.name}, {e.recording.duration_s:.2f} s, SHA-256 {e.recording.sha256}")
    print(f"{e.card.title}; {e.target.name}, by {method_label(e.attribution.method)}")
    print(e.paragraph)
    if stored.opened.trust is not None:
        print(stored.opened.trust.sentence)
    for experiment in stored.opened.experiments:
        print(experiment.sentence)
    for section in stored.opened.sections:
        print(f"{section.title}: {' '.join(section.sentences)}")
    if options.audio is None:
        return 0
    if missing := why_not_again(e.prediction.model):
        raise ExplanationError(missing)
    made = remake(stored, read(options.audio), load_model(e.prediction.model))
    for check in made.checks:
        print(f"  {check.sentence}")
    print(made.sentence)
    return 0 if made.same else 1


if __name__ == "__main__":
    sys.exit(main())
