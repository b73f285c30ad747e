import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ser_core import registry
from ser_core.errors import CorpusError, SettingError
from ser_core.multiblock_pls import fit_multiblock_pls
from ser_core.systems import edrl_mea
from ser_core.systems.edrl_mea import COMPONENTS, INTER, INTRA, STAGES, STRENGTH, disentangling, up_to
from ser_core.training import Recipe

FEATURES, CLASSES = 80, 3


def clips(seed: int, count: int = 240) -> tuple[list[np.ndarray], np.ndarray]:
    random = np.random.default_rng(seed)
    classes = np.arange(count) % CLASSES
    centres = np.random.default_rng(0).normal(size=(CLASSES, FEATURES))
    table = 2 + centres[classes] + 1.5 * random.normal(size=(count, FEATURES))
    return [row[:, None].astype(np.float32) for row in table], np.eye(CLASSES)[classes].astype(np.float32)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    values, targets = clips(1)
    recipe = Recipe(epochs=8, batch=32, rate=3e-3, mixup=0.2)
    return edrl_mea.fit(values, targets, recipe, "whisper-tiny.en", tmp_path_factory.mktemp("run"), None)


def test_every_stage_learns_and_the_full_one_classifies_the_aligned_embedding(fitted) -> None:
    values, targets = clips(1)
    unseen, truth = clips(2)
    widths = {"plain": FEATURES, "edrl": CLASSES * INTRA + INTER, "edrl-mea": COMPONENTS}
    for stage in STAGES:
        network = fitted if stage == "edrl-mea" else up_to(stage, fitted, values, targets)
        assert edrl_mea.embeddings(network, unseen).shape == (len(unseen), widths[stage])
        assert (edrl_mea.logits(network, unseen).argmax(1) == truth.argmax(1)).mean() > 0.85


def test_the_plain_stage_is_scikit_learns_regression_on_z_scores(fitted) -> None:
    values, targets = clips(1)
    table = np.concatenate(values, axis=1).T
    scores = np.clip((table - table.mean(0)) / (table.std(0, ddof=1) + 1e-4), -6, 6)
    theirs = LogisticRegression(C=STRENGTH / len(table), class_weight="balanced").fit(scores, targets.argmax(1))
    ours = edrl_mea.logits(up_to("plain", fitted, values, targets), values)
    assert ours == pytest.approx(theirs.decision_function(scores), abs=2e-3)


def test_the_aligned_embedding_is_the_super_scores_of_the_encoders_blocks_against_the_input(fitted) -> None:
    values, _ = clips(1)
    scores = fitted.standardise(torch.from_numpy(np.concatenate(values, axis=1).T))
    with torch.no_grad():
        blocks = [block.numpy() for block in fitted.encoders(scores)]
    assert [block.shape[1] for block in blocks] == [INTRA] * CLASSES + [INTER]
    expected = fit_multiblock_pls(blocks, scores.numpy(), COMPONENTS).scores(blocks)
    assert edrl_mea.embeddings(fitted, values)[:, :20] == pytest.approx((expected / expected.std(0))[:, :20], abs=1e-2)


def test_each_intra_encoder_knows_its_own_class_better_than_the_others(fitted) -> None:
    unseen, truth = clips(3)
    with torch.no_grad():
        blocks = fitted.encoders(fitted.standardise(torch.from_numpy(np.concatenate(unseen, axis=1).T)))
    for own, block in enumerate(blocks[:CLASSES]):
        yes = truth.argmax(1) == own
        classifier = LogisticRegression(max_iter=2000).fit(block.numpy()[::2], yes[::2])
        assert classifier.score(block.numpy()[1::2], yes[1::2]) > 0.85


def test_the_loss_is_the_sum_of_its_three_parts_by_hand() -> None:
    found = torch.tensor([[0.0, 0.0, 1.0, -1.0, 0.5]])  # two own logits, two logits of all classes, squared error
    binary = np.log(2)
    every = -np.log(np.exp(1) / (np.exp(1) + np.exp(-1)))
    expected = binary + every + edrl_mea.REBUILDING * 0.5
    assert disentangling(found, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(expected, abs=1e-6)


def test_what_is_saved_answers_alike_with_the_temperature_folded_in(fitted, tmp_path) -> None:
    unseen, _ = clips(4, count=30)
    edrl_mea.save(fitted, 2.0, tmp_path)
    again = edrl_mea.read_head(tmp_path, CLASSES)
    assert edrl_mea.logits(again, unseen) == pytest.approx(edrl_mea.logits(fitted, unseen) / 2, abs=2e-2)


def test_an_unknown_stage_is_named(fitted) -> None:
    with pytest.raises(SettingError, match="edrl-mea"):
        up_to("half", fitted, *clips(1, count=30))


def test_too_few_clips_are_told_before_the_training(tmp_path) -> None:
    with pytest.raises(CorpusError, match=r"more than 64 clips to learn from; here are 64\. Choose a larger corpus"):
        edrl_mea.fit(*clips(1, COMPONENTS), Recipe(), "whisper-tiny.en", tmp_path, None)


@pytest.mark.skipif("edrl-mea" not in registry.model_names(), reason="not trained yet")
def test_a_gradient_reaches_the_spectrogram_of_the_bundled_model() -> None:
    model = registry.load_model("edrl-mea")
    log_mel = model.inputs(0.1 * torch.randn(1, 16_000)).requires_grad_()
    model.network(log_mel)[0, 0].backward()
    assert log_mel.grad is not None and log_mel.grad.abs().sum() > 0
