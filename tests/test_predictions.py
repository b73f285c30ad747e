import io
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ser_core import robustness
from ser_core.group_differences import attributes_of, evidence
from ser_core.metrics import evaluate
from ser_core.predictions import CLEAN, PredictionsError, read_conditions, read_predictions


def good(speakers: int = 4, clips: int = 5) -> pd.DataFrame:
    random = np.random.default_rng(0)
    chances = random.dirichlet([1, 1, 1], speakers * clips).round(6)
    rows = [
        (f"s{speaker}/{clip}.wav", f"s{speaker}", ("anger", "joy", "Neutral")[clip % 3], "fm"[speaker % 2])
        for speaker in range(speakers)
        for clip in range(clips)
    ]
    table = pd.DataFrame(rows, columns=["file", "speaker", "label", "gender"])
    return table.assign(p_angry=chances[:, 0], p_happiness=chances[:, 1], p_neutral=chances[:, 2])


def csv(table: pd.DataFrame, **options) -> bytes:
    return table.to_csv(index=False, **options).encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    kept = io.BytesIO()
    table.to_parquet(kept)
    return kept.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        csv(good()),
        csv(good()).replace(b"\n", b",\n"),
        csv(good()).replace(b"\n", b"\r"),
        csv(good(), sep=";"),
        csv(good(), sep="\t"),
        b"\xef\xbb\xbf" + csv(good()),
        as_parquet(good()),
    ],
    ids=["commas", "an empty last column", "an old Mac's lines", "semicolons", "tabs", "byte order mark", "parquet"],
)
def test_every_usual_form_of_a_good_table_is_read_alike(data: bytes) -> None:
    rows = read_predictions(data, "mine.parquet" if data[:4] == b"PAR1" else "mine.csv")
    assert [c for c in rows if c.startswith("p_")] == ["p_anger", "p_happiness", "p_neutral"]
    assert set(rows["emotion"]) == {"anger", "happiness", "neutral"}
    assert rows["sex"].tolist()[:6] == ["female"] * 5 + ["male"]
    given = good().iloc[:, 4:].to_numpy()
    assert rows[["p_anger", "p_happiness", "p_neutral"]].to_numpy() == pytest.approx(given, abs=1e-5)
    found = evidence(rows, "sex", attributes_of(rows)["sex"])
    assert found.sizes == (2, 2) and found.confusions.sum() == 20


@pytest.mark.parametrize("word", ["NA", "n/a", "<NA>", "-", "?", "", "None", "Unknown"])
def test_what_is_written_for_unknown_is_no_group_of_people(word: str) -> None:
    unknown = np.arange(20) < 5  # the first speaker
    given = {"gender": good()["gender"], "age": "40", "race": "A", "corpus": "here"}
    table = good().assign(**{column: np.where(unknown, word, values) for column, values in given.items()})
    rows = read_predictions(csv(table.assign(language=["da", "en", word, "en"] * 5)), "mine.csv")
    assert rows.loc[unknown, ["sex", "age", "race"]].isna().all(axis=None)
    groups = {name: set(each.dropna()) for name, each in attributes_of(rows).items()}
    assert groups == {"sex": {"female", "male"}, "language": {"da", "en"}}
    blank = read_predictions(csv(table.assign(corpus=word)), "mine.csv")
    assert set(blank["corpus"]) == {"your table"}


def of_two_corpora(corpora: list[str]) -> pd.DataFrame:
    """Two actors called 1, a woman of one corpus and a man of the other, and a third one called 2."""
    table = good().assign(corpus=np.repeat(corpora, 5), speaker=np.repeat(["1", "1", "2", "2"], 5))
    return table.assign(gender=np.repeat(["f", "m", "f", "f"], 5))


def test_the_same_name_in_two_corpora_is_two_people() -> None:
    table = of_two_corpora(["radio", "stage", "stage", "stage"])
    rows = read_predictions(csv(table), "mine.csv")
    assert rows["speaker"].drop_duplicates().tolist() == ["radio/1", "stage/1", "2"]
    assert rows.groupby("speaker")["sex"].first().to_dict() == {"2": "female", "radio/1": "female", "stage/1": "male"}
    # One of the conditions has the clips of one corpus only.
    parts = [table.assign(condition="clean"), table.query("corpus == 'stage'").assign(condition="street")]
    heard = read_conditions(csv(pd.concat(parts)), "mine.csv").query("condition == 'street'")
    assert set(heard["speaker"]) == {"stage/1", "2"}
    with pytest.raises(PredictionsError, match="Speaker '1' has more than one sex"):
        read_predictions(csv(table.drop(columns="corpus")), "mine.csv")


