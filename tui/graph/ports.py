"""Where lines meet a box: rows of its two sides, and how many rows it needs for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshwright.tui.graph.bundles import BundleSegment, DummyNode, EdgeBundle, LayeredGraph
from meshwright.tui.graph.model import Density
from meshwright.tui.graph.row_assignment import RowSlot


@dataclass(frozen=True, slots=True)
class NodeSide:
    """One side of a node: joins that arrive, and whether a net leaves."""

    arriving: tuple[BundleSegment, ...] = ()
    leaving: bool = False

    def row_count(self) -> int:
        """Rows before the box that this side needs."""
        return len(self.arriving) + self.leaving

    def has_both(self) -> bool:
        """Whether it needs a row for each direction."""
        return bool(self.arriving) and self.leaving


EMPTY_SIDE = NodeSide()


@dataclass(frozen=True, slots=True)
class NodeFrame:
    """A node in its slot: the first row and the height of its box, and whether lines need a second row."""

    slot: RowSlot
    top: int
    height: int
    second_row: bool


def node_sides(woven: LayeredGraph) -> tuple[dict[str, NodeSide], dict[str, NodeSide]]:
    """Left and right side of every node that has any."""
    arriving: tuple[dict[str, list[BundleSegment]], dict[str, list[BundleSegment]]] = ({}, {})
    leaving: tuple[set[str], set[str]] = (set(), set())
    for between in woven.segments:
        for join in between:
            into, out = (join.right, join.left) if join.bundle.forward else (join.left, join.right)
            if not isinstance(into, DummyNode):
                arriving[0 if join.bundle.forward else 1].setdefault(into, []).append(join)
            if not isinstance(out, DummyNode):
                leaving[1 if join.bundle.forward else 0].add(out)
    left, right = (
        {name: NodeSide(tuple(come.get(name, ())), name in texts) for name in come.keys() | texts}
        for come, texts in zip(arriving, leaving, strict=True)
    )
    return left, right


def node_frame(left: NodeSide, right: NodeSide, look: Density) -> NodeFrame:
    """How a node stands in the rows that its lines and its box need."""
    second = left.has_both() or right.has_both()
    frame = look.border
    height = 1 + second + 2 * frame
    rows = max(height, left.row_count(), right.row_count()) + look.row_gap
    top = (rows - look.row_gap - height) // 2
    return NodeFrame(RowSlot(rows, top + frame), top, height, second)


def departure_row(side: NodeSide, axis: int, *, forward: bool) -> int:
    """Where a net leaves: level with the name, or below it where forward lines need that row."""
    return axis if forward or not side.arriving else axis + 1


def arrowhead_row(side: NodeSide, axis: int, *, forward: bool) -> int:
    """Where the arrow head is: level with the name, or below it where a forward net leaves there."""
    return axis if forward or not side.leaving else axis + 1


def arrival_rows(
    side: NodeSide, first: int, slot: RowSlot, starts: Mapping[EdgeBundle, int], *, forward: bool
) -> dict[BundleSegment, int]:
    """A row for each join that arrives, so that they do not cross and one of them is the arrow's.

    `first` is the slot's first row, `starts` the row at which each net enters the channel.
    """
    axis = first + slot.axis
    head = arrowhead_row(side, axis, forward=forward)
    numbers = {departure_row(side, axis, forward=not forward)} if side.leaving else set()
    others = [row for row in range(first, first + slot.height) if row != head and row not in numbers]
    above = [row for row in others if row < head]
    below = [row for row in others if row > head]
    joins = sorted(side.arriving, key=lambda join: (starts[join.bundle], join.bundle))
    count = _count_above([starts[join.bundle] for join in joins], head)
    count = min(max(count, len(joins) - 1 - len(below)), len(above))
    rows = [*above[len(above) - count :], head, *below]
    return dict(zip(joins, rows, strict=False))


def _count_above(starts: Sequence[int], head: int) -> int:
    """How many joins arrive above the arrow: the nearest one takes its row."""
    return min(range(len(starts)), key=lambda n: abs(starts[n] - head))
