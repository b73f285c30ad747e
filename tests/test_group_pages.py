"""The pages on groups and on single speakers, on answers made up here."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from streamlit.testing.v1 import AppTest

import ser_core.evaluation
from pages.parts import mixed_charts
from ser_core.predictions import read_predictions
from ser_core.settings import ROOT

EMOTIONS = ("anger", "fear", "neutral")
STORED = pytest.mark.skipif(not ser_core.evaluation.stored(), reason="no stored answers")


def answers(
    corpus: str = "toy", speakers: int = 20, clips: int = 12, worse: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Answers about speakers of two sexes; men are answered worse by as much as is said."""
    random, rows = np.random.default_rng(seed), []
    for number in range(speakers):
        sex = ("female", "male")[number % 2]
        for place in range(clips):
            truth = place % 3
            answer = truth if random.random() < 0.8 - worse * (sex == "male") else int(random.integers(3))
            chances = random.dirichlet(np.where(np.arange(3) == answer, 9.0, 1.0)) + 0.5 * (np.arange(3) == answer)
            row = {"clip": f"{number:02d}-{place:02d}", "corpus": corpus, "speaker": f"{corpus}/{number:02d}"}
            row |= {"sex": sex, "age": 20.0 + number, "race": None, "ethnicity": None, "language": "en"}
            row |= {f"p_{name}": chance for name, chance in zip(EMOTIONS, chances / chances.sum(), strict=True)}
            rows.append(row | {"emotion": EMOTIONS[truth]})
    return pd.DataFrame(rows).assign(fold=0, split="out of fold", model="m", run="r")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    monkeypatch.setattr(ser_core.evaluation, "TABLES", folder)

    def keep(rows: pd.DataFrame, model: str = "m") -> Path:
        path = folder / f"{model}.{rows['corpus'].iloc[0]}.parquet"
        rows.to_parquet(path)
        return path

    return keep


def page(name: str, **state: object) -> AppTest:
    shown = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=90)
    for key, value in state.items():
        shown.session_state[key] = value
    shown.run()
    assert not shown.exception
    return shown


def text(shown: AppTest) -> str:
    kinds = (shown.markdown, shown.caption, shown.info, shown.error)
    words = " ".join(str(getattr(each, "value", "")) for kind in kinds for each in kind)
    return words + " ".join(each.proto.body for each in shown.get("html"))


def box(shown: AppTest, label: str):
    return next(each for each in shown.selectbox if each.label == label)


def test_a_planted_gap_is_called_a_finding_and_none_where_there_is_none(store) -> None:
    store(answers(worse=0.5))
    found = text(page("fairness"))
    assert "gaps are findings" in found and "UAR of male against female" in found
    assert "<strong>finding</strong>" in found and "10 speakers, fewer than 15" in found
    shown = page("fairness")
    assert "What could have been found" in " ".join(each.value for each in shown.subheader)
    of = next(each for each in shown.selectbox if str(each.key).startswith("power-of"))
    assert of.value == "UAR" and "ECE" not in of.options and "recall of fear" in of.options
    of.set_value("recall of fear").run()
    assert not shown.exception
    assert "a true gap in recall of fear of 10 points" in text(shown)
    store(answers(worse=0.0))
    assert "No gap is a finding" in text(page("fairness"))


@STORED
def test_what_conversion_does_to_a_voice_stands_beside_what_it_does_to_gaps(store) -> None:
    store(answers())
    found = text(page("fairness"))
    checked = pd.read_csv(ROOT / "assets" / "results" / "conversion.csv").set_index(["backend", "measure"])
    lost = checked.loc[("praat", "accuracy of log-mel-resnet: change"), "value"]
    assert "Converted speech, checked" in found and f"<strong>−{-100 * lost:.1f}</strong>" in found
    words = checked.loc[("world", "word error rate: after"), "value"]
    assert f"<strong>{100 * words:.1f}</strong>" in found


