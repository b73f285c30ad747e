"""A reader's own table of answers on the pages that show answers."""

import re

import numpy as np
import pandas as pd
import soundfile
from answered import EMOTIONS, answers, box, page, text

import ser_core.evaluation
from ser_core.predictions import read_predictions
from ser_core.settings import ROOT

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
