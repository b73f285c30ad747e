import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.errors import AudioError
from ser_core.noise import babble, environment, pink, speech_shaped, white

RATE = 16_000


def levels_db(noise: np.ndarray, *bands_hz: tuple[float, float]) -> np.ndarray:
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    return np.array([10 * np.log10(power[(hz >= low) & (hz < high)].sum()) for low, high in bands_hz])


def tone(hz: float, level: float = 0.1, seconds: float = 1.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    for kind, hz in (("rain", 300), ("wind", 900)):
        (tmp_path / kind).mkdir()
        padded = np.concatenate([np.zeros(RATE), tone(hz, 0.5), np.zeros(3 * RATE)])
        soundfile.write(tmp_path / kind / "one.wav", padded, RATE)
    return tmp_path


@settings(max_examples=20)
@given(st.integers(800, 50_000), st.integers(0, 1000))
def test_every_source_gives_the_length_asked_at_level_one_and_the_same_for_the_same_seed(
    length: int, seed: int
) -> None:
    voices = [tone(hz) for hz in (200, 300, 400, 500, 600, 700)]
    for source in (white, pink, speech_shaped(voices), babble(voices)):
        noise = source(length, np.random.default_rng(seed))
        assert noise.shape == (length,)
        assert np.sqrt(np.mean(noise.astype(float) ** 2)) == pytest.approx(1, abs=1e-3)
        assert np.array_equal(noise, source(length, np.random.default_rng(seed)))


def test_white_noise_has_the_same_power_per_hertz_and_pink_noise_per_octave() -> None:
    octaves = [(f, 2 * f) for f in (125, 250, 500, 1000, 2000, 4000)]
    steps_white = np.diff(levels_db(white(1 << 18, np.random.default_rng(0)), *octaves))
    steps_pink = np.diff(levels_db(pink(1 << 18, np.random.default_rng(0)), *octaves))
    assert steps_white == pytest.approx(10 * np.log10(2), abs=0.3)
    assert steps_pink == pytest.approx(0, abs=0.3)


def test_speech_shaped_noise_has_the_voices_spectrum_and_no_time_course() -> None:
    voices = [tone(500, 0.3), tone(2000, 0.03)]  # 20 dB apart
    noise = speech_shaped(voices)(1 << 17, np.random.default_rng(1))
    near = levels_db(noise, (440, 560), (1940, 2060), (4000, 4120))
    assert near[0] - near[1] == pytest.approx(20, abs=1)
    assert near[1] - near[2] > 30
    quarters = np.sqrt(np.mean(noise.reshape(4, -1) ** 2, axis=1))
    assert quarters == pytest.approx(1, abs=0.15)


def test_babble_is_as_many_voices_as_asked_equally_loud() -> None:
    voices = [tone(500, 0.5), tone(1500, 0.001), tone(3000, 0.05)]
    noise = babble(voices, talkers=3)(RATE, np.random.default_rng(0))
    heard = levels_db(noise, (490, 510), (1490, 1510), (2990, 3010))
    assert heard == pytest.approx(heard[0], abs=0.5)
    chosen = levels_db(
        babble(voices, talkers=1)(RATE, np.random.default_rng(3)), (490, 510), (1490, 1510), (2990, 3010)
    )
    assert (chosen > chosen.max() - 30).sum() == 1


def test_real_noise_comes_from_one_file_without_its_padding_and_every_kind_is_drawn(folder) -> None:
    source = environment(folder)
    drawn = set()
    for seed in range(12):
        noise = source(5 * RATE, np.random.default_rng(seed))
        silent = np.mean(np.abs(noise) < 1e-3)
        assert silent < 0.05  # four fifths of the file are padding
        drawn.add(int(levels_db(noise, (250, 350), (850, 950)).argmax()))
    assert drawn == {0, 1}


def test_what_cannot_serve_as_noise_is_refused_in_a_sentence(tmp_path) -> None:
    with pytest.raises(AudioError, match="no recordings of noise"):
        environment(tmp_path)
    with pytest.raises(AudioError, match="needs as many voices"):
        babble([tone(200)])
    with pytest.raises(AudioError, match="silent"):
        babble([np.zeros(RATE)] * 6)(RATE, np.random.default_rng(0))
    with pytest.raises(AudioError, match="at least one voice"):
        speech_shaped([np.zeros(100)])
