"""A trace as a waterfall: a row for each step, drawn only where it is seen: thousands scroll smoothly.

Colours tell services apart; names stand beside them. A failure has a sign, its status, and Envoy's words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from meshwright.control_plane.api import waterfall
from meshwright.control_plane.api.waterfall import CollapsedRow, WaterfallRow
from meshwright.tui import format

COLOUR_COUNT = 8
"""Services that differ by colour; more of them share one."""

DURATION_WIDTH = 9
"""Cells of a row's duration, with the space before it."""

NARROWEST_BAR, NARROWEST_LABEL = 8, 24
MAX_INDENT_LEVEL = 10
"""Levels that are indented; what is deeper stands as deep as that."""

MIN_REASON_WIDTH = 12
"""Cells beside a bar from which on the reason of a failure is written there."""


class Waterfall(ScrollView, can_focus=True):
    """The rows of one trace; the cursor is on one of them."""

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
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "move(-1000000)", "first", show=False),
        Binding("end,G", "move(1000000)", "last", show=False),
        Binding("space", "fold", "fold"),
        Binding("left", "fold(True)", "fold", show=False),
        Binding("right", "fold(False)", "unfold", show=False),
        Binding("z", "fold_all", "fold all"),
        Binding("n", "failure(1)", "next failure"),
        Binding("N", "failure(-1)", "failure before", show=False),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor is on another row; None: there are no rows."""

        def __init__(self, row: WaterfallRow | None) -> None:
            super().__init__()
            self.row = row

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: tuple[WaterfallRow, ...] = ()
        self._shown: tuple[CollapsedRow, ...] = ()
        self._folded: set[str] = set()
        self._colours: Mapping[str, int] = {}
        self._widest = 0

    # --- what is shown ---------------------------------------------------------------------------

    def set_rows(self, rows: tuple[WaterfallRow, ...]) -> None:
        """Show other rows; folds and the cursor's step stay where they are still there."""
        self._rows = rows
        names = dict.fromkeys(row.service for row in rows)
        self._colours = {name: at % COLOUR_COUNT for at, name in enumerate(names)}
        self._widest = max((_label_width(row) for row in rows), default=0)
        self._show(self.selected)

    @property
    def selected(self) -> WaterfallRow | None:
        """The row under the cursor."""
        return self._shown[self.cursor].row if self.cursor < len(self._shown) else None

    @property
    def hidden(self) -> int:
        """Steps that are folded away."""
        return len(self._rows) - len(self._shown)

    def _show(self, on: WaterfallRow | None) -> None:
        """Fold anew, with the cursor on a row, or on the head of its visit where that is folded."""
        self._shown = waterfall.collapse(self._rows, self._folded)
        places = {one.row.id: at for at, one in enumerate(self._shown)}
        at = places.get(on.id, places.get(on.visit, 0)) if on else 0
        self.virtual_size = Size(self.size.width, len(self._shown))
        moved = at != self.cursor
        self.cursor = at
        if not moved:
            self._post_highlighted()
        self.refresh()

    def on_resize(self) -> None:
        """Rows are as wide as the widget."""
        self.virtual_size = Size(self.size.width, len(self._shown))

    def _post_highlighted(self) -> None:
        self.post_message(self.RowHighlighted(self.selected))

    # --- moving ----------------------------------------------------------------------------------

    def validate_cursor(self, at: int) -> int:
        """Within the rows."""
        return max(0, min(at, len(self._shown) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        """Draw both rows, and see that the new one is seen."""
        for at in (before, now):
            self.refresh(Region(0, at - self.scroll_offset.y, self.size.width, 1))
        self.scroll_to_region(Region(0, now, 1, 1), animate=False, force=True)
        self._post_highlighted()

    def action_move(self, by: int) -> None:
        """Some rows down, or up."""
        self.cursor += by

    def action_page(self, by: int) -> None:
        """A screen down, or up."""
        self.cursor += by * max(1, self.size.height - 1)

    def action_failure(self, step: int) -> None:
        """The next failed step, or the one before."""
        found = [at for at, one in enumerate(self._shown) if one.row.error or one.failed]
        ahead = [at for at in found if (at - self.cursor) * step > 0]
        if ahead:
            self.cursor = min(ahead) if step > 0 else max(ahead)
        else:
            self.notify("no failed step further on" if found else "no step failed", markup=False)

    def on_click(self, event: events.Click) -> None:
        """The row that was clicked; a second click folds."""
        at = event.y + self.scroll_offset.y
        if at < len(self._shown):
            if at == self.cursor:
                self.action_fold()
            self.cursor = at

    # --- folding ---------------------------------------------------------------------------------

    def action_fold(self, close: bool | None = None) -> None:
        """Fold the visit under the cursor, or open it."""
        row = self.selected
        if row is None or (row.visit in self._folded) is close:
            return
        self._folded ^= {row.visit}
        self._show(row)

    def action_fold_all(self) -> None:
        """Every service to one row, or all open."""
        visits = {row.visit for row in self._rows}
        self._folded = set() if self._folded >= visits else visits
        self._show(self.selected)

    # --- drawing ---------------------------------------------------------------------------------

    def columns(self) -> tuple[int, int]:
        """Cells of the words and of the bars in a row."""
        width = self.size.width
        most = max(width // 2, min(26, width - DURATION_WIDTH - NARROWEST_BAR))
        label = min(most, max(self._widest, NARROWEST_LABEL))
        return label, max(0, width - label - DURATION_WIDTH)

    def render_line(self, y: int) -> Strip:
        """One line of the widget."""
        at = y + self.scroll_offset.y
        if at >= len(self._shown):
            return Strip.blank(self.size.width, self.rich_style)
        base = self.get_component_rich_style("waterfall--cursor") if at == self.cursor else self.rich_style
        one = self._shown[at]
        label, bar = self.columns()
        parts = [*self._label(one, label), *self._bar(one.row, bar), *self._duration(one.row)]
        return Strip([Segment(text, base + style) for text, style in parts]).adjust_cell_length(
            self.size.width, base
        )

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"waterfall--{name}", partial=True)

    def service_style(self, service: str) -> Style:
        """The colour of a service in this trace."""
        return self._style(f"service-{self._colours.get(service, 0)}")

    def colour(self, service: str) -> str:
        """That colour by its name."""
        colour = self.service_style(service).color
        return colour.name if colour else ""

    def _label(self, one: CollapsedRow, width: int) -> Sequence[tuple[str, Style]]:
        row = one.row
        bad = row.error or one.failed
        sign = ("✖ " if bad else "  ", self._style("bad"))
        indent = " " * (_indent(row) - (2 if row.head else 0))
        words_style = self._style("bad") if row.cause else Style()
        room = width - 3 - len(indent)
        if not row.head:
            return [sign, (indent + format.pad(format.sanitize(row.label), room) + " ", words_style)]
        mark = "▸ " if one.hidden or row.visit in self._folded else "▾ "
        name = format.truncate(format.sanitize(row.service), max(4, room - 3))
        rest = max(0, room - 2 - cell_len(name))
        more = f" +{one.hidden}" + (f", {one.failed} failed" if one.failed else "") if one.hidden else ""
        said = format.pad(f"{more} {format.sanitize(row.label)}", rest) + " "
        named = self.service_style(row.service) + self._style("head")
        return [sign, (indent + mark, self._style("dim")), (name, named), (said, words_style)]

    def _bar(self, row: WaterfallRow, width: int) -> Sequence[tuple[str, Style]]:
        if width < 2:
            return [(" " * width, Style())]
        drawn = waterfall.bar(row, width)
        colour = self._style("bad") if row.cause else self.service_style(row.service)
        left, right = " " * drawn.blank, " " * (width - drawn.blank - len(drawn.text))
        plain = Style()
        first, rest = drawn.text[: drawn.reversed], drawn.text[drawn.reversed :]
        middle = [(first, colour + Style(reverse=True)), (rest, colour)]
        said = next((format.sanitize(reason) for reason in row.reasons), "") if row.cause else ""
        if said and len(right) >= min(MIN_REASON_WIDTH, cell_len(said) + 1):
            return [(left, plain), *middle, (format.pad(f" {said}", len(right)), self._style("bad"))]
        if said and len(left) >= min(MIN_REASON_WIDTH, cell_len(said) + 1):
            text = format.pad(f"{format.truncate(said, len(left) - 1)} ", len(left), right=True)
            return [(text, self._style("bad")), *middle, (right, plain)]
        return [(left, plain), *middle, (right, plain)]

    def _duration(self, row: WaterfallRow) -> Sequence[tuple[str, Style]]:
        return [
            (
                format.pad(format.format_number(row.duration), DURATION_WIDTH - 1, right=True) + " ",
                self._style("dim"),
            )
        ]


def _indent(row: WaterfallRow) -> int:
    """Cells before the words of a row; the head of a visit has its sign of a fold there."""
    return 2 * min(row.level, MAX_INDENT_LEVEL) + 2


def _label_width(row: WaterfallRow) -> int:
    """Cells that the words of a row take."""
    name = cell_len(format.sanitize(row.service)) + 1 if row.head else 0
    return 2 + _indent(row) + name + cell_len(format.sanitize(row.label)) + 1
