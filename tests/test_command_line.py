import codecs
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pypdf
import pytest
from bad_inputs import BAD_INPUTS, wav

from explain.__main__ import main as explain_main
from explain.samples import samples
from ser_core import domain_study, noisestudy
from ser_core.__main__ import main
from ser_core.audio import read
from ser_core.settings import ROOT


@pytest.fixture
def clip() -> str:
    return str(samples()[0].path)


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_every_bad_input_exits_with_2_and_one_sentence(case, tmp_path: Path, capsys) -> None:
    path = tmp_path / "clip"  # hostile names are the upload's business: a file system refuses some of them
    path.write_bytes(case.make())
    assert main(["predict", str(path), "--model", "egemaps-logistic"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and "Traceback" not in said and len(said.splitlines()) == 1
    assert explain_main([str(path), "--model", "egemaps-logistic", "--quiet"]) == 2
    assert capsys.readouterr().err.strip() == said


def test_one_bad_clip_does_not_lose_the_others(clip: str, tmp_path: Path, capsys) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"")
    assert main(["predict", str(bad), clip, "--model", "egemaps-logistic", "--json"]) == 2
    row = json.loads(capsys.readouterr().out)
    assert row["file"] == clip and sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_what_an_answer_is_not_is_said_beside_a_clip_that_failed_too(clip: str, tmp_path: Path, capsys) -> None:
    absent = str(tmp_path / "absent.wav")
    assert main(["predict", clip, absent, "--model", "egemaps-logistic"]) == 2
    assert "not a diagnosis" in capsys.readouterr().out
    assert main(["predict", absent, "--model", "egemaps-logistic"]) == 2
    assert capsys.readouterr().out == ""


def test_a_name_that_is_no_text_stops_no_answer(clip: str, tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path) + b"/\xff.wav"
    try:
        Path(os.fsdecode(strange)).write_bytes(Path(clip).read_bytes())
    except OSError:
        pytest.skip("the file system takes no such name")
    command = [sys.executable, "-m", "ser_core", "predict", strange, "--model", "egemaps-logistic"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": "utf-8"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "\\udcff.wav: " in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "train egemaps-logistic --corpus . --threads -1",
        "study mll --corpus . --threads 0",
        "power --runs 0",
        "conversion --corpus . --clips 0",
        "robustness --corpora . --noise . --clips -3",
        "domain --corpora . --noise . --clips 1.5",
    ],
)
def test_a_number_that_cannot_be_gets_a_sentence(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert "is no whole number from 1 to 999,999" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["noise --corpus", "domain --corpora"])
def test_a_folder_without_noise_is_told_before_the_work(command: str, tmp_path: Path, monkeypatch, capsys) -> None:
    for room in (noisestudy, domain_study):
        monkeypatch.setattr(room, "read_corpus", lambda *_: pytest.fail("the folder of noise was not looked at first"))
    assert main([*command.split(), str(tmp_path), "--noise", str(tmp_path), "--runs", str(tmp_path)]) == 2
    assert "There are no recordings of noise" in capsys.readouterr().err


def test_explain_writes_every_export(clip: str, tmp_path: Path, capsys) -> None:
    names = {"pdf": "a.pdf", "json": "a.json", "csv": "a.csv", "textgrid": "a.TextGrid", "bundle": "a.zip"}
    options = [part for kind, name in names.items() for part in (f"--{kind}", str(tmp_path / name))]
    assert explain_main([clip, "--model", "egemaps-logistic", *options]) == 0
    assert all((tmp_path / name).stat().st_size > 100 for name in names.values())
    assert (tmp_path / "a.csv").read_bytes().startswith(codecs.BOM_UTF8)
    out = capsys.readouterr().out
    assert "by Integrated Gradients" in out and "not what the speaker felt" in out


def test_the_report_can_be_written_without_the_voice(clip: str, tmp_path: Path) -> None:
    file, whole = tmp_path / "a.pdf", tmp_path / "a.zip"
    options = ["--pdf", str(file), "--bundle", str(whole), "--without-voice"]
    assert explain_main([clip, "--model", "egemaps-logistic", *options]) == 0
    with zipfile.ZipFile(whole) as archive:
        reports = (file.read_bytes(), archive.read("report.pdf"))
    for report in reports:
        text = " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(report)).pages)
        assert "Waveform and spectrogram are left out" in " ".join(text.split())


