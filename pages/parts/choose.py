"""Choosing: the clip, the model, the method, the class, and how the voice is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import room, session
from pages.parts.predictions import corpora_at_hand
from pages.parts.words import plain
from ser_core.errors import ModelError, SettingError
from ser_core.numbers import percent

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from explain.attribution import Method, Target
    from explain.cues import CueSettings
    from ser_core.audio import Recording
    from ser_core.corpora import Corpus
    from ser_core.models import Card, Figure, Prediction, SpeechModel


@dataclass(frozen=True)
class Taking:
    """Who is given a chosen clip (as ``session.use``), what the button says, and what sets its inputs apart."""

    use: "Callable[..., None]"
    words: str = "Explain this clip"
    key: str = ""

    def taken(self, recording: "Recording", origin: str, *more: object) -> None:
        """Hand a clip over and draw the page with it."""
        self.use(recording, origin, *more)
        st.rerun()


FORMATS = "WAV, FLAC, MP3, OGG, Opus, M4A, AAC or WebM with speech"
SOURCES = ("Sample", "Upload", "Record", "Corpus")
PER_ROW = 4


def welcome() -> None:
    """Say what SERscope does."""
    from base64 import b64encode

    from ser_core.settings import ASSETS

    picture = b64encode((ASSETS / "welcome.svg").read_bytes()).decode()
    st.html(
        '<div class="ss"><div class="welcome"><div><h1 class="hero">See why a model hears an emotion</h1>'
        '<p class="lead">SERscope shows which moments and frequencies of a recording a speech emotion model relied '
        "on, measures the voice there, and sets it beside what voice experts expect. "
        "Start with a synthetic sample, or bring your own speech.</p></div>"
        f'<img alt="" src="data:image/svg+xml;base64,{picture}"></div></div>'
    )


def new_clip(taking: Taking) -> None:
    """Offer every way to a clip; ends the run as soon as one is taken."""
    from ser_core.settings import settings

    key = f"{taking.key}source"
    source = st.segmented_control("Choose speech", SOURCES, default="Sample", required=True, key=key)
    {"Upload": _upload, "Record": _record, "Corpus": _corpus}.get(source, _sample)(taking)
    st.caption(
        f"At most {settings().max_seconds:g} s. Your clip is worked on by this SERscope server alone, is kept in the "
        f"memory of this session, and stays there until {session.kept_until()}."
    )


def current_clip(recording: "Recording") -> None:
    """Show which clip is at work, and let the reader drop it."""
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.markdown(f"**{plain(recording.name)}** · {recording.duration_s:.2f} s · {plain(session.origin())}")
    right.button("Forget this clip", on_click=session.forget, width="stretch")


def _take(taking: Taking, file: "UploadedFile", name: str, origin: str) -> None:
    from ser_core.audio import decode

    with st.spinner("Reading the clip"):
        session.take(lambda: taking.use(decode(room.content(file), name), origin), file)
    st.rerun()


def _upload(taking: Taking) -> None:
    file = st.file_uploader(FORMATS, key=session.input_key(f"{taking.key}upload"))
    if file is not None:
        _take(taking, file, file.name, "your file")


def _record(taking: Taking) -> None:
    key = session.input_key(f"{taking.key}record")
    file = st.audio_input("Record a sentence or two", sample_rate=48000, key=key)
    if file is not None:
        _take(taking, file, "recording.wav", "recorded here")


def _sample(taking: Taking) -> None:
    from explain.samples import samples
    from ser_core.audio import read

    offered = samples()
    for row in range(0, len(offered), PER_ROW):
        for sample, column in zip(offered[row : row + PER_ROW], st.columns(PER_ROW), strict=False):
            with column.container(border=True, height="stretch", vertical_alignment="distribute"):
                with st.container(gap="small"):
                    st.markdown(f"**{sample.title}**")
                    st.caption(sample.note)
                if st.button(taking.words, key=f"{taking.key}sample-{sample.name}", width="stretch"):
                    taking.taken(read(sample.path), "synthetic voice")


@st.cache_resource(show_spinner="Reading the corpus")
def _table(folder: str, layout: str | None) -> "Corpus":
    """Return a corpus's table; it lists public recordings, so that sessions may share it."""
    from ser_core.corpora import read_corpus

    return read_corpus(folder, layout)


