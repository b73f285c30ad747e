"""The reader's words: corrected in the session, and what they say drawn without a word becoming markup."""

import re

import numpy as np
import pytest
from explanations import HOSTILE_NAMES
from streamlit.testing.v1 import AppTest

from explain.opened_sections import spoken_section
from pages.parts.words_of_clip import level_table, word_strip, word_table
from ser_core.systems.mater.evidence import Evidence, LevelEvidence, WordEvidence
from ser_core.turns import EXPLANATION
from ser_core.word_measures import WordMeasures
from ser_core.word_times import SpokenText, Word
from tests.queued import kinds_queued

EMOTIONS = ("anger", "neutral")


def evidence(*texts: str, foreign: bool = False) -> Evidence:
    words = tuple(Word(text, 0.5 * place, 0.5 * place + 0.4) for place, text in enumerate(texts))
    said = tuple(
        WordEvidence(
            WordMeasures(word, 200.0, 34.3, 1.5 - place, 2.0, 0.1, 60.0, -3.0, 0.4, 0.1, 0.1, 0.8, None),
            0.4,
            -0.9 * place,
        )
        for place, word in enumerate(words)
    )
    level = LevelEvidence("word", (0.25, 0.75), 0.811, 0.6, 0.8, -0.9, 0.1)
    return Evidence("anger", None, (level,), said, SpokenText(words, "en", "your text"), foreign)


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [[re.sub("<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_each_word_shows_its_times_its_voice_and_how_far_it_moves_the_answer() -> None:
    _, first, second = cells(word_table(evidence("go", "away"), "anger"))
    assert first == ["go", "0.00–0.40", "", "+0.40", "200 Hz +1.50 st", "−3.00 dB", "0.40 s", "0.10 s", "–"]
    assert second[3] == "−0.50"


def test_the_strip_lays_words_over_the_clips_own_seconds() -> None:
    strip = word_strip(evidence("go", "away"), 2.0)
    assert re.findall(r"left:([\d.]+)%;width:([\d.]+)%", strip) == [("0.00", "20.00"), ("25.00", "20.00")]
    assert 'class="for"' in strip and 'class="against"' in strip


def test_each_level_shows_its_answer_weight_and_what_adds_up() -> None:
    html = level_table(evidence("go"), "anger", EMOTIONS)
    assert cells(html)[1] == ["word", "neutral 75 %", "0.81 bits", "60 %", "+0.80", "−0.90", "+0.10", "0.00"]


def test_the_report_holds_the_words_and_whether_their_text_counted() -> None:
    said = spoken_section(evidence("zanzibar", "away"), "anger", EMOTIONS)
    assert said.sentences == (
        "The model worked with “zanzibar away”; its text counted.",
        "Your text; language: en.",
    )
    words, levels = said.tables
    assert words.rows[0] == ("zanzibar", "0.00 to 0.40 s", "+0.40", "0.00", "200 Hz", "−3.00 dB", "0.10 s", "–")
    assert levels.rows == (("word", "neutral 75 %", "0.811 bits", "60 %", "+0.80", "−0.90", "+0.10", "0.00"),)
    assert all(len(row) == len(table.head) for table in said.tables for row in table.rows)
    left = spoken_section(evidence("geh", foreign=True), "anger", EMOTIONS)
    assert left.sentences[0] == "The model worked with “geh”; its text was left out."
    none = spoken_section(evidence(), "anger", EMOTIONS)
    assert none.sentences[0].startswith("The model worked with no words") and len(none.tables) == 1


def exported() -> None:
    import streamlit as st
    from explanations import example_explanation

    from pages.parts import exports, words_of_clip
    from tests.test_words_of_clip import evidence

    shown = example_explanation()
    st.write(len(exports.gathered(shown).sections))
    words_of_clip._kept()[shown.prediction.model, shown.target] = evidence("zanzibar")
    st.write(exports.gathered(shown).sections[0].title)


def test_what_a_model_read_goes_into_the_export() -> None:
    app = AppTest.from_function(exported, default_timeout=60).run()
    assert not app.exception
    before, title = (line.value.replace("`", "") for line in app.markdown)
    assert title == "Words and levels" and before in ("0", "1")


def test_words_add_up_to_what_is_not_the_levels_constant() -> None:
    assert "add up to the word level’s voice and text;" in word_table(evidence("zanzibar"), "anger")


def test_a_clip_without_words_and_a_foreign_text_are_said_in_words() -> None:
    assert "nothing to say" in word_table(evidence(), "anger")
    assert "left out" in word_table(evidence("geh", foreign=True), "anger")


@pytest.mark.parametrize("hostile", HOSTILE_NAMES)
def test_a_word_from_outside_never_becomes_markup(hostile: str) -> None:
    found = evidence(hostile)
    for html in (word_table(found, hostile), word_strip(found, 2.0), level_table(found, hostile, (hostile, "b"))):
        assert not re.search(r"<(?!/?(?:div|p|span|b|table|caption|thead|tbody|tr|th|td|small)\b)", html)
        assert not re.search(r"<[^>]*\son\w+=", html.replace(" one", ""))


def page() -> None:
    from types import SimpleNamespace

    import streamlit as st

    from pages.parts import words_of_clip
    from ser_core.audio import read
    from ser_core.settings import ASSETS
    from ser_core.word_times import SpokenText, Word

    heard = SpokenText((Word("wrong", 0.2, 0.6),), "en", "words and times recognised by whisper-tiny.en")
    model = SimpleNamespace(
        recogniser="whisper-tiny.en", hears=lambda samples: heard, with_words=lambda spoken, reads: spoken
    )
    spoken = words_of_clip.known(read(ASSETS / "samples" / "neutral_man.flac"), model)
    st.write("; ".join(f"{w.text} {w.start_s:.2f} {w.end_s:.2f}" for w in spoken.words))
    st.write(spoken.origin)


def test_a_corrected_text_is_laid_over_the_clip_and_the_recogniser_can_be_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queued = kinds_queued(monkeypatch)
    app = AppTest.from_function(page, default_timeout=60).run()
    assert "wrong 0.20 0.60" in [m.value for m in app.markdown]
    app.text_area[0].set_value("We were away a year ago")
    app.button[0].click().run()
    assert not app.exception and not app.error
    words = next(m.value for m in app.markdown if m.value.startswith("We "))
    times = [float(t) for t in re.findall(r"\d+\.\d+", words)]
    assert len(times) == 12 and (np.diff(times) >= 0).all()
    assert "your text, with times found by whisper-tiny.en" in [m.value for m in app.markdown]
    app.text_area[0].set_value("word " * 300)
    app.button[0].click().run()
    assert "cannot have been said" in app.error[0].value
    app.run()
    # To hear the words, and to find each of the two texts; drawn anew, nothing is asked again.
    assert not app.error and queued == [EXPLANATION] * 3


def test_a_model_that_reads_no_words_is_left_alone() -> None:
    def plain_page() -> None:
        import streamlit as st

        from pages.parts import words_of_clip

        st.write(words_of_clip.known(None, "a model") == "a model")  # type: ignore[arg-type]
        words_of_clip.show(None, "a model", None)  # type: ignore[arg-type]

    app = AppTest.from_function(plain_page).run()
    assert not app.exception and len(app.expander) == 0
