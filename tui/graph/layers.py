"""Which column each node stands in: callers left of callees, as near to each other as that allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwright.tui.graph.graph import Graph, Link, adjacency, connected_components


def assign_layers(shape: Graph) -> dict[str, int]:
    """The layer of every node that has a link, from 0; no link stays within one layer.

    Longest paths from the left; then a node with more callees than callers moves right to them, which
    shortens links. Links that close a cycle point left.
    """
    links = shape.edges()
    nodes = sorted({name for link in links for name in link})
    forward = _break_cycles(nodes, links, shape.roots)
    out, into = adjacency(forward)
    order = _topological_order(nodes, out, into)
    counts: dict[str, int] = {}
    for name in order:
        counts[name] = max((counts[caller] + 1 for caller in into.get(name, ())), default=0)
    for name in reversed(order):
        callees = out.get(name, ())
        if callees and name not in shape.roots and len(callees) > len(into.get(name, ())):
            counts[name] = min(counts[callee] for callee in callees) - 1
    for group in connected_components(nodes, links):
        first = min(counts[name] for name in group)
        for name in group:
            counts[name] -= first
    return counts


def _break_cycles(nodes: Iterable[str], links: Iterable[Link], roots: frozenset[str]) -> list[Link]:
    """The links, turned round where they lead, within a knot of cycles, to what is nearer to the roots."""
    out, into = adjacency(links)
    nodes = list(nodes)
    knot = _strong_components(nodes, out, into)
    starts = [name for name in nodes if name in roots] + [name for name in nodes if name not in into]
    near = _distances(starts or nodes[:1], out)
    rank = {name: (near.get(name, len(nodes)), name) for name in nodes}
    return [(a, b) if knot[a] != knot[b] or rank[a] < rank[b] else (b, a) for a, b in links]


def _distances(starts: Iterable[str], out: Mapping[str, list[str]]) -> dict[str, int]:
    """Calls from the nearest of the starts to each node that can be reached."""
    fromkeys = dict.fromkeys(starts, 0)
    todo = list(fromkeys)
    for name in todo:
        for callee in out.get(name, ()):
            if callee not in fromkeys:
                fromkeys[callee] = fromkeys[name] + 1
                todo.append(callee)
    return fromkeys


def _strong_components(
    nodes: Iterable[str], out: Mapping[str, list[str]], into: Mapping[str, list[str]]
) -> dict[str, str]:
    """Strongly connected components (Kosaraju): one of its nodes stands for each."""
    finished: list[str] = []
    seen: set[str] = set()
    for start in nodes:
        walk = [] if start in seen else [(start, iter(out.get(start, ())))]
        seen.add(start)
        while walk:
            at, callees = walk[-1]
            callee = next((name for name in callees if name not in seen), None)
            if callee is None:
                finished.append(at)
                walk.pop()
            else:
                seen.add(callee)
                walk.append((callee, iter(out.get(callee, ()))))
    knot: dict[str, str] = {}
    for first in reversed(finished):
        todo = [] if first in knot else [first]
        while todo:
            at = todo.pop()
            knot[at] = first
            todo += [name for name in into.get(at, ()) if name not in knot]
    return knot


def _topological_order(
    nodes: Iterable[str], out: Mapping[str, list[str]], into: Mapping[str, list[str]]
) -> list[str]:
    waiting = {name: len(into.get(name, ())) for name in nodes}
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:
        for callee in out.get(name, ()):
            waiting[callee] -= 1
            if not waiting[callee]:
                ready.append(callee)
    return ready
