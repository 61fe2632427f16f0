"""What a screen of one long list has: a table, a search in it, the chosen row, Enter that opens it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult

from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.navigation import Location
from meshwright.tui.screen import LOADING, MeshScreen
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import LazyRows, TableColumn

Item = TypeVar("Item")


class ListScreen(MeshScreen, Generic[Item]):
    """Items of the picture, one a line. `EMPTY`, `NOT_FOUND`: what to do when there is none."""

    COLUMNS: ClassVar[Sequence[TableColumn]]
    EMPTY: ClassVar[str]
    NO_MATCH: ClassVar[str]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._query = ""

    @abstractmethod
    def items(self, picture: DashboardState) -> Iterable[Item] | None:
        """All items; None: they never came."""

    @abstractmethod
    def search_text(self, item: Item) -> str:
        """What is searched of an item."""

    @abstractmethod
    def build_rows(self, found: Iterable[Item], picture: DashboardState) -> LazyRows[Item]:
        """The items that are shown as rows, in order."""

    @abstractmethod
    def location_of(self, key: str) -> Location:
        """Where Enter leads."""

    @property
    def sort_column(self) -> int:
        """The column by which they are sorted; -1: none."""
        return -1

    @property
    def selected_key(self) -> str:
        """The key of the row under the cursor; empty: there is none."""
        return self.query_one(Table).selected_key

    def compose_body(self) -> ComposeResult:
        """One table."""
        yield Table(self.COLUMNS, empty=LOADING)

    def refresh_data(self, picture: DashboardState) -> None:
        """What the search leaves of them."""
        known = self.items(picture)
        if known is None:
            return
        table = self.query_one(Table)
        table.empty = self.NO_MATCH if self._query else self.EMPTY
        found = [item for item in known if self._query in self.search_text(item)]
        table.set_rows(self.build_rows(found, picture), sort_column=self.sort_column)

    def apply_search(self, text: str) -> None:
        """Only those that hold the text."""
        self._query = text.strip().lower()
        self.refresh_data(self.mesh_state)

    def on_table_row_selected(self, message: Table.Chosen) -> None:
        """Enter: the item in detail."""
        self.session.go(self.location_of(message.key))
