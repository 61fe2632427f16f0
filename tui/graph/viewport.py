"""Which part of a topology is drawn, and what of it is remembered between two pictures.

A link whose traffic has faded keeps its place until the set of nodes changes, so that nothing moves when it
comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rich.cells import cell_len

from meshwright.control_plane.api.models.topology import Topology, TopologyEdge, TopologyNode
from meshwright.tui.format import HEALTH_LABELS
from meshwright.tui.graph.drawing import EdgeStyle, NodeStyle, Scene
from meshwright.tui.graph.edge_labels import STATE_RANK, STATE_TONES, edge_label, edge_state
from meshwright.tui.graph.graph import Graph, Link, adjacency
from meshwright.tui.graph.model import Layout

LARGE_MESH = 150
"""Nodes from which on a picture begins with the neighbours of one instead of all."""


@dataclass(frozen=True, slots=True)
class GraphFilter:
    """What is to be seen: with a `reach` only what is so many calls from `focus`; with a `text` only names
    that hold it, and their neighbours.
    """

    focus: str = ""
    hops: int = 0
    text: str = ""


def initial_filter(topology: Topology) -> GraphFilter:
    """All, or in a large mesh what is around its first gateway, else around whatever has most neighbours."""
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
    """Nodes of the last picture, and every link between them since that set of nodes was first seen."""

    nodes: frozenset[str] = frozenset()
    links: frozenset[Link] = frozenset()

    def updated(self, topology: Topology) -> SeenLinks:
        """After another picture."""
        nodes = frozenset(node.name for node in topology.nodes)
        links = frozenset((edge.from_, edge.to) for edge in topology.edges)
        return SeenLinks(nodes, links | self.links if nodes == self.nodes else links)


def visible_graph(topology: Topology, memory: SeenLinks, view: GraphFilter) -> Graph:
    """The graph to be laid out."""
    names = _visible([node.name for node in topology.nodes], memory.links, view)
    links = tuple(sorted(link for link in memory.links if link[0] in names and link[1] in names))
    roots = frozenset(node.name for node in topology.nodes if node.role == "gateway" and node.name in names)
    return Graph(tuple(sorted(names)), links, roots, {name: cell_len(name) for name in names})


def _visible(names: Iterable[str], links: Iterable[Link], view: GraphFilter) -> set[str]:
    texts = set(names)
    if view.hops and view.focus in texts:
        texts = neighbourhood({view.focus}, links, view.hops)
    if view.text:
        hits = {name for name in texts if view.text in name.lower()}
        texts &= neighbourhood(hits, links, 1)
    return texts


def neighbourhood(names: Iterable[str], links: Iterable[Link], reach: int) -> set[str]:
    """What is at most `reach` calls away, in either direction."""
    out, into = adjacency(links)
    texts = edge = set(names)
    for _ in range(reach):
        edge = {other for name in edge for other in (*out.get(name, ()), *into.get(name, ()))} - texts
        texts = texts | edge
    return texts


def build_scene(index: TopologyIndex, layout: Layout, picked: Scene | None = None) -> Scene:
    """Every node and link of a layout as it is now; `picked`: what is selected."""
    routes = layout.routes
    lines = {
        link: edge_style(index.edges[link], route.label_width)
        for link, route in routes.items()
        if link in index.edges
    }
    faces = {name: node_style(index.nodes[name]) for name in layout.boxes if name in index.nodes}
    return replace(picked or Scene(), edges=lines, nodes=faces)


def edge_style(edge: TopologyEdge, room: int) -> EdgeStyle:
    """A link as it is drawn."""
    how = edge_state(edge)
    return EdgeStyle(STATE_TONES[how], STATE_RANK[how], edge_label(edge, room))


def node_style(node: TopologyNode) -> NodeStyle:
    """A node as it is drawn; how many instances are well is said where not all are."""
    health = HEALTH_LABELS[node.health]
    note = f"{node.healthy}/{node.instances}" if node.healthy < node.instances else ""
    return NodeStyle(health.symbol, health.tone, note)


@dataclass(frozen=True, slots=True)
class TopologyIndex:
    """Nodes and edges of a topology by name."""

    nodes: Mapping[str, TopologyNode] = field(default_factory=dict)
    edges: Mapping[Link, TopologyEdge] = field(default_factory=dict)

    @classmethod
    def from_topology(cls, topology: Topology) -> TopologyIndex:
        """Of one topology."""
        return cls(
            {node.name: node for node in topology.nodes},
            {(edge.from_, edge.to): edge for edge in topology.edges},
        )

    def links_of(self, name: str) -> list[Link]:
        """The edges of a node, calls to it before calls from it, what is bad first."""

        def key(link: Link) -> tuple[bool, int, Link]:
            return (link[1] != name, -STATE_RANK[edge_state(self.edges[link])], link)

        return sorted((link for link in self.edges if name in link), key=key)

    def worst_node(self) -> str:
        """The node to look at first: in the worst state; of equal ones the most called, else by name."""
        calls: dict[str, float] = {}
        for (_, to), edge in self.edges.items():
            calls[to] = calls.get(to, 0.0) + edge.rps
        order = ("unhealthy", "degraded", "unknown", "healthy")
        bad = [node for node in self.nodes.values() if node.health in order[:2]]
        gateways = [node for node in self.nodes.values() if node.role == "gateway"]
        among = bad or gateways or list(self.nodes.values())
        return min(
            among, key=lambda node: (order.index(node.health), -calls.get(node.name, 0), node.name)
        ).name
