"""Mixing on waveforms: noise at a given SNR, and energy-adaptive mixup with its soft label."""

from dataclasses import dataclass

import numpy as np

from ser_core.errors import AudioError

LOUDEST_SNR_DB, FAINTEST_SNR_DB = -5.0, 10.0
LONGEST_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Mixed:
    """Mixed speech (samples,), and the share of the label that belongs to the clip that was added."""

    samples: np.ndarray
    weight: float


def power(samples: np.ndarray) -> float:
    """Return the mean square of (samples,)."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def mix_at_snr(speech: np.ndarray, noise: np.ndarray, snr_db: float, *, active: np.ndarray | None = None) -> np.ndarray:
    """Return speech plus noise at a signal-to-noise ratio, in single precision; nothing is clipped.

    Args:
        speech: (samples,).
        noise: (samples,) at the same rate; repeated where it is shorter than the speech, cut where it is longer.
        snr_db: power of the speech over that of the noise which is added, in dB.
        active: boolean (samples,): where the power of the speech is measured, such as where someone speaks; all of it
            if left out.

    Raises:
        AudioError: the noise is silent, or ``active`` marks nothing, so no ratio can be set.
    """
    cut = np.resize(noise, len(speech)) if len(noise) else np.zeros(len(speech))
    level = power(cut) if len(cut) else 0.0
    heard = speech if active is None else speech[active]
    if level == 0.0 or not len(heard):
        raise AudioError("Noise can be added at a given level only to sound that lasts, and only if it is not silent.")
    scale = np.sqrt(power(heard) / (10 ** (snr_db / 10) * level))
    return (speech + scale * cut).astype(np.float32)


def add_excerpt(samples: np.ndarray, excerpt: np.ndarray, start: int, snr_db: float) -> Mixed:
    """Add an excerpt of other speech at one place of a clip, and say how much of the label it takes.

    The excerpt is scaled by √(P / (10^(SNR/10) · P′)), P and P′ being the powers of the clip at that place and of the
    excerpt. Its weight in the label is (covered share of the clip) × P″ / (P + P″), P″ being its power after scaling;
    that is share / (1 + 10^(SNR/10)).

    Args:
        samples: (samples,) of the clip.
        excerpt: (samples,) that fit into the clip from ``start`` on.
        start: first sample that is covered.
        snr_db: of the clip over the excerpt, at that place.

    Raises:
        AudioError: the excerpt is silent or empty, or reaches out of the clip.
    """
    if not 0 <= start <= len(samples) - len(excerpt):
        raise AudioError("The excerpt reaches out of the clip that it is added to; shorten it or move it.")
    place = slice(start, start + len(excerpt))
    mixed = samples.astype(np.float32)
    mixed[place] = mix_at_snr(samples[place], excerpt, snr_db)
    share = len(excerpt) / len(samples) if power(samples[place]) else 0.0
    return Mixed(mixed, share / (1 + 10 ** (snr_db / 10)))


def energy_adaptive_mixup(samples: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> Mixed:
    """Add a random excerpt of another clip, up to half as long as this one, at a random place and SNR of −5 … 10 dB.

    Args:
        samples: (samples,) of the clip that keeps most of its label.
        other: (samples,) of the clip that the excerpt comes from, at the same rate.
        generator: draws length, excerpt, place and SNR, each uniformly.

    Returns:
        The mix, as long as ``samples``; if the excerpt drawn is silent, the clip as it is and the weight 0.

    Source: energy-adaptive mixup of the multi-loss learning system (MLL); the form of the weight is inferred.
    """
    longest = min(int(LONGEST_SHARE * len(samples)), len(other))
    length = int(generator.integers(1, longest + 1)) if longest else 0
    first = int(generator.integers(0, len(other) - length + 1))
    start = int(generator.integers(0, len(samples) - length + 1))
    snr_db = float(generator.uniform(LOUDEST_SNR_DB, FAINTEST_SNR_DB))
    excerpt = other[first : first + length]
    if not length or not power(excerpt):
        return Mixed(samples.astype(np.float32), 0.0)
    return add_excerpt(samples, excerpt, start, snr_db)
