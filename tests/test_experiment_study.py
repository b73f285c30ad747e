"""Which cue drives a model: a model that listens to one cue is told by it, and figures over clips are their means."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explain import experiment_study as room
from explain.intervention import EXPERIMENTS
from explain.samples import samples
from explain.study_clips import Clip
from pages.parts import driving_cues
from ser_core.registry import load_model
from tests.test_intervention import OneCueModel


def clip() -> Clip:
    path = next(sample.path for sample in samples() if "neutral_woman" in str(sample.path))
    return Clip(str(path), "samples", "one", "female", "neutral")


@pytest.mark.parametrize(
    ("cue", "driver", "other"), [("pitch", "pitch_level", "loudness"), ("level", "loudness", "pitch_level")]
)
def test_a_model_that_hears_one_cue_is_driven_by_it(cue: str, driver: str, other: str) -> None:
    rows = {row["experiment"]: row for row in room.clip_rows(clip(), OneCueModel(cue), ("pitch_level", "loudness"))}
    assert rows[driver]["turned"] and not rows[other]["turned"]
    # Another pitch takes other harmonics into the level, a little.
    assert rows[driver]["moved"] > 0.5 > 3 * rows[other]["moved"]
    # Both classes together stay at one; a higher dose speaks for "high".
    assert rows[driver]["highest_high"] == pytest.approx(-rows[driver]["highest_low"], abs=1e-6)
    assert rows[driver]["highest_high"] > 0.2 > rows[driver]["lowest_high"]


def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    made = []
    for experiment, share in (("loudness", 0.75), ("tempo", 0.5), ("pitch_level", 0.25)):
        for place in range(40):
            made.append(
                {"clip": f"c{place}", "speaker": f"s{place % 8}", "model": "m", "experiment": experiment}
                | {"turned": place < 40 * share, "turned_by_resynthesis": place < 2, "moved": random.random()}
                | {"moved_by_resynthesis": 0.01, "lowest_anger": -0.1, "highest_anger": 0.3, "highest_calm": np.nan}
            )
    return pd.DataFrame(made)


def test_figures_are_means_over_clips_with_intervals_over_speakers() -> None:
    found = room.summary(rows(), replicates=500).set_index(["experiment", "what"])
    turned = found.loc[("loudness", room.TURNED)]
    assert (turned["value"], turned["clips"], turned["speakers"]) == (0.75, 40, 8)
    assert turned["low"] < 0.75 < turned["high"]
    assert found.loc[("tempo", room.TURNED + room.BY_RESYNTHESIS), "value"] == pytest.approx(2 / 40)
    moved = rows().query("experiment == 'tempo'")["moved"].mean()
    assert found.loc[("tempo", room.MOVED), "value"] == pytest.approx(moved)
    assert found.loc[("tempo", "highest: anger"), ["value", "low", "high"]].tolist() == pytest.approx([0.3] * 3)
    assert ("tempo", "highest: calm") not in found.index  # no model of these knows it


def test_the_sentence_names_what_turns_the_answer_most_and_least() -> None:
    said = room.driving_sentence("m", room.summary(rows(), replicates=500))
    assert said.startswith("Over 40 held-out clips, what turns this model’s answer most often is loudness (75 % [")
    assert "−18 dB to full scale; resynthesis alone 5 %), then tempo (50 %" in said
    assert said.endswith("resynthesis alone 5 %).") and "least often pitch level (25 %" in said
    assert room.driving_sentence("another", room.summary(rows(), replicates=10)) == ""


def test_the_stored_study_is_of_models_and_cues_that_are_there() -> None:
    found = room.read_summary()
    if found.empty:
        pytest.skip("the study has not been run")
    assert set(found["experiment"]) == set(EXPERIMENTS)
    assert all(load_model(name).card.answer == "emotion" for name in found["model"].unique())
    assert found["value"].between(-1, 1).all()


def test_the_page_shows_every_model_and_cue(tmp_path: Path) -> None:
    found = room.summary(rows(), replicates=100)
    shown = driving_cues.of_models(found)
    assert shown.count("<tr>") == 2 and "75 %" in shown and "Loudness" in shown
    emotions = driving_cues.of_emotions(found)
    assert "+30" in emotions and "−10" in emotions and "anger" in emotions
