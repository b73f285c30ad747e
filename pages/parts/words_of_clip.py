"""The words of a clip, for models that read them: the reader's own text, and what each word and level says.

A model reads words if it has ``with_words`` and ``evidence``, as ``ser_core.systems.mater`` has.
"""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from pages.parts import background, room, session
from pages.parts.words import number, plain
from ser_core.errors import SerscopeError, SettingError
from ser_core.numbers import percent, signed

if TYPE_CHECKING:
    from explain.attribution import Target
    from explain.explanation import Explanation
    from ser_core.audio import Recording
    from ser_core.models import SpeechModel
    from ser_core.systems.mater.evidence import Evidence, LevelEvidence, MaterModel, WordEvidence
    from ser_core.word_times import SpokenText

LANGUAGES = {"English": "en", "another (recognised)": None}
MULTILINGUAL = "whisper-base"
LONGEST_TEXT = 4000


@dataclass(frozen=True, eq=False)
class Asked:
    """What the reader asked for once: a text (None: let the recogniser listen), its language, a TextGrid."""

    text: str | None
    language: str | None
    grid: bytes | None


def known(recording: "Recording", given: "SpeechModel") -> "SpeechModel":
    """Return the model with the words of the clip, if it reads words: the reader's, else the recogniser's."""
    if not hasattr(given, "with_words"):
        return given
    model = cast("MaterModel", given)
    kept = _kept()
    background.made_once(
        kept,
        "words",
        ("words", recording.sha256, model.recogniser),
        "Recognising the words",
        lambda job: model.hears(recording.samples),
        then="The answer comes",
    )
    with st.expander(f"Words: {plain(kept['words'].text) or 'none recognised'}"):
        _correct(recording, kept["words"], model.recogniser)
    reads = st.toggle("Let the text count", True, key=session.input_key("reads"), help=_READS_HELP)
    return model.with_words(kept["words"], reads=reads)


_READS_HELP = (
    "A model that learned text from a few fixed sentences has learned nothing from what they mean, and another text "
    "moves its answer all the same. Without the text, only the voice of the words counts."
)


def show(recording: "Recording", given: "SpeechModel", target: "Target") -> None:
    """Draw what levels and words say for the target, if the model reads words."""
    if not hasattr(given, "evidence"):
        return
    model = cast("MaterModel", given)
    kept, asked = _kept(), (model.name, target)
    found = background.made_once(
        kept,
        asked,
        ("evidence", recording.sha256, *asked),
        "Asking what each word says",
        lambda job: model.evidence(recording, target.emotion, target.against),
        then="Words and levels come",
        needed=False,
    )
    if found is None:
        return
    st.subheader("Words and levels")
    st.html(word_strip(found, recording.duration_s))
    st.html(word_table(found, target.name))
    st.html(level_table(found, target.name, model.emotions))


def evidence(shown: "Explanation") -> "Evidence | None":
    """Return what ``show`` drew for an explanation; None where the model reads no words."""
    found: Evidence | None = _kept().get((shown.prediction.model, shown.target))
    return found


def _kept() -> dict[Any, Any]:
    """Return the session's "words" of the clip, and the evidence for each model and target that was asked for."""
    kept: dict[Any, Any] = st.session_state.setdefault("spoken", {})
    return kept


def _correct(recording: "Recording", spoken: "SpokenText", recogniser: str) -> None:
    """Let the reader give another text, a TextGrid or another language."""
    st.caption(
        f"{plain(spoken.origin[0].upper() + spoken.origin[1:])}. A corrected text is laid over the clip by the "
        "recogniser; a TextGrid with a tier 'words' is taken as it is. Neither leaves this session."
    )
    with st.form("said", border=False):
        text = st.text_area("What was said", spoken.text, max_chars=LONGEST_TEXT, key=session.input_key("said"))
        left, right = st.columns(2)
        language = left.selectbox("Language", list(LANGUAGES), key=session.input_key("said-in"))
        grid = right.file_uploader("TextGrid", type=["TextGrid", "txt"], key=session.input_key("grid"))
        use, back = st.columns(2)
        pressed = use.form_submit_button("Use these words")
        again = back.form_submit_button("Let the recogniser listen again")
    kept = _kept()
    if pressed or again:
        laid = None if grid is None else session.take(lambda: room.content(grid), grid)
        kept["asked"] = Asked(None if again else text, LANGUAGES[language], laid)
    # Kept until it is done, as the reader may do something else meanwhile.
    asked: Asked | None = kept.get("asked")
    if asked is None:
        return
    try:
        found = background.made_once(
            {},
            asked,
            ("words", recording.sha256, asked),
            "Finding the words in the clip",
            lambda job: _spoken(recording, asked, recogniser),
            then="The answer comes",
            needed=False,
        )
    except SerscopeError as fault:
        del kept["asked"]
        st.error(plain(str(fault)))
        return
    if found is None:
        return
    del kept["asked"]
    kept["words"] = found
    st.rerun()


