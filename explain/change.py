"""Whether a cue has changed between two clips of one speaker, or whether measuring again would differ as much.

Each clip is measured again a dozen times under small changes that leave the voice as it is: pitch floor and ceiling
within 10 % of those in force, the formant ceiling within 5 %, white noise 50 dB below the clip's peak, and up to 20 ms
cut from its start and its end. The standard deviation of these values is the *standard error of measurement* (SEM),
pooled over the two clips. A *change* is a difference above the smallest detectable change, 1.96 · √2 · SEM, which 95 %
of the differences between two measurements of an unchanged voice do not reach (Bland & Altman 1996, BMJ 312, 1654;
Weir 2005, Journal of Strength and Conditioning Research 19, 231–240; de Vet et al. 2006, Journal of Clinical
Epidemiology 59, 1033–1039). As the SEM is known from a dozen repeats a clip only, Student's t stands for 1.96 (2.07
for 22 degrees of freedom), or 6 % would reach it.

This is the error of measuring, not the way in which a person's voice differs from one sentence to the next: other
words change formants and tempo, and no setting tells. Clips of the same words, and the speaker's own baseline
(:mod:`explain.baseline`), say more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explain.cues import CLIP, CUES, CueSettings, CueTracks, CueValue, measure
from explain.magnitudes import magnitudes
from ser_core.audio import MAX_PEAK, MIN_SECONDS, SAMPLE_RATE, Recording, from_samples
from ser_core.speech import speech_segments

REPEATS, FEWEST = 12, 6
PITCH_SHARE, FORMANT_SHARE = 0.10, 0.05
NOISE_DB, CUT_S = -50.0, 0.02
CONFIDENCE = 0.95
HIGHER, LOWER, WITHIN, UNKNOWN = "higher", "lower", "within measurement error", "not measurable"


@dataclass(frozen=True)
class Change:
    """One cue of the whole clip before and after, in ``unit``.

    error is the standard error of measurement, smallest the smallest detectable change; verdict is "higher", "lower",
    "within measurement error" or "not measurable", for which ``note`` says why.
    """

    cue: str
    unit: str
    before: float | None
    after: float | None
    difference: float | None
    error: float | None
    smallest: float | None
    verdict: str
    note: str = ""


def repeated(
    recording: Recording,
    tracks: CueTracks,
    *,
    count: int = REPEATS,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[tuple[CueValue, ...], ...]:
    """Return the cues of the whole clip, measured again under small changes that leave the voice as it is.

    Args:
        recording: the clip.
        tracks: as it was measured; the settings in force there are varied.
        count: how often.
        seed: of the small changes.
        progress: told the share done (0 … 1) and what is being done.
    """
    random = np.random.default_rng(seed)
    found = []
    for place in range(count):
        clip = _slightly_other(recording, random)
        found.append(magnitudes(measure(clip, _slightly_off(tracks, random), speech_segments(clip))))
        if progress is not None:
            progress((place + 1) / count, "Measuring again to know the error")
    return tuple(found)


def changes(
    before: Sequence[CueValue],
    after: Sequence[CueValue],
    repeats: tuple[Sequence[Sequence[CueValue]], Sequence[Sequence[CueValue]]],
) -> tuple[Change, ...]:
    """Return for each cue of the whole clip whether it has changed.

    Args:
        before: magnitudes of the first clip, as :func:`explain.magnitudes.magnitudes` returns them.
        after: those of the second clip.
        repeats: what :func:`repeated` returned for the first and for the second clip.
    """
    values = [{v.cue: v for v in side if v.scope == CLIP} for side in (before, after)]
    return tuple(
        _change(values[0][c.name], values[1][c.name], [_found(side, c.name) for side in repeats])
        for c in CUES
        if all(c.name in side for side in values)
    )


def _change(before: CueValue, after: CueValue, again: list[list[float]]) -> Change:
    from scipy.stats import t

    row = Change(before.cue, before.unit, before.value, after.value, None, None, None, UNKNOWN)
    if before.value is None or after.value is None:
        return replace(row, note=before.note if before.value is None else after.note)
    row = replace(row, difference=after.value - before.value)
    if any(len(found) < FEWEST for found in again):
        return replace(row, note="too few repeated measurements came out to know the error")
    freedom = np.array([len(found) - 1 for found in again])
    error = float(np.sqrt(np.average([np.var(found, ddof=1) for found in again], weights=freedom)))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom.sum())) * float(np.sqrt(2)) * error
    smallest = max(reach, _grain(before), _grain(after))
    gone = after.value - before.value
    verdict = WITHIN if abs(gone) <= smallest else HIGHER if gone > 0 else LOWER
    return replace(row, error=error, smallest=smallest, verdict=verdict)


def _grain(value: CueValue) -> float:
    """The smallest step of a cue that is counted: one syllable nucleus more or less; 0 for a cue that is measured."""
    if value.counted != "syllable nuclei" or value.value is None or value.count == 0:
        return 0.0
    return value.value / value.count


def _found(repeats: Sequence[Sequence[CueValue]], cue: str) -> list[float]:
    return [v.value for values in repeats for v in values if v.cue == cue and v.scope == CLIP and v.value is not None]


def _slightly_off(tracks: CueTracks, random: np.random.Generator) -> CueSettings:
    in_force = tracks.settings
    factors = 1 + np.array([PITCH_SHARE, PITCH_SHARE, FORMANT_SHARE]) * random.uniform(-1, 1, 3)
    asked = (in_force.pitch_floor_hz, in_force.pitch_ceiling_hz, in_force.formant_ceiling_hz)
    floor, ceiling, formants = (float(f * (v or 0.0)) for f, v in zip(factors, asked, strict=True))
    floor = float(np.clip(floor, 40.0, 500.0))
    return replace(
        in_force,
        pitch_floor_hz=floor,
        pitch_ceiling_hz=float(np.clip(ceiling, max(80.0, 1.5 * floor), 2000.0)),
        formant_ceiling_hz=float(np.clip(formants, 3000.0, 8000.0)),
    )


def _slightly_other(recording: Recording, random: np.random.Generator) -> Recording:
    # What is left of a very short clip must still be a clip.
    room = max(0, (len(recording.samples) - round(MIN_SECONDS * SAMPLE_RATE)) // 2)
    start, end = (int(cut) for cut in random.integers(0, min(round(CUT_S * SAMPLE_RATE), room) + 1, 2))
    samples = recording.samples[start : len(recording.samples) - end].astype(np.float64)
    level = float(np.abs(samples).max(initial=0.0)) * 10 ** (NOISE_DB / 20)
    samples = samples + level * random.standard_normal(len(samples))
    return from_samples(np.clip(samples, -MAX_PEAK, MAX_PEAK).astype(np.float32), SAMPLE_RATE, recording.name)
