"""The pages on groups and on single speakers, on answers made up here."""

import dataclasses

import numpy as np
import pandas as pd
from answered import EMOTIONS, STORED, answers, box, page, text

import ser_core.evaluation
from ser_core.predictions import read_predictions
from ser_core.settings import ROOT


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


def test_stored_answers_that_no_clip_is_labelled_with_are_told_where_they_are_dropped(store) -> None:
    rows = answers()
    store(rows[rows["emotion"] != "fear"].reset_index(drop=True))
    found = text(page("speakers"))
    assert "no clip is labelled fear, so these answers are dropped" in found and "are left out" not in found
    store(rows)
    assert "dropped" not in text(page("speakers"))


def test_speech_whose_speakers_give_the_emotion_away_is_told_wherever_it_is_chosen(store) -> None:
    from pages.parts.predictions import EXAMPLE, Chosen
    from pages.parts.predictions import OWN as SOURCE

    rows = read_predictions(EXAMPLE.encode(), "mine.csv")
    given = Chosen("mine.csv", rows.assign(corpus="urdu"), "k")
    for name in ("speakers", "fairness"):
        shown = page(name, **{"predictions-source": SOURCE, "own predictions": given})
        assert any("telling speakers apart" in each.value for each in shown.warning)
    shown = page("speakers", **{"predictions-source": SOURCE, "own predictions": dataclasses.replace(given, rows=rows)})
    assert not shown.warning


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


def test_a_planted_swap_of_two_labels_shows_in_the_confusion() -> None:
    from pages.parts.speaker_charts import confusion

    rows = answers(speakers=1, clips=30)
    swapped = rows.rename(columns={"p_anger": "p_fear", "p_fear": "p_anger"})
    for shown, anger_as in ((rows, "anger"), (swapped, "fear")):
        heat = confusion(shown).data[0]
        row = dict(zip(heat.x, heat.z[list(heat.y).index("anger")], strict=True))
        assert max(row, key=row.get) == anger_as and row[anger_as] > 60
