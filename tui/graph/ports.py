"""Where lines meet a box: the rows on its two sides, and the height that it needs for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshwright.tui.graph.bundles import BundleSegment, DummyNode, EdgeBundle, LayeredGraph
from meshwright.tui.graph.model import Density
from meshwright.tui.graph.row_assignment import RowSlot


@dataclass(frozen=True, slots=True)
class NodeSide:
    """One side of a node: the segments that arrive, and whether a bundle leaves."""

    arriving: tuple[BundleSegment, ...] = ()
    leaving: bool = False

    def row_count(self) -> int:
        """Rows that this side needs."""
        return len(self.arriving) + self.leaving

    def has_both(self) -> bool:
        """Whether it needs a row for each direction."""
        return bool(self.arriving) and self.leaving


EMPTY_SIDE = NodeSide()


@dataclass(frozen=True, slots=True)
class NodeFrame:
    """A node in its slot: first row and height of its box, and whether its lines need a second row."""

    slot: RowSlot
    top: int
    height: int
    second_row: bool


def node_sides(graph: LayeredGraph) -> tuple[dict[str, NodeSide], dict[str, NodeSide]]:
    """The left and right sides of all nodes that have lines there."""
    arriving: tuple[dict[str, list[BundleSegment]], dict[str, list[BundleSegment]]] = ({}, {})
    leaving: tuple[set[str], set[str]] = (set(), set())
    for between in graph.segments:
        for segment in between:
            forward = segment.bundle.forward
            target, source = (segment.right, segment.left) if forward else (segment.left, segment.right)
            if not isinstance(target, DummyNode):
                arriving[0 if forward else 1].setdefault(target, []).append(segment)
            if not isinstance(source, DummyNode):
                leaving[1 if forward else 0].add(source)
    left, right = (
        {name: NodeSide(tuple(into.get(name, ())), name in out) for name in into.keys() | out}
        for into, out in zip(arriving, leaving, strict=True)
    )
    return left, right


def node_frame(left: NodeSide, right: NodeSide, density: Density) -> NodeFrame:
    """The rows of a node's box, enough for its lines."""
    second_row = left.has_both() or right.has_both()
    border = density.border
    height = 1 + max(second_row, density.card_rows) + 2 * border
    rows = max(height, left.row_count(), right.row_count()) + density.row_gap
    top = (rows - density.row_gap - height) // 2
    return NodeFrame(RowSlot(rows, top + border), top, height, second_row)


def departure_row(side: NodeSide, axis: int, *, forward: bool) -> int:
    """Where a bundle leaves: level with the name, or below it if forward lines need that row."""
    return axis if forward or not side.arriving else axis + 1


def arrowhead_row(side: NodeSide, axis: int, *, forward: bool) -> int:
    """Where the arrowhead is: level with the name, or below it if a forward bundle leaves there."""
    return axis if forward or not side.leaving else axis + 1


def arrival_rows(
    side: NodeSide, first: int, slot: RowSlot, starts: Mapping[EdgeBundle, int], *, forward: bool
) -> dict[BundleSegment, int]:
    """A row for each arriving segment, without crossings; one of them gets the arrowhead's row.

    `first`: the first row of the slot. `starts`: the row in which each bundle enters the channel.
    """
    axis = first + slot.axis
    head = arrowhead_row(side, axis, forward=forward)
    reserved = {departure_row(side, axis, forward=not forward)} if side.leaving else set()
    others = [row for row in range(first, first + slot.height) if row != head and row not in reserved]
    above = [row for row in others if row < head]
    below = [row for row in others if row > head]
    segments = sorted(side.arriving, key=lambda segment: (starts[segment.bundle], segment.bundle))
    count = _count_above([starts[segment.bundle] for segment in segments], head)
    count = min(max(count, len(segments) - 1 - len(below)), len(above))
    rows = [*above[len(above) - count :], head, *below]
    return dict(zip(segments, rows, strict=False))


def _count_above(starts: Sequence[int], head: int) -> int:
    """How many segments arrive above the arrowhead: the nearest one gets its row."""
    return min(range(len(starts)), key=lambda n: abs(starts[n] - head))
