"""Whatever a user gives is read, or refused in a sentence, within five seconds; nothing in it is run or followed."""

import ast
import csv
import io
import json
import resource
import shutil
import stat
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile as sf
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from benchmarks import fuzz
from benchmarks.fuzz import TIME_S, read_seed, replay
from benchmarks.fuzz_targets import TARGETS
from explain import batch
from explain.text_files import csv_text
from pages.parts.predictions import EXAMPLE
from ser_core import registry
from ser_core.audio import decode
from ser_core.cards import write_card
from ser_core.errors import MOST_QUOTED, AudioError, ModelError, SerscopeError, SettingError, short
from ser_core.long_audio import long_sound
from ser_core.predictions import PredictionsError, read_conditions, read_predictions
from ser_core.settings import ASSETS, ROOT
from tests.bad_inputs import flac, unstated_length, voice, wav

FOUND = sorted((ROOT / "tests" / "fuzz_seeds").glob("*.b64"))
QUICK = ("predictions", "conditions", "report", "zip", "list", "textgrid", "model")


LONGEST_SENTENCE = 900
"""A sentence that names eight cells, each cut, and says what to do."""


@given(st.text(max_size=300))
def test_whatever_is_quoted_is_one_short_line_that_keeps_how_it_begins_and_ends(text: str) -> None:
    said = short(text)
    assert len(said) <= MOST_QUOTED and len(said.splitlines()) <= 1 and short(said) == said
    assert all(c.isprintable() or c in "\u200c\u200d" for c in said)
    if len(text) <= MOST_QUOTED and text.isprintable():
        assert said == text
    if len(text) > MOST_QUOTED and text.isprintable():
        assert said.startswith(text[:40]) and said.endswith(text[-15:]) and "…" in said


@pytest.mark.parametrize("reads", [read_predictions, read_conditions], ids=["predictions", "conditions"])
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_refusal_of_a_table_quotes_more_than_a_short_piece_of_it(reads, data: st.DataObject) -> None:
    """A cell or a column's name of any length, put anywhere into a good table, is cut where a sentence quotes it."""
    rows = [list(row) for row in csv.reader(io.StringIO(EXAMPLE))]
    if reads is read_conditions:
        rows = [[*rows[0], "condition"], *([*row, how] for how in ("clean", "street") for row in rows[1:])]
    sign, long = data.draw(st.sampled_from("xé♥")), data.draw(st.sampled_from([80, 250, 299, 400, 5000]))
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(rows) - 1))
        place = data.draw(st.integers(0, len(rows[row]) - 1))
        start = data.draw(st.sampled_from(["", "p_", "share_", rows[row][place]]))
        rows[row][place] = start + sign * long
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    try:
        reads(out.getvalue().encode(), "mine.csv")
    except PredictionsError as fault:
        assert sign * MOST_QUOTED not in str(fault) and len(str(fault)) < LONGEST_SENTENCE, fault


@settings(max_examples=30)
@given(
    name=st.text(min_size=1, max_size=400), content=st.sampled_from([b"", b"no sound", b"RIFF....WAVE", b"PK\x03\x04"])
)
def test_no_refusal_of_a_file_quotes_more_than_a_short_piece_of_its_name(name: str, content: bytes) -> None:
    for read in (decode, long_sound, lambda data, name: batch.in_zip(data, name)):
        with pytest.raises(SerscopeError) as caught:
            read(content, f"{name}{'x' * 300}.wav")
        assert "x" * MOST_QUOTED not in str(caught.value) and len(str(caught.value).splitlines()) == 1
        assert "…" in str(caught.value)


# --- fuzzing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", FOUND, ids=lambda path: path.stem)
def test_what_the_fuzzer_once_found_is_refused_in_a_sentence(seed: Path) -> None:
    assert "FAULT" not in replay(seed.name.split("-")[0], read_seed(seed))


@pytest.mark.parametrize("name", TARGETS)
def test_the_fuzzer_begins_with_files_that_are_read(name: str) -> None:
    read = 0
    for content in TARGETS[name].seeds()[:4]:
        try:
            TARGETS[name].read(content)
            read += 1
        except SerscopeError:
            continue
    assert read


def test_a_fuzzing_process_is_not_waited_for_once_it_has_ended_whatever_it_leaves_behind() -> None:
    began = time.monotonic()
    code, said = fuzz.run_process(["sh", "-c", "sleep 60 & echo $! >&2; exit 3"], 30)
    assert (code, time.monotonic() - began < 20) == (3, True)
    ends = time.monotonic() + 10
    while _runs(int(said)) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not _runs(int(said))


