"""A report opened again: the figures that its attached JSON stores, bit for bit, and the same figures made anew.

The data of a report do not hold the voice (a drawn spectrogram does: ``report.pdf``). Without the audio the stored
figures are shown; with the audio of the same SHA-256 the model, the method and the measurement are asked again, and
every figure is held against the stored one.
"""

import io
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np

from explain.explanation import Explanation, explain, remeasure, with_language
from explain.export_json import from_json
from explain.intervention import DoseResponse, dose_response
from explain.opened import NOTHING, Opened
from explain.opened_sections import rivalry_section
from explain.report import ATTACHMENT
from explain.text_files import plain
from explain.trust import QUICK, trust
from ser_core.audio import Recording
from ser_core.domain import LANGUAGE
from ser_core.errors import ExplanationError, short
from ser_core.models import SpeechModel

MAX_BYTES = 50_000_000
"""Largest report that is opened; of a clip of two minutes the PDF has about 10 MB, everything as JSON some 25 MB."""

_MADE_ANEW = (
    *("quality", "speech", "prediction", "target", "attribution", "pooling", "regions", "tracks", "cues"),
    *("agreements", "paragraph", "rivalry", "outside"),
)
_NOT_OURS = "This file is not a report of SERscope; choose a PDF or JSON file that SERscope made."
_BROKEN = "This report is damaged or was changed, so its figures cannot be trusted; ask for the original file."


@dataclass(frozen=True, eq=False)
class Unheard(Recording):
    """A recording of which name, hash and length are known, and not the voice: its samples are empty."""

    seconds: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.seconds


@dataclass(frozen=True, eq=False)
class Reopened:
    """What a report stores; the explanation's recording is :class:`Unheard`, and experiments hold no clips."""

    explanation: Explanation
    opened: Opened


@dataclass(frozen=True)
class Check:
    """One part made anew: how many figures it has, how many differ, and the largest difference of a number."""

    part: str
    figures: int
    different: int
    largest: float

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        count = f"{self.figures} {'figure' if self.figures == 1 else 'figures'}"
        if not self.different:
            return f"{self.part}: {count}, all the same."
        by = f", by at most {self.largest:.2g}" if self.largest > 0 else ""
        return f"{self.part}: {self.different} of {count} differ{by}."


