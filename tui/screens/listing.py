"""What a screen of one long list has: a table, a search in it, the chosen row, Enter that opens it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult

from tui.picture import Picture
from tui.places import Place
from tui.rows import Column, Lines
from tui.screens.base import LOADING, MeshScreen
from tui.widgets.table import Table

Item = TypeVar("Item")


class ListScreen(MeshScreen, Generic[Item]):
    """Items of the picture, one a line. `EMPTY`, `NOT_FOUND`: what to do when there is none."""

    COLUMNS: ClassVar[Sequence[Column]]
    EMPTY: ClassVar[str]
    NOT_FOUND: ClassVar[str]

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._wanted = ""

    @abstractmethod
    def known(self, picture: Picture) -> Iterable[Item] | None:
        """All items; None: they never came."""

    @abstractmethod
    def words_of(self, item: Item) -> str:
        """What is searched of an item."""

    @abstractmethod
    def lines(self, found: Iterable[Item], picture: Picture) -> Lines[Item]:
        """The items that are shown as rows, in order."""

    @abstractmethod
    def open(self, key: str) -> Place:
        """Where Enter leads."""

    @property
    def marked(self) -> int:
        """The column by which they are sorted; -1: none."""
        return -1

    @property
    def chosen(self) -> str:
        """The key of the row under the cursor; empty: there is none."""
        return self.query_one(Table).chosen

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(self.COLUMNS, empty=LOADING)

    def show_picture(self, picture: Picture) -> None:
        """What the search leaves of them."""
        known = self.known(picture)
        if known is None:
            return
        table = self.query_one(Table)
        table.empty = self.NOT_FOUND if self._wanted else self.EMPTY
        found = [item for item in known if self._wanted in self.words_of(item)]
        table.show(self.lines(found, picture), marked=self.marked)

    def find(self, text: str) -> None:
        """Only those that hold the text."""
        self._wanted = text.strip().lower()
        self.show_picture(self.picture)

    def on_table_chosen(self, message: Table.Chosen) -> None:
        """Enter: the item in detail."""
        self.dash.go(self.open(message.key))
