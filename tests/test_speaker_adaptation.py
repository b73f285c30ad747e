"""A model's answer moved to a speaker's own zero, on made-up speakers whose zero is known and in the bundled model."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explain.attribution import attribute, default_target, methods_for
from explain.baseline import own_answer
from explain.samples import samples
from ser_core import crossvalidation
from ser_core import speaker_adaptation_study as study
from ser_core.audio import read
from ser_core.bundled import PLANS
from ser_core.cards import CLASS_MEANS, weight_files
from ser_core.errors import ModelError, SettingError
from ser_core.registry import load_model, model_folders
from ser_core.robustness import TABLES, run_of
from ser_core.speaker_adaptation import (
    PASSES,
    PRIOR_CLIPS,
    adaptable,
    adapted,
    class_means,
    load_class_means,
    save_class_means,
    zero_of,
)
from ser_core.speaker_adaptation_study import ALONE, CONDITIONS, Given, drawn
from ser_core.systems.whisper_statistics import Heads

MODEL = "whisper-tiny-statistics"
MEANS = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]])


def nearest(points: torch.Tensor) -> torch.Tensor:
    """Logits by the distance to ``MEANS``: a model that takes a speaker's voice for emotion."""
    return -4 * torch.cdist(points, MEANS)


def spoken(moods: list[int], zero: tuple[float, float], noise: float = 0.2, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return MEANS[moods] + torch.tensor(zero) + noise * torch.randn(len(moods), 2, generator=random)


def test_the_zero_is_that_of_the_formula() -> None:
    heard = spoken([0, 1, 2, 2], (0.5, -0.4))
    zero = np.zeros(2)
    for _ in range(PASSES):
        left = []
        for clip in heard.numpy():
            distances = -4 * np.sqrt(((clip - zero - MEANS.numpy()) ** 2).sum(1))
            shares = np.exp(distances) / np.exp(distances).sum()
            left.append(clip - shares @ MEANS.numpy())
        zero = np.sum(left, axis=0) / (len(left) + PRIOR_CLIPS)
    assert zero_of(heard, nearest, MEANS).numpy() == pytest.approx(zero, abs=1e-4)


def test_a_speakers_zero_is_found_whatever_the_mood_of_the_clips() -> None:
    true = (0.8, -0.6)
    for moods in ([0, 1, 2] * 7, [2] * 20, [0] * 15 + [1] * 5):
        found = zero_of(spoken(moods, true), nearest, MEANS).numpy()
        assert found == pytest.approx(np.array(true) * len(moods) / (len(moods) + PRIOR_CLIPS), abs=0.15), moods


def test_a_usual_voice_in_one_mood_keeps_its_zero() -> None:
    sad = spoken([2] * 20, (0.0, 0.0))
    assert zero_of(sad, nearest, MEANS).norm() < 0.15
    # A plain mean would take the mood for the voice.
    assert sad.mean(0).norm() > 2.5


def test_clips_that_were_answered_wrongly_alone_are_answered_rightly_beside_others() -> None:
    moods = [0, 1, 2] * 7
    # So far aside that the first mood is mostly taken for the last.
    heard = spoken(moods, (-1.8, 1.8), noise=0.3)
    alone = (nearest(heard).argmax(1) == torch.tensor(moods)).float().mean()
    beside = (nearest(heard - zero_of(heard, nearest, MEANS)).argmax(1) == torch.tensor(moods)).float().mean()
    assert alone < 0.9 and beside > 0.95


def test_many_speakers_at_once_are_as_one_by_one() -> None:
    several = torch.stack([spoken([0, 1, 2], (0.5, 0.1), seed=1), spoken([2, 2, 1], (-0.3, 0.4), seed=2)])
    together = zero_of(several, nearest, MEANS)
    assert torch.allclose(together, torch.stack([zero_of(each, nearest, MEANS) for each in several]), atol=1e-5)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.randoms())
def test_the_order_of_the_clips_does_not_matter(moods: list[int], random) -> None:
    heard = spoken(moods, (0.4, 0.4))
    order = list(range(len(moods)))
    random.shuffle(order)
    assert torch.allclose(zero_of(heard, nearest, MEANS), zero_of(heard[order], nearest, MEANS), atol=1e-5)


