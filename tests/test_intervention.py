"""Voice experiments: what was asked is what comes out, and a model reacts to what it listens to."""

import copy
import dataclasses
import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor, nn

from explain import measured_change
from explain.intervention import (
    EXPERIMENTS,
    DoseResponse,
    at_tempo,
    changed,
    dose_response,
    possible_doses,
    words_of,
)
from explain.listen import wav
from explain.measured_change import measure_changes
from explain.samples import samples
from ser_core.audio import SAMPLE_RATE, Recording, from_samples, read
from ser_core.errors import ExplanationError
from ser_core.models import InputAxes, SpeechModel
from tests.planted import card


@lru_cache
def voice() -> Recording:
    return read(next(sample.path for sample in samples() if "neutral_woman" in str(sample.path)))


class OneCueModel(SpeechModel):
    """Decides on one number alone: the median pitch in semitones, or the level of the loudest second in dB."""

    def __init__(self, cue: str) -> None:
        super().__init__()
        self.card = card(f"listens to {cue}", ("low", "high"))
        self.axes = InputAxes("functionals", names=(cue,))
        linear = nn.Linear(1, 2)
        linear.weight.data, linear.bias.data = torch.tensor([[-1.0], [1.0]]), torch.zeros(2)
        self.network = linear.requires_grad_(False)
        self.cue = cue
        self.middle = 0.0
        self.middle = float(self.inputs(torch.from_numpy(voice().samples.copy())[None])[0, 0]) + 1.0

    def inputs(self, samples: Tensor) -> Tensor:
        rows = []
        for row in samples.numpy():
            if self.cue == "pitch":
                rows.append(np.median(measured_change.semitones(row)))
            else:
                rows.append(10 * np.log10(np.mean(np.square(row, dtype=float)) + 1e-12))
        return torch.tensor(rows, dtype=torch.float32)[:, None] - self.middle

    def baseline(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs)


@pytest.mark.parametrize(
    ("name", "dose", "within"),
    [
        ("pitch_level", 4.0, 0.4),
        ("pitch_level", -4.0, 0.4),
        ("pitch_range", 0.5, 0.15),
        ("pitch_range", 1.67, 0.3),
        ("tempo", 1.25, 0.03),
        ("tempo", 0.8, 0.03),
        ("loudness", -12.0, 0.01),
        ("loudness", 3.0, 0.01),
        ("formant_scale", 1.1, 0.04),
        ("formant_scale", 0.9, 0.04),
        ("spectral_tilt", 4.0, 0.3),
        ("spectral_tilt", -4.0, 0.3),
    ],
)
def test_what_was_asked_comes_out(name: str, dose: float, within: float) -> None:
    quiet = voice().samples / 2 if name == "loudness" else voice().samples
    made = changed(quiet, name, (dose,))
    assert measure_changes(name, quiet, made, None, None)[0] == pytest.approx(dose, abs=within)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_dose_of_nothing_changes_nothing_that_is_measured(name: str) -> None:
    nothing = EXPERIMENTS[name].nothing
    made = changed(voice().samples, name, (nothing,))
    assert measure_changes(name, voice().samples, made, None, None)[0] == pytest.approx(nothing, abs=0.1)
    if not EXPERIMENTS[name].resynthesised:
        assert np.allclose(made[0], voice().samples, atol=1e-3)


@pytest.mark.parametrize("name", ["pitch_level", "formant_scale", "spectral_tilt"])
def test_other_cues_stay_when_one_is_changed(name: str) -> None:
    made = changed(voice().samples, name, (EXPERIMENTS[name].doses[-2],))
    # A tilted spectrum moves the peaks that are measured as formants, so it is held to pitch and level.
    others = {"pitch_level": 0.4, "loudness": 1.5} | ({} if name == "spectral_tilt" else {"formant_scale": 0.06})
    for other, slack in others.items():
        if other != name:
            found = measure_changes(other, voice().samples, made, None, None)[0]
            assert found == pytest.approx(EXPERIMENTS[other].nothing, abs=slack), other


