"""Numbers in sentences: a true minus, and a space before the per cent sign."""

import math


def signed(value: float, decimals: int = 2) -> str:
    """Return a number with its sign, a true minus, no sign where it rounds to 0, and "–" where there is no number."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def unsigned(value: float | None, decimals: int = 2, *, thousands: bool = False) -> str:
    """Return a number with a true minus where it is negative, and "–" where there is none.

    ``thousands`` sets them apart by a narrow space.
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:z,.{decimals}f}".replace(",", "\u202f" if thousands else "").replace("-", "−")


def percent(share: float, decimals: int = 0) -> str:
    """Return a share (0 … 1) in per cent, never a false 0 or 100; "–" where there is no number."""
    if not math.isfinite(share):
        return "–"
    step = 10.0 ** -(decimals + 2)
    if 0 < share < step / 2:
        return f"< {rounded_percent(step, decimals)}"
    if 1 - step / 2 <= share < 1:
        return f"> {rounded_percent(1 - step, decimals)}"
    return rounded_percent(share, decimals)


def rounded_percent(value: float, decimals: int = 0, *, sign: bool = False) -> str:
    """Return a share or a change (−1 … 1) in per cent, with a true minus; ``sign`` also writes a plus.

    What rounds to 0 has no sign.
    """
    text = f"{100 * value:{'+' if sign else ''}.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return f"{text} %".replace("-", "−")


def counted(number: int, noun: str, plural: str = "s") -> str:
    """Return a number with its noun: "1 clip", "2,000 clips"."""
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}{plural}"
