"""What every file for other programs is written with: spreadsheet cells, Praat's interval tiers, and plain JSON."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Spreadsheets take a cell that starts so for a formula (OWASP, "CSV Injection"); they fold full-width signs, too.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Interval = tuple[float, float, str]


def cell(value: Any) -> str:
    """Return a value as a spreadsheet's cell: floats read back bit for bit, and no text is run as a formula."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    if isinstance(value, float | np.floating):
        return repr(float(value))
    if not isinstance(value, str):
        return str(value)
    text = utf8(value)
    # A space in front does not stop a spreadsheet from seeing the formula.
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text


def csv_text(table: "pd.DataFrame", digits: int | None = None) -> str:
    r"""Return a table as CSV text (RFC 4180), lines ending in ``\r\n``, every cell and heading by ``cell``.

    Args:
        table: what is written, without its index.
        digits: how many of a float are kept; all by default.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([cell(str(name)) for name in table.columns])
    for row in table.astype(object).where(table.notna(), None).itertuples(index=False, name=None):
        given = ((float(f"{v:.{digits}g}") if digits and isinstance(v, float | np.floating) else v) for v in row)
        writer.writerow([cell(value) for value in given])
    return out.getvalue()


def csv_file(text: str) -> bytes:
    """Return CSV text as a file for people: with a byte order mark, or Excel takes UTF-8 for the local code page."""
    return text.encode("utf-8-sig")


def utf8(text: str) -> str:
    """Return text that UTF-8 can hold."""
    # A file name that is not UTF-8 reaches Python with lone surrogates, which no encoder takes.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def line(text: str) -> str:
    """Return text on one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in utf8(text))


def inside(items: Iterable[Interval], end: float) -> list[Interval]:
    """Return the intervals in order, cut to 0 … end."""
    clipped = ((max(0.0, float(a)), min(float(end), float(b)), label) for a, b, label in items)
    return sorted(item for item in clipped if item[1] > item[0])


def layers(items: Iterable[Interval], end: float) -> list[list[Interval]]:
    """Return the intervals in as few layers as hold them without overlap."""
    found: list[list[Interval]] = [[]]
    for item in inside(items, end):
        free = next((layer for layer in found if not layer or layer[-1][1] <= item[0]), None)
        if free is None:
            found.append([item])
        else:
            free.append(item)
    return found


def interval_tier(name: str, items: Sequence[Interval], end: float) -> str:
    """Return one interval tier of a Praat TextGrid; ``items`` are in order and do not overlap."""
    filled: list[Interval] = []
    at = 0.0
    for start, stop, label in items:
        if start > at:
            filled.append((at, start, ""))
        filled.append((start, stop, label))
        at = stop
    if at < end:
        filled.append((at, end, ""))
    text = f'class = "IntervalTier"\nname = {_quoted(name)}\nxmin = 0\nxmax = {end!r}\n'
    text += f"intervals: size = {len(filled)}\n"
    for i, (start, stop, label) in enumerate(filled, start=1):
        text += f"intervals [{i}]:\nxmin = {start!r}\nxmax = {stop!r}\ntext = {_quoted(label)}\n"
    return text


def _quoted(text: str) -> str:
    """Return text as a string of Praat's."""
    return '"' + line(text).replace('"', '""') + '"'


def by_field(thing: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, unchanged."""
    return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)}


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: arrays as ``{"dtype", "shape", "values"}``, NaN as null, infinities as text."""
    if isinstance(value, np.ndarray):
        flat = value.ravel()
        values = flat.tolist()
        if value.dtype.kind == "f" and not np.isfinite(flat).all():
            values = [plain(v) for v in values]
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": values}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {k: plain(v) for k, v in by_field(value).items()}
    if isinstance(value, dict):
        return {utf8(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else ("inf" if value > 0 else "-inf")
    if value is None or isinstance(value, bool | int | float):
        return value
    return utf8(str(value))