@pytest.mark.parametrize("dose", EXPERIMENTS["spectral_tilt"].doses)
def test_a_tilted_stretch_stays_as_loud_against_the_rest_as_it_was(dose: float) -> None:
    low, high = voice().samples.copy(), np.random.default_rng(0).standard_normal(len(voice().samples))
    # A hiss in a voice: one tilt for both makes either louder than the other.
    hiss = slice(round(0.5 * SAMPLE_RATE), round(1.0 * SAMPLE_RATE))
    low[hiss] = 0.05 * np.diff(high, prepend=0.0)[hiss].astype(np.float32)
    made = changed(low, "spectral_tilt", (dose,), 0.5, 1.0)
    assert measure_changes("loudness", low, made, 0.5, 1.0)[0] == pytest.approx(0.0, abs=0.5)
    assert measure_changes("spectral_tilt", low, made, 0.5, 1.0)[0] == pytest.approx(dose, abs=0.3)


@pytest.mark.parametrize("dose", [0.25, 0.5, 2.0])
def test_the_range_of_a_stretch_is_changed_around_its_own_middle(dose: float) -> None:
    # Here the voice lies three semitones above the median of the clip.
    made = changed(voice().samples, "pitch_range", (dose,), 0.6, 0.9)
    assert measure_changes("pitch_range", voice().samples, made, 0.6, 0.9)[0] == pytest.approx(dose, rel=0.15)
    assert measure_changes("pitch_level", voice().samples, made, 0.6, 0.9)[0] == pytest.approx(0.0, abs=0.2)


def test_a_stretch_without_voice_takes_the_middle_of_the_clip() -> None:
    late = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), voice().samples])
    (made,) = changed(late, "pitch_range", (0.5,), 0.2, 0.6)
    assert np.allclose(made, late, atol=1e-3)


def test_a_clip_gets_no_louder_than_full_scale_and_the_doses_say_so() -> None:
    loud = voice().samples / np.abs(voice().samples).max() * 0.5
    doses = possible_doses(loud, "loudness", EXPERIMENTS["loudness"].doses)
    assert doses.tolist() == pytest.approx([-18, -12, -6, 0, 6])
    doses = possible_doses(loud * 1.5, "loudness", EXPERIMENTS["loudness"].doses)
    assert doses.tolist() == pytest.approx([-18, -12, -6, 0, 2.4])
    found = dose_response(OneCueModel("level"), from_samples(loud * 1.5, SAMPLE_RATE, "loud"), "loudness")
    assert found.doses.tolist() == pytest.approx([-18, -12, -6, 0, 2.4])
    assert found.measured == pytest.approx(found.doses, abs=0.05)  # what is drawn is what came out
    assert max(np.abs(each.samples).max() for each in found.clips) <= 1.0
    quiet = loud / 100
    assert possible_doses(quiet, "loudness", EXPERIMENTS["loudness"].doses)[-1] == 18
    assert possible_doses(np.zeros(800), "loudness", (18.0,)).tolist() == [0.0, 18.0]


@pytest.mark.parametrize("place", [1, -1])
@pytest.mark.parametrize("name", ["pitch_level", "loudness", "spectral_tilt"])
def test_a_change_of_a_stretch_leaves_the_rest_as_it_was(name: str, place: int) -> None:
    made = changed(voice().samples, name, (EXPERIMENTS[name].doses[place],), 0.6, 0.9)[0]
    outside = np.ones(len(made), dtype=bool)
    outside[round(0.58 * SAMPLE_RATE) : round(0.92 * SAMPLE_RATE)] = False
    assert np.allclose(made[outside], voice().samples[outside], atol=1e-6)
    assert not np.allclose(made[~outside], voice().samples[~outside], atol=1e-3)


def test_the_tempo_of_a_stretch_moves_only_its_length() -> None:
    made = changed(voice().samples, "tempo", (2.0,), 0.6, 1.0)[0]
    assert (len(voice().samples) - len(made)) / SAMPLE_RATE == pytest.approx(0.2, abs=0.02)
    assert measure_changes("tempo", voice().samples, [made], 0.6, 1.0)[0] == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 0.6), (0.005, 0.605), (2.4, None)])
@pytest.mark.parametrize("dose", [0.7, 1.4])
def test_a_stretch_at_an_end_of_the_clip_gets_the_whole_change_of_tempo(
    start_s: float, end_s: float | None, dose: float
) -> None:
    samples = voice().samples
    end_s = end_s or len(samples) / SAMPLE_RATE
    made = changed(samples, "tempo", (dose,), start_s, end_s)[0]
    assert (end_s - start_s) / (end_s - start_s + (len(made) - len(samples)) / SAMPLE_RATE) == pytest.approx(
        dose, rel=0.04
    )