def test_another_reference_turns_the_difference_round(store) -> None:
    store(answers(worse=0.5))
    shown = page("fairness")
    shown = box(shown, "Reference group").select("male").run()
    assert not shown.exception and "UAR of female against male +" in text(shown)


def test_fewer_measures_are_corrected_for_less(store) -> None:
    store(answers())
    shown = page("fairness")
    assert "for the 8 comparisons shown" in text(shown)
    shown = next(each for each in shown.multiselect if each.label == "Measures").set_value(["UAR", "ECE"]).run()
    assert not shown.exception and "for the 2 comparisons shown" in text(shown)


def test_several_corpora_can_be_set_against_each_other(store) -> None:
    store(answers("toy"))
    store(answers("other", seed=1).assign(split="other corpus", language="de"))
    shown = page("fairness")
    shown = next(each for each in shown.multiselect if each.label == "Speech of").set_value(["toy", "other"]).run()
    assert {"sex", "age group", "language", "corpus"} <= set(box(shown, "Groups by").options)
    shown = box(shown, "Groups by").select("language").run()
    assert not shown.exception and "480 clips of 40 speakers" in text(shown).replace("\\", "")


def test_dimensions_are_compared_by_their_bias_and_the_rest_is_left_out(store) -> None:
    random = np.random.default_rng(0)
    rows = answers().drop(columns=[f"p_{e}" for e in EMOTIONS])
    rows["t_valence"] = random.uniform(-1, 1, len(rows))
    rows["d_valence"] = rows["t_valence"] + 0.4 * (rows["sex"] == "male") + random.normal(0, 0.1, len(rows))
    store(rows)
    found = text(page("fairness"))
    assert "bias of valence of male against female +0.4" in found and "Reliability" not in found
    found = text(page("speakers"))
    assert "error of valence of every speaker" in found and "Average is off by [95 %]" in found
    store(rows.drop(columns="t_valence"))
    for name in ("fairness", "speakers"):
        assert "no ratings" in text(page(name))


def test_no_stored_answers_and_no_groups_are_told(store) -> None:
    assert "No answers are stored yet" in text(page("fairness"))
    store(answers().assign(sex=None, age=np.nan))
    assert "there are no groups to compare" in text(page("fairness"))
    store(answers().assign(sex="female", age=np.nan))
    assert "there are no groups to compare" in text(page("fairness"))


def test_a_grouping_of_too_many_groups_is_left_out_and_told(store) -> None:
    rows = answers(speakers=40)
    store(rows.assign(ethnicity=rows["speaker"]))
    shown = page("fairness")
    assert "ethnicity" not in box(shown, "Groups by").options
    assert "not grouped by ethnicity: 40 groups" in shown.warning[0].value
    store(rows.assign(ethnicity=rows["speaker"], sex=None, age=np.nan))
    assert "no groups to compare" not in text(page("fairness"))


def test_every_chart_and_table_says_how_to_read_it_what_it_says_and_gives_its_data(store) -> None:
    store(answers(worse=0.3))
    for name, charts in (("fairness", 3), ("speakers", 2)):
        shown = page(name)
        found = text(shown)
        assert len(shown.get("plotly_chart")) == charts
        told = charts + sum("<table" in each.proto.body for each in shown.get("html"))
        assert told > charts
        assert found.count("How to read it:") == found.count("In words:") == told
        assert sum(str(each.key).startswith("csv-") for each in shown.get("download_button")) == told


def test_speakers_stand_in_order_and_the_worst_is_looked_at_first(store) -> None:
    rows = answers()
    right = rows["speaker"] != "toy/07"
    rows["emotion"] = rows["emotion"].where(
        right, rows["emotion"].map({"anger": "fear", "fear": "neutral", "neutral": "anger"})
    )
    store(rows)
    shown = page("speakers")
    assert box(shown, "Look at one speaker").value == "toy/07"
    found = text(shown)
    assert "Speaker 07" in " ".join(each.value for each in shown.subheader) and "12 clips" in found
    shown = box(shown, "Look at one speaker").select("toy/03").run()
    assert not shown.exception and "Speaker 03" in " ".join(each.value for each in shown.subheader)
    assert "has not been measured against others" in text(shown)


