"""Cells are ordered by what they show."""

from __future__ import annotations

import pytest

from meshwright.tui.format import format_age, format_mib, format_number
from meshwright.tui.widgets.cell_order import cell_order, is_blank


@pytest.mark.parametrize(
    "ordered",
    [
        ["0", "0.31", "2", "12.4", "99", "412", "1.24k", "9.99k", "12.4M"],
        ["<0.01", "0.02"],
        ["4 s", "99 s", "2 min", "99 min", "2 h", "5 d"],
        ["0/2", "1/2", "2/2"],
        ["98.1", "99.99", "100"],
        ["12:59:01", "13:00:00"],
        ["orders-2", "orders-10", "users-1"],
        ["alpha", "Beta", "gamma"],
        ["7", "v1", "v2"],
        ["10.0.0.7:80", "10.0.0.10:80"],
    ],
)
def test_cells_are_ordered_by_value(ordered: list[str]) -> None:
    backwards = ordered[::-1]
    assert sorted(backwards, key=cell_order) == ordered


def test_what_the_dashboard_formats_is_read_as_a_figure() -> None:
    numbers = [0.0, 0.02, 1.5, 40.0, 999.0, 12_000.0, 3e6, 5e9]
    assert [format_number(number) for number in numbers] == sorted(
        map(format_number, numbers), key=cell_order
    )
    assert [format_age(number) for number in numbers] == sorted(map(format_age, numbers), key=cell_order)
    assert cell_order(format_mib(2**20)) == cell_order("1.00 MiB")


def test_cells_without_a_value_are_blank() -> None:
    assert is_blank("")
    assert is_blank("–")
    assert not is_blank("0")
