"""The files that can be taken away, with all that was opened; each is made when its button is pressed."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from explain.explanation import Explanation
from pages.parts import background, words_of_clip, work

if TYPE_CHECKING:
    from explain.opened import Opened

File = tuple[str, Callable[[], bytes], str, str]


def show(explanation: Explanation) -> None:
    """Draw the download buttons."""
    from explain import export, export_json, report
    from explain.opened import experiments_csv, trust_csv
    from explain.text_files import csv_file

    stem = stem_of(explanation.recording.name)
    opened = gathered(explanation)
    st.caption(
        f"The report holds {_told(opened)}, and all its figures as data: the page Open a report shows them again. "
        "Words and voice can be had again from the spectrogram drawn in it: keep it as safe as the recording, or take "
        "the report without waveform and spectrogram."
    )
    buttons(
        stem,
        [
            ("Report (PDF)", lambda: report.pdf(explanation, opened=opened), "pdf", "application/pdf"),
            ("Cue table (CSV)", lambda: csv_file(export.cue_csv(explanation)), "csv", "text/csv"),
            ("Praat and all files (ZIP)", lambda: export.bundle(explanation, opened=opened), "zip", "application/zip"),
            (
                "Everything (JSON)",
                lambda: export_json.to_json(explanation, opened=opened).encode(),
                "json",
                "application/json",
            ),
        ],
    )
    more: list[File] = [
        (
            "Report without the voice (PDF)",
            lambda: report.pdf(explanation, opened=opened, voice=False),
            "without-voice.pdf",
            "application/pdf",
        )
    ]
    if (trust := opened.trust) is not None:
        more.append(
            ("Trust tests (CSV)", lambda: csv_file(trust_csv(trust, explanation.card)), "trust.csv", "text/csv")
        )
    if opened.experiments:
        made = opened.experiments
        more.append(
            (
                "Voice experiments (CSV)",
                lambda: csv_file(experiments_csv(made, explanation.card)),
                "experiments.csv",
                "text/csv",
            )
        )
    buttons(stem, more)


def stem_of(name: str) -> str:
    """Return what files made of a recording of that name are called, before the ending."""
    return re.sub(r"[^\w-]+", "_", name.rsplit(".", 1)[0])[:40].strip("_") or "clip"


def buttons(stem: str, files: list[File]) -> None:
    """Draw one download button a file, four in a row; each file is made when its button is pressed."""
    for (label, data, ending, mime), column in zip(files, st.columns(4), strict=False):
        column.download_button(
            label,
            data,
            file_name=f"{stem}.{ending}",
            mime=mime,
            on_click="ignore",
            width="stretch",
            key=f"export-{ending}",
            type="primary" if ending == "pdf" else "secondary",
        )


def gathered(explanation: Explanation) -> "Opened":
    """Return what the reader opened beside an explanation: tests, experiments, comparisons of this very clip."""
    from explain.comparison import Comparison
    from explain.intervention import DoseResponse
    from explain.opened import Opened
    from explain.opened_sections import baseline_section, comparison_section, rivalry_section, spoken_section
    from explain.trust import Trust

    key = work.map_identity(explanation)
    tested = [each for each in background.found(("trust", key)) if isinstance(each, Trust)]
    experiments = [each for each in background.found(("experiment", key)) if isinstance(each, DoseResponse)]
    rivals = [
        each.rivalry
        for each in background.found(("rival", work.identity(explanation)))
        if isinstance(each, Explanation)
    ]
    spoken = words_of_clip.evidence(explanation)
    sections = [] if spoken is None else [spoken_section(spoken, explanation.target.name, explanation.card.emotions)]
    sections += [rivalry_section(each) for each in (explanation.rivalry, *rivals) if each is not None]
    if explanation.own_baseline is not None:
        sections.append(baseline_section(explanation.own_baseline, explanation.prediction))
    sections += [
        comparison_section(each)
        for each in background.found(("compare",))
        if isinstance(each, Comparison)
        and any(side.recording.sha256 == explanation.recording.sha256 for side in each.sides)
    ]
    return Opened(tested[0] if tested else None, tuple(experiments), tuple(sections))


def _told(opened: "Opened") -> str:
    """Return what goes into the report, in words."""
    parts = ["the explanation", "the trust tests" if opened.trust is not None else ""]
    count = len(opened.experiments)
    parts.append(f"{count} voice {'experiment' if count == 1 else 'experiments'}" if count else "")
    parts += [f"“{section.title}”" for section in opened.sections]
    said = [part for part in parts if part]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
