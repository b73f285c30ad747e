"""Command line: ``python -m explain CLIP --model … --method … [--pdf …] [--json …] [--csv …] [--textgrid …]``.

``python -m explain study …`` runs the corpus study (:mod:`explain.study`), ``python -m explain groups …`` sets its
groups of speakers side by side (:mod:`explain.study_groups`), ``python -m explain trust-study …`` runs the study of
the trust tests (:mod:`explain.trust_study`), and ``python -m explain experiment-study …`` that of the voice experiments
(:mod:`explain.experiment_study`). ``python -m explain compare …`` sets explanations side by side
(:mod:`explain.compare`), ``python -m explain recording …`` follows the voices of a session
(:mod:`explain.long_recording_command`), and ``python -m explain batch …`` explains many clips into one table
(:mod:`explain.batch_command`). ``python -m explain reopen REPORT`` shows a report's figures again
(:mod:`explain.reopen_command`), and ``python -m explain ratings`` says what came out of the rating study
(:mod:`explain.rating_command`).

Exit codes: 0 done, 2 an input or option is wrong (one sentence says what).
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.errors import SettingError, command_line
from ser_core.files import check_outputs, write_bytes
from ser_core.numbers import rounded_percent

if TYPE_CHECKING:
    from explain.attribution import Target
    from explain.explanation import Explanation
    from explain.intervention import DoseResponse
    from explain.opened import Section
    from ser_core.audio import Recording
    from ser_core.models import Prediction, SpeechModel

COMMANDS = {
    "study": "explain.study",
    "groups": "explain.study_groups",
    "trust-study": "explain.trust_study_command",
    "experiment-study": "explain.experiment_study",
    "compare": "explain.compare",
    "recording": "explain.long_recording_command",
    "batch": "explain.batch_command",
    "reopen": "explain.reopen_command",
    "ratings": "explain.rating_command",
}


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Explain one clip, or run the study of many, and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        command: int = importlib.import_module(COMMANDS[arguments[0]]).main(arguments[1:])
        return command
    options = _parser().parse_args(arguments)
    return _explain(options)


def _explain(options: argparse.Namespace) -> int:
    from explain import export, export_json
    from explain.attribution import method_label, methods_for
    from explain.baseline import answer_sentence
    from explain.cues import CueSettings
    from explain.explanation import explain, with_baseline, with_language
    from explain.method_choice import best_first
    from explain.opened import Opened
    from explain.report import pdf
    from explain.text_files import csv_file
    from explain.trust import trust
    from ser_core.audio import read
    from ser_core.registry import load_model, model_names
    from ser_core.speaker_adaptation import adapted

    outputs = (options.pdf, options.json, options.csv, options.textgrid, options.bundle)
    if options.listen is not None and options.listen.is_file():
        raise SettingError(f"{options.listen} is a file; name a folder for the two sounds.")
    check_outputs(outputs, [options.clip, *(options.baseline or ()), *(options.adapt or ())])
    recording = read(options.clip)
    model = load_model(options.model or model_names()[0])
    if options.stretch and not options.experiment:
        raise SettingError("--stretch needs --experiment: name what is changed there.")
    if options.experiment and model.card.answer != "emotion":
        raise SettingError("Experiments follow the probability of an emotion; choose a model that answers with one.")
    method = options.method or best_first(model.name, methods_for(model))[0].name
    others = [read(path) for path in options.baseline or ()]
    if options.adapt is not None:
        heard = [clip for clip in [read(path) for path in options.adapt] or others if clip.sha256 != recording.sha256]
        if not heard:
            raise SettingError("--adapt needs other clips of the same person: name them, or those of --baseline.")
        model = adapted(model, [recording, *heard], None if options.quiet else _tell)
    settings = CueSettings(
        sex=options.sex,
        pitch_floor_hz=options.pitch_floor,
        pitch_ceiling_hz=options.pitch_ceiling,
        formant_ceiling_hz=options.formant_ceiling,
    )
    explanation = explain(
        recording,
        model,
        method,
        _target(options, model, recording),
        settings,
        region_rule=options.regions,
        progress=None if options.quiet else _tell,
    )
    explanation = with_language(explanation)
    print(f"{model.card.title}: {_answer(explanation.prediction)}")
    print(f"Explained: {explanation.target.name}, by {method_label(explanation.attribution.method)}")
    print(explanation.paragraph)
    if explanation.prediction.familiarity is not None:
        print(f"  {explanation.prediction.familiarity.sentence}")
    for warning in explanation.outside:
        print(f"  {warning.sentence}")
    if explanation.rivalry is not None:
        print(explanation.rivalry.sentence)
    # Before what takes longer, as a clip without voice cannot be changed.
    experiments = _experiments(options, model, recording, explanation.target.emotion)
    if others:
        explanation = with_baseline(
            explanation,
            others,
            None if options.quiet else _tell,
            model=model,
        )
        own = explanation.own_baseline
        assert own is not None
        print(own.sentence)
        if own.answer is not None:
            print(answer_sentence(len(own.clips), own.answer, explanation.prediction))
    tested = None
    if options.trust:
        tested = trust(
            model,
            recording,
            explanation.attribution,
            explanation.speech,
            regions=explanation.regions,
            quick=options.trust == "quick",
            progress=None if options.quiet else _tell,
        )
        print(tested.sentence)
        for test in tested.tests:
            print(f"  {test.name}: {test.verdict}; {test.words}")
    for experiment in experiments:
        print(experiment.sentence)
    opened = Opened(tested, experiments, tuple(_sections(model, explanation)))
    voice = not options.without_voice
    writers: tuple[tuple[Path | None, Callable[[], bytes]], ...] = (
        (options.json, lambda: export_json.to_json(explanation, opened=opened).encode()),
        (options.csv, lambda: csv_file(export.cue_csv(explanation))),
        (options.textgrid, lambda: export.text_grid(explanation).encode()),
        (options.bundle, lambda: export.bundle(explanation, opened=opened, voice=voice)),
        (options.pdf, lambda: pdf(explanation, opened=opened, voice=voice)),
    )
    for path, content in writers:
        if path is not None:
            write_bytes(path, content())
            print(f"written: {path}")
    if options.listen is not None:
        _listen(options.listen, model, explanation)
    return 0


def _target(options: argparse.Namespace, model: "SpeechModel", recording: "Recording") -> "Target | None":
    """Return what is asked to be explained; None for the answer."""
    from explain.attribution import Target
    from explain.rivals import rival_target

    if options.direction and options.against is not None:
        raise SettingError("--direction is of a dimension and --against of an emotion; give one of the two.")
    if options.direction and not options.target:
        raise SettingError("--direction needs --target: name the dimension that is explained.")
    if options.against is not None:
        return rival_target(model.predict(recording), options.target, options.against)
    return Target(options.target, direction=options.direction) if options.target else None


def _sections(model: "SpeechModel", explanation: "Explanation") -> "Iterator[Section]":
    """Yield the further parts of the report: words, rival emotions, the person's other clips."""
    from explain.opened_sections import baseline_section, rivalry_section, spoken_section

    target = explanation.target
    if hasattr(model, "evidence"):  # it reads words
        evidence = model.evidence(explanation.recording, target.emotion, target.against)
        yield spoken_section(evidence, target.name, model.emotions)
    if explanation.rivalry is not None:
        yield rivalry_section(explanation.rivalry)
    if explanation.own_baseline is not None:
        yield baseline_section(explanation.own_baseline, explanation.prediction)