def _download(names: "list[str]") -> None:
    """Offer open corpora from the internet; nobody is asked for anything before a click."""
    from ser_core.corpora.open_corpora import OPEN_CORPORA, fetch_open_corpus
    from ser_core.errors import CorpusError
    from ser_core.settings import settings

    for corpus in (OPEN_CORPORA[name] for name in names):
        words = f"Download {corpus.title} ({corpus.licence}, about {corpus.size_mb:.0f} MB) from the internet"
        pressed = st.button(words, key=f"download-{corpus.name}")
        st.caption(
            f"This SERscope server then fetches {corpus.title} from audEERING's public server, which learns its "
            "address and what is fetched; your own clips are not sent. It is kept here for the next time."
        )
        if pressed:
            try:
                with st.spinner(f"Downloading {corpus.title}; this can take some minutes", show_time=True):
                    fetch_open_corpus(corpus.name, cache_dir=settings().cache_dir)
            except CorpusError as fault:
                st.error(plain(str(fault)))
                return
            st.rerun()


def _corpus(taking: Taking) -> None:
    from ser_core.corpora.open_corpora import LAYOUT, OPEN_CORPORA, downloaded
    from ser_core.settings import settings

    fetched = downloaded(settings().cache_dir)
    found = {**fetched, **corpora_at_hand()}
    if found:
        _corpus_clip(taking, found, dict.fromkeys(fetched.values(), LAYOUT))
    else:
        st.info("No corpus is at hand yet; folders of speech corpora are named in SERSCOPE_CORPORA.")
    _download([name for name in OPEN_CORPORA if name not in found])


def _corpus_clip(taking: Taking, found: "dict[str, Path]", layouts: "dict[Path, str]") -> None:
    """Offer the clips of the corpora in these folders; layouts says how to read those that have several."""
    from ser_core.audio import read
    from ser_core.corpora import READERS

    titles = {reader.name: reader.title for reader in READERS}
    first, second, third = st.columns(3)
    name = first.selectbox("Corpus", list(found), format_func=lambda n: titles.get(n, n))
    corpus = _table(str(found[name]), layouts.get(found[name]))
    table = corpus.table
    judged = [name for name in table if str(name).startswith(("vote_", "share_"))]
    emotions = sorted(table["emotion"].dropna().unique())
    emotion = second.selectbox("Its label", ["any", *emotions])
    rows = table if emotion == "any" else table[table["emotion"] == emotion]
    files = dict(zip(rows["name"], rows["file"], strict=True))
    chosen = third.selectbox("Clip", list(files))
    if corpus.note:
        st.caption(plain(f"{corpus.title}. {corpus.note}"))
    if chosen and st.button(taking.words, key=f"{taking.key}corpus-clip"):
        row = rows[rows["name"] == chosen]
        kept = row[["corpus", "valence", "arousal", "dominance", *judged]]
        origin = f"{corpus.title}, labelled {row['emotion'].iloc[0]}"
        taking.taken(read(files[chosen]), origin, kept, _same_speaker(table, row))


def _same_speaker(table: "DataFrame", row: "DataFrame") -> "tuple[Path, ...]":
    """Return up to 20 other clips of a clip's speaker, the neutral ones where there are enough of them."""
    from explain.baseline import FEWEST, MOST

    others = table[(table["speaker"] == row["speaker"].iloc[0]) & (table["file"] != row["file"].iloc[0])]
    neutral = others[others["emotion"] == "neutral"]
    chosen = neutral if len(neutral) >= FEWEST else others
    return tuple(chosen.sample(min(MOST, len(chosen)), random_state=0)["file"])


# ----------------------------------------------------------------------------------------------------------- the model


def model() -> "SpeechModel":
    """Return the chosen model, loaded.

    Raises:
        ModelError: there is none at hand, or it cannot be loaded.
    """
    from ser_core.registry import load_model, model_names

    offered = model_names()
    if not offered:
        raise ModelError("No model is at hand; put one into assets/models or name its folder in SERSCOPE_MODELS.")
    cards = _cards()
    name = st.selectbox(
        "Model", offered, format_func=lambda n: cards[n].title if n in cards else n, key="model", help=_MODEL_HELP
    )
    if name in cards:
        st.caption(f"{plain(cards[name].summary)} {plain(headline(cards[name]))}")
    with st.spinner("Loading the model"):
        return load_model(name)


