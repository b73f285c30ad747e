"""Robustness, mixed emotions, dimensions, efficiency: figures of known answer, and each page drawn."""

import dataclasses
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, spearmanr
from streamlit.testing.v1 import AppTest

from pages.parts import (
    baseline_panel,
    clips_behind,
    dimension_charts,
    efficiency_charts,
    mixed_charts,
    robustness_charts,
    speaker_charts,
    wheel,
)
from pages.parts.cards import comparison, details
from pages.parts.charts import ink
from pages.parts.figures_of_studies import by_condition
from pages.parts.words import hint_of, meanings
from ser_core import registry, robustness
from ser_core.degradations import KINDS
from ser_core.metrics import correlation_of, speaker_moments
from ser_core.models import Figure
from ser_core.noisestudy import STAGES
from ser_core.registry import cards
from ser_core.results import read_summary
from ser_core.robustness import TABLES as ROBUSTNESS
from ser_core.settings import ROOT
from ser_core.sphere import DIMENSIONS, octant_table
from tests.test_crosscorpus_page import answered, drawn


def test_the_noise_study_is_drawn_over_all_conditions_and_told_for_one() -> None:
    def page() -> None:
        from pages.parts.figures_of_studies import studies

        studies()

    app = AppTest.from_function(page, default_timeout=60)
    app.session_state["study"] = "noise-robustness"
    app.run()
    assert not app.exception, app.exception
    assert app.selectbox(key="study").value == "noise-robustness"
    assert len(app.get("plotly_chart")) == 2
    words = " ".join(html.proto.body for html in app.get("html"))
    assert all(stage in words for stage in ("frozen encoder", "EDRL", "EDRL-MEA"))
    found = read_summary()
    rows = found[(found["table"] == "noise-robustness") & (found["task"] == "crema_d") & (found["measure"] == "UAR")]
    lines = by_condition(rows, "UAR").data
    places = [(line, place) for line in lines for place in range(len(line.y))]
    values = {(line.name, line.x[0][place], line.x[1][place]): line.y[place] for line, place in places}
    assert len(values) == len(rows) == len(STAGES) * 17
    row = rows[(rows["variant"] == "EDRL") & (rows["condition"] == "babble, 5 dB")]["value"].item()
    assert values["EDRL", "babble", "5 dB"] == row


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=12, unique=True))
def test_the_front_holds_those_that_nobody_beats(points: list[tuple[float, float]]) -> None:
    rows = pd.DataFrame(points, columns=["size_mb", "value"])
    front = efficiency_charts.front(rows, "size_mb")
    kept = set(front.itertuples(index=False, name=None))
    for cost, value in points:
        beaten = any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        assert ((cost, value) in kept) is not beaten


def test_where_less_is_better_the_front_holds_the_lowest() -> None:
    rows = pd.DataFrame({"size_mb": [1.0, 2.0, 3.0], "value": [0.8, 0.9, 0.3]})
    assert efficiency_charts.front(rows, "size_mb", "KL")["value"].tolist() == [0.8, 0.3]
    assert efficiency_charts.front(rows, "size_mb", "cosine")["value"].tolist() == [0.8, 0.9]


@pytest.mark.parametrize(
    ("measure", "model", "corpus", "constant"),
    [("KL", "label-distribution", "crema_d", 0.744), ("mean CCC", "emosphere-emotale", "emotale", 0.0)],
)
def test_models_of_other_answers_stand_in_a_chart_with_their_constant(measure, model, corpus, constant) -> None:
    app = AppTest.from_file(str(ROOT / "pages" / "efficiency.py"), default_timeout=120)
    app.session_state["efficiency-measure"] = measure
    app.session_state["report every chart"] = True
    app.run()
    assert not app.exception, app.exception
    held = [each for each in app.session_state["report sections"].values() if each.svg]
    assert held[0].title.startswith(f"{measure} on ") and "A constant answer has" in held[0].words
    rows = efficiency_charts.by_measure(efficiency_charts.costs(), measure).set_index("model")
    row = rows.loc[model]
    assert (row["corpus"], row["measure"]) == (corpus, measure)
    assert row["baseline"] == pytest.approx(constant, abs=0.001)
    figures = {each.measure: each for card in cards() if card.name == model for each in card.figures}
    if measure == "KL":
        told = (figures["KL"].value, figures["KL"].low, figures["KL"].high)
        assert (row["value"], row["low"], row["high"]) == pytest.approx(told, abs=1e-3)
        assert rows["value"].idxmin() == model and (rows["weights"] == "float").all()  # it alone was taught the shares
    else:
        told = [figures[f"CCC {name}"].value for name in DIMENSIONS]
        assert row["value"] == pytest.approx(np.mean(told), abs=1e-3) and row["low"] < row["value"] < row["high"]


