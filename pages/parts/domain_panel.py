"""What an answer may be used for, and in what a clip lies outside what the model was trained on."""

import dataclasses
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background
from pages.parts.charts import rows_of
from pages.parts.predictions import title_of
from pages.parts.words import language
from ser_core.intended_use import intended_use
from ser_core.numbers import percent
from ser_core.turns import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd
    from streamlit.delta_generator import DeltaGenerator

    from explain.explanation import Explanation
    from explain.long_recording import Stretch
    from ser_core.audio import Recording
    from ser_core.domain import Outside
    from ser_core.models import Card


def show_use(*cards: "Card") -> None:
    """Draw what answers of these models may be used for, and what they were trained on."""
    st.html(use(*cards))


def use(*cards: "Card") -> str:
    """Return the intended use of these models' answers as a paragraph."""
    return f'<div class="ss use" role="note" aria-label="Intended use"><p>{escape(intended_use(*cards))}</p></div>'


def show(shown: "Explanation") -> "tuple[Explanation, Callable[[], None]]":
    """Draw in what the clip lies outside the model's training.

    Returns:
        The explanation, with the language among the warnings once it was found to be another; and what to call when
        the rest of the page stands: it has the language told, and draws it in its place.
    """
    from ser_core.domain import language_outside, reference
    from ser_core.familiarity import UNUSUAL

    known = reference(shown.card)
    if known is None:
        st.html(
            '<div class="ss"><p class="soft">Whether the recording is like those that the model was trained on cannot '
            "be said: what they are like is not known for this model.</p></div>"
        )
        return shown, lambda: None
    kept: dict[str, dict[str, float]] = st.session_state.setdefault("languages", {})
    asked = shown.recording.sha256
    told = background.job(("language", asked))
    if told is not None and told.result is not None:
        kept[asked] = told.result
    if asked in kept:
        shown = dataclasses.replace(shown, outside=(*shown.outside, *language_outside(shown.card, kept[asked])))
    near = shown.prediction.familiarity
    unusual = near is not None and near.percentile >= UNUSUAL
    st.html(warnings(shown.outside, known.corpus, unusual=unusual, spoken=bool(shown.speech)))
    place = st.container()
    if asked in kept:
        place.html(heard(kept[asked]))
    elif shown.speech:
        return shown, lambda: _tell_language(shown.recording, place)
    return shown, lambda: None


def _tell_language(recording: "Recording", place: "DeltaGenerator") -> None:
    """Have Whisper tell the language; when it has, the page is drawn again."""
    from ser_core.transcription import spoken_languages

    with suppress(BusyError), place:  # where too much waits, the next run of the page asks again
        asked = "language", recording.sha256
        started = background.start(asked, lambda job: spoken_languages(recording.samples))

        def wait() -> None:
            if started.done:
                background.result(started)
            else:
                st.html(_soft("Whisper base is telling the language …"))

        background.follow(started, wait)


def heard(languages: dict[str, float]) -> str:
    """Return which language Whisper takes the clip for, as a line."""
    from ser_core.domain import language_name

    told = ", ".join(f"{language_name(code)} {percent(share)}" for code, share in list(languages.items())[:2])
    return _soft(f"Whisper base takes the language for: {told}. It is often wrong on a few seconds of speech.")


def _soft(words: str) -> str:
    return f'<div class="ss"><p class="soft" role="status">{escape(words)}</p></div>'


