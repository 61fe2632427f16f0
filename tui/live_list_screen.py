"""The base class of screens whose list grows at its end: log lines, live requests.

In the order of arrival the list follows its end while the cursor is there; anywhere else it holds still. A
pause holds it still, and what arrives meanwhile is shown afterwards. Items beyond `LIMIT` are dropped, the
oldest first.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar, Generic, NamedTuple, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api import signs
from meshwright.tui import keys
from meshwright.tui.keys import bind
from meshwright.tui.navigation import Location
from meshwright.tui.screen import LOADING
from meshwright.tui.search import SearchQuery, parse_search
from meshwright.tui.sortable_screen import SortableScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import LazyRows, TableRow

Item = TypeVar("Item")

NO_MATCH = "nothing matches: Esc shows all"


class ListEntry(NamedTuple, Generic[Item]):
    """An item and its number in the order of arrival."""

    number: int
    item: Item

    @property
    def key(self) -> str:
        """The key of its row."""
        return str(self.number)


class LiveListScreen(SortableScreen[Item]):
    """Subclasses fetch items in a worker, `add` them, and say by `source` where the list comes from."""

    EMPTY: ClassVar[str]
    NOUN: ClassVar[str]
    LIMIT: ClassVar[int]
    START_ROW: ClassVar[int] = -1
    DEFAULT_CSS = """
    LiveListScreen #filter { height: 1; padding: 0 1; }
    LiveListScreen #detail { height: auto; max-height: 6; padding: 0 1; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [bind(keys.PAUSE, "pause")]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._entries: deque[ListEntry[Item]] = deque(maxlen=self.LIMIT)
        self._number = 0
        self._query = SearchQuery()
        self._paused = False
        self._arrived = False
        self._problem = ""

    @abstractmethod
    def search_text(self, item: Item) -> str:
        """The text of an item that search looks at."""

    def search_labels(self, item: Item) -> str:  # noqa: ARG002  of subclasses
        """The labels of the item's instance."""
        return ""

    @abstractmethod
    def build_row(self, key: str, item: Item) -> TableRow:
        """The row of an item."""

    @abstractmethod
    def growing_texts(self, item: Item) -> Mapping[int, str]:
        """The text of each growing column."""

    @abstractmethod
    def detail(self, item: Item) -> Content:
        """The selected item in full."""

    def matches(self, item: Item) -> bool:  # noqa: ARG002  of subclasses
        """Whether the filters that keys set show an item."""
        return True

    def source(self) -> Iterator[Content]:
        """Parts of the line above the list: where it comes from, and the filters that keys set."""
        yield from ()

    def compose_body(self) -> ComposeResult:
        """The filter, the list, and the selected item in full."""
        yield Static(id="filter")
        yield Table(self.COLUMNS, empty=LOADING)
        yield Static(id="detail", markup=False)

    def add(self, items: Iterable[Item]) -> None:
        """Append items at the end; none: the list has been fetched and is empty or complete."""
        before = self._number
        for item in items:
            self._number += 1
            self._entries.append(ListEntry(self._number, item))
        first, self._arrived = not self._arrived, True
        if first or (self._number != before and not self._paused):
            self.draw_list()
        elif self._number != before:
            self.draw_filter()

    def set_problem(self, problem: str) -> None:
        """Say above the list why nothing arrives; empty: it does."""
        if problem != self._problem:
            self._problem = problem
            self.draw_filter()

    def item(self, key: str) -> Item | None:
        """The item of a row; None: it has been dropped."""
        if not self._entries or not key:
            return None
        index = int(key) - self._entries[0].number
        return self._entries[index].item if 0 <= index < len(self._entries) else None

    def draw_list(self) -> None:
        """Show the items that match."""
        if not self.is_mounted or not self.query(Table):
            return
        table = self.query_one(Table)
        follows = self.is_initial_order and table.cursor >= table.count - 1
        shown = [
            entry
            for entry in self._entries
            if self.matches(entry.item)
            and self._query.matches(self.search_text(entry.item), self.search_labels(entry.item))
        ]
        if self._arrived:
            table.empty = NO_MATCH if self._entries else self.EMPTY
        growing = [index for index, column in enumerate(self.COLUMNS) if column.grow]
        rows: LazyRows[ListEntry[Item]] = LazyRows(
            self.rows_in_order(shown, lambda entry: entry.item),
            key=lambda entry: entry.key,
            make=lambda entry: self.build_row(entry.key, entry.item),
            texts={index: self._growing_text(index) for index in growing},
        )
        table.set_rows(rows, sort_mark=self.sort_mark)
        if follows:
            table.action_end(-1)
        self.draw_filter()
        self._draw_detail(table.selected_key)

    def _is_searched(self, item: Item) -> bool:
        return self._query.matches(self.search_text(item), self.search_labels(item))

    def _growing_text(self, index: int) -> Callable[[ListEntry[Item]], str]:
        return lambda entry: self.growing_texts(entry.item)[index]

    def draw_filter(self) -> None:
        """Write the line above the list."""
        for line in self.query("#filter").results(Static):
            count = f"{self.query_one(Table).count} of {len(self._entries)} {self.NOUN}"
            parts = [paint(count, "dim"), *self.source()]
            parts.append(paint("paused: space resumes", "partial") if self._paused else paint("live", "dim"))
            if self._problem:
                parts.append(paint(f"{signs.BAD} {self._problem}", "bad"))
            line.update(Content("  ").join(parts))

    def _draw_detail(self, key: str) -> None:
        item = self.item(key)
        self.query_one("#detail", Static).update(Content("") if item is None else self.detail(item))

    def on_table_row_highlighted(self, message: Table.RowHighlighted) -> None:
        """Show the selected item in full."""
        self._draw_detail(message.key)

    def apply_search(self, text: str) -> None:
        """Show only items that match the text."""
        self._query = parse_search(text)
        self.draw_list()

    def action_pause(self) -> None:
        """Hold the list still, or show what has arrived since."""
        self._paused = not self._paused
        self.draw_list()