def listeners(seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    heard = random.dirichlet([0.6] * 3, 240)
    expected = 0.6 * heard + 0.4 * random.dirichlet([2.0] * 3, 240)
    names = ("anger", "fear", "neutral")
    rows = pd.DataFrame({"clip": [f"c{k}" for k in range(240)], "speaker": [f"s{k % 12}" for k in range(240)]})
    rows[[f"share_{name}" for name in names]] = heard
    rows[[f"p_{name}" for name in names]] = expected
    return rows.assign(emotion=[names[k] for k in heard.argmax(1)])


def test_entropy_and_its_correlation_are_scipys() -> None:
    labels = mixed_charts.shared_labels(listeners())
    rows = mixed_charts.heard_rows(listeners(), labels)
    assert labels == ["anger", "fear", "neutral"]
    heard, _ = mixed_charts.both(rows, labels)
    assert rows["heard_bits"].to_numpy() == pytest.approx([entropy(row, base=2) for row in heard])
    found = mixed_charts.ambiguity(rows)
    assert found.value == pytest.approx(spearmanr(rows["heard_bits"], rows["expected_bits"]).statistic)
    assert found.low < found.value < found.high


def test_bins_of_shares_hold_every_clip_once_and_their_means() -> None:
    rows = listeners()
    labels = mixed_charts.shared_labels(rows)
    binned = mixed_charts.agreement(rows, labels)
    assert (binned.groupby("emotion")["clips"].sum() == len(rows)).all()
    one = binned.iloc[3]
    behind = mixed_charts.in_bin(rows, labels, one["emotion"], int(one["bin"]))
    assert len(behind) == one["clips"]
    assert behind[f"p_{one['emotion']}"].mean() == pytest.approx(one["expected"])


HEARD = pd.DataFrame(
    {
        "name": ["0001", "0002", "0003"],
        "speaker": [f"em2ldl/speaker{k}" for k in (1, 2, 2)],
        "sex": ["female", "male", "male"],
        "age_group": ["young", "old", "old"],
        "code_switching": ["ce", "ce", "me"],
        "share_joy": [0.2, 0.5, 0.0],
        "share_trust": [0.5, 0.5, 0.0],
        "share_anger": [0.3, 0.0, 1.0],
    }
)


def test_the_clips_behind_a_label_of_the_wheel_are_those_that_some_heard_so() -> None:
    found = mixed_charts.clips_of_label(HEARD, ["joy", "trust", "anger"], "joy")
    assert found["clip"].to_list() == ["0002", "0001"]
    assert found["share"].to_list() == [50.0, 20.0]
    assert found["speaker"].to_list() == ["speaker2", "speaker1"]
    assert found["heard beside it"].to_list() == ["trust 50 %", "trust 50 %, anger 30 %"]


def test_a_label_of_the_wheel_is_chosen_and_its_clips_are_listed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mixed_charts, "corpora_at_hand", lambda: {"em2ldl": tmp_path})
    monkeypatch.setattr(mixed_charts, "labels_of_em2ldl", lambda folder: HEARD)
    app = drawn("mixed.py")
    assert app.selectbox(key="wheel-of").options == ["none", "anger", "trust", "joy"]
    app.selectbox(key="wheel-of").set_value("joy").run()
    assert not app.exception
    assert any("joy: 2 clips with some of the answers" in each.value for each in app.caption)
    assert any(list(each.value.get("clip", [])) == ["0002", "0001"] for each in app.dataframe)


