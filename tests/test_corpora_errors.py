"""What is wrong with a corpus folder is said in one sentence that names it."""

import pytest

from ser_core.corpora import READERS, read_corpus
from ser_core.corpora.vocabulary import emotion_words
from ser_core.errors import CorpusError


def _csv(folder, *lines, files=("a.wav", "b.wav")):
    for name in files:
        (folder / name).touch()
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_row_whose_file_is_the_folder_itself_names_no_clip(tmp_path):
    with pytest.raises(CorpusError, match="lists 1 of 1 files that are not there"):
        read_corpus(_csv(tmp_path, "file,speaker,emotion", "./,x,fear"))


def test_absent_folder(tmp_path):
    with pytest.raises(CorpusError, match=r"There is no folder .*nowhere"):
        read_corpus(tmp_path / "nowhere")


def test_unknown_layout_lists_all_that_was_looked_for(tmp_path):
    (tmp_path / "clip.wav").touch()
    with pytest.raises(CorpusError) as caught:
        read_corpus(tmp_path)
    assert all(reader.title in str(caught.value) and reader.layout in str(caught.value) for reader in READERS)


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(CorpusError, match=r"'cremad' is not a corpus .* crema_d, ravdess"):
        read_corpus(tmp_path, "cremad")


def test_asking_for_a_corpus_that_is_not_there(tmp_path):
    (tmp_path / "03a01Fa.wav").touch()
    with pytest.raises(CorpusError, match=r"not laid out as CREMA-D.*1001_DFA_ANG_XX"):
        read_corpus(tmp_path, "crema_d")


def test_two_layouts_at_once_ask_which(tmp_path):
    (tmp_path / "03a01Fa.wav").touch()
    (tmp_path / "db.yaml").touch()
    with pytest.raises(CorpusError, match=r"EMO-DB and like audformat.*\(emodb, audformat\)"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("header", "named"),
    [("file,speaker", "emotion"), ("file,emotion", "speaker"), ("speaker,emotion", "file")],
)
def test_missing_column_is_named(tmp_path, header, named):
    with pytest.raises(CorpusError, match=f"lacks the column {named};"):
        read_corpus(_csv(tmp_path, header, "a.wav,b"))


def test_all_missing_columns_are_named_when_the_csv_itself_is_given(tmp_path):
    _csv(tmp_path, "clip,who", "a.wav,b")
    with pytest.raises(CorpusError, match="lacks the columns file, speaker, emotion"):
        read_corpus(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("header", "meant"),
    [("path,filename,speaker,emotion", "file"), ("file,label,speaker,emotion_label", "emotion")],
)
def test_columns_that_mean_the_same_are_refused(tmp_path, header, meant):
    with pytest.raises(CorpusError, match=f"labels.csv has several columns that mean {meant}; keep one of each"):
        read_corpus(_csv(tmp_path, header, "a.wav,fear,x,fear", "b.wav,joy,x,joy"), "csv")


def test_the_own_spelling_wins_over_an_alias(tmp_path):
    table = read_corpus(_csv(tmp_path, "file,filename,speaker,emotion", "a.wav,gone.wav,x,joy")).table
    assert table["name"].tolist() == ["a"]


def test_labels_outside_the_vocabulary_are_all_named(tmp_path):
    with pytest.raises(CorpusError, match="'hangry', 'meh'"):
        read_corpus(_csv(tmp_path, "file,speaker,emotion", "a.wav,x,meh", "b.wav,x,hangry"))


def test_absent_files_are_counted_and_the_first_named(tmp_path):
    lines = ("file,speaker,emotion", "a.wav,x,fear", "gone.wav,x,fear", "lost.wav,x,fear")
    with pytest.raises(CorpusError, match=r"lists 2 of 3 files that are not there, the first being .*gone\.wav"):
        read_corpus(_csv(tmp_path, *lines))


def test_duplicate_rows_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="a more than once"):
        read_corpus(_csv(tmp_path, "file,speaker,emotion", "a.wav,x,fear", "a.wav,x,joy"))


def test_second_copy_of_a_corpus_inside_itself_is_refused(tmp_path):
    for folder in ("Actor_01", "copy/Actor_01"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "03-01-01-01-01-01-01.wav").touch()
    with pytest.raises(CorpusError, match="03-01-01-01-01-01-01 more than once"):
        read_corpus(tmp_path)


def test_row_without_a_file_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="1 row without a file"):
        read_corpus(_csv(tmp_path, "file,speaker,emotion", ",x,fear"))


def test_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00\x01file")
    with pytest.raises(CorpusError, match="cannot be read as a CSV table"):
        read_corpus(tmp_path / "labels.csv")


def test_table_without_rows_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no clips that can be used"):
        read_corpus(_csv(tmp_path, "file,speaker,emotion"))


def test_broken_audformat_database_is_refused(tmp_path):
    (tmp_path / "db.yaml").write_text("name: [", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"db\.yaml in .* is not plain YAML"):
        read_corpus(tmp_path)


