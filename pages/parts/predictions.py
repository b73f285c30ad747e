"""Choosing whose answers a dashboard shows: a stored table, the reader's own, or a model asked about a corpus here."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.parts import background, own_folder, room, session
from pages.parts.charts import CLICKED
from pages.parts.words import plain
from ser_core.errors import SerscopeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from ser_core.corpora import Corpus

STORED, OWN, ASK = "Stored with the app", "Your table", "Ask a model here"
KEPT = 12


@dataclass(frozen=True, eq=False)
class Chosen:
    """Predictions of one model in the columns of ``ser_core.evaluation``.

    Those that the app stores or asks for are cut to the emotions that labels and model share; a reader's own are as
    given. key tells them from any others of the session.
    """

    title: str
    rows: "pd.DataFrame"
    key: str

    @property
    def dimensions(self) -> bool:
        """Whether the model answers with valence, arousal and dominance."""
        return any(str(column).startswith("d_") for column in self.rows)


def choose() -> Chosen | None:
    """Offer the three ways to predictions and return what was chosen; None while there is nothing to show."""
    source = st.segmented_control(
        "Predictions", (STORED, OWN, ASK), default=STORED, required=True, key=session_key("source")
    )
    return {OWN: _own, ASK: _ask}.get(source, _stored)()


def session_key(name: str) -> str:
    """Return the key of a widget of the dashboards."""
    return f"predictions-{name}"


def kept(key: tuple, make: "Callable[[], Any]") -> Any:
    """Return what was worked out for this reader before, or work it out; the oldest of a few makes way."""
    found: dict[tuple, Any] = st.session_state.setdefault("dashboards", {})
    if key not in found:
        found[key] = make()
        while len(found) > KEPT:
            del found[next(iter(found))]
    return found[key]


def title_of(model: str) -> str:
    """Return a model's title, or its name where it has no card here."""
    return _titles().get(model, model)


def corpus_title(name: str) -> str:
    """Return a corpus's title."""
    from ser_core.corpora import READERS
    from ser_core.tasks import TASKS

    return TASKS[name].title if name in TASKS else {reader.name: reader.title for reader in READERS}.get(name, name)


@st.cache_data(show_spinner=False, ttl=600)
def _titles() -> dict[str, str]:
    from ser_core.registry import cards

    return {card.name: card.title for card in cards()}


@st.cache_data(show_spinner=False, ttl=600)
def _answers() -> dict[str, str]:
    from ser_core.registry import cards

    return {card.name: card.answer for card in cards()}


@st.cache_data(show_spinner="Reading the stored answers", max_entries=16)
def _table(path: str, changed: float) -> "pd.DataFrame":
    """Return a stored table; it holds public speech, so that sessions may share it."""
    from ser_core.evaluation import read_stored

    return read_stored(Path(path))


def _stored() -> Chosen | None:
    import pandas as pd

    from ser_core import evaluation

    tables = evaluation.stored(evaluation.TABLES)
    if not tables:
        st.info("No answers are stored yet; 'python -m ser_core evaluate' writes them.")
        return None
    models = sorted(
        {table.model for table in tables}, key=lambda name: list(_titles()).index(name) if name in _titles() else 99
    )
    left, right = st.columns(2)
    model = left.selectbox("Model", models, format_func=title_of, key=session_key("model"))
    of_model = {table.corpus: table for table in tables if table.model == model}
    read = {name: _table(str(table.path), table.path.stat().st_mtime) for name, table in of_model.items()}
    at_home = [name for name, rows in read.items() if (rows["split"] == evaluation.OUT_OF_FOLD).all()]
    corpora = right.multiselect(
        "Speech of",
        list(read),
        default=at_home[:1] or list(read)[:1],
        format_func=lambda name: f"{corpus_title(name)}{' (its own, out of fold)' if name in at_home else ''}",
        key=f"{session_key('corpora')}-{model}",
        help="On the corpus that a model was trained on, each speaker was answered by a copy that never heard the "
        "speaker. Several corpora at once can be set against each other, but they differ in much more than their "
        "speakers.",
    )
    if not corpora:
        st.info("Choose the speech of one corpus or more.")
        return None
    key = "|".join([model, *(f"{name}@{read[name]['run'].iloc[0]}" for name in corpora)])
    parts = [read[name] for name in corpora]
    rows = kept(("shared", key), lambda: _in_common(pd.concat([_plain(part) for part in parts], ignore_index=True)))
    names = ", ".join(corpus_title(name) for name in corpora)
    _say(rows, sum(len(part) for part in parts))
    if _answers().get(model) == "distribution":
        st.caption(
            "This model answers how listeners would split. Here its largest share is set against the corpus's label, "
            "which listeners often do not hear, so that it looks worse than it is at what it was made for."
        )
    return Chosen(f"{title_of(model)} on {names}", rows, key)


