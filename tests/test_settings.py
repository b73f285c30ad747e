import re

import pytest

from ser_core.errors import SettingError
from ser_core.settings import ROOT, VARIABLES, check, settings


def faults(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingError) as caught:
        check(environment)
    return str(caught.value).splitlines()


def test_every_setting_that_cannot_be_used_is_named_at_once_with_what_to_do(tmp_path):
    table = tmp_path / "words.csv"
    table.write_text("word,valence\n")
    check(
        {
            "PATH": "anything",
            "SERSCOPE_CACHE": str(tmp_path / "made" / "later"),
            "SERSCOPE_CORPORA": f"{tmp_path}:{tmp_path}",
            "SERSCOPE_LEXICON": str(table),
            "SERSCOPE_MAX_SECONDS": "90.5",
            "SERSCOPE_JOBS": "8",
            "SERSCOPE_UPLOADS_MB": "320",
            "SERSCOPE_ALLOWED": "Anna@clinic.example, @lab.example",
            "SERSCOPE_WEIGHTS": "",
        }
    )
    said = faults(
        {
            "SERSCOPE_CORPRA": "",
            "SERSCOPE_CORPORA": f"{tmp_path}:/nowhere/at/all",
            "SERSCOPE_CACHE": str(table),
            "SERSCOPE_LEXICON": str(tmp_path),
            "SERSCOPE_HUB": "yes",
            "SERSCOPE_MAX_SECONDS": "inf",
            "SERSCOPE_IDLE_MINUTES": "half an hour",
            "SERSCOPE_JOBS": "0064999",
            "SERSCOPE_UPLOADS_MB": "100",
            "SERSCOPE_STUDY_OWNERS": "*",
            "SERSCOPE_ALLOWED": "anna@clinic.example lab.example",
        }
    )
    assert said == sorted(said) and len(said) == 11
    assert "SERSCOPE_CORPRA is no setting of SERscope; SERSCOPE_CORPORA is." in said
    for name, words in {
        "CORPORA": "no folder /nowhere/at/all.",
        "CACHE": "nothing can be written in",
        "LEXICON": "no such file",
        "HUB": "set it to 0 or 1.",
        "MAX_SECONDS": "positive number",
        "IDLE_MINUTES": "positive number",
        "STUDY_OWNERS": "name people or domains",
        "UPLOADS_MB": "megabytes from 320.",
        "JOBS": "whole number from 1 to 64.",
        "ALLOWED": "write anna@clinic.example lab.example as",
    }.items():
        assert any(line.startswith(f"SERSCOPE_{name} is '") and words in line for line in said)


def test_a_variable_that_is_set_to_nothing_counts_as_not_set(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.setenv(variable.name, "")
    made = settings()
    assert (made.max_seconds, made.idle_minutes, made.allowed, made.log_format) == (120, 30, (), "text")
    assert (
        made.cache_dir.name == "serscope"
        and made.ratings_dir is made.lexicon is made.jobs is None
        and not made.hub_allowed
    )


def test_the_table_of_settings_in_the_docs_is_the_one_in_force():
    rows = [f"| `{v.name}` | {v.meaning} | {v.default} |" for v in VARIABLES]
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `SERSCOPE_")] == rows


def test_no_setting_is_read_that_the_table_does_not_have():
    rooms = [
        *ROOT.glob("*.py"),
        *(path for room in ("ser_core", "explain", "pages") for path in (ROOT / room).rglob("*.py")),
    ]
    used = {name for path in rooms for name in re.findall(r"SERSCOPE_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8"))}
    assert used <= {variable.name for variable in VARIABLES}
    assert "SERSCOPE_IDLE_MINUTES" in used


def test_the_proxy_lets_the_largest_upload_in():
    """What a form adds to a file is below a mebibyte."""
    given = re.search(r"max_size (\d+)MiB", (ROOT / "compose.yaml").read_text())
    taken = re.search(r"maxUploadSize = (\d+)", (ROOT / ".streamlit" / "config.toml").read_text())
    assert int(given[1]) == int(taken[1]) + 1
