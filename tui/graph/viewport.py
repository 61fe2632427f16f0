"""The visible part of a topology, and how its nodes and edges look.

A link without traffic keeps its place until the set of nodes changes, so that nothing moves when traffic
resumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rich.cells import cell_len

from meshwright.control_plane.api.models.topology import Topology, TopologyEdge, TopologyNode
from meshwright.tui.format import HEALTH_LABELS
from meshwright.tui.graph.cards import CardData, card_lines
from meshwright.tui.graph.edge_labels import (
    STATE_RANK,
    STATE_TONES,
    edge_label,
    edge_state,
    latency_text,
    latency_tone,
)
from meshwright.tui.graph.graph import Graph, Link, adjacency
from meshwright.tui.graph.model import Layout
from meshwright.tui.graph.scene import CALLER_HUES, CallerHue, EdgeStyle, NodeStyle, Scene
from meshwright.tui.search import parse_search

LARGE_MESH = 150
"""Nodes from which the graph starts with one node's neighbours instead of all nodes."""


CARD_BORDER = 4
"""Cells of a card's border and the blanks inside it."""

CROWDED_EDGES = 80
"""Edges from which only those of the selected node, and those in trouble, are drawn."""


CALM_TONES = ("dim", "off")
"""Tones of edges that are not in trouble."""


@dataclass(frozen=True, slots=True)
class GraphFilter:
    """Which nodes to show: with `hops` those within that distance of `focus`; with `text` those that
    match it as a search, and their neighbours.
    """

    focus: str = ""
    hops: int = 0
    text: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels of each node's instances, while something is searched."""

    def matching(self, names: Iterable[str]) -> list[str]:
        """The names that match the text, sorted."""
        query = parse_search(self.text)
        return sorted(name for name in names if query.matches(name, self.labels.get(name, "")))


def initial_filter(topology: Topology) -> GraphFilter:
    """All nodes; in a large mesh the neighbours of a gateway, else of the node with the most edges."""
    if len(topology.nodes) < LARGE_MESH:
        return GraphFilter()
    degree: dict[str, int] = {}
    for edge in topology.edges:
        for name in (edge.from_, edge.to):
            degree[name] = degree.get(name, 0) + 1
    best = min(
        topology.nodes, key=lambda node: (node.role != "gateway", -degree.get(node.name, 0), node.name)
    )
    return GraphFilter(focus=best.name, hops=1)


@dataclass(frozen=True, slots=True)
class SeenLinks:
    """The current nodes, and every link seen since this set of nodes appeared."""

    nodes: frozenset[str] = frozenset()
    links: frozenset[Link] = frozenset()

    def updated(self, topology: Topology) -> SeenLinks:
        """After a new topology."""
        nodes = frozenset(node.name for node in topology.nodes)
        links = frozenset((edge.from_, edge.to) for edge in topology.edges)
        return SeenLinks(nodes, links | self.links if nodes == self.nodes else links)


def visible_graph(topology: Topology, seen: SeenLinks, view: GraphFilter) -> Graph:
    """The graph to lay out."""
    names = _visible([node.name for node in topology.nodes], seen.links, view)
    links = tuple(sorted(link for link in seen.links if link[0] in names and link[1] in names))
    roots = frozenset(node.name for node in topology.nodes if node.role == "gateway" and node.name in names)
    return Graph(tuple(sorted(names)), links, roots, {name: cell_len(name) for name in names})


def _visible(names: Iterable[str], links: Iterable[Link], view: GraphFilter) -> set[str]:
    visible = set(names)
    if view.hops and view.focus in visible:
        visible = neighbourhood({view.focus}, links, view.hops)
    if view.text:
        matches = set(view.matching(visible))
        visible &= neighbourhood(matches, links, 1)
    return visible


def neighbourhood(names: Iterable[str], links: Iterable[Link], hops: int) -> set[str]:
    """Nodes within a distance of some nodes, in either direction."""
    callees, callers = adjacency(links)
    reached = frontier = set(names)
    for _ in range(hops):
        frontier = {
            other for name in frontier for other in (*callees.get(name, ()), *callers.get(name, ()))
        } - reached
        reached = reached | frontier
    return reached


