"""A table of any length that draws only its visible rows and keeps its cursor on the same key.

Cells are plain text with a tone. Of a thousand rows that change twice a second only the visible ones are
built, and only those that changed are redrawn. Columns have fixed widths; `grow` columns share the spare
width. In a narrow terminal whole columns are dropped, the highest `drop_rank` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from meshwright.tui import keys
from meshwright.tui.dialogs.choose_columns import ChooseColumns
from meshwright.tui.format import pad
from meshwright.tui.keys import bind
from meshwright.tui.widgets.table_model import (
    NO_CHOICE,
    UNSORTED,
    LazyRows,
    SortMark,
    TableCell,
    TableColumn,
    TableLayout,
    TableRow,
    fit_columns,
    rows_from,
)

HEAD_ROWS = 1
"""Lines of the heads of the columns."""


class Table(ScrollView, can_focus=True):
    """Rows below a header. Enter, or a click on the selected row, posts `RowSelected`."""

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
        bind(keys.UP, "move(-1)", show=False),
        bind(keys.DOWN, "move(1)", show=False),
        bind(keys.PAGE_UP, "page(-1)", show=False),
        bind(keys.PAGE_DOWN, "page(1)", show=False),
        bind(keys.FIRST, "end(0)", show=False),
        bind(keys.LAST, "end(-1)", show=False),
        bind(keys.OPEN, "choose"),
        bind(keys.COLUMNS, "columns", show=False),
    ]
    cursor: reactive[int] = reactive(0, repaint=True)

    class RowMessage(Message):
        """A message about the row with this key."""

        def __init__(self, table: Table, key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> Table:
            """The table, for `@on` with a selector."""
            return self.table

    class RowSelected(RowMessage):
        """The user opens the row."""

    class RowHighlighted(RowMessage):
        """The cursor moved to the row."""

    class HeaderClicked(Message):
        """The user clicked the head of a column."""

        def __init__(self, table: Table, column: int) -> None:
            super().__init__()
            self.table = table
            self.column = column

        @property
        def control(self) -> Table:
            """The table."""
            return self.table

    class ColumnsChosen(Message):
        """The user chose other columns."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table:
            """The table."""
            return self.table

    def __init__(
        self, columns: Sequence[TableColumn], *, empty: str = "", title: str = "", id: str | None = None
    ) -> None:
        """`title`: stands before the heads of the columns, instead of those that it covers."""
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._rows: LazyRows[Any] = rows_from((), columns)
        self._column_layout = TableLayout((), 1)
        self._title = title
        self._sort_mark = UNSORTED
        self._choice = NO_CHOICE
        self.empty = empty

    @property
    def rows(self) -> tuple[TableRow, ...]:
        """All rows, from the top."""
        return tuple(self._rows[index] for index in range(len(self._rows)))

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self._rows)

    @property
    def selected_key(self) -> str:
        """The key of the row under the cursor; empty: there are no rows."""
        return self._rows.keys[self.cursor] if self._rows.keys else ""

    def set_title(self, title: str) -> None:
        """Show another title."""
        if title != self._title:
            self._title = title
            self.refresh(Region(0, 0, self.size.width, 1))

    def set_rows(self, rows: Iterable[TableRow] | LazyRows[Any], *, sort_mark: SortMark = UNSORTED) -> None:
        """Show these rows; the cursor stays on its key. `sort_mark`: the head to highlight."""
        key, cursor = self.selected_key, self.cursor
        previous = (self._rows, self._column_layout, self._sort_mark)
        self._rows = rows if isinstance(rows, LazyRows) else rows_from(rows, self._columns)
        self._sort_mark = sort_mark
        self._fit_columns(self.size.width)
        self.virtual_size = Size(self.size.width, self.count + HEAD_ROWS)
        index = self._rows.keys.index(key) if key in self._rows.keys else None
        self.cursor = min(cursor, max(0, self.count - 1)) if index is None else index
        if self.selected_key != key:
            self.post_message(self.RowHighlighted(self, self.selected_key))
        if self.cursor != cursor:  # the row stays at its place on the screen
            top = self.scroll_offset.y + self.cursor - cursor
            self.scroll_to(y=top, animate=False, immediate=True)
            self._scroll_to_cursor()
        self._redraw(*previous)

    def _redraw(self, rows: LazyRows[Any], layout: TableLayout, sort_mark: SortMark) -> None:
        """Redraw the visible rows that differ from the previous ones; all of them if the layout changed."""
        current = (self._column_layout, self._sort_mark, self.count)
        if not rows.keys or (layout, sort_mark, len(rows)) != current:
            self.refresh()
            return
        first = self.scroll_offset.y
        window = range(first, min(self.count, first + self.size.height - HEAD_ROWS))
        changed = [
            Region(0, index - first + HEAD_ROWS, self.size.width, 1)
            for index in window
            if self._rows[index] != rows[index]
        ]
        if changed:
            self.refresh(*changed)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  Textual's
        """The number of lines, for an automatic height."""
        return max(1, self.count) + HEAD_ROWS

    def _fit_columns(self, width: int) -> None:
        longest = {
            index: self._rows.longest(index) for index, column in enumerate(self._columns) if column.grow
        }
        self._column_layout = fit_columns(self._columns, width, longest, self._choice)

    def select_key(self, key: str) -> bool:
        """Move the cursor to a row. False: there is no such row."""
        if key not in self._rows.keys:
            return False
        self._move_to(self._rows.keys.index(key))
        return True

    # --- drawing ------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns to the new width."""
        self._fit_columns(event.size.width)
        self.virtual_size = Size(event.size.width, self.count + HEAD_ROWS)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line; the header stays on top."""
        width = self.size.width
        if y == 0:
            return self._head(width)
        index = y - HEAD_ROWS + self.scroll_offset.y
        if index >= self.count:
            text = self.empty if not self.count and y == HEAD_ROWS else ""
            return Strip([Segment(pad(f"  {text}", width), self._style("dim"))], width)
        base = self._style("cursor") if index == self.cursor else self._style("plain")
        return self._line(self._rows[index].cells, base, width).apply_meta({"row": index})

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"table--{name}")

    def _head(self, width: int) -> Strip:
        """The heads of the columns. The sign of the sorted one may take a cell of the gap after it."""
        base, gap = self._style("head"), self._column_layout.gap
        segments, used = self._title_segments(base)
        left = 1
        for index, column_width in self._column_layout.columns:
            column, style = self._columns[index], base
            text = pad(column.title, column_width, right=column.right) + " " * gap
            if index == self._sort_mark.column:
                sign = self._sort_mark.sign
                style = base + self.get_component_rich_style("table--sorted", partial=True)
                title = pad(column.title, column_width, right=True) if column.right else column.title
                text = pad(f"{title}{sign}", column_width + gap)
            covered = used - left
            if covered <= len(text) - len(text.lstrip()):
                segments.append(Segment(text[max(0, covered) :], style))
                used = left + column_width + gap
            elif used < left + column_width + gap:
                sign = self._sort_mark.sign if index == self._sort_mark.column else ""
                segments.append(Segment(sign.ljust(column_width + gap - covered), base))
                used = left + column_width + gap
            left += column_width + gap
        return Strip(segments, used).adjust_cell_length(width, base)

    def _title_segments(self, base: Style) -> tuple[list[Segment], int]:
        """What stands before the heads of the columns, and its cells."""
        if not self._title:
            return [Segment(" ", base)], 1
        style = (
            base + self.get_component_rich_style("table--accent", partial=True) if self.has_focus else base
        )
        return [Segment(f" {self._title} ", style)], len(self._title) + 2

    def _line(self, cells: Sequence[TableCell], base: Style, width: int) -> Strip:
        segments = [Segment(" ", base)]
        used = 1
        gap = self._column_layout.gap
        for index, cell_width in self._column_layout.columns:
            cell = cells[index] if index < len(cells) else TableCell("")
            style = base
            if cell.tone != "plain":
                style += self.get_component_rich_style(f"table--{cell.tone}", partial=True)
            segments.append(Segment(pad(cell.text, cell_width, right=self._columns[index].right), style))
            segments.append(Segment(" " * gap, base))
            used += cell_width + gap
        return Strip(segments, used).adjust_cell_length(width, base)

    # --- navigation ---------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Move by rows."""
        self._move_to(self.cursor + step)

    def action_page(self, pages: int) -> None:
        """Move by pages."""
        self._move_to(self.cursor + pages * max(1, self.size.height - HEAD_ROWS - 1))

    def action_end(self, index: int) -> None:
        """Move to the first row (0) or the last (-1)."""
        self._move_to(index if index >= 0 else self.count - 1)

    def action_choose(self) -> None:
        """Open the selected row."""
        if self.count:
            self.post_message(self.RowSelected(self, self.selected_key))

    def shows(self, column: int) -> bool:
        """Whether a column is on the screen."""
        return any(index == column for index, _ in self._column_layout.columns)

    def action_columns(self) -> None:
        """Let the user choose the columns."""
        titles = {index: column.title for index, column in enumerate(self._columns) if column.title}
        self.app.push_screen(ChooseColumns(titles, self.shows, self.toggle_column))

    def toggle_column(self, column: int) -> None:
        """Hide a column that is on the screen, or show one that is not."""
        self._choice = self._choice.toggled(column, show=not self.shows(column))
        self._fit_columns(self.size.width)
        self.refresh()
        self.post_message(self.ColumnsChosen(self))

    def on_click(self, event: events.Click) -> None:
        """Select the clicked row; open it if it is selected already; sort by a clicked column head."""
        if event.y == 0:
            self._header_clicked(event.x)
            return
        index = event.style.meta.get("row")
        if index is None or index >= self.count:
            return
        if index == self.cursor and event.chain < 2 and self.has_focus:
            self.action_choose()
        self._move_to(index)

    def _header_clicked(self, x: int) -> None:
        left = 1
        for column, width in self._column_layout.columns:
            if left <= x < left + width + self._column_layout.gap:
                self.post_message(self.HeaderClicked(self, column))
            left += width + self._column_layout.gap

    def _move_to(self, index: int) -> None:
        cursor = max(0, min(index, self.count - 1))
        if cursor != self.cursor:
            self.cursor = cursor
            self.post_message(self.RowHighlighted(self, self.selected_key))
        self._scroll_to_cursor()

    def _scroll_to_cursor(self) -> None:
        """Scroll so that the cursor is visible."""
        visible = max(1, self.size.height - HEAD_ROWS)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + visible:
            self.scroll_to(y=self.cursor - visible + 1, animate=False)
