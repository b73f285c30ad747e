"""What a comparison found, in plain words, made from its figures only."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from explain.change import HIGHER, LOWER, UNKNOWN, Change
from explain.expert import shared_name, shared_names
from explain.words import cue_name, in_percent, listed
from ser_core.numbers import signed

if TYPE_CHECKING:
    from explain.explanation import Explanation
    from explain.map_pairs import MapPair
    from explain.relative_cues import RelativeCue

WHY_RELATIVE = (
    "Two speakers differ in larynx and vocal tract, and two recordings in level, whatever they feel: a man is not "
    "sadder than a woman because his voice is lower. So no figure in Hz or dB is compared between them. What is "
    "compared has no absolute level (ranges, slopes, rate, pauses) or is each voice’s place in neutral speech, of its "
    "own sex where that is set."
)
_TOLD = 4


def models_in_words(titles: Sequence[str], sides: "Sequence[Explanation]") -> list[str]:
    """Which models agree on the class, and how far their probabilities of it lie apart."""
    groups: dict[str, list[str]] = {}
    apart = [title for title, side in zip(titles, sides, strict=True) if side.prediction.values is not None]
    for title, side in zip(titles, sides, strict=True):
        if side.prediction.values is None:
            groups.setdefault(shared_name(side.prediction.top, side.prediction.emotions), []).append(title)
    ranked = sorted(groups.items(), key=lambda item: -len(item[1]))
    said = []
    if ranked:
        count = sum(len(names) for names in groups.values())
        (emotion, names), *others = ranked
        if count == 1:
            said.append(f"{names[0]} answers {emotion}.")
        elif not others:
            said.append(f"{'Both' if count == 2 else f'All {count}'} models answer {emotion}.")
        elif len(names) == 1:
            said.append(f"No two models agree: {listed([f'{n[0]} answers {e}' for e, n in ranked])}.")
        else:
            rest = [f"{listed(n)} {'answers' if len(n) == 1 else 'answer'} {e}" for e, n in others]
            said.append(f"{len(names)} of {count} models answer {emotion} ({listed(names)}); {listed(rest)}.")
        known = [
            (side.prediction.probability(own), title)
            for title, side in zip(titles, sides, strict=True)
            # A share of listeners is no probability.
            if side.prediction.answer == "emotion"
            and (own := shared_names(side.prediction.emotions).get(emotion)) is not None
        ]
        if len(known) > 1 and max(known)[0] - min(known)[0] >= 0.01:
            (low, lowest), (high, highest) = min(known), max(known)
            said.append(
                f"The probability of {emotion} goes from {in_percent(low)} ({lowest}) to {in_percent(high)} "
                f"({highest})."
            )
    if apart:
        verb = "answers" if len(apart) == 1 else "answer"
        said.append(f"{listed(apart)} {verb} with dimensions, which cannot be counted among classes.")
    return said


def maps_in_words(titles: Sequence[str], sides: "Sequence[Explanation]", pairs: "Sequence[MapPair]") -> list[str]:
    """Whether the maps agree, and which do most and least."""
    names = {
        shared_name(side.target.emotion, side.prediction.emotions) + (side.target.direction or "") for side in sides
    }
    said = []
    if len(names) > 1:
        told = [f"{title} {side.target.name}" for title, side in zip(titles, sides, strict=True)]
        said.append(f"The maps answer different questions: they explain {listed(told)}.")
    judged = [pair for pair in pairs if pair.alike is not None]
    if not judged:
        return [*said, "Their maps cannot be compared: one has no time axis, or the clip is too short to turn a map."]
    alike = [pair for pair in judged if pair.alike]
    judged.sort(key=lambda pair: (bool(pair.alike), (pair.correlation or 0.0) - (pair.correlation_chance or 0.0)))
    if len(judged) == 1:
        verdict = "alike beyond chance" if alike else "by rank correlation no more alike than chance"
        (only,) = judged
        whose = "Their maps" if len(pairs) == 1 else f"The maps of {titles[only.one]} and {titles[only.other]}"
        apart = "" if len(pairs) == 1 else " No other two maps can be compared."
        return [*said, f"{whose} are {verdict}: {_pair_words(only)}.{apart}"]
    if len(judged) < len(pairs):
        said.append(f"{len(pairs) - len(judged)} of {len(pairs)} pairs of maps cannot be compared.")
    said.append(f"{len(alike)} of {len(judged)} pairs of maps are alike beyond chance.")
    for word, pair in (("Most alike", judged[-1]), ("Least alike", judged[0])):
        said.append(f"{word}: {titles[pair.one]} and {titles[pair.other]}; {_pair_words(pair)}.")
    return said


def _pair_words(pair: "MapPair") -> str:
    value, chance = (signed(each or 0.0) for each in (pair.correlation, pair.correlation_chance))
    words = f"rank correlation {value} (chance up to {chance})"
    if pair.overlap is not None:
        chance = in_percent(pair.overlap_chance or 0.0)
        words += f", salient seconds overlap by {in_percent(pair.overlap)} (chance up to {chance})"
    return words


def answers_in_words(titles: Sequence[str], sides: "Sequence[Explanation]") -> list[str]:
    """Return what one model answers to two clips."""
    first, second = (side.prediction for side in sides)
    if first.values is not None:
        moves = [f"{n} from {signed(first.value(n))} to {signed(second.value(n))}" for n in first.emotions]
        return [f"The model moves {listed(moves)}."]
    emotion = sides[0].target.emotion
    same = (
        f"The model answers {first.top} to both"
        if first.top == second.top
        else f"The model answers {first.top} to {titles[0]} and {second.top} to {titles[1]}"
    )
    what = "share of listeners who would hear" if first.answer == "distribution" else "probability of"
    return [
        f"{same}; the {what} {emotion} goes from {in_percent(first.probability(emotion))} to "
        f"{in_percent(second.probability(emotion))}."
    ]


def changes_in_words(found: Sequence[Change]) -> list[str]:
    """Return which cues of one speaker have changed by more than the error of measuring them."""
    # The median in Hz is the pitch level in semitones once more.
    judged = [row for row in found if row.verdict != UNKNOWN and row.cue != "f0_median"]
    changed = [row for row in judged if row.verdict in (HIGHER, LOWER)]
    changed.sort(key=lambda row: -abs(row.difference or 0.0) / max(row.smallest or 0.0, 1e-9))
    if not changed:
        return [f"No cue of {len(judged)} has changed by more than the error of measuring it."]
    told = [
        f"{cue_name(row.cue)} {_three_digits(row.difference or 0.0)} {row.unit} (smallest detectable "
        f"{_three_digits(row.smallest or 0.0).lstrip('+')} {row.unit})"
        for row in changed[:_TOLD]
    ]
    more = f" and {len(changed) - _TOLD} more" if len(changed) > _TOLD else ""
    return [
        f"{len(changed)} of {len(judged)} cues have changed by more than the error of measuring them: "
        f"{listed(told)}{more}.",
        "That a change is measured does not say why: other words, another microphone or another day change a voice, "
        "too.",
    ]


def relative_in_words(titles: Sequence[str], relative: "Sequence[RelativeCue]", sexes: Sequence[str]) -> list[str]:
    """Return in which cues two speakers lie farthest apart in neutral speech, of their own sexes where they are set."""
    placed = [(row.difference, row) for row in relative if row.difference is not None]
    if not placed:
        return ["No cue can be placed in neutral speech here."]
    placed.sort(key=lambda item: -abs(item[0]))
    told = [
        f"{cue_name(row.cue)} (percentile {row.percentiles[0]:.0f} for {titles[0]}, {row.percentiles[1]:.0f} for "
        f"{titles[1]})"
        for _, row in placed[: _TOLD - 1]
    ]
    unset = [title for title, sex in zip(titles, sexes, strict=True) if sex == "unknown"]
    whose = "" if unset else " of each speaker’s own sex"
    said = [f"Against neutral speech{whose}, the two lie farthest apart in {listed(told)}."]
    if unset:
        said.append(
            f"The sex of {listed([f'the speaker of {title}' for title in unset])} is not set, so both sexes’ neutral "
            "speech is used, in which pitch and formants of women easily count as high and those of men as low."
        )
    return said


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):+g}".replace("-", "−")
