"""The base class of screens that show one long list: a table with search; Enter opens the selected row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, TypeVar

from textual.app import ComposeResult

from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.navigation import Location
from meshwright.tui.screen import LOADING
from meshwright.tui.search import SearchQuery, parse_search
from meshwright.tui.sortable_screen import SortableScreen
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import LazyRows

Item = TypeVar("Item")

LABELS = "labels"
"""The title of the column with the labels of instances."""


class ListScreen(SortableScreen[Item]):
    """One row per item. `EMPTY` and `NO_MATCH` say what to do when there are none."""

    EMPTY: ClassVar[str]
    NO_MATCH: ClassVar[str]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._query = SearchQuery()

    @abstractmethod
    def items(self, state: DashboardState) -> Iterable[Item] | None:
        """All items; None: not fetched yet."""

    @abstractmethod
    def search_text(self, item: Item) -> str:
        """The text of an item that search looks at: names, states."""

    def search_labels(self, item: Item) -> str:  # noqa: ARG002  of subclasses
        """The labels of an item, as `label_text` writes them."""
        return ""

    @abstractmethod
    def build_rows(self, items: Iterable[Item], state: DashboardState) -> LazyRows[Item]:
        """The rows of these items, which are sorted."""

    @abstractmethod
    def location_of(self, key: str) -> Location:
        """The location that Enter opens for a row."""

    @property
    def selected_key(self) -> str:
        """The key of the selected row; empty: none."""
        return self.query_one(Table).selected_key

    @property
    def uses_labels(self) -> bool:
        """While something is searched, or a column shows them."""
        columns = [index for index, column in enumerate(self.COLUMNS) if column.title == LABELS]
        return super().uses_labels or any(
            table.shows(index) for table in self.query(Table) for index in columns
        )

    def on_table_columns_chosen(self) -> None:
        """Fetch what a new column shows."""
        self.resubscribe()
        self.refresh_data(self.mesh_state)

    def compose_body(self) -> ComposeResult:
        """The table."""
        yield Table(self.COLUMNS, empty=LOADING)

    def refresh_data(self, state: DashboardState) -> None:
        """Show the items that match the search."""
        items = self.items(state)
        if items is None:
            return
        table = self.query_one(Table)
        table.empty = self.NO_MATCH if self._query else self.EMPTY
        shown = [item for item in items if not self._query or self._matches(item)]
        table.set_rows(self.build_rows(self.in_order(shown), state), sort_mark=self.sort_mark)

    def _matches(self, item: Item) -> bool:
        return self._query.matches(self.search_text(item), self.search_labels(item))

    def draw_list(self) -> None:
        """Show the items again."""
        self.refresh_data(self.mesh_state)

    def apply_search(self, text: str) -> None:
        """Show only items that match the text."""
        self._query = parse_search(text)
        self.refresh_data(self.mesh_state)

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Enter: open the item."""
        self.session.go(self.location_of(message.key))
