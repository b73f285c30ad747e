import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from torch import nn

from ser_core import crossvalidation
from ser_core.bundled import PLANS
from ser_core.systems import co_vada, whisper_statistics
from tests.test_conversion import RATE, vowel


def clips(count: int = 240) -> pd.DataFrame:
    """Clips of eight speakers and two emotions."""
    return pd.DataFrame(
        {
            "clip": [f"clip-{i}" for i in range(count)],
            "file": [f"clip-{i}.wav" for i in range(count)],
            "speaker": [f"corpus/s{i % 8}" for i in range(count)],
            "emotion": [("anger", "sadness")[i // 8 % 2] for i in range(count)],
        }
    )


def test_confident_and_right_is_guiding_and_all_else_is_contrary() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8]])
    assert co_vada.bias_guiding(probabilities, np.array([0, 0, 0, 1])).tolist() == [True, False, False, True]


def test_the_bias_model_learns_the_easy_clips_first() -> None:
    random = np.random.default_rng(0)
    classes = np.arange(2000) % 2
    easy = np.arange(2000) < 1500
    features = random.normal(size=(2000, 50))
    features[:, 0] += np.where(easy, 4.0 * classes, 0.0)
    features[:, 1] += np.where(easy, 0.0, 0.5 * classes)
    wide = np.repeat(features, 100, axis=1)
    probabilities = co_vada.bias_probabilities(wide, classes)
    guiding = co_vada.bias_guiding(probabilities, classes)
    assert guiding[easy].mean() > 0.5 > 2 * guiding[~easy].mean()
    assert (co_vada.bias_probabilities(wide, classes) == probabilities).all()


def test_each_guiding_clip_takes_the_voice_of_another_speaker_who_has_contrary_clips_of_its_emotion() -> None:
    table = clips()
    guiding = ~table["speaker"].isin(["corpus/s1", "corpus/s2", "corpus/s3"]).to_numpy()
    guiding |= (table["speaker"] == "corpus/s3").to_numpy() & (table["emotion"] == "sadness").to_numpy()
    pairs = co_vada.assigned(table, guiding)
    assert len(pairs) == guiding.sum()
    assert (pairs["voice"] != pairs["speaker"]).all()
    assert set(pairs.loc[pairs["emotion"] == "anger", "voice"]) == {"corpus/s1", "corpus/s2", "corpus/s3"}
    assert set(pairs.loc[pairs["emotion"] == "sadness", "voice"]) == {"corpus/s1", "corpus/s2"}
    assert pairs["emotion"].tolist() == table.loc[guiding, "emotion"].tolist()


def test_voices_are_drawn_in_proportion_to_contrary_clips() -> None:
    table = clips(8000)
    own = table["speaker"] == "corpus/s0"
    contrary = (table["speaker"] == "corpus/s1") | ((table["speaker"] == "corpus/s2") & (table.index % 3 == 0))
    share = (co_vada.assigned(table[own | contrary], own[own | contrary].to_numpy())["voice"] == "corpus/s1").mean()
    expected = contrary[table["speaker"] == "corpus/s1"].sum() / contrary.sum()
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / own.sum()))


def test_folds_that_share_clips_share_voices_and_nobody_takes_a_voice_from_outside_the_training() -> None:
    table = clips()
    guiding = np.arange(len(table)) % 3 > 0
    whole = co_vada.assigned(table, guiding).set_index("clip")["voice"]
    inside = (table["speaker"] != "corpus/s5").to_numpy()
    fold = co_vada.assigned(table[inside], guiding[inside]).set_index("clip")["voice"]
    assert "corpus/s5" not in set(fold)
    kept = whole[fold.index]
    assert (fold[kept != "corpus/s5"] == kept[kept != "corpus/s5"]).all()


def test_a_clip_with_nobody_to_take_a_voice_from_is_left_out() -> None:
    table = clips(16)
    assert co_vada.assigned(table, np.ones(16, dtype=bool)).empty
    alone = table["speaker"] == "corpus/s0"
    assert co_vada.assigned(table[alone], np.array([True, False])).empty


