"""Rows of a table before they are drawn: cells with a tone, columns that share the width. Pure.

Rows of many items are made when they are first seen (`Lines`): of a thousand services that change twice a
second a screenful is put into words, and of the rest only what places and widths depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from rich.cells import cell_len

from meshwright.tui.format import Tone

GAPS = (2, 1)
"""Cells between columns, the narrower where only that lets every column stay."""

FIRST_COLUMN_SHARE = 0.8
"""Of what is left over, as much as one growing column may take before the others had some."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """`width` in cells; `right`: figures; `grow`: takes what is left; `rank` 0: never dropped."""

    title: str
    width: int
    right: bool = False
    grow: bool = False
    drop_rank: int = 0


class TableCell(NamedTuple):
    """A figure or word and its tone."""

    text: str
    tone: Tone = "plain"


class TableRow(NamedTuple):
    """One line; `key` says which one it is, whatever its place."""

    key: str
    cells: tuple[TableCell, ...]


class LazyRows(Generic[Item]):
    """The rows of items from the top. `key` tells an item's key, `make` its row, `texts` what stands in
    columns that grow, by column: all three must agree.
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

    def __getitem__(self, at: int) -> TableRow:
        if at not in self._built:
            self._built[at] = self._make(self._items[at])
        return self._built[at]

    def longest(self, column: int) -> int:
        """Cells of the longest text in a column that grows."""
        text = self._texts[column]
        return max((cell_len(text(item)) for item in self._items), default=0)


def rows_from(rows: Iterable[TableRow], columns: Sequence[TableColumn]) -> LazyRows[TableRow]:
    """Rows that are made already."""

    def text(at: int) -> Callable[[TableRow], str]:
        return lambda row: row.cells[at].text if at < len(row.cells) else ""

    texts = {at: text(at) for at, column in enumerate(columns) if column.grow}
    return LazyRows(rows, key=lambda row: row.key, make=lambda row: row, texts=texts)


class ColumnWidth(NamedTuple):
    """A column that is shown: which one, and how wide."""

    column: int
    width: int


class TableLayout(NamedTuple):
    """What of a table is shown: the columns, and the cells between them."""

    columns: tuple[ColumnWidth, ...]
    gap: int


def fit_columns(
    columns: Sequence[TableColumn], width: int, longest: Mapping[int, int] | None = None
) -> TableLayout:
    """The columns that fit in `width` cells, and what each of them gets; `longest` are the cells that the
    texts of growing columns need, by column: they get no more.
    """
    numbers = list(range(len(columns)))
    while True:
        need = sum(columns[at].width for at in numbers) + 2
        gap = next((gap for gap in GAPS if need + gap * (len(numbers) - 1) <= width), 0)
        worst = max(numbers, key=lambda at: (columns[at].drop_rank, at))
        if gap or not columns[worst].drop_rank:
            break
        numbers.remove(worst)
    gap = gap or GAPS[-1]
    left = width - need - gap * (len(numbers) - 1)
    wide = {at: columns[at].width for at in numbers}
    growing = [at for at in numbers if columns[at].grow]
    for part in (FIRST_COLUMN_SHARE, 1.0):
        for at in growing:
            expected = max(0, (longest or {}).get(at, width) - wide[at])
            more = min(expected, int(left * part)) if left > 0 else left
            wide[at] = max(1, wide[at] + more)
            left -= more
    return TableLayout(tuple(ColumnWidth(at, wide[at]) for at in numbers), gap)
