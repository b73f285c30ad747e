import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from ser_core.features import LogMel, mel_centres_hz


@pytest.mark.parametrize("seconds", [0.31, 1.0, 2.567])
def test_log_mel_equals_the_published_extractor_on_real_frames(seconds: float) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    ours = LogMel()(torch.from_numpy(samples)[None])[0]
    theirs = WhisperFeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt").input_features[0]
    frames = len(samples) // 160
    assert ours.shape[1] == frames
    assert torch.allclose(ours, theirs[:, :frames], atol=1e-5)


def test_a_tone_lies_in_the_band_of_its_frequency() -> None:
    t = np.arange(16_000) / 16_000
    for hz in (300.0, 1000.0, 3000.0):
        mel = LogMel()(torch.from_numpy(np.sin(2 * np.pi * hz * t).astype(np.float32))[None])[0]
        loudest = mel_centres_hz()[int(mel.mean(1).argmax())]
        assert abs(loudest - hz) < 0.06 * hz + 20


def test_a_click_lies_in_the_column_of_its_time() -> None:
    samples = np.zeros(16_000, np.float32)
    samples[8_000] = 1.0
    mel = LogMel()(torch.from_numpy(samples)[None])[0]
    loud = np.flatnonzero(mel.max(0).values.numpy() > mel.min().item() + 0.1)
    assert abs(loud.mean() * LogMel.step_s - 0.5) <= 0.005


def test_the_gradient_reaches_the_waveform() -> None:
    samples = torch.randn(1, 8_000, requires_grad=True)
    LogMel()(samples).sum().backward()
    assert samples.grad is not None and samples.grad.abs().sum() > 0
