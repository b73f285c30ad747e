"""A kill, a full disk or a power cut in the middle of a write costs what was being written, and nothing else."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from bad_inputs import voice, wav

from explain.__main__ import main
from explain.batch import Clip, Row
from ser_core import checkpoints
from ser_core.errors import StorageError
from ser_core.files import (
    append_line,
    save_tensors,
    stored_table,
    whole_folder,
    write_bytes,
    write_table,
    write_text,
)
from ser_core.settings import ROOT
from tests import descent

OLD = "what was stored before\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Refuse every write beyond a file size, as a full disk or quota does in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


BIG = 200_000
WRITERS = {
    "bytes": lambda path: write_bytes(path, bytes(BIG)),
    "text": lambda path: write_text(path, "a" * BIG),
    "csv": lambda path: write_table(pd.DataFrame({"a": np.random.default_rng(0).random(BIG // 8)}), path),
    "parquet": lambda path: write_table(pd.DataFrame({"a": np.random.default_rng(0).random(BIG // 8)}), path),
    "tensors": lambda path: save_tensors({"a": torch.zeros(BIG // 4)}, path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_fills_up_leaves_the_old_file_and_a_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"kept.{kind}"
    path.write_text(OLD)
    with files_up_to(BIG // 2), pytest.raises(StorageError, match="What was stored before is unharmed"):
        WRITERS[kind](path)
    assert path.read_text() == OLD
    assert names(tmp_path) == [path.name]
    WRITERS[kind](path)
    assert path.stat().st_size >= BIG // 2


def test_a_full_disk_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"the disk is full\. Make room and do the same again"):
        write_text(tmp_path / "a.json", "{}")
    assert not names(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from ser_core.files import whole, whole_folder
target = Path(sys.argv[2])
if sys.argv[1] == "file":
    with whole(target) as partial:
        partial.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
with whole_folder(target) as partial:
    (partial / "card.json").write_text("{}")
    (partial / "weights.safetensors").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_in_the_middle_of_a_write_leaves_what_was_there(kind: str, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    target = models / "mine"
    if kind == "file":
        target.write_text(OLD)
    else:
        target.mkdir()
        (target / "old").write_text(OLD)
    done = subprocess.run([sys.executable, "-c", KILLED, kind, str(target)], check=False)
    assert done.returncode == -9
    assert (target if kind == "file" else target / "old").read_text() == OLD
    left = [path for path in models.iterdir() if path != target]
    assert len(left) == 1 and left[0].name.startswith(".mine.") and left[0].name.endswith(".partial")
    os.utime(left[0], (0, 0))
    if kind == "file":
        write_text(target, "new")
    else:
        with whole_folder(target) as partial:
            (partial / "new").write_text("new")
        assert names(target) == ["new"]
    assert names(models) == ["mine"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets two folders change places in one step")
def test_there_is_a_whole_folder_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    target.mkdir()
    monkeypatch.setattr(Path, "rename", lambda *_: pytest.fail("for a moment there would be no folder"))
    with whole_folder(target) as partial:
        (partial / "card.json").write_text("new")
    assert names(tmp_path) == ["model"] and names(target) == ["card.json"]


def test_a_fault_while_a_folder_is_filled_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "card.json").write_text(OLD)
    with files_up_to(10), pytest.raises(StorageError), whole_folder(target) as partial:
        (partial / "card.json").write_bytes(bytes(100))
    assert (target / "card.json").read_text() == OLD and names(tmp_path) == ["model"]


def test_links_and_devices_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(OLD)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    write_text(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_line_cut_off_by_a_kill_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_line(path, "one")
    with path.open("a") as file:
        file.write('{"half": ')
    append_line(path, "two")
    assert path.read_text().splitlines() == ["one", '{"half": ', "two"]


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_line(path, "one")
    with files_up_to(20), pytest.raises(StorageError, match="rows"):
        append_line(path, "x" * 100)
    assert path.read_text() == "one\n"
    append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"


# --- parts of studies and checkpoints ---------------------------------------------------------------------------------


def flipped(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0x10
    path.write_bytes(bytes(content))


def test_a_damaged_part_of_a_study_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, rows = tmp_path / "part.parquet", pd.DataFrame({"value": np.random.default_rng(1).random(4000)})
    assert stored_table(path) is None
    for damage in (lambda: flipped(path, 0.5), lambda: os.truncate(path, 3000), lambda: os.truncate(path, 0)):
        write_table(rows, path)
        pd.testing.assert_frame_equal(stored_table(path), rows)
        damage()
        assert stored_table(path) is None and not path.exists()
        assert "was damaged and is deleted; it is made again" in capsys.readouterr().out


def state(value: float) -> dict[str, torch.Tensor]:
    return {"model.weight": torch.full((50, 50), value), "optimiser.0.step": torch.tensor(value)}


@pytest.mark.parametrize(
    "damage", [lambda p: flipped(p, 0.7), lambda p: flipped(p, 0.02), lambda p: os.truncate(p, 99)]
)
def test_a_torn_checkpoint_gives_way_to_the_one_before(damage, tmp_path: Path, capsys) -> None:
    for epoch in (1, 2, 3):
        checkpoints.keep(tmp_path, state(epoch), {"epoch": str(epoch)})
    assert checkpoints.latest(tmp_path)[1] == {"epoch": "3"}
    damage(tmp_path / checkpoints.LATEST)
    tensors, note = checkpoints.latest(tmp_path)
    assert note == {"epoch": "2"} and torch.equal(tensors["model.weight"], state(2)["model.weight"])
    assert "goes on from what was stored before it" in capsys.readouterr().out
    damage(tmp_path / checkpoints.BEFORE)
    assert checkpoints.latest(tmp_path) is None


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoints.keep(tmp_path, state(1), {"epoch": "1"})
    with files_up_to(5000), pytest.raises(StorageError):
        checkpoints.keep(tmp_path, state(2), {"epoch": "2"})
    assert checkpoints.latest(tmp_path)[1] == {"epoch": "1"}
    checkpoints.keep(tmp_path, state(2), {"epoch": "2"})
    assert checkpoints.latest(tmp_path)[1] == {"epoch": "2"}
    checkpoints.drop(tmp_path)
    assert not names(tmp_path)


@pytest.mark.parametrize("step", [3, 8])  # in the first and in the second epoch
def test_training_that_is_killed_goes_on_from_its_last_epoch_to_the_same_weights(step: int, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    command = [sys.executable, "-m", "tests.descent", str(killed)]
    assert subprocess.run([*command, str(step)], cwd=ROOT, check=False).returncode == -9
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    np.testing.assert_array_equal(np.load(killed / "end-0-of-1.npy"), descent.run(whole))
    epochs = [json.loads(line)["epoch"] for line in (killed / "progress.jsonl").read_text().splitlines()]
    assert epochs == [1, 2, 3]  # none was done twice but for the one that was cut off


# --- a batch ----------------------------------------------------------------------------------------------------------


def test_a_batch_on_a_full_disk_stops_with_a_sentence_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def row(number: int, clip: Clip, *args: object, **kwargs: object) -> Row:
        calls.append(clip.name)
        return Row(number, clip.name, answer="neutral", warnings=("x" * 400,))

    monkeypatch.setattr("explain.batch_command.row", row)
    for name in "abcd":
        (tmp_path / f"{name}.wav").write_bytes(b"")
    asked = ["batch", str(tmp_path), "--out", str(tmp_path / "table.csv"), "--model", "egemaps-logistic"]
    with files_up_to(2200):
        assert main(asked) == 2
    assert "error: " in capsys.readouterr().err and not (tmp_path / "table.csv").exists()
    stored = (tmp_path / "table.csv.rows.jsonl").read_text().splitlines()
    assert 1 <= len(stored) < 4
    lost = calls[len(stored) :]
    assert main(asked) == 0
    assert calls[len(stored) + len(lost) :] == [f"{name}.wav" for name in "abcd"][len(stored) :]
    assert list(pd.read_csv(tmp_path / "table.csv")["file"]) == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert "table.csv.rows.jsonl" not in names(tmp_path)


def test_a_batch_that_is_killed_goes_on_where_it_stopped_and_gives_the_same_table(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(3):
        (clips / f"{number}.wav").write_bytes(wav(voice(1.0 + 0.2 * number)))
    command = ["batch", str(clips), "--model", "egemaps-logistic", "--quiet", "--out"]
    whole, killed = tmp_path / "whole.csv", tmp_path / "killed.csv"
    assert main([*command, str(whole)]) == 0
    rows, started = tmp_path / "killed.csv.rows.jsonl", time.monotonic()
    run = subprocess.Popen([sys.executable, "-m", "explain", *command, str(killed)], cwd=ROOT)
    while not rows.exists() and time.monotonic() - started < 60:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    kept = rows.read_text().splitlines()
    assert kept and not killed.exists()
    assert main([*command, str(killed)]) == 0
    assert killed.read_bytes() == whole.read_bytes() and not rows.exists()


def test_a_table_comes_back_as_it_was_and_takes_less_room_than_pandas_gives_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    chances = random.dirichlet(np.ones(6), 5_000).astype(np.float32)
    table = pd.DataFrame(chances, columns=[f"p_{k}" for k in range(6)])
    table = table.assign(clip=[f"c{k}" for k in range(5_000)], speaker=[f"s{k % 91}" for k in range(5_000)], fold=1)
    table = table.assign(rounded=np.round(table["p_0"], 2), missing=np.nan, emotion=pd.Categorical(["joy"] * 5_000))
    write_table(table, tmp_path / "ours.parquet")
    table.to_parquet(tmp_path / "plain.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "ours.parquet"), table, check_exact=True)
    assert (tmp_path / "ours.parquet").stat().st_size < 0.75 * (tmp_path / "plain.parquet").stat().st_size
    write_table(table.head(0), tmp_path / "none.parquet")
    assert list(pd.read_parquet(tmp_path / "none.parquet")) == list(table)
