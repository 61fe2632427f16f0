"""The order of items within their layers, with few crossings, and near to the order that was there before."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence

from meshwright.tui.graph.bundles import BundleSegment, LayeredGraph, LayerItem

SWEEPS = 8
"""Sweeps to the right and back. Few help after the fourth."""

LARGE_GRAPH = 1500
"""Items from which on there are only a few rounds, and no swapping of neighbours."""

LayerOrder = list[list[LayerItem]]


def reduce_crossings(
    woven: LayeredGraph, group: Mapping[LayerItem, int], before: Mapping[LayerItem, float]
) -> LayerOrder:
    """Items of each layer from top to bottom. Items of a lower `group` stand above those of a higher one.

    `before`: where items stood when this was last laid out; they keep that order unless another one has
    fewer crossings.
    """
    sides = _adjacency(woven)
    best = _initial_order(woven, group, before, sides)
    fewest = count_crossings(best, woven.segments)
    large = sum(map(len, woven.layers)) > LARGE_GRAPH
    order = best
    for turn in range(SWEEPS // 4 if large else SWEEPS):
        if not fewest:
            break
        order = _sweep(order, sides, group, rightward=not turn % 2)
        if not large:
            order = _swap_neighbours(order, sides, group)
        count = count_crossings(order, woven.segments)
        if count < fewest:
            best, fewest = order, count
    return best


def count_crossings(order: LayerOrder, joins: Sequence[Sequence[BundleSegment]]) -> int:
    """How many pairs of joins cross."""
    number = 0
    for channel, between in enumerate(joins):
        left, right = _positions(order[channel]), _positions(order[channel + 1])
        seen: list[int] = []
        for _, at in sorted((left[join.left], right[join.right]) for join in between):
            number += len(seen) - bisect_right(seen, at)
            insort(seen, at)
    return number


class _Adjacency:
    """Whom each item is joined to, on its left and on its right."""

    def __init__(self) -> None:
        self.left: dict[LayerItem, list[LayerItem]] = {}
        self.right: dict[LayerItem, list[LayerItem]] = {}


def _adjacency(woven: LayeredGraph) -> _Adjacency:
    sides = _Adjacency()
    for between in woven.segments:
        for join in between:
            sides.right.setdefault(join.left, []).append(join.right)
            sides.left.setdefault(join.right, []).append(join.left)
    return sides


def _positions(items: Sequence[LayerItem]) -> dict[LayerItem, int]:
    return {item: at for at, item in enumerate(items)}


def _barycenter(
    item: LayerItem,
    joined: Mapping[LayerItem, list[LayerItem]],
    place: Mapping[LayerItem, float],
    other: float,
) -> float:
    values = [place[text] for text in joined.get(item, ()) if text in place]
    return sum(values) / len(values) if values else other


def _initial_order(
    woven: LayeredGraph, group: Mapping[LayerItem, int], before: Mapping[LayerItem, float], sides: _Adjacency
) -> LayerOrder:
    """The order of before; what is new stands where its callers are, else where its callees were."""
    order: LayerOrder = []
    place: dict[LayerItem, float] = {}
    for items in woven.layers:
        expected: dict[LayerItem, float] = {}
        for item in items:
            new = _barycenter(item, sides.left, place, _barycenter(item, sides.right, before, float("inf")))
            expected[item] = before.get(item, new)
        order.append(sorted(items, key=lambda item: (group[item], expected[item])))
        if before:
            place.update(expected)
        else:
            place.update(_positions(order[-1]))
    return order


def _sweep(
    order: LayerOrder, sides: _Adjacency, group: Mapping[LayerItem, int], *, rightward: bool
) -> LayerOrder:
    """Each layer sorted by the mean place of what it is joined to in the layer before it."""
    rows: LayerOrder = [list(items) for items in order]
    joined = sides.left if rightward else sides.right
    for at in range(1, len(rows)) if rightward else range(len(rows) - 2, -1, -1):
        fixed = _positions(rows[at - 1 if rightward else at + 1])
        counts = {item: place for place, item in enumerate(rows[at])}
        scale = max(1, len(fixed)) / max(1, len(counts))
        expected = {item: _barycenter(item, joined, fixed, counts[item] * scale) for item in rows[at]}
        rows[at].sort(key=lambda item, expected=expected: (group[item], expected[item]))  # type: ignore[misc]
    return rows


def _swap_neighbours(order: LayerOrder, sides: _Adjacency, group: Mapping[LayerItem, int]) -> LayerOrder:
    """Neighbours change places where that has fewer crossings."""
    rows: LayerOrder = [list(items) for items in order]
    for at, items in enumerate(rows):
        left = _positions(rows[at - 1]) if at else {}
        right = _positions(rows[at + 1]) if at + 1 < len(rows) else {}
        ends = {
            item: (
                sorted(left[text] for text in sides.left.get(item, ())),
                sorted(right[text] for text in sides.right.get(item, ())),
            )
            for item in items
        }
        for n in range(len(items) - 1):
            a, b = items[n], items[n + 1]
            if group[a] == group[b] and _crossings_saved(ends[a], ends[b]) > 0:
                items[n], items[n + 1] = b, a
    return rows


def _crossings_saved(a: tuple[list[int], list[int]], b: tuple[list[int], list[int]]) -> int:
    """Crossings less when b stands above a."""
    return sum(
        _crossings_between(numbers, two) - _crossings_between(two, numbers)
        for numbers, two in zip(a, b, strict=True)
    )


def _crossings_between(upper: list[int], lower: list[int]) -> int:
    return sum(bisect_left(lower, at) for at in upper)
