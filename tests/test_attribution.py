"""Attributions against answers that are known beforehand."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from explain.attribution import Target, attribute, method_label, methods_for, relevance_on_grid
from explain.methods import layer_places
from explain.views import Spectrum
from ser_core.errors import ExplanationError
from ser_core.registry import load_model
from tests.bad_inputs import voice
from tests.planted import FunctionalsModel, PlantedModel, WaveformModel, burst_model, clip, recording

EMOTIONS = ("a", "b", "c")


class LinearNet(nn.Module):
    """A convolution that copies its input, and a linear layer without bias."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        self.linear = nn.Linear(cells, len(EMOTIONS), bias=False)
        self.conv.weight.data.fill_(1.0)
        weights = np.random.default_rng(0).standard_normal(self.linear.weight.shape)
        self.linear.weight.data = torch.from_numpy(weights.astype(np.float32))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.linear(self.conv(log_mel[:, None]).flatten(1))


@pytest.fixture
def noise():
    return recording(0.1 * np.random.default_rng(5).standard_normal(3200))


@pytest.fixture
def linear_model():
    return PlantedModel(LinearNet(80 * 20), EMOTIONS, gradcam_layers=("conv",), relevance_rules=True)


def inputs_of(model, clip):
    inputs = model.inputs(torch.from_numpy(np.array(clip.samples))[None])
    return inputs[0].double().numpy(), model.baseline(inputs)[0].double().numpy()


def weights_of(model, emotion):
    return model.network.linear.weight[EMOTIONS.index(emotion)].double().numpy().reshape(80, 20)


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "gradient_shap", "input_x_gradient", "saliency", "deeplift", "lrp", "occlusion"]
)
def test_linear_model_gives_its_weights_times_its_input(linear_model, noise, method):
    point, baseline = inputs_of(linear_model, noise)
    weights = weights_of(linear_model, "b")
    known = {"saliency": np.abs(weights), "lrp": weights * point}.get(method, weights * (point - baseline))
    one_cell = {"window_s": 0.01, "window_bands": 1, "max_windows": 2000} if method == "occlusion" else {}
    quiet = {"noise": 0.0} if method == "gradient_shap" else {}
    found = attribute(linear_model, noise, Target("b"), method, **one_cell, **quiet)
    np.testing.assert_allclose(found.relevance, known, atol=2e-5)
    assert found.axes == "time_frequency"
    np.testing.assert_allclose(found.times_s, np.arange(20) * 0.01)


def test_grad_cam_of_a_linear_model_is_its_mean_weight_times_its_layer(linear_model, noise):
    point, _ = inputs_of(linear_model, noise)
    found = attribute(linear_model, noise, Target("b"), "grad_cam")
    np.testing.assert_allclose(found.relevance, weights_of(linear_model, "b").mean() * point, atol=1e-5)
    np.testing.assert_allclose(found.times_s, np.arange(20) * 0.01)
    np.testing.assert_allclose(found.bands_hz, linear_model.axes.bands_hz)


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "gradient_shap", "deeplift", "lrp", "shapley_boxes", "occlusion", "grad_cam"]
)
def test_contrastive_target_is_the_difference_of_two(linear_model, noise, method):
    # Which of GradientSHAP's noisy baselines a point sees depends on how far the path of a target is refined.
    quiet = {"noise": 0.0} if method == "gradient_shap" else {}
    both = attribute(linear_model, noise, Target("a", against="c"), method, **quiet).relevance
    one, other = (attribute(linear_model, noise, Target(name), method, **quiet).relevance for name in "ac")
    np.testing.assert_allclose(both, one - other, atol=2e-4)


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "input_x_gradient", "feature_ablation", "shapley_sampling", "deeplift"]
)
def test_linear_functionals_give_weight_times_distance_from_the_mean(noise, method):
    weights = torch.tensor([[0.2, -3.0], [0.1, 5.0]])
    model = FunctionalsModel(weights, torch.tensor([1.0, -1.0]))
    point, baseline = inputs_of(model, noise)
    found = attribute(model, noise, Target("b"), method)
    np.testing.assert_allclose(found.relevance, weights[1].double().numpy() * (point - baseline), rtol=1e-4)
    assert found.axes == "features"
    assert found.feature_names == ("level_db", "crossings")
    assert found.times_s is None and found.bands_hz is None


