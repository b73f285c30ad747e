"""The speaker encoder behind the check of converted voices: its frames, its windows, and what it refuses."""

import importlib.util
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import torch

from ser_core.audio import SAMPLE_RATE
from ser_core.conversion import likeness
from ser_core.conversion.likeness import SpeakerEncoder, embedding
from ser_core.errors import WeightsError
from ser_core.speech import Segment


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> SpeakerEncoder:
    """An encoder of the published shape with weights dealt here; the whole clip counts as speech."""
    torch.manual_seed(0)
    made = SpeakerEncoder().eval().requires_grad_(False)
    monkeypatch.setattr(likeness, "_encoder", lambda: made)
    monkeypatch.setattr(likeness, "speech_segments", lambda clip: [Segment(0.0, clip.duration_s)])
    return made


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)


def test_frames_are_those_of_librosa_as_the_published_encoder_was_given_them() -> None:
    clip = noise(1.0)
    expected = librosa.feature.melspectrogram(y=clip, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=40).T
    found = likeness._mels(clip)
    assert found.shape == expected.shape == (101, 40)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_an_embedding_is_the_unit_mean_over_windows_of_1_6_s_every_0_77_s(encoder: SpeakerEncoder) -> None:
    clip = noise(3.2)
    mels = torch.from_numpy(likeness._mels(clip))
    windows = torch.stack([mels[start : start + 160] for start in (0, 77, 154)])
    mean = encoder(windows).mean(0)
    expected = (mean / mean.norm()).numpy()
    found = embedding(clip)
    assert np.allclose(found, expected, atol=1e-5) and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert (found >= 0).all()  # the last layer is rectified


def test_a_quiet_clip_is_raised_to_the_usual_level_and_a_loud_one_left(encoder: SpeakerEncoder) -> None:
    usual = 10 ** (likeness.LEVEL_DBFS / 20)
    quiet, same = embedding(noise(2.0, 0.1 * usual)), embedding(noise(2.0, 0.5 * usual))
    assert np.allclose(quiet, same, atol=1e-4)
    assert not np.allclose(embedding(noise(2.0, 8 * usual)), same, atol=1e-3)


def test_a_clip_shorter_than_a_window_is_filled_up(encoder: SpeakerEncoder) -> None:
    found = embedding(noise(0.4))
    assert np.isfinite(found).all() and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_missing_or_other_weights_are_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    likeness._encoder.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install --no-deps resemblyzer"):
        likeness._encoder()
    folder = tmp_path_factory.mktemp("package")
    (folder / "pretrained.pt").write_bytes(b"other")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(folder / "__init__.py")))
    with pytest.raises(WeightsError):
        likeness._encoder()
