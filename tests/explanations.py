"""Builds an Explanation from synthetic data, with every field filled, for tests of exports and pages."""

import hashlib

import numpy as np
from scipy.signal import spectrogram

from explain.attribution import Attribution, Target
from explain.cues import Contrast, CueSettings, CueSummary, CueTracks, CueValue
from explain.expert import Agreement
from explain.explanation import Explanation
from explain.regions import Region
from ser_core.audio import SAMPLE_RATE, Recording, Source
from ser_core.models import Card, Familiarity, Figure, PoolingWeights, Prediction
from ser_core.quality import Quality
from ser_core.speech import Segment

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
SPEECH = (Segment(0.3, 1.3), Segment(1.6, 2.7))
HOSTILE_NAMES = (
    '#read("/etc/passwd") $x$ *bold* _it_ `raw` <label> @ref \\#eval("1") ]) #panic()',
    "<script>alert(1)</script> <b>&amp;\"'",
    "Bewerbungsgespräch – Müller ≥ 0.5 − ½ × µ (ﬁnal).wav",
    "日本語の音声 😀👩‍👩‍👧.wav",
    "اردو آواز ۱۲۳.wav",
    "invoice\u202egpj.wav\u0000\u0007\n\t\ufeff\ufffe\ue000",
    "lone \udcff surrogate.wav",
    "e\u0301" * 5 + "\u0301" * 40 + ".wav",
    "very_long_" * 60 + ".wav",
    '=HYPERLINK("http://x","y")',
    "",
)


