"""Numbers in sentences: a true minus, a dash for none, and no sign before what rounds to 0."""

import math

import pytest

from explain.words import in_percent
from ser_core.numbers import percent, rounded_percent, signed, unsigned


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (signed(1.234), "+1.23"),
        (signed(-1.236, 1), "−1.2"),
        (signed(-0.001), "0.00"),
        (signed(math.nan), "–"),
        (unsigned(-0.5, 1), "−0.5"),
        (unsigned(-0.004), "0.00"),
        (unsigned(0.5), "0.50"),
        (unsigned(None), "–"),
        (unsigned(math.inf), "–"),
        (unsigned(-12345.6, 0), "−12346"),
        (unsigned(-12345.6, 0, thousands=True), "−12\u202f346"),
        (rounded_percent(-0.126, 1), "−12.6 %"),
        (rounded_percent(0.126, sign=True), "+13 %"),
        (rounded_percent(-0.001), "0 %"),
        (rounded_percent(-0.0001, 1), "0.0 %"),
        (rounded_percent(0.001, sign=True), "0 %"),
        (percent(0.0), "0 %"),
        (percent(0.004), "< 1 %"),
        (percent(0.007), "1 %"),
        (percent(0.994), "99 %"),
        (percent(0.996), "> 99 %"),
        (percent(1.0), "100 %"),
        (percent(math.nan), "–"),
        (in_percent(0.004), "under 1 %"),
        (in_percent(0.007), "1 %"),
        (in_percent(0.996), "over 99 %"),
    ],
)
def test_a_number_is_written_as_print_writes_it(said: str, wanted: str) -> None:
    assert said == wanted
