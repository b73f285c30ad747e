"""The files that can be taken away; each is made when its button is pressed."""

import re

import streamlit as st

from explain.explanation import Explanation


def show(explanation: Explanation) -> None:
    """Draw the download buttons."""
    from explain import export, report

    stem = re.sub(r"[^\w-]+", "_", explanation.recording.name.rsplit(".", 1)[0])[:40].strip("_") or "clip"
    files = (
        ("Report (PDF)", lambda: report.pdf(explanation), "pdf", "application/pdf"),
        ("Cue table (CSV)", lambda: export.cue_csv(explanation).encode(), "csv", "text/csv"),
        ("Praat and all files (ZIP)", lambda: export.bundle(explanation), "zip", "application/zip"),
        ("Everything (JSON)", lambda: export.to_json(explanation).encode(), "json", "application/json"),
    )
    for (label, data, ending, mime), column in zip(files, st.columns(len(files)), strict=True):
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
