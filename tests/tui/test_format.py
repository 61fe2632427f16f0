"""Figures and states in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from meshwright.tui.format import (
    format_age,
    format_failure_percent,
    format_number,
    format_percent,
    pad,
    sanitize,
    sparkline,
    truncate,
)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"), (0.0001, "<0.01"), (0.31, "0.31"), (1.236, "1.24"), (9.999, "10.0"), (12.44, "12.4"),
        (99.96, "100"), (412.4, "412"), (9994, "9994"), (12_400, "12.4k"), (999_600, "1.00M"),
        (2.5e9, "2.50G"),
        (-12.44, "-12.4"),
    ],
)  # fmt: skip
def test_three_digits(value: float, said: str) -> None:
    assert format_number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(1, "100"), (0.999_999_9, "99.99"), (0.9991, "99.91"), (0.998, "99.8"), (0.61, "61.0"), (0, "0.0")],
)
def test_a_share_is_never_rounded_up_to_a_whole(value: float, said: str) -> None:
    assert format_percent(value) == said


def test_some_failures_are_never_rounded_down_to_none() -> None:
    assert format_failure_percent(1e-9) == "<0.01"
    assert format_failure_percent(0) == "0"


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0 s"), (4.4, "4 s"), (180, "3 min"), (7200, "2 h"), (5 * 86400, "5 d")]
)
def test_ages(seconds: float, said: str) -> None:
    assert format_age(seconds) == said


@given(st.text(max_size=40), st.integers(0, 30))
def test_a_cut_text_fits_its_cells(text: str, width: int) -> None:
    clean = sanitize(text)
    assert cell_len(truncate(clean, width)) <= width
    assert cell_len(pad(clean, width)) == width


def test_what_a_peer_sends_cannot_move_the_cursor() -> None:
    assert sanitize("a\x1b[31mb\nc\x07") == "a [31mb c "


@given(st.lists(st.floats(0, 1e9), max_size=100), st.integers(1, 40))
def test_bars_are_as_many_as_cells(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == width


def test_the_highest_of_values_that_share_a_cell_is_drawn() -> None:
    assert sparkline([0, 0, 0, 9, 0, 0], 3) == "▁▇▁"
    assert sparkline([0, 1, 100], 3, zero=" ") == " ▁▇"
    assert sparkline([1, 2], 4, 4) == "  ▃▄"