_MODEL_HELP = "Figures, training data and limits of each model are on the page Models."


def titles() -> dict[str, str]:
    """Return the titles of the bundled models by name."""
    return {name: card.title for name, card in _cards().items()}


def _cards() -> "dict[str, Card]":
    from ser_core.registry import cards

    return {card.name: card for card in cards()}


def headline(card: "Card") -> str:
    """Return the figure that a model is judged by first, with its interval and baseline, as its card has it."""
    by = {figure.measure: figure for figure in card.figures}
    if card.answer == "distribution" and "KL" in by:
        kl = by["KL"]
        return (
            f"Distance from the listeners (KL) {kl.value:.2f} [{kl.low:.2f}, {kl.high:.2f}] on {_where(kl)}; always "
            f"answering the average of all listeners has {kl.baseline:.2f}."
        )
    if card.answer == "dimensions" and by:
        said = ", ".join(f"{n.removeprefix('CCC ')} {f.value:.2f} [{f.low:.2f}, {f.high:.2f}]" for n, f in by.items())
        return f"Concordance (CCC) {said} on {_where(card.figures[0])}; 0 by chance."
    for figure in card.figures:
        if figure.measure.upper().startswith("UAR"):
            interval = f"[{percent(figure.low)}, {percent(figure.high)}]"
            return f"UAR {percent(figure.value)} {interval} on {_where(figure)}; chance {percent(figure.chance)}."
    return "No UAR was measured for this model."


def _where(figure: "Figure") -> str:
    return figure.split.split(";")[0]


def method(model: "SpeechModel") -> "Method":
    """Return the chosen attribution method out of those that are valid for the model."""
    from explain.attribution import methods_for
    from explain.method_choice import best_first, default_sentence

    usual = methods_for(model)
    offered = {m.name: m for m in best_first(model.name, usual)}
    name = st.selectbox("Method", list(offered), format_func=lambda n: offered[n].label, key=f"method-{model.name}")
    st.caption(f"{plain(offered[name].hint)} {_AXES[offered[name].axes]}")
    if why := default_sentence(model.name, usual[0].name):
        st.caption(plain(why))
    return offered[name]


_AXES = {
    "time_frequency": "Shows time and frequency.",
    "time": "Shows time only.",
    "features": "Shows named features; it has no time axis, so there is no map and there are no regions.",
}


def target(model: "SpeechModel", prediction: "Prediction") -> "Target":
    """Return the class to explain, alone or against another, or the dimension and its direction."""
    from explain.attribution import Target, default_target

    usual = default_target(prediction)
    if usual.direction is not None:
        return _dimension(model, usual)
    predicted = usual.emotion
    left, right = st.columns(2)
    emotion = left.selectbox(
        "Explain the class",
        ["", *model.emotions],
        format_func=lambda e: e or f"{predicted} (the answer)",
        key=f"emotion-{predicted}-{'-'.join(model.emotions)}",
    )
    emotion = emotion or predicted
    others = [e for e in model.emotions if e != emotion]
    against_key = f"against-{emotion}-{'-'.join(model.emotions)}"
    against = right.selectbox("rather than", ["", *others], format_func=lambda e: e or "–", key=against_key)
    return Target(emotion, against or None)


def _dimension(model: "SpeechModel", usual: "Target") -> "Target":
    from explain.attribution import Target
    from ser_core.sphere import POLES

    offered = [Target(name, direction=way) for name in model.emotions for way in ("lower", "higher")]
    offered.sort(key=lambda t: t != usual)

    def words(target: "Target") -> str:
        pole = POLES.get(target.emotion, ("", ""))[target.direction == "higher"]
        more = f" (more {pole})" if pole else ""
        return f"{target.name}{more}{', as the answer' if target == usual else ''}"

    key = f"dimension-{model.name}-{usual.name}"
    chosen: Target = st.selectbox("Explain what speaks for", offered, format_func=words, key=key)
    return chosen


# ------------------------------------------------------------------------------------------------------ the measurement

REGION_RULES = {"connected": "connected, as found", "windows": "windows of 150 ms (as published)"}
SEXES = ("unknown", "female", "male", "child")