def test_occlusion_in_time_finds_the_loud_stretch_of_a_functionals_model():
    model = FunctionalsModel(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.zeros(2))
    samples = 1e-3 * np.random.default_rng(2).standard_normal(48_000)
    samples[16_000:24_000] *= 300
    found = attribute(model, recording(samples), Target("b"), "occlusion")
    assert found.axes == "time" and found.bands_hz is None
    assert 1.0 <= found.times_s[np.argmax(found.relevance)] <= 1.5
    quiet = (found.times_s < 0.8) | (found.times_s > 1.7)
    assert np.abs(found.relevance[quiet]).max() < 0.05 * found.relevance.max()
    assert found.settings["noise_dbfs"] == pytest.approx(-60, abs=3)
    assert found.settings["window_s"] == pytest.approx(0.3)


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap"])
def test_path_methods_refine_until_they_are_complete(method):
    rng = np.random.default_rng(11)
    for kind in ("low", "high", "absent"):
        samples, _ = clip(rng, kind)
        found = attribute(burst_model(), recording(samples), Target(kind), method)
        assert found.completeness_error <= 0.05
        assert found.steps >= 8
        assert found.relevance.sum() == pytest.approx(found.settings["difference"], rel=0.051, abs=0.0051)


class Curved(nn.Module):
    """The square of a sum: it is hidden from DeepLIFT, and few steps do not integrate it."""

    def forward(self, log_mel: Tensor) -> Tensor:
        rise = torch.tanh(4 * (log_mel.mean(dim=(1, 2)) + 0.5)) ** 3 + log_mel.mean(dim=(1, 2)) ** 5
        return torch.stack([rise, -rise, 0 * rise], dim=1)


class Steep(nn.Module):
    """A step two hundredths of the way from one mean to another: nearly all points of an even path miss it."""

    def __init__(self, start: float, end: float) -> None:
        super().__init__()
        self.start, self.way = start, end - start

    def forward(self, log_mel: Tensor) -> Tensor:
        step = torch.tanh(200 * ((log_mel.mean(dim=(1, 2)) - self.start) / self.way - 0.02))
        return torch.stack([step, -step, 0 * step], dim=1)


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap"])
def test_a_path_is_refined_where_it_is_steep_and_nowhere_else(linear_model, noise, method):
    point, baseline = inputs_of(linear_model, noise)
    model = PlantedModel(Steep(float(baseline.mean()), float(point.mean())), EMOTIONS)
    found = attribute(model, noise, Target("a"), method)
    assert found.completeness_error <= 0.05
    assert found.steps <= 64  # Gauss–Legendre over the whole path at once takes 128


def test_a_path_that_is_cut_short_says_how_incomplete_it_is(noise):
    found = attribute(PlantedModel(Curved(), EMOTIONS), noise, Target("a"), "integrated_gradients", max_steps=1)
    assert found.steps == 1
    known = abs(found.relevance.sum() - found.settings["difference"]) / abs(found.settings["difference"])
    assert found.completeness_error == pytest.approx(known, rel=1e-4)
    assert found.completeness_error > 0.05


def test_deeplift_is_refused_with_its_figure_where_it_does_not_add_up(noise):
    with pytest.raises(ExplanationError, match=r"completeness error is \d+ %, more than 5 %"):
        attribute(PlantedModel(Curved(), EMOTIONS, relevance_rules=True), noise, Target("a"), "deeplift")


def test_a_logit_that_never_changes_has_no_relevance_and_no_error(noise):
    found = attribute(PlantedModel(Curved(), EMOTIONS), noise, Target("c"), "integrated_gradients")
    assert found.settings["difference"] == 0
    assert found.completeness_error == 0
    assert not found.relevance.any()


def test_gradient_shap_agrees_with_captum(noise):
    from captum.attr import GradientShap

    model = burst_model()
    samples, _ = clip(np.random.default_rng(4), "high")
    ours = attribute(model, recording(samples), Target("high"), "gradient_shap", tolerance=0.0).relevance
    inputs = model.inputs(torch.from_numpy(samples.copy())[None])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = GradientShap(model.network).attribute(inputs, model.baseline(inputs), n_samples=256, target=1)
    assert np.corrcoef(ours.ravel(), theirs[0].numpy().ravel())[0, 1] > 0.99


def test_integrated_gradients_agree_with_captum_at_many_steps():
    from captum.attr import IntegratedGradients

    model = burst_model()
    samples, _ = clip(np.random.default_rng(4), "low")
    ours = attribute(model, recording(samples), Target("low"), "integrated_gradients", tolerance=0.0)
    inputs = model.inputs(torch.from_numpy(samples.copy())[None])
    theirs = IntegratedGradients(model.network).attribute(inputs, model.baseline(inputs), n_steps=300, target=0)
    assert ours.steps == 256
    assert np.abs(ours.relevance - theirs[0].numpy()).max() < 0.02 * np.abs(ours.relevance).max()


