"""Explanations side by side: one clip through several models or methods, or two clips through one model.

Maps of one clip are held against each other (:mod:`explain.map_pairs`). Two clips of one speaker are held against the
error of measuring (:mod:`explain.change`), those of two speakers only in relative terms (:mod:`explain.relative_cues`).
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from explain.attribution import DIRECTIONS, Method, Target, method_label, methods_for
from explain.change import Change, changes, repeated
from explain.comparison_words import (
    WHY_RELATIVE,
    answers_in_words,
    changes_in_words,
    maps_in_words,
    models_in_words,
    relative_in_words,
)
from explain.cues import CueSettings
from explain.expert import expert_emotion, shared_name, shared_names
from explain.explanation import Explanation, explain
from explain.map_pairs import MapPair, map_pair
from explain.method_choice import best_first
from explain.relative_cues import RelativeCue, relative_cues
from ser_core.audio import Recording
from ser_core.errors import ExplanationError
from ser_core.models import Prediction, SpeechModel

FEWEST, MOST = 2, 6

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Explanations side by side, and what they agree and disagree on.

    Attributes:
        kind: "models", "methods", "same speaker" or "two speakers".
        titles: of the sides.
        sides: two to six explanations; the second clip comes second.
        pairs: every two maps of one clip; none for two clips.
        changes: of the cues of one speaker's two clips.
        relative: cues of two speakers.
        sentences: what was found, in plain words.
    """

    kind: str
    titles: tuple[str, ...]
    sides: tuple[Explanation, ...]
    pairs: tuple[MapPair, ...] = ()
    changes: tuple[Change, ...] = ()
    relative: tuple[RelativeCue, ...] = ()
    sentences: tuple[str, ...] = ()


# One clip


