"""A voice of a long recording against itself: each cue of a stretch against that cue in the voice's other stretches.

The model's answers can be set against the voice, too: it then hears all stretches of the voice before it answers.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from explain.baseline import FEWEST, UNUSUAL_P, OwnCue, against_clips, alike, like_length
from explain.cues import CLIP, CUES, CueSummary
from explain.long_recording import LongRecording, Stretch
from ser_core.models import Prediction, SpeechModel
from ser_core.speaker_adaptation import AdaptedModel, adapted_by

Z_TOLD = 3
DOUBTFUL = 1e-6
# The level is uncalibrated, and the median F0 is the pitch level once more.
LEFT_OUT = ("intensity_mean", "f0_median")
FORMANTS = tuple(f"f{n}_{what}" for n in (1, 2, 3) for what in ("mean", "bandwidth"))


def hearing(found: LongRecording, voice: int, model: SpeechModel) -> AdaptedModel | None:
    """Return the model as it hears a voice by all its stretches; None where it was asked about none of them.

    Args:
        found: a session whose stretches this model was asked about.
        voice: whose.
        model: one that can be adapted to a speaker.

    Raises:
        ModelError: the model cannot be adapted.
    """
    mine = [stretch for stretch in found.of(voice) if stretch.seen is not None]
    if not mine:
        return None
    seen = [torch.from_numpy(stretch.seen) for stretch in mine]
    return adapted_by(model, seen, [f"{found.sha256} {each.start_s} {each.end_s}" for each in mine])


def heard_first(found: LongRecording, model: SpeechModel) -> LongRecording:
    """Return the session with the answers that the model gives when it has heard all stretches of each voice.

    Voices, times and cues stay; the arguments and what is raised are those of :func:`hearing`.
    """
    answers: dict[int, Prediction] = {}
    for voice in found.voices:
        asked = hearing(found, voice, model)
        if asked is not None:
            seen = {each.number: torch.from_numpy(each.seen) for each in found.of(voice) if each.seen is not None}
            answers |= dict(zip(seen, asked.of_embeddings(torch.stack(list(seen.values()))), strict=True))
    answered = tuple(
        dataclasses.replace(each, prediction=answers.get(each.number, each.prediction)) for each in found.stretches
    )
    return dataclasses.replace(found, stretches=answered, adapted=True)


def otherwise(alone: LongRecording, heard: LongRecording) -> tuple[int, int]:
    """Return how many stretches are answered otherwise once the model has heard each voice, and how many were asked."""
    pairs = zip(alone.stretches, heard.stretches, strict=True)
    both = [(one.prediction, two.prediction) for one, two in pairs if one.prediction and two.prediction]
    return sum(one.top != two.top for one, two in both), len(both)


def own_cues(found: LongRecording, number: int) -> tuple[OwnCue, ...]:
    """Return every cue of a stretch against other stretches of the same voice; empty where none was measured.

    Only stretches of like length count, from 2/3 to 1.5 times as long: a mean over little speech scatters more, which
    would make every short stretch unusual. Formants are compared where the same ceiling was in force.
    """
    here = found.stretches[number]
    if not here.cues:
        return ()
    others = [
        [value for value in each.cues if value.cue not in FORMANTS or _ceiling(each) == _ceiling(here)]
        for each in found.of(found.voice_of[number])
        if each.number != number and each.cues and like_length(each.length_s, here.length_s)
    ]
    return against_clips(CueSummary((), here.cues, ()), others)


def _ceiling(stretch: Stretch) -> float:
    settings = stretch.settings
    return 0.0 if settings is None or settings.formant_ceiling_hz is None else settings.formant_ceiling_hz


def _comparable(mine: Sequence[Stretch]) -> tuple[np.ndarray, np.ndarray]:
    """Return which stretches of a voice are set against which, both (stretches, stretches); the latter for formants."""
    length_s = np.array([each.length_s for each in mine])
    ceiling_hz = np.array([_ceiling(each) for each in mine])
    others = like_length(length_s[:, None], length_s) & ~np.eye(len(mine), dtype=bool)
    return others, others & (ceiling_hz[:, None] == ceiling_hz)


def own_z(found: LongRecording) -> np.ndarray:
    """Return the z-scores of ``own_cues`` for every stretch and cue (stretches, cues), in the order of ``CUES``.

    NaN where a cue cannot be measured or the voice has too few other stretches, and for the level and the median F0.
    """
    return _scores(found)[0]


def _scores(found: LongRecording) -> tuple[np.ndarray, np.ndarray]:
    """Return ``own_z``, and against how many stretches each is, both (stretches, cues)."""
    values = cue_values(found.stretches)
    scores, counts = np.full(values.shape, np.nan), np.zeros(values.shape)
    formants = np.array([c.name in FORMANTS for c in CUES])
    for voice in found.voices:
        rows = np.flatnonzero(np.array(found.voice_of) == voice)
        mine = values[rows]
        known = np.isfinite(mine)
        against, against_formants = _comparable([found.stretches[row] for row in rows])
        # About the mean, so that sums of squares stay exact.
        centre = np.where(known, mine, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        filled = np.where(known, mine - centre, 0.0)

        n, sums, squares = (
            np.where(formants, against_formants.astype(float) @ each, against.astype(float) @ each)
            for each in (known.astype(float), filled, filled**2)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums / n
            left = squares - n * mean**2
            square = left / (n - 1)
        # Beside one far outlier the difference is rounding: there the others are gone through themselves.
        for place, cue in np.argwhere(known & (n >= FEWEST) & (left <= DOUBTFUL * squares)):
            beside = against_formants if formants[cue] else against
            others = filled[beside[place] & known[:, cue], cue]
            mean[place, cue], square[place, cue] = others.mean(), others.var(ddof=1)
        sd = np.sqrt(np.maximum(square, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (filled - mean) / sd
        flat = alike(sd, centre + mean)
        scores[rows] = np.where(known & (n >= FEWEST) & ~flat, z, np.nan)
        counts[rows] = n
    scores[:, [c.name in LEFT_OUT for c in CUES]] = np.nan
    return scores, counts


def cue_values(found: Iterable[Stretch]) -> np.ndarray:
    """Return the cues over whole stretches (stretches, cues), NaN where one is not measurable."""
    rows = []
    for stretch in found:
        by = {v.cue: v.value for v in stretch.cues if v.scope == CLIP}
        rows.append([np.nan if (value := by.get(c.name)) is None else value for c in CUES])
    return np.array(rows, dtype=float).reshape(-1, len(CUES))


def standing_out(found: LongRecording) -> list[tuple[tuple[str, float], ...]]:
    """Return for each stretch the cues, with z, that are unusual for its own voice, the most unusual first, at most 3.

    Unusual is what 95 % of the voice's other stretches of like length would not reach (Crawford & Howell's t, as in
    :mod:`explain.baseline`), so about one cue in twenty is by chance alone.
    """
    from scipy.stats import t

    scores, others = _scores(found)
    # All at once, as the page asks anew whenever it is drawn.
    p = 2 * t.sf(np.abs(scores) / np.sqrt(1 + 1 / np.maximum(others, 1)), np.maximum(others - 1, 1))
    told: list[tuple[tuple[str, float], ...]] = []
    for row, z in zip(p, scores, strict=True):
        chosen = [k for k in np.argsort(row, kind="stable") if row[k] < UNUSUAL_P][:Z_TOLD]
        told.append(tuple((CUES[k].name, float(z[k])) for k in chosen))
    return told