def test_class_means_are_kept_in_the_folder(tmp_path) -> None:
    embeddings = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    means = class_means(embeddings, np.array([0, 0, 1]), 2)
    assert means.tolist() == [[2.0, 3.0], [5.0, 6.0]]
    assert load_class_means(tmp_path, 2) is None
    save_class_means(means, tmp_path)
    assert load_class_means(tmp_path, 2).tolist() == means.tolist()
    with pytest.raises(ModelError, match="means of 2 classes, the model 6"):
        load_class_means(tmp_path, 6)
    with pytest.raises(ModelError, match="Class 2 has no training clip"):
        class_means(embeddings, np.array([0, 0, 1]), 3)


@pytest.fixture(scope="module")
def clips():
    return [read(sample.path) for sample in samples()[:4]]


def test_the_bundled_model_answers_beside_other_clips_and_is_explained_like_any(clips) -> None:
    model = load_model(MODEL)
    assert adaptable(model) and not adaptable(load_model("egemaps-logistic"))
    told = []
    moved = adapted(model, clips, lambda share, words: told.append((share, words)))
    assert [words for _, words in told] == [f"Hearing clip {k} of 4" for k in (1, 2, 3, 4)]
    assert "adapted to 4 clips" in moved.card.title

    # By hand: what the classifier sees, less the zero.
    with torch.inference_mode():
        seen = [model.answer(model.inputs(torch.from_numpy(np.array(c.samples))[None]))[1] for c in clips]
        zero = zero_of(torch.cat(seen), model.network.classify, torch.from_numpy(model.class_means))
        logits = model.network.classify(seen[0] - zero)[0]
    prediction = moved.predict(clips[0])
    assert prediction.probabilities == pytest.approx(logits.softmax(-1).numpy(), abs=1e-5)
    assert np.abs(prediction.probabilities - model.predict(clips[0]).probabilities).max() > 1e-3

    names = [method.name for method in methods_for(moved)]
    assert names == [method.name for method in methods_for(model)]
    for name in ("saliency", "grad_cam"):
        found = attribute(moved, clips[0], default_target(prediction), name)
        assert np.isfinite(found.relevance).all() and np.abs(found.relevance).max() > 0


def test_a_model_without_class_means_and_no_clips_are_said(clips) -> None:
    with pytest.raises(ModelError, match="cannot be adapted"):
        adapted(load_model("egemaps-logistic"), clips)
    with pytest.raises(ModelError, match="without any"):
        adapted(load_model(MODEL), [])
    assert own_answer(load_model("egemaps-logistic"), clips[0], clips[1:]) is None


def test_the_clip_itself_counts_once(clips) -> None:
    model = load_model(MODEL)
    once = own_answer(model, clips[0], clips[1:])
    twice = own_answer(model, clips[0], [*clips, clips[1]])
    assert once.probabilities.tolist() == pytest.approx(twice.probabilities.tolist(), abs=1e-6)


EMOTIONS = PLANS[MODEL].labels


def corpus(speakers: int = 6, each: int = 4) -> pd.DataFrame:
    rows = [
        {"clip": f"{s}-{e}-{k}", "file": f"{s}-{e}-{k}", "speaker": f"s{s}", "emotion": e, "fold": s % 2}
        for s in range(speakers)
        for e in EMOTIONS
        for k in range(each)
    ]
    return pd.DataFrame(rows)


def test_other_clips_are_of_the_same_speaker_and_mood_and_never_the_clip_itself() -> None:
    table = corpus()
    for wanted in CONDITIONS:
        places = drawn(table, wanted)
        assert [each[-1] for each in places] == list(range(len(table)))
        for place, found in enumerate(places):
            others = table.iloc[found[:-1]]
            assert place not in found[:-1] and len(set(found)) == len(found)
            assert set(others["speaker"]) == {table["speaker"][place]}
            if wanted.mood == "neutral":
                assert set(others["emotion"]) == {"neutral"}
                assert len(others) == min(wanted.clips, 4 - (table["emotion"][place] == "neutral"))
            else:
                assert len(others) == min(wanted.clips, 23)
        assert all((a == b).all() for a, b in zip(places, drawn(table, wanted), strict=True))
    uneven = drawn(table, Given(5, "uneven"))
    most = [table["emotion"].iloc[found[:-1]].value_counts().iloc[0] for found in uneven]
    even = [table["emotion"].iloc[found[:-1]].value_counts().iloc[0] for found in drawn(table, Given(5, "any"))]
    assert np.mean(most) > np.mean(even) + 0.5


