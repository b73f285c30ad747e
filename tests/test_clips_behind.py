"""From a point of a chart to the clips behind it."""

from pathlib import Path

import numpy as np
import soundfile
from answered import STORED, answers

import ser_core.evaluation
from pages.parts import mixed_charts
from ser_core.settings import ROOT


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
