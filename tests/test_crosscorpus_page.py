"""The page Cross-corpus: figures of known answer, and what is chosen, searched and compared on it."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from streamlit.testing.v1 import AppTest

from pages.parts import corpora_charts
from ser_core import crosscorpus
from ser_core.results import RESULTS
from ser_core.settings import ROOT

EMOTIONS = ("anger", "calm", "neutral", "sadness")


def answered(corpus: str, split: str, right: float, emotions: tuple[str, ...] = EMOTIONS) -> pd.DataFrame:
    """Answers of a made-up model: of each emotion exactly this share is right, the rest goes to the next emotion."""
    rows = []
    for speaker in range(6):
        for place, emotion in enumerate(emotions):
            for clip in range(10):
                answer = emotion if clip < round(10 * right) else emotions[(place + 1) % len(emotions)]
                shares = {f"p_{word}": 0.7 if word == answer else 0.1 for word in emotions}
                facts = {
                    "clip": f"{corpus}-{speaker}-{emotion}-{clip}",
                    "corpus": corpus,
                    "speaker": f"{corpus}/{speaker}",
                }
                rows.append(facts | {"emotion": emotion, "split": split, "model": "m", "run": "1"} | shares)
    return pd.DataFrame(rows)


def test_models_away_from_home_lose_what_was_planted() -> None:
    tables = {
        ("m", "home"): answered("home", "out of fold", 0.8),
        ("m", "away"): answered("away", "other corpus", 0.5),
    }
    found = crosscorpus.of_models(tables, {}, replicates=200).set_index("test")
    assert found.loc["home", "uar"] == pytest.approx(0.8)
    assert found.loc["away", "uar"] == pytest.approx(0.5)
    assert found.loc["away", "gap"] == pytest.approx(-0.3)
    assert found.loc["away", "gap_low"] - 1e-9 <= -0.3 <= found.loc["away", "gap_high"] + 1e-9
    assert np.isnan(found.loc["home", "gap"])


def test_a_changed_mapping_is_worked_out_from_the_probabilities() -> None:
    tables = {("m", "away"): answered("away", "other corpus", 0.5)}
    merged = crosscorpus.of_models(tables, {"calm": "neutral"}, replicates=50).iloc[0]
    # Half of anger goes to calm, which counts as neutral now; calm's errors go to neutral and become right; half of
    # neutral goes to sadness. Recalls: anger .5, neutral (1 + .5) / 2, sadness .5.
    assert merged["emotions"] == "anger, neutral, sadness"
    assert merged["uar"] == pytest.approx((0.5 + 0.75 + 0.5) / 3)
    left_out = crosscorpus.of_models(tables, {"calm": ""}, replicates=50).iloc[0]
    assert left_out["emotions"] == "anger, neutral, sadness"
    assert left_out["clips"] == 180


def test_the_matrix_of_functionals_takes_the_mapping_cell_by_cell() -> None:
    one = answered("away", "other corpus", 0.5)
    parts = [one.assign(train=t, test=s) for t in ("a", "b") for s in ("a", "b")]
    rows = pd.concat(parts).assign(system="s", normalised=False)
    cells = crosscorpus.summary(crosscorpus.counted(rows, {"calm": "neutral"}), replicates=50)
    assert len(cells) == 4
    assert cells["uar"].to_numpy() == pytest.approx([(0.5 + 0.75 + 0.5) / 3] * 4)


def drawn(page: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "pages" / page), default_timeout=120).run()
    assert not app.exception, app.exception
    return app


@pytest.mark.parametrize("show", ["uar", "gap"])
def test_bundled_models_are_set_against_every_corpus_that_they_were_asked_about(show: str, monkeypatch) -> None:
    tables = {
        ("m", "ravdess"): answered("ravdess", "out of fold", 0.8),
        ("m", "emodb"): answered("emodb", "other corpus", 0.5),
        ("alone", "emodb"): answered("emodb", "other corpus", 0.3, emotions=("anger", "boredom")),
    }
    monkeypatch.setattr(corpora_charts, "evaluated", lambda stored, *starts: tables)
    app = AppTest.from_file(str(ROOT / "pages" / "crosscorpus.py"), default_timeout=120)
    app.session_state["cross-what"] = "Bundled models"
    app.session_state["cross-measure"] = show
    app.run()
    assert not app.exception, app.exception
    words = " ".join(html.proto.body for html in app.get("html"))
    # Calm counts as neutral unless the reader says otherwise: (.5 + .75 + .5) / 3 against (.8 + .9 + .8) / 3.
    assert "58.3 %" in words
    assert "25.0 points are lost against home" in words
    assert any("Blank, since" in each.value and "alone on EMO-DB, RAVDESS." in each.value for each in app.caption)


def test_labels_that_the_reader_says_are_one_are_one_everywhere_on_the_page(monkeypatch) -> None:
    app = drawn("crosscorpus.py")
    before = " ".join(html.proto.body for html in app.get("html"))
    assert "(chance 25.0 %)" in before

    def edited(table: pd.DataFrame, **how: object) -> pd.DataFrame:
        assert list(table["label"]) == list(table["counts as"])
        return table.assign(**{"counts as": table["counts as"].replace("sadness", "neutral")})

    monkeypatch.setattr("streamlit.data_editor", edited)
    app = drawn("crosscorpus.py")
    after = " ".join(html.proto.body for html in app.get("html"))
    assert "(chance 33.3 %)" in after and "(chance 25.0 %)" not in after
    assert any("Chance is 33.3 %" in each.value for each in app.caption)
    stored = pd.read_parquet(RESULTS / crosscorpus.TABLE).astype(dict.fromkeys(crosscorpus.CELL[:3], "str"))
    first = stored[stored["system"] == stored["system"].iloc[0]]
    cells = crosscorpus.summary(crosscorpus.counted(first, {"sadness": "neutral"}), replicates=20)
    away = cells[(cells["train"] != cells["test"]) & ~cells["normalised"]]
    assert f"{100 * away['uar'].max():.1f} %" in after and f"{100 * away['uar'].min():.1f} %" in after


def test_the_leak_detector_says_what_dealing_clips_leaks(monkeypatch, tmp_path: Path) -> None:
    lines = ["file,speaker,emotion,text_id"]
    for place in range(60):
        lines.append(f"{place}.wav,s{place // 20},{('anger', 'fear')[place % 2]},t{place % 3}")
    (tmp_path / "made up").mkdir()
    for place in range(60):
        sf.write(tmp_path / "made up" / f"{place}.wav", np.full(800, 0.1), 16_000)
    (tmp_path / "made up" / "labels.csv").write_text("\n".join(lines))
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path))

    def page() -> None:
        from pages.parts.corpora_charts import leaks

        leaks()

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception, app.exception
    words = " ".join(html.proto.body for html in app.get("html"))
    assert "<strong>leak</strong>" in words
    assert "3 of 3 speakers are on both sides" in words
    assert "0 of 3 speakers are heard in one emotion only" in words


def test_two_corpora_are_searched_for_what_they_share_and_their_recordings_on_demand(
    monkeypatch, tmp_path: Path
) -> None:
    for name, seeds in (("one", (0, 1, 2, 3)), ("two", (4, 5, 2, 6))):
        (tmp_path / name).mkdir()
        lines = ["file,speaker,emotion,transcript"]
        for place, seed in enumerate(seeds):
            sound = np.random.default_rng(seed).integers(-3000, 3000, 6000).astype(np.int16)
            sf.write(tmp_path / name / f"{name}-{place}.wav", sound, 16_000, subtype="PCM_16")
            words = "It is ten." if place == 0 else f"{name} {place}"
            lines.append(
                f"{name}-{place}.wav,s{place // 2},{EMOTIONS[place]},{words.upper() if name == 'two' else words}"
            )
        (tmp_path / name / "labels.csv").write_text("\n".join(lines))
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path))

    def page() -> None:
        from pages.parts.corpora_charts import leaks_between

        leaks_between()

    def words(app: AppTest) -> str:
        return " ".join(html.proto.body for html in app.get("html"))

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception, app.exception
    assert "What one and two share" in words(app) and "recordings are on both sides" not in words(app)
    assert "1 of 7 sentences are on both sides" in words(app) and "such as it is ten" in words(app)
    app.button(key="hash-one-two").click().run()
    for _ in range(100):
        if "1 of 7 recordings are on both sides" in words(app.run()):
            break
        time.sleep(0.1)
    assert "<strong>leak</strong>" in words(app) and "two-2" in words(app)
    assert app.dataframe[0].value["clip"].tolist() == ["two-2"]


def test_recordings_are_compared_anew_where_a_corpus_has_changed(monkeypatch, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "wav").mkdir(parents=True)
    monkeypatch.setenv("SERSCOPE_CORPORA", str(tmp_path))

    def record(place: int, seed: int) -> None:
        sound = np.random.default_rng(seed).integers(-3000, 3000, 6000).astype(np.int16)
        sf.write(folder / "wav" / f"{place}.wav", sound, 16_000, subtype="PCM_16")

    def label(count: int) -> None:
        rows = [(f"wav/{k}.wav", f"s{k % 2}", EMOTIONS[k % 2], ("train", "test")[k % 2]) for k in range(count)]
        pd.DataFrame(rows, columns=["file", "speaker", "emotion", "split"]).to_csv(folder / "labels.csv", index=False)

    def page() -> None:
        from pages.parts.corpora_charts import leaks

        leaks()

    def compared(app: AppTest) -> str:
        app.button(key="hash-own").click().run()
        for _ in range(100):
            app.run()
            words = " ".join(html.proto.body for html in app.get("html"))
            if "same recording" in words:
                break
            time.sleep(0.1)
        assert not app.exception, app.exception
        return words

    for place in range(8):
        record(place, place)
    label(8)
    app = AppTest.from_function(page, default_timeout=60).run()
    assert "No recording is on both sides" in compared(app)
    record(1, 0)  # as many files, other sound
    app.run()
    assert "1 of 7 recordings are on both sides" in compared(app)
    record(8, 8)
    label(9)
    app.run()
    assert not app.exception, app.exception
    assert "1 of 8 recordings are on both sides" in compared(app)