OWN = """file,speaker,emotion,sex,p_anger,p_fear
a1,ann,anger,female,0.8,0.2
a2,ann,fear,female,0.3,0.7
b1,bob,anger,male,0.6,0.4
b2,bob,fear,male,0.9,0.1
c1,<b>cy</b>,anger,male,0.2,0.8
c2,<b>cy</b>,fear,male,0.9,0.1
"""


def test_a_readers_own_table_is_shown_without_its_markup_and_can_be_forgotten(store) -> None:
    from pages.parts.predictions import OWN as SOURCE

    shown = page("speakers", **{"predictions-source": SOURCE})
    assert "One row a clip" in text(shown)
    shown = shown.file_uploader[0].set_value(("mine.csv", OWN.encode(), "text/csv")).run()
    assert not shown.exception
    found = text(shown)
    assert "3 speakers" in found and "<b>cy</b>" not in found and "&lt;b&gt;cy" in found
    groups = page("fairness", **{key: shown.session_state[key] for key in ("predictions-source", "own predictions")})
    assert "2 v 1" in text(groups) or "1 v 2" in text(groups)
    shown = next(each for each in shown.button if each.label == "Forget this table").click().run()
    assert "own predictions" not in shown.session_state and "3 speakers" not in text(shown)


SURPRISED = """file,speaker,emotion,sex,p_anger,p_neutral,p_surprise
a1,ann,anger,female,0.3,0.1,0.6
a2,ann,neutral,female,0.1,0.8,0.1
b1,bob,anger,male,0.9,0.05,0.05
b2,bob,neutral,male,0.2,0.7,0.1
c1,cy,anger,male,0.4,0.0,0.6
c2,cy,neutral,male,0.2,0.7,0.1
d1,di,anger,female,0.7,0.2,0.1
d2,di,neutral,female,0.0,0.9,0.1
"""


def test_an_answer_that_no_clip_is_labelled_with_is_wrong_in_a_readers_own_table(store) -> None:
    from pages.parts.predictions import OWN as SOURCE
    from ser_core.speakers import overall

    shown = page("speakers", **{"predictions-source": SOURCE})
    shown = shown.file_uploader[0].set_value(("mine.csv", SURPRISED.encode(), "text/csv")).run()
    assert not shown.exception
    own = shown.session_state["own predictions"].rows
    alike = overall(own, "UAR", replicates=10)
    assert alike["value"] == 0.75
    assert f"all together 75 %, by chance {100 * alike['chance']:.0f} %. The whole interval" in text(shown)
    assert "no clip is labelled surprise, so such an answer is always wrong" in text(shown)
    assert "recall of surprise" not in box(shown, "Measure").options
    groups = page("fairness", **{key: shown.session_state[key] for key in ("predictions-source", "own predictions")})
    measures = next(each for each in groups.multiselect if each.label == "Measures").options
    assert "recall of surprise" not in measures and "answered surprise" in measures
    costs = page("efficiency", **{"own predictions": shown.session_state["own predictions"]})
    costs.number_input(key="efficiency-own-ms").set_value(0.01).run()
    assert "mine.csv (yours) (75.0 % at 0.01 ms)" in text(costs)


def test_stored_answers_that_no_clip_is_labelled_with_are_told_where_they_are_dropped(store) -> None:
    rows = answers()
    store(rows[rows["emotion"] != "fear"].reset_index(drop=True))
    found = text(page("speakers"))
    assert "no clip is labelled fear, so these answers are dropped" in found and "are left out" not in found
    store(rows)
    assert "dropped" not in text(page("speakers"))


