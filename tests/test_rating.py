"""The rating study: its plan, its store, its known answers, and an analysis of answers simulated here."""

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from explain import rating
from explain.__main__ import main
from explain.attribution import Target, attribute
from explain.listeners import LISTENERS, SIGNAL, listener
from explain.rating import ANSWERS, CONDITIONS, FILE, Rating, by_condition, plan, stimuli, store, stored, summary
from ser_core.audio import Recording, read
from ser_core.errors import SettingError
from ser_core.settings import ASSETS
from tests.planted import recording
from tests.queued import kinds_queued

OFFERED = stimuli("whisper", ("a.wav", "b.wav", "c.wav"))


def given(rater: str = "r", condition: str = "map", answer: str = "loudness", **more: Any) -> Rating:
    values = {"trial": 0, "stimulus": "s", "model": "m", "sureness": 50, "seconds": 10.0, "truth": "loudness"} | more
    return Rating(rater=rater, condition=condition, answer=answer, **values)


# The plan


def test_every_rater_sees_every_stimulus_once_and_every_condition_alike() -> None:
    for number in range(20):
        made = plan(f"rater{number}", OFFERED)
        assert sorted(s.name for s, _ in made) == sorted(s.name for s in OFFERED)
        counts = Counter((s.model, condition) for s, condition in made)
        assert set(counts.values()) == {1} and len(counts) == 9


def test_over_raters_every_stimulus_has_every_condition_and_every_place() -> None:
    plans = [plan(f"rater{number}", OFFERED) for number in range(300)]
    pairs = Counter((s.name, condition) for made in plans for s, condition in made)
    assert len(pairs) == 27 and min(pairs.values()) > 60
    first = Counter(made[0][0].name for made in plans)
    assert len(first) == 9
    assert plan("rater1", OFFERED) == plans[1]


def test_over_raters_the_conditions_of_three_clips_come_in_every_order() -> None:
    offered = [stimulus for stimulus in OFFERED if stimulus.model == OFFERED[0].model]
    orders = set()
    for number in range(60):
        given = dict(plan(f"{number:08x}", OFFERED))
        orders.add(tuple(given[stimulus] for stimulus in offered))
    assert len(orders) == 6


def test_a_truth_is_stated_only_where_it_is_known_by_construction() -> None:
    assert {s.model for s in OFFERED if s.truth} == set(LISTENERS)
    assert all(s.truth in ANSWERS for s in OFFERED if s.truth)
    assert given(truth="").right is None


# The listeners


def voice(gain: float = 1.0) -> Recording:
    clip = read(ASSETS / "samples" / "neutral_woman.flac")
    return recording(clip.samples * gain)


def logit(name: str, sound: Recording) -> float:
    model = listener(name)
    with torch.inference_mode():
        return float(model.logits(torch.from_numpy(sound.samples.copy())[None])[0, 0])


def test_each_listener_hears_its_own_property_and_not_the_other() -> None:
    spectrum = np.fft.rfft(voice().samples)
    hz = np.fft.rfftfreq(len(voice().samples), 1 / 16000)
    # 6 dB louder above 1 kHz and 6 dB softer below: brighter, and about as loud in the mean over bands.
    brighter = recording(np.fft.irfft(spectrum * np.where(hz > 1000, 2.0, 0.5), len(voice().samples)) * 0.5)
    plain, louder = voice(0.25), voice(1.0)
    moved = {
        name: (logit(name, louder) - logit(name, plain), logit(name, brighter) - logit(name, plain))
        for name in LISTENERS
    }
    assert moved["loudness-listener"][0] > 5 * abs(moved["brightness-listener"][0])
    assert moved["brightness-listener"][1] > 1


