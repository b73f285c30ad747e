"""Voice conversion behind one interface: a clip keeps its words, timing and contour and takes another's voice.

A backend maps samples and a :class:`~ser_core.conversion.voice.Change` to samples. ``praat`` cuts the signal at its
periods and adds them up anew (PSOLA), ``world`` takes the speech apart into F0, envelope and aperiodicity and
synthesises it. Pitch and formants are the backend's work; the spectral balance and the level are set here, for all.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import fftconvolve, firwin2

from ser_core.audio import SAMPLE_RATE, read
from ser_core.conversion.voice import Change, Voice, band_centres_hz, change
from ser_core.errors import SettingError
from ser_core.files import whole
from ser_core.parallel import each

BACKENDS = ("praat", "world")

_TAPS = 257


@dataclass(frozen=True)
class Job:
    """One clip of a corpus to be said in another voice, and where the FLAC goes."""

    file: str
    source: Voice
    target: Voice
    backend: str
    out: str


def convert(samples: np.ndarray, source: Voice, target: Voice, backend: str) -> np.ndarray:
    """Return a clip (samples,) in another voice, float32, with the length and the level of the original.

    Args:
        samples: (samples,) at 16 kHz.
        source: voice of the clip's speaker, over all that is known of them and not of this clip alone: how far the clip
            stands from it is part of its emotion.
        target: the voice it takes.
        backend: one of ``BACKENDS``.

    Raises:
        SettingError: there is no such backend.
    """
    if backend not in BACKENDS:
        raise SettingError(f"There is no voice conversion '{backend}'; there are {', '.join(BACKENDS)}.")
    wanted = change(source, target)
    module = importlib.import_module(f"ser_core.conversion.{backend}")
    voiced = module.apply(np.asarray(samples, dtype=np.float64), wanted)
    fitted = np.zeros(len(samples))
    fitted[: min(len(samples), len(voiced))] = voiced[: len(samples)]
    return _levelled(_balanced(fitted, wanted), samples)


def convert_files(jobs: Sequence[Job]) -> None:
    """Convert clips of a corpus in worker processes; what is there already is not made again."""
    missing = [job for job in jobs if not Path(job.out).exists()]
    for place, _ in enumerate(each(_convert_file, missing), start=1):
        if place % 500 == 0 or place == len(missing):
            print(f"{place} of {len(missing)} clips converted", flush=True)


def _convert_file(job: Job) -> None:
    converted = convert(np.array(read(job.file).samples), job.source, job.target, job.backend)
    out = Path(job.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as partial:
        sf.write(partial, converted, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def _balanced(samples: np.ndarray, wanted: Change) -> np.ndarray:
    """Return the clip through a linear-phase filter with the wanted gain in each band."""
    centres, nyquist = band_centres_hz(), SAMPLE_RATE / 2
    hz = np.linspace(0, nyquist, 129)
    gains = 10 ** (np.interp(hz, centres, wanted.gains_db) / 20)
    return fftconvolve(samples, firwin2(_TAPS, hz / nyquist, gains), mode="same")


def _levelled(samples: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Return the clip at the original's level, lower where it would clip."""
    rms = np.sqrt(np.mean(samples**2))
    scale = np.sqrt(np.mean(np.square(original, dtype=np.float64))) / rms if rms > 0 else 1.0
    peak = np.abs(samples).max(initial=0.0) * scale
    return (samples * scale / max(1.0, peak / 0.999)).astype(np.float32)
