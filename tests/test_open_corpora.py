"""Open corpora against an audb repository made here; nothing in this file goes online."""

import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from ser_core.corpora import open_corpora
from ser_core.corpora.open_corpora import OPEN_CORPORA, downloaded, fetch_open_corpus, main
from ser_core.errors import CorpusError
from ser_core.settings import ROOT

audb = pytest.importorskip("audb")
FILES = {"wav/03a01Fa.wav": ("happiness", 3, "a01"), "wav/08a02Na.wav": ("neutral", 8, "a02")}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository on disk with a database of EMO-DB's tables and schemes, and two clips of noise."""
    import audbackend
    import audformat
    import pandas as pd

    build = tmp_path / "build"
    for seed, file in enumerate(FILES):
        (build / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(build / file, 0.1 * np.random.default_rng(seed).standard_normal(16_000), 16_000)
    database = audformat.Database("emodb", license="CC0-1.0", languages=["deu"], description="Acted.")
    people = pd.Index([3, 8], dtype="Int64", name="speaker")
    database.schemes["age"], database.schemes["gender"] = audformat.Scheme("int"), audformat.Scheme("str")
    database["speaker"] = audformat.MiscTable(people)
    for column, values in (("age", [31, 34]), ("gender", ["male", "female"])):
        database["speaker"][column] = audformat.Column(scheme_id=column)
        database["speaker"][column].set(values)
    database.schemes["speaker"] = audformat.Scheme("int", labels="speaker")
    database.schemes["emotion"] = audformat.Scheme(labels=["happiness", "neutral"])
    database.schemes["confidence"] = audformat.Scheme("float", minimum=0, maximum=1)
    database.schemes["transcription"] = audformat.Scheme(labels={"a01": "Der Lappen.", "a02": "Am Mittwoch."})
    index = audformat.filewise_index(list(FILES))
    emotions, speakers, texts = zip(*FILES.values(), strict=True)
    database["emotion"] = audformat.Table(index)
    database["emotion"]["emotion"] = audformat.Column(scheme_id="emotion")
    database["emotion"]["emotion"].set(list(emotions))
    database["emotion"]["emotion.confidence"] = audformat.Column(scheme_id="confidence")
    database["emotion"]["emotion.confidence"].set([0.9, 1.0])
    database["files"] = audformat.Table(index)
    for column, values in (("speaker", speakers), ("transcription", texts)):
        database["files"][column] = audformat.Column(scheme_id=column)
        database["files"][column].set(list(values))
    database.save(str(build))
    host = tmp_path / "host"
    host.mkdir()
    audbackend.backend.FileSystem.create(str(host), "open")
    made = audb.Repository("open", str(host), "file-system")
    # To publish, too, audb asks every repository of its configuration, and that is the public one.
    monkeypatch.setattr(audb.config, "REPOSITORIES", [made])
    audb.publish(str(build), OPEN_CORPORA["emodb"].version, made, verbose=False)
    return made


@pytest.fixture
def offline(monkeypatch):
    """No connection succeeds; the list holds what was tried."""
    tried = []

    def refuse(address, timeout):
        tried.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


def test_a_fetched_corpus_has_our_columns(repository, tmp_path):
    corpus = fetch_open_corpus("emodb", cache_dir=tmp_path / "cache", repositories=[repository])
    assert (corpus.name, corpus.licence, corpus.language) == ("emodb", "CC0-1.0", "de")
    first, second = corpus.table.to_dict("records")
    assert (first["emotion"], first["speaker"], first["sex"], first["age"]) == ("happiness", "emodb/3", "male", 31)
    assert (second["emotion"], second["speaker"], second["sex"], second["age"]) == ("neutral", "emodb/8", "female", 34)
    assert (first["transcript"], first["text_id"], first["language"]) == ("Der Lappen.", "a01", "de")
    assert len(soundfile.read(first["file"])[0]) == 16_000


def test_what_was_fetched_once_needs_no_repository_any_more(repository, tmp_path):
    cache = tmp_path / "cache"
    assert downloaded(cache) == {}
    fetch_open_corpus("emodb", cache_dir=cache, repositories=[repository])
    assert list(downloaded(cache)) == ["emodb"]
    assert len(fetch_open_corpus("emodb", cache_dir=cache, repositories=[]).table) == 2


def test_nothing_but_the_corpus_stays_and_audb_keeps_its_own_configuration(repository, tmp_path, monkeypatch):
    own = [audb.Repository("own", "nowhere", "file-system")]
    monkeypatch.setattr(audb.config, "REPOSITORIES", own)
    fetch_open_corpus("emodb", cache_dir=tmp_path / "cache", repositories=[repository])
    assert audb.config.REPOSITORIES is own
    folder = downloaded(tmp_path / "cache")["emodb"]
    assert list(folder.parent.iterdir()) == [folder]
    assert not list(folder.rglob("*.pkl"))


def test_a_download_that_breaks_off_leaves_nothing(repository, tmp_path, monkeypatch):
    def breaks_off(root, *_arguments, **_options):
        Path(root).mkdir(parents=True)
        raise OSError("No space left on device")

    monkeypatch.setattr(audb, "load_to", breaks_off)
    with pytest.raises(CorpusError, match=r"EMO-DB could not be downloaded \(No space left"):
        fetch_open_corpus("emodb", cache_dir=tmp_path, repositories=[repository])
    assert downloaded(tmp_path) == {} and list((tmp_path / "corpora").iterdir()) == []


def test_a_version_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(CorpusError, match="EMO-DB could not be downloaded"):
        fetch_open_corpus("emodb", cache_dir=tmp_path, repositories=[])


def test_an_unknown_corpus_lists_the_known_ones(tmp_path):
    with pytest.raises(CorpusError, match=r"'iemocap' is not an open corpus .* emodb"):
        fetch_open_corpus("iemocap", cache_dir=tmp_path)


def test_offline_is_one_sentence_and_exit_code_2(offline, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path))
    assert main(["emodb"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: EMO-DB could not be downloaded: the server") and said.count("\n") == 1
    assert [host for host, _ in offline] == [open_corpora.PUBLIC[1]]


# ------------------------------------------------------------------------------------------------------------- the page


@pytest.fixture
def app(monkeypatch, tmp_path) -> AppTest:
    # AppTest takes a folder named pages for the old way of making menus, and would run a page without app.py.
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", type("Navigated", (PagesManager,), {}))
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path / "no corpora here"))
    app = AppTest.from_file(ROOT / "app.py", default_timeout=30).run()
    return app.segmented_control(key="source").set_value("Corpus").run()


def test_the_page_says_whom_it_would_ask_and_asks_nobody_before_the_click(offline, app):
    assert not app.exception and not app.error
    assert app.button(key="download-emodb").label == "Download EMO-DB (CC0 1.0, about 48 MB) from the internet"
    assert any("audEERING" in caption.value for caption in app.caption)
    assert offline == []


def test_the_page_says_in_one_sentence_that_it_is_offline(offline, app):
    app.button(key="download-emodb").click().run()
    assert len(offline) == 1 and not app.exception
    assert len(app.error) == 1 and "could not be downloaded" in app.error[0].value


def test_a_downloaded_corpus_is_offered_clip_by_clip(repository, app, monkeypatch):
    monkeypatch.setattr(open_corpora, "PUBLIC", (repository.name, repository.host, repository.backend))
    app.button(key="download-emodb").click().run()
    assert not app.exception and not app.error
    assert [box.options for box in app.selectbox if box.label == "Clip"] == [["wav/03a01Fa", "wav/08a02Na"]]
    assert not [button for button in app.button if button.key == "download-emodb"]