def test_a_listeners_map_is_its_weights_times_the_clip() -> None:
    model, sound = listener("brightness-listener"), voice()
    found = attribute(model, sound, Target(SIGNAL), "integrated_gradients")
    inputs = model.inputs(torch.from_numpy(sound.samples.copy())[None])
    distance = (inputs - model.baseline(inputs))[0].double().numpy()
    by_hand = 10 * model.network.weights.numpy()[:, None] * distance / distance.shape[1]
    assert found.relevance == pytest.approx(by_hand, abs=1e-5)


# The store


def test_answers_come_back_as_they_were_and_nothing_else_is_stored(tmp_path: Path) -> None:
    rows = [given(f"r{n}", "map and cues", seconds=n + 0.5) for n in range(3)]
    for row in rows:
        store(row, tmp_path / "new")
    assert list(stored(tmp_path / "new")) == rows
    assert stored(tmp_path / "none") == ()
    keys = set(json.loads((tmp_path / "new" / FILE).read_text().splitlines()[0]))
    assert keys == set(Rating.__dataclass_fields__)
    assert [each.name for each in (tmp_path / "new").iterdir()] == [FILE]
    text = rating.to_csv(rows).splitlines()
    assert text[0].endswith("truth,right,intended_use") and "loudness,yes," in text[1] and len(text) == 4
    assert "not a diagnosis" in text[1].lower()


def test_answers_of_many_screens_at_once_do_not_mix(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store(given(f"r{n}", stimulus="s" * 500), tmp_path), range(200)))
    assert {each.rater for each in stored(tmp_path)} == {f"r{n}" for n in range(200)}


def test_a_line_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    store(given("whole"), tmp_path)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"rater": "cut"')
        file.write("\n[1]\n\n")
    store(given("after"), tmp_path)
    assert [each.rater for each in stored(tmp_path)] == ["whole", "after"]


def test_a_folder_that_cannot_be_written_to_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="SERSCOPE_RATINGS"):
        store(given(), tmp_path / "file")


# The analysis, on answers simulated here


def simulated(raters: int, right: dict[str, float], seed: int = 0) -> list[Rating]:
    random = np.random.default_rng(seed)
    names = list(CONDITIONS)
    return [
        given(
            f"r{n}",
            condition,
            "loudness" if random.random() < right[condition] else "pitch",
            sureness=int(40 + 20 * names.index(condition)),
            seconds=float(10 * np.exp(0.1 * random.standard_normal())),
        )
        for n in range(raters)
        for condition in names
        for _ in range(6)
    ]


def test_an_empty_study_says_so_and_has_no_figures() -> None:
    assert summary([]) == "No ratings yet."
    assert by_condition([]).empty and rating.tests([]).empty


def test_a_condition_that_helps_is_found_and_one_that_does_not_is_not() -> None:
    right = dict(zip(CONDITIONS, (0.3, 0.9, 0.9), strict=True))
    found = rating.tests(simulated(24, right)).set_index(["measure", "less", "more"])
    first, second, third = CONDITIONS
    assert found.loc[("right", first, second), "p_corrected"] < 0.001
    assert found.loc[("right", second, third), "p_corrected"] > 0.05
    assert found.loc[("sureness", first, third), "difference"] == 40
    assert found.loc[("seconds", first, second), "p"] > 0.05
    table = by_condition(simulated(24, right), replicates=500).set_index(["measure", "condition"])
    share = table.loc[("right", first)]
    assert share["low"] < 0.3 < share["high"] and share["raters"] == 24 and share["answers"] == 144


def test_without_a_difference_few_studies_find_one() -> None:
    same = dict.fromkeys(CONDITIONS, 0.5)
    found = 0
    for seed in range(20):
        table = rating.tests(simulated(8, same, seed)).query("measure != 'sureness'")
        found += bool((table["p_corrected"] < 0.05).any())
    assert found <= 4


def test_with_too_few_raters_no_test_is_made() -> None:
    table = rating.tests(simulated(5, dict(zip(CONDITIONS, (0, 1, 1), strict=True))))
    assert table["p"].isna().all() and table["p_corrected"].isna().all() and set(table["raters"]) == {5}
    assert "at least 6 raters" in summary(simulated(5, dict.fromkeys(CONDITIONS, 0.5)))