def test_a_field_of_a_table_that_was_replaced_is_not_clicked_any_more(store) -> None:
    from pages.parts.charts import CLICKED
    from pages.parts.predictions import OWN as SOURCE
    from pages.parts.predictions import Chosen

    rows = read_predictions(OWN.encode(), "old.csv")
    given = {"cross-what": "Bundled models", "own predictions": Chosen("old.csv", rows, "k")}
    shown = page("crosscorpus", **given, **{CLICKED: AnyChart([["your model", "old.csv"]])})
    assert "Clips behind the point" in text(shown) and "your model → old.csv" in text(shown)
    given["own predictions"] = Chosen("new.csv", rows, "l")
    shown = page("crosscorpus", **given, **{CLICKED: AnyChart([["your model", "old.csv"]])})
    assert "In words" in text(shown) and "Clips behind the point" not in text(shown)
    shown = page("speakers", **{"predictions-source": SOURCE, CLICKED: {"gone": [["your model", "old.csv"]]}})
    shown = shown.file_uploader[0].set_value(("mine.csv", OWN.encode(), "text/csv")).run()
    assert not shown.exception and "gone" not in shown.session_state[CLICKED]


class AnyChart(dict):
    """What was clicked, whichever chart asks."""

    def __init__(self, points: list) -> None:
        super().__init__()
        self.points = points

    def pop(self, key: str, otherwise: object = None) -> object:
        return self.points if str(key).startswith("cross-corpus") else super().pop(key, otherwise)


def test_clips_without_a_speaker_are_left_out_and_counted_wherever_answers_are_chosen(store, monkeypatch) -> None:
    listed = ser_core.evaluation.stored
    monkeypatch.setattr(ser_core.evaluation, "stored", lambda *_: listed(ser_core.evaluation.TABLES))
    rows = answers()
    rows.loc[rows.index[:5], "speaker"] = None
    store(rows)
    store(answers("other", seed=1).assign(split="other corpus"))
    for name in ("fairness", "speakers"):
        assert "235 clips of 20 speakers; 5 without a speaker are left out" in text(page(name))
    found = text(page("crosscorpus", **{"cross-what": "Bundled models"}))
    assert "Clips without a speaker are left out: 5 of toy." in found and "UAR, per cent" in found
    random = np.random.default_rng(1)
    shares = random.dirichlet([2.0] * 3, len(rows))
    store(rows.assign(**{f"share_{name}": shares[:, k] for k, name in enumerate(EMOTIONS)}))
    assert "left out: 5 of toy." in text(page("mixed"))
    scales = ("valence", "arousal", "dominance")
    values = {f"{kind}_{name}": random.uniform(-1, 1, len(rows)) for kind in "dt" for name in scales}
    store(rows.drop(columns=[f"p_{name}" for name in EMOTIONS]).assign(**values))
    assert "left out: 5 of toy." in text(page("dimensions"))
    assert "235 clips of 20 speakers; 5 without a speaker" in text(page("fairness"))


def test_clips_of_a_readers_own_table_can_be_heard_in_the_corpus_that_is_named(tmp_path, monkeypatch, store) -> None:
    from pages.parts.predictions import OWN as SOURCE
    from pages.parts.predictions import row_of_clip

    folder = tmp_path / "ward"
    (folder / "deep").mkdir(parents=True)
    rows = [line.split(",")[:3] for line in OWN.splitlines()[1:-1]]
    for file, *_ in rows:
        soundfile.write(folder / "deep" / f"{file}.wav", np.zeros(1600), 16_000)
    table = pd.DataFrame(rows, columns=["file", "speaker", "emotion"])
    table.assign(file="deep/" + table["file"] + ".wav").to_csv(folder / "labels.csv", index=False)
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path))
    given = OWN.replace("a1,", "deep/a1.wav,").replace("b1,", "deep/b1,")
    shown = page("speakers", **{"predictions-source": SOURCE})
    shown = shown.file_uploader[0].set_value(("mine.csv", given.encode(), "text/csv")).run()
    assert set(shown.session_state["own predictions"].rows["corpus"]) == {"your table"}
    chosen = box(shown, "Audio of these clips").select("ward").run()
    assert not chosen.exception
    own = chosen.session_state["own predictions"].rows
    assert set(own["corpus"]) == {"ward"}
    found = {clip: row_of_clip("ward", clip) for clip in own["clip"]}
    heard = {clip for clip, row in found.items() if row is not None}
    assert {"deep/a1.wav", "deep/b1"} <= heard and "c2" not in heard  # called by its path, and not by its path
    warned = " ".join(each.value for each in chosen.warning)
    assert f"{len(own) - len(heard)} of {len(own)} clips are not in ward" in warned


