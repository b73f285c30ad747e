"""Command line: ``python -m ser_core predict CLIP…``, ``models``, ``train``, ``features``, ``evaluate``, ``results`` ….

Exit codes: 0 done, 2 an input or option is wrong (one sentence says what).
"""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.errors import SerscopeError, SettingError, command_line
from ser_core.numbers import rounded_percent, signed

if TYPE_CHECKING:
    from ser_core.models import Prediction


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    return int(options.run(options))


def _predict(options: argparse.Namespace) -> int:
    from ser_core import domain
    from ser_core.audio import read
    from ser_core.intended_use import COLUMN, IN_A_CELL, intended_use
    from ser_core.registry import load_model, model_names
    from ser_core.speech import speech_segments

    model = load_model(options.model or model_names()[0])
    code, answered = 0, False
    for clip in options.clips:
        try:
            recording = read(clip)
            prediction = model.predict(recording)
            speech = speech_segments(recording)
            outside = domain.outside(model.card, domain.measured(recording, speech))
            outside += domain.language_warning(model.card, recording, speech)
        except SerscopeError as fault:
            print(f"error: {fault}", file=sys.stderr)
            code = 2
            continue
        answered = True
        if options.json:
            told = {"file": clip, "model": model.name, "answer": prediction.answer} | _figures(prediction)
            if prediction.familiarity is not None:
                told["farther_than_percent_of_unseen"] = round(prediction.familiarity.percentile, 2)
            print(json.dumps(told | {"outside_training": [each.measure for each in outside], COLUMN: IN_A_CELL}))
            continue
        # A file system may know a name that is no text.
        print(f"{clip.encode('utf-8', 'backslashreplace').decode()}: {_answer(prediction)}")
        if prediction.familiarity is not None:
            print(f"  {prediction.familiarity.sentence}")
        for warning in outside:
            print(f"  {warning.sentence}")
    if answered and not options.json:
        print(intended_use(model.card))
    return code


def _figures(prediction: "Prediction") -> dict[str, object]:
    if prediction.values is not None:
        return {"values": {name: round(prediction.value(name), 6) for name in prediction.emotions}}
    shares = {name: round(prediction.probability(name), 6) for name in prediction.order}
    return {"probabilities": shares, "entropy_bits": round(prediction.entropy_bits, 6)}


def _answer(prediction: "Prediction") -> str:
    if prediction.values is not None:
        from ser_core.sphere import octant_name

        said = ", ".join(f"{name} {signed(prediction.value(name))}" for name in prediction.emotions)
        return f"{said} (from −1 to 1: {octant_name(prediction.values)})"
    said = ", ".join(f"{name} {rounded_percent(prediction.probability(name), 1)}" for name in prediction.order)
    if prediction.answer == "distribution":
        return f"of listeners would hear {said} (entropy {prediction.entropy_bits:.2f} bits)"
    return f"{said} (entropy {prediction.entropy_bits:.2f} bits)"


def _models(options: argparse.Namespace) -> int:
    from ser_core.registry import cards

    for card in cards():
        first = next(iter(card.figures), None)  # the one to judge by
        measured = "-"
        if first is not None:
            measured = (
                f"{first.measure} {first.value:.3f} [{first.low:.3f}, {first.high:.3f}], chance {first.chance:.3f}"
            )
        outputs = "dimensions" if card.answer == "dimensions" else "emotions"
        print(f"{card.name}: {card.title}; {len(card.emotions)} {outputs}; {measured}; {card.size_mb:.1f} MB")
    return 0


def _train(options: argparse.Namespace) -> int:
    import torch

    from ser_core import ranks
    from ser_core.bundled import PLANS, on_corpus, with_converted_voices, with_encoder
    from ser_core.corpora import read_corpus
    from ser_core.crossvalidation import assemble, run_fold, run_folder
    from ser_core.tasks import check_folds, with_folds

    if options.threads:
        torch.set_num_threads(options.threads)
    plan = PLANS[options.model]
    corpus = read_corpus(options.corpus)
    if corpus.name != plan.task:
        plan = on_corpus(plan, corpus)
    if options.encoder:
        plan = with_encoder(plan, options.encoder)
    if options.converted_voices:
        plan = with_converted_voices(plan, options.converted_voices)
    task = plan.its_task
    check_folds(task, options.fold or ())
    table = with_folds(task, corpus.table)
    runs = run_folder(plan, table, options.runs / plan.name)
    with ranks.joined():
        for fold in range(task.folds) if options.fold is None else options.fold:
            run_fold(plan, table, fold, runs)
        if ranks.rank() == 0:
            command = f"python -m ser_core train {options.model} --corpus {task.title}"
            command += f" --encoder {options.encoder}" if options.encoder else ""
            command += f" --converted-voices {options.converted_voices}" if options.converted_voices else ""
            print(f"written: {assemble(plan, table, runs, command)}")
    return 0


