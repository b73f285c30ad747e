from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from ser_core import results, studies
from ser_core.bundled import PLANS, Plan
from ser_core.errors import CorpusError, SettingError
from ser_core.results import by_variant, kind_of, labels_of, paired_change
from ser_core.studies import Study, run_study
from ser_core.training import Recipe

LABELS = ("anger", "neutral", "sadness")


def predictions(seed: int, *, right: float, speakers: int = 8, clips: int = 12, **columns: object) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    count = speakers * clips
    truth = np.tile(np.arange(3), count // 3)
    answers = np.where(random.random(count) < right, truth, random.integers(0, 3, count))
    rows = pd.DataFrame({"clip": [f"c{i}" for i in range(count)], "speaker": [f"s{i // clips}" for i in range(count)]})
    rows["emotion"] = [LABELS[i] for i in truth]
    rows["fold"] = 0
    rows[[f"p_{label}" for label in LABELS]] = np.where(answers[:, None] == np.arange(3), 0.8, 0.1)
    return rows.assign(**columns)


def test_a_variants_uar_is_scikit_learns() -> None:
    rows = predictions(0, right=0.6, variant="plain").assign(seed=0)
    row = by_variant(rows, replicates=100).set_index("measure").loc["UAR"]
    answers = rows[[f"p_{label}" for label in LABELS]].to_numpy().argmax(1)
    assert row["value"] == pytest.approx(balanced_accuracy_score(rows["emotion"], np.array(LABELS)[answers]))
    assert row["low"] < row["value"] < row["high"]
    assert row["baseline"] == pytest.approx(1 / 3)


def test_a_change_is_paired_by_speaker() -> None:
    before = predictions(1, right=0.4)
    same = paired_change(before, before, replicates=200)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    after = predictions(2, right=0.9)
    change = paired_change(before, after, replicates=2000)
    assert change.low > 0
    brute = []
    random = np.random.default_rng(3)
    for _ in range(300):
        drawn = random.choice(sorted(set(before.speaker)), 8)
        pair = [pd.concat([part[part.speaker == s] for s in drawn]) for part in (before, after)]
        scores = [
            balanced_accuracy_score(
                part.emotion, np.array(LABELS)[part[[f"p_{label}" for label in LABELS]].to_numpy().argmax(1)]
            )
            for part in pair
        ]
        brute.append(scores[1] - scores[0])
    assert np.percentile(brute, [2.5, 97.5]) == pytest.approx([change.low, change.high], abs=0.03)


def test_a_change_between_different_speakers_is_refused() -> None:
    before = predictions(1, right=0.4)
    with pytest.raises(CorpusError, match="same speakers"):
        paired_change(before, before[before.speaker != "s0"])


def test_the_kind_of_answer_follows_from_the_columns() -> None:
    classes = predictions(0, right=0.5)
    assert (kind_of(classes), labels_of(classes)) == ("emotion", LABELS)
    assert kind_of(classes.assign(t_anger=0.2)) == "distribution"
    dimensions = pd.DataFrame({"t_valence": [0.1], "d_valence": [0.3]})
    assert (kind_of(dimensions), labels_of(dimensions)) == ("dimensions", ("valence",))


def test_every_shipped_models_figures_follow_from_its_stored_predictions() -> None:
    for card in results.bundled_cards():
        stored = sorted(results.RESULTS.glob(f"{card.name}.*.parquet"))
        assert stored, f"{card.name} ships without the predictions its figures come from"
        rows = pd.read_parquet(stored[0])
        fresh = results.figures(rows, card.answer, card.emotions, replicates=1)
        for figure in card.figures:
            assert figure.value == pytest.approx(fresh[figure.measure].value, abs=1e-9), (card.name, figure.measure)


def test_a_study_that_was_stopped_runs_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(plan: Plan, table: pd.DataFrame, fold: int, folder: Path, *, ship: bool) -> pd.DataFrame:
        store = folder / f"fold-{fold}.parquet"
        if not store.exists():
            asked.append((folder.parent.name, plan.recipe.seed, fold))
            folder.mkdir(parents=True, exist_ok=True)
            predictions(plan.recipe.seed, right=0.5).to_parquet(store)
        return pd.read_parquet(store)

    monkeypatch.setattr(studies, "run_fold", counted)
    monkeypatch.setattr(studies, "with_folds", lambda task, table: table)
    monkeypatch.setattr(studies, "ASSETS", tmp_path)
    (tmp_path / "results").mkdir()
    plan = Plan("p", "P", "s", "whisper-tiny.en", "", 0, (), recipe=Recipe(epochs=1))
    study = Study("toy", "Toy", "Is there a gain?", "crema_d", {"plain": plan, "more": plan}, seeds=(0, 1))
    run_study(study, pd.DataFrame(), tmp_path / "runs", folds=[0])
    found = run_study(study, pd.DataFrame(), tmp_path / "runs", folds=[0, 1])
    assert len(asked) == len(set(asked)) == 8
    assert found.groupby(["variant", "seed"]).size().tolist() == [192] * 4
    assert (tmp_path / "results" / "toy.crema_d.parquet").exists()


def test_a_study_of_one_fold_leaves_what_is_stored_of_the_others(tmp_path: Path, monkeypatch) -> None:
    seeds = []

    def of_fold(plan: Plan, table: pd.DataFrame, fold: int, folder: Path, *, ship: bool) -> pd.DataFrame:
        rows = predictions(len(seeds), right=0.5)
        seeds.append(fold)
        return rows.assign(fold=fold, clip=f"{fold}-" + rows["clip"])

    monkeypatch.setattr(studies, "run_fold", of_fold)
    monkeypatch.setattr(studies, "with_folds", lambda task, table: table)
    monkeypatch.setattr(studies, "ASSETS", tmp_path)
    (tmp_path / "results").mkdir()
    plan = Plan("p", "P", "s", "whisper-tiny.en", "", 0, (), recipe=Recipe(epochs=1))
    study = Study("toy", "Toy", "Is there a gain?", "crema_d", {"plain": plan, "more": plan}, seeds=(0,))
    whole = run_study(study, pd.DataFrame(), tmp_path / "runs")
    run_study(study, pd.DataFrame(), tmp_path / "runs", folds=[3])
    stored = pd.read_parquet(tmp_path / "results" / "toy.crema_d.parquet")
    assert stored.groupby(["variant", "fold"]).size().to_dict() == whole.groupby(["variant", "fold"]).size().to_dict()
    keys = ["variant", "fold", "clip"]
    before, after = (rows.sort_values(keys, ignore_index=True) for rows in (whole, stored))
    pd.testing.assert_frame_equal(before[before["fold"] != 3], after[after["fold"] != 3])
    assert not before[before["fold"] == 3].equals(after[after["fold"] == 3])
    with pytest.raises(SettingError, match="CREMA-D has the folds 0 to 4, and no fold 5"):
        run_study(study, pd.DataFrame(), tmp_path / "runs", folds=[0, 5])
    assert len(seeds) == 12


def test_every_plan_names_a_system_and_a_task_that_exist() -> None:
    import importlib.util

    from ser_core.tasks import TASKS

    for plan in PLANS.values():
        assert plan.task in TASKS
        assert importlib.util.find_spec(f"ser_core.systems.{plan.system}"), plan.name


@pytest.mark.parametrize(("answer", "measure"), [("dimensions", "CCC valence"), ("distribution", "KL")])
def test_the_change_of_values_and_of_shares_is_that_of_resampled_speakers(answer: str, measure: str) -> None:
    generator = np.random.default_rng(3)
    speakers = np.repeat([f"s{i}" for i in range(12)], 20)
    base = pd.DataFrame({"clip": np.arange(240).astype(str), "speaker": speakers, "emotion": "x", "fold": 0})
    truth, noise = generator.uniform(0.1, 0.9, 240), generator.normal(0, 0.15, (2, 240))
    tables = []
    for place, scale in enumerate((2.0, 1.0)):
        given = np.clip(truth + scale * noise[place], 0.01, 0.99)
        if answer == "dimensions":
            tables.append(base.assign(d_valence=given, t_valence=truth))
        else:
            tables.append(base.assign(p_a=given, p_b=1 - given, t_a=truth, t_b=1 - truth))

    def by_hand(rows: pd.DataFrame) -> float:
        if answer == "dimensions":
            x, y = rows["t_valence"].to_numpy(), rows["d_valence"].to_numpy()
            return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
        t, p = rows[["t_a", "t_b"]].to_numpy(), rows[["p_a", "p_b"]].to_numpy()
        return float((t * np.log(t / p)).sum(1).mean())

    found = results.paired_change(tables[0], tables[1], measure, replicates=2000)
    assert found.value == pytest.approx(by_hand(tables[1]) - by_hand(tables[0]))
    drawn = []
    for _ in range(500):
        picked = np.concatenate([np.flatnonzero(speakers == f"s{i}") for i in generator.integers(0, 12, 12)])
        drawn.append(by_hand(tables[1].iloc[picked]) - by_hand(tables[0].iloc[picked]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.25 * (high - low))
