"""The report of dashboards: every chart and table of figures can be added to it, on its page or by command.

``python -m pages.parts.boards --pdf FILE --boards fairness speakers`` runs the pages as they are, with their first
choices or those of ``--set``, and prints all that they show.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ser_core.errors import SettingError, command_line

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from explain.board_report import Section

HELD, EVERY = "report sections", "report every chart"
MOST = 30


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Attributes:
        title: of its page.
        charts: their names.
        command: makes its figures.
        baseline: what they are set against.
        tables: names of its tables of figures.
        apart: of those that come from elsewhere: name → command and baseline.
    """

    title: str
    charts: tuple[str, ...]
    command: str
    baseline: str
    tables: tuple[str, ...] = ()
    apart: Mapping[str, tuple[str, str]] = field(default_factory=dict)


BOARDS = {
    "fairness": Board(
        "Fairness",
        ("groups", "reliability", "before-after"),
        "python -m ser_core evaluate; python -m ser_core fairness",
        "Every group is set against the reference group. By chance: groups dealt to the speakers at random, corrected "
        "by Holm's method over all that is shown. A constant answer has a UAR of one over the number of emotions.",
        ("group-differences", "power-at-hand", "power-simulated", "before-after-figures", "conversion"),
        {
            "power-at-hand": (
                "python -m ser_core evaluate",
                "5 of 100 is what is flagged where there is no gap; a group of few speakers can show large gaps only.",
            ),
            "power-simulated": ("python -m ser_core power", "Made-up predictions without a gap: 5 % may be flagged."),
            "conversion": ("python -m ser_core conversion", "The same clips before they were converted."),
        },
    ),
    "explanations": Board(
        "Explanations by group",
        ("explanation-groups",),
        "python -m explain study; python -m explain groups",
        "Every group is set against the reference group. By chance: groups dealt to the speakers at random, corrected "
        "by Holm's method over all that is shown; and the salient regions shifted along the speech of the same clip.",
        ("explanation-differences", "explanation-power"),
    ),
    "speakers": Board(
        "Speakers",
        ("caterpillar", "speaker-confusion"),
        "python -m ser_core evaluate",
        "All speakers together (the dashed line). A constant answer has a UAR of one over the number of emotions.",
        ("speakers-worst", "speaker-voice", "speaker-averages"),
        {
            "speaker-voice": (
                "python -m ser_core cues",
                "The other speakers of the same corpus and sex; by chance a cue lies outside the middle eight of ten "
                "of them one time in five, and more often where these are few.",
            ),
            "speaker-averages": (
                "python -m ser_core evaluate",
                "An average that is off by 0, and an order (ρ) of 1; by chance ρ is 0.",
            ),
        },
    ),
    "crosscorpus": Board(
        "Cross-corpus",
        ("cross-corpus",),
        "python -m ser_core cross-corpus; python -m ser_core evaluate",
        "Each corpus on itself, or a model on the corpus that it was trained on, speakers never in both training and "
        "test (framed). Chance is one over the number "
        "of emotions that training and test share.",
        ("systems", "normalising", "cross-confusion", "leaks", "leaks-between"),
        {
            "normalising": (
                "python -m ser_core cross-corpus",
                "The same system with speakers as they are; a change of 0 is none.",
            ),
            "leaks": (
                "python -m ser_core leaks",
                "A clean test shares no speaker and no recording; a speaker heard in every emotion gives none away.",
            ),
            "leaks-between": ("python -m ser_core leaks", "A clean test shares no speaker and no recording."),
        },
    ),
    "robustness": Board(
        "Robustness",
        ("robustness", "robustness-severest", "own-robustness"),
        "python -m ser_core robustness --corpora FOLDERS --noise FOLDER",
        "The same clips clean. Chance is one over the number of emotions (the dashed line).",
        ("robustness-figures", "robustness-constant", "own-robustness-figures"),
        {
            "robustness-constant": (
                "python -m ser_core robustness --corpora FOLDERS --noise FOLDER",
                "The answer to the same sound of 2 s; one that does not mind the length never changes.",
            )
        },
    ),
    "mixed": Board(
        "Mixed emotions",
        ("mixed-shares", "ambiguity", "wheel"),
        "python -m ser_core evaluate",
        "The constant: the mean of the listeners' shares over all clips, whatever is heard.",
        ("mixed-figures", "mixtures", "em2ldl-constants"),
        {
            "em2ldl-constants": (
                "python -m ser_core em2ldl",
                "These are baselines themselves: a model has to beat the mean of the training listeners.",
            )
        },
    ),
    "dimensions": Board(
        "Dimensions",
        ("vad-sphere", "vad-scatter", "vad-path"),
        "python -m ser_core evaluate",
        "A constant answer has a CCC of 0, which is chance as well.",
        ("dimension-figures", "octants"),
        {
            "octants": (
                "python -m ser_core evaluate",
                "By chance as many clips of an octant are found as are predicted to lie in it.",
            )
        },
    ),
    "efficiency": Board(
        "Efficiency",
        ("efficiency",),
        "python -m ser_core results; python -m benchmarks.predict_speed",
        "Models that no other is both cheaper and better than (the dotted line). Chance is one over the number of "
        "emotions.",
        ("costs",),
    ),
}


