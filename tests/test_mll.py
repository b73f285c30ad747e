"""MLL: attention over frames, losses on one scale, the pool of mixes, and a run that is stopped and goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor

import ser_core.encoders
import ser_core.frames
from ser_core import training
from ser_core.batches import collate_frames
from ser_core.encoders import SpeechEncoder, coarse
from ser_core.errors import ModelError
from ser_core.models import Card, InputAxes
from ser_core.systems import mll
from ser_core.training import Recipe

RECIPE = Recipe(epochs=6, batch=16, rate=3e-3, weight_decay=0.01, average=0.9)


class Bands(SpeechEncoder):
    """Level in eight bands every 20 ms, and the same once more with another sign."""

    hidden_size, states, step_s = 8, 2, 0.02
    axes = InputAxes("waveform", step_s=1 / 16_000)
    baseline_name = "digital silence"

    def inputs(self, samples: Tensor) -> Tensor:
        return samples

    def baseline(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        spectrum = torch.stft(inputs, 512, 320, window=torch.hann_window(512), return_complex=True).abs()
        level = (spectrum[:, 1:].unflatten(1, (8, -1)).mean(2) + 1e-3).log().transpose(1, 2)
        return [level, -level], None


@pytest.fixture
def bands(monkeypatch, tmp_path):
    encoder = Bands().eval()
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    for room in (mll, ser_core.frames, ser_core.encoders):
        monkeypatch.setattr(room, "frozen_encoder", lambda name: encoder)
    for cache in (mll._COARSE, mll._REDUCED, mll._WEIGHTS):
        cache.clear()
    return encoder


def tones(clips: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Two classes, low and high tones in noise, with silence around."""
    generator = np.random.default_rng(seed)
    values, classes = [], np.arange(clips) % 2
    for kind in classes:
        length = int(generator.integers(8000, 12_000))
        tone = np.sin(2 * np.pi * (400 if kind == 0 else 3000) * np.arange(length) / 16_000)
        speech = 0.2 * tone + 0.05 * generator.normal(size=length)
        whole = np.concatenate([np.zeros(2000), speech, np.zeros(1000)]) + 1e-5 * generator.normal(size=length + 3000)
        values.append((32768 * whole).astype(np.int16)[None])
    return values, np.eye(2)[classes]


def known_flam() -> mll.FrameAttention:
    flam = mll.FrameAttention(16)
    torch.nn.init.zeros_(flam.told.weight)  # attention adds nothing: what is left can be told by hand
    torch.nn.init.zeros_(flam.told.bias)
    return flam.eval()


def test_context_is_half_the_frame_and_half_the_mean_and_pooling_a_weighted_sum():
    flam, frames = known_flam(), torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(0))
    x = frames[0].numpy().astype(np.float64)
    context = (x + x.mean(0)) / 2
    weights = softmax(context @ flam.projection.weight.detach().numpy()[0].astype(np.float64))
    with torch.no_grad():
        np.testing.assert_allclose(flam.context(frames, None)[0].numpy(), context, atol=1e-6)
        np.testing.assert_allclose(flam.weights(flam.context(frames, None), None)[0].numpy(), weights, atol=1e-6)
        np.testing.assert_allclose(flam(frames, None)[0].numpy(), weights @ context, atol=1e-6)


def test_attention_equals_that_of_torch_with_sixteen_heads():
    flam = mll.FrameAttention(32).eval()
    torchs = torch.nn.MultiheadAttention(32, 16, batch_first=True).eval()
    with torch.no_grad():
        torchs.in_proj_weight.copy_(flam.asked.weight)
        torchs.in_proj_bias.copy_(flam.asked.bias)
        torchs.out_proj.load_state_dict(flam.told.state_dict())
        frames = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
        real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        expected = torchs(frames, frames, frames, key_padding_mask=~real)[0]
        torch.testing.assert_close(flam.attended(frames, real), expected)
        aware = frames + torchs(frames, frames, frames)[0]
        torch.testing.assert_close(flam.context(frames, None), (aware + aware.mean(1, keepdim=True)) / 2)


@pytest.mark.parametrize("flam", [True, False])
def test_padding_changes_nothing(flam):
    torch.manual_seed(0)
    head = mll.MultiLossHead("", 20, 4, flam=flam).eval()
    short, long = torch.randn(9, 20), torch.randn(13, 20)
    padded, real = collate_frames([short.half().numpy(), long.half().numpy()])
    assert padded.shape == (2, 16, 20) and real.sum(1).tolist() == [9, 13]
    with torch.no_grad():
        together = head(padded, real)
        for row, clip in enumerate((short, long)):
            torch.testing.assert_close(together[row], head(clip.half().float()[None])[0], atol=1e-5, rtol=1e-4)


