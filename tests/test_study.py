from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explain import study, study_parts
from explain.cues import CueTracks
from explain.regions import Region
from explain.study_clips import Clip
from explain.study_parts import Part
from ser_core.registry import load_model
from ser_core.settings import ASSETS

STEP_S = 0.01


def tracks(speech: list[bool]) -> CueTracks:
    return SimpleNamespace(times_s=np.arange(len(speech)) * STEP_S, speech=np.array(speech))  # type: ignore[return-value]


def frames_of(regions: list[Region], where: CueTracks) -> list[int]:
    inside = [
        np.flatnonzero((where.times_s >= r.start_s - 1e-9) & (where.times_s < r.end_s - 1e-9) & where.speech)
        for r in regions
    ]
    return sorted(np.concatenate(inside).tolist()) if inside else []


def test_shifted_regions_go_round_the_speech_and_skip_the_pause() -> None:
    where = tracks([True] * 10 + [False] * 5 + [True] * 10)
    moved = study.shifted(where, [Region(1, 0.05, 0.08, 100.0, 900.0, 0.4)], 7)
    assert frames_of(moved, where) == [17, 18, 19]
    assert (moved[0].low_hz, moved[0].high_hz) == (100.0, 900.0)


def test_a_region_that_passes_the_end_comes_back_in_two_parts() -> None:
    where = tracks([True] * 20)
    moved = study.shifted(where, [Region(1, 0.16, 0.19, None, None, 1.0)], 2)
    assert frames_of(moved, where) == [0, 18, 19]
    assert len(moved) == 2


@settings(max_examples=50)
@given(st.lists(st.booleans(), min_size=4, max_size=60).filter(lambda s: sum(s) > 3), st.integers(1, 100))
def test_a_shift_keeps_the_number_of_speech_frames(speech: list[bool], shift: int) -> None:
    where = tracks(speech)
    end = len(speech) * STEP_S
    regions = [Region(1, 0.0, end / 3, None, None, 0.5), Region(2, end / 3, end / 2, None, None, 0.5)]
    before = frames_of(regions, where)
    assert len(frames_of(study.shifted(where, regions, shift), where)) == len(before)


def rows(agrees: float, chance: float, count: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "clip": [f"c{i}" for i in range(count)],
            "corpus": "toy",
            "speaker": [f"s{i % 10}" for i in range(count)],
            "emotion": "anger",
            "predicted": np.where(np.arange(count) % 3 == 0, "fear", "anger"),
            "model": "m",
            "method": "ig",
            "cue": "f0_mean",
            "status": np.where(random.random(count) < agrees, "agrees", "disagrees"),
            "chance": chance,
        }
    )


def test_regions_that_hold_no_more_than_any_other_stretch_have_no_excess() -> None:
    table = study.summary(rows(0.5, 0.5), replicates=1000).query("cue == 'all' and predicted == 'all'")
    assert ((table["low"] < 0) & (table["high"] > 0)).all()
    assert set(table["answer"]) == {"right", "wrong"}


def test_planted_evidence_has_an_excess_above_zero() -> None:
    table = study.summary(rows(0.95, 0.3), replicates=1000)
    right = table[(table["cue"] == "f0_mean") & (table["answer"] == "right") & (table["predicted"] == "anger")].iloc[0]
    assert right["low"] > 0.4
    assert right["clips"] == 40


def test_cues_that_neither_agree_nor_disagree_do_not_count() -> None:
    # of the six clips that are decided four were answered rightly
    contested = rows(1.0, 0.5).assign(status="contested")
    assert study.summary(pd.concat([contested, rows(1.0, 0.5, 6)]), replicates=10)["clips"].max() == 4


def test_a_clip_gives_one_row_for_every_cue_that_experts_speak_of() -> None:
    from explain.expert import OURS

    model, recording = load_model("egemaps-logistic"), sorted((ASSETS / "samples").glob("*.flac"))[0]
    clip = Clip(str(recording), "toy", "s", "female", "anger", 41.0, None, None)
    found = pd.DataFrame(study.clip_rows(clip, model, ["occlusion"]))
    assert found["cue"].tolist() == list(OURS)
    assert found["age"].eq(41.0).all()
    assert set(found["status"]) <= {
        "agrees",
        "disagrees",
        "contested",
        "not measurable",
        "no expectation",
        study.NO_REGION,
    }
    assert found["effect"].dropna().between(-1, 1).all()
    assert found["coverage"].between(0, 1).all()


def test_a_part_asks_its_methods_and_its_tests_of_every_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        study, "clip_rows", lambda clip, model, methods, *, trusted: asked.append((methods, trusted)) or []
    )
    monkeypatch.setattr(study_parts, "check_present", lambda files: None)
    clips = tuple(Clip(f"c{i}", "toy", "s", "female", "anger") for i in range(2))
    study._rows_of(Part("egemaps-logistic", ("ig", "saliency"), clips, 0, trusted=True))
    assert asked == [(("ig", "saliency"), True)] * 2
