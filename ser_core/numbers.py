"""Numbers in sentences: a true minus, and a space before the per cent sign."""


def signed(value: float) -> str:
    """Return a value from −1 to 1 with two decimals and a true sign."""
    return f"{value:+.2f}".replace("-", "−")


def rounded_percent(value: float, *, sign: bool = False) -> str:
    """Return a share or a change (−1 … 1) in whole per cent, with a true minus; ``sign`` also writes a plus."""
    return f"{100 * value:{'+' if sign else ''}.0f} %".replace("-", "−")
