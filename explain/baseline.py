"""A voice against the same person's other clips, beside the neutral speech of others.

Each cue of the whole clip is set against its mean and standard deviation over up to 20 further clips of the person,
all measured with the same formant ceiling and octave-jump cost, and each with a pitch range of its own. With so few
clips a z-score from a normal table would call too much unusual, so p and the range of the usual come from Crawford &
Howell's t (1998, The Clinical Neuropsychologist 12, 482–486): t = (value − mean) / (SD √(1 + 1/n)) with n − 1 degrees
of freedom, which holds its 5 % for small n. Nothing is said from fewer than five clips.

The clips say how the person usually sounds in them: if they were all sad, a neutral clip is the unusual one.

Beside the cues stands what the model answers when it has heard these clips (``ser_core.speaker_adaptation``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explain.cues import CLIP, CUES, CueSettings, CueSummary, CueTracks, CueValue, measure
from explain.magnitudes import magnitudes
from explain.words import cue_name, listed
from ser_core.audio import Recording
from ser_core.errors import ExplanationError
from ser_core.models import Prediction, SpeechModel
from ser_core.numbers import counted, rounded_percent, signed
from ser_core.speaker_adaptation import adaptable, adapted
from ser_core.speech import speech_segments

FEWEST, MOST = 5, 20
LIKE_LENGTH = 1.5
UNUSUAL_P = 0.05
_TOLD = 4
ALONE_IS_EXPLAINED = "The explanation is of the answer to the clip alone."


@dataclass(frozen=True)
class OwnCue:
    """One cue of a clip against the same person's other clips, in ``unit``.

    clips counts those where it could be measured; z is (value − mean) / sd, p two-sided by Crawford & Howell's t, and
    low … high the range that 95 % of further clips of the person would keep. All are None where ``note`` says why.
    """

    cue: str
    unit: str
    value: float | None
    clips: int
    mean: float | None
    sd: float | None
    z: float | None
    p: float | None
    low: float | None
    high: float | None
    note: str = ""

    @property
    def unusual(self) -> bool:
        """Whether the value lies outside what 95 % of the person's clips would keep."""
        return self.p is not None and self.p < UNUSUAL_P


@dataclass(frozen=True)
class OwnBaseline:
    """The cues of a clip against other clips of the same person; ``clips`` are (name, sha256) of those.

    answer is the model's to the clip when it has heard those too; None where the model cannot be adapted to a speaker.
    caution says that the clip holds much less or more speech than the others; "" where it does not.
    """

    clips: tuple[tuple[str, str], ...]
    cues: tuple[OwnCue, ...]
    answer: Prediction | None = None
    caution: str = ""

    @property
    def sentence(self) -> str:
        """Which cues are unusual for this person, how many would be by chance, and what to mind."""
        return f"{self._found} {self.caution}".rstrip()

    @property
    def _found(self) -> str:
        # The median in Hz is the pitch level in semitones once more.
        judged = [row for row in self.cues if row.p is not None and row.cue != "f0_median"]
        count = f"{counted(len(self.clips), 'other clip')} of the same person"
        if not judged:
            return f"Too few clips: {count} ({FEWEST} are needed in which a cue can be measured)."
        unusual = sorted((row for row in judged if row.unusual), key=lambda row: row.p or 0.0)
        chance = (
            f"{len(unusual)} of {len(judged)} cues; by chance about {UNUSUAL_P * len(judged):.0f} would, and cues that "
            "move together count twice"
        )
        if not unusual:
            return f"Against {count}, no cue of {len(judged)} is unusual for this voice."
        told = listed([f"{cue_name(row.cue)} (z {_signed(row.z)})" for row in unusual[:_TOLD]])
        more = f" and {len(unusual) - _TOLD} more" if len(unusual) > _TOLD else ""
        verb = "lies" if len(unusual) == 1 else "lie"
        return f"Against {count}, {told}{more} {verb} outside what 95 % of this person’s clips would keep ({chance})."


def own_baseline(
    summary: CueSummary,
    tracks: CueTracks,
    sha256: str,
    others: Sequence[Recording],
    progress: Callable[[float, str], None] | None = None,
) -> OwnBaseline:
    """Return the cues of a clip against other clips of the same person.

    Args:
        summary: magnitudes of the clip.
        tracks: its tracks, whose sex, formant ceiling and octave-jump cost the others are measured with.
        sha256: the clip's own hash; the clip itself is no baseline and is left out, as is one that comes twice.
        others: at most 20 other clips of the person.
        progress: told the share done (0 … 1) and what is being done.

    Raises:
        ExplanationError: there is no other clip, or there are too many.
    """
    clips = list({clip.sha256: clip for clip in others if clip.sha256 != sha256}.values())
    if not clips:
        raise ExplanationError("Give other clips of the same person; the clip itself is no baseline.")
    if len(clips) > MOST:
        raise ExplanationError(f"At most {MOST} other clips are measured; choose {MOST} of the {len(clips)}.")
    # With another cost the pitch range of one and the same clip can be 5 or 13 semitones.
    settings = CueSettings(
        sex=tracks.sex,
        formant_ceiling_hz=tracks.settings.formant_ceiling_hz,
        octave_jump_cost=tracks.settings.octave_jump_cost,
    )
    found, spoken_s = [], []
    for place, clip in enumerate(clips):
        if progress is not None:
            progress(place / len(clips), f"Measuring clip {place + 1} of {len(clips)}")
        measured = measure(clip, settings, speech_segments(clip))
        found.append(magnitudes(measured))
        spoken_s.append(_spoken_s(measured))
    return OwnBaseline(
        tuple((clip.name, clip.sha256) for clip in clips),
        against_clips(summary, found),
        caution=_caution(_spoken_s(tracks), spoken_s),
    )


