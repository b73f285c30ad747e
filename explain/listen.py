"""The salient parts of a clip alone, and the clip without them, to be heard and to be asked about.

Both are cut with one soft mask over a short-time Fourier transform and its exact inverse, so that before their levels
are matched they add up to the clip again. The mask's edges are raised cosines in time and in frequency: no clicks.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from explain.regions import Region
from ser_core.audio import SAMPLE_RATE, Recording, from_samples
from ser_core.errors import ExplanationError

if TYPE_CHECKING:
    from ser_core.models import Prediction, SpeechModel

WINDOW, HOP = 512, 128
EDGE_S, EDGE_HZ = 0.02, 100.0
LOUDEST = 0.98


@dataclass(frozen=True, eq=False)
class Parts:
    """A clip cut in two, float32 of the clip's length at 16 kHz; ``alone + without`` is the clip.

    alone: what lies in the salient regions. without: the rest.
    """

    alone: np.ndarray
    without: np.ndarray


@dataclass(frozen=True, eq=False)
class Heard:
    """One part, brought to the clip's level, and the model's answer to it.

    gain_db: by how much it was raised to that level, so that the answer can be read with it; below 0 where the part
        alone would have passed full scale.
    """

    recording: Recording
    prediction: "Prediction"
    gain_db: float


def parts(recording: Recording, regions: Sequence[Region]) -> Parts:
    """Return the salient parts of a clip and the rest.

    Raises:
        ExplanationError: there is no region.
    """
    if not regions:
        raise ExplanationError("There is no salient region to hear; choose another method.")
    from scipy.signal import ShortTimeFFT  # only here, as to load it takes long and few listen at once
    from scipy.signal.windows import hann

    samples = np.asarray(recording.samples, dtype=float)
    transform = ShortTimeFFT(hann(WINDOW, sym=False), HOP, SAMPLE_RATE)
    spectrum = transform.stft(samples)
    times_s = transform.t(len(samples))
    share = soft_mask(regions, times_s, transform.f, recording.duration_s)
    alone = transform.istft(spectrum * share, k1=len(samples))
    return Parts(alone.astype(np.float32), (samples - alone).astype(np.float32))


def soft_mask(regions: Sequence[Region], times_s: np.ndarray, hz: np.ndarray, duration_s: float) -> np.ndarray:
    """Return the share (bins, frames), 0 … 1, of each cell that lies in a region, with edges of 20 ms and 100 Hz.

    A region that begins or ends with the clip, or with its bands, has no edge there.
    """
    share = np.zeros((len(hz), len(times_s)))
    for region in regions:
        when = _edges(times_s, region.start_s, region.end_s, EDGE_S, duration_s)
        where = np.ones(len(hz))
        if region.low_hz is not None and region.high_hz is not None:
            where = _edges(hz, region.low_hz, region.high_hz, EDGE_HZ, hz[-1])
        # Where two regions touch, their edges are complements.
        share = np.minimum(1.0, share + where[:, None] * when)
    return share


def _edges(places: np.ndarray, low: float, high: float, width: float, end: float) -> np.ndarray:
    """Raised cosines that reach one half at the limits, but for limits at 0 and at the end."""
    low, high = low if low > width / 2 else -np.inf, high if high < end - width / 2 else np.inf
    inside = np.clip(np.minimum((places - low) / width + 0.5, (high - places) / width + 0.5), 0.0, 1.0)
    rounded: np.ndarray = 0.5 - 0.5 * np.cos(np.pi * inside)
    return rounded


def level_matched(samples: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, float]:
    """Return samples at the level (RMS) of another clip, and the gain in dB; less where they would clip.

    Silence stays silence, with a gain of 0.
    """
    level, wanted = (float(np.sqrt(np.mean(np.square(values, dtype=float)))) for values in (samples, like))
    if level < 1e-7:
        return samples, 0.0
    gain = min(wanted / level, LOUDEST / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32), 20 * float(np.log10(gain))


def wav(recording: Recording) -> bytes:
    """Return a recording as the bytes of a 16-bit WAV file, lowered where it would pass full scale."""
    import soundfile

    buffer = io.BytesIO()
    samples = recording.samples / max(1.0, float(np.abs(recording.samples).max(initial=0.0)))
    soundfile.write(buffer, samples, recording.sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def heard(model: "SpeechModel", recording: Recording, regions: Sequence[Region]) -> tuple[Heard, Heard]:
    """Return the salient parts alone and the clip without them, at the clip's level, with the model's answers.

    Raises:
        ExplanationError: there is no region, or one of the parts holds no sound.
    """
    cut = parts(recording, regions)
    found = []
    for what, samples in (("The salient regions hold", cut.alone), ("The rest of the clip holds", cut.without)):
        if float(np.abs(samples).max(initial=0.0)) < 1e-6:
            raise ExplanationError(f"{what} no sound, so there is nothing to hear.")
        louder, gain_db = level_matched(samples, recording.samples)
        clip = from_samples(louder, SAMPLE_RATE, recording.name)
        found.append(Heard(clip, model.predict(clip), gain_db))
    return found[0], found[1]
