"""Work dealt to processes and to a Dask cluster: the same numbers as here, and nothing lost with a killed worker."""

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import ser_core.evaluation as room
from explain import trust_study
from explain.study_clips import Clip
from ser_core.__main__ import main
from ser_core.errors import SettingError
from ser_core.extraction import extract
from ser_core.parallel import Workers, as_done, each
from tests.bad_inputs import voice, wav
from tests.tasks_of_files import digest, end
from tests.test_evaluation import tiny_corpus, tiny_model

TWO = Workers(processes=2)


@pytest.fixture(autouse=True)
def on_one_thread() -> Iterator[None]:
    """As every worker; on several threads sums are split otherwise, and some processors give other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Workers]:
    """Two worker processes of a Dask cluster on this machine, each with two threads."""
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None) as local,
    ):
        yield Workers(cluster=local.scheduler_address)


@pytest.fixture(params=["processes", "cluster"])
def by(request: pytest.FixtureRequest) -> Workers:
    return TWO if request.param == "processes" else request.getfixturevalue("cluster")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for place in range(24):
        (tmp_path / f"{place}.txt").write_text(str(place) * 100)
    return [str(tmp_path / f"{place}.txt") for place in range(24)]


def test_a_killed_worker_loses_nothing(by: Workers, files: list[str], tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    task = functools.partial(digest, killed_at="7.txt", marker=str(marker))
    answers = sorted(as_done(task, files, by))
    assert marker.exists()
    assert [place for place, _ in answers] == list(range(24))  # each once
    assert [found for _, (found, _) in answers] == [digest(file)[0] for file in files]
    assert os.getpid() not in {process for _, (_, process) in answers}


def test_a_task_that_ends_every_worker_is_told_and_not_tried_for_ever(by: Workers, files: list[str]) -> None:
    with pytest.raises(SettingError, match="ended"):
        list(as_done(end, files[:2], by))


def test_answers_come_in_the_order_of_the_files(files: list[str]) -> None:
    assert [found for found, _ in each(digest, files, TWO)] == [digest(file)[0] for file in files]


def test_evaluation_gives_the_same_bits_on_a_cluster(
    cluster: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CHUNK", 3)
    model, corpus = tiny_model(tmp_path / "brand-new"), tiny_corpus(tmp_path / "many", 4, 5)
    tables = [
        room.evaluate([model], [corpus], out=tmp_path / name, runs=tmp_path / f"runs-{name}", by=who)[0]
        for name, who in (("here", Workers()), ("there", cluster))
    ]
    here, there = map(room.read_stored, tables)
    pd.testing.assert_frame_equal(here, there, check_exact=True)
    assert here.attrs == there.attrs and len(here.attrs["left_out"]) == 1


def test_functionals_and_encoder_states_are_the_same_bits_in_two_processes_and_on_a_cluster(
    cluster: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ser_core.extraction.SHARD_CLIPS", 3)
    random, clips = np.random.default_rng(0), []
    for place in range(6):
        clips.append(str(tmp_path / f"{place}.wav"))
        soundfile.write(clips[-1], random.normal(0, 0.1, 9_000 + 1_000 * place), 16_000)
    (tmp_path / "4.wav").write_bytes(b"no sound")
    kept = []
    for name, who in (("here", Workers()), ("two", TWO), ("cluster", cluster)):
        folder = tmp_path / f"cache-{name}"
        monkeypatch.setenv("SERSCOPE_CACHE", str(folder))
        if who is cluster:  # every machine must see the cache under the same path
            with pytest.importorskip("distributed").Client(cluster.cluster) as client:
                client.run(lambda where: os.environ.update(SERSCOPE_CACHE=where), str(folder))
        left_out = extract(clips, ["eGeMAPSv02"], ["whisper-tiny.en"], lambda words: None, who)
        assert [words.partition(":")[0] for words in left_out] == ["4.wav"]
        found = [*folder.glob("functionals/*/*.npy"), *folder.glob("frames/*/*.npy")]
        kept.append({path.relative_to(folder): path.read_bytes() for path in found})
    assert kept[0] == kept[1] == kept[2] and len(kept[0]) == 5 + 2


def test_explanations_and_their_tests_of_trust_are_the_same_bits_on_a_cluster(
    cluster: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_study, "CHUNK", 2)
    clips = []
    for number in range(4):
        (tmp_path / f"{number}.wav").write_bytes(wav(voice(1.0 + 0.1 * number)))
        clips.append(Clip(str(tmp_path / f"{number}.wav"), "toy", f"s{number}", "unknown", "anger"))
    found = []
    for name, who in (("two", TWO), ("there", cluster), ("here", Workers())):
        rows = trust_study.run(clips, ["log-mel-resnet"], ["saliency"], tmp_path / name, lambda words: None, who)
        found.append(rows.drop(columns="seconds"))
    pd.testing.assert_frame_equal(*found[:2], check_exact=True)
    pd.testing.assert_frame_equal(found[0], found[2], rtol=1e-4)  # several threads add up in other orders
    assert len(found[0]) and set(found[0]["clip"]) == set("0123")


def test_where_the_work_cannot_be_done_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--corpora", str(tiny_corpus(tmp_path / "corpus", 2, 2)), "--out", str(tmp_path / "out")]
    command += ["--models", str(tiny_model(tmp_path / "brand-new")), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr("ser_core.parallel.CONNECT_S", 0.3)
    assert main([*command, "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert main([*command, "--processes", "0"]) == 2
    assert "give 1 or more" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*command, "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "dask[distributed]" in capsys.readouterr().err


def test_a_machine_that_does_not_see_the_corpus_leaves_no_clip_out(files: list[str]) -> None:
    with pytest.raises(SettingError, match="same path"):
        room._answers_of(("any", [("a", files[0]), ("b", files[0] + "-elsewhere")]))
