"""A table with a title, one of several on a screen: title and heads of the columns share a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.app import ComposeResult
from textual.containers import Container

from meshwright.tui.widgets.sortable_table import SortableTable
from meshwright.tui.widgets.table_model import TableColumn, TableRow


class TitledTable(Container):
    """The title is also the widget's ID."""

    DEFAULT_CSS = """
    TitledTable { height: 1fr; }
    """

    def __init__(self, title: str, columns: Sequence[TableColumn], empty: str) -> None:
        super().__init__(id=title)
        self._title = title
        self._columns = columns
        self._empty = empty

    def compose(self) -> ComposeResult:
        """The table."""
        yield SortableTable(self._columns, empty=self._empty, title=self._title)

    def set_empty(self, text: str) -> None:
        """Show this text while there are no rows."""
        self.query_one(SortableTable).empty = text

    def set_rows(self, rows: Iterable[TableRow]) -> None:
        """Show these rows; the title has their number."""
        table = self.query_one(SortableTable)
        table.set_rows(rows)
        table.set_title(f"{self._title} {table.count}" if table.count else self._title)
