"""Rows of a table that are made when they are seen."""

from __future__ import annotations

from meshwright.tui.features.services import table
from meshwright.tui.features.sidecars import table
from meshwright.tui.widgets.table_model import LazyRows, TableCell, TableColumn, TableRow, rows_from
from tests.fakes.mesh_fixture import NOW
from tests.fakes.scenarios import broken, many


def test_only_rows_that_are_asked_for_are_made_and_each_of_them_once() -> None:
    made: list[int] = []

    def make(number: int) -> TableRow:
        made.append(number)
        return TableRow(str(number), (TableCell("x" * number),))

    lines = LazyRows(range(1000), key=str, make=make, texts={0: lambda number: "x" * number})
    assert (len(lines), lines.keys[999], lines.longest(0)) == (1000, "999", 999)
    assert not made
    assert [lines[at].key for at in (3, 7, 3)] == ["3", "7", "3"]
    assert made == [3, 7]


def test_rows_that_are_made_already_tell_how_long_their_texts_are() -> None:
    columns = (TableColumn("", 1), TableColumn("name", 4, grow=True))
    lines = rows_from([TableRow("a", (TableCell("●"), Cell("漢字"))), Row("b", (Cell("●"),))], columns)
    assert (lines.keys, lines.longest(1)) == (("a", "b"), 4)


def test_what_is_known_beforehand_of_growing_columns_is_what_is_drawn() -> None:
    for columns, lines in (
        (table.COLUMNS, table.build_rows(many(20).services.services)),
        (table.COLUMNS, table.build_rows(broken().proxies, 3, NOW)),
    ):
        drawn = rows_from([lines[at] for at in range(len(lines))], columns)
        assert lines.keys == drawn.keys
        growing = [at for at, column in enumerate(columns) if column.grow]
        assert [lines.longest(at) for at in growing] == [drawn.longest(at) for at in growing]
