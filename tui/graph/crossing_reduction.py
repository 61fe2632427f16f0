"""The order of items within their layers: few crossings, and close to the previous order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence

from meshwright.tui.graph.bundles import BundleSegment, LayeredGraph, LayerItem

SWEEPS = 8
"""Sweeps to the right and back; after the fourth few of them improve anything."""

LARGE_GRAPH = 1500
"""Items from which there are fewer sweeps, and neighbours are not swapped."""

LayerOrder = list[list[LayerItem]]


def reduce_crossings(
    graph: LayeredGraph, group: Mapping[LayerItem, int], previous: Mapping[LayerItem, float]
) -> LayerOrder:
    """Items of each layer from top to bottom, those of a lower `group` above those of a higher one.

    `previous`: the rows of items in the previous layout. They keep that order unless another one has fewer
    crossings.
    """
    neighbours = _adjacency(graph)
    best = _initial_order(graph, group, previous, neighbours)
    fewest = count_crossings(best, graph.segments)
    large = sum(map(len, graph.layers)) > LARGE_GRAPH
    order = best
    for sweep in range(SWEEPS // 4 if large else SWEEPS):
        if not fewest:
            break
        order = _sweep(order, neighbours, group, rightward=not sweep % 2)
        if not large:
            order = _swap_neighbours(order, neighbours, group)
        count = count_crossings(order, graph.segments)
        if count < fewest:
            best, fewest = order, count
    return best


def count_crossings(order: LayerOrder, segments: Sequence[Sequence[BundleSegment]]) -> int:
    """The number of pairs of segments that cross."""
    count = 0
    for channel, between in enumerate(segments):
        left, right = _positions(order[channel]), _positions(order[channel + 1])
        ends: list[int] = []
        for _, end in sorted((left[segment.left], right[segment.right]) for segment in between):
            count += len(ends) - bisect_right(ends, end)
            insort(ends, end)
    return count


class _Adjacency:
    """The items that each item is connected to, on its left and on its right."""

    def __init__(self) -> None:
        self.left: dict[LayerItem, list[LayerItem]] = {}
        self.right: dict[LayerItem, list[LayerItem]] = {}


def _adjacency(graph: LayeredGraph) -> _Adjacency:
    neighbours = _Adjacency()
    for between in graph.segments:
        for segment in between:
            neighbours.right.setdefault(segment.left, []).append(segment.right)
            neighbours.left.setdefault(segment.right, []).append(segment.left)
    return neighbours


def _positions(items: Sequence[LayerItem]) -> dict[LayerItem, int]:
    return {item: position for position, item in enumerate(items)}


def _barycenter(
    item: LayerItem,
    neighbours: Mapping[LayerItem, list[LayerItem]],
    positions: Mapping[LayerItem, float],
    default: float,
) -> float:
    """The mean position of an item's neighbours."""
    values = [positions[other] for other in neighbours.get(item, ()) if other in positions]
    return sum(values) / len(values) if values else default


def _initial_order(
    graph: LayeredGraph,
    group: Mapping[LayerItem, int],
    previous: Mapping[LayerItem, float],
    neighbours: _Adjacency,
) -> LayerOrder:
    """The previous order; new items are placed by their callers, else by their callees' previous rows."""
    order: LayerOrder = []
    positions: dict[LayerItem, float] = {}
    for items in graph.layers:
        targets: dict[LayerItem, float] = {}
        for item in items:
            by_callees = _barycenter(item, neighbours.right, previous, float("inf"))
            by_callers = _barycenter(item, neighbours.left, positions, by_callees)
            targets[item] = previous.get(item, by_callers)
        order.append(sorted(items, key=lambda item: (group[item], targets[item])))
        positions.update(targets if previous else _positions(order[-1]))
    return order


def _sweep(
    order: LayerOrder, neighbours: _Adjacency, group: Mapping[LayerItem, int], *, rightward: bool
) -> LayerOrder:
    """Sort each layer by the barycenters of its items in the layer before it."""
    swept: LayerOrder = [list(items) for items in order]
    connected = neighbours.left if rightward else neighbours.right
    for layer in range(1, len(swept)) if rightward else range(len(swept) - 2, -1, -1):
        fixed = _positions(swept[layer - 1 if rightward else layer + 1])
        current = _positions(swept[layer])
        scale = max(1, len(fixed)) / max(1, len(current))
        targets = {item: _barycenter(item, connected, fixed, current[item] * scale) for item in swept[layer]}
        swept[layer].sort(key=lambda item, targets=targets: (group[item], targets[item]))  # type: ignore[misc]
    return swept


def _swap_neighbours(order: LayerOrder, neighbours: _Adjacency, group: Mapping[LayerItem, int]) -> LayerOrder:
    """Swap adjacent items where that reduces crossings."""
    swapped: LayerOrder = [list(items) for items in order]
    for layer, items in enumerate(swapped):
        left = _positions(swapped[layer - 1]) if layer else {}
        right = _positions(swapped[layer + 1]) if layer + 1 < len(swapped) else {}
        ends = {
            item: (
                sorted(left[other] for other in neighbours.left.get(item, ())),
                sorted(right[other] for other in neighbours.right.get(item, ())),
            )
            for item in items
        }
        for n in range(len(items) - 1):
            a, b = items[n], items[n + 1]
            if group[a] == group[b] and _crossings_saved(ends[a], ends[b]) > 0:
                items[n], items[n + 1] = b, a
    return swapped


def _crossings_saved(a: tuple[list[int], list[int]], b: tuple[list[int], list[int]]) -> int:
    """How many crossings fewer there are with b above a."""
    return sum(
        _crossings_between(ends_a, ends_b) - _crossings_between(ends_b, ends_a)
        for ends_a, ends_b in zip(a, b, strict=True)
    )


def _crossings_between(upper: list[int], lower: list[int]) -> int:
    return sum(bisect_left(lower, end) for end in upper)
