"""An explanation as files for other programs: CSV, Praat's text files, and all of them in one archive.

Every function returns text (or bytes for the archive) and writes nothing. Times are seconds from the clip's first
sample, frequencies Hz, levels dB. Praat's formats follow the manual pages "TextGrid file formats", "PitchTier",
"IntensityTier" and "FormantGrid"; Praat skips what stands after an exclamation mark, so the settings go there.
"""

import csv
import dataclasses
import io
import re
import zipfile
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from explain.cues import ALL_REGIONS, CLIP
from explain.expert import OURS, SALIENT
from explain.explanation import Explanation
from explain.export_json import to_json
from explain.opened import NOTHING, Opened, experiments_csv, trust_csv
from explain.text_files import cell, csv_file, inside, interval_tier, layers, line
from ser_core.intended_use import COLUMN, IN_A_CELL, in_a_cell, trained_on
from ser_core.numbers import rounded_percent


def cue_csv(explanation: Explanation) -> str:
    r"""Return the cue table as CSV text, one row per cue and scope, lines ending in ``\r\n`` (RFC 4180).

    A row holds the magnitude, its contrast with the rest of the speech and its agreement with the experts for each
    emotion that was compared (``emotion_1`` is the predicted class, ``emotion_2`` the runner-up). A model of dimensions
    has ``predicted_<dimension>`` instead of ``predicted`` and ``probability``. Where other clips of the same person
    were given, ``own_…`` sets the whole clip's rows against them. Numbers are written so that they read back to the
    same float; a figure that could not be measured is an empty cell with its reason in ``note``. Text that a
    spreadsheet would run as a formula gets an apostrophe in front.
    """
    summary = explanation.cues
    values = {(v.cue, v.scope): v for v in summary.values}
    contrasts = {(c.cue, c.scope): c for c in summary.contrasts}
    # The experts' names and places become ours, so that figure and verdict share a row.
    agreements = {
        (OURS.get(a.cue, a.cue), ALL_REGIONS if a.scope == SALIENT else a.scope, a.emotion): a
        for a in explanation.agreements
    }
    regions = {str(r.rank): r for r in explanation.regions}
    own = {} if explanation.own_baseline is None else {row.cue: row for row in explanation.own_baseline.cues}
    keys = dict.fromkeys([*values, *contrasts, *((cue, scope) for cue, scope, _ in agreements)])
    emotions = explanation.compared_emotions
    constant = {
        "file": explanation.recording.name,
        "sha256": explanation.recording.sha256,
        "model": explanation.prediction.model,
        "method": explanation.attribution.method,
        "explained": explanation.target.name,
        "region_rule": explanation.region_rule,
        **_answer(explanation),
        **{f"setting_{k}": v for k, v in dataclasses.asdict(explanation.tracks.settings).items()},
        "sex_in_force": explanation.tracks.sex,
        "outside_training": " ".join(each.measure for each in explanation.outside),
        COLUMN: in_a_cell(explanation.card),
    }
    rows = []
    for cue, scope in keys:
        row: dict[str, Any] = {"cue": cue, "scope": scope}
        row |= _fields(regions.get(scope), ("start_s", "end_s", "low_hz", "high_hz", "share"))
        row |= _fields(values.get((cue, scope)), ("value", "unit", "count", "counted", "note", "reliability"))
        row |= _fields(
            contrasts.get((cue, scope)),
            (
                "inside",
                "outside",
                "difference",
                "effect",
                "chance_low",
                "chance_high",
                "p",
                "p_corrected",
                "count",
                "note",
            ),
            "contrast_",
        )
        for i, emotion in enumerate(emotions, start=1):
            row[f"emotion_{i}"] = emotion
            row |= _fields(
                agreements.get((cue, scope, emotion)),
                (
                    "cue",
                    "value",
                    "unit",
                    "percentile",
                    "observed",
                    "expected",
                    "status",
                    "source",
                    "conflict",
                    "reference",
                    "note",
                    "evidence",
                    "stretches",
                ),
                f"emotion_{i}_",
            )
        if explanation.own_baseline is not None:
            names = ("clips", "mean", "sd", "z", "p", "low", "high", "note")
            row |= _fields(own.get(cue) if scope == CLIP else None, names, "own_")
        rows.append(row | constant)
    columns = list(rows[0]) if rows else ["cue", "scope", *constant]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([cell(row[c]) for c in columns] for row in rows)
    return out.getvalue()


def _answer(explanation: Explanation) -> dict[str, Any]:
    p = explanation.prediction
    if p.values is not None:
        return {f"predicted_{name}": p.value(name) for name in p.emotions}
    return {"predicted": p.top, "probability": p.probability(p.top)}