def test_bias_and_octants_are_those_that_were_planted() -> None:
    random = np.random.default_rng(0)
    rated = random.uniform(0.1, 0.6, (60, 3))
    rows = pd.DataFrame(rated, columns=["t_valence", "t_arousal", "t_dominance"])
    rows[["d_valence", "d_arousal", "d_dominance"]] = rated + np.array([0.2, 0.0, -0.7])
    rows = rows.assign(speaker=[f"s{k % 12}" for k in range(60)], emotion="joy", clip=[f"c{k}" for k in range(60)])
    found = dimension_charts.figures(rows).set_index("dimension")
    assert found["bias"].to_list() == pytest.approx([0.2, 0.0, -0.7])
    assert found.loc["arousal", "ccc"] == pytest.approx(1.0)
    assert found["correlation"].to_list() == pytest.approx([1.0] * 3)
    assert "1.00 [1.00, 1.00]" in dimension_charts.figures_table(found.reset_index()).html
    octants = octant_table(dimension_charts.points_of(rows, "t_"), dimension_charts.points_of(rows, "d_"))
    assert "Most ratings are pleasant, excited, strong (100 %)" in dimension_charts.octants_in_words(octants)
    assert "exuberant" in dimension_charts.octants_table(octants).html
    assert "valence +0.20, dominance −0.70" in dimension_charts.in_words(found.reset_index())
    spread = octants.assign(rated=[0.25, 0.2, 0.15, *[0.08] * 5])
    assert f"More ratings are {octants['place'][0]} (25 %) than anything" in dimension_charts.octants_in_words(spread)
    assert "<td>< .001</td>" in dimension_charts.figures_table(found.reset_index().assign(shifted=0.0)).html
    few = dimension_charts.figures(rows.assign(speaker=[f"s{k % 4}" for k in range(60)]))
    assert few["shifted"].min() == pytest.approx(3 * 2 / 2**4)  # four speakers turn round in sixteen ways
    assert "by chance" not in dimension_charts.in_words(few) and "dimensions): none" in dimension_charts.in_words(few)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A stored study of two made-up models on three kinds of change."""
    frames = []
    for model, loss in (("edrl-mea", 0.0), ("log-mel-resnet", 0.2)):
        clean = answered("crema_d", "out of fold", 0.8).assign(kind="clean", level=np.nan, changed=False, model=model)
        constant = clean.head(4).assign(clip="silence", kind="constant", level=[1.0, 2.0, 4.0, 8.0], speaker="")
        worse = answered("crema_d", "out of fold", 0.8 - loss).assign(model=model)
        worse = worse.assign(changed=worse["p_anger"].to_numpy() != clean["p_anger"].to_numpy())
        kinds = [worse.assign(kind=k, level=level) for k in ("babble", "gain") for level in KINDS[k].levels]
        rows = pd.concat([clean, constant, *kinds], ignore_index=True).astype({"level": np.float32})
        robustness._write(rows, tmp_path / f"{model}.crema_d.parquet")
        frames.append(rows)
    found = robustness.summary(tmp_path, replicates=100)
    found.to_csv(tmp_path / "summary.csv", index=False)
    monkeypatch.setattr(robustness, "TABLES", tmp_path)
    monkeypatch.setattr(robustness, "SUMMARY", tmp_path / "summary.csv")
    return found


def test_what_hurts_most_is_said_in_words(measured: pd.DataFrame) -> None:
    assert set(measured.loc[measured["model"] == "edrl-mea", "drop"].round(6)) == {0.0}
    worst = measured[(measured["model"] == "log-mel-resnet") & (measured["kind"] == "babble")]
    assert worst["drop"].to_numpy() == pytest.approx([-0.2] * 5)
    words = robustness_charts.in_words(measured, ["log-mel-resnet"], ["babble"], "drop")
    assert "worst babble" in words
    assert "−20.0" in words


def test_the_model_that_loses_most_is_not_called_the_least_affected_for_its_high_uar() -> None:
    level = KINDS["environment"].levels[-1]
    facts = {"kind": "environment", "level": level}
    rows = pd.DataFrame(
        [
            {"model": "whisper-tiny-statistics", "uar": 0.36, "drop": -0.404, **facts},
            {"model": "egemaps-logistic", "uar": 0.272, "drop": -0.202, **facts},
        ]
    )
    models = rows["model"].tolist()
    of_uar, of_drop = (
        robustness_charts.severest_in_words(rows, models, ["environment"], measure) for measure in ("uar", "drop")
    )
    assert of_uar.startswith("From the highest to the lowest UAR: ") and of_uar.index("36.0") < of_uar.index("27.2")
    assert of_drop.startswith("From the least to the most affected: ")
    assert of_drop.index("−20.2") < of_drop.index("−40.4")


def test_the_severest_level_is_the_farthest_from_no_change_and_clean_stands_between_both_sides() -> None:
    assert (KINDS["gain"].severest, KINDS["spectral tilt"].severest, KINDS["mp3"].severest) == (-30.0, -6.0, 16.0)
    levels = [float("nan"), *KINDS["gain"].levels]
    kinds = ["clean", *["gain"] * 4]
    own = pd.DataFrame({"model": "m", "kind": kinds, "level": levels, "uar": [0.7, 0.4, 0.5, 0.6, 0.7]})
    assert robustness_charts._in_order(own, "gain", "uar")["level"].tolist()[:3] == [-30.0, -20.0, -10.0]
    assert robustness_charts._in_order(own, "gain", "uar")["kind"].tolist()[3] == "clean"
    assert robustness_charts._in_order(own.assign(drop=0.1), "gain", "drop")["kind"].tolist() == ["gain"] * 4


def test_what_never_changes_is_not_called_best_heard() -> None:
    found = pd.DataFrame({"dimension": ["valence", "dominance"], "ccc": [0.5, np.nan]}).assign(
        ccc_low=0.4, ccc_high=0.6, bias=0.0, shifted=1.0
    )
    assert "valence: CCC 0.50" in dimension_charts.in_words(found).replace("Valence", "valence")
    assert "cannot be told" in dimension_charts.in_words(found.iloc[1:])


def test_the_robustness_page_draws_a_study_and_changes_its_measure(measured: pd.DataFrame) -> None:
    app = drawn("robustness.py")
    assert app.multiselect(key="robustness-models-crema_d").value == ["edrl-mea", "log-mel-resnet"]
    app.multiselect(key="robustness-kinds").set_value(["babble", "gain"]).run()
    assert not app.exception
    assert any("In words" in html.proto.body for html in app.get("html"))
    app.multiselect(key="robustness-kinds").set_value([]).run()
    assert "Choose a model" in app.info[0].value


def test_a_card_that_names_no_corpus_has_no_place_among_the_costs_and_no_gain(monkeypatch) -> None:
    card = next(each for each in cards() if each.name == "whisper-tiny-statistics")
    monkeypatch.setattr(registry, "cards", lambda: (card, replace(card, name="mine", corpora=())))
    assert "mine" not in set(efficiency_charts.costs()["model"])
    assert "has not been measured" in baseline_panel._gain(replace(card, corpora=()))
    assert "has not been measured" not in baseline_panel._gain(card)


@pytest.mark.parametrize("page", ["crosscorpus.py", "mixed.py", "dimensions.py", "efficiency.py"])
def test_each_dashboard_draws_the_stored_tables(page: str) -> None:
    app = drawn(page)
    bodies = " ".join(html.proto.body for html in app.get("html"))
    assert "In words" in bodies
    assert "nan" not in bodies.replace("dominance", "").lower().split()


def test_names_of_clips_and_emotions_never_become_markup_in_the_mixed_charts() -> None:
    rows = pd.DataFrame({"clip": ["<img src=x>", "b"], "emotion": ["<b>glee</b>", "anger"], "speaker": ["s", "t"]})
    rows = rows.assign(heard_bits=[0.5, 1.0], expected_bits=[1.0, 1.5])
    texts = " ".join(mixed_charts.ambiguity_map(rows, 6).data[0].text)
    assert "&lt;img src=x&gt; (&lt;b&gt;glee&lt;/b&gt;)" in texts and "<img" not in texts and "<b>" not in texts
    bins = pd.DataFrame({"emotion": ["<i>x</i>"], "bin": [0], "clips": [2], "heard": [0.1], "expected": [0.2]})
    figure = mixed_charts.agreement_chart(bins.assign(low=0.1, high=0.3), np.array([0.5]))
    assert figure.layout.annotations[0].text == "&lt;i&gt;x&lt;/i&gt;"


def test_writing_on_a_field_has_the_higher_of_two_contrasts() -> None:
    light, dark = np.array([0xEE, 0xF4, 0xF5]), np.array([0x0B, 0x6B, 0x75])

    def luminance(colour: np.ndarray) -> float:
        part = colour / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(one: np.ndarray, other: np.ndarray) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    for depth in np.linspace(0, 1, 41):
        written = np.array([int(ink([depth])[0][k : k + 2], 16) for k in (1, 3, 5)])
        assert contrast(written, light + depth * (dark - light)) >= 3.8


def test_measures_are_told_once_each_where_something_is_known() -> None:
    html = meanings(["recall of anger", "recall of fear", "UAR", "unheard of"])
    assert html.count("<dt>") == 2 and "recall</dt><dd>share of the clips" in html and "unheard" not in html
    assert meanings(["unheard of"]) == ""


def clicking() -> None:
    import pandas as pd
    import plotly.graph_objects as go
    import streamlit as st

    from pages.parts.charts import chart

    chosen = chart(
        go.Figure(), pd.DataFrame({"a": [1]}), "clicks", title="t", how="h", words="w", state=st.session_state["whose"]
    )
    st.session_state["given back"] = chosen


def test_what_was_clicked_is_kept_for_some_charts_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit as st

    from pages.parts import charts

    points: list[dict] = []
    monkeypatch.setattr(st, "plotly_chart", lambda *_, **__: {"selection": {"points": points}})
    app = AppTest.from_function(clicking)
    for number in range(charts.MOST_CLICKED + 5):
        app.session_state["whose"], points[:] = f"table {number}", [{"customdata": ["ann", number]}]
        app.run()
    assert not app.exception and len(app.session_state[charts.CLICKED]) == charts.MOST_CLICKED
    # A window that changes its size takes the selection away, and what was clicked stays.
    points.clear()
    assert app.run().session_state["given back"] == [["ann", charts.MOST_CLICKED + 4]]
    app.session_state["whose"] = "table 0"
    assert app.run().session_state["given back"] == []
    assert not [key for key in app.session_state if str(key).startswith("clicked-")]

    def forgetting() -> None:
        from pages.parts import session

        session.forget()

    app = AppTest.from_function(forgetting)
    app.session_state[charts.CLICKED] = {"clicks-x": [["ann"]]}
    assert charts.CLICKED not in app.run().session_state


@pytest.mark.skipif(not (ROBUSTNESS / "emosphere-emotale.emotale.parquet").exists(), reason="the study is not stored")
def test_behind_a_point_of_a_model_of_dimensions_are_its_clips() -> None:
    def page() -> None:
        from pages.parts.robustness_charts import behind

        behind(["emosphere-emotale", "environment", 20.0], "emotale", "k")

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception, app.exception
    assert any("Select one to hear it" in each.value for each in app.caption)
    assert {"clip", "speaker", "valence, predicted"} <= set(app.dataframe[0].value)


def test_a_point_says_the_rating_and_not_the_place_that_keeps_it_apart_from_others() -> None:
    names = ("valence", "arousal", "dominance")
    rows = pd.DataFrame({f"{kind}_{name}": [0.5, -0.25] for kind in "td" for name in names})
    rows = rows.assign(clip=["<a>", "b"], emotion="joy")
    drawn_ = dimension_charts.scatter(rows, "valence").data[0]
    told = {text.partition("<br>")[0]: text.partition("<br>")[2] for text in drawn_.text}
    assert told == {"&lt;a&gt;": "rated +0.50, predicted +0.50", "b": "rated −0.25, predicted −0.25"}
    assert "%{x" not in drawn_.hovertemplate


def test_the_list_of_clips_says_its_own_order() -> None:
    rows = pd.DataFrame({"clip": ["a"], "d_valence": [0.1]})
    assert clips_behind.order_of(rows) == ""
    assert clips_behind.order_of(rows.assign(t_valence=float("nan"))) == ""
    assert clips_behind.order_of(rows.assign(t_valence=0.2)) == "Those whose values are furthest from the raters'"
    assert "surest to get wrong" in clips_behind.order_of(pd.DataFrame({"p_anger": [0.2], "p_joy": [0.8]}))


def test_a_clip_without_a_label_is_called_so() -> None:
    assert clips_behind.labelled("anger") == "labelled anger"
    assert {clips_behind.labelled(each) for each in (float("nan"), None, "", pd.NA)} == {"without a label"}


def test_languages_that_a_clip_mixes_are_named_in_full() -> None:
    assert mixed_charts.languages_mixed("me") == "Mandarin and English"
    assert [mixed_charts.languages_mixed(word) for word in ("Youth", "female", "all")] == ["Youth", "female", "all"]


def test_a_model_without_figures_keeps_its_row_below_the_right_heads() -> None:
    measured_ = next(card for card in cards() if card.figures)
    html = comparison((measured_, dataclasses.replace(measured_, figures=())))
    first, bare = html.split("<tbody>")[1].split("</tr>")[:2]
    assert bare.count("<td") == first.count("<td") == html.split("<tbody>")[0].count("<th scope") - 1
    assert "not measured" in bare


def test_counts_on_a_field_of_confusions_are_written_as_on_every_other_field() -> None:
    rows = pd.DataFrame({"p_anger": [0.9] * 6 + [0.1] * 4, "p_joy": [0.1] * 6 + [0.9] * 4, "emotion": "anger"})
    field, counts = speaker_charts.confusion(rows).data
    assert [colour for _, colour in field.colorscale] == ["#eef4f5", "#0b6b75"]
    assert list(counts.textfont.color) == ink([0.6, 0.4])


def test_the_correlation_over_speakers_is_numpys() -> None:
    random = np.random.default_rng(0)
    rated = random.normal(size=40)
    given_ = rated + random.normal(size=40)
    moments = speaker_moments(rated, given_, [f"s{k % 5}" for k in range(40)])
    assert correlation_of(moments.sum(0)) == pytest.approx(np.corrcoef(rated, given_)[0, 1])
    assert np.isnan(correlation_of(speaker_moments(np.ones(4), rated[:4], list("aabb")).sum(0)))


def test_what_is_gained_is_not_explained_as_what_is_lost() -> None:
    assert "lower is better" in hint_of("KL") and "above 0 is better" in hint_of("KL gained on the constant")
    assert "above 0 is better" in hint_of("cosine gained on the constant")
    assert not [measure for measure in read_summary()["measure"].unique() if not hint_of(measure)]


def test_distances_between_distributions_are_no_per_cent_on_a_card() -> None:
    spread = Figure("spread of predictions", 0.322, 0.317, 0.328, 0.0, float("nan"), "", "")
    html = details(dataclasses.replace(next(iter(cards())), figures=(spread,)))
    assert "<strong>0.322</strong> [0.317, 0.328]</td><td>0.000</td>" in html


def test_wheels_stand_below_each_other_each_as_wide_as_the_screen() -> None:
    shares = {title: np.array([0.75, 0.25]) for title in ("one", "two", "three")}
    drawn_ = wheel.figure(("joy", "sadness"), shares)
    places = [drawn_.layout[name].domain for name in ("polar", "polar2", "polar3")]
    assert all(place.x == (0.0, 1.0) for place in places)
    assert all(lower.y[1] < upper.y[0] for upper, lower in itertools.pairwise(places))
    assert sum(trace.marker.showscale is True for trace in drawn_.data) == 1
