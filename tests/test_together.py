"""A fine-tuned encoder on disk, and several models asked together."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from explain.attribution import Target, attribute
from ser_core.audio import read
from ser_core.batches import over_equal
from ser_core.bundled import PLANS
from ser_core.cards import write_card
from ser_core.crossvalidation import model_of_fold
from ser_core.errors import ModelError
from ser_core.models import Card
from ser_core.registry import load_model, model_folders
from ser_core.settings import ASSETS
from ser_core.systems import whisper_pooling, whisper_together
from ser_core.systems.whisper_pooling import WhisperPooling
from ser_core.systems.whisper_together import Together
from ser_core.training import Recipe
from tests.planted import card

LABELS = ("anger", "joy", "sadness")
SAMPLE = sorted((ASSETS / "samples").glob("*.flac"))[0]


def network(seed: int) -> WhisperPooling:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = WhisperPooling("whisper-tiny.en", len(LABELS), dropout=0.0)
        for name, value in made.named_parameters():
            if value.requires_grad and value.ndim > 1 and "classifier" not in name:
                value.data += 0.02 * value.detach().std() * torch.randn_like(value)
        made.classifier.weight.data *= 20
    return made.eval()


def described(name: str, emotions: tuple[str, ...], **fields: str) -> Card:
    return dataclasses.replace(card(name, emotions), **fields)


def log_mel(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 80, frames, generator=torch.Generator().manual_seed(seed)) - 0.3


def test_the_stored_change_of_a_fine_tuned_encoder_gives_its_answers(tmp_path: Path) -> None:
    tuned = network(0)
    whisper_pooling.save(tuned, 2.0, tmp_path)
    made = whisper_pooling.load(tmp_path, described("tuned", LABELS, encoder="whisper-tiny.en")).network.eval()
    for seed in range(3):
        wanted, given = (softmax(n(log_mel(150, seed))[0].detach().numpy() / t) for n, t in ((tuned, 2.0), (made, 1.0)))
        assert given == pytest.approx(wanted, abs=2e-3)
    whole = sum(value.numel() for value in tuned.state_dict().values())
    assert (tmp_path / "weights.safetensors").stat().st_size < 1.1 * whole  # about a byte a weight


def test_an_unchanged_encoder_is_stored_as_published(tmp_path: Path) -> None:
    plain = WhisperPooling("whisper-tiny.en", 2)
    whisper_pooling.save(plain, 1.0, tmp_path)
    made = whisper_pooling.load(tmp_path, described("plain", LABELS[:2], encoder="whisper-tiny.en")).network
    matrix = "encoder.encoder.layers.1.fc1.weight"
    assert torch.equal(made.state_dict()[matrix], plain.state_dict()[matrix])


def test_together_is_the_mean_of_log_probabilities() -> None:
    members = [network(seed) for seed in (1, 2)]
    both = Together(members, ("a", "b"), temperature=1.7).eval()
    clip = log_mel(90)
    with torch.inference_mode():
        said = [log_softmax(member(clip)[0].numpy()) for member in members]
        given = both(clip)[0].numpy()
    assert not np.allclose(said[0], said[1], atol=0.05)
    assert softmax(given) == pytest.approx(softmax((said[0] + said[1]) / 2 / 1.7), abs=1e-5)


def test_clips_of_one_length_at_once_give_what_each_gives_alone() -> None:
    member = network(3)
    clips = [log_mel(frames, seed)[0].numpy() for seed, frames in enumerate((60, 90, 60, 60, 120, 90))]
    given = over_equal(member, clips, batch=2)
    alone = np.concatenate([over_equal(member, [clip]) for clip in clips])
    assert given == pytest.approx(alone, abs=0.05)  # both in bfloat16
    assert np.ptp(alone, axis=0).min() > 0.2


@pytest.fixture()
def together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Card]:
    """A model of one member, made as a run makes it from the member's finished fold."""
    name = "whisper-tiny-attentive"
    monkeypatch.setattr(whisper_together, "MEMBERS", (name,))
    fold = tmp_path / "runs" / name / "fold-0"
    shutil.copytree(model_folders()[name], fold)
    (fold / "predictions.parquet").touch()
    own = tmp_path / "runs" / "pair" / "fold-0"
    own.mkdir(parents=True)
    made = whisper_together.fit([], np.zeros((0, 6)), Recipe(), "whisper-base", own, lambda network, epoch: {})
    folder = tmp_path / "models" / "pair"
    folder.mkdir(parents=True)
    whisper_together.save(made, 1.5, folder)
    made_card = described("pair", PLANS[name].labels, system="whisper_together")
    write_card(folder, made_card)
    return folder, made_card


def test_what_is_put_together_loads_answers_and_is_explained(together: tuple[Path, Card]) -> None:
    folder, _ = together
    recording = read(SAMPLE)
    alone, pair = load_model("whisper-tiny-attentive"), load_model(folder)
    wanted = np.log(alone.predict(recording).probabilities) / 1.5
    assert pair.predict(recording).probabilities == pytest.approx(softmax(wanted), abs=1e-4)
    found = attribute(pair, recording, Target(alone.predict(recording).top), "input_x_gradient")
    assert found.relevance.shape[0] == 80
    assert np.abs(found.relevance).max() > 0


def test_other_weights_of_a_member_are_refused(together: tuple[Path, Card], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made_card = together
    monkeypatch.setattr(whisper_together, "checksum", lambda path: "another")
    with pytest.raises(ModelError, match="measured with other weights"):
        whisper_together.load(folder, made_card)


def test_a_member_whose_fold_was_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no finished fold-3.*python -m ser_core train whisper-tiny-tuned"):
        model_of_fold(PLANS["whisper-tiny-tuned"], tmp_path / "fold-3")