def build_scene(
    index: TopologyIndex,
    layout: Layout,
    selection: Scene | None = None,
    *,
    all_edges: bool = True,
    cards: CardData | None = None,
    by_caller: bool = False,
) -> Scene:
    """The current look of every node and link of a layout; `selection`: a scene with the selection.

    Without `all_edges`, only the edges of the selected node, and those that are in trouble, have a look.
    `cards`: what the topology does not say of the nodes, for layouts with cards. `by_caller`: healthy edges
    have the colour of their caller.
    """
    node = selection.selected_node if selection else ""
    edges = {
        link: edge_style(index.edges[link], route.label_width)
        for link, route in layout.routes.items()
        if link in index.edges and (all_edges or node in link or is_in_trouble(index.edges[link]))
    }
    nodes = {name: node_style(index.nodes[name]) for name in layout.boxes if name in index.nodes}
    if rows := layout.density.card_rows:
        calls = index.calls_by_node()
        nodes = {
            name: replace(
                style,
                lines=card_lines(
                    name, calls[name], cards or CardData(), layout.boxes[name].width - CARD_BORDER
                )[:rows],
            )
            for name, style in nodes.items()
        }
    if by_caller:
        hues = caller_hues(layout)
        nodes = {name: replace(style, border=hues.get(name)) for name, style in nodes.items()}
        edges = {
            link: replace(style, tone=hues[link[0]]) if style.tone in CALM_TONES else style
            for link, style in edges.items()
        }
    return replace(selection or Scene(), edges=edges, nodes=nodes)


def caller_hues(layout: Layout) -> dict[str, CallerHue]:
    """A colour for each caller; callers that are next to each other in a column differ."""
    callers = {link[0] for link in layout.routes}
    boxes = sorted((layout.boxes[name] for name in callers), key=lambda box: (box.x, box.y))
    return {box.name: CALLER_HUES[n % len(CALLER_HUES)] for n, box in enumerate(boxes)}


def is_in_trouble(edge: TopologyEdge) -> bool:
    """Whether an edge is drawn even where most are not."""
    return edge_state(edge) in ("degraded", "unhealthy")


def edge_style(edge: TopologyEdge, label_width: int) -> EdgeStyle:
    """The look of an edge."""
    state = edge_state(edge)
    return EdgeStyle(
        STATE_TONES[state],
        STATE_RANK[state],
        edge_label(edge, label_width),
        latency_text(edge.p99_ms),
        latency_tone(edge.p99_ms),
    )


def node_style(node: TopologyNode) -> NodeStyle:
    """The look of a node; a badge counts healthy instances unless all are healthy."""
    health = HEALTH_LABELS[node.health]
    badge = f"{node.healthy}/{node.instances}" if node.healthy < node.instances else ""
    return NodeStyle(health.symbol, health.tone, badge)


@dataclass(frozen=True, slots=True)
class TopologyIndex:
    """Nodes and edges of a topology by name."""

    nodes: Mapping[str, TopologyNode] = field(default_factory=dict)
    edges: Mapping[Link, TopologyEdge] = field(default_factory=dict)

    @classmethod
    def from_topology(cls, topology: Topology) -> TopologyIndex:
        """The index of a topology."""
        return cls(
            {node.name: node for node in topology.nodes},
            {(edge.from_, edge.to): edge for edge in topology.edges},
        )

    def links_of(self, name: str) -> list[Link]:
        """The edges of a node: inbound before outbound, the worst first."""

        def key(link: Link) -> tuple[bool, int, Link]:
            return (link[1] != name, -STATE_RANK[edge_state(self.edges[link])], link)

        return sorted((link for link in self.edges if name in link), key=key)

    def calls_by_node(self) -> dict[str, list[TopologyEdge]]:
        """The traffic that a card sums up: calls to a service, or from a gateway or whoever nobody calls."""
        callees, callers = adjacency(self.edges)
        calls: dict[str, list[TopologyEdge]] = {}
        for name, node in self.nodes.items():
            links = [(caller, name) for caller in callers.get(name, ())]
            if node.role == "gateway" or not links:
                links = [(name, callee) for callee in callees.get(name, ())]
            calls[name] = [self.edges[link] for link in links]
        return calls

    @property
    def is_idle(self) -> bool:
        """Whether no requests come in: there are gateways, and none sends any."""
        gateways = {node.name for node in self.nodes.values() if node.role == "gateway"}
        return bool(gateways) and not any(
            edge.rps for (caller, _), edge in self.edges.items() if caller in gateways
        )

    def worst_node(self) -> str:
        """The node to select first: the worst health, then the highest inbound rate, then by name."""
        rates: dict[str, float] = {}
        for (_, to), edge in self.edges.items():
            rates[to] = rates.get(to, 0.0) + edge.rps
        order = ("unhealthy", "degraded", "unknown", "healthy")
        bad = [node for node in self.nodes.values() if node.health in order[:2]]
        gateways = [node for node in self.nodes.values() if node.role == "gateway"]
        candidates = bad or gateways or list(self.nodes.values())
        return min(
            candidates, key=lambda node: (order.index(node.health), -rates.get(node.name, 0), node.name)
        ).name
