"""A trace as a waterfall: one row per span. Only visible rows are drawn, so thousands scroll smoothly.

Services differ by colour and are named. A failed span has a symbol, its status, and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from meshwright.control_plane.api import signs, waterfall
from meshwright.control_plane.api.waterfall import CollapsedRow, WaterfallRow
from meshwright.tui import keys
from meshwright.tui.format import format_number, pad, sanitize, truncate
from meshwright.tui.keys import bind

COLOUR_COUNT = 8
"""Colours for services; further services reuse them."""

DURATION_WIDTH = 9
"""Cells of a row's duration, with the blank before it."""

MIN_BAR_WIDTH, MIN_LABEL_WIDTH = 8, 24
"""Cells of the bars and labels in the narrowest terminal."""

MAX_INDENT_LEVEL = 10
"""Levels that are indented; deeper spans are not indented further."""

MIN_REASON_WIDTH = 12
"""Cells beside a bar from which the reason of a failure is shown there."""


class Waterfall(ScrollView, can_focus=True):
    """The rows of one trace, with a cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "waterfall--cursor",
        "waterfall--bad",
        "waterfall--dim",
        "waterfall--head",
        *(f"waterfall--service-{n}" for n in range(COLOUR_COUNT)),
    }
    DEFAULT_CSS = """
    Waterfall { background: $background; overflow-x: hidden; scrollbar-size-vertical: 1; }
    Waterfall > .waterfall--cursor { background: $mesh-cursor; }
    Waterfall > .waterfall--bad { color: $error; text-style: bold; }
    Waterfall > .waterfall--dim { color: $mesh-muted; }
    Waterfall > .waterfall--head { text-style: bold; }
    Waterfall > .waterfall--service-0 { color: #6ea8fe; }
    Waterfall > .waterfall--service-1 { color: #ffa657; }
    Waterfall > .waterfall--service-2 { color: #d2a8ff; }
    Waterfall > .waterfall--service-3 { color: #39c5cf; }
    Waterfall > .waterfall--service-4 { color: #ff9bce; }
    Waterfall > .waterfall--service-5 { color: #b5d66f; }
    Waterfall > .waterfall--service-6 { color: #e3c78a; }
    Waterfall > .waterfall--service-7 { color: #b9c4d0; }
    Waterfall:light > .waterfall--service-0 { color: #0550ae; }
    Waterfall:light > .waterfall--service-1 { color: #953800; }
    Waterfall:light > .waterfall--service-2 { color: #6639ba; }
    Waterfall:light > .waterfall--service-3 { color: #0b6e78; }
    Waterfall:light > .waterfall--service-4 { color: #99286e; }
    Waterfall:light > .waterfall--service-5 { color: #3f6b00; }
    Waterfall:light > .waterfall--service-6 { color: #7a5900; }
    Waterfall:light > .waterfall--service-7 { color: #24527a; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.UP, "move(-1)", show=False),
        bind(keys.DOWN, "move(1)", show=False),
        bind(keys.PAGE_UP, "page(-1)", show=False),
        bind(keys.PAGE_DOWN, "page(1)", show=False),
        bind(keys.FIRST, "move(-1000000)", show=False),
        bind(keys.LAST, "move(1000000)", show=False),
        bind(keys.LEFT, "collapse(True)", show=False),
        bind(keys.RIGHT, "collapse(False)", show=False),
        bind(keys.COLLAPSE_ALL, "collapse_all"),
        bind(keys.NEXT_FAILURE, "failure(1)"),
        bind(keys.PREVIOUS_FAILURE, "failure(-1)", show=False),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)

    class RowHighlighted(Message):
        """The cursor is on another row; None: there are no rows."""

        def __init__(self, row: WaterfallRow | None) -> None:
            super().__init__()
            self.row = row

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: tuple[WaterfallRow, ...] = ()
        self._shown: tuple[CollapsedRow, ...] = ()
        self._collapsed: set[str] = set()
        self._colours: Mapping[str, int] = {}
        self._widest = 0

    # --- rows ---------------------------------------------------------------------------

    def set_rows(self, rows: tuple[WaterfallRow, ...]) -> None:
        """Show these rows. Collapsed visits and the cursor stay on their spans where those still exist."""
        self._rows = rows
        names = dict.fromkeys(row.service for row in rows)
        self._colours = {name: index % COLOUR_COUNT for index, name in enumerate(names)}
        self._widest = max((_label_width(row) for row in rows), default=0)
        self._show(self.selected)

    @property
    def selected(self) -> WaterfallRow | None:
        """The row under the cursor."""
        return self._shown[self.cursor].row if self.cursor < len(self._shown) else None

    @property
    def hidden(self) -> int:
        """Number of collapsed rows."""
        return len(self._rows) - len(self._shown)

    def _show(self, selected: WaterfallRow | None) -> None:
        """Collapse again; the cursor goes to a row, or to the head of its visit if that is collapsed."""
        self._shown = waterfall.collapse(self._rows, self._collapsed)
        positions = {shown.row.id: index for index, shown in enumerate(self._shown)}
        cursor = positions.get(selected.id, positions.get(selected.visit, 0)) if selected else 0
        self.virtual_size = Size(self.size.width, len(self._shown))
        moved = cursor != self.cursor
        self.cursor = cursor
        if not moved:
            self._post_highlighted()
        self.refresh()

    def on_resize(self) -> None:
        """Make rows as wide as the widget."""
        self.virtual_size = Size(self.size.width, len(self._shown))

    def _post_highlighted(self) -> None:
        self.post_message(self.RowHighlighted(self.selected))

    # --- navigation ----------------------------------------------------------------------------------

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor within the rows."""
        return max(0, min(cursor, len(self._shown) - 1))

    def watch_cursor(self, previous: int, current: int) -> None:
        """Redraw both rows and scroll to the current one."""
        for index in (previous, current):
            self.refresh(Region(0, index - self.scroll_offset.y, self.size.width, 1))
        self.scroll_to_region(Region(0, current, 1, 1), animate=False, force=True)
        self._post_highlighted()

    def action_move(self, rows: int) -> None:
        """Move down, or up."""
        self.cursor += rows

    def action_page(self, pages: int) -> None:
        """Move a page down, or up."""
        self.cursor += pages * max(1, self.size.height - 1)

    def action_failure(self, step: int) -> None:
        """Go to the next failed span, or the previous one."""
        failed = [index for index, shown in enumerate(self._shown) if shown.row.error or shown.failed]
        ahead = [index for index in failed if (index - self.cursor) * step > 0]
        if ahead:
            self.cursor = min(ahead) if step > 0 else max(ahead)
        else:
            self.notify("no more failed spans" if failed else "no failed spans", markup=False)

    def on_click(self, event: events.Click) -> None:
        """Select the clicked row; a click on the selected one collapses or expands it."""
        index = event.y + self.scroll_offset.y
        if index < len(self._shown):
            if index == self.cursor:
                self.action_collapse()
            self.cursor = index

    # --- collapsing ---------------------------------------------------------------------------------

    def action_collapse(self, close: bool | None = None) -> None:
        """Collapse or expand the visit under the cursor; None: toggle."""
        row = self.selected
        if row is None or (row.visit in self._collapsed) is close:
            return
        self._collapsed ^= {row.visit}
        self._show(row)

    def action_collapse_all(self) -> None:
        """Collapse every visit to one row, or expand all."""
        visits = {row.visit for row in self._rows}
        self._collapsed = set() if self._collapsed >= visits else visits
        self._show(self.selected)

    # --- drawing ---------------------------------------------------------------------------------

    def columns(self) -> tuple[int, int]:
        """Cells of the labels and of the bars."""
        width = self.size.width
        widest = max(width // 2, min(26, width - DURATION_WIDTH - MIN_BAR_WIDTH))
        label = min(widest, max(self._widest, MIN_LABEL_WIDTH))
        return label, max(0, width - label - DURATION_WIDTH)

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        index = y + self.scroll_offset.y
        if index >= len(self._shown):
            return Strip.blank(self.size.width, self.rich_style)
        selected = index == self.cursor
        base = self.get_component_rich_style("waterfall--cursor") if selected else self.rich_style
        shown = self._shown[index]
        label, bar = self.columns()
        parts = [*self._label(shown, label), *self._bar(shown.row, bar), *self._duration(shown.row)]
        return Strip([Segment(text, base + style) for text, style in parts]).adjust_cell_length(
            self.size.width, base
        )

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"waterfall--{name}", partial=True)

    def service_style(self, service: str) -> Style:
        """The colour of a service in this trace."""
        return self._style(f"service-{self._colours.get(service, 0)}")

    def colour(self, service: str) -> str:
        """The name of that colour."""
        colour = self.service_style(service).color
        return colour.name if colour else ""

    def _label(self, shown: CollapsedRow, width: int) -> Sequence[tuple[str, Style]]:
        row = shown.row
        symbol = (f"{signs.BAD} " if row.error or shown.failed else "  ", self._style("bad"))
        indent = " " * (_indent(row) - (2 if row.head else 0))
        style = self._style("bad") if row.cause else Style()
        room = width - 3 - len(indent)
        if not row.head:
            return [symbol, (indent + pad(sanitize(row.label), room) + " ", style)]
        mark = "► " if shown.hidden or row.visit in self._collapsed else "▼ "
        name = truncate(sanitize(row.service), max(4, room - 3))
        failed = f", {shown.failed} failed" if shown.failed else ""
        more = f" +{shown.hidden}{failed}" if shown.hidden else ""
        text = pad(f"{more} {sanitize(row.label)}", max(0, room - 2 - cell_len(name))) + " "
        name_style = self.service_style(row.service) + self._style("head")
        return [symbol, (indent + mark, self._style("dim")), (name, name_style), (text, style)]

    def _bar(self, row: WaterfallRow, width: int) -> Sequence[tuple[str, Style]]:
        if width < 2:
            return [(" " * width, Style())]
        bar = waterfall.bar(row, width)
        colour = self._style("bad") if row.cause else self.service_style(row.service)
        left, right = " " * bar.blank, " " * (width - bar.blank - len(bar.text))
        plain = Style()
        first, rest = bar.text[: bar.reversed], bar.text[bar.reversed :]
        middle = [(first, colour + Style(reverse=True)), (rest, colour)]
        reason = next((sanitize(text) for text in row.reasons), "") if row.cause else ""
        if reason and len(right) >= min(MIN_REASON_WIDTH, cell_len(reason) + 1):
            return [(left, plain), *middle, (pad(f" {reason}", len(right)), self._style("bad"))]
        if reason and len(left) >= min(MIN_REASON_WIDTH, cell_len(reason) + 1):
            text = pad(f"{truncate(reason, len(left) - 1)} ", len(left), right=True)
            return [(text, self._style("bad")), *middle, (right, plain)]
        return [(left, plain), *middle, (right, plain)]

    def _duration(self, row: WaterfallRow) -> Sequence[tuple[str, Style]]:
        text = pad(format_number(row.duration), DURATION_WIDTH - 1, right=True)
        return [(f"{text} ", self._style("dim"))]


def _indent(row: WaterfallRow) -> int:
    """Cells before the label of a row, which include the collapse mark of a visit's head."""
    return 2 * min(row.level, MAX_INDENT_LEVEL) + 2


def _label_width(row: WaterfallRow) -> int:
    """Cells of a row's label."""
    name = cell_len(sanitize(row.service)) + 1 if row.head else 0
    return 2 + _indent(row) + name + cell_len(sanitize(row.label)) + 1
