"""The rows of items: each near to the rows of what it is joined to, in order, none over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshwright.tui.graph.bundles import DummyNode, LayeredGraph, LayerItem

DUMMY_PULL = 8
"""How much more a join between two bends pulls than one between nodes: long lines are to be straight."""


@dataclass(frozen=True, slots=True)
class RowSlot:
    """Rows that an item needs, and which of them (from 0) is level with what it is joined to."""

    height: int
    axis: int


def assign_rows(
    order: Sequence[Sequence[LayerItem]], woven: LayeredGraph, slots: Mapping[LayerItem, RowSlot]
) -> dict[LayerItem, int]:
    """The first row of each item, from 0. No more rows are taken than the fullest layer needs."""
    rows = _RowAssignment(
        slots, max((sum(slots[item].height for item in items) for items in order), default=0)
    )
    left, right = _weighted_neighbours(woven)
    there, back = range(len(order)), range(len(order) - 1, -1, -1)
    for joined, path in ((left, there), (right, back), (left, there), (right, back)):
        for at in path:
            rows.place_layer(order[at], joined)
    for joined, path in ((right, back), (left, there)):
        for at in path:
            rows.straighten(order[at], joined)
    return rows.top


WeightedNeighbours = Mapping[LayerItem, Sequence[tuple[LayerItem, int]]]


def _weighted_neighbours(woven: LayeredGraph) -> tuple[WeightedNeighbours, WeightedNeighbours]:
    left: dict[LayerItem, list[tuple[LayerItem, int]]] = {}
    right: dict[LayerItem, list[tuple[LayerItem, int]]] = {}
    for between in woven.segments:
        for join in between:
            ends = isinstance(join.left, DummyNode) + isinstance(join.right, DummyNode)
            weight = DUMMY_PULL if ends == 2 else 1 + ends
            right.setdefault(join.left, []).append((join.right, weight))
            left.setdefault(join.right, []).append((join.left, weight))
    return left, right


class _RowAssignment:
    """Where items stand so far: first row, and the row that is to be level with others."""

    def __init__(self, slots: Mapping[LayerItem, RowSlot], bound: int) -> None:
        self.slots, self.bound = slots, bound
        self.axis: dict[LayerItem, float] = {}
        self.top: dict[LayerItem, int] = {}

    def place_layer(self, items: Sequence[LayerItem], joined: WeightedNeighbours) -> None:
        """Place a layer by least squares under its order: pool neighbours that want to change places."""
        pools: list[tuple[float, int]] = []
        used = 0
        for item in items:
            slot = self.slots[item]
            wish = self._preferred_row(item, joined)
            if wish is None:
                wish = self.axis.get(item, used + slot.axis)
            pools.append((wish - slot.axis - used, 1))
            used += slot.height
            while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
                (mean, many), (other, more) = pools.pop(), pools.pop()
                pools.append(((mean * many + other * more) / (many + more), many + more))
        shifts = [round(mean) for mean, many in pools for _ in range(many)]
        room, used = self.bound - used, 0
        for item, shift in zip(items, shifts, strict=True):
            self._place(item, used + min(max(shift, 0), room))
            used += self.slots[item].height

    def straighten(self, items: Sequence[LayerItem], joined: WeightedNeighbours) -> None:
        """Move each item of a layer to where it is level, as far as its neighbours leave room."""
        least = 0
        for n, item in enumerate(items):
            wish = self._preferred_row(item, joined)
            if wish is not None:
                most = self.top[items[n + 1]] if n + 1 < len(items) else self.bound
                level = int(wish) - self.slots[item].axis
                self._place(item, min(max(level, least), most - self.slots[item].height))
            least = self.top[item] + self.slots[item].height

    def _place(self, item: LayerItem, top: int) -> None:
        self.top[item] = top
        self.axis[item] = top + self.slots[item].axis

    def _preferred_row(self, item: LayerItem, joined: WeightedNeighbours) -> float | None:
        """The middle row of what it is joined to, by weight; None: nothing pulls."""
        rows = sorted(
            (self.axis[other], weight) for other, weight in joined.get(item, ()) if other in self.axis
        )
        if not rows:
            return None
        half, below = sum(weight for _, weight in rows) / 2, 0.0
        for n, (row, weight) in enumerate(rows):
            below += weight
            if below == half:
                return (row + rows[n + 1][0]) / 2
            if below > half:
                return row
        return rows[-1][0]
