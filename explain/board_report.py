"""The PDF report of dashboards: charts and tables, how to read each, what was chosen, baseline and command.

A chart or table of any dashboard is a :class:`Section`; :func:`pdf` sets the chosen ones by Typst, tagged as PDF/UA-1
and PDF/A-3a, in memory only. ``python -m pages.parts.boards --pdf FILE`` makes one without a browser.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from explain import board_figures
from explain.printing import LONGEST_LABEL, cut, number, plain_name, printable
from ser_core.errors import ExplanationError
from ser_core.intended_use import FORBIDDEN, STATEMENT
from ser_core.numbers import unsigned
from ser_core.settings import ASSETS

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS, MOST_COLUMNS, LONGEST_CELL = 40, 9, 90
_FOR_HANDS = re.compile(r" (?:Click|Turn) [^.]*\.")
"""What can be done on the page only."""
_TEMPLATE = ASSETS / "report" / "boards.typ"


@dataclass(frozen=True)
class Section:
    """One chart, or table without a figure, as the report prints it.

    Attributes:
        board: the dashboard's title.
        title: what the chart or table shows.
        how: how to read it, in a sentence.
        words: what it says, in words; the figure's text for those who cannot see it.
        svg: the figure; empty where there is none.
        settings: what was chosen, rows of name and value.
        baseline: what the figures are to be set against, and what chance would give.
        command: how to repeat the figures.
        head: the table's columns.
        rows: its rows as text.
        left_out: what of the data the table does not hold; empty where it holds all. Of single clips it holds none.
    """

    board: str
    title: str
    how: str
    words: str
    svg: str
    settings: tuple[tuple[str, str], ...]
    baseline: str
    command: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: str = ""


def section(
    board: str,
    title: str,
    how: str,
    words: str,
    figure: Mapping[str, Any] | None,
    data: "pd.DataFrame",
    settings: Mapping[str, str],
    baseline: str,
    command: str,
) -> Section:
    """Return a chart or table as a section; what is the same in every row of the data joins the settings.

    Args:
        board: the dashboard's title.
        title: what the chart or table shows.
        how: how to read it.
        words: what it says.
        figure: what Plotly's ``to_plotly_json`` gives; None for a table.
        data: what is shown; what stands before ``low`` and ``high`` shares a column with them, as do x,
            x_low and x_high.
        settings: what was chosen, name → value.
        baseline: what the figures are to be set against.
        command: how to repeat them.
    """
    same = {name: data[name].iloc[0] for name in data if len(data) > 1 and data[name].nunique(dropna=False) == 1}
    fixed = [(plain_name(str(name)), _cell(value)) for name, value in same.items() if _cell(value) != "–"]
    columns = _columns([str(name) for name in data if name not in same])
    decisive = [each for each in columns if each[0] == "finding" or each[1][0].endswith("p_holm")]
    first = [each for each in columns if each not in decisive][: MOST_COLUMNS - len(decisive)]
    shown = [each for each in columns if each in first or each in decisive]
    rest = [each for each in columns if each not in shown]
    of_clips = "clip" in data
    records = data.head(0 if of_clips else MOST_ROWS).to_dict("records")
    rows = tuple(tuple(_joined(row, names) for _, names in shown) for row in records)
    left_out = [f"the first {MOST_ROWS} of {len(data)} rows"] if len(data) > MOST_ROWS else []
    left_out += [f"not {', '.join(name for name, _ in rest)}"] if rest else []
    said = f"The table holds {'; '.join(left_out)}. The page’s CSV holds all." if left_out else ""
    drawn = board_figures.svg(figure) if figure is not None else ""
    said = f"The {len(data)} clips behind the figure are in the page’s CSV." if of_clips else said
    chosen = (*settings.items(), *fixed)
    how = _FOR_HANDS.sub("", how)
    head = tuple(name for name, _ in shown)
    return Section(board, title, how, words, drawn, chosen, baseline, command, head, rows, said)


def pdf(sections: Sequence[Section], when: datetime | None = None) -> bytes:
    """Return the report of some charts and tables as a tagged PDF that claims PDF/UA-1 and PDF/A-3a.

    Args:
        sections: what is printed, in this order.
        when: the date on the report, with a time zone; now by default.

    Raises:
        ExplanationError: there is no section, or Typst refused the document.
    """
    import typst

    from explain.figures import FONTS_DIR

    if not sections:
        raise ExplanationError("The report is empty; add a chart or table of a dashboard to it first.")
    when = (when or datetime.now(UTC).astimezone()).replace(microsecond=0)
    count = "1 section" if len(sections) == 1 else f"{len(sections)} sections"
    data = {
        "title": f"SERscope report of dashboards, {count}",
        "disclaimer": f"{STATEMENT} {FORBIDDEN}",
        "when": when.isoformat(" ", "minutes"),
        "sections": [
            {
                "board": each.board,
                "title": each.title,
                "how": each.how,
                "words": each.words,
                "key": f"figure-{place}" if each.svg else "",
                "settings": [list(row) for row in each.settings],
                "baseline": each.baseline,
                "command": each.command,
                "head": list(each.head),
                "rows": [list(row) for row in each.rows],
                "left_out": each.left_out,
            }
            for place, each in enumerate(sections)
        ],
    }
    fonts: Any = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS_DIR)])
    try:
        return typst.compile(
            _TEMPLATE.read_bytes(),
            root=_TEMPLATE.parent,
            font_paths=fonts,
            format="pdf",
            pdf_standards=["a-3a", "ua-1"],
            sys_inputs={
                "data": json.dumps(printable(data)),
                **{f"figure-{place}": each.svg for place, each in enumerate(sections) if each.svg},
            },
            timestamp=when,
        )
    except typst.TypstError as error:
        raise ExplanationError(f"The PDF report could not be set ({error}); take the CSV tables instead.") from error


def _columns(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the columns to print and what each is made of: a figure and the ends of its interval go together."""
    of_low = names[names.index("low") - 1] if {"low", "high"} <= set(names) and names[0] != "low" else ""
    ends = {name: ["low", "high"] if name == of_low else [f"{name}_low", f"{name}_high"] for name in names}
    whole = {name: pair for name, pair in ends.items() if set(pair) <= set(names)}
    taken = {end for pair in whole.values() for end in pair}
    return [
        (f"{plain_name(name)} [95 %]", [name, *whole[name]]) if name in whole else (plain_name(name), [name])
        for name in names
        if name not in taken
    ]


def _joined(row: Mapping[Any, Any], names: Sequence[str]) -> str:
    value, *ends = (_cell(row[name], exact=_is_p(name)) for name in names)
    return f"{value} [{ends[0]}, {ends[1]}]" if ends and "–" not in ends else value


def _is_p(name: str) -> bool:
    return name == "p" or name.startswith("p_") or name.endswith(("_p", "_p_holm"))


def _cell(value: Any, *, exact: bool = False) -> str:
    """Return what a cell holds; shares have three decimals, but p values (``exact``) three significant digits."""
    import numpy as np
    import pandas as pd

    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "–"
    if isinstance(value, float):
        if value.is_integer() and not exact:
            return unsigned(value, 0)
        return unsigned(value, 3) if abs(value) < 1 and not exact else number(value)
    return cut(str(value), LONGEST_CELL) or "–"


def file_name(sections: Sequence[Section]) -> str:
    """Return a name for the file that says which dashboards it holds."""
    boards = dict.fromkeys(each.board.lower().replace(" ", "-") for each in sections)
    return cut(f"serscope-{'-'.join(boards)}", LONGEST_LABEL).split("…")[0] + ".pdf"