def test_a_name_of_two_corpora_needs_a_corpus_in_every_row() -> None:
    table = of_two_corpora(["radio", "stage", "", "stage"])
    assert set(read_predictions(csv(table), "mine.csv")["speaker"]) == {"radio/1", "stage/1", "2"}
    unclear = table.assign(corpus=["", *table["corpus"][1:]])
    with pytest.raises(PredictionsError, match="Speaker '1' stands in more than one corpus, and in rows without one"):
        read_predictions(csv(unclear), "mine.csv")


@pytest.mark.parametrize("reads", [read_predictions, read_conditions], ids=["predictions", "conditions"])
def test_unknown_speakers_of_two_corpora_are_not_people_of_these(
    reads: Callable[[bytes, str], pd.DataFrame],
) -> None:
    table = of_two_corpora(["radio", "stage", "stage", "stage"]).replace({"speaker": {"1": "NA"}})
    parts = [table.assign(condition="clean"), table.assign(condition="street")]
    with pytest.raises(PredictionsError, match="no speaker"):
        reads(csv(table if reads is read_predictions else pd.concat(parts)), "mine.csv")


def changed(**columns: object) -> pd.DataFrame:
    return good().assign(**columns)


def with_cell(column: str, value: object) -> pd.DataFrame:
    table = good().astype(object)
    table.loc[3, column] = value
    return table


MALFORMED = {
    "empty file": (b"", "mine.csv", "file is empty"),
    "not UTF-8": (csv(changed(speaker="Jürgen")).decode().encode("latin-1"), "mine.csv", "not UTF-8 text"),
    "no table": (b"Dear all\nhere are my results.\n", "mine.csv", "not a table"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(300), "mine.csv", "not UTF-8 text"),
    "cut Parquet": (as_parquet(good())[:-300], "mine.parquet", "not a readable Parquet"),
    "ragged rows": (csv(good()) + b"a,b,c,d,e,f,g,h,i,j\n", "mine.csv", "Row 21 has 10 cells"),
    "a cell too many in every row": (
        b"".join(line + b",kept\n" for line in csv(good()).splitlines()).replace(b",kept", b"", 1),
        "mine.csv",
        "Row 1 has 8 cells, more than the header's 7 names",
    ),
    "a quotation mark that is not closed": (csv(good()) + b'"s9,', "mine.csv", "cannot be told apart"),
    "header only": (csv(good().head(0)), "mine.csv", "header but no rows"),
    "missing column": (csv(good().drop(columns="speaker")), "mine.csv", "lacks the column speaker"),
    "no probabilities": (csv(good().iloc[:, :4]), "mine.csv", "no columns of probabilities"),
    "one probability": (csv(good().iloc[:, :5]), "mine.csv", "one column of probabilities"),
    "same emotion twice": (csv(changed(p_anger=0.0)), "mine.csv", "mean anger"),
    "column twice": (csv(good()).replace(b"gender", b"speaker", 1), "mine.csv", "names speaker twice"),
    "file twice": (csv(with_cell("file", "s0/0.wav")), "mine.csv", "more than once, first 's0/0.wav'"),
    "no file": (csv(with_cell("file", "")), "mine.csv", "1 row has no file"),
    "no speaker": (csv(with_cell("speaker", " ")), "mine.csv", "1 row has no speaker"),
    "a speaker called NA": (csv(changed(speaker=["NA", *good()["speaker"][1:]])), "mine.csv", "1 row has no speaker"),
    "one speaker": (csv(changed(speaker="Ann", gender="f")), "mine.csv", "one speaker, 'Ann'"),
    "unknown label": (csv(with_cell("label", "hangry")), "mine.csv", "'hangry' is not known"),
    "truth without a column": (
        csv(with_cell("label", "sadness")),
        "mine.csv",
        "no column of probabilities for sadness",
    ),
    "not a number": (csv(with_cell("p_angry", "much")), "mine.csv", "'much', which is no number, in row 4"),
    "a mark for what is not known": (csv(with_cell("p_angry", "?")), "mine.csv", "'?', which is no number, in row 4"),
    "NaN": (csv(with_cell("p_angry", np.nan)), "mine.csv", "p_angry is empty in row 4"),
    "infinite": (as_parquet(changed(p_angry=np.inf)), "mine.parquet", "'inf', which is infinite, in row 1"),
    "negative": (csv(with_cell("p_angry", -0.2)), "mine.csv", "negative, first of 's0/3.wav'"),
    "not summing to 1": (csv(changed(p_angry=0.9)), "mine.csv", "do not sum to 1 in 20 rows"),
    "per cent": (csv(changed(p_angry=50.0, p_happiness=30.0, p_neutral=20.0)), "mine.csv", "in per cent"),
    "two sexes": (csv(with_cell("gender", "m")), "mine.csv", "'s0' has more than one sex"),
    "age in words": (csv(changed(age="old")), "mine.csv", "age 'old'"),
    "unrated dimensions": (csv(good().iloc[:, :4].assign(d_valence=0.1)), "mine.csv", "t_valence are missing"),
    "shares that do not add up": (
        csv(changed(share_anger=0.5, share_joy=0.2, share_neutral=0.1)),
        "mine.csv",
        "listeners' shares of 's0/0.wav' are",
    ),
    "shares of one label twice": (
        csv(changed(share_joy=0.2, share_happiness=0.6, share_anger=0.1, share_neutral=0.1)),
        "mine.csv",
        "Several columns of shares mean happiness",
    ),
    "off the scale": (csv(good().iloc[:, :4].assign(d_valence=0.1, t_valence=4)), "mine.csv", "from −1 to 1"),
}