def test_training_gets_the_converted_clips_of_training_speakers_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # so little is done sooner than workers start
    table = clips(48)
    random = np.random.default_rng(0)
    for place, name in enumerate(table["file"]):
        sf.write(tmp_path / name, vowel(130 + 12 * (place % 8) + random.normal(), seconds=0.6), RATE)
    table["file"] = [str(tmp_path / name) for name in table["file"]]
    features = random.normal(size=(400, len(table))).astype(np.float32)
    features[:200, table["emotion"] == "anger"] += 2.0
    monkeypatch.setattr(co_vada, "prepared", lambda plan, files: list(features.T[:, :, None]))
    monkeypatch.setattr(co_vada, "BATCH", 4)
    monkeypatch.setattr(co_vada, "RATE", 3e-4)
    training = ~table["speaker"].isin(["corpus/s6", "corpus/s7"]).to_numpy()
    # Some must be left for others to take their voice.
    features[:, training & (np.arange(48) % 4 == 0)] *= -1
    more = co_vada.more(table, training, "praat")
    copies = co_vada.more(table, training, co_vada.COPIES)
    assert 0 < len(more) < training.sum()
    assert more["clip"].tolist() == copies["clip"].tolist()
    assert set(copies["file"]) <= set(table["file"]) and not set(more["file"]) & set(table["file"])
    assert not {"corpus/s6", "corpus/s7"} & (set(more["speaker"]) | set(more["voice"]))
    assert all(Path(file).exists() for file in more["file"])
    assert co_vada.more(table, training, "praat")["file"].tolist() == more["file"].tolist()
    changed = copies["file"].iloc[0]
    sf.write(changed, vowel(170, seconds=0.6), RATE)
    again = co_vada.more(table, training, "praat")["file"]
    assert (again != more["file"]).tolist()[0] and all(Path(file).exists() for file in again)
    pd.testing.assert_series_equal(
        more.set_index("clip")["emotion"], table.set_index("clip")["emotion"].loc[more["clip"]]
    )


def test_a_plan_with_augmentation_trains_on_originals_and_converted_clips_and_is_tested_on_originals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(PLANS["co-vada-after"], augmentation="co_vada:copies", task="crema_d")
    emotions = plan.labels
    table = pd.DataFrame(
        {
            "clip": [f"clip-{i}" for i in range(360)],
            "speaker": [f"s{i // 12:02d}" for i in range(360)],
            "emotion": [emotions[i % 6] for i in range(360)],
        }
    )
    table["file"] = table["clip"]
    table["fold"] = [int(name[1:]) % 5 for name in table["speaker"]]
    random = np.random.default_rng(0)
    column = {name: random.normal(size=(12, 1)) + np.eye(12)[:, [i % 6]] for i, name in enumerate(table["clip"])}
    monkeypatch.setattr(crossvalidation, "prepared", lambda plan, asked: [column[file] for file in asked["file"]])
    given: dict[str, object] = {}

    def more(whole: pd.DataFrame, training: np.ndarray, option: str) -> pd.DataFrame:
        given.update(option=option, speakers=set(whole.loc[training, "speaker"]))
        return whole[training].head(7)

    def fit(values: list[np.ndarray], targets: np.ndarray, *others: object, **options: object) -> nn.Module:
        given.update(values=np.concatenate(values, axis=1).T, targets=targets)
        return whisper_statistics.Heads(12, 6).eval()

    monkeypatch.setattr(co_vada, "more", more)
    monkeypatch.setattr(whisper_statistics, "fit", fit)
    rows = crossvalidation.run_fold(plan, table, 0, tmp_path, ship=False)
    tested = set(table.loc[table["fold"] == 0, "speaker"])
    assert given["option"] == "copies" and not tested & given["speakers"]
    training = table["speaker"].isin(given["speakers"]).to_numpy()
    assert len(given["values"]) == len(given["targets"]) == training.sum() + 7
    assert (given["values"][-7:] == given["values"][:7]).all() and (given["targets"][-7:] == given["targets"][:7]).all()
    assert set(rows["speaker"]) == tested and len(rows) == len(table[table["fold"] == 0])