def test_moments_lie_where_the_change_of_tempo_puts_them() -> None:
    assert at_tempo(3.0, 1.5) == 2.0
    moved = [at_tempo(time, 2.0, 1.0, 2.0) for time in (0.5, 1.0, 1.5, 2.0, 3.0)]
    assert moved == [0.5, 1.0, 1.25, 1.5, 2.5]


def test_a_model_that_knows_of_moments_in_the_clip_is_asked_with_them_at_the_new_tempo() -> None:
    asked: list[tuple[float, float]] = []

    class Knowing(OneCueModel):
        moment_s = 2.0

        def at_tempo(self, moved: Callable[[float], float]) -> "Knowing":
            other = copy.copy(self)
            other.moment_s = moved(self.moment_s)
            return other

        def inputs(self, samples: Tensor) -> Tensor:
            asked.append((self.moment_s, samples.shape[1] / SAMPLE_RATE))
            return super().inputs(samples)

    model = Knowing("level")
    asked.clear()
    dose_response(model, voice(), "tempo", doses=(0.8, 1.25))
    (_, long), *changed_clips = asked
    assert [moment for moment, _ in changed_clips] == pytest.approx([2.5, 2.0, 1.6])
    assert [moment / length for moment, length in changed_clips] == pytest.approx([2.0 / long] * 3, rel=0.02)
    asked.clear()
    dose_response(model, voice(), "loudness", doses=(-6,))
    assert {moment for moment, _ in asked} == {2.0}


def test_a_model_that_hears_only_pitch_reacts_to_pitch_and_not_to_loudness() -> None:
    model = OneCueModel("pitch")
    pitch = dose_response(model, voice(), "pitch_level")
    assert pitch.beyond_control and abs(pitch.effect) > 0.5
    turn = pitch.turning_point
    assert turn is not None
    assert turn[0] == pytest.approx(1.0, abs=0.5)
    assert "turns low into high" in pitch.sentence
    loudness = dose_response(model, voice(), "loudness")
    assert not loudness.beyond_control or abs(loudness.effect) < 0.02
    assert loudness.turning_point is None


def test_a_model_that_hears_only_loudness_reacts_to_loudness_and_not_to_pitch() -> None:
    model = OneCueModel("loudness")
    loudness = dose_response(model, voice(), "loudness")
    assert loudness.beyond_control and abs(loudness.effect) > 0.5
    assert loudness.control_effect == pytest.approx(0, abs=1e-6)
    pitch = dose_response(model, voice(), "pitch_level")
    assert abs(pitch.effect) < 0.2
    assert pitch.turning_point is None


def response(probabilities: list[list[float]], doses: list[float], original: list[float]) -> DoseResponse:
    return DoseResponse(
        EXPERIMENTS["pitch_level"],
        None,
        None,
        "a",
        ("a", "b"),
        np.array(doses),
        np.array(probabilities),
        np.array(original),
        np.array(doses),
        (),
    )


def test_an_effect_no_larger_than_the_controls_is_called_so() -> None:
    found = response([[0.75, 0.25], [0.7, 0.3], [0.65, 0.35]], [-2, 0, 2], [0.9, 0.1])
    assert not found.beyond_control
    assert found.control_effect == pytest.approx(-0.2)
    assert "no more than the resynthesis itself" in found.sentence
    turned = response([[0.4, 0.6], [0.6, 0.4]], [0, 2], [0.95, 0.05])
    assert turned.turning_point is None  # nor is it drawn


def test_what_a_probability_moves_is_told_in_points_and_blamed_on_resynthesis_only_where_there_is_one() -> None:
    found = response([[0.4, 0.6], [0.1, 0.9]], [0, 2], [0.41, 0.59])
    assert found.sentence.endswith("moves the probability of a by up to −30 points; the answer stays b.")
    assert found.control_sentence == "What the unchanged dose moves (−1 point) is the resynthesis itself."
    within = response([[0.75, 0.25], [0.7, 0.3]], [-2, 0], [0.9, 0.1])
    assert "by at most 5 points" in within.sentence and "(20 points)" in within.sentence
    assert "resynthesis" not in dataclasses.replace(found, experiment=EXPERIMENTS["loudness"]).control_sentence


