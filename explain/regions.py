"""The salient regions of an attribution, on the clip's own clock.

Conventions: a region is a box in seconds and Hz whose sides are edges of cells; it never leaves the clip. Shares are
parts of the positive relevance of the whole map; cells belong to one region only, so shares add up to at most 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from explain.attribution import Attribution
from explain.views import cell_edges
from ser_core.speech import Segment

SMOOTHING_S = 0.05
SMOOTHING_BARK = 1.0
HALF_WIDTHS_PER_SIGMA = 2.3548
MERGE_GAP_S = 0.03


Box = tuple[float, float, float | None, float | None, float]


@dataclass(frozen=True)
class Region:
    """A salient box in seconds and Hz; ``share`` is its part of the clip's positive relevance (0 … 1).

    low_hz and high_hz are None where the attribution has no frequency axis. Regions are ranked from 1 by share.
    """

    rank: int
    start_s: float
    end_s: float
    low_hz: float | None
    high_hz: float | None
    share: float


def salient_regions(
    attribution: Attribution,
    *,
    threshold: float = 2.0,
    min_duration_s: float = 0.05,
    max_regions: int = 5,
) -> tuple[Region, ...]:
    """Return the connected regions that stand out, largest share first.

    Relevance for the class (positive only) is smoothed by a Gaussian that is 50 ms and one Bark wide at half its
    height: the shortest region that is reported, and a critical band. A cell is salient above the lower of two lines:
    the mean + ``threshold`` standard deviations of the map, which finds several places in a map of many peaks, and
    half the peak, which finds a patch that fills much of the map (blurring an even patch leaves its half-height line
    on its own edges, so smoothing does not widen it). Columns that hold no relevance, such as digital silence, do not
    count in mean and deviation, so silence around a clip does not change its regions. Salient cells less than 30 ms
    apart in the same band are joined; cells that touch, also at corners, make a region.

    Args:
        attribution: any; one over features has no regions.
        threshold: standard deviations above the mean.
        min_duration_s: shorter regions are left out.
        max_regions: how many to return at most.
    """
    if attribution.times_s is None:
        return ()
    positive = np.atleast_2d(np.clip(attribution.relevance, 0, None))
    smooth = _smoothed(attribution, positive)
    if smooth.max() <= 0:
        return ()
    salient = _joined(smooth >= _line(positive, smooth, threshold), attribution.times_s)
    labels, count = ndimage.label(salient, structure=np.ones((3, 3)))
    shares = ndimage.sum_labels(positive, labels, np.arange(1, count + 1)) / positive.sum()
    boxes: list[Box] = []
    for share, where in zip(shares, ndimage.find_objects(labels), strict=True):
        start_s, end_s, low_hz, high_hz = _box(attribution, *where)
        if end_s - start_s >= min_duration_s - 1e-9:
            boxes.append((start_s, end_s, low_hz, high_hz, float(share)))
    return _ranked(boxes, max_regions)


def windowed_regions(
    attribution: Attribution, *, speech: Sequence[Segment], window_s: float = 0.15, top: int = 5
) -> tuple[Region, ...]:
    """Return the published windowing, for comparison: the windows of largest relevance above the map's mean.

    The map is thresholded at its mean, added up over bands, and cut into windows that do not overlap; the ``top``
    windows with the largest sum are kept. The published set-up cuts trimmed audio; here windows run from the start of
    the first stretch of speech to the end of the last one, on the clip's own clock, without a frequency axis.

    Args:
        attribution: any; one over features has no windows.
        speech: stretches of speech; the whole clip where there are none.
        window_s: length of a window in seconds.
        top: how many to return at most.
    """
    if attribution.times_s is None:
        return ()
    relevance = np.atleast_2d(attribution.relevance)
    positive = np.clip(relevance, 0, None)
    kept = np.where(relevance > relevance.mean(), positive, 0.0).sum(0)
    total = positive.sum()
    if total <= 0:
        return ()
    start, end, _, _ = _box(attribution, slice(0, 1), slice(0, len(attribution.times_s)))
    first_s = max(start, min((part.start_s for part in speech), default=start))
    last_s = min(end, max((part.end_s for part in speech), default=end))
    boxes: list[Box] = []
    for number in range(int((last_s - first_s) / window_s + 1e-9)):
        low, high = first_s + number * window_s, first_s + (number + 1) * window_s
        share = float(kept[(attribution.times_s >= low) & (attribution.times_s < high)].sum() / total)
        if share > 0:
            boxes.append((low, high, None, None, share))
    return _ranked(boxes, top)


def iou(one: Region, other: Region) -> float:
    """Return intersection over union (0 … 1) of two boxes.

    Areas are seconds × mel (O'Shaughnessy 1987: 2595 log10(1 + Hz / 700)), so that a band counts by what is heard of
    it. Where one of the two has no frequency axis only the time is compared.
    """
    across = _overlap(one.start_s, one.end_s, other.start_s, other.end_s)
    first, second = one.end_s - one.start_s, other.end_s - other.start_s
    if None not in (one.low_hz, one.high_hz, other.low_hz, other.high_hz):
        a, b = (_mel(region.low_hz or 0.0) for region in (one, other))
        c, d = (_mel(region.high_hz or 0.0) for region in (one, other))
        across *= _overlap(a, c, b, d)
        first, second = first * (c - a), second * (d - b)
    union = first + second - across
    return across / union if union > 0 else 0.0


def coverage(regions: Sequence[Region], duration_s: float) -> float:
    """Return the share (0 … 1) of a clip's seconds that lie in at least one region."""
    covered, reached = 0.0, 0.0
    for region in sorted(regions, key=lambda item: item.start_s):
        covered += max(0.0, region.end_s - max(region.start_s, reached))
        reached = max(reached, region.end_s)
    return covered / duration_s if duration_s > 0 else 0.0


def _smoothed(attribution: Attribution, positive: np.ndarray) -> np.ndarray:
    assert attribution.times_s is not None
    sigma_columns = SMOOTHING_S / HALF_WIDTHS_PER_SIGMA / _step(attribution.times_s)
    sigma_rows = 0.0
    if attribution.bands_hz is not None:
        sigma_rows = SMOOTHING_BARK / HALF_WIDTHS_PER_SIGMA / _step(_bark(attribution.bands_hz))
    return ndimage.gaussian_filter(positive, (sigma_rows, sigma_columns), mode="constant")


def _line(positive: np.ndarray, smooth: np.ndarray, deviations: float) -> float:
    active = smooth[:, positive.max(0) > 1e-6 * positive.max()]
    return min(float(active.mean() + deviations * active.std()), float(smooth.max()) / 2)


def _step(places: np.ndarray) -> float:
    return float(np.median(np.diff(places))) if len(places) > 1 else float("inf")


def _joined(salient: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    # A gap of n cells is closed by n + 1 in a row; the map's border must not count as salient or as empty.
    cells = int(np.ceil(round(MERGE_GAP_S / _step(times_s), 6))) if len(times_s) > 1 else 0
    if cells < 2:
        return salient
    padded = np.pad(salient, ((0, 0), (cells, cells)))
    return ndimage.binary_closing(padded, structure=np.ones((1, cells)))[:, cells:-cells]


def _box(attribution: Attribution, rows: slice, columns: slice) -> tuple[float, float, float | None, float | None]:
    assert attribution.times_s is not None
    times = cell_edges(attribution.times_s)
    end = attribution.settings.get("duration_s", times[-1])
    start_s = float(np.clip(times[columns.start], 0.0, end))
    end_s = float(np.clip(times[columns.stop], 0.0, end))
    if attribution.bands_hz is None:
        return start_s, end_s, None, None
    bands = np.clip(cell_edges(attribution.bands_hz), 0.0, None)
    return start_s, end_s, float(bands[rows.start]), float(bands[rows.stop])


def _ranked(boxes: list[Box], most: int) -> tuple[Region, ...]:
    order = sorted(boxes, key=lambda box: (-box[-1], box[0], box[2] or 0.0))[:most]
    return tuple(Region(rank, *box) for rank, box in enumerate(order, start=1))


def _overlap(low: float, high: float, other_low: float, other_high: float) -> float:
    return max(0.0, min(high, other_high) - max(low, other_low))


def _mel(hz: float) -> float:
    return 2595.0 * float(np.log10(1.0 + hz / 700.0))


def _bark(hz: np.ndarray) -> np.ndarray:
    # Traunmüller 1990.
    return 26.81 * hz / (1960.0 + hz) - 0.53
