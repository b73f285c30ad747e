"""The leak detector: planted leaks are found, clean splits are not accused, and URDU-Dataset trips."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ser_core import leaks
from ser_core.__main__ import main
from ser_core.corpora import find_corpora, read_corpus
from ser_core.errors import CorpusError
from ser_core.metrics import confusion
from ser_core.settings import settings

EMOTIONS = ("anger", "happiness", "neutral", "sadness")


def balanced(speakers: int = 12, sentences: int = 3) -> pd.DataFrame:
    """Every speaker says every sentence in every emotion."""
    rows = [
        {"name": f"s{s}-t{t}-{e}", "speaker": f"s{s}", "emotion": e, "text_id": f"t{t}"}
        for s in range(speakers)
        for t in range(sentences)
        for e in EMOTIONS
    ]
    return pd.DataFrame(rows)


def by_speaker(table: pd.DataFrame) -> list[str]:
    return ["test" if int(name[1:]) < 3 else "train" for name in table["speaker"]]


def of(found: leaks.Leaks, what: str) -> leaks.Shared:
    return next(each for each in found.shared if each.what == what)


def test_a_speaker_disjoint_split_is_not_accused() -> None:
    table = balanced()
    hashes = [f"{place}" for place in range(len(table))]
    found = leaks.find_leaks(table, by_speaker(table), hashes)
    assert not found.leaks
    assert not found.confounded
    assert of(found, "speaker").sentence == "No speaker is on both sides."
    assert of(found, "sentence").values == ("t0", "t1", "t2")
    assert found.by_sentence is not None
    assert not leaks.trips(found.by_sentence), "every sentence is said in every emotion"


@given(st.integers(3, 11), st.integers(0, 11))
@hypothesis_settings(max_examples=20)
def test_one_planted_clip_of_a_training_speaker_is_found(speaker: int, clip: int) -> None:
    table = balanced()
    split = by_speaker(table)
    planted = table.index[table["speaker"] == f"s{speaker}"][clip]
    split[planted] = "test"
    found = leaks.find_leaks(table, split)
    assert [each.what for each in found.leaks] == ["speaker"]
    assert of(found, "speaker").values == (f"s{speaker}",)
    assert of(found, "speaker").clips == (table["name"][planted],)


def test_a_planted_copy_is_found_in_another_container_and_under_another_speaker(tmp_path: Path) -> None:
    table = balanced(4, 1)
    files = []
    for place in range(len(table)):
        sound = np.random.default_rng(place % 15).integers(-3000, 3000, 6000).astype(np.int16)  # the last is the first
        files.append(str(tmp_path / f"{place}.{'flac' if place % 2 else 'wav'}"))
        sf.write(files[-1], sound, 16_000, subtype="PCM_16")
    found = leaks.find_leaks(table, by_speaker(table), leaks.audio_hashes(files))
    assert [each.what for each in found.leaks] == ["recording"]
    assert of(found, "recording").clips == (table["name"][0],)
    assert "1 of 15 recordings" in of(found, "recording").sentence


def test_dealing_clips_instead_of_speakers_is_found_out() -> None:
    table = balanced()
    found = leaks.find_leaks(table, leaks.clip_split(table, 0.5).tolist())
    assert len(of(found, "speaker").values) == 12
    assert of(found, "speaker").of == 12


def test_speakers_of_one_emotion_each_trip_and_what_is_unknown_is_said() -> None:
    table = balanced(8, 2)
    table = table[[e == EMOTIONS[int(s[1:]) % 4] for s, e in zip(table["speaker"], table["emotion"], strict=True)]]
    table = table.assign(text_id=np.nan)
    found = leaks.find_leaks(table, by_speaker(table))
    assert found.confounded
    assert found.by_speaker is not None
    assert found.by_speaker.recall_from_speaker == 1
    assert found.by_sentence is None
    assert of(found, "sentence").sentence.startswith("Nothing is known about the sentences")
    with pytest.raises(CorpusError, match="two parts or more"):
        leaks.find_leaks(table, ["train"] * len(table))


@pytest.mark.parametrize("names", [("train", "eval"), ("Train", "Test"), ("train", "dev"), ("training", "Evaluation")])
def test_the_clips_of_the_tested_part_are_listed_whatever_it_is_called(names: tuple[str, str]) -> None:
    table = balanced()
    split = [names[part == "test"] for part in by_speaker(table)]
    planted = table.index[table["speaker"] == "s7"][2]
    split[planted] = names[1]
    assert of(leaks.find_leaks(table, split), "speaker").clips == (table["name"][planted],)


def test_several_test_parts_are_tested_and_validation_is_not() -> None:
    table = balanced()
    split = np.select([table["speaker"] == "s0", table["speaker"] == "s1"], ["test1", "test2"], "train")
    split = np.where(table["speaker"] == "s2", "validation", split)
    copies = {0: "one", 12: "two", 24: "three", 36: "one", 37: "two", 38: "three"}  # of each part and of training
    found = leaks.find_leaks(table, split.tolist(), [copies.get(place, str(place)) for place in range(len(table))])
    shared = of(found, "recording")
    assert shared.clips == (table["name"][0], table["name"][12])
    assert shared.values == tuple(sorted(table["name"][[0, 12, 24]]))


def test_a_recording_in_training_and_validation_is_a_leak_though_no_test_clip_is_concerned() -> None:
    table = balanced()
    split = [{"s0": "test", "s1": "validation"}.get(speaker, "train") for speaker in table["speaker"]]
    found = leaks.find_leaks(table, split, ["same" if place in (12, 24) else str(place) for place in range(len(table))])
    shared = of(found, "recording")
    assert shared.verdict == "leak" and shared.clips == () and [each.what for each in found.leaks] == ["recording"]
    assert f"1 of {len(table) - 1} recordings are on both sides, 0 clips of the test part" in shared.sentence


def test_speakers_and_sentences_with_one_clip_are_not_judged() -> None:
    table = balanced(100, 1).drop_duplicates("speaker")
    table = table.assign(emotion=[EMOTIONS[place % 4] for place in range(100)], text_id=[f"t{k}" for k in range(100)])
    split = leaks.clip_split(table).tolist()
    found = leaks.find_leaks(table, split)
    assert not found.confounded and found.by_speaker is None and found.by_sentence is None
    mixed = pd.concat([table, balanced(3).assign(speaker=lambda known: "x" + known["speaker"])], ignore_index=True)
    judged = leaks.find_leaks(mixed, leaks.clip_split(mixed).tolist()).by_speaker
    assert judged is not None and (judged.one_emotion, judged.speakers) == (0, 3)


@pytest.mark.parametrize(("corpus", "confounded"), [("urdu", True), ("ravdess", False), ("emodb", False)])
def test_urdu_dataset_trips_and_acted_corpora_do_not(corpus: str, confounded: bool) -> None:
    folder = find_corpora(settings().corpora_dirs).get(corpus)
    if folder is None:
        pytest.skip(f"{corpus} is not at hand")
    table = read_corpus(folder).table
    found = leaks.find_leaks(table, leaks.fold_split(read_corpus(folder)).tolist())
    assert found.confounded is confounded
    assert not found.leaks


def test_a_planted_label_swap_shows_in_the_confusion() -> None:
    random = np.random.default_rng(0)
    truth = random.choice(EMOTIONS, 400)
    answers = np.where(random.random(400) < 0.7, truth, random.choice(EMOTIONS, 400))
    assert leaks.swapped_labels(truth, answers) == ()
    swap = {"anger": "sadness", "sadness": "anger"}
    labelled = [swap.get(word, word) for word in truth]
    assert leaks.swapped_labels(labelled, answers) == (("anger", "sadness"),)
    matrix = confusion(labelled, list(answers), EMOTIONS)
    assert matrix[0].argmax() == 3
    assert matrix[3].argmax() == 0
    assert matrix[1].argmax() == 1


def test_a_recording_that_two_corpora_share_is_found_by_the_command(tmp_path: Path, capsys) -> None:
    for name, seeds in (("one", (0, 1, 2, 3)), ("two", (4, 5, 2, 6))):
        folder = tmp_path / name
        folder.mkdir()
        rows = []
        for place, seed in enumerate(seeds):
            sound = np.random.default_rng(seed).integers(-3000, 3000, 6000).astype(np.int16)
            file = f"{name}-{place}.{'wav' if name == 'one' else 'flac'}"
            sf.write(folder / file, sound, 16_000, subtype="PCM_16")
            rows.append({"file": file, "speaker": f"s{place // 2}", "emotion": EMOTIONS[place]})
        pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    assert main(["leaks", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert "No speaker is on both sides." in said and "1 of 7 recordings are on both sides" in said and "two-2" in said


@pytest.mark.parametrize(("speakers", "clips", "emotions", "common"), [(100, 6, 3, 0.9), (200, 2, 4, 0.25)])
def test_emotions_that_are_independent_of_speakers_with_few_clips_never_trip(speakers, clips, emotions, common) -> None:
    shares = [common, *[(1 - common) / (emotions - 1)] * (emotions - 1)]
    for seed in range(20):
        drawn = np.random.default_rng(seed).choice([f"e{k}" for k in range(emotions)], speakers * clips, p=shares)
        table = pd.DataFrame({"speaker": np.repeat(np.arange(speakers).astype(str), clips), "emotion": drawn})
        found = leaks.confounding(table, "speaker")
        assert found is not None and not leaks.trips(found)


def test_a_corpus_of_one_emotion_is_not_confounded_and_says_nothing_that_is_no_number() -> None:
    found = leaks.confounding(pd.DataFrame({"speaker": list("aabb"), "emotion": "anger"}), "speaker")
    assert found is not None and not leaks.trips(found) and "nan" not in leaks.confounding_words(found)