def test_whatever_a_reader_gives_can_be_deleted() -> None:
    """Every place that an upload is taken into is one that "Delete my data now" and idle time know of."""

    from pages.parts.boards import HELD
    from pages.parts.session import GIVEN

    taken = re.compile(r'taken\((?:"([\w ]+)"|OWN)')
    places = {"own conditions", HELD}
    for file in (ROOT / "pages" / "parts").glob("*.py"):
        places |= {name for name in taken.findall(file.read_text()) if name}
    assert {"own predictions", "own conditions"} <= places <= set(GIVEN)


def test_speech_whose_speakers_give_the_emotion_away_is_told_wherever_it_is_chosen(store) -> None:
    from pages.parts.predictions import OWN as SOURCE
    from pages.parts.predictions import Chosen

    rows = read_predictions(OWN.encode(), "mine.csv")
    given = Chosen("mine.csv", rows.assign(corpus="urdu"), "k")
    for name in ("speakers", "fairness"):
        shown = page(name, **{"predictions-source": SOURCE, "own predictions": given})
        assert any("telling speakers apart" in each.value for each in shown.warning)
    shown = page("speakers", **{"predictions-source": SOURCE, "own predictions": dataclasses.replace(given, rows=rows)})
    assert not shown.warning


def test_a_readers_own_table_is_offered_where_it_has_what_is_needed(store) -> None:
    from pages.parts.predictions import Chosen
    from ser_core.predictions import checked

    rows = answers().rename(columns={"clip": "file"}).drop(columns=["fold", "split", "model", "run"])
    random = np.random.default_rng(1)
    shares = random.dirichlet([2.0] * 3, len(rows))
    mixed = checked(rows.assign(**{f"share_{name}": shares[:, k] for k, name in enumerate(EMOTIONS)}))
    shown = page("mixed", **{"own predictions": Chosen("mine.csv", mixed, "k")})
    assert shown.selectbox(key="mixed-model").options[0] == "your model on mine.csv"
    assert "240 clips" in " ".join(each.proto.body for each in shown.get("html"))

    given = {"cross-what": "Bundled models", "own predictions": Chosen("mine.csv", mixed, "k")}
    found = text(page("crosscorpus", **given))
    right = mixed[[f"p_{name}" for name in EMOTIONS]].to_numpy().argmax(1) == mixed["emotion"].map(EMOTIONS.index)
    uar = right.groupby(mixed["emotion"]).mean().mean()
    assert f"your model on mine.csv {100 * uar:.1f} %" in found

    values = random.uniform(-0.8, 0.8, (len(rows), 3))
    names = ("valence", "arousal", "dominance")
    rated = rows[["file", "speaker"]].assign(
        **{f"d_{name}": values[:, k] for k, name in enumerate(names)},
        **{f"t_{name}": np.clip(values[:, k] + 0.1, -1, 1) for k, name in enumerate(names)},
    )
    shown = page("dimensions", **{"own predictions": Chosen("rated.csv", checked(rated), "k")})
    assert shown.selectbox(key="dimensions-model").options[0] == "your model on rated.csv"
    assert page("mixed", **{"own predictions": Chosen("rated.csv", checked(rated), "k")})


def test_a_malformed_table_of_the_readers_gets_its_sentence(store) -> None:
    from pages.parts.predictions import OWN as SOURCE

    shown = page("fairness", **{"predictions-source": SOURCE})
    shown = shown.file_uploader[0].set_value(("mine.csv", OWN.replace("0.8,0.2", "0.8,0.9").encode(), "text/csv")).run()
    assert "do not sum to 1" in " ".join(each.value for each in shown.error).replace("\\", "")
    assert not shown.exception


