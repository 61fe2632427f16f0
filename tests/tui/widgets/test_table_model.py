"""Rows that are built when they are first drawn, and the widths of columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.models.topology import HealthThresholds
from meshwright.tui.features.services import table as service_table
from meshwright.tui.features.sidecars import table as sidecar_table
from meshwright.tui.widgets.table_model import (
    NO_CHOICE,
    ColumnChoice,
    LazyRows,
    TableCell,
    TableColumn,
    TableRow,
    fit_columns,
    rows_from,
)
from tests.fakes.mesh_fixture import NOW
from tests.fakes.scenarios import broken, many

COLUMNS = (
    TableColumn("", 1),
    TableColumn("name", 8, grow=True),
    TableColumn("rate", 6, drop_rank=1),
    TableColumn("more", 6, drop_rank=2),
)


def test_lazy_rows_build_each_row_once_when_it_is_first_used() -> None:
    built: list[int] = []

    def make(number: int) -> TableRow:
        built.append(number)
        return TableRow(str(number), (TableCell("x" * number),))

    rows = LazyRows(range(1000), key=str, make=make, texts={0: lambda number: "x" * number})
    assert (len(rows), rows.keys[999], rows.longest(0)) == (1000, "999", 999)
    assert not built
    assert [rows[index].key for index in (3, 7, 3)] == ["3", "7", "3"]
    assert built == [3, 7]


def test_longest_counts_cells_not_characters() -> None:
    columns = (TableColumn("", 1), TableColumn("name", 4, grow=True))
    wide = TableRow("a", (TableCell("●"), TableCell("漢字")))
    rows = rows_from([wide, TableRow("b", (TableCell("●"),))], columns)
    assert (rows.keys, rows.longest(1)) == (("a", "b"), 4)


def test_longest_of_lazy_rows_equals_that_of_built_rows() -> None:
    for columns, lazy in (
        (
            service_table.COLUMNS,
            service_table.build_rows(many(20).services.services, HealthThresholds(), "zone=a {}".format),
        ),
        (sidecar_table.COLUMNS, sidecar_table.build_rows(broken().proxies, 3, NOW, "zone=a {}".format)),
    ):
        built = rows_from([lazy[index] for index in range(len(lazy))], columns)
        assert lazy.keys == built.keys
        growing = [index for index, column in enumerate(columns) if column.grow]
        assert [lazy.longest(index) for index in growing] == [built.longest(index) for index in growing]


def test_fit_columns_narrows_the_gaps_before_it_drops_a_column() -> None:
    assert fit_columns(COLUMNS, 29).gap == 2
    narrow = fit_columns(COLUMNS, 26)
    assert (len(narrow.columns), narrow.gap) == (4, 1)


def test_fit_columns_drops_the_highest_rank_first_and_never_rank_zero() -> None:
    assert [shown.column for shown in fit_columns(COLUMNS, 24).columns] == [0, 1, 2]
    assert [shown.column for shown in fit_columns(COLUMNS, 5).columns] == [0, 1]


def test_fit_columns_shows_what_the_user_chose_and_hides_what_he_did_not() -> None:
    columns = (*COLUMNS, TableColumn("labels", 6, optional=True))
    labels = len(COLUMNS)

    def shown(width: int, choice: ColumnChoice = NO_CHOICE) -> list[int]:
        return [each.column for each in fit_columns(columns, width, choice=choice).columns]

    assert labels not in shown(200)
    chosen = NO_CHOICE.toggled(labels, show=True)
    assert shown(200, chosen) == [*range(len(columns))]
    assert labels in shown(5, chosen)
    assert 1 not in shown(200, chosen.toggled(1, show=False))
    assert shown(200, chosen.toggled(labels, show=False)) == shown(200)


def test_a_growing_column_gets_the_width_of_its_longest_text() -> None:
    assert fit_columns(COLUMNS, 80, {1: 20}).columns[1].width == 20
    assert fit_columns(COLUMNS, 40, {1: 60}).columns[1].width == 8 + 40 - 29


def test_two_growing_columns_share_the_spare_width() -> None:
    two = (TableColumn("a", 5, grow=True), TableColumn("b", 5, grow=True))
    widths = [shown.width for shown in fit_columns(two, 54, {0: 100, 1: 100}).columns]
    assert sum(widths) == 50
    assert min(widths) > 10


@given(st.integers(20, 300))
def test_the_service_table_is_never_wider_than_the_terminal(width: int) -> None:
    layout = fit_columns(service_table.COLUMNS, width, {1: 60})
    used = 2 + sum(shown.width for shown in layout.columns) + layout.gap * (len(layout.columns) - 1)
    fixed = [column for column in service_table.COLUMNS if not column.drop_rank]
    minimum = 2 + sum(column.width if not column.grow else 1 for column in fixed) + len(fixed) - 1
    assert used <= max(width, minimum)
