"""The rows of a table before they are drawn: cells with a tone, and columns that share the width. Pure.

Rows of large lists are built when they are first drawn (`LazyRows`): of a thousand services that change twice
a second only a screenful is formatted, and of the others only the keys and the widths of growing columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from rich.cells import cell_len

from meshwright.tui.format import Tone

GAPS = (2, 1)
"""Cells between columns; the narrower gap if only that keeps every column."""

FIRST_COLUMN_SHARE = 0.8
"""Share of the spare width that a growing column may take before the next one."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """`width` in cells. `right`: right-aligned. `grow`: takes spare width. `drop_rank` 0: never dropped.

    `optional`: shown only where the user chose it.
    """

    title: str
    width: int
    right: bool = False
    grow: bool = False
    drop_rank: int = 0
    optional: bool = False


class TableCell(NamedTuple):
    """A text and its tone."""

    text: str
    tone: Tone = "plain"


class TableRow(NamedTuple):
    """One row; `key` identifies it."""

    key: str
    cells: tuple[TableCell, ...]


class SortOrder(NamedTuple, Generic[Item]):
    """A sort order. `title`: the column that is marked as sorted. `key` puts the most interesting first.

    `descending`: that is the highest, latest or worst value of the column.
    """

    name: str
    title: str
    key: Callable[[Item], Any]
    descending: bool = False


class SortMark(NamedTuple):
    """The column that rows are sorted by (-1: none), and whether the highest value comes first."""

    column: int
    descending: bool

    @property
    def sign(self) -> str:
        """What stands after the head of the column."""
        return "▼" if self.descending else "▲"


UNSORTED = SortMark(-1, False)


class LazyRows(Generic[Item]):
    """The rows of some items. `key` returns an item's key, `make` its row, and `texts` the text of each
    growing column; all three must agree.
    """

    def __init__(
        self,
        items: Iterable[Item],
        *,
        key: Callable[[Item], str],
        make: Callable[[Item], TableRow],
        texts: Mapping[int, Callable[[Item], str]],
    ) -> None:
        self._items = tuple(items)
        self._make = make
        self._texts = texts
        self._built: dict[int, TableRow] = {}
        self.keys = tuple(map(key, self._items))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> TableRow:
        if index not in self._built:
            self._built[index] = self._make(self._items[index])
        return self._built[index]

    def longest(self, column: int) -> int:
        """Cells of the longest text in a growing column."""
        text = self._texts[column]
        return max((cell_len(text(item)) for item in self._items), default=0)


def rows_from(rows: Iterable[TableRow], columns: Sequence[TableColumn]) -> LazyRows[TableRow]:
    """Rows that are already built."""

    def text(index: int) -> Callable[[TableRow], str]:
        return lambda row: row.cells[index].text if index < len(row.cells) else ""

    texts = {index: text(index) for index, column in enumerate(columns) if column.grow}
    return LazyRows(rows, key=lambda row: row.key, make=lambda row: row, texts=texts)


class ColumnWidth(NamedTuple):
    """The index and the width of a visible column."""

    column: int
    width: int


class ColumnChoice(NamedTuple):
    """What the user chose, by index: columns that are shown whatever the width, and those that are not."""

    shown: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()

    def toggled(self, column: int, *, show: bool) -> ColumnChoice:
        """The same with another column shown or hidden."""
        if show:
            return ColumnChoice(self.shown | {column}, self.hidden - {column})
        return ColumnChoice(self.shown - {column}, self.hidden | {column})


NO_CHOICE = ColumnChoice()


class TableLayout(NamedTuple):
    """The visible columns, and the cells between them."""

    columns: tuple[ColumnWidth, ...]
    gap: int


def fit_columns(
    columns: Sequence[TableColumn],
    width: int,
    longest: Mapping[int, int] | None = None,
    choice: ColumnChoice = NO_CHOICE,
) -> TableLayout:
    """The columns that fit in `width` cells, with their widths.

    `longest`: cells of the longest text in each growing column, which gets no more than that.
    """
    ranks = [0 if index in choice.shown else column.drop_rank for index, column in enumerate(columns)]
    visible = [
        index
        for index, column in enumerate(columns)
        if index not in choice.hidden and (index in choice.shown or not column.optional)
    ]
    while True:
        need = sum(columns[index].width for index in visible) + 2
        gap = next((gap for gap in GAPS if need + gap * (len(visible) - 1) <= width), 0)
        worst = max(visible, key=lambda index: (ranks[index], index))
        if gap or not ranks[worst]:
            break
        visible.remove(worst)
    gap = gap or GAPS[-1]
    spare = width - need - gap * (len(visible) - 1)
    widths = {index: columns[index].width for index in visible}
    growing = [index for index in visible if columns[index].grow]
    for share in (FIRST_COLUMN_SHARE, 1.0):
        for index in growing:
            missing = max(0, (longest or {}).get(index, width) - widths[index])
            more = min(missing, int(spare * share)) if spare > 0 else spare
            widths[index] = max(1, widths[index] + more)
            spare -= more
    return TableLayout(tuple(ColumnWidth(index, widths[index]) for index in visible), gap)
