"""Voice experiments: change one cue of the clip, ask the model again, and draw its answer against the dose.

A correlation between a salient region and a cue says nothing about what the model would do with another voice; an
experiment does. Pitch level, pitch range, formants and tempo are changed by Praat's overlap-add resynthesis
(Moulines & Charpentier 1990), loudness and spectral tilt by a filter. Resynthesis alone leaves its own mark, so the
dose that changes nothing goes through it as well: it is the *control*, and an effect no larger than the control's is
called so. Every dose is measured again after the change, since what was asked is not always what came out.

A change may be confined to a stretch of the clip (a salient region); its edges are cross-faded over 10 ms.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from explain.measured_change import PITCH_HZ, measure_changes, sound_of, stretch
from ser_core.audio import SAMPLE_RATE, Recording, from_samples
from ser_core.errors import ExplanationError
from ser_core.numbers import signed, unsigned

if TYPE_CHECKING:
    from ser_core.models import Prediction, SpeechModel

FADE_S = 0.01
FULL_SCALE = 0.999
MOST_DOSES = 25
FEWEST_VOICED = 5


@dataclass(frozen=True)
class Experiment:
    """One cue that can be changed.

    ``nothing`` is the dose that changes nothing, ``doses`` are the usual ones in ``unit``; ``measured`` says in which
    unit the change is measured afterwards. ``resynthesised`` tells whether Praat builds the clip anew.
    """

    name: str
    title: str
    unit: str
    nothing: float
    doses: tuple[float, ...]
    measured: str
    resynthesised: bool


EXPERIMENTS = {
    each.name: each
    for each in (
        Experiment("pitch_level", "Pitch level", "st", 0.0, (-6, -4, -2, 0, 2, 4, 6), "st", True),
        Experiment("pitch_range", "Pitch range", "×", 1.0, (0.25, 0.5, 0.75, 1, 1.33, 1.67, 2), "×", True),
        Experiment("tempo", "Tempo", "×", 1.0, (0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.4), "×", True),
        Experiment("loudness", "Loudness", "dB", 0.0, (-18, -12, -6, 0, 6, 12, 18), "dB", False),
        Experiment("formant_scale", "Formant scale", "×", 1.0, (0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15), "×", True),
        Experiment("spectral_tilt", "Spectral tilt", "dB/octave", 0.0, (-6, -4, -2, 0, 2, 4, 6), "dB/octave", False),
    )
}


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """A model's answers to one clip with one cue changed.

    Attributes:
        experiment: what was changed.
        start_s, end_s: the stretch that was changed; None for the whole clip.
        emotion: the class whose probability is followed, the answer to the untouched clip.
        emotions: the model's classes.
        doses: in the experiment's unit.
        probabilities: (doses, classes).
        original: (classes,) of the untouched clip.
        measured: (doses,) what came out, in the experiment's ``measured`` unit; NaN where it cannot be measured.
        clips: the changed recordings, one a dose.
    """

    experiment: Experiment
    start_s: float | None
    end_s: float | None
    emotion: str
    emotions: tuple[str, ...]
    doses: np.ndarray
    probabilities: np.ndarray
    original: np.ndarray
    measured: np.ndarray
    clips: tuple[Recording, ...]

    @property
    def followed(self) -> np.ndarray:
        """Probability of ``emotion`` at each dose (doses,)."""
        column: np.ndarray = self.probabilities[:, self.emotions.index(self.emotion)]
        return column

    @property
    def control_effect(self) -> float:
        """How far the resynthesis alone moves the probability of ``emotion`` (with minus without)."""
        return float(self.followed[self._control] - self.original[self.emotions.index(self.emotion)])

    @property
    def control_sentence(self) -> str:
        """What the unchanged dose says, beside the untouched clip, in words."""
        if not self.experiment.resynthesised:
            return "Nothing is built anew for this change: the unchanged dose is the clip as it was."
        return f"What the unchanged dose moves ({_points(self.control_effect, sign=True)}) is the resynthesis itself."

    @property
    def effect(self) -> float:
        """The largest move of the probability of ``emotion`` from the control, with its sign."""
        moves = self.followed - self.followed[self._control]
        return float(moves[np.abs(moves).argmax()])

    @property
    def beyond_control(self) -> bool:
        """Whether the largest effect exceeds that of the resynthesis itself."""
        return abs(self.effect) > abs(self.control_effect)

    @property
    def turning_point(self) -> tuple[float, str] | None:
        """The dose nearest to the control at which the answer becomes another, and which.

        None where it never does, or where no dose does more than the resynthesis itself. Between two doses the place
        where the two classes' log odds cross is interpolated.
        """
        if not self.beyond_control:
            return None
        first = int(self.probabilities[self._control].argmax())
        found: list[tuple[float, str]] = []
        for step in (-1, 1):
            place = self._control
            while 0 <= place + step < len(self.doses):
                here, there = place, place + step
                second = int(self.probabilities[there].argmax())
                if second != first:
                    odds = [self._odds(place, first, second) for place in (here, there)]
                    part = odds[0] / (odds[0] - odds[1]) if odds[0] != odds[1] else 0.5
                    dose = self.doses[here] + part * (self.doses[there] - self.doses[here])
                    found.append((float(dose), self.emotions[second]))
                    break
                place = there
        return min(found, key=lambda each: abs(each[0] - self.experiment.nothing)) if found else None

    @property
    def sentence(self) -> str:
        """What came out, in words."""
        untouched = self.emotions[int(self.original.argmax())]
        anew = ""
        if self._first != untouched:
            anew = f"Building the clip anew, with nothing changed, already turns {untouched} into {self._first}. "
        return anew + self._outcome

    @property
    def _outcome(self) -> str:
        what = self.experiment.title.lower()
        where = "" if self.start_s is None else f" in {self.start_s:.2f}–{self.end_s:.2f} s"
        if not self.beyond_control:
            cause = "the resynthesis itself" if self.experiment.resynthesised else "nothing at all"
            most, less = _points(abs(self.effect)), _points(abs(self.control_effect))
            return (
                f"Changing {what}{where} moves the probability of {self.emotion} by at most {most}, no more than "
                f"{cause} does ({less})."
            )
        turn = self.turning_point
        if turn is None:
            return (
                f"Changing {what}{where} moves the probability of {self.emotion} by up to "
                f"{_points(self.effect, sign=True)}; the answer stays {self._first}."
            )
        dose, other = turn
        return f"{words_of(self.experiment, dose)}{where} turns {self._first} into {other}."

    @property
    def _control(self) -> int:
        return int(np.abs(self.doses - self.experiment.nothing).argmin())

    @property
    def _first(self) -> str:
        return self.emotions[int(self.probabilities[self._control].argmax())]

    def _odds(self, place: int, first: int, second: int) -> float:
        safe = np.maximum(self.probabilities[place], 1e-9)
        return float(np.log(safe[first] / safe[second]))


def _points(change: float, *, sign: bool = False) -> str:
    """Return a change of a probability (−1 … 1) in points, as from 80 to 60 % is 20 points less and not 20 %."""
    text = signed(100 * change, 0) if sign else unsigned(100 * change, 0)
    return f"{text} point{'' if text.strip('+−') == '1' else 's'}"


def words_of(experiment: Experiment, dose: float) -> str:
    """Return a dose in words, such as "Pitch level +3.1 st" or "Tempo ×1.12"."""
    amount = f"×{dose:.2f}" if experiment.unit == "×" else f"{signed(dose, 1)} {experiment.unit}"
    return f"{experiment.title} {amount}"


def dose_response(
    model: "SpeechModel",
    recording: Recording,
    name: str,
    *,
    emotion: str | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    doses: Sequence[float] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> DoseResponse:
    """Return the model's answers to a clip with one cue changed by several doses.

    Args:
        model: the model that is asked; one that answers with emotions.
        recording: the clip.
        name: of the experiment, a key of ``EXPERIMENTS``.
        emotion: the class to follow; the predicted one by default.
        start_s: where the change begins; None for the whole clip.
        end_s: where it ends.
        doses: other than the usual ones, at most 25 and at most twice as far out; the one that changes nothing is
            added.
        progress: told the share done (0 … 1) and what is being done.

    Raises:
        ExplanationError: the experiment, the class or the stretch is not one of the clip's, a dose is too far out, or
            the clip has no voice whose pitch could be changed.
    """
    from ser_core.workers import in_worker

    if name not in EXPERIMENTS:
        raise ExplanationError(f"There is no experiment '{name}'; choose one of {', '.join(EXPERIMENTS)}.")
    experiment = EXPERIMENTS[name]
    before = model.predict(recording)
    emotion = emotion or before.top
    if emotion not in model.emotions:
        raise ExplanationError(f"{model.name} does not know '{emotion}'; it knows {', '.join(model.emotions)}.")
    _check_stretch(recording, start_s, end_s)
    _check_doses(experiment, experiment.doses if doses is None else doses)
    tell = progress or (lambda share, words: None)
    asked = possible_doses(recording.samples, name, experiment.doses if doses is None else doses, start_s, end_s)
    tell(0.05, f"Changing {experiment.title.lower()}")
    made = in_worker(changed, recording.samples, name, tuple(asked), start_s, end_s)
    # A slower clip may pass the longest that is read; doses have limits of their own.
    clips = tuple(from_samples(samples, SAMPLE_RATE, recording.name, max_seconds=math.inf) for samples in made)
    found = answers(
        model,
        before,
        experiment,
        asked,
        clips,
        emotion=emotion,
        start_s=start_s,
        end_s=end_s,
        progress=lambda share, words: tell(0.2 + 0.5 * share, words),
    )
    tell(0.7, "Measuring what came out")
    measured = in_worker(measure_changes, name, recording.samples, [clip.samples for clip in clips], start_s, end_s)
    tell(1.0, "Done")
    return replace(found, measured=np.array(measured))


def answers(
    model: "SpeechModel",
    before: "Prediction",
    experiment: Experiment,
    doses: np.ndarray,
    clips: Sequence[Recording],
    *,
    emotion: str,
    start_s: float | None = None,
    end_s: float | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> DoseResponse:
    """Return the model's answers to clips that were changed, of which nothing is measured.

    Args:
        model: the model that is asked.
        before: its answer to the untouched clip.
        experiment: what was changed.
        doses: (doses,) in the experiment's unit, the one that changes nothing among them.
        clips: one a dose.
        emotion: the class to follow.
        start_s: where the change begins; None for the whole clip.
        end_s: where it ends.
        progress: told the share done (0 … 1) and what is being done.
    """
    said = []
    for place, clip in enumerate(clips):
        if progress is not None:
            progress(place / len(clips), f"Asking about {words_of(experiment, doses[place])}")
        moved = partial(at_tempo, dose=float(doses[place]), start_s=start_s, end_s=end_s)
        asked = model.at_tempo(moved) if experiment.name == "tempo" else model
        said.append(asked.predict(clip).probabilities)
    return DoseResponse(
        experiment=experiment,
        start_s=start_s,
        end_s=end_s,
        emotion=emotion,
        emotions=model.emotions,
        doses=doses,
        probabilities=np.stack(said),
        original=before.probabilities,
        measured=np.full(len(doses), np.nan),
        clips=tuple(clips),
    )


def at_tempo(time_s: float, dose: float, start_s: float | None = None, end_s: float | None = None) -> float:
    """Return where a moment of the clip, in seconds, lies after a change of tempo, of the whole clip or a stretch."""
    if start_s is None or end_s is None:
        return time_s / dose
    inside = min(max(time_s - start_s, 0.0), end_s - start_s)
    return time_s + inside * (1 / dose - 1)


def _check_stretch(recording: Recording, start_s: float | None, end_s: float | None) -> None:
    if start_s is None and end_s is None:
        return
    there = start_s is not None and end_s is not None and 0 <= start_s < end_s <= recording.duration_s + 0.01
    if not there or not len(stretch(recording.samples, start_s, end_s)):
        raise ExplanationError(
            f"The stretch to change must lie in the clip of {recording.duration_s:.2f} s; give its start and end in s."
        )


def _check_doses(experiment: Experiment, doses: Sequence[float]) -> None:
    """Raise ExplanationError where doses are too many, or so far out that the clip would grow without end."""
    low, high = min(experiment.doses), max(experiment.doses)
    low, high = (low / 2, high * 2) if experiment.unit == "×" else (low * 2, high * 2)
    if len(doses) > MOST_DOSES or not all(low <= dose <= high for dose in doses):
        raise ExplanationError(
            f"{experiment.title} can be changed by up to {MOST_DOSES} doses from {low:g} to {high:g} "
            f"{experiment.unit}; give others."
        )


# Changing; runs in a worker process, since Parselmouth holds Python's global lock


def possible_doses(
    samples: np.ndarray, name: str, doses: Sequence[float], start_s: float | None = None, end_s: float | None = None
) -> np.ndarray:
    """Return the doses that can be given, sorted, the one that changes nothing among them.

    A clip (samples,) can be made louder up to full scale only: doses of loudness beyond it become that one, rounded
    down to a tenth of a dB.
    """
    asked = {EXPERIMENTS[name].nothing, *doses}
    if name == "loudness":
        peak = float(np.abs(stretch(samples, start_s, end_s)).max(initial=0.0))
        room_db = max(0.0, np.floor(200 * np.log10(FULL_SCALE / peak)) / 10) if peak > 0 else np.inf
        asked = {min(dose, room_db) for dose in asked}
    return np.array(sorted(asked), dtype=float)


def changed(
    samples: np.ndarray, name: str, doses: Sequence[float], start_s: float | None = None, end_s: float | None = None
) -> list[np.ndarray]:
    """Return the clip (samples,) at 16 kHz with each dose of one change, float32.

    The rest stays as it is. A changed part may pass full scale: lowered, dose by dose, it would tell the model about
    loudness as well, so only what is played is lowered. A clip with another tempo is shorter or longer.

    Raises:
        ExplanationError: pitch is to be changed, and the clip has no voice.
    """
    change = _CHANGES[name]
    clips = [change(samples.astype(np.float64), float(dose), start_s, end_s) for dose in doses]
    return [clip.astype(np.float32) for clip in clips]


def _confined(samples: np.ndarray, whole: np.ndarray, start_s: float | None, end_s: float | None) -> np.ndarray:
    """Return the original with the changed clip faded in between start and end."""
    length = len(samples)
    fitted = np.pad(whole[:length], (0, max(0, length - len(whole))))
    if start_s is None or end_s is None:
        return fitted
    times = np.arange(length) / SAMPLE_RATE
    share = np.clip(np.minimum((times - start_s) / FADE_S + 0.5, (end_s - times) / FADE_S + 0.5), 0.0, 1.0)
    return samples * (1 - share) + fitted * share


def _median_f0(samples: np.ndarray, start_s: float | None, end_s: float | None) -> tuple[float, float]:
    """Return the median F0 in Hz of a clip and of its stretch; that of the clip twice where there is hardly any voice.

    Raises:
        ExplanationError: the clip itself has hardly any voice.
    """
    from ser_core.conversion.voice import pitch

    times_s, f0_hz = pitch(sound_of(samples), *PITCH_HZ)
    voiced = f0_hz > 0
    if voiced.sum() < FEWEST_VOICED:
        raise ExplanationError("The clip has hardly any voice, so its pitch cannot be changed; try loudness or tilt.")
    whole = start_s is None or end_s is None
    inside = voiced if whole else voiced & (times_s >= start_s) & (times_s < end_s)
    own = inside if inside.sum() >= FEWEST_VOICED else voiced
    return float(np.median(f0_hz[voiced])), float(np.median(f0_hz[own]))


def _revoiced(
    samples: np.ndarray, start_s: float | None, end_s: float | None, *, semitones: float, spread: float, scale: float
) -> np.ndarray:
    from ser_core.conversion import praat
    from ser_core.conversion.voice import BANDS, Change

    f0_hz, middle_hz = _median_f0(samples, start_s, end_s)
    # A range is spread around the middle of the stretch: around that of the clip, the stretch's level would move, too.
    target_hz = middle_hz * (f0_hz / middle_hz) ** spread * 2 ** (semitones / 12)
    wanted = Change(f0_hz, target_hz, spread, scale, (0.0,) * BANDS)
    return _confined(samples, praat.apply(samples, wanted), start_s, end_s)


def _pitch_level(samples: np.ndarray, dose: float, start_s: float | None, end_s: float | None) -> np.ndarray:
    return _revoiced(samples, start_s, end_s, semitones=dose, spread=1.0, scale=1.0)


def _pitch_range(samples: np.ndarray, dose: float, start_s: float | None, end_s: float | None) -> np.ndarray:
    return _revoiced(samples, start_s, end_s, semitones=0.0, spread=dose, scale=1.0)


def _formant_scale(samples: np.ndarray, dose: float, start_s: float | None, end_s: float | None) -> np.ndarray:
    return _revoiced(samples, start_s, end_s, semitones=0.0, spread=1.0, scale=dose)


def _tempo(samples: np.ndarray, dose: float, start_s: float | None, end_s: float | None) -> np.ndarray:
    from parselmouth.praat import call

    sound = sound_of(samples)
    manipulation = call(sound, "To Manipulation", 0.01, *PITCH_HZ)
    tier = call("Create DurationTier", "tempo", sound.xmin, sound.xmax)
    if start_s is None or end_s is None:
        call(tier, "Add point", 0.0, 1 / dose)
    else:
        points = [(start_s, 1 / dose), (min(end_s, sound.xmax), 1 / dose)]
        # A tier takes one point at a time, so a stretch that begins or ends with the clip has no flank there.
        points += [(time, 1.0) for time in (start_s - FADE_S, end_s + FADE_S) if sound.xmin < time < sound.xmax]
        for time, factor in points:
            call(tier, "Add point", float(time), factor)
    call([manipulation, tier], "Replace duration tier")
    spoken: np.ndarray = call(manipulation, "Get resynthesis (overlap-add)").values[0]
    return spoken


def _loudness(samples: np.ndarray, dose: float, start_s: float | None, end_s: float | None) -> np.ndarray:
    return _confined(samples, samples * 10 ** (dose / 20), start_s, end_s)


def _spectral_tilt(samples: np.ndarray, dose: float, start_s: float | None, end_s: float | None) -> np.ndarray:
    """Tilt around 1 kHz, between 100 Hz and 8 kHz, at the level that the clip, or its stretch, had."""
    length = len(samples)
    spectrum = np.fft.rfft(samples, 2 * length)
    hz = np.clip(np.fft.rfftfreq(2 * length, 1 / SAMPLE_RATE), 100.0, None)
    tilted = np.fft.irfft(spectrum * 10 ** (dose * np.log2(hz / 1000.0) / 20), 2 * length)[:length]
    # Over the stretch alone, which would else become louder or quieter against the rest.
    before, after = (stretch(each, start_s, end_s) for each in (samples, tilted))
    level = np.sqrt(np.mean(before**2) / max(np.mean(after**2), 1e-20))
    return _confined(samples, tilted * level, start_s, end_s)


_CHANGES: dict[str, Callable[[np.ndarray, float, float | None, float | None], np.ndarray]] = {
    "pitch_level": _pitch_level,
    "pitch_range": _pitch_range,
    "tempo": _tempo,
    "loudness": _loudness,
    "formant_scale": _formant_scale,
    "spectral_tilt": _spectral_tilt,
}