def offer(
    figure: "go.Figure | None", data: "pd.DataFrame", name: str, title: str, how: str, words: str, state: str
) -> None:
    """Draw the button that adds a chart or table to the report; nothing for one that belongs to no dashboard."""
    board = next((board for board in BOARDS.values() if name in (*board.charts, *board.tables)), None)
    if board is None:
        return
    key = f"{name}|{state}"

    def add() -> None:
        from explain.board_report import section

        chosen = {"choices on the page": " · ".join(filter(None, state.split("|")))} if state else {}
        command, baseline = board.apart.get(name, (board.command, board.baseline))
        drawn = figure.to_plotly_json() if figure is not None else None
        made = section(board.title, title, how, words, drawn, data, chosen, baseline, command)
        held = st.session_state.setdefault(HELD, {})
        held[key] = made
        while len(held) > MOST:
            del held[next(iter(held))]

    if st.session_state.get(EVERY):
        add()
        return
    added = key in st.session_state.get(HELD, {})
    st.button(
        "In the report" if added else "Add to the report",
        key=f"report-{key}",
        on_click=add,
        disabled=added,
        help="The report holds the figure if there is one, the table, how to read it, what was chosen, and the "
        "command. It can be taken away at the top of the page.",
    )


def bar() -> None:
    """Draw what the report of dashboards holds, as a file to take away, where it holds anything."""
    from explain.board_report import file_name, pdf

    held: dict[str, Section] = st.session_state.get(HELD, {})
    if not held:
        return
    sections = list(held.values())
    with st.container(horizontal=True, vertical_alignment="center", key="board-report"):
        st.download_button(
            f"Report of {len(sections)} section{'s' if len(sections) > 1 else ''} (PDF)",
            lambda: pdf(sections),
            file_name(sections),
            "application/pdf",
            key="board-report-pdf",
            on_click="ignore",
            help="; ".join(f"{each.board}: {each.title}" for each in sections),
        )
        st.button("Empty the report", key="board-report-empty", on_click=lambda: st.session_state.pop(HELD, None))


def sections_of(board: str, choices: dict[str, str]) -> "tuple[list[Section], set[str]]":
    """Return all charts and tables of a dashboard with these choices of its fields (key → value), and which it has.

    Raises:
        SettingError: the page shows no chart, for a reason that its own words give, or a field has no such choice.
    """
    from streamlit.testing.v1 import AppTest

    from ser_core.settings import ROOT

    page = AppTest.from_file(ROOT / "pages" / f"{'fairness' if board == 'explanations' else board}.py")
    page.session_state[EVERY] = True
    if board == "explanations":
        page.session_state["fairness-what"] = "Explanations by group"
    for key, value in choices.items():
        page.session_state[key] = value
    page.run(timeout=600)
    if page.exception:
        raise SettingError(f"{BOARDS[board].title} cannot be drawn; open its page to see why.")
    known = {key for each in page.main if (key := getattr(each, "key", None)) in choices}
    if strange := [key for key in known if page.session_state[key] != choices[key]]:
        raise SettingError(f"{strange[0]} offers no '{choices[strange[0]]}'; choose one of the page’s.")
    held: dict[str, Section] = page.session_state[HELD] if HELD in page.session_state else {}  # noqa: SIM401
    if not held:
        said = [str(each.value) for each in (*page.error, *page.info)]
        raise SettingError(f"{BOARDS[board].title} shows no chart: {' '.join(said) or 'there is nothing to show'}")
    return list(held.values()), known


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of some dashboards; returns the exit code."""
    from explain import study
    from explain.board_report import pdf
    from ser_core.files import write_bytes

    parser = argparse.ArgumentParser(prog="python -m pages.parts.boards", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pdf", type=Path, required=True, metavar="FILE", help="where the report is written")
    usual = [name for name in BOARDS if name != "explanations" or study.TABLE.exists()]
    parser.add_argument("--boards", nargs="+", choices=list(BOARDS), default=usual, help="default: all that are stored")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="fields of the pages, such as fairness-attribute=race"
    )
    options = parser.parse_args(arguments)
    sections, known = [], set()
    choices = dict(each.partition("=")[::2] for each in options.set)
    for board in options.boards:
        found, fields = sections_of(board, choices)
        sections, known = sections + found, known | fields
        print(f"{BOARDS[board].title}: {len(found)} charts and tables", flush=True)
    if strange := set(choices) - known:
        raise SettingError(f"These pages have no field {', '.join(sorted(strange))}.")
    write_bytes(options.pdf, pdf(sections))
    print(f"written: {options.pdf}")
    return 0


if __name__ == "__main__":
    from streamlit import logger

    logger.set_log_level(logging.ERROR)
    sys.exit(main())
