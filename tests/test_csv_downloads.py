"""Every table that is taken away from a page opens in a spreadsheet with its letters as they are."""

import codecs
import io
from collections.abc import Callable

import pandas as pd
import pytest
import streamlit as st
from explanations import example_explanation
from opened import example_opened
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest
from test_comparison import twins

from explain.text_files import csv_file
from pages.parts import comparison, exports
from pages.parts.predictions import OWN
from ser_core.settings import ROOT


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the tables are that download buttons offer."""
    found: list[bytes] = []

    def taken(label: str, data: bytes | str | Callable[[], bytes]) -> None:
        if "CSV" in label:
            made = data() if callable(data) else data
            found.append(made if isinstance(made, bytes) else made.encode())

    monkeypatch.setattr(st, "download_button", lambda label, data, *_, **__: taken(label, data))
    monkeypatch.setattr(DeltaGenerator, "download_button", lambda _, label, data, *__, **___: taken(label, data))
    return found


def all_open(offered: list[bytes]) -> bool:
    return all(data.startswith(codecs.BOM_UTF8) and not data.startswith(2 * codecs.BOM_UTF8) for data in offered)


def test_a_file_says_that_it_is_utf_8_and_reads_back() -> None:
    text = "clip,rise\r\nGrüße.wav,−1 dB\r\n"
    assert csv_file(text).startswith(codecs.BOM_UTF8) and csv_file(text).decode("utf-8-sig") == text
    assert pd.read_csv(io.BytesIO(csv_file(text))).columns.tolist() == ["clip", "rise"]


def test_the_tables_of_an_explained_clip(offered: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "gathered", lambda explanation: example_opened())
    exports.show(example_explanation())
    assert len(offered) == 3 and all_open(offered)


def test_the_tables_of_a_comparison(offered: list[bytes]) -> None:
    comparison._downloads(twins())
    assert len(offered) == 1 and all_open(offered)


@pytest.mark.parametrize(("page", "least"), [("results", 4), ("robustness", 1), ("fairness", 1)])
def test_the_tables_of_a_page(page: str, least: int, offered: list[bytes]) -> None:
    shown = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=120)
    if page == "fairness":
        shown.session_state["predictions-source"] = OWN
    shown.run()
    assert not shown.exception
    assert len(offered) >= least and all_open(offered)
