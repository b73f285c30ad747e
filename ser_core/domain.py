"""Whether a clip lies outside what a model was trained on: length, level, noise, band, cuts, repeats, voice, language.

Each measure of a clip is set against the middle 99 % of the model's training clips, whose percentiles lie in
``assets/reference/domain.json`` (``python -m ser_core domain``, see :mod:`ser_core.domain_study`, which also measures
how often clips from outside are told and how often clips from inside are told wrongly). A warning speaks of the
recording, not of the answer: inside the ranges a model can be wrong as well.

``ser_core.familiarity`` asks the same of the model's own embedding; ``ser_core.quality`` asks what a recording forbids
to measure, whatever the model.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ser_core.audio import SAMPLE_RATE, Recording, level_db
from ser_core.numbers import unsigned
from ser_core.pitch_and_level import pitch_and_tract
from ser_core.quality import bandwidth_hz, snr_db
from ser_core.settings import ASSETS
from ser_core.speech import Segment, speech_mask
from ser_core.workers import in_worker

if TYPE_CHECKING:
    from ser_core.models import Card

REFERENCE = ASSETS / "reference" / "domain.json"
TABLE = ASSETS / "results" / "domain.csv"
TAIL = 0.5
"""Per cent of the training clips beyond a limit, on each side that counts."""
SHORTEST_REPEAT_S = 0.5
LIKELY = 0.5
"""A language is told as another one if those of the training clips together are less probable than this."""


@dataclass(frozen=True)
class Measure:
    """What is measured of a clip.

    Attributes:
        name: in tables.
        label: for people.
        unit: of the value.
        decimals: that are worth showing.
        low: what a value under the training clips' means, in words; "" where it is no reason to warn.
        high: the same over them.
        likened: the change in ``degradations.KINDS`` and the level that come nearest to being under the range; what
            they cost a model is told with the warning.
        slack: how far beyond the training clips a value may lie, in its unit, where their range is next to nothing.
    """

    name: str
    label: str
    unit: str
    decimals: int
    low: str = ""
    high: str = ""
    likened: tuple[str, float] | None = None
    slack: float = 0.0


MEASURES = {
    each.name: each
    for each in (
        Measure("duration_s", "length", "s", 1, "The clip is short", "The clip is long"),
        Measure(
            "level_dbfs", "level of speech", "dBFS", 0, "The speech is quiet", "The speech is loud", ("gain", -20.0)
        ),
        Measure("snr_db", "signal to noise", "dB", 0, "There is much noise", likened=("environment", 10.0)),
        Measure(
            "range_db",
            "from the quiet to the loud parts",
            "dB",
            0,
            "The pauses are not quiet, as with noise, an echo or compression",
            likened=("environment", 10.0),
        ),
        Measure(
            "bandwidth_hz",
            "bandwidth",
            "Hz",
            0,
            "The band is narrow, as on the telephone",
            likened=("telephone", 64.0),
            slack=1000.0,
        ),
        Measure(
            "edge_db",
            "ends against the loud parts",
            "dB",
            0,
            high="The clip begins or ends in the middle of sound, as if it had been cut (leave half a second of room)",
        ),
        Measure(
            "flat_percent",
            "samples near the peak",
            "%",
            2,
            high="The loudest parts are cut flat, as by a recording level that is too high",
        ),
        Measure("repetition", "likeness to itself later", "", 2, high="Parts of the clip are repeated"),
        Measure("pitch_hz", "median pitch", "Hz", 0, "The voice is low", "The voice is high"),
        Measure(
            "tract_cm",
            "apparent vocal tract",
            "cm",
            1,
            "The voice sounds like that of a smaller speaker, such as a child",
            "The voice sounds like that of a larger speaker",
        ),
    )
}
LANGUAGE, EDGE = "language", "edge_db"


@dataclass(frozen=True)
class Reference:
    """What a corpus's training clips are like: percentiles by measure, of clips of speakers that models learnt from.

    percentiles: measure → {percent: value}; languages: ISO 639-1; ages: youngest and oldest in years, where known.
    """

    corpus: str
    clips: int
    speakers: int
    languages: tuple[str, ...]
    ages: tuple[float, float] | None
    percentiles: Mapping[str, Mapping[float, float]]

    def limits(self, measure: str) -> tuple[float, float]:
        """Return the range of a measure; infinite on a side that does not count, or where nothing could be measured."""
        known, asked = self.percentiles.get(measure, {}), MEASURES[measure]
        low = known.get(TAIL, -math.inf) if asked.low else -math.inf
        high = known.get(100 - TAIL, math.inf) if asked.high else math.inf
        return low - asked.slack, high + asked.slack


@dataclass(frozen=True)
class Outside:
    """One way in which a clip lies outside a model's training clips.

    value is NaN for the language. low and high are the range of the training clips, infinite on a side that does not
    count. cost says what such clips cost this model in a test, "" where that was not tested.
    """

    measure: str
    value: float
    unit: str
    low: float
    high: float
    corpus: str
    sentence: str
    cost: str = ""


def measured(recording: Recording, speech: Sequence[Segment]) -> dict[str, float]:
    """Return the clip's value of each of ``MEASURES``; NaN where it cannot be measured, as a voice without speech.

    Args:
        recording: the clip.
        speech: its stretches of speech.
    """
    samples = recording.samples
    times_s = np.arange(len(samples)) / SAMPLE_RATE
    spoken = speech_mask(speech, times_s)
    pitch_hz, tract_cm = in_worker(pitch_and_tract, samples) if speech else (math.nan, math.nan)
    power = np.mean(np.square(samples[spoken], dtype=np.float64)) if speech else math.nan
    frames = np.lib.stride_tricks.sliding_window_view(samples, SAMPLE_RATE // 50)[:: SAMPLE_RATE // 100]
    levels = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    low, high = np.quantile(levels, (0.05, 0.95))
    return {
        "duration_s": recording.duration_s,
        "level_dbfs": level_db(float(np.sqrt(power))) if speech else math.nan,
        "snr_db": snr_db(samples, speech),
        "range_db": float(high - low),
        "bandwidth_hz": bandwidth_hz(samples, speech, min(recording.source.sample_rate, SAMPLE_RATE)),
        "edge_db": float(max(levels[:3].max(), levels[-3:].max()) - high),
        "flat_percent": flat_percent(samples),
        "repetition": repetition(samples),
        "pitch_hz": pitch_hz,
        "tract_cm": tract_cm,
    }


def flat_percent(samples: np.ndarray) -> float:
    """Return the share of samples within 5 % of the loudest one, in per cent: hardly any in speech that is not clipped.

    Args:
        samples: shape (samples,).
    """
    sizes = np.abs(samples)
    return float(100 * np.mean(sizes >= 0.95 * sizes.max()))


def repetition(samples: np.ndarray) -> float:
    """Return how alike a clip (samples,) at 16 kHz is to itself some time later: 1 for the same sound again.

    The largest correlation, over all delays from half a second on, between the spectral shapes of the loud frames and
    themselves later. A shape is the levels of 32 bands of 250 Hz less the frame's mean and less the clip's mean shape;
    loud is what lies within 30 dB of the loudest frame. Only delays count that leave half a second and a quarter of the
    loud frames. NaN where there is none.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, 320)[::160]
    spectrum = np.square(np.abs(np.fft.rfft(frames * np.hanning(320), 512, axis=1)))[:, 1:]
    bands = spectrum.reshape(len(frames), 32, 8).mean(2)
    shapes = np.log(bands + 1e-10)
    shapes -= shapes.mean(1, keepdims=True)
    power = bands.sum(1)
    loud = power > power.max() / 1000
    shapes = np.where(loud[:, None], shapes - shapes[loud].mean(0), 0.0)
    count, least = len(shapes), int(100 * SHORTEST_REPEAT_S)
    if count < 2 * least:
        return math.nan
    spectra = np.fft.rfft(shapes, 2 * count, axis=0)
    products = np.fft.irfft(np.square(np.abs(spectra)).sum(1), 2 * count)[:count]
    energy = np.concatenate([[0.0], np.cumsum(np.square(shapes).sum(1))])
    heard = np.concatenate([[0], np.cumsum(loud)])
    delays = np.arange(least, count - least + 1)
    enough = np.minimum(heard[count - delays], heard[count] - heard[delays]) >= max(least, heard[count] / 4)
    scale = np.sqrt(energy[count - delays] * (energy[count] - energy[delays]))
    alike = products[delays][enough] / np.maximum(scale[enough], 1e-9)
    return float(alike.max()) if len(alike) else math.nan


