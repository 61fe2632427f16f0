"""Figures and states as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from meshwright.tui.format import (
    format_age,
    format_failure_percent,
    format_latency,
    format_milliseconds,
    format_number,
    format_percent,
    pad,
    sanitize,
    sparkline,
    truncate,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.0001, "<0.01"), (0.31, "0.31"), (1.236, "1.24"), (9.999, "10.0"), (12.44, "12.4"),
        (99.96, "100"), (412.4, "412"), (9994, "9994"), (12_400, "12.4k"), (999_600, "1.00M"),
        (2.5e9, "2.50G"),
        (-12.44, "-12.4"),
    ],
)  # fmt: skip
def test_format_number_has_three_digits(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "100"), (0.999_999_9, "99.99"), (0.9991, "99.91"), (0.998, "99.8"), (0.61, "61.0"), (0, "0.0")],
)
def test_format_percent_never_rounds_up_to_100(value: float, text: str) -> None:
    assert format_percent(value) == text


def test_format_failure_percent_never_rounds_down_to_0() -> None:
    assert format_failure_percent(1e-9) == "<0.01"
    assert format_failure_percent(0) == "0"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (4.4, "4 s"), (180, "3 min"), (7200, "2 h"), (5 * 86400, "5 d")]
)
def test_format_age_uses_one_unit(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


@given(st.text(max_size=40), st.integers(0, 30))
def test_truncate_and_pad_count_cells(text: str, width: int) -> None:
    clean = sanitize(text)
    assert cell_len(truncate(clean, width)) <= width
    assert cell_len(pad(clean, width)) == width


def test_sanitize_removes_control_characters() -> None:
    assert sanitize("a\x1b[31mb\nc\x07") == "a [31mb c "


@given(st.lists(st.floats(0, 1e9), max_size=100), st.integers(1, 40))
def test_sparkline_is_as_wide_as_requested(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == width


def test_sparkline_draws_the_maximum_of_values_that_share_a_cell() -> None:
    assert sparkline([0, 0, 0, 9, 0, 0], 3) == "▁▇▁"
    assert sparkline([0, 1, 100], 3, zero=" ") == " ▁▇"
    assert sparkline([1, 2], 4, 4) == "  ▃▄"


@pytest.mark.parametrize(
    ("ms", "column", "text"),
    [
        (0.314, "0.31", "0.31 ms"),
        (502.4, "502", "502 ms"),
        (1_932, "1932", "1.93 s"),
        (14_650, "14650", "14.7 s"),
        (90_000, "90000", "90.0 s"),
        (120_000, "120k", "120 s"),
    ],
)
def test_latencies_of_seconds_are_not_thousands_of_ms(ms: float, column: str, text: str) -> None:
    assert (format_latency(ms), format_milliseconds(ms)) == (column, text)