def text_grid(explanation: Explanation) -> str:
    """Return a Praat TextGrid: the salient regions, the speech, the glottal pulses and a tier about the analysis.

    Interval tiers cannot hold overlapping intervals, so regions that overlap in time (in other bands) go to further
    tiers "salient regions 2", …
    """
    end = explanation.recording.duration_s
    target = explanation.target.name
    regions = [
        (
            r.start_s,
            r.end_s,
            f"{r.rank}: {target}, {rounded_percent(r.share, 1)} of positive relevance"
            + ("" if r.low_hz is None or r.high_hz is None else f", {r.low_hz:.0f} to {r.high_hz:.0f} Hz"),
        )
        for r in explanation.regions
    ]
    tiers = [
        interval_tier("salient regions" if i == 1 else f"salient regions {i}", layer, end)
        for i, layer in enumerate(layers(regions, end), start=1)
    ]
    tiers.append(
        interval_tier("speech", inside([(s.start_s, s.end_s, "speech") for s in explanation.speech], end), end)
    )
    pulses = [float(t) for t in explanation.tracks.pulses_s if 0 <= t <= end]
    tiers.append(
        f'class = "TextTier"\nname = "pulses"\nxmin = 0\nxmax = {end!r}\npoints: size = {len(pulses)}\n'
        + "".join(f'points [{i}]:\nnumber = {t!r}\nmark = ""\n' for i, t in enumerate(pulses, start=1))
    )
    tiers.append(interval_tier("about", [(0.0, end, "; ".join(about(explanation)))], end))
    return (
        _praat_head(explanation, "TextGrid")
        + f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
        + "".join(f"item [{i}]:\n{tier}" for i, tier in enumerate(tiers, start=1))
    )


def pitch_tier(explanation: Explanation) -> str:
    """Return a Praat PitchTier with the F0 in Hz of every voiced frame."""
    return _praat_head(explanation, "PitchTier") + _points(explanation, "f0_hz")


def intensity_tier(explanation: Explanation) -> str:
    """Return a Praat IntensityTier with the level in dB of every frame; uncalibrated, so only differences count."""
    return _praat_head(explanation, "IntensityTier") + _points(explanation, "intensity_db")


def formant_grid(explanation: Explanation) -> str:
    """Return a Praat FormantGrid with frequency and bandwidth in Hz of each formant in the voiced frames."""
    end = explanation.recording.duration_s
    numbers = sorted(int(m[1]) for n in explanation.tracks.tracks if (m := re.fullmatch(r"f([1-9])_hz", n)))
    text = _praat_head(explanation, "FormantGrid")
    for kind, track in (("formants", "f{}_hz"), ("bandwidths", "f{}_bandwidth_hz")):
        text += f"{kind}: size = {len(numbers)}\n"
        for i, k in enumerate(numbers, start=1):
            text += f"{kind} [{i}]:\nxmin = 0\nxmax = {end!r}\n" + _points(explanation, track.format(k))
    return text


def bundle(
    explanation: Explanation, when: datetime | None = None, opened: Opened = NOTHING, *, voice: bool = True
) -> bytes:
    """Return a ZIP archive with the PDF report and every export.

    Args:
        explanation: what is written.
        when: date of the report; now by default.
        opened: what was opened beside it.
        voice: whether the report draws waveform and spectrogram, from which words and voice can be had again.
    """
    from explain.report import pdf

    files: dict[str, str | bytes] = {
        "report.pdf": pdf(explanation, when, opened, voice=voice),
        "cues.csv": csv_file(cue_csv(explanation)),
        "regions.TextGrid": text_grid(explanation),
        "pitch.PitchTier": pitch_tier(explanation),
        "intensity.IntensityTier": intensity_tier(explanation),
        "formants.FormantGrid": formant_grid(explanation),
        "explanation.json": to_json(explanation, opened=opened),
    }
    if opened.trust is not None:
        files["trust.csv"] = csv_file(trust_csv(opened.trust, explanation.card))
    if opened.experiments:
        files["experiments.csv"] = csv_file(experiments_csv(opened.experiments, explanation.card))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def about(explanation: Explanation) -> tuple[str, ...]:
    """Return one line each on file, model, method, cue settings in force, intended use and what lies outside."""
    settings = dataclasses.asdict(explanation.tracks.settings)
    return (
        f"file {explanation.recording.name}",
        f"sha256 {explanation.recording.sha256}",
        f"model {explanation.prediction.model}",
        f"method {explanation.attribution.method}",
        f"explained {explanation.target.name}",
        f"region rule {explanation.region_rule}",
        "cue settings "
        + ", ".join(f"{k} {v}" for k, v in settings.items())
        + f", sex in force {explanation.tracks.sex}",
        IN_A_CELL,
        trained_on(explanation.card),
        *(f"outside the training clips: {each.sentence}" for each in explanation.outside),
    )


def _fields(thing: Any, names: Sequence[str], prefix: str = "") -> dict[str, Any]:
    return {prefix + name: getattr(thing, name, None) for name in names}


def _praat_head(explanation: Explanation, kind: str) -> str:
    comments = "".join(f"! {line(each)}\n" for each in about(explanation))
    return (
        f'File type = "ooTextFile"\nObject class = "{kind}"\n\n{comments}'
        f"xmin = 0\nxmax = {explanation.recording.duration_s!r}\n"
    )


def _points(explanation: Explanation, track: str) -> str:
    tracks = explanation.tracks
    values = tracks.tracks.get(track, np.full(len(tracks.times_s), np.nan))
    kept = [(float(t), float(v)) for t, v in zip(tracks.times_s, values, strict=True) if np.isfinite(v)]
    return f"points: size = {len(kept)}\n" + "".join(
        f"points [{i}]:\nnumber = {t!r}\nvalue = {v!r}\n" for i, (t, v) in enumerate(kept, start=1)
    )
