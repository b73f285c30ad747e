"""Many clips: each row is the explanation of that clip, and nothing in a file, an archive or a CSV stops the rest."""

import codecs
import dataclasses
import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import explain.batch as batch
from explain.__main__ import main
from explain.attribution import methods_for
from explain.batch import Clip, Row, clips_of, cues_in_words, given, in_zip, row_of, rows, table
from explain.expert import tally
from explain.explanation import explain
from explain.text_files import csv_text
from explain.trust import trust
from ser_core.audio import decode
from ser_core.errors import AudioError, SettingError
from ser_core.familiarity import Familiarity
from ser_core.registry import load_model
from tests.bad_inputs import BAD_INPUTS, voice, wav
from tests.explanations import example_explanation
from tests.planted import burst_model, clip

MODEL = "egemaps-logistic"


def sound(kind: str = "low", seed: int = 1) -> bytes:
    return wav(clip(np.random.default_rng(seed), kind)[0])


def packed(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_is_the_explanation_of_that_clip() -> None:
    model, data = burst_model(), sound()
    (found,) = rows(given([("a.wav", data)]), model, "input_x_gradient", trust="quick")
    recording = decode(data, "a.wav")
    made = explain(recording, model, "input_x_gradient")
    tested = trust(model, recording, made.attribution, made.speech, regions=made.regions, quick=True)
    assert found.sha256 == recording.sha256
    assert found.answer == made.prediction.top
    assert list(found.outputs.values()) == made.prediction.probabilities.tolist()
    assert found.entropy_bits == made.prediction.entropy_bits
    first = made.regions[0]
    assert (found.region_start_s, found.region_end_s, found.region_share) == (first.start_s, first.end_s, first.share)
    assert (found.verdict, found.verdict_words) == (tested.verdict, tested.sentence)
    assert found.warnings == made.quality.warnings
    assert found.cues == {v.cue: v.value for v in made.cues.values if v.scope == "clip" and v.value is not None}
    assert found == row_of(0, "a.wav", made, tested)


def test_a_real_models_row_counts_the_agreeing_cues_and_names_the_strongest() -> None:
    model = load_model(MODEL)
    made = explain(decode(wav(voice(2.5)), "a.wav"), model, methods_for(model)[0].name)
    found = row_of(0, "a.wav", made)
    (whole,) = (t for t in tally(made.agreements) if t.emotion == made.prediction.top and t.scope == "clip")
    assert (found.agree, found.compared) == (len(whole.agrees), len(whole.agrees) + len(whole.disagrees))
    assert sum(found.outputs.values()) == pytest.approx(1)


def test_top_cues_are_those_beyond_chance_then_the_largest() -> None:
    found = Row(0, "a", top_cues=(("f0_mean", 0.4, True), ("hnr", -0.9, False)))
    assert cues_in_words(found) == "higher pitch level*, lower harmonics-to-noise ratio"


def test_a_range_beyond_chance_is_told_though_it_has_no_effect() -> None:
    made = example_explanation()
    pooled = [c for c in made.cues.contrasts if c.scope == "all regions"]
    lower = dataclasses.replace(pooled[0], cue="f0_variability", effect=None, difference=-2.0, p_corrected=0.001)
    within = dataclasses.replace(lower, cue="energy_range", p_corrected=0.5)
    cues = dataclasses.replace(made.cues, contrasts=(within, lower))
    found = row_of(0, "a.wav", dataclasses.replace(made, cues=cues))
    assert cues_in_words(found) == "lower pitch range*"


def test_a_clip_far_from_the_training_is_warned_of() -> None:
    made = example_explanation()
    for percentile, told in ((99.5, True), (50.0, False)):
        near = Familiarity(3.0, percentile, "Far away.")
        asked = dataclasses.replace(made.prediction, familiarity=near)
        found = row_of(0, "a.wav", dataclasses.replace(made, prediction=asked))
        assert ("Far away." in found.warnings) == told


def test_what_was_not_counted_is_an_empty_cell() -> None:
    bad, good = Row(0, "a", error="cannot be read"), Row(1, "b", agree=1, compared=3)
    lines = csv_text(table([bad, good], example_explanation().card)[["experts_agree", "experts_compared"]])
    assert lines.split() == ["experts_agree,experts_compared", ",", "1,3"]


def test_a_cue_that_is_higher_by_one_measure_and_lower_by_another_is_called_neither() -> None:
    made = example_explanation()
    first, second, *rest = (c for c in made.cues.contrasts if c.scope == "all regions" and c.effect is not None)
    against = [
        dataclasses.replace(first, effect=-0.99, difference=2.0, p_corrected=0.001),
        dataclasses.replace(second, effect=-0.98, difference=-2.0, p_corrected=0.001),
    ]
    cues = dataclasses.replace(made.cues, contrasts=(*against, *rest))
    named = [name for name, _, _ in row_of(0, "a.wav", dataclasses.replace(made, cues=cues)).top_cues]
    assert named[0] == second.cue and first.cue not in named


def test_one_bad_file_never_stops_the_rest_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [(case.file_name, case.make()) for case in BAD_INPUTS if case.make()[:4] != b"PK\x03\x04"]
    files = [("first.wav", sound()), *bad, ("last.wav", sound("high", 2))]
    found = list(rows(given(files), burst_model(), "input_x_gradient"))
    assert len(found) == len(files)
    assert [r.error == "" for r in found] == [True, *[False] * len(bad), True]
    assert all(len(r.error) > 20 and "Traceback" not in r.error for r in found[1:-1])


def test_a_spreadsheet_or_a_broken_archive_beside_the_clips_costs_its_own_row_alone() -> None:
    sheet = packed({"xl/workbook.xml": b"<x/>"})
    files = [("a.wav", sound()), ("labels.xlsx", sheet), ("broken.zip", b"PK\x03\x04rest"), ("b.wav", sound())]
    found = list(rows(given(files), burst_model(), "input_x_gradient"))
    assert [bool(row.error) for row in found] == [False, True, True, False]
    assert "No audio file was found in 'labels.xlsx'" in found[1].error
    assert "no zip archive that can be read" in found[2].error
    counted = table(found, burst_model().card)["experts_compared"]
    assert str(counted.dtype) == "Int64" and counted.isna().all()  # no expert knows these classes
    with pytest.raises(SettingError, match="No audio file"):
        given(files[1:2])


def test_a_fault_of_our_own_costs_one_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real = batch.explain

    def breaks(recording, *args, **kwargs):
        if recording.name == "b.wav":
            raise RuntimeError("secret")
        return real(recording, *args, **kwargs)

    monkeypatch.setattr(batch, "explain", breaks)
    files = [(f"{letter}.wav", sound()) for letter in "abc"]
    found = list(rows(given(files), burst_model(), "input_x_gradient"))
    assert ["went wrong" in r.error for r in found] == [False, True, False]
    assert "secret" not in found[1].error


def test_progress_tells_of_every_clip_and_can_stop_the_work() -> None:
    class Enough(Exception):
        pass

    told: list[tuple[float, str]] = []

    def tell(share: float, words: str) -> None:
        told.append((share, words))
        if words.startswith("2 of 3"):
            raise Enough

    made = rows(given([(f"{k}.wav", sound()) for k in range(3)]), burst_model(), "input_x_gradient", progress=tell)
    assert next(made).file == "0.wav"
    with pytest.raises(Enough):
        next(made)
    assert all(0 <= share < 0.4 for share, _ in told)


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_a_clip_and_reads_back_to_the_same_figures() -> None:
    found = list(rows(given([("a.wav", sound()), ("b.wav", b"no sound")]), burst_model(), "input_x_gradient"))
    made = table(found, burst_model().card)
    back = pd.read_csv(io.StringIO(csv_text(made)))
    assert list(back["file"]) == ["a.wav", "b.wav"]
    assert back.loc[0, "entropy_bits"] == found[0].entropy_bits
    assert back.loc[0, [f"p_{e}" for e in burst_model().emotions]].tolist() == list(found[0].outputs.values())
    assert pd.isna(back.loc[1, "answer"]) and "not an audio file" in back.loc[1, "error"]


def test_no_cell_and_no_heading_is_run_as_a_formula() -> None:
    found = [Row(0, '=HYPERLINK("http://x")', error="@x", extra={"=1+1": "+2"})]
    text = csv_text(table(found, burst_model().card))
    cells = [cell for line in __import__("csv").reader(io.StringIO(text)) for cell in line]
    assert '\'=HYPERLINK("http://x")' in cells and "'@x" in cells and "'+2" in cells
    assert not any(cell.startswith(("=", "@", "+")) for cell in cells)


# --- folders, archives, CSV ------------------------------------------------------------------------------------------


def test_a_folder_gives_its_sound_files_in_order_and_no_hidden_or_linked_ones(tmp_path: Path) -> None:
    outside = tmp_path / "outside.wav"
    outside.write_bytes(sound())
    folder = tmp_path / "clips"
    (folder / "inner").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("b.WAV", "a.flac", "notes.txt", "inner/c.wav", ".hidden/d.wav", ".e.wav"):
        (folder / name).write_bytes(sound())
    (folder / "link.wav").symlink_to(outside)
    assert [c.name for c in clips_of(folder)] == ["a.flac", "b.WAV", "inner/c.wav"]


def test_an_archive_is_read_member_by_member_and_its_names_lead_nowhere(tmp_path: Path) -> None:
    names = ["../../escape.wav", "/etc/absolute.wav", "C:\\x\\drive.wav", "ok/a.wav", "__MACOSX/._a.wav", "readme.txt"]
    path = tmp_path / "a.zip"
    path.write_bytes(packed(dict.fromkeys(names, sound())))
    found = clips_of(path)
    assert [c.name for c in found] == ["C:/x/drive.wav", "escape.wav", "etc/absolute.wav", "ok/a.wav"]
    assert all(c.load().sha256 == decode(sound(), "a.wav").sha256 for c in found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_names_that_macos_packs_as_unmarked_utf_8_are_read_as_such() -> None:
    name = "Anna Müllér_.wav"
    plain = "x" * (len(name.encode()) - 4) + ".wav"
    unmarked = packed({plain: sound()}).replace(plain.encode(), name.encode())
    (found,) = in_zip(unmarked)
    assert (found.name, found.load().name) == (name, name)
    # What is no UTF-8 stays in the code page that the format names.
    old = packed({"xx.wav": sound()}).replace(b"xx.wav", b"\x84x.wav")
    assert [clip.name for clip in in_zip(old)] == ["äx.wav"]
    assert [clip.name for clip in in_zip(packed({"日本.wav": sound()}))] == ["日本.wav"]


def test_a_bomb_is_refused_by_its_ratio_its_size_its_count_and_where_its_header_lies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = packed({"bomb.wav": b"\0" * (4 << 20), "good.wav": sound()})
    first, second = in_zip(bomb)
    with pytest.raises(AudioError, match="over 200 times"):
        first.load()
    assert second.load().duration_s > 1
    monkeypatch.setattr(batch, "MOST_MEMBER_BYTES", 1000)
    with pytest.raises(AudioError, match="unpacks to more than"):
        second.load()
    monkeypatch.setattr(batch, "MOST_ARCHIVE_BYTES", 1 << 20)
    with pytest.raises(SettingError, match="unpacks to"):
        in_zip(bomb)
    monkeypatch.setattr(batch, "MOST_MEMBERS", 1)
    with pytest.raises(SettingError, match="holds 2 files"):
        in_zip(bomb)


def test_a_lie_about_the_unpacked_size_is_caught_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_MEMBER_BYTES", 10_000)
    data = bytearray(packed({"a.wav": np.random.default_rng(0).bytes(50_000)}))
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 500)
    (found,) = in_zip(bytes(data))
    with pytest.raises(AudioError):
        found.load()


def test_a_locked_or_damaged_member_says_so_and_the_others_are_read() -> None:
    data = bytearray(packed({"a.wav": sound(), "b.wav": sound("high", 3)}))
    data[200:400] = bytes(200)
    first, second = in_zip(bytes(data))
    with pytest.raises(AudioError, match="cannot be unpacked"):
        first.load()
    assert second.load().duration_s > 1
    locked = bytearray(packed({"a.wav": sound()}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + offset] |= 1
    with pytest.raises(AudioError, match="password"):
        in_zip(bytes(locked))[0].load()


def test_files_of_one_name_stay_apart() -> None:
    assert [c.name for c in given([("a.wav", sound()), ("a.wav", sound("high"))])] == ["a.wav", "a.wav (2)"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "none", "does not exist"),
        (lambda p: (p / "x.bin").write_bytes(b"x") and p / "x.bin", "no folder, zip archive or CSV"),
        (lambda p: p, "No audio file was found"),
        (lambda p: (p / "x.csv").write_text("a,b\n1,2\n") and p / "x.csv", "needs a column 'file'"),
        (lambda p: (p / "z.csv").write_text("file,speaker\n") and p / "z.csv", "No audio file was found in 'z.csv'"),
        (lambda p: (p / "y.csv").write_bytes(b"file\n\xff\xfe\x00") and p / "y.csv", "cannot be read as a CSV"),
    ],
)
def test_a_source_that_holds_no_clips_is_refused_in_a_sentence(make, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=words):
        clips_of(make(tmp_path))


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_csv_is_explained_from_the_command_line_and_a_stopped_batch_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(wav(voice(1.5)))
    listed = tmp_path / "clips.csv"
    listed.write_text("file,speaker\na.wav,s1\nmissing.wav,s2\n")
    out = tmp_path / "table.csv"
    asked = [str(listed), "--out", str(out), "--model", MODEL]
    calls: list[str] = []
    real = batch.row

    def counted(number: int, one: Clip, *args, **kwargs) -> Row:
        calls.append(one.name)
        if one.name == "missing.wav" and len(calls) == 2:
            raise KeyboardInterrupt
        return real(number, one, *args, **kwargs)

    monkeypatch.setattr("explain.batch_command.row", counted)
    with pytest.raises(KeyboardInterrupt):
        main(["batch", *asked])
    store = tmp_path / "table.csv.rows.jsonl"
    assert len(store.read_text().splitlines()) == 1
    store.write_text(store.read_text() + '{"asked": {"mod')
    assert main(["batch", *asked]) == 0
    assert calls == ["a.wav", "missing.wav", "missing.wav"]
    assert out.read_bytes().startswith(codecs.BOM_UTF8)
    made = pd.read_csv(out)
    assert list(made["given_speaker"]) == ["s1", "s2"]
    assert "does not exist" in made.loc[1, "error"] and made.loc[0, "answer"]
    assert not store.exists()
    assert "1 of which could not be explained" in capsys.readouterr().out


