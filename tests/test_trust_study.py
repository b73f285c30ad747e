"""The study of trust tests: planted evidence passes, by more than a destroyed model's map; shares are counted."""

import copy
import dataclasses
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import ser_core.registry
from explain import attribution, method_choice, trust_study, trust_study_command
from explain.attribution import Target, attribute
from explain.method_choice import ALL, DESTROYED, OWN, candidates, default_method, default_sentence
from explain.study_clips import Clip, in_turn
from explain.trust import QUICK, trust
from explain.trust_study import summary
from ser_core.errors import AudioError
from ser_core.models import SpeechModel
from ser_core.speech import Segment
from tests.planted import BandsModel, burst_model, clip, recording


def studied(
    model: SpeechModel, kinds: tuple[str, ...], clips: int, controls: int, monkeypatch: pytest.MonkeyPatch
) -> pd.DataFrame:
    """The study's rows of made-up clips of these kinds in turn, of four speakers, by Integrated Gradients."""
    rng = np.random.default_rng(5)
    sounds = {str(n): recording(clip(rng, kinds[n % len(kinds)])[0]) for n in range(clips)}
    monkeypatch.setattr(trust_study, "_heard", lambda file: (sounds[file], (Segment(0.0, 1.2),)))
    rows: list[dict] = []
    for n, name in enumerate(sounds):
        one = Clip(name, "toy", f"s{n % 4}", "female", "low")
        rows += trust_study.clip_rows(one, n, model, "integrated_gradients", controls=controls)
    return pd.DataFrame(rows)


def test_maps_of_planted_evidence_pass_and_by_more_than_those_of_the_destroyed_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = studied(burst_model(), ("low", "high"), 12, 10, monkeypatch)
    assert set(table[table["map"] == OWN]["test"]) == {"deletion", "insertion", "randomised weights"}
    assert table[table["map"] == DESTROYED]["clip"].nunique() <= 10
    decided = table[table["verdict"] != "cannot be decided"]
    assert np.isfinite(decided[["value", "threshold"]].to_numpy()).all()
    assert (decided["p"].isna() == (decided["test"] == "randomised weights")).all()  # it asks for no more than chance
    shares = summary(table, replicates=200)
    assert whole(shares, OWN)["holds"] >= 0.9
    # The destroyed model's map still sees where the clip is loud, so it does not fail; but it clears its null by less.
    beyond = (decided["value"] - decided["threshold"]).groupby([decided["map"], decided["test"]]).mean()
    for test in ("deletion", "insertion"):
        assert beyond[DESTROYED, test] < 0.8 * beyond[OWN, test]


def test_named_features_are_studied_by_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    table = studied(BandsModel(), ("low",), 4, 2, monkeypatch)
    own = table[table["map"] == OWN]
    assert len(own) == 3 * 4 and (own["verdict"] == "holds").all() and (own["regions"] == 3).all()
    # Of eighty features the shuffled weights read three others: what they name is nothing to the model.
    assert not (table[table["map"] == DESTROYED]["verdict"] == "holds").any()


def whole(shares: pd.DataFrame, of: str = OWN, test: str = ALL) -> dict[Hashable, Any]:
    (row,) = shares[(shares["map"] == of) & (shares["test"] == test)].to_dict("records")
    return row


def rows(method: str, verdicts: list[tuple[str, str, str]], model: str = "m") -> pd.DataFrame:
    made = [
        {
            "model": model,
            "method": method,
            "map": OWN,
            "corpus": "toy",
            "clip": f"c{n}",
            "speaker": f"s{n % 5}",
            "test": test,
            "verdict": verdict,
            "seconds": 2.0,
        }
        for n, three in enumerate(verdicts)
        for test, verdict in zip(("deletion", "insertion", "randomised weights"), three, strict=True)
    ]
    return pd.DataFrame(made)


GOOD, HALF, NONE = ("holds",) * 3, ("holds", "weak", "holds"), ("cannot be decided", "fails", "holds")


