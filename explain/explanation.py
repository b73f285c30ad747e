"""One explanation of one clip: every room asked once, in order, on one timeline."""

import dataclasses
import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from explain.attribution import Attribution, Target, attribute, default_target
from explain.baseline import OwnBaseline, own_answer, own_baseline
from explain.contrasts import summarise
from explain.cues import CueSettings, CueSummary, CueTracks, measure, measured_by_praat, tracks_from_panel
from explain.expert import Agreement, agreements
from explain.paragraph import paragraph
from explain.regions import Region, salient_regions, windowed_regions
from explain.rivals import Rivalry, rivalry
from ser_core import domain
from ser_core.audio import SAMPLE_RATE, Recording
from ser_core.domain import Outside
from ser_core.errors import ExplanationError
from ser_core.models import Card, PoolingWeights, Prediction, SpeechModel
from ser_core.quality import Quality, quality
from ser_core.speech import Segment, speech_segments

PACKAGES = ("torch", "captum", "praat-parselmouth", "opensmile", "transformers", "numpy", "scipy")
REGION_RULES = ("connected", "windows")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Everything the page shows and the exports hold; ``seconds`` is how long each step took.

    Praat measures beside the model: of its time, the step "cues" has only what was waited for.

    ``spectrogram_db`` has the shape (bins, columns), in dB below the clip's maximum, at ``spectrogram_hz`` and
    ``spectrogram_times_s``. ``region_rule`` is "connected", "windows" (the published way) or "yours". ``rivalry`` is
    there where the target is one emotion rather than another; ``own_baseline`` where clips of the same person were
    given. ``outside`` says in what the clip lies outside what the model was trained on.
    """

    recording: Recording
    quality: Quality
    speech: tuple[Segment, ...]
    card: Card
    prediction: Prediction
    target: Target
    attribution: Attribution
    pooling: PoolingWeights | None
    regions: tuple[Region, ...]
    tracks: CueTracks
    cues: CueSummary
    agreements: tuple[Agreement, ...]
    paragraph: str
    spectrogram_db: np.ndarray
    spectrogram_times_s: np.ndarray
    spectrogram_hz: np.ndarray
    versions: dict[str, str]
    seconds: dict[str, float]
    region_rule: str = "connected"
    rivalry: Rivalry | None = None
    own_baseline: OwnBaseline | None = None
    outside: tuple[Outside, ...] = ()

    @property
    def compared_emotions(self) -> tuple[str, ...]:
        """The emotions that the cues were set against: the predicted one, the runner-up, then any other."""
        found = dict.fromkeys(row.emotion for row in self.agreements)
        first = [emotion for emotion in self.prediction.order[:2] if emotion in found]
        return tuple(dict.fromkeys([*first, *found]))


def explain(
    recording: Recording,
    model: SpeechModel,
    method: str,
    target: Target | None = None,
    settings: CueSettings | None = None,
    *,
    region_rule: str = "connected",
    progress: Callable[[float, str], None] | None = None,
    like: Explanation | None = None,
    answer: Prediction | None = None,
) -> Explanation:
    """Return the whole explanation of one clip.

    Args:
        recording: the clip.
        model: the model that answers.
        method: name of an attribution method that ``explain.attribution.methods_for(model)`` offers.
        target: the class, or the direction of a dimension, to explain; None for ``default_target``.
        settings: of the acoustic measurement.
        region_rule: "connected" regions, or the published "windows" of 150 ms.
        progress: told the share done (0 … 1) and what is being done.
        like: an explanation of the same clip whose speech and cue tracks are taken over, so that nothing is measured
            twice; ``settings`` must then be None.
        answer: what the model has answered to this very clip, where that is at hand.

    Raises:
        ExplanationError: the target or the rule is unknown, the method does not fit the model, or ``like`` is of
            another clip.
    """
    if like is not None and (settings is not None or like.recording.sha256 != recording.sha256):
        raise ExplanationError("Only an explanation of the same clip, measured alike, can be taken over; leave it out.")
    if region_rule not in REGION_RULES:
        raise ExplanationError(f"There is no region rule '{region_rule}'; choose one of {', '.join(REGION_RULES)}.")
    for emotion in (target.emotion, target.against) if target else ():
        if emotion is not None and emotion not in model.emotions:
            raise ExplanationError(f"{model.name} does not know '{emotion}'; it knows {', '.join(model.emotions)}.")
    tell = progress or (lambda share, words: None)
    seconds: dict[str, float] = {}
    cue_settings = settings or CueSettings()
    if like is None:
        panel = _beside(measured_by_praat, recording, cue_settings)
    tell(0.02, "Finding speech")
    with _timed(seconds, "speech"):
        speech = speech_segments(recording) if like is None else like.speech
    tell(0.08, f"Asking {model.card.title}")
    with _timed(seconds, "prediction"):
        prediction = answer or model.predict(recording)
        pooling = _pooling(model, recording)
    target = target or default_target(prediction)
    tell(0.15, f"Finding what speaks for {target.name}")
    with _timed(seconds, "attribution"):
        attribution = attribute(
            model, recording, target, method, progress=lambda share: tell(0.15 + 0.5 * share, "Attribution")
        )
        if region_rule == "connected":
            regions = salient_regions(attribution)
        else:
            regions = windowed_regions(attribution, speech=speech)
    tell(0.65, "Measuring the voice")
    with _timed(seconds, "cues"):
        tracks = like.tracks if like else tracks_from_panel(panel.result(), recording, cue_settings, speech)
        outside = domain.outside(model.card, domain.measured(recording, speech))
    levels, times, hz = (
        spectrogram(recording) if like is None else (like.spectrogram_db, like.spectrogram_times_s, like.spectrogram_hz)
    )
    blank = Explanation(
        recording=recording,
        quality=quality(recording, speech, _voiced_share(tracks)),
        speech=speech,
        card=model.card,
        prediction=prediction,
        target=target,
        attribution=attribution,
        pooling=pooling,
        regions=regions,
        tracks=tracks,
        cues=CueSummary((), (), ()),
        agreements=(),
        paragraph="",
        spectrogram_db=levels,
        spectrogram_times_s=times,
        spectrogram_hz=hz,
        versions=versions(),
        seconds=seconds,
        region_rule=region_rule,
        own_baseline=None if like is None else like.own_baseline,
        outside=outside,
    )
    tell(0.8, "Comparing cues")
    explained = _with_cues(blank)
    tell(1.0, "Done")
    return explained


def with_language(made: Explanation) -> Explanation:
    """Return the explanation with one more of ``outside`` where the clip is probably in a language that is new to it.

    Raises:
        WeightsError: Whisper base, which tells the language, is not at hand.
    """
    found = domain.language_warning(made.card, made.recording, made.speech)
    return dataclasses.replace(made, outside=(*made.outside, *found))


def remeasure(
    explanation: Explanation, settings: CueSettings | None = None, regions: tuple[Region, ...] | None = None
) -> Explanation:
    """Return the explanation with new measuring settings or regions; the model is not asked again."""
    regions = explanation.regions if regions is None else regions
    rule = explanation.region_rule if regions == explanation.regions else "yours"
    tracks, own, seconds = explanation.tracks, explanation.own_baseline, dict(explanation.seconds)
    recorded = explanation.quality
    if settings is not None:
        with _timed(seconds, "cues"):
            # The other clips of the person were measured with the settings before.
            tracks, own = measure(explanation.recording, settings, explanation.speech), None
            recorded = dataclasses.replace(recorded, voiced_share=_voiced_share(tracks))
    return _with_cues(
        dataclasses.replace(
            explanation,
            tracks=tracks,
            quality=recorded,
            regions=regions,
            seconds=seconds,
            region_rule=rule,
            own_baseline=own,
        )
    )


def with_baseline(
    explanation: Explanation,
    others: Sequence[Recording],
    progress: Callable[[float, str], None] | None = None,
    *,
    model: SpeechModel | None = None,
) -> Explanation:
    """Return the explanation with the cues of its clip set against up to 20 other clips of the same person.

    Args:
        explanation: of one clip.
        others: the person's other clips.
        progress: told the share done (0 … 1) and what is being done.
        model: that of the explanation, to be asked once more beside those clips; it is not if none is given.

    Raises:
        ExplanationError: there is no other clip, or there are too many.
    """
    tell = progress or (lambda share, words: None)
    own = own_baseline(
        explanation.cues,
        explanation.tracks,
        explanation.recording.sha256,
        others,
        lambda share, words: tell(0.7 * share, words),
    )
    if model is not None:
        answer = own_answer(model, explanation.recording, others, lambda share, words: tell(0.7 + 0.3 * share, words))
        own = dataclasses.replace(own, answer=answer)
    tell(1.0, "Done")
    return dataclasses.replace(explanation, own_baseline=own)


def spectrogram(recording: Recording) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return levels (bins, columns) in dB below the maximum (floor −80), times in s and frequencies in Hz.

    25 ms Hann windows every 10 ms, zero-padded to 512; column k is centred at k × 10 ms.
    """
    hop, window = SAMPLE_RATE // 100, SAMPLE_RATE // 40
    padded = np.pad(recording.samples, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), 512, axis=1)).T ** 2
    levels = 10 * np.log10(np.maximum(power, 1e-20))
    levels = np.maximum(levels - levels.max(), -80.0).astype(np.float32)
    return levels, np.arange(levels.shape[1]) * hop / SAMPLE_RATE, np.fft.rfftfreq(512, 1 / SAMPLE_RATE)