def test_six_threads_get_what_one_gets():
    model = burst_model()
    rng = np.random.default_rng(8)
    clips = [recording(clip(rng, kind)[0]) for kind in ("low", "high", "absent")]
    methods = ("deeplift", "lrp", "grad_cam", "gradient_shap", "integrated_gradients")
    jobs = [(sound, name, emotion) for sound in clips for name in methods for emotion in ("low", "high")]

    def work(job):
        sound, name, emotion = job
        return attribute(model, sound, Target(emotion), name).relevance, model.predict(sound).probabilities

    alone = [work(job) for job in jobs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(work, jobs * 3))
    for number, (relevance, probabilities) in enumerate(together):
        np.testing.assert_array_equal(relevance, alone[number % len(jobs)][0])
        np.testing.assert_array_equal(probabilities, alone[number % len(jobs)][1])


def test_no_method_leaves_a_hook_or_another_weight_behind(linear_model, noise):
    before = {name: value.clone() for name, value in linear_model.network.state_dict().items()}
    for method in methods_for(linear_model):
        attribute(linear_model, noise, Target("a"), method.name)
    for part in linear_model.network.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks and not part._backward_hooks
        assert not hasattr(part, "rule")
    for name, value in linear_model.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_same_seed_gives_the_same_map_and_another_seed_another():
    samples, _ = clip(np.random.default_rng(6), "low")
    sound = recording(samples)
    one, same, other = (
        attribute(burst_model(), sound, Target("low"), "gradient_shap", seed=seed).relevance for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_explanation_works_inside_inference_mode(linear_model, noise):
    with torch.inference_mode():
        inside = attribute(linear_model, noise, Target("a"), "integrated_gradients").relevance
    np.testing.assert_array_equal(inside, attribute(linear_model, noise, Target("a"), "integrated_gradients").relevance)


# Which methods are offered


def names(model):
    return {method.name for method in methods_for(model)}


def test_rules_and_layers_decide_what_is_offered(linear_model):
    plain = PlantedModel(LinearNet(1600), EMOTIONS)
    assert names(linear_model) - names(plain) == {"deeplift", "lrp", "grad_cam"}
    assert names(FunctionalsModel(torch.zeros(2, 2), torch.zeros(2))) == {
        "integrated_gradients",
        "input_x_gradient",
        "feature_ablation",
        "shapley_sampling",
        "deeplift",
        "occlusion",
    }


def test_a_method_has_one_name_for_readers_everywhere(linear_model):
    assert method_label("input_x_gradient") == "Input × Gradient"
    assert {method_label(m.name) == m.label for m in methods_for(linear_model)} == {True}
    assert method_label("somebody_elses") == "somebody elses"


def test_every_offered_method_keeps_its_promise_about_axes(linear_model, noise):
    models = (linear_model, FunctionalsModel(torch.ones(2, 2), torch.zeros(2)), tone_model(), column_model())
    for model in models:
        for method in methods_for(model):
            found = attribute(model, noise, Target(model.emotions[0]), method.name)
            assert found.axes == method.axes and found.signed == method.signed
            assert (found.times_s is None) == (method.axes == "features")
            assert (found.bands_hz is None) == (method.axes != "time_frequency")
            lengths = [len(axis) for axis in (found.bands_hz, found.times_s, found.feature_names) if axis is not None]
            assert list(found.relevance.shape) == lengths
            assert (found.completeness_error is not None) >= method.path
            assert method.label and method.hint.endswith(".")
            assert found.settings["explains"] == "calibrated logit"
            assert found.signed or (found.relevance >= 0).all()


@pytest.mark.parametrize(
    ("target", "method", "message"),
    [
        (Target("joy"), "saliency", "does not know 'joy'; choose one of a, b, c"),
        (Target("a", against="joy"), "saliency", "does not know 'joy'"),
        (Target("a", against="a"), "saliency", "against itself"),
        (Target("a"), "shapley_sampling", "not valid for the model 'planted'; choose one of integrated_gradients"),
        (Target("a"), "magic", "'magic' is not valid"),
    ],
)
def test_a_wrong_request_is_named(linear_model, noise, target, method, message):
    with pytest.raises(ExplanationError, match=message):
        attribute(linear_model, noise, target, method)


def test_a_clip_without_a_tenth_of_a_second_is_refused(linear_model):
    with pytest.raises(ExplanationError, match="at least 100 ms"):
        attribute(linear_model, recording(np.zeros(800)), Target("a"), "saliency")


def test_values_that_are_not_finite_are_refused(noise):
    class Broken(nn.Module):
        def forward(self, log_mel: Tensor) -> Tensor:
            return (log_mel.mean(dim=(1, 2)) * torch.nan)[:, None].expand(-1, 3)

    with pytest.raises(ExplanationError, match="not finite"):
        attribute(PlantedModel(Broken(), EMOTIONS), noise, Target("a"), "input_x_gradient")


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap", "shapley_boxes", "occlusion"])
def test_progress_only_grows_and_ends_at_one(linear_model, noise, method):
    seen = []
    attribute(linear_model, noise, Target("a"), method, progress=seen.append)
    assert seen == sorted(seen) and len(seen) > 2
    assert seen[-1] == 1.0


# Waveform models


class ToneNet(nn.Module):
    """The energy that passes a band-pass at 2 kHz."""

    def __init__(self) -> None:
        super().__init__()
        times = np.arange(-100, 101) / 16_000
        kernel = np.cos(2 * np.pi * 2000 * times) * np.hanning(201) / 50
        self.band = nn.Conv1d(1, 1, 201, padding=100, stride=2, bias=False)
        self.band.weight.data = torch.from_numpy(kernel.astype(np.float32))[None, None]

    def forward(self, samples: Tensor) -> Tensor:
        energy = 100 * self.band(samples[:, None]).square().mean(dim=(1, 2))
        return torch.stack([energy, -energy], dim=1)


def tone_model():
    return WaveformModel(ToneNet(), ("tone", "none"), gradcam_layers=("band",))


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "gradient_shap", "input_x_gradient", "saliency", "occlusion"]
)
def test_a_waveform_model_is_explained_in_seconds_and_hz(method):
    rng = np.random.default_rng(3)
    samples = 0.01 * rng.standard_normal(16_000 + 77)
    times = np.arange(4800) / 16_000
    samples[6400:11_200] += 0.2 * np.sin(2 * np.pi * 2000 * times) + 0.2 * np.sin(2 * np.pi * 5000 * times)
    found = attribute(tone_model(), recording(samples), Target("tone"), method)
    row, column = np.unravel_index(np.argmax(found.relevance), found.relevance.shape)
    assert found.bands_hz[row] == pytest.approx(2000, rel=0.1)
    assert 0.4 <= found.times_s[column] <= 0.7
    inside = (found.times_s > 0.35) & (found.times_s < 0.75)
    near = np.abs(found.bands_hz - 2000) < 600
    if method != "saliency":
        assert found.relevance[np.ix_(near, inside)].sum() > 0.8 * np.abs(found.relevance).sum()


