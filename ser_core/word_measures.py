"""How each word was said: its pitch, level, duration and the pause before it, by Praat, and how pleasant the word is.

Conventions: seconds, Hz, semitones, dB. Pitch is Praat's autocorrelation method between 60 and 600 Hz, level its
intensity (dB re 20 µPa if full scale were 1 Pa, so only differences mean anything across recordings). What a word does
not have, such as the pitch of an unvoiced one, is None. Measures that a listener would judge against the speaker are
also given against the clip's own middle.

Parselmouth holds Python's global lock while it works (about 30 ms for a clip of 3 s), so it works elsewhere.
"""

import math
from dataclasses import dataclass

import numpy as np

from ser_core.pitch_and_level import STEP_S, pitch_and_level
from ser_core.sentences import LANGUAGE, affect
from ser_core.word_times import SpokenText, Word
from ser_core.workers import in_worker

FEWEST_FRAMES = 3
LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True)
class WordMeasures:
    """One word as it was said.

    Attributes:
        word: with its times.
        pitch_hz: median F0.
        pitch_semitones: the same above 27.5 Hz.
        pitch_against_clip: semitones above the clip's median.
        pitch_range: semitones between its 10th and 90th percentile.
        pitch_movement: semitones by which its last third lies above its first.
        level_db: mean intensity.
        level_against_clip: dB above the clip's words.
        duration_s: length.
        letter_s: length a letter, where a fast speaker and a short word can be told apart.
        pause_s: silence before it; 0 for the first word.
        voiced_share: of its frames, 0 … 1.
        valence: −1 … 1, of a lexicon; None for a word that is in none, or of another language.
    """

    word: Word
    pitch_hz: float | None
    pitch_semitones: float | None
    pitch_against_clip: float | None
    pitch_range: float | None
    pitch_movement: float | None
    level_db: float
    level_against_clip: float
    duration_s: float
    letter_s: float
    pause_s: float
    voiced_share: float
    valence: float | None


@dataclass(frozen=True)
class Scale:
    """Where a measure of everyday speech lies: ``(value − centre) / spread``, on log2 of the value if ``octaves``."""

    name: str
    centre: float
    spread: float
    octaves: bool = False


SCALES = {
    "pitch_semitones": Scale("pitch", 36.0, 6.0),
    "pitch_against_clip": Scale("pitch against the clip", 0.0, 3.0),
    "pitch_range": Scale("pitch range", 3.0, 3.0),
    "pitch_movement": Scale("pitch movement", 0.0, 4.0),
    "level_db": Scale("level", 65.0, 10.0),
    "level_against_clip": Scale("level against the clip", 0.0, 5.0),
    "duration_s": Scale("duration", math.log2(0.25), 1.0, octaves=True),
    "letter_s": Scale("duration a letter", math.log2(0.06), 0.7, octaves=True),
    "pause_s": Scale("pause before", 0.0, 0.2),
    "voiced_share": Scale("voiced share", 0.7, 0.3),
}
FARTHEST = 4.0


def measure_words(samples: np.ndarray, spoken: SpokenText) -> tuple[WordMeasures, ...]:
    """Return the measures of every word of a clip (samples,) at 16 kHz."""
    if not spoken.words:
        return ()
    f0_hz, level_db = in_worker(pitch_and_level, samples)
    semitones = 12 * np.log2(np.where(f0_hz > 0, f0_hz, np.nan) / 27.5)
    places = [_frames(word, len(f0_hz)) for word in spoken.words]
    everywhere = np.concatenate([np.arange(first, last) for first, last in places])
    voiced = semitones[everywhere][np.isfinite(semitones[everywhere])]
    middle = float(np.median(voiced)) if len(voiced) else math.nan
    clip_db = float(level_db[everywhere].mean())
    found, before_s = [], spoken.words[0].start_s
    for word, (first, last) in zip(spoken.words, places, strict=True):
        inside = semitones[first:last]
        pitch = inside[np.isfinite(inside)]
        known = len(pitch) >= FEWEST_FRAMES
        median = float(np.median(pitch)) if known else None
        third = max(1, len(pitch) // 3)
        loud = float(level_db[first:last].mean())
        duration_s = max(word.end_s - word.start_s, STEP_S)
        rated = affect(word.text) if spoken.language == LANGUAGE else None
        found.append(
            WordMeasures(
                word=word,
                pitch_hz=27.5 * 2 ** (median / 12) if median is not None else None,
                pitch_semitones=median,
                pitch_against_clip=median - middle if median is not None else None,
                pitch_range=float(np.subtract(*np.percentile(pitch, [90, 10]))) if known else None,
                pitch_movement=float(pitch[-third:].mean() - pitch[:third].mean()) if known else None,
                level_db=loud,
                level_against_clip=loud - clip_db,
                duration_s=duration_s,
                letter_s=duration_s / max(1, sum(character.isalnum() for character in word.text)),
                pause_s=min(max(word.start_s - before_s, 0.0), LONGEST_PAUSE_S),
                voiced_share=len(pitch) / max(1, last - first),
                valence=rated.valence if rated else None,
            )
        )
        before_s = word.end_s
    return tuple(found)


def scaled(word: WordMeasures) -> np.ndarray:
    """Return the measures (measures,) of a word on ``SCALES``, within ±4; 0 where it has none."""
    out = np.zeros(len(SCALES))
    for place, (name, scale) in enumerate(SCALES.items()):
        value = getattr(word, name)
        if value is not None:
            raw = math.log2(max(value, STEP_S / 10)) if scale.octaves else value
            out[place] = np.clip((raw - scale.centre) / scale.spread, -FARTHEST, FARTHEST)
    return out


def _frames(word: Word, frames: int) -> tuple[int, int]:
    first = min(round(word.start_s / STEP_S), frames - 1)
    return first, min(max(round(word.end_s / STEP_S), first + 1), frames)