def test_a_clip_that_is_not_at_hand_says_so_and_one_that_is_can_be_opened(tmp_path: Path, monkeypatch) -> None:
    from pages.parts.predictions import row_of_clip

    corpus = tmp_path / "toy"
    corpus.mkdir()
    soundfile.write(corpus / "00-00.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    (corpus / "labels.csv").write_text("file,speaker,emotion\n00-00.wav,00,anger\n")
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path))
    row = row_of_clip("toy", "00-00")
    assert row is not None and Path(row["file"].iloc[0]).name == "00-00.wav"
    assert row_of_clip("toy", "00-01") is None and row_of_clip("elsewhere", "00-00") is None


def test_a_label_that_the_model_cannot_answer_has_no_probability() -> None:
    from pages.parts.clips_behind import CHANCES, clips

    rows = answers(speakers=2).assign(emotion="boredom")
    listed = clips(rows)
    assert (listed[CHANCES[1]] == 0).all() and (listed["label"] == "boredom").all()
    assert listed[CHANCES[0]].is_monotonic_decreasing


@STORED
def test_every_stored_table_of_mixed_emotions_leads_to_its_clips() -> None:
    from pages.parts.clips_behind import clips
    from pages.parts.corpora_charts import evaluated

    tables = evaluated(ser_core.evaluation.stored(), "p_", "share_")
    judged = {pair: rows for pair, rows in tables.items() if mixed_charts.judged_by_several(rows)}
    assert {corpus for _, corpus in judged} == {"crema_d", "emotale"}
    for rows in judged.values():
        assert len(clips(rows)) == len(rows)


@STORED
def test_every_bundled_model_is_asked_about_every_open_corpus_that_it_may_be_asked_about() -> None:
    stored = {(each.model, each.corpus) for each in ser_core.evaluation.stored()}
    bundled = {folder.name for folder in (ROOT / "assets" / "models").iterdir()}
    pairs = {(model, corpus) for model in bundled for corpus in ("crema_d", "emodb", "emotale", "ravdess", "urdu")}
    # Trained on speech of these too, without folds of them.
    assert pairs - stored == {("mll-ravdess", "crema_d"), ("edge-fusion", "ravdess")}


@STORED
def test_the_clips_behind_an_int8_sign_and_behind_a_change_are_its_own() -> None:
    from pages.parts.before_after import _answered_differently
    from pages.parts.efficiency_charts import answers as of_model
    from ser_core.speakers import answers_of

    whole, small = (of_model("edge-fusion", weights, "crema_d") for weights in ("float", "int8"))
    assert len(whole) == len(small) == 7435
    same = answers_of(whole).to_numpy() == answers_of(small.set_index("clip").loc[whole["clip"]]).to_numpy()
    assert 0.9 < same.mean() < 1
    models = "whisper-tiny-statistics-co-vada-after"
    before, after = (_answered_differently(models, when) for when in ("before", "after"))
    assert before["clip"].tolist() == after["clip"].tolist() and 0 < len(before) < 3000
    assert (answers_of(before) != answers_of(after)).all()


@STORED
def test_a_speakers_pitch_group_is_that_of_all_clips_of_that_speaker() -> None:
    from ser_core.group_differences import attributes_of

    table = next(e for e in ser_core.evaluation.stored() if (e.model, e.corpus) == ("egemaps-logistic", "crema_d"))
    rows = ser_core.evaluation.read_stored(table.path)
    groups = attributes_of(rows)["pitch"]
    assert groups.notna().all() and (groups.groupby(rows["speaker"]).nunique() == 1).all()
    of = groups.groupby(rows["speaker"]).first()
    women = rows.groupby("speaker")["sex"].first() == "female"
    assert (of[women] != "low (to 145 Hz)").all() and (of[~women].str.startswith("low")).mean() > 0.4


