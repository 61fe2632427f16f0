"""A table of a pane: sorted by any of its columns, by what the cells show, with the keys of lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual.binding import BindingType

from meshwright.tui import keys
from meshwright.tui.keys import bind
from meshwright.tui.widgets.cell_order import cell_order, is_blank
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import (
    UNSORTED,
    LazyRows,
    SortMark,
    TableColumn,
    TableRow,
    rows_from,
)


class SortableTable(Table):
    """Shows rows in the order in which they are given, until the user chooses a column."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.SORT, "sort(1)"),
        bind(keys.SORT_BACK, "sort(-1)", show=False),
        bind(keys.REVERSE, "reverse", show=False),
    ]

    def __init__(
        self, columns: Sequence[TableColumn], *, empty: str = "", title: str = "", id: str | None = None
    ) -> None:
        """As for a table."""
        super().__init__(columns, empty=empty, title=title, id=id)
        self._given: tuple[TableRow, ...] = ()
        self._order = UNSORTED

    def set_rows(self, rows: Iterable[TableRow] | LazyRows[Any], *, sort_mark: SortMark = UNSORTED) -> None:
        """Show these rows in the chosen order. `sort_mark`: that of the order in which they are given."""
        self._given = tuple(rows[n] for n in range(len(rows))) if isinstance(rows, LazyRows) else tuple(rows)
        mark = sort_mark if self._order == UNSORTED else self._order
        super().set_rows(rows_from(self._sorted(), self._columns), sort_mark=mark)

    def _sorted(self) -> list[TableRow]:
        if self._order == UNSORTED:
            return list(self._given)
        column, descending = self._order

        def text(row: TableRow) -> str:
            return row.cells[column].text if column < len(row.cells) else ""

        filled = [row for row in self._given if not is_blank(text(row))]
        filled.sort(key=lambda row: cell_order(text(row)), reverse=descending)
        return filled + [row for row in self._given if is_blank(text(row))]

    def on_table_header_clicked(self, message: Table.HeaderClicked) -> None:
        """Sort by the clicked column; again: reverse the order."""
        message.stop()
        if message.column == self._order.column:
            self.action_reverse()
        elif self._columns[message.column].title:
            self._sort_by(message.column)

    def action_sort(self, step: int) -> None:
        """Sort by the next or previous column that is shown; after the last one not at all."""
        shown = [index for index, _ in self._column_layout.columns if self._columns[index].title]
        choices = [UNSORTED.column, *shown]
        place = choices.index(self._order.column) if self._order.column in choices else 0
        self._sort_by(choices[(place + step) % len(choices)])

    def action_reverse(self) -> None:
        """Reverse the order."""
        if self._order != UNSORTED:
            self._order = self._order._replace(descending=not self._order.descending)
            self._show_order()

    def _sort_by(self, column: int) -> None:
        """By a column (-1: none), figures from the highest."""
        self._order = SortMark(column, self._columns[column].right) if column >= 0 else UNSORTED
        title = self._columns[column].title if column >= 0 else ""
        self.notify(f"sorted by {title}" if title else "in the usual order", timeout=2)
        self._show_order()

    def _show_order(self) -> None:
        """Show the rows from the start if the cursor was there, else the selected row where it was."""
        at_start = self.cursor == 0
        self.set_rows(self._given)
        if at_start:
            self.action_end(0)