@pytest.mark.parametrize("name", ["x" * 300, "README.md/x"])
def test_a_path_that_cannot_be_is_told_in_a_sentence(name: str, clip: str, capsys) -> None:
    assert main(["groups", f"{name}.csv"]) == 2
    assert main(["predict", clip, "--model", name]) == 2
    assert main(["edge-export", "--bundle", f"{ROOT / name}.zip"]) == 2
    assert all(line.startswith("error: ") for line in capsys.readouterr().err.splitlines())


def test_a_voice_experiment_and_the_salient_parts_come_by_command(clip: str, tmp_path: Path, capsys) -> None:
    options = [
        "--experiment",
        "loudness",
        "spectral_tilt",
        "--stretch",
        "0.5",
        "1.2",
        "--listen",
        str(tmp_path / "heard"),
    ]
    base = [clip, "--model", "egemaps-logistic", "--method", "occlusion", "--quiet"]
    assert explain_main([*base, *options, "--json", str(tmp_path / "a.json")]) == 0
    out = capsys.readouterr().out
    assert "salient-only: " in out and "salient-removed: " in out and out.count(" in 0.50–1.20 s") == 2
    stored = json.loads((tmp_path / "a.json").read_text())
    assert [each["experiment"]["name"] for each in stored["opened"]["experiments"]] == ["loudness", "spectral_tilt"]
    whole = read(clip)
    for name in ("salient-only", "salient-removed"):
        assert read(tmp_path / "heard" / f"{name}.wav").duration_s == pytest.approx(whole.duration_s, abs=1e-3)


def test_the_answer_is_explained_against_the_runner_up_and_the_persons_other_clips(clip: str, capsys) -> None:
    others = [str(sample.path) for sample in samples()[:3]]
    assert explain_main([clip, "--model", "egemaps-logistic", "--quiet", "--baseline", *others, "--against"]) == 0
    out = capsys.readouterr().out
    assert " rather than " in out and "experts’ tables" in out
    # The clip itself is no baseline of its own.
    assert "Too few clips: 2 other clips of the same person" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "joyful"], "does not know 'joyful'"),
        (["--target", "fear", "--against", "fear"], "rather than itself"),
        (["--against", "boredom"], "does not know 'boredom'"),
        (["--model", "nothing-like-this"], "There is no model"),
        (["--method", "magic"], "magic"),
        (["--pdf", "/no/such/folder/a.pdf"], "does not exist; make it first"),
        (["--target", "fear", "--against", "anger", "--direction", "higher"], "give one of the two"),
        (["--pitch-floor", "-5"], "pitch"),
        (["--experiment", "loudness", "--stretch", "1", "99"], "must lie in the clip"),
        (["--stretch", "0.5", "0.9"], "--stretch needs --experiment"),
        (["--method", "occlusion", "--listen", "/dev/null/heard"], "cannot be made"),
        (["--model", "emosphere-emotale", "--experiment", "tempo"], "choose a model that answers with one"),
    ],
)
def test_a_wrong_option_gets_a_sentence(options: list[str], words: str, clip: str, capsys) -> None:
    base = [] if "--model" in options else ["--model", "egemaps-logistic"]
    assert explain_main([clip, *base, *options, "--quiet"]) == 2
    assert words in capsys.readouterr().err


