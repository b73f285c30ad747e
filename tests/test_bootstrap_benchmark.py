"""What ``python -m benchmarks.bootstrap`` shows of the stored answers, here of made-up ones that take a second."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import bootstrap

CLASSES = ("anger", "fear", "neutral")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Speakers who are answered very unequally well, so that drawing clips instead of them would be seen."""
    random, rows = np.random.default_rng(0), []
    for number in range(24):
        skill = np.clip(random.normal(0.6, 0.2), 0.1, 0.95)
        for clip in range(30):
            answer = clip % 3 if random.random() < skill else int(random.integers(3))
            chances = {f"p_{name}": 0.8 if place == answer else 0.1 for place, name in enumerate(CLASSES)}
            facts = {"speaker": f"s{number:02d}", "sex": ("female", "male")[number % 2], "emotion": CLASSES[clip % 3]}
            rows.append(facts | chances)
    return pd.DataFrame(rows)


def test_our_intervals_are_those_of_brute_force_within_the_monte_carlo_error(rows: pd.DataFrame) -> None:
    ours, _, _ = bootstrap.our_own(rows)
    brute, _ = bootstrap.brute_force(rows, 400)
    apart = bootstrap.errors_apart(ours, brute, 400)
    assert len(apart) == 4 and max(apart) < 3.5  # UAR and the gap by sex, both limits


def test_drawing_clips_instead_of_speakers_would_be_seen(rows: pd.DataFrame) -> None:
    ours, _, _ = bootstrap.our_own(rows)
    clips, _ = bootstrap.brute_force(rows.assign(speaker=[f"c{number}" for number in range(len(rows))]), 400)
    assert max(bootstrap.errors_apart(ours, clips, 400)) > 10
