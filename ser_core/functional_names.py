"""openSMILE's names of functionals in words: what is followed over time, and what is taken of it.

Sources: Eyben et al. 2016 (eGeMAPS), Schuller et al. 2016 (ComParE), and the openSMILE book on its functionals.
"""

import re

_FOLLOWED = {
    # eGeMAPS
    "F0semitoneFrom27.5Hz": "pitch",
    "loudness": "loudness",
    "spectralFlux": "spectral flux",
    "jitterLocal": "jitter",
    "shimmerLocaldB": "shimmer",
    "HNRdBACF": "harmonics-to-noise ratio",
    "logRelF0-H1-H2": "first over second harmonic (H1–H2)",
    "logRelF0-H1-A3": "first harmonic over third formant (H1–A3)",
    "alphaRatio": "alpha ratio (1–5 kHz over 50–1000 Hz)",
    "hammarbergIndex": "Hammarberg index (peak below over peak above 2 kHz)",
    "slope0-500": "spectral slope 0–500 Hz",
    "slope500-1500": "spectral slope 500–1500 Hz",
    # ComParE
    "audspec_lengthL1norm": "loudness (sum of auditory bands)",
    "audspecRasta_lengthL1norm": "loudness after RASTA filtering",
    "pcm_RMSenergy": "energy (RMS)",
    "pcm_zcr": "zero-crossing rate",
    "pcm_fftMag_fband250-650": "energy at 250–650 Hz",
    "pcm_fftMag_fband1000-4000": "energy at 1–4 kHz",
    "pcm_fftMag_spectralFlux": "spectral flux",
    "pcm_fftMag_spectralCentroid": "spectral centroid",
    "pcm_fftMag_spectralEntropy": "spectral entropy",
    "pcm_fftMag_spectralVariance": "spectral variance",
    "pcm_fftMag_spectralSkewness": "spectral skewness",
    "pcm_fftMag_spectralKurtosis": "spectral kurtosis",
    "pcm_fftMag_spectralSlope": "spectral slope",
    "pcm_fftMag_psySharpness": "sharpness",
    "pcm_fftMag_spectralHarmonicity": "spectral harmonicity",
    "F0final": "pitch",
    "voicingFinalUnclipped": "probability of voicing",
    "jitterDDP": "jitter of jitter (DDP)",
    "shimmerLocal": "shimmer",
    "logHNR": "harmonics-to-noise ratio",
}
_TAKEN = {
    "amean": "mean",
    "posamean": "mean of positive values",
    "rqmean": "root mean square",
    "flatness": "flatness (geometric over arithmetic mean)",
    "stddev": "standard deviation",
    "stddevNorm": "standard deviation over mean",
    "skewness": "skewness",
    "kurtosis": "kurtosis",
    "range": "range",
    "maxPos": "time of the maximum",
    "minPos": "time of the minimum",
    "centroid": "centre in time",
    "percentile1.0": "1st percentile",
    "percentile20.0": "20th percentile",
    "percentile50.0": "median",
    "percentile80.0": "80th percentile",
    "percentile99.0": "99th percentile",
    "pctlrange0-1": "1st to 99th percentile",
    "pctlrange0-2": "20th to 80th percentile",
    "quartile1": "1st quartile",
    "quartile2": "median",
    "quartile3": "3rd quartile",
    "iqr1-2": "1st quartile to median",
    "iqr2-3": "median to 3rd quartile",
    "iqr1-3": "1st to 3rd quartile",
    "meanSegLen": "mean length of segments",
    "maxSegLen": "longest segment",
    "minSegLen": "shortest segment",
    "segLenStddev": "deviation of segments’ lengths",
    "upleveltime25": "time above a quarter of the range",
    "upleveltime50": "time above half of the range",
    "upleveltime75": "time above three quarters of the range",
    "upleveltime90": "time above nine tenths of the range",
    "risetime": "time of rising",
    "leftctime": "time of curving upwards",
    "lpgain": "gain of linear prediction",
    "linregc1": "slope of the fitted line",
    "linregc2": "start of the fitted line",
    "linregerrQ": "squared error of the fitted line",
    "qregc1": "curvature of the fitted parabola",
    "qregc2": "slope of the fitted parabola",
    "qregc3": "start of the fitted parabola",
    "qregerrQ": "squared error of the fitted parabola",
    "meanPeakDist": "mean distance of peaks",
    "peakDistStddev": "deviation of peaks’ distances",
    "peakRangeAbs": "range of peaks",
    "peakRangeRel": "range of peaks over whole range",
    "peakMeanAbs": "mean of peaks",
    "peakMeanMeanDist": "mean of peaks less mean",
    "peakMeanRel": "mean of peaks over mean",
    "minRangeRel": "range of valleys over whole range",
    "meanRisingSlope": "mean slope of rises",
    "stddevRisingSlope": "deviation of rises’ slopes",
    "meanFallingSlope": "mean slope of falls",
    "stddevFallingSlope": "deviation of falls’ slopes",
}
_WHOLE = {
    "loudnessPeaksPerSec": "loudness peaks per second",
    "VoicedSegmentsPerSec": "voiced segments per second",
    "MeanVoicedSegmentLengthSec": "voiced segments: mean length",
    "StddevVoicedSegmentLengthSec": "voiced segments: deviation of lengths",
    "MeanUnvoicedSegmentLength": "unvoiced segments: mean length",
    "StddevUnvoicedSegmentLength": "unvoiced segments: deviation of lengths",
    "equivalentSoundLevel_dBp": "equivalent sound level",
    "F0final_sma_ff0_nnz": "voiced frames: share",
    "F0final_sma_ff0_meanSegLen": "voiced stretches: mean length",
    "F0final_sma_ff0_maxSegLen": "voiced stretches: longest",
    "F0final_sma_ff0_minSegLen": "voiced stretches: shortest",
    "F0final_sma_ff0_segLenStddev": "voiced stretches: deviation of lengths",
}
_NUMBERED = (
    (re.compile(r"mfcc(\d+)"), "MFCC {}"),
    (re.compile(r"F(\d)frequency"), "F{} frequency"),
    (re.compile(r"F(\d)bandwidth"), "F{} bandwidth"),
    (re.compile(r"F(\d)amplitudeLogRelF0"), "F{} level over that of F0"),
    (re.compile(r"pcm_fftMag_spectralRollOff(\d+)\.0"), "spectral roll-off {} %"),
)
_NAME = re.compile(r"(?P<followed>.+?)_sma(?:3nz|3)?(?P<change>_de)?(?:\[(?P<number>\d+)\])?_(?P<taken>[^_]+)")


