"""The rating study: its welcome, one stimulus after another, and what came out so far."""

import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background, sign_in
from pages.parts.cards import table
from pages.parts.sound import player
from pages.parts.words import p_value, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from explain.explanation import Explanation
    from explain.rating import Stimulus
    from explain.trust import Trust

RATER, TRIAL, OPENED, SINCE, SHOWN = "rater", "rating-trial", "rating-opened", "rating-since", "rating-shown"


def show() -> None:
    """Draw the study: off, its start, the next stimulus, or the end; and what came out so far."""
    from explain.rating import plan
    from ser_core.settings import settings

    folder = settings().ratings_dir
    st.caption(
        "Does more of an explanation help to see what a model relied on? You see nine clips, each with a map alone, "
        "with the measured cues, or with the trust tests as well, and say what you think the model listened to."
    )
    if folder is None:
        st.info("The study is off on this server; to switch it on, let SERSCOPE_RATINGS name a folder for the answers.")
        return
    rater = st.session_state.get(RATER)
    if rater is None:
        _start()
    else:
        trials = plan(rater, _stimuli())
        number = st.session_state.get(TRIAL, 0)
        if number < len(trials):
            st.progress(number / len(trials), f"Clip {number + 1} of {len(trials)}")
            if st.session_state.get(OPENED) == number:
                _trial(folder, rater, number, *trials[number])
            else:
                _before(number, trials[number][0])
        else:
            st.success(f"Thank you. Your answers are stored under the pseudonym {rater}.")
            st.button("Start as another rater", on_click=_forget)
    with st.expander("What came out so far"):
        results(folder)


def _start() -> None:
    st.markdown(
        "- For six of the nine clips the model is built by hand and hears **one** property of the voice, so that an "
        "answer can be right or wrong. For the other three it is a trained model: nobody knows for sure what that "
        "relied on, and only your sureness and your time count.\n"
        "- That a property was made strong in a clip does not mean that the model listened to it.\n"
        "- Stored are your answers, your sureness, the seconds you took and a random pseudonym. No name, no sound of "
        "yours, no address. You can stop at any time; what you answered until then stays.\n"
        f"- {_who_sees()}"
    )
    if st.button("Take part", type="primary"):
        from explain.rating import new_rater

        st.session_state[RATER], st.session_state[TRIAL] = new_rater(), 0
        st.rerun()


def _who_sees() -> str:
    """Return who sees the answers, and who can take them away, in a sentence."""
    if sign_in.providers():
        return (
            "Every answer, under its pseudonym, is seen and can be taken away as a table by whoever runs this server "
            "and those whom they name as the study's owners, after signing in. Others see only how many answers there "
            "are."
        )
    return (
        "Every answer, under its pseudonym, is seen and can be taken away as a table by whoever runs this server, and "
        "on this page only where the server is reached from its own machine alone. Others see only how many answers "
        "there are."
    )


def _forget() -> None:
    for key in (RATER, TRIAL, OPENED, SINCE, SHOWN):
        st.session_state.pop(key, None)


@st.cache_resource(show_spinner="Choosing the clips")
def _stimuli() -> "tuple[Stimulus, ...]":
    """Return the stimuli: synthetic clips, and clips of a corpus for the trained model where one is at hand."""
    from explain.rating import stimuli
    from explain.study_clips import in_turn
    from ser_core.corpora import find_corpora
    from ser_core.registry import model_names
    from ser_core.settings import settings
    from ser_core.tasks import CREMA_D

    found = find_corpora(settings().corpora_dirs).get(CREMA_D.name)
    clips = ("like_happiness", "like_anger", "neutral_woman")
    if found is not None:
        clips = tuple(clip.file for clip in in_turn(found, CREMA_D.emotions, 3))
    return stimuli(model_names()[0], clips)


def _shown(clip: str, model_name: str) -> "tuple[Explanation, Trust]":
    """Return the explanation of a clip and its trust tests, which take a turn among all readers' work."""
    asked = (clip, model_name)
    kept = st.session_state[SHOWN] = {k: v for k, v in st.session_state.get(SHOWN, {}).items() if k == asked}
    return background.made_once(
        kept,
        asked,
        ("rating", *asked),
        "Preparing the clip",
        lambda job: _explained(clip, model_name, job.tell),
        then="It comes",
    )


@st.cache_resource(show_spinner=False, max_entries=32)
def _explained(clip: str, model_name: str, _tell: "Callable[[float, str], None]") -> "tuple[Explanation, Trust]":
    """Return the explanation of a public clip and its quick trust tests, which all raters share."""
    import dataclasses

    from explain.attribution import Target, methods_for
    from explain.explanation import explain
    from explain.listeners import LISTENERS, SIGNAL, listener
    from explain.method_choice import best_first
    from explain.samples import samples
    from explain.trust import trust
    from ser_core.audio import read
    from ser_core.registry import load_model

    def explaining(share: float, words: str) -> None:
        _tell(share / 2, words)

    def testing(share: float, words: str) -> None:
        _tell(0.5 + share / 2, words)

    paths = {sample.name: sample.path for sample in samples()}
    recording = read(paths.get(clip, Path(clip)))
    if model_name in LISTENERS:
        model = listener(model_name)
        found = explain(recording, model, "integrated_gradients", Target(SIGNAL), progress=explaining)
    else:
        model = load_model(model_name)
        found = explain(recording, model, best_first(model.name, methods_for(model))[0].name, progress=explaining)
    tested = trust(
        model, recording, found.attribution, found.speech, regions=found.regions, quick=True, progress=testing
    )
    if model_name in LISTENERS:
        # Weights made by hand are nearly all alike, so that shuffling them destroys nothing.
        tests = tuple(test for test in tested.tests if test.name != "randomised weights")
        tested = dataclasses.replace(tested, tests=tests)
    return found, tested