def _study(options: argparse.Namespace) -> int:
    import torch

    from ser_core.corpora import read_corpus
    from ser_core.results import by_variant
    from ser_core.studies import STUDIES, on_encoder, run_study

    if options.threads:
        torch.set_num_threads(options.threads)
    if options.study not in STUDIES:
        raise SettingError(f"There is no study '{options.study}'; there are {', '.join(sorted(STUDIES)) or 'none'}.")
    study = STUDIES[options.study]
    if options.encoder:
        study = on_encoder(study, options.encoder)
    rows = run_study(study, read_corpus(options.corpus, study.task).table, options.runs, folds=options.fold)
    print(by_variant(rows).to_string(index=False))
    return 0


def _folds(options: argparse.Namespace) -> int:
    from ser_core.corpora import read_corpus
    from ser_core.files import write_table
    from ser_core.settings import ASSETS
    from ser_core.tasks import TASKS, fold_table

    path = ASSETS / "folds" / f"{options.task}.csv"
    write_table(fold_table(TASKS[options.task], read_corpus(options.corpus, options.task).table), path)
    print(f"written: {path}")
    return 0


def _cross_corpus(options: argparse.Namespace) -> int:
    from ser_core.crosscorpus import SYSTEMS, TABLE, run
    from ser_core.results import RESULTS

    systems, out = options.systems or SYSTEMS, options.out or RESULTS / TABLE
    print(run(options.corpora, options.runs, systems, called=dict(options.count_as), out=out))
    return 0