@dataclass(frozen=True, eq=False)
class Remade:
    """A report made anew from the audio, held against what was stored; ``left`` names what was not made anew."""

    explanation: Explanation
    opened: Opened
    checks: tuple[Check, ...]
    left: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether every figure that was made anew is the stored one, bit for bit."""
        return not any(check.different for check in self.checks)

    @property
    def sentence(self) -> str:
        """What came out, and what was not made anew."""
        total = sum(check.figures for check in self.checks)
        said = (
            f"Made anew from the audio: {total:,} figures are the stored ones, bit for bit."
            if self.same
            else "Made anew from the audio, some figures differ from the stored ones. Other versions of the software "
            "or another processor can do that."
        )
        return f"{said} Not made anew: {', '.join(self.left)}." if self.left else said


def reopen(data: bytes) -> Reopened:
    """Return what a report (PDF or JSON) stores.

    Raises:
        ExplanationError: it is no report of ours, it is damaged, too large, or of a newer version.
    """
    if len(data) > MAX_BYTES:
        raise ExplanationError(
            f"This file has more than {MAX_BYTES // 10**6} MB, the most that is opened; if it is a JSON file of "
            "SERscope, open the PDF of the same report, which is smaller."
        )
    text = attached(data) if data.lstrip()[:5] == b"%PDF-" else _text(data)
    parts = from_json(text)
    try:
        explanation = _explanation(parts)
        opened = _opened(parts["opened"]) if parts.get("opened") else NOTHING
        _check(explanation, opened)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as fault:
        raise ExplanationError(_BROKEN) from fault
    return Reopened(explanation, opened)


def why_not_again(model: str) -> str:
    """Return why the figures of a report cannot be made anew with the models at hand; "" if they can."""
    from ser_core.registry import model_names

    if model in model_names():
        return ""
    if model.partition(" (")[0] in model_names():
        return (
            f"The model {short(model)} had been given more than this clip (other clips of the speaker, or the words), "
            "which a report does not hold; explain the clip again with them instead."
        )
    return f"The model {short(model)} is not at hand, so nothing can be made anew."


def attached(data: bytes) -> str:
    """Return the JSON that is attached to a report in PDF.

    Raises:
        ExplanationError: the PDF cannot be read, or has no attachment of ours.
    """
    import pypdf

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        found = [each.content for each in reader.attachment_list if each.name == ATTACHMENT]
    # A hostile file can make the reader fail in any way; all of them mean the same here.
    except Exception as fault:
        raise ExplanationError("This PDF cannot be read; it is damaged or protected by a password.") from fault
    if not found:
        raise ExplanationError(
            "This PDF holds no figures of SERscope: it is another document, or was printed or saved anew, which drops "
            "what is attached. Choose the PDF as SERscope made it."
        )
    return _text(found[0])


def remake(
    stored: Reopened,
    recording: Recording,
    model: SpeechModel,
    *,
    progress: Callable[[float, str], None] | None = None,
) -> Remade:
    """Return the report made anew from its audio, with every figure held against the stored one.

    Args:
        stored: the report.
        recording: the audio it was made from.
        model: the model it is about.
        progress: told the share done (0 … 1) and what is being done.

    Raises:
        ExplanationError: the audio is another recording, or the model another model.
    """
    old = stored.explanation
    if recording.sha256 != old.recording.sha256:
        raise ExplanationError(
            f"This is another recording: its SHA-256 begins with {recording.sha256[:12]}, that of the report with "
            f"{old.recording.sha256[:12]}. Choose the file that the report was made from."
        )
    if model.name != old.prediction.model:
        raise ExplanationError(f"The report is about the model {short(old.prediction.model)}, not {model.name}.")
    tell = progress or (lambda share, words: None)
    rule = "connected" if old.region_rule == "yours" else old.region_rule
    new = explain(
        recording,
        model,
        old.attribution.method,
        old.target,
        old.tracks.settings,
        region_rule=rule,
        progress=partial(_part, tell, 0.0, 0.4),
    )
    if old.region_rule == "yours":
        new = remeasure(new, regions=old.regions)
    if any(each.measure == LANGUAGE for each in old.outside):
        new = with_language(new)
    checks = [_compared(_WORDS.get(name, name), getattr(old, name), getattr(new, name)) for name in _MADE_ANEW]
    opened = NOTHING
    was = stored.opened
    if was.trust is not None:
        names = tuple(test.name for test in was.trust.tests)
        again = trust(
            model,
            recording,
            new.attribution,
            new.speech,
            regions=new.regions,
            quick=set(names) <= set(QUICK),
            progress=partial(_part, tell, 0.4, 0.3),
        )
        opened = Opened(trust=again)
        kept = tuple(test for test in again.tests if test.name in names)
        checks += [_compared("trust tests", was.trust.tests, kept)]
        checks += [_compared("curves of removal", was.trust.curves, again.curves)]
    for number, each in enumerate(was.experiments):
        made = dose_response(
            model,
            recording,
            each.experiment.name,
            emotion=each.emotion,
            start_s=each.start_s,
            end_s=each.end_s,
            doses=tuple(each.doses),
            progress=partial(_part, tell, 0.7 + 0.3 * number / len(was.experiments), 0.3 / len(was.experiments)),
        )
        opened = Opened(opened.trust, (*opened.experiments, made))
        checks += [_compared(f"experiment on {made.experiment.title.lower()}", _unheard(each), _unheard(made))]
    tell(1.0, "Done")
    compared = set() if new.rivalry is None else {rivalry_section(new.rivalry).title}
    left = [section.title.lower() for section in was.sections if section.title not in compared]
    if old.own_baseline is not None and not any("other clips" in title for title in left):
        left.append("what is set against the person's other clips")
    return Remade(new, Opened(opened.trust, opened.experiments, was.sections), tuple(checks), tuple(left))


def _part(tell: Callable[[float, str], None], start: float, length: float, share: float, words: str) -> None:
    tell(start + length * share, words)


_WORDS = {
    "quality": "the recording",
    "prediction": "answer",
    "attribution": "map",
    "pooling": "the model's own weights",
    "regions": "salient regions",
    "tracks": "cue tracks",
    "agreements": "agreement with the experts",
    "rivalry": "one emotion rather than the other",
}


# Back from JSON


def restored(kind: Any, value: Any) -> Any:
    """Return plain JSON values as the types that they were, such as a dataclass with its tuples and arrays.

    Raises:
        TypeError, ValueError, KeyError: the value is not of that kind.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else restored(next(each for each in inner if each is not type(None)), value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        given = {f.name: restored(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value}
        return kind(**given)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"'{short(value)}' is no list")
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(restored(inner[0], each) for each in value)
        return tuple(restored(each, one) for each, one in zip(inner, value, strict=True))
    if origin is dict:
        return {str(key): restored(inner[1], one) for key, one in value.items()}
    if kind is float:
        if isinstance(value, str):
            return {"inf": float("inf"), "-inf": float("-inf")}[value]
        return float("nan") if value is None else _checked(value, value, (int, float))
    if kind in (int, bool, str, np.ndarray):
        return _checked(value, value, kind)
    if kind in (Any, dict):
        return value
    raise TypeError(f"{kind} is not stored in a report")


def _checked(found: Any, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"'{short(value)}' is not {kind}")
    return found


def _explanation(parts: dict[str, Any]) -> Explanation:
    hints = typing.get_type_hints(Explanation)
    recording = restored(Unheard, parts["recording"] | {"samples": np.zeros(0, np.float32)} | _length(parts))
    blank = {"recording": recording, "spectrogram_db": np.zeros((0, 0), np.float32)}
    given = {name: restored(kind, parts[name]) for name, kind in hints.items() if name in parts and name not in blank}
    return Explanation(**blank, **given)


def _opened(parts: dict[str, Any]) -> Opened:
    experiments = [each | {"clips": []} for each in parts["experiments"]]
    found: Opened = restored(Opened, parts | {"experiments": experiments})
    return found


def _length(parts: dict[str, Any]) -> dict[str, Any]:
    return {"seconds": parts["recording"]["duration_s"]}


def _check(e: Explanation, opened: Opened) -> None:
    """Raise ValueError where parts do not fit together, so that no view fails on them."""
    a, p, tracks = e.attribution, e.prediction, e.tracks
    wanted = {
        "time_frequency": (a.bands_hz, a.times_s),
        "time": (a.times_s,),
        "features": (a.feature_names,),
    }[a.axes]
    shape = tuple(len(each) for each in wanted if each is not None)
    outputs = p.probabilities if p.values is None else p.values
    frames = len(tracks.times_s)
    fits = (
        a.relevance.shape == shape and len(shape) == len(wanted),
        len(outputs) == len(p.emotions) >= 2,
        p.constant == () or len(p.constant) == len(p.emotions),
        all(track.shape == (frames,) for track in (*tracks.tracks.values(), tracks.voiced, tracks.speech)),
        0 < e.recording.duration_s < 24 * 3600,
        e.pooling is None or e.pooling.times_s.shape == e.pooling.weights.shape,
        len(e.spectrogram_hz) > 1,
        *(
            len(each.doses) == len(each.measured) == len(each.probabilities) > 0
            and each.probabilities.shape[1] == len(each.emotions) == len(each.original)
            and each.emotion in each.emotions
            for each in opened.experiments
        ),
    )
    if not all(fits):
        raise ValueError("parts of the report do not fit together")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ExplanationError(_NOT_OURS) from fault


# Stored against made anew


def _unheard(found: DoseResponse) -> dict[str, Any]:
    return {f.name: getattr(found, f.name) for f in fields(found) if f.name != "clips"}


def _compared(part: str, old: Any, new: Any) -> Check:
    before, after = dict(_leaves(plain(old))), dict(_leaves(plain(new)))
    places = before.keys() | after.keys()
    changed = [place for place in places if before.get(place, _ABSENT) != after.get(place, _ABSENT)]
    sizes = [
        abs(before[place] - after[place])
        for place in changed
        if isinstance(before.get(place), int | float) and isinstance(after.get(place), int | float)
    ]
    return Check(part, len(places), len(changed), float(max(sizes, default=0.0)))


_ABSENT = object()


def _leaves(value: Any, place: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, (*place, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _leaves(one, (*place, number))
    else:
        yield place, value