def _plain(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows without notes that would not fit those of another table."""
    found = rows.copy()
    found.attrs = {}
    return found


def _in_common(rows: "pd.DataFrame") -> "pd.DataFrame":
    from ser_core.evaluation import in_common

    return in_common(rows)


def _say(rows: "pd.DataFrame", before: int) -> None:
    """Say what is compared, and what answers and clips are left out of it."""
    emotions = [str(column)[2:] for column in rows if str(column).startswith("p_")]
    labelled = set(rows["emotion"])
    words = f"{len(rows):,} clips of {rows['speaker'].nunique()} speakers".replace(",", "\u202f")
    nobody = rows.attrs.get("without_speaker", 0)
    if nobody:
        words += f"; {nobody} without a speaker are left out"
    if emotions:
        words += f"; emotions that labels and model share: {', '.join(name for name in emotions if name in labelled)}"
        if (others := before - nobody - len(rows)) > 0:
            words += f"; {others} clips with other labels are left out"
        if dropped := rows.attrs.get("dropped"):
            words += (
                f"; no clip is labelled {_either(dropped)}, so these answers are dropped, the next most probable "
                "emotion counts in their place, and the probabilities sum to 1 again, which may flatter the model"
            )
        elif wrong := [name for name in emotions if name not in labelled]:
            words += f"; no clip is labelled {_either(wrong)}, so such an answer is always wrong"
    st.caption(f"{plain(words)}.")
    from ser_core.corpora.confounding import CONFOUNDED

    if CONFOUNDED & set(rows["corpus"].unique()):
        st.warning(
            "In URDU-Dataset nearly every speaker is heard in one emotion only: a high figure on it may be the model "
            "telling speakers apart, not emotions."
        )


def _either(names: "Sequence[str]") -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def own_table(*columns: str) -> "dict[tuple[str, str], pd.DataFrame]":
    """Return the reader's own table, and what models were asked in this session, as if they were stored.

    Those that have columns that begin so: (model, title) → rows.
    """
    own: Chosen | None = st.session_state.get("own predictions")
    asked: dict[tuple, Chosen] = st.session_state.get("asked", {})
    return {
        (str(each.rows["model"].iloc[0]), each.title): each.rows.assign(run=each.key)
        for each in ([own] if own is not None else []) + list(asked.values())
        if all(any(str(name).startswith(start) for name in each.rows) for start in columns)
    }


NO_CORPUS = (
    "No corpus is at hand. Put a folder of speech, as its owners lay it out or with a table labels.csv, below one that "
    "SERSCOPE_CORPORA names; it then appears here without a restart."
)
OWN_TOO = (
    "A table of your own that has what is needed (page Fairness, Your table), and a model that you asked there about "
    "other speech, are offered here as well."
)


def _own() -> Chosen | None:
    from ser_core.evaluation import own_answers

    st.caption(
        "One row a clip: file, speaker, emotion, and the probabilities p_anger, p_happiness and so on; sex, age, race, "
        "ethnicity and language of the speaker as far as you know them. With listeners' shares (share_anger …) it is "
        "offered on Mixed emotions too; with d_valence and t_valence … instead of probabilities on Dimensions. With a "
        "column corpus the same speaker's name in two corpora is two people. CSV or Parquet. The table stays in the "
        "memory of this session and is dropped with it."
    )
    own = taken("own predictions", own_answers, EXAMPLE)
    if own is not None:
        own = _with_audio(own)
        _say(own.rows, len(own.rows))
    return own


def _with_audio(own: Chosen) -> Chosen:
    """Let the reader say in which corpus the clips of an own table can be heard, and return the table with its name."""
    folders = corpora_at_hand()
    about = own.rows["corpus"].unique()
    if not folders or len(about) > 1:
        return own
    offered = [str(about[0]), *(name for name in folders if name != about[0])]
    named = st.selectbox(
        "Audio of these clips",
        offered,
        format_func=lambda name: corpus_title(name) if name in folders else "not at hand",
        key=session_key(f"audio-{own.key.partition('|')[0]}"),
        help="Name the corpus that holds them, and the clips behind a point can be heard and explained. Its folder has "
        "to lie below one that SERSCOPE_CORPORA names, and its files to be called as in your table.",
    )
    if named not in folders:
        return own
    absent = kept(("audio", own.key, named), lambda: _absent(own.rows["clip"], corpus_in(folders[named])))
    if absent:
        st.warning(
            f"{len(absent)} of {len(own.rows)} clips are not in {plain(corpus_title(named))}, first "
            f"{plain(absent[0])}; they cannot be heard."
        )
    if named != about[0]:
        own = replace(own, rows=own.rows.assign(corpus=named), key=f"{own.key.partition('|')[0]}|{named}")
        st.session_state["own predictions"] = own
    return own


def taken(place: str, reads: "Callable[[bytes, str], pd.DataFrame]", example: str) -> Chosen | None:
    """Take a table of the reader's into the session, and return it; a new one takes the place of the one before.

    Args:
        place: in the session, one of ``session.GIVEN``.
        reads: the file's bytes and name; raises our own error with the sentence that is shown.
        example: a small table, as CSV.
    """
    from explain.text_files import csv_file
    from ser_core.predictions import MOST_BYTES

    left, right = st.columns([3, 1], vertical_alignment="bottom")
    kinds, most = ["csv", "tsv", "parquet", "pq"], MOST_BYTES // 1_000_000
    rounds = f"{place} round"
    key = session_key(f"upload-{place}-{st.session_state.get(rounds, 0)}")
    file = left.file_uploader("Your predictions", type=kinds, key=key, max_upload_size=most)
    right.download_button("Example (CSV)", csv_file(example), "serscope-example.csv", "text/csv", on_click="ignore")
    if file is not None:

        def keep() -> None:
            data = room.content(file)
            with room.ALONE:
                rows = reads(data, file.name)
            st.session_state[place] = Chosen(file.name, rows, hashlib.sha256(data).hexdigest()[:16])
            st.session_state[rounds] = st.session_state.get(rounds, 0) + 1
            st.session_state.pop(CLICKED, None)

        try:
            with st.spinner("Reading your table"):
                session.take(keep, file)
            st.rerun()
        except SerscopeError as fault:
            st.error(plain(str(fault)))
    own: Chosen | None = st.session_state.get(place)
    if own is not None:
        left, right = st.columns([3, 1], vertical_alignment="center")
        left.markdown(f"**{plain(own.title)}**")
        if right.button("Forget this table", width="stretch"):
            for name in (place, "dashboards", CLICKED):
                st.session_state.pop(name, None)
            st.rerun()
    return own


EXAMPLE = """file,speaker,emotion,sex,age,p_anger,p_happiness,p_neutral
a01.wav,ann,anger,female,34,0.81,0.12,0.07
a02.wav,ann,neutral,female,34,0.10,0.15,0.75
b01.wav,bob,anger,male,51,0.44,0.31,0.25
b02.wav,bob,happiness,male,51,0.20,0.62,0.18
"""


def _ask() -> Chosen | None:
    from ser_core.cards import read_card
    from ser_core.evaluation import ask, has_heard
    from ser_core.registry import load_model, model_folders, model_names

    folders = corpora_at_hand()
    own_folder.offer(folders)
    if not folders:
        st.info(NO_CORPUS)
        return None
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    model = left.selectbox("Model", model_names(), format_func=title_of, key=session_key("asked model"))
    name = middle.selectbox("Corpus", list(folders), format_func=corpus_title, key=session_key("asked corpus"))
    corpus = corpus_in(folders[name])
    asked = ("evaluate", model, name, *_changed(folders[name]))
    done: dict[tuple, Chosen] = st.session_state.setdefault("asked", {})
    for before in [each for each in done if each[:3] == asked[:3] and each != asked]:
        del done[before]  # its labels are those of the corpus as it was
    if not corpus.table["file"].notna().any():
        st.info(f"{plain(corpus.title)} has labels but no audio.")
        return None
    folder = model_folders()[model]
    card = read_card(folder) if (folder / "card.json").exists() else load_model(model).card
    if has_heard(card, corpus):
        st.info(
            f"{plain(title_of(model))} was trained on {plain(corpus.title)}, so that asking it about these speakers "
            "would flatter it. Its answers out of fold are among the stored ones."
        )
        return None

    def work(job: background.Job) -> "pd.DataFrame":
        return ask(load_model(model), corpus, job.tell)

    if asked not in done:
        clips = int(corpus.table["file"].notna().sum())
        if right.button("Ask", type="primary", width="stretch", disabled=background.job(asked) is not None):
            background.start(asked, work)
        st.caption(
            f"{clips} clips; most models need 0.05 to 0.2 s for each on one processor core, those that transcribe "
            "about 1 s. 'python -m ser_core evaluate' does the same for good."
        )
        started = background.job(asked)
        if started is None:
            return None
        if not started.done:
            background.show(started)
            return None
        rows = background.result(started)
        if rows is None:
            return None
        title = f"{title_of(model)} on {corpus.title}"
        lost = rows.attrs.get("left_out", [])
        key = f"{model}|{name}|asked {len(rows)} {len(lost)} {asked[-1]}"
        done[asked] = Chosen(title, _in_common(_plain(rows)).assign(model=model), key)
        while len(done) > KEPT:
            del done[next(iter(done))]
    _say(done[asked].rows, int(corpus.table["file"].notna().sum()))
    return done[asked]


def corpora_at_hand() -> dict[str, Path]:
    """Return the corpora that this server has and the reader has named, name → folder.

    What was put below a folder meanwhile is among them; what was copied more than one level below, after a minute.
    """
    from ser_core.settings import settings

    places = (*settings().corpora_dirs, *own_folder.folders())
    return _folders(places, tuple(_changed(each) for place in places for each in (place, *_below(place))))


def _below(place: Path) -> list[Path]:
    return sorted(each for each in place.iterdir() if each.is_dir()) if place.is_dir() else []


def _changed(folder: Path) -> tuple[str, int]:
    """Return a folder and when something in it was added, taken away, or its tables changed (ns)."""
    try:
        tables = [each.stat().st_mtime_ns for each in folder.glob("*.csv")]
        return str(folder), max([folder.stat().st_mtime_ns, *tables])
    except OSError:  # taken away this moment
        return str(folder), 0


@st.cache_resource(show_spinner="Looking for corpora", max_entries=4, ttl=60)
def _folders(places: tuple[Path, ...], changed: tuple[tuple[str, int], ...]) -> dict[str, Path]:
    from ser_core.corpora import find_corpora

    return find_corpora(places)


def corpus_in(folder: Path) -> "Corpus":
    """Return the corpus in a folder, read again where the folder or its tables have changed.

    Raises:
        CorpusError: as of ``ser_core.corpora.read_corpus``.
    """
    return _corpus(*_changed(folder))


@st.cache_resource(show_spinner="Reading the corpus", max_entries=16)
def _corpus(folder: str, changed: int) -> "Corpus":
    from ser_core.corpora import read_corpus

    return read_corpus(folder)


def row_of_clip(corpus: str, clip: str) -> "pd.DataFrame | None":
    """Return a clip's row of its corpus table, where the corpus is at hand with audio; None elsewhere."""
    folders = corpora_at_hand()
    name = next((name for name in folders if name == corpus), None)
    if name is None:
        return None
    table = corpus_in(folders[name]).table
    table = table[table["file"].notna()]
    called = _called(clip, set(table["name"]))
    return None if called is None else table[table["name"] == called].iloc[:1]


def _absent(clips: "Iterable[str]", corpus: "Corpus") -> list[str]:
    """Return the clips that a corpus has no audio of."""
    names = set(corpus.table.loc[corpus.table["file"].notna(), "name"])
    return [str(clip) for clip in clips if _called(str(clip), names) is None]


def _called(clip: str, names: set[str]) -> str | None:
    """Return what a corpus calls a clip that goes by its name there, its path, or its file's name; None without one."""
    path = PurePath(clip)
    return next((name for name in (clip, path.with_suffix("").as_posix(), path.stem) if name in names), None)