def test_a_point_of_the_chart_leads_to_the_clips_behind_it() -> None:
    from pages.parts.clips_behind import clips

    rows = answers(speakers=2)
    listed = clips(rows)
    assert set(listed) == {
        "clip",
        "corpus",
        "speaker",
        "label",
        "answer",
        "its probability",
        "probability of the label",
    }
    apart = listed["its probability"] - listed["probability of the label"]
    assert apart.is_monotonic_decreasing and len(listed) == len(rows)
    assert set(listed["speaker"]) == {"00", "01"}


def test_a_planted_swap_of_two_labels_shows_in_the_confusion() -> None:
    from pages.parts.speaker_charts import confusion

    rows = answers(speakers=1, clips=30)
    swapped = rows.rename(columns={"p_anger": "p_fear", "p_fear": "p_anger"})
    for shown, anger_as in ((rows, "anger"), (swapped, "fear")):
        heat = confusion(shown).data[0]
        row = dict(zip(heat.x, heat.z[list(heat.y).index("anger")], strict=True))
        assert max(row, key=row.get) == anger_as and row[anger_as] > 60


def test_asking_a_model_here_is_refused_for_speech_it_was_trained_on(corpora: Path, monkeypatch) -> None:
    from pages.parts.predictions import ASK

    monkeypatch.setenv("SERSCOPE_CORPORA", str(corpora))
    shown = page("speakers", **{"predictions-source": ASK})
    shown = box(shown, "Corpus").select("crema_d").run()
    assert not shown.exception and "would flatter it" in text(shown)
    shown = box(shown, "Corpus").select("urdu").run()
    assert any(each.label == "Ask" for each in shown.button) and "400 clips" in text(shown)


def unseen(corpus: Path) -> None:
    """Write a corpus that no reader of ours was made for: 12 clips of four speakers."""
    corpus.mkdir()
    random, lines = np.random.default_rng(0), ["file,speaker,emotion,gender"]
    for place in range(12):
        name, emotion = f"{place:02d}.wav", ("anger", "fear", "neutral")[place % 3]
        soundfile.write(corpus / name, random.normal(0, 0.1, 8000), 16_000)
        lines.append(f"{name},s{place // 3},{emotion},{'fm'[place // 6]}")
    (corpus / "labels.csv").write_text("\n".join(lines))


def asked_and_drawn(shown: AppTest) -> bool:
    """Ask the quickest model about the chosen corpus and return whether its answers are drawn."""
    from pages.parts import background

    shown = box(shown, "Model").select("log-mel-resnet").run()
    shown = next(each for each in shown.button if each.label == "Ask").click().run()
    assert not shown.exception
    (job,) = shown.session_state["jobs"].values()
    assert isinstance(job, background.Job)
    job.future.result(timeout=60)
    shown = shown.run()
    return not shown.exception and "12 clips of 4 speakers" in text(shown) and "2 v 2" in text(shown)


def test_a_corpus_that_the_app_has_never_seen_is_found_without_a_restart_and_asked_about(tmp_path, monkeypatch) -> None:
    from pages.parts.predictions import ASK

    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path))
    shown = page("fairness", **{"predictions-source": ASK})
    assert "No corpus is at hand" in text(shown)
    unseen(tmp_path / "new one")
    shown = shown.run()
    assert box(shown, "Corpus").options == ["new one"]
    assert asked_and_drawn(shown)
    labels = tmp_path / "new one" / "labels.csv"
    labels.write_text(labels.read_text().replace("s3", "s2"))
    shown = shown.run()
    assert "4 speakers" not in text(shown) and not shown.session_state["asked"]
    next(each for each in shown.button if each.label == "Ask").click().run()
    list(shown.session_state["jobs"].values())[-1].future.result(timeout=60)
    assert "12 clips of 3 speakers" in text(shown.run())