def versions() -> dict[str, str]:
    """Return the versions of the packages that figures depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _with_cues(explanation: Explanation) -> Explanation:
    seconds = dict(explanation.seconds)
    with _timed(seconds, "contrast and agreement"):
        cues = summarise(explanation.tracks, explanation.recording, explanation.regions, explanation.quality)
        # Experts speak of emotions; of dimensions nothing is expected.
        p = explanation.prediction
        emotions = () if p.values is not None else (p.top, p.runner_up, explanation.target.emotion)
        sex = explanation.tracks.settings.sex
        agreed = agreements(cues, list(dict.fromkeys(emotions)), sex)
        target = explanation.target
        rivals = rivalry(cues, target.emotion, target.against, sex) if target.against is not None else None
    done = dataclasses.replace(explanation, cues=cues, agreements=agreed, seconds=seconds, rivalry=rivals)
    return dataclasses.replace(done, paragraph=paragraph(done))


def _beside(work: Callable[..., Any], *given: Any) -> Future:
    """Start work on a thread of its own, which waits for another process, so that both cores have something to do."""
    with_one = ThreadPoolExecutor(1, thread_name_prefix="beside")
    started = with_one.submit(work, *given)
    with_one.shutdown(wait=False)
    return started


def _pooling(model: SpeechModel, recording: Recording) -> PoolingWeights | None:
    with torch.inference_mode():
        return model.pooling(model.inputs(torch.from_numpy(np.array(recording.samples))[None]))


def _voiced_share(tracks: CueTracks) -> float:
    return float(tracks.voiced[tracks.speech].mean()) if tracks.speech.any() else 0.0


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - started