def test_no_file_that_is_read_or_was_named_before_is_overwritten(clip: str, tmp_path: Path, capsys) -> None:
    mine = tmp_path / "mine.wav"
    mine.write_bytes(Path(clip).read_bytes())
    there = tmp_path / "x" / ".." / "mine.wav"
    (tmp_path / "x").mkdir()
    same = str(tmp_path / "same")
    model = ["--model", "egemaps-logistic", "--quiet"]
    for asked, words in (
        ([str(mine), *model, "--csv", str(there)], "would be overwritten"),
        ([clip, *model, "--baseline", str(mine), "--json", str(mine)], "would be overwritten"),
        ([clip, *model, "--pdf", same, "--json", same], "named twice"),
        ([clip, *model, "--pdf", str(tmp_path)], "is a folder"),
        ([clip, *model, "--listen", str(mine)], "is a file"),
        (["recording", str(mine), "--csv", str(mine)], "would be overwritten"),
        (["recording", clip, "--csv", same, "--json", same], "named twice"),
        (["compare", str(mine), clip, "--json", str(mine)], "would be overwritten"),
        (["compare", clip], "Name what is compared"),
    ):
        assert explain_main(asked) == 2
        assert words in capsys.readouterr().err
    assert mine.read_bytes() == Path(clip).read_bytes() and not Path(same).exists()


def test_nothing_to_hear_loses_no_file_that_was_asked_for(clip: str, tmp_path: Path, capsys) -> None:
    asked = [clip, "--model", "egemaps-logistic", "--method", "integrated_gradients", "--quiet"]
    assert explain_main([*asked, "--listen", str(tmp_path / "heard"), "--json", str(tmp_path / "a.json")]) == 2
    assert "no salient region to hear" in capsys.readouterr().err
    assert json.loads((tmp_path / "a.json").read_text())["prediction"]["model"] == "egemaps-logistic"


def test_what_cannot_be_changed_is_said_before_the_tests_begin(tmp_path: Path, capsys, monkeypatch) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(wav(0.1 * np.random.default_rng(0).standard_normal(24_000)))
    monkeypatch.setattr("explain.trust.trust", lambda *_, **__: pytest.fail("tested in vain"))
    asked = [str(noise), "--model", "egemaps-logistic", "--trust", "full", "--experiment", "pitch_level", "--quiet"]
    assert explain_main(asked) == 2
    said = capsys.readouterr()
    assert "hardly any voice" in said.err and "Explained: " in said.out


def test_models_lists_figures_with_interval_and_chance(capsys) -> None:
    assert main(["models"]) == 0
    assert "egemaps-logistic" in (out := capsys.readouterr().out) and "chance 0.167" in out


def test_a_model_that_has_heard_the_person_is_explained(clip: str, tmp_path: Path, capsys) -> None:
    others = [str(sample.path) for sample in samples()[:3]]
    asked = [clip, "--model", "whisper-tiny-statistics", "--method", "saliency", "--quiet", "--baseline", *others]
    assert explain_main([*asked, "--json", str(tmp_path / "alone.json")]) == 0
    out = capsys.readouterr().out
    # The clip is one of the three, and counts as no other.
    assert "Having heard 2 other clips of this person, the model" in out
    assert explain_main([*asked, "--adapt", "--json", str(tmp_path / "beside.json")]) == 0
    assert "adapted to 3 clips of this speaker: " in capsys.readouterr().out
    alone, beside = (json.loads((tmp_path / name).read_text()) for name in ("alone.json", "beside.json"))
    told = alone["own_baseline"]["answer"]["probabilities"]["values"]
    assert told == pytest.approx(beside["prediction"]["probabilities"]["values"], abs=1e-6)
    assert told != pytest.approx(alone["prediction"]["probabilities"]["values"], abs=1e-3)
    assert beside["prediction"]["model"].startswith("whisper-tiny-statistics (")
    assert explain_main([clip, "--model", "whisper-tiny-statistics", "--adapt"]) == 2
    assert "--adapt needs other clips of the same person" in capsys.readouterr().err
    assert explain_main([clip, "--model", "whisper-tiny-statistics", "--adapt", clip]) == 2
    assert "--adapt needs other clips of the same person" in capsys.readouterr().err
    # Clips to hear need not be clips to set the cues against.
    named = [clip, "--model", "whisper-tiny-statistics", "--method", "saliency", "--quiet", "--adapt", *others]
    assert explain_main([*named, "--json", str(tmp_path / "named.json")]) == 0
    assert "adapted to 3 clips of this speaker: " in capsys.readouterr().out
    found = json.loads((tmp_path / "named.json").read_text())
    assert found["own_baseline"] is None
    assert found["prediction"] == beside["prediction"]
