"""What the reader opened, as the report prints it: trust tests, voice experiments, and further parts."""

from typing import Any

import numpy as np

from explain import figures_of_tests
from explain.explanation import Explanation
from explain.intervention import DoseResponse, words_of
from explain.opened import Opened
from explain.printing import number, p_value, percent
from explain.removal import Curve
from explain.trust import Trust

_MARKS = {"holds": "✓ holds", "weak": "~ weak", "fails": "✗ fails", "cannot be decided": "– cannot be decided"}

_DOTTED = "Dotted: where the answer becomes another. "


def summary(e: Explanation, opened: Opened) -> list[str]:
    """Return what a reader in a hurry needs: the explanation in words, and the outcome of all that was opened."""
    said = [e.paragraph]
    if opened.trust is not None:
        said.append(f"Can the explanation be trusted? {_sentence(opened.trust.sentence)}")
    else:
        said.append("Whether the map is true of the model was not tested for this report.")
    said += [f"Voice experiment: {each.sentence}" for each in opened.experiments]
    said += [f"{section.title}: {section.sentences[0]}" for section in opened.sections if section.sentences]
    return said


def drawings(opened: Opened) -> dict[str, str]:
    """Return the SVG figures of what was opened by their key in the template."""
    found = {f"dose-{number}": figures_of_tests.doses(each) for number, each in enumerate(opened.experiments)}
    if opened.trust is not None and opened.trust.curves:
        found["removals"] = figures_of_tests.removals(opened.trust.curves, opened.trust.of, opened.trust.target.unit)
    return found


def contents(e: Explanation, opened: Opened) -> dict[str, Any]:
    """Return the report's data about what was opened."""
    return {
        "summary": summary(e, opened),
        "trust": [] if opened.trust is None else [_trust(opened.trust)],
        "experiments": [_experiment(each, place) for place, each in enumerate(opened.experiments)],
        "sections": [
            {
                "title": section.title,
                "sentences": list(section.sentences),
                "tables": [
                    {"title": table.title, "head": list(table.head), "rows": [list(row) for row in table.rows]}
                    for table in section.tables
                ],
            }
            for section in opened.sections
        ],
    }


def _trust(found: Trust) -> dict[str, Any]:
    drawn = [
        {
            "key": "removals",
            "alt": "; ".join(_curve_in_words(curve, found) for curve in found.curves) + ".",
            "caption": found.reading,
        }
    ]
    return {
        "sentence": _sentence(found.sentence),
        "words": "A map is a claim about the model. Each test has its own chance level, drawn for this clip: a test "
        "holds where the value passes the limit, which chance passes in at most one draw of twenty. Faithful to the "
        "model is not plausible to an expert; the two are never mixed here.",
        "figures": drawn if found.curves else [],
        "head": ["test", "verdict", "value", "limit by chance", "p", "what was found"],
        "rows": [
            [
                test.name,
                _MARKS[test.verdict],
                number(test.value, test.unit if test.unit == found.target.unit else ""),
                test.limit,
                p_value(test.p),
                _sentence(test.words),
            ]
            for test in found.tests
        ],
    }


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _curve_in_words(curve: Curve, found: Trust) -> str:
    return (
        f"{curve.name}: the {found.target.unit} goes from {number(curve.ours[0])} to {number(curve.ours[-1])} with the "
        f"salient {found.of} and to {number(curve.random[-1])} with {found.chance}"
    )


def _experiment(found: DoseResponse, place: int) -> dict[str, Any]:
    kind, where = found.experiment, "the whole clip"
    if found.start_s is not None and found.end_s is not None:
        where = f"{found.start_s:.2f} to {found.end_s:.2f} s"
    answers = [found.emotions[int(np.argmax(shares))] for shares in found.probabilities]
    return {
        "title": f"{kind.title} ({where})",
        "sentence": found.sentence,
        "figures": [
            {
                "key": f"dose-{place}",
                "alt": f"Probability of {found.emotion} against {kind.title.lower()}: "
                + ", ".join(
                    f"{words_of(kind, float(dose))} {percent(float(share))}"
                    for dose, share in zip(found.doses, found.followed, strict=True)
                ),
                "caption": f"Probability of each class at each dose; thick: {found.emotion}. Dashed: the untouched "
                f"clip. {_DOTTED if found.turning_point is not None else ''}{found.control_sentence}",
            }
        ],
        "head": ["asked", "measured afterwards", f"probability of {found.emotion}", "answer"],
        "rows": [
            [words_of(kind, float(dose)), number(float(came), kind.measured), percent(float(share)), answer]
            for dose, came, share, answer in zip(found.doses, found.measured, found.followed, answers, strict=True)
        ],
    }
