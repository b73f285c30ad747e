"""A comparison as files for other programs: JSON with everything but the voices, and CSV with the cue tables."""

import csv
import dataclasses
import io
import json

from explain.comparison import Comparison
from explain.cues import CLIP
from explain.export import cue_csv
from explain.export_json import to_json as explanation_json
from ser_core.intended_use import COLUMN, FORBIDDEN, STATEMENT


def to_json(found: Comparison) -> str:
    """Return the comparison as JSON text: each side in full (without the voice), the pairs, changes and sentences."""
    plain = {
        name: [dataclasses.asdict(row) for row in getattr(found, name)] for name in ("pairs", "changes", "relative")
    }
    whole = {
        "schema": "serscope comparison",
        "schema_version": 1,
        COLUMN: f"{STATEMENT} {FORBIDDEN}",
        "kind": found.kind,
        "titles": found.titles,
        "sentences": found.sentences,
        **plain,
        "sides": [json.loads(explanation_json(side)) for side in found.sides],
    }
    return json.dumps(whole, allow_nan=False, ensure_ascii=False)


def to_csv(found: Comparison) -> str:
    r"""Return the cue tables of all sides as CSV text, one row per side, cue and scope, lines ending in ``\r\n``.

    The columns are those of :func:`explain.export.cue_csv`, after ``side`` (1, 2, …). The whole clip's rows of one
    speaker's second clip also hold the change, its error and the verdict; those of two speakers the place in neutral
    speech (of the own sex where it is set).
    """
    changed = {row.cue: row for row in found.changes}
    placed = {row.cue: row for row in found.relative}
    rows: list[dict[str, object]] = []
    for place, side in enumerate(found.sides):
        for row in csv.DictReader(io.StringIO(cue_csv(side))):
            more: dict[str, object] = {"side": place + 1}
            change, relative = changed.get(row["cue"]), placed.get(row["cue"])
            if row["scope"] == CLIP and place == 1 and change is not None:
                more |= {
                    "difference": change.difference,
                    "error_of_measurement": change.error,
                    "smallest_detectable_change": change.smallest,
                    "change": change.verdict,
                }
            if row["scope"] == CLIP and relative is not None:
                more |= {
                    "neutral_percentile": relative.percentiles[place],
                    "neutral_normal_score": relative.scores[place],
                }
            rows.append(more | row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