def _spoken(recording: "Recording", asked: Asked, recogniser: str) -> "SpokenText":
    from ser_core.word_times import SpokenText, aligned_text, recognised, text_grid_words

    encoder = recogniser if asked.language == "en" else MULTILINGUAL
    if asked.text is None:
        return recognised(recording.samples, encoder, language=asked.language)
    if asked.grid is not None:
        try:
            return text_grid_words(asked.grid.decode("utf-8-sig"), asked.language or "und")
        except UnicodeDecodeError:
            raise SettingError(
                "The TextGrid is not in UTF-8; set Praat's text writing to UTF-8 and save it again."
            ) from None
    if not asked.text.strip():
        return SpokenText((), asked.language or "und", "you say that nothing was said")
    return aligned_text(recording.samples, asked.text, encoder, language=asked.language)


def word_strip(found: "Evidence", duration_s: float) -> str:
    """Return the words on the clip's time line, coloured by what they say."""
    largest = max((abs(w.acoustic + w.text) for w in found.words), default=0.0) or 1.0
    boxes = []
    for word in found.words:
        spoken, moves = word.measures.word, word.acoustic + word.text
        left, width = 100 * spoken.start_s / duration_s, 100 * (spoken.end_s - spoken.start_s) / duration_s
        boxes.append(
            f'<span class="spoken" style="left:{left:.2f}%;width:{width:.2f}%" title="{escape(spoken.text)}">'
            f'<span class="{_side(moves)}" style="opacity:{0.15 + 0.85 * abs(moves) / largest:.2f}"></span>'
            f"<b>{escape(spoken.text)}</b></span>"
        )
    return f'<div class="ss"><div class="spoken-line" aria-hidden="true">{"".join(boxes)}</div></div>'


def word_table(found: "Evidence", target: str) -> str:
    """Return a table of the words: how each was said, what it means, and how far it moves the answer."""
    if not found.words:
        return '<div class="ss"><p>No words are known for this clip, so the word level has nothing to say.</p></div>'
    largest = max(abs(w.acoustic + w.text) for w in found.words) or 1.0
    heads = ("Word", "From–to (s)", "Moves", "", "Pitch", "Level", "Length", "Pause before", "Valence")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(_word_row(word, largest) for word in found.words)
    caption = f"How far each word moves the logit of {escape(target)}, and how it was said"
    about = (
        f"{caption}. Moves add up to the word level’s voice and text; pitch and level are set against the clip. "
        f"{escape(found.spoken.origin[0].upper() + found.spoken.origin[1:])}."
    )
    if found.text_left_out:
        about += " The text is left out: it was not to count, or the text encoder does not read its language."
    return (
        f'<div class="ss"><p class="soft">{about}</p><div class="scroll" tabindex="0"><table class="spoken">'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def level_table(found: "Evidence", target: str, emotions: tuple[str, ...]) -> str:
    """Return a table of the levels: what each answers, how sure it is, its weight, and how far it moves the answer."""
    heads = ("Level", "Answers", "Entropy", "Weight", "Voice moves", "Text moves", "Constant", "Together")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    total = number(sum(level.moves for level in found.levels))
    caption = f"What each level answers and how far it moves the logit of {escape(target)}"
    return (
        f'<div class="ss"><p class="soft">{caption}, {total} in all. A level’s weight falls as its entropy rises.</p>'
        f'<div class="scroll" tabindex="0"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_level_row(level, emotions) for level in found.levels)}</tbody></table></div></div>"
    )


def _word_row(word: "WordEvidence", largest: float) -> str:
    m, moves = word.measures, word.acoustic + word.text
    width = 50 * abs(moves) / largest
    start = 50.0 if moves >= 0 else 50 - width
    pitch = number(m.pitch_hz, "Hz")
    if m.pitch_against_clip is not None:
        pitch += f" <small>{_signed(m.pitch_against_clip, 'st')}</small>"
    return (
        f'<tr><th scope="row">{escape(m.word.text)}</th><td>{m.word.start_s:.2f}–{m.word.end_s:.2f}</td>'
        f'<td class="bar"><div class="track" aria-hidden="true"><div class="fill {_side(moves)}" '
        f'style="left:{start:.1f}%;width:{width:.1f}%"></div><div class="zero"></div></div></td>'
        f"<td>{_signed(moves)}</td><td>{pitch}</td><td>{_signed(m.level_against_clip, 'dB')}</td>"
        f"<td>{m.duration_s:.2f} s</td><td>{m.pause_s:.2f} s</td>"
        f"<td>{_signed(m.valence) if m.valence is not None else '–'}</td></tr>"
    )


def _level_row(level: "LevelEvidence", emotions: tuple[str, ...]) -> str:
    best = max(range(len(emotions)), key=lambda place: level.probabilities[place])
    return (
        f'<tr><th scope="row">{level.level}</th><td>{escape(emotions[best])} {percent(level.probabilities[best])}</td>'
        f"<td>{level.entropy_bits:.2f} bits</td><td>{percent(level.weight)}</td><td>{_signed(level.acoustic)}</td>"
        f"<td>{_signed(level.text)}</td><td>{_signed(level.constant)}</td><td>{_signed(level.moves)}</td></tr>"
    )


def _side(moves: float) -> str:
    return "for" if moves >= 0 else "against"


def _signed(value: float, unit: str = "") -> str:
    return f"{signed(value)} {unit}".rstrip().replace("-", "−")
