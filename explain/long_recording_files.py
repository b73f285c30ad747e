"""A session as files for other programs: CSV, Parquet, JSON and a Praat TextGrid; none holds sound or voice prints."""

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

from explain.cues import CUES
from explain.long_recording import LongRecording, value_of
from explain.long_recording_baseline import cue_values, own_z, standing_out
from explain.text_files import Interval, csv_text, interval_tier, layers, plain
from ser_core.intended_use import COLUMN, FORBIDDEN, STATEMENT, in_a_cell
from ser_core.numbers import signed

if TYPE_CHECKING:
    import pandas as pd

SCHEMA, SCHEMA_VERSION = "serscope session", 3
SETTINGS = ("pitch_floor_hz", "pitch_ceiling_hz", "formant_ceiling_hz")


def table(found: LongRecording) -> "pd.DataFrame":
    """Return one row a stretch: times in s, voice, answer, each output, entropy, and each cue with its z-score.

    From ``clip_start_s`` to ``clip_end_s`` goes the clip that was asked about, the speech and some sound around it.
    ``z_…`` sets a cue against the same voice's other stretches of like length; ``unusual`` names the cues that stand
    out for it. What could not be measured is missing, and ``note`` says why a stretch was not asked about. Pitch was
    looked for from ``pitch_floor_hz`` to ``pitch_ceiling_hz``, formants up to ``formant_ceiling_hz``. ``adapted`` says
    whether the model had heard all stretches of the voice before it answered.
    """
    import pandas as pd

    values, scores = cue_values(found.stretches), own_z(found)
    asked = [stretch.prediction for stretch in found.stretches]
    # By columns, so that a session without speech has them, too.
    columns: dict[str, Any] = {
        "stretch": [s.number + 1 for s in found.stretches],
        "start_s": [s.start_s for s in found.stretches],
        "end_s": [s.end_s for s in found.stretches],
        "length_s": [s.length_s for s in found.stretches],
        "clip_start_s": [s.clip_s[0] for s in found.stretches],
        "clip_end_s": [s.clip_s[1] for s in found.stretches],
        "voice": [found.called(voice) for voice in found.voice_of],
        "answer": [None if p is None or p.values is not None else p.top for p in asked],
        **{output: [value_of(s, output) for s in found.stretches] for output in found.outputs},
        "entropy_bits": [None if p is None else p.entropy_bits for p in asked],
        "unusual": [", ".join(f"{name} {signed(z, 1)}" for name, z in told) for told in standing_out(found)],
        **{f"cue_{c.name}": values[:, k] for k, c in enumerate(CUES)},
        **{f"z_{c.name}": scores[:, k] for k, c in enumerate(CUES)},
        **{name: [getattr(s.settings, name, None) for s in found.stretches] for name in SETTINGS},
        "note": [s.note for s in found.stretches],
        "outside_training": [" ".join(each.measure for each in s.outside) for s in found.stretches],
    }
    about: dict[str, Any] = {"file": found.name, "sha256": found.sha256, "model": found.model, "adapted": found.adapted}
    return pd.DataFrame(columns).assign(**about, **{COLUMN: in_a_cell(found.model)})


def to_csv(found: LongRecording) -> str:
    r"""Return ``table`` as CSV text, lines ending in ``\r\n``; no cell is run as a formula by a spreadsheet."""
    return csv_text(table(found))


def to_parquet(found: LongRecording) -> bytes:
    """Return ``table`` as a Parquet file."""
    out = io.BytesIO()
    table(found).to_parquet(out, index=False)
    return out.getvalue()


def to_json(found: LongRecording) -> str:
    """Return everything but the sound and the voice prints as JSON text; floats read back bit for bit."""
    stretches: list[dict[str, Any]] = []
    for stretch, voice, unusual in zip(found.stretches, found.voice_of, standing_out(found), strict=True):
        stretches.append(
            {
                "number": stretch.number + 1,
                "start_s": stretch.start_s,
                "end_s": stretch.end_s,
                "clip_s": list(stretch.clip_s),
                "voice": voice,
                "answer": None if stretch.prediction is None else plain(stretch.prediction),
                "cues": [plain(value) for value in stretch.cues],
                "settings": None if stretch.settings is None else plain(stretch.settings),
                "unusual": dict(unusual),
                "note": stretch.note,
                "outside": [plain(each) for each in stretch.outside],
            }
        )
    use = f"{STATEMENT} {FORBIDDEN} {in_a_cell(found.model)}"
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, COLUMN: use}
    whole = head | {
        f.name: plain(getattr(found, f.name))
        for f in dataclasses.fields(found)
        if f.name not in ("stretches", "voice_of", "names")
    }
    whole["voices"] = [
        {"voice": v, "name": found.called(v), "spoken_s": found.spoken_s(v), "stretches": len(found.of(v))}
        for v in found.voices
    ]
    whole["stretches"] = stretches
    return json.dumps(whole, allow_nan=False, ensure_ascii=False)


def text_grid(found: LongRecording) -> str:
    """Return a Praat TextGrid: a tier for each voice with the model's answers, and a tier about the analysis."""
    end = max([found.heard_s, *(s.end_s for s in found.stretches)], default=0.0)
    tiers = []
    for voice in found.voices:
        items: list[Interval] = [(s.start_s, s.end_s, _label(s.prediction)) for s in found.of(voice)]
        tiers += [interval_tier(found.called(voice), layer, end) for layer in layers(items, end)]
    model = f"{found.model}, adapted to each voice" if found.adapted else found.model
    about = f"file {found.name}; sha256 {found.sha256}; model {model}; {in_a_cell(found.model)}"
    tiers.append(interval_tier("about", [(0.0, end, about)] if end else [], end))
    return (
        f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end!r}\n'
        f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
        + "".join(f"item [{i}]:\n{tier}" for i, tier in enumerate(tiers, start=1))
    )


def _label(asked: Any) -> str:
    if asked is None:
        return "not asked"
    if asked.values is not None:
        return ", ".join(f"{name} {signed(asked.value(name))}" for name in asked.emotions)
    return f"{asked.top} {asked.probability(asked.top):.2f}"