def test_the_study_finds_what_a_planted_voice_hides(tmp_path, monkeypatch, capsys) -> None:
    table, random = corpus(speakers=8), np.random.default_rng(0)
    voices = {speaker: 1.6 * random.standard_normal(6) for speaker in set(table["speaker"])}
    clean = 3 * np.eye(6)[table["emotion"].map(EMOTIONS.index)] + 0.3 * random.standard_normal((len(table), 6))
    heard = clean + np.stack([voices[speaker] for speaker in table["speaker"]])
    heads = Heads(6, 6, hidden=0).eval()
    heads.fit_scale(torch.from_numpy(clean.astype(np.float32)))
    with torch.no_grad():
        linear = list(heads.heads[0].children())[-1]
        linear.weight.copy_(3 * torch.eye(6))
        linear.bias.zero_()

    class Trained:
        network = type("Network", (), {"heads": heads})

    task = dataclasses.replace(PLANS[MODEL].its_task, folds=2)
    monkeypatch.setattr(study, "PLANS", {MODEL: dataclasses.replace(PLANS[MODEL], on=task)})
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(study, "read_corpus", lambda folder: type("Corpus", (), {"table": table, "name": "crema_d"}))
    monkeypatch.setattr(study, "with_folds", lambda task, rows: rows)
    monkeypatch.setattr(study, "run_fold", lambda *_: None)
    monkeypatch.setattr(study, "model_of_fold", lambda *_: Trained)
    monkeypatch.setattr(study, "fold_parts", lambda rows, fold: (rows["fold"] != fold, rows["fold"] == fold))
    monkeypatch.setattr(study, "prepared", lambda *_: [row[:, None].astype(np.float32) for row in heard])
    text = study.run(tmp_path, tmp_path / "runs", [MODEL])
    assert "Whisper tiny.en" in text
    stored = pd.read_parquet(tmp_path / "results" / f"speaker-adaptation-{MODEL}.crema_d.parquet")
    # Nobody has 40 clips here, or five more that are neutral.
    told = [each.words for each in CONDITIONS if each.clips <= 20 and each.mood != "neutral"]
    assert list(dict.fromkeys(stored["variant"])) == [ALONE, *told]
    answered = stored[[f"p_{e}" for e in EMOTIONS]].to_numpy().argmax(1)
    right = (answered == stored["emotion"].map(EMOTIONS.index)).groupby(stored["variant"]).mean()
    assert right[Given(20, "any").words] > right[ALONE] + 0.1
    # A second run takes over what is finished.
    monkeypatch.setattr(study, "_of_fold", lambda *_: pytest.fail("was answered already"))
    assert study.run(tmp_path, tmp_path / "runs", [MODEL]) == text
    capsys.readouterr()


def test_a_readers_own_corpus_is_trained_on_where_train_keeps_it_and_anew_when_its_labels_change(
    tmp_path, monkeypatch
) -> None:
    places = []

    def stopped(plan, table, fold, folder) -> None:
        places.append((folder, crossvalidation.run_folder(plan, table, tmp_path / "runs" / plan.name)))
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_fold", stopped)
    (tmp_path / "mine").mkdir()
    for emotions in (("fear", "joy"), ("joy", "fear")):
        lines = ["file,speaker,emotion"]
        for speaker in "abc":
            for emotion in emotions:
                name = f"{speaker}{len(lines)}.wav"
                (tmp_path / "mine" / name).write_bytes(b"sound")
                lines.append(f"{name},{speaker},{emotion}")
        (tmp_path / "mine" / "labels.csv").write_text("\n".join(lines))
        with pytest.raises(KeyboardInterrupt):
            study.run(tmp_path / "mine", tmp_path / "runs", [MODEL])
    assert all(folder == known for folder, known in places) and places[0] != places[1]


def test_a_model_that_cannot_be_adapted_is_refused(tmp_path) -> None:
    for name in ("egemaps-logistic", "nobody"):
        with pytest.raises(SettingError, match=f"'{name}' cannot be adapted"):
            study.run(tmp_path, tmp_path, [name])


def test_class_means_do_not_make_stored_answers_those_of_another_model(tmp_path) -> None:
    folder = model_folders()[MODEL]
    assert (folder / CLASS_MEANS).is_file() and CLASS_MEANS not in {path.name for path in weight_files(folder)}
    stored = pd.read_parquet(TABLES / f"{MODEL}.crema_d.parquet", columns=["run"])["run"].unique().tolist()
    assert stored == [run_of(load_model(MODEL))]
