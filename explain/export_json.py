"""An explanation as JSON text and back: every figure bit for bit, without the voice."""

import dataclasses
import json
from typing import Any

import numpy as np

from explain.explanation import Explanation
from explain.opened import NOTHING, Opened
from explain.text_files import by_field, plain
from ser_core.errors import ExplanationError
from ser_core.intended_use import COLUMN, intended_use

SCHEMA = "serscope explanation"
SCHEMA_VERSION = 1
_DTYPES = ("float64", "float32", "float16", "int64", "int32", "bool")


def to_json(explanation: Explanation, *, spectrogram: bool = False, opened: Opened = NOTHING) -> str:
    """Return the whole explanation as JSON text, settings, versions and hash included, without the voice.

    An array becomes ``{"dtype", "shape", "values"}`` with its values flat in row order; NaN is null, infinities are
    "inf" and "-inf". Floats read back bit for bit.

    Args:
        explanation: what is written.
        spectrogram: whether the spectrogram goes in as well. Speech can be rebuilt from it, so it is left out like
            the samples unless asked for.
        opened: what was opened beside it, under the key "opened"; the changed voices of experiments stay out.
    """
    left_out = ["recording.samples"] + ([] if spectrogram else ["spectrogram_db"])
    parts = {f.name: getattr(explanation, f.name) for f in dataclasses.fields(explanation) if f.name not in left_out}
    recording, prediction = explanation.recording, explanation.prediction
    parts["recording"] = {
        "name": recording.name,
        "sha256": recording.sha256,
        "source": recording.source,
        "sample_rate": recording.sample_rate,
        "duration_s": recording.duration_s,
    }
    parts["prediction"] = by_field(prediction) | {
        "top": prediction.top,
        "runner_up": prediction.runner_up,
        "entropy_bits": prediction.entropy_bits,
    }
    if not opened.nothing:
        experiments = [{k: v for k, v in by_field(each).items() if k != "clips"} for each in opened.experiments]
        parts["opened"] = by_field(opened) | {"experiments": experiments}
    head = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        COLUMN: plain(intended_use(explanation.card)),
        "left_out": left_out,
    }
    return json.dumps(head | {k: plain(v) for k, v in parts.items()}, allow_nan=False, ensure_ascii=False)


def from_json(text: str) -> dict[str, Any]:
    """Return the parts of an explanation that ``to_json`` wrote, with its arrays as arrays again.

    Raises:
        ExplanationError: the text is not such a file, or comes from a newer version.
    """
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, dict) or parts.get("schema") != SCHEMA:
        raise ExplanationError(
            "This is not an explanation written by SERscope; choose the PDF report or the JSON of an explanation. A "
            "comparison or a recording cannot be opened again."
        )
    version = parts.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ExplanationError(
            f"This explanation has schema version {version}, and this SERscope reads {SCHEMA_VERSION}; "
            "open it with the version that wrote it."
        )
    try:
        return {k: _arrays(v) for k, v in parts.items()}
    except (TypeError, ValueError, OverflowError) as fault:
        raise ExplanationError("This explanation is damaged: one of its arrays cannot be read.") from fault


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"dtype", "shape", "values"}:
            if value["dtype"] not in _DTYPES:
                raise ValueError(f"{value['dtype']} is no kind of number that is written here")
            flat = [np.nan if v is None else v for v in value["values"]]
            return np.array(flat, dtype=value["dtype"]).reshape(value["shape"])
        return {k: _arrays(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_arrays(v) for v in value]
    return value