def test_answers_about_a_trained_model_are_neither_right_nor_wrong() -> None:
    rows = [given("r1", truth=""), given("r1", "map and cues", answer="pitch", truth="")]
    assert set(by_condition(rows)["measure"]) == {"sureness", "seconds"}


# The page


def page() -> None:
    import runpy

    from ser_core.settings import ROOT

    runpy.run_path(str(ROOT / "pages" / "rating.py"))


def text(app: AppTest) -> str:
    parts = [each.proto.body for each in app.get("html")]
    for kind in ("caption", "markdown", "header", "info", "success", "error"):
        parts += [each.value for each in getattr(app, kind)]
    return " ".join(parts)


def timed(app: AppTest) -> int | None:
    """Return the number of the clip whose time runs, if any does."""
    from pages.parts.rating_study import SINCE

    return app.session_state[SINCE][0] if SINCE in app.session_state else None


def test_the_command_prints_what_the_page_shows_and_writes_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SERSCOPE_RATINGS", raising=False)
    assert main(["ratings", str(tmp_path / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    (tmp_path / "kept").mkdir()
    assert main(["ratings", str(tmp_path / "kept")]) == 0
    assert capsys.readouterr().out == "No ratings yet.\n"
    for number in range(7):
        for condition, sure in (("map", 40), ("map and cues", 60 + number)):
            store(given(f"r{number}", condition, sureness=sure), tmp_path / "kept")
    out = tmp_path / "answers.csv"
    assert main(["ratings", str(tmp_path / "kept"), "--csv", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(summary(stored(tmp_path / "kept")))
    table = rating.tests(stored(tmp_path / "kept"))
    moved = table[table["measure"] == "sureness"].iloc[0]
    assert f"{moved['difference']:.3f}" in said and f"{moved['p_corrected']:.3f}" in said and "63.00" in said
    assert out.read_text(encoding="utf-8-sig").count("\n") == 15


def test_the_study_is_off_where_no_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERSCOPE_RATINGS", raising=False)
    app = AppTest.from_function(page).run(timeout=60)
    assert not app.exception and not app.button
    assert "SERSCOPE_RATINGS" in app.info[0].value


def test_a_rater_answers_one_clip_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.parts import rating_study

    monkeypatch.setenv("SERSCOPE_RATINGS", str(tmp_path))
    listeners = tuple(s for s in OFFERED if s.truth)[:2]
    monkeypatch.setattr(rating_study, "_stimuli", lambda: listeners)
    queued = kinds_queued(monkeypatch)
    app = AppTest.from_function(page).run(timeout=60)
    assert "No ratings yet." in text(app)
    next(each for each in app.button if each.label == "Take part").click().run(timeout=180)
    for number in range(2):
        # Nothing of the clip, and no clock, before the rater asks for it.
        assert not app.exception and not app.radio and "dark places" not in text(app) and timed(app) != number
        next(each for each in app.button if each.label == f"Show clip {number + 1}").click().run(timeout=180)
        assert not app.exception and timed(app) == number
        # Of a listener "signal" is explained, whatever it answers.
        assert f"dark places speak for {SIGNAL}," in text(app)
        next(each for each in app.button if each.label == "Next").click().run(timeout=180)
        assert app.error and len(stored(tmp_path)) == number
        app.radio[0].set_value("loudness")
        app.slider[0].set_value(80)
        next(each for each in app.button if each.label == "Next").click().run(timeout=180)
    assert not app.exception and "Thank you" in text(app)
    found = stored(tmp_path)
    assert [(each.trial, each.answer, each.sureness) for each in found] == [(0, "loudness", 80), (1, "loudness", 80)]
    assert {each.stimulus for each in found} == {s.name for s in listeners} and len({e.rater for e in found}) == 1
    assert "2 answers by 1 rater" in text(app)
    assert len(queued) == 2  # each clip once, though each is drawn three times


def test_a_map_alone_tells_nobody_more_and_says_what_it_speaks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.parts import rating_study

    monkeypatch.setenv("SERSCOPE_RATINGS", str(tmp_path))
    dull = next(s for s in OFFERED if s.model == "brightness-listener")
    monkeypatch.setattr(rating_study, "_stimuli", lambda: (dull,))
    monkeypatch.setattr(rating, "plan", lambda rater, offered: ((dull, "map"),))
    app = AppTest.from_function(page).run(timeout=60)
    next(each for each in app.button if each.label == "Take part").click().run(timeout=180)
    next(each for each in app.button if each.label == "Show clip 1").click().run(timeout=180)
    assert not app.exception
    assert "This model answers “signal” where" in text(app)
    # The listener answers that there is no signal, and explained is what would speak for one.
    assert "The model’s answer: **no signal**" in text(app) and "dark places speak for signal, and" in text(app)
    (drawn,) = re.findall(r'<img alt="([^"]+)"', text(app))
    assert drawn.startswith("4 panels") and "map of relevance" in drawn
    assert not re.search("[Pp]itch|formants|voiced", drawn)


LOCAL = {"server.address": "localhost", "server.allowedHosts": ["localhost", "127.0.0.1", "::1"]}
HERE = {"Host": "localhost:8501", "Origin": "http://localhost:8501"}
SIGNED_IN = {"is_logged_in": True, "email": "Anna@clinic.example", "email_verified": True}


@pytest.mark.parametrize(
    ("options", "headers", "providers", "owners", "user", "sees"),
    [
        (LOCAL, HERE, [], "", {}, True),
        (LOCAL | {"server.address": "0.0.0.0"}, HERE, [], "", {}, False),
        (LOCAL, HERE | {"X-Forwarded-For": "203.0.113.7"}, [], "", {}, False),
        (LOCAL, HERE, ["default"], "", SIGNED_IN, False),
        (LOCAL, {}, ["default"], "anna@clinic.example", SIGNED_IN, True),
        (LOCAL, {}, ["default"], "@clinic.example", SIGNED_IN, True),
        (LOCAL, {}, ["default"], "eve@clinic.example", SIGNED_IN, False),
        (LOCAL, {}, ["default"], "anna@clinic.example", SIGNED_IN | {"email_verified": False}, False),
        (LOCAL, {}, ["default"], "anna@clinic.example", {}, False),
    ],
)
def test_only_those_who_run_the_study_see_the_answers_and_can_take_them_away(
    tmp_path, monkeypatch, options, headers, providers, owners, user, sees
) -> None:
    from pages.parts import rating_study, sign_in

    monkeypatch.setenv("SERSCOPE_RATINGS", str(tmp_path))
    monkeypatch.setenv("SERSCOPE_STUDY_OWNERS", owners)
    monkeypatch.setattr(rating_study, "_stimuli", tuple)
    monkeypatch.setattr(sign_in, "providers", lambda: providers)
    real = sign_in.config.get_option
    monkeypatch.setattr(sign_in.config, "get_option", lambda name: options[name] if name in options else real(name))
    monkeypatch.setattr(type(sign_in.st.context), "headers", property(lambda self: headers))
    monkeypatch.setattr(type(sign_in.st.user), "to_dict", lambda self: user)
    for number in range(6):
        store(given(f"r{number}", "map"), tmp_path)
    app = AppTest.from_function(page).run(timeout=60)
    assert not app.exception and "6 answers by 6 raters" in text(app)
    assert ("By condition" in text(app)) == sees == bool(app.get("download_button"))
    assert ("is shown to those who run the study" in text(app)) == (not sees)
    assert "can be taken away as a table by whoever runs this server" in text(app)
    assert ("after signing in" in text(app)) == bool(providers)