def _before(number: int, stimulus: "Stimulus") -> None:
    """Prepare a clip, and wait until the rater asks for it: so the page begins at its top, and breaks do not count."""
    _shown(stimulus.clip, stimulus.model)
    st.markdown("Your time counts from when the clip is shown until you press Next. Before it you can take a break.")
    st.button(f"Show clip {number + 1}", type="primary", on_click=_open, args=(number,))


def _open(number: int) -> None:
    st.session_state[OPENED] = number


def _trial(folder: Path, rater: str, number: int, stimulus: "Stimulus", condition: str) -> None:
    from explain.rating import ANSWERS, Rating, store

    found, trust = _shown(stimulus.clip, stimulus.model)
    player(found.recording, "The clip")
    _explanation(found, trust, condition)
    with st.form(f"answer-{rater}-{number}"):
        answer = st.radio(
            "What did the model rely on most?", list(ANSWERS), index=None, format_func=lambda name: ANSWERS[name]
        )
        sureness = st.slider("How sure are you? 0: a guess, 100: certain", 0, 100, 50, 5)
        pressed = st.form_submit_button("Next", type="primary")
    since = st.session_state.setdefault(SINCE, (number, time.monotonic()))
    if since[0] != number:
        since = st.session_state[SINCE] = (number, time.monotonic())
    if not pressed:
        return
    if answer is None:
        st.error("Choose what you think the model relied on, or “I cannot tell”.")
        return
    seconds = round(time.monotonic() - since[1], 1)
    store(
        Rating(rater, number, stimulus.name, stimulus.model, condition, answer, sureness, seconds, stimulus.truth),
        folder,
    )
    st.session_state[TRIAL] = number + 1
    st.rerun()


def _explanation(found: "Explanation", trust: "Trust", condition: str) -> None:
    from explain.listeners import NONE, SIGNAL
    from pages.parts import tables, trust_panel, viewer

    p = found.prediction
    st.markdown(f"The model’s answer: **{p.top}**. Explained is what speaks for **{found.target.name}**.")
    if found.target.emotion == SIGNAL:
        st.caption(f"This model answers “{SIGNAL}” where it hears much of its one property, and “{NONE}” elsewhere.")
    st.html(viewer.still(found, cues=False))
    st.caption(
        "Above: the waveform and the spectrogram. Below: the map; dark places speak for "
        f"{plain(found.target.name)}, and the curve adds them up over frequency. Numbered boxes stand out most."
    )
    if condition != "map":
        tables.show_magnitudes(found, None, None)
        tables.show_contrasts(found, None, None, selectable=False)
        if found.target.emotion != SIGNAL:
            tables.show_agreement(found)
    if condition == "map, cues and trust":
        st.header("Can this explanation be trusted?")
        st.html(
            f'<div class="ss"><p class="paragraph">{escape(trust.sentence)}</p>{trust_panel.tests(trust.tests)}</div>'
        )


# What came out


def results(folder: Path) -> None:
    """Draw how many answers the folder has; for whoever runs the study, their analysis, and all of them as a file."""
    from explain.rating import by_condition, stored, summary, tests, to_csv
    from explain.text_files import csv_file

    ratings = stored(folder)
    st.markdown(summary(ratings))
    if not sign_in.runs_study():
        st.caption("What the answers say is shown to those who run the study.")
        return
    if not ratings:
        return
    for drawn in (_measures(by_condition(ratings)), _tests(tests(ratings))):
        st.html(f'<div class="ss">{drawn}</div>')
    st.caption(
        "Intervals: raters drawn anew. Tests: Wilcoxon’s signed-rank test, paired by rater, corrected over all tests "
        "(Holm). Right and wrong count only for the models built by hand."
    )
    st.download_button("All answers (CSV)", csv_file(to_csv(ratings)), "ratings.csv", "text/csv", on_click="ignore")


def _measures(found: "pd.DataFrame") -> str:
    from explain.rating import CONDITIONS, MEASURES

    rows = [
        (
            MEASURES[row["measure"]],
            CONDITIONS[row["condition"]],
            _number(row["value"]),
            f"{_number(row['low'])} to {_number(row['high'])}",
            str(row["raters"]),
            str(row["answers"]),
        )
        for row in found.to_dict("records")
    ]
    return _table("By condition", ("Measure", "Condition", "Value", "95 % interval", "Raters", "Answers"), rows)


def _tests(found: "pd.DataFrame") -> str:
    from explain.rating import CONDITIONS, MEASURES

    rows = [
        (
            MEASURES[row["measure"]],
            f"{CONDITIONS[row['more']]} against {CONDITIONS[row['less']]}",
            _number(row["difference"]),
            p_value(row["p"]),
            p_value(row["p_corrected"]),
            str(row["raters"]),
        )
        for row in found.to_dict("records")
    ]
    head = ("Measure", "Conditions", "Mean difference", "p", "p corrected", "Raters")
    return _table("Differences", head, rows)


def _table(caption: str, names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table whose first two columns hold words and whose others hold numbers."""
    kinds = ["", " class=words", *[""] * (len(names) - 2)]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(names, kinds, strict=True))
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{kind}>{escape(one)}</td>" for one, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return table(caption, head, body)


def _number(value: float, digits: int = 2) -> str:
    return "–" if value != value else f"{value:.{digits}f}".replace("-", "−")
