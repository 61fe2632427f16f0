"""The service graph as a widget: lays out, scrolls, and keeps what is selected in view.

Small graphs are laid out at once, large ones in a thread. Only lines of the window are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.worker import get_current_worker

from control_plane.api.seen import Topology
from tui.graph.drawing import Drawing, Ink, Scene
from tui.graph.fitting import fitted
from tui.graph.layout import Sorted, sort
from tui.graph.moving import Way, nearest, scrolled
from tui.graph.plan import Layout, Look
from tui.graph.shape import Link, Shape
from tui.graph.view import Index, Memory, View, first_view, scene_of, shape_of
from tui.words import pad

AT_ONCE = 40
"""Nodes up to which a layout takes a few milliseconds, less than a thread would."""

EMPTY = "no service has joined yet: try `mesh demo --traffic 20`"
NO_MATCH = "no service has such a name: Esc shows all"


@dataclass(frozen=True, slots=True)
class Picked:
    """What is selected: a node, or one of its links."""

    node: str = ""
    link: Link | None = None


class GraphView(ScrollView, can_focus=True):
    """Services and their calls. `show` takes what the control plane tells, `see` what part is wanted."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "graph--plain", "graph--good", "graph--partial", "graph--bad", "graph--off", "graph--dim",
        "graph--strong", "graph--accent", "graph--picked",
    }  # fmt: skip
    DEFAULT_CSS = """
    GraphView { height: 1fr; width: 1fr; background: $background; scrollbar-size: 0 0; }
    GraphView > .graph--plain { color: $foreground; }
    GraphView > .graph--picked { background: $mesh-cursor; text-style: bold; }
    GraphView > .graph--good { color: $success; }
    GraphView > .graph--partial { color: $warning; }
    GraphView > .graph--bad { color: $error; text-style: bold; }
    GraphView > .graph--off, GraphView > .graph--dim { color: $mesh-muted; }
    GraphView > .graph--strong { text-style: bold; }
    GraphView > .graph--accent { color: $accent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move('up')", "move", key_display="↑↓←→"),
        Binding("down,j", "move('down')", "down", show=False),
        Binding("left,h", "move('left')", "left", show=False),
        Binding("right,l", "move('right')", "right", show=False),
        Binding("tab,right_square_bracket", "link(1)", "edges", key_display="tab"),
        Binding("shift+tab,left_square_bracket", "link(-1)", "previous edge", show=False),
        Binding("enter", "open", "open"),
    ]

    class Moved(Message):
        """Something else is selected, or another part of the graph is seen."""

    class Opened(Message):
        """Enter, or a click on what is selected."""

        def __init__(self, picked: Picked) -> None:
            super().__init__()
            self.picked = picked

    def __init__(self) -> None:
        super().__init__()
        self.picked = Picked()
        self.view = View()
        self.index = Index()
        self.shape = Shape(())
        self.drawing = Drawing(Layout(Look()))
        self._topology: Topology | None = None
        self._memory = Memory()
        self._sorted: Sorted | None = None
        self._scene = Scene()
        self._wanted: tuple[Shape, Size] | None = None
        self._seeking = False

    @property
    def layout_now(self) -> Layout:
        """The layout that is drawn."""
        return self.drawing.layout

    # --- what is seen -------------------------------------------------------------------------------

    def show(self, topology: Topology) -> None:
        """Another picture of the mesh; nothing moves unless nodes or links are new."""
        if self._topology is None:
            self.view = first_view(topology)
        self._topology = topology
        self._memory = self._memory.with_(topology)
        self.index = Index.of(topology)
        self._refit()
        self._repaint()

    def see(self, view: View) -> None:
        """Another part of the graph; what is searched for is selected once it is laid out."""
        self._seeking = bool(view.text) and view.text != self.view.text
        self.view = view
        if not self._refit():
            self._keep_picked()
        self._repaint()

    def pick(self, picked: Picked) -> None:
        """Select something and bring it into view."""
        self.picked = picked
        self._repaint()
        self._follow()
        self.post_message(self.Moved())

    def on_resize(self, _event: events.Resize) -> None:
        """What fits is another matter."""
        self._refit()
        self._repaint()

    def _refit(self) -> bool:
        """Lay out anew if the graph or the room is another."""
        if self._topology is None or not self.size.area:
            return False
        self.shape = shape_of(self._topology, self._memory, self.view)
        wanted = (self.shape, self.size)
        if wanted == self._wanted:
            return False
        self._wanted = wanted
        known = self._sorted if self._sorted and self._sorted.shape == self.shape else None
        if len(self.shape.nodes) <= AT_ONCE:
            self._laid(wanted, *_lay(wanted, known, self.layout_now))
        else:
            self._lay_aside(wanted, known, self.layout_now)
        return True

    @work(thread=True, exclusive=True, group="layout")
    def _lay_aside(self, wanted: tuple[Shape, Size], known: Sorted | None, before: Layout) -> None:
        graph, drawing = _lay(wanted, known, before)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._laid, wanted, graph, drawing)

    def _laid(self, wanted: tuple[Shape, Size], graph: Sorted, drawing: Drawing) -> None:
        """Take a layout, unless another one is wanted by now."""
        if wanted != self._wanted:
            return
        self._sorted, self.drawing = graph, drawing
        self.virtual_size = Size(drawing.layout.width, drawing.layout.height)
        self._keep_picked()
        self._repaint()

    def _keep_picked(self) -> None:
        """Select something that is seen, what was selected if it is."""
        layout = self.layout_now
        if self._seeking or self.picked.node not in layout.boxes:
            self.picked = Picked(self._first())
        elif self.picked.link not in layout.routes:
            self.picked = Picked(self.picked.node)
        self._seeking = False
        self.call_after_refresh(self._follow)
        self.post_message(self.Moved())

    def _first(self) -> str:
        """What is selected when nothing was: what one looks for, else the worst that is seen."""
        boxes = self.layout_now.boxes
        if self.view.text:
            hits = sorted(name for name in boxes if self.view.text in name.lower())
            return hits[0] if hits else ""
        worst = self.index.worst() if self.index.nodes else ""
        return (
            worst
            if worst in boxes
            else self.view.focus
            if self.view.focus in boxes
            else min(boxes, default="")
        )

    def _repaint(self) -> None:
        if self._topology is not None:
            picked = Scene(node=self.picked.node, link=self.picked.link)
            self._scene = scene_of(self.index, self.layout_now, picked)
            self.refresh()

    # --- drawing ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the window; a graph smaller than the window stands in its middle."""
        width, layout = self.size.width, self.layout_now
        plain = self._style(Ink())
        if not layout.boxes:
            return Strip([Segment(pad(f"  {self._nothing() if y == 1 else ''}", width), plain)], width)
        row = y + self.scroll_offset.y - self._above
        if not 0 <= row < layout.height:
            return Strip([Segment(" " * width, plain)], width)
        first = self.scroll_offset.x
        window = range(first, min(layout.width, first + width))
        drawn = self.drawing.row(row, self._scene, window)
        segments = [Segment(text, self._style(ink)) for text, ink in drawn]
        left = self._aside
        strip = Strip([Segment(" " * left, plain), *segments], left + len(window))
        return strip.adjust_cell_length(width, plain)

    def _nothing(self) -> str:
        if self._topology is None or self._wanted is None:
            return ""
        return EMPTY if not self._topology.nodes else NO_MATCH if not self.shape.nodes else "laying out …"

    @property
    def _above(self) -> int:
        return max(0, self.size.height - self.layout_now.height) // 2

    @property
    def _aside(self) -> int:
        return max(0, self.size.width - self.layout_now.width) // 2

    def _style(self, ink: Ink) -> Style:
        style = self.get_component_rich_style("graph--plain")
        if ink.tone != "plain":
            style += self.get_component_rich_style(f"graph--{ink.tone}", partial=True)
        if ink.picked:
            style += self.get_component_rich_style("graph--picked", partial=True)
        return style

    # --- moving -------------------------------------------------------------------------------------

    def action_move(self, way: Way) -> None:
        """To the nearest node that way."""
        found = nearest(self.layout_now, self.picked.node, way)
        if found:
            self.pick(Picked(found))

    def action_link(self, step: int) -> None:
        """To the next edge of the node; after the last one to the node itself."""
        links = [link for link in self.index.of_node(self.picked.node) if link in self.layout_now.routes]
        places: list[Link | None] = [None, *links]
        at = places.index(self.picked.link) if self.picked.link in places else 0
        self.pick(Picked(self.picked.node, places[(at + step) % len(places)]))

    def action_open(self) -> None:
        """Open what is selected."""
        if self.picked.node:
            self.post_message(self.Opened(self.picked))

    def on_click(self, event: events.Click) -> None:
        """A click selects a box or a line of its own; on what is selected it opens."""
        x = event.x + self.scroll_offset.x - self._aside
        y = event.y + self.scroll_offset.y - self._above
        box = self.layout_now.at(x, y)
        link = None if box else self.drawing.link_at(x, y, self._scene)
        picked = Picked(box.name) if box else Picked(link[1], link) if link else None
        if picked and picked == self.picked:
            self.action_open()
        elif picked:
            self.pick(picked)

    def _follow(self) -> None:
        """Scroll so that what is selected is seen, of a link both ends as far as there is room."""
        layout = self.layout_now
        box = layout.boxes.get(self.picked.node)
        if box is None or not self.size.area:
            return
        x = scrolled(self.scroll_offset.x, self.size.width, box.x, box.x + box.width - 1, margin=4)
        y = scrolled(self.scroll_offset.y, self.size.height, box.y, box.y + box.height - 1)
        self.scroll_to(
            min(x, max(0, layout.width - self.size.width)),
            min(y, max(0, layout.height - self.size.height)),
            animate=False,
        )

    def more(self) -> str:
        """Arrows to where the graph goes on outside the window."""
        layout, (x, y) = self.layout_now, self.scroll_offset
        return "".join(
            arrow
            for arrow, there in (
                ("←", x > 0),
                ("↑", y > 0),
                ("↓", y + self.size.height < layout.height),
                ("→", x + self.size.width < layout.width),
            )
            if there
        )


def _lay(wanted: tuple[Shape, Size], known: Sorted | None, before: Layout) -> tuple[Sorted, Drawing]:
    """Sort and lay out; boxes that were there keep their order."""
    shape, size = wanted
    graph = known or sort(shape, before)
    return graph, Drawing(fitted(graph, size.width, size.height))
