"""Numbers in sentences: a true minus, and a space before the per cent sign."""


def signed(value: float, decimals: int = 2) -> str:
    """Return a number with its sign, a true minus, and no sign where it rounds to 0."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def rounded_percent(value: float, decimals: int = 0, *, sign: bool = False) -> str:
    """Return a share or a change (−1 … 1) in per cent, with a true minus; ``sign`` also writes a plus."""
    return f"{100 * value:{'+' if sign else ''}.{decimals}f} %".replace("-", "−")
