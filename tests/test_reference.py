"""The neutral reference: what it holds, where it comes from, and how it is built."""

import numpy as np
import pytest
import soundfile as sf

from explain.cues import CLIP, CUES, CueValue
from explain.praat import praat_panel
from explain.reference import (
    FEWEST_VALUES,
    PERCENTS,
    STRETCHES_S,
    WINDOWS,
    _Clip,
    load_reference,
    main,
    measured,
    neutral_clips,
    rows_of,
    write,
)
from explain.samples import samples
from ser_core.audio import SAMPLE_RATE, read
from ser_core.errors import CorpusError


def test_the_bundled_reference_names_its_sources_and_counts():
    reference = load_reference()
    assert "CREMA-D" in {title for title, *_ in reference.corpora}
    assert all(licence and clips and speakers for _, licence, clips, speakers in reference.corpora)
    for sex in ("female", "male", "unknown"):
        row = reference.row("f0_mean", sex)
        assert row.speakers >= 50
        assert f"{row.speakers} " in reference.describe(sex)
        assert "CREMA-D" in reference.describe(sex)
    assert reference.row("f0_mean", "child") is None
    assert reference.command.startswith("python -m explain.reference")


def test_percentiles_rise_and_every_measured_cue_has_them_for_clips_and_regions():
    reference = load_reference()
    for row in reference.rows.values():
        assert list(row.quantiles) == sorted(row.quantiles)
        assert row.values >= FEWEST_VALUES
    for cue in CUES:
        if cue.name != "intensity_mean":
            assert reference.row(cue.name, "female") is not None, cue.name
        for low_s, _ in STRETCHES_S:
            needs_s = {"speech_rate": 0.6, "pauses": 9.0}.get(cue.name, 0.0)
            assert (reference.row(cue.name, "male", low_s) is not None) == (low_s >= needs_s), cue.name


def test_women_speak_higher_than_men_and_formants_follow():
    reference = load_reference()
    middle = PERCENTS.index(50)
    for cue in ("f0_mean", "f1_mean", "f2_mean", "f3_mean"):
        women, men = (reference.row(cue, sex).quantiles[middle] for sex in ("female", "male"))
        assert women > men, cue


def test_a_values_percentile_is_where_it_lies():
    row = load_reference().row("f0_mean", "female")
    for percent, value in zip(PERCENTS, row.quantiles, strict=True):
        assert row.percentile(value) == pytest.approx(percent)
    between = (row.quantiles[3] + row.quantiles[4]) / 2
    assert row.percentile(between) == pytest.approx((PERCENTS[3] + PERCENTS[4]) / 2)
    assert row.percentile(-1000) == 1
    assert row.percentile(1000) == 99


def test_no_pause_is_usual_where_neutral_speech_has_none():
    row = load_reference().row("pauses", "female")
    assert 20 < row.percentile(0.0) < 80
    assert row.percentile(15.0) > 80


def test_a_table_that_is_written_reads_back_the_same(tmp_path):
    rng = np.random.default_rng(0)
    clips = [
        _Clip(
            str(k),
            "made",
            str(k % 7),
            ("female", "male")[k % 2],
            "neutral",
            tuple(CueValue("f0_mean", s, float(rng.normal()), "st", 30, "voiced frames") for s in ("clip", "1", "2")),
        )
        for k in range(120)
    ]
    rows = rows_of(clips)
    sources = [{"title": "Made", "licence": "none", "clips": 120, "speakers": 7}]
    write(rows, sources, tmp_path, "python -m explain.reference")
    back = load_reference(tmp_path)
    assert len(back.rows) == len(rows) == 6
    men = back.row("f0_mean", "male", 0.07)
    assert (men.values, men.clips) == (120, 60)
    found = [v.value for c in clips if c.sex == "male" for v in c.values if v.scope != "clip"]
    assert men.quantiles == pytest.approx(np.percentile(found, PERCENTS), rel=1e-3, abs=1e-3)


def test_lossy_files_are_refused(tmp_path):
    path = tmp_path / "clip.ogg"
    sf.write(path, read(samples()[0].path).samples, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    with pytest.raises(CorpusError, match="lossy codec"):
        measured(_Clip(str(path), "made", "1", "female", "neutral"))


def test_a_clip_is_measured_as_in_the_app_and_its_windows_lie_in_speech():
    sample = next(s for s in samples() if s.name == "neutral_woman")
    clip = measured(_Clip(str(sample.path), "made", "1", "female", "neutral"))
    level = next(v for v in clip.values if (v.cue, v.scope) == ("f0_median", CLIP)).value
    panel = praat_panel(read(sample.path).samples, SAMPLE_RATE, sex="female")
    assert level == pytest.approx(np.nanmedian(panel.tracks["f0_hz"]), rel=0.02)
    regions = {v.scope for v in clip.values} - {CLIP, "all regions"}
    assert {str(k + 1) for k in range(WINDOWS * (len(STRETCHES_S) - 1))} <= regions
    assert all("no speech" not in v.note for v in clip.values)


def test_at_most_ten_neutral_clips_of_an_adult(corpora):
    clips, sources = neutral_clips([corpora / "emodb", corpora / "emotale"])
    per_speaker = {}
    for clip in clips:
        assert clip.emotion == "neutral"
        assert clip.sex in ("female", "male")
        per_speaker[clip.speaker] = per_speaker.get(clip.speaker, 0) + 1
    assert max(per_speaker.values()) <= 10
    assert sum(s["clips"] for s in sources) == len(clips)
    assert next(s for s in sources if s["name"] == "emotale")["speakers"] < 18


def test_a_missing_folder_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    assert main(["--corpora", str(tmp_path / "nowhere"), "--out", str(tmp_path)]) == 2
    assert "nowhere" in capsys.readouterr().err
