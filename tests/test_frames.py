from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_core import frames
from ser_core.batches import computes_in_bfloat16
from ser_core.encoders import SpeechEncoder, frozen_encoder
from ser_core.frames import encoder_frames
from tests.test_encoders import kept

LENGTHS = (130, 61, 200, 130)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of its own, in which the converted weights are those of the usual one."""
    encoder = frozen_encoder("whisper-tiny.en")
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path))
    yield tmp_path / "frames" / f"{encoder.key}{'' if computes_in_bfloat16() else '-single'}"


@pytest.fixture
def clips() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(0, 0.3, (80, length)).astype(np.float16) for length in LENGTHS]


def alone(encoder: SpeechEncoder, clip: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return torch.stack(encoder(torch.from_numpy(clip.astype(np.float32))[None])[0], 2)[0].numpy()


def test_frames_are_those_of_the_encoder_in_the_order_of_the_clips(cache: Path, clips: list[np.ndarray]) -> None:
    encoder = frozen_encoder("whisper-tiny.en")
    for clip, stored in zip(clips, encoder_frames(clips, "whisper-tiny.en"), strict=True):
        expected = alone(encoder, clip)
        assert stored.shape == expected.shape and stored.dtype == np.float16
        assert isinstance(stored, np.memmap)
        likeness = np.corrcoef(stored.astype(np.float32).ravel(), expected.ravel())[0, 1]
        assert likeness > 0.999  # the encoder ran in bfloat16


def test_what_is_stored_is_not_encoded_again_and_a_stopped_run_goes_on(
    cache: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "SHARD_CLIPS", 2)
    encoded: list[int] = []
    inner = frames._encoded

    def counting(inputs: list[np.ndarray], encoder: str) -> list[np.ndarray]:
        if len(encoded) == 2 and not restarted:
            raise KeyboardInterrupt
        encoded.extend(array.shape[-1] for array in inputs)
        return inner(inputs, encoder)

    restarted = False
    monkeypatch.setattr(frames, "_encoded", counting)
    with pytest.raises(KeyboardInterrupt):
        encoder_frames(clips, "whisper-tiny.en")
    restarted = True
    first = encoder_frames(clips, "whisper-tiny.en")
    assert encoded == list(LENGTHS)
    again = encoder_frames(clips[::-1], "whisper-tiny.en")
    assert encoded == list(LENGTHS)
    for one, other in zip(first, again[::-1], strict=True):
        assert np.array_equal(one, other)


def test_a_half_written_shard_is_not_read(cache: Path, clips: list[np.ndarray]) -> None:
    whole = encoder_frames(clips[:1], "whisper-tiny.en")[0].copy()
    (index,) = cache.glob("*.csv")
    index.unlink()  # the process ended between the frames and their index
    index.with_suffix(".npy").write_bytes(b"half")
    assert np.array_equal(encoder_frames(clips[:1], "whisper-tiny.en")[0], whole)


def test_the_same_clip_twice_is_encoded_once(cache: Path, clips: list[np.ndarray]) -> None:
    one, other = encoder_frames([clips[1], clips[1]], "whisper-tiny.en")
    assert np.array_equal(one, other)
    (index,) = cache.glob("*.csv")
    assert len(index.read_text().splitlines()) == 1


def test_an_encoder_with_other_weights_has_another_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_encoders: Callable[[], None]
) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SERSCOPE_WEIGHTS", str(tmp_path))
    clip = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float16)
    network = kept("hubert", tmp_path)
    before = encoder_frames([clip], "hubert")[0].copy()
    with torch.no_grad():
        network.feature_projection.projection.weight.mul_(-1)
    network.save_pretrained(tmp_path / "hubert")
    forget_encoders()
    after = encoder_frames([clip], "hubert")[0]
    assert before.shape == after.shape == (50, 4, 32)
    assert not np.allclose(before, after, atol=1e-2)


def test_states_of_another_precision_are_not_taken_for_ours(
    cache: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_frames(clips, "whisper-tiny.en")
    monkeypatch.setattr(frames, "computes_in_bfloat16", lambda device: not computes_in_bfloat16(device))
    again = encoder_frames(clips, "whisper-tiny.en")
    assert not any(str(clip.filename).startswith(f"{cache}/") for clip in again)
