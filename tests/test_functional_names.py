import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from ser_core.functional_names import in_words
from ser_core.functionals import FEATURE_SETS, feature_names, functionals


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_every_feature_has_words_of_its_own(feature_set: str) -> None:
    names = feature_names(feature_set)
    words = [in_words(name) for name in names]
    assert len(set(words)) == len(names)
    assert not [name for name, said in zip(names, words, strict=True) if "_" in said or "sma" in said or said == name]


@pytest.mark.parametrize(
    ("name", "band_hz", "words"),
    [
        ("alphaRatioUV_sma3nz_amean", (1200, 4800), "alpha ratio (1–5 kHz over 50–1000 Hz)"),
        ("hammarbergIndexUV_sma3nz_amean", (300, 1800), "Hammarberg index (peak below over peak above 2 kHz)"),
    ],
)
def test_ratios_are_named_by_the_band_that_raises_them(name: str, band_hz: tuple[int, int], words: str) -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    in_band = sosfilt(butter(4, band_hz, "band", fs=16000, output="sos"), noise).astype(np.float32)
    place = feature_names("eGeMAPSv02").index(name)
    plain, raised = (functionals(samples, "eGeMAPSv02")[place] for samples in (noise, noise + 9 * in_band))
    assert raised > plain + 10
    assert words in in_words(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2", "pitch: 20th to 80th percentile"),
        ("slopeUV500-1500_sma3nz_amean", "spectral slope 500–1500 Hz, unvoiced parts: mean"),
        ("mfcc2V_sma3nz_stddevNorm", "MFCC 2, voiced parts: standard deviation over mean"),
        ("pcm_fftMag_spectralRollOff25.0_sma_de_iqr2-3", "change of spectral roll-off 25 %: median to 3rd quartile"),
        ("audSpec_Rfilt_sma_de[25]_lpc0", "change of auditory band 26 of 26: linear prediction, coefficient 1"),
        ("F0final_sma_ff0_nnz", "voiced frames: share"),
        ("my own feature", "my own feature"),
    ],
)
def test_known_names(name: str, words: str) -> None:
    assert in_words(name) == words