def test_listeners_shares_are_read_in_the_models_words() -> None:
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], 20)
    shares[3] = 0.0  # nobody judged it
    rows = read_predictions(
        csv(changed(share_angry=shares[:, 0], Share_joy=shares[:, 1], share_neutral=shares[:, 2])), "mine.csv"
    )
    given = rows[["share_anger", "share_happiness", "share_neutral"]].to_numpy()
    assert given == pytest.approx(shares, abs=1e-9)
    rated = good().iloc[:, :4].assign(D_Valence=0.1, t_Valence=0.2)
    assert read_predictions(csv(rated), "mine.csv")["emotion"].tolist()[:3] == ["anger", "joy", "Neutral"]
    assert read_predictions(csv(rated.drop(columns="label")), "mine.csv")["emotion"].isna().all()


@pytest.mark.parametrize("case", MALFORMED)
def test_each_malformed_table_has_its_own_sentence(case: str) -> None:
    data, name, sentence = MALFORMED[case]
    with pytest.raises(PredictionsError) as fault:
        read_predictions(data, name)
    said = str(fault.value)
    assert sentence in said and said.endswith((".", "?)")) and "\n" not in said
    others = [text for other, (_, _, text) in MALFORMED.items() if other != case and text != sentence]
    assert not any(text in said for text in others)


def test_too_large_a_table_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_core.predictions.MOST_ROWS", 19)
    for data, name in ((csv(good()), "mine.csv"), (as_parquet(good()), "mine.parquet")):
        with pytest.raises(PredictionsError, match="has 20 rows"):
            read_predictions(data, name)
    monkeypatch.setattr("ser_core.predictions.MOST_BYTES", 100)
    with pytest.raises(PredictionsError, match="MB, more than"):
        read_predictions(csv(good()), "mine.csv")


def test_own_classes_out_of_the_vocabulary_are_kept_where_truth_and_columns_name_them() -> None:
    table = good().rename(columns={"p_angry": "p_Stressed"})
    table["label"] = table["label"].replace("anger", "stressed")
    rows = read_predictions(csv(table), "mine.csv")
    assert "p_Stressed" in rows and "Stressed" in set(rows["emotion"])


def test_a_hundred_thousand_predictions_are_read_in_seconds() -> None:
    data = csv(good(speakers=100, clips=1000))
    started = time.perf_counter()
    assert len(read_predictions(data, "mine.csv")) == 100_000
    assert time.perf_counter() - started < 10


# The same clips under several conditions


