"""Sources of noise for tests of robustness: stationary, babble, and real noise from the user's environment recordings.

A source gives (samples,) of noise at 16 kHz with a root mean square of 1; ``augmentation.mix_at_snr`` sets its level.
What is drawn comes from the generator alone, so the same seed gives the same noise.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ser_core.audio import SAMPLE_RATE, read
from ser_core.corpora.table import AUDIO_SUFFIXES
from ser_core.errors import AudioError

Source = Callable[[int, np.random.Generator], np.ndarray]

FRAME = 512
QUIET = 1e-3
"""What lies this far (−60 dB) under the peak at either end of a noise recording is padding."""


def white(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Return noise with the same power in every hertz."""
    return _unit(generator.normal(size=samples))


def pink(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Return noise with the same power in every octave, none below 20 Hz."""
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    gains = np.zeros_like(frequencies)
    gains[frequencies >= 20] = 1 / np.sqrt(frequencies[frequencies >= 20])
    return _shaped(gains, samples, generator)


def speech_shaped(voices: Sequence[np.ndarray]) -> Source:
    """Return a source of stationary noise with the long-term spectrum of some speech.

    Args:
        voices: (samples,) each at 16 kHz, of 512 samples or more; each counts by its power.

    Raises:
        AudioError: there is no speech to take the spectrum from.
    """
    window = np.hanning(FRAME)
    frames = [voice[: len(voice) // FRAME * FRAME].reshape(-1, FRAME) for voice in voices]
    if not sum(map(len, frames)):
        raise AudioError("The spectrum of speech needs at least one voice of 32 ms or more.")
    power = np.mean(np.abs(np.fft.rfft(np.concatenate(frames) * window, axis=1)) ** 2, axis=0)
    known = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)

    def source(samples: int, generator: np.random.Generator) -> np.ndarray:
        wanted = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
        return _shaped(np.sqrt(np.interp(wanted, known, power)), samples, generator)

    return source


def babble(voices: Sequence[np.ndarray], *, talkers: int = 6) -> Source:
    """Return a source of several people who talk at once, equally loud.

    Args:
        voices: (samples,) each at 16 kHz, one or more of each talker; those of the clip under test are left out by the
            caller. Each is repeated from a random place on.
        talkers: voices at once, drawn without replacement.

    Raises:
        AudioError: there are fewer voices than talkers, or one is silent.
    """
    if len(voices) < talkers:
        raise AudioError(f"Babble of {talkers} talkers needs as many voices; there are {len(voices)}.")

    def source(samples: int, generator: np.random.Generator) -> np.ndarray:
        chosen = generator.choice(len(voices), talkers, replace=False)
        shifts = [int(generator.integers(0, len(voices[place]))) for place in chosen]
        return _unit(
            np.sum([np.resize(np.roll(_unit(voices[p]), -s), samples) for p, s in zip(chosen, shifts, strict=True)], 0)
        )

    return source


def recorded(recording: np.ndarray) -> Source:
    """Return a source that plays a recording (samples,) from a random place on, repeated where it is too short."""

    def source(samples: int, generator: np.random.Generator) -> np.ndarray:
        return _unit(np.resize(np.roll(recording, -int(generator.integers(0, len(recording)))), samples))

    return source


def environment(folder: str | Path) -> Source:
    """Return a source of real recordings of noise, such as ESC-10: one file a draw, from a random place on.

    Silence at the ends of a file is cut away; a file that is too short is repeated. Each draw reads one file.

    Args:
        folder: holds audio files at any depth; every subfolder (a kind of noise) is drawn equally often.

    Raises:
        AudioError: there is no audio below the folder.
    """
    files: dict[Path, list[Path]] = {}
    for path in noise_files(folder):
        files.setdefault(path.parent, []).append(path)
    kinds = list(files.values())

    def source(samples: int, generator: np.random.Generator) -> np.ndarray:
        kind = kinds[int(generator.integers(0, len(kinds)))]
        recording = np.array(read(kind[int(generator.integers(0, len(kind)))]).samples)
        loud = np.flatnonzero(np.abs(recording) > QUIET * np.abs(recording).max())
        heard = recording[loud[0] : loud[-1] + 1] if len(loud) else recording
        return recorded(heard)(samples, generator)

    return source


def noise_files(folder: str | Path) -> list[Path]:
    """Return the recordings that :func:`environment` draws from, sorted.

    Raises:
        AudioError: there is no audio below the folder.
    """
    found = [
        path
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise AudioError(f"There are no recordings of noise in {folder}; give a folder of audio files such as ESC-10.")
    return found


def _shaped(gains: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    return _unit(np.fft.irfft(gains * np.fft.rfft(generator.normal(size=samples)), samples))


def _unit(values: np.ndarray) -> np.ndarray:
    level = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
    if level == 0:
        raise AudioError("A recording that serves as noise is silent; take it out.")
    return (values / level).astype(np.float32)
