"""Which part of a topology is drawn, and what of it is remembered between two pictures.

A link whose traffic has faded keeps its place until the set of nodes changes, so that nothing moves when it
comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rich.cells import cell_len

from control_plane.api.seen import Edge, Node, Topology
from tui.graph.drawing import Face, Line, Scene
from tui.graph.figures import RANK, TONES, said, state
from tui.graph.plan import Layout
from tui.graph.shape import Link, Shape, neighbours
from tui.words import HEALTH

MANY = 150
"""Nodes from which on a picture begins with the neighbours of one instead of all."""


@dataclass(frozen=True, slots=True)
class View:
    """What is to be seen: with a `reach` only what is so many calls from `focus`; with a `text` only names
    that hold it, and their neighbours.
    """

    focus: str = ""
    reach: int = 0
    text: str = ""


def first_view(topology: Topology) -> View:
    """All, or in a large mesh what is around its first gateway, else around whatever has most neighbours."""
    if len(topology.nodes) < MANY:
        return View()
    degree: dict[str, int] = {}
    for edge in topology.edges:
        for name in (edge.from_, edge.to):
            degree[name] = degree.get(name, 0) + 1
    best = min(
        topology.nodes, key=lambda node: (node.role != "gateway", -degree.get(node.name, 0), node.name)
    )
    return View(focus=best.name, reach=1)


@dataclass(frozen=True, slots=True)
class Memory:
    """Nodes of the last picture, and every link between them since that set of nodes was first seen."""

    nodes: frozenset[str] = frozenset()
    links: frozenset[Link] = frozenset()

    def with_(self, topology: Topology) -> Memory:
        """After another picture."""
        nodes = frozenset(node.name for node in topology.nodes)
        links = frozenset((edge.from_, edge.to) for edge in topology.edges)
        return Memory(nodes, links | self.links if nodes == self.nodes else links)


def shape_of(topology: Topology, memory: Memory, view: View) -> Shape:
    """The graph to be laid out."""
    names = _visible([node.name for node in topology.nodes], memory.links, view)
    links = tuple(sorted(link for link in memory.links if link[0] in names and link[1] in names))
    roots = frozenset(node.name for node in topology.nodes if node.role == "gateway" and node.name in names)
    return Shape(tuple(sorted(names)), links, roots, {name: cell_len(name) for name in names})


def _visible(names: Iterable[str], links: Iterable[Link], view: View) -> set[str]:
    found = set(names)
    if view.reach and view.focus in found:
        found = around({view.focus}, links, view.reach)
    if view.text:
        hits = {name for name in found if view.text in name.lower()}
        found &= around(hits, links, 1)
    return found


def around(names: Iterable[str], links: Iterable[Link], reach: int) -> set[str]:
    """What is at most `reach` calls away, in either direction."""
    out, into = neighbours(links)
    found = edge = set(names)
    for _ in range(reach):
        edge = {other for name in edge for other in (*out.get(name, ()), *into.get(name, ()))} - found
        found = found | edge
    return found


def scene_of(index: Index, layout: Layout, picked: Scene | None = None) -> Scene:
    """Every node and link of a layout as it is now; `picked`: what is selected."""
    routes = layout.routes
    lines = {
        link: line_of(index.edges[link], route.room) for link, route in routes.items() if link in index.edges
    }
    faces = {name: face_of(index.nodes[name]) for name in layout.boxes if name in index.nodes}
    return replace(picked or Scene(), lines=lines, faces=faces)


def line_of(edge: Edge, room: int) -> Line:
    """A link as it is drawn."""
    how = state(edge)
    return Line(TONES[how], RANK[how], said(edge, room))


def face_of(node: Node) -> Face:
    """A node as it is drawn; how many instances are well is said where not all are."""
    health = HEALTH[node.health]
    note = f"{node.healthy}/{node.instances}" if node.healthy < node.instances else ""
    return Face(health.sign, health.tone, note)


@dataclass(frozen=True, slots=True)
class Index:
    """Nodes and edges of a topology by name."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    edges: Mapping[Link, Edge] = field(default_factory=dict)

    @classmethod
    def of(cls, topology: Topology) -> Index:
        """Of one topology."""
        return cls(
            {node.name: node for node in topology.nodes},
            {(edge.from_, edge.to): edge for edge in topology.edges},
        )

    def of_node(self, name: str) -> list[Link]:
        """The edges of a node, calls to it before calls from it, what is bad first."""

        def key(link: Link) -> tuple[bool, int, Link]:
            return (link[1] != name, -RANK[state(self.edges[link])], link)

        return sorted((link for link in self.edges if name in link), key=key)

    def worst(self) -> str:
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