def test_crema_d_table_without_a_column_is_refused(tmp_path):
    (tmp_path / "1001_IEO_ANG_HI.wav").touch()
    (tmp_path / "VideoDemographics.csv").write_text("ActorID,Age\n1001,5\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"VideoDemographics\.csv lacks the columns Sex, Race, Ethnicity"):
        read_corpus(tmp_path)


def test_no_agreement_is_missing_not_an_emotion():
    assert emotion_words(["xxx", "X", "", None, "Joy", "No Agreement"], "T") == [
        None,
        None,
        None,
        None,
        "happiness",
        None,
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("db.yaml", "name: x\nmeta: !!python/object/apply:os.mkdir ['RAN']\n", "not plain YAML"),
        ("db.emotion.pkl", "cos\nmkdir\n(S'RAN'\ntR.", "pickled tables"),
    ],
)
def test_a_database_that_would_run_code_is_refused_and_nothing_runs(tmp_path, monkeypatch, name, content, words):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "database"
    folder.mkdir()
    (folder / "db.yaml").write_text("name: x\n")
    (folder / name).write_text(content)
    with pytest.raises(CorpusError, match=words):
        read_corpus(folder, "audformat")
    assert not list(tmp_path.rglob("RAN"))


def test_what_is_not_known_is_missing_however_a_program_writes_it(tmp_path):
    table = read_corpus(
        _csv(
            tmp_path,
            "file,speaker,emotion,sex,age,language,transcript",
            "a.wav,NA,anger,f,NA,n/a,NA",
            "b.wav,x,NA,Unknown,inf,en,",
        )
    ).table
    assert table[["speaker", "emotion", "sex", "age"]].isna().to_numpy().tolist() == [
        [True, False, False, True],
        [False, True, True, True],
    ]
    assert table["language"].tolist()[1] == "en" and table["language"].isna().tolist() == [True, False]
    assert table["transcript"].tolist()[0] == "NA"  # somebody may have said so


@pytest.mark.parametrize("sign", [";", "\t"])
def test_tables_of_spreadsheets_with_other_separators_are_read(tmp_path, sign):
    lines = ["file,speaker,emotion", "a.wav,x,fear", "b.wav,y,joy"]
    table = read_corpus(_csv(tmp_path, *(line.replace(",", sign) for line in lines))).table
    assert table[["name", "speaker_id", "emotion"]].to_numpy().tolist() == [["a", "x", "fear"], ["b", "y", "happiness"]]


def test_a_separator_at_the_end_of_rows_moves_no_cell(tmp_path, recwarn):
    table = read_corpus(_csv(tmp_path, "file,speaker,emotion", "a.wav,x,fear,", "b.wav,y,joy,")).table
    assert table[["name", "speaker_id", "emotion"]].to_numpy().tolist() == [["a", "x", "fear"], ["b", "y", "happiness"]]
    assert not recwarn


def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path):
    lines = ("file,speaker,emotion,text", "a.wav,x,fear,yes", "b.wav,y,joy,well, no")
    with pytest.raises(CorpusError, match=r"labels\.csv cannot be read: Row 2 has 5 cells, more than the header's 4"):
        read_corpus(_csv(tmp_path, *lines))


def test_a_column_that_comes_twice_under_one_name_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"labels\.csv has several columns emotion; keep one of each"):
        read_corpus(_csv(tmp_path, "file,speaker,emotion,emotion", "a.wav,x,fear,joy"))


def test_a_clip_that_is_listed_by_two_paths_is_a_duplicate(tmp_path):
    here = _csv(tmp_path, "file,speaker,emotion", "a.wav,x,fear", f"../{tmp_path.name}/a.wav,x,joy")
    with pytest.raises(CorpusError, match="holds a more than once"):
        read_corpus(here)
    absolute = _csv(tmp_path, "file,speaker,emotion", f"{tmp_path / 'a.wav'},x,fear")
    assert read_corpus(absolute).table["name"].tolist() == ["a"]


@pytest.mark.parametrize("age", ["-1", "999"])
def test_an_age_that_nobody_has_is_refused(tmp_path, age):
    with pytest.raises(CorpusError, match=rf"holds the age {age} \(of b\), which is no number of years from 0 to 120"):
        read_corpus(_csv(tmp_path, "file,speaker,emotion,age", "a.wav,x,fear,40", f"b.wav,y,joy,{age}"))


@pytest.mark.parametrize("clips", [1, 2000])  # near the beginning, and beyond what is looked at for the header
def test_a_table_that_is_not_utf_8_gets_a_sentence_inside_a_folder_and_by_itself(tmp_path, clips):
    here = _csv(tmp_path, "file,speaker,emotion", *["a.wav,x,fear"] * clips)
    (here / "labels.csv").write_bytes((here / "labels.csv").read_bytes() + "b.wav,Jürgen,joy\n".encode("latin-1"))
    for asked in (here, here / "labels.csv"):
        with pytest.raises(CorpusError, match=r"labels\.csv cannot be read as a CSV table in UTF-8; export it again"):
            read_corpus(asked)


def test_another_table_that_is_not_utf_8_makes_no_corpus_of_a_folder(tmp_path):
    (tmp_path / "notes.csv").write_bytes("für,später\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"layout of .* is not known"):
        read_corpus(tmp_path)