def outside(card: "Card", values: Mapping[str, float]) -> tuple[Outside, ...]:
    """Return in what a clip lies outside the middle 99 % of the clips that a model was trained on.

    Args:
        card: the model's.
        values: of :func:`measured`.

    Returns:
        Nothing where the training clips of the model are not known; :func:`reference` says whether they are.
    """
    known = reference(card)
    if known is None:
        return ()
    found = []
    for name, measure in MEASURES.items():
        value, (low, high) = values.get(name, math.nan), known.limits(name)
        if math.isnan(value) or low <= value <= high:
            continue
        said = (
            f"{measure.low if value < low else measure.high}: {measure.label} {_said(value, measure)}; the clips it "
            f"learnt from ({known.corpus}) have {_range(low, high, measure)}."
        )
        cost = _cost(card.extra.get("measured_as", card.name), measure) if value < low else ""
        found.append(Outside(name, value, measure.unit, low, high, known.corpus, said, cost))
    return tuple(found)


def language_outside(card: "Card", languages: Mapping[str, float]) -> tuple[Outside, ...]:
    """Return a warning if a clip is probably in a language that the model has not learnt from.

    Args:
        card: the model's.
        languages: of ``transcription.spoken_languages``.
    """
    known = reference(card)
    if known is None or sum(languages.get(code, 0.0) for code in known.languages) >= LIKELY:
        return ()
    # The likeliest of all may still be one of the model's own, where the others share more between them.
    others = {code: share for code, share in languages.items() if code not in known.languages}
    first = max(others, key=lambda code: others[code])
    said = (
        f"The language is probably another one: {language_name(first)} ({100 * others[first]:.0f} %, by Whisper "
        f"base); the clips it learnt from ({known.corpus}) are in {_listed(known.languages)}."
    )
    return (Outside(LANGUAGE, math.nan, "", math.nan, math.nan, known.corpus, said),)


