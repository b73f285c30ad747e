"""What can be told about charts and tables from the pages' own code; the rest needs a browser."""

import ast
from pathlib import Path

import pytest

from ser_core.settings import ROOT

DRAWN = {"plotly_chart", "dataframe", "data_editor", "image", "pyplot"}


def calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DRAWN
    ]


FILES = [path for path in sorted((ROOT / "pages").rglob("*.py")) if calls(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_chart_and_table_says_what_it_shows_to_those_who_cannot_see_it(path):
    for call in calls(path):
        said = [keyword.value for keyword in call.keywords if keyword.arg == "alt"]
        assert said, f"{path.name}:{call.lineno} has no alt"
        assert not isinstance(said[0], ast.Constant) or said[0].value, f"{path.name}:{call.lineno} has an empty alt"


def test_the_search_finds_the_charts():
    assert len(FILES) >= 10