def test_each_loss_is_one_where_nothing_is_known():
    head = mll.MultiLossHead("", 20, 8).eval()
    for layer in (head.classifier, head.contrast_view):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.ones_(head.contrast_view.bias)  # every clip looks the same
    embedding = torch.randn(16, mll.WIDTH, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(8).repeat(2, 1)
    for parts in (("kl",), ("focal",), ("center",), ("contrast",), mll.LOSSES):
        with torch.no_grad():
            value = float(mll.multi_loss(head, embedding, targets, parts))
        assert value == pytest.approx(len(parts), rel=1e-4)


def test_every_loss_reaches_the_frames():
    torch.manual_seed(0)
    head = mll.MultiLossHead("", 20, 4).eval()
    for part in mll.LOSSES:
        frames = torch.randn(6, 9, 20, requires_grad=True)
        targets = torch.eye(4)[torch.tensor([0, 0, 1, 1, 2, 3])]
        mll.multi_loss(head, head.embed(frames), targets, (part,)).backward()
        assert frames.grad is not None and float(frames.grad.abs().sum()) > 0


def test_coarse_frames_are_means_of_scaled_states():
    states = [torch.randn(1, 10, 6, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    found = coarse(states, 4)[0].numpy()  # four steps of 40 ms, the last frame of two
    scaled = [(s - s.mean(-1, keepdim=True)) / s.var(-1, unbiased=False, keepdim=True).sqrt() for s in states]
    side = torch.cat(scaled, -1)[0].numpy()
    expected = [side[0:4].mean(0), side[4:8].mean(0), side[8:10].mean(0)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_principal_components_have_unit_variance_and_no_correlation(bands):
    values, _ = tones(20)
    head = mll.MultiLossHead("bands", 16, 2)
    head.centre, head.axes = mll.principal_axes(values, "bands")
    frames = np.concatenate(mll.reduced_frames(head, values)).astype(np.float64)[:, :7]
    np.testing.assert_allclose(np.cov(frames.T), np.eye(7), atol=0.05)
    np.testing.assert_allclose(frames.mean(0), 0, atol=0.05)


def test_it_learns_from_clips_with_fewer_frames_than_axes(bands, tmp_path):
    values, targets = tones(2)
    short = [value[:, 3000:6000] for value in values]  # two frames each, of sixteen features
    network = mll.fit(short, targets, replace(RECIPE, epochs=1), "bands", tmp_path, None, eam=False)
    assert np.isfinite(mll.logits(network, short)).all()


def test_a_mix_leaves_the_silence_and_takes_its_share_of_the_label():
    values, _ = tones(2)
    clip, partner = values[0][0], values[1][0]
    mix, weight = mll.mixed(clip, partner, seed=1)
    added = mix - clip.astype(np.float32) / 32768
    covered = np.flatnonzero(np.abs(added) > 1e-7)
    place = mll.spoken(clip)
    assert place.start <= covered[0] and covered[-1] < place.stop
    assert abs(place.start - 2000) <= 400 and abs(place.stop - (len(clip) - 1000)) <= 400
    span = slice(covered[0], covered[-1] + 1)
    own, theirs = np.mean((clip[span] / 32768.0) ** 2), np.mean(added[span].astype(np.float64) ** 2)
    share = (span.stop - span.start) / (place.stop - place.start)
    assert weight == pytest.approx(share * theirs / (own + theirs), rel=0.02)
    np.testing.assert_array_equal(mll.mixed(clip, partner, seed=1)[0], mix)


def test_partners_are_drawn_by_content_so_training_sets_share_them():
    generator = np.random.default_rng(0)
    codes = [int(code) for code in generator.integers(0, 2**63, 900)]
    held_out = set(generator.choice(900, 100, replace=False).tolist())
    kept = [place for place in range(900) if place not in held_out]
    everywhere = [mll.partners(codes, clip) for clip in range(900)]
    fewer = [mll.partners([codes[i] for i in kept], place) for place in range(len(kept))]
    assert np.mean([len(found) for found in everywhere]) == pytest.approx(mll.MIXES, abs=0.2)
    assert all(clip not in found for clip, found in enumerate(everywhere))
    for place, clip in enumerate(kept):
        again = {kept[partner] for partner in fewer[place]}
        assert {partner for partner in everywhere[clip] if partner not in held_out} <= again
        assert not again & held_out


def test_the_pool_holds_only_training_clips_and_their_soft_labels(bands):
    values, _ = tones(30)
    head = mll.MultiLossHead("bands", 16, 2)
    head.centre, head.axes = mll.principal_axes(values, "bands")
    pool = mll.mixes(head, values)
    found = [mix for clip in pool for mix in clip]
    assert len(pool) == 30 and found
    own = mll.reduced_frames(head, values)
    for clip, drawn in enumerate(pool):
        for mix in drawn:
            assert mix.partner != clip and 0 <= mix.weight <= 0.5
            assert mix.frames.shape == own[clip].shape and not np.array_equal(mix.frames, own[clip])


@pytest.mark.parametrize("options", [{}, {"eam": False, "flam": False, "parts": ("kl",)}])
def test_it_learns_tones_of_clips_not_trained_on(bands, tmp_path, options):
    values, targets = tones(64)
    network = mll.fit(values[:48], targets[:48], RECIPE, "bands", tmp_path, None, **options)
    answers = mll.logits(network, values[48:]).argmax(1)
    assert (answers == targets[48:].argmax(1)).mean() >= 0.9
    assert mll.embeddings(network, values[48:]).shape == (16, mll.WIDTH)


def test_a_run_that_was_stopped_ends_as_the_one_that_was_not(bands, tmp_path, monkeypatch):
    values, targets = tones(32)
    whole = mll.fit(values, targets, RECIPE, "bands", tmp_path / "whole", None)
    save = training._checkpoint

    def killed(folder, recipe, model, averaged, optimiser, epoch):
        save(folder, recipe, model, averaged, optimiser, epoch)
        if epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        mll.fit(values, targets, RECIPE, "bands", tmp_path / "stopped", None)
    monkeypatch.setattr(training, "_checkpoint", save)
    resumed = mll.fit(values, targets, RECIPE, "bands", tmp_path / "stopped", None)
    np.testing.assert_array_equal(mll.logits(resumed, values), mll.logits(whole, values))
    other = mll.fit(values, targets, replace(RECIPE, seed=1), "bands", tmp_path / "other", None)
    assert not np.allclose(mll.logits(other, values), mll.logits(whole, values))


def test_the_saved_model_answers_alike_and_shows_its_frame_weights(bands, tmp_path):
    values, targets = tones(32)
    network = mll.fit(values, targets, RECIPE, "bands", tmp_path, None)
    mll.save(network, 2.0, tmp_path)
    card = Card("mll", "", "mll", "", ("low", "high"), "bands", ("tones",), (), "", (), "", (), 0.0)
    model = mll.load(tmp_path, card)
    for clip, expected in zip(values[:4], mll.logits(network, values[:4]) / 2.0, strict=True):
        samples = torch.from_numpy(clip[0].astype(np.float32) / 32768)[None]
        with torch.inference_mode():
            inputs = model.inputs(samples)
            found = model.network(inputs)[0].numpy()
        np.testing.assert_allclose(softmax(found), softmax(expected), atol=0.02)
        shown = model.pooling(inputs)
        assert shown is not None and shown.weights.sum() == pytest.approx(1.0)
        assert len(shown.times_s) == len(shown.weights)
        np.testing.assert_allclose(np.diff(shown.times_s), mll.FRAME_S)
        assert shown.times_s[0] == pytest.approx(0.07)  # the centre of steps at 0, 20, … 140 ms


def test_training_can_start_from_another_corpus(bands, tmp_path, monkeypatch):
    values, targets = tones(32)
    monkeypatch.setattr(mll, "ASSETS", tmp_path)
    first = tmp_path / "models" / "first"
    with pytest.raises(ModelError, match="train first first"):
        mll.fit(values, targets, RECIPE, "bands", tmp_path / "run", None, start="first")
    before = mll.fit(values, targets, RECIPE, "bands", first, None, eam=False)
    mll.save(before, 1.0, first)
    others, _ = tones(20, seed=5)
    kinds = np.eye(3)[np.arange(20) % 3]
    still = replace(RECIPE, epochs=0)
    after = mll.fit(others, kinds, still, "bands", tmp_path / "run", None, start="first")
    for name, value in after.state_dict().items():
        if name.startswith(("classifier", "centers")):
            assert value.shape[0] == 3
        else:
            torch.testing.assert_close(value, before.state_dict()[name].half().float())
    with pytest.raises(ModelError, match="cannot start from first"):
        mll.fit(others, kinds, still, "bands", tmp_path / "other", None, flam=False, start="first")
