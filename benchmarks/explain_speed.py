"""Time of an explanation against plain Captum, against the network's own passes, and of the panel and the PDF."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from explain.attribution import Target, attribute, default_target, methods_for
from ser_core.audio import SAMPLE_RATE, Recording, from_samples, read
from ser_core.models import SpeechModel
from ser_core.registry import load_model, model_names
from ser_core.settings import ASSETS
from tests.planted import untrained_whisper

CLIP = ASSETS / "samples" / "pitch_rise.flac"
PADDED_S = 30


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", help="names of models; all at hand")
    parser.add_argument("--methods", nargs="*", help="names of methods; all that are valid")
    parser.add_argument("--repeats", type=int, default=3, help="timings of which the median is printed")
    parser.add_argument("--plain-mb", type=float, default=50.0, help="largest network that plain Captum is run on")
    chosen = parser.parse_args(arguments)
    clip = three_seconds()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{clip.duration_s:.1f} s clip; {os.cpu_count()} cores, torch threads {torch.get_num_threads()}; load {load}\n"
    )
    print(f"{'model':32} {'method':22} {'attribution':>11} {'own passes':>11} {'ratio':>6} {'plain':>9} {'ratio':>7}")
    for model in models(chosen.models):
        for method in methods_for(model):
            if not chosen.methods or method.name in chosen.methods:
                print(row(model, clip, method.name, chosen.repeats, chosen.plain_mb), flush=True)
    print()
    panel(clip, chosen.repeats)
    report(clip, chosen.repeats)


def three_seconds() -> Recording:
    """Return 3 s of a bundled sample."""
    samples = np.array(read(CLIP).samples)
    return from_samples(np.resize(samples, 3 * SAMPLE_RATE), SAMPLE_RATE, CLIP.name)


def models(wanted: Sequence[str] | None) -> list[SpeechModel]:
    """Return the models at hand, and an untrained tiny.en where no trained one is."""
    found = [load_model(name) for name in wanted or model_names()]
    if not wanted and not any(model.card.encoder == "whisper-tiny.en" for model in found):
        found.append(untrained_whisper())
    return found


def row(model: SpeechModel, clip: Recording, method: str, repeats: int, plain_mb: float) -> str:
    """Return one line of the table."""
    target = default_target(model.predict(clip))
    passes = passes_of(model, clip, target, method)
    replayed = model.axes.kind != "functionals"
    ours, own = interleaved(
        lambda: attribute(model, clip, target, method),
        (lambda: replay(model, clip, passes)) if replayed else (lambda: None),
        repeats,
    )
    line = f"{model.name:32} {method:22} {sum(rows for rows, _ in passes):6d} {ours:9.3f} s"
    line += f" {own:9.3f} s {ours / own:6.2f}" if replayed else f" {'–':>11} {'–':>6}"
    plain = plain_captum(model, clip, target, method, plain_mb)
    return line if plain is None else f"{line} {plain:7.2f} s {plain / ours:6.1f}×"


def interleaved(one: Callable[[], object], other: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the median seconds of two calls, taken in turns so that a busy machine slows both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, seconds in zip((one, other), times, strict=True):
            seconds.append(timed(call))
    return statistics.median(times[0]), statistics.median(times[1])


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def passes_of(model: SpeechModel, clip: Recording, target: Target, method: str) -> list[tuple[int, bool]]:
    """Return (rows, whether a gradient was wanted) of every forward pass that a method asks of the network."""
    seen: list[tuple[int, bool]] = []

    def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append((len(inputs[0]), inputs[0].requires_grad))

    handle = model.network.register_forward_pre_hook(note)
    attribute(model, clip, target, method)
    handle.remove()
    return seen


def replay(model: SpeechModel, clip: Recording, passes: Sequence[tuple[int, bool]]) -> None:
    """Run the bare network forward, and backward to its input where a gradient was wanted."""
    with torch.no_grad():
        inputs = model.inputs(torch.from_numpy(np.array(clip.samples))[None])
    for rows, backward in passes:
        batch = inputs.expand(rows, *inputs.shape[1:]).clone().requires_grad_(backward)
        with torch.set_grad_enabled(backward):
            logit = model.network(batch)[:, 0].sum()
        if backward:
            torch.autograd.grad(logit, batch)


def plain_captum(model: SpeechModel, clip: Recording, target: Target, method: str, plain_mb: float) -> float | None:
    """Return the seconds of Captum's defaults, on 30 s of input for a Whisper model; None where it has none."""
    from captum.attr import DeepLift, GradientShap, InputXGradient, IntegratedGradients, LayerGradCam, Saliency

    size_mb = sum(4 * parameter.numel() for parameter in model.network.parameters()) / 1e6
    if model.axes.kind != "log_mel" or size_mb > plain_mb:
        return None
    samples = torch.from_numpy(np.array(clip.samples))[None]
    if model.card.encoder.startswith("whisper") or "whisper" in model.name:
        samples = nn.functional.pad(samples, (0, PADDED_S * SAMPLE_RATE - samples.shape[1]))
    index = model.emotions.index(target.emotion)
    with torch.no_grad():
        inputs = model.inputs(samples)
    zeros = torch.zeros_like(inputs)
    inputs.requires_grad_()
    network = model.network
    calls: dict[str, Callable[[], object]] = {
        "saliency": lambda: Saliency(network).attribute(inputs, target=index),
        "input_x_gradient": lambda: InputXGradient(network).attribute(inputs, target=index),
        "integrated_gradients": lambda: IntegratedGradients(network).attribute(inputs, target=index),
        "gradient_shap": lambda: GradientShap(network).attribute(inputs, zeros, target=index),
    }
    if model.relevance_rules:
        calls["deeplift"] = lambda: DeepLift(network).attribute(inputs, target=index)
    if model.gradcam_layers:
        layer = network.get_submodule(model.gradcam_layers[-1])
        calls["grad_cam"] = lambda: LayerGradCam(network, layer).attribute(inputs, target=index)
    return timed(calls[method]) if method in calls else None


