"""The graph to lay out: nodes with their widths, and the links between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Link = tuple[str, str]
"""Caller and callee."""


@dataclass(frozen=True, slots=True)
class Graph:
    """`roots` (gateways) are placed leftmost. `links` may contain cycles and self-calls.

    `width`: cells of each name. Links with an end that is not in `nodes` are ignored.
    """

    nodes: tuple[str, ...]
    links: tuple[Link, ...] = ()
    roots: frozenset[str] = frozenset()
    width: Mapping[str, int] = field(default_factory=dict)

    def edges(self) -> tuple[Link, ...]:
        """Links between two different nodes, each once, sorted."""
        nodes = set(self.nodes)
        return tuple(sorted({(a, b) for a, b in self.links if a != b and a in nodes and b in nodes}))

    def self_loops(self) -> frozenset[str]:
        """Nodes that call themselves."""
        return frozenset(a for a, b in self.links if a == b)


def adjacency(links: Iterable[Link]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The callees and the callers of each node, in the order of the links."""
    callees: dict[str, list[str]] = {}
    callers: dict[str, list[str]] = {}
    for a, b in links:
        callees.setdefault(a, []).append(b)
        callers.setdefault(b, []).append(a)
    return callees, callers


def connected_components(nodes: Iterable[str], links: Iterable[Link]) -> list[list[str]]:
    """The connected components, sorted, as are the nodes in each."""
    callees, callers = adjacency(links)
    unvisited = dict.fromkeys(sorted(nodes))
    components = []
    while unvisited:
        first = next(iter(unvisited))
        del unvisited[first]
        component, stack = [first], [first]
        while stack:
            node = stack.pop()
            for other in (*callees.get(node, ()), *callers.get(node, ())):
                if other in unvisited:
                    del unvisited[other]
                    component.append(other)
                    stack.append(other)
        components.append(sorted(component))
    return components