def test_a_clip_passes_only_where_every_test_holds() -> None:
    shares = summary(rows("ig", [GOOD] * 6 + [HALF] * 3 + [NONE]), replicates=100)
    every = whole(shares)
    assert [every[name] for name in ("holds", "weak", "fails", "undecided")] == [0.6, 0.3, 0.0, 0.1]
    assert whole(shares, test="deletion")["holds"] == pytest.approx(0.9)
    inserted = whole(shares, test="insertion")
    assert [inserted[name] for name in ("holds", "weak", "fails")] == pytest.approx([0.6, 0.3, 0.1])
    assert (every["clips"], every["speakers"]) == (10, 5)
    assert every["low"] <= 0.6 <= every["high"]


def test_the_interval_is_that_of_speakers_not_of_clips() -> None:
    """Speakers who always or never pass give the interval of five coins, however many clips they speak."""
    verdicts = [GOOD if n % 5 < 2 else NONE for n in range(500)]
    share = whole(summary(rows("ig", verdicts), replicates=4000))
    assert share["holds"] == pytest.approx(0.4)
    assert (share["low"], share["high"]) == (0.0, pytest.approx(0.8))


def test_the_default_is_the_method_that_passed_most_and_only_near_ones_are_its_rivals() -> None:
    table = pd.concat(
        [
            rows("occlusion", ([GOOD] * 4 + [NONE]) * 20),
            rows("saliency", [GOOD] * 5 + [NONE] * 95),
            rows("integrated_gradients", ([GOOD] * 9 + [NONE] * 3) * 8),
            rows("saliency", [GOOD] * 60, model="other"),
            rows("occlusion", [GOOD] * 59, model="other"),
        ]
    )
    shares = summary(table, replicates=500)
    assert default_method("m", "saliency", shares) == "occlusion"
    assert "saliency" not in candidates(shares, "m")
    assert default_method("unmeasured", "saliency", shares) is None
    assert default_sentence("unmeasured", "saliency", shares) == ""
    # A method does not take the place of one that was not tested.
    assert default_method("m", "grad_cam", shares) is None and default_sentence("m", "grad_cam", shares) == ""
    said = default_sentence("m", "saliency", shares)
    assert "Offered first: Occlusion, whose maps passed" in said and "80 %" in said and "of 100 held-out clips" in said
    assert said.endswith("Integrated Gradients (75 % of 96).")
    assert "no other method was tested" in default_sentence("other", "saliency", shares)


def test_a_tie_keeps_the_usual_method_and_maps_that_seldom_pass_are_called_hints() -> None:
    seldom = [GOOD] * 6 + [NONE] * 94
    of_destroyed = rows("integrated_gradients", [GOOD] * 2 + [NONE] * 98).assign(map=DESTROYED)
    table = pd.concat([rows("gradient_shap", seldom), rows("integrated_gradients", seldom), of_destroyed])
    shares = summary(table, replicates=200)
    for usual in ("gradient_shap", "integrated_gradients"):
        assert default_method("m", usual, shares) == usual
    said = default_sentence("m", "integrated_gradients", shares)
    assert "6 % [" in said and "as many as the next" in said
    # What is destroyed already is not put to the test of randomised weights.
    assert "shuffled weights, 2 % passed the two that apply to them, deletion and insertion)" in said
    assert said.endswith("Most maps do not pass: take one as a hint, and look at its own tests.")


def test_a_clip_more_of_hundreds_puts_no_method_before_the_usual_one() -> None:
    usual = rows("integrated_gradients", ([GOOD] + [NONE] * 24) * 20)
    for good, taken in ((21, False), (26, True)):
        shares = summary(pd.concat([usual, rows("occlusion", [GOOD] * good + [NONE] * (500 - good))]), replicates=200)
        assert default_method("m", "integrated_gradients", shares) == ("occlusion" if taken else "integrated_gradients")
        said = default_sentence("m", "integrated_gradients", shares)
        assert ("as many as the next of 2 methods tested, Occlusion (4 % of 500)" in said) != taken


def test_maps_of_which_next_to_none_pass_are_not_said_to_be_none() -> None:
    shares = summary(rows("occlusion", [GOOD] * 2 + [NONE] * 498), replicates=200)
    assert "in under 1 % [" in default_sentence("m", "occlusion", shares)


