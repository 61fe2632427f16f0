"""The base class of screens whose list can be sorted by its columns: keys, clicked heads, the order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from textual.binding import BindingType

from meshwright.tui import keys
from meshwright.tui.keys import bind
from meshwright.tui.navigation import Location
from meshwright.tui.screen import MeshScreen
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import SortMark, SortOrder, TableColumn

Item = TypeVar("Item")
Row = TypeVar("Row")


class SortableScreen(MeshScreen, Generic[Item]):
    """Its first table is the list. The order is kept while rows change and until the screen is closed."""

    COLUMNS: ClassVar[Sequence[TableColumn]]
    SORT_ORDERS: ClassVar[Sequence[SortOrder[Any]]]
    """The first is that at the start."""
    START_ROW: ClassVar[int] = 0
    """Where the cursor is at the start: at the first row (0) or the last (-1)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.SORT, "sort(1)"),
        bind(keys.SORT_BACK, "sort(-1)", show=False),
        bind(keys.REVERSE, "reverse", show=False),
    ]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._order = 0
        self._reverse = False

    @abstractmethod
    def draw_list(self) -> None:
        """Show the rows in the chosen order."""

    def in_order(self, items: Iterable[Item]) -> list[Item]:
        """The items in the chosen order; those that are equal in it keep theirs, or are reversed with it."""
        return self.rows_in_order(items, lambda item: item)

    def rows_in_order(self, rows: Iterable[Row], item_of: Callable[[Row], Item]) -> list[Row]:
        """As `in_order`, for rows that each have an item."""
        key = self.SORT_ORDERS[self._order].key
        ordered = sorted(rows, key=lambda row: key(item_of(row)))
        if self._reverse:
            ordered.reverse()
        return ordered

    @property
    def is_initial_order(self) -> bool:
        """Whether the list is as it was at the start."""
        return self._order == 0 and not self._reverse

    @property
    def sort_mark(self) -> SortMark:
        """The column that the list is sorted by, and in which direction."""
        order = self.SORT_ORDERS[self._order]
        titles = [column.title for column in self.COLUMNS]
        return SortMark(titles.index(order.title), order.descending != self._reverse)

    def on_table_header_clicked(self, message: Table.HeaderClicked) -> None:
        """Sort by the clicked column; again: reverse the order."""
        titles = [column.title for column in self.COLUMNS]
        if message.table is not self.query(Table).first():
            return
        at_start = self._is_cursor_at_start()
        for index, order in enumerate(self.SORT_ORDERS):
            if titles.index(order.title) == message.column:
                self._reverse = not self._reverse if index == self._order else False
                self._order = index
        self._draw_in_new_order(at_start)

    def action_sort(self, step: int) -> None:
        """Sort by the next or previous column."""
        at_start = self._is_cursor_at_start()
        self._order = (self._order + step) % len(self.SORT_ORDERS)
        self._reverse = False
        self.notify(f"sorted by {self.SORT_ORDERS[self._order].name}", timeout=2)
        self._draw_in_new_order(at_start)

    def action_reverse(self) -> None:
        """Reverse the order."""
        at_start = self._is_cursor_at_start()
        self._reverse = not self._reverse
        self._draw_in_new_order(at_start)

    def _is_cursor_at_start(self) -> bool:
        table = self.query(Table).first()
        last = self.is_initial_order and self.START_ROW == -1
        return table.cursor == (max(0, table.count - 1) if last else 0)

    def _draw_in_new_order(self, at_start: bool) -> None:
        """Show the list from its start if the cursor was there, else the selected row where it was."""
        self.draw_list()
        if at_start:
            self.query(Table).first().action_end(self.START_ROW if self.is_initial_order else 0)