def test_the_virtual_spectrum_keeps_completeness():
    samples = 0.1 * np.random.default_rng(3).standard_normal(8001)
    found = attribute(tone_model(), recording(samples), Target("tone"), "integrated_gradients")
    assert found.relevance.sum() == pytest.approx(found.settings["difference"], rel=1e-3)


@given(samples=st.integers(1600, 20_000), seed=st.integers(0, 1000))
@hypothesis_settings(max_examples=30)
def test_the_virtual_spectrum_gives_every_sample_back(samples, seed):
    waveform = torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))
    spectrum = Spectrum(samples)
    assert (spectrum.synthesise(spectrum.analyse(waveform)) - waveform).abs().max() < 1e-5
    assert spectrum.frame_times_s[-1] <= samples / 16_000 + 0.01
    np.testing.assert_array_equal(spectrum.groups.sum(0), 1)


def test_wav2vec2_is_explained_in_seconds_and_hz():
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.Wav2Vec2Config(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=(16, 16, 16),
            conv_kernel=(10, 8, 4),
            conv_stride=(5, 8, 4),
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
            num_feat_extract_layers=3,
        )
        inner = transformers.Wav2Vec2ForSequenceClassification(config)

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, samples: Tensor) -> Tensor:
            return self.inner(samples).logits

    layer = "inner.wav2vec2.feature_extractor.conv_layers.2.conv"
    model = WaveformModel(Logits(), ("tone", "none"), gradcam_layers=(layer,))
    sound = recording(0.1 * np.random.default_rng(1).standard_normal(8000))
    for method in methods_for(model):
        found = attribute(model, sound, Target("tone", against="none"), method.name, max_windows=30)
        assert found.axes == ("time" if method.name == "grad_cam" else "time_frequency")
        assert found.times_s[-1] == pytest.approx(0.5, abs=0.02)
        assert np.abs(found.relevance).max() > 0


