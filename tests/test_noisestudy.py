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
