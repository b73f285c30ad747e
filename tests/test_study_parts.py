from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from explain import study_parts
from explain.study_clips import Clip
from explain.study_parts import Part
from ser_core.errors import AudioError, SettingError


def part(start: int, count: int) -> Part:
    clips = tuple(Clip(f"c{i}", "toy", "s", "female", "anger") for i in range(start, start + count))
    return Part("m", ("ig",), clips, start)


def test_a_stopped_study_goes_on_where_it_stopped_and_a_bad_clip_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def explained(clip: Clip, model: object) -> list[dict]:
        asked.append(clip.file)
        if clip.file == "c3":
            raise AudioError("c3 is damaged.")
        if clip.file == "c30" and asked.count("c30") == 1:
            raise KeyboardInterrupt
        return [{"clip": clip.file}]

    monkeypatch.setattr(study_parts, "model_for", lambda *whose: None)
    monkeypatch.setattr(study_parts, "check_present", lambda files: None)
    parts = [part(0, 20), part(20, 20), part(40, 5)]
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        study_parts.run(parts, partial(study_parts.over_clips, of_clip=explained), tmp_path, told.append)
    found = study_parts.run(parts, partial(study_parts.over_clips, of_clip=explained), tmp_path, told.append)
    assert len(found) == 44
    assert asked.count("c0") == 1
    assert any("c3" in line and "damaged" in line for line in told)


def test_when_time_is_up_no_part_is_begun_and_what_was_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 59.0, 61.0])
    monkeypatch.setattr(study_parts, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(study_parts, "model_for", lambda *whose: None)
    monkeypatch.setattr(study_parts, "check_present", lambda files: None)
    told: list[str] = []
    rows_of = partial(study_parts.over_clips, of_clip=lambda clip, model: [{"clip": clip.file}])
    found = study_parts.run([part(20 * i, 20) for i in range(9)], rows_of, tmp_path, told.append, minutes=1.0)
    assert len(found) == 40
    assert told[-1].startswith("Time is up: 2 of 9 parts")


def test_parts_of_other_clips_methods_or_tests_are_kept_apart() -> None:
    names = [
        part(0, 20).name,
        part(0, 19).name,
        replace(part(0, 20), methods=("ig", "grad_cam")).name,
        replace(part(0, 20), trusted=True).name,
        replace(part(0, 20), folds=Path("runs")).name,
    ]
    assert len(set(names)) == 5


def test_folds_of_another_training_than_the_shipped_one_are_refused(tmp_path: Path) -> None:
    clip = Clip("c.flac", "crema_d", "1001", "female", "anger", fold=2)
    with pytest.raises(SettingError, match="holds no weights"):
        study_parts.model_for("egemaps-logistic", clip, tmp_path)
    for fold in (0, 2):
        (tmp_path / "egemaps-logistic" / f"fold-{fold}").mkdir(parents=True)
        (tmp_path / "egemaps-logistic" / f"fold-{fold}" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(SettingError, match="another training"):
        study_parts.model_for("egemaps-logistic", clip, tmp_path)