def _runs(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_fuzzing_process_that_goes_on_is_ended_and_a_finding_of_its_own_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "SPARE_S", 0)
    real = fuzz.run_process
    monkeypatch.setattr(fuzz, "run_process", lambda command, limit_s: real(["sh", "-c", "echo here >&2; sleep 60"], 2))
    totals = fuzz.fuzz(["list"], 4 / 60, tmp_path)
    kept = list((tmp_path / "findings").glob("list-overrun-*.txt"))
    assert [path.read_text() for path in kept] == ["here\n"]
    assert all("beyond its time" in stop for stop in totals["list"]["stops"])
    assert kept[0].name in fuzz.summary(totals, tmp_path)


@pytest.mark.parametrize("name", QUICK)
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_with_anything_changed_is_read_or_refused_in_a_sentence(name: str, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(TARGETS[name].seeds())))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.integers(0, 8))
        content[start : start + cut] = data.draw(
            st.one_of(st.binary(max_size=8), st.sampled_from([b"1e999", b"[" * 5000]))
        )
    try:
        TARGETS[name].read(bytes(content))
    except SerscopeError as fault:
        assert str(fault).endswith((".", "…", ".'"))


# --- bombs ------------------------------------------------------------------------------------------------------------


def test_sound_that_would_unpack_to_gigabytes_is_refused_at_once() -> None:
    """Eight channels at 96 kHz: 400 MB of samples in less than 1 MB, with and without the length in the header."""
    out = io.BytesIO()
    with sf.SoundFile(out, "w", 96_000, 8, format="FLAC", subtype="PCM_16") as file:
        quiet = np.zeros((96_000, 8), np.int16)
        for _ in range(130):
            file.write(quiet)
    bomb = out.getvalue()
    assert len(bomb) < 1_000_000
    started = time.process_time()
    for data in (bomb, unstated_length(bomb)):
        with pytest.raises(AudioError, match="the limit is"):
            decode(data, "bomb.flac")
    assert time.process_time() - started < TIME_S


def test_more_samples_a_second_than_can_be_read_in_five_seconds_are_refused() -> None:
    every = np.tile(voice(rate=96_000)[:, None], 8)
    assert decode(flac(every, 96_000), "array.flac").source.channels == 8
    with pytest.raises(AudioError, match="8 channels at 192,000 Hz"):
        decode(flac(every, 192_000), "array.flac")