def test_a_clip_that_was_replaced_since_is_explained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / name).write_bytes(wav(voice(1.5)))
    asked = ["batch", str(folder), "--out", str(tmp_path / "t.csv"), "--model", MODEL, "--quiet"]
    real, calls = batch.row, []

    def stopped_at_c(number: int, one: Clip, *args, **kwargs) -> Row:
        calls.append(one.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(number, one, *args, **kwargs)

    monkeypatch.setattr("explain.batch_command.row", stopped_at_c)
    with pytest.raises(KeyboardInterrupt):
        main(asked)
    now = {"a.wav": wav(voice(1.8)), "c.wav": (folder / "c.wav").read_bytes()}
    (folder / "a.wav").write_bytes(now["a.wav"])
    kept = (folder / "b.wav").read_bytes()
    (folder / "b.wav").write_bytes(b"damaged")
    assert main(asked) == 0
    assert calls == ["a.wav", "b.wav", "c.wav", "a.wav", "c.wav"]
    made = pd.read_csv(tmp_path / "t.csv")
    assert made["sha256"].tolist() == [decode({**now, "b.wav": kept}[name], name).sha256 for name in made["file"]]


def test_a_file_name_that_is_not_utf_8_ends_neither_the_batch_nor_its_table(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")).write_bytes(wav(voice(1.5)))
    out = tmp_path / "t.parquet"
    # As a terminal in UTF-8 prints it; what pytest captures takes any text.
    assert [clip.name.encode("utf-8") for clip in clips_of(folder)] == [b"caf\\udce9.wav"]
    assert main(["batch", str(folder), "--out", str(out), "--model", MODEL]) == 0
    (made,) = pd.read_parquet(out).to_dict("records")
    assert made["file"] == "caf\\udce9.wav" and made["answer"] and not made["error"]


def test_the_list_of_the_clips_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(wav(voice(1.5)))
    listed = tmp_path / "clips.csv"
    listed.write_text("file,speaker\na.wav,s1\n")
    assert main(["batch", str(listed), "--out", str(tmp_path / "." / "clips.csv"), "--model", MODEL]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert listed.read_text() == "file,speaker\na.wav,s1\n"


def test_rows_of_other_options_are_not_mixed_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(wav(voice(1.5)))
    fields = dataclasses.asdict(Row(0, "a.wav"))
    other = {"model": "another", "method": "m", "trust": "", "sex": "unknown"}
    (tmp_path / "t.parquet.rows.jsonl").write_text(json.dumps({"asked": other, "row": fields}) + "\n")
    assert main(["batch", str(tmp_path), "--out", str(tmp_path / "t.parquet"), "--model", MODEL]) == 2
    assert "made of other clips or with other options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "x.xlsx"], "neither .csv nor .parquet"),
        (["--out", "/nowhere/x.csv"], "does not exist"),
        (["--out", "x.csv", "--method", "magic"], "does not fit"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(options: list[str], words: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "a.wav").write_bytes(sound())
    assert main(["batch", str(tmp_path), "--model", MODEL, *options]) == 2
    assert words in capsys.readouterr().err
