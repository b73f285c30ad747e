"""Each corpus's own layout, as a tiny made-up tree without sound, becomes rows of the one table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.corpora import COLUMNS, EMOTIONS, Corpus, find_corpora, read_corpus
from ser_core.sphere import on_unit_scale
from ser_core.systems.emosphere import RATING_RANGES


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(corpus: Corpus, name: str) -> dict:
    rows = corpus.table[corpus.table["name"] == name]
    assert len(rows) == 1, f"{name} stands {len(rows)} times in the table"
    return rows.iloc[0].to_dict()


VOTES_HEADER = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"'


@pytest.fixture
def crema_d(tmp_path: Path) -> Path:
    _touch(tmp_path, *(f"AudioWAV/{name}.wav" for name in ("1001_IEO_ANG_HI", "1002_TIE_SAD_XX", "1040_ITH_SAD_X")))
    _touch(tmp_path, "AudioWAV/1076_MTI_SAD_XX.wav", "AudioMP3/1001_IEO_ANG_HI.mp3")
    _write(
        tmp_path / "VideoDemographics.csv",
        '"ActorID","Age","Sex","Race","Ethnicity"',
        '1001,51,"Male","Caucasian","Not Hispanic"',
        '1002,21,"Female","African American","Not Hispanic"',
    )
    _write(
        tmp_path / "processedResults" / "tabulatedVotes.csv",
        VOTES_HEADER,
        '"100005",7,1,0,0,2,0,"1001_IEO_ANG_HI",10,0.7,"A"',
        '"200005",0,0,0,9,1,0,"1001_IEO_ANG_HI",10,0.9,"H"',
        '"100006",0,0,2,0,2,0,"1002_TIE_SAD_XX",4,0.5,"F:N"',
        '"103234",0,0,2,0,5,3,"1040_ITH_SAD_XX",10,0.5,"N"',
    )
    return tmp_path


def test_crema_d_takes_voice_only_votes_and_the_intended_emotion(crema_d):
    corpus = read_corpus(crema_d)
    row = _row(corpus, "1001_IEO_ANG_HI")
    assert corpus.name == "crema_d" and "intended" in corpus.note
    assert (row["emotion"], row["intensity"], row["transcript"]) == ("anger", "high", "It's eleven o'clock.")
    assert (row["vote_anger"], row["vote_happiness"]) == (7, 0)
    assert (row["speaker"], row["speaker_id"], row["sex"], row["age"]) == ("crema_d/1001", "1001", "male", 51)
    assert row["file"].endswith("AudioWAV/1001_IEO_ANG_HI.wav")
    assert pd.isna(_row(corpus, "1002_TIE_SAD_XX")["intensity"])


def test_crema_d_agreement_in_the_note_is_counted_from_the_votes(crema_d):
    # Anger heard as anger; sadness not heard twice: one of three clips agrees, none shares the first place.
    assert "on 33.3 % of clips" in read_corpus(crema_d).note
    assert "a further 0.0 %" in read_corpus(crema_d).note


def test_crema_d_file_with_a_missing_letter_gets_its_votes(crema_d):
    row = _row(read_corpus(crema_d), "1040_ITH_SAD_XX")
    assert row["file"].endswith("1040_ITH_SAD_X.wav") and row["vote_neutral"] == 5


def test_crema_d_actor_without_demographics_stays_unknown(crema_d):
    row = _row(read_corpus(crema_d), "1040_ITH_SAD_XX")
    assert pd.isna(row["sex"]) and pd.isna(row["age"]) and pd.isna(row["race"])


def test_crema_d_faulty_clip_is_dropped_by_name_with_its_reason(crema_d):
    corpus = read_corpus(crema_d)
    assert corpus.dropped == (("1076_MTI_SAD_XX", "digital silence"),)
    assert "1076_MTI_SAD_XX" not in set(corpus.table["name"])


def test_ravdess_keeps_speech_and_reports_song(tmp_path):
    _touch(tmp_path, "Actor_12/03-01-06-02-02-01-12.wav", "Actor_01/03-01-01-01-01-01-01.wav")
    _touch(tmp_path, "Actor_07/03-01-03-01-02-01-07.wav", "Actor_07/03-01-03-01-02-02-07.wav")
    _touch(tmp_path, "Actor_12/03-02-06-02-02-01-12.wav")
    corpus = read_corpus(tmp_path)
    row = _row(corpus, "03-01-06-02-02-01-12")
    assert (row["emotion"], row["sex"], row["intensity"]) == ("fear", "female", "strong")
    assert row["transcript"] == "Dogs are sitting by the door."
    assert len(corpus.table) == 3
    assert dict(corpus.dropped).keys() == {"03-02-06-02-02-01-12.wav", "03-01-03-01-02-02-07"}


def test_emodb_knows_its_actors_and_sentences(tmp_path):
    _touch(tmp_path, "wav/03a01Fa.wav", "wav/16b10Wb.wav")
    row = _row(read_corpus(tmp_path), "16b10Wb")
    assert (row["emotion"], row["sex"], row["age"], row["language"]) == ("anger", "female", 31, "de")
    assert row["transcript"].startswith("Die wird auf dem Platz sein")


def test_emotale_means_three_raters_and_keeps_each(tmp_path):
    _touch(tmp_path, "wav/DK_001_A_1.wav", "wav/EN_003_B_2.wav")
    _write(
        tmp_path / "annotations.csv",
        "file,a1_A,a1_V,a1_D,a1_cat,a2_A,a2_V,a2_D,a2_cat,a3_A,a3_V,a3_D,a3_cat,gt_emotion",
        "DK_001_A_1.wav,4.0,1.5,4.5,A,4.0,2.5,5.0,A,5.0,1.0,4.5,N,A",
        "EN_003_B_2.wav,1.0,3.0,2.0,B,1.0,3.0,2.0,B,1.0,3.0,2.0,B,B",
    )
    _write(tmp_path / "speaker_info.csv", "speaker,gender,age", "001,F,22")
    corpus = read_corpus(tmp_path)
    row = _row(corpus, "DK_001_A_1")
    assert row["arousal"] == pytest.approx(13 / 3) and row["valence"] == pytest.approx(5 / 3)
    assert (row["arousal_3"], row["vote_anger"], row["vote_neutral"]) == (5.0, 2, 1)
    assert (row["language"], row["sex"], row["age"]) == ("da", "female", 22)
    assert corpus.rating_range == (1.0, 5.0)
    assert pd.isna(_row(corpus, "EN_003_B_2")["age"])


def test_urdu_note_says_how_far_speaker_and_emotion_are_confounded(tmp_path):
    _touch(tmp_path, "Angry/SM1_F1_A01.wav", "Angry/SM1_F2_A02.wav", "Happy/SF2_F1_H01.wav", "Sad/SM3_F1_S01.wav")
    _touch(tmp_path, "Neutral/SM3_F2_N01.wav")
    corpus = read_corpus(tmp_path)
    assert _row(corpus, "SF2_F1_H01")["sex"] == "female"
    assert _row(corpus, "SF2_F1_H01")["speaker"] == "urdu/F2"
    assert "1 of 3 speakers has more than one emotion" in corpus.note
    assert "speaker identification" in corpus.note


def test_semour_takes_actor_and_emotion_from_its_folders(tmp_path):
    _touch(tmp_path, "Actor_1/Anger/1.wav", "Actor_1/Happiness/1.wav", "Actor_12/Boredom/1.wav", "stray.wav")
    corpus = read_corpus(tmp_path)
    assert corpus.name == "semour"
    assert set(zip(corpus.table["speaker_id"], corpus.table["emotion"], strict=True)) == {
        ("1", "anger"),
        ("1", "happiness"),
        ("12", "boredom"),
    }
    assert corpus.table["sex"].isna().all()
    assert [name for name, _ in corpus.dropped] == ["stray.wav"]


def test_urduser_reads_codes_and_the_spoken_words(tmp_path):
    _touch(tmp_path, "Boredom/10_1_3_14.wav", "Angry/1_0_1_01.wav")
    _write(tmp_path / "UrSEC_Description.csv", "تشریح,جذبات,فائل کا نام", "اماں ٹھیک کہتی ہیں,بوریت,10_1_3_14.wav")
    corpus = read_corpus(tmp_path)
    row = _row(corpus, "10_1_3_14")
    assert (row["emotion"], row["sex"], row["speaker_id"]) == ("boredom", "female", "10")
    assert row["transcript"] == "اماں ٹھیک کہتی ہیں"
    assert pd.isna(_row(corpus, "1_0_1_01")["transcript"])


@pytest.mark.parametrize("layout", ["AudioData/{}/{}.wav", "{}_{}.wav"])
def test_savee_nested_and_flat_give_the_same_table(tmp_path, layout):
    for speaker, take in (("DC", "a01"), ("KL", "sa15"), ("JE", "su03"), ("JK", "n30")):
        _touch(tmp_path, layout.format(speaker, take))
    table = read_corpus(tmp_path).table
    assert dict(zip(table["name"], table["emotion"], strict=True)) == {
        "DC_a01": "anger",
        "KL_sa15": "sadness",
        "JE_su03": "surprise",
        "JK_n30": "neutral",
    }
    assert set(table["sex"]) == {"male"} and table["transcript"].isna().all()


def test_tess_reads_pleasant_surprise_and_the_owners_short_prefix(tmp_path):
    _touch(
        tmp_path, "OAF_Pleasant_surprise/OAF_back_ps.wav", "YAF_sad/YAF_germ_sad.wav", "OAF_neutral/OA_bite_neutral.wav"
    )
    corpus = read_corpus(tmp_path)
    row = _row(corpus, "OAF_back_ps")
    assert (row["emotion"], row["age"], row["transcript"]) == ("surprise", 64, "Say the word back.")
    assert _row(corpus, "OAF_bite_neutral")["speaker_id"] == "OAF"


@pytest.fixture
def iemocap(tmp_path: Path) -> Path:
    session = tmp_path / "Session1"
    for name in ("F000", "M000", "M001"):
        _touch(session, f"sentences/wav/Ses01F_impro01/Ses01F_impro01_{name}.wav")
    _write(
        session / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt",
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]",
        "",
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\tang\t[1.5000, 4.0000, 4.5000]",
        "C-E1:\tAnger;\t()",
        "C-E3:\tAnger; Frustration;\t()",
        "C-F1:\tNeutral;\t()",
        "A-E3:\tval 2; act 4; dom  4;\t()",
        "",
        "[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[2.5000, 2.5000, 2.5000]",
        "C-E1:\tNeutral state;\t()",
        "C-E2:\tOther;\t(confused)",
        "",
        "[12.0000 - 13.0000]\tSes01F_impro01_M001\texc\t[5.5000, 4.0000, 3.0000]",
        "C-E1:\tExcited;\t()",
    )
    _write(
        session / "dialog" / "transcriptions" / "Ses01F_impro01.txt",
        "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.",
    )
    _touch(session, "dialog/EmoEvaluation/._Ses01F_impro01.txt")
    return tmp_path


def test_iemocap_reads_turns_votes_dimensions_and_words(iemocap):
    corpus = read_corpus(iemocap)
    row = _row(corpus, "Ses01F_impro01_F000")
    assert (row["emotion"], row["transcript"], row["speaker"]) == ("anger", "Excuse me.", "iemocap/Ses01_F")
    assert (row["valence"], row["arousal"], row["dominance"]) == (1.5, 4.0, 4.5)
    assert (row["vote_anger"], row["vote_frustration"], row["vote_neutral"]) == (2, 1, 0)
    assert _row(corpus, "Ses01F_impro01_M001")["emotion"] == "excitement"
    # 3 is the middle of the scale, and 5.5 its end.
    assert _row(corpus, "Ses01F_impro01_M001")["valence"] == 5.0
    assert on_unit_scale(np.array([3.0, 5.0]), corpus.rating_range).tolist() == [0.0, 1.0]
    assert corpus.rating_range == RATING_RANGES["iemocap"]


def test_iemocap_speaker_is_who_talks_not_who_wears_the_markers(iemocap):
    row = _row(read_corpus(iemocap), "Ses01F_impro01_M000")
    assert (row["speaker_id"], row["sex"]) == ("Ses01_M", "male")
    assert pd.isna(row["emotion"])


def test_msp_improv_reads_consensus_and_counts_a_rater_once(tmp_path):
    _touch(tmp_path, "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav", "session1/S01A/R/MSP-IMPROV-S01A-M01-R-MF02.wav")
    _write(
        tmp_path / "Evalution.txt",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.333333; V:3.666667; D:2.666667 ; N:3.166667;",
        "WORKER1; Neutral; Neutral,Calm; A:2.000000; V:4.000000; D:3.000000; N:3.000000;",
        "WORKER1; Neutral; Neutral,Calm; A:2.000000; V:4.000000; D:3.000000; N:3.000000;",
        "WORKER2; Angry; Angry; A:3.000000; V:2.000000; D:3.000000; N:3.000000;",
        "",
        "UTD-IMPROV-S01A-M01-R-MF02.avi; X; A:NaN; V:3.0; D:2.0 ; N:3.0;",
        "WORKER3; Other; Other; A:3.000000; V:2.000000; D:3.000000; N:3.000000;",
    )
    corpus = read_corpus(tmp_path)
    row = _row(corpus, "MSP-IMPROV-S01A-F01-P-FM01")
    assert (row["emotion"], row["intended"], row["speaker_id"], row["sex"]) == ("neutral", "anger", "F01", "female")
    assert (row["vote_neutral"], row["vote_anger"], row["arousal"]) == (1, 1, 2.333333)
    other = _row(corpus, "MSP-IMPROV-S01A-M01-R-MF02")
    assert pd.isna(other["emotion"]) and pd.isna(other["arousal"]) and other["vote_other"] == 1


def test_msp_podcast_reads_consensus_votes_words_and_splits(tmp_path):
    _touch(tmp_path, "Audios/MSP-PODCAST_0001_0008.wav", "Audios/MSP-PODCAST_0002_0033.wav")
    _write(
        tmp_path / "Labels" / "labels_consensus.csv",
        "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set",
        "MSP-PODCAST_0001_0008.wav,N,4.2,3.8,4.4,127,Male,Test1",
        "MSP-PODCAST_0002_0033.wav,X,4.8,4.2,4.6,Unknown,Unknown,Development",
    )
    _write(
        tmp_path / "Labels" / "labels_detailed.csv",
        "FileName,Worker,EmoClass_Major,EmoClass_Second",
        "MSP-PODCAST_0001_0008.wav,W1,Neutral,",
        "MSP-PODCAST_0001_0008.wav,W2,Neutral,",
        "MSP-PODCAST_0001_0008.wav,W3,Other-bored,",
    )
    _write(tmp_path / "Transcripts" / "MSP-PODCAST_0001_0008.txt", "so I said")
    corpus = read_corpus(tmp_path)
    row = _row(corpus, "MSP-PODCAST_0001_0008")
    assert (row["emotion"], row["split"], row["sex"], row["transcript"]) == ("neutral", "test1", "male", "so I said")
    assert (row["vote_neutral"], row["vote_other"], row["valence"]) == (2, 1, 3.8)
    other = _row(corpus, "MSP-PODCAST_0002_0033")
    assert other["split"] == "validation"
    assert all(pd.isna(other[column]) for column in ("emotion", "speaker", "speaker_id", "sex", "vote_neutral"))


def _audformat(root: Path, *, segment: bool = False, emotion: str = "emotion") -> None:
    import audformat

    database = audformat.Database("My-DB", license="CC0-1.0", languages=["deu"], description="Two clips.")
    database.schemes["emotion"] = audformat.Scheme(labels=["anger", "neutral"])
    database.schemes["speaker"] = audformat.Scheme(
        labels={"s1": {"gender": "female", "age": 30}, "s2": {"gender": "male"}}
    )
    database.schemes["transcription"] = audformat.Scheme(labels={"a": "Guten Tag."})
    database.schemes["arousal"] = audformat.Scheme("float", minimum=1, maximum=7)
    database.splits["dev"] = audformat.Split(type="dev")
    files = ["audio/a.wav", "audio/b.wav"]
    index = audformat.segmented_index(files, ["0s", "1s"], ["2s", "3s"]) if segment else audformat.filewise_index(files)
    database["emotion"] = audformat.Table(index, split_id="dev")
    database["emotion"][emotion] = audformat.Column(scheme_id="emotion" if emotion == "emotion" else None)
    database["emotion"][emotion].set(["anger", "neutral"])
    database["files"] = audformat.Table(audformat.filewise_index(files))
    for column, values in (("speaker", ["s1", "s2"]), ("transcription", ["a", "a"]), ("arousal", [2.0, 6.0])):
        database["files"][column] = audformat.Column(scheme_id=column)
        database["files"][column].set(values)
    database.save(str(root))
    _touch(root, *files)


def test_audformat_database_brings_its_speakers_words_and_scale(tmp_path):
    _audformat(tmp_path)
    corpus = read_corpus(tmp_path)
    assert (corpus.name, corpus.licence, corpus.language, corpus.rating_range) == ("my_db", "CC0-1.0", "de", (1.0, 7.0))
    row = _row(corpus, "audio/a")
    assert (row["emotion"], row["sex"], row["age"], row["language"]) == ("anger", "female", 30, "de")
    assert (row["transcript"], row["split"], row["arousal"]) == ("Guten Tag.", "validation", 2.0)
    assert pd.isna(_row(corpus, "audio/b")["age"])


def test_audformat_segments_inside_longer_files_are_refused(tmp_path):
    from ser_core.errors import CorpusError

    _audformat(tmp_path, segment=True)
    with pytest.raises(CorpusError, match="segments inside longer files"):
        read_corpus(tmp_path)


def test_audformat_without_emotions_says_what_there_is(tmp_path):
    from ser_core.errors import CorpusError

    _audformat(tmp_path, emotion="mood")
    with pytest.raises(CorpusError, match=r"no column or scheme named emotion.*mood"):
        read_corpus(tmp_path)


def test_csv_reads_aliases_votes_and_leaves_blanks_missing(tmp_path):
    _touch(tmp_path, "clips/a.wav", "clips/b.wav")
    _write(
        tmp_path / "labels.csv",
        "path,speaker_id,label,gender,age,language,vote_anger,vote_mood",
        "clips/a.wav,007,Angry,F,41,en,3,1",
        "clips/b.wav,,neutral,,,,,",
    )
    corpus = read_corpus(tmp_path)
    row = _row(corpus, "clips/a")
    assert (row["emotion"], row["speaker_id"], row["sex"], row["age"], row["vote_anger"]) == (
        "anger",
        "007",
        "female",
        41,
        3,
    )
    assert "vote_mood" not in corpus.table
    blank = _row(corpus, "clips/b")
    assert all(pd.isna(blank[column]) for column in ("speaker", "sex", "age", "language", "vote_anger"))


def test_csv_can_be_named_itself_and_lie_beside_others(tmp_path):
    _touch(tmp_path, "a.wav")
    _write(tmp_path / "one.csv", "file,speaker,emotion", "a.wav,x,fear")
    _write(tmp_path / "two.csv", "file,speaker,emotion", "a.wav,x,joy")
    assert read_corpus(tmp_path / "two.csv").table["emotion"].tolist() == ["happiness"]


@pytest.fixture
def em2ldl(tmp_path: Path) -> Path:
    labels = [
        *("ecstacy", "joy", "serenity", "love", "admiration", "trust", "acceptance", "submission", "terror", "fear"),
        *("apprehension", "awe", "amazement", "surprise", "distraction", "disapproval", "grief", "sadness"),
        *("pensiveness", "remorse", "loathing", "disgust", "boredom", "contempt", "rage", "anger", "annoyance"),
        *("aggresiveness", "vigilance", "anticipation", "interest", "optimism"),
    ]

    def shares(**given: float) -> str:
        return ",".join(str(given.get(label, 0)) for label in labels)

    (tmp_path / "labels_distributions_Info.csv").write_text(
        f"\ufeffAudioID,{','.join(labels)},speaker ID,gender,age,ageClass,mbtiSingle,mbtiDouble,lang\n"
        f"1,{shares(ecstacy=0.7, joy=0.3)},speaker1,male,22岁,Youth,i,in,ce\n"
        f"2,{shares(joy=0.5, rage=0.5)},speaker2,female,中年,Non-Youth,e,es,me\n"
        f"3,{shares(aggresiveness=1)},speaker1,male,22岁,Youth,i,in,ce\n",
        encoding="utf-8",
    )
    for split, ids in (("train", ("0001",)), ("val", ("0002",)), ("test", ("0003",))):
        _write(tmp_path / f"{split}_ids.csv", "audio_id", *ids)
    return tmp_path


def test_em2ldl_reads_distributions_and_names_the_leaking_speaker(em2ldl):
    corpus = read_corpus(em2ldl)
    row = _row(corpus, "0001")
    assert (row["emotion"], row["share_joy"], row["age"], row["split"]) == ("ecstasy", 0.3, 22, "train")
    assert _row(corpus, "0003")["emotion"] == "aggressiveness"
    assert sum(column.startswith("share_") for column in corpus.table) == 32
    assert "speaker1 is in train (1), test (1)" in corpus.note and "speaker2" not in corpus.note


def test_em2ldl_tie_has_no_top_label_and_an_age_class_is_no_age(em2ldl):
    row = _row(read_corpus(em2ldl), "0002")
    assert pd.isna(row["emotion"]) and pd.isna(row["age"]) and row["age_group"] == "Non-Youth"


def test_em2ldl_without_audio_says_so_and_finds_it_where_it_is(em2ldl):
    labels_only = read_corpus(em2ldl)
    assert labels_only.table["file"].isna().all() and "labels only" in labels_only.note
    _touch(em2ldl, *(f"audio/000{place}_intj_ce.wav" for place in (1, 2, 3)))
    assert read_corpus(em2ldl).table["file"].notna().all()


def test_every_table_has_the_common_columns_first_and_words_of_the_vocabulary(crema_d):
    table = read_corpus(crema_d).table
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert set(table["emotion"].dropna()) <= set(EMOTIONS)
    assert all(Path(file).is_absolute() for file in table["file"])


def test_corpora_are_found_one_level_below_a_folder(tmp_path):
    _touch(tmp_path, "german/wav/03a01Fa.wav", "mine/a.wav", "nothing/readme.txt")
    _write(tmp_path / "mine" / "labels.csv", "file,speaker,emotion", "a.wav,x,fear")
    found = find_corpora([tmp_path, tmp_path / "absent"])
    assert found == {"emodb": tmp_path / "german", "mine": tmp_path / "mine"}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("ravdess", ("Actor_01/03-01-05-01-01-01-01.wav", "Actor_02/03-01-05-01-01-01-02.wav")),
        ("emotale", ("wav/DK_001_A_1.wav", "annotations.csv")),
        ("crema_d", ("AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav", "VideoDemographics.csv")),
        ("emodb", ("03a01Fa.wav", "more/03a01Wa.wav")),
        ("msp_podcast", ("Audios/MSP-PODCAST_0001.wav", "Labels/labels_consensus.csv")),
    ],
)
def test_a_folder_that_is_a_corpus_itself_is_found_whole(tmp_path, name: str, files: tuple[str, ...]):
    corpus = tmp_path / "mine"
    _touch(corpus, *files)
    assert find_corpora([corpus]) == {name: corpus}
    assert find_corpora([tmp_path]) == {name: corpus}


def test_of_two_copies_of_a_corpus_the_first_counts(tmp_path):
    _touch(tmp_path, "copy/03a01Fa.wav", "other copy/03a01Fa.wav")
    assert find_corpora([tmp_path]) == {"emodb": tmp_path / "copy"}


def test_a_table_beside_a_corpus_does_not_make_one_of_the_folder_above(tmp_path):
    _touch(tmp_path, "notes.csv", "danish/wav/DK_001_A_1.wav", "danish/annotations.csv")
    assert find_corpora([tmp_path]) == {"emotale": tmp_path / "danish"}


def test_other_sound_beside_a_corpus_does_not_make_one_of_the_folder_above(tmp_path):
    clips = [f"AudioWAV/10{actor}_DFA_ANG_XX.wav" for actor in range(10, 20)]
    _touch(tmp_path / "CREMA-D", "VideoDemographics.csv", *clips, "AudioMP3/1010_DFA_ANG_XX.mp3")
    _touch(tmp_path, "ESC-10/rain/1-17367-A.ogg", "ESC-10/rain/1-21189-A.ogg")
    assert find_corpora([tmp_path]) == {"crema_d": tmp_path / "CREMA-D"}
