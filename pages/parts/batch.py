"""Explaining many clips: taking them, the table as it grows, filters, and one row at a time."""

import math
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, room, session
from pages.parts.words import plain
from ser_core.numbers import counted, percent

if TYPE_CHECKING:
    import pandas as pd

    from explain.batch import Clip, Row
    from ser_core.models import Card, SpeechModel

MEGABYTES = 300
TESTS = {"": "not tested", "quick": "quick tests (seconds a clip)", "full": "all tests (a minute a clip or more)"}


def clips() -> "list[Clip] | None":
    """Return the clips that this session holds."""
    return st.session_state.get("batch-clips")


def new() -> None:
    """Offer to take clips; ends the run when some are taken."""
    from explain.batch import given

    with st.form("batch-upload", border=False):
        files = st.file_uploader(
            "Clips, or zip archives of clips",
            accept_multiple_files=True,
            key=f"batch-upload-{st.session_state.get('batch-round', 0)}",
        )
        pressed = st.form_submit_button("Take these clips", type="primary")
    st.caption(
        f"At most {MEGABYTES} MB together; archives are read in memory, member by member. Folders and CSV files of "
        "clips go through the command line: python -m explain batch. The clips are worked on by this SERscope server "
        f"alone and stay in its memory until {session.kept_until()}."
    )
    if not pressed:
        return
    if not files:
        st.error("Choose some clips first.")
        return
    if sum(file.size for file in files) > MEGABYTES * 2**20:
        st.error(f"These are more than {MEGABYTES} MB together; take fewer, or use the command line.")
        return

    def keep() -> None:
        st.session_state["batch-clips"] = given([(file.name, room.content(file)) for file in files])

    session.take(keep, *files)
    st.rerun()


def current(taken: "list[Clip]") -> None:
    """Show how many clips there are, and let the reader drop them."""
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.markdown(f"**{counted(len(taken), 'clip')}**")
    right.button("Forget these clips", on_click=forget, width="stretch")


def forget() -> None:
    """Drop the clips and their rows."""
    background.stop_kind("batch")
    session.forget_parts()
    taken = st.session_state.get("batch-round", 0)
    for key in [key for key in st.session_state if str(key).startswith("batch-")]:
        del st.session_state[key]
    st.session_state["batch-round"] = taken + 1


def show(taken: "list[Clip]", model: "SpeechModel", method: str) -> None:
    """Let the reader start, and draw the rows that are there."""
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    with left:
        trust: str = st.selectbox(
            "Trust",
            list(TESTS),
            format_func=lambda name: TESTS[name],
            key="batch-trust",
            help="Is each explanation true of the model?",
        )
    key = ("batch", st.session_state.get("batch-round", 0), model.name, method, trust)
    started = background.job(key)
    before = started.known or () if started is not None and _stopped(started) else ()
    with right:
        if started is None:
            pressed = st.button(f"Explain {counted(len(taken), 'clip')}", type="primary", width="stretch")
        else:
            left_over = f"Go on, {counted(len(taken) - len(before), 'clip')} left"
            pressed = _stopped(started) and st.button(left_over, type="primary", width="stretch")
    if pressed:
        _stop_others()
        again = background.start(
            key, lambda job: _explain(taken, model, method, trust, before, job), long=True, anew=True
        )
        # It may be stopped before its turn comes.
        again.known = again.known or before
        st.rerun()
    if started is not None:
        background.follow(started, lambda: _watch(taken, model.card, key, started))


def _stopped(started: background.Job) -> bool:
    return started.done and started.future.exception() is not None


def _stop_others() -> None:
    """Stop what is under way with another model, method or test; its rows stay."""
    for key, each in st.session_state.get("jobs", {}).items():
        if key[:1] == ("batch",) and not each.done:
            each.stop.set()


def _explain(
    taken: "list[Clip]",
    model: "SpeechModel",
    method: str,
    trust: str,
    before: "tuple[Row, ...]",
    job: background.Job,
) -> "tuple[Row, ...]":
    from explain.batch import rows

    found = list(before)
    for row in rows(taken, model, method, trust=trust, progress=job.tell, done=len(before)):
        found.append(row)
        job.learn(tuple(found))
    return tuple(found)


def _watch(taken: "list[Clip]", card: "Card", key: tuple, started: background.Job) -> None:
    if not started.done:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.progress(min(1.0, started.share), plain(f"{started.words} …"))
        if right.button("Stop here", key="batch-stop", help="Keeps the rows that are there.", width="stretch"):
            started.stop.set()
        if started.known:
            draw(started.known, taken, card, key, finished=False)
        return
    if not started.drawn:
        started.drawn = True
        st.rerun()
    fault = started.future.exception()
    found = started.future.result() if fault is None else started.known or ()
    if fault is not None and started.stop.is_set():
        st.warning(f"Stopped after {len(found)} of {len(taken)} clips.")
    if found:
        draw(found, taken, card, key, finished=True)
    if fault is not None and not started.stop.is_set():
        raise fault


# --- drawing ---------------------------------------------------------------------------------------------------------