def warnings(
    outside: "Iterable[Outside]", corpus: str, whose: str = "", *, unusual: bool = False, spoken: bool = True
) -> str:
    """Return in what a clip lies outside a model's training clips, a note each, or that nothing was found.

    Args:
        outside: the warnings.
        corpus: the training clips'.
        whose: the clip or model that is meant, where there are several.
        unusual: whether it was said that the clip lies far from them in the model's embedding.
        spoken: whether speech was found, of which level, noise and voice are measured.
    """
    notes = "".join(f'<p class="note">{escape(each.sentence)}{_small(each.cost)}</p>' for each in outside)
    if not notes:
        even_so = "What makes it unlike them was not found: length" if unusual else "Length"
        of_speech = ", level, noise, bandwidth, ends, peaks, repeats, pitch and size of the voice all"
        measured = of_speech if spoken else ", bandwidth, ends, peaks and repeats"
        rest = "" if spoken else " No speech was found whose level, noise and voice could be compared."
        return (
            f'<div class="ss"><p class="soft">{even_so}{measured} lie within the range of the clips that the model was '
            f"trained on ({escape(corpus)}).{rest}</p></div>"
        )
    head = f"{whose}: outside" if whose else "Outside"
    return f'<div class="ss"><p class="title">{escape(head)} what the model was trained on</p>{notes}</div>'


def of_stretches(stretches: "Sequence[Stretch]") -> str:
    """Return how many stretches of a session lie outside the model's training, and in what; "" where none does."""
    from ser_core.domain import MEASURES

    told = [{each.measure for each in stretch.outside} for stretch in stretches]
    some = sum(map(bool, told))
    if not some:
        return ""
    counts = {measure: sum(measure in each for each in told) for measure in MEASURES}
    ranked = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    parts = ", ".join(f"{MEASURES[name].label} in {counts[name]}" for name in ranked)
    return (
        f'<div class="ss"><p class="note">{some} of {len(told)} stretches lie outside what the model was trained on '
        f"({escape(parts)}): trust their answers less. Explain a stretch to see why.</p></div>"
    )


def show_rates() -> None:
    """Draw how often the warnings come, as measured."""
    import pandas as pd

    from ser_core.domain import TABLE

    st.header("When the clip is unlike the training")
    st.caption(
        "How often the warnings come: on held-out clips of CREMA-D, where each is a false alarm, on other speech, and "
        "on held-out clips that were made worse. A measure warns outside the middle 99 % of the training clips; "
        "“unfamiliar” is farther out in the model’s embedding than 99 % of unseen clips. The language is told by "
        "Whisper base."
    )
    if TABLE.exists():
        st.html(detection(pd.read_csv(TABLE, keep_default_na=False)))
    else:
        st.info("It has not been measured yet; 'python -m ser_core domain' does it.")


def detection(found: "pd.DataFrame") -> str:
    """Return how often clips of each group are warned of, as a table: ``ser_core.domain_study``'s."""
    models = [name for name in dict.fromkeys(found["model"]) if name]
    columns = [("", "any"), ("", "language"), *((name, "familiarity") for name in models)]
    shares = {(row.group, row.model, row.warning): row for row in found.itertuples()}
    rows = ""
    for group, part in found.groupby("group", sort=False):
        cells = "".join(
            "<td>–</td>"
            if (row := shares.get((group, *column))) is None
            else f"<td><strong>{percent(row.share)}</strong> [{percent(row.low)}, {percent(row.high)}]</td>"
            for column in columns
        )
        rows += f'<tr><th scope="row">{escape(_speech(str(group)))}</th><td>{part["clips"].iloc[0]}</td>{cells}</tr>'
    names = ("Speech", "Clips", "Any measure", "Language", *(f"Unfamiliar to {title_of(name)}" for name in models))
    return rows_of("Share of clips that are warned of, with 95 % intervals over speakers", names, rows)


def _speech(group: str) -> str:
    """Return what a group of tested clips is, in words: a change with level and unit, a corpus with its language."""
    from pages.parts.robustness_charts import level_words
    from ser_core.degradations import KINDS

    kind, _, level = group.rpartition(" ")
    if kind in KINDS:
        return f"{kind}, {level_words(kind, float(level))}"
    name, bracket, code = group.partition(" (")
    return f"{name} ({language(code[:-1])})" if bracket else group


def _small(words: str) -> str:
    return f" <small>{escape(words)}</small>" if words else ""
