"""Which columns of a table fit, and what each gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui import service_table
from tui.rows import Column, layout

COLUMNS = (Column("", 1), Column("name", 8, grow=True), Column("rate", 6, rank=1), Column("more", 6, rank=2))


def test_all_columns_stay_with_narrower_gaps_before_one_goes() -> None:
    assert layout(COLUMNS, 29).gap == 2
    narrow = layout(COLUMNS, 26)
    assert (len(narrow.columns), narrow.gap) == (4, 1)


def test_the_highest_rank_goes_first_and_rank_none_never() -> None:
    assert [each.at for each in layout(COLUMNS, 24).columns] == [0, 1, 2]
    assert [each.at for each in layout(COLUMNS, 5).columns] == [0, 1]


def test_a_growing_column_takes_what_its_texts_need() -> None:
    assert layout(COLUMNS, 80, {1: 20}).columns[1].width == 20
    assert layout(COLUMNS, 40, {1: 60}).columns[1].width == 8 + 40 - 29


def test_two_growing_columns_share() -> None:
    two = (Column("a", 5, grow=True), Column("b", 5, grow=True))
    widths = [each.width for each in layout(two, 54, {0: 100, 1: 100}).columns]
    assert sum(widths) == 50
    assert min(widths) > 10


@given(st.integers(20, 300))
def test_the_table_of_services_never_is_wider_than_the_screen(width: int) -> None:
    plan = layout(service_table.COLUMNS, width, {1: 60})
    used = 2 + sum(each.width for each in plan.columns) + plan.gap * (len(plan.columns) - 1)
    fixed = [column for column in service_table.COLUMNS if not column.rank]
    least = 2 + sum(column.width if not column.grow else 1 for column in fixed) + len(fixed) - 1
    assert used <= max(width, least)