def panel(clip: Recording, repeats: int) -> None:
    """Print the time of the acoustic panel, of all cue tracks and of the raw Parselmouth calls."""
    from explain.cues import CueSettings, measure
    from explain.praat import praat_panel
    from ser_core.speech import speech_segments

    speech = speech_segments(clip)
    measure(clip, CueSettings(), speech)
    ours, raw = interleaved(lambda: praat_panel(clip.samples, clip.sample_rate), lambda: raw_parselmouth(clip), repeats)
    tracks = statistics.median(timed(lambda: measure(clip, CueSettings(), speech)) for _ in range(repeats))
    print(f"Praat panel {ours:.3f} s; its raw Parselmouth calls {raw:.3f} s; ratio {ours / raw:.2f}")
    print(f"all cue tracks (Praat in a worker, openSMILE here) {tracks:.3f} s")


def raw_parselmouth(clip: Recording) -> None:
    """Pitch (two passes), periods, HNR, formants, intensity and the power cepstrogram at the panel's settings."""
    import parselmouth
    from parselmouth.praat import call

    sound = parselmouth.Sound(np.asarray(clip.samples, dtype=np.float64), sampling_frequency=clip.sample_rate)
    sound.to_pitch_ac(0.01, 60.0, pitch_ceiling=700.0)
    pitch = sound.to_pitch_ac(0.01, 75.0, pitch_ceiling=500.0)
    call([sound, pitch], "To PointProcess (cc)")
    sound.to_harmonicity_cc(0.01)
    sound.to_formant_burg(0.01, 5.0, 5500.0)
    sound.to_intensity(75.0, 0.01)
    call(sound, "To PowerCepstrogram", 60.0, 0.002, 5000.0, 50.0)


def report(clip: Recording, repeats: int) -> None:
    """Print the time of one PDF."""
    from explain.report import pdf
    from tests.explanations import example_explanation

    explanation = example_explanation()
    pdf(explanation)
    print(f"PDF report {statistics.median(timed(lambda: pdf(explanation)) for _ in range(repeats)):.3f} s")


if __name__ == "__main__":
    main()