def _spoken_s(tracks: CueTracks) -> float:
    return float(tracks.speech.sum() * np.diff(tracks.times_s[:2]).sum())


def like_length(one_s: "float | np.ndarray", other_s: "float | np.ndarray") -> np.ndarray:
    """Return whether speech of two lengths in seconds can be compared: from 2/3 to 1.5 times as long."""
    return np.asarray(np.maximum(one_s, other_s) <= LIKE_LENGTH * np.minimum(one_s, other_s))


def _caution(here_s: float, others_s: Sequence[float]) -> str:
    """Return a sentence where most of the others hold under 2/3 or over 1.5 times as much speech."""
    if 2 * like_length(here_s, np.array(others_s)).sum() >= len(others_s):
        return ""
    usual_s = float(np.median(others_s))
    often = "more often" if here_s < usual_s else "less often"
    return (
        f"This clip holds {here_s:.1f} s of speech, the others mostly {usual_s:.1f} s: cues scatter more over little "
        f"speech, so here they lie outside {often} than stated."
    )


def against_clips(summary: CueSummary, others: Sequence[Sequence[CueValue]]) -> tuple[OwnCue, ...]:
    """Return each cue of a clip against the same cue of other clips, whose magnitudes are given."""
    values = {
        each.name: [v.value for clip in others for v in clip if v.cue == each.name and v.scope == CLIP] for each in CUES
    }
    # The mean level of an uncalibrated recording says nothing, whoever speaks.
    return tuple(
        _against(summary.value(each.name), [v for v in values[each.name] if v is not None])
        for each in CUES
        if each.name != "intensity_mean"
    )


def answer_sentence(others: int, beside: Prediction, alone: Prediction) -> str:
    """Return which answer a model gives when it has heard so many other clips of the person, and to the clip alone."""
    now, before = beside.top, alone.top
    heard = f"Having heard {counted(others, 'other clip')} of this person"
    certain, was = rounded_percent(beside.probability(now)), rounded_percent(alone.probability(before))
    if now == before:
        return f"{heard}, the model still answers {now} ({certain}; alone {was})."
    return (
        f"{heard}, the model answers {now} ({certain}) and no longer {before} "
        f"({rounded_percent(beside.probability(before))}; alone {was})."
    )


def own_answer(
    model: SpeechModel,
    recording: Recording,
    others: Sequence[Recording],
    progress: Callable[[float, str], None] | None = None,
) -> Prediction | None:
    """Return what the model answers when it has heard other clips of the same person; None if it cannot be adapted.

    Args:
        model: that answers.
        recording: the clip.
        others: of the same person; the clip itself among them counts once.
        progress: told the share done (0 … 1) and what is being done.
    """
    if not adaptable(model):
        return None
    return adapted(model, [recording, *others], progress).predict(recording)


def alike(sd: "float | np.ndarray", mean: "float | np.ndarray") -> Any:
    """Return whether values of that standard deviation are equal but for their last bits."""
    return sd <= 1e-9 * np.maximum(1.0, np.abs(mean))


def _against(here: CueValue, others: list[float]) -> OwnCue:
    from scipy.stats import t

    nothing = OwnCue(here.cue, here.unit, here.value, len(others), None, None, None, None, None, None)
    if here.value is None:
        return replace(nothing, note=here.note)
    if len(others) < FEWEST:
        return replace(nothing, note=f"too few clips ({len(others)} of at least {FEWEST})")
    n, mean, sd = len(others), float(np.mean(others)), float(np.std(others, ddof=1))
    if alike(sd, mean):
        return replace(nothing, note="the same in every other clip")
    spread = sd * float(np.sqrt(1 + 1 / n))
    p = 2 * float(t.sf(abs(here.value - mean) / spread, n - 1))
    reach = float(t.ppf(1 - UNUSUAL_P / 2, n - 1)) * spread
    return OwnCue(here.cue, here.unit, here.value, n, mean, sd, (here.value - mean) / sd, p, mean - reach, mean + reach)


def _signed(value: float | None) -> str:
    return signed(value or 0.0, 1)
