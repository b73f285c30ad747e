"""A box that the reader drew in seconds and Hz: what part of the evidence lies in it, and how loud its band is there.

Pitch, jitter, formants and the other cues belong to the whole voice, so they are measured over the box's seconds.
"""

import numpy as np

from explain.attribution import Attribution
from explain.explanation import Explanation
from explain.regions import Region
from explain.views import cell_edges
from ser_core.errors import SettingError


def own_region(
    explanation: Explanation, start_s: float, end_s: float, low_hz: float | None = None, high_hz: float | None = None
) -> Region:
    """Return the reader's box as region 1, with its share of the clip's positive relevance.

    The share is NaN where the attribution has no time axis; a band does not narrow it where there is no frequency axis.

    Raises:
        SettingError: the box is empty, or has only one of the two frequencies.
    """
    if not start_s < end_s or (low_hz is None) != (high_hz is None) or not (low_hz or 0.0) < (high_hz or np.inf):
        raise SettingError("A box needs a start before its end in seconds, and no band or two frequencies in Hz.")
    region = Region(1, start_s, end_s, low_hz, high_hz, float("nan"))
    return Region(1, start_s, end_s, low_hz, high_hz, share_within(explanation.attribution, region))


def share_within(attribution: Attribution, region: Region) -> float:
    """Return the part (0 … 1) of the positive relevance that lies in a region; cells on its edge count by their part.

    NaN where the attribution has no time axis or nothing positive.
    """
    if attribution.times_s is None:
        return float("nan")
    positive = np.clip(np.atleast_2d(attribution.relevance), 0, None)
    columns = _part_inside(attribution.times_s, region.start_s, region.end_s)
    rows = np.ones(len(positive))
    if attribution.bands_hz is not None and region.low_hz is not None and region.high_hz is not None:
        rows = _part_inside(attribution.bands_hz, region.low_hz, region.high_hz)
    total = float(positive.sum())
    return float(rows @ positive @ columns) / total if total > 0 else float("nan")


def band_difference_db(explanation: Explanation, region: Region) -> float | None:
    """Return how much louder (dB) a region's band is in its seconds than in the rest of the speech.

    A mean of power over the spectrogram's cells; the whole spectrum where the region has no band. None where no other
    speech is left, or the band holds no cell.
    """
    times, hz = explanation.spectrogram_times_s, explanation.spectrogram_hz
    low_hz, high_hz = region.low_hz or 0.0, region.high_hz or np.inf
    band = 10 ** (explanation.spectrogram_db[(hz >= low_hz) & (hz <= high_hz)].astype(float) / 10)
    inside = (times >= region.start_s) & (times < region.end_s)
    speech = np.zeros(len(times), dtype=bool)
    for segment in explanation.speech:
        speech |= (times >= segment.start_s) & (times < segment.end_s)
    here, rest = band[:, inside], band[:, speech & ~inside]
    if here.size == 0 or rest.size == 0:
        return None
    return float(10 * np.log10(here.mean() / rest.mean()))


def box_sentence(explanation: Explanation, region: Region) -> str:
    """Return what a box holds in one or two sentences, for the page."""
    where = f"{region.start_s:.2f} to {region.end_s:.2f} s"
    band = region.low_hz is not None and region.high_hz is not None
    parts = [f"Your box, {where}, {region.low_hz:.0f} to {region.high_hz:.0f} Hz" if band else f"Your stretch, {where}"]
    if np.isfinite(region.share):
        word = "evidence" if explanation.attribution.signed else "relevance"
        flat = (
            " by time alone, as this map has no frequencies"
            if band and explanation.attribution.bands_hz is None
            else ""
        )
        parts.append(f"{100 * region.share:.1f} % of the {word} for {explanation.target.name} lies in it{flat}")
    difference = band_difference_db(explanation, region)
    if difference is not None:
        what = "this band" if band else "it"
        way = "louder" if difference >= 0 else "quieter"
        parts.append(f"{what} is {abs(difference):.1f} dB {way} there than in the rest of the speech")
    sentence = f"{parts[0]}: {'; '.join(parts[1:])}." if parts[1:] else f"{parts[0]}."
    if band:
        sentence += " Pitch, voice quality and formants belong to the whole voice, so they are measured over the box’s "
        sentence += "seconds, and its sound is played in full band."
    return sentence


def _part_inside(centres: np.ndarray, low: float, high: float) -> np.ndarray:
    edges = cell_edges(centres)
    width = np.diff(edges)
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None)
    return np.where(width > 0, inside / np.where(width > 0, width, 1.0), (centres >= low) & (centres <= high))