# Where the cells of a layer sit


class ColumnNet(nn.Module):
    """One-dimensional convolutions over time: no band is left in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(80, 4, 3, padding=1)
        self.conv2 = nn.Conv1d(4, 4, 3, stride=2, padding=1)
        self.linear = nn.Linear(4, 3)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.linear(torch.relu(self.conv2(torch.relu(self.conv1(log_mel)))).mean(-1))


def column_model():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return PlantedModel(ColumnNet(), EMOTIONS, gradcam_layers=("conv2",))


def test_grad_cam_without_bands_has_a_time_axis_only(noise):
    found = attribute(column_model(), noise, Target("a"), "grad_cam")
    assert found.axes == "time" and found.bands_hz is None
    np.testing.assert_allclose(found.times_s, np.arange(10) * 0.02)


@pytest.mark.parametrize(("pool", "offset"), [(None, 0.0), (nn.AvgPool2d, 1.0), (nn.MaxPool2d, 1.0)])
def test_cells_of_a_layer_sit_where_they_look(pool, offset):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Sequential(nn.Conv2d(1, 8, 5, stride=2, padding=2))
        if pool:
            layer.append(pool(2))
    columns, rows = layer_places(layer, str(len(layer) - 1), torch.zeros(1, 80, 100).unsqueeze(1))
    stride = 4 if pool else 2
    # Which of its inputs is the largest is chance, so that a cell of a maximum is found a little less sharply.
    sharp = 0.5 if pool is nn.MaxPool2d else 0.0
    np.testing.assert_allclose(columns, np.arange(len(columns)) * stride + offset, atol=sharp)
    np.testing.assert_allclose(rows, np.arange(len(rows)) * stride + offset, atol=sharp)


@pytest.mark.parametrize("columns", [60, 101, 197, 200, 300])
def test_cells_of_the_residual_network_lie_a_stride_of_sixteen_apart(columns):
    """Four convolutions of stride 2, each padded so that its first cell sits on the first input."""
    model = load_model("log-mel-resnet")
    times, bands = layer_places(model.network, model.gradcam_layers[-1], torch.zeros(1, 80, columns))
    np.testing.assert_array_equal(times, 16 * np.arange(-(-columns // 16)))
    np.testing.assert_array_equal(bands, 16 * np.arange(5))


def test_the_one_cell_of_a_very_short_clip_sits_in_its_middle():
    layer = nn.Sequential(nn.Conv1d(80, 8, 5, stride=16, padding=2))
    columns, rows = layer_places(layer, "0", torch.zeros(1, 80, 11))
    assert rows is None
    np.testing.assert_array_equal(columns, [5.0])


def test_drawing_takes_the_nearest_cell_and_nothing_outside(linear_model, noise):
    found = attribute(linear_model, noise, Target("a"), "saliency")
    drawn = relevance_on_grid(found, np.array([-0.02, 0.0, 0.012, 0.18, 0.5]), np.array([found.bands_hz[3], 7999.0]))
    np.testing.assert_array_equal(drawn[0, 1:4], found.relevance[3, [0, 1, 18]])
    assert np.isnan(drawn[:, [0, 4]]).all()
    with pytest.raises(ExplanationError, match="frequencies in Hz"):
        relevance_on_grid(found, np.array([0.0]))
    features = attribute(FunctionalsModel(torch.ones(2, 2), torch.zeros(2)), noise, Target("a"), "feature_ablation")
    with pytest.raises(ExplanationError, match="no time axis"):
        relevance_on_grid(features, np.array([0.0]))


@pytest.mark.parametrize(("seconds", "most"), [(3.0, 4), (45.0, 1)])
def test_a_long_clip_goes_through_the_network_a_point_at_a_time(seconds: float, most: int) -> None:
    model, seen = load_model("log-mel-resnet"), []
    handle = model.network.register_forward_pre_hook(lambda _network, inputs: seen.append(len(inputs[0])))
    try:
        heard = recording(np.resize(voice(3.0), int(16_000 * seconds)))
        for method in ("integrated_gradients", "gradient_shap"):
            attribute(model, heard, Target("anger"), method, tolerance=10.0)
    finally:
        handle.remove()
    assert max(seen) == most