def test_a_method_of_fewer_clips_takes_the_place_only_where_it_is_clearly_better() -> None:
    usual = rows("integrated_gradients", ([GOOD] + [NONE] * 17) * 28)
    for good, taken in ((7, False), (40, True)):
        table = pd.concat([usual, rows("occlusion", [GOOD] * good + [NONE] * (100 - good))])
        shares = summary(table, replicates=500)
        first = "occlusion" if taken else "integrated_gradients"
        assert default_method("m", "integrated_gradients", shares) == first
        said = default_sentence("m", "integrated_gradients", shares)
        assert ("Occlusion passed in 7 % [" in said and "of 100, too few to tell." in said) != taken
    # One clip that was left out makes nothing fewer.
    table = pd.concat([rows("saliency", [NONE] * 100), rows("occlusion", [GOOD] * 9 + [NONE] * 90)])
    assert default_method("m", "saliency", summary(table, replicates=200)) == "occlusion"


def test_a_killed_study_goes_on_and_a_bad_clip_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def explained(one: Clip, number: int, model: object, method: str, broken: object) -> list[dict]:
        asked.append(one.file)
        if one.file == "c3":
            raise AudioError("c3 is damaged.")
        if one.file == "c30" and asked.count("c30") == 1:
            raise KeyboardInterrupt
        return [{"clip": one.file, "number": number}]

    monkeypatch.setattr(trust_study, "clip_rows", explained)
    clips = [Clip(f"c{i}", "toy", "s", "female", "anger") for i in range(45)]
    told: list[str] = []
    monkeypatch.setattr(trust_study, "check_present", lambda files: None)
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: burst_model())
    with pytest.raises(KeyboardInterrupt):
        trust_study.run(clips, ["toy"], ["ig"], tmp_path, told.append)
    found = trust_study.run(clips, ["toy"], ["ig"], tmp_path, told.append)
    assert found["number"].tolist() == [n for n in range(45) if n != 3]
    assert asked.count("c0") == 1
    assert any("c3" in line and "damaged" in line for line in told)
    more = trust_study.run([*clips, Clip("c45", "toy", "s", "male", "fear")], ["toy"], ["ig"], tmp_path, told.append)
    assert len(more) == 45 and asked.count("c0") == 1


def test_models_together_have_the_rows_that_each_has_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explained(one: Clip, number: int, model: SpeechModel, method: str, broken: object) -> list[dict]:
        if one.file == "c1" and model.name == "second":
            raise AudioError("c1 is damaged.")
        return [{"clip": one.file, "number": number, "model": model.name}]

    def made(name: str) -> SpeechModel:
        model = copy.copy(burst_model())
        model.card = dataclasses.replace(model.card, name=name)
        return model

    monkeypatch.setattr(trust_study, "clip_rows", explained)
    monkeypatch.setattr(trust_study, "check_present", lambda files: None)
    monkeypatch.setattr(ser_core.registry, "load_model", made)
    clips = [Clip(f"c{i}", "toy", "s", "female", "anger") for i in range(7)]
    told: list[str] = []
    alone = trust_study.run(clips, ["first"], ["ig"], tmp_path / "alone", told.append)
    both = trust_study.run(clips, ["first", "second"], ["ig"], tmp_path / "both", told.append)
    assert both[both["model"] == "first"].reset_index(drop=True).equals(alone)
    assert both[both["model"] == "second"]["number"].tolist() == [0, 2, 3, 4, 5, 6]
    assert any("left out for second" in line for line in told)
    # What the first has is not done again when the second comes.
    monkeypatch.setattr(
        trust_study, "clip_rows", lambda one, n, model, *_, **__: [{"clip": "new", "model": model.name}]
    )
    later = trust_study.run(clips, ["first", "third"], ["ig"], tmp_path / "alone", told.append)
    assert set(later.loc[later["model"] == "first", "clip"]) == {f"c{i}" for i in range(7)}
    assert set(later.loc[later["model"] == "third", "clip"]) == {"new"}


