"""Which columns of a table fit, and what each gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshwright.tui.features.services import table
from meshwright.tui.widgets.table_model import TableColumn, fit_columns

COLUMNS = (
    TableColumn("", 1),
    TableColumn("name", 8, grow=True),
    TableColumn("rate", 6, drop_rank=1),
    TableColumn("more", 6, drop_rank=2),
)


def test_all_columns_stay_with_narrower_gaps_before_one_goes() -> None:
    assert fit_columns(COLUMNS, 29).gap == 2
    narrow = fit_columns(COLUMNS, 26)
    assert (len(narrow.columns), narrow.gap) == (4, 1)


def test_the_highest_rank_goes_first_and_rank_none_never() -> None:
    assert [each.column for each in fit_columns(COLUMNS, 24).columns] == [0, 1, 2]
    assert [each.column for each in fit_columns(COLUMNS, 5).columns] == [0, 1]


def test_a_growing_column_takes_what_its_texts_need() -> None:
    assert fit_columns(COLUMNS, 80, {1: 20}).columns[1].width == 20
    assert fit_columns(COLUMNS, 40, {1: 60}).columns[1].width == 8 + 40 - 29


def test_two_growing_columns_share() -> None:
    two = (TableColumn("a", 5, grow=True), TableColumn("b", 5, grow=True))
    widths = [each.width for each in fit_columns(two, 54, {0: 100, 1: 100}).columns]
    assert sum(widths) == 50
    assert min(widths) > 10


@given(st.integers(20, 300))
def test_the_table_of_services_never_is_wider_than_the_screen(width: int) -> None:
    plan = fit_columns(table.COLUMNS, width, {1: 60})
    used = 2 + sum(each.width for each in plan.columns) + plan.gap * (len(plan.columns) - 1)
    fixed = [column for column in table.COLUMNS if not column.drop_rank]
    least = 2 + sum(column.width if not column.grow else 1 for column in fixed) + len(fixed) - 1
    assert used <= max(width, least)
