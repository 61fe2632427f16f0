"""The service graph as a widget: lays it out, scrolls, and keeps the selection visible.

Small graphs are laid out immediately, large ones in a thread. Only visible lines are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.worker import get_current_worker

from meshwright.control_plane.api.models.topology import Topology
from meshwright.tui import keys
from meshwright.tui.format import pad
from meshwright.tui.graph.cards import CardData
from meshwright.tui.graph.density import fit_layout
from meshwright.tui.graph.drawing import Drawing
from meshwright.tui.graph.graph import Graph, Link
from meshwright.tui.graph.keyboard_nav import Direction, nearest_box, scroll_start
from meshwright.tui.graph.layout import OrderedGraph, order_graph
from meshwright.tui.graph.model import Density, Layout
from meshwright.tui.graph.scene import CALLER_HUES, CellStyle, Scene
from meshwright.tui.graph.viewport import (
    CROWDED_EDGES,
    GraphFilter,
    SeenLinks,
    TopologyIndex,
    build_scene,
    initial_filter,
    visible_graph,
)
from meshwright.tui.keys import bind

INLINE_LAYOUT_NODES = 40
"""Nodes up to which a layout takes only a few milliseconds."""

EMPTY = "no service has joined yet: try `mesh demo --traffic 5`"
NO_MATCH = "no service has such a name: Esc shows all"


@dataclass(frozen=True, slots=True)
class GraphSelection:
    """The selected node, and the selected one of its links."""

    node: str = ""
    link: Link | None = None


class GraphView(ScrollView, can_focus=True):
    """Services and their calls. `set_topology` updates the data, `set_filter` the visible part."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "graph--plain", "graph--good", "graph--partial", "graph--bad", "graph--off", "graph--dim",
        "graph--strong", "graph--accent", "graph--picked",
        *(f"graph--{hue}" for hue in CALLER_HUES),
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
    GraphView > .graph--hue-1 { color: $mesh-hue-1; }
    GraphView > .graph--hue-2 { color: $mesh-hue-2; }
    GraphView > .graph--hue-3 { color: $mesh-hue-3; }
    GraphView > .graph--hue-4 { color: $mesh-hue-4; }
    GraphView > .graph--hue-5 { color: $mesh-hue-5; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.UP, "move('up')", show=False),
        bind(keys.DOWN, "move('down')", show=False),
        bind(keys.LEFT, "move('left')", show=False),
        bind(keys.RIGHT, "move('right')", show=False),
        bind(keys.NEXT_EDGE, "link(1)", show=False),
        bind(keys.PREVIOUS_EDGE, "link(-1)", show=False),
        bind(keys.OPEN, "open"),
    ]

    class SelectionChanged(Message):
        """The selection or the visible part of the graph changed."""

    class Opened(Message):
        """Enter, or a click on the selection."""

        def __init__(self, selection: GraphSelection) -> None:
            super().__init__()
            self.selection = selection

    def __init__(self) -> None:
        super().__init__()
        self.selected = GraphSelection()
        self.graph_filter = GraphFilter()
        self.index = TopologyIndex()
        self.graph = Graph(())
        self.drawing = Drawing(Layout(Density()))
        self._topology: Topology | None = None
        self._seen_links = SeenLinks()
        self._ordered: OrderedGraph | None = None
        self._scene = Scene()
        self._cards = CardData()
        self._requested: tuple[Graph, Size] | None = None
        self._select_match = False
        self._all_edges = False

    @property
    def current_layout(self) -> Layout:
        """The layout on screen."""
        return self.drawing.layout

    @property
    def is_crowded(self) -> bool:
        """Whether there are more edges than anybody can follow."""
        return len(self.current_layout.routes) > CROWDED_EDGES

    @property
    def draws_all_edges(self) -> bool:
        """Whether all edges are drawn, or only those of the selection and those in trouble."""
        return self._all_edges or not self.is_crowded

    @property
    def has_cards(self) -> bool:
        """Whether boxes have room for more than names."""
        return self.current_layout.density.card_rows > 0

    def toggle_all_edges(self) -> None:
        """In a crowded graph draw all edges, or only some again."""
        self._all_edges = not self._all_edges
        self._repaint()

    # --- data and filter ----------------------------------------------------------------------------

    def set_topology(self, topology: Topology, cards: CardData) -> None:
        """Show a new topology; boxes move only for new nodes or links."""
        self._cards = cards
        if self._topology is None:
            self.graph_filter = initial_filter(topology)
        self._topology = topology
        self._seen_links = self._seen_links.updated(topology)
        self.index = TopologyIndex.from_topology(topology)
        self._relayout()
        self._repaint()

    def set_filter(self, graph_filter: GraphFilter) -> None:
        """Show another part of the graph; a match of a new search is selected once it is laid out."""
        self._select_match = bool(graph_filter.text) and graph_filter.text != self.graph_filter.text
        self.graph_filter = graph_filter
        if not self._relayout():
            self._keep_selection()
        self._repaint()

    def select(self, selection: GraphSelection) -> None:
        """Select a node or link and scroll to it."""
        self.selected = selection
        self._repaint()
        self._scroll_to_selection()
        self.post_message(self.SelectionChanged())

    def on_resize(self, _event: events.Resize) -> None:
        """Fit the layout to the new size."""
        self._relayout()
        self._repaint()

    def _relayout(self) -> bool:
        """Lay out again if the graph or the size changed."""
        if self._topology is None or not self.size.area:
            return False
        self.graph = visible_graph(self._topology, self._seen_links, self.graph_filter)
        requested = (self.graph, self.size)
        if requested == self._requested:
            return False
        self._requested = requested
        ordered_graph = self._ordered if self._ordered and self._ordered.graph == self.graph else None
        if len(self.graph.nodes) <= INLINE_LAYOUT_NODES:
            self._take_layout(requested, *_lay_out(requested, ordered_graph, self.current_layout))
        else:
            self._lay_out_in_thread(requested, ordered_graph, self.current_layout)
        return True

    @work(thread=True, exclusive=True, group="layout")
    def _lay_out_in_thread(
        self, requested: tuple[Graph, Size], ordered_graph: OrderedGraph | None, before: Layout
    ) -> None:
        graph, drawing = _lay_out(requested, ordered_graph, before)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._take_layout, requested, graph, drawing)

    def _take_layout(self, requested: tuple[Graph, Size], graph: OrderedGraph, drawing: Drawing) -> None:
        """Show a layout, unless another one has been requested meanwhile."""
        if requested != self._requested:
            return
        self._ordered, self.drawing = graph, drawing
        self.virtual_size = Size(drawing.layout.width, drawing.layout.height)
        self._keep_selection()
        self._repaint()

    def _keep_selection(self) -> None:
        """Keep the selection if it is still visible, else select something visible."""
        layout = self.current_layout
        if self._select_match or self.selected.node not in layout.boxes:
            self.selected = GraphSelection(self._default_selection())
        elif self.selected.link not in layout.routes:
            self.selected = GraphSelection(self.selected.node)
        self._select_match = False
        self.call_after_refresh(self._scroll_to_selection)
        self.post_message(self.SelectionChanged())

    def _default_selection(self) -> str:
        """The default selection: a match of the search, else the worst visible node."""
        boxes = self.current_layout.boxes
        if self.graph_filter.text:
            hits = self.graph_filter.matching(boxes)
            return hits[0] if hits else ""
        worst = self.index.worst_node() if self.index.nodes else ""
        return (
            worst
            if worst in boxes
            else self.graph_filter.focus
            if self.graph_filter.focus in boxes
            else min(boxes, default="")
        )

    def _repaint(self) -> None:
        if self._topology is not None:
            picked = Scene(selected_node=self.selected.node, selected_link=self.selected.link)
            self._scene = build_scene(
                self.index,
                self.current_layout,
                picked,
                all_edges=self.draws_all_edges,
                cards=self._cards,
                by_caller=self.graph_filter.hops > 0,
            )
            self.refresh()

    # --- drawing ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw one line; a graph smaller than the widget is centred."""
        width, layout = self.size.width, self.current_layout
        plain = self._style(CellStyle())
        if not layout.boxes:
            return Strip([Segment(pad(f"  {self._empty_text() if y == 1 else ''}", width), plain)], width)
        row = y + self.scroll_offset.y - self._top_margin
        if not 0 <= row < layout.height:
            return Strip([Segment(" " * width, plain)], width)
        first = self.scroll_offset.x
        window = range(first, min(layout.width, first + width))
        drawn = self.drawing.row(row, self._scene, window)
        segments = [Segment(text, self._style(ink)) for text, ink in drawn]
        left = self._left_margin
        strip = Strip([Segment(" " * left, plain), *segments], left + len(window))
        return strip.adjust_cell_length(width, plain)

    def _empty_text(self) -> str:
        if self._topology is None or self._requested is None:
            return ""
        return EMPTY if not self._topology.nodes else NO_MATCH if not self.graph.nodes else "laying out …"

    @property
    def _top_margin(self) -> int:
        return max(0, self.size.height - self.current_layout.height) // 2

    @property
    def _left_margin(self) -> int:
        return max(0, self.size.width - self.current_layout.width) // 2

    def _style(self, ink: CellStyle) -> Style:
        style = self.get_component_rich_style("graph--plain")
        if ink.tone != "plain":
            style += self.get_component_rich_style(f"graph--{ink.tone}", partial=True)
        if ink.selected:
            style += self.get_component_rich_style("graph--picked", partial=True)
        return style

    # --- moving -------------------------------------------------------------------------------------

    def action_move(self, direction: Direction) -> None:
        """Select the nearest node in a direction."""
        name = nearest_box(self.current_layout, self.selected.node, direction)
        if name:
            self.select(GraphSelection(name))

    def action_link(self, step: int) -> None:
        """Select the next edge of the node; after the last one the node itself."""
        links = [
            link for link in self.index.links_of(self.selected.node) if link in self.current_layout.routes
        ]
        places: list[Link | None] = [None, *links]
        at = places.index(self.selected.link) if self.selected.link in places else 0
        self.select(GraphSelection(self.selected.node, places[(at + step) % len(places)]))

    def action_open(self) -> None:
        """Open the selection."""
        if self.selected.node:
            self.post_message(self.Opened(self.selected))

    def on_click(self, event: events.Click) -> None:
        """Select the clicked box or line; open it if it is selected already."""
        x = event.x + self.scroll_offset.x - self._left_margin
        y = event.y + self.scroll_offset.y - self._top_margin
        box = self.current_layout.box_at(x, y)
        link = None if box else self.drawing.link_at(x, y, self._scene)
        picked = GraphSelection(box.name) if box else GraphSelection(link[1], link) if link else None
        if picked and picked == self.selected:
            self.action_open()
        elif picked:
            self.select(picked)

    def _scroll_to_selection(self) -> None:
        """Scroll to the selected node."""
        layout = self.current_layout
        box = layout.boxes.get(self.selected.node)
        if box is None or not self.size.area:
            return
        x = scroll_start(self.scroll_offset.x, self.size.width, box.x, box.x + box.width - 1, margin=4)
        y = scroll_start(self.scroll_offset.y, self.size.height, box.y, box.y + box.height - 1)
        self.scroll_to(
            min(x, max(0, layout.width - self.size.width)),
            min(y, max(0, layout.height - self.size.height)),
            animate=False,
        )

    def scroll_arrows(self) -> str:
        """Arrows in the directions in which the graph continues."""
        layout, (x, y) = self.current_layout, self.scroll_offset
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


def _lay_out(
    requested: tuple[Graph, Size], ordered_graph: OrderedGraph | None, before: Layout
) -> tuple[OrderedGraph, Drawing]:
    """Order and lay out a graph; existing boxes keep their order."""
    shape, size = requested
    graph = ordered_graph or order_graph(shape, before)
    return graph, Drawing(fit_layout(graph, size.width, size.height))
