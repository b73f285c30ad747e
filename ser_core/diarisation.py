"""Who speaks when: where one voice hands over to the next, and which stretches are of one voice.

A stretch of speech is cut where the embeddings of the 1.5 s before and after a moment differ most, if they differ
enough, at the quietest place near. Stretches are then grouped by agglomerative clustering of the cosine between their
embeddings (average linkage); groups too small to be a voice join the voice that they are nearest to. The number of
voices is given, or is the one whose groups have the best silhouette (Rousseeuw 1987, Journal of Computational and
Applied Mathematics 20, 53–65), one where the best is poor: in a silhouette distances are held against each other, so
that it carries over to other rooms and microphones, which the distance itself did not. The thresholds were set on other
actors than those that the study reports (``python -m ser_core.diarisation_study``).

Embeddings of less than a second say little about a voice: such stretches take no part in forming the groups.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.audio import SAMPLE_RATE
from ser_core.speech import Segment, Utterance
from ser_core.voices import embeddings

SPAN_S, STEP_S, FINE_STEP_S, SHORTEST_S, DIP_S = 1.5, 0.5, 0.125, 0.75, 0.35
CHANGE_DISTANCE, NEARLY, LEAST_SILHOUETTE = 0.9, 0.85, 0.19
FORMING_S, LEAST_SHARE, MOST_CLUSTERED = 1.0, 0.05, 2000
MOST_VOICES = 8


@dataclass(frozen=True)
class Turn:
    """A stretch of speech of one voice, in seconds."""

    start_s: float
    end_s: float
    voice: int


def cuts(samples: np.ndarray) -> list[float]:
    """Return where in a stretch of speech (samples,) at 16 kHz one voice hands over to another, in seconds."""
    length_s = len(samples) / SAMPLE_RATE
    moments = np.arange(SHORTEST_S, length_s - SHORTEST_S + 1e-9, STEP_S)
    if length_s < 2 * SHORTEST_S + STEP_S:
        return []
    found = []
    distances = _distances(samples, moments)
    for place in _peaks(distances, NEARLY):
        around = np.arange(-STEP_S, STEP_S + 1e-9, FINE_STEP_S) + moments[place]
        around = around[(around >= SHORTEST_S) & (around <= length_s - SHORTEST_S)]
        fine = _distances(samples, around)
        if fine.max() >= CHANGE_DISTANCE:
            found.append(_quietest(samples, float(around[fine.argmax()])))
    return [at for number, at in enumerate(found) if number == 0 or at - found[number - 1] >= SHORTEST_S]


def _quietest(samples: np.ndarray, at_s: float) -> float:
    """Return the middle of the quietest 60 ms within 0.35 s of a moment: people hand over where they are silent."""
    first = max(0, round((at_s - DIP_S) * SAMPLE_RATE))
    near = samples[first : round((at_s + DIP_S) * SAMPLE_RATE)].astype(float)
    width = round(0.06 * SAMPLE_RATE)
    energy = np.convolve(near**2, np.ones(width), mode="valid")
    return (first + int(energy.argmin()) + width / 2) / SAMPLE_RATE


def _distances(samples: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return 1 − cosine of the embeddings before and after each moment (moments,)."""
    span = int(SPAN_S * SAMPLE_RATE)
    places = [round(at * SAMPLE_RATE) for at in moments]
    sides = [(max(0, at - span), at) for at in places] + [(at, min(at + span, len(samples))) for at in places]
    # What follows one moment comes before a later one.
    once = list(dict.fromkeys(sides))
    found = dict(zip(once, embeddings([samples[a:b] for a, b in once]), strict=True))
    before, after = np.split(np.stack([found[side] for side in sides]), 2)
    distances: np.ndarray = 1 - (before * after).sum(axis=1)
    return distances


def _peaks(values: np.ndarray, least: float) -> np.ndarray:
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    return np.flatnonzero((values >= least) & (values >= padded[:-2]) & (values > padded[2:]))


def split(whole: Utterance) -> list[Utterance]:
    """Return a stretch of speech in pieces of one voice each; where two meet there is no sound around them."""
    spoken, start_s = whole.spoken, whole.speech.start_s
    edges = [0, *(round(at * SAMPLE_RATE) for at in cuts(spoken)), len(spoken)]
    pieces = []
    for a, b in itertools.pairwise(edges):
        before, after = whole.before if a == 0 else 0, whole.after if b == len(spoken) else 0
        samples = whole.samples[whole.before + a - before : whole.before + b + after]
        pieces.append(Utterance(Segment(start_s + a / SAMPLE_RATE, start_s + b / SAMPLE_RATE), samples, before, after))
    return pieces


