"""The rows of items: close to the rows of their neighbours, in order, without overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshwright.tui.graph.bundles import DummyNode, LayeredGraph, LayerItem

DUMMY_PULL = 8
"""Weight of a segment between two dummy nodes, against 1 between two nodes: keeps long lines straight."""


@dataclass(frozen=True, slots=True)
class RowSlot:
    """The rows that an item needs, and the one of them (from 0) that aligns with its neighbours."""

    height: int
    axis: int


def assign_rows(
    order: Sequence[Sequence[LayerItem]], graph: LayeredGraph, slots: Mapping[LayerItem, RowSlot]
) -> dict[LayerItem, int]:
    """The first row of each item, from 0. Uses no more rows than the fullest layer needs."""
    bound = max((sum(slots[item].height for item in items) for items in order), default=0)
    rows = _RowAssignment(slots, bound)
    left, right = _weighted_neighbours(graph)
    forth, back = range(len(order)), range(len(order) - 1, -1, -1)
    for neighbours, path in ((left, forth), (right, back), (left, forth), (right, back)):
        for layer in path:
            rows.place_layer(order[layer], neighbours)
    for neighbours, path in ((right, back), (left, forth)):
        for layer in path:
            rows.straighten(order[layer], neighbours)
    return rows.top


WeightedNeighbours = Mapping[LayerItem, Sequence[tuple[LayerItem, int]]]


def _weighted_neighbours(graph: LayeredGraph) -> tuple[WeightedNeighbours, WeightedNeighbours]:
    left: dict[LayerItem, list[tuple[LayerItem, int]]] = {}
    right: dict[LayerItem, list[tuple[LayerItem, int]]] = {}
    for between in graph.segments:
        for segment in between:
            dummies = isinstance(segment.left, DummyNode) + isinstance(segment.right, DummyNode)
            weight = DUMMY_PULL if dummies == 2 else 1 + dummies
            right.setdefault(segment.left, []).append((segment.right, weight))
            left.setdefault(segment.right, []).append((segment.left, weight))
    return left, right


class _RowAssignment:
    """The current rows: the first row of each item, and its axis."""

    def __init__(self, slots: Mapping[LayerItem, RowSlot], bound: int) -> None:
        self.slots, self.bound = slots, bound
        self.axis: dict[LayerItem, float] = {}
        self.top: dict[LayerItem, int] = {}

    def place_layer(self, items: Sequence[LayerItem], neighbours: WeightedNeighbours) -> None:
        """Place a layer by least squares, keeping its order: items that would swap are pooled."""
        pools: list[tuple[float, int]] = []
        used = 0
        for item in items:
            slot = self.slots[item]
            row = self._preferred_row(item, neighbours)
            if row is None:
                row = self.axis.get(item, used + slot.axis)
            pools.append((row - slot.axis - used, 1))
            used += slot.height
            while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
                (lower, n), (upper, m) = pools.pop(), pools.pop()
                pools.append(((lower * n + upper * m) / (n + m), n + m))
        shifts = [round(shift) for shift, count in pools for _ in range(count)]
        room, used = self.bound - used, 0
        for item, shift in zip(items, shifts, strict=True):
            self._place(item, used + min(max(shift, 0), room))
            used += self.slots[item].height

    def straighten(self, items: Sequence[LayerItem], neighbours: WeightedNeighbours) -> None:
        """Align each item of a layer with its neighbours, as far as the items above and below allow."""
        lowest = 0
        for n, item in enumerate(items):
            row = self._preferred_row(item, neighbours)
            if row is not None:
                bottom = self.top[items[n + 1]] if n + 1 < len(items) else self.bound
                aligned = int(row) - self.slots[item].axis
                self._place(item, min(max(aligned, lowest), bottom - self.slots[item].height))
            lowest = self.top[item] + self.slots[item].height

    def _place(self, item: LayerItem, top: int) -> None:
        self.top[item] = top
        self.axis[item] = top + self.slots[item].axis

    def _preferred_row(self, item: LayerItem, neighbours: WeightedNeighbours) -> float | None:
        """The weighted median of the neighbours' rows; None without neighbours."""
        rows = sorted(
            (self.axis[other], weight) for other, weight in neighbours.get(item, ()) if other in self.axis
        )
        if not rows:
            return None
        half, total = sum(weight for _, weight in rows) / 2, 0.0
        for n, (row, weight) in enumerate(rows):
            total += weight
            if total == half:
                return (row + rows[n + 1][0]) / 2
            if total > half:
                return row
        return rows[-1][0]
