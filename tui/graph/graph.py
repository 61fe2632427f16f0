"""What layout needs to know of a mesh: names, how wide they are, who calls whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Link = tuple[str, str]
"""Caller and callee."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph to be laid out. `roots` stand leftmost (gateways); `links` may hold cycles and self-calls.

    `width` tells how many cells a name takes. Links whose ends are not among `nodes` are left out.
    """

    nodes: tuple[str, ...]
    links: tuple[Link, ...] = ()
    roots: frozenset[str] = frozenset()
    width: Mapping[str, int] = field(default_factory=dict)

    def edges(self) -> tuple[Link, ...]:
        """Links between two different nodes, each once, in order of names."""
        nodes = set(self.nodes)
        return tuple(sorted({(a, b) for a, b in self.links if a != b and a in nodes and b in nodes}))

    def self_loops(self) -> frozenset[str]:
        """Nodes that call themselves."""
        return frozenset(a for a, b in self.links if a == b)


def adjacency(links: Iterable[Link]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Whom each calls, and who calls each; in the order of the links."""
    out: dict[str, list[str]] = {}
    into: dict[str, list[str]] = {}
    for a, b in links:
        out.setdefault(a, []).append(b)
        into.setdefault(b, []).append(a)
    return out, into


def connected_components(nodes: Iterable[str], links: Iterable[Link]) -> list[list[str]]:
    """Nodes that hang together, each group and the groups in order of names."""
    out, into = adjacency(links)
    left = dict.fromkeys(sorted(nodes))
    rows = []
    while left:
        first = next(iter(left))
        del left[first]
        group, stack = [first], [first]
        while stack:
            at = stack.pop()
            for other in (*out.get(at, ()), *into.get(at, ())):
                if other in left:
                    del left[other]
                    group.append(other)
                    stack.append(other)
        rows.append(sorted(group))
    return rows
