"""Robustness: changes of sound against their definitions, and the study on a made-up model and corpus."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from ser_core import robustness
from ser_core.audio import SAMPLE_RATE
from ser_core.degradations import KINDS, Voice, changed, clipped, coded, room, telephone, tilted
from ser_core.errors import SettingError
from ser_core.models import Card, InputAxes, SpeechModel
from ser_core.noise import babble, speech_shaped, white


def voice(seconds: float = 1.5, seed: int = 0) -> Voice:
    """Noise at every frequency that is louder in the middle, with half a second of near silence in front."""
    generator = np.random.default_rng(seed)
    samples = 0.1 * generator.normal(size=round(seconds * SAMPLE_RATE))
    active = np.arange(len(samples)) >= SAMPLE_RATE // 2
    samples[~active] *= 0.001
    others = [0.1 * np.random.default_rng(k).normal(size=SAMPLE_RATE) for k in range(1, 8)]
    noises = {"environment": white, "babble": babble(others), "speech-shaped": speech_shaped(others)}
    return Voice(f"clip {seed}", samples.astype(np.float32), active, noises)


def band_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    hz, power = welch(samples, SAMPLE_RATE, nperseg=1024)
    return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].mean()))


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.family == "noise"])
def test_noise_lies_at_its_level_under_the_speech(kind: str) -> None:
    clip = voice()
    drawn = []
    for level in KINDS[kind].levels:
        added = changed(clip, kind, level) - clip.samples
        speech = np.mean(clip.samples[clip.active].astype(float) ** 2)
        assert 10 * np.log10(speech / np.mean(added.astype(float) ** 2)) == pytest.approx(level, abs=0.05)
        drawn.append(added / np.linalg.norm(added))
    assert np.allclose(drawn[0], drawn[-1], atol=1e-4), "the same noise at every level"


def test_the_same_change_twice_is_the_same() -> None:
    for kind in KINDS.values():
        twice = [changed(voice(0.8), kind.name, kind.levels[-1]) for _ in range(2)]
        assert np.array_equal(*twice), kind.name
        assert twice[0].dtype == np.float32
        assert np.isfinite(twice[0]).all()


def test_a_telephone_passes_300_to_3400_hz_only() -> None:
    samples = voice().samples[SAMPLE_RATE // 2 :]
    line = telephone(samples, 128)
    assert band_db(line, 600, 3000) == pytest.approx(band_db(samples, 600, 3000), abs=0.5)
    assert band_db(line, 40, 150) < band_db(samples, 40, 150) - 20
    assert band_db(line, 4200, 8000) < band_db(samples, 4200, 8000) - 40


def mu_law(samples: np.ndarray) -> np.ndarray:
    """G.711 by its formula, continuous: 8 bits of the companded value."""
    companded = np.sign(samples) * np.log1p(255 * np.abs(samples)) / np.log(256)
    steps = np.round(companded * 127) / 127
    return np.sign(steps) * (256 ** np.abs(steps) - 1) / 255


def test_mu_law_errs_as_its_formula_does() -> None:
    samples = 0.2 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    error = np.sqrt(np.mean((coded(samples, 8000, "pcm_mulaw", 64) - samples) ** 2))
    assert error == pytest.approx(np.sqrt(np.mean((mu_law(samples) - samples) ** 2)), rel=0.15)


@pytest.mark.parametrize(("codec", "rate"), [("libopus", 16000), ("libmp3lame", 16000), ("libopencore_amrnb", 8000)])
def test_codecs_give_the_sound_back_in_time(codec: str, rate: int) -> None:
    times = np.arange(rate) / rate
    chirp = 0.3 * np.sin(2 * np.pi * (200 * times + 400 * times**2)) * np.hanning(rate)
    back = coded(chirp, rate, codec, 12.2 if rate == 8000 else 32)
    assert len(back) == len(chirp)
    lags = np.correlate(back, chirp, "full")
    assert abs(int(np.argmax(lags)) - (len(chirp) - 1)) <= 1
    assert np.corrcoef(back, chirp)[0, 1] > 0.9


@given(share=st.sampled_from((1.0, 5.0, 10.0, 25.0)), seed=st.integers(0, 20))
@settings(max_examples=15)
def test_clipping_cuts_that_share_of_samples_flat(share: float, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(size=4000)
    cut = clipped(samples, share)
    assert np.mean(np.abs(cut) >= np.abs(cut).max()) == pytest.approx(share / 100, abs=0.001)
    assert np.array_equal(cut[np.abs(cut) < np.abs(cut).max()], samples[np.abs(cut) < np.abs(cut).max()])


@pytest.mark.parametrize("rt60_s", [0.3, 0.6])
def test_a_room_decays_by_60_db_in_its_time(rt60_s: float) -> None:
    click = np.zeros(2 * SAMPLE_RATE)
    click[0] = 1.0
    response = room(click, rt60_s)
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    # Schroeder's backward integration between −5 and −35 dB of the reverberant part, as ISO 3382 does.
    decay = 10 * np.log10(energy[1:] / energy[1])
    first, last = int(np.argmax(decay < -5)), int(np.argmax(decay < -35))
    assert 2 * (last - first) / SAMPLE_RATE == pytest.approx(rt60_s, rel=0.1)
    direct, rest = response[0] ** 2, np.sum(response[1:] ** 2)
    assert direct == pytest.approx(rest, rel=0.02), "direct and reverberant energy are equal"


@pytest.mark.parametrize("slope", [-6.0, 3.0])
def test_a_tilt_changes_each_octave_by_its_slope(slope: float) -> None:
    samples = np.random.default_rng(0).normal(size=4 * SAMPLE_RATE)
    bent = tilted(samples, slope)
    gains = [band_db(bent, low, 1.1 * low) - band_db(samples, low, 1.1 * low) for low in (500, 1000, 2000, 4000)]
    assert np.diff(gains) == pytest.approx([slope] * 3, abs=0.4)
    assert np.mean(bent**2) == pytest.approx(np.mean(samples**2), rel=1e-6)


def test_a_trimmed_start_takes_speech_away() -> None:
    clip = voice()
    for level in KINDS["trimmed start"].levels:
        assert len(clip.samples) - len(changed(clip, "trimmed start", level)) == SAMPLE_RATE // 2 + 16 * level


def test_unknown_changes_are_refused_in_words() -> None:
    with pytest.raises(SettingError, match="no change called 'smell'"):
        changed(voice(), "smell", 1)
    bare = Voice("a", voice().samples, voice().active, {})
    with pytest.raises(SettingError, match="no noise for 'babble'"):
        changed(bare, "babble", 0)


class Loudness(SpeechModel):
    """Answers "loud" or "quiet" by the level alone, so that only changes of level change it."""

    axes = InputAxes("waveform", step_s=1 / SAMPLE_RATE)

    def __init__(self, name: str) -> None:
        super().__init__()
        words = ("summary", ("loud", "quiet"), "none", ("Made up",), (), "", (), "", (), 0.0)
        self.card = Card(name, name, "made_up", *words)
        self.network = torch.nn.Identity()
        self.asked = 0

    def inputs(self, samples: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        level = samples.square().mean(-1).log10() * 10 + 34
        return torch.stack([level, -level], dim=-1)

    def baseline(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(inputs)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Loudness, pd.DataFrame, Path]:
    model = Loudness("loudness")
    rows = []
    for speaker in range(8):
        for emotion, gain in (("loud", 1.0), ("quiet", 0.1), ("neutral", 0.5)):
            path = tmp_path / f"{speaker}-{emotion}.flac"
            import soundfile as sf

            sf.write(path, gain * voice(0.8, seed=speaker).samples, SAMPLE_RATE)
            rows.append({"clip": path.stem, "file": str(path), "speaker": f"s{speaker}", "emotion": emotion})
    table = pd.DataFrame(rows).assign(corpus="made_up", fold=0)
    monkeypatch.setattr(robustness, "run_of", lambda model: "1")
    few = {name: KINDS[name] for name in ("white", "gain", "later")}
    monkeypatch.setattr(robustness, "KINDS", few)
    return model, table, tmp_path / "store"


def test_a_model_of_loudness_minds_gain_and_nothing_else(study: tuple[Loudness, pd.DataFrame, Path]) -> None:
    model, table, store = study
    chosen = table[table["emotion"] != "neutral"].iloc[:12]
    robustness.ask_all([model], table, chosen, white, store)
    rows = pd.concat([pd.read_parquet(store / "loudness-1" / f"{clip}.parquet") for clip in chosen["clip"]])
    tables = store / "tables"
    tables.mkdir()
    robustness._write(rows.assign(model="loudness", run="1"), tables / "loudness.made_up.parquet")
    found = robustness.summary(tables, replicates=200).set_index(["kind", "level"])
    clean = found.loc["clean"].iloc[0]
    assert (clean["uar"], clean["flips"], clean["shift"]) == (1.0, 0.0, 0.0)
    assert found.loc[("gain", -30.0), "uar"] == 0.5
    assert found.loc[("gain", -30.0), "drop"] == -0.5
    assert found.loc[("gain", -30.0), "flips"] == 0.5
    assert found.loc[("later", 5.0), "flips"] == 0.0
    assert found.loc[("white", 20.0), "flips"] == 0.0
    assert found.loc[("white", 20.0), "speakers"] == 6


def test_a_run_that_was_killed_goes_on_where_it_stopped(study: tuple[Loudness, pd.DataFrame, Path]) -> None:
    model, table, store = study
    chosen = table.iloc[:4]
    robustness.ask_all([model], table, chosen, white, store)
    files = {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")}
    assert len(files) == 5
    gone = store / "loudness-1" / f"{chosen['clip'].iloc[2]}.parquet"
    before = gone.read_bytes()
    gone.unlink()
    model.asked = 0
    robustness.ask_all([model], table, chosen, white, store)
    assert model.asked == 1 + sum(len(kind.levels) for kind in robustness.KINDS.values())
    assert gone.read_bytes() == before
    assert all(path.stat().st_mtime_ns == when for path, when in files.items() if path != gone)


def test_noise_of_another_folder_is_asked_about_anew(
    study: tuple[Loudness, pd.DataFrame, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    model, table, _ = study
    task, made = SimpleNamespace(title="Made up"), SimpleNamespace(name="made_up", title="Made up", table=table)
    monkeypatch.setattr(robustness, "TASKS", {"made_up": task})
    monkeypatch.setattr(robustness, "read_corpus", lambda folder: made)
    monkeypatch.setattr(robustness, "with_folds", lambda task, table: table)
    monkeypatch.setattr(robustness, "cards", lambda: [model.card])
    monkeypatch.setattr(robustness, "load_model", lambda name: model)
    monkeypatch.setattr(robustness, "TABLES", tmp_path / "tables")
    monkeypatch.setattr(robustness, "SUMMARY", tmp_path / "summary.csv")
    monkeypatch.setattr(robustness, "summary", lambda: pd.DataFrame({"model": ["loudness"]}))
    for seed, name in enumerate(("street", "cafe")):
        (tmp_path / name).mkdir()
        noise = 0.1 * np.random.default_rng(seed).normal(size=8000 * (1 + seed))
        soundfile.write(tmp_path / name / "a.wav", noise, SAMPLE_RATE)
    asked = []
    for name in ("street", "street", "cafe"):
        model.asked = 0
        robustness.run([tmp_path], tmp_path / name, tmp_path / "runs")
        asked.append(model.asked)
    assert asked[0] > 0 and asked[1] == 0 and asked[2] == asked[0]
