"""A session of up to an hour: who speaks when, and what a model answers about each voice over time.

The sound is decoded and cut piece by piece (:mod:`ser_core.long_audio`, :mod:`ser_core.speech`,
:mod:`ser_core.diarisation`); each stretch of one voice is then a clip like any other, so that its answer and its cues
are those that the explanation of that clip shows. Stretches come out as they are made; only their figures are kept.
:mod:`explain.long_recording_baseline` sets them against the other stretches of the same voice.
"""

import dataclasses
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from explain.cues import CueSettings, CueValue, check, measure
from explain.magnitudes import magnitudes
from ser_core import domain
from ser_core.audio import MIN_SECONDS, SAMPLE_RATE, from_samples
from ser_core.diarisation import Turn, split, voices
from ser_core.domain import Outside
from ser_core.errors import AudioError, ExplanationError
from ser_core.long_audio import LongSound, part_name
from ser_core.models import Prediction, SpeechModel
from ser_core.quality import quality
from ser_core.speaker_adaptation import adaptable
from ser_core.speech import Segment, Utterance, speech_segments, utterances
from ser_core.voices import embeddings

if TYPE_CHECKING:
    from ser_core.audio import Recording

Measured = Future[tuple[tuple[CueValue, ...], CueSettings, tuple[Outside, ...]]]
AHEAD = 3
NARROWEST_S, WIDEST_S = 10.0, 60.0
FEWEST_EFFECTIVE = 3.0
NUMBERED = re.compile(r"voice \d+", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of speech of one voice: what the model answers, and its cues over the whole stretch.

    prediction is None where the stretch is no clip that can be asked, and note says why. embedding (192,) tells the
    voice; it is biometric and is never written. around_s are the seconds of sound before and after the speech that
    belong to the clip that is asked about. outside says in what the stretch lies outside the model's training;
    that its ends are cut is left out, since it is we who cut them. settings are those in force when the cues were
    measured, None where there are none. seen (features,) is what the model's classifier saw, where the model can be
    adapted to a voice; it is never written either.
    """

    number: int
    start_s: float
    end_s: float
    prediction: Prediction | None
    cues: tuple[CueValue, ...]
    embedding: np.ndarray = field(repr=False)
    note: str = ""
    outside: tuple[Outside, ...] = ()
    settings: CueSettings | None = None
    seen: np.ndarray | None = field(default=None, repr=False)
    around_s: tuple[float, float] = (0.0, 0.0)

    @property
    def clip_s(self) -> tuple[float, float]:
        """Start and end in seconds of the clip that is asked about: the speech and some sound around it."""
        return self.start_s - self.around_s[0], self.end_s + self.around_s[1]

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    @property
    def middle_s(self) -> float:
        """The middle in seconds."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, eq=False)
class LongRecording:
    """What is known of a session so far.

    voice_of (stretches,) names the voice of each stretch by number, from 0 in the order in which they are first heard;
    names holds what the user calls them. heard_s says how far the recording was listened to. adapted says whether the
    answers are those of the model after it has heard each voice (:func:`explain.long_recording_baseline.heard_first`).
    """

    name: str
    sha256: str
    model: str
    outputs: tuple[str, ...]
    heard_s: float
    complete: bool
    stretches: tuple[Stretch, ...]
    voice_of: tuple[int, ...]
    names: dict[int, str] = field(default_factory=dict)
    adapted: bool = False

    @property
    def voices(self) -> tuple[int, ...]:
        """The voices that have at least one stretch."""
        return tuple(sorted(set(self.voice_of)))

    def called(self, voice: int) -> str:
        """Return what a voice is called: the user's name for it, or "Voice 1" and so on."""
        return self.names.get(voice, f"Voice {voice + 1}")

    def of(self, voice: int) -> tuple[Stretch, ...]:
        """Return the stretches of a voice in time order."""
        return tuple(s for s, v in zip(self.stretches, self.voice_of, strict=True) if v == voice)

    def spoken_s(self, voice: int) -> float:
        """Return for how many seconds a voice speaks."""
        return sum(s.length_s for s in self.of(voice))

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who speaks when."""
        return tuple(Turn(s.start_s, s.end_s, v) for s, v in zip(self.stretches, self.voice_of, strict=True))


@dataclass(frozen=True, eq=False)
class Course:
    """One output of the model for one voice over time, all arrays (times,).

    mean is the local mean of the stretches around a time, low … high its 95 % interval (of the mean, not of single
    stretches), NaN where fewer than three stretches' worth of speech lies near. width_s is the kernel's standard
    deviation.
    """

    output: str
    times_s: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    width_s: float


def stretches(
    sound: LongSound,
    model: SpeechModel,
    settings: CueSettings | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[Stretch]:
    """Yield the stretches of a session in time order, each as soon as it is made.

    Args:
        sound: the session.
        model: the model that is asked about every stretch.
        settings: of the acoustic measurement, for all voices.
        progress: told the share done (0 … 1, by time where the file states its length) and what is being done; what it
            raises ends the work.

    Raises:
        AudioError: the file is damaged, cut off or too long; the stretches before that were yielded.
    """
    waiting: deque[tuple[Stretch, Measured | None]] = deque()
    heard_s = 0.0

    def heard() -> Iterator[np.ndarray]:
        nonlocal heard_s
        for block in sound.blocks():
            heard_s += len(block) / SAMPLE_RATE
            yield block

    def finished() -> Stretch:
        made, cues = waiting.popleft()
        if cues is None:
            return made
        try:
            values, in_force, outside = cues.result()
            return dataclasses.replace(made, cues=values, settings=in_force, outside=outside)
        except ExplanationError as fault:
            return dataclasses.replace(made, note=str(fault))

    with ThreadPoolExecutor(1, thread_name_prefix="cues") as measuring:
        try:
            for number, piece in enumerate(_pieces(heard())):
                made, clip = _asked(number, piece, sound.name, model)
                cues = None if clip is None else measuring.submit(_measured, clip, settings or CueSettings(), model)
                waiting.append((made, cues))
                if progress is not None:
                    progress(_share(made.end_s, heard_s, sound.stated_s), f"Listening, {made.end_s / 60:.1f} min")
                # The first comes at once; later ones are measured while the next are asked about.
                while waiting and (len(waiting) > min(AHEAD, number) or _ready(waiting[0][1])):
                    yield finished()
        except AudioError:
            while waiting:
                yield finished()
            raise
        while waiting:
            yield finished()


def _pieces(blocks: Iterable[np.ndarray]) -> Iterator[Utterance]:
    for whole in utterances(blocks):
        yield from split(whole)


def _share(at_s: float, heard_s: float, stated_s: float | None) -> float:
    return min(1.0, at_s / stated_s) if stated_s else min(0.95, at_s / max(at_s, heard_s, 1.0))


def _ready(cues: "Measured | None") -> bool:
    return cues is None or cues.done()


def _asked(number: int, piece: Utterance, name: str, model: SpeechModel) -> "tuple[Stretch, Recording | None]":
    """Return a stretch with its voice and the model's answer, and the clip whose cues are still to be measured."""
    around_s = piece.before / SAMPLE_RATE, piece.after / SAMPLE_RATE
    embedding = embeddings([piece.spoken])[0]
    bare = Stretch(number, piece.speech.start_s, piece.speech.end_s, None, (), embedding, around_s=around_s)
    if len(piece.spoken) < MIN_SECONDS * SAMPLE_RATE:
        return dataclasses.replace(bare, note=f"shorter than {MIN_SECONDS} s"), None
    try:
        clip = from_samples(piece.samples, SAMPLE_RATE, part_name(name, *bare.clip_s))
    except AudioError as fault:
        return dataclasses.replace(bare, note=str(fault)), None
    prediction, seen = model.heard(clip)
    if seen is None or not adaptable(model):
        return dataclasses.replace(bare, prediction=prediction), clip
    return dataclasses.replace(bare, prediction=prediction, seen=seen.numpy().copy()), clip


def _measured(
    clip: "Recording", settings: CueSettings, model: SpeechModel
) -> tuple[tuple[CueValue, ...], CueSettings, tuple[Outside, ...]]:
    speech = speech_segments(clip)
    found = domain.outside(model.card, domain.measured(clip, speech))
    told = tuple(each for each in found if each.measure != domain.EDGE)
    return *_cues(clip, speech, settings), told


def _cues(
    clip: "Recording", speech: Sequence[Segment], settings: CueSettings
) -> tuple[tuple[CueValue, ...], CueSettings]:
    """Return the cues over a whole clip, and the settings in force."""
    tracks = measure(clip, settings, speech)
    voiced = float(tracks.voiced[tracks.speech].mean()) if tracks.speech.any() else 0.0
    return magnitudes(tracks, (), quality(clip, speech, voiced)), tracks.settings


def session(
    sound: LongSound,
    model: SpeechModel,
    found: Sequence[Stretch],
    *,
    count: int | None = 2,
    complete: bool = True,
) -> LongRecording:
    """Return the stretches with their voices.

    Args:
        sound: the session.
        model: the model that was asked.
        found: its stretches, or the first of them.
        count: the number of voices; None to estimate it.
        complete: whether these are all.
    """
    lengths_s = np.array([s.length_s for s in found])
    labels = voices(np.array([s.embedding for s in found]), lengths_s, count) if found else np.zeros(0, int)
    heard_s = max((s.end_s for s in found), default=0.0)
    if complete and sound.stated_s is not None:
        heard_s = sound.stated_s
    return LongRecording(
        name=sound.name,
        sha256=sound.sha256,
        model=model.name,
        outputs=model.emotions,
        heard_s=heard_s,
        complete=complete,
        stretches=tuple(found),
        voice_of=tuple(int(k) for k in labels),
    )


def analyse(
    sound: LongSound,
    model: SpeechModel,
    settings: CueSettings | None = None,
    *,
    count: int | None = 2,
    progress: Callable[[float, str], None] | None = None,
) -> LongRecording:
    """Return a whole session: ``stretches`` with their voices by ``session``; the arguments are theirs."""
    return session(sound, model, list(stretches(sound, model, settings, progress)), count=count)


# --- corrections by hand ---------------------------------------------------------------------------------------------


def renamed(found: LongRecording, voice: int, name: str) -> LongRecording:
    """Return the session with a voice called by another name.

    Raises:
        ExplanationError: there is no such voice, or ``voice_name`` refuses the name.
    """
    _check_voice(found, voice)
    name = voice_name(name, voice, [found.called(other) for other in found.voices if other != voice])
    return dataclasses.replace(found, names=found.names | {voice: name})


def voice_name(name: str, voice: int, others: Iterable[str]) -> str:
    """Return a name for a voice on one line.

    Args:
        name: what the user typed.
        voice: whose it is.
        others: what the other voices are called.

    Raises:
        ExplanationError: the name is empty, another voice's, or one that another voice has until it is renamed.
    """
    name = " ".join(name.split())
    if not name:
        raise ExplanationError("Give the voice a name.")
    if name in others:
        raise ExplanationError(f"Another voice is called '{name}' already; merge the two, or choose another name.")
    if NUMBERED.fullmatch(name) and name != f"Voice {voice + 1}":
        raise ExplanationError(f"'{name}' is what a voice without a name is called; choose another name.")
    return name


def reassigned(found: LongRecording, number: int, voice: int) -> LongRecording:
    """Return the session with one stretch given to a voice; a voice one above the highest is a new one.

    Raises:
        ExplanationError: there is no such stretch or voice.
    """
    if voice != max(found.voices, default=-1) + 1:
        _check_voice(found, voice)
    if not 0 <= number < len(found.stretches):
        raise ExplanationError(f"There is no stretch {number + 1}; there are {len(found.stretches)}.")
    given = list(found.voice_of)
    given[number] = voice
    # The number of a voice that has lost its last stretch goes to the next new voice, its name does not.
    names = {k: name for k, name in found.names.items() if k in given}
    return dataclasses.replace(found, voice_of=tuple(given), names=names)


def merged(found: LongRecording, voice: int, into: int) -> LongRecording:
    """Return the session with all stretches of one voice given to another.

    Raises:
        ExplanationError: there is no such voice, or both are the same.
    """
    _check_voice(found, voice)
    _check_voice(found, into)
    if voice == into:
        raise ExplanationError("Choose two different voices to merge.")
    kept = {k: name for k, name in found.names.items() if k != voice}
    return dataclasses.replace(found, voice_of=tuple(into if v == voice else v for v in found.voice_of), names=kept)


def remeasured(
    sound: LongSound,
    wanted: Sequence[Stretch],
    settings: CueSettings,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[Stretch, ...]:
    """Return stretches with their cues measured with other settings; neither model nor voices are asked again.

    Args:
        sound: the session.
        wanted: stretches of it in time order; one that was not asked about stays as it is.
        settings: of the acoustic measurement.
        progress: told the share done and what is being done; what it raises ends the work.

    Raises:
        SettingError: a setting outside what it may be.
        AudioError: the file is damaged or cut off before the last of them.
    """
    check(settings)
    asked = [stretch for stretch in wanted if stretch.prediction is not None]
    made = {stretch.number: stretch for stretch in wanted}
    for place, (stretch, samples) in enumerate(_cut(sound, asked)):
        if progress is not None:
            progress(place / len(asked), f"Measuring stretch {place + 1} of {len(asked)} again")
        clip = from_samples(samples, SAMPLE_RATE, part_name(sound.name, *stretch.clip_s))
        try:
            cues, in_force = _cues(clip, speech_segments(clip), settings)
        except ExplanationError as fault:
            made[stretch.number] = dataclasses.replace(stretch, cues=(), settings=None, note=str(fault))
            continue
        made[stretch.number] = dataclasses.replace(stretch, cues=cues, settings=in_force, note="")
    return tuple(made.values())


def _cut(sound: LongSound, wanted: Sequence[Stretch]) -> Iterator[tuple[Stretch, np.ndarray]]:
    """Yield the samples of stretches in time order, out of one pass over the session."""
    blocks, held, at = sound.blocks(), np.zeros(0, np.float32), 0
    for stretch in wanted:
        start, end = (round(time_s * SAMPLE_RATE) for time_s in stretch.clip_s)
        while at + len(held) < end:
            past = min(max(0, start - at), len(held))
            block = next(blocks, None)
            if block is None:
                raise AudioError(f"'{sound.name}' ends before {stretch.end_s:.2f} s; open the whole recording again.")
            held, at = np.concatenate([held[past:], block]), at + past
        yield stretch, held[start - at : end - at]


def exchanged(found: LongRecording, measured: Iterable[Stretch]) -> LongRecording:
    """Return the session with stretches that were measured again in the place of those before."""
    by = {stretch.number: stretch for stretch in measured}
    return dataclasses.replace(found, stretches=tuple(by.get(each.number, each) for each in found.stretches))


def _check_voice(found: LongRecording, voice: int) -> None:
    if voice not in found.voices:
        raise ExplanationError(f"There is no voice {voice + 1} in this recording.")


# --- emotion over time -----------------------------------------------------------------------------------------------


def value_of(stretch: Stretch, output: str) -> float:
    """Return the probability of an emotion, or the value of a dimension; NaN where the model was not asked."""
    if stretch.prediction is None:
        return float("nan")
    p = stretch.prediction
    return p.probability(output) if p.values is None else p.value(output)


def course(found: LongRecording, voice: int, output: str, *, width_s: float | None = None, points: int = 240) -> Course:
    """Return one output of the model over time for one voice.

    The local mean weighs each stretch by its length and by a Gaussian of the distance between its middle and the time.
    Its interval is Student's with the effective number of stretches (Kish 1965), (Σw)² / Σw², so that it widens where
    few stretches lie near.

    Args:
        found: the session.
        voice: whose.
        output: an emotion or a dimension.
        width_s: the Gaussian's standard deviation; by default a thirtieth of what was heard, 10 to 60 s.
        points: how many times.
    """
    from scipy.stats import t

    mine = [(s, value) for s in found.of(voice) if np.isfinite(value := value_of(s, output))]
    width_s = width_s or float(np.clip(found.heard_s / 30, NARROWEST_S, WIDEST_S))
    times_s = np.linspace(0, max(found.heard_s, 1e-3), points)
    nothing = np.full(points, np.nan)
    if not mine:
        return Course(output, times_s, nothing, nothing, nothing, width_s)
    middles, lengths, values = (np.array(x) for x in zip(*((s.middle_s, s.length_s, v) for s, v in mine), strict=True))
    weights = lengths * np.exp(-0.5 * ((times_s[:, None] - middles) / width_s) ** 2)
    # Far from all speech the weights vanish, and with them their ratio.
    near = np.abs(times_s[:, None] - middles).min(axis=1) <= 2 * width_s
    weights = np.where(near[:, None], weights, 1.0)
    total = weights.sum(axis=1)
    effective = total**2 / (weights**2).sum(axis=1)
    mean = (weights * values).sum(axis=1) / total
    known = near & (effective >= FEWEST_EFFECTIVE)
    freedom = np.maximum(effective - 1, 1.0)
    variance = (weights * (values - mean[:, None]) ** 2).sum(axis=1) / total * effective / freedom
    reach = t.ppf(0.975, freedom) * np.sqrt(variance / effective)
    least = 0.0 if mine[0][0].prediction is None or mine[0][0].prediction.values is None else -1.0
    return Course(
        output,
        times_s,
        np.where(known, mean, np.nan),
        np.where(known, np.maximum(mean - reach, least), np.nan),
        np.where(known, np.minimum(mean + reach, 1.0), np.nan),
        width_s,
    )
