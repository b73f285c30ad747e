"""A reader's own data in the pages, and what is told of it: with the model replaced as in test_pages.py."""

import gc
import json
import logging
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from test_pages import app, core, with_sample  # noqa: F401

from pages.parts import charts, log, metrics, own_data, session, sign_in
from pages.parts.server import in_memory
from ser_core.errors import SettingError
from ser_core.settings import ROOT
from ser_core.turns import StoppedError

DELETE = "Delete my data now"


def buttons(app: AppTest) -> list[str]:  # noqa: F811
    return [button.label for button in app.button]


def test_the_button_comes_with_the_first_data_and_takes_all_of_them_away(core, app, monkeypatch):  # noqa: F811
    given = []
    monkeypatch.setattr(
        session, "use", lambda clip, *rest, use=session.use: (given.append(weakref.ref(clip)), use(clip, *rest))
    )
    assert DELETE not in buttons(app)
    with_sample(app)
    assert DELETE in buttons(app) and given[0]() is not None
    app.switch_page("pages/about.py").run()
    assert DELETE in buttons(app)

    core.explained.clear()
    gc.freeze()
    try:
        app.button(key="own-data").click().run()
        gc.collect()
        assert given[0]() is None
    finally:
        gc.unfreeze()
    assert DELETE not in buttons(app)
    assert [said.value for said in app.success] == [
        "Your clips and all that was made from them have been deleted from this server's memory."
    ]
    assert not any(key in app.session_state for key in ("clip", "predictions", "explanations", "choices"))
    app.switch_page("pages/explain.py").run()
    assert not app.success and not app.header


def test_what_was_kept_out_of_collections_is_freed_by_the_next_call():
    class Held:
        pass

    voice = Held()
    voice.itself, gone = voice, weakref.ref(voice)
    try:
        own_data.collect()
        del voice
        gc.collect()
        assert gone() is not None
        own_data.collect()
        assert gone() is None
    finally:
        gc.unfreeze()


def test_a_session_that_is_not_used_deletes_its_data_and_says_so(core, app, monkeypatch):  # noqa: F811
    with_sample(app)
    monkeypatch.setattr(own_data, "_unused", {"test session id"})
    app.run()
    assert [said.value for said in app.info] == [
        "Nothing was done here for 30 minutes, so your clips and all that was made from them have been deleted from "
        "this server's memory."
    ]
    assert "clip" not in app.session_state and not own_data._unused


def test_deleting_ones_data_leaves_no_key_that_the_session_had(core, app):  # noqa: F811
    app.run()
    fresh = set(app.session_state)
    with_sample(app)
    made_up = (charts.CLICKED, "dashboards", "asked", "long-cues-a", "long-stopped-a", "rating-shown", "own noise")
    for key in made_up:
        app.session_state[key] = {"of": "a voice"}
    app.run()
    assert set(made_up) | {"clip", "explanations"} <= set(app.session_state)
    app.button(key="own-data").click().run()
    left = {key for key in app.session_state if key not in fresh and app.session_state[key]}
    assert {key for key in left if not key.endswith("round")} == set()


def test_the_log_has_the_kind_and_place_of_a_fault_but_never_its_words():
    name = "Maria_Zwiebel.wav"

    def line(formatter: logging.Formatter) -> str:
        try:
            raise ValueError(f"{name} is broken")
        except ValueError as fault:
            kept = (type(fault), fault, fault.__traceback__)
        return formatter.format(logging.LogRecord("serscope", logging.ERROR, "", 0, "Page %s", ("one",), kept))

    plain, made = line(log.PlainFormatter()), json.loads(line(log.JsonFormatter()))
    assert "Page one" in plain and "ValueError" in plain and "test_privacy.py" in plain
    assert (made["level"], made["logger"], made["message"]) == ("ERROR", "serscope", "Page one")
    assert "ValueError" in made["fault"] and name not in plain + str(made)


