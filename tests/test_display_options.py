"""Showing a clip in another way works nothing out again: neither the answer, nor the map, nor the cues."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import EXAMPLE, Core, app, core, with_sample

__all__ = ["app", "core"]  # the fixtures


def test_display_options_ask_explain_and_measure_nothing_again(
    core: Core, app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    model = core.model()

    def predict(recording: Any) -> Any:
        asked["predict"] += 1
        return EXAMPLE.prediction

    monkeypatch.setattr(core, "model", lambda: SimpleNamespace(**vars(model) | {"predict": predict}))
    with_sample(app)
    method = app.selectbox(key=f"method-{EXAMPLE.card.name}")
    done = asked["predict"], len(core.explained), len(core.remeasured)
    assert done == (1, 1, 0)
    for label in ("Rather than", "Change", "Where"):  # what a panel would be asked for, were its button pressed
        box = next(each for each in app.selectbox if each.label == label)
        assert len(box.options) > 1
        box.select_index((box.index + 1) % len(box.options)).run()
    app.run()
    app.switch_page("pages/models.py").run()
    app.switch_page("pages/explain.py").run()
    assert (asked["predict"], len(core.explained), len(core.remeasured)) == done
    method.select("occlusion").run()  # another map is science, once
    for name in ("integrated_gradients", "occlusion", "integrated_gradients"):
        app.selectbox(key=f"method-{EXAMPLE.card.name}").select(name).run()
    assert (asked["predict"], len(core.explained), len(core.remeasured)) == (1, 2, 0)
    assert not app.exception and not app.error


def test_the_class_that_was_chosen_is_explained_until_the_clip_is_another(core: Core, app: AppTest) -> None:
    def chosen() -> list[tuple[str, str]]:
        return [(box.label, box.value) for box in app.selectbox if box.label in {"Explain the class", "rather than"}]

    with_sample(app)
    answer = EXAMPLE.prediction.top
    other, third = [emotion for emotion in EXAMPLE.card.emotions if emotion != answer][:2]
    assert chosen() == [("Explain the class", ""), ("rather than", "")]
    next(box for box in app.selectbox if box.label == "Explain the class").select(other).run()
    next(box for box in app.selectbox if box.label == "rather than").select(third).run()
    wanted = [("Explain the class", other), ("rather than", third)]
    assert chosen() == wanted
    app.switch_page("pages/models.py").run()
    app.switch_page("pages/explain.py").run()
    assert chosen() == wanted
    next(button for button in app.button if button.label == "Forget this clip").click().run()
    with_sample(app)
    assert chosen() == [("Explain the class", ""), ("rather than", "")]
    assert not app.exception and not app.error