def test_a_study_goes_on_from_its_table_where_its_parts_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def explained(one: Clip, number: int, model: object, method: str, broken: object) -> list[dict]:
        asked.append(one.file)
        common = {"clip": one.file, "number": number, "model": "toy", "method": method}
        return [common | {"test": test, "value": float(number)} for test in QUICK]

    monkeypatch.setattr(trust_study, "clip_rows", explained)
    monkeypatch.setattr(trust_study, "check_present", lambda files: None)
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: burst_model())
    clips = [Clip(f"c{i}", "toy", "s", "female", "anger") for i in range(12)]
    table = tmp_path / "trust.parquet"
    found = trust_study.run(clips[:7], ["toy"], ["ig"], tmp_path / "lost", print)
    found.to_parquet(table)
    trust_study.take_over(table, clips, tmp_path / "runs")
    asked.clear()
    again = trust_study.run(clips, ["toy"], ["ig"], tmp_path / "runs", print)
    assert asked == [f"c{i}" for i in range(5, 12)]  # the second part was not whole
    assert again[again["number"] < 5].equals(found[found["number"] < 5])
    assert again["number"].max() == 11


def studied_by(weights: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a study of the model "toy" with these weights note the clips that it measures; returns the list."""
    measured: list[str] = []

    def explained(one: Clip, number: int, model: object, method: str, broken: object) -> list[dict]:
        measured.append(one.file)
        common = {"clip": one.file, "number": number, "model": "toy", "method": method, "speaker": "s", "seconds": 1.0}
        return [common | {"test": test, "map": OWN, "corpus": "toy", "verdict": "holds"} for test in QUICK]

    monkeypatch.setattr(trust_study, "clip_rows", explained)
    monkeypatch.setattr(trust_study, "check_present", lambda files: None)
    monkeypatch.setattr(trust_study, "weights_of", lambda name: weights)
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: burst_model())
    return measured


CLIPS = [Clip(f"c{i}", "toy", "s", "female", "anger") for i in range(12)]


def test_rows_of_other_weights_are_measured_anew_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, told = tmp_path / "trust.parquet", []
    studied_by("0123456789ab", monkeypatch)
    found = trust_study.run(CLIPS, ["toy"], ["ig"], tmp_path / "before", told.append)
    assert set(found["weights"]) == {"0123456789ab"}
    found.to_parquet(table)
    told.clear()
    trust_study.take_over(table, CLIPS, tmp_path / "same", told.append)
    assert len(list((tmp_path / "same").glob("*"))) == 3 and told == []

    measured = studied_by("ba9876543210", monkeypatch)
    trust_study.take_over(table, CLIPS, tmp_path / "other", told.append)
    assert not (tmp_path / "other").exists()
    assert told == ["toy: rows measured with other weights than those at hand are measured anew."]
    again = trust_study.run(CLIPS, ["toy"], ["ig"], tmp_path / "before", told.append)  # parts of the run, not the table
    assert len(measured) == 12 and set(again["weights"]) == {"ba9876543210"}

    told.clear()
    found.drop(columns="weights").to_parquet(table)
    trust_study.take_over(table, CLIPS, tmp_path / "unknown", told.append)
    assert len(list((tmp_path / "unknown").glob("*"))) == 3
    assert told == ["toy: rows from before weights were noted are taken as of the weights at hand."]


def test_the_weights_of_a_model_are_told_from_others(tmp_path: Path) -> None:
    from ser_core.settings import ASSETS

    known = trust_study.weights_of("egemaps-logistic")
    assert len(known) == 12 and known != trust_study.weights_of("egemaps-mlp")
    folder = tmp_path / "egemaps-logistic"
    folder.mkdir()
    for path in (ASSETS / "models" / folder.name).glob("*.safetensors"):
        (folder / path.name).write_bytes(content := path.read_bytes())
    assert trust_study.weights_of(str(folder)) == known
    trust_study.weights_of.cache_clear()
    path = folder / path.name
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert trust_study.weights_of(str(folder)) != known
    assert trust_study.weights_of("nowhere") == ""


def test_the_time_is_looked_at_after_each_part_and_what_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    measured = studied_by("", monkeypatch)
    monkeypatch.setattr(trust_study_command, "in_turn", lambda *_: CLIPS)
    monkeypatch.setattr(trust_study_command, "_plan", lambda models, shares: iter([(("toy",), "ig", 12)]))
    clock = iter(range(0, 10_000, 40))  # a look takes 40 s
    monkeypatch.setattr(trust_study_command.time, "perf_counter", lambda: float(next(clock)))
    out = tmp_path / "t.parquet"
    options = ["--corpus", str(tmp_path), "--model", "toy", "--minutes", "1", "--out", str(out)]
    options += ["--runs", str(tmp_path / "runs"), "--processes", "1"]
    assert trust_study_command.main(options) == 2
    said = capsys.readouterr()
    assert "stopped in ig" in said.out and "the same command goes on from there" in said.err
    assert measured == [f"c{i}" for i in range(5)] and not out.exists()
    monkeypatch.setattr(trust_study_command.time, "perf_counter", lambda: 0.0)
    assert trust_study_command.main(options) == 0
    assert measured == [f"c{i}" for i in range(12)] and len(pd.read_parquet(out)) == 12 * len(QUICK)


def test_further_tests_stand_beside_those_of_faithfulness_and_decide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    sound = recording(clip(rng, "low")[0])
    monkeypatch.setattr(trust_study, "_heard", lambda file: (sound, (Segment(0.0, 1.2),)))
    one = Clip("c", "toy", "s", "female", "low")
    core = pd.DataFrame(trust_study.clip_rows(one, 0, burst_model(), "integrated_gradients", controls=0))
    more = pd.DataFrame(trust_study.further_rows(one, 0, burst_model(), "integrated_gradients"))
    known = trust(burst_model(), sound, attribute(burst_model(), sound, Target("low"), "integrated_gradients"))
    assert more["test"].tolist() == [test.name for test in known.tests if test.name not in QUICK]
    stable = more.set_index("test")["value"]
    for test in known.tests:
        if test.name.startswith(("stability", "sensitivity")):  # which draw nothing from where the clip's speech lies
            assert stable[test.name] == pytest.approx(test.value)
    out = tmp_path / "trust.parquet"
    trust_study_command._stored({("toy", "integrated_gradients"): core}, out)
    table = trust_study_command._stored({("toy", "integrated_gradients"): more}, out, further=True)
    assert set(table["test"]) == {*QUICK, *more["test"], ALL}
    assert (whole(table)["holds"] == 1.0) == bool((core["verdict"] == "holds").all())
    again = trust_study_command._stored({("toy", "integrated_gradients"): core}, out)
    assert again.shape == table.shape  # neither takes the place of the other


def test_methods_of_the_further_tests_share_maps_and_are_those_that_faithfulness_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    sound = recording(clip(np.random.default_rng(5), "low")[0])
    monkeypatch.setattr(trust_study, "_heard", lambda file: (sound, (Segment(0.0, 1.2),)))
    monkeypatch.setattr(trust_study, "check_present", lambda files: None)
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: burst_model())
    monkeypatch.setattr(trust_study_command, "in_turn", lambda *_: [Clip("c", "toy", "s", "female", "low")])
    planned = [(("toy",), "input_x_gradient", 1), (("toy",), "integrated_gradients", 1)]
    seen: list[pd.DataFrame] = []

    def plan(models: list[str], shares: Any) -> Any:
        seen.append(shares())
        yield from planned

    monkeypatch.setattr(trust_study_command, "_plan", plan)
    explained: list[str] = []

    def counted(model: SpeechModel, sound: Any, target: Target, method: str) -> attribution.Attribution:
        explained.append(method)
        return attribute(model, sound, target, method)

    monkeypatch.setattr(attribution, "attribute", counted)
    monkeypatch.setattr("explain.trust.attribute", None)  # which asks anew
    out = tmp_path / "trust.parquet"
    trust_study_command._stored({("toy", "saliency"): rows("saliency", [GOOD] * 3)}, out)
    options = ["--corpus", str(tmp_path), "--model", "toy", "--out", str(out), "--processes", "1", "--further"]
    assert trust_study_command.main([*options, "--runs", str(tmp_path / "runs")]) == 0
    # What decides which methods are run in full is what their stored tests of faithfulness said.
    assert set(seen[0]["test"]) >= {*QUICK, ALL}
    assert "input_x_gradient, integrated_gradients (further): 1 of 1 clips" in capsys.readouterr().out
    assert sorted(explained) == sorted(set(explained)), "an explanation of the clip itself was computed twice"
    together = pd.read_parquet(out).query("model != 'm'").drop(columns="weights").reset_index(drop=True)
    apart = []
    for _, method, _ in planned:
        trust_study._map.cache_clear()
        alone = trust_study_command.main([*options, "--runs", str(tmp_path / method), "--method", method])
        assert alone == 0
        stored = pd.read_parquet(out)
        apart.append(stored[(stored["method"] == method) & stored["model"].ne("m")].drop(columns="weights"))
    pd.testing.assert_frame_equal(together, pd.concat(apart, ignore_index=True))


def test_a_table_keeps_what_other_models_gave(tmp_path: Path) -> None:
    out = tmp_path / "trust.parquet"
    trust_study_command._stored({("m", "ig"): rows("ig", [NONE] * 6), ("n", "ig"): rows("ig", [HALF] * 6, "n")}, out)
    table = trust_study_command._stored({("m", "ig"): rows("ig", [GOOD] * 6)}, out)
    every = table[table["test"] == ALL].set_index("model")["holds"]
    assert every.to_dict() == {"n": 0.0, "m": 1.0}
    assert len(method_choice.read_summary(out)) == len(table)


def test_clips_come_every_speaker_and_emotion_once_before_any_twice() -> None:
    from ser_core.settings import settings

    folders = [each / "crema_d" for each in settings().corpora_dirs if (each / "crema_d").is_dir()]
    if not folders:
        pytest.skip("no CREMA-D at hand")
    few, many = (in_turn(folders[0], ("anger", "neutral", "fear"), count) for count in (30, 60))
    assert few == many[:30]
    turns = pd.DataFrame([(c.speaker, c.emotion) for c in many]).value_counts()
    assert turns.max() - turns.min() <= 1 or turns.max() == 1


def test_a_run_that_does_nothing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(trust_study_command, "in_turn", lambda *_: [])
    monkeypatch.setattr(trust_study_command, "_plan", lambda models, shares: iter([(("m",), "ig", 100)]))
    options = ["--corpus", str(tmp_path), "--model", "m", "--minutes", "0", "--out", str(tmp_path / "t.parquet")]
    assert trust_study_command.main(options) == 2
    assert "Nothing was run" in capsys.readouterr().err and not (tmp_path / "t.parquet").exists()


def test_a_model_without_cheap_methods_has_no_candidates_before_it_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.planted import FunctionalsModel

    made = FunctionalsModel(torch.tensor([[0.1, 0.0], [0.0, 1.0]]), torch.zeros(2))
    only = [method for method in attribution.methods_for(made) if method.name == "occlusion"]
    monkeypatch.setattr(ser_core.registry, "load_model", lambda name: made)
    monkeypatch.setattr(attribution, "methods_for", lambda model: only)
    assert list(trust_study_command._plan(["m"], method_choice.no_shares)) == [
        (("m",), "occlusion", trust_study_command.SCREENED)
    ]


def test_the_stored_shares_are_those_of_the_stored_rows() -> None:
    rows = pd.read_parquet(method_choice.TABLE)
    kept = method_choice.read_summary()
    assert set(zip(rows["model"], rows["method"], strict=True)) == set(zip(kept["model"], kept["method"], strict=True))
    some = rows[rows["model"].isin(("log-mel-resnet", "egemaps-logistic"))]
    again = summary(some).round(4)
    same = kept[kept["model"].isin(set(some["model"]))]
    order = ["model", "method", "map", "test"]
    pd.testing.assert_frame_equal(
        again.sort_values(order, ignore_index=True), same.sort_values(order, ignore_index=True), check_dtype=False
    )
    assert not rows.duplicated(["model", "method", "map", "test", "corpus", "clip"]).any()