def worsened(*names: str, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """A table under conditions; every answer under the first other one is the next emotion."""
    given = good() if table is None else table
    parts = [given.assign(condition=name) for name in names]
    columns = ["p_angry", "p_happiness", "p_neutral"]
    for part in parts[1:2]:
        part[columns] = part[[*columns[1:], columns[0]]].to_numpy()
    return pd.concat(parts, ignore_index=True)


def test_conditions_are_read_clean_first_and_set_against_the_same_clips() -> None:
    rows = read_conditions(csv(worsened("Clean", "street", "copy").iloc[::-1]), "mine.csv")
    assert list(dict.fromkeys(rows["condition"])) == [CLEAN, "copy", "street"]
    found = robustness.of_conditions(rows, replicates=200).set_index("condition")
    assert found.loc["copy", ["drop", "flips", "shift"]].tolist() == [0.0, 0.0, 0.0]
    assert found.loc["street", "flips"] == 1.0  # every answer became another
    chances = good()[["p_angry", "p_happiness", "p_neutral"]].to_numpy()
    moved = np.abs(chances - np.roll(chances, -1, axis=1)).sum(axis=1) / 2
    assert found.loc["street", "shift"] == pytest.approx(moved.mean(), abs=1e-6)
    labels = ["anger", "happiness", "neutral"]
    truth = [labels[n % 5 % 3] for n in range(20)]
    answers = [labels[n] for n in np.roll(chances, -1, axis=1).argmax(1)]
    expected = evaluate(truth, answers, good()["speaker"].tolist(), labels, replicates=200)["UAR"]
    street = found.loc["street"]
    assert (street["uar"], street["uar_low"], street["chance"]) == pytest.approx(
        (expected.value, expected.low, expected.chance)
    )
    assert street["drop"] == pytest.approx(street["uar"] - found.loc[CLEAN, "uar"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (good(), "lacks the column condition"),
        (worsened("street", "babble"), '"clean" and one or more others'),
        (worsened("clean"), '"clean" and one or more others'),
        (worsened("clean", ""), "20 rows have no condition"),
        (worsened("clean", "street", table=good().assign(label="neutral")), "is labelled 'neutral': always answering"),
        (worsened("clean", "street").drop(index=0), "stand in no row that is \"clean\", first 's0/0.wav'"),
        (pd.concat([worsened("clean", "street")] * 2), "Condition 'clean': 20 files stand in the table more than once"),
        (worsened("clean", *(f"noise {n}" for n in range(100))), "101 conditions, more than 100"),
        (
            worsened("clean", "street").assign(label=["anger", "joy", "Neutral"] * 13 + ["anger"]),
            "another speaker or emotion in condition 'street'",
        ),
    ],
)
def test_a_bad_table_of_conditions_says_what_is_wrong(table: pd.DataFrame, words: str) -> None:
    with pytest.raises(PredictionsError) as caught:
        read_conditions(csv(table), "mine.csv")
    assert words in str(caught.value) and str(caught.value).endswith(".")


def test_a_table_of_conditions_on_another_page_is_sent_to_its_own() -> None:
    with pytest.raises(PredictionsError, match="the page Robustness takes several conditions"):
        read_predictions(csv(worsened("clean", "street")), "mine.csv")


def test_dimensions_whose_labels_are_partly_empty_are_read_under_conditions() -> None:
    table = good().iloc[:, :4].assign(d_valence=0.5, t_valence=0.25)
    table.loc[3, "label"] = ""
    rows = read_conditions(csv(pd.concat([table.assign(condition=name) for name in ("clean", "street")])), "a.csv")
    assert len(rows) == 40


def test_what_would_take_all_memory_is_refused_at_once() -> None:
    long = worsened("clean", "street")
    long.loc[0, "condition"] = "x" * 20_000
    with pytest.raises(
        PredictionsError, match="A cell of column condition has 20,000 characters, more than 300"
    ) as told:
        read_conditions(csv(long), "mine.csv")
    assert len(str(told.value)) < 200
    many = pd.concat([good()] * 200, ignore_index=True)
    many = many.assign(file=[f"{n}.wav" for n in range(4000)], speaker=[f"s{n}" for n in range(4000)], gender="")
    with pytest.raises(PredictionsError, match="4,000 speakers, more than 3,000"):
        read_predictions(csv(many), "mine.csv")
    wide = good().drop(columns=["p_angry", "p_happiness", "p_neutral"]).assign(**{f"p_{n}": 1 / 50 for n in range(50)})
    with pytest.raises(PredictionsError, match="50 columns of probabilities, more than 40"):
        read_predictions(csv(wide), "mine.csv")


def test_dimensions_under_conditions_have_a_shift_and_no_uar() -> None:
    values = np.linspace(-0.9, 0.9, 20)
    table = good().iloc[:, :4].assign(d_valence=values, t_valence=values)
    other = table.assign(d_valence=values - 0.2, condition="street")
    rows = read_conditions(csv(pd.concat([table.assign(condition="clean"), other.query("d_valence > -1")])), "a.csv")
    found = robustness.of_conditions(rows, replicates=100).set_index("condition")
    assert found.loc["street", "shift"] == pytest.approx(0.2) and "uar" not in found