def test_a_reader_on_this_machine_names_a_folder_and_nobody_else_does(tmp_path: Path, monkeypatch) -> None:
    from pages.parts import own_folder
    from pages.parts.predictions import ASK

    (tmp_path / "none").mkdir()
    unseen(tmp_path / "mine")
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path / "none"))
    shown = page("fairness", **{"predictions-source": ASK})  # no browser at all, so no request from this machine
    assert "typed only where the app runs on your own machine" in text(shown) and not shown.text_input
    hidden = page("fairness", **{"predictions-source": ASK, own_folder.FOLDERS: (tmp_path / "mine",)})
    assert "No corpus is at hand" in text(hidden)  # whatever the session holds

    monkeypatch.setattr(own_folder, "refusal", lambda: "")
    shown = page("fairness", **{"predictions-source": ASK})
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "labels.csv").write_text("file,emotion\na.wav,anger")
    for typed, said in (
        ("speech", "not a whole path"),
        ("~nobody/speech", "not a whole path"),
        ("/", "too much to look through"),
        (str(tmp_path / "nowhere"), "There is no folder"),
        (str(tmp_path / "none"), "is not known"),
        (str(tmp_path / "bad"), "speaker"),
    ):
        shown.text_input(key="own-folder").set_value(typed).run()
        shown = next(each for each in shown.button if each.label == "Use it").click().run()
        assert not shown.exception and said in shown.error[0].value.replace("\\", ""), typed
    shown.text_input(key="own-folder").set_value(str(tmp_path / "mine")).run()
    shown = next(each for each in shown.button if each.label == "Use it").click().run()
    assert not shown.error and box(shown, "Corpus").options == ["mine"]
    shown = next(each for each in shown.button if each.label == "Use it").click().run()
    assert "is at hand already" in shown.error[0].value
    assert asked_and_drawn(shown)
    shown = next(each for each in shown.button if each.label == "Forget these folders").click().run()
    assert "No corpus is at hand" in text(shown)


@pytest.mark.parametrize(
    ("changed", "read"),
    [
        ({}, True),
        ({"address": "127.0.0.1", "headers": {"Host": "127.0.0.1:8501", "Origin": "http://127.0.0.1:8501"}}, True),
        ({"address": "::1", "headers": {"host": "[::1]:8501", "origin": "http://[::1]:8501"}}, True),
        ({"address": None}, False),
        ({"address": "0.0.0.0"}, False),
        ({"address": "ser.example.org"}, False),
        ({"hosts": None}, False),
        ({"hosts": []}, False),
        ({"hosts": ["localhost", "ser.example.org"]}, False),
        ({"hosts": ["*"]}, False),
        ({"headers": {}}, False),
        ({"headers": {"Host": "localhost:8501"}}, False),
        ({"headers": {"Host": "localhost:8501", "Origin": "https://ser.example.org"}}, False),
        ({"headers": {"Host": "ser.example.org", "Origin": "http://localhost:8501"}}, False),
        ({"headers": {"Host": "localhost", "Origin": "http://localhost", "X-Forwarded-Proto": "https"}}, False),
        ({"headers": {"Host": "localhost", "Origin": "http://localhost", "forwarded": "for=1.2.3.4"}}, False),
        ({"headers": {"Host": "localhost", "Origin": "http://localhost", "Via": "1.1 caddy"}}, False),
        ({"headers": {"Host": "localhost.example.org", "Origin": "http://localhost"}}, False),
    ],
)
def test_server_and_reader_are_on_one_machine_only_where_nobody_else_can_reach_it(changed: dict, read: bool) -> None:
    from pages.parts.sign_in import surely_here

    here = {"Host": "localhost:8501", "Origin": "http://localhost:8501"}
    given = {"address": "localhost", "hosts": ["localhost", "127.0.0.1"], "headers": here}
    assert surely_here(**(given | changed)) == read


@pytest.mark.parametrize(
    ("here", "providers", "read"), [(True, [], True), (False, [], False), (True, ["default"], False)]
)
def test_typed_paths_are_read_for_one_person_on_the_own_machine_alone(here, providers, read, monkeypatch) -> None:
    from pages.parts import own_folder, sign_in

    monkeypatch.setattr(sign_in, "at_this_machine", lambda: here)
    monkeypatch.setattr(sign_in, "providers", lambda: providers)
    assert own_folder.refusal() == ("" if read else own_folder.REFUSED)
