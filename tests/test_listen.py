import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explain.listen import heard, level_matched, parts, soft_mask
from explain.regions import Region
from ser_core.audio import SAMPLE_RATE, from_samples
from ser_core.errors import ExplanationError
from tests.planted import burst_model, clip, recording


def db(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=float)) + 1e-20))


def tones() -> np.ndarray:
    """500 Hz all along and 3 kHz from 0.5 to 0.8 s."""
    times = np.arange(round(1.3 * SAMPLE_RATE)) / SAMPLE_RATE
    high = 0.2 * np.sin(2 * np.pi * 3000 * times) * ((times > 0.5) & (times < 0.8))
    return (0.2 * np.sin(2 * np.pi * 500 * times) + high).astype(np.float32)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.0, 0.9), st.floats(0.05, 0.4), st.booleans())
def test_the_two_parts_add_back_to_the_clip_within_minus_60_db(
    seed: int, start: float, span: float, banded: bool
) -> None:
    sound = recording(clip(np.random.default_rng(seed), "low")[0])
    band = (400.0, 1200.0) if banded else (None, None)
    cut = parts(sound, [Region(1, start, start + span, *band, 1.0)])
    error = cut.alone.astype(float) + cut.without - sound.samples
    assert db(error) - db(sound.samples) < -60


def test_a_box_takes_its_own_band_and_time_and_leaves_the_rest() -> None:
    sound = from_samples(tones(), SAMPLE_RATE, "tones")
    cut = parts(sound, [Region(1, 0.5, 0.8, 2000.0, 4000.0, 1.0)])
    inside = slice(round(0.55 * SAMPLE_RATE), round(0.75 * SAMPLE_RATE))
    power = np.abs(np.fft.rfft(cut.alone[inside])) ** 2
    hz = np.fft.rfftfreq(len(cut.alone[inside]), 1 / SAMPLE_RATE)
    assert power[(hz > 2900) & (hz < 3100)].sum() > 0.99 * power.sum()
    rest = np.abs(np.fft.rfft(cut.without[inside])) ** 2
    assert rest[(hz > 400) & (hz < 600)].sum() > 0.99 * rest.sum()
    assert db(cut.alone[: round(0.4 * SAMPLE_RATE)]) < -70


def test_cutting_makes_no_click() -> None:
    """A hard gate on a steady tone would spread energy over all bands; the soft one does not."""
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sound = from_samples((0.3 * np.sin(2 * np.pi * 300 * times)).astype(np.float32), SAMPLE_RATE, "tone")
    cut = parts(sound, [Region(1, 0.3, 0.7, None, None, 1.0)]).alone
    power = np.abs(np.fft.rfft(cut)) ** 2
    hz = np.fft.rfftfreq(len(cut), 1 / SAMPLE_RATE)
    gated = np.abs(np.fft.rfft(sound.samples * ((times >= 0.3) & (times < 0.7)))) ** 2
    far = hz > 1500
    assert power[far].sum() / power.sum() < 1e-7 < gated[far].sum() / gated.sum()


def test_the_mask_is_one_inside_zero_outside_and_half_at_the_edge() -> None:
    share = soft_mask(
        [Region(1, 0.2, 0.4, 1000.0, 2000.0, 1.0)], np.array([0.1, 0.2, 0.3]), np.array([500.0, 1500.0, 8000.0]), 1.0
    )
    assert share == pytest.approx(np.array([[0, 0, 0], [0, 0.5, 1], [0, 0, 0]]))


def test_regions_that_touch_leave_no_notch_between_them() -> None:
    times = np.arange(0, 1, 0.002)
    windows = [Region(n, 0.2 + 0.15 * n, 0.35 + 0.15 * n, None, None, 0.5) for n in range(2)]
    share = soft_mask(windows, times, np.array([500.0, 8000.0]), 1.0)
    np.testing.assert_allclose(share[:, (times > 0.211) & (times < 0.489)], 1.0)


def test_a_region_that_fills_the_clip_leaves_nothing_of_it() -> None:
    whole = Region(1, 0.0, 1.0, 0.0, 8000.0, 1.0)
    share = soft_mask([whole], np.linspace(-0.03, 1.03, 60), np.linspace(0, 8000, 30), 1.0)
    np.testing.assert_array_equal(share, 1.0)


def test_parts_are_heard_at_the_level_of_the_clip_unless_they_would_clip() -> None:
    loud, quiet = tones(), tones() * 0.01
    matched, gain = level_matched(quiet, loud)
    assert db(matched) == pytest.approx(db(loud), abs=0.01)
    assert gain == pytest.approx(40, abs=0.01)
    spike = np.zeros(16000, np.float32)
    spike[100] = 0.5
    raised, gain = level_matched(spike, loud)
    assert np.abs(raised).max() <= 0.981
    assert gain < 6
    assert level_matched(np.zeros(10, np.float32), loud)[1] == 0


def test_the_burst_alone_is_recognised_and_the_clip_without_it_is_not() -> None:
    rng = np.random.default_rng(3)
    samples, start_s = clip(rng, "high")
    alone, without = heard(burst_model(), recording(samples), [Region(1, start_s, start_s + 0.3, 1800.0, 3700.0, 1.0)])
    assert alone.prediction.top == "high"
    assert without.prediction.probability("high") < alone.prediction.probability("high")


def test_nothing_salient_says_what_to_do() -> None:
    sound = recording(clip(np.random.default_rng(0), "low")[0])
    with pytest.raises(ExplanationError, match="choose another method"):
        parts(sound, [])