def language_warning(card: "Card", recording: Recording, speech: Sequence[Segment]) -> tuple[Outside, ...]:
    """Return :func:`language_outside` of a clip, by Whisper base; nothing where nobody speaks or nothing is known.

    Raises:
        WeightsError: Whisper base is not at hand.
    """
    if reference(card) is None or not speech:
        return ()
    from ser_core import transcription  # torch and the weights, only where they are needed

    return language_outside(card, transcription.spoken_languages(recording.samples))


def reference(card: "Card") -> Reference | None:
    """Return what the model's training clips are like, or None where that is not known."""
    return references().get(card.corpora[0]) if card.corpora else None


def language_name(code: str) -> str:
    """Return the English name of a language (ISO 639-1), or its code."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return LANGUAGES.get(code, code).title()


@functools.cache
def references() -> dict[str, Reference]:
    """Return what is known of training clips, by the title of their corpus."""
    raw = json.loads(REFERENCE.read_text(encoding="utf-8"))
    return {each["corpus"]: _read(each) for each in raw["corpora"]}


def _read(raw: dict) -> Reference:
    percentiles = {
        name: {float(percent): value for percent, value in known.items()} for name, known in raw["percentiles"].items()
    }
    ages = None if raw["ages"] is None else (raw["ages"][0], raw["ages"][1])
    return Reference(raw["corpus"], raw["clips"], raw["speakers"], tuple(raw["languages"]), ages, percentiles)


def _cost(model: str, measure: Measure) -> str:
    """Return what the likened change cost a model on test clips, where it was measured and is beyond chance."""
    if measure.likened is None:
        return ""
    from ser_core.robustness import read_summary

    kind, level = measure.likened
    found = read_summary()
    row = found[(found["model"] == model) & (found["kind"] == kind) & (found["level"] == level)]
    if row.empty or not row["drop_high"].iloc[0] < 0:
        return ""
    lost, least, most = (-100 * float(row[name].iloc[0]) for name in ("drop", "drop_high", "drop_low"))
    return f"{_LIKENED[kind]} cost it {lost:.0f} points of UAR on test clips (95 % interval {least:.0f} to {most:.0f})."


_LIKENED = {
    "gain": "20 dB less",
    "environment": "Noise of the surroundings at 10 dB",
    "telephone": "A telephone line",
}


def _said(value: float, measure: Measure) -> str:
    return f"{unsigned(value, measure.decimals, thousands=True)} {measure.unit}".rstrip()


def _range(low: float, high: float, measure: Measure) -> str:
    if math.isinf(low):
        return f"{_said(high, measure)} at most"
    if math.isinf(high):
        return f"{_said(low, measure)} at least"
    return f"{_said(low, measure).removesuffix(f' {measure.unit}')} to {_said(high, measure)}"


def _listed(codes: Sequence[str]) -> str:
    names = [language_name(code) for code in codes]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
