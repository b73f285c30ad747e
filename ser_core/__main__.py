"""Command line: ``python -m ser_core predict CLIP…``, ``models``, ``train``, ``results``.

Exit codes: 0 done, 2 an input or option is wrong (one sentence says what).
"""

import argparse
import json
import sys
from pathlib import Path

from ser_core.errors import SerscopeError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SerscopeError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2


def _predict(options: argparse.Namespace) -> int:
    from ser_core.audio import read
    from ser_core.models import load_model, model_names

    model = load_model(options.model or model_names()[0])
    code = 0
    for clip in options.clips:
        try:
            prediction = model.predict(read(clip))
        except SerscopeError as fault:
            print(f"error: {fault}", file=sys.stderr)
            code = 2
            continue
        if options.json:
            row = {"file": clip, "model": model.name, "probabilities": {}}
            row["probabilities"] = {name: round(prediction.probability(name), 6) for name in prediction.order}
            row["entropy_bits"] = round(prediction.entropy_bits, 6)
            print(json.dumps(row))
            continue
        answers = ", ".join(f"{name} {prediction.probability(name):.1%}" for name in prediction.order)
        print(f"{clip}: {answers} (entropy {prediction.entropy_bits:.2f} bits)")
        if prediction.familiarity is not None:
            print(f"  {prediction.familiarity.sentence}")
    return code


def _models(options: argparse.Namespace) -> int:
    from ser_core.registry import cards

    for card in cards():
        uar = next((figure for figure in card.figures if figure.measure == "UAR"), None)
        measured = f"UAR {uar.value:.3f} [{uar.low:.3f}, {uar.high:.3f}], chance {uar.chance:.3f}" if uar else "-"
        print(f"{card.name}: {card.title}; {len(card.emotions)} emotions; {measured}; {card.size_mb:.1f} MB")
    return 0


def _train(options: argparse.Namespace) -> int:
    import torch

    from ser_core.bundled import PLANS
    from ser_core.corpora import read_corpus
    from ser_core.crossvalidation import FOLDS, assemble, run_fold, with_folds

    if options.threads:
        torch.set_num_threads(options.threads)
    plan = PLANS[options.model]
    table = with_folds(read_corpus(options.corpus).table)
    runs = options.runs / plan.name
    for fold in range(FOLDS) if options.fold is None else options.fold:
        run_fold(plan, table, fold, runs)
    command = f"python -m ser_core train {plan.name} --corpus CREMA-D"
    print(f"written: {assemble(plan, runs, command)}")
    return 0


def _results(options: argparse.Namespace) -> int:
    from ser_core.crossvalidation import refresh_cards, results_table
    from ser_core.settings import ROOT

    refresh_cards()
    table = results_table()
    print(table)
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition("<!-- results -->\n")
    _, _, after = rest.partition("<!-- /results -->")
    readme.write_text(f"{before}<!-- results -->\n{table}\n<!-- /results -->{after}", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ser_core", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="answers of a model for one or more clips")
    predict.add_argument("clips", nargs="+", metavar="CLIP")
    predict.add_argument("--model", help="a bundled model, a model folder, or a hub name (default: the first bundled)")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    predict.set_defaults(run=_predict)

    models = commands.add_parser("models", help="the models at hand and their figures")
    models.set_defaults(run=_models)

    from ser_core.bundled import PLANS

    train = commands.add_parser("train", help="train a bundled model on lossless CREMA-D, fold by fold; resumes")
    train.add_argument("model", choices=sorted(PLANS))
    train.add_argument("--corpus", type=Path, required=True, help="folder of CREMA-D (lossless)")
    train.add_argument("--fold", type=int, action="append", choices=range(5), help="only these folds (default: all)")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="where runs and checkpoints are kept")
    train.add_argument("--threads", type=int, help="CPU threads")
    train.set_defaults(run=_train)

    results = commands.add_parser("results", help="rebuild the figures of cards and README from stored predictions")
    results.set_defaults(run=_results)
    return parser


if __name__ == "__main__":
    sys.exit(main())