def voice(duration_s: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return samples (n,) of a vowel-like signal at 16 kHz in the stretches of SPEECH, and its F0 per sample."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    f0 = 190 + 25 * np.sin(2 * np.pi * 0.7 * t) + 60 * np.exp(-(((t - 1.1) / 0.15) ** 2))
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    harmonics = np.zeros_like(t)
    for k in range(1, 25):
        frequency = k * f0
        gain = sum(1 / (1 + ((frequency - centre) / width) ** 2) for centre, width in FORMANTS) / k**0.5
        harmonics += gain * np.sin(k * phase) * (frequency < 7000)
    envelope = sum(np.clip(np.minimum(t - s.start_s, s.end_s - t) / 0.05, 0, 1) for s in SPEECH)
    samples = 0.12 * harmonics * envelope + 0.001 * rng.standard_normal(len(t))
    return (samples / np.abs(samples).max() * 0.7).astype(np.float32), f0


FORMANTS = ((650.0, 90.0), (1450.0, 120.0), (2600.0, 180.0))


def example_explanation(
    *,
    axes: str = "time_frequency",
    against: str | None = None,
    hostile: str | None = None,
    emotions: tuple[str, ...] = EMOTIONS,
    region_count: int = 3,
    duration_s: float = 3.0,
    familiarity: bool = True,
    speechless: bool = False,
) -> Explanation:
    """Return an explanation whose figures are plausible but made up; for tests only.

    Args:
        axes: axes of the attribution: "time_frequency", "time" or "features" (then without regions).
        against: the other class of a contrastive target.
        hostile: a string that is put wherever text comes from outside (file, model, card, warnings, sources).
        emotions: the model's classes; the first is predicted and explained.
        region_count: number of salient regions; ignored for "features".
        duration_s: length of the clip in seconds; at least 3.
        familiarity: whether the model knows how far the clip is from its training data.
        speechless: a clip without speech, voice, pulses and pooling weights.
    """

    def outside(text: str) -> str:
        return text if hostile is None else f"{hostile}{text}"

    samples, f0 = voice(duration_s)
    samples.flags.writeable = False
    recording = Recording(
        samples,
        outside("clip_0042.wav"),
        hashlib.sha256(samples.tobytes()).hexdigest(),
        Source("WAV", "PCM_16", 44100, 2),
    )
    speech = () if speechless else SPEECH
    regions = () if axes == "features" else _regions(region_count, axes)
    prediction = _prediction(outside("example-cnn"), emotions, familiarity)
    frequencies, times, power = spectrogram(samples, SAMPLE_RATE, nperseg=400, noverlap=240, nfft=512)
    return Explanation(
        recording=recording,
        quality=Quality(
            duration_s=duration_s,
            peak_dbfs=-3.1,
            clipped_share=0.0002,
            snr_db=21.4 if not speechless else float("nan"),
            bandwidth_hz=7600.0,
            narrowband=False,
            speech_share=0.7 if not speechless else 0.0,
            voiced_share=0.62 if not speechless else float("nan"),
            warnings=(outside("0.02 % of the samples are clipped; level and shimmer may be too low."),),
        ),
        speech=speech,
        card=_card(prediction.model, emotions, outside),
        prediction=prediction,
        target=Target(emotions[0], against),
        attribution=_attribution(prediction.model, Target(emotions[0], against), axes, regions, duration_s),
        pooling=None
        if speechless or axes == "features"
        else PoolingWeights(
            np.linspace(0.02, duration_s - 0.02, 100), np.full(100, 0.01), "attention over 20 ms frames"
        ),
        regions=regions,
        tracks=_tracks(samples, f0, speech, duration_s),
        cues=_summary(regions, outside),
        agreements=_agreements(emotions, outside),
        paragraph=(
            f"The model answers {emotions[0]} with probability 0.61, before {emotions[1]} with 0.20. "
            "The pitch of the salient regions lies at the 91st percentile of neutral speech (≥ the upper fifth), "
            "as experts expect; jitter is contested between sources."
        ),
        spectrogram_db=(10 * np.log10(power + 1e-12)).astype(np.float32),
        spectrogram_times_s=times,
        spectrogram_hz=frequencies,
        versions={"serscope": "0.1.0", "torch": "2.13.0", "captum": "0.9.0", "praat": "6.4.47", "python": "3.11.2"},
        seconds={"predict": 0.012, "attribute": 0.21, "cues": 0.24},
    )


def _prediction(model: str, emotions: tuple[str, ...], familiarity: bool) -> Prediction:
    raw = 0.61 * 0.33 ** np.arange(len(emotions))
    near = Familiarity(1.83, 64.0, "64 % of held-out training-corpus clips lie nearer to the training data.")
    return Prediction(model, emotions, raw / raw.sum(), near if familiarity else None)


def _regions(count: int, axes: str) -> tuple[Region, ...]:
    bands = [(2000.0, 3400.0), (400.0, 1100.0), (150.0, 600.0)]
    places = (1.0, 0.45, 2.2, 1.75, 1.07, 0.6, 2.3)
    shares = 0.34 * 0.6 ** np.arange(count)
    return tuple(
        Region(
            rank=i + 1,
            start_s=places[i % len(places)],
            end_s=round(places[i % len(places)] + 0.22, 3),
            low_hz=bands[i % 3][0] if axes == "time_frequency" else None,
            high_hz=bands[i % 3][1] if axes == "time_frequency" else None,
            share=float(shares[i]),
        )
        for i in range(count)
    )


def _attribution(model: str, target: Target, axes: str, regions: tuple[Region, ...], duration_s: float) -> Attribution:
    rng = np.random.default_rng(1)
    common = {"model": model, "target": target, "axes": axes, "settings": {"internal_batch_size": 2, "seed": 0}}
    if axes == "features":
        names = tuple(f"F0semitoneFrom27.5Hz_sma3nz_functional_{i}" for i in range(88))
        return Attribution(
            method="linear_contribution",
            relevance=rng.standard_normal(88) * 0.9 ** np.arange(88),
            feature_names=names,
            baseline="mean of the training features",
            completeness_error=0.0,
            **common,
        )
    times = np.arange(0.02, duration_s - 0.01, 0.02)
    bands = 700 * (10 ** (np.linspace(30, 2840, 40) / 2595) - 1)
    if axes == "time":
        relevance = 0.05 * rng.standard_normal(len(times))
        for r in regions:
            relevance += r.share * np.exp(-(((times - (r.start_s + r.end_s) / 2) / 0.07) ** 2))
        return Attribution(method="occlusion", relevance=relevance, times_s=times, baseline="silence", **common)
    relevance = 0.03 * rng.standard_normal((len(bands), len(times)))
    for r in regions:
        middle, width = (r.low_hz + r.high_hz) / 2, (r.high_hz - r.low_hz) / 2
        across = np.exp(-(((bands - middle) / width) ** 2))
        relevance += r.share * np.outer(across, np.exp(-(((times - (r.start_s + r.end_s) / 2) / 0.07) ** 2)))
    return Attribution(
        method="integrated_gradients",
        relevance=relevance.astype(np.float32),
        times_s=times,
        bands_hz=bands,
        baseline="silence floor",
        completeness_error=0.031,
        steps=16,
        **common,
    )


def _tracks(samples: np.ndarray, f0: np.ndarray, speech: tuple[Segment, ...], duration_s: float) -> CueTracks:
    times = np.arange(0.005, duration_s, 0.01)
    index = (times * SAMPLE_RATE).astype(int)
    spoken = np.array([any(s.start_s <= t < s.end_s for s in speech) for t in times], dtype=bool)
    voiced = spoken & np.array([any(s.start_s + 0.05 <= t < s.end_s - 0.05 for s in speech) for t in times], dtype=bool)
    rng = np.random.default_rng(2)
    wobble = 1 + 0.02 * rng.standard_normal((8, len(times)))
    energy = np.convolve(samples.astype(float) ** 2, np.ones(400) / 400, mode="same")[index]
    tracks = {
        "f0_hz": f0[index],
        "intensity_db": 10 * np.log10(energy + 1e-12) + 94,
        "hnr_db": 18 * wobble[0],
        "alpha_ratio_db": -12 * wobble[1],
    }
    for k, (centre, width) in enumerate(FORMANTS, start=1):
        tracks[f"f{k}_hz"] = centre * wobble[1 + k]
        tracks[f"f{k}_bandwidth_hz"] = width * wobble[4 + k]
    masked = {n: (t if n == "intensity_db" else np.where(voiced, t, np.nan)) for n, t in tracks.items()}
    pulses = np.concatenate([np.arange(s.start_s + 0.05, s.end_s - 0.05, 1 / 190) for s in speech] or [np.zeros(0)])
    return CueTracks(
        times_s=times,
        tracks=masked,
        voiced=voiced,
        speech=spoken,
        pulses_s=pulses,
        settings=CueSettings("female", 120.0, 350.0, 5500.0, 0.35),
        sex_guess="female",
    )


_CUES = (
    ("f0_mean", "st", 14.2, "voiced frames"),
    ("f0_variability", "st", 2.31, "voiced frames"),
    ("f0_slope", "st/s", 5.7, "voiced frames"),
    ("intensity_mean", "dB", 66.4, "frames"),
    ("hf_energy", "dB", -12.3, "voiced frames"),
    ("jitter", "%", 1.27, "periods"),
    ("shimmer", "dB", 0.62, "periods"),
    ("hnr", "dB", 17.9, "voiced frames"),
    ("cpps", "dB", 11.4, "voiced frames"),
    ("f1_mean", "Hz", 651.0, "voiced frames"),
    ("f1_bandwidth", "Hz", 91.0, "voiced frames"),
    ("f2_mean", "Hz", 1449.0, "voiced frames"),
    ("f3_mean", "Hz", 2604.0, "voiced frames"),
    ("speech_rate", "nuclei/s", 4.4, "syllable nuclei"),
)


def _summary(regions: tuple[Region, ...], outside) -> CueSummary:
    values, contrasts = [], []
    for place, scope in enumerate(("clip", *(["all regions"] if regions else []), *(str(r.rank) for r in regions))):
        for k, (cue, unit, value, counted) in enumerate(_CUES):
            too_few = scope != "clip" and cue in {"jitter", "shimmer", "speech_rate"}
            values.append(
                CueValue(
                    cue=cue,
                    scope=scope,
                    value=None if too_few else value * (1 + 0.07 * place),
                    unit=unit,
                    count=4 if too_few else 182 // (place * 8 or 1),
                    counted=counted,
                    note=outside("too few periods (4 of at least 10)") if too_few else "",
                    reliability="F0 above 250 Hz: F1 is drawn to the nearest harmonic" if cue == "f1_mean" else "",
                )
            )
            if scope == "clip" or cue == "speech_rate":
                continue
            spread = cue == "f0_variability"
            contrasts.append(
                Contrast(cue, scope, None, None, None, unit, None, None, None, None, None, 4, "too few periods")
                if too_few
                else Contrast(
                    cue=cue,
                    scope=scope,
                    inside=value * (1 + 0.07 * place),
                    outside=value,
                    difference=value * 0.07 * place,
                    unit=unit,
                    effect=None if spread else 0.62 - 0.08 * k,
                    chance_low=None if spread else -0.41,
                    chance_high=None if spread else 0.38,
                    p=0.004 * (k + 1),
                    p_corrected=min(1.0, 0.048 * (k + 1)),
                    count=22,
                )
            )
    return CueSummary(regions, tuple(values), tuple(contrasts))


def _agreements(emotions: tuple[str, ...], outside) -> tuple[Agreement, ...]:
    reference = outside("neutral speech, CREMA-D, female, 43 speakers, 523 clips")
    source = outside("Juslin&Laukka2003 T7/T11; Scherer2003 T2")
    rows = (
        ("f0_mean", 14.2, "st", 91.0, "high", "high", "agrees", ""),
        ("f0_variability", 2.31, "st", 55.0, "usual", "high", "disagrees", ""),
        (
            "hf_energy",
            -12.3,
            "dB",
            83.0,
            "high",
            "contested",
            "contested",
            "J&L T11: little; T7: high; Scherer2003: up",
        ),
        ("hnr", 17.9, "dB", 40.0, "usual", None, "no expectation", ""),
        ("jitter", None, "%", None, None, "high", "not measurable", ""),
        ("f0_contour", 5.7, "st/s", 70.0, "rising", "rising", "agrees", ""),
    )
    note = outside("too few periods (4 of at least 10)")
    return tuple(
        Agreement(
            emotion,
            cue,
            scope,
            value,
            unit,
            percentile,
            observed,
            expected,
            status,
            source,
            conflict,
            reference,
            note if value is None else "",
        )
        for emotion in emotions[:2]
        for scope in ("salient regions", "clip")
        for cue, value, unit, percentile, observed, expected, status, conflict in rows
    )


def _card(name: str, emotions: tuple[str, ...], outside) -> Card:
    return Card(
        name=name,
        title=outside("Example network on log-mel"),
        system="log-mel CNN",
        summary=outside("A small convolutional network, made up for tests."),
        emotions=emotions,
        encoder="none",
        corpora=(outside("CREMA-D (intended emotion, 91 actors)"),),
        licences=("ODbL 1.0",),
        split="actor-disjoint, 60 actors training, 15 validation, 16 test",
        figures=(
            Figure("UAR", 0.642, 0.611, 0.673, 0.167, 0.167, "16 unseen actors", "python -m ser_core evaluate example"),
            Figure(
                "accuracy", 0.645, 0.613, 0.675, 0.171, 0.167, "16 unseen actors", "python -m ser_core evaluate example"
            ),
        ),
        intended_use="Research on what a model listens to.",
        limits=(outside("Acted speech in English."), "Twelve fixed sentences."),
        size_mb=1.4,
    )
