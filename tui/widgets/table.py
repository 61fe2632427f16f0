"""A table of any length that draws only the lines that are seen, and keeps its cursor on the same row.

Cells are plain text with a tone, and of a thousand rows that change twice a second only those in the window
are made, only those drawn that became others. Columns have fixed widths, the ones marked `grow` share what is
left; where the terminal is too narrow whole columns go, the highest `rank` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from meshwright.tui.format import pad
from meshwright.tui.widgets.table_model import (
    LazyRows,
    TableCell,
    TableColumn,
    TableLayout,
    TableRow,
    fit_columns,
    rows_from,
)


class Table(ScrollView, can_focus=True):
    """Rows under a head. `show` replaces them; Enter or a click on the chosen row posts `Chosen`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--head", "table--cursor", "table--good", "table--partial", "table--bad", "table--off",
        "table--dim", "table--sorted", "table--strong", "table--accent", "table--plain",
    }  # fmt: skip
    DEFAULT_CSS = """
    Table { height: 1fr; width: 1fr; background: $background; overflow-x: hidden;
        scrollbar-size-vertical: 1;
    }
    Table > .table--head { color: $mesh-muted; background: $panel; text-style: bold; }
    Table > .table--plain { color: $foreground; }
    Table > .table--cursor { background: $mesh-cursor 50%; }
    Table:focus > .table--cursor { background: $mesh-cursor; text-style: bold; }
    Table > .table--good { color: $success; }
    Table > .table--partial { color: $warning; }
    Table > .table--bad { color: $error; text-style: bold; }
    Table > .table--off, Table > .table--dim { color: $mesh-muted; }
    Table > .table--strong { text-style: bold; }
    Table > .table--accent { color: $accent; }
    Table > .table--sorted { color: $accent; text-style: bold underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "end(0)", "first", show=False),
        Binding("end,G", "end(-1)", "last", show=False),
        Binding("enter", "choose", "open"),
    ]
    cursor: reactive[int] = reactive(0, repaint=True)

    class RowMessage(Message):
        """Something happened to the row with this key."""

        def __init__(self, table: Table, key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> Table:
            """Whose row it is, for `@on` with a selector."""
            return self.table

    class RowSelected(RowMessage):
        """Enter or a click: the row is to be opened."""

    class RowHighlighted(RowMessage):
        """The cursor is on another row."""

    class HeaderClicked(Message):
        """A click on the head of a column."""

        def __init__(self, table: Table, column: int) -> None:
            super().__init__()
            self.table = table
            self.column = column

        @property
        def control(self) -> Table:
            """Whose head it is."""
            return self.table

    def __init__(
        self, columns: Sequence[TableColumn], *, empty: str = "", header: bool = True, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._rows: LazyRows[Any] = rows_from((), columns)
        self._column_layout = TableLayout((), 1)
        self._header_rows = int(header)
        self._sort_column = -1
        self.empty = empty

    @property
    def rows(self) -> tuple[TableRow, ...]:
        """What it shows, from the top."""
        return tuple(self._rows[at] for at in range(len(self._rows)))

    @property
    def count(self) -> int:
        """How many rows it has."""
        return len(self._rows)

    @property
    def selected_key(self) -> str:
        """The key of the row under the cursor; empty when there is no row."""
        return self._rows.keys[self.cursor] if self._rows.keys else ""

    def set_rows(self, rows: Iterable[TableRow] | LazyRows[Any], *, sort_column: int = -1) -> None:
        """Other rows; the cursor stays on its key. `marked`: the column whose head is lit, as it sorts."""
        key, cursor = self.selected_key, self.cursor
        was = (self._rows, self._column_layout, self._sort_column)
        self._rows = rows if isinstance(rows, LazyRows) else rows_from(rows, self._columns)
        self._sort_column = sort_column
        self._fit_columns(self.size.width)
        self.virtual_size = Size(self.size.width, self.count + self._header_rows)
        number = self._rows.keys.index(key) if key in self._rows.keys else None
        self.cursor = min(cursor, max(0, self.count - 1)) if number is None else number
        if self.selected_key != key:
            self.post_message(self.RowHighlighted(self, self.selected_key))
        if self.cursor != cursor:
            self._scroll_to_cursor()
        self._redraw(*was)

    def _redraw(self, lines: LazyRows[Any], plan: TableLayout, marked: int) -> None:
        """Draw what became another since the table had these lines, and all where everything moved."""
        if not lines.keys or (plan, marked, len(lines)) != (
            self._column_layout,
            self._sort_column,
            self.count,
        ):
            self.refresh()
            return
        first = self.scroll_offset.y
        window = range(first, min(self.count, first + self.size.height - self._header_rows))
        changed = [
            Region(0, at - first + self._header_rows, self.size.width, 1)
            for at in window
            if self._rows[at] != lines[at]
        ]
        if changed:
            self.refresh(*changed)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  Textual's
        """As many lines as there are rows, where its height is automatic."""
        return max(1, self.count) + self._header_rows

    def _fit_columns(self, width: int) -> None:
        longest = {at: self._rows.longest(at) for at, column in enumerate(self._columns) if column.grow}
        self._column_layout = fit_columns(self._columns, width, longest)

    def select_key(self, key: str) -> bool:
        """Put the cursor on a row; False when there is no such row."""
        if key not in self._rows.keys:
            return False
        self._move_to(self._rows.keys.index(key))
        return True

    # --- drawing ------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Other columns may fit."""
        self._fit_columns(event.size.width)
        self.virtual_size = Size(event.size.width, self.count + self._header_rows)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the window: the head stays on top."""
        width = self.size.width
        if self._header_rows and y == 0:
            return self._line(
                [TableCell(column.title) for column in self._columns], self._style("head"), width, True
            )
        at = y - self._header_rows + self.scroll_offset.y
        if at >= self.count:
            words = self.empty if not self.count and y == self._header_rows else ""
            return Strip([Segment(pad(f"  {words}", width), self._style("dim"))], width)
        back = self._style("cursor") if at == self.cursor else self._style("plain")
        return self._line(self._rows[at].cells, back, width).apply_meta({"row": at})

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"table--{name}")

    def _line(self, cells: Sequence[TableCell], back: Style, width: int, head: bool = False) -> Strip:
        segments = [Segment(" ", back)]
        used = 1
        for index, wide in self._column_layout.columns:
            cell = cells[index] if index < len(cells) else TableCell("")
            style = (
                back
                if cell.tone == "plain"
                else back + self.get_component_rich_style(f"table--{cell.tone}", partial=True)
            )
            if head and index == self._sort_column and cell.text:
                style = back + self.get_component_rich_style("table--sorted", partial=True)
            segments.append(Segment(pad(cell.text, wide, right=self._columns[index].right), style))
            segments.append(Segment(" " * self._column_layout.gap, back))
            used += wide + self._column_layout.gap
        return Strip(segments, used).adjust_cell_length(width, back)

    # --- moving -------------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """A row up or down."""
        self._move_to(self.cursor + step)

    def action_page(self, pages: int) -> None:
        """A screenful up or down."""
        self._move_to(self.cursor + pages * max(1, self.size.height - self._header_rows - 1))

    def action_end(self, at: int) -> None:
        """The first row or the last."""
        self._move_to(at if at >= 0 else self.count - 1)

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self.count:
            self.post_message(self.RowSelected(self, self.selected_key))

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there; on the cursor it opens, on the head it sorts."""
        if self._header_rows and event.y == 0:
            self._header_clicked(event.x)
            return
        at = event.style.meta.get("row")
        if at is None or at >= self.count:
            return
        if at == self.cursor and event.chain < 2 and self.has_focus:
            self.action_choose()
        self._move_to(at)

    def _header_clicked(self, x: int) -> None:
        left = 1
        for at, wide in self._column_layout.columns:
            if left <= x < left + wide + self._column_layout.gap:
                self.post_message(self.HeaderClicked(self, at))
            left += wide + self._column_layout.gap

    def _move_to(self, at: int) -> None:
        expected = max(0, min(at, self.count - 1))
        if expected != self.cursor:
            self.cursor = expected
            self.post_message(self.RowHighlighted(self, self.selected_key))
        self._scroll_to_cursor()

    def _scroll_to_cursor(self) -> None:
        """Scroll so that the cursor is seen."""
        seen = max(1, self.size.height - self._header_rows)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + seen:
            self.scroll_to(y=self.cursor - seen + 1, animate=False)