def in_words(name: str) -> str:
    """Return a feature's name in words, such as "F1 frequency: mean"; a name that openSMILE does not give, as it is."""
    if name in _WHOLE:
        return _WHOLE[name]
    parts = _NAME.fullmatch(name)
    if parts is None:
        return name
    followed, taken = _followed(parts["followed"], parts["number"]), _taken(parts["taken"])
    if followed is None or taken is None:
        return name
    return f"{'change of ' if parts['change'] else ''}{followed}: {taken}"


def _followed(name: str, number: str | None) -> str | None:
    if name in _FOLLOWED:
        return _FOLLOWED[name]
    if name == "mfcc" and number:
        return f"MFCC {number}"
    if name == "audSpec_Rfilt" and number:
        return f"auditory band {int(number) + 1} of 26"
    for pattern, words in _NUMBERED:
        if found := pattern.fullmatch(name):
            return words.format(found[1])
    # eGeMAPS marks what is taken of voiced or of unvoiced frames alone.
    for mark, where in (("UV", "unvoiced parts"), ("V", "voiced parts")):
        known = _followed(name.replace(mark, "", 1), number) if mark in name else None
        if known is not None:
            return f"{known}, {where}"
    return None


def _taken(name: str) -> str | None:
    if found := re.fullmatch(r"lpc(\d)", name):
        return f"linear prediction, coefficient {int(found[1]) + 1}"
    return _TAKEN.get(name)
