"""The base class of screens that show one long list: a table with search; Enter opens the selected row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import Location
from meshwright.tui.screen import LOADING, MeshScreen
from meshwright.tui.search import SearchQuery, parse_search
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import LazyRows, SortOrder, TableColumn

Item = TypeVar("Item")


class ListScreen(MeshScreen, Generic[Item]):
    """One row per item. `EMPTY` and `NO_MATCH` say what to do when there are none."""

    COLUMNS: ClassVar[Sequence[TableColumn]]
    EMPTY: ClassVar[str]
    NO_MATCH: ClassVar[str]
    SORT_ORDERS: ClassVar[Sequence[SortOrder[Any]]]
    """The first is that at the start."""
    SEARCH_FIELDS: ClassVar[frozenset[StateField]] = frozenset()
    """Fields that are polled only while something is searched."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("greater_than_sign", "sort(1)", "sort by next", key_display=">"),
        Binding("less_than_sign", "sort(-1)", "sort by previous", key_display="<", show=False),
        Binding("r", "reverse", "reverse"),
    ]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._query = SearchQuery()
        self._order = 0
        self._reverse = False

    @abstractmethod
    def items(self, state: DashboardState) -> Iterable[Item] | None:
        """All items; None: not fetched yet."""

    @abstractmethod
    def search_text(self, item: Item) -> str:
        """The text of an item that search looks at: names, states, and labels as `key=value`."""

    def prepare_search(self, state: DashboardState) -> None:
        """Compute what `search_text` needs of a new state, once for all items."""

    @abstractmethod
    def build_rows(self, items: Iterable[Item], state: DashboardState) -> LazyRows[Item]:
        """The rows of these items, which are sorted."""

    @abstractmethod
    def location_of(self, key: str) -> Location:
        """The location that Enter opens for a row."""

    @property
    def sort_column(self) -> int:
        """The column that the table is sorted by, the first for an order that no column shows."""
        titles = [column.title for column in self.COLUMNS]
        return titles.index(self.SORT_ORDERS[self._order].title)

    @property
    def selected_key(self) -> str:
        """The key of the selected row; empty: none."""
        return self.query_one(Table).selected_key

    def compose_body(self) -> ComposeResult:
        """The table."""
        yield Table(self.COLUMNS, empty=LOADING)

    def refresh_data(self, state: DashboardState) -> None:
        """Show the items that match the search."""
        items = self.items(state)
        if items is None:
            return
        if self._query:
            self.prepare_search(state)
        table = self.query_one(Table)
        table.empty = self.NO_MATCH if self._query else self.EMPTY
        shown = [item for item in items if not self._query or self._query.matches(self.search_text(item))]
        shown.sort(key=self.SORT_ORDERS[self._order].key, reverse=self._reverse)
        table.set_rows(self.build_rows(shown, state), sort_column=self.sort_column)

    def apply_search(self, text: str) -> None:
        """Show only items that match the text."""
        self._query = parse_search(text)
        self.session.poller.subscribe(
            self.STATE_FIELDS | (self.SEARCH_FIELDS if self._query else frozenset())
        )
        self.refresh_data(self.mesh_state)

    def on_table_header_clicked(self, message: Table.HeaderClicked) -> None:
        """Sort by the clicked column; again: reverse the order."""
        title = self.COLUMNS[message.column].title
        for index, order in enumerate(self.SORT_ORDERS):
            if order.title == title:
                self._reverse = not self._reverse if index == self._order else False
                self._order = index
        self.refresh_data(self.mesh_state)

    def action_sort(self, step: int) -> None:
        """Sort by the next or previous column."""
        self._order = (self._order + step) % len(self.SORT_ORDERS)
        self._reverse = False
        self.notify(f"sorted by {self.SORT_ORDERS[self._order].name}", timeout=2)
        self.refresh_data(self.mesh_state)

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._reverse = not self._reverse
        self.refresh_data(self.mesh_state)

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Enter: open the item."""
        self.session.go(self.location_of(message.key))