def test_a_folder_in_memory_is_told_from_one_on_a_disk(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\ntmpfs {tmp_path}/quick tmpfs rw 0 0\n")
    for name in ("quick", "quick/inner", "slow"):
        (tmp_path / name).mkdir()
    assert in_memory(tmp_path / "quick", mounts) and in_memory(tmp_path / "quick" / "inner", mounts)
    assert not in_memory(tmp_path / "slow", mounts) and not in_memory(tmp_path, tmp_path / "absent")


ANNA = {"is_logged_in": True, "email": "Anna@Clinic.example", "email_verified": True}


@pytest.mark.parametrize(
    ("user", "allowed", "enters"),
    [
        (ANNA, ("anna@clinic.example",), True),
        (ANNA, ("@clinic.example",), True),
        (ANNA, ("*",), True),
        (ANNA, ("@linic.example", "@clinic.example.org", "clinic.example", "ann@clinic.example"), False),
        (ANNA, (), False),
        ({**ANNA, "email_verified": False}, ("@clinic.example",), False),
        ({**ANNA, "email": "anna@evil.example@clinic.example"}, ("@clinic.example",), False),
        ({**ANNA, "email": None}, ("@clinic.example",), False),
        ({**ANNA, "is_logged_in": False}, ("*",), False),
        ({}, ("*", "@"), False),
    ],
)
def test_only_those_on_the_list_come_in(user, allowed, enters):
    assert sign_in.may_enter(user, allowed) is enters


def test_a_list_without_sign_in_and_a_sign_in_without_a_list_stop_the_start(monkeypatch):
    from streamlit.runtime.secrets import secrets_singleton

    monkeypatch.setattr(secrets_singleton, "_secrets", {})
    sign_in.check()
    monkeypatch.setenv("SERSCOPE_ALLOWED", "@clinic.example")
    with pytest.raises(SettingError, match="no sign-in is set up"):
        sign_in.check()
    monkeypatch.setattr(secrets_singleton, "_secrets", {"auth": {"redirect_uri": "https://x/oauth2callback"}})
    with pytest.raises(SettingError, match="names no provider"):
        sign_in.check()
    half = {"redirect_uri": "https://x/oauth2callback", "cookie_secret": "s", "client_id": "serscope"}
    monkeypatch.setattr(secrets_singleton, "_secrets", {"auth": half})
    with pytest.raises(SettingError, match="client_secret"):
        sign_in.check()
    monkeypatch.delenv("SERSCOPE_ALLOWED")
    with pytest.raises(SettingError, match="does not say who may come in"):
        sign_in.check()


def test_what_was_said_is_remembered_no_longer_than_it_is_used(monkeypatch):
    from ser_core.systems.mater import features
    from ser_core.word_times import SpokenText, Word

    asked = []
    monkeypatch.setattr(features.sentences, "token_states", lambda text: asked.append(text) or np.ones((3, 4)))
    spoken = SpokenText((Word("private", 0.0, 0.5),), "en", "told")
    before = len(features._TEXTS)
    for _ in range(2):
        features._text(spoken, "whisper-tiny.en")
    assert asked == ["private"] and len(features._TEXTS) == before + 1
    del spoken
    gc.collect()
    assert len(features._TEXTS) == before


def test_explanations_are_counted_by_how_they_end():
    def value(line: str) -> float:
        found = [each for each in metrics.page().decode().splitlines() if each.startswith(f"{line} ")]
        return float(found[0].split()[-1]) if found else 0.0

    ends = ("made", "failed", "refused", "stopped")
    lines = [f'serscope_explanations_total{{end="{end}"}}' for end in ends] + ["serscope_explanation_seconds_count"]
    before = [value(line) for line in lines]
    with metrics.explanation():
        pass
    for fault in (KeyError, SettingError, StoppedError):
        with pytest.raises(fault), metrics.explanation():
            raise fault
    assert [value(line) - had for line, had in zip(lines, before, strict=True)] == [1, 1, 1, 1, 1]


def test_the_dockerfile_has_no_findings_and_copies_what_is_there():
    lint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([lint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [part for line in lines if line.startswith("COPY ") for part in line.split()[1:-1]]
    assert copied and all((ROOT / part).exists() for part in copied)
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert admitted == set(copied) and not Path(ROOT / ".streamlit" / "secrets.toml").exists()