@pytest.mark.parametrize(("rows", "as_dictionary"), [(400, False), (400_000, True)])
def test_a_table_that_repeats_one_long_cell_is_refused_without_being_unpacked(rows: int, as_dictionary: bool) -> None:
    out = io.BytesIO()
    long = pd.Series(pd.Categorical.from_codes([0] * rows, ["x" * (1_600_000_000 // rows)]))
    pd.DataFrame({"file": long, "p_anger": 1.0}).to_parquet(out, store_schema=as_dictionary)
    assert len(out.getvalue()) < 300_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PredictionsError, match="unpacks to more than can be read"):
        read_predictions(out.getvalue(), "mine.parquet")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def packed(files: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name in links:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return out.getvalue()


def test_an_archive_inside_an_archive_is_not_opened() -> None:
    inner = packed({"a.wav": wav(voice())})
    clips = batch.in_zip(packed({"inner.zip": inner, "inner.wav": inner, "good.wav": wav(voice())}))
    assert [clip.name for clip in clips] == ["good.wav", "inner.wav"]
    with pytest.raises(AudioError, match="is a ZIP archive"):
        clips[1].load()


def test_members_that_share_their_bytes_are_bounded_by_their_sum() -> None:
    """An archive whose entries overlap unpacks to far more than a ratio for each would say (Fifield 2019)."""
    data = bytearray(packed({f"{k:03}.wav": bytes(60 << 20) for k in range(1)}))
    directory = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[directory:end]
    many = b"".join(entry.replace(b"000.wav", f"{k:03}.wav".encode()) for k in range(30))
    tail = data[end:]
    tail[8:12] = (30).to_bytes(2, "little") * 2
    tail[12:16] = len(many).to_bytes(4, "little")
    with pytest.raises(SettingError, match="unpacks to 1,800 MiB"):
        batch.in_zip(bytes(data[:directory] + many + tail))


def test_links_and_ways_out_of_an_archive_are_names_only(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(voice()))
    names = ("link.wav", "../../secret.wav", "/etc/passwd.wav", "C:\\temp\\a.wav", "..\\b.wav")
    contents = {name: wav(voice()) for name in names} | {"link.wav": str(secret).encode()}
    archive = tmp_path / "inner" / "clips.zip"
    archive.parent.mkdir()
    archive.write_bytes(packed(contents, links=("link.wav",)))
    before = sorted(tmp_path.rglob("*"))
    clips = {clip.name: clip for clip in batch.clips_of(archive)}
    assert all(not name.startswith("/") and ".." not in name for name in clips)
    with pytest.raises(AudioError, match="is a text file"):
        clips.pop("link.wav").load()
    assert all(clip.load().duration_s == 2 for clip in clips.values())
    assert sorted(tmp_path.rglob("*")) == before


# --- model folders ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    shutil.copytree(ASSETS / "models" / "egemaps-logistic", made)
    return made


def refusal(folder: Path) -> str:
    registry.drop_loaded()
    with pytest.raises(ModelError) as told:
        registry.load_model(folder)
    return str(told.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"emotions": 3}, "malformed (emotions"),
        ({"answer": "dimensions"}, "answers with dimensions, but its outputs are"),
        ({"emotions": [1, 2]}, "malformed (emotions"),
        ({"emotions": ["anger", "anger"]}, "each once"),
        ({"emotions": [f"e{k}" for k in range(101)]}, "2 to 100 outputs"),
        ({"emotions": ["anger", "x" * 101]}, "longer than 100 letters"),
        ({"emotions": ["anger", "bi\u202edi"]}, "not printable"),
        ({"title": ["<script>"]}, "malformed (title"),
        ({"encoder": "../../elsewhere"}, "malformed (encoder"),
        ({"figures": {"UAR": 1}}, "malformed (figures"),
        ({"figures": [{"measure": "UAR"}]}, "malformed (figures"),
        ({"extra": []}, "malformed (extra"),
        ({"extra": {"encoder_mb": "1e9"}}, "malformed (extra"),
        ({"extra": {"measured_as": ["whisper-tiny-statistics"]}}, "malformed (extra"),
        ({"summary": "x" * 1_000_001}, "over 1000 kB"),
        ({"system": "os"}, "which is not here"),
        ({"sha256": {"weights.safetensors": "0" * 64}}, "is not whole"),
        ({"sha256": {"../../../etc/passwd": "0" * 64}}, "is not whole: passwd is missing"),
    ],
)
def test_a_card_that_lies_about_its_own_kind_is_refused(change: dict, words: str, folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    assert words in refusal(folder)


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff\xfe", b"nul", b'{"a": 1' + b"0" * 5000 + b"}"])
def test_a_card_that_is_no_json_is_refused(content: bytes, folder: Path) -> None:
    (folder / "card.json").write_bytes(content)
    refusal(folder)


def test_weights_that_lie_about_themselves_are_refused(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card.pop("sha256", None)
    (folder / "card.json").write_text(json.dumps(card))
    path = folder / "weights.safetensors"
    good = path.read_bytes()
    state = load_file(path)
    enormous = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    lies = {
        "a header longer than the file": (1 << 62).to_bytes(8, "little") + good[8:],
        "a tensor larger than the file": len(enormous).to_bytes(8, "little") + enormous + bytes(16),
        "a pickle": b"\x80\x04\x95" + good,
        "nothing": b"",
        "half of it": good[: len(good) // 2],
    }
    for content in lies.values():
        path.write_bytes(content)
        assert "cannot be loaded" in refusal(folder)
    save_file({name: value[:1].contiguous() for name, value in state.items()}, path)
    assert "do not fit its card" in refusal(folder)
    save_file({name: value * float("nan") for name, value in state.items()}, path)
    assert "no numbers" in refusal(folder)
    save_file(state, path)
    registry.drop_loaded()
    assert registry.load_model(folder).emotions


def test_a_pickle_beside_the_weights_is_never_opened(folder: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple:
            return Path.write_text, (folder / "ran", "")

    for name in ("pytorch_model.bin", "weights.pkl", "familiarity.pkl", "model.pt"):
        torch.save(Runs(), folder / name)
    registry.drop_loaded()
    registry.load_model(folder)
    assert not (folder / "ran").exists()


def test_a_half_written_or_damaged_model_is_not_offered_or_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ser_core.cards import read_card

    write_card(folder, read_card(folder))
    shutil.copytree(folder, folder.with_name(".mine.0123abcd.partial"))
    broken = folder.with_name("broken")
    shutil.copytree(folder, broken)
    (broken / "card.json").write_text("{")
    monkeypatch.setenv("SERSCOPE_MODELS", str(folder.parent))
    offered = registry.model_names()
    assert "mine" in offered and not any(name.endswith(".partial") for name in offered)
    assert "mine" in {card.name for card in registry.cards()} and "broken" not in {c.name for c in registry.cards()}
    assert "cannot be read" in refusal(broken)
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "weights.safetensors").write_bytes(bytes(content))
    assert "is not whole: weights.safetensors" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config.json", {"hidden_size": 2**40}, "hidden_size in config.json is 1,099,511,627,776"),
        ("config.json", {"num_hidden_layers": 100_000}, "no model of speech has over 1,000"),
        ("config.json", {"intermediate_size": 900_000}, "parameters, and the weights have"),
        ("preprocessor_config.json", {"feature_size": 10**9}, "feature_size in preprocessor_config.json"),
        ("config.json", {"model_type": "whisper", "vocab_size": 10**7}, "vocab_size"),
        ("config.json", {"id2label": 3}, "cannot be loaded|can be loaded"),
        ("config.json", {"hidden_size": "large"}, "can be loaded"),
    ],
)
def test_settings_that_ask_for_enormous_sizes_are_refused_before_anything_is_built(
    file: str, change: dict, words: str, tmp_path: Path
) -> None:
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    sizes |= {"conv_dim": (16,), "conv_stride": (10,), "conv_kernel": (10,), "num_conv_pos_embeddings": 8}
    made = transformers.Wav2Vec2Config(**sizes, num_conv_pos_embedding_groups=2, classifier_proj_size=8)
    transformers.Wav2Vec2ForSequenceClassification(made).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    given_settings = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(given_settings | change))
    registry.drop_loaded()
    with pytest.raises(ModelError) as told:
        registry.load_model(tmp_path)
    assert any(each in str(told.value) for each in words.split("|"))


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_no_word_of_a_users_table_becomes_markup_in_a_chart() -> None:
    from pages.parts import speaker_charts

    evil = "<a href=x>&b"
    given = pd.DataFrame({"file": list("abcd"), "speaker": ["s1", "s1", evil, evil], "sex": evil, "language": evil})
    given = given.assign(emotion=[evil, "anger"] * 2, p_anger=[0.2, 0.9, 0.6, 0.4])
    given[f"p_{evil}"] = 1 - given["p_anger"]
    rows = read_predictions(given.to_csv(index=False).encode(), "mine.csv")
    people = speaker_charts.people_of(rows)
    found = pd.DataFrame({"speaker": ["s1", evil], "value": 0.5, "low": 0.4, "high": 0.6, "clips": 2})
    overall = {"value": 0.5, "low": 0.4, "high": 0.6, "chance": 0.5}
    for figure in (speaker_charts.confusion(rows), speaker_charts.caterpillar(found, people, "UAR", overall)):
        for trace in figure.data:
            trace.customdata = None  # goes to the server and is never drawn
        assert "<a href" not in figure.to_json().replace("\\u003c", "<") and "&lt;a href" in figure.to_json()


# --- what is given away -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝"])
def test_no_cell_or_heading_of_a_table_is_run_by_a_spreadsheet(start: str) -> None:
    name = f"{start}cmd|' /C calc'!A0"
    text = csv_text(pd.DataFrame({"speaker": [name], name: ["x"], "value": [-1.23456789]}), 3)
    rows = list(pd.read_csv(io.StringIO(text), header=None, dtype=str, keep_default_na=False).itertuples(index=False))
    assert rows[0][1].startswith("'") and rows[1][0].startswith("'")
    assert rows[1][2] == "-1.23"


def test_pages_and_exports_write_tables_by_no_other_way() -> None:
    """Pandas' own ``to_csv`` lets formulas through; it stays for figures that are stored, never given away."""
    wild = []
    for path in (*(ROOT / "pages").rglob("*.py"), *(ROOT / "explain").rglob("*.py"), ROOT / "app.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "to_csv" and getattr(node.value, "id", "") != "files":
                wild.append(f"{path.name}:{node.lineno}")
    assert not wild