def _experiments(
    options: argparse.Namespace, model: "SpeechModel", recording: "Recording", emotion: str
) -> "tuple[DoseResponse, ...]":
    """Return what the asked voice experiments gave."""
    from explain.intervention import dose_response

    start_s, end_s = options.stretch or (None, None)
    tell = None if options.quiet else _tell
    return tuple(
        dose_response(model, recording, name, emotion=emotion, start_s=start_s, end_s=end_s, progress=tell)
        for name in dict.fromkeys(options.experiment)
    )


def _listen(folder: Path, model: "SpeechModel", explanation: "Explanation") -> None:
    """Write the salient parts alone and the clip without them as WAV files, and print the model's answers to them."""
    from explain.listen import heard, wav

    both = heard(model, explanation.recording, explanation.regions)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise SettingError(f"The folder {folder} cannot be made ({fault.strerror}); choose another one.") from fault
    for name, part in zip(("salient-only", "salient-removed"), both, strict=True):
        path = folder / f"{name}.wav"
        write_bytes(path, wav(part.recording))
        print(f"{name}: {_answer(part.prediction)}; written: {path}")


def _answer(prediction: "Prediction") -> str:
    from explain.words import dimensions_in_words

    if prediction.values is not None:
        return dimensions_in_words(prediction)
    whose = " of listeners" if prediction.answer == "distribution" else ""
    return f"{prediction.top} ({rounded_percent(prediction.probability(prediction.top), 1)}{whose})"