def compare_models(
    recording: Recording,
    models: Sequence[SpeechModel],
    *,
    method: str | None = None,
    emotion: str | None = None,
    settings: CueSettings | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Return the same clip explained through two to six models.

    Args:
        recording: the clip.
        models: the models.
        method: for every model that has it; the first with a time axis where a model has not, or where none is named.
        emotion: explained for every model that knows it; by default the answer that most models give. A model that
            does not know it explains its own answer.
        settings: of the acoustic measurement.
        progress: told the share done (0 … 1) and what is being done.

    Raises:
        ExplanationError: there are fewer than two models or more than six, or none of them has the method or knows the
            emotion.
    """
    _count(models, "models")
    asked = emotion or _most_common([model.predict(recording) for model in models])
    jobs = [(model, _method(method, methods_for(model)), target_of(model, recording, asked)) for model in models]
    if method is not None and all(used != method for _, used, _ in jobs):
        raise ExplanationError(f"None of these models can be explained by '{method}'; choose another method.")
    if emotion is not None and not any(target for _, _, target in jobs):
        raise ExplanationError(f"None of these models knows '{emotion}'; choose another emotion.")
    sides = _explained(recording, jobs, settings, progress)
    titles = _told_apart([side.card.title for side in sides])
    return _one_clip("models", titles, sides)


def compare_methods(
    recording: Recording,
    model: SpeechModel,
    methods: Sequence[str],
    *,
    target: Target | None = None,
    settings: CueSettings | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Return the same clip and model explained by two or more methods.

    Args:
        recording: the clip.
        model: the model.
        methods: names that ``methods_for(model)`` offers.
        target: what every method explains; the answer by default.
        settings: of the acoustic measurement.
        progress: told the share done (0 … 1) and what is being done.

    Raises:
        ExplanationError: there are fewer than two methods or more than six, or one does not fit the model.
    """
    _count(methods, "methods")
    sides = _explained(recording, [(model, method, target) for method in methods], settings, progress)
    return _one_clip("methods", _told_apart([method_label(method) for method in methods]), sides)


def _explained(
    recording: Recording,
    jobs: Sequence[tuple[SpeechModel, str, Target | None]],
    settings: CueSettings | None,
    progress: Progress | None,
) -> tuple[Explanation, ...]:
    """Explain one clip several times; its voice is measured once."""
    sides: list[Explanation] = []
    for place, (model, method, target) in enumerate(jobs):
        first = sides[0] if sides else None
        own = None if first else settings
        tell = _part(progress, place / len(jobs), 1 / len(jobs), model.card.title)
        sides.append(explain(recording, model, method, target, own, progress=tell, like=first))
    return tuple(sides)


def _one_clip(kind: str, titles: tuple[str, ...], sides: tuple[Explanation, ...]) -> Comparison:
    pairs = tuple(map_pair(sides, one, other) for one, other in itertools.combinations(range(len(sides)), 2))
    said = (*(models_in_words(titles, sides) if kind == "models" else ()), *maps_in_words(titles, sides, pairs))
    return Comparison(kind, titles, sides, pairs, sentences=said)


# Two clips


def compare_clips(
    first: Recording,
    second: Recording,
    model: SpeechModel,
    *,
    same_speaker: bool,
    method: str | None = None,
    emotion: str | None = None,
    settings: CueSettings | None = None,
    second_settings: CueSettings | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Return two clips explained through one model: of one speaker (before and after), or of two speakers.

    Args:
        first: the first clip; the one before.
        second: the second clip; the one after.
        model: the model.
        same_speaker: whether one person speaks in both; only then are absolute figures compared.
        method: by default, of those with a time axis, the one that Explain offers first.
        emotion: explained in both clips; the answer to the first by default. A dimension is explained the way in which
            the first clip's value points.
        settings: of the acoustic measurement of the first clip.
        second_settings: of the second; those of the first, with its formant ceiling, where one person speaks.
        progress: told the share done (0 … 1) and what is being done.

    Raises:
        ExplanationError: the class or the method is not one of the model's, or a clip cannot be measured.
    """
    chosen = _method(method, best_first(model.name, methods_for(model)))
    if method is not None and chosen != method:
        offered = ", ".join(each.name for each in methods_for(model))
        raise ExplanationError(f"'{method}' does not fit {model.name}; choose one of {offered}.")
    target = None if emotion is None else known_target(model, first, emotion)
    share = 0.3 if same_speaker else 0.5
    one = explain(first, model, chosen, target, settings, progress=_part(progress, 0.0, share, first.name))
    if same_speaker and second_settings is None:
        second_settings = dataclasses.replace(
            settings or CueSettings(), formant_ceiling_hz=one.tracks.settings.formant_ceiling_hz
        )
    two = explain(
        second, model, chosen, one.target, second_settings, progress=_part(progress, share, share, second.name)
    )
    sides, titles = (one, two), _told_apart([first.name, second.name])
    if not same_speaker:
        relative = relative_cues(one, two)
        sexes = [side.tracks.settings.sex for side in sides]
        said = (*answers_in_words(titles, sides), *relative_in_words(titles, relative, sexes), WHY_RELATIVE)
        return Comparison("two speakers", titles, sides, relative=relative, sentences=said)
    repeats = [
        repeated(
            side.recording,
            side.tracks,
            seed=place,
            progress=_part(progress, 0.6 + 0.2 * place, 0.2, side.recording.name),
        )
        for place, side in enumerate(sides)
    ]
    found = changes(one.cues.values, two.cues.values, (repeats[0], repeats[1]))
    said = (*answers_in_words(titles, sides), *changes_in_words(found))
    return Comparison("same speaker", titles, sides, changes=found, sentences=said)


# What is asked


def _count(things: Sequence, what: str) -> None:
    if not FEWEST <= len(things) <= MOST:
        raise ExplanationError(f"{FEWEST} to {MOST} {what} can be compared, and {len(things)} were given.")


def _method(wanted: str | None, offered: Sequence[Method]) -> str:
    if wanted in {method.name for method in offered}:
        return str(wanted)
    return next((method.name for method in offered if method.axes != "features"), offered[0].name)


def known_target(model: SpeechModel, recording: Recording, emotion: str) -> Target:
    """Return what ``target_of`` returns.

    Raises:
        ExplanationError: the model does not know the emotion.
    """
    found = target_of(model, recording, emotion)
    if found is None:
        raise ExplanationError(f"{model.name} does not know '{emotion}'; it knows {', '.join(model.emotions)}.")
    return found


def target_of(model: SpeechModel, recording: Recording, emotion: str) -> Target | None:
    """Return the emotion that the model knows by this or another name, or the dimension the way its value points.

    None where the model knows neither.
    """
    if model.card.answer == "dimensions":
        if emotion not in model.emotions:
            return None
        return Target(emotion, direction=DIRECTIONS[int(model.predict(recording).value(emotion) < 0)])
    own = shared_names(model.emotions)
    known = own.get(emotion, own.get(expert_emotion(emotion)))
    return None if known is None else Target(known)


def _most_common(predictions: Sequence[Prediction]) -> str:
    tops = [shared_name(p.top, p.emotions) for p in predictions if p.values is None]
    return Counter(tops).most_common(1)[0][0] if tops else ""


def _told_apart(titles: Sequence[str]) -> tuple[str, ...]:
    """Titles of which no two are the same."""
    seen: Counter = Counter()
    found = []
    for title in titles:
        seen[title] += 1
        found.append(f"{title} ({seen[title]})" if list(titles).count(title) > 1 else title)
    return tuple(found)


def _part(progress: Progress | None, start: float, width: float, who: str) -> Progress:
    def tell(share: float, words: str) -> None:
        if progress is not None:
            progress(start + width * share, f"{who}: {words[0].lower()}{words[1:]}")

    return tell