_SETTING_INPUTS = {
    "pitch_floor_hz": (5.0, "The lowest pitch that is looked for: mostly 75 Hz for men, 100 Hz for women."),
    "pitch_ceiling_hz": (
        10.0,
        "The highest pitch that is looked for: mostly 300 Hz for men, 500 Hz for women; more in screams.",
    ),
    "formant_ceiling_hz": (
        100.0,
        "The highest frequency at which formants are looked for: usually 5000 Hz for men, 5500 Hz for women, 8000 Hz "
        "for small children.",
    ),
    "octave_jump_cost": (0.05, "Praat's; higher means fewer jumps."),
}


def setting_input(column: "DeltaGenerator", name: str, key: str, source: str) -> float | None:
    """Draw the input of one number of ``CueSettings`` within its limits; None where it is to be found from a source."""
    from explain.cues import LIMITS, CueSettings

    (what, low, high, unit), (step, words) = LIMITS[name], _SETTING_INPUTS[name]
    label = f"{what[:1].upper()}{what[1:]}{f' ({unit.strip()})' if unit else ''}"
    given = getattr(CueSettings, name)
    empty = f"found from {source}" if given is None else f"{given:g}"
    return column.number_input(label, low, high, given, step, key=key, help=words, placeholder=empty)


def _whose_voice(sex: str, guess: str) -> str:
    return f"the pitch suggests: {guess}, which sets the formant ceiling" if sex == "unknown" else f"speaker: {sex}"


def measurement(shown_settings: "CueSettings", sex_guess: str) -> None:
    """Let the reader correct how the voice is measured; the settings come back through ``settings()``."""
    st.caption(
        "The model and its map stay as they are; the cues, the contrasts and the agreement are made anew. "
        f"In force: pitch {shown_settings.pitch_floor_hz:.0f}–{shown_settings.pitch_ceiling_hz:.0f} Hz, "
        f"formants up to {shown_settings.formant_ceiling_hz:.0f} Hz, octave-jump cost "
        f"{shown_settings.octave_jump_cost:g}; {_whose_voice(shown_settings.sex, sex_guess)}."
    )
    key = session.input_key
    with st.form("measurement", border=False):
        first, second, third = st.columns(3)
        sex = first.selectbox(
            "Speaker", SEXES, key=key("sex"), help="Chooses the formant ceiling and the neutral reference."
        )
        rule = first.selectbox(
            "Regions", list(REGION_RULES), key=key("rule"), format_func=lambda name: REGION_RULES[name]
        )
        floor = setting_input(second, "pitch_floor_hz", key("floor"), "the clip")
        ceiling = setting_input(second, "pitch_ceiling_hz", key("ceiling"), "the clip")
        formants = setting_input(third, "formant_ceiling_hz", key("formants"), "the clip")
        jumps = setting_input(third, "octave_jump_cost", key("jumps"), "the clip")
        pressed = st.form_submit_button("Measure again")
    if pressed:
        from explain.cues import CueSettings, check

        cost = CueSettings.octave_jump_cost if jumps is None else jumps
        wanted = CueSettings(sex, floor, ceiling, formants, cost)
        try:
            check(wanted)
        except SettingError as fault:
            st.error(plain(str(fault)))
            return
        st.session_state["settings"], st.session_state["region_rule"] = wanted, rule
        st.rerun()


def settings() -> "CueSettings":
    """Return the measuring settings of this session."""
    from explain.cues import CueSettings

    return st.session_state.get("settings", CueSettings())


def say_corrected(asked: "CueSettings") -> None:
    """Say how the reader corrected the measuring on Explain, where it was corrected."""
    from explain.cues import LIMITS, CueSettings

    usual = CueSettings()
    changed = [
        f"{what} {getattr(asked, name):g}{unit}"
        for name, (what, *_, unit) in LIMITS.items()
        if getattr(asked, name) != getattr(usual, name)
    ]
    words = "; ".join([f"speaker {asked.sex}"] * (asked.sex != usual.sex) + changed)
    if words:
        st.caption(f"The voice is measured as you corrected it on Explain: {words}.")


def region_rule() -> str:
    """Return how regions are cut in this session."""
    return st.session_state.get("region_rule", "connected")
