from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import recall_score

from ser_core import noisestudy
from ser_core.audio import read
from ser_core.noise import white
from ser_core.noisestudy import CONDITIONS, LEVELS_DB, NOISES, STAGES, markdown, mixtures, noisy_clips, summary
from ser_core.results import by_variant
from ser_core.tasks import TASKS

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


def corpus(speakers: int = 4, clips: int = 24) -> pd.DataFrame:
    count = speakers * clips
    return pd.DataFrame(
        {
            "clip": [f"c{i}" for i in range(count)],
            "speaker": [f"s{i // clips}" for i in range(count)],
            "emotion": [EMOTIONS[i % 6] for i in range(count)],
            "fold": [i // clips for i in range(count)],
        }
    )


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Answers that are right less often with noise, and more often the later the stage."""
    random = np.random.default_rng(0)
    table, parts = corpus(), []
    tested = [("clean, all clips", np.nan), ("clean", np.nan), *((n, float(level)) for n, level in CONDITIONS)]
    for place, variant in enumerate(STAGES):
        for noise, level in tested:
            clips = table if noise == "clean, all clips" else noisy_clips(table)
            right = random.random(len(clips)) < (0.5 + 0.15 * place if np.isnan(level) else 0.2 + 0.02 * level)
            truth = np.array([EMOTIONS.index(e) for e in clips["emotion"]])
            given = np.where(right, truth, random.integers(0, 6, len(clips)))
            part = clips.assign(variant=variant, seed=0, noise=noise, snr_db=level)
            part[[f"p_{e}" for e in EMOTIONS]] = np.where(given[:, None] == np.arange(6), 0.75, 0.05)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def measured(rows) -> pd.DataFrame:
    return summary(rows, replicates=50)


def test_the_noisy_clips_are_fixed_and_balanced_and_more_of_them_hold_the_fewer() -> None:
    table = corpus()
    once, twice = noisy_clips(table), noisy_clips(table, 2)
    assert (once.groupby(["speaker", "emotion"]).size() == 1).all()
    assert (twice.groupby(["speaker", "emotion"]).size() == 2).all()
    assert set(once["clip"]) < set(twice["clip"])
    assert once.equals(noisy_clips(table))


def test_each_mixture_has_its_level_and_the_same_noise_at_every_level(tmp_path, monkeypatch) -> None:
    file = str(tmp_path / "clip.wav")
    soundfile.write(file, 0.1 * np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000), 16_000, subtype="FLOAT")
    monkeypatch.setattr(noisestudy, "speech_segments", lambda recording: ())
    mixed = mixtures(file, dict.fromkeys(NOISES, white))
    clean = np.array(read(file).samples)
    assert mixed.shape == (len(CONDITIONS), len(clean))
    added = mixed - clean
    for row, (_, level) in zip(added, CONDITIONS, strict=True):
        snr_db = 10 * np.log10(np.mean(clean**2) / np.mean(row**2))
        assert snr_db == pytest.approx(level, abs=0.05)
    first = added[: len(LEVELS_DB)]
    assert np.corrcoef(first).min() > 0.999
    assert abs(np.corrcoef(first[0], added[len(LEVELS_DB)])[0, 1]) < 0.05


def test_uar_of_a_condition_is_scikit_learns_and_its_change_is_from_the_plain_encoder(rows, measured) -> None:
    def uar(variant: str) -> float:
        part = rows[(rows["variant"] == variant) & (rows["noise"] == "babble") & (rows["snr_db"] == 5)]
        given = np.array(EMOTIONS)[part[[f"p_{e}" for e in EMOTIONS]].to_numpy().argmax(1)]
        return recall_score(part["emotion"], given, average="macro")

    chosen = (measured["variant"] == "EDRL") & (measured["noise"] == "babble") & (measured["snr_db"] == 5)
    assert measured.loc[chosen, "value"].item() == pytest.approx(uar("EDRL"))
    assert measured.loc[chosen, "change"].item() == pytest.approx(uar("EDRL") - uar("frozen encoder"))
    here = rows[(rows["noise"] == "babble") & (rows["snr_db"] == 5)]
    stages = by_variant(here, replicates=50, staged=True)
    last = stages[(stages["variant"] == "EDRL-MEA") & (stages["measure"] == "UAR")].iloc[0]
    assert last["step"] == pytest.approx(uar("EDRL-MEA") - uar("EDRL"))
    assert last["change"] == pytest.approx(uar("EDRL-MEA") - uar("frozen encoder"))
    clips = measured.groupby("noise")["clips"].unique()
    assert clips["clean, all clips"] == [96]
    assert clips["clean"] == clips["babble"] == [24]


def test_the_table_sets_every_stage_against_the_plain_encoder(measured) -> None:
    text = markdown(measured)
    assert text.splitlines()[0] == f"| tested on | {' | '.join(STAGES)} |"
    assert len(text.splitlines()) == 2 + 2 + len(CONDITIONS)
    assert "| babble, 0 dB |" in text and "| clean, all clips |" in text
    assert text.count(";") == (len(STAGES) - 1) * (2 + len(CONDITIONS))


def hiss(path: Path, seed: int, seconds: float = 0.4) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).normal(size=round(16_000 * seconds)), 16_000)
    return str(path)


def test_clips_in_the_noise_of_another_folder_are_encoded_anew(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SERSCOPE_CACHE", str(tmp_path / "cache"))
    heard = []
    monkeypatch.setattr(noisestudy, "_statistics", lambda mixed, encoder: heard.append(mixed) or mixed[:, :4])
    files = [hiss(tmp_path / f"s{speaker}.wav", speaker) for speaker in range(8)]
    table = pd.DataFrame({"clip": [f"c{i}" for i in range(8)], "file": files, "speaker": [f"s{i}" for i in range(8)]})
    table = table.assign(emotion="neutral", fold=0)
    street, cafe = tmp_path / "street", tmp_path / "cafe"
    hiss(street / "a.wav", 90)
    hiss(cafe / "b.wav", 91, 0.5)
    first = noisestudy.encoded(table, table[:2], street, "any")
    assert np.array_equal(noisestudy.encoded(table, table[:2], street, "any"), first) and len(heard) == 2
    other = noisestudy.encoded(table, table[:2], cafe, "any")
    assert len(heard) == 4 and not np.array_equal(other, first)


def test_a_corpus_that_is_named_later_is_answered_as_well(tmp_path, monkeypatch) -> None:
    tables = {}
    for place, name in enumerate(("crema_d", "ravdess")):
        rows = corpus().assign(corpus=name)
        tables[name] = rows.assign(fold=rows["fold"] % 3, file=hiss(tmp_path / f"{name}.wav", place, 0.5 + place))
    monkeypatch.setattr(noisestudy, "read_corpus", lambda folder, name=None: SimpleNamespace(name=folder.name, table=0))
    monkeypatch.setattr(noisestudy, "with_folds", lambda task, table: tables[task.name])
    monkeypatch.setitem(TASKS, "crema_d", TASKS["crema_d"].__class__("crema_d", "CREMA-D", EMOTIONS, 3))
    monkeypatch.setattr(noisestudy, "run_fold", lambda *given: None)
    monkeypatch.setattr(noisestudy, "prepared", lambda plan, files: [np.zeros((1, 1))] * len(files))
    monkeypatch.setattr(noisestudy, "encoded", lambda table, chosen, *_: np.zeros((len(chosen), len(CONDITIONS), 1)))
    for name in ("read_head", "up_to"):
        monkeypatch.setattr(noisestudy.edrl_mea, name, lambda *given: None)
    monkeypatch.setattr(noisestudy.edrl_mea, "logits", lambda network, values: np.zeros((len(values), 6)))
    monkeypatch.setattr(noisestudy, "summary", lambda rows: rows)
    monkeypatch.setattr(noisestudy, "markdown", lambda measured: "")
    monkeypatch.setattr(noisestudy, "RESULTS", tmp_path)
    hiss(tmp_path / "street" / "a.wav", 9)
    given = tmp_path / "crema_d", tmp_path / "street"
    assert "RAVDESS" not in noisestudy.run(*given, [], tmp_path / "runs")
    assert "RAVDESS" in noisestudy.run(*given, [tmp_path / "ravdess"], tmp_path / "runs")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")}
    assert len(kept) == 4  # fold 0 without and with the other corpus, folds 1 and 2
    noisestudy.run(*given, [tmp_path / "ravdess"], tmp_path / "runs")
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")}
