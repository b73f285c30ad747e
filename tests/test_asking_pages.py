"""A model that is asked on the page about a corpus at hand, or one that the reader names."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from answered import box, page, text
from streamlit.testing.v1 import AppTest


def test_asking_a_model_here_is_refused_for_speech_it_was_trained_on(corpora: Path, monkeypatch) -> None:
    from pages.parts.predictions import ASK

    monkeypatch.setenv("SERSCOPE_CORPORA", str(corpora))
    shown = page("speakers", **{"predictions-source": ASK})
    shown = box(shown, "Corpus").select("crema_d").run()
    assert not shown.exception and "would flatter it" in text(shown)
    shown = box(shown, "Corpus").select("urdu").run()
    assert any(each.label == "Ask" for each in shown.button) and "400 clips" in text(shown)


def unseen(corpus: Path) -> None:
    """Write a corpus that no reader of ours was made for: 12 clips of four speakers."""
    corpus.mkdir()
    random, lines = np.random.default_rng(0), ["file,speaker,emotion,gender"]
    for place in range(12):
        name, emotion = f"{place:02d}.wav", ("anger", "fear", "neutral")[place % 3]
        soundfile.write(corpus / name, random.normal(0, 0.1, 8000), 16_000)
        lines.append(f"{name},s{place // 3},{emotion},{'fm'[place // 6]}")
    (corpus / "labels.csv").write_text("\n".join(lines))


def asked_and_drawn(shown: AppTest) -> bool:
    """Ask the quickest model about the chosen corpus and return whether its answers are drawn."""
    from pages.parts import background

    shown = box(shown, "Model").select("log-mel-resnet").run()
    shown = next(each for each in shown.button if each.label == "Ask").click().run()
    assert not shown.exception
    (job,) = shown.session_state["jobs"].values()
    assert isinstance(job, background.Job)
    job.future.result(timeout=60)
    shown = shown.run()
    return not shown.exception and "12 clips of 4 speakers" in text(shown) and "2 v 2" in text(shown)


def test_a_corpus_that_the_app_has_never_seen_is_found_without_a_restart_and_asked_about(tmp_path, monkeypatch) -> None:
    from pages.parts.predictions import ASK

    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path))
    shown = page("fairness", **{"predictions-source": ASK})
    assert "No corpus is at hand" in text(shown)
    unseen(tmp_path / "new one")
    shown = shown.run()
    assert box(shown, "Corpus").options == ["new one"]
    assert asked_and_drawn(shown)
    # What was asked is compared on other pages, too.
    asked = shown.session_state["asked"]
    other = page("crosscorpus", **{"asked": asked, "cross-what": "Bundled models"})
    assert "log-mel-resnet" in {str(each.rows["model"].iloc[0]) for each in asked.values()} and not other.exception
    labels = tmp_path / "new one" / "labels.csv"
    labels.write_text(labels.read_text().replace("s3", "s2"))
    shown = shown.run()
    assert "4 speakers" not in text(shown) and not shown.session_state["asked"]
    next(each for each in shown.button if each.label == "Ask").click().run()
    list(shown.session_state["jobs"].values())[-1].future.result(timeout=60)
    assert "12 clips of 3 speakers" in text(shown.run())


def test_a_reader_on_this_machine_names_a_folder_and_nobody_else_does(tmp_path: Path, monkeypatch) -> None:
    from pages.parts import own_folder
    from pages.parts.predictions import ASK

    (tmp_path / "none").mkdir()
    unseen(tmp_path / "mine")
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path / "none"))
    shown = page("fairness", **{"predictions-source": ASK})  # no browser at all, so no request from this machine
    assert "typed only where the app runs on your own machine" in text(shown) and not shown.text_input
    hidden = page("fairness", **{"predictions-source": ASK, own_folder.FOLDERS: (tmp_path / "mine",)})
    assert "No corpus is at hand" in text(hidden)  # whatever the session holds

    monkeypatch.setattr(own_folder, "refusal", lambda: "")
    shown = page("fairness", **{"predictions-source": ASK})
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "labels.csv").write_text("file,emotion\na.wav,anger")
    for typed, said in (
        ("speech", "not a whole path"),
        ("~nobody/speech", "not a whole path"),
        ("/", "too much to look through"),
        (str(tmp_path / "nowhere"), "There is no folder"),
        (str(tmp_path / "none"), "is not known"),
        (str(tmp_path / "bad"), "speaker"),
    ):
        shown.text_input(key="own-folder").set_value(typed).run()
        shown = next(each for each in shown.button if each.label == "Use it").click().run()
        assert not shown.exception and said in shown.error[0].value.replace("\\", ""), typed
    shown.text_input(key="own-folder").set_value(str(tmp_path / "mine")).run()
    shown = next(each for each in shown.button if each.label == "Use it").click().run()
    assert not shown.error and box(shown, "Corpus").options == ["mine"]
    shown = next(each for each in shown.button if each.label == "Use it").click().run()
    assert "is at hand already" in shown.error[0].value
    assert asked_and_drawn(shown)
    shown = next(each for each in shown.button if each.label == "Forget these folders").click().run()
    assert "No corpus is at hand" in text(shown)


@pytest.mark.parametrize(
    ("changed", "read"),
    [
        ({}, True),
        ({"address": "127.0.0.1", "headers": {"Host": "127.0.0.1:8501", "Origin": "http://127.0.0.1:8501"}}, True),
        ({"address": "::1", "headers": {"host": "[::1]:8501", "origin": "http://[::1]:8501"}}, True),
        ({"address": None}, False),
        ({"address": "0.0.0.0"}, False),
        ({"address": "ser.example.org"}, False),
        ({"hosts": None}, False),
        ({"hosts": []}, False),
        ({"hosts": ["localhost", "ser.example.org"]}, False),
        ({"hosts": ["*"]}, False),
        ({"headers": {}}, False),
        ({"headers": {"Host": "localhost:8501"}}, False),
        ({"headers": {"Host": "localhost:8501", "Origin": "https://ser.example.org"}}, False),
        ({"headers": {"Host": "ser.example.org", "Origin": "http://localhost:8501"}}, False),
        ({"headers": {"Host": "localhost", "Origin": "http://localhost", "X-Forwarded-Proto": "https"}}, False),
        ({"headers": {"Host": "localhost", "Origin": "http://localhost", "forwarded": "for=1.2.3.4"}}, False),
        ({"headers": {"Host": "localhost", "Origin": "http://localhost", "Via": "1.1 caddy"}}, False),
        ({"headers": {"Host": "localhost.example.org", "Origin": "http://localhost"}}, False),
    ],
)
def test_server_and_reader_are_on_one_machine_only_where_nobody_else_can_reach_it(changed: dict, read: bool) -> None:
    from pages.parts.sign_in import surely_here

    here = {"Host": "localhost:8501", "Origin": "http://localhost:8501"}
    given = {"address": "localhost", "hosts": ["localhost", "127.0.0.1"], "headers": here}
    assert surely_here(**(given | changed)) == read


@pytest.mark.parametrize(
    ("here", "providers", "read"), [(True, [], True), (False, [], False), (True, ["default"], False)]
)
def test_typed_paths_are_read_for_one_person_on_the_own_machine_alone(here, providers, read, monkeypatch) -> None:
    from pages.parts import own_folder, sign_in

    monkeypatch.setattr(sign_in, "at_this_machine", lambda: here)
    monkeypatch.setattr(sign_in, "providers", lambda: providers)
    assert own_folder.refusal() == ("" if read else own_folder.REFUSED)
