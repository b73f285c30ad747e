"""What is computed for one reader, kept in the session so that it is computed once: answers and explanations."""

import hashlib
import importlib

import numpy as np
import streamlit as st

from explain.attribution import Target
from explain.contrasts import summarise
from explain.cues import CueSettings, CueSummary
from explain.explanation import Explanation, explain, remeasure
from explain.regions import Region
from pages.parts import background, metrics, session
from ser_core.audio import Recording
from ser_core.errors import SerscopeError
from ser_core.models import Prediction, SpeechModel

KEPT, KEPT_S = 6, 300.0


def explanation(
    recording: Recording,
    model: SpeechModel,
    method: str,
    target: Target | None,
    region_rule: str,
    settings: CueSettings,
) -> Explanation:
    """Return the explanation, from the session where it was made before; else it takes a turn among all readers' work.

    With new measuring settings only the cues are measured again; the model and the method are not.
    """
    kept = _kept()
    asked = (recording.sha256, model.name, method, target, region_rule)
    wanted = (*asked, settings)
    if wanted not in kept:
        answered = _answers().get((recording.sha256, model.name))
        similar = next((kept[key] for key in kept if key[:-1] == asked), None)

        def make(job: background.Job) -> Explanation:
            job.tell(0.0, "Explaining")
            if similar is None:
                with metrics.explanation():
                    return explain(
                        recording,
                        model,
                        method,
                        target,
                        settings,
                        region_rule=region_rule,
                        progress=job.tell,
                        answer=answered,
                    )
            job.tell(0.5, "Measuring the voice again")
            return remeasure(similar, settings)

        try:
            kept[wanted] = background.wait_for(("explanation", *wanted), make)
        except Exception:
            # Settings that this clip cannot be measured with must not keep the page from coming up again.
            if similar is not None:
                st.session_state.pop("settings", None)
            raise
        while len(kept) > 1 and (len(kept) > KEPT or sum(each.recording.duration_s for each in kept.values()) > KEPT_S):
            del kept[next(iter(kept))]
    return kept[wanted]


def is_made(
    recording: Recording, model: SpeechModel, method: str, target: Target, region_rule: str, settings: CueSettings
) -> bool:
    """Return whether ``explanation`` of the same arguments is in the session."""
    return (recording.sha256, model.name, method, target, region_rule, settings) in _kept()


def _answers() -> dict[tuple, Prediction]:
    return st.session_state.setdefault("predictions", {})


def _kept() -> dict[tuple, Explanation]:
    return st.session_state.setdefault("explanations", {})


def heard(model: SpeechModel) -> np.ndarray | None:
    """Return what the clip's own listeners or raters answered, in the model's terms, where its corpus says so."""
    row = session.judged()
    if row is None or model.card.answer == "emotion":
        return None
    own = getattr(importlib.import_module(f"ser_core.systems.{model.card.system}"), "targets", None)
    try:
        return None if own is None else own(row, model.emotions)[0]
    except SerscopeError:
        return None


def prediction(recording: Recording, model: SpeechModel) -> Prediction:
    """Return the model's answer, from the session where it was asked before."""
    asked = (recording.sha256, model.name)
    found: Prediction = background.made_once(
        _answers(),
        asked,
        ("answer", *asked),
        "Asking the model",
        lambda job: model.predict(recording),
        then="The answer comes",
    )
    return found


def own_cues(shown: Explanation, region: Region) -> CueSummary:
    """Return the cues of the reader's own stretch or box, as region 1."""
    return summarise(shown.tracks, shown.recording, (region,), shown.quality)


def identity(shown: Explanation) -> str:
    """Return a short key of everything that the linked view draws."""
    return _digest(map_identity(shown), repr(shown.tracks.settings))


def map_identity(shown: Explanation) -> str:
    """Return a short key of the map and its regions; to measure the voice otherwise leaves it as it is."""
    parts = (shown.recording.sha256, shown.prediction.model, shown.attribution.method, shown.target.name)
    return _digest(*parts, shown.region_rule, repr(shown.regions))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