def draw(found: "tuple[Row, ...]", taken: "list[Clip]", card: "Card", key: tuple, *, finished: bool) -> None:
    """Draw the rows of the work of a key with their filters, the chosen one, and the files."""
    st.html(summary(found))
    kept, asked = _filtered(found)
    if len(kept) < len(found):
        st.caption(f"{len(kept)} of {len(found)} rows.")
    event = st.dataframe(
        rows(kept, card),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"batch-table-{key}-{asked}",  # a table keeps the number of its chosen row, whatever stands there then
        placeholder="–",
        height=min(520, 38 + 35 * max(1, len(kept))),
        alt="One row a clip: answer, probability, entropy, trust, experts, cues; choose a row to open it",
        column_config={
            "clip": st.column_config.TextColumn(width="medium"),
            "p": st.column_config.ProgressColumn(
                "p", help="probability of the answer in %", min_value=0, max_value=100, format="%.0f %%"
            ),
            "answer": st.column_config.TextColumn(width=100),
            "entropy": st.column_config.NumberColumn(
                help="how spread the probabilities are, in bits: 0 is one class only", format="%.2f"
            ),
            "salient cues": st.column_config.TextColumn(
                help="how the salient regions differ from the rest of the speech (* beyond chance), or what went wrong",
                width="large",
            ),
            "experts": st.column_config.TextColumn(
                help="cues of the whole clip that go with the experts’ table for the answer, of those compared"
            ),
            "warnings": st.column_config.TextColumn(width="large"),
        },
    )
    chosen = event["selection"]["rows"]
    if chosen and chosen[0] < len(kept):
        _one(kept[chosen[0]], taken)
    elif kept:
        st.caption("Choose a row to open it. Click a heading to sort.")
    if finished:
        _files(found, card)


def summary(found: "tuple[Row, ...]") -> str:
    """Return what the rows say together."""
    good = [row for row in found if not row.error]
    parts = [f"{len(good)} explained"]
    if len(found) > len(good):
        parts.append(f"{len(found) - len(good)} could not be read or explained")
    answers = [row.answer for row in good if row.answer]
    ranked = sorted(set(answers), key=lambda name: -answers.count(name))
    parts += [f"{name} {percent(answers.count(name) / len(answers))}" for name in ranked]
    verdicts = [row.verdict for row in good if row.verdict]
    ranked = sorted(set(verdicts), key=lambda name: -verdicts.count(name))
    parts += [f"trust {name} {verdicts.count(name)}" for name in ranked]
    return f'<div class="ss"><p role="status">{escape(" · ".join(parts))}</p></div>'


def _filtered(found: "tuple[Row, ...]") -> "tuple[list[Row], tuple]":
    """Return the rows that the reader wants to see, and what was asked for: further rows come after these."""
    verdicts = sorted({row.verdict for row in found if row.verdict})
    left, right, *more = st.columns(3 if verdicts else 2, gap="small")
    answers = sorted({row.answer for row in found if row.answer})
    wanted = left.multiselect("Answer", answers, key="batch-answers", placeholder="any")
    trusted = more[0].multiselect("Trust verdict", verdicts, key="batch-verdicts", placeholder="any") if more else []
    words = right.text_input("Find in names, errors and warnings", key="batch-words").strip().lower()
    kept = [
        row
        for row in found
        if (not wanted or row.answer in wanted)
        and (not trusted or row.verdict in trusted)
        and (words in row.file.lower() or words in row.error.lower() or words in " ".join(row.warnings).lower())
    ]
    return kept, (*wanted, *trusted, words)


def rows(found: "list[Row]", card: "Card") -> "pd.DataFrame":
    """Return the rows of a model as they are shown."""
    import pandas as pd

    from explain.batch import cues_in_words

    shown = []
    for row in found:
        one: dict[str, object] = {"clip": row.file}
        if card.answer == "dimensions":
            one |= {name: round(row.outputs.get(name, math.nan), 2) for name in card.emotions}
        else:
            p = row.outputs.get(row.answer)
            one |= {
                "answer": row.answer,
                "p": None if p is None else 100 * p,
                "entropy": None if row.error else row.entropy_bits,
            }
        one |= {
            "trust": row.verdict,
            "experts": f"{row.agree} of {row.compared}" if row.compared else "",
            "salient cues": row.error or cues_in_words(row),
            "warnings": " ".join(row.warnings),
        }
        shown.append(one)
    tested = any(row.verdict for row in found)
    return pd.DataFrame(shown).drop(columns=[] if tested else "trust", errors="ignore")


def _one(row: "Row", taken: "list[Clip]") -> None:
    st.html(f'<div class="ss"><p class="title">{escape(row.file)}</p></div>')
    if row.error:
        st.error(plain(row.error))
        return
    if row.verdict_words:
        st.caption(plain(row.verdict_words))
    if st.button("Open in Explain a clip", type="primary", key="batch-open"):
        session.use(taken[row.number].load(), f"{row.file}, one of many clips")
        st.switch_page("pages/explain.py")


def _files(found: "tuple[Row, ...]", card: "Card") -> None:
    from explain.batch import table
    from explain.text_files import csv_file, csv_text

    st.subheader("Take it away")
    left, right = st.columns(2)
    left.download_button(
        "Table (CSV)",
        lambda: csv_file(csv_text(table(found, card))),
        file_name="clips.csv",
        mime="text/csv",
        on_click="ignore",
        width="stretch",
    )
    right.download_button(
        "Table (Parquet)",
        lambda: _parquet(table(found, card)),
        file_name="clips.parquet",
        mime="application/octet-stream",
        on_click="ignore",
        width="stretch",
    )


def _parquet(table: "pd.DataFrame") -> bytes:
    import io

    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()