def voices(found: np.ndarray, lengths_s: np.ndarray, count: int | None = None) -> np.ndarray:
    """Return which voice each stretch is of, (stretches,), 0 for the voice that is heard first, and so on.

    Args:
        found: unit embeddings (stretches, 192).
        lengths_s: their lengths in seconds (stretches,).
        count: the number of voices, None to estimate it.
    """
    from scipy.cluster.hierarchy import linkage

    if not len(found):
        return np.zeros(0, int)
    forming = np.flatnonzero(lengths_s >= min(FORMING_S, lengths_s.max()))
    if len(forming) > MOST_CLUSTERED:
        forming = np.sort(forming[np.argsort(-lengths_s[forming], kind="stable")[:MOST_CLUSTERED]])
    if len(forming) < 2 or count == 1:
        return np.zeros(len(found), int)
    tree = linkage(found[forming], "average", metric="cosine")
    if count is not None:
        return _grouped(found, lengths_s, forming, tree, count)
    best, chosen = LEAST_SILHOUETTE, np.zeros(len(found), int)
    for several in range(2, min(MOST_VOICES, len(forming) - 1) + 1):
        labels = _grouped(found, lengths_s, forming, tree, several)
        score = _silhouette(found[forming], labels[forming])
        if score > best:
            best, chosen = score, labels
    return chosen


def _silhouette(found: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean silhouette of the cosine, −1 … 1; −1 where there is one group only."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(labels)) < len(labels):
        return -1.0
    return float(silhouette_score(found, labels, metric="cosine"))


def _grouped(found: np.ndarray, lengths_s: np.ndarray, forming: np.ndarray, tree: np.ndarray, count: int) -> np.ndarray:
    """Return the voice of each stretch for that many voices, in the order in which they are first heard."""
    from scipy.cluster.hierarchy import fcluster

    # Lone odd stretches split off before two voices do: cut deeper until there are enough voices of some length, and
    # where there never are, take the first cut that has the most.
    groups, kept = np.ones(len(forming), int), [1]
    for pieces in range(2, len(forming) + 1):
        deeper = fcluster(tree, pieces, "maxclust")
        large = _large(deeper, lengths_s[forming])
        if len(large) > len(kept):
            groups, kept = deeper, large
        if len(kept) >= count:
            break
    centres = np.stack([found[forming[groups == group]].mean(axis=0) for group in kept[:count]])
    for _ in range(10):
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        labels = (found @ centres.T).argmax(axis=1)
        moved = [
            (found[labels == k] * lengths_s[labels == k, None]).sum(axis=0) if (labels == k).any() else centres[k]
            for k in range(len(centres))
        ]
        centres = np.stack(moved)
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    order: np.ndarray = np.argsort(np.argsort(first))[numbers]
    return order


def _large(groups: np.ndarray, lengths_s: np.ndarray) -> list[int]:
    """Return the groups that hold enough of the speech to be a voice, the longest first; at least one."""
    names = np.unique(groups)
    spoken = np.array([lengths_s[groups == name].sum() for name in names])
    order = np.argsort(-spoken, kind="stable")
    large = [int(names[i]) for i in order if spoken[i] >= LEAST_SHARE * spoken.sum()]
    return large or [int(names[order[0]])]


def error_rate(reference: Sequence[Turn], found: Sequence[Turn], collar_s: float = 0.0) -> float:
    """Return the diarisation error rate: missed, false and confused time over the time spoken in the reference.

    Voices are matched one to one so that the most time agrees (NIST RT-09 evaluation plan). With a collar, ``collar_s``
    on both sides of every boundary of the reference is not scored. One voice at a time on either side.
    """
    from scipy.optimize import linear_sum_assignment

    turns = [*reference, *found]
    near = [(at - collar_s, at + collar_s) for turn in reference for at in (turn.start_s, turn.end_s)]
    edges = np.unique([t for turn in turns for t in (turn.start_s, turn.end_s)] + [t for pair in near for t in pair])
    middles, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    if collar_s > 0:
        for low, high in near:
            widths = np.where((middles > low) & (middles < high), 0.0, widths)
    truth, guess = (_voice_at(side, middles) for side in (reference, found))
    spoken = widths[truth >= 0].sum()
    if not spoken:
        return float("nan")
    both = (truth >= 0) & (guess >= 0)
    table = np.zeros((truth.max() + 1, max(0, guess.max()) + 1))
    np.add.at(table, (truth[both], guess[both]), widths[both])
    rows, columns = linear_sum_assignment(-table)
    wrong = widths[(truth >= 0) | (guess >= 0)].sum() - table[rows, columns].sum()
    return float(wrong / spoken)


def _voice_at(turns: Iterable[Turn], times_s: np.ndarray) -> np.ndarray:
    """Return the voice at each time, −1 where there is none."""
    found = np.full(len(times_s), -1)
    for turn in turns:
        found[(times_s >= turn.start_s) & (times_s < turn.end_s)] = turn.voice
    return found