def _tell(share: float, words: str) -> None:
    print(f"{share:4.0%} {words}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    from explain.cues import SEXES
    from explain.intervention import EXPERIMENTS

    parser = argparse.ArgumentParser(
        prog="python -m explain",
        description="Explain a model's answer about one clip.",
        epilog=f"Instead of a clip, a further command, each with its own --help: {', '.join(COMMANDS)}.",
    )
    parser.add_argument("clip", metavar="CLIP", help="WAV, FLAC, MP3, OGG, M4A/AAC or WebM")
    parser.add_argument("--model", help="a bundled model, a model folder, or a hub name (default: the first bundled)")
    parser.add_argument("--method", help="attribution method (default: the one the app offers first)")
    parser.add_argument("--target", help="emotion or dimension to explain (default: the predicted one)")
    parser.add_argument("--direction", choices=("higher", "lower"), help="which way a dimension is explained")
    parser.add_argument(
        "--against",
        nargs="?",
        const="",
        metavar="EMOTION",
        help="explain the target rather than this emotion, and say what separates the two (default: the runner-up)",
    )
    parser.add_argument(
        "--regions", choices=("connected", "windows"), default="connected", help="how salient regions are found"
    )
    parser.add_argument("--sex", choices=SEXES, default="unknown", help="whose neutral speech is set beside it")
    parser.add_argument(
        "--pitch-floor", type=float, metavar="HZ", help="lowest pitch looked for (default: from the clip)"
    )
    parser.add_argument("--pitch-ceiling", type=float, metavar="HZ", help="highest pitch (default: from the clip)")
    parser.add_argument("--formant-ceiling", type=float, metavar="HZ", help="of F1 to F5 (default: from the clip)")
    parser.add_argument("--trust", choices=("quick", "full"), help="test whether the explanation is true of the model")
    parser.add_argument(
        "--baseline", nargs="+", metavar="FILE", help="up to 20 other clips of the same person, to set the cues against"
    )
    parser.add_argument(
        "--adapt",
        nargs="*",
        metavar="FILE",
        help="explain the model as it answers when it has heard these clips of the same person (default: --baseline's)",
    )
    parser.add_argument(
        "--experiment", nargs="+", choices=list(EXPERIMENTS), default=[], help="change a cue of the voice and ask again"
    )
    parser.add_argument(
        "--stretch", nargs=2, type=float, metavar=("START_S", "END_S"), help="change this stretch only (default: all)"
    )
    parser.add_argument("--listen", type=Path, metavar="FOLDER", help="write the salient parts alone, and the rest")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    for name, what in (
        ("pdf", "the report"),
        ("json", "everything but the audio"),
        ("csv", "the cue table"),
        ("textgrid", "the regions for Praat"),
        ("bundle", "all of them in a zip"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {what}")
    parser.add_argument(
        "--without-voice",
        action="store_true",
        help="leave waveform and spectrogram out of the report (--pdf and in --bundle), as words and voice can be had "
        "again from them",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
