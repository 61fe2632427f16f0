"""The layer (column) of each node: callers left of callees, with short links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwright.tui.graph.graph import Graph, Link, adjacency, connected_components


def assign_layers(graph: Graph) -> dict[str, int]:
    """The layer of every node that has a link, from 0. No link stays within one layer.

    Layers are longest paths from the left. Then a node with more callees than callers moves right to its
    callees, which shortens links. Links that close a cycle point left.
    """
    links = graph.edges()
    nodes = sorted({name for link in links for name in link})
    forward = _break_cycles(nodes, links, graph.roots)
    callees, callers = adjacency(forward)
    order = _topological_order(nodes, callees, callers)
    layers: dict[str, int] = {}
    for name in order:
        layers[name] = max((layers[caller] + 1 for caller in callers.get(name, ())), default=0)
    for name in reversed(order):
        targets = callees.get(name, ())
        if targets and name not in graph.roots and len(targets) > len(callers.get(name, ())):
            layers[name] = min(layers[target] for target in targets) - 1
    for component in connected_components(nodes, links):
        first = min(layers[name] for name in component)
        for name in component:
            layers[name] -= first
    return layers


def _break_cycles(nodes: Iterable[str], links: Iterable[Link], roots: frozenset[str]) -> list[Link]:
    """The links; those within a cycle that point to a node nearer to the roots are reversed."""
    callees, callers = adjacency(links)
    nodes = list(nodes)
    component = _strong_components(nodes, callees, callers)
    starts = [name for name in nodes if name in roots] + [name for name in nodes if name not in callers]
    distances = _distances(starts or nodes[:1], callees)
    rank = {name: (distances.get(name, len(nodes)), name) for name in nodes}
    return [(a, b) if component[a] != component[b] or rank[a] < rank[b] else (b, a) for a, b in links]


def _distances(starts: Iterable[str], callees: Mapping[str, list[str]]) -> dict[str, int]:
    """The number of hops from the nearest start to each node that can be reached."""
    distances = dict.fromkeys(starts, 0)
    queue = list(distances)
    for name in queue:
        for callee in callees.get(name, ()):
            if callee not in distances:
                distances[callee] = distances[name] + 1
                queue.append(callee)
    return distances


def _strong_components(
    nodes: Iterable[str], callees: Mapping[str, list[str]], callers: Mapping[str, list[str]]
) -> dict[str, str]:
    """Strongly connected components (Kosaraju): a representative for each node."""
    finished: list[str] = []
    visited: set[str] = set()
    for start in nodes:
        stack = [] if start in visited else [(start, iter(callees.get(start, ())))]
        visited.add(start)
        while stack:
            node, remaining = stack[-1]
            callee = next((name for name in remaining if name not in visited), None)
            if callee is None:
                finished.append(node)
                stack.pop()
            else:
                visited.add(callee)
                stack.append((callee, iter(callees.get(callee, ()))))
    component: dict[str, str] = {}
    for representative in reversed(finished):
        pending = [] if representative in component else [representative]
        while pending:
            node = pending.pop()
            component[node] = representative
            pending += [name for name in callers.get(node, ()) if name not in component]
    return component


def _topological_order(
    nodes: Iterable[str], callees: Mapping[str, list[str]], callers: Mapping[str, list[str]]
) -> list[str]:
    pending = {name: len(callers.get(name, ())) for name in nodes}
    order = [name for name, count in pending.items() if not count]
    for name in order:
        for callee in callees.get(name, ()):
            pending[callee] -= 1
            if not pending[callee]:
                order.append(callee)
    return order
