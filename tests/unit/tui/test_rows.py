"""Rows of a table that are made when they are seen."""

from __future__ import annotations

from tests.fakes.admin_world import bad, many
from tests.fakes.world import NOW
from tui import service_table, sidecar_table
from tui.rows import Cell, Column, Lines, Row, lines_of


def test_only_rows_that_are_asked_for_are_made_and_each_of_them_once() -> None:
    made: list[int] = []

    def make(number: int) -> Row:
        made.append(number)
        return Row(str(number), (Cell("x" * number),))

    lines = Lines(range(1000), key=str, make=make, texts={0: lambda number: "x" * number})
    assert (len(lines), lines.keys[999], lines.longest(0)) == (1000, "999", 999)
    assert not made
    assert [lines[at].key for at in (3, 7, 3)] == ["3", "7", "3"]
    assert made == [3, 7]


def test_rows_that_are_made_already_tell_how_long_their_texts_are() -> None:
    columns = (Column("", 1), Column("name", 4, grow=True))
    lines = lines_of([Row("a", (Cell("●"), Cell("漢字"))), Row("b", (Cell("●"),))], columns)
    assert (lines.keys, lines.longest(1)) == (("a", "b"), 4)


def test_what_is_known_beforehand_of_growing_columns_is_what_is_drawn() -> None:
    for columns, lines in (
        (service_table.COLUMNS, service_table.lines(many(20).services.services)),
        (sidecar_table.COLUMNS, sidecar_table.lines(bad().proxies, 3, NOW)),
    ):
        drawn = lines_of([lines[at] for at in range(len(lines))], columns)
        assert lines.keys == drawn.keys
        growing = [at for at, column in enumerate(columns) if column.grow]
        assert [lines.longest(at) for at in growing] == [drawn.longest(at) for at in growing]