def _from_one(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is no whole number from 1 to 999,999")
    return int(text)


def _count_as(text: str) -> tuple[str, str]:
    label, equal, word = text.partition("=")
    if not label or not equal:
        raise argparse.ArgumentTypeError(f"'{text}' is not LABEL=LABEL, such as calm=neutral; LABEL= leaves it out")
    return label, word


def _noise(options: argparse.Namespace) -> int:
    from ser_core.noisestudy import run

    print(run(options.corpus, options.noise, options.other, options.runs))
    return 0


def _speaker_adaptation(options: argparse.Namespace) -> int:
    from ser_core.speaker_adaptation_study import run

    print(run(options.corpus, options.runs, options.models))
    return 0


def _session_adaptation(options: argparse.Namespace) -> int:
    from ser_core.session_study import run

    print(run(options.corpus, options.models))
    return 0


def _em2ldl(options: argparse.Namespace) -> int:
    from ser_core.corpora import read_corpus
    from ser_core.mixed_emotions import write_study

    found = write_study(read_corpus(options.corpus, "em2ldl"))
    print(found[found["view"] == "all"].drop(columns=["view", "group"]).to_string(index=False))
    return 0


def _conversion(options: argparse.Namespace) -> int:
    from ser_core.conversion.check import run

    print(run(options.corpus, options.runs, options.clips).to_string(index=False))
    return 0


def _keywords(options: argparse.Namespace) -> int:
    from ser_core.keywords import run

    print(json.dumps(run(options.digits, options.ravdess, options.corpus, options.runs), indent=2))
    return 0


def _edge_export(options: argparse.Namespace) -> int:
    from ser_core.edge_export import run

    print(run(options.model, options.corpus, options.runs, options.bundle))
    return 0


def _fairness(options: argparse.Namespace) -> int:
    from ser_core.fairness import compare

    print(compare(options.before, options.after, options.corpus).to_string(index=False))
    return 0


def _groups(options: argparse.Namespace) -> int:
    from ser_core.evaluation import read_answers
    from ser_core.files import write_table
    from ser_core.group_differences import groupings, left_out, of_table
    from ser_core.power import of_table as powers_of_table

    if options.out and options.out.suffix.lower() != ".parquet":
        raise SettingError(f"{options.out} does not end in .parquet, the only form in which the figures are written.")
    rows = read_answers(options.table)
    compared = groupings(rows, options.by, options.reference, options.measure)
    found = of_table(compared)
    told = ["by", "measure", "group", "speakers", "clips", "value", "low", "high", "difference", "chance", "p_holm"]
    print(found[[*told, "finding", "too_small"]].round(3).to_string(index=False, na_rep="–"))
    if answers := [str(name)[2:] for name in rows if str(name).startswith("p_")]:
        labelled = set(rows["emotion"])
        at_most = "at most as much" if labelled < set(answers) else "so"
        print(
            f"Of {len(labelled)} emotions a constant answer has UAR {1 / len(labelled):.3f}, and {at_most} has chance."
        )
    if nobody := rows.attrs.get("without_speaker"):
        print(f"{nobody} clips without a speaker are left out.")
    if dropped := rows.attrs.get("dropped"):
        print(
            f"No clip is labelled {', '.join(dropped)}: these answers are dropped, and the next most probable emotion "
            "counts in their place, which may flatter the model."
        )
    for sentence in () if options.by else left_out(rows):
        print(sentence)
    if options.power:
        print("\nWhat could have been found against the reference, alone and among all that is tested:")
        print(powers_of_table(compared, found).round(3).to_string(index=False, na_rep="–"))
    if options.out:
        write_table(found, options.out)
        print(f"written: {options.out}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from ser_core.evaluation import evaluate
    from ser_core.parallel import chosen

    written = evaluate(options.models, options.corpora, out=options.out, runs=options.runs, by=chosen(options))
    print(f"{len(written)} tables in {options.out}")
    return 0


def _features(options: argparse.Namespace) -> int:
    from ser_core.evaluation import corpora_at
    from ser_core.extraction import extract
    from ser_core.parallel import chosen

    if not options.sets and not options.encoders:
        raise SettingError("Nothing to extract; name feature sets (--sets), encoders (--encoders) or both.")
    for corpus in corpora_at(options.corpora):
        files = [str(Path(file).absolute()) for file in corpus.table["file"].dropna()]
        tell = functools.partial(print, f"{corpus.title}:", flush=True)
        for bad in extract(files, options.sets, options.encoders, tell, chosen(options)):
            print(f"left out: {bad}", file=sys.stderr)
    return 0


def _robustness(options: argparse.Namespace) -> int:
    import torch

    from ser_core.robustness import run

    if options.threads:
        torch.set_num_threads(options.threads)
    found = run(options.corpora, options.noise, options.runs, options.models, options.clips)
    print(found.round(3).to_string(index=False))
    return 0


def _domain(options: argparse.Namespace) -> int:
    import torch

    from ser_core.domain_study import run

    if options.threads:
        torch.set_num_threads(options.threads)
    found = run(options.corpora, options.noise, options.runs, options.models, options.clips)
    print(found[found["warning"] == "any"].round(3).to_string(index=False))
    return 0


def _leaks(options: argparse.Namespace) -> int:
    from ser_core.corpora import read_corpus
    from ser_core.leaks import report_all

    print(report_all([read_corpus(folder) for folder in options.corpora], sound=not options.no_sound))
    return 0


def _power(options: argparse.Namespace) -> int:
    from ser_core.power import write

    print(write(options.runs).to_string(index=False))
    return 0


def _cues(options: argparse.Namespace) -> int:
    from ser_core.speaker_cues import write

    print(f"{len(write(options.corpora))} clips")
    return 0


def _results(options: argparse.Namespace) -> int:
    from ser_core import uncertainty
    from ser_core.files import write_text
    from ser_core.results import models_markdown, refresh_cards, write_summary
    from ser_core.settings import ROOT

    refresh_cards()
    write_summary()
    uncertainty.write()
    table = models_markdown()
    print(table)
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition("<!-- results -->\n")
    _, _, after = rest.partition("<!-- /results -->")
    write_text(readme, f"{before}<!-- results -->\n{table}\n<!-- /results -->{after}")
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
    from ser_core.tasks import TASKS

    train = commands.add_parser(
        "train", help="train a system fold by fold, on its bundled model's corpus or another; resumes"
    )
    train.add_argument("model", choices=sorted(PLANS))
    train.add_argument(
        "--encoder", help="another encoder: a Whisper, a folder, or a hub name where downloads are allowed"
    )
    train.add_argument(
        "--converted-voices",
        metavar="BACKEND",
        help="learn from the most easily learnt clips in other voices as well (CO-VADA): praat or world",
    )
    train.set_defaults(run=_train)
    study = commands.add_parser("study", help="run a system's variants and seeds over the folds; resumes")
    study.add_argument("study", help="name of a study in ser_core.studies")
    study.add_argument(
        "--encoder", help="the variants of the study's first encoder on another one, as for 'train'; a table of its own"
    )
    study.set_defaults(run=_study)
    for command in (train, study):
        command.add_argument("--corpus", type=Path, required=True, help="folder of the corpus (CREMA-D: lossless)")
        command.add_argument(
            "--fold", type=int, action="append", help="only these folds (default: all); others stay stored"
        )
        command.add_argument("--runs", type=Path, default=Path("runs"), help="where runs and checkpoints are kept")
        command.add_argument("--threads", type=_from_one, help="CPU threads")

    folds = commands.add_parser("folds", help="deal a corpus's speakers to folds and write the table of the repository")
    folds.add_argument("task", choices=sorted(TASKS))
    folds.add_argument("--corpus", type=Path, required=True, help="folder of the corpus")
    folds.set_defaults(run=_folds)

    cross = commands.add_parser("cross-corpus", help="train each system on each corpus, test on each; resumes")
    cross.add_argument("--corpora", type=Path, nargs="+", required=True, metavar="FOLDER", help="two or more corpora")
    cross.add_argument("--systems", nargs="+", metavar="NAME", help="models to train (default: all that can be)")
    cross.add_argument("--runs", type=Path, default=Path("runs"), help="where what is finished is kept")
    cross.add_argument(
        "--count-as",
        type=_count_as,
        nargs="+",
        default=[],
        metavar="LABEL=LABEL",
        help="what a label counts as before training, such as calm=neutral; LABEL= leaves it out",
    )
    cross.add_argument("--out", type=Path, help="the table (default: the app's own, of the open corpora)")
    cross.set_defaults(run=_cross_corpus)

    noise = commands.add_parser("noise", help="test EDRL-MEA's stages with unseen noise and corpora; resumes")
    noise.add_argument("--corpus", type=Path, required=True, help="folder of CREMA-D (lossless)")
    noise.add_argument("--noise", type=Path, required=True, help="folder of real noise, such as ESC-10")
    noise.add_argument("--other", type=Path, action="append", default=[], help="folder of an unseen corpus; repeatable")
    noise.add_argument("--runs", type=Path, default=Path("runs"), help="where what is finished is kept")
    noise.set_defaults(run=_noise)

    adaptation = commands.add_parser(
        "speaker-adaptation", help="what further clips of the same speaker, unlabelled, add to an answer; resumes"
    )
    adaptation.add_argument("--corpus", type=Path, required=True, help="folder of the corpus (CREMA-D: lossless)")
    adaptation.add_argument(
        "--models", nargs="+", default=[], metavar="MODEL", help="default: the frozen Whisper tiny.en and base"
    )
    adaptation.add_argument("--runs", type=Path, default=Path("runs"), help="where what is finished is kept")
    adaptation.set_defaults(run=_speaker_adaptation)

    in_sessions = commands.add_parser(
        "session-adaptation", help="the same in made-up sessions of two voices that are told apart by machine"
    )
    in_sessions.add_argument("--corpus", type=Path, required=True, help="folder of the corpus (CREMA-D: lossless)")
    in_sessions.add_argument(
        "--models", nargs="+", default=[], metavar="MODEL", help="default: the frozen Whisper tiny.en and base"
    )
    in_sessions.set_defaults(run=_session_adaptation)

    em2ldl = commands.add_parser("em2ldl", help="splits without a leak and the constant's figures from EM2LDL's labels")
    em2ldl.add_argument("--corpus", type=Path, required=True, help="folder of EM2LDL's tables")
    em2ldl.set_defaults(run=_em2ldl)

    conversion = commands.add_parser("conversion", help="check converted voices on CREMA-D; resumes")
    conversion.add_argument("--corpus", type=Path, required=True, help="folder of CREMA-D (lossless)")
    conversion.add_argument("--runs", type=Path, default=Path("runs"), help="where measured clips are kept")
    conversion.add_argument("--clips", type=_from_one, default=240, help="clips to convert by each backend")
    conversion.set_defaults(run=_conversion)

    keywords = commands.add_parser("keywords", help="train the keyword network of the edge model")
    keywords.add_argument("--digits", type=Path, required=True, help="folder of the Free Spoken Digit Dataset")
    keywords.add_argument("--ravdess", type=Path, required=True, help="folder of RAVDESS")
    keywords.add_argument("--corpus", type=Path, help="folder of CREMA-D, to probe what the embedding knows there")
    keywords.add_argument("--runs", type=Path, default=Path("runs"), help="where checkpoints are kept")
    keywords.set_defaults(run=_keywords)

    edge = commands.add_parser("edge-export", help="int8 model of an edge model and its zip for a device")
    edge.add_argument("model", nargs="?", default="edge-fusion", help="a bundled model of system edge_fusion")
    edge.add_argument("--corpus", type=Path, help="folder of its corpus: quantise anew, and set int8 against float")
    edge.add_argument("--runs", type=Path, default=Path("runs"), help="where 'train' kept the folds")
    edge.add_argument("--bundle", type=Path, help="write the zip for a device here")
    edge.set_defaults(run=_edge_export)

    fairness = commands.add_parser("fairness", help="gaps between groups of speakers, of one model and of another")
    fairness.add_argument("before", help="a bundled model with stored predictions, such as whisper-tiny-statistics")
    fairness.add_argument("after", help="another one of the same corpus, such as co-vada-after")
    fairness.add_argument("--corpus", type=Path, required=True, help="folder of the corpus")
    fairness.set_defaults(run=_fairness)

    groups = commands.add_parser(
        "groups", help="what a model finds in each group of speakers, and which gaps are there"
    )
    groups.add_argument(
        "table", type=Path, help="answers that 'evaluate' has stored, or your own as CSV or Parquet (as the app takes)"
    )
    groups.add_argument("--by", nargs="+", default=[], metavar="GROUPING", help="sex, 'age group' … (default: all)")
    groups.add_argument("--reference", default="", help="group that the others are set against (default: the largest)")
    groups.add_argument(
        "--measure",
        nargs="+",
        default=[],
        help="such as ECE or 'false alarms of anger' (default: UAR and recalls); gaps over all groups are always told",
    )
    groups.add_argument("--power", action="store_true", help="say as well what so many speakers could have shown")
    groups.add_argument("--out", type=Path, metavar="FILE.parquet", help="write all figures here")
    groups.set_defaults(run=_groups)

    from ser_core.parallel import add_options
    from ser_core.settings import ASSETS

    features = commands.add_parser("features", help="extract features of corpora ahead of training, into the cache")
    features.add_argument("--corpora", type=Path, nargs="+", default=[], metavar="FOLDER", help="as for evaluate")
    features.add_argument("--sets", nargs="+", default=[], metavar="SET", help="eGeMAPSv02, ComParE_2016")
    features.add_argument("--encoders", nargs="+", default=[], metavar="ENCODER", help="such as whisper-tiny.en")
    add_options(features)
    features.set_defaults(run=_features)

    evaluate = commands.add_parser("evaluate", help="all models on all corpora, one stored table each; resumes")
    evaluate.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="names or folders (default: all)")
    evaluate.add_argument(
        "--corpora",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="folders of corpora or CSV tables (default: SERSCOPE_CORPORA; CREMA-D must be lossless)",
    )
    evaluate.add_argument("--out", type=Path, default=ASSETS / "results" / "evaluation", help="where the tables go")
    evaluate.add_argument("--runs", type=Path, default=Path("runs"), help="where what is under way is kept")
    add_options(evaluate)
    evaluate.set_defaults(run=_evaluate)

    robust = commands.add_parser("robustness", help="models on worse recordings of the same clips; resumes")
    robust.add_argument("--clips", type=_from_one, default=114, help="clips of each corpus, about (default 114)")
    robust.set_defaults(run=_robustness)

    domain = commands.add_parser(
        "domain", help="ranges of training clips, and how often clips outside are told; resumes"
    )
    domain.add_argument(
        "--clips", type=_from_one, default=19, help="clips of each group, about; six times as many held out"
    )
    domain.set_defaults(run=_domain)
    for each in (robust, domain):
        each.add_argument("--corpora", type=Path, nargs="+", required=True, metavar="FOLDER", help="CREMA-D: lossless")
        each.add_argument("--noise", type=Path, required=True, help="folder of real noise, such as ESC-10")
        each.add_argument(
            "--models", nargs="+", default=[], metavar="MODEL", help="default: all that do not transcribe"
        )
        each.add_argument("--runs", type=Path, default=Path("runs"), help="where what is finished is kept")
        each.add_argument("--threads", type=_from_one, help="CPU threads")

    leaks = commands.add_parser("leaks", help="what tests share with their training, and speakers give away")
    leaks.add_argument("corpora", type=Path, nargs="+", metavar="FOLDER", help="folders of corpora or CSV tables")
    leaks.add_argument("--no-sound", action="store_true", help="do not compare the recordings themselves")
    leaks.set_defaults(run=_leaks)

    power = commands.add_parser(
        "power", help="how often made-up gaps between groups are found, and where there is none"
    )
    power.add_argument("--runs", type=_from_one, default=1000, help="made-up corpora for each size of groups")
    power.set_defaults(run=_power)

    cues = commands.add_parser(
        "cues", help="store a few functionals of every clip, to set speakers' voices side by side"
    )
    cues.add_argument("--corpora", type=Path, nargs="+", default=[], metavar="FOLDER", help="default: SERSCOPE_CORPORA")
    cues.set_defaults(run=_cues)

    results = commands.add_parser("results", help="rebuild the figures of cards and README from stored predictions")
    results.set_defaults(run=_results)
    return parser


if __name__ == "__main__":
    sys.exit(main())
