"""The clips behind a point of a chart: a list, each to hear and to open in the page that explains."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.parts import session
from pages.parts.predictions import corpus_title, row_of_clip
from pages.parts.sound import player
from pages.parts.words import plain
from ser_core.numbers import counted

if TYPE_CHECKING:
    import pandas as pd

MOST = 500
CHANCES = ("its probability", "probability of the label")


def show(rows: "pd.DataFrame", what: str, key: str) -> None:
    """List clips, those that the model was surest to get wrong first, and let the reader hear one and explain it.

    Args:
        rows: of ``ser_core.evaluation``.
        what: which clips these are, in words.
        key: of the widgets.
    """
    listed, order = clips(rows), order_of(rows)
    st.html('<div class="ss"><p class="title">Clips behind the point</p></div>')
    st.caption(
        f"{plain(what)}: {counted(len(listed), 'clip')}"
        + (f", of which the first {MOST} are listed" if len(listed) > MOST else "")
        + f". {f'{order} come first. ' if order else ''}Select one to hear it."
    )
    shown = listed.head(MOST)
    named = "\n".join(f"{row.corpus}/{row.clip}" for row in shown[["corpus", "clip"]].itertuples())
    event = st.dataframe(
        shown,
        # A table keeps the number of its chosen row, whatever stands there then.
        key=f"clips-{key}-{what}-{hashlib.sha256(named.encode()).hexdigest()[:8]}",
        hide_index=True,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-row",
        height=min(36 * (len(shown) + 1) + 3, 290),
        column_config={"corpus": None, **dict.fromkeys(CHANCES, st.column_config.NumberColumn(format="%.3f"))},
        alt=f"The clips behind the point{f'; {order.lower()} come first' if order else ''}; choose one to hear it",
    )
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(shown):
        place = picked[0]
        hear(str(shown["corpus"].iloc[place]), str(shown["clip"].iloc[place]), str(rows["model"].iloc[0]), key)


def order_of(rows: "pd.DataFrame") -> str:
    """Return which clips come first in :func:`clips`, in words; "" where nobody has rated what the model answers."""
    from ser_core.speakers import emotions_of

    if emotions_of(rows):
        return "Those that the model was surest to get wrong"
    rated = any(str(name).startswith("t_") and rows[name].notna().any() for name in rows)
    return "Those whose values are furthest from the raters'" if rated else ""


def clips(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return clip, speaker, label, answer and probabilities, or the values and their error, the worst first."""
    from ser_core.speakers import answers_of, emotions_of

    named = [who.removeprefix(f"{where}/") for who, where in zip(rows["speaker"], rows["corpus"], strict=True)]
    facts = rows[["clip", "corpus"]].assign(speaker=named)
    if not emotions_of(rows):
        names = [str(column)[2:] for column in rows if str(column).startswith("d_")]
        off = sum((rows[f"d_{name}"] - rows[f"t_{name}"]).abs() for name in names if f"t_{name}" in rows)
        for name in names:
            facts[f"{name}, predicted"] = rows[f"d_{name}"].round(2)
            if f"t_{name}" in rows:
                facts[f"{name}, rated"] = rows[f"t_{name}"].round(2)
        return facts.assign(_off=off).sort_values("_off", ascending=False, ignore_index=True).drop(columns="_off")
    chances = rows[[f"p_{name}" for name in emotions_of(rows)]].to_numpy()
    place = {name: number for number, name in enumerate(emotions_of(rows))}
    # A label of another corpus that the model cannot answer has no probability there.
    of_label = np.array(
        [each[place[name]] if name in place else 0.0 for each, name in zip(chances, rows["emotion"], strict=True)]
    )
    facts = facts.assign(label=rows["emotion"], answer=answers_of(rows))
    facts[CHANCES[0]] = chances.max(axis=1).round(3)
    facts[CHANCES[1]] = of_label.round(3)
    worst = chances.max(axis=1) - of_label
    return facts.assign(_off=worst).sort_values("_off", ascending=False, ignore_index=True).drop(columns="_off")


def labelled(emotion: object) -> str:
    """Return how a clip is labelled, in words; a label may be missing."""
    return f"labelled {emotion}" if isinstance(emotion, str) and emotion else "without a label"


def hear(corpus: str, clip: str, model: str, key: str) -> None:
    """Play one clip and offer to explain a model's answer to it, where its corpus is at hand."""
    from ser_core.audio import read

    row = row_of_clip(corpus, clip)
    if row is None:
        st.info(
            f"{plain(clip)} cannot be heard here: the audio of {plain(corpus_title(corpus))} is not at hand. Put its "
            "folder below one that SERSCOPE_CORPORA names; it is then found without a restart."
        )
        return
    recording = read(Path(row["file"].iloc[0]))
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        player(recording, f"{plain(clip)}, {plain(labelled(row['emotion'].iloc[0]))}")
    st.caption(
        "Explain asks the model as it ships, which may have learnt from this speaker. Answers here that are out of "
        "fold come from training without the speaker, so that the two may differ."
    )
    if right.button("Explain this clip", key=f"explain-{key}", type="primary", width="stretch"):
        judged = [name for name in row if str(name).startswith(("vote_", "share_"))]
        label = f"{corpus_title(corpus)}, {labelled(row['emotion'].iloc[0])}"
        from ser_core.registry import model_names

        if model in model_names():
            st.session_state["model"] = model
        session.use(recording, label, row[["corpus", "valence", "arousal", "dominance", *judged]])
        st.switch_page("pages/explain.py")
