"""Made-up answers of a model, and the pages that show them."""

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import ser_core.evaluation
from ser_core.settings import ROOT

EMOTIONS = ("anger", "fear", "neutral")
STORED = pytest.mark.skipif(not ser_core.evaluation.stored(), reason="no stored answers")


def answers(
    corpus: str = "toy", speakers: int = 20, clips: int = 12, worse: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Answers about speakers of two sexes; men are answered worse by as much as is said."""
    random, rows = np.random.default_rng(seed), []
    for number in range(speakers):
        sex = ("female", "male")[number % 2]
        for place in range(clips):
            truth = place % 3
            answer = truth if random.random() < 0.8 - worse * (sex == "male") else int(random.integers(3))
            chances = random.dirichlet(np.where(np.arange(3) == answer, 9.0, 1.0)) + 0.5 * (np.arange(3) == answer)
            row = {"clip": f"{number:02d}-{place:02d}", "corpus": corpus, "speaker": f"{corpus}/{number:02d}"}
            row |= {"sex": sex, "age": 20.0 + number, "race": None, "ethnicity": None, "language": "en"}
            row |= {f"p_{name}": chance for name, chance in zip(EMOTIONS, chances / chances.sum(), strict=True)}
            rows.append(row | {"emotion": EMOTIONS[truth]})
    return pd.DataFrame(rows).assign(fold=0, split="out of fold", model="m", run="r")


def page(name: str, **state: object) -> AppTest:
    shown = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=90)
    for key, value in state.items():
        shown.session_state[key] = value
    shown.run()
    assert not shown.exception
    return shown


def text(shown: AppTest) -> str:
    kinds = (shown.markdown, shown.caption, shown.info, shown.error)
    words = " ".join(str(getattr(each, "value", "")) for kind in kinds for each in kind)
    return words + " ".join(each.proto.body for each in shown.get("html"))


def box(shown: AppTest, label: str):
    return next(each for each in shown.selectbox if each.label == label)
