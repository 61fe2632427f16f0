"""Which column each node stands in: callers left of callees, as near to each other as that allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tui.graph.shape import Link, Shape, components, neighbours


def layers(shape: Shape) -> dict[str, int]:
    """The layer of every node that has a link, from 0; no link stays within one layer.

    Longest paths from the left; then a node with more callees than callers moves right to them, which
    shortens links. Links that close a cycle point left.
    """
    links = shape.proper()
    nodes = sorted({name for link in links for name in link})
    forward = _without_cycles(nodes, links, shape.roots)
    out, into = neighbours(forward)
    order = _topological(nodes, out, into)
    found: dict[str, int] = {}
    for name in order:
        found[name] = max((found[caller] + 1 for caller in into.get(name, ())), default=0)
    for name in reversed(order):
        callees = out.get(name, ())
        if callees and name not in shape.roots and len(callees) > len(into.get(name, ())):
            found[name] = min(found[callee] for callee in callees) - 1
    for group in components(nodes, links):
        first = min(found[name] for name in group)
        for name in group:
            found[name] -= first
    return found


def _without_cycles(nodes: Iterable[str], links: Iterable[Link], roots: frozenset[str]) -> list[Link]:
    """The links but those that lead back to where a walk from the roots came from."""
    out, into = neighbours(links)
    starts = sorted(nodes, key=lambda name: (name not in roots, len(into.get(name, ())), name))
    done: set[str] = set()
    kept: list[Link] = []
    for start in starts:
        if start in done:
            continue
        path, walk = {start}, [(start, iter(out.get(start, ())))]
        while walk:
            at, callees = walk[-1]
            callee = next(callees, None)
            if callee is None:
                walk.pop()
                path.discard(at)
                done.add(at)
            elif callee not in path:
                kept.append((at, callee))
                if callee not in done:
                    path.add(callee)
                    walk.append((callee, iter(out.get(callee, ()))))
    return kept


def _topological(
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