def test_what_building_the_clip_anew_turns_is_said_first() -> None:
    found = response([[0.4, 0.6], [0.9, 0.1]], [0, 3], [0.6, 0.4])
    assert found.sentence.startswith("Building the clip anew, with nothing changed, already turns a into b. ")
    assert found.sentence.endswith("turns b into a.")
    assert "Building" not in response([[0.6, 0.4], [0.1, 0.9]], [0, 3], [0.6, 0.4]).sentence


def test_the_turning_point_is_where_the_log_odds_cross() -> None:
    p = [1 / (1 + np.exp(-x)) for x in (2.0, -1.0)]
    found = response([[p[0], 1 - p[0]], [p[1], 1 - p[1]]], [0, 3], [p[0], 1 - p[0]])
    assert found.turning_point == (pytest.approx(2.0), "b")


def test_the_nearest_of_two_turning_points_counts() -> None:
    found = response([[0.2, 0.8], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], [-1, 0, 1, 2], [0.9, 0.1])
    turn = found.turning_point
    assert turn is not None and -1 < turn[0] < 0


def test_words_carry_sign_and_unit() -> None:
    assert words_of(EXPERIMENTS["pitch_level"], 3.1) == "Pitch level +3.1 st"
    assert words_of(EXPERIMENTS["pitch_level"], -3.1) == "Pitch level −3.1 st"
    assert words_of(EXPERIMENTS["tempo"], 1.12) == "Tempo ×1.12"


def test_faults_say_what_to_do() -> None:
    model = OneCueModel("loudness")
    with pytest.raises(ExplanationError, match="choose one of pitch_level"):
        dose_response(model, voice(), "mood")
    with pytest.raises(ExplanationError, match="must lie in the clip"):
        dose_response(model, voice(), "loudness", start_s=1.0, end_s=99.0)
    with pytest.raises(ExplanationError, match="must lie in the clip"):
        dose_response(model, voice(), "spectral_tilt", start_s=0.5, end_s=0.50001)
    with pytest.raises(ExplanationError, match="does not know 'joy'"):
        dose_response(model, voice(), "loudness", emotion="joy")
    for doses in ((0.0,), (1e-6, 1.2), (float("nan"),), tuple(np.linspace(0.7, 1.4, 26))):
        with pytest.raises(ExplanationError, match=r"Tempo can be changed by up to 25 doses from 0\.35 to 2\.8 ×"):
            dose_response(model, voice(), "tempo", doses=doses)
    noise = from_samples(np.random.default_rng(0).normal(0, 0.05, 16000).astype(np.float32), SAMPLE_RATE, "noise")
    with pytest.raises(ExplanationError, match="hardly any voice"):
        dose_response(model, noise, "pitch_level")


def test_a_tilted_clip_keeps_its_level_beyond_full_scale_and_is_lowered_only_to_be_played() -> None:
    loud = voice().samples / np.abs(voice().samples).max()
    made = changed(loud, "spectral_tilt", (-6.0, 6.0))
    assert max(np.abs(each).max() for each in made) > 1
    for each in made:
        assert np.sqrt(np.mean(each**2)) == pytest.approx(np.sqrt(np.mean(loud**2)), rel=1e-3)
    played, _ = sf.read(io.BytesIO(wav(from_samples(made[1], SAMPLE_RATE, "x"))))
    scale = np.abs(made[1]).max()
    np.testing.assert_allclose(played * max(1.0, scale), made[1], atol=1e-3)


def test_the_unchanged_dose_of_loudness_is_the_clip_even_over_full_scale() -> None:
    loud = (1.6 * voice().samples / np.abs(voice().samples).max()).astype(np.float32)
    (same,) = changed(loud, "loudness", (0.0,))
    np.testing.assert_array_equal(same, loud)


def test_a_slower_clip_may_be_longer_than_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERSCOPE_MAX_SECONDS", str(voice().duration_s + 0.1))
    found = dose_response(OneCueModel("level"), voice(), "tempo", doses=(0.8,))
    assert max(each.duration_s for each in found.clips) > voice().duration_s + 0.1
